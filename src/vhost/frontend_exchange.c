/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exchanges of a front-end session, see frontend.h: one request at a time, each with a deadline.
 *
 * The back end has two voices. On the session's socket it only ever answers: anything else there is
 * an error. On the channel that we gave it (SET_BACKEND_REQ_FD) it asks; it may do so while we wait
 * for its answer, and wait for ours before it gives its own, so the channel is served meanwhile.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vhost/frontend_internal.h"

enum {
	REQUESTS_A_CALL = 64, /* of the back end, so that it cannot keep us busy for ever */
};

static const struct frontend_answer answer_u64 = {sizeof(uint64_t), sizeof(uint64_t), 0};

/* ---- time ---- */

static int64_t now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int64_t frontend_deadline(int timeout_ms)
{
	return now() + timeout_ms * INT64_C(1000000);
}

int frontend_remaining(int64_t deadline)
{
	int64_t left = deadline - now();

	/* Not less than there is, or the last millisecond would be spent turning. */
	return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

static int wait_for(struct pollfd *fds, unsigned count, int64_t deadline)
{
	int ready;

	do {
		ready = poll(fds, count, frontend_remaining(deadline));
	} while (ready < 0 && errno == EINTR);
	return ready;
}

bool frontend_wait(int fd, int64_t deadline)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	return wait_for(&poll_fd, 1, deadline) > 0;
}

/* ---- errors ---- */

static void say(struct frontend *frontend, const char *format, va_list arguments)
{
	(void)vsnprintf(frontend->reason, sizeof(frontend->reason), format, arguments);
}

int frontend_explain(struct frontend *frontend, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(frontend, format, arguments);
	va_end(arguments);
	return error;
}

int frontend_fail(struct frontend *frontend, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(frontend, format, arguments);
	va_end(arguments);
	frontend->failed = error;
	return error;
}

static const char *request_name(uint32_t request)
{
	const char *name = vhost_request_name(request);

	return name == NULL ? "an unknown message" : name;
}

/* A socket's error that is no message of the back end's; `doing` is "before" or "after" `request`,
 * or request is 0. */
static int fail_socket(
	struct frontend *frontend, int error, const char *why, const char *when, uint32_t request
)
{
	const char *name = request == 0 ? "" : request_name(request);

	if (error == -ECONNRESET || error == -EPIPE)
		return frontend_fail(
			frontend,
			-ECONNRESET,
			"the back end hung up%s%s; its log may say why",
			when,
			name
		);
	if (error == -EPROTO)
		return frontend_fail(
			frontend, error, "the back end broke the protocol%s%s: %s", when, name, why
		);
	return frontend_fail(
		frontend, error, "the back end's socket%s%s: %s", when, name, strerror(-error)
	);
}

int frontend_begin(const struct frontend *frontend, int64_t *deadline)
{
	*deadline = frontend_deadline(frontend->timeout_ms);
	return frontend->failed;
}

/* ---- the back end's requests ---- */

void frontend_close_channel(struct frontend *frontend)
{
	if (frontend->request_fd < 0)
		return;
	vhost_reader_reset(&frontend->requests);
	close(frontend->request_fd);
	frontend->request_fd = -1;
}

static int fail_channel(struct frontend *frontend, const char *why)
{
	frontend_close_channel(frontend);
	return frontend_fail(
		frontend,
		-EPROTO,
		"the back end broke the protocol on its own channel (BACKEND_REQ): %s",
		why
	);
}

static int serve_request(struct frontend *frontend)
{
	struct vhost_header header = frontend->requests.message.header;

	/* Descriptors that came along are for requests that we refuse. */
	vhost_reader_reset(&frontend->requests);
	if (header.flags & VHOST_FLAG_REPLY)
		return fail_channel(frontend, "an answer to a question never asked");
	bool done = header.request == VHOST_BACKEND_CONFIG_CHANGE_MSG;
	frontend->config_changed |= done;
	if (!(header.flags & VHOST_FLAG_NEED_REPLY))
		return 0;
	struct vhost_message reply = {
		.header = {header.request, VHOST_VERSION | VHOST_FLAG_REPLY, sizeof(uint64_t)},
		.payload.u64 = done ? 0 : 1,
	};
	int error = vhost_write(frontend->request_fd, &reply);
	if (error == -EAGAIN)
		return fail_channel(frontend, "it does not read our replies");
	if (error < 0)
		frontend_close_channel(frontend);
	return 0;
}

int frontend_serve(struct frontend *frontend)
{
	for (unsigned i = 0; i < REQUESTS_A_CALL && frontend->request_fd >= 0; i++) {
		const char *why = "";
		int got = vhost_read(&frontend->requests, frontend->request_fd, &why);

		if (got == 0)
			return 0;
		if (got == -EPROTO)
			return fail_channel(frontend, why);
		/* A back end may close its end and go on without. */
		if (got < 0) {
			frontend_close_channel(frontend);
			return 0;
		}
		int error = serve_request(frontend);
		if (error < 0)
			return error;
	}
	return 0;
}

/* ---- our requests ---- */

int frontend_expect_silence(struct frontend *frontend)
{
	const char *why = "";
	int got = vhost_read(&frontend->answers, frontend->socket, &why);

	if (got < 0)
		return fail_socket(frontend, got, why, "", 0);
	if (got == 0)
		return 0;
	uint32_t request = frontend->answers.message.header.request;
	vhost_reader_reset(&frontend->answers);
	return frontend_fail(
		frontend,
		-EPROTO,
		"the back end answered a question never asked: %s (%u)",
		request_name(request),
		request
	);
}

/* The messages of a front end are all smaller than half of the smallest socket buffer, so the
 * kernel takes each whole or not at all, and one that it did not take can be sent again. */
