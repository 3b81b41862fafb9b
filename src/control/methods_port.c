/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods about ports and their counters, see methods.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/methods.h"
#include "control/port_json.h"
#include "control/settings.h"
#include "control/text.h"
#include "switch/switch.h"

/* A value as the configuration file would have it; malloc()ed, NULL if it has no such form. */
static char *setting_text(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		return text_format("%s", json_string_value(value));
	case JSON_INTEGER:
		return text_format("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	case JSON_TRUE:
		return text_format("yes");
	case JSON_FALSE:
		return text_format("no");
	case JSON_NULL:
		return text_format("none");
	default:
		return NULL;
	}
}

static int take_setting(
	struct port_settings *settings,
	struct settings_given *given,
	const char *name,
	const json_t *value,
	struct error *error
)
{
	char *text = setting_text(value);
	int status;

	if (text == NULL)
		return error_set(
			error, -EINVAL, "%.40s: give a string, a number, true or false", name
		);
	status = settings_parse(port_setting_table, name, text, settings, given, error);
	free(text);
	return status;
}

/* Take all settings from params; `skip` are params that are none. */
static int take_settings(
	struct port_settings *settings,
	struct settings_given *given,
	json_t *params,
	const char *skip,
	struct error *error
)
{
	const char *name;
	json_t *value;

	json_object_foreach(params, name, value)
	{
		int status;

		if (strcmp(name, "name") == 0 || strcmp(name, skip) == 0)
			continue;
		status = take_setting(settings, given, name, value, error);
		if (status != 0)
			return status;
	}
	return 0;
}

/* The sentence gets the port's name in front: settings do not know it. */
static json_t *
fail_port(struct rpc_failure *failure, enum rpc_code code, int status, const char *name)
{
	struct error cause = failure->error;

	return rpc_fail_with(failure, code, status, "port '%.40s': %.400s", name, cause.text);
}

/* The port is there already, and that is fine if it is as it should be. */
static json_t *accept_existing(
	const struct port_settings *there,
	const struct port_settings *wanted,
	struct rpc_failure *failure
)
{
	const struct setting *setting = port_setting_table;

	for (; setting->name != NULL; setting++) {
		if (!setting_equal(setting, there, wanted))
			return rpc_fail_with(
				failure,
				RPC_REFUSED,
				-EEXIST,
				"port '%s' exists with another %s; use port set, or delete it "
				"first",
				there->name,
				setting->name
			);
	}
	return json_pack("{s:s, s:b}", "name", there->name, "added", 0);
}

json_t *method_port_add(void *context, json_t *params, struct rpc_failure *failure)
{
	const struct control *control = context;
	struct error *error = &failure->error;
	const struct port_settings *there;
	struct settings_given given = {};
	struct port_settings settings;
	int may_exist = 0;
	const char *name;
	int status;

	if (!params_unpack(params, failure, "{s:s, s?b}", "name", &name, "may_exist", &may_exist))
		return NULL;
	port_settings_default(&settings);
	status = port_name_parse(name, settings.name, error);
	if (status != 0)
		return rpc_fail(failure, RPC_INVALID_PARAMS, status);
	status = take_settings(&settings, &given, params, "may_exist", error);
	if (status == 0)
		status = port_settings_check(&settings, &given, error);
	if (status == 0)
		status = port_settings_check_host(&settings, error);
	if (status != 0)
		return fail_port(failure, RPC_INVALID_PARAMS, status, name);

	there = switch_port_find(control->sw, name);
	if (may_exist && there != NULL)
		return accept_existing(there, &settings, failure);
	status = switch_port_add(control->sw, &settings, error);
	if (status != 0)
		return rpc_fail(failure, RPC_REFUSED, status);
	return json_pack("{s:s, s:b}", "name", settings.name, "added", 1);
}

