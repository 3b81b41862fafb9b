/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost port: a virtio-net device that a front end (QEMU, User Mode Linux, DPDK's virtio-user)
 * drives over a Unix socket.
 *
 * States: without a session the port waits: it listens, or tries to connect, soon after it has
 * begun to wait, then less and less often, down to once a second. A session lives until its socket
 * ends or its peer breaks the protocol; then the device is detached, the reason is kept, and the
 * port waits again. One session at a time: the next peer waits in the listening socket's queue.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/kept_memory.h"
#include "base/log.h"
#include "base/sigbus.h"
#include "base/unix_socket.h"
#include "port/vhost.h"

enum {
	CONNECT_PAUSE_MIN_MS = 10,
	CONNECT_PAUSE_MAX_MS = 1000,
};

/* ---- data ---- */

static int vhost_borrow(struct port *port, unsigned queue, struct vl_frame *frames, unsigned max)
{
	return vl_device_borrow(vhost_of(port)->device, queue, frames, max);
}

static void vhost_give_back(struct port *port, unsigned queue, unsigned done, unsigned put_off)
{
	struct vl_device *device = vhost_of(port)->device;

	if (put_off > 0)
		vl_device_put_off(device, queue, put_off);
	vl_device_give_back(device, queue, done);
}

static unsigned vhost_copy_in(
	struct port *port,
	unsigned queue,
	const struct vl_frame *const *frames,
	unsigned count,
	int *results,
	struct vl_copier *copier
)
{
	static const int reasons[] = {
		[VL_DELIVERED] = DELIVERED,
		[VL_TOO_LARGE] = DROP_TOO_LARGE,
		[VL_NO_OFFLOAD] = DROP_OFFLOAD,
		[VL_FILTERED] = DROP_FILTERED,
		[VL_DOWN] = DROP_PORT_DOWN,
	};
	enum vl_delivery deliveries[VL_BURST_MAX];
	unsigned done = vl_device_copy_in_by(
		copier, vhost_of(port)->device, queue, frames, count, deliveries
	);

	for (unsigned i = 0; i < done; i++)
		results[i] = reasons[deliveries[i]];
	return done;
}

static void vhost_flush(struct port *port, unsigned queue)
{
	vl_device_flush(vhost_of(port)->device, queue);
}

static bool vhost_accepts(const struct port *port, const struct vl_net_header *header)
{
	return vl_device_accepts(vhost_of_const(port)->device, header);
}

static unsigned vhost_tx_queues(const struct port *port)
{
	const struct port_policy *policy =
		atomic_load_explicit(&((struct port *)port)->policy, memory_order_acquire);

	return policy->link_down ? 0 : vl_device_active_pairs(vhost_of_const(port)->device);
}

static enum port_sleep vhost_sleep(struct port *port, unsigned queue)
{
	struct vl_device *device = vhost_of(port)->device;

	if (!vl_device_sleep(device, queue))
		return PORT_AWAKE;
	return vl_device_is_silent(device, queue) ? PORT_SILENT : PORT_ASLEEP;
}

static void vhost_woken(struct port *port, unsigned queue)
{
	vl_device_kicked(vhost_of(port)->device, queue);
}

/* ---- what the device reports ---- */

static void end_session(struct port_vhost *vhost, int error, const char *why);

static void on_synchronize(void *context)
{
	struct port *port = context;

	port->hooks->synchronize(port->hooks->context);
}

static void on_control_kick(evutil_socket_t, short, void *context)
{
	static const struct timeval at_once = {0};
	struct port_vhost *vhost = context;

	port_changing(&vhost->port);
	/* A driver with very many commands waits in line with the other ports. */
	if (vl_device_control_process(vhost->device))
		event_add(vhost->control_again, &at_once);
}

/* The control queue comes and goes with its ring. */
static void on_control_kick_changed(void *context, int, int new_fd)
{
	struct port_vhost *vhost = context;

	if (vhost->control_event != NULL)
		event_free(vhost->control_event);
	vhost->control_event = NULL;
	if (new_fd < 0)
		return;
	vhost->control_event = event_new(
		vhost->port.hooks->base,
		new_fd,
		EV_READ | EV_PERSIST | EV_ET,
		on_control_kick,
		vhost
	);
	if (vhost->control_event == NULL || event_add(vhost->control_event, NULL) < 0)
		log_error(
			LOG_VHOST, "%s: cannot watch the control queue", vhost->port.settings.name
		);
}

static void on_attention(evutil_socket_t, short, void *context)
{
	struct port_vhost *vhost = context;
	int result = vl_device_attend(vhost->device);

	if (result < 0)
		end_session(vhost, result, NULL);
}

static void on_attention_changed(void *context, int, int new_fd)
{
	struct port_vhost *vhost = context;

	if (vhost->attention_event != NULL)
		event_free(vhost->attention_event);
	vhost->attention_event = new_fd < 0 ? NULL
					    : event_new(
						    vhost->port.hooks->base,
						    new_fd,
						    EV_READ | EV_PERSIST,
						    on_attention,
						    vhost
					    );
	if (new_fd >= 0
	    && (vhost->attention_event == NULL || event_add(vhost->attention_event, NULL) < 0))
		log_error(LOG_VHOST, "%s: out of memory", vhost->port.settings.name);
}

static void on_queue_changed(void *context, unsigned pair)
{
	struct port_vhost *vhost = context;
	struct port *port = &vhost->port;

	port->hooks->wake(port->hooks->context, port, pair);
}

static void on_kick_changed(void *context, unsigned pair, int, int new_fd)
{
	port_watch(context, pair, new_fd);
}

static void on_memory_mapped(void *context, void *start, size_t size)
{
	sigbus_watch(start, size, context);
}

static void on_memory_unmapping(void *, void *start, size_t)
{
	sigbus_unwatch(start);
}

static void on_announce(void *context, const uint8_t mac[6])
{
	struct port *port = context;

	port->hooks->announce(port->hooks->context, port, mac);
}

/* ---- session ---- */

static void start_session(struct port_vhost *vhost, int socket);
void vhost_look_for_peer(struct port_vhost *vhost);
static time_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* The peer sees it at once, even if somebody else holds the socket, too (control/fd_store.h). */
static void hang_up(struct port_vhost *vhost)
{
	if (vl_device_socket(vhost->device) >= 0)
		(void)shutdown(vl_device_socket(vhost->device), SHUT_RDWR);
}

/* `why` NULL: what the device says. */
static void end_session(struct port_vhost *vhost, int error, const char *why)
{
	const char *name = vhost->port.settings.name;

	port_changing(&vhost->port);
	/* The event before the descriptor it watches. */
	event_free(vhost->session_event);
	vhost->session_event = NULL;
	hang_up(vhost);
	vl_device_detach(vhost->device);
	vhost->peer[0] = '\0';
	vhost->failed = error != -ECONNRESET;
	if (vhost->failed) {
		(void)snprintf(
			vhost->last_error,
			sizeof(vhost->last_error),
			"%s",
			why != NULL ? why : vl_device_reason(vhost->device)
		);
		log_warning(LOG_VHOST, "%s: session closed: %s", name, vhost->last_error);
	} else {
		log_info(LOG_VHOST, "%s: the peer hung up", name);
	}
	if (vhost->accept_event != NULL)
		event_add(vhost->accept_event, NULL);
	else
		vhost_look_for_peer(vhost);
}

static void on_session(evutil_socket_t, short, void *context)
{
	struct port_vhost *vhost = context;

	port_changing(&vhost->port);
	int result = vl_device_process(vhost->device);

	/* What is left in the socket makes the event fire again, after those of others. */
	if (result < 0)
		end_session(vhost, result, NULL);
}

static void describe_peer(struct port_vhost *vhost, int socket)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	vhost->peer[0] = '\0';
	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0)
		(void)snprintf(
			vhost->peer,
			sizeof(vhost->peer),
			"pid %d uid %u",
			credentials.pid,
			credentials.uid
		);
}

