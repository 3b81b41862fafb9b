/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames through a device: every byte, length and header, in both directions. */
#include <string.h>
#include <unistd.h>

#include "ring/ring.h"
#include "traffic.h"
#include "variants.h"

enum {
	RX = 0,
	TX = 1,
	FRAME_MAX = 65550,
};

static uint8_t sent[FRAME_MAX], got[FRAME_MAX + 100];

static void open_with(struct front *front, const struct variant *variant, uint64_t features)
{
	struct front_options options = {.features = variant_features(variant) | features};

	front_open(front, &options);
}

static int deliver(struct front *front, uint32_t size, const struct cuts *cuts)
{
	struct built_frame built;

	frame_build(&built, sent, size, VL_HEAD_MAX, cuts);
	return traffic_deliver(front, 0, &built);
}

static void check_received(struct front *front, uint32_t size, unsigned buffers)
{
	struct vl_net_header header;

	assert_int_equal(traffic_receive(front, RX, &header, got, sizeof(got)), size);
	assert_memory_equal(got, sent, size);
	assert_int_equal(header.num_buffers, buffers);
	assert_int_equal(header.flags, 0);
	assert_int_equal(header.gso_type, VL_GSO_NONE);
}

/* ---- receive ---- */

static const uint32_t frame_sizes[] = {
	14,
	15,
	60,
	63,
	64,
	65,
	127,
	128,
	1514,
	1518,
	9014,
	16384,
	65535,
	65536,
	65550,
};

static void a_frame_arrives_whole_in_one_buffer(void **state)
{
	for (unsigned i = 0; i < COUNT_OF(frame_sizes); i++) {
		struct cuts buffer = {2, {5, 40}};
		struct cuts tail = {3, {1, 100, 777}};
		struct front front;

		open_with(&front, *state, 0);
		pattern_fill(sent, frame_sizes[i], i);
		traffic_post(
			&front,
			RX,
			2,
			FRAME_MAX + 12,
			&buffer,
			((const struct variant *)*state)->form
		);
		assert_int_equal(deliver(&front, frame_sizes[i], NULL), VL_DELIVERED);
		check_received(&front, frame_sizes[i], 1);
		assert_int_equal(deliver(&front, frame_sizes[i], &tail), VL_DELIVERED);
		check_received(&front, frame_sizes[i], 1);
		front_close(&front);
	}
}

static void a_frame_arrives_whole_in_many_buffers(void **state)
{
	static const uint32_t buffer_sizes[] = {300, 1526, 2048, 4096, 65562};

	for (unsigned b = 0; b < COUNT_OF(buffer_sizes); b++) {
		for (unsigned i = 0; i < COUNT_OF(frame_sizes); i++) {
			uint32_t need =
				(frame_sizes[i] + 12 + buffer_sizes[b] - 1) / buffer_sizes[b];
			struct cuts buffer = {2, {3, 200}};
			struct front front;

			open_with(&front, *state, BIT(VL_F_MRG_RXBUF));
			pattern_fill(sent, frame_sizes[i], i);
			for (uint32_t n = 0; n < need && need <= 80; n++)
				traffic_post(
					&front,
					RX,
					1,
					buffer_sizes[b],
					&buffer,
					((const struct variant *)*state)->form
				);
			if (need <= 80) {
				assert_int_equal(deliver(&front, frame_sizes[i], NULL), 0);
				check_received(&front, frame_sizes[i], need);
			}
			front_close(&front);
		}
	}
}

static void the_smallest_buffers_that_fit_are_used_up(void **state)
{
	struct front front;

	open_with(&front, *state, BIT(VL_F_MRG_RXBUF));
	pattern_fill(sent, 100, 1);
	/* The header alone fills the first. */
	traffic_post(&front, RX, 1, 12, NULL, GUEST_CHAINED);
	traffic_post(&front, RX, 100, 1, NULL, GUEST_CHAINED);
	assert_int_equal(deliver(&front, 100, NULL), VL_DELIVERED);
	check_received(&front, 100, 101);
	front_close(&front);
}

