/*
 * deadline.c - until when a connection may wait: what the handler says (netd_set_deadline(),
 * netd_set_timeout()) within what the administrator allows (first-byte-timeout, idle-timeout,
 * total-timeout).
 *
 * Happy path: conn->deadline and conn->io hold the earlier of both, so that a read or write looks
 * at one number; without limits of the administrator there is nothing here at all. Failure modes: a
 * limit passes: one line in the log, and every call fails with -ETIMEDOUT from then on.
 */
#include "conn/conn.h"
#include "os/os.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>

/* The handler may come late, to what has been there in time: in the socket, or read ahead by the
 * poller. So any read for the first byte is given the time to find it. */
#define LATE_MS 10

static const struct {
	const char *option, *happened;
} limit_words[] = {
    [CONN_FIRST_BYTE] = {"first-byte-timeout", "no byte within"},
    [CONN_IDLE] = {"idle-timeout", "nothing moved for"},
    [CONN_TOTAL] = {"total-timeout", "still open after"},
};

static int64_t limit_ms(const struct netd_conn *conn, enum conn_limit limit)
{
	const struct conn_limits *limits = &conn->env->limits;
	const int64_t values[] = {[CONN_FIRST_BYTE] = limits->first_byte_ms,
				  [CONN_IDLE] = limits->idle_ms,
				  [CONN_TOTAL] = limits->total_ms};

	return values[limit];
}

/* When a limit that counts from accept on is over. */
static int64_t limit_at(const struct netd_conn *conn, enum conn_limit limit)
{
	int64_t ms = limit_ms(conn, limit), accepted = conn_limited(conn)->accepted_at;

	return ms > 0 && ms < NETD_NEVER - accepted ? accepted + ms : NETD_NEVER;
}

bool conn_has_limits(const struct conn_env *env)
{
	return env->limits.first_byte_ms || env->limits.idle_ms || env->limits.total_ms;
}

/* The handler, the administrator or the clock has spoken. */
static void set_bounds(struct netd_conn *conn)
{
	struct conn_limited *limited = conn_limited(conn);

	conn->deadline = clock_earlier(limited->own_deadline, limit_at(conn, CONN_TOTAL));
	if (limited->over != CONN_NO_LIMIT)
		conn->deadline = 0;
}

void conn_limit(struct netd_conn *conn, struct conn_limited *limited)
{
	int64_t idle = conn->env->limits.idle_ms;

	*limited = (struct conn_limited){
	    .idle.limit_ms = idle < UINT32_MAX ? (uint32_t)idle : UINT32_MAX,
	    .accepted_at = clock_ms(),
	    .own_deadline = NETD_NEVER,
	};
	conn->io.idle = &limited->idle;
	conn->in.silent = conn->env->limits.first_byte_ms > 0;
	set_bounds(conn);
}

void netd_set_deadline(struct netd_conn *conn, int64_t deadline)
{
	conn->deadline = deadline;
	if (conn_limited(conn)) {
		conn_limited(conn)->own_deadline = deadline;
		set_bounds(conn);
	}
}

void netd_set_timeout(struct netd_conn *conn, int64_t milliseconds)
{
	if (milliseconds < 0 || milliseconds == NETD_NEVER)
		milliseconds = 0;
	conn->io.wait_ms = milliseconds < UINT32_MAX ? (uint32_t)milliseconds : UINT32_MAX;
}

/* ------------------------------------------------------------------------------ the first byte */

/* Has the peer sent nothing at all, neither bytes nor an end? Asked when it is late. */
static bool is_silent(const struct netd_conn *conn)
{
	struct os_flow flow;
	char byte;

	if (os_get_flow(conn->io.fd, &flow) == 0 && flow.counted && flow.in > 0)
		return false; /* read ahead, or by somebody else */
	return recv(conn->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EWOULDBLOCK);
}

int64_t conn_first_deadline(struct netd_conn *conn)
{
	int64_t at = limit_at(conn, CONN_FIRST_BYTE), soon = clock_ms() + LATE_MS;

	return clock_earlier(conn->deadline, at > soon ? at : soon);
}

/* --------------------------------------------------------------------------- a limit has passed */

static void limit_text(const struct netd_conn *conn, enum conn_limit limit, char *text, size_t size)
{
	snprintf(text, size, "%s: %s %.10g s", limit_words[limit].option,
		 limit_words[limit].happened, (double)limit_ms(conn, limit) / 1000);
}

static void limit_passed(struct netd_conn *conn, enum conn_limit limit)
{
	struct conn_limited *limited = conn_limited(conn);
	char text[100];

	if (limited->over != CONN_NO_LIMIT)
		return;
	limited->over = limit;
	set_bounds(conn);
	limit_text(conn, limit, text, sizeof text);
	netd_log(conn, NETD_INFO, "%s", text);
}

/* Which limit ends a wait now? The handler's own, if it was earlier, is none of ours. */
static enum conn_limit which_limit(struct netd_conn *conn, bool first_byte, int64_t now)
{
	const struct conn_limited *limited = conn_limited(conn);
	int64_t own = limited->own_deadline, total = limit_at(conn, CONN_TOTAL);

