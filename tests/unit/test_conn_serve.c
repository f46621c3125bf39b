/*
 * test_conn_serve.c - a whole conversation: how each end is counted and logged, what the handler is
 * told about its peer, and memory that runs out anywhere in it.
 */
#include "conn_fixture.h"
#include "generic.h"
#include "scarce.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* What the callbacks of the service do; one conversation at a time. */
static struct {
	int open_rc, accept_rc, run_rc;
	const char *fatal_in; /* "open", "accept", "run": netd_fatal() there */
	struct buf calls;     /* in their order */
} act;

static int step(struct netd_conn *conn, const char *name, int rc)
{
	buf_addf(&act.calls, "%s ", name);
	if (act.fatal_in && strcmp(act.fatal_in, name) == 0)
		netd_fatal(conn, "fatal in %s", name);
	return rc;
}

static int on_open(struct netd_conn *conn)
{
	return step(conn, "open", act.open_rc);
}

static int on_accept(struct netd_conn *conn)
{
	return step(conn, "accept", act.accept_rc);
}

static int on_run(struct netd_conn *conn)
{
	netd_printf(conn, "served\n");
	return step(conn, "run", act.run_rc);
}

static void on_end(void *arg)
{
	(void)arg;
	buf_addf(&act.calls, "end ");
}

static int setup(void **state)
{
	struct stage *stage;

	if (stage_setup(state) < 0)
		return -1;
	stage = *state;
	stage->service.open = on_open;
	stage->service.accept = on_accept;
	stage->service.run = on_run;
	memset(&act, 0, sizeof act);
	act.accept_rc = 1;
	buf_init(&act.calls, 65536);
	return 0;
}

static int teardown(void **state)
{
	buf_finish(&act.calls);
	return stage_teardown(state);
}

#define SERVE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void expect_counts(struct stage *stage, uint64_t refused, uint64_t failed)
{
	assert_int_equal(atomic_load(&stage->counters.refused), refused);
	assert_int_equal(atomic_load(&stage->counters.failed), failed);
	assert_int_equal(atomic_load(&stage->counters.accepted), 0); /* the accept loop's */
}

/* The peer as it stands in the log lines of a conversation in memory. */
#define PEER "conn 1 (unix:uid=-1,pid=-1): "

static void expect_end(struct stage *stage, enum conn_end end, const char *calls, const char *log)
{
	assert_int_equal(netd_defer(stage->conn, on_end, NULL), 0);
	assert_int_equal(conn_serve(stage->conn), end);
	assert_string_equal(buf_text(&act.calls), calls);
	assert_log(stage, log);
	assert_null(stage->conn->escape);
}

/* -------------------------------------------------------------------------------------- ends */

static void served(void **state)
{
	struct stage *stage = *state;

	act.run_rc = 5;
	expect_end(stage, CONN_SERVED, "open accept run end ", "");
	expect_counts(stage, 0, 0);
	assert_output(stage, "served\n");
}

static void served_without_open_and_accept(void **state)
{
	struct stage *stage = *state;

	stage->service.open = stage->service.accept = NULL;
	expect_end(stage, CONN_SERVED, "run end ", "");
}

static void refused_by_the_service(void **state)
{
	struct stage *stage = *state;

	act.accept_rc = 0;
	expect_end(stage, CONN_REFUSED, "open accept end ", PEER "refused by the service\n");
	expect_counts(stage, 1, 0);
	assert_output(stage, "");
}

static void refused_by_an_error_in_accept(void **state)
{
	struct stage *stage = *state;

	act.accept_rc = -EIO;
	expect_end(stage, CONN_REFUSED, "open accept end ", PEER "refused by the service\n");
	expect_counts(stage, 1, 0);
}

static void skipped_by_open(void **state)
{
	struct stage *stage = *state;

	act.open_rc = -EMFILE;
	expect_end(stage, CONN_SKIPPED, "open end ", PEER "set-up failed: Too many open files\n");
	expect_counts(stage, 0, 1);
}

static void failed_with_an_errno(void **state)
{
	struct stage *stage = *state;

	act.run_rc = -EIO;
	expect_end(stage, CONN_FAILED, "open accept run end ",
		   PEER "ended in error: Input/output error\n");
	expect_counts(stage, 0, 1);
	assert_output(stage, "served\n"); /* what was written goes out all the same */
}

