/*
 * test_conn_deadline.c - how long a connection may wait: the handler's own deadlines within the
 * administrator's limits (rule 14), and what the system counts on a socket.
 */
#include "conn_fixture.h"
#include "generic.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define SHORT_MS 40

static struct netd_conn *conn;
static int peer;

/* A connection with these limits, accepted just now. */
static void begin(struct stage *stage, bool over_tcp, struct conn_limits limits)
{
	struct sockaddr_storage address = {.ss_family = over_tcp ? AF_INET : AF_UNIX};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof at;
	int fds[2], listener;

	stage->env.limits = limits;
	if (over_tcp) {
		listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
		assert_int_equal(listen(listener, 1), 0);
		assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &size), 0);
		assert_int_equal(connect(fds[1], (struct sockaddr *)&at, sizeof at), 0);
		fds[0] = accept(listener, NULL, NULL);
		assert_true(fds[0] >= 0);
		close(listener);
	} else {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	}
	peer = fds[1];
	assert_int_equal(conn_new(&conn, &stage->env, NULL, fds[0], &address, sizeof address, 1),
			 0);
	conn_accepted(conn);
}

static void end(void)
{
	conn = conn_free(conn);
	if (peer >= 0)
		close(peer);
	peer = -1;
}

static void says(const char *text)
{
	assert_int_equal(send(peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void logged(struct stage *stage, const char *words, int times)
{
	char *text = stage_log(stage, NETD_INFO), *at = text;
	int found = 0;

	while ((at = strstr(at, words))) {
		found++;
		at++;
	}
	if (found != times)
		fail_msg("'%s' %d times, expected %d:\n%s", words, found, times, text);
	free(text);
}

static void without_limits_there_is_nothing(void **state)
{
	struct stage *stage = *state;
	char c;

	begin(stage, true, (struct conn_limits){0});
	assert_null(conn->io.idle);
	assert_true(conn->deadline == NETD_NEVER);
	netd_set_deadline(conn, 4711);
	assert_true(conn->deadline == 4711);
	assert_int_equal(netd_read(conn, &c, 1), -ETIMEDOUT);
	assert_string_equal(netd_conn_error(conn), "read: the deadline passed");
	netd_set_deadline(conn, NETD_NEVER);
	says("x");
	assert_int_equal(netd_read(conn, &c, 1), 1);
	assert_int_equal(netd_watch(conn, NULL, 0, netd_now() + 1), 0);
	end();
	logged(stage, "timeout", 0);
}

static void rule14_the_earlier_counts(void **state)
{
	struct stage *stage = *state;
	int64_t total, now = netd_now();

	begin(stage, true, (struct conn_limits){.total_ms = 60000});
	total = conn->deadline;
	assert_in_range(total - now, 60000, 70000);
	netd_set_deadline(conn, NETD_NEVER);
	assert_true(conn->deadline == total);
	netd_set_deadline(conn, total + 1);
	assert_true(conn->deadline == total);
	netd_set_deadline(conn, total - 1);
	assert_true(conn->deadline == total - 1);
	netd_set_deadline(conn, INT64_MIN);
	assert_true(conn->deadline == INT64_MIN);
	end();
	begin(stage, true, (struct conn_limits){.total_ms = INT64_MAX, .idle_ms = INT64_MAX});
	assert_true(conn->deadline == NETD_NEVER); /* it is that long */
	assert_true(conn->io.idle->limit_ms == UINT32_MAX);
	end();
}

static const struct {
	struct conn_limits limits;
	const char *words;
} limits[] = {
    {{.first_byte_ms = SHORT_MS, .idle_ms = 90000, .total_ms = 90000},
     "first-byte-timeout: no byte within 0.04 s"},
    {{.first_byte_ms = 90000, .idle_ms = SHORT_MS, .total_ms = 90000},
     "idle-timeout: nothing moved for 0.04 s"},
    {{.first_byte_ms = 90000, .idle_ms = 90000, .total_ms = SHORT_MS},
     "total-timeout: still open after 0.04 s"},
    {{.first_byte_ms = SHORT_MS}, "first-byte-timeout: no byte within 0.04 s"},
    {{.idle_ms = SHORT_MS}, "idle-timeout: nothing moved for 0.04 s"},
    {{.total_ms = SHORT_MS}, "total-timeout: still open after 0.04 s"},
    /* Both at once: what is over for good. */
    {{.first_byte_ms = SHORT_MS, .total_ms = SHORT_MS}, "total-timeout: still open after 0.04 s"},
};

static void rule14_each_limit_ends_a_read(void **state)
{
	struct stage *stage = *state;

	for (size_t i = 0; i < ARRAY_LEN(limits) * 4; i++) {
		size_t at = i / 4;
		int64_t before = netd_now();
		char c, words[100];

		begin(stage, i % 2, limits[at].limits);
		if (i % 4 / 2) { /* what the handler sets is later */
			netd_set_deadline(conn, netd_now() + 80000);
			netd_set_timeout(conn, 80000);
		}
		assert_int_equal(netd_read(conn, &c, 1), -ETIMEDOUT);
		assert_true(netd_now() - before >= SHORT_MS);
		snprintf(words, sizeof words, "read: %s", limits[at].words);
		assert_string_equal(netd_conn_error(conn), words);
		assert_true(conn_ended_by_limit(conn, -ETIMEDOUT));
		assert_true(conn_ended_by_limit(conn, -1));
		assert_false(conn_ended_by_limit(conn, -EIO));
		says("too late");
		netd_set_deadline(conn, NETD_NEVER);
		netd_set_timeout(conn, 0);
		assert_int_equal(netd_read(conn, &c, 1), -ETIMEDOUT);
		assert_int_equal(netd_write(conn, "x", 1), 1); /* only gathered */
		assert_int_equal(netd_flush(conn), -ETIMEDOUT);
		assert_int_equal(netd_watch(conn, NULL, 0, NETD_NEVER), -ETIMEDOUT);
		end();
		snprintf(words, sizeof words, ": %s\n", limits[at].words);
		logged(stage, words, 1);
		assert_int_equal(truncate(stage->path, 0), 0);
	}
}

static void rule14_the_handlers_own_deadline_is_not_logged(void **state)
{
	struct stage *stage = *state;
	char c;

	begin(stage, true,
	      (struct conn_limits){.first_byte_ms = 90000, .idle_ms = 90000, .total_ms = 90000});
	netd_set_deadline(conn, netd_now() + SHORT_MS);
	assert_int_equal(netd_read(conn, &c, 1), -ETIMEDOUT);
	assert_string_equal(netd_conn_error(conn), "read: the deadline passed");
	netd_set_deadline(conn, NETD_NEVER);
	netd_set_timeout(conn, SHORT_MS);
	assert_int_equal(netd_read(conn, &c, 1), -ETIMEDOUT);
	assert_string_equal(netd_conn_error(conn), "read: nothing happened for 40 ms");
	assert_false(conn_ended_by_limit(conn, -ETIMEDOUT));
	says("x");
	assert_int_equal(netd_read(conn, &c, 1), 1);
	end();
	logged(stage, "timeout", 0);
}

static void rule14_bytes_in_time_count_though_they_are_read_late(void **state)
{
	struct stage *stage = *state;
	char c;

	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		begin(stage, over_tcp, (struct conn_limits){.first_byte_ms = SHORT_MS});
		says("xy");
		netd_sleep(2 * SHORT_MS);
		assert_int_equal(netd_read(conn, &c, 1), 1);
		netd_set_timeout(conn, 1);
		assert_int_equal(netd_read(conn, &c, 1), 1);
		assert_int_equal(netd_read(conn, &c, 1), -ETIMEDOUT); /* its own */
		end();
		begin(stage, over_tcp, (struct conn_limits){.first_byte_ms = SHORT_MS});
		close(peer); /* the end of input is no silence either */
		peer = -1;
		netd_sleep(2 * SHORT_MS);
		assert_int_equal(netd_read(conn, &c, 1), 0);
		end();
	}
	logged(stage, "timeout", 0);
}

/* Nor does it matter how little too late: the clocks of the system differ by a tick. */
static void rule14_bytes_in_time_count_at_the_very_moment(void **state)
{
	struct stage *stage = *state;

	for (int i = 0; i < 50; i++) {
		int64_t at;
		char c;

		begin(stage, i % 2, (struct conn_limits){.first_byte_ms = 3});
		at = conn_limited(conn)->accepted_at + 3;
		says("x");
		while (netd_now() < at)
			;
		assert_int_equal(netd_read(conn, &c, 1), 1);
		end();
	}
	logged(stage, "timeout", 0);
}

/* The first byte is waited for in reads: a handler that speaks first may do so. */
static void rule14_a_write_does_not_ask_for_the_first_byte(void **state)
{
	struct stage *stage = *state;
	char c;

	begin(stage, true, (struct conn_limits){.first_byte_ms = SHORT_MS});
	netd_sleep(2 * SHORT_MS);
	netd_write(conn, "hello", 5);
	assert_int_equal(netd_flush(conn), 0);
	assert_int_equal(netd_read(conn, &c, 1), -ETIMEDOUT);
	end();
	logged(stage, "first-byte-timeout", 1);
}

/* Waits that the handler ends early add up. */
static void rule14_ticks_add_up(void **state)
{
	struct stage *stage = *state;
	int64_t before;
	char c;

	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		int own = 0;

		begin(stage, over_tcp, (struct conn_limits){.idle_ms = 10 * SHORT_MS});
		netd_set_timeout(conn, SHORT_MS);
		before = netd_now();
		while (netd_read(conn, &c, 1) == -ETIMEDOUT &&
		       !conn_ended_by_limit(conn, -ETIMEDOUT))
			own++;
		assert_in_range(own, 1, 10);
		assert_true(netd_now() - before >= 10 * SHORT_MS);
		end();
	}
	logged(stage, "idle-timeout", 2);
}

static void rule14_a_write_that_stalls(void **state)
{
	struct stage *stage = *state;
	static const char zeros[100000];

	for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
		ssize_t n;

		begin(stage, over_tcp, (struct conn_limits){.idle_ms = 3 * SHORT_MS});
		do
			n = netd_write(conn, zeros, sizeof zeros);
		while (n > 0);
		assert_int_equal(n, -ETIMEDOUT);
		assert_string_equal(netd_conn_error(conn),
				    "write: idle-timeout: nothing moved for 0.12 s");
		end();
	}
	logged(stage, "idle-timeout", 2);
}

