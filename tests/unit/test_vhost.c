/* SPDX-License-Identifier: BSD-3-Clause */
/* What the messages do: the states of rings, and the small ones. */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "process.h"
#include "traffic.h"

static const struct front_options one_pair = {0};

static void open_negotiated(struct front *front)
{
	front_attach(front, &one_pair);
	front_negotiate(front, BIT(VL_F_VERSION_1));
}

/* ---- rings ---- */

/* CVE-2020-10723: an index is not cut to 16 or 8 bits before it is checked. */
static void ring_indices_are_checked_whole(void **)
{
	static const uint32_t states[] = {
		VHOST_USER_SET_VRING_NUM,
		VHOST_USER_SET_VRING_BASE,
		VHOST_USER_GET_VRING_BASE,
		VHOST_USER_SET_VRING_ENABLE,
		VHOST_USER_GET_VRING_BASE_SKIP_DRAIN,
		VHOST_USER_SET_VRING_ADDR,
	};
	static const uint32_t fds[] = {
		VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_VRING_ERR};
	static const uint32_t offsets[] = {3, 255, 256, 0x10000, 0x80000000, 0xffffff00};
	struct front front;

	front_open(&front, &one_pair); /* one pair and the control queue: 0, 1, 2 */
	unsigned descriptors = open_descriptors();
	for (unsigned o = 0; o < COUNT_OF(offsets); o++) {
		for (unsigned i = 0; i < COUNT_OF(states); i++) {
			struct vhost_vring_addr address = {.index = offsets[o], .flags = 1};
			uint32_t size = states[i] == VHOST_USER_SET_VRING_ADDR ? 40 : 8;

			assert_int_equal(
				front_request(&front, states[i], &address, size, NULL, 0), 1
			);
		}
		for (unsigned i = 0; i < COUNT_OF(fds); i++) {
			uint64_t value = offsets[o];

			/* 256 is the flag for "no descriptor": that contradicts the message. */
			assert_int_equal(
				front_request_fd(&front, fds[i], value, front.rings[0].call_fd), 1
			);
			value = BIT(32) << o;
			assert_int_equal(
				front_request_fd(&front, fds[i], value, front.rings[0].call_fd), 1
			);
		}
	}
	assert_int_equal(open_descriptors(), descriptors);
	for (unsigned i = 0; i < 2; i++)
		assert_true(front_queue(&front, i).started);
	front_close(&front);
}

static void the_no_descriptor_flag_has_to_be_true(void **)
{
	static const uint32_t requests[] = {
		VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_VRING_ERR};
	struct front front;

	front_open(&front, &one_pair);
	unsigned descriptors = open_descriptors();
	for (unsigned i = 0; i < COUNT_OF(requests); i++) {
		int fd = front.rings[0].call_fd;

		assert_int_equal(front_request_fd(&front, requests[i], 0, -1), 1);
		assert_int_equal(front_request_fd(&front, requests[i], VHOST_VRING_NO_FD, fd), 1);
		assert_int_equal(open_descriptors(), descriptors);
		assert_int_equal(front_request_fd(&front, requests[i], VHOST_VRING_NO_FD, -1), 0);
		assert_int_equal(open_descriptors(), --descriptors);
	}
	/* Polled in both directions it works on. */
	uint8_t bytes[60] = {0};
	struct vl_frame frame;
	traffic_send_plain(&front, 1, bytes, sizeof(bytes));
	assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
	vl_device_give_back(front.device, 0, 1);
	front_close(&front);
}

static void a_ring_starts_with_the_kick_message_and_without_a_kick(void **)
{
	uint8_t bytes[60] = {0};
	struct vl_frame frame;
	struct front front;
	uint64_t value;

	front_open(&front, &one_pair);
	assert_int_equal(read(front.rings[1].kick_fd, &value, sizeof(value)), -1);
	assert_true(front_queue(&front, 1).started);
	traffic_send_plain(&front, 1, bytes, sizeof(bytes));
	assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
	front_close(&front);
}

