/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arenas, see arena.h. The kinds of page are tried from the largest on; whatever goes wrong with
 * one is a reason to try the next, and only the last one's failure is told.
 */
#include "memory/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of Linux 5.14 and 6.1; headers may be older than the kernel. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21U << 26)
#endif
#ifndef MFD_HUGE_1GB
#define MFD_HUGE_1GB (30U << 26)
#endif

#define MIB_2 ((size_t)2 << 20)
#define GIB_1 ((size_t)1 << 30)

/* 0: does not fit into a size_t. */
static size_t round_up(size_t size, size_t to)
{
	return size > SIZE_MAX - (to - 1) ? 0 : (size + to - 1) / to * to;
}

static size_t system_page(void)
{
	long size = sysconf(_SC_PAGESIZE);

	return size > 0 ? (size_t)size : 4096;
}

static int advise(void *start, size_t size, int advice)
{
	int result;

	do {
		result = madvise(start, size, advice);
	} while (result < 0 && errno == EINTR);
	return result < 0 ? -errno : 0;
}

/* What a file says behind `key`, a number; `fallback` if it does not. */
static uint64_t read_number(const char *path, const char *key, uint64_t fallback)
{
	char text[2048];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[size < 0 ? 0 : size] = '\0';
	const char *found = strstr(text, key);
	if (found == NULL)
		return fallback;
	found += strlen(key);
	char *end;
	uint64_t number = strtoull(found, &end, 10);
	return end == found ? fallback : number;
}

/*
 * Whether there may be that much memory at all. The kernel promises memory files more than it has,
 * and when it is touched kills somebody instead of saying no. The control group's limit is the
 * container's, which sees its own group there.
 */
static bool may_have(size_t size)
{
	static const char meminfo[] = "/proc/meminfo";
	uint64_t kib = read_number(meminfo, "MemAvailable:", UINT64_MAX / 4096)
		       + read_number(meminfo, "SwapFree:", 0);

	return size / 1024 <= kib
	       && size <= read_number("/sys/fs/cgroup/memory.max", "", UINT64_MAX);
}

/*
 * Map the file where transparent huge pages can lie: at a multiple of 2 MiB. A place is looked for
 * and then hinted at, so that nothing is ever mapped over; should another thread be faster, or the
 * file have pages that go elsewhere, the kernel chooses. A file of huge pages set aside is reserved
 * here, or not mapped.
 */
static uint8_t *map_file(int fd, size_t size)
{
	uint8_t *hint = NULL;
	int none = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *place = mmap(NULL, size + MIB_2, PROT_NONE, none, -1, 0);

	if (place != MAP_FAILED) {
		(void)munmap(place, size + MIB_2);
		hint = (uint8_t *)place + (-(uintptr_t)place & (MIB_2 - 1));
	}
	void *base = mmap(hint, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return base == MAP_FAILED ? NULL : base;
}

/*
 * Ask for transparent huge pages, also where the system gives them to nobody who does not ask
 * twice: MADV_COLLAPSE works unless they are forbidden altogether. It gathers what is there, so
 * each 2 MiB gets one page first; that costs less than gathering 512. True: all of the arena lies
 * in huge pages now.
 */
static bool gather_pages(const struct arena *arena)
{
	(void)advise(arena->base, arena->size, MADV_HUGEPAGE);
	for (size_t at = 0; at < arena->size; at += MIB_2) {
		if (advise(arena->base + at, arena->page_size, MADV_POPULATE_WRITE) < 0)
			return false;
	}
	return advise(arena->base, arena->size, MADV_COLLAPSE) == 0;
}

/* Make every page present, so that running out of memory is an error here and no signal later. */
static int populate(const struct arena *arena)
{
	int error = advise(arena->base, arena->size, MADV_POPULATE_WRITE);

	/* A kernel that does not know it: pages can also be had from the file. */
	if (error == -EINVAL)
		error = fallocate(arena->fd, 0, 0, (off_t)arena->size) < 0 ? -errno : 0;
	return error < 0 ? -ENOMEM : 0;
}

static int try_pages(size_t size, unsigned kind, size_t page_size, struct arena *arena)
{
	static const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | kind;

	*arena = (struct arena){.size = size, .page_size = page_size};
	arena->fd = memfd_create("virtlane-arena", flags);
	if (arena->fd < 0 || ftruncate(arena->fd, (off_t)size) < 0
	    || fcntl(arena->fd, F_ADD_SEALS, seals) < 0)
		return -errno;
	arena->base = map_file(arena->fd, size);
	if (arena->base == NULL)
		return -errno;
	if (kind == 0 && gather_pages(arena))
		arena->page_size = MIB_2;
	return populate(arena);
}

/* A failed try leaves nothing behind. */
static int try_and_clean(size_t size, unsigned kind, size_t page_size, struct arena *arena)
{
	int error = try_pages(size, kind, page_size, arena);

	if (error < 0)
		arena_destroy(arena);
	return error;
}

int arena_create(size_t size, struct arena *out)
{
	size_t small = round_up(size, MIB_2), large = round_up(size, GIB_1);

	*out = (struct arena){0};
	/* Behind half of the address space no offset of a file is right. */
	if (size == 0 || small == 0 || small > SIZE_MAX / 2 - MIB_2)
		return -EINVAL;
	/* What is rounded up is set aside for nothing. */
	if (size >= GIB_1 / 8 * 7 && large != 0 && large - size <= size / 7
	    && try_and_clean(large, MFD_HUGETLB | MFD_HUGE_1GB, GIB_1, out) == 0)
		return 0;
	if (try_and_clean(small, MFD_HUGETLB | MFD_HUGE_2MB, MIB_2, out) == 0)
		return 0;
	if (!may_have(small))
		return -ENOMEM;
	return try_and_clean(small, 0, system_page(), out);
}

void *arena_take(struct arena *arena, size_t size, size_t alignment)
{
	size_t left = arena->size - arena->used;
	uint8_t *start = arena->base + arena->used;
	size_t gap = -(uintptr_t)start & (alignment - 1);

	if (gap > left || size > left - gap)
		return NULL;
	arena->used += gap + size;
	return start + gap;
}

void arena_destroy(struct arena *arena)
{
	if (arena == NULL)
		return;
	if (arena->base != NULL)
		(void)munmap(arena->base, arena->size);
	/* An all-zero arena does not own descriptor 0. */
	if (arena->size != 0 && arena->fd >= 0)
		close(arena->fd);
	*arena = (struct arena){0};
}
