/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker: one thread that takes frames from the queues it was given, decides, and copies them to
 * where they go.
 *
 * It polls the queues that have work. One that has had none for a while is asked for notifications,
 * looked at once more, and left alone until one comes: so a thousand idle ports cost a busy one
 * nothing but a look at epoll now and then. (With poll = always nobody is asked, and some of those
 * without frames are looked at in each round.) After a short spell without any work all are left
 * alone and the worker sleeps in epoll_wait(). Between rounds it reports a quiescent state: what
 * control has unpublished before is not used after.
 */
#pragma once

#include <pthread.h>
#include <rte_rcu_qsbr.h>
#include <stdatomic.h>

#include "net/coalesce.h"
#include "net/segment.h"
#include "port/port.h"
#include "switch/dma.h"
#include "switch/mac_table.h"

enum {
	WISHES_MAX = 64, /* a power of two */
};

struct switch_state;

/* Counters of one port kept by one worker: written by it alone, read by control. */
struct counters {
	_Atomic uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes, rx_replicated, tx_cut, tx_merged;
	_Atomic uint64_t drops[DROP_COUNT];
};

static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, value + n, memory_order_relaxed);
}

/* The queues a worker serves. Control replaces the set whole, or shrinks it while the worker has
 * none, and says so by `adopted`; what follows that is the worker's. */
struct poll_entry {
	struct port *port;
	uint16_t queue;
	/* the worker's */
	bool awake;	      /* it is polled */
	bool blocked;	      /* it had frames, but its partner has no buffers for them */
	uint16_t rest;	      /* rounds to leave it alone */
	uint64_t idle_since;  /* time stamp counter, of the last frame or notification */
	uint64_t stuck_since; /* the same, of the last frame that left; while blocked */
};
struct poll_set {
	unsigned count;
	bool adopted; /* the worker has seen it as it is */
	unsigned awake_count;
	uint32_t cursor; /* of the next entry to look at that is not awake, with poll = always */
	uint32_t *awake; /* indices of entries that are polled; in the same allocation */
	struct poll_entry entries[];
};

/*
 * Frames of a burst that follow each other and have one and the same untagged Ethernet header; or
 * a single frame of any kind. What is decided by the header is decided once a run.
 */
struct run {
	uint8_t first, count; /* in worker->frames */
	bool tagged;
	uint16_t vlan;	      /* 0: none */
	uint16_t tci;	      /* with the priority; 0 if it never had a tag */
	uint16_t destination; /* port id; PORT_NONE: to be flooded */
	mac_key to, from;     /* without the VLAN */
};

/* Frames of a burst that go to one port. */
struct group {
	struct port *port;
	unsigned count;
	struct vl_frame *frames[VL_BURST_MAX];
};

/* Queues that control wants looked at: it adds, the worker takes. When there is no place for one,
 * all are. */
struct wishes {
	_Atomic uint32_t added, taken; /* free running */
	atomic_bool all;
	uint32_t tags[WISHES_MAX]; /* port << 16 | queue */
};

struct worker {
	/* control's */
	struct switch_state *sw;
	unsigned index;
	int cpu; /* -1: not pinned */
	pthread_t thread;
	bool started;
	int epoll_fd, wake_fd;
	double load;	 /* of the last second */
	struct dma *dma; /* the worker's to use; NULL: none */
	unsigned moved;	 /* queues that came from busier workers */
	uint64_t sampled_busy, sampled_total;

	/* shared */
	_Atomic(struct poll_set *) polls;
	atomic_bool stop;
	struct wishes wishes;
	_Atomic uint64_t sleeps, wakeups, rx_frames;
	_Atomic uint64_t busy_cycles, total_cycles;
	struct counters *counters; /* PORTS_MAX elements */

	/* the worker's */
	bool saw_eal;	 /* it runs */
	bool in_eal;	 /* registered there */
	uint32_t now;	 /* second, of the monotonic clock */
	unsigned source; /* port that the burst came from */
	bool source_knows_sums;
	uint64_t now_until;  /* time stamp counter at which `now` has to be read again */
	uint64_t events_due; /* time stamp counter at which to look for notifications */
	struct vl_frame frames[VL_BURST_MAX];
	struct segment_batch segments;	 /* of a large frame that is being cut */
	struct coalesce_batch coalesced; /* large frames that segments were put together to */
	struct run runs[VL_BURST_MAX];
	unsigned run_count;
	unsigned group_count;
	uint16_t group_of[PORTS_MAX]; /* group index + 1 of a destination; 0: none yet */
	struct group groups[VL_BURST_MAX];
};

int worker_start(struct worker *worker, struct switch_state *sw, unsigned index, int cpu);
/* Ends the thread; it may have been started or not. */
void worker_stop(struct worker *worker);
/* Have a sleeping worker look whether its set was replaced, or it is to stop. Any thread. */
void worker_wake(struct worker *worker);
/* Have it look at one of its queues. Control thread. */
void worker_rouse(struct worker *worker, unsigned port, unsigned queue);
/* Watch (or stop watching) a queue's descriptor. Control thread. */
void worker_watch(struct worker *worker, unsigned port, unsigned queue, int old_fd, int new_fd);

/* forward.c: deal with `n` borrowed frames of a queue in worker->frames. Returns how many are done
 * with: all, unless the port is cross-connected and its partner has no buffers now. If the wire is
 * stuck, and the first frame may be one that needs more buffers than there will ever be, that is
 * dropped. */
unsigned forward_burst(
	struct worker *worker,
	struct port *source,
	unsigned queue,
	unsigned n,
	struct port_wire *wire
);
