/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is left with the service manager (systemd's FDSTORE, sd_notify(3)), so that a daemon that
 * dies is followed by one that goes on with all sessions and interfaces: no peer reconnects.
 *
 * Left are a document (document.h, of a snapshot of the switch), the descriptors that it counts,
 * and a header: memory that the daemon writes and its successor reads. In it is which document
 * counts, and which ports are changing: before anything happens that would make the document wrong
 * for a port the port is marked there, in one store; soon after, with the next document, it is not
 * any more. A port that was marked when the daemon died begins afresh, and its peer reconnects, as
 * without all this.
 *
 * A state counts once: if the process that goes on with it dies before it has left one itself, the
 * next one starts afresh.
 */
#pragma once

#include <stdbool.h>

#include "base/handover.h"

struct event_base;
struct fd_store;
struct switch_state;

/* `base` and what `sw` points at are borrowed; the switch may come to be there later. */
struct fd_store *fd_store_new(struct event_base *base, struct switch_state **sw);
/* What is left stays there. NULL is fine. */
void fd_store_free(struct fd_store *store);

/* What a process that has died has left to this one, in an empty document; those that were
 * changing are marked as "stale". False: there is nothing that counts. At the start, once. */
bool fd_store_recover(struct fd_store *store, struct handover *document);
/* Leave the state of the switch from now on, kept up to date. */
void fd_store_begin(struct fd_store *store);
/* Leave nothing: this process ends because it was told to, or another one goes on. */
void fd_store_clear(struct fd_store *store);
