/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports as JSON, see port_json.h. */
#include "control/port_json.h"

#include <stdlib.h>
#include <string.h>

#include "control/settings.h"
#include "virtlane/features.h"

static json_t *setting_json(const struct setting *setting, const char *text)
{
	switch (setting->codec->type) {
	case SETTING_NUMBER:
		return json_integer(strtoll(text, NULL, 10));
	case SETTING_BOOL:
		return json_boolean(strcmp(text, "yes") == 0);
	default:
		return json_string(text);
	}
}

json_t *port_settings_json(const struct port_settings *settings)
{
	const struct setting *setting = port_setting_table;
	json_t *object = json_object();

	for (; setting->name != NULL; setting++) {
		char *text;

		if (!setting_applies(setting, settings->kind))
			continue;
		text = setting_format(setting, settings);
		if (strcmp(text, "none") != 0)
			json_object_set_new(object, setting->name, setting_json(setting, text));
		free(text);
	}
	return object;
}

static json_t *drops_json(const struct port_counters *counters, uint64_t *total)
{
	json_t *object = json_object();

	*total = 0;
	for (enum drop_reason reason = 0; reason < DROP_COUNT; reason++) {
		if (counters->drops[reason] == 0)
			continue;
		*total += counters->drops[reason];
		json_object_set_new(
			object,
			drop_reason_name(reason),
			json_integer((json_int_t)counters->drops[reason])
		);
	}
	return object;
}

json_t *port_counters_json(const char *name, const struct port_counters *counters)
{
	uint64_t total;
	json_t *drops = drops_json(counters, &total);

	return json_pack(
		"{s:s*, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I}",
		"name",
		name,
		"rx_frames",
		(json_int_t)counters->rx_frames,
		"rx_bytes",
		(json_int_t)counters->rx_bytes,
		"tx_frames",
		(json_int_t)counters->tx_frames,
		"tx_bytes",
		(json_int_t)counters->tx_bytes,
		"rx_replicated",
		(json_int_t)counters->rx_replicated,
		"tx_cut",
		(json_int_t)counters->tx_cut,
		"tx_merged",
		(json_int_t)counters->tx_merged,
		"drops",
		drops,
		"drops_total",
		(json_int_t)total
	);
}

json_t *port_summary_json(const struct port_settings *settings, const struct port_status *status)
{
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:o}",
		"name",
		settings->name,
		"kind",
		port_kind_name(settings->kind),
		"state",
		port_state_name(status->state),
		"reason",
		status->reason,
		"peer",
		status->peer,
		"settings",
		port_settings_json(settings)
	);
}

/* Names of the set bits of `words`; a bit without a name is shown by its number. */
static json_t *
bit_names_json(const uint64_t *words, unsigned bit_count, const char *(*name_of)(unsigned bit))
{
	json_t *list = json_array();

	for (unsigned bit = 0; bit < bit_count; bit++) {
		const char *name;

		if (((words[bit / 64] >> (bit % 64)) & 1) == 0)
			continue;
		name = name_of(bit);
		json_array_append_new(
			list, name != NULL ? json_string(name) : json_sprintf("bit %u", bit)
		);
	}
	return list;
}

static json_t *offloads_json(uint32_t offloads)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < PORT_OFFLOAD_COUNT; i++) {
		if ((offloads >> i) & 1)
			json_array_append_new(list, json_string(port_offload_names[i]));
	}
	return list;
}

static json_t *queue_json(const struct port_queue_status *queue)
{
	return json_pack(
		"{s:i, s:b, s:b, s:I, s:s, s:i, s:i, s:I, s:I, s:o?}",
		"index",
		(int)queue->index,
		"started",
		(int)queue->started,
		"enabled",
		(int)queue->enabled,
		"size",
		(json_int_t)queue->size,
		"layout",
		queue->layout,
		"avail",
		(int)queue->avail,
		"used",
		(int)queue->used,
		"kicks",
		(json_int_t)queue->kicks,
		"calls",
		(json_int_t)queue->calls,
		"worker",
		queue->worker >= 0 ? json_integer(queue->worker) : NULL
	);
}

static json_t *queues_json(const struct port_status *status)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < status->queue_count; i++)
		json_array_append_new(list, queue_json(&status->queues[i]));
	return list;
}

static json_t *device_json(const struct port_device_status *device)
{
	return json_pack(
		"{s:s, s:I, s:i, s:I, s:I, s:I, s:I}",
		"driver",
		device->driver,
		"speed_mbps",
		(json_int_t)device->speed_mbps,
		"mtu",
		(int)device->mtu,
		"rx_missed",
		(json_int_t)device->rx_missed,
		"rx_errors",
		(json_int_t)device->rx_errors,
		"rx_no_buffer",
		(json_int_t)device->rx_no_buffer,
		"tx_errors",
		(json_int_t)device->tx_errors
	);
}

json_t *port_status_json(const struct port_settings *settings, const struct port_status *status)
{
	json_t *object = port_summary_json(settings, status);
	json_t *details = json_pack(
		"{s:o, s:o, s:o, s:o, s:s, s:s, s:{s:i, s:I}, s:o}",
		"features",
		bit_names_json(status->features, VL_FEATURE_COUNT, vl_feature_name),
		"protocol_features",
		bit_names_json(&status->protocol_features, 64, vl_protocol_feature_name),
		"offloads_taken",
		offloads_json(status->offloads_taken),
		"offloads_sent",
		offloads_json(status->offloads_sent),
		"last_message",
		status->last_message,
		"last_error",
		status->last_error,
		"memory",
		"regions",
		(int)status->memory_regions,
		"size",
		(json_int_t)status->memory_size,
		"queues",
		queues_json(status)
	);

	json_object_update_new(object, details);
	if (settings->kind == PORT_ETHDEV)
		json_object_set_new(object, "device", device_json(&status->device));
	if (settings->policy.cross_connect[0] != '\0')
		json_object_set_new(
			object, "cross_connected", json_boolean(status->cross_connected)
		);
	json_object_update_new(object, port_counters_json(NULL, &status->counters));
	return object;
}
