/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device side of a virtqueue, split (VIRTIO 1.3, 2.7) or packed (2.8).
 *
 * Idea: the device *takes* chains in the order the driver made them available, *holds* them, and
 * *completes* them in that order; completed ones are *published* to the driver together, with one
 * store that releases them. A ring knows nothing of networking and owns no memory of the peer.
 *
 * Rules
 * - One thread uses a ring at a time. Control builds it, publishes it, and gets it back only when
 *   no worker can still see it.
 * - Everything in the ring's memory is the driver's to change at any moment: each value is loaded
 *   once into a local and checked there. A driver that breaks a rule breaks its ring for good
 *   (`broken` says how); the ring then takes nothing more.
 * - The layout is a constant argument of the inline bodies in split.h and packed.h, so that each
 *   is compiled without the other's branches.
 */
#pragma once

#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "memory/memory.h"
#include "ring/lanes.h"

enum {
	RING_BURST_MAX = 64, /* plain chains that are taken together */
	/* What is looked at before it is taken: chains, their descriptors, and what of them is
	 * asked for. */
	RING_AHEAD_MAX = 64,
	RING_AHEAD_WALK = 256,
	RING_AHEAD_ASK = 64,
	RING_SIZE_MAX = 32768, /* VIRTIO 1.3, 2.7 and 2.8 */
	/* More than any driver has in a chain; what bounds the work that one chain can make. */
	RING_CHAIN_MAX = 1024,	 /* descriptors */
	RING_CHAIN_SPANS = 1536, /* pieces of memory: descriptors that cross regions have several */
};

/* A chain that was taken and is not yet published. In a split ring it looks like the used element
 * that it becomes. */
struct ring_held {
	uint16_t id;	  /* split: head index; packed: buffer id */
	uint16_t count;	  /* packed: descriptors it takes up in the ring; split: 0 */
	uint32_t written; /* bytes, for the used element */
};

/* For fields that are loaded together: the struct's memory, seen as one word. */
typedef uint64_t __attribute__((may_alias)) ring_word;

/* What a packed ring leaves to who comes after it. Of the burst that is published: */
struct ring_place {
	ring_word word;	  /* the positions behind and before it: see packed_note_place() */
	uint32_t written; /* bytes in its first chain */
	uint8_t odd;	  /* there have been chains of more than one direct descriptor */
};

struct ring {
	/* control's: constant while published */
	union {
		struct vring_desc *split_desc;
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
	struct ring_place *place;	       /* see ring_config */
	_Atomic(const struct memory *) memory; /* replaced while running, freed after quiescence */
	uint32_t size;			       /* descriptors */
	bool packed, event_idx, indirect;
	bool read_only, batches; /* see ring_config */

	/* the worker's */
	uint16_t next;	    /* split: free running index; packed: slot, of the next chain */
	uint16_t seen;	    /* split: the driver's index when it was last read */
	uint16_t used_next; /* split: free running index; packed: slot, of the next used element */
	uint16_t signalled; /* used_next at the last decision whether to notify */
	bool next_wrap, used_wrap, signalled_wrap; /* packed: wrap counters */
	bool odd;				   /* packed: see ring_place */
	uint32_t walked; /* descriptors looked at since the user set it to zero */
	bool notify_me;	 /* the driver was asked for notifications, when `next` was ... */
	uint16_t notify_next;
	bool notify_wrap;
	unsigned hint;	     /* memory region used last */
	unsigned recent[2];  /* regions that plain chains are looked for in */
	uint32_t held_first; /* position in `held` of the oldest chain */
	uint32_t held_count;
	uint32_t held_descriptors;    /* packed: of the held chains, `size` at most; split: 0 */
	struct ring_held *held;	      /* circular, `size` elements */
	_Atomic(const char *) broken; /* static sentence; NULL while all is well */

