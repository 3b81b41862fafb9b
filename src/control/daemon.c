/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's life, see daemon.h. */
#include "control/daemon.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "control/config_apply.h"
#include "control/document.h"
#include "control/fd_store.h"
#include "control/methods.h"
#include "control/notify.h"
#include "control/rpc.h"
#include "control/text.h"
#include "control/upgrade.h"
#include "switch/switch.h"

struct daemon {
	const struct daemon_options *options;
	struct event_base *base;
	struct event *sigterm, *sigint, *sighup;
	struct rpc_server *server;
	char *state; /* directory for what has to outlive us */
	struct fd_store *store;
	struct upgrade *upgrade;
	struct control control; /* with the switch */
};

/* ---- configuration ---- */

/* Complaints about the file itself: before there is a log, on standard error as they are. */
static void print_errors(const struct config_errors *errors, const char *file)
{
	char *text = config_errors_format(errors, file);

	(void)fprintf(stderr, "%s\n", text);
	free(text);
}

/* The text of the configuration file, or of an empty one. NULL: said why. */
static char *read_config(const char *file)
{
	struct error error;
	char *text = text_read_file(file != NULL ? file : "/dev/null", &error);

	if (text == NULL)
		(void)fprintf(stderr, "virtlaned: %s\n", error.text);
	return text;
}

/* Read and check the file; NULL: said why. */
static struct config_plan *plan_start(const char *file)
{
	char *text = read_config(file);
	struct config_plan *plan;

	if (text == NULL)
		return NULL;
	plan = config_plan_new(NULL, text);
	free(text);
	if (plan->wanted != NULL)
		return plan;
	print_errors(&plan->errors, file);
	config_plan_free(plan);
	return NULL;
}

int daemon_check(const char *config)
{
	struct config_plan *plan = plan_start(config);

	if (plan == NULL)
		return DAEMON_BAD_CONFIG;
	(void)printf("%s: fine, %zu ports\n", config, plan->wanted->port_count);
	config_plan_free(plan);
	return DAEMON_OK;
}

/* Make the ports of the file that `plan` was read from. */
static int apply_start(struct daemon *daemon, struct config_plan *plan)
{
	struct error error;

	plan->running = config_of_switch(daemon->control.sw);
	plan->diff = config_diff_new(plan->running, plan->wanted);
	if (config_plan_apply(plan, daemon->control.sw, daemon->options->config, &error) == 0)
		return DAEMON_OK;
	(void)fprintf(stderr, "%s\n", error.text);
	return DAEMON_BAD_CONFIG;
}

static void log_errors(const struct config_errors *errors, const char *file)
{
	for (size_t i = 0; i < errors->count && i < CONFIG_ERRORS_MAX; i++)
		log_error(
			LOG_CONTROL,
			"%s:%u: %s",
			file,
			errors->list[i].line,
			errors->list[i].error.text
		);
	log_error(LOG_CONTROL, "%s has errors; nothing was changed", file);
}

/* Apply the file as it is now. A bad one changes nothing and does not end the daemon. */
static void reload(struct daemon *daemon)
{
	const char *file = daemon->options->config;
	struct config_plan *plan;
	struct error error;
	char *text;

	if (file == NULL) {
		log_warning(LOG_CONTROL, "SIGHUP: started without --config, nothing to read");
		return;
	}
	text = text_read_file(file, &error);
	if (text == NULL) {
		log_error(LOG_CONTROL, "%s; nothing was changed", error.text);
		return;
	}
	plan = config_plan_new(daemon->control.sw, text);
	free(text);
	if (plan->wanted == NULL)
		log_errors(&plan->errors, file);
	else if (config_plan_apply(plan, daemon->control.sw, file, &error) != 0)
		log_error(LOG_CONTROL, "%s", error.text);
	else
		log_info(LOG_CONTROL, "%s applied, %zu changes", file, plan->diff->count);
	config_plan_free(plan);
}

/* ---- signals ---- */

static void on_end(evutil_socket_t signal, short, void *context)
{
	struct daemon *daemon = context;

	log_info(LOG_CONTROL, "ending on %s", signal == SIGINT ? "SIGINT" : "SIGTERM");
	event_base_loopbreak(daemon->base);
}

static void on_reload(evutil_socket_t, short, void *context)
{
	notify_reloading();
	reload(context);
	(void)notify_send_fd("READY=1", -1);
}

static struct event *
watch_signal(struct daemon *daemon, int signal, void (*handle)(evutil_socket_t, short, void *))
{
	struct event *event = evsignal_new(daemon->base, signal, handle, daemon);

	if (event == NULL || event_add(event, NULL) != 0)
		abort();
	return event;
}

static void watch_signals(struct daemon *daemon)
{
	(void
	)signal(SIGPIPE, SIG_IGN); /* a write to a peer that has gone is an error, not an end */
	daemon->sigterm = watch_signal(daemon, SIGTERM, on_end);
	daemon->sigint = watch_signal(daemon, SIGINT, on_end);
	daemon->sighup = watch_signal(daemon, SIGHUP, on_reload);
}

