/* SPDX-License-Identifier: BSD-3-Clause */
/* Replacing the daemon, see upgrade.h. */
#include "control/upgrade.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/handover.h"
#include "base/log.h"
#include "control/document.h"
#include "control/fd_store.h"
#include "control/methods.h"
#include "control/notify.h"
#include "control/rpc.h"
#include "control/text.h"
#include "port/eal.h"
#include "switch/switch.h"

enum {
	START_SECONDS = 30,   /* for the new process until it is up */
	ANSWER_SECONDS = 5,   /* for each answer while it is waited for */
	TAKE_OVER_SOCKET = 3, /* in the new process */
};

enum state {
	STATE_NONE,
	STATE_STARTING,
	STATE_FAILED,
	STATE_DONE,
};

struct upgrade {
	struct upgrade_subject subject;
	enum state state;
	pid_t pid;	     /* of the new process */
	int socket;	     /* to it; -1: none */
	struct event *event; /* of the socket, with a limit */
	struct error error;  /* of the last one that failed */
	char from[64];	     /* version that this process came after */
	double gap_ms;	     /* for how long no frame moved then */
};

struct upgrade *upgrade_new(const struct upgrade_subject *subject)
{
	struct upgrade *upgrade = calloc(1, sizeof(*upgrade));

	if (upgrade == NULL)
		abort();
	upgrade->subject = *subject;
	upgrade->socket = -1;
	return upgrade;
}

static void hang_up(struct upgrade *upgrade)
{
	if (upgrade->event != NULL)
		event_free(upgrade->event);
	if (upgrade->socket >= 0)
		close(upgrade->socket);
	upgrade->event = NULL;
	upgrade->socket = -1;
}

