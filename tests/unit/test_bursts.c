/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bursts of plain chains are taken several descriptors a step. Whatever is not plain, or not right,
 * at any place of a burst has to be treated as if it had come alone.
 */
#include <errno.h>
#include <string.h>

#include "attack.h"
#include "traffic.h"
#include "variants.h"

enum {
	FRAME_SIZE = 100,
	BUFFER_SIZE = 256,
	HEADER_SIZE = 12,
	BEFORE_MAX = 9, /* good chains before the odd one: two steps of four, and one */
	RING_SIZE = 64,
	RX = 0,
	TX = 1,
};

static uint8_t frame_bytes[FRAME_SIZE];

static void open_front(struct front *front, const struct variant *variant)
{
	struct front_options options = {
		.ring_size = RING_SIZE,
		.features = variant_features(variant) | BIT(VL_F_INDIRECT_DESC),
	};

	pattern_fill(frame_bytes, sizeof(frame_bytes), 1);
	front_open(front, &options);
}

/* Take all frames that the driver sent; returns how many, each of which has to be the usual. */
static unsigned borrow_all(struct front *front)
{
	struct vl_frame frames[VL_BURST_MAX];
	uint8_t got[FRAME_SIZE];
	unsigned total = 0;
	int n;

	while ((n = vl_device_borrow(front->device, 0, frames, VL_BURST_MAX)) > 0) {
		for (int i = 0; i < n; i++) {
			assert_int_equal(frames[i].size, FRAME_SIZE);
			frame_flatten(&frames[i], got);
			assert_memory_equal(got, frame_bytes, FRAME_SIZE);
		}
		vl_device_give_back(front->device, 0, (unsigned)n);
		total += (unsigned)n;
	}
	return total;
}

/* Deliver a burst; returns how many frames arrived before the first that did not. */
static unsigned deliver_all(struct front *front, unsigned count)
{
	const struct vl_frame *frames[VL_BURST_MAX];
	enum vl_delivery results[VL_BURST_MAX];
	struct built_frame built;
	unsigned done, delivered = 0;

	frame_build(&built, frame_bytes, FRAME_SIZE, 64, NULL);
	for (unsigned i = 0; i < count; i++)
		frames[i] = &built.frame;
	done = vl_device_copy_in(front->device, 0, frames, count, results);
	vl_device_flush(front->device, 0);
	while (delivered < done && results[delivered] == VL_DELIVERED)
		delivered++;
	return delivered;
}

static void check_received(struct front *front, unsigned count)
{
	struct vl_net_header header;
	uint8_t got[BUFFER_SIZE];

	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(traffic_receive(front, RX, &header, got, sizeof(got)), FRAME_SIZE);
		assert_memory_equal(got, frame_bytes, FRAME_SIZE);
		assert_int_equal(header.num_buffers, 1);
		assert_int_equal(header.flags, 0);
	}
	assert_int_equal(traffic_receive(front, RX, &header, got, sizeof(got)), -1);
}

static void
attack_sender(const struct variant *variant, const struct attack *attack, unsigned before)
{
	struct front front;

	open_front(&front, variant);
	for (unsigned i = 0; i < before; i++)
		traffic_send_plain(&front, TX, frame_bytes, FRAME_SIZE);
	attack->make(&front, TX);
	assert_int_equal(borrow_all(&front), before);
	assert_string_equal(front_queue(&front, TX).broken, attack->reason);
	front_close(&front);
}

static void
attack_receiver(const struct variant *variant, const struct attack *attack, unsigned before)
{
	struct front front;

	open_front(&front, variant);
	if (before > 0)
		traffic_post(&front, RX, before, BUFFER_SIZE, NULL, GUEST_CHAINED);
	attack->make(&front, RX);
	assert_int_equal(deliver_all(&front, before + 4), before);
	assert_string_equal(front_queue(&front, RX).broken, attack->reason);
	front_close(&front);
}

static void an_attack_at_any_place_of_a_burst_is_seen(void **state)
{
	const struct variant *variant = *state;
	const struct attack *attacks = variant->packed ? attacks_packed : attacks_split;
	unsigned count = variant->packed ? attacks_packed_count : attacks_split_count;

	for (unsigned i = 0; i < count; i++) {
		for (unsigned before = 1; before <= BEFORE_MAX && !attacks[i].whole_ring;
		     before++) {
			print_message("           %s behind %u\n", attacks[i].name, before);
			attack_sender(variant, &attacks[i], before);
			attack_receiver(variant, &attacks[i], before);
		}
	}
}

