/* SPDX-License-Identifier: BSD-3-Clause */
/* Laying out traffic and making the templates of flows, once at the start. See frames.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/frame.h"
#include "pktgen/frames.h"

enum {
	IP4_SIZE = 20,
	IP6_SIZE = 40,
	UDP_SIZE = 8,
	TCP_SIZE = 20,
	MAGIC = 0x766c,
};

/* ---- what all frames have in common ---- */

static struct vl_net_header make_header(const struct traffic *traffic, uint32_t length)
{
	struct vl_net_header header = {};
	uint32_t payload = length - traffic->payload_offset;

	if (!traffic->partial)
		return header;
	header.flags = VL_NET_NEEDS_CSUM;
	header.csum_start = traffic->l4_offset;
	header.csum_offset = traffic->tcp ? 16 : 6;
	if (traffic->segment_size == 0 || payload <= traffic->segment_size)
		return header;
	header.gso_type = traffic->ip6 ? VL_GSO_TCPV6 : VL_GSO_TCPV4;
	header.gso_size = (uint16_t)traffic->segment_size;
	header.hdr_len = traffic->payload_offset;
	return header;
}

static struct frame_shape make_shape(const struct traffic *traffic, uint32_t length)
{
	uint16_t l4_length = htons((uint16_t)(length - traffic->l4_offset));
	struct frame_shape shape = {
		.length = length,
		.l4_length = l4_length,
		.ip_length = htons((uint16_t)(length - traffic->l3_offset)),
		.header = make_header(traffic, length),
		.l4_sum = l4_length, /* in the pseudo header */
	};

	if (traffic->ip6) /* does not count its own header */
		shape.ip_length = l4_length;
	if (traffic->partial)
		return shape;
	if (!traffic->tcp) /* UDP has it once more */
		shape.l4_sum += l4_length;
	if (!traffic->probes)
		shape.l4_sum +=
			sum_fold(stream_sum(&traffic->stream, 0, length - traffic->payload_offset));
	return shape;
}

static const char *check_sizes(const struct traffic *traffic, const struct frame_sizes *sizes)
{
	static char wrong[128];
	uint32_t least = traffic->payload_offset + (traffic->probes ? PROBE_SIZE : 0u);

	if (sizes->min >= least && sizes->max - traffic->l3_offset <= UINT16_MAX)
		return NULL;
	if (sizes->min < least)
		(void)snprintf(
			wrong,
			sizeof(wrong),
			"--size: headers and probe of these frames take %u bytes; give at least "
			"that",
			least
		);
	else
		(void)snprintf(
			wrong,
			sizeof(wrong),
			"--size: an IP packet has at most 65535 bytes; give at most %u",
			UINT16_MAX + traffic->l3_offset
		);
	return wrong;
}

const char *traffic_open(struct traffic *traffic, const struct pktgen_options *options)
{
	const struct frame_sizes *sizes = &options->sizes;
	const char *wrong;
	unsigned l3 = ETHER_HEADER_SIZE + (options->vlan > 0 ? VLAN_TAG_SIZE : 0u);
	unsigned l4 = l3 + (options->ip6 ? IP6_SIZE : IP4_SIZE);

	traffic->ip6 = options->ip6;
	traffic->tcp = options->tso > 0;
	traffic->probes = options->latency || options->verify;
	traffic->same_payload = !options->verify;
	traffic->one_size = sizes->min == sizes->max;
	traffic->partial = options->partial_sums;
	traffic->segment_size = options->tso;
	traffic->magic = (uint16_t)(MAGIC ^ (options->seed * 0x9e3779b1u) >> 16);
	traffic->l3_offset = (uint8_t)l3;
	traffic->l4_offset = (uint8_t)l4;
	traffic->payload_offset = (uint8_t)(l4 + (traffic->tcp ? TCP_SIZE : UDP_SIZE));
	wrong = check_sizes(traffic, sizes);
	if (wrong != NULL)
		return wrong;
	stream_fill(&traffic->stream, options->seed);
	traffic->shape_count = traffic->one_size ? 1 : sizes->count;
	traffic->shapes = calloc(traffic->shape_count, sizeof(*traffic->shapes));
	if (traffic->shapes == NULL)
		return "there is no memory for the sizes";
	for (unsigned i = 0; i < traffic->shape_count; i++)
		traffic->shapes[i] = make_shape(traffic, sizes->schedule[i]);
	return NULL;
}

void traffic_close(struct traffic *traffic)
{
	free(traffic->shapes);
	traffic->shapes = NULL;
}

/* ---- the template of a flow ---- */

/* 198.18.0.0/15 and 2001:2::/48 are set aside for measurements (RFC 2544, 5180); the low bits of
 * both addresses and the ports tell flows apart. */
static uint8_t *put_ip4(uint8_t *at, bool tcp, unsigned port, uint32_t flow)
{
	uint8_t header[IP4_SIZE] = {
		0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, tcp ? IPPROTO_TCP : IPPROTO_UDP};

	for (unsigned i = 0; i < 2; i++) { /* source, destination */
		uint8_t *address = header + 12 + 4 * (size_t)i;

		address[0] = 198;
		address[1] = (uint8_t)(18 + (port ^ i));
		store_be16(address + 2, (uint16_t)(flow + 1));
	}
	memcpy(at, header, IP4_SIZE);
	return at + IP4_SIZE;
}

