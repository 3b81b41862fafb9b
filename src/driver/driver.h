/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of a driver: what its files share. See virtlane/driver.h for what it does.
 *
 * A frame of one buffer takes one descriptor: the virtio-net header stands in front of the data.
 * (With a descriptor of its own for headers that all plain frames share, the device parsed twice
 * as many and was slower with each back end that was tried: docs/performance.md.)
 *
 * Buffers circulate first in, first out, and the pools have as many as the rings have slots: so a
 * buffer comes back to the slot it was in, and its descriptor need not be written again.
 */
#pragma once

#include <pthread.h>

#include "memory/arena.h"
#include "ring/driver_ring.h"
#include "ring/isa.h"
#include "vhost/frontend.h"
#include "virtlane/driver.h"

enum {
	DRIVER_ARENAS_MAX = 64,
	DRIVER_HEADER_SIZE = 12, /* struct virtio_net_hdr with num_buffers */
	/* In front of a buffer's data: the application's headroom, and the header below that. */
	DRIVER_DATA_OFFSET = 128,
	DRIVER_BUFFER_ALIGNMENT = 64,
	DRIVER_PIECES_MAX = 72, /* of a frame: 64 KiB in buffers of 1 KiB, and some */
};

/* The low bit of a buffer's name: which pool it came from. */
enum {
	BUFFER_OF_TX = 1,
	BUFFER_MASK = DRIVER_BUFFER_ALIGNMENT - 1,
};

/* Free buffers, first in, first out. */
struct pool {
	uintptr_t *names; /* circular; NULL without a pool */
	uint32_t mask;
	uint32_t in, out; /* run freely */
	uint32_t total;	  /* buffers that belong here */
};

/* How the data path of a driver is specialised. */
struct driver_variant {
	bool packed, mergeable, foreign;
};

/* Receive buffers that were reaped and wait for the rest of their frame (MRG_RXBUF). */
struct driver_stash {
	uint32_t first, count;
	struct {
		uintptr_t buffer;
		uint8_t *data;
		uint32_t length; /* as the device said */
	} parts[2 * DRIVER_RUN_MAX + DRIVER_PIECES_MAX];
};

struct driver_counters {
	_Atomic uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes, tx_full, kicks, calls;
};

struct driver_pair {
	/* ---- constant while the pair runs ---- */
	struct driver_variant variant;
	uint32_t buffer_size;	   /* bytes behind the headroom */
	struct vring_desc *tables; /* DRIVER_PIECES_MAX a slot; NULL without INDIRECT_DESC */
	uint16_t gso_allowed;	   /* bit n: gso_type n (without the ECN flag) was negotiated */
	bool csum_allowed, ecn_allowed;
	int rx_kick_fd, tx_kick_fd, rx_call_fd, tx_call_fd;

	/* ---- the data thread's ---- */
	struct driver_ring rx, tx;
	uintptr_t *rx_buffers; /* [slots]: names of the buffers in the ring */
	uint8_t **rx_data;     /* [slots]: foreign memory: where the data lies, and for how long */
	uint32_t *rx_rooms;
	uintptr_t *tx_buffers;	      /* [slots]: of the first piece */
	uint16_t *tx_pieces;	      /* [slots]: of a frame; kept up only while tx_multi > 0 */
	uintptr_t *tx_chains;	      /* [slots * DRIVER_PIECES_MAX]: all pieces of such a frame */
	uint32_t tx_multi;	      /* outstanding frames of several pieces */
	struct pool rx_pool, tx_pool; /* foreign: tx_pool holds what was sent */
	struct driver_stash *stash;   /* mergeable only */
	/* Slots whose buffers had been reaped when the ring broke, and reached nobody. */
	uint32_t rx_lost_first, rx_lost_count;
	struct driver_counters counters;
} __attribute__((aligned(64)));

/* The data path of a variant, compiled for a processor level. */
struct driver_ops {
	int (*rx_burst)(struct driver_pair *pair, struct vl_driver_frame *frames, unsigned max);
	int (*tx_burst)(struct driver_pair *pair, struct vl_driver_frame *frames, unsigned count);
	unsigned (*rx_post
	)(struct driver_pair *pair, const struct vl_driver_frame *frames, unsigned count);
	void (*refill)(struct driver_pair *pair);
	void (*tx_reap)(struct driver_pair *pair);
};
const struct driver_ops *driver_ops_v2(const struct driver_variant *variant);
const struct driver_ops *driver_ops_v3(const struct driver_variant *variant);
const struct driver_ops *driver_ops_v4(const struct driver_variant *variant);

struct driver_region {
	struct arena arena; /* fd -1: memory of the application's */
	struct vhost_region region;
	int fd; /* to share again; a duplicate for the application's memory */
};

