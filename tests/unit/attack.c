/* SPDX-License-Identifier: BSD-3-Clause */
/* See attack.h. */
#include "attack.h"

#include <string.h>

#include "check.h"

enum {
	PACKED_AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	PACKED_USED = 1 << VRING_PACKED_DESC_F_USED,
	NEXT = VRING_DESC_F_NEXT,
	INDIRECT = VRING_DESC_F_INDIRECT,
	DATA_SIZE = 2048,
};

/* The last guest address of GUEST_NEXT is followed by a hole. */
#define END_OF_MEMORY (GUEST_LOW_ADDRESS + GUEST_LOW_SIZE + GUEST_NEXT_SIZE)
/* GUEST_LOW ends and GUEST_NEXT begins. */
#define BORDER (GUEST_LOW_ADDRESS + GUEST_LOW_SIZE)

static bool receives(unsigned index)
{
	return index % 2 == 0;
}

/* WRITE where the queue's direction asks for it. */
static uint16_t write_flag(unsigned index)
{
	return receives(index) ? VRING_DESC_F_WRITE : 0;
}

static uint64_t data(struct front *front)
{
	return guest_alloc(&front->guest, DATA_SIZE);
}

/* ---- split ---- */

static void
put(struct front *front, unsigned index, uint16_t i, uint64_t address, uint32_t size, unsigned flags
)
{
	front->rings[index].desc[i] = (struct vring_desc){
		.addr = address,
		.len = size,
		.flags = (uint16_t)(flags & INDIRECT ? flags : flags | write_flag(index)),
		.next = (uint16_t)(i + 1),
	};
}

static void show_head(struct front *front, unsigned index, uint16_t head)
{
	struct guest_ring *ring = &front->rings[index];

	ring->avail->ring[ring->next_avail++ & (ring->size - 1)] = head;
	__atomic_store_n(&ring->avail->idx, ring->next_avail, __ATOMIC_RELEASE);
}

/* An indirect table of `count` descriptors that are good: the caller spoils them. */
static struct vring_desc *
table_at(struct front *front, unsigned index, uint64_t address, uint32_t count, uint64_t buffer)
{
	struct vring_desc *table = (void *)guest_at(&front->guest, address);

	for (uint32_t i = 0; i < count; i++)
		table[i] = (struct vring_desc){
			.addr = buffer,
			.len = DATA_SIZE,
			.flags = (uint16_t)((i + 1 < count ? NEXT : 0) | write_flag(index)),
			.next = (uint16_t)(i + 1),
		};
	return table;
}

static struct vring_desc *show_table(struct front *front, unsigned index, uint32_t count)
{
	uint64_t address = guest_alloc(&front->guest, 16 * (uint64_t)count);

	put(front, index, 0, address, 16 * count, INDIRECT);
	show_head(front, index, 0);
	return table_at(front, index, address, count, data(front));
}

static void split_head_out_of_range(struct front *front, unsigned index)
{
	show_head(front, index, (uint16_t)front->rings[index].size);
}

static void split_head_65535(struct front *front, unsigned index)
{
	show_head(front, index, 65535);
}

static void split_next_out_of_range(struct front *front, unsigned index)
{
	put(front, index, 0, data(front), DATA_SIZE, NEXT);
	front->rings[index].desc[0].next = (uint16_t)front->rings[index].size;
	show_head(front, index, 0);
}

static void split_next_65535(struct front *front, unsigned index)
{
	put(front, index, 0, data(front), DATA_SIZE, NEXT);
	front->rings[index].desc[0].next = 65535;
	show_head(front, index, 0);
}

static void split_cycle(struct front *front, unsigned index)
{
	put(front, index, 0, data(front), DATA_SIZE, NEXT);
	put(front, index, 1, data(front), DATA_SIZE, NEXT);
	front->rings[index].desc[1].next = 0;
	show_head(front, index, 0);
}

/* CVE-2016-6490 */
static void split_empty_cycle(struct front *front, unsigned index)
{
	put(front, index, 0, data(front), 0, NEXT);
	front->rings[index].desc[0].next = 0;
	show_head(front, index, 0);
}

static void split_index_jump(struct front *front, unsigned index)
{
	struct guest_ring *ring = &front->rings[index];

	ring->avail->idx = (uint16_t)(ring->next_avail + ring->size + 1);
}

