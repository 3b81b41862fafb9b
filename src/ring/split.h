/* SPDX-License-Identifier: BSD-3-Clause */
/* The split layout, device side (VIRTIO 1.3, 2.7). Included by ring.h only. */
#pragma once

static inline uint16_t *split_used_event(struct ring *ring)
{
	return &ring->avail->ring[ring->size];
}

static inline uint16_t *split_avail_event(struct ring *ring)
{
	return (uint16_t *)(void *)&ring->used->ring[ring->size];
}

/* How many chains can be taken; reads the driver's index only when none is known. */
static inline int split_available(struct ring *ring)
{
	uint16_t known = (uint16_t)(ring->seen - ring->next);

	if (known == 0 || known > ring->size) {
		/* acquire: the entries and descriptors below were written before the index */
		uint16_t index = __atomic_load_n(&ring->avail->idx, __ATOMIC_ACQUIRE);

		known = (uint16_t)(index - ring->next);
		if (known > ring->size)
			return ring_break(ring, "the available index jumped by more than the ring");
		ring->seen = index;
	}
	return known;
}

/* Walk descriptors from `index` in a table of `count`, directly in memory. */
static inline int split_walk(
	struct ring *ring,
	const struct vring_desc *table,
	uint32_t count,
	uint16_t index,
	const bool inside_indirect,
	struct ring_chain *chain,
	struct iovec *spans,
	uint32_t span_max
);

/* An indirect table that lies in one region is walked in place; one that does not is an oddity of
 * guests with scattered memory, read descriptor by descriptor in order. */
static inline int split_walk_scattered(
	struct ring *ring,
	uint64_t address,
	uint32_t count,
	struct ring_chain *chain,
	struct iovec *spans,
	uint32_t span_max
)
{
	const uint64_t bytes = (uint64_t)count * sizeof(struct vring_desc);
	uint32_t index = 0;

	/* All of it has to be there, whatever of it is used. */
	for (uint64_t run, done = 0; done < bytes; done += run) {
		if (ring_reach(ring, address + done, false, &run, true, RING_TABLE_OUTSIDE) == NULL)
			return -1;
		run = run < bytes - done ? run : bytes - done;
	}
	for (uint32_t walked = 0; walked < count; walked++) {
		struct vring_desc desc;

		if (index >= count)
			return ring_break(ring, "a descriptor's next is outside its table");
		if (ring_read_indirect(ring, address + index * sizeof(desc), &desc, sizeof(desc))
		    < 0)
			return -1;
		if (desc.flags & VRING_DESC_F_INDIRECT)
			return ring_break(ring, "an indirect table inside an indirect table");
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
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return 0;
		index = desc.next;
	}
	return ring_break(ring, "a chain is a loop or longer than its table");
}

static inline int split_walk_indirect(
	struct ring *ring,
	uint64_t address,
	uint32_t bytes,
	struct ring_chain *chain,
	struct iovec *spans,
	uint32_t span_max
)
{
	uint32_t count = bytes / (uint32_t)sizeof(struct vring_desc);
	uint64_t run;

	if (ring_check_indirect(ring, bytes) < 0)
		return -1;
	const void *table = ring_reach(ring, address, false, &run, true, RING_TABLE_OUTSIDE);
	if (table == NULL)
		return -1;
	if (run < bytes)
		return split_walk_scattered(ring, address, count, chain, spans, span_max);
	return split_walk(ring, table, count, 0, true, chain, spans, span_max);
}

static inline int split_walk(
	struct ring *ring,
	const struct vring_desc *table,
	uint32_t count,
	uint16_t index,
	const bool inside_indirect,
	struct ring_chain *chain,
	struct iovec *spans,
	uint32_t span_max
)
{
	for (uint32_t walked = 0; walked < count; walked++) {
		if (index >= count)
			return ring_break(ring, "a descriptor's next is outside its table");
		/* One load of each field: the driver may rewrite the descriptor as we look. */
		uint64_t address = __atomic_load_n(&table[index].addr, __ATOMIC_RELAXED);
		uint32_t size = __atomic_load_n(&table[index].len, __ATOMIC_RELAXED);
		uint16_t flags = __atomic_load_n(&table[index].flags, __ATOMIC_RELAXED);
		uint16_t next = __atomic_load_n(&table[index].next, __ATOMIC_RELAXED);

		if (flags & VRING_DESC_F_INDIRECT) {
			if (inside_indirect)
				return ring_break(
					ring, "an indirect table inside an indirect table"
				);
			if (flags & VRING_DESC_F_NEXT)
				return ring_break(ring, "an indirect descriptor with a next");
			return split_walk_indirect(ring, address, size, chain, spans, span_max);
		}
		if (ring_add_span(
			    ring, chain, spans, span_max, address, size, flags & VRING_DESC_F_WRITE
		    )
		    < 0)
			return -1;
		if (!(flags & VRING_DESC_F_NEXT))
			return 0;
		index = next;
	}
	return ring_break(ring, "a chain is a loop or longer than its table");
}

