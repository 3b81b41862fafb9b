/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio-net driver in an application, without a VM, a kernel driver or root: the front end of a
 * vhost-user session, virtqueues in the application's own memory, and bursts of frames. (VIRTIO
 * 1.3, 5.1; vhost-user as in QEMU's docs/interop/vhost-user.)
 *
 * Life: vl_driver_open() connects, negotiates and starts the queues; then send and receive; then
 * vl_driver_close(). A descriptor holds the application's virtual addresses, so for the device
 * translation is one addition.
 *
 * Who owns a frame. Buffers come from the driver's pool: vl_driver_alloc() or vl_driver_rx_burst()
 * hands them to the application, vl_driver_free() or vl_driver_tx_burst() takes them back. A buffer
 * has one owner at a time; what the driver owns may be written by the device at any moment, so it
 * is not to be touched. Buffers belong to the queue pair they came from. The array of struct
 * vl_driver_frame is the application's and is not kept by any call.
 *
 * Threads: the calls marked "data" are for one thread at a time for each queue pair, and take no
 * lock; different pairs may be served by different threads. All other calls are "control" and for
 * one thread at a time; they may run beside data calls unless they say otherwise.
 *
 * Errors: a count or 0, or a negative errno. Nothing here prints, exits, or starts a thread; data
 * calls do not allocate, and do not block except vl_driver_wait().
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

struct vl_driver;

/*
 * One frame, or one piece of a frame that spans several buffers. Such a frame takes up as many
 * neighbouring elements of an array as its first element's header.num_buffers says (0 and 1 both
 * mean one); the headers of the others are not looked at. Calls never split a frame.
 */
struct vl_driver_frame {
	uint8_t *data; /* first byte: of the frame (destination address), or of the piece */
	uintptr_t
		buffer; /* the driver's name of the buffer; with foreign memory the application's */
	uint32_t length; /* bytes at data, without virtio-net header and FCS */
	/* Offloads: checksum to be completed, segments to be cut; or what was verified. Zero for a
	 * frame that is sent as it is. See VL_NET_* and VL_GSO_*. */
	struct vl_net_header header;
};

enum {
	/* Bytes in front of data in a buffer from vl_driver_alloc() or vl_driver_rx_burst() that
	 * the application may use by moving data down (tunnels, tags). */
	VL_DRIVER_HEADROOM = 64,
	VL_DRIVER_BURST_MAX = 256, /* elements a data call deals with; more are left for the next */
};

/* Why vl_driver_open() failed, for people: what, where, and what to do. */
struct vl_driver_error {
	char text[256];
};

enum vl_driver_rings {
	VL_DRIVER_RINGS_ANY, /* the fastest that the device offers, as measured */
	VL_DRIVER_RINGS_SPLIT,
	VL_DRIVER_RINGS_PACKED,
};

struct vl_driver_config {
	size_t size;	  /* of this struct, for later growth */
	const char *path; /* of the vhost-user socket; also longer than sockaddr_un allows */
	bool listen;	  /* wait on path for the back end to connect, instead of connecting */
	int socket; /* if > 0: a connected socket to use, instead of path. Becomes the driver's
		       when the call succeeds. */

	unsigned queue_pairs; /* 0: 1. More than the device has is an error (-ERANGE). */
	unsigned queue_size;  /* descriptors, a power of two from 8 to 32768; 0: 1024 */
	enum vl_driver_rings rings;
	/* A variant of the ring's layout by name, see docs/performance.md; NULL: the best. The
	 * environment's VIRTLANE_RING comes first. Names: "split", "split-in-order", "packed",
	 * "packed-in-order". */
	const char *ring;
	/* "v2" (SSE), "v3" (AVX2), "v4" (AVX-512) or "portable"; NULL: the best that the processor
	 * has. The environment's VIRTLANE_ISA comes first. */
	const char *isa;
	/* Features that have to be negotiated, besides those that the driver needs (-ENOTSUP if one
	 * cannot be; see also `liked`), and those that must not be. Of what is set in neither, the
	 * driver takes IN_ORDER, EVENT_IDX,
	 * INDIRECT_DESC, MAC, MTU, STATUS, CTRL_VQ and, with several pairs, MQ. Offloads and
	 * MRG_RXBUF are taken only when wanted. */
	struct vl_features wanted, withheld;

	/* The pool of each queue pair. Bytes of frame that a buffer holds behind the headroom,
	 * 0: 2048; buffers for receiving and for sending, 0: as many as the rings hold, with which
	 * every buffer keeps its place in the ring and descriptors need not be written again. */
	uint32_t buffer_size, rx_buffers, tx_buffers;
	/* Do without a pool: the application shares memory of its own (vl_driver_share()), posts
	 * receive buffers (vl_driver_rx_post()) and collects sent ones (vl_driver_tx_complete()).
	 */
	bool foreign;

