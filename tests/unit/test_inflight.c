/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that die, and those that come after them: what is left to do is found from the rings,
 * from the record, or from an in-flight region. A death is what a kill is: whatever the device does
 * while it is taken down is undone in all memory that it shares.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/inflight.h"
#include "traffic.h"
#include "variants.h"

enum {
	RX = 0,
	TX = 1,
	FRAME_SIZE = 60,
	RING_SIZE = 8,
	RECORD_SIZE = 3 * 64,
	PACKED_START = 0x80008000,
};

struct rig {
	struct front front;
	const struct variant *variant;
	bool by_region;
	struct vhost_inflight layout;
	int fd; /* of the region; -1: none */
	uint8_t *region;
	_Alignas(64) uint8_t record[RECORD_SIZE];
	uint32_t sent, came; /* numbers of frames */
};

static uint64_t more_features; /* than the variant's */

/* ---- the rig ---- */

static int get_inflight(struct rig *rig, uint16_t queues, uint16_t size)
{
	struct vhost_message reply,
		message = {
			.header = {VHOST_USER_GET_INFLIGHT_FD, VHOST_VERSION, sizeof(rig->layout)},
			.payload.inflight = {.queue_count = queues, .queue_size = size},
		};

	assert_int_equal(front_send(&rig->front, &message), 0);
	assert_true(front_reply(&rig->front, &reply));
	assert_int_equal(reply.header.size, sizeof(rig->layout));
	rig->layout = reply.payload.inflight;
	return reply.fd_count == 1 ? reply.fds[0] : -1;
}

static int set_inflight(struct rig *rig, const struct vhost_inflight *layout)
{
	return front_request(
		&rig->front, VHOST_USER_SET_INFLIGHT_FD, layout, sizeof(*layout), &rig->fd, 1
	);
}

static void connect_front(struct rig *rig)
{
	front_negotiate(
		&rig->front, variant_features(rig->variant) | BIT(VL_F_VERSION_1) | more_features
	);
	assert_int_equal(front_share_memory(&rig->front), 0);
}

/* A front end that only knows where its rings began. */
static int start_ring(struct rig *rig, unsigned index)
{
	struct guest_ring *ring = &rig->front.rings[index];
	uint32_t base = rig->variant->packed ? PACKED_START : 0;

	front_start_ring_at(&rig->front, index, ring, base);
	front_enable_ring(&rig->front, index, true);
	return 0;
}

static void open_rig(struct rig *rig, const struct variant *variant, bool by_region)
{
	struct front_options options = {
		.ring_size = RING_SIZE,
		.features = variant_features(variant),
		.record = rig->record,
	};

	*rig = (struct rig){.variant = variant, .by_region = by_region, .fd = -1};
	front_attach(&rig->front, &options);
	connect_front(rig);
	if (by_region) {
		rig->fd = get_inflight(rig, 2, RING_SIZE);
		assert_true(rig->fd >= 0);
		rig->region = mmap(
			NULL, rig->layout.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, rig->fd, 0
		);
		assert_ptr_not_equal(rig->region, MAP_FAILED);
		assert_int_equal(set_inflight(rig, &rig->layout), 0);
	}
	front_start(&rig->front, &options);
}

static void close_rig(struct rig *rig)
{
	front_close(&rig->front);
	if (rig->fd >= 0)
		close(rig->fd);
	if (rig->region != NULL)
		munmap(rig->region, rig->layout.mmap_size);
}

/* Rings, record and region, to be put back. */
struct memories {
	uint8_t rings[64 * 1024], record[RECORD_SIZE], region[64 * 1024];
};

static void save(const struct rig *rig, struct memories *memories)
{
	const struct guest_region *rings = &rig->front.guest.regions[GUEST_HIGH];

	assert_true(rings->used <= sizeof(memories->rings));
	memcpy(memories->rings, rings->host, rings->used);
	memcpy(memories->record, rig->record, sizeof(rig->record));
	if (rig->region != NULL)
		memcpy(memories->region, rig->region, rig->layout.mmap_size);
}

static void restore(struct rig *rig, const struct memories *memories)
{
	const struct guest_region *rings = &rig->front.guest.regions[GUEST_HIGH];

	memcpy(rings->host, memories->rings, rings->used);
	memcpy(rig->record, memories->record, sizeof(rig->record));
	if (rig->region != NULL)
		memcpy(rig->region, memories->region, rig->layout.mmap_size);
}

