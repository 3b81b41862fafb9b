/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session as bytes on a socket: messages of any form, in pieces, cut off, and their replies.
 * After each case nothing may be left: no descriptor, no mapping of the peer's memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "process.h"
#include "traffic.h"

enum {
	REQUESTS_TRIED = 61, /* numbers 0 to 60 */
	HANDSHAKE_MAX = 40,
	HANDSHAKE_BYTES_MAX = 4096,
};

static const struct front_options one_pair = {0};

/* Write bytes with descriptors on the first of them. */
static void
send_bytes(int socket, const void *bytes, size_t size, const int *fds, unsigned fd_count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control = {0};
	struct iovec vector = {(void *)bytes, size};
	struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};

	if (fd_count > 0) {
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
	}
	check(sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size);
}

static int process(struct front *front)
{
	int result;

	do {
		result = vl_device_process(front->device);
	} while (result > 0);
	return result;
}

static size_t flatten(const struct vhost_message *message, uint8_t *out)
{
	memcpy(out, &message->header, sizeof(message->header));
	memcpy(out + sizeof(message->header), &message->payload, message->header.size);
	return sizeof(message->header) + message->header.size;
}

static void negotiate_acks(struct front *front)
{
	uint64_t features = BIT(VL_PROTOCOL_F_REPLY_ACK);

	check(front_request_u64(front, VHOST_USER_SET_PROTOCOL_FEATURES, features) == 0);
	front->protocol_features = features;
}

static void start_afresh(struct front *front)
{
	vl_device_detach(front->device);
	front_reattach(front);
}

/* ---- any form ---- */

struct form {
	uint32_t request, flags, size;
	unsigned fd_count;
	uint8_t fill;
};

/* The message, complete if it may be at all. The payload is sent as long as the header says. */
static void send_form(struct front *front, const struct form *form, const int *fds)
{
	uint8_t bytes[sizeof(struct vhost_header) + VHOST_PAYLOAD_MAX + 1];
	struct vhost_header header = {form->request, form->flags, form->size};
	size_t size = sizeof(header) + form->size;

	memset(bytes, form->fill, sizeof(bytes));
	memcpy(bytes, &header, sizeof(header));
	if (size > sizeof(bytes))
		size = sizeof(bytes);
	send_bytes(front->socket, bytes, size, fds, form->fd_count);
}

static void check_reply_form(struct front *front, const struct form *form)
{
	struct vhost_message reply;

	if (!front_reply(front, &reply))
		return;
	assert_int_equal(reply.header.request, form->request);
	assert_int_equal(reply.header.flags, VHOST_VERSION | VHOST_FLAG_REPLY);
	assert_int_equal(reply.fd_count, 0);
	assert_false(front_reply(front, &reply));
}

/* `descriptors` are open without a session. */
static void try_form(
	struct front *front,
	const struct form *form,
	const int *fds,
	bool acks,
	unsigned descriptors
)
{
	start_afresh(front);
	if (acks)
		negotiate_acks(front);
	send_form(front, form, fds);
	int result = process(front);
	if (result == 0)
		check_reply_form(front, form);
	else
		assert_string_not_equal(vl_device_reason(front->device), "");
	vl_device_detach(front->device);
	if (open_descriptors() != descriptors)
		fail_msg(
			"message %u of %u bytes with %u descriptors leaks",
			form->request,
			form->size,
			form->fd_count
		);
}

