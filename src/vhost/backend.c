/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The back-end session, see backend.h.
 *
 * Every request has a handler in the table at the end. A handler returns 0 when it is done: then
 * a request whose format says REPLY is answered with the payload the handler left in the
 * message, and one that says ACK is answered with a status if the front end asked for it. A
 * handler that fails ends the session, unless a status can carry the refusal (REPLY_ACK): then
 * the front end decides what to do.
 */
#include "vhost/backend.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtlane/features.h"

enum {
	MESSAGES_A_CALL = 64,
	BIT_PROTOCOL_FEATURES = VL_F_PROTOCOL_FEATURES,
};

/* What a handler may return beside 0 and errors. */
enum {
	SILENCE = 1, /* no answer, whatever the format says */
	ANSWER = 2,  /* by the message, likewise */
};

typedef int (*handler)(struct backend *backend, struct vhost_message *message);

void backend_explain(struct backend *backend, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(backend->reason, sizeof(backend->reason), format, arguments);
	va_end(arguments);
}

static int refuse(struct backend *backend, int code, const char *why)
{
	const char *name = vhost_request_name(backend->last_request);

	backend_explain(backend, "%s: %s", name == NULL ? "unknown message" : name, why);
	return code;
}

/* Answer with `size` bytes of payload, which are in place. */
static void set_reply(struct vhost_message *message, uint32_t size)
{
	message->header.size = size;
}

static void reply_u64(struct vhost_message *message, uint64_t value)
{
	message->payload.u64 = value;
	set_reply(message, sizeof(value));
}

static int vring_index(struct backend *backend, uint32_t index)
{
	if (index < backend->config.queue_count)
		return (int)index;
	backend_explain(
		backend,
		"%s: queue index %u, but the port has %u virtqueues",
		vhost_request_name(backend->last_request),
		index,
		backend->config.queue_count
	);
	return -EINVAL;
}

/* ---- features ---- */

static int get_features(struct backend *backend, struct vhost_message *message)
{
	uint64_t features = backend->config.ops->get_features(backend->config.device);

	reply_u64(message, features | UINT64_C(1) << BIT_PROTOCOL_FEATURES);
	return 0;
}

static int set_features(struct backend *backend, struct vhost_message *message)
{
	const struct backend_ops *ops = backend->config.ops;
	void *device = backend->config.device;
	uint64_t features = message->payload.u64;
	int error = ops->set_features(device, features & ~(UINT64_C(1) << BIT_PROTOCOL_FEATURES));

	if (error < 0)
		return error;
	/* "Ring states": a front end that does not know of enabling means all rings enabled. */
	if (!((features >> BIT_PROTOCOL_FEATURES) & 1)) {
		for (unsigned i = 0; i < backend->config.queue_count; i++)
			ops->enable_vring(device, i, true);
	}
	return 0;
}

static int get_protocol_features(struct backend *backend, struct vhost_message *message)
{
	reply_u64(message, backend->config.protocol_features);
	return 0;
}

static int set_protocol_features(struct backend *backend, struct vhost_message *message)
{
	if (message->payload.u64 & ~backend->config.protocol_features)
		return refuse(backend, -EINVAL, "a protocol feature that was not offered");
	backend->protocol_features = message->payload.u64;
	return 0;
}

static int set_owner(struct backend *, struct vhost_message *)
{
	return 0;
}

/* Deprecated; "it is recommended that back-ends either ignore this message, or use it to disable
 * all rings". */
static int reset_owner(struct backend *, struct vhost_message *)
{
	return 0;
}

static int get_queue_num(struct backend *backend, struct vhost_message *message)
{
	reply_u64(message, backend->config.queue_num);
	return 0;
}

static int reset_device(struct backend *backend, struct vhost_message *)
{
	backend->config.ops->reset(backend->config.device);
	return 0;
}

static int set_status(struct backend *backend, struct vhost_message *message)
{
	if (message->payload.u64 > 0xff)
		return refuse(backend, -EINVAL, "a device status has eight bits");
	return backend->config.ops->set_status(
		backend->config.device, (uint8_t)message->payload.u64
	);
}

static int get_status(struct backend *backend, struct vhost_message *message)
{
	reply_u64(message, backend->config.ops->get_status(backend->config.device));
	return 0;
}

/* ---- memory ---- */

static struct memory_region_request region_request(const struct vhost_region *region)
{
	return (struct memory_region_request){
		.guest_address = region->guest_address,
		.size = region->size,
		.user_address = region->user_address,
		.file_offset = region->mmap_offset,
	};
}

