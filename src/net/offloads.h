/* SPDX-License-Identifier: BSD-3-Clause */
/* Which feature bits stand for which offload (VIRTIO 1.3, 5.1.3). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* VL_OFFLOAD_* that feature bits 0 to 63 stand for: those for what a driver takes, or for what it
 * sends. */
uint32_t offloads_of_features(uint64_t features, bool driver_takes);
/* The feature bits of VL_OFFLOAD_*, in both directions. */
uint64_t offloads_to_features(uint32_t offloads);
