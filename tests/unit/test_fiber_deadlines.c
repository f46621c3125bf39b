/* test_fiber_deadlines.c - the heap of deadlines, alone and against a naive oracle. */
#include "fiber/sched.h"

#include "scarce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MANY 200

/* A heap with room for its fibers, which all wait without a deadline. */
struct ground {
	struct deadlines deadlines;
	struct fiber fibers[MANY];
};

static int setup(void **state)
{
	struct ground *ground = calloc(1, sizeof *ground);

	if (!ground)
		return -1;
	for (size_t i = 0; i < MANY; i++) {
		ground->fibers[i].state = FIBER_WAITING;
		ground->fibers[i].deadline = NETD_NEVER;
	}
	*state = ground;
	return deadlines_reserve(&ground->deadlines, MANY);
}

static int teardown(void **state)
{
	struct ground *ground = *state;

	deadlines_finish(&ground->deadlines);
	assert_null(ground->deadlines.items);
	free(ground);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static struct fiber *set(struct ground *ground, size_t i, int64_t deadline)
{
	ground->fibers[i].deadline = deadline;
	deadlines_set(&ground->deadlines, &ground->fibers[i]);
	return &ground->fibers[i];
}

/* Every item is not later than its fiber and those below it, and its fiber knows where it is. */
static void check(const struct ground *ground)
{
	const struct deadlines *deadlines = &ground->deadlines;
	uint32_t placed = 0;

	for (uint32_t i = 1; i <= deadlines->count; i++) {
		const struct deadline *item = &deadlines->items[i];

		assert_int_equal(item->fiber->heap_at, i);
		if (item->fiber->state == FIBER_WAITING)
			assert_true(item->at <= item->fiber->deadline);
		if (i > 1)
			assert_true(deadlines->items[i / 2].at <= item->at);
	}
	for (size_t i = 0; i < MANY; i++)
		placed += ground->fibers[i].heap_at != 0;
	assert_int_equal(placed, deadlines->count);
}

static void an_empty_heap_has_no_deadline(void **state)
{
	struct deadlines zero = {0};

	(void)state;
	assert_true(deadlines_next(&zero) == NETD_NEVER);
	assert_null(deadlines_pop(&zero, 0));
	assert_null(deadlines_pop(&zero, NETD_NEVER));
	deadlines_finish(&zero);
}

static void fibers_come_out_in_the_order_of_their_deadlines(void **state)
{
	static const int64_t times[] = {50, 20, 90, 10, 70, 30, 20, 60};
	static const int64_t sorted[] = {10, 20, 20, 30, 50, 60, 70, 90};
	struct ground *ground = *state;

	for (size_t i = 0; i < ARRAY_LEN(times); i++)
		set(ground, i, times[i]);
	check(ground);
	for (size_t i = 0; i < ARRAY_LEN(sorted); i++) {
		struct fiber *fiber;

		assert_int_equal(deadlines_next(&ground->deadlines), sorted[i]);
		fiber = deadlines_pop(&ground->deadlines, NETD_NEVER - 1);
		assert_non_null(fiber);
		assert_int_equal(fiber->deadline, sorted[i]);
		assert_int_equal(fiber->heap_at, 0);
		check(ground);
	}
	assert_null(deadlines_pop(&ground->deadlines, NETD_NEVER - 1));
}

static void nobody_is_popped_before_his_time(void **state)
{
	struct ground *ground = *state;
	struct fiber *fiber = set(ground, 0, 100);

	assert_null(deadlines_pop(&ground->deadlines, 99));
	assert_int_equal(fiber->heap_at, 1);
	assert_ptr_equal(deadlines_pop(&ground->deadlines, 100), fiber);
	assert_int_equal(fiber->heap_at, 0);
}

static void a_deadline_that_is_extended_moves_nothing_until_its_old_time(void **state)
{
	struct ground *ground = *state;
	struct fiber *extended = set(ground, 0, 10), *other = set(ground, 1, 20);

	for (int64_t deadline = 11; deadline <= 100; deadline++) {
		set(ground, 0, deadline);
		assert_int_equal(deadlines_next(&ground->deadlines), 10);
		assert_int_equal(extended->heap_at, 1);
	}
	assert_null(deadlines_pop(&ground->deadlines, 15)); /* now it is put where it belongs */
	assert_int_equal(deadlines_next(&ground->deadlines), 20);
	check(ground);
	assert_ptr_equal(deadlines_pop(&ground->deadlines, 99), other);
	assert_null(deadlines_pop(&ground->deadlines, 99));
	assert_ptr_equal(deadlines_pop(&ground->deadlines, 100), extended);
}

static void an_earlier_deadline_counts_at_once(void **state)
{
	struct ground *ground = *state;

	set(ground, 0, 50);
	set(ground, 1, 40);
	set(ground, 2, 60);
	set(ground, 2, 30);
	assert_int_equal(deadlines_next(&ground->deadlines), 30);
	check(ground);
	assert_ptr_equal(deadlines_pop(&ground->deadlines, 30), &ground->fibers[2]);
}

static void who_does_not_wait_is_taken_out_and_not_woken(void **state)
{
	static const uint8_t states[] = {FIBER_NEW, FIBER_RUNNABLE, FIBER_RUNNING, FIBER_ENDED};
	struct ground *ground = *state;

	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		set(ground, i, 10)->state = states[i];
	set(ground, MANY - 1, 20);
	assert_ptr_equal(deadlines_pop(&ground->deadlines, 20), &ground->fibers[MANY - 1]);
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		assert_int_equal(ground->fibers[i].heap_at, 0);
	assert_true(deadlines_next(&ground->deadlines) == NETD_NEVER);
}

static void who_waits_without_a_deadline_now_is_taken_out(void **state)
{
	struct ground *ground = *state;
	struct fiber *fiber = set(ground, 0, 10);

	fiber->deadline = NETD_NEVER;
	assert_null(deadlines_pop(&ground->deadlines, 10));
	assert_int_equal(fiber->heap_at, 0);
	/* And comes back with the next one. */
	set(ground, 0, 30);
	assert_ptr_equal(deadlines_pop(&ground->deadlines, 30), fiber);
}

static void removing_keeps_the_order(void **state)
{
	struct ground *ground = *state;

	/* The last item, 22, takes the place of 110 and has to go up from there. */
	static const int64_t times[] = {1, 100, 20, 110, 120, 21, 22, 130, 140, 150, 160, 23, 24};

	for (size_t gone = 0; gone < ARRAY_LEN(times); gone++) {
		int64_t before = 0;
		struct fiber *fiber;

		for (size_t i = 0; i < ARRAY_LEN(times); i++)
			set(ground, i, times[i]);
		deadlines_remove(&ground->deadlines, &ground->fibers[gone]);
		assert_int_equal(ground->fibers[gone].heap_at, 0);
		deadlines_remove(&ground->deadlines, &ground->fibers[gone]); /* not there: fine */
		check(ground);
		for (size_t n = 1; n < ARRAY_LEN(times); n++) {
			fiber = deadlines_pop(&ground->deadlines, 1000);
			assert_non_null(fiber);
			assert_true(fiber->deadline >= before);
			assert_true(fiber != &ground->fibers[gone]);
			before = fiber->deadline;
		}
		assert_int_equal(ground->deadlines.count, 0);
	}
}

/* xorshift: the same numbers on every run. */
static uint32_t number(uint32_t *seed, uint32_t below)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed % below;
}

