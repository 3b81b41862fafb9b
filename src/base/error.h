/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An error for people: one sentence that says what was wrong, where, and what to do, without a
 * final full stop or newline. The same sentence goes to the reply of a command and to the log.
 */
#pragma once

enum {
	ERROR_SIZE = 512,
};

struct error {
	char text[ERROR_SIZE];
};

/* Fill `error` (NULL is fine) and return `code`, a negative errno: `return error_set(...)`. */
int error_set(struct error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
