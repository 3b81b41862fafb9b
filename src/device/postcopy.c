/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that is migrated here by postcopy (vhost-user, "Migration"): it runs while its pages
 * still arrive, see memory/arrivals.h. In the order of its messages: the front end gets a
 * userfaultfd (ADVISE); from LISTEN on, regions it shares are mapped by the fetcher, too, and it is
 * told where touches are requests; when it has said that it is ready to serve them, we begin; END:
 * all is here.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>

#include "device/device.h"
#include "memory/arrivals.h"

bool device_listens(const struct vl_device *device)
{
	return device->backend != NULL && device->backend->listens;
}

static void forget_socket(struct vl_device *device)
{
	(void)epoll_ctl(device->attention, EPOLL_CTL_DEL, arrivals_socket(device->arrivals), NULL);
}

void device_drop_arrivals(struct vl_device *device)
{
	if (device->arrivals == NULL)
		return;
	forget_socket(device);
	device->fetcher = arrivals_destroy(device->arrivals);
	device->arrivals = NULL;
	device_retry_arrivals(device);
}

void device_retry_arrivals(struct vl_device *device)
{
	if (device->arrivals != NULL)
		arrivals_retry(device->arrivals);
	if (device->fetcher >= 0 && arrivals_reap(device->fetcher, false))
		device->fetcher = -1;
}

/* A process is no small thing to start. */
static const char *why_no_arrivals(const struct vl_device *device)
{
	if (device->advised)
		return "a second time";
	if (device->memory != NULL && device->memory->count > 0)
		return "memory has been shared already";
	return device->fetcher >= 0 ? "the last one has not ended yet" : NULL;
}

static int start_arrivals(struct vl_device *device)
{
	device_retry_arrivals(device);
	const char *why = why_no_arrivals(device);
	if (why != NULL) {
		device_explain(device, "POSTCOPY_ADVISE: %s", why);
		return -EBUSY;
	}
	device->advised = true;
	int error = device_want_attention(device);
	if (error >= 0)
		error = arrivals_create(&device->arrivals);
	if (error == 0)
		error = device_attend_to(device, arrivals_socket(device->arrivals));
	if (error < 0) {
		device_drop_arrivals(device);
		device_explain(device, "POSTCOPY_ADVISE: not possible: %s", strerror(-error));
	}
	return error;
}

/* Again is fine, as of the other messages: QEMU sends each once for each queue pair. */
int device_advise(struct vl_device *device, int *fd)
{
	int error = device->arrivals != NULL ? 0 : start_arrivals(device);

	if (error < 0)
		return error;
	*fd = fcntl(arrivals_fault_fd(device->arrivals), F_DUPFD_CLOEXEC, 0);
	return *fd < 0 ? -errno : 0;
}

/* Without its fetcher the guest's pages still come, if not in the order in which they are needed.
 * (A session that ended now would be followed by one that knows of no postcopy.) */
int device_attend_arrivals(struct vl_device *device, bool woken)
{
	int came = arrivals_attend(device->arrivals);

	if (came < 0) {
		forget_socket(device);
		device_explain(device, "the process that asks for the guest's pages has ended");
	}
	return woken || came > 0 ? device_look_for_all(device) : 0;
}

int device_listen(struct vl_device *device)
{
	const char *why = NULL;

	if (device->arrivals == NULL)
		why = "without POSTCOPY_ADVISE";
	else if (!device_listens(device) && device->memory != NULL && device->memory->count > 0)
		why = "memory has been shared already";
	if (why != NULL) {
		device_explain(device, "POSTCOPY_LISTEN: %s", why);
		return -EINVAL;
	}
	return 0;
}

int device_enter_arrivals(struct vl_device *device, struct memory *memory)
{
	int error = arrivals_enter(device->arrivals, &memory->regions[memory->count - 1]);

	device_mark_memory(device, memory);
	return error;
}

uint64_t device_fault_address(const struct vl_device *device, uint64_t guest_address)
{
	for (unsigned i = 0; device->memory != NULL && i < device->memory->count; i++) {
		const struct memory_region *region = &device->memory->regions[i];

		if (region->guest_address == guest_address && region->arriving != NULL)
			return arrivals_fault_address(region);
	}
	return 0;
}

int device_begin_arrivals(struct vl_device *device)
{
	for (unsigned i = 0; device->memory != NULL && i < device->memory->count; i++) {
		struct memory_region *region = &device->memory->regions[i];
		int error = region->arriving == NULL ? 0 : arrivals_begin(region);

		if (error < 0) {
			device_explain(
				device,
				"memory for POSTCOPY_LISTEN cannot be watched: %s",
				strerror(-error)
			);
			return error;
		}
	}
	return device_look_again(device);
}

int device_end_postcopy(struct vl_device *device)
{
	if (device->arrivals == NULL)
		return 0;
	/* The table is changed in place: nobody may see it. */
	device_unpublish_all(device);
	for (unsigned i = 0; device->memory != NULL && i < device->memory->count; i++) {
		if (device->memory->regions[i].arriving != NULL)
			arrivals_leave(&device->memory->regions[i]);
	}
	if (device->memory != NULL)
		device_mark_memory(device, device->memory);
	device_drop_arrivals(device);
	return device_publish_all(device);
}
