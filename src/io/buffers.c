/* buffers.c - a free list. The last one given back is the first to go out again: it is in the
 * cache. */
#include "io/buffers.h"

#include <stdlib.h>
#include <string.h>

/* So that the buffers do not all begin in the same lines of the cache. */
#define STAGGER 192
#define KEEP_MOST 1024 /* unused ones, before they are freed at once */
#define KEEP_IDLE 16   /* after a trim */

static void free_down_to(struct buffers *buffers, size_t keep)
{
	while (buffers->unused > keep) {
		void *buffer = buffers->free;

		memcpy(&buffers->free, buffer, sizeof buffers->free);
		buffers->unused--;
		free(buffer);
	}
}

HOT_PATH char *buffers_take(struct buffers *buffers)
{
	char *buffer = buffers->free;

	if (buffer) {
		memcpy(&buffers->free, buffer, sizeof buffers->free);
		buffers->unused--;
	} else {
		buffer = malloc(buffers->size ? buffers->size : IO_BUFFER + STAGGER);
	}
	if (buffer)
		buffers->used++;
	return buffer;
}

HOT_PATH void buffers_give(struct buffers *buffers, char *buffer)
{
	buffers->used--;
	memcpy(buffer, &buffers->free, sizeof buffers->free);
	buffers->free = buffer;
	buffers->unused++;
	if (buffers->unused > KEEP_MOST)
		free_down_to(buffers, KEEP_MOST);
}

void buffers_trim(struct buffers *buffers)
{
	free_down_to(buffers, KEEP_IDLE);
}

void buffers_finish(struct buffers *buffers)
{
	free_down_to(buffers, 0);
}
