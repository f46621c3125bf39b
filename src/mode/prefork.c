/*
 * prefork.c - the master: several worker processes accept from the same listeners, each in its
 * mode; the master supervises them and serves nobody.
 *
 * Happy path: fork `childs` workers, wait for signals. Failure modes: the mode cannot start here at
 * all: nothing is forked; a worker that dies is
 * replaced at once; one that dies right after its start without having served anybody is replaced
 * after a growing pause; fork fails: tried again after a pause; the master dies: the workers'
 * life pipe ends and they drain. Workers are not trusted: nothing they do but netd_server_stop()
 * reaches the master.
 */
#include "mode/mode.h"
#include "os/os.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define EARLY_MS 1000        /* dying within this time of its start is a start that failed */
#define PAUSE_FIRST_MS 100   /* before the next start then; doubled each time ... */
#define PAUSE_LAST_MS 10000  /* ... up to here */
#define MASTER_GRACE_MS 1000 /* on top of the workers' own grace */
#define FAILURE_LOG_MS 5000

struct row {
	pid_t pid; /* 0: no process */
	int64_t started_ms, start_at;
	int failures; /* starts in a row that failed */
};

struct master {
	struct worker *worker; /* the template */
	struct log *log;
	struct life *life;
	struct row *rows;
	int count, running;
	int life_pipe[2]; /* its writing end is open in the master only */
	struct throttle failure;
};

/* ------------------------------------------------------------------------------- in the worker */

static _Noreturn void worker_main(struct master *master, int slot)
{
	struct worker *worker = master->worker;
	struct err err;
	int rc;

	close(master->life_pipe[1]);
	os_parent_death_signal(SIGTERM);
	signals_child();
	rc = signals_open(&err);
	life_fork(worker->life);
	if (worker->pidfile)
		pidfile_forget(worker->pidfile);
	free(master->rows);
	/* Whoever is told to stop before he can hear it reads what the master wrote down first. */
	if (atomic_load(&worker->shared->page->phase) != PHASE_SERVE)
		life_drain(worker->life, "stopping");
	worker->slot = slot;
	worker->parent_fd = master->life_pipe[0];
	worker->leader_fd = worker->wake_fd;
	if (rc == 0)
		worker->wake_fd = signals_wake_fd();
	if (rc == 0)
		rc = worker_run(worker);
	else
		log_write(master->log, NETD_CRIT, NULL, "worker cannot start: %s", err.text);
	fflush(NULL);
	_exit(rc == 0 ? 0 : 1);
}

/* ------------------------------------------------------------------------------- in the master */

static void start_worker(struct master *master, int slot)
{
	struct row *row = &master->rows[slot];
	uint64_t held;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		worker_main(master, slot);
	if (pid < 0) {
		row->start_at = clock_deadline(PAUSE_FIRST_MS);
		if (throttle_pass(&master->failure, FAILURE_LOG_MS, &held))
			log_write(master->log, NETD_ERR, NULL, "cannot start worker %d: %s",
				  slot + 1, strerror(errno));
		return;
	}
	row->pid = pid;
	row->started_ms = clock_ms();
	row->start_at = NETD_NEVER;
	master->running++;
	log_write(master->log, NETD_DEBUG, NULL, "worker %d is process %d", slot + 1, (int)pid);
}

static void start_due(struct master *master)
{
	int64_t now = clock_ms();

	for (int i = 0; i < master->count; i++)
		if (master->rows[i].pid == 0 && now >= master->rows[i].start_at)
			start_worker(master, i);
}

static int64_t next_start(const struct master *master)
{
	int64_t at = NETD_NEVER;

	for (int i = 0; i < master->count; i++)
		if (master->rows[i].pid == 0)
			at = clock_earlier(at, master->rows[i].start_at);
	return at;
}

/* When to replace a worker that ended: at once, or later when it seems unable to start. */
static int64_t pause_before_restart(struct master *master, int slot)
{
	struct row *row = &master->rows[slot];
	const struct shared *shared = master->worker->shared;
	int64_t pause = PAUSE_FIRST_MS;

	if (clock_ms() - row->started_ms >= EARLY_MS ||
	    atomic_load(&shared->page->slots[slot].accepted) > 0) {
		row->failures = 0;
		return 0;
	}
	for (int i = 0; i < row->failures && pause < PAUSE_LAST_MS; i++)
		pause *= 2;
	row->failures++;
	return pause < PAUSE_LAST_MS ? pause : PAUSE_LAST_MS;
}

