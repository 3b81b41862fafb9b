/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver side of a split ring (VIRTIO 1.3, 2.7) for tests. */
#include "check.h"
#include "guest_layouts.h"

static uint16_t *used_event(struct guest_ring *ring)
{
	return &ring->avail->ring[ring->size];
}

static const uint16_t *avail_event(const struct guest_ring *ring)
{
	return (const uint16_t *)(const void *)&ring->used->ring[ring->size];
}

void split_start(struct guest_ring *ring)
{
	ring->avail->idx = ring->next_avail;
	ring->used->idx = ring->last_used;
	split_calls_on(ring, 0);
}

static uint16_t flags_of(const struct guest_piece *piece, bool more)
{
	return (uint16_t
	)((piece->writable ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0));
}

static void write_table(
	struct guest_ring *ring, uint16_t head, const struct guest_piece *pieces, unsigned count
)
{
	uint64_t address = guest_alloc(ring->guest, 16 * (uint64_t)count);
	struct vring_desc *table = (void *)guest_at(ring->guest, address);

	for (unsigned i = 0; i < count; i++)
		table[i] = (struct vring_desc){
			.addr = pieces[i].address,
			.len = pieces[i].size,
			.flags = flags_of(&pieces[i], i + 1 < count),
			.next = (uint16_t)(i + 1),
		};
	ring->desc[head] = (struct vring_desc){
		.addr = address,
		.len = 16 * count,
		.flags = VRING_DESC_F_INDIRECT,
	};
}

void split_add(
	struct guest_ring *ring,
	const struct guest_piece *pieces,
	unsigned count,
	enum guest_form form,
	uint32_t cookie
)
{
	unsigned taken = form == GUEST_INDIRECT ? 1 : count;
	const uint16_t *ids = &ring->free_ids[ring->free_id_count - taken];
	uint16_t head = ids[0];

	ring->free_id_count -= taken;
	if (form == GUEST_INDIRECT)
		write_table(ring, head, pieces, count);
	for (unsigned i = 0; form == GUEST_CHAINED && i < count; i++)
		ring->desc[ids[i]] = (struct vring_desc){
			.addr = pieces[i].address,
			.len = pieces[i].size,
			.flags = flags_of(&pieces[i], i + 1 < count),
			.next = i + 1 < count ? ids[i + 1] : 0,
		};
	ring->chain_size[head] = (uint16_t)taken;
	ring->cookie[head] = cookie;
	ring->avail->ring[ring->next_avail & (ring->size - 1)] = head;
	ring->next_avail++;
	__atomic_store_n(&ring->avail->idx, ring->next_avail, __ATOMIC_RELEASE);
}

bool split_reap(struct guest_ring *ring, struct guest_used *used)
{
	if (__atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) == ring->last_used)
		return false;
	const struct vring_used_elem *element =
		&ring->used->ring[ring->last_used & (ring->size - 1)];
	uint32_t id = element->id;
	unsigned more = 0;

	check(id < ring->size && ring->chain_size[id] > 0);
	used->id = (uint16_t)id;
	used->written = element->len;
	ring->last_used++;
	ring->free_count += ring->chain_size[id];
	for (uint16_t i = (uint16_t)id; more < ring->chain_size[id]; more++) {
		ring->free_ids[ring->free_id_count++] = i;
		i = ring->desc[i].next;
	}
	ring->chain_size[id] = 0;
	return true;
}

bool split_must_kick(struct guest_ring *ring)
{
	uint16_t from = ring->kicked_at;

	ring->kicked_at = ring->next_avail;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!ring->event_idx)
		return !(ring->used->flags & VRING_USED_F_NO_NOTIFY);
	return vring_need_event(*avail_event(ring), ring->next_avail, from);
}

void split_calls_off(struct guest_ring *ring)
{
	if (ring->event_idx)
		*used_event(ring) = (uint16_t)(ring->last_used - 1);
	else
		ring->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
}

void split_calls_on(struct guest_ring *ring, uint32_t after)
{
	if (ring->event_idx)
		*used_event(ring) = (uint16_t)(ring->last_used + after);
	else
		ring->avail->flags = 0;
}
