/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtlane-fetcher: waits for pages of a guest that has moved before its memory, see
 * memory/fetcher.h. libvirtlane starts one for each such guest.
 *
 * The front end gets the userfaultfd of this process. So that it has no use for that beyond what
 * it is meant for: all that is ours is there before and stays there (mlockall()), there is nothing
 * here that it did not have already, and few system calls are left.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory/fetcher.h"

enum {
	STACK_SIZE = 128 << 10, /* bytes of the thread that waits: they are locked in memory */
};

static _Thread_local volatile bool touching;
static _Thread_local sigjmp_buf not_there;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t followed = PTHREAD_COND_INITIALIZER;
static uint64_t orders_followed;
static pthread_barrier_t started;

/* ---- pages ---- */

static void on_fault(int)
{
	if (!touching)
		_exit(1);
	siglongjmp(not_there, 1);
}

/* Returns when the page is there, or never will be: it was unmapped, or its file cut short. */
static void touch(uint64_t address)
{
	if (sigsetjmp(not_there, 0) == 0) {
		touching = true;
		(void)*(const volatile uint8_t *)(uintptr_t)address;
	}
	touching = false;
}

/* Requests may overtake orders. */
static void await_order(uint64_t number)
{
	pthread_mutex_lock(&lock);
	while (orders_followed < number)
		pthread_cond_wait(&followed, &lock);
	pthread_mutex_unlock(&lock);
}

static void *serve_requests(void *)
{
	struct fetcher_page page;

	pthread_barrier_wait(&started);
	while (read(FETCHER_REQUESTS, &page, sizeof(page)) == sizeof(page)) {
		await_order(page.order);
		touch(page.address);
		if (fetcher_send(FETCHER_SOCKET, &page, sizeof(page), -1, 0) < 0)
			break;
	}
	_exit(0);
}

/* ---- orders ---- */

/* Nobody can touch it before touches are requests: a touch then would make a page of zeros. */
static int map(int userfaultfd, const struct fetcher_order *order, int fd)
{
	struct uffdio_register watch = {
		.range = {order->address, order->size},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	void *start =
		mmap((void *)(uintptr_t)order->address,
		     order->size,
		     PROT_NONE,
		     MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
		     fd,
		     (off_t)order->file_offset);

	if (start == MAP_FAILED)
		return -errno;
	/* Where a touch brings a huge page along, what was missing beside it is taken for there. */
	(void)madvise(start, order->size, MADV_NOHUGEPAGE);
	(void)madvise(start, order->size, MADV_DONTDUMP);
	return ioctl(userfaultfd, UFFDIO_REGISTER, &watch) < 0
			       || mprotect(start, order->size, PROT_READ) < 0
		       ? -errno
		       : 0;
}

/* Who waits there is woken and finds nothing, which is not a page of zeros: that would be the
 * guest's. */
static int unmap(int userfaultfd, const struct fetcher_order *order)
{
	struct uffdio_range range = {order->address, order->size};

	return munmap((void *)(uintptr_t)order->address, order->size) < 0
			       || ioctl(userfaultfd, UFFDIO_WAKE, &range) < 0
		       ? -errno
		       : 0;
}

static void follow_orders(int userfaultfd)
{
	struct fetcher_order order;
	int fd, error = 0;

	while (error == 0
	       && fetcher_receive(FETCHER_SOCKET, &order, sizeof(order), &fd, 0)
			  == (ssize_t)sizeof(order)) {
		error = order.what == FETCHER_MAP ? map(userfaultfd, &order, fd)
						  : unmap(userfaultfd, &order);
		if (fd >= 0)
			close(fd);
		pthread_mutex_lock(&lock);
		orders_followed++;
		pthread_cond_signal(&followed);
		pthread_mutex_unlock(&lock);
	}
}

/* ---- what we are ---- */

/* Only touches count, and not what the kernel does for us: so no privilege is needed. */
static int open_userfaultfd(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	return fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 ? -errno : fd;
}

static int start_thread(void)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_barrier_init(&started, NULL, 2);
	pthread_attr_init(&attributes);
	int error = pthread_attr_setstacksize(&attributes, STACK_SIZE);
	if (error == 0)
		error = pthread_create(&thread, &attributes, serve_requests, NULL);
	pthread_attr_destroy(&attributes);
	/* To start takes calls that are forbidden soon. */
	if (error == 0)
		pthread_barrier_wait(&started);
	return -error;
}

/* Of both threads. */
static int forbid_all_else(int userfaultfd)
{
	/* brk: what libseccomp frees at the end of this. mmap: what there is later is the guest's.
	 */
	static const int allowed[] = {
		SCMP_SYS(brk),
		SCMP_SYS(close),
		SCMP_SYS(exit_group),
		SCMP_SYS(futex),
		SCMP_SYS(madvise),
		SCMP_SYS(munmap),
		SCMP_SYS(rt_sigreturn),
		SCMP_SYS(restart_syscall),
	};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int error = filter == NULL ? -ENOMEM : seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	for (unsigned i = 0; error == 0 && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	const struct {
		int call;
		struct scmp_arg_cmp argument;
	} bounded[] = {
		{SCMP_SYS(read), SCMP_A0(SCMP_CMP_EQ, FETCHER_REQUESTS, 0)},
		{SCMP_SYS(recvmsg), SCMP_A0(SCMP_CMP_EQ, FETCHER_SOCKET, 0)},
		{SCMP_SYS(sendmsg), SCMP_A0(SCMP_CMP_EQ, FETCHER_SOCKET, 0)},
		{SCMP_SYS(ioctl), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)userfaultfd, 0)},
		{SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)},
		{SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)},
	};
	for (unsigned i = 0; error == 0 && i < sizeof(bounded) / sizeof(bounded[0]); i++)
		error = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, bounded[i].call, 1, bounded[i].argument
		);
	if (error == 0)
		error = seccomp_load(filter);
	seccomp_release(filter);
	return error;
}

static int prepare(int userfaultfd)
{
	struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	/* A dump would be written to the host, by and by, and be all of the guest's. */
	(void)prctl(PR_SET_DUMPABLE, 0);
	int error = start_thread();
	if (error < 0)
		return error;
	/* Where that is too much for us, the system calls still are few. */
	(void)mlockall(MCL_CURRENT);
	return forbid_all_else(userfaultfd);
}

int main(void)
{
	int userfaultfd = open_userfaultfd();
	struct fetcher_greeting greeting = {
		.version = FETCHER_VERSION,
		.error = userfaultfd < 0 ? userfaultfd : prepare(userfaultfd),
	};

	if (fetcher_send(
		    FETCHER_SOCKET,
		    &greeting,
		    sizeof(greeting),
		    greeting.error < 0 ? -1 : userfaultfd,
		    0
	    ) == 0
	    && greeting.error == 0)
		follow_orders(userfaultfd);
	_exit(0);
}
