/*
 * test_poller.c - what every poller owes a connection (src/io/poller.h): bytes in and out, ends,
 * resets, waits and their watches, closing at any moment. test_poller_watch.c has the rest.
 */
#include "poller_fixture.h"

#include <netinet/tcp.h>

/* ------------------------------------------------------------------------------------- bytes */

static void lend_gives_the_bytes_and_a_spare_one_behind_them(void)
{
	struct end *end = connection();
	char *data;
	ssize_t n;

	for (int i = 0; i < 100; i++) {
		peer_says(end, "hello");
		n = borrow(end, &data);
		assert_int_equal(n, 5);
		assert_memory_equal(data, "hello", 5);
		data[n] = '\0';
		ops->give_back(poller, data);
	}
}

static void a_loan_is_never_larger_than_a_buffer_with_its_spare_byte(void)
{
	static char much[3 * IO_BUFFER], sink[3 * IO_BUFFER];
	struct end *end = connection();
	size_t total = 0;

	for (size_t i = 0; i < sizeof much; i++)
		much[i] = (char)(i * 31 + i / 251);
	assert_int_equal(send(end->peer, much, sizeof much, 0), sizeof much);
	while (total < sizeof much) {
		char *data;
		ssize_t n = borrow(end, &data);

		assert_true(n > 0 && n < IO_BUFFER);
		memcpy(sink + total, data, (size_t)n);
		memset(data, 0, (size_t)n + 1);
		ops->give_back(poller, data);
		total += (size_t)n;
	}
	assert_memory_equal(sink, much, sizeof much);
}

static void recv_takes_what_it_is_asked_for(void)
{
	static char much[IO_BUFFER + 100], sink[sizeof much];
	struct end *end = connection();

	for (size_t i = 0; i < sizeof much; i++)
		much[i] = (char)(i * 7 + i / 253);
	assert_int_equal(send(end->peer, much, sizeof much, 0), sizeof much);
	for (size_t total = 0; total < sizeof much;) {
		size_t left = sizeof much - total;
		ssize_t n = get(end, sink + total, left < 1000 ? left : 1000);

		assert_true(n > 0 && n <= 1000);
		total += (size_t)n;
	}
	assert_memory_equal(sink, much, sizeof much);
}

static void recv_and_lend_take_turns(void)
{
	struct end *end = connection();
	char got[13] = "", *data;
	size_t total = 0;

	peer_says(end, "abcdef");
	assert_int_equal(get(end, got, 2), 2);
	peer_says(end, "ghijkl");
	total = 2;
	while (total < 12) {
		ssize_t n = borrow(end, &data);

		assert_true(n > 0 && total + (size_t)n <= 12);
		memcpy(got + total, data, (size_t)n);
		ops->give_back(poller, data);
		total += (size_t)n;
		if (total < 12) {
			assert_int_equal(get(end, got + total, 1), 1);
			total++;
		}
	}
	assert_string_equal(got, "abcdefghijkl");
}

static void the_end_of_input_comes_after_the_bytes_and_stays(void)
{
	struct end *end = connection();
	char *data = NULL, c;

	peer_says(end, "last words");
	shutdown(end->peer, SHUT_WR);
	expect(end, "last words");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(borrow(end, &data), 0);
		assert_null(data); /* untouched */
		assert_int_equal(get(end, &c, 1), 0);
	}
	assert_int_equal(put(end, "still", 5), 0); /* the other direction is open */
	peer_expects(end, "still");
}

static void an_end_that_comes_while_nobody_waits_is_seen(void)
{
	struct end *end = connection();
	char *data;

	peer_says(end, "a");
	expect(end, "a");
	wait_to_go_on(end, NETD_OUT); /* the descriptor is known now */
	peer_says(end, "b");
	close_peer(end);
	settle();
	assert_int_equal(borrow(end, &data), 1);
	ops->give_back(poller, data);
	assert_int_equal(borrow(end, &data), 0);
}

static void a_reset_is_an_error(void)
{
	struct end *end = connection();
	char byte[] = "x", *data = NULL;
	struct iovec iov = {.iov_base = byte, .iov_len = 1};
	ssize_t n;

	reset_by_peer(end);
	assert_int_equal(borrow(end, &data), -ECONNRESET);
	assert_null(data);
	do
		n = ops->send(poller, &end->handle, &iov, 1);
	while (n >= 0);
	assert_true(n == -EPIPE || n == -ECONNRESET); /* and no SIGPIPE */
}

