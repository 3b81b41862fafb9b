/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A back end that lies, for a driver in the same process. A thread answers the session's messages,
 * honestly but for one of them; of the rings it only remembers where they are, and the test writes
 * to them what it likes: descriptors hold addresses of this process.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "joint.h"
#include "vhost/message.h"

enum {
	LIAR_RINGS_MAX = 9,
};

enum lie {
	LIE_NONE,
	LIE_HANG_UP,
	LIE_SILENT,	   /* from this message on */
	LIE_OTHER_REQUEST, /* an answer to something else, also where none is due */
	LIE_FLAGS,
	LIE_SHORT, /* half of the answer's payload */
	LIE_LONG,
	LIE_TWICE,  /* the same answer again */
	LIE_REFUSE, /* a status, or a number, of 1 */
	LIE_COUNT,
};

struct liar_ring {
	uint32_t size, base;
	uint64_t desc, avail, used; /* addresses */
	bool enabled;
	/* packed: where the next used descriptor belongs */
	uint16_t used_next;
	bool used_wrap;
};

struct liar {
	/* What it says; filled in by liar_init(), to be changed before liar_open(). */
	uint64_t features, protocol_features, queue_num, slots;
	uint8_t config[64];
	uint8_t status_refused; /* bits of the status that it does not take */
	enum lie lie;
	unsigned lie_at;      /* the number of the message, or */
	uint32_t lie_request; /* a request, if not 0 */
	int timeout_ms;	      /* the driver's */

	struct vl_driver *driver;
	struct vl_driver_error why;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	bool is_open, silent, gone;
	_Atomic bool stop;
	int socket, wake_fd, request_fd;
	unsigned messages;
	uint8_t status;
	unsigned region_count;
	struct liar_ring rings[LIAR_RINGS_MAX];
};

/* An honest one, with all features. There is one at a time. */
struct liar *liar_init(void);
/* Let a driver open; what vl_driver_open() says. variant may be NULL. liar_close() is to follow. */
int liar_open(
	struct liar *liar,
	const struct joint_variant *variant,
	const struct vl_driver_config *config
);
void liar_close(struct liar *liar);
/* From now on: no answers; hung up. */
void liar_be_silent(struct liar *liar);
void liar_hang_up(struct liar *liar);
/* Send bytes on the session's socket, or a request on its own channel. */
void liar_send(struct liar *liar, const struct vhost_message *message);
void liar_request(struct liar *liar, uint32_t request);

/* ---- rings ---- */

/* Use the chain of this id; the split index, or the packed position, moves by `step`. */
void liar_use(struct liar *liar, unsigned ring, uint32_t id, uint32_t length, uint16_t step);
/* Where the virtio-net header of the chain in a slot lies. */
struct vl_net_header *liar_header(struct liar *liar, unsigned ring, uint32_t slot);
