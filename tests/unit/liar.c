/* SPDX-License-Identifier: BSD-3-Clause */
/* See liar.h. */
#include "liar.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- answers ---- */

static struct liar_ring *ring_at(struct liar *liar, uint32_t index)
{
	static struct liar_ring nowhere;

	index &= VHOST_VRING_INDEX_MASK;
	return index < LIAR_RINGS_MAX ? &liar->rings[index] : &nowhere;
}

/* Take note of a request. True: it is answered by `reply`, else by a status if asked for. */
static bool note(struct liar *liar, struct vhost_message *message, struct vhost_message *reply)
{
	const union vhost_payload *said = &message->payload;
	struct vhost_vring_state state = said->state;

	reply->header.size = sizeof(uint64_t);
	switch (message->header.request) {
	case VHOST_USER_GET_FEATURES:
		reply->payload.u64 = liar->features;
		return true;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		reply->payload.u64 = liar->protocol_features;
		return true;
	case VHOST_USER_GET_QUEUE_NUM:
		reply->payload.u64 = liar->queue_num;
		return true;
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		reply->payload.u64 = liar->slots;
		return true;
	case VHOST_USER_GET_STATUS:
		reply->payload.u64 = liar->status;
		return true;
	case VHOST_USER_GET_CONFIG:
		reply->header.size = message->header.size;
		reply->payload.config = said->config;
		memcpy(reply->payload.config.bytes,
		       liar->config + said->config.offset,
		       said->config.size);
		return true;
	case VHOST_USER_GET_VRING_BASE:
		reply->payload.state = state;
		return true;
	case VHOST_USER_SET_STATUS:
		liar->status = (uint8_t)said->u64 & (uint8_t)~liar->status_refused;
		break;
	case VHOST_USER_SET_MEM_TABLE:
		liar->region_count = said->table.count;
		break;
	case VHOST_USER_ADD_MEM_REG:
		liar->region_count++;
		break;
	case VHOST_USER_SET_VRING_NUM:
		*ring_at(liar, state.index) =
			(struct liar_ring){.size = state.num, .used_wrap = true};
		break;
	case VHOST_USER_SET_VRING_BASE:
		ring_at(liar, state.index)->base = state.num;
		break;
	case VHOST_USER_SET_VRING_ENABLE:
		ring_at(liar, state.index)->enabled = state.num != 0;
		break;
	case VHOST_USER_SET_VRING_ADDR:
		ring_at(liar, said->address.index)->desc = said->address.desc_user_addr;
		ring_at(liar, said->address.index)->avail = said->address.avail_user_addr;
		ring_at(liar, said->address.index)->used = said->address.used_user_addr;
		break;
	case VHOST_USER_SET_BACKEND_REQ_FD:
		liar->request_fd = vhost_take_fd(message);
		break;
	default:
		break;
	}
	return false;
}

static void hang_up(struct liar *liar)
{
	(void)shutdown(liar->socket, SHUT_RDWR);
	liar->gone = true;
}

/* Change an answer; `due` if it is one. False: none is sent. */
static bool twist(struct liar *liar, struct vhost_message *reply, bool due)
{
	switch (liar->lie) {
	case LIE_HANG_UP:
		hang_up(liar);
		return false;
	case LIE_SILENT:
		liar->silent = true;
		return false;
	case LIE_OTHER_REQUEST:
		reply->header.request ^= 1;
		return true;
	case LIE_FLAGS:
		reply->header.flags = VHOST_VERSION;
		return true;
	case LIE_SHORT:
		reply->header.size /= 2;
		return due;
	case LIE_LONG:
		reply->header.size += 4;
		return due;
	case LIE_TWICE:
		if (due)
			(void)vhost_write(liar->socket, reply);
		return due;
	case LIE_REFUSE:
		reply->payload.u64 = 1;
		return due;
	default:
		return due;
	}
}

static void answer(struct liar *liar, struct vhost_message *message)
{
	struct vhost_message reply = {
		.header = {message->header.request, VHOST_VERSION | VHOST_FLAG_REPLY, 0}};
	bool lies = liar->lie_request != 0 ? message->header.request == liar->lie_request
					   : liar->messages == liar->lie_at;
	bool due = note(liar, message, &reply) || (message->header.flags & VHOST_FLAG_NEED_REPLY);

	liar->messages++;
	if (lies && liar->lie != LIE_NONE)
		due = twist(liar, &reply, due);
	if (due && !liar->silent && !liar->gone)
		(void)vhost_write(liar->socket, &reply);
}

static void *run(void *context)
{
	struct vhost_reader reader = {.size_limit = VHOST_PAYLOAD_MAX};
	struct liar *liar = context;
	int got = 0;

	while (!atomic_load(&liar->stop)) {
		struct pollfd fds[] = {
			{.fd = liar->wake_fd, .events = POLLIN},
			{.fd = got < 0 ? -1 : liar->socket, .events = POLLIN},
		};
		const char *why;

		(void)poll(fds, 2, -1);
		pthread_mutex_lock(&liar->lock);
		while (got >= 0 && (got = vhost_read(&reader, liar->socket, &why)) > 0)
			answer(liar, &reader.message);
		pthread_mutex_unlock(&liar->lock);
	}
	vhost_reader_reset(&reader);
	return NULL;
}

