/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port: where the switch meets a machine, a container, or the kernel. Every kind offers the
 * same calls, so that the workers need not know which kind they handle.
 *
 * Threads: a port is created, changed and destroyed by the control thread. Data calls are made by
 * workers: for each queue one thread at a time borrows, and one (the lock in `tx_locks` sees to
 * it) copies in. Whatever a data call uses is freed by control only after hooks->synchronize().
 */
#pragma once

#include <rte_spinlock.h>
#include <stdatomic.h>

#include "base/error.h"
#include "base/handover.h"
#include "port/settings.h"
#include "port/status.h"
#include "virtlane/device.h"
#include "virtlane/frame.h"

struct event_base;
struct port;

enum {
	PORTS_MAX = 4096,
	PORT_NONE = PORTS_MAX, /* an id that no port has */
	DELIVERED = -1,	       /* the result of copy_in that is no enum drop_reason */
};

/* What a port may ask of the switch; control thread only. */
struct port_hooks {
	/* Return when every data call that was running has returned. */
	void (*synchronize)(void *context);
	/* A queue may have become ready: look at it. */
	void (*wake)(void *context, struct port *port, unsigned queue);
	/* The descriptor that announces frames on a queue has changed from `old_fd` to what is in
	 * port->watch_fds; -1: none. */
	void (*watch)(void *context, struct port *port, unsigned queue, int old_fd);
	/* Let the network know that `mac` is behind this port now. */
	void (*announce)(void *context, struct port *port, const uint8_t mac[6]);
	void *context;
	struct event_base *base;
	/* Where to keep what has to outlive the process; NULL: nowhere. */
	const char *state_directory;
	/* Before what port_ops.snapshot has said of a port changes. */
	void (*changing)(void *context, const struct port *port);
};

enum port_sleep {
	PORT_AWAKE,  /* there are frames already */
	PORT_ASLEEP, /* the watched descriptor will tell */
	PORT_SILENT, /* nobody will tell: look now and then */
};

struct port_ops {
	/* ---- data ---- */

	/* Frames that came from the port, at most `max`; to be given back before the next call.
	 * -EPROTO: the peer broke its queue, there will be no more. */
	int (*borrow)(struct port *port, unsigned queue, struct vl_frame *frames, unsigned max);
	/* The oldest `done` of them are done with, the others, `put_off`, come again next time. */
	void (*give_back)(struct port *port, unsigned queue, unsigned done, unsigned put_off);
	/* Copy frames to the port. Returns how many were dealt with, results[i] being DELIVERED or
	 * a drop reason; fewer than `count` means no free buffers now. The copier may be NULL. */
	unsigned (*copy_in
	)(struct port *port,
	  unsigned queue,
	  const struct vl_frame *const *frames,
	  unsigned count,
	  int *results,
	  struct vl_copier *copier);
	/* Make visible what was copied in. */
	void (*flush)(struct port *port, unsigned queue);
	/* Whether the port takes a large frame (with gso_type) as it is. */
	bool (*accepts)(const struct port *port, const struct vl_net_header *header);
	/* How many queues frames to the port are spread over; 0: the port is down. */
	unsigned (*tx_queues)(const struct port *port);
	/* Before a worker sleeps: announce frames from now on. */
	enum port_sleep (*sleep)(struct port *port, unsigned queue);
	/* The watched descriptor was readable. */
	void (*woken)(struct port *port, unsigned queue);

	/* ---- control ---- */

	/* The offloads of settings.policy have changed. 0, or -errno and an explanation: all is as
	 * it was. */
	int (*set_offloads)(struct port *port, uint32_t offloads, struct error *error);
	/* settings.policy.mtu has changed; NULL: such a port's cannot. */
	int (*set_mtu)(struct port *port, uint16_t mtu, struct error *error);
	/* settings.policy.link_down has changed; NULL: nobody could be told. */
	void (*set_link)(struct port *port, bool up);
	/* Whether a peer is to be expected that was there when a process before us ended; NULL:
	 * never. */
	bool (*expects)(const struct port *port);
	/* Once a second. */
	void (*tick)(struct port *port);
	/* What the port is made of, for the process that comes after this one: fill `state`, an
	 * object, and the list of descriptors. No worker uses the port until `go_on`, which is
	 * called here, and all is as it was, or of the port that was created there. NULL: nothing
	 * of such a port can be handed over. */
	int (*save
	)(struct port *port, json_t *state, struct handover *handover, struct error *error);
	void (*go_on)(struct port *port);
	/* The same of a port that goes on, for the case that this process dies; it holds until
	 * hooks->changing(). NULL: such a port is made afresh then. */
	int (*snapshot
	)(struct port *port, json_t *state, struct handover *handover, struct error *error);
	/* The peer has taken away memory that it shared (see base/sigbus.h); NULL: none can. */
	void (*memory_lost)(struct port *port);
	/* All of `out` but counters.rx/tx and workers, which are the switch's. Counters that the
	 * port keeps itself are added to `out`. */
	void (*status)(const struct port *port, struct port_status *out);
	void (*destroy)(struct port *port);
};

