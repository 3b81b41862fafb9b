/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens to a burst of frames: admitted or dropped at the port they came from, looked up
 * together, grouped by destination, and copied once to where they go. Neighbours with the same
 * Ethernet header, a run, are decided on together.
 *
 * Order. Frames of a flow keep their order: a group holds the frames of one destination in the
 * order they came, and a frame that has to be flooded waits until all before it are delivered.
 *
 * A cross-connected port is a wire: what is fit to enter goes to its partner, as far as that has
 * buffers, and what is left waits in the sender's queue.
 *
 * Decisions use the head of a frame, which was fetched once; the same bytes are then sent. The
 * policy of a port is loaded once a burst, so all frames of a burst are judged alike.
 */
#include <rte_pause.h>
#include <string.h>

#include "net/checksum.h"
#include "net/frame.h"
#include "net/too_large.h"
#include "switch/state.h"

enum {
	RETRIES = 3, /* for a receiver without buffers; each gives it about a microsecond */
	RETRY_PAUSES = 32,
	SEVERAL_BUFFERS = 1514, /* bytes, beyond which a frame may need more than one buffer */
	ANSWERS_MAX = 100,	/* a second */
	SEGMENTS_MAX = 1024,	/* of a frame: more would be work without end for little */
	SEGMENTED_MAX = PORT_FRAME_MAX + 4 * VLAN_TAG_SIZE, /* bytes of a frame with GSO */
};

static void drop(struct worker *worker, unsigned port, enum drop_reason reason, uint64_t frames)
{
	count(&worker->counters[port].drops[reason], frames);
}

static void
count_received(struct worker *worker, const struct port *source, unsigned frames, uint64_t bytes)
{
	struct counters *counters = &worker->counters[source->id];

	count(&counters->rx_frames, frames);
	count(&counters->rx_bytes, bytes);
}

static bool is_wired(const struct port_policy *policy)
{
	return policy->cross_connect[0] != '\0';
}

/* ---- admission ---- */

/* Of addresses as mac_key_make() has them: the first byte is lowest. */
static bool is_group_address(mac_key mac)
{
	return mac & 1;
}

/* IEEE 802.1D, 7.12.6: addresses that a bridge does not forward, 01:80:c2:00:00:00 to :0f. */
static bool is_reserved_address(mac_key mac)
{
	return (mac & UINT64_C(0xf0ffffffffff)) == UINT64_C(0x000000c28001);
}

static bool owns_address(const struct port_policy *policy, const uint8_t *mac)
{
	for (unsigned i = 0; i < policy->mac_count; i++) {
		if (memcmp(policy->macs[i].bytes, mac, ETHER_ADDRESS_SIZE) == 0)
			return true;
	}
	return false;
}

/* VLAN 0 stands for "untagged, and the port has no VLAN of its own for that". */
static bool carries_vlan(const struct port_policy *policy, uint16_t vlan)
{
	if (policy->vlan != 0 && (vlan == 0 || vlan == policy->vlan))
		return vlan != 0;
	return policy->trunk && ((policy->trunk_vlans[vlan / 64] >> (vlan % 64)) & 1);
}

/*
 * The VLAN a frame belongs to; false if it may not enter. A port without any VLAN setting passes
 * frames as they are: untagged ones count as VLAN 0. A tag with VLAN 0 has a priority only (IEEE
 * 802.1Q, 9.6): it is taken off, so that a frame is either untagged or tagged with its VLAN.
 */
static bool classify_vlan(const struct port_policy *policy, struct vl_frame *frame, struct run *run)
{
	run->tci = 0;
	run->tagged = frame_vlan_tag(frame, &run->tci);
	run->vlan = run->tci & VLAN_ID_MASK;
	if (run->vlan != 0)
		return policy->trunk && carries_vlan(policy, run->vlan);
	if (run->tagged) {
		uint16_t inner;

		frame_pop_vlan(frame);
		run->tagged = false;
		/* A tag below would choose the VLAN for itself. */
		if (frame_vlan_tag(frame, &inner))
			return false;
	}
	run->vlan = policy->vlan;
	return carries_vlan(policy, run->vlan);
}

