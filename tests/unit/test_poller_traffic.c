/*
 * test_poller_traffic.c - what every poller owes a connection (src/io/poller.h) with much traffic
 * or company: output that is taken over, big transfers, peers that send or read too much or
 * nothing, descriptors that others use as well.
 */
#include "poller_fixture.h"

#include <sys/ioctl.h>

/* ------------------------------------------------------------------------------------- posts */

/* Hand a text over to be sent: 0, or -errno and it is not. What posts nothing sends at once. */
static int post(struct end *end, const char *text)
{
	size_t size = strlen(text);
	char *buffer = buffers_take(&buffers);
	int rc;

	assert_non_null(buffer);
	memcpy(buffer, text, size);
	while ((rc = ops->post(poller, &end->handle, buffer, size)) == -EAGAIN)
		wait_to_go_on(end, NETD_OUT);
	if (rc == 0)
		return 0;
	buffers_give(&buffers, buffer); /* still ours */
	return rc == -ENOSYS ? put(end, text, size) : rc;
}

static void posts_arrive_in_order(void)
{
	struct end *end = connection();
	char text[32], all[256] = "";

	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof text, "post number %d, ", i);
		assert_int_equal(post(end, text), 0);
		strcat(all, text);
		if (i % 7 == 0) { /* sends stand in the same queue */
			assert_int_equal(put(end, "and ", 4), 0);
			strcat(all, "and ");
		}
		if (i % 10 == 9) {
			peer_expects(end, all);
			*all = '\0';
		}
	}
	shutdown(end->handle.fd, SHUT_WR);
	assert_int_equal(peer_reads(end, text, sizeof text), 0);
}

/* A request comes in, its answer is posted, the next one is waited for. */
static void a_conversation_by_posts(void)
{
	struct end *end = connection();
	char line[32];

	for (int i = 0; i < 500; i++) {
		snprintf(line, sizeof line, "line %d\n", i);
		peer_says(end, line);
		expect(end, line);
		assert_int_equal(post(end, line), 0);
		peer_expects(end, line);
	}
}

static void posts_to_one_who_is_gone_fail_in_the_end(void)
{
	struct end *end = connection();
	int64_t until = clock_deadline(PATIENCE_MS);
	int rc;

	assert_int_equal(post(end, "first"), 0);
	peer_expects(end, "first");
	reset_by_peer(end);
	while ((rc = post(end, "nobody reads this")) == 0) {
		assert_true(clock_ms() < until);
		turn(0);
	}
	assert_true(rc == -EPIPE || rc == -ECONNRESET);
	rc = put(end, "neither this", 12);
	assert_true(rc == -EPIPE || rc == -ECONNRESET);
}

/* Post until the poller takes no more: the peer does not read. */
static size_t post_until_full(struct end *end)
{
	size_t total = 0;
	char *buffer;
	int rc;

	do {
		buffer = buffers_take(&buffers);
		assert_non_null(buffer);
		memset(buffer, 'x', IO_BUFFER);
		rc = ops->post(poller, &end->handle, buffer, IO_BUFFER);
		if (rc == 0)
			total += IO_BUFFER;
		turn(0);
		assert_true(total < 100u << 20);
	} while (rc == 0);
	assert_true(rc == -EAGAIN || rc == -ENOSYS);
	buffers_give(&buffers, buffer);
	if (rc == -ENOSYS)
		total = fill(end);
	return total;
}

static void a_full_socket_takes_posts_again_when_the_peer_reads(void)
{
	struct end *end = connection();
	struct ear ear = ear_for(-1, NETD_OUT);
	size_t total = post_until_full(end);

	assert_true(buffers.used < 1024);
	await(end, &ear);
	settle();
	assert_int_equal(ear.fired, 0);
	peer_drains(end, total);
	wait_for(&ear, 1);
	assert_int_equal(post(end, "more"), 0);
	peer_expects(end, "more");
}

static void closed_with_an_unfinished_post(void)
{
	for (int i = 0; i < 3; i++) {
		struct end *end = connection();

		post_until_full(end);
		if (i == 1)
			ops->expose(poller, &end->handle);
		if (i == 2)
			close_peer(end);
		close_ours(end);
	}
	settle();
}

