/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports, workers and their tables as control handles them, see switch.h. */
#include "switch/switch.h"

#include <errno.h>
#include <event2/event.h>
#include <rte_cycles.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/sigbus.h"
#include "switch/assign.h"
#include "switch/balance.h"
#include "switch/state.h"

uint32_t switch_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint32_t)now.tv_sec;
}

const struct switch_settings *switch_settings(const struct switch_state *sw)
{
	return &sw->settings;
}

/* Which ports there are, or what is set for them. */
static void settings_changing(struct switch_state *sw)
{
	if (sw->changing != NULL)
		sw->changing(sw->changing_context, PORT_NONE);
}

void switch_set_mac_age(struct switch_state *sw, uint32_t age)
{
	settings_changing(sw);
	sw->settings.mac_age = age;
}

void switch_set_state_directory(struct switch_state *sw, const char *directory)
{
	sw->hooks.state_directory = directory;
}

/* ---- hooks of the ports ---- */

static void hook_synchronize(void *context)
{
	switch_synchronize(context);
}

static void hook_wake(void *context, struct port *port, unsigned queue)
{
	struct worker *worker = assigned_worker(context, port, queue);

	if (worker != NULL)
		worker_rouse(worker, port->id, queue);
}

static void hook_watch(void *context, struct port *port, unsigned queue, int old_fd)
{
	struct worker *worker = assigned_worker(context, port, queue);

	if (worker != NULL)
		worker_watch(worker, port->id, queue, old_fd, port->watch_fds[queue]);
}

static void hook_announce(void *context, struct port *port, const uint8_t mac[6])
{
	atomic_store_explicit(&port->announce, mac_key_make(mac, 0), memory_order_relaxed);
	hook_wake(context, port, 0);
}

static void hook_changing(void *context, const struct port *port)
{
	struct switch_state *sw = context;

	if (sw->changing != NULL)
		sw->changing(sw->changing_context, port->id);
}

void switch_watch_changes(
	struct switch_state *sw,
	void (*changing)(void *context, unsigned port_id),
	void (*leaving)(void *context, unsigned port_id),
	void *context
)
{
	sw->changing = changing;
	sw->leaving = leaving;
	sw->changing_context = context;
}

/* ---- life ---- */

static void sample_load(struct worker *worker)
{
	uint64_t busy = atomic_load_explicit(&worker->busy_cycles, memory_order_relaxed);
	uint64_t total = atomic_load_explicit(&worker->total_cycles, memory_order_relaxed);
	uint64_t span = total - worker->sampled_total;

	worker->load = span == 0 ? 0 : (double)(busy - worker->sampled_busy) / (double)span;
	worker->sampled_busy = busy;
	worker->sampled_total = total;
}

/* `cycles`: since the last time. */
static void sample_queue_loads(struct port *port, double cycles)
{
	for (unsigned i = 0; i < port->settings.queues; i++) {
		uint64_t busy = atomic_load_explicit(&port->busy_cycles[i], memory_order_relaxed);
		double load = (double)(busy - port->sampled_cycles[i]) / cycles;

		port->loads[i] = (float)((port->loads[i] + load) / 2);
		port->sampled_cycles[i] = busy;
	}
}

/* One move at a time, and then some seconds to see what it has brought. */
static void rebalance(struct switch_state *sw)
{
	enum {
		SETTLE_SECONDS = 3,
	};
	struct balance_move move;
	unsigned count = 0, n = 0;

	if (sw->holding || !sw->settings.rebalance || sw->settings.worker_count == 1
	    || ++sw->settled < SETTLE_SECONDS)
		return;
	for (unsigned i = 0; i < switch_port_count(sw); i++)
		count += switch_port_at(sw, i)->settings.queues;
	struct balance_queue *queues = calloc(count + 1, sizeof(queues[0]));
	struct queue_name {
		struct port *port;
		unsigned queue;
	} *names = calloc(count + 1, sizeof(names[0]));
	for (unsigned i = 0; queues != NULL && names != NULL && i < switch_port_count(sw); i++) {
		struct port *port = switch_port_at(sw, i);

		for (unsigned queue = 0; queue < port->settings.queues; queue++) {
			queues[n].worker = (unsigned)sw->assigned[port->id][queue];
			queues[n].load = port->loads[queue];
			names[n++] = (struct queue_name){port, queue};
		}
	}
	if (balance_choose(queues, n, sw->settings.worker_count, &move)) {
		assign_move(
			sw, names[move.queue].port, names[move.queue].queue, &sw->workers[move.to]
		);
		sw->settled = 0;
	}
	free(queues);
	free(names);
}

