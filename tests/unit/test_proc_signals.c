/*
 * test_proc_signals.c - signals as flags and a pipe (security rule 25): none is slept through, none
 * is lost, in parents, children and storms. Signals are sent with kill() to the own process, which
 * has been handled when kill() returns; waits for others are polls with a limit.
 */
#include "proc/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT_MS 20000 /* for waits that should be short: slow machines exist */

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			dprintf(2, "# line %d: %s (errno %d)\n", __LINE__, #condition, errno);     \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static const int numbers[SIGNAL_COUNT] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD};

static int set_up(void **state)
{
	(void)state;
	return signals_open(NULL);
}

static int tear_down(void **state)
{
	(void)state;
	signals_close();
	return 0;
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	int rc;

	do
		rc = poll(&ready, 1, timeout_ms);
	while (rc < 0 && errno == EINTR);
	return rc == 1 && ready.revents & POLLIN;
}

static int status_of(pid_t pid)
{
	int status;
	pid_t rc;

	do
		rc = waitpid(pid, &status, 0);
	while (rc < 0 && errno == EINTR);
	return rc == pid ? status : -1;
}

static int in_child(int (*fn)(void))
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn());
	return pid > 0 ? status_of(pid) : -1;
}

static void (*handler_of(int signo))(int)
{
	struct sigaction action;

	assert_int_equal(sigaction(signo, NULL, &action), 0);
	return action.sa_handler;
}

/* -------------------------------------------------------------------------------- in one process
 */

static void a_signal_is_a_flag_and_a_readable_pipe(void **state)
{
	(void)state;
	assert_true(fcntl(signals_fd(), F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(signals_wake_fd(), F_GETFL) & O_NONBLOCK);
	for (int i = 0; i < SIGNAL_COUNT; i++) {
		assert_false(readable(signals_fd(), 0));
		assert_int_equal(kill(getpid(), numbers[i]), 0);
		assert_true(readable(signals_fd(), LIMIT_MS));
		signals_drain();
		assert_false(readable(signals_fd(), 0));
		for (int k = 0; k < SIGNAL_COUNT; k++)
			assert_int_equal(signals_take((enum signal_event)k), k == i);
		assert_int_equal(signals_take((enum signal_event)i), 0);
	}
}

static void flags_count_to_two(void **state)
{
	(void)state;
	for (int i = 1; i < 6; i++) {
		for (int k = 0; k < i; k++)
			kill(getpid(), SIGTERM);
		assert_int_equal(signals_take(SIGNAL_TERM), i == 1 ? 1 : 2);
	}
}

static void stop_is_seen_without_being_taken(void **state)
{
	(void)state;
	kill(getpid(), SIGHUP);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGCHLD);
	assert_false(signals_stop_pending());
	kill(getpid(), SIGTERM);
	assert_true(signals_stop_pending());
	assert_true(signals_stop_pending());
	assert_int_equal(signals_take(SIGNAL_TERM), 1);
	assert_false(signals_stop_pending());
	kill(getpid(), SIGINT);
	assert_true(signals_stop_pending());
	assert_int_equal(signals_take(SIGNAL_INT), 1);
	assert_false(signals_stop_pending());
}

static void anyone_may_wake_the_loop(void **state)
{
	(void)state;
	assert_int_equal(write(signals_wake_fd(), "", 1), 1);
	assert_true(readable(signals_fd(), 0));
	signals_drain();
	assert_false(readable(signals_fd(), 0));
	signals_drain(); /* empty: does not wait */
}

static void a_full_pipe_loses_no_signal(void **state)
{
	(void)state;
	while (write(signals_wake_fd(), "0123456789", 10) > 0)
		continue;
	assert_int_equal(errno, EAGAIN);
	errno = 4711;
	assert_int_equal(raise(SIGTERM), 0);
	assert_int_equal(errno, 4711); /* rule 25: the handler leaves it alone */
	signals_drain();
	assert_false(readable(signals_fd(), 0));
	assert_int_equal(signals_take(SIGNAL_TERM), 1);
}

static void on_custom(int signo)
{
	(void)signo;
}

