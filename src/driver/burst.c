/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's data path: bursts out and in. Compiled once for each processor level (ring/isa.h);
 * in each, one body is specialised for every variant by constants.
 *
 * Nothing here is checked that comes from the application; all is that comes from the device.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "driver/driver.h"

#define driver_ops_of ISA_NAME(driver_ops)

enum {
	/* Slots that are refilled together: less often is cheaper, later starves the device. */
	REFILL_MIN = 32,
	/* Sent frames that may wait before they are looked for. */
	TX_REAP_MIN = 32,
};

static int broken(const struct driver_ring *ring)
{
	return atomic_load_explicit(&ring->broken, memory_order_relaxed) != NULL;
}

static void kick(struct driver_pair *pair, int fd)
{
	uint64_t one = 1;

	driver_count(&pair->counters.kicks, 1);
	if (write(fd, &one, sizeof(one)) < 0)
		return; /* full: the device has been told */
}

/* ---- header ---- */

/* A header as two words; what is in them is little endian on all machines we build for. */
struct header_words {
	uint64_t low;  /* flags, gso_type, hdr_len, gso_size, csum_start */
	uint32_t high; /* csum_offset, num_buffers */
};
enum {
	HIGH_CSUM_OFFSET = 0xffff, /* mask */
};

ALWAYS_INLINE struct header_words header_get(const void *from)
{
	struct header_words words;

	memcpy(&words.low, from, sizeof(words.low));
	memcpy(&words.high, (const uint8_t *)from + 8, sizeof(words.high));
	return words;
}

/* What a driver sends: no flag but NEEDS_CSUM, num_buffers 0 (5.1.6.2.1). */
ALWAYS_INLINE struct header_words header_to_send(const struct vl_net_header *header)
{
	struct header_words words = header_get(header);

	words.low &= ~UINT64_C(0xff) | VL_NET_NEEDS_CSUM;
	words.high &= HIGH_CSUM_OFFSET;
	return words;
}

ALWAYS_INLINE bool header_is_plain(struct header_words words)
{
	return (words.low | words.high) == 0;
}

/* A line that both sides share is not written for nothing. */
ALWAYS_INLINE void header_store(void *to, struct header_words words)
{
	struct header_words there = header_get(to);

	if (there.low == words.low && there.high == words.high)
		return;
	memcpy(to, &words.low, sizeof(words.low));
	memcpy((uint8_t *)to + 8, &words.high, sizeof(words.high));
}

/* Whether the device has agreed to do what the header asks of it. */
static bool header_is_allowed(const struct driver_pair *pair, const struct vl_net_header *header)
{
	uint8_t type = header->gso_type & (uint8_t)~VL_GSO_ECN;

	if ((header->flags & VL_NET_NEEDS_CSUM) && !pair->csum_allowed)
		return false;
	if ((header->gso_type & VL_GSO_ECN) && !pair->ecn_allowed)
		return false;
	return type == VL_GSO_NONE || (type < 16 && (pair->gso_allowed >> type & 1));
}

/* ---- sending ---- */

ALWAYS_INLINE void tx_free(struct driver_pair *pair, uintptr_t name, const bool foreign)
{
	if (!foreign && !(name & BUFFER_OF_TX))
		pool_put(&pair->rx_pool, name);
	else
		pool_put(&pair->tx_pool, name);
}

/* A frame of several pieces: all its buffers. */
static void tx_free_pieces(struct driver_pair *pair, uint32_t slot, const bool foreign)
{
	const uintptr_t *names = &pair->tx_chains[(size_t)slot * DRIVER_PIECES_MAX];

	for (uint32_t i = 0; i < pair->tx_pieces[slot]; i++)
		tx_free(pair, names[i], foreign);
	if (pair->tx_pieces[slot] > 1)
		pair->tx_multi--;
	pair->tx_pieces[slot] = 1;
}

/* How many frames may be reaped: the names of foreign buffers need room until they are asked for.
 */
ALWAYS_INLINE uint32_t tx_reap_max(const struct driver_pair *pair, const bool foreign)
{
	uint32_t frames = (pair->tx_pool.mask + 1 - pool_count(&pair->tx_pool)) / DRIVER_PIECES_MAX;

	return foreign && frames < DRIVER_RUN_MAX ? frames : DRIVER_RUN_MAX;
}

