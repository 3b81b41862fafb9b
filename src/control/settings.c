/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of settings and what is common to all of them, see settings.h. */
#include "control/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/setting_codecs.h"
#include "control/text.h"

static const char *const kind_names[] = {
	[PORT_VHOST] = "vhost",
	[PORT_TAP] = "tap",
	[PORT_ETHDEV] = "ethdev",
	[PORT_VIRTIO] = "virtio",
	NULL};
static const char *const link_names[] = {"up", "down", NULL};
static const char *const poll_names[] = {"adaptive", "always", NULL};

#define PORT_FIELD(field)                                \
	.offset = offsetof(struct port_settings, field), \
	.size = sizeof(((struct port_settings *)NULL)->field)
#define SWITCH_FIELD(field)                                \
	.offset = offsetof(struct switch_settings, field), \
	.size = sizeof(((struct switch_settings *)NULL)->field)
#define KIND(kind) (1 << PORT_##kind)
#define ALL_KINDS .kinds = KIND(VHOST) | KIND(TAP) | KIND(ETHDEV) | KIND(VIRTIO)

const struct setting port_setting_table[] = {
	{
		.name = "kind",
		.codec = &codec_choice,
		.argument = "vhost|tap|ethdev|virtio",
		.choices = kind_names,
		ALL_KINDS,
		PORT_FIELD(kind),
		.help = "What is on the other side: a vhost-user front end (a virtual machine or "
			"an application), a network interface of the kernel, a NIC (anything "
			"that DPDK has a driver for), or a device of another switch, whose "
			"vhost-user socket is given. Always needed.",
	},
	{
		.name = "listen",
		.codec = &codec_path,
		.argument = "PATH",
		.preset = "none",
		.can_be_none = true,
		.kinds = KIND(VHOST) | KIND(VIRTIO),
		PORT_FIELD(listen),
		.help = "The port makes this Unix socket and waits there for its peer.",
	},
	{
		.name = "connect",
		.codec = &codec_path,
		.argument = "PATH",
		.preset = "none",
		.can_be_none = true,
		.kinds = KIND(VHOST) | KIND(VIRTIO),
		PORT_FIELD(connect),
		.help = "The peer makes this Unix socket; the port connects to it, and again when "
			"the peer comes back. Exactly one of listen and connect is needed.",
	},
	{
		.name = "queues",
		.codec = &codec_number,
		.argument = "COUNT",
		.preset = "1",
		.min = 1,
		.max = PORT_QUEUES_MAX,
		ALL_KINDS,
		PORT_FIELD(queues),
		.help = "Most queue pairs the peer may use; of a device: those that it gets.",
	},
	{
		.name = "mtu",
		.codec = &codec_number,
		.argument = "BYTES",
		.preset = "none",
		.min = PORT_MTU_MIN,
		.max = PORT_MTU_MAX,
		.can_be_none = true,
		.live = true,
		.fixed_kinds = KIND(ETHDEV) | KIND(VIRTIO),
		ALL_KINDS,
		PORT_FIELD(policy.mtu),
		.help = "MTU offered to the driver (VIRTIO_NET_F_MTU), or set on the interface or "
			"device. A driver that can be told of a change is; Linux's looks at its "
			"start alone.",
	},
	{
		.name = "max-frame",
		.codec = &codec_number,
		.argument = "BYTES",
		.preset = "65550",
		.min = 60,
		.max = PORT_FRAME_MAX,
		.live = true,
		ALL_KINDS,
		PORT_FIELD(policy.max_frame),
		.help = "Largest frame, without FCS; of a segmentation frame it limits each "
			"segment.",
	},
	{
		.name = "coalesce",
		.codec = &codec_bool,
		.argument = "yes|no",
		.preset = "no",
		.live = true,
		ALL_KINDS,
		PORT_FIELD(policy.coalesce),
		.help = "Put TCP segments that come from a NIC, a tap or another switch together "
			"to "
			"large frames for this port, if it takes those (GRO): fewer frames for "
			"its stack, of a burst that was there anyway. Not over a cross-connect.",
	},
	{
		.name = "answer-too-large",
		.codec = &codec_bool,
		.argument = "yes|no",
		.preset = "no",
		.live = true,
		ALL_KINDS,
		PORT_FIELD(policy.answer_too_large),
		.help = "Tell the sender of an IP packet that is too large for this port's "
			"max-frame "
			"(IPv4 with DF, and IPv6), as a router would: ICMP fragmentation needed, "
			"ICMPv6 packet too big; at most 100 a second to each port, and not over a "
			"cross-connect.",
	},
	{
		.name = "offloads",
		.codec = &codec_offloads,
		.argument = "all|NAME[,...]",
		.preset = "all",
		.can_be_none = true,
		.live = true,
		ALL_KINDS,
		PORT_FIELD(policy.offloads),
		.help = "What may be left to the receiver of a frame, of csum (checksums), tso4, "
			"tso6, ecn, ufo and uso (segmentation): offered to the driver or the "
			"kernel, and used towards it. What a receiver does not take the switch "
			"does.",
	},
	{
		.name = "link",
		.codec = &codec_bool_choice,
		.argument = "up|down",
		.preset = "up",
		.live = true,
		.kinds = KIND(VHOST),
		.choices = link_names,
		PORT_FIELD(policy.link_down),
		.help = "Whether the driver's link is up. While it is down no frame enters or "
			"leaves; a driver that can be told of it (vhost-user's CONFIG_CHANGE_MSG: "
			"User Mode Linux, ours; not QEMU) is.",
	},
	{
		.name = "mac",
		.codec = &codec_macs,
		.argument = "ADDRESS[,...]",
		.preset = "none",
		.can_be_none = true,
		.live = true,
		ALL_KINDS,
		PORT_FIELD(policy),
		.help = "The port's own addresses; the first is offered to the driver.",
	},
	{
		.name = "mac-lock",
		.codec = &codec_bool,
		.argument = "yes|no",
		.preset = "no",
		.live = true,
		ALL_KINDS,
		PORT_FIELD(policy.mac_lock),
		.help = "Only frames from the addresses of mac may enter.",
	},
	{
		.name = "vlan",
		.codec = &codec_vlan,
		.argument = "VLAN",
		.preset = "none",
		.min = 1,
		.max = VLAN_COUNT - 2,
		.can_be_none = true,
		.live = true,
		ALL_KINDS,
		PORT_FIELD(policy),
		.help = "VLAN of untagged frames: the access VLAN, or with trunk the native one. "
			"With vlan "
			"alone no tagged frame passes.",
	},
	{
		.name = "trunk",
		.codec = &codec_vlan_set,
		.argument = "VLANS|all",
		.preset = "none",
		.can_be_none = true,
		.live = true,
		ALL_KINDS,
		PORT_FIELD(policy),
		.help = "Tagged VLANs that pass, for example 10,20-30. Without vlan and trunk "
			"every "
			"frame passes as it is.",
	},
	{
		.name = "isolate",
		.codec = &codec_number,
		.argument = "GROUP",
		.preset = "none",
		.min = 1,
		.max = 65535,
		.can_be_none = true,
		.live = true,
		ALL_KINDS,
		PORT_FIELD(policy.isolate),
		.help = "Ports of the same group do not talk to each other.",
	},
	{
		.name = "cross-connect",
		.codec = &codec_port_name,
		.argument = "PORT",
		.preset = "none",
		.can_be_none = true,
		.live = true,
		ALL_KINDS,
		PORT_FIELD(policy.cross_connect),
		.help = "The one port that frames go to and come from, as if by a wire; both name "
			"each other. Addresses are not looked up, and a receiver without buffers "
			"makes the sender wait.",
	},
	{
		.name = "storm-limit",
		.codec = &codec_number,
		.argument = "FRAMES",
		.preset = "0",
		.max = 1000000000,
		.live = true,
		ALL_KINDS,
		PORT_FIELD(policy.storm_limit),
		.help = "Flooded frames (broadcast, multicast, unknown unicast) a second that may "
			"enter here; 0 is any number.",
	},
	{
		.name = "owner",
		.codec = &codec_user,
		.argument = "user",
		.preset = "none",
		.can_be_none = true,
		.kinds = KIND(VHOST) | KIND(VIRTIO),
		PORT_FIELD(owner),
		.help = "Owner of the listening socket, by name or number.",
	},
	{
		.name = "group",
		.codec = &codec_group,
		.argument = "group",
		.preset = "none",
		.can_be_none = true,
		.kinds = KIND(VHOST) | KIND(VIRTIO),
		PORT_FIELD(group),
		.help = "Group of the listening socket, by name or number.",
	},
	{
		.name = "iommu",
		.codec = &codec_bool,
		.argument = "yes|no",
		.preset = "no",
		.kinds = KIND(VHOST),
		PORT_FIELD(iommu),
		.help = "The driver may be behind an IOMMU of its guest's: its addresses are "
			"translated (ACCESS_PLATFORM; in QEMU iommu_platform=on). That takes "
			"slower ways through the rings.",
	},
	{
		.name = "postcopy",
		.codec = &codec_bool,
		.argument = "yes|no",
		.preset = "yes",
		.kinds = KIND(VHOST),
		PORT_FIELD(postcopy),
		.help = "A guest may be moved here first, and its memory behind it (PAGEFAULT), "
			"if it has one queue pair.",
	},
	{
		.name = "device-state",
		.codec = &codec_bool,
		.argument = "yes|no",
		.preset = "no",
		.kinds = KIND(VHOST),
		PORT_FIELD(device_state),
		.help = "What a driver has said by a control queue that is served here goes along "
			"when it moves (DEVICE_STATE). QEMU then moves guests only to back ends "
			"that offer it, too.",
	},
	{
		.name = "mode",
		.codec = &codec_mode,
		.argument = "OCTAL",
		.preset = "0660",
		.kinds = KIND(VHOST) | KIND(VIRTIO),
		PORT_FIELD(mode),
		.help = "Permissions of the listening socket.",
	},
	{
		.name = "interface",
		.codec = &codec_interface,
		.argument = "NAME",
		.preset = "none",
		.can_be_none = true,
		.kinds = KIND(TAP),
		PORT_FIELD(interface),
		.help = "Name of the interface in the kernel; without it, the port's name.",
	},
	{
		.name = "netns",
		.codec = &codec_file_name,
		.argument = "NAME",
		.preset = "none",
		.can_be_none = true,
		.kinds = KIND(TAP) | KIND(ETHDEV),
		PORT_FIELD(netns),
		.help = "Network namespace of the interface (of a device: that it is opened in), a "
			"name below /run/netns; without it, "
			"the "
			"daemon's.",
	},
	{
		.name = "device",
		.codec = &codec_device,
		.argument = "DEVICE",
		.preset = "none",
		.can_be_none = true,
		.kinds = KIND(ETHDEV),
		PORT_FIELD(device),
		.help = "The NIC, in DPDK's words: the address of one that is bound to a driver of "
			"DPDK's (0000:3b:00.0), or a virtual one with its arguments "
			"(net_af_packet0,iface=eth0).",
	},
	{},
};

