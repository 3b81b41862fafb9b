/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A back end that is broken or hostile: a thread that answers everything well, but for one request,
 * with which it does one thing wrong.
 */
#pragma once

#include <pthread.h>

#include "check.h"
#include "vhost/frontend.h"

enum {
	TIMEOUT_MS = 2000, /* where the back end is expected to answer */
	SHORT_MS = 20,	   /* where it is not */
	SLACK_MS = 1500,   /* a slow machine's */
	SLOTS = 12,

	/* The back end's own requests. */
	CONFIG_CHANGE = 2,
	HOST_NOTIFIER = 3,
};

enum misdeed {
	NONE,
	SILENT,
	HANG_UP,       /* instead of answering */
	CUT,	       /* `value` bytes of the answer, then a hang-up */
	TRICKLE,       /* byte by byte, and slower than the timeout */
	WRONG_REQUEST, /* the answer to something else */
	UNKNOWN_REQUEST,
	NO_REPLY_FLAG,
	EXTRA_FLAGS,
	OTHER_VERSION,
	TOO_SHORT,
	TOO_LONG, /* by a few bytes */
	HUGE,	  /* says it has 4 GiB */
	WITH_FDS,
	WITH_MANY_FDS,
	VALUE, /* first eight bytes of the payload are `value` */
	TWICE,
	UNASKED,   /* another answer before it */
	ASK_FIRST, /* a request of its own, and waits for our answer */
	FLOOD,	   /* requests of its own without end, and no answer */
	GARBAGE,   /* on its own channel */
	EMPTY,	   /* no payload at all */
};

struct bad_back {
	int socket, channel;
	uint32_t request; /* with which the misdeed happens */
	enum misdeed misdeed;
	uint64_t value;
	uint64_t features, protocol_features;
	bool acks;
	uint64_t status;		/* as the front end set it */
	struct vhost_inflight inflight; /* as it gave it back */
	struct vhost_reader reader;
	pthread_t thread;
};

struct bad_back bad_back(uint32_t request, enum misdeed misdeed, uint64_t value);
/* Start it; the front end's end of the socket, which is the caller's. Closing that ends it. */
int bad_back_start(struct bad_back *back);
void bad_back_join(struct bad_back *back);
/* Connect a front end with it: what frontend_open() says. */
int bad_back_begin(
	struct bad_back *back,
	int timeout_ms,
	struct frontend **front,
	char reason[FRONTEND_REASON_SIZE]
);
void bad_back_end(struct bad_back *back, struct frontend *front);
/* A session's whole life with this back end; what its first failing call said. *slots, unless NULL,
 * gets the memory slots that it offered. */
int bad_back_live(
	struct bad_back back, int timeout_ms, char reason[FRONTEND_REASON_SIZE], unsigned *slots
);
/* Send a message. */
void bad_back_say(int socket, const struct vhost_message *message);
/* Ask the front end something, on the back end's own channel. */
void bad_back_ask(struct bad_back *back, uint32_t request, uint32_t flags);
