/* SPDX-License-Identifier: BSD-3-Clause */
/* From words to a command of the table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

bool cli_input_flag(const struct cli_input *input, const char *name, const char **value)
{
	for (unsigned i = 0; input->command->flags[i].name != NULL; i++) {
		if (strcmp(input->command->flags[i].name, name) != 0)
			continue;
		if (value != NULL)
			*value = input->values[i];
		return input->flags[i];
	}
	return false;
}

const char *cli_input_word(const struct cli_input *input, unsigned index)
{
	return index < input->word_count ? input->words[index] : NULL;
}

/* "add, del, set" */
static void list_verbs(const char *noun, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (const struct cli_command *c = cli_commands; c->noun != NULL; c++) {
		if (strcmp(c->noun, noun) == 0 && c->verb != NULL && used < size)
			used += (size_t
			)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", c->verb);
	}
}

/* Find the command, and how many words name it. */
static enum cli_exit find_command(
	struct cli *cli,
	unsigned count,
	char **words,
	const struct cli_command **out,
	unsigned *used
)
{
	bool noun_known = false;
	char verbs[128];

	for (const struct cli_command *c = cli_commands; c->noun != NULL; c++) {
		if (strcmp(c->noun, words[0]) != 0)
			continue;
		noun_known = true;
		if (c->verb != NULL && (count < 2 || strcmp(c->verb, words[1]) != 0))
			continue;
		*out = c;
		*used = c->verb != NULL ? 2 : 1;
		return CLI_OK;
	}
	if (!noun_known)
		return cli_fail(
			cli, CLI_USAGE, "unknown command '%s'; `virtlane help` lists all", words[0]
		);
	list_verbs(words[0], verbs, sizeof(verbs));
	if (count < 2)
		return cli_fail(cli, CLI_USAGE, "%s what? say one of %s", words[0], verbs);
	return cli_fail(
		cli, CLI_USAGE, "%s does not know '%s'; say one of %s", words[0], words[1], verbs
	);
}

static bool is_number(const char *word)
{
	char *end;

	(void)strtod(word, &end);
	return *word != '\0' && *end == '\0';
}

/*
 * Take the flag at words[0] and, if it may have a value, the number behind it. Returns how many
 * words that were, 0 if the command has no such flag.
 */
static unsigned take_flag(struct cli_input *input, unsigned count, char **words)
{
	const struct cli_flag *flags = input->command->flags;
	size_t size = strcspn(words[0], "=");

	for (unsigned i = 0; flags[i].name != NULL; i++) {
		if (strlen(flags[i].name) != size || strncmp(flags[i].name, words[0], size) != 0)
			continue;
		if (words[0][size] == '=' && flags[i].value == NULL)
			return 0;
		input->flags[i] = true;
		if (words[0][size] == '=') {
			input->values[i] = words[0] + size + 1;
		} else if (flags[i].value != NULL && count > 1 && is_number(words[1])) {
			input->values[i] = words[1];
			return 2;
		}
		return 1;
	}
	return 0;
}

static enum cli_exit check_word_count(struct cli *cli, const struct cli_input *input)
{
	const struct cli_argument *argument = input->command->arguments;
	unsigned min = 0;
	unsigned max = 0;
	char *usage;

	for (; argument->word != WORD_END; argument++) {
		min += argument->min;
		max += argument->max;
	}
	if (input->word_count >= min && input->word_count <= max)
		return CLI_OK;
	usage = cli_usage(input->command);
	if (input->word_count < min)
		cli_fail(cli, CLI_USAGE, "something is missing; usage: virtlane %s", usage);
	else
		cli_fail(
			cli,
			CLI_USAGE,
			"'%s' is too much; usage: virtlane %s",
			input->words[max],
			usage
		);
	free(usage);
	return CLI_USAGE;
}

enum cli_exit cli_parse(struct cli *cli, unsigned count, char **words, struct cli_input *input)
{
	bool only_words = false;
	enum cli_exit status;
	unsigned at = 0;

	*input = (struct cli_input){};
	status = find_command(cli, count, words, &input->command, &at);
	while (status == CLI_OK && at < count) {
		unsigned taken = 0;

		if (!only_words && strcmp(words[at], "--") == 0) {
			only_words = true;
			at++;
			continue;
		}
		if (!only_words && strncmp(words[at], "--", 2) == 0) {
			taken = take_flag(input, count - at, words + at);
			if (taken == 0)
				return cli_fail(
					cli,
					CLI_USAGE,
					"%s%s%s has no option '%s'; see `virtlane help %s`",
					input->command->noun,
					input->command->verb != NULL ? " " : "",
					input->command->verb != NULL ? input->command->verb : "",
					words[at],
					input->command->noun
				);
			at += taken;
			continue;
		}
		if (input->word_count == CLI_WORDS_MAX)
			return cli_fail(cli, CLI_USAGE, "too many words in one command");
		input->words[input->word_count++] = words[at++];
	}
	return status == CLI_OK ? check_word_count(cli, input) : status;
}

enum cli_exit
cli_add_pairs(struct cli *cli, const struct cli_input *input, unsigned first, json_t *params)
{
	for (unsigned i = first; i < input->word_count; i++) {
		const char *word = input->words[i];
		size_t size = strcspn(word, "=");
		char key[64];

		if (word[size] == '\0' || size == 0 || size >= sizeof(key))
			return cli_fail(
				cli,
				CLI_USAGE,
				"'%s' is no setting; write KEY=VALUE, for example vlan=10",
				word
			);
		memcpy(key, word, size);
		key[size] = '\0';
		if (json_object_get(params, key) != NULL)
			return cli_fail(cli, CLI_USAGE, "%s is given twice; remove one", key);
		if (json_object_set_new(params, key, json_string(word + size + 1)) != 0)
			return cli_fail(cli, CLI_USAGE, "the value of %s is not UTF-8 text", key);
	}
	return CLI_OK;
}
