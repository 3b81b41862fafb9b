/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings of a driver that breaks the rules: the queue it is in stops with the right reason, once and
 * for good, and everything else goes on. And odd things that are allowed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"
#include "net/frame.h"
#include "traffic.h"
#include "variants.h"

enum {
	VICTIM_RX = 2, /* the queues of pair 1 are attacked, those of pair 0 watch */
	VICTIM_TX = 3,
	FRAME_SIZE = 100,
};

static uint8_t frame_bytes[FRAME_SIZE];

static void open_front(struct front *front, const struct variant *variant)
{
	struct front_options options = {
		.pairs = 2,
		.ring_size = 64,
		.features = variant_features(variant) | BIT(VL_F_INDIRECT_DESC) | BIT(VL_F_MQ),
	};

	pattern_fill(frame_bytes, sizeof(frame_bytes), 1);
	front_open(front, &options);
}

static int deliver(struct front *front, unsigned pair)
{
	struct built_frame built;

	frame_build(&built, frame_bytes, sizeof(frame_bytes), 64, NULL);
	return traffic_deliver(front, pair, &built);
}

static int borrow(struct front *front, unsigned pair)
{
	struct vl_frame frames[VL_BURST_MAX];
	int n = vl_device_borrow(front->device, pair, frames, VL_BURST_MAX);

	if (n > 0)
		vl_device_give_back(front->device, pair, (unsigned)n);
	return n;
}

static void check_receives(struct front *front, unsigned pair)
{
	struct vl_net_header header;
	uint8_t got[FRAME_SIZE];

	traffic_post(front, 2 * pair, 1, 256, NULL, GUEST_CHAINED);
	assert_int_equal(deliver(front, pair), VL_DELIVERED);
	assert_int_equal(traffic_receive(front, 2 * pair, &header, got, sizeof(got)), FRAME_SIZE);
	assert_memory_equal(got, frame_bytes, FRAME_SIZE);
}

static void check_sends(struct front *front, unsigned pair)
{
	struct guest_used used;

	traffic_send_plain(front, 2 * pair + 1, frame_bytes, FRAME_SIZE);
	assert_int_equal(borrow(front, pair), 1);
	assert_true(guest_ring_reap(&front->rings[2 * pair + 1], &used));
}

static bool error_was_signalled(const struct guest_ring *ring)
{
	uint64_t value;

	return read(ring->err_fd, &value, sizeof(value)) == sizeof(value);
}

/* Use the victim until it is known to be broken. */
static void run_into(struct front *front, unsigned index)
{
	for (unsigned i = 0; i < 3 && front_queue(front, index).broken == NULL; i++) {
		if (index == VICTIM_TX)
			(void)borrow(front, 1);
		else
			(void)deliver(front, 1);
	}
}

static void check_stays_broken(struct front *front, unsigned index)
{
	if (index == VICTIM_TX) {
		assert_int_equal(borrow(front, 1), -EPROTO);
		assert_true(vl_device_sleep(front->device, 1));
	} else {
		assert_int_equal(deliver(front, 1), VL_DOWN);
	}
}

static void check_others_go_on(struct front *front, unsigned victim)
{
	check_receives(front, 0);
	check_sends(front, 0);
	if (victim == VICTIM_TX)
		check_receives(front, 1);
	else
		check_sends(front, 1);
	for (unsigned i = 0; i < front->ring_count; i++)
		assert_true(i == victim || front_queue(front, i).broken == NULL);
}

static void run_attack(const struct variant *variant, const struct attack *attack, unsigned victim)
{
	struct front front;

	print_message("           %s, %s\n", attack->name, victim == VICTIM_TX ? "tx" : "rx");
	open_front(&front, variant);
	attack->make(&front, victim);
	run_into(&front, victim);
	assert_non_null(front_queue(&front, victim).broken);
	assert_string_equal(front_queue(&front, victim).broken, attack->reason);
	assert_true(error_was_signalled(&front.rings[victim]));
	check_stays_broken(&front, victim);
	assert_false(error_was_signalled(&front.rings[victim]));
	check_others_go_on(&front, victim);
	front_close(&front);
}

static void run_attacks(
	const struct variant *variant, const struct attack *attacks, unsigned count, unsigned victim
)
{
	for (unsigned i = 0; i < count; i++)
		run_attack(variant, &attacks[i], victim);
}

