/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replacing the running daemon by another process, of a newer program maybe, without any peer's
 * noticing: sessions, memory and interfaces go over as descriptors.
 *
 *	old                                   new
 *	starts it, says settings        ──►   starts threads and DPDK
 *	frames flow                     ◄──   up
 *	addresses                       ──►   fills its MAC table
 *	                                ◄──   ok
 *	stops its workers, says all     ──►   maps memory, makes ports; nothing moves
 *	                                ◄──   ok
 *	go; ends                        ──►   goes on
 *
 * Until it says "go" the old one can go on, and does if anything fails or takes too long. Nothing
 * of a peer's was touched by the new one then. Once the old one has said all, the new one goes on,
 * too, if the old one dies.
 *
 * What they say to each other are documents (document.h).
 */
#pragma once

#include <jansson.h>

#include "base/error.h"

struct event_base;
struct fd_store;
struct rpc_server;
struct switch_state;
struct upgrade;

/* What an upgrade works on: borrowed. The switch and server may come to be there later. */
struct upgrade_subject {
	struct event_base *base;
	struct switch_state **sw;
	struct rpc_server **server;
	struct fd_store *store;
	const char *config; /* of struct daemon_options; NULL: none */
	const char *socket;
	const char *state_directory; /* see switch_set_state_directory() */
};

struct upgrade *upgrade_new(const struct upgrade_subject *subject);
void upgrade_free(struct upgrade *upgrade);

/* ---- old ---- */

/* Start another process of `program` (NULL: the file that this one runs). -EBUSY: one is being
 * started. What becomes of it is told by upgrade_status(). */
int upgrade_start(struct upgrade *upgrade, const char *program, struct error *error);
/* {"state": "none" | "starting" | "failed" | "done", "pid", "error"?, "gap_ms"?, "from"?}: of the
 * process that is being started, or of this one, if it is the new one. */
json_t *upgrade_status(const struct upgrade *upgrade);

/* ---- new ---- */

/* Take everything over from the process at the other end of `socket`, which is closed. Fills what
 * the subject points at. If that fails the process must end at once, by _exit(). */
int upgrade_take_over(struct upgrade *upgrade, int socket, void *rpc_context, struct error *error);
