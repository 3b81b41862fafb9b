/* SPDX-License-Identifier: BSD-3-Clause */
/* See control.h. */
#include "control.h"

#include <string.h>

#include "check.h"

enum {
	NO_STATUS = 0x77,
};

int control_raw(struct front *front, const void *bytes, uint32_t size, uint32_t cut)
{
	struct guest_ring *ring = &front->rings[front->ring_count - 1];
	uint64_t address = guest_alloc(&front->guest, size + 1);
	uint8_t *data = guest_at(&front->guest, address);
	struct guest_piece pieces[GUEST_PIECES_MAX];
	unsigned count = 0;
	struct guest_used used;

	memcpy(data, bytes, size);
	data[size] = NO_STATUS;
	for (uint32_t at = 0; at < size;) {
		uint32_t piece = cut == 0 || size - at < cut ? size - at : cut;

		pieces[count++] = (struct guest_piece){address + at, piece, false};
		at += piece;
	}
	pieces[count++] = (struct guest_piece){address + size, 1, true};
	check(guest_ring_add(ring, pieces, count, GUEST_CHAINED, 0));
	guest_ring_kick(ring);
	vl_device_control_process(front->device);
	if (!guest_ring_reap(ring, &used))
		return CONTROL_NO_ANSWER;
	assert_int_equal(used.written, 1);
	assert_int_not_equal(data[size], NO_STATUS);
	return data[size];
}

int control_command(
	struct front *front, uint8_t class, uint8_t command, const void *data, uint32_t size
)
{
	uint8_t bytes[8192] = {class, command};

	check(size <= sizeof(bytes) - 2);
	if (size > 0)
		memcpy(bytes + 2, data, size);
	return control_raw(front, bytes, 2 + size, 0);
}

uint32_t control_mac_table(uint8_t *out, const uint8_t (*macs)[6], uint32_t count)
{
	memcpy(out, &count, sizeof(count));
	if (count > 0)
		memcpy(out + sizeof(count), macs, (size_t)count * 6);
	return (uint32_t)sizeof(count) + count * 6;
}
