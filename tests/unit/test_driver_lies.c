/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver with a back end that lies, in its messages and in the rings: opening fails with a
 * reason, a pair stops with one; nothing crashes, waits for ever, or is read outside the buffers.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "liar.h"
#include "process.h"

enum {
	POSTED = 8,  /* receive buffers of most tests */
	ROOM = 2048, /* bytes of a buffer */
	HEADER = 12, /* bytes of the virtio-net header */
	RX = 0,
	TX = 1,
};

static struct liar *open_variant(void **state)
{
	struct vl_driver_config config = {
		.queue_size = 64, .buffer_size = ROOM, .rx_buffers = POSTED, .tx_buffers = 64};
	struct liar *liar = liar_init();
	int error = liar_open(liar, *state, &config);

	if (error < 0)
		print_error("%d: %s\n", error, liar->why.text);
	assert_int_equal(error, 0);
	return liar;
}

static int receive(struct liar *liar, struct vl_driver_frame *frames)
{
	return vl_driver_rx_burst(liar->driver, 0, frames, VL_DRIVER_BURST_MAX);
}

static int send_one(struct liar *liar)
{
	struct vl_driver_frame frame;

	if (vl_driver_alloc(liar->driver, 0, &frame, 1) == 0)
		return 0;
	frame.length = 60;
	int n = vl_driver_tx_burst(liar->driver, 0, &frame, 1);
	if (n <= 0)
		vl_driver_free(liar->driver, 0, &frame, 1);
	return n;
}

/* The pair says that it was stopped and why, again and again; nobody waits on it. */
static void check_stopped(struct liar *liar)
{
	struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];
	struct vl_driver_status status;
	struct vl_driver_stats stats;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(receive(liar, frames), -EPROTO);
	vl_driver_stats(liar->driver, 0, &stats);
	vl_driver_status(liar->driver, &status);
	assert_non_null(stats.broken);
	assert_true(strlen(stats.broken) > 10);
	assert_ptr_equal(status.broken, stats.broken);
	assert_false(vl_driver_sleep(liar->driver, 0));
	assert_int_equal(vl_driver_wait(liar->driver, 0, JOINT_TIMEOUT_MS), 1);
	assert_true(send_one(liar) >= -EPROTO);
}

/* ---- messages ---- */

static bool is_documented(int error)
{
	static const int errors[] = {-ERANGE, -ENOTSUP, -EPROTO, -ETIMEDOUT, -ECONNRESET, -EIO};

	for (unsigned i = 0; i < COUNT_OF(errors); i++) {
		if (errors[i] == error)
			return true;
	}
	return false;
}

/* One lie in one message. Returns whether there was such a message. */
static bool open_with_lie(enum lie lie, unsigned at, const struct vl_driver_config *config)
{
	struct liar *liar = liar_init();
	int64_t begin = now_ms();

	liar->lie = lie;
	liar->lie_at = at;
	if (lie == LIE_SILENT)
		liar->timeout_ms = 10;
	int error = liar_open(liar, NULL, config);
	if (error < 0) {
		if (!is_documented(error) || strlen(liar->why.text) <= 10)
			print_error("lie %d at %u: %d, %s\n", lie, at, error, liar->why.text);
		assert_true(is_documented(error));
		assert_true(strlen(liar->why.text) > 10);
	}
	if (lie == LIE_HANG_UP && error < 0)
		assert_int_equal(error, -ECONNRESET);
	bool there = liar->messages > at;
	liar_close(liar);
	assert_true(now_ms() - begin < JOINT_TIMEOUT_MS);
	return there;
}

static void every_lie_in_every_message_is_survived(void **)
{
	const struct vl_driver_config config = {
		.queue_pairs = 2, .queue_size = 8, .buffer_size = 64, .mtu = 1400};
	unsigned descriptors = open_descriptors(), mappings = arena_mappings();
	unsigned count = 0;

	for (enum lie lie = LIE_HANG_UP; lie < LIE_COUNT; lie++) {
		unsigned at = 0;

		while (open_with_lie(lie, at, &config))
			at++;
		count = at > count ? at : count;
		assert_int_equal(open_descriptors(), descriptors);
		assert_int_equal(arena_mappings(), mappings);
	}
	assert_true(count > 30);
}

