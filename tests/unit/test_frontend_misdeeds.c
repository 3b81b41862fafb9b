/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front-end session against back ends that are broken or hostile. After each case: the right
 * error, a reason, no waiting beyond the timeout, no descriptor left.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bad_back.h"
#include "front.h"
#include "process.h"

static const struct {
	uint32_t request;
	bool is_question; /* answered by a payload of its own */
} requests[] = {
	{VHOST_USER_GET_FEATURES, true},	{VHOST_USER_GET_PROTOCOL_FEATURES, true},
	{VHOST_USER_GET_QUEUE_NUM, true},	{VHOST_USER_GET_MAX_MEM_SLOTS, true},
	{VHOST_USER_SET_BACKEND_REQ_FD, false}, {VHOST_USER_SET_FEATURES, false},
	{VHOST_USER_ADD_MEM_REG, false},	{VHOST_USER_REM_MEM_REG, false},
	{VHOST_USER_SET_STATUS, false},		{VHOST_USER_GET_STATUS, true},
	{VHOST_USER_GET_CONFIG, true},		{VHOST_USER_SET_CONFIG, false},
	{VHOST_USER_NET_SET_MTU, false},	{VHOST_USER_GET_INFLIGHT_FD, true},
	{VHOST_USER_SET_INFLIGHT_FD, false},	{VHOST_USER_SET_VRING_NUM, false},
	{VHOST_USER_SET_VRING_BASE, false},	{VHOST_USER_SET_VRING_ADDR, false},
	{VHOST_USER_SET_VRING_CALL, false},	{VHOST_USER_SET_VRING_ERR, false},
	{VHOST_USER_SET_VRING_KICK, false},	{VHOST_USER_SET_VRING_ENABLE, false},
	{VHOST_USER_GET_VRING_BASE, true},
};

/* The reason names the request that it happened with. */
static void try_each(enum misdeed misdeed, int timeout_ms, int expected)
{
	char reason[FRONTEND_REASON_SIZE];

	for (unsigned i = 0; i < COUNT_OF(requests); i++) {
		const char *name = vhost_request_name(requests[i].request);
		struct bad_back back = bad_back(requests[i].request, misdeed, 0);
		int error = bad_back_live(back, timeout_ms, reason, NULL);

		if (error != expected || strstr(reason, name) == NULL)
			fail_msg("%s: %d, \"%s\"", name, error, reason);
	}
}

static void a_good_back_end_is_used_to_the_end(void **)
{
	char reason[FRONTEND_REASON_SIZE];
	unsigned slots = 0;

	assert_int_equal(bad_back_live(bad_back(0, NONE, 0), TIMEOUT_MS, reason, &slots), 0);
	assert_int_equal(slots, SLOTS);
}

static void one_that_does_not_answer_is_given_up(void **)
{
	try_each(SILENT, SHORT_MS, -ETIMEDOUT);
}

static void one_that_hangs_up_is_noticed(void **)
{
	try_each(HANG_UP, TIMEOUT_MS, -ECONNRESET);
}

static void a_hang_up_after_any_byte_is_noticed(void **)
{
	char reason[FRONTEND_REASON_SIZE];

	for (uint64_t count = 1; count < 20; count++) {
		struct bad_back back = bad_back(VHOST_USER_GET_FEATURES, CUT, count);

		assert_int_equal(bad_back_live(back, TIMEOUT_MS, reason, NULL), -ECONNRESET);
	}
	for (uint64_t count = 1; count < 30; count++) {
		struct bad_back back = bad_back(VHOST_USER_GET_CONFIG, CUT, count);

		assert_int_equal(bad_back_live(back, TIMEOUT_MS, reason, NULL), -ECONNRESET);
	}
}

static void bytes_that_trickle_do_not_put_the_end_off(void **)
{
	char reason[FRONTEND_REASON_SIZE];

	struct bad_back back = bad_back(VHOST_USER_GET_FEATURES, TRICKLE, 0);
	assert_int_equal(bad_back_live(back, SHORT_MS, reason, NULL), -ETIMEDOUT);
	assert_non_null(strstr(reason, "did not answer GET_FEATURES within 20 ms"));
}

static void the_answer_to_something_else_is_none(void **)
{
	try_each(WRONG_REQUEST, TIMEOUT_MS, -EPROTO);
	try_each(UNKNOWN_REQUEST, TIMEOUT_MS, -EPROTO);
}

