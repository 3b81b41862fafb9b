/* SPDX-License-Identifier: BSD-3-Clause */
/* The stream that frames are filled with, see stream.h. */
#include "pktgen/stream.h"

#include <assert.h>

static_assert(STREAM_PIECES == 1 << 12, "stream_place() keeps 12 bits");
/* 16-bit words of a whole stream must not overflow their sum. */
static_assert((uint64_t)STREAM_SIZE / 2 * UINT16_MAX <= UINT32_MAX, "sums have 32 bits");

/* SplitMix64: any seed is as good as any other. */
static uint64_t next_word(uint64_t *state)
{
	uint64_t word = *state += 0x9e3779b97f4a7c15u;

	word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
	word = (word ^ word >> 27) * 0x94d049bb133111ebu;
	return word ^ word >> 31;
}

void stream_fill(struct stream *stream, uint32_t seed)
{
	uint64_t state = seed;

	for (uint32_t i = 0; i < STREAM_SIZE; i += 8) {
		uint64_t word = next_word(&state);

		/* In one byte order, for receivers on other machines. */
		for (uint32_t j = 0; j < 8; j++)
			stream->bytes[i + j] = (uint8_t)(word >> 8 * j);
	}
	for (uint32_t i = 0; i < STREAM_SIZE / 2; i++) {
		uint16_t word;

		memcpy(&word, stream->bytes + (size_t)2 * i, 2);
		stream->sums[i + 1] = stream->sums[i] + word;
	}
}
