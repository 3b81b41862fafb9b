/* SPDX-License-Identifier: BSD-3-Clause */
/* The speed of the time stamp counter, see tsc.h. */
#include "switch/tsc.h"

#include <rte_cycles.h>
#include <time.h>

uint64_t tsc_measured_hz;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_RAW, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void tsc_measure(void)
{
	static const struct timespec pause = {.tv_nsec = 2000000};
	uint64_t ns = now_ns(), cycles = rte_rdtsc();

	if (tsc_measured_hz != 0)
		return;
	nanosleep(&pause, NULL);
	ns = now_ns() - ns;
	cycles = rte_rdtsc() - cycles;
	tsc_measured_hz = (uint64_t)((double)cycles * 1e9 / (double)ns);
}
