/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forwarding by itself, with ports that only note what they get. Frames that come in one burst are
 * decided on in runs; each of them has to fare as if it had come alone.
 */
#include <rte_eal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "check.h"
#include "net/frame.h"
#include "packets.h"
#include "port/eal.h"
#include "switch/state.h"
#include "traffic.h"

enum {
	PORTS = 5,
	STATIONS = 2, /* addresses behind each port */
	FRAMES = 6000,
	FRAME_MAX = 200,
	SMALL_FRAME = 120, /* bytes, the most that one of the ports takes */
	VLAN = 5,
	VLANS = 3,
	NUMBER_AT = 40, /* bytes into a frame, where its number is */
};

/* What a port got: number, and how it looked. */
struct note {
	uint32_t number, size;
	uint8_t header[ETHER_HEADER_SIZE + 4];
};

struct noter {
	struct port port;
	struct note *notes;
	unsigned count;
};

/* A switch without threads: the test is its worker. */
struct world {
	struct switch_state *sw;
	struct noter ports[PORTS];
};

/* ---- ports that note ---- */

static unsigned
note_frames(struct port *port, unsigned queue, const struct vl_frame *const *frames, unsigned count, int *results, struct vl_copier *)
{
	struct noter *noter = (struct noter *)port;

	assert_int_equal(queue, 0);
	for (unsigned i = 0; i < count; i++) {
		struct note *note = &noter->notes[noter->count++];
		uint8_t bytes[FRAME_MAX + 8];

		assert_true(frames[i]->size <= sizeof(bytes));
		frame_flatten(frames[i], bytes);
		*note = (struct note){.size = frames[i]->size};
		memcpy(note->header, bytes, sizeof(note->header));
		/* A tag that was put in or taken out moves it by four bytes. */
		unsigned at = NUMBER_AT + (load_be16(bytes + 12) == ETHERTYPE_VLAN_TAG ? 4 : 0);
		memcpy(&note->number, bytes + at, sizeof(note->number));
		results[i] = DELIVERED;
	}
	return count;
}

static void flush_nothing(struct port *, unsigned) {}

static bool take_large(const struct port *, const struct vl_net_header *)
{
	return true;
}

static unsigned one_queue(const struct port *)
{
	return 1;
}

static const struct port_ops noter_ops = {
	.copy_in = note_frames,
	.flush = flush_nothing,
	.accepts = take_large,
	.tx_queues = one_queue,
};

static struct port_wire no_wire;

/* Different enough that every way out of forwarding is taken. */
static void policy_of_port(unsigned id, struct port_policy *policy)
{
	switch (id) {
	case 1: /* access port */
		policy->vlan = VLAN;
		policy->trunk = false;
		break;
	case 2: /* short frames only */
		policy->max_frame = SMALL_FRAME;
		break;
	case 3:
	case 4:
		policy->isolate = 1;
		break;
	default:
		break;
	}
}

/* ---- worlds ---- */

static struct world world;

static void world_open(void)
{
	struct switch_state *sw = calloc(1, sizeof(*sw));
	size_t bytes = (rte_rcu_qsbr_get_memsize(1) + 63) / 64 * 64;

	assert_non_null(sw);
	memset(&world, 0, sizeof(world));
	world.sw = sw;
	sw->qsbr = aligned_alloc(64, bytes);
	assert_non_null(sw->qsbr);
	assert_int_equal(rte_rcu_qsbr_init(sw->qsbr, 1), 0);
	sw->macs = mac_table_create(1024, PORTS_MAX);
	assert_non_null(sw->macs);
	sw->settings.worker_count = 1;
	sw->workers[0].sw = sw;
	sw->workers[0].counters = calloc(PORTS_MAX, sizeof(struct counters));
	assert_non_null(sw->workers[0].counters);
	for (unsigned id = 0; id < PORTS; id++) {
		struct noter *noter = &world.ports[id];
		struct port_settings settings;

		port_settings_default(&settings);
		policy_of_port(id, &settings.policy);
		assert_int_equal(port_init(&noter->port, &noter_ops, &settings, id, NULL), 0);
		noter->notes = calloc((size_t)2 * FRAMES, sizeof(noter->notes[0]));
		assert_non_null(noter->notes);
		atomic_store(&sw->ports[id], &noter->port);
	}
	atomic_store(&sw->port_count, PORTS);
	atomic_store(&sw->id_limit, PORTS);
}