struct event *vhost_session_event(struct port_vhost *vhost, int socket)
{
	return event_new(vhost->port.hooks->base, socket, EV_READ | EV_PERSIST, on_session, vhost);
}

static void start_session(struct port_vhost *vhost, int socket)
{
	const char *name = vhost->port.settings.name;

	port_changing(&vhost->port);
	struct event *event = vhost_session_event(vhost, socket);

	if (event == NULL || vl_device_attach(vhost->device, socket) < 0) {
		if (event != NULL)
			event_free(event);
		close(socket);
		log_error(LOG_VHOST, "%s: out of memory for a session", name);
		return;
	}
	vhost->session_event = event;
	vhost->session_begin = seconds();
	vhost->failed = false;
	vhost->broken_logged = false;
	vhost->last_error[0] = '\0';
	describe_peer(vhost, socket);
	if (vhost->accept_event != NULL)
		event_del(vhost->accept_event);
	event_add(event, NULL);
	log_info(LOG_VHOST, "%s: connected to %s", name, vhost->peer);
}

static void on_accept(evutil_socket_t listener, short, void *context)
{
	struct port_vhost *vhost = context;
	int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (socket >= 0) {
		start_session(vhost, socket);
		return;
	}
	if (errno != EMFILE && errno != ENFILE)
		return;
	/* The socket stays readable: do not spin until a descriptor becomes free. */
	event_del(vhost->accept_event);
	log_error(
		LOG_VHOST,
		"%s: too many open files, trying again every second; raise LimitNOFILE",
		vhost->port.settings.name
	);
}

