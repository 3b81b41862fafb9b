/* SPDX-License-Identifier: BSD-3-Clause */
/* The control queue, as a User Mode Linux guest uses it: commands, their status, and what the
 * device does differently afterwards. */
#include <linux/virtio_net.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "traffic.h"
#include "variants.h"

#define CONTROL_FEATURES                                                                       \
	(BIT(VL_F_CTRL_VQ) | BIT(VL_F_CTRL_RX) | BIT(VL_F_CTRL_RX_EXTRA) | BIT(VL_F_CTRL_VLAN) \
	 | BIT(VL_F_CTRL_MAC_ADDR) | BIT(VL_F_GUEST_ANNOUNCE) | BIT(VL_F_CTRL_GUEST_OFFLOADS))

static const uint8_t own[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56}; /* front_mac */
static const uint8_t other[6] = {0x52, 0x54, 0x00, 0, 0, 9};
static const uint8_t group[6] = {0x01, 0x00, 0x5e, 0, 0, 1};
static const uint8_t group2[6] = {0x01, 0x00, 0x5e, 0, 0, 2};
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void open_with(struct front *front, const struct variant *variant, uint64_t features)
{
	struct front_options options = {
		.pairs = features & BIT(VL_F_MQ) ? 4 : 1,
		.control = true,
		.features = variant_features(variant) | CONTROL_FEATURES | features,
	};

	front_open(front, &options);
	for (unsigned pair = 0; 2 * pair + 1 < front->ring_count; pair++)
		traffic_post(front, 2 * pair, 100, 128, NULL, GUEST_CHAINED);
}

static void open_front(struct front *front, const struct variant *variant)
{
	open_with(front, variant, 0);
}

/* Whether a frame to an address (and in a VLAN, unless 0) gets through the filter. */
static bool wants_on(struct front *front, const uint8_t *destination, uint16_t vlan)
{
	uint8_t bytes[60] = {0};
	struct built_frame built;

	memcpy(bytes, destination, 6);
	memcpy(bytes + 6, other, 6);
	if (vlan != 0) {
		bytes[12] = 0x81;
		bytes[14] = (uint8_t)(vlan >> 8);
		bytes[15] = (uint8_t)vlan;
	}
	frame_build(&built, bytes, sizeof(bytes), 64, NULL);
	int result = traffic_deliver(front, 0, &built);
	assert_true(result == VL_DELIVERED || result == VL_FILTERED);
	return result == VL_DELIVERED;
}

static bool wants(struct front *front, const uint8_t *destination)
{
	return wants_on(front, destination, 0);
}

static void rx_mode(struct front *front, uint8_t command, uint8_t on)
{
	assert_int_equal(control_command(front, VIRTIO_NET_CTRL_RX, command, &on, 1), CONTROL_OK);
}

static void not_promiscuous(struct front *front)
{
	rx_mode(front, VIRTIO_NET_CTRL_RX_PROMISC, 0);
}

/* ---- receive filter ---- */

static void everything_is_wanted_before_the_first_command(void **state)
{
	struct front front;

	open_front(&front, *state);
	assert_true(wants(&front, own));
	assert_true(wants(&front, other));
	assert_true(wants(&front, group));
	assert_true(wants(&front, broadcast));
	assert_true(wants_on(&front, own, 7));
	front_close(&front);
}

static void without_promiscuity_own_and_broadcast_are_wanted(void **state)
{
	struct front front;

	open_front(&front, *state);
	not_promiscuous(&front);
	assert_true(wants(&front, own));
	assert_false(wants(&front, other));
	assert_false(wants(&front, group));
	assert_true(wants(&front, broadcast));
	rx_mode(&front, VIRTIO_NET_CTRL_RX_PROMISC, 1);
	assert_true(wants(&front, other));
	front_close(&front);
}

