/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which worker polls which queue. A worker's set is replaced whole, or shrunk while the worker has
 * none, and nobody else has a queue before the old one has let go of it. Control thread only.
 */
#pragma once

#include "switch/state.h"

/* NULL: none. */
static inline struct worker *
assigned_worker(struct switch_state *sw, const struct port *port, unsigned queue)
{
	int worker = sw->assigned[port->id][queue];

	return worker < 0 ? NULL : &sw->workers[worker];
}

static inline struct poll_set *worker_polls(const struct worker *worker)
{
	return atomic_load_explicit(&((struct worker *)worker)->polls, memory_order_relaxed);
}

/* Have a queue polled that nobody polls, by the worker with the fewest. -ENOMEM. */
int assign_queue(struct switch_state *sw, struct port *port, unsigned queue);
/* To another worker. What the old one has borrowed is delivered before, so frames keep their order.
 */
void assign_move(struct switch_state *sw, struct port *port, unsigned queue, struct worker *worker);
/* Have none of a port's queues polled any more. */
void assign_none(struct switch_state *sw, struct port *port);
