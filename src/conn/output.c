/*
 * output.c - writing: gathered in a buffer, sent when it is full, when the handler waits for input,
 * on request, and at the end. After a failed send nothing goes out any more and every call says so.
 */
#include "conn/conn.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUTPUT_SIZE IO_BUFFER /* gathered before it is sent */
#define FILE_CHUNK 65536      /* netd_sendfile() without help from the kernel */
#define LINGER_MS 1000        /* for input that is still coming when we close */
#define LINGER_BYTES 262144   /* of it that we read */

static int fail_output(struct netd_conn *conn, int code)
{
	if (!conn->out.error)
		conn->out.error = code;
	conn->out.used = 0;
	return conn_fail(conn, code, "write");
}

/* Send the buffer and what follows it, in one go. */
HOT_PATH static int send_now(struct netd_conn *conn, const void *data, size_t size)
{
	struct conn_output *out = &conn->out;
	char *more = NULL;
	struct iovec iov[2] = {{out->data, out->used}, {NULL, size}};
	int first = out->used ? 0 : 1;
	ssize_t n;

	/* An iovec takes no const: the layers only read it. */
	memcpy(&more, &data, sizeof more);
	iov[1].iov_base = more;
	if (out->used + size == 0)
		return 0;
	n = conn->top->ops->write(conn->top, iov + first, size ? 2 - first : 1, conn->deadline);
	if (conn->lending)
		conn_free_output(conn); /* whoever waits holds none */
	if (n < 0)
		return fail_output(conn, (int)n);
	out->used = 0;
	out->begun = true;
	return 0;
}

HOT_PATH void conn_free_output(struct netd_conn *conn)
{
	struct conn_output *out = &conn->out;

	if (conn->lending && out->data)
		conn->lending->drop_buffer(out->data);
	else if (out->data != conn->first_output)
		free(out->data);
	out->data = NULL;
	out->used = out->size = 0;
}

HOT_PATH int conn_post(struct netd_conn *conn)
{
	struct conn_output *out = &conn->out;
	char *data = out->data;
	size_t used = out->used;
	int rc;

	if (!conn->lending || conn->top != &conn->socket || out->error)
		return netd_flush(conn);
	out->data = NULL;
	out->used = out->size = 0;
	out->begun = true;
	rc = conn->lending->post(&conn->io, data, used, conn->deadline);
	if (rc < 0)
		return fail_output(conn, rc);
	if (rc > 0)
		out->posted = true;
	return 0;
}

/* What was posted has gone, or failed. */
static int wait_posted(struct netd_conn *conn)
{
	struct iovec none = {NULL, 0};
	ssize_t rc = io_get_ops()->send(&conn->io, &none, 0, conn->deadline);

	conn->out.posted = false;
	return rc < 0 ? fail_output(conn, (int)rc) : 0;
}

HOT_PATH int netd_flush(struct netd_conn *conn)
{
	if (conn->out.error)
		return conn_fail(conn, conn->out.error, "write");
	if (conn->out.used)
		return send_now(conn, NULL, 0);
	return conn->out.posted ? wait_posted(conn) : 0;
}

/* The first buffer, or the full one once more than that is gathered. 0 or -errno. */
HOT_PATH static int make_buffer(struct netd_conn *conn, size_t more)
{
	struct conn_output *out = &conn->out;
	char *data;

	if (out->error)
		return conn_fail(conn, out->error, "write");
	if (!out->data && !conn->lending) {
		out->data = conn->first_output;
		out->size = sizeof conn->first_output;
	}
	if (out->size == OUTPUT_SIZE || (out->data && more <= out->size - out->used))
		return 0;
	data = conn->lending ? conn->lending->take_buffer() : malloc(OUTPUT_SIZE);
	if (!data)
		return fail_output(conn, -ENOMEM);
	if (out->data) /* the first buffer */
		memcpy(data, out->data, out->used);
	out->data = data;
	out->size = OUTPUT_SIZE;
	return 0;
}

HOT_PATH ssize_t netd_write(struct netd_conn *conn, const void *data, size_t size)
{
	struct conn_output *out = &conn->out;
	int rc;

	if (size > 0 && size <= out->size - out->used && !out->error) { /* as usual */
		memcpy(out->data + out->used, data, size);
		out->used += size;
		return (ssize_t)size;
	}
	if (size > SSIZE_MAX)
		return conn_fail(conn, -EINVAL, "write");
	rc = make_buffer(conn, size);
	if (rc < 0)
		return rc;
	if (size <= out->size - out->used) {
		if (size)
			memcpy(out->data + out->used, data, size);
		out->used += size;
		return (ssize_t)size;
	}
	rc = send_now(conn, data, size);
	return rc < 0 ? rc : (ssize_t)size;
}