const struct setting switch_setting_table[] = {
	{
		.name = "workers",
		.codec = &codec_cpus,
		.argument = "CPUS|auto",
		.preset = "auto",
		.help = "CPUs that forward frames, one pinned thread each, for example 2-3,5; auto "
			"is one thread on any CPU.",
	},
	{
		.name = "poll",
		.codec = &codec_bool_choice,
		.argument = "adaptive|always",
		.preset = "adaptive",
		.choices = poll_names,
		SWITCH_FIELD(poll_always),
		.help = "Whether a worker without frames sleeps (adaptive) or keeps looking "
			"(always).",
	},
	{
		.name = "dma",
		.codec = &codec_file_name,
		.argument = "DEVICE[,...]",
		.preset = "none",
		.can_be_none = true,
		SWITCH_FIELD(dma),
		.help = "DMA engines that copy large pieces of frames, by their names in DPDK: the "
			"first for the first worker, and so on. They have to share the addresses "
			"of a process, as Intel's DSA does; dma_skeleton is one in software, for "
			"tests.",
	},
	{
		.name = "dma-least",
		.codec = &codec_number,
		.argument = "BYTES",
		.preset = "16384",
		.min = 65,
		.max = 65536,
		SWITCH_FIELD(dma_least),
		.help = "Smaller pieces are copied by the worker itself.",
	},
	{
		.name = "rebalance",
		.codec = &codec_bool,
		.argument = "yes|no",
		.preset = "yes",
		SWITCH_FIELD(rebalance),
		.help = "Whether queues move from busy workers to others, as measured each "
			"second; with no, each stays where it was put first.",
	},
	{
		.name = "mac-table-size",
		.codec = &codec_number,
		.argument = "COUNT",
		.preset = "65536",
		.min = 64,
		.max = 16777216,
		SWITCH_FIELD(mac_table_size),
		.help = "Addresses that can be known at a time.",
	},
	{
		.name = "mac-age",
		.codec = &codec_number,
		.argument = "SECONDS",
		.preset = "300",
		.live = true,
		.max = 31536000,
		SWITCH_FIELD(mac_age),
		.help = "After so long without a frame an address is forgotten; 0 is never.",
	},
	{},
};

