/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which queue should go to another worker. Looks at loads only, so that it can be tested without a
 * switch.
 */
#pragma once

#include <stdbool.h>

struct balance_queue {
	unsigned worker;
	double load; /* share of a CPU's time, 0..1 */
};

struct balance_move {
	unsigned queue; /* index */
	unsigned to;	/* worker */
};

/*
 * The move from the busiest worker to the least busy one that evens them out best. False: none is
 * worth it, since no worker is busy, or since the busiest of the two would remain nearly as busy.
 */
bool balance_choose(
	const struct balance_queue *queues,
	unsigned count,
	unsigned workers,
	struct balance_move *move
);
