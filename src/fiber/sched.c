/*
 * sched.c - the scheduler: which fiber runs next, and what it waits for.
 *
 * Happy path: run every runnable fiber until it parks or ends, then let the poller sleep until
 * something happens; what happens makes fibers runnable. The thread's own flow of control is the
 * first fiber; the scheduler itself lives on a stack of its own. A fiber goes on where it left,
 * always on its thread. Failure modes: a poller that is broken cannot be waited for: the process
 * ends with words; a fiber that never waits keeps all others from running: watchdog.c tells.
 */
#include "fiber/sched.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET 64 /* calls in a row that need not wait, before others get a turn */
#define ALIGN 16  /* what the calling conventions ask of a stack */

#define PAGE_SHIFT 12
#define CACHE_LINE 64
#define PREFETCH_STACK 8 /* lines */
#define PREFETCH_ROOM 3
#define STAGGER_BITS 4              /* sixteen places to begin at */
#define GOLDEN UINT32_C(2654435761) /* 2^32 / golden ratio: mixes well (Knuth, 6.4) */

_Thread_local struct fibers *fibers_here;

/* --------------------------------------------------------------------------------- run queue */

static void make_runnable(struct fibers *fibers, struct fiber *fiber)
{
	fiber->state = FIBER_RUNNABLE;
	fiber->next = NULL;
	*fibers->run_last = fiber;
	fibers->run_last = &fiber->next;
}

HOT_PATH void fiber_wake(struct fibers *fibers, struct fiber *fiber, int result)
{
	if (fiber->state != FIBER_WAITING)
		return;
	fiber->result = result;
	fiber->is_idle = false;
	if (fiber != &fibers->first)
		fibers->waiting--;
	make_runnable(fibers, fiber);
}

void fiber_give_way(struct fibers *fibers)
{
	make_runnable(fibers, fibers->current);
	fiber_leave(fibers);
}

HOT_PATH int fiber_park(struct fibers *fibers, int64_t deadline)
{
	struct fiber *self = fibers->current;
	int64_t known = self->deadline; /* a place in the heap is not later than that */

	if (fibers->is_cancelled && self != &fibers->first && !self->is_deaf)
		return fiber_may_go_on(fibers);
	self->state = FIBER_WAITING;
	self->deadline = deadline;
	if (deadline != NETD_NEVER && (self->heap_at == 0 || deadline < known))
		deadlines_set(&fibers->deadlines, self);
	if (self != &fibers->first)
		fibers->waiting++;
	self->parked_tick = fibers->tick;
	fiber_leave(fibers);
	return self->result;
}

/* ------------------------------------------------------------------------------ the scheduler */

/* A control block that lasts while the fiber does. */
static void release(struct fibers *fibers, struct fiber *fiber)
{
	deadlines_remove(&fibers->deadlines, fiber);
	if (fiber->state != FIBER_NEW) /* it has no context before it is started */
		context_finish(&fiber->context);
	if (log_wants(fibers->config.log, NETD_DEBUG))
		stack_measure(fibers->stacks, fiber->context.top + fiber->stagger);
	stack_give(fibers->stacks, fiber->context.top + fiber->stagger);
	blocks_give(&fibers->blocks, fiber);
}

/* Nobody else writes it: no need to lock the bus. */
static void next_turn(struct fibers *fibers)
{
	uint64_t turn = atomic_load_explicit(&fibers->turn, memory_order_relaxed);

	atomic_store_explicit(&fibers->turn, turn + 1, memory_order_relaxed);
}

static void resume(struct fibers *fibers, struct fiber *fiber)
{
	if (fiber->image)
		compact_restore(fibers, fiber);
	fibers->current = fiber;
	fibers->budget = BUDGET;
	fiber->state = FIBER_RUNNING;
	next_turn(fibers);
	context_switch(&fibers->context, &fiber->context);
	while (fibers->aside) {
		fibers->aside(fibers->aside_arg);
		fibers->aside = NULL;
		context_switch(&fibers->context, &fiber->context);
	}
	next_turn(fibers);
	fibers->current = NULL;
	if (fiber->state == FIBER_ENDED)
		release(fibers, fiber);
}

