/* SPDX-License-Identifier: BSD-3-Clause */
/* Unix stream sockets in the file system, with paths of any length. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

struct socket_owner {
	uid_t uid; /* (uid_t)-1: as it is */
	gid_t gid; /* (gid_t)-1: as it is */
	mode_t mode;
};

/*
 * A non-blocking listening socket at `path`, made with its final mode. A socket that is there
 * already is taken over if nobody answers on it. -EADDRINUSE: somebody does; -EEXIST: something
 * that is no socket is there; -ENAMETOOLONG.
 */
int unix_listen(const char *path, const struct socket_owner *owner, struct error *error);

/* A non-blocking connected socket; -errno of connect(), explained. */
int unix_connect(const char *path, struct error *error);
