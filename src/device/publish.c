/* SPDX-License-Identifier: BSD-3-Clause */
/* Making queues of what the front end has said, and taking them back: see device.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/device.h"
#include "net/frame.h"

enum {
	/* Spans beyond one longest chain, so that a burst of usual chains fits. */
	SPANS_A_BURST = VL_BURST_MAX * 8,
	LEGACY_HEADER_SIZE = 10,
	HEADER_SIZE = sizeof(struct vl_net_header),
};
static_assert(sizeof(struct vl_net_header) == 12, "VIRTIO 1.3, 5.1.6");

static void queue_free(struct queue *queue)
{
	if (queue == NULL)
		return;
	ring_close(&queue->ring);
	free(queue->spans);
	free(queue->spans_kept);
	free(queue);
}

/* One of a ring's three areas: mapped as a whole, in one piece, aligned. */
static void *ring_area(
	struct vl_device *device,
	uint64_t address,
	uint64_t bytes,
	bool write,
	uint64_t alignment,
	bool *later
)
{
	void *area = memory_area(device->memory, address, bytes, write, later);

	return (uintptr_t)area % alignment == 0 ? area : NULL;
}

static bool is_logging(const struct vl_device *device)
{
	return vl_features_have(&device->features, VL_F_LOG_ALL);
}

/* What the device writes in a ring: used elements and its wishes; of a packed one descriptors. */
static void queue_log_setup(
	struct vl_device *device,
	unsigned index,
	const struct ring_config *config,
	struct queue *queue
)
{
	const struct vhost_vring_addr *address = &device->queues[index].address;

	queue->log_fd = -1;
	if (!is_logging(device))
		return;
	queue->log = (struct dirty_log){device->log->regions[0].host, device->log->regions[0].size};
	queue->log_fd = device->log_fd;
	queue->logged[0].size = ring_device_bytes(config->packed, config->size);
	/* Of a driver behind an IOMMU QEMU says an address of the driver's there. */
	if (address->flags & 1 << VHOST_VRING_F_LOG && device->iotlb == NULL)
		queue->logged[0].guest_address = address->log_guest_addr;
	else
		(void)memory_guest_address(
			device->memory, config->device, &queue->logged[0].guest_address
		);
	if (config->packed
	    && memory_guest_address(device->memory, config->desc, &queue->logged[1].guest_address))
		queue->logged[1].size = ring_desc_bytes(config->size);
}

/* 1: *config is filled; 0: something has not been said yet; -errno: what was said is wrong. */
static int ring_configure(struct vl_device *device, unsigned index, struct ring_config *config)
{
	struct virtqueue *vq = &device->queues[index];
	const struct vhost_vring_addr *address = &vq->address;
	const struct vl_features *features = &device->features;
	bool packed = vl_features_have(features, VL_F_RING_PACKED);
	uint32_t size = vq->size;
	bool later = false;

	if (!vq->started || !vq->has_address || size == 0 || device->memory == NULL)
		return 0;
	if (vl_features_have(features, VL_F_ACCESS_PLATFORM) && device->iotlb == NULL)
		return -ENOMEM;
	/* Nothing may be written that would have to be logged and cannot. */
	if (is_logging(device)
	    && (device->log == NULL || memory_size(device->log) < dirty_log_needs(device->memory)))
		return 0;
	if (index / 2 >= device_usable_pairs(device) && !device_is_control(device, index))
		return 0;
	if (!packed && (size & (size - 1)) != 0) {
		device_explain(
			device,
			"queue %u: a split ring of %u entries is no power of two",
			index,
			size
		);
		return -EINVAL;
	}
	*config = (struct ring_config){
		.desc = ring_area(
			device, address->desc_user_addr, ring_desc_bytes(size), packed, 16, &later
		),
		.driver = ring_area(
			device,
			address->avail_user_addr,
			ring_driver_bytes(packed, size),
			false,
			packed ? 4 : 2,
			&later
		),
		.device = ring_area(
			device,
			address->used_user_addr,
			ring_device_bytes(packed, size),
			true,
			4,
			&later
		),
		.memory = device->memory,
		.size = size,
		.packed = packed,
		.event_idx = vl_features_have(features, VL_F_EVENT_IDX),
		.indirect = vl_features_have(features, VL_F_INDIRECT_DESC),
		.position = ring_position_decode(vq->base, packed),
		.guess_fresh = vq->base_guess,
		.old_position = vq->base_old,
		.read_only = index % 2 == 1, /* a transmit queue */
		.mergeable = index % 2 == 0 && vl_features_have(features, VL_F_MRG_RXBUF),
		.batches = index % 2 == 1 && vl_features_have(&device->features, VL_F_IN_ORDER),
	};
	if (later)
		return 0;
	if (config->desc == NULL || config->driver == NULL || config->device == NULL) {
		device_explain(
			device, "queue %u: its ring is not aligned or not in shared memory", index
		);
		return -EFAULT;
	}
	if (packed && (config->position.next >= size || config->position.used_next >= size)) {
		device_explain(device, "queue %u: its base is outside the ring", index);
		return -EINVAL;
	}
	return 1;
}

