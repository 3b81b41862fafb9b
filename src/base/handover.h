/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * State and descriptors on their way from one process to the one that comes after it: a JSON
 * document, in which a descriptor is a number, its place in a list that goes along.
 *
 * One message is sent and received whole, over a Unix socket of type SOCK_SEQPACKET that both ends
 * use in blocking mode; the document itself is in a memory file, so its size has no limit.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct handover {
	json_t *root; /* an object */
	int *fds;
	bool owned; /* descriptors were received: those that nobody took are closed at the end */
	size_t fd_count, fd_room;
};

/* An empty document. */
void handover_init(struct handover *handover);
void handover_fini(struct handover *handover);

/* A descriptor's number in the document; null for -1. It stays the caller's. */
json_t *handover_put_fd(struct handover *handover, int fd);
/* The descriptor of a number: the caller's from now on. -1: null, or no such number (any more). */
int handover_take_fd(struct handover *handover, const json_t *number);

/* Bytes as text, and back: malloc()ed, *size is set; NULL: the value is not such a text. */
json_t *handover_put_bytes(const void *bytes, size_t size);
void *handover_get_bytes(const json_t *value, size_t *size);

/* The document alone, as text, which is free()d by the caller, and in a memory file, which is his,
 * too. NULL, -1: no memory. */
char *handover_text(const struct handover *handover);
int handover_write_text(const char *text);
/* The reverse, into an empty document; false: that is none. The file stays the caller's. */
bool handover_read(struct handover *handover, int file);
/* Append one that was received, or -1 in the place of one that got lost. */
void handover_add_fd(struct handover *handover, int fd);

/* 0, or -errno and an explanation. A receiver that has waited for the socket's SO_RCVTIMEO says
 * -ETIMEDOUT, one whose peer is gone -EPIPE. handover_receive() fills an empty document. */
int handover_send(int socket, const struct handover *handover, struct error *error);
int handover_receive(int socket, struct handover *handover, struct error *error);
