/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings by themselves: order and content over many laps, notifications in both directions, and
 * positions. The driver is guest.h's; the device side is used without a device around it.
 */
#include <string.h>

#include "ring/ring.h"
#include "traffic.h"
#include "variants.h"

enum {
	SPANS_MAX = 64,
	DATA_SIZE = 4096,
};

struct pair {
	struct guest guest;
	struct memory *memory;
	struct guest_ring driver;
	struct ring device;
	uint64_t data; /* guest address of DATA_SIZE bytes that chains point into */
};

static void device_open(struct pair *pair, const struct ring_position *position, bool indirect)
{
	const struct guest_ring *driver = &pair->driver;
	struct ring_config config = {
		.desc = driver->desc,
		.driver = driver->avail,
		.device = driver->used,
		.memory = pair->memory,
		.size = driver->size,
		.packed = driver->packed,
		.event_idx = driver->event_idx,
		.indirect = indirect,
		.position = *position,
	};

	memset(&pair->device, 0, sizeof(pair->device));
	assert_int_equal(ring_open(&pair->device, &config), 0);
}

static void pair_open(
	struct pair *pair, const struct variant *variant, uint32_t size, uint32_t start, bool wrap
)
{
	struct guest_ring_options options = {
		.size = size,
		.packed = variant->packed,
		.event_idx = variant->event_idx,
		.start = start,
		.start_wrap = wrap,
	};
	struct ring_position position = {
		.next = (uint16_t)start,
		.used_next = (uint16_t)start,
		.next_wrap = wrap,
		.used_wrap = wrap,
	};

	memset(pair, 0, sizeof(*pair));
	guest_open(&pair->guest);
	for (unsigned i = 0; i < pair->guest.region_count; i++) {
		const struct guest_region *region = &pair->guest.regions[i];
		struct memory_region_request request = {
			region->guest_address, region->size, region->user_address, 0};
		struct memory *memory;
		const char *why;

		assert_int_equal(memory_add(pair->memory, &request, region->fd, &memory, &why), 0);
		memory_free_table(pair->memory);
		pair->memory = memory;
	}
	pair->data = guest_alloc(&pair->guest, DATA_SIZE);
	guest_ring_open(&pair->driver, &pair->guest, &options);
	device_open(pair, &position, variant->form == GUEST_INDIRECT);
}

static void pair_close(struct pair *pair)
{
	ring_close(&pair->device);
	guest_ring_close(&pair->driver);
	memory_destroy(pair->memory);
	guest_close(&pair->guest);
}

static bool add_one(struct pair *pair, uint32_t cookie)
{
	struct guest_piece piece = {pair->data, 64, true};

	return guest_ring_add(&pair->driver, &piece, 1, GUEST_CHAINED, cookie);
}

static int take_one(struct pair *pair)
{
	struct iovec spans[SPANS_MAX];
	struct ring_chain chain;

	return ring_take(&pair->device, pair->driver.packed, &chain, spans, SPANS_MAX);
}

static void publish(struct pair *pair, uint32_t count)
{
	ring_publish(&pair->device, pair->driver.packed, count);
}

static bool wants_call(struct pair *pair)
{
	return ring_wants_call(&pair->device, pair->driver.packed);
}

/* `count` chains go round. */
static void exchange(struct pair *pair, unsigned count)
{
	struct guest_used used;

	for (unsigned i = 0; i < count; i++) {
		assert_true(add_one(pair, i));
		assert_int_equal(take_one(pair), 1);
		publish(pair, 1);
		assert_true(guest_ring_reap(&pair->driver, &used));
		assert_int_equal(used.cookie, i);
	}
}

/* ---- order ---- */

/* The pieces of the n-th chain: a few, readable before writable, where and how long n tells. */
static unsigned make_pieces(const struct pair *pair, uint32_t n, struct guest_piece *pieces)
{
	struct random random = {n * UINT64_C(2654435761) + 1};
	unsigned most = pair->driver.size < 3 ? pair->driver.size : 3;
	unsigned count = 1 + random_below(&random, most);
	unsigned readable = random_below(&random, count + 1);

	for (unsigned i = 0; i < count; i++)
		pieces[i] = (struct guest_piece){
			.address = pair->data + random_below(&random, DATA_SIZE / 2),
			.size = 1 + random_below(&random, DATA_SIZE / 2),
			.writable = i >= readable,
		};
	return count;
}

