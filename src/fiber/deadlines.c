/*
 * deadlines.c - who is woken when, in a binary heap with lazy keys: an item's time is never later
 * than the deadline of its fiber, but may be earlier.
 *
 * Happy path: a fiber whose every request moves its deadline further away costs a comparison: the
 * item stays where it is. Only when its old time has come is it looked at, and put down to where it
 * belongs. Failure modes: none but in deadlines_reserve(), which is asked when a fiber is made:
 * there is room for all of them, so that a wait never fails for want of memory.
 */
#include "fiber/sched.h"

#include <errno.h>
#include <stdlib.h>

void deadlines_finish(struct deadlines *deadlines)
{
	free(deadlines->items);
	*deadlines = (struct deadlines){0};
}

int deadlines_reserve(struct deadlines *deadlines, uint32_t count)
{
	uint32_t size = deadlines->size > count / 2 ? deadlines->size * 2 : count;
	struct deadline *items;

	if (count <= deadlines->size)
		return 0;
	/* One more: the first place is not used. */
	items = realloc(deadlines->items, ((size_t)size + 1) * sizeof *items);
	if (!items)
		return -ENOMEM;
	deadlines->items = items;
	deadlines->size = size;
	return 0;
}

static void put(struct deadlines *deadlines, uint32_t at, struct deadline item)
{
	deadlines->items[at] = item;
	item.fiber->heap_at = at;
}

/* Put an item at a free place, or above it. */
static void put_up(struct deadlines *deadlines, uint32_t at, struct deadline item)
{
	while (at > 1 && deadlines->items[at / 2].at > item.at) {
		put(deadlines, at, deadlines->items[at / 2]);
		at /= 2;
	}
	put(deadlines, at, item);
}

/* Put an item at a free place, or below it. */
static void put_down(struct deadlines *deadlines, uint32_t at, struct deadline item)
{
	const struct deadline *items = deadlines->items;

	while (at <= deadlines->count / 2) {
		uint32_t child = 2 * at;

		if (child < deadlines->count && items[child + 1].at < items[child].at)
			child++;
		if (items[child].at >= item.at)
			break;
		put(deadlines, at, items[child]);
		at = child;
	}
	put(deadlines, at, item);
}

void deadlines_set(struct deadlines *deadlines, struct fiber *fiber)
{
	struct deadline item = {.at = fiber->deadline, .fiber = fiber};

	if (fiber->heap_at == 0)
		put_up(deadlines, ++deadlines->count, item);
	else if (item.at < deadlines->items[fiber->heap_at].at)
		put_up(deadlines, fiber->heap_at, item);
}

void deadlines_remove(struct deadlines *deadlines, struct fiber *fiber)
{
	uint32_t at = fiber->heap_at;
	struct deadline last;

	if (at == 0)
		return;
	fiber->heap_at = 0;
	last = deadlines->items[deadlines->count--];
	if (last.fiber == fiber)
		return;
	if (at > 1 && last.at < deadlines->items[at / 2].at)
		put_up(deadlines, at, last);
	else
		put_down(deadlines, at, last);
}

HOT_PATH int64_t deadlines_next(const struct deadlines *deadlines)
{
	return deadlines->count > 0 ? deadlines->items[1].at : NETD_NEVER;
}

struct fiber *deadlines_pop(struct deadlines *deadlines, int64_t now)
{
	while (deadlines->count > 0 && deadlines->items[1].at <= now) {
		struct deadline item = deadlines->items[1];
		struct fiber *fiber = item.fiber;
		bool waits = fiber->state == FIBER_WAITING && fiber->deadline != NETD_NEVER;

		if (waits && fiber->deadline > now) {
			item.at = fiber->deadline;
			put_down(deadlines, 1, item);
			continue;
		}
		deadlines_remove(deadlines, fiber);
		if (waits)
			return fiber;
	}
	return NULL;
}
