/*
 * accept.c - the one accept loop, the same for every mode.
 *
 * Happy path: poll -> accept a batch -> worker_start_job() for each -> poll. Beside it: signals,
 * the timer of service.loop, children that ended. Failure modes: out of descriptors, memory,
 * threads or processes: pause, one log line per 5 s, go on by itself; an accepted connection that
 * could not be started is kept, not dropped. At --max-connections the queue of the kernel holds the
 * rest. At a stop the queue is emptied once more before the listeners close, so that nobody whom
 * the kernel has let in is cut off.
 */
#include "mode/mode.h"
#include "os/os.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_MS 100         /* after running out of something */
#define SHORTAGE_LOG_MS 5000 /* between log lines about it */
#define LIMIT_POLL_MS 50     /* another worker may have made room: look again */
#define ACCEPT_BATCH 16      /* connections taken in a row before anything else gets a turn */

/* What the loop polls: two fixed places, then the listeners. */
enum { POLL_SIGNALS, POLL_PARENT, POLL_LISTENERS };

static bool at_limit(const struct worker *worker)
{
	long long max = worker->settings->max_connections;

	return max > 0 && shared_active(worker->shared) >= (uint64_t)max;
}

static void pause_accepting(struct worker *worker, int error, const char *what)
{
	uint64_t held;

	worker->paused_until = clock_deadline(PAUSE_MS);
	if (throttle_pass(&worker->shortage, SHORTAGE_LOG_MS, &held))
		log_write(worker->env->log, NETD_ERR, NULL,
			  "%s: %s; accepting again in %d ms (%" PRIu64
			  " times since the last report)",
			  what, strerror(error), PAUSE_MS, held + 1);
}

static void start_pending(struct worker *worker)
{
	struct job job = {.conn = worker->pending};
	int rc = worker_start_job(worker, &job);

	if (rc == 0)
		worker->pending = NULL;
	else
		pause_accepting(worker, -rc, "cannot start a handler");
}

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

/* Accept one connection and start it. True when the next one may follow at once. */
static bool accept_one(struct worker *worker, const struct listener *listener)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	int fd = os_accept(listener->fd, &address, &size);
	int rc;

	if (fd < 0)
		return accept_failed(worker, -fd);
	if (listener->kind == ADDRESS_UNIX)
		address.ss_family = AF_UNIX; /* an unnamed peer has no address at all */
	rc = conn_new(&worker->pending, worker->env, fd, &address, size, ++worker->last_id);
	if (rc < 0) {
		pause_accepting(worker, -rc, "connection dropped");
		return false;
	}
	atomic_fetch_add(&worker->shared->counters.accepted, 1);
	atomic_fetch_add(&worker->shared->slots[worker->slot].accepted, 1);
	start_pending(worker);
	return !worker->pending;
}

/* Up to count connections in a row; signals and the timer come first. */
static void accept_batch(struct worker *worker, const struct listener *listener, int count)
{
	while (count-- > 0 && !at_limit(worker))
		if (!accept_one(worker, listener) || signals_stop_pending() ||
		    (worker->loop_at != NETD_NEVER && clock_ms() >= worker->loop_at))
			break;
}

/* ------------------------------------------------------------------------------- service.loop */

static int call_loop(struct netd_server *server, void *arg)
{
	const struct worker *worker = arg;
	int rc = worker->env->service->loop(server);

	if (rc < 0)
		log_write(worker->env->log, NETD_ERR, NULL, "loop failed: %s", strerror(-rc));
	return rc;
}

static void run_loop_timer(struct worker *worker)
{
	int64_t period = worker->settings->loop_timeout;
	struct job job = {.fn = call_loop, .arg = worker, .is_loop = true};
	int64_t now = clock_ms();

	if (now < worker->loop_at)
		return;
	/* From the planned moment, not from now: the period does not drift. Missed turns are left
	 * out. */
	worker->loop_at += ((now - worker->loop_at) / period + 1) * period;
	if (atomic_exchange(&worker->loop_busy, true))
		return; /* the last turn is still at work */
	if (!worker->settings->loop_child) {
		call_loop(worker->env->server, worker);
		atomic_store(&worker->loop_busy, false);
	} else if (worker_start_job(worker, &job) < 0) {
		atomic_store(&worker->loop_busy, false);
		log_write(worker->env->log, NETD_ERR, NULL, "loop could not be started");
	}
}

/* ---------------------------------------------------------------------------------- one turn */

static bool accepting(const struct worker *worker)
{
	return life_phase(worker->life) == PHASE_SERVE && !worker->pending &&
	       clock_ms() >= worker->paused_until && !at_limit(worker);
}

/* Until when the loop may sleep. */
static int64_t next_event(const struct worker *worker)
{
	int64_t deadline = life_deadline(worker->life);
	int64_t now = clock_ms();

	if (life_phase(worker->life) == PHASE_SERVE)
		deadline = clock_earlier(deadline, worker->loop_at);
	if (worker->paused_until > now)
		deadline = clock_earlier(deadline, worker->paused_until);
	if (worker->shared->count > 1 && at_limit(worker))
		deadline = clock_earlier(deadline, now + LIMIT_POLL_MS);
	return deadline;
}

