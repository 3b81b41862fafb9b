/* SPDX-License-Identifier: BSD-3-Clause */
/* virtlane/mbuf.h: offloads as flags, mbufs of every shape sent and received, and none lost. */
#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <stdio.h>
#include <string.h>

#include "joint.h"
#include "virtlane/mbuf.h"

enum {
	QUEUE_SIZE = 64,
	MBUFS = 511,
	FRAME = 300,
};

static struct rte_mempool *pool;
static struct vl_mbuf_port *port;
static uint8_t bytes[JOINT_FRAME_MAX], got[JOINT_FRAME_MAX];

/* ---- offloads ---- */

static void what_is_asked_for_is_in_the_header(void **)
{
	static const struct {
		uint64_t flags;
		struct vl_net_header header;
	} cases[] = {
		{0, {0}},
		{RTE_MBUF_F_TX_IP_CKSUM, {0}},
		{RTE_MBUF_F_TX_TCP_CKSUM,
		 {.flags = VL_NET_NEEDS_CSUM, .csum_start = 54, .csum_offset = 16}},
		{RTE_MBUF_F_TX_UDP_CKSUM,
		 {.flags = VL_NET_NEEDS_CSUM, .csum_start = 54, .csum_offset = 6}},
		{RTE_MBUF_F_TX_SCTP_CKSUM,
		 {.flags = VL_NET_NEEDS_CSUM, .csum_start = 54, .csum_offset = 8}},
		{RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4,
		 {.flags = VL_NET_NEEDS_CSUM,
		  .gso_type = VL_GSO_TCPV4,
		  .hdr_len = 74,
		  .gso_size = 1400,
		  .csum_start = 54,
		  .csum_offset = 16}},
		{RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV6,
		 {.flags = VL_NET_NEEDS_CSUM,
		  .gso_type = VL_GSO_TCPV6,
		  .hdr_len = 74,
		  .gso_size = 1400,
		  .csum_start = 54,
		  .csum_offset = 16}},
		{RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_IPV4,
		 {.flags = VL_NET_NEEDS_CSUM,
		  .gso_type = VL_GSO_UDP_L4,
		  .hdr_len = 74,
		  .gso_size = 1400,
		  .csum_start = 54,
		  .csum_offset = 6}},
	};

	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		struct rte_mbuf mbuf = {.ol_flags = cases[i].flags};
		struct vl_net_header header;

		mbuf.l2_len = 14;
		mbuf.l3_len = 40;
		mbuf.l4_len = 20;
		mbuf.tso_segsz = 1400;
		vl_mbuf_to_header(&mbuf, &header);
		assert_memory_equal(&header, &cases[i].header, sizeof(header));
	}
}

static void what_was_verified_is_in_the_flags(void **)
{
	static const struct {
		struct vl_net_header header;
		uint64_t flags;
	} cases[] = {
		{{0}, 0},
		{{.csum_start = 34, .gso_size = 7}, 0}, /* nobody's fields */
		{{.flags = VL_NET_DATA_VALID}, RTE_MBUF_F_RX_L4_CKSUM_GOOD},
		{{.flags = VL_NET_NEEDS_CSUM}, RTE_MBUF_F_RX_L4_CKSUM_NONE},
		{{.flags = VL_NET_NEEDS_CSUM, .gso_type = VL_GSO_TCPV4, .gso_size = 1400},
		 RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_LRO},
	};

	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		struct rte_mbuf mbuf = {.ol_flags = 0};

		vl_mbuf_from_header(&mbuf, &cases[i].header);
		assert_int_equal(mbuf.ol_flags, cases[i].flags);
		if (mbuf.ol_flags & RTE_MBUF_F_RX_LRO)
			assert_int_equal(mbuf.tso_segsz, 1400);
	}
}

/* ---- frames ---- */

static int open_port(const struct vl_driver_config *config, struct joint *joint)
{
	int error = vl_mbuf_open(config, pool, &port, &joint->why);

	joint->driver = error < 0 ? NULL : port->driver;
	return error;
}

static struct joint *open_joint(void **state)
{
	struct joint_options options = {
		.variant = *state, .open = open_port, .config.queue_size = QUEUE_SIZE};
	struct joint *joint = joint_open(&options);

	return joint;
}

/* All mbufs come back, wherever they were. */
static void close_joint(struct joint *joint)
{
	vl_mbuf_close(port);
	joint->driver = NULL;
	joint_close(joint);
	assert_int_equal(rte_mempool_avail_count(pool), MBUFS);
}

/* An mbuf with the first `size` of bytes[], in segments of at most `piece`. */
static struct rte_mbuf *make(uint32_t size, uint16_t piece)
{
	struct rte_mbuf *first = NULL;

	for (uint32_t done = 0; done < size;) {
		uint16_t part = (uint16_t)(size - done < piece ? size - done : piece);
		struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);

		check(mbuf != NULL);
		memcpy(rte_pktmbuf_append(mbuf, part), bytes + done, part);
		if (first == NULL)
			first = mbuf;
		else
			check(rte_pktmbuf_chain(first, mbuf) == 0);
		done += part;
	}
	return first;
}

