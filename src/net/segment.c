/* SPDX-License-Identifier: BSD-3-Clause */
/* Cutting large frames, see segment.h. */
#include "net/segment.h"

#include <arpa/inet.h>
#include <string.h>

#include "net/checksum.h"
#include "net/frame.h"

enum { /* offsets of fields, but for sizes and values of them */
       IP4_LENGTH = 2,
       IP4_ID = 4,
       IP4_FRAGMENT = 6,
       IP4_MORE_FRAGMENTS = 0x2000,
       IP4_SUM = 10,
       IP4_ADDRESSES = 12,

       IP6_SIZE = 40,
       IP6_LENGTH = 4,
       IP6_NEXT = 6,
       IP6_ADDRESSES = 8,
       IP6_FRAGMENT = 44, /* next header */
       IP6_FRAGMENT_SIZE = 8,

       TCP_SEQUENCE = 4,
       TCP_DATA_OFFSET = 12,
       TCP_FLAGS = 13,
       TCP_FIN = 0x01,
       TCP_PSH = 0x08,
       TCP_CWR = 0x80,

       UDP_LENGTH = 4,
};

/* ---- headers ---- */

/* Find and check all headers; false: they are not what the virtio-net header says. */
static bool parse(struct segmenter *segmenter, uint32_t have)
{
	const struct vl_net_header *header = &segmenter->frame->header;
	bool tcp = segmenter->kind == VL_GSO_TCPV4 || segmenter->kind == VL_GSO_TCPV6;
	uint32_t l4_size = tcp ? TCP_HEADER_SIZE : UDP_HEADER_SIZE;
	struct frame_layers layers;

	/* The sum of who is routed to by others counts the last destination (RFC 8200, 8.1). */
	if (!frame_find_layers(segmenter->headers, have, &layers) || layers.routed
	    || (tcp && layers.ip6 != (segmenter->kind == VL_GSO_TCPV6))
	    || layers.protocol != (tcp ? PROTOCOL_TCP : PROTOCOL_UDP)
	    || layers.l4 != header->csum_start || layers.l4 + l4_size > have
	    || header->csum_offset != (tcp ? TCP_SUM_OFFSET : UDP_SUM_OFFSET))
		return false;
	if (tcp) {
		l4_size = (segmenter->headers[layers.l4 + TCP_DATA_OFFSET] >> 4) * 4u;
		if (l4_size < TCP_HEADER_SIZE || layers.l4 + l4_size > have)
			return false;
	}
	segmenter->ip6 = layers.ip6;
	segmenter->ip = layers.ip;
	segmenter->l4 = layers.l4;
	segmenter->csum_offset = (uint8_t)header->csum_offset;
	segmenter->size = segmenter->first_size = (uint16_t)(layers.l4 + l4_size);
	return true;
}

/* Make room for the fragment header of IPv6 (RFC 8200, 4.5) in front of UDP's. Its identification
 * has to differ between datagrams that are on the way at the same time. */
static bool insert_fragment_header(struct segmenter *segmenter)
{
	uint8_t *fragment = segmenter->headers + segmenter->l4;
	uint32_t id = frame_flow_hash(segmenter->frame)
		      ^ (uint32_t)load_be16(fragment + UDP_SUM_OFFSET) << 16
		      ^ segmenter->frame->size;

	/* Extensions may have to stand behind it. Nobody sends such. */
	if (segmenter->l4 != segmenter->ip + IP6_SIZE)
		return false;
	memmove(fragment + IP6_FRAGMENT_SIZE, fragment, UDP_HEADER_SIZE);
	memset(fragment, 0, IP6_FRAGMENT_SIZE);
	fragment[0] = PROTOCOL_UDP;
	memcpy(fragment + 4, &id, sizeof(id));
	segmenter->headers[segmenter->ip + IP6_NEXT] = IP6_FRAGMENT;
	segmenter->size += IP6_FRAGMENT_SIZE;
	segmenter->first_size += IP6_FRAGMENT_SIZE;
	return true;
}

