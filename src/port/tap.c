/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A tap port: an interface of the kernel, in a network namespace if asked.
 *
 * Frames carry the virtio-net header in both directions (IFF_VNET_HDR), so partial checksums and
 * large frames that ask for segmentation pass as they are. The kernel cuts what it has to, and so
 * does the switch for receivers that take no large ones. Setting `offloads` says what the kernel
 * may leave to us (TUNSETOFFLOAD), and which large frames we leave to it.
 *
 * A frame to the kernel is one write from where the frame lies, frames from the kernel are read
 * into slots of the queue, and those of a burst together are one system call.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/netns.h"
#include "net/frame.h"
#include "port/batch_io.h"
#include "port/port.h"

/* Newer than the headers of Debian 12. */
#if !defined(TUN_F_USO4)
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum {
	HEADER_SIZE = sizeof(struct vl_net_header),
	/* A slot holds any frame the kernel may have; only what is used of it becomes memory. */
	SLOT_SIZE = 66 * 1024,
	SLOTS_SIZE = SLOT_SIZE * VL_BURST_MAX,
	WRITE_SPANS_MAX =
		1024, /* IOV_MAX of Linux: of one frame, and so of those written together */
	READS = 16,   /* together, when there is more than one frame */
};

static_assert((int)VL_BURST_MAX <= (int)BATCH_IO_MAX, "a burst is one batch");

struct tap_queue {
	atomic_int fd; /* -1: not open */
	uint8_t *slots;
	struct iovec tails[VL_BURST_MAX];
	uint32_t sizes[VL_BURST_MAX]; /* bytes in each slot */
	uint8_t filled[VL_BURST_MAX]; /* slots with frames, in their order */
	unsigned first, count;	      /* places in it: of those that were not given back yet */
	struct batch_io reads, writes;
};

struct port_tap {
	struct port port;
	char interface[IFNAMSIZ];
	uint64_t netns_id;	   /* of the namespace, when the interface was made */
	bool has_uso;		   /* the kernel knows VL_GSO_UDP_L4 (since Linux 6.2) */
	_Atomic uint32_t offloads; /* VL_OFFLOAD_* that it is used with */
	atomic_bool gone;	   /* the kernel has taken the interface away */
	struct tap_queue queues[];
};

static struct port_tap *tap_of(struct port *port)
{
	return (struct port_tap *)port;
}

/* ---- data ---- */

static void slot_to_frame(uint8_t *slot, size_t size, struct iovec *tail, struct vl_frame *frame)
{
	size_t head = size - HEADER_SIZE < VL_HEAD_MAX ? size - HEADER_SIZE : VL_HEAD_MAX;

	memcpy(&frame->header, slot, HEADER_SIZE);
	frame->size = (uint32_t)(size - HEADER_SIZE);
	frame->head = frame->bytes;
	frame->head_size = (uint16_t)head;
	memcpy(frame->head, slot + HEADER_SIZE, head);
	tail->iov_base = slot + HEADER_SIZE + head;
	tail->iov_len = size - HEADER_SIZE - head;
	frame->tail = tail;
	frame->tail_count = tail->iov_len > 0 ? 1 : 0;
}

/* Where there is one frame there may be more: those are read together. */
static unsigned read_slots(struct tap_queue *tap, int fd, unsigned max)
{
	unsigned used = 0, n = 0, batch = 1;

	while (used < max) {
		struct iovec slots[READS];
		int sizes[READS];
		unsigned before = n;

		if (batch > max - used)
			batch = max - used;
		for (unsigned i = 0; i < batch; i++)
			slots[i] = (struct iovec
			){tap->slots + (size_t)(used + i) * SLOT_SIZE, SLOT_SIZE};
		batch_io_read(&tap->reads, fd, slots, batch, sizes);
		for (unsigned i = 0; i < batch; i++, used++) {
			if (sizes[i] < HEADER_SIZE)
				continue;
			tap->sizes[used] = (uint32_t)sizes[i];
			tap->filled[n++] = (uint8_t)used;
		}
		if (n - before < batch)
			break;
		batch = READS;
	}
	return n;
}