/* End the sessions of peers that took memory away since the last look. */
static void handle_lost_memory(void)
{
	struct port *port;

	while ((port = sigbus_next()) != NULL)
		port->ops->memory_lost(port);
}

static void on_tick(evutil_socket_t, short, void *context)
{
	struct switch_state *sw = context;
	uint64_t cycles = rte_rdtsc();
	uint32_t now = switch_now();

	handle_lost_memory();
	for (unsigned i = 0; i < switch_port_count(sw); i++) {
		struct port *port = switch_port_at(sw, i);

		port->ops->tick(port);
		sample_queue_loads(port, (double)(cycles - sw->sampled_at));
	}
	for (unsigned i = 0; i < sw->settings.worker_count; i++)
		sample_load(&sw->workers[i]);
	sw->sampled_at = cycles;
	rebalance(sw);
	if (sw->settings.mac_age != 0 && now > sw->settings.mac_age)
		(void)mac_table_age(sw->macs, now - sw->settings.mac_age);
}

static int create_tables(struct switch_state *sw, struct error *error)
{
	sw->qsbr = aligned_alloc(RTE_CACHE_LINE_SIZE, rte_rcu_qsbr_get_memsize(WORKERS_MAX));
	if (sw->qsbr == NULL || rte_rcu_qsbr_init(sw->qsbr, WORKERS_MAX) != 0)
		return error_set(error, -ENOMEM, "out of memory");
	sw->macs = mac_table_create(sw->settings.mac_table_size, PORTS_MAX);
	if (sw->macs == NULL)
		return error_set(
			error,
			-ENOMEM,
			"no memory for a MAC table of %u entries; choose a smaller mac-table-size",
			sw->settings.mac_table_size
		);
	return 0;
}

/* The first device for the first worker, and so on. */
static int open_dma(struct switch_state *sw, struct error *error)
{
	char names[SWITCH_DMA_SIZE];
	char *rest = names;
	char *name;
	int result = 0;

	memcpy(names, sw->settings.dma, sizeof(names));
	for (unsigned i = 0; result == 0 && (name = strsep(&rest, ",")) != NULL; i++) {
		if (name[0] == '\0')
			continue;
		if (i >= sw->settings.worker_count)
			return error_set(
				error, -EINVAL, "dma: there are more devices than workers"
			);
		result = dma_open(name, sw->settings.dma_least, &sw->workers[i].dma, error);
	}
	return result;
}

static int start_workers(struct switch_state *sw, struct error *error)
{
	for (unsigned i = 0; i < sw->settings.worker_count; i++) {
		int result = worker_start(&sw->workers[i], sw, i, sw->settings.worker_cpus[i]);

		if (result < 0)
			return error_set(
				error, result, "cannot start worker %u: %s", i, strerror(-result)
			);
	}
	return 0;
}

static int start_timer(struct switch_state *sw, struct error *error)
{
	static const struct timeval second = {.tv_sec = 1};

	sw->timer = event_new(sw->hooks.base, -1, EV_PERSIST, on_tick, sw);
	if (sw->timer == NULL || event_add(sw->timer, &second) < 0)
		return error_set(error, -ENOMEM, "out of memory");
	return 0;
}

