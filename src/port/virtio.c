/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtio port: the driver's side of a virtio-net device that somebody else serves over a
 * vhost-user socket - another switch, so that one can be plugged into the other.
 *
 * States: without a device the port waits: it listens, or tries to connect once a second. Opening
 * and closing a device takes answers from its back end, so threads of their own do that (never for
 * longer than OPEN_TIMEOUT_MS an answer), and the control thread looks once a second whether a
 * device is open. The driver is then published to the workers. When the session ends, or the device
 * breaks a ring, it is taken back, and the port waits again.
 *
 * A driver's calls are for one thread at a time for each pair, and a worker that takes frames from
 * a pair need not be the one that sends some to it: hence a lock a pair, held for a call.
 */
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/unix_socket.h"
#include "net/frame.h"
#include "net/offloads.h"
#include "port/port.h"
#include "virtlane/driver.h"

enum {
	ELEMENTS_MAX = VL_DRIVER_BURST_MAX,
	BUFFER_SIZE = 2048,
	PIECES_MAX = 72, /* what vl_driver_tx_burst() takes */
	OPEN_TIMEOUT_MS = 1000,
};

struct virtio_queue {
	rte_spinlock_t lock;
	/* one borrower's; under the lock where the driver is called */
	struct vl_driver_frame elements[ELEMENTS_MAX]; /* not given back yet: from `first` on */
	unsigned first, count;
	struct iovec spans[ELEMENTS_MAX];
	uint8_t pieces[VL_BURST_MAX]; /* elements of each frame that was borrowed last */
};

/* A device that a thread opens. Port and thread have it together: who comes last, when it is done
 * or not wanted any more, frees it. */
enum opening_state {
	OPENING,
	OPENED,	   /* or failed: the result is there */
	ABANDONED, /* the port is gone */
};
struct opening {
	_Atomic(enum opening_state) state;
	struct vl_driver_config config;
	char path[PATH_MAX];
	int result;
	struct vl_driver *driver;
	struct vl_driver_error error;
};

struct port_virtio {
	struct port port;
	/* control's */
	int listen_fd; /* -1: the port connects */
	struct event *accept_event;
	struct event *session_event; /* of the driver's socket */
	struct opening *opening;     /* NULL: none */
	char last_error[ERROR_SIZE];
	uint32_t taken; /* VL_OFFLOAD_* that the device takes */

	/* shared */
	_Atomic(struct vl_driver *) driver; /* NULL: there is none */
	_Atomic uint32_t offloads;	    /* VL_OFFLOAD_* that are used of what it takes */
	atomic_uint pairs;		    /* 0: the link is down */
	struct virtio_queue queues[];
};

static struct port_virtio *virtio_of(const struct port *port)
{
	return (struct port_virtio *)port;
}

static struct vl_driver *driver_of(const struct port *port)
{
	return atomic_load_explicit(&virtio_of(port)->driver, memory_order_acquire);
}

/* ---- from the device ---- */

/* One frame of `count` elements. */
static void elements_to_frame(
	const struct vl_driver_frame *elements,
	unsigned count,
	struct iovec *spans,
	struct vl_frame *frame
)
{
	uint16_t n = 0;

	frame->header = elements->header;
	frame->header.num_buffers = 0;
	frame->head = frame->bytes;
	frame->head_size = 0;
	frame->size = 0;
	for (unsigned i = 0; i < count; i++) {
		uint32_t room = VL_HEAD_MAX - frame->head_size;
		uint32_t head = elements[i].length < room ? elements[i].length : room;

		/* The device says how long each is: the head may come from several. */
		memcpy(frame->head + frame->head_size, elements[i].data, head);
		frame->head_size = (uint16_t)(frame->head_size + head);
		frame->size += elements[i].length;
		if (elements[i].length > head)
			spans[n++] =
				(struct iovec){elements[i].data + head, elements[i].length - head};
	}
	frame->tail = spans;
	frame->tail_count = n;
}

