/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DPDK's mbufs through a driver and a device of ours (virtlane/mbuf.h): offloads as headers and
 * back, every byte of frames of all shapes, what is refused, and no mbuf lost.
 */
#include <errno.h>
#include <rte_eal.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <string.h>
#include <virtlane/mbuf.h>

#include "joint.h"

enum {
	POOL_SIZE = 1023,
	ROOM = 2048, /* bytes of an mbuf */
	QUEUE_SIZE = 64,
};

static struct rte_mempool *pool;
static uint8_t sent[JOINT_FRAME_MAX], got[JOINT_FRAME_MAX];

static const struct joint_variant variants[] = {
	{"split", "split", false, false},
	{"split, plain", "split", false, true},
	{"split, IN_ORDER", "split-in-order", false, false},
	{"packed", "packed", false, false},
	{"split, MRG_RXBUF", "split", true, false},
	{"packed, MRG_RXBUF", "packed", true, false},
};

static const uint64_t offloads =
	BIT(VL_F_CSUM) | BIT(VL_F_HOST_TSO4) | BIT(VL_F_GUEST_CSUM) | BIT(VL_F_GUEST_TSO4);

static int before_all(void **)
{
	static char words[][24] = {
		"test",
		"--no-huge",
		"--no-shconf",
		"--no-telemetry",
		"--no-pci",
		"--log-level=error",
		"--lcores=0@(0-1)",
		"-m64"};
	char *arguments[COUNT_OF(words) + 1] = {NULL};

	for (unsigned i = 0; i < COUNT_OF(words); i++)
		arguments[i] = words[i];
	check(rte_eal_init(COUNT_OF(words), arguments) >= 0);
	pool = rte_pktmbuf_pool_create(
		"mbufs", POOL_SIZE, 64, 0, RTE_PKTMBUF_HEADROOM + ROOM, SOCKET_ID_ANY
	);
	check(pool != NULL);
	return 0;
}

static int before_each(void **)
{
	check(rte_mempool_avail_count(pool) == POOL_SIZE);
	return 0;
}

struct rig {
	struct joint *joint;
	struct vl_mbuf_port *port;
};

static struct rig rig_open(const struct joint_variant *variant, uint64_t wanted)
{
	struct joint_options options = {
		.variant = variant,
		.config = {.foreign = true, .queue_size = QUEUE_SIZE, .wanted.word[0] = wanted},
	};
	struct rig rig = {.joint = joint_open(&options)};
	struct vl_driver_error why = {""};

	if (vl_mbuf_adopt(rig.joint->driver, pool, &rig.port, &why) < 0)
		print_error("%s\n", why.text);
	assert_non_null(rig.port);
	return rig;
}

/* Nothing is lost. */
static void rig_close(const struct rig *rig)
{
	rig->joint->driver = NULL;
	vl_mbuf_close(rig->port);
	joint_close(rig->joint);
	assert_int_equal(rte_mempool_avail_count(pool), POOL_SIZE);
}

/* A frame in segments of `piece` bytes. */
static struct rte_mbuf *make_frame(struct rte_mempool *from, uint32_t size, uint32_t piece)
{
	struct rte_mbuf *frame = NULL;

	pattern_fill(sent, size, size);
	for (uint32_t at = 0; at < size; at += piece) {
		uint32_t length = size - at < piece ? size - at : piece;
		struct rte_mbuf *mbuf = rte_pktmbuf_alloc(from);

		assert_non_null(mbuf);
		memcpy(rte_pktmbuf_append(mbuf, (uint16_t)length), sent + at, length);
		if (frame == NULL)
			frame = mbuf;
		else
			assert_int_equal(rte_pktmbuf_chain(frame, mbuf), 0);
	}
	return frame;
}

static void take_and_compare(const struct rig *rig, uint32_t size)
{
	struct vl_net_header header;

	assert_int_equal(joint_take(rig->joint, 0, &header, got), size);
	assert_memory_equal(got, sent, size);
	assert_int_equal(header.flags, 0);
}

