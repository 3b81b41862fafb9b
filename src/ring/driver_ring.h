/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver side of a virtqueue, split (VIRTIO 1.3, 2.7) or packed (2.8), made for the cache.
 *
 * Idea: a slot is a descriptor, and a chain that begins in slot i continues in those behind it. The
 * driver *adds* chains to the slots in their circular order and *shows* them to the device
 * together; it *reaps* what the device has used in runs of neighbouring slots. Since a device
 * completes in order nearly always, slot i of the split layout is named by entry i of the available
 * ring for ever, and what already stands in a descriptor is not written again: a line that nobody
 * writes stays in both caches.
 *
 * Out of order. Slots become free in circular order only. A chain that is used before an older one
 * leaves a hole (`done`); the older one, once used, frees both.
 *
 * Rules
 * - One thread uses a ring at a time.
 * - What the device writes is loaded once into a local and checked: an id that is not outstanding,
 *   an index that jumps, break the ring for good (`broken`, a static sentence).
 * - The layout and what was negotiated are constant arguments of the inline bodies.
 */
#pragma once

#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/lanes.h"

enum {
	DRIVER_RUN_MAX = 64, /* slots that one reap returns */
/* The length of a chain that was used within a batch (IN_ORDER), of which the device says
 * only that it is full. */
#define DRIVER_USED_FULL UINT32_MAX
};

struct driver_ring {
	union {
		struct vring_desc *split_desc;
		struct vring_packed_desc *packed_desc;
	};
	union {
		struct vring_avail *avail;
		struct vring_packed_desc_event *driver_event;
	};
	union {
		struct vring_used *used;
		struct vring_packed_desc_event *device_event;
	};
	uint32_t size; /* slots, a power of two */
	bool packed, event_idx, in_order;

	/* Positions run freely; a slot is a position modulo `size`. */
	uint32_t next;	/* slot of the next chain that is added */
	uint32_t shown; /* where the device has been told to stop */
	uint32_t tail;	/* oldest slot that is not free */
	/* In chains, modulo 65536; chains and slots part ways after a chain of several slots. */
	uint16_t avail_next;
	uint16_t used_next;  /* split: next used element; packed: position of its descriptor */
	uint16_t used_known; /* split: the device's index when it was last read */
	uint16_t kick_from;  /* avail_next (split) or slot (packed) at the last kick decision */
	bool avail_fixed;    /* split: entry i of the available ring names slot i */
	bool calls_wanted;   /* the device was asked for notifications */
	uint32_t holes;	     /* slots used before an older one */
	uint32_t longs;	     /* outstanding chains of more than one slot */
	/* A batch (IN_ORDER) that is being handed out: its last slot, and that one's length. */
	bool in_batch;
	uint32_t batch_last, batch_length;
	uint8_t *done;	       /* [size]: used, but an older one is not */
	uint16_t *chain_slots; /* [size]: of the chain that begins here; only if longs > 0 */
	_Atomic(const char *) broken;
};

struct driver_ring_config {
	void *desc, *driver, *device; /* the three areas, zeroed */
	uint32_t size;
	bool packed, event_idx, in_order;
};

/* 0 or -ENOMEM. */
int driver_ring_open(struct driver_ring *ring, const struct driver_ring_config *config);
void driver_ring_close(struct driver_ring *ring);

static inline int driver_ring_break(struct driver_ring *ring, const char *why)
{
	atomic_store_explicit(&ring->broken, why, memory_order_relaxed);
	ring->in_batch = false;
	return -1;
}

/* A length that the device wrote: none may pass for DRIVER_USED_FULL, which is ours to say. */
static inline uint32_t driver_ring_length(uint32_t length)
{
	return length - (length == DRIVER_USED_FULL);
}

/*
 * Where a device begins that has not seen the ring before, or only its memory: as SET_VRING_BASE
 * has it (split: the next available index; packed: slot and wrap counter, twice). What the device
 * before it has completed is left out, everything behind it is taken again. -EUCLEAN: it died while
 * it was writing used descriptors of a packed ring, of which it writes the first last: chains
 * behind that position do not stand in the ring any more.
 */
int driver_ring_base(const struct driver_ring *ring, uint32_t *base);
/* Of a packed ring: the position behind what was used, as far as the device has come. */
uint16_t driver_ring_end_of_used(const struct driver_ring *ring);

static inline uint32_t driver_ring_free(const struct driver_ring *ring)
{
	return ring->size - (ring->next - ring->tail);
}

static inline uint32_t driver_ring_slot(const struct driver_ring *ring, uint32_t position)
{
	return position & (ring->size - 1);
}

/*
 * Put a chain of a single buffer into the slot that is `ahead` behind the next one. Those that were
 * put are added by driver_ring_added(): `count` of them, from 0 on without a gap; there must be as
 * many free slots. (A packed ring's may be seen by the device at once.)
 */
