/* SPDX-License-Identifier: BSD-3-Clause */
/* How a front-end session and its back end find each other: paths, sockets, and who waits. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "memory/arena.h"
#include "process.h"
#include "vhost/frontend.h"
#include "back.h"

enum {
	SHORT_MS = 40, /* of a back end that does not answer */
};

/* A directory of its own for each test, whose path is short or longer than a socket address. */
struct room {
	char directory[PATH_MAX], path[PATH_MAX];
	bool is_long;
};

static void room_open(struct room *room, bool is_long)
{
	static const char name[] = "/a-directory-with-a-name-that-is-quite-long-"
				   "but-still-one-that-a-user-may-choose-for-a-reason-of-theirs";
	char made[] = "/tmp/virtlane-test-XXXXXX";

	check(mkdtemp(made) != NULL);
	room->is_long = is_long;
	(void)snprintf(room->directory, sizeof(room->directory), "%s%s", made, is_long ? name : "");
	if (is_long)
		check(mkdir(room->directory, 0700) == 0);
	check(snprintf(room->path, sizeof(room->path), "%.200s/socket", room->directory) > 0);
	check((strlen(room->path) > 107) == is_long);
}

/* Fails if anything was left in it. */
static void room_close(struct room *room)
{
	check(rmdir(room->directory) == 0);
	if (room->is_long) {
		*strrchr(room->directory, '/') = '\0';
		check(rmdir(room->directory) == 0);
	}
}

static int listen_on(const char *path, int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check(strlen(path) < sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path));
	check(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	check(listen(fd, backlog) == 0);
	return fd;
}

static int open_at(const char *path, bool is_listening, struct frontend **front, char *reason)
{
	struct frontend_config config = {
		.path = path,
		.listen = is_listening,
		.timeout_ms = SHORT_MS,
		.protocol_wanted = UINT64_MAX,
	};

	reason[0] = '\0';
	return frontend_open(&config, front, reason);
}

static void expect_no_session(const char *path, bool is_listening, int error, const char *says)
{
	char reason[FRONTEND_REASON_SIZE];
	struct frontend *front;
	unsigned descriptors = open_descriptors();

	assert_int_equal(open_at(path, is_listening, &front, reason), error);
	assert_null(front);
	assert_non_null(strstr(reason, says));
	assert_int_equal(open_descriptors(), descriptors);
}

/* Our back end as the one that connects, also when the listener is not there yet. */
static void *connect_and_serve(void *context)
{
	struct room *room = context;
	struct back back;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int directory = open(room->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void
	)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/socket", directory);
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		check(errno == ENOENT || errno == ECONNREFUSED);
		(void)poll(NULL, 0, 1);
	}
	close(directory);
	back_start(&back, fd);
	back_stop(&back);
	return NULL;
}

static void a_back_end_connects(bool is_long)
{
	unsigned descriptors = open_descriptors();
	char reason[FRONTEND_REASON_SIZE];
	struct frontend *front;
	struct room room;
	pthread_t thread;

	room_open(&room, is_long);
	check(pthread_create(&thread, NULL, connect_and_serve, &room) == 0);
	assert_int_equal(open_at(room.path, true, &front, reason), 0);
	assert_int_equal(front->queue_num, 2);
	assert_int_equal(access(room.path, F_OK), 0);
	frontend_close(front);
	pthread_join(thread, NULL);
	room_close(&room);
	assert_int_equal(open_descriptors(), descriptors);
}

static void a_back_end_connects_to_us(void **)
{
	a_back_end_connects(false);
}

static void a_back_end_connects_to_us_by_a_long_path(void **)
{
	a_back_end_connects(true);
}

static void nobody_connects(void **)
{
	struct room room;

	room_open(&room, false);
	expect_no_session(room.path, true, -ETIMEDOUT, "no back end connected to");
	room_close(&room);
	room_open(&room, true);
	expect_no_session(room.path, true, -ETIMEDOUT, "within 40 ms");
	room_close(&room);
}

struct acceptor {
	int listener;
	struct back back;
};

static void *accept_and_serve(void *context)
{
	struct acceptor *acceptor = context;
	int fd = accept4(acceptor->listener, NULL, NULL, SOCK_CLOEXEC);

	check(fd >= 0);
	back_start(&acceptor->back, fd);
	back_stop(&acceptor->back);
	return NULL;
}

static void we_connect_to_a_back_end(void **)
{
	char reason[FRONTEND_REASON_SIZE];
	struct acceptor acceptor;
	struct frontend *front;
	struct room room;
	pthread_t thread;

	room_open(&room, false);
	acceptor.listener = listen_on(room.path, 1);
	check(pthread_create(&thread, NULL, accept_and_serve, &acceptor) == 0);
	assert_int_equal(open_at(room.path, false, &front, reason), 0);
	assert_int_equal(frontend_set_status(front, 1), 0);
	frontend_close(front);
	pthread_join(thread, NULL);
	close(acceptor.listener);
	/* It was not ours. */
	assert_int_equal(unlink(room.path), 0);
	room_close(&room);
}

