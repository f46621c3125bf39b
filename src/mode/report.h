/*
 * report.h - what the process that leads tells whoever started it: a service manager (notify.h), a
 * reader of --notify-fd, a reader of the addresses. Every call takes NULL: nobody wants to know.
 */
#ifndef MODE_REPORT_H
#define MODE_REPORT_H

#include "base/base.h"
#include "listen/listen.h"
#include "log/log.h"
#include "mode/shared.h"
#include "proc/notify.h"

enum report_state { REPORT_STARTING, REPORT_READY, REPORT_STOPPING };

struct report {
	/* set by its owner */
	struct notify notify;
	int newline_fd;                    /* gets a newline, then is closed; -1: none */
	int address_fd;                    /* gets each address, one a line; -1: none */
	const struct listeners *listeners; /* whose addresses */
	struct log *log;
	struct shared *shared; /* the counts */

	/* its own; zero at first */
	enum report_state state;
	int64_t extend_ms; /* stopping: how long it may take */
	bool unsent;       /* the manager's socket was full: the state is told again ... */
	int64_t retry_at;  /* ... then */
	int64_t ping_at;   /* next WATCHDOG=1 */
	int64_t status_at; /* no STATUS before */
	uint64_t told;     /* a sum of the counts that STATUS gave last */
	bool failed;       /* the manager went away; it was logged */
};

/* Connections are accepted. Only the first call counts. */
void report_ready(struct report *report);

/* The end has begun; it may take that long. */
void report_stopping(struct report *report, int64_t most_ms);

/* Say what is due: the watchdog's message, counts that changed. Call it wherever the loop wakes. */
void report_tick(struct report *report);

/* When report_tick() must be called even if nothing else happens; NETD_NEVER: not at all. */
int64_t report_deadline(const struct report *report);

/* A forked process lets go of the descriptors: it leads nobody. */
void report_forget(struct report *report);

#endif