json_t *method_port_delete(void *context, json_t *params, struct rpc_failure *failure)
{
	const struct control *control = context;
	int if_exists = 0;
	const char *name;
	int status;

	if (!params_unpack(params, failure, "{s:s, s?b !}", "name", &name, "if_exists", &if_exists))
		return NULL;
	if (switch_port_find(control->sw, name) == NULL) {
		if (!if_exists)
			return fail_no_port(failure, name);
		return json_pack("{s:s, s:b}", "name", name, "deleted", 0);
	}
	status = switch_port_delete(control->sw, name, &failure->error);
	if (status != 0)
		return rpc_fail(failure, RPC_REFUSED, status);
	return json_pack("{s:s, s:b}", "name", name, "deleted", 1);
}

json_t *method_port_set(void *context, json_t *params, struct rpc_failure *failure)
{
	const struct control *control = context;
	struct error *error = &failure->error;
	const struct port_settings *there;
	struct settings_given given = {};
	struct port_settings settings;
	const char *name;
	int status;

	if (!params_unpack(params, failure, "{s:s}", "name", &name))
		return NULL;
	there = switch_port_find(control->sw, name);
	if (there == NULL)
		return fail_no_port(failure, name);
	settings = *there;
	status = take_settings(&settings, &given, params, "", error);
	if (status == 0 && given.bits == 0)
		status = error_set(error, -EINVAL, "nothing to change; give SETTING=VALUE");
	if (status != 0)
		return fail_port(failure, RPC_INVALID_PARAMS, status, name);
	status = port_settings_check_live(&settings, &given, error);
	if (status != 0)
		return rpc_fail(failure, RPC_REFUSED, status);
	status = port_settings_check(&settings, NULL, error);
	if (status != 0)
		return fail_port(failure, RPC_INVALID_PARAMS, status, name);
	status = switch_port_set_policy(control->sw, name, &settings.policy, error);
	if (status != 0)
		return rpc_fail(failure, RPC_REFUSED, status);
	return json_pack("{s:s, s:o}", "name", name, "settings", port_settings_json(&settings));
}

json_t *method_port_list(void *context, json_t *params, struct rpc_failure *failure)
{
	struct control *control = context;
	const struct port_settings *port;
	unsigned cursor = 0;
	json_t *list;

	if (!params_unpack(params, failure, "{!}"))
		return NULL;
	list = json_array();
	while ((port = switch_port_next(control->sw, &cursor)) != NULL) {
		if (switch_port_status(control->sw, port->name, &control->status) == 0)
			json_array_append_new(list, port_summary_json(port, &control->status));
	}
	return list;
}

json_t *method_port_show(void *context, json_t *params, struct rpc_failure *failure)
{
	struct control *control = context;
	const struct port_settings *port;
	const char *name;

	if (!params_unpack(params, failure, "{s:s !}", "name", &name))
		return NULL;
	port = switch_port_find(control->sw, name);
	if (port == NULL || switch_port_status(control->sw, name, &control->status) != 0)
		return fail_no_port(failure, name);
	return port_status_json(port, &control->status);
}

json_t *method_stats(void *context, json_t *params, struct rpc_failure *failure)
{
	struct control *control = context;
	const struct port_settings *port;
	const struct port_counters *removed = switch_removed_counters(control->sw);
	struct port_counters total = {};
	const char *only = NULL;
	struct timespec now;
	unsigned cursor = 0;
	json_t *list;

	if (!params_unpack(params, failure, "{s?s !}", "port", &only))
		return NULL;
	if (only != NULL && switch_port_find(control->sw, only) == NULL)
		return fail_no_port(failure, only);
	if (only == NULL)
		total = *removed;
	list = json_array();
	(void)clock_gettime(CLOCK_REALTIME, &now);
	while ((port = switch_port_next(control->sw, &cursor)) != NULL) {
		const struct port_counters *counters = &control->status.counters;

		if (only != NULL && strcmp(only, port->name) != 0)
			continue;
		if (switch_port_status(control->sw, port->name, &control->status) != 0)
			continue;
		port_counters_add(&total, counters);
		json_array_append_new(list, port_counters_json(port->name, counters));
	}
	return json_pack(
		"{s:f, s:o, s:o, s:o}",
		"time",
		(double)now.tv_sec + (double)now.tv_nsec * 1e-9,
		"ports",
		list,
		"removed",
		port_counters_json(NULL, removed),
		"total",
		port_counters_json(NULL, &total)
	);
}
