/*
 * test_poller_watch.c - what every poller owes those who watch descriptors that are not a
 * connection's (src/io/poller.h).
 */
#include "poller_fixture.h"

#include <limits.h>

/* ---------------------------------------------------------------------------------- watching */

static void fires_when_it_is_ready(void)
{
	int fds[2];
	struct ear ear;

	make_pipe(fds);
	ear = ear_for(fds[0], NETD_IN);
	for (int i = 0; i < 10; i++) {
		arm(&ear);
		settle();
		assert_int_equal(ear.fired, i);
		write_one(fds[1]);
		wait_for(&ear, i + 1);
		assert_int_equal(ear.watch.revents, NETD_IN);
		read_one(fds[0]);
	}
	close_both(fds);
}

static void fires_when_it_has_been_ready_before(void)
{
	int fds[2];
	struct ear in, out;

	make_pipe(fds);
	in = ear_for(fds[0], NETD_IN);
	out = ear_for(fds[1], NETD_OUT);
	write_one(fds[1]);
	for (int i = 0; i < 10; i++) { /* each time: it is the state that counts */
		arm(&in);
		arm(&out);
		wait_for(&in, i + 1);
		wait_for(&out, i + 1);
		assert_int_equal(out.watch.revents, NETD_OUT);
	}
	close_both(fds);
}

static void fires_only_once(void)
{
	int fds[2];
	struct ear ear;

	make_pipe(fds);
	ear = ear_for(fds[0], NETD_IN);
	arm(&ear);
	write_one(fds[1]);
	wait_for(&ear, 1);
	write_one(fds[1]);
	nothing_wakes();
	assert_int_equal(ear.fired, 1);
	close_both(fds);
}

static void several_watches_on_one_descriptor(void)
{
	int fds[2];
	struct ear ears[5], out;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	for (int i = 0; i < 5; i++) {
		ears[i] = ear_for(fds[0], NETD_IN);
		arm(&ears[i]);
	}
	out = ear_for(fds[0], NETD_OUT);
	arm(&out);
	wait_for(&out, 1);
	disarm(&ears[1]);
	disarm(&ears[4]);
	settle();
	for (int i = 0; i < 5; i++)
		assert_int_equal(ears[i].fired, 0);
	write_one(fds[1]);
	for (int i = 0; i < 5; i++)
		if (i != 1 && i != 4)
			wait_for(&ears[i], 1);
	settle();
	assert_int_equal(ears[1].fired + ears[4].fired, 0);
	close_both(fds);
}

static void one_of_several_directions_happens_first(void)
{
	int fds[2];
	struct ear in, both;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	in = ear_for(fds[0], NETD_IN);
	both = ear_for(fds[0], NETD_IN | NETD_OUT);
	for (int i = 0; i < 10; i++) {
		arm(&in);
		arm(&both);
		wait_for(&both, i + 1);
		assert_int_equal(both.watch.revents, NETD_OUT);
		nothing_wakes();
		assert_int_equal(in.fired, i);
		write_one(fds[1]); /* the one that is left has not been forgotten */
		wait_for(&in, i + 1);
		read_one(fds[0]);
	}
	close_both(fds);
}

static void many_watches_on_one_descriptor(void)
{
	enum { MANY = 3000 };
	struct ear *ears = calloc(MANY, sizeof *ears);
	int fds[2];

	make_pipe(fds);
	for (int i = 0; i < MANY; i++) {
		ears[i] = ear_for(fds[0], NETD_IN);
		arm(&ears[i]);
	}
	for (int i = 0; i < MANY; i += 2)
		disarm(&ears[i]);
	write_one(fds[1]);
	for (int i = 1; i < MANY; i += 2)
		wait_for(&ears[i], 1);
	settle();
	for (int i = 0; i < MANY; i++)
		assert_int_equal(ears[i].fired, i % 2);
	free(ears);
	close_both(fds);
}

/* Whatever goes, and in whatever order, those that are left are watched. */
static void any_of_many_are_disarmed(void)
{
	enum { SOME = 16 };
	int fds[SOME][2];
	struct ear ears[SOME];
	unsigned dice = 1;

	for (int i = 0; i < SOME; i++) {
		make_pipe(fds[i]);
		write_one(fds[i][1]);
	}
	for (int round = 0; round < 200; round++) {
		for (int i = 0; i < SOME; i++) {
			ears[i] = ear_for(fds[i][0], NETD_IN);
			arm(&ears[i]);
		}
		for (int i = 0; i < 2 * SOME; i++) {
			dice = dice * 1103515245 + 12345;
			disarm(&ears[(dice >> 16) % SOME]);
		}
		for (int i = 0; i < SOME; i++)
			if (ears[i].watch.armed)
				wait_for(&ears[i], 1);
	}
	for (int i = 0; i < SOME; i++)
		close_both(fds[i]);
}

