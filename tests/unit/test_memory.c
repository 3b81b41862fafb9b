/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about memory: what is mapped, what is refused, and that nothing of it stays. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "memory/memory.h"
#include "process.h"
#include "traffic.h"

static const struct front_options one_pair = {0};

static void open_negotiated(struct front *front)
{
	front_attach(front, &one_pair);
	front_negotiate(front, BIT(VL_F_VERSION_1));
}

enum {
	FILE_SIZE = 1 << 20,
};

static int set_one_region(struct front *front, const struct vhost_region *region, int fd)
{
	struct vhost_mem_table table = {.count = 1, .regions = {*region}};

	return front_request(front, VHOST_USER_SET_MEM_TABLE, &table, 8 + 32, &fd, 1);
}

static int
region_request(struct front *front, uint32_t request, const struct vhost_region *region, int fd)
{
	struct vhost_mem_region payload = {.region = *region};

	return front_request(front, request, &payload, sizeof(payload), &fd, fd >= 0 ? 1 : 0);
}

/* CVE-2026-86561, CVE-2020-10722. The file has FILE_SIZE bytes. */
static const struct {
	const char *name;
	struct vhost_region region; /* guest, size, user, offset */
	bool good;
} regions[] = {
	{"the whole file", {0, FILE_SIZE, 0, 0}, true},
	{"a part", {4096, 4096, 4096, 4096}, true},
	{"its end", {0, 4096, 0, FILE_SIZE - 4096}, true},
	{"an odd part", {0, 1000, 0, 1234}, true},
	{"one byte", {0, 1, 0, 0}, true},
	{"size 0", {0, 0, 0, 0}, false},
	{"size 0 at the end", {0, 0, 0, FILE_SIZE}, false},
	{"larger than the file", {0, FILE_SIZE + 1, 0, 0}, false},
	{"a page more than the file", {0, FILE_SIZE + 4096, 0, 0}, false},
	{"beyond the end by its offset", {0, 4096, 0, FILE_SIZE - 4095}, false},
	{"offset behind the end", {0, 4096, 0, FILE_SIZE}, false},
	{"offset far behind the end", {0, 4096, 0, BIT(62)}, false},
	{"offset of 2^63", {0, 4096, 0, BIT(63)}, false},
	{"offset near 2^64", {0, 4096, 0, UINT64_MAX - 4095}, false},
	{"offset and size wrap to a little", {0, 8192, 0, UINT64_MAX - 4095}, false},
	{"size of 2^63", {0, BIT(63), 0, 0}, false},
	{"size of 2^64 - 1", {0, UINT64_MAX, 0, 0}, false},
	{"guest addresses wrap", {UINT64_MAX - 4095, 8192, 0, 0}, false},
	{"user addresses wrap", {0, 8192, UINT64_MAX - 4095, 0}, false},
};

static void regions_are_checked_before_they_are_mapped(void **)
{
	unsigned before = guest_mappings();
	struct front front;
	int fd = guest_memfd(FILE_SIZE);

	open_negotiated(&front);
	unsigned mappings = guest_mappings(), descriptors = open_descriptors();
	for (unsigned i = 0; i < COUNT_OF(regions); i++) {
		const struct vhost_region *region = &regions[i].region;

		print_message("           %s\n", regions[i].name);
		assert_int_equal(set_one_region(&front, region, fd), !regions[i].good);
		assert_int_equal(
			region_request(&front, VHOST_USER_REM_MEM_REG, region, -1), !regions[i].good
		);
		assert_int_equal(front_status(&front).memory_regions, 0);
		assert_int_equal(
			region_request(&front, VHOST_USER_ADD_MEM_REG, region, fd), !regions[i].good
		);
		assert_int_equal(
			region_request(&front, VHOST_USER_REM_MEM_REG, region, fd), !regions[i].good
		);
		assert_int_equal(guest_mappings(), mappings);
		assert_int_equal(open_descriptors(), descriptors);
	}
	close(fd);
	front_close(&front);
	assert_int_equal(guest_mappings(), before);
}