/* A datagram that goes in fragments: it is summed up as a whole, and UDP's header is payload. */
static bool begin_fragments(struct segmenter *segmenter)
{
	uint16_t sum = frame_checksum(segmenter->frame);

	memcpy(segmenter->headers + segmenter->l4 + UDP_SUM_OFFSET, &sum, sizeof(sum));
	segmenter->size = segmenter->l4;
	segmenter->step &= (uint16_t)~7;
	segmenter->total += UDP_HEADER_SIZE;
	if (segmenter->step < UDP_HEADER_SIZE)
		return false;
	return !segmenter->ip6 || insert_fragment_header(segmenter);
}

static void skip_payload(struct segmenter *segmenter, uint32_t size)
{
	const struct vl_frame *frame = segmenter->frame;

	segmenter->offset += size;
	for (;;) {
		size_t piece = segmenter->piece == 0 ? frame->head_size
						     : frame->tail[segmenter->piece - 1].iov_len;

		if (segmenter->offset < piece || segmenter->piece == frame->tail_count)
			return;
		segmenter->offset -= (uint32_t)piece;
		segmenter->piece++;
	}
}

bool segmenter_begin(struct segmenter *segmenter, const struct vl_frame *frame)
{
	*segmenter = (struct segmenter){
		.frame = frame,
		.kind = frame->header.gso_type & (uint8_t)~VL_GSO_ECN,
		.step = frame->header.gso_size,
	};
	uint32_t have =
		frame_fetch(frame, segmenter->headers, SEGMENT_HEADERS_MAX - IP6_FRAGMENT_SIZE);
	if (!parse(segmenter, have))
		return false;
	segmenter->total = frame->size - segmenter->size;
	skip_payload(segmenter, segmenter->size);
	if (segmenter->kind == VL_GSO_UDP && !begin_fragments(segmenter))
		return false;
	return segmenter->step > 0 && segmenter_frame_size(segmenter) - segmenter->ip <= UINT16_MAX;
}

uint32_t segmenter_frame_size(const struct segmenter *segmenter)
{
	uint32_t payload = segmenter->step < segmenter->total ? segmenter->step : segmenter->total;

	return segmenter->size + payload;
}

/* ---- one segment ---- */

static void add_be32(uint8_t *at, uint32_t value)
{
	uint32_t field;

	memcpy(&field, at, sizeof(field));
	field = htonl(ntohl(field) + value);
	memcpy(at, &field, sizeof(field));
}

static void
write_ip4(const struct segmenter *segmenter, uint8_t *header, uint32_t payload, bool last)
{
	uint32_t size = (header[0] & 0xfu) * 4;
	uint16_t sum;

	store_be16(header + IP4_LENGTH, (uint16_t)(segmenter->size - segmenter->ip + payload));
	if (segmenter->kind == VL_GSO_UDP) {
		uint16_t fragment = (uint16_t)(segmenter->done / 8);

		/* What is cut must not forbid it. */
		store_be16(header + IP4_FRAGMENT, last ? fragment : fragment | IP4_MORE_FRAGMENTS);
	} else {
		store_be16(
			header + IP4_ID, (uint16_t)(load_be16(header + IP4_ID) + segmenter->index)
		);
	}
	store_be16(header + IP4_SUM, 0);
	sum = (uint16_t)~sum_fold(bytes_sum(header, size));
	memcpy(header + IP4_SUM, &sum, sizeof(sum));
}

static void
write_ip6(const struct segmenter *segmenter, uint8_t *header, uint32_t payload, bool last)
{
	uint32_t behind = segmenter->size - segmenter->ip - IP6_SIZE + payload;

	store_be16(header + IP6_LENGTH, (uint16_t)behind);
	/* Its offset is in units of eight bytes, and its three low bits are others. */
	if (segmenter->kind == VL_GSO_UDP)
		store_be16(header + IP6_SIZE + 2, (uint16_t)(segmenter->done | (last ? 0 : 1)));
}

