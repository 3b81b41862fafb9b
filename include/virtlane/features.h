/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio feature bits (VIRTIO 1.4, sections 5.1.3 and 6) as a set wider than 64 bits, and the
 * vhost-user protocol feature bits. The vhost-user messages of today carry bits 0 to 63 only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vl_feature {
	VL_F_CSUM = 0,	     /* device takes frames with a partial checksum */
	VL_F_GUEST_CSUM = 1, /* driver takes them */
	VL_F_CTRL_GUEST_OFFLOADS = 2,
	VL_F_MTU = 3,
	VL_F_MAC = 5,
	VL_F_GUEST_TSO4 = 7,
	VL_F_GUEST_TSO6 = 8,
	VL_F_GUEST_ECN = 9,
	VL_F_GUEST_UFO = 10,
	VL_F_HOST_TSO4 = 11,
	VL_F_HOST_TSO6 = 12,
	VL_F_HOST_ECN = 13,
	VL_F_HOST_UFO = 14,
	VL_F_MRG_RXBUF = 15,
	VL_F_STATUS = 16,
	VL_F_CTRL_VQ = 17,
	VL_F_CTRL_RX = 18,
	VL_F_CTRL_VLAN = 19,
	VL_F_CTRL_RX_EXTRA = 20,
	VL_F_GUEST_ANNOUNCE = 21,
	VL_F_MQ = 22,
	VL_F_CTRL_MAC_ADDR = 23,
	VL_F_NOTIFY_ON_EMPTY = 24, /* legacy */
	VL_F_LOG_ALL = 26,	   /* vhost */
	VL_F_ANY_LAYOUT = 27,	   /* legacy */
	VL_F_INDIRECT_DESC = 28,
	VL_F_EVENT_IDX = 29,
	VL_F_PROTOCOL_FEATURES = 30, /* vhost-user */
	VL_F_VERSION_1 = 32,
	VL_F_ACCESS_PLATFORM = 33,
	VL_F_RING_PACKED = 34,
	VL_F_IN_ORDER = 35,
	VL_F_ORDER_PLATFORM = 36,
	VL_F_SR_IOV = 37,
	VL_F_NOTIFICATION_DATA = 38,
	VL_F_NOTIF_CONFIG_DATA = 39,
	VL_F_RING_RESET = 40,
	VL_F_ADMIN_VQ = 41,
	VL_F_DEVICE_STATS = 50,
	VL_F_HASH_TUNNEL = 51,
	VL_F_VQ_NOTF_COAL = 52,
	VL_F_NOTF_COAL = 53,
	VL_F_GUEST_USO4 = 54,
	VL_F_GUEST_USO6 = 55,
	VL_F_HOST_USO = 56,
	VL_F_HASH_REPORT = 57,
	VL_F_GUEST_HDRLEN = 59,
	VL_F_RSS = 60,
	VL_F_RSC_EXT = 61,
	VL_F_STANDBY = 62,
	VL_F_SPEED_DUPLEX = 63,
	VL_F_RSS_CONTEXT = 64,
	VL_F_GUEST_UDP_TUNNEL_GSO = 65,
	VL_F_GUEST_UDP_TUNNEL_GSO_CSUM = 66,
	VL_F_HOST_UDP_TUNNEL_GSO = 67,
	VL_F_HOST_UDP_TUNNEL_GSO_CSUM = 68,
	VL_F_OUT_NET_HEADER = 69,
	VL_F_IPSEC = 70,
	VL_FEATURE_COUNT = 128,
};

/* A set of feature bits; all zero is the empty set. */
struct vl_features {
	uint64_t word[VL_FEATURE_COUNT / 64];
};

static inline bool vl_features_have(const struct vl_features *set, unsigned bit)
{
	return (set->word[bit / 64] >> (bit % 64)) & 1;
}

static inline void vl_features_add(struct vl_features *set, unsigned bit)
{
	set->word[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static inline void vl_features_remove(struct vl_features *set, unsigned bit)
{
	set->word[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
}

/* Whether every bit of `part` is in `set`. */
static inline bool vl_features_within(const struct vl_features *part, const struct vl_features *set)
{
	for (unsigned i = 0; i < VL_FEATURE_COUNT / 64; i++) {
		if (part->word[i] & ~set->word[i])
			return false;
	}
	return true;
}

enum vl_protocol_feature {
	VL_PROTOCOL_F_MQ = 0,
	VL_PROTOCOL_F_LOG_SHMFD = 1,
	VL_PROTOCOL_F_RARP = 2,
	VL_PROTOCOL_F_REPLY_ACK = 3,
	VL_PROTOCOL_F_MTU = 4,
	VL_PROTOCOL_F_BACKEND_REQ = 5,
	VL_PROTOCOL_F_CROSS_ENDIAN = 6,
	VL_PROTOCOL_F_CRYPTO_SESSION = 7,
	VL_PROTOCOL_F_PAGEFAULT = 8,
	VL_PROTOCOL_F_CONFIG = 9,
	VL_PROTOCOL_F_BACKEND_SEND_FD = 10,
	VL_PROTOCOL_F_HOST_NOTIFIER = 11,
	VL_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VL_PROTOCOL_F_RESET_DEVICE = 13,
	VL_PROTOCOL_F_INBAND_NOTIFICATIONS = 14,
	VL_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VL_PROTOCOL_F_STATUS = 16,
	VL_PROTOCOL_F_XEN_MMAP = 17,
	VL_PROTOCOL_F_SHARED_OBJECT = 18,
	VL_PROTOCOL_F_DEVICE_STATE = 19,
	VL_PROTOCOL_F_GET_VRING_BASE_INFLIGHT = 20,
	VL_PROTOCOL_F_GPA_ADDRESSES = 21,
	VL_PROTOCOL_F_SHMEM = 22,
	VL_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN = 23,
};

/* The standard's name of a bit ("MRG_RXBUF"); NULL if it gives it none. Static strings. */
const char *vl_feature_name(unsigned bit);
const char *vl_protocol_feature_name(unsigned bit);

#ifdef __cplusplus
}
#endif
