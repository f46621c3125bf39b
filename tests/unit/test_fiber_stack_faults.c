/*
 * test_fiber_stack_faults.c - stacks when the system refuses memory, mappings, guards or advice: no
 * stack, or the second-best way, nothing half-made, and recovery as soon as it is possible.
 */
#include "stack_fixture.h"

static void without_mincore_the_depth_is_found_by_looking(void **state)
{
	char *top = stack_take(stacks);

	(void)state;
	refuse.mincore = true;
	assert_int_equal(stack_measure(stacks, top), 0);
	top[-(ptrdiff_t)(3 * page) + 8] = 1;
	assert_int_equal(stack_measure(stacks, top), 3 * page);
	assert_int_equal(use_now().deepest, 3 * page);
	stack_give(stacks, top);
}

static void memory_that_is_not_released_stays_as_it_is(void **state)
{
	char *top = stack_take(stacks);

	(void)state;
	memset(top - SIZE, 'x', SIZE);
	refuse.advice = MADV_DONTNEED;
	refuse.mmaps = 0;
	stack_release(stacks, top, top);
	for (size_t i = 1; i <= SIZE; i++)
		assert_int_equal(top[-(ptrdiff_t)i], 'x');
	stack_give(stacks, top);
}

/* Everything works up to a limit, and again as soon as it is lifted. */
static void check_limit(long *limit)
{
	size_t made = use_now().made, before = mapped;
	char **tops = take(made);

	for (long n = 0; n < 3; n++) {
		*limit = n * 30; /* in the middle of a slab, too */
		if (limit == &refuse.mmaps)
			*limit = 0;
		assert_null(stack_take(stacks));
		assert_int_equal(mapped, before);
		assert_int_equal(use_now().made, made);
		assert_int_equal(use_now().used, made);
	}
	stack_give(stacks, tops[7]);
	assert_ptr_equal(stack_take(stacks), tops[7]);
	refuse_nothing();
	refuse.advice = GUARD_ADVICE;
	stack_give(stacks, tops[0]);
	tops[0] = stack_take(stacks);
	give(tops, made);
	tops = take(made + 1);
	assert_true(use_now().made > made);
	give(tops, made + 1);
}

static void no_more_memory_is_no_stack_and_it_recovers(void **state)
{
	(void)state;
	check_limit(&refuse.mmaps);
}

static void no_more_mappings_is_no_stack_and_it_recovers(void **state)
{
	(void)state;
	check_limit(&refuse.mprotects);
}

static void an_open_without_memory_leaves_nothing(void **state)
{
	size_t before = mapped;
	bool spared = false;

	(void)state;
	for (long n = 0; !spared; n++) {
		struct stacks *other = NULL;
		int rc;

		scarce_from(n);
		rc = stacks_open(&other, SIZE);
		spared = scarce_over();
		assert_int_equal(rc, spared ? 0 : -ENOMEM);
		assert_int_equal(!other, !spared);
		stacks_close(other);
		assert_int_equal(mapped, before);
		assert_true(n < 20);
	}
}

static void an_open_without_guards_is_refused(void **state)
{
	struct stacks *other = (void *)&page;
	size_t before = mapped;

	(void)state;
	refuse.advice = GUARD_ADVICE;
	refuse.mprotects = 0;
	assert_int_equal(stacks_open(&other, SIZE), -ENOMEM);
	refuse_nothing();
	refuse.mmaps = 0;
	assert_int_equal(stacks_open(&other, SIZE), -ENOMEM);
	assert_ptr_equal(other, &page);
	assert_int_equal(mapped, before);
}

static void growing_without_memory_is_no_stack(void **state)
{
	size_t made = use_now().made;
	char **tops = take(made);

	(void)state;
	for (long n = 0; n < 2; n++) {
		scarce_from(n);
		assert_null(stack_take(stacks));
		assert_false(scarce_over());
	}
	assert_int_equal(use_now().used, made);
	give(tops, made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(without_mincore_the_depth_is_found_by_looking),
	    TEST(memory_that_is_not_released_stays_as_it_is),
	    TEST_OLD(no_more_memory_is_no_stack_and_it_recovers),
	    TEST_OLD(no_more_mappings_is_no_stack_and_it_recovers),
	    TEST(an_open_without_memory_leaves_nothing),
	    TEST(an_open_without_guards_is_refused),
	    TEST(growing_without_memory_is_no_stack),
	};

	return cmocka_run_group_tests_name("fiber_stack_faults", tests, NULL, NULL);
}
