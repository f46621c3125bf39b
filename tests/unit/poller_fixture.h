/*
 * poller_fixture.h - the scene of the tests that every poller must pass: a poller with its buffers,
 * connections (one end is the poller's, the other the test's own), watches that count. Each test
 * runs once for each poller, those of connections for TCP and for Unix sockets. After each one all
 * buffers have come back and no descriptor is left open.
 */
#ifndef TESTS_UNIT_POLLER_FIXTURE_H
#define TESTS_UNIT_POLLER_FIXTURE_H

#include "io/poller.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 60000 /* for what must happen: valgrind is slow */

/* A connection. */
struct end {
	struct end *next;
	struct io_handle handle; /* the poller's */
	int peer;                /* the test's own; -1: closed */
};

/* A watch that counts. */
struct ear {
	struct io_watch watch;
	int fired;
	void (*then)(struct ear *ear); /* called by fire; may be NULL */
	struct ear *other;             /* for it */
};

static const struct poller_ops *ops;
static struct poller *poller;
static struct buffers buffers;
static bool over_tcp;
static struct end *ends;
static int files_before;

/* ----------------------------------------------------------------------------------- waiting */

/* An io_uring that was closed a moment ago may interrupt its thread once more. */
static inline void turn(int64_t deadline)
{
	int rc;

	do
		rc = ops->wait(poller, deadline);
	while (rc == -EINTR);
	assert_int_equal(rc, 0);
}

static inline void fired(struct io_watch *watch)
{
	struct ear *ear = CONTAINER(watch, struct ear, watch);

	assert_false(watch->armed);
	assert_true(watch->revents & (watch->events | NETD_FAILED | NETD_HUP));
	ear->fired++;
	if (ear->then)
		ear->then(ear);
}

static inline struct ear ear_for(int fd, int events)
{
	return (struct ear){.watch = {.fire = fired, .fd = fd, .events = (short)events}};
}

static inline void wait_for(const struct ear *ear, int times)
{
	int64_t until = clock_deadline(PATIENCE_MS);

	while (ear->fired < times) {
		assert_true(clock_ms() < until);
		turn(until);
	}
	assert_int_equal(ear->fired, times);
}

static inline void arm(struct ear *ear)
{
	assert_false(ear->watch.armed);
	assert_int_equal(ops->arm(poller, &ear->watch), 0);
	assert_true(ear->watch.armed);
}

static inline void await(struct end *end, struct ear *ear)
{
	assert_false(ear->watch.armed);
	assert_int_equal(ops->await(poller, &end->handle, &ear->watch), 0);
	assert_true(ear->watch.armed);
}

static inline void disarm(struct ear *ear)
{
	ops->disarm(poller, &ear->watch);
	assert_false(ear->watch.armed);
}

/* What has happened before this is told when it returns. */
static inline void settle(void)
{
	int fds[2];
	char c;

	assert_int_equal(pipe(fds), 0);
	for (int i = 0; i < 2; i++) {
		struct ear ear = ear_for(fds[0], NETD_IN);

		assert_int_equal(write(fds[1], "!", 1), 1);
		arm(&ear);
		wait_for(&ear, 1);
		assert_int_equal(read(fds[0], &c, 1), 1);
	}
	close(fds[0]);
	close(fds[1]);
}

/* Nothing happens: a wait lasts as long as it should. */
static inline void nothing_wakes(void)
{
	int64_t until;

	settle();
	until = clock_ms() + 15;
	turn(until);
	assert_true(clock_ms() >= until);
}

/* ------------------------------------------------------------------------------------- pipes */

static inline void make_pipe(int fds[2])
{
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
}

static inline void close_both(const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

static inline void write_one(int fd)
{
	assert_int_equal(write(fd, "!", 1), 1);
}

static inline void read_one(int fd)
{
	char c;

	assert_int_equal(read(fd, &c, 1), 1);
}

/* ------------------------------------------------------------------------------- connections */

static inline int tcp_listener(struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof *address;

	*address =
	    (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
	assert_int_equal(listen(fd, 128), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)address, &size), 0);
	return fd;
}