static void log_worker_end(struct master *master, int slot, int status, int64_t pause)
{
	bool wanted = life_phase(master->life) != PHASE_SERVE;
	bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	char words[128];

	if (wanted && (clean || life_phase(master->life) == PHASE_STOP))
		return;
	child_status_text(status, words, sizeof words);
	if (!clean) /* whom it was serving is cut off */
		atomic_fetch_add(&master->worker->shared->page->counters.failed,
				 atomic_load(&master->worker->shared->page->slots[slot].active));
	if (wanted)
		log_write(master->log, NETD_ERR, NULL, "worker %d (process %d) %s", slot + 1,
			  (int)master->rows[slot].pid, words);
	else
		log_write(master->log, NETD_ERR, NULL,
			  "worker %d (process %d) %s: replaced in %" PRId64 " ms", slot + 1,
			  (int)master->rows[slot].pid, words, pause);
}

static void worker_ended(struct master *master, int slot, int status)
{
	struct row *row = &master->rows[slot];
	bool serving = life_phase(master->life) == PHASE_SERVE;
	int64_t pause = serving ? pause_before_restart(master, slot) : 0;

	log_worker_end(master, slot, status, pause);
	shared_clear_slot(master->worker->shared, slot);
	row->pid = 0;
	row->start_at = serving ? clock_deadline(pause) : NETD_NEVER;
	master->running--;
}

static void reap(struct master *master)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < master->count; i++)
			if (master->rows[i].pid == pid)
				worker_ended(master, i, status);
}

static void kill_all(const struct master *master, int signo)
{
	for (int i = 0; i < master->count; i++)
		if (master->rows[i].pid > 0)
			kill(master->rows[i].pid, signo);
}

/* Pass a change of phase on to the workers. */
static void follow_phase(struct master *master, enum phase before)
{
	enum phase now = life_phase(master->life);

	if (before == PHASE_SERVE && now != PHASE_SERVE)
		listeners_finish(master->worker->listeners);
	if (now == PHASE_DRAIN && before == PHASE_SERVE)
		kill_all(master, SIGTERM);
	if (now == PHASE_STOP && before != PHASE_STOP)
		kill_all(master, SIGINT);
}

static int64_t next_event(const struct master *master)
{
	const struct life *life = master->life;
	int64_t deadline = clock_earlier(life->stop_at, report_deadline(life->report));

	if (life_phase(life) == PHASE_SERVE)
		deadline = clock_earlier(deadline, next_start(master));
	if (life->kill_at != NETD_NEVER)
		deadline = clock_earlier(deadline, life->kill_at + MASTER_GRACE_MS);
	return deadline;
}

/* All workers accept; a start that is slow or fails keeps the good news back. */
static bool all_serve(const struct master *master)
{
	const struct shared_page *page = master->worker->shared->page;

	for (int i = 0; i < master->count; i++)
		if (!atomic_load(&page->slots[i].serving))
			return false;
	return true;
}

static void supervise(struct master *master)
{
	struct life *life = master->life;
	bool killed = false;

	while (life_phase(life) == PHASE_SERVE || master->running > 0) {
		struct pollfd ready = {.fd = signals_fd(), .events = POLLIN};
		enum phase before = life_phase(life);

		if (before == PHASE_SERVE)
			start_due(master);
		poll(&ready, 1, clock_poll_timeout(next_event(master)));
		life_update(life);
		follow_phase(master, before);
		if (life_phase(life) == PHASE_SERVE && all_serve(master))
			report_ready(life->report);
		if (life->reopened) {
			life->reopened = false;
			kill_all(master, SIGUSR1);
		}
		if (life->child_ended) {
			life->child_ended = false;
			reap(master);
		}
		if (life->kill_at != NETD_NEVER && !killed &&
		    clock_ms() >= life->kill_at + MASTER_GRACE_MS) {
			killed = true;
			life->kill_at = NETD_NEVER;
			kill_all(master, SIGKILL);
		}
	}
}

int prefork_run(struct worker *worker, int childs)
{
	struct master master = {.worker = worker, .log = worker->env->log, .life = worker->life};
	int rc = mode_find(worker->settings->mode)->check(worker);

	if (rc == 0)
		rc = os_pipe(master.life_pipe);
	if (rc < 0)
		return rc;
	master.rows = calloc((size_t)childs, sizeof *master.rows);
	if (!master.rows) {
		rc = -ENOMEM;
		goto out;
	}
	master.count = childs;
	supervise(&master);
	free(master.rows);
out:
	close(master.life_pipe[0]);
	close(master.life_pipe[1]);
	return rc;
}
