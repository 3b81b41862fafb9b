/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dirty log. Memory is compared before and after whatever the device does: each page that
 * differs has to be marked, however the frame came there, and pages that nobody wrote are not.
 */
#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "control.h"
#include "memory/dirty_log.h"
#include "traffic.h"
#include "variants.h"

enum {
	RX = 0,
	TX = 1,
	FRAMES = 40,
	FRAME_MAX = 9000,
	LOG_OFFSET = 4096, /* of the log in its file */
};

static uint8_t bytes[FRAME_MAX];

struct rig {
	struct front front;
	int log_fd;
	uint8_t *log; /* mapped here, too */
	uint64_t log_size;
	uint8_t *before[GUEST_REGIONS_MAX]; /* memory as it was */
};

static int set_log(struct front *front, uint64_t size, uint64_t offset, int fd)
{
	struct vhost_log log = {size, offset};

	return front_request(
		front, VHOST_USER_SET_LOG_BASE, &log, sizeof(log), &fd, fd >= 0 ? 1 : 0
	);
}

static int set_features(struct rig *rig, bool logging)
{
	uint64_t features = rig->front.features | (logging ? BIT(VL_F_LOG_ALL) : 0);

	return front_request_u64(&rig->front, VHOST_USER_SET_FEATURES, features);
}

static void start_logging(struct rig *rig)
{
	assert_int_equal(set_log(&rig->front, rig->log_size, LOG_OFFSET, rig->log_fd), 0);
	assert_int_equal(set_features(rig, true), 0);
}

static void open_rig(struct rig *rig, const struct variant *variant, uint64_t features)
{
	struct front_options options = {
		.ring_size = 256,
		.control = (features & BIT(VL_F_CTRL_VQ)) != 0,
		.features = variant_features(variant) | features,
	};

	pattern_fill(bytes, sizeof(bytes), 7);
	front_open(&rig->front, &options);
	uint64_t end = GUEST_HIGH_ADDRESS + GUEST_HIGH_SIZE;
	rig->log_size = end / DIRTY_PAGE_SIZE / 8;
	rig->log_fd = guest_memfd(LOG_OFFSET + rig->log_size);
	uint8_t *mapping = mmap(
		NULL, LOG_OFFSET + rig->log_size, PROT_READ | PROT_WRITE, MAP_SHARED, rig->log_fd, 0
	);
	check(mapping != MAP_FAILED);
	rig->log = mapping + LOG_OFFSET;
	for (unsigned i = 0; i < rig->front.guest.region_count; i++) {
		rig->before[i] = malloc(rig->front.guest.regions[i].size);
		check(rig->before[i] != NULL);
	}
}

static void close_rig(struct rig *rig)
{
	for (unsigned i = 0; i < rig->front.guest.region_count; i++)
		free(rig->before[i]);
	munmap(rig->log - LOG_OFFSET, LOG_OFFSET + rig->log_size);
	close(rig->log_fd);
	front_close(&rig->front);
}

static bool is_marked(const struct rig *rig, uint64_t guest_address)
{
	uint64_t page = guest_address / DIRTY_PAGE_SIZE;

	return rig->log[page / 8] & 1 << page % 8;
}

static unsigned count_marked(const struct rig *rig)
{
	unsigned count = 0;

	for (uint64_t i = 0; i < rig->log_size; i++)
		count += (unsigned)__builtin_popcount(rig->log[i]);
	return count;
}

/* From here on the driver does nothing. */
static void remember(struct rig *rig)
{
	for (unsigned i = 0; i < rig->front.guest.region_count; i++)
		memcpy(rig->before[i],
		       rig->front.guest.regions[i].host,
		       rig->front.guest.regions[i].size);
	memset(rig->log, 0, rig->log_size);
}

