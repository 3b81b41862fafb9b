/* SPDX-License-Identifier: BSD-3-Clause */
/* The front end for tests, see front.h. */
#include "front.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

/* ---- what the device tells its owner ---- */

static void on_synchronize(void *context)
{
	struct front *front = context;

	front->callbacks.synchronized++;
	if (front->callbacks.meanwhile != NULL)
		front->callbacks.meanwhile(front);
}

static void on_queue_changed(void *context, unsigned)
{
	((struct front *)context)->callbacks.changed++;
}

static void on_kick_changed(void *context, unsigned pair, int old_fd, int new_fd)
{
	struct front_callbacks *callbacks = &((struct front *)context)->callbacks;

	if (pair >= COUNT_OF(callbacks->kick_fds))
		return;
	check(callbacks->kick_fds[pair] == old_fd);
	callbacks->kick_fds[pair] = new_fd;
}

static void on_control_kick_changed(void *context, int old_fd, int new_fd)
{
	struct front_callbacks *callbacks = &((struct front *)context)->callbacks;

	check(callbacks->control_kick_fd == old_fd);
	callbacks->control_kick_fd = new_fd;
}

static void on_attention_changed(void *context, int old_fd, int new_fd)
{
	struct front_callbacks *callbacks = &((struct front *)context)->callbacks;

	check(callbacks->attention_fd == old_fd);
	callbacks->attention_fd = new_fd;
}

static void on_announce(void *context, const uint8_t mac[6])
{
	struct front_callbacks *callbacks = &((struct front *)context)->callbacks;

	callbacks->announced++;
	memcpy(callbacks->announced_mac, mac, 6);
}

/* ---- life ---- */

void front_reattach(struct front *front)
{
	int sockets[2];

	if (front->socket >= 0)
		close(front->socket);
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
	front->socket = sockets[0];
	front->features = 0;
	front->protocol_features = 0;
	check(vl_device_attach(front->device, sockets[1]) == 0);
}

void front_attach(struct front *front, const struct front_options *options)
{
	struct vl_device_config config = {
		.size = sizeof(config),
		.record = options->record,
		.queue_pairs = options->pairs == 0 ? 1 : options->pairs,
		.mtu = FRONT_MTU,
		.withheld = options->withheld,
		.synchronize = on_synchronize,
		.queue_changed = on_queue_changed,
		.kick_changed = on_kick_changed,
		.control_kick_changed = on_control_kick_changed,
		.postcopy = options->postcopy,
		.iommu = options->iommu,
		.device_state = options->device_state,
		.attention_changed = on_attention_changed,
		.announce = on_announce,
		.context = front,
	};

	*front = (struct front){.socket = -1};
	memset(front->callbacks.kick_fds, -1, sizeof(front->callbacks.kick_fds));
	front->callbacks.control_kick_fd = -1;
	front->callbacks.attention_fd = -1;
	memcpy(config.mac, front_mac, sizeof(config.mac));
	guest_open(&front->guest);
	front->config = config;
	check(vl_device_create(&config, &front->device) == 0);
	front_reattach(front);
}

void front_replace_device(struct front *front)
{
	vl_device_destroy(front->device);
	check(vl_device_create(&front->config, &front->device) == 0);
	front_reattach(front);
}

void front_close(struct front *front)
{
	vl_device_destroy(front->device);
	close(front->socket);
	for (unsigned i = 0; i < COUNT_OF(front->rings); i++)
		guest_ring_close(&front->rings[i]);
	guest_close(&front->guest);
}

/* ---- messages ---- */

int front_send(struct front *front, const struct vhost_message *message)
{
	int result = vhost_write(front->socket, message);

	check(result == 0);
	do {
		result = vl_device_process(front->device);
	} while (result > 0);
	return result;
}

bool front_reply(struct front *front, struct vhost_message *reply)
{
	struct vhost_reader reader = {.size_limit = VHOST_PAYLOAD_MAX};
	const char *why = "";
	int got = vhost_read(&reader, front->socket, &why);

	if (got <= 0)
		return false;
	*reply = reader.message;
	return true;
}

int front_request(
	struct front *front,
	uint32_t request,
	const void *payload,
	uint32_t size,
	const int *fds,
	unsigned fd_count
)
{
	bool ack = (front->protocol_features >> VL_PROTOCOL_F_REPLY_ACK) & 1;
	struct vhost_message message = {
		.header = {request, VHOST_VERSION | (ack ? VHOST_FLAG_NEED_REPLY : 0), size},
		.fd_count = fd_count,
	};
	struct vhost_message reply;

	if (size > 0)
		memcpy(&message.payload, payload, size);
	if (fd_count > 0)
		memcpy(message.fds, fds, fd_count * sizeof(fds[0]));
	int result = front_send(front, &message);
	if (!ack || result < 0)
		return result;
	check(front_reply(front, &reply));
	assert_int_equal(reply.header.request, request);
	assert_int_equal(reply.header.size, sizeof(uint64_t));
	assert_int_equal(reply.fd_count, 0);
	return (int)reply.payload.u64;
}

int front_request_u64(struct front *front, uint32_t request, uint64_t value)
{
	return front_request(front, request, &value, sizeof(value), NULL, 0);
}

int front_request_state(struct front *front, uint32_t request, uint32_t index, uint32_t value)
{
	struct vhost_vring_state state = {index, value};

	return front_request(front, request, &state, sizeof(state), NULL, 0);
}

