/*
 * conform.c - a service that does what its client says, one command a line: the server of the
 * conformance suite. Every command answers one line (or what it is told to answer), so that a test
 * reads as a conversation. An unknown command answers "error: unknown command".
 */
#include <netdaemon.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Returned by a command that ends the conversation in good order. */
#define DONE 1

struct command {
	const char *name;
	int (*run)(struct netd_conn *c, char *rest); /* 0 go on, DONE, or -errno: run() fails */
};

static long number(const char *text)
{
	return strtol(text, NULL, 10);
}

/* "ok N", or "error NAME" for the errors that tests ask about. */
static int answer(struct netd_conn *c, int64_t rc)
{
	if (rc >= 0)
		netd_printf(c, "ok %" PRId64 "\n", rc);
	else
		netd_printf(c, "error %s\n", strerrorname_np((int)-rc));
	return 0;
}

/* ------------------------------------------------------------------------------ reading, writing
 */

static int cmd_echo(struct netd_conn *c, char *rest)
{
	netd_printf(c, "%s\n", rest);
	return 0;
}

static int cmd_readline(struct netd_conn *c, char *rest)
{
	char buffer[256];
	size_t size = (size_t)number(rest);
	ssize_t n = netd_readline(c, buffer, size < sizeof buffer ? size : sizeof buffer);

	if (n <= 0)
		return answer(c, n);
	n = (ssize_t)netd_chomp(buffer, (size_t)n);
	netd_printf(c, "%zd %s\n", n, buffer);
	return 0;
}

static int cmd_line(struct netd_conn *c, char *rest)
{
	char *line;
	ssize_t n = netd_line(c, &line);

	(void)rest;
	return answer(c, n);
}

static int cmd_exact(struct netd_conn *c, char *rest)
{
	size_t size = (size_t)number(rest);
	char *data = netd_alloc(c, size + 1);
	unsigned sum = 0;
	ssize_t n;

	if (!data)
		return -ENOMEM;
	n = netd_read_exact(c, data, size);
	if (n < 0)
		return answer(c, n);
	for (ssize_t i = 0; i < n; i++)
		sum = sum * 31 + (unsigned char)data[i];
	netd_printf(c, "%zd %u\n", n, sum);
	return 0;
}

static int cmd_read(struct netd_conn *c, char *rest)
{
	char buffer[4096];
	size_t size = (size_t)number(rest);

	return answer(c, netd_read(c, buffer, size < sizeof buffer ? size : sizeof buffer));
}

static int cmd_drain(struct netd_conn *c, char *rest)
{
	static _Thread_local char buffer[65536];
	int64_t total = 0;
	ssize_t n;

	(void)rest;
	while ((n = netd_read(c, buffer, sizeof buffer)) > 0)
		total += n;
	return answer(c, n < 0 ? n : total);
}

/* N bytes in pieces of odd sizes; byte i is 'a' + i % 26. */
static int cmd_big(struct netd_conn *c, char *rest)
{
	long left = number(rest);
	long at = 0;
	char piece[7919];

	while (left > 0) {
		size_t n = left < (long)sizeof piece ? (size_t)left : sizeof piece;
		ssize_t rc;

		for (size_t i = 0; i < n; i++)
			piece[i] = (char)('a' + (at + (long)i) % 26);
		rc = netd_write(c, piece, n);
		if (rc < 0)
			return (int)rc;
		at += (long)n;
		left -= (long)n;
	}
	return 0;
}

static int cmd_printf(struct netd_conn *c, char *rest)
{
	int width = (int)number(rest);

	return answer(c, netd_printf(c, "%*d", width, 7));
}

static int cmd_sendfile(struct netd_conn *c, char *rest)
{
	char *save;
	const char *path = strtok_r(rest, " ", &save);
	const char *offset = strtok_r(NULL, " ", &save);
	const char *count = strtok_r(NULL, " ", &save);
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	int64_t n;

	if (file < 0)
		return answer(c, -errno);
	n = netd_sendfile(c, file, offset ? number(offset) : 0, count ? number(count) : -1);
	close(file);
	return answer(c, n);
}

static int cmd_stdio(struct netd_conn *c, char *rest)
{
	FILE *stream = netd_stdio(c);
	char line[128];

	(void)rest;
	if (!stream || netd_stdio(c) != stream)
		return answer(c, -ENOTSUP);
	fprintf(stream, "say something\n");
	fflush(stream);
	netd_flush(c);
	if (!fgets(line, sizeof line, stream))
		return answer(c, -EPIPE);
	fprintf(stream, "you said %s", line); /* flushed at the end of the connection */
	return DONE;
}