static void an_attack_on_a_transmit_queue_stops_only_that(void **state)
{
	const struct variant *variant = *state;

	if (variant->packed)
		run_attacks(variant, attacks_packed, attacks_packed_count, VICTIM_TX);
	else
		run_attacks(variant, attacks_split, attacks_split_count, VICTIM_TX);
}

static void an_attack_on_a_receive_queue_stops_only_that(void **state)
{
	const struct variant *variant = *state;

	if (variant->packed)
		run_attacks(variant, attacks_packed, attacks_packed_count, VICTIM_RX);
	else
		run_attacks(variant, attacks_split, attacks_split_count, VICTIM_RX);
	run_attacks(variant, attacks_receive, attacks_receive_count, VICTIM_RX);
}

static const struct attack *an_attack(const struct variant *variant)
{
	return variant->packed ? &attacks_packed[0] : &attacks_split[0];
}

static void frames_before_a_bad_chain_arrive(void **state)
{
	struct front front;

	open_front(&front, *state);
	traffic_send_plain(&front, VICTIM_TX, frame_bytes, FRAME_SIZE);
	traffic_send_plain(&front, VICTIM_TX, frame_bytes, FRAME_SIZE);
	an_attack(*state)->make(&front, VICTIM_TX);
	assert_int_equal(borrow(&front, 1), 2);
	assert_int_equal(borrow(&front, 1), -EPROTO);
	front_close(&front);
}

static void an_error_behind_good_frames_is_signalled(void **state)
{
	struct front front;

	open_front(&front, *state);
	traffic_send_plain(&front, VICTIM_TX, frame_bytes, FRAME_SIZE);
	an_attack(*state)->make(&front, VICTIM_TX);
	assert_int_equal(borrow(&front, 1), 1);
	assert_int_equal(borrow(&front, 1), -EPROTO);
	assert_true(error_was_signalled(&front.rings[VICTIM_TX]));
	front_close(&front);
}

/* "the ring then takes nothing more": also not in the burst in which it broke. */
static void a_broken_receive_queue_gets_nothing_more(void **state)
{
	struct built_frame large, small;
	const struct vl_frame *burst[] = {&large.frame, &small.frame};
	enum vl_delivery results[2];
	uint8_t bytes[400] = {0};
	struct guest_used used;
	struct front front;
	struct front_options options = {
		.pairs = 2,
		.ring_size = 64,
		.features = variant_features(*state) | BIT(VL_F_INDIRECT_DESC) | BIT(VL_F_MQ)
			    | BIT(VL_F_MRG_RXBUF),
	};

	front_open(&front, &options);
	frame_build(&large, bytes, 400, 64, NULL);
	frame_build(&small, bytes, 100, 64, NULL);
	traffic_post(&front, VICTIM_RX, 1, 256, NULL, GUEST_CHAINED);
	an_attack(*state)->make(&front, VICTIM_RX);
	assert_int_equal(vl_device_copy_in(front.device, 1, burst, 2, results), 2);
	vl_device_flush(front.device, 1);
	assert_int_equal(results[0], VL_DOWN);
	assert_int_equal(results[1], VL_DOWN);
	assert_false(guest_ring_reap(&front.rings[VICTIM_RX], &used));
	front_close(&front);
}

static void indirect_needs_its_feature(void **state)
{
	const struct variant *variant = *state;
	struct front_options options = {.features = variant_features(variant)};
	struct front front;
	struct vl_net_header header = {0};

	front_open(&front, &options);
	traffic_send(&front, 1, &header, frame_bytes, FRAME_SIZE, NULL, GUEST_INDIRECT);
	assert_int_equal(borrow(&front, 0), -EPROTO);
	assert_string_equal(
		front_queue(&front, 1).broken, "an indirect descriptor without INDIRECT_DESC"
	);
	front_close(&front);
}

