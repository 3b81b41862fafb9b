/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio-net device for somebody else's driver: the back end of a vhost-user session, its
 * virtqueues, and the frames in them. (VIRTIO 1.3, 5.1; vhost-user as in QEMU's
 * docs/interop/vhost-user.)
 *
 * Life: vl_device_create(); when a front end is connected, vl_device_attach() its socket; call
 * vl_device_process() whenever the socket is readable; move frames; vl_device_detach() when the
 * session has ended; attach the next one, or vl_device_destroy().
 *
 * Threads: "control" functions are for one thread. "Data" functions are for any thread, one at a
 * time for each queue pair and direction. A data call may run at any time beside control: what it
 * uses is published to it whole. Before control frees something that a data call may still use it
 * calls `synchronize`, which must not return until every data call that was running has returned.
 * A program with one thread leaves it NULL.
 *
 * Errors: functions that can fail return 0 or a count, or a negative errno. Nothing here prints,
 * exits, blocks on a peer, or allocates on the data path.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtlane/features.h"
#include "virtlane/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	VL_QUEUE_PAIRS_MAX = 128,
	VL_QUEUE_SIZE_MAX = 32768, /* descriptors */
};

struct vl_device;

struct vl_device_config {
	size_t size;	      /* of this struct, for later growth */
	unsigned queue_pairs; /* receive/transmit pairs, 1..VL_QUEUE_PAIRS_MAX */
	uint16_t mtu;	      /* offered as VIRTIO_NET_F_MTU; 0: not offered */
	uint8_t mac[6];	      /* offered as VIRTIO_NET_F_MAC; all zero: not offered */
	uint64_t memory_max;  /* bytes that the peer may make us map; 0: any */
	/* VL_OFFLOAD_* that are not to be offered or used; see vl_device_set_offloads(). */
	uint32_t offloads_withheld;
	/* Features not to offer; by default everything that is supported is. */
	struct vl_features withheld;

	/* Memory of vl_device_record_size(queue_pairs) bytes, zero at first, that outlives the
	 * process, such as a mapped file: there the device notes that its rings are started, and
	 * where packed ones are, for front ends that do not know it themselves when a device dies
	 * and another one is attached to them (see docs/architecture.md). Aligned to 64. It stays
	 * the caller's. NULL: none. */
	void *record;

	/* See "Threads" above. */
	void (*synchronize)(void *context);
	/* A queue pair was started, stopped, enabled or disabled. Control thread. */
	void (*queue_changed)(void *context, unsigned pair);
	/* The descriptor that the driver kicks for a pair's transmit queue changes; -1: none.
	 * The old one is closed after the call. Control thread. */
	void (*kick_changed)(void *context, unsigned pair, int old_fd, int new_fd);
	/* The same for the control queue: when it is readable, call vl_device_control_process(). */
	void (*control_kick_changed)(void *context, int old_fd, int new_fd);
	/* Memory of the peer was mapped here, or is about to be unmapped: for a program that wants
	 * to survive a peer that cuts its file short (SIGBUS). Control thread. */
	void (*memory_mapped)(void *context, void *start, size_t size);
	void (*memory_unmapping)(void *context, void *start, size_t size);
	/* What needs `attention_changed`. `postcopy`: guests may come here before their memory
	 * (PAGEFAULT, if the kernel permits it); from the announcement of one to when all of it is
	 * here there is a child process, the fetcher, which vl_device_retry() waits for later: the
	 * program virtlane-fetcher, of the place where it was installed or of the
	 * environment's VIRTLANE_FETCHER. `iommu`: a driver may be behind an IOMMU of its guest's
	 * (ACCESS_PLATFORM). */
	bool postcopy, iommu;
	/* What the driver has said by the control queue can go along to another back end
	 * (DEVICE_STATE). Front ends may move its guest only to one that offers this, too. */
	bool device_state;
	/* A descriptor that is readable when vl_device_attend() has something to do; -1: none. The
	 * old one is closed after the call. Control thread. */
	void (*attention_changed)(void *context, int old_fd, int new_fd);
	/* VHOST_USER_SEND_RARP: tell the network that `mac` is here now. Control thread. */
	void (*announce)(void *context, const uint8_t mac[6]);
	void *context; /* of all of these */
};

/* ---- control ---- */

/* Bytes of vl_device_config.record. */
size_t vl_device_record_size(unsigned queue_pairs);
/* Whether the record tells of a ring that was started and not stopped: of this session, or of a
 * device before this one. */
bool vl_device_record_holds(const struct vl_device *device);

/* -EINVAL: a number is out of range, or the environment's VIRTLANE_ISA is none of v2, v3, v4,
 * portable; -ENOTSUP: it names what this processor does not have; -ENOMEM. */
int vl_device_create(const struct vl_device_config *config, struct vl_device **out);
/* Detaches first. NULL is fine. Waits a second at most for a child process (see `postcopy`). */
void vl_device_destroy(struct vl_device *device);

