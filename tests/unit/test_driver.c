/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames between a driver of ours and a device of ours: every byte and every header in both
 * directions, no buffer lost, and who sleeps is woken. For each variant of the rings; the processor
 * level is VIRTLANE_ISA's.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "joint.h"

static uint8_t sent[JOINT_FRAME_MAX], got[JOINT_FRAME_MAX];

static const uint64_t offloads = BIT(VL_F_CSUM) | BIT(VL_F_HOST_TSO4) | BIT(VL_F_HOST_TSO6)
				 | BIT(VL_F_HOST_ECN) | BIT(VL_F_HOST_UFO) | BIT(VL_F_HOST_USO)
				 | BIT(VL_F_GUEST_CSUM) | BIT(VL_F_GUEST_TSO4)
				 | BIT(VL_F_GUEST_TSO6) | BIT(VL_F_GUEST_ECN) | BIT(VL_F_GUEST_UFO)
				 | BIT(VL_F_GUEST_USO4) | BIT(VL_F_GUEST_USO6);

static bool is_mergeable(void **state)
{
	return ((const struct joint_variant *)*state)->mergeable;
}

static struct joint *
open_with(void **state, unsigned queue_size, uint32_t buffer_size, uint64_t wanted)
{
	/* Smaller ones are refused: 72 have to hold any frame. */
	if (is_mergeable(state) && buffer_size < 1024)
		buffer_size = 1024;
	struct joint_options options = {
		.variant = *state,
		.config = {
			.queue_size = queue_size,
			.buffer_size = buffer_size,
			.wanted.word[0] = wanted,
		}};

	return joint_open(&options);
}

/* ---- content ---- */

/* Out, back, the same, and no buffer is lost. */
static void go_round(struct joint *joint, uint32_t size)
{
	struct vl_net_header header;

	pattern_fill(sent, size, size);
	assert_true(joint_send(joint, 0, NULL, sent, size));
	assert_int_equal(joint_echo(joint, 0), 1);
	assert_int_equal(joint_receive(joint, 0, &header, got), size);
	assert_memory_equal(got, sent, size);
	assert_int_equal(header.flags, 0);
	assert_int_equal(header.gso_type, VL_GSO_NONE);
	joint_check_buffers(joint, 0, 0, 0);
}

static void frames_of_usual_sizes_go_round(void **state)
{
	struct joint *joint = open_with(state, 64, 2048, 0);

	/* Twice around the rings, so that what was left in them is met. */
	for (unsigned lap = 0; lap < 3; lap++) {
		for (uint32_t size = 60; size <= 130; size++)
			go_round(joint, size);
	}
	static const uint32_t sizes[] = {1, 14, 15, 255, 256, 1514, 1518, 2047, 2048};
	for (unsigned i = 0; i < COUNT_OF(sizes); i++)
		go_round(joint, sizes[i]);
	joint_close(joint);
}

static void large_frames_go_round(void **state)
{
	/* In one buffer, or in many both ways. */
	uint32_t room = is_mergeable(state) ? 2048 : 65600;

	for (unsigned with = 0; with < 2; with++) {
		struct joint *joint = open_with(state, 128, room, with ? offloads : 0);
		static const uint32_t sizes[] = {2049, 9014, 16384, 65535, 65536, 65550};

		for (unsigned lap = 0; lap < 3; lap++) {
			for (unsigned i = 0; i < COUNT_OF(sizes); i++)
				go_round(joint, sizes[i]);
			go_round(joint, 60);
		}
		joint_close(joint);
	}
}

/* A frame of `count` pieces of random sizes; what they hold all together is in `sent`. */
static uint32_t
fill_pieces(struct random *random, struct vl_driver_frame *frames, unsigned count, uint64_t seed)
{
	uint32_t size = 0;

	for (unsigned i = 0; i < count; i++) {
		frames[i].length = 1 + random_below(random, 900);
		size += frames[i].length;
	}
	pattern_fill(sent, size, seed);
	for (unsigned i = 0, at = 0; i < count; at += frames[i++].length)
		memcpy(frames[i].data, sent + at, frames[i].length);
	frames[0].header.num_buffers = (uint16_t)count;
	return size;
}

