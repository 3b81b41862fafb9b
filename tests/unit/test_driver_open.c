/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver's life and its control side: opening and why it fails, what the device says of itself,
 * control commands, memory that is added, waiting that ends otherwise, and closing.
 */
#include <errno.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "joint.h"
#include "process.h"

static uint8_t sent[JOINT_FRAME_MAX], got[JOINT_FRAME_MAX];

static void check_why(int error, int expected, const struct vl_driver_error *why)
{
	if (error != expected)
		print_error("%d instead of %d: %s\n", error, expected, why->text);
	assert_int_equal(error, expected);
	/* A sentence, and no unfinished one. */
	assert_true(strlen(why->text) > 10);
	assert_null(strchr(why->text, '\n'));
}

/* ---- opening ---- */

static void a_wrong_configuration_is_explained(void **)
{
	static const struct vl_driver_config wrong[] = {
		{.queue_pairs = 128},
		{.queue_pairs = UINT32_MAX},
		{.queue_size = 4},
		{.queue_size = 12},
		{.queue_size = 65536},
		{.queue_size = UINT32_MAX},
		{.buffer_size = 1},
		{.buffer_size = UINT32_MAX},
		{.rx_buffers = UINT32_MAX},
		{.tx_buffers = UINT32_MAX},
		{.ring = "round"},
		{.ring = ""},
		{.ring = "packed", .rings = VL_DRIVER_RINGS_SPLIT},
		{.ring = "split", .rings = VL_DRIVER_RINGS_PACKED},
		{.ring = "packed", .buffer_size = 900, .wanted.word[0] = BIT(VL_F_MRG_RXBUF)},
		{.ring = "split-header"},
	};
	bool isa_is_forced = getenv("VIRTLANE_ISA") != NULL;

	for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
		struct joint_options options = {.device_pairs = 1, .config = wrong[i]};
		struct joint *joint;
		int error = joint_try(&options, &joint);

		check_why(error, -EINVAL, &joint->why);
		joint_close(joint);
	}
	struct joint_options options = {.config.isa = "v9"};
	struct joint *joint;
	int error = joint_try(&options, &joint);
	if (!isa_is_forced)
		check_why(error, -EINVAL, &joint->why);
	joint_close(joint);
}

static void a_configuration_without_size_or_place_is_refused(void **)
{
	struct vl_driver_config config = {.path = "/nonexistent/socket"};
	struct vl_driver_error why;
	struct vl_driver *driver = NULL;

	check_why(vl_driver_open(&config, &driver, &why), -EINVAL, &why);
	config = (struct vl_driver_config){.size = sizeof(config)};
	check_why(vl_driver_open(&config, &driver, &why), -EINVAL, &why);
	assert_int_equal(vl_driver_open(&config, &driver, NULL), -EINVAL);
	assert_null(driver);
}

/* Of an older program, whose struct ends earlier: what follows is as if it were zero. */
static void a_shorter_configuration_is_taken(void **)
{
	struct joint_options options = {.config.queue_size = 64};
	struct joint *joint = joint_open(&options);
	struct vl_driver_config config;
	struct vl_driver_error why;
	struct vl_driver *driver;

	joint_close(joint);
	memset(&config, 0xff, sizeof(config));
	config.size = offsetof(struct vl_driver_config, queue_pairs);
	config.path = "/nonexistent/socket";
	config.listen = false;
	config.socket = 0;
	check_why(vl_driver_open(&config, &driver, &why), -ENOENT, &why);
}

static void a_socket_that_nobody_serves_is_explained(void **)
{
	char path[] = "/tmp/virtlane-unit-XXXXXX";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct vl_driver_config config = {.size = sizeof(config), .path = path};
	struct vl_driver_error why;
	struct vl_driver *driver;
	int fd = mkstemp(path);

	check(fd >= 0 && close(fd) == 0 && unlink(path) == 0);
	check_why(vl_driver_open(&config, &driver, &why), -ENOENT, &why);
	/* One whose listener has gone. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(address.sun_path, path, sizeof(path));
	check(bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	check(close(fd) == 0);
	check_why(vl_driver_open(&config, &driver, &why), -ECONNREFUSED, &why);
	/* Nobody connects. */
	config.listen = true;
	config.timeout_ms = 20;
	check_why(vl_driver_open(&config, &driver, &why), -ETIMEDOUT, &why);
	assert_int_equal(access(path, F_OK), -1);
}

