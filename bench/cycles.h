/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the measuring programs share: the processor's constant-rate counter (the one that DPDK's
 * testpmd counts with, so that figures can be set side by side), and a CPU of one's own.
 */
#pragma once

#include <sched.h>
#include <stdint.h>

static inline uint64_t cycles_now(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t count;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
	return count;
#else
#error "no cycle counter known for this processor"
#endif
}

/* Pin the calling thread to a CPU; 0, or -1 with errno. */
static inline int pin_to_cpu(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}