static void flags_have_to_be_right(void **)
{
	try_each(NO_REPLY_FLAG, TIMEOUT_MS, -EPROTO);
	try_each(EXTRA_FLAGS, TIMEOUT_MS, -EPROTO);
	try_each(OTHER_VERSION, TIMEOUT_MS, -EPROTO);
}

static void sizes_have_to_be_right(void **)
{
	try_each(TOO_SHORT, TIMEOUT_MS, -EPROTO);
	try_each(TOO_LONG, TIMEOUT_MS, -EPROTO);
	try_each(HUGE, TIMEOUT_MS, -EPROTO);
}

static void descriptors_that_nobody_takes_are_closed(void **)
{
	try_each(WITH_FDS, TIMEOUT_MS, -EPROTO);
	try_each(WITH_MANY_FDS, TIMEOUT_MS, -EPROTO);
}

static void an_answer_never_asked_for_is_an_error(void **)
{
	char reason[FRONTEND_REASON_SIZE];

	try_each(UNASKED, TIMEOUT_MS, -EPROTO);
	/* The second one is met by the next request, so the last one is left out. */
	for (unsigned i = 0; i + 1 < COUNT_OF(requests); i++) {
		struct bad_back back = bad_back(requests[i].request, TWICE, 0);

		assert_int_equal(bad_back_live(back, TIMEOUT_MS, reason, NULL), -EPROTO);
	}
	/* Nobody answers these two. */
	struct bad_back back = bad_back(VHOST_USER_SET_OWNER, VALUE, 0);
	assert_int_equal(bad_back_live(back, TIMEOUT_MS, reason, NULL), -EPROTO);
	back = bad_back(VHOST_USER_SET_PROTOCOL_FEATURES, VALUE, 0);
	assert_int_equal(bad_back_live(back, TIMEOUT_MS, reason, NULL), -EPROTO);
}

static void what_is_refused_is_refused_and_no_more(void **)
{
	char reason[FRONTEND_REASON_SIZE];

	for (unsigned i = 0; i < COUNT_OF(requests); i++) {
		struct bad_back back = bad_back(requests[i].request, VALUE, UINT64_MAX);

		/* Without its channel it can go on. */
		if (requests[i].is_question || requests[i].request == VHOST_USER_SET_BACKEND_REQ_FD)
			continue;
		assert_int_equal(bad_back_live(back, TIMEOUT_MS, reason, NULL), -EIO);
		assert_non_null(strstr(reason, "the back end refused "));
	}
}

static void numbers_that_cannot_be_are_errors(void **)
{
	static const struct {
		uint32_t request;
		uint64_t value;
		int error;
		unsigned slots;
	} cases[] = {
		{VHOST_USER_GET_QUEUE_NUM, 0, -EPROTO, 0},
		{VHOST_USER_GET_QUEUE_NUM, 65535, -EPROTO, 0},
		{VHOST_USER_GET_QUEUE_NUM, UINT64_MAX, -EPROTO, 0},
		{VHOST_USER_GET_QUEUE_NUM, UINT64_C(1) << 32, -EPROTO, 0},
		{VHOST_USER_GET_QUEUE_NUM, 32768, 0, SLOTS},
		{VHOST_USER_GET_MAX_MEM_SLOTS, 0, -EPROTO, 0},
		{VHOST_USER_GET_MAX_MEM_SLOTS, UINT64_MAX, 0, FRONTEND_SLOTS_MAX},
		{VHOST_USER_GET_MAX_MEM_SLOTS, UINT64_C(1) << 32, 0, FRONTEND_SLOTS_MAX},
		{VHOST_USER_GET_MAX_MEM_SLOTS, 1, -ENOSPC, 1},
		{VHOST_USER_GET_STATUS, 0x100, -EPROTO, SLOTS},
		{VHOST_USER_GET_STATUS, 0xff, 0, SLOTS},
		{VHOST_USER_GET_VRING_BASE, 0, -EPROTO, SLOTS}, /* of another virtqueue */
		{VHOST_USER_GET_INFLIGHT_FD, 0, -EIO, SLOTS},	/* a size of 0, but a file */
		{VHOST_USER_GET_FEATURES, 0, -EINVAL, 8},	/* not even VERSION_1 */
		{VHOST_USER_GET_FEATURES, BIT(VL_F_VERSION_1), -ENOTSUP, 8},
		{VHOST_USER_GET_PROTOCOL_FEATURES, 0, -ENOTSUP, 8},
	};
	char reason[FRONTEND_REASON_SIZE];

	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		struct bad_back back = bad_back(cases[i].request, VALUE, cases[i].value);
		unsigned slots = 0;
		int error = bad_back_live(back, TIMEOUT_MS, reason, &slots);

		if (error != cases[i].error || slots != cases[i].slots)
			fail_msg("case %u: %d, %u slots, \"%s\"", i, error, slots, reason);
	}
}

