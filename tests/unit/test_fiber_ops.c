/*
 * test_fiber_ops.c - the waits of fibers on every poller: reading, writing, deadlines, stops,
 * foreign descriptors, and the waits of an accept loop.
 */
#include "fiber_each.h"
#include "scarce.h"

#include <poll.h>

#define LONG_AGO 1

/* A fiber that makes one call on its end of a pair. */
struct talk {
	struct ground *g;
	struct io_handle mine, theirs;
	int64_t deadline;
	char data[64];
	ssize_t result, again;
	size_t size;
	int64_t ended_at;
	bool done;
};

static void talk_open(struct talk *talk, struct ground *g)
{
	*talk = (struct talk){.g = g, .deadline = NETD_NEVER};
	pair_open(&talk->mine, &talk->theirs);
}

static void talk_close(struct talk *talk)
{
	handle_close(&talk->mine);
	handle_close(&talk->theirs);
}

static void say(struct talk *talk, const char *text)
{
	assert_int_equal(write(talk->theirs.fd, text, strlen(text)), strlen(text));
}

static void end_talk(struct talk *talk)
{
	talk->ended_at = clock_ms();
	talk->done = true;
}

/* -------------------------------------------------------------------------------------- reading */

static void read_twice(void *arg)
{
	struct talk *talk = *(struct talk **)arg;
	const struct io_ops *ops = io_get_ops();

	talk->result = ops->recv(&talk->mine, talk->data, sizeof talk->data, talk->deadline);
	talk->again = ops->recv(&talk->mine, talk->data + 32, 32, talk->deadline);
	end_talk(talk);
}

static void a_read_waits_for_bytes_and_hears_of_the_end(void **state)
{
	struct ground *g = *state;
	struct talk talk;

	if (!each_open(g))
		return;
	talk_open(&talk, g);
	ground_start(g, 0, "", read_twice, &talk);
	let_run();
	assert_int_equal(use_of(g).waiting, 1);
	say(&talk, "hello");
	while (talk.result == 0)
		assert_int_equal(netd_sleep(1), 0);
	assert_int_equal(talk.result, 5);
	assert_memory_equal(talk.data, "hello", 5);
	assert_false(talk.done);
	handle_close(&talk.theirs);
	until_left(g, 0);
	assert_int_equal(talk.again, 0);
	talk_close(&talk);
}

static void lend_twice(void *arg)
{
	struct talk *talk = *(struct talk **)arg;
	const struct io_lending *lending = io_get_ops()->lending;
	char *data;

	for (int i = 0; i < 2; i++) {
		ssize_t n = lending->lend(&talk->mine, &data, talk->deadline);

		*(i ? &talk->again : &talk->result) = n;
		if (n > 0) {
			memcpy(talk->data + i * 32, data, (size_t)n);
			data[n] = '\0'; /* there is one more byte */
			netd_sleep(0);  /* it stays ours while others run */
			talk->size += memcmp(data, talk->data + i * 32, (size_t)n) == 0;
			lending->give_back(data);
		}
	}
	end_talk(talk);
}

static void a_loan_is_given_back(void **state)
{
	struct ground *g = *state;
	struct talk talk;

	if (!each_open(g))
		return;
	talk_open(&talk, g);
	ground_start(g, 0, "", lend_twice, &talk);
	let_run();
	assert_int_equal(g->fibers->buffers.used, 0); /* who waits has none */
	say(&talk, "one");
	while (talk.size == 0)
		assert_int_equal(netd_sleep(1), 0);
	say(&talk, "second");
	until_left(g, 0);
	assert_int_equal(talk.result, 3);
	assert_int_equal(talk.again, 6);
	assert_int_equal(talk.size, 2);
	assert_memory_equal(talk.data + 32, "second", 6);
	assert_int_equal(g->fibers->buffers.used, 0);
	talk_close(&talk);
}

