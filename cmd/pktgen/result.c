/* SPDX-License-Identifier: BSD-3-Clause */
/* Collecting and judging results, see result.h. */
#include "pktgen/result.h"

#include <stdlib.h>
#include <string.h>

/* ---- ports ---- */

static void add_moved(struct moved *to, const struct moved *from)
{
	to->tx_frames += from->tx_frames;
	to->tx_bytes += from->tx_bytes;
	to->rx_frames += from->rx_frames;
	to->rx_bytes += from->rx_bytes;
	to->tx_rate += from->tx_rate;
	to->rx_rate += from->rx_rate;
	to->tx_bits += from->tx_bits;
	to->rx_bits += from->rx_bits;
}

/* A thread's window; that of a sender which had a number of frames to send ends with the last. */
static double window_of(const struct worker *worker, const struct duty *duty)
{
	uint64_t end_ns = worker->end_ns;

	if (duty->done_ns > worker->begin_ns && duty->done_ns < end_ns
	    && worker->run->options->mode != MODE_REFLECT)
		end_ns = duty->done_ns;
	return (double)(end_ns - worker->begin_ns) / 1e9;
}

static struct moved moved_by(const struct worker *worker, const struct duty *duty)
{
	double seconds = window_of(worker, duty);
	struct moved moved = {
		.tx_frames = duty->end.tx_frames - duty->begin.tx_frames,
		.tx_bytes = duty->end.tx_bytes - duty->begin.tx_bytes,
		.rx_frames = duty->end.rx_frames - duty->begin.rx_frames,
		.rx_bytes = duty->end.rx_bytes - duty->begin.rx_bytes,
	};

	if (seconds <= 0)
		return moved;
	moved.tx_rate = (double)moved.tx_frames / seconds;
	moved.rx_rate = (double)moved.rx_frames / seconds;
	moved.tx_bits = (double)moved.tx_bytes * 8 / seconds;
	moved.rx_bits = (double)moved.rx_bytes * 8 / seconds;
	return moved;
}

static void add_port(struct results *results, const struct worker *worker, const struct duty *duty)
{
	struct port_result *port = &results->ports[duty->port];
	struct moved moved = moved_by(worker, duty);
	double seconds = window_of(worker, duty);

	add_moved(&port->moved, &moved);
	add_moved(&results->total, &moved);
	port->dropped += duty->dropped;
	port->tx_full += duty->final.tx_full - duty->begin.tx_full;
	port->kicks += duty->final.kicks - duty->begin.kicks;
	port->calls += duty->final.calls - duty->begin.calls;
	if (duty->final.broken != NULL)
		port->broken = duty->final.broken;
	if (seconds > results->seconds)
		results->seconds = seconds;
}

/* ---- threads ---- */

static void add_thread(struct results *results, const struct worker *worker)
{
	struct thread_result *thread = &results->threads[results->thread_count++];
	bool by_sent = worker->run->options->mode != MODE_REFLECT;
	uint64_t sent = 0;
	uint64_t received = 0;

	for (unsigned i = 0; i < worker->duty_count; i++) {
		const struct duty *duty = &worker->duties[i];

		sent += duty->end.tx_frames - duty->begin.tx_frames;
		received += duty->end.rx_frames - duty->begin.rx_frames;
	}
	thread->cpu = worker->cpu;
	thread->frames = by_sent && sent > 0 ? sent : received;
	thread->busy_cycles = worker->end_busy_cycles;
	thread->total_cycles = worker->end_cycles - worker->begin_cycles;
	results->all_threads.frames += thread->frames;
	results->all_threads.busy_cycles += thread->busy_cycles;
	results->all_threads.total_cycles += thread->total_cycles;
}

double result_cycles_per_frame(const struct thread_result *thread)
{
	return thread->frames > 0 ? (double)thread->busy_cycles / (double)thread->frames : 0;
}

/* ---- directions ---- */

static void add_receiver(struct direction_result *direction, const struct receiver *receiver)
{
	const struct check_counts *from = &receiver->counts;
	struct check_counts *to = &direction->counts;

	to->frames += from->frames;
	to->foreign += from->foreign;
	to->corrupt += from->corrupt;
	to->duplicates += from->duplicates;
	to->reordered += from->reordered;
	to->missing += from->missing;
	histogram_merge(&direction->latency, &receiver->latency);
	gaps_merge(&direction->gaps, &receiver->gaps);
	if (direction->fault[0] == '\0')
		memcpy(direction->fault, receiver->fault, sizeof(direction->fault));
}

