/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * segment CPU BYTES MSS: what cutting a TCP frame (IPv4) costs. One line of four figures, cycles a
 * frame, of the best of many turns: ours and rte_gso's, first the cutting alone (headers rebuilt,
 * payload left where it is), then all the way from the sender's memory to the receiver's buffers
 * with checksums filled in. For rte_gso the frame has to be in mbufs first, which is part of the
 * latter.
 */
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_gso.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cycles.h"
#include "net/checksum.h"
#include "net/frame.h"
#include "net/segment.h"

enum {
	HEADERS = 54,
	BUFFERS = 256, /* of the receiver */
	BUFFER_SIZE = 2048,
	TURNS = 2000,
	SEGMENTS_MAX = 256,
	MBUF_ROOM = 2048,
};

static uint8_t bytes[1 << 17];
static uint8_t *buffers;
static unsigned next_buffer;
static struct rte_mempool *direct, *indirect;

static uint8_t *take_buffer(void)
{
	return buffers + (size_t)(next_buffer++ % BUFFERS) * BUFFER_SIZE;
}

static void make_frame(uint32_t size)
{
	static const uint8_t headers[HEADERS] = {
		2, 0, 0, 0, 0,	2, 2, 0, 0,  0, 0,    1,    8,	0, 0x45, 0, 0, 0,
		0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0,    1,    10, 0, 0,	 2, 0, 9,
		0, 9, 0, 0, 0,	1, 0, 0, 0,  0, 0x50, 0x18, 1,	0, 0,	 0, 0, 0,
	};

	for (uint32_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	memcpy(bytes, headers, sizeof(headers));
	store_be16(bytes + 16, (uint16_t)(size - 14));
}

/* ---- ours ---- */

static void deliver(const struct vl_frame *segment)
{
	uint8_t *to = take_buffer(), *data = to + 12;
	uint64_t sum;
	uint32_t start = segment->header.csum_start, at = segment->head_size;

	memset(to, 0, 12);
	memcpy(data, segment->head, segment->head_size);
	sum = bytes_sum(data + start, segment->head_size - start);
	for (unsigned i = 0; i < segment->tail_count; i++) {
		const struct iovec *piece = &segment->tail[i];
		uint64_t part = bytes_copy_and_sum(data + at, piece->iov_base, piece->iov_len);

		sum += (at - start) % 2 ? sum_odd(part) : part;
		at += (uint32_t)piece->iov_len;
	}
	uint16_t result = sum_finish(sum);
	memcpy(data + start + segment->header.csum_offset, &result, sizeof(result));
}

static uint64_t cut_ours(uint32_t size, uint16_t mss, bool all_the_way)
{
	static struct segment_batch batch;
	struct iovec tail = {bytes + VL_HEAD_MAX, size - VL_HEAD_MAX};
	struct segmenter segmenter;
	struct vl_frame frame = {
		.header = {VL_NET_NEEDS_CSUM, VL_GSO_TCPV4, HEADERS, mss, 34, 16, 0},
		.head_size = VL_HEAD_MAX,
		.tail_count = 1,
		.size = size,
		.tail = &tail,
	};
	uint64_t begin = cycles_now();

	frame.head = frame.bytes;
	memcpy(frame.bytes, bytes, VL_HEAD_MAX);
	if (!segmenter_begin(&segmenter, &frame))
		abort();
	while (segmenter_next(&segmenter, &batch)) {
		for (unsigned i = 0; all_the_way && i < batch.count; i++)
			deliver(&batch.frames[i]);
	}
	return cycles_now() - begin;
}

/* ---- rte_gso ---- */

static struct rte_mbuf *to_mbufs(uint32_t size)
{
	struct rte_mbuf *first = rte_pktmbuf_alloc(direct), *last = first;
	uint32_t done = 0;

	while (first != NULL && last != NULL) {
		uint32_t room = rte_pktmbuf_tailroom(last);
		uint32_t piece = size - done < room ? size - done : room;

		memcpy(rte_pktmbuf_mtod(last, uint8_t *), bytes + done, piece);
		last->data_len = (uint16_t)piece;
		done += piece;
		if (done == size)
			break;
		last = last->next = rte_pktmbuf_alloc(direct);
		first->nb_segs++;
	}
	if (first == NULL || last == NULL)
		abort();
	first->pkt_len = size;
	first->l2_len = 14;
	first->l3_len = 20;
	first->l4_len = 20;
	first->ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4;
	return first;
}

static void deliver_mbuf(struct rte_mbuf *segment)
{
	uint8_t *to = take_buffer(), *data = to + 12;

	memset(to, 0, 12);
	for (const struct rte_mbuf *m = segment; m != NULL; m = m->next) {
		memcpy(data, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
		data += m->data_len;
	}
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(void *)(to + 26);
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	memset(to + 12 + 50, 0, 2);
	uint16_t sum = rte_ipv4_udptcp_cksum(ip, to + 12 + 34);
	memcpy(to + 12 + 50, &sum, sizeof(sum));
}

static uint64_t cut_rte(uint32_t size, uint16_t mss, bool all_the_way)
{
	const struct rte_gso_ctx context = {
		.direct_pool = direct,
		.indirect_pool = indirect,
		.gso_types = RTE_ETH_TX_OFFLOAD_TCP_TSO,
		.gso_size = (uint16_t)(mss + HEADERS),
	};
	struct rte_mbuf *segments[SEGMENTS_MAX];
	uint64_t begin = cycles_now();
	struct rte_mbuf *whole = to_mbufs(size);
	uint64_t copied = cycles_now();
	int count = rte_gso_segment(whole, &context, segments, SEGMENTS_MAX);

	if (count <= 0)
		abort();
	uint64_t cut = cycles_now();
	for (int i = 0; all_the_way && i < count; i++)
		deliver_mbuf(segments[i]);
	rte_pktmbuf_free_bulk(segments, (unsigned)count);
	rte_pktmbuf_free(whole);
	return all_the_way ? cycles_now() - begin : cut - copied;
}

static uint64_t
best_of(uint64_t (*cut)(uint32_t size, uint16_t mss, bool all_the_way),
	uint32_t size,
	uint16_t mss,
	bool all_the_way)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < TURNS; i++) {
		uint64_t cycles = cut(size, mss, all_the_way);

		best = cycles < best ? cycles : best;
	}
	return best;
}