static int tap_borrow(struct port *port, unsigned queue, struct vl_frame *frames, unsigned max)
{
	struct tap_queue *tap = &tap_of(port)->queues[queue];
	int fd = atomic_load_explicit(&tap->fd, memory_order_relaxed);
	unsigned n = 0;

	if (max > VL_BURST_MAX)
		max = VL_BURST_MAX;
	if (tap->count == 0) {
		tap->first = 0;
		tap->count = read_slots(tap, fd, max);
	}
	for (; n < max && n < tap->count; n++) {
		unsigned slot = tap->filled[tap->first + n];

		slot_to_frame(
			tap->slots + (size_t)slot * SLOT_SIZE,
			tap->sizes[slot],
			&tap->tails[slot],
			&frames[n]
		);
	}
	return (int)n;
}

static void tap_give_back(struct port *port, unsigned queue, unsigned done, unsigned put_off)
{
	struct tap_queue *tap = &tap_of(port)->queues[queue];

	tap->first += done;
	tap->count = put_off;
}

/* The pieces of a frame, its virtio-net header first; how many. */
static uint32_t frame_spans(const struct vl_frame *frame, struct iovec *spans)
{
	spans[0] = (struct iovec){(void *)&frame->header, HEADER_SIZE};
	spans[1] = (struct iovec){frame->head, frame->head_size};
	memcpy(&spans[2], frame->tail, frame->tail_count * sizeof(spans[0]));
	return 2u + frame->tail_count;
}

/* The result of a write: DELIVERED, a drop reason, or -EAGAIN. */
static int verdict_of(int written)
{
	if (written >= 0)
		return DELIVERED;
	switch (written) {
	case -EAGAIN:
		return -EAGAIN;
	case -EIO: /* the interface is down */
		return DROP_PORT_DOWN;
	default:
		return DROP_TAP_WRITE;
	}
}

/* As many frames as there is room for among the spans of one batch; how many were dealt with. */
static unsigned write_frames(
	struct tap_queue *tap,
	int fd,
	const struct vl_frame *const *frames,
	unsigned count,
	int *results
)
{
	struct iovec spans[WRITE_SPANS_MAX];
	struct batch_write writes[VL_BURST_MAX];
	uint32_t used = 0;
	unsigned n = 0;

	if (frames[0]->tail_count > WRITE_SPANS_MAX - 2) {
		results[0] = DROP_TAP_WRITE;
		return 1;
	}
	for (; n < count && used + 2 + frames[n]->tail_count <= WRITE_SPANS_MAX; n++) {
		writes[n] =
			(struct batch_write){&spans[used], frame_spans(frames[n], &spans[used])};
		used += writes[n].count;
	}
	batch_io_write(&tap->writes, fd, writes, n, results);
	for (unsigned i = 0; i < n; i++)
		results[i] = verdict_of(results[i]);
	return n;
}

static unsigned
tap_copy_in(struct port *port, unsigned queue, const struct vl_frame *const *frames, unsigned count, int *results, struct vl_copier *)
{
	struct tap_queue *tap = &tap_of(port)->queues[queue];
	int fd = atomic_load_explicit(&tap->fd, memory_order_relaxed);
	unsigned done = 0;

	if (count > VL_BURST_MAX)
		count = VL_BURST_MAX;
	while (done < count) {
		done += write_frames(tap, fd, frames + done, count - done, results + done);
		if (results[done - 1] == -EAGAIN)
			break;
	}
	/* The last ones may be tried again. One that others have overtaken may not. */
	while (done > 0 && results[done - 1] == -EAGAIN)
		done--;
	for (unsigned i = 0; i < done; i++) {
		if (results[i] == -EAGAIN)
			results[i] = DROP_NO_BUFFER;
	}
	return done;
}

static void tap_flush(struct port *, unsigned)
{
	/* Every write was seen at once. */
}

