/*
 * open.c - a scheduler begins and ends. Failure modes: the poller asked for is refused by the
 * system: words say so; with "auto" the next best one is taken and the log says why.
 */
#include "fiber/sched.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int open_poller(struct fibers *fibers, struct err *err)
{
	const char *name = fibers->config.io;
	bool any = strcmp(name, "auto") == 0;

	for (size_t i = 0; pollers[i]; i++) {
		int rc;

		if (!any && strcmp(pollers[i]->name, name) != 0)
			continue;
		fibers->ops = pollers[i];
		rc = pollers[i]->open(&fibers->poller, &fibers->buffers, err);
		if (rc == 0 || !any || !pollers[i + 1])
			return rc;
		log_write(fibers->config.log, NETD_NOTICE, NULL, "%s: using %s instead", err->text,
			  pollers[i + 1]->name);
	}
	return err_set(err, -ENOTSUP, "--io %s: this build has no such thing", name);
}

static void finish_poller(struct fibers *fibers)
{
	fibers->ops->close(fibers->poller);
	buffers_finish(&fibers->buffers);
}

/* The scheduler's own stack is one of the fibers': with a guard below it. */
static int open_scheduler(struct fibers *fibers)
{
	int rc;

	fibers->stack = stack_take(fibers->stacks);
	if (!fibers->stack)
		return -ENOMEM;
	rc = context_adopt(&fibers->first.context);
	if (rc == 0)
		rc = context_init(&fibers->context, fibers->stack - stack_size(fibers->stacks),
				  fibers->stack, fibers_schedule, fibers);
	if (rc < 0)
		stack_give(fibers->stacks, fibers->stack);
	return rc;
}

static void free_memory(struct fibers *fibers)
{
	blocks_finish(&fibers->blocks);
	deadlines_finish(&fibers->deadlines);
	image_models_finish(&fibers->models);
	free(fibers);
}

int fibers_open(struct fibers **out, const struct fibers_config *config, struct err *err)
{
	struct fibers *fibers = calloc(1, sizeof *fibers);
	int rc;

	if (!fibers)
		return err_sys(err, -ENOMEM, "fibers");
	fibers->config = *config;
	fibers->run_last = &fibers->run_first;
	fibers->first.state = FIBER_RUNNING;
	fibers->first.deadline = NETD_NEVER;
	fibers->current = &fibers->first;
	fibers->thread = pthread_self();
	fibers->caught = caught_here();
	fibers->tick_at = clock_deadline(compact_period(fibers));
	fibers->turn = 1;
	rc = stacks_open(&fibers->stacks, config->stack_size);
	if (rc == 0)
		rc = deadlines_reserve(&fibers->deadlines, 2);
	if (rc < 0) {
		err_sys(err, rc, "fibers");
		goto no_poller;
	}
	rc = open_poller(fibers, err);
	if (rc < 0)
		goto no_poller;
	rc = open_scheduler(fibers);
	if (rc < 0)
		goto no_scheduler;
	rc = remote_open(fibers);
	if (rc < 0)
		goto no_remote;
	rc = watchdog_open(fibers);
	if (rc < 0)
		goto no_watchdog;
	overflow_open(fibers);
	fibers_here = fibers;
	io_set_ops(&io_fibers);
	*out = fibers;
	return 0;
no_watchdog:
	remote_close(fibers);
no_remote:
	context_finish(&fibers->context);
	context_finish(&fibers->first.context);
	stack_give(fibers->stacks, fibers->stack);
no_scheduler:
	err_sys(err, rc, "fibers");
	finish_poller(fibers);
no_poller:
	stacks_close(fibers->stacks);
	free_memory(fibers);
	return rc;
}

static void log_use(const struct fibers *fibers)
{
	struct stacks_use use;

	stacks_get_use(fibers->stacks, &use);
	log_write(fibers->config.log, NETD_DEBUG, NULL,
		  "fibers: %zu stacks of %zu bytes were made, %zu bytes were used at most",
		  use.made, stack_size(fibers->stacks), use.deepest);
}

void fibers_abandon(struct fibers *fibers)
{
	if (fibers_here == fibers) {
		io_set_ops(NULL);
		fibers_here = NULL;
	}
}

struct fibers *fibers_close(struct fibers *fibers)
{
	if (!fibers)
		return NULL;
	log_use(fibers);
	io_set_ops(NULL);
	fibers_here = NULL;
	overflow_close(fibers);
	watchdog_close(fibers);
	offload_close(fibers);
	remote_close(fibers);
	context_finish(&fibers->context);
	context_finish(&fibers->first.context);
	stack_give(fibers->stacks, fibers->stack);
	finish_poller(fibers);
	stacks_close(fibers->stacks);
	free_memory(fibers);
	return NULL;
}
