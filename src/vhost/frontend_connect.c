/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a front end comes to its socket, see frontend.h: it connects, or listens and waits. A socket
 * address holds 107 bytes of path; a longer one is reached through its directory:
 * /proc/self/fd/N/name.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhost/frontend_internal.h"

/* A path as an address; directory is to be closed after use, -1: none was needed. */
struct place {
	const char *path;
	int directory;
	struct sockaddr_un address;
};

static int use_directory(struct frontend *frontend, struct place *place)
{
	const char *slash = strrchr(place->path, '/');
	const char *name = slash == NULL ? place->path : slash + 1;
	char directory[PATH_MAX];

	/* The slash is kept, so that "/name" is in "/". */
	(void)snprintf(
		directory,
		sizeof(directory),
		"%.*s",
		slash == NULL ? 0 : (int)(name - place->path),
		place->path
	);
	place->directory = open(slash == NULL ? "." : directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (place->directory < 0)
		return frontend_explain(
			frontend, -errno, "cannot open %.160s: %s", directory, strerror(errno)
		);
	int size = snprintf(
		place->address.sun_path,
		sizeof(place->address.sun_path),
		"/proc/self/fd/%d/%s",
		place->directory,
		name
	);
	if (size < (int)sizeof(place->address.sun_path))
		return 0;
	close(place->directory);
	place->directory = -1;
	return frontend_explain(
		frontend,
		-ENAMETOOLONG,
		"the socket's file name is too long (%zu bytes); use at most 80",
		strlen(name)
	);
}

static int find_place(struct frontend *frontend, const char *path, struct place *place)
{
	*place = (struct place){
		.path = path,
		.directory = -1,
		.address.sun_family = AF_UNIX,
	};
	if (path == NULL || path[0] == '\0')
		return frontend_explain(
			frontend, -EINVAL, "no socket is named; give the path of one"
		);
	size_t size = strlen(path);
	if (size >= PATH_MAX)
		return frontend_explain(
			frontend, -ENAMETOOLONG, "the socket's path is too long: %.64s...", path
		);
	if (size >= sizeof(place->address.sun_path))
		return use_directory(frontend, place);
	memcpy(place->address.sun_path, path, size);
	return 0;
}

static void leave_place(struct place *place)
{
	if (place->directory >= 0)
		close(place->directory);
}

static int new_socket(struct frontend *frontend, int flags)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		return frontend_explain(
			frontend, -errno, "cannot make a socket: %s", strerror(errno)
		);
	return fd;
}

/* ---- connecting ---- */

/* connect() waits while the listener's queue is full, and for a Unix socket SO_SNDTIMEO says for
 * how long. */
static int connect_before(int fd, const struct place *place, int64_t deadline)
{
	for (;;) {
		int left = frontend_remaining(deadline);
		struct timeval time = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};

		if (left == 0)
			return -ETIMEDOUT;
		if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)) < 0)
			return -errno;
		if (connect(fd, (const struct sockaddr *)&place->address, sizeof(place->address))
		    == 0)
			return 0;
		if (errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
	}
}

static const char *connect_advice(int error)
{
	switch (error) {
	case -ENOENT:
		return "; is the back end running, and does it listen there?";
	case -ECONNREFUSED:
		return "; the back end that listened there has gone, start it again";
	case -EACCES:
		return "; this user needs the right to write to the socket";
	case -ETIMEDOUT:
		return "; the back end accepts no connections";
	default:
		return "";
	}
}

int frontend_connect(struct frontend *frontend, const char *path, int64_t deadline)
{
	struct place place;
	int error = find_place(frontend, path, &place);

	if (error < 0)
		return error;
	int fd = new_socket(frontend, 0);
	error = fd < 0 ? fd : connect_before(fd, &place, deadline);
	leave_place(&place);
	if (fd < 0)
		return fd;
	if (error < 0) {
		close(fd);
		return frontend_explain(
			frontend,
			error,
			"cannot connect to %.120s: %s%s",
			path,
			strerror(-error),
			connect_advice(error)
		);
	}
	frontend->socket = fd;
	return 0;
}

/* ---- listening ---- */

