/* SPDX-License-Identifier: BSD-3-Clause */
/* Network namespaces, see netns.h. */
#include "base/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static void name_path(const char *name, char path[PATH_MAX])
{
	(void)snprintf(path, PATH_MAX, "/run/netns/%s", name);
}

uint64_t netns_id(const char *name)
{
	char path[PATH_MAX];
	struct stat status;

	if (name[0] == '\0')
		return 0;
	name_path(name, path);
	return stat(path, &status) == 0 ? status.st_ino : 0;
}

int netns_open(const char *name, struct error *error)
{
	char path[PATH_MAX] = "/proc/thread-self/ns/net";

	if (name[0] != '\0')
		name_path(name, path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(
			error,
			-errno,
			"cannot open network namespace %s: %s; make it with `ip netns add %s`",
			name,
			strerror(errno),
			name
		);
	return fd;
}

int netns_run_in(
	int fd, int (*act)(void *context, struct error *error), void *context, struct error *error
)
{
	int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int result;

	if (home < 0 || setns(fd, CLONE_NEWNET) < 0) {
		result = error_set(
			error, -errno, "cannot enter a network namespace: %s", strerror(errno)
		);
	} else {
		result = act(context, error);
		if (setns(home, CLONE_NEWNET) < 0) {
			log_error(LOG_PORT, "cannot leave a network namespace; stopping");
			abort();
		}
	}
	if (home >= 0)
		close(home);
	return result;
}

int netns_run(
	const char *name,
	int (*act)(void *context, struct error *error),
	void *context,
	struct error *error
)
{
	if (name[0] == '\0')
		return act(context, error);
	int fd = netns_open(name, error);
	if (fd < 0)
		return fd;
	int result = netns_run_in(fd, act, context, error);
	close(fd);
	return result;
}
