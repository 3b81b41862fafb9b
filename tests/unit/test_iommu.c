/* SPDX-License-Identifier: BSD-3-Clause */
/* A driver behind an IOMMU: what is not translated is asked for and waits, what is taken back is
 * not used any more. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory/iotlb.h"
#include "process.h"
#include "traffic.h"
#include "variants.h"

enum {
	RX = 0,
	TX = 1,
	OTHER_TX = 3,
	PAGE = 4096,
	HEADER = 12,
	FRAME_SIZE = 100,
	PATIENCE_MS = 10000,
	PACKED_START = 0x80008000,
};

/* I/O virtual addresses that are no guest addresses, nor user addresses. */
#define IOVA UINT64_C(0xabcd00000000)

struct rig {
	struct front front;
	const struct variant *variant;
	int channel; /* our end of what the device asks us by */
	struct vhost_reader reader;
};

/* ---- messages ---- */

static int
tell(struct rig *rig, uint8_t type, uint64_t iova, uint64_t size, uint64_t user, uint8_t access)
{
	struct vhost_message reply, message = {
					    .header =
						    {VHOST_USER_IOTLB_MSG,
						     VHOST_VERSION,
						     sizeof(struct vhost_iotlb_msg)},
					    .payload.iotlb = {iova, size, user, access, type},
				    };

	assert_int_equal(front_send(&rig->front, &message), 0);
	assert_true(front_reply(&rig->front, &reply));
	assert_int_equal(reply.header.size, 8);
	return (int)reply.payload.u64;
}

static void
map(struct rig *rig, uint64_t iova, uint64_t size, uint64_t guest_address, uint8_t access)
{
	uint64_t user = guest_to_user(&rig->front.guest, guest_address);

	assert_int_equal(tell(rig, VHOST_IOTLB_UPDATE, iova, size, user, access), 0);
}

static void unmap(struct rig *rig, uint64_t iova, uint64_t size)
{
	assert_int_equal(tell(rig, VHOST_IOTLB_INVALIDATE, iova, size, 0, 0), 0);
}

/* The next miss; false: there is none. */
static bool next_miss(struct rig *rig, struct vhost_iotlb_msg *miss)
{
	const char *why;

	assert_int_equal(vl_device_attend(rig->front.device), 0);
	int got = vhost_read(&rig->reader, rig->channel, &why);
	assert_in_range(got, 0, 1);
	if (got == 0)
		return false;
	*miss = rig->reader.message.payload.iotlb;
	assert_int_equal(rig->reader.message.header.request, VHOST_BACKEND_IOTLB_MSG);
	assert_int_equal(rig->reader.message.header.flags, VHOST_VERSION);
	assert_int_equal(rig->reader.message.header.size, sizeof(*miss));
	assert_int_equal(miss->type, VHOST_IOTLB_MISS);
	vhost_reader_reset(&rig->reader);
	return true;
}

static void expect_miss(struct rig *rig, uint64_t iova, uint8_t access)
{
	struct vhost_iotlb_msg miss;

	while (next_miss(rig, &miss)) {
		if (miss.iova == iova / PAGE * PAGE && miss.perm == access)
			return;
	}
	fail_msg("%#lx was not asked for", iova);
}

static void forget_misses(struct rig *rig)
{
	struct vhost_iotlb_msg miss;

	while (next_miss(rig, &miss))
		continue;
}

/* ---- the rig ---- */

static struct front_options options_of(const struct variant *variant)
{
	return (struct front_options){
		.pairs = 2,
		.ring_size = 16,
		.features = variant_features(variant) | BIT(VL_F_MQ) | BIT(VL_F_MRG_RXBUF)
			    | BIT(VL_F_ACCESS_PLATFORM),
		.iommu = true,
	};
}

static void connect_rig(struct rig *rig, const struct variant *variant)
{
	struct front_options options = options_of(variant);
	int ends[2];

	*rig = (struct rig){.variant = variant, .reader.size_limit = VHOST_PAYLOAD_MAX};
	front_attach(&rig->front, &options);
	front_negotiate(&rig->front, options.features | BIT(VL_F_VERSION_1));
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	rig->channel = ends[0];
	assert_int_equal(
		front_request(&rig->front, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &ends[1], 1), 0
	);
	close(ends[1]);
	assert_int_equal(front_share_memory(&rig->front), 0);
}