static void a_deadline_ends_a_read_and_nothing_else(void **state)
{
	struct ground *g = *state;
	struct talk talk;
	int64_t begin;

	if (!each_open(g))
		return;
	talk_open(&talk, g);
	begin = clock_ms();
	talk.deadline = begin + 20;
	ground_start(g, 0, "", read_twice, &talk);
	until_left(g, 0);
	assert_int_equal(talk.result, -ETIMEDOUT);
	assert_int_equal(talk.again, -ETIMEDOUT);
	assert_true(talk.ended_at >= begin + 20);
	/* What comes later is the next reader's. */
	talk.deadline = NETD_NEVER;
	say(&talk, "late");
	ground_start(g, 0, "", read_twice, &talk);
	while (talk.result < 0)
		assert_int_equal(netd_sleep(1), 0);
	assert_int_equal(talk.result, 4);
	fibers_cancel(g->fibers);
	until_left(g, 0);
	assert_int_equal(talk.again, -ECANCELED);
	talk_close(&talk);
}

static void a_deadline_that_has_passed_reads_nothing(void **state)
{
	struct ground *g = *state;
	struct talk talk;

	if (!each_open(g))
		return;
	talk_open(&talk, g);
	say(&talk, "x");
	talk.deadline = LONG_AGO;
	ground_start(g, 0, "", read_twice, &talk);
	until_left(g, 0);
	assert_int_equal(talk.result, -ETIMEDOUT);
	talk_close(&talk);
}

/* -------------------------------------------------------------------------------------- writing */

#define MUCH ((size_t)3 << 20)

static void send_much(void *arg)
{
	struct talk *talk = *(struct talk **)arg;
	char *data = malloc(MUCH);
	struct iovec parts[3];

	for (size_t i = 0; data && i < MUCH; i++)
		data[i] = (char)(i * 31 >> 3);
	parts[0] = (struct iovec){data, 1};
	parts[1] = (struct iovec){data + 1, 0};
	parts[2] = (struct iovec){data ? data + 1 : NULL, MUCH - 1};
	talk->result = data ? io_get_ops()->send(&talk->mine, parts, 3, talk->deadline) : -ENOMEM;
	free(data);
	end_talk(talk);
}

/* Reads it slowly, in a fiber of its own. */
static void take_much(void *arg)
{
	struct talk *talk = *(struct talk **)arg;
	static char piece[7777];
	ssize_t n;

	while ((n = io_get_ops()->recv(&talk->theirs, piece, sizeof piece, NETD_NEVER)) > 0) {
		for (ssize_t i = 0; i < n; i++, talk->size++)
			talk->again += piece[i] != (char)(talk->size * 31 >> 3);
		if (talk->size == MUCH)
			return;
	}
}

static void much_is_sent_whole_while_others_run(void **state)
{
	struct ground *g = *state;
	struct talk talk;

	if (!each_open(g))
		return;
	talk_open(&talk, g);
	ground_start(g, 0, "", send_much, &talk);
	let_run();
	assert_false(talk.done); /* nobody reads */
	ground_start(g, 0, "", take_much, &talk);
	until_left(g, 0);
	assert_int_equal(talk.result, MUCH);
	assert_int_equal(talk.size, MUCH);
	assert_int_equal(talk.again, 0);
	talk_close(&talk);
}

static void a_write_that_nobody_reads_ends_at_its_deadline_or_at_a_stop(void **state)
{
	struct ground *g = *state;
	struct talk late, stopped, gone;

	if (!each_open(g))
		return;
	talk_open(&late, g);
	talk_open(&stopped, g);
	talk_open(&gone, g);
	late.deadline = clock_ms() + 10;
	ground_start(g, 0, "", send_much, &late);
	ground_start(g, 0, "", send_much, &stopped);
	ground_start(g, 0, "", send_much, &gone);
	until_left(g, 2);
	assert_int_equal(late.result, -ETIMEDOUT);
	handle_close(&gone.theirs);
	until_left(g, 1);
	assert_true(gone.result == -EPIPE || gone.result == -ECONNRESET);
	assert_false(stopped.done);
	fibers_cancel(g->fibers);
	until_left(g, 0);
	assert_int_equal(stopped.result, -ECANCELED);
	talk_close(&late);
	talk_close(&stopped);
	talk_close(&gone);
}