static void a_legacy_header_has_10_bytes(void **state)
{
	struct front_options options = {.features = variant_features(*state), .legacy = true};
	struct vl_net_header header;
	struct vl_frame frame;
	struct front front;

	front_open(&front, &options);
	pattern_fill(sent, 100, 2);
	traffic_post(&front, RX, 1, 110, NULL, GUEST_CHAINED);
	assert_int_equal(deliver(&front, 100, NULL), VL_DELIVERED);
	assert_int_equal(traffic_receive(&front, RX, &header, got, sizeof(got)), 100);
	assert_memory_equal(got, sent, 100);

	traffic_send_plain(&front, TX, sent, 100);
	assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
	assert_int_equal(frame.size, 100);
	frame_flatten(&frame, got);
	assert_memory_equal(got, sent, 100);
	vl_device_give_back(front.device, 0, 1);
	front_close(&front);
}

static void a_legacy_buffer_has_room_for_10_bytes(void **state)
{
	for (uint32_t size = 0; size < 12; size++) {
		struct front_options options = {
			.features = variant_features(*state), .legacy = true};
		struct front front;

		front_open(&front, &options);
		traffic_post(&front, RX, 1, size, NULL, GUEST_CHAINED);
		assert_int_equal(deliver(&front, 14, NULL), size < 10 ? VL_DOWN : VL_TOO_LARGE);
		assert_int_equal(front_queue(&front, RX).broken != NULL, size < 10);
		front_close(&front);
	}
}

/* Without VERSION_1 the header grows with mergeable buffers (5.1.6.1). */
static void a_legacy_header_with_mergeable_buffers_has_12_bytes(void **state)
{
	struct front_options options = {
		.features = variant_features(*state) | BIT(VL_F_MRG_RXBUF),
		.legacy = true,
	};
	struct front front;

	front_open(&front, &options);
	pattern_fill(sent, 100, 2);
	traffic_post(&front, RX, 2, 60, NULL, GUEST_CHAINED);
	assert_int_equal(deliver(&front, 100, NULL), VL_DELIVERED);
	check_received(&front, 100, 2);
	front_close(&front);
}

static void a_frame_too_large_for_its_buffer_is_refused_and_the_buffer_kept(void **state)
{
	struct front front;

	open_with(&front, *state, 0);
	pattern_fill(sent, 200, 3);
	traffic_post(&front, RX, 1, 112, NULL, GUEST_CHAINED);
	assert_int_equal(deliver(&front, 101, NULL), VL_TOO_LARGE);
	assert_int_equal(deliver(&front, 100, NULL), VL_DELIVERED);
	check_received(&front, 100, 1);
	front_close(&front);
}

static void runt_buffers_of_12_and_13_bytes_are_too_small(void **state)
{
	for (uint32_t size = 12; size < 26; size++) {
		struct front front;

		open_with(&front, *state, 0);
		pattern_fill(sent, 14, 3);
		traffic_post(&front, RX, 1, size, NULL, GUEST_CHAINED);
		assert_int_equal(deliver(&front, 14, NULL), VL_TOO_LARGE);
		assert_null(front_queue(&front, RX).broken);
		front_close(&front);
	}
}

static void what_has_no_buffer_may_be_tried_again(void **state)
{
	struct built_frame built[8];
	const struct vl_frame *frames[8];
	enum vl_delivery results[8];
	struct front front;

	open_with(&front, *state, BIT(VL_F_MRG_RXBUF));
	pattern_fill(sent, 1000, 4);
	for (unsigned i = 0; i < 8; i++) {
		frame_build(&built[i], sent, 400 + i, VL_HEAD_MAX, NULL);
		frames[i] = &built[i].frame;
	}
	/* Two buffers each: the third frame finds one only. */
	traffic_post(&front, RX, 5, 256, NULL, GUEST_CHAINED);
	assert_int_equal(vl_device_copy_in(front.device, 0, NULL, 0, results), 0);
	assert_int_equal(vl_device_copy_in(front.device, 0, frames, 8, results), 2);
	assert_int_equal(vl_device_copy_in(front.device, 0, &frames[2], 6, results), 0);
	traffic_post(&front, RX, 11, 256, NULL, GUEST_CHAINED);
	assert_int_equal(vl_device_copy_in(front.device, 0, &frames[2], 6, results), 6);
	vl_device_flush(front.device, 0);
	for (unsigned i = 0; i < 8; i++)
		check_received(&front, 400 + i, 2);
	front_close(&front);
}