static void check_taken(const struct pair *pair, uint32_t n, const struct iovec *spans)
{
	const struct memory_region *low = &pair->memory->regions[GUEST_LOW];
	struct guest_piece pieces[3];
	unsigned count = make_pieces(pair, n, pieces);

	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(spans[i].iov_len, pieces[i].size);
		assert_ptr_equal(
			spans[i].iov_base, low->host + (pieces[i].address - low->guest_address)
		);
	}
}

static uint32_t written_of(const struct pair *pair, uint32_t n)
{
	struct guest_piece pieces[3];
	unsigned count = make_pieces(pair, n, pieces);

	return pieces[count - 1].writable ? 1 + n % pieces[count - 1].size : 0;
}

/* Driver and device take turns of random length until `total` chains have gone round. */
static void run_laps(struct pair *pair, enum guest_form form, uint32_t total)
{
	struct random random = {pair->driver.size + 7};
	const uint32_t turn = pair->driver.size < 64 ? pair->driver.size + 1 : 64;
	uint32_t added = 0, taken = 0, reaped = 0;

	while (reaped < total) {
		struct guest_piece pieces[3];
		struct iovec spans[SPANS_MAX];
		struct ring_chain chain;
		struct guest_used used;

		for (uint32_t n = random_below(&random, turn + 1); n > 0 && added < total; n--) {
			unsigned count = make_pieces(pair, added, pieces);

			if (!guest_ring_add(&pair->driver, pieces, count, form, added))
				break;
			added++;
		}
		for (uint32_t n = random_below(&random, turn + 1); n > 0; n--) {
			int got = ring_take(
				&pair->device, pair->driver.packed, &chain, spans, SPANS_MAX
			);

			assert_int_equal(got, taken < added ? 1 : 0);
			if (got == 0)
				break;
			check_taken(pair, taken, spans);
			ring_held_at(&pair->device, pair->device.held_count - 1)->written =
				written_of(pair, taken++);
		}
		publish(pair, random_below(&random, pair->device.held_count + 1));
		while (guest_ring_reap(&pair->driver, &used)) {
			assert_int_equal(used.cookie, reaped);
			assert_int_equal(used.written, written_of(pair, reaped));
			reaped++;
		}
	}
	assert_null(pair->device.broken);
}

static void chains_keep_order_and_content_over_many_laps(void **state)
{
	static const struct {
		uint32_t size;
		bool only_packed;
	} sizes[] = {
		{1, false},
		{2, false},
		{3, true},
		{4, false},
		{5, true},
		{255, true},
		{256, false},
		{32768, false},
	};
	const struct variant *variant = *state;

	for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
		/* Past the wrap of a 16-bit index, or some laps of a large ring. */
		uint32_t total = sizes[i].size < 32768 ? 66000 : 3 * 32768;
		struct pair pair;

		if (sizes[i].only_packed && !variant->packed)
			continue;
		pair_open(&pair, variant, sizes[i].size, 0, true);
		run_laps(&pair, variant->form, total);
		pair_close(&pair);
	}
}

static void a_full_ring_is_taken_whole(void **state)
{
	const struct variant *variant = *state;
	static const uint32_t sizes[] = {1, 2, 256, 32768};

	for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
		uint32_t n = 0;
		struct guest_used used;
		struct pair pair;

		pair_open(&pair, variant, sizes[i], 0, true);
		while (add_one(&pair, n))
			n++;
		assert_int_equal(n, sizes[i]);
		for (uint32_t k = 0; k < n; k++)
			assert_int_equal(take_one(&pair), 1);
		assert_int_equal(take_one(&pair), 0);
		publish(&pair, n);
		for (uint32_t k = 0; k < n; k++) {
			assert_true(guest_ring_reap(&pair.driver, &used));
			assert_int_equal(used.cookie, k);
		}
		assert_false(guest_ring_reap(&pair.driver, &used));
		pair_close(&pair);
	}
}

