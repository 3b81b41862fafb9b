/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of methods, and those that are about the switch as a whole. See methods.h. */
#include "control/methods.h"

#include <errno.h>
#include <stdarg.h>

#include "base/log.h"
#include "control/text.h"
#include "control/upgrade.h"
#include "switch/switch.h"

bool params_unpack(json_t *params, struct rpc_failure *failure, const char *format, ...)
{
	json_error_t where;
	va_list arguments;
	int status;

	va_start(arguments, format);
	status = json_vunpack_ex(params, &where, 0, format, arguments);
	va_end(arguments);
	if (status == 0)
		return true;
	rpc_fail_with(failure, RPC_INVALID_PARAMS, -EINVAL, "wrong params: %s", where.text);
	return false;
}

json_t *fail_no_port(struct rpc_failure *failure, const char *name)
{
	return rpc_fail_with(
		failure,
		RPC_REFUSED,
		-ENOENT,
		"there is no port '%.60s'; `virtlane port list` shows those there are",
		name
	);
}

/* ---- mac ---- */

static void append_mac(void *context, const struct mac_info *info)
{
	char text[MAC_TEXT_SIZE];

	text_format_mac(info->mac, text);
	json_array_append_new(
		context,
		json_pack(
			"{s:s, s:i, s:s, s:I, s:b}",
			"mac",
			text,
			"vlan",
			(int)info->vlan,
			"port",
			info->port,
			"age",
			(json_int_t)info->age,
			"static",
			(int)info->fixed
		)
	);
}

/* The filter that mac.list and mac.flush have in common. */
static bool unpack_filter(
	const struct control *control,
	json_t *params,
	const char **port,
	int *vlan,
	struct rpc_failure *failure
)
{
	*port = NULL;
	*vlan = -1;
	if (!params_unpack(params, failure, "{s?s, s?i !}", "port", port, "vlan", vlan))
		return false;
	if (*port != NULL && switch_port_find(control->sw, *port) == NULL) {
		fail_no_port(failure, *port);
		return false;
	}
	if (*vlan < -1 || *vlan >= VLAN_COUNT - 1) {
		rpc_fail_with(
			failure,
			RPC_INVALID_PARAMS,
			-EINVAL,
			"vlan=%d: give a number from 0 (no VLAN) to %d",
			*vlan,
			VLAN_COUNT - 2
		);
		return false;
	}
	return true;
}

static json_t *method_mac_list(void *context, json_t *params, struct rpc_failure *failure)
{
	const struct control *control = context;
	const char *port;
	json_t *list;
	int vlan;

	if (!unpack_filter(control, params, &port, &vlan, failure))
		return NULL;
	list = json_array();
	switch_mac_list(control->sw, port, vlan, append_mac, list);
	return list;
}

static json_t *method_mac_flush(void *context, json_t *params, struct rpc_failure *failure)
{
	const struct control *control = context;
	const char *port;
	size_t count;
	int vlan;

	if (!unpack_filter(control, params, &port, &vlan, failure))
		return NULL;
	count = switch_mac_flush(control->sw, port, vlan);
	return json_pack("{s:I}", "flushed", (json_int_t)count);
}

/* ---- workers ---- */

static json_t *worker_json(const struct switch_state *sw, unsigned index)
{
	struct worker_status status;
	struct worker_queue queue;
	json_t *queues;
	json_t *loads;

	if (switch_worker_status(sw, index, &status) != 0)
		return NULL;
	queues = json_array();
	loads = json_array();
	for (unsigned i = 0; switch_worker_queue(sw, index, i, &queue); i++) {
		json_array_append_new(queues, json_sprintf("%s/%u", queue.port, queue.queue));
		json_array_append_new(loads, json_real(queue.load));
	}
	return json_pack(
		"{s:i, s:o?, s:o, s:o, s:i, s:f, s:I, s:I, s:I, s:I, s:I}",
		"index",
		(int)index,
		"cpu",
		status.cpu >= 0 ? json_integer(status.cpu) : NULL,
		"queues",
		queues,
		"queue_loads",
		loads,
		"moved",
		(int)status.moved,
		"load",
		status.load,
		"sleeps",
		(json_int_t)status.sleeps,
		"wakeups",
		(json_int_t)status.wakeups,
		"rx_frames",
		(json_int_t)status.rx_frames,
		"busy_cycles",
		(json_int_t)status.busy_cycles,
		"dma_copies",
		(json_int_t)status.dma_copies
	);
}

