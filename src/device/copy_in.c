/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * To the driver: copying frames into the buffers of a receive queue. Compiled once for each
 * processor level (ring/isa.h).
 */
#include <string.h>

#include "device/device.h"
#include "net/checksum.h"
#include "net/frame.h"
#include "net/spans.h"

#define device_copy_in ISA_NAME(device_copy_in)
#define device_flush ISA_NAME(device_flush)

/* What a frame has to be to be delivered; read once a burst. */
struct receiver {
	const struct receive_filter *filter; /* NULL: everything is wanted */
	uint32_t accepts;		     /* VL_OFFLOAD_* */
	uint8_t flags;			     /* VL_NET_* that it may see: 5.1.6.4.1 */
	struct vl_copier *copier;	     /* of large pieces; may be NULL */
};

/* Buffers that were taken for one frame. */
struct plan {
	const struct vl_frame *frame;
	uint32_t first, count; /* pieces of memory in queue->spans; of plain chains: the chains */
	uint16_t chains;
	bool checksum; /* to be computed */
};

static inline struct receiver
receiver_of(const struct vl_device *device, const struct queue *queue, struct vl_copier *copier)
{
	struct vl_device *shared = (struct vl_device *)device;

	uint32_t accepts = atomic_load_explicit(&shared->accepts, memory_order_relaxed);

	return (struct receiver){
		.filter = atomic_load_explicit(&shared->filter, memory_order_acquire),
		.accepts = accepts,
		.flags = accepts & VL_OFFLOAD_CSUM ? UINT8_MAX : 0,
		/* What another copies, later, would be logged too early. */
		.copier = queue_is_logged(queue) ? NULL : copier,
	};
}

/* Whether a frame may be delivered, and whether that takes a checksum. */
static inline enum vl_delivery
judge(const struct receiver *receiver, const struct vl_frame *frame, bool *checksum)
{
	uint32_t missing = frame_needs(&frame->header) & ~receiver->accepts;

	/* A sum can be filled in; a large frame's segments need one each. */
	*checksum = missing == VL_OFFLOAD_CSUM && frame->header.gso_type == VL_GSO_NONE;
	if (missing != 0 && !*checksum)
		return VL_NO_OFFLOAD;
	if (receiver->filter != NULL && !filter_wants(receiver->filter, frame))
		return VL_FILTERED;
	return VL_DELIVERED;
}

enum {
	SMALL_BUFFER =
		16, /* bytes: what a descriptor has at least on average, from RING_CHAIN_MAX on */
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
	/* Empty buffers would be walked for ever; a chain may have some all the same. */
	const uint32_t walk_max = RING_CHAIN_MAX + plan->frame->size / SMALL_BUFFER;
	const uint32_t walked = ring->walked;
	uint64_t need = (uint64_t)queue->header_size + plan->frame->size;
	uint64_t have = 0;
	uint32_t used = *span_used;

