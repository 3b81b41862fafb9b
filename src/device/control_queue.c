/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control virtqueue (VIRTIO 1.3, 5.1.6.5), for front ends that leave it to the back end (User
 * Mode Linux). QEMU serves it itself and tells us only what came of it, by messages.
 *
 * Served by the control thread. A command is copied out of the driver's memory before anything in
 * it is looked at.
 */
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/device.h"
#include "vhost/signal.h"
#include "net/spans.h"

enum {
	COMMAND_MAX = 2048, /* header, two full MAC tables, and room */
	COMMANDS_A_CALL = 64,
};

struct command {
	const uint8_t *data; /* behind class and command */
	size_t size;	     /* bytes of data */
};

typedef bool (*command_handler
)(struct vl_device *device, uint8_t command, const struct command *content);

/* ---- receive filter ---- */

/* A copy of the filter in force; the first command turns filtering on. */
static struct receive_filter *filter_begin(const struct vl_device *device)
{
	const struct receive_filter *now =
		atomic_load_explicit(&((struct vl_device *)device)->filter, memory_order_relaxed);

	if (now != NULL)
		return receive_filter_copy(now);
	struct receive_filter *filter = calloc(1, sizeof(*filter));
	if (filter == NULL)
		return NULL;
	/* What a device does before it was told otherwise. */
	filter->promiscuous = true;
	filter->vlan_filter = vl_features_have(&device->features, VL_F_CTRL_VLAN);
	memcpy(filter->mac, device->mac, sizeof(filter->mac));
	return filter;
}

static bool rx_mode(struct vl_device *device, uint8_t command, const struct command *content)
{
	if (content->size != 1)
		return false;
	struct receive_filter *filter = filter_begin(device);
	if (filter == NULL)
		return false;
	bool on = content->data[0] != 0;

	switch (command) {
	case VIRTIO_NET_CTRL_RX_PROMISC:
		filter->promiscuous = on;
		break;
	case VIRTIO_NET_CTRL_RX_ALLMULTI:
		filter->all_multicast = on;
		break;
	case VIRTIO_NET_CTRL_RX_ALLUNI:
		filter->all_unicast = on;
		break;
	case VIRTIO_NET_CTRL_RX_NOMULTI:
		filter->no_multicast = on;
		break;
	case VIRTIO_NET_CTRL_RX_NOUNI:
		filter->no_unicast = on;
		break;
	case VIRTIO_NET_CTRL_RX_NOBCAST:
		filter->no_broadcast = on;
		break;
	default:
		free(filter);
		return false;
	}
	device_set_filter(device, filter);
	return true;
}

/* One table of MAC_TABLE_SET: a 32-bit count and as many addresses. More than fit are answered
 * by taking all of their kind, as the specification allows. */
static bool read_macs(struct command *rest, uint8_t (*macs)[6], uint32_t *count, bool *overflow)
{
	uint32_t entries;

	if (rest->size < sizeof(entries))
		return false;
	memcpy(&entries, rest->data, sizeof(entries));
	rest->data += sizeof(entries);
	rest->size -= sizeof(entries);
	if (entries > rest->size / 6)
		return false;
	*overflow = entries > FILTER_MACS_MAX;
	*count = *overflow ? 0 : entries;
	memcpy(macs, rest->data, (size_t)*count * 6);
	rest->data += (size_t)entries * 6;
	rest->size -= (size_t)entries * 6;
	return true;
}

static bool mac_table(struct receive_filter *filter, const struct command *content)
{
	struct command rest = *content;

	return read_macs(&rest, filter->unicast, &filter->unicast_count, &filter->many_unicast)
	       && read_macs(
		       &rest, filter->multicast, &filter->multicast_count, &filter->many_multicast
	       )
	       && rest.size == 0;
}

static bool mac(struct vl_device *device, uint8_t command, const struct command *content)
{
	struct receive_filter *filter = filter_begin(device);
	bool good = false;

	if (filter == NULL)
		return false;
	if (command == VIRTIO_NET_CTRL_MAC_TABLE_SET) {
		good = mac_table(filter, content);
	} else if (command == VIRTIO_NET_CTRL_MAC_ADDR_SET && content->size == 6) {
		memcpy(filter->mac, content->data, 6);
		memcpy(device->mac, content->data, 6);
		good = true;
	}
	if (good)
		device_set_filter(device, filter);
	else
		free(filter);
	return good;
}

static bool vlan(struct vl_device *device, uint8_t command, const struct command *content)
{
	uint16_t id;

	if (content->size != sizeof(id))
		return false;
	memcpy(&id, content->data, sizeof(id));
	struct receive_filter *filter = filter_begin(device);
	if (filter == NULL)
		return false;
	bool known = command == VIRTIO_NET_CTRL_VLAN_ADD || command == VIRTIO_NET_CTRL_VLAN_DEL;
	if (id >= 4096 || !known) {
		free(filter);
		return false;
	}
	if (command == VIRTIO_NET_CTRL_VLAN_ADD)
		filter->vlans[id / 64] |= UINT64_C(1) << (id % 64);
	else
		filter->vlans[id / 64] &= ~(UINT64_C(1) << (id % 64));
	device_set_filter(device, filter);
	return true;
}

/* ---- the rest ---- */

