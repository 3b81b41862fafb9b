/* SPDX-License-Identifier: BSD-3-Clause */
/* Rings that are stopped and go on, from positions as different front ends tell them, and rings
 * that are set up in any order of messages. */
#include <string.h>

#include "traffic.h"
#include "variants.h"

enum {
	RX = 0,
	TX = 1,
	FRAME_SIZE = 60,
};

static void open_front(struct front *front, const struct variant *variant, uint32_t ring_size)
{
	struct front_options options = {
		.ring_size = ring_size,
		.features = variant_features(variant),
	};

	front_open(front, &options);
}

static void send_cut(struct front *front, uint8_t mark, unsigned descriptors)
{
	struct vl_net_header header = {0};
	struct cuts cuts = {descriptors - 1, {12, 20}};
	uint8_t bytes[FRAME_SIZE];

	memset(bytes, mark, sizeof(bytes));
	traffic_send(front, TX, &header, bytes, sizeof(bytes), &cuts, GUEST_CHAINED);
}

/* One frame of `descriptors` through the transmit queue and back. */
static void pass_frame(struct front *front, uint8_t mark, unsigned descriptors)
{
	struct vl_frame frames[2];
	struct guest_used used;

	send_cut(front, mark, descriptors);
	assert_int_equal(vl_device_borrow(front->device, 0, frames, 2), 1);
	assert_int_equal(frames[0].head[0], mark);
	vl_device_give_back(front->device, 0, 1);
	assert_true(guest_ring_reap(&front->rings[TX], &used));
	assert_false(guest_ring_reap(&front->rings[TX], &used));
}

/* One frame into a buffer of the receive queue that is posted for it. */
static void receive_frame(struct front *front, uint8_t mark)
{
	uint8_t bytes[FRAME_SIZE], got[FRAME_SIZE];
	struct vl_net_header header;
	struct built_frame built;

	memset(bytes, mark, sizeof(bytes));
	frame_build(&built, bytes, sizeof(bytes), 64, NULL);
	traffic_post(front, RX, 1, 128, NULL, GUEST_CHAINED);
	assert_int_equal(traffic_deliver(front, 0, &built), VL_DELIVERED);
	assert_int_equal(traffic_receive(front, RX, &header, got, sizeof(got)), FRAME_SIZE);
	assert_memory_equal(bytes, got, FRAME_SIZE);
}

static unsigned borrow_all(struct front *front)
{
	struct vl_frame frames[VL_BURST_MAX];
	int n = vl_device_borrow(front->device, 0, frames, VL_BURST_MAX);

	assert_true(n >= 0);
	vl_device_give_back(front->device, 0, (unsigned)n);
	return (unsigned)n;
}

static void restart(struct front *front, unsigned index)
{
	uint32_t base = front_stop_ring(front, index);

	assert_false(front_queue(front, index).started);
	front_start_ring_at(front, index, &front->rings[index], base);
	assert_true(front_queue(front, index).started);
}

static void a_ring_goes_on_where_it_was_stopped(void **state)
{
	const struct variant *variant = *state;

	for (uint32_t size = 1; size <= 8; size++) {
		struct front front;

		if (!variant->packed && (size & (size - 1)) != 0)
			continue;
		open_front(&front, variant, size);
		for (unsigned round = 0; round < 4 * size + 1; round++) {
			pass_frame(&front, (uint8_t)round, 1);
			receive_frame(&front, (uint8_t)round);
			restart(&front, TX);
			restart(&front, RX);
			assert_int_equal(borrow_all(&front), 0);
		}
		front_close(&front);
	}
}

static void a_split_ring_starts_at_any_index(void **)
{
	static const uint32_t starts[] = {0, 1, 7, 8, 255, 256, 32767, 32768, 65534, 65535};

	for (unsigned i = 0; i < COUNT_OF(starts); i++) {
		struct front_options options = {.ring_size = 8, .start = starts[i]};
		struct front front;

		front_open(&front, &options);
		for (uint8_t n = 0; n < 20; n++) {
			pass_frame(&front, n, 1);
			receive_frame(&front, n);
		}
		assert_int_equal(front_stop_ring(&front, TX), (uint16_t)(starts[i] + 20));
		front_close(&front);
	}
}

