/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Putting TCP segments of a burst together to large frames (what Linux calls GRO), for a receiver
 * that takes those: it then goes through its stack once for all of them.
 *
 * A large frame is the first segment's headers and the payloads of all, which stay where they are.
 * It is such that cutting it again yields the segments: same headers but for what counts on,
 * sequence numbers without a gap, every segment but the last of one size. What has a bad checksum
 * is not touched, since the large frame's is made anew and would hide that.
 *
 * Frames of a flow keep their order: what cannot be put to its flow's frame ends that one. A sender
 * whose IPv4 ids do not count on (they may stay 0, RFC 6864) gets nothing put together, since
 * cutting has no such form.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtlane/frame.h"

enum {
	COALESCE_HEADERS_MAX = 128, /* bytes: Ethernet, a tag, IPv6, TCP with options */
	COALESCE_FLOWS = 8,	    /* that are put together at a time */
	COALESCE_PARTS = 4,	    /* pieces of memory of a segment's payload, at most */
};

/* A flow whose segments are being put together. */
struct coalesce_flow {
	uint8_t headers[COALESCE_HEADERS_MAX]; /* of the first segment */
	uint8_t common[COALESCE_HEADERS_MAX];  /* without what differs between segments */
	uint16_t size, ip, l4;		       /* bytes of headers; offsets */
	bool ip6;
	bool open;		/* more may be added */
	uint16_t step;		/* payload bytes of the first segment */
	uint16_t id;		/* of IPv4, of the next segment */
	uint32_t next_sequence; /* of TCP, of the next segment */
	uint32_t payload;	/* bytes so far */
	unsigned count;		/* segments so far */
	unsigned place;		/* in what comes out */
};

struct coalesce_batch {
	struct coalesce_flow flows[VL_BURST_MAX];
	unsigned flow_count;
	struct vl_frame frames[VL_BURST_MAX];
	struct iovec spans[VL_BURST_MAX * COALESCE_PARTS];
	struct iovec parts[VL_BURST_MAX][COALESCE_PARTS]; /* payload of each frame that came in */
	unsigned part_counts[VL_BURST_MAX];
	unsigned flow_of[VL_BURST_MAX]; /* of each frame that came in; VL_BURST_MAX: none */
};

/* Put the segments among `count` frames together. out[] gets what is to go on in their place,
 * frames of the batch among them; returns how many. The frames have to stay. */
unsigned frames_coalesce(
	struct coalesce_batch *batch,
	struct vl_frame *const *frames,
	unsigned count,
	struct vl_frame **out
);