static int cmd_shutdown(struct netd_conn *c, char *rest)
{
	char *line;
	ssize_t n;

	(void)rest;
	netd_printf(c, "no more\n");
	if (netd_shutdown(c) < 0)
		return -EIO;
	n = netd_write(c, "x", 1);
	netd_log(c, NETD_NOTICE, "write after shutdown: %s", strerrorname_np((int)-n));
	while ((n = netd_line(c, &line)) > 0)
		netd_log(c, NETD_NOTICE, "after shutdown: %.*s", (int)n - 1, line);
	return DONE;
}

static int cmd_fd(struct netd_conn *c, char *rest)
{
	ssize_t n;

	(void)rest;
	netd_flush(c);
	n = write(netd_fd(c), "raw\n", 4);
	return n == 4 ? 0 : -EIO;
}

static int cmd_hold(struct netd_conn *c, char *rest)
{
	char *line;

	(void)rest;
	netd_printf(c, "holding\n"); /* sent by the wait below */
	return netd_line(c, &line) < 0 ? -EIO : 0;
}

static int cmd_keep(struct netd_conn *c, char *rest)
{
	netd_printf(c, "kept\n");
	return netd_sleep(number(rest)); /* not sent before the sleep is over, unless flushed */
}

/* --------------------------------------------------------------------------------- time and waits
 */

static int cmd_deadline(struct netd_conn *c, char *rest)
{
	char *line;
	ssize_t n;

	netd_set_deadline(c, netd_now() + number(rest));
	n = netd_line(c, &line);
	netd_set_deadline(c, NETD_NEVER);
	if (n < 0)
		netd_printf(c, "%s; ", netd_conn_error(c));
	return answer(c, n);
}

static int cmd_writedeadline(struct netd_conn *c, char *rest)
{
	static const char zeros[65536];
	ssize_t n;

	netd_set_deadline(c, netd_now() + number(rest));
	do
		n = netd_write(c, zeros, sizeof zeros);
	while (n > 0);
	netd_log(c, NETD_NOTICE, "write ended: %s", strerrorname_np((int)-n));
	return DONE;
}

static int cmd_sleep(struct netd_conn *c, char *rest)
{
	int64_t from = netd_now();
	int rc = netd_sleep(number(rest));

	return answer(c, rc < 0 ? rc : netd_now() - from);
}

static void *poke(void *arg)
{
	int fd = *(int *)arg;

	if (write(fd, "x", 1) != 1)
		abort();
	return NULL;
}

/* Wait for a descriptor that is not the connection's: made ready by a thread of ours. */
static int cmd_poll(struct netd_conn *c, char *rest)
{
	struct netd_pollfd fds[2];
	pthread_t thread;
	int ends[2];
	int rc;

	if (pipe(ends) < 0)
		return -errno;
	fds[0] = (struct netd_pollfd){.fd = netd_fd(c), .events = NETD_IN};
	fds[1] = (struct netd_pollfd){.fd = ends[0], .events = NETD_IN};
	if (*rest) { /* nobody pokes */
		rc = netd_poll(fds + 1, 1, netd_now() + number(rest));
	} else if (pthread_create(&thread, NULL, poke, &ends[1]) == 0) {
		rc = netd_poll(fds, 2, NETD_NEVER);
		pthread_join(thread, NULL);
		rc = rc == 1 && fds[1].revents == NETD_IN && !fds[0].revents ? 1 : -EIO;
	} else {
		rc = -EAGAIN;
	}
	close(ends[0]);
	close(ends[1]);
	return answer(c, rc);
}

static int cmd_manypoll(struct netd_conn *c, char *rest)
{
	struct netd_pollfd fds[100];
	int ends[2];
	int rc;

	(void)rest;
	if (pipe(ends) < 0)
		return -errno;
	for (size_t i = 0; i < 100; i++)
		fds[i] = (struct netd_pollfd){.fd = ends[i % 2], .events = NETD_OUT};
	rc = netd_poll(fds, 100, netd_now() + 5000);
	close(ends[0]);
	close(ends[1]);
	return answer(c, rc);
}

/* Ask another server one line, and give its answer. */
static int cmd_dial(struct netd_conn *c, char *rest)
{
	struct netd_conn *other;
	char *line;
	ssize_t n;
	int rc = netd_dial(c, rest, netd_now() + 5000, &other);

	if (rc < 0)
		return answer(c, rc);
	netd_printf(other, "echo via %s\n", netd_peer_text(other));
	n = netd_line(other, &line);
	if (n > 0)
		netd_write(c, line, (size_t)n);
	else
		answer(c, n);
	if (netd_conn_id(c) % 2) /* the others end with the connection */
		netd_hangup(other);
	return 0;
}

static int spawned(struct netd_server *server, void *arg)
{
	netd_server_log(server, NETD_NOTICE, "spawned %s pid %d", (const char *)arg, (int)getpid());
	return netd_sleep(50);
}

static int cmd_spawn(struct netd_conn *c, char *rest)
{
	static _Atomic int turn;
	static char words[16][64]; /* outlives the connection, as the function may */
	char *word = words[turn++ % 16];

	snprintf(word, sizeof words[0], "%s", rest);
	return answer(c, netd_spawn(netd_conn_server(c), spawned, word));
}