const struct setting *setting_find(const struct setting *table, const char *name)
{
	for (; table->name != NULL; table++) {
		if (strcmp(table->name, name) == 0)
			return table;
	}
	return NULL;
}

bool settings_given_have(const struct settings_given *given, const char *name)
{
	const struct setting *setting = setting_find(port_setting_table, name);

	return setting != NULL && (given->bits >> (setting - port_setting_table)) & 1;
}

static const void *setting_field(const struct setting *setting, const void *settings)
{
	return (const char *)settings + setting->offset;
}

char *setting_format(const struct setting *setting, const void *settings)
{
	return setting->codec->format(setting, setting_field(setting, settings));
}

bool setting_equal(const struct setting *setting, const void *a, const void *b)
{
	char *text_a = setting_format(setting, a);
	char *text_b = setting_format(setting, b);
	bool equal = strcmp(text_a, text_b) == 0;

	free(text_a);
	free(text_b);
	return equal;
}

const char *port_kind_name(enum port_kind kind)
{
	return kind_names[kind];
}

bool setting_applies(const struct setting *setting, enum port_kind kind)
{
	return (setting->kinds >> kind) & 1;
}

static int refuse_unknown(const struct setting *table, const char *name, struct error *error)
{
	char known[ERROR_SIZE / 2] = "";
	size_t size = 0;

	for (; table->name != NULL && size < sizeof(known); table++)
		size += (size_t)snprintf(
			known + size,
			sizeof(known) - size,
			"%s%s",
			size > 0 ? ", " : "",
			table->name
		);
	return error_set(error, -EINVAL, "unknown setting '%.40s'; known are %s", name, known);
}