	int timeout_ms;		  /* for each answer, and for a connection; 0: 5000 */
	uint16_t mtu;		  /* told to the back end (NET_SET_MTU) if it can be; 0: not */
	struct vl_features liked; /* features that are taken if they are offered */
};

/* ---- control ---- */

/*
 * Open a device and start its queues. Blocks until then, or until something took longer than
 * timeout_ms. On failure *why, unless NULL, gets a sentence. Errors: -EINVAL configuration;
 * -ERANGE too many queue pairs; -ENOTSUP the device lacks what was asked for, or offers features
 * that contradict each other; -EPROTO it answered what it may not; -ETIMEDOUT it did not answer;
 * -ECONNRESET it hung up; -EIO it refused what it was asked; -ENOMEM; or as connect(2), bind(2).
 */
int vl_driver_open(
	const struct vl_driver_config *config, struct vl_driver **out, struct vl_driver_error *why
);
/*
 * Go on with another back end, or the same one that has restarted, after the session has ended:
 * when vl_driver_process(), vl_driver_wait() or this has failed. Connects (or waits for a
 * connection) as vl_driver_open() did, or takes over `socket`, unless that is 0, as config.socket.
 * No data call and no other control call may be running, and vl_driver_control_fd() has changed
 * when this returns.
 *
 * Queues and buffers stay. What the old one had completed stands. What it had taken and not
 * completed is taken again: frames of the burst that it was busy with when it died may be sent
 * twice, and no frame is lost. What vl_driver_command() has set has to be set again, but for the
 * queue pairs.
 *
 * Errors as vl_driver_open(), and then it may be tried again; and -ENOTSUP: it lacks a feature that
 * was negotiated, or has fewer queues.
 */
int vl_driver_reconnect(struct vl_driver *driver, int socket, struct vl_driver_error *why);
/* Stop the queues and give everything back; frames that were not yet sent are lost. No data call
 * may be running. NULL is fine. */
void vl_driver_close(struct vl_driver *driver);

/*
 * What to poll for the control side: the session's socket becomes readable when the back end has
 * something to say or has gone. Then call vl_driver_process(): 0, or -ECONNRESET (it has hung up),
 * -EPROTO (it broke the rules); after an error only vl_driver_reconnect() and vl_driver_close()
 * make sense. It blocks only when the back end says that the configuration has changed: for the
 * answer that says how, at most timeout_ms.
 */
int vl_driver_control_fd(const struct vl_driver *driver);
int vl_driver_process(struct vl_driver *driver);

struct vl_driver_status {
	struct vl_features features; /* negotiated */
	uint64_t protocol_features;  /* negotiated */
	unsigned queue_pairs;	     /* in use */
	unsigned queue_pairs_max;    /* that the device has */
	uint32_t queue_size;	     /* descriptors */
	const char *ring, *isa;	     /* what was chosen; static strings */
	unsigned rx_slots, tx_slots; /* frames of one buffer that the rings of a pair hold */
	uint32_t buffer_size;	     /* bytes, see vl_driver_config */
	bool has_mac, link_up;	     /* link_up: also if the device cannot tell */
	uint8_t mac[6];
	uint16_t mtu;	       /* 0: the device does not say */
	uint64_t memory_size;  /* bytes shared with the device */
	uint64_t page_size;    /* bytes of the pages under the pool: 4 KiB, 2 MiB, 1 GiB */
	unsigned region_count; /* memory regions shared */
	const char *broken;    /* why queues were stopped, NULL: all is well. Static string */
};
void vl_driver_status(const struct vl_driver *driver, struct vl_driver_status *out);

/* Of a pair since it was opened. May be read at any time. */
struct vl_driver_stats {
	uint64_t rx_frames, rx_bytes;
	uint64_t tx_frames, tx_bytes;
	uint64_t tx_full;      /* vl_driver_tx_burst() took fewer than it was given */
	uint64_t kicks, calls; /* notifications given, and taken */
	const char *broken;    /* why the pair was stopped; NULL: it runs. Static string */
};
void vl_driver_stats(const struct vl_driver *driver, unsigned pair, struct vl_driver_stats *out);

/*
 * Send a command to the control virtqueue and wait for its end (VIRTIO 1.3, 5.1.6.5): a class, a
 * command, its data. 0; -ENOTSUP if there is no control queue; -EIO if the device refused it;
 * -ETIMEDOUT; -EPROTO.
 */