static void each_receive_mode_changes_its_kind_of_frame(void **state)
{
	static const struct {
		uint8_t command;
		bool own, other, group, broadcast;
	} modes[] = {
		{VIRTIO_NET_CTRL_RX_ALLMULTI, true, false, true, true},
		{VIRTIO_NET_CTRL_RX_ALLUNI, true, true, false, true},
		{VIRTIO_NET_CTRL_RX_NOMULTI, true, false, false, true},
		{VIRTIO_NET_CTRL_RX_NOUNI, false, false, false, true},
		{VIRTIO_NET_CTRL_RX_NOBCAST, true, false, false, false},
	};

	for (unsigned i = 0; i < COUNT_OF(modes); i++) {
		struct front front;

		open_front(&front, *state);
		not_promiscuous(&front);
		rx_mode(&front, modes[i].command, 1);
		assert_int_equal(wants(&front, own), modes[i].own);
		assert_int_equal(wants(&front, other), modes[i].other);
		assert_int_equal(wants(&front, group), modes[i].group);
		assert_int_equal(wants(&front, broadcast), modes[i].broadcast);
		rx_mode(&front, modes[i].command, 0);
		assert_true(wants(&front, own));
		assert_false(wants(&front, other));
		assert_true(wants(&front, broadcast));
		front_close(&front);
	}
}

static int set_mac_tables(
	struct front *front,
	const uint8_t (*unicast)[6],
	uint32_t unicast_count,
	const uint8_t (*multicast)[6],
	uint32_t multicast_count
)
{
	uint8_t data[4096];
	uint32_t size = control_mac_table(data, unicast, unicast_count);

	size += control_mac_table(data + size, multicast, multicast_count);
	return control_command(
		front, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, data, size
	);
}

static void addresses_in_the_tables_are_wanted(void **state)
{
	struct front front;

	open_front(&front, *state);
	not_promiscuous(&front);
	assert_int_equal(set_mac_tables(&front, &other, 1, &group, 1), CONTROL_OK);
	assert_true(wants(&front, own));
	assert_true(wants(&front, other));
	assert_true(wants(&front, group));
	assert_false(wants(&front, group2));
	assert_int_equal(set_mac_tables(&front, NULL, 0, &group2, 1), CONTROL_OK);
	assert_false(wants(&front, other));
	assert_false(wants(&front, group));
	assert_true(wants(&front, group2));
	front_close(&front);
}

static void more_addresses_than_fit_mean_all_of_their_kind(void **state)
{
	uint8_t many[100][6];
	struct front front;

	for (unsigned i = 0; i < COUNT_OF(many); i++)
		memcpy(many[i], (uint8_t[6]){0x02, 0, 0, 0, 1, (uint8_t)i}, 6);
	open_front(&front, *state);
	not_promiscuous(&front);
	assert_int_equal(
		set_mac_tables(&front, (const uint8_t(*)[6])many, 64, NULL, 0), CONTROL_OK
	);
	assert_true(wants(&front, many[63]));
	assert_false(wants(&front, other));
	assert_int_equal(
		set_mac_tables(&front, (const uint8_t(*)[6])many, 65, NULL, 0), CONTROL_OK
	);
	assert_true(wants(&front, other));
	assert_false(wants(&front, group));
	assert_int_equal(
		set_mac_tables(&front, NULL, 0, (const uint8_t(*)[6])many, 65), CONTROL_OK
	);
	assert_true(wants(&front, group));
	front_close(&front);
}

static void a_table_that_fits_again_ends_the_overflow(void **state)
{
	uint8_t many[65][6] = {0};
	struct front front;

	open_front(&front, *state);
	not_promiscuous(&front);
	assert_int_equal(
		set_mac_tables(&front, (const uint8_t(*)[6])many, 65, NULL, 0), CONTROL_OK
	);
	assert_int_equal(set_mac_tables(&front, NULL, 0, NULL, 0), CONTROL_OK);
	assert_false(wants(&front, other));
	front_close(&front);
}

