/* SPDX-License-Identifier: BSD-3-Clause */
/* Buffers of the application's own memory: handed to the device, and taken back. */
#include "driver/driver.h"

unsigned vl_driver_rx_post(
	struct vl_driver *driver,
	unsigned pair,
	const struct vl_driver_frame *frames,
	unsigned count
)
{
	if (!driver->config.foreign)
		return 0;
	return driver->ops->rx_post(&driver->pairs[pair], frames, count);
}

unsigned
vl_driver_tx_complete(struct vl_driver *driver, unsigned index, uintptr_t *buffers, unsigned max)
{
	struct driver_pair *pair = &driver->pairs[index];
	unsigned n = 0;

	if (!driver->config.foreign)
		return 0;
	driver->ops->tx_reap(pair);
	while (n < max && pool_count(&pair->tx_pool) > 0)
		buffers[n++] = pool_get(&pair->tx_pool);
	return n;
}

/* ---- what the rings still hold ---- */

/* Where names go, as long as there is room. */
struct names {
	uintptr_t *at;
	unsigned count, max;
};

/* The oldest chain that is outstanding: whether there is one, and its slot. It is free then. */
static bool next_outstanding(struct driver_ring *ring, uint32_t *slot)
{
	while (ring->tail != ring->next) {
		*slot = driver_ring_slot(ring, ring->tail++);
		/* Not one that was used before an older one, and not the inside of a long one. */
		if (ring->done[*slot])
			ring->done[*slot] = 0;
		else if (driver_ring_begins(ring, *slot))
			return true;
	}
	return false;
}

static void reclaim_rx(struct driver_pair *pair, struct names *names)
{
	struct driver_stash *stash = pair->stash;
	uint32_t slot;

	for (; stash != NULL && stash->count > 0 && names->count < names->max; stash->count--)
		names->at[names->count++] = stash->parts[stash->first++].buffer;
	while (names->count < names->max && next_outstanding(&pair->rx, &slot))
		names->at[names->count++] = pair->rx_buffers[slot];
}

static void reclaim_tx(struct driver_pair *pair, struct names *names)
{
	uint32_t slot;

	for (;;) {
		/* What was sent, and the pieces of what was not, wait in the pool. */
		while (names->count < names->max && pool_count(&pair->tx_pool) > 0)
			names->at[names->count++] = pool_get(&pair->tx_pool);
		if (names->count == names->max || !next_outstanding(&pair->tx, &slot))
			return;
		uint32_t pieces = pair->tx_multi > 0 ? pair->tx_pieces[slot] : 1;
		const uintptr_t *chain = &pair->tx_chains[(size_t)slot * DRIVER_PIECES_MAX];
		if (pieces == 1)
			chain = &pair->tx_buffers[slot];
		for (uint32_t i = 0; i < pieces; i++)
			pool_put(&pair->tx_pool, chain[i]);
	}
}

static const char reclaimed[] = "the application has taken its buffers back";

unsigned
vl_driver_reclaim(struct vl_driver *driver, unsigned index, uintptr_t *buffers, unsigned max)
{
	struct driver_pair *pair = &driver->pairs[index];
	struct names names = {buffers, 0, max};

	if (!driver->config.foreign)
		return 0;
	if (!pair->is_reclaimed) {
		/* A device that cannot be reached any more has nobody who moves frames. */
		pthread_mutex_lock(&driver->session);
		for (unsigned i = 0; i < 2; i++)
			(void)frontend_stop_ring(driver->frontend, 2 * index + i, NULL);
		driver_unlock(driver);
		driver->ops->tx_reap(pair);
		(void)driver_ring_break(&pair->rx, reclaimed);
		(void)driver_ring_break(&pair->tx, reclaimed);
		pair->is_reclaimed = true;
	}
	reclaim_rx(pair, &names);
	reclaim_tx(pair, &names);
	return names.count;
}
