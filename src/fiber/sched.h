/*
 * sched.h - between the files of fiber/: the scheduler's state, and how a fiber waits.
 */
#ifndef FIBER_SCHED_H
#define FIBER_SCHED_H

#include "fiber/context.h"
#include "fiber/fiber.h"
#include "fiber/image.h"
#include "fiber/stack.h"
#include "io/buffers.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

enum fiber_state {
	FIBER_FREE,     /* a block without a fiber */
	FIBER_NEW,      /* has room, but no function yet */
	FIBER_RUNNABLE, /* in the run queue */
	FIBER_RUNNING,
	FIBER_WAITING, /* parked */
	FIBER_ENDED,   /* its stack goes back once it was left */
};

/* One fiber. While it is parked nothing on its stack is touched by anybody. */
struct fiber {
	struct context context;
	struct fiber *next;    /* in the run queue, or among the free */
	struct io_watch watch; /* for a wait of a connection's descriptor */
	int64_t deadline;      /* of the wait; NETD_NEVER: none */
	struct image *image;   /* of a compacted stack; NULL: it is not */
	uint32_t heap_at;      /* place in the heap of deadlines, from 1; 0: not there */
	int32_t result;        /* of the wait: why it ended */
	uint16_t room;         /* bytes of the caller's object, at the top of the stack */
	uint16_t stagger;      /* context.top is so many bytes below the top of its stack */
	uint16_t parked_tick;  /* fibers->tick when it was parked */
	uint8_t state;         /* enum fiber_state */
	bool is_idle : 1;      /* parked for input: may be compacted */
	bool is_deaf : 1;      /* a stop does not end this wait */
};

/* Control blocks stay where they are and are used again; they come in chunks, which malloc(3) has
 * to remember less of. */
#define BLOCKS_PER_CHUNK 64

struct block_chunk {
	struct block_chunk *next;
	struct fiber fibers[BLOCKS_PER_CHUNK];
};

struct blocks {
	struct block_chunk *chunks;
	struct fiber *free;
	uint32_t used;
};

/* A deadline in the heap: not later than that of its fiber, see deadlines.c. */
struct deadline {
	int64_t at;
	struct fiber *fiber;
};

struct deadlines {
	struct deadline *items; /* items[1..count] */
	uint32_t count, size;
};

/* Something another thread wants to be called; see remote.c. */
struct remote_call {
	struct remote_call *next;
	void (*fn)(void *arg);
	void *arg;
};

struct remote {
	pthread_mutex_t lock;
	struct remote_call *first, **last;
	int pipe[2];
	struct io_watch watch;
	bool told; /* a byte is in the pipe */
};

/* What a thread's C++ is handling, as its ABI lays it out; all zero: nothing. caught.c */
struct caught {
	void *exceptions;    /* the innermost one, which knows the next */
	unsigned int thrown; /* and not caught yet */
};

struct watchdog; /* watchdog.c */
struct overflow; /* overflow.c */
struct offload;  /* offload.c */

struct fibers {
	struct fibers_config config;
	const struct poller_ops *ops;
	struct poller *poller;
	struct buffers buffers;
	struct stacks *stacks;

	struct context context; /* the scheduler's own */
	char *stack;            /* top */
	struct fiber first;     /* the thread's own flow of control */
	struct fiber *current;  /* NULL: the scheduler itself */
	struct fiber *run_first, **run_last;
	struct blocks blocks;
	struct deadlines deadlines;

	uint64_t waiting, compacted;
	struct image_models models;
	int64_t tick_at;    /* next round of compaction and trimming; NETD_NEVER: none is due */
	uint64_t tick_turn; /* the turn at the last one */
	uint16_t tick;
	bool is_cancelled;
	unsigned budget;           /* calls that a fiber may still make before others get a turn */
	_Atomic uint64_t turn;     /* odd: a fiber runs; see watchdog.c */
	struct watchdog *watchdog; /* NULL: none */
	struct overflow *overflow; /* NULL: none */
	struct offload *offload;   /* NULL: not used yet */
	void (*aside)(void *arg); /* what the current fiber wants called on the scheduler's stack */
	void *aside_arg;
	bool waits_many; /* the first fiber is in fibers_wait_many() */
	struct remote remote;
	struct caught *caught; /* of this thread; NULL: there is no C++ here */
	pthread_t thread;
};

/* The scheduler of this thread; NULL: none. */
extern _Thread_local struct fibers *fibers_here;

/* ------------------------------------------------------------------ waiting */

