/*
 * test_fiber_many.c - fibers_wait_many(), the waits of an accept loop: what happens is told once
 * and never lost, whoever looks when; descriptors come, go and change. On every poller.
 */
#include "fiber_each.h"
#include "scarce.h"

enum { COUNT = 6 };

struct scene {
	struct ground *g;
	int pipes[COUNT][2];
	struct netd_pollfd fds[COUNT];
	struct io_watch watches[COUNT];
};

static bool scene_open(struct scene *scene, struct ground *g)
{
	*scene = (struct scene){.g = g};
	if (!each_open(g))
		return false;
	for (int i = 0; i < COUNT; i++) {
		assert_int_equal(os_pipe(scene->pipes[i]), 0);
		scene->fds[i] = (struct netd_pollfd){.fd = scene->pipes[i][0], .events = NETD_IN};
	}
	return true;
}

static void scene_close(struct scene *scene)
{
	fibers_forget(scene->watches, COUNT);
	for (int i = 0; i < COUNT; i++) {
		assert_false(scene->watches[i].armed);
		for (int end = 0; end < 2; end++)
			if (scene->pipes[i][end] >= 0)
				close(scene->pipes[i][end]);
	}
}

static int wait_many(struct scene *scene, int64_t ms)
{
	for (int i = 0; i < COUNT; i++)
		scene->fds[i].revents = 0x55; /* not ours */
	return fibers_wait_many(scene->fds, scene->watches, COUNT,
				ms < 0 ? NETD_NEVER : clock_deadline(ms));
}

static void make_ready(struct scene *scene, int number)
{
	ground_put(scene->pipes[number][1]);
}

static void take(struct scene *scene, int number)
{
	char byte;

	assert_int_equal(read(scene->pipes[number][0], &byte, 1), 1);
}

/* These are ready, and no others: as bits. May take several waits. */
static void expect_ready(struct scene *scene, unsigned wanted)
{
	unsigned seen = 0;

	while (seen != wanted) {
		int n = wait_many(scene, 60000), told = 0;

		assert_true(n > 0);
		for (int i = 0; i < COUNT; i++) {
			if (!scene->fds[i].revents)
				continue;
			assert_int_equal(scene->fds[i].revents, NETD_IN);
			seen |= 1U << i;
			told++;
			take(scene, i);
		}
		assert_int_equal(n, told);
		assert_int_equal(seen & ~wanted, 0);
	}
}

static void nothing_happens_until_the_deadline(void **state)
{
	struct scene scene;
	int64_t begin = clock_ms();

	if (!scene_open(&scene, *state))
		return;
	for (int i = 0; i < 3; i++)
		assert_int_equal(wait_many(&scene, 5), 0);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(scene.fds[i].revents, 0);
	assert_true(clock_ms() >= begin + 15);
	scene_close(&scene);
}

static void what_happens_is_told_again_and_again(void **state)
{
	struct scene scene;

	if (!scene_open(&scene, *state))
		return;
	for (unsigned round = 1; round < 64; round++) {
		for (int i = 0; i < COUNT; i++)
			if (round >> i & 1)
				make_ready(&scene, i);
		expect_ready(&scene, round);
	}
	assert_int_equal(wait_many(&scene, 1), 0);
	scene_close(&scene);
}

/* Level, not edge: who takes one byte of two is told again. */
static void what_is_left_is_told_again(void **state)
{
	struct scene scene;

	if (!scene_open(&scene, *state))
		return;
	for (int i = 0; i < 5; i++)
		make_ready(&scene, 2);
	for (int i = 0; i < 5; i++)
		expect_ready(&scene, 1U << 2);
	assert_int_equal(wait_many(&scene, 1), 0);
	scene_close(&scene);
}

static void what_happened_while_nobody_waited_is_told_later(void **state)
{
	struct scene scene;

	if (!scene_open(&scene, *state))
		return;
	assert_int_equal(wait_many(&scene, 0), 0); /* armed from now on */
	make_ready(&scene, 1);
	make_ready(&scene, 4);
	/* The first fiber is woken neither early nor by them. */
	assert_int_equal(netd_sleep(5), 0);
	assert_int_equal(netd_sleep(5), 0);
	expect_ready(&scene, 1U << 1 | 1U << 4);
	scene_close(&scene);
}

static void a_descriptor_may_go_and_another_come(void **state)
{
	struct scene scene;

	if (!scene_open(&scene, *state))
		return;
	assert_int_equal(wait_many(&scene, 0), 0);
	/* As a loop that must not accept just now: not looked at, and not lost. */
	for (int i = 0; i < COUNT; i++)
		scene.fds[i].fd = -1;
	make_ready(&scene, 0);
	make_ready(&scene, 3);
	assert_int_equal(wait_many(&scene, 5), 0);
	for (int i = 0; i < COUNT; i++)
		scene.fds[i].fd = scene.pipes[i][0];
	expect_ready(&scene, 1U << 0 | 1U << 3);
	/* Two change places. */
	scene.fds[0].fd = scene.pipes[1][0];
	scene.fds[1].fd = scene.pipes[0][0];
	make_ready(&scene, 1);
	assert_int_equal(wait_many(&scene, -1), 1);
	assert_int_equal(scene.fds[0].revents, NETD_IN);
	assert_int_equal(scene.fds[1].revents, 0);
	take(&scene, 1);
	scene_close(&scene);
}