/* Whether what is on the wire in the end is short enough. */
static bool fits(const struct vl_frame *frame, uint32_t max_frame)
{
	if (frame->header.gso_type == VL_GSO_NONE)
		return frame->size <= max_frame;
	/* A fragment has UDP's header, which hdr_len counts, among its gso_size bytes. */
	uint32_t counted = frame->header.gso_type == VL_GSO_UDP ? UDP_HEADER_SIZE : 0;
	return frame->size <= SEGMENTED_MAX
	       && (uint32_t)frame->header.hdr_len + frame->header.gso_size <= max_frame + counted;
}

/* DELIVERED if the frame may enter as far as it alone is asked, or why not. */
static int
check_frame(const struct port *source, const struct port_policy *policy, struct vl_frame *frame)
{
	/* Whether a sum is right is a kernel's or a NIC's to say, not a tenant's. */
	uint8_t valid = source->knows_sums ? frame->header.flags & VL_NET_DATA_VALID : 0;
	uint32_t need;

	if (frame->size < ETHER_HEADER_SIZE)
		return DROP_RUNT;
	if (!frame_check_header(frame, &need))
		return DROP_BAD_HEADER;
	if (!(frame->header.flags & VL_NET_NEEDS_CSUM))
		frame->header.flags = valid;
	if (!fits(frame, policy->max_frame))
		return DROP_OVERSIZE;
	if (frame->header.gso_type != VL_GSO_NONE
	    && frame->size > (uint32_t)frame->header.gso_size * SEGMENTS_MAX)
		return DROP_SEGMENTS;
	return DELIVERED;
}

/* The same as far as its Ethernet header is asked, which begins a run. */
static int begin_run(const struct port_policy *policy, struct vl_frame *frame, struct run *run)
{
	const uint8_t *source = frame->head + ETHER_ADDRESS_SIZE;

	run->to = mac_key_make(frame->head, 0);
	run->from = mac_key_make(source, 0);
	if (is_group_address(run->from) || run->from == 0)
		return DROP_BAD_SOURCE;
	if (policy->mac_lock && !owns_address(policy, source))
		return DROP_MAC_LOCK;
	if (!classify_vlan(policy, frame, run))
		return DROP_VLAN;
	return is_reserved_address(run->to) ? DROP_RESERVED : DELIVERED;
}

/* As memcmp() of 14 bytes, which would be a call: two words that overlap. */
static inline bool same_ether_header(const uint8_t *a, const uint8_t *b)
{
	uint64_t a_words[2], b_words[2];

	memcpy(&a_words[0], a, sizeof(a_words[0]));
	memcpy(&b_words[0], b, sizeof(b_words[0]));
	memcpy(&a_words[1], a + ETHER_HEADER_SIZE - sizeof(a_words[1]), sizeof(a_words[1]));
	memcpy(&b_words[1], b + ETHER_HEADER_SIZE - sizeof(b_words[1]), sizeof(b_words[1]));
	return ((a_words[0] ^ b_words[0]) | (a_words[1] ^ b_words[1])) == 0;
}

/* Whether what was decided for a run that begins with `first` holds for this frame, too. */
static inline bool
joins(const struct run *run, const struct vl_frame *first, const struct vl_frame *frame)
{
	uint16_t tci;

	return !run->tagged && run->tci == 0 && same_ether_header(first->head, frame->head)
	       && !frame_vlan_tag(frame, &tci);
}

/* Drop what may not enter from `source`, and divide the rest into runs. */
static void
admit(struct worker *worker, const struct port *source, const struct port_policy *policy, unsigned n
)
{
	struct run *run = NULL; /* that the frame before belongs to */

	worker->run_count = 0;
	for (unsigned i = 0; i < n; i++) {
		struct vl_frame *frame = &worker->frames[i];
		int verdict = check_frame(source, policy, frame);

		if (verdict == DELIVERED && run != NULL
		    && joins(run, &worker->frames[run->first], frame)) {
			run->count++;
			continue;
		}
		run = &worker->runs[worker->run_count];
		if (verdict == DELIVERED)
			verdict = begin_run(policy, frame, run);
		if (verdict != DELIVERED) {
			drop(worker, source->id, (enum drop_reason)verdict, 1);
			run = NULL;
			continue;
		}
		run->first = (uint8_t)i;
		run->count = 1;
		worker->run_count++;
	}
}

