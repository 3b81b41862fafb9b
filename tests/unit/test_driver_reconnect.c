/* SPDX-License-Identifier: BSD-3-Clause */
/* A driver whose device goes and comes back: nothing is lost, and what was taken is taken again. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "joint.h"

enum {
	RING_SIZE = 16,
	FRAME_SIZE = 200,
	NAME_MAX_LAP = 7, /* frames between two ends: laps of the ring are passed in all phases */
};

static uint8_t bytes[JOINT_FRAME_MAX];

static struct joint *open_joint(const struct joint_variant *variant, unsigned pairs)
{
	struct joint_options options = {
		.variant = variant,
		.config = {.queue_pairs = pairs, .queue_size = RING_SIZE},
	};

	return joint_open(&options);
}

static bool send_numbered(struct joint *joint, unsigned pair, uint32_t number)
{
	struct vl_net_header header = {0};

	pattern_fill(bytes, FRAME_SIZE, number);
	return joint_send(joint, pair, &header, bytes, FRAME_SIZE);
}

static void take_numbered(struct joint *joint, unsigned pair, uint32_t number)
{
	static uint8_t got[JOINT_FRAME_MAX];
	struct vl_net_header header;

	pattern_fill(bytes, FRAME_SIZE, number);
	assert_int_equal(joint_take(joint, pair, &header, got), FRAME_SIZE);
	assert_memory_equal(got, bytes, FRAME_SIZE);
}

static void deliver_numbered(struct joint *joint, unsigned pair, uint32_t number)
{
	struct vl_net_header header = {0};
	enum vl_delivery result;

	pattern_fill(bytes, FRAME_SIZE, number);
	assert_true(joint_deliver(joint, pair, &header, bytes, FRAME_SIZE, &result));
	assert_int_equal(result, VL_DELIVERED);
}

static void receive_numbered(struct joint *joint, unsigned pair, uint32_t number)
{
	struct vl_driver_frame frame;

	pattern_fill(bytes, FRAME_SIZE, number);
	assert_int_equal(vl_driver_rx_burst(joint->driver, pair, &frame, 1), 1);
	assert_int_equal(frame.length, FRAME_SIZE);
	assert_memory_equal(frame.data, bytes, FRAME_SIZE);
	vl_driver_free(joint->driver, pair, &frame, 1);
}

/* The device takes frames, and is gone before it has done anything with them. */
static void take_in_vain(struct joint *joint, unsigned count)
{
	pthread_mutex_lock(&joint->lock);
	int n = vl_device_borrow(joint->device, 0, joint->borrowed, count);
	vl_device_put_off(joint->device, 0, (unsigned)n);
	pthread_mutex_unlock(&joint->lock);
}

static void frames_in_the_rings_survive(void **state)
{
	struct joint *joint = open_joint(*state, 1);
	uint32_t sent = 0, taken = 0, delivered = 1000, received = 1000;

	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 0; i < round % NAME_MAX_LAP && send_numbered(joint, 0, sent); i++)
			sent++;
		for (unsigned i = 0; i < round % 3 && taken < sent; i++)
			take_numbered(joint, 0, taken++);
		for (unsigned i = 0; i < round % 4; i++)
			deliver_numbered(joint, 0, delivered++);
		for (unsigned i = 0; i < round % 3 && received < delivered; i++)
			receive_numbered(joint, 0, received++);
		take_in_vain(joint, round % 5);
		joint_hang_up(joint);
		assert_int_equal(vl_driver_process(joint->driver), -ECONNRESET);
		joint_return(joint);
		while (received < delivered)
			receive_numbered(joint, 0, received++);
		if (round % 2)
			continue;
		while (taken < sent)
			take_numbered(joint, 0, taken++);
	}
	while (taken < sent)
		take_numbered(joint, 0, taken++);
	assert_true(sent > 100);
	joint_check_buffers(joint, 0, 0, 0);
	joint_close(joint);
}

static void several_pairs_go_on(void **state)
{
	struct joint *joint = open_joint(*state, 3);
	struct vl_driver_status status;

	for (uint32_t round = 0; round < 5; round++) {
		for (unsigned pair = 0; pair < 3; pair++)
			assert_true(send_numbered(joint, pair, 10 * round + pair));
		joint_hang_up(joint);
		joint_return(joint);
		vl_driver_status(joint->driver, &status);
		assert_int_equal(status.queue_pairs, 3);
		assert_null(status.broken);
		for (unsigned pair = 0; pair < 3; pair++) {
			take_numbered(joint, pair, 10 * round + pair);
			deliver_numbered(joint, pair, round);
			receive_numbered(joint, pair, round);
		}
	}
	joint_close(joint);
}

