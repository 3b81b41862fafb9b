/* SPDX-License-Identifier: BSD-3-Clause */
/* The MAC table: learning, moving, ageing, flushing, a full table, and readers beside a writer. */
#include "switch/mac_table.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "port/port.h"

enum {
	PORTS = 8,
};

/* A test that fails must not keep it. */
static struct mac_table *macs;

static void table_open(uint32_t size)
{
	macs = mac_table_create(size, PORTS);
	assert_non_null(macs);
}

static void table_close(void)
{
	mac_table_destroy(macs);
	macs = NULL;
}

static int after_test(void **)
{
	table_close();
	return 0;
}

/* The n-th address, in VLAN `vlan`. */
static mac_key key_of(uint32_t n, uint16_t vlan)
{
	const uint8_t mac[6] = {
		0x02, 0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};

	return mac_key_make(mac, vlan);
}

static int32_t look_up(mac_key key)
{
	int32_t position;

	mac_table_lookup(macs, &key, 1, &position);
	return position;
}

/* The port of an address, or PORT_NONE. */
static unsigned port_of(mac_key key)
{
	int32_t position = look_up(key);

	return position == MAC_UNKNOWN ? PORT_NONE : mac_table_port(macs, key, position);
}

static void learn(mac_key key, unsigned port, uint32_t now)
{
	mac_table_learn(macs, key, look_up(key), port, now);
}

static void learn_range(uint32_t first, uint32_t count, unsigned port)
{
	for (uint32_t n = first; n < first + count; n++)
		learn(key_of(n, 1), port, 1);
}

static unsigned count_known(uint32_t first, uint32_t count)
{
	unsigned known = 0;

	for (uint32_t n = first; n < first + count; n++)
		known += port_of(key_of(n, 1)) != PORT_NONE;
	return known;
}

static void on_entry(void *context, const struct mac_entry_info *info)
{
	*(struct mac_entry_info *)context = *info;
}

static void on_counted_entry(void *context, const struct mac_entry_info *)
{
	++*(unsigned *)context;
}

static unsigned count_all(void)
{
	unsigned count = 0;

	mac_table_walk(macs, on_counted_entry, &count);
	return count;
}

/* ---- one address ---- */

static void a_key_holds_vlan_and_address(void **)
{
	const uint8_t mac[6] = {1, 2, 3, 4, 5, 6};

	assert_true(mac_key_make(mac, 0xabc) == UINT64_C(0x0abc060504030201));
}

static void an_address_is_known_when_it_was_learned(void **)
{
	table_open(64);
	assert_int_equal(port_of(key_of(1, 1)), PORT_NONE);
	learn(key_of(1, 1), 3, 1);
	assert_int_equal(port_of(key_of(1, 1)), 3);
	assert_int_equal(port_of(key_of(1, 2)), PORT_NONE);
	assert_int_equal(port_of(key_of(2, 1)), PORT_NONE);
	learn(key_of(1, 2), 4, 1);
	assert_int_equal(port_of(key_of(1, 1)), 3);
	assert_int_equal(port_of(key_of(1, 2)), 4);
	table_close();
}

static void an_address_moves_with_its_owner(void **)
{
	table_open(64);
	for (unsigned i = 0; i < 20; i++) {
		learn(key_of(1, 1), i % PORTS, i);
		assert_int_equal(port_of(key_of(1, 1)), i % PORTS);
		assert_int_equal(count_all(), 1);
	}
	table_close();
}

static void a_fixed_address_neither_moves_nor_ages(void **)
{
	table_open(64);
	assert_int_equal(mac_table_fix(macs, key_of(1, 1), 2, 1), 0);
	learn(key_of(1, 1), 3, 2);
	assert_int_equal(port_of(key_of(1, 1)), 2);
	assert_int_equal(mac_table_age(macs, 1000), 0);
	assert_int_equal(port_of(key_of(1, 1)), 2);
	assert_int_equal(mac_table_fix(macs, key_of(1, 1), 2, 1), 0);
	assert_int_equal(mac_table_fix(macs, key_of(1, 1), 3, 1), -EEXIST);
	assert_int_equal(port_of(key_of(1, 1)), 2);
	table_close();
}

static void fixing_takes_an_address_from_where_it_was_learned(void **)
{
	struct mac_entry_info info;
	table_open(64);
	learn(key_of(1, 1), 3, 5);
	assert_int_equal(mac_table_fix(macs, key_of(1, 1), 2, 7), 0);
	assert_int_equal(port_of(key_of(1, 1)), 2);
	mac_table_walk(macs, on_entry, &info);
	assert_true(info.fixed);
	assert_int_equal(info.port, 2);
	assert_true(info.key == key_of(1, 1));
	table_close();
}

