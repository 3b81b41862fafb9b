/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of the switch, shared by its files. */
#pragma once

#include "switch/switch.h"
#include "switch/worker.h"

struct event;

struct switch_state {
	/* control's */
	struct switch_settings settings;
	struct port_hooks hooks;
	struct event *timer;
	struct port_counters removed;	/* sums of ports that were deleted */
	struct port_status last_status; /* of a port that is being deleted; too large for a stack */
	unsigned settled;		/* seconds since a queue was moved */
	uint64_t sampled_at;		/* when loads were measured; time stamp counter */
	unsigned order[PORTS_MAX];	/* ids in order of creation, port_count of them */
	int16_t assigned[PORTS_MAX][PORT_QUEUES_MAX]; /* worker of each queue; -1: none */

	/* shared */
	struct rte_rcu_qsbr *qsbr;
	struct mac_table *macs;
	atomic_uint port_count;
	atomic_uint id_limit; /* every port's id is lower; it never falls */
	_Atomic(struct port *) ports[PORTS_MAX];
	struct worker workers[WORKERS_MAX];
};

static inline struct port *switch_port(const struct switch_state *sw, unsigned id)
{
	/* acquire: the port's content before the pointer to it */
	return atomic_load_explicit(&((struct switch_state *)sw)->ports[id], memory_order_acquire);
}

/* Return when every worker has passed: what was unpublished before is not used after. */
static inline void switch_synchronize(struct switch_state *sw)
{
	rte_rcu_qsbr_synchronize(sw->qsbr, RTE_QSBR_THRID_INVALID);
}

/* Seconds of the monotonic clock. */
uint32_t switch_now(void);

/* eal.c: start DPDK's environment in this process, without huge pages, devices or files. Once. */
int eal_start(struct error *error);
