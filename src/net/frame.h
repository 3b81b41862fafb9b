/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is in a frame: Ethernet and VLAN headers, the flow it belongs to, whether its virtio-net
 * header tells the truth, its checksum. Works on the head that was fetched once; see
 * virtlane/frame.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtlane/frame.h"

enum {
	ETHER_ADDRESS_SIZE = 6,
	ETHER_HEADER_SIZE = 14,
	VLAN_TAG_SIZE = 4,
	ETHERTYPE_VLAN_TAG = 0x8100,	/* IEEE 802.1Q C-tag */
	ETHERTYPE_SERVICE_TAG = 0x88a8, /* IEEE 802.1ad S-tag */
	ETHERTYPE_IP4 = 0x0800,
	ETHERTYPE_IP6 = 0x86dd,
	VLAN_ID_MASK = 0x0fff,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	TCP_HEADER_SIZE = 20, /* without options */
	TCP_HEADER_MAX = 60,
	TCP_SUM_OFFSET = 16,
	UDP_HEADER_SIZE = 8,
	UDP_SUM_OFFSET = 6,
};

/* Copy the first bytes of a frame, which may lie in several pieces; how many there are. */
uint32_t frame_fetch(const struct vl_frame *frame, uint8_t *to, uint32_t max);

/* Where headers of a frame begin, in bytes. */
struct frame_layers {
	bool ip6;
	bool routed;	  /* IPv6 with a routing header: its destination is not the last one */
	uint8_t protocol; /* of layer 4; of IPv6 when its extensions do not end in sight: theirs */
	uint16_t ip, l4;
};
/* Find them in the first bytes of a frame. False: it is not IP, or a fragment, or the header that
 * tells is not among these bytes. Where layer 4 begins may be beyond them. */
bool frame_find_layers(const uint8_t *bytes, uint32_t size, struct frame_layers *layers);
/* Whether an IPv6 header of this type has another behind it whose type it tells (RFC 8200, 4.1). */
static inline bool ip6_is_extension(uint8_t next)
{
	return next == 0 || next == 43 || next == 60; /* hop-by-hop, routing, destination */
}

static inline uint16_t load_be16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline void store_be16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Whether the frame has a C-tag; its tag control information is stored in *tci then. */
static inline bool frame_vlan_tag(const struct vl_frame *frame, uint16_t *tci)
{
	if (frame->head_size < ETHER_HEADER_SIZE + VLAN_TAG_SIZE
	    || load_be16(frame->head + 12) != ETHERTYPE_VLAN_TAG)
		return false;
	*tci = load_be16(frame->head + 14);
	return true;
}

/* Put a C-tag in, or take it out; both keep the offsets in the virtio-net header right. The room
 * in front of the head suffices for VL_HEAD_ROOM / 4 tags. */
void frame_push_vlan(struct vl_frame *frame, uint16_t tci);
void frame_pop_vlan(struct vl_frame *frame);

/* Same value for all frames of a flow (addresses, protocol, ports; both IP versions), spread well
 * over 32 bits. A frame that is not IP counts by its Ethernet addresses. */
uint32_t frame_flow_hash(const struct vl_frame *frame);

/*
 * Check the virtio-net header against the frame (VIRTIO 1.3, 5.1.6.2) and clear what a sender has
 * no business to say. `need` gets what of VL_OFFLOAD_* a receiver must be able to take.
 * Returns false if the header contradicts the frame: the frame must be dropped.
 */
/* Its part for headers that ask for something. */
bool frame_check_offloads(struct vl_frame *frame, uint32_t *need);
static inline bool frame_check_header(struct vl_frame *frame, uint32_t *need)
{
	struct vl_net_header *header = &frame->header;

	/* Most frames ask for nothing: what else the header says means nothing then. */
	if (((header->flags & VL_NET_NEEDS_CSUM) | header->gso_type) == 0) {
		*header = (struct vl_net_header){0};
		*need = 0;
		return true;
	}
	return frame_check_offloads(frame, need);
}

/* The receiver's side of `need`, from the header of a frame that was checked. */
uint32_t frame_needs_gso(const struct vl_net_header *header);
static inline uint32_t frame_needs(const struct vl_net_header *header)
{
	if (header->gso_type != VL_GSO_NONE)
		return frame_needs_gso(header);
	return header->flags & VL_NET_NEEDS_CSUM ? VL_OFFLOAD_CSUM : 0;
}

/* The Internet checksum (RFC 1071) over a checked frame from csum_start to its end, as it is to
 * be stored at csum_start + csum_offset: in the order of memory (checksum.h). */
uint16_t frame_checksum(const struct vl_frame *frame);
/* Fill in the checksum of a frame that was copied to pieces of memory of our own: what is summed up
 * is what is sent. The header is the frame's, and asks for it. */
void frame_fill_checksum(
	const struct iovec *pieces, unsigned count, const struct vl_net_header *header
);
