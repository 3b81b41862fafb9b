/* SPDX-License-Identifier: BSD-3-Clause */
/* See traffic.h. */
#include "traffic.h"

#include <string.h>

#include "check.h"

uint64_t random_next(struct random *random)
{
	uint64_t x = random->state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	random->state = x;
	return x * UINT64_C(0x2545f4914f6cdd1d);
}

void pattern_fill(uint8_t *bytes, size_t size, uint64_t seed)
{
	struct random random = {seed * 2 + 1};

	for (size_t i = 0; i < size; i++) {
		if (i % 8 == 0)
			(void)random_next(&random);
		bytes[i] = (uint8_t)(random.state >> (8 * (i % 8)));
	}
}

uint16_t traffic_checksum(const uint8_t *bytes, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i++) {
		sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum == 0xffff ? 0xffff : (uint16_t)~sum;
}

/* ---- the driver's side ---- */

static uint32_t header_size(const struct front *front)
{
	return front->features & (BIT(VL_F_VERSION_1) | BIT(VL_F_MRG_RXBUF)) ? 12 : 10;
}

static unsigned
cut(struct guest_piece *pieces,
    uint64_t address,
    uint32_t size,
    const struct cuts *cuts,
    bool writable)
{
	unsigned count = 0;

	for (unsigned i = 0; cuts != NULL && i < cuts->count; i++) {
		check(cuts->sizes[i] < size);
		pieces[count++] = (struct guest_piece){address, cuts->sizes[i], writable};
		address += cuts->sizes[i];
		size -= cuts->sizes[i];
	}
	pieces[count++] = (struct guest_piece){address, size, writable};
	return count;
}

void traffic_send(
	struct front *front,
	unsigned ring,
	const struct vl_net_header *header,
	const void *frame,
	uint32_t size,
	const struct cuts *cuts,
	enum guest_form form
)
{
	uint32_t lead = header_size(front);
	uint64_t address = guest_alloc(&front->guest, lead + size);
	struct guest_piece pieces[TRAFFIC_CUTS_MAX + 1];

	memcpy(guest_at(&front->guest, address), header, lead);
	memcpy(guest_at(&front->guest, address) + lead, frame, size);
	unsigned count = cut(pieces, address, lead + size, cuts, false);
	check(guest_ring_add(&front->rings[ring], pieces, count, form, (uint32_t)address));
}

void traffic_send_plain(struct front *front, unsigned ring, const void *frame, uint32_t size)
{
	struct vl_net_header header = {0};

	traffic_send(front, ring, &header, frame, size, NULL, GUEST_CHAINED);
}

void traffic_post(
	struct front *front,
	unsigned ring,
	unsigned count,
	uint32_t size,
	const struct cuts *cuts,
	enum guest_form form
)
{
	struct guest_piece pieces[TRAFFIC_CUTS_MAX + 1];

	for (unsigned i = 0; i < count; i++) {
		uint64_t address = guest_alloc(&front->guest, size);
		unsigned n = cut(pieces, address, size, cuts, true);

		check(guest_ring_add(&front->rings[ring], pieces, n, form, (uint32_t)address));
	}
}

int64_t traffic_receive(
	struct front *front, unsigned ring, struct vl_net_header *header, uint8_t *bytes, size_t max
)
{
	uint32_t lead = header_size(front);
	struct guest_used used;
	size_t size = 0;

	memset(header, 0, sizeof(*header));
	if (!guest_ring_reap(&front->rings[ring], &used))
		return -1;
	const uint8_t *from = guest_at(&front->guest, used.cookie);
	assert_true(used.written >= lead);
	memcpy(header, from, lead);
	unsigned buffers = lead == 12 ? header->num_buffers : 1;
	assert_true(buffers > 0);
	for (unsigned i = 0; i < buffers; i++) {
		if (i > 0) {
			assert_true(guest_ring_reap(&front->rings[ring], &used));
			from = guest_at(&front->guest, used.cookie);
			lead = 0;
		}
		assert_true(used.written >= lead && size + used.written - lead <= max);
		memcpy(bytes + size, from + lead, used.written - lead);
		size += used.written - lead;
	}
	return (int64_t)size;
}

/* ---- the device's side ---- */

void frame_build(
	struct built_frame *built,
	const uint8_t *bytes,
	uint32_t size,
	uint32_t head_size,
	const struct cuts *cuts
)
{
	struct vl_frame *frame = &built->frame;

	if (head_size > size)
		head_size = size;
	*frame = (struct vl_frame){
		.head_size = (uint16_t)head_size,
		.size = size,
		.tail = built->tail,
		.head = frame->bytes,
	};
	memcpy(frame->head, bytes, head_size);
	bytes += head_size;
	size -= head_size;
	for (unsigned i = 0; cuts != NULL && i < cuts->count && size > cuts->sizes[i]; i++) {
		built->tail[frame->tail_count++] = (struct iovec){
			.iov_base = (void *)bytes,
			.iov_len = cuts->sizes[i],
		};
		bytes += cuts->sizes[i];
		size -= cuts->sizes[i];
	}
	if (size > 0)
		built->tail[frame->tail_count++] = (struct iovec){(void *)bytes, size};
}

int traffic_deliver(struct front *front, unsigned pair, const struct built_frame *built)
{
	const struct vl_frame *frame = &built->frame;
	enum vl_delivery result;

	if (vl_device_copy_in(front->device, pair, &frame, 1, &result) == 0)
		return -1;
	vl_device_flush(front->device, pair);
	return (int)result;
}

void frame_flatten(const struct vl_frame *frame, uint8_t *bytes)
{
	memcpy(bytes, frame->head, frame->head_size);
	bytes += frame->head_size;
	for (unsigned i = 0; i < frame->tail_count; i++) {
		memcpy(bytes, frame->tail[i].iov_base, frame->tail[i].iov_len);
		bytes += frame->tail[i].iov_len;
	}
}

void traffic_add(
	struct front *front,
	unsigned ring,
	uint64_t address,
	uint32_t size,
	bool writable,
	enum guest_form form
)
{
	const uint32_t header = sizeof(struct vl_net_header);
	const struct guest_piece pieces[] = {
		{address, header, writable},
		{address + header, size - header, writable},
	};

	assert_true(guest_ring_add(&front->rings[ring], pieces, 2, form, 0));
}

uint8_t traffic_take_marked(struct front *front, unsigned pair, uint32_t size)
{
	uint8_t bytes[1500], expected[1500];
	struct vl_frame frames[VL_BURST_MAX];
	int n = vl_device_borrow(front->device, pair, frames, VL_BURST_MAX);

	assert_in_range(n, 0, 1);
	if (n == 0)
		return 0;
	assert_int_equal(frames[0].size, size);
	check(size <= sizeof(bytes));
	frame_flatten(&frames[0], bytes);
	memset(expected, bytes[0], size);
	assert_memory_equal(bytes, expected, size);
	vl_device_give_back(front->device, pair, 1);
	return bytes[0];
}
