/*
 * talk.c - the ways of a handler to say something that is not for the peer: log lines, and the end
 * of the connection by netd_fatal(); and the connection as a stdio stream.
 */
#include "conn/conn.h"
#include "os/os.h"

#include <errno.h>
#include <stdlib.h>

/* A log line takes much stack. */
struct saying {
	struct netd_conn *conn;
	enum netd_level level;
	const char *format;
	va_list *args;
};

static void say(void *arg)
{
	struct saying *line = arg;
	struct log_context context = {.conn = line->conn->id, .peer = line->conn->text};
	/* By a pointer: compilers want to see the format, which was checked where it was given. */
	void (*const write)(struct log *, enum netd_level, const struct log_context *, const char *,
			    va_list) = log_vwrite;

	write(line->conn->env->log, line->level, &context, line->format, *line->args);
}

void netd_vlog(struct netd_conn *conn, enum netd_level level, const char *format, va_list args)
{
	va_list copy;
	struct saying line = {.conn = conn, .level = level, .format = format, .args = &copy};

	if (!log_wants(conn->env->log, level))
		return;
	va_copy(copy, args);
	io_get_ops()->aside(say, &line);
	va_end(copy);
}

void netd_log(struct netd_conn *conn, enum netd_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	netd_vlog(conn, level, format, args);
	va_end(args);
}

void netd_debug(struct netd_conn *conn, const char *format, ...)
{
	va_list args;

	if (!log_wants(conn->env->log, NETD_DEBUG))
		return;
	va_start(args, format);
	netd_vlog(conn, NETD_DEBUG, format, args);
	va_end(args);
}

void netd_error(struct netd_conn *conn, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	netd_vlog(conn, NETD_ERR, format, args);
	va_end(args);
}

void netd_fatal(struct netd_conn *conn, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	netd_vlog(conn, NETD_ERR, format, args);
	va_end(args);
	while (!conn->escape && conn->parent)
		conn = conn->parent; /* a dialled connection ends the one it was dialled for */
	if (!conn->escape) {
		netd_log(conn, NETD_CRIT, "netd_fatal() called outside a handler: aborting");
		abort();
	}
	longjmp(*conn->escape, 1);
}

static ssize_t stream_read(void *cookie, char *data, size_t size)
{
	ssize_t n = netd_read(cookie, data, size);

	if (n < 0)
		errno = (int)-n;
	return n < 0 ? -1 : n;
}

static ssize_t stream_write(void *cookie, const char *data, size_t size)
{
	ssize_t n = netd_write(cookie, data, size);

	if (n < 0)
		errno = (int)-n;
	return n < 0 ? 0 : n; /* 0 is how a cookie reports failure: fopencookie(3) */
}

static int stream_close(void *cookie)
{
	(void)cookie;
	return 0;
}

/* Deferred: what the stream still holds goes to the connection's own buffer. */
static void close_stream(void *arg)
{
	struct netd_conn *conn = arg;

	fclose(conn->stream);
	conn->stream = NULL;
}

FILE *netd_stdio(struct netd_conn *conn)
{
	int rc;

	if (conn->stream)
		return conn->stream;
	conn->stream = os_stream(conn, stream_read, stream_write, stream_close);
	if (!conn->stream) {
		conn_fail(conn, -errno, "stdio");
		return NULL;
	}
	rc = netd_defer(conn, close_stream, conn);
	if (rc < 0) {
		close_stream(conn);
		errno = -rc;
	}
	return conn->stream;
}