static void what_the_device_lacks_is_named(void **)
{
	static const struct {
		uint64_t device_withheld;
		struct vl_driver_config config;
		const char *word;
	} lacks[] = {
		{BIT(VL_F_VERSION_1), {0}, "VERSION_1"},
		{BIT(VL_F_RING_PACKED), {.rings = VL_DRIVER_RINGS_PACKED}, "packed"},
		{BIT(VL_F_RING_PACKED), {.ring = "packed"}, "packed"},
		{BIT(VL_F_IN_ORDER), {.ring = "split-in-order"}, "IN_ORDER"},
		{BIT(VL_F_IN_ORDER), {.ring = "packed-in-order"}, "IN_ORDER"},
		{0,
		 {.ring = "split", .wanted.word[0] = BIT(VL_F_IN_ORDER)},
		 "IN_ORDER was asked for, but the ring variant"},
		{0,
		 {.wanted.word[0] = BIT(VL_F_CSUM), .withheld.word[0] = BIT(VL_F_CSUM)},
		 "withheld"},
		{BIT(VL_F_CSUM), {.wanted.word[0] = BIT(VL_F_CSUM)}, "CSUM"},
		{BIT(VL_F_MRG_RXBUF), {.wanted.word[0] = BIT(VL_F_MRG_RXBUF)}, "MRG_RXBUF"},
		{0, {.wanted.word[0] = BIT(VL_F_HOST_TSO4)}, "HOST_TSO4"}, /* stands on CSUM */
		{0, {.wanted.word[0] = BIT(VL_F_RSS)}, "RSS"},
		{0, {.wanted.word[1] = 2}, "HOST"},
		{0, {.wanted.word[1] = BIT(63)}, "feature"},
		/* A device that contradicts itself. */
		{BIT(VL_F_CSUM), {.wanted.word[0] = BIT(VL_F_CSUM) | BIT(VL_F_HOST_TSO4)}, "CSUM"},
	};

	for (unsigned i = 0; i < COUNT_OF(lacks); i++) {
		struct joint_options options = {
			.device_withheld = lacks[i].device_withheld, .config = lacks[i].config};
		struct joint *joint;
		int error = joint_try(&options, &joint);

		check_why(error, -ENOTSUP, &joint->why);
		if (lacks[i].config.wanted.word[1] == 0)
			assert_non_null(strstr(joint->why.text, lacks[i].word));
		joint_close(joint);
	}
}

static void more_pairs_than_the_device_has_are_refused(void **)
{
	for (unsigned pairs = 1; pairs <= 3; pairs++) {
		struct joint_options options = {
			.device_pairs = pairs, .config.queue_pairs = pairs + 1};
		struct joint *joint;
		int error = joint_try(&options, &joint);

		check_why(error, -ERANGE, &joint->why);
		joint_close(joint);
	}
}

/* Without MQ there is one pair, however many the device has. */
static void several_pairs_without_mq_are_refused(void **)
{
	for (unsigned i = 0; i < 2; i++) {
		struct joint_options options = {.config.queue_pairs = 2};
		struct joint *joint;

		if (i == 0)
			options.config.withheld.word[0] = BIT(VL_F_MQ);
		else
			options.device_withheld = BIT(VL_F_MQ);
		int error = joint_try(&options, &joint);
		assert_true(error == -ENOTSUP || error == -ERANGE);
		assert_true(strlen(joint->why.text) > 10);
		joint_close(joint);
	}
}

