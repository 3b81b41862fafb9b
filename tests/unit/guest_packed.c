/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver side of a packed ring (VIRTIO 1.3, 2.8) for tests. */
#include "check.h"
#include "guest_layouts.h"

enum {
	AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	USED = 1 << VRING_PACKED_DESC_F_USED,
	WRAP = 1 << VRING_PACKED_EVENT_F_WRAP_CTR,
};

static void advance(const struct guest_ring *ring, uint16_t *slot, bool *wrap, uint32_t count)
{
	for (; count > 0; count--) {
		if (++*slot == ring->size) {
			*slot = 0;
			*wrap = !*wrap;
		}
	}
}

/* A ring that starts in mid life has its descriptors used in the lap before. */
void packed_start(struct guest_ring *ring)
{
	for (uint32_t i = 0; i < ring->size; i++) {
		bool lap = i < ring->next_avail ? ring->avail_wrap : !ring->avail_wrap;

		ring->packed_desc[i].flags = lap ? AVAIL | USED : 0;
	}
	packed_calls_on(ring, 0);
}

static uint64_t
write_table(struct guest_ring *ring, const struct guest_piece *pieces, unsigned count)
{
	uint64_t address = guest_alloc(ring->guest, 16 * (uint64_t)count);
	struct vring_packed_desc *table = (void *)guest_at(ring->guest, address);

	for (unsigned i = 0; i < count; i++)
		table[i] = (struct vring_packed_desc){
			.addr = pieces[i].address,
			.len = pieces[i].size,
			.flags = pieces[i].writable ? VRING_DESC_F_WRITE : 0,
		};
	return address;
}

static void
write_descriptors(struct guest_ring *ring, const struct vring_packed_desc *descs, unsigned count)
{
	uint16_t first = ring->next_avail, first_flags = 0;

	for (unsigned i = 0; i < count; i++) {
		struct vring_packed_desc *desc = &ring->packed_desc[ring->next_avail];
		uint16_t flags = (uint16_t)(descs[i].flags | (ring->avail_wrap ? AVAIL : USED));

		desc->addr = descs[i].addr;
		desc->len = descs[i].len;
		desc->id = descs[i].id;
		if (i == 0)
			first_flags = flags;
		else
			desc->flags = flags;
		advance(ring, &ring->next_avail, &ring->avail_wrap, 1);
	}
	__atomic_store_n(&ring->packed_desc[first].flags, first_flags, __ATOMIC_RELEASE);
	ring->added_since_kick += count;
}

void packed_add(
	struct guest_ring *ring,
	const struct guest_piece *pieces,
	unsigned count,
	enum guest_form form,
	uint32_t cookie
)
{
	uint16_t id = ring->free_ids[--ring->free_id_count];
	struct vring_packed_desc descs[GUEST_PIECES_MAX];

	check(form == GUEST_INDIRECT || count <= GUEST_PIECES_MAX);
	if (form == GUEST_INDIRECT) {
		descs[0] = (struct vring_packed_desc){
			.addr = write_table(ring, pieces, count),
			.len = 16 * count,
			.id = id,
			.flags = VRING_DESC_F_INDIRECT,
		};
		count = 1;
	}
	for (unsigned i = 0; form == GUEST_CHAINED && i < count; i++) {
		bool last = i + 1 == count;

		descs[i] = (struct vring_packed_desc){
			.addr = pieces[i].address,
			.len = pieces[i].size,
			/* Only the last one's id means something. */
			.id = last ? id : 0xffff,
			.flags = (uint16_t
			)((pieces[i].writable ? VRING_DESC_F_WRITE : 0)
			  | (last ? 0 : VRING_DESC_F_NEXT)),
		};
	}
	ring->chain_size[id] = (uint16_t)count;
	ring->cookie[id] = cookie;
	write_descriptors(ring, descs, count);
}

bool packed_reap(struct guest_ring *ring, struct guest_used *used)
{
	const struct vring_packed_desc *desc = &ring->packed_desc[ring->last_used];
	uint16_t flags = __atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE);

	if (!!(flags & AVAIL) != ring->used_wrap || !!(flags & USED) != ring->used_wrap)
		return false;
	uint16_t id = desc->id;
	check(id < ring->size && ring->chain_size[id] > 0);
	used->id = id;
	/* The length means something only with WRITE (2.8.5). */
	used->written = flags & VRING_DESC_F_WRITE ? desc->len : 0;
	advance(ring, &ring->last_used, &ring->used_wrap, ring->chain_size[id]);
	ring->free_count += ring->chain_size[id];
	ring->free_ids[ring->free_id_count++] = id;
	ring->chain_size[id] = 0;
	return true;
}

/* Whether slot `event` of a lap is among the `count` slots that end before `next`. */
static bool passed(const struct guest_ring *ring, uint16_t event, bool wrap, uint32_t count)
{
	uint16_t slot = ring->next_avail;
	bool slot_wrap = ring->avail_wrap;

	for (; count > 0; count--) {
		if (slot-- == 0) {
			slot = (uint16_t)(ring->size - 1);
			slot_wrap = !slot_wrap;
		}
		if (slot == event && slot_wrap == wrap)
			return true;
	}
	return false;
}

bool packed_must_kick(struct guest_ring *ring)
{
	uint32_t added = ring->added_since_kick;

	ring->added_since_kick = 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	uint16_t flags = ring->device_event->flags;
	uint16_t off_wrap = ring->device_event->off_wrap;
	if (flags == VRING_PACKED_EVENT_FLAG_DESC)
		return passed(ring, off_wrap & (WRAP - 1), off_wrap & WRAP, added);
	return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
}

void packed_calls_off(struct guest_ring *ring)
{
	ring->driver_event->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
}

void packed_calls_on(struct guest_ring *ring, uint32_t after)
{
	uint16_t slot = ring->last_used;
	bool wrap = ring->used_wrap;

	if (!ring->event_idx) {
		ring->driver_event->flags = VRING_PACKED_EVENT_FLAG_ENABLE;
		return;
	}
	advance(ring, &slot, &wrap, after);
	ring->driver_event->off_wrap = (uint16_t)(slot | (wrap ? WRAP : 0));
	ring->driver_event->flags = VRING_PACKED_EVENT_FLAG_DESC;
}
