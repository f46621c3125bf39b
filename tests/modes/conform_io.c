/* conform_io.c - the commands of the conformance server that read, write and wait. */
#include "conform.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	size_t size = (size_t)conform_number(rest);
	ssize_t n = netd_readline(c, buffer, size < sizeof buffer ? size : sizeof buffer);

	if (n <= 0)
		return conform_answer(c, n);
	n = (ssize_t)netd_chomp(buffer, (size_t)n);
	netd_printf(c, "%zd %s\n", n, buffer);
	return 0;
}

static int cmd_line(struct netd_conn *c, char *rest)
{
	char *line;
	ssize_t n = netd_line(c, &line);

	(void)rest;
	return conform_answer(c, n);
}

/* Sleep so many milliseconds with a line in hand; it must not have changed. */
static int cmd_dwell(struct netd_conn *c, char *rest)
{
	long ms = conform_number(rest);
	char *line, copy[256];
	ssize_t n;
	int rc;

	netd_printf(c, "dwelling\n");
	n = netd_line(c, &line);
	if (n <= 0 || (size_t)n > sizeof copy)
		return conform_answer(c, n < 0 ? n : -EIO);
	memcpy(copy, line, (size_t)n);
	rc = netd_sleep(ms);
	if (rc < 0)
		return conform_answer(c, rc);
	return conform_answer(c, memcmp(copy, line, (size_t)n) == 0 ? n : -EIO);
}

static int cmd_exact(struct netd_conn *c, char *rest)
{
	size_t size = (size_t)conform_number(rest);
	char *data = netd_alloc(c, size + 1);
	unsigned sum = 0;
	ssize_t n;

	if (!data)
		return -ENOMEM;
	n = netd_read_exact(c, data, size);
	if (n < 0)
		return conform_answer(c, n);
	for (ssize_t i = 0; i < n; i++)
		sum = sum * 31 + (unsigned char)data[i];
	netd_printf(c, "%zd %u\n", n, sum);
	return 0;
}

static int cmd_read(struct netd_conn *c, char *rest)
{
	char buffer[4096];
	size_t size = (size_t)conform_number(rest);

	return conform_answer(c, netd_read(c, buffer, size < sizeof buffer ? size : sizeof buffer));
}

static int cmd_drain(struct netd_conn *c, char *rest)
{
	static _Thread_local char buffer[65536];
	int64_t total = 0;
	ssize_t n;

	(void)rest;
	while ((n = netd_read(c, buffer, sizeof buffer)) > 0)
		total += n;
	return conform_answer(c, n < 0 ? n : total);
}

/* N bytes in pieces of odd sizes; byte i is 'a' + i % 26. */
static int cmd_big(struct netd_conn *c, char *rest)
{
	long left = conform_number(rest);
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
	int width = (int)conform_number(rest);

	return conform_answer(c, netd_printf(c, "%*d", width, 7));
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
		return conform_answer(c, -errno);
	n = netd_sendfile(c, file, offset ? conform_number(offset) : 0,
			  count ? conform_number(count) : -1);
	close(file);
	return conform_answer(c, n);
}

static int cmd_stdio(struct netd_conn *c, char *rest)
{
	FILE *stream = netd_stdio(c);
	char line[128];

	(void)rest;
	if (!stream || netd_stdio(c) != stream)
		return conform_answer(c, -ENOTSUP);
	fprintf(stream, "say something\n");
	fflush(stream);
	netd_flush(c);
	if (!fgets(line, sizeof line, stream))
		return conform_answer(c, -EPIPE);
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
	return netd_sleep(
	    conform_number(rest)); /* not sent before the sleep is over, unless flushed */
}

/* --------------------------------------------------------------------------------- time and waits
 */

static int cmd_deadline(struct netd_conn *c, char *rest)
{
	char *line;
	ssize_t n;

	netd_set_deadline(c, netd_now() + conform_number(rest));
	n = netd_line(c, &line);
	netd_set_deadline(c, NETD_NEVER);
	if (n < 0)
		netd_printf(c, "%s; ", netd_conn_error(c));
	return conform_answer(c, n);
}

