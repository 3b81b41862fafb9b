/* SPDX-License-Identifier: BSD-3-Clause */
/* The device of an ethdev port: probed, configured, started, and shut. See ethdev.h. */
#include <errno.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "port/ethdev.h"

enum {
	DESCRIPTORS = 1024, /* of a queue, if the device lets us choose */
	POOL_CACHE = 32,    /* mbufs that each worker may keep */
	POOL_CACHES = 1024, /* mbufs for all of these */
};

/* What is used of a device that has it. */
#define RX_OFFLOADS (RTE_ETH_RX_OFFLOAD_CHECKSUM | RTE_ETH_RX_OFFLOAD_SCATTER)
#define TX_OFFLOADS                                                    \
	(RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM \
	 | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM \
	 | RTE_ETH_TX_OFFLOAD_TCP_TSO)

/* Called by a thread of DPDK's. */
static int on_removed(uint16_t device, enum rte_eth_event_type type, void *context, void *result)
{
	struct port_ethdev *ethdev = context;

	(void)device;
	(void)type;
	(void)result;
	atomic_store_explicit(&ethdev->removed, true, memory_order_relaxed);
	return 0;
}

/* The name of the device, as DPDK understands what was given. */
static int device_name(
	const struct port_settings *settings, char name[RTE_DEV_NAME_MAX_LEN], struct error *error
)
{
	struct rte_devargs devargs = {0};
	int result = rte_devargs_parse(&devargs, settings->device);

	if (result == 0)
		(void)snprintf(name, RTE_DEV_NAME_MAX_LEN, "%s", devargs.name);
	else
		error_set(error, -ENODEV, "cannot open device %.200s: no such", settings->device);
	free(devargs.data); /* what rte_devargs_reset() does, which is experimental in 22.11 */
	return result == 0 ? 0 : -ENODEV;
}

static int probe(struct port_ethdev *ethdev, struct error *error)
{
	const struct port_settings *settings = &ethdev->port.settings;
	char name[RTE_DEV_NAME_MAX_LEN];
	int result = device_name(settings, name, error);

	if (result < 0)
		return result;
	if (rte_eth_dev_get_port_by_name(name, &ethdev->device) == 0)
		return error_set(
			error, -EEXIST, "device %s is in use; each port needs its own", name
		);
	result = rte_dev_probe(settings->device);
	if (result == 0)
		result = rte_eth_dev_get_port_by_name(name, &ethdev->device);
	if (result < 0)
		return error_set(
			error,
			result,
			"cannot open device %.200s: %s; give the address of a NIC that is bound "
			"to a driver of DPDK's, or a virtual one such as "
			"net_af_packet0,iface=eth0",
			settings->device,
			rte_strerror(-result)
		);
	ethdev->probed = true;
	return 0;
}

/* Which of VL_OFFLOAD_* a device has. */
static uint32_t capabilities(const struct port_ethdev *ethdev, const char *driver)
{
	const uint64_t sums = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	uint32_t capable = 0;

	/* It does them in software: IPv4 only, and frames up to its MTU. Ours are better. */
	if ((ethdev->tx_offloads & sums) != sums || strcmp(driver, "net_tap") == 0)
		return 0;
	capable |= VL_OFFLOAD_CSUM;
	if (ethdev->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO)
		capable |= VL_OFFLOAD_TSO4 | VL_OFFLOAD_TSO6;
	/* RTE_ETH_TX_OFFLOAD_UDP_TSO is fragmentation with some drivers and USO with others. */
	return capable;
}

/*
 * As rte_pktmbuf_pool_create(), but with buffers close together, across small pages. net_af_xdp
 * takes it for granted that there are no gaps, and would send from where nothing is. Such buffers
 * have no addresses for a device on a bus.
 */