static void split_index_step_back(struct front *front, unsigned index)
{
	front->rings[index].avail->idx--;
}

static void split_table_in_table(struct front *front, unsigned index)
{
	struct vring_desc *table = show_table(front, index, 2);

	table[1].flags = INDIRECT;
	table[1].len = 16;
}

static void split_table_with_next(struct front *front, unsigned index)
{
	(void)show_table(front, index, 2);
	front->rings[index].desc[0].flags |= NEXT;
}

static void split_table_next_out_of_range(struct front *front, unsigned index)
{
	show_table(front, index, 3)[1].next = 3;
}

static void split_table_cycle(struct front *front, unsigned index)
{
	struct vring_desc *table = show_table(front, index, 2);

	table[1].flags |= NEXT;
	table[1].next = 0;
}

static void split_table_empty_cycle(struct front *front, unsigned index)
{
	struct vring_desc *table = show_table(front, index, 1);

	table[0].flags |= NEXT;
	table[0].len = 0;
	table[0].next = 0;
}

static void split_table_of_no_bytes(struct front *front, unsigned index)
{
	(void)show_table(front, index, 1);
	front->rings[index].desc[0].len = 0;
}

static void split_table_of_17_bytes(struct front *front, unsigned index)
{
	(void)show_table(front, index, 2);
	front->rings[index].desc[0].len = 17;
}

static void split_table_too_long(struct front *front, unsigned index)
{
	(void)show_table(front, index, 2);
	front->rings[index].desc[0].len = 16 * 32769;
}

/* 2^28 entries whose byte count is a multiple of 16 and fits a uint32_t. */
static void split_table_huge(struct front *front, unsigned index)
{
	(void)show_table(front, index, 2);
	front->rings[index].desc[0].len = 0xfffffff0;
}

static void split_table_of_1025_descriptors(struct front *front, unsigned index)
{
	struct vring_desc *table = show_table(front, index, 1025);

	for (unsigned i = 0; i < 1025; i++)
		table[i].len = 1;
}

/* Each descriptor is cut in two where one region ends and the next begins. */
static void split_table_of_too_many_pieces(struct front *front, unsigned index)
{
	struct vring_desc *table = show_table(front, index, 1024);

	for (unsigned i = 0; i < 1024; i++) {
		table[i].addr = BORDER - 1;
		table[i].len = 2;
	}
}

static void split_table_outside(struct front *front, unsigned index)
{
	put(front, index, 0, END_OF_MEMORY + 4096, 32, INDIRECT);
	show_head(front, index, 0);
}

/* Its first descriptor is in memory, its second is not. */
static void split_table_into_hole(struct front *front, unsigned index)
{
	table_at(front, index, END_OF_MEMORY - 16, 1, data(front))->flags |= NEXT;
	((struct vring_desc *)(void *)guest_at(&front->guest, END_OF_MEMORY - 16))->next = 1;
	put(front, index, 0, END_OF_MEMORY - 16, 32, INDIRECT);
	show_head(front, index, 0);
}

/* A table over two regions is read in another way; the same rules hold. */
static struct vring_desc *show_scattered_table(struct front *front, unsigned index)
{
	uint64_t address = BORDER - 16;
	uint64_t buffer = data(front);

	table_at(front, index, address, 1, buffer)->flags |= NEXT;
	((struct vring_desc *)(void *)guest_at(&front->guest, address))->next = 1;
	put(front, index, 0, address, 32, INDIRECT);
	show_head(front, index, 0);
	return table_at(front, index, address + 16, 1, buffer);
}

static void split_scattered_table_cycle(struct front *front, unsigned index)
{
	struct vring_desc *second = show_scattered_table(front, index);

	second->flags |= NEXT;
	second->next = 0;
}

static void split_scattered_table_next_out_of_range(struct front *front, unsigned index)
{
	uint64_t first = BORDER - 16;

	(void)show_scattered_table(front, index);
	((struct vring_desc *)(void *)guest_at(&front->guest, first))->next = 2;
}

static void split_scattered_table_in_table(struct front *front, unsigned index)
{
	show_scattered_table(front, index)->flags = INDIRECT;
}

