/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parts of the manual pages that come from tables, as scdoc: `virtlane help commands --man`
 * for virtlane(1), `settings` for virtlane.conf(5). The build puts them in place of a line with
 * @COMMANDS@ or @SETTINGS@ in docs/man.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "control/settings.h"

static void print_argument(const struct cli_argument *argument)
{
	const char *many = argument->max > 1 ? "..." : "";

	if (argument->min == 0)
		(void)printf(" [_%s_%s]", argument->name, many);
	else
		(void)printf(" _%s_%s", argument->name, many);
}

static void print_flag(const struct cli_flag *flag)
{
	(void)printf(" [*%s*", flag->name);
	if (flag->value != NULL)
		(void)printf(" [_%s_]", flag->value);
	(void)putchar(']');
}

static void print_command(const struct cli_command *command)
{
	(void)printf("*%s", command->noun);
	if (command->verb != NULL)
		(void)printf(" %s", command->verb);
	(void)putchar('*');
	for (const struct cli_argument *a = command->arguments; a->word != WORD_END; a++)
		print_argument(a);
	for (const struct cli_flag *f = command->flags; f->name != NULL; f++)
		print_flag(f);
	(void)printf("\n\t%s\n", command->help);
	if (command->more != NULL)
		(void)printf("\n\t%s\n", command->more);
	for (const struct cli_flag *f = command->flags; f->name != NULL; f++)
		(void)printf("\n\t*%s*: %s.\n", f->name, f->help);
	(void)putchar('\n');
}

/* Nothing for what all have, and for what is none's: the switch's own. */
static void print_kinds(const struct setting *setting)
{
	const uint8_t all = (1 << (PORT_VIRTIO + 1)) - 1;
	const char *between = " Only for kind ";

	if (setting->kinds == all)
		return;
	for (enum port_kind kind = PORT_VHOST; kind <= PORT_VIRTIO; kind++) {
		if (!setting_applies(setting, kind))
			continue;
		(void)printf("%s%s", between, port_kind_name(kind));
		between = " and ";
	}
	if (setting->kinds != 0)
		(void)putchar('.');
}

static void print_setting(const struct setting *setting)
{
	(void)printf("*%s* = _%s_\n\t%s", setting->name, setting->argument, setting->help);
	if (setting->max > 0)
		(void)printf(" From %u to %u.", setting->min, setting->max);
	if (setting->preset != NULL)
		(void)printf(" Default: %s.", setting->preset);
	print_kinds(setting);
	if (setting->live)
		(void)printf(" Can be changed while it runs.");
	(void)puts("\n");
}

enum cli_exit cli_man(struct cli *cli, const char *topic)
{
	if (strcmp(topic, "commands") == 0) {
		for (const struct cli_command *c = cli_commands; c->noun != NULL; c++)
			print_command(c);
		return CLI_OK;
	}
	if (strcmp(topic, "settings") == 0) {
		(void)puts("## [switch]\n");
		for (const struct setting *s = switch_setting_table; s->name != NULL; s++)
			print_setting(s);
		(void)puts("## [port NAME]\n");
		for (const struct setting *s = port_setting_table; s->name != NULL; s++)
			print_setting(s);
		return CLI_OK;
	}
	return cli_fail(cli, CLI_USAGE, "--man prints commands or settings, not '%s'", topic);
}