ALWAYS_INLINE void tx_reap(struct driver_pair *pair, const struct driver_variant variant)
{
	uint32_t lengths[DRIVER_RUN_MAX], first, max;
	int n = 0;

	do {
		max = tx_reap_max(pair, variant.foreign);
		n = max == 0 ? 0
			     : driver_ring_reap(&pair->tx, variant.packed, max, &first, lengths);
		for (int i = 0; i < n; i++) {
			uint32_t slot = driver_ring_slot(&pair->tx, first + (uint32_t)i);

			if (pair->tx_multi > 0 && pair->tx_pieces[slot] > 1)
				tx_free_pieces(pair, slot, variant.foreign);
			else
				tx_free(pair, pair->tx_buffers[slot], variant.foreign);
		}
	} while (n > 0);
}

/* Where a frame's header goes, with its content; the address the device is told. */
ALWAYS_INLINE uint64_t tx_place_header(
	struct driver_pair *pair,
	uint32_t slot,
	const struct vl_driver_frame *frame,
	const enum driver_form form
)
{
	struct header_words words = header_to_send(&frame->header);
	uint8_t *place = form == FORM_FRONT ? frame->data - DRIVER_HEADER_SIZE
					    : pair->tx_headers + slot * DRIVER_HEADER_STRIDE;

	if (form == FORM_HEADER && header_is_plain(words))
		return pair->zero_header;
	header_store(place, words);
	return (uint64_t)(uintptr_t)place;
}

/* Add a frame of one piece. */
ALWAYS_INLINE void tx_add_one(
	struct driver_pair *pair,
	const struct vl_driver_frame *frame,
	const struct driver_variant variant
)
{
	struct driver_ring *ring = &pair->tx;
	uint32_t slot = driver_ring_slot(ring, ring->next);
	uint64_t header = tx_place_header(pair, slot, frame, variant.form);

	pair->tx_buffers[slot] = frame->buffer;
	if (pair->tx_multi > 0)
		pair->tx_pieces[slot] = 1;
	if (variant.form == FORM_FRONT) {
		driver_ring_add_one(
			ring, variant.packed, header, frame->length + DRIVER_HEADER_SIZE, false
		);
	} else {
		struct driver_piece pieces[2] = {
			{header, DRIVER_HEADER_SIZE, false},
			{(uint64_t)(uintptr_t)frame->data, frame->length, false},
		};

		driver_ring_add(ring, variant.packed, pieces, 2);
	}
}

/* Descriptors for a frame of several pieces. */
static uint32_t tx_describe(
	struct driver_pair *pair,
	const struct vl_driver_frame *frames,
	uint32_t count,
	const struct driver_variant variant,
	struct driver_piece *pieces
)
{
	uint32_t slot = driver_ring_slot(&pair->tx, pair->tx.next), n = 0;
	uint64_t header = tx_place_header(pair, slot, frames, variant.form);
	bool front = variant.form == FORM_FRONT;

	if (!front)
		pieces[n++] = (struct driver_piece){header, DRIVER_HEADER_SIZE, false};
	for (uint32_t i = 0; i < count; i++)
		pieces[n++] = (struct driver_piece
		){(uint64_t)(uintptr_t)frames[i].data, frames[i].length, false};
	if (front) {
		pieces[0].address = header;
		pieces[0].size += DRIVER_HEADER_SIZE;
	}
	return n;
}

