/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wakeup CPU CPU MICROSECONDS: how long a thread that sleeps in epoll_wait() on the first CPU takes
 * to wake, once one that polls on the second has written to an eventfd, which it does so often. No
 * switch that sleeps can be faster. One line: the 50th and the 99th percentile, in nanoseconds.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "cycles.h"

enum {
	ROUNDS = 400,
};

static int event_fd;
static _Atomic uint64_t woke_ns;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void *sleeper(void *cpu)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	int epoll_fd = epoll_create1(0);
	uint64_t value;

	(void)pin_to_cpu(*(unsigned *)cpu);
	if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &event) < 0)
		abort();
	for (;;) {
		if (epoll_wait(epoll_fd, &event, 1, -1) == 1
		    && read(event_fd, &value, sizeof(value)) > 0)
			atomic_store(&woke_ns, now_ns());
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int count, char **words)
{
	static uint64_t times[ROUNDS];
	const uint64_t one = 1;
	pthread_t thread;

	if (count != 4) {
		(void)fprintf(stderr, "usage: wakeup CPU CPU MICROSECONDS\n");
		return 2;
	}
	unsigned cpus[2] = {(unsigned)atoi(words[1]), (unsigned)atoi(words[2])};
	uint64_t gap_ns = (uint64_t)atoi(words[3]) * 1000;
	event_fd = eventfd(0, EFD_NONBLOCK);
	if (event_fd < 0 || pthread_create(&thread, NULL, sleeper, &cpus[0]) != 0
	    || pin_to_cpu(cpus[1]) < 0) {
		perror("wakeup");
		return 1;
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t start = now_ns() + gap_ns;

		while (now_ns() < start)
			cpu_relax();
		atomic_store(&woke_ns, 0);
		start = now_ns();
		if (write(event_fd, &one, sizeof(one)) < 0)
			return 1;
		while (atomic_load(&woke_ns) == 0)
			cpu_relax();
		times[i] = atomic_load(&woke_ns) - start;
	}
	qsort(times, ROUNDS, sizeof(times[0]), compare);
	(void
	)printf("%llu %llu\n",
		(unsigned long long)times[ROUNDS / 2],
		(unsigned long long)times[ROUNDS * 99 / 100]);
	return 0;
}