/* With and without tables for them. */
static void frames_of_many_pieces_are_sent_whole(void **state)
{
	for (unsigned with = 0; with < 2; with++) {
		struct joint *joint = open_with(state, 256, 2048, with ? offloads : 0);
		struct random random = {77};

		for (unsigned round = 0; round < 300; round++) {
			struct vl_driver_frame frames[DRIVER_PIECES_MAX];
			struct vl_net_header header;
			unsigned count = 1 + round % DRIVER_PIECES_MAX;

			assert_int_equal(vl_driver_alloc(joint->driver, 0, frames, count), count);
			uint32_t size = fill_pieces(&random, frames, count, round);
			assert_int_equal(
				vl_driver_tx_burst(joint->driver, 0, frames, count), count
			);
			assert_int_equal(joint_take(joint, 0, &header, got), size);
			assert_memory_equal(got, sent, size);
			assert_int_equal(header.num_buffers, 0);
			joint_check_buffers(joint, 0, 0, 0);
		}
		joint_close(joint);
	}
}

/* Frames of different numbers of pieces in one call, none of which is split. */
static void a_burst_never_splits_a_frame(void **state)
{
	struct joint *joint = open_with(state, 64, 2048, 0);
	struct vl_driver_frame frames[16];
	struct vl_net_header header;

	assert_int_equal(vl_driver_alloc(joint->driver, 0, frames, 16), 16);
	for (unsigned i = 0; i < 16; i++) {
		frames[i].length = 100 + i;
		memset(frames[i].data, (int)i, 2048);
	}
	/* Pieces of 1, 3, 1 and 4; of the last, two are not in the call. */
	frames[1].header.num_buffers = 3;
	frames[4].header.num_buffers = 1;
	frames[5].header.num_buffers = 4;
	assert_int_equal(vl_driver_tx_burst(joint->driver, 0, frames, 7), 5);
	assert_int_equal(joint_take(joint, 0, &header, got), 100);
	assert_int_equal(joint_take(joint, 0, &header, got), 101 + 102 + 103);
	assert_int_equal(joint_take(joint, 0, &header, got), 104);
	assert_int_equal(joint_take(joint, 0, &header, got), -1);
	assert_int_equal(vl_driver_tx_burst(joint->driver, 0, frames + 5, 11), 11);
	assert_int_equal(joint_take(joint, 0, &header, got), 105 + 106 + 107 + 108);
	for (unsigned i = 9; i < 16; i++)
		assert_int_equal(joint_take(joint, 0, &header, got), 100 + i);
	joint_check_buffers(joint, 0, 0, 0);
	joint_close(joint);
}

static void a_frame_of_too_many_pieces_is_refused(void **state)
{
	struct joint *joint = open_with(state, 256, 64, 0);
	struct vl_driver_frame frames[DRIVER_PIECES_MAX + 1];
	unsigned count = DRIVER_PIECES_MAX + 1;

	assert_int_equal(vl_driver_alloc(joint->driver, 0, frames, count), count);
	for (unsigned i = 0; i < count; i++)
		frames[i].length = 64;
	frames[0].header.num_buffers = (uint16_t)count;
	assert_int_equal(vl_driver_tx_burst(joint->driver, 0, frames, count), -EINVAL);
	joint_check_buffers(joint, 0, 0, count);
	vl_driver_free(joint->driver, 0, frames, count);
	joint_close(joint);
}

/* 0 would say "come again". */
static void a_frame_that_the_ring_never_holds_is_refused(void **state)
{
	const struct joint_variant *variant = *state;
	struct joint_options options = {
		.variant = variant, .config = {.queue_size = 8, .tx_buffers = 16}};
	struct joint *joint = joint_open(&options);
	struct vl_driver_frame frames[9];

	assert_int_equal(vl_driver_alloc(joint->driver, 0, frames, 9), 9);
	for (unsigned i = 0; i < 9; i++)
		frames[i].length = 256;
	frames[0].header.num_buffers = 9;
	assert_int_equal(vl_driver_tx_burst(joint->driver, 0, frames, 9), -EINVAL);
	vl_driver_free(joint->driver, 0, frames, 9);
	joint_close(joint);
}

