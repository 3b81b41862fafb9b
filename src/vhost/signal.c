/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signalling without waiting, see signal.h.
 *
 * An eventfd's O_NONBLOCK is the peer's as much as ours: it may clear it, fill the counter, and a
 * write() would wait for as long as it likes. No flag of a write's own helps there. But the kernel
 * signals an eventfd without waiting when an asynchronous request completes that names it
 * (io_submit(2), IOCB_FLAG_RESFD): so we have it read nothing from a file of ours. That takes
 * longer than a write, and is done once a burst at most.
 */
#include <errno.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "vhost/signal.h"

enum {
	REQUESTS_MAX = 64, /* that have completed, and were not fetched yet */
};

/* Of a thread. */
struct requests {
	aio_context_t context;
	unsigned completed;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int nothing = -1; /* the file that is read from; -1: there is none */

static void end(void *context)
{
	struct requests *requests = context;

	(void)syscall(SYS_io_destroy, requests->context);
	free(requests);
}

static void begin(void)
{
	if (pthread_key_create(&key, end) == 0)
		nothing = memfd_create("virtlane-nothing", MFD_CLOEXEC);
}

static void fetch(struct requests *requests)
{
	static const struct timespec at_once;
	struct io_event events[REQUESTS_MAX];

	(void)syscall(SYS_io_getevents, requests->context, 0, REQUESTS_MAX, events, &at_once);
	requests->completed = 0;
}

void vhost_signal_prepare(void)
{
	pthread_once(&once, begin);
}

/* This thread's; NULL: the kernel, or a limit of it (fs.aio-max-nr), does not permit it. */
static struct requests *own_requests(void)
{
	vhost_signal_prepare();
	struct requests *requests = nothing < 0 ? NULL : pthread_getspecific(key);

	if (requests != NULL || nothing < 0)
		return requests;
	requests = calloc(1, sizeof(*requests));
	if (requests == NULL || syscall(SYS_io_setup, REQUESTS_MAX, &requests->context) < 0
	    || pthread_setspecific(key, requests) != 0) {
		free(requests);
		return NULL;
	}
	return requests;
}

/* False: it is none, or it cannot be done so. */
static bool signal_eventfd(int fd)
{
	struct requests *requests = own_requests();

	if (requests == NULL)
		return false;
	if (requests->completed == REQUESTS_MAX / 2)
		fetch(requests);
	struct iocb request = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)nothing,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *list = &request;
	if (syscall(SYS_io_submit, requests->context, 1, &list) != 1)
		return false;
	requests->completed++;
	return true;
}

void vhost_signal(int fd)
{
	uint64_t one = 1;

	/* One that is full has been signalled; one that is broken is the peer's loss. */
	if (!signal_eventfd(fd) && write(fd, &one, sizeof(one)) < 0)
		return;
}

bool vhost_quiet(int fd)
{
	uint64_t value;
	struct iovec to = {&value, sizeof(value)};
	ssize_t got = preadv2(fd, &to, 1, -1, RWF_NOWAIT);

	/* Not every kernel can for all kinds: sockets and pipes are asked in their own ways. */
	if (got < 0 && errno == EOPNOTSUPP) {
		got = recv(fd, &value, sizeof(value), MSG_DONTWAIT);
		if (got < 0 && errno == ENOTSOCK)
			got = read(fd, &value, sizeof(value));
	}
	return got > 0;
}
