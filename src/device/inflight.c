/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Going on where a device before this one was: after our process died, or another's.
 *
 * With INFLIGHT_SHMFD the front end keeps a region for that (ring/inflight.h). Most keep none for a
 * network device. Then a split ring tells it itself, by its used index; a packed one's place is
 * noted in a record of our own, in memory that the owner of the device gives us.
 */
#include "ring/inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device/device.h"

/* Of a virtqueue, in vl_device_config.record. */
struct record {
	uint64_t address; /* user address of the descriptors */
	uint32_t size;	  /* descriptors; 0: the rest says nothing */
	uint32_t base;	  /* that the front end said when the ring was started */
	struct ring_place place;
	uint64_t unused[4];
};
static_assert(sizeof(struct record) == 64, "a line each");

size_t vl_device_record_size(unsigned queue_pairs)
{
	return (2 * (size_t)queue_pairs + 1) * sizeof(struct record);
}

static struct record *record_of(const struct vl_device *device, unsigned index)
{
	struct record *records = device->config.record;

	return records == NULL ? NULL : &records[index];
}

void device_forget_record(struct vl_device *device, unsigned index)
{
	struct record *record = record_of(device, index);

	if (record != NULL)
		record->size = 0;
}

/* A control queue may have been left out of it. */
static bool in_region(const struct vl_device *device, unsigned index)
{
	return device->inflight != NULL && index < device->inflight_layout.queue_count;
}

bool device_base_to_resume(const struct vl_device *device, unsigned index, uint32_t *base)
{
	const struct record *record = record_of(device, index);

	*base = device->queues[index].base;
	if (!vl_features_have(&device->features, VL_F_RING_PACKED) || in_region(device, index))
		return true;
	if (record == NULL || record->size == 0)
		return false;
	*base = record->base;
	return true;
}

bool vl_device_record_holds(const struct vl_device *device)
{
	for (unsigned i = 0; device->config.record != NULL && i < device->queue_count; i++) {
		if (record_of(device, i)->size != 0)
			return true;
	}
	return false;
}

/* That there was a ring, and that is all: as a packed one's place it would not be believed. */
static void note_started(struct vl_device *device, unsigned index, const struct ring_config *config)
{
	struct record *record = record_of(device, index);

	if (record == NULL)
		return;
	record->place.word = UINT64_MAX;
	record->size = config->size;
}

/* ---- without a region ---- */

/* -ESTALE: nothing says any more where it is. */
static int place_packed(struct vl_device *device, unsigned index, struct ring_config *config)
{
	struct virtqueue *vq = &device->queues[index];
	struct record *record = record_of(device, index);

	if (record == NULL)
		return vq->base_old ? -ESTALE : 0;
	bool same = record->size == config->size && record->address == vq->address.desc_user_addr;
	bool resumed = vq->resume && same && record->base == vq->base
		       && inflight_resume_place(&record->place, config);
	if (vq->base_old && !same)
		return -ESTALE;
	if (resumed)
		config->guess_fresh = false;
	if (vq->resume || record->size == 0)
		record->base = vq->base;
	config->place = &record->place;
	if (same && (resumed || !vq->resume)) {
		inflight_begin_place(&record->place, config);
		return 0;
	}
	/* While it changes it is none. */
	__atomic_store_n(&record->size, 0, __ATOMIC_RELEASE);
	inflight_begin_place(&record->place, config);
	record->address = vq->address.desc_user_addr;
	__atomic_store_n(&record->size, config->size, __ATOMIC_RELEASE);
	return 0;
}

/* Whatever base the front end says: DPDK's says 0 when it connects again, and one that has asked a
 * device before us says how far that had taken, completed or not. */
static void place_split(const struct virtqueue *vq, struct ring_config *config)
{
	const struct vring_avail *avail = config->driver;
	const struct vring_used *used = config->device;
	uint16_t used_index = __atomic_load_n(&used->idx, __ATOMIC_RELAXED);
	uint16_t left = (uint16_t)(__atomic_load_n(&avail->idx, __ATOMIC_RELAXED) - used_index);

	if (vq->resume && left <= config->size)
		config->position.next = used_index;
}