/* A receive that ends at a border has not emptied the socket. */
static void bytes_behind_urgent_data_or_passed_descriptors_are_not_forgotten(void)
{
	struct end *end = connection();
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	char bytes[] = "ab";
	struct iovec iov = {.iov_base = bytes, .iov_len = 2};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof control.room};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	*head = (struct cmsghdr){
	    .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(head), &end->peer, sizeof(int));
	peer_says(end, "x");
	expect(end, "x");
	wait_to_go_on(end, NETD_OUT);
	for (int i = 0; i < 3; i++) {
		if (over_tcp) {
			peer_says(end, "ab");
			assert_int_equal(send(end->peer, "!", 1, MSG_OOB), 1);
		} else {
			assert_int_equal(sendmsg(end->peer, &message, 0), 2);
		}
		peer_says(end, "cd");
		expect(end, "abcd");
	}
}

/* ------------------------------------------------------------------------------------- waits */

static void again_then_await_then_bytes(void)
{
	struct end *end = connection();
	struct ear ear = ear_for(-1, NETD_IN);
	char *data = NULL, c;

	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	assert_null(data);
	assert_true(end->handle.slot != 0);
	assert_int_equal(ops->recv(poller, &end->handle, &c, 1), -EAGAIN);
	await(end, &ear);
	settle();
	assert_int_equal(ear.fired, 0);
	peer_says(end, "now");
	assert_int_equal(ear.fired, 0); /* inside wait() only */
	wait_for(&ear, 1);
	assert_true(ear.watch.revents & NETD_IN);
	settle(); /* with the bytes still there */
	assert_int_equal(ear.fired, 1);
	expect(end, "now");
	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
}

static void bytes_that_come_between_a_short_read_and_the_wait(void)
{
	struct end *end = connection();
	char *data;

	for (int i = 0; i < 300; i++) {
		struct ear ear = ear_for(-1, NETD_IN);
		ssize_t n;

		peer_says(end, "abc");
		expect(end, "abc");
		if (i % 3 == 0)
			peer_says(end, "def");
		n = ops->lend(poller, &end->handle, &data);
		if (n != -EAGAIN) {
			assert_int_equal(n, 3);
			ops->give_back(poller, data);
			continue;
		}
		if (i % 3 == 1)
			peer_says(end, "def");
		await(end, &ear);
		if (i % 3 == 2)
			peer_says(end, "def");
		wait_for(&ear, 1);
		expect(end, "def");
	}
}

static void a_look_without_a_wait_sees_what_has_come(void)
{
	struct end *end = connection();
	int64_t until = clock_deadline(PATIENCE_MS);
	char *data;

	peer_says(end, "abc");
	assert_int_equal(borrow(end, &data), 3);
	ops->give_back(poller, data);
	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	peer_says(end, "d");
	while (ops->lend(poller, &end->handle, &data) != 1) {
		assert_true(clock_ms() < until);
		turn(0);
	}
	assert_int_equal(*data, 'd');
	ops->give_back(poller, data);
}

static void a_full_socket_says_again_until_the_peer_reads(void)
{
	struct end *end = connection();

	for (int i = 0; i < 3; i++) {
		struct ear ear = ear_for(-1, NETD_OUT);
		size_t total = fill(end);

		await(end, &ear);
		settle();
		assert_int_equal(ear.fired, 0);
		peer_drains(end, total);
		wait_for(&ear, 1);
		assert_true(ear.watch.revents & NETD_OUT);
		assert_int_equal(put(end, "room", 4), 0);
		peer_expects(end, "room");
	}
}

static void both_directions_are_awaited_at_once(void)
{
	struct end *end = connection();
	struct ear in = ear_for(-1, NETD_IN), out = ear_for(-1, NETD_OUT);
	size_t total = fill(end);
	char *data;

	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	await(end, &in);
	await(end, &out);
	settle();
	assert_int_equal(in.fired + out.fired, 0);
	peer_says(end, "abc");
	wait_for(&in, 1);
	assert_int_equal(out.fired, 0);
	expect(end, "abc");
	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	await(end, &in);
	peer_drains(end, total);
	wait_for(&out, 1);
	settle();
	assert_int_equal(in.fired, 1);
	disarm(&in);
}

static void a_failure_fires_both_directions(void)
{
	for (int known = 0; known < 2; known++) {
		struct end *end = connection();
		struct ear in = ear_for(-1, NETD_IN), out = ear_for(-1, NETD_OUT);
		char *data;

		if (known) {
			peer_says(end, "x");
			expect(end, "x");
		}
		fill(end);
		assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
		await(end, known ? &in : &out);
		await(end, known ? &out : &in);
		if (over_tcp)
			reset_by_peer(end);
		else
			close_peer(end); /* with unread bytes */
		wait_for(&in, 1);
		wait_for(&out, 1);
		assert_true(borrow(end, &data) <= 0);
	}
}