static void a_packed_ring_starts_at_any_slot_and_lap(void **)
{
	const struct variant variant = {"", true, true, GUEST_CHAINED};

	for (uint32_t slot = 0; slot < 5; slot++) {
		for (unsigned wrap = 0; wrap < 2; wrap++) {
			struct guest_ring_options options = {
				.size = 5,
				.packed = true,
				.event_idx = true,
				.start = slot,
				.start_wrap = wrap,
			};
			struct front front;

			open_front(&front, &variant, 5);
			(void)front_stop_ring(&front, TX);
			guest_ring_close(&front.rings[TX]);
			guest_ring_open(&front.rings[TX], &front.guest, &options);
			front_start_ring(&front, TX, &front.rings[TX]);
			for (uint8_t n = 0; n < 12; n++)
				pass_frame(&front, n, 1 + n % 3);
			front_close(&front);
		}
	}
}

static void frames_sent_before_the_restart_come_after_it(void **state)
{
	for (uint8_t before = 0; before < 10; before++) {
		struct front front;

		open_front(&front, *state, 4);
		for (uint8_t n = 0; n < before; n++)
			pass_frame(&front, n, 1);
		uint32_t base = front_stop_ring(&front, TX);
		for (uint8_t n = 0; n < 4; n++)
			send_cut(&front, n, 1);
		assert_int_equal(borrow_all(&front), 0);
		front_start_ring_at(&front, TX, &front.rings[TX], base);
		assert_int_equal(borrow_all(&front), 4);
		front_close(&front);
	}
}

/* A worker that has borrowed when the ring is stopped has passed when synchronize returns. */
static void borrowed_chains_are_complete_when_the_ring_is_stopped(void **state)
{
	struct vl_frame frames[4];
	struct guest_used used;
	struct front front;

	open_front(&front, *state, 4);
	for (uint8_t n = 0; n < 4; n++)
		send_cut(&front, n, 1);
	assert_int_equal(vl_device_borrow(front.device, 0, frames, 3), 3);
	restart(&front, TX);
	for (unsigned i = 0; i < 3; i++)
		assert_true(guest_ring_reap(&front.rings[TX], &used));
	vl_device_give_back(front.device, 0, 3); /* late: there is nothing any more */
	assert_false(guest_ring_reap(&front.rings[TX], &used));
	assert_int_equal(borrow_all(&front), 1);
	assert_true(guest_ring_reap(&front.rings[TX], &used));
	front_close(&front);
}

static void put_two_of_three_off(struct front *front)
{
	vl_device_put_off(front->device, 0, 2);
	vl_device_give_back(front->device, 0, 1);
}

/* A wire without buffers leaves frames where they are, whatever control does at that moment. */
static void chains_put_off_while_the_ring_is_stopped_come_again(void **state)
{
	struct vl_frame frames[4];
	struct guest_used used;
	struct front front;

	open_front(&front, *state, 4);
	for (uint8_t n = 0; n < 3; n++)
		send_cut(&front, n, 1);
	assert_int_equal(vl_device_borrow(front.device, 0, frames, 4), 3);
	front.callbacks.meanwhile = put_two_of_three_off;
	uint32_t base = front_stop_ring(&front, TX);
	front.callbacks.meanwhile = NULL;
	assert_true(guest_ring_reap(&front.rings[TX], &used));
	assert_false(guest_ring_reap(&front.rings[TX], &used));
	front_start_ring_at(&front, TX, &front.rings[TX], base);
	assert_int_equal(borrow_all(&front), 2);
	front_close(&front);
}

static void a_stopped_ring_is_left_alone(void **state)
{
	struct built_frame built;
	uint8_t bytes[FRAME_SIZE] = {0};
	struct guest_used used;
	struct front front;

	open_front(&front, *state, 4);
	traffic_post(&front, RX, 1, 128, NULL, GUEST_CHAINED);
	send_cut(&front, 1, 1);
	(void)front_stop_ring(&front, RX);
	(void)front_stop_ring(&front, TX);
	frame_build(&built, bytes, sizeof(bytes), 64, NULL);
	assert_int_equal(traffic_deliver(&front, 0, &built), VL_DOWN);
	assert_int_equal(borrow_all(&front), 0);
	assert_true(vl_device_sleep(front.device, 0));
	assert_false(vl_device_ready(front.device, 0, true));
	assert_false(vl_device_ready(front.device, 0, false));
	assert_false(guest_ring_reap(&front.rings[TX], &used));
	assert_false(guest_ring_reap(&front.rings[RX], &used));
	front_close(&front);
}

/* "SET_VRING_KICK [...] GET_VRING_BASE": the base is still told when it is asked for twice. */
static void stopping_twice_says_the_same(void **state)
{
	struct front front;

	open_front(&front, *state, 4);
	for (uint8_t n = 0; n < 7; n++)
		pass_frame(&front, n, 1);
	uint32_t base = front_stop_ring(&front, TX);
	assert_int_equal(front_stop_ring(&front, TX), base);
	front_close(&front);
}

