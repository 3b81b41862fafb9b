/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods about the configuration as a whole: check, diff, apply, save. See methods.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "control/config_apply.h"
#include "control/methods.h"

/* The first error is the message; all are in `data`, so that a file can be mended in one go. */
static void
fail_bad_config(struct rpc_failure *failure, const struct config_errors *errors, const char *file)
{
	char more[40] = "";
	json_t *list = json_array();

	for (size_t i = 0; i < errors->count && i < CONFIG_ERRORS_MAX; i++)
		json_array_append_new(
			list,
			json_pack(
				"{s:i, s:s}",
				"line",
				(int)errors->list[i].line,
				"message",
				errors->list[i].error.text
			)
		);
	if (errors->count > 1)
		(void)snprintf(more, sizeof(more), " (and %zu more)", errors->count - 1);
	rpc_fail_with(
		failure,
		RPC_BAD_CONFIG,
		-EINVAL,
		"%.100s:%u: %.350s%s",
		file,
		errors->list[0].line,
		errors->list[0].error.text,
		more
	);
	failure->data = json_pack("{s:s, s:o}", "file", file, "errors", list);
}

/* From params {text, file}; NULL and a failure if the text is wrong. */
static struct config_plan *make_plan(
	const struct control *control,
	json_t *params,
	const char **file,
	struct rpc_failure *failure
)
{
	struct config_plan *plan;
	const char *text;

	*file = "config";
	if (!params_unpack(params, failure, "{s:s, s?s !}", "text", &text, "file", file))
		return NULL;
	plan = config_plan_new(control->sw, text);
	if (plan->wanted != NULL)
		return plan;
	fail_bad_config(failure, &plan->errors, *file);
	config_plan_free(plan);
	return NULL;
}

static json_t *changes_json(const struct config_diff *diff)
{
	json_t *list = json_array();

	for (size_t i = 0; i < diff->count; i++) {
		const struct change *change = &diff->changes[i];

		json_array_append_new(
			list,
			json_pack(
				"{s:s, s:s*, s:s}",
				"action",
				change_action_name(change->action),
				"port",
				change_port(change),
				"text",
				change->text
			)
		);
	}
	return json_pack("{s:o}", "changes", list);
}

json_t *method_config_check(void *context, json_t *params, struct rpc_failure *failure)
{
	const char *file;
	struct config_plan *plan = make_plan(context, params, &file, failure);
	json_t *result;

	if (plan == NULL)
		return NULL;
	result = json_pack("{s:I}", "ports", (json_int_t)plan->wanted->port_count);
	config_plan_free(plan);
	return result;
}

json_t *method_config_diff(void *context, json_t *params, struct rpc_failure *failure)
{
	const char *file;
	struct config_plan *plan = make_plan(context, params, &file, failure);
	json_t *result;

	if (plan == NULL)
		return NULL;
	result = changes_json(plan->diff);
	config_plan_free(plan);
	return result;
}

json_t *method_config_apply(void *context, json_t *params, struct rpc_failure *failure)
{
	struct control *control = context;
	const char *file;
	struct config_plan *plan = make_plan(control, params, &file, failure);
	json_t *result = NULL;
	int status;

	if (plan == NULL)
		return NULL;
	status = config_plan_apply(plan, control->sw, file, &failure->error);
	if (status != 0) {
		rpc_fail(failure, RPC_REFUSED, status);
	} else {
		result = changes_json(plan->diff);
		log_info(LOG_CONTROL, "%s applied, %zu changes", file, plan->diff->count);
	}
	config_plan_free(plan);
	return result;
}

json_t *method_config_save(void *context, json_t *params, struct rpc_failure *failure)
{
	const struct control *control = context;
	struct config *config;
	json_t *result;
	char *text;

	if (!params_unpack(params, failure, "{!}"))
		return NULL;
	config = config_of_switch(control->sw);
	text = config_format(config);
	result = json_pack("{s:s}", "text", text);
	free(text);
	config_free(config);
	return result;
}