/* ---- start and end ---- */

/* The control socket comes first: it is what tells that another daemon runs. No frame moves yet. */
static int start_switch(struct daemon *daemon, const struct switch_settings *settings)
{
	struct error error;
	int status = rpc_server_create(
		daemon->base,
		daemon->options->socket,
		-1,
		control_methods,
		&daemon->control,
		&daemon->server,
		&error
	);

	if (status == 0)
		status = switch_create(settings, daemon->base, &daemon->control.sw, &error);
	if (status != 0) {
		(void)fprintf(stderr, "virtlaned: %s\n", error.text);
		return DAEMON_FAILED;
	}
	switch_set_state_directory(daemon->control.sw, daemon->state);
	switch_hold(daemon->control.sw);
	return DAEMON_OK;
}

static int start(struct daemon *daemon)
{
	struct config_plan *plan = plan_start(daemon->options->config);

	if (plan == NULL)
		return DAEMON_BAD_CONFIG;
	int status = start_switch(daemon, &plan->wanted->sw);
	if (status == DAEMON_OK) {
		status = apply_start(daemon, plan);
		switch_settle(daemon->control.sw);
	}
	config_plan_free(plan);
	return status;
}

/* As it was with the process that died, whatever the file says by now. */
static int recover(struct daemon *daemon, struct handover *document)
{
	struct error error;
	struct config *config = document_get_config(document, &error);

	if (config == NULL) {
		log_error(LOG_CONTROL, "what another virtlaned has left: %s", error.text);
		/* Its sockets are not to be in the way. */
		handover_fini(document);
		return start(daemon);
	}
	int status = start_switch(daemon, &config->sw);
	struct switch_state *sw = daemon->control.sw;
	unsigned cursor = 0;
	if (status == DAEMON_OK) {
		(void)document_load_ports(sw, config, document, true, &error);
		/* Of ports that could be made; else their numbers are others' soon. */
		if (switch_port_next(sw, &cursor) != NULL)
			switch_load_macs(sw, document);
		document_make_others(sw, config);
		switch_settle(sw);
		log_info(LOG_CONTROL, "goes on where another virtlaned died");
	}
	config_free(config);
	return status;
}

static void stop(struct daemon *daemon)
{
	upgrade_free(daemon->upgrade);
	fd_store_free(daemon->store);
	rpc_server_destroy(daemon->server);
	switch_destroy(daemon->control.sw);
	event_free(daemon->sigterm);
	event_free(daemon->sigint);
	event_free(daemon->sighup);
	event_base_free(daemon->base);
	free(daemon->state);
	free(daemon);
}

/* A port has some for each queue and each piece of memory. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Everything but the control socket and the switch. */
static struct daemon *daemon_new(const struct daemon_options *options)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));

	if (daemon == NULL)
		abort();
	daemon->options = options;
	allow_descriptors();
	daemon->base = event_base_new();
	if (daemon->base == NULL)
		abort();
	daemon->state = text_format("%s.state", options->socket);
	watch_signals(daemon);
	daemon->store = fd_store_new(daemon->base, &daemon->control.sw);
	struct upgrade_subject subject = {
		.base = daemon->base,
		.store = daemon->store,
		.sw = &daemon->control.sw,
		.server = &daemon->server,
		.config = options->config,
		.socket = options->socket,
		.state_directory = daemon->state,
	};
	daemon->upgrade = upgrade_new(&subject);
	daemon->control.upgrade = daemon->upgrade;
	return daemon;
}

static void serve(struct daemon *daemon)
{
	log_info(LOG_CONTROL, "ready, control socket %s", daemon->options->socket);
	(void)notify_send_fd("READY=1", -1);
	fd_store_begin(daemon->store);
	(void)event_base_dispatch(daemon->base);
	fd_store_clear(daemon->store);
	notify_send("STOPPING=1");
}

static int run_afresh(const struct daemon_options *options)
{
	struct daemon *daemon = daemon_new(options);
	struct handover document;

	handover_init(&document);
	int status = fd_store_recover(daemon->store, &document) ? recover(daemon, &document)
								: start(daemon);
	handover_fini(&document);
	if (status == DAEMON_OK)
		serve(daemon);
	stop(daemon);
	return status;
}

/* The ports are as they are there, whatever the file says by now. */
static int run_after_another(const struct daemon_options *options)
{
	struct daemon *daemon = daemon_new(options);
	struct error error;

	if (upgrade_take_over(daemon->upgrade, options->take_over, &daemon->control, &error) < 0) {
		log_error(LOG_CONTROL, "cannot take over: %s", error.text);
		/* Sockets and interfaces are the other one's: nothing is taken down. */
		_exit(DAEMON_FAILED);
	}
	serve(daemon);
	stop(daemon);
	return DAEMON_OK;
}

int daemon_run(const struct daemon_options *options)
{
	return options->take_over >= 0 ? run_after_another(options) : run_afresh(options);
}