static void split_buffer(struct front *front, unsigned index, uint64_t address, uint32_t size)
{
	put(front, index, 0, data(front), 64, NEXT);
	put(front, index, 1, address, size, 0);
	show_head(front, index, 0);
}

static void split_buffer_outside(struct front *front, unsigned index)
{
	split_buffer(front, index, END_OF_MEMORY + 4096, 64);
}

/* CVE-2018-1059 */
static void split_buffer_into_hole(struct front *front, unsigned index)
{
	split_buffer(front, index, END_OF_MEMORY - 32, 64);
}

static void split_buffer_around_zero(struct front *front, unsigned index)
{
	split_buffer(front, index, UINT64_MAX - 15, 64);
}

static void split_buffer_of_4_gigabytes(struct front *front, unsigned index)
{
	split_buffer(front, index, GUEST_LOW_ADDRESS, UINT32_MAX);
}

static const char too_long[] = "a chain is a loop or longer than its table";
static const char outside_table[] = "a descriptor's next is outside its table";
static const char outside_memory[] = "a buffer lies outside the shared memory";
static const char table_outside[] = "an indirect table lies outside the shared memory";
static const char nested[] = "an indirect table inside an indirect table";
static const char with_next[] = "an indirect descriptor with a next";
static const char no_multiple[] = "an indirect table's size is not a multiple of 16";
static const char table_too_long[] = "an indirect table is too long";
static const char many_descriptors[] = "a chain has too many descriptors";
static const char many_pieces[] = "a chain has too many pieces";
static const char wrong_order[] = "a chain has a readable buffer behind a writable one";

const struct attack attacks_split[] = {
	{"head out of range",
	 split_head_out_of_range,
	 "an available entry is outside the descriptor table",
	 false},
	{"head 65535",
	 split_head_65535,
	 "an available entry is outside the descriptor table",
	 false},
	{"next out of range", split_next_out_of_range, outside_table, false},
	{"next 65535", split_next_65535, outside_table, false},
	{"cycle", split_cycle, too_long, false},
	{"cycle of empty descriptors", split_empty_cycle, too_long, false},
	{"index jump", split_index_jump, "the available index jumped by more than the ring", true},
	{"index step back",
	 split_index_step_back,
	 "the available index jumped by more than the ring",
	 true},
	{"table in table", split_table_in_table, nested, false},
	{"table with next", split_table_with_next, with_next, false},
	{"next out of range in table", split_table_next_out_of_range, outside_table, false},
	{"cycle in table", split_table_cycle, too_long, false},
	{"empty cycle in table", split_table_empty_cycle, too_long, false},
	{"table of 0 bytes", split_table_of_no_bytes, no_multiple, false},
	{"table of 17 bytes", split_table_of_17_bytes, no_multiple, false},
	{"table of 32769 descriptors", split_table_too_long, table_too_long, false},
	{"table of 2^28 descriptors", split_table_huge, table_too_long, false},
	{"table of 1025 descriptors", split_table_of_1025_descriptors, many_descriptors, false},
	{"table of too many pieces", split_table_of_too_many_pieces, many_pieces, false},
	{"table outside memory", split_table_outside, table_outside, false},
	{"table into a hole", split_table_into_hole, table_outside, false},
	{"cycle in table over two regions", split_scattered_table_cycle, too_long, false},
	{"next out of range in table over two regions",
	 split_scattered_table_next_out_of_range,
	 outside_table,
	 false},
	{"table in table over two regions", split_scattered_table_in_table, nested, false},
	{"buffer outside memory", split_buffer_outside, outside_memory, false},
	{"buffer into a hole", split_buffer_into_hole, outside_memory, false},
	{"buffer around 2^64", split_buffer_around_zero, outside_memory, false},
	{"buffer of 4 GB", split_buffer_of_4_gigabytes, outside_memory, false},
};
const unsigned attacks_split_count = COUNT_OF(attacks_split);

/* ---- packed ---- */

