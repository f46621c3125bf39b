/*
 * test_io.c - waiting by blocking calls: deadlines, signals, stops that come before, in and after a
 * wait, short sends, many descriptors. The system calls have a front of the test's own (--wrap),
 * which makes them fail, or runs something right before them.
 */
#include "io_front.h"

/* ----------------------------------------------------------------------------------- reading */

static void a_read_gives_what_is_there(void **state)
{
	char data[8] = "";

	(void)state;
	peer_says_hi();
	assert_int_equal(receive(data, 0, NETD_NEVER), 0);
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), 2);
	assert_string_equal(data, "hi");
	assert_int_equal(recv_front.flags, 0); /* no interrupt: the call itself waits */
	assert_int_equal(poll_front.calls, 0);
	close(peer);
	peer = -1;
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), 0);
}

static void a_read_waits_until_its_deadline(void **state)
{
	char data[8];
	int64_t before = netd_now();

	(void)state;
	assert_int_equal(receive(data, sizeof data, before + 30), -ETIMEDOUT);
	assert_true(netd_now() >= before + 30);
	peer_says_hi();
	fronts_reset();
	assert_int_equal(receive(data, sizeof data, netd_now()), -ETIMEDOUT); /* though there is */
	assert_int_equal(receive(data, sizeof data, INT64_MIN), -ETIMEDOUT);
	assert_int_equal(recv_front.calls, 0);
	assert_int_equal(receive(data, sizeof data, netd_now() + 5000), 2);
	poll_front.before = peer_says_hi; /* comes while it waits */
	assert_int_equal(receive(data, sizeof data, netd_now() + 5000), 2);
	assert_int_equal(poll_front.calls, 1);
}

static void a_failed_read_gives_its_errno(void **state)
{
	static const int errors[] = {ECONNRESET, ENOTCONN, EBADF, ENOMEM, EHOSTUNREACH};
	char data[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		fronts_reset();
		will_fail(&recv_front, errors[i]);
		assert_int_equal(receive(data, sizeof data, NETD_NEVER), -errors[i]);
	}
	fronts_reset();
	will_fail(&poll_front, ENOMEM);
	assert_int_equal(receive(data, sizeof data, netd_now() + 5000), -ENOMEM);
}

/* ------------------------------------------------------------------------------------- EINTR */

static void a_signal_does_not_end_a_wait(void **state)
{
	char data[8];

	(void)state;
	for (int with_interrupt = 0; with_interrupt < 2; with_interrupt++) {
		io_set_interrupt(with_interrupt ? &stop.interrupt : NULL);
		fronts_reset();
		peer_says_hi();
		for (int i = 0; i < 3; i++)
			will_fail(&recv_front, EINTR);
		assert_int_equal(receive(data, sizeof data, NETD_NEVER), 2);
		assert_int_equal(recv_front.calls, 4);
		for (int i = 0; i < 3; i++)
			will_fail(&send_front, EINTR);
		assert_int_equal(transmit("abc", 3, NETD_NEVER), 3);
		will_fail(&poll_front, EINTR);
		assert_int_equal(netd_sleep(1), 0);
		will_fail(&poll_front, EINTR);
		poll_front.before = peer_says_hi;
		assert_int_equal(receive(data, sizeof data, netd_now() + 5000), 2);
	}
	assert_true(stop.checks >= 8); /* it was asked each time */
}

static void a_signal_ends_a_wait_when_catchint_is_off(void **state)
{
	char data[8];

	(void)state;
	stop.interrupt.deliver_eintr = true;
	io_set_interrupt(&stop.interrupt);
	will_fail(&recv_front, EINTR);
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), -EINTR);
	will_fail(&send_front, EINTR);
	assert_int_equal(transmit("abc", 3, NETD_NEVER), -EINTR);
	will_fail(&poll_front, EINTR);
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), -EINTR);
	will_fail(&poll_front, EINTR);
	assert_int_equal(netd_sleep(10000), -EINTR);
	will_fail(&poll_front, EINTR);
	stop.rc = -ECANCELED; /* the signal was a stop: that counts */
	assert_int_equal(netd_sleep(10000), -ECANCELED);
}

static void nothing(int signo)
{
	(void)signo;
}

/* The same with a real signal in the middle of a real wait. */
static void a_real_signal(void **state)
{
	struct sigaction action = {.sa_handler = nothing}, old;
	/* Again and again: the first may come before the wait has begun. */
	struct itimerval every_20ms = {.it_value = {.tv_usec = 20000},
				       .it_interval = {.tv_usec = 20000}};
	struct itimerval never = {0};
	char data[8];
	int64_t before = netd_now();

	(void)state;
	sigaction(SIGALRM, &action, &old);
	setitimer(ITIMER_REAL, &every_20ms, NULL);
	assert_int_equal(receive(data, sizeof data, before + 60), -ETIMEDOUT);
	assert_true(netd_now() >= before + 60);
	stop.interrupt.deliver_eintr = true;
	io_set_interrupt(&stop.interrupt);
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), -EINTR);
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &old, NULL);
}

