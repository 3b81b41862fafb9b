/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Resting with --no-poll: until a frame has come or one is due. A device does not say when it has
 * sent something, so that a sender whose ring is full looks again after a moment.
 */
#include "pktgen/loops.h"

enum {
	ROUNDS_BEFORE_REST = 64,
	FULL_NS = 50 * 1000,		/* the ring is full: look again after this */
	REST_MAX_NS = 20 * 1000 * 1000, /* a new phase is seen after this at the latest */
};

static uint64_t wait_of(const struct duty *duty, bool sending, uint64_t now_ns)
{
	if (duty->pending_count > 0)
		return FULL_NS;
	if (!sending || duty->left == 0)
		return REST_MAX_NS;
	if (duty->pace.interval == 0)
		return FULL_NS;
	return pace_wait_ns(&duty->pace, now_ns);
}

void loops_rest(struct worker *worker, bool sending)
{
	uint64_t now_ns = clock_ns();
	uint64_t wait_ns = REST_MAX_NS;
	nfds_t count = 0;

	if (worker->idle_rounds++ < ROUNDS_BEFORE_REST)
		return;
	for (unsigned i = 0; i < worker->duty_count; i++) {
		const struct duty *duty = &worker->duties[i];
		uint64_t due_ns = duty->sends ? wait_of(duty, sending, now_ns) : REST_MAX_NS;

		if (due_ns < wait_ns)
			wait_ns = due_ns;
	}
	for (unsigned i = 0; i < worker->duty_count; i++) {
		const struct duty *duty = &worker->duties[i];

		worker->fds[i] = (struct pollfd){.fd = -1};
		if (!duty->receives || duty->stopped)
			continue;
		if (!vl_driver_sleep(duty->driver, duty->pair))
			return;
		worker->fds[i].fd = vl_driver_fd(duty->driver, duty->pair);
		worker->fds[i].events = POLLIN;
		count = i + 1;
	}
	(void)ppoll(worker->fds, count, &(struct timespec){.tv_nsec = (long)wait_ns}, NULL);
	for (nfds_t i = 0; i < count; i++) {
		if (worker->fds[i].revents & POLLIN)
			vl_driver_woken(worker->duties[i].driver, worker->duties[i].pair);
	}
}