static void the_room_in_front_can_be_used(void **state)
{
	struct joint *joint = open_with(state, 64, 2048, 0);

	for (unsigned round = 0; round < 100; round++) {
		unsigned room = round % (VL_DRIVER_HEADROOM + 1);
		struct vl_driver_frame frame;
		struct vl_net_header header;

		assert_int_equal(vl_driver_alloc(joint->driver, 0, &frame, 1), 1);
		pattern_fill(sent, 2048 + room, round);
		frame.data -= room;
		frame.length = 2048 + room;
		memcpy(frame.data, sent, frame.length);
		assert_int_equal(vl_driver_tx_burst(joint->driver, 0, &frame, 1), 1);
		assert_int_equal(joint_take(joint, 0, &header, got), 2048 + room);
		assert_memory_equal(got, sent, 2048 + room);
		/* And in front of what was received, which is sent on. */
		pattern_fill(sent + room, 500, round + 1000);
		assert_true(joint_deliver(joint, 0, NULL, sent + room, 500, NULL));
		assert_int_equal(vl_driver_rx_burst(joint->driver, 0, &frame, 1), 1);
		frame.data -= room;
		frame.length += room;
		memcpy(frame.data, sent, room);
		assert_int_equal(vl_driver_tx_burst(joint->driver, 0, &frame, 1), 1);
		assert_int_equal(joint_take(joint, 0, &header, got), 500 + room);
		assert_memory_equal(got, sent, 500 + room);
		joint_check_buffers(joint, 0, 0, 0);
	}
	joint_close(joint);
}

static void each_pair_has_its_own_frames(void **state)
{
	for (unsigned pairs = 2; pairs <= JOINT_PAIRS_MAX; pairs += 2) {
		struct joint_options options = {
			.variant = *state, .config = {.queue_pairs = pairs, .queue_size = 64}};
		struct joint *joint = joint_open(&options);

		assert_int_equal(vl_device_active_pairs(joint->device), pairs);
		for (unsigned round = 0; round < 100; round++) {
			for (unsigned i = 0; i < pairs; i++) {
				pattern_fill(sent, 200, round * 8 + i);
				assert_true(joint_send(joint, i, NULL, sent, 100 + i));
			}
			for (unsigned i = 0; i < pairs; i++)
				assert_int_equal(joint_echo(joint, i), 1);
			for (unsigned i = 0; i < pairs; i++) {
				pattern_fill(sent, 200, round * 8 + i);
				assert_int_equal(joint_receive(joint, i, NULL, got), 100 + i);
				assert_memory_equal(got, sent, 100 + i);
				assert_int_equal(joint_receive(joint, i, NULL, got), -1);
			}
		}
		for (unsigned i = 0; i < pairs; i++)
			joint_check_buffers(joint, i, 0, 0);
		joint_close(joint);
	}
}

/* ---- headers ---- */

static const struct vl_net_header asked[] = {
	{.flags = VL_NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16},
	{VL_NET_NEEDS_CSUM, VL_GSO_TCPV4, 54, 1448, 34, 16, 0},
	{VL_NET_NEEDS_CSUM, VL_GSO_TCPV4 | VL_GSO_ECN, 54, 536, 34, 16, 0},
	{VL_NET_NEEDS_CSUM, VL_GSO_TCPV6, 74, 1428, 54, 16, 0},
	{VL_NET_NEEDS_CSUM, VL_GSO_UDP, 42, 1480, 34, 6, 0},
	{VL_NET_NEEDS_CSUM, VL_GSO_UDP_L4, 42, 1200, 34, 6, 0},
};

static void check_header(const struct vl_net_header *is, const struct vl_net_header *as)
{
	assert_int_equal(is->flags, as->flags);
	assert_int_equal(is->gso_type, as->gso_type);
	assert_int_equal(is->hdr_len, as->hdr_len);
	assert_int_equal(is->gso_size, as->gso_size);
	assert_int_equal(is->csum_start, as->csum_start);
	assert_int_equal(is->csum_offset, as->csum_offset);
}