static void check_taken(struct joint *joint, uint32_t size)
{
	struct vl_net_header header;

	assert_int_equal(joint_take(joint, 0, &header, got), size);
	assert_memory_equal(got, bytes, size);
	assert_int_equal(header.flags | header.gso_type, 0);
}

static void mbufs_of_every_shape_are_sent(void **state)
{
	static const uint16_t pieces[] = {FRAME, 299, 150, 100, 14, 5};
	struct joint *joint = open_joint(state);

	for (unsigned i = 0; i < 200; i++) {
		struct rte_mbuf *mbuf = make(FRAME, pieces[i % COUNT_OF(pieces)]);

		assert_int_equal(vl_mbuf_tx_burst(port, 0, &mbuf, 1), 1);
		check_taken(joint, FRAME);
	}
	close_joint(joint);
}

/* The virtio-net header must not be written in front of data that somebody else has, too. */
static void what_may_not_be_written_stays_as_it_is(void **state)
{
	struct joint *joint = open_joint(state);

	for (unsigned i = 0; i < 100; i++) {
		struct rte_mbuf *shared = make(FRAME, FRAME), *full = make(FRAME, FRAME), *clone;
		uint8_t front[64];

		/* Room in front, of which somebody makes use. */
		memset(rte_pktmbuf_mtod(shared, uint8_t *) - 64, 0xa5, 64);
		memset(front, 0xa5, sizeof(front));
		rte_mbuf_refcnt_update(shared, 1);
		assert_int_equal(vl_mbuf_tx_burst(port, 0, &shared, 1), 1);
		check_taken(joint, FRAME);
		clone = rte_pktmbuf_clone(full, pool);
		check(clone != NULL);
		rte_pktmbuf_free(full);
		assert_int_equal(vl_mbuf_tx_burst(port, 0, &clone, 1), 1);
		check_taken(joint, FRAME);
		full = make(FRAME, FRAME);
		check(rte_pktmbuf_prepend(full, RTE_PKTMBUF_HEADROOM) != NULL);
		memcpy(rte_pktmbuf_mtod(full, uint8_t *), bytes, FRAME);
		rte_pktmbuf_trim(full, RTE_PKTMBUF_HEADROOM);
		assert_int_equal(vl_mbuf_tx_burst(port, 0, &full, 1), 1);
		check_taken(joint, FRAME);
		vl_mbuf_tx_done(port, 0);
		assert_memory_equal(rte_pktmbuf_mtod(shared, uint8_t *) - 64, front, 64);
		assert_int_equal(rte_mbuf_refcnt_read(shared), 1);
		assert_int_equal(shared->nb_segs, 1);
		rte_pktmbuf_free(shared);
	}
	close_joint(joint);
}

static void what_can_never_be_sent_is_freed_and_counted(void **state)
{
	struct joint *joint = open_joint(state);
	struct rte_mbuf *mbufs[5];

	for (unsigned i = 0; i < COUNT_OF(mbufs); i++)
		mbufs[i] = make(FRAME, i == 3 ? 4 : FRAME); /* of 75 segments */
	mbufs[1]->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4;
	assert_int_equal(vl_mbuf_tx_burst(port, 0, mbufs, COUNT_OF(mbufs)), COUNT_OF(mbufs));
	assert_int_equal(port->pairs[0].refused, 2);
	for (unsigned i = 0; i < 3; i++)
		check_taken(joint, FRAME);
	close_joint(joint);
}

static void what_finds_no_room_stays_the_callers(void **state)
{
	struct joint *joint = open_joint(state);
	struct rte_mbuf *mbufs[QUEUE_SIZE + 20];
	unsigned sent = 0;

	for (unsigned i = 0; i < COUNT_OF(mbufs); i++) {
		mbufs[i] = make(FRAME, i % 2 ? 200 : FRAME);
		if (i % 3 == 0)
			rte_mbuf_refcnt_update(mbufs[i], 1);
	}
	sent = vl_mbuf_tx_burst(port, 0, mbufs, COUNT_OF(mbufs));
	assert_in_range(sent, 1, QUEUE_SIZE);
	assert_int_equal(vl_mbuf_tx_burst(port, 0, mbufs + sent, COUNT_OF(mbufs) - sent), 0);
	for (unsigned i = 0; i < COUNT_OF(mbufs); i++) {
		assert_int_equal(mbufs[i]->nb_segs, i % 2 ? 2 : 1);
		if (i >= sent)
			assert_int_equal(mbufs[i]->pkt_len, FRAME);
		if (i % 3 == 0)
			rte_mbuf_refcnt_update(mbufs[i], -1);
	}
	for (unsigned i = 0; i < sent; i++)
		check_taken(joint, FRAME);
	rte_pktmbuf_free_bulk(mbufs + sent, (unsigned)COUNT_OF(mbufs) - sent);
	close_joint(joint);
}