static int cmd_timeout(struct netd_conn *c, char *rest)
{
	char *line;
	ssize_t n;

	netd_set_timeout(c, conform_number(rest));
	n = netd_line(c, &line);
	netd_set_timeout(c, 0);
	if (n < 0)
		netd_printf(c, "%s; ", netd_conn_error(c));
	return conform_answer(c, n);
}

static int cmd_writetimeout(struct netd_conn *c, char *rest)
{
	static const char zeros[65536];
	ssize_t n;

	netd_set_timeout(c, conform_number(rest));
	do
		n = netd_write(c, zeros, sizeof zeros);
	while (n > 0);
	netd_log(c, NETD_NOTICE, "write ended: %s", strerrorname_np((int)-n));
	return DONE;
}

static int cmd_writedeadline(struct netd_conn *c, char *rest)
{
	static const char zeros[65536];
	ssize_t n;

	netd_set_deadline(c, netd_now() + conform_number(rest));
	do
		n = netd_write(c, zeros, sizeof zeros);
	while (n > 0);
	netd_log(c, NETD_NOTICE, "write ended: %s", strerrorname_np((int)-n));
	return DONE;
}

static int cmd_sleep(struct netd_conn *c, char *rest)
{
	int64_t from = netd_now();
	int rc = netd_sleep(conform_number(rest));

	return conform_answer(c, rc < 0 ? rc : netd_now() - from);
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
		rc = netd_poll(fds + 1, 1, netd_now() + conform_number(rest));
	} else if (pthread_create(&thread, NULL, poke, &ends[1]) == 0) {
		rc = netd_poll(fds, 2, NETD_NEVER);
		pthread_join(thread, NULL);
		rc = rc == 1 && fds[1].revents == NETD_IN && !fds[0].revents ? 1 : -EIO;
	} else {
		rc = -EAGAIN;
	}
	close(ends[0]);
	close(ends[1]);
	return conform_answer(c, rc);
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
	return conform_answer(c, rc);
}

/* Ask another server one line, and give its answer. */
static int cmd_dial(struct netd_conn *c, char *rest)
{
	struct netd_conn *other;
	char *line;
	ssize_t n;
	int rc = netd_dial(c, rest, netd_now() + 5000, &other);

	if (rc < 0)
		return conform_answer(c, rc);
	netd_printf(other, "echo via %s\n", netd_peer_text(other));
	n = netd_line(other, &line);
	if (n > 0)
		netd_write(c, line, (size_t)n);
	else
		conform_answer(c, n);
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
	return conform_answer(c, netd_spawn(netd_conn_server(c), spawned, word));
}

static int offloaded(void *arg)
{
	return *(int *)arg + 1;
}

static int nap(void *arg)
{
	return netd_sleep(*(const int *)arg);
}

/* A wait of the library's, in a function that is called on a helper thread where there is one. */
static int cmd_offloadnap(struct netd_conn *c, char *rest)
{
	int ms = (int)conform_number(rest);

	netd_printf(c, "napping\n");
	netd_flush(c);
	return conform_answer(c, netd_offload(nap, &ms));
}

/* A read that comes too late, then output: nothing of it may be lost. */
static int cmd_lateflush(struct netd_conn *c, char *rest)
{
	char *line;
	ssize_t n;

	netd_printf(c, "first\n");
	netd_set_deadline(c, netd_now() + conform_number(rest));
	do
		n = netd_line(c, &line);
	while (n > 0);
	n = netd_flush(c);
	netd_set_deadline(c, NETD_NEVER);
	netd_printf(c, "flush %zd\n", n);
	return 0;
}

static int cmd_offload(struct netd_conn *c, char *rest)
{
	int value = (int)conform_number(rest);

	return conform_answer(c, netd_offload(offloaded, &value));
}

const struct command io_commands[] = {
    {"echo", cmd_echo},
    {"readline", cmd_readline},
    {"line", cmd_line},
    {"dwell", cmd_dwell},
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
    {"timeout", cmd_timeout},
    {"writetimeout", cmd_writetimeout},
    {"writedeadline", cmd_writedeadline},
    {"sleep", cmd_sleep},
    {"poll", cmd_poll},
    {"manypoll", cmd_manypoll},
    {"dial", cmd_dial},
    {"spawn", cmd_spawn},
    {"offload", cmd_offload},
    {"offloadnap", cmd_offloadnap},
    {"lateflush", cmd_lateflush},
    {NULL, NULL},
};