/* Rings are told by user addresses (front.h): those are their I/O virtual ones, too. */
static void map_rings(struct rig *rig)
{
	const struct guest_region *region = &rig->front.guest.regions[GUEST_HIGH];

	map(rig, region->user_address, region->size, region->guest_address, IOTLB_READ | IOTLB_WRITE
	);
}

static void open_rig(struct rig *rig, const struct variant *variant)
{
	struct front_options options = options_of(variant);

	connect_rig(rig, variant);
	map_rings(rig);
	front_start(&rig->front, &options);
	assert_int_equal(front_status(&rig->front).pairs_up, 2);
}

static void close_rig(struct rig *rig)
{
	front_close(&rig->front);
	assert_int_equal(rig->front.callbacks.attention_fd, -1);
	vhost_reader_reset(&rig->reader);
	close(rig->channel);
}

/* ---- frames ---- */

static uint64_t new_buffer(struct rig *rig)
{
	return guest_alloc_in(&rig->front.guest, GUEST_LOW, 2 * PAGE, PAGE);
}

/* Header and data in two descriptors, at an address that is translated. A table of descriptors has
 * to be, as well: as a guest address. */
static void add(struct rig *rig, unsigned ring, uint64_t iova, uint32_t size, bool writable)
{
	traffic_add(&rig->front, ring, iova, size, writable, rig->variant->form);
	if (rig->variant->form == GUEST_INDIRECT) {
		const struct guest_region *region = &rig->front.guest.regions[GUEST_LOW];

		map(rig, region->guest_address, region->size, region->guest_address, IOTLB_READ);
	}
}

static uint64_t add_frame(struct rig *rig, unsigned ring, uint64_t iova, uint8_t mark)
{
	uint64_t address = new_buffer(rig);

	memset(guest_at(&rig->front.guest, address) + HEADER, mark, FRAME_SIZE);
	add(rig, ring, iova, HEADER + FRAME_SIZE, false);
	return address;
}

static void a_frame_waits_for_its_translation_and_others_do_not(void **state)
{
	struct rig rig;

	open_rig(&rig, *state);
	uint64_t address = add_frame(&rig, TX, IOVA, 1);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	expect_miss(&rig, IOVA, IOTLB_READ);
	uint64_t other = add_frame(&rig, OTHER_TX, IOVA + PAGE, 2);
	map(&rig, IOVA + PAGE, PAGE, other, IOTLB_READ);
	assert_int_equal(traffic_take_marked(&rig.front, 1, FRAME_SIZE), 2);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	assert_true(vl_device_sleep(rig.front.device, 0));
	unsigned changed = rig.front.callbacks.changed;
	map(&rig, IOVA, PAGE, address, IOTLB_READ);
	assert_true(rig.front.callbacks.changed > changed);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 1);
	/* Once it is known nobody is asked. */
	forget_misses(&rig);
	add(&rig, TX, IOVA, HEADER + FRAME_SIZE, false);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 1);
	struct vhost_iotlb_msg miss;
	assert_false(next_miss(&rig, &miss));
	close_rig(&rig);
}

static void a_frame_may_lie_across_translations(void **state)
{
	struct rig rig;

	open_rig(&rig, *state);
	uint64_t first = new_buffer(&rig), second = new_buffer(&rig);
	uint32_t half = HEADER + FRAME_SIZE / 2;
	/* The second half is nowhere near the first. */
	memset(guest_at(&rig.front.guest, first) + PAGE - FRAME_SIZE / 2, 3, FRAME_SIZE / 2);
	memset(guest_at(&rig.front.guest, second), 3, FRAME_SIZE / 2);
	add(&rig, TX, IOVA + PAGE - half, HEADER + FRAME_SIZE, false);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	/* All of it is asked for at once, as the look ahead finds it. */
	expect_miss(&rig, IOVA + PAGE - half, IOTLB_READ);
	map(&rig, IOVA, PAGE, first, IOTLB_READ);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	map(&rig, IOVA + PAGE, PAGE, second, IOTLB_READ);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 3);
	close_rig(&rig);
}

