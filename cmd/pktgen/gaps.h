/* SPDX-License-Identifier: BSD-3-Clause */
/* The longest times between two bursts that were received: for how long nothing came. */
#pragma once

#include <stdint.h>

enum { GAPS_KEPT = 64 };

struct gaps {
	uint64_t last_ns;		/* of the last burst; 0: none has come */
	uint64_t longest_ns[GAPS_KEPT]; /* longest first */
};

static inline void gaps_insert(struct gaps *gaps, uint64_t gap_ns)
{
	unsigned at = GAPS_KEPT - 1;

	if (gap_ns <= gaps->longest_ns[at])
		return;
	for (; at > 0 && gaps->longest_ns[at - 1] < gap_ns; at--)
		gaps->longest_ns[at] = gaps->longest_ns[at - 1];
	gaps->longest_ns[at] = gap_ns;
}

static inline void gaps_note(struct gaps *gaps, uint64_t now_ns)
{
	if (gaps->last_ns != 0)
		gaps_insert(gaps, now_ns - gaps->last_ns);
	gaps->last_ns = now_ns;
}

static inline void gaps_merge(struct gaps *to, const struct gaps *from)
{
	for (unsigned i = 0; i < GAPS_KEPT; i++)
		gaps_insert(to, from->longest_ns[i]);
}
