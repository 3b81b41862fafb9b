/* SPDX-License-Identifier: BSD-3-Clause */
/* The histogram of virtlane-pktgen: how far a percentile may be off, merging, overflow. */
#include "pktgen/histogram.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum {
	VALUES = 20000,
};

static struct histogram histogram, other;
static uint64_t values[VALUES];

static int empty(void **)
{
	memset(&histogram, 0, sizeof(histogram));
	memset(&other, 0, sizeof(other));
	return 0;
}

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a;
	uint64_t right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

static void an_empty_histogram_says_zero(void **)
{
	assert_int_equal(histogram_percentile(&histogram, 50), 0);
	assert_true(histogram_mean(&histogram) == 0);
	histogram_merge(&histogram, &other);
	assert_int_equal(histogram.count, 0);
}

static void small_values_are_exact(void **)
{
	for (uint64_t value = 0; value < 128; value++) {
		empty(NULL);
		histogram_record(&histogram, value);
		/* So that the maximum does not tell. */
		histogram_record(&histogram, 1 << 20);
		assert_int_equal(histogram_percentile(&histogram, 50), value);
	}
}

/* Around every power of two and every bucket's edge that lies near one. */
static void one_value_is_off_by_at_most_a_64th(void **)
{
	for (unsigned bit = 7; bit < HISTOGRAM_VALUE_BITS; bit++) {
		for (int64_t step = -130; step <= 130; step++) {
			int64_t around = (INT64_C(1) << bit) + step * (INT64_C(1) << bit >> 7);
			uint64_t value = (uint64_t)around;
			uint64_t said;

			if (value >> HISTOGRAM_VALUE_BITS)
				continue;
			empty(NULL);
			histogram_record(&histogram, value);
			histogram_record(&histogram, UINT64_C(1) << HISTOGRAM_VALUE_BITS);
			said = histogram_percentile(&histogram, 50);
			assert_true(said >= value);
			assert_true(said - value <= value / 64);
		}
	}
}

static void buckets_are_in_order_and_have_no_gap(void **)
{
	unsigned last = 0;

	for (uint64_t value = 0; value < UINT64_C(1) << 20; value++) {
		unsigned bucket = histogram_bucket(value);

		assert_true(bucket == last || bucket == last + 1);
		last = bucket;
	}
	assert_int_equal(
		histogram_bucket((UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1), HISTOGRAM_BUCKETS - 1
	);
}

static void percentiles_are_those_of_the_sorted_values(void **)
{
	static const double percents[] = {0, 1, 25, 50, 90, 99, 99.9, 99.99, 100};
	uint64_t state = 88172645463325252;
	uint64_t sum = 0;

	for (unsigned i = 0; i < VALUES; i++) {
		/* From nanoseconds to minutes, each magnitude as often. */
		values[i] = random_next(&state) >> (28 + random_next(&state) % 32);
		histogram_record(&histogram, values[i]);
		sum += values[i];
	}
	qsort(values, VALUES, sizeof(values[0]), compare);
	for (unsigned i = 0; i < COUNT_OF(percents); i++) {
		unsigned rank = (unsigned)(VALUES * percents[i] / 100);
		uint64_t truth = values[rank > 0 ? rank - 1 : 0];
		uint64_t said = histogram_percentile(&histogram, percents[i]);

		assert_true(said >= truth);
		assert_true(said - truth <= truth / 64);
	}
	assert_int_equal(histogram.min, values[0]);
	assert_int_equal(histogram.max, values[VALUES - 1]);
	assert_int_equal(histogram_percentile(&histogram, 100), values[VALUES - 1]);
	assert_true(histogram_mean(&histogram) == (double)sum / VALUES);
}

static void merging_is_as_if_recorded_in_one(void **)
{
	static struct histogram whole;
	uint64_t state = 42;

	memset(&whole, 0, sizeof(whole));
	for (unsigned i = 0; i < VALUES; i++) {
		uint64_t value = random_next(&state) >> 22;

		histogram_record(&whole, value);
		histogram_record(i % 3 == 0 ? &histogram : &other, value);
	}
	histogram_merge(&histogram, &other);
	assert_memory_equal(&histogram, &whole, sizeof(whole));
	empty(NULL);
	histogram_merge(&histogram, &whole);
	assert_memory_equal(&histogram, &whole, sizeof(whole));
}

static void values_too_large_count_and_keep_the_maximum(void **)
{
	for (unsigned i = 0; i < 9; i++)
		histogram_record(&histogram, 1000);
	histogram_record(&histogram, UINT64_C(1) << HISTOGRAM_VALUE_BITS);
	histogram_record(&histogram, UINT64_C(1) << 62);
	assert_int_equal(histogram.count, 11);
	assert_int_equal(histogram.overflow, 2);
	assert_int_equal(histogram.max, UINT64_C(1) << 62);
	assert_in_range(histogram_percentile(&histogram, 80), 1000, 1000 + 1000 / 64);
	assert_int_equal(histogram_percentile(&histogram, 99), UINT64_C(1) << 62);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_empty_histogram_says_zero, empty),
		cmocka_unit_test_setup(small_values_are_exact, empty),
		cmocka_unit_test_setup(one_value_is_off_by_at_most_a_64th, empty),
		cmocka_unit_test_setup(buckets_are_in_order_and_have_no_gap, empty),
		cmocka_unit_test_setup(percentiles_are_those_of_the_sorted_values, empty),
		cmocka_unit_test_setup(merging_is_as_if_recorded_in_one, empty),
		cmocka_unit_test_setup(values_too_large_count_and_keep_the_maximum, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
