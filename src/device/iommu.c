/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver behind an IOMMU of its guest's (ACCESS_PLATFORM; vhost-user, "IOMMU support"): the
 * addresses in its descriptors, and of its rings, are I/O virtual ones, which the front end
 * translates for us. What is not known yet is asked for, and is meanwhile as if the driver had not
 * made it available (ring.h, `waiting`); a ring whose own memory is not known is not started yet.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "device/device.h"
#include "memory/iotlb.h"

enum {
	MISSES_A_CALL = 64,
};

int device_use_iommu(struct vl_device *device)
{
	bool wanted = vl_features_have(&device->features, VL_F_ACCESS_PLATFORM);

	if (wanted && device->config.attention_changed == NULL)
		return -EINVAL;
	if (wanted && device->iotlb == NULL) {
		int wake = device_want_attention(device);

		device->iotlb = wake < 0 ? NULL : iotlb_create(wake);
		if (device->iotlb == NULL) {
			device_explain(device, "no memory for translations of the IOMMU");
			return -ENOMEM;
		}
	} else if (!wanted) {
		iotlb_destroy(device->iotlb);
		device->iotlb = NULL;
	}
	if (device->memory != NULL)
		device_mark_memory(device, device->memory);
	return 0;
}

/* No data call uses what was in the table before. */
static void settle(struct vl_device *device)
{
	device_synchronize(device);
	iotlb_settle(device->iotlb);
}

void device_forget_translations(struct vl_device *device)
{
	if (device->iotlb == NULL)
		return;
	/* Out of memory: then without any table. */
	if (iotlb_remove(device->iotlb, 0, UINT64_MAX) < 0) {
		iotlb_destroy(device->iotlb);
		device->iotlb = NULL;
		if (device->memory != NULL)
			device_mark_memory(device, device->memory);
		return;
	}
	settle(device);
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a - b < b_size || b - a < a_size;
}

static bool ring_is_in(const struct vl_device *device, unsigned index, uint64_t iova, uint64_t size)
{
	const struct virtqueue *vq = &device->queues[index];
	const struct vhost_vring_addr *address = &vq->address;
	bool packed = vl_features_have(&device->features, VL_F_RING_PACKED);

	return overlap(address->desc_user_addr, ring_desc_bytes(vq->size), iova, size)
	       || overlap(address->avail_user_addr, ring_driver_bytes(packed, vq->size), iova, size)
	       || overlap(address->used_user_addr, ring_device_bytes(packed, vq->size), iova, size);
}

/* Nobody uses what is in the range when this returns; rings that lie there are stopped. */
static int forget(struct vl_device *device, uint64_t iova, uint64_t size)
{
	for (unsigned i = 0; i < device->queue_count; i++) {
		if (device_live(device, i) != NULL && ring_is_in(device, i, iova, size))
			device_unpublish(device, i);
	}
	if (!iotlb_overlaps(device->iotlb, iova, size))
		return 0;
	int error = iotlb_remove(device->iotlb, iova, size);
	settle(device);
	return error;
}

static int learn(struct vl_device *device, const struct iotlb_entry *entry)
{
	if (iotlb_has(device->iotlb, entry))
		return 0;
	int error = forget(device, entry->iova, entry->size);
	if (error == 0)
		error = iotlb_insert(device->iotlb, entry);
	settle(device);
	return error;
}

int device_iotlb(struct vl_device *device, const struct vhost_iotlb_msg *message)
{
	struct iotlb_entry entry = {message->iova, message->size, message->uaddr, message->perm};
	const char *why = NULL;
	int error = -EINVAL;

	if (device->iotlb == NULL)
		why = "without ACCESS_PLATFORM";
	else if (entry.size == 0)
		why = "size 0";
	else if (message->type == VHOST_IOTLB_INVALIDATE)
		error = forget(device, entry.iova, entry.size);
	else if (message->type != VHOST_IOTLB_UPDATE)
		why = "neither an update nor an invalidation";
	else if (entry.access == 0 || entry.access > (IOTLB_READ | IOTLB_WRITE))
		why = "an access that is neither reading nor writing";
	else if (entry.size - 1 > UINT64_MAX - entry.iova || entry.size - 1 > UINT64_MAX - entry.user_address)
		why = "it wraps around the end of the address space";
	else
		error = learn(device, &entry);
	if (why != NULL)
		device_explain(device, "IOTLB_MSG: %s", why);
	return error < 0 ? error : device_look_again(device);
}

void device_tell_misses(struct vl_device *device)
{
	uint64_t iova;
	uint8_t access;

	/* Workers may ask faster than it can be told. */
	for (unsigned i = 0; device->iotlb != NULL; i++) {
		if (i == MISSES_A_CALL) {
			const uint64_t one = 1;

			(void)!write(device->wake, &one, sizeof(one));
			return;
		}
		if (!iotlb_next_miss(device->iotlb, &iova, &access))
			return;
		const struct vhost_iotlb_msg miss = {
			.iova = iova, .perm = access, .type = VHOST_IOTLB_MISS};

		/* It is asked for again after a while. */
		if (!backend_tell_miss(device->backend, &miss))
			device_explain(
				device,
				"the front end cannot be asked for translations of the IOMMU"
			);
	}
}
