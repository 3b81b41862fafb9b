/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loops that move frames. A round serves each duty of the thread once, a burst in each
 * direction; the cycles of rounds that moved something are counted. No system call and no division
 * a frame; a look at the clock a burst, and only if frames are paced or stamped.
 */
#include "pktgen/loops.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- what both loops do ---- */

static void tell_main(const struct worker *worker)
{
	const uint64_t one = 1;

	/* It cannot fail: the counter is far from full. */
	(void)!write(worker->run->event_fd, &one, sizeof(one));
}

static __attribute__((cold)) unsigned stop_duty(const struct worker *worker, struct duty *duty)
{
	if (!atomic_exchange(&duty->stopped, true))
		tell_main(worker);
	return 0;
}

static inline bool phase_lasts(const struct worker *worker, enum phase phase)
{
	/* work() loads it again, with acquire, before it does anything for the next phase. */
	return atomic_load_explicit(&worker->run->phase, memory_order_relaxed) == phase
	       && !atomic_load_explicit(&worker->run->pause, memory_order_relaxed);
}

/* The end of a round: count its cycles, or rest. Returns when the next one began. */
static inline uint64_t
end_round(struct worker *worker, unsigned moved, uint64_t began, bool no_poll, bool sending)
{
	uint64_t now = clock_cycles();

	if (moved > 0) {
		worker->busy_cycles += now - began;
		worker->idle_rounds = 0;
	} else if (no_poll) {
		loops_rest(worker, sending);
		now = clock_cycles();
	}
	return now;
}

/* ---- sending and receiving ---- */

/* Build the next burst, as far as frames are due and there are buffers. */
static inline void build_burst(const struct worker *worker, struct duty *duty)
{
	unsigned count = worker->run->options->burst;

	if (count > duty->left)
		count = (unsigned)duty->left;
	if (duty->pace.interval > 0)
		count = pace_due(&duty->pace, clock_ns(), count);
	if (count == 0)
		return;
	count = vl_driver_alloc(duty->driver, duty->pair, duty->pending, count);
	if (count == 0)
		return;
	if (duty->pace.interval == 0 && worker->run->traffic->probes)
		pace_start(&duty->pace, clock_ns());
	sender_build(&duty->sender, duty->pending, count, duty->pace.next, duty->pace.interval);
	pace_take(&duty->pace, count);
	duty->left -= count;
	duty->pending_first = 0;
	duty->pending_count = count;
}

static inline unsigned send_step(struct worker *worker, struct duty *duty, bool may_build)
{
	int taken;

	if (duty->pending_count == 0 && may_build)
		build_burst(worker, duty);
	if (duty->pending_count == 0)
		return 0;
	taken = vl_driver_tx_burst(
		duty->driver, duty->pair, duty->pending + duty->pending_first, duty->pending_count
	);
	if (taken < 0)
		return stop_duty(worker, duty);
	duty->pending_first += (unsigned)taken;
	duty->pending_count -= (unsigned)taken;
	if (duty->left == 0 && duty->pending_count == 0 && !duty->done) {
		duty->done_ns = clock_ns();
		atomic_store_explicit(&duty->done, true, memory_order_release);
		tell_main(worker);
	}
	return (unsigned)taken;
}

static inline unsigned
receive_step(struct worker *worker, struct duty *duty, struct vl_driver_frame *frames)
{
	int count =
		vl_driver_rx_burst(duty->driver, duty->pair, frames, worker->run->options->burst);

	if (count <= 0)
		return count < 0 ? stop_duty(worker, duty) : 0;
	if (duty->receiver != NULL)
		receiver_check(duty->receiver, frames, (unsigned)count, clock_ns());
	vl_driver_free(duty->driver, duty->pair, frames, (unsigned)count);
	return (unsigned)count;
}