/* CVE-2026-86564: lengths that do not agree with the counts. */
static void mac_tables_of_wrong_length_are_refused(void **state)
{
	struct front front;
	uint8_t good[2 * (4 + 2 * 6)];
	static const uint8_t macs[2][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};
	uint32_t size = control_mac_table(good, macs, 2);

	size += control_mac_table(good + size, macs, 2);
	open_front(&front, *state);
	not_promiscuous(&front);
	for (uint32_t cut = 0; cut < size; cut++)
		assert_int_equal(
			control_command(
				&front,
				VIRTIO_NET_CTRL_MAC,
				VIRTIO_NET_CTRL_MAC_TABLE_SET,
				good,
				cut
			),
			CONTROL_ERROR
		);
	for (unsigned i = 0; i < 2; i++) {
		static const uint32_t counts[] = {
			3, 5, 0x10000, 0x2aaaaaaa, 0x2aaaaaab, 0x80000000, UINT32_MAX};
		uint8_t bad[sizeof(good)];

		for (unsigned c = 0; c < COUNT_OF(counts); c++) {
			memcpy(bad, good, sizeof(bad));
			memcpy(bad + i * 16, &counts[c], sizeof(counts[c]));
			assert_int_equal(
				control_command(
					&front,
					VIRTIO_NET_CTRL_MAC,
					VIRTIO_NET_CTRL_MAC_TABLE_SET,
					bad,
					sizeof(bad)
				),
				CONTROL_ERROR
			);
		}
	}
	/* A command that fills all the room there is, and says that it goes on. */
	uint8_t full[2046] = {0};
	for (uint32_t count = 330; count < 400; count++) {
		memcpy(full, &count, sizeof(count));
		assert_int_equal(
			control_command(
				&front,
				VIRTIO_NET_CTRL_MAC,
				VIRTIO_NET_CTRL_MAC_TABLE_SET,
				full,
				sizeof(full)
			),
			CONTROL_ERROR
		);
	}
	assert_false(wants(&front, macs[0]));
	assert_true(wants(&front, own));
	front_close(&front);
}

static void the_address_can_be_set(void **state)
{
	struct front front;

	open_front(&front, *state);
	not_promiscuous(&front);
	assert_int_equal(
		control_command(
			&front, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6
		),
		CONTROL_OK
	);
	assert_true(wants(&front, other));
	assert_false(wants(&front, own));
	front_close(&front);
}

static int vlan(struct front *front, uint8_t command, uint16_t id)
{
	return control_command(front, VIRTIO_NET_CTRL_VLAN, command, &id, sizeof(id));
}

static void only_added_vlans_are_wanted(void **state)
{
	struct front front;

	open_front(&front, *state);
	not_promiscuous(&front);
	assert_false(wants_on(&front, own, 7));
	assert_int_equal(vlan(&front, VIRTIO_NET_CTRL_VLAN_ADD, 7), CONTROL_OK);
	assert_int_equal(vlan(&front, VIRTIO_NET_CTRL_VLAN_ADD, 4095), CONTROL_OK);
	assert_true(wants_on(&front, own, 7));
	assert_true(wants_on(&front, own, 0xe007)); /* with a priority */
	assert_true(wants_on(&front, own, 0xe000)); /* with a priority only */
	assert_true(wants_on(&front, own, 4095));
	assert_false(wants_on(&front, own, 8));
	assert_false(wants_on(&front, other, 7));
	assert_true(wants(&front, own));
	assert_int_equal(vlan(&front, VIRTIO_NET_CTRL_VLAN_DEL, 7), CONTROL_OK);
	assert_false(wants_on(&front, own, 7));
	assert_int_equal(vlan(&front, VIRTIO_NET_CTRL_VLAN_ADD, 4096), CONTROL_ERROR);
	assert_int_equal(vlan(&front, VIRTIO_NET_CTRL_VLAN_ADD, 65535), CONTROL_ERROR);
	front_close(&front);
}

