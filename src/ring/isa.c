/* SPDX-License-Identifier: BSD-3-Clause */
/* Choosing the processor level, see isa.h. */
#include "ring/isa.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_supported(enum isa isa)
{
	if (isa == ISA_PORTABLE)
		return true;
#if defined(__x86_64__)
	__builtin_cpu_init();
	/* What the compiler may use at each level; gcc 12 knows no names for the levels here. */
	bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")
		  && __builtin_cpu_supports("fma");
	if (isa == ISA_V3)
		return v3;
	return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
	       && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
	       && __builtin_cpu_supports("avx512vl");
#else
	return false;
#endif
}

int isa_choose(const char *name)
{
	static const char *const names[][ISA_COUNT] = {
		{"v2", "v3", "v4"},
		{"portable", "v3", "v4"},
	};
	const char *forced = getenv("VIRTLANE_ISA");

	if (forced != NULL && *forced != '\0')
		name = forced;
	for (int isa = ISA_COUNT - 1; isa >= 0; isa--) {
		if (name == NULL) {
			if (is_supported((enum isa)isa))
				return isa;
		} else if (strcmp(name, names[0][isa]) == 0 || strcmp(name, names[1][isa]) == 0) {
			return is_supported((enum isa)isa) ? isa : -ENOTSUP;
		}
	}
	return -EINVAL;
}

const char *isa_name(enum isa isa)
{
	static const char *const names[ISA_COUNT] = {
#if defined(__x86_64__)
		"v2",
#else
		"portable",
#endif
		"v3",
		"v4",
	};

	return names[isa];
}
