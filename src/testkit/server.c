/*
 * server.c - a real server for a test: netd_server_run() in a child process that tells the test
 * through a pipe where it listens, or why it cannot.
 */
#include "netdaemon_test.h"
#include "os/os.h"
#include "testkit/client.h"
#include "testkit/testkit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_MS 10000 /* when the test names none */
#define POLL_MS 5        /* between looks at a process that is ending */

struct netd_test {
	pid_t pid; /* -1: ended */
	int status;
	int64_t timeout_ms;
	char address[ADDRESS_TEXT_MAX];
	struct netd_test_client *clients;
	struct err err;
};

/* True when one of the options, or the attributes, say where to listen. */
static bool names_address(const struct netd_config *config, const char *const *options)
{
	static const char *const names[] = {"--bind", "--localport", "--localpath"};

	if (config && (config->bind || config->localport || config->localpath))
		return true;
	for (; options && *options; options++)
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			if (strncmp(*options, names[i], strlen(names[i])) == 0)
				return true;
	return false;
}

int testkit_server(struct netd_server **out, const struct netd_service *service,
		   const struct netd_config *config, const char *const *options)
{
	static const char *const first[] = {"test", "--bind=tcp:127.0.0.1:0"};
	size_t count = names_address(config, options) ? 1 : 2;
	struct netd_server *server;
	struct strlist argv = {0};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = strlist_add(&argv, first[i]);
	for (; rc == 0 && options && *options; options++)
		rc = strlist_add(&argv, *options);
	if (rc == 0) {
		server = netd_server_new(service, config, (int)argv.count, argv.items);
		rc = server ? 0 : -errno;
	}
	strlist_finish(&argv);
	if (rc == 0)
		*out = server;
	return rc;
}

/* ------------------------------------------------------------------------- the server's process */

static _Noreturn void server_main(const struct netd_service *service,
				  const struct netd_config *config, const char *const *options,
				  int64_t timeout_ms, int report)
{
	struct netd_server *server;
	int rc;

	os_parent_death_signal(SIGKILL); /* a test that is killed leaves nothing behind */
	rc = testkit_server(&server, service, config, options);
	if (rc < 0) {
		dprintf(report, "!%d %s", -rc, strerror(-rc));
		_exit(1);
	}
	if (!server->settings.logfile) {
		server->settings.logfile = strdup("STDERR");
		if (!server->settings.logfile)
			_exit(1);
	}
	if (server->settings.timeout == 0)
		server->settings.timeout = timeout_ms;
	server->report.address_fd = report;
	rc = netd_server_run(server);
	if (rc < 0)
		dprintf(report, "!%d %s", -rc, netd_server_error(server));
	else if (rc > 0)
		dprintf(report, "!%d nothing to run", EINVAL);
	if (rc != -ETIMEDOUT)
		netd_server_free(server);
	fflush(NULL);
	_exit(rc < 0 ? 1 : 0);
}

/* Read what the server says about its start: an address, or "!errno words". */
static int read_report(struct netd_test *test, int report)
{
	int64_t deadline = clock_deadline(test->timeout_ms);
	char text[sizeof test->err.text] = "";
	struct pollfd ready = {.fd = report, .events = POLLIN};
	char *words;
	ssize_t n;
	long code;

	while (poll(&ready, 1, clock_poll_timeout(deadline)) < 0)
		if (errno != EINTR)
			return err_sys(&test->err, -errno, "poll");
	if (!ready.revents)
		return err_set(&test->err, -ETIMEDOUT, "the server did not start in time");
	n = read(report, text, sizeof text - 1);
	if (n <= 0)
		return err_set(&test->err, -EIO, "the server ended before it listened");
	if (text[0] != '!') {
		snprintf(test->address, sizeof test->address, "%.*s", (int)strcspn(text, "\n"),
			 text);
		return 0;
	}
	code = strtol(text + 1, &words, 10);
	return err_set(&test->err, code > 0 && code < 4096 ? -(int)code : -EINVAL, "%s",
		       *words ? words + 1 : words);
}

int netd_test_start(struct netd_test **out, const struct netd_service *service,
		    const struct netd_config *config, const char *const *options,
		    int64_t timeout_ms)
{
	struct netd_test *test = calloc(1, sizeof *test);
	int fds[2];
	int rc;

	if (!test)
		return -ENOMEM;
	*out = test;
	test->pid = -1;
	test->timeout_ms = timeout_ms > 0 ? timeout_ms : TIMEOUT_MS;
	rc = os_pipe(fds);
	if (rc < 0)
		return err_sys(&test->err, rc, "pipe");
	os_set_nonblocking(fds[1], false);
	fflush(NULL);
	test->pid = fork();
	if (test->pid == 0) {
		close(fds[0]);
		server_main(service, config, options, test->timeout_ms, fds[1]);
	}
	close(fds[1]);
	rc = test->pid < 0 ? err_sys(&test->err, -errno, "fork") : read_report(test, fds[0]);
	close(fds[0]);
	if (rc < 0 && test->pid > 0) {
		struct err words = test->err;

		netd_test_stop(test);
		test->err = words;
	}
	return rc;
}

const char *netd_test_address(const struct netd_test *test)
{
	return test->address;
}

int netd_test_port(const struct netd_test *test)
{
	const char *port = strrchr(test->address, ':');

	if (strncmp(test->address, "tcp:", 4) != 0 || !port)
		return 0;
	return (int)strtol(port + 1, NULL, 10);
}

int64_t netd_test_pid(const struct netd_test *test)
{
	return test->pid;
}

const char *netd_test_error(const struct netd_test *test)
{
	return test->err.text;
}

/* Has it ended? Then keep its status. */
static bool has_ended(struct netd_test *test, int flags)
{
	int status;
	pid_t pid;

	do
		pid = waitpid(test->pid, &status, flags);
	while (pid < 0 && errno == EINTR);
	if (pid == 0)
		return false;
	test->pid = -1;
	if (pid < 0)
		test->status = 1; /* somebody else reaped it */
	else
		test->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return true;
}

int netd_test_stop(struct netd_test *test)
{
	int64_t deadline = clock_deadline(test->timeout_ms);

	if (test->pid < 0)
		return test->status;
	kill(test->pid, SIGTERM);
	while (!has_ended(test, WNOHANG)) {
		if (clock_ms() < deadline) {
			poll(NULL, 0, POLL_MS);
			continue;
		}
		kill(test->pid, SIGKILL);
		has_ended(test, 0);
		return err_set(&test->err, -ETIMEDOUT, "the server did not stop in time");
	}
	return test->status;
}

struct netd_test *netd_test_free(struct netd_test *test)
{
	if (!test)
		return NULL;
	while (test->clients)
		netd_test_close(test->clients);
	netd_test_stop(test);
	free(test);
	return NULL;
}

int netd_test_connect(struct netd_test *test, struct netd_test_client **out)
{
	return client_connect(out, test->address, test->timeout_ms, &test->clients, &test->err);
}
