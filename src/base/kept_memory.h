/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that outlives the process, however it ends: a file, mapped. In a directory of tmpfs (as
 * /run is) writing to it costs what writing to memory costs.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

/*
 * Map file `name` of `directory`, which is made if it is not there. What the file holds is kept if
 * it has just this size, else all is zero. NULL, and an explanation.
 */
void *kept_memory_open(const char *directory, const char *name, size_t size, struct error *error);
/* Unmap it; the file stays, or is removed, too. */
void kept_memory_close(void *memory, size_t size);
void kept_memory_remove(const char *directory, const char *name);
