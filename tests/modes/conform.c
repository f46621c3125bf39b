/*
 * conform.c - a service that does what its client says, one command a line: the server of the
 * conformance suite. Every command answers one line (or what it is told to answer), so that a test
 * reads as a conversation. An unknown command answers "error: unknown command".
 */
#include "conform.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

long conform_number(const char *text)
{
	return strtol(text, NULL, 10);
}

int conform_answer(struct netd_conn *c, int64_t rc)
{
	if (rc >= 0)
		netd_printf(c, "ok %" PRId64 "\n", rc);
	else
		netd_printf(c, "error %s\n", strerrorname_np((int)-rc));
	return 0;
}

/* --------------------------------------------------------------------------------- what we know */

static int cmd_peer(struct netd_conn *c, char *rest)
{
	struct netd_cred cred = {-1, -1, -1};
	int rc = netd_peer_cred(c, &cred);

	(void)rest;
	netd_printf(c, "host=%s port=%d text=%s local=%s name=%s cred=%d,%" PRId64 ",%" PRId64 "\n",
		    netd_peer_host(c), netd_peer_port(c), netd_peer_text(c), netd_local_text(c),
		    netd_peer_name(c) ? netd_peer_name(c) : "-", rc, cred.uid, cred.gid);
	return 0;
}

static int cmd_client(struct netd_conn *c, char *rest)
{
	const char *value = netd_client_get(c, rest);

	netd_printf(c, "%d %s\n", netd_client_rule(c), value ? value : "-");
	return 0;
}

/* "A=x B=y ", or "-": there are none. */
static int cmd_env(struct netd_conn *c, char *rest)
{
	const char *name, *value;
	int count = 0;

	(void)rest;
	while (netd_client_env(c, count, &name, &value) == 1) {
		netd_printf(c, "%s=%s ", name, value);
		count++;
	}
	netd_write(c, count ? "\n" : "-\n", count ? 1 : 2);
	return 0;
}

static int cmd_id(struct netd_conn *c, char *rest)
{
	(void)rest;
	netd_printf(c, "%" PRIu64 "\n", netd_conn_id(c));
	return 0;
}

/* Out of the chroot, and back to root: both must fail once privileges were dropped. */
static int cmd_escape(struct netd_conn *c, char *rest)
{
	const char *out = chroot(rest) < 0 ? strerrorname_np(errno) : "done";
	const char *back = setuid(0) < 0 ? strerrorname_np(errno) : "done";

	netd_printf(c, "chroot %s, setuid %s\n", out, back);
	return 0;
}

static int cmd_pid(struct netd_conn *c, char *rest)
{
	(void)rest;
	netd_printf(c, "%d %d %lu\n", (int)getpid(), (int)getppid(),
		    (unsigned long)pthread_self() % 1000003);
	return 0;
}

static int cmd_stats(struct netd_conn *c, char *rest)
{
	struct netd_stats stats = {.size = sizeof stats};

	(void)rest;
	netd_server_stats(netd_conn_server(c), &stats);
	netd_printf(c,
		    "active=%" PRIu64 " accepted=%" PRIu64 " refused=%" PRIu64 " failed=%" PRIu64
		    " log_drops=%" PRIu64 "\n",
		    stats.active, stats.accepted, stats.refused, stats.failed, stats.log_drops);
	return 0;
}

static int cmd_limited(struct netd_conn *c, char *rest)
{
	struct netd_stats stats = {.size = sizeof stats};

	(void)rest;
	netd_server_stats(netd_conn_server(c), &stats);
	netd_printf(c, "limited=%" PRIu64 " untracked=%" PRIu64 " accepted=%" PRIu64 "\n",
		    stats.limited, stats.untracked, stats.accepted);
	return 0;
}

static int cmd_fibers(struct netd_conn *c, char *rest)
{
	struct netd_stats stats = {.size = sizeof stats};

	(void)rest;
	netd_server_stats(netd_conn_server(c), &stats);
	netd_printf(c, "parked=%" PRIu64 " compacted=%" PRIu64 " bytes=%" PRIu64 "\n", stats.parked,
		    stats.compacted, stats.bytes);
	return 0;
}

static int cmd_option(struct netd_conn *c, char *rest)
{
	const char *value = netd_server_option(netd_conn_server(c), rest);

	netd_printf(c, "%s %lld\n", value ? value : "-",
		    netd_server_option_int(netd_conn_server(c), rest));
	return 0;
}

