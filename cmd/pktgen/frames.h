/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building frames. What all frames have in common is laid out once (struct traffic), what those of
 * a flow have in common is in a template (struct flow) with the sums of its checksums; a frame is
 * the template, the rest of its payload, and what differs from the last one.
 *
 * With latency or verification a frame carries a probe behind its UDP or TCP header: sequence
 * number, flow and time. Little endian:
 *
 *	 0         4         8               14       16
 *	 +---------+---------+---------------+--------+----------- - -
 *	 | number  | flow    | time, ns      | magic  | piece of the stream
 *	 +---------+---------+---------------+--------+----------- - -
 *
 * The top byte of flow says which port sent it.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtlane/driver.h"

#include "pktgen/options.h"
#include "pktgen/stream.h"

enum {
	PROBE_SIZE = 16,
	PROBE_FLOW_BITS = 24,
	PROBE_STAMP_BITS = 48,
	FLOW_START_SIZE = 112, /* bytes of a frame that a template holds */
};

static inline uint64_t probe_stamp(uint64_t stamp_ns)
{
	return stamp_ns & ((UINT64_C(1) << PROBE_STAMP_BITS) - 1);
}

/* Of one size: what of a frame's headers depends on it. Lengths as they are stored. */
struct frame_shape {
	uint32_t length;
	uint32_t l4_sum; /* of the lengths, and of the payload where that is always the same */
	uint16_t ip_length, l4_length;
	struct vl_net_header header;
};

struct traffic {
	bool ip6, tcp, probes, one_size;
	bool partial;	   /* checksums are left to the device */
	bool same_payload; /* every payload begins with the stream */
	uint8_t l3_offset, l4_offset, payload_offset;
	uint16_t magic;
	uint32_t segment_size; /* 0: none are to be cut */
	unsigned shape_count;
	struct frame_shape *shapes; /* in the order in which they are sent */
	struct stream stream;
};

/* Two lines of the cache, of which short frames need the first and the end of the second. */
struct flow {
	_Alignas(64) uint8_t start[FLOW_START_SIZE];
	uint32_t ip_sum, l4_sum; /* without what depends on the size */
	uint32_t sequence;	 /* of the next frame */
	uint32_t name;		 /* in the probe */
};
static_assert(sizeof(struct flow) == 128, "a template fills two lines");

/* Who sends: one queue pair of one port, with flows of its own. */
struct sender {
	const struct traffic *traffic;
	struct flow *flows;
	unsigned flow_count, flow_next, shape_next;
	uint16_t magic; /* other than the traffic's for frames that do not count */
};

/* Lay out what `options` say. NULL: done; otherwise what is wrong with them. */
const char *traffic_open(struct traffic *traffic, const struct pktgen_options *options);
void traffic_close(struct traffic *traffic);

/* Make flows first..first+count-1 of a port. -ENOMEM. */
struct sender_address {
	unsigned port;
	uint8_t source[6], destination[6]; /* the first of `macs` each */
	uint32_t macs;
	uint32_t vlan; /* 0: no tag */
};
/* The n-th address from a first one on: they differ in the last three bytes. */
void address_count_on(uint8_t mac[6], uint32_t n);
int sender_open(
	struct sender *sender,
	const struct traffic *traffic,
	const struct sender_address *address,
	unsigned first,
	unsigned count
);
void sender_close(struct sender *sender);
/* Begin all flows and sizes anew. */
void sender_restart(struct sender *sender, uint16_t magic);

/* For sender_open(): put into the templates what depends on the size, if there is only one. */
void sender_settle(struct sender *sender);

/*
 * Fill empty buffers with the next frames. The first is due at `due` and the others `interval`
 * apart each, both in ns / 2^16; the integral part is what is stamped.
 */
void sender_build(
	struct sender *sender,
	struct vl_driver_frame *frames,
	unsigned count,
	uint64_t due,
	uint64_t interval
);