static void regions_do_not_overlap(void **)
{
	static const struct {
		uint64_t guest, user;
		bool good;
	} cases[] = {
		{0x200000, 0x800000, true},
		{0x101000, 0x801000, true}, /* one right behind the other */
		{0x0ff000, 0x7ff000, true},
		{0x100000, 0x900000, false},
		{0x200000, 0x800000 - 4095, false},
		{0x100fff, 0x900000, false},
		{0x0ff001, 0x900000, false},
		{0x200000, 0x800fff, false},
	};
	int fd = guest_memfd(FILE_SIZE);

	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		struct vhost_region second = {cases[i].guest, 4096, cases[i].user, 0};
		struct vhost_mem_table table = {
			.count = 2,
			.regions = {{0x100000, 4096, 0x800000, 0}, second},
		};
		struct front front;

		/* The first case of user addresses has its own. */
		if (i == 0)
			table.regions[1].user_address = second.user_address = 0x900000;
		open_negotiated(&front);
		unsigned mappings = guest_mappings();
		assert_int_equal(
			front_request(
				&front,
				VHOST_USER_SET_MEM_TABLE,
				&table,
				8 + 2 * 32,
				(int[]){fd, fd},
				2
			),
			!cases[i].good
		);
		assert_int_equal(guest_mappings(), mappings + (cases[i].good ? 2 : 0));
		assert_int_equal(set_one_region(&front, &table.regions[0], fd), 0);
		assert_int_equal(
			region_request(&front, VHOST_USER_ADD_MEM_REG, &second, fd), !cases[i].good
		);
		front_close(&front);
	}
	close(fd);
}

static void a_refused_table_leaves_the_old_one(void **)
{
	static const struct vhost_region bad = {0, FILE_SIZE + 1, 0, 0};
	struct front front;
	int fd = guest_memfd(FILE_SIZE);
	uint8_t bytes[60] = {0};
	struct vl_frame frame;

	front_open(&front, &one_pair);
	assert_int_equal(set_one_region(&front, &bad, fd), 1);
	assert_int_equal(front_status(&front).memory_regions, GUEST_REGION_COUNT);
	traffic_send_plain(&front, 1, bytes, sizeof(bytes));
	assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
	vl_device_give_back(front.device, 0, 1);
	close(fd);
	front_close(&front);
}

static void a_table_has_as_many_descriptors_as_regions_and_8_at_most(void **)
{
	int fd = guest_memfd(FILE_SIZE);
	int fds[16];

	for (unsigned i = 0; i < COUNT_OF(fds); i++)
		fds[i] = fd;
	for (uint32_t count = 0; count <= 10; count++) {
		for (unsigned fd_count = 0; fd_count <= 10; fd_count++) {
			uint32_t size = 8 + 32 * (count < 8 ? count : 8);
			struct vhost_mem_table table = {.count = count};
			struct front front;
			unsigned descriptors = open_descriptors();

			for (uint32_t i = 0; i < 8; i++)
				table.regions[i] =
					(struct vhost_region){i << 20, 4096, (uint64_t)i << 24, 0};
			open_negotiated(&front);
			int result = front_request(
				&front, VHOST_USER_SET_MEM_TABLE, &table, size, fds, fd_count
			);
			assert_int_equal(
				result, fd_count > 8 ? -EPROTO : !(count <= 8 && count == fd_count)
			);
			front_close(&front);
			assert_int_equal(open_descriptors(), descriptors);
		}
	}
	close(fd);
}

static void nine_regions_are_not_a_message(void **)
{
	struct vhost_message message = {
		.header = {VHOST_USER_SET_MEM_TABLE, VHOST_VERSION, 8 + 9 * 32},
		.payload.table.count = 9,
	};
	struct front front;

	open_negotiated(&front);
	assert_int_equal(front_send(&front, &message), -EPROTO);
	front_close(&front);
}

static void a_table_that_says_more_than_it_has_is_refused(void **)
{
	static const uint32_t counts[] = {2, 8, 9, 0x08000001, UINT32_MAX};
	struct front front;

	open_negotiated(&front);
	for (unsigned i = 0; i < COUNT_OF(counts); i++) {
		struct vhost_mem_table table = {.count = counts[i], .regions = {{0, 4096, 0, 0}}};

		assert_int_equal(
			front_request(
				&front,
				VHOST_USER_SET_MEM_TABLE,
				&table,
				8 + 32,
				(int[]){front.guest.regions[0].fd, front.guest.regions[0].fd},
				2
			),
			1
		);
	}
	front_close(&front);
}

