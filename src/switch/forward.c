/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens to a burst of frames: admitted or dropped at the port they came from, looked up
 * together, grouped by destination, and copied once to where they go.
 *
 * Order. Frames of a flow keep their order: a group holds the frames of one destination in the
 * order they came, and a frame that has to be flooded waits until all before it are delivered.
 *
 * Decisions use the head of a frame, which was fetched once; the same bytes are then sent. The
 * policy of a port is loaded once a burst, so all frames of a burst are judged alike.
 */
#include <rte_pause.h>
#include <string.h>

#include "net/frame.h"
#include "switch/state.h"

enum {
	RETRIES = 3, /* for a receiver without buffers; each gives it about a microsecond */
	RETRY_PAUSES = 32,
	SEGMENTED_MAX = PORT_FRAME_MAX + 4 * VLAN_TAG_SIZE, /* bytes of a frame with GSO */
};

static void drop(struct worker *worker, unsigned port, enum drop_reason reason)
{
	count(&worker->counters[port].drops[reason], 1);
}

/* ---- admission ---- */

static bool is_group_address(const uint8_t *mac)
{
	return mac[0] & 1;
}

static bool is_zero_address(const uint8_t *mac)
{
	static const uint8_t zero[ETHER_ADDRESS_SIZE];

	return memcmp(mac, zero, sizeof(zero)) == 0;
}

/* IEEE 802.1D, 7.12.6: addresses that a bridge does not forward. */
static bool is_reserved_address(const uint8_t *mac)
{
	static const uint8_t prefix[] = {0x01, 0x80, 0xc2, 0x00, 0x00};

	return memcmp(mac, prefix, sizeof(prefix)) == 0 && (mac[5] & 0xf0) == 0;
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
static bool
classify_vlan(const struct port_policy *policy, struct vl_frame *frame, struct frame_info *info)
{
	info->tci = 0;
	info->tagged = frame_vlan_tag(frame, &info->tci);
	info->vlan = info->tci & VLAN_ID_MASK;
	if (info->vlan != 0)
		return policy->trunk && carries_vlan(policy, info->vlan);
	if (info->tagged) {
		uint16_t inner;

		frame_pop_vlan(frame);
		info->tagged = false;
		/* A tag below would choose the VLAN for itself. */
		if (frame_vlan_tag(frame, &inner))
			return false;
	}
	info->vlan = policy->vlan;
	return carries_vlan(policy, info->vlan);
}

/* Whether what is on the wire in the end is short enough. */
static bool fits(const struct vl_frame *frame, uint32_t max_frame)
{
	if (frame->header.gso_type == VL_GSO_NONE)
		return frame->size <= max_frame;
	/* hdr_len is a hint, but one that understates makes a segment look shorter, never longer
	 * than what the receiver gets: it is cut by the receiver's own stack. */
	return frame->size <= SEGMENTED_MAX
	       && (uint32_t)frame->header.hdr_len + frame->header.gso_size <= max_frame;
}

/* DELIVERED if the frame may enter, or why not. */
static int admit(const struct port_policy *policy, struct vl_frame *frame, struct frame_info *info)
{
	uint32_t need;
	const uint8_t *destination = frame->head;
	const uint8_t *source = frame->head + ETHER_ADDRESS_SIZE;

	if (frame->size < ETHER_HEADER_SIZE)
		return DROP_RUNT;
	if (!frame_check_header(frame, &need))
		return DROP_BAD_HEADER;
	if (!fits(frame, policy->max_frame))
		return DROP_OVERSIZE;
	if (is_group_address(source) || is_zero_address(source))
		return DROP_BAD_SOURCE;
	if (policy->mac_lock && !owns_address(policy, source))
		return DROP_MAC_LOCK;
	if (!classify_vlan(policy, frame, info))
		return DROP_VLAN;
	if (is_reserved_address(destination))
		return DROP_RESERVED;
	return DELIVERED;
}

static bool storm_allows(struct port_storm *storm, uint32_t limit, uint32_t now)
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
		next = same ? seen + 1 : (uint64_t)now << 32 | 1;
	} while (!atomic_compare_exchange_weak_explicit(
		&storm->second_and_count, &seen, next, memory_order_relaxed, memory_order_relaxed
	));
	return true;
}