static void try_connect(struct port_vhost *vhost)
{
	struct error error;
	int socket = unix_connect(vhost->port.settings.connect, &error);

	if (socket >= 0) {
		start_session(vhost, socket);
		return;
	}
	if (!vhost->failed && strcmp(vhost->last_error, error.text) != 0) {
		memcpy(vhost->last_error, error.text, sizeof(vhost->last_error));
		log_info(
			LOG_VHOST,
			"%s: %s; trying again, at least every second",
			vhost->port.settings.name,
			error.text
		);
	}
}

/* A peer that restarts is back soon; one that is not there is not to cost anything. */
static void try_later(struct port_vhost *vhost)
{
	const unsigned ms = vhost->connect_pause_ms;
	struct timeval pause = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	event_add(vhost->connect_again, &pause);
	if (vhost->connect_pause_ms < CONNECT_PAUSE_MAX_MS)
		vhost->connect_pause_ms *= 2;
	if (vhost->connect_pause_ms > CONNECT_PAUSE_MAX_MS)
		vhost->connect_pause_ms = CONNECT_PAUSE_MAX_MS;
}

static void on_connect_again(evutil_socket_t, short, void *context)
{
	struct port_vhost *vhost = context;

	try_connect(vhost);
	if (vhost->session_event == NULL)
		try_later(vhost);
}

/* After a session. One that was short does not count as a return, however often it comes. */
void vhost_look_for_peer(struct port_vhost *vhost)
{
	if (vhost->failed)
		vhost->connect_pause_ms = CONNECT_PAUSE_MAX_MS;
	else if (seconds() - vhost->session_begin > 1)
		vhost->connect_pause_ms = CONNECT_PAUSE_MIN_MS;
	try_later(vhost);
}

static void vhost_tick(struct port *port)
{
	struct port_vhost *vhost = vhost_of(port);
	unsigned index;
	const char *why;

	vl_device_retry(vhost->device);
	if (vhost->session_event == NULL && vhost->accept_event != NULL)
		event_add(vhost->accept_event, NULL); /* no change if it waits already */
	if (!vhost->broken_logged && vhost_broken_queue(vhost, &index, &why)) {
		vhost->broken_logged = true;
		(void
		)snprintf(vhost->last_error, sizeof(vhost->last_error), "queue %u: %s", index, why);
		log_warning(LOG_VHOST, "%s: queue %u stopped: %s", port->settings.name, index, why);
	}
}

static int vhost_set_offloads(struct port *port, uint32_t offloads, struct error *)
{
	vl_device_set_offloads(vhost_of(port)->device, offloads);
	return 0;
}

static int vhost_set_mtu(struct port *port, uint16_t mtu, struct error *)
{
	vl_device_set_mtu(vhost_of(port)->device, mtu);
	return 0;
}

static void vhost_set_link(struct port *port, bool up)
{
	vl_device_set_link(vhost_of(port)->device, up);
}

