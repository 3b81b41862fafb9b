/* SPDX-License-Identifier: BSD-3-Clause */
/* What a driver agrees on with its device: features, layout, queue pairs, address, MTU. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/driver.h"

enum {
	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 2,
	STATUS_FEATURES_OK = 8,
	/* Fields of the configuration space (VIRTIO 1.3, 5.1.4). */
	CONFIG_STATUS = 6,
	CONFIG_PAIRS = 8,
	CONFIG_MTU = 10,
	CONFIG_SIZE = 12,
	LINK_UP = 1,
	FRAME_MAX = 65535 + 14 + 12, /* bytes of the largest, with headers */
};

/* ---- which features ---- */

/* What is taken if it is offered, without being asked for. */
static bool takes_by_itself(const struct vl_driver *driver, unsigned bit)
{
	bool config = frontend_has(driver->frontend, VL_PROTOCOL_F_CONFIG);

	switch (bit) {
	case VL_F_VERSION_1:
	case VL_F_EVENT_IDX:
	case VL_F_INDIRECT_DESC:
		return true;
	/* What is in the configuration space can be had only where that can be read. DPDK offers
	 * CTRL_VQ to front ends that serve it themselves, so its control queue is nobody's. */
	case VL_F_MAC:
	case VL_F_MTU:
	case VL_F_STATUS:
	case VL_F_CTRL_VQ:
	case VL_F_CTRL_RX:
	case VL_F_CTRL_VLAN:
	case VL_F_CTRL_MAC_ADDR:
		return config;
	case VL_F_MQ:
		return driver->config.queue_pairs > 1;
	case VL_F_IN_ORDER:
		return driver->in_order;
	default:
		return false;
	}
}

/* What this driver knows how to do. */
static bool is_known(unsigned bit)
{
	static const uint8_t known[] = {
		VL_F_CSUM,	    VL_F_GUEST_CSUM, VL_F_CTRL_GUEST_OFFLOADS,
		VL_F_MTU,	    VL_F_MAC,	     VL_F_GUEST_TSO4,
		VL_F_GUEST_TSO6,    VL_F_GUEST_ECN,  VL_F_GUEST_UFO,
		VL_F_HOST_TSO4,	    VL_F_HOST_TSO6,  VL_F_HOST_ECN,
		VL_F_HOST_UFO,	    VL_F_MRG_RXBUF,  VL_F_STATUS,
		VL_F_CTRL_VQ,	    VL_F_CTRL_RX,    VL_F_CTRL_VLAN,
		VL_F_CTRL_RX_EXTRA, VL_F_MQ,	     VL_F_CTRL_MAC_ADDR,
		VL_F_INDIRECT_DESC, VL_F_EVENT_IDX,  VL_F_VERSION_1,
		VL_F_RING_PACKED,   VL_F_IN_ORDER,   VL_F_GUEST_USO4,
		VL_F_GUEST_USO6,    VL_F_HOST_USO,
	};

	for (unsigned i = 0; i < sizeof(known); i++) {
		if (known[i] == bit)
			return true;
	}
	return false;
}