/* `weight`: frames that one counts as. */
static bool storm_allows(struct port_storm *storm, uint32_t limit, uint32_t weight, uint32_t now)
{
	uint64_t seen = atomic_load_explicit(&storm->second_and_count, memory_order_relaxed);
	uint64_t next;

	if (limit == 0)
		return true;
	do {
		/* Another worker's clock may be a step ahead: its second counts. */
		bool same = seen >> 32 >= now;

		if (same && (uint32_t)seen >= limit)
			return false;
		next = same ? seen + weight : (uint64_t)now << 32 | weight;
	} while (!atomic_compare_exchange_weak_explicit(
		&storm->second_and_count, &seen, next, memory_order_relaxed, memory_order_relaxed
	));
	return true;
}

/* ---- lookup ---- */

/* Where each run goes; where it came from is learned. */
static void look_up(struct worker *worker, unsigned source)
{
	mac_key sources[VL_BURST_MAX], destinations[VL_BURST_MAX];
	int32_t source_positions[VL_BURST_MAX], positions[VL_BURST_MAX];
	struct mac_table *macs = worker->sw->macs;
	unsigned n = worker->run_count;

	if (n == 0)
		return;
	for (unsigned i = 0; i < n; i++) {
		const struct run *run = &worker->runs[i];
		mac_key vlan = (mac_key)run->vlan << 48;

		destinations[i] = run->to | vlan;
		sources[i] = run->from | vlan;
	}
	mac_table_lookup(macs, sources, n, source_positions);
	mac_table_lookup(macs, destinations, n, positions);
	for (unsigned i = 0; i < n; i++) {
		struct run *run = &worker->runs[i];

		if (i == 0 || sources[i] != sources[i - 1])
			mac_table_learn(macs, sources[i], source_positions[i], source, worker->now);
		run->destination = PORT_NONE;
		if (!is_group_address(run->to) && positions[i] != MAC_UNKNOWN)
			run->destination =
				(uint16_t)mac_table_port(macs, destinations[i], positions[i]);
	}
}

/* ---- delivery ---- */

