/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens to a burst of frames: admitted or dropped at the port they came from, looked up
 * together, grouped by destination, and copied once to where they go. Neighbours with the same
 * Ethernet header, a run, are decided on together.
 *
 * Order. Frames of a flow keep their order: a group holds the frames of one destination in the
 * order they came, and a frame that has to be flooded waits until all before it are delivered.
 *
 * Decisions use the head of a frame, which was fetched once; the same bytes are then sent. The
 * policy of a port is loaded once a burst, so all frames of a burst are judged alike.
 */
#include "net/too_large.h"
#include "switch/forward.h"

enum {
	RETRIES = 3,	   /* for a receiver without buffers */
	ANSWERS_MAX = 100, /* a second, about frames that are too large */
};

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

/* ---- groups ---- */

/* DELIVERED if frames of a VLAN from `source` may leave through a port of this policy. */
static int
may_leave(const struct port_policy *source, const struct port_policy *policy, uint16_t vlan)
{
	if (source->isolate != 0 && source->isolate == policy->isolate)
		return DROP_ISOLATED;
	return carries_vlan(policy, vlan) ? DELIVERED : DROP_VLAN;
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
	admit_burst(worker, source, policy, n);
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

/* From a driver that sends though its link is down. */
static unsigned forward_nowhere(struct worker *worker, struct port *source, unsigned n)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += worker->frames[i].size;
	count_received(worker, source, n, bytes);
	drop(worker, source->id, DROP_PORT_DOWN, n);
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
	if (policy->link_down)
		return forward_nowhere(worker, source, n);
	return is_wired(policy) ? forward_wired(worker, source, policy, queue, n, wire)
				: forward_bridged(worker, source, policy, n);
}