/*
 * With thousands of fibers each one's stack has left the cache since its last turn: have the part
 * that it will touch first brought back while another one runs.
 */
static void prefetch(const struct fiber *fiber)
{
	const char *live = context_live(&fiber->context);
	const char *room = fiber->context.top - fiber->room;

	if (fiber->next)
		__builtin_prefetch(fiber->next);
	if (fiber->image || !live)
		return;
	for (int i = 0; i < PREFETCH_STACK; i++)
		__builtin_prefetch(live + i * CACHE_LINE);
	for (int i = 0; i < PREFETCH_ROOM; i++)
		__builtin_prefetch(room + i * CACHE_LINE);
}

/* Everybody who is runnable now; who becomes so meanwhile has his turn after the poller's. */
HOT_PATH static void run_all(struct fibers *fibers)
{
	struct fiber *fiber = fibers->run_first;

	if (fiber && fibers->tick_at == NETD_NEVER)
		fibers->tick_at = clock_deadline(compact_period(fibers));
	fibers->run_first = NULL;
	fibers->run_last = &fibers->run_first;
	while (fiber) {
		struct fiber *next = fiber->next;

		if (next)
			prefetch(next);
		resume(fibers, fiber);
		fiber = next;
	}
}

HOT_PATH static void wait_for_events(struct fibers *fibers)
{
	int64_t deadline = 0;
	int rc;

	if (!fibers->run_first)
		deadline = clock_earlier(deadlines_next(&fibers->deadlines), fibers->tick_at);
	rc = fibers->ops->wait(fibers->poller, deadline);
	if (rc < 0 && rc != -EINTR) {
		log_write(fibers->config.log, NETD_CRIT, NULL, "%s failed: %s: aborting",
			  fibers->ops->name, strerror(-rc));
		abort();
	}
}

HOT_PATH static void pass_deadlines(struct fibers *fibers)
{
	int64_t next = deadlines_next(&fibers->deadlines);
	struct fiber *fiber;
	int64_t now;

	if (next == NETD_NEVER && fibers->tick_at == NETD_NEVER)
		return;
	now = clock_ms();
	if (now >= next)
		while ((fiber = deadlines_pop(&fibers->deadlines, now)))
			fiber_wake(fibers, fiber, -ETIMEDOUT);
	if (now >= fibers->tick_at)
		fibers->tick_at = compact_tick(fibers) ? now + compact_period(fibers) : NETD_NEVER;
}

HOT_PATH void fibers_schedule(void *arg)
{
	struct fibers *fibers = arg;

	/* The first fiber, which nobody has resumed, was left just now. */
	fibers->current = NULL;
	next_turn(fibers);
	for (;;) {
		run_all(fibers);
		run_all(fibers); /* whom they started: what they want goes along with the rest */
		wait_for_events(fibers);
		pass_deadlines(fibers);
	}
}

/* ------------------------------------------------------------------------------ fibers */

HOT_PATH static void fired(struct io_watch *watch)
{
	fiber_wake(fibers_here, CONTAINER(watch, struct fiber, watch), 0);
}

/* Just below the room stands the address of the fiber it belongs to. */
static struct fiber *fiber_of(const void *room)
{
	struct fiber *fiber;

	memcpy(&fiber, (const char *)room - sizeof fiber, sizeof fiber);
	return fiber;
}

/* Stacks that all began at the same place of a page would share few lines of the cache. */
static uint16_t stagger_of(const char *top)
{
	uint32_t mixed = (uint32_t)((uintptr_t)top >> PAGE_SHIFT) * GOLDEN;

	return (uint16_t)((mixed >> (32 - STAGGER_BITS)) * CACHE_LINE);
}

