/* SPDX-License-Identifier: BSD-3-Clause */
/* Putting segments together, see coalesce.h. */
#include "net/coalesce.h"

#include <arpa/inet.h>
#include <string.h>

#include "net/checksum.h"
#include "net/frame.h"

enum {
	ACK = 0x10,
	PSH = 0x08,
	NONE = VL_BURST_MAX,
};

static uint32_t load_be32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return ntohl(value);
}

/* ---- one segment ---- */

struct segment {
	uint8_t headers[COALESCE_HEADERS_MAX], common[COALESCE_HEADERS_MAX];
	struct frame_layers layers;
	uint16_t size; /* bytes of headers */
	uint32_t payload;
};

/* Where the payload lies. False: in too many pieces. */
static bool
find_parts(const struct vl_frame *frame, uint32_t skip, struct iovec *parts, unsigned *count)
{
	*count = 0;
	for (uint32_t i = 0; i <= frame->tail_count; i++) {
		uint8_t *from = i == 0 ? frame->head : frame->tail[i - 1].iov_base;
		uint32_t size = i == 0 ? frame->head_size : (uint32_t)frame->tail[i - 1].iov_len;
		uint32_t less = skip < size ? skip : size;

		skip -= less;
		if (size == less)
			continue;
		if (*count == COALESCE_PARTS)
			return false;
		parts[(*count)++] = (struct iovec){from + less, size - less};
	}
	return true;
}

/* Whether the checksums of IP and TCP are right, or are known to be. */
static bool has_good_sums(
	const struct vl_frame *frame,
	const struct segment *segment,
	const struct iovec *parts,
	unsigned part_count
)
{
	const uint8_t *ip = segment->headers + segment->layers.ip;
	const uint8_t *l4 = segment->headers + segment->layers.l4;
	uint32_t l4_size = segment->size - segment->layers.l4, offset = 0;
	bool ip6 = segment->layers.ip6;

	if (!ip6 && sum_fold(bytes_sum(ip, (ip[0] & 0xfu) * 4)) != UINT16_MAX)
		return false;
	if (frame->header.flags & VL_NET_DATA_VALID)
		return true;
	uint64_t sum = bytes_sum(ip + (ip6 ? 8 : 12), ip6 ? 32 : 8) + htons(PROTOCOL_TCP)
		       + htons((uint16_t)(l4_size + segment->payload)) + bytes_sum(l4, l4_size);
	for (unsigned i = 0; i < part_count; i++) {
		uint64_t piece = bytes_sum(parts[i].iov_base, parts[i].iov_len);

		sum += offset % 2 ? sum_odd(piece) : piece;
		offset += (uint32_t)parts[i].iov_len;
	}
	return sum_fold(sum) == UINT16_MAX;
}

/* Headers without what differs between the segments of a large frame: lengths, IPv4's id and sum,
 * TCP's sequence number, sum, and PSH. */
static void make_common(struct segment *segment)
{
	uint8_t *ip = segment->common + segment->layers.ip;
	uint8_t *l4 = segment->common + segment->layers.l4;

	memcpy(segment->common, segment->headers, segment->size);
	if (segment->layers.ip6) {
		memset(ip + 4, 0, 2);
	} else {
		memset(ip + 2, 0, 4);
		memset(ip + 10, 0, 2);
	}
	memset(l4 + 4, 0, 4);
	l4[13] &= (uint8_t)~PSH;
	memset(l4 + TCP_SUM_OFFSET, 0, 2);
}

/* What a frame is to the flows that are being put together. */
enum kind {
	SEGMENT,   /* it may be part of a large frame */
	OTHER_TCP, /* of a flow, which it ends: an acknowledgement, a FIN, what has a bad sum */
	NO_TCP,	   /* it concerns none */
	UNKNOWN,   /* it may belong to any: a fragment, or behind options */
};

static bool is_ip(const uint8_t *headers, uint32_t have)
{
	uint16_t type = have < ETHER_HEADER_SIZE ? 0 : load_be16(headers + ETHER_HEADER_SIZE - 2);

	return type == ETHERTYPE_IP4 || type == ETHERTYPE_IP6 || type == ETHERTYPE_VLAN_TAG
	       || type == ETHERTYPE_SERVICE_TAG;
}

/* The headers of a frame, as far as its flow shows in them. */
static enum kind read_headers(const struct vl_frame *frame, struct segment *segment)
{
	struct frame_layers *layers = &segment->layers;
	uint32_t have = frame_fetch(frame, segment->headers, sizeof(segment->headers));

