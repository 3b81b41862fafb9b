/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of a virtio-net device.
 *
 * Theory of operation. For each virtqueue there are two structs: `virtqueue` holds what the front
 * end has said so far and belongs to control; `queue` is a started ring and belongs to the data
 * path. Control builds a queue when all that it needs has been said, and publishes it in
 * virtqueue.live. To change anything that a queue holds constant, control takes it back (live =
 * NULL, synchronize), keeps its position, and builds a new one. Data calls load `live` once and
 * find either a whole queue or none.
 *
 * What may change beside running data calls is atomic: enabled, call descriptor, memory table,
 * receive filter, offloads, number of pairs.
 */
#pragma once

#include <stdatomic.h>

#include "device/queue.h"
#include "memory/memory.h"
#include "ring/isa.h"
#include "vhost/backend.h"
#include "virtlane/device.h"

enum {
	DEVICE_QUEUES_MAX = 256, /* vhost-user has eight bits for a queue's index */
	DEVICE_CONFIG_SIZE = 32, /* bytes of configuration space we fill */
	FILTER_MACS_MAX = 64,	 /* of each kind, as other devices have */
};

/* What the driver wants to receive (control queue classes RX, MAC, VLAN; 5.1.6.5). Immutable once
 * published. */
struct receive_filter {
	bool promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
	bool vlan_filter;
	bool many_unicast, many_multicast; /* more addresses than fit: all of the kind are taken */
	uint8_t mac[6];
	uint32_t unicast_count, multicast_count;
	uint8_t unicast[FILTER_MACS_MAX][6], multicast[FILTER_MACS_MAX][6];
	uint64_t vlans[4096 / 64];
};

struct virtqueue {
	/* control's */
	uint32_t size; /* 0: not said yet */
	bool has_address, started, enabled;
	struct vhost_vring_addr address;
	uint32_t base;	 /* as in SET_VRING_BASE, while not live */
	bool base_guess; /* base is the peer's word, and maybe User Mode Linux's for a new ring */
	bool base_old;	 /* base is where the ring began, as a process that died knew it */
	bool base_told;	 /* base was given out by GET_VRING_BASE */
	bool resume;	 /* it was not started yet since there may have been a device before us */
	bool kick_is_control; /* what its kick descriptor was announced as */
	int call_fd, err_fd;
	const char *broken; /* while not live: why the ring was stopped; NULL: it was not */
	struct queue_counters counters; /* data path writes */

	/* shared */
	atomic_int kick_fd; /* closed only after synchronization */
	_Atomic(struct queue *) live;
	/* Whose chains a data thread has borrowed and not given back: the queue may be taken back
	 * meanwhile, and what was put off must not be completed. NULL once it is gone. */
	_Atomic(struct queue *) borrowed;
};

/* The data calls, compiled for a processor level: see virtlane/device.h. */
struct device_ops {
	int (*borrow)(struct vl_device *, unsigned pair, struct vl_frame *, unsigned max);
	void (*give_back)(struct vl_device *, unsigned pair, unsigned count);
	unsigned (*copy_in
	)(struct vl_copier *,
	  struct vl_device *,
	  unsigned pair,
	  const struct vl_frame *const *,
	  unsigned count,
	  enum vl_delivery *);
	void (*flush)(struct vl_device *, unsigned pair);
};
#define DEVICE_OPS_OF(level)                                                                                                                            \
	int device_borrow_##level(struct vl_device *, unsigned, struct vl_frame *, unsigned);                                                           \
	void device_give_back_##level(struct vl_device *, unsigned, unsigned);                                                                          \
	unsigned                                                                                                                                        \
		device_copy_in_##level(struct vl_copier *, struct vl_device *, unsigned, const struct vl_frame *const *, unsigned, enum vl_delivery *); \
	void device_flush_##level(struct vl_device *, unsigned);
DEVICE_OPS_OF(v2)
DEVICE_OPS_OF(v3)
DEVICE_OPS_OF(v4)
extern const struct device_ops device_ops[ISA_COUNT];

struct vl_device {
	/* constant */
	const struct device_ops *ops;

