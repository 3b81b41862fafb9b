/* SPDX-License-Identifier: BSD-3-Clause */
/* A back end for tests of the front-end session: a device of ours, served by a thread. */
#pragma once

#include <pthread.h>

#include "virtlane/device.h"

enum {
	BACK_TIMEOUT_MS = 2000, /* of a back end that answers */
};

struct back {
	struct vl_device *device;
	pthread_mutex_t lock; /* of the device */
	pthread_t thread;
	int socket;
};

/* Serve a connected socket, which becomes the back end's. */
void back_start(struct back *back, int socket);
/* The session's other end has been closed. */
void back_stop(struct back *back);
struct vl_device_status back_status(struct back *back);
struct vl_queue_status back_queue(struct back *back, unsigned index);