/* Take what was received and compare it, segment by segment; frees it. */
static void receive_and_compare(struct vl_mbuf_port *port, uint32_t size)
{
	struct rte_mbuf *frame;
	uint32_t at = 0;

	assert_int_equal(vl_mbuf_rx_burst(port, 0, &frame, 1), 1);
	assert_int_equal(rte_pktmbuf_pkt_len(frame), size);
	rte_mbuf_sanity_check(frame, 1);
	for (const struct rte_mbuf *piece = frame; piece != NULL; piece = piece->next) {
		assert_memory_equal(rte_pktmbuf_mtod(piece, void *), sent + at, piece->data_len);
		at += piece->data_len;
	}
	assert_int_equal(at, size);
	rte_pktmbuf_free(frame);
}

/* ---- offloads ---- */

static void wishes_become_headers(void **)
{
	static const struct {
		uint64_t flags;
		uint16_t segment;
		int error;
		struct vl_net_header header;
	} cases[] = {
		{0, 0, 0, {0}},
		{RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM, 0, 0, {0}},
		{RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM, 0, 0, {1, 0, 0, 0, 34, 16, 0}},
		{RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_UDP_CKSUM, 0, 0, {1, 0, 0, 0, 34, 6, 0}},
		{RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_SEG,
		 1448,
		 0,
		 {1, VL_GSO_TCPV4, 66, 1448, 34, 16, 0}},
		{RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM,
		 100,
		 0,
		 {1, VL_GSO_TCPV6, 66, 100, 34, 16, 0}},
		{RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_SEG,
		 1400,
		 0,
		 {1, VL_GSO_UDP_L4, 66, 1400, 34, 6, 0}},
		{RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_SEG, 0, -EINVAL, {0}},
		{RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_SCTP_CKSUM, 0, -EINVAL, {0}},
		{RTE_MBUF_F_TX_VLAN, 0, -EINVAL, {0}},
		{RTE_MBUF_F_TX_TUNNEL_VXLAN | RTE_MBUF_F_TX_TCP_CKSUM, 0, -EINVAL, {0}},
		/* What was said of it when it came does not count. */
		{RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE, 9, 0, {0}},
	};

	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		struct rte_mbuf mbuf = {.ol_flags = cases[i].flags, .tso_segsz = cases[i].segment};
		struct vl_net_header header;

		mbuf.l2_len = 14;
		mbuf.l3_len = 20;
		mbuf.l4_len = 32;
		assert_int_equal(vl_mbuf_to_header(&mbuf, &header), cases[i].error);
		if (cases[i].error == 0)
			assert_memory_equal(&header, &cases[i].header, sizeof(header));
	}
}

static void headers_become_flags(void **)
{
	static const struct {
		struct vl_net_header header;
		uint64_t flags;
		uint16_t segment;
	} cases[] = {
		{{0}, 0, 0},
		{{.flags = VL_NET_NEEDS_CSUM}, RTE_MBUF_F_RX_L4_CKSUM_NONE, 0},
		{{.flags = VL_NET_DATA_VALID}, RTE_MBUF_F_RX_L4_CKSUM_GOOD, 0},
		{{.flags = 3}, RTE_MBUF_F_RX_L4_CKSUM_NONE, 0},
		{{.flags = 1, .gso_type = VL_GSO_TCPV4 | VL_GSO_ECN, .gso_size = 1448},
		 RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_LRO,
		 1448},
		{{.flags = 1, .gso_type = VL_GSO_TCPV6}, RTE_MBUF_F_RX_L4_CKSUM_NONE, 0},
		{{.gso_type = VL_GSO_ECN, .gso_size = 7}, 0, 0},
	};

	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		struct rte_mbuf mbuf = {.ol_flags = 0};

		vl_mbuf_from_header(&mbuf, &cases[i].header);
		assert_int_equal(mbuf.ol_flags, cases[i].flags);
		assert_int_equal(mbuf.tso_segsz, cases[i].segment);
	}
}