static void nothing_shows_before_the_flush(void **state)
{
	struct built_frame built;
	const struct vl_frame *frame = &built.frame;
	enum vl_delivery result;
	struct guest_used used;
	struct front front;

	open_with(&front, *state, 0);
	frame_build(&built, sent, 60, VL_HEAD_MAX, NULL);
	traffic_post(&front, RX, 1, 256, NULL, GUEST_CHAINED);
	(void)guest_ring_was_called(&front.rings[RX]);
	assert_int_equal(vl_device_copy_in(front.device, 0, &frame, 1, &result), 1);
	assert_false(guest_ring_reap(&front.rings[RX], &used));
	assert_false(guest_ring_was_called(&front.rings[RX]));
	vl_device_flush(front.device, 0);
	assert_true(guest_ring_reap(&front.rings[RX], &used));
	assert_int_equal(used.written, 72);
	assert_true(guest_ring_was_called(&front.rings[RX]));
	front_close(&front);
}

static void a_burst_of_64_arrives_in_order(void **state)
{
	struct built_frame built[VL_BURST_MAX];
	const struct vl_frame *frames[VL_BURST_MAX];
	enum vl_delivery results[VL_BURST_MAX];
	struct vl_net_header header;
	struct front front;

	open_with(&front, *state, BIT(VL_F_MRG_RXBUF));
	for (unsigned i = 0; i < VL_BURST_MAX; i++) {
		sent[i * 64] = (uint8_t)i;
		frame_build(&built[i], &sent[i * 64], 60, VL_HEAD_MAX, NULL);
		frames[i] = &built[i].frame;
	}
	traffic_post(&front, RX, VL_BURST_MAX, 128, NULL, GUEST_CHAINED);
	assert_int_equal(
		vl_device_copy_in(front.device, 0, frames, VL_BURST_MAX, results), VL_BURST_MAX
	);
	vl_device_flush(front.device, 0);
	for (unsigned i = 0; i < VL_BURST_MAX; i++) {
		assert_int_equal(traffic_receive(&front, RX, &header, got, sizeof(got)), 60);
		assert_int_equal(got[0], i);
	}
	front_close(&front);
}

/* A frame that needs more pieces of memory than there is scratch space for must not stop those
 * behind it for ever. */
static void a_frame_in_very_many_buffers_holds_nobody_up(void **state)
{
	struct front_options options = {
		.ring_size = 2048,
		.features = variant_features(*state) | BIT(VL_F_MRG_RXBUF),
	};
	struct built_frame large, small;
	const struct vl_frame *frames[] = {&large.frame, &small.frame};
	enum vl_delivery results[2];
	struct front front;
	unsigned done = 0;

	front_open(&front, &options);
	pattern_fill(sent, FRAME_MAX, 9);
	frame_build(&large, sent, FRAME_MAX, VL_HEAD_MAX, NULL);
	frame_build(&small, sent, 60, VL_HEAD_MAX, NULL);
	traffic_post(&front, RX, 2048, 64, NULL, GUEST_CHAINED);
	for (unsigned i = 0; i < 4 && done < 2; i++) {
		done += vl_device_copy_in(front.device, 0, &frames[done], 2 - done, &results[done]);
		vl_device_flush(front.device, 0);
	}
	assert_int_equal(done, 2);
	assert_int_equal(results[1], VL_DELIVERED);
	/* If the large one was refused, it has left its buffers to the next. */
	if (results[0] == VL_TOO_LARGE)
		check_received(&front, 60, 2);
	front_close(&front);
}

