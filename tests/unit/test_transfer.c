/* SPDX-License-Identifier: BSD-3-Clause */
/* The device's state on its way from one back end to another (SET_DEVICE_STATE_FD): what a driver
 * has wished of the first, the second does; and states that are none. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "process.h"
#include "traffic.h"
#include "variants.h"

enum {
	SAVE = 0,
	LOAD = 1,
	STOPPED = 0,
	STATE_MAX = 4096, /* bytes, more than it has */
	/* Offsets in it. */
	VERSION = 8,
	FEATURES = 16,
	OFFLOADS = 24,
	PAIRS = 32,
	UNICAST_COUNT = 44,
	PAIR_COUNT = 4,
};

static const uint8_t other[6] = {0x52, 0x54, 0, 0, 0, 9};
static const uint8_t listed[6] = {0x52, 0x54, 0, 0, 0, 7};

struct state {
	uint8_t bytes[STATE_MAX];
	size_t size;
};

static const struct front_options options = {
	.pairs = PAIR_COUNT,
	.ring_size = 16,
	.control = true,
	.device_state = true,
	.features = BIT(VL_F_CTRL_VQ) | BIT(VL_F_CTRL_RX) | BIT(VL_F_CTRL_VLAN) | BIT(VL_F_MQ)
		    | BIT(VL_F_CTRL_MAC_ADDR) | BIT(VL_F_CTRL_GUEST_OFFLOADS) | BIT(VL_F_GUEST_CSUM)
		    | BIT(VL_F_GUEST_TSO4),
};

static void stop(struct front *front)
{
	for (unsigned i = 0; i < front->ring_count; i++)
		(void)front_stop_ring(front, i);
}

/* What the answer says, and the descriptor, or -1. */
static uint64_t begin(struct front *front, uint32_t direction, uint32_t phase, int own, int *fd)
{
	const uint32_t wanted[2] = {direction, phase};
	struct vhost_message reply, message = {
					    .header =
						    {
							    VHOST_USER_SET_DEVICE_STATE_FD,
							    VHOST_VERSION,
							    sizeof(wanted),
						    },
					    .fd_count = own >= 0 ? 1 : 0,
					    .fds = {own},
				    };

	memcpy(message.payload.bytes, wanted, sizeof(wanted));
	assert_int_equal(front_send(front, &message), 0);
	assert_true(front_reply(front, &reply));
	assert_int_equal(reply.header.size, 8);
	*fd = reply.fd_count == 1 ? reply.fds[0] : -1;
	/* Bit 8: there is none. */
	assert_int_equal(reply.payload.u64 >> 8, *fd < 0);
	return reply.payload.u64 & 0xff;
}

static uint64_t check_state(struct front *front)
{
	return front_get(front, VHOST_USER_CHECK_DEVICE_STATE);
}

/* As a front end does: to the end of the file, then check. */
static void save(struct front *front, struct state *state)
{
	int pipes[2], fd;

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(begin(front, SAVE, STOPPED, pipes[1], &fd), 0);
	assert_true(fd >= 0);
	ssize_t got = read(fd, state->bytes, sizeof(state->bytes));
	assert_true(got > 0 && got < STATE_MAX);
	state->size = (size_t)got;
	assert_int_equal(read(fd, state->bytes + got, 1), 0);
	/* It is ours to read. */
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(check_state(front), 0);
}

static uint64_t load(struct front *front, const struct state *state)
{
	int fd;

	assert_int_equal(begin(front, LOAD, STOPPED, -1, &fd), 0);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, state->bytes, state->size), state->size);
	close(fd);
	return check_state(front);
}

static void wish(struct front *front)
{
	uint8_t tables[32], off = 0, vlan[2] = {7, 0};
	uint8_t pairs[2] = {2, 0};
	uint64_t offloads = 0;
	uint32_t size = control_mac_table(tables, &listed, 1);

	size += control_mac_table(tables + size, NULL, 0);
	assert_int_equal(
		control_command(front, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1), 0
	);
	assert_int_equal(
		control_command(
			front, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, tables, size
		),
		0
	);
	assert_int_equal(
		control_command(front, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, vlan, 2), 0
	);
	assert_int_equal(
		control_command(
			front, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs, 2
		),
		0
	);
	assert_int_equal(
		control_command(
			front,
			VIRTIO_NET_CTRL_GUEST_OFFLOADS,
			VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
			&offloads,
			sizeof(offloads)
		),
		0
	);
}

/* A device with wishes that is stopped, and what it says. */
static void save_one(struct state *state)
{
	struct front front;

	front_open(&front, &options);
	wish(&front);
	stop(&front);
	save(&front, state);
	front_close(&front);
}

static bool wants(struct front *front, const uint8_t *destination)
{
	uint8_t bytes[60] = {0};
	struct built_frame built;

	memcpy(bytes, destination, 6);
	memcpy(bytes + 6, other, 6);
	frame_build(&built, bytes, sizeof(bytes), 64, NULL);
	return traffic_deliver(front, 0, &built) == VL_DELIVERED;
}

