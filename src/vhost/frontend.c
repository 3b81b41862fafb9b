/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A front-end session from its opening to its end, see frontend.h. The order of messages is that of
 * QEMU and DPDK's virtio-user, the two that every back end has met.
 */
#include "vhost/frontend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost/frontend_internal.h"

enum {
	/* Pairs of a virtio-net device, 5.1.4.1; more is no answer to GET_QUEUE_NUM. */
	QUEUE_NUM_LEGAL = 0x8000,
	ANSWER_MAX = sizeof(struct vhost_config), /* the largest that is asked for */
};

#define BIT(n) (UINT64_C(1) << (n))

static const uint64_t spoken = BIT(VL_PROTOCOL_F_MQ) | BIT(VL_PROTOCOL_F_REPLY_ACK)
			       | BIT(VL_PROTOCOL_F_MTU) | BIT(VL_PROTOCOL_F_BACKEND_REQ)
			       | BIT(VL_PROTOCOL_F_CONFIG) | BIT(VL_PROTOCOL_F_INFLIGHT_SHMFD)
			       | BIT(VL_PROTOCOL_F_CONFIGURE_MEM_SLOTS) | BIT(VL_PROTOCOL_F_STATUS);

/* ---- negotiation ---- */

static int agree_on_protocol(struct frontend *frontend, uint64_t wanted, int64_t deadline)
{
	uint64_t offered = 0;
	int error =
		frontend_ask_u64(frontend, VHOST_USER_GET_PROTOCOL_FEATURES, &offered, deadline);

	if (error < 0)
		return error;
	struct vhost_message message = {
		.header = {VHOST_USER_SET_PROTOCOL_FEATURES, VHOST_VERSION, sizeof(uint64_t)},
		.payload.u64 = offered & wanted & spoken,
	};
	/* What it refuses of its own offer shows in the next answer. */
	error = frontend_send(frontend, &message, deadline);
	if (error == 0)
		frontend->protocol_features = message.payload.u64;
	return error;
}

static int ask_queue_num(struct frontend *frontend, int64_t deadline)
{
	uint64_t count = 0;
	int error = frontend_ask_u64(frontend, VHOST_USER_GET_QUEUE_NUM, &count, deadline);

	if (error < 0)
		return error;
	if (count == 0 || count > QUEUE_NUM_LEGAL)
		return frontend_fail(
			frontend,
			-EPROTO,
			"the back end says that it has %llu queues (GET_QUEUE_NUM)",
			(unsigned long long)count
		);
	frontend->queue_num =
		count < FRONTEND_QUEUES_MAX ? (unsigned)count : (unsigned)FRONTEND_QUEUES_MAX;
	return 0;
}

static int ask_slots(struct frontend *frontend, int64_t deadline)
{
	uint64_t count = 0;
	int error = frontend_ask_u64(frontend, VHOST_USER_GET_MAX_MEM_SLOTS, &count, deadline);

	if (error < 0)
		return error;
	if (count == 0)
		return frontend_fail(
			frontend,
			-EPROTO,
			"the back end says that it has no memory slots (GET_MAX_MEM_SLOTS)"
		);
	frontend->slots_max =
		count < FRONTEND_SLOTS_MAX ? (unsigned)count : (unsigned)FRONTEND_SLOTS_MAX;
	return 0;
}

