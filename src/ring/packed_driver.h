/* SPDX-License-Identifier: BSD-3-Clause */
/* The packed layout, driver side (VIRTIO 1.3, 2.8). Included by driver_ring.h only. The buffer
 * id of a chain is the slot in which it begins. */
#pragma once

enum {
	PACKED_DRIVER_AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	PACKED_DRIVER_USED = 1 << VRING_PACKED_DESC_F_USED,
	PACKED_DRIVER_WRAP = 1 << VRING_PACKED_EVENT_F_WRAP_CTR,
};

/* Wrap counters begin at 1 and change with every lap (2.8.1). */
static inline bool packed_driver_wrap(const struct driver_ring *ring, uint32_t position)
{
	return !(position & ring->size);
}

static inline uint16_t packed_driver_avail_flags(const struct driver_ring *ring, uint32_t position)
{
	return packed_driver_wrap(ring, position) ? PACKED_DRIVER_AVAIL : PACKED_DRIVER_USED;
}

/*
 * A descriptor as one unit of 16 bytes. Processors with AVX load and store aligned 16 bytes at once
 * (Intel SDM 3A, 9.1.1; AMD APM 2, 7.3.2), so flags and the rest are seen together; elsewhere the
 * flags are stored last and loaded first.
 */
#if defined(__AVX__)
typedef uint64_t packed_unit __attribute__((vector_size(16)));
#endif

static inline void packed_driver_store(
	struct vring_packed_desc *desc, uint64_t address, uint32_t size, uint16_t id, uint16_t flags
)
{
#if defined(__AVX__)
	packed_unit unit = {address, size | (uint64_t)id << 32 | (uint64_t)flags << 48};

	/* x86 stores become visible in order: data before this. The compiler has to keep to it. */
	__atomic_signal_fence(__ATOMIC_RELEASE);
	*(packed_unit *)(void *)desc = unit;
#else
	desc->addr = address;
	desc->len = size;
	desc->id = id;
	/* release: the descriptor and data before its flags */
	__atomic_store_n(&desc->flags, flags, __ATOMIC_RELEASE);
#endif
}

/* Ask for the lines of the next descriptors, to write them: together, not one after the other. */
static inline void packed_driver_claim(const struct driver_ring *ring, uint32_t count)
{
	for (uint32_t i = 0; i < count; i += 4)
		__builtin_prefetch(&ring->packed_desc[driver_ring_slot(ring, ring->next + i)], 1);
}

ALWAYS_INLINE void packed_driver_put(
	struct driver_ring *ring, uint32_t position, uint64_t address, uint32_t size, bool writable
)
{
	uint32_t slot = driver_ring_slot(ring, position);
	uint16_t flags = packed_driver_avail_flags(ring, position);

	packed_driver_store(
		&ring->packed_desc[slot],
		address,
		size,
		(uint16_t)slot,
		writable ? flags | VRING_DESC_F_WRITE : flags
	);
}

static inline void
packed_driver_add(struct driver_ring *ring, const struct driver_piece *pieces, uint32_t count)
{
	uint32_t head = driver_ring_slot(ring, ring->next);

	/* The first last: with it the device may begin (2.8.21.1). */
	for (uint32_t i = count; i-- > 0;) {
		uint32_t position = ring->next + i;
		uint16_t flags = packed_driver_avail_flags(ring, position);

		if (pieces[i].writable)
			flags |= VRING_DESC_F_WRITE;
		if (i + 1 < count)
			flags |= VRING_DESC_F_NEXT;
		packed_driver_store(
			&ring->packed_desc[driver_ring_slot(ring, position)],
			pieces[i].address,
			pieces[i].size,
			(uint16_t)head,
			flags
		);
	}
}

static inline void packed_driver_show(struct driver_ring *ring)
{
	/* The descriptors were shown as they were added. */
	__atomic_signal_fence(__ATOMIC_RELEASE);
	ring->avail_next = (uint16_t)ring->next;
}

static inline bool packed_driver_must_kick(struct driver_ring *ring)
{
	uint16_t added = (uint16_t)(ring->next - ring->kick_from);

	ring->kick_from = (uint16_t)ring->next;
	/* full: our descriptors before our look at the device's wish (2.8.21.3) */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* acquire: the offset is valid for the flags that were read with it */
	uint16_t flags = __atomic_load_n(&ring->device_event->flags, __ATOMIC_ACQUIRE);
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !ring->event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	uint16_t off_wrap = __atomic_load_n(&ring->device_event->off_wrap, __ATOMIC_RELAXED);
	uint32_t event = off_wrap & (PACKED_DRIVER_WRAP - 1);
	/* How far behind the end of what was added the event lies, counted in laps of our own. */
	uint32_t here = driver_ring_slot(ring, ring->next);
	bool same_lap = !!(off_wrap & PACKED_DRIVER_WRAP) == packed_driver_wrap(ring, ring->next);
	uint32_t behind = same_lap ? here - event : here + ring->size - event;

	if (event >= ring->size || (same_lap && event >= here))
		return false; /* still to come */
	return behind <= added;
}