static int open_offering(struct liar *liar, const struct vl_driver_config *config)
{
	int error = liar_open(liar, NULL, config);

	if (error < 0)
		assert_true(strlen(liar->why.text) > 10);
	liar_close(liar);
	return error;
}

static void offers_that_make_no_sense_are_refused(void **)
{
	const struct vl_driver_config tso = {.wanted.word[0] = BIT(VL_F_HOST_TSO4)};
	const struct vl_driver_config four = {.queue_pairs = 4}, plain = {0};
	struct liar *liar = liar_init();

	liar->queue_num = 0;
	assert_int_equal(open_offering(liar, &plain), -EPROTO);
	liar = liar_init();
	liar->queue_num = UINT64_MAX;
	assert_int_equal(open_offering(liar, &plain), -EPROTO);
	liar = liar_init();
	liar->slots = 0;
	assert_int_equal(open_offering(liar, &plain), -EPROTO);
	/* Segmentation without checksums. */
	liar = liar_init();
	liar->features |= BIT(VL_F_HOST_TSO4);
	assert_int_equal(open_offering(liar, &tso), -ENOTSUP);
	liar = liar_init();
	liar->features &= ~BIT(VL_F_VERSION_1);
	assert_int_equal(open_offering(liar, &plain), -ENOTSUP);
	liar = liar_init();
	liar->status_refused = 8; /* FEATURES_OK */
	assert_int_equal(open_offering(liar, &plain), -ENOTSUP);
	/* Pairs: the protocol says eight, the configuration two. */
	liar = liar_init();
	liar->queue_num = 8;
	liar->config[8] = 2;
	assert_int_equal(open_offering(liar, &four), -ERANGE);
	liar = liar_init();
	liar->queue_num = 2;
	assert_int_equal(open_offering(liar, &four), -ERANGE);
}

/* Nothing but the rings: no protocol features, no configuration space. */
static void a_back_end_of_few_words_is_enough(void **)
{
	const struct vl_driver_config plain = {0};
	struct liar *liar = liar_init();

	liar->features = BIT(VL_F_VERSION_1);
	assert_int_equal(open_offering(liar, &plain), 0);
	liar = liar_init();
	liar->protocol_features = 0;
	assert_int_equal(open_offering(liar, &plain), 0);
	liar = liar_init();
	liar->features = BIT(VL_F_VERSION_1) | BIT(VL_F_CTRL_VQ) | BIT(VL_F_MQ);
	assert_int_equal(open_offering(liar, &plain), 0);
}

static void what_is_said_unasked_ends_the_session(void **)
{
	const struct vhost_message message = {
		.header = {VHOST_USER_GET_FEATURES, VHOST_VERSION | VHOST_FLAG_REPLY, 8}};
	struct liar *liar = liar_init();

	assert_int_equal(liar_open(liar, NULL, NULL), 0);
	vl_driver_woken(liar->driver, 0);
	liar_send(liar, &message);
	assert_int_equal(vl_driver_wait(liar->driver, 0, JOINT_TIMEOUT_MS), -EPROTO);
	/* Whoever asks later hears the same, and does not wait for what will not come. */
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vl_driver_process(liar->driver), -EPROTO);
		assert_int_equal(vl_driver_wait(liar->driver, 0, 100), -EPROTO);
	}
	liar_close(liar);
}

static void a_link_that_goes_down_is_seen(void **)
{
	enum {
		CONFIG_CHANGE = 2, /* VHOST_USER_BACKEND_CONFIG_CHANGE_MSG */
	};
	struct vl_driver_status status;
	struct liar *liar = liar_init();

	assert_int_equal(liar_open(liar, NULL, NULL), 0);
	vl_driver_status(liar->driver, &status);
	assert_true(status.link_up);
	assert_int_equal(status.mtu, 1500);
	liar->config[6] = 0;
	liar->config[8] = 200; /* pairs, which do not change while it runs */
	liar_request(liar, CONFIG_CHANGE);
	struct pollfd fd = {.fd = vl_driver_control_fd(liar->driver), .events = POLLIN};
	assert_int_equal(poll(&fd, 1, JOINT_TIMEOUT_MS), 1);
	assert_int_equal(vl_driver_process(liar->driver), 0);
	vl_driver_status(liar->driver, &status);
	assert_false(status.link_up);
	assert_int_equal(poll(&fd, 1, 0), 0);
	liar_close(liar);
}

