/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening and closing a driver, see virtlane/driver.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/driver.h"
#include "vhost/signal.h"

enum {
	QUEUE_SIZE_DEFAULT = 1024,
	QUEUE_SIZE_MIN = 8,
	QUEUE_SIZE_MAX = 32768,
	BUFFER_SIZE_DEFAULT = 2048,
	BUFFER_SIZE_MIN = 64,
	BUFFER_SIZE_MAX = 1 << 20,
	BUFFERS_MAX = 1 << 20,		/* of a pool */
	QUEUE_PAIRS_MAX = 127,		/* and the control queue: 255 rings can be named */
	STATUS_RUNNING = 1 | 2 | 8 | 4, /* ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK */
	CLASS_MQ = 4,
	MQ_PAIRS_SET = 0,
};

int driver_explain(struct vl_driver_error *why, int error, const char *format, ...)
{
	va_list arguments;

	if (why == NULL)
		return error;
	va_start(arguments, format);
	(void)vsnprintf(why->text, sizeof(why->text), format, arguments);
	va_end(arguments);
	return error;
}

/* ---- configuration ---- */

static int check_config(const struct vl_driver_config *config, struct vl_driver_error *why)
{
	if (config->path == NULL && config->socket <= 0)
		return driver_explain(why, -EINVAL, "neither a path nor a socket was given");
	if (config->queue_pairs > QUEUE_PAIRS_MAX)
		return driver_explain(
			why, -EINVAL, "%u queue pairs: at most 127 can be had", config->queue_pairs
		);
	if (config->queue_size < QUEUE_SIZE_MIN || config->queue_size > QUEUE_SIZE_MAX
	    || (config->queue_size & (config->queue_size - 1)) != 0)
		return driver_explain(
			why,
			-EINVAL,
			"queue size %u is not a power of two from %d to %d",
			config->queue_size,
			QUEUE_SIZE_MIN,
			QUEUE_SIZE_MAX
		);
	if (config->buffer_size < BUFFER_SIZE_MIN || config->buffer_size > BUFFER_SIZE_MAX)
		return driver_explain(
			why,
			-EINVAL,
			"buffer size %u is not from %d to %d",
			config->buffer_size,
			BUFFER_SIZE_MIN,
			BUFFER_SIZE_MAX
		);
	if (config->rx_buffers > BUFFERS_MAX || config->tx_buffers > BUFFERS_MAX)
		return driver_explain(why, -EINVAL, "more than %d buffers in a pool", BUFFERS_MAX);
	return 0;
}

/* A copy of the caller's configuration, whatever version of the struct it has. */
static int take_config(
	struct vl_driver *driver, const struct vl_driver_config *config, struct vl_driver_error *why
)
{
	size_t size = config->size < sizeof(*config) ? config->size : sizeof(*config);

	if (config->size < offsetof(struct vl_driver_config, queue_pairs))
		return driver_explain(why, -EINVAL, "config.size is not set");
	memcpy(&driver->config, config, size);
	struct vl_driver_config *own = &driver->config;
	if (own->queue_pairs == 0)
		own->queue_pairs = 1;
	if (own->queue_size == 0)
		own->queue_size = QUEUE_SIZE_DEFAULT;
	if (own->buffer_size == 0)
		own->buffer_size = BUFFER_SIZE_DEFAULT;
	if (own->timeout_ms <= 0)
		own->timeout_ms = FRONTEND_TIMEOUT_MS;
	if (own->path != NULL) {
		own->path = driver->path = strdup(own->path);
		if (own->path == NULL)
			return driver_explain(why, -ENOMEM, "out of memory");
	}
	return check_config(own, why);
}

static int choose_isa(struct vl_driver *driver, struct vl_driver_error *why)
{
	int isa = isa_choose(driver->config.isa);

	if (isa == -ENOTSUP)
		return driver_explain(
			why,
			isa,
			"this processor does not have the instructions that were asked for"
		);
	if (isa < 0)
		return driver_explain(
			why, isa, "VIRTLANE_ISA, or isa, is none of v2, v3, v4, portable"
		);
	driver->isa = (enum isa)isa;
	return 0;
}

static void choose_ops(struct vl_driver *driver)
{
	static const struct driver_ops *(*const levels[ISA_COUNT]
	)(const struct driver_variant *) = {
		driver_ops_v2,
#if defined(__x86_64__)
		driver_ops_v3,
		driver_ops_v4,
#endif
	};
	struct vl_driver_config *config = &driver->config;

	driver->ops = levels[driver->isa](&driver->variant);
	if (config->rx_buffers == 0)
		config->rx_buffers = config->queue_size;
	if (config->tx_buffers == 0)
		config->tx_buffers = config->queue_size;
}

/* ---- starting ---- */