/* A TCP frame that is to be segmented. */
static struct rte_mbuf *make_tcp(uint32_t size)
{
	struct rte_mbuf *mbuf = make_frame(pool, size, ROOM);
	uint8_t *bytes = rte_pktmbuf_mtod(mbuf, uint8_t *);
	struct rte_ipv4_hdr ip = {
		.version_ihl = 0x45,
		.total_length = rte_cpu_to_be_16((uint16_t)(size - 14)),
		.time_to_live = 64,
		.next_proto_id = 6,
		.hdr_checksum = 0xbeef,
		.src_addr = rte_cpu_to_be_32(0x0a000001),
		.dst_addr = rte_cpu_to_be_32(0x0a000002),
	};

	memcpy(bytes, "\2\0\0\0\0\1\2\0\0\0\0\2\x08\0", 14);
	memcpy(bytes + 14, &ip, sizeof(ip));
	bytes[34 + 12] = 0x50; /* a TCP header of 20 bytes */
	mbuf->l2_len = 14;
	mbuf->l3_len = 20;
	mbuf->l4_len = 20;
	mbuf->tso_segsz = 500;
	mbuf->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_SEG;
	return mbuf;
}

static void what_is_prepared_has_its_sums(void **)
{
	struct rte_mbuf *mbufs[3] = {make_tcp(1500), make_tcp(1501), make_tcp(1502)};

	mbufs[2]->ol_flags |= RTE_MBUF_F_TX_VLAN;
	assert_int_equal(vl_mbuf_tx_prepare(mbufs, 3), 2);
	assert_int_equal(rte_errno, EINVAL);
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *bytes = rte_pktmbuf_mtod(mbufs[i], uint8_t *);
		const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(bytes + 14);
		const struct rte_tcp_hdr *tcp = (const struct rte_tcp_hdr *)(bytes + 34);

		assert_int_equal(rte_raw_cksum(ip, 20), 0xffff);
		/* Of the pseudo header, with its length. */
		assert_int_equal(tcp->cksum, rte_ipv4_phdr_cksum(ip, 0));
	}
	rte_pktmbuf_free_bulk(mbufs, 3);
}

static void offloads_go_there_and_back(void **)
{
	struct rig rig = rig_open(&variants[4], offloads);
	struct rte_mbuf *mbuf = make_tcp(9000), *back = NULL;
	struct vl_net_header header;

	assert_int_equal(vl_mbuf_tx_prepare(&mbuf, 1), 1);
	assert_int_equal(vl_mbuf_tx_burst(rig.port, 0, &mbuf, 1), 1);
	assert_int_equal(joint_take(rig.joint, 0, &header, got), 9000);
	assert_int_equal(header.flags, VL_NET_NEEDS_CSUM);
	assert_int_equal(header.gso_type, VL_GSO_TCPV4);
	assert_int_equal(header.gso_size, 500);
	assert_int_equal(header.hdr_len, 54);
	assert_int_equal(header.csum_start, 34);
	assert_int_equal(header.csum_offset, 16);
	assert_true(joint_deliver(rig.joint, 0, &header, got, 9000, NULL));
	assert_int_equal(vl_mbuf_rx_burst(rig.port, 0, &back, 1), 1);
	assert_int_equal(back->ol_flags, RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_LRO);
	assert_int_equal(back->tso_segsz, 500);
	assert_int_equal(back->nb_segs, 5);
	rte_pktmbuf_free(back);
	rig_close(&rig);
}

/* ---- frames ---- */

static void frames_of_all_shapes_go_round(void **state)
{
	static const uint32_t sizes[] = {60, 64, 1514, 2047, 2048, 2049, 9000, 65549};
	const struct joint_variant *variant = *state;
	struct rig rig = rig_open(variant, 0);

	/* Several times around the rings, whole and in pieces. */
	for (unsigned lap = 0; lap < 200; lap++) {
		uint32_t size = sizes[lap % COUNT_OF(sizes)];
		uint32_t piece = lap % 3 == 0 && size < 10000 ? 300 : ROOM;
		struct rte_mbuf *frame = make_frame(pool, size, piece);

		assert_int_equal(vl_mbuf_tx_burst(rig.port, 0, &frame, 1), 1);
		take_and_compare(&rig, size);
		if (size > ROOM && !variant->mergeable)
			continue;
		assert_true(joint_deliver(rig.joint, 0, NULL, sent, size, NULL));
		receive_and_compare(rig.port, size);
	}
	rig_close(&rig);
}

