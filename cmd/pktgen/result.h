/* SPDX-License-Identifier: BSD-3-Clause */
/* What a run has shown, in numbers; and whether that is what was to be. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pktgen/session.h"

/* Of a port, or a sum over all. Frames and bytes of the window that counts: without warm-up and
 * drain. */
struct moved {
	uint64_t tx_frames, tx_bytes, rx_frames, rx_bytes;
	double tx_rate, rx_rate; /* frames a second */
	double tx_bits, rx_bits; /* a second */
};

struct port_result {
	struct moved moved;
	uint64_t dropped;		/* reflected frames the ring had no room for */
	uint64_t tx_full, kicks, calls; /* see struct vl_driver_stats */
	const char *broken;
};

/* From one port to another or itself: all frames that were sent in the window, however late. */
struct direction_result {
	int from; /* -1: another program */
	int to;
	bool sent_known;
	uint64_t sent, received;
	int64_t lost; /* < 0: more came than were sent */
	struct check_counts counts;
	struct histogram latency;
	struct gaps gaps;
	char fault[200];
};

struct thread_result {
	int cpu;
	uint64_t frames; /* that it sent, or where it sends none or reflects, received */
	uint64_t busy_cycles, total_cycles;
};

struct results {
	double seconds;
	struct moved total;
	struct port_result ports[PKTGEN_PORTS_MAX];
	unsigned direction_count;
	struct direction_result directions[PKTGEN_PORTS_MAX];
	unsigned thread_count;
	struct thread_result *threads;
	struct thread_result all_threads; /* their sum */
};

/* Collect what the threads noted, and judge it: session->failures gets what is wrong. NULL: there
 * is no memory. */
struct results *results_collect(struct session *session);
void results_free(struct results *results);

double result_loss_percent(const struct direction_result *direction);
/* 0 if there were no frames. */
double result_cycles_per_frame(const struct thread_result *thread);

/* One JSON object, or tables for people, on standard output. */
void results_print_json(const struct session *session, const struct results *results);
void results_print_tables(const struct session *session, const struct results *results);