	if (now >= total && total <= own)
		return CONN_TOTAL;
	if (first_byte && now >= limit_at(conn, CONN_FIRST_BYTE) &&
	    limit_at(conn, CONN_FIRST_BYTE) <= own)
		return CONN_FIRST_BYTE;
	return limited->idle.over ? CONN_IDLE : CONN_NO_LIMIT;
}

void conn_timed_out(struct netd_conn *conn, bool first_byte)
{
	enum conn_limit limit;

	if (!conn_limited(conn))
		return;
	limit = which_limit(conn, first_byte, clock_ms());
	if (limit != CONN_NO_LIMIT)
		limit_passed(conn, limit);
}

void conn_timeout_words(struct netd_conn *conn, const char *doing, struct err *words)
{
	const struct conn_limited *limited = conn_limited(conn);
	char text[100];

	conn_timed_out(conn, false);
	/* The system has time-outs of its own, with the same name. */
	if (limited && limited->over != CONN_NO_LIMIT) {
		limit_text(conn, limited->over, text, sizeof text);
		err_set(words, -ETIMEDOUT, "%s: %s", doing, text);
	} else if (conn->deadline != NETD_NEVER && clock_ms() >= conn->deadline) {
		err_set(words, -ETIMEDOUT, "%s: the deadline passed", doing);
	} else if (conn->io.wait_ms) {
		err_set(words, -ETIMEDOUT, "%s: nothing happened for %" PRIu32 " ms", doing,
			conn->io.wait_ms);
	} else {
		err_sys(words, -ETIMEDOUT, "%s", doing);
	}
}

bool conn_ended_by_limit(const struct netd_conn *conn, int rc)
{
	const struct conn_limited *limited = conn_limited(conn);

	return limited && limited->over != CONN_NO_LIMIT &&
	       (rc == -ETIMEDOUT || (rc == -1 && conn->failure == -ETIMEDOUT));
}

/* ------------------------------------------------------- while somebody else uses the socket */

/* Has a limit passed? If not, *until is when to ask again. */
static int look_at_limits(struct netd_conn *conn, int64_t *until)
{
	struct conn_limited *limited = conn_limited(conn);
	int64_t now = clock_ms(), first;
	bool silent = conn->in.silent;

	if (limited->opaque)
		silent = false;
	else if (silent && now >= limit_at(conn, CONN_FIRST_BYTE) && !is_silent(conn))
		silent = conn->in.silent = false;
	first = silent ? limit_at(conn, CONN_FIRST_BYTE) : NETD_NEVER;
	*until = clock_earlier(limit_at(conn, CONN_TOTAL), first);
	if (limited->idle.limit_ms && !limited->opaque) {
		if (!limited->idle.since)
			limited->idle.since = now;
		if (now - limited->idle.since >= limited->idle.limit_ms &&
		    io_idle_ms(&conn->io, now) >= limited->idle.limit_ms)
			limited->idle.over = true;
		*until = clock_earlier(*until, limited->idle.since + limited->idle.limit_ms);
	}
	if (limited->over == CONN_NO_LIMIT && now < *until)
		return 0;
	conn_timed_out(conn, silent);
	return -ETIMEDOUT;
}

/* Are there limits that cannot be seen from outside on this socket? */
static bool is_opaque(const struct netd_conn *conn)
{
	const struct conn_limits *limits = &conn->env->limits;
	struct os_flow flow;

	return (limits->first_byte_ms || limits->idle_ms) &&
	       (os_get_flow(conn->io.fd, &flow) < 0 || !flow.counted);
}

int netd_watch(struct netd_conn *conn, struct netd_pollfd *fds, size_t count, int64_t deadline)
{
	struct conn_limited *limited = conn_limited(conn);
	int64_t until = NETD_NEVER;
	struct err words;
	int rc = 0;

	if (limited && limited->over == CONN_NO_LIMIT && !limited->watched)
		limited->opaque = is_opaque(conn);
	if (limited && limited->opaque && !limited->watched) {
		limited->watched = true; /* told once; the total counts all the same */
		err_set(&words, -ENOTSUP,
			"watch: a first-byte-timeout or idle-timeout for a "
			"socket that others use needs a TCP socket on Linux");
		return conn_failed(conn, -ENOTSUP, &words);
	}
	if (limited)
		limited->watched = true;
	while (rc == 0) {
		if (limited)
			rc = look_at_limits(conn, &until);
		if (rc == 0)
			rc = io_get_ops()->poll(fds, count, clock_earlier(deadline, until));
		if (rc == 0 && deadline != NETD_NEVER && clock_ms() >= deadline)
			return 0;
	}
	return rc < 0 ? conn_fail(conn, rc, "watch") : rc;
}

int netd_traffic(const struct netd_conn *conn, uint64_t *in, uint64_t *out)
{
	struct os_flow flow;

	if (conn->io.fd < 0 || os_get_flow(conn->io.fd, &flow) < 0 || !flow.counted)
		return -ENOTSUP;
	if (in)
		*in = flow.in;
	if (out)
		*out = flow.out;
	return 0;
}