static void world_close(void)
{
	for (unsigned id = 0; id < PORTS; id++) {
		port_fini(&world.ports[id].port);
		free(world.ports[id].notes);
	}
	mac_table_destroy(world.sw->macs);
	free(world.sw->workers[0].counters);
	free(world.sw->qsbr);
	free(world.sw);
}

/* ---- frames ---- */

struct made {
	uint8_t bytes[FRAME_MAX];
	uint32_t size;
	struct iovec tail;
};

static void station(unsigned port, unsigned n, uint8_t mac[6])
{
	const uint8_t bytes[6] = {0x02, 0, 0, 0, (uint8_t)port, (uint8_t)n};

	memcpy(mac, bytes, sizeof(bytes));
}

/* A tag with a priority, in the n-th VLAN: 0, 5, 10. */
static void make_tag(uint8_t *to, unsigned n)
{
	store_be16(to, ETHERTYPE_VLAN_TAG);
	store_be16(to + 2, (uint16_t)(0x6000 | n * VLAN));
}

static void make_destination(struct random *random, uint8_t mac[6])
{
	static const uint8_t others[][6] = {
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0x01, 0x80, 0xc2, 0, 0, 1}, /* reserved */
		{0x02, 0xee, 0, 0, 0, 1},    /* nobody's */
	};
	uint32_t kind = random_below(random, 16);

	if (kind < COUNT_OF(others))
		memcpy(mac, others[kind], 6);
	else
		station(random_below(random, PORTS), random_below(random, STATIONS), mac);
}

/* A frame whose Ethernet header is another's, or a new one of any kind. */
static void make_frame(
	struct random *random,
	unsigned port,
	uint32_t number,
	const struct made *before,
	struct made *made
)
{
	pattern_fill(made->bytes, sizeof(made->bytes), number + 1);
	made->size = 60 + random_below(random, FRAME_MAX - 60);
	if (before != NULL && random_below(random, 4) != 0) {
		memcpy(made->bytes, before->bytes, ETHER_HEADER_SIZE + 4);
		/* Tags differ behind what is the same in neighbours. */
		if (load_be16(made->bytes + 12) == ETHERTYPE_VLAN_TAG
		    && random_below(random, 2) == 0)
			make_tag(made->bytes + 12, random_below(random, VLANS));
	} else {
		make_destination(random, made->bytes);
		station(port, random_below(random, STATIONS), made->bytes + 6);
		store_be16(made->bytes + 12, 0x0800);
		if (random_below(random, 6) == 0)
			make_tag(made->bytes + 12, random_below(random, VLANS));
		if (random_below(random, 20) == 0)
			made->bytes[6] |= 1; /* a source that is a group */
	}
	if (random_below(random, 30) == 0)
		made->size = random_below(random, ETHER_HEADER_SIZE);
	unsigned at = NUMBER_AT + (load_be16(made->bytes + 12) == ETHERTYPE_VLAN_TAG ? 4 : 0);
	memcpy(made->bytes + at, &number, sizeof(number));
}

/* As a device lends it. */
static void lend(struct made *made, struct vl_frame *frame)
{
	*frame = (struct vl_frame){.size = made->size};
	frame->head = frame->bytes;
	frame->head_size = made->size < VL_HEAD_MAX ? (uint16_t)made->size : VL_HEAD_MAX;
	memcpy(frame->bytes, made->bytes, frame->head_size);
	made->tail.iov_base = made->bytes + frame->head_size;
	made->tail.iov_len = made->size - frame->head_size;
	frame->tail = &made->tail;
	frame->tail_count = made->tail.iov_len > 0;
}

/* Every station sends a frame in each VLAN, so that each is known: what a burst's own frames teach
 * counts from the next one on. */
static void introduce_all(void)
{
	struct worker *worker = &world.sw->workers[0];

	for (unsigned i = 0; i < PORTS * STATIONS * VLANS; i++) {
		unsigned id = i / VLANS / STATIONS;
		struct made made = {.size = 64};

		memset(made.bytes, 0xff, 6);
		station(id, i / VLANS % STATIONS, made.bytes + 6);
		make_tag(made.bytes + 12, i % VLANS);
		lend(&made, &worker->frames[0]);
		assert_int_equal(forward_burst(worker, &world.ports[id].port, 0, 1, &no_wire), 1);
	}
}