/* The used descriptor at a position: false if there is none yet. */
static inline bool packed_driver_used_at(
	const struct driver_ring *ring, uint32_t position, uint16_t *id, uint32_t *length
)
{
	const struct vring_packed_desc *desc = &ring->packed_desc[driver_ring_slot(ring, position)];
	const uint16_t mask = PACKED_DRIVER_AVAIL | PACKED_DRIVER_USED;
	uint16_t want = packed_driver_wrap(ring, position) ? mask : 0;

#if defined(__AVX__)
	packed_unit unit = *(const packed_unit *)(const void *)desc;

	/* What the device wrote before the flags is read after them, as x86 loads go. */
	__atomic_signal_fence(__ATOMIC_ACQUIRE);
	*length = driver_ring_length((uint32_t)unit[1]);
	*id = (uint16_t)(unit[1] >> 32);
	return ((uint16_t)(unit[1] >> 48) & mask) == want;
#else
	/* acquire: id, length and data after the flags */
	uint16_t flags = __atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE);

	if ((flags & mask) != want)
		return false;
	*length = driver_ring_length(__atomic_load_n(&desc->len, __ATOMIC_RELAXED));
	*id = __atomic_load_n(&desc->id, __ATOMIC_RELAXED);
	return true;
#endif
}

/* A used descriptor that does not name the oldest chain, or while chains have several slots. */
static inline int packed_driver_reap_odd(
	struct driver_ring *ring,
	uint32_t id,
	uint32_t length,
	uint32_t max,
	uint32_t *first,
	uint32_t *lengths
)
{
	if (id >= ring->size || !driver_ring_is_outstanding(ring, id)
	    || !driver_ring_begins(ring, id))
		return driver_ring_break(
			ring, "the device used a buffer that was not made available"
		);
	uint32_t end = ring->longs > 0 ? ring->chain_slots[id] : 1;

	if (ring->in_order) {
		/* 2.8.9: the device goes on behind the batch */
		uint32_t slots = driver_ring_slot(ring, id - ring->tail) + end;

		(void)driver_ring_begin_batch(ring, id, length);
		ring->used_next = (uint16_t)(ring->used_next + slots);
		return driver_ring_reap_batch(ring, max, first, lengths);
	}
	*first = id;
	lengths[0] = length;
	driver_ring_release(ring, id);
	ring->used_next = (uint16_t)(ring->used_next + end);
	return 1;
}

/* Whether the descriptors from one on are used, and name the slots from `slot` on: their lengths.
 */
ALWAYS_INLINE bool packed_driver_used_step(
	const struct driver_ring *ring, uint32_t position, uint32_t slot, uint32_t *lengths
)
{
	const uint64_t mask = PACKED_DRIVER_AVAIL | PACKED_DRIVER_USED;
	uint64_t want = packed_driver_wrap(ring, position) ? mask : 0;
	lanes descriptors;

	memcpy(&descriptors,
	       &ring->packed_desc[driver_ring_slot(ring, position)],
	       sizeof(descriptors));
	/* See packed_driver_used_at(). */
	atomic_signal_fence(memory_order_acquire);
	lanes rest = LANES_ODD(descriptors);
	lanes wrong = ((rest >> 48 & mask) ^ want)
		      | ((rest >> 32 & UINT16_MAX) ^ (slot + LANES_COUNT_PAIRS));
	if (lanes_any(&wrong))
		return false;
	lanes_half half = LANES_ODD_HALF(descriptors);
	lanes_sizes length = __builtin_convertvector(half, lanes_sizes);
	length += (lanes_sizes)(length == DRIVER_USED_FULL);
	memcpy(lengths, &length, sizeof(length));
	return true;
}

static inline int
packed_driver_reap(struct driver_ring *ring, uint32_t max, uint32_t *first, uint32_t *lengths)
{
	/* used_next wraps with the 65536 that two laps divide, as do positions. */
	uint32_t position = ring->used_next, n = 0;
	uint32_t oldest = driver_ring_slot(ring, ring->tail);
	uint32_t outstanding = ring->shown - ring->tail;
	bool plain = ring->longs == 0 && ring->holes == 0, steps = plain && LANES > 0;
	uint32_t length;
	uint16_t id;

	if (max > outstanding)
		max = outstanding;
	while (n < max) {
		uint32_t slot = driver_ring_slot(ring, oldest + n);

		steps = steps && n + LANES_STEP <= max;
		if (steps && slot + LANES_STEP <= ring->size
		    && driver_ring_slot(ring, position + n) + LANES_STEP <= ring->size) {
			steps = packed_driver_used_step(ring, position + n, slot, &lengths[n]);
			if (steps) {
				n += LANES_STEP;
				continue;
			}
		}
		if (!packed_driver_used_at(ring, position + n, &id, &length))
			break;
		if (!plain || id != slot) {
			if (n > 0)
				break;
			return packed_driver_reap_odd(ring, id, length, max, first, lengths);
		}
		lengths[n++] = length;
	}
	*first = oldest;
	driver_ring_release_run(ring, n);
	ring->used_next = (uint16_t)(ring->used_next + n);
	return (int)n;
}

static inline bool packed_driver_calls_on(struct driver_ring *ring)
{
	uint16_t wish = VRING_PACKED_EVENT_FLAG_ENABLE, id;
	uint32_t length;

	if (ring->event_idx) {
		uint16_t off_wrap = (uint16_t)driver_ring_slot(ring, ring->used_next);

		if (packed_driver_wrap(ring, ring->used_next))
			off_wrap |= PACKED_DRIVER_WRAP;
		__atomic_store_n(&ring->driver_event->off_wrap, off_wrap, __ATOMIC_RELAXED);
		wish = VRING_PACKED_EVENT_FLAG_DESC;
	}
	/* release: the offset before the flags that make it valid */
	__atomic_store_n(&ring->driver_event->flags, wish, __ATOMIC_RELEASE);
	/* full: our wish before our last look at the descriptor */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return packed_driver_used_at(ring, ring->used_next, &id, &length);
}

static inline void packed_driver_calls_off(struct driver_ring *ring)
{
	__atomic_store_n(
		&ring->driver_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE, __ATOMIC_RELAXED
	);
}