/* ---- addresses ---- */

struct place {
	uint64_t address; /* of header and frame */
	bool good;
};

static void add_at(struct front *front, uint64_t address)
{
	struct guest_piece piece = {address, HEADER_SIZE + FRAME_SIZE, false};

	assert_true(guest_ring_add(&front->rings[TX], &piece, 1, GUEST_CHAINED, 0));
}

static uint64_t good_address(struct front *front, uint64_t address)
{
	/* It may lie in two regions. */
	for (unsigned i = 0; i < HEADER_SIZE + FRAME_SIZE; i++)
		*guest_at(&front->guest, address + i) =
			i < HEADER_SIZE ? 0 : frame_bytes[i - HEADER_SIZE];
	return address;
}

/* In the middle of a burst whose other frames lie in turn in two regions (or one, twice), both of
 * which were used before. */
static void
send_at(const struct variant *variant,
	const struct place *place,
	unsigned before,
	const unsigned regions[2])
{
	struct front front;
	uint64_t usual[2];
	unsigned after = 3;

	open_front(&front, variant);
	for (unsigned i = 0; i < 2; i++) {
		usual[i] = good_address(
			&front,
			guest_alloc_in(&front.guest, regions[i], HEADER_SIZE + FRAME_SIZE, 64)
		);
		add_at(&front, usual[i]);
		assert_int_equal(borrow_all(&front), 1);
	}
	for (unsigned i = 0; i < before; i++)
		add_at(&front, usual[i % 2]);
	add_at(&front, place->good ? good_address(&front, place->address) : place->address);
	for (unsigned i = 0; i < after; i++)
		add_at(&front, usual[i / 2]);
	assert_int_equal(borrow_all(&front), place->good ? before + 1 + after : before);
	if (place->good)
		assert_null(front_queue(&front, TX).broken);
	else
		assert_string_equal(
			front_queue(&front, TX).broken, "a buffer lies outside the shared memory"
		);
	front_close(&front);
}

static void a_buffer_at_the_border_of_a_region_is_judged_to_the_byte(void **state)
{
	static const unsigned regions[][2] = {{GUEST_HIGH, GUEST_HIGH}, {GUEST_LOW, GUEST_HIGH}};
	const uint64_t first = GUEST_HIGH_ADDRESS, end = GUEST_HIGH_ADDRESS + GUEST_HIGH_SIZE;
	const uint64_t low = GUEST_LOW_ADDRESS, next = GUEST_LOW_ADDRESS + GUEST_LOW_SIZE;
	const uint64_t size = HEADER_SIZE + FRAME_SIZE;
	const struct place places[] = {
		{low, true},
		{low - 1, false},
		{next - size, true},
		{next - size + 1, true},
		{next - 1, true},
		{next, true},
		{next + GUEST_NEXT_SIZE - size + 1, false},
		{end - size, true},
		{end - size + 1, false},
		{end - 1, false},
		{end, false},
		{end + (UINT64_C(1) << 62), false},
		{first - 1, false},
		{first - size, false},
		{first + (UINT64_C(1) << 62), false},
		{first + (UINT64_C(1) << 63), false},
		{first + (UINT64_C(3) << 62), false},
		{(UINT64_C(1) << 62) - size, false},
		{(UINT64_C(1) << 63) - size, false},
		{UINT64_MAX - size, false},
		{UINT64_MAX, false},
	};

	for (unsigned r = 0; r < COUNT_OF(regions); r++)
		for (unsigned i = 0; i < COUNT_OF(places); i++)
			for (unsigned before = 0; before <= BEFORE_MAX; before++)
				send_at(*state, &places[i], before, regions[r]);
}

/* ---- what is right, but not plain ---- */