/* ------------------------------------------------------------------------------------- stops */

static void a_stop_ends_every_wait(void **state)
{
	struct netd_pollfd fd = {.fd = -1};
	char data[8];

	(void)state;
	io_set_interrupt(&stop.interrupt);
	fill_socket();
	for (int i = 0; i < 4; i++) {
		int64_t deadline = i % 2 ? netd_now() + 5000 : NETD_NEVER;

		if (i < 2)
			stop_now(); /* before the wait */
		else
			poll_front.before = stop_now; /* right before it sleeps */
		assert_int_equal(receive(data, sizeof data, deadline), -ECANCELED);
		assert_int_equal(transmit("x", 1, deadline), -ECANCELED);
		assert_int_equal(netd_sleep(5000), -ECANCELED);
		fd.fd = handle.fd;
		fd.events = NETD_IN;
		assert_int_equal(netd_poll(&fd, 1, deadline), -ECANCELED);
		while (read(stop.fds[0], data, sizeof data) > 0)
			;
		stop.rc = 0;
	}
}

static void a_wake_up_without_a_stop_goes_on_waiting(void **state)
{
	struct netd_pollfd fd = {.events = NETD_IN};
	char data[8];
	int64_t before = netd_now();

	(void)state;
	stop.drain = true;
	io_set_interrupt(&stop.interrupt);
	fd.fd = handle.fd;
	wake_only();
	assert_int_equal(netd_poll(&fd, 1, before + 30), 0);
	assert_true(netd_now() >= before + 30);
	assert_int_equal(stop.checks, 1);
	wake_only();
	peer_says_hi();
	assert_int_equal(netd_poll(&fd, 1, NETD_NEVER), 1); /* its own is not counted */
	assert_int_equal(fd.revents, NETD_IN);
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), 2);
}

/* The time for a stop comes while a handler waits, without a signal. */
static void the_deadline_of_the_interrupt_is_kept(void **state)
{
	char data[8];
	int64_t before = netd_now();

	(void)state;
	for (int no_descriptor = 0; no_descriptor < 2; no_descriptor++) {
		before = netd_now();
		stop.none = no_descriptor;
		stop.at = before + 30;
		stop.rc = -ECANCELED;
		io_set_interrupt(&stop.interrupt);
		assert_int_equal(receive(data, sizeof data, NETD_NEVER), -ECANCELED);
		assert_true(netd_now() >= before + 30);
	}
	stop.at = netd_now() + 5000; /* later than the wait's own */
	stop.checks = 0;
	assert_int_equal(receive(data, sizeof data, netd_now() + 20), -ETIMEDOUT);
	assert_int_equal(stop.checks, 0);
}

/* A peer that always has something to say, or always takes what it gets. */
static void a_stop_is_seen_though_there_is_never_a_wait(void **state)
{
	char data[2];
	ssize_t n;

	(void)state;
	io_set_interrupt(&stop.interrupt);
	for (int i = 0; i < 4; i++) {
		int64_t before = netd_now(), deadline = i % 2 ? before + 20000 : NETD_NEVER;

		stop_now();
		do {
			if (i < 2)
				peer_says_hi();
			n = i < 2 ? receive(data, sizeof data, deadline)
				  : transmit("hi", 2, deadline);
			drain_peer();
		} while (n == 2 && netd_now() < before + 5000);
		assert_int_equal(n, -ECANCELED);
		assert_int_equal(poll_front.calls, 0);
		handle.look_at = 0;
		while (i < 2 && recv(handle.fd, data, sizeof data, MSG_DONTWAIT) > 0)
			;
	}
}

/* Where a stop shuts the socket down, the call itself waits; afterwards the stop is the reason. */
static void a_socket_that_is_cut(void **state)
{
	char data[8];

	(void)state;
	handle.cut = true;
	io_set_interrupt(&stop.interrupt);
	peer_says_hi();
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), 2);
	assert_int_equal(recv_front.flags, 0);
	assert_int_equal(poll_front.calls, 0);
	will_fail(&recv_front, ECONNRESET);
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), -ECONNRESET);
	will_fail(&send_front, EPIPE);
	assert_int_equal(transmit("x", 1, NETD_NEVER), -EPIPE);
	shutdown(handle.fd, SHUT_RDWR);
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), 0); /* an end of another kind */
	stop.rc = -ECANCELED;
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), -ECANCELED);
	assert_int_equal(transmit("x", 1, NETD_NEVER), -ECANCELED);
	assert_int_equal(transmit("x", 1, netd_now() + 5000), -ECANCELED);
}