int front_request_fd(struct front *front, uint32_t request, uint64_t value, int fd)
{
	return front_request(front, request, &value, sizeof(value), &fd, fd >= 0 ? 1 : 0);
}

uint64_t front_get(struct front *front, uint32_t request)
{
	struct vhost_message message = {.header = {request, VHOST_VERSION, 0}};
	struct vhost_message reply;

	check(front_send(front, &message) == 0);
	check(front_reply(front, &reply));
	assert_int_equal(reply.header.size, sizeof(uint64_t));
	return reply.payload.u64;
}

/* ---- steps ---- */

void front_negotiate(struct front *front, uint64_t features)
{
	uint64_t offered = front_get(front, VHOST_USER_GET_FEATURES);

	features |= BIT(VL_F_PROTOCOL_FEATURES);
	assert_int_equal(features & ~offered, 0);
	uint64_t protocol_features = front_get(front, VHOST_USER_GET_PROTOCOL_FEATURES);
	check(front_request_u64(front, VHOST_USER_SET_PROTOCOL_FEATURES, protocol_features) == 0);
	front->protocol_features = protocol_features;
	check(front_request(front, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0) == 0);
	check(front_request_u64(front, VHOST_USER_SET_FEATURES, features) == 0);
	front->features = features;
}

int front_share_memory(struct front *front)
{
	struct vhost_mem_table table = {.count = front->guest.region_count};
	int fds[VHOST_TABLE_REGIONS_MAX];

	for (unsigned i = 0; i < table.count; i++) {
		const struct guest_region *region = &front->guest.regions[i];

		table.regions[i] = (struct vhost_region){
			.guest_address = region->guest_address,
			.size = region->size,
			.user_address = region->user_address,
		};
		fds[i] = region->fd;
	}
	return front_request(
		front,
		VHOST_USER_SET_MEM_TABLE,
		&table,
		(uint32_t)offsetof(struct vhost_mem_table, regions[table.count]),
		fds,
		table.count
	);
}

void front_start_ring_at(
	struct front *front, unsigned index, const struct guest_ring *ring, uint32_t base
)
{
	struct vhost_vring_addr address = {
		.index = index,
		.desc_user_addr = guest_to_user(&front->guest, ring->desc_address),
		.avail_user_addr = guest_to_user(&front->guest, ring->driver_address),
		.used_user_addr = guest_to_user(&front->guest, ring->device_address),
	};

	check(front_request_state(front, VHOST_USER_SET_VRING_NUM, index, ring->size) == 0);
	check(front_request_state(front, VHOST_USER_SET_VRING_BASE, index, base) == 0);
	check(front_request(front, VHOST_USER_SET_VRING_ADDR, &address, sizeof(address), NULL, 0)
	      == 0);
	check(front_request_fd(front, VHOST_USER_SET_VRING_CALL, index, ring->call_fd) == 0);
	check(front_request_fd(front, VHOST_USER_SET_VRING_ERR, index, ring->err_fd) == 0);
	check(front_request_fd(front, VHOST_USER_SET_VRING_KICK, index, ring->kick_fd) == 0);
}

void front_start_ring(struct front *front, unsigned index, const struct guest_ring *ring)
{
	uint32_t base = ring->next_avail;

	if (ring->packed) {
		base |= (uint32_t)ring->avail_wrap << 15;
		base |= base << 16;
	}
	front_start_ring_at(front, index, ring, base);
}

uint32_t front_stop_ring(struct front *front, unsigned index)
{
	struct vhost_message message = {
		.header = {VHOST_USER_GET_VRING_BASE, VHOST_VERSION, 8},
		.payload.state = {.index = index},
	};
	struct vhost_message reply;

	check(front_send(front, &message) == 0);
	check(front_reply(front, &reply));
	assert_int_equal(reply.header.size, sizeof(reply.payload.state));
	assert_int_equal(reply.payload.state.index, index);
	return reply.payload.state.num;
}

void front_enable_ring(struct front *front, unsigned index, bool enable)
{
	check(front_request_state(front, VHOST_USER_SET_VRING_ENABLE, index, enable) == 0);
}

void front_start(struct front *front, const struct front_options *options)
{
	unsigned pairs = options->pairs == 0 ? 1 : options->pairs;
	struct guest_ring_options ring = {
		.size = options->ring_size == 0 ? 256 : options->ring_size,
		.packed = options->features & BIT(VL_F_RING_PACKED),
		.event_idx = options->features & BIT(VL_F_EVENT_IDX),
		.start = options->start,
		.start_wrap = true,
	};

	front->ring_count = 2 * pairs + (options->control ? 1 : 0);
	check(front->ring_count <= FRONT_RINGS_MAX);
	for (unsigned i = 0; i < front->ring_count; i++) {
		guest_ring_open(&front->rings[i], &front->guest, &ring);
		front_start_ring(front, i, &front->rings[i]);
		front_enable_ring(front, i, true);
	}
}

void front_open(struct front *front, const struct front_options *options)
{
	uint64_t features = options->features;

	if (!options->legacy)
		features |= BIT(VL_F_VERSION_1);
	front_attach(front, options);
	front_negotiate(front, features);
	check(front_share_memory(front) == 0);
	front_start(front, options);
}

/* ---- looks ---- */

struct vl_queue_status front_queue(const struct front *front, unsigned index)
{
	struct vl_queue_status status;

	vl_device_queue_status(front->device, index, &status);
	return status;
}

struct vl_device_status front_status(const struct front *front)
{
	struct vl_device_status status;

	vl_device_status(front->device, &status);
	return status;
}
