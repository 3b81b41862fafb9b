/* SPDX-License-Identifier: BSD-3-Clause */
/* What a vhost-user session asks of the device, see vhost/backend.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/device.h"
#include "memory/arrivals.h"

enum {
	OFFERED_PROTOCOL_FEATURES = 1 << VL_PROTOCOL_F_MQ | 1 << VL_PROTOCOL_F_LOG_SHMFD
				    | 1 << VL_PROTOCOL_F_RARP | 1 << VL_PROTOCOL_F_REPLY_ACK
				    | 1 << VL_PROTOCOL_F_MTU | 1 << VL_PROTOCOL_F_BACKEND_REQ
				    | 1 << VL_PROTOCOL_F_CONFIG | 1 << VL_PROTOCOL_F_RESET_DEVICE
				    | 1 << VL_PROTOCOL_F_CONFIGURE_MEM_SLOTS
				    | 1 << VL_PROTOCOL_F_INFLIGHT_SHMFD | 1 << VL_PROTOCOL_F_STATUS,
	MTU_MIN = 68, /* VIRTIO 1.3, 5.1.4.1 */
};

static uint64_t get_features(void *context)
{
	const struct vl_device *device = context;

	return device->offered.word[0];
}

static int set_features(void *context, uint64_t features)
{
	struct vl_device *device = context;
	struct vl_features wanted = {.word = {features}};

	for (unsigned bit = 0; bit < VL_FEATURE_COUNT; bit++) {
		if (vl_features_have(&wanted, bit) && !vl_features_have(&device->offered, bit)) {
			const char *name = vl_feature_name(bit);

			device_explain(
				device,
				"SET_FEATURES: bit %u (%s) was not offered",
				bit,
				name == NULL ? "unnamed" : name
			);
			return -EINVAL;
		}
	}
	/* Header size and layout follow from features, so running rings are built anew. */
	uint64_t changed = wanted.word[0] ^ device->features.word[0];
	bool same = changed == 0;
	if (!same)
		device_unpublish_all(device);
	device->features = wanted;
	if (!same) {
		int error = device_use_iommu(device);

		if (error < 0)
			return error;
	}
	/* A driver that begins anew, be it for the same, has stopped its rings; QEMU sends this
	 * once for each pair, while those of the first ones run. */
	if (device->iotlb != NULL && changed != UINT64_C(1) << VL_F_LOG_ALL
	    && !(same && device_any_started(device)))
		device_forget_translations(device);
	/* That is the front end's, at both ends of a migration; the driver does not notice. */
	if (changed == UINT64_C(1) << VL_F_LOG_ALL) {
		/* Another migration brings another log. */
		if (!vl_features_have(&wanted, VL_F_LOG_ALL))
			device_drop_memory(device, &device->log);
		return device_publish_all(device);
	}
	/* Only a driver that begins anew negotiates, be it for the same. */
	if (same && device_any_started(device))
		return 0;
	device_reset_wishes(device);
	int error = device_use_transferred(device);
	if (same || error < 0)
		return error;
	device_reannounce_kicks(device);
	return device_publish_all(device);
}

static void reset(void *context)
{
	device_reset(context);
}

/* ---- memory ---- */

/* Give running rings another table: their addresses are looked up again in it. */
static int replace_memory(struct vl_device *device, struct memory *memory)
{
	device->memory = memory;
	if (memory != NULL)
		device_mark_memory(device, memory);
	return device_publish_all(device);
}

/* Whether what is written to this memory can be logged, where it has to be. */
static int check_log(struct vl_device *device, const struct memory *memory, const char *message)
{
	if (device->log == NULL || !vl_features_have(&device->features, VL_F_LOG_ALL)
	    || memory_size(device->log) >= dirty_log_needs(memory))
		return 0;
	device_explain(device, "%s: more memory than the dirty log is for", message);
	return -EINVAL;
}