/* Add a frame of `count` pieces; false: there is no room. */
static bool tx_add_pieces(
	struct driver_pair *pair,
	const struct vl_driver_frame *frames,
	uint32_t count,
	const struct driver_variant variant
)
{
	struct driver_ring *ring = &pair->tx;
	struct driver_piece pieces[DRIVER_TABLE_MAX];
	uint32_t n = count + (variant.form == FORM_HEADER);
	uint32_t needed = pair->tables != NULL ? 1 : driver_ring_slots_of(ring, n);

	if (driver_ring_free(ring) < needed)
		return false;
	uint32_t slot = driver_ring_slot(ring, ring->next);
	uintptr_t *names = &pair->tx_chains[(size_t)slot * DRIVER_PIECES_MAX];
	(void)tx_describe(pair, frames, count, variant, pieces);
	if (pair->tx_multi++ == 0) {
		/* Frames before this one were of one piece. */
		for (uint32_t i = 0; i < ring->slots; i++)
			pair->tx_pieces[i] = 1;
	}
	pair->tx_pieces[slot] = (uint16_t)count;
	for (uint32_t i = 0; i < count; i++)
		names[i] = frames[i].buffer;
	if (pair->tables == NULL) {
		driver_ring_add(ring, variant.packed, pieces, n);
		return true;
	}
	struct vring_desc *table = &pair->tables[(size_t)slot * DRIVER_TABLE_MAX];
	for (uint32_t i = 0; i < n; i++)
		driver_table_set(table, variant.packed, i, n, &pieces[i]);
	driver_ring_add_indirect(
		ring, variant.packed, (uint64_t)(uintptr_t)table, n * (uint32_t)sizeof(*table)
	);
	return true;
}

/* Whether a frame of `pieces` can be sent at all, sooner or later. */
static bool tx_is_possible(
	const struct driver_pair *pair,
	const struct vl_driver_frame *frame,
	uint32_t pieces,
	uint32_t given,
	const enum driver_form form
)
{
	uint32_t descriptors = pieces + (form == FORM_HEADER);

	return pieces <= DRIVER_PIECES_MAX && pieces <= given
	       && header_is_allowed(pair, &frame->header)
	       && (pair->tables != NULL
		   || driver_ring_slots_of(&pair->tx, descriptors) <= pair->tx.slots);
}

/* Add the next frame: elements taken, 0 if there is no room now, -EINVAL if there never will be. */
ALWAYS_INLINE int
tx_add(struct driver_pair *pair,
       const struct vl_driver_frame *frames,
       uint32_t given,
       uint64_t *bytes,
       const struct driver_variant variant)
{
	uint32_t pieces = frames->header.num_buffers > 1 ? frames->header.num_buffers : 1;

	/* A plain frame asks for nothing, so nothing has to be allowed. */
	if ((pieces > 1 || !header_is_plain(header_to_send(&frames->header)))
	    && !tx_is_possible(pair, frames, pieces, given, variant.form))
		return -EINVAL;
	if (pieces == 1) {
		if (driver_ring_free(&pair->tx) == 0)
			return 0;
		tx_add_one(pair, frames, variant);
	} else if (!tx_add_pieces(pair, frames, pieces, variant)) {
		return 0;
	}
	for (uint32_t i = 0; i < pieces; i++)
		*bytes += frames[i].length;
	return (int)pieces;
}

ALWAYS_INLINE int tx_burst(
	struct driver_pair *pair,
	struct vl_driver_frame *frames,
	unsigned count,
	const struct driver_variant variant
)
{
	struct driver_ring *ring = &pair->tx;
	uint64_t bytes = 0, sent = 0;
	unsigned done = 0;
	int n = 0;

	if (count > VL_DRIVER_BURST_MAX)
		count = VL_DRIVER_BURST_MAX;
	if (ring->next - ring->tail >= TX_REAP_MIN || driver_ring_free(ring) < count)
		tx_reap(pair, variant);
	if (broken(ring))
		return -EPROTO;
	while (done < count) {
		n = tx_add(pair, &frames[done], count - done, &bytes, variant);
		if (n <= 0)
			break;
		done += (unsigned)n;
		sent++;
	}
	if (done < count)
		driver_count(&pair->counters.tx_full, 1);
	if (done == 0)
		return n;
	driver_ring_show(ring, variant.packed);
	driver_count(&pair->counters.tx_frames, sent);
	driver_count(&pair->counters.tx_bytes, bytes);
	if (driver_ring_must_kick(ring, variant.packed))
		kick(pair, pair->tx_kick_fd);
	return (int)done;
}

/* ---- receiving ---- */

