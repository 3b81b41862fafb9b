/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer can cut the file of its memory short while we have it mapped. Touching what is gone then
 * raises SIGBUS. The handler puts empty memory of our own in the place, so that the thread goes
 * on (with zeros, which the rings' checks deal with), and notes the address: the control thread
 * finds out whose it was and ends that session. Nobody else notices.
 */
#pragma once

#include <stddef.h>

/* Install the handler for the process. */
void sigbus_install(void);
/* The address of a fault that was not asked for yet, or NULL. Control thread only. */
void *sigbus_next(void);
