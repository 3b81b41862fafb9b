/* SPDX-License-Identifier: BSD-3-Clause */
/* See batch_io.h. */
#include "port/batch_io.h"

#include <errno.h>
#include <unistd.h>

enum {
	/* Without it the kernel would wait for a descriptor in spite of O_NONBLOCK, as readv() does
	 * not. Requests are then done when they are submitted, one after the other. */
	NO_WAIT = 0x8, /* RWF_NOWAIT of linux/fs.h, which cannot be had together with libc's */
};

void batch_io_open(struct batch_io *io)
{
	/* It fails where the kernel is old, built without it, or keeps it from us (seccomp, sysctl
	 * kernel.io_uring_disabled). */
	io->has_ring = io_uring_queue_init(BATCH_IO_MAX, &io->ring, 0) == 0;
}

void batch_io_close(struct batch_io *io)
{
	if (io->has_ring)
		io_uring_queue_exit(&io->ring);
	io->has_ring = false;
}

/* What was submitted is done, or will be without waiting for anybody. */
static void take_results(struct io_uring *ring, unsigned count, int *results)
{
	struct io_uring_cqe *cqe;

	for (unsigned i = 0; i < count; i++) {
		while (io_uring_wait_cqe(ring, &cqe) < 0)
			;
		results[io_uring_cqe_get_data64(cqe)] = cqe->res;
		io_uring_cqe_seen(ring, cqe);
	}
}

/* Submit what was prepared; how many requests have their results. Fewer than `count`: the kernel is
 * short of memory, and the ring has to go with what is left in it. */
static unsigned submit(struct batch_io *io, unsigned count, int *results)
{
	unsigned submitted = 0;

	while (submitted < count) {
		int n = io_uring_submit(&io->ring);

		if (n <= 0 && n != -EINTR)
			break;
		submitted += n > 0 ? (unsigned)n : 0;
	}
	take_results(&io->ring, submitted, results);
	/* Before Linux 6.4 a tap cannot tell beforehand that it would wait: nothing was done. */
	if (submitted == count && results[0] == -EOPNOTSUPP)
		submitted = 0;
	if (submitted < count)
		batch_io_close(io);
	return submitted;
}

static bool has_use_for_ring(const struct batch_io *io, unsigned count)
{
	return io->has_ring && count > 1;
}

static int result_of(ssize_t result)
{
	return result < 0 ? -errno : (int)result;
}

void batch_io_write(
	struct batch_io *io, int fd, const struct batch_write *writes, unsigned count, int *results
)
{
	unsigned done = 0;

	if (has_use_for_ring(io, count)) {
		for (unsigned i = 0; i < count; i++) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);

			io_uring_prep_writev2(
				sqe, fd, writes[i].spans, writes[i].count, 0, NO_WAIT
			);
			io_uring_sqe_set_data64(sqe, i);
		}
		done = submit(io, count, results);
	}
	for (; done < count; done++)
		results[done] = result_of(writev(fd, writes[done].spans, (int)writes[done].count));
}

void batch_io_read(
	struct batch_io *io, int fd, const struct iovec *buffers, unsigned count, int *results
)
{
	unsigned done = 0;

	if (has_use_for_ring(io, count)) {
		for (unsigned i = 0; i < count; i++) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);

			io_uring_prep_readv2(sqe, fd, &buffers[i], 1, 0, NO_WAIT);
			io_uring_sqe_set_data64(sqe, i);
		}
		done = submit(io, count, results);
	}
	for (; done < count; done++) {
		/* Where nothing was found, nothing is looked for again. */
		bool empty = done > 0 && results[done - 1] <= 0;

		results[done] = empty ? -EAGAIN : result_of(readv(fd, &buffers[done], 1));
	}
}
