/* test_testkit.c - the public test kit: conversations in memory, real servers, and its words. */
#include "generic.h"
#include "netdaemon_test.h"
#include "scarce.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define QUIET "--logfile=/dev/null"

/* ---------------------------------------------------------------------------------- services */

/* Answers every line with "<line>"; some lines are orders. */
static int run(struct netd_conn *conn)
{
	char *line;
	ssize_t n;

	while ((n = netd_line(conn, &line)) > 0) {
		netd_chomp(line, (size_t)n);
		if (strcmp(line, "fail") == 0)
			return -EIO;
		if (strcmp(line, "fatal") == 0)
			netd_fatal(conn, "as ordered");
		if (strcmp(line, "crash") == 0)
			raise(SIGKILL);
		if (strcmp(line, "segv") == 0) {
			signal(SIGSEGV, SIG_DFL); /* a sanitizer has its own ideas */
			raise(SIGSEGV);
		}
		if (strcmp(line, "quit") == 0)
			return 0;
		if (strcmp(line, "bye") == 0)
			return netd_shutdown(conn);
		if (strcmp(line, "much") == 0)
			for (int i = 0; i < 65 << 10; i++)
				if (netd_printf(conn, "%1024d", i) < 0)
					return -1;
		if (strcmp(line, "who") == 0)
			netd_printf(conn, "%d %s\n", netd_fd(conn) >= 0, netd_peer_host(conn));
		if (strcmp(line, "deaf") == 0) {
			signal(SIGTERM, SIG_IGN);
			signal(SIGINT, SIG_IGN);
		}
		netd_printf(conn, "<%s>\n", line);
	}
	return (int)n;
}

static int refuse(struct netd_conn *conn)
{
	(void)conn;
	return 0;
}

static int skip_all(struct netd_conn *conn)
{
	(void)conn;
	return -EIO;
}

static int cannot_configure(struct netd_server *server)
{
	return netd_server_fail(server, -EINVAL, "not today");
}

/* A service whose start hangs. */
static int hang(struct netd_server *server)
{
	(void)server;
	for (;;)
		pause();
	return 0;
}

static int end_early(struct netd_server *server)
{
	(void)server;
	_exit(3);
}

static const struct netd_service service = NETD_SERVICE(.name = "kit", .run = run);

static struct netd_test *test; /* freed after each test */
static struct netd_test_client *client;
static int saved_stderr;

static int setup(void **state)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	dup2(null, STDERR_FILENO); /* services and servers log there */
	close(null);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	test = netd_test_free(test);
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	return 0;
}

#define KIT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Standard output is for results of tests, not for answers of servers. */
static int hide_stdout(void)
{
	int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	fflush(stdout);
	dup2(null, STDOUT_FILENO);
	close(null);
	return saved;
}

static void show_stdout(int saved)
{
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
}

/* --------------------------------------------------------------------------- talks in memory */

static int talk(const struct netd_service *of, const char *const *options, const char *input,
		char **output)
{
	return netd_test_talk(of, NULL, options, input, strlen(input), output, NULL);
}

static void a_talk_in_memory(void **state)
{
	char *output = NULL;
	size_t length = 0;

	(void)state;
	assert_int_equal(netd_test_talk(&service, NULL, NULL, "a\nbc\nwho", 8, &output, &length),
			 0);
	assert_string_equal(output, "<a>\n<bc>\n0 \n<who>\n");
	assert_int_equal(length, strlen(output));
	free(output);
	assert_int_equal(talk(&service, NULL, "", &output), 0);
	assert_string_equal(output, "");
	free(output);
	assert_int_equal(netd_test_talk(&service, NULL, NULL, NULL, 0, NULL, &length), 0);
	assert_int_equal(length, 0);
	assert_int_equal(talk(&service, NULL, "x", NULL), 0);
}