int switch_create(
	const struct switch_settings *settings,
	struct event_base *base,
	struct switch_state **out,
	struct error *error
)
{
	struct switch_state *sw = calloc(1, sizeof(*sw));
	if (sw == NULL)
		return error_set(error, -ENOMEM, "out of memory");
	tsc_measure();
	sigbus_install();
	memset(sw->assigned, -1, sizeof(sw->assigned));
	sw->settings = *settings;
	sw->sampled_at = rte_rdtsc();
	sw->hooks = (struct port_hooks){
		.synchronize = hook_synchronize,
		.wake = hook_wake,
		.watch = hook_watch,
		.announce = hook_announce,
		.changing = hook_changing,
		.context = sw,
		.base = base,
	};
	int result = create_tables(sw, error);
	if (result == 0)
		result = open_dma(sw, error);
	if (result == 0)
		result = start_workers(sw, error);
	if (result == 0)
		result = start_timer(sw, error);
	if (result < 0) {
		switch_destroy(sw);
		return result;
	}
	*out = sw;
	return 0;
}

static void remove_port(struct switch_state *sw, struct port *port);

void switch_destroy(struct switch_state *sw)
{
	if (sw == NULL)
		return;
	while (switch_port_count(sw) > 0)
		remove_port(sw, switch_port(sw, sw->order[switch_port_count(sw) - 1]));
	for (unsigned i = 0; i < sw->settings.worker_count; i++)
		worker_stop(&sw->workers[i]);
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		dma_close(sw->workers[i].dma);
	if (sw->timer != NULL)
		event_free(sw->timer);
	if (sw->settle_timer != NULL)
		event_free(sw->settle_timer);
	mac_table_destroy(sw->macs);
	free(sw->qsbr);
	free(sw);
}

/* ---- ports ---- */

static struct port *find_port(const struct switch_state *sw, const char *name)
{
	for (unsigned i = 0; i < switch_port_count(sw); i++) {
		struct port *port = switch_port_at(sw, i);

		if (strcmp(port->settings.name, name) == 0)
			return port;
	}
	return NULL;
}

static int no_such_port(const char *name, struct error *error)
{
	return error_set(
		error,
		-ENOENT,
		"there is no port %s; `virtlane port list` shows those there are",
		name
	);
}

const struct port_settings *switch_port_find(const struct switch_state *sw, const char *name)
{
	const struct port *port = find_port(sw, name);

	return port == NULL ? NULL : &port->settings;
}

const struct port_settings *switch_port_next(const struct switch_state *sw, unsigned *cursor)
{
	if (*cursor >= switch_port_count(sw))
		return NULL;
	return &switch_port(sw, sw->order[(*cursor)++])->settings;
}

static unsigned free_id(const struct switch_state *sw)
{
	for (unsigned id = 0; id < PORTS_MAX; id++) {
		if (switch_port(sw, id) == NULL)
			return id;
	}
	return PORT_NONE;
}

/* An address that is a port's own has its place in the table from the start. */
static int fix_addresses(
	struct switch_state *sw,
	const struct port *port,
	const struct port_policy *policy,
	struct error *error
)
{
	/* Nobody looks for addresses behind a wire. */
	if (policy->cross_connect[0] != '\0')
		return 0;
	/* Under which VLAN a trunk's frames will come is not known; those are learned. */
	for (unsigned i = 0; policy->mac_lock && i < policy->mac_count; i++) {
		const uint8_t *mac = policy->macs[i].bytes;
		int result = mac_table_fix(
			sw->macs, mac_key_make(mac, policy->vlan), port->id, switch_now()
		);

		if (result == -EEXIST)
			return error_set(
				error,
				result,
				"address %02x:%02x:%02x:%02x:%02x:%02x is locked to another port",
				mac[0],
				mac[1],
				mac[2],
				mac[3],
				mac[4],
				mac[5]
			);
	}
	return 0;
}