static int wait_for_word(struct netd_conn *of)
{
	char c;
	ssize_t n = netd_read(of, &c, 1);

	return n < 0 ? (int)n : 1;
}

static int say_yes(struct netd_conn *of)
{
	(void)of;
	return 1;
}

/* Whichever callback it was that waited for the client. */
static void rule14_an_end_by_a_limit_is_never_a_failure(void **state)
{
	struct stage *stage = *state;

	for (int at = 0; at < 3; at++) {
		stage->service.open = at == 0 ? wait_for_word : say_yes;
		stage->service.accept = at == 1 ? wait_for_word : say_yes;
		stage->service.run = at == 2 ? wait_for_word : say_yes;
		begin(stage, true, (struct conn_limits){.first_byte_ms = SHORT_MS});
		assert_int_equal(conn_serve(conn), CONN_SERVED);
		end();
	}
	assert_int_equal(stage->counters.refused + stage->counters.failed, 0);
	logged(stage, "first-byte-timeout", 3);
	logged(stage, "set-up failed", 0);
	logged(stage, "refused by the service", 0);
}

/* Probes of the system are answered by the peer's system, and move nothing. */
static void rule14_keep_alive_probes_are_no_traffic(void **state)
{
	static const int second[] = {TCP_KEEPIDLE, TCP_KEEPINTVL}, one = 1;
	struct stage *stage = *state;
	int64_t before = netd_now();
	char c;

	NEEDS_OWN_SYSTEM("the time of the last byte is not asked for");
	begin(stage, true, (struct conn_limits){.idle_ms = 1500});
	assert_int_equal(setsockopt(conn->io.fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one), 0);
	for (size_t i = 0; i < ARRAY_LEN(second); i++)
		assert_int_equal(setsockopt(conn->io.fd, IPPROTO_TCP, second[i], &one, sizeof one),
				 0);
	netd_set_deadline(conn, netd_now() + 10000);
	assert_int_equal(netd_read(conn, &c, 1), -ETIMEDOUT);
	assert_string_equal(netd_conn_error(conn), "read: idle-timeout: nothing moved for 1.5 s");
	assert_true(netd_now() - before >= 1500);
	end();
	logged(stage, "idle-timeout", 1);
}