/* How many pages were written, and how many of those are not marked. */
static unsigned compare_all(const struct rig *rig, unsigned *unmarked)
{
	unsigned written = 0;

	*unmarked = 0;

	for (unsigned i = 0; i < rig->front.guest.region_count; i++) {
		const struct guest_region *region = &rig->front.guest.regions[i];

		for (uint64_t at = 0; at < region->size; at += DIRTY_PAGE_SIZE) {
			if (memcmp(rig->before[i] + at, region->host + at, DIRTY_PAGE_SIZE) == 0)
				continue;
			written++;
			*unmarked += is_marked(rig, region->guest_address + at) ? 0 : 1;
		}
	}
	return written;
}

/* Every page that was written is marked; returns how many were written. */
static unsigned compare(const struct rig *rig)
{
	unsigned unmarked, written = compare_all(rig, &unmarked);

	assert_int_equal(unmarked, 0);
	return written;
}

/* Frames of many sizes, in bursts. */
static void deliver(struct rig *rig, uint32_t size_max, bool partial)
{
	struct built_frame built[FRAMES];
	const struct vl_frame *frames[FRAMES];
	enum vl_delivery results[FRAMES];
	struct random random = {size_max};
	unsigned done = 0;

	for (unsigned i = 0; i < FRAMES; i++) {
		struct cuts cuts = {.count = i % 3, .sizes = {100, 33}};
		uint32_t size = 200 + random_below(&random, size_max - 200);

		frame_build(&built[i], bytes, size, 64, &cuts);
		if (partial && i % 2)
			built[i].frame.header = (struct vl_net_header
			){.flags = VL_NET_NEEDS_CSUM, .csum_start = 14, .csum_offset = 20};
		frames[i] = &built[i].frame;
	}
	while (done < FRAMES) {
		unsigned count = FRAMES - done < 17 ? FRAMES - done : 17;
		unsigned n = vl_device_copy_in(
			rig->front.device, 0, frames + done, count, results + done
		);

		vl_device_flush(rig->front.device, 0);
		done += n;
		if (n == 0)
			break;
	}
	assert_true(done > 0);
	for (unsigned i = 0; i < done; i++)
		assert_int_equal(results[i], VL_DELIVERED);
}

/* Buffers of a page and more, so that hardly a page has two of them. */
static void check_received(struct rig *rig, uint32_t buffer_size, const struct cuts *cuts)
{
	struct vl_net_header header;
	uint8_t got[FRAME_MAX];

	traffic_post(&rig->front, RX, 20, buffer_size, cuts, GUEST_CHAINED);
	remember(rig);
	deliver(rig, buffer_size > 2000 ? 4000 : 1000, true);
	unsigned written = compare(rig);
	assert_in_range(written, 5, 1000);
	assert_in_range(count_marked(rig), written, written + 4);
	while (traffic_receive(&rig->front, RX, &header, got, sizeof(got)) >= 0)
		;
}

static void what_is_received_is_marked(void **state)
{
	static const struct cuts header_alone = {1, {12}}, odd = {3, {5, 100, 700}};
	struct rig rig;

	open_rig(&rig, *state, BIT(VL_F_MRG_RXBUF));
	start_logging(&rig);
	check_received(&rig, 6000, NULL);
	check_received(&rig, 1100, NULL);
	check_received(&rig, 6000, &header_alone);
	check_received(&rig, 6000, &odd);
	close_rig(&rig);
}

/* Or else the other tests would show nothing. */
static void a_mark_that_is_missing_is_noticed(void **state)
{
	enum { TRIED = 16 };
	unsigned unmarked, tried = 0, noticed = 0;
	struct rig rig;

	open_rig(&rig, *state, BIT(VL_F_MRG_RXBUF));
	start_logging(&rig);
	traffic_post(&rig.front, RX, 20, 6000, NULL, GUEST_CHAINED);
	remember(&rig);
	deliver(&rig, 4000, false);
	for (uint64_t i = 0; i < rig.log_size * 8 && tried < TRIED; i++) {
		uint8_t bit = (uint8_t)(1 << i % 8);

		if ((rig.log[i / 8] & bit) == 0)
			continue;
		rig.log[i / 8] &= (uint8_t)~bit;
		(void)compare_all(&rig, &unmarked);
		rig.log[i / 8] |= bit;
		assert_in_range(unmarked, 0, 1);
		tried++;
		noticed += unmarked;
	}
	/* A few may be marked and not be written. */
	assert_in_range(noticed, TRIED - 4, TRIED);
	close_rig(&rig);
}

