/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bursts of rte_mbuf for programs that use DPDK (22.11 or later), without copying: the device reads
 * and writes the mbufs where they lie. A thin layer over virtlane/driver.h, whose rules hold where
 * nothing else is said; it is all in this header, so that libvirtlane itself needs no DPDK.
 *
 * Memory: all that EAL has when vl_mbuf_open() is called is shared with the device, so make
 * mempools before. Huge pages have to be few files: start EAL with --single-file-segments, or
 * with --no-huge.
 *
 * Who owns an mbuf is as with rte_eth_rx_burst() and rte_eth_tx_burst(): what is received is the
 * caller's, what is sent is the port's, which frees it when the device has read it (at the latest
 * in vl_mbuf_close()).
 *
 * Threads: bursts are for one thread at a time for each queue pair and take no lock but the
 * mempool's; that has to be an EAL thread, or a registered one, to profit from the mempool's cache.
 */
#pragma once

#include <errno.h>
#include <rte_mbuf.h>
#include <rte_memory.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtlane/driver.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	VL_MBUF_BURST = 64,    /* mbufs that are dealt with together, inside */
	VL_MBUF_SEGMENTS = 71, /* of a frame that is sent; with its header 72 pieces */
	VL_MBUF_REGIONS = 64,  /* that EAL's memory may be made of */
	VL_MBUF_HEADER = 12,   /* bytes of the virtio-net header */
	VL_MBUF_REFILL = 32,   /* receive buffers that are posted together */
};

struct vl_mbuf_pair {
	uint32_t owed;	  /* receive buffers that the ring could hold besides those it has */
	uint64_t refused; /* mbufs freed unsent: see vl_mbuf_tx_burst() */
};

struct vl_mbuf_port {
	struct vl_driver *driver; /* for its control calls, status and waiting */
	struct rte_mempool *pool; /* receive buffers come from here */
	unsigned pair_count;
	struct vl_mbuf_pair pairs[128];
};

/* ---- memory ---- */

struct vl_mbuf_region {
	uint8_t *start;
	size_t size;
	int fd;
	size_t offset;
};

struct vl_mbuf_regions {
	unsigned count;
	int error;
	struct vl_mbuf_region region[VL_MBUF_REGIONS];
};

/* One of EAL's pages. They come in the order of their addresses. */
static inline int
vl_mbuf_add_page(const struct rte_memseg_list *list, const struct rte_memseg *page, void *argument)
{
	struct vl_mbuf_regions *all = (struct vl_mbuf_regions *)argument;
	struct vl_mbuf_region *last = all->count > 0 ? &all->region[all->count - 1] : NULL;
	size_t offset = 0;

	if (list->external)
		return 0;
	int fd = rte_memseg_get_fd_thread_unsafe(page);
	if (fd < 0 || rte_memseg_get_fd_offset_thread_unsafe(page, &offset) < 0) {
		all->error = -ENOTSUP;
		return -1;
	}
	if (last != NULL && last->fd == fd && last->start + last->size == (uint8_t *)page->addr
	    && last->offset + last->size == offset) {
		last->size += page->len;
		return 0;
	}
	if (all->count == VL_MBUF_REGIONS) {
		all->error = -ENOSPC;
		return -1;
	}
	last = &all->region[all->count++];
	last->start = (uint8_t *)page->addr;
	last->size = page->len;
	last->fd = fd;
	last->offset = offset;
	return 0;
}

static inline int vl_mbuf_explain(struct vl_driver_error *why, int error, const char *text)
{
	if (why != NULL)
		(void)snprintf(why->text, sizeof(why->text), "%s", text);
	return error;
}

/* Share all memory that EAL has, but for what is shared already. Errors as vl_driver_share(). */
static inline int vl_mbuf_share(struct vl_driver *driver, struct vl_driver_error *why)
{
	struct vl_mbuf_regions all;

	memset(&all, 0, sizeof(all));
	(void)rte_memseg_walk(vl_mbuf_add_page, &all);
	for (unsigned i = 0; all.error == 0 && i < all.count; i++) {
		const struct vl_mbuf_region *region = &all.region[i];
		int error = vl_driver_share(
			driver, region->start, region->size, region->fd, region->offset
		);

		if (error != -EEXIST)
			all.error = error;
	}
	if (all.error == -ENOTSUP)
		return vl_mbuf_explain(
			why,
			all.error,
			"DPDK's memory is in no file that could be shared; start EAL with "
			"--in-memory or with --no-huge"
		);
	if (all.error == -ENOSPC)
		return vl_mbuf_explain(
			why,
			all.error,
			"DPDK's memory is in more files than can be shared; start EAL with "
			"--single-file-segments"
		);
	return all.error == 0 ? 0
			      : vl_mbuf_explain(why, all.error, "DPDK's memory cannot be shared");
}