static void disarmed_before_it_happens(void)
{
	struct end *end = connection();
	struct ear ear = ear_for(-1, NETD_IN);
	char *data;

	disarm(&ear); /* takes one that was never armed */
	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	await(end, &ear);
	disarm(&ear);
	disarm(&ear);
	peer_says(end, "abc");
	settle();
	assert_int_equal(ear.fired, 0);
	expect(end, "abc"); /* nothing was lost */
}

static void disarmed_between_the_event_and_the_wait(void)
{
	struct end *end = connection();
	struct ear ear = ear_for(-1, NETD_IN);
	char *data;

	for (int i = 0; i < 10; i++) {
		assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
		await(end, &ear);
		if (i % 2)
			settle();
		peer_says(end, "abc");
		disarm(&ear);
		settle();
		assert_int_equal(ear.fired, 0);
		await(end, &ear); /* again, with the bytes there already */
		wait_for(&ear, 1);
		expect(end, "abc");
		ear.fired = 0;
	}
}

static void disarm_the_other(struct ear *ear)
{
	disarm(ear->other);
}

static void disarmed_by_another_that_fires(void)
{
	struct end *first = connection(), *second = connection();
	struct ear a = ear_for(-1, NETD_IN), b = ear_for(-1, NETD_IN);
	char *data;

	a.then = b.then = disarm_the_other;
	a.other = &b;
	b.other = &a;
	assert_int_equal(ops->lend(poller, &first->handle, &data), -EAGAIN);
	assert_int_equal(ops->lend(poller, &second->handle, &data), -EAGAIN);
	for (int i = 0; i < 10; i++) {
		a.fired = b.fired = 0;
		await(first, &a);
		await(second, &b);
		peer_says(first, "1");
		peer_says(second, "2");
		settle();
		assert_int_equal(a.fired + b.fired, 1);
		expect(first, "1");
		expect(second, "2");
	}
}

static void tell_the_peer(struct ear *ear)
{
	ear->other->fired++;
}

static void a_conversation_byte_by_byte(void)
{
	struct end *end = connection();
	struct ear count = {0};

	for (int i = 0; i < 1000; i++) {
		struct ear ear = ear_for(-1, NETD_IN);
		char c = (char)i, back;

		ear.then = tell_the_peer;
		ear.other = &count;
		assert_int_equal(ops->recv(poller, &end->handle, &back, 1), -EAGAIN);
		await(end, &ear);
		assert_int_equal(send(end->peer, &c, 1, 0), 1);
		wait_for(&ear, 1);
		assert_int_equal(get(end, &back, 1), 1);
		assert_int_equal(back, c);
		assert_int_equal(put(end, &back, 1), 0);
		assert_int_equal(peer_reads(end, &c, 1), 1);
	}
	assert_int_equal(count.fired, 1000);
}

/* ------------------------------------------------------------------------------------- ends */

/* The number of the handle that is being closed is free again. */
static void wait_until_closed(int fd)
{
	int64_t until = clock_deadline(PATIENCE_MS);

	while (fcntl(fd, F_GETFD) >= 0) {
		assert_true(clock_ms() < until);
		turn(clock_ms() + 1);
	}
}

/* The descriptor, not with this number. */
static int elsewhere(int fd, int number)
{
	int moved = fd;

	if (fd == number) {
		moved = fcntl(fd, F_DUPFD_CLOEXEC, number + 1);
		close(fd);
	}
	return moved;
}

/* A connection whose own end has this number. */
static struct end *connection_numbered(int fd)
{
	int fds[2], own;

	make_pair(fds);
	fds[1] = elsewhere(fds[1], fd);
	if (fds[0] != fd) {
		own = fcntl(fds[0], F_DUPFD_CLOEXEC, fd);
		close(fds[0]);
		fds[0] = own;
	}
	assert_int_equal(fds[0], fd);
	return connection_of(fds);
}

