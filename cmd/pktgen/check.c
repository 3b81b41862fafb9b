/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking at received frames, see check.h. */
#include "pktgen/check.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/frame.h"

enum {
	SCRATCH_SIZE = 1 << 17,
	WINDOW_SIZE = 64,
	RESTART_BACK = 1 << 20, /* a sender that was started anew, rather than a frame this late */
};

/* A received frame, and where in it what is; offsets from data. */
struct received {
	const uint8_t *data;
	uint32_t length;
	uint8_t flags; /* of the virtio-net header */
	uint8_t protocol;
	bool ip6;
	uint32_t l3, l4, probe;
	uint32_t sequence, flow;
	uint64_t stamp;
};

int receiver_open(
	struct receiver *receiver,
	const struct traffic *traffic,
	const struct pktgen_options *options,
	int from
)
{
	*receiver = (struct receiver){
		.traffic = traffic,
		.from = from,
		.magic = traffic->magic,
		.verify = options->verify,
		.flow_count = options->flows,
	};
	receiver->tracks =
		calloc((size_t)PKTGEN_PORTS_MAX * options->flows, sizeof(*receiver->tracks));
	receiver->scratch = malloc(SCRATCH_SIZE);
	return receiver->tracks != NULL && receiver->scratch != NULL ? 0 : -ENOMEM;
}

void receiver_close(struct receiver *receiver)
{
	free(receiver->tracks);
	free(receiver->scratch);
	receiver->tracks = NULL;
	receiver->scratch = NULL;
}

void receiver_restart(struct receiver *receiver, uint16_t magic)
{
	size_t count = (size_t)PKTGEN_PORTS_MAX * receiver->flow_count;

	memset(receiver->tracks, 0, count * sizeof(*receiver->tracks));
	memset(&receiver->counts, 0, sizeof(receiver->counts));
	memset(&receiver->latency, 0, sizeof(receiver->latency));
	memset(&receiver->gaps, 0, sizeof(receiver->gaps));
	receiver->fault[0] = '\0';
	receiver->magic = magic;
}

/* ---- the headers ---- */

/* Whether it is long enough, and UDP or TCP over IP without options, as ours are. */
static inline bool find_headers(struct received *frame)
{
	const uint8_t *data = frame->data;
	uint16_t type;

	if (frame->length < 64 - VLAN_TAG_SIZE)
		return false;
	frame->l3 = ETHER_HEADER_SIZE;
	type = load_be16(data + 12);
	if (type == ETHERTYPE_VLAN_TAG) {
		type = load_be16(data + 16);
		frame->l3 += VLAN_TAG_SIZE;
	}
	frame->ip6 = type == ETHERTYPE_IP6;
	if (!frame->ip6 && (type != ETHERTYPE_IP4 || data[frame->l3] != 0x45))
		return false;
	frame->l4 = frame->l3 + (frame->ip6 ? 40 : 20);
	frame->protocol = data[frame->l3 + (frame->ip6 ? 6 : 9)];
	if (frame->protocol != IPPROTO_UDP && frame->protocol != IPPROTO_TCP)
		return false;
	frame->probe = frame->l4 + (frame->protocol == IPPROTO_UDP ? 8 : 20);
	return frame->probe + PROBE_SIZE <= frame->length;
}

static inline bool find_probe(const struct receiver *receiver, struct received *frame)
{
	uint64_t low;
	uint64_t high;
	uint32_t port;

	if (!find_headers(frame))
		return false;
	memcpy(&low, frame->data + frame->probe, sizeof(low));
	memcpy(&high, frame->data + frame->probe + sizeof(low), sizeof(high));
	high = le64toh(high);
	if (high >> PROBE_STAMP_BITS != receiver->magic)
		return false;
	low = le64toh(low);
	frame->sequence = (uint32_t)low;
	frame->flow = (uint32_t)(low >> 32);
	frame->stamp = probe_stamp(high);
	port = frame->flow >> PROBE_FLOW_BITS;
	return (frame->flow & ((1u << PROBE_FLOW_BITS) - 1)) < receiver->flow_count
	       && (receiver->from < 0 ? port < PKTGEN_PORTS_MAX : port == (uint32_t)receiver->from);
}

/* ---- every byte ---- */

/* What an IP header says that lies behind it in the frame. */
static uint32_t ip_payload(const struct received *frame)
{
	const uint8_t *l3 = frame->data + frame->l3;

	if (frame->ip6)
		return load_be16(l3 + 4);
	return load_be16(l3 + 2) - (frame->l4 - frame->l3);
}

static bool l4_sum_is_right(const struct receiver *receiver, const struct received *frame)
{
	const uint8_t *l4 = frame->data + frame->l4;
	uint32_t addresses_size = frame->ip6 ? 32 : 8;
	uint32_t size = ip_payload(frame);
	uint32_t header_size = frame->probe - frame->l4 + PROBE_SIZE;
	uint32_t place = receiver->verify ? stream_place(frame->flow, frame->sequence) : 0;
	uint64_t sum = sum_bytes(l4 - addresses_size, addresses_size) + htons(frame->protocol)
		       + htons((uint16_t)size) + sum_bytes(l4, header_size);

	/* That the payload is its piece of the stream was seen. */
	sum += stream_sum(&receiver->traffic->stream, place, size - header_size);
	return sum_fold(sum) == UINT16_MAX;
}