static unsigned pieces_of(const struct vl_driver_frame *element)
{
	return element->header.num_buffers > 1 ? element->header.num_buffers : 1;
}

static int virtio_borrow(struct port *port, unsigned index, struct vl_frame *frames, unsigned max)
{
	struct virtio_queue *queue = &virtio_of(port)->queues[index];
	struct vl_driver *driver = driver_of(port);
	unsigned n = 0, at;

	if (driver == NULL)
		return 0;
	if (max > VL_BURST_MAX)
		max = VL_BURST_MAX;
	if (queue->count == 0) {
		rte_spinlock_lock(&queue->lock);
		int got = vl_driver_rx_burst(driver, index, queue->elements, ELEMENTS_MAX);
		rte_spinlock_unlock(&queue->lock);
		if (got < 0)
			return got;
		queue->first = 0;
		queue->count = (unsigned)got;
	}
	for (at = 0; n < max && at < queue->count; n++) {
		struct vl_driver_frame *element = &queue->elements[queue->first + at];

		queue->pieces[n] = (uint8_t)pieces_of(element);
		elements_to_frame(element, queue->pieces[n], &queue->spans[at], &frames[n]);
		at += queue->pieces[n];
	}
	return (int)n;
}

static void virtio_give_back(struct port *port, unsigned index, unsigned done, unsigned put_off)
{
	struct virtio_queue *queue = &virtio_of(port)->queues[index];
	struct vl_driver *driver = driver_of(port);
	unsigned elements = 0;

	(void)put_off; /* they stay where they are */
	for (unsigned i = 0; i < done; i++)
		elements += queue->pieces[i];
	/* The driver is not closed before this worker has passed, see end_session(). */
	if (driver != NULL && elements > 0) {
		rte_spinlock_lock(&queue->lock);
		vl_driver_free(driver, index, &queue->elements[queue->first], elements);
		rte_spinlock_unlock(&queue->lock);
	}
	queue->first += elements;
	queue->count -= elements;
}

/* ---- to the device ---- */

/* Copy a frame over its elements, each of BUFFER_SIZE. */
static void
fill_elements(struct vl_driver_frame *elements, unsigned count, const struct vl_frame *frame)
{
	unsigned at = 0;

	elements[0].header = frame->header;
	elements[0].header.num_buffers = (uint16_t)count;
	for (uint32_t i = 0; i <= frame->tail_count; i++) {
		const uint8_t *from = i == 0 ? frame->head : frame->tail[i - 1].iov_base;
		uint32_t size = i == 0 ? frame->head_size : (uint32_t)frame->tail[i - 1].iov_len;

		while (size > 0) {
			struct vl_driver_frame *element = &elements[at];
			uint32_t room = BUFFER_SIZE - element->length;
			uint32_t piece = size < room ? size : room;

			memcpy(element->data + element->length, from, piece);
			element->length += piece;
			from += piece;
			size -= piece;
			if (element->length == BUFFER_SIZE)
				at++;
		}
	}
}

/* The virtio-net header as a device may see it (5.1.6.2), and the checksum that it does not take.
 */
static void finish_elements(
	const struct port_virtio *virtio,
	struct vl_driver_frame *elements,
	const struct vl_frame *frame
)
{
	uint32_t offloads = atomic_load_explicit(
		&((struct port_virtio *)virtio)->offloads, memory_order_relaxed
	);
	uint16_t num_buffers = elements[0].header.num_buffers;

	if ((frame->header.flags & VL_NET_NEEDS_CSUM) && (offloads & VL_OFFLOAD_CSUM))
		return;
	elements[0].header = (struct vl_net_header){.num_buffers = num_buffers};
	if (!(frame->header.flags & VL_NET_NEEDS_CSUM))
		return;
	struct iovec pieces[PIECES_MAX];
	for (unsigned i = 0; i < num_buffers; i++)
		pieces[i] = (struct iovec){elements[i].data, elements[i].length};
	frame_fill_checksum(pieces, num_buffers, &frame->header);
}

