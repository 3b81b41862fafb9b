/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver side of a virtqueue (ring/driver_ring.h) and the device side (ring/ring.h) at work on
 * one ring, in one thread on plain memory. Every chain is made up from its number, and a book is
 * kept of who has it: what the two sides hand out is checked on the way.
 *
 * The device parses with ring_take(); it completes as it is told. Each area of the ring is an
 * allocation of its own, so that the address sanitizer sees every step outside.
 */
#pragma once

#include "check.h"
#include "ring/driver_ring.h"
#include "ring/ring.h"
#include "traffic.h"
#include "variants.h"

enum {
	RIG_PIECES_MAX = 8, /* as many descriptors as the smallest ring has */
	RIG_SPANS_MAX = 64,
	RIG_DATA_SIZE = 4096,
};
#define RIG_DATA_ADDRESS UINT64_C(0x7000000000)

struct ring_layout {
	const char *name;
	bool packed, event_idx, in_order;
};

enum rig_completion {
	RIG_IN_ORDER,
	RIG_SHUFFLED, /* in any order, which is not allowed with IN_ORDER */
	RIG_BATCHED,  /* with IN_ORDER: one used element for several (VIRTIO 1.3, 2.7.15 and 2.8.9)
		       */
};

/* What is known of the chain that begins in a slot. */
struct booked {
	uint32_t number, written;
	bool outstanding;
};

struct rig {
	struct ring_layout layout;
	uint32_t size; /* descriptors */
	enum rig_completion completion;
	bool only_single; /* chains of one piece */
	void *areas[3];	  /* of the ring; NULL: they are the test's */
	uint8_t *data;	  /* RIG_DATA_SIZE bytes that pieces lie in, then a table for each slot */
	struct memory *memory;
	struct driver_ring driver;
	struct ring device;
	struct random random;
	struct booked *book;				 /* [slots] */
	uint32_t added, shown, taken, published, reaped; /* chains */
	/* Who waits for a notification; who is awake wants none. */
	bool device_asleep, driver_asleep;
};

void rig_open(struct rig *rig, const struct ring_layout *layout, uint32_t size);
/* On descriptors, driver area and device area of the test's. */
void rig_open_on(struct rig *rig, const struct ring_layout *layout, uint32_t size, void **areas);
void rig_close(struct rig *rig);
/* Zeroed memory of just that size, aligned for a ring; for free(). */
void *rig_area(uint64_t size);

/* ---- chains ---- */

struct rig_chain {
	uint32_t count; /* pieces */
	bool indirect;
	struct driver_piece pieces[RIG_PIECES_MAX];
};
/* The n-th chain, and what the device says it wrote to it. */
void rig_chain(const struct rig *rig, uint32_t n, struct rig_chain *chain);
uint32_t rig_written(const struct rig_chain *chain, uint32_t n);

/* ---- the driver's part ---- */

/* Add a chain, or the next one by number. False: there is no room. */
bool rig_add_chain(struct rig *rig, const struct rig_chain *chain);
bool rig_add(struct rig *rig);
/* Show what was added. If the device sleeps it must be notified, if not it must not be. */
void rig_show(struct rig *rig);
/* As driver_ring_reap(). Each chain was outstanding, is so no more, and has its own length. */
int rig_reap(struct rig *rig, uint32_t max);
/* Until nothing is left. */
void rig_drain(struct rig *rig);
void rig_driver_sleeps(struct rig *rig);

/* ---- the device's part ---- */

/* Take the next chain: 1, and it is as it was added; 0: none was shown. */
int rig_take(struct rig *rig);
/* Complete `count` chains. If the driver sleeps it must be notified, if not it must not be. */
void rig_publish(struct rig *rig, uint32_t count);
void rig_device_sleeps(struct rig *rig);

/* Finish: all that was added comes back, and all slots are free. */
void rig_settle(struct rig *rig);

/* ---- tests for every layout ---- */

/* As main()'s result; a test's *state is the const struct ring_layout *. */
int run_for_all_layouts(const char *group, const struct variant_test *tests, unsigned count);