static bool announce(struct vl_device *device, uint8_t command, const struct command *)
{
	if (command != VIRTIO_NET_CTRL_ANNOUNCE_ACK)
		return false;
	device->link_status &= (uint16_t)~VIRTIO_NET_S_ANNOUNCE;
	return true;
}

static bool queue_pairs(struct vl_device *device, uint8_t command, const struct command *content)
{
	uint16_t pairs;

	if (command != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || content->size != sizeof(pairs)
	    || !vl_features_have(&device->features, VL_F_MQ))
		return false;
	memcpy(&pairs, content->data, sizeof(pairs));
	if (pairs == 0 || pairs > device->config.queue_pairs)
		return false;
	atomic_store_explicit(&device->chosen_pairs, pairs, memory_order_relaxed);
	device_queue_changed(device, 0);
	return true;
}

static bool offloads(struct vl_device *device, uint8_t command, const struct command *content)
{
	uint64_t wanted;

	if (command != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || content->size != sizeof(wanted))
		return false;
	memcpy(&wanted, content->data, sizeof(wanted));
	if (wanted & ~device->features.word[0])
		return false;
	device_update_offloads(device, wanted);
	return true;
}

/* Class to handler, and the feature that makes the class legal. */
static const struct {
	uint8_t feature;
	command_handler handle;
} classes[] = {
	[VIRTIO_NET_CTRL_RX] = {VL_F_CTRL_RX, rx_mode},
	[VIRTIO_NET_CTRL_MAC] = {VL_F_CTRL_VQ, mac},
	[VIRTIO_NET_CTRL_VLAN] = {VL_F_CTRL_VLAN, vlan},
	[VIRTIO_NET_CTRL_ANNOUNCE] = {VL_F_GUEST_ANNOUNCE, announce},
	[VIRTIO_NET_CTRL_MQ] = {VL_F_MQ, queue_pairs},
	[VIRTIO_NET_CTRL_GUEST_OFFLOADS] = {VL_F_CTRL_GUEST_OFFLOADS, offloads},
};

static bool run(struct vl_device *device, const uint8_t *bytes, size_t size)
{
	if (size < 2)
		return false;
	uint8_t class = bytes[0];
	struct command content = {bytes + 2, size - 2};

	if (class >= sizeof(classes) / sizeof(classes[0]) || classes[class].handle == NULL
	    || !vl_features_have(&device->features, classes[class].feature))
		return false;
	return classes[class].handle(device, bytes[1], &content);
}

static void run_chain(struct vl_device *device, struct queue *queue, const struct ring_chain *chain)
{
	struct span_cursor from = {queue->spans, chain->readable_spans};
	struct span_cursor to = {queue->spans + chain->readable_spans, chain->writable_spans};
	uint8_t bytes[COMMAND_MAX];
	uint8_t ack = VIRTIO_NET_ERR;

	if (chain->readable_size <= sizeof(bytes)) {
		size_t size = (size_t)chain->readable_size;

		spans_get(&from, bytes, size);
		if (run(device, bytes, size))
			ack = VIRTIO_NET_OK;
	}
	const void *place = to.span->iov_base; /* pieces are never empty */
	spans_put(&to, &ack, sizeof(ack));
	if (queue_is_logged(queue))
		queue_log(queue, place, sizeof(ack));
	ring_held_at(&queue->ring, queue->ring.held_count - 1)->written = sizeof(ack);
}

/* One command. 1: done, 0: there is none, -EPROTO: the queue is broken. */
static int serve_one(struct vl_device *device, struct queue *queue)
{
	bool packed = queue->ring.packed;
	struct ring_chain chain;
	int got = ring_take(&queue->ring, packed, &chain, queue->spans, queue->span_chain_max);

	if (got == 1 && chain.writable_size == 0)
		got = ring_break(&queue->ring, "a control command without room for its status");
	if (got <= 0)
		return got;
	run_chain(device, queue, &chain);
	ring_publish(&queue->ring, packed, 1);
	queue_call(queue);
	return 1;
}

bool device_serve_control(struct vl_device *device)
{
	unsigned index = device_control_index(device);
	struct queue *queue = device_has_control(device) ? device_live(device, index) : NULL;

	if (queue == NULL
	    || atomic_load_explicit(&queue->ring.broken, memory_order_relaxed) != NULL)
		return false;
	for (unsigned i = 0; i < COMMANDS_A_CALL; i++) {
		int got = serve_one(device, queue);

		if (got < 0)
			queue_signal_error(queue);
		if (got > 0)
			continue;
		/* When what it waits for has come we are called again. */
		bool more = got == 0 && !queue->ring.waiting
			    && ring_notify_on(&queue->ring, queue->ring.packed);
		queue_log_ring(queue);
		if (!more)
			return false;
	}
	return true;
}

bool vl_device_control_process(struct vl_device *device)
{
	if (!device_has_control(device))
		return false;
	struct virtqueue *vq = &device->queues[device_control_index(device)];
	/* Made quiet in any case: whoever waits for it must not spin while there is no queue. */
	(void)vhost_quiet(atomic_load_explicit(&vq->kick_fd, memory_order_relaxed));
	counter_add(&vq->counters.kicks, 1);
	return device_serve_control(device);
}
