/* SPDX-License-Identifier: BSD-3-Clause */
/* Configurations as data and as text, see config.h. Reading an INI file is in config_parse.c. */
#include "control/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config *config_new(void)
{
	struct config *config = calloc(1, sizeof(*config));

	if (config == NULL)
		abort();
	switch_settings_default(&config->sw);
	return config;
}

void config_free(struct config *config)
{
	if (config == NULL)
		return;
	free(config->ports);
	free(config);
}

struct config_port *config_add_port(struct config *config, const struct port_settings *settings)
{
	struct config_port *ports =
		reallocarray(config->ports, config->port_count + 1, sizeof(*ports));

	if (ports == NULL)
		abort();
	config->ports = ports;
	ports += config->port_count++;
	ports->line = 0;
	ports->settings = *settings;
	return ports;
}

const struct config_port *config_find_port(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->port_count; i++) {
		if (strcmp(config->ports[i].settings.name, name) == 0)
			return &config->ports[i];
	}
	return NULL;
}

int config_check_host(const struct config *config, struct config_errors *errors)
{
	size_t before = errors->count;
	struct error error;

	if (switch_settings_check_host(&config->sw, &error) != 0)
		config_errors_add(errors, config->workers_line, &error);
	for (size_t i = 0; i < config->port_count; i++) {
		if (port_settings_check_host(&config->ports[i].settings, &error) != 0)
			config_errors_add(errors, config->ports[i].line, &error);
	}
	return errors->count == before ? 0 : -EINVAL;
}

/* Errors are found out of order (a section's as a whole at its end), people read them in order. */
void config_errors_add(struct config_errors *errors, unsigned line, const struct error *error)
{
	size_t at = errors->count++;

	if (at >= CONFIG_ERRORS_MAX)
		return;
	for (; at > 0 && errors->list[at - 1].line > line; at--)
		errors->list[at] = errors->list[at - 1];
	errors->list[at].line = line;
	errors->list[at].error = *error;
	/* a sentence may quote the file: nothing but text goes to a terminal, a log or JSON */
	for (char *c = errors->list[at].error.text; *c != '\0'; c++) {
		if (*c < ' ' || *c > '~')
			*c = '?';
	}
}

char *config_errors_format(const struct config_errors *errors, const char *file)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		abort();
	for (size_t i = 0; i < errors->count && i < CONFIG_ERRORS_MAX; i++)
		(void)fprintf(
			out,
			"%s%s:%u: %s",
			i > 0 ? "\n" : "",
			file,
			errors->list[i].line,
			errors->list[i].error.text
		);
	if (errors->count > CONFIG_ERRORS_MAX)
		(void
		)fprintf(out, "\n%s: and %zu more errors", file, errors->count - CONFIG_ERRORS_MAX);
	if (fclose(out) != 0)
		abort();
	return text;
}

/* Write what differs from the defaults; `always` is written in any case. */
static void write_settings(
	FILE *out,
	const struct setting *table,
	const void *settings,
	const void *defaults,
	const char *always
)
{
	for (; table->name != NULL; table++) {
		char *text;

		if (setting_equal(table, settings, defaults) && strcmp(table->name, always) != 0)
			continue;
		text = setting_format(table, settings);
		(void)fprintf(out, "%s = %s\n", table->name, text);
		free(text);
	}
}

char *config_format(const struct config *config)
{
	struct switch_settings switch_defaults;
	struct port_settings port_defaults;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		abort();
	switch_settings_default(&switch_defaults);
	port_settings_default(&port_defaults);
	(void)fprintf(out, "[switch]\n");
	write_settings(out, switch_setting_table, &config->sw, &switch_defaults, "workers");
	for (size_t i = 0; i < config->port_count; i++) {
		(void)fprintf(out, "\n[port %s]\n", config->ports[i].settings.name);
		write_settings(
			out, port_setting_table, &config->ports[i].settings, &port_defaults, "kind"
		);
	}
	if (fclose(out) != 0)
		abort();
	return text;
}
