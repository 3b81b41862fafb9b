/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of forwarding: what its files have of each other.
 *
 *	forward.c   a burst: look up, group, flood
 *	admit.c     which frames may enter, and which belong together
 *	deliver.c   copying to a port: queues, retries, cutting and putting together
 *	wire.c      cross-connected ports
 */
#pragma once

#include "net/frame.h"
#include "net/segment.h"
#include "switch/state.h"

enum {
	SEGMENTS_MAX = 1024, /* of a frame: more would be work without end for little */
	SEGMENTED_MAX = PORT_FRAME_MAX + 4 * VLAN_TAG_SIZE, /* bytes of a frame with GSO */
};

static inline void
drop(struct worker *worker, unsigned port, enum drop_reason reason, uint64_t frames)
{
	count(&worker->counters[port].drops[reason], frames);
}

static inline void
count_received(struct worker *worker, const struct port *source, unsigned frames, uint64_t bytes)
{
	struct counters *counters = &worker->counters[source->id];

	count(&counters->rx_frames, frames);
	count(&counters->rx_bytes, bytes);
}

static inline bool is_wired(const struct port_policy *policy)
{
	return policy->cross_connect[0] != '\0';
}

static inline const struct port_policy *policy_of(struct port *port)
{
	return atomic_load_explicit(&port->policy, memory_order_acquire);
}

/* Of addresses as mac_key_make() has them: the first byte is lowest. */
static inline bool is_group_address(mac_key mac)
{
	return mac & 1;
}

/* VLAN 0 stands for "untagged, and the port has no VLAN of its own for that". */
static inline bool carries_vlan(const struct port_policy *policy, uint16_t vlan)
{
	if (policy->vlan != 0 && (vlan == 0 || vlan == policy->vlan))
		return vlan != 0;
	return policy->trunk && ((policy->trunk_vlans[vlan / 64] >> (vlan % 64)) & 1);
}

/* Whether what is on the wire in the end is short enough. */
static inline bool fits(const struct vl_frame *frame, uint32_t max_frame)
{
	if (frame->header.gso_type == VL_GSO_NONE)
		return frame->size <= max_frame;
	/* A fragment has UDP's header, which hdr_len counts, among its gso_size bytes. */
	uint32_t counted = frame->header.gso_type == VL_GSO_UDP ? UDP_HEADER_SIZE : 0;
	return frame->size <= SEGMENTED_MAX
	       && (uint32_t)frame->header.hdr_len + frame->header.gso_size <= max_frame + counted;
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

/* Whether a frame has to be cut for a port. */
static inline bool is_to_be_cut(const struct port *port, const struct vl_frame *frame)
{
	return frame->header.gso_type != VL_GSO_NONE && !port->ops->accepts(port, &frame->header);
}

/* ---- admit.c ---- */

/* DELIVERED if the frame may enter as far as it alone is asked, or why not. */
int admit_frame(
	const struct port *source, const struct port_policy *policy, struct vl_frame *frame
);
/* The same as far as its Ethernet header is asked, which begins a run. */
int admit_run(const struct port_policy *policy, struct vl_frame *frame, struct run *run);
/* Drop what may not enter from `source`, and divide the rest into runs. */
void admit_burst(
	struct worker *worker,
	const struct port *source,
	const struct port_policy *policy,
	unsigned n
);

/* ---- deliver.c ---- */

/* Copy frames to a port, as it takes them; those that it has no buffers for are dropped in the end.
 */
void deliver(
	struct worker *worker,
	struct port *port,
	struct vl_frame *const *frames,
	unsigned n,
	unsigned retries
);
void deliver_count(
	struct worker *worker,
	const struct port *port,
	struct vl_frame *const *frames,
	const int *results,
	unsigned n
);
/* DELIVERED if a frame can be cut into segments that are short enough. */
int deliver_begin_cut(
	const struct port_policy *policy, struct segmenter *segmenter, const struct vl_frame *frame
);

/* ---- wire.c ---- */

/* As forward_burst(), for a port that is cross-connected. */
unsigned forward_wired(
	struct worker *worker,
	struct port *source,
	const struct port_policy *policy,
	unsigned queue,
	unsigned n,
	struct port_wire *wire
);