/* ---- with one ---- */

static int place_in_region(struct vl_device *device, unsigned index, struct ring_config *config)
{
	struct virtqueue *vq = &device->queues[index];
	const struct vhost_inflight *layout = &device->inflight_layout;
	uint64_t bytes = inflight_queue_bytes(config->packed, layout->queue_size);
	const struct memory_region *region = &device->inflight->regions[0];
	const char *why = "the in-flight region is for smaller rings";
	int resumed = -EINVAL; /* or 1, or 0: it begins here */

	uint8_t *part = region->host + index * bytes;
	if (config->size > layout->queue_size || region->size / bytes <= index) {
		/* not for this ring */
	} else if (vq->resume) {
		resumed = inflight_resume(part, config, &why);
	} else {
		inflight_begin(part, config);
		resumed = 0;
	}
	if (resumed < 0) {
		device_explain(device, "queue %u: %s", index, why);
		return resumed;
	}
	if (resumed == 1)
		config->guess_fresh = false;
	if (config->packed)
		config->place = inflight_place((void *)part);
	return 0;
}

int device_place(struct vl_device *device, unsigned index, struct ring_config *config)
{
	if (in_region(device, index)) {
		note_started(device, index, config);
		return place_in_region(device, index, config);
	}
	if (config->packed) {
		int error = place_packed(device, index, config);

		if (error < 0)
			device_explain(
				device, "queue %u: nothing tells any more where its ring is", index
			);
		return error;
	}
	place_split(&device->queues[index], config);
	note_started(device, index, config);
	return 0;
}

/* ---- the region ---- */

int device_get_inflight(struct vl_device *device, struct vhost_inflight *layout, int *fd)
{
	bool packed = vl_features_have(&device->features, VL_F_RING_PACKED);
	uint64_t size = layout->queue_count * inflight_queue_bytes(packed, layout->queue_size);

	if (layout->queue_count == 0 || layout->queue_count > device->queue_count
	    || layout->queue_size == 0 || layout->queue_size > VL_QUEUE_SIZE_MAX) {
		device_explain(
			device, "GET_INFLIGHT_FD: a number of queues or descriptors is out of range"
		);
		return -EINVAL;
	}
	int file = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (file < 0)
		return -errno;
	if (ftruncate(file, (off_t)size) < 0
	    || fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
		int error = -errno;

		close(file);
		return error;
	}
	layout->mmap_size = size;
	layout->mmap_offset = 0;
	*fd = file;
	return 0;
}

int device_set_inflight(struct vl_device *device, const struct vhost_inflight *layout, int fd)
{
	struct memory_region_request request = {
		.size = layout->mmap_size,
		.file_offset = layout->mmap_offset,
	};
	bool packed = vl_features_have(&device->features, VL_F_RING_PACKED);
	uint64_t bytes = inflight_queue_bytes(packed, layout->queue_size);
	struct memory *region = NULL;
	const char *why = "the region is too small for its queues, or not aligned";
	int error = -EINVAL;

	if (layout->queue_count > 0 && layout->queue_size > 0
	    && layout->mmap_offset % INFLIGHT_ALIGNMENT == 0
	    && layout->mmap_size / bytes >= layout->queue_count)
		error = device_map(device, NULL, &request, fd, &region, &why);
	if (error < 0) {
		device_explain(device, "SET_INFLIGHT_FD: %s", why);
		return error;
	}
	device_unpublish_all(device);
	device_drop_memory(device, &device->inflight);
	device->inflight = region;
	device->inflight_layout = *layout;
	device_watch_memory(device, region, true);
	for (unsigned i = 0; i < device->queue_count; i++) {
		device->queues[i].resume = true;
		device_forget_record(device, i);
	}
	return device_publish_all(device);
}
