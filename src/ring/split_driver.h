/* SPDX-License-Identifier: BSD-3-Clause */
/* The split layout, driver side (VIRTIO 1.3, 2.7). Included by driver_ring.h only. */
#pragma once

static inline uint16_t *split_driver_used_event(struct driver_ring *ring)
{
	return &ring->avail->ring[ring->size];
}

static inline uint16_t *split_driver_avail_event(struct driver_ring *ring)
{
	return (uint16_t *)(void *)&ring->used->ring[ring->size];
}

/* Write a descriptor unless it stands there already: reading a line that both sides share is free,
 * writing it takes it away from the device. */
ALWAYS_INLINE void split_driver_describe(
	struct vring_desc *desc, uint64_t address, uint32_t size, uint16_t flags, uint16_t next
)
{
	/* As they lie in memory: len, flags, next. */
	const uint64_t wanted[2] = {address, size | (uint64_t)flags << 32 | (uint64_t)next << 48};
	uint64_t there[2];

	memcpy(there, desc, sizeof(there));
	if (there[0] != wanted[0] || there[1] != wanted[1])
		memcpy(desc, wanted, sizeof(wanted));
}

/* Name the next `count` slots, in each of which a chain begins, in the available ring. */
static inline void split_driver_name(struct driver_ring *ring, uint32_t count)
{
	for (uint32_t i = 0; !ring->avail_fixed && i < count; i++) {
		uint16_t head = (uint16_t)driver_ring_slot(ring, ring->next + i);
		uint16_t *entry =
			&ring->avail->ring[(uint16_t)(ring->avail_next + i) & (ring->size - 1)];

		if (*entry != head)
			*entry = head;
	}
	ring->avail_next = (uint16_t)(ring->avail_next + count);
}

/* The same for a chain of several slots: from the first such on, entries and slots part ways. */
static inline void split_driver_name_long(struct driver_ring *ring)
{
	ring->avail_fixed = false;
	split_driver_name(ring, 1);
}

ALWAYS_INLINE void split_driver_put(
	struct driver_ring *ring, uint32_t position, uint64_t address, uint32_t size, bool writable
)
{
	split_driver_describe(
		&ring->split_desc[driver_ring_slot(ring, position)],
		address,
		size,
		writable ? VRING_DESC_F_WRITE : 0,
		0
	);
}

static inline void
split_driver_add(struct driver_ring *ring, const struct driver_piece *pieces, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t index = driver_ring_slot(ring, ring->next + i);
		bool last = i + 1 == count;
		uint16_t flags = pieces[i].writable ? VRING_DESC_F_WRITE : 0;

		split_driver_describe(
			&ring->split_desc[index],
			pieces[i].address,
			pieces[i].size,
			last ? flags : flags | VRING_DESC_F_NEXT,
			last ? 0 : (uint16_t)driver_ring_slot(ring, index + 1)
		);
	}
}

static inline void split_driver_show(struct driver_ring *ring)
{
	/* release: descriptors, entries and data before the index */
	__atomic_store_n(&ring->avail->idx, ring->avail_next, __ATOMIC_RELEASE);
}

static inline bool split_driver_must_kick(struct driver_ring *ring)
{
	uint16_t from = ring->kick_from;

	ring->kick_from = ring->avail_next;
	/* full: our index before our look at the device's wish (2.7.13.4) */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!ring->event_idx)
		return !(
			__atomic_load_n(&ring->used->flags, __ATOMIC_RELAXED)
			& VRING_USED_F_NO_NOTIFY
		);
	uint16_t event = __atomic_load_n(split_driver_avail_event(ring), __ATOMIC_RELAXED);
	return vring_need_event(event, ring->avail_next, from);
}

/* Used chains not yet reaped; reads the device's index only when none is known. */
static inline int split_driver_used_count(struct driver_ring *ring)
{
	uint16_t known = (uint16_t)(ring->used_known - ring->used_next);

	if (known == 0) {
		/* acquire: elements and data before the index */
		uint16_t index = __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE);

		known = (uint16_t)(index - ring->used_next);
		if (known > ring->shown - ring->tail)
			return driver_ring_break(
				ring, "the device used more than was made available"
			);
		ring->used_known = index;
	}
	return known;
}

/*
 * One used element that is not the one expected, or not alone: an older chain is outstanding, or
 * chains have several slots, or, with IN_ORDER, it stands for a batch that ends with it.
 */