static int map_memory(
	struct vl_device *device,
	const struct memory *old,
	const struct memory_region_request *request,
	int fd,
	struct memory **out,
	const char **why
)
{
	int error = device_map(device, old, request, fd, out, why);

	if (error < 0)
		return error;
	device_mark_memory(device, *out);
	if (!device_listens(device)) {
		/* All of it is here: the guest has moved at once after all. */
		device_drop_arrivals(device);
		return 0;
	}
	error = device_enter_arrivals(device, *out);
	if (error < 0) {
		*why = "no memory for a region that arrives by postcopy";
		memory_unmap(&(*out)->regions[(*out)->count - 1]);
		memory_free_table(*out);
	}
	return error;
}

static int set_memory(
	void *context, const struct memory_region_request *requests, const int *fds, unsigned count
)
{
	struct vl_device *device = context;
	struct memory *memory = NULL;
	const char *why = "";
	int error;

	for (unsigned i = 0; i < count; i++) {
		struct memory *more;

		error = map_memory(device, memory, &requests[i], fds[i], &more, &why);
		if (error < 0) {
			device_explain(device, "SET_MEM_TABLE: %s", why);
			memory_destroy(memory);
			return error;
		}
		memory_free_table(memory);
		memory = more;
	}
	error = check_log(device, memory, "SET_MEM_TABLE");
	if (error < 0) {
		memory_destroy(memory);
		return error;
	}
	device_unpublish_all(device);
	device_drop_memory(device, &device->memory);
	device_watch_memory(device, memory, true);
	return replace_memory(device, memory);
}

static int add_memory(void *context, const struct memory_region_request *request, int fd)
{
	struct vl_device *device = context;
	struct memory *memory, *old = device->memory;
	const char *why = "";
	int error = map_memory(device, old, request, fd, &memory, &why);

	if (error < 0) {
		device_explain(device, "ADD_MEM_REG: %s", why);
		return error;
	}
	error = check_log(device, memory, "ADD_MEM_REG");
	if (error < 0) {
		memory_unmap(&memory->regions[memory->count - 1]);
		memory_free_table(memory);
		return error;
	}
	device_watch_region(device, &memory->regions[memory->count - 1], true);
	/* Old regions stay where they are, so running rings only need to see the new table. */
	device->memory = memory;
	for (unsigned i = 0; i < device->queue_count; i++) {
		struct queue *queue = device_live(device, i);

		if (queue != NULL)
			/* release: the table's content before the pointer */
			atomic_store_explicit(&queue->ring.memory, memory, memory_order_release);
	}
	device_synchronize(device);
	memory_free_table(old);
	/* A ring may have been waiting for just this region. */
	for (unsigned i = 0; i < device->queue_count; i++) {
		if (device_live(device, i) != NULL)
			continue;
		error = device_publish(device, i);
		if (error < 0)
			return error;
	}
	return 0;
}

static int remove_memory(void *context, const struct memory_region_request *request)
{
	struct vl_device *device = context;
	struct memory_region removed;
	struct memory *memory;
	int error = memory_remove(device->memory, request, &memory, &removed);

	if (error < 0) {
		device_explain(device, "REM_MEM_REG: there is no such region");
		return error;
	}
	device_unpublish_all(device);
	memory_free_table(device->memory);
	device_watch_region(device, &removed, false);
	memory_unmap(&removed);
	return replace_memory(device, memory);
}

/* ---- the dirty log ---- */

static int set_log(void *context, const struct memory_region_request *request, int fd)
{
	struct vl_device *device = context;
	struct memory *log;
	const char *why = "";

	/* The old one is gone in any case: its front end looks at the new one alone. */
	device_unpublish_all(device);
	device_drop_memory(device, &device->log);
	int error = -EINVAL;
	if (request->size < dirty_log_needs(device->memory))
		why = "the log is too small for the memory";
	else
		error = device_map(device, NULL, request, fd, &log, &why);
	if (error < 0) {
		device_explain(device, "SET_LOG_BASE: %s", why);
		(void)device_publish_all(device); /* those that need no log */
		return error;
	}
	device->log = log;
	device_watch_memory(device, log, true);
	return device_publish_all(device);
}

/* ---- IOMMU ---- */

static int iotlb_message(void *context, const struct vhost_iotlb_msg *message)
{
	return device_iotlb(context, message);
}

