/* SPDX-License-Identifier: BSD-3-Clause */
/* See packets.h. */
#include "packets.h"

#include <string.h>

#include "check.h"
#include "net/frame.h"
#include "traffic.h"

struct packet_layout packet_layout(const struct packet *packet)
{
	struct packet_layout layout = {.ip = 14 + 4 * packet->tags};

	layout.l4 =
		layout.ip + (packet->ip6 ? 40 + 8 * packet->ip_words : 20 + 4 * packet->ip_words);
	layout.payload = layout.l4 + (packet->udp ? 8 : 20 + 4 * packet->tcp_words);
	layout.size = layout.payload + packet->payload;
	return layout;
}

static uint32_t sum_words(const uint8_t *bytes, uint32_t size)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < size; i += 2)
		sum += load_be16(bytes + i);
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

uint16_t packet_pseudo_sum(const uint8_t *ip, bool ip6, uint8_t protocol, uint32_t size)
{
	uint32_t addresses = ip6 ? sum_words(ip + 8, 32) : sum_words(ip + 12, 8);

	return fold(addresses + protocol + (size >> 16) + (size & 0xffff));
}

static void make_ip4(const struct packet *packet, const struct packet_layout *layout, uint8_t *ip)
{
	uint32_t size = layout->l4 - layout->ip;

	memset(ip, 0, size);
	ip[0] = (uint8_t)(0x40 | size / 4);
	store_be16(ip + 2, (uint16_t)(layout->size - layout->ip));
	store_be16(ip + 4, packet->ip_id);
	store_be16(ip + 6, 0x4000); /* DF */
	ip[8] = 64;
	ip[9] = packet->udp ? 17 : 6;
	memcpy(ip + 12, (const uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
	memset(ip + 20, 1, size - 20); /* no operation */
	store_be16(ip + 10, (uint16_t)~fold(sum_words(ip, size)));
}

static void make_ip6(const struct packet *packet, const struct packet_layout *layout, uint8_t *ip)
{
	uint8_t protocol = packet->udp ? 17 : 6;

	memset(ip, 0, layout->l4 - layout->ip);
	ip[0] = 0x60;
	store_be16(ip + 4, (uint16_t)(layout->size - layout->ip - 40));
	ip[6] = packet->ip_words > 0 ? 0 : protocol;
	ip[7] = 64;
	ip[8] = ip[24] = 0xfd;
	ip[23] = 1;
	ip[39] = 2;
	for (unsigned i = 0; i < packet->ip_words; i++) {
		uint8_t *option = ip + 40 + (size_t)8 * i;

		option[0] = i + 1 < packet->ip_words ? 0 : protocol;
		option[2] = 1; /* PadN of 4 bytes */
		option[3] = 4;
	}
}

static void make_l4(const struct packet *packet, const struct packet_layout *layout, uint8_t *bytes)
{
	uint8_t *l4 = bytes + layout->l4;
	uint32_t size = layout->size - layout->l4;
	uint16_t pseudo =
		packet_pseudo_sum(bytes + layout->ip, packet->ip6, packet->udp ? 17 : 6, size);

	memset(l4, 0, layout->payload - layout->l4);
	store_be16(l4, 1234);
	store_be16(l4 + 2, 5001);
	if (packet->udp) {
		store_be16(l4 + 4, (uint16_t)size);
		store_be16(l4 + 6, pseudo);
		return;
	}
	store_be16(l4 + 4, (uint16_t)(packet->sequence >> 16));
	store_be16(l4 + 6, (uint16_t)packet->sequence);
	l4[12] = (uint8_t)((5 + packet->tcp_words) << 4);
	l4[13] = packet->tcp_flags;
	store_be16(l4 + 14, 500);
	store_be16(l4 + 16, pseudo);
	memset(l4 + 20, 1, layout->payload - layout->l4 - 20);
}

uint32_t packet_make(const struct packet *packet, uint8_t *bytes, struct vl_net_header *header)
{
	static const uint8_t addresses[12] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
	struct packet_layout layout = packet_layout(packet);

	check(layout.size <= PACKET_MAX);
	memcpy(bytes, addresses, sizeof(addresses));
	for (unsigned i = 0; i < packet->tags; i++) {
		store_be16(bytes + 12 + 4 * i, ETHERTYPE_VLAN_TAG);
		store_be16(bytes + 14 + 4 * i, (uint16_t)(100 + i));
	}
	store_be16(bytes + layout.ip - 2, packet->ip6 ? ETHERTYPE_IP6 : ETHERTYPE_IP4);
	if (packet->ip6)
		make_ip6(packet, &layout, bytes + layout.ip);
	else
		make_ip4(packet, &layout, bytes + layout.ip);
	pattern_fill(bytes + layout.payload, packet->payload, packet->seed + 1);
	make_l4(packet, &layout, bytes);
	*header = (struct vl_net_header){
		.flags = VL_NET_NEEDS_CSUM,
		.csum_start = (uint16_t)layout.l4,
		.csum_offset = packet->udp ? 6 : 16,
	};
	return layout.size;
}

struct vl_net_header packet_large(const struct packet *packet, uint16_t gso_size, bool fragments)
{
	struct packet_layout layout = packet_layout(packet);
	uint8_t tcp = packet->ip6 ? VL_GSO_TCPV6 : VL_GSO_TCPV4;

	return (struct vl_net_header){
		.flags = VL_NET_NEEDS_CSUM,
		.gso_type = !packet->udp ? tcp
			    : fragments	 ? VL_GSO_UDP
					 : VL_GSO_UDP_L4,
		.gso_size = gso_size,
		.hdr_len = (uint16_t)layout.payload,
		.csum_start = (uint16_t)layout.l4,
		.csum_offset = packet->udp ? 6 : 16,
	};
}

void packet_check_sums(const uint8_t *bytes, const struct packet_layout *layout, bool ip6, bool udp)
{
	const uint8_t *ip = bytes + layout->ip;
	uint32_t size = layout->size - layout->l4;
	uint32_t pseudo = packet_pseudo_sum(ip, ip6, udp ? 17 : 6, size);
	/* The sum over all is of ones, so its complement is 0 (here shown as 0xffff). */
	uint16_t rest = (uint16_t)~traffic_checksum(bytes + layout->l4, size);

	if (!ip6)
		check(fold(sum_words(ip, (ip[0] & 0xfu) * 4)) == 0xffff);
	check(fold(pseudo + rest) == 0xffff);
}