/* "Zero length of payload", or a header that says zero. */
static void a_configuration_space_that_is_not_there_is_no_catastrophe(void **)
{
	char reason[FRONTEND_REASON_SIZE];

	struct bad_back back = bad_back(VHOST_USER_GET_CONFIG, EMPTY, 0);
	assert_int_equal(bad_back_live(back, TIMEOUT_MS, reason, NULL), -EIO);
	back = bad_back(VHOST_USER_GET_CONFIG, VALUE, 0);
	assert_int_equal(bad_back_live(back, TIMEOUT_MS, reason, NULL), -EIO);
	back = bad_back(VHOST_USER_GET_CONFIG, VALUE, UINT64_C(7) << 32);
	assert_int_equal(bad_back_live(back, TIMEOUT_MS, reason, NULL), -EPROTO);
}

static void without_reply_ack_each_request_is_still_waited_for(void **)
{
	char reason[FRONTEND_REASON_SIZE];

	for (unsigned i = 5; i < COUNT_OF(requests); i++) {
		struct bad_back back = bad_back(requests[i].request, HANG_UP, 0);

		back.protocol_features = ~BIT(VL_PROTOCOL_F_REPLY_ACK);
		assert_int_equal(bad_back_live(back, TIMEOUT_MS, reason, NULL), -ECONNRESET);
		assert_non_null(strstr(reason, vhost_request_name(requests[i].request)));
	}
	struct bad_back back = bad_back(0, NONE, 0);
	back.protocol_features = ~BIT(VL_PROTOCOL_F_REPLY_ACK);
	assert_int_equal(bad_back_live(back, TIMEOUT_MS, reason, NULL), 0);
}

/* Its buffer fills up, since it reads nothing. */
static void one_that_does_not_read_is_given_up(void **)
{
	struct bad_back back = bad_back(0, NONE, 0);
	char reason[FRONTEND_REASON_SIZE];
	struct frontend *front;
	unsigned descriptors = open_descriptors();
	int sockets[2];

	assert_int_equal(bad_back_begin(&back, TIMEOUT_MS, &front, reason), 0);
	/* Behind its back the front end gets a socket whose other end is full. */
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
	while (send(sockets[0], "full", 4, MSG_DONTWAIT) == 4)
		;
	check(dup3(sockets[0], front->socket, O_CLOEXEC) >= 0);
	front->timeout_ms = SHORT_MS;
	assert_int_equal(frontend_set_mtu(front, 1500), -ETIMEDOUT);
	assert_non_null(strstr(front->reason, "did not read NET_SET_MTU within 20 ms"));
	bad_back_end(&back, front);
	close(sockets[0]);
	close(sockets[1]);
	assert_int_equal(open_descriptors(), descriptors);
}

/* ---- the back end's own requests ---- */

/* Both wait for each other, unless one does both at once. */
static void it_may_ask_before_it_answers(void **)
{
	struct bad_back back = bad_back(VHOST_USER_NET_SET_MTU, ASK_FIRST, 0);
	char reason[FRONTEND_REASON_SIZE];
	struct frontend *front;
	bool changed = true;

	assert_int_equal(bad_back_begin(&back, TIMEOUT_MS, &front, reason), 0);
	assert_int_equal(frontend_process(front, &changed), 0);
	assert_false(changed);
	assert_int_equal(frontend_set_mtu(front, 1500), 0);
	assert_int_equal(frontend_process(front, &changed), 0);
	assert_true(changed);
	assert_int_equal(frontend_process(front, &changed), 0);
	assert_false(changed);
	bad_back_end(&back, front);
}

static void a_flood_of_requests_does_not_put_the_end_off(void **)
{
	char reason[FRONTEND_REASON_SIZE];

	struct bad_back back = bad_back(VHOST_USER_NET_SET_MTU, FLOOD, 0);
	assert_int_equal(bad_back_live(back, SHORT_MS, reason, NULL), -ETIMEDOUT);
}

