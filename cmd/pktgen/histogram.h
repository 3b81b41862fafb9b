/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A histogram of durations with a bounded relative error, after HdrHistogram: each power of two is
 * cut into 64 buckets, values below 128 have one each. Recording is a shift and an increment, and
 * the size is fixed, however long it records.
 */
#pragma once

#include <stdint.h>

enum {
	HISTOGRAM_BITS = 6,	   /* buckets a power of two: 64, so an error of at most 1/64 */
	HISTOGRAM_VALUE_BITS = 40, /* larger values (18 minutes in ns) count as overflow */
	HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS,
};

struct histogram {
	uint64_t count;		/* overflow included */
	uint64_t sum, min, max; /* exact; min and max mean nothing while count is 0 */
	uint64_t overflow;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The bucket of a value below 2^HISTOGRAM_VALUE_BITS. */
static inline unsigned histogram_bucket(uint64_t value)
{
	/* The shift that leaves HISTOGRAM_BITS + 1 significant bits. */
	unsigned log = 63 - (unsigned)__builtin_clzll(value | 1);
	unsigned shift = log > HISTOGRAM_BITS ? log - HISTOGRAM_BITS : 0;

	return (shift << HISTOGRAM_BITS) + (unsigned)(value >> shift);
}

static inline void histogram_record(struct histogram *histogram, uint64_t value)
{
	if (histogram->count++ == 0 || value < histogram->min)
		histogram->min = value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->sum += value;
	if (value >> HISTOGRAM_VALUE_BITS)
		histogram->overflow++;
	else
		histogram->buckets[histogram_bucket(value)]++;
}

/* Add what `from` holds to `to`. */
void histogram_merge(struct histogram *to, const struct histogram *from);

/* 0 if there are no values. */
double histogram_mean(const struct histogram *histogram);

/*
 * The value that `percent` (0..100) of all do not exceed: never less than the true one, and at most
 * 1/64 more; the largest value recorded if it overflowed. 0 if there are no values.
 */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);
