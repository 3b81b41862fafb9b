/* SPDX-License-Identifier: BSD-3-Clause */
/* What has to be done to a running switch so that it becomes the wanted one. */
#pragma once

#include <stddef.h>

#include "control/config.h"

enum change_action {
	CHANGE_DELETE,
	CHANGE_REPLACE, /* delete, then add: a setting differs that cannot change live */
	CHANGE_SET,
	CHANGE_ADD,
	CHANGE_SWITCH,	/* a setting of the switch that can change live */
	CHANGE_RESTART, /* a setting of the switch that needs a new daemon */
};

struct change {
	enum change_action action;
	const struct config_port *from;		   /* NULL: add, or of the switch */
	const struct config_port *to;		   /* NULL: delete, or of the switch */
	const struct switch_settings *switch_from; /* of the switch only */
	const struct switch_settings *switch_to;
	char *text; /* one line for people: "set port vm1: vlan none -> 10" */
};

struct config_diff {
	size_t count;
	struct change *changes;
};

/* The changes point into `running` and `wanted`, which must outlive them. */
struct config_diff *config_diff_new(const struct config *running, const struct config *wanted);
void config_diff_free(struct config_diff *diff);

/* "add", "delete", "replace", "set", "switch", "restart". */
const char *change_action_name(enum change_action action);
/* The port's name; NULL for the switch. */
const char *change_port(const struct change *change);
/* The line of the file that wants it; 0 if there is none. */
unsigned change_line(const struct change *change);