/* TCP's or UDP's header, and in place of its sum that of the pseudo header. */
static void write_l4(const struct segmenter *segmenter, uint8_t *head, uint32_t payload, bool last)
{
	uint8_t *l4 = head + segmenter->l4;
	uint32_t size = segmenter->size - segmenter->l4 + payload;
	const uint8_t *addresses =
		head + segmenter->ip + (segmenter->ip6 ? IP6_ADDRESSES : IP4_ADDRESSES);
	bool tcp = segmenter->csum_offset == TCP_SUM_OFFSET;
	uint64_t pseudo = bytes_sum(addresses, segmenter->ip6 ? 32 : 8)
			  + htons(tcp ? PROTOCOL_TCP : PROTOCOL_UDP) + htons((uint16_t)size);
	uint16_t sum = sum_fold(pseudo);

	if (tcp) {
		add_be32(l4 + TCP_SEQUENCE, segmenter->done);
		if (segmenter->index > 0)
			l4[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
		if (!last)
			l4[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	} else {
		store_be16(l4 + UDP_LENGTH, (uint16_t)size);
	}
	memcpy(l4 + segmenter->csum_offset, &sum, sizeof(sum));
}

/* The next `size` bytes of payload as pieces from spans[0] on; how many. */
static uint32_t
take_payload(struct segmenter *segmenter, uint32_t size, struct iovec *spans, uint32_t max)
{
	const struct vl_frame *frame = segmenter->frame;
	uint32_t count = 0;

	while (size > 0 && count < max) {
		uint8_t *base = segmenter->piece == 0 ? frame->head
						      : frame->tail[segmenter->piece - 1].iov_base;
		size_t piece_size = segmenter->piece == 0
					    ? frame->head_size
					    : frame->tail[segmenter->piece - 1].iov_len;
		uint32_t piece = (uint32_t)piece_size - segmenter->offset;

		piece = piece < size ? piece : size;
		spans[count++] = (struct iovec){base + segmenter->offset, piece};
		skip_payload(segmenter, piece);
		size -= piece;
	}
	return count;
}

static void make_segment(struct segmenter *segmenter, struct segment_batch *batch)
{
	struct vl_frame *out = &batch->frames[batch->count];
	uint32_t left = segmenter->total - segmenter->done;
	uint32_t payload = segmenter->step < left ? segmenter->step : left;
	bool first = segmenter->index == 0, last = payload == left;
	uint16_t head_size = first ? segmenter->first_size : segmenter->size;
	struct iovec *spans = &batch->spans[batch->spans_used];

	out->head = &batch->heads[batch->count][VL_HEAD_ROOM];
	memcpy(out->head, segmenter->headers, head_size);
	if (segmenter->ip6)
		write_ip6(segmenter, out->head + segmenter->ip, payload, last);
	else
		write_ip4(segmenter, out->head + segmenter->ip, payload, last);
	out->header = (struct vl_net_header){0};
	if (segmenter->kind != VL_GSO_UDP) {
		write_l4(segmenter, out->head, payload, last);
		out->header.flags = VL_NET_NEEDS_CSUM;
		out->header.csum_start = segmenter->l4;
		out->header.csum_offset = segmenter->csum_offset;
	}
	out->head_size = head_size;
	out->size = segmenter->size + payload;
	out->tail = spans;
	out->tail_count = (uint16_t
	)take_payload(segmenter, out->size - head_size, spans, SEGMENT_SPANS - batch->spans_used);
	batch->spans_used += out->tail_count;
	batch->count++;
	segmenter->done += payload;
	segmenter->index++;
}

bool segmenter_next(struct segmenter *segmenter, struct segment_batch *batch)
{
	const uint32_t spans_max = segmenter->frame->tail_count + 1u;

	batch->count = 0;
	batch->spans_used = 0;
	while (batch->count < SEGMENT_BATCH && batch->spans_used + spans_max <= SEGMENT_SPANS
	       && (segmenter->done < segmenter->total || segmenter->index == 0))
		make_segment(segmenter, batch);
	return batch->count > 0;
}
