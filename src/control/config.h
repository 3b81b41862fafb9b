/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A configuration: what a switch and its ports should be, as read from an INI file or as a running
 * switch has it. Reading checks everything that can be known from the text; nothing here touches
 * the switch (see config_apply.h for that).
 */
#pragma once

#include <stddef.h>

#include "control/settings.h"

struct config_port {
	unsigned line; /* of its section; 0: not from a file */
	struct port_settings settings;
};

struct config {
	unsigned workers_line; /* 0: not said in a file */
	struct switch_settings sw;
	size_t port_count;
	struct config_port *ports;
};

enum {
	CONFIG_ERRORS_MAX = 20,
};

/* What is wrong with a file, in order of lines. */
struct config_errors {
	size_t count; /* those beyond CONFIG_ERRORS_MAX are counted, not kept */
	struct {
		unsigned line;
		struct error error;
	} list[CONFIG_ERRORS_MAX];
};

/* A configuration without ports, all of the switch's settings at their defaults. */
struct config *config_new(void);
void config_free(struct config *config);
/* Copies `settings` in. Returns the new port; valid until the next one is added. */
struct config_port *config_add_port(struct config *config, const struct port_settings *settings);
const struct config_port *config_find_port(const struct config *config, const char *name);

/* NULL if anything is wrong. `errors` is large: keep it off the stack. */
struct config *config_parse(const char *text, struct config_errors *errors);
/* Whether this machine can have it; adds to `errors`. Returns 0 or -EINVAL. */
int config_check_host(const struct config *config, struct config_errors *errors);
void config_errors_add(struct config_errors *errors, unsigned line, const struct error *error);
/* "FILE:LINE: SENTENCE", a line each without a final newline. malloc()ed. */
char *config_errors_format(const struct config_errors *errors, const char *file);

/* Text that parses back to the same configuration. malloc()ed. */
char *config_format(const struct config *config);
