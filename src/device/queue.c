/* SPDX-License-Identifier: BSD-3-Clause */
/* Notifications of a started queue, see queue.h. */
#include "device/queue.h"

#include <unistd.h>

static void signal_fd(int fd)
{
	uint64_t one = 1;

	/* A descriptor that is full has been signalled; one that is broken is the peer's loss. */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return;
}

void queue_call(struct queue *queue)
{
	int fd = atomic_load_explicit(&queue->call_fd, memory_order_relaxed);

	if (!ring_wants_call(&queue->ring, queue->ring.packed))
		return;
	counter_add(&queue->counters->calls, 1);
	signal_fd(fd);
}

void queue_signal_error(struct queue *queue)
{
	signal_fd(atomic_exchange_explicit(&queue->err_fd, -1, memory_order_relaxed));
}
