/* SPDX-License-Identifier: BSD-3-Clause */
/* What the sender of a frame is told that is too large for where it goes. */
#include "net/too_large.h"

#include <string.h>

#include "check.h"
#include "net/frame.h"
#include "packets.h"
#include "traffic.h"

static uint8_t bytes[PACKET_MAX], made[TOO_LARGE_ANSWER_MAX];

static bool ask(const struct packet *packet, uint32_t mtu, struct vl_frame *answer)
{
	struct vl_net_header header;
	struct built_frame built;
	uint32_t size = packet_make(packet, bytes, &header);

	frame_build(&built, bytes, size, VL_HEAD_MAX, NULL);
	return frame_answer_too_large(&built.frame, mtu, made, answer);
}

/* Addresses of both layers the other way around, sums right, the packet quoted. */
static void check_answer(const struct packet *packet, const struct vl_frame *answer, uint32_t mtu)
{
	struct packet_layout layout = packet_layout(packet);
	const uint8_t *ip = made + layout.ip, *asked = bytes + layout.ip;
	uint32_t ip_size = packet->ip6 ? 40 : 20, address = packet->ip6 ? 16 : 4;
	uint32_t from = packet->ip6 ? 8 : 12;
	const uint8_t *icmp = ip + ip_size;
	uint32_t size = answer->size - layout.ip - ip_size;

	assert_ptr_equal(answer->head, made);
	assert_int_equal(answer->head_size, answer->size);
	assert_memory_equal(made, bytes + 6, 6);
	assert_memory_equal(made + 6, bytes, 6);
	assert_memory_equal(made + 12, bytes + 12, layout.ip - 12);
	assert_memory_equal(ip + from, asked + from + address, address);
	assert_memory_equal(ip + from + address, asked + from, address);
	assert_memory_equal(icmp + 8, asked, size - 8);
	assert_true(size - 8 >= layout.l4 - layout.ip + 8);
	if (packet->ip6) {
		uint32_t pseudo = packet_pseudo_sum(ip, true, 58, size);
		uint32_t rest = (uint16_t)~traffic_checksum(icmp, size);

		assert_int_equal(ip[6], 58);
		assert_int_equal(load_be16(ip + 4), size);
		assert_int_equal(icmp[0], 2);
		assert_int_equal(load_be16(icmp + 6), mtu);
		assert_int_equal((pseudo + rest) % 0xffff, 0);
	} else {
		assert_int_equal(ip[9], 1);
		assert_int_equal(load_be16(ip + 2), size + 20);
		assert_int_equal((uint16_t)~traffic_checksum(ip, 20) % 0xffff, 0);
		assert_int_equal(icmp[0], 3);
		assert_int_equal(icmp[1], 4);
		assert_int_equal(load_be16(icmp + 6), mtu);
		assert_int_equal((uint16_t)~traffic_checksum(icmp, size) % 0xffff, 0);
	}
}

static void a_sender_is_told_what_fits(void **)
{
	for (unsigned form = 0; form < 2 * 2 * 3 * 3; form++) {
		struct packet packet = {
			.ip6 = form % 2,
			.udp = form / 2 % 2,
			.tags = form / 4 % 3,
			.ip_words = form / 12,
			.payload = 3000,
		};
		struct vl_frame answer;

		assert_true(ask(&packet, 1500, &answer));
		check_answer(&packet, &answer, 1500);
	}
}

static void nobody_is_told_who_did_not_ask_for_it(void **)
{
	struct packet packet = {.udp = true, .payload = 3000};
	struct vl_frame answer;
	struct vl_net_header header;
	static const struct {
		uint32_t at;
		uint8_t value;
	} changes[] = {
		{0, 0x03},  /* to a group */
		{6, 0x03},  /* from one */
		{12, 0x86}, /* not IP */
		{20, 0x00}, /* may be cut */
		{20, 0x60}, /* a fragment */
		{23, 1},    /* ICMP */
		{30, 224},  /* to a group, of IP */
	};

	for (unsigned i = 0; i < COUNT_OF(changes); i++) {
		struct built_frame built;
		uint32_t size = packet_make(&packet, bytes, &header);

		bytes[changes[i].at] = changes[i].value;
		frame_build(&built, bytes, size, VL_HEAD_MAX, NULL);
		assert_false(frame_answer_too_large(&built.frame, 1500, made, &answer));
	}
	packet.ip6 = true;
	assert_true(ask(&packet, 1280, &answer));
	assert_false(ask(&packet, 1279, &answer));
	assert_false(ask(&packet, 70000, &answer));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sender_is_told_what_fits),
		cmocka_unit_test(nobody_is_told_who_did_not_ask_for_it),
	};

	return cmocka_run_group_tests_name("too_large", tests, NULL, NULL);
}
