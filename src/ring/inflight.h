/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a device is in its virtqueues, in memory that outlives it: the region of
 * GET/SET_INFLIGHT_FD (vhost-user, "Inflight I/O tracking").
 *
 * The region is made for devices that complete in any order. Ours completes in the order it took,
 * so for it a chain is in flight never or for a moment: what was taken and not published is taken
 * again, and that is everything from the used position on. Therefore no chain is ever marked here,
 * and taking costs nothing. A split ring's used position is in the ring itself. A packed ring's
 * is not; publishing stores it here, as one word with the position before it, ahead of the burst's
 * descriptors. Which of the two holds is told by the descriptor at the earlier one, which is what
 * shows the burst to the driver, and is written last. If it was not, but others of the burst were,
 * those are finished or undone.
 *
 * A device that comes after us (DPDK's, QEMU's) reads the same from it. What one before us has
 * marked is taken over if it is what comes next in the ring.
 *
 * Everything in the region is the peer's to change at any moment.
 */
#pragma once

#include "ring/ring.h"

enum {
	INFLIGHT_VERSION = 1,
	INFLIGHT_ALIGNMENT = 64, /* of each queue's part */
};

struct inflight_split_chain {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};

struct inflight_split {
	uint64_t features;
	uint16_t version; /* 0: not in use yet */
	uint16_t desc_num;
	uint16_t last_batch_head, used_idx;
	struct inflight_split_chain desc[]; /* by head */
};

struct inflight_packed_chain {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next, last, num;
	uint64_t counter;
	uint16_t id, flags;
	uint32_t len;
	uint64_t addr;
};

struct inflight_packed {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head, old_free_head;
	/* From here on one word, and one of four bytes behind it: see inflight_place(). */
	uint16_t used_idx, old_used_idx;
	uint8_t used_wrap_counter, old_used_wrap_counter;
	uint8_t padding[7];
	struct inflight_packed_chain desc[];
};

/* Bytes of a queue's part of the region. */
uint64_t inflight_queue_bytes(bool packed, uint32_t size);

/* What of a packed ring's part ring_config.place points at: positions, and bytes of the padding. */
static inline struct ring_place *inflight_place(struct inflight_packed *part)
{
	return (struct ring_place *)(void *)&part->used_idx;
}

/*
 * Where a ring of the layout, size and areas of `config` is to go on, by its part of a region.
 * 1: config->position was set; 0: the part was not in use, and is now; -EINVAL: it is not of this
 * ring, or what it says cannot be; *why is a static sentence, and nothing was changed.
 */
int inflight_resume(void *part, struct ring_config *config, const char **why);
/* Use a part afresh, for a ring at config->position. */
void inflight_begin(void *part, const struct ring_config *config);

/*
 * The same for what inflight_place() points at alone, of a packed ring. False: it is not of this
 * ring as it is now; the position was left alone.
 */
bool inflight_resume_place(struct ring_place *place, struct ring_config *config);
/* Begin it afresh, at config->position. */
void inflight_begin_place(struct ring_place *place, const struct ring_config *config);
