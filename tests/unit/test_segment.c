/* SPDX-License-Identifier: BSD-3-Clause */
/* Cutting large frames: each segment has to be what a sender without offloads would have sent. */
#include "net/segment.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "net/frame.h"
#include "packets.h"
#include "traffic.h"

enum {
	FIN = 0x01,
	PSH = 0x08,
	ACK = 0x10,
	CWR = 0x80,
};

static uint8_t bytes[PACKET_MAX], got[PACKET_MAX], wanted[PACKET_MAX];
static struct segment_batch batch;

/* A large frame as a port lends it: cut at random, header checked. */
static void
lend(const struct packet *packet,
     const struct vl_net_header *large,
     struct random *random,
     struct built_frame *built)
{
	struct cuts cuts = {.count = random_below(random, 6)};
	struct vl_net_header header;
	uint32_t size = packet_make(packet, bytes, &header), need;

	for (unsigned i = 0; i < cuts.count; i++)
		cuts.sizes[i] = 1 + random_below(random, 400);
	frame_build(built, bytes, size, VL_HEAD_MAX, &cuts);
	built->frame.header = *large;
	check(frame_check_header(&built->frame, &need));
}

/* What its n-th segment has to be. */
static struct packet segment_of(const struct packet *packet, uint32_t n, uint32_t step)
{
	struct packet segment = *packet;
	uint32_t begin = n * step, left = packet->payload - begin;
	bool last = left <= step;

	segment.payload = last ? left : step;
	segment.sequence += begin;
	segment.ip_id = (uint16_t)(segment.ip_id + n);
	if (n > 0)
		segment.tcp_flags &= (uint8_t)~CWR;
	if (!last)
		segment.tcp_flags &= (uint8_t) ~(FIN | PSH);
	return segment;
}

static void
check_segment(const struct vl_frame *frame, const struct packet *packet, uint32_t n, uint32_t step)
{
	struct packet segment = segment_of(packet, n, step);
	struct packet_layout whole = packet_layout(packet), layout = packet_layout(&segment);
	struct vl_net_header header;
	uint32_t size = packet_make(&segment, wanted, &header);

	memcpy(wanted + layout.payload, bytes + whole.payload + (size_t)n * step, segment.payload);
	check(frame->size == size);
	check(memcmp(&frame->header, &header, sizeof(header)) == 0);
	frame_flatten(frame, got);
	assert_memory_equal(got, wanted, size);
}

/* Cut a packet; how many segments. */
static uint32_t cut(const struct packet *packet, uint16_t step, struct random *random)
{
	struct vl_net_header large = packet_large(packet, step, false);
	struct built_frame built;
	struct segmenter segmenter;
	uint32_t n = 0;

	lend(packet, &large, random, &built);
	check(segmenter_begin(&segmenter, &built.frame));
	while (segmenter_next(&segmenter, &batch)) {
		for (unsigned i = 0; i < batch.count; i++) {
			check(batch.frames[i].size <= segmenter_frame_size(&segmenter));
			check_segment(&batch.frames[i], packet, n++, step);
		}
	}
	return n;
}

static void cut_all(struct packet *packet, struct random *random)
{
	static const uint16_t steps[] = {1, 2, 7, 536, 1448, 8948, 40000};

	for (unsigned i = 0; i < COUNT_OF(steps); i++) {
		uint32_t step = steps[i];
		const uint32_t payloads[] = {
			0, 1, step - 1, step, step + 1, 3 * step, 5 * step + 3, 65000};

		for (unsigned k = 0; k < COUNT_OF(payloads); k++) {
			if (payloads[k] > 65000 || payloads[k] / step > 3000)
				continue;
			packet->payload = payloads[k];
			packet->seed++;
			uint32_t count = (packet->payload + step - 1) / step;
			assert_int_equal(
				cut(packet, (uint16_t)step, random), count == 0 ? 1 : count
			);
		}
	}
}

static void segments_are_what_a_sender_without_offloads_sends(void **)
{
	struct random random = {5};

	for (unsigned form = 0; form < 2 * 2 * 3 * 3; form++) {
		struct packet packet = {
			.ip6 = form % 2,
			.udp = form / 2 % 2,
			.tags = form / 4 % 3,
			.ip_words = form / 12 == 1 ? 2 : 0,
			.tcp_words = form / 12 * 5,
			.tcp_flags = ACK | CWR | PSH | FIN,
			.ip_id = 65530,
			.sequence = UINT32_MAX - 4000,
		};

		cut_all(&packet, &random);
	}
}

static void flags_stay_on_the_segments_they_belong_to(void **)
{
	struct random random = {6};

	for (unsigned flags = 0; flags < 256; flags++) {
		struct packet packet = {.tcp_flags = (uint8_t)flags, .payload = 3500};

		assert_int_equal(cut(&packet, 1000, &random), 4);
	}
}

/* ---- fragments ---- */

/* Put a fragment's piece where it belongs; checks what is in front of it. */
static void take_fragment(const struct vl_frame *frame, bool ip6, bool last, uint16_t step)
{
	const uint32_t ip = 14, headers = ip6 ? 48 : 20;
	uint16_t field;
	uint32_t offset, piece = frame->size - ip - headers;

	frame_flatten(frame, got);
	check(frame->header.flags == 0 && frame->header.gso_type == VL_GSO_NONE);
	if (ip6) {
		field = load_be16(got + ip + 42);
		offset = field & 0xfff8;
		check(got[ip + 6] == 44 && got[ip + 40] == 17);
		check((field & 1) == !last);
		check(load_be16(got + ip + 4) == piece + 8);
	} else {
		field = load_be16(got + ip + 6);
		offset = (field & 0x1fff) * 8u;
		check((field & 0x2000) == (last ? 0 : 0x2000));
		check(load_be16(got + ip + 4) == 77);
		check(load_be16(got + ip + 2) == piece + 20);
		check(traffic_checksum(got + ip, 20) == 0
		      || traffic_checksum(got + ip, 20) == 0xffff);
	}
	check(last || piece == (step & ~7u));
	check(offset + piece <= PACKET_MAX);
	memcpy(wanted + offset, got + ip + headers, piece);
}