/* Nothing that the driver could still add would make it fit: it must not be waited for. */
static void a_frame_larger_than_all_buffers_of_a_ring_is_refused(void **state)
{
	struct front_options options = {
		.ring_size = 8,
		.features = variant_features(*state) | BIT(VL_F_MRG_RXBUF),
	};
	struct built_frame large, small;
	struct front front;

	front_open(&front, &options);
	pattern_fill(sent, FRAME_MAX, 9);
	frame_build(&large, sent, 4000, VL_HEAD_MAX, NULL);
	frame_build(&small, sent, 60, VL_HEAD_MAX, NULL);
	traffic_post(&front, RX, 7, 256, NULL, GUEST_CHAINED);
	assert_int_equal(traffic_deliver(&front, 0, &large), -1);
	traffic_post(&front, RX, 1, 256, NULL, GUEST_CHAINED);
	assert_int_equal(traffic_deliver(&front, 0, &large), VL_TOO_LARGE);
	assert_int_equal(traffic_deliver(&front, 0, &small), VL_DELIVERED);
	check_received(&front, 60, 1);
	front_close(&front);
}

/* Scratch space is for some frames only; that must not look as if buffers were missing. */
static void a_burst_into_buffers_of_many_pieces_is_delivered_at_once(void **state)
{
	enum {
		PIECES = 26,
	};
	const struct variant *variant = *state;
	struct front_options options = {
		.ring_size = 2048,
		.features = variant_features(variant) | BIT(VL_F_INDIRECT_DESC),
	};
	struct cuts cuts = {.count = PIECES - 1};
	const struct vl_frame *frames[VL_BURST_MAX];
	enum vl_delivery results[VL_BURST_MAX];
	struct built_frame built;
	struct front front;

	front_open(&front, &options);
	for (unsigned i = 0; i < cuts.count; i++)
		cuts.sizes[i] = 10;
	pattern_fill(sent, FRAME_MAX, 9);
	frame_build(&built, sent, 300, VL_HEAD_MAX, NULL);
	for (unsigned i = 0; i < VL_BURST_MAX; i++)
		frames[i] = &built.frame;
	traffic_post(&front, RX, VL_BURST_MAX, 400, &cuts, variant->form);
	assert_int_equal(
		vl_device_copy_in(front.device, 0, frames, VL_BURST_MAX, results), VL_BURST_MAX
	);
	vl_device_flush(front.device, 0);
	for (unsigned i = 0; i < VL_BURST_MAX; i++) {
		assert_int_equal(results[i], VL_DELIVERED);
		check_received(&front, 300, 1);
	}
	front_close(&front);
}

/* ---- transmit ---- */

static void frames_come_whole_and_in_order(void **state)
{
	const struct variant *variant = *state;
	struct random random = {11};
	struct front front;

	open_with(&front, variant, 0);
	for (unsigned round = 0; round < 40; round++) {
		struct vl_frame frames[VL_BURST_MAX];
		uint32_t sizes[8];
		struct guest_used used;

		front.guest.regions[GUEST_LOW].used = 1 << 20;
		for (unsigned i = 0; i < 8; i++) {
			struct vl_net_header header = {.hdr_len = (uint16_t)(round * 8 + i)};
			struct cuts cuts = {2, {1 + random_below(&random, 30), 1}};

			sizes[i] = 60 + random_below(&random, i == 0 ? FRAME_MAX - 60 : 2000);
			pattern_fill(sent, sizes[i], round * 8 + i);
			traffic_send(&front, TX, &header, sent, sizes[i], &cuts, variant->form);
		}
		assert_int_equal(vl_device_borrow(front.device, 0, frames, VL_BURST_MAX), 8);
		for (unsigned i = 0; i < 8; i++) {
			pattern_fill(sent, sizes[i], round * 8 + i);
			assert_int_equal(frames[i].size, sizes[i]);
			assert_int_equal(frames[i].header.hdr_len, round * 8 + i);
			frame_flatten(&frames[i], got);
			assert_memory_equal(got, sent, sizes[i]);
		}
		vl_device_give_back(front.device, 0, 5);
		vl_device_give_back(front.device, 0, 3);
		for (unsigned i = 0; i < 8; i++) {
			assert_true(guest_ring_reap(&front.rings[TX], &used));
			assert_int_equal(used.written, 0);
		}
	}
	front_close(&front);
}