/* ---- life ---- */

static struct liar the_liar;

struct liar *liar_init(void)
{
	static const struct virtio_net_config {
		uint8_t mac[6];
		uint16_t status, pairs, mtu;
	} space = {{2, 0, 0, 0, 0, 1}, 1, 4, 1500};

	if (the_liar.is_open)
		liar_close(&the_liar);
	the_liar = (struct liar){
		.features = BIT(VL_F_VERSION_1) | BIT(VL_F_PROTOCOL_FEATURES)
			    | BIT(VL_F_RING_PACKED) | BIT(VL_F_IN_ORDER) | BIT(VL_F_EVENT_IDX)
			    | BIT(VL_F_INDIRECT_DESC) | BIT(VL_F_MRG_RXBUF) | BIT(VL_F_MAC)
			    | BIT(VL_F_STATUS) | BIT(VL_F_MTU) | BIT(VL_F_MQ),
		.protocol_features = BIT(VL_PROTOCOL_F_MQ) | BIT(VL_PROTOCOL_F_REPLY_ACK)
				     | BIT(VL_PROTOCOL_F_MTU) | BIT(VL_PROTOCOL_F_BACKEND_REQ)
				     | BIT(VL_PROTOCOL_F_CONFIG)
				     | BIT(VL_PROTOCOL_F_CONFIGURE_MEM_SLOTS)
				     | BIT(VL_PROTOCOL_F_STATUS),
		.queue_num = 4,
		.slots = 32,
		.timeout_ms = JOINT_TIMEOUT_MS,
		.request_fd = -1,
	};
	memcpy(the_liar.config, &space, sizeof(space));
	return &the_liar;
}

int liar_open(
	struct liar *liar,
	const struct joint_variant *variant,
	const struct vl_driver_config *wanted
)
{
	struct vl_driver_config config = {0};
	int ends[2];

	if (wanted != NULL)
		config = *wanted;
	joint_fill_config(&config, variant);
	config.timeout_ms = liar->timeout_ms;
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	liar->socket = ends[0];
	liar->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	check(pthread_mutex_init(&liar->lock, NULL) == 0);
	check(pthread_create(&liar->thread, NULL, run, liar) == 0);
	liar->is_open = true;
	config.socket = ends[1];
	int error = vl_driver_open(&config, &liar->driver, &liar->why);
	if (error < 0)
		check(close(ends[1]) == 0);
	return error;
}

void liar_close(struct liar *liar)
{
	uint64_t one = 1;

	vl_driver_close(liar->driver);
	atomic_store(&liar->stop, true);
	check(write(liar->wake_fd, &one, sizeof(one)) == sizeof(one));
	check(pthread_join(liar->thread, NULL) == 0);
	pthread_mutex_destroy(&liar->lock);
	close(liar->socket);
	close(liar->wake_fd);
	if (liar->request_fd >= 0)
		close(liar->request_fd);
	liar->is_open = false;
}

void liar_be_silent(struct liar *liar)
{
	pthread_mutex_lock(&liar->lock);
	liar->silent = true;
	pthread_mutex_unlock(&liar->lock);
}

void liar_hang_up(struct liar *liar)
{
	pthread_mutex_lock(&liar->lock);
	hang_up(liar);
	pthread_mutex_unlock(&liar->lock);
}

void liar_send(struct liar *liar, const struct vhost_message *message)
{
	check(vhost_write(liar->socket, message) == 0);
}

void liar_request(struct liar *liar, uint32_t request)
{
	struct vhost_message message = {.header = {request, VHOST_VERSION, 0}};

	check(vhost_write(liar->request_fd, &message) == 0);
}

/* ---- rings ---- */

void liar_use(struct liar *liar, unsigned index, uint32_t id, uint32_t length, uint16_t step)
{
	struct liar_ring *ring = &liar->rings[index];

	if (liar->driver->variant.packed) {
		struct vring_packed_desc *desc =
			&((struct vring_packed_desc *)(uintptr_t)ring->desc)[ring->used_next];
		uint16_t both = 1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED;

		desc->id = (uint16_t)id;
		desc->len = length;
		__atomic_store_n(&desc->flags, ring->used_wrap ? both : 0, __ATOMIC_RELEASE);
		if (ring->used_next + step >= ring->size)
			ring->used_wrap = !ring->used_wrap;
		ring->used_next = (uint16_t)((ring->used_next + step) & (ring->size - 1));
		return;
	}
	struct vring_used *used = (struct vring_used *)(uintptr_t)ring->used;
	used->ring[used->idx & (ring->size - 1)] = (struct vring_used_elem){id, length};
	__atomic_store_n(&used->idx, (uint16_t)(used->idx + step), __ATOMIC_RELEASE);
}

struct vl_net_header *liar_header(struct liar *liar, unsigned ring, uint32_t slot)
{
	/* The address is the first field of both kinds of descriptor. */
	const struct vring_desc *desc = (struct vring_desc *)(uintptr_t)liar->rings[ring].desc;

	return (struct vl_net_header *)(uintptr_t)desc[slot].addr;
}
