/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of a guest that runs here already while its pages still arrive from another machine:
 * postcopy (vhost-user, "Migration", POSTCOPY_ADVISE and the following).
 *
 * Idea: whoever touches a page that is not there waits until it has come over the network, or for
 * ever if the front end so wishes. So nobody does but a process that is there for it, the fetcher
 * (fetcher.h). It has the guest's regions mapped so that a touch is a request for the page, which
 * the front end is told of. In our own mappings a missing page is an error at once. The data path
 * asks for each page before it uses it; what is not there is as if the driver had not made it
 * available yet, and the fetcher is told of it.
 *
 * Threads: arrivals_reach() is for data threads, any number of them; the others are control's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "memory/memory.h"

struct arrivals;
struct arriving; /* a region */

/* Whether this kernel, and what we may do, is enough for it, and the fetcher's program is there. */
bool arrivals_are_possible(void);
/* Waits for the fetcher to start, 2 s at most. -errno: why it does not. */
int arrivals_create(struct arrivals **out);
/* No region may be left. Returns what is to be given to arrivals_reap() from time to time: how long
 * the fetcher takes to end is up to the front end. */
int arrivals_destroy(struct arrivals *arrivals);
/* Whether that process has ended, or is to be left alone: the `last` time it is waited for, a
 * second at most. */
bool arrivals_reap(int process, bool last);
/* The userfaultfd that asks for pages: for the front end. It stays ours. */
int arrivals_fault_fd(const struct arrivals *arrivals);

/* Readable when arrivals_attend() has something to do. It stays ours. */
int arrivals_socket(const struct arrivals *arrivals);
/* Returns 1 if pages have come that somebody had asked for, or 0; -EPIPE, once: the fetcher is
 * gone, and the socket is not to be polled any more. Pages that are asked for then come when they
 * come. */
int arrivals_attend(struct arrivals *arrivals);
/* Now and then: ask again for what had come and was not there. */
void arrivals_retry(struct arrivals *arrivals);

/* A region that was mapped just now, and is still ours alone; -errno. From now on memory_unmap()
 * does what arrivals_leave() does. */
int arrivals_enter(struct arrivals *arrivals, struct memory_region *region);
/* The address, in the fetcher, at which a touch of its first byte is a request. */
uint64_t arrivals_fault_address(const struct memory_region *region);
/* From now on missing pages are what is described above; until then nobody may touch any. Again is
 * fine. */
int arrivals_begin(struct memory_region *region);
/* All pages are there, or nobody will use them any more. No data thread may see the region. */
void arrivals_leave(struct memory_region *region);

/* Whether the page at `at` is there, and with *run bytes from there on at most which; if it is not
 * it is asked for. */
bool arrivals_reach(struct arriving *arriving, const uint8_t *at, uint64_t *run);
