/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads and writes in batches: in order, without waiting, and alike with io_uring and without. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "port/batch_io.h"

struct rig {
	struct batch_io io;
	int fds[2]; /* what is written to the first comes out of the second, a message each */
};

static void open_rig(struct rig *rig, bool with_ring)
{
	int least = 1; /* byte: the kernel has a minimum */

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, rig->fds), 0);
	assert_int_equal(setsockopt(rig->fds[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)), 0);
	batch_io_open(&rig->io);
	if (!with_ring)
		batch_io_close(&rig->io);
	else if (!rig->io.has_ring)
		skip(); /* the kernel has no io_uring, or not for us */
}

static void close_rig(struct rig *rig)
{
	batch_io_close(&rig->io);
	close(rig->fds[0]);
	close(rig->fds[1]);
}

enum {
	MESSAGES = 4, /* that a socket holds */
};

static void pass_messages(void **state)
{
	bool with_ring = *state != NULL;
	struct rig rig;
	char digits[] = "0123456789";
	char first[MESSAGES][2], in[BATCH_IO_MAX][64];
	struct iovec spans[MESSAGES][2], buffers[BATCH_IO_MAX];
	struct batch_write writes[MESSAGES];
	int results[BATCH_IO_MAX];

	open_rig(&rig, with_ring);
	for (unsigned i = 0; i < BATCH_IO_MAX; i++)
		buffers[i] = (struct iovec){in[i], sizeof(in[i])};
	for (unsigned i = 0; i < MESSAGES; i++) {
		memcpy(first[i], (char[]){'a', (char)('0' + i)}, 2);
		spans[i][0] = (struct iovec){first[i], 2};
		spans[i][1] = (struct iovec){digits, i};
		writes[i] = (struct batch_write){spans[i], 2};
	}
	for (unsigned round = 0; round < 100; round++) {
		batch_io_write(&rig.io, rig.fds[0], writes, MESSAGES, results);
		for (unsigned i = 0; i < MESSAGES; i++)
			assert_int_equal(results[i], 2 + i);
		batch_io_read(&rig.io, rig.fds[1], buffers, BATCH_IO_MAX, results);
		for (unsigned i = 0; i < MESSAGES; i++) {
			assert_int_equal(results[i], 2 + i);
			assert_memory_equal(in[i], first[i], 2);
			assert_memory_equal(in[i] + 2, "0123456789", i);
		}
		for (unsigned i = MESSAGES; i < BATCH_IO_MAX; i++)
			assert_int_equal(results[i], -EAGAIN);
	}
	assert_int_equal(rig.io.has_ring, with_ring);
	close_rig(&rig);
}

/* The socket is full after some of them: these are there, the others are told to come again. */
static void pass_more_than_there_is_room_for(void **state)
{
	struct rig rig;
	char byte[BATCH_IO_MAX], in[BATCH_IO_MAX];
	struct iovec spans[BATCH_IO_MAX], buffers[BATCH_IO_MAX];
	struct batch_write writes[BATCH_IO_MAX];
	int results[BATCH_IO_MAX];
	unsigned fit = 0;

	open_rig(&rig, *state != NULL);
	for (unsigned i = 0; i < BATCH_IO_MAX; i++) {
		byte[i] = (char)i;
		spans[i] = (struct iovec){&byte[i], 1};
		buffers[i] = (struct iovec){&in[i], 1};
		writes[i] = (struct batch_write){&spans[i], 1};
	}
	batch_io_write(&rig.io, rig.fds[0], writes, BATCH_IO_MAX, results);
	while (fit < BATCH_IO_MAX && results[fit] == 1)
		fit++;
	assert_in_range(fit, MESSAGES, BATCH_IO_MAX - 1);
	for (unsigned i = fit; i < BATCH_IO_MAX; i++)
		assert_int_equal(results[i], -EAGAIN);
	batch_io_read(&rig.io, rig.fds[1], buffers, BATCH_IO_MAX, results);
	for (unsigned i = 0; i < BATCH_IO_MAX; i++)
		assert_int_equal(results[i], i < fit ? 1 : -EAGAIN);
	assert_memory_equal(in, byte, fit);
	close_rig(&rig);
}

/* One that the kernel refuses does not keep the next from going. */
static void pass_over_a_bad_one(void **state)
{
	struct rig rig;
	char x[] = "x";
	struct iovec good = {x, 1}, bad = {(void *)(uintptr_t)8, 1};
	struct batch_write writes[] = {{&good, 1}, {&bad, 1}, {&good, 1}};
	int results[3];

	open_rig(&rig, *state != NULL);
	batch_io_write(&rig.io, rig.fds[0], writes, 3, results);
	assert_int_equal(results[0], 1);
	assert_int_equal(results[1], -EFAULT);
	assert_int_equal(results[2], 1);
	batch_io_write(&rig.io, -1, writes, 3, results);
	assert_int_equal(results[0], -EBADF);
	assert_int_equal(results[2], -EBADF);
	close_rig(&rig);
}

#define BOTH(function)                                                       \
	{#function ", io_uring", function, NULL, NULL, (void *)"ring"},      \
	{                                                                    \
#function ", a system call each", function, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(pass_messages),
		BOTH(pass_more_than_there_is_room_for),
		BOTH(pass_over_a_bad_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
