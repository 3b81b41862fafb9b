/* SPDX-License-Identifier: BSD-3-Clause */
/* What a front end asks of its back end once the session is open, see frontend.h: features, rings,
 * and the device itself. Memory is in frontend_memory.c. */
#include <errno.h>
#include <string.h>

#include "vhost/frontend_internal.h"

#define BIT(n) (UINT64_C(1) << (n))

/* -ENOTSUP if a protocol feature was not negotiated. */
static int need(struct frontend *frontend, unsigned feature)
{
	if (frontend_has(frontend, feature))
		return 0;
	return frontend_explain(
		frontend,
		-ENOTSUP,
		"the back end cannot do this: it does not offer the protocol feature %s",
		vl_protocol_feature_name(feature)
	);
}

int frontend_set_features(struct frontend *frontend, uint64_t features)
{
	int64_t deadline;
	int error = frontend_begin(frontend, &deadline);

	if (error < 0)
		return error;
	features |= frontend->offered & BIT(VL_F_PROTOCOL_FEATURES);
	uint64_t surplus = features & ~frontend->offered;
	if (surplus != 0) {
		unsigned bit = (unsigned)__builtin_ctzll(surplus);
		const char *name = vl_feature_name(bit);

		return frontend_explain(
			frontend,
			-EINVAL,
			"the back end does not offer feature %u (%s)",
			bit,
			name == NULL ? "unnamed" : name
		);
	}
	error = frontend_request_u64(frontend, VHOST_USER_SET_FEATURES, features, deadline);
	if (error == 0)
		frontend->features = features;
	return error;
}

/* ---- rings ---- */

static int set_state(
	struct frontend *frontend, uint32_t request, unsigned index, uint32_t num, int64_t deadline
)
{
	struct vhost_message message = {
		.header = {request, VHOST_VERSION, sizeof(message.payload.state)},
		.payload.state = {.index = index, .num = num},
	};

	return frontend_request(frontend, &message, deadline);
}

static int
set_address(struct frontend *frontend, const struct frontend_ring *ring, int64_t deadline)
{
	struct vhost_message message = {
		.header =
			{VHOST_USER_SET_VRING_ADDR, VHOST_VERSION, sizeof(message.payload.address)},
		.payload.address =
			{
				.index = ring->index,
				.desc_user_addr = ring->desc,
				.avail_user_addr = ring->avail,
				.used_user_addr = ring->used,
			},
	};

	return frontend_request(frontend, &message, deadline);
}

/* None is told as well: DPDK waits for a kick and a call, be it none, before it starts a ring. */
static int
set_fd(struct frontend *frontend, uint32_t request, unsigned index, int fd, int64_t deadline)
{
	struct vhost_message message = {
		.header = {request, VHOST_VERSION, sizeof(uint64_t)},
		.payload.u64 = index | (fd < 0 ? VHOST_VRING_NO_FD : 0),
		.fd_count = fd < 0 ? 0 : 1,
		.fds = {fd},
	};

	return frontend_request(frontend, &message, deadline);
}

static int check_index(struct frontend *frontend, unsigned index)
{
	if (index < FRONTEND_QUEUES_MAX)
		return 0;
	return frontend_explain(
		frontend,
		-EINVAL,
		"vhost-user has no virtqueue %u; the last one is %u",
		index,
		FRONTEND_QUEUES_MAX - 1
	);
}

static int begin_ring(struct frontend *frontend, unsigned index, int64_t *deadline)
{
	int error = frontend_begin(frontend, deadline);

	return error < 0 ? error : check_index(frontend, index);
}

int frontend_start_ring(struct frontend *frontend, const struct frontend_ring *ring)
{
	unsigned index = ring->index;
	int64_t deadline;
	int error = begin_ring(frontend, index, &deadline);

	if (error == 0)
		error = set_state(frontend, VHOST_USER_SET_VRING_NUM, index, ring->size, deadline);
	if (error == 0)
		error = set_state(frontend, VHOST_USER_SET_VRING_BASE, index, ring->base, deadline);
	if (error == 0)
		error = set_address(frontend, ring, deadline);
	if (error == 0)
		error = set_fd(frontend, VHOST_USER_SET_VRING_CALL, index, ring->call_fd, deadline);
	/* Some back ends know this one only with a descriptor. */
	if (error == 0 && ring->err_fd >= 0)
		error = set_fd(frontend, VHOST_USER_SET_VRING_ERR, index, ring->err_fd, deadline);
	if (error == 0)
		error = set_fd(frontend, VHOST_USER_SET_VRING_KICK, index, ring->kick_fd, deadline);
	return error;
}

