/* SPDX-License-Identifier: BSD-3-Clause */
/* help, from the tables of commands and settings. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "control/settings.h"
#include "control/text.h"

char *cli_usage(const struct cli_command *command)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		abort();
	(void)fputs(command->noun, out);
	if (command->verb != NULL)
		(void)fprintf(out, " %s", command->verb);
	for (const struct cli_argument *a = command->arguments; a->word != WORD_END; a++)
		(void
		)fprintf(out, a->min == 0 ? " [%s%s]" : " %s%s", a->name, a->max > 1 ? "..." : "");
	for (const struct cli_flag *f = command->flags; f->name != NULL; f++)
		(void)fprintf(out, f->value != NULL ? " [%s [%s]]" : " [%s]", f->name, f->value);
	if (fclose(out) != 0)
		abort();
	return text;
}

static bool takes_settings(const struct cli_command *command)
{
	for (const struct cli_argument *a = command->arguments; a->word != WORD_END; a++) {
		if (a->word == WORD_SETTING)
			return true;
	}
	return false;
}

static void print_settings(const struct setting *table, bool only_live)
{
	for (; table->name != NULL; table++) {
		if (!only_live || table->live)
			(void
			)printf("  %s=%s\n      %s\n", table->name, table->argument, table->help);
	}
}

void cli_print_command_help(const struct cli_command *command)
{
	char *usage = cli_usage(command);

	(void)printf("Usage: virtlane %s\n%s\n", usage, command->help);
	free(usage);
	if (command->more != NULL)
		(void)puts(command->more);
	if (command->flags[0].name != NULL)
		(void)puts("Options:");
	for (const struct cli_flag *f = command->flags; f->name != NULL; f++)
		(void)printf("  %-20s %s\n", f->name, f->help);
	if (takes_settings(command)) {
		(void)puts("Settings:");
		print_settings(port_setting_table, strcmp(command->verb, "set") == 0);
	}
	(void)putchar('\n');
}

static enum cli_exit list_commands(void)
{
	struct cli_table *table = cli_table_new("COMMANDS: ");

	(void)puts("Usage: virtlane [--socket PATH] [--json] COMMAND...\n"
		   "       virtlane [--socket PATH] [--json] -f FILE\n");
	for (const struct cli_command *c = cli_commands; c->noun != NULL; c++) {
		char *usage = cli_usage(c);

		cli_table_add(table, "  %s", usage);
		free(usage);
		cli_table_add(table, "%s", c->help);
	}
	cli_table_print(table, "");
	(void)puts("\nOptions:\n"
		   "  -s, --socket PATH  control socket of virtlaned\n"
		   "  -j, --json         print what the daemon says as JSON\n"
		   "  -f FILE            run the commands of a file, one a line, up to the first\n"
		   "                     that fails; - is standard input\n"
		   "  -h, --help         explain the command\n"
		   "  -V, --version      print the version\n"
		   "\n"
		   "Exit: 0 done, 1 refused by the daemon, 2 wrong usage or configuration, 3 no "
		   "daemon.\n"
		   "`virtlane help port add` explains one command, `virtlane help settings` what "
		   "can be set.");
	return CLI_OK;
}

enum cli_exit cli_help(struct cli *cli, const struct cli_input *input)
{
	const char *noun = cli_input_word(input, 0);
	const char *verb = cli_input_word(input, 1);
	bool found = false;

	if (cli_input_flag(input, "--man", NULL))
		return cli_man(cli, noun != NULL ? noun : "commands");
	if (noun == NULL)
		return list_commands();
	if (strcmp(noun, "settings") == 0) {
		(void)puts("Settings of a port:");
		print_settings(port_setting_table, false);
		(void)puts("Settings of the switch, section [switch] of the configuration file:");
		print_settings(switch_setting_table, false);
		return CLI_OK;
	}
	for (const struct cli_command *c = cli_commands; c->noun != NULL; c++) {
		if (strcmp(c->noun, noun) != 0
		    || (verb != NULL && c->verb != NULL && strcmp(c->verb, verb) != 0))
			continue;
		cli_print_command_help(c);
		found = true;
	}
	if (found)
		return CLI_OK;
	return cli_fail(
		cli,
		CLI_USAGE,
		"there is no command '%s%s%s'; `virtlane help` lists all",
		noun,
		verb != NULL ? " " : "",
		verb != NULL ? verb : ""
	);
}