static int watch(struct frontend *frontend, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	if (epoll_ctl(frontend->poll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return frontend_explain(
			frontend, -errno, "cannot watch the session: %s", strerror(errno)
		);
	return 0;
}

/* Give the back end a socket of its own for requests. One that does not want it after all goes
 * without. */
static int open_channel(struct frontend *frontend, int64_t deadline)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return frontend_explain(
			frontend, -errno, "cannot make a pair of sockets: %s", strerror(errno)
		);
	struct vhost_message message = {
		.header = {VHOST_USER_SET_BACKEND_REQ_FD, VHOST_VERSION, 0},
		.fd_count = 1,
		.fds = {ends[1]},
	};
	frontend->request_fd = ends[0];
	int error = watch(frontend, ends[0]);
	if (error == 0)
		error = frontend_request(frontend, &message, deadline);
	close(ends[1]);
	if (error == -EIO) {
		frontend_close_channel(frontend);
		frontend->reason[0] = '\0';
		error = 0;
	}
	return error;
}

static int negotiate(struct frontend *frontend, uint64_t protocol_wanted, int64_t deadline)
{
	struct vhost_message owner = {.header = {VHOST_USER_SET_OWNER, VHOST_VERSION, 0}};
	int error = frontend_send(frontend, &owner, deadline);

	if (error == 0)
		error = frontend_ask_u64(
			frontend, VHOST_USER_GET_FEATURES, &frontend->offered, deadline
		);
	if (error < 0 || !(frontend->offered & BIT(VL_F_PROTOCOL_FEATURES)))
		return error;
	error = agree_on_protocol(frontend, protocol_wanted, deadline);
	if (error == 0 && frontend_has(frontend, VL_PROTOCOL_F_MQ))
		error = ask_queue_num(frontend, deadline);
	if (error == 0 && frontend_has(frontend, VL_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		error = ask_slots(frontend, deadline);
	if (error == 0 && frontend_has(frontend, VL_PROTOCOL_F_BACKEND_REQ))
		error = open_channel(frontend, deadline);
	return error;
}

/* ---- life ---- */

static void init(struct frontend *frontend, const struct frontend_config *config)
{
	memset(frontend, 0, sizeof(*frontend));
	frontend->socket = -1;
	frontend->request_fd = -1;
	frontend->poll_fd = -1;
	frontend->listener = -1;
	frontend->queue_num = 1;
	frontend->slots_max = VHOST_TABLE_REGIONS_MAX;
	frontend->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : FRONTEND_TIMEOUT_MS;
	frontend->answers.size_limit = ANSWER_MAX;
	frontend->requests.size_limit = VHOST_PAYLOAD_MAX;
}

static int get_connection(struct frontend *frontend, const struct frontend_config *config)
{
	int64_t deadline = frontend_deadline(frontend->timeout_ms);

	if (config->socket > 0) {
		frontend->socket = config->socket;
		return 0;
	}
	if (config->listen)
		return frontend_accept(frontend, config->path, deadline);
	return frontend_connect(frontend, config->path, deadline);
}

static int open_session(struct frontend *frontend, const struct frontend_config *config)
{
	int error = get_connection(frontend, config);

	if (error < 0)
		return error;
	frontend->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (frontend->poll_fd < 0)
		return frontend_explain(
			frontend, -errno, "cannot watch the session: %s", strerror(errno)
		);
	error = watch(frontend, frontend->socket);
	/* Waiting for a connection does not count against the handshake. */
	int64_t deadline = frontend_deadline(frontend->timeout_ms);
	return error < 0 ? error : negotiate(frontend, config->protocol_wanted, deadline);
}

int frontend_open(
	const struct frontend_config *config,
	struct frontend **out,
	char reason[FRONTEND_REASON_SIZE]
)
{
	struct frontend *frontend = malloc(sizeof(*frontend));
	int error = -ENOMEM;

	if (frontend != NULL) {
		init(frontend, config);
		error = open_session(frontend, config);
	}
	*out = NULL;
	if (error == 0) {
		*out = frontend;
		return 0;
	}
	if (reason != NULL)
		(void)snprintf(
			reason,
			FRONTEND_REASON_SIZE,
			"%s",
			frontend == NULL ? "out of memory" : frontend->reason
		);
	/* A socket that was given to us is still the caller's. */
	if (frontend != NULL && config->socket > 0)
		frontend->socket = -1;
	frontend_close(frontend);
	return error;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void hang_up(struct frontend *frontend)
{
	vhost_reader_reset(&frontend->answers);
	vhost_reader_reset(&frontend->requests);
	close_fd(frontend->socket);
	close_fd(frontend->request_fd);
	close_fd(frontend->poll_fd);
}

void frontend_close(struct frontend *frontend)
{
	if (frontend == NULL)
		return;
	hang_up(frontend);
	frontend_unlisten(frontend);
	free(frontend);
}

int frontend_reopen(struct frontend *frontend, const struct frontend_config *config)
{
	const struct frontend old = *frontend;

	hang_up(frontend);
	init(frontend, config);
	/* The next back end may wait in the listening socket's queue already. */
	frontend->listener = old.listener;
	frontend->path = old.path;
	frontend->device = old.device;
	frontend->inode = old.inode;
	int error = open_session(frontend, config);
	if (error < 0 && config->socket > 0)
		frontend->socket = -1;
	if (error < 0)
		frontend->failed = error;
	return error;
}

int frontend_process(struct frontend *frontend, bool *config_changed)
{
	int error = frontend->failed;

	if (config_changed != NULL)
		*config_changed = false;
	if (error == 0)
		error = frontend_serve(frontend);
	if (error == 0)
		error = frontend_expect_silence(frontend);
	if (error == 0 && config_changed != NULL) {
		*config_changed = frontend->config_changed;
		frontend->config_changed = false;
	}
	return error;
}
