/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completion. The shells' scripts only hand over the line as typed (`virtlane --complete LINE`)
 * and take what is printed: a candidate a line, a tab, a few words about it. ":file" means that
 * the shell completes a file's name. Names of ports are asked from the daemon, in silence.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "control/settings.h"
#include "control/text.h"

/* The words before the one that is being typed, and that one. */
struct typed {
	int count;
	char *words[CLI_WORDS_MAX];
	const char *current;
};

static void offer(const struct typed *typed, const char *candidate, const char *text)
{
	if (strncmp(candidate, typed->current, strlen(typed->current)) == 0)
		(void)printf("%s\t%s\n", candidate, text);
}

static void offer_file(void)
{
	(void)puts(":file\t");
}

/* A noun may stand in the table many times. */
static void offer_nouns(const struct typed *typed)
{
	const char *last = "";

	for (const struct cli_command *c = cli_commands; c->noun != NULL; c++) {
		if (strcmp(c->noun, last) != 0)
			offer(typed, c->noun, c->verb == NULL ? c->help : "");
		last = c->noun;
	}
}

static void offer_verbs(const struct typed *typed, const char *noun)
{
	for (const struct cli_command *c = cli_commands; c->noun != NULL; c++) {
		if (strcmp(c->noun, noun) == 0 && c->verb != NULL)
			offer(typed, c->verb, c->help);
	}
}

/* Each name behind `prefix`, for example "port=". */
static void offer_ports(struct cli *cli, const struct typed *typed, const char *prefix)
{
	const json_t *port;
	json_t *ports;
	size_t i;

	if (cli_call(cli, "port.list", NULL, &ports) != CLI_OK)
		return;
	json_array_foreach(ports, i, port)
	{
		char *candidate = text_format("%s%s", prefix, json_text(port, "name"));

		offer(typed, candidate, json_text(port, "kind"));
		free(candidate);
	}
	json_decref(ports);
}

/* The words of "yes|no" behind "SETTING="; other values nobody can guess. */
static void offer_values(const struct typed *typed, const struct setting *setting)
{
	char *values;
	char *rest;
	char *value;

	if (setting->can_be_none) {
		char *none = text_format("%s=none", setting->name);

		offer(typed, none, "take it away");
		free(none);
	}
	if (setting->codec->type != SETTING_BOOL && setting->codec->type != SETTING_CHOICE)
		return;
	rest = values = text_format("%s", setting->argument);
	while ((value = strsep(&rest, "|")) != NULL) {
		char *candidate = text_format("%s=%s", setting->name, value);

		offer(typed, candidate, "");
		free(candidate);
	}
	free(values);
}

/* Whether a word before said "NAME=". */
static bool is_said(const struct typed *typed, const char *name)
{
	size_t size = strlen(name);

	for (int i = 0; i < typed->count; i++) {
		if (strncmp(typed->words[i], name, size) == 0 && typed->words[i][size] == '=')
			return true;
	}
	return false;
}

static bool is_typed(const struct typed *typed, const char *word)
{
	for (int i = 0; i < typed->count; i++) {
		if (strcmp(typed->words[i], word) == 0)
			return true;
	}
	return false;
}

/* The kind that was typed, or all. */
static uint8_t typed_kinds(const struct typed *typed)
{
	for (enum port_kind kind = PORT_VHOST; kind <= PORT_VIRTIO; kind++) {
		char *word = text_format("kind=%s", port_kind_name(kind));
		bool said = is_typed(typed, word);

		free(word);
		if (said)
			return (uint8_t)(1 << kind);
	}
	return UINT8_MAX;
}

static void offer_settings(const struct typed *typed, bool only_live)
{
	uint8_t kinds = typed_kinds(typed);

	for (const struct setting *s = port_setting_table; s->name != NULL; s++) {
		size_t size = strlen(s->name);
		char *candidate;

		if (strncmp(typed->current, s->name, size) == 0 && typed->current[size] == '=') {
			offer_values(typed, s);
			return;
		}
		if (is_said(typed, s->name) || (only_live && !s->live) || !(s->kinds & kinds))
			continue;
		candidate = text_format("%s=", s->name);
		offer(typed, candidate, s->help);
		free(candidate);
	}
}

static void offer_log_words(const struct typed *typed)
{
	offer(typed, "all", "every subject");
	for (enum log_subject i = 0; i < LOG_SUBJECT_COUNT; i++)
		offer(typed, log_subject_name(i), "subject");
	for (enum log_level i = 0; i < LOG_LEVEL_COUNT; i++)
		offer(typed, log_level_name(i), "level");
}

