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

/* What the administrator allows a client, in ms; 0: for ever. */
struct conn_limits {
	int64_t first_byte_ms; /* from accept until something has come */
	int64_t idle_ms;       /* without a byte in any direction */
	int64_t total_ms;      /* from accept to the end */
};

/* What every connection of a server needs from above; outlives them all. */
struct conn_env {
	const struct netd_service *service;
	struct netd_server *server;
	struct log *log;
	const struct access *access;
	const struct access_resolver *resolver;
	struct conn_counters *counters;
	struct conn_limits limits;
};

/*
 * Where the connections of an accept loop live; the size asked for may differ from one to the next.
 */
struct conn_memory {
	void *(*take)(void *arg, size_t size); /* NULL: there is none */
	void (*give)(void *arg, void *memory);
	void *arg;
};

/* The first buffers are part of the connection: a short conversation takes no further memory. */
#define CONN_FIRST_BUFFER 1024

/* Bytes read from the peer and not yet taken: data[start..end). One spare byte follows end. */
struct conn_input {
	char *data;
	size_t start, end, size;
	size_t scanned; /* bytes from start known to hold no newline */
	bool lent;      /* data is a loan of the I/O operations */
	bool eof;       /* the peer sends no more */
	bool skipping;  /* inside a line that was too long */
	bool silent;    /* nothing has come yet, and there is a limit for that */
};

/* Bytes written by the handler and not yet sent. */
struct conn_output {
	char *data;
	size_t used, size;
	int error;   /* a failed send: nothing goes out any more */
	bool begun;  /* something was sent */
	bool posted; /* and may still be under way */
};

struct conn_defer; /* a deferred function or an allocation; defer.c */

enum conn_limit { CONN_NO_LIMIT, CONN_FIRST_BYTE, CONN_IDLE, CONN_TOTAL };

/* What there is besides for a connection that the administrator has set limits for; deadline.c. */
struct conn_limited {
	struct io_idle idle; /* conn->io.idle points to it */
	int64_t accepted_at;
	int64_t own_deadline; /* the handler's; NETD_NEVER */
	enum conn_limit over; /* the one that has passed: everything fails from then on */
	bool watched;         /* by netd_watch(), */
	bool opaque;          /* which cannot tell what moves on this socket */
};

struct netd_conn {
	/* What every read and write needs stands together: with thousands of connections, each line
	 * of the cache counts. */
	const struct conn_env *env;
	const struct io_lending *lending; /* buffers come from here; NULL: they are our own */
	struct io_handle io;              /* fd -1: a conversation in memory */
	struct layer socket;              /* the bottom layer over io */
	struct layer *top;                /* what the I/O calls talk to */
	int64_t deadline;                 /* the earliest of all; NETD_NEVER: none */
	struct conn_input in;
	struct conn_output out;

	uint64_t id;
	const struct conn_memory *memory; /* whose this struct is; NULL: malloc */
	uint64_t hold;                    /* of the accept loop's, while it waits to be started */
	struct netd_conn *next;   /* in the accept loop's line of those that wait to be started */
	struct netd_conn *parent; /* a dialled connection: on whose behalf; else NULL */
	FILE *stream;             /* netd_stdio(); NULL until asked for */

	struct access_peer peer;
	int64_t peer_pid; /* Unix sockets; -1: unknown */
	int peer_port;
	char host[ACCESS_TEXT_MAX];     /* numeric; "" for a Unix socket */
	char text[80];                  /* netd_peer_text() */
	char *local;                    /* netd_local_text(); NULL until asked for */
	char *name;                     /* confirmed; NULL: none */
	const struct value *client;     /* the rule that let it in; NULL: there are none */
	int rule;                       /* its number, from 1; 0: there are none */
	const struct value *client_env; /* its variables; NULL: none; lives with lines or access */
	struct lines *lines;            /* of the rules file when we were accepted; NULL: none */

	int failure;     /* the last one: a negative errno; 0: none yet */
	struct err *err; /* words about it; NULL: none, or no memory for them */

	struct conn_defer *deferred; /* last in, first out */
	jmp_buf *escape;             /* where netd_fatal() goes; NULL outside callbacks */
	void *data;                  /* the author's */