/* -------------------------------------------------------- while somebody else uses the socket */

static void rule14_a_watch_sees_each_limit(void **state)
{
	struct stage *stage = *state;
	int pipes[2];

	NEEDS_OWN_SYSTEM("nothing is counted");
	assert_int_equal(pipe(pipes), 0);
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		struct netd_pollfd other = {.fd = pipes[0], .events = NETD_IN};
		int64_t before = netd_now();
		char words[100];

		begin(stage, true, limits[i].limits);
		assert_int_equal(netd_watch(conn, &other, 1, NETD_NEVER), -ETIMEDOUT);
		assert_true(netd_now() - before >= SHORT_MS);
		snprintf(words, sizeof words, "watch: %s", limits[i].words);
		assert_string_equal(netd_conn_error(conn), words);
		end();
	}
	begin(stage, true, limits[0].limits);
	says("x"); /* which nobody reads */
	netd_sleep(2 * SHORT_MS);
	assert_int_equal(netd_watch(conn, NULL, 0, netd_now() + SHORT_MS), 0);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_int_equal(
	    netd_watch(conn, &(struct netd_pollfd){pipes[0], NETD_IN, 0}, 1, NETD_NEVER), 1);
	end();
	close(pipes[0]);
	close(pipes[1]);
}

static void rule14_a_watch_sees_only_the_total_on_a_unix_socket(void **state)
{
	struct stage *stage = *state;

	begin(stage, false, (struct conn_limits){.first_byte_ms = 1, .total_ms = 1});
	assert_int_equal(netd_watch(conn, NULL, 0, NETD_NEVER), -ENOTSUP);
	assert_non_null(strstr(netd_conn_error(conn), "needs a TCP socket"));
	end();
	begin(stage, false,
	      (struct conn_limits){.first_byte_ms = 1, .idle_ms = 1, .total_ms = SHORT_MS});
	assert_int_equal(netd_watch(conn, NULL, 0, NETD_NEVER), -ENOTSUP);
	assert_int_equal(netd_watch(conn, NULL, 0, netd_now() + SHORT_MS / 2), 0);
	assert_int_equal(netd_watch(conn, NULL, 0, NETD_NEVER), -ETIMEDOUT);
	assert_non_null(strstr(netd_conn_error(conn), "total-timeout"));
	end();
	begin(stage, false, (struct conn_limits){.idle_ms = 1});
	assert_int_equal(netd_watch(conn, NULL, 0, NETD_NEVER), -ENOTSUP);
	end();
	begin(stage, false, (struct conn_limits){.total_ms = SHORT_MS});
	assert_int_equal(netd_watch(conn, NULL, 0, netd_now() + 1), 0);
	assert_int_equal(netd_watch(conn, NULL, 0, NETD_NEVER), -ETIMEDOUT);
	end();
	logged(stage, "total-timeout", 2);
}

