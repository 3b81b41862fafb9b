/* SPDX-License-Identifier: BSD-3-Clause */
/* Notifications of a started queue, see queue.h. */
#include "device/queue.h"

#include <sys/socket.h>
#include <unistd.h>

#include "vhost/signal.h"

static void signal_fd(int fd)
{
	uint64_t one = 1;

	if (fd >= 0 && fd & SIGNAL_SOCKET)
		(void)send(fd & ~SIGNAL_SOCKET, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (fd >= 0)
		vhost_signal(fd);
}

void queue_notify(struct queue *queue)
{
	counter_add(&queue->counters->calls, 1);
	signal_fd(atomic_load_explicit(&queue->call_fd, memory_order_relaxed));
}

void queue_log_ring(const struct queue *queue)
{
	if (!queue_is_logged(queue))
		return;
	for (unsigned i = 0; i < sizeof(queue->logged) / sizeof(queue->logged[0]); i++)
		dirty_log_mark(&queue->log, queue->logged[i].guest_address, queue->logged[i].size);
	signal_fd(queue->log_fd);
}

void queue_look_ahead(struct queue *queue)
{
	if (atomic_load_explicit(&queue->ring.memory, memory_order_relaxed)->by_reach)
		ring_look_ahead(
			&queue->ring, queue->ring.packed, queue->spans, queue->span_chain_max, 0
		);
}

void queue_call(struct queue *queue)
{
	queue_log_ring(queue);
	if (ring_wants_call(&queue->ring, queue->ring.packed))
		queue_notify(queue);
}

void queue_signal_error(struct queue *queue)
{
	signal_fd(atomic_exchange_explicit(&queue->err_fd, -1, memory_order_relaxed));
}
