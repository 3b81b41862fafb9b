/* SPDX-License-Identifier: BSD-3-Clause */
/* config check, apply, diff, save. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/cli.h"
#include "control/text.h"

/* Send the file to a method. The daemon names it in what it says. */
static enum cli_exit
send_file(struct cli *cli, const struct cli_input *input, const char *method, json_t **result)
{
	const char *file = input->words[0];
	struct error error;
	char *text = text_read_file(file, &error);
	json_t *params;

	*result = NULL;
	if (text == NULL)
		return cli_fail(cli, CLI_USAGE, "%s", error.text);
	params = json_pack("{s:s, s:s}", "text", text, "file", file);
	free(text);
	if (params == NULL)
		return cli_fail(cli, CLI_USAGE, "%s is not UTF-8 text", file);
	return cli_read(cli, method, params, result);
}

enum cli_exit cli_config_check(struct cli *cli, const struct cli_input *input)
{
	json_t *result;
	enum cli_exit status = send_file(cli, input, "config.check", &result);

	if (result == NULL)
		return status;
	(void
	)printf("%s: fine, %" JSON_INTEGER_FORMAT " ports\n",
		input->words[0],
		json_number(result, "ports"));
	json_decref(result);
	return CLI_OK;
}

/* The changes, a line each. */
static enum cli_exit
show_changes(struct cli *cli, const struct cli_input *input, const char *method)
{
	json_t *result;
	enum cli_exit status = send_file(cli, input, method, &result);
	const json_t *change;
	size_t i;

	if (result == NULL)
		return status;
	json_array_foreach(json_object_get(result, "changes"), i, change)(void)
		puts(json_text(change, "text"));
	json_decref(result);
	return CLI_OK;
}

enum cli_exit cli_config_apply(struct cli *cli, const struct cli_input *input)
{
	return show_changes(cli, input, "config.apply");
}

enum cli_exit cli_config_diff(struct cli *cli, const struct cli_input *input)
{
	return show_changes(cli, input, "config.diff");
}

/* ---- save ---- */

/* Written beside the file and renamed, so that there always is a whole one. */
static int write_beside(const char *path, const char *text)
{
	char *name = text_format("%s.XXXXXX", path);
	int fd = mkstemp(name);
	size_t size = strlen(text);
	struct stat old;
	int status = 0;

	if (fd < 0) {
		status = -errno;
		free(name);
		return status;
	}
	if (write(fd, text, size) != (ssize_t)size
	    || fchmod(fd, stat(path, &old) == 0 ? old.st_mode & 07777 : 0644) != 0
	    || fsync(fd) != 0)
		status = errno != 0 ? -errno : -EIO;
	if (close(fd) != 0 && status == 0)
		status = -errno;
	if (status == 0 && rename(name, path) != 0)
		status = -errno;
	if (status != 0)
		(void)unlink(name);
	free(name);
	return status;
}

enum cli_exit cli_config_save(struct cli *cli, const struct cli_input *input)
{
	const char *path = cli_input_word(input, 0);
	json_t *result;
	enum cli_exit status = path == NULL ? cli_read(cli, "config.save", NULL, &result)
					    : cli_call(cli, "config.save", NULL, &result);
	int failure = 0;

	if (result == NULL)
		return status;
	if (path == NULL || strcmp(path, "-") == 0)
		(void)fputs(json_text(result, "text"), stdout);
	else
		failure = write_beside(path, json_text(result, "text"));
	json_decref(result);
	if (failure != 0)
		return cli_fail(cli, CLI_USAGE, "cannot write %s: %s", path, strerror(-failure));
	return CLI_OK;
}