/* Formatting takes much stack. */
struct formatting {
	char *to;
	size_t room;
	const char *format;
	va_list *args;
	int length; /* as vsnprintf(3) gives it */
};

static void format_text(void *arg)
{
	struct formatting *work = arg;
	/* By a pointer: compilers want to see the format, which was checked where it was given. */
	int (*const print)(char *, size_t, const char *, va_list) = vsnprintf;

	// NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it was, by va_copy()
	work->length = print(work->to, work->room, work->format, *work->args);
}

static int format_aside(char *to, size_t room, const char *format, va_list args)
{
	va_list copy;
	struct formatting work = {.to = to, .room = room, .format = format, .args = &copy};

	va_copy(copy, args);
	io_get_ops()->aside(format_text, &work);
	va_end(copy);
	return work.length;
}

ssize_t netd_vprintf(struct netd_conn *conn, const char *format, va_list args)
{
	struct conn_output *out = &conn->out;
	char *text;
	ssize_t rc = make_buffer(conn, 0);
	int n;

	if (rc < 0)
		return rc;
	n = format_aside(out->data + out->used, out->size - out->used, format, args);
	if (n < 0)
		return conn_fail(conn, -EINVAL, "printf");
	if ((size_t)n < out->size - out->used) {
		out->used += (size_t)n; /* formatted in place */
		return n;
	}
	text = malloc((size_t)n + 1);
	if (!text)
		return conn_fail(conn, -ENOMEM, "printf");
	format_aside(text, (size_t)n + 1, format, args);
	rc = netd_write(conn, text, (size_t)n);
	free(text);
	return rc;
}

ssize_t netd_printf(struct netd_conn *conn, const char *format, ...)
{
	va_list args;
	ssize_t n;

	va_start(args, format);
	n = netd_vprintf(conn, format, args);
	va_end(args);
	return n;
}

static ssize_t read_file(int file, void *data, size_t size, int64_t offset)
{
	ssize_t n;

	do
		n = pread(file, data, size, offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* For layers and descriptors that the kernel cannot copy between. */
static int64_t copy_file(struct netd_conn *conn, int file, int64_t offset, int64_t count)
{
	char *chunk = malloc(FILE_CHUNK);
	int64_t total = 0;
	ssize_t n = 0;

	if (!chunk)
		return conn_fail(conn, -ENOMEM, "sendfile");
	while (total < count) {
		size_t want = count - total < FILE_CHUNK ? (size_t)(count - total) : FILE_CHUNK;

		n = read_file(file, chunk, want, offset + total);
		if (n < 0)
			conn_fail(conn, (int)n, "sendfile");
		if (n <= 0)
			break; /* the file is shorter */
		n = netd_write(conn, chunk, (size_t)n);
		if (n < 0)
			break;
		total += n;
	}
	free(chunk);
	return n < 0 ? n : total;
}

int64_t netd_sendfile(struct netd_conn *conn, int file, int64_t offset, int64_t count)
{
	const struct layer_ops *ops = conn->top->ops;
	int64_t n;
	int rc;

	if (offset < 0)
		return conn_fail(conn, -EINVAL, "sendfile");
	if (count < 0)
		count = INT64_MAX - offset;
	rc = netd_flush(conn);
	if (rc < 0)
		return rc;
	n = ops->sendfile ? ops->sendfile(conn->top, file, offset, count, conn->deadline) : -ENOSYS;
	if (n == -ENOSYS || n == -EINVAL) /* not this pair of descriptors */
		return copy_file(conn, file, offset, count);
	return n < 0 ? fail_output(conn, (int)n) : n;
}

int netd_shutdown(struct netd_conn *conn)
{
	int rc = netd_flush(conn);

	if (rc < 0)
		return rc;
	rc = conn->top->ops->shutdown(conn->top);
	if (rc < 0)
		return conn_fail(conn, rc, "shutdown");
	conn->out.error = -EPIPE; /* whatever is written now has nowhere to go */
	return 0;
}

void conn_linger(struct netd_conn *conn)
{
	char scrap[4096];
	size_t total = 0;
	ssize_t n;

	if (conn->in.eof || conn->io.fd < 0 || conn->peer.family == AF_UNIX)
		return;
	/* A close with input unread makes the system send a reset, which can overtake our answer.
	 */
	if (conn->in.start == conn->in.end &&
	    recv(conn->io.fd, scrap, 1, MSG_DONTWAIT | MSG_PEEK) < 1)
		return;
	if (conn->top->ops->shutdown(conn->top) < 0)
		return;
	conn->deadline = clock_earlier(conn->deadline, clock_deadline(LINGER_MS));
	do {
		n = conn->top->ops->read(conn->top, scrap, sizeof scrap, conn->deadline);
		total += n > 0 ? (size_t)n : 0;
	} while (n > 0 && total < LINGER_BYTES);
}
