/*
 * test_fiber_watchdog.c - who keeps all others waiting is told by name, once, with the place where
 * it is; who waits, or lets others run, is not. Stalls end when the line that tells of them has
 * arrived.
 */
#include "fiber_ground.h"
#include "generic.h"
#include "scarce.h"

#include <sys/socket.h>

#define STALL_MS 80            /* longer than a busy machine lets a thread wait for its turn */
#define LONG_MS (3 * STALL_MS) /* the watchdog would have looked several times */
#define PATIENCE_MS 20000

#ifdef __GLIBC__
#define HAS_BACKTRACE (!GENERIC && !THREAD_SANITIZER)
#else
#define HAS_BACKTRACE false
#endif

int __real_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);

static bool no_threads;

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	return no_threads ? EAGAIN : __real_pthread_create(id, attr, fn, arg);
}

static int setup(void **state)
{
	int rc = ground_setup(state);

	if (rc == 0)
		((struct ground *)*state)->config.stall_ms = STALL_MS;
	return rc;
}

static int teardown(void **state)
{
	no_threads = false;
	return ground_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
		n++;
	return n;
}

/* The number before " ms" after these words. */
static long ms_after(const char *text, const char *words)
{
	const char *at = strstr(text, words);

	if (!at)
		fail_msg("\"%s\" is not in: %s", words, text);
	return strtol(at + strlen(words), NULL, 10);
}

/* ------------------------------------------------------------------------------ who stalls */

/* Until the log has so many lines. */
static void spin_for(struct ground *g, int lines)
{
	int64_t patience = clock_ms() + PATIENCE_MS;

	while (atomic_load(&g->lines) < lines)
		if (clock_ms() > patience) {
			fputs("# the stall was never told\n", stderr);
			abort();
		}
}

static void spin_until(int64_t when)
{
	while (clock_ms() < when)
		continue;
}

static void stall(void *arg)
{
	struct ground *g = *(struct ground **)arg;

	spin_for(g, 1);
	ground_put(g->done[1]);
}

static void a_stall_is_told_with_name_and_time_and_so_is_its_end(void **state)
{
	struct ground *g = *state;
	const char *text;

	ground_open(g);
	ground_start(g, 17, "192.0.2.7:4711", stall, g);
	ground_take(g->done[0], 1);
	ground_take(g->news[0], 2);
	text = ground_text(g);
	assert_int_equal(count(text, "\n"), 2);
	assert_non_null(strstr(text, " warning, "));
	assert_non_null(strstr(text, ", conn 17 (192.0.2.7:4711): holds up all others: "));
	assert_true(ms_after(text, "no wait for ") >= STALL_MS);
	assert_non_null(strstr(text, ", conn 17 (192.0.2.7:4711): went on after "));
	assert_non_null(strstr(text, " notice, "));
	assert_true(ms_after(text, "went on after ") >= ms_after(text, "no wait for "));
}

static void a_long_stall_is_told_once(void **state)
{
	struct ground *g = *state;
	int64_t begun;
	const char *text;

	ground_open(g);
	spin_for(g, 1);
	begun = clock_ms();
	spin_until(begun + LONG_MS);
	ground_take(g->news[0], 2);
	text = ground_text(g);
	assert_int_equal(count(text, "holds up"), 1);
	assert_int_equal(count(text, "went on"), 1);
	assert_true(ms_after(text, "went on after ") >= STALL_MS + LONG_MS);
}

static void stall_again(void *arg)
{
	struct ground *g = *(struct ground **)arg;

	spin_for(g, 3);
	ground_put(g->done[1]);
}

static void the_next_stall_is_told_again(void **state)
{
	struct ground *g = *state;
	const char *text;

	ground_open(g);
	ground_start(g, 1, "one", stall, g);
	ground_take(g->done[0], 1);
	ground_take(g->news[0], 2);
	ground_start(g, 2, "two", stall_again, g);
	ground_take(g->done[0], 1);
	ground_take(g->news[0], 2);
	text = ground_text(g);
	assert_int_equal(count(text, "conn 1 (one): holds up"), 1);
	assert_int_equal(count(text, "conn 1 (one): went on"), 1);
	assert_int_equal(count(text, "conn 2 (two): holds up"), 1);
	assert_int_equal(count(text, "conn 2 (two): went on"), 1);
}

