/* SPDX-License-Identifier: BSD-3-Clause */
/* Results as one JSON object; virtlane-pktgen(1) says what is in it. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/text.h"
#include "pktgen/result.h"

/* json_pack() only fails without memory, and json_dumpf() then says so. */

static json_t *mac_json(const uint8_t mac[6])
{
	char text[MAC_TEXT_SIZE];

	text_format_mac(mac, text);
	return json_string(text);
}

static void add_numbers(json_t *to, const struct moved *moved)
{
	(void)json_object_update_new(
		to,
		json_pack(
			"{s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f}",
			"tx_frames",
			(json_int_t)moved->tx_frames,
			"tx_bytes",
			(json_int_t)moved->tx_bytes,
			"rx_frames",
			(json_int_t)moved->rx_frames,
			"rx_bytes",
			(json_int_t)moved->rx_bytes,
			"tx_frames_per_second",
			moved->tx_rate,
			"rx_frames_per_second",
			moved->rx_rate,
			"tx_bits_per_second",
			moved->tx_bits,
			"rx_bits_per_second",
			moved->rx_bits
		)
	);
}

static json_t *features_json(const struct vl_features *features)
{
	json_t *names = json_array();

	for (unsigned bit = 0; bit < VL_FEATURE_COUNT; bit++) {
		const char *name = vl_feature_name(bit);

		if (vl_features_have(features, bit))
			(void)json_array_append_new(
				names, name != NULL ? json_string(name) : json_integer(bit)
			);
	}
	return names;
}

static json_t *driver_json(const struct vl_driver_status *status)
{
	return json_pack(
		"{s:s?, s:s?, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:i, s:b, s:o, s:s?}",
		"ring",
		status->ring,
		"isa",
		status->isa,
		"features",
		features_json(&status->features),
		"queue_pairs",
		(int)status->queue_pairs,
		"queue_pairs_max",
		(int)status->queue_pairs_max,
		"queue_size",
		(int)status->queue_size,
		"rx_slots",
		(int)status->rx_slots,
		"tx_slots",
		(int)status->tx_slots,
		"buffer_size",
		(int)status->buffer_size,
		"memory_size",
		(json_int_t)status->memory_size,
		"page_size",
		(json_int_t)status->page_size,
		"mtu",
		(int)status->mtu,
		"link_up",
		status->link_up,
		"mac",
		status->has_mac ? mac_json(status->mac) : json_null(),
		"broken",
		status->broken
	);
}

static json_t *port_json(const struct port *port, const struct port_result *result)
{
	struct vl_driver_status status;
	json_t *object;

	vl_driver_status(port->driver, &status);
	object = json_pack(
		"{s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:o}",
		"path",
		port->path,
		"source",
		mac_json(port->source),
		"destination",
		mac_json(port->destination),
		"dropped",
		(json_int_t)result->dropped,
		"tx_full",
		(json_int_t)result->tx_full,
		"kicks",
		(json_int_t)result->kicks,
		"calls",
		(json_int_t)result->calls,
		"driver",
		driver_json(&status)
	);
	add_numbers(object, &result->moved);
	return object;
}

static json_t *latency_json(const struct histogram *latency)
{
	return json_pack(
		"{s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"count",
		(json_int_t)latency->count,
		"min",
		(json_int_t)latency->min,
		"mean",
		histogram_mean(latency),
		"p50",
		(json_int_t)histogram_percentile(latency, 50),
		"p90",
		(json_int_t)histogram_percentile(latency, 90),
		"p99",
		(json_int_t)histogram_percentile(latency, 99),
		"p99.9",
		(json_int_t)histogram_percentile(latency, 99.9),
		"p99.99",
		(json_int_t)histogram_percentile(latency, 99.99),
		"max",
		(json_int_t)latency->max,
		"overflow",
		(json_int_t)latency->overflow
	);
}

static json_t *gaps_json(const struct gaps *gaps)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < GAPS_KEPT && gaps->longest_ns[i] > 0; i++)
		json_array_append_new(array, json_integer((json_int_t)gaps->longest_ns[i]));
	return array;
}

