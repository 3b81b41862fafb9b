/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Telling the sender of a frame that it is too large for where it goes, as a router would (RFC 792
 * and RFC 1191 for IPv4 with DF; RFC 4443, 3.2, for IPv6). A switch has no address of its own: the
 * answer seems to come from the receiver.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtlane/frame.h"

enum {
	TOO_LARGE_QUOTE_MAX = 112,  /* bytes of the frame, from its beginning */
	TOO_LARGE_ANSWER_MAX = 160, /* bytes */
};

/* Make the answer to a frame. `mtu`: bytes of IP packets that fit. `bytes` is where it is made, of
 * TOO_LARGE_ANSWER_MAX; *answer refers to it. False: this frame gets none. */
bool frame_answer_too_large(
	const struct vl_frame *frame, uint32_t mtu, uint8_t *bytes, struct vl_frame *answer
);