	/* the worker's, of memory that has to be asked for: behind what each burst uses */
	/* The next chain cannot be taken now: its memory has been asked for. Set by each take. */
	bool waiting;
	uint32_t asked; /* for, in this look */
	/* Where the last look was: at which place, and how far into its chain a take had come. */
	bool looked;
	uint16_t looked_next;
	uint32_t looked_progress;
	bool ahead; /* looking at what comes, so that it is asked for: see ring_look_ahead() */
};

/* What a chain is made of. Spans lie in the caller's array. */
struct ring_chain {
	uint32_t descriptors; /* those of length 0, too */
	uint32_t readable_spans, writable_spans;
	uint64_t readable_size, writable_size; /* bytes */
};

/* Where a ring goes on; filled by ring_position(), taken by ring_open(). */
struct ring_position {
	uint16_t next, used_next;
	bool next_wrap, used_wrap;
};

struct ring_config {
	void *desc, *driver, *device; /* the three areas, mapped here */
	const struct memory *memory;
	uint32_t size;
	bool packed, event_idx, indirect;
	bool mergeable; /* a receive queue whose frames may take several chains */
	/* The device only reads from this queue, so what the driver flags as writable is read all
	 * the same: DPDK's leaves the flag on headers in indirect tables of packed rings. */
	bool read_only;
	/* IN_ORDER was negotiated, and nobody wants to know how much was written: one used
	 * descriptor stands for all that are published together (2.8.9). Packed rings only: in a
	 * split ring it would save nothing, as used elements that stay the same are not written. */
	bool batches;
	/* Packed: where the used position is kept for who comes after us (inflight.h); NULL:
	 * nowhere. */
	struct ring_place *place;
	struct ring_position position;
	bool old_position; /* it is where the ring began, and the front end has not said so now */
	bool guess_fresh;  /* a packed ring at {0, 0} with counters of 0 may be a new one */
};

/* Bytes of each area, for the check that it lies in one region. */
uint64_t ring_desc_bytes(uint32_t size);
uint64_t ring_driver_bytes(bool packed, uint32_t size);
uint64_t ring_device_bytes(bool packed, uint32_t size);

/* Set up `ring` (zeroed by the caller); allocates `held`. 0 or -ENOMEM. */
int ring_open(struct ring *ring, const struct ring_config *config);
void ring_close(struct ring *ring);
void ring_position(const struct ring *ring, struct ring_position *out);

/* The encoding of positions in SET/GET_VRING_BASE ("vring descriptor index" in vhost-user). For a
 * split ring used_next is not in the message: it is read from the ring's memory. */
uint32_t ring_position_encode(const struct ring_position *position, bool packed);
struct ring_position ring_position_decode(uint32_t base, bool packed);

/*
 * Take the next chain. Its spans are stored from `spans` on, at most `span_max`.
 * Returns 1, 0 if the driver has made nothing more available or what it has made available cannot
 * be used yet (ring->waiting), or -EPROTO (the ring is broken).
 */
static inline int ring_take(
	struct ring *ring,
	const bool packed,
	struct ring_chain *chain,
	struct iovec *spans,
	uint32_t span_max
);
/*
 * Chains of the shapes that nearly all have: one descriptor with header and data, or two, of which
 * the first is just the header; each in one of the two regions used last.
 */
struct ring_plain {
	struct {
		uint8_t *header, *data;
	} at[RING_BURST_MAX];
	uint32_t size[RING_BURST_MAX]; /* bytes at data, at least 1 */
};
/*
 * Take as many plain chains as are next, at most `max`. What comes behind them, if anything, is for
 * ring_take(), which also judges what is wrong. `writable` chains are for the device to write.
 */
ALWAYS_INLINE uint32_t ring_take_plain(
	struct ring *ring,
	const bool packed,
	const bool writable,
	const uint32_t header_size,
	struct ring_plain *out,
	uint32_t max
);

/* Undo the last `count` takes: the chains are taken again by the next ones. */
static inline void ring_untake(struct ring *ring, const bool packed, uint32_t count);
/* The same: back to a position and count remembered before them. */
struct ring_mark {
	uint16_t next;
	bool next_wrap;
	uint32_t held_count, held_descriptors;
};
static inline struct ring_mark ring_mark(const struct ring *ring)
{
	return (struct ring_mark
	){ring->next, ring->next_wrap, ring->held_count, ring->held_descriptors};
}
static inline void ring_rewind(struct ring *ring, struct ring_mark mark)
{
	ring->next = mark.next;
	ring->next_wrap = mark.next_wrap;
	ring->held_count = mark.held_count;
	ring->held_descriptors = mark.held_descriptors;
}
/* Whether the driver can add nothing before it gets something back. */
static inline bool ring_is_all_held(const struct ring *ring, const bool packed)
{
	return (packed ? ring->held_descriptors : ring->held_count) == ring->size;
}
/* The n-th held chain, 0 being the oldest. */
static inline struct ring_held *ring_held_at(struct ring *ring, uint32_t n)
{
	uint32_t position = ring->held_first + n;

	return &ring->held[position < ring->size ? position : position - ring->size];
}

/* Give the oldest `count` held chains back to the driver. */
static inline void ring_publish(struct ring *ring, const bool packed, uint32_t count);
/* Whether the driver wants to be notified of what was published since the last call. */
static inline bool ring_wants_call(struct ring *ring, const bool packed);
/*
 * Ask the driver for notifications (or no longer). ring_notify_on() returns true if chains are
 * available already: then the caller has to go on, for no notification will come for them.
 */
static inline bool ring_notify_on(struct ring *ring, const bool packed);
static inline void ring_notify_off(struct ring *ring, const bool packed);

/* ---- shared by the two layouts ---- */

static inline int ring_break(struct ring *ring, const char *why)
{
	/* It will be judged when it is taken. */
	if (ring->ahead)
		return -1;
	atomic_store_explicit(&ring->broken, why, memory_order_release);
	return -1;
}

static inline void ring_hold(struct ring *ring, uint16_t id, uint16_t count)
{
	*ring_held_at(ring, ring->held_count) = (struct ring_held){.id = id, .count = count};
	ring->held_count++;
	ring->held_descriptors += count;
}

static inline void ring_untake(struct ring *ring, const bool packed, uint32_t count)
{
	uint32_t back = count;

	if (packed) {
		back = 0;
		for (uint32_t i = 1; i <= count; i++)
			back += ring_held_at(ring, ring->held_count - i)->count;
	}
	ring->held_count -= count;
	if (packed)
		ring->held_descriptors -= back;
	if (packed && back > ring->next) {
		ring->next = (uint16_t)(ring->next + ring->size - back);
		ring->next_wrap = !ring->next_wrap;
	} else {
		ring->next = (uint16_t)(ring->next - back);
	}
}

/* The oldest `count` chains, which take up so many descriptors of a packed ring. */
static inline void ring_drop_held(struct ring *ring, uint32_t count, uint32_t descriptors)
{
	ring->held_descriptors -= descriptors;
	ring->held_first += count;
	if (ring->held_first >= ring->size)
		ring->held_first -= ring->size;
	ring->held_count -= count;
}

/* Where a guest address is mapped, and *run bytes from there on; NULL: nowhere, and the ring is
 * broken, as `outside` says, or it cannot be used yet. For a look ahead at chains it is enough to
 * know where, but not for what they are made of (`content`). */
static inline uint8_t *ring_reach(
	struct ring *ring,
	uint64_t address,
	bool write,
	uint64_t *run,
	const bool content,
	const char *outside
)
{
	const struct memory *memory = atomic_load_explicit(&ring->memory, memory_order_relaxed);
	bool later = false;
	uint8_t *at = memory->by_reach
			      ? memory_reach(memory, address, write, run, &ring->hint, &later)
			      : memory_at_guest(memory, address, run, &ring->hint);

	if (later)
		ring->waiting = true;
	else if (at == NULL)
		(void)ring_break(ring, outside);
	if (!later)
		return at;
	/* Any place will do, since nobody looks at it. */
	return ring->ahead && !content && ++ring->asked < RING_AHEAD_ASK ? (uint8_t *)ring : NULL;
}

#define RING_TABLE_OUTSIDE "an indirect table lies outside the shared memory"

/* Copy one descriptor of an indirect table, which may lie across regions. */
static inline int ring_read_indirect(struct ring *ring, uint64_t address, void *to, size_t size)
{
	uint8_t *cursor = to;

	while (size > 0) {
		uint64_t run;
		const uint8_t *from =
			ring_reach(ring, address, false, &run, true, RING_TABLE_OUTSIDE);

		if (from == NULL)
			return -1;
		size_t piece = run < size ? (size_t)run : size;
		memcpy(cursor, from, piece);
		cursor += piece;
		address += piece;
		size -= piece;
	}
	return 0;
}

/* Add one buffer to a chain; it is split where it crosses regions. */
static inline int ring_add_span(
	struct ring *ring,
	struct ring_chain *chain,
	struct iovec *spans,
	uint32_t span_max,
	uint64_t address,
	uint32_t size,
	bool writable
)
{
	uint32_t used = chain->readable_spans + chain->writable_spans;

	if (++chain->descriptors > RING_CHAIN_MAX)
		return ring_break(ring, "a chain has too many descriptors");
	ring->walked++;
	writable = writable && !ring->read_only;
	if (!writable && chain->writable_spans > 0)
		return ring_break(ring, "a chain has a readable buffer behind a writable one");
	if (writable)
		chain->writable_size += size;
	else
		chain->readable_size += size;
	while (size > 0) {
		uint64_t run;
		uint8_t *data = ring_reach(
			ring,
			address,
			writable,
			&run,
			false,
			"a buffer lies outside the shared memory"
		);

		if (data == NULL)
			return -1;
		if (used == span_max)
			return ring_break(ring, "a chain has too many pieces");
		uint32_t piece = run < size ? (uint32_t)run : size;
		spans[used++] = (struct iovec){.iov_base = data, .iov_len = piece};
		if (writable)
			chain->writable_spans++;
		else
			chain->readable_spans++;
		address += piece;
		size -= piece;
	}
	return 0;
}

static inline int ring_check_indirect(struct ring *ring, uint32_t bytes)
{
	if (!ring->indirect)
		return ring_break(ring, "an indirect descriptor without INDIRECT_DESC");
	if (bytes == 0 || bytes % sizeof(struct vring_desc) != 0)
		return ring_break(ring, "an indirect table's size is not a multiple of 16");
	if (bytes / sizeof(struct vring_desc) > RING_SIZE_MAX)
		return ring_break(ring, "an indirect table is too long");
	return 0;
}

/* The regions that plain chains may lie in: a guest with more memory than fits below 4 GiB has its
 * buffers in two. Copies, since the compiler cannot know that what is stored meanwhile is not they.
 */
struct ring_regions {
	struct ring_region {
		uint64_t guest_address, size; /* as of struct memory_region */
		uint8_t *host;
	} at[2];
};

/* Where `size` bytes at a guest address are mapped, if they lie in one of the regions; NULL: they
 * do not, or there are none. */
static inline uint8_t *
ring_place(const struct ring_regions *regions, uint64_t address, uint32_t size)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct ring_region *region = &regions->at[i];
		uint64_t offset = address - region->guest_address;