ALWAYS_INLINE void driver_ring_put(
	struct driver_ring *ring,
	const bool packed,
	uint32_t ahead,
	uint64_t address,
	uint32_t size,
	const bool writable
);
static inline void driver_ring_added(struct driver_ring *ring, const bool packed, uint32_t count);
/* One piece of a chain. */
struct driver_piece {
	uint64_t address;
	uint32_t size;
	bool writable;
};
/* Add a chain of pieces; there must be as many free slots. */
static inline void driver_ring_add(
	struct driver_ring *ring,
	const bool packed,
	const struct driver_piece *pieces,
	uint32_t count
);

/* Add a chain that is a table of descriptors (made with driver_table_set()); one free slot. */
static inline void driver_ring_add_indirect(
	struct driver_ring *ring, const bool packed, uint64_t table, uint32_t bytes
);
/* Write entry `index` of `count` of an indirect table; both layouts have entries of 16 bytes. */
static inline void driver_table_set(
	struct vring_desc *table,
	const bool packed,
	uint32_t index,
	uint32_t count,
	const struct driver_piece *piece
);

/* Let the device see what was added. */
static inline void driver_ring_show(struct driver_ring *ring, const bool packed);
/* Whether the device wants to be notified of what was shown since the last call. */
static inline bool driver_ring_must_kick(struct driver_ring *ring, const bool packed);

/*
 * Take used chains that begin in neighbouring slots: returns how many (at most `max`, at most
 * DRIVER_RUN_MAX), 0 if there are none, -1 if the ring is broken. *first is the slot of the first;
 * chain i is the one after chain i-1. lengths[i] gets the bytes written to it. The slots are free
 * again afterwards, as far as no older one is outstanding.
 *
 * A run never contains a chain of several slots unless it is the only one.
 */
static inline int driver_ring_reap(
	struct driver_ring *ring,
	const bool packed,
	uint32_t max,
	uint32_t *first,
	uint32_t *lengths
);

/* Ask for notifications of used chains: returns true if some are used already. Or no longer ask. */
static inline bool driver_ring_calls_on(struct driver_ring *ring, const bool packed);
static inline void driver_ring_calls_off(struct driver_ring *ring, const bool packed);

/* ---- shared by the two layouts ---- */

/* Slots from `slot` on were used; free what can be. Only for chains of one slot, in order. */
static inline void driver_ring_release_run(struct driver_ring *ring, uint32_t count)
{
	ring->tail += count;
}

/* Whether a slot is where an outstanding chain begins. */
static inline bool driver_ring_is_outstanding(const struct driver_ring *ring, uint32_t slot)
{
	uint32_t distance = driver_ring_slot(ring, slot - ring->tail);

	return distance < ring->shown - ring->tail && !ring->done[slot];
}

/* The chain at `slot` was used: mark its slots, and free all up to the first that is not. */
static inline void driver_ring_release(struct driver_ring *ring, uint32_t slot)
{
	uint32_t count = 1;

	if (ring->longs > 0) {
		count = ring->chain_slots[slot];
		if (count > 1)
			ring->longs--;
		ring->chain_slots[slot] = 1;
	}
	for (uint32_t i = 0; i < count; i++)
		ring->done[driver_ring_slot(ring, slot + i)] = 1;
	ring->holes += count;
	while (ring->holes > 0 && ring->done[driver_ring_slot(ring, ring->tail)]) {
		ring->done[driver_ring_slot(ring, ring->tail)] = 0;
		ring->tail++;
		ring->holes--;
	}
}

/* Inner slots of a long chain are nobody's beginning: a device that names one lies. They are kept
 * apart by a count of 0. */
static inline void driver_ring_mark_long(struct driver_ring *ring, uint32_t slot, uint32_t count)
{
	if (ring->longs++ == 0) {
		/* Chains before this one were of one slot. */
		for (uint32_t i = 0; i < ring->size; i++)
			ring->chain_slots[i] = 1;
	}
	ring->chain_slots[slot] = (uint16_t)count;
	for (uint32_t i = 1; i < count; i++)
		ring->chain_slots[driver_ring_slot(ring, slot + i)] = 0;
}

static inline bool driver_ring_begins(const struct driver_ring *ring, uint32_t slot)
{
	return ring->longs == 0 || ring->chain_slots[slot] != 0;
}

/* With IN_ORDER all chains from the oldest to the one at `slot` were used: how many that is. */
static inline int driver_ring_begin_batch(struct driver_ring *ring, uint32_t slot, uint32_t length)
{
	uint32_t slots = driver_ring_slot(ring, slot - ring->tail) + 1;

	ring->in_batch = true;
	ring->batch_last = slot;
	ring->batch_length = length;
	if (ring->longs == 0)
		return (int)slots;
	int chains = 0;
	for (uint32_t i = 0; i < slots;
	     i += ring->chain_slots[driver_ring_slot(ring, ring->tail + i)])
		chains++;
	return chains;
}

