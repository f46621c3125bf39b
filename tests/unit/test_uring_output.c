/*
 * test_uring_output.c - writing and closing by io_uring: posts, requests that outlive whoever made
 * them.
 */
#include "uring_fixture.h"

/* -------------------------------------------------------------------------------------- writing */

static void a_post_arrives_whole_however_slowly_it_is_read(void)
{
	struct end *end = connection();
	int little = 1;
	char *buffer = buffers_take(&buffers), some[600];
	size_t total;

	setsockopt(end->handle.fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof little);
	total = fill(end);
	for (size_t i = 0; i < IO_BUFFER; i++)
		buffer[i] = (char)(i % 253);
	assert_int_equal(ops->post(poller, &end->handle, buffer, IO_BUFFER), 0);
	peer_drains(end, total);
	for (size_t done = 0; done < IO_BUFFER;) {
		ssize_t n = peer_reads(end, some, sizeof some);

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++, done++)
			assert_int_equal(some[i], (char)(done % 253));
	}
	wait_to_go_on(end, NETD_OUT);
	assert_int_equal(ops->send(poller, &end->handle, NULL, 0), 0);
	assert_int_equal(buffers.used, 0);
}

/* The kernel says so of a post that it was not given. */
static void pretend_sent(struct end *end, const char *text, int result)
{
	struct uring *uring = uring_here();
	struct io_uring_cqe cqe = {.res = result};

	an_answer(end, text);
	cqe.user_data = name_of(end, URING_SEND);
	uring->ring.tail--;
	uring_complete(uring, &cqe);
}

static void a_post_that_stopped_short_goes_on(void)
{
	struct end *end = connection();

	pretend_sent(end, "already said: the rest", 14);
	peer_expects(end, "the rest");
	wait_to_go_on(end, NETD_OUT);
	pretend_sent(end, " that nobody took", -EINTR);
	peer_expects(end, " that nobody took");
	wait_to_go_on(end, NETD_OUT);
	pretend_sent(end, " at first", -EAGAIN);
	peer_expects(end, " at first");
	wait_to_go_on(end, NETD_OUT);
	assert_int_equal(ops->send(poller, &end->handle, NULL, 0), 0);
	pretend_sent(end, "to nobody", 0); /* would be said again for ever */
	assert_int_equal(ops->send(poller, &end->handle, NULL, 0), -EPIPE);
}

/* Whoever waits for room is told by the failed receive, and the other way round. */
static void a_failure_is_told_to_both(void)
{
	struct ear in = ear_for(-1, NETD_IN), out = ear_for(-1, NETD_OUT);
	struct end *end = connection(), *other = connection();
	struct uring *uring = uring_here();
	struct io_uring_cqe cqe = {.res = -ETIMEDOUT};
	char *data;

	await(end, &in);
	fill(end);
	await(end, &out);
	turn(0);
	cqe.user_data = name_of(end, URING_RECEIVE);
	uring->under_way++; /* the true one is still to come: a stray then */
	uring_complete(uring, &cqe);
	turn(NETD_NEVER);
	assert_int_equal(in.fired, 1);
	assert_int_equal(out.fired, 1);
	assert_int_equal(ops->lend(poller, &end->handle, &data), -ETIMEDOUT);
	uring->slots[end->handle.slot].flags |= URING_BIT(URING_RECEIVE);

	await(other, &in);
	turn(0);
	pretend_sent(other, "lost", -ETIMEDOUT);
	turn(NETD_NEVER);
	assert_int_equal(in.fired, 2);
	assert_int_equal(ops->send(poller, &other->handle, NULL, 0), -ETIMEDOUT);
}

static void a_failed_post_is_told_by_the_next_send_and_the_next_post(void)
{
	struct end *end = connection();
	char *buffer;
	struct ear out = ear_for(-1, NETD_OUT);
	ssize_t rc;

	shutdown(end->handle.fd, SHUT_WR);
	an_answer(end, "into the void");
	assert_int_equal(ops->send(poller, &end->handle, NULL, 0), -EAGAIN);
	await(end, &out);
	wait_for(&out, 1);
	rc = ops->send(poller, &end->handle, NULL, 0);
	assert_int_equal(rc, -EPIPE);
	buffer = buffers_take(&buffers);
	assert_int_equal(ops->post(poller, &end->handle, buffer, 1), -EPIPE);
	buffers_give(&buffers, buffer);
	await(end, &out); /* nothing to wait for */
	wait_for(&out, 2);
}

static void one_post_at_a_time(void)
{
	struct end *end = connection();
	char *buffer = buffers_take(&buffers);
	struct iovec iov = {.iov_base = buffer, .iov_len = 1};

	an_answer(end, "first");
	assert_int_equal(ops->post(poller, &end->handle, buffer, 1), -EAGAIN);
	assert_int_equal(ops->send(poller, &end->handle, &iov, 1), -EAGAIN);
	wait_to_go_on(end, NETD_OUT);
	*buffer = '!';
	assert_int_equal(ops->send(poller, &end->handle, &iov, 1), 1);
	buffers_give(&buffers, buffer);
	peer_expects(end, "first!");
}

/* ----------------------------------------------------------- requests that outlive their owners */

static void idle_costs_little(void)
{
	assert_true(sizeof(struct uring_slot) <= 48);
}