		/* A size of 0 becomes the largest. */
		if (offset < region->size && (uint64_t)size - 1 < region->size - offset)
			return region->host + offset;
	}
	return NULL;
}

/* Hold a chain at a known place; the caller counts. */
static inline uint32_t
ring_hold_at(struct ring *ring, uint32_t position, uint16_t id, uint16_t count)
{
	ring->held[position] = (struct ring_held){.id = id, .count = count};
	return position + 1 < ring->size ? position + 1 : 0;
}

/* Lanes whose top bit says that so many bytes at an offset do not lie in a region. Nothing wraps:
 * an offset of 2^62 or more is refused by its own top bits, and no mapping is larger than 2^47. */
#define RING_OUTSIDE(region, offset, size) \
	(((region)->size - ((offset) + (size))) | (offset) | (offset) << 1)

/* What is added to an offset for the places of header and data. */
#define RING_PLACES(region, header_size)                            \
	LANES_FILL(                                                 \
		(uint64_t)(uintptr_t)(region)->host,                \
		(uint64_t)(uintptr_t)(region)->host + (header_size) \
	)

/*
 * Whether LANES_STEP descriptors are plain chains of one; then their places are stored from out's
 * n-th on. Each one's rest is its length and, from bit `flags_shift` on, its flags, of which
 * `flags_mask` have to be `flags`.
 *
 * Conditions are differences that are negative if they do not hold, so that all are judged by their
 * top bits together.
 */