	/* control's */
	struct vl_device_config config;
	struct vl_features offered, features;
	uint64_t guest_offloads; /* feature bits: what the driver has chosen to take */
	uint8_t status;		 /* VIRTIO 1.3, 2.1 */
	uint16_t link_status;	 /* of the configuration space */
	uint16_t mtu;	/* of the configuration space: as configured until the peer changes it */
	uint8_t mac[6]; /* likewise */
	struct memory *memory;	 /* may be NULL */
	struct memory *log;	 /* the dirty log, mapped as one region; NULL: none */
	struct memory *inflight; /* region for who comes after us, mapped; NULL: none */
	struct vhost_inflight inflight_layout;
	int attention;		   /* epoll: something is to be done for the session; -1: none */
	int wake;		   /* eventfd, which is one of its reasons */
	struct iotlb *iotlb;	   /* of a driver behind an IOMMU; NULL: it is not */
	struct arrivals *arrivals; /* of a guest that comes by postcopy; NULL: none does */
	bool advised;		   /* one has been announced in this session */
	int fetcher;		   /* process of the one before, that is about to end; -1: none */
	struct transfer *transfer; /* of the state from or to another back end; NULL: none */
	int log_fd;		   /* to be signalled when it changes; -1: none; SIGNAL_SOCKET */
	struct backend *backend;   /* the session; NULL: none */
	char reason[BACKEND_REASON_SIZE];
	unsigned queue_count; /* with the control queue */

	/* shared */
	_Atomic(struct receive_filter *) filter; /* NULL: everything is wanted */
	_Atomic uint32_t accepts; /* VL_OFFLOAD_* that the driver takes and may be used */
	atomic_uint chosen_pairs; /* by the control queue; 0: it said nothing */
	atomic_uint usable_pairs; /* 1 without MQ */
	atomic_uint active_pairs;

	struct virtqueue queues[];
};

static inline struct queue *device_live(const struct vl_device *device, unsigned index)
{
	/* acquire: the queue's content before the pointer to it */
	return atomic_load_explicit(
		&((struct vl_device *)device)->queues[index].live, memory_order_acquire
	);
}

/* A pair's queue as the data path may use it. Without MQ there is one pair, and what follows it is
 * the control queue. */
static inline struct queue *
device_data_queue(const struct vl_device *device, unsigned pair, bool receive)
{
	unsigned pairs = atomic_load_explicit(
		&((struct vl_device *)device)->usable_pairs, memory_order_relaxed
	);

	return pair < pairs ? device_live(device, 2 * pair + (receive ? 0 : 1)) : NULL;
}

/* The transmit queue of a pair that frames were last borrowed from; NULL if it is gone. */
static inline struct queue *device_borrowed_queue(struct vl_device *device, unsigned pair)
{
	unsigned index = 2 * pair + 1;

	/* acquire: as for `live` */
	return index < device->queue_count
		       ? atomic_load_explicit(&device->queues[index].borrowed, memory_order_acquire)
		       : NULL;
}

/* Virtqueue index of the control queue (5.1.2). */
unsigned device_control_index(const struct vl_device *device);
/* Whether the driver has negotiated it, and its index is one that vhost-user can express. */
bool device_has_control(const struct vl_device *device);
bool device_is_control(const struct vl_device *device, unsigned index);
bool device_any_started(const struct vl_device *device);
/* Pairs that the features let a driver use. */
unsigned device_usable_pairs(const struct vl_device *device);

/* ---- device.c ---- */

