/* SPDX-License-Identifier: BSD-3-Clause */
/* A driver on memory of the application: shared, posted, sent, and all of it given back. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "joint.h"
#include "process.h"

static uint8_t got[JOINT_FRAME_MAX];

static const struct joint_variant foreign_variants[] = {
	{"split", "split", false, false},
	{"split, IN_ORDER", "split-in-order", false, false},
	{"packed", "packed", false, false},
	{"packed, IN_ORDER", "packed-in-order", false, false},
	{"packed, MRG_RXBUF", "packed", true, false},
};

/* Memory of the application's: a file, mapped. */
struct own_memory {
	uint8_t *start;
	size_t size;
	int fd;
};

static struct own_memory own_memory(size_t size)
{
	struct own_memory own = {.size = size, .fd = guest_memfd(size)};

	own.start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, own.fd, 0);
	check(own.start != MAP_FAILED);
	return own;
}

static void own_memory_close(const struct own_memory *own)
{
	check(munmap(own->start, own->size) == 0);
	check(close(own->fd) == 0);
}

static struct joint *open_foreign(const struct joint_variant *variant, unsigned queue_size)
{
	struct joint_options options = {
		.variant = variant, .config = {.foreign = true, .queue_size = queue_size}};

	return joint_open(&options);
}

enum {
	OWN_ROOM = 2048, /* of the application's buffers */
};

/* The n-th of its buffers, by a name of its own. */
static struct vl_driver_frame own_buffer(const struct own_memory *own, unsigned n)
{
	return (struct vl_driver_frame){
		.data = own->start + (size_t)n * (OWN_ROOM + 128) + 128,
		.length = OWN_ROOM,
		.buffer = 0x10001 + 2 * (uintptr_t)n,
	};
}

static void frames_lie_in_the_applications_memory(void **)
{
	for (unsigned i = 0; i < COUNT_OF(foreign_variants); i++) {
		struct own_memory own = own_memory(1 << 20);
		struct joint *joint = open_foreign(&foreign_variants[i], 64);
		unsigned slots = joint->driver->config.queue_size;
		uintptr_t names[64];

		assert_int_equal(vl_driver_share(joint->driver, own.start, own.size, own.fd, 0), 0);
		for (unsigned n = 0; n < 300; n++) {
			struct vl_driver_frame rx = own_buffer(&own, n % 7), tx;
			struct vl_net_header header;

			tx = own_buffer(&own, 7 + n % 5);
			assert_int_equal(vl_driver_rx_post(joint->driver, 0, &rx, 1), 1);
			pattern_fill(tx.data, 1000, n);
			tx.length = 1000;
			assert_int_equal(vl_driver_tx_burst(joint->driver, 0, &tx, 1), 1);
			assert_int_equal(vl_driver_tx_complete(joint->driver, 0, names, 64), 0);
			assert_int_equal(joint_take(joint, 0, &header, got), 1000);
			assert_memory_equal(got, tx.data, 1000);
			assert_true(joint_deliver(joint, 0, NULL, got, OWN_ROOM, NULL));
			struct vl_driver_frame back;
			assert_int_equal(vl_driver_rx_burst(joint->driver, 0, &back, 1), 1);
			assert_ptr_equal(back.data, rx.data);
			assert_int_equal(back.buffer, rx.buffer);
			assert_int_equal(back.length, OWN_ROOM);
			assert_memory_equal(back.data, got, OWN_ROOM);
			assert_int_equal(vl_driver_tx_complete(joint->driver, 0, names, 64), 1);
			assert_int_equal(names[0], tx.buffer);
		}
		/* The ring's end. */
		for (unsigned n = 0; n < slots; n++) {
			struct vl_driver_frame rx = own_buffer(&own, n);

			assert_int_equal(vl_driver_rx_post(joint->driver, 0, &rx, 1), 1);
		}
		struct vl_driver_frame rx = own_buffer(&own, 65);
		assert_int_equal(vl_driver_rx_post(joint->driver, 0, &rx, 1), 0);
		joint_close(joint);
		own_memory_close(&own);
	}
}

/* However late they are collected. */
static void no_name_of_a_sent_buffer_is_lost(void **)
{
	for (unsigned i = 0; i < COUNT_OF(foreign_variants); i++) {
		struct own_memory own = own_memory(1 << 20);
		struct joint *joint = open_foreign(&foreign_variants[i], 8);
		uintptr_t accepted = 0, collected = 0, name;
		struct vl_net_header header;

		assert_int_equal(vl_driver_share(joint->driver, own.start, own.size, own.fd, 0), 0);
		for (unsigned n = 0; n < 3000; n++) {
			struct vl_driver_frame tx = own_buffer(&own, n % 8);

			tx.buffer = accepted + 1;
			int taken = vl_driver_tx_burst(joint->driver, 0, &tx, 1);
			check(taken >= 0);
			accepted += (unsigned)taken;
			(void)joint_take(joint, 0, &header, got);
		}
		/* Not all have to be taken, but those that were come back. */
		assert_true(accepted >= 4);
		while (vl_driver_tx_complete(joint->driver, 0, &name, 1) == 1)
			assert_int_equal(name, ++collected);
		assert_int_equal(collected, accepted);
		joint_close(joint);
		own_memory_close(&own);
	}
}