static void messages_of_any_form_leak_nothing(void **)
{
	static const uint32_t sizes[] = {
		0,  1,	4,  7,	8,   9,	  12,  16,   20,   24,
		26, 32, 40, 41, 264, 265, 268, 4096, 4097, UINT32_MAX,
	};
	static const unsigned fd_counts[] = {0, 1, 8, 9, 16, 17, 100};
	struct front front;
	int fds[100];

	front_attach(&front, &one_pair);
	for (unsigned i = 0; i < COUNT_OF(fds); i++)
		fds[i] = front.guest.regions[0].fd;
	vl_device_detach(front.device);
	unsigned descriptors = open_descriptors(), mappings = guest_mappings();
	for (uint32_t request = 0; request < REQUESTS_TRIED; request++) {
		for (unsigned s = 0; s < COUNT_OF(sizes); s++) {
			for (unsigned f = 0; f < COUNT_OF(fd_counts); f++) {
				unsigned mixed = request + s + f;
				struct form form = {
					.request = request,
					.flags = VHOST_VERSION
						 | (mixed % 2 ? VHOST_FLAG_NEED_REPLY : 0),
					.size = sizes[s],
					.fd_count = fd_counts[f],
					.fill = (uint8_t[]){0, 1, 0xff}[mixed % 3],
				};

				try_form(&front, &form, fds, mixed % 2, descriptors);
			}
		}
		assert_int_equal(guest_mappings(), mappings);
	}
	front_close(&front);
}

static void messages_of_another_version_end_the_session(void **)
{
	struct front front;

	front_attach(&front, &one_pair);
	for (uint32_t version = 0; version < 4; version++) {
		struct vhost_message message = {.header = {VHOST_USER_GET_FEATURES, version, 0}};

		start_afresh(&front);
		assert_int_equal(
			front_send(&front, &message), version == VHOST_VERSION ? 0 : -EPROTO
		);
	}
	front_close(&front);
}

/* ---- pieces ---- */

/* All that a front end says until a pair is up. */
struct handshake {
	unsigned count;
	struct vhost_message messages[HANDSHAKE_MAX];
};

static struct vhost_message *
say(struct handshake *handshake, uint32_t request, const void *payload, uint32_t size)
{
	struct vhost_message *message = &handshake->messages[handshake->count++];

	check(handshake->count <= HANDSHAKE_MAX);
	*message = (struct vhost_message){.header = {request, VHOST_VERSION, size}};
	if (size > 0)
		memcpy(&message->payload, payload, size);
	return message;
}

static void say_fd(struct handshake *handshake, uint32_t request, uint64_t value, int fd)
{
	struct vhost_message *message = say(handshake, request, &value, sizeof(value));

	message->fd_count = 1;
	message->fds[0] = fd;
}

static void say_ring(struct handshake *handshake, struct front *front, uint32_t index)
{
	const struct guest_ring *ring = &front->rings[index];
	struct vhost_vring_addr address = {
		.index = index,
		.desc_user_addr = guest_to_user(&front->guest, ring->desc_address),
		.avail_user_addr = guest_to_user(&front->guest, ring->driver_address),
		.used_user_addr = guest_to_user(&front->guest, ring->device_address),
	};
	struct vhost_vring_state size = {index, ring->size}, base = {index, 0}, on = {index, 1};

	say(handshake, VHOST_USER_SET_VRING_NUM, &size, sizeof(size));
	say(handshake, VHOST_USER_SET_VRING_BASE, &base, sizeof(base));
	say(handshake, VHOST_USER_SET_VRING_ADDR, &address, sizeof(address));
	say_fd(handshake, VHOST_USER_SET_VRING_CALL, index, ring->call_fd);
	say_fd(handshake, VHOST_USER_SET_VRING_ERR, index, ring->err_fd);
	say_fd(handshake, VHOST_USER_SET_VRING_KICK, index, ring->kick_fd);
	say(handshake, VHOST_USER_SET_VRING_ENABLE, &on, sizeof(on));
}

static void say_memory(struct handshake *handshake, struct front *front)
{
	struct vhost_mem_table table = {.count = front->guest.region_count};
	struct vhost_message *message = say(handshake, VHOST_USER_SET_MEM_TABLE, NULL, 0);

	for (unsigned i = 0; i < table.count; i++) {
		const struct guest_region *region = &front->guest.regions[i];

		table.regions[i] = (struct vhost_region
		){region->guest_address, region->size, region->user_address, 0};
		message->fds[message->fd_count++] = region->fd;
	}
	message->payload.table = table;
	message->header.size = (uint32_t)offsetof(struct vhost_mem_table, regions[table.count]);
}

