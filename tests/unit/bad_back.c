/* SPDX-License-Identifier: BSD-3-Clause */
#include "bad_back.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front.h"
#include "process.h"

/* What a good back end answers; false: nothing. */
static bool answer_well(struct bad_back *back, struct vhost_message *reply)
{
	struct vhost_message *message = &back->reader.message;
	const struct vhost_request_format *format = vhost_request_format(message->header.request);

	*reply = (struct vhost_message){.header = message->header, .payload = message->payload};
	reply->header.flags = VHOST_VERSION | VHOST_FLAG_REPLY;
	switch (message->header.request) {
	case VHOST_USER_GET_FEATURES:
		reply->payload.u64 = back->features;
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		reply->payload.u64 = back->protocol_features;
		break;
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		back->acks = message->payload.u64 & BIT(VL_PROTOCOL_F_REPLY_ACK);
		return false;
	case VHOST_USER_GET_QUEUE_NUM:
		reply->payload.u64 = 4;
		break;
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		reply->payload.u64 = SLOTS;
		break;
	case VHOST_USER_GET_STATUS:
		reply->payload.u64 = back->status;
		break;
	case VHOST_USER_SET_STATUS:
		back->status = message->payload.u64;
		reply->payload.u64 = 0;
		break;
	case VHOST_USER_SET_BACKEND_REQ_FD:
		back->channel = vhost_take_fd(message);
		reply->payload.u64 = 0;
		break;
	case VHOST_USER_GET_INFLIGHT_FD:
		reply->payload.inflight.mmap_size = 4096;
		/* Any file. */
		reply->fds[0] = STDIN_FILENO;
		reply->fd_count = 1;
		return true;
	case VHOST_USER_SET_INFLIGHT_FD:
		back->inflight = message->payload.inflight;
		reply->payload.u64 = 0;
		break;
	case VHOST_USER_GET_VRING_BASE:
	case VHOST_USER_GET_CONFIG:
		return true;
	default:
		reply->payload.u64 = 0;
	}
	reply->header.size = sizeof(uint64_t);
	return format->reply == VHOST_REPLY_PAYLOAD
	       || (back->acks && message->header.flags & VHOST_FLAG_NEED_REPLY);
}

void bad_back_say(int socket, const struct vhost_message *message)
{
	/* Not checked: the front end may be gone already. */
	(void)vhost_write(socket, message);
}

static void
say_bytes(struct bad_back *back, const struct vhost_message *reply, size_t count, int gap_ms)
{
	uint8_t bytes[sizeof(struct vhost_header) + sizeof(struct vhost_config)];
	size_t size = sizeof(reply->header) + reply->header.size;

	memcpy(bytes, &reply->header, sizeof(reply->header));
	memcpy(bytes + sizeof(reply->header), &reply->payload, reply->header.size);
	for (size_t i = 0; i < size && i < count; i++) {
		if (send(back->socket, &bytes[i], 1, MSG_NOSIGNAL) < 0)
			return;
		if (gap_ms > 0)
			(void)poll(NULL, 0, gap_ms);
	}
}

void bad_back_ask(struct bad_back *back, uint32_t request, uint32_t flags)
{
	struct vhost_message message = {.header = {request, VHOST_VERSION | flags, 0}};

	bad_back_say(back->channel, &message);
}

/* Wait for the front end's answer on our channel. */
static void hear_ack(struct bad_back *back)
{
	struct vhost_reader reader = {.size_limit = VHOST_PAYLOAD_MAX};
	struct pollfd readable = {.fd = back->channel, .events = POLLIN};
	const char *why = "";

	check(poll(&readable, 1, TIMEOUT_MS) == 1);
	check(vhost_read(&reader, back->channel, &why) == 1);
	check(reader.message.payload.u64 == 0);
}

static void flood(struct bad_back *back)
{
	struct pollfd hung_up = {.fd = back->socket};

	while (poll(&hung_up, 1, 0) == 0)
		bad_back_ask(back, HOST_NOTIFIER, 0);
}

