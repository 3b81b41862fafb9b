/* SPDX-License-Identifier: BSD-3-Clause */
/* port show in words. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"

/* Label and value in two columns; nothing is said about what is empty. */
static void print_field(const char *label, const char *value)
{
	if (*value != '\0')
		(void)printf("  %-18s %s\n", label, value);
}

static void print_state(const json_t *port)
{
	static const struct {
		const char *state, *words;
	} explanations[] = {
		{"waiting", "waiting: nobody is connected"},
		{"connected", "connected: the peer is there, its rings are not ready yet"},
		{"up", "up: frames flow"},
		{"error", "error: the peer broke the rules; reconnecting clears this"},
	};
	const char *state = json_text(port, "state");

	for (size_t i = 0; i < sizeof(explanations) / sizeof(explanations[0]); i++) {
		if (strcmp(explanations[i].state, state) == 0)
			state = explanations[i].words;
	}
	print_field("state", state);
	print_field("why", json_text(port, "reason"));
	print_field("peer", json_text(port, "peer"));
	if (json_is_false(json_object_get(port, "cross_connected")))
		print_field(
			"cross-connect",
			"incomplete: the other port is missing, or does not name this one"
		);
	print_field("last message", json_text(port, "last_message"));
	print_field("last error", json_text(port, "last_error"));
}

static void print_settings(const json_t *settings)
{
	const char *name;
	const json_t *value;

	(void)puts("settings:");
	json_object_foreach((json_t *)settings, name, value)
	{
		char number[32];

		if (json_is_integer(value)) {
			(void)snprintf(
				number,
				sizeof(number),
				"%" JSON_INTEGER_FORMAT,
				json_integer_value(value)
			);
			print_field(name, number);
		} else if (json_is_boolean(value)) {
			print_field(name, json_is_true(value) ? "yes" : "no");
		} else {
			print_field(name, json_string_value(value));
		}
	}
}

/* Names in lines of a terminal's width. */
static void print_names(const char *title, const json_t *names)
{
	size_t column = 0;
	const json_t *name;
	size_t i;

	if (json_array_size(names) == 0)
		return;
	(void)printf("%s:", title);
	json_array_foreach(names, i, name)
	{
		size_t size = strlen(json_string_value(name)) + 1;

		if (column == 0 || column + size > 76) {
			(void)printf("\n  %s", json_string_value(name));
			column = size + 1;
		} else {
			(void)printf(" %s", json_string_value(name));
			column += size;
		}
	}
	(void)putchar('\n');
}

static void print_device(const json_t *device)
{
	if (device == NULL)
		return;
	(void
	)printf("device: driver %s, MTU %" JSON_INTEGER_FORMAT,
		json_text(device, "driver"),
		json_number(device, "mtu"));
	if (json_number(device, "speed_mbps") > 0)
		(void
		)printf(", %" JSON_INTEGER_FORMAT " Mbit/s", json_number(device, "speed_mbps"));
	(void
	)printf("\n  frames it missed %" JSON_INTEGER_FORMAT
		", received badly %" JSON_INTEGER_FORMAT ", had no buffer for %" JSON_INTEGER_FORMAT
		", could not send %" JSON_INTEGER_FORMAT "\n",
		json_number(device, "rx_missed"),
		json_number(device, "rx_errors"),
		json_number(device, "rx_no_buffer"),
		json_number(device, "tx_errors"));
}

static void print_memory(const json_t *memory)
{
	json_int_t regions = json_number(memory, "regions");

	if (regions > 0)
		(void
		)printf("memory: %" JSON_INTEGER_FORMAT " region%s, %" JSON_INTEGER_FORMAT
			" MiB, shared by the peer\n",
			regions,
			regions == 1 ? "" : "s",
			json_number(memory, "size") >> 20);
}

static const char *queue_state(const json_t *queue)
{
	if (!json_is_true(json_object_get(queue, "started")))
		return "stopped";
	return json_is_true(json_object_get(queue, "enabled")) ? "started" : "started, disabled";
}

/* Directions are the driver's words: what it receives, the switch transmits. */
static const char *queue_role(const json_t *queue, json_int_t pairs)
{
	if (strcmp(json_text(queue, "layout"), "tap") == 0
	    || strcmp(json_text(queue, "layout"), "device") == 0)
		return "both";
	if (json_number(queue, "index") == 2 * pairs)
		return "control";
	return json_number(queue, "index") % 2 == 0 ? "receive" : "transmit";
}

