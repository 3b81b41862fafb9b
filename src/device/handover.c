/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device as bytes and descriptors, for the process that comes after this one (see
 * virtlane/device.h). The bytes are structs as they are: both processes run on one machine. What
 * changes their meaning changes the version; who reads them believes no number that it has not
 * checked, for they may be another version's all the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/device.h"

enum {
	STATE_MAGIC = 0x764c6476,
	STATE_VERSION = 2,
	NO_FD = -1,
	/* How a descriptor was adopted (session.c). */
	FD_SOCKET = 1 << 0,
};

struct saved_region {
	uint64_t guest_address, size, user_address, file_offset;
};

struct saved_queue {
	struct vhost_vring_addr address;
	uint32_t size, base;
	bool has_address, started, enabled, base_guess, base_told, base_old, resume, broken;
	bool has_kick, has_call, has_err, call_is_socket, err_is_socket;
	uint64_t kicks, calls, discarded_frames, discarded_bytes;
};

struct saved_device {
	uint32_t magic, version;
	uint32_t size; /* of this struct */
	uint32_t queue_count, region_count;
	struct vl_features offered, features;
	uint64_t protocol_features, guest_offloads;
	uint32_t last_request, chosen_pairs;
	uint32_t message_size, message_fds; /* of the message that is being read */
	uint8_t status, mac[6];
	uint16_t mtu, link_status;
	bool has_log, has_inflight, has_log_fd, log_fd_is_socket, has_request_fd, has_filter;
	bool has_transferred, transferred_loads;
	struct vhost_inflight inflight_layout;
};

/* ---- save ---- */

struct writer {
	struct vl_device_state *state;
	size_t size_max;
	unsigned fds_max;
};

static void put(struct writer *writer, const void *bytes, size_t size)
{
	memcpy((uint8_t *)writer->state->bytes + writer->state->size, bytes, size);
	writer->state->size += size;
}

static void put_fd(struct writer *writer, int fd)
{
	if (fd >= 0)
		writer->state->fds[writer->state->fd_count++] = fd & ~SIGNAL_SOCKET;
}

static void put_memory(struct writer *writer, const struct memory *memory)
{
	for (unsigned i = 0; memory != NULL && i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i];
		struct saved_region saved = {
			region->guest_address,
			region->size,
			region->user_address,
			region->file_offset,
		};

		put(writer, &saved, sizeof(saved));
		put_fd(writer, region->fd);
	}
}

static bool is_socket(int fd)
{
	return fd >= 0 && fd & SIGNAL_SOCKET;
}

/* One that runs goes on from what is in its memory. */
static void put_queue(struct writer *writer, struct vl_device *device, unsigned index)
{
	const struct virtqueue *vq = &device->queues[index];
	struct queue *live = device_live(device, index);
	const char *broken =
		live == NULL ? vq->broken
			     : atomic_load_explicit(&live->ring.broken, memory_order_relaxed);
	int kick = atomic_load_explicit(&((struct virtqueue *)vq)->kick_fd, memory_order_relaxed);
	struct queue_counters *counters = &((struct virtqueue *)vq)->counters;
	struct saved_queue saved = {
		.address = vq->address,
		.size = vq->size,
		.base = vq->base,
		.has_address = vq->has_address,
		.started = vq->started,
		.enabled = vq->enabled,
		.base_guess = vq->base_guess,
		.base_told = vq->base_told,
		.base_old = vq->base_old || live != NULL,
		.resume = vq->resume || live != NULL,
		.broken = broken != NULL,
		.has_kick = kick >= 0,
		.has_call = vq->call_fd >= 0,
		.has_err = vq->err_fd >= 0,
		.call_is_socket = is_socket(vq->call_fd),
		.err_is_socket = is_socket(vq->err_fd),
		.kicks = atomic_load_explicit(&counters->kicks, memory_order_relaxed),
		.calls = atomic_load_explicit(&counters->calls, memory_order_relaxed),
		.discarded_frames =
			atomic_load_explicit(&counters->discarded_frames, memory_order_relaxed),
		.discarded_bytes =
			atomic_load_explicit(&counters->discarded_bytes, memory_order_relaxed),
	};

	if (live != NULL)
		(void)device_base_to_resume(device, index, &saved.base);
	put(writer, &saved, sizeof(saved));
	put_fd(writer, kick);
	put_fd(writer, vq->call_fd);
	put_fd(writer, vq->err_fd);
}

static unsigned region_count(const struct memory *memory)
{
	return memory == NULL ? 0 : memory->count;
}

