/*
 * compact.c - fibers that wait long for input take as little memory as can be.
 *
 * Happy path: the live part of the stack, from where it was left up to its top, becomes an image
 * (image.c); the stack's pages go back to the system. Before the fiber goes on, everything is put
 * back where it was, so that pointers into the stack stay good; nobody but the fiber itself may
 * have any while it waits. Failure modes: no memory for the image: the stack stays as it is.
 */
#include "fiber/sched.h"

#define TRIM_MS 1000 /* how often unused memory is given back */

static bool save(struct fibers *fibers, struct fiber *fiber)
{
	char *live = context_live(&fiber->context);
	char *top = fiber->context.top;

	if (!live)
		return false;
	fiber->image = image_save(&fibers->models, live, top);
	if (!fiber->image)
		return false;
	stack_release(fibers->stacks, top + fiber->stagger, top + fiber->stagger);
	fibers->compacted++;
	return true;
}

void compact_restore(struct fibers *fibers, struct fiber *fiber)
{
	image_restore(&fibers->models, fiber->image, fiber->context.top);
	fiber->image = NULL;
	fibers->compacted--;
}

int64_t compact_period(const struct fibers *fibers)
{
	int64_t half = (fibers->config.compact_ms + 1) / 2;

	return half > 0 && half < TRIM_MS ? half : TRIM_MS;
}

/* Ticks that a fiber must have been waiting through. */
static int64_t ticks_to_wait(const struct fibers *fibers)
{
	int64_t ticks = (fibers->config.compact_ms - 1) / compact_period(fibers) + 1;

	return ticks < UINT16_MAX / 2 ? ticks : UINT16_MAX / 2;
}

struct round {
	struct fibers *fibers;
	int64_t ticks; /* whoever has waited for more is compacted */
	bool more;     /* somebody waits whose time will come */
};

static void look_at(void *arg, struct fiber *fiber)
{
	struct round *round = arg;
	uint16_t waited = (uint16_t)(round->fibers->tick - fiber->parked_tick);

	if (!fiber->is_idle || fiber->image)
		return;
	if (waited > round->ticks)
		save(round->fibers, fiber);
	else
		round->more = true;
}

static bool compact_idle(struct fibers *fibers)
{
	struct round round = {.fibers = fibers, .ticks = ticks_to_wait(fibers)};

	blocks_each(&fibers->blocks, look_at, &round);
	return round.more;
}

bool compact_tick(struct fibers *fibers)
{
	uint64_t turn = atomic_load_explicit(&fibers->turn, memory_order_relaxed);
	bool more = turn != fibers->tick_turn;

	fibers->tick_turn = turn;
	fibers->tick++;
	if (fibers->config.compact_ms > 0 && compact_idle(fibers))
		more = true;
	stacks_trim(fibers->stacks);
	buffers_trim(&fibers->buffers);
	fibers->ops->trim(fibers->poller);
	fibers_publish(fibers);
	return more;
}