static void the_first_fiber_is_called_so(void **state)
{
	struct ground *g = *state;

	ground_open(g);
	spin_for(g, 1);
	ground_take(g->news[0], 2);
	assert_int_equal(count(ground_text(g), ", the first fiber "), 2);
}

static void a_fiber_without_an_object_has_no_name(void **state)
{
	struct ground *g = *state;

	ground_open(g);
	ground_start(g, 0, NULL, stall, g);
	ground_take(g->done[0], 1);
	ground_take(g->news[0], 2);
	assert_int_equal(count(ground_text(g), ", a fiber "), 2);
}

static void without_describe_nobody_has_a_name(void **state)
{
	struct ground *g = *state;

	g->config.describe = NULL;
	ground_open(g);
	ground_start(g, 5, "five", stall, g);
	ground_take(g->done[0], 1);
	ground_take(g->news[0], 2);
	assert_int_equal(count(ground_text(g), ", a fiber "), 2);
}

static void rule17_a_peer_that_lies_stays_in_its_line(void **state)
{
	struct ground *g = *state;
	const char *text;

	ground_open(g);
	ground_start(g, 3, "evil\nroot: %n%s\x1b", stall, g);
	ground_take(g->done[0], 1);
	ground_take(g->news[0], 2);
	text = ground_text(g);
	assert_int_equal(count(text, "\n"), 2);
	assert_int_equal(count(text, "conn 3 (evil\\nroot: %n%s\\x1B): ") +
			     count(text, "conn 3 (evil\\nroot: %n%s\\x1b): "),
			 2);
}

static void a_stall_that_the_end_cuts_short_is_closed_too(void **state)
{
	struct ground *g = *state;

	ground_open(g);
	spin_for(g, 1);
	assert_int_equal(count(ground_text(g), "went on after"), 1);
}

/* ------------------------------------------------------------------------------ where it is */

/* A blocking read, which ends when the line has come. */
struct reading {
	struct ground *g;
	int pair[2];
	ssize_t n;
	int error;
};

static void *answer_line(void *arg)
{
	struct reading *reading = arg;

	while (atomic_load(&reading->g->lines) < 1)
		sched_yield();
	ground_put(reading->pair[1]);
	return NULL;
}

static void read_blocking(void *arg)
{
	struct reading *reading = *(struct reading **)arg;
	char byte;

	errno = 0;
	reading->n = read(reading->pair[0], &byte, 1);
	reading->error = errno;
	ground_put(reading->g->done[1]);
}

static void a_blocking_call_is_told_and_goes_on(void **state)
{
	struct reading reading = {.g = *state};
	const char *text, *place;
	pthread_t thread;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, reading.pair), 0);
	ground_open(reading.g);
	assert_int_equal(pthread_create(&thread, NULL, answer_line, &reading), 0);
	ground_start(reading.g, 4, "reader", read_blocking, &reading);
	ground_take(reading.g->done[0], 1);
	ground_take(reading.g->news[0], 2);
	pthread_join(thread, NULL);
	text = ground_text(reading.g);
	assert_int_equal(reading.n, 1);
	assert_int_equal(reading.error, 0);
	assert_non_null(
	    strstr(text, THREAD_SANITIZER ? ", a fiber holds up" : "conn 4 (reader): holds up"));
	place = strstr(text, " so far, in ");
	if (HAS_BACKTRACE) {
		assert_non_null(place);
		place += strlen(" so far, in ");
		assert_true(strncmp(place, "read+0x", 7) == 0 ||
			    strncmp(place, "__read+0x", 9) == 0);
		assert_non_null(strstr(place, " < test_fiber_watchdog+0x")); /* read_blocking() */
	}
	close(reading.pair[0]);
	close(reading.pair[1]);
}

/* Is one of the places in the line within so many bytes from this function's start on? */
static bool line_has(const char *text, const void *function, long size)
{
	char start[128];
	const char *at = strstr(text, "so far, in "), *end = at ? strchr(at, '\n') : NULL;
	long from;

	os_address_name(function, start, sizeof start);
	assert_non_null(end);
	assert_int_equal(strncmp(start, "test_fiber_watchdog+0x", 22), 0);
	from = strtol(start + 22, NULL, 16);
	while ((at = strstr(at, "test_fiber_watchdog+0x")) && at < end) {
		long offset = strtol(at + 22, NULL, 16);

		if (offset >= from && offset < from + size)
			return true;
		at += 22;
	}
	return false;
}

