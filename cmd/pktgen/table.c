/* SPDX-License-Identifier: BSD-3-Clause */
/* Results for people. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/rates.h"
#include "cli/table.h"
#include "pktgen/result.h"

enum {
	TIME_TEXT_SIZE = 24,
};

static void add_rate(struct cli_table *table, double rate)
{
	char text[RATE_TEXT_SIZE];

	cli_table_add(table, "%s", cli_format_rate(rate, text));
}

static void add_count(struct cli_table *table, uint64_t count)
{
	cli_table_add(table, "%llu", (unsigned long long)count);
}

static void print_ports(const struct session *session, const struct results *results)
{
	struct cli_table *table = cli_table_new("PORT >TX_FRAMES >TX/S >TX_BIT/S >RX_FRAMES >RX/S "
						">RX_BIT/S >DROPPED");

	for (unsigned i = 0; i < session->options->port_count; i++) {
		const struct port_result *port = &results->ports[i];

		cli_table_add(table, "%s", session->ports[i].path);
		add_count(table, port->moved.tx_frames);
		add_rate(table, port->moved.tx_rate);
		add_rate(table, port->moved.tx_bits);
		add_count(table, port->moved.rx_frames);
		add_rate(table, port->moved.rx_rate);
		add_rate(table, port->moved.rx_bits);
		add_count(table, port->dropped);
	}
	cli_table_print(table, "");
}

/* ---- directions ---- */

static const char *direction_name(const struct session *session, int port)
{
	return port >= 0 ? session->ports[port].path : "another program";
}

static void print_loss(const struct session *session, const struct results *results)
{
	bool probes = session->traffic->probes;
	struct cli_table *table = cli_table_new(
		probes ? "FROM TO >SENT >RECEIVED >LOST >LOST_% >CORRUPT >TWICE >REORDERED >FOREIGN"
		       : "FROM TO >SENT >RECEIVED >LOST >LOST_%"
	);

	for (unsigned i = 0; i < results->direction_count; i++) {
		const struct direction_result *direction = &results->directions[i];
		const struct check_counts *counts = &direction->counts;

		cli_table_add(table, "%s", direction_name(session, direction->from));
		cli_table_add(table, "%s", direction_name(session, direction->to));
		if (direction->sent_known)
			add_count(table, direction->sent);
		else
			cli_table_add(table, "?");
		add_count(table, direction->received);
		cli_table_add(table, "%lld", (long long)direction->lost);
		cli_table_add(table, "%.4f", result_loss_percent(direction));
		if (!probes)
			continue;
		if (session->options->verify)
			add_count(table, counts->corrupt);
		else
			cli_table_add(table, "?");
		add_count(table, counts->duplicates);
		add_count(table, counts->reordered);
		add_count(table, counts->foreign);
	}
	cli_table_print(table, "");
}

static void add_time(struct cli_table *table, double ns)
{
	if (ns < 9999.5)
		cli_table_add(table, "%.0f ns", ns);
	else if (ns < 9999.5e3)
		cli_table_add(table, "%.1f us", ns / 1e3);
	else
		cli_table_add(table, "%.1f ms", ns / 1e6);
}

static void print_latency(const struct session *session, const struct results *results)
{
	static const double percents[] = {50, 90, 99, 99.9, 99.99};
	struct cli_table *table =
		cli_table_new("LATENCY_TO >MIN >MEAN >P50 >P90 >P99 >P99.9 >P99.99 >MAX");

	for (unsigned i = 0; i < results->direction_count; i++) {
		const struct direction_result *direction = &results->directions[i];
		const struct histogram *latency = &direction->latency;

		cli_table_add(table, "%s", direction_name(session, direction->to));
		add_time(table, (double)latency->min);
		add_time(table, histogram_mean(latency));
		for (unsigned j = 0; j < sizeof(percents) / sizeof(percents[0]); j++)
			add_time(table, (double)histogram_percentile(latency, percents[j]));
		add_time(table, (double)latency->max);
	}
	cli_table_print(table, "");
}

/* ---- threads and drivers ---- */

static void print_threads(const struct results *results)
{
	struct cli_table *table = cli_table_new("THREAD >CPU >CYCLES/FRAME >BUSY");

	for (unsigned i = 0; i < results->thread_count; i++) {
		const struct thread_result *thread = &results->threads[i];
		double total = (double)thread->total_cycles;

		cli_table_add(table, "%u", i);
		if (thread->cpu >= 0)
			cli_table_add(table, "%d", thread->cpu);
		else
			cli_table_add(table, "any");
		cli_table_add(table, "%.1f", result_cycles_per_frame(thread));
		cli_table_add(
			table, "%.0f%%", total > 0 ? 100 * (double)thread->busy_cycles / total : 0
		);
	}
	cli_table_print(table, "");
}

static void print_features(const struct vl_features *features)
{
	for (unsigned bit = 0; bit < VL_FEATURE_COUNT; bit++) {
		const char *name = vl_feature_name(bit);

		if (!vl_features_have(features, bit))
			continue;
		if (name == NULL) {
			(void)printf(" %u", bit);
			continue;
		}
		(void)putchar(' ');
		for (; *name != '\0'; name++)
			(void)putchar(tolower((unsigned char)*name));
	}
	(void)putchar('\n');
}

static void print_driver(const struct port *port)
{
	const struct vl_driver_status *status = &port->status;

	(void
	)printf("%s: ring %s (%s), %u x %u descriptors, buffers of %u bytes on pages of %llu "
		"KiB\n  features:",
		port->path,
		status->ring,
		status->isa,
		status->queue_pairs,
		status->queue_size,
		status->buffer_size,
		(unsigned long long)(status->page_size / 1024));
	print_features(&status->features);
}

void results_print_tables(const struct session *session, const struct results *results)
{
	(void
	)printf("%s for %.3f s%s\n\n",
		pktgen_mode_name(session->options->mode),
		results->seconds,
		session->interrupted ? ", interrupted" : "");
	print_ports(session, results);
	if (results->direction_count > 0
	    && (session->traffic->probes || session->options->mode != MODE_RECEIVE)) {
		(void)putchar('\n');
		print_loss(session, results);
	}
	if (session->options->latency) {
		(void)putchar('\n');
		print_latency(session, results);
	}
	(void)putchar('\n');
	print_threads(results);
	(void)putchar('\n');
	for (unsigned i = 0; i < session->options->port_count; i++)
		print_driver(&session->ports[i]);
}