/* Frames of many buffers and small arrays: what does not fit now comes with the next call. */
static void no_frame_is_lost_to_a_small_array(void **)
{
	struct rig rig = rig_open(&variants[5], 0);
	struct rte_mbuf *mbuf;

	for (unsigned lap = 0; lap < 20; lap++) {
		pattern_fill(sent, 9000, lap);
		for (unsigned i = 0; i < 5; i++)
			assert_true(joint_deliver(rig.joint, 0, NULL, sent, 9000, NULL));
		for (unsigned i = 0; i < 5; i++)
			receive_and_compare(rig.port, 9000);
		assert_int_equal(vl_mbuf_rx_burst(rig.port, 0, &mbuf, 1), 0);
	}
	rig_close(&rig);
}

static void a_full_ring_leaves_the_rest_to_the_caller(void **state)
{
	struct rte_mbuf *mbufs[3 * QUEUE_SIZE];
	struct rig rig = rig_open(*state, 0);
	struct vl_net_header header;
	unsigned size = 0;

	for (unsigned i = 0; i < COUNT_OF(mbufs); i++)
		mbufs[i] = make_frame(pool, 60 + i, ROOM);
	for (unsigned done = 0; done < COUNT_OF(mbufs);) {
		int n = vl_mbuf_tx_burst(rig.port, 0, mbufs + done, COUNT_OF(mbufs) - done);

		assert_true(n > 0);
		done += (unsigned)n;
		if (done < COUNT_OF(mbufs))
			assert_int_equal(vl_mbuf_tx_burst(rig.port, 0, mbufs + done, 1), 0);
		for (; joint_take(rig.joint, 0, &header, got) >= 0; size++) {
			pattern_fill(sent, 60 + size, 60 + size);
			assert_memory_equal(got, sent, 60 + size);
		}
	}
	assert_int_equal(size, COUNT_OF(mbufs));
	(void)vl_mbuf_tx_complete(rig.port, 0);
	assert_int_equal(rig.port->pairs[0].tx_out, 0);
	rig_close(&rig);
}

/* mbufs that others hold are not written to; empty segments are skipped. */
static void what_is_not_ours_alone_is_sent_untouched(void **state)
{
	struct rig rig = rig_open(*state, 0);
	const uint32_t size = 1000;
	uint8_t front[VL_MBUF_NET_HEADER_SIZE];

	for (unsigned how = 0; how < 4; how++) {
		struct rte_mbuf *frame = make_frame(pool, size, 400), *held = frame;

		memset(rte_pktmbuf_mtod(frame, uint8_t *) - sizeof(front), 0x5a, sizeof(front));
		memset(front, 0x5a, sizeof(front));
		if (how == 0)
			rte_pktmbuf_refcnt_update(frame, 1);
		else if (how == 1)
			frame = rte_pktmbuf_clone(held, pool);
		else
			rte_pktmbuf_refcnt_update(frame, 1);
		if (how == 2) {
			/* No headroom. */
			memmove(frame->buf_addr, rte_pktmbuf_mtod(frame, void *), 400);
			frame->data_off = 0;
		} else if (how == 3) {
			struct rte_mbuf *empty = rte_pktmbuf_alloc(pool);

			assert_int_equal(rte_pktmbuf_chain(empty, frame), 0);
			frame = empty;
		}
		assert_int_equal(vl_mbuf_tx_burst(rig.port, 0, &frame, 1), 1);
		take_and_compare(&rig, size);
		(void)vl_mbuf_tx_complete(rig.port, 0);
		assert_int_equal(rte_mbuf_refcnt_read(held), 1);
		if (how != 2)
			assert_memory_equal(
				rte_pktmbuf_mtod(held, uint8_t *) - sizeof(front),
				front,
				sizeof(front)
			);
		rte_pktmbuf_free(held);
	}
	rig_close(&rig);
}

