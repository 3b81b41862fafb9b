/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's log: standard error, one line a message, with journald's `<N>` priority in front
 * when standard error is not a terminal. Any thread may log; a line is one write().
 * Not for libvirtlane: that reports by return values and callbacks.
 */
#pragma once

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_COUNT,
};

enum log_subject {
	LOG_SWITCH,
	LOG_PORT,
	LOG_VHOST,
	LOG_CONTROL,
	LOG_SUBJECT_COUNT,
};

/* One message; `format` without a final newline. */
void log_write(enum log_subject subject, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
#define log_error(subject, ...) log_write(subject, LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(subject, ...) log_write(subject, LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(subject, ...) log_write(subject, LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(subject, ...) log_write(subject, LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Set the level of one subject, or of all with LOG_SUBJECT_COUNT. Default: info. */
void log_set_level(enum log_subject subject, enum log_level level);
enum log_level log_get_level(enum log_subject subject);

/* Names as people write them; the parsers return false for anything else. */
const char *log_level_name(enum log_level level);
const char *log_subject_name(enum log_subject subject);
bool log_level_parse(const char *name, enum log_level *out);
bool log_subject_parse(const char *name, enum log_subject *out); /* "all": LOG_SUBJECT_COUNT */
