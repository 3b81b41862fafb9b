/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of ethdev ports: ethdev.c carries frames, ethdev_device.c opens and shuts the device.
 */
#pragma once

#include <rte_ethdev.h>

#include "port/port.h"

enum {
	ETHDEV_FRAME_SPANS = 40, /* 64 KiB in pieces of 2 KiB, and some */
};

struct ethdev_queue {
	/* one borrower's */
	struct rte_mbuf *borrowed[VL_BURST_MAX]; /* not given back yet: from `first` on */
	unsigned first, count;
	struct iovec spans[VL_BURST_MAX * ETHDEV_FRAME_SPANS];
};

struct port_ethdev {
	struct port port;
	uint16_t device;
	bool probed, started, watched;
	bool open;
	int netns_fd;	   /* of the namespace that the device was opened in; -1: the daemon's */
	uint64_t netns_id; /* at that time */
	uint16_t tx_queue_count;
	uint32_t largest;     /* bytes of a frame that the device sends */
	uint64_t tx_offloads; /* RTE_ETH_TX_OFFLOAD_* that it is configured with */
	uint32_t capable;     /* VL_OFFLOAD_* that these amount to */
	struct rte_mempool *pool;
	char driver[32];

	_Atomic uint32_t offloads; /* VL_OFFLOAD_* that are used of these */
	atomic_bool link_up;
	atomic_bool removed; /* by its bus, or with its namespace */
	struct ethdev_queue queues[];
};

/* Probe the device of the port's settings, configure and start it; in its network namespace. -errno
 * and an explanation: ethdev_device_shut() undoes what was done. */
int ethdev_device_open(struct port_ethdev *ethdev, struct error *error);
/* Stop, close and remove it; in the same namespace. Frees no memory. */
void ethdev_device_shut(struct port_ethdev *ethdev);