/* Of the rings that front_start() starts, some at a time. */
static void start_pair(struct front *front, unsigned pair)
{
	const struct guest_ring_options ring = {.size = options.ring_size, .start_wrap = true};

	for (unsigned i = 2 * pair; i < 2 * pair + 2; i++) {
		guest_ring_open(&front->rings[i], &front->guest, &ring);
		front_start_ring(front, i, &front->rings[i]);
		front_enable_ring(front, i, true);
		front->ring_count = i + 1;
	}
}

/* A new session, in which a state has come. */
static void open_loaded(struct front *front, const struct state *state)
{
	front_attach(front, &options);
	front_negotiate(front, 0);
	assert_int_equal(load(front, state), 0);
}

/* ---- to another one ---- */

static void a_driver_goes_on_with_what_it_has_wished(void **)
{
	unsigned descriptors = open_descriptors();
	struct state before, after;
	struct front front;

	save_one(&before);
	open_loaded(&front, &before);
	/* Twice, as QEMU does. */
	front_negotiate(&front, options.features | BIT(VL_F_VERSION_1));
	front_negotiate(&front, options.features | BIT(VL_F_VERSION_1));
	assert_int_equal(front_share_memory(&front), 0);
	front_start(&front, &options);
	traffic_post(&front, 0, 10, 128, NULL, GUEST_CHAINED);
	assert_true(wants(&front, listed));
	assert_false(wants(&front, other));
	assert_int_equal(front_status(&front).pairs_up, 2);
	assert_int_equal(front_status(&front).offloads_taken, 0);
	stop(&front);
	save(&front, &after);
	assert_int_equal(after.size, before.size);
	assert_memory_equal(after.bytes, before.bytes, before.size);
	front_close(&front);
	assert_int_equal(open_descriptors(), descriptors);
}

/* As QEMU does: logging to the end; rings stopped, status 0, and then the state; and there pair by
 * pair. */
static void a_driver_moves_as_with_qemu(void **)
{
	struct state before;
	struct front front;

	front_open(&front, &options);
	wish(&front);
	assert_int_equal(
		front_request_u64(
			&front, VHOST_USER_SET_FEATURES, front.features | BIT(VL_F_LOG_ALL)
		),
		0
	);
	stop(&front);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(front_request_u64(&front, VHOST_USER_SET_STATUS, 0), 0);
	save(&front, &before);
	front_close(&front);

	open_loaded(&front, &before);
	front_negotiate(&front, options.features | BIT(VL_F_VERSION_1));
	assert_int_equal(front_share_memory(&front), 0);
	start_pair(&front, 0);
	assert_int_equal(front_request_u64(&front, VHOST_USER_SET_FEATURES, front.features), 0);
	start_pair(&front, 1);
	traffic_post(&front, 0, 10, 128, NULL, GUEST_CHAINED);
	assert_true(wants(&front, listed));
	assert_false(wants(&front, other));
	assert_int_equal(front_status(&front).offloads_taken, 0);
	front_close(&front);
}

static void a_state_goes_over_to_who_comes_after_us(void **)
{
	struct vl_device_state saved;
	struct state before, after;
	struct front front;

	save_one(&before);
	open_loaded(&front, &before);
	assert_int_equal(vl_device_save(front.device, &saved), 0);
	for (unsigned i = 0; i < saved.fd_count; i++)
		saved.fds[i] = fcntl(saved.fds[i], F_DUPFD_CLOEXEC, 0);
	vl_device_destroy(front.device);
	assert_int_equal(vl_device_create(&front.config, &front.device), 0);
	assert_int_equal(vl_device_load(front.device, &saved), 0);
	vl_device_state_free(&saved);
	assert_int_equal(vl_device_go_on(front.device), 0);
	save(&front, &after);
	assert_memory_equal(after.bytes, before.bytes, before.size);
	front_close(&front);
}

