/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user session, back-end side: reads requests from a connected socket, checks their form,
 * hands their content to the device behind `ops`, and answers. It knows the protocol and nothing
 * of networking or rings.
 *
 * One thread uses a session. It never blocks on the socket: call backend_process() when the
 * socket is readable.
 */
#pragma once

#include <stdint.h>

#include "memory/memory.h"
#include "vhost/message.h"

/*
 * What a device does for its session. Each returns 0 or -errno and may say why with
 * backend_explain(). Descriptors that are handed over are the device's to close, also on failure.
 * Indices were checked against queue_count. Functions that may be NULL say so.
 */
struct backend_ops {
	uint64_t (*get_features)(void *device);
	int (*set_features)(void *device, uint64_t features);
	void (*reset)(void *device); /* RESET_DEVICE: all rings stopped, disabled, forgotten */
	/* Replace all regions; fds[i] belongs to requests[i] and stays the session's. */
	int (*set_memory
	)(void *device, const struct memory_region_request *requests, const int *fds, unsigned count
	);
	int (*add_memory)(void *device, const struct memory_region_request *request, int fd);
	int (*remove_memory)(void *device, const struct memory_region_request *request);
	/* Where writes are logged, in guest addresses; fd stays the session's. */
	int (*set_log)(void *device, const struct memory_region_request *request, int fd);
	int (*set_log_fd)(void *device, int fd); /* -1: none */
	int (*iotlb)(void *device, const struct vhost_iotlb_msg *message);
	/* Postcopy. *fd is the session's then. */
	int (*postcopy_advise)(void *device, int *fd);
	int (*postcopy_listen)(void *device);
	/* Where, in our address space, a touch of the region's first byte is a request; 0: none. */
	uint64_t (*postcopy_fault_address)(void *device, uint64_t guest_address);
	/* Requests are served from now on. */
	int (*postcopy_begin)(void *device);
	int (*postcopy_end)(void *device);
	/* *fd is the session's then. */
	int (*begin_transfer)(void *device, uint32_t direction, uint32_t phase, int *fd);
	int (*end_transfer)(void *device);
	/* A region for the queue_count rings of queue_size descriptors: sets the other fields, and
	 * *fd, which is the session's then. */
	int (*get_inflight)(void *device, struct vhost_inflight *layout, int *fd);
	/* fd stays the session's. */
	int (*set_inflight)(void *device, const struct vhost_inflight *layout, int fd);
	int (*set_vring_size)(void *device, unsigned index, uint32_t size);
	int (*set_vring_address
	)(void *device, unsigned index, const struct vhost_vring_addr *address);
	int (*set_vring_base)(void *device, unsigned index, uint32_t base);
	int (*stop_vring)(void *device, unsigned index, uint32_t *base);
	/* fd -1: none, poll (kick) or do not notify (call, err) */
	int (*set_vring_kick)(void *device, unsigned index, int fd); /* starts the ring */
	int (*set_vring_call)(void *device, unsigned index, int fd);
	int (*set_vring_err)(void *device, unsigned index, int fd);
	int (*enable_vring)(void *device, unsigned index, bool enable);
	int (*get_config)(void *device, uint32_t offset, uint32_t size, uint8_t *out);
	int (*set_config
	)(void *device, uint32_t offset, uint32_t size, const uint8_t *bytes, bool migration);
	int (*set_status)(void *device, uint8_t status);
	uint8_t (*get_status)(void *device);
	int (*set_mtu)(void *device, uint16_t mtu);
	int (*send_rarp)(void *device, const uint8_t mac[6]);
};

struct backend_config {
	const struct backend_ops *ops;
	void *device;
	unsigned queue_count;	    /* virtqueues, at most 256 */
	unsigned queue_num;	    /* answer to GET_QUEUE_NUM */
	uint64_t protocol_features; /* offered */
};

enum {
	BACKEND_REASON_SIZE = 256,
};

struct backend {
	struct backend_config config;
	int socket;		    /* owned */
	int request_fd;		    /* BACKEND_REQ channel, owned; -1: none */
	uint64_t protocol_features; /* negotiated */
	bool listens;		    /* between POSTCOPY_LISTEN and POSTCOPY_END */
	uint32_t last_request;	    /* number of the last complete message; 0: none */
	struct vhost_reader reader;
	char reason[BACKEND_REASON_SIZE]; /* why the session failed, or the last refusal */
};

/* Take over a connected stream socket. NULL: no memory (the socket stays the caller's). */
struct backend *backend_create(int socket, const struct backend_config *config);
/* Close the session's descriptors and free it; the device is left as it is. NULL is fine. */
void backend_destroy(struct backend *backend);

/*
 * Handle what the socket has, at most 64 messages. 0: wait for more. 1: there is more already.
 * -ECONNRESET: the peer hung up. Any other -errno: the session has to be closed; `reason` says
 * why, in words for people.
 */
int backend_process(struct backend *backend);

/* Tell the front end that the configuration space has changed, if it can be told. One that does
 * not read what it is told has that before it still. */
void backend_tell_config(struct backend *backend);

/* Ask for a translation; false: it cannot be asked. */
bool backend_tell_miss(struct backend *backend, const struct vhost_iotlb_msg *miss);

/* For ops: say why a request is refused, before returning an error. */
void backend_explain(struct backend *backend, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static inline bool backend_has(const struct backend *backend, unsigned feature)
{
	return (backend->protocol_features >> feature) & 1;
}