/* Before the device can use it: no notifications, as the driver polls, and buffers to receive. */
static void prepare_pair(struct vl_driver *driver, struct driver_pair *pair)
{
	driver_ring_calls_off(&pair->rx, pair->variant.packed);
	driver_ring_calls_off(&pair->tx, pair->variant.packed);
	if (!driver->config.foreign)
		driver->ops->refill(pair);
}

static unsigned control_index(const struct vl_driver *driver)
{
	return vl_features_have(&driver->features, VL_F_MQ) ? 2 * driver->pairs_max : 2;
}

/*
 * The region in which a device that can do so keeps what it has taken and not yet completed, so
 * that one that comes after it knows. It is the device's; we only hold it while the driver lives.
 * The control queue has no part in it: it begins anew with each session.
 */
static int share_inflight(struct vl_driver *driver)
{
	if (!frontend_has(driver->frontend, VL_PROTOCOL_F_INFLIGHT_SHMFD))
		return 0;
	if (driver->inflight_fd >= 0)
		return frontend_set_inflight(
			driver->frontend, &driver->inflight, driver->inflight_fd
		);
	int error = frontend_get_inflight(
		driver->frontend,
		(uint16_t)(2 * driver->pair_count),
		(uint16_t)driver->config.queue_size,
		&driver->inflight,
		&driver->inflight_fd
	);
	/* It may have none for a network device. */
	if (error == -EIO)
		return 0;
	if (error == 0)
		error = frontend_set_inflight(
			driver->frontend, &driver->inflight, driver->inflight_fd
		);
	return error;
}

/* Enabled before it is started, as QEMU does: of a ring that is started and disabled the device
 * takes what is there and throws it away. */
static int start_ring(
	struct vl_driver *driver,
	unsigned index,
	const struct driver_ring *ring,
	int kick_fd,
	int call_fd
)
{
	int error = frontend_enable_ring(driver->frontend, index, true);

	return error < 0 ? error : driver_start_ring(driver, index, ring, kick_fd, call_fd);
}

static int start_rings(struct vl_driver *driver)
{
	int error = share_inflight(driver);

	for (unsigned i = 0; error == 0 && i < driver->pair_count; i++) {
		struct driver_pair *pair = &driver->pairs[i];

		error = start_ring(driver, 2 * i, &pair->rx, pair->rx_kick_fd, pair->rx_call_fd);
		if (error == 0)
			error = start_ring(
				driver, 2 * i + 1, &pair->tx, pair->tx_kick_fd, pair->tx_call_fd
			);
	}
	if (error == 0 && driver->has_control)
		error = start_ring(
			driver, control_index(driver), &driver->control, driver->control_kick_fd, -1
		);
	return error;
}

static int start(struct vl_driver *driver, struct vl_driver_error *why)
{
	int error = start_rings(driver);

	if (error == 0)
		error = frontend_set_status(driver->frontend, STATUS_RUNNING);
	if (error < 0)
		return driver_explain(why, error, "%s", driver->frontend->reason);
	if (!driver->has_control || driver->pair_count == 1)
		return 0;
	const uint8_t pairs[2] = {(uint8_t)driver->pair_count, 0};
	error = vl_driver_command(driver, CLASS_MQ, MQ_PAIRS_SET, pairs, sizeof(pairs));
	if (error < 0)
		return driver_explain(
			why, error, "the device does not use %u queue pairs", driver->pair_count
		);
	return 0;
}

static struct frontend_config session_config(const struct vl_driver *driver, int socket)
{
	return (struct frontend_config){
		.path = driver->config.path,
		.listen = driver->config.listen,
		.socket = socket,
		.timeout_ms = driver->config.timeout_ms,
		.protocol_wanted = UINT64_MAX,
	};
}

static int connect_session(struct vl_driver *driver, struct vl_driver_error *why)
{
	struct frontend_config config = session_config(driver, driver->config.socket);
	char reason[FRONTEND_REASON_SIZE];
	int error = frontend_open(&config, &driver->frontend, reason);

	if (error < 0)
		return driver_explain(why, error, "%.255s", reason);
	return 0;
}