/* Send one frame. 1: sent; 0: no room now; else -1 and *result. */
static int send_frame(
	struct port_virtio *virtio,
	struct vl_driver *driver,
	unsigned index,
	const struct vl_frame *frame,
	int *result
)
{
	struct vl_driver_frame elements[PIECES_MAX];
	unsigned count = (frame->size + BUFFER_SIZE - 1) / BUFFER_SIZE;

	*result = DROP_TOO_LARGE;
	if (count > PIECES_MAX)
		return -1;
	unsigned got = vl_driver_alloc(driver, index, elements, count);
	int sent = 0;
	if (got == count) {
		fill_elements(elements, count, frame);
		finish_elements(virtio, elements, frame);
		sent = vl_driver_tx_burst(driver, index, elements, count);
	}
	*result = sent == -EINVAL ? DROP_TOO_LARGE : DROP_PORT_DOWN;
	if (sent > 0)
		return 1;
	vl_driver_free(driver, index, elements, got);
	return sent;
}

static unsigned virtio_copy_in(
	struct port *port,
	unsigned index,
	const struct vl_frame *const *frames,
	unsigned count,
	int *results,
	struct vl_copier *copier
)
{
	struct port_virtio *virtio = virtio_of(port);
	struct virtio_queue *queue = &virtio->queues[index];
	/* Once: it may be taken back meanwhile, and is closed only after this call. */
	struct vl_driver *driver = driver_of(port);
	unsigned done = 0;

	(void)copier; /* the driver wants the bytes when the frame is sent */
	rte_spinlock_lock(&queue->lock);
	for (; done < count; done++) {
		int sent = -1;

		results[done] = DROP_PORT_DOWN;
		if (driver != NULL)
			sent = send_frame(virtio, driver, index, frames[done], &results[done]);
		if (sent == 0)
			break;
		if (sent > 0)
			results[done] = DELIVERED;
	}
	rte_spinlock_unlock(&queue->lock);
	return done;
}

static void virtio_flush(struct port *port, unsigned index)
{
	(void)port;
	(void)index; /* the driver has notified the device */
}

static bool virtio_accepts(const struct port *port, const struct vl_net_header *header)
{
	uint32_t offloads = atomic_load_explicit(&virtio_of(port)->offloads, memory_order_relaxed);

	return (frame_needs(header) & ~offloads) == 0;
}

static unsigned virtio_tx_queues(const struct port *port)
{
	return atomic_load_explicit(&virtio_of(port)->pairs, memory_order_relaxed);
}

static enum port_sleep virtio_sleep(struct port *port, unsigned index)
{
	struct virtio_queue *queue = &virtio_of(port)->queues[index];
	struct vl_driver *driver = driver_of(port);

	if (driver == NULL)
		return PORT_ASLEEP;
	rte_spinlock_lock(&queue->lock);
	bool quiet = queue->count == 0 && vl_driver_sleep(driver, index);
	rte_spinlock_unlock(&queue->lock);
	return quiet ? PORT_ASLEEP : PORT_AWAKE;
}

static void virtio_woken(struct port *port, unsigned index)
{
	struct vl_driver *driver = driver_of(port);

	if (driver != NULL)
		vl_driver_woken(driver, index);
}

/* ---- session ---- */

static void *close_driver(void *context)
{
	vl_driver_close(context);
	return NULL;
}

/* A thread that nobody waits for: what it does takes as long as somebody else's answers. */
static int run_apart(void *(*run)(void *context), void *context)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, run, context);

	if (error == 0)
		(void)pthread_detach(thread);
	return -error;
}