/* The kernel cuts what it has to. */
static bool tap_accepts(const struct port *port, const struct vl_net_header *header)
{
	uint32_t offloads =
		atomic_load_explicit(&tap_of((struct port *)port)->offloads, memory_order_relaxed);

	return (frame_needs(header) & ~offloads) == 0;
}

static unsigned tap_tx_queues(const struct port *port)
{
	const struct port_tap *tap = (const struct port_tap *)port;

	return atomic_load_explicit(&((struct port_tap *)tap)->gone, memory_order_relaxed)
		       ? 0
		       : port->settings.queues;
}

static enum port_sleep tap_sleep(struct port *port, unsigned queue)
{
	if (tap_of(port)->queues[queue].count > 0)
		return PORT_AWAKE;
	/* The descriptor stays readable while there are frames, so a sleep would end at once. */
	return PORT_ASLEEP;
}

static void tap_woken(struct port *, unsigned) {}

/* ---- control ---- */

static int set_interface(
	struct port_tap *tap,
	unsigned long request,
	struct ifreq *ifr,
	const char *what,
	struct error *error
)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result = 0;

	memcpy(ifr->ifr_name, tap->interface, IFNAMSIZ);
	if (fd < 0 || ioctl(fd, request, ifr) < 0)
		result = error_set(
			error,
			-errno,
			"cannot set the %s of %s: %s",
			what,
			tap->interface,
			strerror(errno)
		);
	if (fd >= 0)
		close(fd);
	return result;
}

static int set_interface_mtu(void *context, struct error *error)
{
	struct port_tap *tap = context;
	struct ifreq ifr = {.ifr_mtu = tap->port.settings.policy.mtu};

	return ifr.ifr_mtu == 0 ? 0 : set_interface(tap, SIOCSIFMTU, &ifr, "MTU", error);
}

static int configure_interface(struct port_tap *tap, struct error *error)
{
	const struct port_settings *settings = &tap->port.settings;
	struct ifreq ifr = {0};
	int result = set_interface_mtu(tap, error);

	if (result == 0 && settings->policy.mac_count > 0) {
		ifr.ifr_hwaddr.sa_family = 1; /* ARPHRD_ETHER */
		memcpy(ifr.ifr_hwaddr.sa_data, settings->policy.macs[0].bytes, 6);
		result = set_interface(tap, SIOCSIFHWADDR, &ifr, "address", error);
	}
	if (result == 0) {
		memset(&ifr, 0, sizeof(ifr));
		ifr.ifr_flags = IFF_UP | IFF_RUNNING | IFF_BROADCAST | IFF_MULTICAST;
		result = set_interface(tap, SIOCSIFFLAGS, &ifr, "state", error);
	}
	return result;
}

/* In the kernel's words. What it sends is never UFO. */
static unsigned long tun_flags(uint32_t offloads)
{
	static const struct {
		uint32_t offload;
		unsigned long flags;
	} map[] = {
		{VL_OFFLOAD_CSUM, TUN_F_CSUM},
		{VL_OFFLOAD_TSO4, TUN_F_TSO4},
		{VL_OFFLOAD_TSO6, TUN_F_TSO6},
		{VL_OFFLOAD_ECN, TUN_F_TSO_ECN},
		{VL_OFFLOAD_USO, TUN_F_USO4 | TUN_F_USO6},
	};
	unsigned long flags = 0;

	for (unsigned i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
		if (offloads & map[i].offload)
			flags |= map[i].flags;
	}
	return flags;
}

/* All queues of an interface have the same. */
static int tap_set_offloads(struct port *port, uint32_t offloads, struct error *error)
{
	struct port_tap *tap = tap_of(port);
	int fd = atomic_load_explicit(&tap->queues[0].fd, memory_order_relaxed);

	/* A newer kernel is not asked for what an older one has not. */
	if (!tap->has_uso)
		offloads &= ~VL_OFFLOAD_USO;
	if (fd >= 0 && ioctl(fd, TUNSETOFFLOAD, tun_flags(offloads)) < 0)
		return error_set(
			error,
			-errno,
			"cannot set offloads of %s: %s",
			tap->interface,
			strerror(errno)
		);
	atomic_store_explicit(&tap->offloads, offloads, memory_order_relaxed);
	return 0;
}