/* A feature that stands on another is not taken without it (5.1.3.1). */
static bool lacks_ground(const struct vl_features *set, unsigned bit)
{
	static const struct {
		uint8_t bit, needs, or_needs;
	} grounds[] = {
		{VL_F_GUEST_TSO4, VL_F_GUEST_CSUM, VL_F_GUEST_CSUM},
		{VL_F_GUEST_TSO6, VL_F_GUEST_CSUM, VL_F_GUEST_CSUM},
		{VL_F_GUEST_ECN, VL_F_GUEST_TSO4, VL_F_GUEST_TSO6},
		{VL_F_GUEST_UFO, VL_F_GUEST_CSUM, VL_F_GUEST_CSUM},
		{VL_F_GUEST_USO4, VL_F_GUEST_CSUM, VL_F_GUEST_CSUM},
		{VL_F_GUEST_USO6, VL_F_GUEST_CSUM, VL_F_GUEST_CSUM},
		{VL_F_HOST_TSO4, VL_F_CSUM, VL_F_CSUM},
		{VL_F_HOST_TSO6, VL_F_CSUM, VL_F_CSUM},
		{VL_F_HOST_ECN, VL_F_HOST_TSO4, VL_F_HOST_TSO6},
		{VL_F_HOST_UFO, VL_F_CSUM, VL_F_CSUM},
		{VL_F_HOST_USO, VL_F_CSUM, VL_F_CSUM},
		{VL_F_CTRL_RX, VL_F_CTRL_VQ, VL_F_CTRL_VQ},
		{VL_F_CTRL_RX_EXTRA, VL_F_CTRL_VQ, VL_F_CTRL_VQ},
		{VL_F_CTRL_VLAN, VL_F_CTRL_VQ, VL_F_CTRL_VQ},
		{VL_F_CTRL_MAC_ADDR, VL_F_CTRL_VQ, VL_F_CTRL_VQ},
		{VL_F_CTRL_GUEST_OFFLOADS, VL_F_CTRL_VQ, VL_F_CTRL_VQ},
	};

	for (unsigned i = 0; i < sizeof(grounds) / sizeof(grounds[0]); i++) {
		if (grounds[i].bit == bit)
			return !vl_features_have(set, grounds[i].needs)
			       && !vl_features_have(set, grounds[i].or_needs);
	}
	return false;
}

/* Layouts as VIRTLANE_RING and the configuration name them. */
static const struct ring_kind {
	const char *name;
	bool packed, in_order;
} ring_kinds[] = {
	{"split", false, false},
	{"split-in-order", false, true},
	{"packed", true, false},
	{"packed-in-order", true, true},
};

/* The one of that name, or NULL; *why says which there are. */
static const struct ring_kind *ring_kind_named(const char *name, struct vl_driver_error *why)
{
	for (unsigned i = 0; i < sizeof(ring_kinds) / sizeof(ring_kinds[0]); i++) {
		if (strcmp(ring_kinds[i].name, name) == 0)
			return &ring_kinds[i];
	}
	(void)driver_explain(
		why,
		-EINVAL,
		"there is no ring variant \"%s\"; there are split, split-in-order, packed and "
		"packed-in-order",
		name
	);
	return NULL;
}

/* What nobody asked for by name: IN_ORDER if it can be had, and the layout that was asked for. */
static const struct ring_kind *ring_kind_by_features(const struct vl_driver *driver)
{
	bool in_order = vl_features_have(&driver->offered, VL_F_IN_ORDER)
			&& !vl_features_have(&driver->config.withheld, VL_F_IN_ORDER);
	bool packed = driver->config.rings == VL_DRIVER_RINGS_PACKED;

	return &ring_kinds[2 * packed + in_order];
}

static int check_ring(
	const struct vl_driver *driver, const struct ring_kind *kind, struct vl_driver_error *why
)
{
	const struct vl_driver_config *config = &driver->config;

	if (config->rings != VL_DRIVER_RINGS_ANY
	    && kind->packed != (config->rings == VL_DRIVER_RINGS_PACKED))
		return driver_explain(
			why,
			-EINVAL,
			"ring variant %s is not of the layout that was asked for",
			kind->name
		);
	if (kind->packed && !vl_features_have(&driver->offered, VL_F_RING_PACKED))
		return driver_explain(why, -ENOTSUP, "the device has no packed rings");
	if (kind->in_order && !vl_features_have(&driver->offered, VL_F_IN_ORDER))
		return driver_explain(
			why,
			-ENOTSUP,
			"ring variant %s needs IN_ORDER, which the device does not offer",
			kind->name
		);
	return 0;
}

static bool asks_for(const struct vl_driver_config *config, unsigned bit)
{
	return vl_features_have(&config->wanted, bit) || vl_features_have(&config->liked, bit);
}

