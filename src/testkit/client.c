/*
 * client.c - a test's end of a connection: say, expect, expect close. Each wait ends by the
 * test's time-out; what came instead of what was expected is shown.
 */
#include "testkit/client.h"

#include "listen/listen.h"
#include "log/log.h"
#include "netdaemon_test.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SHOWN_MAX 160 /* bytes of text shown in a failure */

struct netd_test_client {
	int fd; /* non-blocking */
	int64_t timeout_ms;
	struct netd_test_client *next, **link; /* of the test's clients */
	struct err *err;
};

static int wait_fd(int fd, short events, int64_t deadline)
{
	struct pollfd ready = {.fd = fd, .events = events};
	int n;

	do
		n = poll(&ready, 1, clock_poll_timeout(deadline));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return -ETIMEDOUT;
	return n < 0 ? -errno : 0;
}

static int wait_writable(int fd, int64_t deadline)
{
	return wait_fd(fd, POLLOUT, deadline);
}

int client_connect(struct netd_test_client **out, const char *address, int64_t timeout_ms,
		   struct netd_test_client **list, struct err *err)
{
	static const struct connector connector = {.wait_writable = wait_writable};
	struct netd_test_client *client;
	struct address parsed;
	int rc = address_parse(&parsed, address, err);

	if (rc < 0)
		return rc;
	client = calloc(1, sizeof *client);
	if (!client)
		return err_set(err, -ENOMEM, "no memory for a client");
	client->fd = address_connect(&parsed, &connector, clock_deadline(timeout_ms), err);
	if (client->fd < 0) {
		rc = client->fd;
		free(client);
		return rc;
	}
	client->timeout_ms = timeout_ms;
	client->err = err;
	client->next = *list;
	client->link = list;
	if (client->next)
		client->next->link = &client->next;
	*list = client;
	*out = client;
	return 0;
}

int netd_test_send(struct netd_test_client *client, const void *data, size_t size)
{
	int64_t deadline = clock_deadline(client->timeout_ms);
	const char *next = data;

	while (size > 0) {
		ssize_t n = send(client->fd, next, size, MSG_NOSIGNAL);
		int rc = 0;

		if (n >= 0) {
			next += n;
			size -= (size_t)n;
		} else if (errno == EAGAIN) {
			rc = wait_fd(client->fd, POLLOUT, deadline);
		} else if (errno != EINTR) {
			rc = -errno;
		}
		if (rc < 0)
			return err_sys(client->err, rc, "send");
	}
	return 0;
}

int netd_test_say(struct netd_test_client *client, const char *text)
{
	return netd_test_send(client, text, strlen(text));
}

/* Up to size bytes; 0 at the end; -errno. */
static ssize_t receive(struct netd_test_client *client, char *data, size_t size, int64_t deadline)
{
	for (;;) {
		ssize_t n = recv(client->fd, data, size, 0);
		int rc = 0;

		if (n >= 0)
			return n;
		if (errno == EAGAIN)
			rc = wait_fd(client->fd, POLLIN, deadline);
		else if (errno != EINTR)
			rc = -errno;
		if (rc < 0)
			return rc;
	}
}

/* A failed expectation, with what was wanted and what came. */
static int unexpected(struct netd_test_client *client, int code, const char *wanted,
		      const char *came, size_t length)
{
	char left[SHOWN_MAX], right[SHOWN_MAX];

	log_escape(left, sizeof left, wanted, strlen(wanted));
	log_escape(right, sizeof right, came, length);
	return err_set(client->err, code, "expected \"%s\", found \"%s\"%s", left, right,
		       code == -EPIPE       ? " and the end"
		       : code == -ETIMEDOUT ? " and then nothing"
					    : "");
}

int netd_test_expect(struct netd_test_client *client, const char *text)
{
	int64_t deadline = clock_deadline(client->timeout_ms);
	size_t wanted = strlen(text), have = 0;
	char *came = malloc(wanted + 1);
	int rc = 0;

	if (!came)
		return err_set(client->err, -ENOMEM, "no memory");
	while (rc == 0 && have < wanted) {
		ssize_t n = receive(client, came + have, wanted - have, deadline);

		if (n > 0)
			have += (size_t)n;
		else
			rc = n == 0 ? -EPIPE : (int)n;
		if (memcmp(came, text, have) != 0)
			rc = -EBADMSG;
	}
	if (rc < 0)
		rc = unexpected(client, rc, text, came, have);
	free(came);
	return rc;
}

int netd_test_expect_close(struct netd_test_client *client)
{
	char came[SHOWN_MAX];
	ssize_t n = receive(client, came, sizeof came, clock_deadline(client->timeout_ms));

	if (n == 0)
		return 0;
	if (n < 0)
		return err_sys(client->err, (int)n, "expected the end");
	return unexpected(client, -EBADMSG, "", came, (size_t)n);
}

int netd_test_shutdown(struct netd_test_client *client)
{
	return shutdown(client->fd, SHUT_WR) < 0 ? err_sys(client->err, -errno, "shutdown") : 0;
}

struct netd_test_client *netd_test_close(struct netd_test_client *client)
{
	if (!client)
		return NULL;
	close(client->fd);
	*client->link = client->next;
	if (client->next)
		client->next->link = client->link;
	free(client);
	return NULL;
}