static void frames_are_received_as_mbufs(void **state)
{
	const struct joint_variant *variant = *state;
	const struct vl_net_header none = {0};
	struct joint *joint = open_joint(state);
	uint32_t largest = variant->mergeable ? 9000 : 1514;

	for (uint32_t size = 60; size < largest; size += 1 + size / 7) {
		struct rte_mbuf *mbufs[32];

		assert_true(joint_deliver(joint, 0, &none, bytes, size, NULL));
		assert_int_equal(vl_mbuf_rx_burst(port, 0, mbufs, 32), 1);
		assert_int_equal(mbufs[0]->pkt_len, size);
		rte_mbuf_sanity_check(mbufs[0], 1);
		const uint8_t *data = rte_pktmbuf_read(mbufs[0], 0, size, got);
		assert_memory_equal(data, bytes, size);
		assert_int_equal(mbufs[0]->ol_flags, 0);
		rte_pktmbuf_free(mbufs[0]);
	}
	close_joint(joint);
}

/* What the application keeps is not the ring's; when it comes back, frames do, too. */
static void an_empty_pool_only_holds_frames_up(void **state)
{
	const struct vl_net_header none = {0};
	struct joint *joint = open_joint(state);
	struct rte_mbuf *kept[MBUFS], *mbufs[32];
	unsigned count = rte_mempool_avail_count(pool), received = 0;

	check(rte_pktmbuf_alloc_bulk(pool, kept, count) == 0);
	while (joint_deliver(joint, 0, &none, bytes, FRAME, NULL)) {
		assert_int_equal(vl_mbuf_rx_burst(port, 0, mbufs, 32), 1);
		kept[count++] = mbufs[0];
		received++;
	}
	assert_int_equal(received, QUEUE_SIZE);
	rte_pktmbuf_free_bulk(kept, count);
	assert_int_equal(vl_mbuf_rx_burst(port, 0, mbufs, 32), 0);
	assert_true(joint_deliver(joint, 0, &none, bytes, FRAME, NULL));
	assert_int_equal(vl_mbuf_rx_burst(port, 0, mbufs, 32), 1);
	rte_pktmbuf_free(mbufs[0]);
	close_joint(joint);
}

/* Posted, received and not fetched, sent and not taken, taken and not freed. */
static void closing_loses_no_mbuf(void **state)
{
	const struct vl_net_header none = {0};
	struct joint *joint = open_joint(state);

	for (unsigned i = 0; i < 20; i++) {
		struct rte_mbuf *mbuf = make(FRAME, i % 2 ? 100 : FRAME);

		if (vl_mbuf_tx_burst(port, 0, &mbuf, 1) == 0)
			rte_pktmbuf_free(mbuf);
	}
	for (unsigned i = 0; i < 3; i++)
		check_taken(joint, FRAME);
	assert_true(joint_deliver(joint, 0, &none, bytes, FRAME, NULL));
	close_joint(joint);
}

static void closing_after_the_device_has_gone_loses_none(void **state)
{
	struct joint *joint = open_joint(state);
	struct rte_mbuf *mbuf = make(FRAME, 100);

	assert_int_equal(vl_mbuf_tx_burst(port, 0, &mbuf, 1), 1);
	joint_hang_up(joint);
	close_joint(joint);
}

static const struct joint_test variant_tests[] = {
	JOINT_TEST(mbufs_of_every_shape_are_sent),
	JOINT_TEST(what_may_not_be_written_stays_as_it_is),
	JOINT_TEST(what_can_never_be_sent_is_freed_and_counted),
	JOINT_TEST(what_finds_no_room_stays_the_callers),
	JOINT_TEST(frames_are_received_as_mbufs),
	JOINT_TEST(an_empty_pool_only_holds_frames_up),
	JOINT_TEST(closing_loses_no_mbuf),
	JOINT_TEST(closing_after_the_device_has_gone_loses_none),
};

int main(void)
{
	const struct CMUnitTest others[] = {
		cmocka_unit_test(what_is_asked_for_is_in_the_header),
		cmocka_unit_test(what_was_verified_is_in_the_flags),
	};
	static char command[][24] = {
		"test_mbuf",
		"--no-huge",
		"-m",
		"32",
		"--no-shconf",
		"--no-pci",
		"--no-telemetry",
		"--log-level=error",
		"--lcores=0@(0-1)",
	};
	char *arguments[COUNT_OF(command)];

	for (unsigned i = 0; i < COUNT_OF(command); i++)
		arguments[i] = command[i];
	if (rte_eal_init((int)COUNT_OF(arguments), arguments) < 0) {
		fprintf(stderr, "EAL does not start: %s\n", rte_strerror(rte_errno));
		return 1;
	}
	pool = rte_pktmbuf_pool_create("frames", MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, -1);
	check(pool != NULL);
	pattern_fill(bytes, sizeof(bytes), 1);
	int failed = cmocka_run_group_tests_name("mbuf, offloads", others, NULL, NULL)
		     + run_for_all_variants("mbuf", variant_tests, COUNT_OF(variant_tests));
	rte_mempool_free(pool);
	(void)rte_eal_cleanup();
	return failed;
}
