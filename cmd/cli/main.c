/* SPDX-License-Identifier: BSD-3-Clause */
/* virtlane: the command line of virtlaned. Global options here, commands in the other files. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "control/control_socket.h"

/* What the command line says besides the command. */
struct globals {
	const char *batch;    /* -f */
	const char *complete; /* --complete */
	bool help, version;
	unsigned count; /* words of the command */
	char *words[CLI_WORDS_MAX];
};

/*
 * The value of `name` if words[*at] is that option ("--socket PATH", "--socket=PATH"); *at is moved
 * on to its last word. NULL: it is something else, or *missing.
 */
static const char *
take_value(const char *name, unsigned count, char **words, unsigned *at, bool *missing)
{
	size_t size = strlen(name);
	const char *word = words[*at];

	if (strncmp(word, name, size) != 0)
		return NULL;
	if (word[size] == '=')
		return word + size + 1;
	if (word[size] != '\0')
		return NULL;
	if (*at + 1 < count)
		return words[++*at];
	*missing = true;
	return NULL;
}

/* Is words[*at] a global option? They may stand anywhere. */
static bool take_global(
	struct cli *cli,
	struct globals *globals,
	unsigned count,
	char **words,
	unsigned *at,
	bool *missing
)
{
	const struct {
		const char *name;
		const char **value;
	} options[] = {
		{"--socket", &cli->socket},
		{"-s", &cli->socket},
		{"-f", &globals->batch},
		{"--complete", &globals->complete},
	};
	const struct {
		const char *name;
		bool *value;
	} flags[] = {
		{"--json", &cli->json},
		{"-j", &cli->json},
		{"--help", &globals->help},
		{"-h", &globals->help},
		{"--version", &globals->version},
		{"-V", &globals->version},
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		const char *value = take_value(options[i].name, count, words, at, missing);

		if (value == NULL)
			continue;
		*options[i].value = value;
		return true;
	}
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (strcmp(words[*at], flags[i].name) != 0)
			continue;
		*flags[i].value = true;
		return true;
	}
	return false;
}

static enum cli_exit
take_globals(struct cli *cli, struct globals *globals, unsigned count, char **words)
{
	bool missing = false;

	for (unsigned at = 0; at < count; at++) {
		if (strcmp(words[at], "--") != 0
		    && take_global(cli, globals, count, words, &at, &missing))
			continue;
		if (missing)
			return cli_fail(cli, CLI_USAGE, "%s needs a value", words[at]);
		if (globals->count == CLI_WORDS_MAX)
			return cli_fail(cli, CLI_USAGE, "too many words in one command");
		globals->words[globals->count++] = words[at];
	}
	return CLI_OK;
}

static enum cli_exit run(struct cli *cli, struct globals *globals)
{
	char help[] = "help";
	char *help_words[3] = {help};

	if (globals->version) {
		(void)puts("virtlane " VIRTLANE_VERSION);
		return CLI_OK;
	}
	if (globals->complete != NULL)
		return cli_complete(cli, globals->complete);
	if (globals->help) {
		unsigned count = globals->count < 2 ? globals->count : 2;

		memcpy(help_words + 1, globals->words, count * sizeof(help_words[0]));
		return cli_run(cli, count + 1, help_words);
	}
	if (globals->batch != NULL && globals->count > 0)
		return cli_fail(
			cli, CLI_USAGE, "-f FILE and a command exclude each other; give one of them"
		);
	if (globals->batch != NULL)
		return cli_run_batch(cli, globals->batch);
	if (globals->count > 0)
		return cli_run(cli, globals->count, globals->words);
	return cli_fail(cli, CLI_USAGE, "no command is given; `virtlane help` lists all");
}

int main(int argc, char **argv)
{
	struct cli cli = {.socket = CONTROL_SOCKET_DEFAULT, .fd = -1};
	struct globals globals = {};
	enum cli_exit status = take_globals(&cli, &globals, (unsigned)argc - 1, argv + 1);

	if (status == CLI_OK)
		status = run(&cli, &globals);
	cli_disconnect(&cli);
	if (fflush(stdout) != 0 && status == CLI_OK)
		status = cli_fail(&cli, CLI_USAGE, "cannot write: %m");
	return (int)status;
}
