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
	/* Its descriptors, sockets of type SOCK_SEQPACKET. Requests are no pipe: who writes to one
	 * waits for a lock that the reader has while it copies into its memory, that is, for as
	 * long as the front end likes. */
	FETCHER_SOCKET = 0,
	FETCHER_REQUESTS = 1,
	FETCHER_VERSION = 1, /* of all of this: programs may be replaced one by one */
};

/* The first that it says: with the userfaultfd, if error is 0. */
struct fetcher_greeting {
	uint32_t version;
	int32_t error; /* or -errno */
};

/* On the first socket: map this much of the descriptor there, where touches are requests, or unmap
 * it. One that it cannot follow is its end. */
struct fetcher_order {
	uint32_t what; /* FETCHER_MAP, FETCHER_UNMAP */
	uint32_t unused;
	uint64_t address, size, file_offset;
};

enum { FETCHER_MAP = 1, FETCHER_UNMAP = 2 };

/* A page to be touched, on the second; and the same, on the first, when it has come or cannot. */
struct fetcher_page {
	uint64_t address;
	uint64_t order; /* number, from 1, of the order by which it was mapped */
};

/* Send `size` bytes and a descriptor (-1: none), or -errno. */
int fetcher_send(int socket, const void *data, size_t size, int fd, int flags);
/* Returns how many bytes there were, 0 at the end, or -errno. *fd is the caller's; -1: there was
 * none. */
ssize_t fetcher_receive(int socket, void *data, size_t size, int *fd, int flags);
