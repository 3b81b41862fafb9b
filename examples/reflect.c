/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A DPDK application on a vhost-user socket: `reflect [EAL options] -- SOCKET [wanted feature
 * bits]` exchanges the addresses of each frame and sends it back, without copying, until it is told
 * to end.
 */
#include <inttypes.h>
#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_lcore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <virtlane/mbuf.h>

static volatile sig_atomic_t end_wanted;

static void on_signal(int)
{
	end_wanted = 1;
}

static void exchange_addresses(struct rte_mbuf *mbuf)
{
	struct rte_ether_hdr *header = rte_pktmbuf_mtod(mbuf, struct rte_ether_hdr *);
	struct rte_ether_addr source = header->src_addr;

	header->src_addr = header->dst_addr;
	header->dst_addr = source;
}

/* Returns how many frames went back; -1: the device broke the rules. */
static int64_t reflect(struct vl_mbuf_port *port)
{
	struct rte_mbuf *mbufs[32];
	int64_t total = 0;

	while (!end_wanted) {
		int count = vl_mbuf_rx_burst(port, 0, mbufs, 32);

		if (count < 0)
			return -1;
		for (int i = 0; i < count; i++)
			exchange_addresses(mbufs[i]);
		uint16_t sent = vl_mbuf_tx_burst(port, 0, mbufs, (uint16_t)count);
		rte_pktmbuf_free_bulk(mbufs + sent, (unsigned)count - sent);
		total += sent;
	}
	return total;
}

int main(int argc, char **argv)
{
	struct vl_driver_config config = {.size = sizeof(config)};
	struct vl_driver_error why = {"usage: reflect [EAL options] -- SOCKET [feature bits]"};
	struct vl_mbuf_port *port;
	int used = rte_eal_init(argc, argv);

	if (used < 0 || argc - used < 2)
		return fprintf(stderr, "reflect: %s\n", why.text), 2;
	config.path = argv[used + 1];
	if (argc - used > 2)
		config.wanted.word[0] = strtoull(argv[used + 2], NULL, 0);
	struct rte_mempool *pool = rte_pktmbuf_pool_create(
		"frames", 8191, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, (int)rte_socket_id()
	);
	unsigned before = pool != NULL ? rte_mempool_avail_count(pool) : 0;
	if (pool == NULL || vl_mbuf_open(&config, pool, &port, &why) < 0)
		return fprintf(stderr, "reflect: %s\n", why.text), 1;
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	puts("ready");
	fflush(stdout);
	int64_t frames = reflect(port);
	vl_mbuf_close(port);
	printf("%" PRId64 " frames sent back, %u mbufs missing\n",
	       frames,
	       before - rte_mempool_avail_count(pool));
	rte_eal_cleanup();
	return frames < 0;
}
