/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several descriptors at a time, in one vector of 64-bit lanes: those of even number are addresses,
 * those of odd number hold the rest. A vector is as wide as the processor level's registers: four
 * descriptors with AVX-512, two with AVX2; below that there are none (LANES is 0), since it would
 * gain nothing, and the bodies that use them are compiled for two and left out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum {
#if defined(__AVX512DQ__)
	LANES = 8,
	LANES_WIDTH = 8,
#else
#if defined(__AVX2__)
	LANES = 4,
#else
	LANES = 0,
#endif
	LANES_WIDTH = 4,
#endif
	LANES_STEP = LANES_WIDTH / 2, /* descriptors */
};

typedef uint64_t lanes __attribute__((vector_size(8 * LANES_WIDTH)));
typedef int64_t lanes_signed __attribute__((vector_size(8 * LANES_WIDTH)));
typedef uint64_t lanes_half __attribute__((vector_size(4 * LANES_WIDTH)));
typedef uint64_t lanes_one __attribute__((vector_size(16))); /* descriptor */
typedef uint32_t lanes_sizes __attribute__((vector_size(2 * LANES_WIDTH)));
typedef uint32_t lanes_lengths __attribute__((vector_size(4 * LANES_WIDTH)));
typedef uint16_t lanes_heads __attribute__((vector_size(LANES_WIDTH)));

/* From one descriptor each. */
#if defined(__AVX512DQ__)
#define LANES_FILL(even, odd) ((lanes){even, odd, even, odd, even, odd, even, odd})
#define LANES_COUNT ((lanes){0, 1, 2, 3, 4, 5, 6, 7})
#define LANES_COUNT_PAIRS ((lanes){0, 0, 1, 1, 2, 2, 3, 3})
#define LANES_EVEN(v) __builtin_shufflevector(v, v, 0, 0, 2, 2, 4, 4, 6, 6)
#define LANES_ODD(v) __builtin_shufflevector(v, v, 1, 1, 3, 3, 5, 5, 7, 7)
#define LANES_EVEN_HALF(v) __builtin_shufflevector(v, v, 0, 2, 4, 6)
#define LANES_ODD_HALF(v) __builtin_shufflevector(v, v, 1, 3, 5, 7)
#else
#define LANES_FILL(even, odd) ((lanes){even, odd, even, odd})
#define LANES_COUNT ((lanes){0, 1, 2, 3})
#define LANES_COUNT_PAIRS ((lanes){0, 0, 1, 1})
#define LANES_EVEN(v) __builtin_shufflevector(v, v, 0, 0, 2, 2)
#define LANES_ODD(v) __builtin_shufflevector(v, v, 1, 1, 3, 3)
#define LANES_EVEN_HALF(v) __builtin_shufflevector(v, v, 0, 2)
#define LANES_ODD_HALF(v) __builtin_shufflevector(v, v, 1, 3)
#endif

/* Vectors pass by reference: how they pass by value differs between levels. */

ALWAYS_INLINE void lanes_gather(lanes *out, const lanes_one *from)
{
#if defined(__AVX512DQ__)
	lanes_half low = __builtin_shufflevector(from[0], from[1], 0, 1, 2, 3);
	lanes_half high = __builtin_shufflevector(from[2], from[3], 0, 1, 2, 3);

	*out = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
#else
	*out = __builtin_shufflevector(from[0], from[1], 0, 1, 2, 3);
#endif
}

/* Whether any lane is not zero. */
ALWAYS_INLINE bool lanes_any(const lanes *v)
{
#if defined(__AVX512DQ__)
	return _mm512_test_epi64_mask((__m512i)*v, (__m512i)*v) != 0;
#elif defined(__AVX2__)
	return !_mm256_testz_si256((__m256i)*v, (__m256i)*v);
#else
	return ((*v)[0] | (*v)[1] | (*v)[2] | (*v)[3]) != 0;
#endif
}

/* Whether the top bit of any lane is set. */
ALWAYS_INLINE bool lanes_any_sign(const lanes *v)
{
#if defined(__AVX512DQ__)
	return _mm512_movepi64_mask((__m512i)*v) != 0;
#elif defined(__AVX2__)
	return _mm256_movemask_pd((__m256d)*v) != 0;
#else
	return ((*v)[0] | (*v)[1] | (*v)[2] | (*v)[3]) >> 63;
#endif
}
