/*
 * fiber_diary.h - fibers that write down when they run, for the tests of the scheduler.
 */
#ifndef FIBER_DIARY_H
#define FIBER_DIARY_H

#include "fiber_ground.h"

/* What fibers say, in the order in which they say it. */
struct diary {
	struct ground *g;
	char text[256];
	size_t length;
};

static struct diary diary;

static inline void note(char letter)
{
	if (diary.length < sizeof diary.text - 1)
		diary.text[diary.length++] = letter;
}

static inline int setup(void **state)
{
	int rc = ground_setup(state);

	diary = (struct diary){.g = *state};
	return rc;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, ground_teardown)

static inline uint64_t count_of(const struct ground *g)
{
	struct fibers_use use;

	fibers_get_use(g->fibers, &use);
	return use.fibers;
}

/* Everybody who can run does, until he waits. */
static inline void let_run(void)
{
	assert_int_equal(netd_sleep(0), 0);
}

static inline void note_arg(void *arg)
{
	note(*(const char *)arg);
}

static inline void start_letter(struct ground *g, char letter)
{
	void *room = fiber_new(g->fibers, 0);

	assert_non_null(room);
	fiber_start(g->fibers, room, note_arg, &letter, sizeof letter);
}

struct sleeper {
	struct fiber *fiber;
	int64_t deadline;
	char letter;
	bool deaf;
	int result, again;
};

static inline void park(void *arg)
{
	struct sleeper *sleeper = *(struct sleeper **)arg;

	sleeper->fiber = diary.g->fibers->current;
	sleeper->fiber->is_deaf = sleeper->deaf;
	sleeper->result = fiber_park(diary.g->fibers, sleeper->deadline);
	sleeper->fiber->is_deaf = false;
	note(sleeper->letter);
}

static inline struct sleeper *sleepers_new(struct ground *g, size_t count)
{
	struct sleeper *sleepers = calloc(count, sizeof *sleepers);

	assert_non_null(sleepers);
	for (size_t i = 0; i < count; i++) {
		sleepers[i] =
		    (struct sleeper){.deadline = NETD_NEVER, .letter = (char)('a' + i % 26)};
		ground_start(g, 0, "", park, &sleepers[i]);
	}
	return sleepers;
}

#endif
