/*
 * peer.h - what the peers in C share: the listening socket, and the blocking handler. They are the
 * simplest honest servers in C: no configuration, no log, no limits; what a library costs is
 * measured against them. Usage of each: NAME [PORT]; the port in use is printed.
 */
#ifndef PEER_H
#define PEER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static inline void peer_die(const char *what)
{
	perror(what);
	exit(1);
}

/* flags: 0 or SOCK_NONBLOCK. Accepted sockets inherit TCP_NODELAY. */
static inline int peer_listen(int argc, char **argv, int flags)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t size = sizeof sa;
	int yes = 1;
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sa.sin_port = htons((in_port_t)(argc > 1 ? atoi(argv[1]) : 0));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
	if (bind(fd, (const struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &size) < 0)
		peer_die("listen");
	printf("%d\n", ntohs(sa.sin_port));
	fflush(stdout);
	return fd;
}

/* Returns 0, or -1 when the client is gone. */
static inline int peer_write(int fd, const char *data, size_t size)
{
	ssize_t n;

	for (size_t done = 0; done < size; done += (size_t)n) {
		n = write(fd, data + done, size - done);
		if (n < 0)
			return -1;
	}
	return 0;
}

/* Read lines, answer the same lines, until the end of input or a line that is too long. All lines
 * that one read brought are answered with one write. */
static inline void peer_echo(int fd)
{
	char data[65536];
	size_t used = 0, whole;
	ssize_t n;
	const char *end;

	while (used < sizeof data && (n = read(fd, data + used, sizeof data - used)) > 0) {
		whole = 0;
		while ((end = memchr(data + used, '\n', (size_t)n)) != NULL) {
			whole = (size_t)(end + 1 - data);
			n -= (ssize_t)(whole - used);
			used = whole;
		}
		used += (size_t)n;
		if (whole > 0 && peer_write(fd, data, whole) < 0)
			return;
		used -= whole;
		memmove(data, data + whole, used);
	}
	if (used < sizeof data)
		peer_write(fd, data, used);
}

#endif
