/* SPDX-License-Identifier: BSD-3-Clause */
/* What virtlane-pktgen is told on its command line, parsed and checked. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtlane/driver.h"

#include "pktgen/units.h"

enum {
	PKTGEN_PORTS_MAX = 2,
	PKTGEN_QUEUES_MAX = 128,
	PKTGEN_FLOWS_MAX = 1 << 20,
	PKTGEN_CPUS_MAX = PKTGEN_PORTS_MAX * PKTGEN_QUEUES_MAX,
};

enum pktgen_exit {
	PKTGEN_OK,
	PKTGEN_FAILED,	    /* the run, or a check of it */
	PKTGEN_USAGE,	    /* wrong usage */
	PKTGEN_UNCONNECTED, /* a port could not be opened */
};

enum pktgen_mode {
	MODE_SEND,
	MODE_RECEIVE,
	MODE_EXCHANGE,
	MODE_REFLECT,
};

struct pktgen_port_name {
	const char *path;
	bool listen;
};

struct pktgen_options {
	struct pktgen_port_name ports[PKTGEN_PORTS_MAX];
	unsigned port_count;

	uint32_t mode; /* enum pktgen_mode */
	bool both_ways, swap;
	uint32_t in_flight;

	const char *size_text;
	struct frame_sizes sizes;
	double rate; /* frames a second and sending port; 0: as many as go */
	double bits;
	uint32_t flows, macs, vlan, tso, seed;
	bool ip6, has_source, has_destination;
	uint8_t source[6], destination[6];

	double frames; /* to be sent by each port, or received; 0: any number */
	double time, warmup, drain, live, timeout, delay; /* seconds; time 0: no end */
	double reconnect; /* seconds to wait for a back end that has gone; 0: that ends the run */
	bool time_given, live_given;
	bool latency, verify;
	double max_loss; /* percent; < 0: any */

	uint32_t queues, threads, burst, queue_size, buffer_size;
	int cpus[PKTGEN_CPUS_MAX];
	unsigned cpu_count;
	const char *ring, *isa;
	uint32_t rings; /* enum vl_driver_rings */
	struct vl_features wanted, withheld;
	bool partial_sums; /* leave checksums to be completed */
	bool no_poll, no_announce;

	bool json, quiet;
};

/* Whether a port has to send frames, or to take those that come. */
bool pktgen_port_sends(const struct pktgen_options *options, unsigned port);
bool pktgen_port_receives(const struct pktgen_options *options, unsigned port);
/* The port that is to receive what `port` sends; -1: none here. */
int pktgen_port_opposite(const struct pktgen_options *options, unsigned port);
const char *pktgen_mode_name(uint32_t mode);

/* Fill *out. Returns true if there is something to do; otherwise *status is the exit status, and
 * what there is to say has been printed. */
bool pktgen_options_parse(
	int argc, char **argv, struct pktgen_options *out, enum pktgen_exit *status
);

/* "virtlane-pktgen: ..." on standard error; returns `code`. */
enum pktgen_exit pktgen_fail(enum pktgen_exit code, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