static void offer_argument(
	struct cli *cli, const struct typed *typed, const struct cli_command *command, int at
)
{
	const struct cli_argument *argument = command->arguments;

	for (; argument->word != WORD_END && at >= (int)argument->max; argument++)
		at -= (int)argument->max;
	switch (argument->word) {
	case WORD_PORT:
		offer_ports(cli, typed, "");
		break;
	case WORD_SETTING:
		offer_settings(typed, strcmp(command->verb, "set") == 0);
		break;
	case WORD_FILTER:
		if (strncmp(typed->current, "port=", strlen("port=")) == 0)
			offer_ports(cli, typed, "port=");
		else
			offer(typed, "port=", "only of this port");
		offer(typed, "vlan=", "only of this VLAN");
		break;
	case WORD_FILE:
		offer_file();
		break;
	case WORD_LOG:
		offer_log_words(typed);
		break;
	case WORD_SHELL:
		offer(typed, "bash", "");
		offer(typed, "zsh", "");
		offer(typed, "fish", "");
		break;
	case WORD_TOPIC:
		if (at > 0) {
			offer_verbs(typed, typed->words[typed->count - 1]);
			break;
		}
		offer_nouns(typed);
		offer(typed, "settings", "what can be set");
		break;
	case WORD_NAME:
	case WORD_END:
		break;
	}
}

static void offer_flags(const struct typed *typed, const struct cli_command *command)
{
	if (command != NULL) {
		for (const struct cli_flag *f = command->flags; f->name != NULL; f++)
			offer(typed, f->name, f->help);
	}
	offer(typed, "--json", "print JSON");
	offer(typed, "--socket", "control socket of virtlaned");
	offer(typed, "--help", "explain the command");
}

/* Options are not counted as words of the command; --socket tells whom to ask for ports. */
static void drop_options(struct cli *cli, struct typed *typed)
{
	int kept = 0;

	for (int i = 0; i < typed->count; i++) {
		const char *word = typed->words[i];

		if ((strcmp(word, "--socket") == 0 || strcmp(word, "-s") == 0)
		    && i + 1 < typed->count)
			cli->socket = typed->words[++i];
		else if (strncmp(word, "--socket=", strlen("--socket=")) == 0)
			cli->socket = word + strlen("--socket=");
		else if (word[0] != '-')
			typed->words[kept++] = typed->words[i];
	}
	typed->count = kept;
}

static const struct cli_command *find_command(const struct typed *typed)
{
	for (const struct cli_command *c = cli_commands; c->noun != NULL; c++) {
		if (typed->count > 0 && strcmp(c->noun, typed->words[0]) == 0
		    && (c->verb == NULL
			|| (typed->count > 1 && strcmp(c->verb, typed->words[1]) == 0)))
			return c;
	}
	return NULL;
}

/* Does the word before want a file's name? */
static bool wants_file(const struct typed *typed)
{
	static const char *const options[] = {"--socket", "-s", "-f"};

	for (size_t i = 0; typed->count > 0 && i < sizeof(options) / sizeof(options[0]); i++) {
		if (strcmp(typed->words[typed->count - 1], options[i]) == 0)
			return true;
	}
	return false;
}

static void offer_all(struct cli *cli, struct typed *typed)
{
	const struct cli_command *command;

	if (wants_file(typed)) {
		offer_file();
		return;
	}
	drop_options(cli, typed);
	command = find_command(typed);
	if (typed->current[0] == '-')
		offer_flags(typed, command);
	else if (command != NULL)
		offer_argument(cli, typed, command, typed->count - (command->verb != NULL ? 2 : 1));
	else if (typed->count == 0)
		offer_nouns(typed);
	else if (typed->count == 1)
		offer_verbs(typed, typed->words[0]);
}

enum cli_exit cli_complete(struct cli *cli, const char *line)
{
	char *copy = text_format("%s", line);
	size_t size = strlen(line);
	struct typed typed = {.current = ""};
	char *words[CLI_WORDS_MAX];
	int count = cli_split(copy, words, CLI_WORDS_MAX);

	cli->quiet = true;
	/* the first word is the program, the last the one being typed unless a blank ended it */
	if (count > 0) {
		typed.count = count - 1;
		memcpy(typed.words, words + 1, (size_t)typed.count * sizeof(words[0]));
		if (typed.count > 0 && strchr(" \t", line[size - 1]) == NULL)
			typed.current = typed.words[--typed.count];
		offer_all(cli, &typed);
	}
	free(copy);
	return CLI_OK;
}