static void count_results(
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
	count_results(worker, port, frames, results, done);
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

/* DELIVERED if a frame can be cut into segments that are short enough. */
static int begin_cut(
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

static const struct port_policy *policy_of(struct port *port)
{
	return atomic_load_explicit(&port->policy, memory_order_acquire);
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
	int verdict = begin_cut(policy_of(port), &segmenter, frame);

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

/* Whether a frame has to be cut for a port. */
static inline bool is_to_be_cut(const struct port *port, const struct vl_frame *frame)
{
	return frame->header.gso_type != VL_GSO_NONE && !port->ops->accepts(port, &frame->header);
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

static void
deliver(struct worker *worker,
	struct port *port,
	struct vl_frame *const *frames,
	unsigned n,
	unsigned retries)
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

/* DELIVERED if frames of a VLAN from `source` may leave through a port of this policy. */
static int
may_leave(const struct port_policy *source, const struct port_policy *policy, uint16_t vlan)
{
	if (source->isolate != 0 && source->isolate == policy->isolate)
		return DROP_ISOLATED;
	return carries_vlan(policy, vlan) ? DELIVERED : DROP_VLAN;
}

/* Make a frame look as a port wants it; false if that would let a tag below choose the VLAN.
 * *tagged is how it looks now. */
static inline bool
retag(const struct port_policy *policy, struct vl_frame *frame, const struct run *run, bool *tagged)
{
	bool wanted = run->vlan != policy->vlan && run->vlan != 0;
	const uint8_t *inner = frame->head + ETHER_HEADER_SIZE + 2;

	if (*tagged == wanted)
		return true;
	if (wanted) {
		uint16_t priority = (uint16_t)(run->tci & ~VLAN_ID_MASK);

		frame_push_vlan(frame, priority | run->vlan);
	} else {
		if (load_be16(inner) == ETHERTYPE_VLAN_TAG)
			return false;
		frame_pop_vlan(frame);
	}
	*tagged = wanted;
	return true;
}

/* DELIVERED if the frame now is as a port of this policy wants it, or why not. */
static inline int make_leave(
	const struct port_policy *policy,
	struct vl_frame *frame,
	const struct run *run,
	bool *tagged
)
{
	if (!retag(policy, frame, run, tagged))
		return DROP_VLAN;
	return fits(frame, policy->max_frame) ? DELIVERED : DROP_TOO_LARGE;
}

static void deliver_groups(struct worker *worker)
{
	for (unsigned g = 0; g < worker->group_count; g++) {
		struct group *group = &worker->groups[g];

		worker->group_of[group->port->id] = 0;
		if (group->count > 0)
			deliver(worker, group->port, group->frames, group->count, RETRIES);
	}
	worker->group_count = 0;
}

/* Copy a frame to every port that may have it. */
static void
flood(struct worker *worker,
      struct port *source,
      const struct port_policy *source_policy,
      struct vl_frame *frame,
      const struct run *run)
{
	const struct switch_state *sw = worker->sw;
	unsigned limit =
		atomic_load_explicit(&((struct switch_state *)sw)->id_limit, memory_order_relaxed);
	bool tagged = run->tagged;
	unsigned copies = 0;

	/* A large frame is many for those that it is cut for. */
	uint32_t weight = frame->header.gso_type == VL_GSO_NONE
				  ? 1
				  : 1 + frame->size / frame->header.gso_size;
	if (!storm_allows(&source->storm, source_policy->storm_limit, weight, worker->now)) {
		drop(worker, source->id, DROP_STORM, 1);
		return;
	}
	for (unsigned id = 0; id < limit; id++) {
		struct port *port = switch_port(sw, id);

		if (port == NULL || port == source || port->ops->tx_queues(port) == 0)
			continue;
		const struct port_policy *policy = policy_of(port);
		if (is_wired(policy) || may_leave(source_policy, policy, run->vlan) != DELIVERED)
			continue; /* not for this port at all */
		int verdict = make_leave(policy, frame, run, &tagged);
		if (verdict == DROP_VLAN)
			continue;
		copies++;
		if (verdict != DELIVERED) {
			drop(worker, port->id, (enum drop_reason)verdict, 1);
			continue;
		}
		deliver(worker, port, &frame, 1, 0);
	}
	if (copies == 0)
		drop(worker, source->id, DROP_NO_DESTINATION, 1);
	else
		count(&worker->counters[source->id].rx_replicated, copies - 1);
}

/* The group of frames that go to this port; at first an empty one. */
static struct group *group_for(struct worker *worker, struct port *port)
{
	uint16_t *group_of = &worker->group_of[port->id];

	if (*group_of == 0) {
		worker->groups[worker->group_count].port = port;
		worker->groups[worker->group_count].count = 0;
		*group_of = (uint16_t)++worker->group_count;
	}
	return &worker->groups[*group_of - 1];
}

/* Where frames of a VLAN to a port go: decided once for runs that follow each other. */
struct way {
	uint16_t destination, vlan; /* that this is for */
	const struct port_policy *policy;
	struct group *group; /* NULL: none may go there */
	unsigned blamed;     /* port that a drop is counted on */
	enum drop_reason reason;
};

static struct way find_way(
	struct worker *worker,
	const struct port *source,
	const struct port_policy *source_policy,
	const struct run *run
)
{
	struct port *port = switch_port(worker->sw, run->destination);
	struct way way = {
		.destination = run->destination,
		.vlan = run->vlan,
		.policy = port == NULL ? NULL : policy_of(port),
		.blamed = source->id,
		.reason = port == source ? DROP_SAME_PORT : DROP_NO_DESTINATION,
	};

	if (port == source || port == NULL || is_wired(way.policy))
		return way;
	int verdict = may_leave(source_policy, way.policy, run->vlan);
	if (verdict == DELIVERED) {
		way.group = group_for(worker, port);
	} else {
		way.blamed = port->id;
		way.reason = (enum drop_reason)verdict;
	}
	return way;
}

/* Tell who sent a frame that it is too large for a port of this policy, for which it was made to
 * look as it does. */
static void answer_too_large(
	struct worker *worker,
	struct port *source,
	const struct port_policy *policy,
	struct vl_frame *frame,
	const struct run *run,
	bool tagged
)
{
	uint32_t mtu = policy->max_frame - ETHER_HEADER_SIZE - (tagged ? VLAN_TAG_SIZE : 0);
	uint8_t bytes[TOO_LARGE_ANSWER_MAX];
	struct vl_frame answer, *answers[] = {&answer};

	if (!policy->answer_too_large || !retag(policy_of(source), frame, run, &tagged)
	    || !frame_answer_too_large(frame, mtu, bytes, &answer)
	    || !storm_allows(&source->answers, ANSWERS_MAX, 1, worker->now))
		return;
	count(&worker->counters[source->id].rx_replicated, 1);
	deliver(worker, source, answers, 1, 0);
}

/* Put the frames of a run into their destination's group, or drop them. */
static void
group_run(struct worker *worker, struct port *source, const struct way *way, const struct run *run)
{
	if (way->group == NULL) {
		drop(worker, way->blamed, way->reason, run->count);
		return;
	}
	for (unsigned i = 0; i < run->count; i++) {
		struct vl_frame *frame = &worker->frames[run->first + i];
		bool tagged = run->tagged;
		int verdict = make_leave(way->policy, frame, run, &tagged);

		if (verdict == DELIVERED) {
			way->group->frames[way->group->count++] = frame;
			continue;
		}
		drop(worker, way->group->port->id, (enum drop_reason)verdict, 1);
		if (verdict == DROP_TOO_LARGE)
			answer_too_large(worker, source, way->policy, frame, run, tagged);
	}
}

/* ---- cross-connect ---- */

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
	count_results(worker, port, frames, results, done);
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
	int verdict = begin_cut(policy_of(port), &segmenter, frame);

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

/* As begin_run(), but addresses that a bridge must not forward concern the two ends alone. */
static int admit_wired(
	const struct port *source,
	const struct port_policy *policy,
	struct vl_frame *frame,
	struct run *run
)
{
	int verdict = check_frame(source, policy, frame);

	if (verdict == DELIVERED)
		verdict = begin_run(policy, frame, run);
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

static unsigned forward_wired(
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

/* ---- a burst ---- */

static unsigned forward_bridged(
	struct worker *worker, struct port *source, const struct port_policy *policy, unsigned n
)
{
	struct way way = {.destination = PORT_NONE};
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += worker->frames[i].size;
	count_received(worker, source, n, bytes);
	admit(worker, source, policy, n);
	look_up(worker, source->id);
	for (unsigned r = 0; r < worker->run_count; r++) {
		const struct run *run = &worker->runs[r];

		if (run->destination != PORT_NONE) {
			if (run->destination != way.destination || run->vlan != way.vlan)
				way = find_way(worker, source, policy, run);
			group_run(worker, source, &way, run);
			continue;
		}
		deliver_groups(worker);
		way.destination = PORT_NONE; /* its group is gone */
		for (unsigned i = 0; i < run->count; i++)
			flood(worker, source, policy, &worker->frames[run->first + i], run);
	}
	deliver_groups(worker);
	return n;
}

unsigned forward_burst(
	struct worker *worker,
	struct port *source,
	unsigned queue,
	unsigned n,
	struct port_wire *wire
)
{
	const struct port_policy *policy = policy_of(source);

	worker->source = source->id;
	worker->source_knows_sums = source->knows_sums;
	return is_wired(policy) ? forward_wired(worker, source, policy, queue, n, wire)
				: forward_bridged(worker, source, policy, n);
}
