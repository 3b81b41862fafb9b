/* SPDX-License-Identifier: BSD-3-Clause */
/* What is done with a ring off the data path, see ring.h. */
#include "ring/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static_assert(sizeof(struct vring_desc) == sizeof(struct vring_packed_desc), "one size of table");

uint64_t ring_desc_bytes(uint32_t size)
{
	return (uint64_t)size * sizeof(struct vring_desc);
}

uint64_t ring_driver_bytes(bool packed, uint32_t size)
{
	if (packed)
		return sizeof(struct vring_packed_desc_event);
	/* flags, idx, ring[size], used_event */
	return sizeof(uint16_t) * (3 + (uint64_t)size);
}

uint64_t ring_device_bytes(bool packed, uint32_t size)
{
	if (packed)
		return sizeof(struct vring_packed_desc_event);
	/* flags, idx, ring[size], avail_event */
	return sizeof(uint16_t) * 3 + sizeof(struct vring_used_elem) * (uint64_t)size;
}

/*
 * Both wrap counters start at 1 (2.8.1), but User Mode Linux says base 0 for a new packed ring,
 * that is, counters of 0. What it means shows in the first descriptor: in a ring that is in its
 * second lap that has been used, so its USED bit is set; in a new one it is not.
 */
static bool is_fresh_packed(const struct ring *ring)
{
	uint16_t flags = __atomic_load_n(&ring->packed_desc[0].flags, __ATOMIC_RELAXED);

	return ring->next == 0 && ring->used_next == 0 && !ring->next_wrap && !ring->used_wrap
	       && !(flags & PACKED_USED);
}

int ring_open(struct ring *ring, const struct ring_config *config)
{
	ring->split_desc = config->desc;
	ring->avail = config->driver;
	ring->used = config->device;
	ring->size = config->size;
	ring->packed = config->packed;
	ring->event_idx = config->event_idx;
	ring->indirect = config->indirect;
	ring->read_only = config->read_only;
	ring->batches = config->batches;
	ring->place = config->place;
	atomic_init(&ring->memory, config->memory);
	atomic_init(&ring->broken, NULL);
	ring->next = config->position.next;
	ring->next_wrap = config->position.next_wrap;
	ring->used_next = config->position.used_next;
	ring->used_wrap = config->position.used_wrap;
	if (!config->packed) {
		/* vhost-user, SET_VRING_BASE: the used index is read from the ring itself. */
		ring->used_next = __atomic_load_n(&ring->used->idx, __ATOMIC_RELAXED);
		ring->seen = ring->next;
	} else if (config->guess_fresh && is_fresh_packed(ring)) {
		ring->next_wrap = true;
		ring->used_wrap = true;
	}
	ring->signalled = ring->used_next;
	ring->signalled_wrap = ring->used_wrap;
	ring->held = calloc(config->size, sizeof(ring->held[0]));
	return ring->held == NULL ? -ENOMEM : 0;
}

void ring_close(struct ring *ring)
{
	free(ring->held);
	ring->held = NULL;
}

void ring_position(const struct ring *ring, struct ring_position *out)
{
	*out = (struct ring_position){
		.next = ring->next,
		.used_next = ring->used_next,
		.next_wrap = ring->next_wrap,
		.used_wrap = ring->used_wrap,
	};
}

uint32_t ring_position_encode(const struct ring_position *position, bool packed)
{
	if (!packed)
		return position->next;
	return (uint32_t)position->next | (uint32_t)position->next_wrap << 15
	       | (uint32_t)position->used_next << 16 | (uint32_t)position->used_wrap << 31;
}

struct ring_position ring_position_decode(uint32_t base, bool packed)
{
	if (!packed)
		return (struct ring_position){.next = (uint16_t)base};
	/* DPDK gives the available half only. A device that completes what it has taken before it
	 * stops has both at one place, so nothing is lost. */
	if (base >> 16 == 0)
		base |= base << 16;
	return (struct ring_position){
		.next = base & 0x7fff,
		.next_wrap = (base >> 15) & 1,
		.used_next = (base >> 16) & 0x7fff,
		.used_wrap = (base >> 31) & 1,
	};
}
