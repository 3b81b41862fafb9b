/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the control socket is, and making it. */
#pragma once

#include "base/error.h"

#define CONTROL_SOCKET_DEFAULT "/run/virtlane/control.sock"

/*
 * Returns a listening, non-blocking socket at `path` that its owner and group may connect to, or
 * -errno. Its directory is made if it is missing (one level). A socket that a dead daemon left is
 * taken over; that of a living one, or a file of another kind, is not.
 */
int control_socket_listen(const char *path, struct error *error);