static void old_handlers_come_back(void **state)
{
	sigset_t blocked, mask;

	(void)state;
	signal(SIGTERM, on_custom);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGCHLD, SIG_IGN);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);

	assert_int_equal(signals_open(NULL), 0);
	assert_ptr_equal(handler_of(SIGPIPE), SIG_IGN);
	assert_ptr_not_equal(handler_of(SIGTERM), on_custom);
	assert_ptr_not_equal(handler_of(SIGCHLD), SIG_IGN); /* or children would vanish */
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	assert_false(sigismember(&mask, SIGTERM)); /* a server that cannot be stopped is no good */
	kill(getpid(), SIGTERM);
	assert_true(signals_stop_pending());
	signals_close();

	assert_ptr_equal(handler_of(SIGTERM), on_custom);
	assert_ptr_equal(handler_of(SIGPIPE), SIG_DFL);
	assert_ptr_equal(handler_of(SIGCHLD), SIG_IGN);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	assert_true(sigismember(&mask, SIGTERM));
	assert_false(signals_stop_pending());
	assert_int_equal(signals_fd(), -1);
	assert_int_equal(signals_wake_fd(), -1);
	signals_drain();
	signals_close();
	signals_child(); /* no set, nothing to do */
	pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
}

static void nohup_keeps_its_promise(void **state)
{
	(void)state;
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	assert_int_equal(signals_open(NULL), 0);
	assert_ptr_equal(handler_of(SIGHUP), SIG_IGN);
	assert_ptr_not_equal(handler_of(SIGINT), SIG_IGN);
	kill(getpid(), SIGHUP);
	assert_int_equal(signals_take(SIGNAL_HUP), 0);
	signals_close();
	assert_ptr_equal(handler_of(SIGHUP), SIG_IGN);
	assert_ptr_equal(handler_of(SIGINT), SIG_IGN);
	signal(SIGHUP, SIG_DFL);
	signal(SIGINT, SIG_DFL);
}

static void there_is_one_set_per_process(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(signals_open(&err), -EBUSY);
	assert_string_equal(err.text, "signals are handled for another server already");
	assert_true(signals_fd() >= 0); /* and it is still there */
}

static void without_descriptors_nothing_is_installed(void **state)
{
	struct rlimit old, none;
	struct err err;
	int rc;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &old);
	none = (struct rlimit){0, old.rlim_max};
	setrlimit(RLIMIT_NOFILE, &none);
	rc = signals_open(&err);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_int_equal(rc, -EMFILE);
	assert_string_equal(err.text, "cannot make a pipe for signals: Too many open files");
	assert_ptr_equal(handler_of(SIGTERM), SIG_DFL);
}

static void interrupted_calls_return(void **state)
{
	struct pollfd none = {.fd = -1};
	pid_t parent = getpid(), pid = fork();

	(void)state;
	if (pid == 0) {
		/* Until the parent is through with its wait. */
		while (kill(parent, SIGUSR1) == 0 && getppid() == parent)
			poll(&none, 1, 1);
		_exit(0);
	}
	assert_int_equal(poll(&none, 1, LIMIT_MS), -1); /* SA_RESTART has no say in poll ... */
	assert_int_equal(errno, EINTR);
	{
		int pipes[2];
		char c;

		assert_int_equal(pipe(pipes), 0);
		assert_int_equal(read(pipes[0], &c, 1), -1); /* ... but would have here */
		assert_int_equal(errno, EINTR);
		close(pipes[0]);
		close(pipes[1]);
	}
	kill(pid, SIGKILL);
	status_of(pid);
}

static void *look_at_mask(void *arg)
{
	sigset_t mask;
	int *blocked = arg;

	signals_block_all();
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	for (int i = 0; i < SIGNAL_COUNT; i++)
		*blocked += sigismember(&mask, numbers[i]);
	*blocked += sigismember(&mask, SIGSEGV) * 100;
	return NULL;
}

static void helper_threads_get_no_signals(void **state)
{
	pthread_t thread;
	int blocked = 0;
	sigset_t mask;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, look_at_mask, &blocked), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(blocked, SIGNAL_COUNT);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	assert_false(sigismember(&mask, SIGTERM)); /* ours is another */
}

