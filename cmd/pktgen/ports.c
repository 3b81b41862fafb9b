/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening ports, see ports.h. */
#include "pktgen/ports.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "net/frame.h"
#include "pktgen/frames.h"

enum {
	ANNOUNCEMENT_SIZE = 60,
	ETHERTYPE_EXPERIMENT = 0x88b5, /* IEEE 802, local experimental */
	SETTLE_NS = 20 * 1000 * 1000,
	BUFFER_ALIGN = 64,
	BUFFER_DEFAULT = 2048,
};

/* ---- opening ---- */

static uint32_t choose_buffer_size(const struct pktgen_options *options, unsigned port)
{
	uint32_t size = options->buffer_size > 0 ? options->buffer_size : BUFFER_DEFAULT;
	bool builds = pktgen_port_sends(options, port)
		      && (options->mode != MODE_REFLECT || options->in_flight > 0);

	/* A frame is built in one buffer. Who only receives may be given smaller ones. */
	if ((builds || options->buffer_size == 0) && size < options->sizes.max)
		size = options->sizes.max;
	return (size + BUFFER_ALIGN - 1) / BUFFER_ALIGN * BUFFER_ALIGN;
}

static enum pktgen_exit
open_port(struct port *port, const struct pktgen_options *options, unsigned index)
{
	const struct pktgen_port_name *name = &options->ports[index];
	const struct vl_driver_config config = {
		.size = sizeof(config),
		.path = name->path,
		.listen = name->listen,
		.queue_pairs = options->queues,
		.queue_size = options->queue_size,
		.rings = (enum vl_driver_rings)options->rings,
		.ring = options->ring,
		.isa = options->isa,
		.wanted = options->wanted,
		.withheld = options->withheld,
		.buffer_size = choose_buffer_size(options, index),
		.timeout_ms = (int)(options->timeout * 1000),
	};
	struct vl_driver_error why = {};
	int result = vl_driver_open(&config, &port->driver, &why);

	if (result < 0) {
		port->driver = NULL;
		if (why.text[0] == '\0')
			(void)snprintf(
				why.text,
				sizeof(why.text),
				"cannot open %.200s: %s",
				name->path,
				strerror(-result)
			);
		return pktgen_fail(
			result == -EINVAL ? PKTGEN_USAGE : PKTGEN_UNCONNECTED, "%s", why.text
		);
	}
	port->path = name->path;
	vl_driver_status(port->driver, &port->status);
	if (!port->status.link_up)
		(void
		)pktgen_fail(PKTGEN_OK, "the device at %s says that its link is down", name->path);
	return PKTGEN_OK;
}

static enum pktgen_exit need_feature(const struct port *port, unsigned bit, const char *option)
{
	if (vl_features_have(&port->status.features, bit))
		return PKTGEN_OK;
	return pktgen_fail(
		PKTGEN_FAILED,
		"the device at %s does not offer %s; leave out %s",
		port->path,
		vl_feature_name(bit),
		option
	);
}

/* What the frames that were asked for stand on. */
static enum pktgen_exit
check_features(const struct port *ports, const struct pktgen_options *options)
{
	enum pktgen_exit status = PKTGEN_OK;

	for (unsigned i = 0; i < options->port_count && status == PKTGEN_OK; i++) {
		const struct port *port = &ports[i];
		unsigned send = options->ip6 ? VL_F_HOST_TSO6 : VL_F_HOST_TSO4;
		unsigned receive = options->ip6 ? VL_F_GUEST_TSO6 : VL_F_GUEST_TSO4;

		if (options->partial_sums && pktgen_port_sends(options, i))
			status = need_feature(port, VL_F_CSUM, "--offload and --tso");
		if (status == PKTGEN_OK && options->tso > 0 && pktgen_port_sends(options, i))
			status = need_feature(port, send, "--tso");
		/* Segments that were cut on the way have no probes. */
		if (status == PKTGEN_OK && options->tso > 0 && (options->verify || options->latency)
		    && pktgen_port_receives(options, i))
			status = need_feature(
				port, receive, "--verify and --latency, or do without --tso"
			);
	}
	return status;
}

/* ---- addresses ---- */

