/* SPDX-License-Identifier: BSD-3-Clause */
/* What is done with a driver's ring off the data path, see driver_ring.h. */
#include "ring/driver_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int driver_ring_open(struct driver_ring *ring, const struct driver_ring_config *config)
{
	memset(ring, 0, sizeof(*ring));
	ring->split_desc = config->desc;
	ring->avail = config->driver;
	ring->used = config->device;
	ring->size = config->size;
	ring->packed = config->packed;
	ring->event_idx = config->event_idx;
	ring->in_order = config->in_order;
	ring->avail_fixed = true;
	ring->calls_wanted = true; /* what areas of zeros say */
	ring->done = calloc(ring->size, sizeof(ring->done[0]));
	ring->chain_slots = calloc(ring->size, sizeof(ring->chain_slots[0]));
	if (ring->done == NULL || ring->chain_slots == NULL) {
		driver_ring_close(ring);
		return -ENOMEM;
	}
	for (uint32_t i = 0; !config->packed && i < ring->size; i++)
		ring->avail->ring[i] = (uint16_t)i;
	return 0;
}

void driver_ring_close(struct driver_ring *ring)
{
	free(ring->done);
	free(ring->chain_slots);
	ring->done = NULL;
	ring->chain_slots = NULL;
}

/* Go over the used descriptors that nobody has reaped. False: one of them is not of the oldest
 * chain there is, so that what is behind it is not what was left. Each is loaded once: a device may
 * live. */
static bool packed_pass_used(const struct driver_ring *ring, uint16_t *position)
{
	uint32_t length;
	uint16_t id;

	*position = ring->used_next;
	while (*position != (uint16_t)ring->shown
	       && packed_driver_used_at(ring, *position, &id, &length)) {
		/* With IN_ORDER it may stand for those before it, too (2.8.9). */
		if (id >= ring->size
		    || (!ring->in_order && id != driver_ring_slot(ring, *position)))
			return false;
		uint32_t slots = driver_ring_slot(ring, id - *position)
				 + (ring->longs > 0 ? ring->chain_slots[id] : 1);
		if (slots == 0 || slots > (uint16_t)(ring->shown - *position))
			return false;
		*position = (uint16_t)(*position + slots);
	}
	return true;
}

uint16_t driver_ring_end_of_used(const struct driver_ring *ring)
{
	uint16_t position;

	(void)packed_pass_used(ring, &position);
	return position;
}

/* Of a split ring: whether what was used and not reaped is the oldest there is. */
static bool split_used_in_order(const struct driver_ring *ring, uint16_t index)
{
	uint32_t slot = ring->tail;

	for (uint16_t i = ring->used_next; i != index; i++) {
		uint32_t id = __atomic_load_n(
			&ring->used->ring[i & (ring->size - 1)].id, __ATOMIC_RELAXED
		);

		/* In a batch (IN_ORDER) only its last element has to be there. */
		if (!ring->in_order && id != driver_ring_slot(ring, slot))
			return false;
		slot += ring->longs > 0 ? ring->chain_slots[driver_ring_slot(ring, slot)] : 1;
	}
	return true;
}

int driver_ring_base(const struct driver_ring *ring, uint32_t *base)
{
	uint32_t length;
	uint16_t id;

	if (ring->holes > 0)
		return -ENOTRECOVERABLE;
	if (!ring->packed) {
		/* acquire: as for reaping what this tells of */
		uint16_t index = __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE);
		bool sane = (uint16_t)(index - ring->used_next) <= ring->shown - ring->tail;

		*base = index;
		if (!sane)
			return -EPROTO;
		return split_used_in_order(ring, index) ? 0 : -ENOTRECOVERABLE;
	}
	uint16_t position;
	if (!packed_pass_used(ring, &position))
		return -ENOTRECOVERABLE;
	/* A device writes the first of a burst last. */
	for (uint16_t i = position; i != (uint16_t)ring->shown; i++) {
		if (packed_driver_used_at(ring, i, &id, &length))
			return -EUCLEAN;
	}
	uint32_t half = driver_ring_slot(ring, position)
			| (uint32_t)packed_driver_wrap(ring, position) << 15;
	*base = half | half << 16;
	return 0;
}
