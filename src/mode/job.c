/* job.c - a piece of work from start to end, and the table of modes that can do it. */
#include "mode/admit.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const struct mode_ops *const modes[] = {&mode_single, &mode_fork, &mode_threads,
					       &mode_fibers};

const struct mode_ops *mode_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (strcmp(modes[i]->name, name) == 0)
			return modes[i];
	return NULL;
}

static struct shared_slot *slot_of(const struct worker *worker)
{
	return &worker->shared->page->slots[worker->slot];
}

uint64_t worker_active(const struct worker *worker)
{
	return atomic_load(&slot_of(worker)->active);
}

int worker_start_job(struct worker *worker, const struct job *job)
{
	int rc;

	if (worker->in_child) /* part of a connection that is counted already */
		return worker->ops->run(worker, job);
	/* Counted first: a job may end before run() has returned. */
	atomic_fetch_add(&slot_of(worker)->active, 1);
	rc = worker->ops->run(worker, job);
	if (rc < 0)
		atomic_fetch_sub(&slot_of(worker)->active, 1);
	return rc;
}

void job_run(struct worker *worker, const struct job *job)
{
	if (job->conn)
		conn_serve(job->conn);
	else
		job->fn(worker->env->server, job->arg);
	/* Before the client sees the end, and may come again. */
	admit_end(worker, job->hold);
}

void job_end(struct worker *worker, bool is_loop)
{
	if (is_loop)
		atomic_store(&worker->loop_busy, false);
	atomic_fetch_sub(&slot_of(worker)->active, 1);
	if (atomic_load(&worker->wake_wanted)) {
		ssize_t n = write(worker->wake_fd, "", 1);

		(void)n; /* a full pipe wakes the loop as well */
	}
}