static void offload_headers_are_carried_both_ways(void **state)
{
	static const struct vl_net_header plain;
	struct joint *joint = open_with(state, 64, 4096, offloads);
	struct vl_net_header header;

	pattern_fill(sent, 4000, 1);
	for (unsigned round = 0; round < 100; round++) {
		const struct vl_net_header *one = &asked[round % COUNT_OF(asked)];

		assert_true(joint_send(joint, 0, one, sent, 4000));
		assert_int_equal(joint_take(joint, 0, &header, got), 4000);
		check_header(&header, one);
		assert_int_equal(header.num_buffers, 0);
		/* The next one's is not what the last one left. */
		assert_true(joint_send(joint, 0, NULL, sent, 4000));
		assert_int_equal(joint_take(joint, 0, &header, got), 4000);
		check_header(&header, &plain);
		assert_true(joint_deliver(joint, 0, one, sent, 4000, NULL));
		assert_int_equal(joint_receive(joint, 0, &header, got), 4000);
		check_header(&header, one);
		assert_int_equal(header.num_buffers, 1);
		assert_true(joint_deliver(joint, 0, NULL, sent, 4000, NULL));
		assert_int_equal(joint_receive(joint, 0, &header, got), 4000);
		check_header(&header, &plain);
	}
	joint_close(joint);
}

/* What only a device may say is not said by a driver that sends on what it got. */
static void what_was_verified_is_told_and_not_sent_on(void **state)
{
	static const struct vl_net_header valid = {.flags = VL_NET_DATA_VALID}, plain;
	struct joint *joint = open_with(state, 64, 2048, BIT(VL_F_GUEST_CSUM));
	struct vl_driver_frame frame;
	struct vl_net_header header;

	pattern_fill(sent, 100, 1);
	assert_true(joint_deliver(joint, 0, &valid, sent, 100, NULL));
	assert_int_equal(vl_driver_rx_burst(joint->driver, 0, &frame, 1), 1);
	check_header(&frame.header, &valid);
	assert_int_equal(vl_driver_tx_burst(joint->driver, 0, &frame, 1), 1);
	assert_int_equal(joint_take(joint, 0, &header, got), 100);
	check_header(&header, &plain);
	joint_close(joint);
}

static void what_was_not_negotiated_is_not_sent(void **state)
{
	/* What each of `asked` needs, so that all but that is negotiated. */
	static const unsigned needs[] = {
		VL_F_CSUM,
		VL_F_HOST_TSO4,
		VL_F_HOST_ECN,
		VL_F_HOST_TSO6,
		VL_F_HOST_UFO,
		VL_F_HOST_USO,
	};
	const uint64_t host = offloads & ~(BIT(VL_F_GUEST_CSUM) - 1);

	for (unsigned i = 0; i < COUNT_OF(asked); i++) {
		uint64_t wanted = i == 0 ? 0 : (host | BIT(VL_F_CSUM)) & ~BIT(needs[i]);
		struct joint *joint = open_with(state, 64, 2048, wanted);
		struct vl_driver_frame frames[3];

		assert_int_equal(vl_driver_alloc(joint->driver, 0, frames, 3), 3);
		for (unsigned k = 0; k < 3; k++)
			frames[k].length = 1000;
		frames[1].header = asked[i];
		/* Those before it go. */
		assert_int_equal(vl_driver_tx_burst(joint->driver, 0, frames, 3), 1);
		assert_int_equal(vl_driver_tx_burst(joint->driver, 0, frames + 1, 2), -EINVAL);
		assert_int_equal(vl_driver_tx_burst(joint->driver, 0, frames + 2, 1), 1);
		vl_driver_free(joint->driver, 0, frames + 1, 1);
		assert_int_equal(joint_echo(joint, 0), 2);
		joint_check_buffers(joint, 0, 0, 0);
		joint_close(joint);
	}
}

/* ---- buffers ---- */

/* What an application may do with what it received: free it, send it on. */
static void use_received(struct joint *joint, struct random *random, unsigned max)
{
	struct vl_driver_frame frames[DRIVER_PIECES_MAX];
	int n = vl_driver_rx_burst(joint->driver, 0, frames, max);

	check(n >= 0);
	for (int i = 0; i < n; i += frames[i].header.num_buffers) {
		unsigned count = frames[i].header.num_buffers;

		if (random_below(random, 2) == 0
		    || vl_driver_tx_burst(joint->driver, 0, &frames[i], count) == 0)
			vl_driver_free(joint->driver, 0, &frames[i], count);
	}
}

