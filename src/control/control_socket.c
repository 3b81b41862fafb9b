/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket's file, see control_socket.h. */
#include "control/control_socket.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/unix_socket.h"
#include "control/text.h"

enum {
	BACKLOG = 128,
};

static int make_directory(const char *path, struct error *error)
{
	char *copy = text_format("%s", path);
	const char *directory = dirname(copy);
	int status = 0;

	if (mkdir(directory, 0755) != 0 && errno != EEXIST)
		status = error_set(
			error,
			-errno,
			"cannot make directory %.300s for the control socket: %m; make it, or "
			"choose another path with --socket",
			directory
		);
	free(copy);
	return status;
}

int control_socket_listen(const char *path, struct error *error)
{
	static const struct socket_owner owner = {
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.mode = 0660,
	};
	int fd = make_directory(path, error);

	if (fd == 0)
		fd = unix_listen(path, &owner, error);
	/* many short-lived clients may call at once */
	if (fd >= 0)
		(void)listen(fd, BACKLOG);
	if (fd == -EADDRINUSE)
		error_set(
			error,
			fd,
			"another virtlaned is running at %.300s; stop it, or choose another path "
			"with --socket",
			path
		);
	return fd;
}
