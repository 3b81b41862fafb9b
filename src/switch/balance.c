/* SPDX-License-Identifier: BSD-3-Clause */
/* See balance.h. */
#include "switch/balance.h"

#include "switch/switch.h"

/* Below this, a worker has time enough for whatever comes. */
static const double busy = 0.5;
/* How much less busy the busier one has to become: a move is not free, and loads are measured. */
static const double gain = 0.1;

static double larger(double a, double b)
{
	return a > b ? a : b;
}

bool balance_choose(
	const struct balance_queue *queues,
	unsigned count,
	unsigned workers,
	struct balance_move *move
)
{
	double loads[WORKERS_MAX] = {0};
	unsigned most = 0, least = 0;

	for (unsigned i = 0; i < count; i++)
		loads[queues[i].worker] += queues[i].load;
	for (unsigned i = 1; i < workers; i++) {
		most = loads[i] > loads[most] ? i : most;
		least = loads[i] < loads[least] ? i : least;
	}
	double best = loads[most] - gain;
	bool found = false;
	for (unsigned i = 0; loads[most] >= busy && i < count; i++) {
		if (queues[i].worker != most)
			continue;
		double after = larger(loads[most] - queues[i].load, loads[least] + queues[i].load);
		if (after > best)
			continue;
		best = after;
		found = true;
		*move = (struct balance_move){.queue = i, .to = least};
	}
	return found;
}
