/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A cross-connected port is a wire: what is fit to enter goes to its partner, as far as that has
 * buffers, and what is left waits in the sender's queue. A large frame that is cut for the partner
 * may wait in the middle: port_wire remembers how many of its segments went.
 */
#include "net/checksum.h"
#include "switch/forward.h"

enum {
	SEVERAL_BUFFERS = 1514, /* bytes, beyond which a frame may need more than one buffer */
};

/* As many frames as the partner has buffers for; returns how many were dealt with. */
static unsigned deliver_whole_to_partner(
	struct worker *worker,
	struct port *port,
	unsigned queue,
	struct vl_frame *const *frames,
	unsigned n
)
{
	bool shared = worker->sw->settings.worker_count > 1;
	int results[VL_BURST_MAX];

	if (shared)
		rte_spinlock_lock(&port->tx_locks[queue]);
	unsigned done = port->ops->copy_in(
		port,
		queue,
		(const struct vl_frame *const *)frames,
		n,
		results,
		dma_copier(worker->dma)
	);
	port->ops->flush(port, queue);
	if (shared)
		rte_spinlock_unlock(&port->tx_locks[queue]);
	deliver_count(worker, port, frames, results, done);
	return done;
}

/* Whether this is the frame whose first segments went before. */
static bool is_being_cut(const struct port_wire *wire, const struct vl_frame *frame)
{
	return wire->sent > 0 && wire->size == frame->size
	       && wire->sum == bytes_sum(frame->head, frame->head_size);
}

/* As many segments of a large frame as the partner has buffers for, after those that it had buffers
 * for before. True: that was all. */
static bool cut_to_partner(
	struct worker *worker,
	struct port *port,
	unsigned queue,
	const struct vl_frame *frame,
	struct port_wire *wire
)
{
	struct segment_batch *batch = &worker->segments;
	struct vl_frame *segments[SEGMENT_BATCH];
	struct segmenter segmenter;
	uint32_t skip = wire->sent, made = 0, sent = skip;
	int verdict = deliver_begin_cut(policy_of(port), &segmenter, frame);

	wire->sent = 0;
	if (verdict != DELIVERED) {
		drop(worker, port->id, (enum drop_reason)verdict, 1);
		return true;
	}
	while (sent >= made && segmenter_next(&segmenter, batch)) {
		unsigned first = skip > made ? skip - made : 0;

		made += batch->count;
		if (first >= batch->count)
			continue;
		for (unsigned i = first; i < batch->count; i++)
			segments[i - first] = &batch->frames[i];
		sent += deliver_whole_to_partner(
			worker, port, queue, segments, batch->count - first
		);
	}
	/* One of them will be the frame itself, when it is done with. */
	bool done = sent >= made;
	int64_t more = (int64_t)sent - skip - (done ? 1 : 0);
	count(&worker->counters[worker->source].rx_replicated, (uint64_t)more);
	if (done) {
		count(&worker->counters[port->id].tx_cut, 1);
	} else {
		wire->sent = sent;
		wire->size = frame->size;
		wire->sum = bytes_sum(frame->head, frame->head_size);
	}
	return done;
}

static unsigned deliver_to_partner(
	struct worker *worker,
	struct port *port,
	unsigned queue,
	struct vl_frame *const *frames,
	unsigned n,
	struct port_wire *wire
)
{
	unsigned done = 0;

	while (done < n) {
		unsigned whole = 0, sent;

		/* What was begun is finished, even if it is taken whole by now. */
		while (done + whole < n && wire->sent == 0
		       && !is_to_be_cut(port, frames[done + whole]))
			whole++;
		if (whole > 0) {
			sent = deliver_whole_to_partner(worker, port, queue, frames + done, whole);
			done += sent;
			if (sent < whole)
				break;
			continue;
		}
		if (!cut_to_partner(worker, port, queue, frames[done], wire))
			break;
		done++;
	}
	return done;
}

/* Where the frames of a burst that goes over a wire end. */
struct wired {
	struct vl_frame *frames[VL_BURST_MAX]; /* that are fit for both ends */
	uint8_t places[VL_BURST_MAX];	       /* of these in the burst */
	unsigned fit;
	struct {
		uint32_t size; /* bytes, as it came */
		int verdict;   /* DELIVERED: as the partner says */
		unsigned port; /* that a drop is counted on */
	} of[VL_BURST_MAX];
};

/* As admit_run(), but addresses that a bridge must not forward concern the two ends alone. */
static int admit_wired(
	const struct port *source,
	const struct port_policy *policy,
	struct vl_frame *frame,
	struct run *run
)
{
	int verdict = admit_frame(source, policy, frame);

	if (verdict == DELIVERED)
		verdict = admit_run(policy, frame, run);
	return verdict == DROP_RESERVED ? DELIVERED : verdict;
}

static void judge_wired(
	struct worker *worker,
	const struct port *source,
	const struct port_policy *source_policy,
	struct port *port,
	unsigned n,
	struct wired *wired
)
{
	wired->fit = 0;
	for (unsigned i = 0; i < n; i++) {
		struct vl_frame *frame = &worker->frames[i];
		struct run run;

		wired->of[i].size = frame->size;
		wired->of[i].port = source->id;
		int verdict = admit_wired(source, source_policy, frame, &run);
		if (verdict == DELIVERED && port == NULL) {
			verdict = DROP_NO_DESTINATION;
		} else if (verdict == DELIVERED) {
			const struct port_policy *policy = policy_of(port);

			wired->of[i].port = port->id;
			verdict = carries_vlan(policy, run.vlan)
					  ? make_leave(policy, frame, &run, &run.tagged)
					  : DROP_VLAN;
		}
		wired->of[i].verdict = verdict;
		if (verdict == DELIVERED) {
			wired->places[wired->fit] = (uint8_t)i;
			wired->frames[wired->fit++] = frame;
		}
	}
}

unsigned forward_wired(
	struct worker *worker,
	struct port *source,
	const struct port_policy *policy,
	unsigned queue,
	unsigned n,
	struct port_wire *wire
)
{
	struct port *port = atomic_load_explicit(&source->partner, memory_order_acquire);
	unsigned queues = port == NULL ? 0 : port->ops->tx_queues(port);
	unsigned sent = 0, done = n;
	uint64_t bytes = 0;
	struct wired wired;

	judge_wired(worker, source, policy, port, n, &wired);
	/* What was being cut may be gone, or not wanted any more. */
	if (queues == 0 || wired.fit == 0 || wired.places[0] != 0
	    || !is_being_cut(wire, wired.frames[0]))
		wire->sent = 0;
	/* Queue by queue, so that each keeps its order. */
	if (queues > 0 && wired.fit > 0)
		sent = deliver_to_partner(
			worker, port, queue % queues, wired.frames, wired.fit, wire
		);
	else if (wired.fit > 0)
		drop(worker, port->id, DROP_PORT_DOWN, wired.fit);
	if (wire->stuck && queues > 0 && wired.fit > 0 && sent == 0
	    && wired.frames[0]->size > SEVERAL_BUFFERS) {
		drop(worker, port->id, DROP_NO_BUFFER, 1);
		wire->sent = 0;
		sent = 1;
	}
	if (queues > 0 && sent < wired.fit)
		done = wired.places[sent];
	for (unsigned i = 0; i < done; i++) {
		bytes += wired.of[i].size;
		if (wired.of[i].verdict != DELIVERED)
			drop(worker, wired.of[i].port, (enum drop_reason)wired.of[i].verdict, 1);
	}
	count_received(worker, source, done, bytes);
	return done;
}
