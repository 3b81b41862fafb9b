/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory that is shared with a device: what it is made of, and what its file lets nobody do. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "memory/arena.h"
#include "process.h"

enum {
	MIB = 1 << 20,
	PAGE = 4096,
};

static void an_arena_is_there_wholly_and_zero(void **)
{
	struct arena arena;
	unsigned char present[6 * MIB / PAGE];
	struct stat status;

	assert_int_equal(arena_create(5 * MIB, &arena), 0);
	assert_int_equal(arena.size, 6 * MIB);
	assert_int_equal(arena.used, 0);
	assert_int_equal(fstat(arena.fd, &status), 0);
	assert_int_equal(status.st_size, arena.size);
	assert_int_equal(fcntl(arena.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(mincore(arena.base, arena.size, present), 0);
	for (size_t i = 0; i < arena.size / PAGE; i++)
		assert_true(present[i] & 1);
	for (size_t i = 0; i < arena.size; i++)
		assert_int_equal(arena.base[i], 0);
	arena_destroy(&arena);
}

static void its_pages_are_what_it_says(void **)
{
	struct arena arena;

	assert_int_equal(arena_create(1, &arena), 0);
	assert_int_equal(arena.size % arena.page_size, 0);
	assert_int_equal(arena.size % (2 * MIB), 0);
	assert_int_equal((uintptr_t)arena.base % arena.page_size, 0);
	print_message("           pages of %zu KiB\n", arena.page_size / 1024);
	arena_destroy(&arena);
}

static void the_file_shows_what_is_written(void **)
{
	struct arena arena;
	uint8_t byte = 0;

	assert_int_equal(arena_create(4 * MIB, &arena), 0);
	uint8_t *other = mmap(NULL, arena.size, PROT_READ | PROT_WRITE, MAP_SHARED, arena.fd, 0);
	assert_true(other != MAP_FAILED);
	arena.base[3 * MIB] = 7;
	byte = other[3 * MIB];
	assert_int_equal(byte, 7);
	other[5] = 9;
	assert_int_equal(arena.base[5], 9);
	munmap(other, arena.size);
	arena_destroy(&arena);
}

static void nobody_can_resize_the_file_or_unseal_it(void **)
{
	struct arena arena;

	assert_int_equal(arena_create(2 * MIB, &arena), 0);
	assert_int_equal(ftruncate(arena.fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(arena.fd, 4 * MIB), -1);
	assert_int_equal(fcntl(arena.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	arena_destroy(&arena);
}

static void pieces_are_aligned_and_do_not_overlap(void **)
{
	static const size_t sizes[] = {1, 64, 100, PAGE, 3, 0, 65536, 1};
	struct arena arena;
	uint8_t *end;

	assert_int_equal(arena_create(2 * MIB, &arena), 0);
	end = arena.base;
	for (size_t alignment = 1; alignment <= 65536; alignment *= 4) {
		for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
			uint8_t *piece = arena_take(&arena, sizes[i], alignment);

			assert_non_null(piece);
			assert_int_equal((uintptr_t)piece % alignment, 0);
			assert_true(piece >= end);
			end = piece + sizes[i];
			assert_true(end <= arena.base + arena.size);
			assert_int_equal(end - arena.base, arena.used);
		}
	}
	arena_destroy(&arena);
}

static void what_does_not_fit_is_not_given(void **)
{
	struct arena arena;

	assert_int_equal(arena_create(2 * MIB, &arena), 0);
	assert_null(arena_take(&arena, arena.size + 1, 1));
	assert_null(arena_take(&arena, SIZE_MAX, 1));
	assert_null(arena_take(&arena, SIZE_MAX - 4095, 4096));
	assert_int_equal(arena.used, 0);
	assert_ptr_equal(arena_take(&arena, 1, 1), arena.base);
	assert_null(arena_take(&arena, arena.size - 1, 2));
	assert_null(arena_take(&arena, 1, (size_t)1 << 62));
	assert_non_null(arena_take(&arena, arena.size - 1, 1));
	assert_null(arena_take(&arena, 1, 1));
	assert_non_null(arena_take(&arena, 0, 1));
	arena_destroy(&arena);
}

static void impossible_sizes_are_refused_and_leave_nothing(void **)
{
	static const struct {
		size_t size;
		int error;
	} cases[] = {
		{0, -EINVAL},
		{SIZE_MAX, -EINVAL},
		{SIZE_MAX - 2 * MIB, -EINVAL},
		{SIZE_MAX / 2, -EINVAL},
		/* more than there is of address space, and of memory anywhere */
		{(size_t)1 << 62, -ENOMEM},
		{(size_t)1 << 46, -ENOMEM},
	};
	unsigned descriptors = open_descriptors();

	for (unsigned i = 0; i < COUNT_OF(cases); i++) {
		struct arena arena;

		assert_int_equal(arena_create(cases[i].size, &arena), cases[i].error);
		assert_null(arena.base);
		assert_null(arena_take(&arena, 1, 1));
		arena_destroy(&arena);
		assert_int_equal(open_descriptors(), descriptors);
	}
}

static void a_limit_is_an_error_and_no_signal(void **)
{
	struct rlimit old, limit;
	struct arena arena;
	unsigned descriptors = open_descriptors();

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = old;
	limit.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	int error = arena_create(2 * MIB, &arena);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(error, -EMFILE);
	arena_destroy(&arena);
	assert_int_equal(open_descriptors(), descriptors);
}

static void nothing_may_be_destroyed(void **)
{
	struct arena arena = {0};

	arena_destroy(NULL);
	arena_destroy(&arena);
	assert_int_equal(arena_create(1, &arena), 0);
	arena_destroy(&arena);
	arena_destroy(&arena);
	assert_true(fcntl(0, F_GETFD) >= 0 || errno == EBADF);
}

/* A process may open a driver and become a daemon then. */
static void a_child_goes_on_with_the_same_memory(void **)
{
	struct arena arena;
	int status;

	assert_int_equal(arena_create(2 * MIB, &arena), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		arena.base[100] = 42;
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(arena.base[100], 42);
	arena_destroy(&arena);
}

static void nothing_leaks(void **)
{
	unsigned descriptors = open_descriptors();

	for (unsigned i = 0; i < 10; i++) {
		struct arena arena;

		assert_int_equal(arena_create(2 * MIB, &arena), 0);
		assert_int_equal(open_descriptors(), descriptors + 1);
		arena_destroy(&arena);
		assert_int_equal(open_descriptors(), descriptors);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_arena_is_there_wholly_and_zero),
		cmocka_unit_test(its_pages_are_what_it_says),
		cmocka_unit_test(the_file_shows_what_is_written),
		cmocka_unit_test(nobody_can_resize_the_file_or_unseal_it),
		cmocka_unit_test(pieces_are_aligned_and_do_not_overlap),
		cmocka_unit_test(what_does_not_fit_is_not_given),
		cmocka_unit_test(impossible_sizes_are_refused_and_leave_nothing),
		cmocka_unit_test(a_limit_is_an_error_and_no_signal),
		cmocka_unit_test(nothing_may_be_destroyed),
		cmocka_unit_test(a_child_goes_on_with_the_same_memory),
		cmocka_unit_test(nothing_leaks),
	};

	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
