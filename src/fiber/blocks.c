/* blocks.c - where control blocks of fibers live. Failure mode: no memory for another chunk. */
#include "fiber/sched.h"

#include <stdlib.h>
#include <string.h>

static int grow(struct blocks *blocks)
{
	struct block_chunk *chunk = malloc(sizeof *chunk);

	if (!chunk)
		return -1;
	chunk->next = blocks->chunks;
	blocks->chunks = chunk;
	for (size_t i = BLOCKS_PER_CHUNK; i-- > 0;) {
		chunk->fibers[i].state = FIBER_FREE;
		chunk->fibers[i].next = blocks->free;
		blocks->free = &chunk->fibers[i];
	}
	return 0;
}

struct fiber *blocks_take(struct blocks *blocks)
{
	struct fiber *fiber;

	if (!blocks->free && grow(blocks) < 0)
		return NULL;
	fiber = blocks->free;
	blocks->free = fiber->next;
	blocks->used++;
	memset(fiber, 0, sizeof *fiber);
	return fiber;
}

void blocks_give(struct blocks *blocks, struct fiber *fiber)
{
	fiber->state = FIBER_FREE;
	fiber->next = blocks->free;
	blocks->free = fiber;
	blocks->used--;
}

void blocks_each(struct blocks *blocks, void (*fn)(void *arg, struct fiber *fiber), void *arg)
{
	for (struct block_chunk *chunk = blocks->chunks; chunk; chunk = chunk->next)
		for (size_t i = 0; i < BLOCKS_PER_CHUNK; i++)
			if (chunk->fibers[i].state != FIBER_FREE)
				fn(arg, &chunk->fibers[i]);
}

void blocks_finish(struct blocks *blocks)
{
	while (blocks->chunks) {
		struct block_chunk *chunk = blocks->chunks;

		blocks->chunks = chunk->next;
		free(chunk);
	}
}
