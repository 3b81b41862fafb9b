/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DPDK's environment (EAL) in this process: for NICs and DMA devices alone, since its start takes
 * longer than all else that a switch does before its first frame.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Without huge pages, devices or files. Again is fine. Control thread. */
int eal_start(struct error *error);
/* Whether it has been. Any thread. */
bool eal_runs(void);
