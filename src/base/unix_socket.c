/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unix sockets, see unix_socket.h. An address holds 107 bytes of path; a longer one is reached
 * through its directory: /proc/self/fd/N/name.
 */
#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Fill an address for `path`. Returns a directory descriptor to be closed after use, -1 if none
 * was needed, or another -errno. */
static int make_address(const char *path, struct sockaddr_un *address, struct error *error)
{
	char directory_copy[PATH_MAX], name_copy[PATH_MAX];

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (strlen(path) >= PATH_MAX)
		return error_set(
			error, -ENAMETOOLONG, "the socket path is too long: %.64s...", path
		);
	if (strlen(path) < sizeof(address->sun_path)) {
		memcpy(address->sun_path, path, strlen(path));
		return -1;
	}
	memcpy(directory_copy, path, strlen(path) + 1);
	memcpy(name_copy, path, strlen(path) + 1);
	const char *directory = dirname(directory_copy);
	const char *name = basename(name_copy);
	int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(
			error,
			-errno,
			"cannot open directory %.256s: %s",
			directory,
			strerror(errno)
		);
	int size = snprintf(
		address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", fd, name
	);
	if (size < 0 || (size_t)size >= sizeof(address->sun_path)) {
		close(fd);
		return error_set(
			error,
			-ENAMETOOLONG,
			"the socket's file name is too long (%zu bytes); use at most 80",
			strlen(name)
		);
	}
	return fd;
}

static void close_directory(int fd)
{
	if (fd >= 0)
		close(fd);
}

static int new_socket(struct error *error)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return error_set(error, -errno, "cannot make a socket: %s", strerror(errno));
	return fd;
}

/* Remove a socket that nobody listens on any more. */
static int take_over(const char *path, const struct sockaddr_un *address, struct error *error)
{
	struct stat status;

	if (lstat(path, &status) < 0)
		return errno == ENOENT ? 0
				       : error_set(error, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(status.st_mode))
		return error_set(
			error, -EEXIST, "%s exists and is no socket; choose another path", path
		);
	int fd = new_socket(error);
	if (fd < 0)
		return fd;
	int result = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	int code = errno;
	close(fd);
	if (result == 0 || code != ECONNREFUSED)
		return error_set(
			error,
			-EADDRINUSE,
			"%s is in use: somebody listens on it; choose another path or stop them",
			path
		);
	if (unlink(path) < 0)
		return error_set(
			error, -errno, "cannot remove stale socket %s: %s", path, strerror(errno)
		);
	return 0;
}

static int bind_and_listen(
	int fd,
	const char *path,
	const struct sockaddr_un *address,
	const struct socket_owner *owner,
	struct error *error
)
{
	/* The mode is right from the first moment; the mask is the process's, and only the control
	 * thread makes files. */
	mode_t mask = umask(~owner->mode & 0777);
	int result = bind(fd, (const struct sockaddr *)address, sizeof(*address));
	int code = errno;

	umask(mask);
	if (result < 0)
		return error_set(error, -code, "cannot listen on %s: %s", path, strerror(code));
	if (lchown(path, owner->uid, owner->gid) < 0 || listen(fd, 16) < 0) {
		code = errno;
		unlink(path);
		return error_set(error, -code, "cannot set up %s: %s", path, strerror(code));
	}
	return 0;
}

int unix_listen(const char *path, const struct socket_owner *owner, struct error *error)
{
	struct sockaddr_un address;
	int directory = make_address(path, &address, error);
	int result;

	if (directory < -1)
		return directory;
	result = take_over(path, &address, error);
	int fd = result < 0 ? result : new_socket(error);
	if (fd >= 0) {
		result = bind_and_listen(fd, path, &address, owner, error);
		if (result < 0) {
			close(fd);
			fd = result;
		}
	}
	close_directory(directory);
	return fd;
}

int unix_connect(const char *path, struct error *error)
{
	struct sockaddr_un address;
	int directory = make_address(path, &address, error);

	if (directory < -1)
		return directory;
	int fd = new_socket(error);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int code = errno;

		close(fd);
		fd = error_set(error, -code, "cannot connect to %s: %s", path, strerror(code));
	}
	close_directory(directory);
	return fd;
}
