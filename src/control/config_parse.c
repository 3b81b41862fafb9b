/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading a configuration file with libinih.
 *
 * inih tells its handler neither line numbers nor the beginning of a section (so an empty one
 * would go unnoticed, and two of the same name would be one), and cuts long lines silently. Its
 * reader function is ours, though: it counts lines, refuses long ones, and opens a section when it
 * passes one on. The handler then adds each `key = value` to the open section, and a section is
 * checked as a whole when the next one begins.
 */
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "control/config.h"

enum {
	LINE_SIZE_MAX = 16384, /* a trunk of every other VLAN has 10,000 characters */
};

enum section_kind {
	SECTION_NONE,
	SECTION_BAD, /* reported already: what is in it is not looked at */
	SECTION_SWITCH,
	SECTION_PORT,
};

struct config_reader {
	const char *rest; /* of the text */
	unsigned line;	  /* that was read last */
	struct config *config;
	struct config_errors *errors;

	enum section_kind section;
	unsigned section_line;
	bool section_broken; /* an error was reported in it */
	struct settings_given given;
	unsigned switch_line; /* of [switch]; 0: not there yet */
};

static void report(struct config_reader *reader, unsigned line, const struct error *error)
{
	config_errors_add(reader->errors, line, error);
	reader->section_broken = true;
}

static struct config_port *open_port(struct config_reader *reader)
{
	return &reader->config->ports[reader->config->port_count - 1];
}

static void check_clashes(struct config_reader *reader, const struct config_port *port)
{
	for (size_t i = 0; i + 1 < reader->config->port_count; i++) {
		const struct config_port *other = &reader->config->ports[i];
		struct error error;
		const char *what;

		if (!port_settings_clash(&port->settings, &other->settings, &what))
			continue;
		error_set(
			&error,
			-EEXIST,
			"%.200s is already used by port '%s' (line %u); choose another",
			what,
			other->settings.name,
			other->line
		);
		report(reader, port->line, &error);
		return;
	}
}

static void close_section(struct config_reader *reader)
{
	struct error error;

	/* A section with an error is not judged as a whole: what is missing may be the bad line. */
	if (reader->section != SECTION_PORT || reader->section_broken)
		return;
	if (port_settings_check(&open_port(reader)->settings, &reader->given, &error) != 0)
		report(reader, reader->section_line, &error);
	else
		check_clashes(reader, open_port(reader));
}

static int open_port_section(struct config_reader *reader, const char *name, struct error *error)
{
	struct port_settings settings;
	const struct config_port *other;
	int status;

	port_settings_default(&settings);
	status = port_name_parse(name, settings.name, error);
	if (status != 0)
		return status;
	other = config_find_port(reader->config, settings.name);
	if (other != NULL)
		return error_set(
			error,
			-EEXIST,
			"port '%s' is there twice, first in line %u; rename or remove one",
			settings.name,
			other->line
		);
	config_add_port(reader->config, &settings)->line = reader->line;
	reader->section = SECTION_PORT;
	return 0;
}

static int open_switch_section(struct config_reader *reader, struct error *error)
{
	if (reader->switch_line != 0)
		return error_set(
			error,
			-EEXIST,
			"[switch] is there twice, first in line %u; put them together",
			reader->switch_line
		);
	reader->switch_line = reader->line;
	reader->section = SECTION_SWITCH;
	return 0;
}

/* `header` is the line behind its '['. */
static void open_section(struct config_reader *reader, const char *header, size_t size)
{
	const char *end = memchr(header, ']', size);
	char title[128];
	struct error error;
	int status;

	close_section(reader);
	reader->section = SECTION_BAD;
	reader->section_line = reader->line;
	reader->section_broken = false;
	reader->given = (struct settings_given){};
	if (end == NULL || (size_t)(end - header) >= sizeof(title)) {
		error_set(&error, -EINVAL, "a section is written [switch] or [port NAME]");
		report(reader, reader->line, &error);
		return;
	}
	memcpy(title, header, (size_t)(end - header));
	title[end - header] = '\0';
	if (strcmp(title, "switch") == 0)
		status = open_switch_section(reader, &error);
	else if (strncmp(title, "port ", strlen("port ")) == 0)
		status = open_port_section(
			reader, title + strlen("port") + strspn(title + strlen("port"), " "), &error
		);
	else
		status = error_set(
			&error,
			-EINVAL,
			"unknown section [%.60s]; known are [switch] and [port NAME]",
			title
		);
	if (status != 0)
		report(reader, reader->line, &error);
}

/* inih's reader, like fgets(). */
static char *read_line(char *buffer, int size, void *context)
{
	struct config_reader *reader = context;
	size_t length = strcspn(reader->rest, "\n");
	const char *line = reader->rest;
	size_t blank = strspn(line, " \t\r");
	struct error error;

	if (*line == '\0')
		return NULL;
	reader->line++;
	reader->rest += length + (line[length] == '\n');
	if (length + 1 >= (size_t)size) {
		error_set(
			&error, -EINVAL, "the line is longer than %d bytes; shorten it", size - 2
		);
		report(reader, reader->line, &error);
		length = 0;
	}
	if (length > blank && line[blank] == '[')
		open_section(reader, line + blank + 1, length - blank - 1);
	memcpy(buffer, line, length);
	buffer[length] = '\0';
	return buffer;
}

/* inih's handler; `section` is what read_line() has opened already. */
static int take_setting(void *context, const char *, const char *name, const char *value)
{
	struct config_reader *reader = context;
	struct error error;
	int status = 0;

	switch (reader->section) {
	case SECTION_BAD:
		break;
	case SECTION_NONE:
		status = error_set(
			&error,
			-EINVAL,
			"'%.40s' stands before the first section; put [switch] or [port NAME] "
			"above it",
			name
		);
		break;
	case SECTION_SWITCH:
		if (strcmp(name, "workers") == 0)
			reader->config->workers_line = reader->line;
		status = settings_parse(
			switch_setting_table,
			name,
			value,
			&reader->config->sw,
			&reader->given,
			&error
		);
		break;
	case SECTION_PORT:
		status = settings_parse(
			port_setting_table,
			name,
			value,
			&open_port(reader)->settings,
			&reader->given,
			&error
		);
		break;
	}
	if (status != 0)
		report(reader, reader->line, &error);
	return 1;
}

/* inih's own complaint is a line number. */
static void report_syntax(struct config_reader *reader, int line)
{
	struct error error;

	if (line == 0)
		return;
	for (size_t i = 0; i < reader->errors->count && i < CONFIG_ERRORS_MAX; i++) {
		if (reader->errors->list[i].line == (unsigned)line)
			return;
	}
	error_set(
		&error, -EINVAL, "cannot read this line; write [section], key = value or ; comment"
	);
	config_errors_add(reader->errors, (unsigned)line, &error);
}

struct config *config_parse(const char *text, struct config_errors *errors)
{
	struct config_reader reader = {
		.rest = text,
		.config = config_new(),
		.errors = errors,
	};
	int line;

	errors->count = 0;
	/* libinih is configured by global variables. */
	ini_allow_multiline = false;
	ini_use_stack = false;
	ini_max_line = LINE_SIZE_MAX;
	ini_initial_alloc = LINE_SIZE_MAX;
	line = ini_parse_stream(read_line, &reader, take_setting, &reader);
	if (line < 0)
		abort(); /* out of memory, as everywhere in control */
	close_section(&reader);
	report_syntax(&reader, line);
	if (errors->count == 0)
		return reader.config;
	config_free(reader.config);
	return NULL;
}