/* The same frames in the same order: in bursts, or one by one. */
static void run_world(bool alone)
{
	static struct made made[VL_BURST_MAX];
	struct worker *worker = &world.sw->workers[0];
	struct random random = {77};

	introduce_all();
	for (uint32_t number = 0; number < FRAMES;) {
		unsigned port = random_below(&random, PORTS);
		unsigned n = 1 + random_below(&random, VL_BURST_MAX);

		for (unsigned i = 0; i < n; i++, number++)
			make_frame(&random, port, number, i == 0 ? NULL : &made[i - 1], &made[i]);
		for (unsigned i = 0; i < n; i += alone ? 1 : n) {
			unsigned count = alone ? 1 : n;

			for (unsigned k = 0; k < count; k++)
				lend(&made[i + k], &worker->frames[k]);
			assert_int_equal(
				forward_burst(worker, &world.ports[port].port, 0, count, &no_wire),
				count
			);
		}
	}
}

static uint64_t counter(const _Atomic uint64_t *value)
{
	return atomic_load((_Atomic uint64_t *)value);
}

/* rx_frames + rx_replicated = tx_frames + tx_merged + all drops */
static void check_law(const struct counters *counters)
{
	uint64_t in = 0, out = 0;

	for (unsigned id = 0; id < PORTS; id++) {
		in += counter(&counters[id].rx_frames) + counter(&counters[id].rx_replicated);
		out += counter(&counters[id].tx_frames) + counter(&counters[id].tx_merged);
		for (unsigned i = 0; i < DROP_COUNT; i++)
			out += counter(&counters[id].drops[i]);
	}
	assert_int_equal(in, out);
}

static void frames_of_a_burst_fare_as_if_alone(void **)
{
	static struct noter alone[PORTS];
	static struct counters counters[PORTS];
	static const enum drop_reason reasons[] = {
		DROP_RUNT,
		DROP_BAD_SOURCE,
		DROP_VLAN,
		DROP_RESERVED,
		DROP_SAME_PORT,
		DROP_ISOLATED,
		DROP_OVERSIZE,
		DROP_TOO_LARGE,
	};

	world_open();
	run_world(true);
	for (unsigned id = 0; id < PORTS; id++) {
		alone[id] = world.ports[id];
		world.ports[id].notes = NULL;
		memcpy(&counters[id], &world.sw->workers[0].counters[id], sizeof(counters[id]));
	}
	world_close();
	check_law(counters);
	for (unsigned i = 0; i < COUNT_OF(reasons); i++) { /* or the test is none */
		uint64_t drops = 0;

		for (unsigned id = 0; id < PORTS; id++)
			drops += counter(&counters[id].drops[reasons[i]]);
		assert_true(drops > 0);
	}

	world_open();
	run_world(false);
	for (unsigned id = 0; id < PORTS; id++) {
		assert_true(world.ports[id].count > FRAMES / 100);
		assert_int_equal(world.ports[id].count, alone[id].count);
		assert_memory_equal(
			world.ports[id].notes,
			alone[id].notes,
			alone[id].count * sizeof(alone[id].notes[0])
		);
		assert_memory_equal(
			&world.sw->workers[0].counters[id], &counters[id], sizeof(counters[id])
		);
		free(alone[id].notes);
	}
	world_close();
}

static unsigned
refuse_frames(struct port *, unsigned, const struct vl_frame *const *, unsigned, int *, struct vl_copier *)
{
	return 0;
}