static void rings_of_every_size_work(void **)
{
	static const char *const rings[] = {"split", "split-in-order", "packed", "packed-in-order"};

	for (unsigned i = 0; i < COUNT_OF(rings); i++) {
		for (unsigned size = 8; size <= 32768; size = size < 64 ? 2 * size : 8 * size) {
			struct joint_options options = {
				.config = {
					.queue_size = size,
					.ring = rings[i],
					.buffer_size = 64,
					.rx_buffers = 300,
					.tx_buffers = 300}};
			struct joint *joint = joint_open(&options);

			for (unsigned n = 0; n < 100; n++) {
				pattern_fill(sent, 64, n);
				assert_true(joint_send(joint, 0, NULL, sent, 64));
				assert_int_equal(joint_echo(joint, 0), 1);
				assert_int_equal(joint_receive(joint, 0, NULL, got), 64);
				assert_memory_equal(got, sent, 64);
			}
			joint_check_buffers(joint, 0, 0, 0);
			joint_close(joint);
		}
	}
}

/* ---- what is told ---- */

static void the_device_is_described(void **)
{
	struct joint_options options = {
		.device_pairs = 4,
		.config = {
			.queue_pairs = 2, .queue_size = 128, .buffer_size = 512, .ring = "packed"}};
	struct joint *joint = joint_open(&options);
	struct vl_driver_status status;

	vl_driver_status(joint->driver, &status);
	assert_true(status.has_mac && status.link_up);
	assert_memory_equal(status.mac, joint_mac, 6);
	assert_int_equal(status.mtu, JOINT_MTU);
	assert_int_equal(status.queue_pairs, 2);
	assert_int_equal(status.queue_pairs_max, 4);
	assert_int_equal(status.queue_size, 128);
	assert_int_equal(status.rx_slots, 128);
	assert_int_equal(status.tx_slots, 128);
	assert_int_equal(status.buffer_size, 512);
	assert_string_equal(status.ring, "packed");
	assert_non_null(status.isa);
	assert_int_equal(status.region_count, 1);
	assert_true(status.page_size >= 4096);
	assert_true(status.memory_size >= 2 * 2 * 128 * 512);
	assert_null(status.broken);
	assert_true(vl_features_have(&status.features, VL_F_VERSION_1));
	assert_true(vl_features_have(&status.features, VL_F_RING_PACKED));
	assert_true(vl_features_have(&status.features, VL_F_MQ));
	assert_false(vl_features_have(&status.features, VL_F_CSUM));
	assert_false(vl_features_have(&status.features, VL_F_MRG_RXBUF));
	assert_int_equal(vl_driver_process(joint->driver), 0);
	joint_close(joint);
}

static void a_bare_device_has_no_address(void **)
{
	struct joint_options options = {.bare = true};
	struct joint *joint = joint_open(&options);
	struct vl_driver_status status;

	vl_driver_status(joint->driver, &status);
	assert_false(status.has_mac);
	assert_true(status.link_up);
	assert_int_equal(status.mtu, 0);
	joint_close(joint);
}

static void what_is_withheld_is_not_negotiated(void **)
{
	const uint64_t bits = BIT(VL_F_IN_ORDER) | BIT(VL_F_EVENT_IDX) | BIT(VL_F_MAC)
			      | BIT(VL_F_STATUS) | BIT(VL_F_CTRL_VQ);
	struct joint_options options = {.config.withheld.word[0] = bits};
	struct joint *joint = joint_open(&options);
	struct vl_driver_status status;

	vl_driver_status(joint->driver, &status);
	assert_int_equal(status.features.word[0] & bits, 0);
	assert_false(status.has_mac);
	joint_close(joint);
}

static void the_environment_chooses_the_ring(void **)
{
	static const char *const rings[] = {"packed", "split", "split-in-order"};

	for (unsigned i = 0; i < COUNT_OF(rings); i++) {
		struct joint_options options = {.config.ring = i == 1 ? "packed" : "split"};
		struct vl_driver_status status;

		check(setenv("VIRTLANE_RING", rings[i], 1) == 0);
		struct joint *joint = joint_open(&options);
		check(unsetenv("VIRTLANE_RING") == 0);
		vl_driver_status(joint->driver, &status);
		assert_string_equal(status.ring, rings[i]);
		joint_close(joint);
	}
}

/* ---- the control queue ---- */

