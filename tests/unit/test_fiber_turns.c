/*
 * test_fiber_turns.c - how fibers and threads share the one scheduler: turns are fair, much stack
 * is had elsewhere, other threads are heard, thousands are no trouble. The test is the first
 * fiber.
 */
#include "fiber/sanitizer.h"
#include "fiber_diary.h"
#include "scarce.h"

#include <sys/socket.h>

/* ------------------------------------------------------------------------------------- fairness */

struct greedy {
	int fd;
	struct io_handle handle; /* of the same descriptor */
	int calls, most, since;  /* in a row */
	bool stop;
	int (*take)(struct greedy *greedy);
};

static int take_poll(struct greedy *greedy)
{
	struct netd_pollfd wait = {.fd = greedy->fd, .events = NETD_OUT};

	return netd_poll(&wait, 1, NETD_NEVER);
}

static int take_nothing(struct greedy *greedy)
{
	struct iovec none = {.iov_base = NULL};

	return io_get_ops()->send(&greedy->handle, &none, 0, NETD_NEVER) < 0 ? -1 : 1;
}

static void be_greedy(void *arg)
{
	struct greedy *greedy = *(struct greedy **)arg;

	while (!greedy->stop && greedy->calls < 100000 && greedy->take(greedy) == 1) {
		greedy->calls++;
		if (++greedy->since > greedy->most)
			greedy->most = greedy->since;
	}
	note('g');
}

static void take_turns(void *arg)
{
	struct greedy *greedy = *(struct greedy **)arg;

	for (int i = 0; i < 20; i++) {
		netd_sleep(0);
		greedy->since = 0;
	}
	greedy->stop = true;
	note('t');
}

static void see_fair(struct ground *g, int (*take)(struct greedy *greedy))
{
	struct greedy greedy = {.take = take}, *p = &greedy;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	greedy.fd = greedy.handle.fd = pair[0];
	ground_start(g, 0, "", be_greedy, p);
	ground_start(g, 0, "", take_turns, p);
	while (count_of(g) > 0)
		let_run();
	assert_true(greedy.calls >= 20);
	/* A handful of turns more: the other one waits for the poller as well. */
	assert_in_range(greedy.most, 1, 64 * 3);
	io_get_ops()->close(&greedy.handle);
	close(pair[1]);
	assert_string_equal(diary.text, "tg");
}

/* Again and again, after the deadline. */
static int take_late(struct greedy *greedy)
{
	char byte;

	return io_get_ops()->recv(&greedy->handle, &byte, 1, 1) == -ETIMEDOUT ? 1 : -1;
}

static void who_never_has_to_wait_gives_way(void **state)
{
	static int (*const takes[])(struct greedy *) = {take_poll, take_nothing, take_late};
	struct ground *g = *state;

	ground_open(g);
	for (size_t i = 0; i < ARRAY_LEN(takes); i++) {
		diary.length = 0;
		memset(diary.text, 0, sizeof diary.text);
		see_fair(g, takes[i]);
	}
}

static void who_never_has_to_wait_hears_of_a_stop(void **state)
{
	struct greedy greedy = {.take = take_poll}, *p = &greedy;
	struct ground *g = *state;

	ground_open(g);
	greedy.fd = g->done[1];
	ground_start(g, 0, "", be_greedy, p);
	let_run();
	assert_true(greedy.calls > 0);
	assert_int_equal(count_of(g), 1);
	fibers_cancel(g->fibers);
	let_run();
	assert_int_equal(count_of(g), 0);
}

/* Calls as long as he may; what they say is nothing to him. */
struct stubborn {
	struct io_handle handle;
	int calls;
	bool stop;
	int (*call)(struct stubborn *stubborn);
};

static int call_sleep(struct stubborn *stubborn)
{
	(void)stubborn;
	return netd_sleep(1000);
}

static int call_read(struct stubborn *stubborn)
{
	char byte;

	return (int)io_get_ops()->recv(&stubborn->handle, &byte, 1, NETD_NEVER);
}

/* Straight into a wait, as it is when something posted is still under way. */
static int call_park(struct stubborn *stubborn)
{
	(void)stubborn;
	return fiber_park(fibers_here, NETD_NEVER);
}

static void be_stubborn(void *arg)
{
	struct stubborn *stubborn = *(struct stubborn **)arg;

	while (!stubborn->stop && stubborn->calls < 100000)
		if (stubborn->call(stubborn) == -ECANCELED)
			stubborn->calls++;
}

static void stop_the_other(void *arg)
{
	struct stubborn *stubborn = *(struct stubborn **)arg;

	netd_sleep(100000);
	stubborn->stop = true;
}

