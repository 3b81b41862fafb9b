/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions of a peer's memory, see memory.h. */
#include "memory/memory.h"
#include "memory/arrivals.h"
#include "memory/iotlb.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* Every sum that is made of a region's numbers later is checked here. */
static int check_request(
	const struct memory *old, const struct memory_region_request *request, const char **why
)
{
	uint64_t end;

	if (request->size == 0) {
		*why = "a memory region has size 0";
		return -EINVAL;
	}
	if (__builtin_add_overflow(request->guest_address, request->size, &end)
	    || __builtin_add_overflow(request->user_address, request->size, &end)
	    || __builtin_add_overflow(request->file_offset, request->size, &end)
	    || end > INT64_MAX) {
		*why = "a memory region wraps around the end of the address space";
		return -EINVAL;
	}
	if (old == NULL)
		return 0;
	if (old->count >= MEMORY_REGIONS_MAX) {
		*why = "too many memory regions";
		return -ENOSPC;
	}
	for (unsigned i = 0; i < old->count; i++) {
		const struct memory_region *region = &old->regions[i];

		if (overlap(region->guest_address,
			    region->size,
			    request->guest_address,
			    request->size)
		    || overlap(
			    region->user_address, region->size, request->user_address, request->size
		    )) {
			*why = "two memory regions overlap";
			return -EINVAL;
		}
	}
	return 0;
}

/* Whether a page fault may have to wait for a process or another machine. */
static bool is_slow(int fd)
{
	static const uint32_t types[] = {
		FUSE_SUPER_MAGIC,
		NFS_SUPER_MAGIC,
		SMB_SUPER_MAGIC,
		SMB2_SUPER_MAGIC,
		CIFS_SUPER_MAGIC,
		V9FS_MAGIC,
		CEPH_SUPER_MAGIC,
	};
	struct statfs status;

	if (fstatfs(fd, &status) < 0)
		return true;
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if ((uint32_t)status.f_type == types[i])
			return true;
	}
	return false;
}

/* Of huge pages those of hugetlbfs are whole; tmpfs may have some, and says so, but need not. */
static uint64_t page_size(int fd, const struct stat *status)
{
	struct statfs system;

	return fstatfs(fd, &system) == 0 && system.f_type == HUGETLBFS_MAGIC
		       ? (uint64_t)status->st_blksize
		       : (uint64_t)sysconf(_SC_PAGESIZE);
}

/*
 * Map at an address that is, modulo the size of a huge page, what the offset in the file is: then
 * huge pages that the peer has there are mapped as such here, too.
 */
static void *map_in_step(int fd, uint64_t offset, size_t size, uint64_t page)
{
	const uint64_t step = page > 2 << 20 ? page : 2 << 20;
	uint8_t *room = mmap(
		NULL, size + step, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0
	);

	if (room == MAP_FAILED)
		return MAP_FAILED;
	size_t before = (size_t)((offset - (uintptr_t)room) & (step - 1));
	void *mapping =
		mmap(room + before,
		     size,
		     PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
		     fd,
		     (off_t)offset);
	int error = errno;
	if (mapping == MAP_FAILED) {
		munmap(room, size + step);
	} else {
		if (before > 0)
			munmap(room, before);
		munmap(room + before + size, step - before);
	}
	errno = error;
	return mapping;
}

static int map_region(
	const struct memory_region_request *request,
	int fd,
	struct memory_region *region,
	const char **why
)
{
	struct stat status;

	if (fstat(fd, &status) < 0) {
		*why = "a memory region came without a usable file";
		return -errno;
	}
	if (!S_ISREG(status.st_mode)) {
		*why = "a memory region's file is not shared memory; start QEMU with "
		       "-object memory-backend-memfd,share=on";
		return -EINVAL;
	}
	if (is_slow(fd)) {
		*why = "a memory region's file is served by somebody else (FUSE or a network); use "
		       "a "
		       "memfd, tmpfs or huge pages";
		return -EINVAL;
	}
	/* A page beyond the end of the file would be a SIGBUS at the first touch. */
	if (request->file_offset + request->size > (uint64_t)status.st_size) {
		*why = "a memory region is larger than its file";
		return -ERANGE;
	}
	/* A file on hugetlbfs maps only at multiples of its page size, which is its block size. */
	uint64_t page = page_size(fd, &status);
	uint64_t start = request->file_offset / page * page;
	uint64_t lead = request->file_offset - start;
	size_t size = (size_t)((lead + request->size + page - 1) / page * page);
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (own < 0) {
		*why = "too many open files; raise LimitNOFILE";
		return -errno;
	}
	void *mapping = map_in_step(fd, start, size, page);

	if (mapping == MAP_FAILED) {
		int error = -errno;

		*why = "a memory region cannot be mapped";
		close(own);
		return error;
	}
	/* Tenants' memory has no place in our core dump; a kernel that cannot is no reason to stop.
	 */
	(void)madvise(mapping, size, MADV_DONTDUMP);
	*region = (struct memory_region){
		.guest_address = request->guest_address,
		.size = request->size,
		.user_address = request->user_address,
		.host = (uint8_t *)mapping + lead,
		.mapping = mapping,
		.mapping_size = size,
		.file_offset = request->file_offset,
		.page_size = page,
		.fd = own,
	};
	return 0;
}

static struct memory *table_alloc(unsigned count)
{
	struct memory *memory = calloc(1, sizeof(*memory) + count * sizeof(struct memory_region));

