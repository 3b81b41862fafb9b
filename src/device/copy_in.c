/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * To the driver: copying frames into the buffers of a receive queue. Compiled once for each
 * processor level (ring/isa.h).
 */
#include <string.h>

#include "device/device.h"
#include "net/frame.h"
#include "net/spans.h"

#define device_copy_in ISA_NAME(device_copy_in)
#define device_flush ISA_NAME(device_flush)

/* Buffers that were taken for one frame. */
struct plan {
	const struct vl_frame *frame;
	uint32_t span_first, span_count;
	uint16_t chains;
	bool checksum; /* to be computed */
};

/* Take what buffers a frame needs. 1: done; 0: there are not enough now; -1: *result says why. */
static inline int take_buffers(
	struct queue *queue,
	struct plan *plan,
	uint32_t *span_used,
	const bool packed,
	enum vl_delivery *result
)
{
	struct ring *ring = &queue->ring;
	struct ring_mark mark = ring_mark(ring);
	uint64_t need = (uint64_t)queue->header_size + plan->frame->size;
	uint64_t have = 0;
	uint32_t used = *span_used;

	plan->span_first = used;
	plan->chains = 0;
	while (have < need) {
		struct ring_chain chain;

		if (queue->span_capacity - used < queue->span_chain_max && used > 0) {
			/* Scratch is used up. If it was by other frames, this one is to come again
			 * after they were copied; alone it would never fit. */
			ring_rewind(ring, mark);
			*result = VL_TOO_LARGE;
			return *span_used > 0 ? 0 : -1;
		}
		int got =
			ring_take(ring, packed, &chain, queue->spans + used, queue->span_chain_max);
		if (got == 1 && chain.readable_spans > 0)
			got = ring_break(ring, "a readable buffer on a receive queue");
		/* Also what keeps the length below from wrapping (CVE-2026-86566). */
		if (got == 1 && plan->chains == 0 && chain.writable_size < queue->header_size)
			got = ring_break(
				ring, "a receive buffer shorter than the virtio-net header"
			);
		if (got <= 0) {
			ring_rewind(ring, mark);
			*result = VL_DOWN;
			return got;
		}
		uint64_t take =
			chain.writable_size < need - have ? chain.writable_size : need - have;
		ring_held_at(ring, ring->held_count - 1)->written = (uint32_t)take;
		have += take;
		used += chain.writable_spans;
		plan->chains++;
		if (!queue->mergeable && have < need) {
			ring_rewind(ring, mark);
			*result = VL_TOO_LARGE;
			return -1;
		}
	}
	plan->span_count = used - *span_used;
	*span_used = used;
	return 1;
}

/* The same bytes, with the sum written over its place on the way. */
static void copy_with_sum(struct span_cursor *to, const struct vl_frame *frame, uint16_t sum)
{
	uint32_t at = (uint32_t)frame->header.csum_start + frame->header.csum_offset;
	uint8_t sum_bytes[2];
	uint32_t offset = 0;

	store_be16(sum_bytes, sum);
	for (uint32_t i = 0; i <= frame->tail_count; i++) {
		const uint8_t *from = i == 0 ? frame->head : frame->tail[i - 1].iov_base;
		uint32_t size = i == 0 ? frame->head_size : (uint32_t)frame->tail[i - 1].iov_len;

		while (size > 0) {
			bool inside = offset >= at && offset < at + 2;
			uint32_t piece = size;

			if (inside)
				piece = 1;
			else if (offset < at && offset + size > at)
				piece = at - offset;
			spans_put(to, inside ? &sum_bytes[offset - at] : from, piece);
			offset += piece;
			from += piece;
			size -= piece;
		}
	}
}

static inline void copy_frame(const struct queue *queue, const struct plan *plan)
{
	const struct vl_frame *frame = plan->frame;
	struct span_cursor to = {queue->spans + plan->span_first, plan->span_count};
	struct vl_net_header header = frame->header;

	header.num_buffers = plan->chains;
	if (plan->checksum) {
		uint16_t sum = frame_checksum(frame);

		header.flags = 0;
		header.csum_start = 0;
		header.csum_offset = 0;
		spans_put(&to, &header, queue->header_size);
		copy_with_sum(&to, frame, sum);
		return;
	}
	spans_put(&to, &header, queue->header_size);
	spans_put(&to, frame->head, frame->head_size);
	for (uint32_t i = 0; i < frame->tail_count; i++)
		spans_put(&to, frame->tail[i].iov_base, frame->tail[i].iov_len);
}

static inline bool
accept_frame(const struct vl_device *device, struct plan *plan, enum vl_delivery *result)
{
	const struct receive_filter *filter =
		atomic_load_explicit(&((struct vl_device *)device)->filter, memory_order_acquire);
	uint32_t accepts =
		atomic_load_explicit(&((struct vl_device *)device)->accepts, memory_order_relaxed);
	uint32_t missing = 0;

	if ((plan->frame->header.flags | plan->frame->header.gso_type) != 0)
		missing = frame_needs(&plan->frame->header) & ~accepts;

	/* A sum can be filled in; a large frame's segments need one each. */
	plan->checksum = missing == NEED_CSUM && plan->frame->header.gso_type == VL_GSO_NONE;
	if (missing != 0 && !plan->checksum) {
		*result = VL_NO_OFFLOAD;
		return false;
	}
	if (filter != NULL && !filter_wants(filter, plan->frame)) {
		*result = VL_FILTERED;
		return false;
	}
	*result = VL_DELIVERED;
	return true;
}

