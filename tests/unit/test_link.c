/* SPDX-License-Identifier: BSD-3-Clause */
/* The link of a device: in its configuration space, and told to a front end that reads that. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "front.h"

/* A field of the configuration space. */
static uint16_t config_field(struct front *front, size_t offset)
{
	struct vhost_message message = {.header = {VHOST_USER_GET_CONFIG, VHOST_VERSION, 24}};
	struct vhost_message reply;
	uint16_t value;

	message.payload.config.size = 12;
	assert_int_equal(front_send(front, &message), 0);
	assert_true(front_reply(front, &reply));
	assert_int_equal(reply.header.size, 24);
	memcpy(&value, reply.payload.config.bytes + offset, sizeof(value));
	return value;
}

static uint16_t config_status(struct front *front)
{
	return config_field(front, 6);
}

static uint16_t config_mtu(struct front *front)
{
	return config_field(front, 10);
}

static void give_channel(struct front *front, int ends[2])
{
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	assert_int_equal(
		front_request(front, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &ends[1], 1), 0
	);
}

/* VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, on the channel that the front end gave for it. */
static void a_change_of_the_link_is_told(void **)
{
	struct vhost_reader reader = {.size_limit = VHOST_PAYLOAD_MAX};
	const char *why;
	struct front front;
	int ends[2];

	front_open(&front, &(struct front_options){0});
	/* Nobody to be told yet. */
	vl_device_set_link(front.device, false);
	assert_int_equal(config_status(&front), 0);
	give_channel(&front, ends);
	vl_device_set_link(front.device, false);
	assert_int_equal(vhost_read(&reader, ends[0], &why), 0);
	vl_device_set_link(front.device, true);
	assert_int_equal(vhost_read(&reader, ends[0], &why), 1);
	assert_int_equal(reader.message.header.request, VHOST_BACKEND_CONFIG_CHANGE_MSG);
	assert_int_equal(reader.message.header.flags, VHOST_VERSION);
	assert_int_equal(reader.message.header.size, 0);
	assert_int_equal(config_status(&front), 1);
	/* One that does not read is not waited for. */
	for (unsigned i = 0; i < 100000; i++)
		vl_device_set_link(front.device, i % 2);
	assert_int_equal(config_status(&front), 1);
	close(ends[0]);
	close(ends[1]);
	vl_device_set_link(front.device, false);
	assert_int_equal(config_status(&front), 0);
	front_close(&front);
}

static void a_change_of_the_mtu_is_told(void **)
{
	struct vhost_reader reader = {.size_limit = VHOST_PAYLOAD_MAX};
	const char *why;
	struct front front;
	int ends[2];

	front_open(&front, &(struct front_options){0});
	give_channel(&front, ends);
	assert_int_equal(config_mtu(&front), FRONT_MTU);
	vl_device_set_mtu(front.device, FRONT_MTU);
	assert_int_equal(vhost_read(&reader, ends[0], &why), 0);
	vl_device_set_mtu(front.device, 9000);
	assert_int_equal(vhost_read(&reader, ends[0], &why), 1);
	assert_int_equal(reader.message.header.request, VHOST_BACKEND_CONFIG_CHANGE_MSG);
	assert_int_equal(config_mtu(&front), 9000);
	/* None is for the next session. */
	vl_device_set_mtu(front.device, 0);
	assert_int_equal(config_mtu(&front), 9000);
	vl_device_detach(front.device);
	front_reattach(&front);
	assert_false(front_get(&front, VHOST_USER_GET_FEATURES) & BIT(VL_F_MTU));
	close(ends[0]);
	close(ends[1]);
	front_close(&front);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_of_the_link_is_told),
		cmocka_unit_test(a_change_of_the_mtu_is_told),
	};

	return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