static void a_broken_queue_works_again_after_a_restart(void **state)
{
	struct guest_ring_options options = {
		.size = 64,
		.packed = ((const struct variant *)*state)->packed,
		.start_wrap = true,
	};
	struct front front;

	open_front(&front, *state);
	an_attack(*state)->make(&front, VICTIM_TX);
	run_into(&front, VICTIM_TX);
	assert_non_null(front_queue(&front, VICTIM_TX).broken);
	(void)front_stop_ring(&front, VICTIM_TX);
	assert_null(front_queue(&front, VICTIM_TX).broken);
	guest_ring_close(&front.rings[VICTIM_TX]);
	guest_ring_open(&front.rings[VICTIM_TX], &front.guest, &options);
	front_start_ring(&front, VICTIM_TX, &front.rings[VICTIM_TX]);
	check_sends(&front, 1);
	front_close(&front);
}

static void a_broken_queue_works_again_after_a_reconnect(void **state)
{
	struct front_options options = {.pairs = 2, .features = variant_features(*state)};
	struct front front;

	open_front(&front, *state);
	an_attack(*state)->make(&front, VICTIM_TX);
	run_into(&front, VICTIM_TX);
	vl_device_detach(front.device);
	assert_null(front_queue(&front, VICTIM_TX).broken);
	front_reattach(&front);
	front_negotiate(&front, variant_features(*state) | BIT(VL_F_VERSION_1) | BIT(VL_F_MQ));
	assert_int_equal(front_share_memory(&front), 0);
	for (unsigned i = 0; i < front.ring_count; i++)
		guest_ring_close(&front.rings[i]);
	front_start(&front, &options);
	check_sends(&front, 1);
	check_receives(&front, 1);
	front_close(&front);
}

/* A change of memory rebuilds rings; it must not heal a broken one. */
static void new_memory_does_not_heal_a_queue(void **state)
{
	struct front front;

	open_front(&front, *state);
	an_attack(*state)->make(&front, VICTIM_TX);
	run_into(&front, VICTIM_TX);
	assert_int_equal(front_share_memory(&front), 0);
	assert_string_equal(front_queue(&front, VICTIM_TX).broken, an_attack(*state)->reason);
	check_stays_broken(&front, VICTIM_TX);
	check_others_go_on(&front, VICTIM_TX);
	front_close(&front);
}

/* ---- odd but allowed ---- */

/* Borrow the one frame there is and compare it with frame_bytes. */
static void check_frame_comes(struct front *front)
{
	struct vl_frame frames[2];
	uint8_t got[FRAME_SIZE];

	assert_int_equal(vl_device_borrow(front->device, 0, frames, 2), 1);
	assert_int_equal(frames[0].size, FRAME_SIZE);
	frame_flatten(&frames[0], got);
	assert_memory_equal(got, frame_bytes, FRAME_SIZE);
	vl_device_give_back(front->device, 0, 1);
}

static void a_header_may_be_cut_anywhere(void **state)
{
	struct random random = {5};
	struct front front;

	open_front(&front, *state);
	for (unsigned ways = 1; ways <= 12; ways++) {
		for (unsigned repeat = 0; repeat < 8; repeat++) {
			struct vl_net_header header = {
				.flags = VL_NET_NEEDS_CSUM,
				.gso_type = VL_GSO_TCPV4,
				.hdr_len = 0x1122,
				.gso_size = 0x3344,
				.csum_start = 0x5566,
				.csum_offset = 0x7788,
				.num_buffers = 0x99aa,
			};
			struct cuts cuts = {.count = ways};
			struct vl_frame frame;
			struct guest_used used;

			for (unsigned i = 0; i < ways; i++)
				cuts.sizes[i] = 1 + random_below(&random, 12 / ways);
			traffic_send(
				&front,
				1,
				&header,
				frame_bytes,
				FRAME_SIZE,
				&cuts,
				repeat % 2 ? GUEST_INDIRECT : GUEST_CHAINED
			);
			assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
			assert_memory_equal(&frame.header, &header, sizeof(header));
			assert_int_equal(frame.size, FRAME_SIZE);
			vl_device_give_back(front.device, 0, 1);
			assert_true(guest_ring_reap(&front.rings[1], &used));
		}
	}
	front_close(&front);
}

/* CVE-2022-2132: no endless loop, nothing lost, the next frame comes. */
static void chains_without_a_frame_are_empty_frames(void **state)
{
	static const uint32_t sizes[] = {0, 1, 9, 10, 11, 12};
	struct front front;

	open_front(&front, *state);
	for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
		struct guest_piece piece = {guest_alloc(&front.guest, 16), sizes[i], false};
		struct vl_frame frame;
		struct guest_used used;

		assert_true(guest_ring_add(&front.rings[1], &piece, 1, GUEST_CHAINED, 0));
		assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
		assert_int_equal(frame.size, 0);
		assert_int_equal(frame.head_size + frame.tail_count, 0);
		vl_device_give_back(front.device, 0, 1);
		assert_true(guest_ring_reap(&front.rings[1], &used));
		check_sends(&front, 0);
	}
	front_close(&front);
}

