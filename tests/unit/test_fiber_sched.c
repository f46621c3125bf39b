/*
 * test_fiber_sched.c - the scheduler: who runs when, who is woken by what, what a stop ends, what
 * there is when memory is not. The test is the first fiber.
 */
#include "fiber_diary.h"
#include "scarce.h"

/* ------------------------------------------------------------------------------------- starting */

static void fibers_run_in_their_order_when_the_caller_waits(void **state)
{
	struct ground *g = *state;

	ground_open(g);
	for (char letter = 'a'; letter <= 'z'; letter++)
		start_letter(g, letter);
	assert_int_equal(diary.length, 0);
	assert_int_equal(count_of(g), 26);
	let_run();
	assert_string_equal(diary.text, "abcdefghijklmnopqrstuvwxyz");
	assert_int_equal(count_of(g), 0);
}

static void start_another(void *arg)
{
	note('1');
	start_letter(diary.g, '2');
	note(*(const char *)arg);
}

static void a_fiber_may_start_others(void **state)
{
	struct ground *g = *state;
	char letter = '!';

	ground_open(g);
	fiber_start(g->fibers, fiber_new(g->fibers, 0), start_another, &letter, 1);
	start_letter(g, 'n');
	let_run();
	let_run();
	assert_string_equal(diary.text, "1!n2");
}

struct lesson {
	void *room;
	size_t size, room_size;
	bool right;
	unsigned char bytes[64];
};

static struct lesson lesson;

static void check_arg(void *arg)
{
	const unsigned char *bytes = arg, *room = lesson.room;

	lesson.right = (uintptr_t)arg % 16 == 0 && (uintptr_t)lesson.room % 16 == 0;
	for (size_t i = 0; i < lesson.size; i++)
		lesson.right = lesson.right && bytes[i] == lesson.bytes[i];
	for (size_t i = 0; i < lesson.room_size; i++)
		lesson.right = lesson.right && room[i] == (unsigned char)(i * 7);
}

static void the_argument_is_a_copy_and_the_room_stays(void **state)
{
	struct ground *g = *state;

	ground_open(g);
	for (size_t size = 0; size <= sizeof lesson.bytes; size++) {
		unsigned char bytes[sizeof lesson.bytes], *room;

		lesson.size = size;
		lesson.room_size = size * 37 % 500;
		lesson.room = room = fiber_new(g->fibers, lesson.room_size);
		assert_non_null(room);
		for (size_t i = 0; i < lesson.room_size; i++)
			room[i] = (unsigned char)(i * 7);
		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i] = lesson.bytes[i] = (unsigned char)(size + i);
		lesson.right = false;
		fiber_start(g->fibers, room, check_arg, bytes, size);
		memset(bytes, 0xee, sizeof bytes);
		let_run();
		assert_true(lesson.right);
	}
}

static void a_fiber_that_is_not_started_is_dropped(void **state)
{
	struct ground *g = *state;
	struct stacks_use before, after;
	char letter = 'x';
	void *room;

	ground_open(g);
	stacks_get_use(g->fibers->stacks, &before);
	for (int i = 0; i < 100; i++) {
		room = fiber_new(g->fibers, 1000);
		assert_int_equal(count_of(g), 1);
		fiber_drop(g->fibers, room);
		assert_int_equal(count_of(g), 0);
	}
	stacks_get_use(g->fibers->stacks, &after);
	assert_int_equal(before.used, after.used);
	/* Once it was started, dropping it does nothing. */
	room = fiber_new(g->fibers, 1000);
	fiber_start(g->fibers, room, note_arg, &letter, 1);
	fiber_drop(g->fibers, room);
	assert_int_equal(count_of(g), 1);
	let_run();
	assert_string_equal(diary.text, "x");
}

static void drop_oneself(void *arg)
{
	void *room = *(void **)arg;

	memset(room, 1, 64);
	fiber_drop(diary.g->fibers, room);
	memset(room, 2, 64);
	netd_sleep(0);
	memset(room, 3, 64);
	note('d');
}

