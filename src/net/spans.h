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

/* memcpy(), inline for the sizes that nearly every frame has: a header and a full head. */
static inline void spans_copy(void *to, const void *from, size_t size)
{
	if (size == 64)
		memcpy(to, from, 64);
	else if (size == 12)
		memcpy(to, from, 12);
	else
		memcpy(to, from, size);
}

/* Copy the next `size` bytes to `to`; the caller knows that there are as many (if there were fewer,
 * it would end with them). */
static inline void spans_get(struct span_cursor *cursor, void *to, size_t size)
{
	uint8_t *out = to;

	while (size > 0 && cursor->count > 0) {
		size_t piece = cursor->span->iov_len < size ? cursor->span->iov_len : size;

		spans_copy(out, cursor->span->iov_base, piece);
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

		spans_copy(cursor->span->iov_base, in, piece);
		spans_advance(cursor, piece);
		in += piece;
		size -= piece;
	}
}
