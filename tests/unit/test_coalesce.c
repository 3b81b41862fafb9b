/* SPDX-License-Identifier: BSD-3-Clause */
/* Segments that are put together: cutting the large frame again has to yield the segments. */
#include "net/coalesce.h"

#include <string.h>

#include "check.h"
#include "net/frame.h"
#include "net/segment.h"
#include "packets.h"
#include "traffic.h"

enum {
	ACK = 0x10,
	PSH = 0x08,
	FIN = 0x01,
	SIZE_MAX_HERE = 9100,
};

static uint8_t bytes[VL_BURST_MAX][SIZE_MAX_HERE];
static struct built_frame built[VL_BURST_MAX];
static struct vl_frame *in[VL_BURST_MAX], *out[VL_BURST_MAX];
static struct coalesce_batch batch;
static unsigned count;

static void begin(void)
{
	count = 0;
}

/* Add a packet as it comes from a wire, its sums filled in; cut at random. */
static void add(const struct packet *packet, struct random *random)
{
	struct cuts cuts = {.count = random == NULL ? 0 : random_below(random, 3)};
	struct packet_layout layout = packet_layout(packet);
	uint8_t *to = bytes[count];
	struct vl_net_header header;
	uint32_t size = packet_make(packet, to, &header);
	uint16_t sum = traffic_checksum(to + layout.l4, size - layout.l4);

	check(size <= SIZE_MAX_HERE);
	store_be16(to + header.csum_start + header.csum_offset, sum);
	for (unsigned i = 0; i < cuts.count; i++)
		cuts.sizes[i] = 1 + random_below(random, 200);
	frame_build(&built[count], to, size, VL_HEAD_MAX, &cuts);
	built[count].frame.head = built[count].frame.bytes;
	built[count].frame.tail = built[count].tail;
	in[count] = &built[count].frame;
	count++;
}

/* `segments` of a stream, the last of them short and pushed. */
static void
add_stream(struct packet packet, unsigned segments, uint32_t step, struct random *random)
{
	for (unsigned i = 0; i < segments; i++) {
		packet.payload = i + 1 < segments ? step : step / 2 + 1;
		packet.tcp_flags = i + 1 < segments ? ACK : ACK | PSH;
		packet.seed = packet.sequence;
		add(&packet, random);
		packet.sequence += packet.payload;
		packet.ip_id++;
	}
}

static unsigned coalesce(void)
{
	return frames_coalesce(&batch, in, count, out);
}

/* What comes out, cut again and summed up, is frames first... of what went in. */
static unsigned check_cut_again(const struct vl_frame *large, unsigned first)
{
	static struct segment_batch segments;
	static uint8_t got[PACKET_MAX];
	struct segmenter segmenter;
	struct vl_frame frame = *large;
	uint32_t need;

	check(frame_check_header(&frame, &need));
	check(segmenter_begin(&segmenter, &frame));
	while (segmenter_next(&segmenter, &segments)) {
		for (unsigned i = 0; i < segments.count; i++, first++) {
			const struct vl_frame *segment = &segments.frames[i];
			uint16_t start = segment->header.csum_start;

			frame_flatten(segment, got);
			uint16_t sum = traffic_checksum(got + start, segment->size - start);
			store_be16(got + start + 16, sum);
			assert_int_equal(segment->size, in[first]->size);
			assert_memory_equal(got, bytes[first], segment->size);
		}
	}
	return first;
}

static void a_stream_becomes_one_frame(void **)
{
	struct random random = {3};

	for (unsigned form = 0; form < 2 * 3 * 2; form++) {
		for (unsigned segments = 2; segments <= 40; segments += 7) {
			struct packet packet = {
				.ip6 = form % 2,
				.tcp_words = form / 2 % 3 * 3,
				.tags = form / 6,
				.ip_id = 65530,
				.sequence = UINT32_MAX - 5000,
			};

			begin();
			add_stream(packet, segments, 1448, &random);
			assert_int_equal(coalesce(), 1);
			assert_int_equal(check_cut_again(out[0], 0), segments);
		}
	}
}

static void flows_are_put_together_side_by_side(void **)
{
	struct packet packets[3] = {{.sequence = 1}, {.ip6 = true, .sequence = 9}, {.tags = 1}};

	begin();
	for (unsigned i = 0; i < 5; i++) {
		for (unsigned flow = 0; flow < 3; flow++) {
			packets[flow].payload = 1000;
			packets[flow].tcp_flags = ACK;
			packets[flow].seed = i * 3 + flow;
			add(&packets[flow], NULL);
			packets[flow].sequence += 1000;
			packets[flow].ip_id++;
		}
	}
	assert_int_equal(coalesce(), 3);
	for (unsigned flow = 0; flow < 3; flow++) {
		uint32_t headers = out[flow]->size - 5000;

		assert_int_equal(headers, packet_layout(&packets[flow]).payload);
	}
}

