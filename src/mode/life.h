/*
 * life.h - from serving to drained to stopped, for every process that runs a loop: the master, a
 * worker, a handler's child process. Signals, netd_server_stop() and deadlines move the phase
 * forward, never back.
 */
#ifndef MODE_LIFE_H
#define MODE_LIFE_H

#include "base/base.h"
#include "log/log.h"
#include "mode/report.h"
#include "mode/shared.h"

enum phase {
	PHASE_SERVE,
	PHASE_DRAIN, /* accept nothing more; those at work may finish */
	PHASE_STOP,  /* their waits are cut */
};

#define STOP_GRACE_MS 2000 /* for handlers to come to an end after a hard stop */

struct life {
	_Atomic int phase; /* enum phase; read by threads */
	int64_t stop_at;   /* serving: --timeout; draining: when connections are cut */
	int64_t kill_at;   /* stopping: when handlers have had their grace */
	int64_t drain_ms;  /* --drain-timeout */
	bool child_ended;  /* SIGCHLD came: taken by the loop */
	bool reopened;     /* logs were reopened: tell the processes below */
	bool leads;        /* the process that decides for all: writes shared->phase */
	pid_t parent;      /* of a forked process, as it began */
	struct log *log;
	struct shared *shared;
	struct report *report; /* of the process that leads; NULL: nobody wants to know */
};

/* timeout_ms 0: none. leads: the master, or the only worker. */
void life_init(struct life *life, struct log *log, struct shared *shared, int64_t timeout_ms,
	       int64_t drain_ms, bool leads);

/* A worker or a handler's process begins its own life where its parent's was. */
void life_fork(struct life *life);

enum phase life_phase(const struct life *life);

/* Take signals, wishes and deadlines; move the phase. Call it when signals_fd() is readable and
 * after every wait. */
void life_update(struct life *life);

/* What a handler's own process takes: only a hard stop, and the reopening of logs. */
void life_update_child(struct life *life);

/* Begin to drain (the master is gone). */
void life_drain(struct life *life, const char *why);

/* When life_update() has something to do by itself; NETD_NEVER: nothing. */
int64_t life_deadline(const struct life *life);

#endif
