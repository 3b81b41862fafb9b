/* SPDX-License-Identifier: BSD-3-Clause */
/* Rates of ports, from two results of the method stats. */
#pragma once

#include <jansson.h>

struct port_rates {
	const char *name;				      /* of the newer result's JSON */
	double rx_frames, rx_bits, tx_frames, tx_bits, drops; /* a second */
	const char *drop_reason; /* the one that most frames were dropped for; "" if none */
};

/* One for each port of `now`, malloc()ed, in the order of the ports; *count says how many. */
struct port_rates *cli_rates(const json_t *before, const json_t *now, size_t *count);
/* Their sum. */
struct port_rates cli_rates_total(const struct port_rates *rates, size_t count);

enum {
	RATE_TEXT_SIZE = 16,
};
/* "0", "640", "1.23M", "45.6k": at most five characters. Returns `text`. */
const char *cli_format_rate(double rate, char text[RATE_TEXT_SIZE]);
