/* SPDX-License-Identifier: BSD-3-Clause */
/* Setting up a queue pair: its rings, tables and pools in the driver's arena. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/driver.h"

/* ---- rings ---- */

static size_t round_up(size_t size, size_t alignment)
{
	return (size + alignment - 1) / alignment * alignment;
}

enum {
	/* Areas that different sides write do not share a line, nor two that are fetched together.
	 */
	AREA_ALIGNMENT = 128,
};

/* The larger of both layouts, so that the arena's size does not depend on it. */
static size_t desc_bytes(uint32_t size)
{
	return round_up(sizeof(struct vring_desc) * (size_t)size, AREA_ALIGNMENT);
}

static size_t driver_area_bytes(uint32_t size)
{
	return round_up(sizeof(uint16_t) * (3 + (size_t)size), AREA_ALIGNMENT);
}

static size_t device_area_bytes(uint32_t size)
{
	return round_up(
		sizeof(uint16_t) * 3 + sizeof(struct vring_used_elem) * (size_t)size, AREA_ALIGNMENT
	);
}

size_t driver_ring_area_bytes(uint32_t size)
{
	return desc_bytes(size) + driver_area_bytes(size) + device_area_bytes(size)
	       + 3 * (size_t)AREA_ALIGNMENT;
}

int driver_make_ring(
	struct driver_ring *ring, struct arena *arena, const struct vl_driver *driver, uint32_t size
)
{
	struct driver_ring_config config = {
		.desc = arena_take(arena, desc_bytes(size), AREA_ALIGNMENT),
		.driver = arena_take(arena, driver_area_bytes(size), AREA_ALIGNMENT),
		.device = arena_take(arena, device_area_bytes(size), AREA_ALIGNMENT),
		.size = size,
		.packed = vl_features_have(&driver->features, VL_F_RING_PACKED),
		.event_idx = vl_features_have(&driver->features, VL_F_EVENT_IDX),
		.in_order = vl_features_have(&driver->features, VL_F_IN_ORDER),
	};

	if (config.desc == NULL || config.driver == NULL || config.device == NULL)
		return -ENOMEM;
	return driver_ring_open(ring, &config);
}

int driver_start_ring(
	struct vl_driver *driver,
	unsigned index,
	const struct driver_ring *ring,
	int kick_fd,
	int call_fd
)
{
	struct frontend_ring start = {
		.index = index,
		.size = ring->size,
		.desc = (uint64_t)(uintptr_t)ring->split_desc,
		.avail = (uint64_t)(uintptr_t)ring->avail,
		.used = (uint64_t)(uintptr_t)ring->used,
		.kick_fd = kick_fd,
		.call_fd = call_fd,
		.err_fd = -1,
	};

	int error = driver_ring_base(ring, &start.base);

	if (error < 0) {
		(void)snprintf(
			driver->frontend->reason,
			sizeof(driver->frontend->reason),
			error == -ENOTRECOVERABLE
				? "the device before this one did not complete in order on queue %u"
				: "the device before this one has left nonsense in queue %u",
			index
		);
		return error;
	}
	return frontend_start_ring(driver->frontend, &start);
}

/* ---- after a device has died ---- */

static bool is_half_written(const struct driver_ring *ring)
{
	uint32_t base;

	return driver_ring_base(ring, &base) == -EUCLEAN;
}

/* What was received in vain is received again: its sender has not got back what it sent. */
static void mend_receiving(struct driver_pair *pair)
{
	struct driver_ring *ring = &pair->rx;

	for (uint16_t i = driver_ring_end_of_used(ring); i != (uint16_t)ring->shown; i++) {
		uint32_t slot = driver_ring_slot(ring, i);
		bool foreign = pair->variant.foreign;
		uint8_t *data = foreign ? pair->rx_data[slot] : buffer_data(pair->rx_buffers[slot]);
		uint32_t room = foreign ? pair->rx_rooms[slot] : pair->buffer_size;

		packed_driver_put(
			ring,
			i,
			(uint64_t)(uintptr_t)data - DRIVER_HEADER_SIZE,
			room + DRIVER_HEADER_SIZE,
			true
		);
	}
}

/* All of a burst was sent when the device began to say so: say the rest of it. */
static void mend_sending(struct driver_pair *pair)
{
	struct driver_ring *ring = &pair->tx;
	uint16_t position = driver_ring_end_of_used(ring);
	uint16_t slot = (uint16_t)driver_ring_slot(ring, position);

	packed_driver_store(
		&ring->packed_desc[slot],
		0,
		0,
		slot,
		packed_driver_wrap(ring, position) ? PACKED_DRIVER_AVAIL | PACKED_DRIVER_USED : 0
	);
}

