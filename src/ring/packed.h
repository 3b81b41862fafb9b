/* SPDX-License-Identifier: BSD-3-Clause */
/* The packed layout, device side (VIRTIO 1.3, 2.8). Included by ring.h only. */
#pragma once

enum {
	PACKED_AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	PACKED_USED = 1 << VRING_PACKED_DESC_F_USED,
	PACKED_WRAP = 1 << VRING_PACKED_EVENT_F_WRAP_CTR,
};

/* Available: the AVAIL bit is the wrap counter, the USED bit is not (2.8.1). */
static inline bool packed_is_available(uint16_t flags, bool wrap)
{
	return !!(flags & PACKED_AVAIL) == wrap && !!(flags & PACKED_USED) != wrap;
}

static inline void packed_advance(uint16_t *slot, bool *wrap, uint32_t size, uint32_t count)
{
	uint32_t position = *slot + count;

	if (position >= size) {
		position -= size;
		*wrap = !*wrap;
	}
	*slot = (uint16_t)position;
}

static inline int packed_walk_indirect(
	struct ring *ring,
	uint64_t address,
	uint32_t bytes,
	struct ring_chain *chain,
	struct iovec *spans,
	uint32_t span_max
)
{
	if (ring_check_indirect(ring, bytes) < 0)
		return -1;
	for (uint32_t i = 0; i < bytes / sizeof(struct vring_packed_desc); i++) {
		struct vring_packed_desc desc;

		if (ring_read_indirect(ring, address + i * sizeof(desc), &desc, sizeof(desc)) < 0)
			return -1;
		if (ring_add_span(
			    ring,
			    chain,
			    spans,
			    span_max,
			    desc.addr,
			    desc.len,
			    desc.flags & VRING_DESC_F_WRITE
		    )
		    < 0)
			return -1;
	}
	return 0;
}

static inline int
packed_take(struct ring *ring, struct ring_chain *chain, struct iovec *spans, uint32_t span_max)
{
	uint16_t slot = ring->next;
	bool wrap = ring->next_wrap;
	/* acquire: the descriptor's other fields, and the chain behind it, before its flags */
	uint16_t flags = __atomic_load_n(&ring->packed_desc[slot].flags, __ATOMIC_ACQUIRE);

	if (!packed_is_available(flags, wrap))
		return 0;
	if (ring_is_all_held(ring, true))
		return ring_break(ring, "more chains were made available than the ring holds");
	for (uint32_t count = 1; count <= ring->size; count++) {
		const struct vring_packed_desc *desc = &ring->packed_desc[slot];
		uint64_t address = __atomic_load_n(&desc->addr, __ATOMIC_RELAXED);
		uint32_t size = __atomic_load_n(&desc->len, __ATOMIC_RELAXED);
		uint16_t id = __atomic_load_n(&desc->id, __ATOMIC_RELAXED);

		packed_advance(&slot, &wrap, ring->size, 1);
		if (flags & (VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT))
			ring->odd = true;
		if (flags & VRING_DESC_F_INDIRECT) {
			if (count > 1 || (flags & VRING_DESC_F_NEXT))
				return ring_break(ring, "an indirect descriptor with a next");
			if (packed_walk_indirect(ring, address, size, chain, spans, span_max) < 0)
				return -1;
		} else if (ring_add_span(ring, chain, spans, span_max, address, size, flags & VRING_DESC_F_WRITE) < 0) {
			return -1;
		}
		if (!(flags & VRING_DESC_F_NEXT)) {
			/* Descriptors that we hold came back as available: what their chains took
			 * up is counted, so positions would leave the ring. */
			if (count > ring->size - ring->held_descriptors)
				return ring_break(
					ring, "a chain takes up descriptors of chains before it"
				);
			/* The id counts only in the last descriptor of a chain (2.8.6). */
			ring_hold(ring, id, (uint16_t)count);
			ring->next = slot;
			ring->next_wrap = wrap;
			return 1;
		}
		flags = __atomic_load_n(&ring->packed_desc[slot].flags, __ATOMIC_RELAXED);
		if (!packed_is_available(flags, wrap))
			return ring_break(
				ring, "a chain runs into a descriptor that is not available"
			);
	}
	return ring_break(ring, "a chain is longer than the ring");
}

/* Whether the chain at a descriptor is available and plain; then its place is out's n-th. */
ALWAYS_INLINE bool packed_place(
	const struct vring_packed_desc *desc,
	const struct ring_regions *regions,
	uint16_t flags,
	const uint32_t header_size,
	struct ring_plain *out,
	uint32_t n,
	uint16_t *id
)
{
	/* acquire: the descriptor's other fields before its flags */
	if (__atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE) != flags)
		return false;
	uint64_t address = __atomic_load_n(&desc->addr, __ATOMIC_RELAXED);
	uint32_t size = __atomic_load_n(&desc->len, __ATOMIC_RELAXED);
	*id = __atomic_load_n(&desc->id, __ATOMIC_RELAXED);
	out->at[n].header = ring_place(regions, address, size);
	out->at[n].data = out->at[n].header + header_size;
	out->size[n] = size - header_size;
	return out->at[n].header != NULL && size > header_size;
}