/* ---- offloads ---- */

/* What a frame that is received asks for, or what was verified, as mbuf flags. */
static inline void vl_mbuf_from_header(struct rte_mbuf *mbuf, const struct vl_net_header *header)
{
	if ((header->flags | header->gso_type) == 0)
		return;
	if (header->flags & VL_NET_NEEDS_CSUM) /* right, with a sum that is not filled in */
		mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
	else if (header->flags & VL_NET_DATA_VALID)
		mbuf->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	if (header->gso_type != VL_GSO_NONE) {
		mbuf->ol_flags |= RTE_MBUF_F_RX_LRO;
		mbuf->tso_segsz = header->gso_size;
	}
}

/* What a frame that is to be sent asks for, from its mbuf's flags and l2_len, l3_len, l4_len and
 * tso_segsz. As with every PMD, the pseudo-header's sum is to be in place:
 * rte_net_intel_cksum_prepare() does that. VLAN tags are not inserted: rte_vlan_insert() does. */
static inline void vl_mbuf_to_header(const struct rte_mbuf *mbuf, struct vl_net_header *header)
{
	const uint64_t large = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG;
	uint64_t flags = mbuf->ol_flags & (RTE_MBUF_F_TX_L4_MASK | large);
	bool is_udp;

	memset(header, 0, sizeof(*header));
	if (flags == 0)
		return;
	is_udp = (flags & RTE_MBUF_F_TX_UDP_SEG)
		 || (flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_UDP_CKSUM;
	header->flags = VL_NET_NEEDS_CSUM;
	header->csum_start = (uint16_t)(mbuf->l2_len + mbuf->l3_len);
	header->csum_offset = is_udp ? 6 : 16; /* RFC 768, RFC 9293 */
	if ((flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_SCTP_CKSUM)
		header->csum_offset = 8; /* RFC 9260 */
	if ((flags & large) == 0)
		return;
	if (is_udp)
		header->gso_type = VL_GSO_UDP_L4;
	else
		header->gso_type =
			mbuf->ol_flags & RTE_MBUF_F_TX_IPV6 ? VL_GSO_TCPV6 : VL_GSO_TCPV4;
	header->gso_size = mbuf->tso_segsz;
	header->hdr_len = (uint16_t)(header->csum_start + mbuf->l4_len);
}

/* ---- receiving ---- */

/* Give the device as many buffers as there are in the pool and as its ring takes. */
static inline void vl_mbuf_refill(struct vl_mbuf_port *port, unsigned index)
{
	struct vl_mbuf_pair *pair = &port->pairs[index];
	struct rte_mbuf *mbufs[VL_MBUF_BURST];
	struct vl_driver_frame frames[VL_MBUF_BURST];

	while (pair->owed > 0) {
		unsigned count = RTE_MIN(pair->owed, (uint32_t)VL_MBUF_BURST);

		if (rte_pktmbuf_alloc_bulk(port->pool, mbufs, count) < 0)
			return;
		for (unsigned i = 0; i < count; i++) {
			frames[i].data = rte_pktmbuf_mtod(mbufs[i], uint8_t *);
			frames[i].length = rte_pktmbuf_tailroom(mbufs[i]);
			frames[i].buffer = (uintptr_t)mbufs[i];
		}
		unsigned taken = vl_driver_rx_post(port->driver, index, frames, count);
		pair->owed -= taken;
		if (taken < count) {
			rte_pktmbuf_free_bulk(mbufs + taken, count - taken);
			return;
		}
	}
}

/*
 * Receive up to `max` buffers' worth of frames: the mbufs of those that came, or -EPROTO as
 * vl_driver_rx_burst(). A frame of several buffers (MRG_RXBUF) is a chain of mbufs; `max` has to be
 * as many as the largest takes.
 */
static inline int
vl_mbuf_rx_burst(struct vl_mbuf_port *port, unsigned index, struct rte_mbuf **mbufs, uint16_t max)
{
	struct vl_driver_frame frames[VL_MBUF_BURST];
	unsigned room = RTE_MIN((unsigned)max, (unsigned)VL_MBUF_BURST);
	int count = vl_driver_rx_burst(port->driver, index, frames, room), received = 0;
	struct rte_mbuf *first = NULL, *last = NULL;
	unsigned left = 0;

	for (int i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = (struct rte_mbuf *)frames[i].buffer;

		mbuf->data_off = (uint16_t)(frames[i].data - (uint8_t *)mbuf->buf_addr);
		mbuf->data_len = (uint16_t)frames[i].length;
		mbuf->pkt_len = frames[i].length;
		if (left > 0) { /* goes on */
			last->next = mbuf;
			first->nb_segs++;
			first->pkt_len += frames[i].length;
		} else {
			left = frames[i].header.num_buffers;
			vl_mbuf_from_header(mbuf, &frames[i].header);
			mbufs[received++] = first = mbuf;
		}
		last = mbuf;
		left--;
	}
	if (count > 0)
		port->pairs[index].owed += (uint32_t)count;
	if (port->pairs[index].owed >= VL_MBUF_REFILL)
		vl_mbuf_refill(port, index);
	return count < 0 ? count : received;
}

/* ---- sending ---- */

/* Free what the device has read. An mbuf with all its segments is named once, by the first piece.
 */
static inline void vl_mbuf_tx_done(struct vl_mbuf_port *port, unsigned index)
{
	struct rte_mbuf *mbufs[VL_MBUF_BURST];
	uintptr_t names[VL_MBUF_BURST];
	unsigned count;

	do {
		unsigned n = 0;

		count = vl_driver_tx_complete(port->driver, index, names, VL_MBUF_BURST);
		for (unsigned i = 0; i < count; i++) {
			if (names[i] != 0)
				mbufs[n++] = (struct rte_mbuf *)names[i];
		}
		rte_pktmbuf_free_bulk(mbufs, n);
	} while (count == VL_MBUF_BURST);
}

/* The mbuf that a frame begins with: itself, or, if nobody may write a virtio-net header in front
 * of its data, an empty one from the port's pool that is chained before it. NULL: there is none. */
static inline struct rte_mbuf *vl_mbuf_front(struct vl_mbuf_port *port, struct rte_mbuf *mbuf)
{
	struct rte_mbuf *front;

	if (rte_mbuf_refcnt_read(mbuf) == 1 && RTE_MBUF_DIRECT(mbuf)
	    && rte_pktmbuf_headroom(mbuf) >= VL_MBUF_HEADER)
		return mbuf;
	front = rte_pktmbuf_alloc(port->pool);
	if (front != NULL) { /* not rte_pktmbuf_chain(): that changes what it appends */
		front->next = mbuf;
		front->nb_segs = (uint16_t)(mbuf->nb_segs + 1);
		front->pkt_len = mbuf->pkt_len;
	}
	return front;
}

static inline void vl_mbuf_undo_front(struct rte_mbuf *front, const struct rte_mbuf *mbuf)
{
	if (front == mbuf)
		return;
	front->next = NULL;
	front->nb_segs = 1;
	rte_pktmbuf_free_seg(front);
}

/* Frames on their way to the driver. */
struct vl_mbuf_burst {
	unsigned mbufs, pieces;
	struct rte_mbuf *front[VL_MBUF_BURST];
	unsigned end[VL_MBUF_BURST]; /* of each one's pieces */
	struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];
};

/* Add a frame, if there is room for it. */
static inline bool
vl_mbuf_describe(struct vl_mbuf_port *port, struct rte_mbuf *mbuf, struct vl_mbuf_burst *burst)
{
	struct vl_driver_frame *frame = &burst->frames[burst->pieces];
	struct rte_mbuf *front;
	uint16_t count = 0;

	if (burst->mbufs == VL_MBUF_BURST || mbuf->nb_segs > VL_MBUF_SEGMENTS
	    || burst->pieces + mbuf->nb_segs + 1 > VL_DRIVER_BURST_MAX)
		return false;
	front = vl_mbuf_front(port, mbuf);
	if (front == NULL)
		return false;
	for (const struct rte_mbuf *piece = front; piece != NULL; piece = piece->next) {
		frame[count].data = rte_pktmbuf_mtod(piece, uint8_t *);
		frame[count].length = piece->data_len;
		frame[count].buffer = count == 0 ? (uintptr_t)front : 0;
		count++;
	}
	vl_mbuf_to_header(mbuf, &frame->header);
	frame->header.num_buffers = count;
	burst->front[burst->mbufs] = front;
	burst->pieces += count;
	burst->end[burst->mbufs++] = burst->pieces;
	return true;
}

/*
 * Send frames. Returns how many of the mbufs were taken; the rest stay the caller's: the ring is
 * full, or the pair was stopped (vl_driver_stats.broken). One that can never be sent, since it asks
 * for an offload that was not negotiated or has more than VL_MBUF_SEGMENTS segments, is freed and
 * counted (vl_mbuf_pair.refused), and counts as taken. Data has to lie in memory that was shared.
 */
static inline uint16_t
vl_mbuf_tx_burst(struct vl_mbuf_port *port, unsigned index, struct rte_mbuf **mbufs, uint16_t count)
{
	uint16_t done = 0;
	bool goes_on = true;

	vl_mbuf_tx_done(port, index);
	while (goes_on && done < count) {
		struct vl_mbuf_burst burst;
		unsigned sent = 0;
		int taken = 0;

		burst.mbufs = burst.pieces = 0;
		while (done + burst.mbufs < count
		       && vl_mbuf_describe(port, mbufs[done + burst.mbufs], &burst))
			continue;
		if (burst.mbufs > 0)
			taken = vl_driver_tx_burst(port->driver, index, burst.frames, burst.pieces);
		while (sent < burst.mbufs && (int)burst.end[sent] <= taken)
			sent++;
		for (unsigned i = sent; i < burst.mbufs; i++)
			vl_mbuf_undo_front(burst.front[i], mbufs[done + i]);
		done = (uint16_t)(done + sent);
		goes_on = sent > 0;
		if (taken == -EINVAL
		    || (burst.mbufs == 0 && mbufs[done]->nb_segs > VL_MBUF_SEGMENTS)) {
			rte_pktmbuf_free(mbufs[done++]);
			port->pairs[index].refused++;
			goes_on = true;
		}
	}
	return done;
}

/* ---- life ---- */

/* Close a port; all of its mbufs go back to their pools. NULL is fine. */
static inline void vl_mbuf_close(struct vl_mbuf_port *port)
{
	uintptr_t names[VL_MBUF_BURST];
	unsigned count;

	if (port == NULL)
		return;
	for (unsigned i = 0; i < port->pair_count; i++) {
		while ((count = vl_driver_reclaim(port->driver, i, names, VL_MBUF_BURST)) > 0) {
			for (unsigned n = 0; n < count; n++)
				rte_pktmbuf_free((struct rte_mbuf *)names[n]);
		}
	}
	vl_driver_close(port->driver);
	free(port);
}

/*
 * Open a device as vl_driver_open() does, with receive buffers from `pool` (mbufs of one size, with
 * RTE_PKTMBUF_HEADROOM in front). Errors as there; -ENOTSUP and -ENOSPC also when EAL's memory
 * cannot be shared: *why says so. config->foreign is taken for set.
 */
static inline int vl_mbuf_open(
	const struct vl_driver_config *config,
	struct rte_mempool *pool,
	struct vl_mbuf_port **out,
	struct vl_driver_error *why
)
{
	struct vl_driver_config own = *config;
	struct vl_driver_status status;
	struct vl_mbuf_port *port = (struct vl_mbuf_port *)calloc(1, sizeof(*port));
	int error;

	if (port == NULL)
		return vl_mbuf_explain(why, -ENOMEM, "out of memory");
	own.foreign = true;
	port->pool = pool;
	error = vl_driver_open(&own, &port->driver, why);
	if (error < 0) {
		free(port);
		return error;
	}
	error = vl_mbuf_share(port->driver, why);
	if (error < 0) {
		vl_mbuf_close(port);
		return error;
	}
	vl_driver_status(port->driver, &status);
	port->pair_count = status.queue_pairs;
	for (unsigned i = 0; i < port->pair_count; i++) {
		port->pairs[i].owed = status.rx_slots;
		vl_mbuf_refill(port, i);
	}
	*out = port;
	return 0;
}

#ifdef __cplusplus
}
#endif
