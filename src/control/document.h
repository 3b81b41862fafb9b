/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's state as a document (base/handover.h), for a process that comes after this one: what
 * upgrade.h hands over, and fd_store.h leaves behind.
 *
 * Documents have a version; who gets one that it does not know refuses. Fields that are not known
 * are ignored, so that adding some needs no new version.
 */
#pragma once

#include "base/handover.h"
#include "control/config.h"

struct switch_state;

void document_begin(struct handover *document);
/* -EPROTO: it is of another version. */
int document_check(const struct handover *document, struct error *error);

/* Configuration and log levels. */
void document_put_settings(struct handover *document, const struct switch_state *sw);
/* NULL, and an explanation. */
struct config *document_get_config(const struct handover *document, struct error *error);
void document_get_log_levels(const struct handover *document);

/* The ports of `config` that came along, and counters. See switch_load_port(). */
int document_load_ports(
	struct switch_state *sw,
	const struct config *config,
	struct handover *document,
	bool orphaned,
	struct error *error
);
/* The others. */
void document_make_others(struct switch_state *sw, const struct config *config);
