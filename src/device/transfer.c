/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's state on its way to another back end (vhost-user, "Migrating back-end state"): what
 * the driver has said by the control queue, which nobody else knows. It goes by a file in memory of
 * ours, in both directions: with a file of the front end's we might wait for it.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device/device.h"

enum {
	STATE_VERSION = 1,
	STATE_SIZE_MAX = 1 << 16, /* bytes, of a later version, too */
};
static const uint8_t state_magic[8] = "virtlane", state_end[8] = "is-whole";

/* Little-endian: the other machine may be of another kind. Without a filter what follows
 * has_filter means nothing. */
struct state {
	uint8_t magic[8];
	uint32_t version;
	uint32_t size; /* bytes of it all */
	uint64_t features;
	uint64_t guest_offloads;
	uint32_t chosen_pairs;
	uint32_t has_filter;
	uint32_t modes;
	uint32_t unicast_count, multicast_count;
	uint8_t mac[6], unused[6];
	uint8_t unicast[FILTER_MACS_MAX][6];
	uint8_t multicast[FILTER_MACS_MAX][6];
	uint64_t vlans[4096 / 64];
	uint8_t end[8];
};
static_assert(sizeof(struct state) == 72 + 2 * 6 * FILTER_MACS_MAX + 512, "without holes");

/* Without a file: the state of a driver that is not here. Either it has come, and its driver goes
 * on here; or it was reset after its rings were stopped, as QEMU does to leave. */
struct transfer {
	int fd;
	bool loads;
	struct state state;
};

/* Bits of `modes`, from the lowest on. */
static const size_t modes[] = {
	offsetof(struct receive_filter, promiscuous),
	offsetof(struct receive_filter, all_multicast),
	offsetof(struct receive_filter, all_unicast),
	offsetof(struct receive_filter, no_multicast),
	offsetof(struct receive_filter, no_unicast),
	offsetof(struct receive_filter, no_broadcast),
	offsetof(struct receive_filter, vlan_filter),
	offsetof(struct receive_filter, many_unicast),
	offsetof(struct receive_filter, many_multicast),
};
enum {
	MODE_COUNT = sizeof(modes) / sizeof(modes[0]),
};

void device_drop_transfer(struct vl_device *device)
{
	if (device->transfer != NULL && device->transfer->fd >= 0)
		close(device->transfer->fd);
	free(device->transfer);
	device->transfer = NULL;
}

/* The front end switches logging at both ends as it likes. */
static uint64_t driver_features(const struct vl_device *device)
{
	return device->features.word[0] & ~(UINT64_C(1) << VL_F_LOG_ALL);
}

/* ---- from the device ---- */

static void put_filter(struct state *state, const struct receive_filter *filter)
{
	state->has_filter = htole32(1);
	uint32_t bits = 0;
	for (unsigned i = 0; i < MODE_COUNT; i++)
		bits |= (uint32_t)(*((const bool *)filter + modes[i]) ? 1 : 0) << i;
	state->modes = htole32(bits);
	state->unicast_count = htole32(filter->unicast_count);
	state->multicast_count = htole32(filter->multicast_count);
	memcpy(state->mac, filter->mac, sizeof(state->mac));
	memcpy(state->unicast, filter->unicast, sizeof(state->unicast));
	memcpy(state->multicast, filter->multicast, sizeof(state->multicast));
	for (unsigned i = 0; i < 4096 / 64; i++)
		state->vlans[i] = htole64(filter->vlans[i]);
}

static void get_state(const struct vl_device *device, struct state *state)
{
	const struct receive_filter *filter =
		atomic_load_explicit(&((struct vl_device *)device)->filter, memory_order_relaxed);

	*state = (struct state){
		.version = htole32(STATE_VERSION),
		.size = htole32(sizeof(*state)),
		.features = htole64(driver_features(device)),
		.guest_offloads = htole64(device->guest_offloads & driver_features(device)),
		.chosen_pairs = htole32(atomic_load_explicit(
			&((struct vl_device *)device)->chosen_pairs, memory_order_relaxed
		)),
	};
	memcpy(state->magic, state_magic, sizeof(state->magic));
	memcpy(state->end, state_end, sizeof(state->end));
	if (filter != NULL)
		put_filter(state, filter);
}

static bool is_elsewhere(const struct transfer *transfer)
{
	return transfer != NULL && transfer->fd < 0;
}

static struct transfer *new_transfer(struct vl_device *device, bool loads)
{
	struct transfer *transfer = malloc(sizeof(*transfer));

	if (transfer == NULL)
		return NULL;
	*transfer = (struct transfer){.fd = -1, .loads = loads};
	if (is_elsewhere(device->transfer))
		transfer->state = device->transfer->state;
	else
		get_state(device, &transfer->state);
	device_drop_transfer(device);
	device->transfer = transfer;
	return transfer;
}

void device_keep_state(struct vl_device *device)
{
	struct transfer *transfer = device->transfer;

	/* It may be reset twice. */
	if (is_elsewhere(transfer) && !transfer->loads)
		return;
	device_drop_transfer(device);
	if (transfer == NULL && !device_any_started(device))
		(void)new_transfer(device, false);
}

/* ---- to the device ---- */

static const char *why_wrong(const struct vl_device *device, const struct state *state, ssize_t got)
{
	if (got < (ssize_t)offsetof(struct state, features)
	    || memcmp(state->magic, state_magic, sizeof(state->magic)) != 0)
		return "it is no state of a device";
	if (le32toh(state->version) != STATE_VERSION)
		return "it is of another version";
	if (got < (ssize_t)sizeof(*state) || le32toh(state->size) != sizeof(*state)
	    || le64toh(state->guest_offloads) & ~le64toh(state->features)
	    || le32toh(state->unicast_count) > FILTER_MACS_MAX
	    || le32toh(state->multicast_count) > FILTER_MACS_MAX
	    || memcmp(state->end, state_end, sizeof(state->end)) != 0)
		return "it is damaged";
	if (le32toh(state->chosen_pairs) > device->config.queue_pairs)
		return "it is of a device with more queue pairs";
	return NULL;
}

