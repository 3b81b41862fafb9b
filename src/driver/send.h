/* SPDX-License-Identifier: BSD-3-Clause */
/* Sending. Included by burst.c only. */
#pragma once

/* ---- header ---- */

/* A header as two words; what is in them is little endian on all machines we build for. */
struct header_words {
	uint64_t low;  /* flags, gso_type, hdr_len, gso_size, csum_start */
	uint32_t high; /* csum_offset, num_buffers */
};
enum {
	HIGH_CSUM_OFFSET = 0xffff, /* mask */
	HIGH_NUM_BUFFERS = 16,	   /* shift */
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

/*
 * Add frames of one piece, as far as they are such, may be sent and find a slot. Returns how many.
 */
ALWAYS_INLINE uint32_t tx_add_ones(
	struct driver_pair *pair,
	const struct vl_driver_frame *frames,
	uint32_t count,
	uint64_t *bytes,
	const struct driver_variant variant
)
{
	struct driver_ring *ring = &pair->tx;
	uint32_t room = driver_ring_free(ring), n = 0;
	uint64_t total = 0;

	if (count > room)
		count = room;
	if (variant.packed)
		packed_driver_claim(ring, count);
	for (; n < count; n++) {
		const struct vl_driver_frame *frame = &frames[n];
		struct header_words words = header_to_send(&frame->header);
		uint32_t slot = driver_ring_slot(ring, ring->next + n);

		/* A plain frame asks for nothing, so nothing has to be allowed. */
		if (frame->header.num_buffers > 1
		    || (!header_is_plain(words) && !header_is_allowed(pair, &frame->header)))
			break;
		header_store(frame->data - DRIVER_HEADER_SIZE, words);
		driver_ring_put(
			ring,
			variant.packed,
			n,
			(uint64_t)(uintptr_t)frame->data - DRIVER_HEADER_SIZE,
			frame->length + DRIVER_HEADER_SIZE,
			false
		);
		pair->tx_buffers[slot] = frame->buffer;
		total += frame->length;
	}
	for (uint32_t i = 0; pair->tx_multi > 0 && i < n; i++)
		pair->tx_pieces[driver_ring_slot(ring, ring->next + i)] = 1;
	driver_ring_added(ring, variant.packed, n);
	*bytes += total;
	return n;
}

/* Descriptors for a frame of several pieces; the header is in front of the first. */
static void
tx_describe(const struct vl_driver_frame *frames, uint32_t count, struct driver_piece *pieces)
{
	header_store(frames->data - DRIVER_HEADER_SIZE, header_to_send(&frames->header));
	for (uint32_t i = 0; i < count; i++)
		pieces[i] = (struct driver_piece
		){(uint64_t)(uintptr_t)frames[i].data, frames[i].length, false};
	pieces->address -= DRIVER_HEADER_SIZE;
	pieces->size += DRIVER_HEADER_SIZE;
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
	struct driver_piece pieces[DRIVER_PIECES_MAX];

	if (driver_ring_free(ring) < (pair->tables != NULL ? 1 : count))
		return false;
	uint32_t slot = driver_ring_slot(ring, ring->next);
	uintptr_t *names = &pair->tx_chains[(size_t)slot * DRIVER_PIECES_MAX];
	tx_describe(frames, count, pieces);
	if (pair->tx_multi++ == 0) {
		/* Frames before this one were of one piece. */
		for (uint32_t i = 0; i < ring->size; i++)
			pair->tx_pieces[i] = 1;
	}
	pair->tx_pieces[slot] = (uint16_t)count;
	for (uint32_t i = 0; i < count; i++)
		names[i] = frames[i].buffer;
	if (pair->tables == NULL) {
		driver_ring_add(ring, variant.packed, pieces, count);
		return true;
	}
	struct vring_desc *table = &pair->tables[(size_t)slot * DRIVER_PIECES_MAX];
	for (uint32_t i = 0; i < count; i++)
		driver_table_set(table, variant.packed, i, count, &pieces[i]);
	driver_ring_add_indirect(
		ring, variant.packed, (uint64_t)(uintptr_t)table, count * (uint32_t)sizeof(*table)
	);
	return true;
}

/* Whether the next frame, of `pieces`, can be sent at all, sooner or later. */
static bool tx_is_possible(
	const struct driver_pair *pair,
	const struct vl_driver_frame *frame,
	uint32_t pieces,
	uint32_t given
)
{
	return pieces <= DRIVER_PIECES_MAX && pieces <= given
	       && header_is_allowed(pair, &frame->header)
	       && (pair->tables != NULL || pieces <= pair->tx.size);
}

/* Add the next frame, which tx_add_ones() has left: elements taken, 0 if there is no room now,
 * -EINVAL if there never will be. */
static int tx_add_other(
	struct driver_pair *pair,
	const struct vl_driver_frame *frames,
	uint32_t given,
	uint64_t *bytes,
	const struct driver_variant variant
)
{
	uint32_t pieces = frames->header.num_buffers;

	if (!tx_is_possible(pair, frames, pieces, given))
		return -EINVAL;
	/* One that may go and has one piece was left for lack of a slot. */
	if (pieces <= 1 || !tx_add_pieces(pair, frames, pieces, variant))
		return 0;
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
	if (driver_pair_is_broken(pair))
		return -EPROTO;
	for (;;) {
		uint32_t ones = tx_add_ones(pair, &frames[done], count - done, &bytes, variant);

		done += ones;
		sent += ones;
		if (done == count)
			break;
		n = tx_add_other(pair, &frames[done], count - done, &bytes, variant);
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