/* ---- queues and offloads ---- */

static int choose_pairs(struct front *front, uint16_t pairs)
{
	return control_command(
		front, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs, sizeof(pairs)
	);
}

static void the_driver_chooses_how_many_pairs_are_used(void **state)
{
	struct front front;

	open_with(&front, *state, BIT(VL_F_MQ));
	assert_int_equal(vl_device_active_pairs(front.device), 4);
	for (uint16_t pairs = 1; pairs <= 4; pairs++) {
		assert_int_equal(choose_pairs(&front, pairs), CONTROL_OK);
		assert_int_equal(vl_device_active_pairs(front.device), pairs);
	}
	assert_int_equal(choose_pairs(&front, 0), CONTROL_ERROR);
	assert_int_equal(choose_pairs(&front, 5), CONTROL_ERROR);
	assert_int_equal(choose_pairs(&front, 65535), CONTROL_ERROR);
	assert_int_equal(vl_device_active_pairs(front.device), 4);
	front_close(&front);
}

/* Without MQ the control queue is virtqueue 2 (5.1.2), which is no receive queue. */
static void a_control_queue_without_mq_is_no_second_pair(void **state)
{
	const struct variant *variant = *state;
	struct front_options options = {
		.pairs = 4,
		.features = variant_features(variant) | CONTROL_FEATURES,
	};
	struct guest_ring_options ring = {
		.size = 64,
		.packed = variant->packed,
		.event_idx = variant->event_idx,
		.start_wrap = true,
	};
	struct front front;

	front_attach(&front, &options);
	front_negotiate(&front, options.features | BIT(VL_F_VERSION_1));
	assert_int_equal(front_share_memory(&front), 0);
	front.ring_count = 3;
	for (unsigned i = 0; i < 3; i++) {
		guest_ring_open(&front.rings[i], &front.guest, &ring);
		front_start_ring(&front, i, &front.rings[i]);
		front_enable_ring(&front, i, true);
	}
	assert_int_equal(front.callbacks.control_kick_fd >= 0, 1);
	assert_int_equal(vl_device_active_pairs(front.device), 1);
	assert_false(vl_device_ready(front.device, 1, true));
	not_promiscuous(&front);
	front_close(&front);
}

static int deliver_partial(struct front *front)
{
	uint8_t bytes[100] = {0};
	struct built_frame built;

	memcpy(bytes, own, 6);
	frame_build(&built, bytes, sizeof(bytes), 64, NULL);
	built.frame.header = (struct vl_net_header){
		.flags = VL_NET_NEEDS_CSUM,
		.gso_type = VL_GSO_TCPV4,
		.gso_size = 40,
		.hdr_len = 54,
		.csum_start = 34,
		.csum_offset = 16,
	};
	return traffic_deliver(front, 0, &built);
}

static int set_offloads(struct front *front, uint64_t offloads)
{
	return control_command(
		front,
		VIRTIO_NET_CTRL_GUEST_OFFLOADS,
		VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
		&offloads,
		sizeof(offloads)
	);
}

static const uint64_t guest_offloads = BIT(VL_F_GUEST_CSUM) | BIT(VL_F_GUEST_TSO4);

static void offloads_can_be_switched_off_and_on(void **state)
{
	struct front front;

	open_with(&front, *state, guest_offloads);
	assert_int_equal(deliver_partial(&front), VL_DELIVERED);
	assert_int_equal(set_offloads(&front, 0), CONTROL_OK);
	assert_int_equal(deliver_partial(&front), VL_NO_OFFLOAD);
	assert_int_equal(set_offloads(&front, guest_offloads), CONTROL_OK);
	assert_int_equal(deliver_partial(&front), VL_DELIVERED);
	assert_int_equal(set_offloads(&front, BIT(VL_F_GUEST_TSO6)), CONTROL_ERROR);
	assert_int_equal(deliver_partial(&front), VL_DELIVERED);
	front_close(&front);
}

