/* SPDX-License-Identifier: BSD-3-Clause */
/* Which memory a front end shares, see frontend.h: as one table, or slot by slot. What is shared is
 * remembered, so that a new set can be brought about in steps. */
#include <errno.h>
#include <string.h>

#include "vhost/frontend_internal.h"

/* By what a region is known ("REM_MEM_REG"); its offset in the file says nothing. */
static bool is_same(const struct vhost_region *one, const struct vhost_region *other)
{
	return one->guest_address == other->guest_address && one->size == other->size
	       && one->user_address == other->user_address;
}

/* Its place, or count if it is not there. */
static unsigned
find(const struct vhost_region *regions, unsigned count, const struct vhost_region *region)
{
	unsigned i = 0;

	while (i < count && !is_same(&regions[i], region))
		i++;
	return i;
}

static int check_count(struct frontend *frontend, unsigned count)
{
	if (count <= frontend->slots_max)
		return 0;
	return frontend_explain(
		frontend,
		-ENOSPC,
		"the back end takes %u memory regions at most",
		frontend->slots_max
	);
}

static int share_table(
	struct frontend *frontend,
	const struct vhost_region *regions,
	const int *fds,
	unsigned count,
	int64_t deadline
)
{
	struct vhost_message message = {
		.header =
			{VHOST_USER_SET_MEM_TABLE,
			 VHOST_VERSION,
			 (uint32_t)offsetof(struct vhost_mem_table, regions[count])},
		.payload.table.count = count,
		.fd_count = count,
	};
	size_t size = count * sizeof(regions[0]);

	if (count > 0) {
		memcpy(message.payload.table.regions, regions, size);
		memcpy(message.fds, fds, count * sizeof(fds[0]));
	}
	int error = frontend_request(frontend, &message, deadline);
	if (error < 0)
		return error;
	if (count > 0)
		memcpy(frontend->regions, regions, size);
	frontend->region_count = count;
	return 0;
}

static int change_slot(
	struct frontend *frontend,
	uint32_t request,
	const struct vhost_region *region,
	int fd,
	int64_t deadline
)
{
	struct vhost_message message = {
		.header = {request, VHOST_VERSION, sizeof(message.payload.region)},
		.payload.region.region = *region,
		.fd_count = fd < 0 ? 0 : 1,
		.fds = {fd},
	};

	return frontend_request(frontend, &message, deadline);
}

static int
add_slot(struct frontend *frontend, const struct vhost_region *region, int fd, int64_t deadline)
{
	int error = check_count(frontend, frontend->region_count + 1);

	if (error == 0)
		error = change_slot(frontend, VHOST_USER_ADD_MEM_REG, region, fd, deadline);
	if (error == 0)
		frontend->regions[frontend->region_count++] = *region;
	return error;
}

static int remove_slot(struct frontend *frontend, unsigned slot, int64_t deadline)
{
	struct vhost_region *region = &frontend->regions[slot];
	int error = change_slot(frontend, VHOST_USER_REM_MEM_REG, region, -1, deadline);

	if (error == 0)
		*region = frontend->regions[--frontend->region_count];
	return error;
}

/* What is not wanted any more goes first: it may lie where something new does. */
static int share_slots(
	struct frontend *frontend,
	const struct vhost_region *regions,
	const int *fds,
	unsigned count,
	int64_t deadline
)
{
	int error = 0;

	/* From the end on, since the last one takes the place of one that is removed. */
	for (unsigned i = frontend->region_count; error == 0 && i-- > 0;) {
		if (find(regions, count, &frontend->regions[i]) == count)
			error = remove_slot(frontend, i, deadline);
	}
	for (unsigned i = 0; error == 0 && i < count; i++) {
		unsigned shared = frontend->region_count;

		if (find(frontend->regions, shared, &regions[i]) == shared)
			error = add_slot(frontend, &regions[i], fds[i], deadline);
	}
	return error;
}

int frontend_set_memory(
	struct frontend *frontend,
	const struct vhost_region *regions,
	const int *fds,
	unsigned count
)
{
	int64_t deadline;
	int error = frontend_begin(frontend, &deadline);

	if (error == 0)
		error = check_count(frontend, count);
	if (error < 0)
		return error;
	if (frontend_has(frontend, VL_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return share_slots(frontend, regions, fds, count, deadline);
	return share_table(frontend, regions, fds, count, deadline);
}

/* A session in which slots can be changed one at a time. */
static int begin_slot(struct frontend *frontend, int64_t *deadline)
{
	int error = frontend_begin(frontend, deadline);

	if (error < 0 || frontend_has(frontend, VL_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return error;
	return frontend_explain(
		frontend,
		-ENOTSUP,
		"the back end takes no memory while it runs (CONFIGURE_MEM_SLOTS); stop the rings "
		"and share all of it anew"
	);
}

int frontend_add_memory(struct frontend *frontend, const struct vhost_region *region, int fd)
{
	int64_t deadline;
	int error = begin_slot(frontend, &deadline);

	return error < 0 ? error : add_slot(frontend, region, fd, deadline);
}

int frontend_remove_memory(struct frontend *frontend, const struct vhost_region *region)
{
	int64_t deadline;
	int error = begin_slot(frontend, &deadline);

	if (error < 0)
		return error;
	unsigned slot = find(frontend->regions, frontend->region_count, region);
	if (slot == frontend->region_count)
		return frontend_explain(
			frontend, -EINVAL, "no such memory region is shared with the back end"
		);
	return remove_slot(frontend, slot, deadline);
}