static void who_dies_or_falls_silent_does_not_hold_up_the_end(void **state)
{
	int64_t begin = now_ms();
	struct liar *liar = liar_init();

	liar->timeout_ms = 30;
	assert_int_equal(liar_open(liar, *state, NULL), 0);
	liar_be_silent(liar);
	assert_int_equal(send_one(liar), 1);
	liar_close(liar);
	liar = liar_init();
	assert_int_equal(liar_open(liar, *state, NULL), 0);
	liar_hang_up(liar);
	assert_int_equal(vl_driver_process(liar->driver), -ECONNRESET);
	assert_int_equal(send_one(liar), 1);
	liar_close(liar);
	assert_true(now_ms() - begin < JOINT_TIMEOUT_MS);
}

/* ---- memory ---- */

/* Without slots the table is shared anew, for which the rings stand still; they go on in any case.
 */
static void rings_go_on_after_memory_was_added_or_refused(void **)
{
	for (unsigned refused = 0; refused < 2; refused++) {
		struct liar *liar = liar_init();

		liar->protocol_features &= ~BIT(VL_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
		assert_int_equal(liar_open(liar, NULL, NULL), 0);
		assert_int_equal(liar->region_count, 1);
		if (refused) {
			liar->lie = LIE_REFUSE;
			liar->lie_request = VHOST_USER_SET_MEM_TABLE;
		}
		int error = vl_driver_grow(liar->driver, 0, 16, true);
		assert_int_equal(error, refused ? -EIO : 0);
		assert_true(liar->rings[RX].enabled && liar->rings[TX].enabled);
		struct vl_driver_status status;
		vl_driver_status(liar->driver, &status);
		assert_int_equal(status.region_count, refused ? 1 : 2);
		liar_close(liar);
	}
}

static void no_more_regions_are_shared_than_are_taken(void **)
{
	struct liar *liar = liar_init();

	liar->slots = 3;
	assert_int_equal(liar_open(liar, NULL, NULL), 0);
	assert_int_equal(vl_driver_grow(liar->driver, 0, 1, true), 0);
	assert_int_equal(vl_driver_grow(liar->driver, 0, 1, false), 0);
	assert_int_equal(vl_driver_grow(liar->driver, 0, 1, false), -ENOSPC);
	liar_close(liar);
}

/* ---- the control queue ---- */

static struct liar *open_with_control(unsigned *ring)
{
	const struct vl_driver_config config = {.ring = "packed"};
	struct liar *liar = liar_init();

	liar->features |= BIT(VL_F_CTRL_VQ);
	liar->timeout_ms = 30;
	*ring = 2; /* without MQ it follows the first pair */
	assert_int_equal(liar_open(liar, NULL, &config), 0);
	return liar;
}

static void a_command_that_nobody_answers_times_out(void **)
{
	const uint8_t on = 1;
	unsigned ring;
	struct liar *liar = open_with_control(&ring);

	assert_int_equal(vl_driver_command(liar->driver, 0, 0, &on, 1), -ETIMEDOUT);
	/* Its buffers are the device's for ever. */
	assert_int_equal(vl_driver_command(liar->driver, 0, 0, &on, 1), -EPROTO);
	liar_close(liar);
}

static void a_command_that_was_answered_by_nonsense_fails(void **)
{
	const uint8_t on = 1;
	unsigned ring;
	struct liar *liar = open_with_control(&ring);

	liar_use(liar, ring, 7, 1, 1);
	assert_int_equal(vl_driver_command(liar->driver, 0, 0, &on, 1), -ETIMEDOUT);
	liar_close(liar);
	/* Used, but without a status. */
	struct vl_driver_config config = {.ring = "split"};
	liar = liar_init();
	liar->features |= BIT(VL_F_CTRL_VQ);
	liar->timeout_ms = 30;
	assert_int_equal(liar_open(liar, NULL, &config), 0);
	liar_use(liar, 2, 0, 1, 1);
	assert_int_equal(vl_driver_command(liar->driver, 0, 0, &on, 1), -EIO);
	liar_close(liar);
}

/* ---- receiving ---- */

static void a_buffer_that_was_not_posted_stops_the_pair(void **state)
{
	static const uint32_t slots[] = {POSTED, 20, 31, 64, 1000, 32767};

	for (unsigned i = 0; i < COUNT_OF(slots); i++) {
		struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];
		struct liar *liar = open_variant(state);

		liar_use(liar, RX, slots[i], 100, 1);
		assert_int_equal(receive(liar, frames), -EPROTO);
		check_stopped(liar);
		liar_close(liar);
	}
}