static void how_a_talk_may_end(void **state)
{
	struct netd_service other = service;
	char *output = NULL;

	(void)state;
	assert_int_equal(talk(&service, NULL, "a\nfail\nb\n", &output), -ECONNABORTED);
	assert_string_equal(output, "<a>\n");
	free(output);
	assert_int_equal(talk(&service, NULL, "fatal\n", &output), -ECONNABORTED);
	assert_string_equal(output, "");
	free(output);
	other.accept = refuse;
	assert_int_equal(talk(&other, NULL, "a\n", &output), 1);
	assert_string_equal(output, "");
	free(output);
	assert_int_equal(talk(&service, NULL, "a\nbye\nb\n", &output), 0);
	assert_string_equal(output, "<a>\n");
	free(output);
	assert_int_equal(talk(&service, NULL, "much\n", NULL), -ECONNABORTED); /* over 64 MiB */
	other.open = skip_all;
	assert_int_equal(talk(&other, NULL, "a\n", NULL), -ECONNABORTED);
}

static void a_talk_meets_the_rules_as_127_0_0_1(void **state)
{
	const struct netd_config *yes =
	    NETD_CONFIG(.clients = "[{mask => '^127\\\\.0\\\\.0\\\\.1$', accept => 1}]");
	const struct netd_config *no = NETD_CONFIG(.clients = "[{mask => '^10', accept => 1}]");

	(void)state;
	assert_int_equal(netd_test_talk(&service, yes, NULL, "a\n", 2, NULL, NULL), 0);
	assert_int_equal(netd_test_talk(&service, no, NULL, "a\n", 2, NULL, NULL), 1);
}

static void a_talk_that_cannot_begin(void **state)
{
	struct netd_service other = service;
	char *output = (char *)-1;
	int out, rc;

	(void)state;
	assert_int_equal(talk(&service, ARGS("--nonsense"), "", &output), -EINVAL);
	if (output != (char *)-1)
		free(output);
	assert_int_equal(talk(&service, ARGS("--mode=x"), "", NULL), -EINVAL);
	out = hide_stdout();
	rc = talk(&service, ARGS("--check", QUIET), "", NULL);
	show_stdout(out);
	assert_int_equal(rc, -EINVAL);
	other.configure = cannot_configure;
	assert_int_equal(talk(&other, NULL, "", NULL), -EINVAL);
	other.run = NULL;
	assert_int_equal(talk(&other, NULL, "", NULL), -EINVAL);
}

static void memory_may_run_out_in_a_talk(void **state)
{
	bool spared = false;
	long n;

	(void)state;
	for (n = 0; !spared; n++) {
		char *output = NULL;
		int rc;

		scarce_from(n);
		rc = netd_test_talk(&service, NULL, ARGS("--debug"), "a\n", 2, &output, NULL);
		spared = scarce_over();
		if (spared)
			assert_string_equal(output, "<a>\n");
		assert_true(spared ? rc == 0 : rc <= 0);
		free(output);
	}
	assert_true(n > 20);
}

/* ------------------------------------------------------------------------------ real servers */

static void start(const struct netd_service *of, const char *const *options, int64_t timeout_ms)
{
	test = netd_test_free(test);
	if (netd_test_start(&test, of, NULL, options, timeout_ms) < 0)
		fail_msg("%s", netd_test_error(test));
	if (netd_test_connect(test, &client) < 0)
		fail_msg("%s", netd_test_error(test));
}