/* Nothing may use the driver when this returns. */
static void end_session(struct port_virtio *virtio, const char *why)
{
	struct port *port = &virtio->port;
	struct vl_driver *driver = driver_of(port);

	if (driver == NULL)
		return;
	event_free(virtio->session_event);
	virtio->session_event = NULL;
	(void)snprintf(virtio->last_error, sizeof(virtio->last_error), "%s", why);
	atomic_store_explicit(&virtio->pairs, 0, memory_order_relaxed);
	for (unsigned i = 0; i < port->settings.queues; i++)
		port_watch(port, i, -1);
	/* What was borrowed is freed with the driver. */
	atomic_store_explicit(&virtio->driver, NULL, memory_order_release);
	port->hooks->synchronize(port->hooks->context);
	for (unsigned i = 0; i < port->settings.queues; i++)
		virtio->queues[i].count = 0;
	/* It says goodbye, and waits for answers. */
	if (run_apart(close_driver, driver) < 0)
		vl_driver_close(driver);
	log_info(LOG_PORT, "%s: %s", port->settings.name, why);
}

static void read_link(struct port_virtio *virtio)
{
	struct vl_driver_status status;

	vl_driver_status(driver_of(&virtio->port), &status);
	atomic_store_explicit(
		&virtio->pairs, status.link_up ? status.queue_pairs : 0, memory_order_relaxed
	);
}

static void on_session(evutil_socket_t fd, short what, void *context)
{
	struct port_virtio *virtio = context;
	int result = vl_driver_process(driver_of(&virtio->port));

	(void)fd;
	(void)what;
	if (result < 0)
		end_session(
			virtio,
			result == -ECONNRESET ? "the device's back end hung up"
					      : "the device's back end broke the rules"
		);
	else
		read_link(virtio);
}

static void begin_session(struct port_virtio *virtio, struct vl_driver *driver)
{
	struct port *port = &virtio->port;
	struct vl_driver_status status;

	virtio->session_event = event_new(
		port->hooks->base,
		vl_driver_control_fd(driver),
		EV_READ | EV_PERSIST,
		on_session,
		virtio
	);
	if (virtio->session_event == NULL || event_add(virtio->session_event, NULL) < 0) {
		if (virtio->session_event != NULL)
			event_free(virtio->session_event);
		virtio->session_event = NULL;
		vl_driver_close(driver);
		return;
	}
	vl_driver_status(driver, &status);
	/* What a driver sends is what its device takes. */
	virtio->taken = offloads_of_features(status.features.word[0], false);
	virtio->last_error[0] = '\0';
	atomic_store_explicit(
		&virtio->offloads,
		virtio->taken & port->settings.policy.offloads,
		memory_order_relaxed
	);
	/* release: the driver's content before the pointer to it */
	atomic_store_explicit(&virtio->driver, driver, memory_order_release);
	for (unsigned i = 0; i < status.queue_pairs && i < port->settings.queues; i++) {
		port_watch(port, i, vl_driver_fd(driver, i));
		port->hooks->wake(port->hooks->context, port, i);
	}
	read_link(virtio);
	log_info(LOG_PORT, "%s: the device is there", port->settings.name);
}

/* ---- opening ---- */

/* What the port would like; which of it there is the device says. */
static struct vl_features liked_features(uint32_t offloads)
{
	struct vl_features features = {{offloads_to_features(offloads)}};

	vl_features_add(&features, VL_F_MRG_RXBUF); /* for frames beyond BUFFER_SIZE */
	return features;
}

static void free_opening(struct opening *opening)
{
	vl_driver_close(opening->driver);
	free(opening);
}

static void *open_driver(void *context)
{
	struct opening *opening = context;

	opening->result = vl_driver_open(&opening->config, &opening->driver, &opening->error);
	if (opening->result < 0 && opening->config.socket > 0)
		close(opening->config.socket);
	/* both: the result before the word that it is there; the port's word before the rest */
	if (atomic_exchange_explicit(&opening->state, OPENED, memory_order_acq_rel) == ABANDONED)
		free_opening(opening);
	return NULL;
}