/* Posted, sent, received in part: what no call has returned comes back at the end, once. */
static void every_foreign_buffer_comes_back_at_the_end(void **)
{
	enum { RX_BUFFERS = 10, BUFFERS = 22 };

	for (unsigned i = 0; i < COUNT_OF(foreign_variants); i++) {
		struct own_memory own = own_memory(1 << 20);
		struct joint *joint = open_foreign(&foreign_variants[i], 64);
		struct vl_driver *driver = joint->driver;
		struct vl_driver_status status;
		struct vl_driver_frame frames[BUFFERS];
		struct vl_net_header header;
		bool back[BUFFERS] = {false};
		uintptr_t names[3];
		unsigned n;

		for (n = 0; n < BUFFERS; n++) {
			frames[n] = own_buffer(&own, n);
			frames[n].buffer = n;
			frames[n].length = n < RX_BUFFERS ? OWN_ROOM : 100;
		}
		/* Frames of 1, 3, and the rest of 1 again. */
		frames[RX_BUFFERS + 1].header.num_buffers = 3;
		assert_int_equal(vl_driver_share(driver, own.start, own.size, own.fd, 0), 0);
		vl_driver_status(driver, &status);
		assert_int_equal(vl_driver_rx_room(driver, 0), status.rx_slots);
		assert_int_equal(vl_driver_rx_post(driver, 0, frames, RX_BUFFERS), RX_BUFFERS);
		assert_int_equal(vl_driver_rx_room(driver, 0), status.rx_slots - RX_BUFFERS);
		assert_int_equal(
			vl_driver_tx_burst(driver, 0, frames + RX_BUFFERS, BUFFERS - RX_BUFFERS),
			BUFFERS - RX_BUFFERS
		);
		for (n = 0; n < 3; n++) {
			assert_true(joint_take(joint, 0, &header, got) > 0);
			assert_true(joint_deliver(joint, 0, NULL, got, 100, NULL));
		}
		assert_int_equal(vl_driver_rx_burst(driver, 0, frames, 1), 1);
		back[frames[0].buffer] = true;
		assert_int_equal(vl_driver_tx_complete(driver, 0, names, 2), 2);
		back[names[0]] = back[names[1]] = true;
		while ((n = vl_driver_reclaim(driver, 0, names, 3)) > 0) {
			while (n-- > 0) {
				assert_false(back[names[n]]);
				back[names[n]] = true;
			}
		}
		for (n = 0; n < BUFFERS; n++)
			assert_true(back[n]);
		joint_close(joint);
		own_memory_close(&own);
	}
}

static void what_cannot_be_shared_is_refused(void **)
{
	struct own_memory own = own_memory(1 << 20);
	struct joint *joint = open_foreign(&foreign_variants[0], 64);
	struct vl_driver *driver = joint->driver;

	assert_int_equal(vl_driver_share(driver, own.start, 0, own.fd, 0), -EINVAL);
	assert_int_equal(vl_driver_share(driver, own.start + 64, 4096, own.fd, 0), -EINVAL);
	assert_int_equal(vl_driver_share(driver, own.start, 4095, own.fd, 0), -EINVAL);
	assert_int_equal(vl_driver_share(driver, own.start, 4096, own.fd, 64), -EINVAL);
	assert_int_equal(vl_driver_share(driver, own.start, 4096, -1, 0), -EBADF);
	assert_int_equal(vl_driver_share(driver, own.start, 8192, own.fd, 0), 0);
	assert_int_equal(vl_driver_share(driver, own.start + 4096, 8192, own.fd, 4096), -EEXIST);
	assert_int_equal(vl_driver_share(driver, own.start, 8192, own.fd, 0), -EEXIST);
	int error = 0;
	unsigned count = 0;
	while (error == 0 && count < 200) {
		size_t at = 8192 + (size_t)count++ * 4096;

		error = vl_driver_share(driver, own.start + at, 4096, own.fd, at);
	}
	assert_int_equal(error, -ENOSPC);
	assert_true(count >= 8);
	joint_close(joint);
	own_memory_close(&own);
}

static void a_pool_is_of_no_use_with_foreign_memory(void **)
{
	struct joint *joint = open_foreign(&foreign_variants[0], 64);
	struct vl_driver_frame frame;

	assert_int_equal(vl_driver_alloc(joint->driver, 0, &frame, 1), 0);
	assert_int_equal(vl_driver_grow(joint->driver, 0, 8, true), -EINVAL);
	assert_int_equal(vl_driver_rx_burst(joint->driver, 0, &frame, 1), 0);
	joint_close(joint);
}

static void without_foreign_memory_there_is_nothing_to_take_back(void **)
{
	struct joint_options options = {0};
	struct joint *joint = joint_open(&options);
	uintptr_t name;

	assert_int_equal(vl_driver_rx_room(joint->driver, 0), 0);
	assert_int_equal(vl_driver_reclaim(joint->driver, 0, &name, 1), 0);
	joint_close(joint);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_lie_in_the_applications_memory),
		cmocka_unit_test(no_name_of_a_sent_buffer_is_lost),
		cmocka_unit_test(every_foreign_buffer_comes_back_at_the_end),
		cmocka_unit_test(what_cannot_be_shared_is_refused),
		cmocka_unit_test(a_pool_is_of_no_use_with_foreign_memory),
		cmocka_unit_test(without_foreign_memory_there_is_nothing_to_take_back),
	};

	return cmocka_run_group_tests_name("driver, foreign memory", tests, NULL, NULL);
}
