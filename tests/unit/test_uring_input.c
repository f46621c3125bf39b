/*
 * test_uring_input.c - reading by io_uring: loans of provided buffers, clients that nobody reads,
 * buffers that run out, memory given back, descriptors that others use as well.
 */
#include "uring_fixture.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* -------------------------------------------------------------------------------------- buffers */

static void a_loan_is_a_buffer_of_the_kernel_and_one_byte_more(void)
{
	struct uring *uring = uring_here();
	struct end *one = connection(), *two = connection();
	static char much[2 * URING_BUFFER];
	char *first, *second;

	memset(much, 'x', sizeof much);
	assert_int_equal(send(one->peer, much, sizeof much, 0), sizeof much);
	assert_int_equal(borrow(one, &first), URING_BUFFER);
	assert_int_equal(send(two->peer, much, sizeof much, 0), sizeof much);
	assert_int_equal(borrow(two, &second), URING_BUFFER);
	first[URING_BUFFER] = '\0';
	second[URING_BUFFER] = '\0';
	assert_int_equal(strlen(first), URING_BUFFER);
	assert_int_equal(strlen(second), URING_BUFFER);
	assert_true(uring_buffers_find(&uring->received, first) < URING_BUFFERS_MAX);
	ops->give_back(poller, first);
	ops->give_back(poller, second);
	assert_int_equal(borrow(one, &first), URING_BUFFER);
	ops->give_back(poller, first);
	assert_int_equal(uring_buffers_find(&uring->received, much), URING_NO_BUFFER);
}

/* What recv() has left of a buffer is what is lent next. */
static void a_loan_begins_where_a_read_left_off(void)
{
	struct end *end = connection();
	char some[4], *data;

	peer_says(end, "abcdefgh");
	assert_int_equal(get(end, some, 3), 3);
	assert_memory_equal(some, "abc", 3);
	assert_int_equal(borrow(end, &data), 5);
	assert_memory_equal(data, "defgh", 5);
	ops->give_back(poller, data);
	assert_int_equal(uring_here()->received.used, 0);
}

/* As many at once as it happens. */
static void no_crowd_is_too_large(void)
{
	enum { MANY = 3 * URING_CROWD };
	struct uring *uring = uring_here();
	struct end *all[MANY];
	char *data;
	unsigned most;

	for (int i = 0; i < MANY; i++) {
		all[i] = connection();
		assert_int_equal(ops->lend(poller, &all[i]->handle, &data), -EAGAIN);
	}
	for (int round = 0; round < 30; round++) {
		for (int i = 0; i < MANY; i++)
			peer_says(all[i], "noise");
		for (int i = 0; i < 20; i++)
			turn(0);
		if (round == 15)
			most = uring->received.used;
	}
	assert_int_equal(uring->received.used, most);
	assert_true(most <= 12 * MANY);
	for (int i = 0; i < MANY; i++)
		for (int round = 0; round < 30; round++)
			expect(all[i], "noise");
	assert_int_equal(uring->received.used, 0);
}

/* The handler sleeps while its client sends without end: it gets a few buffers, not all. */
static void a_client_that_nobody_reads_cannot_take_all_buffers(void)
{
	struct uring *uring = uring_here();
	struct end *loud = connection(), *quiet = connection();
	static char much[1 << 20];
	unsigned char byte = 0;
	size_t sent = 0, got = 0;
	char *data;

	for (size_t i = 0; i < sizeof much; i++)
		much[i] = (char)(i % 251);
	assert_int_equal(ops->lend(poller, &loud->handle, &data), -EAGAIN);
	for (int i = 0; i < 300; i++) {
		ssize_t n = send(loud->peer, much + sent, 2000, MSG_DONTWAIT);

		sent += n > 0 ? (size_t)n : 0;
		turn(0);
		assert_true(uring->received.used <= 64);
	}
	peer_says(quiet, "me too");
	expect(quiet, "me too");
	shutdown(loud->peer, SHUT_WR);
	while (got < sent) { /* nothing was lost by the pause */
		ssize_t n = borrow(loud, &data);

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++) {
			assert_int_equal((unsigned char)data[i], byte);
			byte = (unsigned char)((byte + 1) % 251);
		}
		got += (size_t)n;
		ops->give_back(poller, data);
		if (got % 7 == 0)
			turn(0);
	}
	assert_int_equal(borrow(loud, &data), 0);
	assert_int_equal(uring->received.used, 0);
}