static void add_counters(const struct counters *from, struct port_counters *to)
{
	struct counters *counters = (struct counters *)from;

	to->rx_frames += atomic_load_explicit(&counters->rx_frames, memory_order_relaxed);
	to->rx_bytes += atomic_load_explicit(&counters->rx_bytes, memory_order_relaxed);
	to->tx_frames += atomic_load_explicit(&counters->tx_frames, memory_order_relaxed);
	to->tx_bytes += atomic_load_explicit(&counters->tx_bytes, memory_order_relaxed);
	to->rx_replicated += atomic_load_explicit(&counters->rx_replicated, memory_order_relaxed);
	to->tx_cut += atomic_load_explicit(&counters->tx_cut, memory_order_relaxed);
	to->tx_merged += atomic_load_explicit(&counters->tx_merged, memory_order_relaxed);
	for (unsigned i = 0; i < DROP_COUNT; i++)
		to->drops[i] += atomic_load_explicit(&counters->drops[i], memory_order_relaxed);
}

void switch_port_counters(
	const struct switch_state *sw, const struct port *port, struct port_counters *counters
)
{
	*counters = port->counted_before;
	for (unsigned i = 0; i < sw->settings.worker_count; i++)
		add_counters(&sw->workers[i].counters[port->id], counters);
}

/* The virtqueue of a pair that frames are taken from: where a driver sends, we take, and where we
 * are the driver, it is the one for receiving. Others have queues for both. */
static unsigned queue_taken_from(enum port_kind kind, unsigned queue)
{
	switch (kind) {
	case PORT_VHOST:
		return 2 * queue + 1;
	case PORT_VIRTIO:
		return 2 * queue;
	default:
		return queue;
	}
}

static void
read_status(const struct switch_state *sw, const struct port *port, struct port_status *out)
{
	struct port_counters counters;

	memset(out, 0, sizeof(*out));
	port->ops->status(port, out);
	out->cross_connected =
		atomic_load_explicit(&((struct port *)port)->partner, memory_order_relaxed) != NULL;
	switch_port_counters(sw, port, &counters);
	port_counters_add(&out->counters, &counters);
	for (unsigned queue = 0; queue < port->settings.queues; queue++) {
		unsigned index = queue_taken_from(port->settings.kind, queue);

		if (index < out->queue_count)
			out->queues[index].worker = sw->assigned[port->id][queue];
	}
}

static void clear_counters(struct switch_state *sw, unsigned id)
{
	for (unsigned i = 0; i < sw->settings.worker_count; i++)
		memset(&sw->workers[i].counters[id], 0, sizeof(struct counters));
}

/* Who is cross-connected to whom: those that name each other. For whoever changes a port's policy,
 * or which ports there are; `leaving` (may be NULL) is about to be removed. */
static void pair_ports(struct switch_state *sw, const struct port *leaving)
{
	for (unsigned i = 0; i < switch_port_count(sw); i++) {
		struct port *port = switch_port_at(sw, i);
		const char *wanted = port->settings.policy.cross_connect;
		struct port *partner = wanted[0] == '\0' ? NULL : find_port(sw, wanted);

		if (partner != NULL
		    && (port == leaving || partner == leaving
			|| strcmp(partner->settings.policy.cross_connect, port->settings.name) != 0
		    ))
			partner = NULL;
		if (atomic_exchange_explicit(&port->partner, partner, memory_order_acq_rel)
		    == partner)
			continue;
		if (partner != NULL)
			log_info(
				LOG_PORT, "%s: cross-connected to %s", port->settings.name, wanted
			);
		else
			log_info(LOG_PORT, "%s: no longer cross-connected", port->settings.name);
	}
}

/* No frame can come from or go to the port any more when this returns. */
static void remove_port(struct switch_state *sw, struct port *port)
{
	unsigned id = port->id;
	unsigned n = switch_port_count(sw), place = 0;

	settings_changing(sw);
	hook_changing(sw, port);
	while (sw->order[place] != id)
		place++;
	pair_ports(sw, port);
	assign_none(sw, port);
	atomic_store_explicit(&sw->ports[id], NULL, memory_order_release);
	memmove(&sw->order[place], &sw->order[place + 1], (n - place - 1) * sizeof(sw->order[0]));
	atomic_store_explicit(&sw->port_count, n - 1, memory_order_relaxed);
	switch_synchronize(sw);
	(void)mac_table_flush(sw->macs, id, -1, true);
	/* Once more: a worker may have looked an address up before it was flushed, and the next
	 * port gets the same id. */
	switch_synchronize(sw);
	read_status(sw, port, &sw->last_status);
	port_counters_add(&sw->removed, &sw->last_status.counters);
	if (sw->leaving != NULL)
		sw->leaving(sw->changing_context, id);
	port_destroy(port);
}