/* ---- lookup ---- */

/* Neighbouring frames often have the same address: look each run up once. n > 0. */
static void lookup_runs(
	struct worker *worker,
	const mac_key *keys,
	const uint8_t *indices,
	unsigned n,
	int32_t *positions
)
{
	mac_key distinct[VL_BURST_MAX];
	int32_t found[VL_BURST_MAX];
	uint8_t run_of[VL_BURST_MAX];
	unsigned runs = 1;

	distinct[0] = keys[0];
	run_of[0] = 0;
	for (unsigned i = 1; i < n; i++) {
		if (distinct[runs - 1] != keys[i])
			distinct[runs++] = keys[i];
		run_of[i] = (uint8_t)(runs - 1);
	}
	mac_table_lookup(worker->sw->macs, distinct, runs, found);
	for (unsigned i = 0; i < n; i++)
		positions[indices[i]] = found[run_of[i]];
}

static void look_up(struct worker *worker, struct port *source, unsigned n)
{
	mac_key sources[VL_BURST_MAX], destinations[VL_BURST_MAX];
	int32_t source_positions[VL_BURST_MAX], positions[VL_BURST_MAX];
	uint8_t indices[VL_BURST_MAX];
	unsigned admitted = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct vl_frame *frame = &worker->frames[i];
		const struct frame_info *info = &worker->infos[i];

		if (info->drop)
			continue;
		destinations[admitted] = mac_key_make(frame->head, info->vlan);
		sources[admitted] = mac_key_make(frame->head + ETHER_ADDRESS_SIZE, info->vlan);
		indices[admitted++] = (uint8_t)i;
	}
	if (admitted == 0)
		return;
	lookup_runs(worker, sources, indices, admitted, source_positions);
	lookup_runs(worker, destinations, indices, admitted, positions);
	for (unsigned k = 0; k < admitted; k++) {
		unsigned i = indices[k];
		struct frame_info *info = &worker->infos[i];

		if (k == 0 || sources[k] != sources[k - 1])
			mac_table_learn(
				worker->sw->macs,
				sources[k],
				source_positions[i],
				source->id,
				worker->now
			);
		info->destination = PORT_NONE;
		if (!is_group_address(worker->frames[i].head) && positions[i] != MAC_UNKNOWN)
			info->destination =
				(uint16_t)mac_table_port(worker->sw->macs, positions[i]);
	}
}