static int deep(struct ground *g, int levels);
static int (*volatile go_down)(struct ground *g, int levels) = deep;

static int deep(struct ground *g, int levels)
{
	if (levels == 0)
		spin_for(g, 1);
	else
		return go_down(g, levels - 1) + 1;
	return 0;
}

static void go_deep(void *arg)
{
	struct ground *g = *(struct ground **)arg;

	go_down(g, 40);
	ground_put(g->done[1]);
}

static void the_place_is_at_most_twelve_calls_deep(void **state)
{
	struct ground *g = *state;
	const char *text;

	ground_open(g);
	ground_start(g, 6, "six", go_deep, g);
	ground_take(g->done[0], 1);
	ground_take(g->news[0], 2);
	text = ground_text(g);
	if (HAS_BACKTRACE) {
		assert_int_equal(count(text, " < "), 11);
		/* Clear of whatever the compiler has put into one another. */
		assert_true(line_has(text, (const void *)(uintptr_t)go_down, 4096));
	} else
		assert_int_equal(count(text, " < "), 0);
}

/* ------------------------------------------------------------------------------ who does not */

static void waiting_from_the_first_moment_on_is_no_stall(void **state)
{
	struct ground *g = *state;

	ground_open(g);
	assert_int_equal(netd_poll(NULL, 0, clock_ms() + LONG_MS), 0);
	assert_string_equal(ground_text(g), "");
}

/* Busy all the time, but not alone: each poll lets others run sooner or later. */
static void share(void *arg)
{
	struct ground *g = *(struct ground **)arg;
	int64_t end = clock_ms() + LONG_MS;

	while (clock_ms() < end)
		assert_int_equal(netd_poll(NULL, 0, 0), 0);
	ground_put(g->done[1]);
}

static void who_lets_others_run_is_not_told(void **state)
{
	struct ground *g = *state;

	g->config.stall_ms = 1000; /* the machine may be busy elsewhere */
	ground_open(g);
	ground_start(g, 1, "one", share, g);
	ground_start(g, 2, "two", share, g);
	ground_take(g->done[0], 2);
	assert_string_equal(ground_text(g), "");
}

static void zero_means_no_watchdog(void **state)
{
	struct sigaction now;
	struct ground *g = *state;

	g->config.stall_ms = 0;
	ground_open(g);
	assert_null(g->fibers->watchdog);
	assert_int_equal(sigaction(SIGURG, NULL, &now), 0);
	assert_true(!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL);
	spin_until(clock_ms() + LONG_MS);
	assert_string_equal(ground_text(g), "");
}

/* ------------------------------------------------------------------------------ the signal */

static volatile sig_atomic_t urgent;

static void on_urgent(int signo)
{
	(void)signo;
	urgent = 1;
}

static void a_signal_that_nobody_asked_for_does_nothing(void **state)
{
	struct ground *g = *state;

	g->config.stall_ms = 5000; /* a hundred signals are work, too */
	ground_open(g);
	for (int i = 0; i < 100; i++)
		assert_int_equal(raise(SIGURG), 0);
	assert_string_equal(ground_text(g), "");
}

static void the_programs_own_handler_stays_and_costs_name_and_place(void **state)
{
	struct sigaction own = {.sa_handler = on_urgent}, old, now;
	struct ground *g = *state;
	const char *text;

	urgent = 0;
	assert_int_equal(sigaction(SIGURG, &own, &old), 0);
	ground_open(g);
	ground_start(g, 7, "seven", stall, g);
	ground_take(g->done[0], 1);
	ground_take(g->news[0], 2);
	text = ground_text(g);
	assert_int_equal(count(text, ", a fiber holds up"), 1);
	assert_int_equal(count(text, " so far, in "), 0);
	assert_int_equal(sigaction(SIGURG, &old, &now), 0);
	assert_true(now.sa_handler == on_urgent);
	assert_int_equal(urgent, 0); /* it was not even sent */
}

static void a_handler_that_came_later_is_not_undone(void **state)
{
	struct sigaction own = {.sa_handler = on_urgent}, ours, now;
	struct ground *g = *state;

	ground_open(g);
	assert_int_equal(sigaction(SIGURG, &own, &ours), 0);
	assert_true(ours.sa_flags & SA_SIGINFO);
	ground_text(g);
	assert_int_equal(sigaction(SIGURG, &(struct sigaction){.sa_handler = SIG_DFL}, &now), 0);
	assert_true(now.sa_handler == on_urgent);
}

