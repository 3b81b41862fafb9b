/* SPDX-License-Identifier: BSD-3-Clause */
/* Time that passes while the machine runs. */
#pragma once

#include <stdint.h>
#include <time.h>

/* Nanoseconds of the monotonic clock, which all processes of the machine share. */
static inline int64_t clock_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
