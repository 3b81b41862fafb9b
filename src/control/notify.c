/* SPDX-License-Identifier: BSD-3-Clause */
/* The protocol of sd_notify(3): a datagram to the socket in $NOTIFY_SOCKET. */
#include "control/notify.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	PATIENCE_MS = 100,
	BARRIER_MS = 1000,
};

/* The socket's address; false: there is none. */
static bool find_socket(struct sockaddr_un *address, socklen_t *address_size)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t size = path == NULL ? 0 : strlen(path);

	if (size == 0 || (path[0] != '/' && path[0] != '@') || size >= sizeof(address->sun_path))
		return false;
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(address->sun_path, path, size);
	if (path[0] == '@') /* an abstract socket */
		address->sun_path[0] = '\0';
	*address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
	return true;
}

/* `flags`: of sendmsg(). */
static bool send_to_manager(const char *state, int fd, int flags)
{
	static const struct timeval patience = {.tv_usec = PATIENCE_MS * 1000};
	struct sockaddr_un address;
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(fd))];
	} control = {.header = {CMSG_LEN(sizeof(fd)), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec text = {(void *)state, strlen(state)};
	struct msghdr message = {.msg_name = &address, .msg_iov = &text, .msg_iovlen = 1};

	if (!find_socket(&address, &message.msg_namelen))
		return false;
	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
	}
	int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sender < 0)
		return false;
	(void)setsockopt(sender, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	ssize_t sent = sendmsg(sender, &message, MSG_NOSIGNAL | flags);
	(void)close(sender);
	return sent >= 0;
}

/* Nothing depends on whether it arrives. */
void notify_send(const char *state)
{
	(void)send_to_manager(state, -1, MSG_DONTWAIT);
}

/* Its queue is short: ten messages, on a system that was not told otherwise. */
bool notify_send_fd(const char *state, int fd)
{
	return send_to_manager(state, fd, 0);
}

/* It closes the descriptor then: see sd_notify_barrier(3). */
void notify_barrier(void)
{
	struct pollfd end = {.events = POLLIN};
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	end.fd = ends[0];
	bool sent = notify_send_fd("BARRIER=1", ends[1]);
	close(ends[1]);
	if (sent)
		(void)poll(&end, 1, BARRIER_MS);
	close(ends[0]);
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
