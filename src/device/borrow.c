/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the driver: borrowing the frames on a transmit queue, and giving them back. Compiled once
 * for each processor level (ring/isa.h).
 */
#include <errno.h>
#include <string.h>

#include "device/device.h"
#include "net/spans.h"

#define device_borrow ISA_NAME(device_borrow)
#define device_give_back ISA_NAME(device_give_back)

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

	frame->header = (struct vl_net_header){0};
	frame->head = frame->bytes;
	frame->head_size = 0;
	frame->tail = NULL;
	frame->tail_count = 0;
	frame->size = 0;
	if (size <= queue->header_size)
		return;
	spans_get_header(&cursor, &frame->header, queue->header_size);
	size -= queue->header_size;
	frame->size = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
	frame->head_size = size < VL_HEAD_MAX ? (uint16_t)size : VL_HEAD_MAX;
	spans_get_head(&cursor, frame->head, frame->head_size);
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

/* The heads of plain chains; each has at most one piece of tail, kept in `tails`. */
ALWAYS_INLINE void fetch_plain(
	struct vl_frame *frames,
	const struct ring_plain *chains,
	uint32_t count,
	struct iovec *tails,
	const size_t header_size
)
{
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *data = chains->at[i].data;
		struct vl_frame *frame = &frames[i];
		uint32_t size = chains->size[i],
			 head_size = size < VL_HEAD_MAX ? size : VL_HEAD_MAX;

		frame->header.num_buffers = 0;
		memcpy(&frame->header, chains->at[i].header, header_size);
		bytes_copy_head(frame->bytes, data, head_size);
		frame->head = frame->bytes;
		frame->head_size = (uint16_t)head_size;
		frame->size = size;
		tails[i].iov_base = (uint8_t *)data + head_size;
		tails[i].iov_len = size - head_size;
		frame->tail = &tails[i];
		frame->tail_count = size > head_size;
	}
}

/* First all chains are parsed and their first lines asked for, then all heads are fetched: the
 * loads of a burst overlap instead of waiting for each other. `used` spans are taken already. */
ALWAYS_INLINE unsigned take_plain(
	struct queue *queue,
	struct vl_frame *frames,
	unsigned max,
	uint32_t used,
	const bool packed,
	const uint32_t header_size
)
{
	struct ring_plain chains;
	uint32_t n = ring_take_plain(&queue->ring, packed, false, header_size, &chains, max);

	for (uint32_t i = 0; i < n; i++) {
		__builtin_prefetch(chains.at[i].header);
		__builtin_prefetch(chains.at[i].data);
	}
	fetch_plain(frames, &chains, n, queue->spans + used, header_size);
	return n;
}

/* The same for chains of any shape. It ends with one that is a single piece, as plain ones are:
 * those behind it may well be plain, and *plain says so. */
static inline unsigned take_any(
	struct queue *queue,
	struct vl_frame *frames,
	unsigned max,
	uint32_t *span_used,
	const bool packed,
	bool *plain
)
{
	struct {
		uint32_t first, count;
		uint64_t size;
	} chains[VL_BURST_MAX];
	uint32_t used = *span_used;
	unsigned n = 0;

	*plain = false;
	while (n < max && !*plain && queue->span_capacity - used >= queue->span_chain_max
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
		*plain = chain.readable_spans == 1;
		n++;
	}
	*span_used = used;
	for (unsigned i = 0; i < n; i++)
		fetch_head(
			queue,
			&frames[i],
			queue->spans + chains[i].first,
			chains[i].count,
			chains[i].size
		);
	return n;
}

ALWAYS_INLINE int
take_burst(struct queue *queue, struct vl_frame *frames, unsigned max, const bool packed)
{
	const bool long_header = queue->header_size == 12;
	uint32_t used = 0; /* spans */
	unsigned n = 0;
	bool plain = true;

	queue->ring.walked = 0;
	while (plain && n < max && queue->span_capacity - used >= max) {
		unsigned left = max - n;
		unsigned taken = long_header
					 ? take_plain(queue, frames + n, left, used, packed, 12)
					 : take_plain(queue, frames + n, left, used, packed, 10);

		n += taken;
		used += taken;
		if (n < max)
			n += take_any(queue, frames + n, max - n, &used, packed, &plain);
	}
	if (n > 0) {
		ring_notify_off(&queue->ring, packed);
		if (queue_is_logged(queue))
			queue_log_ring(queue);
	}
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

int device_borrow(struct vl_device *device, unsigned pair, struct vl_frame *frames, unsigned max)
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
	atomic_store_explicit(&device->queues[2 * pair + 1].borrowed, queue, memory_order_relaxed);
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

void device_give_back(struct vl_device *device, unsigned pair, unsigned count)
{
	struct queue *queue = device_borrowed_queue(device, pair);

	if (queue == NULL || count == 0)
		return;
	if (count > queue->ring.held_count)
		count = queue->ring.held_count;
	ring_publish(&queue->ring, queue->ring.packed, count);
	queue_call(queue);
}