int settings_parse(
	const struct setting *table,
	const char *name,
	const char *text,
	void *settings,
	struct settings_given *given,
	struct error *error
)
{
	const struct setting *setting = setting_find(table, name);
	uint64_t bit;

	if (setting == NULL)
		return refuse_unknown(table, name, error);
	bit = UINT64_C(1) << (setting - table);
	if (given->bits & bit)
		return error_set(error, -EINVAL, "%s is given twice; remove one", name);
	given->bits |= bit;
	if (*text == '\0')
		return error_set(
			error,
			-EINVAL,
			"%s has no value; give %s%s",
			name,
			setting->argument,
			setting->can_be_none ? " or none" : ""
		);
	return setting->codec->parse(setting, text, (char *)settings + setting->offset, error);
}

int port_name_parse(const char *text, char name[PORT_NAME_SIZE], struct error *error)
{
	size_t size = strlen(text);

	for (size_t i = 0; i < size; i++) {
		if (!isalnum((unsigned char)text[i]) && strchr("._-", text[i]) == NULL)
			return error_set(
				error,
				-EINVAL,
				"port name '%.40s': use letters, digits, '.', '_' and '-'",
				text
			);
	}
	if (size == 0 || size >= PORT_NAME_SIZE)
		return error_set(
			error,
			-EINVAL,
			"port name '%.40s' has %zu characters; use 1 to %d",
			text,
			size,
			PORT_NAME_SIZE - 1
		);
	memcpy(name, text, size + 1);
	return 0;
}