/* ---- driver resets ---- */

static void reset_driver(struct front *front)
{
	assert_int_equal(front_request_u64(front, VHOST_USER_SET_STATUS, 0), 0);
}

static void a_driver_reset_ends_the_filter(void **state)
{
	struct front front;

	open_front(&front, *state);
	not_promiscuous(&front);
	reset_driver(&front);
	assert_true(wants(&front, other));
	front_close(&front);
}

static void a_driver_reset_restores_offloads(void **state)
{
	struct front front;

	open_with(&front, *state, guest_offloads);
	assert_int_equal(set_offloads(&front, 0), CONTROL_OK);
	reset_driver(&front);
	assert_int_equal(deliver_partial(&front), VL_DELIVERED);
	front_close(&front);
}

static void a_driver_reset_forgets_the_chosen_pairs(void **state)
{
	struct front front;

	open_with(&front, *state, BIT(VL_F_MQ));
	assert_int_equal(choose_pairs(&front, 2), CONTROL_OK);
	reset_driver(&front);
	/* Anything that makes the device count again. */
	front_enable_ring(&front, 0, true);
	assert_int_equal(vl_device_active_pairs(front.device), 4);
	front_close(&front);
}

static void read_mac(struct front *front, uint8_t *mac)
{
	struct vhost_message message = {
		.header = {VHOST_USER_GET_CONFIG, VHOST_VERSION, VHOST_CONFIG_HEADER + 6},
		.payload.config = {.size = 6},
	};
	struct vhost_message reply;

	assert_int_equal(front_send(front, &message), 0);
	assert_true(front_reply(front, &reply));
	memcpy(mac, reply.payload.config.bytes, 6);
}

/* What one guest chose is nothing to the next one on the port. */
static void the_next_session_has_the_ports_own_address(void **state)
{
	struct front front;
	uint8_t mac[6];

	open_front(&front, *state);
	assert_int_equal(
		control_command(
			&front, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6
		),
		CONTROL_OK
	);
	read_mac(&front, mac);
	assert_memory_equal(mac, other, 6);
	vl_device_detach(front.device);
	front_reattach(&front);
	front_negotiate(&front, BIT(VL_F_VERSION_1));
	read_mac(&front, mac);
	assert_memory_equal(mac, own, 6);
	front_close(&front);
}

/* ---- form of commands ---- */

static void commands_of_wrong_length_are_refused(void **state)
{
	static const struct {
		uint8_t class, command;
		uint32_t size;
	} good[] = {
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, 1},
		{VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 6},
		{VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 2},
		{VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2},
		{VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, 8},
	};
	static const uint8_t data[16] = {1};
	struct front front;

	open_with(&front, *state, BIT(VL_F_MQ) | BIT(VL_F_GUEST_CSUM));
	for (unsigned i = 0; i < COUNT_OF(good); i++) {
		for (uint32_t size = 0; size < sizeof(data); size++) {
			uint8_t ones[16] = {1};

			/* Bit 0 is no offload that can be switched. */
			if (good[i].class == VIRTIO_NET_CTRL_GUEST_OFFLOADS)
				ones[0] = 1 << VL_F_GUEST_CSUM;
			assert_int_equal(
				control_command(&front, good[i].class, good[i].command, ones, size),
				size == good[i].size ? CONTROL_OK : CONTROL_ERROR
			);
		}
	}
	front_close(&front);
}

static void unknown_commands_are_refused(void **state)
{
	static const uint8_t data[8] = {0};
	struct front front;

	open_with(&front, *state, BIT(VL_F_MQ));
	for (unsigned class = 0; class < 256; class ++) {
		for (uint32_t size = 0; size <= 8; size += 4)
			assert_int_equal(
				control_command(&front, (uint8_t) class, 250, data, size),
				CONTROL_ERROR
			);
	}
	assert_int_equal(control_raw(&front, data, 1, 0), CONTROL_ERROR);
	assert_true(wants(&front, other));
	front_close(&front);
}