static int set_mode(struct joint *joint, uint8_t command, uint8_t on)
{
	return vl_driver_command(joint->driver, VIRTIO_NET_CTRL_RX, command, &on, 1);
}

static void check_delivery(struct joint *joint, enum vl_delivery expected)
{
	enum vl_delivery result;

	(void)joint_deliver(joint, 0, NULL, sent, 60, &result);
	assert_int_equal(result, expected);
	assert_int_equal(joint_receive(joint, 0, NULL, got), expected == VL_DELIVERED ? 60 : -1);
}

static void the_receive_filter_is_set(void **state)
{
	static const uint8_t other[6] = {0x52, 0x54, 0x00, 1, 2, 3};
	struct joint_options options = {.variant = *state};
	struct joint *joint = joint_open(&options);

	memset(sent, 0, 60);
	memcpy(sent, other, 6);
	check_delivery(joint, VL_DELIVERED);
	assert_int_equal(set_mode(joint, VIRTIO_NET_CTRL_RX_PROMISC, 0), 0);
	check_delivery(joint, VL_FILTERED);
	assert_int_equal(
		vl_driver_command(
			joint->driver, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6
		),
		0
	);
	check_delivery(joint, VL_DELIVERED);
	memcpy(sent, joint_mac, 6);
	check_delivery(joint, VL_FILTERED);
	assert_int_equal(set_mode(joint, VIRTIO_NET_CTRL_RX_PROMISC, 1), 0);
	check_delivery(joint, VL_DELIVERED);
	joint_close(joint);
}

/* Around the control ring several times. */
static void many_commands_are_obeyed_and_refused(void **state)
{
	static const uint8_t zero[5000];
	struct joint_options options = {.variant = *state};
	struct joint *joint = joint_open(&options);

	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(set_mode(joint, VIRTIO_NET_CTRL_RX_ALLMULTI, i % 2), 0);
		assert_int_equal(set_mode(joint, 99, 0), -EIO);
		assert_int_equal(vl_driver_command(joint->driver, 77, 0, NULL, 0), -EIO);
	}
	assert_int_equal(vl_driver_command(joint->driver, 0, 0, zero, sizeof(zero)), -EINVAL);
	assert_int_equal(set_mode(joint, VIRTIO_NET_CTRL_RX_ALLMULTI, 1), 0);
	joint_close(joint);
}

static void the_pairs_in_use_are_set(void **state)
{
	struct joint_options options = {.variant = *state, .config.queue_pairs = 4};
	struct joint *joint = joint_open(&options);
	static const uint16_t wishes[] = {1, 3, 4, 2};

	for (unsigned i = 0; i < COUNT_OF(wishes); i++) {
		uint16_t pairs = wishes[i];

		assert_int_equal(
			vl_driver_command(
				joint->driver,
				VIRTIO_NET_CTRL_MQ,
				VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
				&pairs,
				2
			),
			0
		);
		assert_int_equal(vl_device_active_pairs(joint->device), pairs);
	}
	uint16_t none = 0;
	assert_int_equal(
		vl_driver_command(
			joint->driver, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &none, 2
		),
		-EIO
	);
	joint_close(joint);
}

static void without_a_control_queue_there_are_no_commands(void **)
{
	struct joint_options options = {.config.withheld.word[0] = BIT(VL_F_CTRL_VQ)};
	struct joint *joint = joint_open(&options);

	assert_int_equal(set_mode(joint, VIRTIO_NET_CTRL_RX_PROMISC, 0), -ENOTSUP);
	joint_close(joint);
}

/* ---- memory ---- */

