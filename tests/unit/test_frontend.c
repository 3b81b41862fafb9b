/* SPDX-License-Identifier: BSD-3-Clause */
/* The front-end session against our own back end, which has a thread of its own. How the two find
 * each other is in test_frontend_connect.c, what bad back ends do in test_frontend_misdeeds.c. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "back.h"
#include "check.h"
#include "front.h"
#include "memory/arena.h"
#include "process.h"
#include "vhost/frontend.h"

enum {
	MIB = 1 << 20,
	RING_SIZE = 256,
};

/* ---- both ends ---- */

struct pair {
	struct back back;
	struct frontend *front;
	struct arena arena;
	unsigned descriptors; /* before */
};

static void pair_open(struct pair *pair, uint64_t protocol_wanted)
{
	char reason[FRONTEND_REASON_SIZE] = "";
	int sockets[2];

	pair->descriptors = open_descriptors();
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
	back_start(&pair->back, sockets[1]);
	struct frontend_config config = {
		.socket = sockets[0],
		.timeout_ms = BACK_TIMEOUT_MS,
		.protocol_wanted = protocol_wanted,
	};
	assert_int_equal(frontend_open(&config, &pair->front, reason), 0);
	assert_int_equal(arena_create(2 * MIB, &pair->arena), 0);
}

static void pair_close(struct pair *pair)
{
	frontend_close(pair->front);
	back_stop(&pair->back);
	arena_destroy(&pair->arena);
	assert_int_equal(open_descriptors(), pair->descriptors);
}

/* The i-th part of the arena of `size` bytes as a region; addresses are our own. */
static struct vhost_region part(const struct pair *pair, unsigned i, uint64_t size)
{
	uint64_t address = (uintptr_t)pair->arena.base + i * size;

	return (struct vhost_region){address, size, address, i * size};
}

static void share_all(struct pair *pair)
{
	struct vhost_region region = part(pair, 0, pair->arena.size);

	assert_int_equal(frontend_set_features(pair->front, BIT(VL_F_VERSION_1)), 0);
	assert_int_equal(frontend_set_memory(pair->front, &region, &pair->arena.fd, 1), 0);
}

static struct frontend_ring new_ring(struct pair *pair, unsigned index)
{
	struct arena *arena = &pair->arena;

