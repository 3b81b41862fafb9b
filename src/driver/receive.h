/* SPDX-License-Identifier: BSD-3-Clause */
/* Receiving. Included by burst.c only. */
#pragma once

/* Put one buffer into the slot of the receive ring that is `ahead` behind the next. */
ALWAYS_INLINE void
rx_put(struct driver_pair *pair,
       uint32_t ahead,
       uintptr_t name,
       uint8_t *data,
       uint32_t room,
       const struct driver_variant variant)
{
	struct driver_ring *ring = &pair->rx;
	uint32_t slot = driver_ring_slot(ring, ring->next + ahead);

	pair->rx_buffers[slot] = name;
	if (variant.foreign) {
		pair->rx_data[slot] = data;
		pair->rx_rooms[slot] = room;
	}
	driver_ring_put(
		ring,
		variant.packed,
		ahead,
		(uint64_t)(uintptr_t)data - DRIVER_HEADER_SIZE,
		room + DRIVER_HEADER_SIZE,
		true
	);
}

/* Add what was put, and let the device know. */
ALWAYS_INLINE void
rx_show(struct driver_pair *pair, uint32_t count, const struct driver_variant variant)
{
	driver_ring_added(&pair->rx, variant.packed, count);
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

		rx_put(pair, i, name, buffer_data(name), pair->buffer_size, variant);
	}
	rx_show(pair, n, variant);
}

ALWAYS_INLINE unsigned
rx_post(struct driver_pair *pair,
	const struct vl_driver_frame *frames,
	unsigned count,
	const struct driver_variant variant)
{
	uint32_t room = driver_ring_free(&pair->rx);

	if (driver_pair_is_broken(pair))
		return 0;
	if (count > room)
		count = room;
	for (unsigned i = 0; i < count; i++)
		rx_put(pair, i, frames[i].buffer, frames[i].data, frames[i].length, variant);
	if (count > 0)
		rx_show(pair, count, variant);
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

/* The same after a reap whose buffers are handed out to nobody: they are found again at the end. */
static int rx_break_with(struct driver_pair *pair, uint32_t first, int count, const char *why)
{
	pair->rx_lost_first = first;
	pair->rx_lost_count = (uint32_t)count;
	return rx_break(pair, why);
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
		uint32_t length = part.length - DRIVER_HEADER_SIZE;

		if (length > part.room) /* or it wrapped */
			return rx_break_with(
				pair,
				first,
				n,
				part.length < DRIVER_HEADER_SIZE ? too_short : too_long
			);
		frame->data = part.data;
		frame->buffer = pair->rx_buffers[slot];
		frame->length = length;
		memcpy(&frame->header, part.data - DRIVER_HEADER_SIZE, sizeof(frame->header));
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
				return rx_break_with(pair, first + (uint32_t)i, n - i, too_long);
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
	if (driver_pair_is_broken(pair))
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
