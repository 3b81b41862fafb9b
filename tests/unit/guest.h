/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest for tests: memory that can be shared, and the driver side of virtqueues in it, written
 * for reading and not for speed. A test may also spoil everything by hand: the areas of a ring are
 * public.
 *
 * Guest memory is a few files with holes between their guest addresses; guest addresses, user
 * addresses and the place where a region is mapped here all differ, so mixing them up shows.
 */
#pragma once

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GUEST_REGIONS_MAX = 4,
	GUEST_PIECES_MAX = 64, /* of a chain that is not indirect */
};

/* ---- memory ---- */

struct guest_region {
	uint64_t guest_address, user_address, size;
	int fd;
	uint8_t *host;
	uint64_t used; /* bytes given out by guest_alloc_in() */
};

struct guest {
	unsigned region_count;
	struct guest_region regions[GUEST_REGIONS_MAX];
};

/* The regions of guest_open(). */
enum {
	GUEST_LOW,  /* buffers */
	GUEST_NEXT, /* follows GUEST_LOW's guest addresses without a gap, in another file */
	GUEST_HIGH, /* rings; a hole before and behind */
	GUEST_REGION_COUNT,
};
enum {
	GUEST_LOW_SIZE = 24 << 20,
	GUEST_NEXT_SIZE = 1 << 20,
	GUEST_HIGH_SIZE = 16 << 20,
};
#define GUEST_LOW_ADDRESS UINT64_C(0x100000)
#define GUEST_HIGH_ADDRESS UINT64_C(0x100000000)

void guest_open(struct guest *guest);
void guest_close(struct guest *guest);

/* A memory file of `size` bytes; guest_mappings() knows it by its name. */
int guest_memfd(uint64_t size);

/* A guest address of `size` bytes, zeroed, in GUEST_LOW, or in a region. */
uint64_t guest_alloc(struct guest *guest, uint64_t size);
uint64_t guest_alloc_in(struct guest *guest, unsigned region, uint64_t size, uint64_t alignment);
/* Where a guest address is mapped here, and its user address. */
uint8_t *guest_at(const struct guest *guest, uint64_t address);
uint64_t guest_to_user(const struct guest *guest, uint64_t address);

/* ---- rings ---- */

struct guest_ring_options {
	uint32_t size;
	bool packed, event_idx;
	uint32_t start;	 /* index (split) or slot (packed) it begins at, as after a restart */
	bool start_wrap; /* packed: wrap counters; a fresh ring has true */
};

struct guest_ring {
	struct guest *guest;
	uint32_t size;
	bool packed, event_idx;

	/* The three areas: guest addresses, and mapped. */
	uint64_t desc_address, driver_address, device_address;
	union {
		struct vring_desc *desc;
		struct vring_packed_desc *packed_desc;
	};
	union {
		struct vring_avail *avail;
		struct vring_packed_desc_event *driver_event;
	};
	union {
		struct vring_used *used;
		struct vring_packed_desc_event *device_event;
	};
	int kick_fd, call_fd, err_fd; /* event descriptors */

	/* The driver's own memory. */
	uint32_t free_count; /* descriptors */
	uint16_t *free_ids;  /* split: descriptors, packed: buffer ids; free_id_count of them */
	uint32_t free_id_count;
	uint16_t *chain_size;		/* descriptors of the chain with this head or id */
	uint32_t *cookie;		/* the caller's number of that chain */
	uint16_t next_avail, kicked_at; /* split: free running; packed: slot */
	uint16_t last_used;
	bool avail_wrap, used_wrap;
	uint32_t added_since_kick; /* packed: descriptors */
	uint32_t chains_added;
};

struct guest_piece {
	uint64_t address; /* guest */
	uint32_t size;
	bool writable;
};

enum guest_form {
	GUEST_CHAINED,
	GUEST_INDIRECT,
};

void guest_ring_open(
	struct guest_ring *ring, struct guest *guest, const struct guest_ring_options *options
);
void guest_ring_close(struct guest_ring *ring);

/* Make a chain available. False: not enough free descriptors. `cookie` comes back with it. */
bool guest_ring_add(
	struct guest_ring *ring,
	const struct guest_piece *pieces,
	unsigned count,
	enum guest_form form,
	uint32_t cookie
);

struct guest_used {
	uint16_t id;
	uint32_t written;
	uint32_t cookie;
};
/* The next used chain; its descriptors are free again. */
bool guest_ring_reap(struct guest_ring *ring, struct guest_used *used);

/* What a driver does after adding: whether the device asked for a kick for what was added since
 * the last call, and the kick. */
bool guest_ring_must_kick(struct guest_ring *ring);
void guest_ring_kick(struct guest_ring *ring);
/* Whether the device has called since the last look. */
bool guest_ring_was_called(struct guest_ring *ring);

/* The driver's wishes for calls. With EVENT_IDX the call comes when the device uses the
 * `after`-th chain (split) or descriptor (packed) from the next one on; 0 being the next. */
void guest_ring_calls_off(struct guest_ring *ring);
void guest_ring_calls_on(struct guest_ring *ring, uint32_t after);
