/* SPDX-License-Identifier: BSD-3-Clause */
/* Offloads at the receiver, and the configuration space. */
#include <string.h>

#include "net/frame.h"
#include "traffic.h"
#include "variants.h"

enum {
	RX = 0,
	FRAME_MAX = 9000,
};

static uint8_t sent[FRAME_MAX], got[FRAME_MAX + 100];

static void open_with(struct front *front, const struct variant *variant, uint64_t features)
{
	struct front_options options = {.features = variant_features(variant) | features};

	front_open(front, &options);
}

/* ---- checksums ---- */

static void check_completed(struct front *front, const struct built_frame *built)
{
	uint32_t size = built->frame.size;
	uint32_t start = built->frame.header.csum_start;
	uint32_t at = start + built->frame.header.csum_offset;
	uint16_t sum = traffic_checksum(sent + start, size - start);
	struct vl_net_header header;

	traffic_post(front, RX, 1, size + 12, NULL, GUEST_CHAINED);
	assert_int_equal(traffic_deliver(front, 0, built), VL_DELIVERED);
	assert_int_equal(traffic_receive(front, RX, &header, got, sizeof(got)), size);
	assert_int_equal(header.flags, 0);
	assert_int_equal(header.csum_start, 0);
	assert_int_equal(header.csum_offset, 0);
	assert_int_equal(load_be16(got + at), sum);
	assert_memory_equal(got, sent, at);
	assert_memory_equal(got + at + 2, sent + at + 2, size - at - 2);
}

static void a_missing_checksum_is_computed(void **state)
{
	struct random random = {21};
	struct front front;

	open_with(&front, *state, 0);
	for (unsigned round = 0; round < 2000; round++) {
		struct built_frame built;
		struct cuts cuts = {.count = random_below(&random, 8)};
		uint32_t size = 34 + random_below(&random, round % 50 == 0 ? 8000 : 200);

		front.guest.regions[GUEST_LOW].used = 1 << 20;
		pattern_fill(sent, size, round);
		for (unsigned i = 0; i < cuts.count; i++)
			cuts.sizes[i] = 1 + random_below(&random, 13);
		frame_build(&built, sent, size, VL_HEAD_MAX, &cuts);
		uint32_t start = 14 + random_below(&random, size - 14 - 2);
		built.frame.header = (struct vl_net_header){
			.flags = VL_NET_NEEDS_CSUM,
			.csum_start = (uint16_t)start,
			.csum_offset = (uint16_t)random_below(&random, size - start - 1),
		};
		check_completed(&front, &built);
	}
	front_close(&front);
}

/* The place of the sum lies on the border of head and tail, or of two pieces of the tail. */
static void a_checksum_may_lie_across_pieces(void **state)
{
	struct front front;

	open_with(&front, *state, 0);
	pattern_fill(sent, 200, 5);
	for (uint32_t at = 50; at < 120; at++) {
		struct built_frame built;
		struct cuts cuts = {12, {1, 1, 1, 2, 3, 1, 1, 5, 7, 1, 2, 3}};

		frame_build(&built, sent, 200, VL_HEAD_MAX, &cuts);
		built.frame.header = (struct vl_net_header){
			.flags = VL_NET_NEEDS_CSUM,
			.csum_start = 34,
			.csum_offset = (uint16_t)(at - 34),
		};
		check_completed(&front, &built);
	}
	front_close(&front);
}

static void a_sum_of_zero_is_sent_as_ffff(void **state)
{
	struct built_frame built;
	struct front front;

	open_with(&front, *state, 0);
	memset(sent, 0, 64);
	sent[40] = sent[41] = 0xff;
	frame_build(&built, sent, 64, VL_HEAD_MAX, NULL);
	built.frame.header = (struct vl_net_header
	){.flags = VL_NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};
	check_completed(&front, &built);
	assert_int_equal(load_be16(got + 40), 0xffff);
	front_close(&front);
}