void *fiber_new(struct fibers *fibers, size_t size)
{
	struct fiber *fiber;
	char *top, *room;

	size = (size + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
	if (size > UINT16_MAX || deadlines_reserve(&fibers->deadlines, fibers->blocks.used + 2) < 0)
		return NULL;
	top = stack_take(fibers->stacks);
	if (!top)
		return NULL;
	fiber = blocks_take(&fibers->blocks);
	if (!fiber) {
		stack_give(fibers->stacks, top);
		return NULL;
	}
	fiber->state = FIBER_NEW;
	fiber->stagger = stagger_of(top);
	top -= fiber->stagger;
	fiber->context.top = top;
	fiber->watch.fire = fired;
	fiber->room = (uint16_t)size;
	fiber->deadline = NETD_NEVER;
	room = top - fiber->room;
	memcpy(room - sizeof fiber, &fiber, sizeof fiber);
	return room;
}

void fiber_drop(struct fibers *fibers, void *room)
{
	struct fiber *fiber = fiber_of(room);

	if (fiber->state == FIBER_NEW)
		release(fibers, fiber);
}

/* What a fiber begins with; on its stack below the room, the copy of the argument above it. */
struct start {
	struct fiber *fiber;
	void (*fn)(void *arg);
};

static void begin(void *arg)
{
	struct start *start = arg;
	struct fibers *fibers = fibers_here;

	start->fn(start + 1);
	if (fibers->caught) /* netd_fatal() may have left a catch */
		*fibers->caught = (struct caught){0};
	start->fiber->state = FIBER_ENDED;
	context_exit(&start->fiber->context, &fibers->context);
}

int fiber_start(struct fibers *fibers, void *room, void (*fn)(void *arg), const void *arg,
		size_t size)
{
	struct fiber *fiber = fiber_of(room);
	char *top = fiber->context.top;
	char *bottom = top + fiber->stagger - stack_size(fibers->stacks);
	size_t need = sizeof(struct start) + ((size + ALIGN - 1) & ~(size_t)(ALIGN - 1));
	struct start *start = (struct start *)(void *)((char *)room - ALIGN - need);
	int rc;

	*start = (struct start){.fiber = fiber, .fn = fn};
	memcpy(start + 1, arg, size);
	rc = context_init(&fiber->context, bottom, (char *)start, begin, start);
	if (rc < 0)
		return rc;
	fiber->context.top = top;
	fiber->context.size = (uint32_t)(top - bottom);
	make_runnable(fibers, fiber);
	return 0;
}

static void cancel(void *arg, struct fiber *fiber)
{
	if (!fiber->is_deaf)
		fiber_wake(arg, fiber, -ECANCELED);
}

void fibers_cancel(struct fibers *fibers)
{
	fibers->is_cancelled = true;
	blocks_each(&fibers->blocks, cancel, fibers);
}

bool fibers_is_first(void)
{
	return !fibers_here || fibers_here->current == &fibers_here->first;
}

bool fibers_is_here(const struct fibers *fibers)
{
	return fibers_here == fibers;
}

void fibers_get_use(const struct fibers *fibers, struct fibers_use *use)
{
	struct stacks_use stacks;

	stacks_get_use(fibers->stacks, &stacks);
	*use = (struct fibers_use){
	    .fibers = fibers->blocks.used,
	    .waiting = fibers->waiting,
	    .compacted = fibers->compacted,
	    .bytes = fibers->blocks.used * sizeof(struct fiber) +
		     (fibers->blocks.used - fibers->compacted) * ((uint64_t)1 << PAGE_SHIFT) +
		     fibers->models.bytes + fibers->buffers.used * IO_BUFFER,
	};
}

void fibers_publish(struct fibers *fibers)
{
	struct fibers_use use;

	if (!fibers->config.publish)
		return;
	fibers_get_use(fibers, &use);
	fibers->config.publish(fibers->config.arg, &use);
}

bool fibers_have_light_guards(const struct fibers *fibers)
{
	struct stacks_use stacks;

	stacks_get_use(fibers->stacks, &stacks);
	return stacks.light_guards;
}

const char *fibers_io_name(const struct fibers *fibers)
{
	return fibers->ops->name;
}
