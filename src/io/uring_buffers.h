/*
 * uring_buffers.h - the buffers that the kernel receives into: it takes the next one of those
 * provided when there is input, so that a connection that waits needs none.
 */
#ifndef IO_URING_BUFFERS_H
#define IO_URING_BUFFERS_H

#include "io/ring.h"

#define URING_BUFFER 2048      /* bytes, and a spare one behind them */
#define URING_BUFFERS_MAX 1024 /* a power of two */
#define URING_BUFFERS_MIN 16
#define URING_NO_BUFFER UINT16_MAX

enum uring_buffer_state {
	URING_UNUSED,   /* nobody's */
	URING_PROVIDED, /* the kernel's */
	URING_FILLED,   /* in the queue of a connection */
	URING_LENT,
};

struct uring_buffer {
	uint16_t next; /* in a queue of filled ones, where the last one points to the first; or
			  among the unused */
	uint16_t size, offset; /* of the bytes not read yet */
	uint8_t state;         /* enum uring_buffer_state */
};

struct uring_buffers {
	struct io_uring_buf_ring *ring; /* what is provided; one mapping with memory */
	char *memory;
	uint16_t tail;     /* of the ring */
	uint16_t unused;   /* the first of them */
	unsigned provided; /* still with the kernel, as far as we have heard */
	unsigned used;     /* filled or lent */
	unsigned peak;     /* most of them since the last trim */
	unsigned goal;     /* provided and used together */
	struct uring_buffer each[URING_BUFFERS_MAX];
};

/* Returns 0 or -errno. */
int uring_buffers_open(struct uring_buffers *buffers, const struct ring *ring);
/* The ring is closed already. */
void uring_buffers_close(struct uring_buffers *buffers);

/* The kernel has filled this one, so it says. Returns the number, or URING_NO_BUFFER. */
uint16_t uring_buffers_filled(struct uring_buffers *buffers, unsigned number, unsigned size);

/* Nobody needs a filled or lent one any more. */
void uring_buffers_put(struct uring_buffers *buffers, uint16_t number);

/* Provide more of them. False: there are no more. */
bool uring_buffers_grow(struct uring_buffers *buffers);

/* Let go of the memory of those that are neither filled nor lent; fewer from now on, if many were
 * not needed. The kernel must not be filling any: see ring_is_drained(). */
void uring_buffers_trim(struct uring_buffers *buffers);

/* The bytes that were not read yet. */
char *uring_buffers_data(const struct uring_buffers *buffers, uint16_t number);

/* Whose memory this is; URING_NO_BUFFER: not one of ours. */
uint16_t uring_buffers_find(const struct uring_buffers *buffers, const char *data);

#endif