static void send_some(struct joint *joint, struct random *random)
{
	struct vl_driver_frame frames[32];
	unsigned n = vl_driver_alloc(joint->driver, 0, frames, 1 + random_below(random, 32));
	unsigned unsent = n == 0 ? 0 : random_below(random, n + 1) / 4;

	for (unsigned i = 0; i < n; i++)
		frames[i].length = 60 + random_below(random, 100);
	/* Some of two pieces. */
	for (unsigned i = 0; i + 1 < n - unsent; i += 2 + random_below(random, 8))
		frames[i++].header.num_buffers = 2;
	int sent_now = vl_driver_tx_burst(joint->driver, 0, frames, n - unsent);
	check(sent_now >= 0);
	vl_driver_free(joint->driver, 0, frames + sent_now, n - (unsigned)sent_now);
}

static void no_buffer_is_lost_over_many_frames(void **state)
{
	struct joint *joint = open_with(state, 256, 256, 0);
	struct random random = {5};
	struct vl_driver_stats stats = {0};

	while (stats.tx_frames < 100000) {
		send_some(joint, &random);
		if (random_below(&random, 2) == 0)
			(void)joint_echo(joint, 0);
		use_received(joint, &random, 8 + random_below(&random, 56));
		vl_driver_stats(joint->driver, 0, &stats);
	}
	while (joint_echo(joint, 0) > 0)
		use_received(joint, &random, 64);
	for (unsigned i = 0; i < 20; i++) {
		use_received(joint, &random, 64);
		(void)joint_echo(joint, 0);
	}
	joint_check_buffers(joint, 0, 0, 0);
	vl_driver_stats(joint->driver, 0, &stats);
	assert_null(stats.broken);
	assert_true(stats.rx_frames > 10000);
	joint_close(joint);
}

static void a_full_ring_takes_no_more_until_frames_are_sent(void **state)
{
	struct joint *joint = open_with(state, 64, 256, 0);
	struct vl_driver_status status;
	struct vl_driver_stats stats;
	struct vl_net_header header;

	vl_driver_status(joint->driver, &status);
	for (unsigned lap = 0; lap < 3; lap++) {
		unsigned n = 0;

		while (joint_send(joint, 0, NULL, sent, 100))
			n++;
		assert_int_equal(n, status.tx_slots);
		assert_int_equal(joint_take(joint, 0, &header, got), 100);
		assert_true(joint_send(joint, 0, NULL, sent, 100));
		assert_false(joint_send(joint, 0, NULL, sent, 100));
		while (joint_take(joint, 0, &header, got) > 0)
			;
	}
	vl_driver_stats(joint->driver, 0, &stats);
	assert_int_equal(stats.tx_frames, 3 * (status.tx_slots + 1));
	assert_int_equal(stats.tx_bytes, 100 * stats.tx_frames);
	joint_check_buffers(joint, 0, 0, 0);
	joint_close(joint);
}

static void what_was_not_taken_stays_the_applications(void **state)
{
	struct joint_options options = {
		.variant = *state, .config = {.queue_size = 16, .tx_buffers = 64}};
	struct joint *joint = joint_open(&options);
	struct vl_driver_frame frames[64];
	struct vl_driver_stats stats;

	assert_int_equal(vl_driver_alloc(joint->driver, 0, frames, 64), 64);
	for (unsigned i = 0; i < 64; i++)
		frames[i].length = 60;
	unsigned slots = joint->driver->config.queue_size;
	assert_int_equal(vl_driver_tx_burst(joint->driver, 0, frames, 64), slots);
	assert_int_equal(vl_driver_tx_burst(joint->driver, 0, frames + slots, 64 - slots), 0);
	vl_driver_stats(joint->driver, 0, &stats);
	assert_int_equal(stats.tx_full, 2);
	while (joint_echo(joint, 0) > 0)
		;
	joint_check_buffers(joint, 0, 0, 64 - slots);
	vl_driver_free(joint->driver, 0, frames + slots, 64 - slots);
	joint_close(joint);
}

/* Taken one at a time, they come in order, whoever kept them meanwhile. */
static void small_bursts_lose_nothing(void **state)
{
	struct joint *joint = open_with(state, 64, 256, 0);

	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < 20; i++) {
			memset(sent, (int)(round + i), 64);
			assert_true(joint_deliver(joint, 0, NULL, sent, 64, NULL));
		}
		for (unsigned i = 0; i < 20; i++) {
			struct vl_driver_frame frame;

			assert_int_equal(vl_driver_rx_burst(joint->driver, 0, &frame, 1), 1);
			assert_int_equal(frame.length, 64);
			assert_int_equal(frame.data[63], (uint8_t)(round + i));
			vl_driver_free(joint->driver, 0, &frame, 1);
		}
		joint_check_buffers(joint, 0, 0, 0);
	}
	joint_close(joint);
}

