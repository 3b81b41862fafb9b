/* SPDX-License-Identifier: BSD-3-Clause */
/* See ring_rig.h. */
#include "ring_rig.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

/* ---- life ---- */

void *rig_area(uint64_t size)
{
	void *area = NULL;

	assert_int_equal(posix_memalign(&area, 64, size), 0);
	memset(area, 0, size);
	return area;
}

static void open_memory(struct rig *rig)
{
	size_t size = RIG_DATA_SIZE + rig->driver.size * RIG_PIECES_MAX * sizeof(struct vring_desc);

	rig->data = rig_area(size);
	rig->memory = calloc(1, sizeof(*rig->memory) + sizeof(rig->memory->regions[0]));
	assert_non_null(rig->memory);
	rig->memory->count = 1;
	rig->memory->regions[0] = (struct memory_region){
		.guest_address = RIG_DATA_ADDRESS,
		.size = size,
		.host = rig->data,
	};
}

/* On areas of the caller's. */
void rig_open_on(struct rig *rig, const struct ring_layout *layout, uint32_t size, void **areas)
{
	struct driver_ring_config driver = {
		.desc = areas[0],
		.driver = areas[1],
		.device = areas[2],
		.size = size,
		.packed = layout->packed,
		.event_idx = layout->event_idx,
		.in_order = layout->in_order,
	};
	struct ring_config device = {
		.desc = areas[0],
		.driver = areas[1],
		.device = areas[2],
		.size = size,
		.packed = layout->packed,
		.event_idx = layout->event_idx,
		.indirect = true,
		.position = {.next_wrap = true, .used_wrap = true},
	};

	*rig = (struct rig){.layout = *layout, .size = size, .random = {size * 31 + 5}};
	assert_int_equal(driver_ring_open(&rig->driver, &driver), 0);
	open_memory(rig);
	device.memory = rig->memory;
	assert_int_equal(ring_open(&rig->device, &device), 0);
	rig->book = calloc(rig->driver.size, sizeof(rig->book[0]));
	assert_non_null(rig->book);
	/* Both poll to begin with. */
	rig->device.notify_me = true;
	ring_notify_off(&rig->device, layout->packed);
	driver_ring_calls_off(&rig->driver, layout->packed);
}

void rig_open(struct rig *rig, const struct ring_layout *layout, uint32_t size)
{
	void *areas[3] = {
		rig_area(ring_desc_bytes(size)),
		rig_area(ring_driver_bytes(false, size)), /* the larger of both layouts */
		rig_area(ring_device_bytes(layout->packed, size)),
	};

	rig_open_on(rig, layout, size, areas);
	memcpy(rig->areas, areas, sizeof(areas));
}

void rig_close(struct rig *rig)
{
	driver_ring_close(&rig->driver);
	ring_close(&rig->device);
	for (unsigned i = 0; i < 3; i++)
		free(rig->areas[i]);
	free(rig->data);
	free(rig->memory);
	free(rig->book);
}

/* ---- chains ---- */

/* The n-th chain: half are of one piece, the others of several, every other of those in a table. */
void rig_chain(const struct rig *rig, uint32_t n, struct rig_chain *chain)
{
	struct random random = {n * UINT64_C(2654435761) + 1};
	uint32_t kind = random_below(&random, 4);

	chain->count = 1;
	chain->indirect = !rig->only_single && kind == 3;
	if (!rig->only_single && kind >= 2)
		chain->count = 1 + random_below(&random, RIG_PIECES_MAX);
	uint32_t readable = random_below(&random, chain->count + 1);
	for (uint32_t i = 0; i < chain->count; i++)
		chain->pieces[i] = (struct driver_piece){
			.address = RIG_DATA_ADDRESS + random_below(&random, RIG_DATA_SIZE / 2),
			.size = 1 + random_below(&random, RIG_DATA_SIZE / 2),
			.writable = i >= readable,
		};
}

uint32_t rig_written(const struct rig_chain *chain, uint32_t n)
{
	return chain->pieces[chain->count - 1].writable ? 1 + n % 2048 : 0;
}