/* A device may take a packed ring for a new one that begins at slot 0 in a later lap, unless the
 * descriptor there says that it was used: what a chain behind it, or a batch, has left out. */
static void mark_lap(struct driver_ring *ring)
{
	uint32_t base;

	if (ring->packed && driver_ring_base(ring, &base) == 0 && base == 0
	    && driver_ring_end_of_used(ring) == (uint16_t)ring->shown)
		ring->packed_desc[0].flags = PACKED_DRIVER_AVAIL | PACKED_DRIVER_USED;
}

void driver_pair_mend(struct driver_pair *pair)
{
	if (is_half_written(&pair->rx))
		mend_receiving(pair);
	if (is_half_written(&pair->tx))
		mend_sending(pair);
	mark_lap(&pair->rx);
	mark_lap(&pair->tx);
}

/* ---- pools ---- */

/* An odd number of lines: buffers spread over all sets of a cache. */
size_t driver_buffer_stride(uint32_t buffer_size)
{
	size_t lines = (DRIVER_DATA_OFFSET + (size_t)buffer_size + DRIVER_BUFFER_ALIGNMENT - 1)
		       / DRIVER_BUFFER_ALIGNMENT;

	return (lines | 1) * DRIVER_BUFFER_ALIGNMENT;
}

/* Room for the names of `count` buffers more. */
static int widen_pool(struct pool *pool, uint32_t count)
{
	uint32_t wanted = pool->total + count, size = 1;

	while (size < wanted)
		size *= 2;
	uintptr_t *names = calloc(size, sizeof(names[0]));
	if (names == NULL)
		return -ENOMEM;
	uint32_t held = pool_count(pool);
	for (uint32_t i = 0; i < held; i++)
		names[i] = pool_get(pool);
	free(pool->names);
	*pool = (struct pool
	){.names = names, .mask = size - 1, .in = held, .total = pool->total + count};
	return 0;
}

int driver_fill_pool(
	struct pool *pool, struct arena *arena, uint32_t count, uint32_t buffer_size, uintptr_t tag
)
{
	size_t stride = driver_buffer_stride(buffer_size);
	uint8_t *buffers = NULL;

	if (count > 0 && arena != NULL) {
		buffers = arena_take(arena, stride * count, DRIVER_BUFFER_ALIGNMENT);
		if (buffers == NULL)
			return -ENOMEM;
	}
	int error = widen_pool(pool, count);
	if (error < 0)
		return error;
	for (uint32_t i = 0; buffers != NULL && i < count; i++)
		pool_put(pool, (uintptr_t)(buffers + i * stride) | tag);
	return 0;
}

/* ---- pair ---- */

static bool wants_tables(const struct vl_driver *driver)
{
	static const unsigned large[] = {
		VL_F_HOST_TSO4, VL_F_HOST_TSO6, VL_F_HOST_UFO, VL_F_HOST_USO};

	for (unsigned i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
		if (vl_features_have(&driver->features, large[i]))
			return vl_features_have(&driver->features, VL_F_INDIRECT_DESC);
	}
	return false;
}

static size_t tables_bytes(const struct vl_driver *driver)
{
	if (!wants_tables(driver))
		return 0;
	return (size_t)driver->config.queue_size * DRIVER_PIECES_MAX * sizeof(struct vring_desc);
}

size_t driver_pair_bytes(const struct vl_driver *driver)
{
	const struct vl_driver_config *config = &driver->config;
	size_t stride = driver_buffer_stride(config->buffer_size);
	size_t bytes = 2 * driver_ring_area_bytes(config->queue_size) + tables_bytes(driver)
		       + 6 * (size_t)AREA_ALIGNMENT;

	if (!config->foreign)
		bytes += stride * ((size_t)config->rx_buffers + config->tx_buffers);
	return bytes;
}

