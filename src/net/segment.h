/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cutting large frames for a receiver that takes no segmentation offload (VIRTIO 1.3, 5.1.6.2): TCP
 * (TSO, IPv4 and IPv6, with ECN), UDP in datagrams of their own (USO) and in IP fragments (UFO).
 *
 * A segment is a frame like any other: its head, the headers rebuilt, lies in the batch; its tail
 * is pieces of the large frame's own payload, which is so copied once, to where it goes. Its
 * checksum is partial, as the large one's was: a receiver that takes those gets it so, for others
 * it is computed on the way (fragments have none: the datagram's is computed here, before it is
 * cut).
 *
 * The headers are fetched once, all of them; what is checked is what the segments get. What is
 * behind them belongs to a peer and is only ever copied and summed up.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtlane/frame.h"

enum {
	SEGMENT_HEADERS_MAX = 192, /* bytes: Ethernet, tags, IPv6 with some extensions, TCP */
	SEGMENT_BATCH = VL_BURST_MAX,
	SEGMENT_SPANS = 2048, /* pieces in a batch: those of any frame, and one more a segment */
};

/* Where a large frame is being cut. */
struct segmenter {
	const struct vl_frame *frame;
	uint8_t headers[SEGMENT_HEADERS_MAX]; /* those of the first segment */
	uint16_t ip, l4;		      /* offsets in them */
	uint16_t size;			      /* bytes of headers that every segment has */
	uint16_t first_size; /* the same of the first: fragments have UDP's there */
	bool ip6;
	uint8_t kind;		/* VL_GSO_*, without ECN */
	uint8_t csum_offset;	/* from l4 */
	uint16_t step;		/* bytes behind `size` in each segment but the last */
	uint32_t done, total;	/* of these */
	unsigned index;		/* of the next segment */
	uint32_t piece, offset; /* the next payload: in the head (0) or a piece of the tail */
};

struct segment_batch {
	unsigned count;
	uint32_t spans_used;
	struct vl_frame frames[SEGMENT_BATCH];
	uint8_t heads[SEGMENT_BATCH][VL_HEAD_ROOM + SEGMENT_HEADERS_MAX];
	struct iovec spans[SEGMENT_SPANS];
};

/* Begin to cut a frame whose virtio-net header was checked (frame_check_header()). False: its
 * headers are none that can be cut. The frame has to stay until the last segment is made. */
bool segmenter_begin(struct segmenter *segmenter, const struct vl_frame *frame);
/* The next segments, in their order; false: there are none any more. The batch is filled anew. */
bool segmenter_next(struct segmenter *segmenter, struct segment_batch *batch);
/* Bytes of the largest segment's frame. */
uint32_t segmenter_frame_size(const struct segmenter *segmenter);
