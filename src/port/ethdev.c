/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An ethdev port: a NIC, or anything else that a driver of DPDK makes look like one.
 *
 * Frames are borrowed as mbufs, which are freed when they are given back. A frame to the device is
 * copied into mbufs of the port's own pool (once, as into a virtqueue) and sent at once. What the
 * device can compute (checksums, segmentation) it is asked to; a checksum that it cannot is
 * computed here, and a large frame that it cannot cut has been cut before (`accepts`).
 *
 * The device belongs to the port: it is probed when the port is created and removed with it. It may
 * go before (hot unplug); the port is in error then, and has to be deleted.
 */
#include <errno.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/netns.h"
#include "net/frame.h"
#include "port/eal.h"
#include "port/ethdev.h"

enum {
	PREFETCH_AHEAD = 4,
};

static struct port_ethdev *ethdev_of(const struct port *port)
{
	return (struct port_ethdev *)port;
}

/* ---- from the device ---- */

/* The first bytes go to the head, the rest are pieces; in as many segments as there is room for. */
static void mbuf_to_frame(const struct rte_mbuf *mbuf, struct iovec *spans, struct vl_frame *frame)
{
	const uint64_t sums = mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	uint16_t n = 0;

	frame->header = (struct vl_net_header){0};
	if (sums == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		frame->header.flags = VL_NET_DATA_VALID;
	frame->size = 0;
	frame->head = frame->bytes;
	frame->head_size = 0;
	frame->tail = spans;
	for (; mbuf != NULL && n < ETHDEV_FRAME_SPANS; mbuf = mbuf->next) {
		uint32_t room = VL_HEAD_MAX - frame->head_size;
		uint32_t head = mbuf->data_len < room ? mbuf->data_len : room;

		memcpy(frame->head + frame->head_size, rte_pktmbuf_mtod(mbuf, uint8_t *), head);
		frame->head_size = (uint16_t)(frame->head_size + head);
		frame->size += mbuf->data_len;
		if (mbuf->data_len > head)
			spans[n++] = (struct iovec){
				rte_pktmbuf_mtod_offset(mbuf, uint8_t *, head),
				mbuf->data_len - head,
			};
	}
	frame->tail_count = n;
}

static int ethdev_borrow(struct port *port, unsigned index, struct vl_frame *frames, unsigned max)
{
	struct port_ethdev *ethdev = ethdev_of(port);
	struct ethdev_queue *queue = &ethdev->queues[index];
	unsigned n;

	if (atomic_load_explicit(&ethdev->removed, memory_order_relaxed))
		return 0;
	if (max > VL_BURST_MAX)
		max = VL_BURST_MAX;
	if (queue->count == 0) {
		queue->first = 0;
		queue->count = rte_eth_rx_burst(
			ethdev->device, (uint16_t)index, queue->borrowed, (uint16_t)max
		);
	}
	n = queue->count < max ? queue->count : max;
	for (unsigned i = 0; i < n && i < PREFETCH_AHEAD; i++)
		rte_prefetch0(rte_pktmbuf_mtod(queue->borrowed[queue->first + i], void *));
	for (unsigned i = 0; i < n; i++) {
		unsigned at = queue->first + i;

		if (i + PREFETCH_AHEAD < n)
			rte_prefetch0(rte_pktmbuf_mtod(queue->borrowed[at + PREFETCH_AHEAD], void *)
			);
		mbuf_to_frame(
			queue->borrowed[at], &queue->spans[i * ETHDEV_FRAME_SPANS], &frames[i]
		);
	}
	return (int)n;
}

static void ethdev_give_back(struct port *port, unsigned index, unsigned done, unsigned put_off)
{
	struct ethdev_queue *queue = &ethdev_of(port)->queues[index];

	(void)put_off; /* they stay where they are */
	rte_pktmbuf_free_bulk(&queue->borrowed[queue->first], done);
	queue->first += done;
	queue->count -= done;
}

/* ---- to the device ---- */

/* Add bytes to a chain of mbufs, which grows as needed. False: there are no more, or the device
 * takes no chains. */
static bool
append(struct port_ethdev *ethdev,
       struct rte_mbuf *first,
       struct rte_mbuf **last,
       const uint8_t *bytes,
       uint32_t size)
{
	while (size > 0) {
		uint32_t room = rte_pktmbuf_tailroom(*last);
		uint16_t piece = (uint16_t)(room < size ? room : size);

		memcpy(rte_pktmbuf_mtod_offset(*last, uint8_t *, (*last)->data_len), bytes, piece);
		(*last)->data_len = (uint16_t)((*last)->data_len + piece);
		first->pkt_len += piece;
		bytes += piece;
		size -= piece;
		if (size == 0)
			break;
		struct rte_mbuf *next = ethdev->tx_offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS
						? rte_pktmbuf_alloc(ethdev->pool)
						: NULL;
		if (next == NULL)
			return false;
		(*last)->next = next;
		*last = next;
		first->nb_segs++;
	}
	return true;
}

/* Fill in a checksum that the device does not compute. False: the frame is in too many pieces. */
static bool fill_checksum(struct rte_mbuf *mbuf, const struct vl_net_header *header)
{
	struct iovec pieces[ETHDEV_FRAME_SPANS];
	unsigned count = 0;

	for (struct rte_mbuf *m = mbuf; m != NULL; m = m->next) {
		if (count == ETHDEV_FRAME_SPANS)
			return false;
		pieces[count++] = (struct iovec){rte_pktmbuf_mtod(m, void *), m->data_len};
	}
	frame_fill_checksum(pieces, count, header);
	return true;
}

/* Ask for a checksum, and for segmentation. False: not of this device. What is looked at are
 * headers that were copied already. */
static bool ask_device(
	const struct port_ethdev *ethdev, struct rte_mbuf *mbuf, const struct vl_net_header *header
)
{
	uint8_t *bytes = rte_pktmbuf_mtod(mbuf, uint8_t *);
	struct frame_layers layers;

	if (!(atomic_load_explicit(&((struct port_ethdev *)ethdev)->offloads, memory_order_relaxed)
	      & VL_OFFLOAD_CSUM)
	    || !frame_find_layers(bytes, mbuf->data_len, &layers) || layers.l4 != header->csum_start
	    || layers.l4 + TCP_HEADER_SIZE > mbuf->data_len)
		return false;
	/* Drivers take the protocol for the sum from IPv6's own header. */
	if (layers.ip6 && layers.l4 != layers.ip + sizeof(struct rte_ipv6_hdr))
		return false;
	bool tcp = layers.protocol == PROTOCOL_TCP && header->csum_offset == TCP_SUM_OFFSET;
	bool udp = layers.protocol == PROTOCOL_UDP && header->csum_offset == UDP_SUM_OFFSET;
	if (!tcp && !udp)
		return false;
	mbuf->l2_len = layers.ip;
	mbuf->l3_len = (uint64_t)(layers.l4 - layers.ip);
	mbuf->ol_flags |= layers.ip6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	mbuf->ol_flags |= tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	if (header->gso_type == VL_GSO_NONE)
		return true;
	uint32_t l4_size = (bytes[layers.l4 + 12] >> 4) * 4u;
	if (!tcp || l4_size < TCP_HEADER_SIZE || layers.l4 + l4_size > mbuf->data_len)
		return false;
	mbuf->l4_len = l4_size;
	mbuf->tso_segsz = header->gso_size;
	mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	if (!layers.ip6)
		mbuf->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	/* A device that cuts wants the sum of the pseudo header without the length. */
	void *ip = bytes + layers.ip;
	uint16_t sum = layers.ip6 ? rte_ipv6_phdr_cksum(ip, mbuf->ol_flags)
				  : rte_ipv4_phdr_cksum(ip, mbuf->ol_flags);
	memcpy(bytes + layers.l4 + TCP_SUM_OFFSET, &sum, sizeof(sum));
	return true;
}

/* Drivers differ in what becomes of a frame that is longer than the device sends: some lose it. */
static bool is_too_large(const struct port_ethdev *ethdev, const struct vl_frame *frame)
{
	if (frame->header.gso_type == VL_GSO_NONE)
		return frame->size > ethdev->largest;
	return (uint32_t)frame->header.hdr_len + frame->header.gso_size > ethdev->largest;
}

/* A frame in mbufs of our own. NULL: there are none now, or (*verdict) it cannot be. */
static struct rte_mbuf *
copy_frame(struct port_ethdev *ethdev, const struct vl_frame *frame, int *verdict)
{
	if (is_too_large(ethdev, frame)) {
		*verdict = DROP_TOO_LARGE;
		return NULL;
	}
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(ethdev->pool), *last = mbuf;
	bool whole = mbuf != NULL && append(ethdev, mbuf, &last, frame->head, frame->head_size);

	*verdict = DELIVERED;
	for (uint32_t i = 0; whole && i < frame->tail_count; i++)
		whole =
			append(ethdev,
			       mbuf,
			       &last,
			       frame->tail[i].iov_base,
			       (uint32_t)frame->tail[i].iov_len);
	if (whole && (frame->header.flags & VL_NET_NEEDS_CSUM)
	    && !ask_device(ethdev, mbuf, &frame->header)) {
		/* `accepts` has seen to it that a large one can be cut, but for what it could not
		 * know. */
		if (frame->header.gso_type != VL_GSO_NONE || !fill_checksum(mbuf, &frame->header))
			*verdict = DROP_OFFLOAD;
	}
	if (mbuf != NULL && !whole && !(ethdev->tx_offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS))
		*verdict = DROP_TOO_LARGE;
	if (whole && *verdict == DELIVERED)
		return mbuf;
	rte_pktmbuf_free(mbuf);
	return NULL;
}

/* Send what was built; how many the device took. One that it refuses for good is dropped. */
static unsigned send_all(
	struct port_ethdev *ethdev,
	uint16_t queue,
	struct rte_mbuf **mbufs,
	uint16_t *places,
	unsigned count,
	int *results
)
{
	unsigned sent = 0;

	while (sent < count) {
		uint16_t left = (uint16_t)(count - sent);
		uint16_t fit = rte_eth_tx_prepare(ethdev->device, queue, mbufs + sent, left);
		uint16_t took = rte_eth_tx_burst(ethdev->device, queue, mbufs + sent, fit);

		sent += took;
		if (took < fit)
			break;
		if (fit < left) {
			results[places[sent]] = DROP_DEVICE;
			rte_pktmbuf_free(mbufs[sent++]);
		}
	}
	if (sent < count)
		rte_pktmbuf_free_bulk(mbufs + sent, count - sent);
	return sent;
}

static unsigned ethdev_copy_in(
	struct port *port,
	unsigned index,
	const struct vl_frame *const *frames,
	unsigned count,
	int *results,
	struct vl_copier *copier
)
{
	struct port_ethdev *ethdev = ethdev_of(port);
	struct rte_mbuf *mbufs[VL_BURST_MAX];
	uint16_t places[VL_BURST_MAX];
	unsigned built = 0, done = 0;

	if (atomic_load_explicit(&ethdev->removed, memory_order_relaxed)) {
		for (unsigned i = 0; i < count; i++)
			results[i] = DROP_PORT_DOWN;
		return count;
	}
	(void)copier; /* a device fetches what was copied at once */
	if (count > VL_BURST_MAX)
		count = VL_BURST_MAX;
	for (; done < count; done++) {
		mbufs[built] = copy_frame(ethdev, frames[done], &results[done]);
		if (mbufs[built] == NULL && results[done] == DELIVERED)
			break; /* no mbuf now */
		if (mbufs[built] != NULL)
			places[built++] = (uint16_t)done;
	}
	/* Some drivers free what was sent only when they are told to send. */
	if (built == 0 && done < count)
		(void)rte_eth_tx_burst(ethdev->device, (uint16_t)index, mbufs, 0);
	unsigned sent = send_all(ethdev, (uint16_t)index, mbufs, places, built, results);
	return sent < built ? places[sent] : done;
}

static void ethdev_flush(struct port *port, unsigned index)
{
	(void)port;
	(void)index; /* everything was sent at once */
}

static bool ethdev_accepts(const struct port *port, const struct vl_net_header *header)
{
	uint32_t offloads = atomic_load_explicit(&ethdev_of(port)->offloads, memory_order_relaxed);

	/* Whether it knows of CWR cannot be asked, so large frames with it are cut. */
	return (frame_needs(header) & ~offloads) == 0;
}

static unsigned ethdev_tx_queues(const struct port *port)
{
	struct port_ethdev *ethdev = ethdev_of(port);

	return atomic_load_explicit(&ethdev->link_up, memory_order_relaxed)
			       && !atomic_load_explicit(&ethdev->removed, memory_order_relaxed)
		       ? ethdev->tx_queue_count
		       : 0;
}

/* Few drivers can interrupt without a kernel's help that is not always there. */
static enum port_sleep ethdev_sleep(struct port *port, unsigned index)
{
	return ethdev_of(port)->queues[index].count > 0 ? PORT_AWAKE : PORT_SILENT;
}

static void ethdev_woken(struct port *port, unsigned index)
{
	(void)port;
	(void)index;
}

/* ---- control ---- */

static void read_link(struct port_ethdev *ethdev)
{
	struct rte_eth_link link = {0};
	bool up = rte_eth_link_get_nowait(ethdev->device, &link) == 0
		  && link.link_status == RTE_ETH_LINK_UP;

	if (up != atomic_load_explicit(&ethdev->link_up, memory_order_relaxed))
		log_info(
			LOG_PORT, "%s: link is %s", ethdev->port.settings.name, up ? "up" : "down"
		);
	atomic_store_explicit(&ethdev->link_up, up, memory_order_relaxed);
}

static void close_device(struct port_ethdev *ethdev);

/* Our descriptors keep a namespace alive whose name is gone: its interfaces shall go with it. */
static void ethdev_tick(struct port *port)
{
	struct port_ethdev *ethdev = ethdev_of(port);
	bool removed = atomic_load_explicit(&ethdev->removed, memory_order_relaxed);

	if (!ethdev->open)
		return;
	if (!removed && netns_id(port->settings.netns) == ethdev->netns_id) {
		read_link(ethdev);
		return;
	}
	log_warning(LOG_PORT, "%s: the device is gone", port->settings.name);
	atomic_store_explicit(&ethdev->removed, true, memory_order_relaxed);
	port->hooks->synchronize(port->hooks->context);
	close_device(ethdev);
}

static int ethdev_set_offloads(struct port *port, uint32_t offloads, struct error *error)
{
	struct port_ethdev *ethdev = ethdev_of(port);
	uint32_t missing = offloads & ~ethdev->capable;

	for (unsigned i = 0; offloads != VL_OFFLOADS_ALL && i < PORT_OFFLOAD_COUNT; i++) {
		if ((missing >> i) & 1)
			return error_set(
				error,
				-ENOTSUP,
				"offloads: device %.64s has no %s; leave it out, or use all for "
				"what it has",
				port->settings.device,
				port_offload_names[i]
			);
	}
	atomic_store_explicit(&ethdev->offloads, offloads & ethdev->capable, memory_order_relaxed);
	return 0;
}

static void read_statistics(const struct port_ethdev *ethdev, struct port_device_status *out)
{
	struct rte_eth_link link = {0};
	struct rte_eth_stats stats;

	(void)snprintf(out->driver, sizeof(out->driver), "%s", ethdev->driver);
	if (rte_eth_link_get_nowait(ethdev->device, &link) == 0
	    && link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN)
		out->speed_mbps = link.link_speed;
	(void)rte_eth_dev_get_mtu(ethdev->device, &out->mtu);
	if (rte_eth_stats_get(ethdev->device, &stats) != 0)
		return;
	out->rx_missed = stats.imissed;
	out->rx_errors = stats.ierrors;
	out->rx_no_buffer = stats.rx_nombuf;
	out->tx_errors = stats.oerrors;
}

static void ethdev_status(const struct port *port, struct port_status *out)
{
	struct port_ethdev *ethdev = ethdev_of(port);
	bool up = atomic_load_explicit(&ethdev->link_up, memory_order_relaxed);

	out->state = up ? PORT_UP : PORT_WAITING;
	if (atomic_load_explicit(&ethdev->removed, memory_order_relaxed)) {
		out->state = PORT_ERROR;
		(void)snprintf(
			out->reason,
			sizeof(out->reason),
			"device %.200s is gone, maybe with its network namespace; delete the port, "
			"and add it again when it is back",
			port->settings.device
		);
	} else if (!up) {
		(void)snprintf(out->reason, sizeof(out->reason), "the link is down");
	}
	if (ethdev->open)
		read_statistics(ethdev, &out->device);
	out->offloads_taken = atomic_load_explicit(&ethdev->offloads, memory_order_relaxed);
	out->queue_count = port->settings.queues;
	for (unsigned i = 0; i < port->settings.queues; i++)
		out->queues[i] = (struct port_queue_status){
			.index = (uint16_t)i,
			.started = true,
			.enabled = true,
			.layout = "device",
			.worker = -1,
		};
}

/* ---- life ---- */

/* In the port's network namespace, for devices that stand on an interface of the kernel. */
static int open_device(void *context, struct error *error)
{
	struct port_ethdev *ethdev = context;
	int result = ethdev_device_open(ethdev, error);

	if (result < 0)
		return result;
	read_link(ethdev);
	return ethdev_set_offloads(&ethdev->port, ethdev->port.settings.policy.offloads, error);
}

/* Back there: a driver may take something off its interface. */
static int shut_device(void *context, struct error *error)
{
	(void)error;
	ethdev_device_shut(context);
	return 0;
}

/* When no worker uses it any more. */
static void close_device(struct port_ethdev *ethdev)
{
	struct port *port = &ethdev->port;

	if (!ethdev->open)
		return;
	ethdev->open = false;
	for (unsigned i = 0; i < port->settings.queues; i++) {
		struct ethdev_queue *queue = &ethdev->queues[i];

		rte_pktmbuf_free_bulk(&queue->borrowed[queue->first], queue->count);
		queue->count = 0;
	}
	/* Its memory is about to be freed, so it has to be shut from wherever. */
	if (ethdev->netns_fd < 0 || netns_run_in(ethdev->netns_fd, shut_device, ethdev, NULL) < 0)
		(void)shut_device(ethdev, NULL);
	if (ethdev->netns_fd >= 0)
		close(ethdev->netns_fd);
	ethdev->netns_fd = -1;
}

static void ethdev_destroy(struct port *port)
{
	struct port_ethdev *ethdev = ethdev_of(port);

	close_device(ethdev);
	rte_mempool_free(ethdev->pool);
	port_fini(port);
	free(ethdev);
}

static const struct port_ops ethdev_ops = {
	.borrow = ethdev_borrow,
	.give_back = ethdev_give_back,
	.copy_in = ethdev_copy_in,
	.flush = ethdev_flush,
	.accepts = ethdev_accepts,
	.tx_queues = ethdev_tx_queues,
	.sleep = ethdev_sleep,
	.woken = ethdev_woken,
	.set_offloads = ethdev_set_offloads,
	.tick = ethdev_tick,
	.status = ethdev_status,
	.destroy = ethdev_destroy,
};

int port_ethdev_create(
	const struct port_settings *settings,
	unsigned id,
	const struct port_hooks *hooks,
	struct port_legacy *,
	struct port **out,
	struct error *error
)
{
	int result = eal_start(error);

	if (result < 0)
		return result;
	struct port_ethdev *ethdev =
		calloc(1, sizeof(*ethdev) + settings->queues * sizeof(ethdev->queues[0]));
	if (ethdev == NULL || port_init(&ethdev->port, &ethdev_ops, settings, id, hooks) < 0) {
		free(ethdev);
		return error_set(error, -ENOMEM, "out of memory");
	}
	ethdev->port.knows_sums = true;
	ethdev->netns_id = netns_id(settings->netns);
	ethdev->netns_fd = -1;
	if (settings->netns[0] != '\0')
		ethdev->netns_fd = result = netns_open(settings->netns, error);
	ethdev->open = result >= 0;
	if (result >= 0)
		result = settings->netns[0] == '\0'
				 ? open_device(ethdev, error)
				 : netns_run_in(ethdev->netns_fd, open_device, ethdev, error);
	if (result < 0) {
		ethdev_destroy(&ethdev->port);
		return result;
	}
	*out = &ethdev->port;
	return 0;
}
