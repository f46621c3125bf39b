/*
 * peer.h - what the bare loops share: the listening socket, and the handler. They are the simplest
 * honest servers in C: no configuration, no log, no limits; what a library costs is measured
 * against them. Usage of each: NAME [PORT]; the port in use is printed.
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

static inline int peer_listen(int argc, char **argv)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t size = sizeof sa;
	int yes = 1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

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

/* Read a line, answer the same line, until the end of input or a line that is too long. */
static inline void peer_echo(int fd)
{
	char data[4096];
	size_t used = 0;
	ssize_t n;
	char *end;

	while (used < sizeof data && (n = read(fd, data + used, sizeof data - used)) > 0) {
		used += (size_t)n;
		while ((end = memchr(data, '\n', used)) != NULL) {
			size_t size = (size_t)(end + 1 - data);

			if (write(fd, data, size) != (ssize_t)size)
				return;
			used -= size;
			memmove(data, data + size, used);
		}
	}
}

#endif
