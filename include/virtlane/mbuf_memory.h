/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of DPDK's mempools as regions that a vhost-user device can map: pieces of files. Used
 * by virtlane/mbuf.h.
 *
 * A pool is made of chunks, which begin and end anywhere within EAL's pages; what is shared is
 * whole pages. Pages that follow each other in memory and in one file become one region, since
 * devices take few (DPDK's take 8), and a page is shared once, whatever lies in it.
 */
#pragma once

#include <errno.h>
#include <rte_memory.h>
#include <rte_mempool.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "virtlane/driver.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	VL_MBUF_REGIONS_MAX = 64, /* more the driver does not take */
};

struct vl_mbuf_region {
	uintptr_t start;
	size_t size;
	uint64_t offset; /* in the file */
	int fd;		 /* EAL's */
};

/* What is shared, and at the end what is to be. */
struct vl_mbuf_memory {
	struct vl_mbuf_region regions[VL_MBUF_REGIONS_MAX];
	unsigned count, shared;
	int error; /* of the chunk that could not be added */
};

static inline int vl_mbuf_explain(struct vl_driver_error *why, int error, const char *text)
{
	if (why != NULL)
		(void)snprintf(why->text, sizeof(why->text), "%s", text);
	return error;
}

/* Whether the device can reach `size` bytes. */
static inline bool
vl_mbuf_memory_has(const struct vl_mbuf_memory *memory, const void *start, size_t size)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct vl_mbuf_region *region = &memory->regions[i];
		size_t at = (uintptr_t)start - region->start;

		if (at < region->size && size <= region->size - at)
			return true;
	}
	return false;
}

/* Whether `next` goes on where `region` ends, in memory and in the file. */
static inline bool
vl_mbuf_region_joins(const struct vl_mbuf_region *region, const struct vl_mbuf_region *next)
{
	return region->fd == next->fd && region->start + region->size == next->start
	       && region->offset + region->size == next->offset;
}

static inline int
vl_mbuf_memory_add_page(struct vl_mbuf_memory *memory, const struct rte_memseg *page)
{
	size_t offset = 0;
	struct vl_mbuf_region region;

	if (vl_mbuf_memory_has(memory, page->addr, page->len))
		return 0;
	region.fd = rte_memseg_get_fd(page);
	if (region.fd < 0 || rte_memseg_get_fd_offset(page, &offset) < 0)
		return -ENOTSUP;
	region.start = (uintptr_t)page->addr;
	region.size = page->len;
	region.offset = offset;
	if (memory->count > memory->shared
	    && vl_mbuf_region_joins(&memory->regions[memory->count - 1], &region)) {
		memory->regions[memory->count - 1].size += region.size;
		return 0;
	}
	if (memory->count == VL_MBUF_REGIONS_MAX)
		return -ENOSPC;
	memory->regions[memory->count++] = region;
	return 0;
}

/* For rte_mempool_mem_iter(). */
static inline void vl_mbuf_memory_add_chunk(
	struct rte_mempool *pool, void *context, struct rte_mempool_memhdr *chunk, unsigned index
)
{
	struct vl_mbuf_memory *memory = (struct vl_mbuf_memory *)context;
	uintptr_t at = (uintptr_t)chunk->addr, end = at + chunk->len;

	(void)pool;
	(void)index;
	while (memory->error == 0 && at < end) {
		const struct rte_memseg *page = rte_mem_virt2memseg((void *)at, NULL);

		/* Memory that EAL does not know, or does not own, has no file that it knows. */
		memory->error = page == NULL ? -ENOTSUP : vl_mbuf_memory_add_page(memory, page);
		if (memory->error == 0)
			at = (uintptr_t)page->addr + page->len;
	}
}

/* Chunks may come in any order: join two regions that belong together. False: there are none. */
static inline bool vl_mbuf_memory_join(struct vl_mbuf_memory *memory)
{
	for (unsigned i = memory->shared; i < memory->count; i++) {
		for (unsigned j = memory->shared; j < memory->count; j++) {
			if (!vl_mbuf_region_joins(&memory->regions[i], &memory->regions[j]))
				continue;
			memory->regions[i].size += memory->regions[j].size;
			memory->regions[j] = memory->regions[--memory->count];
			return true;
		}
	}
	return false;
}

/* Share a pool, see vl_mbuf_share_pool(). After a failure some of it may be shared. */
static inline int vl_mbuf_memory_share(
	struct vl_mbuf_memory *memory,
	struct vl_driver *driver,
	struct rte_mempool *pool,
	struct vl_driver_error *why
)
{
	memory->error = 0;
	(void)rte_mempool_mem_iter(pool, vl_mbuf_memory_add_chunk, memory);
	while (vl_mbuf_memory_join(memory))
		;
	while (memory->error == 0 && memory->shared < memory->count) {
		const struct vl_mbuf_region *region = &memory->regions[memory->shared];

		memory->error = vl_driver_share(
			driver, (void *)region->start, region->size, region->fd, region->offset
		);
		if (memory->error == 0)
			memory->shared++;
	}
	memory->count = memory->shared;
	if (memory->error == -ENOTSUP)
		return vl_mbuf_explain(
			why,
			memory->error,
			"the pool's memory has no file that a device could map; start EAL with "
			"--no-huge, or with --in-memory --single-file-segments"
		);
	if (memory->error == -ENOSPC)
		return vl_mbuf_explain(
			why,
			memory->error,
			"the pool's memory is in more pieces than the device takes; start EAL with "
			"--single-file-segments, or take a smaller pool"
		);
	if (memory->error < 0)
		return vl_mbuf_explain(
			why, memory->error, "the device did not take the pool's memory"
		);
	return 0;
}

#ifdef __cplusplus
}
#endif
