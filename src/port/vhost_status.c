/* SPDX-License-Identifier: BSD-3-Clause */
/* What a vhost port is doing, for people. */
#include <stdio.h>
#include <string.h>

#include "port/status.h"
#include "port/vhost.h"

bool vhost_broken_queue(const struct port_vhost *vhost, unsigned *index, const char **why)
{
	struct vl_device_status device;
	struct vl_queue_status queue;

	vl_device_status(vhost->device, &device);
	for (unsigned i = 0; device.attached && i < device.queue_count; i++) {
		vl_device_queue_status(vhost->device, i, &queue);
		if (queue.broken == NULL)
			continue;
		*index = i;
		*why = queue.broken;
		return true;
	}
	return false;
}

static void describe_waiting(const struct port_vhost *vhost, struct port_status *out)
{
	const struct port_settings *settings = &vhost->port.settings;

	if (vhost->failed) {
		out->state = PORT_ERROR;
		(void)snprintf(out->reason, sizeof(out->reason), "%s", vhost->last_error);
		return;
	}
	out->state = PORT_WAITING;
	if (vhost->listen_fd >= 0)
		(void)snprintf(
			out->reason,
			sizeof(out->reason),
			"nobody is connected to %.400s",
			settings->listen
		);
	else
		(void)snprintf(
			out->reason,
			sizeof(out->reason),
			"%.400s; trying again every second",
			vhost->last_error
		);
}

static void describe_session(
	const struct port_vhost *vhost,
	const struct vl_device_status *device,
	struct port_status *out
)
{
	unsigned index;
	const char *why;

	if (vhost_broken_queue(vhost, &index, &why)) {
		out->state = PORT_ERROR;
		(void
		)snprintf(out->reason, sizeof(out->reason), "queue %u was stopped: %s", index, why);
		return;
	}
	out->state = device->pairs_up > 0 ? PORT_UP : PORT_CONNECTED;
	/* Such as that nobody asks for its pages. */
	if (out->state == PORT_UP && device->memory_arrives)
		(void
		)snprintf(out->reason, sizeof(out->reason), "%s", vl_device_reason(vhost->device));
	if (out->state == PORT_UP)
		return;
	if (device->memory_arrives)
		(void)snprintf(
			out->reason,
			sizeof(out->reason),
			"the guest is being migrated here: its rings' memory has not come yet"
		);
	else if (device->memory_regions == 0)
		(void)snprintf(
			out->reason, sizeof(out->reason), "the peer has not shared its memory yet"
		);
	else
		(void)snprintf(
			out->reason,
			sizeof(out->reason),
			"the driver has not started its queues: is the interface up in the guest?"
		);
}

void vhost_status(const struct port *port, struct port_status *out)
{
	const struct port_vhost *vhost = vhost_of_const(port);
	struct vl_device_status device;

	vl_device_status(vhost->device, &device);
	if (device.attached)
		describe_session(vhost, &device, out);
	else
		describe_waiting(vhost, out);
	(void)snprintf(out->last_error, sizeof(out->last_error), "%s", vhost->last_error);
	(void)snprintf(out->last_message, sizeof(out->last_message), "%s", device.last_message);
	memcpy(out->peer, vhost->peer, sizeof(out->peer));
	memcpy(out->features, device.features.word, sizeof(out->features));
	out->protocol_features = device.protocol_features;
	out->offloads_taken = device.offloads_taken;
	out->offloads_sent = device.offloads_sent;
	out->memory_regions = device.memory_regions;
	out->memory_size = device.memory_size;
	out->queue_count = device.queue_count;
	for (unsigned i = 0; i < device.queue_count; i++) {
		struct port_queue_status *to = &out->queues[i];
		struct vl_queue_status queue;

		vl_device_queue_status(vhost->device, i, &queue);
		*to = (struct port_queue_status){
			.index = (uint16_t)i,
			.started = queue.started,
			.enabled = queue.enabled,
			.size = queue.size,
			.layout = queue.packed ? "packed" : "split",
			.avail = queue.avail,
			.used = queue.used,
			.kicks = queue.kicks,
			.calls = queue.calls,
			.worker = -1,
		};
	}
	for (unsigned pair = 0; pair < port->settings.queues; pair++) {
		uint64_t frames, bytes;

		if (2 * pair + 1 >= device.queue_count)
			break;
		vl_device_discarded(vhost->device, pair, &frames, &bytes);
		out->counters.rx_frames += frames;
		out->counters.rx_bytes += bytes;
		out->counters.drops[DROP_QUEUE_DISABLED] += frames;
	}
}