static void a_connection_that_cannot_be_says_why(void **)
{
	char long_name[300];
	struct room room;

	room_open(&room, false);
	expect_no_session(room.path, false, -ENOENT, "does it listen there?");
	close(listen_on(room.path, 1));
	expect_no_session(room.path, false, -ECONNREFUSED, "start it again");
	unlink(room.path);
	expect_no_session("", false, -EINVAL, "give the path");
	expect_no_session(NULL, false, -EINVAL, "give the path");
	memset(long_name, 'x', sizeof(long_name));
	long_name[120] = '\0';
	expect_no_session(long_name, false, -ENAMETOOLONG, "use at most 80");
	memset(long_name + 100, '/', 20);
	expect_no_session(long_name, false, -ENOENT, "cannot open xxx");
	room_close(&room);
}

/* Its queue takes the first two, and then nobody any more. */
static void a_back_end_that_does_not_accept_is_given_up(void **)
{
	struct room room;

	room_open(&room, false);
	int listener = listen_on(room.path, 0);
	expect_no_session(room.path, false, -ETIMEDOUT, "did not answer GET_FEATURES");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, room.path, sizeof(address.sun_path) - 1);
	int waiting[2];
	for (unsigned i = 0; i < COUNT_OF(waiting); i++) {
		waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(waiting[i], (struct sockaddr *)&address, sizeof(address));
	}
	expect_no_session(room.path, false, -ETIMEDOUT, "accepts no connections");
	for (unsigned i = 0; i < COUNT_OF(waiting); i++)
		close(waiting[i]);
	close(listener);
	unlink(room.path);
	room_close(&room);
}

static void a_stale_socket_is_taken_over(void **)
{
	struct room room;

	room_open(&room, false);
	close(listen_on(room.path, 1));
	expect_no_session(room.path, true, -ETIMEDOUT, "no back end connected");
	room_close(&room);
}

static void a_socket_in_use_is_not(void **)
{
	struct room room;

	room_open(&room, false);
	int listener = listen_on(room.path, 0);
	/* The second time its queue is full: still in use. */
	expect_no_session(room.path, true, -EADDRINUSE, "is in use");
	expect_no_session(room.path, true, -EADDRINUSE, "is in use");
	expect_no_session(room.path, true, -EADDRINUSE, "is in use");
	close(listener);
	assert_int_equal(unlink(room.path), 0);
	close(open(room.path, O_CREAT | O_CLOEXEC, 0600));
	expect_no_session(room.path, true, -EEXIST, "is no socket");
	assert_int_equal(unlink(room.path), 0);
	room_close(&room);
}

/* Somebody has removed our socket and made one in its place. */
static void another_ones_socket_is_not_removed(void **)
{
	char reason[FRONTEND_REASON_SIZE], other[PATH_MAX + 8];
	struct frontend *front;
	struct room room;
	pthread_t thread;

	room_open(&room, false);
	check(pthread_create(&thread, NULL, connect_and_serve, &room) == 0);
	assert_int_equal(open_at(room.path, true, &front, reason), 0);
	(void)snprintf(other, sizeof(other), "%s.old", room.path);
	/* Kept, so that its number is not given to the new one. */
	assert_int_equal(rename(room.path, other), 0);
	int listener = listen_on(room.path, 1);
	frontend_close(front);
	pthread_join(thread, NULL);
	assert_int_equal(unlink(room.path), 0);
	assert_int_equal(unlink(other), 0);
	close(listener);
	room_close(&room);
}

static void a_given_socket_stays_ours_on_failure(void **)
{
	struct frontend_config config = {.timeout_ms = SHORT_MS};
	struct frontend *front = (struct frontend *)1;
	int sockets[2];

	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
	config.socket = sockets[0];
	assert_int_equal(frontend_open(&config, &front, NULL), -ETIMEDOUT);
	assert_null(front);
	assert_true(fcntl(sockets[0], F_GETFD) >= 0);
	close(sockets[0]);
	close(sockets[1]);
	config.socket = 9999;
	assert_int_equal(frontend_open(&config, &front, NULL), -EBADF);
	config.socket = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(frontend_open(&config, &front, NULL) < 0);
	close(config.socket);
	frontend_close(NULL);
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_back_end_connects_to_us),
		cmocka_unit_test(a_back_end_connects_to_us_by_a_long_path),
		cmocka_unit_test(nobody_connects),
		cmocka_unit_test(we_connect_to_a_back_end),
		cmocka_unit_test(a_connection_that_cannot_be_says_why),
		cmocka_unit_test(a_back_end_that_does_not_accept_is_given_up),
		cmocka_unit_test(a_stale_socket_is_taken_over),
		cmocka_unit_test(a_socket_in_use_is_not),
		cmocka_unit_test(another_ones_socket_is_not_removed),
		cmocka_unit_test(a_given_socket_stays_ours_on_failure),
	};

	return cmocka_run_group_tests_name("front-end session, connecting", tests, NULL, NULL);
}