static void a_partial_checksum_is_passed_on_to_who_takes_it(void **state)
{
	struct built_frame built;
	struct vl_net_header header;
	struct front front;

	open_with(&front, *state, BIT(VL_F_GUEST_CSUM));
	pattern_fill(sent, 100, 5);
	frame_build(&built, sent, 100, VL_HEAD_MAX, NULL);
	built.frame.header = (struct vl_net_header
	){.flags = VL_NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	traffic_post(&front, RX, 1, 200, NULL, GUEST_CHAINED);
	assert_int_equal(traffic_deliver(&front, 0, &built), VL_DELIVERED);
	assert_int_equal(traffic_receive(&front, RX, &header, got, sizeof(got)), 100);
	assert_int_equal(header.flags, VL_NET_NEEDS_CSUM);
	assert_int_equal(header.csum_start, 34);
	assert_int_equal(header.csum_offset, 16);
	assert_memory_equal(got, sent, 100);
	front_close(&front);
}

/* ---- segmentation ---- */

static const struct {
	const char *name;
	uint8_t gso_type;
	uint64_t needs;
} gso_kinds[] = {
	{"TSO4", VL_GSO_TCPV4, BIT(VL_F_GUEST_TSO4)},
	{"TSO6", VL_GSO_TCPV6, BIT(VL_F_GUEST_TSO6)},
	{"TSO4 with ECN", VL_GSO_TCPV4 | VL_GSO_ECN, BIT(VL_F_GUEST_TSO4) | BIT(VL_F_GUEST_ECN)},
	{"TSO6 with ECN", VL_GSO_TCPV6 | VL_GSO_ECN, BIT(VL_F_GUEST_TSO6) | BIT(VL_F_GUEST_ECN)},
	{"UFO", VL_GSO_UDP, BIT(VL_F_GUEST_UFO)},
	{"USO", VL_GSO_UDP_L4, BIT(VL_F_GUEST_USO4) | BIT(VL_F_GUEST_USO6)},
};

static int deliver_gso(struct front *front, uint8_t gso_type)
{
	struct built_frame built;

	frame_build(&built, sent, 4000, VL_HEAD_MAX, NULL);
	built.frame.header = (struct vl_net_header){
		.flags = VL_NET_NEEDS_CSUM,
		.gso_type = gso_type,
		.hdr_len = 54,
		.gso_size = 1460,
		.csum_start = 34,
		.csum_offset = 16,
	};
	return traffic_deliver(front, 0, &built);
}

static void a_large_frame_needs_every_feature_it_uses(void **state)
{
	for (unsigned i = 0; i < COUNT_OF(gso_kinds); i++) {
		uint64_t needs = gso_kinds[i].needs | BIT(VL_F_GUEST_CSUM);

		print_message("           %s\n", gso_kinds[i].name);
		/* Every subset of the features that are needed: only the whole set will do. */
		for (uint64_t part = needs;; part = (part - 1) & needs) {
			struct vl_net_header header;
			struct front front;

			open_with(&front, *state, part);
			traffic_post(&front, RX, 1, 5000, NULL, GUEST_CHAINED);
			int result = deliver_gso(&front, gso_kinds[i].gso_type);
			assert_int_equal(result, part == needs ? VL_DELIVERED : VL_NO_OFFLOAD);
			if (part == needs) {
				traffic_receive(&front, RX, &header, got, sizeof(got));
				assert_int_equal(header.gso_type, gso_kinds[i].gso_type);
				assert_int_equal(header.gso_size, 1460);
				assert_int_equal(header.hdr_len, 54);
				assert_int_equal(header.num_buffers, 1);
			}
			front_close(&front);
			if (part == 0)
				break;
		}
	}
}

/* ---- configuration space ---- */

enum {
	CONFIG_MAC = 0,
	CONFIG_STATUS = 6,
	CONFIG_PAIRS = 8,
	CONFIG_MTU = 10,
};

/* GET_CONFIG; returns the bytes of the reply's content, -1 for the reply that says error. */
static int
get_config(struct front *front, uint32_t offset, uint32_t size, uint32_t said, uint8_t *out)
{
	struct vhost_message message = {
		.header = {VHOST_USER_GET_CONFIG, VHOST_VERSION, VHOST_CONFIG_HEADER + size},
		.payload.config = {.offset = offset, .size = said},
	};
	struct vhost_message reply;

	memset(message.payload.config.bytes, 0xee, size);
	assert_int_equal(front_send(front, &message), 0);
	assert_true(front_reply(front, &reply));
	assert_int_equal(reply.header.size, VHOST_CONFIG_HEADER + reply.payload.config.size);
	if (reply.payload.config.size == 0)
		return -1;
	assert_int_equal(reply.payload.config.offset, offset);
	memcpy(out, reply.payload.config.bytes, reply.payload.config.size);
	return (int)reply.payload.config.size;
}

static void every_part_of_the_configuration_can_be_read(void **state)
{
	uint8_t whole[VHOST_CONFIG_MAX], part[VHOST_CONFIG_MAX];
	uint16_t value;
	struct front front;

	open_with(&front, *state, 0);
	assert_int_equal(get_config(&front, 0, 256, 256, whole), 256);
	assert_memory_equal(whole + CONFIG_MAC, front_mac, 6);
	memcpy(&value, whole + CONFIG_STATUS, 2);
	assert_int_equal(value, 1);
	memcpy(&value, whole + CONFIG_PAIRS, 2);
	assert_int_equal(value, 1);
	memcpy(&value, whole + CONFIG_MTU, 2);
	assert_int_equal(value, FRONT_MTU);
	for (unsigned i = 64; i < 256; i++)
		assert_int_equal(whole[i], 0);
	for (uint32_t offset = 0; offset < 256; offset += 3) {
		for (uint32_t size = 1; size <= 256 - offset; size += 7) {
			assert_int_equal(get_config(&front, offset, size, size, part), (int)size);
			assert_memory_equal(part, whole + offset, size);
		}
	}
	front_close(&front);
}

static void a_read_outside_the_configuration_is_an_error(void **state)
{
	static const struct {
		uint32_t offset, size, said;
	} bad[] = {
		{0, 8, 7},
		{0, 8, 9},
		{0, 0, 8},
		{0, 8, UINT32_MAX},
		{249, 8, 8},
		{256, 1, 1},
		{UINT32_MAX, 8, 8},
		{UINT32_MAX - 7, 8, 8},
		{1, 256, 256},
	};
	uint8_t out[VHOST_CONFIG_MAX];
	struct front front;

	open_with(&front, *state, 0);
	for (unsigned i = 0; i < COUNT_OF(bad); i++)
		assert_int_equal(
			get_config(&front, bad[i].offset, bad[i].size, bad[i].said, out), -1
		);
	assert_int_equal(get_config(&front, 0, 8, 8, out), 8);
	front_close(&front);
}

static int set_config(struct front *front, uint32_t offset, uint32_t size, uint32_t flags)
{
	struct vhost_config config = {.offset = offset, .size = size, .flags = flags};

	memset(config.bytes, 0x42, size);
	return front_request(
		front, VHOST_USER_SET_CONFIG, &config, VHOST_CONFIG_HEADER + size, NULL, 0
	);
}

static void a_modern_driver_cannot_write(void **state)
{
	uint8_t whole[64], after[64];
	struct front front;

	open_with(&front, *state, 0);
	assert_int_equal(get_config(&front, 0, 64, 64, whole), 64);
	for (uint32_t offset = 0; offset < 20; offset++)
		assert_int_equal(set_config(&front, offset, 2, 0), 1);
	assert_int_equal(get_config(&front, 0, 64, 64, after), 64);
	assert_memory_equal(whole, after, 64);
	front_close(&front);
}

static void a_legacy_driver_can_write_its_address_only(void **state)
{
	struct front_options options = {.features = variant_features(*state), .legacy = true};
	uint8_t whole[64];
	struct front front;

	front_open(&front, &options);
	assert_int_equal(set_config(&front, 0, 6, 0), 0);
	assert_int_equal(get_config(&front, 0, 64, 64, whole), 64);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(whole[i], 0x42);
	assert_int_equal(set_config(&front, 5, 2, 0), 1);
	assert_int_equal(set_config(&front, 6, 2, 0), 1);
	assert_int_equal(set_config(&front, UINT32_MAX, 6, 0), 1);
	assert_int_equal(set_config(&front, UINT32_MAX - 1, 2, 0), 1);
	front_close(&front);
}

static void a_migration_restores_the_address(void **state)
{
	uint8_t whole[64];
	struct front front;

	open_with(&front, *state, 0);
	assert_int_equal(set_config(&front, 0, 60, VHOST_CONFIG_MIGRATION), 0);
	assert_int_equal(get_config(&front, 0, 64, 64, whole), 64);
	assert_int_equal(whole[0], 0x42);
	assert_int_equal(whole[5], 0x42);
	front_close(&front);
}

/* ---- features ---- */

static void what_is_withheld_is_not_offered(void **state)
{
	struct front_options options = {.withheld.word[0] = BIT(VL_F_MRG_RXBUF)};
	struct front front;

	front_attach(&front, &options);
	uint64_t offered = front_get(&front, VHOST_USER_GET_FEATURES);
	assert_false(offered & BIT(VL_F_MRG_RXBUF));
	assert_true(offered & BIT(VL_F_VERSION_1));
	assert_true(offered & BIT(VL_F_PROTOCOL_FEATURES));
	assert_true(offered & BIT(VL_F_MAC));
	assert_true(offered & BIT(VL_F_MTU));
	assert_false(offered & BIT(VL_F_MQ)); /* one pair */
	front_close(&front);
	(void)state;
}

static void what_was_not_offered_is_refused(void **state)
{
	struct front front;

	open_with(&front, *state, 0);
	uint64_t offered = front_get(&front, VHOST_USER_GET_FEATURES);
	for (unsigned bit = 0; bit < 64; bit++) {
		if (!((offered >> bit) & 1))
			assert_int_equal(
				front_request_u64(
					&front, VHOST_USER_SET_FEATURES, front.features | BIT(bit)
				),
				1
			);
	}
	assert_int_equal(
		front_status(&front).features.word[0] | BIT(VL_F_PROTOCOL_FEATURES), front.features
	);
	front_close(&front);
}

static const struct variant_test offload_tests[] = {
	VARIANT_TEST(a_missing_checksum_is_computed),
	VARIANT_TEST(a_checksum_may_lie_across_pieces),
	VARIANT_TEST(a_sum_of_zero_is_sent_as_ffff),
	VARIANT_TEST(a_partial_checksum_is_passed_on_to_who_takes_it),
	VARIANT_TEST(a_large_frame_needs_every_feature_it_uses),
	VARIANT_TEST(every_part_of_the_configuration_can_be_read),
	VARIANT_TEST(a_read_outside_the_configuration_is_an_error),
	VARIANT_TEST(a_modern_driver_cannot_write),
	VARIANT_TEST(a_legacy_driver_can_write_its_address_only),
	VARIANT_TEST(a_migration_restores_the_address),
	VARIANT_TEST(what_is_withheld_is_not_offered),
	VARIANT_TEST(what_was_not_offered_is_refused),
};

int main(void)
{
	return run_for_layouts("offloads", offload_tests, COUNT_OF(offload_tests));
}