/* Write a descriptor at the n-th slot from where the driver is. */
static void
pack(struct front *front,
     unsigned index,
     uint32_t n,
     uint64_t address,
     uint32_t size,
     unsigned flags)
{
	struct guest_ring *ring = &front->rings[index];
	uint32_t slot = ring->next_avail + n;
	bool wrap = ring->avail_wrap;

	if (slot >= ring->size) {
		slot -= ring->size;
		wrap = !wrap;
	}
	ring->packed_desc[slot] = (struct vring_packed_desc){
		.addr = address,
		.len = size,
		.id = 0,
		.flags = (uint16_t
		)(flags | (flags & INDIRECT ? 0 : write_flag(index))
		  | (wrap ? PACKED_AVAIL : PACKED_USED)),
	};
}

static void pack_buffer(struct front *front, unsigned index, uint64_t address, uint32_t size)
{
	pack(front, index, 1, address, size, 0);
	pack(front, index, 0, data(front), 64, NEXT);
}

static void pack_table(struct front *front, unsigned index, uint32_t bytes, unsigned flags)
{
	uint64_t address = guest_alloc(&front->guest, 64);
	struct vring_packed_desc *table = (void *)guest_at(&front->guest, address);

	for (unsigned i = 0; i < 4; i++)
		table[i] = (struct vring_packed_desc){
			.addr = data(front),
			.len = DATA_SIZE,
			.flags = write_flag(index),
		};
	pack(front, index, 0, address, bytes, INDIRECT | flags);
}

static void packed_into_unavailable(struct front *front, unsigned index)
{
	pack(front, index, 0, data(front), DATA_SIZE, NEXT);
}

static void packed_endless(struct front *front, unsigned index)
{
	for (uint32_t i = 0; i < front->rings[index].size; i++)
		pack(front, index, i, data(front), 16, NEXT);
}

/* CVE-2020-10725: a descriptor of no bytes with a bad address is harmless, the one behind is not.
 */
static void packed_empty_then_outside(struct front *front, unsigned index)
{
	pack(front, index, 2, END_OF_MEMORY + 4096, 64, 0);
	pack(front, index, 1, UINT64_MAX, 0, NEXT);
	pack(front, index, 0, data(front), 64, NEXT);
}

static void packed_table_with_next(struct front *front, unsigned index)
{
	pack(front, index, 1, data(front), 64, 0);
	pack_table(front, index, 32, NEXT);
}

static void packed_table_behind_descriptor(struct front *front, unsigned index)
{
	pack(front, index, 1, guest_alloc(&front->guest, 32), 32, INDIRECT);
	pack(front, index, 0, data(front), 64, NEXT);
}

static void packed_table_of_no_bytes(struct front *front, unsigned index)
{
	pack_table(front, index, 0, 0);
}

static void packed_table_of_17_bytes(struct front *front, unsigned index)
{
	pack_table(front, index, 17, 0);
}

static void packed_table_too_long(struct front *front, unsigned index)
{
	pack_table(front, index, 16 * 32769, 0);
}

static void packed_table_huge(struct front *front, unsigned index)
{
	pack_table(front, index, 0xfffffff0, 0);
}

static void
pack_long_table(struct front *front, unsigned index, uint32_t count, uint64_t buffer, uint32_t size)
{
	uint64_t address = guest_alloc(&front->guest, 16 * (uint64_t)count);
	struct vring_packed_desc *table = (void *)guest_at(&front->guest, address);

	for (uint32_t i = 0; i < count; i++)
		table[i] = (struct vring_packed_desc
		){.addr = buffer, .len = size, .flags = write_flag(index)};
	pack(front, index, 0, address, 16 * count, INDIRECT);
}

static void packed_table_of_too_many_pieces(struct front *front, unsigned index)
{
	pack_long_table(front, index, 1024, BORDER - 1, 2);
}

static void packed_table_of_1025_descriptors(struct front *front, unsigned index)
{
	pack_long_table(front, index, 1025, data(front), 1);
}

static void packed_table_outside(struct front *front, unsigned index)
{
	pack(front, index, 0, END_OF_MEMORY + 4096, 32, INDIRECT);
}

static void packed_table_into_hole(struct front *front, unsigned index)
{
	struct vring_packed_desc *only = (void *)guest_at(&front->guest, END_OF_MEMORY - 16);

	*only = (struct vring_packed_desc
	){.addr = data(front), .len = 64, .flags = write_flag(index)};
	pack(front, index, 0, END_OF_MEMORY - 16, 32, INDIRECT);
}

