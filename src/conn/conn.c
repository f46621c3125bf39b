/*
 * conn.c - one connection from accept to close.
 *
 * Happy path: conn_serve() asks the access rules, then the service (open, accept), calls run(),
 * runs what was deferred, sends what is still buffered. Failure modes: a refusal is logged and
 * counted; run() returning negative or calling netd_fatal() ends this connection with one line in
 * the log; clean-up runs in every case.
 */
#include "conn/conn.h"
#include "os/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONN_ALIGN ((size_t)4096) /* a page */

static struct netd_conn *conn_alloc(const struct conn_env *env, uint64_t id)
{
	struct netd_conn *conn = env->spare ? *env->spare : NULL;

	if (conn)
		*env->spare = NULL;
	else if (env->spare) /* used again and again: on as few pages as can be, see mode/fork.c */
		conn =
		    aligned_alloc(CONN_ALIGN, (sizeof *conn + CONN_ALIGN - 1) & ~(CONN_ALIGN - 1));
	else
		conn = malloc(sizeof *conn);
	if (!conn)
		return NULL;
	memset(conn, 0, offsetof(struct netd_conn, first_input));
	conn->env = env;
	conn->id = id;
	conn->io.fd = -1;
	conn->deadline = NETD_NEVER;
	conn->peer_pid = -1;
	return conn;
}

int conn_new(struct netd_conn **out, const struct conn_env *env, int fd,
	     const struct sockaddr_storage *address, socklen_t size, uint64_t id)
{
	struct netd_conn *conn = conn_alloc(env, id);

	if (!conn) {
		close(fd);
		return -ENOMEM;
	}
	conn->io.fd = fd;
	conn->socket.ops = &layer_socket;
	conn->top = &conn->socket;
	conn_set_peer(conn, address, size);
	*out = conn;
	return 0;
}

int conn_new_over(struct netd_conn **out, const struct conn_env *env, struct layer *top)
{
	struct sockaddr_storage local = {.ss_family = AF_UNIX};
	struct netd_conn *conn = conn_alloc(env, 1);

	if (!conn)
		return -ENOMEM;
	conn->top = top;
	conn_set_peer(conn, &local, sizeof local.ss_family);
	*out = conn;
	return 0;
}

struct netd_conn *conn_free(struct netd_conn *conn)
{
	if (!conn)
		return NULL;
	conn_unwind(conn);
	for (struct layer *layer = conn->top; layer;) {
		struct layer *below = layer->below;

		layer->ops->close(layer);
		layer = below;
	}
	if (conn->io.fd >= 0)
		close(conn->io.fd);
	if (conn->in.data != conn->first_input)
		free(conn->in.data);
	if (conn->out.data != conn->first_output)
		free(conn->out.data);
	if (conn->verdict)
		free(conn->verdict);
	if (conn->env->spare && !*conn->env->spare)
		*conn->env->spare = conn;
	else
		free(conn);
	return NULL;
}

/* Words for the errors that have a meaning of their own here. */
static const char *error_words(int code)
{
	switch (code) {
	case -ECANCELED:
		return "the server is stopping";
	case -EMSGSIZE:
		return "the line is too long";
	default:
		return strerror(-code);
	}
}

int conn_fail(struct netd_conn *conn, int code, const char *doing)
{
	/* The system has time-outs of its own, with the same name. */
	if (code == -ETIMEDOUT && conn->deadline != NETD_NEVER && clock_ms() >= conn->deadline)
		return err_set(&conn->err, code, "%s: the deadline passed", doing);
	return err_set(&conn->err, code, "%s: %s", doing, error_words(code));
}

int conn_guard(struct netd_conn *conn, int (*fn)(struct netd_conn *conn))
{
	jmp_buf *volatile outer = conn->escape;
	jmp_buf here;
	int rc;

	if (setjmp(here) == 0) {
		conn->escape = &here;
		rc = fn(conn);
	} else {
		rc = CONN_FATAL;
	}
	conn->escape = outer;
	return rc;
}

/* Denied by a rule? Then say so and return true. */
static bool refused_by_rules(struct netd_conn *conn)
{
	const struct conn_env *env = conn->env;

	if (access_count(env->access) < 0)
		return false; /* no rules at all: open */
	conn->verdict = calloc(1, sizeof *conn->verdict);
	if (!conn->verdict) {
		netd_error(conn, "refused: no memory to check the access rules");
		return true;
	}
	access_check(env->access, &conn->peer, env->resolver, conn->verdict);
	if (!conn->verdict->allowed)
		netd_error(conn, "access not permitted: %s", conn->verdict->why);
	return !conn->verdict->allowed;
}

/* Why a callback returned rc: the words of the call that failed, when it was that one. Many return
 * -1 for any failure. */
static const char *end_words(const struct netd_conn *conn, int rc)
{
	if (conn->err.code == rc || (rc == -1 && conn->err.code))
		return conn->err.text;
	return rc == -1 ? "-1 was returned" : error_words(rc);
}

/* That a peer is gone is its own business, and comes by the thousand; that a stop cuts it, ours. */
static enum netd_level end_level(const struct netd_conn *conn, int rc)
{
	if (rc == -1)
		rc = conn->err.code;
	return rc == -ECONNRESET || rc == -EPIPE || rc == -ECANCELED ? NETD_INFO : NETD_ERR;
}

/* open, accept, run: the part of the conversation that belongs to the service. */
static enum conn_end call_service(struct netd_conn *conn)
{
	const struct netd_service *service = conn->env->service;
	int rc;

	if (service->open) {
		rc = conn_guard(conn, service->open);
		if (rc < 0) {
			if (rc != CONN_FATAL) /* netd_fatal() has logged */
				netd_error(conn, "set-up failed: %s", end_words(conn, rc));
			return CONN_SKIPPED;
		}
	}
	if (service->accept) {
		rc = conn_guard(conn, service->accept);
		if (rc <= 0) {
			if (rc != CONN_FATAL)
				netd_error(conn, "refused by the service");
			return CONN_REFUSED;
		}
	}
	netd_debug(conn, "accepted");
	rc = conn_guard(conn, service->run);
	if (rc >= 0)
		return CONN_SERVED;
	if (rc != CONN_FATAL)
		netd_log(conn, end_level(conn, rc), "ended in error: %s", end_words(conn, rc));
	return CONN_FAILED;
}

static void count_end(struct netd_conn *conn, enum conn_end end)
{
	struct conn_counters *counters = conn->env->counters;

	if (end == CONN_REFUSED)
		atomic_fetch_add_explicit(&counters->refused, 1, memory_order_relaxed);
	else if (end == CONN_FAILED || end == CONN_SKIPPED)
		atomic_fetch_add_explicit(&counters->failed, 1, memory_order_relaxed);
}

enum conn_end conn_serve(struct netd_conn *conn)
{
	enum conn_end end;

	netd_debug(conn, "connected from %s", conn->text);
	if (refused_by_rules(conn))
		end = CONN_REFUSED;
	else
		end = call_service(conn);
	conn_unwind(conn);
	if (netd_flush(conn) == 0 && conn->out.data) /* an answer that may be on its way */
		conn_linger(conn);
	count_end(conn, end);
	netd_debug(conn, "ended");
	return end;
}