static void garbage_on_its_channel_is_an_error(void **)
{
	char reason[FRONTEND_REASON_SIZE];

	struct bad_back back = bad_back(VHOST_USER_NET_SET_MTU, GARBAGE, 0);
	assert_int_equal(bad_back_live(back, TIMEOUT_MS, reason, NULL), -EPROTO);
	assert_non_null(strstr(reason, "(BACKEND_REQ)"));
}

static bool is_readable(int fd)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};

	return poll(&readable, 1, 0) == 1;
}

static void its_requests_are_answered_if_it_asks_for_that(void **)
{
	static const struct {
		uint32_t request, flags;
		bool changes;
		int answer; /* -1: none */
	} cases[] = {
		{CONFIG_CHANGE, 0, true, -1},
		{CONFIG_CHANGE, VHOST_FLAG_NEED_REPLY, true, 0},
		{HOST_NOTIFIER, 0, false, -1},
		{HOST_NOTIFIER, VHOST_FLAG_NEED_REPLY, false, 1},
		{0, VHOST_FLAG_NEED_REPLY, false, 1},
		{1000, VHOST_FLAG_NEED_REPLY, false, 1},
		{1000, 0, false, -1},
	};
	struct bad_back back = bad_back(0, NONE, 0);
	char reason[FRONTEND_REASON_SIZE];
	struct frontend *front;
	unsigned before = open_descriptors();

	assert_int_equal(bad_back_begin(&back, TIMEOUT_MS, &front, reason), 0);
	unsigned descriptors = open_descriptors();
	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		struct vhost_reader reader = {.size_limit = VHOST_PAYLOAD_MAX};
		struct vhost_message message = {
			.header = {cases[i].request, VHOST_VERSION | cases[i].flags, i * 100},
			.fd_count = i,
		};
		const char *why = "";
		bool changed;

		assert_false(is_readable(front->poll_fd));
		assert_int_equal(vhost_write(back.channel, &message), 0);
		assert_true(is_readable(front->poll_fd));
		assert_int_equal(frontend_process(front, &changed), 0);
		assert_int_equal(changed, cases[i].changes);
		int got = vhost_read(&reader, back.channel, &why);
		assert_int_equal(got, cases[i].answer >= 0);
		if (got == 0)
			continue;
		assert_int_equal(reader.message.header.request, cases[i].request);
		assert_int_equal(reader.message.header.flags, VHOST_VERSION | VHOST_FLAG_REPLY);
		assert_int_equal(reader.message.header.size, 8);
		assert_int_equal(reader.message.payload.u64, cases[i].answer);
	}
	assert_int_equal(open_descriptors(), descriptors);
	bad_back_end(&back, front);
	assert_int_equal(open_descriptors(), before);
}

/* The session lives without. */
static void it_may_close_its_channel(void **)
{
	struct bad_back back = bad_back(0, NONE, 0);
	char reason[FRONTEND_REASON_SIZE];
	struct frontend *front;

	assert_int_equal(bad_back_begin(&back, TIMEOUT_MS, &front, reason), 0);
	shutdown(back.channel, SHUT_RDWR);
	assert_true(is_readable(front->poll_fd));
	assert_int_equal(frontend_process(front, NULL), 0);
	assert_int_equal(front->request_fd, -1);
	assert_false(is_readable(front->poll_fd));
	assert_int_equal(frontend_set_mtu(front, 1500), 0);
	bad_back_end(&back, front);
	/* Or not want it in the first place. */
	back = bad_back(VHOST_USER_SET_BACKEND_REQ_FD, VALUE, 1);
	assert_int_equal(bad_back_begin(&back, TIMEOUT_MS, &front, reason), 0);
	assert_int_equal(front->request_fd, -1);
	assert_string_equal(front->reason, "");
	assert_int_equal(frontend_set_mtu(front, 1500), 0);
	bad_back_end(&back, front);
}

/* What makes frontend_process() fail, written to one of the two sockets. */
static void expect_failure(bool on_channel, const struct vhost_message *message, const char *says)
{
	struct bad_back back = bad_back(0, NONE, 0);
	char reason[FRONTEND_REASON_SIZE];
	struct frontend *front;
	unsigned descriptors = open_descriptors();

	assert_int_equal(bad_back_begin(&back, TIMEOUT_MS, &front, reason), 0);
	assert_int_equal(vhost_write(on_channel ? back.channel : back.socket, message), 0);
	assert_true(is_readable(front->poll_fd));
	assert_int_equal(frontend_process(front, NULL), -EPROTO);
	assert_non_null(strstr(front->reason, says));
	bad_back_end(&back, front);
	assert_int_equal(open_descriptors(), descriptors);
}