static void what_was_rewound_is_taken_again(void **state)
{
	const struct variant *variant = *state;
	struct guest_used used;
	struct pair pair;

	pair_open(&pair, variant, 4, 0, true);
	exchange(&pair, 3); /* so that the next ones wrap */
	for (uint32_t i = 0; i < 4; i++)
		assert_true(add_one(&pair, 100 + i));
	assert_int_equal(take_one(&pair), 1);
	struct ring_mark mark = ring_mark(&pair.device);
	assert_int_equal(take_one(&pair), 1);
	assert_int_equal(take_one(&pair), 1);
	ring_rewind(&pair.device, mark);
	assert_int_equal(take_one(&pair), 1);
	publish(&pair, 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_true(guest_ring_reap(&pair.driver, &used));
		assert_int_equal(used.cookie, 100 + i);
	}
	assert_false(guest_ring_reap(&pair.driver, &used));
	assert_int_equal(take_one(&pair), 1);
	assert_int_equal(take_one(&pair), 1);
	assert_int_equal(take_one(&pair), 0);
	pair_close(&pair);
}

/* ---- notifications ---- */

/* Where the tests of notifications begin: in the middle, and just before every kind of wrap. */
struct start {
	uint32_t size, at;
	bool wrap;
};
static const struct start split_starts[] = {
	{8, 0, true},
	{8, 3, true},
	{8, 7, true},
	{8, 32766, true},
	{8, 65533, true},
	{8, 65534, true},
	{8, 65535, true},
	{32768, 65535, true},
	{32768, 32767, true},
};
static const struct start packed_starts[] = {
	{8, 0, true},
	{8, 0, false},
	{8, 5, true},
	{8, 7, true},
	{8, 7, false},
	{5, 2, false},
	{5, 3, true},
	{5, 4, true},
	{5, 4, false},
	{32768, 32767, true},
	{32768, 32766, false},
};

static const struct start *starts(const struct variant *variant, unsigned *count)
{
	*count = variant->packed ? COUNT_OF(packed_starts) : COUNT_OF(split_starts);
	return variant->packed ? packed_starts : split_starts;
}

static void add_and_take(struct pair *pair, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		assert_true(add_one(pair, 0));
		assert_int_equal(take_one(pair), 1);
	}
}

static void check_calls(const struct variant *variant, const struct start *start)
{
	/* The driver wants to hear of the chain `after`; two batches come. */
	for (uint32_t after = 0; after < 5; after++) {
		for (uint32_t first = 1; first < 4; first++) {
			for (uint32_t second = 1; second < 3; second++) {
				struct pair pair;

				pair_open(&pair, variant, start->size, start->at, start->wrap);
				guest_ring_calls_on(&pair.driver, after);
				add_and_take(&pair, first + second);
				publish(&pair, first);
				bool wants = wants_call(&pair);
				assert_int_equal(wants, !variant->event_idx || after < first);
				publish(&pair, second);
				wants = wants_call(&pair);
				assert_int_equal(
					wants,
					!variant->event_idx
						|| (after >= first && after < first + second)
				);
				pair_close(&pair);
			}
		}
	}
}

static void the_driver_is_called_exactly_when_it_asked(void **state)
{
	unsigned count;
	const struct start *list = starts(*state, &count);

	for (unsigned i = 0; i < count; i++)
		check_calls(*state, &list[i]);
}

static void a_driver_that_wants_no_calls_gets_none(void **state)
{
	unsigned count;
	const struct start *list = starts(*state, &count);

	for (unsigned i = 0; i < count; i++) {
		struct pair pair;

		pair_open(&pair, *state, list[i].size, list[i].at, list[i].wrap);
		guest_ring_calls_off(&pair.driver);
		for (unsigned n = 0; n < 5; n++) {
			add_and_take(&pair, 1);
			publish(&pair, 1);
			assert_false(wants_call(&pair));
		}
		pair_close(&pair);
	}
}