static bool vhost_expects(const struct port *port)
{
	const struct port_vhost *vhost = vhost_of_const(port);

	return vhost->expects && vl_device_active_pairs(vhost->device) == 0;
}

static void vhost_memory_lost(struct port *port)
{
	struct port_vhost *vhost = vhost_of(port);

	if (vhost->session_event != NULL)
		end_session(vhost, -EFAULT, "the peer cut its shared memory short");
}

/* ---- life ---- */

/* The peer may well be there still, and look for another device: then it will be needed. */
static void close_record(struct port_vhost *vhost)
{
	const char *directory = vhost->port.hooks->state_directory;
	bool needed = vhost->device != NULL && vl_device_record_holds(vhost->device);

	if (vhost->record == NULL)
		return;
	vl_device_destroy(vhost->device);
	vhost->device = NULL;
	kept_memory_close(vhost->record, vl_device_record_size(vhost->port.settings.queues));
	if (!needed)
		kept_memory_remove(directory, vhost->port.settings.name);
}

static void vhost_destroy(struct port *port)
{
	struct port_vhost *vhost = vhost_of(port);

	if (vhost->session_event != NULL)
		event_free(vhost->session_event);
	if (vhost->control_event != NULL)
		event_free(vhost->control_event);
	vhost->control_event = NULL;
	if (vhost->control_again != NULL)
		event_free(vhost->control_again);
	if (vhost->connect_again != NULL)
		event_free(vhost->connect_again);
	if (vhost->accept_event != NULL)
		event_free(vhost->accept_event);
	if (vhost->listen_fd >= 0) {
		close(vhost->listen_fd);
		unlink(port->settings.listen);
	}
	if (vhost->device != NULL)
		hang_up(vhost);
	close_record(vhost);
	vl_device_destroy(vhost->device);
	port_fini(port);
	free(vhost);
}

static const struct port_ops vhost_ops = {
	.borrow = vhost_borrow,
	.give_back = vhost_give_back,
	.copy_in = vhost_copy_in,
	.flush = vhost_flush,
	.accepts = vhost_accepts,
	.tx_queues = vhost_tx_queues,
	.sleep = vhost_sleep,
	.woken = vhost_woken,
	.set_offloads = vhost_set_offloads,
	.set_mtu = vhost_set_mtu,
	.set_link = vhost_set_link,
	.expects = vhost_expects,
	.tick = vhost_tick,
	.memory_lost = vhost_memory_lost,
	.save = vhost_save,
	.go_on = vhost_go_on,
	.snapshot = vhost_snapshot,
	.status = vhost_status,
	.destroy = vhost_destroy,
};

/* The address the driver gets when none was configured: stable for a port's name, locally
 * administered (IEEE 802, 8.4). */
static void default_mac(const char *name, uint8_t mac[6])
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (; *name != '\0'; name++)
		hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)(hash >> (8 * i));
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 0x02);
}

/* Guests may be overcommitted, but not without end: address space is shared by all ports. */
static uint64_t memory_max(void)
{
	uint64_t physical = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	return 4 * physical;
}

/* Without it all works until we die. */
static void open_record(struct port_vhost *vhost)
{
	const struct port_settings *settings = &vhost->port.settings;
	const char *directory = vhost->port.hooks->state_directory;
	struct error error;

	if (directory == NULL)
		return;
	vhost->record = kept_memory_open(
		directory, settings->name, vl_device_record_size(settings->queues), &error
	);
	if (vhost->record == NULL)
		log_warning(
			LOG_VHOST,
			"%s: %s; a guest with packed rings will not go on after a crash",
			settings->name,
			error.text
		);
}