static void a_hangup_and_a_failure_are_told(void)
{
	int fds[2];
	struct ear in, out;

	make_pipe(fds);
	in = ear_for(fds[0], NETD_IN);
	arm(&in);
	close(fds[1]);
	wait_for(&in, 1);
	assert_true(in.watch.revents & NETD_HUP);
	close(fds[0]);

	make_pipe(fds);
	while (write(fds[1], "much", 4) > 0)
		;
	out = ear_for(fds[1], NETD_OUT);
	arm(&out);
	settle();
	assert_int_equal(out.fired, 0);
	close(fds[0]);
	wait_for(&out, 1);
	assert_true(out.watch.revents & NETD_FAILED);
	close(fds[1]);
}

static void a_refused_connection_is_told(void)
{
	struct sockaddr_in address;
	int nobody = tcp_listener(&address), fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct ear ear = ear_for(fd, NETD_OUT);
	int error = 0;
	socklen_t size = sizeof error;

	close(nobody);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), -1);
	if (errno == EINPROGRESS) {
		arm(&ear);
		wait_for(&ear, 1);
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
		assert_int_equal(error, ECONNREFUSED);
	} else {
		assert_int_equal(errno, ECONNREFUSED);
	}
	close(fd);
}

/* At once, or when the kernel has been asked; of no descriptor at all, at once. */
static void no_descriptor_is_an_error(void)
{
	static const int numbers[] = {-1, INT_MIN, INT_MAX, 19999};
	int fds[2];

	make_pipe(fds);
	close_both(fds);
	for (size_t i = 0; i <= ARRAY_LEN(numbers); i++) {
		struct ear ear = ear_for(i ? numbers[i - 1] : fds[0], NETD_IN);

		int rc = ops->arm(poller, &ear.watch);

		if (rc == 0) {
			assert_true(ear.watch.fd >= 0);
			wait_for(&ear, 1);
			assert_int_equal(ear.watch.revents, NETD_FAILED);
		} else {
			assert_int_equal(rc, -EBADF);
		}
		assert_false(ear.watch.armed);
		disarm(&ear);
	}
	turn(0);
}

/* A regular file cannot be waited for: it is ready, as poll(2) says. */
static void a_file_is_always_ready(void)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct ear in = ear_for(file, NETD_IN), out = ear_for(file, NETD_OUT), gone = in;

	assert_true(file >= 0);
	for (int i = 0; i < 3; i++) {
		arm(&in);
		arm(&out);
		arm(&gone);
		assert_int_equal(in.fired, i);
		disarm(&gone);
		wait_for(&in, i + 1); /* without a deadline that would end it */
		wait_for(&out, i + 1);
		assert_int_equal(in.watch.revents, NETD_IN);
		assert_int_equal(out.watch.revents, NETD_OUT);
	}
	settle();
	assert_int_equal(gone.fired, 0);
	close(file);
}

/* As the accept loop does it. */
static void a_listener_is_armed_again_and_again(void)
{
	struct sockaddr_in address;
	int listener = tcp_listener(&address);
	struct ear ear = ear_for(listener, NETD_IN);

	arm(&ear);
	for (int i = 0; i < 100; i++) {
		int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

		assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
		wait_for(&ear, i + 1);
		fd = accept(listener, NULL, NULL);
		assert_true(fd >= 0);
		arm(&ear);
		close(client);
		close(fd);
	}
	disarm(&ear);
	close(listener);
}

/* ------------------------------------------------------------------------------------ disarm */

static void disarmed_before_and_after_it_happens(void)
{
	int fds[2];
	struct ear ear;

	make_pipe(fds);
	ear = ear_for(fds[0], NETD_IN);
	disarm(&ear);
	for (int i = 0; i < 4; i++) {
		arm(&ear);
		if (i % 2)
			settle();
		if (i < 2)
			disarm(&ear);
		write_one(fds[1]);
		disarm(&ear);
		disarm(&ear);
		settle();
		assert_int_equal(ear.fired, 0);
		read_one(fds[0]);
	}
	arm(&ear);
	write_one(fds[1]);
	wait_for(&ear, 1);
	close_both(fds);
}

static void disarm_the_other(struct ear *ear)
{
	disarm(ear->other);
}