/* ---- plain frames into plain buffers ---- */

/* Whether a frame goes as it is: nothing is asked of the driver, nothing has to be computed. */
static inline bool is_plain(const struct vl_frame *frame)
{
	return (frame->header.flags | frame->header.gso_type) == 0 && frame->tail_count <= 1
	       && frame->head_size <= VL_HEAD_MAX;
}

/* The first frames of a burst, with buffers taken for them: `to`'s i-th is large enough. */
ALWAYS_INLINE void put_plain(
	const struct vl_frame *const *frames,
	const struct ring_plain *to,
	uint32_t count,
	const size_t header_size
)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct vl_frame *frame = frames[i];
		uint8_t *data = to->at[i].data;

		header_put_plain(to->at[i].header, header_size);
		bytes_copy_head(data, frame->head, frame->head_size);
		if (frame->tail_count > 0)
			bytes_copy(
				data + frame->head_size,
				frame->tail->iov_base,
				frame->size - frame->head_size
			);
	}
}

/*
 * The first frames of a burst, as far as they and the buffers for them are plain; the rest is for
 * copy_any(). First all buffers are taken, then all is copied: parsing of the ring does not wait
 * for payload. Returns how many frames were delivered.
 */
ALWAYS_INLINE unsigned copy_plain(
	const struct vl_device *device,
	struct queue *queue,
	const struct vl_frame *const *frames,
	unsigned count,
	enum vl_delivery *results,
	const bool packed,
	const uint32_t header_size
)
{
	struct ring *ring = &queue->ring;
	struct ring_plain buffers;
	uint32_t held = ring->held_count, n = 0;

	if (atomic_load_explicit(&((struct vl_device *)device)->filter, memory_order_relaxed)
	    != NULL)
		return 0;
	uint32_t taken = ring_take_plain(ring, packed, true, header_size, &buffers, count);
	for (; n < taken && is_plain(frames[n]) && frames[n]->size <= buffers.size[n]; n++) {
		ring_held_at(ring, held + n)->written = header_size + frames[n]->size;
		__builtin_prefetch(buffers.at[n].header, 1);
		__builtin_prefetch(buffers.at[n].data, 1);
		results[n] = VL_DELIVERED;
	}
	/* A frame that needs several buffers, or has none large enough, or more done to it. */
	if (n < taken)
		ring_untake(ring, packed, taken - n);
	put_plain(frames, &buffers, n, header_size);
	return n;
}

/* ---- frames and buffers of any shape ---- */

static inline unsigned copy_any(
	const struct vl_device *device,
	struct queue *queue,
	const struct vl_frame *const *frames,
	unsigned count,
	enum vl_delivery *results,
	const bool packed
)
{
	struct plan plans[VL_BURST_MAX];
	uint32_t span_used = 0;
	unsigned planned = 0, done = 0;

	for (; done < count; done++) {
		struct plan *plan = &plans[planned];

		plan->frame = frames[done];
		if (!accept_frame(device, plan, &results[done]))
			continue;
		int got = take_buffers(queue, plan, &span_used, packed, &results[done]);
		if (got == 0)
			break;
		if (got < 0 && atomic_load_explicit(&queue->ring.broken, memory_order_relaxed)) {
			while (done < count)
				results[done++] = VL_DOWN;
			break;
		}
		if (got < 0)
			continue;
		const uint8_t *to = queue->spans[plan->span_first].iov_base;
		__builtin_prefetch(to, 1);
		__builtin_prefetch(to + 64, 1);
		planned++;
	}
	for (unsigned i = 0; i < planned; i++)
		copy_frame(queue, &plans[i]);
	return done;
}

ALWAYS_INLINE unsigned copy_burst(
	const struct vl_device *device,
	struct queue *queue,
	const struct vl_frame *const *frames,
	unsigned count,
	enum vl_delivery *results,
	const bool packed
)
{
	unsigned done = queue->header_size == 12
				? copy_plain(device, queue, frames, count, results, packed, 12)
				: copy_plain(device, queue, frames, count, results, packed, 10);

	if (done < count)
		done += copy_any(
			device, queue, frames + done, count - done, results + done, packed
		);
	return done;
}

unsigned device_copy_in(
	struct vl_device *device,
	unsigned pair,
	const struct vl_frame *const *frames,
	unsigned count,
	enum vl_delivery *results
)
{
	struct queue *queue = device_data_queue(device, pair, true);

	if (count > VL_BURST_MAX)
		count = VL_BURST_MAX;
	if (queue == NULL || !atomic_load_explicit(&queue->enabled, memory_order_relaxed)
	    || atomic_load_explicit(&queue->ring.broken, memory_order_relaxed) != NULL) {
		for (unsigned i = 0; i < count; i++)
			results[i] = VL_DOWN;
		return count;
	}
	unsigned done = queue->ring.packed
				? copy_burst(device, queue, frames, count, results, true)
				: copy_burst(device, queue, frames, count, results, false);
	if (atomic_load_explicit(&queue->ring.broken, memory_order_relaxed) != NULL)
		queue_signal_error(queue);
	return done;
}

void device_flush(struct vl_device *device, unsigned pair)
{
	struct queue *queue = device_data_queue(device, pair, true);

	if (queue == NULL || queue->ring.held_count == 0)
		return;
	ring_publish(&queue->ring, queue->ring.packed, queue->ring.held_count);
	queue_call(queue);
}
