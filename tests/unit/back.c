/* SPDX-License-Identifier: BSD-3-Clause */
#include "back.h"

#include <poll.h>

#include "check.h"

static void *serve(void *context)
{
	struct back *back = context;
	int result = 0;

	while (result >= 0) {
		struct pollfd readable = {.fd = back->socket, .events = POLLIN};

		check(poll(&readable, 1, BACK_TIMEOUT_MS) > 0);
		pthread_mutex_lock(&back->lock);
		result = vl_device_process(back->device);
		if (result < 0)
			vl_device_detach(back->device);
		pthread_mutex_unlock(&back->lock);
	}
	return NULL;
}

void back_start(struct back *back, int socket)
{
	struct vl_device_config config = {
		.size = sizeof(config), .queue_pairs = 2, .mtu = 1500, .mac = {2, 0, 0, 0, 0, 7}};

	*back = (struct back){.lock = PTHREAD_MUTEX_INITIALIZER, .socket = socket};
	check(vl_device_create(&config, &back->device) == 0);
	check(vl_device_attach(back->device, socket) == 0);
	check(pthread_create(&back->thread, NULL, serve, back) == 0);
}

void back_stop(struct back *back)
{
	pthread_join(back->thread, NULL);
	vl_device_destroy(back->device);
}

struct vl_device_status back_status(struct back *back)
{
	struct vl_device_status status;

	pthread_mutex_lock(&back->lock);
	vl_device_status(back->device, &status);
	pthread_mutex_unlock(&back->lock);
	return status;
}

struct vl_queue_status back_queue(struct back *back, unsigned index)
{
	struct vl_queue_status status;

	pthread_mutex_lock(&back->lock);
	vl_device_queue_status(back->device, index, &status);
	pthread_mutex_unlock(&back->lock);
	return status;
}
