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

unsigned vl_driver_rx_room(const struct vl_driver *driver, unsigned index)
{
	struct driver_pair *pair = &driver->pairs[index];

	return driver->config.foreign && !driver_pair_is_broken(pair) ? driver_ring_free(&pair->rx)
								      : 0;
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

/* Put the names of one chain where those of sent buffers wait, which has room once it is empty. */
static void reclaim_names(struct driver_pair *pair, const uintptr_t *names, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		pool_put(&pair->tx_pool, names[i]);
}

/* Of the oldest frame that was not given back; false: there is none. */
static bool reclaim_tx(struct driver_pair *pair)
{
	uint32_t slot = driver_ring_slot(&pair->tx, pair->tx.tail);
	uint32_t pieces = pair->tx_multi > 0 ? pair->tx_pieces[slot] : 1;

	if (pair->tx.tail == pair->tx.next)
		return false;
	if (pieces > 1)
		reclaim_names(pair, &pair->tx_chains[(size_t)slot * DRIVER_PIECES_MAX], pieces);
	else
		reclaim_names(pair, &pair->tx_buffers[slot], 1);
	/* And with it younger ones that were used already. */
	driver_ring_release(&pair->tx, slot);
	return true;
}

/* A buffer that was posted and reached nobody, wherever it is; false: there is none. */
static bool reclaim_rx(struct driver_pair *pair)
{
	struct driver_stash *stash = pair->stash;
	uint32_t slot = driver_ring_slot(&pair->rx, pair->rx.tail);

	if (pair->rx.tail != pair->rx.next) {
		reclaim_names(pair, &pair->rx_buffers[slot], 1);
		driver_ring_release(&pair->rx, slot);
	} else if (pair->rx_lost_count > 0) {
		slot = driver_ring_slot(&pair->rx, pair->rx_lost_first++);
		pair->rx_lost_count--;
		reclaim_names(pair, &pair->rx_buffers[slot], 1);
	} else if (stash != NULL && stash->count > 0) {
		stash->count--;
		reclaim_names(pair, &stash->parts[stash->first++].buffer, 1);
	} else {
		return false;
	}
	return true;
}

unsigned
vl_driver_reclaim(struct vl_driver *driver, unsigned index, uintptr_t *buffers, unsigned max)
{
	struct driver_pair *pair = &driver->pairs[index];
	unsigned n = 0;

	if (!driver->config.foreign)
		return 0;
	driver_stop(driver);
	while (n < max && (pool_count(&pair->tx_pool) > 0 || reclaim_tx(pair) || reclaim_rx(pair)))
		buffers[n++] = pool_get(&pair->tx_pool);
	return n;
}
