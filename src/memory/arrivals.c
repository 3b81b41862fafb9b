/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages that arrive while their guest runs, see arrivals.h. */
#include "memory/arrivals.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory/fetcher.h"

enum {
	START_MS = 2000,
	END_MS = 1000,
	REPLIES_MAX = 256, /* at once */
};
/* Where the fetcher maps regions: below what a program has by itself, on any processor, and in
 * step with the largest huge pages. */
static const uint64_t first_address = UINT64_C(1) << 36;
static const uint64_t address_step = UINT64_C(1) << 30;

struct arriving {
	struct arrivals *arrivals;
	struct arriving *next;
	uint8_t *start;
	size_t size;
	uint64_t fault_address; /* of `start`, in the fetcher */
	uint64_t order;		/* number of the order to map it */
	uint64_t page;		/* bytes */
	uint64_t lead;		/* bytes before the region's first */
	atomic_bool begun;
	/* A bit a page. `here` is set once it is, for good. `asked` keeps the data path from asking
	 * again. */
	_Atomic uint64_t *here, *asked;
};

struct arrivals {
	int fault_fd; /* asks the front end; of the fetcher's address space */
	int guard_fd; /* makes an error of what is missing, in ours */
	int process;  /* pidfd of the fetcher */
	int socket, requests;
	bool lost;   /* the fetcher cannot be talked to any more */
	bool told;   /* and that has been said */
	bool failed; /* a page was said to be there, and was not */
	uint64_t next_address;
	uint64_t orders; /* that were given */
	struct arriving *regions;
};

static const char *fetcher_program(void)
{
	const char *chosen = secure_getenv("VIRTLANE_FETCHER");

	return chosen != NULL ? chosen : FETCHER_PROGRAM;
}

/* What the kernel touches for us gets an error in any case: no privilege is needed. */
static int open_guard(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_SHMEM
			    | UFFD_FEATURE_MISSING_HUGETLBFS,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) == 0)
		return fd;
	int error = -errno;
	close(fd);
	return error;
}