/* What was posted and not refused arrives although the connection is closed right after it. */
static void closed_right_after_a_post(void)
{
	for (int i = 0; i < 50; i++) {
		struct end *end = connection();
		char c;

		if (i % 2) {
			peer_says(end, "hello");
			expect(end, "hello");
		}
		assert_int_equal(post(end, "goodbye"), 0);
		close_ours(end);
		peer_expects(end, "goodbye");
		assert_int_equal(peer_reads(end, &c, 1), 0);
	}
}

/* ------------------------------------------------------------------------------------- much */

enum { TOTAL = 4 << 20 };

static char pattern_at(size_t offset)
{
	return (char)(offset * 31 + offset / 251);
}

/* The peer's side of an echo: as much as goes without waiting. */
static bool peer_goes_on(const struct end *end, size_t *sent, size_t *got)
{
	static char data[60000];
	bool moved = false;
	ssize_t n;

	if (*sent < TOTAL) {
		size_t size = TOTAL - *sent < sizeof data ? TOTAL - *sent : sizeof data;

		for (size_t i = 0; i < size; i++)
			data[i] = pattern_at(*sent + i);
		n = send(end->peer, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		assert_true(n > 0 || errno == EAGAIN);
		*sent += n > 0 ? (size_t)n : 0;
		moved = n > 0;
	}
	n = recv(end->peer, data, sizeof data, MSG_DONTWAIT);
	assert_true(n > 0 || errno == EAGAIN);
	for (ssize_t i = 0; i < n; i++)
		if (data[i] != pattern_at(*got + (size_t)i))
			fail_msg("byte %zu is wrong", *got + (size_t)i);
	*got += n > 0 ? (size_t)n : 0;
	return moved || n > 0;
}

/* Ours: a loan is sent back, in as many parts as it takes. */
struct echo {
	char *loan; /* NULL: nothing to send */
	size_t at, size;
};

static bool echo_goes_on(struct end *end, struct echo *echo)
{
	struct iovec iov[2];
	ssize_t n;

	if (!echo->loan) {
		n = ops->lend(poller, &end->handle, &echo->loan);
		if (n == -EAGAIN)
			return false;
		assert_true(n > 0);
		echo->at = 0;
		echo->size = (size_t)n;
	}
	n = (ssize_t)(echo->size - echo->at) / 2;
	iov[0] = (struct iovec){.iov_base = echo->loan + echo->at, .iov_len = (size_t)n};
	iov[1] = (struct iovec){.iov_base = echo->loan + echo->at + n,
				.iov_len = echo->size - echo->at - (size_t)n};
	n = ops->send(poller, &end->handle, iov, 2);
	if (n == -EAGAIN)
		return false;
	assert_true(n > 0);
	echo->at += (size_t)n;
	if (echo->at == echo->size) {
		ops->give_back(poller, echo->loan);
		echo->loan = NULL;
	}
	return true;
}

static void arm_once(struct ear *ear)
{
	if (!ear->watch.armed)
		arm(ear);
}

static void much_goes_there_and_back(void)
{
	struct end *end = connection();
	struct ear ours_in = ear_for(-1, NETD_IN), ours_out = ear_for(-1, NETD_OUT);
	struct ear in = ear_for(end->peer, NETD_IN), out = ear_for(end->peer, NETD_OUT);
	size_t sent = 0, got = 0;
	struct echo echo = {0};

	while (got < TOTAL) {
		bool moved = echo_goes_on(end, &echo);
		struct ear *ours = echo.loan ? &ours_out : &ours_in;

		if (peer_goes_on(end, &sent, &got) || moved)
			continue;
		if (!ours->watch.armed)
			await(end, ours);
		arm_once(&in);
		if (sent < TOTAL)
			arm_once(&out);
		turn(clock_deadline(PATIENCE_MS));
	}
	assert_int_equal(got, TOTAL);
	assert_null(echo.loan);
	disarm(&ours_in);
	disarm(&ours_out);
	disarm(&in);
	disarm(&out);
}

/* A peer that sends while nobody reads cannot make the poller hold ever more. */
static void a_flood_is_not_read_ahead_without_limit(void)
{
	static char much[65536];
	struct end *end = connection();
	size_t total = 0;
	int stuck = 0;
	char *data;

	memset(much, 'f', sizeof much);
	peer_says(end, "first");
	expect(end, "first");
	wait_to_go_on(end, NETD_OUT); /* whatever reads ahead does so from now on */
	while (total < 50u << 20 && stuck < 20) {
		ssize_t n = send(end->peer, much, sizeof much, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			total += (size_t)n;
		stuck = n > 0 ? 0 : stuck + 1;
		settle();
		assert_true(buffers.used < 1024);
	}
	assert_true(stuck > 0); /* it was stopped */
	while (total > 0) {     /* and nothing was lost */
		ssize_t n = borrow(end, &data);

		assert_true(n > 0 && (size_t)n <= total);
		assert_int_equal(data[0], 'f');
		assert_int_equal(data[n - 1], 'f');
		ops->give_back(poller, data);
		total -= (size_t)n;
	}
	peer_says(end, "last");
	expect(end, "last");
}

static void closed_in_a_flood(void)
{
	static char much[65536];

	for (int i = 0; i < 10; i++) {
		struct end *end = connection();
		char *data;

		send(end->peer, much, sizeof much, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (i % 2) {
			assert_true(borrow(end, &data) > 0);
			ops->give_back(poller, data);
		}
		if (i % 3 == 1)
			settle();
		send(end->peer, much, sizeof much, MSG_DONTWAIT | MSG_NOSIGNAL);
		close_ours(end);
		send(end->peer, much, sizeof much, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	settle();
}

/* ---------------------------------------------------------------------------------- company */

/* Let bytes arrive in our socket, where nobody takes them. */
static void wait_for_bytes_in_the_socket(const struct end *end, int count)
{
	int64_t until = clock_deadline(PATIENCE_MS);
	int there = 0;

	while (there < count) {
		assert_true(clock_ms() < until);
		turn(0);
		assert_int_equal(ioctl(end->handle.fd, FIONREAD, &there), 0);
	}
	settle();
	assert_int_equal(ioctl(end->handle.fd, FIONREAD, &there), 0);
	assert_int_equal(there, count);
}

static void nothing_is_read_ahead_of_an_exposed_descriptor(void)
{
	for (int known = 0; known < 3; known++) {
		struct end *end = connection();
		char data[16] = "";

		if (known) {
			peer_says(end, "abc");
			expect(end, "abc");
			wait_to_go_on(end, NETD_OUT);
		}
		if (known == 2) {
			peer_says(end, "before");
			settle();
		}
		assert_false(end->handle.exposed);
		ops->expose(poller, &end->handle);
		assert_true(end->handle.exposed);
		if (known == 2)
			expect(end, "before");
		peer_says(end, "for another");
		wait_for_bytes_in_the_socket(end, 11);
		assert_int_equal(recv(end->handle.fd, data, sizeof data, MSG_DONTWAIT), 11);
		assert_string_equal(data, "for another");
		peer_says(end, "for us");
		expect(end, "for us"); /* that still works */
		ops->expose(poller, &end->handle);
		assert_int_equal(put(end, "answer", 6), 0);
		peer_expects(end, "answer");
	}
}

/* ------------------------------------------------------------------- also a connection's own */

static void a_connections_own_descriptor_is_watched_too(void)
{
	for (int known = 0; known < 2; known++) {
		struct end *end = connection();
		struct ear in = ear_for(end->handle.fd, NETD_IN), out = in, own = in;
		char *data;

		if (known) {
			peer_says(end, "x");
			expect(end, "x");
			wait_to_go_on(end, NETD_OUT);
		}
		out.watch.events = NETD_OUT;
		ops->expose(poller, &end->handle);
		for (int i = 0; i < 5; i++) {
			assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
			await(end, &own);
			arm(&in);
			arm(&out);
			wait_for(&out, i + 1);
			assert_int_equal(in.fired + own.fired, i * 2);
			peer_says(end, "abc");
			wait_for(&in, i + 1);
			wait_for(&own, i + 1);
			expect(end, "abc");
		}
		arm(&in);
		peer_says(end, "d");
		disarm(&in);
		settle();
		assert_int_equal(in.fired, 5);
		arm(&in); /* it has been ready before */
		wait_for(&in, 6);
	}
}

static void room_on_a_connections_own_descriptor(void)
{
	struct end *end = connection();
	struct ear out = ear_for(end->handle.fd, NETD_OUT), own = out;
	struct ear in = ear_for(end->handle.fd, NETD_IN);
	size_t total = fill(end);

	ops->expose(poller, &end->handle);
	for (int i = 1; i <= 3; i++) {
		arm(&out);
		await(end, &own);
		arm(&in);
		disarm(&in);
		settle();
		assert_int_equal(out.fired + own.fired, 2 * i - 2);
		peer_drains(end, total);
		wait_for(&out, i);
		wait_for(&own, i);
		total = fill(end);
	}
}

/* As when a connection is dialled: watched first, then a connection's. */
static void a_watched_descriptor_becomes_a_connections_own(void)
{
	for (int i = 0; i < 4; i++) {
		int fds[2];
		struct ear out, in = ear_for(-1, NETD_IN);
		struct end *end;
		char *data;

		make_pair(fds);
		out = ear_for(fds[0], i % 2 ? NETD_OUT : NETD_IN);
		arm(&out);
		if (i % 2)
			wait_for(&out, 1);
		else
			disarm(&out);
		if (i / 2)
			ops->trim(poller);
		end = connection_of(fds);
		assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
		await(end, &in);
		settle();
		assert_int_equal(in.fired, 0);
		for (int round = 1; round < 4; round++) {
			peer_says(end, "abc");
			wait_for(&in, round);
			expect(end, "abc");
			assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
			await(end, &in);
		}
		disarm(&in);
	}
}

static void a_descriptor_becomes_a_connections_own_while_it_is_watched(void)
{
	for (int how = 0; how < 3; how++) {
		int fds[2];
		struct ear in, own = ear_for(-1, NETD_IN);
		struct end *end;
		char *data;

		make_pair(fds);
		in = ear_for(fds[0], NETD_IN);
		arm(&in);
		if (how)
			settle();
		end = connection_of(fds);
		assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
		if (how == 2)
			await(end, &own);
		peer_says(end, "abc");
		wait_for(&in, 1);
		if (how == 2)
			wait_for(&own, 1);
		expect(end, "abc");
	}
}

/* What is there and nobody asks for, or is of somebody else, lets a wait last. */
static void nothing_wakes_but_what_is_waited_for(void)
{
	struct end *end = connection(), *old = connection();
	int64_t until;
	int alive;

	wait_to_go_on(end, NETD_OUT);
	peer_says(end, "abc");
	nothing_wakes();
	nothing_wakes();
	expect(end, "abc");

	wait_to_go_on(old, NETD_OUT);
	alive = fcntl(old->handle.fd, F_DUPFD_CLOEXEC, 0);
	ops->expose(poller, &old->handle);
	close_ours(old);
	settle();
	until = clock_ms() + 15;
	peer_says(old, "to the one that has the copy");
	turn(until);
	assert_true(clock_ms() >= until);
	close(alive);
}

/* So long, in at most so many waits: looking now and then is no busy loop. */
static void wait_turns(int ms, int most)
{
	int64_t until = clock_ms() + ms;
	int turns = 0;

	settle();
	for (; clock_ms() < until; turns++)
		turn(until);
	assert_in_range(turns, 0, most);
}

/* Room is waited for, and an end of input is told as long as nobody takes it. */
static void a_peer_that_sends_no_more_makes_no_room(void)
{
	for (int foreign = 0; foreign < 2; foreign++) {
		struct end *end = connection();
		struct ear out = ear_for(end->handle.fd, NETD_OUT);
		size_t total = fill(end);

		assert_int_equal(shutdown(end->peer, SHUT_WR), 0);
		if (foreign)
			arm(&out);
		else
			await(end, &out);
		wait_turns(100, 20);
		assert_int_equal(out.fired, 0);
		peer_drains(end, total);
		wait_for(&out, 1);
		if (foreign)
			arm(&out);
		else
			await(end, &out);
		wait_for(&out, 2);
	}
}

static const struct row rows[] = {
    ROW(a_peer_that_sends_no_more_makes_no_room),
    ROW(a_descriptor_becomes_a_connections_own_while_it_is_watched),
    ROW(nothing_wakes_but_what_is_waited_for),
    ROW(posts_arrive_in_order),
    ROW(a_conversation_by_posts),
    ROW(posts_to_one_who_is_gone_fail_in_the_end),
    ROW(a_full_socket_takes_posts_again_when_the_peer_reads),
    ROW(closed_with_an_unfinished_post),
    ROW(closed_right_after_a_post),
    ROW(much_goes_there_and_back),
    ROW(a_flood_is_not_read_ahead_without_limit),
    ROW(closed_in_a_flood),
    ROW(nothing_is_read_ahead_of_an_exposed_descriptor),
    ROW(a_connections_own_descriptor_is_watched_too),
    ROW(room_on_a_connections_own_descriptor),
    ROW(a_watched_descriptor_becomes_a_connections_own),
};

int main(void)
{
	return run_rows(rows, ARRAY_LEN(rows), true);
}
