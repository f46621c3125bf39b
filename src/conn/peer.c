/* peer.c - who is at the other end, and what the access rules said about it. */
#include "conn/conn.h"
#include "os/os.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static int port_of(const struct sockaddr_storage *address, socklen_t size)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	/* Copies, not casts: a test or a trace may hand in any alignment. */
	if (address->ss_family == AF_INET && size >= sizeof v4) {
		memcpy(&v4, address, sizeof v4);
		return ntohs(v4.sin_port);
	}
	if (address->ss_family == AF_INET6 && size >= sizeof v6) {
		memcpy(&v6, address, sizeof v6);
		return ntohs(v6.sin6_port);
	}
	return 0;
}

static void set_unix_peer(struct netd_conn *conn)
{
	struct access_peer *peer = &conn->peer;

	peer->uid = peer->gid = conn->peer_pid = -1;
	if (conn->io.fd >= 0)
		os_peer_cred(conn->io.fd, &peer->uid, &peer->gid, &conn->peer_pid);
	snprintf(conn->text, sizeof conn->text, "unix:uid=%" PRId64 ",pid=%" PRId64, peer->uid,
		 conn->peer_pid);
}

/* "HOST:PORT" or "[HOST]:PORT", by hand: it is done for every connection. */
static void set_text(struct netd_conn *conn, bool brackets)
{
	char digits[8];
	size_t n = strlen(conn->host), count = 0;
	unsigned port = (unsigned)conn->peer_port;
	char *to = conn->text;

	if (brackets)
		*to++ = '[';
	memcpy(to, conn->host, n);
	to += n;
	if (brackets)
		*to++ = ']';
	*to++ = ':';
	do
		digits[count++] = (char)('0' + port % 10);
	while (port /= 10);
	while (count > 0)
		*to++ = digits[--count];
	*to = '\0';
}

void conn_set_peer(struct netd_conn *conn, const struct sockaddr_storage *address, socklen_t size)
{
	access_peer_from(&conn->peer, address);
	conn->peer_port = port_of(address, size);
	if (conn->peer.family == AF_UNIX) {
		set_unix_peer(conn);
		return;
	}
	access_peer_text(&conn->peer, conn->host);
	set_text(conn, conn->peer.family == AF_INET6);
}

uint64_t netd_conn_id(const struct netd_conn *conn)
{
	return conn->id;
}

struct netd_server *netd_conn_server(const struct netd_conn *conn)
{
	return conn->env->server;
}

const char *netd_conn_error(const struct netd_conn *conn)
{
	if (conn->err)
		return conn->err->text;
	return conn->failure ? strerror(-conn->failure) : "";
}

const char *netd_peer_host(const struct netd_conn *conn)
{
	return conn->host;
}

int netd_peer_port(const struct netd_conn *conn)
{
	return conn->peer_port;
}

const char *netd_peer_text(const struct netd_conn *conn)
{
	return conn->text;
}

const char *netd_peer_name(const struct netd_conn *conn)
{
	if (conn->peer.family == AF_UNIX) /* "localhost" is for the rules only */
		return NULL;
	return conn->name;
}

int netd_peer_cred(const struct netd_conn *conn, struct netd_cred *cred)
{
	if (conn->peer.family != AF_UNIX || conn->io.fd < 0)
		return -ENOTSUP;
	*cred = (struct netd_cred){conn->peer.uid, conn->peer.gid, conn->peer_pid};
	return 0;
}

const char *netd_client_get(const struct netd_conn *conn, const char *key)
{
	const struct value *value = conn->client ? value_get(conn->client, key) : NULL;

	return value && value->kind == VALUE_SCALAR ? value->text : NULL;
}

int netd_client_env(const struct netd_conn *conn, int index, const char **name, const char **value)
{
	const struct value *env = conn->client_env;

	if (!env || index < 0 || (size_t)index >= env->count)
		return 0;
	*name = env->keys[index];
	*value = env->items[index]->text;
	return 1;
}

int netd_client_rule(const struct netd_conn *conn)
{
	return conn->rule;
}

void netd_set_data(struct netd_conn *conn, void *data)
{
	conn->data = data;
}

void *netd_data(const struct netd_conn *conn)
{
	return conn->data;
}

int netd_fd(struct netd_conn *conn)
{
	if (conn->io.fd >= 0 && !conn->io.exposed)
		io_get_ops()->expose(&conn->io);
	return conn->io.fd;
}
