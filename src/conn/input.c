/*
 * input.c - reading: bytes, exact amounts, lines.
 *
 * Happy path: what is buffered is handed out; only an empty buffer goes to the layers, after the
 * output was flushed (the peer may wait for it). The buffer grows with the longest line seen, up to
 * NETD_LINE_MAX. Failure modes: a longer line is skipped and reported once; after the end of input
 * every read returns 0.
 */
#include "conn/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define READ_DIRECT 4096 /* a read of this size goes past the buffer */
/* The last one: a byte more than the longest line tells whether that line ends there, and a spare
 * byte. */
#define INPUT_LAST (NETD_LINE_MAX + 2)

static size_t held(const struct conn_input *in)
{
	return in->end - in->start;
}

static void consume(struct conn_input *in, size_t n)
{
	in->start += n;
	in->scanned = in->scanned > n ? in->scanned - n : 0;
	if (in->start == in->end)
		in->start = in->end = in->scanned = 0;
}

/* Is the input in the connection's first buffer? */
static bool is_inside(const struct netd_conn *conn)
{
	return !conn->lending && conn->in.data == conn->first_input;
}

HOT_PATH void conn_free_input(struct netd_conn *conn)
{
	struct conn_input *in = &conn->in;

	if (in->lent)
		conn->lending->give_back(in->data);
	else if (!is_inside(conn))
		free(in->data);
	in->data = NULL;
	in->lent = false;
	in->start = in->end = in->scanned = in->size = 0;
}

/* The rest of a loan, a line that is not complete, goes to a buffer of our own. */
static int keep_loan(struct netd_conn *conn)
{
	struct conn_input *in = &conn->in;
	size_t rest = held(in), size = rest * 4 > CONN_FIRST_BUFFER ? rest * 4 : CONN_FIRST_BUFFER;
	char *data = malloc(size);

	if (!data)
		return -ENOMEM;
	memcpy(data, in->data + in->start, rest);
	conn->lending->give_back(in->data);
	in->data = data;
	in->size = size;
	in->start = 0;
	in->end = rest;
	in->lent = false;
	return 0;
}

/* Room for at least one more byte behind end, and a spare one for netd_chomp(). */
static int make_room(struct netd_conn *conn)
{
	struct conn_input *in = &conn->in;
	bool inside = is_inside(conn);
	size_t size;
	char *data;

	if (in->lent)
		return keep_loan(conn);
	if (!in->data && !conn->lending) {
		in->data = conn->first_input;
		in->size = sizeof conn->first_input;
		return 0;
	}
	if (in->end + 1 < in->size)
		return 0;
	if (in->data && in->start > 0) {
		memmove(in->data, in->data + in->start, held(in));
		in->end -= in->start;
		in->start = 0;
		return 0;
	}
	size = in->size ? in->size * 4 : CONN_FIRST_BUFFER;
	if (size > INPUT_LAST)
		size = INPUT_LAST; /* nobody asks for more than a byte beyond NETD_LINE_MAX */
	data = realloc(inside ? NULL : in->data, size);
	if (!data)
		return -ENOMEM;
	if (inside)
		memcpy(data, conn->first_input, in->end);
	in->data = data;
	in->size = size;
	return 0;
}

/* The peer gets our output before we wait for its input. 1: now read; 0: the end was seen. */
static int before_read(struct netd_conn *conn)
{
	int rc;

	if (conn->in.eof)
		return 0;
	rc = conn->out.used ? conn_post(conn) : 0; /* a closed output does not end the input */
	return rc < 0 ? rc : 1;
}

static int64_t read_deadline(struct netd_conn *conn)
{
	return conn->in.silent ? conn_first_deadline(conn) : conn->deadline;
}

static ssize_t after_read(struct netd_conn *conn, ssize_t n)
{
	if (n == -ETIMEDOUT)
		conn_timed_out(conn, conn->in.silent);
	if (n < 0)
		return conn_fail(conn, (int)n, "read");
	conn->in.silent = false;
	if (n == 0)
		conn->in.eof = true;
	return n;
}

/* One read from the layers. */
static ssize_t read_layers(struct netd_conn *conn, void *data, size_t size)
{
	int rc = before_read(conn);

	if (rc <= 0)
		return rc;
	return after_read(conn, conn->top->ops->read(conn->top, data, size, read_deadline(conn)));
}