void device_explain(struct vl_device *device, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void device_synchronize(struct vl_device *device);
/* After a queue was started, stopped, enabled or disabled. */
void device_queue_changed(struct vl_device *device, unsigned index);
void device_update_offloads(struct vl_device *device, uint64_t guest_offloads);
/* The driver begins anew: forget what it wished by the control queue. */
void device_reset_wishes(struct vl_device *device);
/* Take over a descriptor that the driver kicks (-1: none); the old one is closed. */
void device_set_kick(struct vl_device *device, unsigned index, int fd);
/* After the features, and with them the place of the control queue, have changed. */
void device_reannounce_kicks(struct vl_device *device);
/* Tell the owner of the device what is mapped, or about to be unmapped. */
void device_watch_region(
	const struct vl_device *device, const struct memory_region *region, bool mapped
);
void device_watch_memory(const struct vl_device *device, const struct memory *memory, bool mapped);
/* Unmap what the device has of the peer's, if it is there: memory, log, in-flight region; no queue
 * may be live. */
void device_drop_memory(struct vl_device *device, struct memory **memory);
/* Stop and forget everything about the rings, the driver's wishes and its status. */
void device_reset(struct vl_device *device);

/* memory_add() within what the peer may make us map: address space is everybody's. */
int device_map(
	const struct vl_device *device,
	const struct memory *old,
	const struct memory_region_request *request,
	int fd,
	struct memory **out,
	const char **why
);

/* The pairs that may be in use, after the features or the driver's wish have changed. */
void device_update_pairs(struct vl_device *device);

/* ---- publish.c ---- */

/* Publish a queue if it is started and everything it needs is known; 0 also when it is not. */
int device_publish(struct vl_device *device, unsigned index);
/* Take a queue back; its position is kept. */
void device_unpublish(struct vl_device *device, unsigned index);
/* The same for all, with one synchronization. */
void device_unpublish_all(struct vl_device *device);
int device_publish_all(struct vl_device *device);
/* What could not be used when it was wanted may be now; -errno as of device_publish(). */
int device_look_again(struct vl_device *device);

/* ---- inflight.c ---- */

/* Where a ring that is about to be published goes on: config->position may change, and
 * config->place be set. -EINVAL: the in-flight region is wrong. */
int device_place(struct vl_device *device, unsigned index, struct ring_config *config);
/* The base of a ring that runs, as device_place() has to be told it by who comes after us. False:
 * it would not find the ring's place. */
bool device_base_to_resume(const struct vl_device *device, unsigned index, uint32_t *base);
/* The front end knows now where the ring is, or does not care. */
void device_forget_record(struct vl_device *device, unsigned index);
/* A new region for the queues of `layout`, whose other fields are filled. *fd is the caller's. */
int device_get_inflight(struct vl_device *device, struct vhost_inflight *layout, int *fd);
/* Go on by what is in a region, and keep it up to date; fd stays the caller's. */
int device_set_inflight(struct vl_device *device, const struct vhost_inflight *layout, int fd);

/* ---- device.c: what vl_device_attend() is for ---- */

/* Have vl_device_attend() called when something is to be done. Returns an eventfd which says that
 * there is; -errno. */
int device_want_attention(struct vl_device *device);
/* That a descriptor is readable is another reason, until it is closed; -errno. */
int device_attend_to(struct vl_device *device, int fd);
/* device_look_again(), and commands of the control queue. */
int device_look_for_all(struct vl_device *device);
/* How a table that nobody sees is to be looked into. */
void device_mark_memory(const struct vl_device *device, struct memory *memory);

/* ---- iommu.c ---- */

/* After the features have changed; no queue may be live. */
int device_use_iommu(struct vl_device *device);
int device_iotlb(struct vl_device *device, const struct vhost_iotlb_msg *message);
/* The driver begins anew: no translation of before counts. No queue may be live. */
void device_forget_translations(struct vl_device *device);
/* Ask the front end for what was looked for in vain. */
void device_tell_misses(struct vl_device *device);

/* ---- postcopy.c: in the order of the messages ---- */

/* Whether memory that is shared now is to arrive while the guest runs. */
bool device_listens(const struct vl_device *device);
/* *fd is the caller's. */
int device_advise(struct vl_device *device, int *fd);
int device_listen(struct vl_device *device);
/* The last region of a table that nobody sees yet. */
int device_enter_arrivals(struct vl_device *device, struct memory *memory);
/* Where a touch of a region's first byte is a request; 0: there is none. */
uint64_t device_fault_address(const struct vl_device *device, uint64_t guest_address);
int device_begin_arrivals(struct vl_device *device);
int device_end_postcopy(struct vl_device *device);
/* No region may wait for any more. */
void device_drop_arrivals(struct vl_device *device);
/* What the fetcher has for us, which may be nothing; -errno as of device_publish(). */
int device_attend_arrivals(struct vl_device *device, bool woken);
/* Now and then: ask again for what is still missing, and see whether the fetcher before has ended.
 */
void device_retry_arrivals(struct vl_device *device);

/* ---- transfer.c ---- */

/* SET_DEVICE_STATE_FD: *fd is what the front end reads or writes; it is the caller's. */
int device_begin_transfer(struct vl_device *device, uint32_t direction, uint32_t phase, int *fd);
int device_end_transfer(struct vl_device *device);
/* After a driver's features were set, which may be those that it had before: then it goes on with
 * what has come. */
int device_use_transferred(struct vl_device *device);
void device_drop_transfer(struct vl_device *device);
/* The driver is reset: it may be about to leave, and its state be asked for. */
void device_keep_state(struct vl_device *device);
/* What a process that comes after us has to be told; NULL: nothing. */
const void *device_transferred(const struct vl_device *device, bool *loads);
/* Bytes of that. */
size_t device_transferred_size(void);
int device_set_transferred(struct vl_device *device, const void *state, bool loads);

/* ---- session.c: what the session calls ---- */

extern const struct backend_ops device_backend_ops;
struct backend_config device_backend_config(struct vl_device *device);

/* ---- config_space.c ---- */

struct vl_features device_supported_features(const struct vl_device_config *config);
void device_config_space(const struct vl_device *device, uint8_t out[DEVICE_CONFIG_SIZE]);

/* ---- control_queue.c, filter.c ---- */

/* Serve what commands there are, up to a limit; true: there may be more. */
bool device_serve_control(struct vl_device *device);
/* Publish a filter (NULL: none) and free the old one. */
void device_set_filter(struct vl_device *device, struct receive_filter *filter);
/* A copy to be changed and published; NULL: no memory. */
struct receive_filter *receive_filter_copy(const struct receive_filter *filter);
bool filter_wants(const struct receive_filter *filter, const struct vl_frame *frame);