static int open_device(struct port_vhost *vhost)
{
	const struct port_settings *settings = &vhost->port.settings;
	struct vl_device_config config = {
		.size = sizeof(config),
		.queue_pairs = settings->queues,
		.mtu = settings->policy.mtu,
		.synchronize = on_synchronize,
		.queue_changed = on_queue_changed,
		.kick_changed = on_kick_changed,
		.control_kick_changed = on_control_kick_changed,
		/* With more pairs QEMU (10) waits for ever for an answer to what it has not sent,
		 * with the guest half moved. Not offered, it says so before it begins. */
		.postcopy = settings->postcopy && settings->queues == 1,
		.iommu = settings->iommu,
		.device_state = settings->device_state,
		.attention_changed = on_attention_changed,
		.announce = on_announce,
		.memory_mapped = on_memory_mapped,
		.memory_unmapping = on_memory_unmapping,
		.memory_max = memory_max(),
		.offloads_withheld = ~settings->policy.offloads,
		.record = vhost->record,
		.context = vhost,
	};

	if (settings->policy.mac_count > 0)
		memcpy(config.mac, settings->policy.macs[0].bytes, sizeof(config.mac));
	else
		default_mac(settings->name, config.mac);
	int error = vl_device_create(&config, &vhost->device);
	if (error < 0)
		return error;
	vl_device_set_link(vhost->device, !settings->policy.link_down);
	vhost->expects = vl_device_record_holds(vhost->device);
	return 0;
}

static int
start_listening(struct port_vhost *vhost, struct port_legacy *legacy, struct error *error)
{
	const struct port_settings *settings = &vhost->port.settings;
	struct socket_owner owner = {settings->owner, settings->group, settings->mode};

	if (legacy != NULL)
		vhost->listen_fd = handover_take_fd(
			legacy->handover, json_object_get(legacy->state, "listen")
		);
	/* A file that was cleaned away meanwhile cannot be connected to. */
	if (legacy != NULL && legacy->orphaned && vhost->listen_fd >= 0
	    && access(settings->listen, F_OK) < 0) {
		close(vhost->listen_fd);
		vhost->listen_fd = -1;
	}
	if (legacy == NULL || (legacy->orphaned && vhost->listen_fd < 0))
		vhost->listen_fd = unix_listen(settings->listen, &owner, error);
	else if (vhost->listen_fd < 0)
		return error_set(error, -EINVAL, "its listening socket is missing");
	if (vhost->listen_fd < 0)
		return vhost->listen_fd;
	vhost->accept_event = event_new(
		vhost->port.hooks->base, vhost->listen_fd, EV_READ | EV_PERSIST, on_accept, vhost
	);
	/* One session at a time. */
	if (vhost->accept_event == NULL
	    || (vhost->session_event == NULL && event_add(vhost->accept_event, NULL) < 0))
		return error_set(error, -ENOMEM, "out of memory");
	return 0;
}

int port_vhost_create(
	const struct port_settings *settings,
	unsigned id,
	const struct port_hooks *hooks,
	struct port_legacy *legacy,
	struct port **out,
	struct error *error
)
{
	struct port_vhost *vhost = calloc(1, sizeof(*vhost));

	if (vhost == NULL)
		return error_set(error, -ENOMEM, "out of memory");
	vhost->listen_fd = -1;
	vhost->connect_pause_ms = CONNECT_PAUSE_MIN_MS;
	if (port_init(&vhost->port, &vhost_ops, settings, id, hooks) < 0) {
		free(vhost);
		return error_set(error, -ENOMEM, "out of memory");
	}
	vhost->control_again = evtimer_new(hooks->base, on_control_kick, vhost);
	open_record(vhost);
	vhost->connect_again = evtimer_new(hooks->base, on_connect_again, vhost);
	int result = vhost->control_again == NULL || vhost->connect_again == NULL
			     ? -ENOMEM
			     : open_device(vhost);
	if (result < 0)
		error_set(error, result, "cannot create the device: %s", strerror(-result));
	if (result == 0 && legacy != NULL)
		result = vhost_load(vhost, legacy, error);
	if (result == 0 && settings->listen[0] != '\0')
		result = start_listening(vhost, legacy, error);
	else if (result == 0 && (legacy == NULL || (legacy->orphaned && vhost->session_event == NULL)))
		on_connect_again(-1, 0, vhost); /* there is no need to wait */
	/* What was inherited may still be another process's: that ends, or goes on with it. */
	if (result < 0 && (legacy == NULL || legacy->orphaned))
		vhost_destroy(&vhost->port);
	if (result < 0)
		return result;
	*out = &vhost->port;
	return 0;
}