static void traffic_loop(struct worker *worker, enum phase phase)
{
	struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];
	const bool sending = phase == PHASE_WARM || phase == PHASE_RUN;
	const bool no_poll = worker->run->options->no_poll;
	uint64_t began = clock_cycles();

	while (phase_lasts(worker, phase)) {
		unsigned moved = 0;

		for (unsigned i = 0; i < worker->duty_count; i++) {
			struct duty *duty = &worker->duties[i];

			if (duty->receives)
				moved += receive_step(worker, duty, frames);
			if (duty->sends)
				moved += send_step(worker, duty, sending);
		}
		began = end_round(worker, moved, began, no_poll, sending);
	}
}

/* ---- reflecting ---- */

/* The first frames, which then go round and round. */
static __attribute__((cold)) void inject(struct worker *worker, struct duty *duty)
{
	(void)send_step(worker, duty, true);
}

static inline void exchange_addresses(const struct vl_driver_frame *frames, unsigned count)
{
	for (unsigned i = 0; i < count;) {
		uint8_t *data = frames[i].data;
		uint8_t destination[6];

		if (i + 4 < count)
			__builtin_prefetch(frames[i + 4].data, 1);
		memcpy(destination, data, 6);
		memmove(data, data + 6, 6);
		memcpy(data + 6, destination, 6);
		i += frames[i].header.num_buffers > 1 ? frames[i].header.num_buffers : 1;
	}
}

/* A sender must not say what only a receiver is told (VIRTIO 1.3, 5.1.6.2). */
static inline void clean_headers(struct vl_driver_frame *frames, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		frames[i].header.flags &= VL_NET_NEEDS_CSUM;
}

/*
 * The ring had no room for all of them, or the first is one that may come and not go: it needs an
 * offload that was negotiated for receiving only. What is not sent is given back and counted.
 */
static __attribute__((cold)) void reflect_rest(
	struct worker *worker,
	struct duty *duty,
	struct vl_driver_frame *frames,
	unsigned count,
	int taken
)
{
	while (taken > 0 || taken == -EINVAL) {
		unsigned done = (unsigned)taken;

		if (taken == -EINVAL) {
			done = frames->header.num_buffers > 1 ? frames->header.num_buffers : 1;
			done = done < count ? done : count;
			vl_driver_free(duty->driver, duty->pair, frames, done);
			duty->dropped++;
		}
		frames += done;
		count -= done;
		taken = count > 0 ? vl_driver_tx_burst(duty->driver, duty->pair, frames, count) : 0;
	}
	if (taken < 0)
		(void)stop_duty(worker, duty);
	duty->dropped += count;
	vl_driver_free(duty->driver, duty->pair, frames, count);
}

static inline unsigned reflect_step(
	struct worker *worker, struct duty *duty, struct vl_driver_frame *frames, const bool swap
)
{
	int count =
		vl_driver_rx_burst(duty->driver, duty->pair, frames, worker->run->options->burst);
	int taken;

	if (__builtin_expect(duty->left > 0 || duty->pending_count > 0, false))
		inject(worker, duty);
	if (count <= 0)
		return count < 0 ? stop_duty(worker, duty) : 0;
	if (duty->clean_headers)
		clean_headers(frames, (unsigned)count);
	if (swap)
		exchange_addresses(frames, (unsigned)count);
	taken = vl_driver_tx_burst(duty->driver, duty->pair, frames, (unsigned)count);
	if (__builtin_expect(taken != count, false))
		reflect_rest(worker, duty, frames, (unsigned)count, taken);
	return (unsigned)count;
}

static inline void reflect_loop(struct worker *worker, enum phase phase, const bool swap)
{
	struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];
	const bool no_poll = worker->run->options->no_poll;
	uint64_t began = clock_cycles();

	while (phase_lasts(worker, phase)) {
		unsigned moved = 0;

		for (unsigned i = 0; i < worker->duty_count; i++)
			moved += reflect_step(worker, &worker->duties[i], frames, swap);
		began = end_round(worker, moved, began, no_poll, true);
	}
}

void loops_run(struct worker *worker, enum phase phase)
{
	if (worker->run->options->mode != MODE_REFLECT)
		traffic_loop(worker, phase);
	else if (worker->run->options->swap)
		reflect_loop(worker, phase, true);
	else
		reflect_loop(worker, phase, false);
}