static void who_takes_no_notice_of_a_stop_lets_others_end(void **state)
{
	static int (*const calls[])(struct stubborn *) = {call_sleep, call_read, call_park};
	struct ground *g = *state;

	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		struct stubborn stubborn = {.call = calls[i]}, *p = &stubborn;
		int pair[2];

		ground_open(g);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		stubborn.handle.fd = pair[0];
		ground_start(g, 0, "", be_stubborn, p);
		ground_start(g, 0, "", stop_the_other, p);
		let_run();
		fibers_cancel(g->fibers);
		while (count_of(g) > 0)
			let_run();
		assert_true(stubborn.stop);
		assert_in_range(stubborn.calls, 1, 64 * 3);
		io_get_ops()->close(&stubborn.handle);
		close(pair[1]);
		g->fibers = fibers_close(g->fibers);
	}
}

/* --------------------------------------------------------------------------- exceptions of C++ */

static _Thread_local struct caught caught;

/* As the run-time library of C++ has it. */
// NOLINTNEXTLINE(bugprone-reserved-identifier)
void *__cxa_get_globals(void);
// NOLINTNEXTLINE(bugprone-reserved-identifier)
void *__cxa_get_globals(void)
{
	return &caught;
}

/* The three ways to leave a fiber. */
static void leave_by_park(void)
{
	netd_sleep(1);
}

static void leave_by_turn(void)
{
	fibers_here->budget = 1;
	assert_int_equal(fiber_may_go_on(fibers_here), 0);
}

static void see_none(void *arg)
{
	(void)arg;
	assert_null(caught.exceptions);
	assert_int_equal(caught.thrown, 0);
}

static void leave_aside(void)
{
	io_get_ops()->aside(see_none, NULL);
}

/* Inside of a catch: nobody else sees this exception, and nobody takes it away. */
static void catch_and_leave(void *arg)
{
	static void (*const ways[])(void) = {leave_by_park, leave_by_turn, leave_aside};
	char mine;

	(void)arg;
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		see_none(NULL);
		caught = (struct caught){&mine, 1};
		ways[i]();
		assert_ptr_equal(caught.exceptions, &mine);
		assert_int_equal(caught.thrown, 1);
		caught = (struct caught){0};
	}
	caught.exceptions = &mine; /* left behind by a longjmp(3) */
}

static void exceptions_stay_with_their_fiber(void **state)
{
	struct ground *g = *state;

	ground_open(g);
	for (int i = 0; i < 3; i++)
		ground_start(g, 0, "", catch_and_leave, NULL);
	caught = (struct caught){g, 2}; /* the first fiber has one, too */
	while (count_of(g) > 0)
		let_run();
	assert_ptr_equal(caught.exceptions, g);
	assert_int_equal(caught.thrown, 2);
	caught = (struct caught){0};
}

/* ---------------------------------------------------------------------------------------- aside */

struct errand {
	const char *stack; /* somewhere on the stack it ran on */
	int runs, inner;
};

__attribute__((noinline)) static const char *here(void)
{
	return __builtin_frame_address(0);
}

static void inner_errand(void *arg)
{
	((struct errand *)arg)->inner++;
}

static void run_errand(void *arg)
{
	struct errand *errand = arg;
	char room[8192]; /* more than fibers would like */

	memset(room, errand->runs, sizeof room);
	errand->stack = here();
	errand->runs += room[100] == (char)errand->runs;
	io_get_ops()->aside(inner_errand, errand);
}

static bool is_on(const struct ground *g, const char *address, const char *top)
{
	return address < top && address >= top - stack_size(g->fibers->stacks);
}

static void send_aside(void *arg)
{
	struct errand *errand = *(struct errand **)arg;

	for (int i = 0; i < 100; i++)
		io_get_ops()->aside(run_errand, errand);
	note(is_on(diary.g, here(), diary.g->fibers->current->context.top) ? 'y' : 'n');
}

static void what_needs_much_stack_runs_on_the_schedulers(void **state)
{
	struct errand errand = {0}, *p = &errand;
	struct ground *g = *state;

	ground_open(g);
	ground_start(g, 0, "", send_aside, p);
	let_run();
	assert_int_equal(errand.runs, 100);
	assert_int_equal(errand.inner, 100);
	assert_true(is_on(g, errand.stack, g->fibers->stack));
	assert_string_equal(diary.text, "y");
	/* The first fiber has a large one of its own. */
	io_get_ops()->aside(run_errand, &errand);
	assert_false(is_on(g, errand.stack, g->fibers->stack));
}

/* --------------------------------------------------------------------------------- other threads
 */

enum { CALLERS = 4, CALLS = 500 };

struct caller {
	struct ground *g;
	pthread_t thread;
	int number, next; /* the call that must come next */
	bool right;
};

struct order {
	struct caller *caller;
	int number;
};

static _Atomic int orders_done;

static void count_order(void *arg)
{
	(void)arg;
	if (atomic_fetch_add(&orders_done, 1) + 1 == CALLERS * CALLS)
		ground_put(diary.g->done[1]);
}

/* On the scheduler's thread. */
static void take_order(void *arg)
{
	struct order *order = arg;
	struct caller *caller = order->caller;
	struct fibers *fibers = caller->g->fibers;
	void *room = fiber_new(fibers, 0);

	caller->right = caller->right && fibers_is_here(fibers) && !fibers_is_first() &&
			order->number == caller->next++ && room;
	free(order);
	if (room)
		fiber_start(fibers, room, count_order, "", 0);
}

