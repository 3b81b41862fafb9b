/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP and UDP for tests, in IPv4 or IPv6, written field by field from the RFCs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtlane/frame.h"

enum {
	PACKET_MAX = 66000,
};

struct packet {
	unsigned tags; /* C-tags */
	bool ip6, udp;
	unsigned ip_words;  /* IPv4: options of 4 bytes; IPv6: hop-by-hop headers of 8 bytes */
	unsigned tcp_words; /* options of 4 bytes */
	uint8_t tcp_flags;
	uint16_t ip_id;
	uint32_t sequence;
	uint32_t payload; /* bytes */
	uint64_t seed;	  /* of the payload */
};

/* Offsets in what was made. */
struct packet_layout {
	uint32_t ip, l4, payload, size;
};

struct packet_layout packet_layout(const struct packet *packet);
/* Make a packet whose checksum is partial; *header says so. Returns its size. */
uint32_t packet_make(const struct packet *packet, uint8_t *bytes, struct vl_net_header *header);
/* A virtio-net header for one that is to be cut in pieces of `gso_size`. */
struct vl_net_header packet_large(const struct packet *packet, uint16_t gso_size, bool fragments);
/* The sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1), folded, of a packet at `ip`. */
uint16_t packet_pseudo_sum(const uint8_t *ip, bool ip6, uint8_t protocol, uint32_t size);
/* Whether the checksums of layer 3 and 4 are right. `size`: of the frame. */
void packet_check_sums(
	const uint8_t *bytes, const struct packet_layout *layout, bool ip6, bool udp
);