static void traffic_is(uint64_t in, uint64_t out)
{
	uint64_t got_in = 99, got_out = 99;

	assert_int_equal(netd_traffic(conn, &got_in, &got_out), 0);
	assert_int_equal(got_in, in);
	assert_int_equal(got_out, out);
}

static void what_moved_is_counted_whoever_moved_it(void **state)
{
	struct stage *stage = *state;
	char data[16];

	NEEDS_OWN_SYSTEM("nothing is counted");
	begin(stage, true, (struct conn_limits){0});
	traffic_is(0, 0);
	assert_int_equal(netd_traffic(conn, NULL, NULL), 0);
	says("abc");
	assert_int_equal(netd_read(conn, data, sizeof data), 3);
	traffic_is(3, 0);
	netd_write(conn, "hello", 5);
	traffic_is(3, 0); /* gathered */
	netd_flush(conn);
	assert_int_equal(write(netd_fd(conn), "you", 3), 3);
	traffic_is(3, 8);
	assert_int_equal(shutdown(peer, SHUT_WR), 0); /* an end is no byte */
	assert_int_equal(netd_read(conn, data, sizeof data), 0);
	traffic_is(3, 8);
	end();
	begin(stage, true, (struct conn_limits){0});
	says("abc");
	assert_int_equal(netd_read(conn, data, sizeof data), 3);
	netd_write(conn, "hello", 5);
	assert_int_equal(netd_shutdown(conn), 0);
	traffic_is(3, 5);
	assert_int_equal(recv(peer, data, sizeof data, MSG_WAITALL), 5);
	traffic_is(3, 5);
	says("de");
	assert_int_equal(netd_read(conn, data, sizeof data), 2);
	traffic_is(5, 5);
	end();
}

static void nothing_is_counted_elsewhere(void **state)
{
	struct stage *stage = *state;
	uint64_t in = 1, out = 2;

	assert_int_equal(netd_traffic(stage->conn, &in, &out), -ENOTSUP);
	begin(stage, false, (struct conn_limits){0});
	assert_int_equal(netd_traffic(conn, &in, &out), -ENOTSUP);
	assert_true(in == 1 && out == 2);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STAGE_TEST(without_limits_there_is_nothing),
	    STAGE_TEST(rule14_the_earlier_counts),
	    STAGE_TEST(rule14_each_limit_ends_a_read),
	    STAGE_TEST(rule14_the_handlers_own_deadline_is_not_logged),
	    STAGE_TEST(rule14_bytes_in_time_count_though_they_are_read_late),
	    STAGE_TEST(rule14_bytes_in_time_count_at_the_very_moment),
	    STAGE_TEST(rule14_a_write_does_not_ask_for_the_first_byte),
	    STAGE_TEST(rule14_ticks_add_up),
	    STAGE_TEST(rule14_a_write_that_stalls),
	    STAGE_TEST(rule14_an_end_by_a_limit_is_never_a_failure),
	    STAGE_TEST(rule14_keep_alive_probes_are_no_traffic),
	    STAGE_TEST(rule14_a_watch_sees_each_limit),
	    STAGE_TEST(rule14_a_watch_sees_only_the_total_on_a_unix_socket),
	    STAGE_TEST(what_moved_is_counted_whoever_moved_it),
	    STAGE_TEST(nothing_is_counted_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