static void die(struct rig *rig)
{
	static struct memories memories;

	uint64_t features = rig->front.features;

	save(rig, &memories);
	front_replace_device(&rig->front);
	restore(rig, &memories);
	rig->front.features = features; /* the driver's, who may go on sending */
}

static void come_back(struct rig *rig)
{
	/* As DPDK's does. */
	for (unsigned i = 0; rig->sent % 2 && i < 2; i++)
		assert_int_equal(front_stop_ring(&rig->front, i), 0);
	connect_front(rig);
	if (rig->by_region)
		assert_int_equal(set_inflight(rig, &rig->layout), 0);
	for (unsigned i = 0; i < 2; i++)
		start_ring(rig, i);
}

/* ---- frames ---- */

static bool send_numbered(struct rig *rig)
{
	struct cuts cuts = {1, {20}};
	struct vl_net_header header = {0};
	uint8_t bytes[FRAME_SIZE] = {0};

	if (rig->front.rings[TX].free_count < 2)
		return false;
	memcpy(bytes, &rig->sent, sizeof(rig->sent));
	traffic_send(&rig->front, TX, &header, bytes, sizeof(bytes), &cuts, rig->variant->form);
	rig->sent++;
	return true;
}

/* Borrow up to `max`, which have to be the next ones, and give `back` of them back. */
static void take(struct rig *rig, unsigned max, unsigned back)
{
	struct vl_frame frames[VL_BURST_MAX];
	struct guest_used used;
	int n = vl_device_borrow(rig->front.device, 0, frames, max);

	assert_true(n >= 0);
	if (back > (unsigned)n)
		back = (unsigned)n;
	for (unsigned i = 0; i < (unsigned)n; i++) {
		uint32_t number;

		memcpy(&number, frames[i].head, sizeof(number));
		assert_int_equal(number, rig->came + i);
	}
	vl_device_give_back(rig->front.device, 0, back);
	rig->came += back;
	for (unsigned i = 0; i < back; i++)
		assert_true(guest_ring_reap(&rig->front.rings[TX], &used));
	assert_false(guest_ring_reap(&rig->front.rings[TX], &used));
}

static void receive(struct rig *rig, uint32_t number)
{
	uint8_t bytes[FRAME_SIZE] = {0}, got[FRAME_SIZE];
	struct vl_net_header header;
	struct built_frame built;

	memcpy(bytes, &number, sizeof(number));
	frame_build(&built, bytes, sizeof(bytes), 64, NULL);
	assert_int_equal(traffic_deliver(&rig->front, 0, &built), VL_DELIVERED);
	assert_int_equal(traffic_receive(&rig->front, RX, &header, got, sizeof(got)), FRAME_SIZE);
	assert_memory_equal(bytes, got, FRAME_SIZE);
}

/* ---- going on ---- */

static void what_was_not_completed_comes_again(void **state)
{
	for (unsigned by_region = 0; by_region < 2; by_region++) {
		struct random random = {7};
		static struct rig rig;

		open_rig(&rig, *state, by_region);
		for (uint32_t round = 0; round < 200; round++) {
			for (unsigned i = random_below(&random, 4); i > 0 && send_numbered(&rig);)
				i--;
			take(&rig, random_below(&random, 9), random_below(&random, 7));
			traffic_post(&rig.front, RX, 1, 128, NULL, GUEST_CHAINED);
			if (round % 3 == 0)
				receive(&rig, round);
			die(&rig);
			/* The driver does not stop meanwhile. */
			if (random_below(&random, 2))
				(void)send_numbered(&rig);
			come_back(&rig);
			if (round % 3 != 0)
				receive(&rig, round);
		}
		take(&rig, VL_BURST_MAX, VL_BURST_MAX);
		assert_int_equal(rig.came, rig.sent);
		assert_true(rig.sent > 10 * RING_SIZE);
		close_rig(&rig);
	}
}

