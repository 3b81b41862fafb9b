/* SPDX-License-Identifier: BSD-3-Clause */
/* Running a test for each kind of ring. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "guest.h"

struct variant {
	const char *name; /* "packed, EVENT_IDX" */
	bool packed, event_idx;
	enum guest_form form; /* of chains */
};

struct variant_test {
	const char *name;
	/* *state is the const struct variant * */
	CMUnitTestFunction run;
};
#define VARIANT_TEST(function)      \
	{                           \
#function, function \
	}

/* {split, packed} x {without, with EVENT_IDX} x {chained, indirect}: as main()'s result. */
int run_for_all_rings(const char *group, const struct variant_test *tests, unsigned count);
/* {split, packed}, chained, without EVENT_IDX. */
int run_for_layouts(const char *group, const struct variant_test *tests, unsigned count);

/* The virtio features of a variant. */
uint64_t variant_features(const struct variant *variant);
