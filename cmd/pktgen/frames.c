/* SPDX-License-Identifier: BSD-3-Clause */
/* Filling buffers with frames, the part that runs for each of them. See frames.h. */
#include "pktgen/frames.h"

#include <endian.h>

static inline void store16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* The sum of a probe's words: of its 64-bit halves it is the same (RFC 1071, 2.(C)). */
static inline uint64_t probe_sum(uint64_t low, uint64_t high)
{
	return (low & UINT32_MAX) + (low >> 32) + (high & UINT32_MAX) + (high >> 32);
}

/* Write the probe and the payload behind it; returns their sum. */
static inline uint64_t write_probe(
	const struct sender *sender,
	struct flow *flow,
	const struct frame_shape *shape,
	uint8_t *at,
	uint64_t stamp_ns
)
{
	const struct traffic *traffic = sender->traffic;
	uint32_t sequence = flow->sequence++;
	uint32_t place = traffic->same_payload ? 0 : stream_place(flow->name, sequence);
	uint32_t size = shape->length - traffic->payload_offset - PROBE_SIZE;
	uint64_t low = htole64((uint64_t)flow->name << 32 | sequence);
	uint64_t high =
		htole64((uint64_t)sender->magic << PROBE_STAMP_BITS | probe_stamp(stamp_ns));

	memcpy(at, &low, sizeof(low));
	memcpy(at + sizeof(low), &high, sizeof(high));
	memcpy(at + PROBE_SIZE, traffic->stream.bytes + place, size);
	return probe_sum(low, high) + stream_sum(&traffic->stream, place, size);
}

static inline void write_payload(const struct traffic *traffic, uint8_t *data, uint32_t length)
{
	uint32_t done = FLOW_START_SIZE - traffic->payload_offset;

	if (length > FLOW_START_SIZE)
		memcpy(data + FLOW_START_SIZE,
		       traffic->stream.bytes + done,
		       length - FLOW_START_SIZE);
}

static inline void write_lengths(
	const struct traffic *traffic,
	const struct flow *flow,
	const struct frame_shape *shape,
	uint8_t *data
)
{
	uint8_t *l3 = data + traffic->l3_offset;

	store16(l3 + (traffic->ip6 ? 4 : 2), shape->ip_length);
	if (!traffic->ip6)
		store16(l3 + 10, (uint16_t)~sum_fold(flow->ip_sum + shape->ip_length));
	if (!traffic->tcp)
		store16(data + traffic->l4_offset + 4, shape->l4_length);
}

static inline void write_l4_sum(const struct traffic *traffic, uint8_t *data, uint64_t sum)
{
	uint16_t field = sum_fold(sum);

	/* The device goes on from the sum of the pseudo header (VIRTIO 1.3, 5.1.6.2). Otherwise
	 * it is the complement; for UDP 0 would say that there is none (RFC 768). */
	if (!traffic->partial) {
		field = (uint16_t)~field;
		if (field == 0)
			field = UINT16_MAX;
	}
	store16(data + traffic->l4_offset + (traffic->tcp ? 16 : 6), field);
}

void sender_settle(struct sender *sender)
{
	const struct traffic *traffic = sender->traffic;
	const struct frame_shape *shape = &traffic->shapes[0];

	for (unsigned i = 0; i < sender->flow_count; i++) {
		struct flow *flow = &sender->flows[i];

		write_lengths(traffic, flow, shape, flow->start);
		write_l4_sum(traffic, flow->start, (uint64_t)flow->l4_sum + shape->l4_sum);
	}
}

static inline void write_frame(
	struct sender *sender,
	struct flow *flow,
	const struct frame_shape *shape,
	struct vl_driver_frame *frame,
	uint64_t stamp_ns,
	const bool probes,
	const bool one_size
)
{
	const struct traffic *traffic = sender->traffic;
	uint64_t sum = 0;

	/* A buffer is larger than a template, so there is no need to count. */
	memcpy(frame->data, flow->start, 64);
	if (shape->length > 64)
		memcpy(frame->data + 64, flow->start + 64, FLOW_START_SIZE - 64);
	if (probes)
		sum = write_probe(
			sender, flow, shape, frame->data + traffic->payload_offset, stamp_ns
		);
	else
		write_payload(traffic, frame->data, shape->length);
	if (!one_size)
		write_lengths(traffic, flow, shape, frame->data);
	if (!one_size || (probes && !traffic->partial))
		write_l4_sum(
			traffic,
			frame->data,
			flow->l4_sum + shape->l4_sum + (traffic->partial ? 0 : sum)
		);
	frame->length = shape->length;
	frame->header = shape->header;
}

static inline void
build(struct sender *sender,
      struct vl_driver_frame *frames,
      unsigned count,
      uint64_t due,
      uint64_t interval,
      const bool probes,
      const bool one_size)
{
	const struct traffic *traffic = sender->traffic;
	unsigned flow = sender->flow_next;
	unsigned shape = sender->shape_next;

	for (unsigned i = 0; i < count; i++, due += interval) {
		write_frame(
			sender,
			&sender->flows[flow],
			&traffic->shapes[shape],
			&frames[i],
			due >> 16,
			probes,
			one_size
		);
		if (++flow == sender->flow_count)
			flow = 0;
		if (!one_size && ++shape == traffic->shape_count)
			shape = 0;
	}
	sender->flow_next = flow;
	sender->shape_next = shape;
}

void sender_build(
	struct sender *sender,
	struct vl_driver_frame *frames,
	unsigned count,
	uint64_t due,
	uint64_t interval
)
{
	if (sender->traffic->probes && sender->traffic->one_size)
		build(sender, frames, count, due, interval, true, true);
	else if (sender->traffic->probes)
		build(sender, frames, count, due, interval, true, false);
	else if (sender->traffic->one_size)
		build(sender, frames, count, due, interval, false, true);
	else
		build(sender, frames, count, due, interval, false, false);
}