static void what_was_not_seen_lately_ages(void **)
{
	table_open(64);
	for (uint32_t n = 0; n < 10; n++)
		learn(key_of(n, 1), 1, 100 + n);
	learn(key_of(0, 1), 1, 200); /* seen again */
	learn(key_of(1, 1), 2, 200); /* seen elsewhere */
	assert_int_equal(mac_table_age(macs, 100), 0);
	assert_int_equal(mac_table_age(macs, 105), 3);
	assert_int_equal(port_of(key_of(0, 1)), 1);
	assert_int_equal(port_of(key_of(1, 1)), 2);
	assert_int_equal(port_of(key_of(4, 1)), PORT_NONE);
	assert_int_equal(port_of(key_of(5, 1)), 1);
	assert_int_equal(mac_table_age(macs, 201), 7);
	assert_int_equal(count_all(), 0);
	table_close();
}

/* ---- flush ---- */

static void fill_for_flush(void)
{
	table_open(256);
	for (uint32_t n = 0; n < 60; n++)
		learn(key_of(n, (uint16_t)(1 + n % 2)), n % 3, 1);
	for (uint32_t n = 100; n < 106; n++)
		assert_int_equal(
			mac_table_fix(macs, key_of(n, (uint16_t)(1 + n % 2)), n % 3, 1), 0
		);
}

static void a_flush_removes_what_it_names(void **)
{
	static const struct {
		unsigned port;
		int vlan;
		bool fixed;
		size_t removed;
	} cases[] = {
		{PORT_NONE, -1, true, 66},
		{PORT_NONE, -1, false, 60},
		{0, -1, false, 20},
		{0, -1, true, 22},
		{PORT_NONE, 1, false, 30},
		{PORT_NONE, 2, true, 33},
		{1, 1, false, 10},
		{1, 1, true, 11},
		{7, -1, true, 0},
		{PORT_NONE, 0, true, 0},
		{PORT_NONE, 4095, true, 0},
	};

	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		fill_for_flush();
		assert_int_equal(
			mac_table_flush(macs, cases[i].port, cases[i].vlan, cases[i].fixed),
			cases[i].removed
		);
		assert_int_equal(count_all(), 66 - cases[i].removed);
		for (uint32_t n = 0; n < 60; n++) {
			uint16_t vlan = (uint16_t)(1 + n % 2);
			bool gone = (cases[i].port == PORT_NONE || cases[i].port == n % 3)
				    && (cases[i].vlan < 0 || cases[i].vlan == vlan);

			assert_int_equal(port_of(key_of(n, vlan)), gone ? PORT_NONE : n % 3);
		}
		table_close();
	}
}

static void what_was_flushed_can_be_learned_again(void **)
{
	table_open(64);
	for (unsigned round = 0; round < 200; round++) {
		learn_range(round, 64, round % PORTS);
		assert_int_equal(count_known(round, 64), 64);
		assert_int_equal(mac_table_flush(macs, PORT_NONE, -1, false), 64);
		assert_int_equal(count_all(), 0);
	}
	table_close();
}

/* ---- a full table ---- */

static void a_full_table_gives_up_the_oldest_of_the_fullest_port(void **)
{
	table_open(64);
	learn_range(0, 40, 1);
	learn_range(1000, 24, 2);
	learn_range(2000, 5, 3);
	assert_int_equal(count_all(), 64);
	assert_int_equal(count_known(0, 5), 0);
	assert_int_equal(count_known(5, 35), 35);
	assert_int_equal(count_known(1000, 24), 24);
	assert_int_equal(count_known(2000, 5), 5);
	table_close();
}

static void a_flood_hurts_its_sender_alone(void **)
{
	table_open(256);
	learn_range(0, 40, 1);
	learn_range(1000, 40, 2);
	learn_range(100000, 20000, 3);
	assert_int_equal(count_all(), 256);
	assert_int_equal(count_known(0, 40), 40);
	assert_int_equal(count_known(1000, 40), 40);
	assert_int_equal(count_known(100000, 20000), 176);
	/* and another can still come */
	learn_range(2000, 40, 4);
	assert_int_equal(count_known(2000, 40), 40);
	assert_int_equal(count_known(0, 40), 40);
	table_close();
}

static void two_floods_share(void **)
{
	table_open(256);
	learn_range(0, 20, 1);
	for (uint32_t n = 0; n < 10000; n++)
		learn(key_of(100000 + n, 1), 2 + n % 2, 1);
	assert_int_equal(count_known(0, 20), 20);
	assert_int_equal(mac_table_flush(macs, 2, -1, false) / 10, 118 / 10);
	table_close();
}

