/* SPDX-License-Identifier: BSD-3-Clause */
/* Moving bytes out of and into lists of pieces of memory. */
#pragma once

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

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
 * memcpy() for what comes at a frame's head: up to 64 bytes, most often just that. Two overlapping
 * pieces cover any size between the one and the double of them.
 */
static inline void bytes_copy_head(void *to, const void *from, size_t size)
{
	uint8_t *out = to;
	const uint8_t *in = from;

	if (size == 64) {
		memcpy(out, in, 64);
	} else if (size >= 32 && size < 64) {
		uint8_t first[32], last[32];

		memcpy(first, in, 32);
		memcpy(last, in + size - 32, 32);
		memcpy(out, first, 32);
		memcpy(out + size - 32, last, 32);
	} else {
		memcpy(out, in, size);
	}
}

/* memcpy() for the rest of a frame; inline for what is shorter than the call is dear. */
static inline void bytes_copy(void *to, const void *from, size_t size)
{
	uint8_t *out = to;
	const uint8_t *in = from;
	size_t done = 0;

	if (size < 64 || size > 512) {
		memcpy(out, in, size);
		return;
	}
	for (; done + 64 <= size; done += 64)
		memcpy(out + done, in + done, 64);
	memcpy(out + size - 64, in + size - 64, 64);
}

/* The virtio-net header, of 12 or 10 bytes, of a frame in one buffer that asks for nothing. Written
 * only if another stands there: a line that the driver reads and nobody writes stays in both
 * caches. */
static inline void header_put_plain(void *to, size_t size)
{
	const uint64_t low = 0;
	const uint32_t high = size == 12 ? 1 << 16 : 0; /* num_buffers */
	const size_t high_size = size == 12 ? 4 : 2;
	uint64_t low_there;
	uint32_t high_there = 0;

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