/* ---- delivery ---- */

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
	struct counters *counters = &worker->counters[port->id];
	bool shared = worker->sw->settings.worker_count > 1;
	unsigned done = 0, sent = 0;
	uint64_t bytes = 0;
	int results[VL_BURST_MAX];

	if (shared)
		rte_spinlock_lock(&port->tx_locks[queue]);
	while (done < n) {
		done += port->ops->copy_in(
			port,
			queue,
			(const struct vl_frame *const *)&frames[done],
			n - done,
			&results[done]
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
	for (unsigned i = 0; i < done; i++) {
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

/* Spread frames over the queues of a port, by flow. */
static void
deliver(struct worker *worker,
	struct port *port,
	struct vl_frame *const *frames,
	unsigned n,
	unsigned retries)
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

/* Make a frame look as a port wants it; false if that would let a tag below choose the VLAN. */
static bool retag(const struct port_policy *policy, struct vl_frame *frame, struct frame_info *info)
{
	bool tagged = info->vlan != policy->vlan && info->vlan != 0;
	const uint8_t *inner = frame->head + ETHER_HEADER_SIZE + 2;

	if (info->tagged == tagged)
		return true;
	if (tagged) {
		uint16_t priority = (uint16_t)(info->tci & ~VLAN_ID_MASK);

		frame_push_vlan(frame, priority | info->vlan);
	} else {
		if (load_be16(inner) == ETHERTYPE_VLAN_TAG)
			return false;
		frame_pop_vlan(frame);
	}
	info->tagged = tagged;
	return true;
}

/* DELIVERED if a frame from `source` may leave through a port of this policy, or why not. The
 * frame looks as the port wants it then. */
static int make_leave(
	const struct port_policy *source,
	const struct port_policy *policy,
	struct vl_frame *frame,
	struct frame_info *info
)
{
	if (source->isolate != 0 && source->isolate == policy->isolate)
		return DROP_ISOLATED;
	if (!carries_vlan(policy, info->vlan) || !retag(policy, frame, info))
		return DROP_VLAN;
	if (!fits(frame, policy->max_frame))
		return DROP_TOO_LARGE;
	return DELIVERED;
}

static const struct port_policy *policy_of(struct port *port)
{
	return atomic_load_explicit(&port->policy, memory_order_acquire);
}

static void deliver_groups(struct worker *worker)
{
	for (unsigned g = 0; g < worker->group_count; g++) {
		struct group *group = &worker->groups[g];

		worker->group_of[group->port->id] = 0;
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
      struct frame_info *info)
{
	const struct switch_state *sw = worker->sw;
	unsigned ports = atomic_load_explicit(
		&((struct switch_state *)sw)->port_count, memory_order_relaxed
	);
	unsigned copies = 0;

	if (!storm_allows(&source->storm, source_policy->storm_limit, worker->now)) {
		drop(worker, source->id, DROP_STORM);
		return;
	}
	for (unsigned id = 0, seen = 0; id < PORTS_MAX && seen < ports; id++) {
		struct port *port = switch_port(sw, id);

		if (port == NULL)
			continue;
		seen++;
		if (port == source || port->ops->tx_queues(port) == 0)
			continue;
		const struct port_policy *policy = policy_of(port);
		int verdict = make_leave(source_policy, policy, frame, info);
		if (verdict == DROP_ISOLATED || verdict == DROP_VLAN)
			continue; /* not for this port at all */
		copies++;
		if (verdict != DELIVERED) {
			drop(worker, port->id, (enum drop_reason)verdict);
			continue;
		}
		deliver(worker, port, &frame, 1, 0);
	}
	if (copies == 0)
		drop(worker, source->id, DROP_NO_DESTINATION);
	else
		count(&worker->counters[source->id].rx_replicated, copies - 1);
}

/* Put a frame into its destination's group, or drop it. */
static void group_frame(
	struct worker *worker,
	struct port *source,
	const struct port_policy *source_policy,
	struct vl_frame *frame,
	struct frame_info *info
)
{
	struct port *port = switch_port(worker->sw, info->destination);

	if (port == source) {
		drop(worker, source->id, DROP_SAME_PORT);
		return;
	}
	if (port == NULL) {
		drop(worker, source->id, DROP_NO_DESTINATION);
		return;
	}
	const struct port_policy *policy = policy_of(port);
	int verdict = make_leave(source_policy, policy, frame, info);
	if (verdict != DELIVERED) {
		drop(worker, port->id, (enum drop_reason)verdict);
		return;
	}
	uint16_t *group_of = &worker->group_of[port->id];
	if (*group_of == 0) {
		worker->groups[worker->group_count].port = port;
		worker->groups[worker->group_count].count = 0;
		*group_of = (uint16_t)++worker->group_count;
	}
	struct group *group = &worker->groups[*group_of - 1];
	group->frames[group->count++] = frame;
}

void forward_burst(struct worker *worker, struct port *source, unsigned n)
{
	struct counters *counters = &worker->counters[source->id];
	const struct port_policy *policy = policy_of(source);
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++) {
		struct vl_frame *frame = &worker->frames[i];
		int verdict = admit(policy, frame, &worker->infos[i]);

		bytes += frame->size;
		worker->infos[i].drop = verdict != DELIVERED;
		if (verdict != DELIVERED)
			count(&counters->drops[verdict], 1);
	}
	count(&counters->rx_frames, n);
	count(&counters->rx_bytes, bytes);
	look_up(worker, source, n);
	for (unsigned i = 0; i < n; i++) {
		struct vl_frame *frame = &worker->frames[i];
		struct frame_info *info = &worker->infos[i];

		if (info->drop)
			continue;
		if (info->destination != PORT_NONE) {
			group_frame(worker, source, policy, frame, info);
			continue;
		}
		deliver_groups(worker);
		flood(worker, source, policy, frame, info);
	}
	deliver_groups(worker);
}
