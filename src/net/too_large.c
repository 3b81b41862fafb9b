/* SPDX-License-Identifier: BSD-3-Clause */
/* See too_large.h. */
#include "net/too_large.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#include "net/checksum.h"
#include "net/frame.h"

enum {
	IP4_SIZE = 20,
	IP6_SIZE = 40,
	ICMP_SIZE = 8, /* of the header, in both versions */
	ICMP_PROTOCOL = 1,
	ICMP6_PROTOCOL = 58,
	HOPS = 64,
	DONT_FRAGMENT = 0x40, /* in the byte of IPv4's flags */
	IP6_MTU_MIN = 1280,
};

static_assert(
	TOO_LARGE_ANSWER_MAX == TOO_LARGE_QUOTE_MAX + IP6_SIZE + ICMP_SIZE, "the largest answer"
);

/* Whether anybody would read it: not an answer to an answer, nor to many (RFC 1122, 3.2.2). */
static bool deserves_answer(const uint8_t *head, const struct frame_layers *layers)
{
	const uint8_t *ip = head + layers->ip;

	if ((head[0] | head[ETHER_ADDRESS_SIZE]) & 1)
		return false;
	if (layers->ip6)
		return layers->protocol != ICMP6_PROTOCOL && ip[8] != 0xff && ip[24] != 0xff;
	return (ip[6] & DONT_FRAGMENT) && layers->protocol != ICMP_PROTOCOL
	       && (ip[12] & 0xf0) != 0xe0 && (ip[16] & 0xf0) != 0xe0;
}

static void store_sum(uint8_t *at, uint64_t sum)
{
	uint16_t value = (uint16_t)~sum_fold(sum);

	memcpy(at, &value, sizeof(value));
}

/* IPv4 and ICMP around what is quoted; type 3, code 4. */
static void write_ip4(uint8_t *ip, const uint8_t *asked, uint32_t quoted, uint32_t mtu)
{
	uint8_t *icmp = ip + IP4_SIZE;
	uint32_t size = ICMP_SIZE + quoted;

	memset(ip, 0, IP4_SIZE + ICMP_SIZE);
	ip[0] = 0x45;
	store_be16(ip + 2, (uint16_t)(IP4_SIZE + size));
	ip[8] = HOPS;
	ip[9] = ICMP_PROTOCOL;
	memcpy(ip + 12, asked + 16, 4);
	memcpy(ip + 16, asked + 12, 4);
	store_sum(ip + 10, bytes_sum(ip, IP4_SIZE));
	icmp[0] = 3;
	icmp[1] = 4;
	store_be16(icmp + 6, (uint16_t)mtu);
	memcpy(icmp + ICMP_SIZE, asked, quoted);
	store_sum(icmp + 2, bytes_sum(icmp, size));
}

/* IPv6 and ICMPv6; type 2. */
static void write_ip6(uint8_t *ip, const uint8_t *asked, uint32_t quoted, uint32_t mtu)
{
	uint8_t *icmp = ip + IP6_SIZE;
	uint32_t size = ICMP_SIZE + quoted, field = htonl(mtu);

	memset(ip, 0, IP6_SIZE + ICMP_SIZE);
	ip[0] = 0x60;
	store_be16(ip + 4, (uint16_t)size);
	ip[6] = ICMP6_PROTOCOL;
	ip[7] = HOPS;
	memcpy(ip + 8, asked + 24, 16);
	memcpy(ip + 24, asked + 8, 16);
	icmp[0] = 2;
	memcpy(icmp + 4, &field, sizeof(field));
	memcpy(icmp + ICMP_SIZE, asked, quoted);
	store_sum(
		icmp + 2,
		bytes_sum(ip + 8, 32) + htons(ICMP6_PROTOCOL) + htons((uint16_t)size)
			+ bytes_sum(icmp, size)
	);
}

bool frame_answer_too_large(
	const struct vl_frame *frame, uint32_t mtu, uint8_t *bytes, struct vl_frame *answer
)
{
	uint8_t asked[TOO_LARGE_QUOTE_MAX];
	uint32_t have = frame_fetch(frame, asked, sizeof(asked));
	struct frame_layers layers;

	/* The ports, too, or nobody knows what it is about. */
	if (!frame_find_layers(asked, have, &layers) || layers.l4 + 8u > have
	    || !deserves_answer(asked, &layers))
		return false;
	/* Nobody may be asked for less by IPv6 (RFC 8200, 5). */
	if (mtu > UINT16_MAX || (layers.ip6 && mtu < IP6_MTU_MIN))
		return false;
	uint32_t quoted = have - layers.ip;
	uint32_t size = have + (layers.ip6 ? IP6_SIZE : IP4_SIZE) + ICMP_SIZE;
	memcpy(bytes, asked, layers.ip); /* tags and type */
	memcpy(bytes, asked + ETHER_ADDRESS_SIZE, ETHER_ADDRESS_SIZE);
	memcpy(bytes + ETHER_ADDRESS_SIZE, asked, ETHER_ADDRESS_SIZE);
	if (layers.ip6)
		write_ip6(bytes + layers.ip, asked + layers.ip, quoted, mtu);
	else
		write_ip4(bytes + layers.ip, asked + layers.ip, quoted, mtu);
	*answer = (struct vl_frame){.head = bytes, .head_size = (uint16_t)size, .size = size};
	return true;
}