static uint8_t *put_ip6(uint8_t *at, bool tcp, unsigned port, uint32_t flow)
{
	uint8_t header[IP6_SIZE] = {0x60, 0, 0, 0, 0, 0, tcp ? IPPROTO_TCP : IPPROTO_UDP, 64};

	for (unsigned i = 0; i < 2; i++) {
		uint8_t *address = header + 8 + 16 * (size_t)i;

		store_be16(address, 0x2001);
		store_be16(address + 2, 2);
		store_be16(address + 6, (uint16_t)(port ^ i));
		store_be16(address + 14, (uint16_t)(flow + 1));
	}
	memcpy(at, header, IP6_SIZE);
	return at + IP6_SIZE;
}

/* The length of UDP is the frame's; TCP carries an acknowledged segment in the midst of a stream.
 */
static uint8_t *put_l4(uint8_t *at, bool tcp, uint32_t flow)
{
	memset(at, 0, tcp ? TCP_SIZE : UDP_SIZE);
	store_be16(at, (uint16_t)(49152 + (flow & 0x3fff)));
	store_be16(at + 2, (uint16_t)(1024 + (flow >> 14)));
	if (!tcp)
		return at + UDP_SIZE;
	at[7] = at[11] = 1; /* sequence and acknowledgment numbers */
	at[12] = TCP_SIZE / 4 << 4;
	at[13] = 0x10; /* ACK */
	store_be16(at + 14, UINT16_MAX);
	return at + TCP_SIZE;
}

void address_count_on(uint8_t mac[6], uint32_t n)
{
	uint32_t low = ((uint32_t)mac[3] << 16 | (uint32_t)mac[4] << 8 | mac[5]) + n;

	mac[3] = (uint8_t)(low >> 16);
	store_be16(mac + 4, (uint16_t)low);
}

static uint8_t *
put_ether(uint8_t *at, bool ip6, const struct sender_address *address, uint32_t flow)
{
	memcpy(at, address->destination, ETHER_ADDRESS_SIZE);
	memcpy(at + ETHER_ADDRESS_SIZE, address->source, ETHER_ADDRESS_SIZE);
	address_count_on(at, flow % address->macs);
	address_count_on(at + ETHER_ADDRESS_SIZE, flow % address->macs);
	at += 2 * (size_t)ETHER_ADDRESS_SIZE;
	if (address->vlan > 0) {
		store_be16(at, ETHERTYPE_VLAN_TAG);
		store_be16(at + 2, (uint16_t)address->vlan);
		at += VLAN_TAG_SIZE;
	}
	store_be16(at, ip6 ? ETHERTYPE_IP6 : ETHERTYPE_IP4);
	return at + 2;
}

/* Sums over the headers while the fields that depend on the size are zero. */
static void sum_headers(const struct traffic *traffic, struct flow *flow)
{
	const uint8_t *l3 = flow->start + traffic->l3_offset;
	const uint8_t *l4 = flow->start + traffic->l4_offset;
	uint32_t addresses_size = traffic->ip6 ? 32 : 8;
	uint32_t header_size = (uint32_t)(traffic->payload_offset - traffic->l4_offset);
	uint64_t pseudo = sum_bytes(l4 - addresses_size, addresses_size)
			  + htons(traffic->tcp ? IPPROTO_TCP : IPPROTO_UDP);

	flow->ip_sum = traffic->ip6 ? 0 : sum_fold(sum_bytes(l3, IP4_SIZE));
	flow->l4_sum = sum_fold(pseudo + (traffic->partial ? 0 : sum_bytes(l4, header_size)));
}

static void make_flow(
	const struct traffic *traffic,
	const struct sender_address *address,
	uint32_t number,
	struct flow *flow
)
{
	uint8_t *at = put_ether(flow->start, traffic->ip6, address, number);

	at = traffic->ip6 ? put_ip6(at, traffic->tcp, address->port, number)
			  : put_ip4(at, traffic->tcp, address->port, number);
	at = put_l4(at, traffic->tcp, number);
	memcpy(at, traffic->stream.bytes, (size_t)(flow->start + FLOW_START_SIZE - at));
	flow->name = (uint32_t)address->port << PROBE_FLOW_BITS | number;
	sum_headers(traffic, flow);
}

int sender_open(
	struct sender *sender,
	const struct traffic *traffic,
	const struct sender_address *address,
	unsigned first,
	unsigned count
)
{
	*sender = (struct sender){.traffic = traffic, .flow_count = count, .magic = traffic->magic};
	sender->flows = aligned_alloc(_Alignof(struct flow), count * sizeof(*sender->flows));
	if (sender->flows == NULL)
		return -ENOMEM;
	memset(sender->flows, 0, count * sizeof(*sender->flows));
	for (unsigned i = 0; i < count; i++)
		make_flow(traffic, address, first + i, &sender->flows[i]);
	if (traffic->one_size)
		sender_settle(sender);
	return 0;
}

void sender_close(struct sender *sender)
{
	free(sender->flows);
	sender->flows = NULL;
}

void sender_restart(struct sender *sender, uint16_t magic)
{
	sender->magic = magic;
	sender->flow_next = sender->shape_next = 0;
	for (unsigned i = 0; i < sender->flow_count; i++)
		sender->flows[i].sequence = 0;
}
