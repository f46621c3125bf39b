/*
 * mode.h - the seam between "a connection was accepted" and "conn_serve() is called beside the
 * others". A mode is a row of operations; the one accept loop (worker.c) drives any of them;
 * prefork (prefork.c) runs several accept loops in processes of their own.
 *
 *   worker_run: poll listeners -> accept -> job -> ops->run -> job_run: conn_serve
 */
#ifndef MODE_MODE_H
#define MODE_MODE_H

#include "base/base.h"
#include "conf/settings.h"
#include "conn/conn.h"
#include "listen/listen.h"
#include "log/log.h"
#include "mode/life.h"
#include "mode/shared.h"
#include "netdaemon.h"
#include "proc/proc.h"

struct worker;

#define WORKER_FIXED_FDS 2 /* what the accept loop waits for beside its listeners */

/* One piece of work: a connection, a function from netd_spawn(), or a turn of service.loop. */
struct job {
	struct netd_conn *conn; /* NULL: fn */
	int (*fn)(struct netd_server *server, void *arg);
	void *arg;
	uint64_t hold; /* for admit_end(); 0: nothing */
	bool is_loop;  /* a turn of service.loop: never two at a time */
};

/* How work is done side by side. Every mode has all of them. */
struct mode_ops {
	const char *name;
	/* Before workers are forked: could one start? 0 or -errno; the log says why not. */
	int (*check)(struct worker *worker);
	int (*start)(struct worker *worker); /* in the process that accepts; 0 or -errno */
	/* The accept loop sleeps until one of fds is ready or the deadline has passed: as poll(2).
	 */
	int (*wait)(struct worker *worker, struct netd_pollfd *fds, size_t count, int64_t deadline);
	/*
	 * Do the job: now (single) or beside (the others). 0: taken over, job_end() will be called;
	 * -EAGAIN, -ENOMEM: could not be started, nothing was taken over.
	 */
	int (*run)(struct worker *worker, const struct job *job);
	void (*let_go)(struct worker *worker); /* of the listeners: they are about to be closed */
	void (*reap)(struct worker *worker);   /* children may have ended */
	void (*reopen)(struct worker *worker); /* tell processes of the mode to reopen their logs */
	void (*stop)(struct worker *worker);   /* hard stop: end the waits of all handlers; called
						* again until they have ended */
	void (*kill)(struct worker *worker);   /* they had their grace: end what can be ended */
	/* Free the mode's own. False: handlers are still running and must be left alone. */
	bool (*finish)(struct worker *worker);
};

extern const struct mode_ops mode_single, mode_fork, mode_threads, mode_fibers;

/* NULL: no such mode. Names are the canonical ones of the option table. */
const struct mode_ops *mode_find(const char *name);

/* The process that accepts connections, and everything it needs. */
struct worker {
	/* set by the caller of worker_run() */
	const struct settings *settings;
	const struct conn_env *env;
	struct listeners *listeners;
	struct pidfile *pidfile; /* a forked child lets go of it */
	struct shared *shared;
	int slot;          /* which row of shared->slots is ours */
	int wake_fd;       /* writable: wakes the accept loop */
	int parent_fd;     /* readable when the master is gone; -1: there is none */
	int leader_fd;     /* writable: wakes the master; used by who does not lead */
	struct life *life; /* stop, drain, signals */

	/* set by worker_run() */
	const struct mode_ops *ops;
	void *mode;                       /* the mode's own */
	const struct conn_memory *memory; /* where connections live; NULL: malloc */
	struct conn_memory spare_memory;  /* see spare.c */
	void *spare;
	struct io_interrupt interrupt;
	struct netd_conn *waiting; /* accepted, but not started yet; oldest first */
	bool door_closed;          /* the listeners are closed for good */
	int batch;                 /* connections to take in a row: see accept.c */
	int full_batches;          /* in a row, that did not empty the queue */
	uint64_t last_id;          /* of a connection */
	bool gave_way;             /* to a less busy worker ... */
	int64_t way_until;         /* ... until then */
	int64_t paused_until;      /* out of descriptors, threads ...: until then ... */
	uint64_t paused_active;    /* ... start nothing when so many are at work */
	int64_t rate_until;        /* no turn by --accept-rate before */
	int64_t loop_at;           /* next turn of service.loop; NETD_NEVER: none */
	struct throttle shortage;  /* of log lines about running out of something */
	_Atomic bool loop_busy;    /* a turn of service.loop is at work */
	_Atomic bool wake_wanted;  /* the accept loop waits for a job to end */
	bool in_child;             /* we are a forked handler, not the accepting process */
};

/* The accept loop: until stopped and drained. Returns 0; -errno when it could not start;
 * -ETIMEDOUT when handlers are still running. */
int worker_run(struct worker *worker);

/*
 * The interrupt of waits in the accepting process itself (single; service.loop in every mode):
 * signals move the life on. For struct io_interrupt; arg is the worker.
 */
void worker_install_interrupt(struct worker *worker);
int worker_signal_fd(void *arg);
int64_t worker_deadline(void *arg);
int worker_check(void *arg);

/* mode_ops.check: nothing can be missing. */
int worker_checked(struct worker *worker);

/* mode_ops.wait by poll(2). */
int worker_poll(struct worker *worker, struct netd_pollfd *fds, size_t count, int64_t deadline);

/* Start a job by the worker's mode, counted as active until its job_end(). Any thread. */
int worker_start_job(struct worker *worker, const struct job *job);

/* Connections are made and freed by one thread here: keep the memory of one for the next. */
void worker_use_spare(struct worker *worker);
void worker_free_spare(struct worker *worker);

/* The body of every job: serve the connection (its owner frees it) or call the function. */
void job_run(struct worker *worker, const struct job *job);

/* It is done, or its process is gone: uncount it, wake the accept loop if that waits. */
void job_end(struct worker *worker, bool is_loop);

/* Connections and spawned functions of this worker now. */
uint64_t worker_active(const struct worker *worker);

/*
 * Prefork: `childs` processes, each in worker_run(); dead ones are replaced. worker: a filled-in
 * template, copied in each process. Returns as worker_run() in the master; each worker process ends
 * inside by _exit().
 */
int prefork_run(struct worker *worker, int childs);

#endif
