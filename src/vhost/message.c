/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading and writing vhost-user messages, see message.h. */
#include "vhost/message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static_assert(sizeof(struct vhost_vring_state) == 8, "vring state");
static_assert(sizeof(struct vhost_vring_addr) == 40, "vring address");
static_assert(offsetof(struct vhost_config, bytes) == VHOST_CONFIG_HEADER, "config header");
static_assert(sizeof(struct vhost_mem_region) == 40, "single region");
/* The C struct has padding at its end; the message may come with or without it. */
enum {
	INFLIGHT_SIZE = 20,
	VRING_STATE_SIZE = sizeof(struct vhost_vring_state),
	REGION_SIZE = sizeof(struct vhost_region),
	TABLE_SIZE = sizeof(struct vhost_mem_table),
	MEM_REGION_SIZE = sizeof(struct vhost_mem_region),
	CONFIG_SIZE = sizeof(struct vhost_config),
	INFLIGHT_PADDED = sizeof(struct vhost_inflight),
};

#define ACK VHOST_REPLY_ACK
#define REPLY VHOST_REPLY_PAYLOAD

/* name, smallest and largest payload, descriptors, reply. Front ends of old pad some payloads or
 * send an unused u64, so the upper bounds are generous where nothing is read from the rest. */
static const struct vhost_request_format formats[VHOST_REQUEST_COUNT] = {
	[VHOST_USER_GET_FEATURES] = {"GET_FEATURES", 0, 8, 0, REPLY},
	[VHOST_USER_SET_FEATURES] = {"SET_FEATURES", 8, 8, 0, ACK},
	[VHOST_USER_SET_OWNER] = {"SET_OWNER", 0, 8, 0, ACK},
	[VHOST_USER_RESET_OWNER] = {"RESET_OWNER", 0, 8, 0, ACK},
	[VHOST_USER_SET_MEM_TABLE] = {"SET_MEM_TABLE", 8, TABLE_SIZE, VHOST_TABLE_REGIONS_MAX, ACK},
	[VHOST_USER_SET_LOG_BASE] = {"SET_LOG_BASE", 8, 16, 1, REPLY},
	[VHOST_USER_SET_LOG_FD] = {"SET_LOG_FD", 0, 8, 1, ACK},
	[VHOST_USER_SET_VRING_NUM] = {"SET_VRING_NUM", VRING_STATE_SIZE, VRING_STATE_SIZE, 0, ACK},
	[VHOST_USER_SET_VRING_ADDR] = {"SET_VRING_ADDR", 40, 40, 0, ACK},
	[VHOST_USER_SET_VRING_BASE] =
		{"SET_VRING_BASE", VRING_STATE_SIZE, VRING_STATE_SIZE, 0, ACK},
	[VHOST_USER_GET_VRING_BASE] =
		{"GET_VRING_BASE", VRING_STATE_SIZE, VRING_STATE_SIZE, 0, REPLY},
	[VHOST_USER_SET_VRING_KICK] = {"SET_VRING_KICK", 8, 8, 1, ACK},
	[VHOST_USER_SET_VRING_CALL] = {"SET_VRING_CALL", 8, 8, 1, ACK},
	[VHOST_USER_SET_VRING_ERR] = {"SET_VRING_ERR", 8, 8, 1, ACK},
	[VHOST_USER_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", 0, 8, 0, REPLY},
	[VHOST_USER_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", 8, 8, 0, ACK},
	[VHOST_USER_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", 0, 8, 0, REPLY},
	[VHOST_USER_SET_VRING_ENABLE] =
		{"SET_VRING_ENABLE", VRING_STATE_SIZE, VRING_STATE_SIZE, 0, ACK},
	[VHOST_USER_SEND_RARP] = {"SEND_RARP", 8, 8, 0, ACK},
	[VHOST_USER_NET_SET_MTU] = {"NET_SET_MTU", 8, 8, 0, ACK},
	[VHOST_USER_SET_BACKEND_REQ_FD] = {"SET_BACKEND_REQ_FD", 0, 8, 1, ACK},
	[VHOST_USER_IOTLB_MSG] = {"IOTLB_MSG", 26, 32, 0, REPLY},
	[VHOST_USER_SET_VRING_ENDIAN] =
		{"SET_VRING_ENDIAN", VRING_STATE_SIZE, VRING_STATE_SIZE, 0, ACK},
	[VHOST_USER_GET_CONFIG] = {"GET_CONFIG", VHOST_CONFIG_HEADER, CONFIG_SIZE, 0, REPLY},
	[VHOST_USER_SET_CONFIG] = {"SET_CONFIG", VHOST_CONFIG_HEADER, CONFIG_SIZE, 0, ACK},
	[VHOST_USER_CREATE_CRYPTO_SESSION] =
		{"CREATE_CRYPTO_SESSION", 0, VHOST_PAYLOAD_MAX, 0, REPLY},
	[VHOST_USER_CLOSE_CRYPTO_SESSION] = {"CLOSE_CRYPTO_SESSION", 8, 8, 0, ACK},
	[VHOST_USER_POSTCOPY_ADVISE] = {"POSTCOPY_ADVISE", 0, 8, 0, REPLY},
	[VHOST_USER_POSTCOPY_LISTEN] = {"POSTCOPY_LISTEN", 0, 8, 0, ACK},
	[VHOST_USER_POSTCOPY_END] = {"POSTCOPY_END", 0, 8, 0, REPLY},
	[VHOST_USER_GET_INFLIGHT_FD] =
		{"GET_INFLIGHT_FD", INFLIGHT_SIZE, INFLIGHT_PADDED, 0, REPLY},
	[VHOST_USER_SET_INFLIGHT_FD] = {"SET_INFLIGHT_FD", INFLIGHT_SIZE, INFLIGHT_PADDED, 1, ACK},
	[VHOST_USER_GPU_SET_SOCKET] = {"GPU_SET_SOCKET", 0, 8, 1, ACK},
	[VHOST_USER_RESET_DEVICE] = {"RESET_DEVICE", 0, 8, 0, ACK},
	[VHOST_USER_VRING_KICK] = {"VRING_KICK", VRING_STATE_SIZE, VRING_STATE_SIZE, 0, ACK},
	[VHOST_USER_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", 0, 8, 0, REPLY},
	[VHOST_USER_ADD_MEM_REG] = {"ADD_MEM_REG", 8, MEM_REGION_SIZE, 1, ACK},
	/* 8 bytes: the end of the regions for postcopy, see backend.c. */
	/* One descriptor is tolerated, and closed ("REM_MEM_REG"). */
	[VHOST_USER_REM_MEM_REG] = {"REM_MEM_REG", 8, MEM_REGION_SIZE, 1, ACK},
	[VHOST_USER_SET_STATUS] = {"SET_STATUS", 8, 8, 0, ACK},
	[VHOST_USER_GET_STATUS] = {"GET_STATUS", 0, 8, 0, REPLY},
	[VHOST_USER_GET_SHARED_OBJECT] = {"GET_SHARED_OBJECT", 16, 16, 0, REPLY},
	[VHOST_USER_SET_DEVICE_STATE_FD] = {"SET_DEVICE_STATE_FD", 8, 8, 1, REPLY},
	[VHOST_USER_CHECK_DEVICE_STATE] = {"CHECK_DEVICE_STATE", 0, 8, 0, REPLY},
	[VHOST_USER_GET_SHMEM_CONFIG] = {"GET_SHMEM_CONFIG", 0, 8, 0, REPLY},
	[VHOST_USER_GET_VRING_BASE_SKIP_DRAIN] =
		{"GET_VRING_BASE_SKIP_DRAIN", VRING_STATE_SIZE, VRING_STATE_SIZE, 0, REPLY},
};

const struct vhost_request_format *vhost_request_format(uint32_t request)
{
	if (request >= VHOST_REQUEST_COUNT || formats[request].name == NULL)
		return NULL;
	return &formats[request];
}

const char *vhost_request_name(uint32_t request)
{
	const struct vhost_request_format *format = vhost_request_format(request);

	return format == NULL ? NULL : format->name;
}

static void close_fds(struct vhost_message *message)
{
	for (unsigned i = 0; i < message->fd_count; i++) {
		if (message->fds[i] >= 0)
			close(message->fds[i]);
	}
	message->fd_count = 0;
}

void vhost_reader_reset(struct vhost_reader *reader)
{
	close_fds(&reader->message);
	reader->have = 0;
	reader->complete = false;
}

/* Keep what descriptors came along; false if there were more than any message has. */
static bool keep_fds(struct vhost_message *message, const struct msghdr *received)
{
	bool all = !(received->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *control = CMSG_FIRSTHDR(received); control != NULL;
	     control = CMSG_NXTHDR((struct msghdr *)received, control)) {
		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		const uint8_t *data = CMSG_DATA(control);

		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
			if (message->fd_count < VHOST_FDS_MAX) {
				message->fds[message->fd_count++] = fd;
			} else {
				close(fd);
				all = false;
			}
		}
	}
	return all;
}

/* One recvmsg() of at most `want` bytes. */
static int read_piece(struct vhost_reader *reader, int socket, size_t want, const char **why)
{
	union {
		struct cmsghdr header;
		/* Room for all that the kernel passes on at once, so that none is lost unseen. */
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control;
	struct iovec vector = {
		.iov_base = (uint8_t *)&reader->message + reader->have,
		.iov_len = want,
	};
	struct msghdr header = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got;

	do {
		got = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	if (!keep_fds(&reader->message, &header)) {
		*why = "a message came with too many file descriptors";
		return -EPROTO;
	}
	if (got == 0)
		return -ECONNRESET;
	reader->have += (size_t)got;
	return (int)got;
}

static int check_header(const struct vhost_reader *reader, const char **why)
{
	const struct vhost_header *header = &reader->message.header;

	if ((header->flags & VHOST_VERSION_MASK) != VHOST_VERSION) {
		*why = "a message is not of vhost-user version 1";
		return -EPROTO;
	}
	if (header->size > reader->size_limit) {
		*why = "a message is too large";
		return -EPROTO;
	}
	return 0;
}

int vhost_read(struct vhost_reader *reader, int socket, const char **why)
{
	static_assert(
		offsetof(struct vhost_message, payload)
			== (sizeof(struct vhost_header) + 7) / 8 * 8,
		"payload follows the header, aligned"
	);
	size_t gap = offsetof(struct vhost_message, payload) - sizeof(struct vhost_header);

	if (reader->complete)
		vhost_reader_reset(reader);
	for (;;) {
		/* `have` counts the gap between header and payload in memory, too. */
		size_t payload_start = offsetof(struct vhost_message, payload);
		size_t end;

		if (reader->have < sizeof(struct vhost_header)) {
			end = sizeof(struct vhost_header);
		} else {
			if (reader->have == sizeof(struct vhost_header)) {
				int error = check_header(reader, why);

				if (error < 0)
					return error;
				reader->have += gap;
				memset(&reader->message.payload, 0, sizeof(reader->message.payload)
				);
			}
			end = payload_start + reader->message.header.size;
			if (reader->have == end) {
				reader->complete = true;
				return 1;
			}
		}
		int got = read_piece(reader, socket, end - reader->have, why);
		if (got <= 0)
			return got;
	}
}

int vhost_take_fd(struct vhost_message *message)
{
	if (message->fd_count == 0)
		return -1;
	int fd = message->fds[0];
	message->fds[0] = -1;
	return fd;
}

int vhost_write(int socket, const struct vhost_message *message)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(VHOST_FDS_MAX * sizeof(int))];
	} control = {0};
	struct iovec vectors[] = {
		{.iov_base = (void *)&message->header, .iov_len = sizeof(message->header)},
		{.iov_base = (void *)&message->payload, .iov_len = message->header.size},
	};
	struct msghdr header = {.msg_iov = vectors, .msg_iovlen = 2};
	ssize_t sent;

	if (message->fd_count > 0) {
		size_t size = message->fd_count * sizeof(int);

		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(size);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(size);
		memcpy(CMSG_DATA(&control.header), message->fds, size);
	}
	do {
		sent = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	/* A stream socket that takes half a reply belongs to a peer that does not read. */
	return (size_t)sent == sizeof(message->header) + message->header.size ? 0 : -EAGAIN;
}