/*
 * Take over a connected Unix stream socket as the session. On success it is the device's, on
 * failure still the caller's. -EBUSY: there is a session; -ENOMEM.
 */
int vl_device_attach(struct vl_device *device, int socket);
/*
 * Handle what the session's socket has. 0: poll it for more; 1: call again soon. -ECONNRESET: the
 * peer has hung up; other -errno: it broke the protocol, vl_device_reason() says how. After an
 * error call vl_device_detach().
 */
int vl_device_process(struct vl_device *device);
/* What is to be done when the descriptor of `attention_changed` is readable. -errno as of
 * vl_device_process(). */
int vl_device_attend(struct vl_device *device);
/* Now and then, of a device with `postcopy` or `iommu`, with a session or without: what it still
 * waits for is asked for again, and children that have ended are waited for. */
void vl_device_retry(struct vl_device *device);
/* Close the session, stop and forget all queues, unmap the peer's memory. */
void vl_device_detach(struct vl_device *device);

/*
 * Which of VL_OFFLOAD_* may be used from now on. What is sent to the driver needs no others at
 * once. What the driver may send was negotiated, and others are offered from the next session on.
 */
void vl_device_set_offloads(struct vl_device *device, uint32_t offloads);

/*
 * Handing a device over to another process, with its session: the peer notices nothing.
 *
 * vl_device_save() stops all queues, completes what was taken, and says all there is to know:
 * `size` bytes at `bytes` and the descriptors in `fds`, which stay the device's. vl_device_load()
 * makes of a device that was created with the same configuration, and was never attached, what was
 * saved. The descriptors are the device's then, those of a failed call still the caller's. Of both
 * no queue runs; vl_device_go_on() starts those of the one that is to go on, and the other is
 * destroyed. Between save and go_on no other control call may be made.
 *
 * save: -ENOMEM; -EBUSY: a guest is coming here by postcopy; all is as it was. load: -ENOTCONN: the
 * device had no session; -EPROTO: it is of another version; -EINVAL: of a device with other queues,
 * or damaged; or what failed; vl_device_reason() has words. After a failure destroy the device.
 */
struct vl_device_state {
	void *bytes;
	size_t size;
	int *fds;
	unsigned fd_count;
};
int vl_device_save(struct vl_device *device, struct vl_device_state *out);
int vl_device_load(struct vl_device *device, const struct vl_device_state *state);
/* -errno: a queue cannot be started, as vl_device_reason() says; the others are. Of a device that
 * was saved by vl_device_save() it could not be before, and the session goes on all the same. */
int vl_device_go_on(struct vl_device *device);
/*
 * vl_device_save() of a device that goes on, for the case that this process dies: what is saved
 * holds until the session's next message. Who loads it finds where its rings are from themselves,
 * an in-flight region, or the record, as a device does whose front end connects again.
 * -ENOTSUP: that cannot be found (packed rings without either); others as vl_device_save().
 */
int vl_device_snapshot(struct vl_device *device, struct vl_device_state *out);
/* Free the memory of a saved state; its descriptors are left alone. */
void vl_device_state_free(struct vl_device_state *state);
/* The session's socket, to be polled; -1: none. */
int vl_device_socket(const struct vl_device *device);

/*
 * Whether the link is up, as the configuration space says (VIRTIO 1.3, 5.1.4); it is at first. A
 * front end that reads that from us, and has a channel for it, is told by
 * VHOST_USER_BACKEND_CONFIG_CHANGE_MSG. Queues run on: it is for the caller to leave them alone.
 */
void vl_device_set_link(struct vl_device *device, bool up);
/* The MTU in the configuration space; likewise. 0: from the next session on none is offered, and it
 * stays as it is until then. */
void vl_device_set_mtu(struct vl_device *device, uint16_t mtu);

/* Serve the control virtqueue, if the front end hands it to us (see docs/architecture.md), after
 * it was kicked; at most 64 commands. Returns true if it is to be called again soon. */
bool vl_device_control_process(struct vl_device *device);

/* Why the session failed, or what of the peer was refused last; "" if nothing. Valid until the
 * next control call. */
const char *vl_device_reason(const struct vl_device *device);

struct vl_device_status {
	bool attached;
	struct vl_features features; /* negotiated */
	uint64_t protocol_features;  /* negotiated */
	uint32_t offloads_taken;     /* VL_OFFLOAD_* that the driver takes now */
	uint32_t offloads_sent;	     /* and that it may use itself */
	const char *last_message;    /* name, or "" */
	unsigned memory_regions;
	uint64_t memory_size; /* bytes */
	unsigned queue_count; /* virtqueues that vl_device_queue_status() knows */
	bool memory_arrives;  /* postcopy: pages still come from where the guest was */
	unsigned pairs_up;    /* pairs in use: started, enabled and chosen by the driver */
};
void vl_device_status(const struct vl_device *device, struct vl_device_status *out);

