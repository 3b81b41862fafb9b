/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads and their phases, see worker.h; what moves frames is in loops.c. */
#include "pktgen/worker.h"

#include <sched.h>

#include "pktgen/loops.h"

/* ---- phases ---- */

static void give_back_pending(struct duty *duty)
{
	vl_driver_free(
		duty->driver, duty->pair, duty->pending + duty->pending_first, duty->pending_count
	);
	duty->pending_count = 0;
}

static void restart(const struct worker *worker, struct duty *duty, uint16_t magic)
{
	give_back_pending(duty);
	if (duty->sender.flows != NULL)
		sender_restart(&duty->sender, magic);
	if (duty->receiver != NULL)
		receiver_restart(duty->receiver, magic);
	duty->dropped = 0;
	/* A reflector's frames are in flight from its first phase to its last. */
	if (worker->run->options->mode != MODE_REFLECT)
		duty->left = duty->limit;
}

static void begin_sending(struct worker *worker, uint64_t now_ns)
{
	for (unsigned i = 0; i < worker->duty_count; i++) {
		struct duty *duty = &worker->duties[i];

		pace_start(&duty->pace, now_ns);
		/* Pairs take turns rather than to send all at once. */
		duty->pace.next += duty->pace.interval * duty->pair / worker->run->options->queues;
	}
}

static void enter_warm(struct worker *worker)
{
	/* Frames that come too late for the warm-up are not of the run. */
	for (unsigned i = 0; i < worker->duty_count; i++) {
		restart(worker, &worker->duties[i], worker->run->traffic->magic ^ 1);
		if (worker->run->options->mode != MODE_REFLECT)
			worker->duties[i].left = UINT64_MAX;
	}
	begin_sending(worker, clock_ns());
}

static void enter_run(struct worker *worker)
{
	for (unsigned i = 0; i < worker->duty_count; i++) {
		struct duty *duty = &worker->duties[i];

		duty->dropped = 0;
		vl_driver_stats(duty->driver, duty->pair, &duty->begin);
	}
	worker->busy_cycles = 0;
	worker->begin_ns = clock_ns();
	worker->begin_cycles = clock_cycles();
	begin_sending(worker, worker->begin_ns);
}

static void enter_drain(struct worker *worker)
{
	worker->end_cycles = clock_cycles();
	worker->end_ns = clock_ns();
	worker->end_busy_cycles = worker->busy_cycles;
	for (unsigned i = 0; i < worker->duty_count; i++)
		vl_driver_stats(
			worker->duties[i].driver, worker->duties[i].pair, &worker->duties[i].end
		);
}

static void enter(struct worker *worker, enum phase phase)
{
	switch (phase) {
	case PHASE_WARM:
		enter_warm(worker);
		break;
	case PHASE_RESET:
		for (unsigned i = 0; i < worker->duty_count; i++)
			restart(worker, &worker->duties[i], worker->run->traffic->magic);
		break;
	case PHASE_RUN:
		enter_run(worker);
		break;
	case PHASE_DRAIN:
		enter_drain(worker);
		break;
	case PHASE_STOP:
		for (unsigned i = 0; i < worker->duty_count; i++) {
			struct duty *duty = &worker->duties[i];

			give_back_pending(duty);
			vl_driver_stats(duty->driver, duty->pair, &duty->final);
		}
		break;
	case PHASE_WAIT:
	case PHASE_SETTLE:
		break;
	}
}

static void nap(void)
{
	const struct timespec a_moment = {.tv_nsec = 200 * 1000};

	(void)nanosleep(&a_moment, NULL);
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	enum phase phase = PHASE_WAIT;

	while (phase != PHASE_STOP) {
		/* With it come the things that the main thread prepared for the phase. */
		enum phase next = atomic_load_explicit(&worker->run->phase, memory_order_acquire);

		if (next != phase) {
			phase = next;
			enter(worker, phase);
			/* What was noted on entering is there for who sees this. */
			atomic_store_explicit(&worker->seen, phase, memory_order_release);
		}
		bool pause = atomic_load_explicit(&worker->run->pause, memory_order_acquire);
		/* Before it is touched again, and after it was touched last. */
		atomic_store_explicit(&worker->paused, pause, memory_order_release);
		if (pause || phase == PHASE_WAIT || phase == PHASE_RESET)
			nap();
		else if (phase != PHASE_STOP)
			loops_run(worker, phase);
	}
	return NULL;
}

int worker_start(struct worker *worker)
{
	pthread_attr_t attributes;
	cpu_set_t cpus;
	int error = pthread_attr_init(&attributes);

	if (error != 0)
		return -error;
	if (worker->cpu >= 0) {
		CPU_ZERO(&cpus);
		CPU_SET((unsigned)worker->cpu, &cpus);
		error = pthread_attr_setaffinity_np(&attributes, sizeof(cpus), &cpus);
	}
	if (error == 0)
		error = pthread_create(&worker->thread, &attributes, work, worker);
	(void)pthread_attr_destroy(&attributes);
	return -error;
}