static void what_is_no_neat_segment_stays_as_it_is(void **)
{
	for (unsigned flaw = 0; flaw < 9; flaw++) {
		struct packet first = {.payload = 1000, .tcp_flags = ACK, .ip_id = 5};
		struct packet second = first;

		second.sequence = 1000;
		second.ip_id = 6;
		begin();
		add(&first, NULL);
		if (flaw == 1)
			second.sequence++; /* a gap */
		if (flaw == 2)
			second.ip_id = 9;
		if (flaw == 3)
			second.tcp_flags = ACK | FIN;
		if (flaw == 4)
			second.payload = 1001; /* longer than the first */
		if (flaw == 5)
			second.tcp_words = 3;
		if (flaw == 6)
			second.udp = true;
		add(&second, NULL);
		if (flaw == 7) { /* a bad sum */
			bytes[1][900]++;
			frame_build(&built[1], bytes[1], in[1]->size, VL_HEAD_MAX, NULL);
		}
		if (flaw == 8) /* partial: not from a wire */
			in[1]->header.flags = VL_NET_NEEDS_CSUM;
		unsigned n = coalesce();
		assert_int_equal(n, flaw == 0 ? 1 : 2);
		if (flaw == 0)
			continue;
		assert_ptr_equal(out[0], in[0]);
		assert_ptr_equal(out[1], in[1]);
	}
}

/* What belongs to another flow, or to none, is in nobody's way. */
static void a_flow_goes_on_past_frames_of_others(void **)
{
	struct packet data = {.payload = 700, .tcp_flags = ACK};
	struct packet others[] = {
		{.ip6 = true, .tcp_flags = ACK}, /* an acknowledgement of another flow */
		{.udp = true, .payload = 100},
		{.tags = 1, .tcp_flags = ACK | FIN, .payload = 1},
	};

	for (unsigned own = 0; own < 2; own++) {
		begin();
		for (unsigned i = 0; i < 4; i++) {
			struct packet acknowledgement = {
				.tcp_flags = ACK, .sequence = data.sequence};

			add(&data, NULL);
			data.sequence += data.payload;
			data.ip_id++;
			add(i < COUNT_OF(others) ? &others[i] : &others[0], NULL);
			if (own)
				add(&acknowledgement, NULL);
		}
		/* An acknowledgement of its own keeps its place. */
		assert_int_equal(coalesce(), own ? 12 : 5);
	}
}

/* A sum that the device found right is not looked at. */
static void what_is_known_to_be_right_is_believed(void **)
{
	struct packet packet = {.payload = 500, .tcp_flags = ACK};

	begin();
	for (unsigned i = 0; i < 2; i++) {
		add(&packet, NULL);
		packet.sequence += 500;
		packet.ip_id++;
		in[i]->header.flags = VL_NET_DATA_VALID;
		in[i]->head[50] ^= 1;
	}
	assert_int_equal(coalesce(), 1);
}

/* Whatever stands between them, frames of a flow come out in their order, and all their bytes. */
static void order_is_kept_in_any_mixture(void **)
{
	struct random random = {8};

	for (unsigned round = 0; round < 2000; round++) {
		uint32_t sequences[3] = {0}, expected[3] = {0};
		static uint8_t flat[PACKET_MAX];

		begin();
		while (count < 20) {
			unsigned flow = random_below(&random, 3);
			struct packet packet = {
				.tags = flow,
				.sequence = sequences[flow],
				.ip_id = (uint16_t)count,
				.ip6 = round % 2,
				.payload = random_below(&random, 4) == 0 ? 30 : 100,
				.tcp_flags = random_below(&random, 5) == 0 ? ACK | PSH : ACK,
				.tcp_words = random_below(&random, 8) == 0 ? 3 : 0,
				.seed = count,
			};

			add(&packet, &random);
			sequences[flow] += packet.payload;
		}
		unsigned n = coalesce();
		for (unsigned i = 0; i < n; i++) {
			struct frame_layers layers;

			frame_flatten(out[i], flat);
			assert_true(frame_find_layers(flat, 128, &layers));
			unsigned flow = (layers.ip - 14u) / 4;
			uint32_t headers = layers.l4 + (flat[layers.l4 + 12] >> 4) * 4u;
			uint32_t sequence = (uint32_t)load_be16(flat + layers.l4 + 4) << 16
					    | load_be16(flat + layers.l4 + 6);
			assert_int_equal(sequence, expected[flow]);
			expected[flow] += out[i]->size - headers;
		}
		assert_memory_equal(expected, sequences, sizeof(expected));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_becomes_one_frame),
		cmocka_unit_test(flows_are_put_together_side_by_side),
		cmocka_unit_test(what_is_no_neat_segment_stays_as_it_is),
		cmocka_unit_test(a_flow_goes_on_past_frames_of_others),
		cmocka_unit_test(what_is_known_to_be_right_is_believed),
		cmocka_unit_test(order_is_kept_in_any_mixture),
	};

	return cmocka_run_group_tests_name("coalesce", tests, NULL, NULL);
}