/*
 * Between POSTCOPY_LISTEN and POSTCOPY_END regions are answered by where touches of them are
 * requests for pages. When the front end has noted that, for all of them, it says so by one more
 * such message with a u64 alone, which is not answered.
 */
static bool is_ready_for_faults(const struct backend *backend, const struct vhost_message *message)
{
	return backend->listens && message->header.size == sizeof(message->payload.u64)
	       && message->fd_count == 0;
}

static int begin_faults(struct backend *backend, const struct vhost_message *message)
{
	if (message->payload.u64 != 0)
		return refuse(backend, -EPROTO, "the front end cannot serve page faults");
	int error = backend->config.ops->postcopy_begin(backend->config.device);
	return error < 0 ? error : SILENCE;
}

static int answer_region(struct backend *backend, struct vhost_region *region)
{
	region->user_address = backend->config.ops->postcopy_fault_address(
		backend->config.device, region->guest_address
	);
	return ANSWER;
}

static int set_mem_table(struct backend *backend, struct vhost_message *message)
{
	struct vhost_mem_table *table = &message->payload.table;
	struct memory_region_request requests[VHOST_TABLE_REGIONS_MAX] = {0};
	uint32_t count = table->count;

	if (is_ready_for_faults(backend, message))
		return begin_faults(backend, message);
	if (count > VHOST_TABLE_REGIONS_MAX
	    || message->header.size < offsetof(struct vhost_mem_table, regions[count]))
		return refuse(backend, -EINVAL, "more regions than the message has");
	if (message->fd_count != count)
		return refuse(
			backend,
			-EINVAL,
			"regions without a file; guest memory has to be shared: start QEMU with "
			"-object memory-backend-memfd,share=on"
		);
	for (uint32_t i = 0; i < count; i++)
		requests[i] = region_request(&table->regions[i]);
	int error = backend->config.ops->set_memory(
		backend->config.device, requests, message->fds, count
	);
	for (uint32_t i = 0; error == 0 && backend->listens && i < count; i++)
		(void)answer_region(backend, &table->regions[i]);
	return error == 0 && backend->listens ? ANSWER : error;
}

static int get_max_mem_slots(struct backend *, struct vhost_message *message)
{
	reply_u64(message, MEMORY_REGIONS_MAX);
	return 0;
}

static int add_mem_reg(struct backend *backend, struct vhost_message *message)
{
	struct vhost_region *region = &message->payload.region.region;
	struct memory_region_request request = region_request(region);

	if (is_ready_for_faults(backend, message))
		return begin_faults(backend, message);
	if (message->header.size != sizeof(message->payload.region))
		return refuse(backend, -EPROTO, "a region has 40 bytes");
	if (message->fd_count != 1)
		return refuse(backend, -EINVAL, "a region without a file");
	int error =
		backend->config.ops->add_memory(backend->config.device, &request, message->fds[0]);
	return error == 0 && backend->listens ? answer_region(backend, region) : error;
}

static int rem_mem_reg(struct backend *backend, struct vhost_message *message)
{
	struct memory_region_request request = region_request(&message->payload.region.region);

	if (is_ready_for_faults(backend, message))
		return begin_faults(backend, message);
	if (message->header.size != sizeof(message->payload.region))
		return refuse(backend, -EPROTO, "a region has 40 bytes");
	return backend->config.ops->remove_memory(backend->config.device, &request);
}

/* ---- rings ---- */

static int set_vring_num(struct backend *backend, struct vhost_message *message)
{
	int index = vring_index(backend, message->payload.state.index);

	if (index < 0)
		return index;
	return backend->config.ops->set_vring_size(
		backend->config.device, (unsigned)index, message->payload.state.num
	);
}

static int set_vring_addr(struct backend *backend, struct vhost_message *message)
{
	int index = vring_index(backend, message->payload.address.index);

	if (index < 0)
		return index;
	return backend->config.ops->set_vring_address(
		backend->config.device, (unsigned)index, &message->payload.address
	);
}

static int set_vring_base(struct backend *backend, struct vhost_message *message)
{
	int index = vring_index(backend, message->payload.state.index);

	if (index < 0)
		return index;
	return backend->config.ops->set_vring_base(
		backend->config.device, (unsigned)index, message->payload.state.num
	);
}

