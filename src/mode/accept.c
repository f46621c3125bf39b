/*
 * accept.c - taking connections from the listeners, and keeping those that cannot be started yet.
 *
 * Failure modes: out of descriptors, memory, threads or processes: pause, one log line per 5 s, go
 * on by itself; an accepted connection that could not be started is kept, not dropped. At
 * --max-connections the queue of the kernel holds the rest. Before the listeners close, whoever the
 * kernel has let in is taken out of its queue, so that a stop cuts nobody off at the door.
 */
#include "mode/accept.h"

#include "os/os.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define PAUSE_MS 100         /* after running out of something */
#define SHORTAGE_LOG_MS 5000 /* between log lines about it */
#define ACCEPT_BATCH 16      /* connections taken in a row before anything else gets a turn */

bool accept_at_limit(const struct worker *worker)
{
	long long max = worker->settings->max_connections;

	return max > 0 && shared_active(worker->shared) >= (uint64_t)max;
}

bool accept_paused(const struct worker *worker)
{
	return worker->paused_until != 0 && clock_ms() < worker->paused_until;
}

bool accept_possible(const struct worker *worker)
{
	return life_phase(worker->life) == PHASE_SERVE && !worker->waiting &&
	       !accept_paused(worker) && !accept_at_limit(worker);
}

static void pause_accepting(struct worker *worker, int error, const char *what)
{
	uint64_t held;

	worker->paused_until = clock_deadline(PAUSE_MS);
	if (throttle_pass(&worker->shortage, SHORTAGE_LOG_MS, &held))
		log_write(worker->env->log, NETD_ERR, NULL,
			  "%s: %s; trying again in %d ms (%" PRIu64 " times since the last report)",
			  what, strerror(error), PAUSE_MS, held + 1);
}

/* ------------------------------------------------------------------------- those that wait */

static void wait_in_line(struct worker *worker, struct netd_conn *conn)
{
	struct netd_conn **last = &worker->waiting;

	while (*last)
		last = &(*last)->next;
	*last = conn;
}

void accept_start_waiting(struct worker *worker)
{
	while (worker->waiting && !accept_paused(worker) && !accept_at_limit(worker)) {
		struct netd_conn *conn = worker->waiting;
		struct job job = {.conn = conn};
		int rc;

		worker->waiting = conn->next;
		conn->next = NULL;
		rc = worker_start_job(worker, &job);
		if (rc == 0)
			continue;
		conn->next = worker->waiting;
		worker->waiting = conn;
		pause_accepting(worker, -rc, "cannot start a handler");
	}
}

void accept_drop_waiting(struct worker *worker)
{
	while (worker->waiting) {
		struct netd_conn *conn = worker->waiting;

		worker->waiting = conn->next;
		conn_free(conn);
	}
}

/* ------------------------------------------------------------------------------ accepting */

/* A failed accept: true when the next one may follow at once. */
static bool accept_failed(struct worker *worker, int error)
{
	switch (error) {
	case EAGAIN:
	case EINTR:
		return false;
	case ECONNABORTED: /* the client is gone already; and network errors of its own */
	case EPROTO:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENOPROTOOPT:
	case ETIMEDOUT:
		return true;
	default:
		pause_accepting(worker, error, "cannot accept");
		return false;
	}
}

/* Take one connection; it waits in line. True when the next one may follow at once. */
static bool accept_one(struct worker *worker, const struct listener *listener)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	int fd = os_accept(listener->fd, &address, &size);
	struct netd_conn *conn;
	int rc;

	if (fd < 0)
		return accept_failed(worker, -fd);
	if (listener->kind == ADDRESS_UNIX)
		address.ss_family = AF_UNIX; /* an unnamed peer has no address at all */
	rc = conn_new(&conn, worker->env, fd, &address, size, ++worker->last_id);
	if (rc < 0) {
		pause_accepting(worker, -rc, "connection dropped");
		return false;
	}
	atomic_fetch_add(&worker->shared->page->counters.accepted, 1);
	atomic_fetch_add(&worker->shared->page->slots[worker->slot].accepted, 1);
	wait_in_line(worker, conn);
	return true;
}

void accept_batch(struct worker *worker, const struct listener *listener)
{
	for (int i = 0; i < ACCEPT_BATCH && accept_possible(worker); i++) {
		if (!accept_one(worker, listener))
			break;
		accept_start_waiting(worker);
		if (signals_stop_pending() || clock_ms() >= worker->loop_at)
			break; /* they come first */
	}
}

/* Take everybody out of one queue. False: we ran out of something, somebody may be left. */
static bool empty_queue(struct worker *worker, const struct listener *listener)
{
	for (long long n = worker->settings->listen; n > 0; n--)
		if (!accept_one(worker, listener))
			break;
	return !accept_paused(worker);
}

void accept_close_door(struct worker *worker)
{
	struct listeners *listeners = worker->listeners;

	if (worker->door_closed)
		return;
	if (life_phase(worker->life) == PHASE_DRAIN)
		for (size_t i = 0; i < listeners->count; i++)
			if (accept_paused(worker) || !empty_queue(worker, &listeners->items[i]))
				return; /* the drain tries again */
	worker->door_closed = true;
	if (worker->life->leads)
		listeners_finish(listeners);
	else
		listeners_close(listeners); /* the master removes Unix sockets */
}
