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

/* Where the limits are, if there are any: behind everything else. */
static size_t limits_offset(const struct io_lending *lending)
{
	const size_t size =
	    lending ? offsetof(struct netd_conn, first_input) : sizeof(struct netd_conn);
	const size_t align = _Alignof(struct conn_limited);

	return (size + align - 1) / align * align;
}

static struct netd_conn *conn_alloc(const struct conn_env *env, const struct conn_memory *memory,
				    uint64_t id)
{
	const struct io_lending *lending = io_get_ops()->lending;
	const size_t head = offsetof(struct netd_conn, first_input);
	size_t size =
	    limits_offset(lending) + (conn_has_limits(env) ? sizeof(struct conn_limited) : 0);
	struct netd_conn *conn = memory ? memory->take(memory->arg, size) : malloc(size);

	if (!conn)
		return NULL;
	memset(conn, 0, head);
	conn->env = env;
	conn->memory = memory;
	conn->lending = lending;
	conn->id = id;
	conn->io.fd = -1;
	conn->deadline = NETD_NEVER;
	conn->peer_pid = -1;
	return conn;
}

int conn_new(struct netd_conn **out, const struct conn_env *env, const struct conn_memory *memory,
	     int fd, const struct sockaddr_storage *address, socklen_t size, uint64_t id)
{
	struct netd_conn *conn = conn_alloc(env, memory, id);

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
	struct netd_conn *conn = conn_alloc(env, NULL, 1);

	if (!conn)
		return -ENOMEM;
	conn->top = top;
	conn_set_peer(conn, &local, sizeof local.ss_family);
	*out = conn;
	return 0;
}

/* What the rules file says by now, which is read anew if it has changed. */
static void take_rules(struct netd_conn *conn)
{
	const struct conn_env *env = conn->env;
	struct err words;
	int rc = access_refresh(env->access, &words);

	if (rc != 0)
		log_write(env->log, rc < 0 ? NETD_ERR : NETD_NOTICE, NULL, "rules: %s", words.text);
	conn->lines = access_hold(env->access);
}

void conn_accepted(struct netd_conn *conn)
{
	take_rules(conn);
	if (conn_has_limits(conn->env))
		conn_limit(conn, (struct conn_limited *)(void *)((char *)conn +
								 limits_offset(conn->lending)));
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
	conn_free_input(conn);
	conn_free_output(conn);
	if (conn->io.fd >= 0)
		io_get_ops()->close(&conn->io);
	access_release(conn->lines);
	free(conn->local);
	free(conn->name);
	free(conn->err);
	if (conn->memory)
		conn->memory->give(conn->memory->arg, conn);
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

int conn_failed(struct netd_conn *conn, int code, const struct err *words)
{
	if (!conn->err)
		conn->err = malloc(sizeof *conn->err);
	if (conn->err)
		*conn->err = *words;
	conn->failure = code;
	return code;
}

int conn_fail(struct netd_conn *conn, int code, const char *doing)
{
	struct err words;

	if (code == -ETIMEDOUT)
		conn_timeout_words(conn, doing, &words);
	else
		err_set(&words, code, "%s: %s", doing, error_words(code));
	return conn_failed(conn, code, &words);
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
	struct access_verdict verdict = {0};

	if (access_count(env->access) < 0)
		return false; /* no rules at all: open */
	access_admit(env->access, conn->lines, &conn->peer, env->resolver, &verdict);
	conn->rule = verdict.rule;
	conn->client = verdict.keys;
	conn->client_env = verdict.env;
	if (verdict.name[0])
		conn->name = strdup(verdict.name); /* none: as if it were not confirmed */
	if (!verdict.allowed) /* of a file that is broken, take_rules() tells once for all */
		netd_log(conn, verdict.unusable ? NETD_DEBUG : NETD_ERR, "access not permitted: %s",
			 verdict.why);
	return !verdict.allowed;
}

/* Why a callback returned rc: the words of the call that failed, when it was that one. Many return
 * -1 for any failure. */
static const char *end_words(const struct netd_conn *conn, int rc)
{
	if (conn->failure == rc || (rc == -1 && conn->failure))
		return netd_conn_error(conn);
	return rc == -1 ? "-1 was returned" : error_words(rc);
}

/* That a peer is gone is its own business, and comes by the thousand; that a stop cuts it, ours. */
static enum netd_level end_level(const struct netd_conn *conn, int rc)
{
	if (rc == -1)
		rc = conn->failure;
	return rc == -ECONNRESET || rc == -EPIPE || rc == -ECANCELED ? NETD_INFO : NETD_ERR;
}

/* open, accept, run: the part of the conversation that belongs to the service. */
static enum conn_end call_service(struct netd_conn *conn)
{
	const struct netd_service *service = conn->env->service;
	int rc;

	if (service->open) {
		rc = conn_guard(conn, service->open);
		if (conn_ended_by_limit(conn, rc))
			return CONN_SERVED;
		if (rc < 0) {
			if (rc != CONN_FATAL) /* netd_fatal() has logged */
				netd_error(conn, "set-up failed: %s", end_words(conn, rc));
			return CONN_SKIPPED;
		}
	}
	if (service->accept) {
		rc = conn_guard(conn, service->accept);
		if (conn_ended_by_limit(conn, rc))
			return CONN_SERVED;
		if (rc <= 0) {
			if (rc != CONN_FATAL)
				netd_error(conn, "refused by the service");
			return CONN_REFUSED;
		}
	}
	netd_debug(conn, "accepted");
	rc = conn_guard(conn, service->run);
	if (rc >= 0 || conn_ended_by_limit(conn, rc))
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
	if (netd_flush(conn) == 0 && conn->out.begun) /* an answer that may be on its way */
		conn_linger(conn);
	count_end(conn, end);
	netd_debug(conn, "ended");
	return end;
}