static void files_that_are_no_memory_are_refused(void **)
{
	static const struct vhost_region region = {0, 4096, 0, 0};
	int pipes[2], directory = open("/", O_RDONLY | O_CLOEXEC);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct front front;

	assert_int_equal(pipe(pipes), 0);
	int sealed = memfd_create("virtlane-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(sealed, 4096), 0);
	assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
	open_negotiated(&front);
	assert_int_equal(set_one_region(&front, &region, pipes[0]), 1);
	assert_int_equal(set_one_region(&front, &region, directory), 1);
	assert_int_equal(set_one_region(&front, &region, null), 1);
	assert_int_equal(set_one_region(&front, &region, sealed), 1);
	assert_int_equal(set_one_region(&front, &region, front.socket), 1);
	assert_int_equal(front_status(&front).memory_regions, 0);
	front_close(&front);
	close(pipes[0]);
	close(pipes[1]);
	close(directory);
	close(null);
	close(sealed);
}

static struct vhost_region slot(uint64_t i)
{
	return (struct vhost_region){i << 20, 4096, i << 24, 0};
}

static void regions_can_be_added_up_to_the_limit_and_removed(void **)
{
	int fd = guest_memfd(FILE_SIZE);
	struct front front;

	open_negotiated(&front);
	uint64_t limit = front_get(&front, VHOST_USER_GET_MAX_MEM_SLOTS);
	assert_int_equal(limit, MEMORY_REGIONS_MAX);
	unsigned mappings = guest_mappings(), descriptors = open_descriptors();
	for (unsigned round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < limit; i++) {
			struct vhost_region region = slot(i);

			assert_int_equal(
				region_request(&front, VHOST_USER_ADD_MEM_REG, &region, fd), 0
			);
		}
		struct vhost_region more = slot(limit);
		assert_int_equal(region_request(&front, VHOST_USER_ADD_MEM_REG, &more, fd), 1);
		assert_int_equal(front_status(&front).memory_regions, limit);
		assert_int_equal(front_status(&front).memory_size, limit * 4096);
		assert_int_equal(guest_mappings(), mappings + limit);
		assert_int_equal(open_descriptors(), descriptors + limit);
		/* From the middle on, so that every order of the table is met; some bring the
		 * descriptor along, as the specification lets them. */
		for (uint64_t i = 0; i < limit; i++) {
			struct vhost_region region = slot((i + 100) % limit);

			assert_int_equal(
				region_request(
					&front, VHOST_USER_REM_MEM_REG, &region, i % 2 ? fd : -1
				),
				0
			);
		}
		assert_int_equal(front_status(&front).memory_regions, 0);
		assert_int_equal(guest_mappings(), mappings);
		assert_int_equal(open_descriptors(), descriptors);
	}
	close(fd);
	front_close(&front);
}

/* Page by page the file holds the page's number; a region may begin in the middle of one. */
static void a_region_begins_where_its_offset_says(void **)
{
	static const uint64_t offsets[] = {0, 4096, 1, 4095, 5000, 100000};
	int fd = guest_memfd(FILE_SIZE);
	struct front front;

	front_open(&front, &one_pair);
	for (unsigned i = 0; i < COUNT_OF(offsets); i++) {
		struct vhost_region region = {BIT(40), 1000, BIT(40), offsets[i]};
		struct guest_piece piece = {BIT(40), 72, false};
		struct guest_used used;
		struct vl_frame frame;
		uint8_t mark = (uint8_t)(i + 1);

		assert_int_equal(region_request(&front, VHOST_USER_ADD_MEM_REG, &region, fd), 0);
		assert_int_equal(pwrite(fd, &mark, 1, (off_t)offsets[i] + 12), 1);
		assert_true(guest_ring_add(&front.rings[1], &piece, 1, GUEST_CHAINED, 0));
		assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
		assert_int_equal(frame.head[0], mark);
		vl_device_give_back(front.device, 0, 1);
		assert_true(guest_ring_reap(&front.rings[1], &used));
		assert_int_equal(region_request(&front, VHOST_USER_REM_MEM_REG, &region, -1), 0);
	}
	close(fd);
	front_close(&front);
}

