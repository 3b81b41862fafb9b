/* SPDX-License-Identifier: BSD-3-Clause */
/* See process.h. */
#include "process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "vhost/signal.h"

unsigned open_descriptors(void)
{
	/* Which it keeps from its first use on. */
	vhost_signal_prepare();
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	check(directory != NULL);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

static unsigned count_mappings(const char *file)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned count = 0;

	check(maps != NULL);
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (strstr(line, file) != NULL)
			count++;
	}
	fclose(maps);
	return count;
}

unsigned guest_mappings(void)
{
	return count_mappings("memfd:virtlane-guest");
}

unsigned arena_mappings(void)
{
	return count_mappings("memfd:virtlane-arena");
}

unsigned children(pid_t *pid)
{
	FILE *file = fopen("/proc/thread-self/children", "r");
	unsigned count = 0;
	int number;

	check(file != NULL);
	while (fscanf(file, "%d", &number) == 1) {
		*pid = number;
		count++;
	}
	fclose(file);
	return count;
}

int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}