/* ---- postcopy ---- */

static int advise(void *context, int *fd)
{
	return device_advise(context, fd);
}

static int listen_for_faults(void *context)
{
	return device_listen(context);
}

static uint64_t fault_address(void *context, uint64_t guest_address)
{
	return device_fault_address(context, guest_address);
}

static int begin_arrivals(void *context)
{
	return device_begin_arrivals(context);
}

static int end_postcopy(void *context)
{
	return device_end_postcopy(context);
}

static int begin_transfer(void *context, uint32_t direction, uint32_t phase, int *fd)
{
	return device_begin_transfer(context, direction, phase, fd);
}

static int end_transfer(void *context)
{
	return device_end_transfer(context);
}

/* ---- for who comes after us ---- */

static int get_inflight(void *context, struct vhost_inflight *layout, int *fd)
{
	return device_get_inflight(context, layout, fd);
}

static int set_inflight(void *context, const struct vhost_inflight *layout, int fd)
{
	return device_set_inflight(context, layout, fd);
}

/* ---- rings ---- */

static int set_vring_size(void *context, unsigned index, uint32_t size)
{
	struct vl_device *device = context;

	if (size == 0 || size > VL_QUEUE_SIZE_MAX) {
		device_explain(
			device,
			"SET_VRING_NUM: queue %u: %u is not a size from 1 to %u",
			index,
			size,
			VL_QUEUE_SIZE_MAX
		);
		return -EINVAL;
	}
	if (device->queues[index].size == size)
		return 0;
	device_unpublish(device, index);
	device->queues[index].size = size;
	return device_publish(device, index);
}

static int set_vring_address(void *context, unsigned index, const struct vhost_vring_addr *address)
{
	struct vl_device *device = context;
	struct virtqueue *vq = &device->queues[index];

	device_unpublish(device, index);
	vq->address = *address;
	vq->has_address = true;
	return device_publish(device, index);
}

static int set_vring_base(void *context, unsigned index, uint32_t base)
{
	struct vl_device *device = context;
	struct virtqueue *vq = &device->queues[index];

	/* Whoever says where to begin sets the ring up anew: its addresses are about to change, and
	 * the next SET_VRING_KICK starts it. User Mode Linux does so without stopping it before. */
	device_unpublish(device, index);
	vq->started = false;
	vq->broken = NULL;
	if (!vq->resume)
		device_forget_record(device, index);
	/* Zero for a packed ring may mean "new" (see ring.c), unless it is what we have said. */
	vq->base_guess = base == 0 && !(vq->base_told && vq->base == 0);
	vq->base = base;
	vq->base_old = false;
	device_queue_changed(device, index);
	return 0;
}

static int stop_vring(void *context, unsigned index, uint32_t *base)
{
	struct vl_device *device = context;
	struct virtqueue *vq = &device->queues[index];

	device_unpublish(device, index);
	*base = vq->base;
	/* DPDK's driver begins a session with this: of a ring that has not been started in it we
	 * know nothing that would be worth more than what there is from before. */
	vq->base_told = !vq->resume;
	if (!vq->resume)
		device_forget_record(device, index);
	vq->started = false;
	vq->broken = NULL;
	device_queue_changed(device, index);
	return 0;
}

static int make_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -1 : 0;
}

/* A pipe opened again, so that its mode is ours alone; as a reader, too, it raises no SIGPIPE.
 * Another user's pipe cannot be opened without the right to: it is used as it is. */
static int adopt_pipe(int fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int own = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (own < 0)
		return make_nonblocking(fd) == 0 ? fd : -1;
	close(fd);
	return own;
}

/*
 * What the peer signals with, or is signalled with, has to be an eventfd, a pipe, or a socket (User
 * Mode Linux); other kinds could make us wait. `*fd` becomes what can be used without waiting, with
 * SIGNAL_SOCKET for a socket, or is closed. An eventfd's O_NONBLOCK is shared with the peer.
 */
