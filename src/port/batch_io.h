/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several reads, or several writes, with one system call: by io_uring where the kernel has it and
 * lets us, else with a system call each. None of them blocks.
 *
 * One thread at a time uses a batch_io, not always the same. Results are those of the system calls:
 * bytes, or -errno.
 */
#pragma once

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	BATCH_IO_MAX = 64, /* requests a call */
};

struct batch_io {
	struct io_uring ring;
	bool has_ring;
};

/* Part of a write: `count` pieces from `spans` on. */
struct batch_write {
	const struct iovec *spans;
	uint32_t count;
};

/* Never fails: without io_uring it only is slower. */
void batch_io_open(struct batch_io *io);
void batch_io_close(struct batch_io *io);

/* Write each to `fd`, which was opened with O_NONBLOCK, in their order. One that fails does not
 * keep those behind it from being written. */
void batch_io_write(
	struct batch_io *io, int fd, const struct batch_write *writes, unsigned count, int *results
);
/* Read `count` times, into `buffers`, or until there is nothing to be read. */
void batch_io_read(
	struct batch_io *io, int fd, const struct iovec *buffers, unsigned count, int *results
);