static void a_port_that_moves_all_addresses_to_itself_pays_for_them(void **)
{
	table_open(64);
	learn_range(0, 30, 1);
	learn_range(1000, 34, 2);
	learn_range(0, 30, 2); /* "stolen" */
	learn_range(2000, 10, 3);
	assert_int_equal(count_known(2000, 10), 10);
	assert_int_equal(count_all(), 64);
	table_close();
}

static void a_table_full_of_fixed_addresses_takes_no_more(void **)
{
	table_open(64);
	for (uint32_t n = 0; n < 64; n++)
		assert_int_equal(mac_table_fix(macs, key_of(n, 1), n % PORTS, 1), 0);
	assert_int_equal(mac_table_fix(macs, key_of(100, 1), 1, 1), -ENOSPC);
	learn(key_of(100, 1), 1, 1);
	assert_int_equal(port_of(key_of(100, 1)), PORT_NONE);
	assert_int_equal(count_known(0, 64), 64);
	table_close();
}

/* The port with the most entries may have none that can be given up. */
static void fixed_addresses_of_one_port_do_not_stop_learning(void **)
{
	table_open(64);
	for (uint32_t n = 0; n < 40; n++)
		assert_int_equal(mac_table_fix(macs, key_of(n, 1), 1, 1), 0);
	learn_range(1000, 24, 2);
	learn_range(2000, 5, 3);
	assert_int_equal(count_known(2000, 5), 5);
	assert_int_equal(count_known(0, 40), 40);
	table_close();
}

/* ---- size ---- */

static void sixty_four_thousand_addresses_fit(void **)
{
	enum {
		SIZE = 65536,
	};
	table_open(SIZE);
	for (uint32_t n = 0; n < SIZE; n++)
		learn(key_of(n, 1), n % PORTS, n);
	for (uint32_t n = 0; n < SIZE; n += MAC_BURST_MAX) {
		mac_key keys[MAC_BURST_MAX];
		int32_t positions[MAC_BURST_MAX];

		/* Every second one is not there. */
		for (uint32_t i = 0; i < MAC_BURST_MAX; i++)
			keys[i] = key_of(n + i, i % 2 ? 9 : 1);
		mac_table_lookup(macs, keys, MAC_BURST_MAX, positions);
		for (uint32_t i = 0; i < MAC_BURST_MAX; i++) {
			if (i % 2)
				assert_int_equal(positions[i], MAC_UNKNOWN);
			else
				assert_int_equal(
					mac_table_port(macs, keys[i], positions[i]), (n + i) % PORTS
				);
		}
	}
	assert_int_equal(count_all(), SIZE);
	assert_int_equal(mac_table_age(macs, SIZE / 2), SIZE / 2);
	assert_int_equal(count_known(SIZE / 2, SIZE / 2), SIZE / 2);
	/* One port's flood through a table of this size. */
	learn_range(1000000, 100000, 0);
	assert_int_equal(count_all(), SIZE);
	assert_int_equal(port_of(key_of(SIZE / 2 + 1, 1)), 1);
	table_close();
}

static void no_lookup_is_no_lookup(void **)
{
	table_open(64);
	mac_table_lookup(macs, NULL, 0, NULL);
	table_close();
	mac_table_destroy(NULL);
}

/* ---- what is removed ---- */

static void a_position_says_nothing_of_who_had_it_before(void **)
{
	mac_key key = key_of(1, 5);

	table_open(64);
	learn(key, 3, 10);
	int32_t position = look_up(key);
	assert_int_equal(mac_table_port(macs, key, position), 3);
	assert_int_equal(mac_table_flush(macs, 3, -1, false), 1);
	assert_int_equal(port_of(key), PORT_NONE);
	assert_int_equal(mac_table_port(macs, key, position), PORT_NONE);
	/* Its place is somebody else's now, or will be. */
	learn_range(100, 64, 4);
	assert_int_equal(mac_table_port(macs, key, position), PORT_NONE);
	assert_int_equal(port_of(key), PORT_NONE);
	/* What it is told, it learns anew. */
	mac_table_learn(macs, key, position, 6, 20);
	assert_int_equal(port_of(key), 6);
	assert_int_equal(count_all(), 64);
	table_close();
}

