/* SPDX-License-Identifier: BSD-3-Clause */
/* cmocka with what it needs before it, and a check for code that is not a test itself. */
#pragma once

/* cmocka 1.1 wants these before itself, in this order. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

static inline _Noreturn void check_failed(const char *what, const char *file, int line)
{
	_assert_true(0, what, file, line);
	__builtin_unreachable();
}

/* Fails the running test with the place in the helper. */
#define check(condition)                                              \
	do {                                                          \
		if (!(condition))                                     \
			check_failed(#condition, __FILE__, __LINE__); \
	} while (0)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
