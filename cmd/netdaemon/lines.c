/*
 * lines.c - what a program writes to its standard error goes to the log, line by line.
 *
 * Happy path: bytes come, each whole line is logged with the connection's number and the word
 * "stderr", so that nothing a program says can pass for a line of netdaemon's own. Failure modes: a
 * line over LINE_BYTES is logged in parts; NUL shows as "?"; what lacks its newline at the end is
 * logged all the same; a program that writes faster than the log takes lines is not held up for the
 * log, which counts what it drops.
 */
#include "program.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void log_line(struct netd_conn *conn, const char *text, size_t length, const char *more)
{
	if (length > 0 && text[length - 1] == '\r')
		length--;
	netd_log(conn, NETD_NOTICE, "stderr: %.*s%s", (int)length, text, more);
}

/* Log the whole lines that are there; what is left moves to the front. */
static void take_lines(struct lines *lines, struct netd_conn *conn)
{
	char *from = lines->text, *end = lines->text + lines->used, *newline;

	while ((newline = memchr(from, '\n', (size_t)(end - from))) != NULL) {
		log_line(conn, from, (size_t)(newline - from), "");
		from = newline + 1;
	}
	if (from == lines->text && lines->used == sizeof lines->text) {
		log_line(conn, from, lines->used, " ...");
		from = end;
	}
	lines->used = (size_t)(end - from);
	memmove(lines->text, from, lines->used);
}

/* One read. False: there is nothing more for now, or for ever. */
static bool read_some(struct lines *lines, struct netd_conn *conn)
{
	ssize_t n;

	do
		n = read(lines->fd, lines->text + lines->used, sizeof lines->text - lines->used);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		lines->fd = -1;
		return false;
	}
	/* The log takes texts, and a text ends at the first NUL. */
	for (char *p = lines->text + lines->used; p < lines->text + lines->used + n; p++)
		*p = *p ? *p : '?';
	lines->used += (size_t)n;
	take_lines(lines, conn);
	return true;
}

void lines_read(struct lines *lines, struct netd_conn *conn)
{
	if (lines->fd >= 0)
		read_some(lines, conn); /* once: others on this thread want a turn */
}

void lines_finish(struct lines *lines, struct netd_conn *conn)
{
	/* No further than a pipe may hold: a process left behind could go on for ever. */
	for (int i = 0; lines->fd >= 0 && i < 1024 && read_some(lines, conn); i++)
		continue;
	if (lines->used > 0)
		log_line(conn, lines->text, lines->used, "");
	lines->used = 0;
}