static void raise_limit(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Every handler sits on a loan: whoever comes then is served from other memory. */
static void nobody_starves_when_all_buffers_are_lent(void)
{
	enum { MANY = URING_BUFFERS_MAX + 100 };
	struct uring *uring = uring_here();
	struct end **all = calloc(MANY, sizeof *all);
	char **loans = calloc(MANY, sizeof *loans);
	char text[32], *data;
	unsigned others = 0;

	raise_limit();
	for (int i = 0; i < MANY; i++) {
		all[i] = connection();
		assert_int_equal(ops->lend(poller, &all[i]->handle, &data), -EAGAIN);
	}
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof text, "I am number %d.", i);
		peer_says(all[i], text);
	}
	for (int i = 0; i < MANY; i++) {
		ssize_t n = borrow(all[i], &loans[i]);

		assert_true(n > 0);
		loans[i][n] = '\0';
		others += uring_buffers_find(&uring->received, loans[i]) == URING_NO_BUFFER;
	}
	assert_int_equal(uring->received.used, URING_BUFFERS_MAX);
	assert_int_equal(others, MANY - URING_BUFFERS_MAX);
	assert_int_equal(buffers.used, others);
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof text, "I am number %d.", i);
		assert_string_equal(loans[i], text);
	}
	/* Bytes read by copying do not need one either. */
	peer_says(all[MANY - 1], "more");
	expect(all[MANY - 1], "more");
	for (int i = 0; i < MANY; i++)
		ops->give_back(poller, loans[i]);
	assert_int_equal(uring->received.used, 0);
	assert_int_equal(buffers.used, 0);
	/* And it is over when they have come back. */
	for (int i = 0; i < MANY; i++) {
		peer_says(all[i], "again");
		assert_int_equal(borrow(all[i], &data), 5);
		ops->give_back(poller, data);
		peer_says(all[i], "again");
		assert_int_equal(borrow(all[i], &data), 5);
		assert_true(uring_buffers_find(&uring->received, data) != URING_NO_BUFFER);
		ops->give_back(poller, data);
	}
	free(all);
	free(loans);
}

static size_t resident(const struct uring_buffers *received)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = (size_t)URING_BUFFERS_MAX * URING_BUFFER;
	static unsigned char map[URING_BUFFERS_MAX * URING_BUFFER / 4096 + 1];
	char *start = received->memory + (-(uintptr_t)received->memory & (page - 1));
	size_t count = 0;

	assert_int_equal(mincore(start, size, map), 0);
	for (size_t i = 0; i < size / page; i++)
		count += map[i] & 1;
	return count * page;
}

static void memory_is_given_back_but_not_what_is_in_use(void)
{
	enum { MANY = 300 };
	struct uring *uring = uring_here();
	struct end *all[MANY];
	static char much[URING_BUFFER];
	char *loans[MANY], *data;

	ops->trim(poller); /* there is nothing yet */
	assert_int_equal(resident(&uring->received), 0);
	memset(much, 'x', sizeof much);
	for (int i = 0; i < MANY; i++) {
		all[i] = connection();
		assert_int_equal(ops->lend(poller, &all[i]->handle, &data), -EAGAIN);
		assert_int_equal(send(all[i]->peer, much, sizeof much, 0), sizeof much);
	}
	for (int i = 0; i < MANY; i++)
		assert_int_equal(borrow(all[i], &loans[i]), sizeof much);
	assert_true(resident(&uring->received) >= MANY * sizeof much);
	assert_true(uring->received.goal >= MANY);
	for (int i = 1; i < MANY; i++)
		ops->give_back(poller, loans[i]);
	settle();
	ops->trim(poller);
	ops->trim(poller);
	if (uring->ring.is_deferred) {
		assert_true(resident(&uring->received) <= 4 * 4096);
		assert_int_equal(uring->received.goal, URING_BUFFERS_MIN);
	}
	assert_memory_equal(loans[0], much, sizeof much);
	ops->give_back(poller, loans[0]);
	for (int round = 0; round < 5; round++) /* all as before, with fewer buffers in the end */
		for (int i = 0; i < MANY; i++) {
			peer_says(all[i], "go on");
			expect(all[i], "go on");
		}
	if (uring->ring.is_deferred)
		assert_int_equal(uring->received.provided, URING_BUFFERS_MIN);
}