static void a_server_in_every_mode(void **state)
{
	static const char *const modes[][3] = {{"--mode=single"},
					       {"--mode=fork"},
					       {"--mode=threads"},
					       {"--childs=2", "--mode=single"},
					       {"--childs=2", "--mode=threads"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		char text[64];
		int64_t pid;

		start(&service, ARGS(QUIET, modes[i][0], modes[i][1]), 0);
		assert_in_range(netd_test_port(test), 1, 65535);
		snprintf(text, sizeof text, "tcp:127.0.0.1:%d", netd_test_port(test));
		assert_string_equal(netd_test_address(test), text);
		pid = netd_test_pid(test);
		assert_int_equal(kill((pid_t)pid, 0), 0);
		assert_int_equal(netd_test_say(client, "hello\n"), 0);
		assert_int_equal(netd_test_expect(client, "<hello>\n"), 0);
		assert_int_equal(netd_test_send(client, "who\nquit\n", 9), 0);
		assert_int_equal(netd_test_expect(client, "1 127.0.0.1\n<who>\n"), 0);
		assert_int_equal(netd_test_expect_close(client), 0);
		assert_null(netd_test_close(client));
		assert_int_equal(netd_test_connect(test, &client), 0);
		assert_int_equal(netd_test_say(client, "x"), 0);
		assert_int_equal(netd_test_shutdown(client), 0);
		assert_int_equal(netd_test_expect(client, "<x>\n"), 0);
		assert_int_equal(netd_test_expect_close(client), 0);
		netd_test_close(client);
		assert_string_equal(netd_test_error(test), "");
		assert_int_equal(netd_test_stop(test), 0);
		assert_int_equal(netd_test_pid(test), -1);
		assert_int_equal(netd_test_stop(test), 0);
		assert_int_equal(kill((pid_t)pid, 0), -1);
	}
	assert_null(netd_test_free(NULL));
	assert_null(netd_test_close(NULL));
}

static void addresses_of_the_tests_own(void **state)
{
	char path[64], option[80];
	char dir[] = "/tmp/netdaemon-kit-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/socket", dir);
	snprintf(option, sizeof option, "--localpath=%s", path);
	start(&service, ARGS(QUIET, option), 0);
	assert_int_equal(netd_test_port(test), 0);
	assert_int_equal(strncmp(netd_test_address(test), "unix:/tmp/", 10), 0);
	assert_int_equal(netd_test_say(client, "who\n"), 0);
	assert_int_equal(netd_test_expect(client, "1 \n<who>\n"), 0);
	start(&service, ARGS(QUIET, "--bind=tcp:127.0.0.1:0"), 0);
	assert_int_equal(netd_test_say(client, "a\n"), 0);
	assert_int_equal(netd_test_expect(client, "<a>\n"), 0);
	test = netd_test_free(test);
	assert_int_equal(netd_test_start(&test, &service,
					 NETD_CONFIG(.localpath = path, .logfile = "/dev/null"),
					 NULL, 0),
			 0);
	assert_int_equal(netd_test_stop(test), 0);
	assert_int_equal(rmdir(dir), 0); /* the socket is gone with the server */
}

static void what_it_logs_goes_to_standard_error(void **state)
{
	char text[4096] = "";
	int fds[2];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	start(&service, NULL, 0);
	netd_test_close(client); /* it would be waited for */
	netd_test_stop(test);
	n = read(fds[0], text, sizeof text - 1);
	assert_true(n > 0);
	assert_non_null(strstr(text, "kit starting"));
	close(fds[0]);
	close(fds[1]);
}

/* ------------------------------------------------------------------------- that cannot start */

static void expect_no_start(const struct netd_service *of, const char *const *options, int code,
			    const char *words)
{
	int rc;

	test = netd_test_free(test);
	rc = netd_test_start(&test, of, NULL, options, code == -ETIMEDOUT ? 200 : 5000);
	if (rc != code || !strstr(netd_test_error(test), words))
		fail_msg("%d, %s", rc, netd_test_error(test));
	assert_int_equal(netd_test_pid(test), -1);
	assert_string_equal(netd_test_address(test), "");
	assert_int_equal(netd_test_port(test), 0);
	assert_true(netd_test_connect(test, &client) < 0);
}

static void servers_that_cannot_start(void **state)
{
	struct netd_service other = service;
	struct netd_test *first = NULL;
	char bind[64];
	int out, rc;

	(void)state;
	expect_no_start(&service, ARGS("--nonsense"), -EINVAL, "--nonsense: unknown option");
	expect_no_start(&service, ARGS("--mode=x"), -EINVAL, "--mode: found 'x'");
	test = netd_test_free(test);
	out = hide_stdout();
	rc = netd_test_start(&test, &service, NULL, ARGS("--help"), 2000);
	show_stdout(out);
	assert_int_equal(rc, -EINVAL);
	assert_string_equal(netd_test_error(test), "nothing to run");
	expect_no_start(&service, ARGS("--bind=unix:/nowhere/x"), -ENOENT, "unix:/nowhere/x");
	expect_no_start(&service, ARGS("--logfile=/nowhere/log"), -ENOENT, "/nowhere/log");
	other.configure = cannot_configure;
	expect_no_start(&other, NULL, -EINVAL, "not today");
	other.configure = end_early;
	expect_no_start(&other, NULL, -EIO, "the server ended before it listened");
	assert_int_equal(netd_test_stop(test), 3);
	other.configure = hang;
	expect_no_start(&other, NULL, -ETIMEDOUT, "the server did not start in time");
	other.run = NULL;
	expect_no_start(&other, NULL, -EINVAL, "the service has no .run");
	assert_int_equal(netd_test_start(&first, &service, NULL, ARGS(QUIET), 0), 0);
	snprintf(bind, sizeof bind, "--bind=%s", netd_test_address(first));
	expect_no_start(&service, ARGS(QUIET, bind), -EADDRINUSE, netd_test_address(first));
	netd_test_free(first);
}