/* NULL, or what is wrong; *at is the place of a wrong byte of the payload. */
static const char *
find_fault(const struct receiver *receiver, const struct received *frame, uint32_t *at)
{
	const uint8_t *l3 = frame->data + frame->l3;
	const uint8_t *piece =
		receiver->traffic->stream.bytes + stream_place(frame->flow, frame->sequence);
	uint32_t size = ip_payload(frame);
	uint32_t begin = frame->probe + PROBE_SIZE;
	uint32_t end = frame->l4 + size;

	/* Short frames may have been padded by whom they passed. */
	if (end > frame->length || end < begin || (end < frame->length && frame->length > 64))
		return "the length in its IP header is wrong";
	if (!frame->ip6 && sum_fold(sum_bytes(l3, 20)) != UINT16_MAX)
		return "the checksum of its IP header is wrong";
	if (frame->protocol == IPPROTO_UDP && load_be16(frame->data + frame->l4 + 4) != size)
		return "the length in its UDP header is wrong";
	if (memcmp(frame->data + begin, piece, end - begin) != 0) {
		for (*at = begin; frame->data[*at] == piece[*at - begin]; (*at)++)
			continue;
		return "its payload is wrong";
	}
	if (!(frame->flags & (VL_NET_NEEDS_CSUM | VL_NET_DATA_VALID))
	    && !l4_sum_is_right(receiver, frame))
		return "its UDP or TCP checksum is wrong";
	return NULL;
}

static bool is_right(struct receiver *receiver, const struct received *frame)
{
	uint32_t at = 0;
	const char *fault = find_fault(receiver, frame, &at);
	int size;

	if (fault == NULL)
		return true;
	if (receiver->fault[0] != '\0')
		return false;
	size = snprintf(
		receiver->fault,
		sizeof(receiver->fault),
		"frame %u of flow %u (%u bytes): %s",
		frame->sequence,
		frame->flow & ((1u << PROBE_FLOW_BITS) - 1),
		frame->length,
		fault
	);
	if (at > 0)
		(void)snprintf(
			receiver->fault + size,
			sizeof(receiver->fault) - (size_t)size,
			" from byte %u on, which is %02x",
			at,
			frame->data[at]
		);
	return false;
}

/* ---- order ---- */

static inline void count_late(struct flow_track *track, struct check_counts *counts, uint64_t back)
{
	uint64_t bit = back < WINDOW_SIZE ? UINT64_C(1) << back : 0;

	if (track->window & bit) {
		counts->duplicates++;
		return;
	}
	/* What lies before the window is taken for late, too. */
	track->window |= bit;
	counts->reordered++;
	counts->missing--;
}

static inline void count_order(
	const struct receiver *receiver, struct check_counts *counts, const struct received *frame
)
{
	uint32_t number = frame->flow & ((1u << PROBE_FLOW_BITS) - 1);
	uint32_t port = frame->flow >> PROBE_FLOW_BITS;
	struct flow_track *track = &receiver->tracks[port * receiver->flow_count + number];
	/* The frame has the low 32 bits. */
	int64_t ahead = (int32_t)(frame->sequence - (uint32_t)track->next);

	if (receiver->from < 0 && -ahead > RESTART_BACK)
		*track = (struct flow_track){};
	if (ahead < 0 && track->next > 0) {
		count_late(track, counts, (uint64_t)-ahead - 1);
		return;
	}
	if (track->next == 0 && receiver->from < 0) /* it was running already */
		ahead = frame->sequence;
	else
		counts->missing += ahead;
	track->window = ahead + 1 < WINDOW_SIZE ? track->window << (ahead + 1) | 1 : 1;
	track->next += (uint64_t)ahead + 1;
}

/* ---- bursts ---- */

/* The piece of a frame in one buffer, or all pieces copied together. Sets *pieces. */
static void
gather(const struct receiver *receiver,
       const struct vl_driver_frame *frames,
       unsigned count,
       struct received *out,
       unsigned *pieces)
{
	uint32_t size = 0;

	*pieces = frames->header.num_buffers > 1 ? frames->header.num_buffers : 1;
	out->flags = frames->header.flags;
	out->data = frames->data;
	out->length = frames->length;
	if (*pieces == 1)
		return;
	for (unsigned i = 0; i < *pieces && i < count; i++) {
		uint32_t room = SCRATCH_SIZE - size;
		uint32_t part = frames[i].length < room ? frames[i].length : room;

		memcpy(receiver->scratch + size, frames[i].data, part);
		size += part;
	}
	out->data = receiver->scratch;
	out->length = size;
}

static inline void check_frame(struct receiver *receiver, struct received *frame, uint64_t now_ns)
{
	struct check_counts *counts = &receiver->counts;
	int64_t way;

	if (!find_probe(receiver, frame)) {
		counts->foreign++;
		return;
	}
	counts->frames++;
	if (receiver->verify && !is_right(receiver, frame)) {
		counts->corrupt++;
		return;
	}
	count_order(receiver, counts, frame);
	/* 48 bits, with a sign. */
	way = (int64_t)((now_ns - frame->stamp) << (64 - PROBE_STAMP_BITS));
	histogram_record(
		&receiver->latency, way > 0 ? (uint64_t)way >> (64 - PROBE_STAMP_BITS) : 0
	);
}

void receiver_check(
	struct receiver *receiver,
	const struct vl_driver_frame *frames,
	unsigned count,
	uint64_t now_ns
)
{
	unsigned pieces;

	gaps_note(&receiver->gaps, now_ns);
	for (unsigned i = 0; i < count; i += pieces) {
		struct received frame;

		if (i + 4 < count)
			__builtin_prefetch(frames[i + 4].data);
		gather(receiver, &frames[i], count - i, &frame, &pieces);
		check_frame(receiver, &frame, now_ns);
	}
}
