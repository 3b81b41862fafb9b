/* SPDX-License-Identifier: BSD-3-Clause */
/* Calling the daemon: a request and its reply, a line each, over the control socket. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/unix_socket.h"
#include "cli/cli.h"
#include "control/rpc_message.h"

enum {
	REPLY_TIMEOUT_S = 30,
	CONNECT_TRIES = 500, /* of 10 ms */
};

enum cli_exit cli_fail(const struct cli *cli, enum cli_exit code, const char *format, ...)
{
	va_list arguments;

	if (cli->quiet)
		return code;
	(void)fflush(stdout);
	(void)fputs("virtlane: ", stderr);
	if (cli->where != NULL)
		(void)fprintf(stderr, "%s: ", cli->where);
	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fputc('\n', stderr);
	return code;
}

/* ---- the connection ---- */

static enum cli_exit fail_connect(const struct cli *cli, int number)
{
	const struct group *group;
	struct stat file;

	switch (number) {
	case ENOENT:
	case ECONNREFUSED:
		return cli_fail(
			cli,
			CLI_UNREACHABLE,
			"no virtlaned is listening at %s; start it, or give its socket with "
			"--socket",
			cli->socket
		);
	case EACCES:
		group = stat(cli->socket, &file) == 0 ? getgrgid(file.st_gid) : NULL;
		return cli_fail(
			cli,
			CLI_UNREACHABLE,
			"user %u may not use %s; run as root%s%s",
			geteuid(),
			cli->socket,
			group != NULL ? ", or join group " : "",
			group != NULL ? group->gr_name : ""
		);
	default:
		return cli_fail(
			cli,
			CLI_UNREACHABLE,
			"cannot connect to %s: %s; is virtlaned running?",
			cli->socket,
			strerror(number)
		);
	}
}

/* The socket does not wait for room in the daemon's backlog: try again for a while. */
static int connect_patiently(const char *path)
{
	static const struct timespec pause = {.tv_nsec = 10000000};
	struct error error;
	int fd;

	for (int i = 0; i < CONNECT_TRIES; i++) {
		fd = unix_connect(path, &error);
		if (fd != -EAGAIN)
			break;
		(void)nanosleep(&pause, NULL);
	}
	return fd;
}

static enum cli_exit connect_daemon(struct cli *cli)
{
	static const struct timeval timeout = {.tv_sec = REPLY_TIMEOUT_S};
	int fd;

	if (cli->fd >= 0)
		return CLI_OK;
	fd = connect_patiently(cli->socket);
	if (fd < 0)
		return fail_connect(cli, -fd);
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	cli->fd = fd;
	return CLI_OK;
}

void cli_disconnect(struct cli *cli)
{
	if (cli->fd >= 0)
		(void)close(cli->fd);
	cli->fd = -1;
}

static bool send_all(int fd, const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		bytes += sent;
		size -= (size_t)sent;
	}
	return true;
}

/* One line without its end, malloc()ed. There is one reply a request, so nothing follows it.
 * NULL: the connection broke (errno 0: it was closed). */
static char *receive_line(int fd)
{
	size_t capacity = 65536;
	size_t size = 0;
	char *line = malloc(capacity);

	while (line != NULL) {
		ssize_t got = recv(fd, line + size, capacity - size, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			errno = got == 0 ? 0 : errno;
			break;
		}
		size += (size_t)got;
		if (line[size - 1] == '\n') {
			line[size - 1] = '\0';
			return line;
		}
		if (size == capacity) {
			capacity *= 2;
			line = reallocarray(line, capacity, 1);
		}
	}
	free(line);
	return NULL;
}

static enum cli_exit exchange(struct cli *cli, const json_t *request, json_t **reply)
{
	char *text = json_dumps(request, JSON_COMPACT);
	char *line;

	if (text == NULL)
		abort();
	/* a daemon that refuses us says why and closes: read even if it no longer listens */
	if (!send_all(cli->fd, text, strlen(text)) || !send_all(cli->fd, "\n", 1))
		errno = 0;
	line = receive_line(cli->fd);
	free(text);
	*reply = line != NULL ? json_loads(line, 0, NULL) : NULL;
	free(line);
	return *reply != NULL ? CLI_OK : CLI_UNREACHABLE;
}

/* ---- replies ---- */

/* A configuration may have many errors: all are in data. */
static void print_config_errors(const struct cli *cli, const json_t *data)
{
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(data, "errors"), i, item) cli_fail(
		cli,
		CLI_USAGE,
		"%s:%" JSON_INTEGER_FORMAT ": %s",
		json_text(data, "file"),
		json_number(item, "line"),
		json_text(item, "message")
	);
}

static enum cli_exit fail_reply(const struct cli *cli, const char *method, const json_t *error)
{
	const char *message = json_text(error, "message");

	switch (json_number(error, "code")) {
	case RPC_BAD_CONFIG:
		print_config_errors(cli, json_object_get(error, "data"));
		return CLI_USAGE;
	case RPC_INVALID_PARAMS:
		return cli_fail(cli, CLI_USAGE, "%s", message);
	case RPC_NO_METHOD:
		return cli_fail(
			cli,
			CLI_REFUSED,
			"this virtlaned does not know %s; both must be of the same version",
			method
		);
	default:
		return cli_fail(cli, CLI_REFUSED, "%s", message);
	}
}

enum cli_exit cli_call(struct cli *cli, const char *method, json_t *params, json_t **result)
{
	enum cli_exit status = connect_daemon(cli);
	json_t *reply = NULL;
	json_t *request;

	*result = NULL;
	if (status != CLI_OK) {
		json_decref(params);
		return status;
	}
	request = json_pack(
		"{s:s, s:I, s:s, s:o*}",
		"jsonrpc",
		"2.0",
		"id",
		++cli->last_id,
		"method",
		method,
		"params",
		params
	);
	errno = 0;
	status = exchange(cli, request, &reply);
	json_decref(request);
	if (status != CLI_OK) {
		cli_disconnect(cli);
		return cli_fail(
			cli,
			status,
			"virtlaned at %s does not answer (%s); see its log",
			cli->socket,
			errno == 0 ? "it closed the connection" : strerror(errno)
		);
	}
	*result = json_incref(json_object_get(reply, "result"));
	if (*result == NULL)
		status = fail_reply(cli, method, json_object_get(reply, "error"));
	json_decref(reply);
	return status;
}

void cli_print_json(const json_t *json)
{
	(void)json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY);
	(void)putchar('\n');
}

enum cli_exit cli_read(struct cli *cli, const char *method, json_t *params, json_t **result)
{
	enum cli_exit status = cli_call(cli, method, params, result);

	if (status == CLI_OK && cli->json) {
		cli_print_json(*result);
		json_decref(*result);
		*result = NULL;
	}
	return status;
}

enum cli_exit cli_change(struct cli *cli, const char *method, json_t *params)
{
	json_t *result;
	enum cli_exit status = cli_read(cli, method, params, &result);

	json_decref(result);
	return status;
}