static void check_fragments(bool ip6, uint16_t step, uint32_t payload)
{
	struct packet packet = {
		.ip6 = ip6, .udp = true, .ip_id = 77, .payload = payload, .seed = payload};
	struct packet_layout layout = packet_layout(&packet);
	struct vl_net_header large = packet_large(&packet, step, true);
	struct random random = {payload + 1};
	struct segmenter segmenter;
	struct built_frame built;
	uint32_t left = payload + 8;

	lend(&packet, &large, &random, &built);
	assert_true(segmenter_begin(&segmenter, &built.frame));
	memset(wanted, 0, left);
	while (segmenter_next(&segmenter, &batch)) {
		for (unsigned i = 0; i < batch.count; i++) {
			bool last = left <= (step & ~7u);

			take_fragment(&batch.frames[i], ip6, last, step);
			left -= last ? left : step & ~7u;
		}
	}
	assert_int_equal(left, 0);
	assert_memory_equal(wanted + 8, bytes + layout.payload, payload);
	memcpy(bytes + layout.l4, wanted, 8);
	packet_check_sums(bytes, &layout, ip6, true);
}

static void fragments_make_up_the_datagram(void **)
{
	static const uint16_t steps[] = {8, 15, 1480, 1483, 8000};

	for (unsigned i = 0; i < COUNT_OF(steps); i++) {
		for (uint32_t payload = 0; payload < 40; payload++)
			for (unsigned ip6 = 0; ip6 < 2; ip6++)
				check_fragments(ip6, steps[i], payload);
		for (uint32_t n = 1; n < 6; n++)
			for (unsigned ip6 = 0; ip6 < 2; ip6++)
				check_fragments(ip6, steps[i], n * (steps[i] & ~7u) - 8 + n % 2);
	}
}

/* ---- what cannot be cut ---- */

static void headers_that_lie_are_refused_or_harmless(void **)
{
	struct random random = {9};

	for (unsigned round = 0; round < 30000; round++) {
		struct packet packet = {
			.ip6 = random_below(&random, 2),
			.udp = random_below(&random, 2),
			.tags = random_below(&random, 3),
			.ip_words = random_below(&random, 4),
			.tcp_words = random_below(&random, 11),
			.payload = random_below(&random, 300),
		};
		struct packet_layout layout = packet_layout(&packet);
		struct vl_net_header header;
		uint32_t size = packet_make(&packet, bytes, &header), total = 0;
		struct built_frame built;
		struct segmenter segmenter;
		struct cuts cuts = {
			2, {1 + random_below(&random, 50), 1 + random_below(&random, 50)}};

		/* Some bytes of the headers, and maybe of the virtio-net header, are others. */
		for (unsigned i = random_below(&random, 4); i > 0; i--)
			bytes[12 + random_below(&random, layout.payload - 12)] =
				(uint8_t)random_next(&random);
		if (random_below(&random, 2) == 0)
			size = 14 + random_below(&random, size - 14);
		uint8_t *exact = test_malloc(size); /* a guard behind it */
		memcpy(exact, bytes, size);
		frame_build(&built, exact, size, VL_HEAD_MAX, &cuts);
		built.frame.header = packet_large(
			&packet, (uint16_t)random_below(&random, 400), random_below(&random, 2)
		);
		built.frame.header.csum_start =
			(uint16_t)(built.frame.header.csum_start + random_below(&random, 3) - 1);
		if (segmenter_begin(&segmenter, &built.frame)) {
			while (segmenter_next(&segmenter, &batch))
				for (unsigned i = 0; i < batch.count; i++) {
					frame_flatten(&batch.frames[i], got);
					total += batch.frames[i].size;
				}
			assert_true(total >= size - segmenter.size);
		}
		test_free(exact);
	}
}

/* A chain of very many pieces, each shorter than a segment. */
static void a_frame_in_very_many_pieces_is_cut(void **)
{
	enum {
		PIECES = 1500,
	};
	static struct iovec tail[PIECES];
	struct packet packet = {.payload = PIECES - 10};
	struct vl_net_header header;
	uint32_t size = packet_make(&packet, bytes, &header), n = 0;
	struct segmenter segmenter;
	struct built_frame built;

	frame_build(&built, bytes, size, VL_HEAD_MAX, NULL);
	built.frame.header = packet_large(&packet, 100, false);
	for (uint32_t i = VL_HEAD_MAX; i < size; i++)
		tail[i - VL_HEAD_MAX] = (struct iovec){bytes + i, 1};
	built.frame.tail = tail;
	built.frame.tail_count = (uint16_t)(size - VL_HEAD_MAX);
	assert_true(segmenter_begin(&segmenter, &built.frame));
	while (segmenter_next(&segmenter, &batch))
		for (unsigned i = 0; i < batch.count; i++)
			check_segment(&batch.frames[i], &packet, n++, 100);
	assert_int_equal(n, 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_are_what_a_sender_without_offloads_sends),
		cmocka_unit_test(flags_stay_on_the_segments_they_belong_to),
		cmocka_unit_test(fragments_make_up_the_datagram),
		cmocka_unit_test(headers_that_lie_are_refused_or_harmless),
		cmocka_unit_test(a_frame_in_very_many_pieces_is_cut),
	};

	return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