static void a_reset_ends_it(void **)
{
	struct state before;
	struct front front;

	save_one(&before);
	for (unsigned i = 0; i < 2; i++) {
		open_loaded(&front, &before);
		if (i == 0)
			assert_int_equal(front_request_u64(&front, VHOST_USER_SET_STATUS, 0), 0);
		else
			assert_int_equal(
				front_request(&front, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0
			);
		front_negotiate(&front, options.features | BIT(VL_F_VERSION_1));
		assert_int_equal(
			front_status(&front).offloads_taken, VL_OFFLOAD_CSUM | VL_OFFLOAD_TSO4
		);
		front_close(&front);
	}
}

static void a_driver_that_begins_anew_has_wished_nothing(void **)
{
	struct state state;
	struct front front;

	save_one(&state);
	open_loaded(&front, &state);
	/* With other features it is another driver. */
	front_negotiate(&front, (options.features | BIT(VL_F_VERSION_1)) & ~BIT(VL_F_GUEST_TSO4));
	assert_int_equal(front_share_memory(&front), 0);
	front_start(&front, &options);
	traffic_post(&front, 0, 10, 128, NULL, GUEST_CHAINED);
	assert_true(wants(&front, other));
	/* And what was loaded is no driver's after it has run. */
	stop(&front);
	front_negotiate(&front, options.features | BIT(VL_F_VERSION_1));
	assert_int_equal(front_status(&front).offloads_taken, VL_OFFLOAD_CSUM | VL_OFFLOAD_TSO4);
	front_close(&front);
}

static void a_device_that_nothing_was_wished_of_has_a_state_too(void **)
{
	struct state state;
	struct front front;

	front_open(&front, &options);
	stop(&front);
	save(&front, &state);
	assert_int_equal(load(&front, &state), 0);
	assert_int_equal(front_status(&front).offloads_taken, VL_OFFLOAD_CSUM | VL_OFFLOAD_TSO4);
	front_close(&front);
}

/* ---- misdeeds ---- */

static void it_takes_a_stopped_device_and_a_transfer(void **)
{
	struct front front;
	int fd;

	front_open(&front, &options);
	assert_int_equal(begin(&front, SAVE, STOPPED, -1, &fd), 1);
	assert_non_null(strstr(vl_device_reason(front.device), "not been stopped"));
	stop(&front);
	assert_int_equal(check_state(&front), 1);
	assert_int_equal(begin(&front, 2, STOPPED, -1, &fd), 1);
	assert_int_equal(begin(&front, SAVE, 1, -1, &fd), 1);
	assert_int_equal(check_state(&front), 1);
	/* Nothing was written. */
	assert_int_equal(begin(&front, LOAD, STOPPED, -1, &fd), 0);
	close(fd);
	assert_int_equal(check_state(&front), 1);
	assert_int_equal(check_state(&front), 1);
	front_close(&front);
}

static void it_takes_what_was_negotiated(void **)
{
	struct front front;
	int fd;

	front_attach(&front, &options);
	assert_int_equal(begin(&front, SAVE, STOPPED, -1, &fd), 1);
	assert_int_equal(check_state(&front), 1);
	front_close(&front);
}

static void the_file_does_not_grow(void **)
{
	struct front front;
	int fd;

	front_open(&front, &options);
	stop(&front);
	assert_int_equal(begin(&front, LOAD, STOPPED, -1, &fd), 0);
	assert_int_equal(ftruncate(fd, 1 << 20), -1);
	assert_int_equal(pwrite(fd, "x", 1, 1 << 20), -1);
	close(fd);
	/* Another one takes its place. */
	assert_int_equal(begin(&front, LOAD, STOPPED, -1, &fd), 0);
	close(fd);
	front_close(&front);
}

static void a_state_that_is_wrong_changes_nothing(void **)
{
	static const struct {
		size_t at;
		uint8_t value;
		const char *why;
	} wrong[] = {
		{0, 'x', "no state"},
		{VERSION, 2, "another version"},
		{VERSION + 4, 1, "damaged"},
		{OFFLOADS + 7, 1, "damaged"},
		{PAIRS, PAIR_COUNT + 1, "more queue pairs"},
		{UNICAST_COUNT, 65, "damaged"},
		{UNICAST_COUNT + 4, 65, "damaged"},
	};
	struct state state;
	struct front front;

	save_one(&state);
	front_attach(&front, &options);
	front_negotiate(&front, options.features | BIT(VL_F_VERSION_1));
	assert_int_equal(front_share_memory(&front), 0);
	for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
		struct state changed = state;

		changed.bytes[wrong[i].at] = wrong[i].value;
		assert_int_equal(load(&front, &changed), 1);
		assert_non_null(strstr(vl_device_reason(front.device), wrong[i].why));
	}
	front_start(&front, &options);
	traffic_post(&front, 0, 10, 128, NULL, GUEST_CHAINED);
	assert_true(wants(&front, other));
	stop(&front);
	for (size_t size = 0; size < state.size; size += 37) {
		struct state cut = state;

		cut.size = size;
		assert_int_equal(load(&front, &cut), 1);
	}
	front_close(&front);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_driver_goes_on_with_what_it_has_wished),
		cmocka_unit_test(a_driver_moves_as_with_qemu),
		cmocka_unit_test(a_state_goes_over_to_who_comes_after_us),
		cmocka_unit_test(a_reset_ends_it),
		cmocka_unit_test(a_driver_that_begins_anew_has_wished_nothing),
		cmocka_unit_test(a_device_that_nothing_was_wished_of_has_a_state_too),
		cmocka_unit_test(it_takes_a_stopped_device_and_a_transfer),
		cmocka_unit_test(it_takes_what_was_negotiated),
		cmocka_unit_test(the_file_does_not_grow),
		cmocka_unit_test(a_state_that_is_wrong_changes_nothing),
	};

	return cmocka_run_group_tests_name("transfer", tests, NULL, NULL);
}
