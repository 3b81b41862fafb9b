/* SPDX-License-Identifier: BSD-3-Clause */
/* upgrade: start it, and wait for how it ends. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"

enum {
	LOOK_MS = 20,
	LOOKS = 60 * 1000 / LOOK_MS, /* longer than virtlaned waits itself */
};

/* A look at how far it is; NULL: nobody answers just now, as when one daemon ends and the other
 * has not accepted the connection yet. */
static json_t *look(struct cli *cli)
{
	static const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
	const bool quiet = cli->quiet;
	json_t *status;

	(void)nanosleep(&pause, NULL);
	cli_disconnect(cli); /* the next one may be there already */
	cli->quiet = true;
	(void)cli_call(cli, "upgrade.status", NULL, &status);
	cli->quiet = quiet;
	return status;
}

static bool is_under_way(const json_t *status, json_int_t pid)
{
	const char *state = json_text(status, "state");

	return strcmp(state, "failed") != 0
	       && !(strcmp(state, "done") == 0 && json_number(status, "pid") == pid);
}

static enum cli_exit report(struct cli *cli, const json_t *status)
{
	if (strcmp(json_text(status, "state"), "failed") == 0)
		return cli_fail(
			cli, CLI_REFUSED, "%s; the old one goes on", json_text(status, "error")
		);
	if (cli->json)
		cli_print_json(status);
	else
		(void
		)printf("virtlaned %s is now process %" JSON_INTEGER_FORMAT
			"; no frames for %.2f ms\n",
			json_text(status, "version"),
			json_number(status, "pid"),
			json_number_value(json_object_get(status, "gap_ms")));
	return CLI_OK;
}

enum cli_exit cli_upgrade(struct cli *cli, const struct cli_input *input)
{
	const char *program = cli_input_word(input, 0);
	char path[PATH_MAX];
	json_t *status = NULL;

	if (program != NULL && realpath(program, path) == NULL)
		return cli_fail(cli, CLI_USAGE, "%s: %s", program, strerror(errno));
	json_t *params = json_pack("{s:s*}", "program", program == NULL ? NULL : path);
	enum cli_exit result = cli_call(cli, "upgrade", params, &status);
	if (status == NULL)
		return result;
	json_int_t pid = json_number(status, "pid");
	for (unsigned i = 0; i < LOOKS && is_under_way(status, pid); i++) {
		json_decref(status);
		status = look(cli);
	}
	if (is_under_way(status, pid))
		result = cli_fail(cli, CLI_REFUSED, "it takes too long; see virtlaned's log");
	else
		result = report(cli, status);
	json_decref(status);
	return result;
}
