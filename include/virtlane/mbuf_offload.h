/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The offloads of an mbuf as a virtio-net header, and back. Needs DPDK's headers and nothing of
 * libvirtlane; virtlane/mbuf.h includes it.
 *
 * Sending: L4 checksums of TCP and UDP, TCP and UDP segmentation. As with rte_eth_tx_burst() the
 * checksum field must hold the sum of the pseudo header before a frame is sent, and as with virtio
 * that one includes the length, also of a frame that is to be segmented. vl_mbuf_tx_prepare() sees
 * to that, and to RTE_MBUF_F_TX_IP_CKSUM, for which virtio has no offload.
 */
#pragma once

#include <errno.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_net.h>
#include <string.h>

#include "virtlane/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What an mbuf may ask for; one that asks for more (VLAN tags, tunnels, SCTP) is refused. */
#define VL_MBUF_TX_OFFLOADS                                                                       \
	(RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_L4_MASK \
	 | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)

/* The checksum that is asked for: segmentation implies one. RTE_MBUF_F_TX_L4_NO_CKSUM: none. */
static inline uint64_t vl_mbuf_tx_checksum(uint64_t ol_flags)
{
	if (ol_flags & RTE_MBUF_F_TX_TCP_SEG)
		return RTE_MBUF_F_TX_TCP_CKSUM;
	if (ol_flags & RTE_MBUF_F_TX_UDP_SEG)
		return RTE_MBUF_F_TX_UDP_CKSUM;
	return ol_flags & RTE_MBUF_F_TX_L4_MASK;
}

/* What an mbuf asks for, from ol_flags, l2_len, l3_len, l4_len and tso_segsz. 0; -EINVAL: that
 * cannot be said in a virtio-net header. */
static inline int vl_mbuf_to_header(const struct rte_mbuf *mbuf, struct vl_net_header *header)
{
	const uint64_t flags = mbuf->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK;

	memset(header, 0, sizeof(*header));
	if (likely(flags == 0))
		return 0;
	if (flags & ~(uint64_t)VL_MBUF_TX_OFFLOADS)
		return -EINVAL;
	const uint64_t checksum = vl_mbuf_tx_checksum(flags);
	if (checksum == RTE_MBUF_F_TX_L4_NO_CKSUM)
		return 0;
	if (checksum == RTE_MBUF_F_TX_SCTP_CKSUM)
		return -EINVAL;
	header->flags = VL_NET_NEEDS_CSUM;
	header->csum_start = (uint16_t)(mbuf->l2_len + mbuf->l3_len);
	header->csum_offset = checksum == RTE_MBUF_F_TX_TCP_CKSUM
				      ? offsetof(struct rte_tcp_hdr, cksum)
				      : offsetof(struct rte_udp_hdr, dgram_cksum);
	if (!(flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)))
		return 0;
	if (mbuf->tso_segsz == 0)
		return -EINVAL;
	header->gso_type = checksum == RTE_MBUF_F_TX_UDP_CKSUM ? VL_GSO_UDP_L4
			   : flags & RTE_MBUF_F_TX_IPV6	       ? VL_GSO_TCPV6
							       : VL_GSO_TCPV4;
	header->gso_size = mbuf->tso_segsz;
	header->hdr_len = (uint16_t)(header->csum_start + mbuf->l4_len);
	return 0;
}

/*
 * What a device says of a frame, into ol_flags and tso_segsz of an mbuf that was reset:
 * RTE_MBUF_F_RX_L4_CKSUM_NONE  the sum is partial, and the frame has not left this host: whole, but
 *                              who sends it on has to ask for the checksum again
 * RTE_MBUF_F_RX_L4_CKSUM_GOOD  it was verified
 * RTE_MBUF_F_RX_LRO            a large frame, of segments of tso_segsz bytes of payload
 * It is the device's word, none of it is checked against the frame.
 */
static inline void vl_mbuf_from_header(struct rte_mbuf *mbuf, const struct vl_net_header *header)
{
	if (header->flags & VL_NET_NEEDS_CSUM)
		mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
	else if (header->flags & VL_NET_DATA_VALID)
		mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	/* Segments of no bytes would be divided by. */
	if ((header->gso_type & ~VL_GSO_ECN) != VL_GSO_NONE && header->gso_size != 0) {
		mbuf->ol_flags |= RTE_MBUF_F_RX_LRO;
		mbuf->tso_segsz = header->gso_size;
	}
}

/*
 * As rte_eth_tx_prepare(): completes frames that ask for offloads, to be called before
 * vl_mbuf_tx_burst() unless the application does so itself. Writes the checksum fields of TCP, UDP
 * and IPv4, so the headers have to be the caller's alone, and in the first segment. Returns how
 * many are ready; if fewer than `count`, rte_errno says what is wrong with the next: EINVAL it asks
 * for what virtio does not have, ENOTSUP its headers lie in several segments.
 */
static inline unsigned vl_mbuf_tx_prepare(struct rte_mbuf **mbufs, unsigned count)
{
	const uint64_t segment = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG;
	const uint64_t ip = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;

	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = mbufs[i];
		struct vl_net_header header;
		int error = vl_mbuf_to_header(mbuf, &header);
		/* Without the wish for segments, as DPDK would leave out the length. */
		uint64_t flags = (mbuf->ol_flags & ~(segment | RTE_MBUF_F_TX_L4_MASK))
				 | vl_mbuf_tx_checksum(mbuf->ol_flags);

		if (error == 0)
			error = rte_net_intel_cksum_flags_prepare(mbuf, flags);
		if (error < 0) {
			rte_errno = -error;
			return i;
		}
		if ((mbuf->ol_flags & ip) == ip) {
			struct rte_ipv4_hdr *ip4 =
				rte_pktmbuf_mtod_offset(mbuf, struct rte_ipv4_hdr *, mbuf->l2_len);

			ip4->hdr_checksum = rte_ipv4_cksum(ip4);
		}
	}
	return count;
}

#ifdef __cplusplus
}
#endif
