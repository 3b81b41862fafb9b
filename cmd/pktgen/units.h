/* SPDX-License-Identifier: BSD-3-Clause */
/* What people write on the command line of virtlane-pktgen: numbers with units, sizes of frames. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* "10k", "1.5M", "10G": a positive number with a decimal unit. */
bool units_parse_scaled(const char *text, double *out);
/* Seconds: "2", "0.5", "500ms". Not negative. */
bool units_parse_seconds(const char *text, double *out);

/* The sizes of frames in the order in which they are sent, over and over. */
struct frame_sizes {
	uint32_t *schedule; /* bytes, without FCS */
	unsigned count;
	uint32_t min, max;
	double mean;
};

enum {
	FRAME_SIZE_MAX = 65535 + 18, /* an IP packet with an Ethernet header and a VLAN tag */
};

/*
 * A list of N (bytes), N:WEIGHT, FIRST-LAST[:STEP] and "imix", separated by commas. Ranges and
 * sizes without a weight come one after the other; weighted ones are mixed evenly. NULL: fine,
 * schedule is malloc()ed; otherwise what is wrong with it.
 */
const char *units_parse_sizes(const char *text, struct frame_sizes *out);