/* From port 0 to port 4, which has no buffers; returns how many frames are done with. */
static unsigned send_over_stuck_wire(const uint32_t *sizes, unsigned count, bool stuck)
{
	static const struct port_ops refuser_ops = {
		.copy_in = refuse_frames,
		.flush = flush_nothing,
		.accepts = take_large,
		.tx_queues = one_queue,
	};
	static uint8_t bytes[9000];
	struct worker *worker = &world.sw->workers[0];
	struct port *from = &world.ports[0].port, *to = &world.ports[4].port;
	struct iovec tail = {bytes, sizeof(bytes)};

	to->ops = &refuser_ops;
	memcpy(atomic_load(&from->policy)->cross_connect, "other", 6);
	atomic_load(&from->policy)->max_frame = sizeof(bytes);
	atomic_load(&to->policy)->max_frame = sizeof(bytes);
	atomic_store(&from->partner, to);
	for (unsigned i = 0; i < count; i++) {
		struct vl_frame *frame = &worker->frames[i];

		*frame = (struct vl_frame){.size = sizes[i], .tail = &tail, .tail_count = 1};
		frame->head = frame->bytes;
		frame->head_size = VL_HEAD_MAX;
		station(0, 1, frame->head + 6);
	}
	struct port_wire wire = {.stuck = stuck};
	return forward_burst(worker, from, 0, count, &wire);
}

/* One that needs more buffers than its receiver will ever post would else hold all others up. */
static void a_wire_that_is_stuck_drops_a_large_frame_at_last(void **)
{
	static const uint32_t large[] = {9000, 100, 9000}, small[] = {100, 9000};
	const _Atomic uint64_t *drops;

	world_open();
	drops = &world.sw->workers[0].counters[4].drops[DROP_NO_BUFFER];
	assert_int_equal(send_over_stuck_wire(large, 3, false), 0);
	assert_int_equal(send_over_stuck_wire(small, 2, true), 0);
	assert_int_equal(counter(drops), 0);
	assert_int_equal(send_over_stuck_wire(large, 3, true), 1);
	assert_int_equal(counter(drops), 1);
	assert_int_equal(send_over_stuck_wire(large, 1, true), 1);
	check_law(world.sw->workers[0].counters);
	world_close();
}

/* ---- receivers that take no large frames ---- */

/* A port that has buffers for so many frames, and keeps what it got: TCP's payload, in a row. */
static struct {
	unsigned buffers, frames;
	uint32_t size;
	uint8_t bytes[3 * PACKET_MAX];
} small;

static unsigned
take_small(struct port *, unsigned, const struct vl_frame *const *frames, unsigned count, int *results, struct vl_copier *)
{
	static uint8_t flat[PACKET_MAX];
	unsigned n = 0;

	for (; n < count && small.buffers > 0; n++, small.buffers--) {
		check(frames[n]->header.gso_type == VL_GSO_NONE);
		check(frames[n]->size <= 1514);
		frame_flatten(frames[n], flat);
		memcpy(small.bytes + small.size, flat + 54, frames[n]->size - 54);
		small.size += frames[n]->size - 54;
		small.frames++;
		results[n] = DELIVERED;
	}
	return n;
}

static bool take_no_large(const struct port *, const struct vl_net_header *)
{
	return false;
}

static const struct port_ops small_ops = {
	.copy_in = take_small,
	.flush = flush_nothing,
	.accepts = take_no_large,
	.tx_queues = one_queue,
};

enum {
	LARGE_COUNT = 3,
};

struct large {
	uint8_t bytes[LARGE_COUNT][PACKET_MAX];
	uint32_t sizes[LARGE_COUNT];
	struct iovec tails[LARGE_COUNT];
	struct vl_net_header headers[LARGE_COUNT];
	uint8_t payload[3 * PACKET_MAX];
	uint32_t payload_size;
	unsigned segments;
};

/* Frames of TCP from port 0 to port 4, of which the one in the middle need not be cut. */
static void make_large(struct large *large)
{
	memset(large, 0, sizeof(*large));
	for (unsigned i = 0; i < LARGE_COUNT; i++) {
		struct packet packet = {
			.sequence = i * 100000,
			.payload = i == 1 ? 700 : 60000 - i,
			.seed = i,
		};

		large->sizes[i] = packet_make(&packet, large->bytes[i], &large->headers[i]);
		if (i != 1)
			large->headers[i] = packet_large(&packet, 1400, false);
		station(4, 1, large->bytes[i]);
		station(0, 1, large->bytes[i] + 6);
		memcpy(large->payload + large->payload_size, large->bytes[i] + 54, packet.payload);
		large->payload_size += packet.payload;
		large->segments += (packet.payload + 1399) / 1400;
	}
}

