/* SPDX-License-Identifier: BSD-3-Clause */
/* The line that says how a run goes while it does. */
#pragma once

#include <stdint.h>

#include "pktgen/session.h"

struct live {
	uint64_t interval_ns; /* 0: no line */
	uint64_t next_ns;     /* when the next one is due */
	bool terminal;	      /* it replaces the last one */
	uint64_t begin_ns, last_ns;
	struct vl_driver_stats last[PKTGEN_PORTS_MAX];
};

/* The sum over the pairs of a port. */
struct vl_driver_stats live_port_stats(const struct session *session, unsigned port);

void live_begin(struct live *live, const struct session *session);
/* Print it if it is due. */
void live_tick(struct live *live, const struct session *session, uint64_t now_ns);
void live_end(const struct live *live);