/* End the new process, if there is one, so that it can touch nothing any more. */
static void end_child(struct upgrade *upgrade)
{
	/* Before its socket is closed, which it would take for our end. */
	if (upgrade->pid > 0) {
		kill(upgrade->pid, SIGKILL);
		while (waitpid(upgrade->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	upgrade->pid = 0;
	hang_up(upgrade);
}

void upgrade_free(struct upgrade *upgrade)
{
	if (upgrade == NULL)
		return;
	if (upgrade->state == STATE_STARTING)
		end_child(upgrade);
	free(upgrade);
}

/* A socket on which no wait is longer than ANSWER_SECONDS, but the first, which poll() ends. */
static void limit_waits(int socket)
{
	static const struct timeval limit = {.tv_sec = ANSWER_SECONDS};

	(void)setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

/* ---- who may have the CPU ---- */

/*
 * Workers may have no CPU to spare. So the new process starts behind everybody else, and both are
 * ahead of everybody else for the moment in which no frame moves: where that is permitted, that is,
 * where a thread may get back what it has given away (CAP_SYS_NICE).
 */
enum {
	NICE_BEHIND = 10,
	NICE_AHEAD = -20,
};

static int own_nice(void)
{
	return getpriority(PRIO_PROCESS, 0);
}

/* Of this thread, and of threads and processes that it makes from then on. */
static bool set_nice(int nice)
{
	return setpriority(PRIO_PROCESS, 0, nice) == 0;
}

static bool may_set_nice(void)
{
	int nice = own_nice();
	bool may = set_nice(NICE_AHEAD);

	(void)set_nice(nice);
	return may;
}

/* ---- documents ---- */

/* An answer: NULL: all is well. */
static int answer(int socket, const char *complaint)
{
	struct handover document;
	struct error ignored;

	document_begin(&document);
	json_object_set_new(document.root, "ok", json_boolean(complaint == NULL));
	/* Not if it is cut in the middle of a character. */
	if (complaint != NULL)
		json_object_set_new(document.root, "error", json_string(complaint));
	int result = handover_send(socket, &document, &ignored);
	handover_fini(&document);
	return result;
}

static int wait_for_answer(int socket, struct error *error)
{
	struct handover document;

	handover_init(&document);
	int result = handover_receive(socket, &document, error);
	if (result == -EPIPE)
		error_set(error, result, "it ended; its log may say why");
	const char *complaint = json_string_value(json_object_get(document.root, "error"));
	if (result == 0 && !json_is_true(json_object_get(document.root, "ok")))
		result = error_set(
			error, -EPROTO, "%s", complaint == NULL ? "its log says why" : complaint
		);
	handover_fini(&document);
	return result;
}

/* ---- old ---- */

/* The file may have been replaced, which is what upgrades are for: then the kernel adds a word. */
static int own_program(char *path, size_t size, struct error *error)
{
	static const char replaced[] = " (deleted)";
	ssize_t length = readlink("/proc/self/exe", path, size - 1);

	if (length < 0)
		return error_set(error, -errno, "cannot tell what program this is: %m");
	path[length] = '\0';
	size_t tail = sizeof(replaced) - 1;
	if ((size_t)length > tail && strcmp(path + length - tail, replaced) == 0)
		path[(size_t)length - tail] = '\0';
	return 0;
}

static int spawn(const struct upgrade *upgrade, const char *program, int socket, pid_t *pid)
{
	const struct upgrade_subject *subject = &upgrade->subject;
	posix_spawn_file_actions_t actions;
	char take_over[32];
	char *arguments[8] = {(char *)"virtlaned", take_over, (char *)"--socket"};
	int n = 3;

	(void)snprintf(take_over, sizeof(take_over), "--take-over=%d", TAKE_OVER_SOCKET);
	arguments[n++] = (char *)subject->socket;
	if (subject->config != NULL) {
		arguments[n++] = (char *)"--config";
		arguments[n++] = (char *)subject->config;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, socket, TAKE_OVER_SOCKET);
	/* DPDK's descriptors are not all closed by exec. */
	posix_spawn_file_actions_addclosefrom_np(&actions, TAKE_OVER_SOCKET + 1);
	int nice = own_nice();
	if (may_set_nice())
		(void)set_nice(NICE_BEHIND);
	int result = -posix_spawn(pid, program, &actions, NULL, arguments, environ);
	(void)set_nice(nice);
	posix_spawn_file_actions_destroy(&actions);
	return result;
}

static void fail(struct upgrade *upgrade, const struct error *error)
{
	end_child(upgrade);
	upgrade->state = STATE_FAILED;
	error_set(&upgrade->error, -EIO, "the new virtlaned did not come up: %.420s", error->text);
	log_error(LOG_CONTROL, "%s; this one goes on", upgrade->error.text);
}

static int hand_macs_over(struct upgrade *upgrade, struct error *error)
{
	struct handover document;

	document_begin(&document);
	switch_save_macs(*upgrade->subject.sw, &document);
	int result = handover_send(upgrade->socket, &document, error);
	handover_fini(&document);
	return result < 0 ? result : wait_for_answer(upgrade->socket, error);
}

static int hand_ports_over(struct upgrade *upgrade, struct error *error)
{
	struct switch_state *sw = *upgrade->subject.sw;
	struct handover document;

	document_begin(&document);
	document_put_settings(&document, sw);
	json_object_set_new(
		document.root,
		"control",
		handover_put_fd(&document, rpc_server_fd(*upgrade->subject.server))
	);
	json_object_set_new(document.root, "stopped_ns", json_integer(clock_now_ns()));
	int result = switch_save(sw, &document, error);
	if (result == 0) {
		result = handover_send(upgrade->socket, &document, error);
		if (result == 0)
			result = wait_for_answer(upgrade->socket, error);
		if (result == 0 && answer(upgrade->socket, NULL) < 0) /* go */
			result = error_set(error, -EPIPE, "it ended in the last moment");
		if (result < 0) {
			/* It first: whoever holds a ring holds it alone. */
			end_child(upgrade);
			switch_go_on(sw);
		}
	}
	handover_fini(&document);
	return result;
}

/* Meanwhile nobody looks at signals that end the daemon, and in the end they are the other one's.
 */
static volatile sig_atomic_t told_to_end;

static void on_told_to_end(int signal)
{
	told_to_end = signal;
}

struct end_handlers {
	struct sigaction sigterm, sigint;
};

static void keep_ends(struct end_handlers *before)
{
	const struct sigaction ours = {.sa_handler = on_told_to_end, .sa_flags = SA_RESTART};

	told_to_end = 0;
	(void)sigaction(SIGTERM, &ours, &before->sigterm);
	(void)sigaction(SIGINT, &ours, &before->sigint);
}

static void give_ends_back(const struct end_handlers *before)
{
	(void)sigaction(SIGTERM, &before->sigterm, NULL);
	(void)sigaction(SIGINT, &before->sigint, NULL);
	if (told_to_end != 0)
		(void)raise(told_to_end);
}

/* The other one is up: now it is quick. Does not return if all goes well. */
static void hand_over(struct upgrade *upgrade)
{
	struct end_handlers handlers;
	struct error error;
	int result, nice = own_nice();

	(void)set_nice(NICE_AHEAD);
	keep_ends(&handlers);
	limit_waits(upgrade->socket);
	/* What is left now would be out of date as soon as the other one goes on. */
	fd_store_clear(upgrade->subject.store);
	result = wait_for_answer(upgrade->socket, &error);
	if (result == 0)
		result = hand_macs_over(upgrade, &error);
	if (result == 0)
		result = hand_ports_over(upgrade, &error);
	if (result < 0) {
		(void)set_nice(nice);
		fail(upgrade, &error);
		fd_store_begin(upgrade->subject.store);
		give_ends_back(&handlers);
		return;
	}
	char *state = text_format("MAINPID=%d", (int)upgrade->pid);
	(void)notify_send_fd(state, -1);
	free(state);
	log_info(LOG_CONTROL, "process %d goes on", (int)upgrade->pid);
	if (told_to_end != 0)
		kill(upgrade->pid, told_to_end);
	/* Nothing is taken down: it is all the other one's. */
	_exit(EXIT_SUCCESS);
}

static void on_up(evutil_socket_t, short what, void *context)
{
	struct upgrade *upgrade = context;
	struct error error;

	if (what & EV_READ) {
		hand_over(upgrade);
		return;
	}
	error_set(&error, -ETIMEDOUT, "it was not up after %d s", START_SECONDS);
	fail(upgrade, &error);
}

/* What it needs to start with. */
static int say_settings(struct upgrade *upgrade, struct error *error)
{
	struct handover document;

	document_begin(&document);
	document_put_settings(&document, *upgrade->subject.sw);
	json_object_set_new(document.root, "nice", json_integer(own_nice()));
	int result = handover_send(upgrade->socket, &document, error);
	handover_fini(&document);
	return result;
}

int upgrade_start(struct upgrade *upgrade, const char *program, struct error *error)
{
	static const struct timeval limit = {.tv_sec = START_SECONDS};
	char own[4096];
	int ends[2];

	if (upgrade->state == STATE_STARTING)
		return error_set(error, -EBUSY, "another upgrade is under way");
	if (program == NULL) {
		int result = own_program(own, sizeof(own), error);

		if (result < 0)
			return result;
		program = own;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return error_set(error, -errno, "cannot make a socket: %m");
	int result = spawn(upgrade, program, ends[1], &upgrade->pid);
	close(ends[1]);
	if (result < 0) {
		close(ends[0]);
		upgrade->pid = 0;
		return error_set(
			error, result, "cannot start %.200s: %s", program, strerror(-result)
		);
	}
	upgrade->socket = ends[0];
	upgrade->event = event_new(upgrade->subject.base, upgrade->socket, EV_READ, on_up, upgrade);
	if (upgrade->event == NULL || event_add(upgrade->event, &limit) < 0)
		abort();
	result = say_settings(upgrade, error);
	if (result < 0) {
		end_child(upgrade);
		return result;
	}
	upgrade->state = STATE_STARTING;
	log_info(LOG_CONTROL, "upgrade: %s starts as process %d", program, (int)upgrade->pid);
	return 0;
}

json_t *upgrade_status(const struct upgrade *upgrade)
{
	static const char *const names[] = {
		[STATE_NONE] = "none",
		[STATE_STARTING] = "starting",
		[STATE_FAILED] = "failed",
		[STATE_DONE] = "done",
	};
	json_t *status = json_pack(
		"{s:s, s:i}",
		"state",
		names[upgrade->state],
		"pid",
		upgrade->state == STATE_STARTING ? (int)upgrade->pid : (int)getpid()
	);

	if (upgrade->state == STATE_FAILED)
		json_object_set_new(status, "error", json_string(upgrade->error.text));
	json_object_set_new(status, "version", json_string(VIRTLANE_VERSION));
	if (upgrade->state == STATE_DONE) {
		json_object_set_new(status, "from", json_string(upgrade->from));
		json_object_set_new(status, "gap_ms", json_real(upgrade->gap_ms));
	}
	return status;
}

/* ---- new ---- */

static int receive(int socket, struct handover *document, struct error *error)
{
	int result = handover_receive(socket, document, error);

	return result < 0 ? result : document_check(document, error);
}

/* Begin with what takes longest, if any of this will need it. */
static int prepare(const struct config *config, struct error *error)
{
	bool needed = config->sw.dma[0] != '\0';

	for (size_t i = 0; i < config->port_count; i++)
		needed |= config->ports[i].settings.kind == PORT_ETHDEV;
	return needed ? eal_start(error) : 0;
}

static int take_settings(struct upgrade *upgrade, int socket, int *nice, struct error *error)
{
	struct handover document;
	struct config *config = NULL;

	handover_init(&document);
	int result = receive(socket, &document, error);
	if (result == 0) {
		config = document_get_config(&document, error);
		result = config == NULL ? -EPROTO : prepare(config, error);
	}
	if (result == 0) {
		*nice = (int)json_integer_value(json_object_get(document.root, "nice"));
		(void)set_nice(*nice);
		(void)snprintf(
			upgrade->from,
			sizeof(upgrade->from),
			"%s",
			json_string_value(json_object_get(document.root, "version"))
		);
		document_get_log_levels(&document);
	}
	if (result == 0)
		result = switch_create(
			&config->sw, upgrade->subject.base, upgrade->subject.sw, error
		);
	config_free(config);
	handover_fini(&document);
	if (result < 0)
		return result;
	switch_set_state_directory(*upgrade->subject.sw, upgrade->subject.state_directory);
	switch_hold(*upgrade->subject.sw);
	return 0;
}

static int take_macs(struct upgrade *upgrade, int socket, struct error *error)
{
	struct handover document;

	handover_init(&document);
	int result = receive(socket, &document, error);
	if (result == 0)
		switch_load_macs(*upgrade->subject.sw, &document);
	handover_fini(&document);
	return result;
}

static int take_ports(
	struct upgrade *upgrade,
	int socket,
	void *rpc_context,
	struct config **config,
	int64_t *stopped,
	struct error *error
)
{
	const struct upgrade_subject *subject = &upgrade->subject;
	struct handover document;

	handover_init(&document);
	int result = receive(socket, &document, error);
	if (result == 0) {
		*stopped = json_integer_value(json_object_get(document.root, "stopped_ns"));
		int control =
			handover_take_fd(&document, json_object_get(document.root, "control"));
		*config = document_get_config(&document, error);
		result = *config == NULL ? -EPROTO
					 : document_load_ports(
						 *subject->sw, *config, &document, false, error
					 );
		if (result == 0)
			result = rpc_server_create(
				subject->base,
				subject->socket,
				control,
				control_methods,
				rpc_context,
				subject->server,
				error
			);
	}
	handover_fini(&document);
	return result;
}

int upgrade_take_over(struct upgrade *upgrade, int socket, void *rpc_context, struct error *error)
{
	struct config *config = NULL;
	struct error ignored;
	int64_t stopped = 0;
	int nice = 0, result = take_settings(upgrade, socket, &nice, error);

	(void)set_nice(NICE_AHEAD);
	if (result == 0)
		result = answer(socket, NULL); /* up */
	limit_waits(socket);
	if (result == 0)
		result = take_macs(upgrade, socket, error);
	if (result == 0)
		result = answer(socket, NULL);
	if (result == 0)
		result = take_ports(upgrade, socket, rpc_context, &config, &stopped, error);
	if (result < 0) {
		(void)answer(socket, error->text);
		return result;
	}
	/* "go"; or the other one has died meanwhile, which comes to the same. It ends us if it
	 * wants to go on itself. */
	if (answer(socket, NULL) == 0)
		(void)wait_for_answer(socket, &ignored);
	switch_go_on(*upgrade->subject.sw);
	upgrade->gap_ms = (double)(clock_now_ns() - stopped) / 1e6;
	(void)set_nice(nice);
	document_make_others(*upgrade->subject.sw, config);
	config_free(config);
	close(socket);
	upgrade->state = STATE_DONE;
	log_info(
		LOG_CONTROL,
		"took over from virtlaned %s; no frames for %.2f ms",
		upgrade->from,
		upgrade->gap_ms
	);
	return 0;
}
