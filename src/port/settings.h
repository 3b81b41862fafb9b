/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an operator says about a port. Plain data: src/control fills it from the configuration
 * file or a request, the switch reads it and never looks at text.
 */
#pragma once

#include <limits.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	PORT_NAME_SIZE = 32, /* with the final NUL */
	PORT_MACS_MAX = 16,
	PORT_QUEUES_MAX = 128,
	PORT_FRAME_MAX = 65550, /* bytes: the largest IP packet with Ethernet header */
	PORT_MTU_MIN = 68,	/* VIRTIO 1.3, 5.1.4.1 and RFC 791 */
	PORT_MTU_MAX = 65535,
	PORT_DEVICE_SIZE = 512,
	PORT_OFFLOAD_COUNT = 6, /* of VL_OFFLOAD_*, from the lowest bit on */
	VLAN_COUNT = 4096,
};

/* Names of VL_OFFLOAD_*, by bit: "csum", "tso4", ... */
extern const char *const port_offload_names[PORT_OFFLOAD_COUNT];

enum port_kind {
	PORT_VHOST,
	PORT_TAP,
	PORT_ETHDEV,
	PORT_VIRTIO,
};

struct port_mac {
	uint8_t bytes[6];
};

/*
 * The part that may change while frames flow (`virtlane port set`). A worker reads a published
 * copy of it, so it is immutable once published.
 */
struct port_policy {
	uint32_t offloads;  /* VL_OFFLOAD_* that may be used; what else is needed we do ourselves */
	uint32_t max_frame; /* bytes, without FCS; for a segmentation frame: of each segment */
	uint16_t mtu;	    /* 0: not offered (vhost), left as it is (tap) */
	bool link_down;	    /* no frame enters or leaves, and the driver is told so */
	bool mac_lock;	    /* only `macs` may be source addresses */
	uint8_t mac_count;
	struct port_mac macs[PORT_MACS_MAX]; /* the first is the one offered to the driver */
	uint16_t vlan;			     /* access or native VLAN; 0: none */
	bool trunk;			     /* tagged frames pass, if their bit is set below */
	uint16_t isolate;		     /* ports of one group do not talk; 0: no group */
	char cross_connect[PORT_NAME_SIZE]; /* the one port it exchanges frames with; empty: none */
	bool coalesce;			    /* put TCP segments together for this port */
	bool answer_too_large;		    /* tell senders of frames beyond max_frame (ICMP) */
	uint32_t storm_limit;		    /* flooded frames a second that may enter; 0: any */
	uint64_t trunk_vlans[VLAN_COUNT / 64];
};

/* Everything about a port. {} plus name, kind and listen/interface is not valid: start from
 * port_settings_default(). */
struct port_settings {
	char name[PORT_NAME_SIZE];
	enum port_kind kind;
	uint16_t queues; /* queue pairs, 1..PORT_QUEUES_MAX */
	struct port_policy policy;

	/* PORT_VHOST, PORT_VIRTIO: exactly one of listen and connect is not empty */
	char listen[PATH_MAX];
	char connect[PATH_MAX];
	uid_t owner;			    /* of the listening socket; (uid_t)-1: the daemon's */
	gid_t group;			    /* (gid_t)-1: the daemon's */
	mode_t mode;			    /* 0660 */
	bool iommu, postcopy, device_state; /* PORT_VHOST: offered */

	/* PORT_TAP */
	char interface[IFNAMSIZ]; /* empty: the port's name */
	char netns[NAME_MAX];	  /* name below /run/netns; empty: the daemon's own */

	/* PORT_ETHDEV, and netns */
	char device[PORT_DEVICE_SIZE]; /* PCI address or virtual device, with arguments, as DPDK has
					  it */
};

/* The settings a port has when nothing is said: one queue pair, every VLAN, no limit. */
void port_settings_default(struct port_settings *settings);