static void what_is_sent_marks_the_ring_alone(void **state)
{
	struct vl_frame frames[VL_BURST_MAX];
	struct rig rig;

	open_rig(&rig, *state, 0);
	start_logging(&rig);
	for (unsigned i = 0; i < 30; i++)
		traffic_send_plain(&rig.front, TX, bytes, 1000);
	remember(&rig);
	assert_int_equal(vl_device_borrow(rig.front.device, 0, frames, VL_BURST_MAX), 30);
	vl_device_put_off(rig.front.device, 0, 10);
	vl_device_give_back(rig.front.device, 0, 20);
	assert_in_range(compare(&rig), 1, 3);
	assert_in_range(count_marked(&rig), 1, 3);
	/* Going to sleep is a wish, which stands in memory, too. */
	assert_int_equal(vl_device_borrow(rig.front.device, 0, frames, VL_BURST_MAX), 10);
	vl_device_give_back(rig.front.device, 0, 10);
	remember(&rig);
	assert_true(vl_device_sleep(rig.front.device, 0));
	(void)compare(&rig);
	assert_in_range(count_marked(&rig), 1, 3);
	close_rig(&rig);
}

static void a_command_marks_its_status(void **state)
{
	uint8_t on = 1;
	struct rig rig;

	open_rig(&rig, *state, BIT(VL_F_CTRL_VQ) | BIT(VL_F_CTRL_RX));
	start_logging(&rig);
	remember(&rig);
	assert_int_equal(
		control_command(&rig.front, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1),
		CONTROL_OK
	);
	unsigned ring = 0, buffers = 0;
	for (uint64_t at = 0; at < GUEST_HIGH_SIZE; at += DIRTY_PAGE_SIZE)
		ring += is_marked(&rig, GUEST_HIGH_ADDRESS + at);
	for (uint64_t at = 0; at < GUEST_LOW_SIZE; at += DIRTY_PAGE_SIZE)
		buffers += is_marked(&rig, GUEST_LOW_ADDRESS + at);
	assert_in_range(ring, 1, 4);
	assert_int_equal(buffers, 1);
	close_rig(&rig);
}

/* A log is set, LOG_ALL comes and goes, while the rings run: no frame is lost, and what the driver
 * has wished by commands stands. */
static void logging_comes_and_goes(void **state)
{
	struct vl_net_header header;
	uint8_t got[FRAME_MAX];
	struct built_frame built;
	uint8_t off = 0;
	struct rig rig;

	open_rig(&rig, *state, BIT(VL_F_CTRL_VQ) | BIT(VL_F_CTRL_RX));
	assert_int_equal(
		control_command(
			&rig.front, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1
		),
		CONTROL_OK
	);
	traffic_post(&rig.front, RX, 20, 2000, NULL, GUEST_CHAINED);
	memcpy(bytes, front_mac, sizeof(front_mac));
	for (unsigned i = 0; i < 8; i++) {
		if (i % 4 == 0)
			start_logging(&rig);
		/* As QEMU does when the rings stood still: the old log is not believed. */
		if (i % 4 == 2) {
			assert_int_equal(set_features(&rig, true), 0);
			frame_build(&built, bytes, 1000, 64, NULL);
			assert_int_equal(traffic_deliver(&rig.front, 0, &built), VL_DOWN);
			assert_int_equal(
				set_log(&rig.front, rig.log_size, LOG_OFFSET, rig.log_fd), 0
			);
		}
		remember(&rig);
		frame_build(&built, bytes, 1000 + i, 64, NULL);
		assert_int_equal(traffic_deliver(&rig.front, 0, &built), VL_DELIVERED);
		if (i % 2 == 0)
			assert_in_range(compare(&rig), 1, 4);
		else
			assert_int_equal(count_marked(&rig), 0);
		assert_int_equal(
			traffic_receive(&rig.front, RX, &header, got, sizeof(got)), 1000 + i
		);
		assert_memory_equal(got, bytes, 1000 + i);
		if (i % 2 == 0)
			assert_int_equal(set_features(&rig, false), 0);
	}
	memset(bytes, 2, 6);
	frame_build(&built, bytes, 1000, 64, NULL);
	assert_int_equal(traffic_deliver(&rig.front, 0, &built), VL_FILTERED);
	close_rig(&rig);
}