static void without_memory_there_is_no_test(void **state)
{
	(void)state;
	scarce_from(0);
	assert_int_equal(netd_test_start(&test, &service, NULL, NULL, 0), -ENOMEM);
	assert_false(scarce_over());
	assert_null(test);
}

/* ------------------------------------------------------------------------------ expectations */

static void what_was_expected_and_what_came(void **state)
{
	struct netd_test_client *other = NULL;

	(void)state;
	start(&service, ARGS(QUIET, "--timeout=100"), 1000);
	netd_test_say(client, "a\tb\n");
	assert_int_equal(netd_test_expect(client, "<a\tc>\n"), -EBADMSG);
	assert_string_equal(netd_test_error(test), "expected \"<a\\tc>\\n\", found \"<a\\tb>\\n\"");
	netd_test_say(client, "a\n");
	assert_int_equal(netd_test_expect(client, "<a>\nmore"), -ETIMEDOUT);
	assert_string_equal(netd_test_error(test),
			    "expected \"<a>\\nmore\", found \"<a>\\n\" and then nothing");
	assert_int_equal(netd_test_expect_close(client), -ETIMEDOUT);
	assert_string_equal(netd_test_error(test), "expected the end: Connection timed out");
	netd_test_say(client, "a\n");
	assert_int_equal(netd_test_expect_close(client), -EBADMSG);
	assert_string_equal(netd_test_error(test), "expected \"\", found \"<a>\\n\"");
	assert_int_equal(netd_test_connect(test, &other), 0);
	netd_test_say(other, "a\nquit\n");
	assert_int_equal(netd_test_expect(other, "<a>\n<b>\n"), -EPIPE);
	assert_string_equal(netd_test_error(test),
			    "expected \"<a>\\n<b>\\n\", found \"<a>\\n\" and the end");
	assert_int_equal(netd_test_expect_close(other), 0);
	assert_int_equal(netd_test_expect(other, ""), 0);
	netd_test_close(client); /* it would be waited for */
	assert_int_equal(netd_test_stop(test), 0);
}

static void without_memory_an_expectation_fails(void **state)
{
	struct netd_test_client *other = NULL;

	(void)state;
	start(&service, ARGS(QUIET), 0);
	scarce_from(0);
	assert_int_equal(netd_test_expect(client, "a"), -ENOMEM);
	assert_false(scarce_over());
	assert_string_equal(netd_test_error(test), "no memory");
	scarce_from(0);
	assert_int_equal(netd_test_connect(test, &other), -ENOMEM);
	assert_false(scarce_over());
	assert_null(other);
}

static void a_server_that_does_not_read(void **state)
{
	static char data[1 << 20];
	int rc = 0;

	(void)state;
	start(&service, ARGS(QUIET, "--mode=single", "--timeout=100"), 1000);
	memset(data, '\n', sizeof data); /* each is answered, and nobody reads the answers */
	for (int i = 0; rc == 0 && i < 100; i++)
		rc = netd_test_send(client, data, sizeof data);
	assert_int_equal(rc, -ETIMEDOUT);
	assert_string_equal(netd_test_error(test), "send: Connection timed out");
	netd_test_close(client);
	client = NULL;
}

static void a_server_that_is_gone(void **state)
{
	int rc = 0;

	(void)state;
	start(&service, ARGS(QUIET, "--mode=threads"), 2000);
	netd_test_say(client, "crash\n");
	assert_int_equal(netd_test_stop(test), 128 + SIGKILL);
	while (rc == 0)
		rc = netd_test_say(client, "hello?\n");
	assert_true(rc == -EPIPE || rc == -ECONNRESET);
	assert_int_equal(strncmp(netd_test_error(test), "send: ", 6), 0);
	rc = netd_test_shutdown(client);
	assert_true(rc == 0 || rc == -ENOTCONN);
	assert_int_equal(netd_test_connect(test, &client), -ECONNREFUSED);
}

/* ----------------------------------------------------------------------------- the end of it */