int frontend_enable_ring(struct frontend *frontend, unsigned index, bool enable)
{
	int64_t deadline;
	int error = begin_ring(frontend, index, &deadline);

	if (error < 0 || !(frontend->features & BIT(VL_F_PROTOCOL_FEATURES)))
		return error;
	return set_state(frontend, VHOST_USER_SET_VRING_ENABLE, index, enable, deadline);
}

int frontend_stop_ring(struct frontend *frontend, unsigned index, uint32_t *base)
{
	static const struct frontend_answer answer = {
		sizeof(struct vhost_vring_state), sizeof(struct vhost_vring_state), 0};
	struct vhost_message message = {
		.header = {VHOST_USER_GET_VRING_BASE, VHOST_VERSION, sizeof(message.payload.state)},
		.payload.state.index = index,
	};
	int64_t deadline;
	int error = begin_ring(frontend, index, &deadline);

	if (error == 0)
		error = frontend_ask(frontend, &message, &answer, deadline);
	if (error < 0)
		return error;
	struct vhost_vring_state state = frontend->answers.message.payload.state;
	if (state.index != index)
		return frontend_fail(
			frontend,
			-EPROTO,
			"the back end answered GET_VRING_BASE of virtqueue %u with virtqueue %u",
			index,
			state.index
		);
	if (base != NULL)
		*base = state.num;
	return 0;
}

/* ---- configuration space ---- */

static int check_config(struct frontend *frontend, uint32_t offset, uint32_t size)
{
	if (size > 0 && offset < VHOST_CONFIG_MAX && size <= VHOST_CONFIG_MAX - offset)
		return 0;
	return frontend_explain(
		frontend,
		-EINVAL,
		"%u bytes at %u are not in the %u of the configuration space",
		size,
		offset,
		VHOST_CONFIG_MAX
	);
}

static int begin_config(
	struct frontend *frontend,
	uint32_t request,
	uint32_t offset,
	uint32_t size,
	struct vhost_message *message,
	int64_t *deadline
)
{
	int error = frontend_begin(frontend, deadline);

	if (error == 0)
		error = need(frontend, VL_PROTOCOL_F_CONFIG);
	if (error == 0)
		error = check_config(frontend, offset, size);
	*message = (struct vhost_message){
		.header = {request, VHOST_VERSION, VHOST_CONFIG_HEADER + size},
		.payload.config = {.offset = offset, .size = size},
	};
	return error;
}

int frontend_get_config(struct frontend *frontend, uint32_t offset, uint32_t size, void *out)
{
	struct frontend_answer answer = {0, VHOST_CONFIG_HEADER + size, 0};
	struct vhost_message message;
	int64_t deadline;
	int error =
		begin_config(frontend, VHOST_USER_GET_CONFIG, offset, size, &message, &deadline);

	if (error == 0)
		error = frontend_ask(frontend, &message, &answer, deadline);
	if (error < 0)
		return error;
	const struct vhost_header *header = &frontend->answers.message.header;
	const struct vhost_config *config = &frontend->answers.message.payload.config;
	/* "Zero length of payload" is an error, and some leave the header before it. */
	if (header->size == 0 || header->size == VHOST_CONFIG_HEADER || config->size == 0)
		return frontend_explain(
			frontend,
			-EIO,
			"the back end has no %u bytes at %u of its configuration space",
			size,
			offset
		);
	if (header->size != VHOST_CONFIG_HEADER + size || config->size != size)
		return frontend_fail(
			frontend,
			-EPROTO,
			"the back end answered GET_CONFIG of %u bytes with %u",
			size,
			config->size
		);
	memcpy(out, config->bytes, size);
	return 0;
}