/* Choose the layout and all that the data path is specialised by. */
static int choose_ring(struct vl_driver *driver, struct vl_driver_error *why)
{
	const struct vl_driver_config *config = &driver->config;
	const char *forced = getenv("VIRTLANE_RING");
	const char *name = forced != NULL && *forced != '\0' ? forced : config->ring;
	const struct ring_kind *kind =
		name != NULL ? ring_kind_named(name, why) : ring_kind_by_features(driver);
	bool mergeable = asks_for(config, VL_F_MRG_RXBUF)
			 && vl_features_have(&driver->offered, VL_F_MRG_RXBUF);

	if (kind == NULL)
		return -EINVAL;
	driver->ring_name = kind->name;
	driver->in_order = kind->in_order;
	driver->variant = (struct driver_variant
	){.packed = kind->packed, .mergeable = mergeable, .foreign = config->foreign};
	if (mergeable && !config->foreign
	    && (uint64_t)config->buffer_size * DRIVER_PIECES_MAX < FRAME_MAX)
		return driver_explain(
			why,
			-EINVAL,
			"with MRG_RXBUF a buffer holds at least %d bytes: %d of them hold any "
			"frame",
			FRAME_MAX / DRIVER_PIECES_MAX + 1,
			DRIVER_PIECES_MAX
		);
	return check_ring(driver, kind, why);
}

static void choose_features(struct vl_driver *driver)
{
	const struct vl_driver_config *config = &driver->config;
	struct vl_features *set = &driver->features;

	for (unsigned bit = 0; bit < VL_FEATURE_COUNT; bit++) {
		if (is_known(bit) && bit != VL_F_RING_PACKED
		    && vl_features_have(&driver->offered, bit)
		    && !vl_features_have(&config->withheld, bit)
		    && (asks_for(config, bit) || takes_by_itself(driver, bit)))
			vl_features_add(set, bit);
	}
	if (driver->variant.packed)
		vl_features_add(set, VL_F_RING_PACKED);
	if (!driver->in_order)
		vl_features_remove(set, VL_F_IN_ORDER);
	/* Twice: ECN stands on TSO, which stands on CSUM. */
	for (unsigned bit = 0; bit < 2 * VL_FEATURE_COUNT; bit++) {
		if (lacks_ground(set, bit % VL_FEATURE_COUNT))
			vl_features_remove(set, bit % VL_FEATURE_COUNT);
	}
}

static const char *why_not(const struct vl_driver *driver, unsigned bit)
{
	if (!is_known(bit))
		return "this driver does not know it";
	if (vl_features_have(&driver->config.withheld, bit))
		return "it was to be withheld, too";
	if (!vl_features_have(&driver->offered, bit))
		return "the device does not offer it";
	if (bit == VL_F_IN_ORDER || bit == VL_F_RING_PACKED)
		return "the ring variant that was chosen is without it";
	return "what it stands on was not negotiated";
}

/* What was asked for and cannot be had is an error, not a surprise later. */
static int check_wanted(const struct vl_driver *driver, struct vl_driver_error *why)
{
	if (!vl_features_have(&driver->features, VL_F_VERSION_1))
		return driver_explain(
			why,
			-ENOTSUP,
			"the device does not offer VERSION_1: it is older than virtio 1.0"
		);
	for (unsigned bit = 0; bit < VL_FEATURE_COUNT; bit++) {
		const char *name = vl_feature_name(bit);

		if (vl_features_have(&driver->config.wanted, bit)
		    && !vl_features_have(&driver->features, bit))
			return driver_explain(
				why,
				-ENOTSUP,
				"%s was asked for, but %s",
				name != NULL ? name : "a feature without a name",
				why_not(driver, bit)
			);
	}
	return 0;
}

/* ---- the device's configuration ---- */

static uint16_t load_le16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

int driver_read_config(struct vl_driver *driver)
{
	uint8_t space[CONFIG_SIZE];

	driver->link_up = true;
	if (!frontend_has(driver->frontend, VL_PROTOCOL_F_CONFIG))
		return 0;
	int error = frontend_get_config(driver->frontend, 0, sizeof(space), space);
	if (error < 0)
		return error;
	if (vl_features_have(&driver->features, VL_F_MAC)) {
		driver->has_mac = true;
		memcpy(driver->mac, space, sizeof(driver->mac));
	}
	if (vl_features_have(&driver->features, VL_F_STATUS))
		driver->link_up = load_le16(space + CONFIG_STATUS) & LINK_UP;
	if (vl_features_have(&driver->features, VL_F_MTU))
		driver->mtu = load_le16(space + CONFIG_MTU);
	/* Once: it cannot change while the device is in use. */
	if (driver->pair_count == 0 && vl_features_have(&driver->features, VL_F_MQ))
		driver->pairs_max = load_le16(space + CONFIG_PAIRS);
	return 0;
}