static void lend_large(struct large *large, unsigned first)
{
	for (unsigned i = first; i < LARGE_COUNT; i++) {
		struct vl_frame *frame = &world.sw->workers[0].frames[i - first];
		uint8_t *bytes = large->bytes[i];

		large->tails[i] =
			(struct iovec){bytes + VL_HEAD_MAX, large->sizes[i] - VL_HEAD_MAX};
		*frame = (struct vl_frame){
			.header = large->headers[i],
			.size = large->sizes[i],
			.tail = &large->tails[i],
			.tail_count = 1,
			.head_size = VL_HEAD_MAX,
		};
		frame->head = frame->bytes;
		memcpy(frame->bytes, bytes, VL_HEAD_MAX);
	}
}

static void open_small_receiver(bool wired)
{
	struct port *from = &world.ports[0].port, *to = &world.ports[4].port;

	memset(&small, 0, sizeof(small));
	to->ops = &small_ops;
	if (!wired)
		return;
	memcpy(atomic_load(&from->policy)->cross_connect, "other", 6);
	atomic_store(&from->partner, to);
}

static void check_cut(const struct large *large)
{
	const struct counters *counters = world.sw->workers[0].counters;

	assert_int_equal(small.frames, large->segments);
	assert_int_equal(small.size, large->payload_size);
	assert_memory_equal(small.bytes, large->payload, small.size);
	assert_int_equal(counter(&counters[4].tx_cut), 2);
}

static void large_frames_are_cut_for_who_takes_none(void **)
{
	static struct large large;

	world_open();
	open_small_receiver(false);
	small.buffers = UINT32_MAX;
	introduce_all();
	memset(&small, 0, sizeof(small));
	small.buffers = UINT32_MAX;
	make_large(&large);
	lend_large(&large, 0);
	assert_int_equal(
		forward_burst(
			&world.sw->workers[0], &world.ports[0].port, 0, LARGE_COUNT, &no_wire
		),
		LARGE_COUNT
	);
	check_cut(&large);
	check_law(world.sw->workers[0].counters);
	world_close();
}

/* Whatever number of buffers there are at a time, each segment goes once. */
static void a_wire_cuts_as_far_as_there_are_buffers(void **)
{
	static struct large large;

	for (unsigned buffers = 1; buffers < 130; buffers += 6) {
		unsigned done = 0;

		world_open();
		open_small_receiver(true);
		make_large(&large);
		struct port_wire wire = {0};
		while (done < LARGE_COUNT) {
			small.buffers = buffers;
			lend_large(&large, done);
			done += forward_burst(
				&world.sw->workers[0],
				&world.ports[0].port,
				0,
				LARGE_COUNT - done,
				&wire
			);
			check_law(world.sw->workers[0].counters);
		}
		check_cut(&large);
		world_close();
	}
}

static void a_frame_of_too_many_segments_is_dropped(void **)
{
	static struct large large;
	const struct counters *counters;

	world_open();
	open_small_receiver(true);
	make_large(&large);
	large.headers[0].gso_size = 58; /* 1035 of them */
	large.headers[2].gso_size = 59; /* 1018 */
	lend_large(&large, 0);
	small.buffers = UINT32_MAX;
	assert_int_equal(
		forward_burst(
			&world.sw->workers[0], &world.ports[0].port, 0, LARGE_COUNT, &no_wire
		),
		LARGE_COUNT
	);
	counters = world.sw->workers[0].counters;
	assert_int_equal(counter(&counters[0].drops[DROP_SEGMENTS]), 1);
	assert_int_equal(small.frames, 1 + (60000 - 2 + 58) / 59);
	check_law(counters);
	world_close();
}

static int before_all(void **)
{
	struct error error;

	return eal_start(&error);
}

static int after_all(void **)
{
	return rte_eal_cleanup();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_of_a_burst_fare_as_if_alone),
		cmocka_unit_test(large_frames_are_cut_for_who_takes_none),
		cmocka_unit_test(a_wire_cuts_as_far_as_there_are_buffers),
		cmocka_unit_test(a_frame_of_too_many_segments_is_dropped),
		cmocka_unit_test(a_wire_that_is_stuck_drops_a_large_frame_at_last),
	};

	return cmocka_run_group_tests(tests, before_all, after_all);
}
