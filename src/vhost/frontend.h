/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user session, front-end side: connects to a back end, agrees with it on features, shares
 * memory, starts and stops its rings. It knows the protocol and nothing of networking or rings.
 *
 * One thread uses a session. Every call but frontend_process() waits for the back end's answer, and
 * never longer than the session's timeout, which is counted once for the whole call.
 *
 * Errors, which all leave a sentence for people in `reason`:
 *   -EIO         the back end refused the request; the session goes on
 *   -ENOTSUP     the protocol feature for it was not negotiated; nothing was sent
 *   -EINVAL, -ENOSPC, -ENOMEM   our own mistake or limit; nothing was sent, unless said otherwise
 *   -EPROTO      it sent what it may not
 *   -ECONNRESET  it hung up
 *   -ETIMEDOUT   it did not answer, or did not read
 * The last three end the session: it stays as it is, and each later call returns the same error
 * with the same reason, until frontend_close().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vhost/message.h"

enum {
	FRONTEND_REASON_SIZE = 256,
	FRONTEND_TIMEOUT_MS = 5000, /* when the configuration says 0 */
	FRONTEND_QUEUES_MAX = 256,  /* a queue's index has eight bits in some messages */
	FRONTEND_SLOTS_MAX = 509,   /* memory regions; what a KVM guest can have */
};

struct frontend_config {
	const char *path;	  /* of the socket; may be longer than sockaddr_un allows */
	bool listen;		  /* wait on path for the back end to connect */
	int socket;		  /* > 0: is connected already, path and listen are not used */
	int timeout_ms;		  /* for a connection, and for each call; 0: FRONTEND_TIMEOUT_MS */
	uint64_t protocol_wanted; /* features to negotiate if offered; UINT64_MAX: all we speak */
};

/* The fields above the line are for reading by whoever has the session. */
struct frontend {
	int socket;	   /* owned */
	int request_fd;	   /* our end of the channel for the back end's requests; -1: none */
	int poll_fd;	   /* readable when frontend_process() has something to do */
	uint64_t offered;  /* GET_FEATURES, with bit 30 */
	uint64_t features; /* negotiated, with bit 30; 0 before frontend_set_features() */
	uint64_t protocol_features; /* negotiated */
	unsigned queue_num;	    /* GET_QUEUE_NUM, at most FRONTEND_QUEUES_MAX; without MQ 1 */
	unsigned slots_max;	    /* memory regions that can be shared at a time */
	unsigned region_count;	    /* that are shared */
	char reason[FRONTEND_REASON_SIZE]; /* why a call failed last; "" if none did */

	/* ---- the session's own ---- */
	int listener;		/* -1: we connected */
	char *path;		/* that the listener is bound to, to be removed; or NULL */
	uint64_t device, inode; /* of the socket file, to remove no other's */
	int timeout_ms;
	int failed;	     /* the error that ended the session; 0: it runs */
	bool config_changed; /* heard while waiting for an answer, not yet told */
	struct vhost_region regions[FRONTEND_SLOTS_MAX]; /* region_count of them */
	struct vhost_reader answers, requests;
};

static inline bool frontend_has(const struct frontend *frontend, unsigned protocol_feature)
{
	return (frontend->protocol_features >> protocol_feature) & 1;
}

/*
 * Connect, or wait for a connection; take ownership of the device and agree on protocol features
 * (SET_OWNER, GET_FEATURES, GET/SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_MAX_MEM_SLOTS,
 * SET_BACKEND_REQ_FD). On failure `reason` (may be NULL) gets the sentence, and config->socket is
 * still the caller's. Besides the errors above, those of connect(2), bind(2) and open(2).
 */
int frontend_open(
	const struct frontend_config *config,
	struct frontend **out,
	char reason[FRONTEND_REASON_SIZE]
);
/*
 * The same for a session that was opened before, whatever became of it: it is closed first. After a
 * failure it has failed, and can be opened again. config->socket is still the caller's then.
 */
int frontend_reopen(struct frontend *frontend, const struct frontend_config *config);
/* Hang up, close all descriptors, remove the socket that was listened on. NULL is fine. */
void frontend_close(struct frontend *frontend);

/* SET_FEATURES; bit 30 is added when the back end offered it. -EINVAL: some bit was not offered. */
int frontend_set_features(struct frontend *frontend, uint64_t features);

/* ---- memory; descriptors stay the caller's ---- */

/*
 * Share these regions and no others. With CONFIGURE_MEM_SLOTS regions that are shared already
 * stay, others are removed and added one by one (REM_MEM_REG, ADD_MEM_REG), and after a failure
 * some may have been; otherwise SET_MEM_TABLE replaces all, and a refusal leaves the old ones.
 * -ENOSPC: more than slots_max.
 */
int frontend_set_memory(
	struct frontend *frontend,
	const struct vhost_region *regions,
	const int *fds,
	unsigned count
);
/* Without disturbing the rings. -ENOTSUP without CONFIGURE_MEM_SLOTS; -ENOSPC: all slots are used.
 */
int frontend_add_memory(struct frontend *frontend, const struct vhost_region *region, int fd);
/* -EINVAL: there is no region of these addresses and size. */
int frontend_remove_memory(struct frontend *frontend, const struct vhost_region *region);

/* ---- rings ---- */

struct frontend_ring {
	unsigned index;
	uint32_t size; /* descriptors */
	uint32_t base; /* of SET_VRING_BASE: split: the next available index; packed: both halves */
	uint64_t desc, avail, used;   /* user addresses: descriptors, driver area, device area */
	int kick_fd, call_fd, err_fd; /* -1: none (poll, do not call). They stay the caller's. */
};
/* Size, base, addresses, call, err, and kick last: that starts it. */
int frontend_start_ring(struct frontend *frontend, const struct frontend_ring *ring);
/* Nothing is sent unless bit 30 was negotiated: without it rings are enabled by starting. */
int frontend_enable_ring(struct frontend *frontend, unsigned index, bool enable);
/* GET_VRING_BASE: when it returns 0 the back end uses the ring no more. base may be NULL. */
int frontend_stop_ring(struct frontend *frontend, unsigned index, uint32_t *base);

/* ---- device ---- */

/* -ENOTSUP without CONFIG; -EINVAL: beyond VHOST_CONFIG_MAX; -EIO: the back end has no such bytes.
 */
int frontend_get_config(struct frontend *frontend, uint32_t offset, uint32_t size, void *out);
int frontend_set_config(
	struct frontend *frontend, uint32_t offset, uint32_t size, const void *bytes
);
int frontend_set_mtu(struct frontend *frontend, uint16_t mtu); /* -ENOTSUP without MTU */
/* Without STATUS nothing is sent: 0, and *status is 0. */
int frontend_set_status(struct frontend *frontend, uint8_t status);
int frontend_get_status(struct frontend *frontend, uint8_t *status);

/* -ENOTSUP without INFLIGHT_SHMFD; -EIO: the back end has none to give. *fd is the caller's. */
int frontend_get_inflight(
	struct frontend *frontend,
	uint16_t queue_count,
	uint16_t queue_size,
	struct vhost_inflight *out,
	int *fd
);
int frontend_set_inflight(struct frontend *frontend, const struct vhost_inflight *inflight, int fd);

/*
 * Handle what the socket and the request channel have, never blocking: call it when poll_fd is
 * readable, and after other calls, which may have met a request while they waited. 0; or
 * -ECONNRESET, -EPROTO. *config_changed (may be NULL) is set to whether the device's configuration
 * has changed since the last call. What the back end asks for and we do not have is refused.
 */
int frontend_process(struct frontend *frontend, bool *config_changed);