/* Around the ring many times, with chains of several descriptors. */
static void frames_that_were_put_off_come_again(void **state)
{
	const struct variant *variant = *state;
	const struct vl_net_header header = {0};
	const struct cuts cuts = {2, {12, 30}};
	struct random random = {12};
	unsigned sent_count = 0, seen = 0;
	struct front front;

	open_with(&front, variant, 0);
	for (unsigned round = 0; round < 200; round++) {
		struct vl_frame frames[VL_BURST_MAX];
		struct guest_used used;
		unsigned keep;
		int n;

		for (unsigned i = random_below(&random, 12); i > 0 && sent_count < seen + 60; i--) {
			memcpy(sent, &sent_count, sizeof(sent_count));
			sent_count++;
			traffic_send(&front, TX, &header, sent, 90, &cuts, variant->form);
		}
		n = vl_device_borrow(front.device, 0, frames, 20);
		assert_int_equal(n, sent_count - seen < 20 ? sent_count - seen : 20);
		for (int i = 0; i < n; i++) {
			unsigned number;

			memcpy(&number, frames[i].head, sizeof(number));
			assert_int_equal(number, seen + (unsigned)i);
		}
		keep = random_below(&random, (uint32_t)n + 1);
		vl_device_put_off(front.device, 0, (unsigned)n - keep);
		vl_device_give_back(front.device, 0, keep);
		seen += keep;
		for (unsigned i = 0; i < keep; i++)
			assert_true(guest_ring_reap(&front.rings[TX], &used));
		assert_false(guest_ring_reap(&front.rings[TX], &used));
	}
	assert_true(seen > 500);
	front_close(&front);
}

static void a_frame_has_a_head_of_64_bytes_at_most(void **state)
{
	for (uint32_t size = 1; size < 140; size++) {
		struct vl_frame frame;
		struct front front;

		open_with(&front, *state, 0);
		traffic_send_plain(&front, TX, sent, size);
		assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
		assert_int_equal(frame.size, size);
		assert_int_equal(frame.head_size, size < VL_HEAD_MAX ? size : VL_HEAD_MAX);
		assert_int_equal(frame.tail_count, size > VL_HEAD_MAX ? 1 : 0);
		front_close(&front);
	}
}

static void a_borrow_gives_at_most_what_was_asked_for(void **state)
{
	struct vl_frame frames[VL_BURST_MAX];
	struct front front;

	open_with(&front, *state, 0);
	for (unsigned i = 0; i < 100; i++)
		traffic_send_plain(&front, TX, sent, 60);
	assert_int_equal(vl_device_borrow(front.device, 0, frames, 3), 3);
	vl_device_give_back(front.device, 0, 3);
	assert_int_equal(vl_device_borrow(front.device, 0, frames, 1000), VL_BURST_MAX);
	vl_device_give_back(front.device, 0, VL_BURST_MAX);
	assert_int_equal(vl_device_borrow(front.device, 0, frames, VL_BURST_MAX), 33);
	vl_device_give_back(front.device, 0, 33);
	front_close(&front);
}

static void a_driver_in_wait_is_called_when_frames_are_given_back(void **state)
{
	struct vl_frame frames[4];
	struct front front;

	open_with(&front, *state, 0);
	(void)guest_ring_was_called(&front.rings[TX]);
	traffic_send_plain(&front, TX, sent, 60);
	assert_int_equal(vl_device_borrow(front.device, 0, frames, 4), 1);
	assert_false(guest_ring_was_called(&front.rings[TX]));
	vl_device_give_back(front.device, 0, 1);
	assert_true(guest_ring_was_called(&front.rings[TX]));
	front_close(&front);
}

