/* SPDX-License-Identifier: BSD-3-Clause */
/* The speed of the time stamp counter, see tsc.h. */
#include "switch/tsc.h"

#include <rte_cycles.h>
#include <time.h>

#include "base/clock.h"

uint64_t tsc_measured_hz;

void tsc_measure(void)
{
	static const struct timespec pause = {.tv_nsec = 2000000};
	int64_t ns = clock_now_ns();
	uint64_t cycles = rte_rdtsc();

	if (tsc_measured_hz != 0)
		return;
	nanosleep(&pause, NULL);
	ns = clock_now_ns() - ns;
	cycles = rte_rdtsc() - cycles;
	tsc_measured_hz = (uint64_t)((double)cycles * 1e9 / (double)ns);
}