static void a_chain_of_another_shape_may_stand_at_any_place(void **state)
{
	const struct vl_net_header header = {0};
	const struct cuts shapes[] = {
		{1, {HEADER_SIZE}}, {1, {HEADER_SIZE + 20}}, {2, {5, 40}}, {1, {1}}};
	enum {
		COUNT = 20,
	};

	for (unsigned i = 0; i < 2 * COUNT_OF(shapes); i++) {
		for (unsigned odd = 0; odd < COUNT; odd++) {
			struct front front;

			open_front(&front, *state);
			for (unsigned n = 0; n < COUNT; n++)
				traffic_send(
					&front,
					TX,
					&header,
					frame_bytes,
					FRAME_SIZE,
					n == odd ? &shapes[i / 2] : NULL,
					n == odd && i % 2 ? GUEST_INDIRECT : GUEST_CHAINED
				);
			assert_int_equal(borrow_all(&front), COUNT);
			front_close(&front);
		}
	}
}

static void a_small_buffer_may_stand_at_any_place(void **state)
{
	enum {
		COUNT = 20,
	};

	for (unsigned odd = 0; odd < COUNT; odd++) {
		struct front front;

		open_front(&front, *state);
		for (unsigned n = 0; n < COUNT; n++)
			traffic_post(
				&front,
				RX,
				1,
				n == odd ? HEADER_SIZE + FRAME_SIZE : BUFFER_SIZE,
				NULL,
				GUEST_CHAINED
			);
		assert_int_equal(deliver_all(&front, COUNT), COUNT);
		check_received(&front, COUNT);
		front_close(&front);
	}
}

/* Positions wrap in the middle of steps, and what is held does at other places. */
static void bursts_of_all_lengths_go_around_the_ring(void **state)
{
	struct front front;
	struct guest_used used;

	open_front(&front, *state);
	for (unsigned round = 0; round < 300; round++) {
		unsigned count = 1 + round * 7 % (RING_SIZE - 1);

		for (unsigned i = 0; i < count; i++)
			traffic_send_plain(&front, TX, frame_bytes, FRAME_SIZE);
		assert_int_equal(borrow_all(&front), count);
		for (unsigned i = 0; i < count; i++)
			assert_true(guest_ring_reap(&front.rings[TX], &used));
		assert_false(guest_ring_reap(&front.rings[TX], &used));
		traffic_post(&front, RX, count, BUFFER_SIZE, NULL, GUEST_CHAINED);
		assert_int_equal(deliver_all(&front, count), count);
		check_received(&front, count);
	}
	front_close(&front);
}

/* ---- mergeable buffers and offloads: what a stock guest negotiates ---- */

enum {
	MIXED_COUNT = 24, /* frames of a burst */
	MIXED_MAX = 5000, /* bytes of one */
};

struct mixed {
	struct built_frame built[MIXED_COUNT];
	uint8_t bytes[MIXED_COUNT][MIXED_MAX];
};

/* A frame of any size in any number of pieces; some ask for a checksum, some for segmentation. */
static void build_mixed(struct mixed *mixed, unsigned n, struct random *random)
{
	struct built_frame *built = &mixed->built[n];
	struct cuts cuts = {.count = random_below(random, 4)};
	bool large = random_below(random, 4) == 0;
	uint32_t size = 60 + random_below(random, large ? MIXED_MAX - 60 : 100);

	for (unsigned i = 0; i < cuts.count; i++)
		cuts.sizes[i] = 1 + random_below(random, 40);
	pattern_fill(mixed->bytes[n], size, random_next(random));
	frame_build(built, mixed->bytes[n], size, VL_HEAD_MAX, &cuts);
	if (random_below(random, 2) == 0)
		built->frame.header = (struct vl_net_header){
			.flags = VL_NET_NEEDS_CSUM,
			.csum_start = 34,
			.csum_offset = 6,
		};
	if (random_below(random, 8) == 0) {
		built->frame.header.gso_type = VL_GSO_TCPV4;
		built->frame.header.gso_size = 1000;
		built->frame.header.flags = VL_NET_NEEDS_CSUM;
	}
}

static void check_mixed(struct front *front, const struct built_frame *built, bool sums)
{
	static uint8_t got[MIXED_MAX], wanted[MIXED_MAX];
	uint32_t size = built->frame.size;
	struct vl_net_header header;

	frame_flatten(&built->frame, wanted);
	if (sums && built->frame.header.flags != 0) {
		uint16_t sum = traffic_checksum(wanted + 34, size - 34);

		wanted[40] = (uint8_t)(sum >> 8);
		wanted[41] = (uint8_t)sum;
	}
	assert_int_equal(traffic_receive(front, RX, &header, got, sizeof(got)), size);
	assert_int_equal(header.flags, sums ? 0 : built->frame.header.flags);
	assert_int_equal(header.csum_offset, sums ? 0 : built->frame.header.csum_offset);
	assert_memory_equal(got, wanted, size);
}