static void empty_descriptors_are_passed_over(void **state)
{
	uint64_t base;
	struct front front;

	open_front(&front, *state);
	base = guest_alloc(&front.guest, 12 + FRAME_SIZE);
	memcpy(guest_at(&front.guest, base) + 12, frame_bytes, FRAME_SIZE);
	struct guest_piece pieces[] = {
		{UINT64_MAX, 0, false},
		{base, 12, false},
		{0, 0, false},
		{base + 12, 50, false},
		{GUEST_HIGH_ADDRESS - 1, 0, false},
		{base + 62, 50, false},
		{0, 0, false},
	};
	assert_true(guest_ring_add(&front.rings[1], pieces, 7, GUEST_CHAINED, 0));
	check_frame_comes(&front);
	front_close(&front);
}

/* DPDK leaves the WRITE flag on headers; the device only reads from a transmit queue anyway. */
static void what_is_flagged_writable_on_a_transmit_queue_is_read(void **state)
{
	for (unsigned flags = 0; flags < 8; flags++) {
		struct front front;

		open_front(&front, *state);
		uint64_t base = guest_alloc(&front.guest, 12 + FRAME_SIZE);
		memcpy(guest_at(&front.guest, base) + 12, frame_bytes, FRAME_SIZE);
		struct guest_piece pieces[] = {
			{base, 12, flags & 1},
			{base + 12, 50, flags & 2},
			{base + 62, 50, flags & 4},
		};
		struct guest_used used;
		assert_true(guest_ring_add(
			&front.rings[1], pieces, 3, flags % 2 ? GUEST_INDIRECT : GUEST_CHAINED, 0
		));
		check_frame_comes(&front);
		assert_true(guest_ring_reap(&front.rings[1], &used));
		assert_int_equal(used.written, 0);
		front_close(&front);
	}
}

static void a_chain_may_have_1024_descriptors(void **state)
{
	const struct variant *variant = *state;
	struct front front;
	struct vl_frame frame;
	static uint8_t sent[1012], got[1012];

	open_front(&front, variant);
	pattern_fill(sent, sizeof(sent), 7);
	uint64_t base = guest_alloc(&front.guest, 1024);
	memcpy(guest_at(&front.guest, base) + 12, sent, sizeof(sent));
	struct guest_piece *pieces = test_malloc(1024 * sizeof(*pieces));
	for (unsigned i = 0; i < 1024; i++)
		pieces[i] = (struct guest_piece){base + i, 1, false};
	assert_true(guest_ring_add(&front.rings[1], pieces, 1024, GUEST_INDIRECT, 0));
	test_free(pieces);
	assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
	assert_int_equal(frame.size, sizeof(sent));
	frame_flatten(&frame, got);
	assert_memory_equal(got, sent, sizeof(sent));
	front_close(&front);
}

/* Guest memory is one piece here, although it comes from two files. */
/* Or one frame would make the device walk the whole ring's tables, again and again. */
static void empty_receive_buffers_are_not_walked_for_ever(void **state)
{
	enum {
		EMPTY = 1000,
	};
	struct front_options options = {
		.ring_size = 64,
		.features =
			variant_features(*state) | BIT(VL_F_INDIRECT_DESC) | BIT(VL_F_MRG_RXBUF),
	};
	static struct guest_piece pieces[EMPTY];
	struct built_frame built;
	struct front front;

	front_open(&front, &options);
	frame_build(&built, frame_bytes, sizeof(frame_bytes), VL_HEAD_MAX, NULL);
	traffic_post(&front, 0, 1, 12, NULL, GUEST_CHAINED);
	for (unsigned i = 0; i < EMPTY; i++)
		pieces[i] = (struct guest_piece){guest_alloc(&front.guest, 1), 0, true};
	for (unsigned i = 0; i < 4; i++)
		assert_true(guest_ring_add(&front.rings[0], pieces, EMPTY, GUEST_INDIRECT, 0));
	assert_int_equal(traffic_deliver(&front, 0, &built), VL_DOWN);
	assert_string_equal(front_queue(&front, 0).broken, "a frame takes too many descriptors");
	front_close(&front);
}

