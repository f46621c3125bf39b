/*
 * accept.c - taking connections from the listeners, and keeping those that cannot be started yet.
 *
 * Failure modes: out of descriptors, memory, threads or processes: for a moment nobody more is
 * served than now, but the next as soon as one has ended; one log line per 5 s, go on by itself; an
 * accepted connection that could not be started is kept, not dropped. At --max-connections and
 * --accept-rate the queue of the kernel holds the rest; a source that has too many already is
 * turned away, the others are not (admit.h). Before the listeners close, whoever the kernel has let
 * in is taken out of its queue, so that a stop cuts nobody off at the door.
 */
#include "mode/accept.h"

#include "mode/admit.h"
#include "os/os.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PAUSE_MS 100         /* after running out of something */
#define SHORTAGE_LOG_MS 5000 /* between log lines about it */
#define ACCEPT_BATCH 16      /* connections taken in a row before anything else gets a turn */
#define FULL_BATCHES 8       /* in a row, before twice as many are taken */
#define WAY_MS 3             /* how long a less busy worker has to take what has come */
#define SLACK 4        /* connections more than the least busy worker has that do not count ... */
#define SLACK_SHARE 16 /* ... and this part of its own */

bool accept_at_limit(const struct worker *worker)
{
	long long max = worker->settings->max_connections;

	return max > 0 && shared_active(worker->shared) >= (uint64_t)max;
}

bool accept_paused(const struct worker *worker)
{
	return worker->paused_until != 0 && worker_active(worker) >= worker->paused_active &&
	       clock_ms() < worker->paused_until;
}

static bool rate_reached(const struct worker *worker)
{
	return worker->rate_until != 0 && clock_ms() < worker->rate_until;
}

bool accept_possible(const struct worker *worker)
{
	return life_phase(worker->life) == PHASE_SERVE && !worker->waiting &&
	       !accept_paused(worker) && !rate_reached(worker) && !accept_at_limit(worker) &&
	       (!worker->gave_way || clock_ms() >= worker->way_until);
}

/* Without a look at the clock where there is no such moment. */
static bool is_over(int64_t moment)
{
	return moment != NETD_NEVER && clock_ms() >= moment;
}

static uint64_t least_active(const struct shared *shared)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < shared->count; i++) {
		const struct shared_slot *slot = &shared->page->slots[i];
		uint64_t active = atomic_load(&slot->active);

		if (atomic_load(&slot->serving) && active < least)
			least = active;
	}
	return least;
}

/*
 * Workers listen on the same socket, and whoever is quick gets the connection: long-lived ones pile
 * up at a few. One that has clearly more than another steps back for a moment; what is still there
 * after it, nobody else wants.
 */
static bool give_way(struct worker *worker)
{
	uint64_t least;

	if (worker->shared->count < 2)
		return false;
	least = least_active(worker->shared);
	if (worker_active(worker) <= least + least / SLACK_SHARE + SLACK)
		return false;
	worker->gave_way = true;
	worker->way_until = clock_deadline(WAY_MS);
	return true;
}

/* active: how many were at work before it was tried; who ends from then on makes room for another.
 */
static void pause_accepting(struct worker *worker, uint64_t active, int error, const char *what)
{
	uint64_t held;

	worker->paused_until = clock_deadline(PAUSE_MS);
	worker->paused_active = active;
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
		struct job job = {.conn = conn, .hold = conn->hold};
		uint64_t active = worker_active(worker);
		int rc;

		worker->waiting = conn->next;
		conn->next = NULL;
		rc = worker_start_job(worker, &job);
		if (rc == 0)
			continue;
		conn->next = worker->waiting;
		worker->waiting = conn;
		pause_accepting(worker, active, -rc, "cannot start a handler");
	}
}

void accept_drop_waiting(struct worker *worker)
{
	while (worker->waiting) {
		struct netd_conn *conn = worker->waiting;

		worker->waiting = conn->next;
		admit_end(worker, conn->hold);
		conn_free(conn);
	}
}

/* ------------------------------------------------------------------------------ accepting */

/* A failed accept: true when the next one may follow at once. */
static bool accept_failed(struct worker *worker, uint64_t active, int error)
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
		pause_accepting(worker, active, error, "cannot accept");
		return false;
	}
}

/* Take one connection; it waits in line. True when the next one may follow at once. */
static bool accept_one(struct worker *worker, const struct listener *listener)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	uint64_t active = worker_active(worker);
	int fd = os_accept(listener->fd, &address, &size);
	struct netd_conn *conn;
	uint64_t hold;
	int rc;

	if (fd < 0)
		return accept_failed(worker, active, -fd);
	if (listener->kind == ADDRESS_UNIX)
		address.ss_family = AF_UNIX; /* an unnamed peer has no address at all */
	if (!admit_peer(worker, &address, &hold)) {
		close(fd);
		return true;
	}
	rc = conn_new(&conn, worker->env, worker->memory, fd, &address, size, ++worker->last_id);
	if (rc < 0) {
		admit_end(worker, hold);
		pause_accepting(worker, active, -rc, "connection dropped");
		return false;
	}
	conn->hold = hold;
	conn_accepted(conn);
	atomic_fetch_add(&worker->shared->page->counters.accepted, 1);
	atomic_fetch_add(&worker->shared->page->slots[worker->slot].accepted, 1);
	wait_in_line(worker, conn);
	return true;
}

/* The same at the pace of --accept-rate. */
static bool accept_in_turn(struct worker *worker, const struct listener *listener)
{
	uint64_t last_id = worker->last_id;
	bool more;

	if (!admit_turn(worker))
		return false;
	more = accept_one(worker, listener);
	if (worker->last_id == last_id)
		admit_no_turn(worker); /* there was nobody, or one who is refused */
	return more;
}

/*
 * How many are taken in a row follows what was found. To ask an empty queue costs almost as much as
 * taking somebody out of it, and whoever is left in it is told of by the next wait.
 */
static void learn_batch(struct worker *worker, int taken, bool emptied)
{
	if (emptied) {
		worker->batch = taken > 1 ? taken : 1;
		worker->full_batches = 0;
	} else if (taken >= worker->batch && ++worker->full_batches == FULL_BATCHES) {
		worker->batch = worker->batch * 2 < ACCEPT_BATCH ? worker->batch * 2 : ACCEPT_BATCH;
		worker->full_batches = 0;
	}
}

/* polite: not when another worker is less busy. */
static void take_some(struct worker *worker, const struct listener *listener, bool polite)
{
	const int most = polite ? worker->batch : ACCEPT_BATCH;
	bool emptied = false;
	int taken = 0;

	while (taken < most && accept_possible(worker)) {
		if (polite && give_way(worker))
			break;
		emptied = !accept_in_turn(worker, listener);
		if (emptied)
			break;
		taken++;
		accept_start_waiting(worker);
		if (signals_stop_pending() || is_over(worker->loop_at))
			break; /* they come first */
	}
	learn_batch(worker, taken, emptied);
}

void accept_batch(struct worker *worker, const struct listener *listener)
{
	take_some(worker, listener, true);
}

void accept_leftovers(struct worker *worker)
{
	const struct listeners *listeners = worker->listeners;

	if (!worker->gave_way || clock_ms() < worker->way_until)
		return;
	worker->gave_way = false;
	for (size_t i = 0; i < listeners->count; i++) {
		struct pollfd ready = {.fd = listeners->items[i].fd, .events = POLLIN};

		if (poll(&ready, 1, 0) > 0)
			take_some(worker, &listeners->items[i], false);
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
	worker->ops->let_go(worker);
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
