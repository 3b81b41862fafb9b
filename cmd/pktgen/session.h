/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One run of virtlane-pktgen: ports, threads and phases, led by the main thread, and what is left
 * of it when it has ended.
 */
#pragma once

#include <stdbool.h>

#include "pktgen/ports.h"
#include "pktgen/worker.h"

enum {
	SESSION_FAILURES_MAX = 8,
};

struct session {
	const struct pktgen_options *options;
	struct traffic *traffic;
	struct port ports[PKTGEN_PORTS_MAX];
	struct run run;
	struct duty *duties; /* in the order of the threads */
	unsigned duty_count;
	struct worker *workers;
	unsigned worker_count; /* started */
	bool interrupted;
	uint64_t reconnects, away_ns; /* back ends that came back; the longest time until then */
	/* Sentences that say why the run failed; malloc()ed. */
	char *failures[SESSION_FAILURES_MAX];
	unsigned failure_count;
};

/* Open ports, make traffic and duties. What goes wrong is said. */
enum pktgen_exit session_open(struct session *session, const struct pktgen_options *options);
/* From the first phase to the last. */
enum pktgen_exit session_run(struct session *session);
void session_close(struct session *session);

void session_add_failure(struct session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
