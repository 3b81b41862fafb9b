/* SPDX-License-Identifier: BSD-3-Clause */
/* Telling systemd how the daemon is, as sd_notify(3) does. */
#pragma once

#include <stdbool.h>

/* Send `state`, for example "READY=1", if somebody asked for it ($NOTIFY_SOCKET). */
void notify_send(const char *state);
/* The same with a descriptor, which stays the caller's (-1: none), and waiting for room, 100 ms at
 * most. False: nobody asked for it, or it could not be sent. */
bool notify_send_fd(const char *state, int fd);
/* Return when all that was sent has been handled, or after a second. */
void notify_barrier(void);
/* The daemon reads its configuration again; ends with READY=1. */
void notify_reloading(void);