/* Have the used ring of the receive queue logged at a guest address. */
static void mark_ring_at(struct front *front, uint64_t guest_address)
{
	const struct guest_ring *ring = &front->rings[RX];
	struct vhost_vring_addr address = {
		.index = RX,
		.flags = 1 << VHOST_VRING_F_LOG,
		.desc_user_addr = guest_to_user(&front->guest, ring->desc_address),
		.avail_user_addr = guest_to_user(&front->guest, ring->driver_address),
		.used_user_addr = guest_to_user(&front->guest, ring->device_address),
		.log_guest_addr = guest_address,
	};

	assert_int_equal(
		front_request(front, VHOST_USER_SET_VRING_ADDR, &address, sizeof(address), NULL, 0),
		0
	);
}

/* Where a front end names another place for the used ring, that is what is marked (vhost-user,
 * vring address description). */
static void the_ring_is_marked_where_the_front_end_says(void **state)
{
	const uint64_t elsewhere = GUEST_LOW_ADDRESS + 100 * DIRTY_PAGE_SIZE;
	struct built_frame built;
	struct rig rig;

	open_rig(&rig, *state, 0);
	start_logging(&rig);
	mark_ring_at(&rig.front, elsewhere);
	traffic_post(&rig.front, RX, 1, 2000, NULL, GUEST_CHAINED);
	memset(rig.log, 0, rig.log_size);
	frame_build(&built, bytes, 1000, 64, NULL);
	assert_int_equal(traffic_deliver(&rig.front, 0, &built), VL_DELIVERED);
	assert_true(is_marked(&rig, elsewhere));
	close_rig(&rig);
}

static void the_front_end_is_told_that_there_is_something(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct built_frame built;
	uint64_t value;
	struct rig rig;

	open_rig(&rig, *state, 0);
	start_logging(&rig);
	assert_int_equal(front_request(&rig.front, VHOST_USER_SET_LOG_FD, NULL, 0, &fd, 1), 0);
	(void)!read(fd, &value, sizeof(value));
	traffic_post(&rig.front, RX, 1, 2000, NULL, GUEST_CHAINED);
	frame_build(&built, bytes, 1000, 64, NULL);
	assert_int_equal(traffic_deliver(&rig.front, 0, &built), VL_DELIVERED);
	assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	close(fd);
	close_rig(&rig);
}

/* ---- bad input ---- */

static void a_log_that_does_not_do_is_refused(void **state)
{
	struct built_frame built;
	struct rig rig;

	open_rig(&rig, *state, 0);
	start_logging(&rig);
	traffic_post(&rig.front, RX, 20, 2000, NULL, GUEST_CHAINED);
	assert_int_equal(set_log(&rig.front, rig.log_size - 1, LOG_OFFSET, rig.log_fd), 1);
	assert_non_null(strstr(vl_device_reason(rig.front.device), "too small"));
	assert_int_equal(set_log(&rig.front, rig.log_size, LOG_OFFSET + 4096, rig.log_fd), 1);
	assert_int_equal(set_log(&rig.front, UINT64_MAX, 0, rig.log_fd), 1);
	assert_int_equal(set_log(&rig.front, rig.log_size, UINT64_MAX, rig.log_fd), 1);
	assert_int_equal(set_log(&rig.front, rig.log_size, 0, -1), 1);
	/* The old one is not used on: its front end looks at the new one. So nothing is written. */
	remember(&rig);
	frame_build(&built, bytes, 1000, 64, NULL);
	assert_int_equal(traffic_deliver(&rig.front, 0, &built), VL_DOWN);
	assert_int_equal(compare(&rig), 0);
	assert_int_equal(set_log(&rig.front, rig.log_size, LOG_OFFSET, rig.log_fd), 0);
	assert_int_equal(traffic_deliver(&rig.front, 0, &built), VL_DELIVERED);
	assert_in_range(compare(&rig), 1, 4);
	close_rig(&rig);
}

