/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user messages (QEMU, docs/interop/vhost-user): numbers, payloads, and how they are read
 * and written. Used by the back end, and by the front end of the driver side.
 */
#pragma once

#include <assert.h>
#include <linux/vhost_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vhost_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SEND_RARP = 19,
	VHOST_USER_NET_SET_MTU = 20,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_IOTLB_MSG = 22,
	VHOST_USER_SET_VRING_ENDIAN = 23,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_CREATE_CRYPTO_SESSION = 26,
	VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
	VHOST_USER_POSTCOPY_ADVISE = 28,
	VHOST_USER_POSTCOPY_LISTEN = 29,
	VHOST_USER_POSTCOPY_END = 30,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_GPU_SET_SOCKET = 33,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_VRING_KICK = 35,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_GET_SHARED_OBJECT = 41,
	VHOST_USER_SET_DEVICE_STATE_FD = 42,
	VHOST_USER_CHECK_DEVICE_STATE = 43,
	VHOST_USER_GET_SHMEM_CONFIG = 44,
	VHOST_USER_GET_VRING_BASE_SKIP_DRAIN = 45,
	VHOST_REQUEST_COUNT,
};

/* What a back end asks of its front end, on a channel of their own. */
enum vhost_backend_request {
	VHOST_BACKEND_IOTLB_MSG = 1,
	VHOST_BACKEND_CONFIG_CHANGE_MSG = 2,
};

enum {
	VHOST_VERSION_MASK = 0x3,
	VHOST_VERSION = 0x1,
	VHOST_FLAG_REPLY = 1 << 2,
	VHOST_FLAG_NEED_REPLY = 1 << 3,

	VHOST_VRING_INDEX_MASK = 0xff, /* of the u64 with a descriptor */
	VHOST_VRING_NO_FD = 1 << 8,

	VHOST_TABLE_REGIONS_MAX = 8, /* of SET_MEM_TABLE */
	VHOST_CONFIG_MAX = 256,	     /* bytes of configuration space a message may carry */
	VHOST_FDS_MAX = 16,	     /* more than any message has; surplus ones are closed */
	VHOST_PAYLOAD_MAX = 4096,
};

struct vhost_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
};
static_assert(sizeof(struct vhost_header) == 12, "vhost-user header");

struct vhost_region {
	uint64_t guest_address;
	uint64_t size;
	uint64_t user_address;
	uint64_t mmap_offset;
};

struct vhost_mem_table {
	uint32_t count;
	uint32_t padding;
	struct vhost_region regions[VHOST_TABLE_REGIONS_MAX];
};
static_assert(sizeof(struct vhost_mem_table) == 8 + 8 * 32, "memory table");

struct vhost_mem_region {
	uint64_t padding;
	struct vhost_region region;
};

struct vhost_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t bytes[VHOST_CONFIG_MAX];
};
enum {
	VHOST_CONFIG_HEADER = 12,
	VHOST_CONFIG_MIGRATION = 1, /* flags */
};

/* SET_LOG_BASE: the log in its file */
struct vhost_log {
	uint64_t size, offset; /* bytes */
};

struct vhost_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t queue_count;
	uint16_t queue_size;
};

struct vhost_state_transfer {
	uint32_t direction; /* VHOST_STATE_SAVE, VHOST_STATE_LOAD */
	uint32_t phase;	    /* VHOST_STATE_STOPPED */
};
enum {
	VHOST_STATE_SAVE = 0, /* to the front end */
	VHOST_STATE_LOAD = 1,
	VHOST_STATE_STOPPED = 0,
};

union vhost_payload {
	uint64_t u64;
	struct vhost_vring_state state; /* of linux/vhost_types.h: index, num */
	struct vhost_vring_addr address;
	struct vhost_mem_table table;
	struct vhost_mem_region region;
	struct vhost_config config;
	struct vhost_log log;
	struct vhost_iotlb_msg iotlb; /* of linux/vhost_types.h */
	struct vhost_inflight inflight;
	struct vhost_state_transfer state_transfer;
	uint8_t bytes[VHOST_PAYLOAD_MAX];
};

struct vhost_message {
	struct vhost_header header;
	union vhost_payload payload;
	unsigned fd_count;
	int fds[VHOST_FDS_MAX];
};

/* "SET_MEM_TABLE", or "message 99" is the caller's to print when this is NULL. */
const char *vhost_request_name(uint32_t request);

/* How a request is answered when it is understood. */
enum vhost_reply {
	VHOST_REPLY_ACK,     /* by a u64 status if NEED_REPLY asks for it */
	VHOST_REPLY_PAYLOAD, /* always, with a payload of its own */
};

/* What a request must look like. */
struct vhost_request_format {
	const char *name;
	uint16_t size_min, size_max; /* bytes of payload */
	uint8_t fds_max;
	enum vhost_reply reply;
};
/* NULL for a number that the specification does not have. */
const struct vhost_request_format *vhost_request_format(uint32_t request);

/*
 * Reading. A message may come in any number of pieces; descriptors belong to the message in
 * whose bytes they arrive. The reader owns the descriptors of the message until they are taken
 * (set to -1 in message.fds) or the next message begins.
 */
struct vhost_reader {
	struct vhost_message message;
	size_t have;	     /* bytes of header and payload so far */
	bool complete;	     /* message may be looked at */
	uint32_t size_limit; /* largest payload that is accepted */
};
/* 1: reader->message is complete. 0: not yet, poll the socket. -ECONNRESET: the peer is gone;
 * -EPROTO: not a message (*why is set to a static sentence); other -errno from recvmsg(). */
int vhost_read(struct vhost_reader *reader, int socket, const char **why);
/* Close what descriptors are left, and start afresh. */
void vhost_reader_reset(struct vhost_reader *reader);

/* Take the only descriptor of a message; -1 if there is none. It is the caller's then. */
int vhost_take_fd(struct vhost_message *message);

/* Write a message of header and size payload bytes, at once or not at all (it never blocks):
 * 0, -EAGAIN if the peer does not read, or what sendmsg() says. */
int vhost_write(int socket, const struct vhost_message *message);