/* -------------------------------------------------------------------------------------- sharing */

static void an_exposed_descriptor_is_not_read_ahead(void)
{
	struct end *end = connection();
	struct pollfd unread = {.fd = end->handle.fd, .events = POLLIN};
	char *data, other[16] = "";

	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	turn(0);
	peer_says(end, "early ");
	settle();
	ops->expose(poller, &end->handle);
	assert_true(end->handle.exposed);
	assert_int_equal(uring_here()->slots[end->handle.slot].flags & URING_UNDER_WAY, 0);
	peer_says(end, "late");
	settle();
	assert_int_equal(poll(&unread, 1, 0), 1);
	assert_int_equal(recv(end->handle.fd, other, sizeof other, MSG_DONTWAIT), 4);
	assert_string_equal(other, "late");
	expect(end, "early ");
	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	peer_says(end, "now");
	assert_int_equal(borrow(end, &data), 3);
	assert_memory_equal(data, "now", 3);
	assert_int_equal(uring_buffers_find(&uring_here()->received, data), URING_NO_BUFFER);
	ops->give_back(poller, data);
	ops->expose(poller, &end->handle); /* again: nothing to do */
	close_peer(end);
	assert_int_equal(borrow(end, &data), 0);
}

/* Before the first read, and while somebody waits. */
static void exposing_does_not_disturb_who_waits(void)
{
	struct end *early = connection(), *late = connection(), *other = connection();
	struct ear ear = ear_for(-1, NETD_IN), others = ear_for(-1, NETD_IN);
	char *data;

	ops->expose(poller, &early->handle);
	peer_says(early, "hello");
	settle();
	expect(early, "hello");

	await(other, &others);
	await(late, &ear);
	turn(0);
	peer_says(other, "psst");
	ops->expose(poller, &late->handle); /* sees the other's completion: fires nothing yet */
	assert_int_equal(others.fired, 0);
	wait_for(&others, 1);
	assert_int_equal(ear.fired, 0);
	peer_says(late, "!");
	wait_for(&ear, 1);
	assert_int_equal(borrow(late, &data), 1);
	ops->give_back(poller, data);
	expect(other, "psst");
}

static void what_is_no_socket_is_told(void)
{
	int fds[2];
	char *data, c;
	struct end *end;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "?", 1), 1);
	end = connection_of(fds);
	assert_int_equal(borrow(end, &data), -ENOTSOCK);
	assert_int_equal(get(end, &c, 1), -ENOTSOCK);
	assert_true(uring_here()->slots[end->handle.slot].flags & URING_DIRECT);
}

/* ---------------------------------------------------------------------------------- the program */

static const struct row rows[] = {
    ROW(a_loan_is_a_buffer_of_the_kernel_and_one_byte_more),
    ROW(a_loan_begins_where_a_read_left_off),
    ROW(no_crowd_is_too_large),
    ROW(a_client_that_nobody_reads_cannot_take_all_buffers),
    ROW(nobody_starves_when_all_buffers_are_lent),
    ROW(memory_is_given_back_but_not_what_is_in_use),
    ROW(an_exposed_descriptor_is_not_read_ahead),
    ROW(exposing_does_not_disturb_who_waits),
    ROW(what_is_no_socket_is_told),
};

int main(void)
{
	return run_uring_rows("uring_input", rows, ARRAY_LEN(rows));
}
