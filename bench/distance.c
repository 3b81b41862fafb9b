/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * distance CPU CPU: how far apart two CPUs are at the moment: cycles that a cache line takes from
 * one to the other and back. A virtual machine's CPUs are moved about; on cores that do not share a
 * cache it is several times as long, and whatever passes frames between them is slower.
 *
 * The median of many short turns counts, so it is right while something else runs on them, too.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "cycles.h"

enum {
	TRIPS = 100, /* a turn; far less than a time slice */
	TURNS = 1000,
};

static _Alignas(64) _Atomic unsigned long there;
static _Alignas(64) _Atomic unsigned long back;

static void *answer(void *cpu)
{
	(void)pin_to_cpu(*(unsigned *)cpu);
	for (unsigned long i = 1; i <= (unsigned long)TRIPS * TURNS; i++) {
		while (atomic_load_explicit(&there, memory_order_acquire) != i)
			cpu_relax();
		atomic_store_explicit(&back, i, memory_order_release);
	}
	return NULL;
}

/* Cycles of one turn. */
static uint64_t turn(unsigned long first)
{
	uint64_t begin = cycles_now();

	for (unsigned long i = first; i < first + TRIPS; i++) {
		atomic_store_explicit(&there, i, memory_order_release);
		while (atomic_load_explicit(&back, memory_order_acquire) != i)
			cpu_relax();
	}
	return cycles_now() - begin;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *one = a, *other = b;

	return *one < *other ? -1 : *one > *other;
}

int main(int argc, char **argv)
{
	static uint64_t turns[TURNS];
	pthread_t thread;
	unsigned other;

	if (argc != 3) {
		(void)fputs("usage: distance CPU CPU\n", stderr);
		return 2;
	}
	other = (unsigned)strtoul(argv[2], NULL, 10);
	if (pin_to_cpu((unsigned)strtoul(argv[1], NULL, 10)) < 0
	    || pthread_create(&thread, NULL, answer, &other) != 0)
		return 1;
	for (unsigned long i = 0; i < TURNS; i++)
		turns[i] = turn(1 + i * TRIPS);
	pthread_join(thread, NULL);
	qsort(turns, TURNS, sizeof(turns[0]), by_size);
	printf("%.0f\n", (double)turns[TURNS / 2] / TRIPS);
	return 0;
}