struct vl_driver {
	struct vl_driver_config config; /* with defaults filled in */
	char *path;			/* what config.path points to; NULL: there is none */
	struct frontend *frontend;
	/* Held while the session is used. Pairs that wait at the same time only try it. */
	pthread_mutex_t session;
	atomic_int failed; /* the error that ended the session; 0: it runs */
	struct vl_features offered, features;
	enum isa isa;
	const char *ring_name;
	bool in_order; /* what the ring's variant wants */
	const struct driver_ops *ops;
	struct driver_variant variant;
	unsigned pair_count, pairs_max;
	bool stopped; /* the device has been asked to stop the data rings */
	struct driver_pair *pairs;
	struct vhost_inflight inflight; /* the device's record of what it has taken */
	int inflight_fd;		/* of its memory; -1: none */
	unsigned region_count;
	struct driver_region regions[DRIVER_ARENAS_MAX];
	/* the control virtqueue */
	bool has_control;
	struct driver_ring control;
	uint8_t *control_data; /* command in and status out, in the arena */
	int control_kick_fd;
	/* what the device says of itself */
	bool has_mac, link_up;
	uint8_t mac[6];
	uint16_t mtu;
};

/* ---- open.c ---- */
/* Set a sentence; returns `error`. why may be NULL. */
int driver_explain(struct vl_driver_error *why, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Let the device stop using the data rings; once. */
void driver_stop(struct vl_driver *driver);

/* ---- negotiate.c ---- */
/* What the device is and has: features, queue pairs, address, MTU. */
int driver_negotiate(struct vl_driver *driver, struct vl_driver_error *why);
/* The same with a device that comes after another: what was negotiated is to hold. */
int driver_negotiate_again(struct vl_driver *driver, struct vl_driver_error *why);
/* Read link state, address, MTU again. */
int driver_read_config(struct vl_driver *driver);

/* ---- memory.c ---- */
/* One arena for all rings and pools, shared with the device. */
int driver_make_memory(struct vl_driver *driver, struct vl_driver_error *why);
void driver_free_memory(struct vl_driver *driver);
/* Share all that there is with a device that has none of it yet. */
int driver_share_all(struct vl_driver *driver);

/* ---- pair.c ---- */
/* Bytes of the arena that a pair needs, and its set-up in it. */
size_t driver_pair_bytes(const struct vl_driver *driver);
int driver_pair_open(struct vl_driver *driver, struct driver_pair *pair, struct arena *arena);
void driver_pair_close(struct driver_pair *pair);
/* Before another device begins where one has died: make good what that has left half done. */
void driver_pair_mend(struct driver_pair *pair);
/* The three areas of a ring, from the arena. */
int driver_make_ring(
	struct driver_ring *ring, struct arena *arena, const struct vl_driver *driver, uint32_t size
);
size_t driver_ring_area_bytes(uint32_t size);
int driver_start_ring(
	struct vl_driver *driver,
	unsigned index,
	const struct driver_ring *ring,
	int kick_fd,
	int call_fd
);
/* Carve `count` buffers into a pool. */
int driver_fill_pool(
	struct pool *pool, struct arena *arena, uint32_t count, uint32_t buffer_size, uintptr_t tag
);
size_t driver_buffer_stride(uint32_t buffer_size);

/* ---- control.c ---- */
size_t driver_control_bytes(void);
int driver_control_open(struct vl_driver *driver, struct arena *arena);
void driver_control_close(struct vl_driver *driver);
/* Begin with an empty ring, before another device sees it: a command may have got no answer. */
int driver_control_renew(struct vl_driver *driver);

/* ---- the session, off the data path ---- */

static inline void driver_unlock(struct vl_driver *driver)
{
	atomic_store_explicit(&driver->failed, driver->frontend->failed, memory_order_relaxed);
	pthread_mutex_unlock(&driver->session);
}

/* ---- on the data path ---- */

/* A lie on either ring stops the pair. */
static inline bool driver_pair_is_broken(const struct driver_pair *pair)
{
	return atomic_load_explicit(&pair->rx.broken, memory_order_relaxed) != NULL
	       || atomic_load_explicit(&pair->tx.broken, memory_order_relaxed) != NULL;
}

static inline uint32_t pool_count(const struct pool *pool)
{
	return pool->in - pool->out;
}

static inline void pool_put(struct pool *pool, uintptr_t name)
{
	pool->names[pool->in++ & pool->mask] = name;
}

static inline uintptr_t pool_get(struct pool *pool)
{
	return pool->names[pool->out++ & pool->mask];
}

static inline uint8_t *buffer_data(uintptr_t name)
{
	return (uint8_t *)(name & ~(uintptr_t)BUFFER_MASK) + DRIVER_DATA_OFFSET;
}

static inline void driver_count(_Atomic uint64_t *counter, uint64_t n)
{
	/* One thread writes a pair's counters: no locked instruction. */
	atomic_store_explicit(
		counter,
		atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed
	);
}