	return (struct frontend_ring){
		.index = index,
		.size = RING_SIZE,
		.desc = (uintptr_t)arena_take(arena, 16 * RING_SIZE, 16),
		.avail = (uintptr_t)arena_take(arena, 6 + 2 * RING_SIZE, 2),
		.used = (uintptr_t)arena_take(arena, 6 + 8 * RING_SIZE, 4),
		.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
}

static void free_ring(struct frontend_ring *ring)
{
	close(ring->kick_fd);
	close(ring->call_fd);
	close(ring->err_fd);
}

/* ---- what the two agree on ---- */

static void both_ends_agree_on_features(void **)
{
	struct pair pair;

	pair_open(&pair, UINT64_MAX);
	const struct frontend *front = pair.front;
	assert_true(front->offered & BIT(VL_F_VERSION_1));
	assert_true(front->offered & BIT(VL_F_PROTOCOL_FEATURES));
	assert_int_equal(
		front->protocol_features,
		BIT(VL_PROTOCOL_F_MQ) | BIT(VL_PROTOCOL_F_REPLY_ACK) | BIT(VL_PROTOCOL_F_MTU)
			| BIT(VL_PROTOCOL_F_BACKEND_REQ) | BIT(VL_PROTOCOL_F_CONFIG)
			| BIT(VL_PROTOCOL_F_INFLIGHT_SHMFD) | BIT(VL_PROTOCOL_F_CONFIGURE_MEM_SLOTS)
			| BIT(VL_PROTOCOL_F_STATUS)
	);
	assert_int_equal(back_status(&pair.back).protocol_features, front->protocol_features);
	assert_int_equal(front->queue_num, 2);
	assert_int_equal(front->slots_max, FRONTEND_SLOTS_MAX);
	assert_true(front->request_fd >= 0);
	uint64_t features = BIT(VL_F_VERSION_1) | BIT(VL_F_RING_PACKED);
	assert_int_equal(frontend_set_features(pair.front, features), 0);
	assert_int_equal(front->features, features | BIT(VL_F_PROTOCOL_FEATURES));
	assert_int_equal(back_status(&pair.back).features.word[0], features);
	assert_string_equal(front->reason, "");
	pair_close(&pair);
}

static void only_what_is_wanted_is_negotiated(void **)
{
	struct pair pair;

	pair_open(&pair, 0);
	assert_int_equal(pair.front->protocol_features, 0);
	assert_int_equal(pair.front->queue_num, 1);
	assert_int_equal(pair.front->slots_max, VHOST_TABLE_REGIONS_MAX);
	assert_int_equal(pair.front->request_fd, -1);
	assert_int_equal(frontend_set_features(pair.front, BIT(VL_F_VERSION_1)), 0);
	pair_close(&pair);
}

static void a_feature_that_is_not_offered_is_not_sent(void **)
{
	struct pair pair;

	pair_open(&pair, UINT64_MAX);
	assert_int_equal(
		frontend_set_features(pair.front, BIT(VL_F_VERSION_1) | BIT(VL_F_RSS)), -EINVAL
	);
	assert_string_equal(pair.front->reason, "the back end does not offer feature 60 (RSS)");
	assert_int_equal(pair.front->features, 0);
	assert_int_equal(frontend_set_features(pair.front, BIT(VL_F_VERSION_1)), 0);
	pair_close(&pair);
}

/* ---- memory ---- */

static void memory_is_shared_slot_by_slot(void **)
{
	struct pair pair;
	int fds[4];
	struct vhost_region regions[4];

	pair_open(&pair, UINT64_MAX);
	for (unsigned i = 0; i < COUNT_OF(regions); i++) {
		regions[i] = part(&pair, i, MIB / 2);
		fds[i] = pair.arena.fd;
	}
	assert_int_equal(frontend_set_memory(pair.front, regions, fds, 2), 0);
	assert_int_equal(back_status(&pair.back).memory_regions, 2);
	assert_int_equal(frontend_add_memory(pair.front, &regions[2], fds[2]), 0);
	assert_int_equal(back_status(&pair.back).memory_regions, 3);
	assert_int_equal(frontend_remove_memory(pair.front, &regions[0]), 0);
	assert_int_equal(frontend_remove_memory(pair.front, &regions[0]), -EINVAL);
	assert_int_equal(pair.front->region_count, 2);
	/* Another set: two stay, two come. */
	assert_int_equal(frontend_set_memory(pair.front, regions, fds, 4), 0);
	assert_int_equal(back_status(&pair.back).memory_regions, 4);
	assert_int_equal(back_status(&pair.back).memory_size, 2 * MIB);
	assert_int_equal(frontend_set_memory(pair.front, &regions[3], fds, 1), 0);
	assert_int_equal(back_status(&pair.back).memory_regions, 1);
	assert_int_equal(pair.front->regions[0].mmap_offset, regions[3].mmap_offset);
	assert_int_equal(frontend_set_memory(pair.front, NULL, NULL, 0), 0);
	assert_int_equal(back_status(&pair.back).memory_regions, 0);
	pair_close(&pair);
}

static void memory_is_shared_as_a_table(void **)
{
	struct pair pair;
	int fds[9];
	struct vhost_region regions[9];

	pair_open(&pair, UINT64_MAX & ~BIT(VL_PROTOCOL_F_CONFIGURE_MEM_SLOTS));
	for (unsigned i = 0; i < COUNT_OF(regions); i++) {
		regions[i] = part(&pair, i, 65536);
		fds[i] = pair.arena.fd;
	}
	assert_int_equal(frontend_set_memory(pair.front, regions, fds, 9), -ENOSPC);
	assert_int_equal(frontend_set_memory(pair.front, regions, fds, 8), 0);
	assert_int_equal(back_status(&pair.back).memory_regions, 8);
	assert_int_equal(frontend_set_memory(pair.front, regions, fds, 1), 0);
	assert_int_equal(back_status(&pair.back).memory_regions, 1);
	assert_int_equal(pair.front->region_count, 1);
	assert_int_equal(frontend_add_memory(pair.front, &regions[2], fds[2]), -ENOTSUP);
	assert_int_equal(frontend_remove_memory(pair.front, &regions[0]), -ENOTSUP);
	pair_close(&pair);
}

static void slots_end(void **)
{
	struct pair pair;

	pair_open(&pair, UINT64_MAX);
	for (unsigned i = 0; i < FRONTEND_SLOTS_MAX; i++) {
		struct vhost_region region = part(&pair, i, 4096);

		assert_int_equal(frontend_add_memory(pair.front, &region, pair.arena.fd), 0);
	}
	struct vhost_region more = part(&pair, FRONTEND_SLOTS_MAX, 4096);
	assert_int_equal(frontend_add_memory(pair.front, &more, pair.arena.fd), -ENOSPC);
	assert_string_equal(pair.front->reason, "the back end takes 509 memory regions at most");
	assert_int_equal(
		frontend_set_memory(pair.front, NULL, NULL, FRONTEND_SLOTS_MAX + 1), -ENOSPC
	);
	pair_close(&pair);
}

static void a_refusal_is_an_error_and_the_session_goes_on(void **)
{
	struct pair pair;

	pair_open(&pair, UINT64_MAX);
	struct vhost_region region = part(&pair, 0, pair.arena.size), bad = region;
	bad.size += 4096; /* than its file */
	assert_int_equal(frontend_set_memory(pair.front, &bad, &pair.arena.fd, 1), -EIO);
	assert_string_equal(
		pair.front->reason, "the back end refused ADD_MEM_REG; its log may say why"
	);
	assert_int_equal(pair.front->region_count, 0);
	assert_int_equal(frontend_add_memory(pair.front, &region, pair.arena.fd), 0);
	assert_int_equal(frontend_add_memory(pair.front, &region, pair.arena.fd), -EIO);
	assert_int_equal(pair.front->region_count, 1);
	assert_int_equal(frontend_process(pair.front, NULL), 0);
	pair_close(&pair);
}

/* Then the back end has no other way to say it. */
static void without_reply_ack_a_refusal_is_a_hang_up(void **)
{
	struct pair pair;

	pair_open(&pair, UINT64_MAX & ~BIT(VL_PROTOCOL_F_REPLY_ACK));
	struct vhost_region region = part(&pair, 0, pair.arena.size);
	assert_int_equal(frontend_set_memory(pair.front, &region, &pair.arena.fd, 1), 0);
	assert_int_equal(frontend_set_mtu(pair.front, 67), -ECONNRESET);
	assert_string_equal(
		pair.front->reason, "the back end hung up after NET_SET_MTU; its log may say why"
	);
	/* and that stays */
	assert_int_equal(frontend_set_mtu(pair.front, 1500), -ECONNRESET);
	assert_int_equal(frontend_process(pair.front, NULL), -ECONNRESET);
	pair_close(&pair);
}

/* A descriptor of ours that is none: nothing was sent, nothing has happened. */
static void our_own_mistake_ends_nothing(void **)
{
	struct pair pair;

	pair_open(&pair, UINT64_MAX);
	struct vhost_region region = part(&pair, 0, pair.arena.size);
	assert_int_equal(frontend_add_memory(pair.front, &region, 9999), -EBADF);
	assert_string_equal(pair.front->reason, "cannot send ADD_MEM_REG: Bad file descriptor");
	assert_int_equal(frontend_add_memory(pair.front, &region, pair.arena.fd), 0);
	pair_close(&pair);
}

/* ---- rings ---- */

static void start_and_stop(uint64_t protocol_wanted)
{
	struct pair pair;
	uint32_t base = 0;

	pair_open(&pair, protocol_wanted);
	share_all(&pair);
	struct frontend_ring ring = new_ring(&pair, 1);
	ring.base = 5;
	/* What the device finds there: all that was available is used. */
	((uint16_t *)(uintptr_t)ring.avail)[1] = 5;
	((uint16_t *)(uintptr_t)ring.used)[1] = 5;
	assert_int_equal(frontend_start_ring(pair.front, &ring), 0);
	struct vl_queue_status status = back_queue(&pair.back, 1);
	assert_true(status.started);
	assert_false(status.enabled);
	assert_int_equal(status.size, RING_SIZE);
	assert_int_equal(status.avail, 5);
	assert_int_equal(frontend_enable_ring(pair.front, 1, true), 0);
	assert_int_equal(frontend_process(pair.front, NULL), 0);
	assert_true(back_queue(&pair.back, 1).enabled);
	assert_int_equal(frontend_enable_ring(pair.front, 1, false), 0);
	assert_int_equal(frontend_stop_ring(pair.front, 1, &base), 0);
	assert_int_equal(base, 5);
	assert_false(back_queue(&pair.back, 1).started);
	/* Once more, and without descriptors. */
	struct frontend_ring silent = ring;
	silent.kick_fd = silent.call_fd = silent.err_fd = -1;
	assert_int_equal(frontend_start_ring(pair.front, &silent), 0);
	assert_true(back_queue(&pair.back, 1).started);
	assert_int_equal(frontend_stop_ring(pair.front, 1, NULL), 0);
	free_ring(&ring);
	pair_close(&pair);
}

static void rings_start_and_stop(void **)
{
	start_and_stop(UINT64_MAX);
}

static void rings_start_and_stop_without_protocol_features(void **)
{
	start_and_stop(0);
}

static void rings_that_cannot_be_are_refused(void **)
{
	struct pair pair;

	pair_open(&pair, UINT64_MAX);
	share_all(&pair);
	struct frontend_ring ring = new_ring(&pair, 0), bad = ring;
	bad.index = 5; /* the back end has queues 0 to 4 */
	assert_int_equal(frontend_start_ring(pair.front, &bad), -EIO);
	assert_string_equal(
		pair.front->reason, "the back end refused SET_VRING_NUM; its log may say why"
	);
	bad.index = 256;
	assert_int_equal(frontend_start_ring(pair.front, &bad), -EINVAL);
	assert_int_equal(frontend_enable_ring(pair.front, 256, true), -EINVAL);
	assert_int_equal(frontend_stop_ring(pair.front, UINT_MAX, NULL), -EINVAL);
	bad = ring;
	bad.size = 0;
	assert_int_equal(frontend_start_ring(pair.front, &bad), -EIO);
	bad = ring;
	bad.kick_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(frontend_start_ring(pair.front, &bad), -EIO);
	assert_string_equal(
		pair.front->reason, "the back end refused SET_VRING_KICK; its log may say why"
	);
	close(bad.kick_fd);
	assert_int_equal(frontend_start_ring(pair.front, &ring), 0);
	free_ring(&ring);
	pair_close(&pair);
}

/* ---- the device ---- */

static void configuration_space_is_read(void **)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 7};
	struct pair pair;
	uint8_t bytes[VHOST_CONFIG_MAX];
	uint16_t mtu;

	pair_open(&pair, UINT64_MAX);
	assert_int_equal(frontend_set_features(pair.front, BIT(VL_F_VERSION_1)), 0);
	assert_int_equal(frontend_get_config(pair.front, 0, sizeof(mac), bytes), 0);
	assert_memory_equal(bytes, mac, sizeof(mac));
	assert_int_equal(frontend_get_config(pair.front, 10, sizeof(mtu), &mtu), 0);
	assert_int_equal(mtu, 1500);
	assert_int_equal(frontend_get_config(pair.front, 0, VHOST_CONFIG_MAX, bytes), 0);
	assert_int_equal(frontend_get_config(pair.front, 0, 257, bytes), -EINVAL);
	assert_int_equal(frontend_get_config(pair.front, 256, 1, bytes), -EINVAL);
	assert_int_equal(frontend_get_config(pair.front, UINT32_MAX, 2, bytes), -EINVAL);
	assert_int_equal(frontend_get_config(pair.front, 0, 0, bytes), -EINVAL);
	/* All of it is read-only for a driver of today. */
	assert_int_equal(frontend_set_config(pair.front, 0, 6, mac), -EIO);
	pair_close(&pair);
}

