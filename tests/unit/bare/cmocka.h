/*
 * cmocka.h - as much of cmocka as test_fiber_context.c needs, for processors that have none here.
 * A check that fails says where and ends the program; the plan tells that tests are missing then.
 */
#ifndef TESTS_UNIT_BARE_CMOCKA_H
#define TESTS_UNIT_BARE_CMOCKA_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct CMUnitTest {
	const char *name;
	void (*run)(void **state);
};

#define cmocka_unit_test(test)                                                                     \
	{                                                                                          \
		.name = #test, .run = (test)                                                       \
	}
#define cmocka_run_group_tests_name(name, tests, set_up, tear_down)                                \
	bare_run(tests, sizeof(tests) / sizeof(tests)[0])

#define assert_true(condition) bare_check(!!(condition), #condition, __FILE__, __LINE__)
#define assert_false(condition) bare_check(!(condition), "not " #condition, __FILE__, __LINE__)
#define assert_int_equal(a, b) assert_true((uintmax_t)(a) == (uintmax_t)(b))
#define assert_non_null(pointer) assert_true((pointer) != NULL)
#define assert_null(pointer) assert_true((pointer) == NULL)
#define assert_in_range(value, least, most)                                                        \
	assert_true((uintmax_t)(value) >= (least) && (uintmax_t)(value) <= (most))

static inline void bare_check(int holds, const char *words, const char *file, int line)
{
	if (holds)
		return;
	printf("# %s:%d: %s\n", file, line, words);
	fflush(stdout);
	_Exit(1);
}

static inline int bare_run(const struct CMUnitTest *tests, size_t count)
{
	printf("1..%zu\n", count);
	for (size_t i = 0; i < count; i++) {
		tests[i].run(NULL);
		printf("ok %zu - %s\n", i + 1, tests[i].name);
		fflush(stdout);
	}
	return 0;
}

#endif
