/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket: a JSON-RPC 2.0 server on a Unix stream socket, one JSON object (or batch) a
 * line. It lives in the control thread's event loop and never blocks on a client: one that sends
 * a request of more than 1 MiB, or lets more than 16 MiB of replies wait, is dropped.
 *
 * Who may call: the socket's mode lets in its owner and group, and each caller is asked for again
 * by SO_PEERCRED (the mode does not help where the descriptor of a connection is handed on):
 * root, the daemon's own user, or a member of the group that owns the socket.
 */
#pragma once

#include "base/error.h"
#include "control/rpc_message.h"

struct event_base;
struct rpc_server;

/* `methods` and `context` are borrowed. Nobody is served before the event loop runs. `inherited`:
 * a socket that listens on the path already; -1: none does. */
int rpc_server_create(
	struct event_base *base,
	const char *path,
	int inherited,
	const struct rpc_method *methods,
	void *context,
	struct rpc_server **out,
	struct error *error
);
/* Its listening socket. */
int rpc_server_fd(const struct rpc_server *server);
/* Drops the clients and removes the socket. NULL is fine. */
void rpc_server_destroy(struct rpc_server *server);