static void a_descriptor_is_open_while_a_request_names_it(void)
{
	struct uring *uring = uring_here();
	struct end *end = connection(), *other;
	int fd = end->handle.fd;
	uint32_t slot;
	char *data, c;

	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	turn(0);
	slot = end->handle.slot;
	close_ours(end);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	other = connection();
	assert_int_equal(ops->lend(poller, &other->handle, &data), -EAGAIN);
	assert_int_not_equal(other->handle.slot, slot);
	assert_int_not_equal(other->handle.fd, fd);
	while (uring->under_way > 1)
		turn(0);
	assert_true(fcntl(fd, F_GETFD) < 0);
	assert_int_equal(recv(end->peer, &c, 1, 0), 0);
	/* After the end of input nothing is under way, and it goes at once. */
	close_peer(other);
	assert_int_equal(borrow(other, &data), 0);
	fd = other->handle.fd;
	close_ours(other);
	assert_true(fcntl(fd, F_GETFD) < 0);
	assert_int_equal(uring->under_way, 0);
}

/* What a request brings for a connection that was closed is nobody's. */
static void input_after_the_close_goes_nowhere(void)
{
	struct uring *uring = uring_here();

	for (int i = 0; i < 200; i++) {
		struct end *end = connection();
		char *data;

		assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
		turn(0);
		peer_says(end, "too late");
		close_ours(end);
		close_peer(end);
	}
	while (uring->under_way)
		turn(0);
	assert_int_equal(uring->received.used, 0);
	assert_true(uring->slots_made < 16);
	assert_int_equal(uring->strays, 0);
}

static void what_was_posted_before_the_close_is_sent(void)
{
	struct end *end = connection();
	char *data, c;

	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	an_answer(end, "goodbye");
	close_ours(end);
	peer_expects(end, "goodbye");
	assert_int_equal(peer_reads(end, &c, 1), 0);
	assert_int_equal(buffers.used, 0);
}

/* ... but a peer that does not take it cannot keep the descriptor open. */
static void a_stuck_post_does_not_outlive_the_close(void)
{
	struct uring *uring = uring_here();
	struct end *end = connection();
	int fd = end->handle.fd;
	char *buffer = buffers_take(&buffers);

	fill(end);
	memset(buffer, 'x', IO_BUFFER);
	assert_int_equal(ops->post(poller, &end->handle, buffer, IO_BUFFER), 0);
	turn(0);
	assert_int_equal(ops->send(poller, &end->handle, NULL, 0), -EAGAIN);
	close_ours(end);
	while (uring->under_way)
		turn(clock_deadline(PATIENCE_MS));
	assert_true(fcntl(fd, F_GETFD) < 0);
	assert_int_equal(buffers.used, 0);
}

static void a_watch_may_be_gone_right_after_disarm(void)
{
	struct uring *uring = uring_here();
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	for (int i = 0; i < 1000; i++) {
		struct ear *ear = malloc(sizeof *ear);

		assert_non_null(ear);
		*ear = ear_for(fds[0], NETD_IN);
		arm(ear);
		if (i % 3 == 1)
			turn(0); /* the kernel has it */
		if (i % 3 == 2)
			assert_int_equal(write(fds[1], "!", 1), 1);
		disarm(ear);
		free(ear);
		while (uring->under_way > 20)
			turn(0);
	}
	close(fds[0]);
	close(fds[1]);
	while (uring->under_way)
		turn(0);
	assert_true(uring->slots_made < 32);
	assert_int_equal(uring->strays, 0);
}

static void slots_are_never_mistaken(void)
{
	struct uring *uring = uring_here();
	uint32_t slot = uring_slot_new(uring, -1), again;
	uint16_t generation = uring->slots[slot].generation;

	uring_slot_free(uring, &uring->slots[slot]);
	again = uring_slot_new(uring, -1);
	assert_int_equal(again, slot);
	assert_int_not_equal(uring->slots[slot].generation, generation);
	uring_slot_free(uring, &uring->slots[slot]);
	/* Many at a time: they move, and stay what they are. */
	for (uint32_t i = 0; i < 5000; i++)
		assert_int_equal(uring_slot_new(uring, (int)i), i + 1);
	for (uint32_t i = 0; i < 5000; i++) {
		assert_int_equal(uring->slots[i + 1].fd, i);
		uring_slot_free(uring, &uring->slots[i + 1]);
	}
}

/* The poller ends while requests are under way: nothing is written to memory that is gone. */
static void closing_the_poller_ends_what_is_under_way(void)
{
	char *buffer = buffers_take(&buffers), *data;
	struct end *reading = connection(), *writing = connection();
	struct ear ear = ear_for(reading->peer, NETD_IN);

	assert_int_equal(ops->lend(poller, &reading->handle, &data), -EAGAIN);
	fill(writing);
	assert_int_equal(ops->post(poller, &writing->handle, buffer, IO_BUFFER), 0);
	arm(&ear);
	turn(0);
	disarm(&ear);
	close_ours(reading);
	close_ours(writing);
	assert_true(uring_here()->under_way >= 3);
	/* run_trial() closes it, and counts buffers and descriptors. */
}

/* ---------------------------------------------------------------------------------- the program */

static const struct row rows[] = {
    ROW(idle_costs_little),
    ROW(a_descriptor_is_open_while_a_request_names_it),
    ROW(input_after_the_close_goes_nowhere),
    ROW(what_was_posted_before_the_close_is_sent),
    ROW(a_stuck_post_does_not_outlive_the_close),
    ROW(a_watch_may_be_gone_right_after_disarm),
    ROW(slots_are_never_mistaken),
    ROW(closing_the_poller_ends_what_is_under_way),
    ROW(a_post_arrives_whole_however_slowly_it_is_read),
    ROW(a_post_that_stopped_short_goes_on),
    ROW(a_failure_is_told_to_both),
    ROW(a_failed_post_is_told_by_the_next_send_and_the_next_post),
    ROW(one_post_at_a_time),
};

int main(void)
{
	return run_uring_rows("uring_output", rows, ARRAY_LEN(rows));
}
