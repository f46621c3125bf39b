/*
 * buffers.h - buffers of one size that whoever waits gives back: a thread has as many as are in use
 * at a time, not one for each connection. Not locked: of one thread.
 */
#ifndef IO_BUFFERS_H
#define IO_BUFFERS_H

#include "io/io.h"

struct buffers {
	size_t size;   /* bytes of each; 0: IO_BUFFER */
	void *free;    /* each free one begins with a pointer to the next */
	size_t unused; /* of them */
	size_t used;   /* handed out */
};

/* All have come back. */
void buffers_finish(struct buffers *buffers);

/* NULL: no memory. */
char *buffers_take(struct buffers *buffers);
void buffers_give(struct buffers *buffers, char *buffer);

/* Free all but a few of those that nobody uses. */
void buffers_trim(struct buffers *buffers);

#endif
