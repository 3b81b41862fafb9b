/* SPDX-License-Identifier: BSD-3-Clause */
/* Which worker polls which queue, see assign.h. */
#include "switch/assign.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"

static void replace_polls(struct switch_state *sw, struct worker *worker, struct poll_set *polls)
{
	struct poll_set *old =
		atomic_exchange_explicit(&worker->polls, polls, memory_order_acq_rel);

	switch_synchronize(sw);
	free(old);
	worker_wake(worker);
}

/* A copy of a worker's set with one more place. */
static struct poll_set *copy_polls(const struct worker *worker)
{
	const struct poll_set *old = worker_polls(worker);
	unsigned count = old == NULL ? 0 : old->count;
	size_t each = sizeof(old->entries[0]) + sizeof(old->awake[0]);
	struct poll_set *polls = calloc(1, sizeof(*polls) + (count + 1) * each);

	if (polls == NULL)
		return NULL;
	polls->awake = (uint32_t *)&polls->entries[count + 1];
	for (; polls->count < count; polls->count++) {
		const struct poll_entry *entry = &old->entries[polls->count];

		polls->entries[polls->count] =
			(struct poll_entry){.port = entry->port, .queue = entry->queue};
	}
	return polls;
}

/* Take a port, or one queue of it (-1: all), out of a worker's set. In place, so that it cannot
 * fail for want of memory: the worker has no set for the moment it takes. */
static void
shrink_polls(struct switch_state *sw, struct worker *worker, const struct port *port, int queue)
{
	struct poll_set *polls =
		atomic_exchange_explicit(&worker->polls, NULL, memory_order_acq_rel);
	unsigned kept = 0;

	if (polls == NULL)
		return;
	switch_synchronize(sw);
	for (unsigned i = 0; i < polls->count; i++) {
		const struct poll_entry *entry = &polls->entries[i];

		if (entry->port != port || (queue >= 0 && entry->queue != queue))
			polls->entries[kept++] = *entry;
	}
	polls->count = kept;
	polls->adopted = false;
	atomic_store_explicit(&worker->polls, polls, memory_order_release);
	worker_wake(worker);
}

static struct worker *least_busy(struct switch_state *sw)
{
	struct worker *best = &sw->workers[0];
	unsigned fewest = UINT32_MAX;

	for (unsigned i = 0; i < sw->settings.worker_count; i++) {
		const struct poll_set *polls = worker_polls(&sw->workers[i]);
		unsigned n = polls == NULL ? 0 : polls->count;

		if (n < fewest) {
			fewest = n;
			best = &sw->workers[i];
		}
	}
	return best;
}

/* Have a queue that nobody polls polled; `polls` is a copy of the worker's set. */
static void give_queue(
	struct switch_state *sw,
	struct worker *worker,
	struct poll_set *polls,
	struct port *port,
	unsigned queue
)
{
	polls->entries[polls->count++] = (struct poll_entry){
		.port = port,
		.queue = (uint16_t)queue,
	};
	sw->assigned[port->id][queue] = (int16_t)worker->index;
	worker_watch(worker, port->id, queue, -1, port->watch_fds[queue]);
	replace_polls(sw, worker, polls);
}

int assign_queue(struct switch_state *sw, struct port *port, unsigned queue)
{
	struct worker *worker = least_busy(sw);
	struct poll_set *polls = copy_polls(worker);

	if (polls == NULL)
		return -ENOMEM;
	give_queue(sw, worker, polls, port, queue);
	return 0;
}

void assign_move(struct switch_state *sw, struct port *port, unsigned queue, struct worker *worker)
{
	struct worker *old = assigned_worker(sw, port, queue);
	struct poll_set *polls = copy_polls(worker);

	if (polls == NULL)
		return; /* it can stay where it is */
	shrink_polls(sw, old, port, (int)queue);
	worker_watch(old, port->id, queue, port->watch_fds[queue], -1);
	give_queue(sw, worker, polls, port, queue);
	worker->moved++;
	log_info(
		LOG_SWITCH,
		"%s/%u: moved from worker %u to %u",
		port->settings.name,
		queue,
		old->index,
		worker->index
	);
}

void assign_none(struct switch_state *sw, struct port *port)
{
	for (unsigned i = 0; i < sw->settings.worker_count; i++)
		shrink_polls(sw, &sw->workers[i], port, -1);
	for (unsigned queue = 0; queue < port->settings.queues; queue++) {
		struct worker *worker = assigned_worker(sw, port, queue);

		if (worker != NULL)
			worker_watch(worker, port->id, queue, port->watch_fds[queue], -1);
		sw->assigned[port->id][queue] = -1;
	}
}
