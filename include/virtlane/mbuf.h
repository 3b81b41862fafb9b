/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bursts of DPDK's mbufs through a virtlane driver, without a copy: the device reads and writes the
 * mbufs' own buffers. For programs that use DPDK (22.11 or newer) besides libvirtlane; everything
 * here is inline, the library itself knows nothing of DPDK.
 *
 * Life: rte_eal_init(), a pool of mbufs, vl_mbuf_open(); then bursts as with rte_eth_rx_burst() and
 * rte_eth_tx_burst(); then vl_mbuf_close(), after which every mbuf that was not the application's
 * is back in its pool. The bursts are in virtlane/mbuf_burst.h, the offloads in
 * virtlane/mbuf_offload.h; which of those a device takes is negotiated as always
 * (vl_driver_config.wanted).
 *
 * Memory. The pages under a pool are shared with the device, so there has to be a file behind them:
 * EAL with --no-huge, or with --in-memory and --single-file-segments if there are huge pages. What
 * else lies in these pages is shared, too, above all the mbufs' own headers: a device that means
 * ill can bring the application down. Who cannot trust the device takes the driver's own pool
 * (virtlane/driver.h) and copies.
 *
 * Threads, as in virtlane/driver.h: the bursts are for one thread at a time for each pair, all
 * else is for one thread at a time. Bursts allocate from the port's pool only. Threads need not be
 * EAL's.
 *
 * Errors: a count or 0, or a negative errno.
 */
#pragma once

#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <string.h>

#include "virtlane/driver.h"
#include "virtlane/mbuf_burst.h"
#include "virtlane/mbuf_memory.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	/* Bytes of a buffer: at least, and with MRG_RXBUF, where 72 have to hold any frame. */
	VL_MBUF_ROOM_MIN = 64,
	VL_MBUF_MERGEABLE_ROOM_MIN = 1024,
};

/* Let the device reach another pool, for sending what is in its mbufs. No data call may run. why
 * as in vl_driver_open(). -ENOTSUP: there is no file behind the memory; -ENOSPC: it takes more
 * regions than the device allows for; or as vl_driver_share(). */
static inline int
vl_mbuf_share_pool(struct vl_mbuf_port *port, struct rte_mempool *pool, struct vl_driver_error *why)
{
	return vl_mbuf_memory_share(&port->memory, port->driver, pool, why);
}

/* Stop the queues and close the driver. All mbufs that are in the rings, or received and not handed
 * out, go back to their pools, sent or not. No data call may run. NULL is fine. */
static inline void vl_mbuf_close(struct vl_mbuf_port *port)
{
	if (port == NULL)
		return;
	for (unsigned i = 0; i < port->pair_count; i++) {
		struct vl_mbuf_pair *pair = &port->pairs[i];
		uintptr_t name;

		while (vl_driver_reclaim(port->driver, i, &name, 1) == 1)
			rte_pktmbuf_free((struct rte_mbuf *)name);
		while (pair->rx_first < pair->rx_count)
			rte_pktmbuf_free(vl_mbuf_take(pair));
	}
	vl_driver_close(port->driver);
	rte_free(port->pairs);
	rte_free(port);
}

/* Whether driver and pool suit, and each other. */
static inline int vl_mbuf_check(const struct vl_mbuf_port *port, struct vl_driver_error *why)
{
	static const uint8_t large[] = {
		VL_F_GUEST_TSO4, VL_F_GUEST_TSO6, VL_F_GUEST_UFO, VL_F_GUEST_USO4, VL_F_GUEST_USO6};
	const unsigned room = rte_pktmbuf_data_room_size(port->pool);
	struct vl_driver_status status;

	if (vl_driver_rx_room(port->driver, 0) == 0)
		return vl_mbuf_explain(
			why, -EINVAL, "the driver was not opened for foreign memory, or is stopped"
		);
	if (rte_pktmbuf_priv_flags(port->pool) & RTE_PKTMBUF_POOL_F_PINNED_EXT_BUF)
		return vl_mbuf_explain(why, -EINVAL, "the pool's buffers lie outside of it");
	if (room
	    < RTE_PKTMBUF_HEADROOM
		      + (unsigned)(port->mergeable ? VL_MBUF_MERGEABLE_ROOM_MIN : VL_MBUF_ROOM_MIN))
		return vl_mbuf_explain(
			why, -EINVAL, "the pool's mbufs are too small; 2048 bytes and headroom do"
		);
	vl_driver_status(port->driver, &status);
	for (unsigned i = 0; !port->mergeable && i < RTE_DIM(large); i++) {
		if (vl_features_have(&status.features, large[i]))
			return vl_mbuf_explain(
				why, -EINVAL, "large frames are received with MRG_RXBUF only"
			);
	}
	return 0;
}

/*
 * Use a driver that was opened with config.foreign: share the pool's memory and post receive
 * buffers. `pool` is one made with rte_pktmbuf_pool_create(); it needs an mbuf for each descriptor
 * of the receive rings, besides those that the application holds. The driver is the port's if this
 * succeeds. -EINVAL: driver or pool do not suit; -ENOMEM; or as vl_mbuf_share_pool().
 */
static inline int vl_mbuf_adopt(
	struct vl_driver *driver,
	struct rte_mempool *pool,
	struct vl_mbuf_port **out,
	struct vl_driver_error *why
)
{
	struct vl_mbuf_port *port =
		(struct vl_mbuf_port *)rte_zmalloc(NULL, sizeof(*port), RTE_CACHE_LINE_SIZE);
	struct vl_driver_status status;

	if (port == NULL)
		return vl_mbuf_explain(why, -ENOMEM, "out of memory");
	vl_driver_status(driver, &status);
	port->driver = driver;
	port->pool = pool;
	port->pair_count = status.queue_pairs;
	port->batch = RTE_MIN(status.rx_slots / 2, (unsigned)VL_MBUF_BATCH);
	port->mergeable = vl_features_have(&status.features, VL_F_MRG_RXBUF);
	port->pairs = (struct vl_mbuf_pair *)rte_zmalloc(
		NULL, port->pair_count * sizeof(port->pairs[0]), RTE_CACHE_LINE_SIZE
	);
	int error = port->pairs == NULL ? vl_mbuf_explain(why, -ENOMEM, "out of memory")
					: vl_mbuf_check(port, why);
	if (error == 0)
		error = vl_mbuf_share_pool(port, pool, why);
	if (error < 0) {
		rte_free(port->pairs);
		rte_free(port);
		return error;
	}
	for (unsigned i = 0; i < port->pair_count; i++)
		vl_mbuf_refill(port, i);
	*out = port;
	return 0;
}

/* Open a driver whose frames are mbufs of `pool`: vl_driver_open() and vl_mbuf_adopt(), with their
 * errors. config: foreign is set here, sizes and numbers of buffers do not count. */
static inline int vl_mbuf_open(
	const struct vl_driver_config *config,
	struct rte_mempool *pool,
	struct vl_mbuf_port **out,
	struct vl_driver_error *why
)
{
	struct vl_driver_config own;
	struct vl_driver *driver;

	memset(&own, 0, sizeof(own));
	memcpy(&own, config, RTE_MIN(config->size, sizeof(own)));
	/* Of a size that reaches to `foreign`, whatever the caller's; one that is not set stays so.
	 */
	own.size = config->size == 0 ? 0 : sizeof(own);
	own.foreign = true;
	int error = vl_driver_open(&own, &driver, why);
	if (error < 0)
		return error;
	error = vl_mbuf_adopt(driver, pool, out, why);
	if (error < 0)
		vl_driver_close(driver);
	return error;
}

#ifdef __cplusplus
}
#endif