static int post_letter(struct talk *talk, char letter)
{
	const struct io_lending *lending = io_get_ops()->lending;
	char *buffer = lending->take_buffer();

	if (!buffer)
		return -ENOMEM;
	memset(buffer, letter, IO_BUFFER);
	return lending->post(&talk->mine, buffer, IO_BUFFER, talk->deadline);
}

static void post_letters(void *arg)
{
	struct talk *talk = *(struct talk **)arg;
	struct iovec nothing = {.iov_base = NULL};
	int rc = 0;

	for (char letter = 'a'; letter <= 'z' && rc >= 0; letter++)
		rc = post_letter(talk, letter);
	talk->again = rc;
	/* With no bytes it waits for those that are under way. */
	talk->result = rc < 0 ? rc : io_get_ops()->send(&talk->mine, &nothing, 0, talk->deadline);
	end_talk(talk);
}

static void take_letters(void *arg)
{
	struct talk *talk = *(struct talk **)arg;
	static char piece[1000];
	ssize_t n;

	while (talk->size < 26 * IO_BUFFER) {
		n = io_get_ops()->recv(&talk->theirs, piece, sizeof piece, NETD_NEVER);
		for (ssize_t i = 0; i < n; i++, talk->size++)
			talk->data[0] |= piece[i] != (char)('a' + talk->size / IO_BUFFER);
		if (n <= 0)
			return;
	}
}

static void what_is_posted_arrives_in_order(void **state)
{
	struct ground *g = *state;
	struct talk talk;

	if (!each_open(g))
		return;
	talk_open(&talk, g);
	ground_start(g, 0, "", post_letters, &talk);
	let_run();
	ground_start(g, 0, "", take_letters, &talk);
	until_left(g, 0);
	assert_int_equal(talk.result, 0);
	assert_int_equal(talk.size, 26 * IO_BUFFER);
	assert_int_equal(talk.data[0], 0);
	assert_int_equal(g->fibers->buffers.used, 0);
	talk_close(&talk);
}

static void a_post_that_fails_loses_no_buffer(void **state)
{
	struct ground *g = *state;
	struct talk gone, late, stopped;

	if (!each_open(g))
		return;
	talk_open(&gone, g);
	talk_open(&late, g);
	talk_open(&stopped, g);
	handle_close(&gone.theirs);
	late.deadline = clock_ms() + 10;
	ground_start(g, 0, "", post_letters, &gone);
	ground_start(g, 0, "", post_letters, &late);
	ground_start(g, 0, "", post_letters, &stopped);
	until_left(g, 1);
	assert_true(gone.result == -EPIPE || gone.result == -ECONNRESET);
	assert_int_equal(late.result, -ETIMEDOUT);
	fibers_cancel(g->fibers);
	until_left(g, 0);
	assert_int_equal(stopped.result, -ECANCELED);
	talk_close(&gone);
	talk_close(&late);
	talk_close(&stopped);
	/* A close ends what is under way, at the latest in the next waits. */
	while (g->fibers->buffers.used > 0)
		assert_int_equal(netd_sleep(1), 0);
}

static void a_closed_handle_is_gone(void **state)
{
	struct ground *g = *state;
	struct talk talk;
	char byte;

	if (!each_open(g))
		return;
	talk_open(&talk, g);
	talk.deadline = clock_ms() + 5;
	ground_start(g, 0, "", read_twice, &talk); /* the poller knows it */
	until_left(g, 0);
	handle_close(&talk.mine);
	assert_int_equal(talk.mine.fd, -1);
	while (read(talk.theirs.fd, &byte, 1) != 0)
		assert_int_equal(netd_sleep(1), 0);
	talk_close(&talk);
}