/* Where a stop is told again until it is heard, the call itself waits too. */
static void a_stop_that_repeats(void **state)
{
	char data[8];

	(void)state;
	stop.interrupt.repeats = true;
	io_set_interrupt(&stop.interrupt);
	peer_says_hi();
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), 2);
	assert_int_equal(recv_front.flags, 0);
	stop.rc = -ECANCELED;
	peer_says_hi();
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), -ECANCELED); /* asked before */
	assert_int_equal(transmit("x", 1, NETD_NEVER), -ECANCELED);
	stop.rc = 0;
	stop.at = netd_now() + 5000; /* a moment to be kept: only poll can */
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), 2);
	assert_int_equal(recv_front.flags, MSG_DONTWAIT);
	stop.at = NETD_NEVER;
	will_fail(&recv_front, EINTR);
	stop.give_up = stop.checks + 2; /* this call's first look, then the one after EINTR */
	assert_int_equal(receive(data, sizeof data, NETD_NEVER), -ECANCELED);
}

/* ----------------------------------------------------------------------------------- sending */

static void advance_takes_bytes_off_the_front(void **state)
{
	char text[] = "abcdef";

	(void)state;
	for (size_t n = 0; n <= 6; n++) {
		struct iovec parts[] = {{text, 1}, {text + 1, 0}, {text + 1, 3}, {text + 4, 2}};
		struct iovec *iov = parts;
		int count = 4;
		size_t left = 0;

		io_advance(&iov, &count, n);
		for (int i = 0; i < count; i++)
			left += iov[i].iov_len;
		assert_int_equal(left, 6 - n);
		if (n < 6)
			assert_ptr_equal(iov[0].iov_base, text + n);
		else
			assert_int_equal(count, 0);
	}
}

static void short_sends_are_continued(void **state)
{
	static const size_t limits[] = {1, 2, 3, 5, 0};
	char data[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		char one[] = "one ", none[] = "", two[] = "two";
		struct iovec iov[] = {{one, 4}, {none, 0}, {two, 3}};

		send_limit = limits[i];
		memset(data, 0, sizeof data);
		assert_int_equal(io_blocking.send(&handle, iov, 3, NETD_NEVER), 7);
		assert_int_equal(recv(peer, data, sizeof data, 0), 7);
		assert_string_equal(data, "one two");
		assert_true(send_front.flags & MSG_NOSIGNAL);
	}
	assert_int_equal(io_blocking.send(&handle, NULL, 0, NETD_NEVER), 0);
}

static void a_send_waits_for_room(void **state)
{
	int64_t before = netd_now();

	(void)state;
	fill_socket();
	assert_int_equal(transmit("x", 1, before + 30), -ETIMEDOUT);
	assert_true(netd_now() >= before + 30);
	fronts_reset();
	assert_int_equal(transmit("x", 1, netd_now()), -ETIMEDOUT);
	assert_int_equal(send_front.calls, 0);
	poll_front.before = drain_peer;
	assert_int_equal(transmit("x", 1, netd_now() + 5000), 1);
	assert_int_equal(poll_front.calls, 1);
}

static void a_send_to_nobody_is_an_error_not_a_signal(void **state)
{
	(void)state;
	close(peer);
	peer = -1;
	assert_int_equal(transmit("x", 1, NETD_NEVER), -EPIPE);
	assert_int_equal(transmit("x", 1, netd_now() + 5000), -EPIPE);
}

/* ---------------------------------------------------------------------------- poll and sleep */

static const size_t counts[] = {0, 1, 8, 9, 1000};

static void poll_of_any_number_of_descriptors(void **state)
{
	struct netd_pollfd *fds = calloc(1000, sizeof *fds);

	(void)state;
	assert_non_null(fds);
	for (int with_interrupt = 0; with_interrupt < 2; with_interrupt++) {
		io_set_interrupt(with_interrupt ? &stop.interrupt : NULL);
		for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
			size_t n = counts[i];
			char c[8];

			for (size_t at = 0; at < n; at++)
				fds[at] = (struct netd_pollfd){
				    .fd = handle.fd, .events = NETD_IN, .revents = NETD_FAILED};
			assert_int_equal(netd_poll(n ? fds : NULL, n, netd_now() + 5), 0);
			for (size_t at = 0; at < n; at++)
				assert_int_equal(fds[at].revents, 0);
			if (n == 0)
				continue;
			peer_says_hi();
			fds[0].fd = -1; /* left out */
			fds[n - 1] =
			    (struct netd_pollfd){.fd = handle.fd, .events = NETD_IN | NETD_OUT};
			assert_int_equal(netd_poll(fds, n, NETD_NEVER), n == 1 ? 1 : n - 1);
			assert_int_equal(fds[n - 1].revents, NETD_IN | NETD_OUT);
			assert_int_equal(netd_poll(fds, n, 0), n == 1 ? 1 : n - 1); /* past */
			assert_int_equal(read(handle.fd, c, sizeof c), 2);
		}
	}
	free(fds);
}