static void add_indirect(struct rig *rig, uint32_t slot, const struct rig_chain *chain)
{
	const bool packed = rig->layout.packed;
	uint64_t offset =
		RIG_DATA_SIZE + (uint64_t)slot * RIG_PIECES_MAX * sizeof(struct vring_desc);
	struct vring_desc *table = (void *)(rig->data + offset);

	for (uint32_t i = 0; i < chain->count; i++)
		driver_table_set(table, packed, i, chain->count, &chain->pieces[i]);
	driver_ring_add_indirect(
		&rig->driver,
		packed,
		RIG_DATA_ADDRESS + offset,
		chain->count * (uint32_t)sizeof(struct vring_desc)
	);
}

/* ---- the driver's part ---- */

bool rig_add_chain(struct rig *rig, const struct rig_chain *chain)
{
	struct driver_ring *ring = &rig->driver;
	uint32_t slot = driver_ring_slot(ring, ring->next);
	uint32_t slots = chain->indirect ? 1 : chain->count;

	if (driver_ring_free(ring) < slots)
		return false;
	for (uint32_t i = 0; i < slots; i++)
		check(!rig->book[driver_ring_slot(ring, slot + i)].outstanding);
	if (chain->indirect)
		add_indirect(rig, slot, chain);
	else if (chain->count == 1) {
		driver_ring_put(
			ring,
			rig->layout.packed,
			0,
			chain->pieces[0].address,
			chain->pieces[0].size,
			chain->pieces[0].writable
		);
		driver_ring_added(ring, rig->layout.packed, 1);
	} else
		driver_ring_add(ring, rig->layout.packed, chain->pieces, chain->count);
	rig->book[slot] = (struct booked){
		.number = rig->added,
		.written = rig_written(chain, rig->added),
		.outstanding = true,
	};
	rig->added++;
	return true;
}

bool rig_add(struct rig *rig)
{
	struct rig_chain chain;

	rig_chain(rig, rig->added, &chain);
	return rig_add_chain(rig, &chain);
}

/* Split rings with EVENT_IDX have no way to say "never": a notification in vain is no mistake
 * there. */
static bool may_be_vain(const struct rig *rig)
{
	return !rig->layout.packed && rig->layout.event_idx;
}

/* Show what was added; the device wakes if it is notified, and must be if it sleeps. */
void rig_show(struct rig *rig)
{
	driver_ring_show(&rig->driver, rig->layout.packed);
	rig->shown = rig->added;
	bool kicks = driver_ring_must_kick(&rig->driver, rig->layout.packed);
	if (rig->device_asleep)
		check(kicks);
	else
		check(!kicks || may_be_vain(rig));
	rig->device_asleep = false;
	ring_notify_off(&rig->device, rig->layout.packed);
}

/* Take used chains: each was outstanding, is so no more, and has its own length. */
int rig_reap(struct rig *rig, uint32_t max)
{
	uint32_t lengths[DRIVER_RUN_MAX], first = 0;
	int n = driver_ring_reap(&rig->driver, rig->layout.packed, max, &first, lengths);

	check(n <= (int)max && n <= DRIVER_RUN_MAX);
	for (int i = 0; i < n; i++) {
		uint32_t slot = driver_ring_slot(&rig->driver, first + (uint32_t)i);
		struct booked *booked = &rig->book[slot];

		check(booked->outstanding);
		booked->outstanding = false;
		if (rig->layout.in_order)
			assert_int_equal(booked->number, rig->reaped);
		if (rig->completion != RIG_BATCHED || lengths[i] != DRIVER_USED_FULL)
			assert_int_equal(lengths[i], booked->written);
		rig->reaped++;
	}
	return n;
}

void rig_drain(struct rig *rig)
{
	int n;

	do {
		n = rig_reap(rig, DRIVER_RUN_MAX);
		check(n >= 0);
	} while (n > 0);
	assert_int_equal(rig->reaped, rig->published);
}

void rig_driver_sleeps(struct rig *rig)
{
	bool used = driver_ring_calls_on(&rig->driver, rig->layout.packed);

	check(used == (rig->reaped < rig->published));
	rig->driver_asleep = !used;
	if (used)
		driver_ring_calls_off(&rig->driver, rig->layout.packed);
}

/* ---- the device's part ---- */