static int request_socket; /* any will do */

static void make_handshake(struct handshake *handshake, struct front *front)
{
	static const struct guest_ring_options ring = {.size = 8, .start_wrap = true};
	uint64_t protocol = BIT(VL_PROTOCOL_F_MQ) | BIT(VL_PROTOCOL_F_BACKEND_REQ);
	uint64_t features = BIT(VL_F_VERSION_1) | BIT(VL_F_PROTOCOL_FEATURES);

	handshake->count = 0;
	for (unsigned i = 0; i < 2; i++)
		guest_ring_open(&front->rings[i], &front->guest, &ring);
	say(handshake, VHOST_USER_GET_FEATURES, NULL, 0);
	say(handshake, VHOST_USER_GET_PROTOCOL_FEATURES, NULL, 0);
	say(handshake, VHOST_USER_SET_PROTOCOL_FEATURES, &protocol, sizeof(protocol));
	say(handshake, VHOST_USER_GET_QUEUE_NUM, NULL, 0);
	say_fd(handshake, VHOST_USER_SET_BACKEND_REQ_FD, 0, request_socket);
	handshake->messages[handshake->count - 1].header.size = 0;
	say(handshake, VHOST_USER_SET_OWNER, NULL, 0);
	say(handshake, VHOST_USER_SET_FEATURES, &features, sizeof(features));
	say_memory(handshake, front);
	say_ring(handshake, front, 0);
	say_ring(handshake, front, 1);
}

static void check_is_up(struct front *front)
{
	uint8_t bytes[60] = {0x5a};
	struct vl_frame frame;

	front->features = BIT(VL_F_VERSION_1);
	assert_int_equal(vl_device_active_pairs(front->device), 1);
	traffic_send_plain(front, 1, bytes, sizeof(bytes));
	assert_int_equal(vl_device_borrow(front->device, 0, &frame, 1), 1);
	assert_int_equal(frame.head[0], 0x5a);
	vl_device_give_back(front->device, 0, 1);
}

static void a_handshake_may_come_byte_by_byte(void **)
{
	struct handshake handshake;
	struct front front;

	front_attach(&front, &one_pair);
	make_handshake(&handshake, &front);
	for (unsigned i = 0; i < handshake.count; i++) {
		const struct vhost_message *message = &handshake.messages[i];
		uint8_t bytes[sizeof(*message)];
		size_t size = flatten(message, bytes);

		for (size_t k = 0; k < size; k++) {
			send_bytes(
				front.socket,
				bytes + k,
				1,
				message->fds,
				k == 0 ? message->fd_count : 0
			);
			assert_int_equal(process(&front), 0);
		}
	}
	check_is_up(&front);
	front_close(&front);
}

static void a_handshake_may_come_at_once(void **)
{
	struct handshake handshake;
	struct front front;

	front_attach(&front, &one_pair);
	make_handshake(&handshake, &front);
	for (unsigned i = 0; i < handshake.count; i++)
		assert_int_equal(vhost_write(front.socket, &handshake.messages[i]), 0);
	assert_int_equal(process(&front), 0);
	check_is_up(&front);
	front_close(&front);
}

/* A new session, a message of its smallest form in pieces of `piece` bytes, and what came of it. */
static int ask_in_pieces(
	struct front *front,
	uint32_t request,
	unsigned fd_count,
	size_t piece,
	struct vhost_message *reply
)
{
	struct vhost_message message = {
		.header =
			{
				request,
				VHOST_VERSION | VHOST_FLAG_NEED_REPLY,
				vhost_request_format(request)->size_min,
			},
	};
	const int fd = front->guest.regions[0].fd;
	uint8_t bytes[sizeof(message)];
	size_t size = flatten(&message, bytes);
	int result = 0;

	start_afresh(front);
	negotiate_acks(front);
	for (size_t at = 0; at < size && result == 0; at += piece) {
		assert_false(front_reply(front, reply));
		send_bytes(
			front->socket,
			bytes + at,
			piece < size - at ? piece : size - at,
			&fd,
			at == 0 ? fd_count : 0
		);
		result = process(front);
	}
	memset(reply, 0, sizeof(*reply));
	(void)front_reply(front, reply);
	return result;
}

