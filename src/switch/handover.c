/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A switch hands its ports over to another process, see switch.h. Workers are stopped as control
 * always stops them: they are left without queues, and have passed a quiescent state.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/handover.h"
#include "base/log.h"
#include "switch/assign.h"
#include "switch/state.h"

/* What a saved switch needs to go on after all. */
struct frozen {
	struct poll_set *polls[WORKERS_MAX];
	unsigned saved; /* ports, in order, whose `save` was called */
	/* Ports that cannot be handed over: they were taken down, and are made again. */
	unsigned dropped_count;
	struct port_settings dropped[];
};

/* ---- stopping and going on ---- */

static void stop_workers(struct switch_state *sw)
{
	for (unsigned i = 0; i < sw->settings.worker_count; i++)
		sw->frozen->polls[i] =
			atomic_exchange_explicit(&sw->workers[i].polls, NULL, memory_order_acq_rel);
	switch_synchronize(sw);
}

static void continue_workers(struct switch_state *sw)
{
	for (unsigned i = 0; i < sw->settings.worker_count; i++) {
		struct poll_set *polls = sw->frozen->polls[i];

		/* Notifications may have come meanwhile: all queues are looked at. */
		if (polls != NULL)
			polls->adopted = false;
		atomic_store_explicit(&sw->workers[i].polls, polls, memory_order_release);
		worker_wake(&sw->workers[i]);
	}
}

static int drop_ports(struct switch_state *sw, struct error *error)
{
	for (unsigned i = 0; i < switch_port_count(sw);) {
		const struct port *port = switch_port_at(sw, i);
		struct port_settings *kept = &sw->frozen->dropped[sw->frozen->dropped_count];

		if (port->ops->save != NULL) {
			i++;
			continue;
		}
		*kept = port->settings;
		sw->frozen->dropped_count++;
		int result = switch_port_delete(sw, kept->name, error);
		if (result < 0)
			return result;
	}
	return 0;
}

/* ---- the state ---- */

static json_t *counters_json(const struct port_counters *counters)
{
	/* All of its members are of this kind. */
	const uint64_t *values = (const uint64_t *)counters;
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(*counters) / sizeof(values[0]); i++)
		json_array_append_new(list, json_integer((json_int_t)values[i]));
	return list;
}

/* One that has more or fewer reasons for drops is another version's: what both know is kept. */
static void counters_of_json(const json_t *list, struct port_counters *counters)
{
	uint64_t *values = (uint64_t *)counters;

	memset(counters, 0, sizeof(*counters));
	for (size_t i = 0; i < sizeof(*counters) / sizeof(values[0]); i++)
		values[i] = (uint64_t)json_integer_value(json_array_get(list, i));
}

static json_t *wires_json(const struct port *port)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < port->settings.queues; i++) {
		const struct port_wire *wire = &port->wires[i];

		json_array_append_new(
			list,
			json_pack(
				"[I, I, I]",
				(json_int_t)wire->sent,
				(json_int_t)wire->size,
				(json_int_t)wire->sum
			)
		);
	}
	return list;
}

static void wires_of_json(const json_t *list, struct port *port)
{
	for (unsigned i = 0; i < port->settings.queues; i++) {
		const json_t *wire = json_array_get(list, i);

		port->wires[i] = (struct port_wire){
			.sent = (uint32_t)json_integer_value(json_array_get(wire, 0)),
			.size = (uint32_t)json_integer_value(json_array_get(wire, 1)),
			.sum = (uint64_t)json_integer_value(json_array_get(wire, 2)),
		};
	}
}

/* All but its state, which is the kind's. */
static json_t *describe_port(const struct switch_state *sw, const struct port *port)
{
	struct port_counters counters;

	switch_port_counters(sw, port, &counters);
	return json_pack(
		"{s:s, s:i, s:I, s:o}",
		"name",
		port->settings.name,
		"id",
		(int)port->id,
		"announce",
		(json_int_t
		)atomic_load_explicit(&((struct port *)port)->announce, memory_order_relaxed),
		"counters",
		counters_json(&counters)
	);
}

