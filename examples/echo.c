/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio-net device that sends every frame back with its addresses swapped: `echo SOCKET`.
 *
 * It listens on SOCKET for one vhost-user front end after the other (QEMU, User Mode Linux, DPDK's
 * virtio-user), with one thread and one queue pair, until it is killed.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <virtlane/device.h>

static int kick_fd = -1, control_fd = -1;

static void on_kick_changed(void *, unsigned, int, int new_fd)
{
	kick_fd = new_fd;
}

static void on_control_kick_changed(void *, int, int new_fd)
{
	control_fd = new_fd;
}

static void swap_addresses(struct vl_frame *frame)
{
	uint8_t destination[6];

	memcpy(destination, frame->head, 6);
	memmove(frame->head, frame->head + 6, 6);
	memcpy(frame->head + 6, destination, 6);
	/* What a driver asks of a frame it sends is not what it is told of one it receives. */
	memset(&frame->header, 0, sizeof(frame->header));
}

/* Send back what there is; returns how many frames that were. */
static int echo(struct vl_device *device)
{
	struct vl_frame frames[VL_BURST_MAX];
	const struct vl_frame *good[VL_BURST_MAX];
	enum vl_delivery results[VL_BURST_MAX];
	unsigned count = 0;
	int n = vl_device_borrow(device, 0, frames, VL_BURST_MAX);

	for (int i = 0; i < n; i++) {
		if (frames[i].size < 14)
			continue; /* no Ethernet frame */
		swap_addresses(&frames[i]);
		good[count++] = &frames[i];
	}
	/* Frames for which the driver has no buffer are lost, as on any wire. */
	vl_device_copy_in(device, 0, good, count, results);
	vl_device_flush(device, 0);
	vl_device_give_back(device, 0, n > 0 ? (unsigned)n : 0);
	return n;
}

static void serve(struct vl_device *device, int session)
{
	int result = vl_device_attach(device, session);

	while (result >= 0) {
		struct pollfd fds[] = {
			{.fd = session, .events = POLLIN},
			{.fd = kick_fd, .events = POLLIN},
			{.fd = control_fd, .events = POLLIN},
		};

		if (echo(device) <= 0 && vl_device_sleep(device, 0))
			poll(fds, 3, -1);
		if (fds[1].revents)
			vl_device_kicked(device, 0);
		if (fds[2].revents)
			while (vl_device_control_process(device))
				continue;
		if (fds[0].revents)
			result = vl_device_process(device);
	}
	if (result != -ECONNRESET)
		fprintf(stderr, "echo: %s\n", vl_device_reason(device));
	vl_device_detach(device);
}

int main(int argc, char **argv)
{
	struct vl_device_config config = {
		.size = sizeof(config),
		.queue_pairs = 1,
		.mac = {0x02, 0, 0, 0, 0, 1},
		.kick_changed = on_kick_changed,
		.control_kick_changed = on_control_kick_changed,
	};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct vl_device *device;

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path)) {
		fprintf(stderr, "usage: echo SOCKET\n");
		return 2;
	}
	strcpy(address.sun_path, argv[1]);
	unlink(argv[1]);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0
	    || listen(listener, 1) < 0 || vl_device_create(&config, &device) < 0) {
		perror("echo");
		return 1;
	}
	for (;;) {
		int session = accept(listener, NULL, NULL);

		if (session >= 0)
			serve(device, session);
	}
}