static void a_buffer_may_lie_in_two_regions(void **state)
{
	struct front front;
	uint8_t got[FRAME_SIZE];
	struct guest_used used;
	const uint64_t border = GUEST_LOW_ADDRESS + GUEST_LOW_SIZE;

	open_front(&front, *state);
	for (uint32_t before = 1; before < 12 + FRAME_SIZE; before++) {
		struct guest_piece piece = {border - before, 12 + FRAME_SIZE, false};
		uint8_t flat[12 + FRAME_SIZE] = {0};

		memcpy(flat + 12, frame_bytes, FRAME_SIZE);
		for (unsigned i = 0; i < sizeof(flat); i++)
			*guest_at(&front.guest, piece.address + i) = flat[i];
		assert_true(guest_ring_add(&front.rings[1], &piece, 1, GUEST_CHAINED, 0));
		check_frame_comes(&front);
		assert_true(guest_ring_reap(&front.rings[1], &used));

		piece.writable = true;
		assert_true(guest_ring_add(&front.rings[0], &piece, 1, GUEST_CHAINED, 0));
		assert_int_equal(deliver(&front, 0), VL_DELIVERED);
		assert_true(guest_ring_reap(&front.rings[0], &used));
		assert_int_equal(used.written, 12 + FRAME_SIZE);
		for (unsigned i = 0; i < FRAME_SIZE; i++)
			got[i] = *guest_at(&front.guest, piece.address + 12 + i);
		assert_memory_equal(got, frame_bytes, FRAME_SIZE);
	}
	front_close(&front);
}

static void an_indirect_table_may_lie_in_two_regions(void **state)
{
	const struct variant *variant = *state;
	const uint64_t border = GUEST_LOW_ADDRESS + GUEST_LOW_SIZE;
	struct front front;

	for (uint64_t before = 8; before < 48; before += 8) {
		struct vl_net_header header = {0};
		struct cuts cuts = {2, {12, 30}};
		uint8_t table[48];

		open_front(&front, *state);
		traffic_send(&front, 1, &header, frame_bytes, FRAME_SIZE, &cuts, GUEST_INDIRECT);
		/* Move the table that was made to the border. */
		const struct guest_ring *ring = &front.rings[1];
		__u64 *address = variant->packed ? &ring->packed_desc[0].addr
						 : &ring->desc[ring->avail->ring[0]].addr;
		memcpy(table, guest_at(&front.guest, *address), sizeof(table));
		*address = border - before;
		for (unsigned i = 0; i < sizeof(table); i++)
			*guest_at(&front.guest, *address + i) = table[i];
		check_frame_comes(&front);
		front_close(&front);
	}
}

/* "The device MUST ignore all flags other than WRITE" in a packed indirect table (2.8.7). */
static void flags_in_a_packed_table_are_ignored(void **)
{
	const struct variant variant = {"", true, false, GUEST_INDIRECT};
	struct cuts cuts = {2, {12, 30}};
	struct vl_net_header header = {0};
	struct front front;

	open_front(&front, &variant);
	traffic_send(&front, 1, &header, frame_bytes, FRAME_SIZE, &cuts, GUEST_INDIRECT);
	struct vring_packed_desc *table =
		(void *)guest_at(&front.guest, front.rings[1].packed_desc[0].addr);
	table[0].flags = VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT;
	table[2].flags = VRING_DESC_F_NEXT;
	check_frame_comes(&front);
	front_close(&front);
}

/* ---- a driver that rewrites what is being read ---- */

struct mutator {
	struct front *front;
	unsigned index;
	atomic_bool stop;
};

enum {
	FIRST_BUFFER = 1 << 20, /* where refill() begins in GUEST_LOW */
};

