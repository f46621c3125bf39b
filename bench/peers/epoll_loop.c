/*
 * epoll_loop.c - the hand-written loop: one thread, one edge-triggered epoll, and no more system
 * calls than the work needs. A read that brings less than it asked for has emptied the socket, so
 * there is no second one; an answer is written from the buffer it was read into.
 *
 * While output waits, the connection is not read: its client has to take the answers first.
 */
#include "lines.h"
#include "peer.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>

#define EVENTS 512
#define ANY_END (EPOLLRDHUP | EPOLLHUP | EPOLLERR)

struct conn {
	int fd;
	bool ended;        /* no more input comes */
	bool asked;        /* EPOLLOUT was asked for: done at the first output that had to wait */
	struct bytes rest; /* an unfinished line */
	struct bytes out;  /* what the socket did not take */
};

static int poller;
static char input[65536];

static int flush(struct conn *conn)
{
	ssize_t n = send(conn->fd, conn->out.data, conn->out.used, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	bytes_drop(&conn->out, (size_t)n);
	return 0;
}

static int wait_for_room(struct conn *conn)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				    .data.ptr = conn};

	if (conn->asked)
		return 0;
	conn->asked = true;
	return epoll_ctl(poller, EPOLL_CTL_MOD, conn->fd, &event);
}

static int put(void *arg, const char *data, size_t size)
{
	struct conn *conn = arg;
	ssize_t n = 0;

	if (conn->out.used == 0) {
		n = send(conn->fd, data, size, MSG_NOSIGNAL);
		if (n == (ssize_t)size)
			return 0;
		if (n < 0 && errno != EAGAIN)
			return -1;
		n = n < 0 ? 0 : n;
	}
	return bytes_add(&conn->out, data + n, size - (size_t)n);
}

/* Go as far as it can; -1: the connection is done. */
static int serve(struct conn *conn, unsigned events)
{
	ssize_t n;

	for (;;) {
		if (conn->out.used > 0 && flush(conn) < 0)
			return -1;
		if (conn->out.used > 0)
			return wait_for_room(conn);
		if (conn->ended)
			return -1;
		n = recv(conn->fd, input, sizeof input, 0);
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		conn->ended = n == 0;
		if (n > 0 && lines_feed(&conn->rest, input, (size_t)n, put, conn) < 0)
			return -1;
		if (n == 0 && conn->rest.used && put(conn, conn->rest.data, conn->rest.used) < 0)
			return -1;
		if (n > 0 && n < (ssize_t)sizeof input && !conn->out.used && !(events & ANY_END))
			return 0;
	}
}

static void finish(struct conn *conn)
{
	close(conn->fd);
	bytes_free(&conn->rest);
	bytes_free(&conn->out);
	free(conn);
}

static void begin(int fd)
{
	struct conn *conn = calloc(1, sizeof *conn);
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = conn};

	if (!conn) {
		close(fd);
		return;
	}
	conn->fd = fd;
	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
		finish(conn);
	// NOLINTNEXTLINE(clang-analyzer-unix.Malloc): epoll has the pointer
}

int main(int argc, char **argv)
{
	int listener = peer_listen(argc, argv, SOCK_NONBLOCK);
	struct epoll_event events[EVENTS] = {{.events = EPOLLIN}}; /* data.ptr NULL: the listener */
	int fd;
	int n;

	signal(SIGPIPE, SIG_IGN);
	poller = epoll_create1(EPOLL_CLOEXEC);
	if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &events[0]) < 0)
		peer_die("epoll");
	for (;;) {
		n = epoll_wait(poller, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			struct conn *conn = events[i].data.ptr;

			if (!conn)
				while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
					begin(fd);
			else if (serve(conn, events[i].events) < 0)
				finish(conn);
		}
	}
}
