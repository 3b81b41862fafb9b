/* SPDX-License-Identifier: BSD-3-Clause */
/* Setting up a run and taking it down, see session.h; its course is in lead.c. */
#include "pktgen/session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void session_add_failure(struct session *session, const char *format, ...)
{
	va_list arguments;
	char *text;

	if (session->failure_count == SESSION_FAILURES_MAX)
		return;
	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) >= 0)
		session->failures[session->failure_count++] = text;
	va_end(arguments);
}

/* ---- duties ---- */

/* The part of `total` that falls to the n-th of `count`. */
static uint64_t share_of(uint64_t total, unsigned n, unsigned count)
{
	return total / count + (n < total % count);
}

static int open_sender(struct session *session, struct duty *duty)
{
	const struct pktgen_options *options = session->options;
	const struct port *port = &session->ports[duty->port];
	struct sender_address address = {
		.port = duty->port,
		.macs = options->macs,
		.vlan = options->vlan,
	};
	unsigned first = 0;
	double rate = options->rate / options->queues;

	memcpy(address.source, port->source, sizeof(address.source));
	memcpy(address.destination, port->destination, sizeof(address.destination));
	for (unsigned i = 0; i < duty->pair; i++)
		first += (unsigned)share_of(options->flows, i, options->queues);
	duty->limit = options->frames > 0
			      ? share_of((uint64_t)options->frames, duty->pair, options->queues)
			      : UINT64_MAX;
	if (options->mode == MODE_REFLECT)
		duty->limit = options->in_flight;
	else if (rate > 0)
		duty->pace.interval = (uint64_t)(1e9 * 65536 / rate + 0.5);
	duty->left = duty->limit;
	return sender_open(
		&duty->sender,
		session->traffic,
		&address,
		first,
		(unsigned)share_of(options->flows, duty->pair, options->queues)
	);
}

static int open_receiver(struct session *session, struct duty *duty)
{
	const struct pktgen_options *options = session->options;
	int from = options->mode == MODE_RECEIVE ? -1
		   : options->port_count == 2	 ? 1 - (int)duty->port
						 : 0;

	if (!session->traffic->probes || !duty->receives)
		return 0;
	duty->receiver = malloc(sizeof(*duty->receiver));
	if (duty->receiver == NULL)
		return -ENOMEM;
	return receiver_open(duty->receiver, session->traffic, options, from);
}

static int open_duty(struct session *session, struct duty *duty, unsigned port, unsigned pair)
{
	const struct pktgen_options *options = session->options;
	struct port *opened = &session->ports[port];
	int result;

	duty->driver = opened->driver;
	duty->port = port;
	duty->pair = pair;
	duty->sends = pktgen_port_sends(options, port);
	duty->receives = pktgen_port_receives(options, port);
	duty->clean_headers = vl_features_have(&opened->status.features, VL_F_GUEST_CSUM);
	duty->pending = calloc(VL_DRIVER_BURST_MAX, sizeof(*duty->pending));
	if (duty->pending == NULL)
		return -ENOMEM;
	result = duty->sends ? open_sender(session, duty) : 0;
	return result < 0 ? result : open_receiver(session, duty);
}

static void close_duty(struct duty *duty)
{
	sender_close(&duty->sender);
	if (duty->receiver != NULL)
		receiver_close(duty->receiver);
	free(duty->receiver);
	free(duty->pending);
}

/* Zeroed, and so that no two threads write to one line of the cache. */
static void *allocate_lines(size_t count, size_t size)
{
	void *lines = aligned_alloc(64, count * size);

	return lines != NULL ? memset(lines, 0, count * size) : NULL;
}

/* Threads take turns at the pairs of the first port, then at those of the second: with as many
 * threads as queues, the n-th has the n-th pair of both. */
static int open_duties(struct session *session)
{
	const struct pktgen_options *options = session->options;
	unsigned total = options->queues * options->port_count;
	int result = 0;

	session->duties = allocate_lines(total, sizeof(*session->duties));
	session->workers = allocate_lines(options->threads, sizeof(*session->workers));
	if (session->duties == NULL || session->workers == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < options->threads && result == 0; i++) {
		struct worker *worker = &session->workers[i];

		worker->run = &session->run;
		worker->duties = session->duties + session->duty_count;
		worker->cpu = options->cpu_count > 0 ? options->cpus[i] : -1;
		for (unsigned n = i; n < total && result == 0; n += options->threads) {
			unsigned port = n / options->queues;
			unsigned pair = n % options->queues;

			result = open_duty(
				session, &session->duties[session->duty_count], port, pair
			);
			session->duty_count++;
			worker->duty_count++;
		}
		worker->fds = calloc(worker->duty_count, sizeof(*worker->fds));
		if (worker->fds == NULL)
			result = -ENOMEM;
	}
	return result;
}

/* ---- the whole ---- */

enum pktgen_exit session_open(struct session *session, const struct pktgen_options *options)
{
	const char *wrong;
	enum pktgen_exit status;
	int result;

	*session = (struct session){.options = options};
	session->run.event_fd = -1;
	session->traffic = calloc(1, sizeof(*session->traffic));
	if (session->traffic == NULL)
		return pktgen_fail(PKTGEN_FAILED, "there is not enough memory");
	wrong = traffic_open(session->traffic, options);
	if (wrong != NULL)
		return pktgen_fail(PKTGEN_USAGE, "%s", wrong);
	status = ports_open(session->ports, options);
	if (status != PKTGEN_OK)
		return status;
	session->run.options = options;
	session->run.traffic = session->traffic;
	session->run.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	result = session->run.event_fd < 0 ? -errno : open_duties(session);
	if (result < 0)
		return pktgen_fail(PKTGEN_FAILED, "cannot prepare to run: %s", strerror(-result));
	return PKTGEN_OK;
}

void session_close(struct session *session)
{
	for (unsigned i = 0; i < session->duty_count; i++)
		close_duty(&session->duties[i]);
	for (unsigned i = 0; session->workers != NULL && i < session->options->threads; i++)
		free(session->workers[i].fds);
	for (unsigned i = 0; i < session->failure_count; i++)
		free(session->failures[i]);
	free(session->workers);
	free(session->duties);
	ports_close(session->ports, session->options);
	if (session->run.event_fd >= 0)
		(void)close(session->run.event_fd);
	if (session->traffic != NULL)
		traffic_close(session->traffic);
	free(session->traffic);
}