static void only_a_region_that_is_there_can_be_removed(void **)
{
	int fd = guest_memfd(FILE_SIZE);
	struct vhost_region region = slot(5);
	struct front front;

	open_negotiated(&front);
	assert_int_equal(region_request(&front, VHOST_USER_REM_MEM_REG, &region, -1), 1);
	assert_int_equal(region_request(&front, VHOST_USER_ADD_MEM_REG, &region, fd), 0);
	for (unsigned field = 0; field < 3; field++) {
		struct vhost_region other = region;

		other.guest_address += field == 0;
		other.size += field == 1;
		other.user_address += field == 2;
		assert_int_equal(region_request(&front, VHOST_USER_REM_MEM_REG, &other, -1), 1);
	}
	assert_int_equal(front_status(&front).memory_regions, 1);
	/* The offset says nothing about which region it is. */
	region.mmap_offset = 4096;
	assert_int_equal(region_request(&front, VHOST_USER_REM_MEM_REG, &region, -1), 0);
	assert_int_equal(region_request(&front, VHOST_USER_ADD_MEM_REG, &region, -1), 1);
	close(fd);
	front_close(&front);
}

static void rings_run_on_while_regions_come_and_go(void **)
{
	int fd = guest_memfd(FILE_SIZE);
	struct front front;
	uint8_t bytes[60] = {0};
	struct vl_frame frame;
	struct guest_used used;

	front_open(&front, &one_pair);
	for (uint64_t i = 0; i < 50; i++) {
		struct vhost_region region = {BIT(40), 4096, BIT(40), 0};
		struct guest_piece piece = {BIT(40) + 100, 72, false};

		assert_int_equal(region_request(&front, VHOST_USER_ADD_MEM_REG, &region, fd), 0);
		/* The new region is used at once. */
		assert_int_equal(pwrite(fd, (uint8_t[]){(uint8_t)i}, 1, 112), 1);
		assert_true(guest_ring_add(&front.rings[1], &piece, 1, GUEST_CHAINED, 0));
		assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
		assert_int_equal(frame.size, 60);
		assert_int_equal(frame.head[0], i);
		vl_device_give_back(front.device, 0, 1);
		assert_true(guest_ring_reap(&front.rings[1], &used));
		assert_int_equal(region_request(&front, VHOST_USER_REM_MEM_REG, &region, -1), 0);
		traffic_send_plain(&front, 1, bytes, sizeof(bytes));
		assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
		vl_device_give_back(front.device, 0, 1);
		assert_true(guest_ring_reap(&front.rings[1], &used));
	}
	close(fd);
	front_close(&front);
}

/* 1846fe767f: no stale pointers into what is gone. */
static void rings_whose_memory_goes_stop(void **)
{
	struct front front;
	struct vl_frame frame;
	uint8_t bytes[60] = {0};
	struct built_frame built;

	front_open(&front, &one_pair);
	const struct guest_region *high = &front.guest.regions[GUEST_HIGH];
	struct vhost_region region = {high->guest_address, high->size, high->user_address, 0};
	traffic_send_plain(&front, 1, bytes, sizeof(bytes));
	(void)region_request(&front, VHOST_USER_REM_MEM_REG, &region, -1);
	assert_false(vl_device_ready(front.device, 0, true));
	assert_false(vl_device_ready(front.device, 0, false));
	assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 0);
	frame_build(&built, bytes, sizeof(bytes), 64, NULL);
	assert_int_equal(traffic_deliver(&front, 0, &built), VL_DOWN);
	/* It comes back, and the rings with it. */
	assert_int_equal(region_request(&front, VHOST_USER_ADD_MEM_REG, &region, high->fd), 0);
	assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
	front_close(&front);
}

/* ---- what the device's owner is told, and may limit ---- */

struct watched {
	unsigned count;
	size_t bytes;
};

static void on_mapped(void *context, void *start, size_t size)
{
	struct watched *watched = context;

	assert_non_null(start);
	watched->count++;
	watched->bytes += size;
}