/* Killed between the note of its place and the descriptor that shows the burst. */
static void a_burst_that_was_not_shown_comes_again(void **state)
{
	const struct variant *variant = *state;

	for (unsigned by_region = 0; variant->packed && by_region < 2; by_region++) {
		static struct rig rig;

		open_rig(&rig, variant, by_region);
		for (uint32_t round = 0; round < 6 * RING_SIZE; round++) {
			struct guest_ring *ring = &rig.front.rings[TX];
			struct vl_frame frames[VL_BURST_MAX];

			assert_true(send_numbered(&rig));
			uint16_t slot = ring->last_used;
			struct vring_packed_desc desc = ring->packed_desc[slot];
			assert_int_equal(vl_device_borrow(rig.front.device, 0, frames, 64), 1);
			vl_device_give_back(rig.front.device, 0, 1);
			ring->packed_desc[slot] = desc;
			die(&rig);
			come_back(&rig);
			take(&rig, 64, 64);
			assert_int_equal(rig.came, rig.sent);
		}
		close_rig(&rig);
	}
}

/* As a kill leaves a burst of four, of which the device had written only those before the n-th, and
 * not the first, which it writes last. Heads are `each` descriptors apart. */
static void
unwrite(struct guest_ring *ring,
	const struct vring_packed_desc *before,
	uint16_t from,
	unsigned n,
	unsigned each)
{
	for (unsigned i = 0; i < 4; i++) {
		if (i == 0 || i >= n)
			ring->packed_desc[(from + i * each) % ring->size] =
				before[(from + i * each) % ring->size];
	}
}

static void a_burst_that_was_half_written_loses_nothing(void **state)
{
	const struct variant *variant = *state;

	for (unsigned by_region = 0; variant->packed && by_region < 2; by_region++) {
		const unsigned each = variant->form == GUEST_INDIRECT ? 1 : 2;
		static struct rig rig;

		open_rig(&rig, variant, by_region);
		for (uint32_t round = 0; round < 8 * RING_SIZE; round++) {
			struct guest_ring *ring = &rig.front.rings[TX];
			struct vring_packed_desc before[RING_SIZE];
			struct vl_frame frames[VL_BURST_MAX];
			struct guest_used used;
			unsigned written = 1 + round % 3;
			uint16_t from = ring->last_used;

			for (unsigned i = 0; i < 4; i++)
				assert_true(send_numbered(&rig));
			memcpy(before, ring->packed_desc, sizeof(before));
			assert_int_equal(vl_device_borrow(rig.front.device, 0, frames, 64), 4);
			vl_device_give_back(rig.front.device, 0, 4);
			unwrite(ring, before, from, written, each);
			die(&rig);
			assert_false(guest_ring_reap(ring, &used));
			come_back(&rig);
			/* What was written counts, if the first can be added to it. */
			for (unsigned i = 0; written > 1 && i < written; i++, rig.came++)
				assert_true(guest_ring_reap(ring, &used));
			take(&rig, 64, 64);
			assert_int_equal(rig.came, rig.sent);
			(void)send_numbered(&rig);
			take(&rig, 64, 64);
		}
		close_rig(&rig);
	}
}

