/* SPDX-License-Identifier: BSD-3-Clause */
/* From the driver: borrowing the frames on a transmit queue, and giving them back. */
#include <errno.h>
#include <string.h>

#include "device/device.h"
#include "net/spans.h"

enum {
	WALK_MAX = 2048, /* descriptors a burst looks at, give or take a chain */
};

/* The head of a frame: header and first bytes, fetched once. What remains is its tail. */
static inline void fetch_head(
	const struct queue *queue,
	struct vl_frame *frame,
	struct iovec *spans,
	uint32_t span_count,
	uint64_t size
)
{
	struct span_cursor cursor = {spans, span_count};

	memset(&frame->header, 0, sizeof(frame->header));
	frame->head = frame->bytes;
	frame->head_size = 0;
	frame->tail = NULL;
	frame->tail_count = 0;
	frame->size = 0;
	if (size <= queue->header_size)
		return;
	spans_get(&cursor, &frame->header, queue->header_size);
	size -= queue->header_size;
	frame->size = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
	frame->head_size = size < VL_HEAD_MAX ? (uint16_t)size : VL_HEAD_MAX;
	spans_get(&cursor, frame->head, frame->head_size);
	frame->tail = cursor.span;
	frame->tail_count = (uint16_t)cursor.count;
}

/* Header and head are 76 bytes: two lines of one piece, or a line of each of two. */
static inline void prefetch_head(const struct iovec *spans, uint32_t count)
{
	if (count == 0)
		return;
	__builtin_prefetch(spans[0].iov_base);
	if (count > 1)
		__builtin_prefetch(spans[1].iov_base);
	else
		__builtin_prefetch((const uint8_t *)spans[0].iov_base + 64);
}

/*
 * First all chains are parsed and their first lines asked for, then all heads are fetched: the
 * loads of a burst overlap instead of waiting for each other.
 */
static inline int
take_burst(struct queue *queue, struct vl_frame *frames, unsigned max, const bool packed)
{
	struct {
		uint32_t first, count;
		uint64_t size;
	} chains[VL_BURST_MAX];
	uint32_t used = 0;
	unsigned n = 0;

	queue->ring.walked = 0;
	while (n < max && queue->span_capacity - used >= queue->span_chain_max
	       && queue->ring.walked < WALK_MAX) {
		struct ring_chain chain;
		int got = ring_take(
			&queue->ring, packed, &chain, queue->spans + used, queue->span_chain_max
		);

		if (got <= 0)
			break;
		chains[n].first = used;
		chains[n].count = chain.readable_spans;
		chains[n].size = chain.readable_size;
		prefetch_head(&queue->spans[used], chain.readable_spans);
		used += chain.readable_spans;
		n++;
	}
	for (unsigned i = 0; i < n; i++)
		fetch_head(
			queue,
			&frames[i],
			queue->spans + chains[i].first,
			chains[i].count,
			chains[i].size
		);
	if (n > 0)
		ring_notify_off(&queue->ring, packed);
	return (int)n;
}

static void discard(struct queue *queue, const struct vl_frame *frames, unsigned count)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += frames[i].size;
	counter_add(&queue->counters->discarded_frames, count);
	counter_add(&queue->counters->discarded_bytes, bytes);
	ring_publish(&queue->ring, queue->ring.packed, count);
	queue_call(queue);
}

int vl_device_borrow(struct vl_device *device, unsigned pair, struct vl_frame *frames, unsigned max)
{
	struct queue *queue = device_data_queue(device, pair, false);

	if (queue == NULL)
		return 0;
	if (atomic_load_explicit(&queue->ring.broken, memory_order_relaxed) != NULL) {
		queue_signal_error(queue);
		return -EPROTO;
	}
	if (max > VL_BURST_MAX)
		max = VL_BURST_MAX;
	int n = queue->ring.packed ? take_burst(queue, frames, max, true)
				   : take_burst(queue, frames, max, false);
	/* Good frames come first; what broke the ring behind them is told by the next call. */
	if (n == 0 && atomic_load_explicit(&queue->ring.broken, memory_order_relaxed) != NULL) {
		queue_signal_error(queue);
		return -EPROTO;
	}
	/* "started and disabled: [...] must process and discard any TX packets" */
	if (n > 0 && !atomic_load_explicit(&queue->enabled, memory_order_relaxed)) {
		discard(queue, frames, (unsigned)n);
		return 0;
	}
	return n;
}

void vl_device_give_back(struct vl_device *device, unsigned pair, unsigned count)
{
	struct queue *queue = device_data_queue(device, pair, false);

	if (queue == NULL || count == 0)
		return;
	if (count > queue->ring.held_count)
		count = queue->ring.held_count;
	ring_publish(&queue->ring, queue->ring.packed, count);
	queue_call(queue);
}

void vl_device_discarded(
	const struct vl_device *device, unsigned pair, uint64_t *frames, uint64_t *bytes
)
{
	const struct queue_counters *counters = &device->queues[2 * pair + 1].counters;

	*frames = atomic_load_explicit(&counters->discarded_frames, memory_order_relaxed);
	*bytes = atomic_load_explicit(&counters->discarded_bytes, memory_order_relaxed);
}

bool vl_device_sleep(struct vl_device *device, unsigned pair)
{
	struct queue *queue = device_data_queue(device, pair, false);

	if (queue == NULL
	    || atomic_load_explicit(&queue->ring.broken, memory_order_relaxed) != NULL)
		return true;
	return !ring_notify_on(&queue->ring, queue->ring.packed);
}

bool vl_device_is_silent(const struct vl_device *device, unsigned pair)
{
	struct virtqueue *vq = &((struct vl_device *)device)->queues[2 * pair + 1];

	return device_data_queue(device, pair, false) != NULL
	       && atomic_load_explicit(&vq->kick_fd, memory_order_relaxed) < 0;
}

void vl_device_kicked(struct vl_device *device, unsigned pair)
{
	struct virtqueue *vq = &device->queues[2 * pair + 1];

	counter_add(&vq->counters.kicks, 1);
	queue_drain_kick(atomic_load_explicit(&vq->kick_fd, memory_order_relaxed));
}