bool arrivals_are_possible(void)
{
	/* An empty range: whether the kernel knows the advice. */
	bool possible =
		access(fetcher_program(), X_OK) == 0 && madvise(NULL, 0, MADV_POPULATE_WRITE) == 0;
	int fd = possible ? open_guard() : -1;

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* ---- the fetcher ---- */

/* With two descriptors, no environment, and no signals but those that end it. */
static int spawn(int socket, int requests, pid_t *pid)
{
	const char *program = fetcher_program();
	char *arguments[] = {(char *)program, NULL}, *environment[] = {NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, socket, FETCHER_SOCKET);
	posix_spawn_file_actions_adddup2(&actions, requests, FETCHER_REQUESTS);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(
		&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID
	);
	int error = posix_spawn(pid, program, &actions, &attributes, arguments, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -error;
}

static int start_fetcher(struct arrivals *arrivals)
{
	enum { OURS, THEIRS };
	const int type = SOCK_SEQPACKET | SOCK_CLOEXEC;
	int sockets[2], requests[2];
	pid_t pid;

	if (socketpair(AF_UNIX, type, 0, sockets) < 0)
		return -errno;
	arrivals->socket = sockets[OURS];
	if (socketpair(AF_UNIX, type, 0, requests) < 0) {
		int error = -errno;

		close(sockets[THEIRS]);
		return error;
	}
	arrivals->requests = requests[OURS];
	int error = spawn(sockets[THEIRS], requests[THEIRS], &pid);
	close(sockets[THEIRS]);
	close(requests[THEIRS]);
	if (error < 0)
		return error;
	arrivals->process = pidfd_open(pid, 0);
	if (arrivals->process < 0) {
		error = -errno;
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return error;
}

/* The front end has no hand in it yet. */
static int await_fetcher(struct arrivals *arrivals)
{
	struct pollfd start = {.fd = arrivals->socket, .events = POLLIN};
	struct fetcher_greeting greeting;
	int ready;

	do
		ready = poll(&start, 1, START_MS);
	while (ready < 0 && errno == EINTR);
	if (ready != 1)
		return ready < 0 ? -errno : -ETIMEDOUT;
	ssize_t got = fetcher_receive(
		arrivals->socket, &greeting, sizeof(greeting), &arrivals->fault_fd, MSG_DONTWAIT
	);
	if (got != sizeof(greeting))
		return got < 0 ? (int)got : -EPIPE;
	if (greeting.version != FETCHER_VERSION)
		return -EPROTO;
	if (greeting.error != 0)
		return greeting.error;
	return arrivals->fault_fd < 0 ? -EPROTO : 0;
}

static void order(struct arrivals *arrivals, const struct fetcher_order *what, int fd)
{
	arrivals->orders++;
	if (fetcher_send(arrivals->socket, what, sizeof(*what), fd, MSG_DONTWAIT) == 0)
		return;
	/* It is held up, and could do nothing more for us. arrivals_attend() is to find out. */
	arrivals->lost = true;
	shutdown(arrivals->socket, SHUT_RDWR);
}

/* ---- life ---- */

int arrivals_create(struct arrivals **out)
{
	struct arrivals *arrivals = malloc(sizeof(*arrivals));

	if (arrivals == NULL)
		return -ENOMEM;
	*arrivals = (struct arrivals){
		.fault_fd = -1,
		.guard_fd = open_guard(),
		.process = -1,
		.socket = -1,
		.requests = -1,
		.next_address = first_address,
	};
	int error = arrivals->guard_fd < 0 ? arrivals->guard_fd : start_fetcher(arrivals);
	if (error == 0)
		error = await_fetcher(arrivals);
	if (error < 0) {
		int process = arrivals_destroy(arrivals);

		if (process >= 0)
			(void)arrivals_reap(process, true);
		return error;
	}
	*out = arrivals;
	return 0;
}

int arrivals_destroy(struct arrivals *arrivals)
{
	const int fds[] = {
		arrivals->fault_fd,
		arrivals->guard_fd,
		arrivals->socket,
		arrivals->requests,
	};
	int process = arrivals->process;

	for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	if (process >= 0)
		(void)pidfd_send_signal(process, SIGKILL, NULL, 0);
	free(arrivals);
	return process;
}

bool arrivals_reap(int process, bool last)
{
	struct pollfd end = {.fd = process, .events = POLLIN};
	siginfo_t info = {0};
	int result;

	if (last)
		(void)poll(&end, 1, END_MS);
	do
		result = waitid(P_PIDFD, (id_t)process, &info, WEXITED | WNOHANG);
	while (result < 0 && errno == EINTR);
	/* An error: somebody else has waited for it. */
	if (result == 0 && info.si_pid == 0 && !last)
		return false;
	close(process);
	return true;
}

int arrivals_fault_fd(const struct arrivals *arrivals)
{
	return arrivals->fault_fd;
}

int arrivals_socket(const struct arrivals *arrivals)
{
	return arrivals->socket;
}

/* ---- pages ---- */

static uint64_t words_of(const struct arriving *arriving)
{
	return (arriving->size / arriving->page + 63) / 64;
}

static bool has(const _Atomic uint64_t *bits, uint64_t page)
{
	uint64_t word =
		atomic_load_explicit((_Atomic uint64_t *)&bits[page / 64], memory_order_relaxed);

	return word >> page % 64 & 1;
}

/* Whether it is there, without waiting. */
static bool look(struct arriving *arriving, uint64_t page)
{
	if (madvise(arriving->start + page * arriving->page, arriving->page, MADV_POPULATE_WRITE)
	    < 0)
		return false;
	atomic_fetch_or_explicit(
		&arriving->here[page / 64], UINT64_C(1) << page % 64, memory_order_relaxed
	);
	return true;
}

static struct arriving *find(struct arrivals *arrivals, uint64_t fault_address)
{
	struct arriving *arriving = arrivals->regions;

	while (arriving != NULL && fault_address - arriving->fault_address >= arriving->size)
		arriving = arriving->next;
	return arriving;
}

int arrivals_attend(struct arrivals *arrivals)
{
	bool came = false;

	if (arrivals->lost && arrivals->told)
		return 0;
	for (unsigned i = 0; i < REPLIES_MAX; i++) {
		struct fetcher_page page;
		int fd;
		ssize_t got =
			fetcher_receive(arrivals->socket, &page, sizeof(page), &fd, MSG_DONTWAIT);

		if (got == -EAGAIN)
			return came;
		if (fd >= 0)
			close(fd);
		if (got != sizeof(page) || arrivals->lost) {
			arrivals->lost = true;
			arrivals->told = !came;
			return came ? 1 : -EPIPE;
		}
		struct arriving *arriving = find(arrivals, page.address);
		if (arriving == NULL
		    || !atomic_load_explicit(&arriving->begun, memory_order_relaxed))
			continue;
		/* A front end that takes pages away can have us ask for ever, but not quickly. */
		if (look(arriving, (page.address - arriving->fault_address) / arriving->page))
			came = true;
		else
			arrivals->failed = true;
	}
	return came;
}

void arrivals_retry(struct arrivals *arrivals)
{
	if (!arrivals->failed && !arrivals->lost)
		return;
	arrivals->failed = false;
	for (struct arriving *arriving = arrivals->regions; arriving != NULL;
	     arriving = arriving->next) {
		/* Most of it was never written to, and is no memory yet. */
		for (uint64_t i = 0; i < words_of(arriving); i++) {
			if (atomic_load_explicit(&arriving->asked[i], memory_order_relaxed) != 0)
				atomic_store_explicit(&arriving->asked[i], 0, memory_order_relaxed);
		}
	}
}

/* ---- regions ---- */

static void free_arriving(struct arriving *arriving)
{
	free(arriving->here);
	free(arriving->asked);
	free(arriving);
}

int arrivals_enter(struct arrivals *arrivals, struct memory_region *region)
{
	struct arriving *arriving = calloc(1, sizeof(*arriving));

	if (arriving == NULL)
		return -ENOMEM;
	*arriving = (struct arriving){
		.arrivals = arrivals,
		.next = arrivals->regions,
		.start = region->mapping,
		.size = region->mapping_size,
		.fault_address = arrivals->next_address,
		.page = region->page_size,
		.lead = (uint64_t)(region->host - (uint8_t *)region->mapping),
	};
	arriving->here = calloc(words_of(arriving), sizeof(arriving->here[0]));
	arriving->asked = calloc(words_of(arriving), sizeof(arriving->asked[0]));
	if (arriving->here == NULL || arriving->asked == NULL) {
		free_arriving(arriving);
		return -ENOMEM;
	}
	order(arrivals,
	      &(struct fetcher_order){
		      .what = FETCHER_MAP,
		      .address = arriving->fault_address,
		      .size = arriving->size,
		      .file_offset = region->file_offset - arriving->lead,
	      },
	      region->fd);
	arriving->order = arrivals->orders;
	arrivals->next_address += (arriving->size / address_step + 1) * address_step;
	arrivals->regions = arriving;
	region->arriving = arriving;
	return 0;
}

uint64_t arrivals_fault_address(const struct memory_region *region)
{
	return region->arriving->fault_address + region->arriving->lead;
}

int arrivals_begin(struct memory_region *region)
{
	struct arriving *arriving = region->arriving;
	struct uffdio_register what = {
		.range = {(uintptr_t)arriving->start, arriving->size},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (atomic_load_explicit(&arriving->begun, memory_order_relaxed))
		return 0;
	if (ioctl(arriving->arrivals->guard_fd, UFFDIO_REGISTER, &what) < 0)
		return -errno;
	/* release: none is touched before it is watched */
	atomic_store_explicit(&arriving->begun, true, memory_order_release);
	return 0;
}

static void unlink_region(struct arrivals *arrivals, const struct arriving *arriving)
{
	struct arriving **link = &arrivals->regions;

	while (*link != arriving)
		link = &(*link)->next;
	*link = arriving->next;
}

void arrivals_leave(struct memory_region *region)
{
	struct arriving *arriving = region->arriving;
	struct uffdio_range range = {(uintptr_t)arriving->start, arriving->size};

	region->arriving = NULL;
	unlink_region(arriving->arrivals, arriving);
	order(arriving->arrivals,
	      &(struct fetcher_order){
		      .what = FETCHER_UNMAP,
		      .address = arriving->fault_address,
		      .size = arriving->size,
	      },
	      -1);
	if (atomic_load_explicit(&arriving->begun, memory_order_relaxed))
		(void)ioctl(arriving->arrivals->guard_fd, UFFDIO_UNREGISTER, &range);
	free_arriving(arriving);
}

/* ---- data ---- */

static void ask(struct arriving *arriving, uint64_t page)
{
	const uint64_t bit = UINT64_C(1) << page % 64;
	_Atomic uint64_t *asked = &arriving->asked[page / 64];
	const struct fetcher_page request = {
		.address = arriving->fault_address + page * arriving->page,
		.order = arriving->order,
	};

	if (has(arriving->asked, page)
	    || atomic_fetch_or_explicit(asked, bit, memory_order_relaxed) & bit)
		return;
	/* If there is no room the next look asks again; of a fetcher that is gone, a look now and
	 * then is enough. */
	if (send(arriving->arrivals->requests,
		 &request,
		 sizeof(request),
		 MSG_DONTWAIT | MSG_NOSIGNAL)
		    < 0
	    && errno == EAGAIN)
		atomic_fetch_and_explicit(asked, ~bit, memory_order_relaxed);
}

bool arrivals_reach(struct arriving *arriving, const uint8_t *at, uint64_t *run)
{
	uint64_t offset = (uint64_t)(at - arriving->start);
	uint64_t page = offset / arriving->page;
	uint64_t room = arriving->page - offset % arriving->page;

	if (*run > room)
		*run = room;
	if (!atomic_load_explicit(&arriving->begun, memory_order_acquire))
		return false;
	if (has(arriving->here, page))
		return true;
	if (!has(arriving->asked, page) && look(arriving, page))
		return true;
	ask(arriving, page);
	return false;
}