static int read_state(struct vl_device *device)
{
	struct state *state = &device->transfer->state;
	/* Once: the front end may still write. */
	ssize_t got = pread(device->transfer->fd, state, sizeof(*state), 0);
	const char *why = why_wrong(device, state, got);

	close(device->transfer->fd);
	device->transfer->fd = -1;
	if (why == NULL)
		return 0;
	device_explain(device, "CHECK_DEVICE_STATE: %s", why);
	return -EINVAL;
}

static struct receive_filter *take_filter(const struct state *state)
{
	struct receive_filter *filter = calloc(1, sizeof(*filter));

	if (filter == NULL)
		return NULL;
	for (unsigned i = 0; i < MODE_COUNT; i++)
		*((bool *)filter + modes[i]) = le32toh(state->modes) >> i & 1;
	filter->unicast_count = le32toh(state->unicast_count);
	filter->multicast_count = le32toh(state->multicast_count);
	memcpy(filter->mac, state->mac, sizeof(filter->mac));
	memcpy(filter->unicast, state->unicast, sizeof(filter->unicast));
	memcpy(filter->multicast, state->multicast, sizeof(filter->multicast));
	for (unsigned i = 0; i < 4096 / 64; i++)
		filter->vlans[i] = le64toh(state->vlans[i]);
	return filter;
}

int device_use_transferred(struct vl_device *device)
{
	const struct transfer *transfer = device->transfer;

	if (!is_elsewhere(transfer) || !transfer->loads
	    || le64toh(transfer->state.features) != driver_features(device))
		return 0;
	struct receive_filter *filter = NULL;
	if (transfer->state.has_filter != 0) {
		filter = take_filter(&transfer->state);
		if (filter == NULL)
			return -ENOMEM;
		memcpy(device->mac, filter->mac, sizeof(device->mac));
	}
	device_set_filter(device, filter);
	device_update_offloads(device, le64toh(transfer->state.guest_offloads));
	atomic_store_explicit(
		&device->chosen_pairs, le32toh(transfer->state.chosen_pairs), memory_order_relaxed
	);
	device_update_pairs(device);
	return 0;
}

/* ---- messages ---- */

static const char *why_not(const struct vl_device *device, uint32_t direction, uint32_t phase)
{
	if (direction > VHOST_STATE_LOAD || phase != VHOST_STATE_STOPPED)
		return "no such direction or phase";
	return device_any_started(device) ? "a ring has not been stopped" : NULL;
}

/* One for us, and one for the front end, which share a position: it begins at 0. */
static int prepare_file(const struct transfer *transfer, int *fd)
{
	const struct state *state = &transfer->state;
	int file = transfer->fd, error = 0;

	if (transfer->loads)
		error = ftruncate(file, STATE_SIZE_MAX);
	else if (pwrite(file, state, sizeof(*state), 0) != sizeof(*state))
		error = -1;
	/* It must not take more of our memory than that. */
	int seals =
		F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL | (transfer->loads ? 0 : F_SEAL_WRITE);
	if (error == 0)
		error = fcntl(file, F_ADD_SEALS, seals);
	if (error == 0)
		*fd = fcntl(file, F_DUPFD_CLOEXEC, 0);
	return error < 0 || *fd < 0 ? -EIO : 0;
}

static int open_file(struct vl_device *device, bool loads, int *fd)
{
	struct transfer *transfer = new_transfer(device, loads);

	if (transfer == NULL)
		return -ENOMEM;
	transfer->fd = memfd_create("virtlane-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int error = transfer->fd < 0 ? -errno : prepare_file(transfer, fd);
	if (error < 0)
		device_drop_transfer(device);
	return error;
}

int device_begin_transfer(struct vl_device *device, uint32_t direction, uint32_t phase, int *fd)
{
	const char *why = why_not(device, direction, phase);

	if (why != NULL) {
		device_explain(device, "SET_DEVICE_STATE_FD: %s", why);
		return -EINVAL;
	}
	return open_file(device, direction == VHOST_STATE_LOAD, fd);
}

int device_end_transfer(struct vl_device *device)
{
	struct transfer *transfer = device->transfer;

	if (transfer == NULL || transfer->fd < 0) {
		device_explain(device, "CHECK_DEVICE_STATE: nothing was transferred");
		return -EINVAL;
	}
	if (!transfer->loads) {
		close(transfer->fd);
		transfer->fd = -1;
		return 0;
	}
	int error = read_state(device);
	if (error < 0)
		device_drop_transfer(device);
	return error < 0 ? error : device_use_transferred(device);
}

/* ---- for who comes after us ---- */

size_t device_transferred_size(void)
{
	return sizeof(struct state);
}

const void *device_transferred(const struct vl_device *device, bool *loads)
{
	const struct transfer *transfer = device->transfer;

	if (!is_elsewhere(transfer))
		return NULL;
	*loads = transfer->loads;
	return &transfer->state;
}

int device_set_transferred(struct vl_device *device, const void *state, bool loads)
{
	struct transfer *transfer = new_transfer(device, loads);

	if (transfer == NULL)
		return -ENOMEM;
	memcpy(&transfer->state, state, sizeof(transfer->state));
	return why_wrong(device, &transfer->state, sizeof(transfer->state)) == NULL ? 0 : -EINVAL;
}