/* Places that were left are found again, and what went past them still is. */
static void a_table_answers_as_a_list_does(void **)
{
	enum {
		KEYS = 700, /* more than fit */
		SIZE = 512,
		ROUNDS = 40000,
	};
	static uint8_t ports[KEYS]; /* and 1 */
	uint32_t random = 1;
	unsigned count = 0;

	memset(ports, 0, sizeof(ports));
	table_open(SIZE);
	for (unsigned round = 0; round < ROUNDS; round++) {
		random = random * 1664525 + 1013904223;
		unsigned n = (random >> 8) % KEYS, port = random >> 28 & (PORTS - 1);
		mac_key key = key_of(n, (uint16_t)(n % 3));

		assert_int_equal(port_of(key), ports[n] == 0 ? PORT_NONE : ports[n] - 1u);
		if ((random >> 18 & 255) == 0) {
			(void)mac_table_flush(macs, port, -1, false);
			for (unsigned i = 0; i < KEYS; i++) {
				if (ports[i] != port + 1)
					continue;
				ports[i] = 0;
				count--;
			}
		} else if (count < SIZE || ports[n] != 0) {
			learn(key, port, round);
			count += ports[n] == 0;
			ports[n] = (uint8_t)(port + 1);
		}
	}
	assert_true(count > SIZE / 2);
	assert_int_equal(count_all(), count);
	table_close();
}

/* ---- a reader beside a writer ---- */

enum {
	STEADY = 500, /* addresses that stay */
};

struct reading {
	atomic_bool stop;
	atomic_uint rounds;
	unsigned lost, wrong;
};

/* Steady addresses have to be found at any moment; of those that come and go (port 7 always) the
 * port has to be right. */
static void *read_on(void *context)
{
	struct reading *reading = context;
	uint32_t n = 0;

	while (!atomic_load(&reading->stop)) {
		mac_key keys[MAC_BURST_MAX];
		int32_t positions[MAC_BURST_MAX];

		for (unsigned i = 0; i < MAC_BURST_MAX; i++)
			keys[i] = i % 2 ? key_of((n + i) % STEADY, 1) : key_of(10000 + n + i, 1);
		mac_table_lookup(macs, keys, MAC_BURST_MAX, positions);
		for (unsigned i = 0; i < MAC_BURST_MAX; i++) {
			unsigned wanted = i % 2 ? (n + i) % STEADY % 7 : 7;

			if (positions[i] == MAC_UNKNOWN) {
				reading->lost += i % 2;
				continue;
			}
			unsigned port = mac_table_port(macs, keys[i], positions[i]);
			if (port != wanted && (i % 2 || port != PORT_NONE))
				reading->wrong++;
			mac_table_learn(macs, keys[i], positions[i], wanted, n / 1000);
		}
		n = (n + MAC_BURST_MAX) % 3000;
		atomic_fetch_add(&reading->rounds, 1);
	}
	return NULL;
}

static void readers_find_what_is_there_while_others_change(void **)
{
	struct reading reading = {0};
	pthread_t thread;

	table_open(2048);
	for (uint32_t n = 0; n < STEADY; n++)
		assert_int_equal(mac_table_fix(macs, key_of(n, 1), n % 7, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, read_on, &reading), 0);
	for (unsigned round = 0; round < 60 || atomic_load(&reading.rounds) < 100; round++) {
		uint32_t first = 10000 + round * 37 % 3000;

		learn_range(first, 700, 7);
		if (round % 5 == 0)
			(void)mac_table_flush(macs, 7, -1, false);
		if (round % 7 == 0)
			(void)mac_table_age(macs, 2);
	}
	atomic_store(&reading.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(reading.lost, 0);
	assert_int_equal(reading.wrong, 0);
	assert_int_equal(count_known(0, STEADY), STEADY);
	table_close();
}

#define TEST(function) cmocka_unit_test_teardown(function, after_test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_holds_vlan_and_address),
		TEST(an_address_is_known_when_it_was_learned),
		TEST(an_address_moves_with_its_owner),
		TEST(a_fixed_address_neither_moves_nor_ages),
		TEST(fixing_takes_an_address_from_where_it_was_learned),
		TEST(what_was_not_seen_lately_ages),
		TEST(a_flush_removes_what_it_names),
		TEST(what_was_flushed_can_be_learned_again),
		TEST(a_full_table_gives_up_the_oldest_of_the_fullest_port),
		TEST(a_flood_hurts_its_sender_alone),
		TEST(two_floods_share),
		TEST(a_port_that_moves_all_addresses_to_itself_pays_for_them),
		TEST(a_table_full_of_fixed_addresses_takes_no_more),
		TEST(fixed_addresses_of_one_port_do_not_stop_learning),
		TEST(sixty_four_thousand_addresses_fit),
		TEST(no_lookup_is_no_lookup),
		TEST(a_position_says_nothing_of_who_had_it_before),
		TEST(a_table_answers_as_a_list_does),
		TEST(readers_find_what_is_there_while_others_change),
	};

	return cmocka_run_group_tests_name("MAC table", tests, NULL, NULL);
}
