/* SPDX-License-Identifier: BSD-3-Clause */
/* See joint.h. */
#include "joint.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the thread ---- */

static void on_kick_changed(void *context, unsigned pair, int, int new_fd)
{
	((struct joint *)context)->kick_fds[pair] = new_fd;
}

static void on_control_kick_changed(void *context, int, int new_fd)
{
	((struct joint *)context)->control_kick_fd = new_fd;
}

static unsigned echo_pair(struct joint *joint, unsigned pair)
{
	const struct vl_frame *frames[VL_BURST_MAX];
	enum vl_delivery results[VL_BURST_MAX];
	int n = vl_device_borrow(joint->device, pair, joint->borrowed, VL_BURST_MAX);
	unsigned done = 0;

	if (n <= 0)
		return 0;
	for (int i = 0; i < n; i++)
		frames[i] = &joint->borrowed[i];
	done = vl_device_copy_in(joint->device, pair, frames, (unsigned)n, results);
	vl_device_flush(joint->device, pair);
	vl_device_give_back(joint->device, pair, (unsigned)n);
	return done;
}

static void echo_all(struct joint *joint)
{
	for (unsigned i = 0; i < JOINT_PAIRS_MAX; i++) {
		if (joint->kick_fds[i] < 0)
			continue;
		vl_device_kicked(joint->device, i);
		do {
			while (echo_pair(joint, i) > 0)
				;
		} while (!vl_device_sleep(joint->device, i));
	}
}

static void serve(struct joint *joint)
{
	int result;

	do {
		result = vl_device_process(joint->device);
	} while (result > 0);
	/* It hung up, or was refused: what there is to say is said. */
	if (result < 0) {
		vl_device_detach(joint->device);
		joint->gone = true;
		return;
	}
	while (vl_device_control_process(joint->device))
		;
	if (joint->echo)
		echo_all(joint);
}

static void *run(void *context)
{
	struct joint *joint = context;
	uint64_t value;

	while (!atomic_load(&joint->stop)) {
		pthread_mutex_lock(&joint->lock);
		struct pollfd fds[3 + JOINT_PAIRS_MAX] = {
			{.fd = joint->wake_fd, .events = POLLIN},
			{.fd = joint->gone ? -1 : joint->socket, .events = POLLIN},
			{.fd = joint->control_kick_fd, .events = POLLIN},
		};
		unsigned count = 3;

		for (unsigned i = 0; joint->echo && i < JOINT_PAIRS_MAX; i++)
			fds[count++] = (struct pollfd){.fd = joint->kick_fds[i], .events = POLLIN};
		pthread_mutex_unlock(&joint->lock);
		(void)poll(fds, count, -1);
		pthread_mutex_lock(&joint->lock);
		(void)!read(joint->wake_fd, &value, sizeof(value));
		if (!joint->gone)
			serve(joint);
		pthread_mutex_unlock(&joint->lock);
	}
	return NULL;
}

static void wake_thread(struct joint *joint)
{
	uint64_t one = 1;

	check(write(joint->wake_fd, &one, sizeof(one)) == sizeof(one));
}

/* ---- life ---- */

void joint_fill_config(struct vl_driver_config *config, const struct joint_variant *variant)
{
	config->size = sizeof(*config);
	if (config->timeout_ms == 0)
		config->timeout_ms = JOINT_TIMEOUT_MS;
	if (variant == NULL)
		return;
	config->ring = variant->ring;
	if (variant->mergeable)
		vl_features_add(&config->wanted, VL_F_MRG_RXBUF);
	if (variant->plain)
		config->withheld.word[0] |= BIT(VL_F_EVENT_IDX) | BIT(VL_F_INDIRECT_DESC);
}