	if (memory != NULL)
		memory->count = count;
	return memory;
}

int memory_add(
	const struct memory *old,
	const struct memory_region_request *request,
	int fd,
	struct memory **out,
	const char **why
)
{
	unsigned count = old == NULL ? 0 : old->count;
	int error = check_request(old, request, why);

	if (error < 0)
		return error;
	struct memory *memory = table_alloc(count + 1);
	if (memory == NULL) {
		*why = "out of memory";
		return -ENOMEM;
	}
	error = map_region(request, fd, &memory->regions[count], why);
	if (error < 0) {
		free(memory);
		return error;
	}
	if (count > 0) {
		memcpy(memory->regions, old->regions, count * sizeof(old->regions[0]));
	}
	*out = memory;
	return 0;
}

int memory_remove(
	const struct memory *old,
	const struct memory_region_request *request,
	struct memory **out,
	struct memory_region *removed
)
{
	for (unsigned i = 0; old != NULL && i < old->count; i++) {
		const struct memory_region *region = &old->regions[i];

		if (region->guest_address != request->guest_address
		    || region->user_address != request->user_address
		    || region->size != request->size)
			continue;
		struct memory *memory = table_alloc(old->count - 1);
		if (memory == NULL)
			return -ENOMEM;
		*removed = *region;
		for (unsigned from = 0, to = 0; from < old->count; from++) {
			if (from != i)
				memory->regions[to++] = old->regions[from];
		}
		*out = memory;
		return 0;
	}
	return -ENOENT;
}

void memory_unmap(struct memory_region *region)
{
	if (region->arriving != NULL)
		arrivals_leave(region);
	munmap(region->mapping, region->mapping_size);
	close(region->fd);
}

void memory_free_table(struct memory *memory)
{
	free(memory);
}

void memory_destroy(struct memory *memory)
{
	for (unsigned i = 0; memory != NULL && i < memory->count; i++)
		memory_unmap(&memory->regions[i]);
	free(memory);
}

uint64_t memory_size(const struct memory *memory)
{
	uint64_t size = 0;

	for (unsigned i = 0; memory != NULL && i < memory->count; i++)
		size += memory->regions[i].size;
	return size;
}

void *memory_at_user(const struct memory *memory, uint64_t user_address, uint64_t size)
{
	for (unsigned i = 0; memory != NULL && i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i];
		uint64_t offset = user_address - region->user_address;

		if (offset < region->size && size <= region->size - offset)
			return region->host + offset;
	}
	return NULL;
}

static const struct memory_region *region_at_user(const struct memory *memory, uint64_t address)
{
	for (unsigned i = 0; i < memory->count; i++) {
		if (address - memory->regions[i].user_address < memory->regions[i].size)
			return &memory->regions[i];
	}
	return NULL;
}

/* A place in a region, of which *run bytes are wanted, and then can be used. */
static uint8_t *
reach_in(const struct memory_region *region, uint64_t offset, uint64_t *run, bool *later)
{
	uint8_t *at = region->host + offset;

	if (*run > region->size - offset)
		*run = region->size - offset;
	if (region->arriving != NULL && !arrivals_reach(region->arriving, at, run))
		*later = true;
	return at;
}

/* Of an address that is translated first. If that is not known no more can be said of it than that
 * it is not to be used yet. */
static uint8_t *
reach_translated(const struct memory *memory, uint64_t iova, bool write, uint64_t *run, bool *later)
{
	uint64_t user_address, room;

	uint8_t access = write ? IOTLB_WRITE : IOTLB_READ;
	bool found = iotlb_find(memory->iotlb, iova, access, &user_address, &room);

	if (*run > room)
		*run = room;
	if (!found) {
		*later = true;
		return NULL;
	}
	const struct memory_region *region = region_at_user(memory, user_address);
	return region == NULL ? NULL
			      : reach_in(region, user_address - region->user_address, run, later);
}

uint8_t *memory_reach(
	const struct memory *memory,
	uint64_t address,
	bool write,
	uint64_t *run,
	unsigned *hint,
	bool *later
)
{
	*run = UINT64_MAX;
	if (memory->iotlb != NULL)
		return reach_translated(memory, address, write, run, later);
	if (memory_at_guest(memory, address, run, hint) == NULL)
		return NULL;
	const struct memory_region *region = &memory->regions[*hint];
	return reach_in(region, address - region->guest_address, run, later);
}

static uint8_t *
reach_area(const struct memory *memory, uint64_t address, bool write, uint64_t *run, bool *later)
{
	if (memory->iotlb != NULL)
		return reach_translated(memory, address, write, run, later);
	const struct memory_region *region = region_at_user(memory, address);
	return region == NULL ? NULL : reach_in(region, address - region->user_address, run, later);
}

/* Piece by piece, which are pages or translations. After one that is missing, too, so that all are
 * asked for. */
uint8_t *
memory_area(const struct memory *memory, uint64_t address, uint64_t size, bool write, bool *later)
{
	uint8_t *area = NULL, *next = NULL;
	uint64_t run;

	for (uint64_t done = 0; done < size; done += run) {
		bool missing = false;

		run = size - done;
		uint8_t *at = reach_area(memory, address + done, write, &run, &missing);
		*later = *later || missing;
		if (*later)
			continue;
		if (at == NULL || (done > 0 && at != next))
			return NULL;
		area = done == 0 ? at : area;
		next = at + run;
	}
	return *later ? NULL : area;
}