static void what_fired_for_a_descriptor_that_went_is_not_told_of_its_successor(void **state)
{
	struct scene scene;

	if (!scene_open(&scene, *state))
		return;
	assert_int_equal(wait_many(&scene, 0), 0);
	make_ready(&scene, 2);
	assert_int_equal(netd_sleep(5), 0); /* its watch fires */
	scene.fds[2].fd = scene.pipes[3][0];
	scene.fds[3].fd = -1;
	assert_int_equal(wait_many(&scene, 5), 0);
	take(&scene, 2);
	scene_close(&scene);
}

/* A listener that was closed, and the number given to another file. */
static void a_closed_descriptor_is_not_mistaken_for_the_next(void **state)
{
	struct scene scene;
	int other;

	if (!scene_open(&scene, *state))
		return;
	assert_int_equal(wait_many(&scene, 0), 0);
	close(scene.pipes[5][0]);
	other = dup(scene.pipes[0][0]);
	assert_int_equal(other, scene.pipes[5][0]);
	scene.fds[5].fd = -1;
	make_ready(&scene, 0);
	expect_ready(&scene, 1U << 0);
	assert_int_equal(wait_many(&scene, 5), 0);
	scene.fds[5].fd = other;
	make_ready(&scene, 0);
	assert_int_equal(netd_sleep(5), 0);
	assert_true(wait_many(&scene, -1) >= 1);
	scene_close(&scene);
}

static void other_events_may_be_wanted_of_the_same_descriptor(void **state)
{
	struct scene scene;

	if (!scene_open(&scene, *state))
		return;
	scene.fds[0] = (struct netd_pollfd){.fd = scene.pipes[0][1], .events = NETD_IN};
	assert_int_equal(wait_many(&scene, 1), 0);
	scene.fds[0].events = NETD_OUT;
	assert_int_equal(wait_many(&scene, 60000), 1);
	assert_int_equal(scene.fds[0].revents, NETD_OUT);
	scene.fds[0].events = NETD_IN;
	assert_int_equal(wait_many(&scene, 1), 0);
	scene_close(&scene);
}

static void what_cannot_be_waited_for_says_so(void **state)
{
	struct scene scene;
	int fd;

	if (!scene_open(&scene, *state))
		return;
	fd = dup(scene.pipes[0][0]);
	close(fd);
	scene.fds[4].fd = fd;
	assert_int_equal(wait_many(&scene, 60000), 1);
	assert_int_equal(scene.fds[4].revents, NETD_FAILED);
	scene.fds[4].fd = scene.pipes[4][0];
	make_ready(&scene, 4);
	expect_ready(&scene, 1U << 4);
	scene_close(&scene);
}

static void without_memory_a_wait_fails_and_the_next_does_not(void **state)
{
	struct scene scene;
	bool spared = false;

	if (!scene_open(&scene, *state))
		return;
	for (long n = 0; !spared; n++) {
		fibers_forget(scene.watches, COUNT);
		memset(scene.watches, 0, sizeof scene.watches);
		make_ready(&scene, 1);
		scarce_from(n);
		assert_in_range(wait_many(&scene, 60000), 1, COUNT);
		spared = scarce_over();
		for (int i = 0; i < COUNT; i++)
			assert_true(i == 1 || !scene.fds[i].revents ||
				    scene.fds[i].revents == NETD_FAILED);
		expect_ready(&scene, 1U << 1);
		assert_true(n < 100);
	}
	scene_close(&scene);
}

struct runner {
	struct ground *g;
	int runs;
};

static void run_on(void *arg)
{
	struct runner *runner = *(struct runner **)arg;

	while (netd_sleep(0) == 0)
		runner->runs++;
}

/* An accept loop that always finds somebody at the door must not keep those inside from running. */
static void who_is_always_ready_lets_others_run(void **state)
{
	struct runner runner = {.g = *state};
	struct scene scene;

	if (!scene_open(&scene, *state))
		return;
	ground_start(scene.g, 0, "", run_on, &runner);
	make_ready(&scene, 0);
	for (int i = 0; i < 200; i++)
		assert_true(wait_many(&scene, -1) >= 1); /* never taken */
	assert_true(runner.runs >= 50);
	/* Nor one that finds something wrong with a door. */
	runner.runs = 0;
	close(scene.pipes[5][0]);
	for (int i = 0; i < 200; i++)
		assert_true(wait_many(&scene, -1) >= 1);
	assert_true(runner.runs >= 50);
	scene.pipes[5][0] = -1;
	fibers_cancel(scene.g->fibers);
	until_left(scene.g, 0);
	scene_close(&scene);
}

static void a_stop_does_not_end_the_first_fibers_waits(void **state)
{
	struct scene scene;

	if (!scene_open(&scene, *state))
		return;
	fibers_cancel(scene.g->fibers);
	assert_int_equal(wait_many(&scene, 5), 0);
	make_ready(&scene, 3);
	expect_ready(&scene, 1U << 3);
	scene_close(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(nothing_happens_until_the_deadline),
	    EACH(what_happens_is_told_again_and_again),
	    EACH(what_is_left_is_told_again),
	    EACH(what_happened_while_nobody_waited_is_told_later),
	    EACH(a_descriptor_may_go_and_another_come),
	    EACH(what_fired_for_a_descriptor_that_went_is_not_told_of_its_successor),
	    EACH(a_closed_descriptor_is_not_mistaken_for_the_next),
	    EACH(other_events_may_be_wanted_of_the_same_descriptor),
	    EACH(what_cannot_be_waited_for_says_so),
	    EACH(without_memory_a_wait_fails_and_the_next_does_not),
	    EACH(who_is_always_ready_lets_others_run),
	    EACH(a_stop_does_not_end_the_first_fibers_waits),
	};

	return cmocka_run_group_tests_name("fiber_many", tests, NULL, NULL);
}
