/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's log, see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[LOG_LEVEL_COUNT] = {"error", "warning", "info", "debug"};
static const int level_priorities[LOG_LEVEL_COUNT] = {3, 4, 6, 7}; /* of syslog(3) */
static const char *const subject_names[LOG_SUBJECT_COUNT] = {"switch", "port", "vhost", "control"};

/* Level + 1, so that zero means "not set": info. */
static _Atomic int levels[LOG_SUBJECT_COUNT];

enum log_level log_get_level(enum log_subject subject)
{
	int level = atomic_load_explicit(&levels[subject], memory_order_relaxed);

	return level == 0 ? LOG_LEVEL_INFO : (enum log_level)(level - 1);
}

void log_set_level(enum log_subject subject, enum log_level level)
{
	for (int i = 0; i < LOG_SUBJECT_COUNT; i++) {
		if (subject == LOG_SUBJECT_COUNT || (int)subject == i)
			atomic_store_explicit(&levels[i], (int)level + 1, memory_order_relaxed);
	}
}

void log_write(enum log_subject subject, enum log_level level, const char *format, ...)
{
	char line[2048];
	size_t size = 0;
	va_list arguments;

	if (level > log_get_level(subject))
		return;
	if (!isatty(STDERR_FILENO))
		size = (size_t)snprintf(line, sizeof(line), "<%d>", level_priorities[level]);
	size += (size_t)snprintf(
		line + size,
		sizeof(line) - size,
		"%s: %s",
		subject_names[subject],
		level <= LOG_LEVEL_WARNING ? level_names[level] : ""
	);
	if (level <= LOG_LEVEL_WARNING)
		size += (size_t)snprintf(line + size, sizeof(line) - size, ": ");
	va_start(arguments, format);
	int written = vsnprintf(line + size, sizeof(line) - size - 1, format, arguments);
	va_end(arguments);
	if (written > 0)
		size += (size_t)written;
	if (size > sizeof(line) - 2)
		size = sizeof(line) - 2;
	line[size++] = '\n';
	/* A log that cannot be written has nowhere to complain. */
	if (write(STDERR_FILENO, line, size) < 0)
		return;
}

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

const char *log_subject_name(enum log_subject subject)
{
	return subject_names[subject];
}

bool log_level_parse(const char *name, enum log_level *out)
{
	for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

bool log_subject_parse(const char *name, enum log_subject *out)
{
	for (int i = 0; i < LOG_SUBJECT_COUNT; i++) {
		if (strcmp(name, subject_names[i]) == 0) {
			*out = (enum log_subject)i;
			return true;
		}
	}
	*out = LOG_SUBJECT_COUNT;
	return strcmp(name, "all") == 0;
}
