/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of a guest that runs here already while its pages still arrive from another machine:
 * postcopy (vhost-user, "Migration", POSTCOPY_ADVISE and the following).
 *
 * Idea: whoever touches a page that is not there waits until it has come over the network, or for
 * ever if the front end so wishes. So nobody does but a thread that is there for it, the fetcher.
 * A region is mapped twice. In one mapping, which the front end is told of, a touch is a request
 * for the page, and waits: that is the fetcher's. In the other one, the data path's, a missing page
 * is an error at once. The data path asks for each page before it uses it; what is not there is as
 * if the driver had not made it available yet, and the fetcher is told of it.
 *
 * Threads: arrivals_reach() is for data threads, any number of them; the others are control's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "memory/memory.h"

struct arrivals;
struct arriving; /* a region */

/* Whether this kernel, and what we may do, is enough for it. */
bool arrivals_are_possible(void);
/* `attention`: an eventfd to be signalled when pages have come that somebody had asked for;
 * borrowed. -EPERM, -ENOSYS: they are not possible; or -errno. */
int arrivals_create(int attention, struct arrivals **out);
/* No region may be left. NULL is fine. */
void arrivals_destroy(struct arrivals *arrivals);
/* The userfaultfd that asks for pages: for the front end. It stays ours. */
int arrivals_fault_fd(const struct arrivals *arrivals);

/* A region that was mapped just now, and is still ours alone: map it again. -ENOMEM or what mmap()
 * says. From now on memory_unmap() does what arrivals_leave() does. */
int arrivals_enter(struct arrivals *arrivals, struct memory_region *region);
/* The address at which a touch of its first byte is a request. */
uint64_t arrivals_fault_address(const struct memory_region *region);
/* From now on missing pages are what is described above; until then nobody may touch any. Again is
 * fine. */
int arrivals_begin(struct memory_region *region);
/* All pages are there, or nobody will use them any more. No data thread may see the region. */
void arrivals_leave(struct memory_region *region);

/* Whether the page at `at` is there, and with *run bytes from there on at most which; if it is not
 * it is asked for. */
bool arrivals_reach(struct arriving *arriving, const uint8_t *at, uint64_t *run);
