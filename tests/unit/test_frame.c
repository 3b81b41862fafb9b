/* SPDX-License-Identifier: BSD-3-Clause */
/* Parsing of frames: headers that lie, tags, flows, sums. */
#include "net/frame.h"

#include <arpa/inet.h>
#include <string.h>

#include "check.h"
#include "packets.h"
#include "traffic.h"

enum {
	FRAME_MAX = 66000,
	FLOWS = 4096,
	QUEUES = 4,
};

static uint8_t bytes[FRAME_MAX];

static struct built_frame make(uint32_t size)
{
	struct built_frame built;

	frame_build(&built, bytes, size, VL_HEAD_MAX, NULL);
	return built;
}

/* `built` was returned by value: its pointers go with it. */
static struct vl_frame *settle(struct built_frame *built)
{
	built->frame.head = built->frame.bytes;
	built->frame.tail = built->tail;
	return &built->frame;
}

static bool check_header(struct vl_frame *frame, struct vl_net_header header, uint32_t *need)
{
	frame->header = header;
	return frame_check_header(frame, need);
}

static uint32_t largest(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* ---- headers ---- */

/* CVE-2024-11614 */
static void the_sum_lies_inside_the_frame_or_it_is_refused(void **)
{
	static const uint32_t edges[] = {0, 1, 13, 14, 15, 33, 34, 35};
	uint32_t need;

	for (uint32_t size = 14; size < 140; size++) {
		struct built_frame built = make(size);
		struct vl_frame *frame = settle(&built);

		for (uint32_t start = 0; start < 150; start++) {
			for (uint32_t i = 0; i < 16; i++) {
				/* Around what just fits, and some others. */
				uint32_t fit = size > start + 2 ? size - start - 2 : 0;
				uint32_t offset = i < 8 ? edges[i] : largest(fit + i, 12) - 12;
				struct vl_net_header header = {
					.flags = VL_NET_NEEDS_CSUM,
					.csum_start = (uint16_t)start,
					.csum_offset = (uint16_t)offset,
				};
				bool good = start >= 14 && start + offset + 2 <= size;

				assert_int_equal(check_header(frame, header, &need), good);
				assert_int_equal(need, good ? VL_OFFLOAD_CSUM : 0);
			}
		}
	}
}

static void sums_near_the_end_of_16_bits_do_not_wrap(void **)
{
	static const uint16_t values[] = {0, 13, 14, 32767, 32768, 65520, 65533, 65534, 65535};
	uint32_t need;

	for (unsigned i = 0; i < COUNT_OF(values); i++) {
		for (unsigned k = 0; k < COUNT_OF(values); k++) {
			struct built_frame built = make(1500);
			struct vl_net_header header = {
				.flags = VL_NET_NEEDS_CSUM,
				.csum_start = values[i],
				.csum_offset = values[k],
			};
			bool good = values[i] >= 14 && (uint32_t)values[i] + values[k] + 2 <= 1500;

			assert_int_equal(check_header(settle(&built), header, &need), good);
		}
	}
}

static void what_a_sender_must_not_say_is_cleared(void **)
{
	struct built_frame built = make(100);
	struct vl_frame *frame = settle(&built);
	uint32_t need;

	assert_true(check_header(
		frame,
		(struct vl_net_header){
			.flags = (uint8_t)~VL_NET_NEEDS_CSUM,
			.hdr_len = 1000,
			.gso_size = 1000,
			.csum_start = 65535,
			.csum_offset = 65535,
			.num_buffers = 7,
		},
		&need
	));
	assert_memory_equal(&frame->header, &(struct vl_net_header){0}, sizeof(frame->header));
	assert_int_equal(need, 0);
}

/* A packet of the protocol that a type of large frame has, of 100 bytes; its virtio-net header. */
static struct vl_net_header make_large(uint8_t type, struct built_frame *built)
{
	uint8_t kind = type & (uint8_t)~VL_GSO_ECN;
	struct packet packet = {
		.ip6 = kind == VL_GSO_TCPV6,
		.udp = kind == VL_GSO_UDP || kind == VL_GSO_UDP_L4,
	};
	struct vl_net_header header;

	packet.payload = 100 - packet_layout(&packet).payload;
	(void)packet_make(&packet, bytes, &header);
	*built = make(100);
	header = packet_large(&packet, 20, false);
	header.gso_type = type;
	return header;
}

static void each_gso_type_has_its_need(void **)
{
	for (unsigned type = 0; type < 256; type++) {
		struct built_frame built;
		struct vl_net_header header = make_large((uint8_t)type, &built);
		bool ecn = type & VL_GSO_ECN;
		uint32_t expect = 0, need;

		switch (type & ~VL_GSO_ECN) {
		case VL_GSO_NONE:
			expect = ecn ? 0 : VL_OFFLOAD_CSUM;
			break;
		case VL_GSO_TCPV4:
			expect = VL_OFFLOAD_CSUM | VL_OFFLOAD_TSO4 | (ecn ? VL_OFFLOAD_ECN : 0);
			break;
		case VL_GSO_TCPV6:
			expect = VL_OFFLOAD_CSUM | VL_OFFLOAD_TSO6 | (ecn ? VL_OFFLOAD_ECN : 0);
			break;
		case VL_GSO_UDP:
			expect = ecn ? 0 : VL_OFFLOAD_CSUM | VL_OFFLOAD_UFO;
			break;
		case VL_GSO_UDP_L4:
			expect = ecn ? 0 : VL_OFFLOAD_CSUM | VL_OFFLOAD_USO;
			break;
		}
		bool good = check_header(settle(&built), header, &need);
		assert_int_equal(good, expect != 0);
		assert_int_equal(need, expect);
	}
}

/* 7023f3e532 */
static void segments_have_a_size_and_a_sum(void **)
{
	static const uint8_t types[] = {VL_GSO_TCPV4, VL_GSO_TCPV6, VL_GSO_UDP, VL_GSO_UDP_L4};
	uint32_t need;

	for (unsigned i = 0; i < COUNT_OF(types); i++) {
		for (unsigned flaw = 0; flaw < 3; flaw++) {
			struct built_frame built;
			struct vl_net_header header = make_large(types[i], &built);

			if (flaw == 1)
				header.flags = 0;
			if (flaw == 2)
				header.gso_size = 0;
			assert_int_equal(check_header(settle(&built), header, &need), flaw == 0);
		}
	}
}

static void a_header_length_that_lies_is_corrected(void **)
{
	static const uint8_t types[] = {VL_GSO_TCPV4, VL_GSO_TCPV6, VL_GSO_UDP, VL_GSO_UDP_L4};

	for (uint32_t said = 0; said < 70000; said += said < 150 ? 1 : 5000) {
		struct built_frame built;
		struct vl_net_header header = make_large(types[said % 4], &built);
		uint16_t right = header.hdr_len;
		struct vl_frame *frame = settle(&built);
		uint32_t need;

		header.hdr_len = (uint16_t)said;
		assert_true(check_header(frame, header, &need));
		/* TCP's over IPv6 does not show in the head: then what is said is kept within
		 * what it may be. */
		if (types[said % 4] == VL_GSO_TCPV6)
			assert_in_range(frame->header.hdr_len, 54 + 20, 54 + 60);
		else
			assert_int_equal(frame->header.hdr_len, right);
		if (types[said % 4] == VL_GSO_TCPV6 && said >= 74 && said <= 100)
			assert_int_equal(frame->header.hdr_len, said);
	}
}

/* A kernel or a NIC would cut it by its type, wherever that leads. */
static void a_large_frame_is_what_its_type_says(void **)
{
	static const uint8_t types[] = {VL_GSO_TCPV4, VL_GSO_TCPV6, VL_GSO_UDP, VL_GSO_UDP_L4};
	uint32_t need;

	for (unsigned i = 0; i < COUNT_OF(types); i++) {
		for (unsigned other = 0; other < COUNT_OF(types); other++) {
			struct built_frame built;
			struct vl_net_header header = make_large(types[i], &built);
			bool udp = i >= 2 && other >= 2; /* in datagrams or fragments */

			header.gso_type = types[other];
			assert_int_equal(
				check_header(settle(&built), header, &need), i == other || udp
			);
		}
	}
}

static void a_large_frame_whose_header_lies_is_refused(void **)
{
	static const struct {
		uint32_t at; /* of a byte of a frame with TCP in IPv4 */
		uint8_t value;
	} lies[] = {
		{12, 0x86},	 /* IPv6's type */
		{13, 0x06},	 /* ARP */
		{14, 0x44},	 /* a header of 16 bytes */
		{14, 0x55},	 /* version 5 */
		{14, 0x4f},	 /* options that are not there: the sum begins elsewhere */
		{20, 0x20},	 /* a fragment */
		{21, 0x01},	 /* likewise */
		{23, 17},	 /* UDP */
		{34 + 12, 0x40}, /* TCP's header of 16 bytes */
	};
	uint32_t need;

	for (unsigned i = 0; i < COUNT_OF(lies); i++) {
		struct built_frame built;
		struct vl_net_header header = make_large(VL_GSO_TCPV4, &built);

		assert_true(check_header(settle(&built), header, &need));
		bytes[lies[i].at] = lies[i].value;
		built = make(100);
		assert_false(check_header(settle(&built), header, &need));
	}
	for (int move = -3; move <= 3; move++) {
		struct built_frame built;
		struct vl_net_header header = make_large(VL_GSO_TCPV4, &built);

		header.csum_start = (uint16_t)(header.csum_start + move);
		assert_int_equal(check_header(settle(&built), header, &need), move == 0);
		header.csum_start = (uint16_t)(header.csum_start - move);
		header.csum_offset = (uint16_t)(header.csum_offset + move);
		assert_int_equal(check_header(settle(&built), header, &need), move == 0);
	}
}

/* ---- tags ---- */

static void put_tag(uint16_t tci)
{
	store_be16(bytes + 12, ETHERTYPE_VLAN_TAG);
	store_be16(bytes + 14, tci);
}

static void a_tag_is_seen_where_there_is_one(void **)
{
	for (uint32_t size = 14; size < 30; size++) {
		uint16_t tci = 0;

		pattern_fill(bytes, 64, size);
		put_tag(0xa123);
		struct built_frame tagged = make(size);
		assert_int_equal(frame_vlan_tag(settle(&tagged), &tci), size >= 18);
		assert_int_equal(tci, size >= 18 ? 0xa123 : 0);
		store_be16(bytes + 12, 0x88a8); /* an S-tag is none */
		struct built_frame other = make(size);
		assert_false(frame_vlan_tag(settle(&other), &tci));
	}
}

static void a_tag_is_pushed_and_popped(void **)
{
	for (uint32_t size = 14; size < 200; size++) {
		uint8_t flat[256], expect[256];
		uint16_t tci = 0;

		pattern_fill(bytes, size, size);
		struct built_frame built = make(size);
		struct vl_frame *frame = settle(&built);
		frame_push_vlan(frame, 0x6fff);
		assert_int_equal(frame->size, size + 4);
		memcpy(expect, bytes, 12);
		memcpy(expect + 12, "\x81\x00\x6f\xff", 4);
		memcpy(expect + 16, bytes + 12, size - 12);
		frame_flatten(frame, flat);
		assert_memory_equal(flat, expect, size + 4);
		assert_true(frame_vlan_tag(frame, &tci));
		assert_int_equal(tci, 0x6fff);
		frame_pop_vlan(frame);
		assert_int_equal(frame->size, size);
		frame_flatten(frame, flat);
		assert_memory_equal(flat, bytes, size);
	}
}

static void there_is_room_for_six_tags(void **)
{
	uint8_t flat[256];

	pattern_fill(bytes, 100, 3);
	struct built_frame built = make(100);
	struct vl_frame *frame = settle(&built);
	for (uint16_t i = 0; i < VL_HEAD_ROOM / VLAN_TAG_SIZE; i++)
		frame_push_vlan(frame, i);
	assert_ptr_equal(frame->head, frame->room);
	frame_flatten(frame, flat);
	assert_memory_equal(flat, bytes, 12);
	assert_memory_equal(flat + 12 + 24, bytes + 12, 88);
}

static void tags_move_the_offsets_of_those_who_use_them(void **)
{
	const struct vl_net_header large = {
		.flags = VL_NET_NEEDS_CSUM,
		.gso_type = VL_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 1400,
		.csum_start = 34,
		.csum_offset = 16,
	};
	struct built_frame built = make(3000);
	struct vl_frame *frame = settle(&built);

	frame->header = large;
	frame_push_vlan(frame, 5);
	assert_int_equal(frame->header.csum_start, 38);
	assert_int_equal(frame->header.csum_offset, 16);
	assert_int_equal(frame->header.hdr_len, 58);
	frame_pop_vlan(frame);
	assert_memory_equal(&frame->header, &large, sizeof(large));

	frame->header = (struct vl_net_header){0};
	frame_push_vlan(frame, 5);
	assert_memory_equal(&frame->header, &(struct vl_net_header){0}, sizeof(large));
}

/* Where the sum goes after a tag was popped must not be where the addresses are: who may send from
 * which address was decided before. */
static void popping_a_tag_leaves_the_sum_behind_the_addresses(void **)
{
	for (uint16_t start = 0; start < 60; start++) {
		struct vl_net_header header = {
			.flags = VL_NET_NEEDS_CSUM, .csum_start = start, .csum_offset = 0};
		uint32_t need;

		pattern_fill(bytes, 100, 3);
		put_tag(5);
		struct built_frame built = make(100);
		struct vl_frame *frame = settle(&built);
		if (!check_header(frame, header, &need))
			continue;
		frame_pop_vlan(frame);
		assert_in_range(frame->header.csum_start, ETHER_HEADER_SIZE, 100);
	}
}

static void pushing_a_tag_never_wraps_the_offsets(void **)
{
	for (uint32_t start = 65400; start < 65536; start++) {
		for (unsigned large = 0; large < 2; large++) {
			struct vl_net_header header = {
				.flags = VL_NET_NEEDS_CSUM,
				.gso_type = large ? VL_GSO_TCPV6 : VL_GSO_NONE,
				.gso_size = 100,
				.hdr_len = (uint16_t)start,
				.csum_start = (uint16_t)start,
				.csum_offset = large ? 16 : 0,
			};
			struct built_frame built = make(65550);
			struct vl_frame *frame = settle(&built);
			uint32_t need;

			/* Extensions of IPv6 that go on beyond the head. */
			store_be16(frame->head + 12, ETHERTYPE_IP6);
			frame->head[14] = 0x60;
			frame->head[20] = 0;
			frame->head[54] = 60;
			frame->head[55] = 255;
			if (!check_header(frame, header, &need))
				continue;
			frame_push_vlan(frame, 5);
			assert_in_range(frame->header.csum_start, start, UINT16_MAX);
			if (large)
				assert_in_range(frame->header.hdr_len, start, UINT16_MAX);
		}
	}
}

/* ---- flows ---- */

struct flow {
	uint8_t source[4], destination[4];
	uint8_t protocol;
	uint16_t source_port, destination_port;
};

/* An IPv4 frame of a flow; `fragment` is the field with the flags. */
static uint32_t
hash_ip4(const struct flow *flow, uint16_t fragment, unsigned options, bool tagged, uint16_t port)
{
	uint32_t at = tagged ? 18 : 14;

	memset(bytes, 0, 128);
	put_tag(5);
	store_be16(bytes + at - 2, ETHERTYPE_IP4);
	bytes[at] = (uint8_t)(0x45 + options);
	store_be16(bytes + at + 6, fragment);
	bytes[at + 9] = flow->protocol;
	memcpy(bytes + at + 12, flow->source, 4);
	memcpy(bytes + at + 16, flow->destination, 4);
	at += 20 + 4 * options;
	store_be16(bytes + at, port);
	store_be16(bytes + at + 2, flow->destination_port);
	struct built_frame built = make(100);
	return frame_flow_hash(settle(&built));
}

static struct flow flow_of(uint32_t n)
{
	struct random random = {n + 1};
	uint64_t value = random_next(&random);
	struct flow flow = {
		.source = {10, 0, 0, (uint8_t)value},
		.destination = {10, 0, 1, (uint8_t)(value >> 8)},
		.protocol = value >> 16 & 1 ? 6 : 17,
		.source_port = (uint16_t)(value >> 24),
		.destination_port = (uint16_t)(value >> 40),
	};

	return flow;
}

static uint32_t hash_of(const struct flow *flow)
{
	return hash_ip4(flow, 0, 0, false, flow->source_port);
}

static void frames_of_a_flow_hash_alike(void **)
{
	for (uint32_t n = 0; n < 100; n++) {
		struct flow flow = flow_of(n);
		uint32_t hash = hash_of(&flow);

		/* "don't fragment" and IP options do not matter */
		assert_int_equal(hash_ip4(&flow, 0x4000, 0, false, flow.source_port), hash);
		for (unsigned options = 1; options <= 6; options++)
			assert_int_equal(
				hash_ip4(&flow, 0, options, false, flow.source_port), hash
			);
	}
}

static void fragments_of_a_datagram_hash_alike(void **)
{
	for (uint32_t n = 0; n < 100; n++) {
		struct flow flow = flow_of(n);
		uint32_t first = hash_ip4(&flow, 0x2000, 0, false, flow.source_port);

		/* Those behind the first have payload where the ports were. */
		assert_int_equal(hash_ip4(&flow, 0x2000 | 185, 0, false, 0x1234), first);
		assert_int_equal(hash_ip4(&flow, 370, 0, false, 0x4321), first);
	}
}

static void check_spread(const uint32_t *hashes, const char *what)
{
	unsigned counts[QUEUES] = {0};

	for (unsigned i = 0; i < FLOWS; i++)
		counts[hashes[i] % QUEUES]++;
	for (unsigned q = 0; q < QUEUES; q++) {
		print_message("           %s: queue %u gets %u\n", what, q, counts[q]);
		/* More than six standard deviations off would be no chance. */
		assert_in_range(counts[q], FLOWS / QUEUES - 180, FLOWS / QUEUES + 180);
	}
}

static void flows_spread_over_the_queues(void **)
{
	uint32_t hashes[FLOWS];

	for (uint32_t n = 0; n < FLOWS; n++) {
		struct flow flow = flow_of(n);

		hashes[n] = hash_of(&flow);
	}
	check_spread(hashes, "any flows");
	/* One client that opens port after port. */
	for (uint32_t n = 0; n < FLOWS; n++) {
		struct flow flow = flow_of(1);

		flow.source_port = (uint16_t)(32768 + n);
		hashes[n] = hash_of(&flow);
	}
	check_spread(hashes, "ports in a row");
	for (uint32_t n = 0; n < FLOWS; n++) {
		struct flow flow = flow_of(1);

		flow.source[2] = (uint8_t)(n >> 8);
		flow.source[3] = (uint8_t)n;
		hashes[n] = hash_of(&flow);
	}
	check_spread(hashes, "addresses in a row");
}

static uint32_t hash_ip6(uint32_t n)
{
	memset(bytes, 0, 128);
	store_be16(bytes + 12, ETHERTYPE_IP6);
	bytes[14] = 0x60;
	bytes[20] = 6;
	bytes[22] = 0xfd;
	bytes[38] = 0xfd;
	store_be16(bytes + 54, (uint16_t)(1024 + n));
	store_be16(bytes + 56, 443);
	struct built_frame built = make(100);
	return frame_flow_hash(settle(&built));
}

static uint32_t hash_ether(uint32_t n)
{
	memset(bytes, 0, 64);
	store_be16(bytes + 4, (uint16_t)n);
	store_be16(bytes + 12, 0x88cc);
	struct built_frame built = make(60);
	return frame_flow_hash(settle(&built));
}

static void other_protocols_spread_too(void **)
{
	uint32_t hashes[FLOWS];

	for (uint32_t n = 0; n < FLOWS; n++)
		hashes[n] = hash_ip6(n);
	check_spread(hashes, "IPv6");
	for (uint32_t n = 0; n < FLOWS; n++)
		hashes[n] = hash_ether(n);
	check_spread(hashes, "not IP");
}

/* Headers that claim more than the head has: no access outside (a sanitizer would say so), and the
 * same value each time. */
static void short_and_lying_frames_have_a_hash(void **)
{
	for (uint32_t size = 14; size <= 64; size++) {
		for (unsigned length = 0; length < 16; length++) {
			uint8_t *exact = test_malloc(size);

			pattern_fill(bytes, 64, size);
			store_be16(bytes + 12, size % 2 ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
			bytes[14] = (uint8_t)(0x40 | length);
			bytes[23] = 6;
			store_be16(bytes + 20, 0);
			memcpy(exact, bytes, size);
			struct vl_frame frame = {
				.head = exact, .head_size = (uint16_t)size, .size = size};
			struct built_frame built = make(size);
			assert_int_equal(frame_flow_hash(&frame), frame_flow_hash(settle(&built)));
			test_free(exact);
		}
	}
}

/* ---- sums ---- */

static void sums_are_those_of_the_rfc(void **)
{
	/* RFC 1071, section 3, behind an Ethernet header. */
	static const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

	memset(bytes, 0, 64);
	memcpy(bytes + 14, example, sizeof(example));
	struct built_frame built = make(22);
	struct vl_frame *frame = settle(&built);
	frame->header.csum_start = 14;
	assert_int_equal(ntohs(frame_checksum(frame)), (uint16_t)~0xddf2);
}

static void sums_do_not_depend_on_how_a_frame_is_cut(void **)
{
	struct random random = {77};

	for (unsigned round = 0; round < 3000; round++) {
		struct cuts cuts = {.count = random_below(&random, TRAFFIC_CUTS_MAX)};
		struct built_frame built;
		uint32_t size = 16 + random_below(&random, round % 100 == 0 ? 65000 : 300);
		uint32_t start = random_below(&random, size);

		pattern_fill(bytes, size, round);
		for (unsigned i = 0; i < cuts.count; i++)
			cuts.sizes[i] = 1 + random_below(&random, 9);
		frame_build(&built, bytes, size, 1 + random_below(&random, VL_HEAD_MAX), &cuts);
		built.frame.header.csum_start = (uint16_t)start;
		assert_int_equal(
			ntohs(frame_checksum(&built.frame)),
			traffic_checksum(bytes + start, size - start)
		);
	}
}

static void a_sum_is_filled_in_wherever_its_bytes_lie(void **)
{
	struct random random = {78};

	for (unsigned round = 0; round < 3000; round++) {
		struct cuts cuts = {.count = random_below(&random, TRAFFIC_CUTS_MAX)};
		uint32_t size = 40 + random_below(&random, 300);
		struct vl_net_header header = {
			.csum_start = (uint16_t)random_below(&random, 30),
			.csum_offset = (uint16_t)random_below(&random, 8),
		};
		uint32_t start = header.csum_start;
		struct built_frame built;

		pattern_fill(bytes, size, round);
		uint16_t wanted = traffic_checksum(bytes + start, size - start);
		for (unsigned i = 0; i < cuts.count; i++)
			cuts.sizes[i] = 1 + random_below(&random, 9);
		/* All of it in pieces that point into `bytes`. */
		frame_build(&built, bytes, size, 0, &cuts);
		frame_fill_checksum(built.frame.tail, built.frame.tail_count, &header);
		assert_int_equal(load_be16(bytes + start + header.csum_offset), wanted);
	}
}

static void the_largest_frame_of_ones_sums_up(void **)
{
	memset(bytes, 0xff, FRAME_MAX);
	struct built_frame built = make(65550);
	struct vl_frame *frame = settle(&built);
	frame->header.csum_start = 14;
	assert_int_equal(ntohs(frame_checksum(frame)), traffic_checksum(bytes + 14, 65536));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sum_lies_inside_the_frame_or_it_is_refused),
		cmocka_unit_test(sums_near_the_end_of_16_bits_do_not_wrap),
		cmocka_unit_test(what_a_sender_must_not_say_is_cleared),
		cmocka_unit_test(each_gso_type_has_its_need),
		cmocka_unit_test(segments_have_a_size_and_a_sum),
		cmocka_unit_test(a_header_length_that_lies_is_corrected),
		cmocka_unit_test(a_large_frame_is_what_its_type_says),
		cmocka_unit_test(a_large_frame_whose_header_lies_is_refused),
		cmocka_unit_test(a_tag_is_seen_where_there_is_one),
		cmocka_unit_test(a_tag_is_pushed_and_popped),
		cmocka_unit_test(there_is_room_for_six_tags),
		cmocka_unit_test(tags_move_the_offsets_of_those_who_use_them),
		cmocka_unit_test(popping_a_tag_leaves_the_sum_behind_the_addresses),
		cmocka_unit_test(pushing_a_tag_never_wraps_the_offsets),
		cmocka_unit_test(frames_of_a_flow_hash_alike),
		cmocka_unit_test(fragments_of_a_datagram_hash_alike),
		cmocka_unit_test(flows_spread_over_the_queues),
		cmocka_unit_test(other_protocols_spread_too),
		cmocka_unit_test(short_and_lying_frames_have_a_hash),
		cmocka_unit_test(sums_are_those_of_the_rfc),
		cmocka_unit_test(sums_do_not_depend_on_how_a_frame_is_cut),
		cmocka_unit_test(a_sum_is_filled_in_wherever_its_bytes_lie),
		cmocka_unit_test(the_largest_frame_of_ones_sums_up),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