static void a_pool_grows_while_frames_flow(void **state)
{
	struct joint_options options = {
		.variant = *state, .config = {.queue_size = 64, .rx_buffers = 8, .tx_buffers = 8}};
	struct joint *joint = joint_open(&options);
	struct vl_driver_frame frames[64];
	struct vl_driver_status before, after;

	vl_driver_status(joint->driver, &before);
	assert_int_equal(vl_driver_alloc(joint->driver, 0, frames, 64), 8);
	assert_int_equal(vl_driver_grow(joint->driver, 0, 20, false), 0);
	assert_int_equal(vl_driver_alloc(joint->driver, 0, frames + 8, 56), 20);
	for (unsigned i = 0; i < 28; i++) {
		memset(frames[i].data, (int)i, 256);
		frames[i].length = 256;
	}
	assert_int_equal(vl_driver_tx_burst(joint->driver, 0, frames, 28), 28);
	/* Only eight have come back until there are more buffers for them. */
	assert_int_equal(vl_driver_grow(joint->driver, 0, 20, true), 0);
	assert_int_equal(vl_driver_rx_burst(joint->driver, 0, frames, 64), 0);
	assert_int_equal(joint_echo(joint, 0), 28);
	for (unsigned i = 0; i < 28; i++) {
		assert_int_equal(vl_driver_rx_burst(joint->driver, 0, frames, 1), 1);
		assert_int_equal(frames[0].length, 256);
		assert_int_equal(frames[0].data[255], i);
		vl_driver_free(joint->driver, 0, frames, 1);
	}
	joint_check_buffers(joint, 0, 0, 0);
	vl_driver_status(joint->driver, &after);
	assert_int_equal(after.region_count, 3);
	assert_true(after.memory_size > before.memory_size);
	assert_int_equal(vl_driver_grow(joint->driver, 1, 1, true), -EINVAL);
	assert_int_equal(vl_driver_grow(joint->driver, 0, 0, true), -EINVAL);
	joint_close(joint);
}

/* ---- waiting that ends otherwise ---- */

static void on_alarm(int) {}

static void a_signal_ends_a_wait(void **)
{
	const struct itimerval soon = {.it_value.tv_usec = 20000};
	struct sigaction action = {.sa_handler = on_alarm}, old;
	struct joint_options options = {0};
	struct joint *joint = joint_open(&options);

	vl_driver_woken(joint->driver, 0);
	check(sigaction(SIGALRM, &action, &old) == 0);
	check(setitimer(ITIMER_REAL, &soon, NULL) == 0);
	assert_int_equal(vl_driver_wait(joint->driver, 0, JOINT_TIMEOUT_MS), -EINTR);
	check(sigaction(SIGALRM, &old, NULL) == 0);
	joint_close(joint);
}

static void a_device_that_hangs_up_ends_a_wait(void **state)
{
	struct joint_options options = {.variant = *state};
	struct joint *joint = joint_open(&options);
	struct vl_driver_frame frame;

	vl_driver_woken(joint->driver, 0);
	joint_hang_up(joint);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vl_driver_wait(joint->driver, 0, JOINT_TIMEOUT_MS), -ECONNRESET);
		assert_int_equal(vl_driver_process(joint->driver), -ECONNRESET);
	}
	/* Data calls find nothing, and harm nobody. */
	assert_int_equal(vl_driver_rx_burst(joint->driver, 0, &frame, 1), 0);
	while (joint_send(joint, 0, NULL, sent, 60))
		;
	joint_close(joint);
}

struct waiter {
	pthread_t thread;
	struct vl_driver *driver;
	unsigned pair;
	int result;
};

static void *wait_until_the_end(void *argument)
{
	struct waiter *waiter = argument;

	do
		waiter->result = vl_driver_wait(waiter->driver, waiter->pair, JOINT_TIMEOUT_MS);
	while (waiter->result > 0);
	return NULL;
}

/* Pairs wait in threads of their own, and all of them hear of the end; one hears it first. */
static void a_device_that_hangs_up_ends_all_waits(void **state)
{
	enum {
		PAIRS = 4,
	};
	struct joint_options options = {.variant = *state, .config = {.queue_pairs = PAIRS}};
	struct joint *joint = joint_open(&options);
	struct waiter waiters[PAIRS];

	for (unsigned i = 0; i < PAIRS; i++) {
		waiters[i] = (struct waiter){.driver = joint->driver, .pair = i};
		check(pthread_create(&waiters[i].thread, NULL, wait_until_the_end, &waiters[i]) == 0
		);
	}
	joint_hang_up(joint);
	for (unsigned i = 0; i < PAIRS; i++) {
		check(pthread_join(waiters[i].thread, NULL) == 0);
		/* 0: another thread was hearing it at that moment, and may be still. */
		for (unsigned n = 0; n < 100 && waiters[i].result == 0; n++)
			waiters[i].result = vl_driver_wait(joint->driver, i, JOINT_TIMEOUT_MS);
		assert_int_equal(waiters[i].result, -ECONNRESET);
	}
	joint_close(joint);
}

