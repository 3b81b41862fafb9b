/* SPDX-License-Identifier: BSD-3-Clause */
/* What the control socket offers; docs/rpc.md says what goes in and out. */
#pragma once

#include <jansson.h>

#include "control/rpc_message.h"
#include "port/status.h"

struct switch_state;
struct upgrade;

/* The context of every method. */
struct control {
	struct switch_state *sw;
	struct upgrade *upgrade;
	struct port_status status; /* scratch: too large for a stack */
};

/* Ends with a method without a name. */
extern const struct rpc_method control_methods[];

json_t *method_port_add(void *context, json_t *params, struct rpc_failure *failure);
json_t *method_port_delete(void *context, json_t *params, struct rpc_failure *failure);
json_t *method_port_set(void *context, json_t *params, struct rpc_failure *failure);
json_t *method_port_list(void *context, json_t *params, struct rpc_failure *failure);
json_t *method_port_show(void *context, json_t *params, struct rpc_failure *failure);
json_t *method_stats(void *context, json_t *params, struct rpc_failure *failure);
json_t *method_config_check(void *context, json_t *params, struct rpc_failure *failure);
json_t *method_config_apply(void *context, json_t *params, struct rpc_failure *failure);
json_t *method_config_diff(void *context, json_t *params, struct rpc_failure *failure);
json_t *method_config_save(void *context, json_t *params, struct rpc_failure *failure);

/* json_unpack() that says what is wrong with the caller's params, and refuses unknown ones when
 * the format ends with '!'. */
bool params_unpack(json_t *params, struct rpc_failure *failure, const char *format, ...);

/* {subject: level} of all subjects of the log. */
json_t *log_levels_json(void);

/* There is no such port. Returns NULL. */
json_t *fail_no_port(struct rpc_failure *failure, const char *name);
