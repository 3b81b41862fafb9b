/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The switch as its control sees it: ports, MAC table, workers. Everything here is called by the
 * one control thread (the thread that runs the libevent loop); workers are inside.
 *
 * Errors: functions that can fail return 0 or -errno and fill `error`, a sentence for people that
 * says what was wrong and what to do (no final full stop, no newline). On failure nothing changed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port/settings.h"
#include "port/status.h"

struct event_base;
struct error;
struct handover;
struct switch_state;

enum {
	WORKERS_MAX = 64,
	SWITCH_DMA_SIZE = 512,
};

struct switch_settings {
	unsigned worker_count;	      /* 1..WORKERS_MAX */
	int worker_cpus[WORKERS_MAX]; /* CPU each worker is pinned to; -1: not pinned */
	bool poll_always;	      /* workers never sleep */
	bool rebalance;		      /* queues move from busy workers to others */
	char dma[SWITCH_DMA_SIZE];    /* names of DMA devices, one a worker, with commas */
	uint32_t dma_least;	      /* bytes from which on a piece is copied by them */
	uint32_t mac_table_size;      /* entries, 64..16777216 */
	uint32_t mac_age;	      /* seconds; 0: entries stay until flushed */
};

/* One worker, not pinned, adaptive polling, rebalancing, 65,536 addresses, 300 s. */
void switch_settings_default(struct switch_settings *settings);

/* Start workers. `base` is borrowed and must outlive the switch. */
int switch_create(
	const struct switch_settings *settings,
	struct event_base *base,
	struct switch_state **out,
	struct error *error
);
/* Remove all ports, stop workers, free. NULL is fine. */
void switch_destroy(struct switch_state *sw);
/* Where ports keep what has to outlive the process; the string is borrowed. Before there are any.
 */
void switch_set_state_directory(struct switch_state *sw, const char *directory);
const struct switch_settings *switch_settings(const struct switch_state *sw);
/* Seconds; 0: never forget. */
void switch_set_mac_age(struct switch_state *sw, uint32_t age);

/* ---- ports ---- */

/* Add a port; -EEXIST if the name, the socket path or the interface is taken. */
int switch_port_add(
	struct switch_state *sw, const struct port_settings *settings, struct error *error
);
int switch_port_delete(struct switch_state *sw, const char *name, struct error *error);
/* Replace the policy of a running port. */
int switch_port_set_policy(
	struct switch_state *sw,
	const char *name,
	const struct port_policy *policy,
	struct error *error
);
/* The port's settings, valid until the port is changed or deleted; NULL if there is none. */
const struct port_settings *switch_port_find(const struct switch_state *sw, const char *name);
/* Walk over ports in order of their creation: start with *cursor = 0; NULL at the end. */
const struct port_settings *switch_port_next(const struct switch_state *sw, unsigned *cursor);

/* -ENOENT if there is no such port. The struct is large: do not put many on a stack. */
int switch_port_status(const struct switch_state *sw, const char *name, struct port_status *out);

/* What ports that are no more have counted: with it the sums over ports balance. */
const struct port_counters *switch_removed_counters(const struct switch_state *sw);

/* ---- after the end of another process ---- */

/*
 * Take no frames yet: ports that are added wait. After switch_settle() they begin as soon as all
 * those peers are back that a process before this one had when it ended, at the latest after
 * half a second. So a frame finds its receiver, and waits in its ring until then.
 */
void switch_hold(struct switch_state *sw);
void switch_settle(struct switch_state *sw);

/* ---- handing over to another process ---- */

/*
 * The process that comes after this one: its switch is created with the same settings; it is given
 * the MAC table, then, in one go, the ports. Ports that cannot be handed over (ethdev, virtio) are
 * deleted by switch_save(), and are made again by who goes on.
 *
 * After switch_save() and switch_hold() no frame moves until switch_go_on(), in one of the
 * two processes. The other ends without switch_destroy().
 */
void switch_save_macs(const struct switch_state *sw, struct handover *handover);
void switch_load_macs(struct switch_state *sw, const struct handover *handover);
int switch_save(struct switch_state *sw, struct handover *handover, struct error *error);
void switch_go_on(struct switch_state *sw);
/* One port, in the order of the other process's; one that could not be handed over is passed over.
 * `orphaned`: that process is dead, and it was a snapshot: a port that has left too little is made
 * afresh. */
int switch_load_port(
	struct switch_state *sw,
	const struct port_settings *settings,
	struct handover *handover,
	bool orphaned,
	struct error *error
);
void switch_load_counters(struct switch_state *sw, const struct handover *handover);

/*
 * What a process needs that comes after this one has died: as switch_save(), while all goes on.
 * Of each port it says which descriptors are its own: "fd_count" of them from "first_fd" on. It
 * holds, port by port, until `changing` is called; with PORT_NONE, all of it. `leaving`: the port
 * is about to be taken down.
 */
void switch_snapshot(struct switch_state *sw, struct handover *handover);
void switch_watch_changes(
	struct switch_state *sw,
	void (*changing)(void *context, unsigned port_id),
	void (*leaving)(void *context, unsigned port_id),
	void *context
);

/* ---- MAC table ---- */

struct mac_info {
	uint8_t mac[6];
	uint16_t vlan; /* 0: no VLAN */
	const char *port;
	uint32_t age; /* seconds since it was last seen as a source */
	bool fixed;   /* belongs to a port's settings */
};
/* Calls `each` for every entry; port NULL: all ports; vlan < 0: all VLANs. */
void switch_mac_list(
	const struct switch_state *sw,
	const char *port,
	int vlan,
	void (*each)(void *context, const struct mac_info *info),
	void *context
);
/* Forget learned entries; returns how many. Fixed ones stay. */
size_t switch_mac_flush(struct switch_state *sw, const char *port, int vlan);

/* ---- workers ---- */

struct worker_queue {
	const char *port;
	uint16_t queue; /* queue pair */
	double load;	/* share of the worker's time spent on its frames, over some seconds */
};
struct worker_status {
	int cpu;     /* -1: not pinned */
	double load; /* share of the last second spent on frames, 0..1 */
	uint64_t sleeps, wakeups, rx_frames;
	uint64_t busy_cycles; /* of the time stamp counter, in rounds that moved frames */
	unsigned queue_count;
	unsigned moved;	     /* queues that came from busier workers so far */
	uint64_t dma_copies; /* pieces of frames that a DMA engine has copied for it */
};
int switch_worker_status(const struct switch_state *sw, unsigned worker, struct worker_status *out);
/* Queues of a worker; returns false past the last. */
bool switch_worker_queue(
	const struct switch_state *sw, unsigned worker, unsigned n, struct worker_queue *out
);
