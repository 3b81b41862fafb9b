/* SPDX-License-Identifier: BSD-3-Clause */
/* What the device says of itself: feature bits and configuration space (VIRTIO 1.3, 5.1.3 and
 * 5.1.4). */
#include <linux/virtio_net.h>
#include <string.h>

#include "device/device.h"
#include "net/offloads.h"

static const uint8_t always[] = {
	VL_F_VERSION_1,	    VL_F_ANY_LAYOUT, VL_F_INDIRECT_DESC,  VL_F_EVENT_IDX,
	VL_F_RING_PACKED,   VL_F_IN_ORDER,   VL_F_MRG_RXBUF,	  VL_F_STATUS,
	VL_F_CSUM,	    VL_F_GUEST_CSUM, VL_F_HOST_TSO4,	  VL_F_HOST_TSO6,
	VL_F_HOST_ECN,	    VL_F_HOST_UFO,   VL_F_HOST_USO,	  VL_F_GUEST_TSO4,
	VL_F_GUEST_TSO6,    VL_F_GUEST_ECN,  VL_F_GUEST_UFO,	  VL_F_GUEST_USO4,
	VL_F_GUEST_USO6,    VL_F_CTRL_VQ,    VL_F_CTRL_RX,	  VL_F_CTRL_RX_EXTRA,
	VL_F_CTRL_MAC_ADDR, VL_F_CTRL_VLAN,  VL_F_GUEST_ANNOUNCE, VL_F_CTRL_GUEST_OFFLOADS,
	VL_F_LOG_ALL,
};

/* What stands on the control queue. */
static const uint8_t control[] = {
	VL_F_CTRL_VQ,
	VL_F_CTRL_RX,
	VL_F_CTRL_RX_EXTRA,
	VL_F_CTRL_MAC_ADDR,
	VL_F_CTRL_VLAN,
	VL_F_CTRL_GUEST_OFFLOADS,
	VL_F_GUEST_ANNOUNCE,
};

static bool has_mac(const struct vl_device_config *config)
{
	static const uint8_t none[6];

	return memcmp(config->mac, none, sizeof(none)) != 0;
}

struct vl_features device_supported_features(const struct vl_device_config *config)
{
	struct vl_features features = {0};

	for (unsigned i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		vl_features_add(&features, always[i]);
	if (config->queue_pairs > 1)
		vl_features_add(&features, VL_F_MQ);
	if (config->mtu != 0)
		vl_features_add(&features, VL_F_MTU);
	if (config->iommu)
		vl_features_add(&features, VL_F_ACCESS_PLATFORM);
	if (has_mac(config))
		vl_features_add(&features, VL_F_MAC);
	/* The control queue is the one behind all pairs: a vhost-user message must be able to name
	 * it, or a driver would wait for it for ever. */
	if (2 * config->queue_pairs >= DEVICE_QUEUES_MAX) {
		for (unsigned i = 0; i < sizeof(control) / sizeof(control[0]); i++)
			vl_features_remove(&features, control[i]);
	}
	for (unsigned i = 0; i < VL_FEATURE_COUNT / 64; i++)
		features.word[i] &= ~config->withheld.word[i];
	features.word[0] &= ~offloads_to_features(config->offloads_withheld);
	return features;
}

void device_config_space(const struct vl_device *device, uint8_t out[DEVICE_CONFIG_SIZE])
{
	struct virtio_net_config space = {
		.status = device->link_status,
		.max_virtqueue_pairs = (uint16_t)device->config.queue_pairs,
		.mtu = device->mtu,
		.speed = UINT32_MAX, /* unknown */
		.duplex = 1,	     /* full */
	};

	static_assert(sizeof(space) <= DEVICE_CONFIG_SIZE, "configuration space fits");
	memcpy(space.mac, device->mac, sizeof(space.mac));
	memset(out, 0, DEVICE_CONFIG_SIZE);
	memcpy(out, &space, sizeof(space));
}