static void the_owner_learns_of_kick_descriptors(void **)
{
	struct front front;

	front_open(&front, &one_pair);
	int first = front.callbacks.kick_fds[0];
	assert_true(first >= 0);
	assert_true(fcntl(first, F_GETFL) & O_NONBLOCK);
	assert_int_equal(
		front_request_fd(&front, VHOST_USER_SET_VRING_KICK, 1, front.rings[1].kick_fd), 0
	);
	assert_true(front.callbacks.kick_fds[0] >= 0);
	assert_int_equal(
		front_request_fd(&front, VHOST_USER_SET_VRING_KICK, 1 | VHOST_VRING_NO_FD, -1), 0
	);
	assert_int_equal(front.callbacks.kick_fds[0], -1);
	vl_device_detach(front.device);
	assert_int_equal(front.callbacks.kick_fds[0], -1);
	front_close(&front);
}

/* Readable, within no time. */
static bool is_readable(int fd)
{
	return poll(&(struct pollfd){fd, POLLIN, 0}, 1, 0) == 1;
}

/* Front ends signal with event descriptors, pipes, or sockets (User Mode Linux). */
static void open_channel(unsigned kind, int ends[2])
{
	if (kind == 0) {
		ends[0] = eventfd(0, EFD_CLOEXEC);
		ends[1] = dup(ends[0]);
	} else if (kind == 1) {
		assert_int_equal(pipe(ends), 0);
	} else {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	}
}

static void kicks_come_through_any_kind_of_descriptor(void **)
{
	for (unsigned kind = 0; kind < 3; kind++) {
		const uint64_t one = 1;
		struct front front;
		int ends[2];

		front_open(&front, &one_pair);
		open_channel(kind, ends);
		assert_int_equal(
			front_request_fd(&front, VHOST_USER_SET_VRING_KICK, 1, ends[0]), 0
		);
		int fd = front.callbacks.kick_fds[0];
		vl_device_kicked(front.device, 0); /* in vain: does not block */
		for (unsigned i = 0; i < 3; i++) {
			assert_false(is_readable(fd));
			assert_int_equal(write(ends[1], &one, sizeof(one)), sizeof(one));
			assert_true(is_readable(fd));
			vl_device_kicked(front.device, 0);
		}
		assert_false(is_readable(fd));
		assert_int_equal(front_queue(&front, 1).kicks, 4);
		close(ends[0]);
		close(ends[1]);
		front_close(&front);
	}
}

static void calls_go_through_any_kind_of_descriptor(void **)
{
	for (unsigned kind = 0; kind < 3; kind++) {
		uint8_t bytes[60] = {0};
		struct front front;
		struct vl_frame frame;
		uint64_t value;
		int ends[2];

		front_open(&front, &one_pair);
		open_channel(kind, ends);
		assert_int_equal(
			front_request_fd(&front, VHOST_USER_SET_VRING_CALL, 1, ends[1]), 0
		);
		while (is_readable(ends[0]))
			assert_true(read(ends[0], &value, sizeof(value)) > 0);
		uint64_t calls = front_queue(&front, 1).calls;
		/* Far more than a pipe or a socket takes. */
		for (unsigned i = 0; i < 20000; i++) {
			struct guest_used used;

			front.guest.regions[GUEST_LOW].used = 1 << 20;
			traffic_send_plain(&front, 1, bytes, sizeof(bytes));
			assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
			vl_device_give_back(front.device, 0, 1);
			assert_true(guest_ring_reap(&front.rings[1], &used));
		}
		assert_true(is_readable(ends[0]));
		assert_int_equal(front_queue(&front, 1).calls - calls, 20000);
		close(ends[0]);
		close(ends[1]);
		front_close(&front);
	}
}

static void descriptors_that_may_block_are_refused(void **)
{
	static const uint32_t requests[] = {
		VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_VRING_ERR};
	int directory = open("/", O_RDONLY | O_CLOEXEC), null = open("/dev/null", O_RDWR);
	struct front front;

	front_open(&front, &one_pair);
	unsigned descriptors = open_descriptors();
	for (unsigned i = 0; i < COUNT_OF(requests); i++) {
		assert_int_equal(front_request_fd(&front, requests[i], 1, directory), 1);
		assert_int_equal(front_request_fd(&front, requests[i], 1, null), 1);
		assert_int_equal(
			front_request_fd(&front, requests[i], 1, front.guest.regions[0].fd), 1
		);
	}
	assert_int_equal(open_descriptors(), descriptors);
	close(directory);
	close(null);
	front_close(&front);
}

