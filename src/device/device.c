/* SPDX-License-Identifier: BSD-3-Clause */
/* Life of a device and of its queues, see device.h. */
#include "device/device.h"
#include "net/offloads.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "memory/arrivals.h"
#include "net/frame.h"
#include "vhost/signal.h"

void device_explain(struct vl_device *device, const char *format, ...)
{
	char reason[BACKEND_REASON_SIZE];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	if (device->backend != NULL)
		backend_explain(device->backend, "%s", reason);
	else
		memcpy(device->reason, reason, sizeof(reason));
}

void device_synchronize(struct vl_device *device)
{
	if (device->config.synchronize != NULL)
		device->config.synchronize(device->config.context);
}

unsigned device_control_index(const struct vl_device *device)
{
	if (!vl_features_have(&device->features, VL_F_MQ))
		return 2;
	return 2 * device->config.queue_pairs;
}

bool device_has_control(const struct vl_device *device)
{
	return vl_features_have(&device->features, VL_F_CTRL_VQ)
	       && device_control_index(device) < device->queue_count;
}

bool device_is_control(const struct vl_device *device, unsigned index)
{
	return device_has_control(device) && index == device_control_index(device);
}

bool device_any_started(const struct vl_device *device)
{
	for (unsigned i = 0; i < device->queue_count; i++) {
		if (device->queues[i].started)
			return true;
	}
	return false;
}

unsigned device_usable_pairs(const struct vl_device *device)
{
	return vl_features_have(&device->features, VL_F_MQ) ? device->config.queue_pairs : 1;
}

/* Pairs are used from the first on, as many as are ready without a gap. */
static void update_active_pairs(struct vl_device *device)
{
	unsigned chosen = atomic_load_explicit(&device->chosen_pairs, memory_order_relaxed);
	unsigned pairs = 0;

	while (pairs < device->config.queue_pairs && vl_device_ready(device, pairs, true))
		pairs++;
	if (chosen != 0 && pairs > chosen)
		pairs = chosen;
	atomic_store_explicit(&device->active_pairs, pairs, memory_order_relaxed);
}

void device_queue_changed(struct vl_device *device, unsigned index)
{
	update_active_pairs(device);
	if (device->config.queue_changed != NULL && index / 2 < device->config.queue_pairs)
		device->config.queue_changed(device->config.context, index / 2);
}

void device_update_offloads(struct vl_device *device, uint64_t guest_offloads)
{
	uint32_t accepts = offloads_of_features(guest_offloads, true);

	device->guest_offloads = guest_offloads;
	accepts &= ~device->config.offloads_withheld;
	atomic_store_explicit(&device->accepts, accepts, memory_order_relaxed);
}

void device_reset_wishes(struct vl_device *device)
{
	device_set_filter(device, NULL);
	device_update_offloads(device, device->features.word[0]);
	atomic_store_explicit(&device->chosen_pairs, 0, memory_order_relaxed);
	device_update_pairs(device);
}

void device_update_pairs(struct vl_device *device)
{
	atomic_store_explicit(
		&device->usable_pairs, device_usable_pairs(device), memory_order_relaxed
	);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd & ~SIGNAL_SOCKET);
	*fd = -1;
}

static void forget_queue(struct vl_device *device, unsigned index)
{
	struct virtqueue *vq = &device->queues[index];

	close_fd(&vq->call_fd);
	close_fd(&vq->err_fd);
	vq->size = 0;
	vq->base = 0;
	vq->base_guess = true;
	vq->base_told = false;
	vq->base_old = false;
	vq->resume = true;
	vq->broken = NULL;
	vq->has_address = false;
	vq->started = false;
	vq->enabled = false;
}

/* Tell the owner of the device which descriptor to watch for a queue, if it is one to be watched.
 */