/* Hand out what is left of a batch: neighbouring slots, or one chain of several. */
static inline int
driver_ring_reap_batch(struct driver_ring *ring, uint32_t max, uint32_t *first, uint32_t *lengths)
{
	uint32_t slot = driver_ring_slot(ring, ring->tail);
	uint32_t left = driver_ring_slot(ring, ring->batch_last - ring->tail) + 1;
	uint32_t count = left < max ? left : max;

	*first = slot;
	if (ring->longs > 0) {
		count = 1;
		ring->in_batch = slot != ring->batch_last;
		driver_ring_release(ring, slot);
	} else {
		ring->in_batch = left > count;
		ring->tail += count;
	}
	for (uint32_t i = 0; i < count; i++)
		lengths[i] = DRIVER_USED_FULL;
	if (!ring->in_batch)
		lengths[count - 1] = ring->batch_length;
	return (int)count;
}

#include "ring/packed_driver.h"
#include "ring/split_driver.h"

ALWAYS_INLINE void driver_ring_put(
	struct driver_ring *ring,
	const bool packed,
	uint32_t ahead,
	uint64_t address,
	uint32_t size,
	const bool writable
)
{
	if (packed)
		packed_driver_put(ring, ring->next + ahead, address, size, writable);
	else
		split_driver_put(ring, ring->next + ahead, address, size, writable);
}

static inline void driver_ring_added(struct driver_ring *ring, const bool packed, uint32_t count)
{
	for (uint32_t i = 0; ring->longs > 0 && i < count; i++)
		ring->chain_slots[driver_ring_slot(ring, ring->next + i)] = 1;
	if (!packed)
		split_driver_name(ring, count);
	ring->next += count;
}

static inline void driver_ring_add(
	struct driver_ring *ring,
	const bool packed,
	const struct driver_piece *pieces,
	uint32_t count
)
{
	if (packed)
		packed_driver_add(ring, pieces, count);
	else
		split_driver_add(ring, pieces, count);
	if (count == 1) {
		driver_ring_added(ring, packed, 1);
		return;
	}
	driver_ring_mark_long(ring, driver_ring_slot(ring, ring->next), count);
	if (!packed)
		split_driver_name_long(ring);
	ring->next += count;
}

static inline void driver_ring_add_indirect(
	struct driver_ring *ring, const bool packed, uint64_t table, uint32_t bytes
)
{
	uint32_t slot = driver_ring_slot(ring, ring->next);

	if (packed)
		packed_driver_store(
			&ring->packed_desc[slot],
			table,
			bytes,
			(uint16_t)slot,
			packed_driver_avail_flags(ring, ring->next) | VRING_DESC_F_INDIRECT
		);
	else
		split_driver_describe(
			&ring->split_desc[slot], table, bytes, VRING_DESC_F_INDIRECT, 0
		);
	driver_ring_added(ring, packed, 1);
}

static inline void driver_table_set(
	struct vring_desc *table,
	const bool packed,
	uint32_t index,
	uint32_t count,
	const struct driver_piece *piece
)
{
	uint16_t flags = piece->writable ? VRING_DESC_F_WRITE : 0;
	bool last = index + 1 == count;

	/* In a packed ring's table entries follow each other; flags other than WRITE, and the id,
	 * are reserved (2.8.19). The third field is `flags` in one and `id` in the other. */
	if (packed)
		*(struct vring_packed_desc *)(void *)&table[index] = (struct vring_packed_desc){
			.addr = piece->address,
			.len = piece->size,
			.flags = flags,
		};
	else
		table[index] = (struct vring_desc){
			.addr = piece->address,
			.len = piece->size,
			.flags = last ? flags : flags | VRING_DESC_F_NEXT,
			.next = last ? 0 : (uint16_t)(index + 1),
		};
}

static inline void driver_ring_show(struct driver_ring *ring, const bool packed)
{
	if (packed)
		packed_driver_show(ring);
	else
		split_driver_show(ring);
	ring->shown = ring->next;
}

static inline bool driver_ring_must_kick(struct driver_ring *ring, const bool packed)
{
	return packed ? packed_driver_must_kick(ring) : split_driver_must_kick(ring);
}

static inline int driver_ring_reap(
	struct driver_ring *ring,
	const bool packed,
	uint32_t max,
	uint32_t *first,
	uint32_t *lengths
)
{
	if (atomic_load_explicit(&ring->broken, memory_order_relaxed) != NULL)
		return -1;
	if (max > DRIVER_RUN_MAX)
		max = DRIVER_RUN_MAX;
	if (ring->in_batch)
		return driver_ring_reap_batch(ring, max, first, lengths);
	return packed ? packed_driver_reap(ring, max, first, lengths)
		      : split_driver_reap(ring, max, first, lengths);
}

static inline bool driver_ring_calls_on(struct driver_ring *ring, const bool packed)
{
	ring->calls_wanted = true;
	/* What is left of a batch will not be told again. */
	if (ring->in_batch)
		return true;
	return packed ? packed_driver_calls_on(ring) : split_driver_calls_on(ring);
}

static inline void driver_ring_calls_off(struct driver_ring *ring, const bool packed)
{
	if (!ring->calls_wanted)
		return;
	ring->calls_wanted = false;
	if (packed)
		packed_driver_calls_off(ring);
	else
		split_driver_calls_off(ring);
}