static void put_device(struct writer *writer, struct vl_device *device)
{
	const struct backend *backend = device->backend;
	const struct vhost_reader *reader = &backend->reader;
	const struct receive_filter *filter =
		atomic_load_explicit(&device->filter, memory_order_relaxed);
	bool loads = false;
	/* One that is under way fails. */
	const void *transferred = device_transferred(device, &loads);
	struct saved_device saved = {
		.magic = STATE_MAGIC,
		.version = STATE_VERSION,
		.size = sizeof(saved),
		.queue_count = device->queue_count,
		.region_count = region_count(device->memory),
		.offered = device->offered,
		.features = device->features,
		.protocol_features = backend->protocol_features,
		.guest_offloads = device->guest_offloads,
		.last_request = backend->last_request,
		.chosen_pairs = atomic_load_explicit(&device->chosen_pairs, memory_order_relaxed),
		.message_size = (uint32_t)reader->have,
		.message_fds = reader->message.fd_count,
		.status = device->status,
		.mtu = device->mtu,
		.link_status = device->link_status,
		.has_log = device->log != NULL,
		.has_inflight = device->inflight != NULL,
		.has_log_fd = device->log_fd >= 0,
		.log_fd_is_socket = is_socket(device->log_fd),
		.has_request_fd = backend->request_fd >= 0,
		.has_filter = filter != NULL,
		.has_transferred = transferred != NULL,
		.transferred_loads = loads,
		.inflight_layout = device->inflight_layout,
	};

	memcpy(saved.mac, device->mac, sizeof(saved.mac));
	put(writer, &saved, sizeof(saved));
	put_fd(writer, backend->socket);
	put_fd(writer, backend->request_fd);
	put_fd(writer, device->log_fd);
	put_memory(writer, device->memory);
	put_memory(writer, device->log);
	put_memory(writer, device->inflight);
	if (filter != NULL)
		put(writer, filter, sizeof(*filter));
	if (transferred != NULL)
		put(writer, transferred, device_transferred_size());
	/* As it lies in memory: `have` counts the gap behind the header, too. */
	put(writer, &reader->message, reader->have);
	for (unsigned i = 0; i < reader->message.fd_count; i++)
		put_fd(writer, reader->message.fds[i]);
	for (unsigned i = 0; i < device->queue_count; i++)
		put_queue(writer, device, i);
}

/* `stop`: no queue runs any more. */
static int save(struct vl_device *device, struct vl_device_state *out, bool stop)
{
	unsigned regions = region_count(device->memory) + 2;
	struct writer writer = {
		.state = out,
		.size_max = sizeof(struct saved_device) + regions * sizeof(struct saved_region)
			    + sizeof(struct receive_filter) + device_transferred_size()
			    + sizeof(struct vhost_message)
			    + device->queue_count * sizeof(struct saved_queue),
		.fds_max = 3 + regions + VHOST_FDS_MAX + 3 * device->queue_count,
	};

	*out = (struct vl_device_state){0};
	if (device->backend == NULL)
		return -ENOTCONN;
	/* Faults are asked of this process. */
	if (device_listens(device))
		return -EBUSY;
	if (stop)
		device_drop_arrivals(device);
	out->bytes = malloc(writer.size_max);
	out->fds = calloc(writer.fds_max, sizeof(out->fds[0]));
	if (out->bytes == NULL || out->fds == NULL) {
		vl_device_state_free(out);
		return -ENOMEM;
	}
	if (stop)
		device_unpublish_all(device);
	put_device(&writer, device);
	return 0;
}

int vl_device_save(struct vl_device *device, struct vl_device_state *out)
{
	return save(device, out, true);
}

int vl_device_snapshot(struct vl_device *device, struct vl_device_state *out)
{
	uint32_t base;

	*out = (struct vl_device_state){0};
	/* What has come with half a message is nobody's yet. */
	if (device->backend != NULL && device->backend->reader.message.fd_count > 0)
		return -EBUSY;
	for (unsigned i = 0; i < device->queue_count; i++) {
		if (device_live(device, i) != NULL && !device_base_to_resume(device, i, &base))
			return -ENOTSUP;
	}
	return save(device, out, false);
}

int vl_device_go_on(struct vl_device *device)
{
	int first = 0;

	for (unsigned i = 0; i < device->queue_count; i++) {
		bool resumes = device->queues[i].resume;

		int error = device_live(device, i) == NULL ? device_publish(device, i) : 0;
		first = first < 0 ? first : error;
		/* The process that died may not have come to it. */
		if (resumes && device_live(device, i) != NULL)
			queue_notify(device_live(device, i));
	}
	for (unsigned i = 0; i < device->config.queue_pairs; i++)
		device_queue_changed(device, 2 * i);
	return first;
}

void vl_device_state_free(struct vl_device_state *state)
{
	free(state->bytes);
	free(state->fds);
	*state = (struct vl_device_state){0};
}

/* ---- load ---- */

