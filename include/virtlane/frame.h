/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A frame that is borrowed where it lies: its first bytes are here, fetched once, the rest stays
 * in the memory of whoever sent it until it is given back.
 */
#pragma once

#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	VL_BURST_MAX = 64, /* frames a call */
	VL_HEAD_MAX = 64,  /* bytes fetched into a frame's head */
	VL_HEAD_ROOM = 24, /* bytes in front of the head, for tags that are pushed on the way */
};

/*
 * The virtio-net header as in VIRTIO 1.3, 5.1.6 (struct virtio_net_hdr with num_buffers), little
 * endian. A device with legacy, 10-byte headers is served from the same struct.
 */
struct vl_net_header {
	uint8_t flags;	  /* VL_NET_* */
	uint8_t gso_type; /* VL_GSO_* */
	uint16_t hdr_len;
	uint16_t gso_size;    /* payload bytes of a segment */
	uint16_t csum_start;  /* offset of the first byte summed, from the start of the frame */
	uint16_t csum_offset; /* where the sum goes, from csum_start */
	uint16_t num_buffers; /* receive only; filled by copy_in */
};

enum {
	VL_NET_NEEDS_CSUM = 1,
	VL_NET_DATA_VALID = 2,
	VL_NET_RSC_INFO = 4,

	VL_GSO_NONE = 0,
	VL_GSO_TCPV4 = 1,
	VL_GSO_UDP = 3, /* UFO */
	VL_GSO_TCPV6 = 4,
	VL_GSO_UDP_L4 = 5, /* USO */
	VL_GSO_ECN = 0x80, /* flag: TCP with CWR handling */
};

/* What a frame may ask of who gets it, and what a peer can do: bits of a set. Each but the first
 * needs the first. */
enum {
	VL_OFFLOAD_CSUM = 1 << 0, /* partial checksums */
	VL_OFFLOAD_TSO4 = 1 << 1,
	VL_OFFLOAD_TSO6 = 1 << 2,
	VL_OFFLOAD_ECN = 1 << 3, /* large TCP frames with CWR */
	VL_OFFLOAD_UFO = 1 << 4,
	VL_OFFLOAD_USO = 1 << 5, /* over both versions of IP */
	VL_OFFLOADS_ALL = (1 << 6) - 1,
};

/*
 * A frame is: the head (head_size bytes at head), then tail_count pieces of memory. What was
 * decided on the head holds for what is sent, since the head is what is sent. The tail belongs to
 * a peer who may change it at any time: it may be copied, never trusted.
 */
struct vl_frame {
	struct vl_net_header header;
	uint16_t
		head_size; /* bytes: of a borrowed frame at most VL_HEAD_MAX plus what was pushed */
	uint16_t tail_count; /* elements of tail */
	uint32_t size;	     /* bytes of the whole frame, without the virtio-net header and FCS */
	const struct iovec *tail;
	uint8_t *head; /* of a borrowed frame: points into room[] or bytes[] */
	uint8_t room[VL_HEAD_ROOM];
	uint8_t bytes[VL_HEAD_MAX];
};

#ifdef __cplusplus
}
#endif