int switch_port_publish(struct switch_state *sw, struct port *port, struct error *error)
{
	settings_changing(sw);
	clear_counters(sw, port->id);
	sw->order[switch_port_count(sw)] = port->id;
	atomic_store_explicit(&sw->port_count, switch_port_count(sw) + 1, memory_order_relaxed);
	if (port->id >= atomic_load_explicit(&sw->id_limit, memory_order_relaxed))
		atomic_store_explicit(&sw->id_limit, port->id + 1, memory_order_relaxed);
	/* release: the port's content before the pointer to it */
	atomic_store_explicit(&sw->ports[port->id], port, memory_order_release);
	int result = fix_addresses(sw, port, &port->settings.policy, error);
	for (unsigned i = 0; result == 0 && !sw->holding && i < port->settings.queues; i++) {
		result = assign_queue(sw, port, i);
		if (result < 0)
			error_set(error, result, "out of memory");
	}
	if (result < 0)
		remove_port(sw, port);
	else
		pair_ports(sw, NULL);
	return result;
}

int switch_port_add(
	struct switch_state *sw, const struct port_settings *settings, struct error *error
)
{
	struct port *port;
	unsigned id = free_id(sw);

	if (find_port(sw, settings->name) != NULL)
		return error_set(
			error,
			-EEXIST,
			"port %s exists already; delete it first, or use `port set`",
			settings->name
		);
	if (id == PORT_NONE)
		return error_set(error, -ENOSPC, "there are %u ports, which is all", PORTS_MAX);
	int result = port_create(settings, id, &sw->hooks, NULL, &port, error);
	if (result < 0)
		return result;
	result = switch_port_publish(sw, port, error);
	if (result == 0)
		log_info(LOG_PORT, "%s: added", settings->name);
	return result;
}

int switch_port_delete(struct switch_state *sw, const char *name, struct error *error)
{
	struct port *port = find_port(sw, name);

	if (port == NULL)
		return no_such_port(name, error);
	remove_port(sw, port);
	log_info(LOG_PORT, "%s: deleted", name);
	return 0;
}

/* What of a policy that was refused was done already. */
static void undo_policy(struct switch_state *sw, struct port *port, bool has_set_mtu, uint16_t mtu)
{
	if (has_set_mtu)
		(void)port->ops->set_mtu(port, mtu, NULL);
	(void)port->ops->set_offloads(port, port->settings.policy.offloads, NULL);
	(void)mac_table_flush(sw->macs, port->id, -1, true);
	(void)fix_addresses(sw, port, &port->settings.policy, NULL);
}

int switch_port_set_policy(
	struct switch_state *sw,
	const char *name,
	const struct port_policy *policy,
	struct error *error
)
{
	struct port *port = find_port(sw, name);

	if (port == NULL)
		return no_such_port(name, error);
	struct port_policy *copy = malloc(sizeof(*copy));
	if (copy == NULL)
		return error_set(error, -ENOMEM, "out of memory");
	*copy = *policy;
	settings_changing(sw);
	const uint16_t mtu = port->settings.policy.mtu;
	int result = 0;
	if (policy->mtu != port->settings.policy.mtu)
		result = port->ops->set_mtu(port, policy->mtu, error);
	if (result == 0 && policy->offloads != port->settings.policy.offloads)
		result = port->ops->set_offloads(port, policy->offloads, error);
	if (result == 0) {
		(void)mac_table_flush(sw->macs, port->id, -1, true);
		result = fix_addresses(sw, port, policy, error);
	}
	if (result < 0) {
		free(copy);
		undo_policy(sw, port, policy->mtu != mtu, mtu);
		return result;
	}
	struct port_policy *old =
		atomic_exchange_explicit(&port->policy, copy, memory_order_acq_rel);
	bool turned = port->settings.policy.link_down != policy->link_down;
	port->settings.policy = *policy;
	if (turned && port->ops->set_link != NULL)
		port->ops->set_link(port, !policy->link_down);
	pair_ports(sw, NULL);
	switch_synchronize(sw);
	free(old);
	return 0;
}