static void mutate(struct guest_ring *ring, struct random *random)
{
	uint64_t addresses[] = {
		GUEST_LOW_ADDRESS,
		GUEST_LOW_ADDRESS + GUEST_LOW_SIZE + GUEST_NEXT_SIZE - 8,
		UINT64_MAX - 8,
		GUEST_LOW_ADDRESS + GUEST_LOW_SIZE - 8,
		ring->desc_address,
	};
	struct vring_desc *desc = &ring->desc[random_below(random, ring->size)];

	switch (random_below(random, 5)) {
	case 0:
		__atomic_store_n(
			&desc->addr,
			addresses[random_below(random, COUNT_OF(addresses))],
			__ATOMIC_RELAXED
		);
		break;
	case 1:
		__atomic_store_n(&desc->len, 16 * random_below(random, 8), __ATOMIC_RELAXED);
		break;
	case 2:
		/* ids and nexts */
		__atomic_store_n(
			ring->packed ? &ring->packed_desc[0].id : &desc->next,
			(uint16_t)random_below(random, ring->size + 1),
			__ATOMIC_RELAXED
		);
		break;
	case 3:
		/* a virtio-net header, or the first bytes of a frame */
		((uint16_t *)(void *)(ring->guest->regions[GUEST_LOW].host + FIRST_BUFFER)
		)[random_below(random, 16)] = (uint16_t)random_next(random);
		break;
	default:
		if (!ring->packed)
			__atomic_store_n(
				&desc->flags, (uint16_t)random_below(random, 8), __ATOMIC_RELAXED
			);
		break;
	}
}

static void *mutator_main(void *context)
{
	struct mutator *mutator = context;
	struct random random = {99};

	while (!atomic_load_explicit(&mutator->stop, memory_order_relaxed))
		mutate(&mutator->front->rings[mutator->index], &random);
	return NULL;
}

/* Restart a queue of pair 1 on a fresh ring, filled. */
static void refill(struct front *front, unsigned index, bool packed)
{
	struct guest_ring_options options = {.size = 8, .packed = packed, .start_wrap = true};
	struct guest *guest = &front->guest;

	guest->regions[GUEST_HIGH].used = 1 << 20;
	guest->regions[GUEST_LOW].used = FIRST_BUFFER;
	(void)front_stop_ring(front, index);
	guest_ring_close(&front->rings[index]);
	guest_ring_open(&front->rings[index], guest, &options);
	for (unsigned i = 0; i < 4; i++) {
		struct cuts cuts = {1, {20}};
		struct vl_net_header header = {0};

		if (index == VICTIM_TX)
			traffic_send(
				front, index, &header, frame_bytes, FRAME_SIZE, &cuts, GUEST_CHAINED
			);
		else
			traffic_post(front, index, 1, 256, &cuts, GUEST_CHAINED);
	}
	front_start_ring(front, index, &front->rings[index]);
}

static void use(struct front *front, unsigned index)
{
	struct vl_frame frames[VL_BURST_MAX];
	static uint8_t sink[1 << 20];

	if (index == VICTIM_RX) {
		for (unsigned i = 0; i < 4; i++)
			(void)deliver(front, 1);
		return;
	}
	int n = vl_device_borrow(front->device, 1, frames, VL_BURST_MAX);
	for (int i = 0; i < n; i++) {
		uint32_t need;

		assert_true(frames[i].size < sizeof(sink));
		frame_flatten(&frames[i], sink);
		/* As a switch does: check what was fetched, pass it on with its sum filled in. */
		if (frames[i].size < 14 || !frame_check_header(&frames[i], &need))
			continue;
		const struct vl_frame *frame = &frames[i];
		enum vl_delivery result;
		struct guest_used used;
		(void)vl_device_copy_in(front->device, 0, &frame, 1, &result);
		vl_device_flush(front->device, 0);
		if (guest_ring_reap(&front->rings[0], &used)) {
			struct guest_piece piece = {GUEST_LOW_ADDRESS, FIRST_BUFFER, true};

			assert_true(guest_ring_add(&front->rings[0], &piece, 1, GUEST_CHAINED, 0));
		}
	}
	if (n > 0)
		vl_device_give_back(front->device, 1, (unsigned)n);
}

