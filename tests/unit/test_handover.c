/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that is saved and loaded in the middle of everything. Two devices in one process stand
 * for two processes: descriptors are duplicated in between, as a socket would.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"
#include "process.h"
#include "traffic.h"
#include "variants.h"

enum {
	RX = 0,
	TX = 1,
	FRAME_SIZE = 60,
	RING_SIZE = 8,
	RECORD_SIZE = 3 * 64,
};

static void open_front(struct front *front, const struct variant *variant, uint64_t more)
{
	struct front_options options = {
		.ring_size = RING_SIZE,
		.features = variant_features(variant) | more,
		.control = more & BIT(VL_F_CTRL_VQ),
	};

	front_open(front, &options);
}

static void duplicate(struct vl_device_state *state)
{
	for (unsigned i = 0; i < state->fd_count; i++) {
		state->fds[i] = fcntl(state->fds[i], F_DUPFD_CLOEXEC, 0);
		check(state->fds[i] >= 0);
	}
}

static void close_fds(struct vl_device_state *state)
{
	for (unsigned i = 0; i < state->fd_count; i++)
		close(state->fds[i]);
}

/* Another device takes over; the first one is gone, as a process that has ended. */
static void hand_over(struct front *front)
{
	struct vl_device_state state;
	struct vl_device *old = front->device;

	assert_int_equal(vl_device_save(old, &state), 0);
	duplicate(&state);
	/* It tells nobody what becomes of it. */
	struct front_callbacks callbacks = front->callbacks;
	vl_device_destroy(old);
	assert_int_equal(vl_device_create(&front->config, &front->device), 0);
	memset(front->callbacks.kick_fds, -1, sizeof(front->callbacks.kick_fds));
	front->callbacks.control_kick_fd = -1;
	assert_int_equal(vl_device_load(front->device, &state), 0);
	assert_false(vl_device_ready(front->device, 0, true));
	vl_device_go_on(front->device);
	assert_int_equal(front->callbacks.kick_fds[0] >= 0, callbacks.kick_fds[0] >= 0);
	vl_device_state_free(&state);
}

static void send_marked(struct front *front, enum guest_form form, uint8_t mark)
{
	struct vl_net_header header = {0};
	struct cuts cuts = {1, {20}};
	uint8_t bytes[FRAME_SIZE];

	memset(bytes, mark, sizeof(bytes));
	traffic_send(front, TX, &header, bytes, sizeof(bytes), &cuts, form);
}

static void take_marked(struct front *front, uint8_t mark)
{
	struct vl_frame frame;
	struct guest_used used;

	assert_int_equal(vl_device_borrow(front->device, 0, &frame, 1), 1);
	assert_int_equal(frame.head[0], mark);
	vl_device_give_back(front->device, 0, 1);
	assert_true(guest_ring_reap(&front->rings[TX], &used));
}

static void receive_marked(struct front *front, uint8_t mark)
{
	uint8_t bytes[FRAME_SIZE], got[FRAME_SIZE];
	struct vl_net_header header;
	struct built_frame built;

	memset(bytes, mark, sizeof(bytes));
	frame_build(&built, bytes, sizeof(bytes), 64, NULL);
	assert_int_equal(traffic_deliver(front, 0, &built), VL_DELIVERED);
	assert_int_equal(traffic_receive(front, RX, &header, got, sizeof(got)), FRAME_SIZE);
	assert_memory_equal(bytes, got, FRAME_SIZE);
}

/* ---- frames ---- */

static void frames_pass_before_and_after(void **state)
{
	const struct variant *variant = *state;
	unsigned descriptors = 0;
	struct front front;

	open_front(&front, variant, 0);
	for (unsigned round = 0; round < 60; round++) {
		for (uint8_t i = 0; i < round % 4; i++)
			send_marked(&front, variant->form, i);
		traffic_post(&front, RX, 1, 128, NULL, GUEST_CHAINED);
		if (round % 3)
			receive_marked(&front, (uint8_t)round);
		hand_over(&front);
		for (uint8_t i = 0; i < round % 4; i++)
			take_marked(&front, i);
		if (round % 3 == 0)
			receive_marked(&front, (uint8_t)round);
		if (round == 0)
			descriptors = open_descriptors();
	}
	assert_int_equal(open_descriptors(), descriptors);
	struct vl_queue_status status = front_queue(&front, TX);
	assert_true(status.started && status.enabled);
	assert_null(status.broken);
	front_close(&front);
}

