/*
 * stack.c - stacks by the slab: one mapping holds many, and below each lies its guard.
 *
 * Happy path: stack_take() pops the stack that was given back last, whose memory is still warm;
 * when there is none, one more slab is mapped, which costs address space only. A guard is wider
 * than a page: a function whose big array is written from its lower end would step over a narrow
 * one into the stack below, where another connection lives. Failure modes: no memory, no address
 * space, no more mappings: NULL, and nothing has changed. A kernel without light guards gets the
 * other kind from then on: two mappings per stack, of which Linux allows a process 65,530 unless
 * told otherwise.
 */
#include "fiber/stack.h"
#include "fiber/sanitizer.h"
#include "os/os.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define SLAB_STACKS 64            /* at most; one system call for each, when the slab is made */
#define SLAB_BYTES (64UL << 20)   /* at most, unless one stack alone is larger */
#define GUARD_BYTES (64UL << 10)  /* more than the arrays that functions usually have */
#define STACK_MOST (SIZE_MAX / 4) /* so that no sum overflows */

struct slab {
	struct slab *next;
	char *memory;
	size_t size; /* bytes */
};

struct stacks {
	_Atomic(struct slab *) slabs; /* grows at the head, so that a signal handler may read it */
	char **idle;                  /* tops of the stacks nobody uses; there is room for all */
	size_t idle_count;
	size_t clean; /* so many of them, from the start, hold no memory */
	size_t size;  /* bytes of a stack */
	size_t guard; /* bytes below it */
	size_t page;
	struct stacks_use use; /* but for used */
};

static size_t round_up(size_t size, size_t page)
{
	return (size + page - 1) / page * page;
}

static int guard_one(struct stacks *stacks, char *memory)
{
	if (stacks->use.light_guards) {
		int rc = os_guard_light(memory, stacks->guard);

		if (rc != -ENOSYS)
			return rc;
		stacks->use.light_guards = false;
	}
	return os_guard(memory, stacks->guard);
}

/* Map a slab of count stacks, guards in place. NULL: none of it is there. */
static struct slab *slab_new(struct stacks *stacks, size_t count)
{
	size_t stride = stacks->guard + stacks->size;
	struct slab *slab = malloc(sizeof *slab);

	if (!slab)
		return NULL;
	slab->size = count * stride;
	slab->memory = os_stack_memory(slab->size);
	if (!slab->memory)
		goto no_memory;
	for (size_t i = 0; i < count; i++)
		if (guard_one(stacks, slab->memory + i * stride) < 0)
			goto no_guard;
	return slab;

no_guard:
	/* All of it, not the part without guards: the rest of the process needs mappings, too. */
	os_stack_memory_free(slab->memory, slab->size);
no_memory:
	free(slab);
	return NULL;
}

/* Make more stacks, when all are in use. */
static int grow(struct stacks *stacks)
{
	size_t stride = stacks->guard + stacks->size;
	size_t count = SLAB_BYTES / stride;
	struct slab *slab;
	char **idle;

	count = count > SLAB_STACKS ? SLAB_STACKS : count ? count : 1;
	idle = realloc(stacks->idle, (stacks->use.made + count) * sizeof *idle);
	if (!idle)
		return -ENOMEM;
	stacks->idle = idle;
	slab = slab_new(stacks, count);
	if (!slab)
		return -ENOMEM;
	slab->next = atomic_load_explicit(&stacks->slabs, memory_order_relaxed);
	atomic_store_explicit(&stacks->slabs, slab, memory_order_release);
	for (size_t i = 0; i < count; i++)
		idle[i] = slab->memory + (i + 1) * stride;
	stacks->idle_count = stacks->clean = count;
	stacks->use.made += count;
	return 0;
}

int stacks_open(struct stacks **out, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct stacks *stacks;

	if (size > STACK_MOST)
		return -ENOMEM;
	stacks = calloc(1, sizeof *stacks);
	if (!stacks)
		return -ENOMEM;
	stacks->page = page;
	stacks->size = round_up(size ? size : 1, page);
	stacks->guard = round_up(GUARD_BYTES, page);
	stacks->use.light_guards = true; /* until they are refused */
	if (grow(stacks) < 0) {
		stacks_close(stacks);
		return -ENOMEM;
	}
	*out = stacks;
	return 0;
}

void stacks_close(struct stacks *stacks)
{
	struct slab *slab, *next;

	if (!stacks)
		return;
	for (slab = atomic_load(&stacks->slabs); slab; slab = next) {
		next = slab->next;
		sanitizer_forget(slab->memory, slab->size);
		os_stack_memory_free(slab->memory, slab->size);
		free(slab);
	}
	free(stacks->idle);
	free(stacks);
}

char *stack_take(struct stacks *stacks)
{
	if (stacks->idle_count == 0 && grow(stacks) < 0)
		return NULL;
	stacks->idle_count--;
	if (stacks->clean > stacks->idle_count)
		stacks->clean = stacks->idle_count;
	return stacks->idle[stacks->idle_count];
}

void stack_give(struct stacks *stacks, char *top)
{
	sanitizer_forget(top - stacks->size, stacks->size);
	stacks->idle[stacks->idle_count++] = top;
}

size_t stack_size(const struct stacks *stacks)
{
	return stacks->size;
}

void stack_release(struct stacks *stacks, char *top, const char *below)
{
	char *bottom = top - stacks->size;
	size_t size = (size_t)(below - bottom) / stacks->page * stacks->page;

	/* Refused: the memory stays in use, which is all that is lost. */
	if (size)
		os_memory_release(bottom, size);
}

typedef size_t __attribute__((may_alias)) word;

/* Bytes from the first that is not zero to the end. It looks at what others have on their stack. */
SANITIZER_BLIND static size_t written(const char *bottom, size_t size)
{
	const word *words = (const void *)bottom;
	size_t i = 0;

	sanitizer_mute(true);
	while (i < size / sizeof *words && words[i] == 0)
		i++;
	sanitizer_mute(false);
	return size - i * sizeof *words;
}

size_t stack_measure(struct stacks *stacks, char *top)
{
	char *bottom = top - stacks->size;
	ssize_t told = os_memory_depth(bottom, stacks->size);
	size_t depth =
	    told < 0 ? round_up(written(bottom, stacks->size), stacks->page) : (size_t)told;

	if (depth > stacks->use.deepest)
		stacks->use.deepest = depth;
	return depth;
}

void stacks_trim(struct stacks *stacks)
{
	for (; stacks->clean < stacks->idle_count; stacks->clean++)
		stack_release(stacks, stacks->idle[stacks->clean], stacks->idle[stacks->clean]);
}

void stacks_get_use(const struct stacks *stacks, struct stacks_use *use)
{
	*use = stacks->use;
	use->used = use->made - stacks->idle_count;
}

bool stack_is_guard(const struct stacks *stacks, const void *address)
{
	size_t stride = stacks->guard + stacks->size;
	const struct slab *slab = atomic_load_explicit(&stacks->slabs, memory_order_acquire);

	for (; slab; slab = slab->next) {
		size_t offset = (uintptr_t)address - (uintptr_t)slab->memory;

		if (offset < slab->size)
			return offset % stride < stacks->guard;
	}
	return false;
}
