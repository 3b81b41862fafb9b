/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket, see rpc.h. */
#include "control/rpc.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "control/text.h"
#include "control/control_socket.h"

enum {
	REQUEST_SIZE_MAX = 1 << 20,
	REPLIES_SIZE_MAX = 16 << 20,
	CLIENTS_MAX = 128,
	GROUPS_MAX = 1024,
	FINISH_TIMEOUT_S = 10, /* for a client that does not read its last reply */
	ACCEPT_PAUSE_S = 1,    /* when there are no descriptors left */
};

struct rpc_client {
	TAILQ_ENTRY(rpc_client) link;
	struct rpc_server *server;
	struct bufferevent *stream;
	bool owner; /* root, or our own user */
};

struct rpc_server {
	const struct rpc_method *methods;
	void *context;
	struct evconnlistener *listener;
	struct event *resume; /* timer after an accept that failed */
	char *path;
	struct stat file; /* of the socket, to know it again */
	unsigned client_count;
	TAILQ_HEAD(, rpc_client) clients;
};

/* ---- one client ---- */

static void client_free(struct rpc_client *client)
{
	TAILQ_REMOVE(&client->server->clients, client, link);
	client->server->client_count--;
	bufferevent_free(client->stream);
	free(client);
}

static void finish_on_write(struct bufferevent *, void *context)
{
	client_free(context);
}

static void finish_on_event(struct bufferevent *, short, void *context)
{
	client_free(context);
}

/* Send what waits, then close. */
static void client_finish(struct rpc_client *client)
{
	static const struct timeval timeout = {.tv_sec = FINISH_TIMEOUT_S};

	if (evbuffer_get_length(bufferevent_get_output(client->stream)) == 0) {
		client_free(client);
		return;
	}
	bufferevent_disable(client->stream, EV_READ);
	bufferevent_setcb(client->stream, NULL, finish_on_write, finish_on_event, client);
	bufferevent_set_timeouts(client->stream, NULL, &timeout);
}

static void client_refuse(struct rpc_client *client, struct rpc_failure *failure)
{
	rpc_write_failure(bufferevent_get_output(client->stream), failure);
	log_warning(LOG_CONTROL, "%s", failure->error.text);
	client_finish(client);
}

/* Returns false when the client is gone. */
static bool client_handle(struct rpc_client *client, const char *line, size_t size)
{
	bool fits;

	if (strspn(line, " \t\r") == size)
		return true;
	fits = rpc_handle_line(
		client->server->methods,
		client->server->context,
		client->owner,
		line,
		size,
		bufferevent_get_output(client->stream),
		REPLIES_SIZE_MAX
	);
	if (!fits) {
		log_warning(
			LOG_CONTROL,
			"a client of the control socket does not read its replies; dropped"
		);
		client_free(client);
	}
	return fits;
}

static bool client_handle_lines(struct rpc_client *client)
{
	struct evbuffer *in = bufferevent_get_input(client->stream);
	size_t size;
	char *line;

	while ((line = evbuffer_readln(in, &size, EVBUFFER_EOL_LF)) != NULL) {
		bool lives = client_handle(client, line, size);

		free(line);
		if (!lives)
			return false;
	}
	return true;
}

static void client_on_read(struct bufferevent *stream, void *context)
{
	struct rpc_client *client = context;
	struct rpc_failure failure = {};

	if (!client_handle_lines(client))
		return;
	if (evbuffer_get_length(bufferevent_get_input(stream)) < REQUEST_SIZE_MAX)
		return;
	rpc_fail_with(
		&failure,
		RPC_INVALID_REQUEST,
		-EMSGSIZE,
		"a request is longer than %d bytes; send less at a time",
		REQUEST_SIZE_MAX
	);
	client_refuse(client, &failure);
}

/* A client may close its sending side and wait for the replies; its last line may lack its end. */
static void client_on_event(struct bufferevent *stream, short what, void *context)
{
	struct rpc_client *client = context;
	struct evbuffer *in = bufferevent_get_input(stream);
	size_t size = evbuffer_get_length(in);

	if ((what & BEV_EVENT_EOF) == 0) {
		client_free(client);
		return;
	}
	if (size == 0 || client_handle(client, (const char *)evbuffer_pullup(in, -1), size))
		client_finish(client);
}

