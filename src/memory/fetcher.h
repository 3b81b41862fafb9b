/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What arrivals.c and its fetcher say to each other. The fetcher (cmd/fetcher.c) is a process with
 * the memory of one guest and nothing else, because the front end can do as it likes with the
 * address space that a userfaultfd is of: give it a page where one is missing, or let any touch
 * wait. So nobody waits for what the fetcher does, and nothing that it says is believed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	/* Its descriptors. The socket is of type SOCK_SEQPACKET. */
	FETCHER_SOCKET = 0,
	FETCHER_REQUESTS = 1, /* a pipe */
};

/* The first that it says: with the userfaultfd, if error is 0. */
struct fetcher_greeting {
	int32_t error; /* or -errno */
};

/* Orders, on the socket. With a descriptor: map this much of it there, where touches are requests;
 * without one: unmap it. One that it cannot follow is its end. */
struct fetcher_order {
	uint64_t address, size, file_offset;
};

/* A page to be touched, on the pipe; and the same, on the socket, when it has come or cannot. */
struct fetcher_page {
	uint64_t address;
	uint64_t order; /* number, from 1, of the order by which it was mapped */
};

/* Send `size` bytes and a descriptor (-1: none), or -errno. */
int fetcher_send(int socket, const void *data, size_t size, int fd, int flags);
/* Returns how many bytes there were, 0 at the end, or -errno. *fd is the caller's; -1: there was
 * none. */
ssize_t fetcher_receive(int socket, void *data, size_t size, int *fd, int flags);
