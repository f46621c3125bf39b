/*
 * fork.c - a child process serves each connection: a crash costs that connection only.
 *
 * Happy path: fork; the parent closes its copy of the socket, the child serves and exits; SIGCHLD
 * brings the parent to reap it. Failure modes: fork fails: the connection is kept and tried again;
 * a child that dies from a signal is logged with its connection and counted as failed; children
 * that outlive a hard stop are killed.
 */
#include "mode/admit.h"
#include "os/os.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_LOOP (-2) /* child.slot of a turn of service.loop */

static struct children *children_of(struct worker *worker)
{
	return worker->mode;
}

/* --------------------------------------------------------------------------- in the child */

static int child_signal_fd(void *arg)
{
	(void)arg;
	return signals_fd();
}

static int64_t child_deadline(void *arg)
{
	const struct worker *worker = arg;

	return worker->life->stop_at; /* NETD_NEVER while the parent, who watches the time, lives */
}

static int child_check(void *arg)
{
	struct worker *worker = arg;

	life_update_child(worker->life);
	if (life_phase(worker->life) != PHASE_STOP)
		return 0;
	signals_wake(); /* the next wait must see it as well */
	return -ECANCELED;
}

/* Standard output only: fflush(NULL) costs a tenth of a fork, and would have each child print once
 * more what another stream of the author's holds. */
static void flush_output(void)
{
	if (__fpending(stdout) > 0)
		fflush(stdout);
}

/* Let go of everything that is the accepting process's. */
static void enter_child(struct worker *worker)
{
	signals_child();
	life_fork(worker->life);
	/* Spawned by a handler's process: never outlives it. A handler outlives the accepting
	 * process, but no longer than a drain may take. */
	os_parent_death_signal(worker->in_child ? SIGKILL : SIGTERM);
	worker->in_child = true;
	for (size_t i = 0; i < worker->listeners->count; i++)
		close(worker->listeners->items[i].fd);
	if (worker->pidfile)
		pidfile_forget(worker->pidfile);
	worker->interrupt.get_fd = child_signal_fd;
	worker->interrupt.deadline = child_deadline;
	worker->interrupt.check = child_check;
	worker->interrupt.repeats = true; /* fork_stop() is called again and again */
}

/* netd_spawn() in a handler made children of our own: this connection lasts as long as they. */
static void wait_for_spawned(struct worker *worker)
{
	struct children *spawned = children_of(worker);
	bool told = false;

	while (spawned->count > 0) {
		struct child gone;
		int status;
		pid_t pid = waitpid(-1, &status, 0);

		if (pid > 0)
			children_remove(spawned, pid, &gone);
		else if (errno != EINTR)
			break;
		life_update_child(worker->life);
		if (life_phase(worker->life) == PHASE_STOP && !told) {
			children_kill(spawned, SIGINT);
			told = true;
		}
	}
}

static _Noreturn void child_main(struct worker *worker, const struct job *job)
{
	struct children spawned = {0};

	enter_child(worker);
	worker->mode = &spawned;
	job_run(worker, job);
	conn_free(job->conn);
	wait_for_spawned(worker);
	flush_output(); /* _exit() would lose what a handler printed */
	_exit(0);
}

/* --------------------------------------------------------------------------- in the parent */

static int fork_start(struct worker *worker)
{
	struct children *children = os_own_memory(sizeof *children);

	if (!children)
		return -ENOMEM;
	worker->mode = children;
	worker_install_interrupt(worker);
	worker_use_spare(worker);
	return 0;
}

/* A handler's process has started children of its own: they hold nothing. */
static uint64_t lend_hold(struct worker *worker, const struct job *job)
{
	return job->hold ? limits_lend(worker->shared->limits, worker->slot, job->hold) : 0;
}

static int fork_failed(struct worker *worker, uint64_t hold)
{
	int rc = -errno;

	if (hold)
		limits_unlend(worker->shared->limits, worker->slot, hold);
	return rc;
}

static int fork_run(struct worker *worker, const struct job *job)
{
	struct children *children = children_of(worker);
	struct child child = {.slot = job->is_loop ? CHILD_LOOP : -1};
	struct job lent = *job; /* what the child works with */
	int rc = children_reserve(children);

	if (rc < 0)
		return rc;
	flush_output(); /* or the child would print it again */
	lent.hold = child.hold = lend_hold(worker, job);
	child.pid = fork();
	if (child.pid < 0)
		return fork_failed(worker, child.hold);
	if (child.pid == 0)
		child_main(worker, &lent);
	if (job->conn) {
		child.conn = job->conn->id;
		snprintf(child.peer, sizeof child.peer, "%s", job->conn->text);
	}
	children_add(children, &child);
	conn_free(job->conn);
	return 0;
}

static void log_end(struct worker *worker, const struct child *child, int status)
{
	struct log_context context = {.conn = child->conn, .peer = child->peer};
	char words[128];

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	if (WIFSIGNALED(status) && life_phase(worker->life) == PHASE_STOP)
		return; /* by us */
	child_status_text(status, words, sizeof words);
	atomic_fetch_add(&worker->shared->page->counters.failed, 1);
	log_write(worker->env->log, NETD_ERR, &context, "handler process %d %s", (int)child->pid,
		  words);
}

static void child_ended(struct worker *worker, const struct child *child)
{
	admit_end(worker, child->hold); /* what it has not announced itself */
	job_end(worker, child->slot == CHILD_LOOP);
}

static void fork_reap(struct worker *worker)
{
	struct child child;
	int status;
	pid_t pid;

	/* No further than ours go: what service.loop has started is its own to wait for. */
	while (children_of(worker)->count > 0 && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (!children_remove(children_of(worker), pid, &child))
			continue; /* the author's own */
		log_end(worker, &child, status);
		child_ended(worker, &child);
	}
}

static void fork_reopen(struct worker *worker)
{
	children_kill(children_of(worker), SIGUSR1);
}

static void fork_stop(struct worker *worker)
{
	children_kill(children_of(worker), SIGINT);
}

static void fork_kill(struct worker *worker)
{
	struct children *children = children_of(worker);

	children_kill(children, SIGKILL);
	while (children->count > 0) {
		struct child child;
		pid_t pid = waitpid(-1, NULL, 0);

		if (pid > 0 && children_remove(children, pid, &child))
			child_ended(worker, &child);
		else if (pid < 0 && errno != EINTR)
			break;
	}
}

static bool fork_finish(struct worker *worker)
{
	worker_free_spare(worker);
	children_finish(children_of(worker));
	os_own_memory_free(worker->mode, sizeof(struct children));
	worker->mode = NULL;
	return true;
}

static void fork_let_go(struct worker *worker)
{
	(void)worker; /* poll(2) holds on to nothing */
}

const struct mode_ops mode_fork = {
    .name = "fork",
    .check = worker_checked,
    .start = fork_start,
    .wait = worker_poll,
    .run = fork_run,
    .let_go = fork_let_go,
    .reap = fork_reap,
    .reopen = fork_reopen,
    .stop = fork_stop,
    .kill = fork_kill,
    .finish = fork_finish,
};