static int get_vring_base(struct backend *backend, struct vhost_message *message)
{
	int index = vring_index(backend, message->payload.state.index);
	uint32_t base = 0;

	if (index < 0)
		return index;
	int error = backend->config.ops->stop_vring(backend->config.device, (unsigned)index, &base);
	if (error < 0)
		return error;
	message->payload.state.num = base;
	set_reply(message, sizeof(message->payload.state));
	return 0;
}

static int enable_vring(struct backend *backend, struct vhost_message *message)
{
	int index = vring_index(backend, message->payload.state.index);

	if (index < 0)
		return index;
	if (message->payload.state.num > 1)
		return refuse(backend, -EINVAL, "neither 0 nor 1");
	return backend->config.ops->enable_vring(
		backend->config.device, (unsigned)index, message->payload.state.num
	);
}

/* The three messages with a queue index in the low bits of a u64, and a descriptor or none. */
static int vring_fd(
	struct backend *backend,
	struct vhost_message *message,
	int (*set)(void *device, unsigned index, int fd)
)
{
	uint64_t value = message->payload.u64;

	/* Not narrowed before it is checked (CVE-2020-10723). */
	if (value & ~(uint64_t)(VHOST_VRING_INDEX_MASK | VHOST_VRING_NO_FD))
		return refuse(backend, -EINVAL, "unknown bits beside the queue index");
	int index = vring_index(backend, value & VHOST_VRING_INDEX_MASK);
	if (index < 0)
		return index;
	if (!(value & VHOST_VRING_NO_FD) != (message->fd_count == 1))
		return refuse(backend, -EINVAL, "the no-descriptor flag contradicts the message");
	return set(backend->config.device, (unsigned)index, vhost_take_fd(message));
}

static int set_vring_kick(struct backend *backend, struct vhost_message *message)
{
	return vring_fd(backend, message, backend->config.ops->set_vring_kick);
}

static int set_vring_call(struct backend *backend, struct vhost_message *message)
{
	return vring_fd(backend, message, backend->config.ops->set_vring_call);
}

static int set_vring_err(struct backend *backend, struct vhost_message *message)
{
	return vring_fd(backend, message, backend->config.ops->set_vring_err);
}

/* ---- the dirty log ---- */

/* Without LOG_SHMFD its place would be an address of the front end's. */
static int set_log_base(struct backend *backend, struct vhost_message *message)
{
	const struct vhost_log *log = &message->payload.log;
	struct memory_region_request request = {.size = log->size, .file_offset = log->offset};
	int error = -EINVAL;

	if (message->header.size != sizeof(*log) || message->fd_count != 1
	    || !backend_has(backend, VL_PROTOCOL_F_LOG_SHMFD))
		(void)refuse(backend, error, "a log comes as a file, by LOG_SHMFD");
	else
		error = backend->config.ops->set_log(
			backend->config.device, &request, message->fds[0]
		);
	reply_u64(message, error < 0 ? 1 : 0);
	return 0;
}

static int set_log_fd(struct backend *backend, struct vhost_message *message)
{
	return backend->config.ops->set_log_fd(backend->config.device, vhost_take_fd(message));
}

/* ---- IOMMU ---- */

static int iotlb_msg(struct backend *backend, struct vhost_message *message)
{
	int error = backend->config.ops->iotlb(backend->config.device, &message->payload.iotlb);

	reply_u64(message, error < 0 ? 1 : 0);
	return 0;
}

bool backend_tell_miss(struct backend *backend, const struct vhost_iotlb_msg *miss)
{
	const struct vhost_message message = {
		.header = {VHOST_BACKEND_IOTLB_MSG, VHOST_VERSION, sizeof(*miss)},
		.payload.iotlb = *miss,
	};

	return backend->request_fd >= 0 && backend_has(backend, VL_PROTOCOL_F_BACKEND_REQ)
	       && vhost_write(backend->request_fd, &message) == 0;
}

/* ---- postcopy ---- */

/* Without a descriptor there is none. */
static int postcopy_advise(struct backend *backend, struct vhost_message *message)
{
	int fd = -1;

	if (backend_has(backend, VL_PROTOCOL_F_PAGEFAULT))
		(void)backend->config.ops->postcopy_advise(backend->config.device, &fd);
	set_reply(message, 0);
	if (fd >= 0)
		message->fds[message->fd_count++] = fd;
	return 0;
}

static int postcopy_listen(struct backend *backend, struct vhost_message *)
{
	if (!backend_has(backend, VL_PROTOCOL_F_PAGEFAULT))
		return refuse(backend, -EOPNOTSUPP, "PAGEFAULT was not negotiated");
	int error = backend->config.ops->postcopy_listen(backend->config.device);

	backend->listens = error == 0;
	return error;
}

