/* SPDX-License-Identifier: BSD-3-Clause */
/* Which queue is moved to which worker. */
#include "switch/balance.h"

#include "check.h"
#include "traffic.h"

static void check_move(
	const struct balance_queue *queues,
	unsigned count,
	unsigned workers,
	unsigned queue,
	unsigned to
)
{
	struct balance_move move = {0};

	assert_true(balance_choose(queues, count, workers, &move));
	assert_int_equal(move.queue, queue);
	assert_int_equal(move.to, to);
}

static void check_no_move(const struct balance_queue *queues, unsigned count, unsigned workers)
{
	struct balance_move move;

	assert_false(balance_choose(queues, count, workers, &move));
}

static void a_queue_of_the_busiest_goes_to_the_least_busy(void **)
{
	const struct balance_queue queues[] = {{0, 0.2}, {1, 0.5}, {1, 0.4}, {2, 0.05}, {3, 0.3}};

	check_move(queues, COUNT_OF(queues), 4, 2, 2);
}

static void what_evens_out_best_is_moved(void **)
{
	const struct balance_queue queues[] = {{0, 0.1}, {0, 0.45}, {0, 0.3}, {0, 0.15}};

	check_move(queues, COUNT_OF(queues), 2, 1, 1);
}

static void one_queue_alone_stays(void **)
{
	const struct balance_queue queues[] = {{0, 1.0}, {1, 0.0}};

	check_no_move(queues, COUNT_OF(queues), 2);
}

static void a_small_gain_is_not_worth_it(void **)
{
	const struct balance_queue queues[] = {{0, 0.5}, {0, 0.08}, {1, 0.49}};

	check_no_move(queues, COUNT_OF(queues), 2);
}

static void workers_with_time_are_left_alone(void **)
{
	const struct balance_queue queues[] = {{0, 0.2}, {0, 0.25}, {1, 0.0}};

	check_no_move(queues, COUNT_OF(queues), 2);
}

static void no_queue_and_one_worker_are_no_trouble(void **)
{
	const struct balance_queue queues[] = {{0, 0.5}, {0, 0.5}};

	check_no_move(NULL, 0, 3);
	check_no_move(queues, COUNT_OF(queues), 1);
}

/* Whatever the loads: moves come to an end, and each makes the two workers it is about more even.
 */
static void moves_come_to_an_end(void **)
{
	enum {
		QUEUES = 20,
		WORKERS = 5,
	};
	struct random random = {5};

	for (unsigned round = 0; round < 1000; round++) {
		struct balance_queue queues[QUEUES];
		struct balance_move move;
		unsigned moves = 0;

		for (unsigned i = 0; i < QUEUES; i++)
			queues[i] = (struct balance_queue
			){random_below(&random, WORKERS), random_below(&random, 1000) / 3000.0};
		while (balance_choose(queues, QUEUES, WORKERS, &move)) {
			assert_true(move.queue < QUEUES && move.to < WORKERS);
			assert_int_not_equal(queues[move.queue].worker, move.to);
			queues[move.queue].worker = move.to;
			assert_true(++moves < 10 * QUEUES);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_queue_of_the_busiest_goes_to_the_least_busy),
		cmocka_unit_test(what_evens_out_best_is_moved),
		cmocka_unit_test(one_queue_alone_stays),
		cmocka_unit_test(a_small_gain_is_not_worth_it),
		cmocka_unit_test(workers_with_time_are_left_alone),
		cmocka_unit_test(no_queue_and_one_worker_are_no_trouble),
		cmocka_unit_test(moves_come_to_an_end),
	};

	return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
