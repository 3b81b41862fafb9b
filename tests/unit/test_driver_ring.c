/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver side of virtqueues against the device side: what goes in comes out once, in whatever
 * order a device may complete; who notifies whom; and what is not written again.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ring_rig.h"

/* ---- what goes in comes out once ---- */

/* Both sides take turns of random length, and sleep now and then, until `total` chains are round.
 */
static void run_laps(struct rig *rig, uint32_t total)
{
	struct random *random = &rig->random;
	const uint32_t turn = rig->size < 64 ? rig->size + 1 : 128;

	while (rig->reaped < total) {
		uint32_t before = rig->added;

		for (uint32_t n = random_below(random, turn); n > 0 && rig->added < total; n--) {
			if (!rig_add(rig))
				break;
		}
		if (rig->added != before)
			rig_show(rig);
		if (!rig->device_asleep) {
			for (uint32_t n = random_below(random, turn); n > 0 && rig_take(rig) > 0;
			     n--)
				;
			if (random_below(random, 4) == 0)
				rig_device_sleeps(rig);
		}
		rig_publish(rig, random_below(random, rig->device.held_count + 1));
		if (rig->driver_asleep)
			continue;
		for (uint32_t n = random_below(random, 4); n > 0; n--)
			check(rig_reap(rig, 1 + random_below(random, DRIVER_RUN_MAX)) >= 0);
		if (random_below(random, 4) == 0) {
			rig_drain(rig);
			rig_driver_sleeps(rig);
		}
	}
	rig->driver_asleep = false;
	rig_settle(rig);
}

/* Past the wrap of 16-bit counters, or some laps of the largest ring. */
static void
chains_go_round(const struct ring_layout *layout, enum rig_completion completion, bool single)
{
	static const uint32_t sizes[] = {8, 16, 256, 32768};

	for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
		struct rig rig;

		rig_open(&rig, layout, sizes[i]);
		rig.completion = completion;
		rig.only_single = single;
		run_laps(&rig, sizes[i] < 32768 ? 66000 : 70000);
		rig_close(&rig);
	}
}

static void what_goes_in_comes_out_once(void **state)
{
	chains_go_round(*state, RIG_IN_ORDER, false);
}

static void single_buffers_come_out_once(void **state)
{
	chains_go_round(*state, RIG_IN_ORDER, true);
}

static void what_is_completed_out_of_order_comes_out_once(void **state)
{
	const struct ring_layout *layout = *state;

	if (layout->in_order)
		return;
	chains_go_round(layout, RIG_SHUFFLED, false);
	chains_go_round(layout, RIG_SHUFFLED, true);
}

static void what_is_completed_in_batches_comes_out_once(void **state)
{
	const struct ring_layout *layout = *state;

	if (!layout->in_order)
		return;
	chains_go_round(layout, RIG_BATCHED, false);
	chains_go_round(layout, RIG_BATCHED, true);
}

static void a_full_ring_is_completed_in_one_batch(void **state)
{
	const struct ring_layout *layout = *state;

	if (!layout->in_order)
		return;
	for (unsigned lap = 0; lap < 2; lap++) {
		struct rig rig;

		rig_open(&rig, layout, 256);
		rig.completion = RIG_BATCHED;
		rig.only_single = lap == 1;
		for (unsigned i = 0; i < 5; i++) {
			while (rig_add(&rig))
				;
			rig_settle(&rig);
		}
		rig_close(&rig);
	}
}

/* A chain of as many descriptors as the ring has. */
static void one_chain_fills_the_ring(void **state)
{
	const struct ring_layout *layout = *state;
	struct rig_chain chain = {.count = 8};
	struct rig rig;

	rig_open(&rig, layout, 8);
	for (uint32_t i = 0; i < 8; i++)
		chain.pieces[i] = (struct driver_piece){RIG_DATA_ADDRESS + 8 * i, 8, true};
	for (unsigned i = 0; i < 20; i++) {
		struct iovec spans[RIG_SPANS_MAX];
		struct ring_chain got;
		uint32_t lengths[DRIVER_RUN_MAX], first;

		check(rig_add_chain(&rig, &chain));
		assert_int_equal(driver_ring_free(&rig.driver), 0);
		driver_ring_show(&rig.driver, layout->packed);
		assert_int_equal(
			ring_take(&rig.device, layout->packed, &got, spans, RIG_SPANS_MAX), 1
		);
		assert_int_equal(got.descriptors, 8);
		ring_held_at(&rig.device, 0)->written = 64;
		ring_publish(&rig.device, layout->packed, 1);
		assert_int_equal(
			driver_ring_reap(&rig.driver, layout->packed, 64, &first, lengths), 1
		);
		assert_int_equal(lengths[0], 64);
		assert_int_equal(driver_ring_free(&rig.driver), rig.driver.size);
		memset(rig.book, 0, rig.driver.size * sizeof(rig.book[0]));
	}
	rig_close(&rig);
}

