/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames to one port: spread over its queues by flow, copied, counted. A receiver without buffers
 * is waited for a little. Large frames that it does not take are cut, and segments put together for
 * one that wishes so; in both cases a flow's frames keep their order.
 */
#include <rte_pause.h>
#include <string.h>

#include "net/coalesce.h"
#include "switch/forward.h"

enum {
	RETRY_PAUSES = 32, /* between two tries to copy in; about a microsecond */
};

void deliver_count(
	struct worker *worker,
	const struct port *port,
	struct vl_frame *const *frames,
	const int *results,
	unsigned n
)
{
	struct counters *counters = &worker->counters[port->id];
	unsigned sent = 0;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++) {
		if (results[i] == DELIVERED) {
			sent++;
			bytes += frames[i]->size;
		} else {
			count(&counters->drops[results[i]], 1);
		}
	}
	count(&counters->tx_frames, sent);
	count(&counters->tx_bytes, bytes);
}

/* Copy frames to one queue of a port. A flood does not wait for a receiver without buffers: there
 * may be many of them. */
static void deliver_to_queue(
	struct worker *worker,
	struct port *port,
	unsigned queue,
	struct vl_frame *const *frames,
	unsigned n,
	unsigned retries
)
{
	bool shared = worker->sw->settings.worker_count > 1;
	unsigned done = 0;
	int results[VL_BURST_MAX];

	if (shared)
		rte_spinlock_lock(&port->tx_locks[queue]);
	while (done < n) {
		done += port->ops->copy_in(
			port,
			queue,
			(const struct vl_frame *const *)&frames[done],
			n - done,
			&results[done],
			dma_copier(worker->dma)
		);
		if (done == n)
			break;
		/* A frame that waited in vain is lost, but a smaller one behind it may still fit.
		 */
		if (retries == 0) {
			results[done++] = DROP_NO_BUFFER;
			continue;
		}
		retries--;
		/* What is there already may let the driver hurry. */
		port->ops->flush(port, queue);
		for (unsigned i = 0; i < RETRY_PAUSES; i++)
			rte_pause();
	}
	port->ops->flush(port, queue);
	if (shared)
		rte_spinlock_unlock(&port->tx_locks[queue]);
	deliver_count(worker, port, frames, results, done);
}

/* Spread frames over the queues of a port, by flow. */
static void deliver_whole(
	struct worker *worker,
	struct port *port,
	struct vl_frame *const *frames,
	unsigned n,
	unsigned retries
)
{
	unsigned queues = port->ops->tx_queues(port);
	uint8_t queue_of[VL_BURST_MAX];
	struct vl_frame *chosen[VL_BURST_MAX];

	if (queues == 0) {
		count(&worker->counters[port->id].drops[DROP_PORT_DOWN], n);
		return;
	}
	if (queues == 1) {
		deliver_to_queue(worker, port, 0, frames, n, retries);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		queue_of[i] = (uint8_t)(frame_flow_hash(frames[i]) % queues);
	for (unsigned first = 0; first < n; first++) {
		unsigned queue = queue_of[first], m = 0;

		if (queue == UINT8_MAX)
			continue; /* went with an earlier one */
		for (unsigned i = first; i < n; i++) {
			if (queue_of[i] != queue)
				continue;
			chosen[m++] = frames[i];
			queue_of[i] = UINT8_MAX;
		}
		deliver_to_queue(worker, port, queue, chosen, m, retries);
	}
}

int deliver_begin_cut(
	const struct port_policy *policy, struct segmenter *segmenter, const struct vl_frame *frame
)
{
	if (!segmenter_begin(segmenter, frame))
		return DROP_OFFLOAD;
	/* Headers may be longer than the frame's head showed. */
	if (segmenter_frame_size(segmenter) > policy->max_frame)
		return DROP_TOO_LARGE;
	return DELIVERED;
}

/* A large frame to a port that takes none: its segments take its place. */
static void deliver_cut(
	struct worker *worker, struct port *port, const struct vl_frame *frame, unsigned retries
)
{
	struct segment_batch *batch = &worker->segments;
	struct vl_frame *segments[SEGMENT_BATCH];
	_Atomic uint64_t *arrived = &worker->counters[port->id].tx_frames;
	struct segmenter segmenter;
	uint64_t count_all = 0;
	int verdict = deliver_begin_cut(policy_of(port), &segmenter, frame);

	if (verdict != DELIVERED) {
		drop(worker, port->id, (enum drop_reason)verdict, 1);
		return;
	}
	while (segmenter_next(&segmenter, batch)) {
		for (unsigned i = 0; i < batch->count; i++)
			segments[i] = &batch->frames[i];
		uint64_t before = atomic_load_explicit(arrived, memory_order_relaxed);
		deliver_whole(worker, port, segments, batch->count, retries);
		count_all += batch->count;
		/* A receiver that takes nothing need not be offered the rest. */
		if (atomic_load_explicit(arrived, memory_order_relaxed) == before)
			break;
	}
	count(&worker->counters[worker->source].rx_replicated, count_all - 1);
	count(&worker->counters[port->id].tx_cut, 1);
}

/* Segments together, for a port that takes them so. */
static unsigned coalesce(
	struct worker *worker,
	struct port *port,
	struct vl_frame *const *frames,
	unsigned n,
	struct vl_frame **merged
)
{
	static const struct vl_net_header large[] = {
		{.flags = VL_NET_NEEDS_CSUM, .gso_type = VL_GSO_TCPV4},
		{.flags = VL_NET_NEEDS_CSUM, .gso_type = VL_GSO_TCPV6},
	};

	if (port->ops->accepts(port, &large[0]) && port->ops->accepts(port, &large[1]))
		return frames_coalesce(&worker->coalesced, frames, n, merged);
	memcpy(merged, frames, n * sizeof(frames[0]));
	return n;
}

void deliver(
	struct worker *worker,
	struct port *port,
	struct vl_frame *const *frames,
	unsigned n,
	unsigned retries
)
{
	struct vl_frame *merged[VL_BURST_MAX];
	unsigned begun = 0; /* frames dealt with */

	if (n > 1 && policy_of(port)->coalesce && worker->source_knows_sums) {
		unsigned left = coalesce(worker, port, frames, n, merged);

		count(&worker->counters[port->id].tx_merged, n - left);
		frames = merged;
		n = left;
	}
	if (port->ops->tx_queues(port) == 0) {
		count(&worker->counters[port->id].drops[DROP_PORT_DOWN], n);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		if (!is_to_be_cut(port, frames[i]))
			continue;
		if (i > begun)
			deliver_whole(worker, port, frames + begun, i - begun, retries);
		deliver_cut(worker, port, frames[i], retries);
		begun = i + 1;
	}
	if (n > begun)
		deliver_whole(worker, port, frames + begun, n - begun, retries);
}
