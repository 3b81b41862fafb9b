/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking at received frames that carry a probe (frames.h): how long they took, and with
 * verification whether every byte behind the Ethernet addresses is right. Frames without a probe of
 * ours are somebody else's and only counted.
 *
 * For each flow the receiver remembers the number after the highest that it has seen, and which of
 * the 64 before it have come: a number above leaves a gap, one below fills it or has come before.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtlane/driver.h"

#include "pktgen/frames.h"
#include "pktgen/gaps.h"
#include "pktgen/histogram.h"

struct check_counts {
	uint64_t frames;     /* ours, corrupt ones included */
	uint64_t foreign;    /* not ours */
	uint64_t corrupt;    /* some byte is wrong */
	uint64_t duplicates; /* had come before */
	uint64_t reordered;  /* came behind a later one of their flow */
	int64_t missing;     /* numbers that were skipped and have not come since */
};

struct flow_track {
	uint64_t next;	 /* 0: none has come */
	uint64_t window; /* bit n: next - 1 - n has come */
};

struct receiver {
	const struct traffic *traffic;
	int from; /* port that sends; -1: another program, whose first number is not known */
	uint16_t magic;
	bool verify;
	unsigned flow_count;
	struct flow_track *tracks; /* of one port's flows after the other's */
	uint8_t *scratch;	   /* for frames of several buffers */
	struct check_counts counts;
	struct histogram latency; /* ns */
	struct gaps gaps;
	char fault[200]; /* the first corrupt frame, for people */
};

/* -ENOMEM. */
int receiver_open(
	struct receiver *receiver,
	const struct traffic *traffic,
	const struct pktgen_options *options,
	int from
);
void receiver_close(struct receiver *receiver);
/* Forget everything. */
void receiver_restart(struct receiver *receiver, uint16_t magic);

/* Look at what vl_driver_rx_burst() returned at `now_ns`. */
void receiver_check(
	struct receiver *receiver,
	const struct vl_driver_frame *frames,
	unsigned count,
	uint64_t now_ns
);
