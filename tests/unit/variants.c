/* SPDX-License-Identifier: BSD-3-Clause */
/* See variants.h. */
#include "variants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtlane/features.h"

static const struct variant all_rings[] = {
	{"split, chained", false, false, GUEST_CHAINED},
	{"split, indirect", false, false, GUEST_INDIRECT},
	{"split, EVENT_IDX, chained", false, true, GUEST_CHAINED},
	{"split, EVENT_IDX, indirect", false, true, GUEST_INDIRECT},
	{"packed, chained", true, false, GUEST_CHAINED},
	{"packed, indirect", true, false, GUEST_INDIRECT},
	{"packed, EVENT_IDX, chained", true, true, GUEST_CHAINED},
	{"packed, EVENT_IDX, indirect", true, true, GUEST_INDIRECT},
};

static const struct variant layouts[] = {
	{"split", false, false, GUEST_CHAINED},
	{"packed", true, false, GUEST_CHAINED},
};

int run_for_each(
	const char *group,
	const struct variant_test *tests,
	unsigned test_count,
	const void *variants,
	size_t variant_size,
	unsigned variant_count
)
{
	unsigned total = test_count * variant_count;
	struct CMUnitTest *all = calloc(total, sizeof(*all));
	char(*names)[128] = calloc(total, sizeof(*names));

	if (all == NULL || names == NULL)
		abort();
	for (unsigned i = 0; i < total; i++) {
		const char *variant = (const char *)variants + i % variant_count * variant_size;
		const struct variant_test *test = &tests[i / variant_count];
		const char *name;

		memcpy(&name, variant, sizeof(name));
		(void)snprintf(names[i], sizeof(names[i]), "%s (%s)", test->name, name);
		all[i] = (struct CMUnitTest){
			.name = names[i],
			.test_func = test->run,
			.initial_state = (void *)variant,
		};
	}
	int failed = _cmocka_run_group_tests(group, all, total, NULL, NULL);
	free(names);
	free(all);
	return failed;
}

int run_for_all_rings(const char *group, const struct variant_test *tests, unsigned count)
{
	return RUN_FOR_EACH(group, tests, count, all_rings);
}

int run_for_layouts(const char *group, const struct variant_test *tests, unsigned count)
{
	return RUN_FOR_EACH(group, tests, count, layouts);
}

uint64_t variant_features(const struct variant *variant)
{
	return (variant->packed ? UINT64_C(1) << VL_F_RING_PACKED : 0)
	       | (variant->event_idx ? UINT64_C(1) << VL_F_EVENT_IDX : 0)
	       | (variant->form == GUEST_INDIRECT ? UINT64_C(1) << VL_F_INDIRECT_DESC : 0);
}