static void *give_orders(void *arg)
{
	struct caller *caller = arg;

	if (fibers_is_here(caller->g->fibers) || !fibers_is_first())
		abort();
	for (int i = 0; i < CALLS; i++) {
		struct order *order = malloc(sizeof *order);

		if (!order)
			abort();
		*order = (struct order){.caller = caller, .number = i};
		if (fibers_call(caller->g->fibers, take_order, order) < 0)
			abort();
	}
	return NULL;
}

static void calls_of_other_threads_are_made_in_their_order_and_start_fibers(void **state)
{
	struct ground *g = *state;
	struct caller callers[CALLERS];

	ground_open(g);
	atomic_store(&orders_done, 0);
	for (int i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){.g = g, .number = i, .right = true};
		assert_int_equal(pthread_create(&callers[i].thread, NULL, give_orders, &callers[i]),
				 0);
	}
	ground_take(g->done[0], 1);
	for (int i = 0; i < CALLERS; i++) {
		pthread_join(callers[i].thread, NULL);
		assert_true(callers[i].right);
		assert_int_equal(callers[i].next, CALLS);
	}
	assert_int_equal(count_of(g), 0);
}

static void call_oneself(void *arg)
{
	(void)arg;
	note('c');
}

static void a_call_of_ones_own_thread_is_made_later(void **state)
{
	struct ground *g = *state;
	int64_t until;

	ground_open(g);
	assert_int_equal(fibers_call(g->fibers, call_oneself, NULL), 0);
	assert_int_equal(diary.length, 0);
	until = clock_ms() + 10000;
	while (diary.length == 0 && clock_ms() < until)
		let_run();
	assert_string_equal(diary.text, "c");
	/* Two that nobody waits for any more are not made; nothing is lost (LeakSanitizer). */
	assert_int_equal(fibers_call(g->fibers, call_oneself, NULL), 0);
	assert_int_equal(fibers_call(g->fibers, call_oneself, NULL), 0);
	g->fibers = fibers_close(g->fibers);
	assert_string_equal(diary.text, "c");
}

static void who_is_no_fiber_is_called_the_first(void **state)
{
	struct ground *g = *state;

	assert_true(fibers_is_first());
	ground_open(g);
	assert_true(fibers_is_first());
	assert_true(fibers_is_here(g->fibers));
	g->fibers = fibers_close(g->fibers);
	assert_true(fibers_is_first());
	assert_ptr_equal(io_get_ops(), &io_blocking);
	assert_null(fibers_close(NULL));
}

/* ------------------------------------------------------------------------------- being published
 */

static void publish(void *arg, const struct fibers_use *use)
{
	struct ground *g = arg;

	if (use->waiting == 3)
		ground_put(g->done[1]);
}

static void numbers_are_told_now_and_then(void **state)
{
	struct ground *g = *state;
	struct sleeper *s;

	g->config.publish = publish;
	g->config.arg = g;
	g->config.compact_ms = 10; /* and so often is there a tick */
	ground_open(g);
	s = sleepers_new(g, 3);
	ground_take(g->done[0], 1);
	fibers_cancel(g->fibers);
	let_run();
	g->config.publish = NULL;
	free(s);
}

static void a_call_without_memory_is_refused(void **state)
{
	struct ground *g = *state;

	ground_open(g);
	scarce_from(0);
	assert_int_equal(fibers_call(g->fibers, call_oneself, NULL), -ENOMEM);
	assert_false(scarce_over());
}

static void thousands_of_fibers(void **state)
{
	enum { NUMBER = SANITIZER_THREAD ? 2000 : 10000 }; /* to it, each is a thread */
	struct ground *g = *state;
	struct sleeper *s;

	g->config.stack_size = 16384;
	ground_open(g);
	s = sleepers_new(g, NUMBER);
	let_run();
	for (int i = NUMBER - 1; i >= 0; i--)
		fiber_wake(g->fibers, s[i].fiber, i);
	let_run();
	assert_int_equal(count_of(g), 0);
	for (int i = 0; i < NUMBER; i++)
		assert_int_equal(s[i].result, i);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(who_never_has_to_wait_gives_way),
	    TEST(who_never_has_to_wait_hears_of_a_stop),
	    TEST(who_takes_no_notice_of_a_stop_lets_others_end),
	    TEST(exceptions_stay_with_their_fiber),
	    TEST(what_needs_much_stack_runs_on_the_schedulers),
	    TEST(calls_of_other_threads_are_made_in_their_order_and_start_fibers),
	    TEST(a_call_of_ones_own_thread_is_made_later),
	    TEST(who_is_no_fiber_is_called_the_first),
	    TEST(numbers_are_told_now_and_then),
	    TEST(a_call_without_memory_is_refused),
	    TEST(thousands_of_fibers),
	};

	return cmocka_run_group_tests_name("fiber_turns", tests, NULL, NULL);
}