static void announce_kick(struct vl_device *device, unsigned index, int old, int fd)
{
	const struct vl_device_config *config = &device->config;

	if (device->queues[index].kick_is_control) {
		if (config->control_kick_changed != NULL)
			config->control_kick_changed(config->context, old, fd);
	} else if (index % 2 == 1 && index / 2 < config->queue_pairs) {
		if (config->kick_changed != NULL)
			config->kick_changed(config->context, index / 2, old, fd);
	}
}

void device_set_kick(struct vl_device *device, unsigned index, int fd)
{
	struct virtqueue *vq = &device->queues[index];
	int old = atomic_exchange_explicit(&vq->kick_fd, fd, memory_order_relaxed);

	/* Withdrawn as what it was announced as, whatever the features are by now. */
	if (old >= 0)
		announce_kick(device, index, old, -1);
	vq->kick_is_control = device_is_control(device, index);
	if (fd >= 0)
		announce_kick(device, index, -1, fd);
	if (old < 0)
		return;
	/* A data thread may be about to read it. */
	device_synchronize(device);
	close(old);
}

void device_reannounce_kicks(struct vl_device *device)
{
	for (unsigned i = 0; i < device->queue_count; i++) {
		struct virtqueue *vq = &device->queues[i];
		int fd = atomic_load_explicit(&vq->kick_fd, memory_order_relaxed);

		if (vq->kick_is_control == device_is_control(device, i))
			continue;
		if (fd >= 0)
			announce_kick(device, i, fd, -1);
		vq->kick_is_control = !vq->kick_is_control;
		if (fd >= 0)
			announce_kick(device, i, -1, fd);
	}
}

static void close_attention(struct vl_device *device)
{
	if (device->attention >= 0)
		close(device->attention);
	if (device->wake >= 0)
		close(device->wake);
	device->attention = device->wake = -1;
}