static void a_ring_without_kicks_is_silent(void **)
{
	struct front front;

	front_open(&front, &one_pair);
	assert_false(vl_device_is_silent(front.device, 0));
	assert_int_equal(
		front_request_fd(&front, VHOST_USER_SET_VRING_KICK, 1 | VHOST_VRING_NO_FD, -1), 0
	);
	assert_true(vl_device_is_silent(front.device, 0));
	(void)front_stop_ring(&front, 1);
	assert_false(vl_device_is_silent(front.device, 0));
	front_close(&front);
}

static int
set_addresses(struct front *front, uint32_t index, uint64_t desc, uint64_t avail, uint64_t used)
{
	struct vhost_vring_addr address = {
		.index = index,
		.desc_user_addr = desc,
		.avail_user_addr = avail,
		.used_user_addr = used,
	};

	return front_request(front, VHOST_USER_SET_VRING_ADDR, &address, sizeof(address), NULL, 0);
}

/* A message that stops the first pair's receive queue, in one way or another. */
static void a_queue_that_cannot_go_on_is_counted_no_more(void **)
{
	for (unsigned way = 0; way < 3; way++) {
		struct vhost_mem_table none = {0};
		struct front front;

		front_open(&front, &one_pair);
		assert_int_equal(vl_device_active_pairs(front.device), 1);
		if (way == 0)
			(void)set_addresses(&front, 0, 16, 32, 64);
		else if (way == 1)
			(void)front_request_state(&front, VHOST_USER_SET_VRING_NUM, 0, 255);
		else
			(void)front_request(&front, VHOST_USER_SET_MEM_TABLE, &none, 8, NULL, 0);
		assert_false(vl_device_ready(front.device, 0, true));
		assert_int_equal(vl_device_active_pairs(front.device), 0);
		front_close(&front);
	}
}

static void started_and_enabled_are_independent(void **)
{
	struct front front;

	front_open(&front, &one_pair);
	for (unsigned index = 0; index < 2; index++) {
		front_enable_ring(&front, index, false);
		assert_true(front_queue(&front, index).started);
		assert_false(front_queue(&front, index).enabled);
		assert_false(vl_device_ready(front.device, 0, index == 0));
		uint32_t base = front_stop_ring(&front, index);
		assert_false(front_queue(&front, index).enabled);
		front_enable_ring(&front, index, true);
		assert_false(front_queue(&front, index).started);
		assert_false(vl_device_ready(front.device, 0, index == 0));
		front_start_ring_at(&front, index, &front.rings[index], base);
		assert_true(vl_device_ready(front.device, 0, index == 0));
		/* Stopping keeps a ring enabled. */
		base = front_stop_ring(&front, index);
		assert_true(front_queue(&front, index).enabled);
		front_start_ring_at(&front, index, &front.rings[index], base);
		assert_true(vl_device_ready(front.device, 0, index == 0));
	}
	assert_int_equal(vl_device_active_pairs(front.device), 1);
	assert_int_equal(front_request_state(&front, VHOST_USER_SET_VRING_ENABLE, 0, 2), 1);
	front_close(&front);
}

static void without_protocol_features_all_rings_are_enabled(void **)
{
	static const struct guest_ring_options ring = {.size = 16, .start_wrap = true};
	struct front front;

	front_attach(&front, &one_pair);
	assert_int_equal(
		front_request_u64(&front, VHOST_USER_SET_FEATURES, BIT(VL_F_VERSION_1)), 0
	);
	assert_int_equal(front_share_memory(&front), 0);
	for (unsigned i = 0; i < 2; i++) {
		guest_ring_open(&front.rings[i], &front.guest, &ring);
		front_start_ring(&front, i, &front.rings[i]);
		assert_true(front_queue(&front, i).enabled);
	}
	assert_int_equal(vl_device_active_pairs(front.device), 1);
	front_close(&front);
}