/* What a worker has borrowed and put off is taken again. */
static void frames_that_were_put_off_come_again(void **state)
{
	const struct variant *variant = *state;
	struct vl_frame frames[4];
	struct guest_used used;
	struct front front;

	open_front(&front, variant, 0);
	for (uint8_t i = 0; i < 3; i++)
		send_marked(&front, variant->form, i);
	assert_int_equal(vl_device_borrow(front.device, 0, frames, 4), 3);
	vl_device_put_off(front.device, 0, 2);
	vl_device_give_back(front.device, 0, 1);
	assert_true(guest_ring_reap(&front.rings[TX], &used));
	hand_over(&front);
	take_marked(&front, 1);
	take_marked(&front, 2);
	front_close(&front);
}

/* The other process does not come up. */
static void a_saved_device_can_go_on(void **state)
{
	const struct variant *variant = *state;
	struct vl_device_state saved;
	struct front front;

	open_front(&front, variant, 0);
	for (uint8_t round = 0; round < 30; round++) {
		send_marked(&front, variant->form, round);
		assert_int_equal(vl_device_save(front.device, &saved), 0);
		assert_false(vl_device_ready(front.device, 0, false));
		vl_device_state_free(&saved);
		vl_device_go_on(front.device);
		take_marked(&front, round);
		traffic_post(&front, RX, 1, 128, NULL, GUEST_CHAINED);
		receive_marked(&front, round);
	}
	front_close(&front);
}

/* ---- the session ---- */

static void the_session_goes_on(void **)
{
	const struct variant variant = {"", false, true, GUEST_CHAINED};
	struct front front;

	open_front(&front, &variant, 0);
	struct vl_device_status before = front_status(&front);
	hand_over(&front);
	struct vl_device_status after = front_status(&front);
	assert_memory_equal(&before.features, &after.features, sizeof(before.features));
	assert_int_equal(before.protocol_features, after.protocol_features);
	assert_int_equal(before.memory_size, after.memory_size);
	assert_int_equal(before.offloads_taken, after.offloads_taken);
	assert_string_equal(before.last_message, after.last_message);
	/* Requests are answered as ever. */
	assert_int_equal(front_request_u64(&front, VHOST_USER_NET_SET_MTU, 1400), 0);
	hand_over(&front);
	assert_int_equal(front_stop_ring(&front, TX), 0);
	assert_int_equal(front_share_memory(&front), 0);
	front_start_ring(&front, TX, &front.rings[TX]);
	send_marked(&front, GUEST_CHAINED, 1);
	take_marked(&front, 1);
	front_close(&front);
}

/* At every byte of a message that has a descriptor, too. */
/* The first bytes of a message, and its descriptor. */
static void send_cut(struct front *front, const void *bytes, size_t size, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {(void *)bytes, size};
	struct msghdr first = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	assert_int_equal(sendmsg(front->socket, &first, 0), size);
}

static void a_message_may_be_half_read(void **)
{
	const struct variant variant = {"", false, false, GUEST_CHAINED};
	struct vhost_message message = {
		.header = {VHOST_USER_SET_VRING_CALL, VHOST_VERSION | VHOST_FLAG_NEED_REPLY, 8},
		.payload.u64 = TX,
	};
	uint8_t wire[sizeof(message.header) + 8];
	const size_t size = sizeof(wire);
	struct vhost_message reply;
	struct front front;

	memcpy(wire, &message.header, sizeof(message.header));
	memcpy(wire + sizeof(message.header), &message.payload, 8);
	open_front(&front, &variant, 0);
	for (size_t cut = 1; cut < size; cut++) {
		send_cut(&front, wire, cut, front.rings[TX].call_fd);
		assert_int_equal(vl_device_process(front.device), 0);
		hand_over(&front);
		assert_int_equal(write(front.socket, wire + cut, size - cut), size - cut);
		assert_int_equal(vl_device_process(front.device), 0);
		assert_true(front_reply(&front, &reply));
		assert_int_equal(reply.payload.u64, 0);
		(void)guest_ring_was_called(&front.rings[TX]);
		send_marked(&front, GUEST_CHAINED, (uint8_t)cut);
		take_marked(&front, (uint8_t)cut);
		assert_true(guest_ring_was_called(&front.rings[TX]));
	}
	front_close(&front);
}

