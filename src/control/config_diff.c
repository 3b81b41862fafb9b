/* SPDX-License-Identifier: BSD-3-Clause */
/* The difference between two configurations, see config_diff.h. */
#include "control/config_diff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *change_action_name(enum change_action action)
{
	static const char *const names[] = {"delete", "replace", "set", "add", "switch", "restart"};

	return names[action];
}

const char *change_port(const struct change *change)
{
	if (change->from != NULL)
		return change->from->settings.name;
	return change->to != NULL ? change->to->settings.name : NULL;
}

unsigned change_line(const struct change *change)
{
	return change->to != NULL ? change->to->line : 0;
}

/* "queues 1 -> 2, vlan none -> 10" */
static void
write_differences(FILE *out, const struct setting *table, const void *from, const void *to)
{
	const char *separator = "";

	for (; table->name != NULL; table++) {
		char *old_text;
		char *new_text;

		if (setting_equal(table, from, to))
			continue;
		old_text = setting_format(table, from);
		new_text = setting_format(table, to);
		(void)fprintf(out, "%s%s %s -> %s", separator, table->name, old_text, new_text);
		separator = ", ";
		free(old_text);
		free(new_text);
	}
}

static void write_change(FILE *out, const struct change *change)
{
	switch (change->action) {
	case CHANGE_ADD:
		(void)fprintf(
			out,
			"add port %s of kind %s",
			change_port(change),
			port_kind_name(change->to->settings.kind)
		);
		break;
	case CHANGE_DELETE:
		(void)fprintf(out, "delete port %s", change_port(change));
		break;
	case CHANGE_SET:
	case CHANGE_REPLACE:
		(void)fprintf(
			out, "%s port %s: ", change_action_name(change->action), change_port(change)
		);
		write_differences(
			out, port_setting_table, &change->from->settings, &change->to->settings
		);
		break;
	case CHANGE_SWITCH:
	case CHANGE_RESTART:
		(void)fprintf(
			out,
			change->action == CHANGE_SWITCH ? "set the switch: "
							: "restart virtlaned for the switch: "
		);
		write_differences(
			out, switch_setting_table, change->switch_from, change->switch_to
		);
		break;
	}
}

static void add_change(struct config_diff *diff, struct change change)
{
	struct change *changes =
		reallocarray(diff->changes, diff->count + 1, sizeof(*diff->changes));
	size_t size;
	FILE *out = open_memstream(&change.text, &size);

	if (changes == NULL || out == NULL)
		abort();
	write_change(out, &change);
	if (fclose(out) != 0)
		abort();
	diff->changes = changes;
	changes[diff->count++] = change;
}

/* *live: whether all that differs can change while the switch runs. */
static bool settings_differ(
	const struct setting *table, unsigned kind, const void *from, const void *to, bool *live
)
{
	bool differs = false;

	*live = true;
	for (; table->name != NULL; table++) {
		if (setting_equal(table, from, to))
			continue;
		differs = true;
		*live = *live && setting_is_live(table, kind);
	}
	return differs;
}

static void compare_switch(
	struct config_diff *diff,
	const struct switch_settings *from,
	const struct switch_settings *to
)
{
	bool live;

	if (!settings_differ(switch_setting_table, 0, from, to, &live))
		return;
	add_change(
		diff,
		(struct change){
			.action = live ? CHANGE_SWITCH : CHANGE_RESTART,
			.switch_from = from,
			.switch_to = to,
		}
	);
}

static void
compare_port(struct config_diff *diff, const struct config_port *from, const struct config_port *to)
{
	bool live;

	if (settings_differ(
		    port_setting_table, from->settings.kind, &from->settings, &to->settings, &live
	    ))
		add_change(
			diff,
			(struct change){
				.action = live ? CHANGE_SET : CHANGE_REPLACE,
				.from = from,
				.to = to,
			}
		);
}

struct config_diff *config_diff_new(const struct config *running, const struct config *wanted)
{
	struct config_diff *diff = calloc(1, sizeof(*diff));

	if (diff == NULL)
		abort();
	compare_switch(diff, &running->sw, &wanted->sw);
	for (size_t i = 0; i < running->port_count; i++) {
		const struct config_port *from = &running->ports[i];
		const struct config_port *to = config_find_port(wanted, from->settings.name);

		if (to == NULL)
			add_change(diff, (struct change){.action = CHANGE_DELETE, .from = from});
		else
			compare_port(diff, from, to);
	}
	for (size_t i = 0; i < wanted->port_count; i++) {
		const struct config_port *to = &wanted->ports[i];

		if (config_find_port(running, to->settings.name) == NULL)
			add_change(diff, (struct change){.action = CHANGE_ADD, .to = to});
	}
	return diff;
}

void config_diff_free(struct config_diff *diff)
{
	if (diff == NULL)
		return;
	for (size_t i = 0; i < diff->count; i++)
		free(diff->changes[i].text);
	free(diff->changes);
	free(diff);
}
