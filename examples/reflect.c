/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A complete DPDK application: `reflect [EAL OPTION...] -- SOCKET [FEATURE...]` sends the frames of
 * a vhost-user socket back to who sent them, without a copy, until a signal ends it. FEATURE is
 * packed, mergeable or offloads. Without huge pages EAL needs --no-huge, else --in-memory and
 * --single-file-segments.
 */
#include <errno.h>
#include <inttypes.h>
#include <rte_eal.h>
#include <rte_ether.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <virtlane/mbuf.h>

enum {
	BURST = 32,
	POOL_SIZE = 8191,
	TIMEOUT_MS = 200,
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	ended = number;
}

static void want(struct vl_driver_config *config, const char *feature)
{
	static const uint8_t offloads[] = {
		VL_F_CSUM,
		VL_F_HOST_TSO4,
		VL_F_HOST_TSO6,
		VL_F_GUEST_CSUM,
		VL_F_GUEST_TSO4,
		VL_F_GUEST_TSO6};

	if (strcmp(feature, "packed") == 0)
		config->rings = VL_DRIVER_RINGS_PACKED;
	if (strcmp(feature, "mergeable") == 0)
		vl_features_add(&config->wanted, VL_F_MRG_RXBUF);
	for (unsigned i = 0; strcmp(feature, "offloads") == 0 && i < RTE_DIM(offloads); i++)
		vl_features_add(&config->wanted, offloads[i]);
}

/* A frame that came with offloads leaves with them; its checksum is partial already. */
static void ask_again(struct rte_mbuf *mbuf)
{
	struct rte_net_hdr_lens sizes;
	uint64_t wish = 0;

	if ((mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) != RTE_MBUF_F_RX_L4_CKSUM_NONE)
		return;
	uint32_t type = rte_net_get_ptype(mbuf, &sizes, RTE_PTYPE_ALL_MASK);
	if ((type & RTE_PTYPE_L4_MASK) == RTE_PTYPE_L4_UDP)
		wish = RTE_MBUF_F_TX_UDP_CKSUM;
	else if (mbuf->ol_flags & RTE_MBUF_F_RX_LRO)
		wish = RTE_MBUF_F_TX_TCP_SEG;
	else
		wish = RTE_MBUF_F_TX_TCP_CKSUM;
	wish |= RTE_ETH_IS_IPV6_HDR(type) ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	mbuf->ol_flags |= wish;
	mbuf->l2_len = sizes.l2_len;
	mbuf->l3_len = sizes.l3_len;
	mbuf->l4_len = sizes.l4_len;
}

static void turn_round(struct rte_mbuf *mbuf)
{
	struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(mbuf, struct rte_ether_hdr *);

	if (rte_pktmbuf_data_len(mbuf) < sizeof(*ethernet))
		return;
	struct rte_ether_addr from = ethernet->src_addr;
	ethernet->src_addr = ethernet->dst_addr;
	ethernet->dst_addr = from;
	ask_again(mbuf);
}

/* Until a signal, or an error. */
static int reflect(struct vl_mbuf_port *port, unsigned long *frames)
{
	struct rte_mbuf *mbufs[BURST];
	int error = 0;

	while (!ended && error >= 0) {
		int n = vl_mbuf_rx_burst(port, 0, mbufs, BURST), sent = 0;

		if (n == 0) {
			error = vl_driver_wait(port->driver, 0, TIMEOUT_MS);
			if (error == -EINTR)
				error = 0;
		} else if (n < 0) {
			error = n;
		}
		for (int i = 0; i < n; i++)
			turn_round(mbufs[i]);
		while (!ended && error >= 0 && sent < n) {
			int taken = vl_mbuf_tx_burst(port, 0, mbufs + sent, (unsigned)(n - sent));

			if (taken > 0)
				sent += taken;
			else /* The ring is full: is the device still there? */
				error = taken < 0 ? taken : vl_driver_process(port->driver);
		}
		*frames += (unsigned)sent;
		if (sent < n)
			rte_pktmbuf_free_bulk(mbufs + sent, (unsigned)(n - sent));
	}
	return error < 0 ? error : 0;
}

int main(int argc, char **argv)
{
	struct vl_driver_error why = {"usage: reflect [EAL OPTION...] -- SOCKET [FEATURE...]"};
	const struct sigaction action = {.sa_handler = on_signal};
	unsigned long frames = 0;
	struct vl_mbuf_port *port;
	int eal = rte_eal_init(argc, argv);

	if (eal < 0 || argc - eal < 2)
		return fprintf(stderr, "reflect: %s\n", why.text), 2;
	struct vl_driver_config config = {.size = sizeof(config), .path = argv[eal + 1]};
	for (int i = eal + 2; i < argc; i++)
		want(&config, argv[i]);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	struct rte_mempool *pool = rte_pktmbuf_pool_create(
		"mbufs", POOL_SIZE, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY
	);
	if (pool == NULL)
		return fprintf(stderr, "reflect: no memory for mbufs\n"), 1;
	if (vl_mbuf_open(&config, pool, &port, &why) < 0)
		return fprintf(stderr, "reflect: %s\n", why.text), 1;
	(void)puts("ready");
	(void)fflush(stdout);
	int error = reflect(port, &frames);
	printf("%lu frames sent back, %" PRIu64 " refused\n",
	       frames,
	       port->pairs[0].stats.tx_refused);
	vl_mbuf_close(port);
	printf("%u of %u mbufs in the pool\n", rte_mempool_avail_count(pool), pool->size);
	if (error < 0)
		fprintf(stderr, "reflect: the device is gone: %s\n", strerror(-error));
	rte_mempool_free(pool);
	(void)rte_eal_cleanup();
	return error < 0;
}
