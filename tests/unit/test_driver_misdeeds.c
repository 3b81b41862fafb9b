/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a driver on a back end that misbehaves somewhere in the handshake: an error with a
 * sentence, in time, and nothing left open; and what it does with the back end's in-flight region.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bad_back.h"
#include "process.h"
#include "virtlane/driver.h"

/* Open on this back end and close again: what vl_driver_open() said. */
static int open_on(struct bad_back *back, int timeout_ms, struct vl_driver_error *why)
{
	unsigned descriptors = open_descriptors();
	int socket = bad_back_start(back);
	struct vl_driver_config config = {
		.size = sizeof(config),
		.socket = socket,
		.timeout_ms = timeout_ms,
		.queue_size = 64};
	struct vl_driver *driver = NULL;
	int64_t start = now_ms();
	int error = vl_driver_open(&config, &driver, why);

	assert_true(now_ms() - start < timeout_ms + SLACK_MS);
	if (error == 0)
		vl_driver_close(driver);
	else
		close(socket);
	bad_back_join(back);
	assert_int_equal(open_descriptors(), descriptors);
	assert_int_equal(error == 0, why->text[0] == '\0');
	return error;
}

static void each_misdeed_at_each_step_is_explained(void **)
{
	/* What a driver asks for while it opens, and whether it waits for more than an
	 * acknowledgement. */
	static const struct {
		uint32_t request;
		bool has_answer;
	} steps[] = {
		{VHOST_USER_GET_FEATURES, true},
		{VHOST_USER_GET_PROTOCOL_FEATURES, true},
		{VHOST_USER_GET_QUEUE_NUM, true},
		{VHOST_USER_GET_MAX_MEM_SLOTS, true},
		{VHOST_USER_GET_STATUS, true},
		{VHOST_USER_GET_INFLIGHT_FD, true},
		{VHOST_USER_SET_INFLIGHT_FD, false},
		{VHOST_USER_SET_FEATURES, false},
		{VHOST_USER_ADD_MEM_REG, false},
		{VHOST_USER_SET_VRING_NUM, false},
		{VHOST_USER_SET_VRING_ADDR, false},
		{VHOST_USER_SET_VRING_KICK, false},
		{VHOST_USER_SET_VRING_ENABLE, false},
		{VHOST_USER_SET_STATUS, false},
	};
	static const struct {
		enum misdeed misdeed;
		int error;
	} misdeeds[] = {
		{SILENT, -ETIMEDOUT},
		{HANG_UP, -ECONNRESET},
		{WRONG_REQUEST, -EPROTO},
		{OTHER_VERSION, -EPROTO},
		{TOO_LONG, -EPROTO},
		{HUGE, -EPROTO},
		{WITH_MANY_FDS, -EPROTO},
	};

	for (unsigned i = 0; i < COUNT_OF(steps); i++) {
		for (unsigned j = 0; j < COUNT_OF(misdeeds); j++) {
			struct bad_back back = bad_back(steps[i].request, misdeeds[j].misdeed, 0);
			int timeout_ms = misdeeds[j].misdeed == SILENT ? SHORT_MS : TIMEOUT_MS;
			struct vl_driver_error why;
			int error = open_on(&back, timeout_ms, &why);

			if (error != misdeeds[j].error)
				print_error(
					"request %u, misdeed %u: %s\n",
					steps[i].request,
					misdeeds[j].misdeed,
					why.text
				);
			assert_int_equal(error, misdeeds[j].error);
		}
		if (steps[i].has_answer)
			continue;
		struct bad_back back = bad_back(steps[i].request, VALUE, 1);
		struct vl_driver_error why;
		assert_int_equal(open_on(&back, TIMEOUT_MS, &why), -EIO);
	}
}

static void the_inflight_region_is_given_back_as_it_came(void **)
{
	struct bad_back back = bad_back(0, NONE, 0);
	struct vl_driver_error why;

	assert_int_equal(open_on(&back, TIMEOUT_MS, &why), 0);
	assert_int_equal(back.inflight.mmap_size, 4096);
	assert_int_equal(back.inflight.queue_count, 2);
	assert_int_equal(back.inflight.queue_size, 64);
}

static void a_device_without_an_inflight_region_is_used_without(void **)
{
	struct bad_back back = bad_back(VHOST_USER_GET_INFLIGHT_FD, VALUE, 0);
	struct vl_driver_error why;

	/* It offers the feature, and its region is of no bytes. */
	assert_int_equal(open_on(&back, TIMEOUT_MS, &why), 0);
	assert_int_equal(back.inflight.queue_count, 0);
	/* It does not offer the feature. */
	back = bad_back(0, NONE, 0);
	back.protocol_features &= ~(UINT64_C(1) << VL_PROTOCOL_F_INFLIGHT_SHMFD);
	assert_int_equal(open_on(&back, TIMEOUT_MS, &why), 0);
	assert_int_equal(back.inflight.queue_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_misdeed_at_each_step_is_explained),
		cmocka_unit_test(the_inflight_region_is_given_back_as_it_came),
		cmocka_unit_test(a_device_without_an_inflight_region_is_used_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
