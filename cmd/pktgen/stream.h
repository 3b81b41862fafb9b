/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What frames are filled with: one stream of pseudo-random bytes, of which each frame gets a piece.
 * Sender and receiver know from a frame's flow and sequence number which piece; so a frame is
 * filled with one copy, checked with one comparison, and its checksum is a difference of two sums.
 */
#pragma once

#include <stdint.h>
#include <string.h>

enum {
	STREAM_PIECES = 4096,  /* places where a piece may begin, */
	STREAM_PIECE_STEP = 8, /* so many bytes apart */
	STREAM_SIZE = STREAM_PIECES * STREAM_PIECE_STEP + 65536,
};

struct stream {
	uint8_t bytes[STREAM_SIZE];
	uint32_t sums[STREAM_SIZE / 2 + 1]; /* of the 16-bit words in front */
};

void stream_fill(struct stream *stream, uint32_t seed);

/* Where the piece of a frame begins: a multiple of STREAM_PIECE_STEP. */
static inline uint32_t stream_place(uint32_t flow, uint32_t sequence)
{
	uint32_t mixed = (sequence + flow * 0x85ebca6bu) * 0x9e3779b1u;

	return (mixed >> 20) * STREAM_PIECE_STEP;
}

/*
 * The Internet checksum's sum (RFC 1071) is the same in any byte order as long as words are loaded
 * and the result is stored in the same one; here it is the machine's.
 */
static inline uint16_t sum_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static inline uint64_t sum_bytes(const uint8_t *bytes, uint32_t size)
{
	uint64_t sum = 0;
	uint16_t word;

	for (; size >= 2; size -= 2, bytes += 2) {
		memcpy(&word, bytes, 2);
		sum += word;
	}
	if (size > 0) {
		word = 0;
		memcpy(&word, bytes, 1);
		sum += word;
	}
	return sum;
}

/* sum_bytes() of a piece, without looking at all of it. */
static inline uint64_t stream_sum(const struct stream *stream, uint32_t place, uint32_t size)
{
	uint32_t end = place + (size & ~1u);

	return stream->sums[end / 2] - stream->sums[place / 2]
	       + sum_bytes(stream->bytes + end, size & 1);
}
