/* SPDX-License-Identifier: BSD-3-Clause */
/* Bursts of mbufs: the data path of virtlane/mbuf.h, which says what it is and includes it. */
#pragma once

#include <assert.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "virtlane/driver.h"
#include "virtlane/mbuf_memory.h"
#include "virtlane/mbuf_offload.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	/* mbufs that are allocated, posted and freed together. */
	VL_MBUF_BATCH = 32,
	/* Segments of a frame: so many the driver takes. */
	VL_MBUF_PIECES_MAX = 72,
	VL_MBUF_NET_HEADER_SIZE = 12, /* bytes in front of a frame's data */
};
static_assert(RTE_PKTMBUF_HEADROOM >= 64, "the driver needs room in front of received frames");

struct vl_mbuf_stats {
	uint64_t rx_no_mbuf; /* the pool had none when receive buffers were to be posted */
	uint64_t tx_refused; /* frames freed since they never could be sent, see below */
};

/* A pair's state: its data thread's. */
struct __rte_cache_aligned vl_mbuf_pair {
	struct vl_mbuf_stats stats; /* for others to read once the data thread has stopped */
	uint32_t tx_out;	    /* pieces that were sent and have not come back */
	/* What the driver has returned, and of that what is not handed out yet: with MRG_RXBUF a
	 * burst of the driver's can hold more frames than were asked for. */
	uint32_t rx_first, rx_count;
	struct vl_driver_frame rx_frames[VL_DRIVER_BURST_MAX];
};

struct vl_mbuf_port {
	struct vl_driver *driver; /* for status, statistics, waiting, commands */
	struct rte_mempool *pool; /* for receiving */
	unsigned pair_count;
	uint32_t batch; /* VL_MBUF_BATCH, or less if the rings are small */
	bool mergeable; /* MRG_RXBUF was negotiated */
	struct vl_mbuf_memory memory;
	struct vl_mbuf_pair *pairs;
};

/* ---- data ---- */

/* Post receive buffers, as far as ring and pool allow. Done by vl_mbuf_rx_burst(). */
static inline void vl_mbuf_refill(struct vl_mbuf_port *port, unsigned index)
{
	uint32_t room = vl_driver_rx_room(port->driver, index);
	struct vl_driver_frame frames[VL_MBUF_BATCH];
	struct rte_mbuf *mbufs[VL_MBUF_BATCH];

	for (; room >= port->batch; room -= port->batch) {
		if (rte_pktmbuf_alloc_bulk(port->pool, mbufs, port->batch) < 0) {
			port->pairs[index].stats.rx_no_mbuf++;
			return;
		}
		for (unsigned i = 0; i < port->batch; i++) {
			frames[i].data = rte_pktmbuf_mtod(mbufs[i], uint8_t *);
			frames[i].length = rte_pktmbuf_tailroom(mbufs[i]);
			frames[i].buffer = (uintptr_t)mbufs[i];
		}
		/* All are taken: there is room. */
		(void)vl_driver_rx_post(port->driver, index, frames, port->batch);
	}
}

/* The mbuf of a buffer that came back. */
static inline struct rte_mbuf *vl_mbuf_of_piece(const struct vl_driver_frame *frame)
{
	struct rte_mbuf *mbuf = (struct rte_mbuf *)frame->buffer;

	mbuf->data_off = (uint16_t)(frame->data - (uint8_t *)mbuf->buf_addr);
	mbuf->data_len = (uint16_t)frame->length;
	mbuf->pkt_len = frame->length;
	return mbuf;
}

/* The next frame of those that the driver has returned. */
static inline struct rte_mbuf *vl_mbuf_take(struct vl_mbuf_pair *pair)
{
	const struct vl_driver_frame *frame = &pair->rx_frames[pair->rx_first];
	struct rte_mbuf *head = vl_mbuf_of_piece(frame), *last = head;
	const uint16_t pieces = frame->header.num_buffers > 1 ? frame->header.num_buffers : 1;

	for (uint16_t i = 1; i < pieces; i++) {
		last->next = vl_mbuf_of_piece(&frame[i]);
		last = last->next;
		head->pkt_len += last->data_len;
	}
	head->nb_segs = pieces;
	vl_mbuf_from_header(head, &frame->header);
	pair->rx_first += pieces;
	return head;
}

/*
 * Take received frames, the caller's from now on. Returns how many, at most `count`: 0 if nothing
 * has come; -EPROTO if the pair was stopped (vl_driver_stats.broken says why). A frame that took
 * several buffers (MRG_RXBUF) is a chain of segments. mbuf.port is not set. Who wants to sleep
 * (vl_driver_wait(), vl_driver_sleep()) does so after a 0 only.
 */
static inline int
vl_mbuf_rx_burst(struct vl_mbuf_port *port, unsigned index, struct rte_mbuf **mbufs, unsigned count)
{
	struct vl_mbuf_pair *pair = &port->pairs[index];
	unsigned done = 0;

	if (pair->rx_first == pair->rx_count) {
		/* The largest frame has to fit. */
		unsigned max =
			port->mergeable ? RTE_MAX(count, (unsigned)VL_MBUF_PIECES_MAX) : count;
		int n = vl_driver_rx_burst(port->driver, index, pair->rx_frames, max);

		pair->rx_first = 0;
		pair->rx_count = n < 0 ? 0 : (uint32_t)n;
		if (n < 0)
			return n;
		vl_mbuf_refill(port, index);
	}
	while (done < count && pair->rx_first < pair->rx_count)
		mbufs[done++] = vl_mbuf_take(pair);
	return (int)done;
}

