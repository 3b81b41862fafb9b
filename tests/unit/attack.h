/* SPDX-License-Identifier: BSD-3-Clause */
/* What a driver may do to a ring that the specification forbids (and some odd things it allows).
 * PEERS.md 1.5 and the CVEs it names are where most of these come from. */
#pragma once

#include "front.h"

struct attack {
	const char *name;
	/* Makes one chain, or what looks like one, available on rings[index]. */
	void (*make)(struct front *front, unsigned index);
	const char *reason; /* vl_queue_status.broken afterwards */
	bool whole_ring;    /* chains that were made available before it are lost, too */
};

/* Writable buffers in them suit a receive queue, readable ones a transmit queue: `make` looks at
 * the index, as the specification does. */
extern const struct attack attacks_split[], attacks_packed[];
extern const unsigned attacks_split_count, attacks_packed_count;
/* On receive queues, both layouts. */
extern const struct attack attacks_receive[];
extern const unsigned attacks_receive_count;