static struct queue *
queue_build(struct vl_device *device, unsigned index, const struct ring_config *config)
{
	struct virtqueue *vq = &device->queues[index];
	struct queue *queue = calloc(1, sizeof(*queue));

	if (queue == NULL)
		return NULL;
	queue->mergeable = vl_features_have(&device->features, VL_F_MRG_RXBUF);
	queue->header_size = queue->mergeable || vl_features_have(&device->features, VL_F_VERSION_1)
				     ? HEADER_SIZE
				     : LEGACY_HEADER_SIZE;
	queue->span_chain_max = RING_CHAIN_SPANS;
	queue->span_capacity = queue->span_chain_max + SPANS_A_BURST;
	queue->counters = &vq->counters;
	queue_log_setup(device, index, config, queue);
	atomic_init(&queue->enabled, vq->enabled);
	atomic_init(&queue->call_fd, vq->call_fd);
	atomic_init(&queue->err_fd, vq->err_fd);
	queue->spans = calloc(queue->span_capacity, sizeof(queue->spans[0]));
	if (queue_is_logged(queue))
		queue->spans_kept = calloc(queue->span_capacity, sizeof(queue->spans[0]));
	if (queue->spans == NULL || (queue_is_logged(queue) && queue->spans_kept == NULL)
	    || ring_open(&queue->ring, config) < 0) {
		queue_free(queue);
		return NULL;
	}
	return queue;
}

int device_publish(struct vl_device *device, unsigned index)
{
	struct virtqueue *vq = &device->queues[index];
	struct ring_config config;
	int known = ring_configure(device, index, &config);

	if (known <= 0)
		return known;
	int error = device_place(device, index, &config);
	if (error < 0)
		return error;
	vq->resume = false;
	vq->base_old = false;
	struct queue *queue = queue_build(device, index, &config);
	if (queue == NULL) {
		device_explain(device, "queue %u: out of memory", index);
		return -ENOMEM;
	}
	/* Kicks are wanted on the queues the driver sends on; a receive queue is looked at when
	 * there is something to receive. */
	if (index % 2 == 1 || device_is_control(device, index)) {
		(void)ring_notify_on(&queue->ring, config.packed);
	} else {
		queue->ring.notify_me = true;
		ring_notify_off(&queue->ring, config.packed);
		queue_look_ahead(queue);
	}
	queue_log_ring(queue);
	atomic_store_explicit(&queue->ring.broken, vq->broken, memory_order_relaxed);
	/* release: the queue's content before the pointer to it */
	atomic_store_explicit(&vq->live, queue, memory_order_release);
	device_queue_changed(device, index);
	return 0;
}

/* Keep where the ring is, so that it can go on there. A worker may have been between taking
 * chains and completing them; it has passed since, so they are complete. */
static void queue_retire(struct virtqueue *vq, struct queue *queue)
{
	struct ring_position position;

	atomic_store_explicit(&vq->borrowed, NULL, memory_order_relaxed);
	if (queue->ring.held_count > 0) {
		ring_publish(&queue->ring, queue->ring.packed, queue->ring.held_count);
		queue_call(queue);
	}

	ring_position(&queue->ring, &position);
	vq->base = ring_position_encode(&position, queue->ring.packed);
	vq->base_guess = false;
	vq->broken = atomic_load_explicit(&queue->ring.broken, memory_order_relaxed);
	queue_free(queue);
}

void device_unpublish(struct vl_device *device, unsigned index)
{
	struct virtqueue *vq = &device->queues[index];
	struct queue *queue = atomic_exchange_explicit(&vq->live, NULL, memory_order_acq_rel);

	if (queue == NULL)
		return;
	device_synchronize(device);
	queue_retire(vq, queue);
	device_queue_changed(device, index);
}

void device_unpublish_all(struct vl_device *device)
{
	struct queue *queues[DEVICE_QUEUES_MAX];
	bool any = false;

	for (unsigned i = 0; i < device->queue_count; i++) {
		queues[i] = atomic_exchange_explicit(
			&device->queues[i].live, NULL, memory_order_acq_rel
		);
		any = any || queues[i] != NULL;
	}
	if (!any)
		return;
	device_synchronize(device);
	for (unsigned i = 0; i < device->queue_count; i++) {
		if (queues[i] == NULL)
			continue;
		queue_retire(&device->queues[i], queues[i]);
		device_queue_changed(device, i);
	}
}

int device_publish_all(struct vl_device *device)
{
	for (unsigned i = 0; i < device->queue_count; i++) {
		int error = device_publish(device, i);

		if (error < 0)
			return error;
	}
	return 0;
}

int device_look_again(struct vl_device *device)
{
	for (unsigned i = 0; i < device->queue_count; i++) {
		if (device_live(device, i) != NULL)
			continue;
		int error = device_publish(device, i);
		if (error < 0)
			return error;
		/* What was completed before may have gone unnoticed. */
		if (device_live(device, i) != NULL)
			queue_notify(device_live(device, i));
	}
	for (unsigned pair = 0; pair < device->config.queue_pairs; pair++) {
		if (device->config.queue_changed != NULL
		    && device_live(device, 2 * pair + 1) != NULL)
			device->config.queue_changed(device->config.context, pair);
	}
	return 0;
}