static int adopt_signal_fd(struct vl_device *device, int *fd)
{
	struct stat status;
	int taken = *fd, adopted = -1;

	if (taken < 0)
		return 0;
	mode_t kind = fstat(taken, &status) < 0 ? S_IFREG : status.st_mode & S_IFMT;
	if (kind == S_IFIFO)
		adopted = adopt_pipe(taken);
	else if (kind == S_IFSOCK)
		adopted = taken | SIGNAL_SOCKET;
	else if (kind == 0 && make_nonblocking(taken) == 0)
		adopted = taken;
	if (adopted < 0)
		close(taken);
	*fd = adopted;
	if (adopted >= 0)
		return 0;
	device_explain(device, "a queue's descriptor is neither an eventfd nor a pipe");
	return -EINVAL;
}

/* May be -1: none. */
static int set_log_fd(void *context, int fd)
{
	struct vl_device *device = context;
	int error = adopt_signal_fd(device, &fd);

	if (error < 0)
		return error;
	device_unpublish_all(device);
	if (device->log_fd >= 0)
		close(device->log_fd & ~SIGNAL_SOCKET);
	device->log_fd = fd;
	return device_publish_all(device);
}

static int set_vring_kick(void *context, unsigned index, int fd)
{
	struct vl_device *device = context;

	int error = adopt_signal_fd(device, &fd);

	if (error < 0)
		return error;
	/* Its users wait for it and empty it, which is the same for all kinds. */
	device_set_kick(device, index, fd < 0 ? fd : fd & ~SIGNAL_SOCKET);
	/* "Ring states": this message starts the ring, whether the descriptor is readable or not.
	 */
	device->queues[index].started = true;
	/* It is this driver's; the next one has wishes of its own. */
	device_drop_transfer(device);
	if (device_live(device, index) == NULL)
		return device_publish(device, index);
	/* Its users may wait on the descriptor that was there, and now there may be none. */
	device_queue_changed(device, index);
	return 0;
}

/* Replace a descriptor that the data path may be writing to just now. */
static int replace_fd(struct vl_device *device, int *kept, atomic_int *live, int fd)
{
	int error = adopt_signal_fd(device, &fd);
	int old = *kept;

	if (error < 0)
		return error;
	*kept = fd;
	if (live != NULL) {
		atomic_store_explicit(live, fd, memory_order_relaxed);
		if (old >= 0)
			device_synchronize(device);
	}
	if (old >= 0)
		close(old & ~SIGNAL_SOCKET);
	return 0;
}

static int set_vring_call(void *context, unsigned index, int fd)
{
	struct vl_device *device = context;
	struct virtqueue *vq = &device->queues[index];
	struct queue *queue = device_live(device, index);
	int error = replace_fd(device, &vq->call_fd, queue == NULL ? NULL : &queue->call_fd, fd);

	/* What was completed while the old descriptor was there may have gone unnoticed. */
	if (error == 0 && queue != NULL)
		queue_notify(queue);
	return error;
}

static int set_vring_err(void *context, unsigned index, int fd)
{
	struct vl_device *device = context;
	struct virtqueue *vq = &device->queues[index];
	struct queue *queue = device_live(device, index);

	return replace_fd(device, &vq->err_fd, queue == NULL ? NULL : &queue->err_fd, fd);
}

static int enable_vring(void *context, unsigned index, bool enable)
{
	struct vl_device *device = context;
	struct virtqueue *vq = &device->queues[index];
	struct queue *queue = device_live(device, index);
	bool was = vq->enabled;

	vq->enabled = enable;
	if (was && !enable && queue != NULL) {
		/* Whoever disables a ring may take its buffers back as soon as we answer: no copy
		 * may be under way then. It is built anew, asking for kicks, and not written to
		 * before the driver uses it again. */
		device_unpublish(device, index);
		return device_publish(device, index);
	}
	if (queue != NULL)
		atomic_store_explicit(&queue->enabled, enable, memory_order_relaxed);
	device_queue_changed(device, index);
	return 0;
}

/* ---- configuration ---- */

static int get_config(void *context, uint32_t offset, uint32_t size, uint8_t *out)
{
	struct vl_device *device = context;
	uint8_t space[VHOST_CONFIG_MAX] = {0};

	/* Fields behind those we know read as zero: the reply is as long as what was asked for. */
	device_config_space(device, space);
	memcpy(out, space + offset, size);
	return 0;
}