/* ---- steps ---- */

static int failed(const struct vl_driver *driver, struct vl_driver_error *why, int error)
{
	return driver_explain(why, error, "%s", driver->frontend->reason);
}

static int set_pairs(struct vl_driver *driver, struct vl_driver_error *why)
{
	/* GET_QUEUE_NUM counts pairs for a network device, and DPDK's too. */
	unsigned most = driver->frontend->queue_num;

	if (driver->pairs_max == 0 || driver->pairs_max > most)
		driver->pairs_max = most;
	driver->pair_count = driver->config.queue_pairs;
	if (driver->pair_count > driver->pairs_max)
		return driver_explain(
			why,
			-ERANGE,
			"%u queue pairs were asked for, the device has %u",
			driver->pair_count,
			driver->pairs_max
		);
	if (driver->pair_count > 1 && !vl_features_have(&driver->features, VL_F_MQ))
		return driver_explain(
			why, -ENOTSUP, "several queue pairs need MQ, which was not negotiated"
		);
	return 0;
}

/* A device that does not like the features may say so by leaving FEATURES_OK out (2.1). */
static int check_accepted(struct vl_driver *driver)
{
	uint8_t status;
	int error = frontend_get_status(driver->frontend, &status);

	if (error < 0 || !frontend_has(driver->frontend, VL_PROTOCOL_F_STATUS)
	    || (status & STATUS_FEATURES_OK))
		return error;
	(void)snprintf(
		driver->frontend->reason,
		sizeof(driver->frontend->reason),
		"the device does not accept the features that were chosen"
	);
	return -ENOTSUP;
}

static int agree(struct vl_driver *driver, struct vl_driver_error *why)
{
	struct frontend *frontend = driver->frontend;
	int error = frontend_set_status(frontend, STATUS_ACKNOWLEDGE | STATUS_DRIVER);

	if (error == 0)
		error = frontend_set_features(frontend, driver->features.word[0]);
	if (error == 0)
		error = frontend_set_status(
			frontend, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK
		);
	if (error == 0)
		error = check_accepted(driver);
	if (error == 0)
		error = driver_read_config(driver);
	if (error == 0 && driver->config.mtu != 0) {
		error = frontend_set_mtu(frontend, driver->config.mtu);
		if (error == -ENOTSUP)
			error = 0;
	}
	return error < 0 ? failed(driver, why, error) : 0;
}

int driver_negotiate(struct vl_driver *driver, struct vl_driver_error *why)
{
	driver->offered.word[0] = driver->frontend->offered;
	int error = choose_ring(driver, why);
	if (error < 0)
		return error;
	choose_features(driver);
	error = check_wanted(driver, why);
	if (error == 0)
		error = agree(driver, why);
	if (error < 0)
		return error;
	driver->has_control = vl_features_have(&driver->features, VL_F_CTRL_VQ);
	return set_pairs(driver, why);
}

int driver_negotiate_again(struct vl_driver *driver, struct vl_driver_error *why)
{
	driver->offered.word[0] = driver->frontend->offered;
	for (unsigned bit = 0; bit < VL_FEATURE_COUNT; bit++) {
		const char *name = vl_feature_name(bit);

		if (vl_features_have(&driver->features, bit)
		    && !vl_features_have(&driver->offered, bit))
			return driver_explain(
				why,
				-ENOTSUP,
				"the device before this one had %s, this one does not offer it",
				name != NULL ? name : "a feature without a name"
			);
	}
	int error = agree(driver, why);
	if (error < 0)
		return error;
	/* The control queue's index counts the pairs that the device has. */
	unsigned pairs = driver->frontend->queue_num;
	uint8_t field[2];
	if (vl_features_have(&driver->features, VL_F_MQ)
	    && frontend_get_config(driver->frontend, CONFIG_PAIRS, sizeof(field), field) == 0
	    && load_le16(field) < pairs)
		pairs = load_le16(field);
	if (driver->has_control ? pairs != driver->pairs_max : pairs < driver->pair_count)
		return driver_explain(
			why,
			-ENOTSUP,
			"the device before this one had %u queue pairs, this one has %u",
			driver->pairs_max,
			pairs
		);
	return 0;
}
