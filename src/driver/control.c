/* SPDX-License-Identifier: BSD-3-Clause */
/* The control virtqueue (VIRTIO 1.3, 5.1.6.5): one command at a time, waited for. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "driver/driver.h"
#include "ring/ring.h"
#include "vhost/signal.h"

enum {
	CONTROL_SIZE = 16, /* descriptors */
	CONTROL_DATA_MAX = 4096,
	/* Places in the data: the command's header, the status, the command's data. */
	AT_HEADER = 0,
	AT_STATUS = 8,
	AT_DATA = 64,
	STATUS_OK = 0,
	STATUS_NONE = 0xff,
};

size_t driver_control_bytes(void)
{
	return driver_ring_area_bytes(CONTROL_SIZE) + AT_DATA + CONTROL_DATA_MAX + 64;
}

int driver_control_open(struct vl_driver *driver, struct arena *arena)
{
	driver->control_data = arena_take(arena, AT_DATA + CONTROL_DATA_MAX, 64);
	if (driver->control_data == NULL)
		return -ENOMEM;
	driver->control_kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (driver->control_kick_fd < 0)
		return -errno;
	return driver_make_ring(&driver->control, arena, driver, CONTROL_SIZE);
}

int driver_control_renew(struct vl_driver *driver)
{
	struct driver_ring old = driver->control;
	const struct driver_ring_config config = {
		.desc = old.split_desc,
		.driver = old.avail,
		.device = old.used,
		.size = old.size,
		.packed = old.packed,
		.event_idx = old.event_idx,
		.in_order = old.in_order,
	};

	memset(old.split_desc, 0, ring_desc_bytes(old.size));
	memset(old.avail, 0, ring_driver_bytes(old.packed, old.size));
	memset(old.used, 0, ring_device_bytes(old.packed, old.size));
	driver_ring_close(&driver->control);
	int error = driver_ring_open(&driver->control, &config);
	if (error == 0)
		driver_ring_calls_off(&driver->control, driver->control.packed);
	return error;
}

void driver_control_close(struct vl_driver *driver)
{
	driver_ring_close(&driver->control);
	if (driver->control_kick_fd >= 0)
		close(driver->control_kick_fd);
	driver->control_kick_fd = -1;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Commands are rare and end within microseconds: looking every so often beats a descriptor to wait
 * for. */
static int wait_used(struct vl_driver *driver)
{
	const struct timespec nap = {.tv_nsec = 50000};
	struct pollfd session = {.fd = driver->frontend->socket}; /* tells when it is hung up */
	uint64_t deadline = now_ms() + (uint64_t)driver->config.timeout_ms;
	struct driver_ring *ring = &driver->control;
	uint32_t first, length;

	for (;;) {
		int n = driver_ring_reap(ring, ring->packed, 1, &first, &length);

		if (n != 0)
			return n < 0 ? -EPROTO : 0;
		if (poll(&session, 1, 0) > 0 && (session.revents & POLLHUP))
			return -ECONNRESET;
		if (now_ms() >= deadline)
			break;
		nanosleep(&nap, NULL);
	}
	/* Its descriptors are the device's for ever now. */
	(void)driver_ring_break(ring, "the device did not answer a control command");
	return -ETIMEDOUT;
}

int vl_driver_command(
	struct vl_driver *driver, uint8_t class_, uint8_t command, const void *data, size_t size
)
{
	struct driver_ring *ring = &driver->control;
	uint8_t *memory = driver->control_data;
	uint64_t address = (uint64_t)(uintptr_t)memory;
	struct driver_piece pieces[3];
	unsigned n = 0;

	if (!driver->has_control)
		return -ENOTSUP;
	if (size > CONTROL_DATA_MAX)
		return -EINVAL;
	if (atomic_load_explicit(&ring->broken, memory_order_relaxed) != NULL)
		return -EPROTO;
	memory[AT_HEADER] = class_;
	memory[AT_HEADER + 1] = command;
	memory[AT_STATUS] = STATUS_NONE;
	if (size > 0)
		memcpy(memory + AT_DATA, data, size);
	pieces[n++] = (struct driver_piece){address + AT_HEADER, 2, false};
	if (size > 0)
		pieces[n++] = (struct driver_piece){address + AT_DATA, (uint32_t)size, false};
	pieces[n++] = (struct driver_piece){address + AT_STATUS, 1, true};
	driver_ring_add(ring, ring->packed, pieces, n);
	driver_ring_show(ring, ring->packed);
	if (driver_ring_must_kick(ring, ring->packed))
		vhost_signal(driver->control_kick_fd);
	int error = wait_used(driver);
	if (error < 0)
		return error;
	return __atomic_load_n(&memory[AT_STATUS], __ATOMIC_RELAXED) == STATUS_OK ? 0 : -EIO;
}