int frontend_send(struct frontend *frontend, const struct vhost_message *message, int64_t deadline)
{
	uint32_t request = message->header.request;
	int error = frontend_expect_silence(frontend);

	while (error == 0) {
		struct pollfd writable = {.fd = frontend->socket, .events = POLLOUT};

		error = vhost_write(frontend->socket, message);
		if (error == 0)
			return 0;
		if (error == -EPIPE || error == -ECONNRESET)
			return fail_socket(frontend, error, "", " before ", request);
		if (error != -EAGAIN)
			return frontend_explain(
				frontend,
				error,
				"cannot send %s: %s",
				request_name(request),
				strerror(-error)
			);
		if (wait_for(&writable, 1, deadline) <= 0)
			return frontend_fail(
				frontend,
				-ETIMEDOUT,
				"the back end did not read %s within %d ms; it hangs, or is "
				"stopped",
				request_name(request),
				frontend->timeout_ms
			);
		error = 0;
	}
	return error;
}

/* Wait for the next complete message, and serve the other channel meanwhile. */
static int read_answer(struct frontend *frontend, uint32_t request, int64_t deadline)
{
	for (;;) {
		const char *why = "";
		int got = vhost_read(&frontend->answers, frontend->socket, &why);

		if (got < 0)
			return fail_socket(frontend, got, why, " after ", request);
		if (got > 0)
			return 0;
		struct pollfd fds[] = {
			{.fd = frontend->socket, .events = POLLIN},
			{.fd = frontend->request_fd, .events = POLLIN}, /* -1 is passed over */
		};
		int ready = wait_for(fds, 2, deadline);
		int error = fds[1].revents == 0 ? 0 : frontend_serve(frontend);
		if (error < 0)
			return error;
		/* Neither trickling bytes nor a flood of requests puts the end off. */
		if (ready <= 0 || frontend_remaining(deadline) == 0)
			return frontend_fail(
				frontend,
				-ETIMEDOUT,
				"the back end did not answer %s within %d ms; it hangs, or is "
				"stopped",
				request_name(request),
				frontend->timeout_ms
			);
	}
}

static int
check_answer(struct frontend *frontend, uint32_t request, const struct frontend_answer *answer)
{
	const struct vhost_message *message = &frontend->answers.message;
	const struct vhost_header *header = &message->header;
	const char *name = request_name(request);

	if (header->request != request)
		return frontend_fail(
			frontend,
			-EPROTO,
			"the back end answered %s with %s (%u)",
			name,
			request_name(header->request),
			header->request
		);
	if (header->flags != (VHOST_VERSION | VHOST_FLAG_REPLY))
		return frontend_fail(
			frontend,
			-EPROTO,
			"the back end answered %s with flags 0x%x instead of 0x%x",
			name,
			header->flags,
			VHOST_VERSION | VHOST_FLAG_REPLY
		);
	if (header->size < answer->size_min || header->size > answer->size_max)
		return frontend_fail(
			frontend,
			-EPROTO,
			"the back end answered %s with %u bytes instead of %u",
			name,
			header->size,
			header->size < answer->size_min ? answer->size_min : answer->size_max
		);
	if (message->fd_count > answer->fds_max)
		return frontend_fail(
			frontend,
			-EPROTO,
			"the back end answered %s with %u descriptors, of which it has at most %u",
			name,
			message->fd_count,
			answer->fds_max
		);
	return 0;
}

int frontend_ask(
	struct frontend *frontend,
	const struct vhost_message *message,
	const struct frontend_answer *answer,
	int64_t deadline
)
{
	uint32_t request = message->header.request;
	int error = frontend_send(frontend, message, deadline);

	if (error == 0)
		error = read_answer(frontend, request, deadline);
	if (error == 0) {
		error = check_answer(frontend, request, answer);
		/* Whatever descriptors came, nobody will take them. */
		if (error < 0)
			vhost_reader_reset(&frontend->answers);
	}
	return error;
}

int frontend_ask_u64(struct frontend *frontend, uint32_t request, uint64_t *value, int64_t deadline)
{
	struct vhost_message message = {.header = {request, VHOST_VERSION, 0}};
	int error = frontend_ask(frontend, &message, &answer_u64, deadline);

	if (error == 0)
		*value = frontend->answers.message.payload.u64;
	return error;
}

int frontend_request(
	struct frontend *frontend, const struct vhost_message *message, int64_t deadline
)
{
	uint64_t features;

	if (!frontend_has(frontend, VL_PROTOCOL_F_REPLY_ACK)) {
		int error = frontend_send(frontend, message, deadline);

		/* Messages are handled in order: who answers this has handled that. A refusal can
		 * only be a hang-up. */
		if (error < 0)
			return error;
		error = frontend_ask_u64(frontend, VHOST_USER_GET_FEATURES, &features, deadline);
		if (error == -ECONNRESET)
			return fail_socket(frontend, error, "", " after ", message->header.request);
		return error;
	}
	struct vhost_message asking = *message;
	asking.header.flags |= VHOST_FLAG_NEED_REPLY;
	int error = frontend_ask(frontend, &asking, &answer_u64, deadline);
	if (error < 0 || frontend->answers.message.payload.u64 == 0)
		return error;
	return frontend_explain(
		frontend,
		-EIO,
		"the back end refused %s; its log may say why",
		request_name(message->header.request)
	);
}

int frontend_request_u64(
	struct frontend *frontend, uint32_t request, uint64_t value, int64_t deadline
)
{
	struct vhost_message message = {
		.header = {request, VHOST_VERSION, sizeof(value)},
		.payload.u64 = value,
	};

	return frontend_request(frontend, &message, deadline);
}
