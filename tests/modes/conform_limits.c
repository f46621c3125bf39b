/* conform_limits.c - the commands of the conformance server about limits that the administrator
 * sets. */
#include "conform.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* /bin/cat with our client as its input and output, and the end of a pipe that nobody else has.
 * Returns its number, or -errno. */
static pid_t start_cat(int client, int alive)
{
	static char name[] = "cat";
	char *argv[] = {name, NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, client, 0);
	posix_spawn_file_actions_adddup2(&actions, client, 1);
	posix_spawn_file_actions_adddup2(&actions, alive, 3);
	rc = posix_spawn(&pid, "/bin/cat", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return rc != 0 ? -rc : pid;
}

static void log_traffic(struct netd_conn *c)
{
	uint64_t in = 0, out = 0;
	int rc = netd_traffic(c, &in, &out);

	if (rc < 0)
		netd_log(c, NETD_NOTICE, "traffic %s", strerrorname_np(-rc));
	else
		netd_log(c, NETD_NOTICE, "traffic %" PRIu64 " in, %" PRIu64 " out", in, out);
}

int conform_foreign(struct netd_conn *c, int64_t deadline)
{
	struct netd_pollfd ended = {.events = NETD_IN};
	int ends[2], rc;
	pid_t pid;

	netd_flush(c);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = start_cat(netd_fd(c), ends[1]);
	close(ends[1]);
	ended.fd = ends[0];
	rc = pid < 0 ? pid : netd_watch(c, &ended, 1, deadline);
	if (rc < 0)
		netd_log(c, NETD_NOTICE, "watch: %s: %s", strerrorname_np(-rc), netd_conn_error(c));
	else
		netd_log(c, NETD_NOTICE, "watch: %d", rc);
	if (pid > 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(ends[0]);
	log_traffic(c);
	return rc < 0 ? rc : DONE;
}

/* cat serves the client, at most so many milliseconds; without a number: as long as it likes. */
static int cmd_foreign(struct netd_conn *c, char *rest)
{
	return conform_foreign(c, *rest ? netd_now() + conform_number(rest) : NETD_NEVER);
}

/* Look up every so many milliseconds, as a handler with other work does. */
static int cmd_tick(struct netd_conn *c, char *rest)
{
	char byte;
	ssize_t n;

	netd_set_timeout(c, conform_number(rest));
	do
		n = netd_read(c, &byte, 1);
	while (n == -ETIMEDOUT && !strstr(netd_conn_error(c), "-timeout:"));
	netd_log(c, NETD_NOTICE, "ticks ended: %s", netd_conn_error(c));
	return n < 0 ? (int)n : DONE;
}

/* Every call, once a limit has passed. */
static int cmd_after(struct netd_conn *c, char *rest)
{
	char *line;
	ssize_t n = netd_line(c, &line);

	(void)rest;
	netd_set_deadline(c, NETD_NEVER);
	netd_printf(c, "still there?\n");
	netd_log(c, NETD_NOTICE, "after: %s %s %s %s", strerrorname_np((int)-n),
		 strerrorname_np(-netd_flush(c)), strerrorname_np((int)-netd_line(c, &line)),
		 strerrorname_np(-netd_watch(c, NULL, 0, NETD_NEVER)));
	return (int)n;
}

const struct command limit_commands[] = {
    {"foreign", cmd_foreign},
    {"tick", cmd_tick},
    {"after", cmd_after},
    {NULL, NULL},
};
