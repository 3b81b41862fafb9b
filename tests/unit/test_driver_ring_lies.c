/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver side of virtqueues against devices that lie: a ring that they break stays so and says
 * why, and nothing comes out that was not outstanding.
 */
#include <string.h>

#include "ring_rig.h"

/* ---- a device that lies ---- */

/* Names `id` as used, by itself; the index moves by `step`. */
static void claim(struct rig *rig, uint32_t id, uint32_t length, uint16_t step)
{
	struct ring *ring = &rig->device;

	if (rig->layout.packed) {
		struct vring_packed_desc *desc = &ring->packed_desc[ring->used_next];

		desc->id = (uint16_t)id;
		desc->len = length;
		desc->flags = ring->used_wrap ? PACKED_AVAIL | PACKED_USED : 0;
		packed_advance(&ring->used_next, &ring->used_wrap, ring->size, step);
		return;
	}
	ring->used->ring[ring->used_next & (ring->size - 1)] =
		(struct vring_used_elem){.id = id, .len = length};
	ring->used_next = (uint16_t)(ring->used_next + step);
	ring->used->idx = ring->used_next;
}

/* A ring of 8 slots whose last two went round, with `count` single chains made available: slot 2 to
 * slot 2 + count - 1. */
static void open_for_lies(struct rig *rig, const struct ring_layout *layout, uint32_t count)
{
	rig_open(rig, layout, 8);
	rig->only_single = true;
	for (unsigned i = 0; i < 2; i++)
		check(rig_add(rig));
	rig_settle(rig);
	for (uint32_t i = 0; i < count; i++)
		check(rig_add(rig));
	if (count > 0)
		rig_show(rig);
}

/* It is broken for good, and says why. */
static void check_broken(struct rig *rig)
{
	uint32_t lengths[DRIVER_RUN_MAX], first;

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(
			driver_ring_reap(
				&rig->driver, rig->layout.packed, DRIVER_RUN_MAX, &first, lengths
			),
			-1
		);
		assert_non_null(rig->driver.broken);
		assert_true(strlen(rig->driver.broken) > 10);
	}
}

static void an_index_that_jumps_breaks_the_ring(void **state)
{
	static const uint16_t jumps[] = {4, 8, 9, 100, 32768, 65535};
	const struct ring_layout *layout = *state;

	for (unsigned i = 0; !layout->packed && i < COUNT_OF(jumps); i++) {
		struct rig rig;

		open_for_lies(&rig, layout, 3);
		claim(&rig, 2, 0, jumps[i]);
		check_broken(&rig);
		rig_close(&rig);
	}
}

static void something_used_of_an_empty_ring_breaks_it_or_is_not_looked_at(void **state)
{
	const struct ring_layout *layout = *state;
	struct rig rig;

	open_for_lies(&rig, layout, 0);
	claim(&rig, 2, 0, 1);
	/* A packed ring has no index: nothing is outstanding, so nothing is looked for. */
	if (layout->packed)
		assert_int_equal(rig_reap(&rig, DRIVER_RUN_MAX), 0);
	else
		check_broken(&rig);
	rig_close(&rig);
}

static void an_id_outside_the_ring_breaks_it(void **state)
{
	static const uint32_t ids[] = {8, 9, 255, 32767, 32768, 65535, 65536 + 2, UINT32_MAX};
	const struct ring_layout *layout = *state;

	for (unsigned i = 0; i < COUNT_OF(ids); i++) {
		uint64_t id = ids[i];
		struct rig rig;

		/* A packed id has 16 bits, a split one 32. */
		if (id > (layout->packed ? UINT16_MAX : UINT32_MAX))
			continue;
		open_for_lies(&rig, layout, 3);
		claim(&rig, (uint32_t)id, 0, 1);
		check_broken(&rig);
		rig_close(&rig);
	}
}

static void an_id_never_made_available_breaks_the_ring(void **state)
{
	for (uint32_t slot = 0; slot < 8; slot++) {
		struct rig rig;

		if (slot >= 2 && slot < 5)
			continue;
		open_for_lies(&rig, *state, 3);
		claim(&rig, slot, 0, 1);
		check_broken(&rig);
		rig_close(&rig);
	}
}

static void an_id_used_twice_breaks_the_ring(void **state)
{
	const struct ring_layout *layout = *state;

	/* The oldest, which is free then; and one behind it, which is not. */
	for (uint32_t slot = 2; slot < 4; slot++) {
		uint32_t lengths[DRIVER_RUN_MAX], first;
		struct rig rig;

		if (layout->in_order && slot > 2)
			continue; /* that would be a batch */
		open_for_lies(&rig, layout, 3);
		claim(&rig, slot, 0, 1);
		assert_int_equal(
			driver_ring_reap(
				&rig.driver, layout->packed, DRIVER_RUN_MAX, &first, lengths
			),
			1
		);
		assert_int_equal(first, slot);
		claim(&rig, slot, 0, 1);
		check_broken(&rig);
		rig_close(&rig);
	}
}

/* With both in sight at once. */
static void an_id_used_twice_in_a_row_comes_out_once(void **state)
{
	const struct ring_layout *layout = *state;
	uint32_t lengths[DRIVER_RUN_MAX], first;
	struct rig rig;

	open_for_lies(&rig, layout, 3);
	claim(&rig, 2, 0, 1);
	claim(&rig, 2, 0, 1);
	assert_int_equal(
		driver_ring_reap(&rig.driver, layout->packed, DRIVER_RUN_MAX, &first, lengths), 1
	);
	check_broken(&rig);
	rig_close(&rig);
}