	plan->first = used;
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
		if (got == 1 && ring->walked - walked > walk_max)
			got = ring_break(ring, "a frame takes too many descriptors");
		if (got <= 0) {
			/* If the driver has nothing left to add, this is as large as it gets. */
			bool never =
				got == 0 && mark.held_count == 0 && ring_is_all_held(ring, packed);

			ring_rewind(ring, mark);
			*result = never ? VL_TOO_LARGE : VL_DOWN;
			return never ? -1 : got;
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
	plan->count = used - *span_used;
	*span_used = used;
	return 1;
}

/* A frame on its way, whose checksum is being computed. */
struct summing {
	uint64_t sum;
	uint32_t offset;   /* bytes copied so far */
	uint32_t start;	   /* where the sum begins */
	uint32_t at;	   /* where it goes */
	uint8_t *place[2]; /* where its two bytes were copied to, which may be in two pieces */
};

/* Copy a piece whose bytes are all summed up, or none. */
static void sum_piece(struct summing *summing, uint8_t *to, const uint8_t *from, uint32_t size)
{
	for (uint32_t i = 0; i < 2; i++) {
		if (summing->at + i - summing->offset < size)
			summing->place[i] = to + (summing->at + i - summing->offset);
	}
	if (summing->offset < summing->start) {
		bytes_copy(to, from, size);
	} else {
		uint64_t sum = bytes_copy_and_sum(to, from, size);

		summing->sum += (summing->offset - summing->start) % 2 ? sum_odd(sum) : sum;
	}
	summing->offset += size;
}

static void
put_summed(struct summing *summing, struct span_cursor *to, const uint8_t *from, uint32_t size)
{
	while (size > 0 && to->count > 0) {
		uint32_t piece = to->span->iov_len < size ? (uint32_t)to->span->iov_len : size;

		if (summing->offset < summing->start && piece > summing->start - summing->offset)
			piece = summing->start - summing->offset;
		sum_piece(summing, to->span->iov_base, from, piece);
		spans_advance(to, piece);
		from += piece;
		size -= piece;
	}
}

/* Copy a frame and fill its checksum in. One pass: what is summed up is what was copied, whatever
 * its sender does to it meanwhile. */
static void copy_with_sum(struct span_cursor *to, const struct vl_frame *frame)
{
	uint16_t start = frame->header.csum_start;
	struct summing summing = {.start = start, .at = start + frame->header.csum_offset};

	put_summed(&summing, to, frame->head, frame->head_size);
	for (uint32_t i = 0; i < frame->tail_count; i++)
		put_summed(&summing, to, frame->tail[i].iov_base, (uint32_t)frame->tail[i].iov_len);
	uint16_t sum = sum_finish(summing.sum);
	for (unsigned i = 0; i < 2; i++) {
		if (summing.place[i] != NULL)
			*summing.place[i] = ((const uint8_t *)&sum)[i];
	}
}

static inline void
copy_piece(const struct receiver *receiver, void *to, const void *from, size_t size)
{
	struct vl_copier *copier = receiver->copier;

	if (copier != NULL && size >= copier->least
	    && copier->start(copier, to, from, (uint32_t)size))
		return;
	bytes_copy(to, from, size);
}

/* spans_put() of a piece of a frame's tail. */
static void
put_tail(const struct receiver *receiver, struct span_cursor *to, const uint8_t *from, size_t size)
{
	while (size > 0 && to->count > 0) {
		size_t piece = to->span->iov_len < size ? to->span->iov_len : size;

		copy_piece(receiver, to->span->iov_base, from, piece);
		spans_advance(to, piece);
		from += piece;
		size -= piece;
	}
}

/* Copy a frame over its pieces of memory. */
static void
copy_frame(const struct receiver *receiver, const struct queue *queue, const struct plan *plan)
{
	const struct vl_frame *frame = plan->frame;
	struct span_cursor to = {queue->spans + plan->first, plan->count};
	struct vl_net_header header = frame->header;

	header.num_buffers = plan->chains;
	header.flags &= receiver->flags;
	if (plan->checksum) {
		header.flags = 0;
		header.csum_start = 0;
		header.csum_offset = 0;
		spans_put(&to, &header, queue->header_size);
		copy_with_sum(&to, frame);
		return;
	}
	spans_put(&to, &header, queue->header_size);
	spans_put(&to, frame->head, frame->head_size);
	for (uint32_t i = 0; i < frame->tail_count; i++)
		put_tail(receiver, &to, frame->tail[i].iov_base, frame->tail[i].iov_len);
}

/* What was written of these pieces of memory. */
static void log_spans(const struct queue *queue, const struct iovec *spans, uint64_t written)
{
	for (; written > 0; spans++) {
		uint64_t size = spans->iov_len < written ? spans->iov_len : written;

		queue_log(queue, spans->iov_base, size);
		written -= size;
	}
}

/* ---- into plain buffers ---- */

enum {
	LARGE_FRAME = 1024, /* bytes, from which on one may well take several buffers */
};

/* How many of the buffers from `first` on a frame needs; 0: these do not do. */
static uint32_t buffers_needed(
	const struct queue *queue,
	const struct vl_frame *frame,
	const struct ring_plain *buffers,
	uint32_t first,
	uint32_t taken
)
{
	uint32_t count = 1;

	if (first == taken)
		return 0;
	if (frame->size <= buffers->size[first])
		return 1;
	if (!queue->mergeable)
		return 0;
	for (uint32_t left = frame->size - buffers->size[first]; left > 0; count++) {
		if (first + count == taken)
			return 0;
		/* Only the first has a header in front (5.1.6.4). */
		uint32_t room = buffers->size[first + count] + queue->header_size;

		left -= room < left ? room : left;
	}
	return count;
}

/* Note what is going to be written to each of a frame's buffers. */
static void note_written(
	struct ring *ring,
	uint32_t held,
	const struct plan *plan,
	const struct ring_plain *buffers,
	uint32_t header_size
)
{
	uint64_t left = (uint64_t)plan->frame->size + header_size;

	for (uint32_t i = 0; i < plan->count; i++) {
		uint32_t room = buffers->size[plan->first + i] + header_size;
		uint32_t piece = room < left ? room : (uint32_t)left;

		ring_held_at(ring, held + i)->written = piece;
		left -= piece;
	}
}

/* What was written to plain buffers that were taken from the `held`-th on. */
static void
log_plain(struct queue *queue, uint32_t held, const struct ring_plain *buffers, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct iovec spans[] = {
			{buffers->at[i].header, queue->header_size},
			{buffers->at[i].data, buffers->size[i]},
		};

		log_spans(queue, spans, ring_held_at(&queue->ring, held + i)->written);
	}
}