static void the_device_is_kicked_once_after_it_asked(void **state)
{
	const struct variant *variant = *state;
	unsigned count;
	const struct start *list = starts(variant, &count);

	for (unsigned i = 0; i < count; i++) {
		struct pair pair;

		pair_open(&pair, variant, list[i].size, list[i].at, list[i].wrap);
		for (unsigned round = 0; round < 3; round++) {
			struct guest_used used;

			assert_false(ring_notify_on(&pair.device, variant->packed));
			assert_true(add_one(&pair, 0));
			assert_true(add_one(&pair, 0));
			assert_true(guest_ring_must_kick(&pair.driver));
			assert_int_equal(take_one(&pair), 1);
			/* With an index the wish is used up; a flag holds until it is taken back.
			 */
			ring_notify_off(&pair.device, variant->packed);
			assert_true(add_one(&pair, 0));
			assert_false(guest_ring_must_kick(&pair.driver));
			assert_int_equal(take_one(&pair), 1);
			assert_int_equal(take_one(&pair), 1);
			publish(&pair, 3);
			while (guest_ring_reap(&pair.driver, &used))
				;
		}
		pair_close(&pair);
	}
}

static void a_wish_to_be_kicked_sees_what_came_before_it(void **state)
{
	const struct variant *variant = *state;
	struct pair pair;

	pair_open(&pair, variant, 4, 0, true);
	assert_false(ring_notify_on(&pair.device, variant->packed));
	assert_true(add_one(&pair, 0));
	assert_true(ring_notify_on(&pair.device, variant->packed));
	assert_int_equal(take_one(&pair), 1);
	assert_false(ring_notify_on(&pair.device, variant->packed));
	pair_close(&pair);
}

/* The same slot a lap later is another place. */
static void a_wish_to_be_kicked_is_renewed_after_a_whole_lap(void **state)
{
	const struct variant *variant = *state;
	struct guest_used used;
	struct pair pair;

	pair_open(&pair, variant, 4, 0, true);
	assert_false(ring_notify_on(&pair.device, variant->packed));
	for (unsigned i = 0; i < 4; i++)
		assert_true(add_one(&pair, i));
	assert_true(guest_ring_must_kick(&pair.driver));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(take_one(&pair), 1);
	publish(&pair, 4);
	while (guest_ring_reap(&pair.driver, &used))
		;
	assert_false(ring_notify_on(&pair.device, variant->packed));
	assert_true(add_one(&pair, 0));
	assert_true(guest_ring_must_kick(&pair.driver));
	pair_close(&pair);
}

/* ---- misdeeds ---- */

/* A driver that makes descriptors available which the device holds: positions must not leave the
 * ring, whatever the device does with the chains. */
static void held_descriptors_cannot_be_made_available_again(void **state)
{
	const struct variant *variant = *state;
	struct guest_piece pieces[2];
	struct pair pair;

	if (!variant->packed)
		return; /* there, chains are counted by an index alone */
	pair_open(&pair, variant, 4, 0, true);
	for (unsigned i = 0; i < 2; i++)
		pieces[i] = (struct guest_piece){pair.data, 64, false};
	assert_true(guest_ring_add(&pair.driver, pieces, 1, GUEST_CHAINED, 0));
	assert_true(guest_ring_add(&pair.driver, pieces, 2, GUEST_CHAINED, 1));
	assert_int_equal(take_one(&pair), 1);
	assert_int_equal(take_one(&pair), 1);
	/* One of four is free; a chain of four begins there. */
	for (unsigned i = 0; i < 4; i++) {
		unsigned slot = (3 + i) % 4;

		pair.driver.packed_desc[slot] = (struct vring_packed_desc){
			.addr = pair.data,
			.len = 64,
			.flags = (uint16_t
			)((slot == 3 ? PACKED_AVAIL : PACKED_USED) | (i < 3 ? VRING_DESC_F_NEXT : 0)
			),
		};
	}
	assert_int_equal(take_one(&pair), -1);
	assert_non_null(atomic_load(&pair.device.broken));
	assert_int_equal(pair.device.held_descriptors, 3);
	ring_untake(&pair.device, true, 1);
	publish(&pair, 1);
	assert_int_equal(pair.device.next, 1);
	assert_int_equal(pair.device.used_next, 1);
	pair_close(&pair);
}

