/* SPDX-License-Identifier: BSD-3-Clause */
/* Moving bytes out of and into lists of pieces of memory. */
#pragma once

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

#include "virtlane/frame.h"

/* A place in a list of pieces. */
struct span_cursor {
	struct iovec *span; /* the piece it is in; its base and length move on with the cursor */
	uint32_t count;	    /* pieces left, this one included */
};

static inline void spans_advance(struct span_cursor *cursor, size_t size)
{
	cursor->span->iov_base = (uint8_t *)cursor->span->iov_base + size;
	cursor->span->iov_len -= size;
	if (cursor->span->iov_len == 0) {
		cursor->span++;
		cursor->count--;
	}
}

/*
 * memcpy() of fewer than 64 bytes, without a branch a size where the processor can mask bytes. Else
 * two overlapping pieces cover any size between the one and the double of them.
 */
static inline void bytes_copy_short(void *to, const void *from, size_t size)
{
#if defined(__AVX512BW__)
	__mmask64 mask = _bzhi_u64(UINT64_MAX, (unsigned)size);

	_mm512_mask_storeu_epi8(to, mask, _mm512_maskz_loadu_epi8(mask, from));
#else
	uint8_t *out = to;
	const uint8_t *in = from;

#define BYTES_COPY_TWICE(piece)                            \
	do {                                               \
		uint8_t first[piece], last[piece];         \
                                                           \
		memcpy(first, in, piece);                  \
		memcpy(last, in + size - (piece), piece);  \
		memcpy(out, first, piece);                 \
		memcpy(out + size - (piece), last, piece); \
	} while (0)

	if (size >= 32)
		BYTES_COPY_TWICE(32);
	else if (size >= 16)
		BYTES_COPY_TWICE(16);
	else if (size >= 8)
		BYTES_COPY_TWICE(8);
	else if (size >= 4)
		BYTES_COPY_TWICE(4);
	else if (size >= 2)
		BYTES_COPY_TWICE(2);
	else if (size == 1)
		*out = *in;
#undef BYTES_COPY_TWICE
#endif
}

/* memcpy() for what comes at a frame's head: up to 64 bytes, most often just that. */
static inline void bytes_copy_head(void *to, const void *from, size_t size)
{
	if (size == 64)
		memcpy(to, from, 64);
	else if (size < 64)
		bytes_copy_short(to, from, size);
	else
		memcpy(to, from, size);
}

/* memcpy() for the rest of a frame; inline for what is shorter than the call is dear. */
static inline void bytes_copy(void *to, const void *from, size_t size)
{
	uint8_t *out = to;
	const uint8_t *in = from;
	size_t done = 0;

	if (size < 64) {
		bytes_copy_short(to, from, size);
		return;
	}
	if (size > 512) {
		memcpy(out, in, size);
		return;
	}
	for (; done + 64 <= size; done += 64)
		memcpy(out + done, in + done, 64);
	memcpy(out + size - 64, in + size - 64, 64);
}

/* The virtio-net header, of 12 or 10 bytes, of a frame in one buffer. Written only if another
 * stands there: a line that the driver reads and nobody writes stays in both caches. Flags are
 * those of the mask. */
static inline void
header_put(void *to, const struct vl_net_header *header, uint8_t flags_mask, size_t size)
{
	const size_t high_size = size == 12 ? 4 : 2;
	uint64_t low, low_there;
	uint32_t high = header->csum_offset, high_there = 0;

	if (size == 12)
		high |= UINT32_C(1) << 16; /* num_buffers */
	memcpy(&low, header, sizeof(low));
	low &= UINT64_MAX << 8 | flags_mask; /* flags come first: little endian */
	memcpy(&low_there, to, sizeof(low_there));
	memcpy(&high_there, (const uint8_t *)to + 8, high_size);
	if (low == low_there && high == high_there)
		return;
	memcpy(to, &low, sizeof(low));
	memcpy((uint8_t *)to + 8, &high, high_size);
}

/* Copy the next `size` bytes to `to`; the caller knows that there are as many (if there were fewer,
 * it would end with them). */
static inline void spans_get(struct span_cursor *cursor, void *to, size_t size)
{
	uint8_t *out = to;

	while (size > 0 && cursor->count > 0) {
		size_t piece = cursor->span->iov_len < size ? cursor->span->iov_len : size;

		memcpy(out, cursor->span->iov_base, piece);
		spans_advance(cursor, piece);
		out += piece;
		size -= piece;
	}
}

/* Copy `size` bytes from `from` to the next place. */
static inline void spans_put(struct span_cursor *cursor, const void *from, size_t size)
{
	const uint8_t *in = from;

	while (size > 0 && cursor->count > 0) {
		size_t piece = cursor->span->iov_len < size ? cursor->span->iov_len : size;

		memcpy(cursor->span->iov_base, in, piece);
		spans_advance(cursor, piece);
		in += piece;
		size -= piece;
	}
}

/* spans_get() of a virtio-net header, and of a head: nearly always in one piece. */
static inline void spans_get_header(struct span_cursor *cursor, void *to, size_t size)
{
	if (cursor->span->iov_len < size) {
		spans_get(cursor, to, size);
		return;
	}
	memcpy(to, cursor->span->iov_base, size == 12 ? 12 : 10);
	spans_advance(cursor, size);
}

static inline void spans_get_head(struct span_cursor *cursor, void *to, size_t size)
{
	if (cursor->span->iov_len < size) {
		spans_get(cursor, to, size);
		return;
	}
	bytes_copy_head(to, cursor->span->iov_base, size);
	spans_advance(cursor, size);
}