static json_t *
direction_json(const struct session *session, const struct direction_result *direction)
{
	const struct check_counts *counts = &direction->counts;
	json_t *object = json_pack(
		"{s:o, s:i, s:o, s:I, s:I, s:f}",
		"from",
		direction->from >= 0 ? json_integer(direction->from) : json_null(),
		"to",
		direction->to,
		"sent",
		direction->sent_known ? json_integer((json_int_t)direction->sent) : json_null(),
		"received",
		(json_int_t)direction->received,
		"lost",
		(json_int_t)direction->lost,
		"loss_percent",
		result_loss_percent(direction)
	);

	if (session->traffic->probes)
		(void)json_object_update_new(
			object,
			json_pack(
				"{s:I, s:I, s:I}",
				"duplicates",
				(json_int_t)counts->duplicates,
				"reordered",
				(json_int_t)counts->reordered,
				"foreign",
				(json_int_t)counts->foreign
			)
		);
	if (session->options->verify)
		(void
		)json_object_set_new(object, "corrupt", json_integer((json_int_t)counts->corrupt));
	if (direction->fault[0] != '\0')
		(void)json_object_set_new(object, "fault", json_string(direction->fault));
	if (session->options->latency) {
		(void)json_object_set_new(object, "latency_ns", latency_json(&direction->latency));
		(void)json_object_set_new(object, "gaps_ns", gaps_json(&direction->gaps));
	}
	return object;
}

static json_t *thread_json(const struct thread_result *thread)
{
	return json_pack(
		"{s:o, s:I, s:I, s:I, s:f}",
		"cpu",
		thread->cpu >= 0 ? json_integer(thread->cpu) : json_null(),
		"frames",
		(json_int_t)thread->frames,
		"busy_cycles",
		(json_int_t)thread->busy_cycles,
		"total_cycles",
		(json_int_t)thread->total_cycles,
		"cycles_per_frame",
		result_cycles_per_frame(thread)
	);
}

static json_t *options_json(const struct session *session)
{
	const struct pktgen_options *options = session->options;

	return json_pack(
		"{s:s, s:s, s:f, s:i, s:i, s:i, s:i, s:i, s:f, s:i, s:i, s:I}",
		"mode",
		pktgen_mode_name(options->mode),
		"size",
		options->size_text,
		"rate", /* 0: as many as go */
		options->rate,
		"flows",
		(int)options->flows,
		"macs",
		(int)options->macs,
		"queues",
		(int)options->queues,
		"threads",
		(int)options->threads,
		"burst",
		(int)options->burst,
		"warmup",
		options->warmup,
		"in_flight",
		(int)options->in_flight,
		"segment_size",
		(int)options->tso,
		"seed",
		(json_int_t)options->seed
	);
}

void results_print_json(const struct session *session, const struct results *results)
{
	json_t *ports = json_array();
	json_t *directions = json_array();
	json_t *threads = json_array();
	json_t *failures = json_array();
	json_t *object;

	for (unsigned i = 0; i < session->options->port_count; i++)
		(void
		)json_array_append_new(ports, port_json(&session->ports[i], &results->ports[i]));
	for (unsigned i = 0; i < results->direction_count; i++)
		(void)json_array_append_new(
			directions, direction_json(session, &results->directions[i])
		);
	for (unsigned i = 0; i < results->thread_count; i++)
		(void)json_array_append_new(threads, thread_json(&results->threads[i]));
	for (unsigned i = 0; i < session->failure_count; i++)
		(void)json_array_append_new(failures, json_string(session->failures[i]));
	object = json_pack(
		"{s:s, s:o, s:f, s:b, s:I, s:f, s:f, s:I, s:I, s:o, s:o, s:o, s:o}",
		"version",
		VIRTLANE_VERSION,
		"options",
		options_json(session),
		"seconds",
		results->seconds,
		"interrupted",
		session->interrupted,
		"reconnects",
		(json_int_t)session->reconnects,
		"away_seconds",
		(double)session->away_ns / 1e9,
		"cycles_per_frame",
		result_cycles_per_frame(&results->all_threads),
		"busy_cycles",
		(json_int_t)results->all_threads.busy_cycles,
		"total_cycles",
		(json_int_t)results->all_threads.total_cycles,
		"ports",
		ports,
		"directions",
		directions,
		"threads",
		threads,
		"failures",
		failures
	);
	add_numbers(object, &results->total);
	(void)json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
	(void)putchar('\n');
	json_decref(object);
}