/* False: hang up. */
static bool do_wrong(struct bad_back *back, struct vhost_message *reply)
{
	int fds[VHOST_FDS_MAX];

	for (unsigned i = 0; i < COUNT_OF(fds); i++)
		fds[i] = back->socket;
	switch (back->misdeed) {
	case SILENT:
		return true;
	case HANG_UP:
		return false;
	case CUT:
		say_bytes(back, reply, back->value, 0);
		return false;
	case TRICKLE:
		say_bytes(back, reply, SIZE_MAX, SHORT_MS / 4);
		return true;
	case WRONG_REQUEST:
		reply->header.request = reply->header.request == VHOST_USER_GET_QUEUE_NUM
						? VHOST_USER_GET_STATUS
						: VHOST_USER_GET_QUEUE_NUM;
		break;
	case UNKNOWN_REQUEST:
		reply->header.request = 0xdeadbeef;
		break;
	case NO_REPLY_FLAG:
		reply->header.flags = VHOST_VERSION;
		break;
	case EXTRA_FLAGS:
		reply->header.flags |= 1u << 31 | VHOST_FLAG_NEED_REPLY;
		break;
	case OTHER_VERSION:
		reply->header.flags = 2 | VHOST_FLAG_REPLY;
		break;
	case TOO_SHORT:
		reply->header.size -= reply->header.size > 20 ? 5 : 1;
		break;
	case TOO_LONG:
		reply->header.size += 4;
		break;
	case HUGE:
		reply->header.size = 8;
		say_bytes(back, reply, 8, 0);
		(void)send(back->socket, "\xff\xff\xff\xff", 4, MSG_NOSIGNAL);
		return true;
	case WITH_FDS:
		reply->fd_count = 2;
		memcpy(reply->fds, fds, sizeof(fds));
		break;
	case WITH_MANY_FDS:
		reply->fd_count = VHOST_FDS_MAX;
		memcpy(reply->fds, fds, sizeof(fds));
		break;
	case VALUE:
		reply->payload.u64 = back->value;
		break;
	case EMPTY:
		reply->header.size = 0;
		reply->fd_count = 0;
		break;
	case TWICE:
		bad_back_say(back->socket, reply);
		break;
	case UNASKED: {
		struct vhost_message other = *reply;

		other.header.request = VHOST_USER_RESET_OWNER;
		bad_back_say(back->socket, &other);
		break;
	}
	case ASK_FIRST:
		bad_back_ask(back, CONFIG_CHANGE, VHOST_FLAG_NEED_REPLY);
		hear_ack(back);
		break;
	case FLOOD:
		flood(back);
		return true;
	case GARBAGE:
		(void)send(back->channel, "0123456789abcdef", 16, MSG_NOSIGNAL);
		return true;
	case NONE:
		break;
	}
	bad_back_say(back->socket, reply);
	return true;
}

static void *serve(void *context)
{
	struct bad_back *back = context;
	bool goes_on = true;

	while (goes_on) {
		struct pollfd readable = {.fd = back->socket, .events = POLLIN};
		const char *why = "";

		check(poll(&readable, 1, TIMEOUT_MS) == 1);
		int got = vhost_read(&back->reader, back->socket, &why);
		if (got < 0)
			break;
		if (got == 0)
			continue;
		struct vhost_message reply;
		bool answers = answer_well(back, &reply);
		bool wrong = back->misdeed != NONE
			     && back->reader.message.header.request == back->request;

		if (wrong)
			goes_on = do_wrong(back, &reply);
		else if (answers)
			bad_back_say(back->socket, &reply);
	}
	vhost_reader_reset(&back->reader);
	close(back->socket);
	if (back->channel >= 0)
		close(back->channel);
	return NULL;
}

/* ---- a session with it ---- */

struct bad_back bad_back(uint32_t request, enum misdeed misdeed, uint64_t value)
{
	return (struct bad_back){
		.channel = -1,
		.request = request,
		.misdeed = misdeed,
		.value = value,
		.features = BIT(VL_F_VERSION_1) | BIT(VL_F_PROTOCOL_FEATURES),
		.protocol_features = UINT64_MAX,
		.reader.size_limit = VHOST_PAYLOAD_MAX,
	};
}