/* ------------------------------------------------------------------------------ many at once */

enum { PAIRS = 60, ROUNDS = 40 };

static void play(struct io_handle *handle, struct talk *talk, bool serves)
{
	const struct io_ops *ops = io_get_ops();
	char ball[4];

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct iovec part = {ball, sizeof ball};

		memset(ball, (int)('0' + i), sizeof ball);
		if (serves && ops->send(handle, &part, 1, NETD_NEVER) != sizeof ball)
			return;
		for (size_t n = 0; n < sizeof ball;) {
			ssize_t got = ops->recv(handle, ball + n, sizeof ball - n, NETD_NEVER);

			if (got <= 0)
				return;
			n += (size_t)got;
		}
		if (ball[0] != (char)('0' + i) || ball[3] != ball[0])
			return;
		part = (struct iovec){ball, sizeof ball};
		if (!serves && ops->send(handle, &part, 1, NETD_NEVER) != sizeof ball)
			return;
	}
	talk->size++;
}

static void play_mine(void *arg)
{
	struct talk *talk = *(struct talk **)arg;

	play(&talk->mine, talk, true);
}

static void play_theirs(void *arg)
{
	struct talk *talk = *(struct talk **)arg;

	play(&talk->theirs, talk, false);
}

static void many_talk_to_each_other(void **state)
{
	struct ground *g = *state;
	struct talk talks[PAIRS];

	if (!each_open(g))
		return;
	for (int i = 0; i < PAIRS; i++) {
		talk_open(&talks[i], g);
		ground_start(g, 0, "", play_mine, &talks[i]);
		ground_start(g, 0, "", play_theirs, &talks[i]);
	}
	until_left(g, 0);
	for (int i = 0; i < PAIRS; i++) {
		assert_int_equal(talks[i].size, 2);
		talk_close(&talks[i]);
	}
}

/* ---------------------------------------------------------------------------------- netd_poll() */

struct look {
	struct ground *g;
	struct netd_pollfd fds[100];
	size_t count;
	int64_t deadline;
	int result;
	bool done;
};

static void look_at(void *arg)
{
	struct look *look = *(struct look **)arg;

	look->result = netd_poll(look->fds, look->count, look->deadline);
	look->done = true;
}

static void several_may_wait_for_one_descriptor(void **state)
{
	struct ground *g = *state;
	struct look looks[5];
	struct talk talk;

	if (!each_open(g))
		return;
	talk_open(&talk, g);
	for (int i = 0; i < 5; i++) {
		looks[i] = (struct look){.g = g, .count = 1, .deadline = NETD_NEVER};
		looks[i].fds[0] = (struct netd_pollfd){.fd = talk.mine.fd, .events = NETD_IN};
		ground_start(g, 0, "", look_at, &looks[i]);
	}
	looks[4].fds[0].events = NETD_IN | NETD_OUT; /* that is so already */
	until_left(g, 4);
	assert_int_equal(looks[4].fds[0].revents, NETD_OUT);
	say(&talk, "x");
	until_left(g, 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(looks[i].result, 1);
		assert_int_equal(looks[i].fds[0].revents, NETD_IN);
	}
	talk_close(&talk);
}

static void one_may_wait_for_many_descriptors(void **state)
{
	struct ground *g = *state;
	struct look look = {.g = g, .count = 100, .deadline = NETD_NEVER};
	int ends[2];

	if (!each_open(g))
		return;
	assert_int_equal(os_pipe(ends), 0);
	for (size_t i = 0; i < 100; i++)
		look.fds[i] = (struct netd_pollfd){.fd = i % 3 ? ends[0] : -1, .events = NETD_IN};
	ground_start(g, 0, "", look_at, &look);
	let_run();
	assert_false(look.done);
	ground_put(ends[1]);
	until_left(g, 0);
	assert_int_equal(look.result, 66);
	assert_int_equal(look.fds[0].revents, 0);
	assert_int_equal(look.fds[1].revents, NETD_IN);
	close(ends[0]);
	close(ends[1]);
}

