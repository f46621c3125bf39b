/*
 * uv_echo.c - the same echo by libuv. Reads share one buffer, which is usual where the callback is
 * done with the data; an answer is tried at once (uv_try_write), and copied only if it must wait.
 * While output waits, the connection is not read.
 */
#include "lines.h"
#include "peer.h"

#include <signal.h>
#include <stdbool.h>
#include <uv.h>

struct conn {
	uv_tcp_t tcp;
	bool ended;        /* no more input comes */
	struct bytes rest; /* an unfinished line */
};

struct later {
	uv_write_t request;
	char data[];
};

static char input[65536];

static void on_closed(uv_handle_t *handle)
{
	struct conn *conn = handle->data;

	bytes_free(&conn->rest);
	free(conn);
}

static void finish(struct conn *conn)
{
	if (!uv_is_closing((uv_handle_t *)&conn->tcp))
		uv_close((uv_handle_t *)&conn->tcp, on_closed);
}

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)handle, (void)suggested;
	*buf = uv_buf_init(input, sizeof input);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_written(uv_write_t *request, int status)
{
	struct conn *conn = request->handle->data;

	free(request->data);
	if (status == 0 && uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp) > 0)
		return;
	if (status < 0 || conn->ended)
		finish(conn);
	else
		uv_read_start((uv_stream_t *)&conn->tcp, on_buffer, on_read);
}

static int put_later(struct conn *conn, const char *data, size_t size)
{
	struct later *later = malloc(sizeof *later + size);
	uv_buf_t buf;

	if (!later)
		return -1;
	memcpy(later->data, data, size);
	later->request.data = later;
	buf = uv_buf_init(later->data, (unsigned)size);
	if (!conn->ended)
		uv_read_stop((uv_stream_t *)&conn->tcp);
	if (uv_write(&later->request, (uv_stream_t *)&conn->tcp, &buf, 1, on_written) == 0)
		return 0;
	free(later);
	return -1;
}

static int put(void *arg, const char *data, size_t size)
{
	struct conn *conn = arg;
	/* libuv does not write to what a uv_buf_t names when it sends it
	 * NOLINTNEXTLINE(performance-no-int-to-ptr) */
	uv_buf_t buf = {.base = (char *)(uintptr_t)data, .len = size};
	int n = uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);

	if (n == (int)size)
		return 0;
	if (n < 0 && n != UV_EAGAIN)
		return -1;
	n = n < 0 ? 0 : n;
	return put_later(conn, data + n, size - (size_t)n);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *conn = stream->data;

	if (n > 0 && lines_feed(&conn->rest, buf->base, (size_t)n, put, conn) < 0)
		finish(conn);
	if (n >= 0)
		return;
	conn->ended = true;
	uv_read_stop(stream);
	if (n == UV_EOF && conn->rest.used && put(conn, conn->rest.data, conn->rest.used) < 0)
		finish(conn);
	if (n != UV_EOF || uv_stream_get_write_queue_size(stream) == 0)
		finish(conn);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct conn *conn = status < 0 ? NULL : calloc(1, sizeof *conn);

	if (!conn)
		return;
	uv_tcp_init(listener->loop, &conn->tcp);
	conn->tcp.data = conn;
	if (uv_accept(listener, (uv_stream_t *)&conn->tcp) < 0 ||
	    uv_read_start((uv_stream_t *)&conn->tcp, on_buffer, on_read) < 0)
		finish(conn);
}

int main(int argc, char **argv)
{
	uv_loop_t *loop = uv_default_loop();
	uv_tcp_t listener;

	signal(SIGPIPE, SIG_IGN);
	if (uv_tcp_init(loop, &listener) < 0 ||
	    uv_tcp_open(&listener, peer_listen(argc, argv, SOCK_NONBLOCK)) < 0 ||
	    uv_listen((uv_stream_t *)&listener, 1024, on_connection) < 0)
		peer_die("libuv");
	return uv_run(loop, UV_RUN_DEFAULT);
}
