/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A started virtqueue of a virtio-net device as the data path sees it. Built by control,
 * published through virtqueue.live, and freed after every data call has let go of it.
 */
#pragma once

#include <stdatomic.h>

#include "memory/dirty_log.h"
#include "ring/ring.h"

/* Counters written by one data thread and read by control. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, value + n, memory_order_relaxed);
}

enum {
	SIGNAL_SOCKET = 1 << 30, /* set in a call or error descriptor that is a socket */
};

/* Counters of a queue; they outlive the queue's restarts. */
struct queue_counters {
	_Atomic uint64_t kicks, calls, discarded_frames, discarded_bytes;
};

struct queue {
	/* control's: constant while published */
	bool mergeable;
	uint8_t header_size; /* bytes of virtio-net header: 10 or 12 */
	uint32_t span_capacity, span_chain_max;
	struct queue_counters *counters;
	struct dirty_log log; /* of what we write in the peer's memory */
	/* What we write of the ring itself, in guest addresses. */
	struct {
		uint64_t guest_address, size;
	} logged[2];
	int log_fd; /* signalled when something was logged; -1: none; with SIGNAL_SOCKET */

	/* shared */
	atomic_bool enabled;
	atomic_int call_fd, err_fd; /* with SIGNAL_SOCKET */

	/* the worker's */
	struct ring ring;
	struct iovec *spans;	  /* of the chains that were taken last, span_capacity elements */
	struct iovec *spans_kept; /* as many, of a queue that is logged: what was written */
};

static inline bool queue_is_logged(const struct queue *queue)
{
	return queue->log.bits != NULL;
}

/* Log that bytes of the peer's memory were written. */
static inline void queue_log(const struct queue *queue, const void *at, uint64_t size)
{
	dirty_log_mark_here(
		&queue->log,
		atomic_load_explicit(&((struct queue *)queue)->ring.memory, memory_order_relaxed),
		at,
		size
	);
}

/* The same of the ring, if anything is logged at all. */
void queue_log_ring(const struct queue *queue);

/* Have what comes next asked for, if it may not be usable at once (memory.h, by_reach). */
void queue_look_ahead(struct queue *queue);
/* Log what was published, and notify the driver of it if it wants that. */
void queue_call(struct queue *queue);
/* Notify it in any case. */
void queue_notify(struct queue *queue);
/* Tell the front end through the error descriptor that the ring is broken; once. */
void queue_signal_error(struct queue *queue);