static void pairs_are_used_from_the_first_on_without_a_gap(void **)
{
	struct front_options options = {.pairs = 4, .features = BIT(VL_F_MQ)};
	struct front front;

	front_open(&front, &options);
	assert_int_equal(vl_device_active_pairs(front.device), 4);
	front_enable_ring(&front, 2 * 2, false);
	assert_int_equal(vl_device_active_pairs(front.device), 2);
	front_enable_ring(&front, 2 * 1, false);
	assert_int_equal(vl_device_active_pairs(front.device), 1);
	front_enable_ring(&front, 2 * 2, true);
	assert_int_equal(vl_device_active_pairs(front.device), 1);
	front_enable_ring(&front, 2 * 1, true);
	assert_int_equal(vl_device_active_pairs(front.device), 4);
	(void)front_stop_ring(&front, 0);
	assert_int_equal(vl_device_active_pairs(front.device), 0);
	front_close(&front);
}

static void ring_sizes_are_checked(void **)
{
	static const struct {
		uint32_t size;
		bool good;
	} sizes[] = {
		{0, false},
		{1, true},
		{3, true}, /* as long as nothing says that the ring is split */
		{32768, true},
		{32769, false},
		{65536, false},
		{65536 + 256, false},
		{UINT32_MAX, false},
	};
	struct front front;

	open_negotiated(&front);
	for (unsigned i = 0; i < COUNT_OF(sizes); i++)
		assert_int_equal(
			front_request_state(&front, VHOST_USER_SET_VRING_NUM, 0, sizes[i].size),
			!sizes[i].good
		);
	front_close(&front);
}

static void a_split_ring_has_a_power_of_two(void **)
{
	struct front front;

	front_open(&front, &one_pair);
	(void)front_stop_ring(&front, 1);
	assert_int_equal(front_request_state(&front, VHOST_USER_SET_VRING_NUM, 1, 255), 0);
	assert_int_equal(
		front_request_fd(&front, VHOST_USER_SET_VRING_KICK, 1, front.rings[1].kick_fd), 1
	);
	assert_int_equal(front_status(&front).pairs_up, 1);
	assert_false(vl_device_ready(front.device, 0, false));
	front_close(&front);
}

static void ring_areas_lie_aligned_in_one_region(void **)
{
	struct front front;

	front_open(&front, &one_pair);
	const struct guest_region *high = &front.guest.regions[GUEST_HIGH];
	const uint64_t start = high->user_address, end = start + high->size;
	const uint64_t good = start + (1 << 20);
	const struct {
		uint64_t desc, avail, used;
		bool good;
	} cases[] = {
		{good, good + 8192, good + 16384, true},
		{end - 16 * 256, good, good + 8192, true},
		{good, end - 518, good + 8192, true},
		{good, good + 8192, end - 2056, true},
		{good + 8, good + 8192, good + 16384, false},
		{good, good + 8193, good + 16384, false},
		{good, good + 8192, good + 16386, false},
		{end - 16 * 256 + 16, good, good + 8192, false},
		{good, end - 516, good + 8192, false},
		{good, good + 8192, end - 2052, false},
		{start - 16, good, good + 8192, false},
		{end, good, good + 8192, false},
		{0, good, good + 8192, false},
		{UINT64_MAX - 15, good, good + 8192, false},
		{good, UINT64_MAX - 1, good + 8192, false},
		{good, good + 8192, UINT64_MAX - 3, false},
		/* a guest address is none */
		{GUEST_HIGH_ADDRESS, good, good + 8192, false},
	};
	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		(void)set_addresses(&front, 1, cases[i].desc, cases[i].avail, cases[i].used);
		assert_int_equal(vl_device_ready(front.device, 0, false), cases[i].good);
		assert_int_equal(
			set_addresses(&front, 1, cases[i].desc, cases[i].avail, cases[i].used),
			!cases[i].good
		);
	}
	front_close(&front);
}

static void a_packed_base_lies_in_the_ring(void **)
{
	static const struct {
		uint32_t base;
		bool good;
	} cases[] = {
		{0x80008000, true},
		{0x800f800f, true},
		{0x80108010, false},
		{0x80008010, false},
		{0x80108000, false},
		{0x7fff7fff, false},
		{0xffffffff, false},
		{0x8010, false},
		{0x800f, true},
	};
	struct front_options options = {.ring_size = 16, .features = BIT(VL_F_RING_PACKED)};
	struct front front;

	front_open(&front, &options);
	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		(void)front_stop_ring(&front, 1);
		assert_int_equal(
			front_request_state(&front, VHOST_USER_SET_VRING_BASE, 1, cases[i].base), 0
		);
		assert_int_equal(
			front_request_fd(
				&front, VHOST_USER_SET_VRING_KICK, 1, front.rings[1].kick_fd
			),
			!cases[i].good
		);
		assert_int_equal(vl_device_ready(front.device, 0, false), cases[i].good);
	}
	front_close(&front);
}