static void clients_that_were_forgotten(void **state)
{
	struct netd_test_client *more[4];

	(void)state;
	start(&service, ARGS(QUIET, "--mode=threads"), 0);
	for (size_t i = 0; i < ARRAY_LEN(more); i++)
		assert_int_equal(netd_test_connect(test, &more[i]), 0);
	netd_test_close(more[0]);
	netd_test_close(more[2]);
	test = netd_test_free(test); /* the others: a sanitizer tells */
}

static void a_crash_is_told_by_its_signal(void **state)
{
	(void)state;
	start(&service, ARGS(QUIET, "--mode=single"), 0);
	netd_test_say(client, "segv\n");
	assert_true(netd_test_expect_close(client) <= 0);
	assert_int_equal(netd_test_stop(test), 128 + SIGSEGV);
	start(&service, ARGS(QUIET, "--mode=fork"), 0);
	netd_test_say(client, "segv\n");
	assert_true(netd_test_expect_close(client) <= 0);
	assert_int_equal(netd_test_stop(test), 0); /* a process of its own */
}

static void a_server_that_ignores_term_is_killed(void **state)
{
	(void)state;
	start(&service, ARGS(QUIET, "--mode=single", "--timeout=100"), 1000);
	netd_test_say(client, "deaf\n");
	assert_int_equal(netd_test_expect(client, "<deaf>\n"), 0);
	assert_int_equal(netd_test_stop(test), -ETIMEDOUT);
	assert_string_equal(netd_test_error(test), "the server did not stop in time");
	assert_int_equal(netd_test_pid(test), -1);
	assert_int_equal(netd_test_stop(test), 128 + SIGKILL);
}

/* A test that never stops its server: --timeout does. */
static void a_server_ends_by_itself(void **state)
{
	(void)state;
	start(&service, ARGS(QUIET, "--timeout=2"), 5000); /* we have connected by then */
	assert_int_equal(netd_test_expect(client, "x"), -EPIPE);
	assert_int_equal(netd_test_stop(test), 0);
}

static void somebody_else_reaped_it(void **state)
{
	int status;

	(void)state;
	start(&service, ARGS(QUIET), 0);
	kill((pid_t)netd_test_pid(test), SIGKILL);
	assert_true(waitpid((pid_t)netd_test_pid(test), &status, 0) > 0);
	assert_int_equal(netd_test_stop(test), 1);
}

/* The test's process is killed: its server goes with it. */
static void a_server_does_not_outlive_its_test(void **state)
{
	NEEDS_OWN_SYSTEM("no signal at the death of a parent");
	int fds[2], status;
	char c;
	pid_t pid;
	struct pollfd ready;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct netd_test *own;
		int rc = netd_test_start(&own, &service, NULL, ARGS(QUIET), 0);

		if (rc == 0 && write(fds[1], "x", 1) == 1) /* the server holds fds[1] too */
			pause();
		_exit(1);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 1);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	ready = (struct pollfd){.fd = fds[0], .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 5000), 1);
	assert_int_equal(read(fds[0], &c, 1), 0); /* the last one is gone */
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    KIT_TEST(a_talk_in_memory),
	    KIT_TEST(how_a_talk_may_end),
	    KIT_TEST(a_talk_meets_the_rules_as_127_0_0_1),
	    KIT_TEST(a_talk_that_cannot_begin),
	    KIT_TEST(memory_may_run_out_in_a_talk),
	    KIT_TEST(a_server_in_every_mode),
	    KIT_TEST(addresses_of_the_tests_own),
	    KIT_TEST(what_it_logs_goes_to_standard_error),
	    KIT_TEST(servers_that_cannot_start),
	    KIT_TEST(without_memory_there_is_no_test),
	    KIT_TEST(what_was_expected_and_what_came),
	    KIT_TEST(without_memory_an_expectation_fails),
	    KIT_TEST(a_server_that_does_not_read),
	    KIT_TEST(a_server_that_is_gone),
	    KIT_TEST(clients_that_were_forgotten),
	    KIT_TEST(a_crash_is_told_by_its_signal),
	    KIT_TEST(a_server_that_ignores_term_is_killed),
	    KIT_TEST(a_server_ends_by_itself),
	    KIT_TEST(somebody_else_reaped_it),
	    KIT_TEST(a_server_does_not_outlive_its_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
