/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of pages that were written in a peer's memory, for live migration (vhost-user,
 * "Migration"): one bit a page of guest addresses, in memory that the peer shared for it. The peer
 * takes bits away while we set others.
 *
 * A page is marked after it was written: the peer, who clears a bit and then copies the page, so
 * gets what was written or finds the bit set again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/memory.h"

enum {
	DIRTY_PAGE_SIZE = 4096, /* bytes, whatever the machine's pages are */
};

struct dirty_log {
	uint8_t *bits; /* NULL: nothing is logged */
	uint64_t size; /* bytes at bits */
};

/* Bytes that a log of this memory needs at least. */
static inline uint64_t dirty_log_needs(const struct memory *memory)
{
	uint64_t end = 0;

	for (unsigned i = 0; memory != NULL && i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i];
		uint64_t last = region->guest_address + region->size - 1;

		end = last > end ? last : end;
	}
	return end / DIRTY_PAGE_SIZE / 8 + 1;
}

/* Mark `size` bytes at a guest address. What is behind the end of the log is left out. */
static inline void
dirty_log_mark(const struct dirty_log *log, uint64_t guest_address, uint64_t size)
{
	if (size == 0)
		return;
	uint64_t page = guest_address / DIRTY_PAGE_SIZE;
	uint64_t last = (guest_address + size - 1) / DIRTY_PAGE_SIZE;

	for (; page <= last && page / 8 < log->size; page++) {
		/* release: what was written before the bit that says so */
		__atomic_fetch_or(&log->bits[page / 8], 1u << page % 8, __ATOMIC_RELEASE);
	}
}

/* Mark `size` bytes of a region that are mapped here. */
static inline void dirty_log_mark_here(
	const struct dirty_log *log, const struct memory *memory, const void *at, uint64_t size
)
{
	uint64_t guest_address;

	if (memory_guest_address(memory, at, &guest_address))
		dirty_log_mark(log, guest_address, size);
}