/* A frame into the one buffer that holds it. */
ALWAYS_INLINE void put_whole(
	const struct receiver *receiver,
	const struct vl_frame *frame,
	uint8_t *header,
	uint8_t *data,
	const size_t header_size
)
{
	const struct iovec *tail = frame->tail;

	header_put(header, &frame->header, receiver->flags, header_size);
	bytes_copy_head(data, frame->head, frame->head_size);
	data += frame->head_size;
	for (uint32_t i = 0; i < frame->tail_count; i++) {
		copy_piece(receiver, data, tail[i].iov_base, tail[i].iov_len);
		data += tail[i].iov_len;
	}
}

/* Any other: perhaps into several buffers, or with a sum to be computed. */
static void put_planned(
	const struct receiver *receiver,
	const struct queue *queue,
	const struct plan *plan,
	const struct ring_plain *buffers
)
{
	struct plan spread = *plan;
	struct iovec *span = queue->spans;

	for (uint32_t i = plan->first; i < plan->first + plan->count; i++) {
		*span++ = (struct iovec){buffers->at[i].header, queue->header_size};
		*span++ = (struct iovec){buffers->at[i].data, buffers->size[i]};
	}
	spread.first = 0;
	spread.count = 2 * plan->count;
	copy_frame(receiver, queue, &spread);
}

/* The first frames of a burst that go as they are into one buffer each: how many. */
ALWAYS_INLINE uint32_t plan_whole(
	const struct receiver *receiver,
	struct ring *ring,
	uint32_t held,
	const struct vl_frame *const *frames,
	uint32_t count,
	const struct ring_plain *buffers,
	enum vl_delivery *results,
	const uint32_t header_size
)
{
	uint32_t n = 0;

	if (receiver->filter != NULL)
		return 0;
	for (; n < count; n++) {
		const struct vl_frame *frame = frames[n];

		if (frame->size > buffers->size[n]
		    || (frame_needs(&frame->header) & ~receiver->accepts) != 0)
			break;
		ring_held_at(ring, held + n)->written = header_size + frame->size;
		__builtin_prefetch(buffers->at[n].header, 1);
		__builtin_prefetch(buffers->at[n].data, 1);
		results[n] = VL_DELIVERED;
	}
	return n;
}

/* Frames that take several buffers, or a sum, or are not wanted. */
struct mixed {
	struct plan plans[VL_BURST_MAX];
	unsigned planned;
	uint32_t used; /* buffers */
};

/* Plan for the first frames, as far as the buffers from mixed->used on are enough: how many. */
static unsigned plan_mixed(
	const struct receiver *receiver,
	struct queue *queue,
	uint32_t held,
	const struct vl_frame *const *frames,
	unsigned count,
	const struct ring_plain *buffers,
	uint32_t taken,
	enum vl_delivery *results,
	struct mixed *mixed
)
{
	unsigned done = 0;

	for (; done < count; done++) {
		struct plan *plan = &mixed->plans[mixed->planned];

		plan->frame = frames[done];
		results[done] = judge(receiver, plan->frame, &plan->checksum);
		if (results[done] != VL_DELIVERED)
			continue;
		plan->first = mixed->used;
		plan->count = buffers_needed(queue, plan->frame, buffers, mixed->used, taken);
		if (plan->count == 0)
			break;
		plan->chains = (uint16_t)plan->count;
		note_written(&queue->ring, held + mixed->used, plan, buffers, queue->header_size);
		__builtin_prefetch(buffers->at[mixed->used].header, 1);
		__builtin_prefetch(buffers->at[mixed->used].data, 1);
		mixed->used += plan->count;
		mixed->planned++;
	}
	return done;
}