/* What a wire remembers of a queue whose frames wait: of the first one, if it is a large frame that
 * is being cut, the segments that went already, and what tells it from others. */
struct port_wire {
	bool stuck; /* there have been no buffers for it for long */
	uint32_t sent, size;
	uint64_t sum;
};

/* Limits flooding: frames in the present second. */
struct port_storm {
	_Atomic uint64_t second_and_count; /* second << 32 | count */
};

struct port {
	/* control's; constant for workers */
	const struct port_ops *ops;
	const struct port_hooks *hooks;
	struct port_settings settings;	/* except policy: see below */
	unsigned id;			/* index in the switch's table */
	bool knows_sums;		/* VL_NET_DATA_VALID of frames from it is true */
	bool poll_costs;		/* borrow is a system call: not to be made in every round */
	int watch_fds[PORT_QUEUES_MAX]; /* readable when a queue has frames; -1: none */
	struct port_counters counted_before;	  /* by the process that this one came after */
	uint64_t sampled_cycles[PORT_QUEUES_MAX]; /* busy_cycles, a second ago */
	float loads[PORT_QUEUES_MAX]; /* share of a CPU's time, smoothed over some seconds */

	/* shared */
	_Atomic(struct port_policy *) policy; /* replaced whole */
	_Atomic(struct port *) partner;	      /* cross-connected to; NULL: none, or not complete */
	_Atomic uint64_t announce;	      /* MAC (low 48 bits) to announce; 0: none */
	struct port_storm storm;
	struct port_storm answers; /* that were sent to the port for frames that were too large */
	/* Where a worker that polls the queue has it in its set: a hint, the worker's own. */
	_Atomic uint32_t poll_places[PORT_QUEUES_MAX];
	struct port_wire wires[PORT_QUEUES_MAX]; /* of who borrows */
	/* Spent on frames of each queue, of the time stamp counter; the worker counts. */
	_Atomic uint64_t busy_cycles[PORT_QUEUES_MAX];
	rte_spinlock_t tx_locks[PORT_QUEUES_MAX];
};

/* What the same port of the process before us has left for this one: see port_ops.save. */
struct port_legacy {
	json_t *state;
	struct handover *handover;
	bool orphaned; /* that process is dead: what is of no use here is of no use at all */
	bool stale;    /* it died in the middle of a change, or a descriptor was lost */
};

/* Create a port of the kind that the settings say; `legacy` NULL: afresh. 0, or -errno and an
 * explanation. */
int port_create(
	const struct port_settings *settings,
	unsigned id,
	const struct port_hooks *hooks,
	struct port_legacy *legacy,
	struct port **out,
	struct error *error
);
void port_destroy(struct port *port);

/* For the kinds: see port_hooks.changing. */
static inline void port_changing(const struct port *port)
{
	if (port->hooks->changing != NULL)
		port->hooks->changing(port->hooks->context, port);
}

/* For the kinds: set up the common part. -ENOMEM. */
int port_init(
	struct port *port,
	const struct port_ops *ops,
	const struct port_settings *settings,
	unsigned id,
	const struct port_hooks *hooks
);
void port_fini(struct port *port);
/* For the kinds: announce another descriptor for a queue. Close the old one afterwards. */
void port_watch(struct port *port, unsigned queue, int fd);

int port_vhost_create(
	const struct port_settings *settings,
	unsigned id,
	const struct port_hooks *hooks,
	struct port_legacy *legacy,
	struct port **out,
	struct error *error
);
int port_virtio_create(
	const struct port_settings *settings,
	unsigned id,
	const struct port_hooks *hooks,
	struct port_legacy *legacy,
	struct port **out,
	struct error *error
);
int port_ethdev_create(
	const struct port_settings *settings,
	unsigned id,
	const struct port_hooks *hooks,
	struct port_legacy *legacy,
	struct port **out,
	struct error *error
);
int port_tap_create(
	const struct port_settings *settings,
	unsigned id,
	const struct port_hooks *hooks,
	struct port_legacy *legacy,
	struct port **out,
	struct error *error
);
