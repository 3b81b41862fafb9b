/* SPDX-License-Identifier: BSD-3-Clause */
/* The worker's loop, see worker.h. */
#include "switch/worker.h"

#include <errno.h>
#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_pause.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "net/frame.h"
#include "port/eal.h"
#include "switch/state.h"

enum {
	IDLE_MICROSECONDS = 30, /* of polling in vain before a worker sleeps */
	/* The same for one queue of a worker that has work elsewhere. A queue's driver pays a
	 * system call when it wakes it, and frames wait for the next look: so not at each short
	 * gap. */
	QUEUE_IDLE_MICROSECONDS = 1000,
	STUCK_MICROSECONDS = 1000000, /* until a large frame is taken to be too large, on a wire */
	BLOCKED_MICROSECONDS = 2000,  /* of polling a queue whose partner has no buffers */
	DOZING_A_ROUND = 16,	  /* queues without frames that are looked at, with poll = always */
	EVENTS_MICROSECONDS = 20, /* between looks for notifications while there is work */
	REST_ROUNDS = 16, /* for a queue whose poll is a system call and found nothing, or that
			   * has to wait for its partner */
	EVENTS_MAX = 64,
	SILENT_MILLISECONDS = 1, /* between looks at queues that never kick */
	WAKE_EVENT = UINT32_MAX,
};

/* ---- descriptors ---- */

static uint64_t event_tag(unsigned port, unsigned queue)
{
	return (uint64_t)port << 16 | queue;
}

void worker_watch(struct worker *worker, unsigned port, unsigned queue, int old_fd, int new_fd)
{
	struct epoll_event event = {
		/* edge: a kick counts once, and a descriptor that cannot be cleared does not keep
		 * the worker awake */
		.events = EPOLLIN | EPOLLET,
		.data.u64 = event_tag(port, queue),
	};

	/* A descriptor is watched as long as its other holders keep it open: take it out. */
	if (old_fd >= 0)
		(void)epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, old_fd, NULL);
	if (new_fd >= 0 && epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, new_fd, &event) < 0)
		log_warning(
			LOG_SWITCH,
			"worker %u cannot watch a descriptor: %s",
			worker->index,
			strerror(errno)
		);
}

void worker_wake(struct worker *worker)
{
	uint64_t one = 1;

	if (write(worker->wake_fd, &one, sizeof(one)) < 0)
		return; /* it is full: the worker is being woken */
}

void worker_rouse(struct worker *worker, unsigned port, unsigned queue)
{
	struct wishes *wishes = &worker->wishes;
	uint32_t added = atomic_load_explicit(&wishes->added, memory_order_relaxed);

	/* acquire: the place was read before it is written again */
	if (added - atomic_load_explicit(&wishes->taken, memory_order_acquire) < WISHES_MAX) {
		wishes->tags[added % WISHES_MAX] = (uint32_t)event_tag(port, queue);
		/* release: the place before the count */
		atomic_store_explicit(&wishes->added, added + 1, memory_order_release);
	} else {
		atomic_store_explicit(&wishes->all, true, memory_order_release);
	}
	worker_wake(worker);
}

/* ---- who is polled ---- */

static uint64_t cycles_of(unsigned microseconds)
{
	return tsc_hz() / 1000000 * microseconds;
}

static struct poll_set *polls_of(struct worker *worker)
{
	return atomic_load_explicit(&worker->polls, memory_order_acquire);
}

static void rouse(struct poll_set *polls, uint32_t place, uint64_t now)
{
	struct poll_entry *entry = &polls->entries[place];

	entry->rest = 0;
	entry->idle_since = now;
	if (!entry->awake)
		polls->awake[polls->awake_count++] = place;
	entry->awake = true;
}

/* All of them: a set that is new, or something has happened that no notification tells. */
static void rouse_all(struct poll_set *polls, uint64_t now)
{
	for (uint32_t i = 0; i < polls->count; i++) {
		const struct poll_entry *entry = &polls->entries[i];

		atomic_store_explicit(
			&entry->port->poll_places[entry->queue], i, memory_order_relaxed
		);
		rouse(polls, i, now);
	}
}

/* Take the set as control made it. */
static void adopt(struct poll_set *polls, uint64_t now)
{
	polls->adopted = true;
	polls->awake_count = 0;
	for (unsigned i = 0; i < polls->count; i++)
		polls->entries[i].awake = false;
	rouse_all(polls, now);
}

/* Poll a queue that was notified, if it is in the set: it may have gone to another worker since,
 * and its port's number to another port. */