/* CVE-2026-86565: another size while the ring runs, or between any two messages. */
static void a_ring_may_be_resized_at_any_time(void **)
{
	static const uint32_t sizes[] = {1, 32768, 2, 256, 16384, 8};
	struct front front;
	struct vl_frame frames[VL_BURST_MAX];

	for (unsigned packed = 0; packed < 2; packed++) {
		struct front_options options = {
			.ring_size = 1024,
			.features = packed ? BIT(VL_F_RING_PACKED) : 0,
		};

		front_open(&front, &options);
		for (unsigned i = 0; i < 300; i++) {
			uint32_t size = sizes[i % COUNT_OF(sizes)];

			(void)front_request_state(&front, VHOST_USER_SET_VRING_NUM, 1, size);
			int n = vl_device_borrow(front.device, 0, frames, VL_BURST_MAX);
			if (n > 0)
				vl_device_give_back(front.device, 0, (unsigned)n);
			if (i % 7 == 0)
				(void)front_share_memory(&front);
		}
		front_close(&front);
	}
}

/* CVE-2019-14818, CVE-2020-10726, and for the other messages: again and again. */
static void repeated_messages_leak_nothing(void **)
{
	struct front front;

	front_open(&front, &one_pair);
	unsigned descriptors = open_descriptors(), mappings = guest_mappings();
	for (uint32_t i = 0; i < 10000; i++)
		assert_int_equal(
			front_request_state(&front, VHOST_USER_SET_VRING_NUM, 1, i % 2 ? 256 : 128),
			0
		);
	for (unsigned i = 0; i < 1000; i++) {
		struct vhost_message inflight = {
			.header = {VHOST_USER_GET_INFLIGHT_FD, VHOST_VERSION, 24},
			.payload.inflight = {.queue_count = 2, .queue_size = 256},
		};
		struct vhost_message reply;
		const struct guest_ring *ring = &front.rings[i % 2];
		const uint32_t index = i % 2;

		assert_int_equal(front_send(&front, &inflight), 0);
		assert_true(front_reply(&front, &reply));
		assert_int_equal(reply.fd_count, 1);
		close(reply.fds[0]);
		front_start_ring(&front, index, ring);
		assert_int_equal(front_share_memory(&front), 0);
		assert_int_equal(
			front_request(
				&front, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &front.socket, 1
			),
			0
		);
		/* What is no socket is not. */
		assert_int_equal(
			front_request(
				&front, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &ring->err_fd, 1
			),
			1
		);
		/* One is kept. */
		if (i == 0)
			descriptors++;
	}
	assert_int_equal(open_descriptors(), descriptors);
	assert_int_equal(guest_mappings(), mappings);
	front_close(&front);
}

static void set_inflight_is_refused_and_its_descriptor_closed(void **)
{
	struct vhost_inflight inflight = {4096, 0, 65535, 65535};
	struct front front;

	open_negotiated(&front);
	unsigned descriptors = open_descriptors();
	assert_int_equal(
		front_request(
			&front,
			VHOST_USER_SET_INFLIGHT_FD,
			&inflight,
			20,
			&front.guest.regions[0].fd,
			1
		),
		1
	);
	assert_int_equal(open_descriptors(), descriptors);
	front_close(&front);
}

/* ---- whole device ---- */