static void packed_buffer_outside(struct front *front, unsigned index)
{
	pack_buffer(front, index, END_OF_MEMORY + 4096, 64);
}

static void packed_buffer_into_hole(struct front *front, unsigned index)
{
	pack_buffer(front, index, END_OF_MEMORY - 32, 64);
}

static void packed_buffer_around_zero(struct front *front, unsigned index)
{
	pack_buffer(front, index, UINT64_MAX - 15, 64);
}

static void packed_buffer_of_4_gigabytes(struct front *front, unsigned index)
{
	pack_buffer(front, index, GUEST_LOW_ADDRESS, UINT32_MAX);
}

const struct attack attacks_packed[] = {
	{"chain into a descriptor that is not available",
	 packed_into_unavailable,
	 "a chain runs into a descriptor that is not available",
	 false},
	{"chain without an end",
	 packed_endless,
	 "a chain runs into a descriptor that is not available",
	 true},
	{"empty descriptor, then one outside", packed_empty_then_outside, outside_memory, false},
	{"table with next", packed_table_with_next, with_next, false},
	{"table behind a descriptor", packed_table_behind_descriptor, with_next, false},
	{"table of 0 bytes", packed_table_of_no_bytes, no_multiple, false},
	{"table of 17 bytes", packed_table_of_17_bytes, no_multiple, false},
	{"table of 32769 descriptors", packed_table_too_long, table_too_long, false},
	{"table of 2^28 descriptors", packed_table_huge, table_too_long, false},
	{"table of 1025 descriptors", packed_table_of_1025_descriptors, many_descriptors, false},
	{"table of too many pieces", packed_table_of_too_many_pieces, many_pieces, false},
	{"table outside memory", packed_table_outside, table_outside, false},
	{"table into a hole", packed_table_into_hole, table_outside, false},
	{"buffer outside memory", packed_buffer_outside, outside_memory, false},
	{"buffer into a hole", packed_buffer_into_hole, outside_memory, false},
	{"buffer around 2^64", packed_buffer_around_zero, outside_memory, false},
	{"buffer of 4 GB", packed_buffer_of_4_gigabytes, outside_memory, false},
};
const unsigned attacks_packed_count = COUNT_OF(attacks_packed);

/* ---- one direction ---- */

static void add(struct front *front, unsigned index, uint32_t size, bool writable)
{
	struct guest_piece piece = {data(front), size, writable};

	check(guest_ring_add(&front->rings[index], &piece, 1, GUEST_CHAINED, 0));
}

static void readable_behind_writable(struct front *front, unsigned index)
{
	struct guest_piece pieces[] = {
		{data(front), 100, true}, {data(front), 100, true}, {data(front), 100, false}};

	check(guest_ring_add(&front->rings[index], pieces, 3, GUEST_CHAINED, 0));
}

static void writable_tail(struct front *front, unsigned index)
{
	struct guest_piece pieces[] = {{data(front), 100, false}, {data(front), 100, true}};

	check(guest_ring_add(&front->rings[index], pieces, 2, GUEST_CHAINED, 0));
}

static void only_readable(struct front *front, unsigned index)
{
	add(front, index, DATA_SIZE, false);
}

static void receive_buffer_of_11_bytes(struct front *front, unsigned index)
{
	add(front, index, 11, true);
}

static void receive_buffer_of_1_byte(struct front *front, unsigned index)
{
	add(front, index, 1, true);
}

static void receive_buffer_of_no_bytes(struct front *front, unsigned index)
{
	add(front, index, 0, true);
}

static const char is_readable[] = "a readable buffer on a receive queue";
static const char too_short[] = "a receive buffer shorter than the virtio-net header";

/* CVE-2026-86566 */
const struct attack attacks_receive[] = {
	{"readable buffer", only_readable, is_readable, false},
	{"readable and writable buffers", writable_tail, is_readable, false},
	{"readable behind writable", readable_behind_writable, wrong_order, false},
	{"buffer of 11 bytes", receive_buffer_of_11_bytes, too_short, false},
	{"buffer of 1 byte", receive_buffer_of_1_byte, too_short, false},
	{"buffer of 0 bytes", receive_buffer_of_no_bytes, too_short, false},
};
const unsigned attacks_receive_count = COUNT_OF(attacks_receive);