static void memory_may_change_between_frames(void **state)
{
	struct front front;

	open_front(&front, *state, 4);
	for (uint8_t n = 0; n < 20; n++) {
		pass_frame(&front, n, 1 + n % 3);
		receive_frame(&front, n);
		assert_int_equal(front_share_memory(&front), 0);
	}
	front_close(&front);
}

/* ---- how front ends tell a packed ring's position ---- */

static void dpdk_tells_half_of_a_packed_position(void **)
{
	const struct variant variant = {"", true, false, GUEST_CHAINED};
	struct front front;

	open_front(&front, &variant, 5);
	for (uint8_t n = 0; n < 23; n++) {
		pass_frame(&front, n, 1);
		uint32_t base = front_stop_ring(&front, TX);
		front_start_ring_at(&front, TX, &front.rings[TX], base & 0xffff);
	}
	front_close(&front);
}

static void user_mode_linux_starts_a_packed_ring_at_0(void **)
{
	const struct variant variant = {"", true, true, GUEST_CHAINED};
	struct guest_ring_options options = {.size = 8, .packed = true, .start_wrap = true};

	for (unsigned early = 0; early < 2; early++) {
		struct front front;

		open_front(&front, &variant, 8);
		(void)front_stop_ring(&front, TX);
		guest_ring_close(&front.rings[TX]);
		guest_ring_open(&front.rings[TX], &front.guest, &options);
		/* All zero, as fresh memory is. */
		memset(front.rings[TX].packed_desc, 0, 16 * 8);
		if (early)
			send_cut(&front, 1, 1);
		front_start_ring_at(&front, TX, &front.rings[TX], 0);
		assert_int_equal(borrow_all(&front), early);
		struct guest_used used;
		(void)guest_ring_reap(&front.rings[TX], &used);
		for (uint8_t n = 0; n < 20; n++)
			pass_frame(&front, n, 1);
		front_close(&front);
	}
}

/* Position 0 of an even lap, and slot 0 was last the second descriptor of a chain: it looks as if
 * it were available in the first lap. */
static void bring_to_stale_slot_0(struct front *front, bool started_at_0)
{
	const struct variant variant = {"", true, false, GUEST_CHAINED};

	open_front(front, &variant, 3);
	if (started_at_0) {
		(void)front_stop_ring(front, TX);
		front_start_ring_at(front, TX, &front->rings[TX], 0);
	}
	for (uint8_t n = 0; n < 5; n++)
		pass_frame(front, n, 1); /* laps 1 and 2, up to slot 2 */
	pass_frame(front, 5, 2);	 /* slots 2 and 0 */
	pass_frame(front, 6, 2);	 /* slots 1 and 2 of lap 3 */
	assert_int_equal(front->rings[TX].next_avail, 0);
	assert_false(front->rings[TX].avail_wrap);
}

static void old_descriptors_are_not_taken_after_a_restart(void **)
{
	for (unsigned started_at_0 = 0; started_at_0 < 2; started_at_0++) {
		struct front front;

		bring_to_stale_slot_0(&front, started_at_0);
		restart(&front, TX);
		assert_int_equal(borrow_all(&front), 0);
		pass_frame(&front, 7, 1);
		front_close(&front);
	}
}

static void old_descriptors_are_not_taken_after_a_change_of_memory(void **)
{
	for (unsigned started_at_0 = 0; started_at_0 < 2; started_at_0++) {
		struct front front;

		bring_to_stale_slot_0(&front, started_at_0);
		assert_int_equal(front_share_memory(&front), 0);
		assert_int_equal(borrow_all(&front), 0);
		pass_frame(&front, 7, 1);
		front_close(&front);
	}
}

/* virtio_uml sets a ring up again without having stopped it. */
static void a_new_base_stops_a_running_ring(void **state)
{
	struct guest_ring_options options = {
		.size = 8,
		.packed = ((const struct variant *)*state)->packed,
		.start_wrap = true,
	};
	struct front front;

	open_front(&front, *state, 4);
	pass_frame(&front, 1, 1);
	guest_ring_close(&front.rings[TX]);
	guest_ring_open(&front.rings[TX], &front.guest, &options);
	front_start_ring(&front, TX, &front.rings[TX]);
	pass_frame(&front, 2, 1);
	front_close(&front);
}

/* ---- order of messages ---- */

enum step {
	SHARE,
	SIZE,
	BASE,
	ADDRESS,
	KICK,
	ENABLE,
	STEP_COUNT,
};

