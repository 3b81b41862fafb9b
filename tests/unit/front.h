/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user front end for tests, in the same thread as the device it talks to: it writes a
 * message, lets vl_device_process() handle it, and reads the answer.
 *
 * front_open() goes all the way to started and enabled rings; a test that wants to stop on the way
 * takes the steps itself, beginning with front_attach().
 */
#pragma once

#include "guest.h"
#include "vhost/message.h"
#include "virtlane/device.h"

#define BIT(n) (UINT64_C(1) << (n))

enum {
	FRONT_RINGS_MAX = 9, /* four pairs and the control queue */
};

/* What the device has told its owner. */
struct front;
struct front_callbacks {
	/* What a data thread does while control waits for it; NULL: nothing. */
	void (*meanwhile)(struct front *front);
	unsigned synchronized, changed;
	int kick_fds[4]; /* of the first pairs; -1: none */
	int control_kick_fd;
	int attention_fd;
	unsigned announced;
	uint8_t announced_mac[6];
};

struct front_options {
	unsigned pairs;	    /* 0: 1 */
	uint32_t ring_size; /* 0: 256 */
	uint64_t features;  /* to negotiate; VERSION_1 comes by itself unless `legacy` */
	bool legacy;	    /* without VERSION_1 */
	bool control;	    /* start a control queue, too */
	uint32_t start;	    /* index (split) or slot (packed) at which the rings begin */
	struct vl_features withheld;
	void *record;			    /* vl_device_config.record */
	bool postcopy, iommu, device_state; /* of vl_device_config */
};

struct front {
	struct vl_device_config config;
	struct vl_device *device;
	int socket;
	struct guest guest;
	uint64_t features;	    /* negotiated, with bit 30 */
	uint64_t protocol_features; /* negotiated */
	unsigned ring_count;
	struct guest_ring rings[FRONT_RINGS_MAX];
	struct front_callbacks callbacks;
};

static const uint8_t front_mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
enum {
	FRONT_MTU = 1500,
};

/* ---- steps ---- */

/* Guest memory, device and connected session. */
void front_attach(struct front *front, const struct front_options *options);
/* Another session of the same device. */
void front_reattach(struct front *front);
/* Another device in the place of this one, and a session with it. */
void front_replace_device(struct front *front);
/* Detach, destroy, close everything. */
void front_close(struct front *front);

/* Owner, all protocol features that are offered, and the features. */
void front_negotiate(struct front *front, uint64_t features);
/* SET_MEM_TABLE with all regions; 0 or as front_request(). */
int front_share_memory(struct front *front);
/* Size, base, addresses, call, err and, last, kick of a virtqueue. */
void front_start_ring(struct front *front, unsigned index, const struct guest_ring *ring);
/* The same with a base of the test's choice. */
void front_start_ring_at(
	struct front *front, unsigned index, const struct guest_ring *ring, uint32_t base
);
/* GET_VRING_BASE. */
uint32_t front_stop_ring(struct front *front, unsigned index);
void front_enable_ring(struct front *front, unsigned index, bool enable);
/* Make the rings of `options` and start them. */
void front_start(struct front *front, const struct front_options *options);

/* All of the above. */
void front_open(struct front *front, const struct front_options *options);

/* ---- messages ---- */

/* Send a message as it is, with the header's flags, and process it. What vl_device_process() says.
 */
int front_send(struct front *front, const struct vhost_message *message);
/* The next reply; false: there is none. */
bool front_reply(struct front *front, struct vhost_message *reply);

/* A request that is answered by a status at most: 0 done, 1 refused (REPLY_ACK), or the error that
 * ended the session. */
int front_request(
	struct front *front,
	uint32_t request,
	const void *payload,
	uint32_t size,
	const int *fds,
	unsigned fd_count
);
int front_request_u64(struct front *front, uint32_t request, uint64_t value);
int front_request_state(struct front *front, uint32_t request, uint32_t index, uint32_t value);
int front_request_fd(struct front *front, uint32_t request, uint64_t value, int fd);
/* The u64 that a GET request is answered with. */
uint64_t front_get(struct front *front, uint32_t request);

/* ---- looks ---- */

struct vl_queue_status front_queue(const struct front *front, unsigned index);
struct vl_device_status front_status(const struct front *front);
