/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of a guest for tests, and what both layouts of rings share; see guest.h. */
#include "guest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "guest_layouts.h"

/* ---- memory ---- */

int guest_memfd(uint64_t size)
{
	int fd = memfd_create("virtlane-guest", MFD_CLOEXEC);

	check(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

static void region_open(struct guest *guest, uint64_t address, uint64_t user, uint64_t size)
{
	struct guest_region *region = &guest->regions[guest->region_count++];

	*region = (struct guest_region){
		.guest_address = address,
		.user_address = user,
		.size = size,
		.fd = guest_memfd(size),
	};
	region->host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);
	check(region->host != MAP_FAILED);
}

void guest_open(struct guest *guest)
{
	*guest = (struct guest){0};
	region_open(guest, GUEST_LOW_ADDRESS, UINT64_C(0x700000000000), GUEST_LOW_SIZE);
	region_open(
		guest, GUEST_LOW_ADDRESS + GUEST_LOW_SIZE, UINT64_C(0x500000000000), GUEST_NEXT_SIZE
	);
	region_open(guest, GUEST_HIGH_ADDRESS, UINT64_C(0x600000000000), GUEST_HIGH_SIZE);
}

void guest_close(struct guest *guest)
{
	for (unsigned i = 0; i < guest->region_count; i++) {
		munmap(guest->regions[i].host, guest->regions[i].size);
		close(guest->regions[i].fd);
	}
	guest->region_count = 0;
}

uint64_t guest_alloc_in(struct guest *guest, unsigned index, uint64_t size, uint64_t alignment)
{
	struct guest_region *region = &guest->regions[index];
	uint64_t at = (region->used + alignment - 1) / alignment * alignment;

	check(at + size <= region->size);
	region->used = at + size;
	memset(region->host + at, 0, size);
	return region->guest_address + at;
}

uint64_t guest_alloc(struct guest *guest, uint64_t size)
{
	return guest_alloc_in(guest, GUEST_LOW, size, 16);
}

static const struct guest_region *region_of(const struct guest *guest, uint64_t address)
{
	for (unsigned i = 0; i < guest->region_count; i++) {
		if (address - guest->regions[i].guest_address < guest->regions[i].size)
			return &guest->regions[i];
	}
	check_failed("a guest address that is mapped", __FILE__, __LINE__);
}

uint8_t *guest_at(const struct guest *guest, uint64_t address)
{
	const struct guest_region *region = region_of(guest, address);

	return region->host + (address - region->guest_address);
}

uint64_t guest_to_user(const struct guest *guest, uint64_t address)
{
	const struct guest_region *region = region_of(guest, address);

	return region->user_address + (address - region->guest_address);
}

/* ---- rings ---- */

void guest_ring_open(
	struct guest_ring *ring, struct guest *guest, const struct guest_ring_options *options
)
{
	uint32_t size = options->size;

	*ring = (struct guest_ring){
		.guest = guest,
		.size = size,
		.packed = options->packed,
		.event_idx = options->event_idx,
		.desc_address = guest_alloc_in(guest, GUEST_HIGH, 16 * (uint64_t)size, 16),
		.driver_address = guest_alloc_in(guest, GUEST_HIGH, 6 + 2 * (uint64_t)size, 4),
		.device_address = guest_alloc_in(guest, GUEST_HIGH, 6 + 8 * (uint64_t)size, 4),
		.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.free_count = size,
		.free_ids = calloc(size, sizeof(uint16_t)),
		.free_id_count = size,
		.chain_size = calloc(size, sizeof(uint16_t)),
		.cookie = calloc(size, sizeof(uint32_t)),
		.next_avail = (uint16_t)options->start,
		.kicked_at = (uint16_t)options->start,
		.last_used = (uint16_t)options->start,
		.avail_wrap = options->start_wrap,
		.used_wrap = options->start_wrap,
	};
	check(ring->kick_fd >= 0 && ring->call_fd >= 0 && ring->err_fd >= 0);
	check(ring->free_ids != NULL && ring->chain_size != NULL && ring->cookie != NULL);
	ring->desc = (void *)guest_at(guest, ring->desc_address);
	ring->avail = (void *)guest_at(guest, ring->driver_address);
	ring->used = (void *)guest_at(guest, ring->device_address);
	/* The last is given out first, so that ids are not simply slots. */
	for (uint32_t i = 0; i < size; i++)
		ring->free_ids[i] = (uint16_t)i;
	if (ring->packed)
		packed_start(ring);
	else
		split_start(ring);
}

void guest_ring_close(struct guest_ring *ring)
{
	if (ring->guest == NULL)
		return;
	close(ring->kick_fd);
	close(ring->call_fd);
	close(ring->err_fd);
	free(ring->free_ids);
	free(ring->chain_size);
	free(ring->cookie);
	*ring = (struct guest_ring){0};
}

bool guest_ring_add(
	struct guest_ring *ring,
	const struct guest_piece *pieces,
	unsigned count,
	enum guest_form form,
	uint32_t cookie
)
{
	uint32_t need = form == GUEST_INDIRECT ? 1 : count;

	if (ring->free_count < need || ring->free_id_count == 0)
		return false;
	ring->free_count -= need;
	ring->chains_added++;
	if (ring->packed)
		packed_add(ring, pieces, count, form, cookie);
	else
		split_add(ring, pieces, count, form, cookie);
	return true;
}

bool guest_ring_reap(struct guest_ring *ring, struct guest_used *used)
{
	bool any = ring->packed ? packed_reap(ring, used) : split_reap(ring, used);

	if (any)
		used->cookie = ring->cookie[used->id];
	return any;
}

bool guest_ring_must_kick(struct guest_ring *ring)
{
	return ring->packed ? packed_must_kick(ring) : split_must_kick(ring);
}

void guest_ring_kick(struct guest_ring *ring)
{
	uint64_t one = 1;

	check(write(ring->kick_fd, &one, sizeof(one)) == sizeof(one));
}

bool guest_ring_was_called(struct guest_ring *ring)
{
	uint64_t value;

	return read(ring->call_fd, &value, sizeof(value)) == sizeof(value);
}

void guest_ring_calls_off(struct guest_ring *ring)
{
	if (ring->packed)
		packed_calls_off(ring);
	else
		split_calls_off(ring);
}

void guest_ring_calls_on(struct guest_ring *ring, uint32_t after)
{
	if (ring->packed)
		packed_calls_on(ring, after);
	else
		split_calls_on(ring, after);
}
