/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the main thread does while others move frames: leads them through the phases (see
 * worker.h), listens to the back ends and to signals, and prints the live line.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "pktgen/live.h"
#include "pktgen/session.h"

enum {
	QUIET_NS = 200 * 1000 * 1000,	 /* nothing has come for so long: nothing will */
	QUIET_ALL_NS = 10 * 1000 * 1000, /* the same when all has come that was sent */
	DRAIN_TICK_NS = 2 * 1000 * 1000,
	COUNT_TICK_NS = 10 * 1000 * 1000,
};

static volatile sig_atomic_t told_to_end;

static void on_end(int)
{
	told_to_end = 1;
}

/* The first signal ends the run with its report, another one the program. They are blocked but
 * while the main thread waits, so that none is missed. */
static void catch_signals(sigset_t *while_waiting)
{
	const struct sigaction action = {.sa_handler = on_end, .sa_flags = (int)SA_RESETHAND};
	sigset_t ends;

	(void)sigemptyset(&ends);
	(void)sigaddset(&ends, SIGINT);
	(void)sigaddset(&ends, SIGTERM);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)pthread_sigmask(SIG_BLOCK, &ends, while_waiting);
	(void)sigdelset(while_waiting, SIGINT);
	(void)sigdelset(while_waiting, SIGTERM);
}

struct lead {
	struct session *session;
	struct live live;
	sigset_t signals;
	bool hung_up[PKTGEN_PORTS_MAX];
	uint64_t sent, received; /* when frames began to move */
};

/* ---- back ends that go and come back ---- */

static void pause_workers(struct session *session, bool pause)
{
	const struct timespec a_moment = {.tv_nsec = 100 * 1000};

	atomic_store_explicit(&session->run.pause, pause, memory_order_release);
	for (unsigned i = 0; i < session->worker_count; i++) {
		while (atomic_load_explicit(&session->workers[i].paused, memory_order_acquire)
		       != pause)
			(void)nanosleep(&a_moment, NULL);
	}
}

/* One try: 0, or why it did not come back; for good if it is another one. */
static int reconnect(struct lead *lead, unsigned index, struct vl_driver_error *why)
{
	const struct port *port = &lead->session->ports[index];
	int result = vl_driver_reconnect(port->driver, 0, why);

	if (result < 0)
		return result;
	lead->session->reconnects++;
	if (index > 0 && !lead->session->options->no_announce)
		port_announce(port, lead->session->options);
	return 0;
}

/*
 * The back ends of several ports go together, as a rule, if not at the very same time. The last one
 * returns first, and makes its addresses known before others send to it what waits in their rings:
 * so before each try those behind are looked at again.
 */
static void try_until(struct lead *lead, uint64_t end_ns)
{
	const struct timespec a_moment = {.tv_nsec = 1000 * 1000};
	struct session *session = lead->session;

	for (unsigned i = session->options->port_count; i > 0;) {
		struct port *port = &session->ports[i - 1];
		struct vl_driver_error why;

		if (lead->hung_up[i - 1] || vl_driver_process(port->driver) == 0) {
			i--;
			continue;
		}
		int result = reconnect(lead, i - 1, &why);
		bool for_good = result == -ENOTRECOVERABLE || result == -ENOTSUP;
		if (result < 0 && (for_good || told_to_end || clock_ns() >= end_ns)) {
			lead->hung_up[i - 1] = true;
			session_add_failure(
				session, "%s does not come back: %s", port->path, why.text
			);
		}
		/* Signals are let in, too. */
		if (result < 0)
			(void)ppoll(NULL, 0, &a_moment, &lead->signals);
		i = session->options->port_count;
	}
}

static void wait_for_return(struct lead *lead)
{
	struct session *session = lead->session;
	uint64_t begin_ns = clock_ns();

	pause_workers(session, true);
	try_until(lead, begin_ns + (uint64_t)(session->options->reconnect * 1e9));
	pause_workers(session, false);
	uint64_t away_ns = clock_ns() - begin_ns;
	if (away_ns > session->away_ns)
		session->away_ns = away_ns;
}

/* ---- waiting ---- */