/* Whatever comes of it: no access outside (a sanitizer or the kernel would say so), no hang. */
static void a_ring_that_changes_while_it_is_read_does_no_harm(void **state)
{
	const struct variant *variant = *state;

	for (unsigned index = VICTIM_RX; index <= VICTIM_TX; index++) {
		struct front front;
		struct mutator mutator = {.front = &front, .index = index};
		pthread_t thread;

		open_front(&front, variant);
		front.guest.regions[GUEST_LOW].used = 0;
		traffic_post(&front, 0, 1, FIRST_BUFFER, NULL, GUEST_CHAINED);
		for (unsigned round = 0; round < 200; round++) {
			refill(&front, index, variant->packed);
			atomic_store(&mutator.stop, false);
			assert_int_equal(pthread_create(&thread, NULL, mutator_main, &mutator), 0);
			for (unsigned i = 0; i < 50; i++)
				use(&front, index);
			atomic_store(&mutator.stop, true);
			pthread_join(thread, NULL);
		}
		assert_null(front_queue(&front, 0).broken);
		front_close(&front);
	}
}

/* ---- descriptors for notifications ---- */

/* A call descriptor may be a pipe (User Mode Linux's is), and its reader may be gone. */
static void a_call_into_a_closed_pipe_does_not_end_the_process(void **)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct front_options options = {0};
		struct front front;
		int pipes[2];

		front_open(&front, &options);
		if (pipe(pipes) < 0)
			_exit(2);
		close(pipes[0]);
		(void)front_request_fd(&front, VHOST_USER_SET_VRING_CALL, 1, pipes[1]);
		traffic_send_plain(&front, 1, frame_bytes, FRAME_SIZE);
		(void)borrow(&front, 0);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Without it there is only write(), which an emulator of another processor is left with. */
static bool has_asynchronous_requests(void)
{
	aio_context_t context = 0;

	if (syscall(SYS_io_setup, 1, &context) < 0)
		return false;
	(void)syscall(SYS_io_destroy, context);
	return true;
}

static void a_full_call_descriptor_does_not_block(void **)
{
	struct front_options options = {0};
	struct front front;
	uint64_t nearly_full = UINT64_MAX - 1;

	front_open(&front, &options);
	int call_fd = front.rings[1].call_fd, flags = fcntl(call_fd, F_GETFL);
	assert_int_equal(write(call_fd, &nearly_full, sizeof(nearly_full)), 8);
	/* What was set when it came is the peer's to undo. */
	assert_true(flags & O_NONBLOCK);
	if (has_asynchronous_requests())
		assert_int_equal(fcntl(call_fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	traffic_send_plain(&front, 1, frame_bytes, FRAME_SIZE);
	assert_int_equal(borrow(&front, 0), 1);
	front_close(&front);
}

static const struct variant_test hostile_tests[] = {
	VARIANT_TEST(an_attack_on_a_transmit_queue_stops_only_that),
	VARIANT_TEST(an_attack_on_a_receive_queue_stops_only_that),
	VARIANT_TEST(frames_before_a_bad_chain_arrive),
	VARIANT_TEST(an_error_behind_good_frames_is_signalled),
	VARIANT_TEST(a_broken_receive_queue_gets_nothing_more),
	VARIANT_TEST(indirect_needs_its_feature),
	VARIANT_TEST(a_broken_queue_works_again_after_a_restart),
	VARIANT_TEST(a_broken_queue_works_again_after_a_reconnect),
	VARIANT_TEST(new_memory_does_not_heal_a_queue),
	VARIANT_TEST(a_header_may_be_cut_anywhere),
	VARIANT_TEST(chains_without_a_frame_are_empty_frames),
	VARIANT_TEST(empty_descriptors_are_passed_over),
	VARIANT_TEST(what_is_flagged_writable_on_a_transmit_queue_is_read),
	VARIANT_TEST(a_chain_may_have_1024_descriptors),
	VARIANT_TEST(empty_receive_buffers_are_not_walked_for_ever),
	VARIANT_TEST(a_buffer_may_lie_in_two_regions),
	VARIANT_TEST(an_indirect_table_may_lie_in_two_regions),
	VARIANT_TEST(a_ring_that_changes_while_it_is_read_does_no_harm),
};

int main(void)
{
	const struct CMUnitTest others[] = {
		cmocka_unit_test(flags_in_a_packed_table_are_ignored),
		cmocka_unit_test(a_call_into_a_closed_pipe_does_not_end_the_process),
		cmocka_unit_test(a_full_call_descriptor_does_not_block),
	};

	return run_for_layouts("hostile rings", hostile_tests, COUNT_OF(hostile_tests))
	       + cmocka_run_group_tests_name("hostile, others", others, NULL, NULL);
}