static void without_a_log_nothing_is_written(void **state)
{
	struct built_frame built;
	struct rig rig;

	open_rig(&rig, *state, 0);
	traffic_post(&rig.front, RX, 1, 2000, NULL, GUEST_CHAINED);
	assert_int_equal(set_features(&rig, true), 0);
	remember(&rig);
	frame_build(&built, bytes, 1000, 64, NULL);
	assert_int_equal(traffic_deliver(&rig.front, 0, &built), VL_DOWN);
	assert_int_equal(compare(&rig), 0);
	assert_int_equal(set_log(&rig.front, rig.log_size, LOG_OFFSET, rig.log_fd), 0);
	assert_int_equal(traffic_deliver(&rig.front, 0, &built), VL_DELIVERED);
	assert_in_range(compare(&rig), 1, 4);
	close_rig(&rig);
}

static void memory_beyond_the_log_is_refused(void **state)
{
	struct vhost_mem_region payload = {
		.region = {
			.guest_address = GUEST_HIGH_ADDRESS + (UINT64_C(1) << 32),
			.size = 1 << 20,
			.user_address = UINT64_C(0x7000000000),
		}};
	int fd = guest_memfd(1 << 20);
	struct rig rig;

	open_rig(&rig, *state, 0);
	start_logging(&rig);
	assert_int_equal(
		front_request(
			&rig.front, VHOST_USER_ADD_MEM_REG, &payload, sizeof(payload), &fd, 1
		),
		1
	);
	assert_non_null(strstr(vl_device_reason(rig.front.device), "than the dirty log"));
	assert_int_equal(set_features(&rig, false), 0);
	assert_int_equal(
		front_request(
			&rig.front, VHOST_USER_ADD_MEM_REG, &payload, sizeof(payload), &fd, 1
		),
		0
	);
	close(fd);
	close_rig(&rig);
}

/* A place for the used ring that no log has. */
static void a_ring_beyond_the_log_writes_nowhere_else(void **state)
{
	struct built_frame built;
	struct rig rig;

	open_rig(&rig, *state, 0);
	start_logging(&rig);
	static const uint64_t places[] = {
		UINT64_MAX, UINT64_MAX - 4095, UINT64_C(1) << 63, GUEST_HIGH_ADDRESS * 2};

	for (unsigned i = 0; i < COUNT_OF(places); i++) {
		mark_ring_at(&rig.front, places[i]);
		traffic_post(&rig.front, RX, 1, 2000, NULL, GUEST_CHAINED);
		frame_build(&built, bytes, 1000, 64, NULL);
		assert_int_equal(traffic_deliver(&rig.front, 0, &built), VL_DELIVERED);
	}
	close_rig(&rig);
}

int main(void)
{
	static const struct variant_test of_all_rings[] = {
		VARIANT_TEST(what_is_received_is_marked),
		VARIANT_TEST(a_mark_that_is_missing_is_noticed),
		VARIANT_TEST(what_is_sent_marks_the_ring_alone),
	};
	static const struct variant_test of_layouts[] = {
		VARIANT_TEST(a_command_marks_its_status),
		VARIANT_TEST(logging_comes_and_goes),
		VARIANT_TEST(the_ring_is_marked_where_the_front_end_says),
		VARIANT_TEST(the_front_end_is_told_that_there_is_something),
		VARIANT_TEST(a_log_that_does_not_do_is_refused),
		VARIANT_TEST(without_a_log_nothing_is_written),
		VARIANT_TEST(memory_beyond_the_log_is_refused),
		VARIANT_TEST(a_ring_beyond_the_log_writes_nowhere_else),
	};

	return run_for_all_rings("what is marked", of_all_rings, COUNT_OF(of_all_rings))
	       + run_for_layouts("the log", of_layouts, COUNT_OF(of_layouts));
}
