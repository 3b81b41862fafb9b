/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a driver wants a frame (VIRTIO 1.3, 5.1.6.5.1 to 5.1.6.5.3). */
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "net/frame.h"

static bool listed(const uint8_t (*macs)[6], uint32_t count, const uint8_t *mac)
{
	for (uint32_t i = 0; i < count; i++) {
		if (memcmp(macs[i], mac, 6) == 0)
			return true;
	}
	return false;
}

bool filter_wants(const struct receive_filter *filter, const struct vl_frame *frame)
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	const uint8_t *destination = frame->head;
	uint16_t tci;

	if (filter->promiscuous)
		return true;
	if (filter->vlan_filter && frame_vlan_tag(frame, &tci)) {
		uint16_t id = tci & VLAN_ID_MASK;

		if (id != 0 && !((filter->vlans[id / 64] >> (id % 64)) & 1))
			return false;
	}
	if (memcmp(destination, broadcast, 6) == 0)
		return !filter->no_broadcast;
	if (destination[0] & 1) {
		if (filter->no_multicast)
			return false;
		return filter->all_multicast || filter->many_multicast
		       || listed(filter->multicast, filter->multicast_count, destination);
	}
	if (filter->no_unicast)
		return false;
	return filter->all_unicast || filter->many_unicast
	       || memcmp(filter->mac, destination, 6) == 0
	       || listed(filter->unicast, filter->unicast_count, destination);
}

void device_set_filter(struct vl_device *device, struct receive_filter *filter)
{
	/* release: the filter's content before the pointer */
	struct receive_filter *old =
		atomic_exchange_explicit(&device->filter, filter, memory_order_acq_rel);

	if (old == NULL)
		return;
	device_synchronize(device);
	free(old);
}

struct receive_filter *receive_filter_copy(const struct receive_filter *filter)
{
	struct receive_filter *copy = malloc(sizeof(*copy));

	if (copy != NULL)
		*copy = *filter;
	return copy;
}