static void listen_to(struct lead *lead, unsigned port)
{
	struct port *from = &lead->session->ports[port];
	int result = vl_driver_process(from->driver);

	if (result >= 0)
		return;
	if (result == -ECONNRESET && lead->session->options->reconnect > 0) {
		wait_for_return(lead);
		return;
	}
	lead->hung_up[port] = true;
	session_add_failure(
		lead->session,
		result == -ECONNRESET ? "the back end of %s has hung up"
				      : "the back end of %s broke the rules of vhost-user",
		from->path
	);
}

/* Until something happens, `until_ns`, or the live line is due. */
static void wait_for_event(struct lead *lead, uint64_t until_ns)
{
	const struct session *session = lead->session;
	struct pollfd fds[1 + PKTGEN_PORTS_MAX] = {{.fd = session->run.event_fd, .events = POLLIN}};
	uint64_t now_ns = clock_ns();
	struct timespec timeout;
	uint64_t count;

	if (until_ns > lead->live.next_ns)
		until_ns = lead->live.next_ns;
	until_ns = until_ns > now_ns ? until_ns - now_ns : 0;
	timeout.tv_sec = (time_t)(until_ns / 1000000000);
	timeout.tv_nsec = (long)(until_ns % 1000000000);
	for (unsigned i = 0; i < session->options->port_count; i++) {
		fds[1 + i].fd =
			lead->hung_up[i] ? -1 : vl_driver_control_fd(session->ports[i].driver);
		fds[1 + i].events = POLLIN;
	}
	if (ppoll(fds, 1 + session->options->port_count, &timeout, &lead->signals) > 0) {
		if (fds[0].revents)
			(void)!read(session->run.event_fd, &count, sizeof(count));
		for (unsigned i = 0; i < session->options->port_count; i++) {
			if (fds[1 + i].revents)
				listen_to(lead, i);
		}
	}
	live_tick(&lead->live, session, clock_ns());
}

/* Whether a back end or a queue has failed; queues say why once. */
static bool has_failed(struct lead *lead)
{
	struct session *session = lead->session;
	bool failed = false;

	for (unsigned i = 0; i < session->options->port_count; i++)
		failed |= lead->hung_up[i];
	for (unsigned i = 0; i < session->duty_count; i++) {
		struct duty *duty = &session->duties[i];
		struct vl_driver_stats stats;

		if (!atomic_load(&duty->stopped))
			continue;
		failed = true;
		vl_driver_stats(duty->driver, duty->pair, &stats);
		if (session->failure_count == 0)
			session_add_failure(
				session,
				"queue pair %u of %s was stopped: %s",
				duty->pair,
				session->ports[duty->port].path,
				stats.broken != NULL ? stats.broken : "the driver does not say why"
			);
	}
	return failed;
}

static bool all_have_sent(const struct session *session)
{
	bool sends = false;

	for (unsigned i = 0; i < session->duty_count; i++) {
		const struct duty *duty = &session->duties[i];

		sends |= duty->sends;
		if (duty->sends && !atomic_load_explicit(&duty->done, memory_order_acquire))
			return false;
	}
	return sends;
}

/* With --frames: of those who send, that they have; of others, that as many have come. */
static bool count_is_reached(const struct session *session, const struct vl_driver_stats *before)
{
	const struct pktgen_options *options = session->options;

	if (options->frames == 0)
		return false;
	if (options->mode == MODE_SEND || options->mode == MODE_EXCHANGE)
		return all_have_sent(session);
	for (unsigned i = 0; i < options->port_count; i++) {
		uint64_t came = live_port_stats(session, i).rx_frames - before[i].rx_frames;

		if ((double)came < options->frames)
			return false;
	}
	return true;
}

/* Whether there is anything that ends the run before its time. */
static bool must_end(struct lead *lead)
{
	lead->session->interrupted = told_to_end != 0;
	return lead->session->interrupted || has_failed(lead);
}

/* ---- phases ---- */

static void enter_phase(struct session *session, enum phase phase)
{
	const struct timespec a_moment = {.tv_nsec = 100 * 1000};

	/* Threads see what was prepared before it. */
	atomic_store_explicit(&session->run.phase, phase, memory_order_release);
	for (unsigned i = 0; i < session->worker_count; i++) {
		/* What the thread noted on entering may be read then. */
		while (atomic_load_explicit(&session->workers[i].seen, memory_order_acquire)
		       != phase)
			(void)nanosleep(&a_moment, NULL);
	}
}

