/* SPDX-License-Identifier: BSD-3-Clause */
/* The protocol of sd_notify(3): a datagram to the socket in $NOTIFY_SOCKET. */
#include "control/notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void notify_send(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t size;
	int fd;

	if (path == NULL || (path[0] != '/' && path[0] != '@'))
		return;
	size = strlen(path);
	if (size >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, size);
	if (path[0] == '@') /* an abstract socket */
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* Nothing depends on whether it arrives. */
	(void
	)sendto(fd,
		state,
		strlen(state),
		MSG_NOSIGNAL | MSG_DONTWAIT,
		(const struct sockaddr *)&address,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
	(void)close(fd);
}

void notify_reloading(void)
{
	char state[80];
	struct timespec now;

	/* Type=notify-reload wants the time to tell this reload from an earlier one. */
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)snprintf(
		state,
		sizeof(state),
		"RELOADING=1\nMONOTONIC_USEC=%" PRId64,
		(int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000
	);
	notify_send(state);
}