/* ---- notifications ---- */

/* What the two sides may do. */
enum step {
	STEP_ADD,
	STEP_ADD_THREE,
	STEP_SERVE, /* the device takes and publishes what there is */
	STEP_DEVICE_SLEEPS,
	STEP_REAP,
	STEP_DRIVER_SLEEPS,
	STEP_COUNT,
};

static void take_step(struct rig *rig, enum step step)
{
	switch (step) {
	case STEP_ADD:
		if (rig_add(rig))
			rig_show(rig);
		break;
	case STEP_ADD_THREE: {
		uint32_t before = rig->added;

		for (unsigned i = 0; i < 3; i++)
			(void)rig_add(rig);
		if (rig->added != before)
			rig_show(rig);
		break;
	}
	case STEP_SERVE:
		/* Asleep, it does not look. */
		if (rig->device_asleep)
			break;
		while (rig_take(rig) > 0)
			;
		rig_publish(rig, rig->device.held_count);
		break;
	case STEP_DEVICE_SLEEPS:
		if (!rig->device_asleep)
			rig_device_sleeps(rig);
		break;
	case STEP_REAP:
		if (!rig->driver_asleep)
			rig_drain(rig);
		break;
	default:
		if (!rig->driver_asleep)
			rig_driver_sleeps(rig);
		break;
	}
}

/* Every sequence of steps, one behind the other, so that each begins at ever other positions. The
 * checks are in rig_show(), rig_publish() and the two sleeps. */
static void no_wake_up_is_lost_or_needless(void **state)
{
	enum {
		DEPTH = 5,
		SEQUENCES = STEP_COUNT * STEP_COUNT * STEP_COUNT * STEP_COUNT * STEP_COUNT,
	};
	static const uint32_t sizes[] = {8, 16};

	for (unsigned i = 0; i < 2 * COUNT_OF(sizes); i++) {
		struct rig rig;

		rig_open(&rig, *state, sizes[i / 2]);
		rig.only_single = i % 2;
		for (unsigned sequence = 0; sequence < SEQUENCES; sequence++) {
			unsigned rest = sequence;

			for (unsigned n = 0; n < DEPTH; n++, rest /= STEP_COUNT)
				take_step(&rig, (enum step)(rest % STEP_COUNT));
		}
		rig.driver_asleep = false;
		rig_settle(&rig);
		rig_close(&rig);
	}
}

/* With EVENT_IDX a wish is good for one notification, without it for all until it is taken back. */
static void a_sleeper_is_notified_once_with_event_idx(void **state)
{
	const struct ring_layout *layout = *state;
	const bool packed = layout->packed;
	struct rig rig;

	rig_open(&rig, layout, 8);
	rig.only_single = true;
	for (unsigned round = 0; round < 70000; round++) {
		assert_false(ring_notify_on(&rig.device, packed));
		assert_false(driver_ring_calls_on(&rig.driver, packed));
		for (unsigned i = 0; i < 2; i++) {
			assert_true(rig_add(&rig));
			driver_ring_show(&rig.driver, packed);
			rig.shown++;
			assert_int_equal(
				driver_ring_must_kick(&rig.driver, packed),
				i == 0 || !layout->event_idx
			);
			assert_int_equal(rig_take(&rig), 1);
			ring_publish(&rig.device, packed, 1);
			assert_int_equal(
				ring_wants_call(&rig.device, packed), i == 0 || !layout->event_idx
			);
			rig.published++;
		}
		rig_drain(&rig);
	}
	rig_close(&rig);
}

static void a_wish_for_calls_sees_what_is_left_of_a_batch(void **state)
{
	const struct ring_layout *layout = *state;
	struct rig rig;

	if (!layout->in_order)
		return;
	rig_open(&rig, layout, 8);
	rig.only_single = true;
	rig.completion = RIG_BATCHED;
	for (unsigned i = 0; i < 3; i++)
		assert_true(rig_add(&rig));
	rig_show(&rig);
	while (rig_take(&rig) > 0)
		;
	rig_publish(&rig, 3);
	assert_int_equal(rig_reap(&rig, 1), 1);
	assert_true(driver_ring_calls_on(&rig.driver, layout->packed));
	driver_ring_calls_off(&rig.driver, layout->packed);
	rig_drain(&rig);
	rig_close(&rig);
}