int main(int count, char **words)
{
	static char words_of_eal[][24] = {
		"segment",
		"--no-huge",
		"--no-shconf",
		"--no-telemetry",
		"--no-pci",
		"--log-level=error",
		"-m",
		"128"};
	char *eal[sizeof(words_of_eal) / sizeof(words_of_eal[0])];

	if (count != 4) {
		(void)fprintf(stderr, "usage: segment CPU BYTES MSS\n");
		return 2;
	}
	uint32_t size = (uint32_t)atol(words[2]);
	uint16_t mss = (uint16_t)atoi(words[3]);
	for (unsigned i = 0; i < sizeof(eal) / sizeof(eal[0]); i++)
		eal[i] = words_of_eal[i];
	if (rte_eal_init(sizeof(eal) / sizeof(eal[0]), eal) < 0
	    || pin_to_cpu((unsigned)atoi(words[1])) < 0)
		return 1;
	direct = rte_pktmbuf_pool_create(
		"direct", 4096, 256, 0, MBUF_ROOM + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY
	);
	indirect = rte_pktmbuf_pool_create("indirect", 4096, 256, 0, 0, SOCKET_ID_ANY);
	buffers = aligned_alloc(4096, (size_t)BUFFERS * BUFFER_SIZE);
	if (direct == NULL || indirect == NULL || buffers == NULL || size <= HEADERS
	    || size > sizeof(bytes) || mss > BUFFER_SIZE - 100)
		return 1;
	make_frame(size);
	(void
	)printf("%lu %lu %lu %lu\n",
		(unsigned long)best_of(cut_ours, size, mss, false),
		(unsigned long)best_of(cut_rte, size, mss, false),
		(unsigned long)best_of(cut_ours, size, mss, true),
		(unsigned long)best_of(cut_rte, size, mss, true));
	return 0;
}