static int postcopy_end(struct backend *backend, struct vhost_message *message)
{
	int error = backend->config.ops->postcopy_end(backend->config.device);

	backend->listens = false;
	reply_u64(message, error < 0 ? 1 : 0);
	return 0;
}

/* ---- the device's state ---- */

/* By a file of ours: the front end's own is closed. An error comes without a descriptor. */
static int set_device_state_fd(struct backend *backend, struct vhost_message *message)
{
	const struct vhost_state_transfer wanted = message->payload.state_transfer;
	int fd = -1;

	if (backend_has(backend, VL_PROTOCOL_F_DEVICE_STATE))
		(void)backend->config.ops->begin_transfer(
			backend->config.device, wanted.direction, wanted.phase, &fd
		);
	reply_u64(message, fd < 0 ? 1 | VHOST_VRING_NO_FD : 0);
	while (message->fd_count > 0)
		close(message->fds[--message->fd_count]);
	if (fd >= 0)
		message->fds[message->fd_count++] = fd;
	return 0;
}

static int check_device_state(struct backend *backend, struct vhost_message *message)
{
	int error = backend_has(backend, VL_PROTOCOL_F_DEVICE_STATE)
			    ? backend->config.ops->end_transfer(backend->config.device)
			    : -EOPNOTSUPP;

	reply_u64(message, error < 0 ? 1 : 0);
	return 0;
}

/* ---- what is in flight ---- */

/* Without a descriptor, and with a size of zero, there is none. */
static int get_inflight_fd(struct backend *backend, struct vhost_message *message)
{
	struct vhost_inflight *layout = &message->payload.inflight;
	int fd = -1;

	if (backend->config.ops->get_inflight(backend->config.device, layout, &fd) < 0)
		layout->mmap_size = layout->mmap_offset = 0;
	if (fd >= 0)
		message->fds[message->fd_count++] = fd;
	return 0;
}

static int set_inflight_fd(struct backend *backend, struct vhost_message *message)
{
	if (message->fd_count != 1)
		return refuse(backend, -EINVAL, "a region without a file");
	return backend->config.ops->set_inflight(
		backend->config.device, &message->payload.inflight, message->fds[0]
	);
}

/* ---- network device ---- */

static int get_config(struct backend *backend, struct vhost_message *message)
{
	struct vhost_config *config = &message->payload.config;
	uint32_t size = message->header.size - VHOST_CONFIG_HEADER;

	/* The reply is exactly as large as the request; no bytes at all mean an error. */
	if (config->size != size || config->offset > VHOST_CONFIG_MAX - size
	    || backend->config.ops->get_config(
		       backend->config.device, config->offset, size, config->bytes
	       ) < 0) {
		config->size = 0;
		set_reply(message, VHOST_CONFIG_HEADER);
		return 0;
	}
	set_reply(message, VHOST_CONFIG_HEADER + size);
	return 0;
}

static int set_config(struct backend *backend, struct vhost_message *message)
{
	const struct vhost_config *config = &message->payload.config;
	uint32_t size = message->header.size - VHOST_CONFIG_HEADER;

	if (config->size != size || config->offset > VHOST_CONFIG_MAX - size)
		return refuse(backend, -EINVAL, "sizes do not agree");
	return backend->config.ops->set_config(
		backend->config.device,
		config->offset,
		size,
		config->bytes,
		config->flags & VHOST_CONFIG_MIGRATION
	);
}

static int set_mtu(struct backend *backend, struct vhost_message *message)
{
	if (message->payload.u64 > UINT16_MAX)
		return refuse(backend, -EINVAL, "an MTU has 16 bits");
	return backend->config.ops->set_mtu(backend->config.device, (uint16_t)message->payload.u64);
}

static int send_rarp(struct backend *backend, struct vhost_message *message)
{
	return backend->config.ops->send_rarp(backend->config.device, message->payload.bytes);
}

static int set_backend_req_fd(struct backend *backend, struct vhost_message *message)
{
	int fd = vhost_take_fd(message);

	struct stat status;

	if (fd < 0)
		return refuse(backend, -EINVAL, "no descriptor");
	if (fstat(fd, &status) < 0 || !S_ISSOCK(status.st_mode)) {
		close(fd);
		return refuse(backend, -EINVAL, "it is no socket");
	}
	if (backend->request_fd >= 0)
		close(backend->request_fd);
	backend->request_fd = fd;
	return 0;
}

