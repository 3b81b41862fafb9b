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
