/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Internet checksum (RFC 1071), also while bytes are copied.
 *
 * Bytes are summed up as they lie in memory: the sum of words is the same in either order of bytes,
 * but for the order of its own (RFC 1071, 2 (B)). So a folded sum is stored by memcpy(), and
 * nothing is swapped on the way. A sum is a number of 64 bits that has to be folded; it has room
 * for frames of any size.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Four sums of words of 32 bits, which the processor adds together. */
typedef uint64_t sum_lanes __attribute__((vector_size(32)));

/* Copy and sum up; `copy` is constant. */
static inline __attribute__((always_inline)) uint64_t
sum_body(uint8_t *to, const uint8_t *from, size_t size, const bool copy)
{
	sum_lanes sums = {0};
	uint64_t sum = 0;
	size_t done = 0;

	for (; done + sizeof(sums) <= size; done += sizeof(sums)) {
		sum_lanes words;

		memcpy(&words, from + done, sizeof(words));
		if (copy)
			memcpy(to + done, &words, sizeof(words));
		sums += (words & UINT32_MAX) + (words >> 32);
	}
	/* Below 2^63 each: no frame has so many words. */
	for (unsigned i = 0; i < sizeof(sums) / sizeof(sums[0]); i++)
		sum += (sums[i] & UINT32_MAX) + (sums[i] >> 32);
	for (; done + 4 <= size; done += 4) {
		uint32_t word;

		memcpy(&word, from + done, sizeof(word));
		if (copy)
			memcpy(to + done, &word, sizeof(word));
		sum += word;
	}
	uint32_t rest = 0; /* padded with zeros */
	memcpy(&rest, from + done, size - done);
	if (copy)
		memcpy(to + done, &rest, size - done);
	return sum + rest;
}

static inline uint64_t bytes_sum(const void *from, size_t size)
{
	return sum_body(NULL, from, size, false);
}

static inline uint64_t bytes_copy_and_sum(void *to, const void *from, size_t size)
{
	return sum_body(to, from, size, true);
}

/* 16 bits, as they lie in memory; not yet complemented. */
static inline uint16_t sum_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)sum;
}

/* What is to be added for bytes that begin at an odd place of what is summed up. */
static inline uint64_t sum_odd(uint64_t sum)
{
	return __builtin_bswap16(sum_fold(sum));
}

/* The checksum of what was summed up. A UDP sum of zero means "none" (RFC 768); for TCP both
 * encodings of zero are equal. */
static inline uint16_t sum_finish(uint64_t sum)
{
	uint16_t result = (uint16_t)~sum_fold(sum);

	return result == 0 ? UINT16_MAX : result;
}