/* ---- what this device does not have: the answer the specification gives for it ---- */

/* CREATE_CRYPTO_SESSION: a negative session id, the last eight bytes of the payload. */
static int answer_no_session(struct backend *, struct vhost_message *message)
{
	uint64_t id = UINT64_MAX;

	if (message->header.size < sizeof(id))
		message->header.size = sizeof(id);
	memcpy(message->payload.bytes + message->header.size - sizeof(id), &id, sizeof(id));
	return 0;
}

/* GET_SHMEM_CONFIG: no regions.
 * GET_SHARED_OBJECT: no descriptor. */
static int answer_nothing(struct backend *backend, struct vhost_message *message)
{
	static const uint32_t sizes[VHOST_REQUEST_COUNT] = {
		[VHOST_USER_GET_SHMEM_CONFIG] = 8 + 256 * 8,
	};

	memset(&message->payload, 0, sizeof(message->payload));
	set_reply(message, sizes[backend->last_request]);
	return 0;
}

static const handler handlers[VHOST_REQUEST_COUNT] = {
	[VHOST_USER_GET_FEATURES] = get_features,
	[VHOST_USER_SET_FEATURES] = set_features,
	[VHOST_USER_SET_OWNER] = set_owner,
	[VHOST_USER_RESET_OWNER] = reset_owner,
	[VHOST_USER_SET_MEM_TABLE] = set_mem_table,
	[VHOST_USER_SET_LOG_BASE] = set_log_base,
	[VHOST_USER_SET_LOG_FD] = set_log_fd,
	[VHOST_USER_SET_VRING_NUM] = set_vring_num,
	[VHOST_USER_SET_VRING_ADDR] = set_vring_addr,
	[VHOST_USER_SET_VRING_BASE] = set_vring_base,
	[VHOST_USER_GET_VRING_BASE] = get_vring_base,
	[VHOST_USER_SET_VRING_KICK] = set_vring_kick,
	[VHOST_USER_SET_VRING_CALL] = set_vring_call,
	[VHOST_USER_SET_VRING_ERR] = set_vring_err,
	[VHOST_USER_GET_PROTOCOL_FEATURES] = get_protocol_features,
	[VHOST_USER_SET_PROTOCOL_FEATURES] = set_protocol_features,
	[VHOST_USER_GET_QUEUE_NUM] = get_queue_num,
	[VHOST_USER_SET_VRING_ENABLE] = enable_vring,
	[VHOST_USER_SEND_RARP] = send_rarp,
	[VHOST_USER_NET_SET_MTU] = set_mtu,
	[VHOST_USER_SET_BACKEND_REQ_FD] = set_backend_req_fd,
	[VHOST_USER_IOTLB_MSG] = iotlb_msg,
	[VHOST_USER_GET_CONFIG] = get_config,
	[VHOST_USER_SET_CONFIG] = set_config,
	[VHOST_USER_CREATE_CRYPTO_SESSION] = answer_no_session,
	[VHOST_USER_POSTCOPY_ADVISE] = postcopy_advise,
	[VHOST_USER_POSTCOPY_LISTEN] = postcopy_listen,
	[VHOST_USER_POSTCOPY_END] = postcopy_end,
	[VHOST_USER_GET_INFLIGHT_FD] = get_inflight_fd,
	[VHOST_USER_SET_INFLIGHT_FD] = set_inflight_fd,
	[VHOST_USER_RESET_DEVICE] = reset_device,
	[VHOST_USER_GET_MAX_MEM_SLOTS] = get_max_mem_slots,
	[VHOST_USER_ADD_MEM_REG] = add_mem_reg,
	[VHOST_USER_REM_MEM_REG] = rem_mem_reg,
	[VHOST_USER_SET_STATUS] = set_status,
	[VHOST_USER_GET_STATUS] = get_status,
	[VHOST_USER_GET_SHARED_OBJECT] = answer_nothing,
	[VHOST_USER_SET_DEVICE_STATE_FD] = set_device_state_fd,
	[VHOST_USER_CHECK_DEVICE_STATE] = check_device_state,
	[VHOST_USER_GET_SHMEM_CONFIG] = answer_nothing,
	/* A network device has nothing in flight that could be skipped. */
	[VHOST_USER_GET_VRING_BASE_SKIP_DRAIN] = get_vring_base,
};