static int
save_port(struct switch_state *sw, unsigned place, struct handover *handover, struct error *error)
{
	struct port *port = switch_port_at(sw, place);
	json_t *saved = describe_port(sw, port), *state = json_object();

	sw->frozen->saved = place + 1;
	json_object_set_new(saved, "wires", wires_json(port));
	json_object_set_new(saved, "state", state);
	json_array_append_new(json_object_get(handover->root, "ports"), saved);
	return port->ops->save(port, state, handover, error);
}

int switch_save(struct switch_state *sw, struct handover *handover, struct error *error)
{
	if (sw->holding)
		switch_go_on(sw);
	sw->frozen = calloc(
		1, sizeof(*sw->frozen) + switch_port_count(sw) * sizeof(sw->frozen->dropped[0])
	);
	if (sw->frozen == NULL)
		return error_set(error, -ENOMEM, "out of memory");
	int result = drop_ports(sw, error);
	stop_workers(sw);
	json_object_set_new(handover->root, "ports", json_array());
	json_object_set_new(handover->root, "removed", counters_json(&sw->removed));
	for (unsigned i = 0; result == 0 && i < switch_port_count(sw); i++)
		result = save_port(sw, i, handover, error);
	if (result < 0)
		switch_go_on(sw);
	return result;
}

void switch_snapshot(struct switch_state *sw, struct handover *handover)
{
	json_t *ports = json_array();
	struct error error;

	for (unsigned i = 0; i < switch_port_count(sw); i++) {
		struct port *port = switch_port_at(sw, i);
		json_t *saved = describe_port(sw, port), *state = json_object();
		size_t first = handover->fd_count;

		if (port->ops->snapshot != NULL
		    && port->ops->snapshot(port, state, handover, &error) == 0)
			json_object_set(saved, "state", state);
		json_decref(state);
		json_object_set_new(saved, "first_fd", json_integer((json_int_t)first));
		json_object_set_new(
			saved, "fd_count", json_integer((json_int_t)(handover->fd_count - first))
		);
		json_array_append_new(ports, saved);
	}
	json_object_set_new(handover->root, "ports", ports);
	json_object_set_new(handover->root, "removed", counters_json(&sw->removed));
}

/* Ports that came while the switch was held are nobody's up to now. */
static void assign_held(struct switch_state *sw)
{
	/* All of them before any is polled: frames of one go to the others. */
	for (unsigned i = 0; i < switch_port_count(sw); i++) {
		struct port *port = switch_port_at(sw, i);

		if (port->ops->go_on != NULL)
			port->ops->go_on(port);
	}
	for (unsigned i = 0; i < switch_port_count(sw); i++) {
		struct port *port = switch_port_at(sw, i);

		for (unsigned queue = 0; queue < port->settings.queues; queue++) {
			if (assign_queue(sw, port, queue) < 0)
				log_error(LOG_SWITCH, "%s: out of memory", port->settings.name);
		}
	}
	sw->holding = false;
}

void switch_go_on(struct switch_state *sw)
{
	struct frozen *frozen = sw->frozen;
	struct error error;

	if (sw->holding) {
		assign_held(sw);
		return;
	}
	for (unsigned i = 0; i < frozen->saved; i++) {
		struct port *port = switch_port_at(sw, i);

		port->ops->go_on(port);
	}
	continue_workers(sw);
	for (unsigned i = 0; i < frozen->dropped_count; i++) {
		if (switch_port_add(sw, &frozen->dropped[i], &error) < 0)
			log_error(
				LOG_SWITCH,
				"%s: cannot be made again: %s",
				frozen->dropped[i].name,
				error.text
			);
	}
	free(frozen);
	sw->frozen = NULL;
}

static json_t *find_saved(const struct handover *handover, const char *name)
{
	json_t *saved;
	size_t i;

	json_array_foreach(json_object_get(handover->root, "ports"), i, saved)
	{
		const char *found = json_string_value(json_object_get(saved, "name"));

		if (found != NULL && strcmp(found, name) == 0)
			return saved;
	}
	return NULL;
}

