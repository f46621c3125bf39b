/*
 * conn.h - one connection from accept to close. Read conn.c first.
 *
 *   conn_new -> conn_serve: access rules -> open -> accept -> run -> deferred functions -> flush
 *            -> conn_free
 *
 * A connection knows nothing of modes and listeners: whoever accepted it calls conn_serve() once,
 * in whatever thread or process it likes.
 */
#ifndef CONN_CONN_H
#define CONN_CONN_H

#include "access/access.h"
#include "base/base.h"
#include "conn/layer.h"
#include "io/io.h"
#include "log/log.h"
#include "netdaemon.h"

#include <limits.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/socket.h>

/* Counters in memory that all processes of a server share. */
struct conn_counters {
	_Atomic uint64_t accepted, refused, failed;
};

/* What every connection of a server needs from above; outlives them all. */
struct conn_env {
	const struct netd_service *service;
	struct netd_server *server;
	struct log *log;
	const struct access *access;
	const struct access_resolver *resolver;
	struct conn_counters *counters;
	struct netd_conn **spare; /* where one thread keeps a freed connection for the next one;
				   * NULL: several threads make and free connections */
};

/* The first buffers are part of the connection: a short conversation takes no further memory. */
#define CONN_FIRST_BUFFER 1024

/* Bytes read from the peer and not yet taken: data[start..end). One spare byte follows end. */
struct conn_input {
	char *data;
	size_t start, end, size;
	size_t scanned; /* bytes from start known to hold no newline */
	bool eof;       /* the peer sends no more */
	bool skipping;  /* inside a line that was too long */
};

/* Bytes written by the handler and not yet sent. */
struct conn_output {
	char *data;
	size_t used, size;
	int error; /* a failed send: nothing goes out any more */
};

struct conn_defer; /* a deferred function or an allocation; defer.c */

struct netd_conn {
	const struct conn_env *env;
	uint64_t id;
	struct netd_conn *next;   /* in the accept loop's line of those that wait to be started */
	struct netd_conn *parent; /* a dialled connection: on whose behalf; else NULL */

	struct io_handle io; /* fd -1: a conversation in memory */
	struct layer socket; /* the bottom layer over io */
	struct layer *top;   /* what the I/O calls talk to */
	int64_t deadline;    /* NETD_NEVER: none */
	struct conn_input in;
	struct conn_output out;
	FILE *stream; /* netd_stdio(); NULL until asked for */

	struct access_peer peer;
	int64_t peer_pid; /* Unix sockets; -1: unknown */
	int peer_port;
	char host[ACCESS_TEXT_MAX];     /* numeric; "" for a Unix socket */
	char text[80];                  /* netd_peer_text() */
	char local[128];                /* netd_local_text(), filled when asked for */
	struct access_verdict *verdict; /* of the rules; NULL when there are none */

	struct conn_defer *deferred; /* last in, first out */
	jmp_buf *escape;             /* where netd_fatal() goes; NULL outside callbacks */
	void *data;                  /* the author's */
	struct err err;

	char first_input[CONN_FIRST_BUFFER]; /* not cleared by conn_new() */
	char first_output[CONN_FIRST_BUFFER];
};

/* How conn_serve() ended. */
enum conn_end {
	CONN_SERVED,  /* run() returned 0 or more */
	CONN_REFUSED, /* by a rule or by service.accept */
	CONN_SKIPPED, /* by service.open */
	CONN_FAILED,  /* run() failed or called netd_fatal() */
};

/*
 * Make a connection of an accepted socket. Takes fd over (closes it on failure). address: the
 * peer's, as accept gave it. Returns 0 or -ENOMEM.
 */
int conn_new(struct netd_conn **out, const struct conn_env *env, int fd,
	     const struct sockaddr_storage *address, socklen_t size, uint64_t id);

/* The same over a layer of the caller's (test kit): no descriptor; the rules see 127.0.0.1. */
int conn_new_over(struct netd_conn **out, const struct conn_env *env, struct layer *top);

/* The whole conversation; at its end everything is flushed and cleaned up but not yet closed. */
enum conn_end conn_serve(struct netd_conn *conn);

/* Close and free, without sending anything. Takes NULL, returns NULL. Also what a forking parent
 * does with its copy. */
struct netd_conn *conn_free(struct netd_conn *conn);

/* ------------------------------------------------------------------- between the files of conn/ */

/* Record a failure on the connection; -ECANCELED and the like get their words. Returns code. */
int conn_fail(struct netd_conn *conn, int code, const char *doing);

/* What conn_guard() returns after a netd_fatal(): no errno value. */
#define CONN_FATAL INT_MIN

/* Call fn with netd_fatal() landing here. Returns what fn returned, or CONN_FATAL. */
int conn_guard(struct netd_conn *conn, int (*fn)(struct netd_conn *conn));

/* Take a deferred function back: what it was for is done. */
void conn_undefer(struct netd_conn *conn, void (*fn)(void *arg), const void *arg);

/* Run deferred functions, free allocations. */
void conn_unwind(struct netd_conn *conn);

/* End of output in good order: what the peer still sends is read for a moment, so that closing
 * does not take back an answer that is on its way. */
void conn_linger(struct netd_conn *conn);

/* Fill host, text, peer, port from the address. */
void conn_set_peer(struct netd_conn *conn, const struct sockaddr_storage *address, socklen_t size);

#endif