int joint_try(const struct joint_options *options, struct joint **out)
{
	/* Not on the test's stack, which a failing test leaves while the thread runs on. */
	static struct joint the_joint;
	struct joint *joint = &the_joint;
	unsigned pairs = options->config.queue_pairs == 0 ? 1 : options->config.queue_pairs;
	struct vl_device_config device = {
		.size = sizeof(device),
		.queue_pairs = options->device_pairs == 0 ? pairs : options->device_pairs,
		.mtu = options->bare ? 0 : JOINT_MTU,
		.withheld.word[0] = options->device_withheld,
		.kick_changed = on_kick_changed,
		.control_kick_changed = on_control_kick_changed,
		.context = joint,
	};
	struct vl_driver_config config = options->config;
	int ends[2];

	if (joint->is_open)
		joint_close(joint);
	*out = joint;
	*joint = (struct joint){
		.echo = options->echo,
		.control_kick_fd = -1,
		.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
	};
	memset(joint->kick_fds, -1, sizeof(joint->kick_fds));
	check(device.queue_pairs <= JOINT_PAIRS_MAX);
	if (!options->bare)
		memcpy(device.mac, joint_mac, sizeof(device.mac));
	joint->device_config = device;
	check(vl_device_create(&device, &joint->device) == 0);
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	check(vl_device_attach(joint->device, ends[0]) == 0);
	joint->socket = ends[0];
	check(pthread_mutex_init(&joint->lock, NULL) == 0);
	check(pthread_create(&joint->thread, NULL, run, joint) == 0);
	joint->is_open = true;
	joint_fill_config(&config, options->variant);
	config.socket = ends[1];
	int error = vl_driver_open(&config, &joint->driver, &joint->why);
	/* After a failure it is the caller's still. */
	if (error < 0)
		check(close(ends[1]) == 0);
	return error;
}

struct joint *joint_open(const struct joint_options *options)
{
	struct joint *joint;
	int error = joint_try(options, &joint);

	if (error < 0)
		print_error("vl_driver_open: %d, %s\n", error, joint->why.text);
	assert_int_equal(error, 0);
	return joint;
}

void joint_close(struct joint *joint)
{
	vl_driver_close(joint->driver);
	atomic_store(&joint->stop, true);
	wake_thread(joint);
	check(pthread_join(joint->thread, NULL) == 0);
	vl_device_destroy(joint->device);
	pthread_mutex_destroy(&joint->lock);
	close(joint->wake_fd);
	joint->is_open = false;
}

void joint_hang_up(struct joint *joint)
{
	pthread_mutex_lock(&joint->lock);
	/* The thread in poll() would keep a socket open that is closed only. */
	(void)shutdown(joint->socket, SHUT_RDWR);
	vl_device_detach(joint->device);
	joint->gone = true;
	pthread_mutex_unlock(&joint->lock);
	wake_thread(joint);
}

int joint_try_return(struct joint *joint)
{
	int ends[2];

	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	pthread_mutex_lock(&joint->lock);
	check(vl_device_attach(joint->device, ends[0]) == 0);
	joint->socket = ends[0];
	joint->gone = false;
	pthread_mutex_unlock(&joint->lock);
	wake_thread(joint);
	int error = vl_driver_reconnect(joint->driver, ends[1], &joint->why);
	if (error < 0)
		close(ends[1]);
	return error;
}

void joint_return(struct joint *joint)
{
	int error = joint_try_return(joint);

	if (error < 0)
		print_error("vl_driver_reconnect: %d, %s\n", error, joint->why.text);
	assert_int_equal(error, 0);
}

void joint_replace_device(struct joint *joint, uint64_t withheld)
{
	struct vl_device_config config = joint->device_config;

	config.withheld.word[0] |= withheld;
	pthread_mutex_lock(&joint->lock);
	vl_device_destroy(joint->device);
	check(vl_device_create(&config, &joint->device) == 0);
	pthread_mutex_unlock(&joint->lock);
}

/* ---- the device's side ---- */

unsigned joint_echo(struct joint *joint, unsigned pair)
{
	pthread_mutex_lock(&joint->lock);
	unsigned n = echo_pair(joint, pair);
	pthread_mutex_unlock(&joint->lock);
	return n;
}

int64_t joint_take(struct joint *joint, unsigned pair, struct vl_net_header *header, uint8_t *bytes)
{
	int64_t size = -1;

	pthread_mutex_lock(&joint->lock);
	int n = vl_device_borrow(joint->device, pair, joint->borrowed, 1);
	if (n == 1) {
		*header = joint->borrowed[0].header;
		size = joint->borrowed[0].size;
		frame_flatten(&joint->borrowed[0], bytes);
		vl_device_give_back(joint->device, pair, 1);
	}
	pthread_mutex_unlock(&joint->lock);
	check(n >= 0);
	return size;
}