static int offloaded(void *arg)
{
	return *(int *)arg + 1;
}

static int cmd_offload(struct netd_conn *c, char *rest)
{
	int value = (int)number(rest);

	return answer(c, netd_offload(offloaded, &value));
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

static int cmd_option(struct netd_conn *c, char *rest)
{
	const char *value = netd_option(netd_conn_server(c), rest);

	netd_printf(c, "%s %lld\n", value ? value : "-",
		    netd_option_int(netd_conn_server(c), rest));
	return 0;
}

static int cmd_draining(struct netd_conn *c, char *rest)
{
	(void)rest;
	return answer(c, netd_draining(netd_conn_server(c)));
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
	return answer(c, 0);
}

static int cmd_stop(struct netd_conn *c, char *rest)
{
	(void)rest;
	return answer(c, netd_server_stop(netd_conn_server(c)));
}

static int cmd_bye(struct netd_conn *c, char *rest)
{
	netd_printf(c, "%s", rest);
	return DONE;
}

static int cmd_fail(struct netd_conn *c, char *rest)
{
	(void)c;
	return -(int)number(rest);
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
	_exit((int)number(rest));
}

static int cmd_spin(struct netd_conn *c, char *rest)
{
	volatile int64_t until = netd_now() + number(rest);

	netd_printf(c, "spinning\n");
	netd_flush(c);
	while (netd_now() < until)
		;
	return 0;
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
	return answer(c, 0);
}

static const struct command commands[] = {
    {"echo", cmd_echo},
    {"readline", cmd_readline},
    {"line", cmd_line},
    {"exact", cmd_exact},
    {"read", cmd_read},
    {"drain", cmd_drain},
    {"big", cmd_big},
    {"printf", cmd_printf},
    {"sendfile", cmd_sendfile},
    {"stdio", cmd_stdio},
    {"shutdown", cmd_shutdown},
    {"fd", cmd_fd},
    {"hold", cmd_hold},
    {"keep", cmd_keep},
    {"deadline", cmd_deadline},
    {"writedeadline", cmd_writedeadline},
    {"sleep", cmd_sleep},
    {"poll", cmd_poll},
    {"manypoll", cmd_manypoll},
    {"dial", cmd_dial},
    {"spawn", cmd_spawn},
    {"offload", cmd_offload},
    {"peer", cmd_peer},
    {"client", cmd_client},
    {"id", cmd_id},
    {"escape", cmd_escape},
    {"pid", cmd_pid},
    {"stats", cmd_stats},
    {"option", cmd_option},
    {"draining", cmd_draining},
    {"data", cmd_data},
    {"log", cmd_log},
    {"stop", cmd_stop},
    {"bye", cmd_bye},
    {"fail", cmd_fail},
    {"fatal", cmd_fatal},
    {"crash", cmd_crash},
    {"exit", cmd_exit},
    {"spin", cmd_spin},
    {"defer", cmd_defer},
    {"print", cmd_print},
};

static int obey(struct netd_conn *c, char *line)
{
	char *rest = strchr(line, ' ');

	if (rest)
		*rest++ = '\0';
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (strcmp(line, commands[i].name) == 0)
			return commands[i].run(c, rest ? rest : line + strlen(line));
	netd_printf(c, "error: unknown command\n");
	return 0;
}

static int run(struct netd_conn *c)
{
	char line[1024];
	ssize_t n;

	while ((n = netd_readline(c, line, sizeof line)) != 0) {
		int rc;

		if (n == -EMSGSIZE) {
			answer(c, n);
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

static int open_conn(struct netd_conn *c)
{
	int *mark = netd_alloc(c, sizeof *mark);

	if (!mark)
		return -ENOMEM;
	*mark = 1;
	netd_set_data(c, mark);
	return netd_option_int(netd_conn_server(c), "open-fails") ? -EIO : 0;
}

static int accept_conn(struct netd_conn *c)
{
	return netd_option_int(netd_conn_server(c), "refuse") ? 0 : 1;
}

static int loop(struct netd_server *server)
{
	const char *what = netd_option(server, "loop-does");

	netd_server_log(server, NETD_NOTICE, "loop in %d", (int)getpid());
	if (what && strcmp(what, "crash") == 0)
		raise(SIGKILL);
	if (what && strcmp(what, "fail") == 0)
		return -EIO;
	if (what && strcmp(what, "sleep") == 0)
		return netd_sleep(300);
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
	if (netd_option_int(server, "configure-fails"))
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
	static const struct netd_service conform =
	    NETD_SERVICE(.name = "conform", .version = "1", .options = options,
			 .configure = configure, .open = open_conn, .accept = accept_conn,
			 .run = run, .loop = loop, .done = done);

	return netd_main(&conform, NULL, argc, argv);
}