/* With nothing in the buffer, nor a buffer: input where it lies. */
static ssize_t borrow(struct netd_conn *conn)
{
	struct conn_input *in = &conn->in;
	ssize_t n = before_read(conn);

	if (n <= 0)
		return n;
	n = conn->lending->lend(&conn->io, &in->data, read_deadline(conn));
	if (n > 0) {
		in->lent = true;
		in->end = (size_t)n;
		in->size = (size_t)n + 1;
	}
	return after_read(conn, n);
}

/* Add input to the buffer. Returns bytes added, 0 at the end, -errno. */
HOT_PATH static ssize_t fill(struct netd_conn *conn)
{
	struct conn_input *in = &conn->in;
	ssize_t n;
	int rc;

	if (conn->lending && held(in) == 0) {
		conn_free_input(conn); /* whoever waits holds none */
		if (conn->top == &conn->socket)
			return borrow(conn);
	}
	rc = make_room(conn);
	if (rc < 0)
		return conn_fail(conn, rc, "read");
	n = read_layers(conn, in->data + in->end, in->size - in->end - 1);
	if (n > 0)
		in->end += (size_t)n;
	return n;
}

/* The length of the line at the front, newline included; 0: none is complete yet. */
static size_t find_line(struct conn_input *in)
{
	const char *line, *newline = NULL;

	if (held(in) == 0)
		return 0; /* there may be no buffer yet */
	line = in->data + in->start;
	if (held(in) > in->scanned)
		newline = memchr(line + in->scanned, '\n', held(in) - in->scanned);
	if (newline)
		return (size_t)(newline - line) + 1;
	in->scanned = held(in);
	return 0;
}

/* Throw away the rest of a line that was too long. Returns 1 done, 0 end of input, -errno. */
HOT_PATH static ssize_t skip_line(struct netd_conn *conn)
{
	struct conn_input *in = &conn->in;

	while (in->skipping) {
		size_t length = find_line(in);
		ssize_t n;

		if (length > 0) {
			in->skipping = false;
			consume(in, length);
			break;
		}
		consume(in, held(in));
		n = fill(conn);
		if (n <= 0)
			return n;
	}
	return 1;
}

HOT_PATH ssize_t netd_read(struct netd_conn *conn, void *buffer, size_t size)
{
	struct conn_input *in = &conn->in;
	ssize_t n;

	if (size == 0)
		return 0;
	n = skip_line(conn);
	if (n <= 0)
		return n;
	if (held(in) == 0) {
		if (size >= READ_DIRECT) { /* no copy for large reads */
			if (conn->lending)
				conn_free_input(conn);
			return read_layers(conn, buffer, size);
		}
		n = fill(conn);
		if (n <= 0)
			return n;
	}
	if (size > held(in))
		size = held(in);
	memcpy(buffer, in->data + in->start, size);
	consume(in, size);
	return (ssize_t)size;
}

ssize_t netd_read_exact(struct netd_conn *conn, void *buffer, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = netd_read(conn, (char *)buffer + done, size - done);

		if (n < 0)
			return n;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* Find the next line in the buffer, reading as needed. Returns its length, 0, -errno. */
HOT_PATH static ssize_t next_line(struct netd_conn *conn)
{
	struct conn_input *in = &conn->in;
	ssize_t n = skip_line(conn);

	if (n <= 0)
		return n;
	for (;;) {
		size_t length = find_line(in);

		if (length > NETD_LINE_MAX || (length == 0 && held(in) > NETD_LINE_MAX)) {
			in->skipping = true;
			return conn_fail(conn, -EMSGSIZE, "read");
		}
		if (length > 0)
			return (ssize_t)length;
		n = fill(conn);
		if (n < 0)
			return n;
		if (n == 0)
			return (ssize_t)held(in); /* the last line may lack its newline */
	}
}

HOT_PATH ssize_t netd_line(struct netd_conn *conn, char **line)
{
	ssize_t n = next_line(conn);

	if (n <= 0)
		return n;
	*line = conn->in.data + conn->in.start;
	/* Not consume(): it would reset an emptied buffer, which is fine, as nothing is moved until
	 * the next read. */
	consume(&conn->in, (size_t)n);
	return n;
}

ssize_t netd_readline(struct netd_conn *conn, char *buffer, size_t size)
{
	char *line;
	ssize_t n = netd_line(conn, &line);

	if (n <= 0)
		return n;
	if ((size_t)n >= size)
		return conn_fail(conn, -EMSGSIZE, "read");
	memcpy(buffer, line, (size_t)n);
	buffer[n] = '\0';
	return n;
}

size_t netd_chomp(char *line, size_t n)
{
	if (n > 0 && line[n - 1] == '\n')
		n--;
	if (n > 0 && line[n - 1] == '\r')
		n--;
	line[n] = '\0';
	return n;
}
