/*
 * stack.h - stacks for fibers: many from one mapping (a slab), each with guard pages below it,
 * used again by the next fiber. Memory is only taken where a stack was really used.
 *
 * Not locked: of one thread (stack_is_guard() excepted, which a signal handler calls).
 */
#ifndef FIBER_STACK_H
#define FIBER_STACK_H

#include "base/base.h"

struct stacks;

/* What there is, for netd_server_stats() and the debug log. */
struct stacks_use {
	size_t made, used; /* stacks */
	size_t deepest;    /* bytes, rounded up to pages, of the stacks looked at so far */
	bool light_guards; /* false: each stack takes two mappings; Linux allows 65,530 */
};

/* size: bytes of each, rounded up to pages, the guard not counted. 0 or -ENOMEM. */
int stacks_open(struct stacks **out, size_t size);
/* All have been given back. NULL is taken. */
void stacks_close(struct stacks *stacks);

/* Returns the top (aligned to 64 bytes: nothing above it is ours), or NULL: no memory, or no more
 * mappings. */
char *stack_take(struct stacks *stacks);
void stack_give(struct stacks *stacks, char *top);

size_t stack_size(const struct stacks *stacks);

/* Give the pages of [bottom of this stack, below) back to the system: they read as zero, below is
 * rounded down to a page. */
void stack_release(struct stacks *stacks, char *top, const char *below);

/* Look how deep this stack has been used since its pages were last released (remembered in
 * deepest). */
size_t stack_measure(struct stacks *stacks, char *top);

/* Release the pages of stacks that nobody uses. */
void stacks_trim(struct stacks *stacks);

void stacks_get_use(const struct stacks *stacks, struct stacks_use *use);

/* Is this address in the guard of one of our stacks? Async-signal-safe. */
bool stack_is_guard(const struct stacks *stacks, const void *address);

#endif