int bad_back_start(struct bad_back *back)
{
	int sockets[2];

	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
	back->socket = sockets[1];
	check(pthread_create(&back->thread, NULL, serve, back) == 0);
	return sockets[0];
}

int bad_back_begin(
	struct bad_back *back,
	int timeout_ms,
	struct frontend **front,
	char reason[FRONTEND_REASON_SIZE]
)
{
	int socket = bad_back_start(back);
	struct frontend_config config = {
		.socket = socket,
		.timeout_ms = timeout_ms,
		.protocol_wanted = UINT64_MAX,
	};
	int error = frontend_open(&config, front, reason);
	if (error < 0)
		close(socket);
	return error;
}

void bad_back_join(struct bad_back *back)
{
	pthread_join(back->thread, NULL);
}

void bad_back_end(struct bad_back *back, struct frontend *front)
{
	frontend_close(front);
	bad_back_join(back);
}

static int use_memory(struct frontend *front)
{
	static const struct vhost_region regions[2] = {{0, 4096, 0, 0}, {8192, 4096, 8192, 0}};
	int fds[2] = {0, 0};
	int error = frontend_set_memory(front, regions, fds, 1);

	if (error == 0)
		error = frontend_add_memory(front, &regions[1], fds[0]);
	return error < 0 ? error : frontend_remove_memory(front, &regions[1]);
}

static int use_device(struct frontend *front)
{
	uint8_t bytes[6] = {0}, status;
	int error = frontend_set_status(front, 3);

	if (error == 0)
		error = frontend_get_status(front, &status);
	if (error == 0)
		error = frontend_get_config(front, 0, sizeof(bytes), bytes);
	if (error == 0)
		error = frontend_set_config(front, 0, sizeof(bytes), bytes);
	return error < 0 ? error : frontend_set_mtu(front, 1500);
}

static int use_inflight(struct frontend *front)
{
	struct vhost_inflight inflight;
	int fd = -1, error = frontend_get_inflight(front, 2, 256, &inflight, &fd);

	if (error < 0) {
		assert_int_equal(fd, -1);
		return error;
	}
	error = frontend_set_inflight(front, &inflight, fd);
	close(fd);
	return error;
}

static int use_ring(struct frontend *front)
{
	struct frontend_ring ring = {.index = 1, .size = 256, .call_fd = -1};
	uint32_t base;
	int error = frontend_start_ring(front, &ring);

	if (error == 0)
		error = frontend_enable_ring(front, 1, true);
	return error < 0 ? error : frontend_stop_ring(front, 1, &base);
}

/* Every call there is, until one fails. */
static int use_all(struct frontend *front)
{
	static int (*const steps[]
	)(struct frontend * front) = {use_memory, use_device, use_inflight, use_ring};
	int error = frontend_set_features(front, BIT(VL_F_VERSION_1));

	for (unsigned i = 0; error == 0 && i < COUNT_OF(steps); i++)
		error = steps[i](front);
	return error < 0 ? error : frontend_process(front, NULL);
}

int bad_back_live(
	struct bad_back back, int timeout_ms, char reason[FRONTEND_REASON_SIZE], unsigned *slots
)
{
	unsigned descriptors = open_descriptors();
	struct frontend *front = NULL;
	int64_t start = now_ms();

	reason[0] = '\0';
	int error = bad_back_begin(&back, timeout_ms, &front, reason);
	if (error == 0) {
		if (slots != NULL)
			*slots = front->slots_max;
		error = use_all(front);
		(void)snprintf(reason, FRONTEND_REASON_SIZE, "%s", front->reason);
		bool is_lost = error == -EPROTO || error == -ECONNRESET || error == -ETIMEDOUT;
		assert_int_equal(front->failed, is_lost ? error : 0);
		/* It says so from then on, at once, and for the same reason. */
		if (is_lost) {
			assert_int_equal(frontend_set_mtu(front, 1500), error);
			assert_int_equal(frontend_process(front, NULL), error);
			assert_string_equal(front->reason, reason);
		}
	}
	assert_true(now_ms() - start < timeout_ms + SLACK_MS);
	bad_back_end(&back, front);
	assert_int_equal(open_descriptors(), descriptors);
	assert_int_equal(error == 0, reason[0] == '\0');
	return error;
}
