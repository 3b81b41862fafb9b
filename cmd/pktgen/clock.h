/* SPDX-License-Identifier: BSD-3-Clause */
/* Time in ns, cycles of the processor, and when frames are due. */
#pragma once

#include <stdint.h>
#include <time.h>

/* A clock that all programs of the machine share, so that one may stamp and another compare. */
static inline uint64_t clock_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Of the time stamp counter, which counts at one speed whatever the core does; on processors
 * without one, nanoseconds. */
static inline uint64_t clock_cycles(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t count;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
	return count;
#else
	return clock_ns();
#endif
}

/*
 * When frames are due, in ns / 2^16. What was due and could not be sent stays due: a sender that
 * was held up catches up, and its frames are stamped with the time when they should have gone.
 * (Otherwise a stall would slow the sender down and hide from the figures: coordinated omission.)
 */
struct pace {
	uint64_t next;	   /* when the next frame is due; wraps after three days */
	uint64_t interval; /* 0: not paced, always due */
};

static inline void pace_start(struct pace *pace, uint64_t now_ns)
{
	pace->next = now_ns << 16;
}

/* How many frames are due, up to max. */
static inline unsigned pace_due(const struct pace *pace, uint64_t now_ns, unsigned max)
{
	uint64_t now = now_ns << 16;
	uint64_t next = pace->next;
	unsigned count = 0;

	for (; count < max && (int64_t)(now - next) >= 0; count++)
		next += pace->interval;
	return count;
}

static inline void pace_take(struct pace *pace, unsigned count)
{
	pace->next += count * pace->interval;
}

/* ns until the next frame is due; 0: it is. */
static inline uint64_t pace_wait_ns(const struct pace *pace, uint64_t now_ns)
{
	int64_t left = (int64_t)(pace->next - (now_ns << 16));

	return left > 0 ? (uint64_t)left >> 16 : 0;
}