/* Whether somebody is there or not is found out in the end; until then it may be tried. */
static void a_device_may_stay_away_for_a_while(void **state)
{
	struct joint *joint = open_joint(*state, 1);
	struct vl_driver_error why;

	assert_true(send_numbered(joint, 0, 1));
	joint_hang_up(joint);
	assert_int_equal(vl_driver_reconnect(joint->driver, 0, &why), -EINVAL);
	assert_non_null(strstr(why.text, "socket"));
	for (unsigned i = 0; i < 3; i++) {
		int ends[2];

		check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
		close(ends[0]);
		assert_int_equal(vl_driver_reconnect(joint->driver, ends[1], &why), -ECONNRESET);
		assert_string_not_equal(why.text, "");
		assert_int_equal(vl_driver_process(joint->driver), -ECONNRESET);
		close(ends[1]);
	}
	joint_return(joint);
	take_numbered(joint, 0, 1);
	joint_close(joint);
}

/* Another device in its place, that can less. */
static void a_device_that_lacks_something_is_refused(void **state)
{
	struct joint *joint = open_joint(*state, 1);

	assert_true(send_numbered(joint, 0, 1));
	joint_hang_up(joint);
	joint_replace_device(joint, BIT(VL_F_STATUS));
	assert_int_equal(joint_try_return(joint), -ENOTSUP);
	assert_non_null(strstr(joint->why.text, "STATUS"));
	joint_hang_up(joint);
	joint_replace_device(joint, 0);
	joint_return(joint);
	take_numbered(joint, 0, 1);
	joint_close(joint);
}

/* A device that died between the descriptors of a burst, the first of which it writes last. */
static void a_ring_that_is_half_written_is_mended(void **state)
{
	struct joint *joint = open_joint(*state, 1);
	struct driver_ring *ring = &joint->driver->pairs[0].rx;

	for (uint32_t i = 0; i < 3; i++) {
		joint->unflushed = i < 2;
		deliver_numbered(joint, 0, i);
	}
	joint_hang_up(joint);
	if (ring->packed) {
		ring->packed_desc[0].flags = PACKED_DRIVER_AVAIL | VRING_DESC_F_WRITE;
		joint_return(joint);
		for (uint32_t i = 0; i < 3; i++)
			deliver_numbered(joint, 0, i);
		for (uint32_t i = 0; i < 3; i++)
			receive_numbered(joint, 0, i);
	} else {
		ring->used->idx = 1000;
		assert_int_equal(joint_try_return(joint), -EPROTO);
		assert_non_null(strstr(joint->why.text, "nonsense"));
		joint_hang_up(joint);
		/* Elements count by the index alone. */
		ring->used->idx = 1;
		joint_return(joint);
		receive_numbered(joint, 0, 0);
		deliver_numbered(joint, 0, 1);
		receive_numbered(joint, 0, 1);
	}
	joint_close(joint);
}

/* The same of what was sent. With IN_ORDER the device writes one descriptor for all. */
static void a_burst_that_was_sent_is_sent_once(void **state)
{
	struct joint *joint = open_joint(*state, 1);
	struct driver_ring *ring = &joint->driver->pairs[0].tx;

	for (uint32_t i = 0; i < 3; i++)
		assert_true(send_numbered(joint, 0, i));
	for (uint32_t i = 0; i < 3; i++)
		take_numbered(joint, 0, i);
	joint_hang_up(joint);
	if (ring->packed && !ring->in_order)
		ring->packed_desc[0].flags = PACKED_DRIVER_AVAIL;
	joint_return(joint);
	assert_true(send_numbered(joint, 0, 3));
	take_numbered(joint, 0, 3);
	joint_check_buffers(joint, 0, 0, 0);
	joint_close(joint);
}

/* Where the device completed a newer chain before an older one, no place in the ring tells. */
static void a_ring_that_is_out_of_order_is_refused(void **state)
{
	struct joint *joint = open_joint(*state, 1);
	struct driver_ring *ring = &joint->driver->pairs[0].rx;

	/* Of a batch the last is named, so any chain that there is would do. */
	if (ring->in_order && !ring->packed) {
		joint_close(joint);
		return;
	}
	deliver_numbered(joint, 0, 0);
	joint_hang_up(joint);
	if (ring->packed)
		ring->packed_desc[0].id = ring->in_order ? UINT16_MAX : 1;
	else
		ring->used->ring[0].id = 1;
	assert_int_equal(joint_try_return(joint), -ENOTRECOVERABLE);
	assert_non_null(strstr(joint->why.text, "in order"));
	assert_int_equal(vl_driver_process(joint->driver), -ENOTRECOVERABLE);
	joint_close(joint);
}

int main(void)
{
	static const struct variant_test tests[] = {
		VARIANT_TEST(frames_in_the_rings_survive),
		VARIANT_TEST(several_pairs_go_on),
		VARIANT_TEST(a_device_may_stay_away_for_a_while),
		VARIANT_TEST(a_device_that_lacks_something_is_refused),
		VARIANT_TEST(a_ring_that_is_half_written_is_mended),
		VARIANT_TEST(a_burst_that_was_sent_is_sent_once),
		VARIANT_TEST(a_ring_that_is_out_of_order_is_refused),
	};

	return run_for_all_variants("driver, reconnecting", tests, COUNT_OF(tests));
}