int vl_driver_command(
	struct vl_driver *driver, uint8_t class_, uint8_t command, const void *data, size_t size
);

/*
 * Share memory that the application has already: `size` bytes at `address`, which is a mapping of
 * `fd` (MAP_SHARED) from `offset` on. Address, size and offset are multiples of the page size. May
 * be called while queues run if the back end can take memory then (CONFIGURE_MEM_SLOTS), otherwise
 * the rings are stopped for a moment, so no data call may run. fd stays the application's. -ENOSPC:
 * no more regions can be shared; -EEXIST: overlaps what is shared.
 */
int vl_driver_share(struct vl_driver *driver, void *address, size_t size, int fd, uint64_t offset);
/* Add buffers for sending or for receiving to a pair's pool, in a new region. Conditions as for
 * vl_driver_share(), but the pair's own data calls must not be running in any case. */
int vl_driver_grow(struct vl_driver *driver, unsigned pair, uint32_t count, bool for_rx);
/*
 * With foreign memory, before vl_driver_close(): stop the queues of all pairs and take back the
 * buffers of this one, posted or to be sent, that no call has returned; those whose frame was sent
 * are among them. Returns how many names there are, at most `max`; to be repeated until it is 0.
 * No data call may be running, and none may follow.
 */
unsigned
vl_driver_reclaim(struct vl_driver *driver, unsigned pair, uintptr_t *buffers, unsigned max);

/* ---- data ---- */

/*
 * Take received frames. Returns the number of elements filled, 0 if nothing has come, -EPROTO if
 * the pair was stopped (vl_driver_stats.broken says why). max at least 1; where frames may take
 * several buffers (MRG_RXBUF), large enough for the largest.
 */
int vl_driver_rx_burst(
	struct vl_driver *driver, unsigned pair, struct vl_driver_frame *frames, unsigned max
);
/*
 * Send frames. Returns how many elements were taken (the driver's now); the rest, the ring being
 * full, stay the application's. The device is notified if it wishes. -EPROTO as above; -EINVAL: the
 * first frame can never be sent: its header asks for what was not negotiated, or it has more pieces
 * than were given, than 72, or than the ring has descriptors for. data and
 * length must lie within the element's buffer.
 */
int vl_driver_tx_burst(
	struct vl_driver *driver, unsigned pair, struct vl_driver_frame *frames, unsigned count
);
/* Take up to `count` empty buffers for sending: data is set, length 0, header all zero. Returns how
 * many there were. */
unsigned vl_driver_alloc(
	struct vl_driver *driver, unsigned pair, struct vl_driver_frame *frames, unsigned count
);
/* Give buffers back, sent or not sent, in any order (most gainful: in the order received). */
void vl_driver_free(
	struct vl_driver *driver,
	unsigned pair,
	const struct vl_driver_frame *frames,
	unsigned count
);

/*
 * Wait until the pair has received something: > 0 (rarely in vain); 0 after timeout_ms (-1: never),
 * or when the control side had something to say; -ECONNRESET or
 * -EPROTO as vl_driver_process(), which it calls; -EINTR after a signal.
 */
int vl_driver_wait(struct vl_driver *driver, unsigned pair, int timeout_ms);
/*
 * The same with an event loop of the application's: before it sleeps it calls vl_driver_sleep(),
 * which asks for a notification and returns false if there are frames already: do not sleep. When
 * the descriptor vl_driver_fd() is readable, vl_driver_woken() clears it. vl_driver_rx_burst()
 * ends the wish when it finds frames.
 */
bool vl_driver_sleep(struct vl_driver *driver, unsigned pair);
int vl_driver_fd(const struct vl_driver *driver, unsigned pair);
void vl_driver_woken(struct vl_driver *driver, unsigned pair);

/* With foreign memory: hand receive buffers (data, length = bytes of room behind data, buffer = a
 * name of the application's) to the device; there must be 64 bytes of shared memory in front of
 * data. Returns how many were taken. In front of what is sent there must be 12, which the driver
 * overwrites; data of length 0 is fine. */
unsigned vl_driver_rx_post(
	struct vl_driver *driver,
	unsigned pair,
	const struct vl_driver_frame *frames,
	unsigned count
);
/* How many vl_driver_rx_post() would take; 0 if the pair was stopped. */
unsigned vl_driver_rx_room(const struct vl_driver *driver, unsigned pair);
/* With foreign memory: the names of buffers whose frames were sent. Returns how many. */
unsigned
vl_driver_tx_complete(struct vl_driver *driver, unsigned pair, uintptr_t *buffers, unsigned max);

#ifdef __cplusplus
}
#endif