/* The same for LANES_STEP of them, which are held, too. Each one is a unit of 16 bytes that
 * processors with AVX load at once (Intel SDM 3A, 9.1.1; AMD APM 2, 7.3.2), so what is seen with
 * its flags is valid. */
ALWAYS_INLINE bool packed_place_step(
	struct ring *ring,
	const struct vring_packed_desc *desc,
	const struct ring_regions *regions,
	uint32_t position,
	uint16_t flags,
	const uint32_t header_size,
	struct ring_plain *out,
	uint32_t n
)
{
	lanes descriptors;

	memcpy(&descriptors, desc, sizeof(descriptors));
	/* Frames are read after this, as x86 loads go; and nothing is fetched again. */
	atomic_signal_fence(memory_order_acquire);
	if (!ring_place_step(regions, &descriptors, 48, UINT16_MAX, flags, header_size, out, n))
		return false;
	lanes_half rest = LANES_ODD_HALF(descriptors);
	lanes_half held = (rest >> 32 & UINT16_MAX) | UINT32_C(1) << 16;
	memcpy(&ring->held[position], &held, sizeof(held));
	return true;
}

ALWAYS_INLINE uint32_t packed_take_plain(
	struct ring *ring,
	const struct ring_regions *regions,
	const bool writable,
	const uint32_t header_size,
	struct ring_plain *out,
	uint32_t max
)
{
	const uint32_t size = ring->size;
	uint32_t position = ring->held_first + ring->held_count, slot = ring->next, n = 0;
	bool steps = LANES > 0, wrap = ring->next_wrap;

	if (position >= size)
		position -= size;
	while (n < max) {
		const struct vring_packed_desc *desc = &ring->packed_desc[slot];
		uint16_t flags =
			(wrap ? PACKED_AVAIL : PACKED_USED) | (writable ? VRING_DESC_F_WRITE : 0);
		uint32_t step = LANES_STEP;
		uint16_t id;

		steps = steps && n + step <= max;
		if (!steps || slot + step > size || position + step > size
		    || !packed_place_step(
			    ring, desc, regions, position, flags, header_size, out, n
		    )) {
			if (!packed_place(desc, regions, flags, header_size, out, n, &id))
				break;
			ring->held[position] = (struct ring_held){.id = id, .count = 1};
			step = 1;
		}
		n += step;
		slot += step;
		position = position + step < size ? position + step : 0;
		if (slot == size) {
			slot = 0;
			wrap = !wrap;
		}
	}
	ring->next = (uint16_t)slot;
	ring->next_wrap = wrap;
	return n;
}

/* A used descriptor's length, id and flags, stored at once: the driver may see those of any
 * descriptor but the first of a burst as soon as they are written. */
ALWAYS_INLINE void
packed_store_used(struct vring_packed_desc *desc, struct ring_held held, const bool wrap)
{
	uint16_t flags = wrap ? PACKED_AVAIL | PACKED_USED : 0;

	if (held.written > 0)
		flags |= VRING_DESC_F_WRITE;
	/* release: the frame before its descriptor */
	__atomic_store_n(
		(ring_word *)(void *)&desc->len,
		held.written | (uint64_t)held.id << 32 | (uint64_t)flags << 48,
		__ATOMIC_RELEASE
	);
}

/* Used descriptors of chains, as far as neither ring nor `held` wrap: how many chains that was. */
ALWAYS_INLINE uint32_t
packed_publish_run(struct ring *ring, const struct ring_held *held, uint32_t count, const bool wrap)
{
	struct vring_packed_desc *desc = &ring->packed_desc[ring->used_next];
	const struct vring_packed_desc *end = &ring->packed_desc[ring->size];
	uint32_t n = 0;

	for (; n < count && desc < end; n++) {
		packed_store_used(desc, held[n], wrap);
		desc += held[n].count;
	}
	uint32_t next = (uint32_t)(desc - ring->packed_desc);
	ring->used_next = (uint16_t)(next < ring->size ? next : next - ring->size);
	ring->used_wrap = next < ring->size ? wrap : !wrap;
	return n;
}

/* Descriptors between two positions of used elements, the first of which was `from`. */
static inline uint32_t packed_passed(const struct ring *ring, uint16_t from, bool from_wrap)
{
	return ring->used_next + (ring->used_wrap != from_wrap ? ring->size : 0) - from;
}

/* Say what is about to be published, before the first of it is written: see inflight.h. Stores of
 * used descriptors are releases, so it stands before them. */