static void what_the_driver_wished_is_kept(void **)
{
	static const uint8_t other[6] = {0x52, 0x54, 0, 1, 2, 3};
	const uint64_t features = BIT(VL_F_CTRL_VQ) | BIT(VL_F_CTRL_RX);
	const struct variant variant = {"", false, false, GUEST_CHAINED};
	struct built_frame built;
	uint8_t off = 0, bytes[FRAME_SIZE] = {0};
	struct front front;

	open_front(&front, &variant, features);
	/* Not promiscuous: another's frames are not wanted. */
	control_command(&front, 0, 0, &off, 1);
	memcpy(bytes, other, sizeof(other));
	frame_build(&built, bytes, sizeof(bytes), 64, NULL);
	traffic_post(&front, RX, 1, 128, NULL, GUEST_CHAINED);
	assert_int_equal(traffic_deliver(&front, 0, &built), VL_FILTERED);
	hand_over(&front);
	assert_int_equal(traffic_deliver(&front, 0, &built), VL_FILTERED);
	/* And the control queue works. */
	uint8_t on = 1;
	control_command(&front, 0, 0, &on, 1);
	assert_int_equal(traffic_deliver(&front, 0, &built), VL_DELIVERED);
	front_close(&front);
}

static void a_broken_queue_stays_broken(void **)
{
	const struct variant variant = {"", false, false, GUEST_CHAINED};
	struct vl_frame frame;
	struct front front;

	open_front(&front, &variant, 0);
	front.rings[TX].avail->idx = 1000;
	assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), -EPROTO);
	hand_over(&front);
	assert_non_null(front_queue(&front, TX).broken);
	assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), -EPROTO);
	front_close(&front);
}

/* ---- what is wrong ---- */

/* Each is refused, leaves the descriptors to the caller, and leaks nothing. */
static void a_damaged_state_is_refused(void **)
{
	const struct variant variant = {"", true, false, GUEST_CHAINED};
	struct vl_device_state saved;
	struct vl_device *device;
	struct front front;

	open_front(&front, &variant, 0);
	assert_int_equal(vl_device_save(front.device, &saved), 0);
	duplicate(&saved);
	unsigned descriptors = open_descriptors(), mappings = guest_mappings();
	struct vl_device_config config = front.config;
	config.kick_changed = NULL;
	config.control_kick_changed = NULL;

	for (size_t size = 0; size < saved.size; size++) {
		struct vl_device_state cut = saved;

		cut.size = size;
		assert_int_equal(vl_device_create(&config, &device), 0);
		assert_true(vl_device_load(device, &cut) < 0);
		assert_int_equal(vl_device_socket(device), -1);
		vl_device_destroy(device);
	}
	for (unsigned count = 0; count < saved.fd_count; count++) {
		struct vl_device_state cut = saved;

		cut.fd_count = count;
		assert_int_equal(vl_device_create(&config, &device), 0);
		assert_int_equal(vl_device_load(device, &cut), -EINVAL);
		vl_device_destroy(device);
	}
	/* Magic, version, size, queues, regions. */
	for (unsigned word = 0; word < 5; word++) {
		((uint32_t *)saved.bytes)[word] += 1000;
		assert_int_equal(vl_device_create(&config, &device), 0);
		int error = vl_device_load(device, &saved);
		assert_int_equal(error, word < 3 ? -EPROTO : -EINVAL);
		assert_string_not_equal(vl_device_reason(device), "");
		vl_device_destroy(device);
		((uint32_t *)saved.bytes)[word] -= 1000;
	}
	assert_int_equal(open_descriptors(), descriptors);
	assert_int_equal(guest_mappings(), mappings);
	close_fds(&saved);
	vl_device_state_free(&saved);
	vl_device_go_on(front.device);
	send_marked(&front, GUEST_CHAINED, 1);
	take_marked(&front, 1);
	vl_device_detach(front.device);
	assert_int_equal(vl_device_save(front.device, &saved), -ENOTCONN);
	front_close(&front);
}

/* ---- snapshots ---- */

/* The device dies, which is to say that whatever it does while it is taken down is undone, and one
 * that has loaded what was noted goes on. */
static void die_and_go_on(struct front *front, const struct vl_device_state *kept)
{
	static uint8_t rings[64 * 1024], record[RECORD_SIZE];
	const struct guest_region *region = &front->guest.regions[GUEST_HIGH];
	struct vl_device_state state = *kept;
	int fds[64];

	assert_true(region->used <= sizeof(rings) && kept->fd_count <= COUNT_OF(fds));
	memcpy(rings, region->host, region->used);
	if (front->config.record != NULL)
		memcpy(record, front->config.record, sizeof(record));
	vl_device_destroy(front->device);
	memcpy(region->host, rings, region->used);
	if (front->config.record != NULL)
		memcpy(front->config.record, record, sizeof(record));
	memset(front->callbacks.kick_fds, -1, sizeof(front->callbacks.kick_fds));
	memcpy(fds, kept->fds, kept->fd_count * sizeof(fds[0]));
	state.fds = fds;
	duplicate(&state);
	assert_int_equal(vl_device_create(&front->config, &front->device), 0);
	assert_int_equal(vl_device_load(front->device, &state), 0);
	vl_device_go_on(front->device);
}