/* The device waits for room for all of a frame, so that has to come. */
static void a_large_frame_finds_room_behind_small_ones(void **state)
{
	struct joint *joint;

	if (!is_mergeable(state))
		return;
	joint = open_with(state, 64, 1024, offloads);
	for (unsigned round = 0; round < 5; round++) {
		/* An application looks again after the last frame. */
		assert_int_equal(joint_receive(joint, 0, NULL, got), -1);
		for (unsigned i = 0; i < round; i++) {
			assert_true(joint_deliver(joint, 0, NULL, sent, 60, NULL));
			assert_int_equal(joint_receive(joint, 0, NULL, got), 60);
			assert_int_equal(joint_receive(joint, 0, NULL, got), -1);
		}
		assert_true(joint_deliver(joint, 0, NULL, sent, 65500, NULL));
		assert_int_equal(joint_receive(joint, 0, NULL, got), 65500);
	}
	joint_close(joint);
}

/* ---- waiting ---- */

static bool was_called(struct joint *joint)
{
	struct pollfd fd = {.fd = vl_driver_fd(joint->driver, 0), .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

static void a_sleeper_is_called_once_it_has_a_frame(void **state)
{
	struct joint *joint = open_with(state, 64, 256, 0);
	struct vl_driver_stats stats;

	vl_driver_woken(joint->driver, 0);
	for (unsigned round = 0; round < 200; round++) {
		assert_true(vl_driver_sleep(joint->driver, 0));
		assert_false(was_called(joint));
		assert_true(joint_deliver(joint, 0, NULL, sent, 60, NULL));
		assert_true(was_called(joint));
		vl_driver_woken(joint->driver, 0);
		assert_false(was_called(joint));
		assert_int_equal(joint_receive(joint, 0, NULL, got), 60);
		/* That ended the wish. */
		assert_true(joint_deliver(joint, 0, NULL, sent, 60, NULL));
		assert_false(was_called(joint));
		assert_false(vl_driver_sleep(joint->driver, 0));
		assert_int_equal(joint_receive(joint, 0, NULL, got), 60);
	}
	vl_driver_stats(joint->driver, 0, &stats);
	assert_int_equal(stats.calls, 200);
	joint_close(joint);
}

/* A call in vain now and then is allowed (split rings with EVENT_IDX), a call a frame is not. */
static void who_polls_is_not_called(void **state)
{
	struct joint *joint = open_with(state, 64, 256, 0);
	unsigned calls = 0;

	for (unsigned round = 0; round < 1000; round++) {
		assert_true(joint_send(joint, 0, NULL, sent, 60));
		assert_int_equal(joint_echo(joint, 0), 1);
		assert_int_equal(joint_receive(joint, 0, NULL, got), 60);
		calls += was_called(joint);
		vl_driver_woken(joint->driver, 0);
	}
	assert_true(calls <= 1);
	joint_close(joint);
}

static void frames_that_a_small_burst_left_keep_it_awake(void **state)
{
	struct joint *joint = open_with(state, 64, 256, 0);

	for (unsigned i = 0; i < 3; i++)
		assert_true(joint_deliver(joint, 0, NULL, sent, 60, NULL));
	for (unsigned i = 0; i < 3; i++) {
		struct vl_driver_frame frame;

		assert_false(vl_driver_sleep(joint->driver, 0));
		assert_int_equal(vl_driver_wait(joint->driver, 0, 0), 1);
		assert_int_equal(vl_driver_rx_burst(joint->driver, 0, &frame, 1), 1);
		vl_driver_free(joint->driver, 0, &frame, 1);
	}
	assert_true(vl_driver_sleep(joint->driver, 0));
	joint_close(joint);
}

/* A call for frames that were polled meanwhile is not a frame. */
static void a_wait_ends_for_a_frame_or_the_time(void **state)
{
	struct joint *joint = open_with(state, 64, 256, 0);

	for (unsigned round = 0; round < 20; round++) {
		assert_true(vl_driver_sleep(joint->driver, 0));
		assert_true(joint_deliver(joint, 0, NULL, sent, 60, NULL));
		assert_int_equal(vl_driver_wait(joint->driver, 0, -1), 1);
		assert_int_equal(joint_receive(joint, 0, NULL, got), 60);
		assert_int_equal(vl_driver_wait(joint->driver, 0, round % 2), 0);
	}
	joint_close(joint);
}

/* Wait, receive, free, wait: the device must have buffers while the application sleeps. */
static void who_sleeps_has_buffers_posted(void **state)
{
	struct joint *joint = open_with(state, 8, 256, 0);
	unsigned slots = joint->driver->config.queue_size;

	for (unsigned round = 0; round < 10; round++) {
		struct vl_driver_frame frames[8];

		assert_true(vl_driver_sleep(joint->driver, 0));
		for (unsigned i = 0; i < slots; i++)
			assert_true(joint_deliver(joint, 0, NULL, sent, 60, NULL));
		vl_driver_woken(joint->driver, 0);
		assert_int_equal(vl_driver_rx_burst(joint->driver, 0, frames, 8), slots);
		vl_driver_free(joint->driver, 0, frames, slots);
	}
	joint_close(joint);
}

/* With a thread on the other side that sleeps as well: kicks and calls both ways. */
static void two_who_sleep_wake_each_other(void **state)
{
	struct joint_options options = {
		.variant = *state, .echo = true, .config = {.queue_size = 64}};
	struct joint *joint = joint_open(&options);

	for (unsigned round = 0; round < 300; round++) {
		unsigned back = 0, count = 1 + round % 3;

		for (unsigned i = 0; i < count; i++)
			assert_true(joint_send(joint, 0, NULL, sent, 60 + i));
		while (back < count) {
			struct vl_driver_frame frames[8];
			int n = vl_driver_rx_burst(joint->driver, 0, frames, 8);

			for (int i = 0; i < n; i++)
				assert_int_equal(frames[i].length, 60 + back++);
			vl_driver_free(joint->driver, 0, frames, (unsigned)n);
			/* Woken in vain it waits again. */
			if (n == 0)
				assert_int_equal(
					vl_driver_wait(joint->driver, 0, JOINT_TIMEOUT_MS), 1
				);
		}
	}
	joint_check_buffers(joint, 0, 0, 0);
	joint_close(joint);
}

/* ---- */

static const struct variant_test tests[] = {
	VARIANT_TEST(frames_of_usual_sizes_go_round),
	VARIANT_TEST(large_frames_go_round),
	VARIANT_TEST(frames_of_many_pieces_are_sent_whole),
	VARIANT_TEST(a_burst_never_splits_a_frame),
	VARIANT_TEST(a_frame_of_too_many_pieces_is_refused),
	VARIANT_TEST(a_frame_that_the_ring_never_holds_is_refused),
	VARIANT_TEST(the_room_in_front_can_be_used),
	VARIANT_TEST(each_pair_has_its_own_frames),
	VARIANT_TEST(offload_headers_are_carried_both_ways),
	VARIANT_TEST(what_was_verified_is_told_and_not_sent_on),
	VARIANT_TEST(what_was_not_negotiated_is_not_sent),
	VARIANT_TEST(no_buffer_is_lost_over_many_frames),
	VARIANT_TEST(a_full_ring_takes_no_more_until_frames_are_sent),
	VARIANT_TEST(what_was_not_taken_stays_the_applications),
	VARIANT_TEST(small_bursts_lose_nothing),
	VARIANT_TEST(a_large_frame_finds_room_behind_small_ones),
	VARIANT_TEST(a_sleeper_is_called_once_it_has_a_frame),
	VARIANT_TEST(who_polls_is_not_called),
	VARIANT_TEST(frames_that_a_small_burst_left_keep_it_awake),
	VARIANT_TEST(a_wait_ends_for_a_frame_or_the_time),
	VARIANT_TEST(who_sleeps_has_buffers_posted),
	VARIANT_TEST(two_who_sleep_wake_each_other),
};

int main(void)
{
	return run_for_all_variants("driver", tests, COUNT_OF(tests));
}