static void poll_tells_of_errors_and_ends(void **state)
{
	struct netd_pollfd fd = {.events = NETD_IN};

	(void)state;
	fd.fd = handle.fd;
	close(peer);
	peer = -1;
	assert_int_equal(netd_poll(&fd, 1, NETD_NEVER), 1);
	assert_true(fd.revents & NETD_HUP);
	will_fail(&poll_front, EINVAL);
	fd.revents = 77;
	assert_int_equal(netd_poll(&fd, 1, NETD_NEVER), -EINVAL);
	assert_int_equal(fd.revents, 77); /* untouched */
}

static void poll_of_too_many(void **state)
{
	struct netd_pollfd fds[9] = {{.fd = -1}};

	(void)state;
	assert_int_equal(netd_poll(fds, SIZE_MAX, NETD_NEVER), -EINVAL);
	assert_int_equal(netd_poll(fds, SIZE_MAX / sizeof *fds, NETD_NEVER), -EINVAL);
	scarce_from(0);
	assert_int_equal(netd_poll(fds, 9, NETD_NEVER), -ENOMEM);
	assert_false(scarce_over());
}

static void sleep_lasts(void **state)
{
	int64_t before = netd_now();

	(void)state;
	assert_int_equal(netd_sleep(30), 0);
	assert_true(netd_now() >= before + 30);
	before = netd_now();
	assert_int_equal(netd_sleep(0), 0);
	assert_int_equal(netd_sleep(-1), 0);
	assert_int_equal(netd_sleep(INT64_MIN), 0);
	assert_true(netd_now() - before < 5000);
	io_set_interrupt(&stop.interrupt);
	poll_front.before = stop_now;
	assert_int_equal(netd_sleep(INT64_MAX), -ECANCELED);
}

/* -------------------------------------------------------------------------------- operations */

static int add_one(void *arg)
{
	return *(int *)arg + 1;
}

static int pretend_poll(struct netd_pollfd *fds, size_t count, int64_t deadline)
{
	(void)fds, (void)count, (void)deadline;
	return 42;
}

static const struct io_ops pretend = {.name = "pretend", .poll = pretend_poll};

static void *ops_of_thread(void *arg)
{
	(void)arg;
	return strcmp(io_get_ops()->name, "blocking") == 0 ? NULL : arg;
}

static void each_thread_has_its_operations(void **state)
{
	pthread_t thread;
	void *wrong = &thread;

	(void)state;
	assert_ptr_equal(io_get_ops(), &io_blocking);
	io_set_ops(&pretend);
	assert_int_equal(netd_sleep(5000), 42);
	assert_int_equal(netd_poll(NULL, 0, NETD_NEVER), 42);
	assert_int_equal(pthread_create(&thread, NULL, ops_of_thread, &stop), 0);
	pthread_join(thread, &wrong);
	assert_null(wrong);
	io_set_ops(NULL);
	assert_ptr_equal(io_get_ops(), &io_blocking);
}

static void offload_is_a_plain_call(void **state)
{
	int n = 41;

	(void)state;
	assert_int_equal(netd_offload(add_one, &n), 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IO_TEST(a_read_gives_what_is_there),
	    IO_TEST(a_read_waits_until_its_deadline),
	    IO_TEST(a_failed_read_gives_its_errno),
	    IO_TEST(a_signal_does_not_end_a_wait),
	    IO_TEST(a_signal_ends_a_wait_when_catchint_is_off),
	    IO_TEST(a_real_signal),
	    IO_TEST(a_stop_ends_every_wait),
	    IO_TEST(a_stop_is_seen_though_there_is_never_a_wait),
	    IO_TEST(a_wake_up_without_a_stop_goes_on_waiting),
	    IO_TEST(the_deadline_of_the_interrupt_is_kept),
	    IO_TEST(a_socket_that_is_cut),
	    IO_TEST(a_stop_that_repeats),
	    IO_TEST(advance_takes_bytes_off_the_front),
	    IO_TEST(short_sends_are_continued),
	    IO_TEST(a_send_waits_for_room),
	    IO_TEST(a_send_to_nobody_is_an_error_not_a_signal),
	    IO_TEST(poll_of_any_number_of_descriptors),
	    IO_TEST(poll_tells_of_errors_and_ends),
	    IO_TEST(poll_of_too_many),
	    IO_TEST(sleep_lasts),
	    IO_TEST(each_thread_has_its_operations),
	    IO_TEST(offload_is_a_plain_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