static void any_message_may_come_in_pieces(void **)
{
	static const size_t pieces[] = {1, 5, 11, 12, 13};
	struct vhost_message whole, other;
	struct front front;

	front_attach(&front, &one_pair);
	for (uint32_t request = 1; request < VHOST_REQUEST_COUNT; request++) {
		const struct vhost_request_format *format = vhost_request_format(request);

		for (unsigned fds = 0; fds < 2 && fds <= format->fds_max; fds++) {
			int result = ask_in_pieces(&front, request, fds, 65536, &whole);
			unsigned descriptors = open_descriptors();

			for (unsigned i = 0; i < COUNT_OF(pieces); i++) {
				assert_int_equal(
					ask_in_pieces(&front, request, fds, pieces[i], &other),
					result
				);
				assert_memory_equal(&other.header, &whole.header, 12);
				assert_memory_equal(
					&other.payload, &whole.payload, whole.header.size
				);
				assert_int_equal(open_descriptors(), descriptors);
			}
		}
	}
	front_close(&front);
}

/* Send the first `total` bytes of a handshake; false: it has no more. */
static bool send_part(struct front *front, const struct handshake *handshake, size_t total)
{
	for (unsigned i = 0; i < handshake->count; i++) {
		const struct vhost_message *message = &handshake->messages[i];
		uint8_t bytes[sizeof(*message)];
		size_t size = flatten(message, bytes);
		size_t piece = size < total ? size : total;

		if (piece == 0)
			return true;
		send_bytes(front->socket, bytes, piece, message->fds, message->fd_count);
		total -= piece;
	}
	return total == 0;
}

static void a_peer_may_go_after_any_byte(void **)
{
	struct handshake handshake;
	struct front front;
	bool more = true;

	front_attach(&front, &one_pair);
	make_handshake(&handshake, &front);
	vl_device_detach(front.device);
	close(front.socket);
	front.socket = -1;
	unsigned descriptors = open_descriptors(), mappings = guest_mappings();
	for (size_t total = 0; more; total++) {
		front_reattach(&front);
		more = send_part(&front, &handshake, total);
		if (total % 2)
			assert_int_equal(process(&front), 0);
		close(front.socket);
		front.socket = -1;
		int result = process(&front);
		/* A reply that nobody takes is as good an end. */
		assert_true(result == -ECONNRESET || result == -EPIPE);
		vl_device_detach(front.device);
		assert_int_equal(open_descriptors(), descriptors);
		assert_int_equal(guest_mappings(), mappings);
	}
	front.socket = dup(0);
	front_close(&front);
}

static void a_device_may_go_after_any_byte(void **)
{
	struct handshake handshake;
	bool more = true;

	for (size_t total = 0; more; total += 5) {
		unsigned descriptors = open_descriptors(), mappings = guest_mappings();
		struct front front;

		front_attach(&front, &one_pair);
		make_handshake(&handshake, &front);
		more = send_part(&front, &handshake, total);
		assert_int_equal(process(&front), 0);
		front_close(&front);
		assert_int_equal(open_descriptors(), descriptors);
		assert_int_equal(guest_mappings(), mappings);
	}
}

/* ---- replies ---- */

