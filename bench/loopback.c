/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The back end of the loopback measurement: a virtio-net device that sends every frame back as it
 * is, `loopback [--cpu N] SOCKET`. It listens on SOCKET for one front end after the other and
 * polls one queue pair from a CPU of its own.
 *
 * What it did since the last report is printed as one line of JSON on SIGUSR1, and on SIGTERM,
 * which ends it. busy_cycles are those of rounds that moved frames, total_cycles of all rounds;
 * testpmd's "CPU cycles/packet" is counted in the same way.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <virtlane/device.h>

#include "cycles.h"

enum {
	ROUNDS_BETWEEN_LOOKS = 4096, /* at the session's socket, while frames flow */
};

/* Since the last report. */
struct counts {
	uint64_t frames, lost, rounds, busy_cycles, total_cycles;
};

static volatile sig_atomic_t report_wanted, end_wanted;
static int control_fd = -1;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		report_wanted = 1;
	else
		end_wanted = 1;
}

static void on_control_kick_changed(void *, int, int new_fd)
{
	control_fd = new_fd;
}

static void report(struct counts *counts)
{
	report_wanted = 0;
	printf("{\"frames\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"rounds\": %" PRIu64
	       ", \"busy_cycles\": %" PRIu64 ", \"total_cycles\": %" PRIu64 "}\n",
	       counts->frames,
	       counts->lost,
	       counts->rounds,
	       counts->busy_cycles,
	       counts->total_cycles);
	fflush(stdout);
	memset(counts, 0, sizeof(*counts));
}

/*
 * Whether a frame may go back with the header that it came with. copy_in() takes headers that were
 * checked; a sum to be completed has to lie inside the frame.
 */
static bool header_is_sane(const struct vl_frame *frame)
{
	const struct vl_net_header *header = &frame->header;

	if (frame->size < 14)
		return false;
	if (header->flags & VL_NET_NEEDS_CSUM)
		return (uint32_t)header->csum_start + header->csum_offset + 2 <= frame->size;
	return header->gso_type == VL_GSO_NONE;
}

/* Send back what there is; returns how many frames came, or -errno. */
static int reflect(struct vl_device *device, struct counts *counts)
{
	_Alignas(64) struct vl_frame frames[VL_BURST_MAX];
	const struct vl_frame *good[VL_BURST_MAX];
	enum vl_delivery results[VL_BURST_MAX];
	unsigned count = 0, done;
	int n = vl_device_borrow(device, 0, frames, VL_BURST_MAX);

	if (n <= 0)
		return n;
	for (int i = 0; i < n; i++)
		if (header_is_sane(&frames[i]))
			good[count++] = &frames[i];
	done = vl_device_copy_in(device, 0, good, count, results);
	vl_device_flush(device, 0);
	counts->lost += (unsigned)n - done;
	for (unsigned i = 0; i < done; i++)
		counts->lost += results[i] != VL_DELIVERED;
	vl_device_give_back(device, 0, (unsigned)n);
	counts->frames += (unsigned)n;
	counts->rounds++;
	return n;
}

/* Reflect for so many rounds; returns the last one's result. Time is read once a round. */
static int run(struct vl_device *device, struct counts *counts, unsigned rounds)
{
	uint64_t then = cycles_now();
	int n = 0;

	while (rounds-- > 0 && n >= 0 && !report_wanted && !end_wanted) {
		uint64_t now;

		n = reflect(device, counts);
		now = cycles_now();
		if (n > 0)
			counts->busy_cycles += now - then;
		counts->total_cycles += now - then;
		then = now;
		if (n == 0)
			cpu_relax();
	}
	return n;
}

/* One look at the session's socket and the control queue; < 0 when the session is over. */
static int serve_control(struct vl_device *device, int session)
{
	bool ready = vl_device_ready(device, 0, false);
	struct pollfd fds[] = {
		{.fd = session, .events = POLLIN},
		{.fd = control_fd, .events = POLLIN},
	};

	if (poll(fds, 2, ready ? 0 : 10) <= 0)
		return 0;
	if (fds[1].revents)
		while (vl_device_control_process(device))
			continue;
	return fds[0].revents ? vl_device_process(device) : 0;
}

/* The session's failure, or a queue's. */
static void complain(const struct vl_device *device)
{
	struct vl_queue_status queue;

	vl_device_queue_status(device, 1, &queue);
	fprintf(stderr, "loopback: %s\n", queue.broken ?: vl_device_reason(device));
}

static void serve(struct vl_device *device, int session, struct counts *counts)
{
	int result = vl_device_attach(device, session);

	while (result >= 0 && !end_wanted) {
		result = serve_control(device, session);
		if (result >= 0 && vl_device_ready(device, 0, false)
		    && run(device, counts, ROUNDS_BETWEEN_LOOKS) < 0)
			result = -EPROTO;
		if (report_wanted)
			report(counts);
	}
	if (result < 0 && result != -ECONNRESET)
		complain(device);
	vl_device_detach(device);
}

static int listen_on(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	unlink(path);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0
	    || listen(listener, 1) < 0)
		return -1;
	return listener;
}

/* Accept front ends, one after the other, until SIGTERM. A signal may come just before poll(), so
 * that does not wait for long. */
static void serve_all(struct vl_device *device, int listener)
{
	struct pollfd waiting = {.fd = listener, .events = POLLIN};
	struct counts counts = {};

	while (!end_wanted) {
		int session = -1;

		if (poll(&waiting, 1, 10) > 0)
			session = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (session >= 0)
			serve(device, session, &counts);
		if (report_wanted)
			report(&counts);
	}
	report(&counts);
}

static int usage(void)
{
	fprintf(stderr, "usage: loopback [--cpu N] SOCKET\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"cpu", required_argument, NULL, 'c'}, {}};
	struct vl_device_config config = {
		.size = sizeof(config),
		.queue_pairs = 1,
		.mac = {0x02, 0, 0, 0, 0, 1},
		.control_kick_changed = on_control_kick_changed,
	};
	struct sigaction action = {.sa_handler = on_signal};
	struct vl_device *device;
	int option, listener;

	while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		if (option != 'c')
			return usage();
		if (pin_to_cpu((unsigned)strtoul(optarg, NULL, 10)) < 0) {
			perror("loopback: --cpu");
			return 1;
		}
	}
	if (optind + 1 != argc)
		return usage();
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	listener = listen_on(argv[optind]);
	if (listener < 0 || vl_device_create(&config, &device) < 0) {
		perror("loopback");
		return 1;
	}
	serve_all(device, listener);
	vl_device_destroy(device);
	unlink(argv[optind]);
	return 0;
}
