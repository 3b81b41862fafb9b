/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages that arrive while their guest runs, see arrivals.h. */
#include "memory/arrivals.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	FAILED_PAUSE_US = 10000,
};

struct arriving {
	struct arrivals *arrivals;
	struct arriving *next;
	uint8_t *start, *faulting; /* the two mappings, of `size` bytes */
	size_t size;
	uint64_t page; /* bytes */
	uint64_t lead; /* bytes before the region's first */
	atomic_bool begun;
	/* A bit a page. `here` is set once it is, for good. `asked` keeps the data path from asking
	 * again; the fetcher takes it back if it had no success. */
	_Atomic uint64_t *here, *asked;
};

struct arrivals {
	int fault_fd; /* asks the front end */
	int guard_fd; /* makes an error of what is missing, in the data path's mappings */
	int attention;
	int ask[2]; /* pipe of addresses in the data path's mappings; closed: the fetcher ends */
	pthread_t fetcher;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t idle;  /* `busy` has become NULL */
	struct arriving *regions;
	struct arriving *busy; /* the fetcher is at it */
};

/* Faults of the kernel in our place count, too; without privileges they may not (sysctl
 * vm.unprivileged_userfaultfd, or the rights of /dev/userfaultfd). */
static int open_userfaultfd(uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

		if (device < 0)
			return errno == ENOENT ? -EPERM : -errno;
		fd = ioctl(device, _IO(0xAA, 0) /* USERFAULTFD_IOC_NEW */, O_CLOEXEC | O_NONBLOCK);
		close(device);
		if (fd < 0)
			return -errno;
	}
	if (ioctl(fd, UFFDIO_API, &api) == 0)
		return fd;
	int error = -errno;
	close(fd);
	return error;
}

static int open_guard(void)
{
	return open_userfaultfd(
		UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MISSING_HUGETLBFS
	);
}