/* Descriptors are taken in order; a failed load gives none of them away, see give_up(). */
struct reader {
	const struct vl_device_state *state;
	size_t at;
	unsigned fd_at;
};

static int get(struct reader *reader, void *bytes, size_t size)
{
	if (size > reader->state->size - reader->at)
		return -EINVAL;
	memcpy(bytes, (const uint8_t *)reader->state->bytes + reader->at, size);
	reader->at += size;
	return 0;
}

static int get_fd(struct reader *reader, bool has, int *fd)
{
	*fd = NO_FD;
	if (!has)
		return 0;
	if (reader->fd_at == reader->state->fd_count)
		return -EINVAL;
	*fd = reader->state->fds[reader->fd_at++];
	return 0;
}

/* Regions are mapped from the descriptor, which is the caller's: memory keeps one of its own. */
static int get_memory(
	struct reader *reader,
	struct vl_device *device,
	unsigned count,
	struct memory **out,
	const char **why
)
{
	for (unsigned i = 0; i < count; i++) {
		struct saved_region saved;
		struct memory *more;
		int fd, error = get(reader, &saved, sizeof(saved));

		if (error == 0)
			error = get_fd(reader, true, &fd);
		if (error < 0)
			return error;
		struct memory_region_request request = {
			saved.guest_address,
			saved.size,
			saved.user_address,
			saved.file_offset,
		};
		error = device_map(device, *out, &request, fd, &more, why);
		if (error < 0)
			return error;
		memory_free_table(*out);
		*out = more;
		device_watch_region(device, &more->regions[i], true);
	}
	return 0;
}

static int with_kind(int fd, bool socket)
{
	return fd >= 0 && socket ? fd | SIGNAL_SOCKET : fd;
}

static int get_queue(struct reader *reader, struct vl_device *device, unsigned index, int *kick)
{
	struct virtqueue *vq = &device->queues[index];
	struct saved_queue saved;
	int call, err, error = get(reader, &saved, sizeof(saved));

	if (error == 0)
		error = get_fd(reader, saved.has_kick, kick);
	if (error == 0)
		error = get_fd(reader, saved.has_call, &call);
	if (error == 0)
		error = get_fd(reader, saved.has_err, &err);
	if (error < 0 || saved.size > VL_QUEUE_SIZE_MAX)
		return -EINVAL;
	vq->address = saved.address;
	vq->size = saved.size;
	vq->base = saved.base;
	vq->has_address = saved.has_address;
	vq->started = saved.started;
	vq->enabled = saved.enabled;
	vq->base_guess = saved.base_guess;
	vq->base_told = saved.base_told;
	vq->base_old = saved.base_old;
	vq->resume = saved.resume;
	vq->broken = saved.broken ? "it broke the rules before this process took it over" : NULL;
	vq->call_fd = with_kind(call, saved.call_is_socket);
	vq->err_fd = with_kind(err, saved.err_is_socket);
	atomic_store_explicit(&vq->counters.kicks, saved.kicks, memory_order_relaxed);
	atomic_store_explicit(&vq->counters.calls, saved.calls, memory_order_relaxed);
	atomic_store_explicit(
		&vq->counters.discarded_frames, saved.discarded_frames, memory_order_relaxed
	);
	atomic_store_explicit(
		&vq->counters.discarded_bytes, saved.discarded_bytes, memory_order_relaxed
	);
	return 0;
}

static int get_filter(struct reader *reader, struct vl_device *device)
{
	struct receive_filter *filter = malloc(sizeof(*filter));
	int error = filter == NULL ? -ENOMEM : get(reader, filter, sizeof(*filter));

	if (error == 0
	    && (filter->unicast_count > FILTER_MACS_MAX || filter->multicast_count > FILTER_MACS_MAX
	    ))
		error = -EINVAL;
	if (error < 0)
		free(filter);
	else
		device_set_filter(device, filter);
	return error;
}

/* The message that the other process was reading. */
static int get_transferred(struct reader *reader, struct vl_device *device, bool loads)
{
	void *state = malloc(device_transferred_size());
	int error = state == NULL ? -ENOMEM : get(reader, state, device_transferred_size());

	if (error == 0)
		error = device_set_transferred(device, state, loads);
	free(state);
	return error;
}

static int
get_message(struct reader *reader, struct vhost_reader *to, const struct saved_device *saved)
{
	if (saved->message_size > offsetof(struct vhost_message, fd_count)
	    || saved->message_fds > VHOST_FDS_MAX)
		return -EINVAL;
	int error = get(reader, &to->message, saved->message_size);
	for (unsigned i = 0; error == 0 && i < saved->message_fds; i++)
		error = get_fd(reader, true, &to->message.fds[i]);
	if (error < 0)
		return error;
	to->message.fd_count = saved->message_fds;
	to->have = saved->message_size;
	return 0;
}