static void what_cannot_be_sent_is_refused_and_freed(void **state)
{
	struct rte_mempool *other = rte_pktmbuf_pool_create(
		"other", 255, 0, 0, RTE_PKTMBUF_HEADROOM + ROOM, SOCKET_ID_ANY
	);
	struct rig rig = rig_open(*state, 0);
	struct rte_mbuf *mbufs[6], *held[100];
	struct vl_driver_error why;

	/* Away from the pages that both pools may share. */
	assert_int_equal(rte_pktmbuf_alloc_bulk(other, held, 100), 0);
	mbufs[0] = make_frame(other, 60, ROOM);
	mbufs[1] = make_frame(pool, 60, ROOM);
	mbufs[1]->ol_flags = RTE_MBUF_F_TX_VLAN;
	mbufs[2] = make_tcp(1500); /* not negotiated */
	mbufs[3] = make_frame(pool, 1000, ROOM);
	mbufs[4] = make_frame(pool, 73 * 10, 10);
	mbufs[5] = rte_pktmbuf_alloc(pool); /* empty */
	assert_int_equal(vl_mbuf_tx_burst(rig.port, 0, mbufs, 6), 6);
	assert_int_equal(rig.port->pairs[0].stats.tx_refused, 5);
	pattern_fill(sent, 1000, 1000);
	take_and_compare(&rig, 1000);
	/* With its pool it can be. */
	assert_int_equal(vl_mbuf_share_pool(rig.port, other, &why), 0);
	mbufs[0] = make_frame(other, 60, ROOM);
	assert_int_equal(vl_mbuf_tx_burst(rig.port, 0, mbufs, 1), 1);
	take_and_compare(&rig, 60);
	rte_pktmbuf_free_bulk(held, 100);
	rig_close(&rig);
	assert_int_equal(rte_mempool_avail_count(other), 255);
	rte_mempool_free(other);
}

/* Received and not handed out, posted, sent and not taken, or taken and not collected. */
static void no_mbuf_is_lost_at_the_end(void **state)
{
	struct rig rig = rig_open(*state, 0);
	struct vl_net_header header;
	struct rte_mbuf *mbuf;

	for (unsigned i = 0; i < 10; i++) {
		mbuf = make_frame(pool, 1000, 100 * (i + 1));
		assert_int_equal(vl_mbuf_tx_burst(rig.port, 0, &mbuf, 1), 1);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(joint_take(rig.joint, 0, &header, got), 1000);
		assert_true(joint_deliver(rig.joint, 0, NULL, got, 1000, NULL));
	}
	assert_int_equal(vl_mbuf_rx_burst(rig.port, 0, &mbuf, 1), 1);
	rte_pktmbuf_free(mbuf);
	rig_close(&rig);
}

static void each_pair_has_its_own_frames(void **)
{
	struct joint_options options = {
		.variant = &variants[0],
		.config = {.foreign = true, .queue_size = QUEUE_SIZE, .queue_pairs = 2},
	};
	struct joint *joint = joint_open(&options);
	struct rte_mbuf *mbuf = make_frame(pool, 100, ROOM);
	struct vl_mbuf_port *port = NULL;

	assert_int_equal(vl_mbuf_adopt(joint->driver, pool, &port, NULL), 0);
	assert_int_equal(vl_mbuf_tx_burst(port, 1, &mbuf, 1), 1);
	assert_int_equal(joint_echo(joint, 0), 0);
	assert_int_equal(joint_echo(joint, 1), 1);
	assert_int_equal(vl_mbuf_rx_burst(port, 0, &mbuf, 1), 0);
	assert_int_equal(vl_mbuf_rx_burst(port, 1, &mbuf, 1), 1);
	assert_memory_equal(rte_pktmbuf_mtod(mbuf, void *), sent, 100);
	rte_pktmbuf_free(mbuf);
	rig_close(&(struct rig){joint, port});
}

/* ---- pools ---- */

