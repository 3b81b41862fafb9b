/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory a driver shares with its device: its own arenas, and the application's. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/driver.h"

/* Descriptors hold the application's virtual addresses, rings' addresses are such anyway: guest
 * and user address are one. */
static struct vhost_region describe(const void *start, size_t size, uint64_t offset)
{
	uint64_t address = (uint64_t)(uintptr_t)start;

	return (struct vhost_region){
		.guest_address = address,
		.size = size,
		.user_address = address,
		.mmap_offset = offset,
	};
}

/* ---- sharing ---- */

int driver_share_all(struct vl_driver *driver)
{
	struct vhost_region regions[DRIVER_ARENAS_MAX];
	int fds[DRIVER_ARENAS_MAX];

	for (unsigned i = 0; i < driver->region_count; i++) {
		regions[i] = driver->regions[i].region;
		fds[i] = driver->regions[i].fd;
	}
	return frontend_set_memory(driver->frontend, regions, fds, driver->region_count);
}

/* Without CONFIGURE_MEM_SLOTS the table is replaced, for which the rings have to stand still. */
static int share_again(struct vl_driver *driver)
{
	unsigned rings = 2 * driver->pair_count;
	int error = 0;

	for (unsigned i = 0; error == 0 && i < rings; i++)
		error = frontend_enable_ring(driver->frontend, i, false);
	if (error == 0)
		error = driver_share_all(driver);
	/* In any case: a table that was refused leaves the old one. */
	for (unsigned i = 0; i < rings; i++) {
		int again = frontend_enable_ring(driver->frontend, i, true);

		if (error == 0)
			error = again;
	}
	return error;
}

/* Tell the device of the region that was put at the end of the table. */
static int share_last(struct vl_driver *driver)
{
	const struct driver_region *last = &driver->regions[driver->region_count - 1];

	pthread_mutex_lock(&driver->session);
	int error = frontend_add_memory(driver->frontend, &last->region, last->fd);
	if (error == -ENOTSUP)
		error = share_again(driver);
	driver_unlock(driver);
	return error;
}

static struct driver_region *next_region(struct vl_driver *driver)
{
	if (driver->region_count >= DRIVER_ARENAS_MAX
	    || driver->region_count >= driver->frontend->slots_max)
		return NULL;
	return &driver->regions[driver->region_count];
}

/* ---- arenas ---- */

int driver_make_memory(struct vl_driver *driver, struct vl_driver_error *why)
{
	struct driver_region *region = next_region(driver);
	size_t bytes = driver->pair_count * driver_pair_bytes(driver) + driver_control_bytes();

	if (region == NULL)
		return driver_explain(why, -ENOTSUP, "the back end takes no memory at all");
	int error = arena_create(bytes, &region->arena);
	if (error < 0)
		return driver_explain(
			why,
			error,
			"no %zu KiB of memory for rings and buffers: %s; fewer or smaller buffers "
			"need less",
			bytes / 1024,
			strerror(-error)
		);
	region->fd = region->arena.fd;
	region->region = describe(region->arena.base, region->arena.size, 0);
	driver->region_count++;
	for (unsigned i = 0; error == 0 && i < driver->pair_count; i++)
		error = driver_pair_open(driver, &driver->pairs[i], &region->arena);
	if (error == 0 && driver->has_control)
		error = driver_control_open(driver, &region->arena);
	if (error < 0)
		return driver_explain(why, error, "setting up queues: %s", strerror(-error));
	error = driver_share_all(driver);
	if (error < 0)
		return driver_explain(why, error, "%s", driver->frontend->reason);
	return 0;
}

void driver_free_memory(struct vl_driver *driver)
{
	for (unsigned i = 0; i < driver->region_count; i++) {
		struct driver_region *region = &driver->regions[i];

		if (region->arena.base != NULL)
			arena_destroy(&region->arena);
		else if (region->fd >= 0)
			close(region->fd);
	}
	driver->region_count = 0;
}

int vl_driver_grow(struct vl_driver *driver, unsigned pair_index, uint32_t count, bool for_rx)
{
	struct driver_region *region = next_region(driver);
	uint32_t buffer_size = driver->config.buffer_size;

	if (pair_index >= driver->pair_count || driver->config.foreign || count == 0)
		return -EINVAL;
	if (region == NULL)
		return -ENOSPC;
	size_t bytes = driver_buffer_stride(buffer_size) * count;
	int error = arena_create(bytes + DRIVER_BUFFER_ALIGNMENT, &region->arena);
	if (error < 0)
		return error;
	region->fd = region->arena.fd;
	region->region = describe(region->arena.base, region->arena.size, 0);
	driver->region_count++;
	error = share_last(driver);
	if (error == 0) {
		struct driver_pair *pair = &driver->pairs[pair_index];

		return driver_fill_pool(
			for_rx ? &pair->rx_pool : &pair->tx_pool,
			&region->arena,
			count,
			buffer_size,
			for_rx ? 0 : BUFFER_OF_TX
		);
	}
	driver->region_count--;
	arena_destroy(&region->arena);
	return error;
}

static bool overlaps(const struct vl_driver *driver, const struct vhost_region *wanted)
{
	for (unsigned i = 0; i < driver->region_count; i++) {
		const struct vhost_region *region = &driver->regions[i].region;

		if (wanted->user_address < region->user_address + region->size
		    && region->user_address < wanted->user_address + wanted->size)
			return true;
	}
	return false;
}

int vl_driver_share(struct vl_driver *driver, void *address, size_t size, int fd, uint64_t offset)
{
	const uint64_t page = 4096;
	struct driver_region *region = next_region(driver);

	if (region == NULL)
		return -ENOSPC;
	if (size == 0 || (uintptr_t)address % page != 0 || size % page != 0 || offset % page != 0)
		return -EINVAL;
	*region = (struct driver_region){
		.region = describe(address, size, offset),
		.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0),
	};
	if (region->fd < 0)
		return -errno;
	if (overlaps(driver, &region->region)) {
		close(region->fd);
		return -EEXIST;
	}
	driver->region_count++;
	int error = share_last(driver);
	if (error < 0) {
		driver->region_count--;
		close(region->fd);
	}
	return error;
}