static void who_runs_may_drop_his_own_room_and_keeps_it(void **state)
{
	struct ground *g = *state;
	void *room;

	ground_open(g);
	room = fiber_new(g->fibers, 64);
	fiber_start(g->fibers, room, drop_oneself, &room, sizeof room);
	while (count_of(g) > 0)
		let_run();
	assert_string_equal(diary.text, "d");
}

static void stacks_are_used_again(void **state)
{
	struct ground *g = *state;
	struct stacks_use before, after;

	ground_open(g);
	stacks_get_use(g->fibers->stacks, &before);
	for (int i = 0; i < 2000; i++) {
		start_letter(g, 'x');
		let_run();
	}
	stacks_get_use(g->fibers->stacks, &after);
	assert_int_equal(before.made, after.made);
	assert_int_equal(before.used, after.used);
}

/* ------------------------------------------------------------------------- parking and waking */

static void who_is_woken_first_runs_first_and_hears_the_first_reason(void **state)
{
	struct ground *g = *state;
	struct sleeper *s;

	ground_open(g);
	s = sleepers_new(g, 4);
	let_run();
	fiber_wake(g->fibers, s[2].fiber, 22);
	fiber_wake(g->fibers, s[0].fiber, 20);
	fiber_wake(g->fibers, s[2].fiber, 99);
	fiber_wake(g->fibers, s[3].fiber, -5);
	let_run();
	assert_string_equal(diary.text, "cad");
	assert_int_equal(s[2].result, 22);
	assert_int_equal(s[0].result, 20);
	assert_int_equal(s[3].result, -5);
	fiber_wake(g->fibers, s[1].fiber, 0);
	let_run();
	assert_string_equal(diary.text, "cadb");
	assert_int_equal(count_of(g), 0);
	free(s);
}

static void numbers_tell_who_waits(void **state)
{
	struct ground *g = *state;
	struct fibers_use use;
	struct sleeper *s;
	uint64_t bytes;

	ground_open(g);
	fibers_get_use(g->fibers, &use);
	bytes = use.bytes;
	assert_int_equal(use.waiting, 0);
	s = sleepers_new(g, 100);
	fibers_get_use(g->fibers, &use);
	assert_int_equal(use.fibers, 100);
	assert_int_equal(use.waiting, 0);
	let_run();
	fibers_get_use(g->fibers, &use);
	assert_int_equal(use.waiting, 100);
	assert_int_equal(use.compacted, 0);
	assert_true(use.bytes > bytes);
	for (int i = 0; i < 40; i++)
		fiber_wake(g->fibers, s[i].fiber, 0);
	fibers_get_use(g->fibers, &use);
	assert_int_equal(use.waiting, 60);
	let_run();
	fibers_get_use(g->fibers, &use);
	assert_int_equal(use.fibers, 60);
	assert_int_equal(use.waiting, 60);
	fibers_cancel(g->fibers);
	let_run();
	fibers_get_use(g->fibers, &use);
	assert_int_equal(use.fibers, 0);
	assert_int_equal(use.waiting, 0);
	assert_int_equal(use.bytes, bytes);
	free(s);
}

/* ------------------------------------------------------------------------------------ deadlines */

struct alarms {
	int64_t last;
	int woken;
	bool in_order, early;
};

static struct alarms alarms;

static void wait_till(void *arg)
{
	int64_t deadline = *(int64_t *)arg;
	int rc = fiber_park(diary.g->fibers, deadline);

	alarms.in_order = alarms.in_order && rc == -ETIMEDOUT && deadline >= alarms.last;
	alarms.early = alarms.early || clock_ms() < deadline;
	alarms.last = deadline;
	alarms.woken++;
}

static void hundreds_wake_in_the_order_of_their_deadlines(void **state)
{
	struct ground *g = *state;
	enum { NUMBER = 1000 };
	int64_t now;

	ground_open(g);
	alarms = (struct alarms){.in_order = true};
	now = clock_ms();
	for (int i = 0; i < NUMBER; i++) {
		int64_t deadline = now + i * 617 % NUMBER / 10;

		fiber_start(g->fibers, fiber_new(g->fibers, 0), wait_till, &deadline,
			    sizeof deadline);
	}
	while (alarms.woken < NUMBER)
		assert_int_equal(netd_sleep(20), 0);
	assert_true(alarms.in_order);
	assert_false(alarms.early);
	assert_int_equal(count_of(g), 0);
}