static int try_pool(struct rte_mempool *unfit, uint64_t wanted, struct vl_driver_error *why)
{
	struct joint_options options = {
		.config = {.foreign = true, .wanted.word[0] = wanted, .queue_size = QUEUE_SIZE}};
	struct joint *joint = joint_open(&options);
	struct vl_mbuf_port *port;
	int error = vl_mbuf_adopt(joint->driver, unfit, &port, why);

	joint_close(joint);
	return error;
}

static void a_pool_that_does_not_suit_is_explained(void **)
{
	struct vl_driver_error why = {""};
	struct rte_pktmbuf_pool_private sizes = {
		.mbuf_data_room_size = RTE_PKTMBUF_HEADROOM + ROOM};
	struct rte_mempool *anonymous = rte_mempool_create_empty(
		"anonymous",
		255,
		sizeof(struct rte_mbuf) + RTE_PKTMBUF_HEADROOM + ROOM,
		0,
		sizeof(sizes),
		SOCKET_ID_ANY,
		0
	);
	struct rte_mempool *small = rte_pktmbuf_pool_create("small", 255, 0, 0, 512, SOCKET_ID_ANY);

	assert_non_null(anonymous);
	rte_pktmbuf_pool_init(anonymous, &sizes);
	assert_true(rte_mempool_populate_anon(anonymous) > 0);
	rte_mempool_obj_iter(anonymous, rte_pktmbuf_init, NULL);
	assert_int_equal(try_pool(anonymous, 0, &why), -ENOTSUP);
	assert_non_null(strstr(why.text, "--no-huge"));
	assert_int_equal(try_pool(small, BIT(VL_F_MRG_RXBUF), &why), -EINVAL);
	assert_non_null(strstr(why.text, "small"));
	assert_int_equal(try_pool(pool, offloads, &why), -EINVAL);
	assert_non_null(strstr(why.text, "MRG_RXBUF"));
	rte_mempool_free(anonymous);
	rte_mempool_free(small);
}

static void a_driver_with_a_pool_of_its_own_is_refused(void **)
{
	struct joint_options options = {0};
	struct joint *joint = joint_open(&options);
	struct vl_driver_error why = {""};
	struct vl_mbuf_port *port;

	assert_int_equal(vl_mbuf_adopt(joint->driver, pool, &port, &why), -EINVAL);
	assert_non_null(strstr(why.text, "foreign"));
	joint_close(joint);
}

/* ---- */

#define EVERY_VARIANT(test)                                                                   \
	{#test " (split)", test, before_each, NULL, (void *)&variants[0]},                    \
		{#test " (split, plain)", test, before_each, NULL, (void *)&variants[1]},     \
		{#test " (split, IN_ORDER)", test, before_each, NULL, (void *)&variants[2]},  \
		{#test " (packed)", test, before_each, NULL, (void *)&variants[3]},           \
		{#test " (split, MRG_RXBUF)", test, before_each, NULL, (void *)&variants[4]}, \
	{                                                                                     \
#test " (packed, MRG_RXBUF)", test, before_each, NULL, (void *)&variants[5]   \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wishes_become_headers),
		cmocka_unit_test(headers_become_flags),
		cmocka_unit_test(what_is_prepared_has_its_sums),
		cmocka_unit_test(offloads_go_there_and_back),
		cmocka_unit_test(no_frame_is_lost_to_a_small_array),
		cmocka_unit_test(each_pair_has_its_own_frames),
		cmocka_unit_test(a_driver_with_a_pool_of_its_own_is_refused),
		cmocka_unit_test(a_pool_that_does_not_suit_is_explained),
		EVERY_VARIANT(frames_of_all_shapes_go_round),
		EVERY_VARIANT(a_full_ring_leaves_the_rest_to_the_caller),
		EVERY_VARIANT(what_is_not_ours_alone_is_sent_untouched),
		EVERY_VARIANT(what_cannot_be_sent_is_refused_and_freed),
		EVERY_VARIANT(no_mbuf_is_lost_at_the_end),
	};

	return cmocka_run_group_tests_name("mbufs", tests, before_all, NULL);
}