static void replies_have_the_specified_size_and_no_noise(void **)
{
	static const struct {
		uint32_t request, size, reply_size;
	} cases[] = {
		{VHOST_USER_GET_FEATURES, 0, 8},
		{VHOST_USER_GET_FEATURES, 8, 8},
		{VHOST_USER_GET_PROTOCOL_FEATURES, 0, 8},
		{VHOST_USER_GET_QUEUE_NUM, 0, 8},
		{VHOST_USER_GET_VRING_BASE, 8, 8},
		{VHOST_USER_GET_MAX_MEM_SLOTS, 0, 8},
		{VHOST_USER_GET_STATUS, 0, 8},
		{VHOST_USER_GET_CONFIG, 12, 12},
		{VHOST_USER_GET_INFLIGHT_FD, 20, 20},
		{VHOST_USER_GET_INFLIGHT_FD, 24, 24},
		{VHOST_USER_SET_LOG_BASE, 16, 8},
		{VHOST_USER_SET_DEVICE_STATE_FD, 8, 8},
		{VHOST_USER_CHECK_DEVICE_STATE, 0, 8},
		{VHOST_USER_GET_SHMEM_CONFIG, 0, 8 + 256 * 8},
		{VHOST_USER_GET_VRING_BASE_SKIP_DRAIN, 8, 8},
		{VHOST_USER_GET_SHARED_OBJECT, 16, 0},
	};
	struct front front;

	front_attach(&front, &one_pair);
	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		struct vhost_message message = {
			.header = {cases[i].request, VHOST_VERSION, cases[i].size}};
		struct vhost_message replies[2];

		/* Twice, with something else in between: what is left of that must not show. */
		for (unsigned k = 0; k < 2; k++) {
			struct vhost_message noise = {
				.header = {VHOST_USER_SET_CONFIG, VHOST_VERSION, 12}};

			assert_int_equal(front_send(&front, &message), 0);
			assert_true(front_reply(&front, &replies[k]));
			assert_int_equal(replies[k].header.request, cases[i].request);
			assert_int_equal(replies[k].header.flags, VHOST_VERSION | VHOST_FLAG_REPLY);
			assert_int_equal(replies[k].header.size, cases[i].reply_size);
			assert_int_equal(replies[k].fd_count, 0);
			memset(&noise.payload, 0xee, sizeof(noise.payload));
			noise.header.request = VHOST_USER_GET_CONFIG;
			noise.header.size = VHOST_CONFIG_HEADER + VHOST_CONFIG_MAX;
			assert_int_equal(front_send(&front, &noise), 0);
			assert_true(front_reply(&front, &noise));
		}
		assert_memory_equal(&replies[0].payload, &replies[1].payload, cases[i].reply_size);
	}
	front_close(&front);
}

static void a_peer_that_does_not_read_does_not_block_us(void **)
{
	struct vhost_message message = {.header = {VHOST_USER_GET_SHMEM_CONFIG, VHOST_VERSION, 0}};
	struct front front;
	int result = 0;

	front_attach(&front, &one_pair);
	for (unsigned i = 0; i < 10000 && result == 0; i++)
		result = front_send(&front, &message);
	assert_int_equal(result, -EAGAIN);
	assert_string_equal(
		vl_device_reason(front.device), "the front end does not read its replies"
	);
	front_close(&front);
}

/* ---- REPLY_ACK ---- */

static int send_flagged(struct front *front, uint32_t request, uint64_t value, uint32_t flags)
{
	struct vhost_message message = {
		.header = {request, VHOST_VERSION | flags, sizeof(value)},
		.payload.u64 = value,
	};

	return front_send(front, &message);
}

static void without_reply_ack_nothing_is_acknowledged(void **)
{
	struct vhost_message reply;
	struct front front;

	front_attach(&front, &one_pair);
	assert_int_equal(
		send_flagged(&front, VHOST_USER_NET_SET_MTU, 1500, VHOST_FLAG_NEED_REPLY), 0
	);
	assert_false(front_reply(&front, &reply));
	/* and what is refused ends the session */
	assert_int_equal(
		send_flagged(&front, VHOST_USER_NET_SET_MTU, 1, VHOST_FLAG_NEED_REPLY), -EINVAL
	);
	assert_false(front_reply(&front, &reply));
	front_close(&front);
}