static bool rouse_queue(struct poll_set *polls, const struct port *port, unsigned queue)
{
	uint32_t place = atomic_load_explicit(
		&((struct port *)port)->poll_places[queue], memory_order_relaxed
	);

	if (place >= polls->count || polls->entries[place].port != port
	    || polls->entries[place].queue != queue)
		return false;
	rouse(polls, place, rte_rdtsc());
	return true;
}

static void grant_wishes(struct worker *worker, struct poll_set *polls)
{
	struct wishes *wishes = &worker->wishes;
	uint32_t taken = atomic_load_explicit(&wishes->taken, memory_order_relaxed);
	/* acquire: the places before the count */
	uint32_t added = atomic_load_explicit(&wishes->added, memory_order_acquire);

	for (; taken != added; taken++) {
		uint32_t tag = wishes->tags[taken % WISHES_MAX];
		const struct port *port = switch_port(worker->sw, tag >> 16);

		if (port != NULL && polls != NULL)
			(void)rouse_queue(polls, port, tag & 0xffff);
	}
	/* release: the places were read */
	atomic_store_explicit(&wishes->taken, taken, memory_order_release);
	if (atomic_exchange_explicit(&wishes->all, false, memory_order_acquire) && polls != NULL)
		rouse_all(polls, rte_rdtsc());
}

/* Poll the n-th of those that are polled no more; the last one takes its place. */
static void leave_alone(struct poll_set *polls, unsigned n)
{
	polls->entries[polls->awake[n]].awake = false;
	polls->awake[n] = polls->awake[--polls->awake_count];
}

/* Ask for notifications of the n-th that is polled, and poll it no more unless it has frames after
 * all or cannot tell. */
static enum port_sleep put_to_sleep(struct poll_set *polls, unsigned n)
{
	struct poll_entry *entry = &polls->entries[polls->awake[n]];
	enum port_sleep answer = entry->port->ops->sleep(entry->port, entry->queue);

	/* Nobody tells when its partner has buffers again. If it is not soon, look now and then. */
	if (answer == PORT_AWAKE && entry->blocked
	    && rte_rdtsc() - entry->stuck_since > cycles_of(BLOCKED_MICROSECONDS))
		answer = PORT_SILENT;

	if (answer == PORT_ASLEEP)
		leave_alone(polls, n);
	return answer;
}

static void handle_events(struct worker *worker, const struct epoll_event *events, int n)
{
	struct poll_set *polls = polls_of(worker);

	if (polls != NULL && !polls->adopted)
		adopt(polls, rte_rdtsc());
	for (int i = 0; i < n; i++) {
		uint64_t tag = events[i].data.u64;
		uint64_t value;

		if (tag == WAKE_EVENT) {
			if (read(worker->wake_fd, &value, sizeof(value)) >= 0)
				grant_wishes(worker, polls);
			continue;
		}
		/* What is another's by now must not be made quiet: it would sleep on. Nobody
		 * needs it quiet either, since each notification is an edge of its own. */
		struct port *port = switch_port(worker->sw, (unsigned)(tag >> 16));
		if (port != NULL && polls != NULL && rouse_queue(polls, port, tag & 0xffff))
			port->ops->woken(port, tag & 0xffff);
	}
}

/* ---- one round ---- */

static void update_now(struct worker *worker, uint64_t cycles)
{
	if (cycles < worker->now_until)
		return;
	/* For caches of its own in pools of mbufs. */
	if (!worker->saw_eal && eal_runs()) {
		worker->saw_eal = true;
		worker->in_eal = rte_thread_register() == 0;
	}
	worker->now = switch_now();
	worker->now_until = cycles + tsc_hz() / 100;
}