/* A port whose process is dead, and has not left enough of it, is made afresh, under its number. */
static int load_port(
	struct switch_state *sw,
	const struct port_settings *settings,
	unsigned id,
	const json_t *saved,
	struct port_legacy *legacy,
	struct port **port,
	struct error *error
)
{
	size_t first = (size_t)json_integer_value(json_object_get(saved, "first_fd"));
	size_t count = (size_t)json_integer_value(json_object_get(saved, "fd_count"));
	int result = -ENOENT;

	if (legacy->state != NULL)
		result = port_create(settings, id, &sw->hooks, legacy, port, error);
	if (result == 0 || !legacy->orphaned)
		return result;
	if (legacy->state != NULL)
		log_warning(LOG_SWITCH, "%s: begins afresh: %s", settings->name, error->text);
	/* With what of it does not change, if that is possible. */
	if (legacy->state != NULL && !legacy->stale) {
		legacy->stale = true;
		if (port_create(settings, id, &sw->hooks, legacy, port, error) == 0)
			return 0;
	}
	/* What is left of it must not be in the way. */
	for (size_t i = first; i < first + count && i < legacy->handover->fd_count; i++) {
		if (legacy->handover->fds[i] >= 0)
			close(legacy->handover->fds[i]);
		legacy->handover->fds[i] = -1;
	}
	return port_create(settings, id, &sw->hooks, NULL, port, error);
}

int switch_load_port(
	struct switch_state *sw,
	const struct port_settings *settings,
	struct handover *handover,
	bool orphaned,
	struct error *error
)
{
	json_t *saved = find_saved(handover, settings->name);
	json_int_t id = json_integer_value(json_object_get(saved, "id"));
	struct port_legacy legacy = {
		.state = json_object_get(saved, "state"),
		.handover = handover,
		.orphaned = orphaned,
		.stale = json_is_true(json_object_get(saved, "stale")),
	};
	struct port *port;

	/* One that could not be handed over. */
	if (saved == NULL)
		return 0;
	if (id < 0 || id >= PORTS_MAX || switch_port(sw, (unsigned)id) != NULL)
		return error_set(error, -EINVAL, "port %s: a bad number", settings->name);
	int result = load_port(sw, settings, (unsigned)id, saved, &legacy, &port, error);
	if (result < 0)
		return result;
	counters_of_json(json_object_get(saved, "counters"), &port->counted_before);
	wires_of_json(json_object_get(saved, "wires"), port);
	atomic_store_explicit(
		&port->announce,
		(uint64_t)json_integer_value(json_object_get(saved, "announce")),
		memory_order_relaxed
	);
	return switch_port_publish(sw, port, error);
}

void switch_load_counters(struct switch_state *sw, const struct handover *handover)
{
	counters_of_json(json_object_get(handover->root, "removed"), &sw->removed);
}

/* ---- addresses ---- */

struct saved_mac {
	mac_key key;
	uint32_t port, seen;
};

struct mac_list {
	const struct switch_state *sw;
	struct saved_mac *macs;
	size_t count, room;
};

static void append_mac(void *context, const struct mac_entry_info *info)
{
	struct mac_list *list = context;

	const struct port *port = switch_port(list->sw, info->port);

	/* The number of a port that is made again may be another one's then. */
	if (info->fixed || list->count == list->room || port == NULL || port->ops->save == NULL)
		return;
	list->macs[list->count++] = (struct saved_mac){info->key, info->port, info->seen};
}

void switch_save_macs(const struct switch_state *sw, struct handover *handover)
{
	struct mac_list list = {.sw = sw, .room = sw->settings.mac_table_size};

	list.macs = calloc(list.room, sizeof(list.macs[0]));
	if (list.macs != NULL)
		mac_table_walk(sw->macs, append_mac, &list);
	json_object_set_new(
		handover->root,
		"macs",
		handover_put_bytes(list.macs, list.count * sizeof(list.macs[0]))
	);
	free(list.macs);
}

/* Ports keep their numbers, so addresses may come before them. After them those of ports that could
 * not be made are left out. */
void switch_load_macs(struct switch_state *sw, const struct handover *handover)
{
	size_t size = 0;
	struct saved_mac *macs = handover_get_bytes(json_object_get(handover->root, "macs"), &size);

	for (size_t i = 0; macs != NULL && i < size / sizeof(macs[0]); i++) {
		int32_t position;

		if (macs[i].port >= PORTS_MAX
		    || (switch_port_count(sw) > 0 && switch_port(sw, macs[i].port) == NULL))
			continue;
		mac_table_lookup(sw->macs, &macs[i].key, 1, &position);
		mac_table_learn(sw->macs, macs[i].key, position, macs[i].port, macs[i].seen);
	}
	free(macs);
}
