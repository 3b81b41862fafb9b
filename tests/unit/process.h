/* SPDX-License-Identifier: BSD-3-Clause */
/* What the test's own process holds, so that a test sees that nothing is left; and its clock. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

unsigned open_descriptors(void);
/* Mappings of files made by guest_memfd(), and of a driver's arenas. */
unsigned guest_mappings(void);
unsigned arena_mappings(void);

/* Processes that this one has started and not waited for; *pid is one of them. */
unsigned children(pid_t *pid);

int64_t now_ms(void);
