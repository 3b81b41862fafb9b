/* SPDX-License-Identifier: BSD-3-Clause */
/* The loops that move frames. */
#pragma once

#include "pktgen/worker.h"

/* Move frames until the phase is another one. */
void loops_run(struct worker *worker, enum phase phase);
/* After a round in which nothing moved, with --no-poll: sleep if there was nothing for a while. */
void loops_rest(struct worker *worker, bool sending);