/*
 * Park the current fiber until fiber_wake() or the deadline. Returns the result given there,
 * -ETIMEDOUT, or -ECANCELED.
 */
int fiber_park(struct fibers *fibers, int64_t deadline);

/* Make a parked fiber run again with this result; the first of several calls counts. */
void fiber_wake(struct fibers *fibers, struct fiber *fiber, int result);

/* Switch from the current fiber to the scheduler; returns when it is resumed. */
static inline void fiber_leave(struct fibers *fibers)
{
	struct fiber *self = fibers->current;
	struct caught mine = {0};

	if (fibers->caught) {
		mine = *fibers->caught;
		*fibers->caught = (struct caught){0};
	}
	context_switch(&self->context, &fibers->context);
	if (fibers->caught)
		*fibers->caught = mine;
}

/* Let all others have their turn before the current fiber goes on. */
void fiber_give_way(struct fibers *fibers);

/* Let others run, when the current fiber has had much without waiting: also one that takes no
 * notice of a stop, for they have to end, too. 0 or -ECANCELED. */
static inline int fiber_may_go_on(struct fibers *fibers)
{
	if (--fibers->budget == 0)
		fiber_give_way(fibers);
	return fibers->is_cancelled && fibers->current != &fibers->first ? -ECANCELED : 0;
}

/* Tell config.publish. */
void fibers_publish(struct fibers *fibers);

/* blocks.c: a zeroed block, or NULL: no memory. */
struct fiber *blocks_take(struct blocks *blocks);
void blocks_give(struct blocks *blocks, struct fiber *fiber);
/* None is in use. */
void blocks_finish(struct blocks *blocks);
/* Call fn for every block in use; fn may give back the one it was called for. */
void blocks_each(struct blocks *blocks, void (*fn)(void *arg, struct fiber *fiber), void *arg);

/* The scheduler itself, which never returns; arg: struct fibers. */
void fibers_schedule(void *arg);

/* caught.c: of the calling thread; NULL: there is no C++ in this process. */
struct caught *caught_here(void);

/* ---------------------------------------------------------------- deadlines.c */

/* Zero-initialised. */
void deadlines_finish(struct deadlines *deadlines);
/* Room for one more, so that deadlines_set() cannot fail. 0 or -ENOMEM. */
int deadlines_reserve(struct deadlines *deadlines, uint32_t count);
/* The fiber's deadline (not NETD_NEVER) is known from now on. */
void deadlines_set(struct deadlines *deadlines, struct fiber *fiber);
/* It has none any more, and ends. */
void deadlines_remove(struct deadlines *deadlines, struct fiber *fiber);
/* The earliest, perhaps of a fiber that has set a later one since; NETD_NEVER. */
int64_t deadlines_next(const struct deadlines *deadlines);
/* A parked fiber whose deadline has passed, taken out; NULL: none (any more). */
struct fiber *deadlines_pop(struct deadlines *deadlines, int64_t now);

/* ------------------------------------------------------------------ compact.c */

/* Put the stack of a compacted fiber back where it was. */
void compact_restore(struct fibers *fibers, struct fiber *fiber);
/* Now and then: compact whoever has waited long, give unused memory back. False: there will be
 * nothing more to do until somebody has run again. */
bool compact_tick(struct fibers *fibers);
/* How often that is, in ms. */
int64_t compact_period(const struct fibers *fibers);

/* ------------------------------------------------------------------- remote.c */

int remote_open(struct fibers *fibers);
/* As fibers_call(); call is the caller's until its fn is called. Any thread. */
void remote_post(struct fibers *fibers, struct remote_call *call);
void remote_close(struct fibers *fibers);

/* ------------------------------------------------------------- watchdog.c, overflow.c */

/* 0 or -errno. With stall_ms 0 it does nothing. */
int watchdog_open(struct fibers *fibers);
void watchdog_close(struct fibers *fibers);

/* Name the fiber that runs, by config.describe. False: it has no name. In a signal handler. */
bool fiber_describe(const struct fibers *fibers, struct log_context *context, char *peer,
		    size_t size);

void overflow_open(struct fibers *fibers);
void overflow_close(struct fibers *fibers);

/* -------------------------------------------------------------------- offload.c */

/* Call fn(arg) on a helper thread while the current fiber waits. Returns what it returned, or
 * -EAGAIN: no thread could be had. A stop does not end the wait: fn uses the caller's memory. */
int offload_call(struct fibers *fibers, int (*fn)(void *arg), void *arg);
void offload_close(struct fibers *fibers);

/* ----------------------------------------------------------------------- ops.c */

extern const struct io_ops io_fibers;

#endif
