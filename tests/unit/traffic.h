/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames for tests: made up from seeds, sent by a guest's driver, taken from it, and built by hand
 * for vl_device_copy_in(). */
#pragma once

#include "front.h"

/* A small generator that is the same everywhere (xorshift64*). */
struct random {
	uint64_t state; /* not 0 */
};
uint64_t random_next(struct random *random);
static inline uint32_t random_below(struct random *random, uint32_t limit)
{
	return (uint32_t)(random_next(random) >> 32) % limit;
}

/* Bytes that tell their place and their frame. */
void pattern_fill(uint8_t *bytes, size_t size, uint64_t seed);

/* The Internet checksum as RFC 1071 words it, a word after the other, the last one padded; 0xffff
 * for a sum of 0. */
uint16_t traffic_checksum(const uint8_t *bytes, size_t size);

/* ---- the driver's side ---- */

enum {
	TRAFFIC_CUTS_MAX = 32,
};
/* How a buffer is cut into descriptors: sizes of the first ones, the rest is in the last. */
struct cuts {
	unsigned count;
	uint32_t sizes[TRAFFIC_CUTS_MAX];
};

/* Make a header and a frame available on a ring. The chain's cookie is its guest address. */
void traffic_send(
	struct front *front,
	unsigned ring,
	const struct vl_net_header *header,
	const void *frame,
	uint32_t size,
	const struct cuts *cuts,
	enum guest_form form
);
/* The usual: no offloads, one descriptor. */
void traffic_send_plain(struct front *front, unsigned ring, const void *frame, uint32_t size);

/* Make a chain available whose memory is the caller's: header and data in a descriptor each. */
void traffic_add(
	struct front *front,
	unsigned ring,
	uint64_t address,
	uint32_t size,
	bool writable,
	enum guest_form form
);

/* Post `count` receive buffers of `size` bytes. */
void traffic_post(
	struct front *front,
	unsigned ring,
	unsigned count,
	uint32_t size,
	const struct cuts *cuts,
	enum guest_form form
);
/* What the driver got next, of one or several buffers: *header, and the frame in `bytes`. Returns
 * the frame's size; -1: nothing. Checks what every driver relies on: num_buffers and lengths. */
int64_t traffic_receive(
	struct front *front, unsigned ring, struct vl_net_header *header, uint8_t *bytes, size_t max
);

/* ---- the device's side ---- */

/* A frame as a port hands it to copy_in. */
struct built_frame {
	struct vl_frame frame;
	struct iovec tail[TRAFFIC_CUTS_MAX + 1];
};
/* The head gets `head_size` bytes, the tail is cut. `bytes` has to stay. */
void frame_build(
	struct built_frame *built,
	const uint8_t *bytes,
	uint32_t size,
	uint32_t head_size,
	const struct cuts *cuts
);
/* Copy one frame in and flush; VL_DELIVERED..., or -1 if there was no buffer. */
int traffic_deliver(struct front *front, unsigned pair, const struct built_frame *built);

/* What comes of a pair, and is given back: 0: nothing, else the byte that the one frame is made of.
 */
uint8_t traffic_take_marked(struct front *front, unsigned pair, uint32_t size);

/* All bytes of a borrowed frame. */
void frame_flatten(const struct vl_frame *frame, uint8_t *bytes);