int switch_port_status(const struct switch_state *sw, const char *name, struct port_status *out)
{
	const struct port *port = find_port(sw, name);

	if (port == NULL)
		return -ENOENT;
	read_status(sw, port, out);
	return 0;
}

const struct port_counters *switch_removed_counters(const struct switch_state *sw)
{
	return &sw->removed;
}

/* ---- MAC table ---- */

struct list_request {
	const struct switch_state *sw;
	const char *port;
	int vlan;
	uint32_t now;
	void (*each)(void *context, const struct mac_info *info);
	void *context;
};

static void list_entry(void *context, const struct mac_entry_info *entry)
{
	const struct list_request *request = context;
	const struct port *port = switch_port(request->sw, entry->port);
	struct mac_info info = {
		.vlan = (uint16_t)(entry->key >> 48),
		.fixed = entry->fixed,
		.age = request->now > entry->seen ? request->now - entry->seen : 0,
	};

	if (port == NULL || (request->vlan >= 0 && request->vlan != info.vlan)
	    || (request->port != NULL && strcmp(request->port, port->settings.name) != 0))
		return;
	info.port = port->settings.name;
	memcpy(info.mac, &entry->key, sizeof(info.mac));
	request->each(request->context, &info);
}

void switch_mac_list(
	const struct switch_state *sw,
	const char *port,
	int vlan,
	void (*each)(void *context, const struct mac_info *info),
	void *context
)
{
	struct list_request request = {sw, port, vlan, switch_now(), each, context};

	mac_table_walk(sw->macs, list_entry, &request);
}

size_t switch_mac_flush(struct switch_state *sw, const char *port, int vlan)
{
	unsigned id = PORT_NONE;

	if (port != NULL) {
		const struct port *found = find_port(sw, port);

		if (found == NULL)
			return 0;
		id = found->id;
	}
	return mac_table_flush(sw->macs, id, vlan, false);
}

/* ---- workers ---- */

int switch_worker_status(const struct switch_state *sw, unsigned index, struct worker_status *out)
{
	if (index >= sw->settings.worker_count)
		return -ENOENT;
	struct worker *worker = (struct worker *)&sw->workers[index];
	const struct poll_set *polls = worker_polls(worker);

	*out = (struct worker_status){
		.cpu = worker->cpu,
		.load = worker->load,
		.sleeps = atomic_load_explicit(&worker->sleeps, memory_order_relaxed),
		.wakeups = atomic_load_explicit(&worker->wakeups, memory_order_relaxed),
		.rx_frames = atomic_load_explicit(&worker->rx_frames, memory_order_relaxed),
		.busy_cycles = atomic_load_explicit(&worker->busy_cycles, memory_order_relaxed),
		.queue_count = polls == NULL ? 0 : polls->count,
		.moved = worker->moved,
		.dma_copies = dma_copies(worker->dma),
	};
	return 0;
}

bool switch_worker_queue(
	const struct switch_state *sw, unsigned index, unsigned n, struct worker_queue *out
)
{
	if (index >= sw->settings.worker_count)
		return false;
	const struct poll_set *polls = worker_polls(&sw->workers[index]);
	if (polls == NULL || n >= polls->count)
		return false;
	out->port = polls->entries[n].port->settings.name;
	out->queue = polls->entries[n].queue;
	out->load = polls->entries[n].port->loads[out->queue];
	return true;
}