/* netd_fatal() is no errno: whatever run() returns, there is a line. */
static void failed_with_any_number(void **state)
{
	static const struct {
		int rc;
		const char *words;
	} cases[] = {
	    {-ECONNABORTED, PEER "ended in error: Software caused connection abort\n"},
	    {-1, PEER "ended in error: -1 was returned\n"},
	    {-ETIMEDOUT, PEER "ended in error: Connection timed out\n"},
	    {-ECANCELED, PEER "ended in error: the server is stopping\n"},
	    {-100000, PEER "ended in error: Unknown error 100000\n"},
	};
	struct stage *stage = *state;
	struct buf expected;

	buf_init(&expected, 4096);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		stage_again(stage);
		act.run_rc = cases[i].rc;
		assert_int_equal(conn_serve(stage->conn), CONN_FAILED);
		buf_adds(&expected, cases[i].words);
	}
	/* Down to info: the end by a stop of our own is no error. */
	check_log(stage, NETD_INFO, buf_text(&expected), __FILE__, __LINE__);
	expect_counts(stage, 0, ARRAY_LEN(cases));
	buf_finish(&expected);
}

/* The words of the call that failed are those of the line. */
static int fail_reading(struct netd_conn *conn)
{
	char data[10];
	ssize_t n = netd_read(conn, data, sizeof data);

	return act.run_rc ? act.run_rc : (int)n;
}

static void failed_with_the_words_of_the_call(void **state)
{
	struct stage *stage = *state;
	static const int returned[] = {0, -1, -ENOENT};

	stage->service.run = fail_reading;
	for (size_t i = 0; i < ARRAY_LEN(returned); i++) {
		stage_again(stage);
		act.run_rc = returned[i];
		wire_fail(&stage->wire, -ECONNRESET);
		assert_int_equal(conn_serve(stage->conn), CONN_FAILED);
	}
	/* That a peer is gone is told at level info. */
	assert_log(stage, PEER "ended in error: No such file or directory\n");
	check_log(stage, NETD_INFO,
		  PEER "ended in error: read: Connection reset by peer\n" PEER
		       "ended in error: read: Connection reset by peer\n" PEER
		       "ended in error: No such file or directory\n",
		  __FILE__, __LINE__);
}

static void ended_by_fatal(void **state)
{
	static const struct {
		const char *where, *calls;
		enum conn_end end;
	} cases[] = {
	    {"open", "open end ", CONN_SKIPPED},
	    {"accept", "open accept end ", CONN_REFUSED},
	    {"run", "open accept run end ", CONN_FAILED},
	};
	struct stage *stage = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		stage_again(stage);
		act.calls.len = 0;
		act.fatal_in = cases[i].where;
		assert_int_equal(netd_defer(stage->conn, on_end, NULL), 0);
		assert_int_equal(conn_serve(stage->conn), cases[i].end);
		assert_string_equal(buf_text(&act.calls), cases[i].calls);
		assert_null(stage->conn->escape);
	}
	assert_log(stage, PEER "fatal in open\n" PEER "fatal in accept\n" PEER "fatal in run\n");
	expect_counts(stage, 1, 2);
}

/* A mistake of the author's: there is no handler to end. */
static void fatal_outside_a_handler_aborts(void **state)
{
	struct stage *stage = *state;
	char *log;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		setrlimit(RLIMIT_CORE, &(struct rlimit){0});
		netd_fatal(stage->conn, "too early");
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	log = stage_log(stage, NETD_ERR);
	assert_string_equal(log, PEER "too early\n" PEER
				      "netd_fatal() called outside a handler: aborting\n");
	free(log);
}

static void the_debug_log_tells_the_story(void **state)
{
	struct stage *stage = *state;

	expect_end(stage, CONN_SERVED, "open accept run end ", "");
	check_log(stage, NETD_DEBUG,
		  PEER "connected from unix:uid=-1,pid=-1\n" PEER "accepted\n" PEER "ended\n",
		  __FILE__, __LINE__);
}

/* ------------------------------------------------------------------------------------- rules */

/* A conversation in memory meets the rules as 127.0.0.1. */
static void rule10_refused_by_a_rule(void **state)
{
	static const char *const denying[] = {
	    "[]",
	    "[{mask => '^10\\\\.', accept => 1}]",
	    "[{mask => '^127\\\\.', accept => 0}, {accept => 1}]",
	};
	struct stage *stage = *state;

	for (size_t i = 0; i < ARRAY_LEN(denying); i++) {
		char *log;

		stage_again(stage);
		stage_rules(stage, denying[i]);
		assert_int_equal(conn_serve(stage->conn), CONN_REFUSED);
		expect_counts(stage, i + 1, 0);
		log = stage_log(stage, NETD_ERR);
		assert_non_null(strstr(log, PEER "access not permitted: "));
		free(log);
	}
	assert_string_equal(buf_text(&act.calls), ""); /* the service never saw it */
}

