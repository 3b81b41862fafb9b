/* SPDX-License-Identifier: BSD-3-Clause */
/* stats: counters once, or rates again and again. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/rates.h"
#include "cli/table.h"

static json_t *make_params(const char *port)
{
	return json_pack("{s:s*}", "port", port);
}

static void add_counters(struct cli_table *table, const char *name, const json_t *counters)
{
	static const char *const keys[] = {
		"rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "drops_total"};

	cli_table_add(table, "%s", name);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		cli_table_add(table, "%" JSON_INTEGER_FORMAT, json_number(counters, keys[i]));
}

static void print_all(const json_t *stats)
{
	struct cli_table *table =
		cli_table_new("PORT >RX_FRAMES >RX_BYTES >TX_FRAMES >TX_BYTES >DROPS");
	const json_t *removed = json_object_get(stats, "removed");
	const json_t *total = json_object_get(stats, "total");
	const json_t *port;
	size_t i;

	json_array_foreach(json_object_get(stats, "ports"), i, port)
		add_counters(table, json_text(port, "name"), port);
	/* the total is since the start: without this row it would not be the sum of the others */
	if (json_number(removed, "rx_frames") > 0 || json_number(removed, "tx_frames") > 0
	    || json_number(removed, "drops_total") > 0)
		add_counters(table, "(deleted ports)", removed);
	add_counters(table, "total", total);
	cli_table_print(table, "");
	cli_print_drops(json_object_get(total, "drops"));
}

static void print_rates(const json_t *before, const json_t *now)
{
	struct cli_table *table =
		cli_table_new("PORT >RX_FRAMES/S >RX_BIT/S >TX_FRAMES/S >TX_BIT/S >DROPS/S");
	size_t count;
	struct port_rates *rates = cli_rates(before, now, &count);

	for (size_t i = 0; i < count; i++) {
		const double values[] = {
			rates[i].rx_frames,
			rates[i].rx_bits,
			rates[i].tx_frames,
			rates[i].tx_bits,
			rates[i].drops,
		};

		cli_table_add(table, "%s", rates[i].name);
		for (size_t n = 0; n < sizeof(values) / sizeof(values[0]); n++) {
			char text[RATE_TEXT_SIZE];

			cli_table_add(table, "%s", cli_format_rate(values[n], text));
		}
	}
	cli_table_print(table, "");
	(void)putchar('\n');
	free(rates);
}

/* Print forever; only an error (or ^C) ends it. */
static enum cli_exit watch(struct cli *cli, const char *port, double seconds)
{
	struct timespec pause = {
		.tv_sec = (time_t)seconds,
		.tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9),
	};
	json_t *before = NULL;
	json_t *now;
	enum cli_exit status;

	while ((status = cli_call(cli, "stats", make_params(port), &now)) == CLI_OK) {
		if (cli->json) {
			(void)json_dumpf(now, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
			(void)putchar('\n');
		} else if (before != NULL) {
			print_rates(before, now);
		}
		(void)fflush(stdout);
		json_decref(before);
		before = now;
		(void)nanosleep(&pause, NULL);
	}
	json_decref(before);
	return status;
}

enum cli_exit cli_stats(struct cli *cli, const struct cli_input *input)
{
	const char *port = cli_input_word(input, 0);
	const char *value;
	json_t *stats;
	enum cli_exit status;

	if (cli_input_flag(input, "--watch", &value)) {
		char *end = NULL;
		double seconds = value != NULL ? strtod(value, &end) : 1;

		if ((end != NULL && *end != '\0') || !(seconds >= 0.1 && seconds <= 86400))
			return cli_fail(
				cli, CLI_USAGE, "--watch=%s: give seconds from 0.1 to 86400", value
			);
		return watch(cli, port, seconds);
	}
	status = cli_read(cli, "stats", make_params(port), &stats);
	if (stats == NULL)
		return status;
	if (port != NULL)
		cli_print_counters(json_array_get(json_object_get(stats, "ports"), 0));
	else
		print_all(stats);
	json_decref(stats);
	return CLI_OK;
}