static void the_message_that_negotiates_reply_ack_may_ask_for_one(void **)
{
	struct vhost_message reply;
	struct front front;

	front_attach(&front, &one_pair);
	assert_int_equal(
		send_flagged(
			&front,
			VHOST_USER_SET_PROTOCOL_FEATURES,
			BIT(VL_PROTOCOL_F_REPLY_ACK),
			VHOST_FLAG_NEED_REPLY
		),
		0
	);
	assert_true(front_reply(&front, &reply));
	assert_int_equal(reply.payload.u64, 0);
	front_close(&front);
}

static void with_reply_ack_who_asks_is_told(void **)
{
	struct vhost_message reply;
	struct front front;

	front_attach(&front, &one_pair);
	negotiate_acks(&front);
	assert_int_equal(send_flagged(&front, VHOST_USER_NET_SET_MTU, 1500, 0), 0);
	assert_false(front_reply(&front, &reply));
	for (uint64_t mtu = 67; mtu <= 68; mtu++) {
		assert_int_equal(
			send_flagged(&front, VHOST_USER_NET_SET_MTU, mtu, VHOST_FLAG_NEED_REPLY), 0
		);
		assert_true(front_reply(&front, &reply));
		assert_int_equal(reply.header.request, VHOST_USER_NET_SET_MTU);
		assert_int_equal(reply.header.size, 8);
		assert_int_equal(reply.payload.u64, mtu < 68);
	}
	/* Who has not asked cannot be told otherwise. */
	assert_int_equal(send_flagged(&front, VHOST_USER_NET_SET_MTU, 1, 0), -EINVAL);
	front_close(&front);
}

static void a_request_with_a_reply_of_its_own_gets_only_that(void **)
{
	struct vhost_message reply;
	struct front front;

	front_attach(&front, &one_pair);
	negotiate_acks(&front);
	assert_int_equal(
		send_flagged(&front, VHOST_USER_GET_FEATURES, 0, VHOST_FLAG_NEED_REPLY), 0
	);
	assert_true(front_reply(&front, &reply));
	assert_true(reply.payload.u64 & BIT(VL_F_VERSION_1));
	assert_false(front_reply(&front, &reply));
	front_close(&front);
}

static void what_is_unknown_or_unsupported_is_refused_and_the_session_goes_on(void **)
{
	static const uint32_t requests[] = {
		0,
		VHOST_USER_SET_VRING_ENDIAN,
		VHOST_USER_CLOSE_CRYPTO_SESSION,
		VHOST_USER_POSTCOPY_LISTEN,
		VHOST_USER_GPU_SET_SOCKET,
		VHOST_USER_VRING_KICK,
		46,
		1000,
		UINT32_MAX,
	};
	struct vhost_message reply;
	struct front front;

	front_attach(&front, &one_pair);
	for (unsigned i = 0; i < COUNT_OF(requests); i++) {
		start_afresh(&front);
		negotiate_acks(&front);
		assert_int_equal(send_flagged(&front, requests[i], 0, VHOST_FLAG_NEED_REPLY), 0);
		assert_true(front_reply(&front, &reply));
		assert_int_equal(reply.header.size, 8);
		assert_int_not_equal(reply.payload.u64, 0);
		assert_true(front_get(&front, VHOST_USER_GET_FEATURES) != 0);
		start_afresh(&front);
		assert_int_equal(
			send_flagged(&front, requests[i], 0, VHOST_FLAG_NEED_REPLY), -EOPNOTSUPP
		);
		assert_string_not_equal(vl_device_reason(front.device), "");
	}
	front_close(&front);
}

/* ---- the session and its device ---- */

static void a_device_has_one_session_at_a_time(void **)
{
	struct front front;
	int sockets[2];

	front_attach(&front, &one_pair);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	assert_int_equal(vl_device_attach(front.device, sockets[1]), -EBUSY);
	assert_true(fcntl(sockets[1], F_GETFD) >= 0); /* still ours */
	assert_true(front_get(&front, VHOST_USER_GET_FEATURES) != 0);
	vl_device_detach(front.device);
	assert_int_equal(vl_device_process(front.device), -ENOTCONN);
	assert_int_equal(vl_device_attach(front.device, sockets[1]), 0);
	close(sockets[0]);
	assert_int_equal(vl_device_process(front.device), -ECONNRESET);
	front_close(&front);
}