static struct rpc_client *client_new(struct rpc_server *server, evutil_socket_t fd)
{
	struct event_base *base = evconnlistener_get_base(server->listener);
	struct rpc_client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return NULL;
	client->server = server;
	client->stream = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (client->stream == NULL) {
		free(client);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&server->clients, client, link);
	server->client_count++;
	bufferevent_setcb(client->stream, client_on_read, NULL, client_on_event, client);
	bufferevent_setwatermark(client->stream, EV_READ, 0, REQUEST_SIZE_MAX);
	return client;
}

/* ---- who may call ---- */

static bool is_group_member(int fd, const struct ucred *peer, gid_t group)
{
	gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);

	if (peer->gid == group)
		return true;
	/* the peer's supplementary groups when it connected; Linux >= 4.13 */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) != 0)
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++) {
		if (groups[i] == group)
			return true;
	}
	return false;
}

static bool
check_peer(const struct rpc_server *server, int fd, bool *owner, struct rpc_failure *failure)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
		rpc_fail_with(failure, RPC_NOT_PERMITTED, -errno, "cannot tell who calls: %m");
		return false;
	}
	*owner = peer.uid == 0 || peer.uid == geteuid();
	if (*owner || is_group_member(fd, &peer, server->file.st_gid))
		return true;
	rpc_fail_with(
		failure,
		RPC_NOT_PERMITTED,
		-EPERM,
		"user %u (process %d) may not control virtlaned; call as root, or join group %u "
		"that "
		"owns %.200s",
		peer.uid,
		peer.pid,
		server->file.st_gid,
		server->path
	);
	return false;
}

/* ---- the listening socket ---- */

static void
server_on_accept(struct evconnlistener *, evutil_socket_t fd, struct sockaddr *, int, void *context)
{
	struct rpc_server *server = context;
	struct rpc_client *client = client_new(server, fd);
	struct rpc_failure failure = {};

	if (client == NULL) {
		(void)close(fd);
		return;
	}
	if (server->client_count > CLIENTS_MAX) {
		rpc_fail_with(
			&failure,
			RPC_REFUSED,
			-EBUSY,
			"%d clients use the control socket already; close some",
			CLIENTS_MAX
		);
		client_refuse(client, &failure);
	} else if (!check_peer(server, fd, &client->owner, &failure)) {
		client_refuse(client, &failure);
	} else {
		bufferevent_enable(client->stream, EV_READ | EV_WRITE);
	}
}

/* Without a pause an accept that fails for lack of descriptors would spin. */
static void server_on_accept_error(struct evconnlistener *listener, void *context)
{
	static const struct timeval pause = {.tv_sec = ACCEPT_PAUSE_S};
	struct rpc_server *server = context;

	log_warning(LOG_CONTROL, "cannot accept on the control socket: %m");
	evconnlistener_disable(listener);
	event_add(server->resume, &pause);
}

static void server_on_resume(evutil_socket_t, short, void *context)
{
	struct rpc_server *server = context;

	evconnlistener_enable(server->listener);
}

int rpc_server_create(
	struct event_base *base,
	const char *path,
	int inherited,
	const struct rpc_method *methods,
	void *context,
	struct rpc_server **out,
	struct error *error
)
{
	int fd = inherited >= 0 ? inherited : control_socket_listen(path, error);
	struct rpc_server *server;

	if (fd < 0)
		return fd;
	server = calloc(1, sizeof(*server));
	if (server == NULL)
		abort();
	TAILQ_INIT(&server->clients);
	server->methods = methods;
	server->context = context;
	server->path = text_format("%s", path);
	(void)lstat(path, &server->file);
	server->resume = evtimer_new(base, server_on_resume, server);
	server->listener = evconnlistener_new(
		base, server_on_accept, server, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd
	);
	if (server->resume == NULL || server->listener == NULL)
		abort();
	evconnlistener_set_error_cb(server->listener, server_on_accept_error);
	*out = server;
	return 0;
}

int rpc_server_fd(const struct rpc_server *server)
{
	return evconnlistener_get_fd(server->listener);
}

/* Unless somebody has put another in its place. */
static void remove_socket(const struct rpc_server *server)
{
	struct stat found;

	if (lstat(server->path, &found) == 0 && found.st_ino == server->file.st_ino
	    && found.st_dev == server->file.st_dev)
		(void)unlink(server->path);
}

void rpc_server_destroy(struct rpc_server *server)
{
	if (server == NULL)
		return;
	remove_socket(server);
	while (!TAILQ_EMPTY(&server->clients))
		client_free(TAILQ_FIRST(&server->clients));
	evconnlistener_free(server->listener);
	event_free(server->resume);
	free(server->path);
	free(server);
}