/* An engine that copies as late as it may, the last piece first, and has no time now and then. */
struct late_copier {
	struct vl_copier copier;
	unsigned asked, count;
	struct {
		void *to;
		const void *from;
		uint32_t size;
	} jobs[4096];
};

static bool start_late(struct vl_copier *copier, void *to, const void *from, uint32_t size)
{
	struct late_copier *late = (struct late_copier *)copier;

	assert_true(size >= copier->least);
	if (++late->asked % 3 == 0)
		return false;
	assert_true(late->count < COUNT_OF(late->jobs));
	late->jobs[late->count].to = to;
	late->jobs[late->count].from = from;
	late->jobs[late->count].size = size;
	late->count++;
	return true;
}

static void finish_late(struct vl_copier *copier)
{
	struct late_copier *late = (struct late_copier *)copier;

	while (late->count > 0) {
		late->count--;
		memcpy(late->jobs[late->count].to,
		       late->jobs[late->count].from,
		       late->jobs[late->count].size);
	}
}

static struct late_copier late_copier = {.copier = {30, start_late, finish_late}};

/* One burst, into few or many buffers; as many frames as these hold arrive, in their order. */
static void mix_burst(struct front *front, struct random *random, bool sums)
{
	static struct mixed mixed;
	const struct vl_frame *frames[MIXED_COUNT];
	enum vl_delivery results[MIXED_COUNT];
	unsigned done;

	for (unsigned i = random_below(random, RING_SIZE); i > 0; i--)
		traffic_post(front, RX, 1, 100 + random_below(random, 700), NULL, GUEST_CHAINED);
	for (unsigned i = 0; i < MIXED_COUNT; i++) {
		build_mixed(&mixed, i, random);
		frames[i] = &mixed.built[i].frame;
	}
	done = vl_device_copy_in_by(
		random_below(random, 2) == 0 ? NULL : &late_copier.copier,
		front->device,
		0,
		frames,
		MIXED_COUNT,
		results
	);
	vl_device_flush(front->device, 0);
	for (unsigned i = 0; i < done; i++) {
		if (frames[i]->header.gso_type != VL_GSO_NONE) {
			assert_int_equal(results[i], VL_NO_OFFLOAD);
			continue;
		}
		assert_int_equal(results[i], VL_DELIVERED);
		check_mixed(front, &mixed.built[i], sums);
	}
}

static void mix_all(const struct variant *variant, uint64_t features, bool sums)
{
	struct random random = {77};

	for (unsigned round = 0; round < 100; round++) {
		struct front_options options = {
			.ring_size = RING_SIZE,
			.features = variant_features(variant) | BIT(VL_F_MRG_RXBUF) | features,
		};
		struct front front;

		front_open(&front, &options);
		mix_burst(&front, &random, sums);
		assert_null(front_queue(&front, RX).broken);
		front_close(&front);
	}
}

static void bursts_of_all_kinds_of_frames_fill_mergeable_buffers(void **state)
{
	mix_all(*state, BIT(VL_F_EVENT_IDX) | BIT(VL_F_GUEST_CSUM), false);
	mix_all(*state, BIT(VL_F_EVENT_IDX), true);
	assert_true(late_copier.asked > 100);
}

static const struct variant_test burst_tests[] = {
	VARIANT_TEST(an_attack_at_any_place_of_a_burst_is_seen),
	VARIANT_TEST(a_buffer_at_the_border_of_a_region_is_judged_to_the_byte),
	VARIANT_TEST(a_chain_of_another_shape_may_stand_at_any_place),
	VARIANT_TEST(a_small_buffer_may_stand_at_any_place),
	VARIANT_TEST(bursts_of_all_lengths_go_around_the_ring),
	VARIANT_TEST(bursts_of_all_kinds_of_frames_fill_mergeable_buffers),
};

int main(void)
{
	return run_for_layouts("bursts", burst_tests, COUNT_OF(burst_tests));
}
