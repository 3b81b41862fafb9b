/* SPDX-License-Identifier: BSD-3-Clause */
/* Parsing of frames, see frame.h. */
#include "net/frame.h"

#include <string.h>

#include "net/checksum.h"

void frame_push_vlan(struct vl_frame *frame, uint16_t tci)
{
	uint8_t *head = frame->head - VLAN_TAG_SIZE;

	memmove(head, frame->head, 2 * ETHER_ADDRESS_SIZE);
	store_be16(head + 12, ETHERTYPE_VLAN_TAG);
	store_be16(head + 14, tci);
	frame->head = head;
	frame->head_size += VLAN_TAG_SIZE;
	frame->size += VLAN_TAG_SIZE;
	if (frame->header.flags & VL_NET_NEEDS_CSUM)
		frame->header.csum_start += VLAN_TAG_SIZE;
	if (frame->header.gso_type != VL_GSO_NONE)
		frame->header.hdr_len += VLAN_TAG_SIZE;
}

void frame_pop_vlan(struct vl_frame *frame)
{
	uint8_t *head = frame->head + VLAN_TAG_SIZE;

	memmove(head, frame->head, 2 * ETHER_ADDRESS_SIZE);
	frame->head = head;
	frame->head_size -= VLAN_TAG_SIZE;
	frame->size -= VLAN_TAG_SIZE;
	if (frame->header.flags & VL_NET_NEEDS_CSUM)
		frame->header.csum_start -= VLAN_TAG_SIZE;
	if (frame->header.gso_type != VL_GSO_NONE)
		frame->header.hdr_len -= VLAN_TAG_SIZE;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
	/* multiply and fold: cheap, and every input bit reaches the high bits that are used */
	hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

static uint64_t mix_bytes(uint64_t hash, const uint8_t *bytes, uint32_t size)
{
	for (; size >= 4; size -= 4, bytes += 4) {
		uint32_t word;

		memcpy(&word, bytes, sizeof(word));
		hash = mix(hash, word);
	}
	return hash;
}

static bool has_ports(uint8_t protocol)
{
	return protocol == 6 || protocol == 17 || protocol == 132; /* TCP, UDP, SCTP */
}

uint32_t frame_flow_hash(const struct vl_frame *frame)
{
	const uint8_t *head = frame->head;
	uint32_t size = frame->head_size;
	uint32_t offset = ETHER_HEADER_SIZE;
	uint16_t tci;
	uint64_t hash = 0;

	if (frame_vlan_tag(frame, &tci)) {
		hash = tci & VLAN_ID_MASK;
		offset += VLAN_TAG_SIZE;
	}
	uint16_t type = load_be16(head + offset - 2);
	if (type == ETHERTYPE_IP4 && size >= offset + 20) {
		uint32_t header_size = (head[offset] & 0xfu) * 4;
		uint16_t fragment = load_be16(head + offset + 6) & 0x3fff; /* MF and offset */

		hash = mix_bytes(mix(hash, head[offset + 9]), head + offset + 12, 8);
		/* Only a first fragment has ports: all of a datagram must go one way. */
		if (fragment == 0 && has_ports(head[offset + 9])
		    && size >= offset + header_size + 4)
			hash = mix_bytes(hash, head + offset + header_size, 4);
	} else if (type == ETHERTYPE_IP6 && size >= offset + 40) {
		hash = mix_bytes(mix(hash, head[offset + 6]), head + offset + 8, 32);
		if (has_ports(head[offset + 6]) && size >= offset + 44)
			hash = mix_bytes(hash, head + offset + 40, 4);
	} else {
		hash = mix_bytes(hash, head, 2 * ETHER_ADDRESS_SIZE);
	}
	return (uint32_t)hash;
}

uint32_t frame_needs_gso(const struct vl_net_header *header)
{
	uint32_t need = header->flags & VL_NET_NEEDS_CSUM ? VL_OFFLOAD_CSUM : 0;

	if (header->gso_type & VL_GSO_ECN)
		need |= VL_OFFLOAD_ECN;
	switch (header->gso_type & ~VL_GSO_ECN) {
	case VL_GSO_TCPV4:
		return need | VL_OFFLOAD_TSO4;
	case VL_GSO_TCPV6:
		return need | VL_OFFLOAD_TSO6;
	case VL_GSO_UDP:
		return need | VL_OFFLOAD_UFO;
	case VL_GSO_UDP_L4:
		return need | VL_OFFLOAD_USO;
	default:
		return need;
	}
}

static bool is_gso_type(uint8_t type)
{
	bool ecn = type & VL_GSO_ECN;

	switch (type & ~VL_GSO_ECN) {
	case VL_GSO_TCPV4:
	case VL_GSO_TCPV6:
		return true;
	case VL_GSO_NONE:
	case VL_GSO_UDP:
	case VL_GSO_UDP_L4:
		return !ecn;
	default:
		return false;
	}
}

uint32_t frame_fetch(const struct vl_frame *frame, uint8_t *to, uint32_t max)
{
	uint32_t have = frame->head_size < max ? frame->head_size : max;

	memcpy(to, frame->head, have);
	for (uint32_t i = 0; i < frame->tail_count && have < max; i++) {
		size_t size =
			frame->tail[i].iov_len < max - have ? frame->tail[i].iov_len : max - have;

		memcpy(to + have, frame->tail[i].iov_base, size);
		have += (uint32_t)size;
	}
	return have;
}

/* Behind Ethernet header and tags; 0: IP is not there. */
static uint16_t find_ip(const uint8_t *bytes, uint32_t size, bool *ip6)
{
	for (uint32_t at = ETHER_HEADER_SIZE; at <= size; at += VLAN_TAG_SIZE) {
		uint16_t type = load_be16(bytes + at - 2);

		*ip6 = type == ETHERTYPE_IP6;
		if (type == ETHERTYPE_IP4 || type == ETHERTYPE_IP6)
			return (uint16_t)at;
		if (type != ETHERTYPE_VLAN_TAG && type != ETHERTYPE_SERVICE_TAG)
			return 0;
	}
	return 0;
}

static bool find_l4_in_ip4(const uint8_t *bytes, uint32_t size, struct frame_layers *layers)
{
	const uint8_t *header = bytes + layers->ip;

	if (layers->ip + 20u > size || header[0] >> 4 != 4 || (header[0] & 0xf) < 5
	    || (load_be16(header + 6) & 0x3fff) != 0) /* MF and offset */
		return false;
	layers->protocol = header[9];
	layers->l4 = (uint16_t)(layers->ip + (header[0] & 0xf) * 4);
	return true;
}

static bool find_l4_in_ip6(const uint8_t *bytes, uint32_t size, struct frame_layers *layers)
{
	uint32_t at = layers->ip + 40u;

	if (at > size || bytes[layers->ip] >> 4 != 6)
		return false;
	layers->protocol = bytes[layers->ip + 6];
	layers->routed = false;
	while (ip6_is_extension(layers->protocol) && at + 2 <= size) {
		layers->routed |= layers->protocol == 43;
		layers->protocol = bytes[at];
		at += (bytes[at + 1] + 1u) * 8;
	}
	layers->l4 = (uint16_t)at;
	return true;
}

bool frame_find_layers(const uint8_t *bytes, uint32_t size, struct frame_layers *layers)
{
	layers->routed = false;
	layers->ip = find_ip(bytes, size, &layers->ip6);
	if (layers->ip == 0)
		return false;
	return layers->ip6 ? find_l4_in_ip6(bytes, size, layers)
			   : find_l4_in_ip4(bytes, size, layers);
}

/* hdr_len is a hint (5.1.6.2), and may lie: what it says of TCP's header, if that can be. */
static uint32_t said_tcp_size(const struct vl_frame *frame)
{
	const struct vl_net_header *header = &frame->header;
	uint32_t least = header->csum_start + TCP_HEADER_SIZE;
	uint32_t most = header->csum_start + TCP_HEADER_MAX;

	if (header->hdr_len < least || header->hdr_len > most || header->hdr_len > frame->size)
		return TCP_HEADER_SIZE;
	return header->hdr_len - header->csum_start;
}

/* Whether a large frame is what its type says, as far as its head shows that: a receiver's kernel
 * or a NIC would cut it by this. */
static bool check_large(struct vl_frame *frame)
{
	struct vl_net_header *header = &frame->header;
	uint8_t type = header->gso_type & (uint8_t)~VL_GSO_ECN;
	bool tcp = type == VL_GSO_TCPV4 || type == VL_GSO_TCPV6;
	struct frame_layers layers;

	if (!frame_find_layers(frame->head, frame->head_size, &layers)
	    || (tcp && layers.ip6 != (type == VL_GSO_TCPV6))
	    || header->csum_offset != (tcp ? TCP_SUM_OFFSET : UDP_SUM_OFFSET))
		return false;
	uint32_t size = tcp ? said_tcp_size(frame) : UDP_HEADER_SIZE;
	/* Who cuts it looks at what lies beyond the head. */
	if (!ip6_is_extension(layers.protocol)) {
		uint32_t flags = layers.l4 + 12u; /* with TCP's data offset */

		if (layers.protocol != (tcp ? PROTOCOL_TCP : PROTOCOL_UDP)
		    || layers.l4 != header->csum_start)
			return false;
		if (tcp && flags < frame->head_size)
			size = (frame->head[flags] >> 4) * 4u;
		if (tcp && size < TCP_HEADER_SIZE)
			return false;
	}
	size += header->csum_start;
	header->hdr_len = (uint16_t)size;
	return size <= frame->size && size <= UINT16_MAX - VL_HEAD_ROOM;
}

bool frame_check_offloads(struct vl_frame *frame, uint32_t *need)
{
	struct vl_net_header *header = &frame->header;
	uint32_t end = (uint32_t)header->csum_start + header->csum_offset + 2;
	uint32_t first = ETHER_HEADER_SIZE;
	uint16_t tci;

	*need = 0;
	/* A large frame comes with a partial checksum: its segments need one each. */
	if (!is_gso_type(header->gso_type) || !(header->flags & VL_NET_NEEDS_CSUM))
		return false;
	/* What a sender may say; the rest is the receive direction's. */
	header->flags = VL_NET_NEEDS_CSUM;
	header->num_buffers = 0;
	/* The sum is written later: it must not reach what is decided on now, nor wrap when a tag
	 * is pushed. */
	if (frame_vlan_tag(frame, &tci))
		first += VLAN_TAG_SIZE;
	if (header->csum_start < first || header->csum_start > UINT16_MAX - VL_HEAD_ROOM
	    || end > frame->size)
		return false;
	if (header->gso_type == VL_GSO_NONE) {
		header->gso_size = 0;
		header->hdr_len = 0;
	} else if (header->gso_size == 0 || !check_large(frame)) {
		return false;
	}
	*need = frame_needs(header);
	return true;
}

uint16_t frame_checksum(const struct vl_frame *frame)
{
	uint32_t skip = frame->header.csum_start, offset = 0;
	uint64_t sum = 0;

	for (uint32_t i = 0; i <= frame->tail_count; i++) {
		const uint8_t *from = i == 0 ? frame->head : frame->tail[i - 1].iov_base;
		uint32_t size = i == 0 ? frame->head_size : (uint32_t)frame->tail[i - 1].iov_len;
		uint32_t skipped = skip < size ? skip : size;
		uint64_t piece = bytes_sum(from + skipped, size - skipped);

		sum += offset % 2 == 0 ? piece : sum_odd(piece);
		offset += size - skipped;
		skip -= skipped;
	}
	return sum_finish(sum);
}

void frame_fill_checksum(
	const struct iovec *pieces, unsigned count, const struct vl_net_header *header
)
{
	uint32_t start = header->csum_start, at = start + header->csum_offset, offset = 0;
	uint8_t *place[2] = {NULL, NULL}; /* its bytes may lie in two pieces */
	uint64_t sum = 0;

	for (unsigned i = 0; i < count; i++) {
		uint8_t *base = pieces[i].iov_base;
		uint32_t size = (uint32_t)pieces[i].iov_len;
		uint32_t skip = start > offset ? start - offset : 0;

		for (uint32_t k = 0; k < 2; k++) {
			if (at + k - offset < size)
				place[k] = base + (at + k - offset);
		}
		if (skip < size) {
			uint64_t piece = bytes_sum(base + skip, size - skip);

			sum += (offset + skip - start) % 2 ? sum_odd(piece) : piece;
		}
		offset += size;
	}
	uint16_t result = sum_finish(sum);
	for (unsigned k = 0; k < 2; k++) {
		if (place[k] != NULL)
			*place[k] = ((const uint8_t *)&result)[k];
	}
}