static inline int split_driver_reap_odd(
	struct driver_ring *ring, uint32_t known, uint32_t max, uint32_t *first, uint32_t *lengths
)
{
	const struct vring_used_elem *element =
		&ring->used->ring[ring->used_next & (ring->size - 1)];
	uint32_t id = __atomic_load_n(&element->id, __ATOMIC_RELAXED);
	uint32_t length = driver_ring_length(__atomic_load_n(&element->len, __ATOMIC_RELAXED));

	if (id >= ring->size || !driver_ring_is_outstanding(ring, id)
	    || !driver_ring_begins(ring, id))
		return driver_ring_break(
			ring, "the device used a buffer that was not made available"
		);
	if (ring->in_order) {
		int chains = driver_ring_begin_batch(ring, id, length);

		/* 2.7.15: the index goes on by the size of the batch */
		if ((uint32_t)chains > known)
			return driver_ring_break(ring, "the device used a batch it did not count");
		ring->used_next = (uint16_t)(ring->used_next + chains);
		return driver_ring_reap_batch(ring, max, first, lengths);
	}
	*first = id;
	lengths[0] = length;
	driver_ring_release(ring, id);
	ring->used_next++;
	return 1;
}

/* Whether the used elements from one on are those of the slots from `slot` on: their lengths. */
ALWAYS_INLINE bool
split_driver_used_step(const struct vring_used_elem *element, uint32_t slot, uint32_t *lengths)
{
	lanes elements;

	memcpy(&elements, element, sizeof(elements));
	/* Nothing is fetched again. */
	atomic_signal_fence(memory_order_acquire);
	lanes wrong = (elements & UINT32_MAX) ^ (slot + LANES_COUNT);
	if (lanes_any(&wrong))
		return false;
	lanes shifted = elements >> 32;
	lanes_lengths length = __builtin_convertvector(shifted, lanes_lengths);
	/* As driver_ring_length(): a comparison yields -1 where it holds. */
	length += (lanes_lengths)(length == DRIVER_USED_FULL);
	memcpy(lengths, &length, sizeof(length));
	return true;
}

static inline int
split_driver_reap(struct driver_ring *ring, uint32_t max, uint32_t *first, uint32_t *lengths)
{
	int known = split_driver_used_count(ring);

	if (known <= 0)
		return known;
	if (max > (uint32_t)known)
		max = (uint32_t)known;
	const uint32_t size = ring->size, tail = ring->tail;
	uint32_t n = 0;
	bool plain = ring->longs == 0 && ring->holes == 0, steps = LANES > 0;

	while (plain && n < max) {
		uint32_t index = (ring->used_next + n) & (size - 1);
		uint32_t slot = driver_ring_slot(ring, tail + n);
		const struct vring_used_elem *element = &ring->used->ring[index];

		steps = steps && n + LANES_WIDTH <= max;
		if (steps && index + LANES_WIDTH <= size && slot + LANES_WIDTH <= size) {
			steps = split_driver_used_step(element, slot, &lengths[n]);
			if (steps) {
				n += LANES_WIDTH;
				continue;
			}
		}
		if (__atomic_load_n(&element->id, __ATOMIC_RELAXED) != slot)
			break;
		lengths[n++] = driver_ring_length(__atomic_load_n(&element->len, __ATOMIC_RELAXED));
	}
	if (n == 0)
		return split_driver_reap_odd(ring, (uint32_t)known, max, first, lengths);
	*first = driver_ring_slot(ring, tail);
	driver_ring_release_run(ring, n);
	ring->used_next = (uint16_t)(ring->used_next + n);
	return (int)n;
}

static inline bool split_driver_calls_on(struct driver_ring *ring)
{
	if (ring->event_idx)
		__atomic_store_n(split_driver_used_event(ring), ring->used_next, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&ring->avail->flags, 0, __ATOMIC_RELAXED);
	/* full: our wish before our last look at the device's index */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&ring->used->idx, __ATOMIC_RELAXED) != ring->used_next;
}

static inline void split_driver_calls_off(struct driver_ring *ring)
{
	/* With EVENT_IDX an event index that is not moved on is enough, nearly: it comes around
	 * again after 65536 chains, for one notification in vain. */
	if (!ring->event_idx)
		__atomic_store_n(&ring->avail->flags, VRING_AVAIL_F_NO_INTERRUPT, __ATOMIC_RELAXED);
}