static void snapshot(struct front *front, struct vl_device_state *kept)
{
	close_fds(kept);
	vl_device_state_free(kept);
	assert_int_equal(vl_device_snapshot(front->device, kept), 0);
	duplicate(kept);
	assert_true(vl_device_ready(front->device, 0, false));
}

static void a_snapshot_is_enough_to_go_on(void **state)
{
	static _Alignas(64) uint8_t record[RECORD_SIZE];
	const struct variant *variant = *state;
	struct vl_device_state kept = {0};
	struct front_options options = {
		.ring_size = RING_SIZE,
		.features = variant_features(variant),
		.record = record,
	};
	struct front front;
	unsigned descriptors = open_descriptors();
	uint8_t sent = 0, came = 0;

	memset(record, 0, sizeof(record));
	front_open(&front, &options);
	snapshot(&front, &kept);
	for (unsigned round = 0; round < 100; round++) {
		struct vl_frame frames[4];
		struct guest_used used;
		/* As long as no message comes it holds; and this one begins the ring anew. */
		if (round % 7 == 3) {
			front_enable_ring(&front, TX, false);
			front_enable_ring(&front, TX, true);
			snapshot(&front, &kept);
		}
		for (unsigned i = 0; i < round % 3 && front.rings[TX].free_count >= 2; i++)
			send_marked(&front, variant->form, sent++);
		traffic_post(&front, RX, 1, 128, NULL, GUEST_CHAINED);
		if (round % 2)
			receive_marked(&front, (uint8_t)round);
		int n = vl_device_borrow(front.device, 0, frames, 4);
		for (int i = 0; i < n; i++)
			assert_int_equal(frames[i].head[0], (uint8_t)(came + i));
		unsigned back = n > 1 ? (unsigned)n / 2 : (unsigned)n;
		vl_device_give_back(front.device, 0, back);
		for (unsigned i = 0; i < back; i++, came++)
			assert_true(guest_ring_reap(&front.rings[TX], &used));
		(void)guest_ring_was_called(&front.rings[RX]);
		die_and_go_on(&front, &kept);
		/* Who died may not have come to it. */
		assert_true(guest_ring_was_called(&front.rings[RX]));
		if (round % 2 == 0)
			receive_marked(&front, (uint8_t)round);
	}
	while (came != sent)
		take_marked(&front, came++);
	close_fds(&kept);
	vl_device_state_free(&kept);
	front_close(&front);
	assert_int_equal(open_descriptors(), descriptors);
}

static void packed_rings_without_a_record_have_no_snapshot(void **)
{
	struct front_options options = {.features = BIT(VL_F_RING_PACKED)};
	struct vl_device_state kept;
	struct front front;

	front_open(&front, &options);
	assert_int_equal(vl_device_snapshot(front.device, &kept), -ENOTSUP);
	front_close(&front);
}

/* What has come with half a message was not checked yet. */
static void half_a_message_has_no_snapshot(void **)
{
	const struct vhost_header header = {VHOST_USER_SET_VRING_CALL, VHOST_VERSION, 8};
	struct front_options options = {0};
	struct vl_device_state kept;
	struct front front;

	front_open(&front, &options);
	assert_int_equal(vl_device_snapshot(front.device, &kept), 0);
	vl_device_state_free(&kept);
	send_cut(&front, &header, sizeof(header), front.rings[0].call_fd);
	assert_int_equal(vl_device_process(front.device), 0);
	assert_int_equal(vl_device_snapshot(front.device, &kept), -EBUSY);
	front_close(&front);
}

int main(void)
{
	const struct variant_test rings[] = {
		VARIANT_TEST(frames_pass_before_and_after),
		VARIANT_TEST(frames_that_were_put_off_come_again),
		VARIANT_TEST(a_saved_device_can_go_on),
		VARIANT_TEST(a_snapshot_is_enough_to_go_on),
	};
	const struct CMUnitTest sessions[] = {
		cmocka_unit_test(the_session_goes_on),
		cmocka_unit_test(a_message_may_be_half_read),
		cmocka_unit_test(what_the_driver_wished_is_kept),
		cmocka_unit_test(a_broken_queue_stays_broken),
		cmocka_unit_test(a_damaged_state_is_refused),
		cmocka_unit_test(packed_rings_without_a_record_have_no_snapshot),
		cmocka_unit_test(half_a_message_has_no_snapshot),
	};

	return run_for_all_rings("handing over", rings, COUNT_OF(rings))
	       + cmocka_run_group_tests_name("handing over, sessions", sessions, NULL, NULL);
}
