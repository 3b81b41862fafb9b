/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the front-end session share, see frontend.h: time, errors, and one exchange of
 * messages. */
#pragma once

#include "vhost/frontend.h"
#include "virtlane/features.h"

/* ---- time ---- */

/* A moment of CLOCK_MONOTONIC, in nanoseconds. */
int64_t frontend_deadline(int timeout_ms);
/* Milliseconds until then, rounded up; 0: it has passed. */
int frontend_remaining(int64_t deadline);
/* Whether a descriptor has become readable (or hung up) before the deadline. */
bool frontend_wait(int fd, int64_t deadline);

/* ---- errors; both return `error` ---- */

/* Say why a call fails. The session goes on. */
int frontend_explain(struct frontend *frontend, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Say why the session has failed; it does so for good. */
int frontend_fail(struct frontend *frontend, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- the connection ---- */

int frontend_connect(struct frontend *frontend, const char *path, int64_t deadline);
int frontend_accept(struct frontend *frontend, const char *path, int64_t deadline);
/* Stop listening, if we do, and remove the socket file. */
void frontend_unlisten(struct frontend *frontend);

/* ---- exchanges ---- */

/* Begin a call: whether the session still runs, and until when the call may take. */
int frontend_begin(const struct frontend *frontend, int64_t *deadline);
/* Send and be done. */
int frontend_send(struct frontend *frontend, const struct vhost_message *message, int64_t deadline);
/* Send, and know that it was done before returning: by the status that REPLY_ACK offers, or else
 * by the answer to a question behind it. -EIO: refused. */
int frontend_request(
	struct frontend *frontend, const struct vhost_message *message, int64_t deadline
);
int frontend_request_u64(
	struct frontend *frontend, uint32_t request, uint64_t value, int64_t deadline
);

/* What an answer has to look like. */
struct frontend_answer {
	uint32_t size_min, size_max; /* bytes of payload */
	unsigned fds_max;
};
/* Send a question. The answer is in frontend->answers.message until the next call. */
int frontend_ask(
	struct frontend *frontend,
	const struct vhost_message *message,
	const struct frontend_answer *answer,
	int64_t deadline
);
/* A question without payload that is answered by a u64. */
int frontend_ask_u64(
	struct frontend *frontend, uint32_t request, uint64_t *value, int64_t deadline
);

/* ---- what the back end says unasked ---- */

/* Handle what the channel for requests has; never blocks. */
int frontend_serve(struct frontend *frontend);
void frontend_close_channel(struct frontend *frontend);
/* -EPROTO or -ECONNRESET if the session's socket has anything but silence; never blocks. */
int frontend_expect_silence(struct frontend *frontend);