static json_t *method_worker_list(void *context, json_t *params, struct rpc_failure *failure)
{
	const struct control *control = context;
	json_t *list;

	if (!params_unpack(params, failure, "{!}"))
		return NULL;
	list = json_array();
	for (unsigned i = 0; i < switch_settings(control->sw)->worker_count; i++)
		json_array_append_new(list, worker_json(control->sw, i));
	return list;
}

/* ---- log and version ---- */

json_t *log_levels_json(void)
{
	json_t *levels = json_object();

	for (enum log_subject subject = 0; subject < LOG_SUBJECT_COUNT; subject++)
		json_object_set_new(
			levels,
			log_subject_name(subject),
			json_string(log_level_name(log_get_level(subject)))
		);
	return levels;
}

static json_t *method_log_level(void *, json_t *params, struct rpc_failure *failure)
{
	const char *subject_text = "all";
	const char *level_text = NULL;
	enum log_subject subject;
	enum log_level level;

	if (!params_unpack(
		    params, failure, "{s?s, s?s !}", "subject", &subject_text, "level", &level_text
	    ))
		return NULL;
	if (!log_subject_parse(subject_text, &subject))
		return rpc_fail_with(
			failure,
			RPC_INVALID_PARAMS,
			-EINVAL,
			"there is no log subject '%.40s'; use all, switch, port, vhost or control",
			subject_text
		);
	if (level_text == NULL)
		return log_levels_json();
	if (!log_level_parse(level_text, &level))
		return rpc_fail_with(
			failure,
			RPC_INVALID_PARAMS,
			-EINVAL,
			"there is no log level '%.40s'; use error, warning, info or debug",
			level_text
		);
	log_set_level(subject, level);
	return log_levels_json();
}

/* ---- upgrade ---- */

static json_t *method_upgrade(void *context, json_t *params, struct rpc_failure *failure)
{
	const struct control *control = context;
	const char *program = NULL;

	if (!params_unpack(params, failure, "{s?s !}", "program", &program))
		return NULL;
	int result = upgrade_start(control->upgrade, program, &failure->error);
	if (result < 0)
		return rpc_fail(failure, RPC_REFUSED, result);
	return upgrade_status(control->upgrade);
}

static json_t *method_upgrade_status(void *context, json_t *params, struct rpc_failure *failure)
{
	const struct control *control = context;

	if (!params_unpack(params, failure, "{!}"))
		return NULL;
	return upgrade_status(control->upgrade);
}

static json_t *method_version(void *, json_t *params, struct rpc_failure *failure)
{
	if (!params_unpack(params, failure, "{!}"))
		return NULL;
	return json_pack("{s:s, s:i}", "version", VIRTLANE_VERSION, "rpc", 1);
}

const struct rpc_method control_methods[] = {
	{.name = "port.add", .handle = method_port_add},
	{.name = "port.del", .handle = method_port_delete},
	{.name = "port.set", .handle = method_port_set},
	{.name = "port.list", .handle = method_port_list},
	{.name = "port.show", .handle = method_port_show},
	{.name = "mac.list", .handle = method_mac_list},
	{.name = "mac.flush", .handle = method_mac_flush},
	{.name = "stats", .handle = method_stats},
	{.name = "worker.list", .handle = method_worker_list},
	{.name = "log.level", .handle = method_log_level},
	{.name = "config.check", .handle = method_config_check},
	{.name = "config.apply", .handle = method_config_apply},
	{.name = "config.diff", .handle = method_config_diff},
	{.name = "config.save", .handle = method_config_save},
	/* It may name any program, and that gets everything. */
	{.name = "upgrade", .handle = method_upgrade, .owner_only = true},
	{.name = "upgrade.status", .handle = method_upgrade_status},
	{.name = "version", .handle = method_version},
	{},
};
