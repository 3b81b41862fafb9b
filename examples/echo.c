/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio-net device that sends every frame back with its addresses swapped. Usage:
 *
 *	echo SOCKET
 *
 * It listens on SOCKET for one vhost-user front end after the other (QEMU, User Mode Linux,
 * DPDK's virtio-user), with one thread and one queue pair, and ends on SIGTERM or SIGINT.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <virtlane/device.h>

static volatile sig_atomic_t stopped;
static int kick_fd = -1, control_fd = -1;

static void on_signal(int)
{
	stopped = 1;
}

static void on_kick_changed(void *, unsigned, int, int new_fd)
{
	kick_fd = new_fd;
}

static void on_control_kick_changed(void *, int, int new_fd)
{
	control_fd = new_fd;
}

static int listen_on(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return -1;
	strcpy(address.sun_path, path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
		return -1;
	return fd;
}

static void swap_addresses(struct vl_frame *frame)
{
	uint8_t destination[6];

	memcpy(destination, frame->head, 6);
	memmove(frame->head, frame->head + 6, 6);
	memcpy(frame->head + 6, destination, 6);
	/* What the driver asked of a transmitted frame is not what it is told of a received one. */
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

	while (result >= 0 && !stopped) {
		struct pollfd fds[] = {
			{.fd = session, .events = POLLIN},
			{.fd = kick_fd, .events = POLLIN},
			{.fd = control_fd, .events = POLLIN},
		};

		if (echo(device) == 0 && vl_device_sleep(device, 0))
			poll(fds, 3, -1);
		if (fds[1].revents)
			vl_device_kicked(device, 0);
		if (fds[2].revents)
			vl_device_control_process(device);
		if (fds[0].revents)
			result = vl_device_process(device);
	}
	if (result < 0 && result != -ECONNRESET)
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
	struct sigaction action = {.sa_handler = on_signal};
	struct vl_device *device;
	int listener = argc == 2 ? listen_on(argv[1]) : -1;

	if (listener < 0 || vl_device_create(&config, &device) < 0) {
		fprintf(stderr, "usage: echo SOCKET (a path that can be made)\n");
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	while (!stopped) {
		int session = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (session >= 0)
			serve(device, session);
	}
	vl_device_destroy(device);
	unlink(argv[1]);
	return 0;
}