/* Put one buffer into the next slot of the receive ring. */
ALWAYS_INLINE void
rx_add(struct driver_pair *pair,
       uintptr_t name,
       uint8_t *data,
       uint32_t room,
       const struct driver_variant variant)
{
	struct driver_ring *ring = &pair->rx;
	uint32_t slot = driver_ring_slot(ring, ring->next);

	pair->rx_buffers[slot] = name;
	if (variant.foreign) {
		pair->rx_data[slot] = data;
		pair->rx_rooms[slot] = room;
	}
	if (variant.form == FORM_FRONT) {
		driver_ring_add_one(
			ring,
			variant.packed,
			(uint64_t)(uintptr_t)data - DRIVER_HEADER_SIZE,
			room + DRIVER_HEADER_SIZE,
			true
		);
	} else {
		const uint8_t *header = pair->rx_headers + slot * DRIVER_HEADER_STRIDE;
		struct driver_piece pieces[2] = {
			{(uint64_t)(uintptr_t)header, DRIVER_HEADER_SIZE, true},
			{(uint64_t)(uintptr_t)data, room, true},
		};

		driver_ring_add(ring, variant.packed, pieces, 2);
	}
}

ALWAYS_INLINE void rx_show(struct driver_pair *pair, const struct driver_variant variant)
{
	driver_ring_show(&pair->rx, variant.packed);
	if (driver_ring_must_kick(&pair->rx, variant.packed))
		kick(pair, pair->rx_kick_fd);
}

ALWAYS_INLINE void refill(struct driver_pair *pair, const struct driver_variant variant)
{
	uint32_t n = driver_ring_free(&pair->rx);
	/* What the device may need for the next frames: with MRG_RXBUF one can take many. */
	uint32_t enough = REFILL_MIN + (variant.mergeable ? DRIVER_PIECES_MAX : 0);

	if (n > pool_count(&pair->rx_pool))
		n = pool_count(&pair->rx_pool);
	/* A few at a time only when the device may be running out. */
	if (n == 0 || (n < REFILL_MIN && pair->rx.next - pair->rx.tail >= enough))
		return;
	for (uint32_t i = 0; i < n; i++) {
		uintptr_t name = pool_get(&pair->rx_pool);

		rx_add(pair, name, buffer_data(name), pair->buffer_size, variant);
	}
	rx_show(pair, variant);
}

ALWAYS_INLINE unsigned
rx_post(struct driver_pair *pair,
	const struct vl_driver_frame *frames,
	unsigned count,
	const struct driver_variant variant)
{
	uint32_t room = driver_ring_free(&pair->rx);

	if (count > room)
		count = room;
	for (unsigned i = 0; i < count; i++)
		rx_add(pair, frames[i].buffer, frames[i].data, frames[i].length, variant);
	if (count > 0)
		rx_show(pair, variant);
	return count;
}

/* A buffer that came back: where its bytes are, and how many with the header. */
struct rx_part {
	uint8_t *data;
	uint32_t length, room;
};

ALWAYS_INLINE struct rx_part rx_part_at(
	struct driver_pair *pair,
	uint32_t slot,
	uint32_t length,
	const struct driver_variant variant
)
{
	struct rx_part part = {
		.data = variant.foreign ? pair->rx_data[slot] : buffer_data(pair->rx_buffers[slot]),
		.length = length,
		.room = variant.foreign ? pair->rx_rooms[slot] : pair->buffer_size,
	};

	if (length == DRIVER_USED_FULL)
		part.length = part.room + DRIVER_HEADER_SIZE;
	return part;
}

static int rx_break(struct driver_pair *pair, const char *why)
{
	(void)driver_ring_break(&pair->rx, why);
	return -EPROTO;
}

static const char too_short[] = "a received frame is shorter than the virtio-net header";
static const char too_long[] = "a received frame is longer than its buffer";

/* Frames of one buffer each. */
ALWAYS_INLINE int
rx_take(struct driver_pair *pair,
	struct vl_driver_frame *frames,
	unsigned max,
	const struct driver_variant variant)
{
	uint32_t lengths[DRIVER_RUN_MAX], first;
	uint64_t bytes = 0;
	int n = driver_ring_reap(&pair->rx, variant.packed, max, &first, lengths);

	for (int i = 0; i < n; i++) {
		uint32_t slot = driver_ring_slot(&pair->rx, first + (uint32_t)i);
		struct rx_part part = rx_part_at(pair, slot, lengths[i], variant);
		struct vl_driver_frame *frame = &frames[i];
		const uint8_t *header = variant.form == FORM_FRONT
						? part.data - DRIVER_HEADER_SIZE
						: pair->rx_headers + slot * DRIVER_HEADER_STRIDE;
		uint32_t length = part.length - DRIVER_HEADER_SIZE;

		if (length > part.room) /* or it wrapped */
			return rx_break(
				pair, part.length < DRIVER_HEADER_SIZE ? too_short : too_long
			);
		frame->data = part.data;
		frame->buffer = pair->rx_buffers[slot];
		frame->length = length;
		memcpy(&frame->header, header, sizeof(frame->header));
		frame->header.num_buffers = 1;
		bytes += length;
	}
	if (n > 0) {
		driver_count(&pair->counters.rx_frames, (uint64_t)n);
		driver_count(&pair->counters.rx_bytes, bytes);
	}
	return n;
}

