/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Values of options that are more than a number or a word. Each function puts what `text` says into
 * `options` and returns NULL, or what should have been given instead.
 */
#pragma once

#include "pktgen/options.h"

typedef const char *value_parser(struct pktgen_options *options, const char *text);

value_parser value_mode, value_reflect, value_size, value_rate, value_bits, value_frames,
	value_source, value_destination, value_max_loss, value_cpus, value_rings, value_want,
	value_withhold, value_offload, value_mergeable, value_time, value_live;