/* All whose deadline has passed, and only those, are popped. */
static void pop_all(struct ground *ground, int64_t now)
{
	struct fiber *fiber;

	while ((fiber = deadlines_pop(&ground->deadlines, now))) {
		assert_true(fiber->state == FIBER_WAITING);
		assert_true(fiber->deadline <= now);
		fiber->deadline = NETD_NEVER;
	}
	for (size_t i = 0; i < MANY; i++)
		if (ground->fibers[i].state == FIBER_WAITING)
			assert_true(ground->fibers[i].deadline > now);
	assert_true(deadlines_next(&ground->deadlines) > now);
}

static void a_long_life_agrees_with_the_oracle(void **state)
{
	struct ground *ground = *state;
	uint32_t seed = 2463534242;
	int64_t now = 0;

	for (int step = 0; step < 20000; step++) {
		uint32_t i = number(&seed, MANY);
		struct fiber *fiber = &ground->fibers[i];

		switch (number(&seed, 8)) {
		case 0:
			now += number(&seed, 50);
			pop_all(ground, now);
			break;
		case 1:
			deadlines_remove(&ground->deadlines, fiber);
			fiber->deadline = NETD_NEVER;
			break;
		case 2: /* woken by something else */
			fiber->state = FIBER_RUNNABLE;
			break;
		case 3: /* waits without one */
			fiber->state = FIBER_WAITING;
			fiber->deadline = NETD_NEVER;
			break;
		default:
			fiber->state = FIBER_WAITING;
			set(ground, i, now + 1 + number(&seed, 300));
			break;
		}
		check(ground);
	}
}

static void room_is_made_by_doubling(void **state)
{
	struct deadlines deadlines = {0};
	uint32_t moves = 0, size = 0;

	(void)state;
	for (uint32_t n = 1; n <= 10000; n++) {
		assert_int_equal(deadlines_reserve(&deadlines, n), 0);
		assert_true(deadlines.size >= n);
		moves += deadlines.size != size;
		size = deadlines.size;
	}
	assert_true(moves <= 15);
	assert_true(size < 20000);
	deadlines_finish(&deadlines);
}

static void no_memory_for_more_leaves_what_is_there(void **state)
{
	struct ground *ground = *state;
	struct fiber *fiber = set(ground, 0, 5);
	uint32_t size = ground->deadlines.size;

	scarce_from(0);
	assert_int_equal(deadlines_reserve(&ground->deadlines, size + 1), -ENOMEM);
	assert_false(scarce_over());
	assert_int_equal(ground->deadlines.size, size);
	scarce_from(0);
	assert_int_equal(deadlines_reserve(&ground->deadlines, size), 0); /* nothing to do */
	assert_true(scarce_over());
	assert_ptr_equal(deadlines_pop(&ground->deadlines, 5), fiber);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_empty_heap_has_no_deadline),
	    TEST(fibers_come_out_in_the_order_of_their_deadlines),
	    TEST(nobody_is_popped_before_his_time),
	    TEST(a_deadline_that_is_extended_moves_nothing_until_its_old_time),
	    TEST(an_earlier_deadline_counts_at_once),
	    TEST(who_does_not_wait_is_taken_out_and_not_woken),
	    TEST(who_waits_without_a_deadline_now_is_taken_out),
	    TEST(removing_keeps_the_order),
	    TEST(a_long_life_agrees_with_the_oracle),
	    TEST(room_is_made_by_doubling),
	    TEST(no_memory_for_more_leaves_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
