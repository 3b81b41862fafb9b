/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer can cut the file of its memory short while we have it mapped. Touching what is gone then
 * raises SIGBUS. The handler replaces that whole mapping, and no other, by empty memory of our own,
 * so that the thread goes on (with zeros, which the checks of the rings deal with), and notes its
 * owner: the control thread ends that session. Nobody else notices.
 *
 * The handler knows mappings from a table that control fills before a worker can see them. A
 * SIGBUS anywhere else is an error of our own and ends the process.
 */
#pragma once

#include <stddef.h>

/* Install the handler for the process. */
void sigbus_install(void);
/* Know a mapping and its owner. Without room in the table it is not contained. Control thread. */
void sigbus_watch(void *start, size_t size, void *owner);
/* Forget it, and what was noted of it, before it is unmapped. Control thread. */
void sigbus_unwatch(void *start);
/* The owner of a mapping that was lost and not asked for yet, or NULL. Control thread. */
void *sigbus_next(void);
