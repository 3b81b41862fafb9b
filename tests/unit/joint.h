/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver of ours joined to a device of ours in one process, over a pair of sockets. A thread does
 * the device's control side, since the driver waits for its answers; frames the test moves itself,
 * step by step, under the same lock, so that nothing depends on time. With `echo` the thread also
 * sends back what comes whenever it is kicked.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "check.h"
#include "driver/driver.h"
#include "traffic.h"
#include "variants.h"
#include "virtlane/device.h"
#include "virtlane/driver.h"

enum {
	JOINT_PAIRS_MAX = 4,
	JOINT_FRAME_MAX = 65562,
	JOINT_TIMEOUT_MS = 5000,
	JOINT_MTU = 1500,
};
static const uint8_t joint_mac[6] = {0x52, 0x54, 0x00, 0xab, 0xcd, 0xef};

/* How a driver's rings are laid out. */
struct joint_variant {
	const char *name, *ring;
	bool mergeable;
	bool plain; /* without IN_ORDER, EVENT_IDX and INDIRECT_DESC */
};

struct joint_options {
	const struct joint_variant *variant; /* NULL: what the driver chooses */
	unsigned device_pairs;		     /* 0: as many as config asks for */
	uint64_t device_withheld;	     /* features, besides those of the variant */
	bool bare;			     /* a device without MAC and MTU */
	bool echo;
	/* For the driver; variant, socket and timeout are filled in. */
	struct vl_driver_config config;
};

struct joint {
	struct vl_device *device;
	struct vl_device_config device_config;
	bool unflushed; /* joint_deliver() does not flush: the next one that does, does it for both
			 */
	struct vl_driver *driver;
	struct vl_driver_error why;
	int socket;  /* the device's end */
	int wake_fd; /* for the thread to look again */
	pthread_t thread;
	pthread_mutex_t lock; /* the device's, for control and data */
	_Atomic bool stop;
	bool is_open, echo, gone;
	int kick_fds[JOINT_PAIRS_MAX], control_kick_fd; /* -1: none */
	struct vl_frame borrowed[VL_BURST_MAX];
};

/* Both, joined; fails the test if the driver does not open. There is one joint at a time; one that
 * a failing test leaves behind is closed by the next. */
struct joint *joint_open(const struct joint_options *options);
/* The same as far as it goes: what vl_driver_open() says. joint_close() is to follow in any case.
 */
int joint_try(const struct joint_options *options, struct joint **out);
void joint_close(struct joint *joint);
/* What a variant asks of a driver; NULL: nothing. */
void joint_fill_config(struct vl_driver_config *config, const struct joint_variant *variant);
/* The device ends the session. */
void joint_hang_up(struct joint *joint);
/* After it has: there is a new session, and the driver reconnects. */
int joint_try_return(struct joint *joint);
void joint_return(struct joint *joint);
/* After it has: another device takes its place, without these features. */
void joint_replace_device(struct joint *joint, uint64_t withheld);

/* ---- the device's side; each takes the lock ---- */

/* Send back all frames that a pair has: how many. Those that found no buffer are dropped. */
unsigned joint_echo(struct joint *joint, unsigned pair);
/* Take the next frame: its size, its header and bytes; -1: there is none. */
int64_t
joint_take(struct joint *joint, unsigned pair, struct vl_net_header *header, uint8_t *bytes);
/* Deliver a frame; false: there was no buffer for it, or it was not wanted (*result). */
bool joint_deliver(
	struct joint *joint,
	unsigned pair,
	const struct vl_net_header *header,
	const uint8_t *bytes,
	uint32_t size,
	enum vl_delivery *result
);

/* ---- the driver's side ---- */

/* Send a frame of as many pieces as its size needs; false: the ring or the pool has no room. */
bool joint_send(
	struct joint *joint,
	unsigned pair,
	const struct vl_net_header *header,
	const uint8_t *bytes,
	uint32_t size
);
/* Receive a frame, of which there is at most one, and free its buffers: its size; -1: none. */
int64_t
joint_receive(struct joint *joint, unsigned pair, struct vl_net_header *header, uint8_t *bytes);
/* Check that no buffer of a pair is lost: all are in its pools, its rings or its stash. */
void joint_check_buffers(struct joint *joint, unsigned pair, unsigned held_rx, unsigned held_tx);

/* ---- tests for every variant ---- */

/* As main()'s result; a test's *state is the const struct joint_variant *. */
int run_for_all_variants(const char *group, const struct variant_test *tests, unsigned count);