static void park_twice(void *arg)
{
	struct sleeper *sleeper = *(struct sleeper **)arg;

	park(arg);
	sleeper->again = fiber_park(diary.g->fibers, NETD_NEVER);
	note('!');
}

static void a_wait_that_ended_in_time_leaves_no_deadline(void **state)
{
	struct sleeper s = {.letter = 'w'}, *p = &s;
	struct ground *g = *state;

	ground_open(g);
	s.deadline = clock_ms() + 300; /* time enough to be woken before it */
	ground_start(g, 0, "", park_twice, p);
	let_run();
	fiber_wake(g->fibers, s.fiber, 7);
	assert_int_equal(netd_sleep(s.deadline + 25 - clock_ms()), 0);
	assert_string_equal(diary.text, "w");
	assert_int_equal(s.result, 7);
	fiber_wake(g->fibers, s.fiber, 8);
	let_run();
	assert_int_equal(s.again, 8);
	assert_string_equal(diary.text, "w!");
}

static void a_deadline_that_has_passed_still_gives_others_their_turn(void **state)
{
	struct sleeper s = {.letter = 'p', .deadline = 1}, *p = &s;
	struct ground *g = *state;

	ground_open(g);
	ground_start(g, 0, "", park, p);
	start_letter(g, 'o');
	while (count_of(g) > 0)
		let_run();
	assert_string_equal(diary.text, "op");
	assert_int_equal(s.result, -ETIMEDOUT);
}

/* ----------------------------------------------------------------------------------------- stop */

static void sleep_twice(void *arg)
{
	struct sleeper *sleeper = *(struct sleeper **)arg;

	sleeper->result = netd_sleep(100000);
	sleeper->again = netd_sleep(0);
	note('s');
}

static void a_stop_ends_all_waits_and_those_to_come(void **state)
{
	struct sleeper a = {0}, b = {0}, c = {0}, *pa = &a, *pb = &b, *pc = &c;
	struct ground *g = *state;

	ground_open(g);
	ground_start(g, 0, "", sleep_twice, pa);
	let_run();
	ground_start(g, 0, "", sleep_twice, pb); /* runnable, but has not run */
	fibers_cancel(g->fibers);
	ground_start(g, 0, "", sleep_twice, pc); /* a new one after it */
	let_run();
	assert_int_equal(count_of(g), 0);
	assert_int_equal(a.result, -ECANCELED);
	assert_int_equal(b.result, -ECANCELED);
	assert_int_equal(c.result, -ECANCELED);
	assert_int_equal(a.again, -ECANCELED);
	assert_string_equal(diary.text, "sss");
	/* The first fiber goes on waiting for whatever it likes. */
	assert_int_equal(netd_sleep(1), 0);
}

static void a_stop_does_not_end_a_deaf_wait(void **state)
{
	struct sleeper s = {.letter = 'd', .deaf = true, .deadline = NETD_NEVER}, *p = &s;
	struct sleeper late = s, *pl = &late;
	struct ground *g = *state;

	ground_open(g);
	ground_start(g, 0, "", park_twice, p);
	let_run();
	fibers_cancel(g->fibers);
	let_run();
	assert_string_equal(diary.text, "");
	ground_start(g, 0, "", park_twice, pl); /* a deaf wait that begins after the stop */
	let_run();
	assert_string_equal(diary.text, "");
	fiber_wake(g->fibers, s.fiber, 11);
	fiber_wake(g->fibers, late.fiber, 12);
	let_run();
	assert_string_equal(diary.text, "d!d!");
	assert_int_equal(s.result, 11);
	assert_int_equal(late.result, 12);
	assert_int_equal(s.again, -ECANCELED); /* not deaf any more */
	assert_int_equal(late.again, -ECANCELED);
}