static void the_rule_that_let_in_is_known(void **state)
{
	struct stage *stage = *state;

	assert_null(netd_client_get(stage->conn, "group"));
	assert_int_equal(netd_client_rule(stage->conn), 0);
	stage_rules(stage, "[{mask => '^10\\\\.'}, {mask => '^127\\\\.', accept => 1,"
			   " group => 'staff', list => [1]}]");
	assert_int_equal(conn_serve(stage->conn), CONN_SERVED);
	assert_int_equal(netd_client_rule(stage->conn), 2);
	assert_string_equal(netd_client_get(stage->conn, "group"), "staff");
	assert_null(netd_client_get(stage->conn, "list")); /* no text */
	assert_null(netd_client_get(stage->conn, "none"));
	assert_null(netd_peer_name(stage->conn)); /* no rule asked for one */
	stage->conn->name = strdup("host.example");
	assert_null(netd_peer_name(stage->conn)); /* not for Unix sockets */
	stage->conn->peer.family = AF_INET;
	assert_string_equal(netd_peer_name(stage->conn), "host.example");
}

static void the_variables_of_the_rule_are_given_one_by_one(void **state)
{
	struct stage *stage = *state;
	const char *name = "before", *value = "before";

	assert_int_equal(netd_client_env(stage->conn, 0, &name, &value), 0); /* no rules yet */
	stage_rules(stage, "[{accept => 1, env => {A => 'x y', _B => ''}}]");
	assert_int_equal(conn_serve(stage->conn), CONN_SERVED);
	assert_int_equal(netd_client_env(stage->conn, 2, &name, &value), 0);
	assert_int_equal(netd_client_env(stage->conn, -1, &name, &value), 0);
	assert_string_equal(name, "before"); /* left alone past the end */
	assert_int_equal(netd_client_env(stage->conn, 0, &name, &value), 1);
	assert_string_equal(name, "A");
	assert_string_equal(value, "x y");
	assert_int_equal(netd_client_env(stage->conn, 1, &name, &value), 1);
	assert_string_equal(name, "_B");
	assert_string_equal(value, "");
	assert_null(netd_client_get(stage->conn, "env")); /* no text */
}

/* ------------------------------------------------------------------------------------- peers */

static struct netd_conn *conn_from(struct stage *stage, const void *address, size_t size)
{
	struct sockaddr_storage storage = {0};
	struct netd_conn *conn;

	memcpy(&storage, address, size);
	assert_int_equal(conn_new(&conn, &stage->env, NULL, -1, &storage, (socklen_t)size, 9), 0);
	return conn;
}

static void a_peer_of_each_family(void **state)
{
	struct stage *stage = *state;
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(4711)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(4712)};
	static const struct {
		const char *v6, *host, *text;
	} cases[] = {
	    {"2001:db8::7", "2001:db8::7", "[2001:db8::7]:4712"},
	    {"::ffff:192.0.2.9", "192.0.2.9", "192.0.2.9:4712"},
	};
	struct netd_cred cred = {.uid = 5};
	struct netd_conn *conn;

	inet_pton(AF_INET, "192.0.2.7", &v4.sin_addr);
	conn = conn_from(stage, &v4, sizeof v4);
	assert_string_equal(netd_peer_host(conn), "192.0.2.7");
	assert_int_equal(netd_peer_port(conn), 4711);
	assert_string_equal(netd_peer_text(conn), "192.0.2.7:4711");
	assert_int_equal(netd_peer_cred(conn, &cred), -ENOTSUP);
	assert_int_equal(cred.uid, 5);
	assert_int_equal(netd_conn_id(conn), 9);
	conn_free(conn);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		inet_pton(AF_INET6, cases[i].v6, &v6.sin6_addr);
		conn = conn_from(stage, &v6, sizeof v6);
		assert_string_equal(netd_peer_host(conn), cases[i].host);
		assert_int_equal(netd_peer_port(conn), 4712);
		assert_string_equal(netd_peer_text(conn), cases[i].text);
		conn_free(conn);
	}
	v4.sin_family = AF_INET;
	conn = conn_from(stage, &v4, sizeof v4.sin_family); /* cut short: no port */
	assert_int_equal(netd_peer_port(conn), 0);
	conn_free(conn);
}

static void a_peer_on_a_unix_socket(void **state)
{
	NEEDS_OWN_SYSTEM("no credentials of peers");
	struct stage *stage = *state;
	struct sockaddr_storage address = {.ss_family = AF_UNIX};
	struct netd_cred cred = {0};
	struct netd_conn *conn;
	char text[80];
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(conn_new(&conn, &stage->env, NULL, fds[0], &address, 2, 1), 0);
	assert_int_equal(netd_peer_cred(conn, &cred), 0);
	assert_int_equal(cred.uid, getuid());
	assert_int_equal(cred.gid, getgid());
	assert_int_equal(cred.pid, getpid());
	assert_string_equal(netd_peer_host(conn), "");
	assert_int_equal(netd_peer_port(conn), 0);
	snprintf(text, sizeof text, "unix:uid=%d,pid=%d", (int)getuid(), (int)getpid());
	assert_string_equal(netd_peer_text(conn), text);
	assert_int_equal(netd_fd(conn), fds[0]);
	conn_free(conn);
	close(fds[1]);
}

