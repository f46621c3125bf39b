/*
 * single.c - the accepting process serves each connection itself, one after the other. While a
 * handler waits, its wait also looks after signals, so that TERM and INT work with an idle client.
 */
#include "mode/mode.h"

static int single_start(struct worker *worker)
{
	worker_install_interrupt(worker);
	worker_use_spare(worker);
	/* A handler that never waits cannot be told: the second Ctrl-C ends the process. */
	if (worker->life->leads)
		signals_answer_once(SIGNAL_INT);
	return 0;
}

static int single_run(struct worker *worker, const struct job *job)
{
	job_run(worker, job);
	conn_free(job->conn);
	job_end(worker, job->is_loop);
	return 0;
}

static void single_nothing(struct worker *worker)
{
	(void)worker; /* no process or thread but this one */
}

static bool single_finish(struct worker *worker)
{
	worker_free_spare(worker);
	return true;
}

const struct mode_ops mode_single = {
    .name = "single",
    .check = worker_checked,
    .start = single_start,
    .wait = worker_poll,
    .run = single_run,
    .let_go = single_nothing,
    .reap = single_nothing,
    .reopen = single_nothing,
    .stop = single_nothing,
    .kill = single_nothing,
    .finish = single_finish,
};