static struct rte_mempool *
create_dense_pool(const char *name, unsigned count, uint16_t room, int socket)
{
	struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = room};
	struct rte_mempool *pool = rte_mempool_create_empty(
		name,
		count,
		(unsigned)sizeof(struct rte_mbuf) + room,
		POOL_CACHE,
		sizeof(private),
		socket,
		RTE_MEMPOOL_F_NO_IOVA_CONTIG
	);

	if (pool == NULL)
		return NULL;
	rte_pktmbuf_pool_init(pool, &private);
	if (rte_mempool_populate_default(pool) < 0) {
		rte_mempool_free(pool);
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

/* Buffers for both directions, each large enough for a frame if the device takes no chains. */
static int make_pool(
	struct port_ethdev *ethdev,
	const struct rte_eth_dev_info *info,
	uint16_t rx_descriptors,
	uint16_t tx_descriptors,
	struct error *error
)
{
	const struct port_settings *settings = &ethdev->port.settings;
	bool chains = (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER)
		      && (ethdev->tx_offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
	uint32_t mtu = settings->policy.mtu != 0 ? settings->policy.mtu : RTE_ETHER_MTU;
	uint32_t room = mtu + RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN;
	/* A driver may have rings of its own size behind those that it was asked for. */
	unsigned rx = RTE_MAX(rx_descriptors, 2u * info->default_rxportconf.ring_size);
	unsigned tx = RTE_MAX(tx_descriptors, 2u * info->default_txportconf.ring_size);
	unsigned count = settings->queues * (rx + tx + 2u * VL_BURST_MAX) + POOL_CACHES;
	char name[RTE_MEMPOOL_NAMESIZE];

	if (chains || room < RTE_MBUF_DEFAULT_DATAROOM)
		room = RTE_MBUF_DEFAULT_DATAROOM;
	room += RTE_PKTMBUF_HEADROOM;
	if (room > UINT16_MAX)
		return error_set(
			error, -EINVAL, "mtu=%u is more than this device's buffers can have", mtu
		);
	(void)snprintf(name, sizeof(name), "ethdev-%u", ethdev->port.id);
	int socket = rte_eth_dev_socket_id(ethdev->device);
	ethdev->pool = strcmp(ethdev->driver, "net_af_xdp") == 0
			       ? create_dense_pool(name, count, (uint16_t)room, socket)
			       : rte_pktmbuf_pool_create(
				       name, count, POOL_CACHE, 0, (uint16_t)room, socket
			       );
	if (ethdev->pool == NULL)
		return error_set(
			error,
			-ENOMEM,
			"no memory for %u buffers of the device: %s",
			count,
			rte_strerror(rte_errno)
		);
	return 0;
}

static int
setup_queues(struct port_ethdev *ethdev, uint16_t rx_descriptors, uint16_t tx_descriptors)
{
	int socket = rte_eth_dev_socket_id(ethdev->device);
	int result = 0;

	for (uint16_t i = 0; result == 0 && i < ethdev->port.settings.queues; i++)
		result = rte_eth_rx_queue_setup(
			ethdev->device, i, rx_descriptors, (unsigned)socket, NULL, ethdev->pool
		);
	for (uint16_t i = 0; result == 0 && i < ethdev->tx_queue_count; i++)
		result = rte_eth_tx_queue_setup(
			ethdev->device, i, tx_descriptors, (unsigned)socket, NULL
		);
	return result;
}

static int
refuse(const struct port_ethdev *ethdev, const char *what, int result, struct error *error)
{
	return error_set(
		error,
		result,
		"device %.200s: cannot %s: %s",
		ethdev->port.settings.device,
		what,
		rte_strerror(-result)
	);
}

static int configure(struct port_ethdev *ethdev, struct error *error)
{
	const struct port_settings *settings = &ethdev->port.settings;
	uint16_t rx_descriptors = DESCRIPTORS, tx_descriptors = DESCRIPTORS;
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	int result = rte_eth_dev_info_get(ethdev->device, &info);

	if (result < 0)
		return refuse(ethdev, "ask what it can do", result, error);
	(void)snprintf(ethdev->driver, sizeof(ethdev->driver), "%s", info.driver_name);
	if (settings->queues > info.max_rx_queues)
		return error_set(
			error,
			-EINVAL,
			"queues=%u: device %.200s has %u",
			settings->queues,
			settings->device,
			info.max_rx_queues
		);
	ethdev->tx_queue_count =
		settings->queues < info.max_tx_queues ? settings->queues : info.max_tx_queues;
	ethdev->tx_offloads = info.tx_offload_capa & TX_OFFLOADS;
	ethdev->capable = capabilities(ethdev, info.driver_name);
	conf.rxmode.mtu = settings->policy.mtu != 0 ? settings->policy.mtu : RTE_ETHER_MTU;
	conf.rxmode.offloads = info.rx_offload_capa & RX_OFFLOADS;
	/* Asked to check, these leave sums partial that others would have completed. */
	if (strncmp(info.driver_name, "net_virtio", 10) == 0
	    || strcmp(info.driver_name, "net_vhost") == 0)
		conf.rxmode.offloads &= ~RTE_ETH_RX_OFFLOAD_CHECKSUM;
	conf.intr_conf.rmv = (*info.dev_flags & RTE_ETH_DEV_INTR_RMV) != 0;
	conf.txmode.offloads = ethdev->tx_offloads;
	if (settings->queues > 1 && info.flow_type_rss_offloads != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf =
			info.flow_type_rss_offloads
			& (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP);
	}
	result = rte_eth_dev_configure(
		ethdev->device, settings->queues, ethdev->tx_queue_count, &conf
	);
	if (result < 0)
		return refuse(ethdev, "configure it", result, error);
	(void)rte_eth_dev_adjust_nb_rx_tx_desc(ethdev->device, &rx_descriptors, &tx_descriptors);
	result = make_pool(ethdev, &info, rx_descriptors, tx_descriptors, error);
	if (result < 0)
		return result;
	result = setup_queues(ethdev, rx_descriptors, tx_descriptors);
	return result < 0 ? refuse(ethdev, "set its queues up", result, error) : 0;
}

/* A switch wants to see every frame. Devices that cannot choose show all as well. */
static void open_ears(struct port_ethdev *ethdev)
{
	int promiscuous = rte_eth_promiscuous_enable(ethdev->device);
	int all_multicast = rte_eth_allmulticast_enable(ethdev->device);

	if (promiscuous < 0 && promiscuous != -ENOTSUP)
		log_warning(
			LOG_PORT,
			"%s: device %s does not become promiscuous (%s): it may show only frames "
			"to its own address",
			ethdev->port.settings.name,
			ethdev->port.settings.device,
			rte_strerror(-promiscuous)
		);
	(void)all_multicast; /* implied by the former */
}

static int start(struct port_ethdev *ethdev, struct error *error)
{
	const struct port_settings *settings = &ethdev->port.settings;
	int result = 0;

	if (settings->policy.mtu != 0) {
		result = rte_eth_dev_set_mtu(ethdev->device, settings->policy.mtu);
		if (result < 0 && result != -ENOTSUP)
			return refuse(ethdev, "set its MTU", result, error);
	}
	ethdev->watched = rte_eth_dev_callback_register(
				  ethdev->device, RTE_ETH_EVENT_INTR_RMV, on_removed, ethdev
			  )
			  == 0;
	result = rte_eth_dev_start(ethdev->device);
	if (result < 0)
		return refuse(ethdev, "start it", result, error);
	ethdev->started = true;
	uint16_t mtu = RTE_ETHER_MTU;
	(void)rte_eth_dev_get_mtu(ethdev->device, &mtu);
	ethdev->largest = mtu + RTE_ETHER_HDR_LEN + 2u * RTE_VLAN_HLEN;
	open_ears(ethdev);
	return 0;
}

int ethdev_device_open(struct port_ethdev *ethdev, struct error *error)
{
	int result = probe(ethdev, error);

	if (result == 0)
		result = configure(ethdev, error);
	return result == 0 ? start(ethdev, error) : result;
}

void ethdev_device_shut(struct port_ethdev *ethdev)
{
	struct rte_eth_dev_info info;

	while (ethdev->watched
	       && rte_eth_dev_callback_unregister(
			  ethdev->device, RTE_ETH_EVENT_INTR_RMV, on_removed, ethdev
		  ) == -EAGAIN)
		rte_pause(); /* it is being called */
	if (ethdev->started)
		(void)rte_eth_dev_stop(ethdev->device);
	if (!ethdev->probed)
		return;
	bool known = rte_eth_dev_info_get(ethdev->device, &info) == 0;
	(void)rte_eth_dev_close(ethdev->device);
	if (known)
		(void)rte_dev_remove(info.device);
}