/* Free what was sent. Done by vl_mbuf_tx_burst() now and then; for those who stop sending and want
 * the last mbufs back. Returns how many pieces came back. */
static inline unsigned vl_mbuf_tx_complete(struct vl_mbuf_port *port, unsigned index)
{
	uintptr_t names[2 * VL_MBUF_BATCH];
	struct rte_mbuf *mbufs[RTE_DIM(names)];
	unsigned total = 0, n;

	do {
		n = vl_driver_tx_complete(port->driver, index, names, RTE_DIM(names));
		/* A frame's first piece has its name; the name of the others is 0. */
		for (unsigned i = 0; i < n; i++)
			mbufs[i] = (struct rte_mbuf *)names[i];
		rte_pktmbuf_free_bulk(mbufs, n);
		total += n;
	} while (n == RTE_DIM(names));
	port->pairs[index].tx_out -= total;
	return total;
}

/* Whether the virtio-net header may be written in front of an mbuf's data. */
static inline bool vl_mbuf_has_room(const struct rte_mbuf *mbuf)
{
	return RTE_MBUF_DIRECT(mbuf) && rte_mbuf_refcnt_read(mbuf) == 1
	       && rte_pktmbuf_headroom(mbuf) >= VL_MBUF_NET_HEADER_SIZE && mbuf->data_len > 0;
}

/* A frame as the driver's elements: how many; 0: no room for them, or no mbuf; -EINVAL: it cannot
 * be sent. */
static inline int vl_mbuf_describe(
	const struct vl_mbuf_port *port,
	struct rte_mbuf *mbuf,
	struct vl_driver_frame *frames,
	unsigned room
)
{
	const bool extra = !vl_mbuf_has_room(mbuf);
	struct rte_mbuf *head = NULL;
	unsigned n = extra;

	if (mbuf->nb_segs + (unsigned)extra > VL_MBUF_PIECES_MAX)
		return -EINVAL;
	if (mbuf->nb_segs + (unsigned)extra > room)
		return 0;
	for (const struct rte_mbuf *piece = mbuf; piece != NULL; piece = piece->next) {
		uint8_t *data = rte_pktmbuf_mtod(piece, uint8_t *);

		if (piece->data_len == 0)
			continue;
		if (!vl_mbuf_memory_has(&port->memory, data, piece->data_len))
			return -EINVAL;
		frames[n].data = data;
		frames[n].length = piece->data_len;
		/* The chain comes back with its first piece. */
		frames[n].buffer = n == (unsigned)extra ? (uintptr_t)mbuf : 0;
		n++;
	}
	if (n == (unsigned)extra || vl_mbuf_to_header(mbuf, &frames[0].header) < 0)
		return -EINVAL;
	if (extra) {
		head = rte_pktmbuf_alloc(port->pool);
		if (head == NULL)
			return 0;
		frames[0].data = rte_pktmbuf_mtod(head, uint8_t *);
		frames[0].length = 0;
		frames[0].buffer = (uintptr_t)head;
	}
	frames[0].header.num_buffers = (uint16_t)n;
	return (int)n;
}

/*
 * Send frames. Returns how many of the mbufs are the port's now; the rest, the ring being full,
 * stay the caller's. -EPROTO if the pair was stopped.
 *
 * A frame that can never be sent is not left to the caller, who would try for ever: it is freed, as
 * if it had been sent, and counted in tx_refused. That is one with
 * - an offload that was not negotiated, or that virtio does not have;
 * - more segments than 72, the one for the header (see below) included, or than the ring has
 *   descriptors for;
 * - a byte outside of the memory that is shared (vl_mbuf_share_pool()).
 * mbufs that others hold, too (a reference count above 1), clones and external buffers are sent as
 * they are, if their bytes are in shared memory. As nothing may be written into such a first
 * segment, an mbuf of the port's pool is put in front for the virtio-net header; likewise if there
 * are less than 12 bytes of headroom.
 */
static inline int
vl_mbuf_tx_burst(struct vl_mbuf_port *port, unsigned index, struct rte_mbuf **mbufs, unsigned count)
{
	struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];
	struct vl_mbuf_pair *pair = &port->pairs[index];
	unsigned done = 0;
	int taken = 0;

	if (pair->tx_out >= port->batch)
		(void)vl_mbuf_tx_complete(port, index);
	while (done < count) {
		unsigned given = 0;
		int n = 0;

		for (unsigned i = done; i < count; i++, given += (unsigned)n) {
			n = vl_mbuf_describe(
				port, mbufs[i], &frames[given], VL_DRIVER_BURST_MAX - given
			);
			if (n <= 0)
				break;
		}
		taken = given == 0 ? n : vl_driver_tx_burst(port->driver, index, frames, given);
		unsigned at = taken < 0 ? 0 : (unsigned)taken;
		pair->tx_out += at;
		for (unsigned i = 0; i < at; i += frames[i].header.num_buffers)
			done++;
		/* Headers that were put in front of what was not taken; nothing else is empty. */
		for (; at < given; at++) {
			if (frames[at].length == 0)
				rte_pktmbuf_free((struct rte_mbuf *)frames[at].buffer);
		}
		if (taken == -EINVAL) {
			rte_pktmbuf_free(mbufs[done++]);
			pair->stats.tx_refused++;
		} else if (taken <= 0) {
			break;
		}
	}
	return done == 0 ? taken : (int)done;
}

#ifdef __cplusplus
}
#endif