/* ---- closing ---- */

static void a_closed_driver_leaves_a_device_without_rings(void **state)
{
	struct joint_options options = {.variant = *state, .config.queue_pairs = 2};
	struct joint *joint = joint_open(&options);
	struct vl_device_status status;

	(void)joint_send(joint, 0, NULL, sent, 60);
	vl_driver_close(joint->driver);
	joint->driver = NULL;
	while (vl_device_status(joint->device, &status), status.attached)
		usleep(100);
	assert_int_equal(status.memory_regions, 0);
	assert_int_equal(status.pairs_up, 0);
	assert_int_equal(joint_echo(joint, 0), 0);
	joint_close(joint);
}

static void nothing_is_left_behind(void **state)
{
	unsigned descriptors = open_descriptors(), mappings = arena_mappings();

	for (unsigned i = 0; i < 4; i++) {
		struct joint_options options = {.variant = *state, .config.queue_pairs = 2};
		struct joint *joint;

		/* Not on the first steps only. */
		if (i == 1)
			options.config.queue_size = 7;
		if (i == 2)
			options.device_withheld = BIT(VL_F_VERSION_1);
		if (i == 3)
			options.device_pairs = 1;
		int error = joint_try(&options, &joint);
		if (error == 0) {
			assert_true(joint_send(joint, 1, NULL, sent, 60));
			assert_int_equal(joint_echo(joint, 1), 1);
			assert_int_equal(joint_receive(joint, 1, NULL, got), 60);
			assert_int_equal(vl_driver_grow(joint->driver, 1, 10, true), 0);
		}
		assert_int_equal(error == 0, i == 0);
		joint_close(joint);
		assert_int_equal(open_descriptors(), descriptors);
		assert_int_equal(arena_mappings(), mappings);
	}
	vl_driver_close(NULL);
}

/* ---- */

static const struct variant_test variant_tests[] = {
	VARIANT_TEST(the_receive_filter_is_set),
	VARIANT_TEST(many_commands_are_obeyed_and_refused),
	VARIANT_TEST(the_pairs_in_use_are_set),
	VARIANT_TEST(a_pool_grows_while_frames_flow),
	VARIANT_TEST(a_device_that_hangs_up_ends_a_wait),
	VARIANT_TEST(a_device_that_hangs_up_ends_all_waits),
	VARIANT_TEST(a_closed_driver_leaves_a_device_without_rings),
	VARIANT_TEST(nothing_is_left_behind),
};

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wrong_configuration_is_explained),
		cmocka_unit_test(a_configuration_without_size_or_place_is_refused),
		cmocka_unit_test(a_shorter_configuration_is_taken),
		cmocka_unit_test(a_socket_that_nobody_serves_is_explained),
		cmocka_unit_test(what_the_device_lacks_is_named),
		cmocka_unit_test(more_pairs_than_the_device_has_are_refused),
		cmocka_unit_test(several_pairs_without_mq_are_refused),
		cmocka_unit_test(rings_of_every_size_work),
		cmocka_unit_test(the_device_is_described),
		cmocka_unit_test(a_bare_device_has_no_address),
		cmocka_unit_test(what_is_withheld_is_not_negotiated),
		cmocka_unit_test(the_environment_chooses_the_ring),
		cmocka_unit_test(without_a_control_queue_there_are_no_commands),
		cmocka_unit_test(a_signal_ends_a_wait),
	};

	return run_for_all_variants("driver, control", variant_tests, COUNT_OF(variant_tests))
	       + cmocka_run_group_tests_name("driver, opening", tests, NULL, NULL);
}