ALWAYS_INLINE void packed_note_place(struct ring *ring, uint32_t written, uint32_t descriptors)
{
	uint16_t to = ring->used_next;
	bool to_wrap = ring->used_wrap;

	if (ring->place == NULL)
		return;
	packed_advance(&to, &to_wrap, ring->size, descriptors);
	ring->place->written = written;
	ring->place->odd = ring->odd;
	__atomic_store_n(
		&ring->place->word,
		to | (ring_word)ring->used_next << 16 | (ring_word)to_wrap << 32
			| (ring_word)ring->used_wrap << 40,
		__ATOMIC_RELEASE
	);
}

static inline uint32_t packed_held_descriptors(struct ring *ring, uint32_t count)
{
	uint32_t descriptors = 0;

	/* Nearly always all that is held is published. */
	if (count == ring->held_count)
		return ring->held_descriptors;
	for (uint32_t i = 0; i < count; i++)
		descriptors += ring_held_at(ring, i)->count;
	return descriptors;
}

/* Returns how many descriptors the chains take up; likewise the next. */
static inline uint32_t packed_publish(struct ring *ring, uint32_t count)
{
	uint16_t from = ring->used_next;
	struct vring_packed_desc *first = &ring->packed_desc[ring->used_next];
	struct ring_held first_held = *ring_held_at(ring, 0);
	bool first_wrap = ring->used_wrap;
	uint32_t done = 1;

	if (ring->place != NULL)
		packed_note_place(ring, first_held.written, packed_held_descriptors(ring, count));
	packed_advance(&ring->used_next, &ring->used_wrap, ring->size, first_held.count);
	while (done < count) {
		const struct ring_held *held = ring_held_at(ring, done);
		uint32_t run = (uint32_t)(ring->held + ring->size - held);

		run = run < count - done ? run : count - done;
		if (ring->used_wrap)
			done += packed_publish_run(ring, held, run, true);
		else
			done += packed_publish_run(ring, held, run, false);
	}
	/* Last: the driver looks at the first before any of the others. */
	packed_store_used(first, first_held, first_wrap);
	return packed_passed(ring, from, first_wrap);
}

/* The same with one used descriptor, in the first's place and with the last's id. */
static inline uint32_t packed_publish_batch(struct ring *ring, uint32_t count)
{
	struct vring_packed_desc *first = &ring->packed_desc[ring->used_next];
	bool wrap = ring->used_wrap;
	uint32_t descriptors = packed_held_descriptors(ring, count);

	packed_note_place(ring, 0, descriptors);
	packed_advance(&ring->used_next, &ring->used_wrap, ring->size, descriptors);
	packed_store_used(first, *ring_held_at(ring, count - 1), wrap);
	return descriptors;
}

static inline bool packed_wants_call(struct ring *ring)
{
	uint16_t from = ring->signalled;
	bool from_wrap = ring->signalled_wrap;

	ring->signalled = ring->used_next;
	ring->signalled_wrap = ring->used_wrap;
	/* full: our descriptors before our look at the driver's wish (2.8.21.3) */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* acquire: the offset is valid for the flags that were read with it */
	uint16_t flags = __atomic_load_n(&ring->driver_event->flags, __ATOMIC_ACQUIRE);
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !ring->event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	uint16_t off_wrap = __atomic_load_n(&ring->driver_event->off_wrap, __ATOMIC_RELAXED);
	uint32_t event = off_wrap & (PACKED_WRAP - 1);
	uint32_t to = ring->used_next;

	/* Positions on one line, without wrap: those of the earlier lap lie below. */
	if (from_wrap != ring->used_wrap)
		to += ring->size;
	if (!!(off_wrap & PACKED_WRAP) != from_wrap)
		event += ring->size;
	return event >= from && event < to;
}

static inline bool packed_has_more(struct ring *ring)
{
	uint16_t flags = __atomic_load_n(&ring->packed_desc[ring->next].flags, __ATOMIC_RELAXED);

	return packed_is_available(flags, ring->next_wrap);
}

static inline bool packed_notify_on(struct ring *ring)
{
	uint16_t wish = VRING_PACKED_EVENT_FLAG_ENABLE;

	if (ring->event_idx) {
		uint16_t off_wrap = ring->next;

		if (ring->next_wrap)
			off_wrap |= PACKED_WRAP;
		__atomic_store_n(&ring->device_event->off_wrap, off_wrap, __ATOMIC_RELAXED);
		wish = VRING_PACKED_EVENT_FLAG_DESC;
	}
	/* release: the offset before the flags that make it valid */
	__atomic_store_n(&ring->device_event->flags, wish, __ATOMIC_RELEASE);
	/* full: our wish before our last look at the descriptor */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return packed_has_more(ring);
}

static inline void packed_notify_off(struct ring *ring)
{
	__atomic_store_n(
		&ring->device_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE, __ATOMIC_RELAXED
	);
}
