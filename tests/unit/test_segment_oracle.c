/* SPDX-License-Identifier: BSD-3-Clause */
/* Large frames cut by us and by DPDK's rte_gso, where that can (IPv4, good headers): all segments
 * have to be the same, but for the sums, which it leaves to others. */
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_gso.h>
#include <rte_mbuf.h>
#include <string.h>

#include "base/error.h"
#include "check.h"
#include "net/frame.h"
#include "net/segment.h"
#include "packets.h"
#include "port/eal.h"
#include "switch/state.h"
#include "traffic.h"

enum {
	OUT_MAX = 128,
};

static struct rte_mempool *direct, *indirect;
static uint8_t bytes[PACKET_MAX], ours[PACKET_MAX], theirs[PACKET_MAX];

static struct rte_mbuf *
to_mbuf(const struct packet_layout *layout, const struct vl_net_header *header, bool udp)
{
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(direct);

	check(mbuf != NULL);
	memcpy(rte_pktmbuf_append(mbuf, (uint16_t)layout->size), bytes, layout->size);
	mbuf->l2_len = layout->ip;
	mbuf->l3_len = layout->l4 - layout->ip;
	mbuf->l4_len = layout->payload - layout->l4;
	mbuf->tso_segsz = header->gso_size;
	mbuf->ol_flags = RTE_MBUF_F_TX_IPV4 | (udp ? RTE_MBUF_F_TX_UDP_SEG : RTE_MBUF_F_TX_TCP_SEG);
	return mbuf;
}

static uint32_t flatten_mbuf(const struct rte_mbuf *mbuf, uint8_t *to)
{
	uint32_t size = 0;

	for (; mbuf != NULL; mbuf = mbuf->next) {
		memcpy(to + size, rte_pktmbuf_mtod(mbuf, uint8_t *), mbuf->data_len);
		size += mbuf->data_len;
	}
	return size;
}

/* What rte_gso leaves as it was. */
static void clear_sums(uint8_t *frame, const struct packet_layout *layout, bool udp)
{
	memset(frame + layout->ip + 10, 0, 2);
	if (!udp)
		memset(frame + layout->l4 + 16, 0, 2);
}

static void compare(const struct packet *packet, uint16_t gso_size)
{
	struct packet_layout layout = packet_layout(packet);
	struct vl_net_header header;
	static struct segment_batch batch;
	struct rte_mbuf *out[OUT_MAX];
	struct segmenter segmenter;
	struct built_frame built;
	unsigned n = 0;
	uint32_t need;

	(void)packet_make(packet, bytes, &header);
	/* Which of the two may be cut is nobody's business here. */
	store_be16(bytes + layout.ip + 6, 0);
	header = packet_large(packet, gso_size, packet->udp);
	struct rte_mbuf *mbuf = to_mbuf(&layout, &header, packet->udp);
	/* Its size is that of a whole frame. */
	const struct rte_gso_ctx context = {
		.direct_pool = direct,
		.indirect_pool = indirect,
		.gso_types = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_UDP_TSO,
		.gso_size = (uint16_t)(gso_size + (packet->udp ? layout.l4 : layout.payload)),
	};
	int count = rte_gso_segment(mbuf, &context, out, OUT_MAX);
	assert_true(count > 1);
	frame_build(&built, bytes, layout.size, VL_HEAD_MAX, NULL);
	built.frame.header = header;
	assert_true(frame_check_header(&built.frame, &need));
	assert_true(segmenter_begin(&segmenter, &built.frame));
	while (segmenter_next(&segmenter, &batch)) {
		for (unsigned i = 0; i < batch.count; i++, n++) {
			assert_true(n < (unsigned)count);
			uint32_t size = flatten_mbuf(out[n], theirs);
			assert_int_equal(batch.frames[i].size, size);
			frame_flatten(&batch.frames[i], ours);
			clear_sums(ours, &layout, packet->udp);
			clear_sums(theirs, &layout, packet->udp);
			if (packet->udp && n == 0) /* a datagram's sum, which it leaves partial */
				memcpy(theirs + layout.l4 + 6, ours + layout.l4 + 6, 2);
			assert_memory_equal(ours, theirs, size);
		}
	}
	assert_int_equal(n, count);
	rte_pktmbuf_free_bulk(out, (unsigned)count);
	rte_pktmbuf_free(mbuf);
}

static void segments_are_those_of_rte_gso(void **)
{
	static const uint16_t sizes[] = {536, 1000, 1448, 8000};

	for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
		for (uint32_t more = 1; more < 60000; more += 4999 + more) {
			struct packet packet = {
				.tags = 0,
				.tcp_words = more % 5,
				/* It does not know that CWR is for the first alone. */
				.tcp_flags = 0x19,
				.ip_id = 65530,
				.sequence = 4294960000u,
				.payload = sizes[i] + more,
				.seed = more,
			};

			if (packet.payload < sizes[i] * (OUT_MAX - 1u))
				compare(&packet, sizes[i]);
		}
	}
}

static void fragments_are_those_of_rte_gso(void **)
{
	static const uint16_t sizes[] = {504, 1000, 1480, 8000};

	for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
		for (uint32_t more = 1; more < 60000; more += 4999 + more) {
			struct packet packet = {
				.udp = true,
				.ip_id = 77,
				.payload = sizes[i] + more,
				.seed = more,
			};

			if (packet.payload < sizes[i] * (OUT_MAX - 1u))
				compare(&packet, sizes[i]);
		}
	}
}

static int before_all(void **)
{
	struct error error;

	if (eal_start(&error) < 0)
		return -1;
	direct = rte_pktmbuf_pool_create("direct", 511, 0, 0, UINT16_MAX, SOCKET_ID_ANY);
	indirect = rte_pktmbuf_pool_create("indirect", 511, 0, 0, 0, SOCKET_ID_ANY);
	return direct == NULL || indirect == NULL ? -1 : 0;
}

static int after_all(void **)
{
	rte_mempool_free(direct);
	rte_mempool_free(indirect);
	return rte_eal_cleanup();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_are_those_of_rte_gso),
		cmocka_unit_test(fragments_are_those_of_rte_gso),
	};

	return cmocka_run_group_tests_name("segment_oracle", tests, before_all, after_all);
}
