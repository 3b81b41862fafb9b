/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The threads that move frames. Each serves some queue pairs, of one port or of both (its duties),
 * alone; it looks at nobody else's. The main thread leads all of them through phases:
 *
 *	WAIT --> WARM --> SETTLE --> RESET --> RUN --> DRAIN --> STOP
 *	  |                            ^
 *	  +----------------------------+          without --warmup
 *
 * WARM and RUN move frames. SETTLE and DRAIN receive what is on its way and send nothing new; in
 * RESET nothing moves, and everything begins anew. So what is sent in RUN is what may be received
 * behind RESET, and the difference is what was lost. A reflector goes on in all phases, and from
 * WARM to RUN directly. The main thread goes on when all threads have seen a phase.
 */
#pragma once

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtlane/driver.h"

#include "pktgen/check.h"
#include "pktgen/clock.h"
#include "pktgen/frames.h"
#include "pktgen/options.h"

enum phase {
	PHASE_WAIT,
	PHASE_WARM,
	PHASE_SETTLE,
	PHASE_RESET,
	PHASE_RUN,
	PHASE_DRAIN,
	PHASE_STOP,
};

/* What all threads see. */
struct run {
	const struct pktgen_options *options;
	const struct traffic *traffic;
	int event_fd; /* readable: a duty is done or was stopped */
	_Alignas(64) _Atomic(enum phase) phase;
	_Atomic bool pause; /* the drivers are not to be touched */
};

/* One queue pair. */
struct duty {
	/* constant while the thread runs */
	_Alignas(64) struct vl_driver *driver;
	unsigned port, pair;
	bool sends, receives, clean_headers;
	uint64_t limit; /* frames to be sent; UINT64_MAX: any number */

	/* the thread's; the main thread's again when it has ended */
	struct sender sender;
	struct receiver *receiver; /* NULL: frames are not looked at */
	struct pace pace;
	uint64_t left;			 /* of limit */
	uint64_t dropped;		 /* reflected frames that the ring had no room for */
	struct vl_driver_frame *pending; /* built and not yet taken by the driver */
	unsigned pending_first, pending_count;
	uint64_t done_ns; /* when the last frame was sent */
	/* When RUN, DRAIN and STOP began. */
	struct vl_driver_stats begin, end, final;

	/* for the main thread to see */
	_Atomic bool done;    /* all that was to be sent is */
	_Atomic bool stopped; /* the driver has given the pair up */
};

struct worker {
	_Alignas(64) struct run *run;
	struct duty *duties;
	unsigned duty_count;
	int cpu; /* -1: not pinned */
	pthread_t thread;
	struct pollfd *fds; /* duty_count */

	unsigned idle_rounds;
	uint64_t busy_cycles; /* in rounds that moved frames */
	/* when RUN and DRAIN began */
	uint64_t begin_ns, end_ns, begin_cycles, end_cycles, end_busy_cycles;

	_Atomic(enum phase) seen;
	_Atomic bool paused;
};

/* Start the thread; 0 or a negative errno. It ends behind PHASE_STOP. */
int worker_start(struct worker *worker);
