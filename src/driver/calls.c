/* SPDX-License-Identifier: BSD-3-Clause */
/* The public data calls: thin, before the variant's own (burst.c); waiting; and what is reported.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "driver/driver.h"
#include "vhost/signal.h"

int vl_driver_rx_burst(
	struct vl_driver *driver, unsigned pair, struct vl_driver_frame *frames, unsigned max
)
{
	return driver->ops->rx_burst(&driver->pairs[pair], frames, max);
}

int vl_driver_tx_burst(
	struct vl_driver *driver, unsigned pair, struct vl_driver_frame *frames, unsigned count
)
{
	return driver->ops->tx_burst(&driver->pairs[pair], frames, count);
}

unsigned vl_driver_alloc(
	struct vl_driver *driver, unsigned index, struct vl_driver_frame *frames, unsigned count
)
{
	struct driver_pair *pair = &driver->pairs[index];

	if (pool_count(&pair->tx_pool) < count && !driver->config.foreign)
		driver->ops->tx_reap(pair);
	if (driver->config.foreign)
		return 0;
	if (count > pool_count(&pair->tx_pool))
		count = pool_count(&pair->tx_pool);
	for (unsigned i = 0; i < count; i++) {
		uintptr_t name = pool_get(&pair->tx_pool);

		frames[i] = (struct vl_driver_frame){.data = buffer_data(name), .buffer = name};
	}
	return count;
}

void vl_driver_free(
	struct vl_driver *driver,
	unsigned index,
	const struct vl_driver_frame *frames,
	unsigned count
)
{
	struct driver_pair *pair = &driver->pairs[index];

	if (driver->config.foreign)
		return; /* they never were the driver's */
	for (unsigned i = 0; i < count; i++) {
		uintptr_t name = frames[i].buffer;

		pool_put(name & BUFFER_OF_TX ? &pair->tx_pool : &pair->rx_pool, name);
	}
}

/* ---- waiting ---- */

/* Why the pair was stopped, or NULL: a lie on either ring does it. */
static const char *pair_broken(const struct driver_pair *from)
{
	struct driver_pair *pair = (struct driver_pair *)from;
	const char *why = atomic_load_explicit(&pair->rx.broken, memory_order_relaxed);

	return why != NULL ? why : atomic_load_explicit(&pair->tx.broken, memory_order_relaxed);
}

/* Whether a frame that a small burst left behind waits whole: no notification comes for it. */
static bool has_stashed(const struct driver_stash *stash)
{
	struct vl_net_header header;

	if (stash == NULL || stash->count == 0)
		return false;
	memcpy(&header, stash->parts[stash->first].data - DRIVER_HEADER_SIZE, sizeof(header));
	return header.num_buffers <= stash->count;
}

bool vl_driver_sleep(struct vl_driver *driver, unsigned index)
{
	struct driver_pair *pair = &driver->pairs[index];

	/* What has broken will not be notified. */
	if (pair_broken(pair) != NULL || has_stashed(pair->stash))
		return false;
	/* Buffers may have come back since the last burst; without any the device cannot deliver.
	 */
	if (!driver->config.foreign)
		driver->ops->refill(pair);
	return !driver_ring_calls_on(&pair->rx, pair->variant.packed);
}

int vl_driver_fd(const struct vl_driver *driver, unsigned pair)
{
	return driver->pairs[pair].rx_call_fd;
}

void vl_driver_woken(struct vl_driver *driver, unsigned index)
{
	struct driver_pair *pair = &driver->pairs[index];

	if (vhost_quiet(pair->rx_call_fd))
		driver_count(&pair->counters.calls, 1);
}

/* Hear what the back end has to say; for who holds the session. */
static int process(struct vl_driver *driver)
{
	bool changed = false;

	if (driver->frontend->failed != 0)
		return driver->frontend->failed;
	int error = frontend_process(driver->frontend, &changed);

	if (error == 0 && changed)
		error = driver_read_config(driver);
	/* A field that cannot be read leaves what was known. */
	return error == -ECONNRESET || error == -EPROTO || error == -ETIMEDOUT ? error : 0;
}

int vl_driver_wait(struct vl_driver *driver, unsigned index, int timeout_ms)
{
	struct pollfd fds[] = {
		{.fd = driver->pairs[index].rx_call_fd, .events = POLLIN},
		{.fd = driver->frontend->poll_fd, .events = POLLIN},
	};

	/* A session that has failed has nothing more to say, and no descriptor tells so again. */
	int error = atomic_load_explicit(&driver->failed, memory_order_relaxed);
	if (error != 0)
		return error;
	/* A call for what was polled since would wake in vain. */
	vl_driver_woken(driver, index);
	if (!vl_driver_sleep(driver, index))
		return 1;
	int n = poll(fds, 2, timeout_ms);
	if (n < 0)
		return -errno;
	/* One thread is enough to hear it. */
	if (fds[1].revents != 0 && pthread_mutex_trylock(&driver->session) == 0) {
		error = process(driver);
		driver_unlock(driver);
		if (error < 0)
			return error;
	}
	if (fds[0].revents != 0)
		vl_driver_woken(driver, index);
	return fds[0].revents != 0 ? 1 : 0;
}

/* ---- control ---- */

int vl_driver_control_fd(const struct vl_driver *driver)
{
	return driver->frontend->poll_fd;
}

int vl_driver_process(struct vl_driver *driver)
{
	pthread_mutex_lock(&driver->session);
	int error = process(driver);
	driver_unlock(driver);
	return error;
}

void vl_driver_status(const struct vl_driver *driver, struct vl_driver_status *out)
{
	*out = (struct vl_driver_status){
		.features = driver->features,
		.protocol_features = driver->frontend->protocol_features,
		.queue_pairs = driver->pair_count,
		.queue_pairs_max = driver->pairs_max,
		.queue_size = driver->config.queue_size,
		.ring = driver->ring_name,
		.isa = isa_name(driver->isa),
		.rx_slots = driver->config.queue_size,
		.tx_slots = driver->config.queue_size,
		.buffer_size = driver->config.buffer_size,
		.has_mac = driver->has_mac,
		.link_up = driver->link_up,
		.mtu = driver->mtu,
		.page_size = driver->regions[0].arena.page_size,
		.region_count = driver->region_count,
	};
	memcpy(out->mac, driver->mac, sizeof(out->mac));
	for (unsigned i = 0; i < driver->region_count; i++)
		out->memory_size += driver->regions[i].region.size;
	for (unsigned i = 0; out->broken == NULL && i < driver->pair_count; i++)
		out->broken = pair_broken(&driver->pairs[i]);
}

void vl_driver_stats(const struct vl_driver *driver, unsigned index, struct vl_driver_stats *out)
{
	const struct driver_pair *pair = &driver->pairs[index];
	struct driver_counters *counters = (struct driver_counters *)&pair->counters;

	*out = (struct vl_driver_stats){
		.rx_frames = atomic_load_explicit(&counters->rx_frames, memory_order_relaxed),
		.rx_bytes = atomic_load_explicit(&counters->rx_bytes, memory_order_relaxed),
		.tx_frames = atomic_load_explicit(&counters->tx_frames, memory_order_relaxed),
		.tx_bytes = atomic_load_explicit(&counters->tx_bytes, memory_order_relaxed),
		.tx_full = atomic_load_explicit(&counters->tx_full, memory_order_relaxed),
		.kicks = atomic_load_explicit(&counters->kicks, memory_order_relaxed),
		.calls = atomic_load_explicit(&counters->calls, memory_order_relaxed),
		.broken = pair_broken(pair),
	};
}