/* 1846fe767f: whatever is said after the rings were stopped. */
static void messages_after_a_stop_do_no_harm(void **)
{
	struct front front;
	struct vl_frame frame;

	front_open(&front, &one_pair);
	for (unsigned i = 0; i < 2; i++)
		(void)front_stop_ring(&front, i);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(front_request_state(&front, VHOST_USER_SET_VRING_NUM, i, 64), 0);
		assert_int_equal(set_addresses(&front, i, 16, 32, 64), 0);
		assert_int_equal(
			front_request_fd(
				&front, VHOST_USER_SET_VRING_CALL, i, front.rings[i].call_fd
			),
			0
		);
		front_enable_ring(&front, i, true);
	}
	assert_int_equal(front_share_memory(&front), 0);
	assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 0);
	assert_int_equal(vl_device_active_pairs(front.device), 0);
	/* With a good address it can be started again. */
	front_start_ring(&front, 0, &front.rings[0]);
	front_start_ring(&front, 1, &front.rings[1]);
	assert_int_equal(vl_device_active_pairs(front.device), 1);
	front_close(&front);
}

static void reset_device_forgets_all_but_the_memory(void **)
{
	struct front front;

	front_open(&front, &one_pair);
	assert_int_equal(front_request_u64(&front, VHOST_USER_SET_STATUS, 15), 0);
	assert_int_equal(front_request(&front, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_false(front_queue(&front, i).started);
		assert_false(front_queue(&front, i).enabled);
		assert_int_equal(front_queue(&front, i).size, 0);
	}
	assert_int_equal(front_get(&front, VHOST_USER_GET_STATUS), 0);
	assert_int_equal(front_status(&front).features.word[0], 0);
	assert_int_equal(vl_device_active_pairs(front.device), 0);
	assert_int_equal(front.callbacks.kick_fds[0], -1);
	assert_int_equal(front_request_u64(&front, VHOST_USER_SET_FEATURES, front.features), 0);
	for (unsigned i = 0; i < 2; i++) {
		guest_ring_close(&front.rings[i]);
	}
	front_start(&front, &one_pair);
	assert_int_equal(vl_device_active_pairs(front.device), 1);
	front_close(&front);
}

static void reset_owner_does_nothing(void **)
{
	struct front front;

	front_open(&front, &one_pair);
	assert_int_equal(front_request(&front, VHOST_USER_RESET_OWNER, NULL, 0, NULL, 0), 0);
	assert_int_equal(vl_device_active_pairs(front.device), 1);
	front_close(&front);
}

static void the_status_is_kept(void **)
{
	struct front front;

	open_negotiated(&front);
	assert_int_equal(front_get(&front, VHOST_USER_GET_STATUS), 0);
	assert_int_equal(front_request_u64(&front, VHOST_USER_SET_STATUS, 0x8f), 0);
	assert_int_equal(front_get(&front, VHOST_USER_GET_STATUS), 0x8f);
	assert_int_equal(front_request_u64(&front, VHOST_USER_SET_STATUS, 0x100), 1);
	assert_int_equal(front_get(&front, VHOST_USER_GET_STATUS), 0x8f);
	front_close(&front);
}

static void the_number_of_queue_pairs_is_told(void **)
{
	for (unsigned pairs = 1; pairs <= VL_QUEUE_PAIRS_MAX; pairs *= 2) {
		struct front_options options = {.pairs = pairs};
		struct front front;

		front_attach(&front, &options);
		front_negotiate(&front, BIT(VL_F_VERSION_1));
		assert_int_equal(front_get(&front, VHOST_USER_GET_QUEUE_NUM), pairs);
		uint64_t offered = front_get(&front, VHOST_USER_GET_FEATURES);
		assert_int_equal(!!(offered & BIT(VL_F_MQ)), pairs > 1);
		front_close(&front);
	}
}

static void protocol_features_that_were_not_offered_are_refused(void **)
{
	struct front front;

	open_negotiated(&front);
	for (unsigned bit = 0; bit < 64; bit++) {
		if (!(front.protocol_features & BIT(bit)))
			assert_int_equal(
				front_request_u64(
					&front,
					VHOST_USER_SET_PROTOCOL_FEATURES,
					front.protocol_features | BIT(bit)
				),
				1
			);
	}
	front_close(&front);
}

static void an_mtu_is_taken_from_68_to_65535(void **)
{
	struct front front;

	open_negotiated(&front);
	assert_int_equal(front_request_u64(&front, VHOST_USER_NET_SET_MTU, 67), 1);
	assert_int_equal(front_request_u64(&front, VHOST_USER_NET_SET_MTU, 68), 0);
	assert_int_equal(front_request_u64(&front, VHOST_USER_NET_SET_MTU, 65535), 0);
	assert_int_equal(front_request_u64(&front, VHOST_USER_NET_SET_MTU, 65536), 1);
	assert_int_equal(front_request_u64(&front, VHOST_USER_NET_SET_MTU, BIT(32) + 1500), 1);
	front_close(&front);
}

static void a_guest_that_arrives_is_announced(void **)
{
	uint8_t mac[8] = {0x52, 0x54, 0, 1, 2, 3};
	struct front front;

	open_negotiated(&front);
	assert_int_equal(front_request(&front, VHOST_USER_SEND_RARP, mac, sizeof(mac), NULL, 0), 0);
	assert_int_equal(front.callbacks.announced, 1);
	assert_memory_equal(front.callbacks.announced_mac, mac, 6);
	front_close(&front);
}

static void a_call_is_not_lost_when_its_descriptor_changes(void **)
{
	uint8_t bytes[60] = {0};
	struct vl_frame frame;
	struct front front;

	front_open(&front, &one_pair);
	(void)guest_ring_was_called(&front.rings[1]);
	traffic_send_plain(&front, 1, bytes, sizeof(bytes));
	assert_int_equal(vl_device_borrow(front.device, 0, &frame, 1), 1);
	assert_int_equal(
		front_request_fd(&front, VHOST_USER_SET_VRING_CALL, 1 | VHOST_VRING_NO_FD, -1), 0
	);
	vl_device_give_back(front.device, 0, 1);
	assert_false(guest_ring_was_called(&front.rings[1]));
	assert_int_equal(
		front_request_fd(&front, VHOST_USER_SET_VRING_CALL, 1, front.rings[1].call_fd), 0
	);
	assert_true(guest_ring_was_called(&front.rings[1]));
	front_close(&front);
}

int main(void)
{
	const struct CMUnitTest rings[] = {
		cmocka_unit_test(ring_indices_are_checked_whole),
		cmocka_unit_test(the_no_descriptor_flag_has_to_be_true),
		cmocka_unit_test(a_ring_starts_with_the_kick_message_and_without_a_kick),
		cmocka_unit_test(the_owner_learns_of_kick_descriptors),
		cmocka_unit_test(kicks_come_through_any_kind_of_descriptor),
		cmocka_unit_test(calls_go_through_any_kind_of_descriptor),
		cmocka_unit_test(descriptors_that_may_block_are_refused),
		cmocka_unit_test(a_ring_without_kicks_is_silent),
		cmocka_unit_test(a_queue_that_cannot_go_on_is_counted_no_more),
		cmocka_unit_test(started_and_enabled_are_independent),
		cmocka_unit_test(without_protocol_features_all_rings_are_enabled),
		cmocka_unit_test(pairs_are_used_from_the_first_on_without_a_gap),
		cmocka_unit_test(ring_sizes_are_checked),
		cmocka_unit_test(a_split_ring_has_a_power_of_two),
		cmocka_unit_test(ring_areas_lie_aligned_in_one_region),
		cmocka_unit_test(a_packed_base_lies_in_the_ring),
		cmocka_unit_test(a_ring_may_be_resized_at_any_time),
		cmocka_unit_test(repeated_messages_leak_nothing),
		cmocka_unit_test(set_inflight_is_refused_and_its_descriptor_closed),
	};
	const struct CMUnitTest device[] = {
		cmocka_unit_test(messages_after_a_stop_do_no_harm),
		cmocka_unit_test(reset_device_forgets_all_but_the_memory),
		cmocka_unit_test(reset_owner_does_nothing),
		cmocka_unit_test(the_status_is_kept),
		cmocka_unit_test(the_number_of_queue_pairs_is_told),
		cmocka_unit_test(protocol_features_that_were_not_offered_are_refused),
		cmocka_unit_test(an_mtu_is_taken_from_68_to_65535),
		cmocka_unit_test(a_guest_that_arrives_is_announced),
		cmocka_unit_test(a_call_is_not_lost_when_its_descriptor_changes),
	};

	return cmocka_run_group_tests_name("messages: rings", rings, NULL, NULL)
	       + cmocka_run_group_tests_name("messages: device", device, NULL, NULL);
}