/* ---- what stands there is not written again ---- */

/*
 * An area whose first `lead` bytes lie before a page's beginning, and `size` on it and behind: what
 * comes behind the lead can be made read-only.
 */
struct paged_area {
	uint8_t *mapping, *start;
	size_t mapping_size, size;
};

static struct paged_area page_area(size_t lead, size_t size)
{
	struct paged_area area = {.mapping_size = 3 * 4096 + size, .size = size};

	area.mapping = mmap(
		NULL, area.mapping_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
	);
	check(area.mapping != MAP_FAILED);
	area.start = area.mapping + 4096 - lead;
	return area;
}

static void protect(const struct paged_area *area)
{
	check(mprotect(area->mapping + 4096, area->size, PROT_READ) == 0);
}

/* A lap: slot i gets the same buffers as always. */
static void lap_with_places(struct rig *rig)
{
	for (uint32_t i = 0; i < rig->driver.size; i++) {
		struct rig_chain chain = {
			.count = 1,
			.pieces[0] = {RIG_DATA_ADDRESS + i % RIG_DATA_SIZE, 1, i % 2 == 1}};

		check(rig_add_chain(rig, &chain));
		if (i % 64 == 63)
			driver_ring_show(&rig->driver, false);
	}
	for (uint32_t i = 0; i < rig->driver.size; i++) {
		struct iovec spans[RIG_SPANS_MAX];
		struct ring_chain got;

		assert_int_equal(ring_take(&rig->device, false, &got, spans, RIG_SPANS_MAX), 1);
		assert_int_equal((uint8_t *)spans[0].iov_base - rig->data, i % RIG_DATA_SIZE);
	}
	ring_publish(&rig->device, false, rig->device.held_count);
	uint32_t lengths[DRIVER_RUN_MAX], first, reaped = 0;
	while (reaped < rig->driver.size) {
		int n = driver_ring_reap(&rig->driver, false, DRIVER_RUN_MAX, &first, lengths);

		check(n > 0);
		reaped += (uint32_t)n;
	}
	memset(rig->book, 0, rig->driver.size * sizeof(rig->book[0]));
}

static void descriptors_and_entries_are_written_in_the_first_lap_only(void **state)
{
	const struct ring_layout *layout = *state;
	/* The entries fill a page: behind flags and index, and before the used event. */
	const uint32_t size = 4096 / sizeof(uint16_t);

	if (layout->packed)
		return;
	struct paged_area desc = page_area(0, ring_desc_bytes(size));
	struct paged_area avail = page_area(2 * sizeof(uint16_t), 4096);
	void *used = rig_area(ring_device_bytes(false, size));
	void *areas[3] = {desc.start, avail.start, used};
	struct rig rig;
	rig_open_on(&rig, layout, size, areas);
	lap_with_places(&rig);
	protect(&desc);
	protect(&avail);
	for (unsigned i = 0; i < 70; i++)
		lap_with_places(&rig); /* a write is a SIGSEGV */
	rig_close(&rig);
	free(used);
	check(munmap(desc.mapping, desc.mapping_size) == 0);
	check(munmap(avail.mapping, avail.mapping_size) == 0);
}

/* ---- */

static const struct variant_test tests[] = {
	VARIANT_TEST(what_goes_in_comes_out_once),
	VARIANT_TEST(single_buffers_come_out_once),
	VARIANT_TEST(what_is_completed_out_of_order_comes_out_once),
	VARIANT_TEST(what_is_completed_in_batches_comes_out_once),
	VARIANT_TEST(a_full_ring_is_completed_in_one_batch),
	VARIANT_TEST(one_chain_fills_the_ring),
	VARIANT_TEST(no_wake_up_is_lost_or_needless),
	VARIANT_TEST(a_sleeper_is_notified_once_with_event_idx),
	VARIANT_TEST(a_wish_for_calls_sees_what_is_left_of_a_batch),
	VARIANT_TEST(descriptors_and_entries_are_written_in_the_first_lap_only),
};

int main(void)
{
	return run_for_all_layouts("driver ring", tests, COUNT_OF(tests));
}