static int
set_config(void *context, uint32_t offset, uint32_t size, const uint8_t *bytes, bool migration)
{
	struct vl_device *device = context;
	struct receive_filter *filter = atomic_load_explicit(&device->filter, memory_order_relaxed);

	/* Only a legacy driver may write, and only its address (5.1.4). */
	bool legacy_mac = !vl_features_have(&device->features, VL_F_VERSION_1)
			  && offset + size <= sizeof(device->mac);
	if (!migration && !legacy_mac) {
		device_explain(device, "SET_CONFIG: the field is read-only");
		return -EPERM;
	}
	for (uint32_t i = 0; i < size && offset + i < sizeof(device->mac); i++)
		device->mac[offset + i] = bytes[i];
	if (filter != NULL) {
		struct receive_filter *changed = receive_filter_copy(filter);

		if (changed == NULL)
			return -ENOMEM;
		memcpy(changed->mac, device->mac, sizeof(changed->mac));
		device_set_filter(device, changed);
	}
	return 0;
}

static int set_status(void *context, uint8_t status)
{
	struct vl_device *device = context;

	device->status = status;
	/* Status 0 is a reset (2.1); rings are stopped by messages of their own. */
	if (status == 0) {
		device_keep_state(device);
		device_reset_wishes(device);
		/* QEMU takes nothing back of what the driver had. */
		if (device->iotlb != NULL) {
			device_unpublish_all(device);
			device_forget_translations(device);
			return device_publish_all(device);
		}
	}
	return 0;
}

static uint8_t get_status(void *context)
{
	const struct vl_device *device = context;

	return device->status;
}

static int set_mtu(void *context, uint16_t mtu)
{
	struct vl_device *device = context;

	if (mtu < MTU_MIN) {
		device_explain(device, "NET_SET_MTU: %u is less than %u", mtu, MTU_MIN);
		return -EINVAL;
	}
	device->mtu = mtu;
	return 0;
}

static int send_rarp(void *context, const uint8_t mac[6])
{
	struct vl_device *device = context;

	if (device->config.announce != NULL)
		device->config.announce(device->config.context, mac);
	return 0;
}

const struct backend_ops device_backend_ops = {
	.get_features = get_features,
	.set_features = set_features,
	.reset = reset,
	.set_memory = set_memory,
	.add_memory = add_memory,
	.remove_memory = remove_memory,
	.set_log = set_log,
	.set_log_fd = set_log_fd,
	.iotlb = iotlb_message,
	.postcopy_advise = advise,
	.postcopy_listen = listen_for_faults,
	.postcopy_fault_address = fault_address,
	.postcopy_begin = begin_arrivals,
	.postcopy_end = end_postcopy,
	.begin_transfer = begin_transfer,
	.end_transfer = end_transfer,
	.get_inflight = get_inflight,
	.set_inflight = set_inflight,
	.set_vring_size = set_vring_size,
	.set_vring_address = set_vring_address,
	.set_vring_base = set_vring_base,
	.stop_vring = stop_vring,
	.set_vring_kick = set_vring_kick,
	.set_vring_call = set_vring_call,
	.set_vring_err = set_vring_err,
	.enable_vring = enable_vring,
	.get_config = get_config,
	.set_config = set_config,
	.set_status = set_status,
	.get_status = get_status,
	.set_mtu = set_mtu,
	.send_rarp = send_rarp,
};

struct backend_config device_backend_config(struct vl_device *device)
{
	return (struct backend_config){
		.ops = &device_backend_ops,
		.device = device,
		.queue_count = device->queue_count,
		.queue_num = device->config.queue_pairs,
		.protocol_features =
			OFFERED_PROTOCOL_FEATURES
			| (uint64_t)device->config.device_state << VL_PROTOCOL_F_DEVICE_STATE
			| (uint64_t)(device->config.postcopy && arrivals_are_possible())
				  << VL_PROTOCOL_F_PAGEFAULT,
	};
}
