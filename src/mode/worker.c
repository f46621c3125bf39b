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
#include <unistd.h>

#define STOP_REPEAT_MS 50 /* a stop that came between a check and a wait is told again */
#define LIMIT_POLL_MS 50  /* another worker may have made room: look again */

/* What the loop polls: two fixed places, then the listeners. */
enum { POLL_SIGNALS, POLL_PARENT, POLL_LISTENERS = WORKER_FIXED_FDS };

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
	if (worker->rate_until > now)
		deadline = clock_earlier(deadline, worker->rate_until);
	if (worker->gave_way && worker->way_until > now)
		deadline = clock_earlier(deadline, worker->way_until);
	if (life_phase(worker->life) == PHASE_STOP)
		deadline = clock_earlier(deadline, now + STOP_REPEAT_MS);
	if (worker->shared->count > 1 && accept_at_limit(worker))
		deadline = clock_earlier(deadline, now + LIMIT_POLL_MS);
	if (worker->life->child_ended || worker->life->reopened)
		deadline = now; /* service.loop took the signal while it waited */
	return deadline;
}

int worker_checked(struct worker *worker)
{
	(void)worker;
	return 0;
}

int worker_poll(struct worker *worker, struct netd_pollfd *fds, size_t count, int64_t deadline)
{
	(void)worker;
	/* Both have the layout of poll(2): io/blocking.c asserts it. */
	return poll((struct pollfd *)(void *)fds, (nfds_t)count, clock_poll_timeout(deadline));
}

/* Wait for something to happen; mark in fds what did. */
static void wait_for_events(struct worker *worker, struct netd_pollfd *fds)
{
	const struct listeners *listeners = worker->listeners;
	size_t count = POLL_LISTENERS + listeners->count;
	bool open = accept_possible(worker);

	fds[POLL_SIGNALS] = (struct netd_pollfd){.fd = signals_fd(), .events = NETD_IN};
	fds[POLL_PARENT] = (struct netd_pollfd){.fd = worker->parent_fd, .events = NETD_IN};
	for (size_t i = 0; i < listeners->count; i++)
		fds[POLL_LISTENERS + i] = (struct netd_pollfd){
		    .fd = open ? listeners->items[i].fd : -1, .events = NETD_IN};
	if (worker->ops->wait(worker, fds, count, next_event(worker)) < 0) {
		for (size_t i = 0; i < count; i++)
			fds[i].revents = 0;
		fds[POLL_SIGNALS].revents = NETD_IN; /* EINTR: a signal, its flag is up */
	}
}

static void parent_gone(struct worker *worker)
{
	worker->parent_fd = -1;
	life_drain(worker->life, "the master process is gone");
}

static void handle_events(struct worker *worker, const struct netd_pollfd *fds)
{
	struct life *life = worker->life;

	if (fds[POLL_PARENT].revents)
		parent_gone(worker);
	if (fds[POLL_SIGNALS].revents || clock_ms() >= life_deadline(life))
		life_update(life);
	else
		report_tick(life->report); /* we are awake anyway */
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

static void serve(struct worker *worker, struct netd_pollfd *fds)
{
	struct listeners *listeners = worker->listeners;

	while (life_phase(worker->life) == PHASE_SERVE) {
		/* Asked for before the limits are looked at again: a job that ends in between is
		 * seen by one of the two. */
		atomic_store(&worker->wake_wanted,
			     worker->waiting || accept_paused(worker) || accept_at_limit(worker));
		accept_start_waiting(worker);
		wait_for_events(worker, fds);
		handle_events(worker, fds);
		accept_leftovers(worker);
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
static int drain(struct worker *worker, struct netd_pollfd *fds)
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

	/* The drain time, or --timeout, may be over in a wait; the watchdog wants to hear of us. */
	return clock_earlier(worker->life->stop_at, report_deadline(worker->life->report));
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

/* Connections are accepted from here on. */
static void tell_ready(struct worker *worker)
{
	ssize_t n;

	report_ready(worker->life->report);
	if (!worker->life->leads) {
		n = write(worker->leader_fd, "", 1);
		(void)n; /* a full pipe wakes the master as well */
	}
}

int worker_run(struct worker *worker)
{
	const struct settings *settings = worker->settings;
	const struct netd_service *service = worker->env->service;
	struct netd_pollfd *fds;
	int rc;

	fds = calloc(POLL_LISTENERS + worker->listeners->count, sizeof *fds);
	if (!fds)
		return -ENOMEM;
	worker->ops = mode_find(settings->mode);
	worker->loop_at = NETD_NEVER;
	worker->batch = 1;
	/* With --childs the first worker alone keeps the service's clock. */
	if (service->loop && settings->loop_timeout > 0 && worker->slot == 0)
		worker->loop_at = clock_deadline(settings->loop_timeout);
	rc = worker->ops->start(worker);
	if (rc == 0) {
		atomic_store(&worker->shared->page->slots[worker->slot].serving, true);
		tell_ready(worker);
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