	/* Not cleared by conn_new(), and not there at all when buffers are lent. */
	char first_input[CONN_FIRST_BUFFER];
	char first_output[CONN_FIRST_BUFFER];
};

/* How conn_serve() ended. */
enum conn_end {
	CONN_SERVED,  /* run() returned 0 or more, or a limit has ended it, open() or accept() */
	CONN_REFUSED, /* by a rule or by service.accept */
	CONN_SKIPPED, /* by service.open */
	CONN_FAILED,  /* run() failed or called netd_fatal() */
};

/*
 * Make a connection of an accepted socket. memory: where it shall live, borrowed; NULL: malloc.
 * Takes fd over (closes it on failure). address: the peer's, as accept gave it. Returns 0 or
 * -ENOMEM.
 */
int conn_new(struct netd_conn **out, const struct conn_env *env, const struct conn_memory *memory,
	     int fd, const struct sockaddr_storage *address, socklen_t size, uint64_t id);

/* The same over a layer of the caller's (test kit): no descriptor; the rules see 127.0.0.1. */
int conn_new_over(struct netd_conn **out, const struct conn_env *env, struct layer *top);

/* It was accepted just now: the limits of its server hold, if there are any, and the rules file as
 * it is by now. In the thread that accepts. */
void conn_accepted(struct netd_conn *conn);

/* The whole conversation; at its end everything is flushed and cleaned up but not yet closed. */
enum conn_end conn_serve(struct netd_conn *conn);

/* Close and free, without sending anything. Takes NULL, returns NULL. Also what a forking parent
 * does with its copy. */
struct netd_conn *conn_free(struct netd_conn *conn);

/* ------------------------------------------------------------------- between the files of conn/ */

/* Record a failure on the connection; -ECANCELED and the like get their words. Returns code. */
int conn_fail(struct netd_conn *conn, int code, const char *doing);

/* A call has failed; its words are copied as far as there is memory. Returns code. */
int conn_failed(struct netd_conn *conn, int code, const struct err *words);

/* NULL: the administrator has set no limits, or it was dialled. */
static inline struct conn_limited *conn_limited(const struct netd_conn *conn)
{
	return conn->io.idle ? CONTAINER(conn->io.idle, struct conn_limited, idle) : NULL;
}

bool conn_has_limits(const struct conn_env *env);

/* Begin to hold them. limited: memory that lasts as long as the connection. */
void conn_limit(struct netd_conn *conn, struct conn_limited *limited);

/* Until when a read may wait while conn->in.silent. */
int64_t conn_first_deadline(struct netd_conn *conn);

/* A call fails with -ETIMEDOUT: log it if that is a limit of the administrator. first_byte: it
 * waited for that. */
void conn_timed_out(struct netd_conn *conn, bool first_byte);

/* The same, and words about it. */
void conn_timeout_words(struct netd_conn *conn, const char *doing, struct err *words);

/* A callback has returned rc: because a limit ended it, which was logged? */
bool conn_ended_by_limit(const struct netd_conn *conn, int rc);

/* What conn_guard() returns after a netd_fatal(): no errno value. */
#define CONN_FATAL INT_MIN

/* Call fn with netd_fatal() landing here. Returns what fn returned, or CONN_FATAL. */
int conn_guard(struct netd_conn *conn, int (*fn)(struct netd_conn *conn));

/* Take a deferred function back: what it was for is done. */
void conn_undefer(struct netd_conn *conn, void (*fn)(void *arg), const void *arg);

/* Free their buffers. */
void conn_free_input(struct netd_conn *conn);
void conn_free_output(struct netd_conn *conn);

/* Send what is gathered while the handler goes on, where that can be; else as netd_flush(). */
int conn_post(struct netd_conn *conn);

/* Run deferred functions, free allocations. */
void conn_unwind(struct netd_conn *conn);

/* End of output in good order: what the peer still sends is read for a moment, so that closing
 * does not take back an answer that is on its way. */
void conn_linger(struct netd_conn *conn);

/* Fill host, text, peer, port from the address. */
void conn_set_peer(struct netd_conn *conn, const struct sockaddr_storage *address, socklen_t size);

#endif
