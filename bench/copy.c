/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * copy CPU BYTES BUFFERS: the limit for large frames. One thread copies from each of so many
 * buffers to another one in turn with memcpy(), for half a second; one line: gigabytes a second. As
 * many as a switch's two rings have in use, so that the caches are as much use to it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "cycles.h"

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int count, char **words)
{
	if (count != 4) {
		(void)fprintf(stderr, "usage: copy CPU BYTES BUFFERS\n");
		return 2;
	}
	size_t size = (size_t)atol(words[2]), buffers = (size_t)atol(words[3]);
	/* As our driver's memory: 2 MiB pages if the kernel has them. */
	size_t step = (size + 63) / 64 * 64, whole = 2 * step * buffers;
	uint8_t *memory = aligned_alloc(2 << 20, (whole + (2 << 20)) >> 21 << 21);
	if (memory == NULL || pin_to_cpu((unsigned)atoi(words[1])) < 0) {
		perror("copy");
		return 1;
	}
	(void)madvise(memory, whole, MADV_HUGEPAGE);
	memset(memory, 1, whole);
	double start = seconds(), end = start;
	size_t copies = 0;
	for (; end - start < 0.5; end = seconds()) {
		for (size_t i = 0; i < buffers; i++, copies++)
			memcpy(memory + step * (buffers + i), memory + step * i, size);
	}
	(void)printf("%.3f\n", (double)(copies * size) / (end - start) / 1e9);
	return 0;
}
