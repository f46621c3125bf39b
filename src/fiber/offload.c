/*
 * offload.c - helper threads, which block in a fiber's stead.
 *
 * Happy path: the call, which lies on the stack of the fiber, goes into a queue; an idle thread
 * takes it, or a new one is made for it; the fiber is parked until the thread has it woken by
 * remote_post(). Threads are kept for a while and used again. Failure modes: all HELPERS_MAX are at
 * work, or no further one can be made: the call waits in the queue for one of those there are;
 * there is none at all: -EAGAIN.
 *
 * Nothing but its result ends the wait: not a deadline, not a stop, for the thread uses the
 * caller's memory.
 */
#include "fiber/sched.h"
#include "os/os.h"
#include "proc/proc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define HELPERS_MAX 32
#define IDLE_S 10 /* seconds an idle thread is kept */

/* On the stack of the fiber that waits for it. */
struct call {
	struct call *next; /* in the queue */
	int (*fn)(void *arg);
	void *arg;
	int result;
	bool done; /* of the scheduler's thread */
	struct fibers *fibers;
	struct fiber *fiber;
	struct remote_call finished;
};

struct helper {
	struct helper *next; /* among those that have ended */
	struct offload *offload;
	pthread_t id;
	unsigned number; /* in its name and in log lines */
};

struct offload {
	pthread_mutex_t lock;
	pthread_cond_t work; /* a call is queued, or it closes */
	pthread_cond_t gone; /* the last thread has ended */
	struct call *first, **last;
	size_t queued;
	size_t idle;          /* threads without a call, those that begin among them */
	size_t total;         /* threads */
	struct helper *ended; /* to be joined */
	unsigned last_number;
	bool closing;
};

/* ------------------------------------------------------------------------------ a helper's life */

/* On the scheduler's thread. */
static void wake_caller(void *arg)
{
	struct call *call = arg;

	call->done = true;
	fiber_wake(call->fibers, call->fiber, 0);
}

/* Wait for a call, at most IDLE_S. NULL: none came. Called and returns with the lock held. */
static struct call *next_call(struct offload *offload)
{
	struct timespec until;
	struct call *call;
	bool late = false;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_S;
	while (!offload->first && !offload->closing && !late)
		late = pthread_cond_timedwait(&offload->work, &offload->lock, &until) == ETIMEDOUT;
	call = offload->first;
	if (!call)
		return NULL;
	offload->first = call->next;
	if (!offload->first)
		offload->last = &offload->first;
	offload->queued--;
	return call;
}

static void begin_helper(const struct helper *helper)
{
	char name[16];

	signals_block_all(); /* they are the accepting thread's */
	log_set_thread(helper->number);
	snprintf(name, sizeof name, "offload %u", helper->number);
	os_thread_name(name);
}

static void *helper_main(void *arg)
{
	struct helper *helper = arg;
	struct offload *offload = helper->offload;
	struct call *call;

	begin_helper(helper);
	pthread_mutex_lock(&offload->lock);
	while ((call = next_call(offload))) {
		offload->idle--;
		pthread_mutex_unlock(&offload->lock);
		call->result = call->fn(call->arg);
		pthread_mutex_lock(&offload->lock);
		/* Idle before the caller can know: his next call needs no further thread. */
		offload->idle++;
		call->finished = (struct remote_call){.fn = wake_caller, .arg = call};
		remote_post(call->fibers, &call->finished); /* from here on it may be gone */
	}
	offload->idle--;
	helper->next = offload->ended;
	offload->ended = helper;
	if (--offload->total == 0)
		pthread_cond_signal(&offload->gone);
	pthread_mutex_unlock(&offload->lock);
	return NULL;
}

/* -------------------------------------------------------------------------------- the helpers */

static void join_ended(struct offload *offload)
{
	struct helper *ended = offload->ended;

	offload->ended = NULL;
	while (ended) {
		struct helper *next = ended->next;

		pthread_join(ended->id, NULL);
		free(ended);
		ended = next;
	}
}

/* With the lock held: the new thread begins by taking it. Returns 0 or -errno. */
static int add_helper(struct offload *offload)
{
	struct helper *helper = calloc(1, sizeof *helper);
	int rc;

	if (!helper)
		return -ENOMEM;
	helper->offload = offload;
	helper->number = offload->last_number + 1;
	rc = pthread_create(&helper->id, NULL, helper_main, helper);
	if (rc != 0) {
		free(helper);
		return -rc;
	}
	offload->last_number++;
	offload->total++;
	offload->idle++;
	return 0;
}

/* NULL: no memory. */
static struct offload *offload_new(void)
{
	struct offload *offload = calloc(1, sizeof *offload);
	pthread_condattr_t monotonic;

	if (!offload)
		return NULL;
	offload->last = &offload->first;
	pthread_mutex_init(&offload->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&offload->work, &monotonic);
	pthread_cond_init(&offload->gone, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return offload;
}

/* Give the call to a helper, now or when one is free. Returns 0 or -EAGAIN. */
static int put_call(struct offload *offload, struct call *call)
{
	int rc = 0;

	pthread_mutex_lock(&offload->lock);
	join_ended(offload);
	if (offload->idle <= offload->queued && offload->total < HELPERS_MAX &&
	    add_helper(offload) < 0 && offload->total == 0)
		rc = -EAGAIN;
	if (rc == 0) {
		*offload->last = call;
		offload->last = &call->next;
		offload->queued++;
		pthread_cond_signal(&offload->work);
	}
	pthread_mutex_unlock(&offload->lock);
	return rc;
}

int offload_call(struct fibers *fibers, int (*fn)(void *arg), void *arg)
{
	struct fiber *self = fibers->current;
	struct call call = {.fn = fn, .arg = arg, .fibers = fibers, .fiber = self};
	bool was_deaf = self->is_deaf;

	if (!fibers->offload)
		fibers->offload = offload_new();
	if (!fibers->offload || put_call(fibers->offload, &call) < 0)
		return -EAGAIN;
	self->is_idle = false; /* the stack stays where the helper can see it */
	self->is_deaf = true;
	while (!call.done)
		fiber_park(fibers, NETD_NEVER);
	self->is_deaf = was_deaf;
	return call.result;
}

void offload_close(struct fibers *fibers)
{
	struct offload *offload = fibers->offload;

	if (!offload)
		return;
	pthread_mutex_lock(&offload->lock);
	offload->closing = true;
	pthread_cond_broadcast(&offload->work);
	while (offload->total > 0)
		pthread_cond_wait(&offload->gone, &offload->lock);
	pthread_mutex_unlock(&offload->lock);
	join_ended(offload);
	pthread_cond_destroy(&offload->gone);
	pthread_cond_destroy(&offload->work);
	pthread_mutex_destroy(&offload->lock);
	free(offload);
	fibers->offload = NULL;
}