/* ---- receiving frames of several buffers ---- */

/* Everything that was used goes to the stash first, as far as it has room. */
ALWAYS_INLINE int rx_stash(struct driver_pair *pair, const struct driver_variant variant)
{
	struct driver_stash *stash = pair->stash;
	const uint32_t size = sizeof(stash->parts) / sizeof(stash->parts[0]);
	int n;

	if (stash->first > 0) {
		memmove(stash->parts,
			&stash->parts[stash->first],
			stash->count * sizeof(stash->parts[0]));
		stash->first = 0;
	}
	do {
		uint32_t lengths[DRIVER_RUN_MAX], first, room = size - stash->count;

		n = room == 0 ? 0
			      : driver_ring_reap(&pair->rx, variant.packed, room, &first, lengths);
		for (int i = 0; i < n; i++) {
			uint32_t slot = driver_ring_slot(&pair->rx, first + (uint32_t)i);
			struct rx_part part = rx_part_at(pair, slot, lengths[i], variant);

			if (part.length > part.room + DRIVER_HEADER_SIZE)
				return rx_break(pair, too_long);
			stash->parts[stash->count].buffer = pair->rx_buffers[slot];
			stash->parts[stash->count].data = part.data;
			stash->parts[stash->count].length = part.length;
			stash->count++;
		}
	} while (n > 0);
	return n;
}

/* The next frame out of the stash: elements filled, 0 if it is not there whole, -EPROTO. */
static int rx_unstash(struct driver_pair *pair, struct vl_driver_frame *frames, unsigned max)
{
	struct driver_stash *stash = pair->stash;
	struct vl_net_header header;

	if (stash->count == 0)
		return 0;
	const uint8_t *data = stash->parts[stash->first].data;
	memcpy(&header, data - DRIVER_HEADER_SIZE, sizeof(header));
	if (header.num_buffers == 0 || header.num_buffers > DRIVER_PIECES_MAX)
		return rx_break(pair, "a received frame has an impossible number of buffers");
	if (header.num_buffers > stash->count || header.num_buffers > max)
		return 0;
	uint64_t bytes = 0;
	for (unsigned i = 0; i < header.num_buffers; i++) {
		uint32_t length = stash->parts[stash->first + i].length;
		/* The header is in the first; the others begin where the first one's header is. */
		uint32_t skip = i == 0 ? DRIVER_HEADER_SIZE : 0;

		if (length < skip)
			return rx_break(pair, too_short);
		frames[i] = (struct vl_driver_frame){
			.data = stash->parts[stash->first + i].data
				- (i == 0 ? 0 : DRIVER_HEADER_SIZE),
			.buffer = stash->parts[stash->first + i].buffer,
			.length = length - skip,
		};
		bytes += length - skip;
	}
	frames[0].header = header;
	stash->first += header.num_buffers;
	stash->count -= header.num_buffers;
	driver_count(&pair->counters.rx_frames, 1);
	driver_count(&pair->counters.rx_bytes, bytes);
	return header.num_buffers;
}

ALWAYS_INLINE int rx_take_mergeable(
	struct driver_pair *pair,
	struct vl_driver_frame *frames,
	unsigned max,
	const struct driver_variant variant
)
{
	unsigned done = 0;
	int n = rx_stash(pair, variant);

	if (n < 0)
		return n;
	while (done < max) {
		n = rx_unstash(pair, frames + done, max - done);
		if (n <= 0)
			break;
		done += (unsigned)n;
	}
	return done > 0 ? (int)done : n;
}