static void a_length_that_cannot_be_stops_the_pair(void **state)
{
	static const uint32_t lengths[] = {
		0,
		1,
		HEADER - 1,
		ROOM + HEADER + 1,
		65536,
		INT32_MAX,
		(uint32_t)INT32_MAX + 1,
		UINT32_MAX - 1,
		UINT32_MAX,
	};

	for (unsigned i = 0; i < COUNT_OF(lengths); i++) {
		struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];
		struct liar *liar = open_variant(state);

		liar_header(liar, RX, 0)->num_buffers = 1;
		liar_use(liar, RX, 0, lengths[i], 1);
		if (receive(liar, frames) != -EPROTO)
			print_error("length %u\n", lengths[i]);
		check_stopped(liar);
		liar_close(liar);
	}
}

static void the_longest_and_the_shortest_frame_are_taken(void **state)
{
	static const uint32_t lengths[] = {HEADER, ROOM + HEADER};

	for (unsigned i = 0; i < COUNT_OF(lengths); i++) {
		struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];
		struct liar *liar = open_variant(state);

		liar_header(liar, RX, 0)->num_buffers = 1;
		liar_use(liar, RX, 0, lengths[i], 1);
		assert_int_equal(receive(liar, frames), 1);
		assert_int_equal(frames[0].length, lengths[i] - HEADER);
		vl_driver_free(liar->driver, 0, frames, 1);
		liar_close(liar);
	}
}

static void an_impossible_number_of_buffers_stops_the_pair(void **state)
{
	static const uint16_t numbers[] = {0, 73, 1000, 65535};
	bool mergeable = ((const struct joint_variant *)*state)->mergeable;

	for (unsigned i = 0; i < COUNT_OF(numbers); i++) {
		struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];
		struct liar *liar = open_variant(state);

		liar_header(liar, RX, 0)->num_buffers = numbers[i];
		liar_use(liar, RX, 0, 100, 1);
		if (mergeable) {
			assert_int_equal(receive(liar, frames), -EPROTO);
			check_stopped(liar);
		} else {
			/* The field is nobody's without MRG_RXBUF. */
			assert_int_equal(receive(liar, frames), 1);
			assert_int_equal(frames[0].header.num_buffers, 1);
			vl_driver_free(liar->driver, 0, frames, 1);
		}
		liar_close(liar);
	}
}

/* A part is no frame, and no reason to stay awake; the rest may come later, or never. */
static void a_frame_waits_for_all_its_buffers(void **state)
{
	struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];

	if (!((const struct joint_variant *)*state)->mergeable)
		return;
	struct liar *liar = open_variant(state);
	liar_header(liar, RX, 0)->num_buffers = 3;
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(receive(liar, frames), 0);
		assert_true(vl_driver_sleep(liar->driver, 0));
		liar_use(liar, RX, i, 100, 1);
	}
	assert_int_equal(receive(liar, frames), 3);
	assert_int_equal(frames[0].header.num_buffers, 3);
	assert_int_equal(frames[0].length, 100 - HEADER);
	assert_int_equal(frames[1].length, 100);
	assert_int_equal(frames[2].length, 100);
	vl_driver_free(liar->driver, 0, frames, 3);
	liar_header(liar, RX, 3)->num_buffers = 3;
	liar_use(liar, RX, 3, 100, 1);
	assert_int_equal(receive(liar, frames), 0);
	liar_close(liar);
}

