/* SPDX-License-Identifier: BSD-3-Clause */
/* Between configurations and the running switch. */
#pragma once

#include "control/config_diff.h"

struct switch_state;

/* The configuration that the switch runs with: a copy. */
struct config *config_of_switch(const struct switch_state *sw);

/* From the text of a file to what has to be done. */
struct config_plan {
	struct config *wanted;	  /* NULL: the text is wrong, see errors */
	struct config *running;	  /* NULL: without a switch */
	struct config_diff *diff; /* NULL: text is wrong or no switch */
	struct config_errors errors;
};

/* Read `text` and check it, also against this machine; `sw` NULL: no more than that. */
struct config_plan *config_plan_new(const struct switch_state *sw, const char *text);
void config_plan_free(struct config_plan *plan);

/*
 * Make the changes: first what is deleted, then what is set, then what is added, so that a socket
 * or an interface may move from one port to another. If one fails, those made are taken back and
 * the switch is as it was. Refused as a whole if a setting of the switch differs. The sentence
 * begins with `file` and the line at fault.
 */
int config_plan_apply(
	const struct config_plan *plan,
	struct switch_state *sw,
	const char *file,
	struct error *error
);