static void print_queues(const json_t *queues, json_int_t pairs)
{
	struct cli_table *table;
	const json_t *queue;
	size_t i;

	if (json_array_size(queues) == 0)
		return;
	(void)puts("queues, directions as the driver sees them:");
	table = cli_table_new(
		">INDEX DIRECTION STATE LAYOUT >SIZE >AVAIL >USED >KICKS >CALLS >WORKER"
	);
	json_array_foreach(queues, i, queue)
	{
		static const char *const numbers[] = {"size", "avail", "used", "kicks", "calls"};
		const json_t *worker = json_object_get(queue, "worker");

		cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_number(queue, "index"));
		cli_table_add(table, "%s", queue_role(queue, pairs));
		cli_table_add(table, "%s", queue_state(queue));
		cli_table_add(table, "%s", json_text(queue, "layout"));
		for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++)
			cli_table_add(
				table, "%" JSON_INTEGER_FORMAT, json_number(queue, numbers[n])
			);
		if (json_is_integer(worker))
			cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_integer_value(worker));
		else
			cli_table_add(table, "-");
	}
	cli_table_print(table, "  ");
}

/* Empty for a reason that only a newer daemon knows. */
static const char *drop_text(const char *name)
{
	static const struct {
		const char *name, *text;
	} reasons[] = {
#define DROP_REASON(id, drop_name, drop_text) {drop_name, drop_text},
#include "port/drop_reasons.h"
#undef DROP_REASON
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (strcmp(reasons[i].name, name) == 0)
			return reasons[i].text;
	}
	return "";
}

void cli_print_drops(const json_t *drops)
{
	struct cli_table *table;
	const json_t *count;
	const char *name;

	if (json_object_size(drops) == 0)
		return;
	(void)puts("drops by reason:");
	table = cli_table_new("REASON >FRAMES WHY");
	json_object_foreach((json_t *)drops, name, count)
	{
		cli_table_add(table, "%s", name);
		cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_integer_value(count));
		cli_table_add(table, "%s", drop_text(name));
	}
	cli_table_print(table, "  ");
}

void cli_print_counters(const json_t *port)
{
	struct cli_table *table = cli_table_new("COUNTERS >FRAMES >BYTES");

	cli_table_add(table, "received from the port");
	cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_number(port, "rx_frames"));
	cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_number(port, "rx_bytes"));
	cli_table_add(table, "delivered to the port");
	cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_number(port, "tx_frames"));
	cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_number(port, "tx_bytes"));
	cli_table_add(table, "copies by flooding, and segments");
	cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_number(port, "rx_replicated"));
	cli_table_add(table, "%s", "");
	cli_table_add(table, "cut for the port");
	cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_number(port, "tx_cut"));
	cli_table_add(table, "%s", "");
	cli_table_add(table, "merged for the port");
	cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_number(port, "tx_merged"));
	cli_table_add(table, "%s", "");
	cli_table_add(table, "dropped");
	cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_number(port, "drops_total"));
	cli_table_add(table, "%s", "");
	cli_table_print(table, "");
	cli_print_drops(json_object_get(port, "drops"));
}

static void print_port(const json_t *port)
{
	(void)printf("port %s, kind %s\n", json_text(port, "name"), json_text(port, "kind"));
	print_state(port);
	print_settings(json_object_get(port, "settings"));
	print_names("features", json_object_get(port, "features"));
	print_names("vhost-user protocol features", json_object_get(port, "protocol_features"));
	print_names("offloads that the peer takes", json_object_get(port, "offloads_taken"));
	print_names("offloads that the peer may use", json_object_get(port, "offloads_sent"));
	print_device(json_object_get(port, "device"));
	print_memory(json_object_get(port, "memory"));
	print_queues(
		json_object_get(port, "queues"),
		json_number(json_object_get(port, "settings"), "queues")
	);
	cli_print_counters(port);
}

/* What to print, by option. */
static const struct {
	const char *flag;
	enum cli_exit (*print)(struct cli *cli, const json_t *port);
} attach_kinds[] = {
	{"--qemu", cli_attach_qemu},
	{"--libvirt", cli_attach_libvirt},
	{"--cloud-hypervisor", cli_attach_cloud_hypervisor},
};

enum cli_exit cli_port_show(struct cli *cli, const struct cli_input *input)
{
	json_t *port;
	enum cli_exit status =
		cli_call(cli, "port.show", json_pack("{s:s}", "name", input->words[0]), &port);
	bool attach = false;

	for (size_t i = 0; status == CLI_OK && i < sizeof(attach_kinds) / sizeof(attach_kinds[0]);
	     i++) {
		if (!cli_input_flag(input, attach_kinds[i].flag, NULL))
			continue;
		attach = true;
		status = attach_kinds[i].print(cli, port);
	}
	if (status == CLI_OK && !attach) {
		if (cli->json)
			cli_print_json(port);
		else
			print_port(port);
	}
	json_decref(port);
	return status;
}