static void choose_addresses(struct port *ports, const struct pktgen_options *options)
{
	/* Somebody unknown: a switch floods it, a reflector sends it back. */
	static const uint8_t nobody[6] = {0x02, 0x76, 0x6c, 0, 0, 0xff};

	for (unsigned i = 0; i < options->port_count; i++) {
		const uint8_t own[6] = {0x02, 0x76, 0x6c, 0, 0, (uint8_t)(i + 1)};
		const struct vl_driver_status *status = &ports[i].status;

		memcpy(ports[i].source, status->has_mac ? status->mac : own, 6);
	}
	/* Two devices of one back end that both say the same address. */
	if (options->port_count == 2 && memcmp(ports[0].source, ports[1].source, 6) == 0)
		ports[1].source[5] ^= 1;
	if (options->has_source)
		memcpy(ports[0].source, options->source, 6);
	for (unsigned i = 0; i < options->port_count; i++)
		memcpy(ports[i].destination,
		       options->port_count == 2 ? ports[1 - i].source : nobody,
		       6);
	if (options->has_destination)
		memcpy(ports[0].destination, options->destination, 6);
}

/* A broadcast from the n-th address of a port, so that a switch knows where to find whom frames
 * will be sent to. False: there is no buffer now. */
static bool announce(const struct port *port, uint32_t vlan, uint32_t n)
{
	struct vl_driver_frame frame;
	uint8_t *at;

	if (vl_driver_alloc(port->driver, 0, &frame, 1) == 0)
		return false;
	at = frame.data;
	memset(at, 0, ANNOUNCEMENT_SIZE);
	memset(at, 0xff, ETHER_ADDRESS_SIZE);
	memcpy(at + ETHER_ADDRESS_SIZE, port->source, ETHER_ADDRESS_SIZE);
	address_count_on(at + ETHER_ADDRESS_SIZE, n);
	at += 2 * (size_t)ETHER_ADDRESS_SIZE;
	if (vlan > 0) {
		store_be16(at, ETHERTYPE_VLAN_TAG);
		store_be16(at + 2, (uint16_t)vlan);
		at += VLAN_TAG_SIZE;
	}
	store_be16(at, ETHERTYPE_EXPERIMENT);
	frame.length = ANNOUNCEMENT_SIZE;
	if (vl_driver_tx_burst(port->driver, 0, &frame, 1) == 1)
		return true;
	vl_driver_free(port->driver, 0, &frame, 1);
	return false;
}

static void sleep_ns(int64_t ns)
{
	const struct timespec time = {
		.tv_sec = ns / 1000000000,
		.tv_nsec = ns % 1000000000,
	};

	(void)nanosleep(&time, NULL);
}

void port_announce(const struct port *port, const struct pktgen_options *options)
{
	unsigned patience = 1000;

	for (uint32_t n = 0; n < options->macs && patience > 0;) {
		if (announce(port, options->vlan, n)) {
			n++;
			continue;
		}
		patience--;
		sleep_ns(SETTLE_NS / 200);
	}
}

/* Take what has come so far off the queues: it is not to be counted. */
static void discard_received(const struct port *port, unsigned queues)
{
	struct vl_driver_frame frames[VL_DRIVER_BURST_MAX];

	for (unsigned pair = 0; pair < queues; pair++) {
		int count;

		/* Bounded, in case that somebody sends without end. */
		for (unsigned turn = 0; turn < 1024; turn++) {
			count = vl_driver_rx_burst(port->driver, pair, frames, VL_DRIVER_BURST_MAX);
			if (count <= 0)
				break;
			vl_driver_free(port->driver, pair, frames, (unsigned)count);
		}
	}
}

enum pktgen_exit ports_open(struct port *ports, const struct pktgen_options *options)
{
	enum pktgen_exit status = PKTGEN_OK;

	for (unsigned i = 0; i < options->port_count && status == PKTGEN_OK; i++)
		status = open_port(&ports[i], options, i);
	if (status == PKTGEN_OK)
		status = check_features(ports, options);
	if (status != PKTGEN_OK)
		return status;
	choose_addresses(ports, options);
	if (options->delay > 0)
		sleep_ns((int64_t)(options->delay * 1e9));
	if (options->port_count < 2 || options->no_announce)
		return PKTGEN_OK;
	for (unsigned i = 0; i < options->port_count; i++)
		port_announce(&ports[i], options);
	sleep_ns(SETTLE_NS);
	for (unsigned i = 0; i < options->port_count; i++)
		discard_received(&ports[i], options->queues);
	return PKTGEN_OK;
}

void ports_close(struct port *ports, const struct pktgen_options *options)
{
	for (unsigned i = 0; i < options->port_count; i++) {
		vl_driver_close(ports[i].driver);
		ports[i].driver = NULL;
	}
}