static void a_sleeper_is_kicked(void **state)
{
	struct vl_frame frames[4];
	struct guest_ring *ring;
	struct front front;

	open_with(&front, *state, 0);
	ring = &front.rings[TX];
	for (unsigned round = 0; round < 5; round++) {
		assert_true(vl_device_sleep(front.device, 0));
		traffic_send_plain(&front, TX, sent, 60);
		assert_true(guest_ring_must_kick(ring));
		/* Frames that came before the wish to sleep keep the worker awake. */
		assert_false(vl_device_sleep(front.device, 0));
		assert_int_equal(vl_device_borrow(front.device, 0, frames, 4), 1);
		vl_device_give_back(front.device, 0, 1);
		(void)guest_ring_must_kick(ring);
		traffic_send_plain(&front, TX, sent, 60);
		bool kick = guest_ring_must_kick(ring);
		/* With EVENT_IDX the second wish above stands at the frame that was taken. */
		assert_false(kick);
		assert_int_equal(vl_device_borrow(front.device, 0, frames, 4), 1);
		vl_device_give_back(front.device, 0, 1);
	}
	front_close(&front);
}

/* User Mode Linux frees a ring that it has disabled: what an idle device wrote there would be
 * written into somebody else's memory. */
static void a_disabled_ring_that_is_idle_is_not_written(void **state)
{
	uint8_t pattern[64];
	struct vl_frame frames[4];
	struct front front;

	open_with(&front, *state, 0);
	struct guest_ring *ring = &front.rings[TX];
	/* The device is busy with it, so kicks are off, when it is disabled. */
	traffic_send_plain(&front, TX, sent, 60);
	assert_int_equal(vl_device_borrow(front.device, 0, frames, 4), 1);
	vl_device_give_back(front.device, 0, 1);
	front_enable_ring(&front, TX, false);
	uint64_t size = ring_device_bytes(ring->packed, ring->size);
	if (size > sizeof(pattern))
		size = sizeof(pattern);
	uint8_t *end = (uint8_t *)ring->used + ring_device_bytes(ring->packed, ring->size) - size;
	memset(pattern, 0xa5, sizeof(pattern));
	memcpy(end, pattern, size);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vl_device_borrow(front.device, 0, frames, 4), 0);
		assert_true(vl_device_sleep(front.device, 0));
	}
	assert_memory_equal(end, pattern, size);
	front_close(&front);
}

/* Whoever sleeps on a kick descriptor has to hear that it is gone: nobody will ever signal it. */
static void a_kick_that_is_taken_away_is_told(void **state)
{
	struct front front;

	open_with(&front, *state, 0);
	assert_true(vl_device_sleep(front.device, 0));
	assert_false(vl_device_is_silent(front.device, 0));
	unsigned before = front.callbacks.changed;
	assert_int_equal(
		front_request_fd(&front, VHOST_USER_SET_VRING_KICK, TX | VHOST_VRING_NO_FD, -1), 0
	);
	assert_true(front.callbacks.changed > before);
	assert_true(vl_device_is_silent(front.device, 0));
	front_close(&front);
}

/* An event of a port that is gone may be handled late, and name a queue that the next has not. */
static void a_kick_of_a_queue_that_is_not_there_is_none(void **state)
{
	struct front front;

	open_with(&front, *state, 0);
	for (unsigned pair = 1; pair < VL_QUEUE_PAIRS_MAX; pair++)
		vl_device_kicked(front.device, pair);
	assert_int_equal(front_queue(&front, TX).kicks, 0);
	front_close(&front);
}

static void a_kick_is_cleared_and_counted(void **state)
{
	uint64_t value;
	struct front front;

	open_with(&front, *state, 0);
	guest_ring_kick(&front.rings[TX]);
	vl_device_kicked(front.device, 0);
	assert_int_equal(front_queue(&front, TX).kicks, 1);
	assert_int_equal(read(front.rings[TX].kick_fd, &value, sizeof(value)), -1);
	vl_device_kicked(front.device, 0); /* nothing there: does not block */
	front_close(&front);
}

/* ---- disabled queues ---- */