	segment->size = 0;
	if (!frame_find_layers(segment->headers, have, layers))
		return is_ip(segment->headers, have) ? UNKNOWN : NO_TCP;
	if (layers->l4 - layers->ip != (layers->ip6 ? 40 : 20))
		return UNKNOWN;
	if (layers->protocol != PROTOCOL_TCP)
		return NO_TCP;
	if (layers->l4 + (uint32_t)TCP_HEADER_SIZE > have)
		return UNKNOWN;
	const uint8_t *ip = segment->headers + layers->ip, *l4 = segment->headers + layers->l4;
	uint32_t length = layers->ip6 ? load_be16(ip + 4) + 40u : load_be16(ip + 2);
	uint32_t size = layers->l4 + (l4[12] >> 4) * 4u;
	/* No flags but ACK and PSH, and as long as it says. */
	if (size < layers->l4 + (uint32_t)TCP_HEADER_SIZE || size > have
	    || length + layers->ip != frame->size || frame->size <= size || (l4[13] & ~PSH) != ACK)
		return OTHER_TCP;
	segment->size = (uint16_t)size;
	segment->payload = frame->size - size;
	return SEGMENT;
}

static enum kind read_segment(
	const struct vl_frame *frame, struct segment *segment, struct iovec *parts, unsigned *count
)
{
	enum kind kind = read_headers(frame, segment);

	if (kind != SEGMENT)
		return kind;
	if (frame->header.gso_type != VL_GSO_NONE || (frame->header.flags & VL_NET_NEEDS_CSUM)
	    || !find_parts(frame, segment->size, parts, count)
	    || !has_good_sums(frame, segment, parts, *count))
		return OTHER_TCP;
	make_common(segment);
	return SEGMENT;
}

/* ---- flows ---- */

static uint16_t id_of(const struct segment *segment)
{
	return segment->layers.ip6 ? 0 : load_be16(segment->headers + segment->layers.ip + 4);
}

/* Addresses and ports: what makes a flow, whatever else differs. */
static bool same_flow(const struct coalesce_flow *flow, const struct segment *segment)
{
	uint32_t from = flow->ip + (flow->ip6 ? 8u : 12u);

	return flow->ip == segment->layers.ip && flow->ip6 == segment->layers.ip6
	       && memcmp(flow->headers, segment->headers, flow->ip) == 0
	       && memcmp(flow->headers + from, segment->headers + from, flow->l4 + 4u - from) == 0;
}

static bool may_follow(const struct coalesce_flow *flow, const struct segment *segment)
{
	const uint8_t *l4 = segment->headers + segment->layers.l4;

	return flow->open && flow->size == segment->size && segment->payload <= flow->step
	       && flow->size + flow->payload + segment->payload - flow->ip <= UINT16_MAX
	       && load_be32(l4 + 4) == flow->next_sequence
	       && (flow->ip6 || id_of(segment) == flow->id)
	       && memcmp(flow->common, segment->common, flow->size) == 0;
}

static void add_segment(struct coalesce_flow *flow, const struct segment *segment)
{
	bool push = segment->headers[segment->layers.l4 + 13] & PSH;

	flow->payload += segment->payload;
	flow->next_sequence += segment->payload;
	flow->id++;
	flow->count++;
	/* What comes behind a short one, or was to be delivered at once, begins anew. */
	flow->open = !push && segment->payload == flow->step;
	if (push)
		flow->headers[flow->l4 + 13] |= PSH;
}

static void begin_flow(struct coalesce_flow *flow, const struct segment *segment, unsigned place)
{
	memcpy(flow->headers, segment->headers, segment->size);
	memcpy(flow->common, segment->common, segment->size);
	flow->size = segment->size;
	flow->ip = segment->layers.ip;
	flow->l4 = segment->layers.l4;
	flow->ip6 = segment->layers.ip6;
	flow->step = (uint16_t)segment->payload;
	flow->id = id_of(segment);
	flow->next_sequence = load_be32(segment->headers + segment->layers.l4 + 4);
	flow->payload = 0;
	flow->count = 0;
	flow->place = place;
	add_segment(flow, segment);
}

/* The newest frame of a segment's flow among the last few; NULL: none. */
static struct coalesce_flow *
newest_of_flow(struct coalesce_batch *batch, const struct segment *segment)
{
	unsigned oldest =
		batch->flow_count > COALESCE_FLOWS ? batch->flow_count - COALESCE_FLOWS : 0;

	for (unsigned i = batch->flow_count; i > oldest; i--) {
		if (same_flow(&batch->flows[i - 1], segment))
			return &batch->flows[i - 1];
	}
	return NULL;
}