/* ----------------------------------------------------------------------------------- in children
 */

static int fds_of_parent[2];

static int child_starts_anew(void)
{
	struct sigaction action;

	fds_of_parent[0] = signals_fd();
	fds_of_parent[1] = signals_wake_fd();
	signals_child();
	CHECK(!signals_stop_pending()); /* that one was the parent's */
	CHECK(fcntl(fds_of_parent[0], F_GETFD) < 0 && fcntl(fds_of_parent[1], F_GETFD) < 0);
	CHECK(sigaction(SIGCHLD, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
	CHECK(sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
	signals_drain(); /* no pipe yet */
	CHECK(kill(getpid(), SIGTERM) == 0 && kill(getpid(), SIGHUP) == 0);
	CHECK(signals_stop_pending());
	CHECK(readable(signals_fd(), 0)); /* made now, and told what came before */
	signals_drain();
	CHECK(!readable(signals_fd(), 0));
	CHECK(signals_take(SIGNAL_TERM) == 1 && signals_take(SIGNAL_HUP) == 1);
	CHECK(kill(getpid(), SIGINT) == 0 && readable(signals_fd(), 0));
	CHECK(signals_take(SIGNAL_INT) == 1);
	signals_close();
	CHECK(sigaction(SIGTERM, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
	return 0;
}

static void a_child_starts_anew(void **state)
{
	(void)state;
	kill(getpid(), SIGTERM);
	signals_drain();
	assert_int_equal(in_child(child_starts_anew), 0);
	signals_take(SIGNAL_CHLD);
	signals_drain();
	assert_int_equal(signals_take(SIGNAL_TERM), 1); /* the child's own did not count here */
	assert_int_equal(signals_take(SIGNAL_HUP), 0);
}

static int child_without_descriptors(void)
{
	struct rlimit none = {0, 0};

	signals_child();
	CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	CHECK(signals_fd() == -1 && signals_wake_fd() == -1);
	CHECK(signals_open(NULL) == -EMFILE);
	CHECK(kill(getpid(), SIGTERM) == 0 && signals_stop_pending());
	return 0;
}

static void a_child_without_descriptors_still_has_flags(void **state)
{
	if (getenv("VALGRIND")) { /* it keeps descriptors of its own, and the limit */
		printf("# skipped: under valgrind\n");
		return;
	}
	(void)state;
	assert_int_equal(in_child(child_without_descriptors), 0);
}

static int early_signal_stays(void)
{
	int parents = signals_fd();

	/* The master stops a worker that is but half born. */
	CHECK(kill(getpid(), SIGTERM) == 0 && kill(getpid(), SIGTERM) == 0);
	CHECK(kill(getpid(), SIGHUP) == 0 && kill(getpid(), SIGCHLD) == 0);
	CHECK(!readable(parents, 0)); /* is none of the parent's business */
	signals_child();
	CHECK(signals_take(SIGNAL_TERM) == 2 && signals_take(SIGNAL_HUP) == 1);
	CHECK(signals_take(SIGNAL_CHLD) == 0);
	return 0;
}

static void no_term_is_lost_before_a_child_is_ready(void **state)
{
	(void)state;
	assert_int_equal(in_child(early_signal_stays), 0);
	assert_int_equal(signals_take(SIGNAL_TERM), 0);
}

/* A worker in mode fork: a child that has children. */
static int child_becomes_a_server(void)
{
	CHECK(kill(getpid(), SIGTERM) == 0);
	signals_child();
	CHECK(signals_open(NULL) == 0);
	CHECK(signals_open(NULL) == -EBUSY);
	CHECK(signals_take(SIGNAL_TERM) == 1); /* came early, still up */
	signals_drain();
	CHECK(in_child(early_signal_stays) == 0); /* a grandchild */
	CHECK(readable(signals_fd(), LIMIT_MS));
	CHECK(signals_take(SIGNAL_CHLD) == 1);
	CHECK(signals_take(SIGNAL_TERM) == 0);
	return 0;
}

static void a_child_may_become_a_server(void **state)
{
	(void)state;
	assert_int_equal(in_child(child_becomes_a_server), 0);
	assert_true(readable(signals_fd(), LIMIT_MS));
	assert_int_equal(signals_take(SIGNAL_CHLD), 1);
}

static int blocked_child(void)
{
	signals_block_all();
	signals_child();
	CHECK(kill(getpid(), SIGTERM) == 0);
	CHECK(signals_stop_pending());
	return 0;
}

static void a_child_of_a_helper_thread_hears_again(void **state)
{
	(void)state;
	assert_int_equal(in_child(blocked_child), 0);
}

/* ------------------------------------------------------------------------------------- the storm
 */

#define ROUNDS 1000
#define NOISE 99 /* signals of other kinds before each TERM: 100,000 in all */

static void send_storm(pid_t to, int answers)
{
	static const int noise[] = {SIGHUP, SIGUSR1, SIGCHLD, SIGINT};
	struct pollfd answer = {.fd = answers, .events = POLLIN};
	char c;

	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < NOISE; i++)
			kill(to, noise[(round + i) % 4]);
		kill(to, SIGTERM);
		/* The next round begins only when this TERM was seen. */
		if (poll(&answer, 1, LIMIT_MS) != 1 || read(answers, &c, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static void rule25_no_term_is_lost_in_a_storm(void **state)
{
	static const enum signal_event others[] = {SIGNAL_HUP, SIGNAL_USR1, SIGNAL_CHLD,
						   SIGNAL_INT};
	int answers[2], terms = 0, seen[SIGNAL_COUNT] = {0};
	pid_t parent = getpid(), pid;

	(void)state;
	assert_int_equal(pipe(answers), 0);
	pid = fork();
	if (pid == 0) {
		signals_child();
		send_storm(parent, answers[0]);
	}
	while (terms < ROUNDS) {
		int n;

		/* As every loop does it: wait, drain, then take. */
		if (!readable(signals_fd(), LIMIT_MS))
			break;
		signals_drain();
		for (size_t i = 0; i < ARRAY_LEN(others); i++)
			seen[others[i]] += signals_take(others[i]) > 0;
		n = signals_take(SIGNAL_TERM);
		assert_in_range(n, 0, 1);
		if (n && write(answers[1], "", 1) != 1)
			break;
		terms += n;
	}
	assert_int_equal(terms, ROUNDS);
	assert_int_equal(status_of(pid), 0);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_true(seen[others[i]] > 0);
	close(answers[0]);
	close(answers[1]);
}

/* Many threads ask a child for its pipe at the same time: they all get the same one. */
static void *ask_for_pipe(void *arg)
{
	*(int *)arg = signals_fd();
	return NULL;
}

static int threads_share_one_pipe(void)
{
	pthread_t threads[8];
	int fds[ARRAY_LEN(threads)];

	signals_child();
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		CHECK(pthread_create(&threads[i], NULL, ask_for_pipe, &fds[i]) == 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		CHECK(fds[i] >= 0 && fds[i] == signals_fd());
	return 0;
}

static void threads_of_a_child_share_one_pipe(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++)
		assert_int_equal(in_child(threads_share_one_pipe), 0);
}

#define OPEN(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    OPEN(a_signal_is_a_flag_and_a_readable_pipe),
	    OPEN(flags_count_to_two),
	    OPEN(stop_is_seen_without_being_taken),
	    OPEN(anyone_may_wake_the_loop),
	    OPEN(a_full_pipe_loses_no_signal),
	    cmocka_unit_test(old_handlers_come_back),
	    cmocka_unit_test(nohup_keeps_its_promise),
	    OPEN(there_is_one_set_per_process),
	    cmocka_unit_test(without_descriptors_nothing_is_installed),
	    OPEN(interrupted_calls_return),
	    OPEN(helper_threads_get_no_signals),
	    OPEN(a_child_starts_anew),
	    OPEN(a_child_without_descriptors_still_has_flags),
	    OPEN(no_term_is_lost_before_a_child_is_ready),
	    OPEN(a_child_may_become_a_server),
	    OPEN(a_child_of_a_helper_thread_hears_again),
	    OPEN(rule25_no_term_is_lost_in_a_storm),
	    OPEN(threads_of_a_child_share_one_pipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