/* Remove a socket file that nobody listens on any more. */
static int take_over(struct frontend *frontend, const struct place *place)
{
	struct stat status;

	if (lstat(place->path, &status) < 0) {
		if (errno == ENOENT)
			return 0;
		return frontend_explain(
			frontend, -errno, "%.160s: %s", place->path, strerror(errno)
		);
	}
	if (!S_ISSOCK(status.st_mode))
		return frontend_explain(
			frontend,
			-EEXIST,
			"%.160s exists and is no socket; choose another path",
			place->path
		);
	/* Non-blocking: one with a full queue is in use as well. */
	int fd = new_socket(frontend, SOCK_NONBLOCK);
	if (fd < 0)
		return fd;
	int result = connect(fd, (const struct sockaddr *)&place->address, sizeof(place->address));
	int code = errno;
	close(fd);
	if (result == 0 || code != ECONNREFUSED)
		return frontend_explain(
			frontend,
			-EADDRINUSE,
			"%.120s is in use: somebody listens on it; stop them or choose another "
			"path",
			place->path
		);
	if (unlink(place->path) < 0)
		return frontend_explain(
			frontend,
			-errno,
			"cannot remove the stale socket %.120s: %s",
			place->path,
			strerror(errno)
		);
	return 0;
}

/* Who the file is, so that at the end nobody else's is removed. */
static int remember_file(struct frontend *frontend, const char *path)
{
	struct stat status;

	if (lstat(path, &status) < 0)
		return -errno;
	frontend->device = status.st_dev;
	frontend->inode = status.st_ino;
	return 0;
}

static int listen_at(struct frontend *frontend, const struct place *place)
{
	int fd = new_socket(frontend, SOCK_NONBLOCK), error = 0;

	if (fd < 0)
		return fd;
	frontend->listener = fd;
	frontend->path = strdup(place->path);
	if (frontend->path == NULL)
		error = -ENOMEM;
	else if (bind(fd, (const struct sockaddr *)&place->address, sizeof(place->address)) < 0)
		error = -errno;
	else
		error = remember_file(frontend, place->path);
	/* A session has one back end; a second one waits in the queue for the session's end. */
	if (error == 0 && listen(fd, 1) < 0)
		error = -errno;
	if (error == 0)
		return 0;
	return frontend_explain(
		frontend, error, "cannot listen on %.120s: %s", place->path, strerror(-error)
	);
}

/* The connection may be gone again when it is accepted: then the next one counts. */
static int accept_before(struct frontend *frontend, const char *path, int64_t deadline)
{
	while (frontend_wait(frontend->listener, deadline)) {
		frontend->socket = accept4(frontend->listener, NULL, NULL, SOCK_CLOEXEC);
		if (frontend->socket >= 0)
			return 0;
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			return frontend_explain(
				frontend,
				-errno,
				"cannot accept a connection on %.120s: %s",
				path,
				strerror(errno)
			);
	}
	return frontend_explain(
		frontend,
		-ETIMEDOUT,
		"no back end connected to %.120s within %d ms; start it as a client of this socket",
		path,
		frontend->timeout_ms
	);
}

/* From the session before; its file may have been removed since, or be another one's. */
static bool has_listener(const struct frontend *frontend)
{
	struct stat status;

	return frontend->listener >= 0 && lstat(frontend->path, &status) == 0
	       && status.st_dev == frontend->device && status.st_ino == frontend->inode;
}

int frontend_accept(struct frontend *frontend, const char *path, int64_t deadline)
{
	struct place place;

	if (has_listener(frontend))
		return accept_before(frontend, path, deadline);
	frontend_unlisten(frontend);
	int error = find_place(frontend, path, &place);
	if (error < 0)
		return error;
	error = take_over(frontend, &place);
	if (error == 0)
		error = listen_at(frontend, &place);
	leave_place(&place);
	return error < 0 ? error : accept_before(frontend, path, deadline);
}

void frontend_unlisten(struct frontend *frontend)
{
	struct stat status;

	if (frontend->path != NULL && lstat(frontend->path, &status) == 0
	    && status.st_dev == frontend->device && status.st_ino == frontend->inode)
		(void)unlink(frontend->path);
	free(frontend->path);
	frontend->path = NULL;
	if (frontend->listener >= 0)
		close(frontend->listener);
	frontend->listener = -1;
}