static void classes_need_their_features(void **state)
{
	struct front_options options = {
		.control = true,
		.features = variant_features(*state) | BIT(VL_F_CTRL_VQ),
	};
	const uint8_t one = 1;
	const uint16_t pairs = 1;
	struct front front;

	front_open(&front, &options);
	assert_int_equal(
		control_command(&front, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &one, 1),
		CONTROL_ERROR
	);
	assert_int_equal(vlan(&front, VIRTIO_NET_CTRL_VLAN_ADD, 1), CONTROL_ERROR);
	assert_int_equal(choose_pairs(&front, pairs), CONTROL_ERROR);
	assert_int_equal(set_offloads(&front, 0), CONTROL_ERROR);
	front_close(&front);
}

static void an_announcement_is_acknowledged(void **state)
{
	struct front front;

	open_front(&front, *state);
	assert_int_equal(
		control_command(
			&front, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0
		),
		CONTROL_OK
	);
	front_close(&front);
}

static void a_command_may_be_cut_into_bytes(void **state)
{
	const uint8_t bytes[] = {
		VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 0x52, 0x54, 0, 0, 0, 9};
	struct front front;

	for (uint32_t cut = 1; cut <= sizeof(bytes); cut++) {
		open_front(&front, *state);
		not_promiscuous(&front);
		assert_int_equal(control_raw(&front, bytes, sizeof(bytes), cut), CONTROL_OK);
		assert_true(wants(&front, other));
		front_close(&front);
	}
}

static void a_command_too_long_to_be_one_is_refused(void **state)
{
	uint8_t bytes[2049] = {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC};
	struct front front;

	open_front(&front, *state);
	assert_int_equal(control_raw(&front, bytes, sizeof(bytes), 0), CONTROL_ERROR);
	assert_int_equal(control_raw(&front, bytes, sizeof(bytes) - 1, 0), CONTROL_ERROR);
	assert_null(front_queue(&front, 2).broken);
	front_close(&front);
}

static void a_command_without_room_for_its_status_breaks_the_queue(void **state)
{
	struct guest_piece piece = {0};
	struct front front;
	uint64_t value;

	open_front(&front, *state);
	piece = (struct guest_piece){guest_alloc(&front.guest, 8), 3, false};
	assert_true(guest_ring_add(&front.rings[2], &piece, 1, GUEST_CHAINED, 0));
	vl_device_control_process(front.device);
	assert_string_equal(
		front_queue(&front, 2).broken, "a control command without room for its status"
	);
	assert_int_equal(read(front.rings[2].err_fd, &value, sizeof(value)), sizeof(value));
	assert_true(wants(&front, own));
	front_close(&front);
}

/* More commands than are served in one go, over many laps of the ring. */
static void many_commands_are_all_answered(void **state)
{
	struct front front;
	struct guest_used used;
	unsigned answered = 0;

	open_front(&front, *state);
	for (unsigned i = 0; i < 80; i++) {
		uint64_t address = guest_alloc(&front.guest, 4);
		struct guest_piece pieces[] = {{address, 3, false}, {address + 3, 1, true}};

		memcpy(guest_at(&front.guest, address),
		       (uint8_t[]){VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0, 9},
		       4);
		assert_true(guest_ring_add(&front.rings[2], pieces, 2, GUEST_CHAINED, i));
	}
	guest_ring_kick(&front.rings[2]);
	assert_true(vl_device_control_process(front.device)); /* there is more */
	assert_false(vl_device_control_process(front.device));
	while (guest_ring_reap(&front.rings[2], &used))
		assert_int_equal(used.cookie, answered++);
	assert_int_equal(answered, 80);
	for (unsigned i = 0; i < 1000; i++)
		rx_mode(&front, VIRTIO_NET_CTRL_RX_ALLMULTI, i % 2);
	front_close(&front);
}