/* Move frames for a time (0: without end), or until they are enough. */
static void run_phase(struct lead *lead, enum phase phase, double seconds)
{
	const struct session *session = lead->session;
	bool counts = phase == PHASE_RUN && session->options->frames > 0;
	bool ticks = counts && session->options->mode != MODE_SEND;
	struct vl_driver_stats before[PKTGEN_PORTS_MAX] = {};
	uint64_t now_ns = clock_ns();
	uint64_t end_ns = seconds > 0 ? now_ns + (uint64_t)(seconds * 1e9) : UINT64_MAX;

	for (unsigned i = 0; i < session->options->port_count; i++)
		before[i] = live_port_stats(session, i);
	enter_phase(lead->session, phase);
	while (now_ns < end_ns && !must_end(lead)) {
		uint64_t until_ns = end_ns;

		if (counts && count_is_reached(session, before))
			return;
		if (ticks && now_ns + COUNT_TICK_NS < end_ns)
			until_ns = now_ns + COUNT_TICK_NS;
		wait_for_event(lead, until_ns);
		now_ns = clock_ns();
	}
}

/* What was sent and is to come back here, and what has come. */
static void sum_ports(const struct session *session, uint64_t *sent, uint64_t *received)
{
	*sent = *received = 0;
	for (unsigned i = 0; i < session->options->port_count; i++) {
		struct vl_driver_stats stats = live_port_stats(session, i);

		if (pktgen_port_opposite(session->options, i) >= 0)
			*sent += stats.tx_frames;
		if (pktgen_port_receives(session->options, i))
			*received += stats.rx_frames;
	}
}

/* Wait for frames that are on their way: until all have come, or none has for a while. */
static void drain(struct lead *lead, enum phase phase)
{
	const struct session *session = lead->session;
	uint64_t now_ns;
	uint64_t changed_ns;
	uint64_t end_ns;
	uint64_t last = UINT64_MAX;

	enter_phase(lead->session, phase);
	now_ns = changed_ns = clock_ns();
	end_ns = now_ns + (uint64_t)(session->options->drain * 1e9);
	while (now_ns < end_ns && !has_failed(lead)) {
		uint64_t sent;
		uint64_t received;

		sum_ports(session, &sent, &received);
		sent -= lead->sent;
		received -= lead->received;
		if (received != last)
			changed_ns = now_ns;
		last = received;
		if (now_ns - changed_ns >= (received >= sent ? QUIET_ALL_NS : QUIET_NS))
			return;
		wait_for_event(lead, now_ns + DRAIN_TICK_NS);
		now_ns = clock_ns();
	}
}

static enum pktgen_exit start_workers(struct session *session)
{
	for (unsigned i = 0; i < session->options->threads; i++) {
		int result = worker_start(&session->workers[i]);

		if (result < 0)
			return pktgen_fail(
				PKTGEN_FAILED,
				result == -EINVAL ? "cannot start a thread on CPU %d: there is no "
						    "such CPU here"
						  : "cannot start a thread (CPU %d): %s",
				session->workers[i].cpu,
				strerror(-result)
			);
		session->worker_count++;
	}
	return PKTGEN_OK;
}

static void lead_through(struct lead *lead)
{
	const struct pktgen_options *options = lead->session->options;
	bool reflects = options->mode == MODE_REFLECT;
	bool sends = pktgen_port_sends(options, 0) && !reflects;

	sum_ports(lead->session, &lead->sent, &lead->received);
	if (options->warmup > 0) {
		run_phase(lead, PHASE_WARM, options->warmup);
		if (sends)
			drain(lead, PHASE_SETTLE);
		/* What was lost in the warm-up is not waited for at the end. */
		sum_ports(lead->session, &lead->sent, &lead->received);
	}
	if (!reflects)
		enter_phase(lead->session, PHASE_RESET);
	run_phase(lead, PHASE_RUN, options->time);
	if (sends)
		drain(lead, PHASE_DRAIN);
	else
		enter_phase(lead->session, PHASE_DRAIN);
}

enum pktgen_exit session_run(struct session *session)
{
	struct lead lead = {.session = session};
	enum pktgen_exit status;

	catch_signals(&lead.signals);
	status = start_workers(session);
	if (status == PKTGEN_OK) {
		live_begin(&lead.live, session);
		lead_through(&lead);
		live_end(&lead.live);
	}
	enter_phase(session, PHASE_STOP);
	for (unsigned i = 0; i < session->worker_count; i++)
		(void)pthread_join(session->workers[i].thread, NULL);
	return status;
}