/*
 * The first frames of a burst, as far as the buffers for them are plain and there; the rest is for
 * copy_any(). First all buffers are taken, then all is copied: parsing of the ring does not wait
 * for payload. Returns how many frames were dealt with.
 */
ALWAYS_INLINE unsigned copy_plain(
	const struct receiver *receiver,
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
	struct mixed mixed;
	uint32_t held = ring->held_count;
	bool many = queue->mergeable && frames[0]->size >= LARGE_FRAME;
	uint32_t taken = ring_take_plain(
		ring, packed, true, header_size, &buffers, many ? RING_BURST_MAX : count
	);
	uint32_t whole = plan_whole(
		receiver,
		ring,
		held,
		frames,
		taken < count ? taken : count,
		&buffers,
		results,
		header_size
	);
	unsigned done = whole;

	mixed.planned = 0;
	mixed.used = whole;
	if (done < count)
		done += plan_mixed(
			receiver,
			queue,
			held,
			frames + done,
			count - done,
			&buffers,
			taken,
			results + done,
			&mixed
		);
	if (mixed.used < taken)
		ring_untake(ring, packed, taken - mixed.used);
	for (uint32_t i = 0; i < whole; i++)
		put_whole(
			receiver, frames[i], buffers.at[i].header, buffers.at[i].data, header_size
		);
	for (unsigned i = 0; i < mixed.planned; i++)
		put_planned(receiver, queue, &mixed.plans[i], &buffers);
	if (queue_is_logged(queue))
		log_plain(queue, held, &buffers, mixed.used);
	return done;
}

/* ---- frames and buffers of any shape ---- */

static unsigned copy_any(
	const struct receiver *receiver,
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
		results[done] = judge(receiver, plan->frame, &plan->checksum);
		if (results[done] != VL_DELIVERED)
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
		const uint8_t *to = queue->spans[plan->first].iov_base;
		__builtin_prefetch(to, 1);
		__builtin_prefetch(to + 64, 1);
		planned++;
	}
	/* Copying uses them up. */
	if (queue_is_logged(queue))
		memcpy(queue->spans_kept, queue->spans, span_used * sizeof(queue->spans[0]));
	for (unsigned i = 0; i < planned; i++)
		copy_frame(receiver, queue, &plans[i]);
	for (unsigned i = 0; queue_is_logged(queue) && i < planned; i++)
		log_spans(
			queue,
			queue->spans_kept + plans[i].first,
			(uint64_t)queue->header_size + plans[i].frame->size
		);
	return done;
}

ALWAYS_INLINE unsigned copy_burst(
	const struct receiver *receiver,
	struct queue *queue,
	const struct vl_frame *const *frames,
	unsigned count,
	enum vl_delivery *results,
	const bool packed
)
{
	const bool long_header = queue->header_size == 12;
	unsigned done = 0, n = count;

	/* Several times if frames take more buffers than are taken at once. */
	while (n > 0 && done < count) {
		const struct vl_frame *const *next = frames + done;
		unsigned left = count - done;
		enum vl_delivery *out = results + done;

		n = long_header ? copy_plain(receiver, queue, next, left, out, packed, 12)
				: copy_plain(receiver, queue, next, left, out, packed, 10);
		if (n == 0)
			n = copy_any(receiver, queue, next, left, out, packed);
		done += n;
	}
	return done;
}

unsigned device_copy_in(
	struct vl_copier *copier,
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
	const struct receiver receiver = receiver_of(device, queue, copier);
	unsigned done = queue->ring.packed
				? copy_burst(&receiver, queue, frames, count, results, true)
				: copy_burst(&receiver, queue, frames, count, results, false);
	if (copier != NULL)
		copier->finish(copier);
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
	/* A frame that finds its buffers missing may be lost. */
	queue_look_ahead(queue);
}
