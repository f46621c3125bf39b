/*
 * connect.c - outgoing connections.
 *
 * Happy path: look the host up, connect without blocking, wait by the caller's way of waiting.
 * Failure modes: the addresses of a host are tried in turn, each with its share of the time left,
 * so that one that does not answer leaves time for the next; the words are about the last one. A
 * Unix socket whose queue is full is tried again until the deadline: there is no event for it.
 * The look-up of a name takes as long as the system's resolver does, whatever the deadline; it
 * holds up this handler only.
 */
#include "listen/bind.h"
#include "netdaemon.h"
#include "os/os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* How long to wait before a full Unix socket is tried again. */
#define FULL_RETRY_MS 10

/*
 * A connection to a free port of the range that outgoing ports come from may meet itself (TCP's
 * simultaneous open) and then looks like a server that echoes.
 */
static bool is_self(int fd)
{
	struct sockaddr_storage a = {0}, b = {0};
	socklen_t size_a = sizeof a, size_b = sizeof b;

	return getsockname(fd, (struct sockaddr *)&a, &size_a) == 0 &&
	       getpeername(fd, (struct sockaddr *)&b, &size_b) == 0 && a.ss_family != AF_UNIX &&
	       size_a == size_b && memcmp(&a, &b, size_a) == 0;
}

static int wait_connected(int fd, const struct connector *connector, int64_t deadline)
{
	int code = 0;
	socklen_t size = sizeof code;
	int rc = connector->wait_writable(fd, deadline);

	if (rc < 0)
		return rc;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
		return -errno;
	return -code;
}

static int connect_one(const struct sockaddr *sa, socklen_t size, const struct connector *connector,
		       int64_t deadline)
{
	int yes = 1;
	int fd = os_socket(sa->sa_family, SOCK_STREAM, 0);
	int rc;

	if (fd < 0)
		return fd;
	rc = os_set_nonblocking(fd, true);
	if (rc == 0 && connect(fd, sa, size) < 0)
		rc = errno == EINPROGRESS ? wait_connected(fd, connector, deadline) : -errno;
	if (rc == 0 && sa->sa_family != AF_UNIX) {
		if (is_self(fd))
			rc = -ECONNREFUSED;
		else if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0)
			rc = -errno;
	}
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

/* Wait a little in the caller's way of waiting, on a descriptor that never becomes writable: the
 * reading end of a pipe. */
static int nap(const struct connector *connector, int64_t deadline)
{
	int64_t until = clock_earlier(deadline, clock_deadline(FULL_RETRY_MS));
	int fds[2];
	int rc = os_pipe(fds);

	if (rc < 0)
		return rc;
	rc = connector->wait_writable(fds[0], until);
	close(fds[0]);
	close(fds[1]);
	if (rc != -ETIMEDOUT)
		return rc;
	return clock_ms() >= deadline ? -ETIMEDOUT : 0;
}

static int connect_unix(const struct address *address, const struct connector *connector,
			int64_t deadline)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int rc;

	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", address->path);
	for (;;) {
		rc = connect_one((const struct sockaddr *)&sa, sizeof sa, connector, deadline);
		if (rc != -EAGAIN)
			return rc;
		rc = nap(connector, deadline);
		if (rc < 0)
			return rc;
	}
}

/* The share of the time left that one of `left` addresses gets. */
static int64_t share_of(int64_t deadline, int left)
{
	int64_t now = clock_ms();

	if (deadline == INT64_MAX || deadline <= now)
		return deadline;
	return now + (deadline - now) / left;
}

static int connect_tcp(const struct addrinfo *list, const struct connector *connector,
		       int64_t deadline)
{
	int left = 0;
	int rc = -EHOSTUNREACH;

	for (const struct addrinfo *item = list; item; item = item->ai_next)
		left++;
	for (; list; list = list->ai_next, left--) {
		rc = connect_one(list->ai_addr, list->ai_addrlen, connector,
				 share_of(deadline, left));
		/* Told to stop: do not go on with the next. */
		if (rc >= 0 || rc == -ECANCELED || rc == -EINTR)
			break;
	}
	return rc;
}

struct look_up {
	const struct address *address;
	struct addrinfo **list;
	struct err *err;
	bool ran;
};

static bool is_numeric(const char *host)
{
	uint8_t scrap[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, scrap) == 1 || inet_pton(AF_INET6, host, scrap) == 1;
}

static int look_up(void *arg)
{
	struct look_up *want = arg;

	want->ran = true;
	return address_resolve(want->address, false, want->list, want->err);
}

int address_connect(const struct address *address, const struct connector *connector,
		    int64_t deadline, struct err *err)
{
	struct addrinfo *list = NULL;
	char words[ADDRESS_WORDS_MAX];
	int rc;

	if (address->kind == ADDRESS_UNIX) {
		rc = connect_unix(address, connector, deadline);
	} else {
		struct look_up want = {.address = address, .list = &list, .err = err};

		/* Only a name takes time. */
		rc = is_numeric(address->host) ? look_up(&want) : netd_offload(look_up, &want);
		if (rc < 0 && !want.ran)
			err_sys(err, rc, "cannot look up %s", address->host);
		if (rc < 0)
			return rc;
		rc = connect_tcp(list, connector, deadline);
		freeaddrinfo(list);
	}
	if (rc < 0) {
		address_words(address, words);
		err_sys(err, rc, "%s", words);
	}
	return rc;
}
