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

#define LINES 26

static char lines[LINES][LINE_MAX_SIZE]; /* each: the same line, depth times */
static size_t size;                      /* of one line */

void client_set_lines(size_t line, int depth)
{
	size = line;
	for (size_t letter = 0; letter < LINES; letter++)
		for (size_t i = 0; i < size * (size_t)depth; i++)
			lines[letter][i] =
			    i % size == size - 1 ? '\n' : (char)('a' + (letter + i % size) % 26);
}

const char *line_of(unsigned number)
{
	return lines[number % LINES];
}

size_t line_size(void)
{
	return size;
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
	/* Only what the server does about congestion is its business; here the cheapest will do. */
	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + turn++ % (unsigned)options->sources);
	return bind(fd, (const struct sockaddr *)&sa, sizeof sa) < 0 ? -errno : 0;
}

int client_connect(const struct options *options)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons((in_port_t)options->port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return -errno;
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	rc = bind_source(fd, options);
	if (rc == 0 && connect(fd, (const struct sockaddr *)&sa, sizeof sa) < 0)
		rc = -errno;
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int client_open(struct client *client, int epoll, const struct options *options, void *tag)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons((in_port_t)options->port)};
	static unsigned turn;
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
	int rc;

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	event.data.ptr = tag;
	*client = (struct client){.state = CLIENT_CONNECTING, .line = turn++, .begun_ns = now_ns()};
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
	socklen_t length = sizeof code;

	if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &code, &length) < 0)
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
	n = send(client->fd, line_of(client->line), size, MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EMSGSIZE; /* a line fits any socket buffer */
}

int client_answer(struct client *client)
{
	char data[LINE_MAX_SIZE];
	ssize_t n;

	while (client->got < size) {
		n = recv(client->fd, data, size - client->got, 0);
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (n == 0)
			return -ECONNRESET;
		if (memcmp(data, line_of(client->line) + client->got, (size_t)n) != 0)
			return -EPROTO;
		client->got += (size_t)n;
	}
	client->state = CLIENT_IDLE;
	return 1;
}

int client_hear(struct client *client)
{
	char data[LINE_MAX_SIZE];
	ssize_t n = recv(client->fd, data, sizeof data, 0);

	client->state = CLIENT_WAITING;
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	client->state = CLIENT_FINISHED;
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