static void an_inner_slot_of_a_long_chain_breaks_the_ring(void **state)
{
	const struct ring_layout *layout = *state;

	for (uint32_t inner = 1; inner < 3; inner++) {
		struct rig_chain chain = {.count = 3};
		struct rig rig;

		open_for_lies(&rig, layout, 1);
		for (uint32_t i = 0; i < chain.count; i++)
			chain.pieces[i] = (struct driver_piece){RIG_DATA_ADDRESS, 1, true};
		check(rig_add_chain(&rig, &chain)); /* slots 3 to 5 */
		driver_ring_show(&rig.driver, layout->packed);
		claim(&rig, 3 + inner, 0, 1);
		check_broken(&rig);
		rig_close(&rig);
	}
}

static void a_batch_that_was_not_counted_breaks_the_ring(void **state)
{
	const struct ring_layout *layout = *state;

	if (layout->packed || !layout->in_order)
		return;
	for (uint16_t counted = 1; counted < 3; counted++) {
		struct rig rig;

		open_for_lies(&rig, layout, 5);
		claim(&rig, 2 + counted, 0, counted);
		check_broken(&rig);
		rig_close(&rig);
	}
}

/* What is not marked as used in this lap is not, whatever the flags were before. */
static void flags_of_another_lap_are_not_used(void **state)
{
	const struct ring_layout *layout = *state;
	struct rig rig;

	if (!layout->packed)
		return;
	open_for_lies(&rig, layout, 3);
	struct vring_packed_desc *desc = &rig.device.packed_desc[2];
	static const uint16_t others[] = {0, PACKED_AVAIL, PACKED_USED, 0x7f7f, 1, 7};
	for (unsigned i = 0; i < COUNT_OF(others); i++) {
		desc->flags = others[i];
		assert_int_equal(rig_reap(&rig, DRIVER_RUN_MAX), 0);
		assert_null(rig.driver.broken);
	}
	desc->flags = PACKED_AVAIL | PACKED_USED | 1;
	desc->len = rig.book[2].written;
	assert_int_equal(rig_reap(&rig, DRIVER_RUN_MAX), 1);
	rig_close(&rig);
}

/* Some bytes of what a device can write. */
static void scribble(struct rig *rig)
{
	struct random *random = &rig->random;
	unsigned area = random_below(random, 3);
	uint64_t bytes = area == 0   ? ring_desc_bytes(rig->size)
			 : area == 1 ? ring_driver_bytes(rig->layout.packed, rig->size)
				     : ring_device_bytes(rig->layout.packed, rig->size);
	uint8_t *at = (uint8_t *)rig->areas[area] + random_below(random, (uint32_t)bytes);

	*at = random_below(random, 4) == 0 ? (uint8_t)random_next(random)
					   : (uint8_t)(*at ^ 1 << random_below(random, 8));
}

/* A claim that is right more often than not. */
static void guess(struct rig *rig)
{
	struct random *random = &rig->random;
	uint32_t slot = rig->driver.tail + random_below(random, 3) * random_below(random, 4);

	claim(rig,
	      driver_ring_slot(&rig->driver, slot),
	      random_below(random, 5000),
	      (uint16_t)(1 + random_below(random, 2) * random_below(random, 3)));
}

/* Whatever a device writes: what comes out was outstanding, once, and what is broken stays so. */
static void only_what_is_outstanding_comes_out_whatever_is_written(void **state)
{
	const struct ring_layout *layout = *state;

	for (uint32_t seed = 1; seed <= 400; seed++) {
		struct rig rig;
		int n = 0;

		rig_open(&rig, layout, 8u << seed % 3);
		rig.random = (struct random){seed * UINT64_C(977)};
		for (unsigned step = 0; step < 200 && n >= 0; step++) {
			uint32_t lengths[DRIVER_RUN_MAX], first;

			while (random_below(&rig.random, 3) > 0 && rig_add(&rig))
				;
			driver_ring_show(&rig.driver, layout->packed);
			(void)driver_ring_must_kick(&rig.driver, layout->packed);
			if (random_below(&rig.random, 4) == 0)
				scribble(&rig);
			else
				guess(&rig);
			n = driver_ring_reap(
				&rig.driver,
				layout->packed,
				1 + random_below(&rig.random, DRIVER_RUN_MAX),
				&first,
				lengths
			);
			for (int i = 0; i < n; i++) {
				uint32_t slot = driver_ring_slot(&rig.driver, first + (uint32_t)i);

				check(rig.book[slot].outstanding);
				rig.book[slot].outstanding = false;
			}
			check(driver_ring_free(&rig.driver) <= rig.driver.size);
			(void)driver_ring_calls_on(&rig.driver, layout->packed);
			driver_ring_calls_off(&rig.driver, layout->packed);
		}
		if (n < 0)
			check_broken(&rig);
		rig_close(&rig);
	}
}

/* ---- */

static const struct variant_test tests[] = {
	VARIANT_TEST(an_index_that_jumps_breaks_the_ring),
	VARIANT_TEST(something_used_of_an_empty_ring_breaks_it_or_is_not_looked_at),
	VARIANT_TEST(an_id_outside_the_ring_breaks_it),
	VARIANT_TEST(an_id_never_made_available_breaks_the_ring),
	VARIANT_TEST(an_id_used_twice_breaks_the_ring),
	VARIANT_TEST(an_id_used_twice_in_a_row_comes_out_once),
	VARIANT_TEST(an_inner_slot_of_a_long_chain_breaks_the_ring),
	VARIANT_TEST(a_batch_that_was_not_counted_breaks_the_ring),
	VARIANT_TEST(flags_of_another_lap_are_not_used),
	VARIANT_TEST(only_what_is_outstanding_comes_out_whatever_is_written),
};

int main(void)
{
	return run_for_all_layouts("driver ring, lies", tests, COUNT_OF(tests));
}