static void what_is_taken_back_is_asked_for_again(void **state)
{
	struct rig rig;

	open_rig(&rig, *state);
	uint64_t address = add_frame(&rig, TX, IOVA, 4);
	map(&rig, IOVA, PAGE, address, IOTLB_READ);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 4);
	forget_misses(&rig);
	unsigned synchronized = rig.front.callbacks.synchronized;
	unmap(&rig, IOVA, PAGE);
	/* No data call that may have used it runs any more. */
	assert_true(rig.front.callbacks.synchronized > synchronized);
	add(&rig, TX, IOVA, HEADER + FRAME_SIZE, false);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	expect_miss(&rig, IOVA, IOTLB_READ);
	/* It may be another place by now. */
	uint64_t other = new_buffer(&rig);
	memset(guest_at(&rig.front.guest, other) + HEADER, 5, FRAME_SIZE);
	map(&rig, IOVA, PAGE, other, IOTLB_READ);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 5);
	close_rig(&rig);
}

static void what_may_only_be_read_is_not_written(void **state)
{
	uint8_t bytes[FRAME_SIZE];
	struct built_frame built;
	struct guest_used used;
	struct rig rig;

	open_rig(&rig, *state);
	memset(bytes, 6, sizeof(bytes));
	frame_build(&built, bytes, sizeof(bytes), 64, NULL);
	uint64_t address = new_buffer(&rig);
	map(&rig, IOVA, PAGE, address, IOTLB_READ);
	add(&rig, RX, IOVA, 1024, true);
	assert_int_equal(traffic_deliver(&rig.front, 0, &built), -1);
	expect_miss(&rig, IOVA, IOTLB_WRITE);
	assert_int_equal(guest_at(&rig.front.guest, address)[HEADER], 0);
	map(&rig, IOVA, PAGE, address, IOTLB_READ | IOTLB_WRITE);
	assert_int_equal(traffic_deliver(&rig.front, 0, &built), VL_DELIVERED);
	assert_true(guest_ring_reap(&rig.front.rings[RX], &used));
	assert_memory_equal(guest_at(&rig.front.guest, address) + HEADER, bytes, FRAME_SIZE);
	close_rig(&rig);
}

static void a_ring_runs_while_its_own_memory_is_translated(void **state)
{
	const struct variant *variant = *state;
	struct front_options options = options_of(variant);
	struct guest_ring_options ring_options = {
		.size = options.ring_size,
		.packed = variant->packed,
		.event_idx = variant->event_idx,
		.start_wrap = true,
	};
	struct rig rig;

	connect_rig(&rig, variant);
	struct guest_ring *ring = &rig.front.rings[TX];
	guest_ring_open(ring, &rig.front.guest, &ring_options);
	front_start_ring_at(&rig.front, TX, ring, variant->packed ? PACKED_START : 0);
	front_enable_ring(&rig.front, TX, true);
	assert_false(vl_device_ready(rig.front.device, 0, false));
	expect_miss(
		&rig,
		guest_to_user(&rig.front.guest, ring->desc_address),
		variant->packed ? IOTLB_WRITE : IOTLB_READ
	);
	map_rings(&rig);
	assert_true(vl_device_ready(rig.front.device, 0, false));
	uint64_t address = add_frame(&rig, TX, IOVA, 7);
	map(&rig, IOVA, PAGE, address, IOTLB_READ);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 7);
	/* Without it nothing of the ring is looked at. */
	unmap(&rig, guest_to_user(&rig.front.guest, ring->device_address), 1);
	assert_false(vl_device_ready(rig.front.device, 0, false));
	add(&rig, TX, IOVA, HEADER + FRAME_SIZE, false);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	/* And then it goes on where it was. */
	map_rings(&rig);
	assert_true(vl_device_ready(rig.front.device, 0, false));
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 7);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	close_rig(&rig);
}

/* As a driver does that ends, and another one that begins. */
static void negotiate_again(struct rig *rig)
{
	uint32_t bases[4];

	/* While rings run it changes nothing. */
	assert_int_equal(
		front_request_u64(&rig->front, VHOST_USER_SET_FEATURES, rig->front.features), 0
	);
	assert_int_equal(front_status(&rig->front).pairs_up, 2);
	for (unsigned i = 0; i < 4; i++)
		bases[i] = front_stop_ring(&rig->front, i);
	assert_int_equal(
		front_request_u64(&rig->front, VHOST_USER_SET_FEATURES, rig->front.features), 0
	);
	for (unsigned i = 0; i < 4; i++)
		front_start_ring_at(&rig->front, i, &rig->front.rings[i], bases[i]);
}