static void a_reason_outlives_its_session(void **)
{
	struct front front;

	front_attach(&front, &one_pair);
	assert_int_equal(send_flagged(&front, VHOST_USER_NET_SET_MTU, 1, 0), -EINVAL);
	vl_device_detach(front.device);
	assert_string_equal(vl_device_reason(front.device), "NET_SET_MTU: 1 is less than 68");
	front_reattach(&front);
	assert_string_equal(vl_device_reason(front.device), "");
	front_close(&front);
}

static void the_status_tells_what_was_negotiated(void **)
{
	struct front_options options = {.features = BIT(VL_F_MRG_RXBUF)};
	struct front front;

	front_open(&front, &options);
	struct vl_device_status status = front_status(&front);
	assert_true(status.attached);
	assert_int_equal(status.features.word[0], BIT(VL_F_MRG_RXBUF) | BIT(VL_F_VERSION_1));
	assert_int_equal(status.protocol_features, front.protocol_features);
	assert_string_equal(status.last_message, "SET_VRING_ENABLE");
	assert_int_equal(status.memory_regions, GUEST_REGION_COUNT);
	assert_int_equal(status.memory_size, GUEST_LOW_SIZE + GUEST_NEXT_SIZE + GUEST_HIGH_SIZE);
	assert_int_equal(status.queue_count, 3);
	assert_int_equal(status.pairs_up, 1);
	vl_device_detach(front.device);
	status = front_status(&front);
	assert_false(status.attached);
	assert_int_equal(status.features.word[0], 0);
	assert_int_equal(status.memory_regions, 0);
	assert_int_equal(status.pairs_up, 0);
	front_close(&front);
}

static void impossible_devices_are_not_made(void **)
{
	struct vl_device_config config = {.size = sizeof(config), .queue_pairs = 1};
	struct vl_device *device;

	assert_int_equal(vl_device_create(&config, &device), 0);
	vl_device_destroy(device);
	vl_device_destroy(NULL);
	config.queue_pairs = 0;
	assert_int_equal(vl_device_create(&config, &device), -EINVAL);
	config.queue_pairs = VL_QUEUE_PAIRS_MAX + 1;
	assert_int_equal(vl_device_create(&config, &device), -EINVAL);
	config.queue_pairs = VL_QUEUE_PAIRS_MAX;
	assert_int_equal(vl_device_create(&config, &device), 0);
	vl_device_destroy(device);
	config.size = 1;
	assert_int_equal(vl_device_create(&config, &device), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_of_any_form_leak_nothing),
		cmocka_unit_test(messages_of_another_version_end_the_session),
		cmocka_unit_test(a_handshake_may_come_byte_by_byte),
		cmocka_unit_test(a_handshake_may_come_at_once),
		cmocka_unit_test(any_message_may_come_in_pieces),
		cmocka_unit_test(a_peer_may_go_after_any_byte),
		cmocka_unit_test(a_device_may_go_after_any_byte),
		cmocka_unit_test(replies_have_the_specified_size_and_no_noise),
		cmocka_unit_test(a_peer_that_does_not_read_does_not_block_us),
		cmocka_unit_test(without_reply_ack_nothing_is_acknowledged),
		cmocka_unit_test(the_message_that_negotiates_reply_ack_may_ask_for_one),
		cmocka_unit_test(with_reply_ack_who_asks_is_told),
		cmocka_unit_test(a_request_with_a_reply_of_its_own_gets_only_that),
		cmocka_unit_test(what_is_unknown_or_unsupported_is_refused_and_the_session_goes_on),
		cmocka_unit_test(a_device_has_one_session_at_a_time),
		cmocka_unit_test(a_reason_outlives_its_session),
		cmocka_unit_test(the_status_tells_what_was_negotiated),
		cmocka_unit_test(impossible_devices_are_not_made),
	};

	request_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