int device_attend_to(struct vl_device *device, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	return epoll_ctl(device->attention, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int device_want_attention(struct vl_device *device)
{
	if (device->attention >= 0)
		return device->wake;
	device->attention = epoll_create1(EPOLL_CLOEXEC);
	device->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int error = device->attention < 0 || device->wake < 0
			    ? -errno
			    : device_attend_to(device, device->wake);
	if (error < 0) {
		close_attention(device);
		return error;
	}
	device->config.attention_changed(device->config.context, -1, device->attention);
	return device->wake;
}

void device_mark_memory(const struct vl_device *device, struct memory *memory)
{
	memory->iotlb = device->iotlb;
	memory->by_reach = device->iotlb != NULL;
	for (unsigned i = 0; i < memory->count; i++)
		memory->by_reach = memory->by_reach || memory->regions[i].arriving != NULL;
}

void device_watch_region(
	const struct vl_device *device, const struct memory_region *region, bool mapped
)
{
	const struct vl_device_config *config = &device->config;
	void (*tell)(void *context, void *start, size_t size) =
		mapped ? config->memory_mapped : config->memory_unmapping;

	if (tell != NULL)
		tell(config->context, region->mapping, region->mapping_size);
}

void device_watch_memory(const struct vl_device *device, const struct memory *memory, bool mapped)
{
	for (unsigned i = 0; memory != NULL && i < memory->count; i++)
		device_watch_region(device, &memory->regions[i], mapped);
}

void device_drop_memory(struct vl_device *device, struct memory **memory)
{
	device_watch_memory(device, *memory, false);
	memory_destroy(*memory);
	*memory = NULL;
}

void device_reset(struct vl_device *device)
{
	device_unpublish_all(device);
	for (unsigned i = 0; i < device->queue_count; i++)
		device_set_kick(device, i, -1);
	for (unsigned i = 0; i < device->queue_count; i++)
		forget_queue(device, i);
	device_drop_memory(device, &device->log);
	device_drop_memory(device, &device->inflight);
	close_fd(&device->log_fd);
	device->features = (struct vl_features){0};
	(void)device_use_iommu(device);
	device->status = 0;
	device->mtu = device->config.mtu;
	memcpy(device->mac, device->config.mac, sizeof(device->mac));
	device_drop_transfer(device);
	device_reset_wishes(device);
	for (unsigned pair = 0; pair < device->config.queue_pairs; pair++)
		device_queue_changed(device, 2 * pair);
}

int device_map(
	const struct vl_device *device,
	const struct memory *old,
	const struct memory_region_request *request,
	int fd,
	struct memory **out,
	const char **why
)
{
	uint64_t max = device->config.memory_max;
	uint64_t used = memory_size(old);

	if (max != 0 && (used > max || request->size > max - used)) {
		*why = "more memory than a peer of this port may share";
		return -EFBIG;
	}
	return memory_add(old, request, fd, out, why);
}

/* ---- public ---- */

int vl_device_create(const struct vl_device_config *config, struct vl_device **out)
{
	if (config->size != sizeof(*config) || config->queue_pairs == 0
	    || config->queue_pairs > VL_QUEUE_PAIRS_MAX
	    || ((config->postcopy || config->iommu) && config->attention_changed == NULL))
		return -EINVAL;
	int isa = isa_choose(NULL);
	if (isa < 0)
		return isa;
	unsigned count = 2 * config->queue_pairs + 1;
	if (count > DEVICE_QUEUES_MAX)
		count = DEVICE_QUEUES_MAX;
	struct vl_device *device = calloc(1, sizeof(*device) + count * sizeof(device->queues[0]));
	if (device == NULL)
		return -ENOMEM;
	vhost_signal_prepare();
	device->ops = &device_ops[isa];
	device->config = *config;
	device->queue_count = count;
	device->log_fd = -1;
	device->attention = device->wake = device->fetcher = -1;
	device->mtu = config->mtu;
	memcpy(device->mac, config->mac, sizeof(device->mac));
	device->link_status = 1; /* VIRTIO_NET_S_LINK_UP */
	atomic_init(&device->usable_pairs, 1);
	for (unsigned i = 0; i < count; i++) {
		atomic_init(&device->queues[i].kick_fd, -1);
		device->queues[i].call_fd = -1;
		device->queues[i].err_fd = -1;
		device->queues[i].base_guess = true;
		device->queues[i].resume = true;
	}
	*out = device;
	return 0;
}

void vl_device_destroy(struct vl_device *device)
{
	if (device == NULL)
		return;
	vl_device_detach(device);
	if (device->fetcher >= 0)
		(void)arrivals_reap(device->fetcher, true);
	free(device);
}

int vl_device_attach(struct vl_device *device, int socket)
{
	if (device->backend != NULL)
		return -EBUSY;
	device->offered = device_supported_features(&device->config);
	struct backend_config config = device_backend_config(device);
	device->backend = backend_create(socket, &config);
	if (device->backend == NULL)
		return -ENOMEM;
	device->reason[0] = '\0';
	return 0;
}

void vl_device_detach(struct vl_device *device)
{
	if (device->backend != NULL)
		memcpy(device->reason, device->backend->reason, sizeof(device->reason));
	device_reset(device);
	device_drop_memory(device, &device->memory);
	device_drop_arrivals(device);
	device_drop_transfer(device);
	device->advised = false;
	if (device->attention >= 0) {
		device->config.attention_changed(device->config.context, device->attention, -1);
		close_attention(device);
	}
	backend_destroy(device->backend);
	device->backend = NULL;
}

void vl_device_set_offloads(struct vl_device *device, uint32_t offloads)
{
	device->config.offloads_withheld = ~offloads;
	device_update_offloads(device, device->guest_offloads);
}

void vl_device_set_link(struct vl_device *device, bool up)
{
	uint16_t status = up ? 1 /* VIRTIO_NET_S_LINK_UP */ : 0;

	if (device->link_status == status)
		return;
	device->link_status = status;
	if (device->backend != NULL)
		backend_tell_config(device->backend);
}

void vl_device_set_mtu(struct vl_device *device, uint16_t mtu)
{
	device->config.mtu = mtu;
	if (mtu == 0 || device->mtu == mtu)
		return;
	device->mtu = mtu;
	if (device->backend != NULL)
		backend_tell_config(device->backend);
}

/* Commands may wait for what the queues wait for; those that are too many for now are served when
 * we are called again. */
int device_look_for_all(struct vl_device *device)
{
	const uint64_t one = 1;
	int error = device_look_again(device);

	if (error == 0 && device_serve_control(device))
		(void)!write(device->wake, &one, sizeof(one));
	return error;
}

void vl_device_retry(struct vl_device *device)
{
	device_retry_arrivals(device);
	if (device->backend != NULL && (device->iotlb != NULL || device->arrivals != NULL))
		(void)device_look_for_all(device);
}

int vl_device_attend(struct vl_device *device)
{
	uint64_t count;

	if (device->attention < 0)
		return 0;
	bool woken = read(device->wake, &count, sizeof(count)) == sizeof(count);
	if (woken)
		device_tell_misses(device);
	/* Of misses there is nothing new before they are answered. */
	return device->arrivals == NULL ? 0 : device_attend_arrivals(device, woken);
}

int vl_device_process(struct vl_device *device)
{
	if (device->backend == NULL)
		return -ENOTCONN;
	/* Before the messages, by some of which it may be answered. */
	device_tell_misses(device);
	int result = backend_process(device->backend);
	/* A control queue that was started just now may have been kicked before. */
	if (result == 0 && device_serve_control(device))
		result = 1;
	return result;
}

const char *vl_device_reason(const struct vl_device *device)
{
	return device->backend != NULL ? device->backend->reason : device->reason;
}

void vl_device_status(const struct vl_device *device, struct vl_device_status *out)
{
	const struct backend *backend = device->backend;
	const char *name = backend == NULL ? NULL : vhost_request_name(backend->last_request);

	*out = (struct vl_device_status){
		.attached = backend != NULL,
		.features = device->features,
		.protocol_features = backend == NULL ? 0 : backend->protocol_features,
		.offloads_taken = atomic_load_explicit(
			&((struct vl_device *)device)->accepts, memory_order_relaxed
		),
		.offloads_sent = offloads_of_features(device->features.word[0], false),
		.last_message = name == NULL ? "" : name,
		.memory_regions = device->memory == NULL ? 0 : device->memory->count,
		.memory_size = memory_size(device->memory),
		.queue_count = device->queue_count,
		.pairs_up = vl_device_active_pairs(device),
		.memory_arrives = device_listens(device),
	};
}

void vl_device_queue_status(
	const struct vl_device *device, unsigned index, struct vl_queue_status *out
)
{
	const struct virtqueue *vq = &device->queues[index];
	struct queue *queue = device_live(device, index);
	struct ring_position position = ring_position_decode(
		vq->base, vl_features_have(&device->features, VL_F_RING_PACKED)
	);

	/* Numbers of a running ring are a glance: the worker may be moving them. */
	if (queue != NULL)
		ring_position(&queue->ring, &position);
	*out = (struct vl_queue_status){
		.started = vq->started,
		.enabled = vq->enabled,
		.packed = vl_features_have(&device->features, VL_F_RING_PACKED),
		.size = vq->size,
		.avail = position.next,
		.used = position.used_next,
		.kicks = atomic_load_explicit(&vq->counters.kicks, memory_order_relaxed),
		.calls = atomic_load_explicit(&vq->counters.calls, memory_order_relaxed),
		.broken = queue == NULL
				  ? vq->broken
				  : atomic_load_explicit(&queue->ring.broken, memory_order_acquire),
	};
}

bool vl_device_ready(const struct vl_device *device, unsigned pair, bool receive)
{
	struct queue *queue = device_data_queue(device, pair, receive);

	return queue != NULL && atomic_load_explicit(&queue->enabled, memory_order_relaxed);
}

unsigned vl_device_active_pairs(const struct vl_device *device)
{
	return atomic_load_explicit(
		&((struct vl_device *)device)->active_pairs, memory_order_relaxed
	);
}