/* With foreign memory no name is lost by that: handed out before, or taken back at the end. */
static void a_stopped_pair_gives_its_buffers_back(void **state)
{
	static uint8_t memory[20][ROOM + 64];
	struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];
	struct vl_driver_config config = {.queue_size = 64, .foreign = true};
	struct liar *liar = liar_init();
	bool back[20] = {false};
	uintptr_t name;
	int n;

	assert_int_equal(liar_open(liar, *state, &config), 0);
	for (unsigned i = 0; i < 20; i++)
		frames[i] = (struct vl_driver_frame
		){.data = memory[i] + 64, .length = ROOM, .buffer = i};
	assert_int_equal(vl_driver_rx_post(liar->driver, 0, frames, 20), 20);
	for (uint32_t i = 0; i < 5; i++) {
		liar_header(liar, RX, i)->num_buffers = 1;
		liar_use(liar, RX, i, i == 2 ? ROOM + HEADER + 1 : 100, 1);
	}
	while ((n = receive(liar, frames)) >= 0) {
		for (int i = 0; i < n; i++) {
			assert_false(back[frames[i].buffer]);
			back[frames[i].buffer] = true;
		}
	}
	assert_int_equal(n, -EPROTO);
	assert_int_equal(vl_driver_rx_room(liar->driver, 0), 0);
	assert_int_equal(vl_driver_rx_post(liar->driver, 0, frames, 1), 0);
	while (vl_driver_reclaim(liar->driver, 0, &name, 1) == 1) {
		assert_false(back[name]);
		back[name] = true;
	}
	for (unsigned i = 0; i < 20; i++)
		assert_true(back[i]);
	liar_close(liar);
}

/* ---- sending ---- */

static void a_sent_frame_that_never_was_one_stops_the_pair(void **state)
{
	struct vl_driver_stats stats;
	struct liar *liar = open_variant(state);

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(send_one(liar), 1);
	liar_use(liar, TX, 100, 0, 1);
	/* Soon, if not at once: it is looked for when there are some to be collected. */
	int n = 1;
	for (unsigned i = 0; i < 70 && n > 0; i++)
		n = send_one(liar);
	assert_int_equal(n, -EPROTO);
	vl_driver_stats(liar->driver, 0, &stats);
	assert_non_null(stats.broken);
	check_stopped(liar);
	liar_close(liar);
}

/* Other pairs go on. */
static void a_stopped_pair_stops_no_other(void **state)
{
	struct vl_driver_config config = {.queue_pairs = 2, .queue_size = 64, .rx_buffers = POSTED};
	struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];
	struct vl_driver_stats stats;
	struct liar *liar = liar_init();

	assert_int_equal(liar_open(liar, *state, &config), 0);
	liar_use(liar, RX, 20, 100, 1);
	assert_int_equal(receive(liar, frames), -EPROTO);
	check_stopped(liar);
	liar_header(liar, 2 + RX, 0)->num_buffers = 1;
	liar_use(liar, 2 + RX, 0, 100, 1);
	assert_int_equal(vl_driver_rx_burst(liar->driver, 1, frames, 64), 1);
	vl_driver_free(liar->driver, 1, frames, 1);
	vl_driver_stats(liar->driver, 1, &stats);
	assert_null(stats.broken);
	liar_close(liar);
}

/* ---- whatever is written ---- */

static void scribble(struct liar *liar, struct random *random, unsigned index)
{
	const struct liar_ring *ring = &liar->rings[index];
	bool packed = liar->driver->variant.packed;
	uint64_t start[3] = {ring->desc, ring->avail, ring->used};
	uint32_t size[3] = {
		16 * ring->size,
		packed ? 4 : 6 + 2 * ring->size,
		packed ? 4 : 6 + 8 * ring->size,
	};
	unsigned area = random_below(random, 3);
	uint8_t *at = (uint8_t *)(uintptr_t)start[area] + random_below(random, size[area]);

	*at = (uint8_t)(*at ^ 1 << random_below(random, 8));
}

/* As liar_header(), of a descriptor that may have been scribbled on. */
static struct vl_net_header *rx_header(struct liar *liar, uint32_t slot)
{
	const struct driver_pair *pair = &liar->driver->pairs[0];

	if (pair->rx_buffers[slot] == 0)
		slot = 0;
	return (void *)(buffer_data(pair->rx_buffers[slot]) - HEADER);
}

