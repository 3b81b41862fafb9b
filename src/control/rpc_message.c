/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON-RPC 2.0 messages, see rpc_message.h. */
#include "control/rpc_message.h"

#include <ctype.h>
#include <errno.h>
#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

json_t *rpc_fail(struct rpc_failure *failure, enum rpc_code code, int status)
{
	failure->code = code;
	failure->number = -status;
	return NULL;
}

json_t *
rpc_fail_with(struct rpc_failure *failure, enum rpc_code code, int status, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(failure->error.text, sizeof(failure->error.text), format, arguments);
	va_end(arguments);
	return rpc_fail(failure, code, status);
}

static int dump_to_evbuffer(const char *bytes, size_t size, void *out)
{
	return evbuffer_add(out, bytes, size);
}

static void write_json(struct evbuffer *out, const json_t *json)
{
	(void)json_dump_callback(json, dump_to_evbuffer, out, JSON_COMPACT);
}

/*
 * A sentence may quote what the caller sent, cut in the middle of a character: keep what is not
 * text away from JSON, the log and the caller's terminal.
 */
static void clean_sentence(struct error *error)
{
	json_t *valid = json_string(error->text);

	for (char *at = error->text; *at != '\0'; at++) {
		if (iscntrl((unsigned char)*at) || (valid == NULL && !isascii((unsigned char)*at)))
			*at = '?';
	}
	json_decref(valid);
}

/* Takes `result`; NULL: it failed. `id` is borrowed. */
static json_t *make_reply(json_t *id, json_t *result, struct rpc_failure *failure)
{
	const char *name = strerrorname_np(failure->number);
	json_t *data;

	if (result != NULL)
		return json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, "result", result);
	clean_sentence(&failure->error);
	data = failure->data != NULL ? json_incref(failure->data) : json_object();
	if (failure->number != 0 && name != NULL)
		json_object_set_new(data, "code", json_string(name));
	return json_pack(
		"{s:s, s:O, s:{s:i, s:s, s:o}}",
		"jsonrpc",
		"2.0",
		"id",
		id,
		"error",
		"code",
		(int)failure->code,
		"message",
		failure->error.text,
		"data",
		data
	);
}

static const struct rpc_method *find_method(const struct rpc_method *methods, const char *name)
{
	for (; methods->name != NULL; methods++) {
		if (strcmp(methods->name, name) == 0)
			return methods;
	}
	return NULL;
}

static bool is_request(json_t *request)
{
	json_t *id = json_object_get(request, "id");
	const char *version = json_string_value(json_object_get(request, "jsonrpc"));

	return version != NULL && strcmp(version, "2.0") == 0
	       && json_is_string(json_object_get(request, "method"))
	       && (id == NULL || json_is_string(id) || json_is_number(id) || json_is_null(id));
}

static json_t *call_method(
	const struct rpc_method *methods,
	void *context,
	bool owner,
	json_t *request,
	struct rpc_failure *failure
)
{
	const char *name = json_string_value(json_object_get(request, "method"));
	const struct rpc_method *method = find_method(methods, name);
	json_t *params = json_object_get(request, "params");
	json_t *none = NULL;
	json_t *result;

	if (method == NULL)
		return rpc_fail_with(
			failure,
			RPC_NO_METHOD,
			-ENOSYS,
			"there is no method '%.40s'; see docs/rpc.md",
			name
		);
	if (method->owner_only && !owner)
		return rpc_fail_with(
			failure,
			RPC_NOT_PERMITTED,
			-EPERM,
			"only root and the user that virtlaned runs as may %.40s",
			name
		);
	if (params == NULL)
		params = none = json_object();
	if (!json_is_object(params))
		return rpc_fail_with(
			failure, RPC_INVALID_PARAMS, -EINVAL, "params must be an object"
		);
	result = method->handle(context, params, failure);
	json_decref(none);
	log_debug(LOG_CONTROL, "%s %s", name, result != NULL ? "done" : "refused");
	return result;
}

/* The reply to one request, a new reference; NULL for a notification. */
static json_t *
handle_request(const struct rpc_method *methods, void *context, bool owner, json_t *request)
{
	struct rpc_failure failure = {.code = RPC_INTERNAL_ERROR};
	json_t *id = json_object_get(request, "id");
	json_t *null = json_null();
	json_t *result = NULL;
	json_t *reply;

	if (!is_request(request)) {
		id = null;
		rpc_fail_with(
			&failure,
			RPC_INVALID_REQUEST,
			-EINVAL,
			"not a JSON-RPC 2.0 request; give jsonrpc, method and id"
		);
	} else {
		result = call_method(methods, context, owner, request, &failure);
	}
	if (id == NULL) {
		json_decref(result);
		reply = NULL;
	} else {
		reply = make_reply(id, result, &failure);
	}
	json_decref(failure.data);
	return reply;
}

/* Replies are written as they come, so that many large ones never are in memory together. */
static bool handle_batch(
	const struct rpc_method *methods,
	void *context,
	bool owner,
	json_t *batch,
	struct evbuffer *out,
	size_t out_size_max
)
{
	const char *separator = "[";
	json_t *request;
	size_t i;

	json_array_foreach(batch, i, request)
	{
		json_t *reply = handle_request(methods, context, owner, request);

		if (reply == NULL)
			continue;
		evbuffer_add(out, separator, 1);
		separator = ",";
		write_json(out, reply);
		json_decref(reply);
		if (evbuffer_get_length(out) > out_size_max)
			return false;
	}
	if (*separator == ',')
		evbuffer_add(out, "]\n", 2);
	return true;
}

static void write_reply(struct evbuffer *out, json_t *reply)
{
	if (reply == NULL)
		return;
	write_json(out, reply);
	evbuffer_add(out, "\n", 1);
	json_decref(reply);
}

void rpc_write_failure(struct evbuffer *out, struct rpc_failure *failure)
{
	json_t *null = json_null();

	write_reply(out, make_reply(null, NULL, failure));
}

bool rpc_handle_line(
	const struct rpc_method *methods,
	void *context,
	bool owner,
	const char *line,
	size_t size,
	struct evbuffer *out,
	size_t out_size_max
)
{
	struct rpc_failure failure = {};
	json_error_t where;
	json_t *request = json_loadb(line, size, JSON_REJECT_DUPLICATES, &where);
	bool fits = true;

	if (request == NULL) {
		rpc_fail_with(
			&failure,
			RPC_PARSE_ERROR,
			-EINVAL,
			"cannot read the request as JSON: %s (byte %d)",
			where.text,
			where.position
		);
		rpc_write_failure(out, &failure);
	} else if (json_array_size(request) > 0) {
		fits = handle_batch(methods, context, owner, request, out, out_size_max);
	} else {
		write_reply(out, handle_request(methods, context, owner, request));
	}
	json_decref(request);
	return fits && evbuffer_get_length(out) <= out_size_max;
}