static int open_queue(struct port_tap *tap, unsigned queue, struct error *error)
{
	struct ifreq ifr = {0};
	int header_size = HEADER_SIZE;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return error_set(
			error,
			-errno,
			"cannot open /dev/net/tun: %s; a tap port needs CAP_NET_ADMIN",
			strerror(errno)
		);
	tap->queues[queue].fd = fd;
	memcpy(ifr.ifr_name, tap->interface, IFNAMSIZ);
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (tap->port.settings.queues > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return error_set(
			error,
			-errno,
			"cannot create interface %s: %s",
			tap->interface,
			strerror(errno)
		);
	if (ioctl(fd, TUNSETVNETHDRSZ, &header_size) < 0)
		return error_set(
			error,
			-errno,
			"cannot set the header size of %s: %s",
			tap->interface,
			strerror(errno)
		);
	/* The kernel does not say what it knows, but what it refuses. */
	tap->has_uso = ioctl(fd, TUNSETOFFLOAD, tun_flags(VL_OFFLOADS_ALL)) == 0;
	return 0;
}

/* Runs in the port's network namespace. */
static int open_interface(void *context, struct error *error)
{
	struct port_tap *tap = context;

	/* TUNSETIFF would attach to a tap that is there already, and take another's frames. */
	if (if_nametoindex(tap->interface) != 0)
		return error_set(
			error,
			-EEXIST,
			"interface %s exists already%s%s; choose another name with interface=",
			tap->interface,
			tap->port.settings.netns[0] == '\0' ? "" : " in network namespace ",
			tap->port.settings.netns
		);
	for (unsigned i = 0; i < tap->port.settings.queues; i++) {
		int result = open_queue(tap, i, error);

		if (result < 0)
			return result;
	}
	int result = tap_set_offloads(&tap->port, tap->port.settings.policy.offloads, error);

	return result < 0 ? result : configure_interface(tap, error);
}

/* Close the queues, so that what is left of the interface and its namespace can go. */
static void close_queues(struct port_tap *tap)
{
	struct port *port = &tap->port;
	int fds[PORT_QUEUES_MAX];

	for (unsigned i = 0; i < port->settings.queues; i++) {
		fds[i] = atomic_exchange_explicit(&tap->queues[i].fd, -1, memory_order_relaxed);
		port_watch(port, i, -1);
	}
	port->hooks->synchronize(port->hooks->context);
	for (unsigned i = 0; i < port->settings.queues; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

/*
 * An interface goes with `ip link del`, or with its network namespace. The latter has to be looked
 * for: our descriptor keeps a namespace alive whose name is gone.
 */
static bool interface_is_gone(const struct port_tap *tap)
{
	struct ifreq ifr = {0};
	int fd = atomic_load_explicit(&tap->queues[0].fd, memory_order_relaxed);

	if (ioctl(fd, TUNGETIFF, &ifr) < 0 && errno == EBADFD)
		return true;
	return tap->netns_id != netns_id(tap->port.settings.netns);
}

static void tap_tick(struct port *port)
{
	struct port_tap *tap = tap_of(port);

	if (tap->gone || !interface_is_gone(tap))
		return;
	port_changing(port);
	atomic_store_explicit(&tap->gone, true, memory_order_relaxed);
	log_warning(LOG_PORT, "%s: interface %s is gone", port->settings.name, tap->interface);
	close_queues(tap);
}

static void tap_status(const struct port *port, struct port_status *out)
{
	const struct port_tap *tap = (const struct port_tap *)port;

	out->state = tap->gone ? PORT_ERROR : PORT_UP;
	if (tap->gone)
		(void)snprintf(
			out->reason,
			sizeof(out->reason),
			"interface %s is gone, maybe with its network namespace; delete the port and add "
			"it again",
			tap->interface
		);
	out->offloads_taken = out->offloads_sent =
		atomic_load_explicit(&tap_of((struct port *)port)->offloads, memory_order_relaxed);
	out->offloads_sent &= ~VL_OFFLOAD_UFO;
	out->queue_count = port->settings.queues;
	for (unsigned i = 0; i < port->settings.queues; i++)
		out->queues[i] = (struct port_queue_status){
			.index = (uint16_t)i,
			.started = !tap->gone,
			.enabled = !tap->gone,
			.layout = "tap",
			.worker = -1,
		};
}

/* Frames in slots were read, but a wire's other end had no buffers for them. */
static json_t *save_slots(const struct tap_queue *queue)
{
	json_t *frames = json_array();

	for (unsigned i = queue->first; i < queue->first + queue->count; i++) {
		unsigned slot = queue->filled[i];

		json_array_append_new(
			frames,
			handover_put_bytes(
				queue->slots + (size_t)slot * SLOT_SIZE, queue->sizes[slot]
			)
		);
	}
	return frames;
}

static int tap_snapshot(struct port *port, json_t *state, struct handover *handover, struct error *)
{
	struct port_tap *tap = tap_of(port);
	json_t *fds = json_array();

	for (unsigned i = 0; i < port->settings.queues; i++) {
		int fd = atomic_load_explicit(&tap->queues[i].fd, memory_order_relaxed);

		json_array_append_new(fds, handover_put_fd(handover, fd));
	}
	json_object_set_new(state, "fds", fds);
	json_object_set_new(state, "netns_id", json_integer((json_int_t)tap->netns_id));
	json_object_set_new(state, "has_uso", json_boolean(tap->has_uso));
	json_object_set_new(state, "gone", json_boolean(atomic_load(&tap->gone)));
	return 0;
}

/* With the frames that were read and not yet passed on: no worker is at them. */
static int
tap_save(struct port *port, json_t *state, struct handover *handover, struct error *error)
{
	json_t *frames = json_array();

	for (unsigned i = 0; i < port->settings.queues; i++)
		json_array_append_new(frames, save_slots(&tap_of(port)->queues[i]));
	json_object_set_new(state, "frames", frames);
	return tap_snapshot(port, state, handover, error);
}

/* It goes on when it is polled. */
static void tap_go_on(struct port *) {}

static void load_slots(struct tap_queue *queue, const json_t *frames)
{
	const json_t *frame;
	size_t i;

	json_array_foreach(frames, i, frame)
	{
		size_t size;
		void *bytes = handover_get_bytes(frame, &size);

		if (bytes != NULL && i < VL_BURST_MAX && size <= SLOT_SIZE) {
			memcpy(queue->slots + i * SLOT_SIZE, bytes, size);
			queue->sizes[i] = (uint32_t)size;
			queue->filled[queue->count++] = (uint8_t)i;
		}
		free(bytes);
	}
}

static int load_interface(struct port_tap *tap, struct port_legacy *legacy, struct error *error)
{
	const json_t *fds = json_object_get(legacy->state, "fds");
	const json_t *frames = json_object_get(legacy->state, "frames");

	if (legacy->stale)
		return error_set(error, -ESTALE, "the interface was going");
	tap->has_uso = json_is_true(json_object_get(legacy->state, "has_uso"));
	atomic_init(&tap->gone, json_is_true(json_object_get(legacy->state, "gone")));
	for (unsigned i = 0; i < tap->port.settings.queues; i++) {
		int fd = handover_take_fd(legacy->handover, json_array_get(fds, i));

		if (fd < 0 && !tap->gone)
			return error_set(error, -EINVAL, "no descriptor for queue %u", i);
		atomic_init(&tap->queues[i].fd, fd);
		load_slots(&tap->queues[i], json_array_get(frames, i));
	}
	tap->netns_id = (uint64_t)json_integer_value(json_object_get(legacy->state, "netns_id"));
	/* The interface may have gone just now: the next tick sees it. */
	if (tap_set_offloads(&tap->port, tap->port.settings.policy.offloads, error) < 0)
		log_warning(LOG_PORT, "%s: %s", tap->port.settings.name, error->text);
	return 0;
}

static int tap_set_mtu(struct port *port, uint16_t mtu, struct error *error)
{
	uint16_t before = port->settings.policy.mtu;

	port->settings.policy.mtu = mtu;
	int result = netns_run(port->settings.netns, set_interface_mtu, tap_of(port), error);
	if (result < 0)
		port->settings.policy.mtu = before;
	return result;
}

static void tap_destroy(struct port *port)
{
	struct port_tap *tap = tap_of(port);

	close_queues(tap);
	for (unsigned i = 0; i < port->settings.queues; i++) {
		if (tap->queues[i].slots != NULL)
			munmap(tap->queues[i].slots, SLOTS_SIZE);
		batch_io_close(&tap->queues[i].reads);
		batch_io_close(&tap->queues[i].writes);
	}
	port_fini(port);
	free(tap);
}

static const struct port_ops tap_ops = {
	.borrow = tap_borrow,
	.give_back = tap_give_back,
	.copy_in = tap_copy_in,
	.flush = tap_flush,
	.accepts = tap_accepts,
	.tx_queues = tap_tx_queues,
	.sleep = tap_sleep,
	.woken = tap_woken,
	.set_offloads = tap_set_offloads,
	.set_mtu = tap_set_mtu,
	.tick = tap_tick,
	.save = tap_save,
	.go_on = tap_go_on,
	.snapshot = tap_snapshot,
	.status = tap_status,
	.destroy = tap_destroy,
};

static int open_slots(struct port_tap *tap)
{
	for (unsigned i = 0; i < tap->port.settings.queues; i++) {
		void *slots =
			mmap(NULL,
			     SLOTS_SIZE,
			     PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			     -1,
			     0);

		if (slots == MAP_FAILED)
			return -ENOMEM;
		tap->queues[i].slots = slots;
		batch_io_open(&tap->queues[i].reads);
		batch_io_open(&tap->queues[i].writes);
	}
	return 0;
}

int port_tap_create(
	const struct port_settings *settings,
	unsigned id,
	const struct port_hooks *hooks,
	struct port_legacy *legacy,
	struct port **out,
	struct error *error
)
{
	struct port_tap *tap = calloc(1, sizeof(*tap) + settings->queues * sizeof(tap->queues[0]));
	const char *interface =
		settings->interface[0] != '\0' ? settings->interface : settings->name;

	if (tap == NULL || port_init(&tap->port, &tap_ops, settings, id, hooks) < 0) {
		free(tap);
		return error_set(error, -ENOMEM, "out of memory");
	}
	tap->port.poll_costs = true;
	tap->port.knows_sums = true;
	for (unsigned i = 0; i < settings->queues; i++)
		atomic_init(&tap->queues[i].fd, -1);
	int result;
	if (strlen(interface) >= IFNAMSIZ) {
		result = error_set(
			error,
			-ENAMETOOLONG,
			"%s is too long for an interface; give one of at most 15 characters with "
			"interface=",
			interface
		);
	} else {
		memcpy(tap->interface, interface, strlen(interface) + 1);
		result = open_slots(tap);
		if (result < 0)
			error_set(error, result, "out of memory");
	}
	if (result == 0 && legacy != NULL)
		result = load_interface(tap, legacy, error);
	else if (result == 0)
		result = netns_run(settings->netns, open_interface, tap, error);
	if (legacy == NULL)
		tap->netns_id = netns_id(settings->netns);
	if (result < 0) {
		tap_destroy(&tap->port);
		return result;
	}
	for (unsigned i = 0; i < settings->queues; i++)
		port_watch(&tap->port, i, tap->queues[i].fd);
	*out = &tap->port;
	return 0;
}