static void nothing_of_a_closed_connection_reaches_the_next_of_its_number(void)
{
	for (int i = 0; i < 4; i++) {
		struct end *old = connection(), *new;
		struct ear ear = ear_for(-1, NETD_IN);
		int number = old->handle.fd, alive = fcntl(number, F_DUPFD_CLOEXEC, 100);
		char *data;

		peer_says(old, "abc");
		expect(old, "abc");
		wait_to_go_on(old, NETD_OUT);
		if (i % 2)
			ops->expose(poller, &old->handle);
		if (i / 2)
			peer_says(old, "before");
		close_ours(old);
		wait_until_closed(number);
		new = connection_numbered(number);
		assert_int_equal(ops->lend(poller, &new->handle, &data), -EAGAIN);
		await(new, &ear);
		peer_says(old, "to the file that lives on in alive");
		settle();
		assert_int_equal(ear.fired, 0);
		assert_int_equal(ops->lend(poller, &new->handle, &data), -EAGAIN);
		peer_says(new, "def");
		wait_for(&ear, 1);
		expect(new, "def");
		close(alive);
		close_ours(new);
	}
}

/* Nothing more comes from the connection: 0, or reset because something was unread. */
static void peer_sees_the_end(struct end *end)
{
	char data[256];
	ssize_t n;

	do
		n = peer_reads(end, data, sizeof data);
	while (n > 0);
	assert_true(n == 0 || n == -ECONNRESET);
}

static void closed_at_any_moment(void)
{
	enum { FRESH, WAITED, UNREAD, READ, AT_THE_END, RESET, EXPOSED, MOMENTS };

	for (int moment = FRESH; moment < MOMENTS; moment++) {
		struct end *end = connection();
		char *data;

		if (moment == WAITED)
			wait_to_go_on(end, NETD_OUT);
		if (moment == UNREAD || moment == READ)
			peer_says(end, "abc");
		if (moment == READ)
			expect(end, "abc");
		if (moment == AT_THE_END) {
			shutdown(end->peer, SHUT_WR);
			assert_int_equal(borrow(end, &data), 0);
		}
		if (moment == RESET) {
			assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
			reset_by_peer(end);
		}
		if (moment == EXPOSED)
			ops->expose(poller, &end->handle);
		close_ours(end);
		if (moment != RESET)
			peer_sees_the_end(end);
	}
}

static void many_connections(void)
{
	enum { MANY = 2000 };
	struct end **all = calloc(MANY, sizeof(struct end *));
	struct ear *ears = calloc(MANY, sizeof *ears);
	char *data;

	for (int i = 0; i < MANY; i++) {
		all[i] = connection();
		ears[i] = ear_for(-1, NETD_IN);
		assert_int_equal(ops->lend(poller, &all[i]->handle, &data), -EAGAIN);
		await(all[i], &ears[i]);
	}
	for (int round = 0; round < 2; round++) {
		settle();
		ops->trim(poller);
		for (int i = 0; i < MANY; i++)
			peer_says(all[i], "hello");
		for (int i = 0; i < MANY; i++) {
			wait_for(&ears[i], 1);
			assert_int_equal(borrow(all[i], &data), 5);
			ops->give_back(poller, data);
			ears[i].fired = 0;
			assert_int_equal(ops->lend(poller, &all[i]->handle, &data), -EAGAIN);
			await(all[i], &ears[i]);
		}
	}
	for (int i = 0; i < MANY; i++) {
		disarm(&ears[i]);
		close_ours(all[i]);
	}
	ops->trim(poller);
	free(all);
	free(ears);
	peer_says(connection(), "and it goes on");
	expect(ends, "and it goes on");
}

static const struct row rows[] = {
    ROW(lend_gives_the_bytes_and_a_spare_one_behind_them),
    ROW(a_loan_is_never_larger_than_a_buffer_with_its_spare_byte),
    ROW(recv_takes_what_it_is_asked_for),
    ROW(recv_and_lend_take_turns),
    ROW(the_end_of_input_comes_after_the_bytes_and_stays),
    ROW(an_end_that_comes_while_nobody_waits_is_seen),
    ROW(a_reset_is_an_error),
    ROW(bytes_behind_urgent_data_or_passed_descriptors_are_not_forgotten),
    ROW(again_then_await_then_bytes),
    ROW(bytes_that_come_between_a_short_read_and_the_wait),
    ROW(a_look_without_a_wait_sees_what_has_come),
    ROW(a_full_socket_says_again_until_the_peer_reads),
    ROW(both_directions_are_awaited_at_once),
    ROW(a_failure_fires_both_directions),
    ROW(disarmed_before_it_happens),
    ROW(disarmed_between_the_event_and_the_wait),
    ROW(disarmed_by_another_that_fires),
    ROW(a_conversation_byte_by_byte),
    ROW(nothing_of_a_closed_connection_reaches_the_next_of_its_number),
    ROW(closed_at_any_moment),
    ROW(many_connections),
};

int main(void)
{
	return run_rows(rows, ARRAY_LEN(rows), true);
}
