/* SPDX-License-Identifier: BSD-3-Clause */
/* How fast the time stamp counter (rte_rdtsc()) counts: DPDK's word for that takes a tenth of a
 * second on many machines, and all of EAL. */
#pragma once

#include <stdint.h>

extern uint64_t tsc_measured_hz;

/* Takes 2 ms. Before workers start. */
void tsc_measure(void);

static inline uint64_t tsc_hz(void)
{
	return tsc_measured_hz;
}
