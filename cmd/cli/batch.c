/* SPDX-License-Identifier: BSD-3-Clause */
/* Running commands: one, or each line of a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum cli_exit cli_run(struct cli *cli, unsigned count, char **words)
{
	struct cli_input input;
	enum cli_exit status = cli_parse(cli, count, words, &input);

	return status == CLI_OK ? input.command->run(cli, &input) : status;
}

/* The word at *line, unquoted in place; *line is moved behind it. False: a quote is open. */
static bool split_word(char **line)
{
	char *from = *line;
	char *to = *line;
	char quote = '\0';

	for (; *from != '\0' && (quote != '\0' || strchr(" \t\n", *from) == NULL); from++) {
		if (*from == quote)
			quote = '\0';
		else if (quote == '\0' && (*from == '\'' || *from == '"'))
			quote = *from;
		else
			*to++ = *from;
	}
	*line = *from != '\0' ? from + 1 : from;
	*to = '\0';
	return quote == '\0';
}

int cli_split(char *line, char **words, unsigned max)
{
	unsigned count = 0;

	for (;;) {
		line += strspn(line, " \t\n");
		if (*line == '\0' || *line == '#')
			return (int)count;
		if (count == max)
			return -1;
		words[count++] = line;
		if (!split_word(&line))
			return -1;
	}
}

static enum cli_exit run_line(struct cli *cli, char *line)
{
	char *words[CLI_WORDS_MAX];
	int count = cli_split(line, words, CLI_WORDS_MAX);

	if (count < 0)
		return cli_fail(
			cli, CLI_USAGE, "a quote is not closed, or there are too many words"
		);
	return count > 0 ? cli_run(cli, (unsigned)count, words) : CLI_OK;
}

enum cli_exit cli_run_batch(struct cli *cli, const char *path)
{
	FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	enum cli_exit status = CLI_OK;
	char where[512];
	char *line = NULL;
	size_t capacity = 0;

	if (in == NULL)
		return cli_fail(cli, CLI_USAGE, "cannot open %s: %m", path);
	cli->where = where;
	for (unsigned number = 1; status == CLI_OK && getline(&line, &capacity, in) >= 0;
	     number++) {
		(void)snprintf(where, sizeof(where), "%s:%u", path, number);
		status = run_line(cli, line);
	}
	cli->where = NULL;
	if (status == CLI_OK && ferror(in))
		status = cli_fail(cli, CLI_USAGE, "cannot read %s: %m", path);
	free(line);
	if (in != stdin)
		(void)fclose(in);
	return status;
}