static void what_it_says_unasked_ends_the_session(void **)
{
	static const uint32_t reply = VHOST_VERSION | VHOST_FLAG_REPLY;
	struct vhost_message message = {
		.header = {VHOST_USER_GET_CONFIG, reply, 20}, .fd_count = 3};

	expect_failure(false, &message, "never asked: GET_CONFIG (24)");
	expect_failure(true, &message, "an answer to a question never asked");
	message.header.flags = 0;
	expect_failure(false, &message, "not of vhost-user version 1");
	expect_failure(true, &message, "not of vhost-user version 1");
	message.header = (struct vhost_header){77, VHOST_VERSION, 300};
	expect_failure(false, &message, "too large");
	message.header.size = VHOST_PAYLOAD_MAX;
	message.header.flags |= VHOST_FLAG_REPLY;
	expect_failure(true, &message, "never asked");
}

/* It asks for answers and never reads one. */
static void answers_that_it_does_not_read_end_the_session(void **)
{
	struct bad_back back = bad_back(0, NONE, 0);
	char reason[FRONTEND_REASON_SIZE];
	struct frontend *front;
	int error = 0;

	assert_int_equal(bad_back_begin(&back, TIMEOUT_MS, &front, reason), 0);
	int channel = back.channel;
	for (unsigned i = 0; i < 100000 && error == 0; i++) {
		bad_back_ask(&back, HOST_NOTIFIER, VHOST_FLAG_NEED_REPLY);
		error = frontend_process(front, NULL);
	}
	assert_int_equal(error, -EPROTO);
	assert_non_null(strstr(front->reason, "does not read our replies"));
	assert_int_equal(channel, back.channel);
	bad_back_end(&back, front);
}

static void a_hang_up_between_requests_is_noticed(void **)
{
	struct bad_back back = bad_back(0, NONE, 0);
	char reason[FRONTEND_REASON_SIZE];
	struct frontend *front;

	assert_int_equal(bad_back_begin(&back, TIMEOUT_MS, &front, reason), 0);
	assert_int_equal(frontend_process(front, NULL), 0);
	shutdown(back.socket, SHUT_RDWR);
	assert_true(is_readable(front->poll_fd));
	assert_int_equal(frontend_process(front, NULL), -ECONNRESET);
	assert_string_equal(front->reason, "the back end hung up; its log may say why");
	bad_back_end(&back, front);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_back_end_is_used_to_the_end),
		cmocka_unit_test(one_that_does_not_answer_is_given_up),
		cmocka_unit_test(one_that_hangs_up_is_noticed),
		cmocka_unit_test(a_hang_up_after_any_byte_is_noticed),
		cmocka_unit_test(bytes_that_trickle_do_not_put_the_end_off),
		cmocka_unit_test(the_answer_to_something_else_is_none),
		cmocka_unit_test(flags_have_to_be_right),
		cmocka_unit_test(sizes_have_to_be_right),
		cmocka_unit_test(descriptors_that_nobody_takes_are_closed),
		cmocka_unit_test(an_answer_never_asked_for_is_an_error),
		cmocka_unit_test(what_is_refused_is_refused_and_no_more),
		cmocka_unit_test(numbers_that_cannot_be_are_errors),
		cmocka_unit_test(a_configuration_space_that_is_not_there_is_no_catastrophe),
		cmocka_unit_test(without_reply_ack_each_request_is_still_waited_for),
		cmocka_unit_test(one_that_does_not_read_is_given_up),
		cmocka_unit_test(it_may_ask_before_it_answers),
		cmocka_unit_test(a_flood_of_requests_does_not_put_the_end_off),
		cmocka_unit_test(garbage_on_its_channel_is_an_error),
		cmocka_unit_test(its_requests_are_answered_if_it_asks_for_that),
		cmocka_unit_test(it_may_close_its_channel),
		cmocka_unit_test(what_it_says_unasked_ends_the_session),
		cmocka_unit_test(answers_that_it_does_not_read_end_the_session),
		cmocka_unit_test(a_hang_up_between_requests_is_noticed),
	};

	return cmocka_run_group_tests_name("front-end session, misdeeds", tests, NULL, NULL);
}