static void a_conversation_in_memory_has_no_socket(void **state)
{
	struct stage *stage = *state;
	struct netd_cred cred;
	int anything;

	stage->env.server = (struct netd_server *)(void *)&anything;
	assert_int_equal(netd_fd(stage->conn), -1);
	assert_string_equal(netd_local_text(stage->conn), "");
	assert_int_equal(netd_peer_cred(stage->conn, &cred), -ENOTSUP);
	assert_null(netd_data(stage->conn));
	netd_set_data(stage->conn, &anything);
	assert_ptr_equal(netd_data(stage->conn), &anything);
	assert_ptr_equal(netd_conn_server(stage->conn), &anything);
	assert_string_equal(netd_version(), NETD_VERSION);
}

static void log_lines_of_a_handler(void **state)
{
	struct stage *stage = *state;

	netd_log(stage->conn, NETD_WARNING, "a %s", "warning");
	netd_error(stage->conn, "an error %d", 1);
	netd_debug(stage->conn, "a detail\nin two");
	check_log(stage, NETD_DEBUG,
		  PEER "a warning\n" PEER "an error 1\n" PEER "a detail\\nin two\n", __FILE__,
		  __LINE__);
	log_close(stage->env.log);
	stage->env.log = log_none();
	netd_debug(stage->conn, "nobody wants it"); /* and it is not formatted */
}

/* ------------------------------------------------------------- memory that runs out anywhere */

/* A handler that uses everything that takes memory, and gives up at the first failure. */
static int greedy(struct netd_conn *conn)
{
	char *line, *mine;
	ssize_t n;
	FILE *stream;

	mine = netd_alloc(conn, 100);
	if (!mine)
		return -errno;
	if (netd_defer(conn, on_end, NULL) < 0)
		return -ENOMEM;
	stream = netd_stdio(conn);
	if (!stream)
		return -errno;
	while ((n = netd_line(conn, &line)) > 0)
		if (netd_write(conn, line, (size_t)n) < 0)
			return -ENOMEM;
	if (n < 0)
		return (int)n;
	fprintf(stream, "from the stream\n");
	n = netd_printf(conn, "%20000d\n", 1);
	return n < 0 ? (int)n : 0;
}

static void memory_may_run_out_anywhere(void **state)
{
	NEEDS_OWN_SYSTEM("no streams over functions");
	struct stage *stage = *state;
	char text[6000];
	bool spared = false;
	long n;

	stage_rules(stage, "[{mask => ['^10\\\\.', '^127'], accept => 1}]");
	stage->service.run = greedy;
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\n';
	for (n = 0; !spared; n++) {
		enum conn_end end;

		stage_again(stage);
		wire_say(&stage->wire, "short\n");
		wire_put(&stage->wire, text, sizeof text);
		act.calls.len = 0;
		if (act.calls.data)
			act.calls.data[0] = '\0';
		scarce_from(n);
		end = conn_serve(stage->conn);
		spared = scarce_over();
		if (spared)
			assert_int_equal(end, CONN_SERVED);
		else
			assert_true(end == CONN_FAILED || end == CONN_REFUSED ||
				    end == CONN_SERVED); /* SERVED: it could do without */
		if (spared)
			assert_string_equal(buf_text(&act.calls), "open accept end ");
	}
	assert_true(n > 6);
	assert_int_equal(stage->wire.output.len, 6 + sizeof text + 16 + 20001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    SERVE_TEST(served),
	    SERVE_TEST(served_without_open_and_accept),
	    SERVE_TEST(refused_by_the_service),
	    SERVE_TEST(refused_by_an_error_in_accept),
	    SERVE_TEST(skipped_by_open),
	    SERVE_TEST(failed_with_an_errno),
	    SERVE_TEST(failed_with_any_number),
	    SERVE_TEST(failed_with_the_words_of_the_call),
	    SERVE_TEST(ended_by_fatal),
	    SERVE_TEST(fatal_outside_a_handler_aborts),
	    SERVE_TEST(the_debug_log_tells_the_story),
	    SERVE_TEST(rule10_refused_by_a_rule),
	    SERVE_TEST(the_rule_that_let_in_is_known),
	    SERVE_TEST(the_variables_of_the_rule_are_given_one_by_one),
	    SERVE_TEST(a_peer_of_each_family),
	    SERVE_TEST(a_peer_on_a_unix_socket),
	    SERVE_TEST(a_conversation_in_memory_has_no_socket),
	    SERVE_TEST(log_lines_of_a_handler),
	    SERVE_TEST(memory_may_run_out_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