ALWAYS_INLINE bool ring_place_step(
	const struct ring_regions *regions,
	const lanes *descriptors,
	const uint32_t flags_shift,
	const uint64_t flags_mask,
	const uint64_t flags,
	const uint32_t header_size,
	struct ring_plain *out,
	uint32_t n
)
{
	lanes address = LANES_EVEN(*descriptors), rest = LANES_ODD(*descriptors);
	const struct ring_region *first = &regions->at[0], *second = &regions->at[1];
	lanes offset = address - first->guest_address;
	lanes size = rest & UINT32_MAX, room = size - header_size;
	lanes odd = (room - 1) | (0 - ((rest >> flags_shift & flags_mask) ^ flags));
	lanes outside = RING_OUTSIDE(first, offset, size);
	lanes wrong = odd | outside;
	lanes at = offset + RING_PLACES(first, header_size);

	if (lanes_any_sign(&wrong)) {
		offset = address - second->guest_address;
		wrong = odd | (outside & RING_OUTSIDE(second, offset, size));
		if (lanes_any_sign(&wrong))
			return false;
		lanes other = (lanes)((lanes_signed)outside >> 63);
		at = (at & ~other) | ((offset + RING_PLACES(second, header_size)) & other);
	}
	lanes_half rooms = LANES_EVEN_HALF(room);
	lanes_sizes sizes = __builtin_convertvector(rooms, lanes_sizes);
	memcpy(&out->at[n], &at, sizeof(at));
	memcpy(&out->size[n], &sizes, sizeof(sizes));
	return true;
}

#include "ring/packed.h"
#include "ring/split.h"

