/*
 * dial.c - connections that a handler makes: netd_dial() and netd_hangup(); and the local end of
 * any connection. A dialled connection has the same I/O calls as an accepted one and ends with the
 * connection it was made for, at the latest.
 */
#include "conn/conn.h"
#include "io/io.h"
#include "listen/listen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int wait_writable(int fd, int64_t deadline)
{
	struct netd_pollfd ready = {.fd = fd, .events = NETD_OUT};
	int rc = io_get_ops()->poll(&ready, 1, deadline);

	if (rc == 0)
		return -ETIMEDOUT;
	return rc < 0 ? rc : 0;
}

/* Deferred by the connection it was dialled for. */
static void hang_up(void *arg)
{
	netd_hangup(arg);
}

int netd_dial(struct netd_conn *conn, const char *text, int64_t deadline, struct netd_conn **out)
{
	static const struct connector connector = {.wait_writable = wait_writable};
	struct sockaddr_storage peer = {0};
	socklen_t size = sizeof peer;
	struct netd_conn *dialled = NULL;
	struct address address;
	struct err words = {0};
	int rc = address_parse(&address, text, &words);
	int fd;

	if (rc < 0)
		return conn_failed(conn, rc, &words);
	fd = address_connect(&address, &connector, deadline, &words);
	if (fd < 0)
		return conn_failed(conn, fd, &words);
	if (getpeername(fd, (struct sockaddr *)&peer, &size) < 0)
		size = 0; /* gone again: the first read will tell */
	if (address.kind == ADDRESS_UNIX)
		peer.ss_family = AF_UNIX;
	rc = conn_new(&dialled, conn->env, NULL, fd, &peer, size, conn->id);
	if (rc == 0)
		rc = netd_defer(conn, hang_up, dialled);
	if (rc < 0) {
		conn_free(dialled);
		return conn_fail(conn, rc, "dial");
	}
	dialled->parent = conn;
	*out = dialled;
	return 0;
}

struct netd_conn *netd_hangup(struct netd_conn *dialled)
{
	if (!dialled)
		return NULL;
	conn_unwind(dialled);
	netd_flush(dialled);
	conn_undefer(dialled->parent, hang_up, dialled);
	return conn_free(dialled);
}

const char *netd_local_text(struct netd_conn *conn)
{
	struct sockaddr_storage local = {0};
	socklen_t size = sizeof local;
	char text[128];

	if (!conn->local && conn->io.fd >= 0 &&
	    getsockname(conn->io.fd, (struct sockaddr *)&local, &size) == 0) {
		address_text(&local, size, text);
		conn->local = strdup(text);
	}
	return conn->local ? conn->local : "";
}