static int open_all(
	struct vl_driver *driver, const struct vl_driver_config *config, struct vl_driver_error *why
)
{
	int error = take_config(driver, config, why);

	if (error == 0)
		error = choose_isa(driver, why);
	if (error == 0)
		error = connect_session(driver, why);
	if (error == 0)
		error = driver_negotiate(driver, why);
	if (error < 0)
		return error;
	choose_ops(driver);
	driver->pairs = aligned_alloc(64, driver->pair_count * sizeof(driver->pairs[0]));
	if (driver->pairs == NULL)
		return driver_explain(why, -ENOMEM, "out of memory");
	memset(driver->pairs, 0, driver->pair_count * sizeof(driver->pairs[0]));
	for (unsigned i = 0; i < driver->pair_count; i++) {
		struct driver_pair *pair = &driver->pairs[i];

		pair->rx_kick_fd = pair->tx_kick_fd = -1;
		pair->rx_call_fd = pair->tx_call_fd = -1;
	}
	error = driver_make_memory(driver, why);
	if (error < 0)
		return error;
	for (unsigned i = 0; i < driver->pair_count; i++)
		prepare_pair(driver, &driver->pairs[i]);
	if (driver->has_control)
		driver_ring_calls_off(&driver->control, driver->control.packed);
	return start(driver, why);
}

int vl_driver_open(
	const struct vl_driver_config *config, struct vl_driver **out, struct vl_driver_error *why
)
{
	struct vl_driver *driver = calloc(1, sizeof(*driver));

	if (why != NULL)
		why->text[0] = '\0';
	if (driver == NULL)
		return driver_explain(why, -ENOMEM, "out of memory");
	driver->control_kick_fd = driver->inflight_fd = -1;
	pthread_mutex_init(&driver->session, NULL);
	int error = open_all(driver, config, why);
	if (error < 0) {
		/* A socket of the caller's stays the caller's. */
		if (driver->frontend != NULL && config->socket > 0)
			driver->frontend->socket = -1;
		vl_driver_close(driver);
		return error;
	}
	*out = driver;
	return 0;
}

/* What waits in the rings may have been announced to a device that is gone, or by one. */
static void kick_all(struct vl_driver *driver)
{
	for (unsigned i = 0; i < driver->pair_count; i++) {
		const struct driver_pair *pair = &driver->pairs[i];

		vhost_signal(pair->rx_kick_fd);
		vhost_signal(pair->tx_kick_fd);
		vhost_signal(pair->rx_call_fd);
	}
}

static int reconnect(struct vl_driver *driver, int socket, struct vl_driver_error *why)
{
	struct frontend_config config = session_config(driver, socket);

	if (socket <= 0 && config.path == NULL)
		return driver_explain(
			why, -EINVAL, "the driver was given a socket: give it another"
		);
	for (unsigned i = 0; i < driver->pair_count; i++) {
		if (driver_pair_is_broken(&driver->pairs[i]))
			return driver_explain(
				why, -EPROTO, "queue pair %u was stopped: its device lied", i
			);
	}
	int error = frontend_reopen(driver->frontend, &config);
	if (error < 0)
		return driver_explain(why, error, "%s", driver->frontend->reason);
	error = driver_negotiate_again(driver, why);
	if (error == 0) {
		error = driver_share_all(driver);
		if (error < 0)
			(void)driver_explain(why, error, "%s", driver->frontend->reason);
	}
	for (unsigned i = 0; error == 0 && i < driver->pair_count; i++)
		driver_pair_mend(&driver->pairs[i]);
	if (error == 0 && driver->has_control) {
		error = driver_control_renew(driver);
		if (error < 0)
			(void)driver_explain(why, error, "out of memory");
	}
	if (error == 0)
		error = start(driver, why);
	if (error == 0)
		kick_all(driver);
	/* It cannot be used, and is closed by the next try. */
	if (error < 0) {
		if (socket > 0)
			driver->frontend->socket = -1;
		driver->frontend->failed = error;
	}
	return error;
}

int vl_driver_reconnect(struct vl_driver *driver, int socket, struct vl_driver_error *why)
{
	if (why != NULL)
		why->text[0] = '\0';
	int error = reconnect(driver, socket, why);
	atomic_store_explicit(&driver->failed, driver->frontend->failed, memory_order_relaxed);
	return error;
}

void driver_stop(struct vl_driver *driver)
{
	if (driver->stopped)
		return;
	driver->stopped = true;
	pthread_mutex_lock(&driver->session);
	for (unsigned i = 0; driver->pairs != NULL && i < 2 * driver->pair_count; i++)
		if (frontend_stop_ring(driver->frontend, i, NULL) < 0)
			break;
	pthread_mutex_unlock(&driver->session);
}

void vl_driver_close(struct vl_driver *driver)
{
	if (driver == NULL)
		return;
	/* A device that is there still stops using the memory before it is gone. */
	driver_stop(driver);
	frontend_close(driver->frontend);
	for (unsigned i = 0; driver->pairs != NULL && i < driver->pair_count; i++)
		driver_pair_close(&driver->pairs[i]);
	free(driver->pairs);
	driver_control_close(driver);
	driver_free_memory(driver);
	if (driver->inflight_fd >= 0)
		close(driver->inflight_fd);
	pthread_mutex_destroy(&driver->session);
	free(driver->path);
	free(driver);
}