int rig_take(struct rig *rig)
{
	struct iovec spans[RIG_SPANS_MAX];
	struct ring_chain got;
	struct rig_chain chain;
	int n = ring_take(&rig->device, rig->layout.packed, &got, spans, RIG_SPANS_MAX);

	assert_int_equal(n, rig->taken < rig->shown ? 1 : 0);
	if (n == 0)
		return 0;
	rig_chain(rig, rig->taken, &chain);
	assert_int_equal(got.descriptors, chain.count);
	for (uint32_t i = 0; i < chain.count; i++) {
		assert_ptr_equal(
			spans[i].iov_base, rig->data + (chain.pieces[i].address - RIG_DATA_ADDRESS)
		);
		assert_int_equal(spans[i].iov_len, chain.pieces[i].size);
	}
	ring_held_at(&rig->device, rig->device.held_count - 1)->written =
		rig_written(&chain, rig->taken);
	rig->taken++;
	return 1;
}

static void shuffle_held(struct rig *rig)
{
	for (uint32_t i = rig->device.held_count; i > 1; i--) {
		struct ring_held *one = ring_held_at(&rig->device, i - 1);
		struct ring_held *other = ring_held_at(&rig->device, random_below(&rig->random, i));
		struct ring_held kept = *one;

		*one = *other;
		*other = kept;
	}
}

/* Complete the oldest `count` with one used element, that of the last. */
static void publish_batch(struct rig *rig, uint32_t count)
{
	struct ring *ring = &rig->device;
	const struct ring_held *last = ring_held_at(ring, count - 1);
	uint32_t slots = 0;

	for (uint32_t i = 0; i < count; i++)
		slots += ring_held_at(ring, i)->count;
	if (rig->layout.packed) {
		struct vring_packed_desc *desc = &ring->packed_desc[ring->used_next];

		desc->id = last->id;
		desc->len = last->written;
		desc->flags = ring->used_wrap ? PACKED_AVAIL | PACKED_USED : 0;
		packed_advance(&ring->used_next, &ring->used_wrap, ring->size, slots);
	} else {
		ring->used->ring[ring->used_next & (ring->size - 1)] =
			(struct vring_used_elem){.id = last->id, .len = last->written};
		ring->used_next = (uint16_t)(ring->used_next + count);
		ring->used->idx = ring->used_next;
	}
	ring_drop_held(ring, count, slots);
}

/* Publish; the driver wakes if it is notified, and must be if it sleeps. */
void rig_publish(struct rig *rig, uint32_t count)
{
	if (count == 0)
		return;
	if (rig->completion == RIG_SHUFFLED)
		shuffle_held(rig);
	if (rig->completion == RIG_BATCHED)
		publish_batch(rig, count);
	else
		ring_publish(&rig->device, rig->layout.packed, count);
	rig->published += count;
	bool calls = ring_wants_call(&rig->device, rig->layout.packed);
	if (rig->driver_asleep)
		check(calls);
	else
		check(!calls || may_be_vain(rig));
	rig->driver_asleep = false;
	driver_ring_calls_off(&rig->driver, rig->layout.packed);
}

void rig_device_sleeps(struct rig *rig)
{
	bool available = ring_notify_on(&rig->device, rig->layout.packed);

	check(available == (rig->taken < rig->shown));
	rig->device_asleep = !available;
	if (available)
		ring_notify_off(&rig->device, rig->layout.packed);
}

/* All that was added comes back, and all slots are free. */
void rig_settle(struct rig *rig)
{
	if (rig->shown != rig->added)
		rig_show(rig);
	rig->device_asleep = false;
	while (rig_take(rig) > 0)
		;
	rig_publish(rig, rig->device.held_count);
	rig_drain(rig);
	assert_int_equal(rig->reaped, rig->added);
	assert_int_equal(driver_ring_free(&rig->driver), rig->driver.size);
	assert_int_equal(rig->driver.holes, 0);
	assert_int_equal(rig->driver.longs, 0);
	assert_null(rig->driver.broken);
	assert_null(rig->device.broken);
}

/* ---- tests for every layout ---- */

static const struct ring_layout layouts[] = {
	{"split", false, false, false},
	{"split, IN_ORDER", false, false, true},
	{"split, EVENT_IDX", false, true, false},
	{"split, EVENT_IDX, IN_ORDER", false, true, true},
	{"packed", true, false, false},
	{"packed, IN_ORDER", true, false, true},
	{"packed, EVENT_IDX", true, true, false},
	{"packed, EVENT_IDX, IN_ORDER", true, true, true},
};

int run_for_all_layouts(const char *group, const struct variant_test *tests, unsigned count)
{
	return RUN_FOR_EACH(group, tests, count, layouts);
}