int frontend_set_config(
	struct frontend *frontend, uint32_t offset, uint32_t size, const void *bytes
)
{
	struct vhost_message message;
	int64_t deadline;
	int error =
		begin_config(frontend, VHOST_USER_SET_CONFIG, offset, size, &message, &deadline);

	if (error < 0)
		return error;
	memcpy(message.payload.config.bytes, bytes, size);
	return frontend_request(frontend, &message, deadline);
}

/* ---- MTU and status ---- */

int frontend_set_mtu(struct frontend *frontend, uint16_t mtu)
{
	int64_t deadline;
	int error = frontend_begin(frontend, &deadline);

	if (error == 0)
		error = need(frontend, VL_PROTOCOL_F_MTU);
	if (error < 0)
		return error;
	return frontend_request_u64(frontend, VHOST_USER_NET_SET_MTU, mtu, deadline);
}

int frontend_set_status(struct frontend *frontend, uint8_t status)
{
	int64_t deadline;
	int error = frontend_begin(frontend, &deadline);

	if (error < 0 || !frontend_has(frontend, VL_PROTOCOL_F_STATUS))
		return error;
	return frontend_request_u64(frontend, VHOST_USER_SET_STATUS, status, deadline);
}

int frontend_get_status(struct frontend *frontend, uint8_t *status)
{
	uint64_t value = 0;
	int64_t deadline;
	int error = frontend_begin(frontend, &deadline);

	*status = 0;
	if (error == 0 && frontend_has(frontend, VL_PROTOCOL_F_STATUS))
		error = frontend_ask_u64(frontend, VHOST_USER_GET_STATUS, &value, deadline);
	if (error < 0)
		return error;
	if (value > UINT8_MAX)
		return frontend_fail(
			frontend,
			-EPROTO,
			"the back end answered GET_STATUS with 0x%llx, but a status has eight bits",
			(unsigned long long)value
		);
	*status = (uint8_t)value;
	return 0;
}

/* ---- what is in flight ---- */

int frontend_get_inflight(
	struct frontend *frontend,
	uint16_t queue_count,
	uint16_t queue_size,
	struct vhost_inflight *out,
	int *fd
)
{
	/* With or without the padding at the end. */
	static const struct frontend_answer answer = {20, sizeof(struct vhost_inflight), 1};
	struct vhost_message message = {
		.header =
			{VHOST_USER_GET_INFLIGHT_FD, VHOST_VERSION, sizeof(struct vhost_inflight)},
		.payload.inflight = {.queue_count = queue_count, .queue_size = queue_size},
	};
	int64_t deadline;
	int error = frontend_begin(frontend, &deadline);

	*fd = -1;
	if (error == 0)
		error = need(frontend, VL_PROTOCOL_F_INFLIGHT_SHMFD);
	if (error == 0)
		error = frontend_ask(frontend, &message, &answer, deadline);
	if (error < 0)
		return error;
	struct vhost_message *reply = &frontend->answers.message;
	uint64_t size = reply->payload.inflight.mmap_size;
	if (size == 0 || reply->fd_count == 0) {
		vhost_reader_reset(&frontend->answers);
		return frontend_explain(
			frontend, -EIO, "the back end has no in-flight region to give"
		);
	}
	*out = reply->payload.inflight;
	*fd = vhost_take_fd(reply);
	return 0;
}

int frontend_set_inflight(struct frontend *frontend, const struct vhost_inflight *inflight, int fd)
{
	struct vhost_message message = {
		.header =
			{VHOST_USER_SET_INFLIGHT_FD, VHOST_VERSION, sizeof(struct vhost_inflight)},
		/* Field by field: the padding of the caller's is nobody's business. */
		.payload.inflight =
			{
				.mmap_size = inflight->mmap_size,
				.mmap_offset = inflight->mmap_offset,
				.queue_count = inflight->queue_count,
				.queue_size = inflight->queue_size,
			},
		.fd_count = 1,
		.fds = {fd},
	};
	int64_t deadline;
	int error = frontend_begin(frontend, &deadline);

	if (error == 0)
		error = need(frontend, VL_PROTOCOL_F_INFLIGHT_SHMFD);
	return error < 0 ? error : frontend_request(frontend, &message, deadline);
}
