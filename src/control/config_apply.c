/* SPDX-License-Identifier: BSD-3-Clause */
/* Applying a difference to the running switch, and taking it back. See config_apply.h. */
#include "control/config_apply.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "switch/switch.h"

struct config *config_of_switch(const struct switch_state *sw)
{
	struct config *config = config_new();
	const struct port_settings *port;
	unsigned cursor = 0;

	config->sw = *switch_settings(sw);
	while ((port = switch_port_next(sw, &cursor)) != NULL)
		config_add_port(config, port);
	return config;
}

/* One call of the switch. A replacement is two steps, and each can be taken back. */
enum step_kind {
	STEP_DELETE,
	STEP_SWITCH, /* mac-age, the one setting of the switch that can change */
	STEP_SET,
	STEP_ADD,
};

struct step {
	enum step_kind kind;
	const struct change *change;
};

static int do_step(struct switch_state *sw, const struct step *step, struct error *error)
{
	const struct change *change = step->change;

	switch (step->kind) {
	case STEP_DELETE:
		return switch_port_delete(sw, change_port(change), error);
	case STEP_SWITCH:
		switch_set_mac_age(sw, change->switch_to->mac_age);
		return 0;
	case STEP_SET:
		return switch_port_set_policy(
			sw, change_port(change), &change->to->settings.policy, error
		);
	default:
		return switch_port_add(sw, &change->to->settings, error);
	}
}

static int undo_step(struct switch_state *sw, const struct step *step, struct error *error)
{
	const struct change *change = step->change;

	switch (step->kind) {
	case STEP_DELETE:
		return switch_port_add(sw, &change->from->settings, error);
	case STEP_SWITCH:
		switch_set_mac_age(sw, change->switch_from->mac_age);
		return 0;
	case STEP_SET:
		return switch_port_set_policy(
			sw, change_port(change), &change->from->settings.policy, error
		);
	default:
		return switch_port_delete(sw, change_port(change), error);
	}
}

static bool change_has_step(const struct change *change, enum step_kind kind)
{
	switch (change->action) {
	case CHANGE_DELETE:
		return kind == STEP_DELETE;
	case CHANGE_REPLACE:
		return kind == STEP_DELETE || kind == STEP_ADD;
	case CHANGE_SET:
		return kind == STEP_SET;
	case CHANGE_ADD:
		return kind == STEP_ADD;
	case CHANGE_SWITCH:
		return kind == STEP_SWITCH;
	default:
		return false;
	}
}

/* At most two steps a change; malloc()ed. */
static struct step *plan_steps(const struct config_diff *diff, size_t *count)
{
	struct step *steps = calloc(2 * diff->count + 1, sizeof(*steps));

	if (steps == NULL)
		abort();
	*count = 0;
	for (enum step_kind kind = STEP_DELETE; kind <= STEP_ADD; kind++) {
		for (size_t i = 0; i < diff->count; i++) {
			if (change_has_step(&diff->changes[i], kind))
				steps[(*count)++] = (struct step){kind, &diff->changes[i]};
		}
	}
	return steps;
}

/* Take back the first `count` steps; says in the sentence how that went. */
static void
roll_back(struct switch_state *sw, const struct step *steps, size_t count, struct error *error)
{
	struct error before = *error;
	const char *lost = NULL;

	while (count-- > 0) {
		struct error cause;

		if (undo_step(sw, &steps[count], &cause) == 0)
			continue;
		lost = change_port(steps[count].change);
		log_error(LOG_CONTROL, "port '%s' could not be put back: %s", lost, cause.text);
	}
	if (lost == NULL)
		error_set(error, 0, "%.400s (nothing was changed)", before.text);
	else
		error_set(
			error,
			0,
			"%.300s; and port '%s' could not be put back, see the log",
			before.text,
			lost
		);
}

static int run_steps(
	struct switch_state *sw,
	const struct step *steps,
	size_t count,
	const struct change **failed,
	struct error *error
)
{
	for (size_t i = 0; i < count; i++) {
		int status = do_step(sw, &steps[i], error);

		if (status == 0)
			continue;
		*failed = steps[i].change;
		roll_back(sw, steps, i, error);
		return status;
	}
	return 0;
}

static int refuse_restart(const struct config_diff *diff, struct error *error)
{
	/* the switch's difference is always the first */
	if (diff->count == 0 || diff->changes[0].action != CHANGE_RESTART)
		return 0;
	return error_set(
		error,
		-EBUSY,
		"these settings of [switch] cannot change while it runs; %s (nothing was changed)",
		diff->changes[0].text
	);
}

/* Put where it happened in front of the sentence. */
static void locate(const struct change *change, const char *file, struct error *error)
{
	struct error before = *error;

	if (change_line(change) > 0)
		error_set(error, 0, "%.100s:%u: %.380s", file, change_line(change), before.text);
	else if (change_port(change) != NULL)
		error_set(error, 0, "%.100s: %s: %.360s", file, change->text, before.text);
	else
		error_set(error, 0, "%.100s: %.390s", file, before.text);
}

int config_plan_apply(
	const struct config_plan *plan,
	struct switch_state *sw,
	const char *file,
	struct error *error
)
{
	const struct change *failed = plan->diff->changes;
	int status = refuse_restart(plan->diff, error);

	if (status == 0) {
		size_t count;
		struct step *steps = plan_steps(plan->diff, &count);

		status = run_steps(sw, steps, count, &failed, error);
		free(steps);
	}
	if (status != 0)
		locate(failed, file, error);
	return status;
}

struct config_plan *config_plan_new(const struct switch_state *sw, const char *text)
{
	struct config_plan *plan = calloc(1, sizeof(*plan));

	if (plan == NULL)
		abort();
	plan->wanted = config_parse(text, &plan->errors);
	if (plan->wanted != NULL && config_check_host(plan->wanted, &plan->errors) != 0) {
		config_free(plan->wanted);
		plan->wanted = NULL;
	}
	if (plan->wanted != NULL && sw != NULL) {
		plan->running = config_of_switch(sw);
		plan->diff = config_diff_new(plan->running, plan->wanted);
	}
	return plan;
}

void config_plan_free(struct config_plan *plan)
{
	if (plan == NULL)
		return;
	config_diff_free(plan->diff);
	config_free(plan->running);
	config_free(plan->wanted);
	free(plan);
}
