/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages between arrivals.c and its fetcher, see fetcher.h. */
#include "memory/fetcher.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

int fetcher_send(int socket, const void *data, size_t size, int fd, int flags)
{
	union control control = {
		.header = {CMSG_LEN(sizeof(fd)), SOL_SOCKET, SCM_RIGHTS},
	};
	struct iovec vector = {(void *)data, size};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.space);
	}
	return sendmsg(socket, &message, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

ssize_t fetcher_receive(int socket, void *data, size_t size, int *fd, int flags)
{
	union control control;
	struct iovec vector = {data, size};
	struct msghdr message = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};

	*fd = -1;
	ssize_t got = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
	if (got < 0)
		return -errno;
	/* There is room for one, and the kernel closes what is too many. */
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS
	    && header->cmsg_len == CMSG_LEN(sizeof(*fd)))
		memcpy(fd, CMSG_DATA(header), sizeof(*fd));
	return got;
}