/* Chains of all lengths: where each one ends is told by ids alone. */
static void chains_of_a_half_written_burst_are_told_apart(void **state)
{
	static const unsigned lengths[][4] = {
		{1, 1, 1, 3}, {1, 3, 1, 1}, {3, 1, 1, 1}, {2, 2, 1, 1}, {1, 2, 1, 2}};
	const struct variant *variant = *state;

	if (!variant->packed || variant->form == GUEST_INDIRECT)
		return;
	for (unsigned round = 0; round < 12 * COUNT_OF(lengths); round++) {
		const unsigned *length = lengths[round % COUNT_OF(lengths)];
		const unsigned written = 1 + round % 4;
		struct vring_packed_desc before[RING_SIZE];
		struct vl_frame frames[VL_BURST_MAX];
		struct vl_net_header header = {0};
		uint8_t bytes[FRAME_SIZE];
		struct guest_used used;
		static struct rig rig;
		uint32_t slot = 0, heads[4];

		open_rig(&rig, variant, round % 2);
		/* Not always from the beginning. */
		for (unsigned i = 0; i < round / 7; i++) {
			assert_true(send_numbered(&rig));
			take(&rig, 64, 64);
		}
		struct guest_ring *ring = &rig.front.rings[TX];
		slot = ring->last_used;
		for (unsigned i = 0; i < 4; i++) {
			struct cuts cuts = {length[i] - 1, {20, 10}};

			memset(bytes, (int)i + 1, sizeof(bytes));
			heads[i] = slot;
			slot = (slot + length[i]) % ring->size;
			traffic_send(
				&rig.front, TX, &header, bytes, sizeof(bytes), &cuts, GUEST_CHAINED
			);
		}
		memcpy(before, ring->packed_desc, sizeof(before));
		assert_int_equal(vl_device_borrow(rig.front.device, 0, frames, 64), 4);
		vl_device_give_back(rig.front.device, 0, 4);
		for (unsigned i = 0; i < 4; i++) {
			if (i == 0 || i >= written)
				ring->packed_desc[heads[i]] = before[heads[i]];
		}
		die(&rig);
		come_back(&rig);
		unsigned done = written > 1 ? written : 0;
		for (unsigned i = 0; i < done; i++)
			assert_true(guest_ring_reap(ring, &used));
		assert_false(guest_ring_reap(ring, &used));
		int n = vl_device_borrow(rig.front.device, 0, frames, 64);
		assert_int_equal(n, 4 - done);
		for (int i = 0; i < n; i++) {
			assert_int_equal(frames[i].size, FRAME_SIZE);
			assert_int_equal(frames[i].head[0], done + (unsigned)i + 1);
		}
		vl_device_give_back(rig.front.device, 0, (unsigned)n);
		for (int i = 0; i < n; i++)
			assert_true(guest_ring_reap(ring, &used));
		close_rig(&rig);
	}
}

/* Frames to the driver are delivered again; none is missing, and the ring goes on. */
static void half_written_frames_are_received(struct rig *rig, bool mergeable, unsigned written)
{
	struct guest_ring *ring = &rig->front.rings[RX];
	struct vring_packed_desc before[RING_SIZE];
	const struct vl_frame *frames[4];
	struct built_frame built[4];
	enum vl_delivery results[4];
	uint8_t bytes[4][FRAME_SIZE], got[FRAME_SIZE];
	struct vl_net_header header;
	uint16_t from = ring->last_used;

	for (unsigned i = 0; i < 4; i++) {
		memset(bytes[i], (int)i + 1, FRAME_SIZE);
		frame_build(&built[i], bytes[i], FRAME_SIZE, 64, NULL);
		frames[i] = &built[i].frame;
	}
	while (ring->free_count > 0)
		traffic_post(&rig->front, RX, 1, 128, NULL, GUEST_CHAINED);
	memcpy(before, ring->packed_desc, sizeof(before));
	assert_int_equal(vl_device_copy_in(rig->front.device, 0, frames, 4, results), 4);
	vl_device_flush(rig->front.device, 0);
	unwrite(ring, before, from, written, 1);
	die(rig);
	assert_int_equal(traffic_receive(&rig->front, RX, &header, got, sizeof(got)), -1);
	come_back(rig);
	for (unsigned i = 0; !mergeable && written > 1 && i < written; i++) {
		assert_int_equal(
			traffic_receive(&rig->front, RX, &header, got, sizeof(got)), FRAME_SIZE
		);
		assert_memory_equal(got, bytes[i], FRAME_SIZE);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(traffic_deliver(&rig->front, 0, &built[i]), VL_DELIVERED);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(
			traffic_receive(&rig->front, RX, &header, got, sizeof(got)), FRAME_SIZE
		);
		assert_memory_equal(got, bytes[i], FRAME_SIZE);
	}
	assert_int_equal(traffic_receive(&rig->front, RX, &header, got, sizeof(got)), -1);
}

static void a_burst_to_the_driver_may_be_half_written(void **state)
{
	const struct variant *variant = *state;

	for (unsigned how = 0; variant->packed && how < 4; how++) {
		static struct rig rig;

		more_features = how & 1 ? BIT(VL_F_MRG_RXBUF) : 0;
		open_rig(&rig, variant, how & 2);
		for (uint32_t round = 0; round < 8 * RING_SIZE; round++)
			half_written_frames_are_received(&rig, how & 1, 1 + round % 3);
		close_rig(&rig);
	}
	more_features = 0;
}