static void a_poll_ends_at_its_deadline(void **state)
{
	struct ground *g = *state;
	struct look look = {.g = g, .count = 2, .deadline = clock_ms() + 10};
	struct look stop = {.g = g, .count = 7, .deadline = NETD_NEVER};

	if (!each_open(g))
		return;
	for (size_t i = 0; i < 100; i++)
		look.fds[i] = stop.fds[i] =
		    (struct netd_pollfd){.fd = g->done[0], .events = NETD_IN};
	ground_start(g, 0, "", look_at, &look);
	ground_start(g, 0, "", look_at, &stop);
	until_left(g, 1);
	assert_int_equal(look.result, 0);
	assert_true(clock_ms() >= look.deadline);
	assert_false(stop.done);
	fibers_cancel(g->fibers);
	until_left(g, 0);
	assert_int_equal(stop.result, -ECANCELED);
}

static void a_poll_of_what_is_not_open_says_so(void **state)
{
	struct ground *g = *state;
	struct look look = {.g = g, .count = 1, .deadline = NETD_NEVER};
	int fd;

	if (!each_open(g))
		return;
	fd = dup(g->done[0]);
	close(fd);
	look.fds[0] = (struct netd_pollfd){.fd = fd, .events = NETD_IN};
	ground_start(g, 0, "", look_at, &look);
	until_left(g, 0);
	assert_int_equal(look.result, 1);
	assert_int_equal(look.fds[0].revents, POLLNVAL);
}

static void a_poll_without_memory_is_refused(void **state)
{
	struct ground *g = *state;
	struct netd_pollfd fds[10];

	if (!each_open(g))
		return;
	for (size_t i = 0; i < 10; i++)
		fds[i] = (struct netd_pollfd){.fd = g->done[0], .events = NETD_IN};
	scarce_from(0);
	assert_int_equal(netd_poll(fds, 10, clock_ms() + 5), -ENOMEM);
	assert_false(scarce_over());
	assert_int_equal(netd_poll(fds, 10, clock_ms() + 5), 0);
}

static int add_one(void *arg)
{
	return ++*(int *)arg;
}

static void offload_many(void *arg)
{
	struct talk *talk = *(struct talk **)arg;
	int value = 0;

	while (value < 30 && netd_offload(add_one, &value) == value)
		talk->size++;
	netd_sleep(1);
	end_talk(talk);
}

static void fibers_have_calls_made_elsewhere(void **state)
{
	struct talk talks[8] = {{0}};
	struct ground *g = *state;

	if (!each_open(g))
		return;
	for (int i = 0; i < 8; i++)
		ground_start(g, 0, "", offload_many, &talks[i]);
	until_left(g, 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(talks[i].size, 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(a_read_waits_for_bytes_and_hears_of_the_end),
	    EACH(a_loan_is_given_back),
	    EACH(a_deadline_ends_a_read_and_nothing_else),
	    EACH(a_deadline_that_has_passed_reads_nothing),
	    EACH(much_is_sent_whole_while_others_run),
	    EACH(a_write_that_nobody_reads_ends_at_its_deadline_or_at_a_stop),
	    EACH(what_is_posted_arrives_in_order),
	    EACH(a_post_that_fails_loses_no_buffer),
	    EACH(a_closed_handle_is_gone),
	    EACH(many_talk_to_each_other),
	    EACH(several_may_wait_for_one_descriptor),
	    EACH(one_may_wait_for_many_descriptors),
	    EACH(a_poll_ends_at_its_deadline),
	    EACH(a_poll_of_what_is_not_open_says_so),
	    EACH(a_poll_without_memory_is_refused),
	    EACH(fibers_have_calls_made_elsewhere),
	};

	return cmocka_run_group_tests_name("fiber_ops", tests, NULL, NULL);
}