/* QEMU takes nothing back when a driver ends, and the next one negotiates the same. */
static void translations_end_with_their_driver(void **state)
{
	const struct variant *variant = *state;

	for (unsigned by_status = 0; by_status < 2; by_status++) {
		struct rig rig;

		open_rig(&rig, variant);
		uint64_t address = add_frame(&rig, TX, IOVA, 9);
		map(&rig, IOVA, PAGE, address, IOTLB_READ);
		if (by_status)
			assert_int_equal(
				front_request_u64(&rig.front, VHOST_USER_SET_STATUS, 0), 0
			);
		else
			negotiate_again(&rig);
		/* Rings that run are among what is not known any more. */
		assert_int_equal(front_status(&rig.front).pairs_up, 0);
		map_rings(&rig);
		assert_int_equal(front_status(&rig.front).pairs_up, 2);
		assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
		map(&rig, IOVA, PAGE, address, IOTLB_READ);
		if (variant->form == GUEST_INDIRECT) {
			const struct guest_region *region = &rig.front.guest.regions[GUEST_LOW];

			map(&rig,
			    region->guest_address,
			    region->size,
			    region->guest_address,
			    IOTLB_READ);
		}
		assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 9);
		close_rig(&rig);
	}
}

/* Nobody answers to what has no translation, and none is told of when it gets one. */
static void what_got_no_answer_is_asked_for_again(void **state)
{
	struct rig rig;

	open_rig(&rig, *state);
	(void)add_frame(&rig, TX, IOVA, 1);
	for (unsigned round = 0; round < 2; round++) {
		int64_t begin = now_ms();
		struct vhost_iotlb_msg miss = {0};

		assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
		expect_miss(&rig, IOVA, IOTLB_READ);
		/* Not at once. */
		assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
		assert_false(next_miss(&rig, &miss));
		/* Who waits is looked at now and then. */
		assert_true(vl_device_is_silent(rig.front.device, 0));
		while (now_ms() - begin < 150)
			continue;
	}
	close_rig(&rig);
}

static void a_translation_to_nowhere_stops_the_queue(void **state)
{
	struct vl_frame frame;
	struct rig rig;

	open_rig(&rig, *state);
	(void)add_frame(&rig, TX, IOVA, 8);
	assert_int_equal(tell(&rig, VHOST_IOTLB_UPDATE, IOVA, PAGE, 0x1234000, IOTLB_READ), 0);
	assert_int_equal(vl_device_borrow(rig.front.device, 0, &frame, 1), -EPROTO);
	assert_non_null(strstr(front_queue(&rig.front, TX).broken, "outside"));
	close_rig(&rig);
}

static void messages_that_make_no_sense_are_refused(void **state)
{
	struct rig rig;

	open_rig(&rig, *state);
	assert_int_equal(tell(&rig, VHOST_IOTLB_UPDATE, IOVA, 0, 0, IOTLB_READ), 1);
	assert_int_equal(tell(&rig, VHOST_IOTLB_UPDATE, IOVA, PAGE, 0, 0), 1);
	assert_int_equal(tell(&rig, VHOST_IOTLB_UPDATE, IOVA, PAGE, 0, 4), 1);
	assert_int_equal(tell(&rig, VHOST_IOTLB_UPDATE, UINT64_MAX, 2, 0, IOTLB_READ), 1);
	assert_int_equal(tell(&rig, VHOST_IOTLB_UPDATE, IOVA, 2, UINT64_MAX, IOTLB_READ), 1);
	assert_int_equal(tell(&rig, VHOST_IOTLB_MISS, IOVA, PAGE, 0, IOTLB_READ), 1);
	assert_int_equal(tell(&rig, 77, IOVA, PAGE, 0, IOTLB_READ), 1);
	assert_non_null(strstr(vl_device_reason(rig.front.device), "IOTLB_MSG"));
	/* All there is; also what stands for that. */
	unmap(&rig, 0, UINT64_MAX);
	unmap(&rig, IOVA, UINT64_MAX);
	assert_int_equal(front_status(&rig.front).pairs_up, 0);
	map_rings(&rig);
	assert_int_equal(front_status(&rig.front).pairs_up, 2);
	close_rig(&rig);
}

static void without_the_feature_there_are_no_translations(void **state)
{
	struct front_options options = {.features = variant_features(*state), .iommu = true};
	struct rig rig = {.variant = *state};

	front_open(&rig.front, &options);
	assert_int_equal(tell(&rig, VHOST_IOTLB_UPDATE, IOVA, PAGE, 0, IOTLB_READ), 1);
	front_close(&rig.front);
}

/* ---- the table ---- */