/* A descriptor as it stood at one moment: len, flags and next are one word, in the order of little
 * endian. */
struct split_words {
	uint64_t address, rest;
};

static inline struct split_words split_load(const struct vring_desc *desc)
{
	return (struct split_words){
		__atomic_load_n(&desc->addr, __ATOMIC_RELAXED),
		__atomic_load_n((const ring_word *)(const void *)&desc->len, __ATOMIC_RELAXED),
	};
}

/* Whether the chain at `head` is plain; then its place is out's n-th. */
ALWAYS_INLINE bool split_place(
	const struct ring *ring,
	const struct ring_regions *regions,
	uint16_t head,
	const uint16_t flags,
	const uint32_t header_size,
	struct ring_plain *out,
	uint32_t n
)
{
	struct split_words first = split_load(&ring->split_desc[head]);
	uint32_t size = (uint32_t)first.rest;
	uint16_t first_flags = (uint16_t)(first.rest >> 32);

	out->at[n].header = ring_place(regions, first.address, size);
	if (first_flags == flags) {
		out->at[n].data = out->at[n].header + header_size;
		out->size[n] = size - header_size;
		return out->at[n].header != NULL && size > header_size;
	}
	uint16_t next = (uint16_t)(first.rest >> 48);
	if (first_flags != (flags | VRING_DESC_F_NEXT) || size != header_size || next >= ring->size)
		return false;
	struct split_words second = split_load(&ring->split_desc[next]);
	out->size[n] = (uint32_t)second.rest;
	out->at[n].data = ring_place(regions, second.address, out->size[n]);
	return out->at[n].header != NULL && out->at[n].data != NULL
	       && (uint16_t)(second.rest >> 32) == flags;
}

/* The same for LANES_STEP entries of the available ring, from `entry` on; they are held, too. */
ALWAYS_INLINE bool split_place_step(
	struct ring *ring,
	const struct ring_regions *regions,
	const uint16_t *entry,
	uint32_t position,
	const uint16_t flags,
	const uint32_t header_size,
	struct ring_plain *out,
	uint32_t n
)
{
	const uint64_t outside = (uint16_t) ~(ring->size - 1) * UINT64_C(0x0001000100010001);
	const struct vring_desc *table = ring->split_desc;
	lanes_one one[LANES_STEP];
	lanes_heads ids;
	lanes descriptors;
	uint64_t heads = 0;

	memcpy(&heads, entry, sizeof(ids));
	/* From here on, and below, nothing is fetched again. */
	atomic_signal_fence(memory_order_acquire);
	if (heads & outside)
		return false;
	for (uint32_t i = 0; i < LANES_STEP; i++)
		memcpy(&one[i], &table[(uint16_t)(heads >> 16 * i)], sizeof(one[i]));
	atomic_signal_fence(memory_order_acquire);
	lanes_gather(&descriptors, one);
	if (!ring_place_step(regions, &descriptors, 32, UINT16_MAX, flags, header_size, out, n))
		return false;
	memcpy(&ids, &heads, sizeof(ids));
	lanes_half held = __builtin_convertvector(ids, lanes_half);
	memcpy(&ring->held[position], &held, sizeof(held));
	return true;
}

ALWAYS_INLINE uint32_t split_take_plain(
	struct ring *ring,
	const struct ring_regions *regions,
	const bool writable,
	const uint32_t header_size,
	struct ring_plain *out,
	uint32_t max
)
{
	const struct vring_avail *avail = ring->avail;
	const uint32_t size = ring->size;
	const uint16_t flags = writable ? VRING_DESC_F_WRITE : 0;
	uint32_t position = ring->held_first + ring->held_count, n = 0;
	int available = split_available(ring);
	uint16_t next = ring->next;
	bool steps = LANES > 0;

	if (available <= 0)
		return 0;
	if (max > (uint32_t)available)
		max = (uint32_t)available;
	if (position >= size)
		position -= size;
	while (n < max) {
		uint32_t index = (uint16_t)(next + n) & (size - 1);
		const uint16_t *entry = &avail->ring[index];

		if (steps && n + LANES_STEP <= max && index + LANES_STEP <= size
		    && position + LANES_STEP <= size) {
			steps = split_place_step(
				ring, regions, entry, position, flags, header_size, out, n
			);
			if (steps) {
				n += LANES_STEP;
				position += LANES_STEP;
				position = position < size ? position : 0;
				continue;
			}
		}
		uint16_t head = __atomic_load_n(entry, __ATOMIC_RELAXED);
		if (head >= size || !split_place(ring, regions, head, flags, header_size, out, n))
			break;
		position = ring_hold_at(ring, position, head, 0);
		n++;
	}
	ring->next = (uint16_t)(next + n);
	return n;
}

