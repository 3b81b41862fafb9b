/* SPDX-License-Identifier: BSD-3-Clause */
/* Files that are memory, see kept_memory.h. */
#include "base/kept_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* All of it allocated: a full file system is an error here, and not a SIGBUS later. */
static int fit(int fd, size_t size)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	if (status.st_size != 0 && (size_t)status.st_size != size)
		return -ESTALE;
	return -posix_fallocate(fd, 0, (off_t)size);
}

static int open_in(int directory, const char *name, size_t size)
{
	int fd = openat(directory, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	int result = fit(fd, size);
	if (result < 0)
		close(fd);
	return result < 0 ? result : fd;
}

/* Another process may have a file of another size mapped: it keeps that, without a name. */
static int open_fresh(int directory, const char *name, size_t size)
{
	int fd = open_in(directory, name, size);

	if (fd != -ESTALE)
		return fd;
	(void)unlinkat(directory, name, 0);
	return open_in(directory, name, size);
}

void *kept_memory_open(const char *directory, const char *name, size_t size, struct error *error)
{
	void *memory = MAP_FAILED;

	(void)mkdir(directory, 0700);
	int parent = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = parent < 0 ? -errno : open_fresh(parent, name, size);
	if (parent >= 0)
		close(parent);
	if (fd >= 0) {
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		int code = -errno;
		close(fd);
		fd = code;
	}
	if (memory != MAP_FAILED)
		return memory;
	errno = -fd;
	error_set(error, fd, "cannot keep %.200s/%.100s: %m", directory, name);
	return NULL;
}

void kept_memory_close(void *memory, size_t size)
{
	if (memory != NULL)
		munmap(memory, size);
}

void kept_memory_remove(const char *directory, const char *name)
{
	int parent = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (parent < 0)
		return;
	(void)unlinkat(parent, name, 0);
	close(parent);
	/* The last one takes the directory along. */
	(void)rmdir(directory);
}
