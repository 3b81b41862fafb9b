/* SPDX-License-Identifier: BSD-3-Clause */
/* State between processes, see handover.h. */
#include "base/handover.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	FDS_A_MESSAGE = 200, /* Linux takes 253 */
};

/* Each message on the socket: of how many descriptors these are the first or next ones. The
 * document's file is the very first. */
struct part {
	uint64_t fds_left;
};

void handover_init(struct handover *handover)
{
	*handover = (struct handover){.root = json_object()};
	if (handover->root == NULL)
		abort();
}

void handover_fini(struct handover *handover)
{
	for (size_t i = 0; handover->owned && i < handover->fd_count; i++) {
		if (handover->fds[i] >= 0)
			close(handover->fds[i]);
	}
	free(handover->fds);
	json_decref(handover->root);
	*handover = (struct handover){0};
}

/* ---- descriptors ---- */

void handover_add_fd(struct handover *handover, int fd)
{
	if (handover->fd_count == handover->fd_room) {
		handover->fd_room = handover->fd_room == 0 ? 64 : 2 * handover->fd_room;
		handover->fds =
			reallocarray(handover->fds, handover->fd_room, sizeof(handover->fds[0]));
		if (handover->fds == NULL)
			abort();
	}
	handover->fds[handover->fd_count++] = fd;
}

json_t *handover_put_fd(struct handover *handover, int fd)
{
	if (fd < 0)
		return json_null();
	handover_add_fd(handover, fd);
	return json_integer((json_int_t)handover->fd_count - 1);
}

int handover_take_fd(struct handover *handover, const json_t *number)
{
	json_int_t n = json_is_integer(number) ? json_integer_value(number) : -1;

	if (n < 0 || (size_t)n >= handover->fd_count)
		return -1;
	int fd = handover->fds[n];
	handover->fds[n] = -1;
	return fd;
}

/* ---- bytes ---- */

json_t *handover_put_bytes(const void *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * size + 1);

	if (text == NULL)
		abort();
	for (size_t i = 0; i < size; i++) {
		uint8_t byte = ((const uint8_t *)bytes)[i];

		text[2 * i] = digits[byte >> 4];
		text[2 * i + 1] = digits[byte & 15];
	}
	json_t *value = json_stringn_nocheck(text, 2 * size);
	free(text);
	return value;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void *handover_get_bytes(const json_t *value, size_t *size)
{
	const char *text = json_string_value(value);
	size_t length = json_string_length(value);

	if (text == NULL || length % 2 != 0)
		return NULL;
	*size = length / 2;
	uint8_t *bytes = malloc(*size + 1);
	for (size_t i = 0; bytes != NULL && i < *size; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0) {
			free(bytes);
			return NULL;
		}
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return bytes;
}

/* ---- sending ---- */

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int))];
};

static int send_part(int socket, const int *fds, size_t count, size_t left)
{
	struct part part = {left};
	struct iovec vector = {&part, sizeof(part)};
	union control control = {0};
	struct msghdr message = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};
	ssize_t sent;

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	do {
		sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

char *handover_text(const struct handover *handover)
{
	return json_dumps(handover->root, JSON_COMPACT);
}

int handover_write_text(const char *text)
{
	int file = memfd_create("virtlane-handover", MFD_CLOEXEC);
	size_t size = text == NULL ? 0 : strlen(text);

	/* Memory takes it whole, or there is none. */
	if (file >= 0 && (text == NULL || write(file, text, size) != (ssize_t)size)) {
		close(file);
		file = -1;
	}
	return file;
}

int handover_send(int socket, const struct handover *handover, struct error *error)
{
	char *text = handover_text(handover);
	int file = handover_write_text(text);
	int result = file < 0 ? -ENOMEM : send_part(socket, &file, 1, handover->fd_count);

	for (size_t at = 0; result == 0 && at < handover->fd_count;) {
		size_t left = handover->fd_count - at;
		size_t count = left < FDS_A_MESSAGE ? left : FDS_A_MESSAGE;

		result = send_part(socket, handover->fds + at, count, left);
		at += count;
	}
	if (file >= 0)
		close(file);
	free(text);
	if (result < 0)
		error_set(error, result, "cannot hand state over: %s", strerror(-result));
	return result;
}

/* ---- receiving ---- */

/* Returns how many descriptors came, which are in `fds`; *left: of how many. */
static int receive_part(int socket, int fds[FDS_A_MESSAGE], size_t *left)
{
	struct part part;
	struct iovec vector = {&part, sizeof(part)};
	union control control;
	struct msghdr message = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got;

	do {
		got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (got == 0)
		return -EPIPE;
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (got != sizeof(part) || header == NULL || header->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(header), count * sizeof(int));
	*left = part.fds_left;
	/* Those that did not fit into our table of descriptors are lost. */
	if (!(message.msg_flags & MSG_CTRUNC))
		return (int)count;
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	return -EMFILE;
}

static json_t *read_document(int file)
{
	struct stat status;
	json_t *root = NULL;

	if (fstat(file, &status) < 0 || status.st_size == 0)
		return NULL;
	size_t size = (size_t)status.st_size;
	char *text = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
	if (text == MAP_FAILED)
		return NULL;
	root = json_loadb(text, size, 0, NULL);
	munmap(text, size);
	if (json_is_object(root))
		return root;
	json_decref(root);
	return NULL;
}

bool handover_read(struct handover *handover, int file)
{
	json_t *root = read_document(file);

	if (root == NULL)
		return false;
	json_decref(handover->root);
	handover->root = root;
	return true;
}

static int receive_all(int socket, struct handover *handover)
{
	int fds[FDS_A_MESSAGE];
	size_t left, expected;
	int count = receive_part(socket, fds, &left);

	if (count < 0)
		return count;
	bool is_document = count == 1 && handover_read(handover, fds[0]);
	for (int i = 0; i < count; i++)
		close(fds[i]);
	if (!is_document)
		return -EPROTO;
	for (expected = left; expected > 0; expected -= (size_t)count) {
		count = receive_part(socket, fds, &left);
		if (count < 0)
			return count;
		for (int i = 0; i < count; i++)
			handover_add_fd(handover, fds[i]);
		if (left != expected || count == 0 || (size_t)count > left)
			return -EPROTO;
	}
	return 0;
}

int handover_receive(int socket, struct handover *handover, struct error *error)
{
	handover->owned = true;
	int result = receive_all(socket, handover);

	switch (result) {
	case 0:
		return 0;
	case -EPIPE:
		return error_set(error, result, "the other process is gone");
	case -ETIMEDOUT:
		return error_set(error, result, "the other process does not answer");
	case -EMFILE:
		return error_set(error, result, "too many open files; raise LimitNOFILE");
	default:
		return error_set(error, result, "what came is not a state: %s", strerror(-result));
	}
}