/* Of an indirect buffer the place of its table is all that is left: nothing is written there. */
static void odd_receive_buffers_are_not_undone(void **state)
{
	const struct variant *variant = *state;
	const struct vl_frame *frames[4];
	struct built_frame built[4];
	enum vl_delivery results[4];
	uint8_t bytes[FRAME_SIZE] = {9};
	struct cuts cuts = {1, {12}};
	struct guest_used used;
	static struct rig rig;

	if (!variant->packed)
		return;
	more_features = BIT(VL_F_MRG_RXBUF);
	open_rig(&rig, variant, false);
	more_features = 0;
	struct guest_ring *ring = &rig.front.rings[RX];
	const uint32_t each = variant->form == GUEST_INDIRECT ? 1 : 2;
	struct vring_packed_desc before[RING_SIZE];
	for (unsigned i = 0; i < 4; i++) {
		frame_build(&built[i], bytes, FRAME_SIZE, 64, NULL);
		frames[i] = &built[i].frame;
	}
	traffic_post(&rig.front, RX, 4, 128, &cuts, variant->form);
	memcpy(before, ring->packed_desc, sizeof(before));
	assert_int_equal(vl_device_copy_in(rig.front.device, 0, frames, 4, results), 4);
	vl_device_flush(rig.front.device, 0);
	unwrite(ring, before, 0, 3, each);
	die(&rig);
	more_features = BIT(VL_F_MRG_RXBUF);
	come_back(&rig);
	more_features = 0;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(guest_ring_reap(ring, &used));
		assert_int_equal(used.written, 12 + FRAME_SIZE);
	}
	assert_false(guest_ring_reap(ring, &used));
	assert_int_equal(traffic_deliver(&rig.front, 0, &built[3]), VL_DELIVERED);
	assert_true(guest_ring_reap(ring, &used));
	close_rig(&rig);
}

/* The driver began anew while there was no device: the same place, zeroed. */
static void a_ring_that_was_made_anew_begins_at_the_start(void **state)
{
	const struct variant *variant = *state;
	struct guest_ring_options options = {
		.size = RING_SIZE,
		.packed = variant->packed,
		.event_idx = variant->event_idx,
		.start_wrap = true,
	};

	for (unsigned before = 0; before <= 3 * RING_SIZE; before++) {
		for (unsigned early = 0; early <= 4; early++) {
			static struct rig rig;

			open_rig(&rig, variant, false);
			for (unsigned i = 0; i < before; i++) {
				(void)send_numbered(&rig);
				take(&rig, 64, 64);
			}
			die(&rig);
			rig.front.guest.regions[GUEST_HIGH].used = 0;
			for (unsigned i = 0; i < 2; i++) {
				guest_ring_close(&rig.front.rings[i]);
				guest_ring_open(&rig.front.rings[i], &rig.front.guest, &options);
			}
			for (unsigned i = 0; i < early; i++)
				(void)send_numbered(&rig);
			come_back(&rig);
			for (unsigned i = 0; i < 2 * RING_SIZE; i++) {
				take(&rig, 64, 64);
				assert_true(send_numbered(&rig));
			}
			take(&rig, 64, 64);
			assert_int_equal(rig.came, rig.sent);
			close_rig(&rig);
		}
	}
}

/* Who knows better than the record is believed. */
static void another_base_than_at_the_start_counts(void **)
{
	const struct variant variant = {"", true, false, GUEST_INDIRECT};
	static struct rig rig;

	open_rig(&rig, &variant, false);
	for (unsigned i = 0; i < 5; i++) {
		(void)send_numbered(&rig);
		take(&rig, 64, 64);
	}
	die(&rig);
	memset(&rig.record, 0xff, 64);
	connect_front(&rig);
	front_start_ring(&rig.front, TX, &rig.front.rings[TX]);
	front_enable_ring(&rig.front, TX, true);
	(void)send_numbered(&rig);
	take(&rig, 64, 64);
	assert_int_equal(rig.came, rig.sent);
	close_rig(&rig);
}

/* What says where it is needs no record; a ring that runs has one. */
static void a_stopped_ring_leaves_no_record(void **)
{
	const struct variant variant = {"", true, false, GUEST_CHAINED};
	static struct rig rig;

	open_rig(&rig, &variant, false);
	assert_true(vl_device_record_holds(rig.front.device));
	front_stop_ring(&rig.front, TX);
	front_stop_ring(&rig.front, RX);
	assert_false(vl_device_record_holds(rig.front.device));
	close_rig(&rig);
}

