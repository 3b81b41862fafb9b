/* SPDX-License-Identifier: BSD-3-Clause */
/* The live line, see live.h. It stands on the driver's counters: threads do nothing for it.
 */
#include "pktgen/live.h"

#include <stdio.h>
#include <unistd.h>

#include "cli/rates.h"

#define ERASE_LINE "\r\x1b[K"

struct vl_driver_stats live_port_stats(const struct session *session, unsigned port)
{
	struct vl_driver_stats sum = {};

	for (unsigned pair = 0; pair < session->options->queues; pair++) {
		struct vl_driver_stats stats;

		vl_driver_stats(session->ports[port].driver, pair, &stats);
		sum.rx_frames += stats.rx_frames;
		sum.rx_bytes += stats.rx_bytes;
		sum.tx_frames += stats.tx_frames;
		sum.tx_bytes += stats.tx_bytes;
	}
	return sum;
}

static void remember(struct live *live, const struct session *session, uint64_t now_ns)
{
	for (unsigned i = 0; i < session->options->port_count; i++)
		live->last[i] = live_port_stats(session, i);
	live->last_ns = now_ns;
	live->next_ns = now_ns + live->interval_ns;
}

void live_begin(struct live *live, const struct session *session)
{
	const struct pktgen_options *options = session->options;

	*live = (struct live){.terminal = isatty(STDERR_FILENO) != 0, .next_ns = UINT64_MAX};
	if (options->quiet || (!live->terminal && !options->live_given))
		return;
	live->interval_ns = (uint64_t)(options->live * 1e9);
	live->begin_ns = clock_ns();
	remember(live, session, live->begin_ns);
}

static void print_direction(const char *name, uint64_t frames, uint64_t bytes, double seconds)
{
	char frame_rate[RATE_TEXT_SIZE];
	char bit_rate[RATE_TEXT_SIZE];

	(void)fprintf(
		stderr,
		"  %s %s frames/s %sbit/s",
		name,
		cli_format_rate((double)frames / seconds, frame_rate),
		cli_format_rate((double)bytes * 8 / seconds, bit_rate)
	);
}

void live_tick(struct live *live, const struct session *session, uint64_t now_ns)
{
	const struct pktgen_options *options = session->options;
	double seconds = (double)(now_ns - live->last_ns) / 1e9;

	if (live->interval_ns == 0 || now_ns < live->next_ns)
		return;
	(void)fprintf(
		stderr,
		"%s%6.1f s",
		live->terminal ? ERASE_LINE : "",
		(double)(now_ns - live->begin_ns) / 1e9
	);
	for (unsigned i = 0; i < options->port_count; i++) {
		struct vl_driver_stats now = live_port_stats(session, i);
		const struct vl_driver_stats *last = &live->last[i];

		if (options->port_count > 1)
			(void)fprintf(stderr, "  port %u:", i + 1);
		if (pktgen_port_sends(options, i))
			print_direction(
				"tx",
				now.tx_frames - last->tx_frames,
				now.tx_bytes - last->tx_bytes,
				seconds
			);
		if (pktgen_port_receives(options, i))
			print_direction(
				"rx",
				now.rx_frames - last->rx_frames,
				now.rx_bytes - last->rx_bytes,
				seconds
			);
	}
	(void)fputs(live->terminal ? "" : "\n", stderr);
	(void)fflush(stderr);
	remember(live, session, now_ns);
}

void live_end(const struct live *live)
{
	if (live->interval_ns > 0 && live->terminal)
		(void)fputs(ERASE_LINE, stderr);
}
