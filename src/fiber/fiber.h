/*
 * fiber.h - functions that wait as if they blocked, thousands of them on one thread.
 *
 * fibers_open() makes the calling thread's own flow of control the first fiber, and its waits (by
 * struct io_ops) those of a fiber. fiber_start() makes another run as soon as the caller waits.
 * There is one scheduler for a thread; every call belongs to that thread unless it says otherwise.
 *
 *   fibers_open -> fiber_new -> fiber_start -> (a wait of the caller) -> fn -> ... -> fibers_close
 */
#ifndef FIBER_FIBER_H
#define FIBER_FIBER_H

#include "base/base.h"
#include "io/poller.h"
#include "log/log.h"
#include "netdaemon.h"

struct fibers;
struct fiber;

/* How many there are now. */
struct fibers_use {
	uint64_t fibers;    /* the first one not counted */
	uint64_t waiting;   /* parked, the compacted ones among them */
	uint64_t compacted; /* their stacks were given back */
	uint64_t bytes;     /* of memory: a page for each stack, images, control blocks, buffers */
};

struct fibers_config {
	const char *io;     /* "auto", "io_uring", "epoll", "poll" */
	size_t stack_size;  /* bytes */
	int64_t compact_ms; /* a wait for input this long gives its memory back; 0: never */
	int64_t stall_ms;   /* report a fiber that runs this long without a wait; 0: never */
	struct log *log;    /* borrowed */
	/* What to call a fiber in the log: called on the thread that runs it, also in a signal
	 * handler. object: what fiber_new() made room for; NULL: no room was asked for. */
	void (*describe)(const void *object, struct log_context *context, char *peer, size_t size);
	/* Told when a fiber has run out of stack, just before the process dies of it. In a signal
	 * handler. */
	void (*overflow)(void *arg, const struct log_context *context);
	/* Told now and then, and when nothing happens any more. NULL: not wanted. */
	void (*publish)(void *arg, const struct fibers_use *use);
	void *arg;
};

/* Returns 0, or -errno with words. */
int fibers_open(struct fibers **out, const struct fibers_config *config, struct err *err);

/* All fibers but the first have ended. Returns NULL. */
struct fibers *fibers_close(struct fibers *fibers);

/* Fibers are still at work and will never go on: the thread is an ordinary one again. */
void fibers_abandon(struct fibers *fibers);

/*
 * A fiber with room for an object of the caller's at the top of its stack. The room is the fiber's
 * name from here on: it lasts until the function has returned, and may not be looked at while the
 * fiber waits. Returns NULL when there is no memory.
 */
void *fiber_new(struct fibers *fibers, size_t size);

/* It will not be started. Does nothing once it was: the room goes with the fiber. */
void fiber_drop(struct fibers *fibers, void *room);

/* Have it call fn with a copy of arg (size bytes). Runs when the caller waits. Returns 0, or
 * -ENOMEM (where contexts are the C library's): it was not started. */
int fiber_start(struct fibers *fibers, void *room, void (*fn)(void *arg), const void *arg,
		size_t size);

/* From now on every wait of every fiber but the first returns -ECANCELED, those under way too. */
void fibers_cancel(struct fibers *fibers);

/* Is the caller the first fiber, or no fiber at all? */
bool fibers_is_first(void);

/* Is this thread the one of these fibers? Any thread. */
bool fibers_is_here(const struct fibers *fibers);

/* Have the scheduler's thread call fn(arg) soon, on its own stack: fn may start fibers but not
 * wait. Any thread. 0 or -ENOMEM. */
int fibers_call(struct fibers *fibers, void (*fn)(void *arg), void *arg);

void fibers_get_use(const struct fibers *fibers, struct fibers_use *use);

/* Do guards below the stacks cost no mapping each? If not, there are half as many stacks at most as
 * the system allows mappings. */
bool fibers_have_light_guards(const struct fibers *fibers);

/* The name of the poller in use. */
const char *fibers_io_name(const struct fibers *fibers);

/*
 * Several descriptors to wait for again and again, as an accept loop does. watches[count], zeroed
 * at first, is theirs: what did not happen in this wait stays armed for the next. Descriptors below
 * 0 are not waited for. Returns the number ready with revents set, 0 at the deadline, or -errno.
 * After the last wait: fibers_forget().
 */
int fibers_wait_many(struct netd_pollfd *fds, struct io_watch *watches, size_t count,
		     int64_t deadline);
/* Nothing of the kernel's holds on to the descriptors after this; gives others a turn. */
void fibers_forget(struct io_watch *watches, size_t count);

#endif
