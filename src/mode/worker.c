/*
 * worker.c - the one accept loop, the same for every mode.
 *
 * Happy path: poll -> accept_batch() -> worker_start_job() for each -> poll. Beside it: signals,
 * the timer of service.loop, children that ended. After the first sign of a stop the door closes,
 * then the loop goes on until every job has ended, or was cut and had its grace.
 */
#include "mode/accept.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define STOP_REPEAT_MS 50 /* a stop that came between a check and a wait is told again */
#define LIMIT_POLL_MS 50  /* another worker may have made room: look again */

/* What the loop polls: two fixed places, then the listeners. */
enum { POLL_SIGNALS, POLL_PARENT, POLL_LISTENERS };

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

/* Until when the loop may sleep. */
static int64_t next_event(const struct worker *worker)
{
	int64_t deadline = life_deadline(worker->life);
	int64_t now = clock_ms();

	if (life_phase(worker->life) == PHASE_SERVE)
		deadline = clock_earlier(deadline, worker->loop_at);
	if (worker->paused_until > now)
		deadline = clock_earlier(deadline, worker->paused_until);
	if (life_phase(worker->life) == PHASE_STOP)
		deadline = clock_earlier(deadline, now + STOP_REPEAT_MS);
	if (worker->shared->count > 1 && accept_at_limit(worker))
		deadline = clock_earlier(deadline, now + LIMIT_POLL_MS);
	if (worker->life->child_ended || worker->life->reopened)
		deadline = now; /* service.loop took the signal while it waited */
	return deadline;
}

/* Wait for something to happen; mark in fds what did. */
static void wait_for_events(struct worker *worker, struct pollfd *fds)
{
	const struct listeners *listeners = worker->listeners;
	bool open = accept_possible(worker);
	nfds_t count = POLL_LISTENERS + (open ? (nfds_t)listeners->count : 0);

	fds[POLL_SIGNALS] = (struct pollfd){.fd = signals_fd(), .events = POLLIN};
	fds[POLL_PARENT] = (struct pollfd){.fd = worker->parent_fd, .events = POLLIN};
	for (size_t i = 0; i < listeners->count; i++)
		fds[POLL_LISTENERS + i] =
		    (struct pollfd){.fd = listeners->items[i].fd, .events = POLLIN};
	if (poll(fds, count, clock_poll_timeout(next_event(worker))) < 0) {
		for (nfds_t i = 0; i < count; i++)
			fds[i].revents = 0;
		fds[POLL_SIGNALS].revents = POLLIN; /* EINTR: a signal, its flag is up */
	}
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
}

static void serve(struct worker *worker, struct pollfd *fds)
{
	struct listeners *listeners = worker->listeners;

	while (life_phase(worker->life) == PHASE_SERVE) {
		/* Asked for before the limit is looked at again: a job that ends in between is
		 * seen by one of the two. */
		atomic_store(&worker->wake_wanted, worker->waiting || accept_at_limit(worker));
		accept_start_waiting(worker);
		wait_for_events(worker, fds);
		handle_events(worker, fds);
		for (size_t i = 0; i < listeners->count; i++)
			if (fds[POLL_LISTENERS + i].revents)
				accept_batch(worker, &listeners->items[i]);
	}
}

static bool drained(const struct worker *worker)
{
	return worker_active(worker) == 0 && !worker->waiting && worker->door_closed;
}

/* Until all jobs have ended. Returns 0, or -ETIMEDOUT when some did not. */
static int drain(struct worker *worker, struct pollfd *fds)
{
	struct life *life = worker->life;

	atomic_store(&worker->wake_wanted, true);
	for (;;) {
		accept_close_door(worker);
		accept_start_waiting(worker); /* in single mode they are served here */
		if (drained(worker))
			return 0;
		if (life_phase(life) == PHASE_STOP) {
			accept_drop_waiting(worker);
			worker->ops->stop(worker);
			if (drained(worker))
				return 0;
		}
		if (clock_ms() >= life->kill_at) {
			worker->ops->kill(worker);
			if (drained(worker))
				return 0;
			log_write(worker->env->log, NETD_ERR, NULL,
				  "%" PRIu64 " handlers did not end: leaving them",
				  worker_active(worker));
			return -ETIMEDOUT;
		}
		wait_for_events(worker, fds);
		handle_events(worker, fds);
	}
}

int worker_signal_fd(void *arg)
{
	(void)arg;
	return signals_fd();
}

int64_t worker_deadline(void *arg)
{
	const struct worker *worker = arg;

	return worker->life->stop_at; /* the drain time, or --timeout, may be over in a wait */
}

int worker_check(void *arg)
{
	struct worker *worker = arg;

	life_update(worker->life);
	if (life_phase(worker->life) != PHASE_SERVE)
		accept_close_door(worker);
	if (life_phase(worker->life) != PHASE_STOP)
		return 0;
	signals_wake(); /* the next wait must see it as well */
	return -ECANCELED;
}

void worker_install_interrupt(struct worker *worker)
{
	worker->interrupt = (struct io_interrupt){
	    .get_fd = worker_signal_fd,
	    .deadline = worker_deadline,
	    .check = worker_check,
	    .arg = worker,
	    .deliver_eintr = !worker->settings->catchint,
	};
	io_set_interrupt(&worker->interrupt);
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
		accept_close_door(worker);
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
