/*
 * shared.h - one piece of memory that all processes of a server share: counters, and the wish to
 * stop. Each worker writes its own slot, so that the master can wipe what a dead worker left.
 */
#ifndef MODE_SHARED_H
#define MODE_SHARED_H

#include "access/limits.h"
#include "base/base.h"
#include "conn/conn.h"

#include <stdatomic.h>

struct shared_slot {
	_Atomic bool serving;      /* a worker is at work here */
	_Atomic uint64_t active;   /* jobs at work */
	_Atomic uint64_t accepted; /* connections since the worker started */
	/* Mode fibers, as of a moment ago: see struct netd_stats. */
	_Atomic uint64_t parked, compacted, bytes;
};

/* The page that all processes can write: nothing in it is trusted beyond being a number. */
struct shared_page {
	_Atomic int phase;       /* enum phase, for netd_draining() everywhere */
	_Atomic int stop_wanted; /* netd_server_stop() was called */
	struct log_account log;  /* lines that no process could write */
	struct conn_counters counters;
	_Atomic uint64_t limited;   /* refused by a limit per source */
	_Atomic uint64_t untracked; /* let in although there was no room to count them */
	struct shared_slot slots[];
};

struct shared {
	struct shared_page *page;
	int count;             /* slots */
	size_t size;           /* of the mapping */
	struct limits *limits; /* NULL: no source has one, and there is no accept rate */
};

/* count: worker processes, or 1. 0 or -ENOMEM. */
int shared_init(struct shared *shared, int count);
void shared_finish(struct shared *shared);

/* Jobs at work in all workers. */
uint64_t shared_active(const struct shared *shared);

/* A worker ended: its numbers leave the books. */
void shared_clear_slot(struct shared *shared, int slot);

#endif