/* Whether the message is one the specification has, in the form it gives it. */
static int check_format(struct backend *backend, const struct vhost_message *message)
{
	const struct vhost_request_format *format = vhost_request_format(message->header.request);

	if (format == NULL) {
		backend_explain(backend, "message %u is unknown", message->header.request);
		return -EOPNOTSUPP;
	}
	if (message->header.size < format->size_min || message->header.size > format->size_max) {
		backend_explain(
			backend,
			"%s has %u bytes of payload instead of %u",
			format->name,
			message->header.size,
			message->header.size < format->size_min ? format->size_min
								: format->size_max
		);
		return -EPROTO;
	}
	if (message->fd_count > format->fds_max) {
		backend_explain(
			backend, "%s came with %u descriptors", format->name, message->fd_count
		);
		return -EPROTO;
	}
	if (handlers[message->header.request] == NULL) {
		backend_explain(backend, "%s is not supported", format->name);
		return -EOPNOTSUPP;
	}
	return 0;
}

static int send_reply(struct backend *backend, struct vhost_message *message)
{
	message->header.flags = VHOST_VERSION | VHOST_FLAG_REPLY;
	/* Descriptors that are here now were added by the handler, or are of a request that is
	 * answered by a status; the reader closes them in any case. */
	struct vhost_message reply = {.header = message->header};

	if (message->header.request == VHOST_USER_GET_INFLIGHT_FD
	    || message->header.request == VHOST_USER_POSTCOPY_ADVISE
	    || message->header.request == VHOST_USER_SET_DEVICE_STATE_FD) {
		reply.fd_count = message->fd_count;
		memcpy(reply.fds, message->fds, sizeof(reply.fds));
	}
	memcpy(&reply.payload, &message->payload, message->header.size);
	int error = vhost_write(backend->socket, &reply);
	if (error == -EAGAIN)
		backend_explain(backend, "the front end does not read its replies");
	else if (error < 0)
		backend_explain(backend, "cannot answer: %s", strerror(-error));
	return error;
}

static int handle(struct backend *backend)
{
	struct vhost_message *message = &backend->reader.message;
	/* NEED_REPLY means something only once REPLY_ACK was negotiated; the message that
	 * negotiates it may already ask for one. */
	bool asked = message->header.flags & VHOST_FLAG_NEED_REPLY;

	backend->last_request = message->header.request;
	int error = check_format(backend, message);
	if (error == 0)
		error = handlers[message->header.request](backend, message);
	bool can_ack = asked && backend_has(backend, VL_PROTOCOL_F_REPLY_ACK);
	const struct vhost_request_format *format = vhost_request_format(message->header.request);

	if (error == -EPROTO)
		return error;
	if (error == SILENCE)
		return 0;
	if (error == ANSWER || (error == 0 && format->reply == VHOST_REPLY_PAYLOAD))
		return send_reply(backend, message);
	if (!can_ack)
		return error;
	reply_u64(message, error == 0 ? 0 : 1);
	return send_reply(backend, message);
}

void backend_tell_config(struct backend *backend)
{
	const struct vhost_message message = {
		.header = {VHOST_BACKEND_CONFIG_CHANGE_MSG, VHOST_VERSION, 0},
	};

	if (backend->request_fd >= 0 && backend_has(backend, VL_PROTOCOL_F_CONFIG)
	    && backend_has(backend, VL_PROTOCOL_F_BACKEND_REQ))
		(void)vhost_write(backend->request_fd, &message);
}

int backend_process(struct backend *backend)
{
	for (unsigned i = 0; i < MESSAGES_A_CALL; i++) {
		const char *why = NULL;
		int got = vhost_read(&backend->reader, backend->socket, &why);

		if (got == -ECONNRESET)
			backend_explain(backend, "the peer hung up");
		else if (got < 0)
			backend_explain(backend, "%s", why == NULL ? strerror(-got) : why);
		if (got <= 0)
			return got;
		int error = handle(backend);
		vhost_reader_reset(&backend->reader);
		if (error < 0)
			return error == -ECONNRESET ? -EPIPE : error;
	}
	return 1;
}

struct backend *backend_create(int socket, const struct backend_config *config)
{
	struct backend *backend = calloc(1, sizeof(*backend));

	if (backend == NULL)
		return NULL;
	backend->config = *config;
	backend->socket = socket;
	backend->request_fd = -1;
	backend->reader.size_limit = VHOST_PAYLOAD_MAX;
	return backend;
}

void backend_destroy(struct backend *backend)
{
	if (backend == NULL)
		return;
	vhost_reader_reset(&backend->reader);
	if (backend->request_fd >= 0)
		close(backend->request_fd);
	close(backend->socket);
	free(backend);
}