/* ---- a driver that rewrites a command while it is read ---- */

struct flipper {
	uint8_t *count; /* of MAC_TABLE_SET */
	atomic_bool stop;
};

static void *flip(void *context)
{
	struct flipper *flipper = context;
	struct random random = {31};

	while (!atomic_load_explicit(&flipper->stop, memory_order_relaxed)) {
		uint32_t value = random_below(&random, 3) ? 3 : (uint32_t)random_next(&random);

		__atomic_store_n((uint32_t *)(void *)flipper->count, value, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* CVE-2026-86562: what is counted and what is copied come from one reading. */
static void a_command_that_changes_while_it_is_read_does_no_harm(void **state)
{
	struct flipper flipper = {0};
	struct guest_used used;
	struct front front;
	pthread_t thread;

	open_front(&front, *state);
	uint64_t address = guest_alloc(&front.guest, 64);
	uint8_t *bytes = guest_at(&front.guest, address);
	/* Class, command, count, three addresses, count 0; at an odd place for the thread's sake.
	 */
	struct guest_piece pieces[] = {
		{address + 2, 2 + 4 + 18 + 4, false}, {address + 40, 1, true}};
	bytes[2] = VIRTIO_NET_CTRL_MAC;
	bytes[3] = VIRTIO_NET_CTRL_MAC_TABLE_SET;
	flipper.count = bytes + 4;
	assert_int_equal(pthread_create(&thread, NULL, flip, &flipper), 0);
	for (unsigned i = 0; i < 3000; i++) {
		assert_true(guest_ring_add(&front.rings[2], pieces, 2, GUEST_CHAINED, 0));
		vl_device_control_process(front.device);
		assert_true(guest_ring_reap(&front.rings[2], &used));
	}
	atomic_store(&flipper.stop, true);
	pthread_join(thread, NULL);
	assert_true(wants(&front, own));
	front_close(&front);
}

static const struct variant_test control_tests[] = {
	VARIANT_TEST(everything_is_wanted_before_the_first_command),
	VARIANT_TEST(without_promiscuity_own_and_broadcast_are_wanted),
	VARIANT_TEST(each_receive_mode_changes_its_kind_of_frame),
	VARIANT_TEST(addresses_in_the_tables_are_wanted),
	VARIANT_TEST(more_addresses_than_fit_mean_all_of_their_kind),
	VARIANT_TEST(a_table_that_fits_again_ends_the_overflow),
	VARIANT_TEST(mac_tables_of_wrong_length_are_refused),
	VARIANT_TEST(the_address_can_be_set),
	VARIANT_TEST(only_added_vlans_are_wanted),
	VARIANT_TEST(the_driver_chooses_how_many_pairs_are_used),
	VARIANT_TEST(a_control_queue_without_mq_is_no_second_pair),
	VARIANT_TEST(offloads_can_be_switched_off_and_on),
	VARIANT_TEST(a_driver_reset_ends_the_filter),
	VARIANT_TEST(a_driver_reset_restores_offloads),
	VARIANT_TEST(a_driver_reset_forgets_the_chosen_pairs),
	VARIANT_TEST(the_next_session_has_the_ports_own_address),
	VARIANT_TEST(commands_of_wrong_length_are_refused),
	VARIANT_TEST(unknown_commands_are_refused),
	VARIANT_TEST(classes_need_their_features),
	VARIANT_TEST(an_announcement_is_acknowledged),
	VARIANT_TEST(a_command_may_be_cut_into_bytes),
	VARIANT_TEST(a_command_too_long_to_be_one_is_refused),
	VARIANT_TEST(a_command_without_room_for_its_status_breaks_the_queue),
	VARIANT_TEST(many_commands_are_all_answered),
	VARIANT_TEST(a_command_that_changes_while_it_is_read_does_no_harm),
};

int main(void)
{
	return run_for_layouts("control queue", control_tests, COUNT_OF(control_tests));
}