static void the_signal_is_given_back_as_it_was(void **state)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, old, now;
	sigset_t urgents, before, after;
	struct ground *g = *state;

	sigemptyset(&urgents);
	sigaddset(&urgents, SIGURG);
	assert_int_equal(sigaction(SIGURG, &ignore, &old), 0);
	pthread_sigmask(SIG_BLOCK, &urgents, &before);
	ground_open(g);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_false(sigismember(&after, SIGURG));
	ground_start(g, 8, "eight", stall, g);
	ground_take(g->done[0], 1);
	assert_int_equal(count(ground_text(g), "conn 8 (eight): holds up"), 1);
	pthread_sigmask(SIG_SETMASK, &before, &after);
	assert_true(sigismember(&after, SIGURG));
	assert_int_equal(sigaction(SIGURG, &old, &now), 0);
	assert_true(now.sa_handler == SIG_IGN);
}

static void block_signal(void *arg)
{
	struct ground *g = *(struct ground **)arg;
	sigset_t urgents, old;

	sigemptyset(&urgents);
	sigaddset(&urgents, SIGURG);
	pthread_sigmask(SIG_BLOCK, &urgents, &old);
	spin_for(g, 1);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	ground_put(g->done[1]);
}

static void who_does_not_hear_the_signal_is_told_without_a_name(void **state)
{
	struct ground *g = *state;

	ground_open(g);
	ground_start(g, 9, "nine", block_signal, g);
	ground_take(g->done[0], 1);
	ground_take(g->news[0], 2);
	/* The signal has come since, to an answer that nobody wants any more; the next one works.
	 */
	ground_start(g, 10, "ten", stall_again, g);
	ground_take(g->done[0], 1);
	ground_text(g);
	assert_int_equal(count(g->text, ", a fiber holds up"), 1);
	assert_int_equal(count(g->text, "conn 10 (ten): holds up"), 1);
}

/* ------------------------------------------------------------------------------ failures */

static void no_thread_no_fibers(void **state)
{
	struct ground *g = *state;
	struct sigaction now;
	struct err err = {0};

	no_threads = true;
	assert_int_equal(fibers_open(&g->fibers, &g->config, &err), -EAGAIN);
	assert_null(g->fibers);
	assert_int_equal(sigaction(SIGURG, NULL, &now), 0);
	assert_true(!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL);
	no_threads = false;
	ground_open(g);
}

static void no_memory_no_fibers_but_no_loss(void **state)
{
	struct ground *g = *state;
	bool spared = false;

	for (long n = 0; !spared; n++) {
		struct err err = {0};
		int rc;

		scarce_from(n);
		rc = fibers_open(&g->fibers, &g->config, &err);
		spared = scarce_over();
		if (rc < 0) {
			assert_int_equal(rc, -ENOMEM);
			assert_null(g->fibers);
		} else {
			assert_non_null(g->fibers->watchdog);
			g->fibers = fibers_close(g->fibers);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_stall_is_told_with_name_and_time_and_so_is_its_end),
	    TEST(a_long_stall_is_told_once),
	    TEST(the_next_stall_is_told_again),
	    TEST(the_first_fiber_is_called_so),
	    TEST(a_fiber_without_an_object_has_no_name),
	    TEST(without_describe_nobody_has_a_name),
	    TEST(rule17_a_peer_that_lies_stays_in_its_line),
	    TEST(a_stall_that_the_end_cuts_short_is_closed_too),
	    TEST(a_blocking_call_is_told_and_goes_on),
	    TEST(the_place_is_at_most_twelve_calls_deep),
	    TEST(waiting_from_the_first_moment_on_is_no_stall),
	    TEST(who_lets_others_run_is_not_told),
	    TEST(zero_means_no_watchdog),
	    TEST(a_signal_that_nobody_asked_for_does_nothing),
	    TEST(the_programs_own_handler_stays_and_costs_name_and_place),
	    TEST(a_handler_that_came_later_is_not_undone),
	    TEST(the_signal_is_given_back_as_it_was),
	    TEST(who_does_not_hear_the_signal_is_told_without_a_name),
	    TEST(no_thread_no_fibers),
	    TEST(no_memory_no_fibers_but_no_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
