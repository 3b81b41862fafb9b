/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which frames may enter at a port, decided on their heads, which were fetched once. Neighbours
 * with the same Ethernet header are a run, and asked about that once.
 */
#include <string.h>

#include "switch/forward.h"

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

int admit_frame(const struct port *source, const struct port_policy *policy, struct vl_frame *frame)
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

int admit_run(const struct port_policy *policy, struct vl_frame *frame, struct run *run)
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

void admit_burst(
	struct worker *worker,
	const struct port *source,
	const struct port_policy *policy,
	unsigned n
)
{
	struct run *run = NULL; /* that the frame before belongs to */

	worker->run_count = 0;
	for (unsigned i = 0; i < n; i++) {
		struct vl_frame *frame = &worker->frames[i];
		int verdict = admit_frame(source, policy, frame);

		if (verdict == DELIVERED && run != NULL
		    && joins(run, &worker->frames[run->first], frame)) {
			run->count++;
			continue;
		}
		run = &worker->runs[worker->run_count];
		if (verdict == DELIVERED)
			verdict = admit_run(policy, frame, run);
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
