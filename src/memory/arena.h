/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An arena: memory of ours that is shared with a device. One memory file, mapped once and wholly
 * present, from which pieces are taken and never given back singly.
 *
 * Which pages lie beneath: huge pages that the system has set aside (1 GiB for an arena that is
 * about that large or larger, else 2 MiB) if enough are free; else ordinary shared memory, which
 * the kernel is asked to gather into transparent huge pages; at worst pages of 4 KiB. No privilege
 * is needed for any of it.
 *
 * All pages are there when arena_create() returns, and the file is sealed: neither we nor the
 * device can make it shorter or longer. What sealing cannot stop is a device that punches holes:
 * the pages come back empty; only in an arena of huge pages set aside, none of which is left, that
 * ends in SIGBUS.
 *
 * The memory stays with a child after fork(). Since it is shared and not private memory, fork()
 * never parts our pages from the device's (what MADV_DONTFORK is for), and a process may open a
 * driver first and become a daemon then. Parent and child must not both use it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct arena {
	uint8_t *base;
	size_t size;	  /* bytes; a multiple of page_size, and of 2 MiB */
	size_t page_size; /* bytes: of huge pages set aside; of transparent ones, if all of the
			     arena lay in them when it was made; else the system's page size */
	int fd;		  /* the memory file, close-on-exec */
	size_t used;	  /* bytes taken, with what alignment cost */
};

/* An arena of at least `size` bytes, all zero. On failure *out is all zero. -EINVAL: size is 0, or
 * too large to be rounded up; -ENOMEM: the system, or a limit, does not have the memory; or what
 * memfd_create(2) says. */
int arena_create(size_t size, struct arena *out);

/* Take `size` bytes at a multiple of `alignment`, a power of two; they are zero unless the device
 * has written there. NULL: not that many are left. */
void *arena_take(struct arena *arena, size_t size, size_t alignment);

/* Unmap and close; the arena is all zero then. An all-zero arena is fine, and so is NULL. */
void arena_destroy(struct arena *arena);
