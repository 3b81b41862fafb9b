/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands about the switch as a whole: mac, worker, log, version. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "control/text.h"
#include "port/settings.h"

/* port=NAME and vlan=N as params; NULL: said what is wrong. */
static json_t *make_filter(struct cli *cli, const struct cli_input *input, enum cli_exit *status)
{
	json_t *params = json_object();
	const char *key;
	json_t *value;
	void *next;

	*status = cli_add_pairs(cli, input, 0, params);
	json_object_foreach_safe(params, next, key, value)
	{
		uint32_t vlan;

		if (*status != CLI_OK || strcmp(key, "port") == 0)
			continue;
		if (strcmp(key, "vlan") != 0)
			*status = cli_fail(
				cli,
				CLI_USAGE,
				"unknown filter '%s'; use port=PORT or vlan=VLAN",
				key
			);
		else if (!text_parse_number(json_string_value(value), 0, VLAN_COUNT - 2, &vlan))
			*status = cli_fail(
				cli,
				CLI_USAGE,
				"vlan=%s: give a number from 0 (no VLAN) to %d",
				json_string_value(value),
				VLAN_COUNT - 2
			);
		else
			json_object_set_new(params, key, json_integer(vlan));
	}
	if (*status == CLI_OK)
		return params;
	json_decref(params);
	return NULL;
}

enum cli_exit cli_mac_list(struct cli *cli, const struct cli_input *input)
{
	enum cli_exit status;
	json_t *params = make_filter(cli, input, &status);
	struct cli_table *table;
	const json_t *entry;
	json_t *entries;
	size_t i;

	if (params == NULL)
		return status;
	status = cli_read(cli, "mac.list", params, &entries);
	if (entries == NULL)
		return status;
	table = cli_table_new("ADDRESS >VLAN PORT >AGE");
	json_array_foreach(entries, i, entry)
	{
		json_int_t vlan = json_number(entry, "vlan");

		cli_table_add(table, "%s", json_text(entry, "mac"));
		if (vlan > 0)
			cli_table_add(table, "%" JSON_INTEGER_FORMAT, vlan);
		else
			cli_table_add(table, "-");
		cli_table_add(table, "%s", json_text(entry, "port"));
		if (json_is_true(json_object_get(entry, "static")))
			cli_table_add(table, "static");
		else
			cli_table_add(
				table, "%" JSON_INTEGER_FORMAT " s", json_number(entry, "age")
			);
	}
	cli_table_print(table, "");
	json_decref(entries);
	return CLI_OK;
}

enum cli_exit cli_mac_flush(struct cli *cli, const struct cli_input *input)
{
	enum cli_exit status;
	json_t *params = make_filter(cli, input, &status);
	json_t *result;

	if (params == NULL)
		return status;
	status = cli_read(cli, "mac.flush", params, &result);
	if (result == NULL)
		return status;
	(void
	)printf("%" JSON_INTEGER_FORMAT " addresses forgotten\n", json_number(result, "flushed"));
	json_decref(result);
	return CLI_OK;
}

/* Each with its load, if it has any to speak of. */
static void add_queues(struct cli_table *table, const json_t *queues, const json_t *loads)
{
	char *text = text_format("%s", "");
	const json_t *queue;
	size_t i;

	json_array_foreach(queues, i, queue)
	{
		double percent = 100 * json_number_value(json_array_get(loads, i));
		char load[16] = "";
		char *longer;

		if (percent >= 0.5)
			(void)snprintf(load, sizeof(load), " (%.0f%%)", percent);
		longer = text_format(
			"%s%s%s%s", text, i > 0 ? ", " : "", json_string_value(queue), load
		);
		free(text);
		text = longer;
	}
	cli_table_add(table, "%s", text);
	free(text);
}

enum cli_exit cli_worker_list(struct cli *cli, const struct cli_input *)
{
	struct cli_table *table;
	const json_t *worker;
	json_t *workers;
	size_t i;
	enum cli_exit status = cli_read(cli, "worker.list", NULL, &workers);

	if (workers == NULL)
		return status;
	table = cli_table_new(">WORKER >CPU >LOAD >RX_FRAMES >SLEEPS >WAKEUPS >MOVED QUEUES");
	json_array_foreach(workers, i, worker)
	{
		static const char *const numbers[] = {"rx_frames", "sleeps", "wakeups", "moved"};
		const json_t *cpu = json_object_get(worker, "cpu");

		cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_number(worker, "index"));
		if (json_is_integer(cpu))
			cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_integer_value(cpu));
		else
			cli_table_add(table, "any");
		cli_table_add(
			table, "%.0f%%", 100 * json_number_value(json_object_get(worker, "load"))
		);
		for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++)
			cli_table_add(
				table, "%" JSON_INTEGER_FORMAT, json_number(worker, numbers[n])
			);
		add_queues(
			table,
			json_object_get(worker, "queues"),
			json_object_get(worker, "queue_loads")
		);
	}
	cli_table_print(table, "");
	json_decref(workers);
	return CLI_OK;
}

enum cli_exit cli_log_level(struct cli *cli, const struct cli_input *input)
{
	const char *level = input->words[input->word_count - 1];
	const char *subject = input->word_count > 1 ? input->words[0] : NULL;

	return cli_change(
		cli, "log.level", json_pack("{s:s, s:s*}", "level", level, "subject", subject)
	);
}

/* Says its own version in any case, as somebody may ask in order to start the right daemon. */
enum cli_exit cli_version(struct cli *cli, const struct cli_input *)
{
	json_t *version;
	enum cli_exit status;

	if (!cli->json) {
		(void)puts("virtlane " VIRTLANE_VERSION);
		(void)fflush(stdout);
	}
	status = cli_call(cli, "version", NULL, &version);
	if (version == NULL)
		return status;
	if (cli->json) {
		json_object_set_new(version, "client", json_string(VIRTLANE_VERSION));
		cli_print_json(version);
	} else {
		(void)printf("virtlaned %s\n", json_text(version, "version"));
	}
	json_decref(version);
	return CLI_OK;
}