static void a_second_stop_changes_nothing(void **state)
{
	struct sleeper s = {0}, *p = &s;
	struct ground *g = *state;

	ground_open(g);
	ground_start(g, 0, "", sleep_twice, p);
	let_run();
	fibers_cancel(g->fibers);
	fibers_cancel(g->fibers);
	let_run();
	fibers_cancel(g->fibers);
	assert_string_equal(diary.text, "s");
}

/* ------------------------------------------------------------------------------------- shortage */

static void without_memory_nothing_is_opened_and_nothing_lost(void **state)
{
	struct ground *g = *state;
	bool spared = false;
	int refused = 0;

	for (long n = 0; !spared; n++) {
		struct err err = {0};
		int rc;

		scarce_from(n);
		rc = fibers_open(&g->fibers, &g->config, &err);
		spared = scarce_over();
		if (rc < 0) {
			refused++;
			assert_int_equal(rc, -ENOMEM);
			assert_non_null(strstr(err.text, strerror(ENOMEM)));
			assert_null(g->fibers);
			assert_ptr_equal(io_get_ops(), &io_blocking);
		} else {
			g->fibers = fibers_close(g->fibers);
		}
		assert_true(n < 1000);
	}
	assert_true(refused >= 3);
}

static void without_memory_there_is_no_fiber_and_all_others_go_on(void **state)
{
	struct ground *g = *state;
	bool spared = false;
	int refused = 0, made;
	void *rooms[300];

	for (long n = 0; !spared; n++) {
		/* A scheduler of its own each time: its tables have to grow again. */
		ground_open(g);
		scarce_from(n);
		for (made = 0; made < 300; made++) {
			rooms[made] = fiber_new(g->fibers, 100);
			if (!rooms[made])
				break;
		}
		spared = scarce_over();
		refused += made < 300;
		assert_int_equal(count_of(g), made);
		while (made > 0)
			fiber_drop(g->fibers, rooms[--made]);
		start_letter(g, 'k');
		let_run();
		assert_string_equal(diary.text, "k");
		diary = (struct diary){.g = g};
		g->fibers = fibers_close(g->fibers);
	}
	assert_true(refused > 3);
}

static void a_poller_that_is_not_there_is_named(void **state)
{
	struct ground *g = *state;
	struct err err = {0};

	g->config.io = "kqueue";
	assert_int_equal(fibers_open(&g->fibers, &g->config, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "kqueue"));
	assert_null(g->fibers);
}

static void each_poller_is_found_by_its_name(void **state)
{
	struct ground *g = *state;

	for (size_t i = 0; pollers[i]; i++) {
		struct err err = {0};

		g->config.io = pollers[i]->name;
		if (fibers_open(&g->fibers, &g->config, &err) < 0) {
			assert_string_not_equal(pollers[i]->name, "poll");
			continue; /* this system does not allow it */
		}
		assert_string_equal(fibers_io_name(g->fibers), pollers[i]->name);
		g->fibers = fibers_close(g->fibers);
	}
	g->config.io = "auto";
	ground_open(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(fibers_run_in_their_order_when_the_caller_waits),
	    TEST(a_fiber_may_start_others),
	    TEST(the_argument_is_a_copy_and_the_room_stays),
	    TEST(a_fiber_that_is_not_started_is_dropped),
	    TEST(who_runs_may_drop_his_own_room_and_keeps_it),
	    TEST(stacks_are_used_again),
	    TEST(who_is_woken_first_runs_first_and_hears_the_first_reason),
	    TEST(numbers_tell_who_waits),
	    TEST(hundreds_wake_in_the_order_of_their_deadlines),
	    TEST(a_wait_that_ended_in_time_leaves_no_deadline),
	    TEST(a_deadline_that_has_passed_still_gives_others_their_turn),
	    TEST(a_stop_ends_all_waits_and_those_to_come),
	    TEST(a_stop_does_not_end_a_deaf_wait),
	    TEST(a_second_stop_changes_nothing),
	    TEST(without_memory_nothing_is_opened_and_nothing_lost),
	    TEST(without_memory_there_is_no_fiber_and_all_others_go_on),
	    TEST(a_poller_that_is_not_there_is_named),
	    TEST(each_poller_is_found_by_its_name),
	};

	return cmocka_run_group_tests_name("fiber_sched", tests, NULL, NULL);
}
