/* SPDX-License-Identifier: BSD-3-Clause */
/* The public data calls: the bursts' bodies are chosen by the processor (borrow.c, copy_in.c). */
#include "device/device.h"
#include "net/frame.h"
#include "vhost/signal.h"

/* By enum isa. */
const struct device_ops device_ops[ISA_COUNT] = {
	{device_borrow_v2, device_give_back_v2, device_copy_in_v2, device_flush_v2},
#if defined(__x86_64__)
	{device_borrow_v3, device_give_back_v3, device_copy_in_v3, device_flush_v3},
	{device_borrow_v4, device_give_back_v4, device_copy_in_v4, device_flush_v4},
#endif
};

int vl_device_borrow(struct vl_device *device, unsigned pair, struct vl_frame *frames, unsigned max)
{
	return device->ops->borrow(device, pair, frames, max);
}

void vl_device_give_back(struct vl_device *device, unsigned pair, unsigned count)
{
	device->ops->give_back(device, pair, count);
}

void vl_device_put_off(struct vl_device *device, unsigned pair, unsigned count)
{
	struct queue *queue = device_borrowed_queue(device, pair);

	if (queue == NULL)
		return;
	if (count > queue->ring.held_count)
		count = queue->ring.held_count;
	ring_untake(&queue->ring, queue->ring.packed, count);
}

unsigned vl_device_copy_in(
	struct vl_device *device,
	unsigned pair,
	const struct vl_frame *const *frames,
	unsigned count,
	enum vl_delivery *results
)
{
	return device->ops->copy_in(NULL, device, pair, frames, count, results);
}

unsigned vl_device_copy_in_by(
	struct vl_copier *copier,
	struct vl_device *device,
	unsigned pair,
	const struct vl_frame *const *frames,
	unsigned count,
	enum vl_delivery *results
)
{
	return device->ops->copy_in(copier, device, pair, frames, count, results);
}

void vl_device_flush(struct vl_device *device, unsigned pair)
{
	device->ops->flush(device, pair);
}

void vl_device_discarded(
	const struct vl_device *device, unsigned pair, uint64_t *frames, uint64_t *bytes
)
{
	const struct queue_counters *counters = &device->queues[2 * pair + 1].counters;

	*frames = atomic_load_explicit(&counters->discarded_frames, memory_order_relaxed);
	*bytes = atomic_load_explicit(&counters->discarded_bytes, memory_order_relaxed);
}

bool vl_device_accepts(const struct vl_device *device, const struct vl_net_header *header)
{
	uint32_t accepts =
		atomic_load_explicit(&((struct vl_device *)device)->accepts, memory_order_relaxed);
	uint32_t missing = frame_needs(header) & ~accepts;

	return missing == 0 || (missing == VL_OFFLOAD_CSUM && header->gso_type == VL_GSO_NONE);
}

bool vl_device_sleep(struct vl_device *device, unsigned pair)
{
	struct queue *queue = device_data_queue(device, pair, false);

	if (queue == NULL
	    || atomic_load_explicit(&queue->ring.broken, memory_order_relaxed) != NULL)
		return true;
	bool more = ring_notify_on(&queue->ring, queue->ring.packed);
	queue_log_ring(queue);
	/* When what it waits for has come, control says that the queue has changed. */
	return !more || queue->ring.waiting;
}

bool vl_device_is_silent(const struct vl_device *device, unsigned pair)
{
	struct virtqueue *vq = &((struct vl_device *)device)->queues[2 * pair + 1];
	const struct queue *queue = device_data_queue(device, pair, false);

	/* What it waits for may have to be asked for again. */
	return queue != NULL
	       && (queue->ring.waiting
		   || atomic_load_explicit(&vq->kick_fd, memory_order_relaxed) < 0);
}

void vl_device_kicked(struct vl_device *device, unsigned pair)
{
	if (2 * pair + 1 >= device->queue_count)
		return;
	struct virtqueue *vq = &device->queues[2 * pair + 1];

	counter_add(&vq->counters.kicks, 1);
	(void)vhost_quiet(atomic_load_explicit(&vq->kick_fd, memory_order_relaxed));
}