ALWAYS_INLINE int rx_burst(
	struct driver_pair *pair,
	struct vl_driver_frame *frames,
	unsigned max,
	const struct driver_variant variant
)
{
	if (broken(&pair->rx))
		return -EPROTO;
	if (max > VL_DRIVER_BURST_MAX)
		max = VL_DRIVER_BURST_MAX;
	int n = variant.mergeable ? rx_take_mergeable(pair, frames, max, variant)
				  : rx_take(pair, frames, max, variant);

	if (n > 0)
		driver_ring_calls_off(&pair->rx, variant.packed);
	if (!variant.foreign)
		refill(pair, variant);
	return n < 0 ? -EPROTO : n;
}

/* ---- one table of functions a variant ---- */

#define VARIANT(name, ...)                                                                     \
	static const struct driver_variant name##_variant = {__VA_ARGS__};                     \
	static int name##_rx_burst(                                                            \
		struct driver_pair *pair, struct vl_driver_frame *frames, unsigned max         \
	)                                                                                      \
	{                                                                                      \
		return rx_burst(pair, frames, max, name##_variant);                            \
	}                                                                                      \
	static int name##_tx_burst(                                                            \
		struct driver_pair *pair, struct vl_driver_frame *frames, unsigned count       \
	)                                                                                      \
	{                                                                                      \
		return tx_burst(pair, frames, count, name##_variant);                          \
	}                                                                                      \
	static unsigned name##_rx_post(                                                        \
		struct driver_pair *pair, const struct vl_driver_frame *frames, unsigned count \
	)                                                                                      \
	{                                                                                      \
		return rx_post(pair, frames, count, name##_variant);                           \
	}                                                                                      \
	static void name##_refill(struct driver_pair *pair)                                    \
	{                                                                                      \
		refill(pair, name##_variant);                                                  \
	}                                                                                      \
	static void name##_tx_reap(struct driver_pair *pair)                                   \
	{                                                                                      \
		tx_reap(pair, name##_variant);                                                 \
	}                                                                                      \
	static const struct driver_ops name##_ops = {                                          \
		.rx_burst = name##_rx_burst,                                                   \
		.tx_burst = name##_tx_burst,                                                   \
		.rx_post = name##_rx_post,                                                     \
		.refill = name##_refill,                                                       \
		.tx_reap = name##_tx_reap,                                                     \
	};

/* packed, mergeable, foreign, form. Mergeable buffers have their header in front. */
VARIANT(split, false, false, false, FORM_FRONT)
VARIANT(split_mergeable, false, true, false, FORM_FRONT)
VARIANT(split_header, false, false, false, FORM_HEADER)
VARIANT(packed, true, false, false, FORM_FRONT)
VARIANT(packed_mergeable, true, true, false, FORM_FRONT)
VARIANT(split_foreign, false, false, true, FORM_FRONT)
VARIANT(split_mergeable_foreign, false, true, true, FORM_FRONT)
VARIANT(split_header_foreign, false, false, true, FORM_HEADER)
VARIANT(packed_foreign, true, false, true, FORM_FRONT)
VARIANT(packed_mergeable_foreign, true, true, true, FORM_FRONT)

const struct driver_ops *driver_ops_of(const struct driver_variant *variant)
{
	static const struct {
		const struct driver_variant *variant;
		const struct driver_ops *ops;
	} all[] = {
		{&split_variant, &split_ops},
		{&split_mergeable_variant, &split_mergeable_ops},
		{&split_header_variant, &split_header_ops},
		{&packed_variant, &packed_ops},
		{&packed_mergeable_variant, &packed_mergeable_ops},
		{&split_foreign_variant, &split_foreign_ops},
		{&split_mergeable_foreign_variant, &split_mergeable_foreign_ops},
		{&split_header_foreign_variant, &split_header_foreign_ops},
		{&packed_foreign_variant, &packed_foreign_ops},
		{&packed_mergeable_foreign_variant, &packed_mergeable_foreign_ops},
	};

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const struct driver_variant *one = all[i].variant;

		if (one->packed == variant->packed && one->mergeable == variant->mergeable
		    && one->foreign == variant->foreign && one->form == variant->form)
			return all[i].ops;
	}
	return NULL;
}
