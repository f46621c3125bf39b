/*
 * spare.c - the memory of a connection that has ended, kept for the next one: for modes in which
 * the accept loop's thread makes and frees them all. It begins a page of its own, so that a forked
 * handler shares as few pages as can be with what it writes to.
 */
#include "mode/mode.h"

#include <stdlib.h>

#define PAGE ((size_t)4096)

static void *take(void *arg, size_t size)
{
	struct worker *worker = arg;
	void *memory = worker->spare;

	worker->spare = NULL;
	return memory ? memory : aligned_alloc(PAGE, (size + PAGE - 1) & ~(PAGE - 1));
}

static void give(void *arg, void *memory)
{
	struct worker *worker = arg;

	if (worker->spare)
		free(memory);
	else
		worker->spare = memory;
}

void worker_use_spare(struct worker *worker)
{
	worker->spare_memory = (struct conn_memory){.take = take, .give = give, .arg = worker};
	worker->memory = &worker->spare_memory;
}

void worker_free_spare(struct worker *worker)
{
	free(worker->spare);
	worker->spare = NULL;
}