static int check_saved(struct vl_device *device, const struct saved_device *saved)
{
	if (saved->magic != STATE_MAGIC || saved->version != STATE_VERSION
	    || saved->size != sizeof(*saved)) {
		device_explain(
			device,
			"its state is of version %u, this is version %u",
			saved->version,
			STATE_VERSION
		);
		return -EPROTO;
	}
	if (saved->queue_count != device->queue_count || saved->region_count > MEMORY_REGIONS_MAX) {
		device_explain(device, "its state is of a device with other queues");
		return -EINVAL;
	}
	return 0;
}

static void set_device(struct vl_device *device, const struct saved_device *saved)
{
	device->offered = saved->offered;
	device->features = saved->features;
	device->status = saved->status;
	device->mtu = saved->mtu;
	device->link_status = saved->link_status;
	memcpy(device->mac, saved->mac, sizeof(device->mac));
	device->inflight_layout = saved->inflight_layout;
	device->backend->protocol_features = saved->protocol_features;
	device->backend->last_request = saved->last_request;
	device_update_offloads(device, saved->guest_offloads);
	device_update_pairs(device);
	atomic_store_explicit(&device->chosen_pairs, saved->chosen_pairs, memory_order_relaxed);
}

static int get_device(
	struct reader *reader,
	struct vl_device *device,
	const struct saved_device *saved,
	int kicks[],
	const char **why
)
{
	int log_fd, error = get_fd(reader, saved->has_request_fd, &device->backend->request_fd);

	if (error == 0)
		error = get_fd(reader, saved->has_log_fd, &log_fd);
	if (error < 0)
		return error;
	device->log_fd = with_kind(log_fd, saved->log_fd_is_socket);
	set_device(device, saved);
	error = device_use_iommu(device);
	if (error < 0)
		return error;
	error = get_memory(reader, device, saved->region_count, &device->memory, why);
	if (error == 0 && device->memory != NULL)
		device_mark_memory(device, device->memory);
	if (error == 0)
		error = get_memory(reader, device, saved->has_log, &device->log, why);
	if (error == 0)
		error = get_memory(reader, device, saved->has_inflight, &device->inflight, why);
	if (error == 0 && saved->has_filter)
		error = get_filter(reader, device);
	if (error == 0 && saved->has_transferred)
		error = get_transferred(reader, device, saved->transferred_loads);
	if (error == 0)
		error = get_message(reader, &device->backend->reader, saved);
	for (unsigned i = 0; error == 0 && i < device->queue_count; i++)
		error = get_queue(reader, device, i, &kicks[i]);
	return error == 0 && reader->fd_at != reader->state->fd_count ? -EINVAL : error;
}

/* The descriptors are the caller's: forget them, and take what was mapped down. */
static void give_up(struct vl_device *device)
{
	char reason[BACKEND_REASON_SIZE];

	memcpy(reason, device->backend->reason, sizeof(reason));
	for (unsigned i = 0; i < device->queue_count; i++)
		device->queues[i].call_fd = device->queues[i].err_fd = NO_FD;
	device->log_fd = NO_FD;
	device->backend->request_fd = NO_FD;
	device->backend->reader.message.fd_count = 0;
	device->backend->socket = NO_FD;
	vl_device_detach(device);
	memcpy(device->reason, reason, sizeof(reason));
}

static void close_region_fds(const struct vl_device_state *state, const struct saved_device *saved)
{
	unsigned at = 1u + saved->has_request_fd + saved->has_log_fd;
	unsigned count = saved->region_count + saved->has_log + saved->has_inflight;

	for (unsigned i = 0; i < count; i++)
		close(state->fds[at + i]);
}

int vl_device_load(struct vl_device *device, const struct vl_device_state *state)
{
	struct reader reader = {.state = state};
	struct saved_device saved;
	int kicks[DEVICE_QUEUES_MAX];
	const char *why = "its state is damaged";
	int socket;

	if (device->backend != NULL)
		return -EBUSY;
	int error = get(&reader, &saved, sizeof(saved));
	if (error == 0)
		error = check_saved(device, &saved);
	if (error == 0)
		error = get_fd(&reader, true, &socket);
	if (error == 0)
		error = vl_device_attach(device, socket);
	if (error < 0)
		return error;
	error = get_device(&reader, device, &saved, kicks, &why);
	if (error < 0) {
		device_explain(device, "%s", why);
		give_up(device);
		return error;
	}
	close_region_fds(state, &saved);
	for (unsigned i = 0; i < device->queue_count; i++)
		device_set_kick(device, i, kicks[i]);
	return 0;
}

int vl_device_socket(const struct vl_device *device)
{
	return device->backend == NULL ? -1 : device->backend->socket;
}
