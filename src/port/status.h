/* SPDX-License-Identifier: BSD-3-Clause */
/* What can be told about a port while it runs: state, counters, rings, and why frames were lost. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "port/settings.h"

/* Why frames did not arrive. */
enum drop_reason {
#define DROP_REASON(id, name, text) DROP_##id,
#include "port/drop_reasons.h"
#undef DROP_REASON
	DROP_COUNT,
};
const char *drop_reason_name(enum drop_reason reason); /* "no_buffer" */
const char *drop_reason_text(enum drop_reason reason); /* one line of explanation */

/*
 * Counters of a port since it was added. "rx" is what the switch took from the port, "tx" what it
 * delivered to it. At rest, summed over ports:
 *	rx_frames + rx_replicated = tx_frames + tx_merged + all drops.
 */
struct port_counters {
	uint64_t rx_frames, rx_bytes; /* bytes of frames, without FCS and virtio-net header */
	uint64_t tx_frames, tx_bytes;
	uint64_t rx_replicated; /* frames beyond the first that came of one frame of this port:
				 * copies by flooding, and segments */
	uint64_t tx_cut;	/* large frames that were cut for this port */
	uint64_t tx_merged; /* frames that became part of another one, for this port; if that was
			     * dropped, it is one drop */
	uint64_t drops[DROP_COUNT];
};

void port_counters_add(struct port_counters *to, const struct port_counters *from);

enum port_state {
	PORT_WAITING,	/* nobody is connected */
	PORT_CONNECTED, /* a peer is there, its rings are not ready */
	PORT_UP,	/* frames flow */
	PORT_ERROR,	/* the peer broke the rules; `reason` says how */
};
const char *port_state_name(enum port_state state); /* "waiting", "connected", ... */

struct port_queue_status {
	uint16_t index; /* virtqueue index (vhost) or queue number (tap) */
	bool started, enabled;
	uint32_t size;	       /* descriptors; 0 for a tap */
	const char *layout;    /* "split", "packed", "tap" or "device" */
	uint16_t avail, used;  /* next index the switch will look at / write to */
	uint64_t kicks, calls; /* notifications received / sent */
	int worker;	       /* that takes frames from it; -1: none */
};

/* What a NIC says of itself, since it was started. */
struct port_device_status {
	char driver[32];
	uint32_t speed_mbps; /* 0: unknown */
	uint16_t mtu;
	uint64_t rx_missed, rx_errors, rx_no_buffer, tx_errors; /* frames */
};

struct port_status {
	enum port_state state;
	char reason[ERROR_SIZE];		/* empty when there is nothing to say */
	char last_message[64];			/* vhost: name of the last message */
	char last_error[ERROR_SIZE];		/* kept until the peer reconnects well */
	uint64_t features[2];			/* negotiated virtio feature bits 0..127 */
	uint64_t protocol_features;		/* negotiated vhost-user protocol feature bits */
	uint32_t offloads_taken, offloads_sent; /* VL_OFFLOAD_* that the peer takes, and may use */
	unsigned memory_regions;
	uint64_t memory_size; /* bytes */
	char peer[64];	      /* "pid 123 uid 0", empty if nobody */
	bool cross_connected; /* the port that its cross-connect names exists and names it */
	struct port_device_status device; /* of an ethdev port */
	struct port_counters counters;
	unsigned queue_count;
	struct port_queue_status queues[2 * PORT_QUEUES_MAX + 1];
};