static void add_direction(struct results *results, const struct session *session, int from, int to)
{
	struct direction_result *direction = &results->directions[results->direction_count++];
	bool probes = session->traffic->probes;

	direction->from = from;
	direction->to = to;
	direction->sent_known = from >= 0;
	for (unsigned i = 0; i < session->duty_count; i++) {
		const struct duty *duty = &session->duties[i];

		if ((int)duty->port == from)
			direction->sent += duty->final.tx_frames - duty->begin.tx_frames;
		if ((int)duty->port != to)
			continue;
		if (duty->receiver != NULL)
			add_receiver(direction, duty->receiver);
		direction->received += duty->final.rx_frames - duty->begin.rx_frames;
	}
	if (probes)
		direction->received = direction->counts.frames - direction->counts.duplicates;
	if (direction->sent_known)
		direction->lost = (int64_t)(direction->sent - direction->received);
	else /* what the numbers of the frames say */
		direction->lost = direction->counts.missing;
}

static void add_directions(struct results *results, const struct session *session)
{
	const struct pktgen_options *options = session->options;

	if (options->mode == MODE_REFLECT)
		return;
	for (unsigned i = 0; i < options->port_count; i++) {
		int opposite = pktgen_port_opposite(options, i);

		if (options->mode == MODE_RECEIVE)
			add_direction(results, session, -1, (int)i);
		else if (pktgen_port_sends(options, i) && opposite >= 0)
			add_direction(results, session, (int)i, opposite);
	}
}

double result_loss_percent(const struct direction_result *direction)
{
	uint64_t lost = direction->lost > 0 ? (uint64_t)direction->lost : 0;
	uint64_t sent = direction->sent_known ? direction->sent : direction->received + lost;

	return sent > 0 ? 100 * (double)lost / (double)sent : 0;
}

/* ---- the verdict ---- */

static void judge_direction(struct session *session, const struct direction_result *direction)
{
	const struct pktgen_options *options = session->options;
	const char *to = session->ports[direction->to].path;
	const struct check_counts *counts = &direction->counts;

	if (options->max_loss >= 0 && result_loss_percent(direction) > options->max_loss)
		session_add_failure(
			session,
			"%lld of %llu frames to %s were lost: %.4g%%, at most %.4g%% were to be",
			(long long)direction->lost,
			(unsigned long long
			)(direction->sent_known ? direction->sent
						: direction->received + (uint64_t)direction->lost),
			to,
			result_loss_percent(direction),
			options->max_loss
		);
	if (!options->verify)
		return;
	if (counts->frames == 0)
		session_add_failure(session, "no frame of ours came to %s", to);
	if (counts->corrupt > 0)
		session_add_failure(
			session,
			"%llu frames to %s were corrupt; the first, %s",
			(unsigned long long)counts->corrupt,
			to,
			direction->fault
		);
	if (counts->duplicates > 0)
		session_add_failure(
			session,
			"%llu frames came to %s twice",
			(unsigned long long)counts->duplicates,
			to
		);
	if (counts->reordered > 0)
		session_add_failure(
			session,
			"%llu frames came to %s behind later ones of their flow",
			(unsigned long long)counts->reordered,
			to
		);
}

struct results *results_collect(struct session *session)
{
	struct results *results = calloc(1, sizeof(*results));

	if (results == NULL)
		return NULL;
	results->threads = calloc(session->worker_count, sizeof(*results->threads));
	if (results->threads == NULL) {
		free(results);
		return NULL;
	}
	results->all_threads.cpu = -1;
	for (unsigned i = 0; i < session->worker_count; i++) {
		const struct worker *worker = &session->workers[i];

		for (unsigned j = 0; j < worker->duty_count; j++)
			add_port(results, worker, &worker->duties[j]);
		add_thread(results, worker);
	}
	add_directions(results, session);
	for (unsigned i = 0; i < results->direction_count; i++)
		judge_direction(session, &results->directions[i]);
	return results;
}

void results_free(struct results *results)
{
	if (results != NULL)
		free(results->threads);
	free(results);
}