/* `socket`: of a back end that has connected; 0: connect to it. */
static void start_opening(struct port_virtio *virtio, int socket)
{
	const struct port_settings *settings = &virtio->port.settings;
	struct opening *opening = calloc(1, sizeof(*opening));

	if (opening != NULL) {
		memcpy(opening->path, settings->connect, sizeof(settings->connect));
		opening->config = (struct vl_driver_config){
			.size = sizeof(opening->config),
			.path = opening->path,
			.socket = socket,
			.queue_pairs = settings->queues,
			.liked = liked_features(settings->policy.offloads),
			.buffer_size = BUFFER_SIZE,
			.timeout_ms = OPEN_TIMEOUT_MS,
			.mtu = settings->policy.mtu,
		};
		if (run_apart(open_driver, opening) == 0) {
			virtio->opening = opening;
			return;
		}
	}
	free(opening);
	if (socket > 0)
		close(socket);
}

/* The driver that was opened, or NULL and why not. */
static struct vl_driver *finish_opening(struct port_virtio *virtio)
{
	struct opening *opening = virtio->opening;
	struct vl_driver *driver = opening->driver;

	if (driver == NULL && strcmp(virtio->last_error, opening->error.text) != 0) {
		(void)snprintf(
			virtio->last_error, sizeof(virtio->last_error), "%s", opening->error.text
		);
		log_info(
			LOG_PORT,
			"%s: %s; trying again every second",
			virtio->port.settings.name,
			opening->error.text
		);
	}
	free(opening);
	virtio->opening = NULL;
	return driver;
}

static void on_accept(evutil_socket_t listener, short what, void *context)
{
	struct port_virtio *virtio = context;
	int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (socket < 0)
		return;
	/* One device at a time; the next waits in the socket's queue. */
	event_del(virtio->accept_event);
	start_opening(virtio, socket);
}

static int start_listening(struct port_virtio *virtio, struct error *error)
{
	const struct port_settings *settings = &virtio->port.settings;
	struct socket_owner owner = {settings->owner, settings->group, settings->mode};

	virtio->listen_fd = unix_listen(settings->listen, &owner, error);
	if (virtio->listen_fd < 0)
		return virtio->listen_fd;
	virtio->accept_event = event_new(
		virtio->port.hooks->base, virtio->listen_fd, EV_READ | EV_PERSIST, on_accept, virtio
	);
	if (virtio->accept_event == NULL || event_add(virtio->accept_event, NULL) < 0)
		return error_set(error, -ENOMEM, "out of memory");
	return 0;
}

/* Wait for a device, or go and look for one. */
static void look_for_device(struct port_virtio *virtio)
{
	if (virtio->listen_fd >= 0)
		event_add(virtio->accept_event, NULL);
	else
		start_opening(virtio, 0);
}

static void virtio_tick(struct port *port)
{
	struct port_virtio *virtio = virtio_of(port);
	struct opening *opening = virtio->opening;

	if (driver_of(port) != NULL) {
		struct vl_driver_status status;

		vl_driver_status(driver_of(port), &status);
		if (status.broken != NULL)
			end_session(virtio, status.broken);
		else
			read_link(virtio);
	} else if (opening == NULL) {
		look_for_device(virtio);
	} else if (atomic_load_explicit(&opening->state, memory_order_acquire) == OPENED) {
		struct vl_driver *driver = finish_opening(virtio);

		if (driver != NULL)
			begin_session(virtio, driver);
		else
			look_for_device(virtio);
	}
}

/* ---- control ---- */

static int virtio_set_offloads(struct port *port, uint32_t offloads, struct error *error)
{
	struct port_virtio *virtio = virtio_of(port);

	(void)error;
	atomic_store_explicit(&virtio->offloads, virtio->taken & offloads, memory_order_relaxed);
	return 0;
}