static void disarmed_by_another_that_fires(void)
{
	for (int same = 0; same < 2; same++) {
		int a[2], b[2];
		struct ear first, second;

		make_pipe(a);
		make_pipe(b);
		first = ear_for(a[0], NETD_IN);
		second = ear_for(same ? a[0] : b[0], NETD_IN);
		first.then = second.then = disarm_the_other;
		first.other = &second;
		second.other = &first;
		write_one(a[1]);
		write_one(b[1]);
		for (int i = 0; i < 10; i++) {
			first.fired = second.fired = 0;
			arm(&first);
			arm(&second);
			settle();
			assert_int_equal(first.fired + second.fired, 1);
		}
		close_both(a);
		close_both(b);
	}
}

static void arm_the_other(struct ear *ear)
{
	if (!ear->other->watch.armed)
		arm(ear->other);
	if (!ear->watch.armed)
		arm(ear);
}

/* Watches that are ready whenever they are armed do not keep a wait from returning. */
static void armed_again_by_those_that_fire(void)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), fds[2];
	struct ear a = ear_for(file, NETD_IN), b;
	int sum;

	make_pipe(fds);
	write_one(fds[1]);
	b = ear_for(fds[0], NETD_IN);
	a.then = b.then = arm_the_other;
	a.other = &b;
	b.other = &a;
	arm(&a);
	for (int i = 0; i < 100; i++)
		turn(NETD_NEVER);
	assert_true(a.fired >= 25 && b.fired >= 25);
	disarm(&a);
	disarm(&b);
	sum = a.fired + b.fired;
	settle();
	assert_int_equal(a.fired + b.fired, sum);
	close_both(fds);
	close(file);
}

/* ------------------------------------------------------------------------- the same number */

/* Others close descriptors and open new ones; what is watched is the new one. */
static void a_number_that_is_used_again(void)
{
	enum { DISARMED, FIRED, DISARMED_READY, HOWS };

	for (int how = DISARMED; how < HOWS * 2; how++) {
		int old[2], new[2], alive = -1, number;
		struct ear ear;

		make_pipe(old);
		number = old[0];
		ear = ear_for(number, NETD_IN);
		arm(&ear);
		if (how % HOWS != DISARMED)
			write_one(old[1]);
		if (how % HOWS == FIRED)
			wait_for(&ear, 1);
		disarm(&ear);
		if (how >= HOWS) /* the file lives on */
			alive = fcntl(number, F_DUPFD_CLOEXEC, number);
		settle();
		make_pipe(new);
		assert_int_equal(dup2(new[0], number), number);
		ear.fired = 0;
		arm(&ear);
		if (how >= HOWS)
			write_one(old[1]);
		settle();
		assert_int_equal(ear.fired, 0);
		write_one(new[1]);
		wait_for(&ear, 1);
		close(old[1]);
		close(number);
		close_both(new);
		if (alive >= 0)
			close(alive);
	}
}

/* Closed while it is watched, which its owner should not do: no harm, and no wait for ever if the
 * system tells at all. */
static void closed_while_it_is_watched(void)
{
	int fds[2];
	struct ear in, other;

	make_pipe(fds);
	in = ear_for(fds[0], NETD_IN);
	other = in;
	arm(&in);
	arm(&other);
	settle();
	close(fds[0]);
	for (int i = 0; i < 3; i++)
		turn(clock_ms() + 1);
	if (in.fired)
		assert_true(in.watch.revents & NETD_FAILED || in.watch.revents & NETD_HUP);
	disarm(&in);
	disarm(&other);
	close(fds[1]);
	settle();
}

static const struct row rows[] = {
    ROW(fires_when_it_is_ready),
    ROW(fires_when_it_has_been_ready_before),
    ROW(fires_only_once),
    ROW(several_watches_on_one_descriptor),
    ROW(one_of_several_directions_happens_first),
    ROW(many_watches_on_one_descriptor),
    ROW(any_of_many_are_disarmed),
    ROW(a_hangup_and_a_failure_are_told),
    ROW(a_refused_connection_is_told),
    ROW(no_descriptor_is_an_error),
    ROW(a_file_is_always_ready),
    ROW(a_listener_is_armed_again_and_again),
    ROW(disarmed_before_and_after_it_happens),
    ROW(disarmed_by_another_that_fires),
    ROW(armed_again_by_those_that_fire),
    ROW(a_number_that_is_used_again),
    ROW(closed_while_it_is_watched),
};

int main(void)
{
	return run_rows(rows, ARRAY_LEN(rows), false);
}
