/* SPDX-License-Identifier: BSD-3-Clause */
/* Telling systemd how the daemon is, as sd_notify(3) does. */
#pragma once

/* Send `state`, for example "READY=1", if somebody asked for it ($NOTIFY_SOCKET). */
void notify_send(const char *state);
/* The daemon reads its configuration again; ends with READY=1. */
void notify_reloading(void);