bool joint_deliver(
	struct joint *joint,
	unsigned pair,
	const struct vl_net_header *header,
	const uint8_t *bytes,
	uint32_t size,
	enum vl_delivery *result
)
{
	struct built_frame built;
	const struct vl_frame *frame = &built.frame;
	enum vl_delivery ignored;

	if (result == NULL)
		result = &ignored;
	frame_build(&built, bytes, size, VL_HEAD_MAX, NULL);
	if (header != NULL)
		built.frame.header = *header;
	pthread_mutex_lock(&joint->lock);
	unsigned n = vl_device_copy_in(joint->device, pair, &frame, 1, result);
	if (!joint->unflushed)
		vl_device_flush(joint->device, pair);
	pthread_mutex_unlock(&joint->lock);
	return n == 1 && *result == VL_DELIVERED;
}

/* ---- the driver's side ---- */

bool joint_send(
	struct joint *joint,
	unsigned pair,
	const struct vl_net_header *header,
	const uint8_t *bytes,
	uint32_t size
)
{
	uint32_t room = joint->driver->config.buffer_size;
	struct vl_driver_frame frames[DRIVER_PIECES_MAX];
	unsigned count = (size + room - 1) / room;

	check(count <= DRIVER_PIECES_MAX);
	unsigned n = vl_driver_alloc(joint->driver, pair, frames, count);
	if (n < count) {
		vl_driver_free(joint->driver, pair, frames, n);
		return false;
	}
	for (unsigned i = 0; i < count; i++) {
		frames[i].length = size < room ? size : room;
		memcpy(frames[i].data, bytes, frames[i].length);
		bytes += frames[i].length;
		size -= frames[i].length;
	}
	if (header != NULL)
		frames[0].header = *header;
	frames[0].header.num_buffers = (uint16_t)count;
	int sent = vl_driver_tx_burst(joint->driver, pair, frames, count);
	if (sent == (int)count)
		return true;
	assert_int_equal(sent, 0);
	vl_driver_free(joint->driver, pair, frames, count);
	return false;
}

int64_t
joint_receive(struct joint *joint, unsigned pair, struct vl_net_header *header, uint8_t *bytes)
{
	struct vl_driver_frame frames[DRIVER_PIECES_MAX];
	bool mergeable = joint->driver->variant.mergeable;
	unsigned max = mergeable ? DRIVER_PIECES_MAX : 1;
	int n = vl_driver_rx_burst(joint->driver, pair, frames, max);
	int64_t size = 0;

	check(n >= 0);
	if (n == 0)
		return -1;
	unsigned count = frames[0].header.num_buffers;
	assert_int_equal(count, n);
	if (header != NULL)
		*header = frames[0].header;
	for (unsigned i = 0; i < count; i++) {
		memcpy(bytes + size, frames[i].data, frames[i].length);
		size += frames[i].length;
	}
	vl_driver_free(joint->driver, pair, frames, count);
	return size;
}

void joint_check_buffers(struct joint *joint, unsigned index, unsigned held_rx, unsigned held_tx)
{
	struct driver_pair *pair = &joint->driver->pairs[index];
	unsigned in_rings = pair->rx.next - pair->rx.tail;
	unsigned stashed = pair->stash == NULL ? 0 : pair->stash->count;

	/* The thread gives back after it has sent back: let it come to an end. */
	pthread_mutex_lock(&joint->lock);
	pthread_mutex_unlock(&joint->lock);
	joint->driver->ops->tx_reap(pair);
	assert_int_equal(pair->tx.next, pair->tx.tail);
	assert_int_equal(
		pool_count(&pair->rx_pool) + in_rings + stashed + held_rx, pair->rx_pool.total
	);
	assert_int_equal(pool_count(&pair->tx_pool) + held_tx, pair->tx_pool.total);
}

/* ---- tests for every variant ---- */

static const struct joint_variant variants[] = {
	{"split, IN_ORDER", "split-in-order", false, false},
	{"split", "split", false, false},
	{"split, plain", "split", false, true},
	{"split, MRG_RXBUF, IN_ORDER", "split-in-order", true, false},
	{"split, MRG_RXBUF, plain", "split", true, true},
	{"packed, IN_ORDER", "packed-in-order", false, false},
	{"packed", "packed", false, false},
	{"packed, plain", "packed", false, true},
	{"packed, MRG_RXBUF, IN_ORDER", "packed-in-order", true, false},
	{"packed, MRG_RXBUF, plain", "packed", true, true},
};

int run_for_all_variants(const char *group, const struct variant_test *tests, unsigned count)
{
	return RUN_FOR_EACH(group, tests, count, variants);
}