struct vl_queue_status {
	bool started, enabled, packed;
	uint32_t size; /* descriptors */
	uint16_t avail,
		used; /* index (split) or slot (packed) of the next chain and used element */
	uint64_t kicks, calls;
	const char *broken; /* why the queue was stopped; NULL: it was not. Static. */
};
/* index: 2 * pair for the driver's receive queue, 2 * pair + 1 for its transmit queue. */
void vl_device_queue_status(
	const struct vl_device *device, unsigned index, struct vl_queue_status *out
);

/* ---- data ---- */

/*
 * Borrow frames the driver sent on a pair: up to `max` (at most VL_BURST_MAX), oldest first. They
 * stay valid until they are given back; all have to be given back, or put off, before the next
 * borrow. A frame without room for the virtio-net header, or nothing behind it, comes with size 0.
 * A queue the driver has disabled gives none: its frames are discarded and counted (see
 * vl_device_discarded()). -EPROTO: the queue broke the rules and is stopped until the next
 * session (vl_queue_status.broken).
 */
int vl_device_borrow(
	struct vl_device *device, unsigned pair, struct vl_frame *frames, unsigned max
);
/* Give the oldest `count` borrowed frames back, and notify the driver if it wishes. */
void vl_device_give_back(struct vl_device *device, unsigned pair, unsigned count);
/* Leave the newest `count` borrowed frames where they are, before the others are given back: the
 * next borrow begins with them. For who cannot pass them on now. */
void vl_device_put_off(struct vl_device *device, unsigned pair, unsigned count);
/* Frames and bytes that were discarded on disabled queues so far. */
void vl_device_discarded(
	const struct vl_device *device, unsigned pair, uint64_t *frames, uint64_t *bytes
);

enum vl_delivery {
	VL_DELIVERED,
	VL_TOO_LARGE,  /* for the driver's buffers */
	VL_NO_OFFLOAD, /* needs an offload the driver has not negotiated */
	VL_FILTERED,   /* the driver's filter (control queue) does not want it */
	VL_DOWN,       /* the queue is not started and enabled, or has broken */
};
/*
 * Copy frames into the driver's receive buffers of a pair. Frames must have passed a check of
 * their virtio-net header. Returns how many were dealt with: results[i] says how. If that is less
 * than `count`, the driver had no buffer for the next one, and the call may be repeated for the
 * rest. Nothing is visible to the driver before vl_device_flush(). A missing checksum is computed
 * when the driver does not take partial ones.
 */
unsigned vl_device_copy_in(
	struct vl_device *device,
	unsigned pair,
	const struct vl_frame *const *frames,
	unsigned count,
	enum vl_delivery *results
);

/*
 * Who copies large pieces in place of the calling processor: a DMA engine. Its functions are called
 * by vl_device_copy_in_by() only, in the thread that calls that.
 */
struct vl_copier {
	uint32_t least; /* bytes: what is smaller is copied by the processor */
	/* Begin to copy. Both ends stay where they are until `finish`, and nothing else is written
	 * to `to` meanwhile. False: not now; the processor copies. */
	bool (*start)(struct vl_copier *copier, void *to, const void *from, uint32_t size);
	/* Return when all that was begun has been copied. */
	void (*finish)(struct vl_copier *copier);
};
/* vl_device_copy_in() with help; `copier` may be NULL. All is copied when it returns. */
unsigned vl_device_copy_in_by(
	struct vl_copier *copier,
	struct vl_device *device,
	unsigned pair,
	const struct vl_frame *const *frames,
	unsigned count,
	enum vl_delivery *results
);
/* Show the driver what was copied in, and notify it if it wishes. */
void vl_device_flush(struct vl_device *device, unsigned pair);

/* Whether the driver takes a frame with this header, which was checked: as it is, or with its
 * checksum computed. A large one that it does not take would be VL_NO_OFFLOAD. */
bool vl_device_accepts(const struct vl_device *device, const struct vl_net_header *header);

/* Whether a pair takes (receive = true) or gives frames. */
bool vl_device_ready(const struct vl_device *device, unsigned pair, bool receive);
/* How many pairs frames should be spread over; a pair below may still not be ready. */
unsigned vl_device_active_pairs(const struct vl_device *device);

/*
 * Before sleeping: ask the driver to kick the pair's transmit queue from now on. Returns false if
 * there are frames already: do not sleep. The next borrow that finds frames stops the kicks.
 */
bool vl_device_sleep(struct vl_device *device, unsigned pair);
/* Whether a pair sends frames without ever kicking (SET_VRING_KICK without a descriptor): look at
 * it now and then, however idle. */
bool vl_device_is_silent(const struct vl_device *device, unsigned pair);
/* Clear a kick descriptor that was found readable, without blocking, and count the kick. */
void vl_device_kicked(struct vl_device *device, unsigned pair);

#ifdef __cplusplus
}
#endif
