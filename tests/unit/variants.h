/* SPDX-License-Identifier: BSD-3-Clause */
/* Running a test for each variant of its subject; above all for each kind of ring. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "guest.h"

struct variant_test {
	const char *name;
	/* *state is the variant */
	CMUnitTestFunction run;
};
#define VARIANT_TEST(function)      \
	{                           \
#function, function \
	}

/* Each test for each of the variants, whose structs begin with their name: as main()'s result. */
int run_for_each(
	const char *group,
	const struct variant_test *tests,
	unsigned test_count,
	const void *variants,
	size_t variant_size,
	unsigned variant_count
);
#define RUN_FOR_EACH(group, tests, test_count, variants) \
	run_for_each(group, tests, test_count, variants, sizeof((variants)[0]), COUNT_OF(variants))

/* ---- kinds of rings ---- */

struct variant {
	const char *name; /* "packed, EVENT_IDX" */
	bool packed, event_idx;
	enum guest_form form; /* of chains */
};

/* {split, packed} x {without, with EVENT_IDX} x {chained, indirect}: as main()'s result. */
int run_for_all_rings(const char *group, const struct variant_test *tests, unsigned count);
/* {split, packed}, chained, without EVENT_IDX. */
int run_for_layouts(const char *group, const struct variant_test *tests, unsigned count);

/* The virtio features of a variant. */
uint64_t variant_features(const struct variant *variant);