/* What a frame's header may ask for, by what was negotiated. */
static void set_allowed(const struct vl_driver *driver, struct driver_pair *pair)
{
	static const struct {
		unsigned feature, type;
	} types[] = {
		{VL_F_HOST_TSO4, VL_GSO_TCPV4},
		{VL_F_HOST_TSO6, VL_GSO_TCPV6},
		{VL_F_HOST_UFO, VL_GSO_UDP},
		{VL_F_HOST_USO, VL_GSO_UDP_L4},
	};

	pair->csum_allowed = vl_features_have(&driver->features, VL_F_CSUM);
	pair->ecn_allowed = vl_features_have(&driver->features, VL_F_HOST_ECN);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (vl_features_have(&driver->features, types[i].feature))
			pair->gso_allowed |= (uint16_t)(1 << types[i].type);
	}
}

static int make_shadow(const struct vl_driver *driver, struct driver_pair *pair)
{
	size_t slots = driver->config.queue_size;

	pair->rx_buffers = calloc(slots, sizeof(pair->rx_buffers[0]));
	pair->tx_buffers = calloc(slots, sizeof(pair->tx_buffers[0]));
	pair->tx_pieces = calloc(slots, sizeof(pair->tx_pieces[0]));
	/* Touched only by frames of several pieces; the rest costs addresses, not memory. */
	pair->tx_chains = calloc(slots * DRIVER_PIECES_MAX, sizeof(pair->tx_chains[0]));
	if (pair->rx_buffers == NULL || pair->tx_buffers == NULL || pair->tx_pieces == NULL
	    || pair->tx_chains == NULL)
		return -ENOMEM;
	if (driver->config.foreign) {
		pair->rx_data = calloc(slots, sizeof(pair->rx_data[0]));
		pair->rx_rooms = calloc(slots, sizeof(pair->rx_rooms[0]));
		if (pair->rx_data == NULL || pair->rx_rooms == NULL)
			return -ENOMEM;
	}
	if (driver->variant.mergeable) {
		pair->stash = calloc(1, sizeof(*pair->stash));
		if (pair->stash == NULL)
			return -ENOMEM;
	}
	return 0;
}

static int make_pools(const struct vl_driver *driver, struct driver_pair *pair, struct arena *arena)
{
	const struct vl_driver_config *config = &driver->config;
	uint32_t size = config->buffer_size;
	int error;

	/* Without a pool: room for the names of all that can be in the ring. */
	if (config->foreign)
		return driver_fill_pool(
			&pair->tx_pool, NULL, driver->config.queue_size * DRIVER_PIECES_MAX, 0, 0
		);
	error = driver_fill_pool(&pair->rx_pool, arena, config->rx_buffers, size, 0);
	if (error < 0)
		return error;
	return driver_fill_pool(&pair->tx_pool, arena, config->tx_buffers, size, BUFFER_OF_TX);
}

static int make_signals(struct driver_pair *pair)
{
	int *const fds[] = {
		&pair->rx_kick_fd, &pair->tx_kick_fd, &pair->rx_call_fd, &pair->tx_call_fd};

	for (unsigned i = 0; i < 4; i++) {
		*fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (*fds[i] < 0)
			return -errno;
	}
	return 0;
}

int driver_pair_open(struct vl_driver *driver, struct driver_pair *pair, struct arena *arena)
{
	uint32_t size = driver->config.queue_size;

	pair->rx_kick_fd = pair->tx_kick_fd = pair->rx_call_fd = pair->tx_call_fd = -1;
	pair->variant = driver->variant;
	pair->buffer_size = driver->config.buffer_size;
	set_allowed(driver, pair);
	int error = make_signals(pair);
	if (error == 0)
		error = driver_make_ring(&pair->rx, arena, driver, size);
	if (error == 0)
		error = driver_make_ring(&pair->tx, arena, driver, size);
	if (error == 0)
		error = make_shadow(driver, pair);
	if (error < 0)
		return error;
	if (wants_tables(driver)) {
		pair->tables = arena_take(arena, tables_bytes(driver), AREA_ALIGNMENT);
		if (pair->tables == NULL)
			return -ENOMEM;
	}
	return make_pools(driver, pair, arena);
}

void driver_pair_close(struct driver_pair *pair)
{
	const int fds[] = {pair->rx_kick_fd, pair->tx_kick_fd, pair->rx_call_fd, pair->tx_call_fd};

	for (unsigned i = 0; i < 4; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	driver_ring_close(&pair->rx);
	driver_ring_close(&pair->tx);
	free(pair->rx_buffers);
	free(pair->rx_data);
	free(pair->rx_rooms);
	free(pair->tx_buffers);
	free(pair->tx_pieces);
	free(pair->tx_chains);
	free(pair->rx_pool.names);
	free(pair->tx_pool.names);
	free(pair->stash);
}