/* Wait for something to happen; mark in fds what did. */
static void wait_for_events(struct worker *worker, struct pollfd *fds)
{
	const struct listeners *listeners = worker->listeners;
	bool open = accepting(worker);
	nfds_t count = POLL_LISTENERS + (open ? (nfds_t)listeners->count : 0);

	fds[POLL_SIGNALS] = (struct pollfd){.fd = signals_fd(), .events = POLLIN};
	fds[POLL_PARENT] = (struct pollfd){.fd = worker->parent_fd, .events = POLLIN};
	for (size_t i = 0; i < listeners->count; i++)
		fds[POLL_LISTENERS + i] =
		    (struct pollfd){.fd = listeners->items[i].fd, .events = POLLIN};
	if (poll(fds, count, clock_poll_timeout(next_event(worker))) < 0)
		for (nfds_t i = 0; i < count; i++)
			fds[i].revents = 0; /* EINTR: a signal, its flag is up */
}

static void parent_gone(struct worker *worker)
{
	worker->parent_fd = -1;
	life_drain(worker->life, "the master process is gone");
}

static void handle_events(struct worker *worker, const struct pollfd *fds)
{
	struct life *life = worker->life;

	if (fds[POLL_PARENT].revents)
		parent_gone(worker);
	if (fds[POLL_SIGNALS].revents || clock_ms() >= life_deadline(life))
		life_update(life);
	if (life->reopened) {
		life->reopened = false;
		worker->ops->reopen(worker);
	}
	if (life->child_ended) {
		life->child_ended = false;
		worker->ops->reap(worker);
	}
	if (life_phase(life) == PHASE_SERVE)
		run_loop_timer(worker);
	if (worker->pending && clock_ms() >= worker->paused_until)
		start_pending(worker);
}

static void serve(struct worker *worker, struct pollfd *fds)
{
	struct listeners *listeners = worker->listeners;

	while (life_phase(worker->life) == PHASE_SERVE) {
		/* Asked for before accepting() looks again: a job that ends in between is seen by
		 * one of the two. */
		atomic_store(&worker->wake_wanted, worker->pending || at_limit(worker));
		wait_for_events(worker, fds);
		handle_events(worker, fds);
		for (size_t i = 0; i < listeners->count; i++)
			if (fds[POLL_LISTENERS + i].revents && accepting(worker))
				accept_batch(worker, &listeners->items[i], ACCEPT_BATCH);
	}
}

/* Those whom the kernel has let in already are served; then the door closes. */
static void close_door(struct worker *worker)
{
	struct listeners *listeners = worker->listeners;

	if (life_phase(worker->life) == PHASE_DRAIN)
		for (size_t i = 0; i < listeners->count; i++)
			accept_batch(worker, &listeners->items[i], (int)worker->settings->listen);
	if (worker->shared->count > 1 || !worker->life->leads)
		listeners_close(listeners); /* the master removes Unix sockets */
	else
		listeners_finish(listeners);
}

static bool drained(const struct worker *worker)
{
	return worker_active(worker) == 0 && !worker->pending;
}

/* Until all jobs have ended. Returns 0, or -ETIMEDOUT when some did not. */
static int drain(struct worker *worker, struct pollfd *fds)
{
	struct life *life = worker->life;
	bool stopped = false;

	atomic_store(&worker->wake_wanted, true);
	while (!drained(worker)) {
		if (life_phase(life) == PHASE_STOP && !stopped) {
			stopped = true;
			worker->pending = conn_free(worker->pending);
			worker->ops->stop(worker);
			continue;
		}
		if (clock_ms() >= life->kill_at) {
			worker->ops->kill(worker);
			if (drained(worker))
				break;
			log_write(worker->env->log, NETD_ERR, NULL,
				  "%" PRIu64 " handlers did not end: leaving them",
				  worker_active(worker));
			return -ETIMEDOUT;
		}
		wait_for_events(worker, fds);
		handle_events(worker, fds);
	}
	return 0;
}

int worker_signal_fd(void *arg)
{
	(void)arg;
	return signals_fd();
}

int worker_check(void *arg, int64_t *deadline)
{
	struct worker *worker = arg;

	life_update(worker->life);
	if (life_phase(worker->life) == PHASE_STOP)
		return -ECANCELED;
	/* Come back here when the drain time is over. */
	*deadline = clock_earlier(*deadline, life_deadline(worker->life));
	return 0;
}

int worker_run(struct worker *worker)
{
	const struct settings *settings = worker->settings;
	const struct netd_service *service = worker->env->service;
	struct pollfd *fds;
	int rc;

	fds = calloc(POLL_LISTENERS + worker->listeners->count, sizeof *fds);
	if (!fds)
		return -ENOMEM;
	worker->ops = mode_find(settings->mode);
	worker->loop_at = NETD_NEVER;
	/* With --childs the first worker alone keeps the service's clock. */
	if (service->loop && settings->loop_timeout > 0 && worker->slot == 0)
		worker->loop_at = clock_deadline(settings->loop_timeout);
	rc = worker->ops->start(worker);
	if (rc == 0) {
		serve(worker, fds);
		close_door(worker);
		rc = drain(worker, fds);
		io_set_interrupt(NULL);
		if (!worker->ops->finish(worker))
			rc = -ETIMEDOUT;
		if (rc == 0 && service->done)
			service->done(worker->env->server);
	}
	free(fds);
	return rc;
}