static void take_step(struct front *front, unsigned index, enum step step)
{
	const struct guest_ring *ring = &front->rings[index];
	uint32_t base = ring->packed ? 0x80008000 : 0;
	struct vhost_vring_addr address = {
		.index = index,
		.desc_user_addr = guest_to_user(&front->guest, ring->desc_address),
		.avail_user_addr = guest_to_user(&front->guest, ring->driver_address),
		.used_user_addr = guest_to_user(&front->guest, ring->device_address),
	};
	int result = 0;

	switch (step) {
	case SHARE:
		result = front_share_memory(front);
		break;
	case SIZE:
		result = front_request_state(front, VHOST_USER_SET_VRING_NUM, index, ring->size);
		break;
	case BASE:
		result = front_request_state(front, VHOST_USER_SET_VRING_BASE, index, base);
		break;
	case ADDRESS:
		result = front_request(
			front, VHOST_USER_SET_VRING_ADDR, &address, sizeof(address), NULL, 0
		);
		break;
	case KICK:
		result = front_request_fd(front, VHOST_USER_SET_VRING_KICK, index, ring->kick_fd);
		break;
	case ENABLE:
		front_enable_ring(front, index, true);
		break;
	case STEP_COUNT:
		break;
	}
	assert_int_equal(result, 0);
}

/* The next permutation in lexical order; false after the last. */
static bool permute(enum step *steps)
{
	int i = STEP_COUNT - 2, j = STEP_COUNT - 1;

	while (i >= 0 && steps[i] > steps[i + 1])
		i--;
	if (i < 0)
		return false;
	while (steps[j] < steps[i])
		j--;
	enum step swap = steps[i];
	steps[i] = steps[j];
	steps[j] = swap;
	for (int low = i + 1, high = STEP_COUNT - 1; low < high; low++, high--) {
		swap = steps[low];
		steps[low] = steps[high];
		steps[high] = swap;
	}
	return true;
}

static bool base_comes_before_kick(const enum step *steps)
{
	for (unsigned i = 0; i < STEP_COUNT; i++) {
		if (steps[i] == BASE || steps[i] == KICK)
			return steps[i] == BASE;
	}
	return false;
}

/* A base behind the kick stops the ring, by intent; all other orders end with rings that are up. */
static void rings_come_up_in_any_order_of_messages(void **state)
{
	const struct variant *variant = *state;
	enum step steps[] = {SHARE, SIZE, BASE, ADDRESS, KICK, ENABLE};

	do {
		struct guest_ring_options ring = {
			.size = 4, .packed = variant->packed, .start_wrap = true};
		struct front_options options = {0};
		struct front front;

		if (!base_comes_before_kick(steps))
			continue;
		front_attach(&front, &options);
		front_negotiate(&front, variant_features(variant) | BIT(VL_F_VERSION_1));
		for (unsigned i = 0; i < 2; i++)
			guest_ring_open(&front.rings[i], &front.guest, &ring);
		for (unsigned i = 0; i < STEP_COUNT; i++) {
			take_step(&front, RX, steps[i]);
			if (steps[i] != SHARE)
				take_step(&front, TX, steps[i]);
		}
		assert_int_equal(vl_device_active_pairs(front.device), 1);
		assert_int_equal(front_status(&front).pairs_up, 1);
		pass_frame(&front, 1, 1);
		receive_frame(&front, 2);
		front_close(&front);
	} while (permute(steps));
}

static const struct variant_test restart_tests[] = {
	VARIANT_TEST(a_ring_goes_on_where_it_was_stopped),
	VARIANT_TEST(frames_sent_before_the_restart_come_after_it),
	VARIANT_TEST(borrowed_chains_are_complete_when_the_ring_is_stopped),
	VARIANT_TEST(chains_put_off_while_the_ring_is_stopped_come_again),
	VARIANT_TEST(a_stopped_ring_is_left_alone),
	VARIANT_TEST(stopping_twice_says_the_same),
	VARIANT_TEST(memory_may_change_between_frames),
	VARIANT_TEST(a_new_base_stops_a_running_ring),
	VARIANT_TEST(rings_come_up_in_any_order_of_messages),
};

int main(void)
{
	const struct CMUnitTest positions[] = {
		cmocka_unit_test(a_split_ring_starts_at_any_index),
		cmocka_unit_test(a_packed_ring_starts_at_any_slot_and_lap),
		cmocka_unit_test(dpdk_tells_half_of_a_packed_position),
		cmocka_unit_test(user_mode_linux_starts_a_packed_ring_at_0),
		cmocka_unit_test(old_descriptors_are_not_taken_after_a_restart),
		cmocka_unit_test(old_descriptors_are_not_taken_after_a_change_of_memory),
	};

	return run_for_all_rings("restart", restart_tests, COUNT_OF(restart_tests))
	       + cmocka_run_group_tests_name("positions", positions, NULL, NULL);
}