static void a_disabled_transmit_queue_discards_and_counts(void **state)
{
	struct vl_frame frames[4];
	uint64_t count, bytes;
	struct guest_used used;
	struct front front;

	open_with(&front, *state, 0);
	front_enable_ring(&front, TX, false);
	traffic_send_plain(&front, TX, sent, 60);
	traffic_send_plain(&front, TX, sent, 1000);
	assert_int_equal(vl_device_borrow(front.device, 0, frames, 4), 0);
	assert_true(guest_ring_reap(&front.rings[TX], &used));
	assert_true(guest_ring_reap(&front.rings[TX], &used));
	vl_device_discarded(front.device, 0, &count, &bytes);
	assert_int_equal(count, 2);
	assert_int_equal(bytes, 1060);
	front_enable_ring(&front, TX, true);
	traffic_send_plain(&front, TX, sent, 60);
	assert_int_equal(vl_device_borrow(front.device, 0, frames, 4), 1);
	vl_device_give_back(front.device, 0, 1);
	front_close(&front);
}

static void a_disabled_receive_queue_takes_nothing(void **state)
{
	struct guest_used used;
	struct front front;

	open_with(&front, *state, 0);
	traffic_post(&front, RX, 1, 256, NULL, GUEST_CHAINED);
	front_enable_ring(&front, RX, false);
	assert_int_equal(deliver(&front, 60, NULL), VL_DOWN);
	assert_false(vl_device_ready(front.device, 0, true));
	assert_false(guest_ring_reap(&front.rings[RX], &used));
	front_enable_ring(&front, RX, true);
	assert_int_equal(deliver(&front, 60, NULL), VL_DELIVERED);
	front_close(&front);
}

static const struct variant_test device_tests[] = {
	VARIANT_TEST(a_frame_arrives_whole_in_one_buffer),
	VARIANT_TEST(a_frame_arrives_whole_in_many_buffers),
	VARIANT_TEST(the_smallest_buffers_that_fit_are_used_up),
	VARIANT_TEST(a_legacy_header_has_10_bytes),
	VARIANT_TEST(a_legacy_buffer_has_room_for_10_bytes),
	VARIANT_TEST(a_legacy_header_with_mergeable_buffers_has_12_bytes),
	VARIANT_TEST(a_frame_too_large_for_its_buffer_is_refused_and_the_buffer_kept),
	VARIANT_TEST(runt_buffers_of_12_and_13_bytes_are_too_small),
	VARIANT_TEST(what_has_no_buffer_may_be_tried_again),
	VARIANT_TEST(nothing_shows_before_the_flush),
	VARIANT_TEST(a_burst_of_64_arrives_in_order),
	VARIANT_TEST(a_frame_in_very_many_buffers_holds_nobody_up),
	VARIANT_TEST(a_frame_larger_than_all_buffers_of_a_ring_is_refused),
	VARIANT_TEST(a_burst_into_buffers_of_many_pieces_is_delivered_at_once),
	VARIANT_TEST(frames_come_whole_and_in_order),
	VARIANT_TEST(frames_that_were_put_off_come_again),
	VARIANT_TEST(a_frame_has_a_head_of_64_bytes_at_most),
	VARIANT_TEST(a_borrow_gives_at_most_what_was_asked_for),
	VARIANT_TEST(a_driver_in_wait_is_called_when_frames_are_given_back),
	VARIANT_TEST(a_sleeper_is_kicked),
	VARIANT_TEST(a_disabled_ring_that_is_idle_is_not_written),
	VARIANT_TEST(a_kick_that_is_taken_away_is_told),
	VARIANT_TEST(a_kick_of_a_queue_that_is_not_there_is_none),
	VARIANT_TEST(a_kick_is_cleared_and_counted),
	VARIANT_TEST(a_disabled_transmit_queue_discards_and_counts),
	VARIANT_TEST(a_disabled_receive_queue_takes_nothing),
};

int main(void)
{
	return run_for_all_rings("device", device_tests, COUNT_OF(device_tests));
}
