/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON-RPC 2.0 without the transport: from the text of a request to the text of its reply. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct evbuffer;

enum rpc_code {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_NO_METHOD = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL_ERROR = -32603,
	RPC_REFUSED = -32000,	    /* the switch cannot or will not */
	RPC_BAD_CONFIG = -32001,    /* a configuration text is wrong */
	RPC_NOT_PERMITTED = -32002, /* the caller may not use the socket */
};

/* Why a method failed: `error` becomes the message, `number` (an errno) its name in data.code. */
struct rpc_failure {
	enum rpc_code code;
	int number;
	struct error error;
	json_t *data; /* owned; an object to which `code` is added, or NULL */
};

/* Fill `failure` with a sentence that is there already (NULL: `failure->error`). Returns NULL. */
json_t *rpc_fail(struct rpc_failure *failure, enum rpc_code code, int status);
/* The same with a new sentence. */
json_t *
rpc_fail_with(struct rpc_failure *failure, enum rpc_code code, int status, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* `params` is an object, borrowed. Returns the result, a new reference, or NULL and a failure. */
typedef json_t *(*rpc_handler)(void *context, json_t *params, struct rpc_failure *failure);

struct rpc_method {
	const char *name;
	rpc_handler handle;
	bool owner_only; /* not for others who may use the socket */
};

/*
 * Handle one line: a request or a batch. Replies are added to `out`, a line each; a notification
 * has none. `methods` ends with one without a name. `owner`: the caller is root or our own user.
 * Returns false when more than `out_size_max` bytes wait in `out`: the rest of the batch is not
 * looked at.
 */
bool rpc_handle_line(
	const struct rpc_method *methods,
	void *context,
	bool owner,
	const char *line,
	size_t size,
	struct evbuffer *out,
	size_t out_size_max
);

/* Add the reply to a request that has no id that we know. */
void rpc_write_failure(struct evbuffer *out, struct rpc_failure *failure);