bool arrivals_are_possible(void)
{
	/* An empty range: whether the kernel knows the advice. */
	int fd = madvise(NULL, 0, MADV_POPULATE_WRITE) == 0 ? open_guard() : -1;

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* ---- the fetcher ---- */

static bool has(const _Atomic uint64_t *bits, uint64_t page, memory_order order)
{
	uint64_t word = atomic_load_explicit((_Atomic uint64_t *)&bits[page / 64], order);

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

static struct arriving *find(struct arrivals *arrivals, uint64_t address)
{
	struct arriving *arriving = arrivals->regions;

	while (arriving != NULL && address - (uintptr_t)arriving->start >= arriving->size)
		arriving = arriving->next;
	return arriving;
}

static void done(struct arrivals *arrivals)
{
	pthread_mutex_lock(&arrivals->lock);
	arrivals->busy = NULL;
	pthread_cond_signal(&arrivals->idle);
	pthread_mutex_unlock(&arrivals->lock);
}

static void fetch(struct arrivals *arrivals, uint64_t address)
{
	pthread_mutex_lock(&arrivals->lock);
	struct arriving *arriving = find(arrivals, address);
	arrivals->busy = arriving;
	pthread_mutex_unlock(&arrivals->lock);
	/* acquire: nothing is touched before it is watched */
	bool begun =
		arriving != NULL && atomic_load_explicit(&arriving->begun, memory_order_acquire);
	if (!begun) {
		done(arrivals);
		return;
	}
	uint64_t page = (address - (uintptr_t)arriving->start) / arriving->page;
	bool came = look(arriving, page);
	if (!came) {
		/* The wait. */
		(void)madvise(
			arriving->faulting + page * arriving->page,
			arriving->page,
			MADV_POPULATE_READ
		);
		came = look(arriving, page);
	}
	if (!came) {
		atomic_fetch_and_explicit(
			&arriving->asked[page / 64],
			~(UINT64_C(1) << page % 64),
			memory_order_relaxed
		);
	}
	done(arrivals);
	/* A front end that takes pages away can have us ask for ever, but not quickly. */
	if (!came)
		usleep(FAILED_PAUSE_US);
	const uint64_t one = 1;
	(void)!write(arrivals->attention, &one, sizeof(one));
}

static void *fetch_all(void *context)
{
	struct arrivals *arrivals = context;
	uint64_t address;

	while (read(arrivals->ask[0], &address, sizeof(address)) == sizeof(address))
		fetch(arrivals, address);
	return NULL;
}

static int start_fetcher(struct arrivals *arrivals)
{
	sigset_t all, before;

	/* Signals are the program's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&arrivals->fetcher, NULL, fetch_all, arrivals);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

/* ---- life ---- */

static void close_all(struct arrivals *arrivals)
{
	const int fds[] = {
		arrivals->fault_fd,
		arrivals->guard_fd,
		arrivals->ask[0],
		arrivals->ask[1],
	};

	for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	free(arrivals);
}

int arrivals_create(int attention, struct arrivals **out)
{
	struct arrivals *arrivals = calloc(1, sizeof(*arrivals));

	if (arrivals == NULL)
		return -ENOMEM;
	arrivals->attention = attention;
	arrivals->ask[0] = arrivals->ask[1] = -1;
	/* No features: the front end reads its events and expects no others than faults. */
	arrivals->fault_fd = open_userfaultfd(0);
	arrivals->guard_fd = open_guard();
	int error = arrivals->fault_fd < 0 ? arrivals->fault_fd : arrivals->guard_fd;
	if (error >= 0
	    && (pipe2(arrivals->ask, O_CLOEXEC) < 0
		|| fcntl(arrivals->ask[1], F_SETFL, O_NONBLOCK) < 0))
		error = -errno;
	pthread_mutex_init(&arrivals->lock, NULL);
	pthread_cond_init(&arrivals->idle, NULL);
	if (error >= 0)
		error = start_fetcher(arrivals);
	if (error < 0) {
		close_all(arrivals);
		return error;
	}
	*out = arrivals;
	return 0;
}

void arrivals_destroy(struct arrivals *arrivals)
{
	if (arrivals == NULL)
		return;
	close(arrivals->ask[1]);
	arrivals->ask[1] = -1;
	pthread_join(arrivals->fetcher, NULL);
	close_all(arrivals);
}

int arrivals_fault_fd(const struct arrivals *arrivals)
{
	return arrivals->fault_fd;
}

/* ---- regions ---- */

int arrivals_enter(struct arrivals *arrivals, struct memory_region *region)
{
	struct arriving *arriving = calloc(1, sizeof(*arriving));

	if (arriving == NULL)
		return -ENOMEM;
	*arriving = (struct arriving){
		.arrivals = arrivals,
		.start = region->mapping,
		.size = region->mapping_size,
		.page = region->page_size,
		.lead = (uint64_t)(region->host - (uint8_t *)region->mapping),
	};
	uint64_t words = (arriving->size / arriving->page + 63) / 64;
	arriving->here = calloc(words, sizeof(arriving->here[0]));
	arriving->asked = calloc(words, sizeof(arriving->asked[0]));
	int error = arriving->here == NULL || arriving->asked == NULL ? -ENOMEM : 0;
	if (error == 0) {
		/* As the first mapping lies: huge pages in step. */
		struct memory_region again = *region;

		error = memory_map_again(&again);
		arriving->faulting = again.mapping;
	}
	if (error < 0) {
		free(arriving->here);
		free(arriving->asked);
		free(arriving);
		return error;
	}
	/* Where a touch brings a huge page along, what was missing beside it is taken for there. */
	(void)madvise(arriving->faulting, arriving->size, MADV_NOHUGEPAGE);
	region->arriving = arriving;
	pthread_mutex_lock(&arrivals->lock);
	arriving->next = arrivals->regions;
	arrivals->regions = arriving;
	pthread_mutex_unlock(&arrivals->lock);
	return 0;
}

uint64_t arrivals_fault_address(const struct memory_region *region)
{
	return (uint64_t)(uintptr_t)region->arriving->faulting + region->arriving->lead;
}

static int watch(int fd, uint8_t *start, size_t size)
{
	struct uffdio_register what = {
		.range = {(uintptr_t)start, size},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return ioctl(fd, UFFDIO_REGISTER, &what) < 0 ? -errno : 0;
}

int arrivals_begin(struct memory_region *region)
{
	struct arriving *arriving = region->arriving;
	struct arrivals *arrivals = arriving->arrivals;

	if (atomic_load_explicit(&arriving->begun, memory_order_relaxed))
		return 0;
	int error = watch(arrivals->guard_fd, arriving->start, arriving->size);
	if (error == 0)
		error = watch(arrivals->fault_fd, arriving->faulting, arriving->size);
	/* release: none is touched before it is watched */
	atomic_store_explicit(&arriving->begun, error == 0, memory_order_release);
	return error;
}

static void unlink_region(struct arrivals *arrivals, const struct arriving *arriving)
{
	struct arriving **link = &arrivals->regions;

	while (*link != arriving)
		link = &(*link)->next;
	*link = arriving->next;
}

/* The fetcher may wait in the mapping, for a page that never comes. What is there instead of it
 * then ends the wait with an error, and not with a page of zeros, which would be the guest's. */
void arrivals_leave(struct memory_region *region)
{
	struct arriving *arriving = region->arriving;
	struct arrivals *arrivals = arriving->arrivals;
	struct uffdio_range range = {(uintptr_t)arriving->faulting, arriving->size};

	region->arriving = NULL;
	if (mmap(arriving->faulting,
		 arriving->size,
		 PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
		 -1,
		 0)
	    == MAP_FAILED)
		(void)mprotect(arriving->faulting, arriving->size, PROT_NONE);
	(void)ioctl(arrivals->fault_fd, UFFDIO_WAKE, &range);
	pthread_mutex_lock(&arrivals->lock);
	unlink_region(arrivals, arriving);
	while (arrivals->busy == arriving)
		pthread_cond_wait(&arrivals->idle, &arrivals->lock);
	pthread_mutex_unlock(&arrivals->lock);
	range.start = (uintptr_t)arriving->start;
	if (atomic_load_explicit(&arriving->begun, memory_order_relaxed))
		(void)ioctl(arrivals->guard_fd, UFFDIO_UNREGISTER, &range);
	munmap(arriving->faulting, arriving->size);
	free(arriving->here);
	free(arriving->asked);
	free(arriving);
}

/* ---- data ---- */

static void ask(struct arriving *arriving, uint64_t page)
{
	const uint64_t bit = UINT64_C(1) << page % 64;
	_Atomic uint64_t *asked = &arriving->asked[page / 64];
	uint64_t address = (uintptr_t)arriving->start + page * arriving->page;

	if (has(arriving->asked, page, memory_order_relaxed)
	    || atomic_fetch_or_explicit(asked, bit, memory_order_relaxed) & bit)
		return;
	/* A pipe that is full is read from: the next look asks again. */
	if (write(arriving->arrivals->ask[1], &address, sizeof(address)) != sizeof(address))
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
	if (has(arriving->here, page, memory_order_relaxed))
		return true;
	if (!has(arriving->asked, page, memory_order_relaxed) && look(arriving, page))
		return true;
	ask(arriving, page);
	return false;
}