/* A RARP request (RFC 903) that says where an address is: sent as if it came from the port. */
static void forward_announcement(struct worker *worker, struct port *port)
{
	enum {
		RARP_SIZE = 60,
	};
	static const uint8_t arp[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
	uint64_t mac = atomic_exchange_explicit(&port->announce, 0, memory_order_relaxed);
	struct vl_frame *frame = &worker->frames[0];
	uint8_t *head = frame->bytes;

	if (mac == 0)
		return;
	memset(frame, 0, sizeof(*frame));
	frame->head = head;
	frame->head_size = RARP_SIZE;
	frame->size = RARP_SIZE;
	memset(head, 0xff, 6);
	memcpy(head + 6, &mac, 6);
	memcpy(head + 12, arp, sizeof(arp));
	memcpy(head + 22, &mac, 6); /* sender */
	memcpy(head + 32, &mac, 6); /* target */
	/* A wire may have no buffers for it now; a newer one goes first then. */
	uint64_t none = 0;
	struct port_wire wire = {0};
	if (forward_burst(worker, port, 0, 1, &wire) == 0)
		atomic_compare_exchange_strong_explicit(
			&port->announce, &none, mac, memory_order_relaxed, memory_order_relaxed
		);
}

static unsigned poll_queue(struct worker *worker, struct poll_entry *entry, uint64_t now)
{
	struct port *port = entry->port;

	if (entry->queue == 0 && atomic_load_explicit(&port->announce, memory_order_relaxed) != 0)
		forward_announcement(worker, port);
	if (entry->rest > 0) {
		entry->rest--;
		return 0;
	}
	int n = port->ops->borrow(port, entry->queue, worker->frames, VL_BURST_MAX);
	if (n <= 0) {
		entry->blocked = false;
		if (port->poll_costs)
			entry->rest = REST_ROUNDS;
		return 0;
	}
	struct port_wire *wire = &port->wires[entry->queue];
	uint32_t sent = wire->sent;
	wire->stuck = entry->blocked && now - entry->stuck_since > cycles_of(STUCK_MICROSECONDS);
	unsigned done = forward_burst(worker, port, entry->queue, (unsigned)n, wire);
	port->ops->give_back(port, entry->queue, done, (unsigned)n - done);
	if (done > 0 || !entry->blocked || wire->sent != sent)
		entry->stuck_since = now;
	entry->blocked = done == 0;
	if (entry->blocked)
		entry->rest = REST_ROUNDS;
	return done;
}

/* With poll = always nobody notifies, so queues without frames are looked at in turn, some of them
 * in each round. */
static unsigned poll_dozing(struct worker *worker, struct poll_set *polls, uint64_t now)
{
	unsigned total = 0;

	for (unsigned i = 0; i < DOZING_A_ROUND && polls->awake_count < polls->count; i++) {
		uint32_t place = polls->cursor < polls->count ? polls->cursor : 0;
		struct poll_entry *entry = &polls->entries[place];

		polls->cursor = place + 1;
		if (entry->awake)
			continue;
		unsigned n = poll_queue(worker, entry, now);
		if (n > 0)
			rouse(polls, place, now);
		total += n;
	}
	return total;
}

/* `now` is the time stamp counter. */
static unsigned poll_round(struct worker *worker, uint64_t now)
{
	struct poll_set *polls = polls_of(worker);
	const bool poll_always = worker->sw->settings.poll_always;
	const int64_t idle_limit = (int64_t)cycles_of(QUEUE_IDLE_MICROSECONDS);
	uint64_t before = now;
	unsigned total = 0;

	if (polls == NULL)
		return 0;
	if (!polls->adopted)
		adopt(polls, now);
	for (unsigned i = 0; i < polls->awake_count; i++) {
		struct poll_entry *entry = &polls->entries[polls->awake[i]];
		unsigned n = poll_queue(worker, entry, now);

		total += n;
		if (n > 0) {
			uint64_t after = rte_rdtsc();

			count(&entry->port->busy_cycles[entry->queue], after - before);
			before = after;
			entry->idle_since = now;
		} else if ((int64_t)(now - entry->idle_since) > idle_limit) {
			/* signed: a queue may have been roused since `now` */
			entry->idle_since = now;
			/* The last one takes its place: it is next. */
			if (poll_always)
				leave_alone(polls, i--);
			else if (put_to_sleep(polls, i) == PORT_ASLEEP)
				i--;
		}
	}
	return poll_always ? total + poll_dozing(worker, polls, now) : total;
}

/* ---- sleep ---- */

/* Ask for notifications everywhere. Returns how long to sleep in milliseconds, as for epoll_wait():
 * not at all if a queue has frames after all, not for ever if one will not tell. */
static int prepare_sleep(struct worker *worker)
{
	struct poll_set *polls = polls_of(worker);
	int timeout_ms = -1;

	/* A set that is not adopted yet has queues that nobody has looked at. */
	if (polls != NULL && !polls->adopted)
		return 0;
	for (unsigned i = 0; polls != NULL && i < polls->awake_count; i++) {
		polls->entries[polls->awake[i]].rest = 0;
		switch (put_to_sleep(polls, i)) {
		case PORT_AWAKE:
			timeout_ms = 0;
			break;
		case PORT_SILENT:
			if (timeout_ms < 0)
				timeout_ms = SILENT_MILLISECONDS;
			break;
		case PORT_ASLEEP:
			i--; /* the last one is there now */
			break;
		}
	}
	return timeout_ms;
}

static void sleep_until_event(struct worker *worker, int timeout_ms)
{
	bool block = timeout_ms != 0;
	struct epoll_event events[EVENTS_MAX];
	struct rte_rcu_qsbr *qsbr = worker->sw->qsbr;

	if (block) {
		count(&worker->sleeps, 1);
		rte_rcu_qsbr_thread_offline(qsbr, worker->index);
	}
	int n = epoll_wait(worker->epoll_fd, events, EVENTS_MAX, timeout_ms);
	if (block) {
		rte_rcu_qsbr_thread_online(qsbr, worker->index);
		count(&worker->wakeups, 1);
	}
	handle_events(worker, events, n);
}

/* While there is work for some: let those that sleep be heard. */
static void look_for_events(struct worker *worker, uint64_t now)
{
	const struct poll_set *polls = polls_of(worker);

	if (now < worker->events_due || worker->sw->settings.poll_always || polls == NULL
	    || polls->awake_count == polls->count)
		return;
	worker->events_due = now + cycles_of(EVENTS_MICROSECONDS);
	sleep_until_event(worker, 0);
}

/* ---- thread ---- */

static void pin(const struct worker *worker)
{
	cpu_set_t set;

	if (worker->cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(worker->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		log_warning(
			LOG_SWITCH,
			"worker %u cannot be pinned to CPU %d: %s",
			worker->index,
			worker->cpu,
			strerror(errno)
		);
}

static void *worker_main(void *context)
{
	struct worker *worker = context;
	struct rte_rcu_qsbr *qsbr = worker->sw->qsbr;
	const bool poll_always = worker->sw->settings.poll_always;
	const uint64_t idle_limit = cycles_of(IDLE_MICROSECONDS);
	uint64_t begin = rte_rdtsc(), idle_since = begin;

	pin(worker);
	rte_rcu_qsbr_thread_register(qsbr, worker->index);
	rte_rcu_qsbr_thread_online(qsbr, worker->index);
	while (!atomic_load_explicit(&worker->stop, memory_order_relaxed)) {
		update_now(worker, begin);
		look_for_events(worker, begin);
		unsigned n = poll_round(worker, begin);
		uint64_t end = rte_rdtsc();

		rte_rcu_qsbr_quiescent(qsbr, worker->index);
		count(&worker->total_cycles, end - begin);
		if (n > 0) {
			count(&worker->busy_cycles, end - begin);
			count(&worker->rx_frames, n);
			idle_since = end;
		} else if (!poll_always && end - idle_since > idle_limit) {
			sleep_until_event(worker, prepare_sleep(worker));
			/* Time asleep counts as idle time. */
			uint64_t awake = rte_rdtsc();
			count(&worker->total_cycles, awake - end);
			idle_since = end = awake;
		} else {
			rte_pause();
		}
		begin = end;
	}
	rte_rcu_qsbr_thread_offline(qsbr, worker->index);
	rte_rcu_qsbr_thread_unregister(qsbr, worker->index);
	if (worker->in_eal)
		rte_thread_unregister();
	return NULL;
}

static int open_descriptors(struct worker *worker)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = WAKE_EVENT};

	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->epoll_fd < 0 || worker->wake_fd < 0
	    || epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) < 0)
		return -errno;
	return 0;
}

int worker_start(struct worker *worker, struct switch_state *sw, unsigned index, int cpu)
{
	worker->sw = sw;
	worker->index = index;
	worker->cpu = cpu;
	worker->epoll_fd = -1;
	worker->wake_fd = -1;
	worker->counters = calloc(PORTS_MAX, sizeof(worker->counters[0]));
	if (worker->counters == NULL)
		return -ENOMEM;
	int error = open_descriptors(worker);
	if (error < 0)
		return error;
	error = pthread_create(&worker->thread, NULL, worker_main, worker);
	worker->started = error == 0;
	return -error;
}

void worker_stop(struct worker *worker)
{
	if (worker->counters == NULL)
		return;
	if (worker->started) {
		atomic_store_explicit(&worker->stop, true, memory_order_relaxed);
		worker_wake(worker);
		pthread_join(worker->thread, NULL);
	}
	if (worker->epoll_fd >= 0)
		close(worker->epoll_fd);
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	free(atomic_load_explicit(&worker->polls, memory_order_relaxed));
	free(worker->counters);
	worker->counters = NULL;
}