/* ---- regions of others ---- */

static struct inflight_split *split_part(struct rig *rig, unsigned index)
{
	return (void *)(rig->region + index * inflight_queue_bytes(false, RING_SIZE));
}

static struct inflight_packed *packed_part(struct rig *rig, unsigned index)
{
	return (void *)(rig->region + index * inflight_queue_bytes(true, RING_SIZE));
}

static void mark(struct rig *rig, uint16_t n)
{
	if (rig->variant->packed) {
		packed_part(rig, TX)->desc[n].inflight = 1;
		packed_part(rig, TX)->desc[n].counter = n;
	} else {
		uint16_t place = (uint16_t)(rig->front.rings[TX].used->idx + n);
		uint16_t head = rig->front.rings[TX].avail->ring[place % RING_SIZE];

		split_part(rig, TX)->desc[head].inflight = 1;
		split_part(rig, TX)->desc[head].counter = n;
	}
}

/* Another device marks what it has taken. */
static void marked_chains_are_completed_once(void **state)
{
	static struct rig rig;

	open_rig(&rig, *state, true);
	for (unsigned round = 0; round < 30; round++) {
		(void)send_numbered(&rig);
		(void)send_numbered(&rig);
		die(&rig);
		mark(&rig, 0);
		if (round % 2)
			mark(&rig, 1);
		come_back(&rig);
		take(&rig, 64, 64);
		assert_int_equal(rig.came, rig.sent);
		for (unsigned i = 0; i < RING_SIZE; i++)
			assert_int_equal(
				rig.variant->packed ? packed_part(&rig, TX)->desc[i].inflight
						    : split_part(&rig, TX)->desc[i].inflight,
				0
			);
	}
	close_rig(&rig);
}

/* Start the transmit ring by a region, which has to fail. */
static void assert_refused(struct rig *rig, const char *why)
{
	struct front *front = &rig->front;

	front_replace_device(front);
	connect_front(rig);
	assert_int_equal(set_inflight(rig, &rig->layout), 0);
	check(front_request_state(front, VHOST_USER_SET_VRING_NUM, TX, RING_SIZE) == 0);
	check(front_request_state(front, VHOST_USER_SET_VRING_BASE, TX, 0) == 0);
	struct vhost_vring_addr address = {
		.index = TX,
		.desc_user_addr = guest_to_user(&front->guest, front->rings[TX].desc_address),
		.avail_user_addr = guest_to_user(&front->guest, front->rings[TX].driver_address),
		.used_user_addr = guest_to_user(&front->guest, front->rings[TX].device_address),
	};
	check(front_request(front, VHOST_USER_SET_VRING_ADDR, &address, sizeof(address), NULL, 0)
	      == 0);
	assert_int_equal(
		front_request_fd(front, VHOST_USER_SET_VRING_KICK, TX, front->rings[TX].kick_fd), 1
	);
	assert_non_null(strstr(vl_device_reason(front->device), why));
}

static void a_region_that_makes_no_sense_is_refused(void **state)
{
	static struct rig rig;

	open_rig(&rig, *state, true);
	(void)send_numbered(&rig);
	take(&rig, 64, 64);
	(void)send_numbered(&rig);
	(void)send_numbered(&rig);
	die(&rig);
	size_t bytes = inflight_queue_bytes(rig.variant->packed, RING_SIZE);
	uint8_t *part = rig.region + bytes, good[4096];
	assert_true(bytes <= sizeof(good));
	memcpy(good, part, bytes);

	/* Both layouts begin alike. */
	((struct inflight_split *)(void *)part)->version = 2;
	assert_refused(&rig, "version");
	memcpy(part, good, bytes);
	((struct inflight_split *)(void *)part)->desc_num = RING_SIZE / 2;
	assert_refused(&rig, "another size");
	memcpy(part, good, bytes);
	if (rig.variant->packed) {
		packed_part(&rig, TX)->used_idx = RING_SIZE;
		assert_refused(&rig, "outside");
		memcpy(part, good, bytes);
		packed_part(&rig, TX)->old_used_idx = RING_SIZE;
		assert_refused(&rig, "outside");
		memcpy(part, good, bytes);
		packed_part(&rig, TX)->used_wrap_counter = 2;
		assert_refused(&rig, "outside");
		memcpy(part, good, bytes);
		for (uint16_t i = 0; i < 5; i++)
			mark(&rig, i);
	} else {
		mark(&rig, 1); /* the second without the first */
	}
	assert_refused(&rig, "not the next ones");
	/* The good one was kept as it was. */
	memcpy(part, good, bytes);
	front_replace_device(&rig.front);
	memcpy(part, good, bytes);
	come_back(&rig);
	take(&rig, 64, 64);
	assert_int_equal(rig.came, rig.sent);
	close_rig(&rig);
}

