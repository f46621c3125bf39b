/*
 * remote.c - other threads have something called on the scheduler's.
 *
 * Happy path: a call goes into a list under a lock, and a byte into a pipe that the poller watches;
 * the scheduler empties the pipe, takes the whole list, and makes the calls in the order they came.
 * However many calls are in the list, there is one byte. Failure modes: no memory for a call:
 * -ENOMEM to who asked; a poller that does not watch the pipe any more is broken: fibers would wait
 * for their helpers for ever, so the process ends with words. What is left at the end is not
 * called.
 */
#include "fiber/sched.h"
#include "os/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A call of fibers_call(): ours, until it was made. */
struct owned_call {
	struct remote_call call;
	void (*fn)(void *arg);
	void *arg;
};

static void call_owned(void *arg)
{
	struct owned_call *owned = arg;
	void (*fn)(void *arg) = owned->fn;
	void *fn_arg = owned->arg;

	free(owned);
	fn(fn_arg);
}

/* -------------------------------------------------------------------------------- any thread */

/* There is always room for the one byte. */
static void tell(const struct remote *remote)
{
	ssize_t n;

	do
		n = write(remote->pipe[1], "", 1);
	while (n < 0 && errno == EINTR);
}

void remote_post(struct fibers *fibers, struct remote_call *call)
{
	struct remote *remote = &fibers->remote;

	call->next = NULL;
	pthread_mutex_lock(&remote->lock);
	*remote->last = call;
	remote->last = &call->next;
	/* Under the lock: once the call can be made, this thread does not touch the pipe. */
	if (!remote->told)
		tell(remote);
	remote->told = true;
	pthread_mutex_unlock(&remote->lock);
}

int fibers_call(struct fibers *fibers, void (*fn)(void *arg), void *arg)
{
	struct owned_call *owned = malloc(sizeof *owned);

	if (!owned)
		return -ENOMEM;
	*owned = (struct owned_call){
	    .call = {.fn = call_owned, .arg = owned},
	    .fn = fn,
	    .arg = arg,
	};
	remote_post(fibers, &owned->call);
	return 0;
}

/* --------------------------------------------------------------------- the scheduler's thread */

static void empty(int pipe)
{
	char bytes[16];
	ssize_t n;

	do
		n = read(pipe, bytes, sizeof bytes);
	while (n == sizeof bytes || (n < 0 && errno == EINTR));
}

/* Everything that was posted so far; from now on the next one needs a byte again. */
static struct remote_call *take_all(struct remote *remote)
{
	struct remote_call *first;

	pthread_mutex_lock(&remote->lock);
	empty(remote->pipe[0]);
	first = remote->first;
	remote->first = NULL;
	remote->last = &remote->first;
	remote->told = false;
	pthread_mutex_unlock(&remote->lock);
	return first;
}

static void fire(struct io_watch *watch)
{
	struct fibers *fibers = CONTAINER(watch, struct fibers, remote.watch);
	struct remote_call *call = take_all(&fibers->remote);
	int rc;

	while (call) {
		struct remote_call *next = call->next; /* the call is its owner's again */

		call->fn(call->arg);
		call = next;
	}
	rc = fibers->ops->arm(fibers->poller, watch);
	if (rc < 0) {
		log_write(fibers->config.log, NETD_CRIT, NULL,
			  "%s cannot wait for other threads any more: %s: aborting",
			  fibers->ops->name, strerror(-rc));
		abort();
	}
}

int remote_open(struct fibers *fibers)
{
	struct remote *remote = &fibers->remote;
	int rc = os_pipe(remote->pipe);

	if (rc < 0)
		return rc;
	pthread_mutex_init(&remote->lock, NULL);
	remote->first = NULL;
	remote->last = &remote->first;
	remote->told = false;
	remote->watch = (struct io_watch){.fire = fire, .fd = remote->pipe[0], .events = NETD_IN};
	rc = fibers->ops->arm(fibers->poller, &remote->watch);
	if (rc < 0) {
		pthread_mutex_destroy(&remote->lock);
		close(remote->pipe[0]);
		close(remote->pipe[1]);
	}
	return rc;
}

void remote_close(struct fibers *fibers)
{
	struct remote *remote = &fibers->remote;
	struct remote_call *call;

	fibers->ops->disarm(fibers->poller, &remote->watch);
	call = take_all(remote);
	while (call) {
		struct remote_call *next = call->next;

		if (call->fn == call_owned)
			free(call->arg);
		call = next;
	}
	pthread_mutex_destroy(&remote->lock);
	close(remote->pipe[0]);
	close(remote->pipe[1]);
}