static int cmd_draining(struct netd_conn *c, char *rest)
{
	(void)rest;
	return conform_answer(c, netd_draining(netd_conn_server(c)));
}

static int cmd_data(struct netd_conn *c, char *rest)
{
	int *opened = netd_data(c);

	(void)rest;
	netd_printf(c, "open set %d, server %s\n", *opened,
		    (const char *)netd_server_data(netd_conn_server(c)));
	return 0;
}

/* ---------------------------------------------------------------------------- logs, ends, clean-up
 */

static int cmd_log(struct netd_conn *c, char *rest)
{
	netd_log(c, NETD_NOTICE, "%s", rest);
	netd_debug(c, "debug %s", rest);
	netd_server_log(netd_conn_server(c), NETD_INFO, "server %s", rest);
	return conform_answer(c, 0);
}

static int cmd_stop(struct netd_conn *c, char *rest)
{
	(void)rest;
	return conform_answer(c, netd_server_stop(netd_conn_server(c)));
}

static int cmd_bye(struct netd_conn *c, char *rest)
{
	netd_printf(c, "%s", rest);
	return DONE;
}

static int cmd_fail(struct netd_conn *c, char *rest)
{
	(void)c;
	return -(int)conform_number(rest);
}

static int cmd_fatal(struct netd_conn *c, char *rest)
{
	netd_printf(c, "last words\n");
	netd_fatal(c, "fatal: %s", rest);
}

static int cmd_crash(struct netd_conn *c, char *rest)
{
	(void)c, (void)rest;
	signal(SIGSEGV, SIG_DFL); /* a sanitizer would make an exit of it */
	raise(SIGSEGV);
	return 0;
}

static int cmd_exit(struct netd_conn *c, char *rest)
{
	(void)c;
	_exit((int)conform_number(rest));
}

/* The one name in a backtrace: see meson.build. */
void conform_spin(int64_t until)
{
	while (netd_now() < until)
		;
}

static int cmd_spin(struct netd_conn *c, char *rest)
{
	int64_t until = netd_now() + conform_number(rest);

	netd_printf(c, "spinning\n");
	netd_flush(c);
	conform_spin(until);
	return 0;
}

/* Each frame is known to the next one, or a compiler would make one of them all. */
static int dig(const volatile char *above, long left)
{
	volatile char room[4096];

	room[0] = above ? above[0] : 1;
	return left > 0 ? dig(room, left - 1) + room[0] : room[0];
}

/* So many times 4 KB of stack; without a number: more than there can be. */
static int cmd_overflow(struct netd_conn *c, char *rest)
{
	return conform_answer(c, dig(NULL, *rest ? conform_number(rest) : LONG_MAX));
}

struct farewell {
	struct netd_conn *c;
	char letter;
};

static void say_farewell(void *arg)
{
	struct farewell *farewell = arg;

	netd_printf(farewell->c, "%c", farewell->letter);
	netd_log(farewell->c, NETD_NOTICE, "deferred %c", farewell->letter);
	if (farewell->letter == 'F')
		netd_fatal(farewell->c, "fatal in a deferred function");
}