static inline int
split_take(struct ring *ring, struct ring_chain *chain, struct iovec *spans, uint32_t span_max)
{
	int available = split_available(ring);

	if (available <= 0)
		return available;
	/* A ring that is full of chains we hold can have nothing new in it. */
	if (ring->held_count == ring->size)
		return ring_break(ring, "more chains were made available than the ring holds");
	uint16_t head = __atomic_load_n(
		&ring->avail->ring[ring->next & (ring->size - 1)], __ATOMIC_RELAXED
	);
	if (head >= ring->size)
		return ring_break(ring, "an available entry is outside the descriptor table");
	if (split_walk(ring, ring->split_desc, ring->size, head, false, chain, spans, span_max) < 0)
		return -1;
	ring_hold(ring, head, 0);
	ring->next++;
	return 1;
}

/* Store used elements, unless they stand there already: with a driver that names the same chain in
 * the same place every time, the line stays in both caches. */
ALWAYS_INLINE void
split_store_used(struct vring_used_elem *to, const struct ring_held *held, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t element, there;

		memcpy(&element, &held[i], sizeof(element));
		memcpy(&there, &to[i], sizeof(there));
		if (element != there)
			memcpy(&to[i], &element, sizeof(element));
	}
}

/* The same for as many as fit into a vector. */
ALWAYS_INLINE void split_store_used_step(struct vring_used_elem *to, const struct ring_held *held)
{
	lanes elements, there;

	memcpy(&elements, held, sizeof(elements));
	memcpy(&there, to, sizeof(there));
	there ^= elements;
	if (lanes_any(&there))
		memcpy(to, &elements, sizeof(elements));
}

static inline void split_publish(struct ring *ring, uint32_t count)
{
	uint32_t done = 0;

	while (done < count) {
		uint32_t index = (uint16_t)(ring->used_next + done) & (ring->size - 1);
		const struct ring_held *held = ring_held_at(ring, done);
		/* Until one of the two wraps. */
		uint32_t run = (uint32_t)(ring->held + ring->size - held);

		if (run > ring->size - index)
			run = ring->size - index;
		if (run > count - done)
			run = count - done;
		done += run;
		struct vring_used_elem *to = &ring->used->ring[index];
		for (; LANES > 0 && run >= LANES_WIDTH;
		     run -= LANES_WIDTH, to += LANES_WIDTH, held += LANES_WIDTH)
			split_store_used_step(to, held);
		split_store_used(to, held, run);
	}
	ring->used_next = (uint16_t)(ring->used_next + count);
	/* release: data and elements before the index */
	__atomic_store_n(&ring->used->idx, ring->used_next, __ATOMIC_RELEASE);
}

static inline bool split_wants_call(struct ring *ring)
{
	/* full: our index store before our look at the driver's wish (2.7.10.1) */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!ring->event_idx) {
		uint16_t flags = __atomic_load_n(&ring->avail->flags, __ATOMIC_RELAXED);

		return !(flags & VRING_AVAIL_F_NO_INTERRUPT);
	}
	uint16_t event = __atomic_load_n(split_used_event(ring), __ATOMIC_RELAXED);
	uint16_t from = ring->signalled;

	ring->signalled = ring->used_next;
	return vring_need_event(event, ring->used_next, from);
}

static inline bool split_has_more(struct ring *ring)
{
	return __atomic_load_n(&ring->avail->idx, __ATOMIC_RELAXED) != ring->next;
}

static inline bool split_notify_on(struct ring *ring)
{
	if (ring->event_idx)
		__atomic_store_n(split_avail_event(ring), ring->next, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&ring->used->flags, 0, __ATOMIC_RELAXED);
	/* full: our wish before our last look at the driver's index */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return split_has_more(ring);
}

static inline void split_notify_off(struct ring *ring)
{
	/* With EVENT_IDX an event index that is not moved on is enough. */
	if (!ring->event_idx)
		__atomic_store_n(&ring->used->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}
