/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading and merging histograms, see histogram.h. */
#include "pktgen/histogram.h"

void histogram_merge(struct histogram *to, const struct histogram *from)
{
	if (from->count == 0)
		return;
	if (to->count == 0 || from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
	to->count += from->count;
	to->sum += from->sum;
	to->overflow += from->overflow;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
}

double histogram_mean(const struct histogram *histogram)
{
	return histogram->count > 0 ? (double)histogram->sum / (double)histogram->count : 0;
}

/* The largest value that falls into a bucket. */
static uint64_t bucket_end(unsigned bucket)
{
	unsigned shift = bucket >> HISTOGRAM_BITS;

	/* The first two groups of buckets, those below 128, are not shifted. */
	shift = shift > 0 ? shift - 1 : 0;
	return ((uint64_t)(bucket - (shift << HISTOGRAM_BITS) + 1) << shift) - 1;
}

/* How many values lie at or below the percentile; at least one. */
static uint64_t rank_of(uint64_t count, double percent)
{
	double exact = (double)count * percent / 100;
	uint64_t rank = (uint64_t)exact;

	if ((double)rank < exact)
		rank++;
	if (rank < 1)
		return 1;
	return rank < count ? rank : count;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
	uint64_t below = 0;
	uint64_t rank;

	if (histogram->count == 0)
		return 0;
	rank = rank_of(histogram->count, percent);
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		below += histogram->buckets[i];
		if (below >= rank) {
			uint64_t end = bucket_end(i);

			return end < histogram->max ? end : histogram->max;
		}
	}
	return histogram->max;
}