static void lie_somehow(struct liar *liar, struct random *random, unsigned index)
{
	const struct driver_ring *ring =
		index == RX ? &liar->driver->pairs[0].rx : &liar->driver->pairs[0].tx;
	uint32_t slot = driver_ring_slot(
		ring, ring->tail + random_below(random, 2) * random_below(random, 3)
	);

	if (random_below(random, 12) == 0) {
		scribble(liar, random, index);
		return;
	}
	if (index == RX)
		rx_header(liar, slot)->num_buffers = (uint16_t)random_below(random, 4);
	liar_use(
		liar,
		index,
		slot,
		random_below(random, ROOM + HEADER + 10),
		(uint16_t)(1 + random_below(random, 8) / 7)
	);
}

/* Every frame lies in a buffer of the driver's, and fits there. */
static void check_frames(const struct liar *liar, const struct vl_driver_frame *frames, int n)
{
	const struct driver_region *region = &liar->driver->regions[0];

	for (int i = 0; i < n; i++) {
		uint64_t room = (uint64_t)(frames[i].data - region->arena.base);
		const uint8_t *buffer =
			(const uint8_t *)(frames[i].buffer & ~(uintptr_t)BUFFER_MASK);

		check(frames[i].data >= buffer);
		check(frames[i].data + frames[i].length
		      <= buffer + DRIVER_DATA_OFFSET + liar->driver->config.buffer_size);
		check(room + frames[i].length <= region->arena.size);
	}
}

static void nothing_outside_the_buffers_is_handed_out(void **state)
{
	for (uint32_t seed = 1; seed <= 12; seed++) {
		struct random random = {seed * UINT64_C(7919)};
		struct liar *liar = open_variant(state);
		int n = 0;

		for (unsigned step = 0; step < 3000 && n >= 0; step++) {
			struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];

			if (random_below(&random, 3) > 0)
				(void)send_one(liar);
			lie_somehow(liar, &random, random_below(&random, 2) ? RX : TX);
			n = vl_driver_rx_burst(
				liar->driver, 0, frames, 1 + random_below(&random, 100)
			);
			check(n >= 0 || n == -EPROTO);
			check_frames(liar, frames, n);
			if (n > 0)
				vl_driver_free(liar->driver, 0, frames, (unsigned)n);
			(void)vl_driver_sleep(liar->driver, 0);
		}
		if (n < 0)
			check_stopped(liar);
		liar_close(liar);
	}
}

/* ---- */

static const struct variant_test tests[] = {
	VARIANT_TEST(who_dies_or_falls_silent_does_not_hold_up_the_end),
	VARIANT_TEST(a_buffer_that_was_not_posted_stops_the_pair),
	VARIANT_TEST(a_length_that_cannot_be_stops_the_pair),
	VARIANT_TEST(the_longest_and_the_shortest_frame_are_taken),
	VARIANT_TEST(an_impossible_number_of_buffers_stops_the_pair),
	VARIANT_TEST(a_frame_waits_for_all_its_buffers),
	VARIANT_TEST(a_stopped_pair_gives_its_buffers_back),
	VARIANT_TEST(a_sent_frame_that_never_was_one_stops_the_pair),
	VARIANT_TEST(a_stopped_pair_stops_no_other),
	VARIANT_TEST(nothing_outside_the_buffers_is_handed_out),
};

int main(void)
{
	const struct CMUnitTest messages[] = {
		cmocka_unit_test(every_lie_in_every_message_is_survived),
		cmocka_unit_test(offers_that_make_no_sense_are_refused),
		cmocka_unit_test(a_back_end_of_few_words_is_enough),
		cmocka_unit_test(what_is_said_unasked_ends_the_session),
		cmocka_unit_test(a_link_that_goes_down_is_seen),
		cmocka_unit_test(rings_go_on_after_memory_was_added_or_refused),
		cmocka_unit_test(no_more_regions_are_shared_than_are_taken),
		cmocka_unit_test(a_command_that_nobody_answers_times_out),
		cmocka_unit_test(a_command_that_was_answered_by_nonsense_fails),
	};

	return run_for_all_variants("driver, lying rings", tests, COUNT_OF(tests))
	       + cmocka_run_group_tests_name("driver, lying messages", messages, NULL, NULL);
}