/* The one that a segment becomes part of; NULL: none. What it does not fit is ended, or what comes
 * later could overtake it. */
static struct coalesce_flow *find_flow(struct coalesce_batch *batch, const struct segment *segment)
{
	struct coalesce_flow *flow = newest_of_flow(batch, segment);

	if (flow == NULL || may_follow(flow, segment))
		return flow;
	flow->open = false;
	return NULL;
}

/* A frame that is no segment: nothing of its flow may go past it. */
static void end_flows(struct coalesce_batch *batch, enum kind kind, const struct segment *segment)
{
	struct coalesce_flow *flow = kind == OTHER_TCP ? newest_of_flow(batch, segment) : NULL;

	if (flow != NULL)
		flow->open = false;
	for (unsigned i = 0; kind == UNKNOWN && i < batch->flow_count; i++)
		batch->flows[i].open = false;
}

/* ---- large frames ---- */

static void write_headers(struct coalesce_flow *flow)
{
	uint8_t *ip = flow->headers + flow->ip, *l4 = flow->headers + flow->l4;
	uint32_t l4_size = flow->size - flow->l4 + flow->payload;

	if (flow->ip6) {
		store_be16(ip + 4, (uint16_t)l4_size);
	} else {
		store_be16(ip + 2, (uint16_t)(flow->l4 - flow->ip + l4_size));
		memset(ip + 10, 0, 2);
		uint16_t sum = (uint16_t)~sum_fold(bytes_sum(ip, 20));
		memcpy(ip + 10, &sum, sizeof(sum));
	}
	uint16_t pseudo = sum_fold(
		bytes_sum(ip + (flow->ip6 ? 8 : 12), flow->ip6 ? 32 : 8) + htons(PROTOCOL_TCP)
		+ htons((uint16_t)l4_size)
	);
	memcpy(l4 + TCP_SUM_OFFSET, &pseudo, sizeof(pseudo));
}

static void make_large(struct coalesce_flow *flow, struct vl_frame *frame, struct iovec *spans)
{
	write_headers(flow);
	frame->header = (struct vl_net_header){
		.flags = VL_NET_NEEDS_CSUM,
		.gso_type = flow->ip6 ? VL_GSO_TCPV6 : VL_GSO_TCPV4,
		.hdr_len = flow->size,
		.gso_size = flow->step,
		.csum_start = flow->l4,
		.csum_offset = TCP_SUM_OFFSET,
	};
	frame->head = flow->headers;
	frame->head_size = flow->size;
	frame->size = flow->size;
	frame->tail = spans;
	frame->tail_count = 0;
}

unsigned frames_coalesce(
	struct coalesce_batch *batch,
	struct vl_frame *const *frames,
	unsigned count,
	struct vl_frame **out
)
{
	unsigned made = 0, spans_used = 0;

	batch->flow_count = 0;
	for (unsigned i = 0; i < count; i++) {
		struct coalesce_flow *flow;
		struct segment segment;

		batch->flow_of[i] = NONE;
		enum kind kind =
			read_segment(frames[i], &segment, batch->parts[i], &batch->part_counts[i]);
		if (kind != SEGMENT) {
			end_flows(batch, kind, &segment);
			out[made++] = frames[i];
			continue;
		}
		flow = find_flow(batch, &segment);
		if (flow != NULL) {
			add_segment(flow, &segment);
		} else {
			flow = &batch->flows[batch->flow_count++];
			begin_flow(flow, &segment, made);
			out[made++] = frames[i];
		}
		batch->flow_of[i] = (unsigned)(flow - batch->flows);
	}
	for (unsigned f = 0; f < batch->flow_count; f++) {
		struct coalesce_flow *flow = &batch->flows[f];
		struct vl_frame *large = &batch->frames[f];

		if (flow->count == 1)
			continue;
		make_large(flow, large, &batch->spans[spans_used]);
		for (unsigned i = 0; i < count; i++) {
			if (batch->flow_of[i] != f)
				continue;
			for (unsigned k = 0; k < batch->part_counts[i]; k++) {
				batch->spans[spans_used++] = batch->parts[i][k];
				large->tail_count++;
			}
		}
		large->size += flow->payload;
		out[flow->place] = large;
	}
	return made;
}
