/*
 * test_poller_wait.c - the waits of every poller (src/io/poller.h): deadlines, signals, memory
 * given back in between; and the table of pollers.
 */
#include "poller_fixture.h"

#include <poll.h>
#include <sys/wait.h>

static void a_wait_lasts_until_its_deadline(void)
{
	int fds[2];
	struct ear ear;

	make_pipe(fds);
	ear = ear_for(fds[0], NETD_IN);
	for (int watched = 0; watched < 2; watched++) {
		int64_t until = clock_ms() + 30;

		while (clock_ms() < until)
			turn(until);
		assert_true(clock_ms() >= until);
		turn(until); /* has passed */
		turn(INT64_MIN);
		if (!watched)
			arm(&ear);
	}
	assert_int_equal(ear.fired, 0);
	disarm(&ear);
	close_both(fds);
}

/* One call that ends before its deadline although nothing has happened would cost a turn. */
static void a_wait_does_not_end_early(void)
{
	for (int i = 0; i < 5; i++) {
		int64_t until = clock_ms() + 7;

		turn(until);
		assert_true(clock_ms() >= until);
	}
}

static void a_wait_of_nothing_does_not_sleep(void)
{
	int fds[2];
	struct ear ear;

	make_pipe(fds);
	ear = ear_for(fds[0], NETD_IN);
	arm(&ear);
	for (int i = 0; i < 1000; i++)
		turn(0);
	disarm(&ear);
	close_both(fds);
}

static void nothing(int signo)
{
	(void)signo;
}

static void a_signal_ends_a_wait(void)
{
	struct sigaction action = {.sa_handler = nothing}, old;
	struct itimerval every_20ms = {.it_value = {.tv_usec = 20000},
				       .it_interval = {.tv_usec = 20000}};
	struct itimerval never = {0};
	int fds[2], rc;
	struct ear ear;

	if (getenv("VALGRIND") && strcmp(ops->name, "io_uring") == 0) {
		printf("# skipped: valgrind holds signals back in io_uring_enter(2)\n");
		return;
	}
	sigaction(SIGALRM, &action, &old);
	make_pipe(fds);
	ear = ear_for(fds[0], NETD_IN);
	arm(&ear);
	setitimer(ITIMER_REAL, &every_20ms, NULL);
	do
		rc = ops->wait(poller, NETD_NEVER);
	while (rc == 0);
	assert_int_equal(rc, -EINTR);
	setitimer(ITIMER_REAL, &never, NULL);
	assert_int_equal(ear.fired, 0);
	write_one(fds[1]);
	wait_for(&ear, 1); /* it works on */
	sigaction(SIGALRM, &old, NULL);
	close_both(fds);
}

/* Somebody who sends a letter some time after he got one, until the end of input. */
static pid_t start_pen_friend(int in, int out)
{
	pid_t pid = fork();
	char letter;

	if (pid != 0)
		return pid;
	fcntl(in, F_SETFL, 0); /* he waits */
	while (read(in, &letter, 1) == 1) {
		poll(NULL, 0, letter);
		if (write(out, &letter, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static void what_happens_during_a_wait_ends_it(void)
{
	int there[2], back[2], status;
	pid_t friend;

	make_pipe(there);
	make_pipe(back);
	friend = start_pen_friend(there[0], back[1]);
	assert_true(friend > 0);
	for (char delay = 0; delay < 12; delay++) {
		struct ear ear = ear_for(back[0], NETD_IN);
		char letter;

		arm(&ear);
		turn(0); /* nothing is left to be done but to wait */
		assert_int_equal(write(there[1], &delay, 1), 1);
		wait_for(&ear, 1);
		assert_int_equal(read(back[0], &letter, 1), 1);
	}
	close_both(there);
	kill(friend, SIGKILL); /* it has both ends of its pipe */
	assert_int_equal(waitpid(friend, &status, 0), friend);
	close_both(back);
}

static void memory_is_given_back_in_between(void)
{
	enum { MANY = 1200 };
	int(*fds)[2] = calloc(MANY, sizeof *fds);
	struct ear *ears = calloc(MANY, sizeof *ears);

	for (int i = 0; i < MANY; i++) {
		make_pipe(fds[i]);
		ears[i] = ear_for(fds[i][0], NETD_IN);
		arm(&ears[i]);
	}
	turn(0);
	for (int i = 0; i < MANY; i++)
		if (i > 3 && i != MANY - 1)
			disarm(&ears[i]);
	ops->trim(poller);
	ops->trim(poller);
	for (int i = 0; i < MANY; i++)
		write_one(fds[i][1]);
	for (int i = 0; i < MANY; i++)
		if (i <= 3 || i == MANY - 1)
			wait_for(&ears[i], 1);
	settle();
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(ears[i].fired, i <= 3 || i == MANY - 1);
		ears[i].fired = 0;
		arm(&ears[i]);
	}
	for (int i = 0; i < MANY; i++) {
		wait_for(&ears[i], 1);
		close_both(fds[i]);
	}
	free(fds);
	free(ears);
}

/* --------------------------------------------------------------------------------- the table */

static void pollers_are_found_by_name(void)
{
	size_t n;

	for (n = 0; pollers[n]; n++)
		assert_ptr_equal(poller_find(pollers[n]->name), pollers[n]);
	assert_string_equal(pollers[n - 1]->name, "poll"); /* what is everywhere comes last */
	assert_null(poller_find("kqueue"));
	assert_null(poller_find(""));
	assert_null(poller_find("epol"));
	ops->close(NULL);
}

static const struct row rows[] = {
    ROW(a_wait_lasts_until_its_deadline),    ROW(a_wait_does_not_end_early),
    ROW(a_wait_of_nothing_does_not_sleep),   ROW(a_signal_ends_a_wait),
    ROW(what_happens_during_a_wait_ends_it), ROW(memory_is_given_back_in_between),
    ROW(pollers_are_found_by_name),
};

int main(void)
{
	return run_rows(rows, ARRAY_LEN(rows), false);
}