enum {
	MODEL_PAGES = 300,
};

static void the_table_is_as_a_simple_one(void **)
{
	struct iotlb_entry model[MODEL_PAGES] = {0}; /* size 0: none covers the page */
	struct random random = {42};
	int attention = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct iotlb *iotlb = iotlb_create(attention);

	assert_non_null(iotlb);
	for (unsigned round = 0; round < 20000; round++) {
		uint32_t first = random_below(&random, MODEL_PAGES);
		uint32_t count = 1 + random_below(&random, MODEL_PAGES - first);
		struct iotlb_entry entry = {
			.iova = IOVA + (uint64_t)first * PAGE,
			.size = (uint64_t)(count > 4 ? count % 4 + 1 : count) * PAGE,
			.user_address = random_next(&random) >> 20,
			.access = (uint8_t)(1 + random_below(&random, 3)),
		};
		uint64_t pages = entry.size / PAGE;

		/* Who is overlapped is gone as a whole. */
		for (unsigned i = 0; i < pages; i++) {
			struct iotlb_entry old = model[first + i];

			for (unsigned n = 0; old.size != 0 && n < MODEL_PAGES; n++) {
				if (model[n].iova == old.iova)
					model[n].size = 0;
			}
		}
		if (round % 5 == 0) {
			assert_int_equal(iotlb_remove(iotlb, entry.iova, entry.size), 0);
		} else {
			assert_int_equal(iotlb_insert(iotlb, &entry), 0);
			for (unsigned i = 0; i < pages; i++)
				model[first + i] = entry;
			assert_true(iotlb_has(iotlb, &entry));
		}
		if (round % 3 == 0)
			iotlb_settle(iotlb);
		uint32_t page = random_below(&random, MODEL_PAGES);
		uint64_t iova = IOVA + (uint64_t)page * PAGE + random_below(&random, PAGE);
		uint8_t access = (uint8_t)(1 + random_below(&random, 3));
		uint64_t user, run;
		bool expected = model[page].size != 0 && (model[page].access & access) == access;
		assert_int_equal(iotlb_find(iotlb, iova, access, &user, &run), expected);
		if (!expected)
			continue;
		assert_int_equal(user - model[page].user_address, iova - model[page].iova);
		assert_int_equal(run, model[page].size - (iova - model[page].iova));
	}
	iotlb_destroy(iotlb);
	close(attention);
}

static void the_table_has_its_limit(void **)
{
	int attention = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct iotlb *iotlb = iotlb_create(attention);
	unsigned found = 0;

	for (uint64_t i = 0; i < 2 * IOTLB_ENTRIES_MAX; i++) {
		struct iotlb_entry entry = {IOVA + i * PAGE, PAGE, i * PAGE, IOTLB_READ};

		assert_int_equal(iotlb_insert(iotlb, &entry), 0);
		assert_true(iotlb_has(iotlb, &entry));
		iotlb_settle(iotlb);
	}
	for (uint64_t i = 0; i < 2 * IOTLB_ENTRIES_MAX; i++)
		found += iotlb_overlaps(iotlb, IOVA + i * PAGE, PAGE);
	assert_int_equal(found, IOTLB_ENTRIES_MAX);
	iotlb_destroy(iotlb);
	close(attention);
}

int main(void)
{
	static const struct variant_test tests[] = {
		VARIANT_TEST(a_frame_waits_for_its_translation_and_others_do_not),
		VARIANT_TEST(a_frame_may_lie_across_translations),
		VARIANT_TEST(what_is_taken_back_is_asked_for_again),
		VARIANT_TEST(what_may_only_be_read_is_not_written),
		VARIANT_TEST(a_ring_runs_while_its_own_memory_is_translated),
		VARIANT_TEST(translations_end_with_their_driver),
		VARIANT_TEST(what_got_no_answer_is_asked_for_again),
		VARIANT_TEST(a_translation_to_nowhere_stops_the_queue),
		VARIANT_TEST(messages_that_make_no_sense_are_refused),
		VARIANT_TEST(without_the_feature_there_are_no_translations),
	};
	const struct CMUnitTest tables[] = {
		cmocka_unit_test(the_table_is_as_a_simple_one),
		cmocka_unit_test(the_table_has_its_limit),
	};

	return run_for_all_rings("IOMMU", tests, COUNT_OF(tests))
	       + cmocka_run_group_tests_name("IOMMU, table", tables, NULL, NULL);
}
