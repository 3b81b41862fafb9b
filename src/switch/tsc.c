/* SPDX-License-Identifier: BSD-3-Clause */
/* The speed of the time stamp counter, see tsc.h. */
#include "switch/tsc.h"

#include <rte_cycles.h>
#include <time.h>

#include "base/clock.h"

uint64_t tsc_measured_hz;

struct moment {
	int64_t ns;
	uint64_t cycles;
};

/* Somebody else may have the CPU between two looks, so the closest of several count. */
static struct moment read_both(void)
{
	enum { TRIES = 8 };
	uint64_t closest = UINT64_MAX;
	struct moment best = {0};

	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t before = rte_rdtsc();
		int64_t ns = clock_now_ns();
		uint64_t distance = rte_rdtsc() - before;

		if (distance >= closest)
			continue;
		closest = distance;
		best = (struct moment){ns, before + distance / 2};
	}
	return best;
}

void tsc_measure(void)
{
	static const struct timespec pause = {.tv_nsec = 1000000};
	enum { LEAST_NS = 2000000 };
	const struct moment begin = read_both();
	struct moment end;

	if (tsc_measured_hz != 0)
		return;
	do {
		nanosleep(&pause, NULL);
		end = read_both();
	} while (end.ns - begin.ns < LEAST_NS);
	tsc_measured_hz =
		(uint64_t)((double)(end.cycles - begin.cycles) * 1e9 / (double)(end.ns - begin.ns));
}
