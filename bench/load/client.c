/*
 * client.c - one connection of the load generator.
 *
 * Happy path: open, connected, (ask, answer) again and again, finish, ended, close.
 * Failure modes: each call returns what went wrong; the kinds of work count it.
 *
 * Source ports: an address has 28,000 of them, and a connection that we end first keeps its port in
 * TIME_WAIT for a minute. So connections take turns over many source addresses (127.0.0.2 and up).
 * They end as polite clients do: we shut down our half, see the server's end, close. A reset
 * (SO_LINGER 0) would save the TIME_WAIT, but a server would meet errors instead of ends of input,
 * and that is another kind of work.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static char line[LINE_MAX_SIZE];
static size_t line_size;

void client_set_line(size_t size)
{
	for (size_t i = 0; i < size; i++)
		line[i] = (char)('a' + i % 26);
	line[size - 1] = '\n';
	line_size = size;
}

static int bind_source(int fd, const struct options *options)
{
	static unsigned turn;
	struct sockaddr_in sa = {.sin_family = AF_INET};
	int yes = 1;

	/* The port is chosen at connect(), when the kernel knows both ends. */
	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0)
		return -errno;
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + turn++ % (unsigned)options->sources);
	return bind(fd, (const struct sockaddr *)&sa, sizeof sa) < 0 ? -errno : 0;
}

int client_open(struct client *client, int epoll, const struct options *options, void *tag)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons((in_port_t)options->port)};
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
	int rc;

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	event.data.ptr = tag;
	*client = (struct client){.state = CLIENT_CONNECTING, .begun_ns = now_ns()};
	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		return -errno;
	rc = bind_source(client->fd, options);
	if (rc < 0)
		return rc;
	if (connect(client->fd, (const struct sockaddr *)&sa, sizeof sa) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event) < 0 ? -errno : 0;
}

int client_connected(struct client *client)
{
	int code = 0;
	socklen_t size = sizeof code;

	if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
		return -errno;
	client->state = CLIENT_IDLE;
	return -code;
}

int client_ask(struct client *client)
{
	ssize_t n;

	client->state = CLIENT_WAITING;
	client->got = 0;
	client->asked_ns = now_ns();
	n = send(client->fd, line, line_size, MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	return (size_t)n == line_size ? 0 : -EMSGSIZE; /* a line fits any socket buffer */
}

int client_answer(struct client *client)
{
	char data[LINE_MAX_SIZE];
	ssize_t n;

	while (client->got < line_size) {
		n = recv(client->fd, data, line_size - client->got, 0);
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (n == 0)
			return -ECONNRESET;
		if (memcmp(data, line + client->got, (size_t)n) != 0)
			return -EPROTO;
		client->got += (size_t)n;
	}
	client->state = CLIENT_IDLE;
	return 1;
}

int client_finish(struct client *client)
{
	client->state = CLIENT_FINISHED;
	return shutdown(client->fd, SHUT_WR) < 0 ? -errno : 0;
}

int client_ended(struct client *client)
{
	char byte;
	ssize_t n = recv(client->fd, &byte, 1, 0);

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n == 0 ? 1 : -EPROTO;
}

void client_close(struct client *client)
{
	if (client->state != CLIENT_CLOSED && client->fd >= 0)
		close(client->fd);
	client->state = CLIENT_CLOSED;
}