static inline int ring_take_next(
	struct ring *ring,
	const bool packed,
	struct ring_chain *chain,
	struct iovec *spans,
	uint32_t span_max
)
{
	*chain = (struct ring_chain){0};
	ring->waiting = false;
	int got = packed ? packed_take(ring, chain, spans, span_max)
			 : split_take(ring, chain, spans, span_max);
	return got < 0 && ring->waiting ? 0 : got;
}

/* Have all that comes next asked for, so that one wait is for all of it, and the best one is before
 * it is wanted. */
static inline void ring_look_ahead(
	struct ring *ring,
	const bool packed,
	struct iovec *spans,
	uint32_t span_max,
	uint32_t progress
)
{
	struct ring_mark mark = ring_mark(ring);
	const bool odd = ring->odd, waiting = ring->waiting;
	const uint32_t walked = ring->walked;
	struct ring_chain chain;
	uint32_t n = 0;

	/* Again only if something has come since. */
	if (ring->looked && ring->looked_next == ring->next && ring->looked_progress == progress)
		return;
	ring->looked_next = ring->next;
	ring->looked_progress = progress;
	ring->asked = 0;
	ring->ahead = true;
	while (n++ < RING_AHEAD_MAX && ring->walked - walked < RING_AHEAD_WALK
	       && ring_take_next(ring, packed, &chain, spans, span_max) == 1)
		continue;
	/* An empty ring may be filled at this place. */
	ring->looked = n > 1 || ring->waiting;
	ring->ahead = false;
	ring->odd = odd;
	ring->waiting = waiting;
	ring->walked = walked;
	ring_rewind(ring, mark);
}

static inline int ring_take(
	struct ring *ring,
	const bool packed,
	struct ring_chain *chain,
	struct iovec *spans,
	uint32_t span_max
)
{
	int got = ring_take_next(ring, packed, chain, spans, span_max);

	if (got == 0 && ring->waiting)
		ring_look_ahead(
			ring,
			packed,
			spans,
			span_max,
			chain->descriptors + chain->readable_spans + chain->writable_spans
		);
	return got;
}

ALWAYS_INLINE uint32_t ring_take_plain(
	struct ring *ring,
	const bool packed,
	const bool writable,
	const uint32_t header_size,
	struct ring_plain *out,
	uint32_t max
)
{
	const struct memory *memory = atomic_load_explicit(&ring->memory, memory_order_relaxed);

	if (memory->by_reach || ring->hint >= memory->count)
		return 0;
	if (ring->hint != ring->recent[0]) {
		ring->recent[1] = ring->recent[0];
		ring->recent[0] = ring->hint;
	}
	unsigned other = ring->recent[1] < memory->count ? ring->recent[1] : ring->hint;
	const struct memory_region *near = &memory->regions[ring->hint];
	const struct memory_region *far = &memory->regions[other];
	const struct ring_regions regions = {{
		{near->guest_address, near->size, near->host},
		{far->guest_address, far->size, far->host},
	}};
	/* A ring that is full of chains we hold can have nothing new in it. */
	uint32_t room = ring->size - (packed ? ring->held_descriptors : ring->held_count);
	if (max > room)
		max = room;
	uint32_t n = packed ? packed_take_plain(ring, &regions, writable, header_size, out, max)
			    : split_take_plain(ring, &regions, writable, header_size, out, max);
	ring->held_count += n;
	if (packed)
		ring->held_descriptors += n;
	ring->walked += n;
	return n;
}

static inline void ring_publish(struct ring *ring, const bool packed, uint32_t count)
{
	uint32_t descriptors = 0;

	if (count == 0)
		return;
	if (packed)
		descriptors = ring->batches ? packed_publish_batch(ring, count)
					    : packed_publish(ring, count);
	else
		split_publish(ring, count);
	ring_drop_held(ring, count, descriptors);
}

static inline bool ring_wants_call(struct ring *ring, const bool packed)
{
	return packed ? packed_wants_call(ring) : split_wants_call(ring);
}

static inline bool ring_notify_on(struct ring *ring, const bool packed)
{
	/* Not again for the same place: a driver may free an idle ring that it has only disabled,
	 * as User Mode Linux does, and what is written there then is somebody else's. */
	if (ring->notify_me && ring->notify_next == ring->next
	    && ring->notify_wrap == ring->next_wrap)
		return packed ? packed_has_more(ring) : split_has_more(ring);
	ring->notify_me = true;
	ring->notify_next = ring->next;
	ring->notify_wrap = ring->next_wrap;
	return packed ? packed_notify_on(ring) : split_notify_on(ring);
}

static inline void ring_notify_off(struct ring *ring, const bool packed)
{
	if (!ring->notify_me)
		return;
	ring->notify_me = false;
	if (packed)
		packed_notify_off(ring);
	else
		split_notify_off(ring);
}