/* ---- positions ---- */

static void reopen(struct pair *pair, uint32_t base)
{
	struct ring_position position = ring_position_decode(base, pair->driver.packed);

	ring_close(&pair->device);
	device_open(pair, &position, true);
}

static uint32_t base_of(const struct pair *pair)
{
	struct ring_position position;

	ring_position(&pair->device, &position);
	return ring_position_encode(&position, pair->driver.packed);
}

static void a_ring_goes_on_at_any_position(void **state)
{
	const struct variant *variant = *state;

	for (uint32_t size = 1; size <= 8; size++) {
		struct pair pair;

		if (!variant->packed && (size & (size - 1)) != 0)
			continue;
		pair_open(&pair, variant, size, 0, true);
		for (uint32_t round = 0; round < 6 * size; round++) {
			exchange(&pair, 1);
			reopen(&pair, base_of(&pair));
			assert_int_equal(take_one(&pair), 0);
		}
		pair_close(&pair);
	}
}

static void what_is_available_at_a_restart_is_taken_after_it(void **state)
{
	const struct variant *variant = *state;

	for (uint32_t before = 0; before < 12; before++) {
		struct guest_used used;
		struct pair pair;

		pair_open(&pair, variant, 4, 0, true);
		exchange(&pair, before);
		assert_true(add_one(&pair, 77));
		reopen(&pair, base_of(&pair));
		assert_int_equal(take_one(&pair), 1);
		assert_int_equal(take_one(&pair), 0);
		publish(&pair, 1);
		assert_true(guest_ring_reap(&pair.driver, &used));
		assert_int_equal(used.cookie, 77);
		pair_close(&pair);
	}
}

static void positions_survive_their_encoding(void **)
{
	static const struct ring_position positions[] = {
		{0, 0, true, true},
		{0, 0, false, false},
		{1, 1, true, true},
		{32767, 32767, false, false},
		{32767, 3, false, true},
		{5, 32767, true, true},
		{5, 1, false, false},
	};

	for (unsigned i = 0; i < COUNT_OF(positions); i++) {
		uint32_t base = ring_position_encode(&positions[i], true);
		struct ring_position back = ring_position_decode(base, true);

		assert_memory_equal(&back, &positions[i], sizeof(back));
	}
	assert_int_equal(ring_position_encode(&positions[3], false), 32767);
	assert_int_equal(ring_position_decode(65535, false).next, 65535);
}

static void half_a_packed_position_is_meant_for_both(void **)
{
	struct ring_position position = ring_position_decode(0x8005, true);

	assert_int_equal(position.next, 5);
	assert_int_equal(position.used_next, 5);
	assert_true(position.next_wrap && position.used_wrap);
}

static const struct variant_test ring_tests[] = {
	VARIANT_TEST(chains_keep_order_and_content_over_many_laps),
	VARIANT_TEST(a_full_ring_is_taken_whole),
	VARIANT_TEST(what_was_rewound_is_taken_again),
	VARIANT_TEST(the_driver_is_called_exactly_when_it_asked),
	VARIANT_TEST(a_driver_that_wants_no_calls_gets_none),
	VARIANT_TEST(the_device_is_kicked_once_after_it_asked),
	VARIANT_TEST(a_wish_to_be_kicked_sees_what_came_before_it),
	VARIANT_TEST(a_wish_to_be_kicked_is_renewed_after_a_whole_lap),
	VARIANT_TEST(held_descriptors_cannot_be_made_available_again),
	VARIANT_TEST(a_ring_goes_on_at_any_position),
	VARIANT_TEST(what_is_available_at_a_restart_is_taken_after_it),
};

int main(void)
{
	const struct CMUnitTest encoding[] = {
		cmocka_unit_test(positions_survive_their_encoding),
		cmocka_unit_test(half_a_packed_position_is_meant_for_both),
	};

	return run_for_all_rings("ring", ring_tests, COUNT_OF(ring_tests))
	       + cmocka_run_group_tests_name("ring positions", encoding, NULL, NULL);
}
