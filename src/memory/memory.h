/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of a peer: a table of regions, each a file of the peer's mapped here. Addresses in
 * descriptors are "guest addresses", addresses of rings are "user addresses" (vhost-user, section
 * "Memory access"); both are looked up here and nowhere else.
 *
 * A table is immutable once the data path can see it. To change it, build a new one that shares
 * the mappings, publish it, wait until nobody uses the old one, then free that.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	MEMORY_REGIONS_MAX = 509, /* what a KVM guest can have; QEMU caps at its own limit */
};

struct memory_region {
	uint64_t guest_address;
	uint64_t size; /* bytes */
	uint64_t user_address;
	uint8_t *host; /* where the region's first byte is mapped here */
	void *mapping; /* what mmap() returned, and its size */
	size_t mapping_size;
	uint64_t file_offset;
	uint64_t page_size; /* bytes, of the file's pages */
	int fd;		    /* of the file, our own: for a process that comes after this one */
	struct arriving *arriving; /* its pages come by and by (arrivals.h); NULL: all are here */
};

struct memory {
	unsigned count;
	/* Set by the table's owner. The data path has to use memory_reach(): pages may not have
	 * come, or addresses are those of an IOMMU. */
	bool by_reach;
	struct iotlb *iotlb; /* NULL: descriptors have guest addresses, rings user addresses */
	struct memory_region regions[];
};

/* What a peer says of a region. */
struct memory_region_request {
	uint64_t guest_address;
	uint64_t size;
	uint64_t user_address;
	uint64_t file_offset;
};

/*
 * A new table: the regions of `old` (may be NULL) and one more, which is mapped from `fd` (stays
 * the caller's). -EINVAL: empty, wraps around or overlaps; -ENOSPC: table full; -ERANGE: larger
 * than its file; or what mmap() says. `why` gets a static sentence on failure.
 */
int memory_add(
	const struct memory *old,
	const struct memory_region_request *request,
	int fd,
	struct memory **out,
	const char **why
);
/* A new table without the region that has just these addresses and size; -ENOENT if none has.
 * The removed region is stored in *removed, to be unmapped when nobody can use it any more. */
int memory_remove(
	const struct memory *old,
	const struct memory_region_request *request,
	struct memory **out,
	struct memory_region *removed
);
void memory_unmap(struct memory_region *region);
/* Free the table only; its mappings live on in the table that replaced it. */
void memory_free_table(struct memory *memory);
/* Free the table and unmap its regions. NULL is fine. */
void memory_destroy(struct memory *memory);
uint64_t memory_size(const struct memory *memory);

/* Where `size` bytes at a user address are mapped, or NULL if they are not in one region. */
void *memory_at_user(const struct memory *memory, uint64_t user_address, uint64_t size);

/*
 * Where a guest address is mapped, or NULL. *run gets the number of bytes from there to the end
 * of the region. *hint is the caller's memory of the region used last.
 */
static inline uint8_t *
memory_at_guest(const struct memory *memory, uint64_t guest_address, uint64_t *run, unsigned *hint)
{
	unsigned count = memory->count;
	unsigned i = *hint < count ? *hint : 0;

	for (unsigned tried = 0; tried < count; tried++) {
		const struct memory_region *region = &memory->regions[i];
		uint64_t offset = guest_address - region->guest_address;

		/* One comparison: an address below the region wraps to a huge offset. */
		if (offset < region->size) {
			*hint = i;
			*run = region->size - offset;
			return region->host + offset;
		}
		i = i + 1 < count ? i + 1 : 0;
	}
	return NULL;
}

/*
 * The same for any memory, and an address as descriptors have it. *later is set if what is there
 * cannot be used yet: it has been asked for then, *run bytes of it.
 */
uint8_t *memory_reach(
	const struct memory *memory,
	uint64_t address,
	bool write,
	uint64_t *run,
	unsigned *hint,
	bool *later
);
/* Where `size` bytes at an address as rings have it are mapped, or NULL if they are not in one
 * piece; likewise. */
uint8_t *
memory_area(const struct memory *memory, uint64_t address, uint64_t size, bool write, bool *later);

/* The guest address of what is mapped at `at`; false if that is no memory of the peer's. */
static inline bool
memory_guest_address(const struct memory *memory, const void *at, uint64_t *guest_address)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i];
		uint64_t offset = (uint64_t)(uintptr_t)at - (uint64_t)(uintptr_t)region->host;

		if (offset < region->size) {
			*guest_address = region->guest_address + offset;
			return true;
		}
	}
	return false;
}