static inline void make_pair(int fds[2])
{
	static struct sockaddr_in address;
	static int listener = -1;

	if (!over_tcp) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		return;
	}
	if (listener < 0) {
		listener = tcp_listener(&address);
		files_before++;
	}
	fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fds[1] >= 0);
	assert_int_equal(connect(fds[1], (struct sockaddr *)&address, sizeof address), 0);
	fds[0] = accept(listener, NULL, NULL);
	assert_true(fds[0] >= 0);
}

/* Closed after the test. */
static inline struct end *connection_of(const int fds[2])
{
	struct end *end = calloc(1, sizeof *end);

	assert_non_null(end);
	end->handle.fd = fds[0];
	end->peer = fds[1];
	end->next = ends;
	ends = end;
	return end;
}

static inline struct end *connection(void)
{
	int fds[2];

	make_pair(fds);
	return connection_of(fds);
}

static inline void close_peer(struct end *end)
{
	close(end->peer);
	end->peer = -1;
}

static inline void close_ours(struct end *end)
{
	ops->close_handle(poller, &end->handle);
	assert_int_equal(end->handle.fd, -1);
}

/* The peer is gone all at once: what it has not read is lost, and so is what we have not. */
static inline void reset_by_peer(struct end *end)
{
	struct linger linger = {.l_onoff = 1};

	if (over_tcp) {
		setsockopt(end->peer, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	} else {
		/* A Unix socket says so when something unread is in it. */
		char byte[] = "?";
		struct iovec iov = {.iov_base = byte, .iov_len = 1};

		assert_int_equal(ops->send(poller, &end->handle, &iov, 1), 1);
		settle();
	}
	close_peer(end);
}

static inline void wait_to_go_on(struct end *end, int direction)
{
	struct ear ear = ear_for(-1, direction);

	await(end, &ear);
	wait_for(&ear, 1);
}

/* As lend and recv, but they wait. */
static inline ssize_t borrow(struct end *end, char **data)
{
	for (;;) {
		ssize_t n = ops->lend(poller, &end->handle, data);

		if (n != -EAGAIN)
			return n;
		wait_to_go_on(end, NETD_IN);
	}
}

static inline ssize_t get(struct end *end, void *data, size_t size)
{
	for (;;) {
		ssize_t n = ops->recv(poller, &end->handle, data, size);

		if (n != -EAGAIN)
			return n;
		wait_to_go_on(end, NETD_IN);
	}
}

/* Send all of it. 0 or -errno. */
static inline int put(struct end *end, const void *data, size_t size)
{
	char copy[256];

	assert_true(size <= sizeof copy);
	memcpy(copy, data, size);
	for (size_t done = 0; done < size;) {
		struct iovec iov = {.iov_base = copy + done, .iov_len = size - done};
		ssize_t n = ops->send(poller, &end->handle, &iov, 1);

		if (n == -EAGAIN)
			wait_to_go_on(end, NETD_OUT);
		else if (n < 0)
			return (int)n;
		else
			done += (size_t)n;
	}
	return 0;
}

/* The next bytes are these. */
static inline void expect(struct end *end, const char *text)
{
	char data[256];
	size_t size = strlen(text), done = 0;

	assert_true(size < sizeof data);
	while (done < size) {
		ssize_t n = get(end, data + done, size - done);

		assert_true(n > 0);
		done += (size_t)n;
	}
	data[size] = '\0';
	assert_string_equal(data, text);
}

/* ------------------------------------------------------------------------------ the peer's end */

static inline void peer_says(const struct end *end, const char *text)
{
	assert_int_equal(send(end->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Waits by the poller, which may have to send what is to come. */
static inline ssize_t peer_reads(const struct end *end, void *data, size_t size)
{
	for (;;) {
		ssize_t n = recv(end->peer, data, size, MSG_DONTWAIT);
		struct ear ear = ear_for(end->peer, NETD_IN);

		if (n >= 0 || errno != EAGAIN)
			return n < 0 ? -errno : n;
		arm(&ear);
		wait_for(&ear, 1);
	}
}

static inline void peer_expects(const struct end *end, const char *text)
{
	char data[256];
	size_t size = strlen(text), done = 0;

	assert_true(size < sizeof data);
	while (done < size) {
		ssize_t n = peer_reads(end, data + done, size - done);

		assert_true(n > 0);
		done += (size_t)n;
	}
	data[size] = '\0';
	assert_string_equal(data, text);
}

/* Send until nothing more goes into the socket. */
static inline size_t fill(struct end *end)
{
	static char much[100000];
	struct iovec iov = {.iov_base = much, .iov_len = sizeof much};
	size_t total = 0;
	ssize_t n;

	while ((n = ops->send(poller, &end->handle, &iov, 1)) > 0)
		total += (size_t)n;
	assert_int_equal(n, -EAGAIN);
	return total;
}

static inline void peer_drains(const struct end *end, size_t total)
{
	static char much[100000];

	while (total > 0) {
		ssize_t n = peer_reads(end, much, total < sizeof much ? total : sizeof much);

		assert_true(n > 0);
		total -= (size_t)n;
	}
}

/* -------------------------------------------------------------------------------- the program */

struct row {
	const char *name;
	void (*test)(void);
	bool (*which)(void); /* is it for the poller in ops? NULL: for all */
};

#define ROW(test)                                                                                  \
	{                                                                                          \
#test, test, NULL                                                                  \
	}
#define ROW_FOR(which, test)                                                                       \
	{                                                                                          \
#test, test, which                                                                 \
	}

static void (*before_each)(void); /* set by main(); NULL: nothing */

struct trial {
	const struct poller_ops *ops;
	void (*test)(void);
	bool tcp;
};

static inline int files_open(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int count = 0;

	if (!folder) { /* no such thing here */
		for (int fd = 0; fd < 1024; fd++)
			count += fcntl(fd, F_GETFD) >= 0;
		return count;
	}
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static inline void finish_ends(void)
{
	while (ends) {
		struct end *end = ends;

		ends = end->next;
		if (end->handle.fd >= 0)
			close_ours(end);
		if (end->peer >= 0)
			close(end->peer);
		free(end);
	}
}

/* One test with a poller of its own. A poller that the system does not have, or forbids, is no
 * failure, but is said. */
static inline void run_trial(void **state)
{
	const struct trial *trial = *state;
	struct err err = {0};
	int rc;

	ops = trial->ops;
	over_tcp = trial->tcp;
	memset(&buffers, 0, sizeof buffers);
	files_before = files_open();
	if (before_each)
		before_each();
	rc = ops->open(&poller, &buffers, &err);
	if (rc == -ENOSYS || rc == -EPERM) {
		printf("# skipped: %s: %s\n", ops->name, err.text);
		return;
	}
	assert_int_equal(rc, 0);
	trial->test();
	finish_ends();
	ops->close(poller);
	assert_int_equal(buffers.used, 0);
	buffers_finish(&buffers);
	assert_int_equal(files_open(), files_before);
}

/* What a failed test leaves behind is not the next one's. */
static inline int forget_ends(void **state)
{
	(void)state;
	ends = NULL;
	return 0;
}

static struct CMUnitTest tests[512];
static struct trial trials[ARRAY_LEN(tests)];
static size_t tests_count;

static inline void add_trial(const struct row *row, const char *kind)
{
	static char names[ARRAY_LEN(tests)][128];
	size_t n = tests_count++;

	if (n == ARRAY_LEN(tests))
		abort();
	trials[n] = (struct trial){ops, row->test, strcmp(kind, "tcp_") == 0};
	snprintf(names[n], sizeof names[n], "%s_%s%s", ops->name, kind, row->name);
	tests[n] = (struct CMUnitTest){.name = names[n],
				       .test_func = run_trial,
				       .teardown_func = forget_ends,
				       .initial_state = &trials[n]};
}

/* Run each row for each poller, and for each kind of connection if it has any. */
static inline int run_rows(const struct row *rows, size_t count, bool connections)
{
	for (size_t p = 0; pollers[p]; p++) {
		ops = pollers[p];
		for (size_t i = 0; i < count; i++) {
			if (rows[i].which && !rows[i].which())
				continue;
			add_trial(&rows[i], connections ? "unix_" : "");
			if (connections)
				add_trial(&rows[i], "tcp_");
		}
	}
	return _cmocka_run_group_tests("pollers", tests, tests_count, NULL, NULL);
}

#endif