static void describe_driver(struct vl_driver *driver, struct port_status *out)
{
	struct vl_driver_status status;

	vl_driver_status(driver, &status);
	out->state = status.link_up ? PORT_UP : PORT_CONNECTED;
	if (!status.link_up)
		(void)snprintf(out->reason, sizeof(out->reason), "the device's link is down");
	if (status.broken != NULL) {
		out->state = PORT_ERROR;
		(void)snprintf(out->reason, sizeof(out->reason), "%s", status.broken);
	}
	memcpy(out->features, status.features.word, sizeof(out->features));
	out->protocol_features = status.protocol_features;
	out->memory_regions = status.region_count;
	out->memory_size = status.memory_size;
	out->queue_count = 2 * status.queue_pairs;
	for (unsigned i = 0; i < out->queue_count; i++) {
		struct vl_driver_stats stats;

		vl_driver_stats(driver, i / 2, &stats);
		out->queues[i] = (struct port_queue_status){
			.index = (uint16_t)i,
			.started = true,
			.enabled = stats.broken == NULL,
			.size = status.queue_size,
			.layout = vl_features_have(&status.features, VL_F_RING_PACKED) ? "packed"
										       : "split",
			/* of the pair: kicked when it sends, called when it receives */
			.kicks = i % 2 == 1 ? stats.kicks : 0,
			.calls = i % 2 == 0 ? stats.calls : 0,
			.worker = -1,
		};
	}
}

static void virtio_status(const struct port *port, struct port_status *out)
{
	struct port_virtio *virtio = virtio_of(port);
	struct vl_driver *driver = driver_of(port);

	out->state = PORT_WAITING;
	(void)snprintf(out->last_error, sizeof(out->last_error), "%s", virtio->last_error);
	if (driver == NULL && virtio->listen_fd >= 0) {
		(void)snprintf(
			out->reason,
			sizeof(out->reason),
			"no device's back end is connected to %.240s%s%.120s",
			port->settings.listen,
			virtio->last_error[0] != '\0' ? "; the last one: " : "",
			virtio->last_error
		);
		return;
	}
	if (driver == NULL) {
		(void)snprintf(
			out->reason,
			sizeof(out->reason),
			"%.400s; trying again every second",
			virtio->last_error[0] != '\0' ? virtio->last_error : "no device yet"
		);
		return;
	}
	describe_driver(driver, out);
	out->offloads_taken = atomic_load_explicit(&virtio->offloads, memory_order_relaxed);
	out->offloads_sent = virtio->taken;
}

static void virtio_destroy(struct port *port)
{
	struct port_virtio *virtio = virtio_of(port);

	end_session(virtio, "the port is deleted");
	if (virtio->opening != NULL
	    && atomic_exchange_explicit(&virtio->opening->state, ABANDONED, memory_order_acq_rel)
		       == OPENED)
		free_opening(virtio->opening);
	if (virtio->accept_event != NULL)
		event_free(virtio->accept_event);
	if (virtio->listen_fd >= 0) {
		close(virtio->listen_fd);
		unlink(port->settings.listen);
	}
	port_fini(port);
	free(virtio);
}

static const struct port_ops virtio_ops = {
	.borrow = virtio_borrow,
	.give_back = virtio_give_back,
	.copy_in = virtio_copy_in,
	.flush = virtio_flush,
	.accepts = virtio_accepts,
	.tx_queues = virtio_tx_queues,
	.sleep = virtio_sleep,
	.woken = virtio_woken,
	.set_offloads = virtio_set_offloads,
	.tick = virtio_tick,
	.status = virtio_status,
	.destroy = virtio_destroy,
};

int port_virtio_create(
	const struct port_settings *settings,
	unsigned id,
	const struct port_hooks *hooks,
	struct port_legacy *,
	struct port **out,
	struct error *error
)
{
	struct port_virtio *virtio =
		calloc(1, sizeof(*virtio) + settings->queues * sizeof(virtio->queues[0]));

	if (virtio == NULL || port_init(&virtio->port, &virtio_ops, settings, id, hooks) < 0) {
		free(virtio);
		return error_set(error, -ENOMEM, "out of memory");
	}
	virtio->listen_fd = -1;
	virtio->port.knows_sums = true;
	for (unsigned i = 0; i < settings->queues; i++)
		rte_spinlock_init(&virtio->queues[i].lock);
	int result = 0;
	if (settings->listen[0] != '\0')
		result = start_listening(virtio, error);
	else
		start_opening(virtio, 0);
	if (result < 0) {
		virtio_destroy(&virtio->port);
		return result;
	}
	*out = &virtio->port;
	return 0;
}