static void a_region_of_the_wrong_size_is_refused(void **state)
{
	static struct rig rig;
	struct vhost_inflight layout;

	open_rig(&rig, *state, true);
	assert_int_equal(get_inflight(&rig, 0, RING_SIZE), -1);
	assert_int_equal(rig.layout.mmap_size, 0);
	assert_int_equal(get_inflight(&rig, 4, RING_SIZE), -1);
	assert_int_equal(get_inflight(&rig, 2, 0), -1);
	assert_int_equal(get_inflight(&rig, 2, 32769), -1);
	int other = get_inflight(&rig, 2, RING_SIZE);
	assert_true(other >= 0);
	/* Its size is sealed. */
	assert_int_equal(ftruncate(other, 4096), -1);
	close(other);
	assert_int_equal(
		rig.layout.mmap_size, 2 * inflight_queue_bytes(rig.variant->packed, RING_SIZE)
	);

	layout = rig.layout;
	layout.mmap_size -= 1;
	assert_int_equal(set_inflight(&rig, &layout), 1);
	layout = rig.layout;
	layout.mmap_offset = 64; /* behind its end */
	assert_int_equal(set_inflight(&rig, &layout), 1);
	layout.mmap_offset = UINT64_MAX - 63;
	assert_int_equal(set_inflight(&rig, &layout), 1);
	layout.mmap_offset = 1;
	assert_int_equal(set_inflight(&rig, &layout), 1);
	layout = rig.layout;
	layout.queue_count = UINT16_MAX;
	assert_int_equal(set_inflight(&rig, &layout), 1);
	layout = rig.layout;
	layout.queue_size = 0;
	assert_int_equal(set_inflight(&rig, &layout), 1);
	assert_non_null(strstr(vl_device_reason(rig.front.device), "SET_INFLIGHT_FD"));
	/* All of which has changed nothing. */
	(void)send_numbered(&rig);
	take(&rig, 64, 64);
	assert_int_equal(rig.came, rig.sent);
	/* Smaller rings than those that come. */
	layout = rig.layout;
	layout.queue_size = RING_SIZE / 2;
	rig.layout = layout;
	assert_refused(&rig, "smaller rings");
	close_rig(&rig);
}

int main(void)
{
	const struct variant_test all[] = {
		VARIANT_TEST(what_was_not_completed_comes_again),
		VARIANT_TEST(a_burst_that_was_not_shown_comes_again),
		VARIANT_TEST(a_burst_that_was_half_written_loses_nothing),
		VARIANT_TEST(chains_of_a_half_written_burst_are_told_apart),
		VARIANT_TEST(a_burst_to_the_driver_may_be_half_written),
		VARIANT_TEST(odd_receive_buffers_are_not_undone),
		VARIANT_TEST(a_ring_that_was_made_anew_begins_at_the_start),
		VARIANT_TEST(marked_chains_are_completed_once),
	};
	const struct variant_test layouts[] = {
		VARIANT_TEST(a_region_that_makes_no_sense_is_refused),
		VARIANT_TEST(a_region_of_the_wrong_size_is_refused),
	};
	const struct CMUnitTest packed[] = {
		cmocka_unit_test(another_base_than_at_the_start_counts),
		cmocka_unit_test(a_stopped_ring_leaves_no_record),
	};

	return run_for_all_rings("in flight", all, COUNT_OF(all))
	       + run_for_layouts("in flight, regions", layouts, COUNT_OF(layouts))
	       + cmocka_run_group_tests_name("in flight, records", packed, NULL, NULL);
}