static void on_unmapping(void *context, void *start, size_t size)
{
	struct watched *watched = context;

	/* It is still there. */
	(void)*(volatile uint8_t *)start;
	watched->count--;
	watched->bytes -= size;
}

/* A front of a device that is made by hand. */
static void open_watched(struct front *front, struct watched *watched, uint64_t memory_max)
{
	struct vl_device_config config = {
		.size = sizeof(config),
		.queue_pairs = 1,
		.memory_max = memory_max,
		.memory_mapped = on_mapped,
		.memory_unmapping = on_unmapping,
		.context = watched,
	};

	front_attach(front, &one_pair);
	vl_device_destroy(front->device);
	assert_int_equal(vl_device_create(&config, &front->device), 0);
	front_reattach(front);
	front_negotiate(front, BIT(VL_F_VERSION_1));
}

static void the_owner_knows_what_is_mapped(void **)
{
	int fd = guest_memfd(FILE_SIZE);
	struct vhost_region first = slot(1), second = slot(2);
	struct watched watched = {0};
	struct front front;

	open_watched(&front, &watched, 0);
	assert_int_equal(front_share_memory(&front), 0);
	assert_int_equal(watched.count, GUEST_REGION_COUNT);
	assert_int_equal(watched.bytes, front_status(&front).memory_size);
	assert_int_equal(set_one_region(&front, &first, fd), 0);
	assert_int_equal(watched.count, 1);
	assert_int_equal(region_request(&front, VHOST_USER_ADD_MEM_REG, &second, fd), 0);
	assert_int_equal(watched.count, 2);
	assert_int_equal(region_request(&front, VHOST_USER_ADD_MEM_REG, &second, fd), 1);
	assert_int_equal(watched.count, 2);
	assert_int_equal(region_request(&front, VHOST_USER_REM_MEM_REG, &first, -1), 0);
	assert_int_equal(watched.count, 1);
	vl_device_detach(front.device);
	assert_int_equal(watched.count, 0);
	assert_int_equal(watched.bytes, 0);
	close(fd);
	front_close(&front);
}

static void a_peer_maps_no_more_than_its_port_allows(void **)
{
	int fd = guest_memfd(FILE_SIZE);
	struct vhost_region region = slot(0);
	struct watched watched = {0};
	struct front front;

	open_watched(&front, &watched, 3 * 4096);
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(front_share_memory(&front), 1);
		region.size = 3 * 4096 + 1;
		assert_int_equal(set_one_region(&front, &region, fd), 1);
		region.size = 3 * 4096;
		assert_int_equal(set_one_region(&front, &region, fd), 0);
		region = slot(9);
		assert_int_equal(region_request(&front, VHOST_USER_ADD_MEM_REG, &region, fd), 1);
		region = slot(0);
		assert_int_equal(set_one_region(&front, &region, fd), 0);
		for (uint64_t i = 1; i < 4; i++) {
			struct vhost_region more = slot(i);

			assert_int_equal(
				region_request(&front, VHOST_USER_ADD_MEM_REG, &more, fd), i == 3
			);
		}
		/* A table replaces what was there: that does not count. */
	}
	close(fd);
	front_close(&front);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(regions_are_checked_before_they_are_mapped),
		cmocka_unit_test(regions_do_not_overlap),
		cmocka_unit_test(a_refused_table_leaves_the_old_one),
		cmocka_unit_test(a_table_has_as_many_descriptors_as_regions_and_8_at_most),
		cmocka_unit_test(nine_regions_are_not_a_message),
		cmocka_unit_test(a_table_that_says_more_than_it_has_is_refused),
		cmocka_unit_test(files_that_are_no_memory_are_refused),
		cmocka_unit_test(regions_can_be_added_up_to_the_limit_and_removed),
		cmocka_unit_test(a_region_begins_where_its_offset_says),
		cmocka_unit_test(only_a_region_that_is_there_can_be_removed),
		cmocka_unit_test(rings_run_on_while_regions_come_and_go),
		cmocka_unit_test(rings_whose_memory_goes_stop),
		cmocka_unit_test(the_owner_knows_what_is_mapped),
		cmocka_unit_test(a_peer_maps_no_more_than_its_port_allows),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