static void an_mtu_is_told(void **)
{
	struct pair pair;
	uint16_t mtu = 0;

	pair_open(&pair, UINT64_MAX);
	assert_int_equal(frontend_set_mtu(pair.front, 67), -EIO);
	assert_int_equal(frontend_set_mtu(pair.front, 9000), 0);
	assert_int_equal(frontend_get_config(pair.front, 10, sizeof(mtu), &mtu), 0);
	assert_int_equal(mtu, 9000);
	pair_close(&pair);
}

static void a_status_is_kept(void **)
{
	struct pair pair;
	uint8_t status = 0xff;

	pair_open(&pair, UINT64_MAX);
	assert_int_equal(frontend_get_status(pair.front, &status), 0);
	assert_int_equal(status, 0);
	assert_int_equal(frontend_set_status(pair.front, 0x0b), 0);
	assert_int_equal(frontend_get_status(pair.front, &status), 0);
	assert_int_equal(status, 0x0b);
	pair_close(&pair);
}

static void what_was_not_negotiated_is_not_sent(void **)
{
	struct pair pair;
	struct vhost_inflight inflight = {0};
	uint8_t byte = 1;
	int fd = 0;

	pair_open(&pair, BIT(VL_PROTOCOL_F_REPLY_ACK));
	assert_int_equal(frontend_set_features(pair.front, BIT(VL_F_VERSION_1)), 0);
	assert_int_equal(frontend_set_status(pair.front, 1), 0);
	assert_int_equal(frontend_get_status(pair.front, &byte), 0);
	assert_int_equal(byte, 0);
	assert_int_equal(frontend_set_mtu(pair.front, 1500), -ENOTSUP);
	assert_string_equal(
		pair.front->reason,
		"the back end cannot do this: it does not offer the protocol feature MTU"
	);
	assert_int_equal(frontend_get_config(pair.front, 0, 1, &byte), -ENOTSUP);
	assert_int_equal(frontend_set_config(pair.front, 0, 1, &byte), -ENOTSUP);
	assert_int_equal(frontend_get_inflight(pair.front, 2, 256, &inflight, &fd), -ENOTSUP);
	assert_int_equal(fd, -1);
	assert_int_equal(frontend_set_inflight(pair.front, &inflight, 0), -ENOTSUP);
	assert_string_equal(back_status(&pair.back).last_message, "SET_FEATURES");
	pair_close(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_agree_on_features),
		cmocka_unit_test(only_what_is_wanted_is_negotiated),
		cmocka_unit_test(a_feature_that_is_not_offered_is_not_sent),
		cmocka_unit_test(memory_is_shared_slot_by_slot),
		cmocka_unit_test(memory_is_shared_as_a_table),
		cmocka_unit_test(slots_end),
		cmocka_unit_test(a_refusal_is_an_error_and_the_session_goes_on),
		cmocka_unit_test(without_reply_ack_a_refusal_is_a_hang_up),
		cmocka_unit_test(our_own_mistake_ends_nothing),
		cmocka_unit_test(rings_start_and_stop),
		cmocka_unit_test(rings_start_and_stop_without_protocol_features),
		cmocka_unit_test(rings_that_cannot_be_are_refused),
		cmocka_unit_test(configuration_space_is_read),
		cmocka_unit_test(an_mtu_is_told),
		cmocka_unit_test(a_status_is_kept),
		cmocka_unit_test(what_was_not_negotiated_is_not_sent),
	};

	return cmocka_run_group_tests_name("front-end session", tests, NULL, NULL);
}
