/* SPDX-License-Identifier: BSD-3-Clause */
/* Doing something in another network namespace. */
#pragma once

#include <stdint.h>

#include "base/error.h"

/*
 * Run `act` with the calling thread in the network namespace `name` (below /run/netns; empty: the
 * one it is in), and return what it returns. -ENOENT: there is no such namespace. If the thread
 * cannot be brought back the process ends: it must not go on in a tenant's namespace.
 */
int netns_run(
	const char *name,
	int (*act)(void *context, struct error *error),
	void *context,
	struct error *error
);

/* A descriptor of a namespace, which lives on as long as it is open; of the caller's own if the
 * name is empty. And netns_run() by it. */
int netns_open(const char *name, struct error *error);
int netns_run_in(
	int fd, int (*act)(void *context, struct error *error), void *context, struct error *error
);

/* A number that tells namespaces apart that have had the same name: 0 if there is none now, or if
 * the name is empty. */
uint64_t netns_id(const char *name);