static int cmd_defer(struct netd_conn *c, char *rest)
{
	for (; *rest; rest++) {
		struct farewell *farewell = netd_alloc(c, sizeof *farewell);

		if (!farewell)
			return -ENOMEM;
		*farewell = (struct farewell){c, *rest};
		if (netd_defer(c, say_farewell, farewell) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int cmd_print(struct netd_conn *c, char *rest)
{
	printf("%s\n", rest); /* standard output of the server, buffered when it is a pipe */
	return conform_answer(c, 0);
}

static const struct command own_commands[] = {
    {"peer", cmd_peer},         {"client", cmd_client},   {"id", cmd_id},
    {"env", cmd_env},           {"escape", cmd_escape},   {"pid", cmd_pid},
    {"stats", cmd_stats},       {"option", cmd_option},   {"draining", cmd_draining},
    {"data", cmd_data},         {"log", cmd_log},         {"stop", cmd_stop},
    {"bye", cmd_bye},           {"fail", cmd_fail},       {"fatal", cmd_fatal},
    {"crash", cmd_crash},       {"exit", cmd_exit},       {"spin", cmd_spin},
    {"defer", cmd_defer},       {"print", cmd_print},     {"fibers", cmd_fibers},
    {"overflow", cmd_overflow}, {"limited", cmd_limited}, {NULL, NULL},
};

static const struct command *find(const struct command *commands, const char *name)
{
	for (; commands->name; commands++)
		if (strcmp(name, commands->name) == 0)
			return commands;
	return NULL;
}

static int obey(struct netd_conn *c, char *line)
{
	char *rest = strchr(line, ' ');
	const struct command *command;

	if (rest)
		*rest++ = '\0';
	command = find(io_commands, line);
	if (!command)
		command = find(limit_commands, line);
	if (!command)
		command = find(own_commands, line);
	if (command)
		return command->run(c, rest ? rest : line + strlen(line));
	netd_printf(c, "error: unknown command\n");
	return 0;
}

static int run(struct netd_conn *c)
{
	char line[1024];
	ssize_t n;

	if (getenv("CONFORM_FOREIGN")) /* leave every client to cat */
		return conform_foreign(c, NETD_NEVER);
	while ((n = netd_readline(c, line, sizeof line)) != 0) {
		int rc;

		if (n == -EMSGSIZE) {
			conform_answer(c, n);
			continue;
		}
		if (n < 0)
			return (int)n;
		netd_chomp(line, (size_t)n);
		rc = obey(c, line);
		if (rc != 0)
			return rc == DONE ? 0 : rc;
	}
	return 0;
}

/* ----------------------------------------------------------------------------------- the service
 */

/* Wait for input that does not come, and say that it did not. */
static void look_for_input(struct netd_conn *c)
{
	char byte;

	netd_set_timeout(c, 20);
	if (netd_read(c, &byte, 1) == -ETIMEDOUT)
		netd_printf(c, "nothing\n");
	netd_set_timeout(c, 0);
	netd_flush(c);
}

static int open_conn(struct netd_conn *c)
{
	int *mark = netd_alloc(c, sizeof *mark);

	if (!mark)
		return -ENOMEM;
	*mark = 1;
	netd_set_data(c, mark);
	if (getenv("CONFORM_OPEN_LOOKS"))
		look_for_input(c);
	if (getenv("CONFORM_OPEN_SLEEPS")) /* milliseconds */
		netd_sleep(conform_number(getenv("CONFORM_OPEN_SLEEPS")));
	return netd_server_option_int(netd_conn_server(c), "open-fails") ? -EIO : 0;
}

static int accept_conn(struct netd_conn *c)
{
	return netd_server_option_int(netd_conn_server(c), "refuse") ? 0 : 1;
}

static int loop(struct netd_server *server)
{
	const char *what = netd_server_option(server, "loop-does");

	netd_server_log(server, NETD_NOTICE, "loop in %d", (int)getpid());
	if (what && strcmp(what, "crash") == 0)
		raise(SIGKILL);
	if (what && strcmp(what, "fail") == 0)
		return -EIO;
	if (what && strcmp(what, "sleep") == 0)
		return netd_sleep(1000);
	if (what && strcmp(what, "stop") == 0)
		return netd_server_stop(server);
	return 0;
}

static void done(struct netd_server *server)
{
	netd_server_log(server, NETD_NOTICE, "done in %d", (int)getpid());
}

static int configure(struct netd_server *server)
{
	static char words[] = "data";

	netd_server_set_data(server, words);
	if (netd_server_option_int(server, "configure-fails"))
		return netd_server_fail(server, -EINVAL, "--configure-fails: as you wish");
	return 0;
}

static const struct netd_option options[] = {
    {.name = "refuse", .type = NETD_OPTION_FLAG, .help = "refuse every client"},
    {.name = "open-fails", .type = NETD_OPTION_FLAG, .help = "fail in open"},
    {.name = "configure-fails", .type = NETD_OPTION_FLAG, .help = "fail in configure"},
    {.name = "loop-does",
     .type = NETD_OPTION_CHOICE,
     .choices = "nothing|crash|fail|sleep|stop",
     .help = "what loop does"},
    {.name = NULL},
};

int main(int argc, char **argv)
{
	const struct netd_service conform =
	    NETD_SERVICE(.name = "conform", .version = "1", .options = options,
			 .configure = configure, .open = open_conn, .accept = accept_conn,
			 .run = run, .loop = loop, .done = done,
			 .keep_stack = getenv("CONFORM_KEEP_STACK") != NULL);

	return netd_main(&conform, NULL, argc, argv);
}
