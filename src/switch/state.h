/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside of the switch, shared by its files. */
#pragma once

#include <rte_cycles.h>
#include <time.h>

#include "switch/switch.h"
#include "switch/tsc.h"
#include "switch/worker.h"

struct event;

struct switch_state {
	/* control's */
	struct switch_settings settings;
	struct port_hooks hooks;
	struct event *timer;
	struct frozen *frozen; /* handover.c: of a switch that was saved; else NULL */
	bool holding;	       /* ports that are added wait, for a process or for peers */
	void (*changing)(void *context, unsigned port_id); /* see switch_watch_changes() */
	void (*leaving)(void *context, unsigned port_id);
	void *changing_context;
	struct event *settle_timer;
	unsigned settle_looks;		/* so many more */
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

static inline unsigned switch_port_count(const struct switch_state *sw)
{
	return atomic_load_explicit(&((struct switch_state *)sw)->port_count, memory_order_relaxed);
}

/* In the order of their creation. */
static inline struct port *switch_port_at(const struct switch_state *sw, unsigned place)
{
	return switch_port(sw, sw->order[place]);
}

/* Return when every worker has passed: what was unpublished before is not used after. A worker may
 * be waiting for just the CPU that we are on. */
static inline void switch_synchronize(struct switch_state *sw)
{
	static const struct timespec pause = {.tv_nsec = 10000};
	uint64_t token = rte_rcu_qsbr_start(sw->qsbr), begin = rte_rdtsc();

	while (rte_rcu_qsbr_check(sw->qsbr, token, false) == 0) {
		if (rte_rdtsc() - begin > tsc_hz() / 50000)
			nanosleep(&pause, NULL);
		else
			rte_pause();
	}
}

/* Let frames come to and from a port that was created. It is destroyed if that fails. */
int switch_port_publish(struct switch_state *sw, struct port *port, struct error *error);
/* What workers have counted for a port. */
void switch_port_counters(
	const struct switch_state *sw, const struct port *port, struct port_counters *counters
);

/* Seconds of the monotonic clock. */
uint32_t switch_now(void);
