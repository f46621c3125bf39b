/*
 * uring_buffers.c - a ring of provided buffers, used in turn.
 *
 * Happy path: filled -> (queue) -> lent -> put, which provides it again. Few are provided at first:
 * a server in which little goes on at a time touches few pages. Failure modes: none is left and
 * there are no more: the caller receives by other means.
 */
#include "io/uring_buffers.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* More than the bytes: room for the spare one, and so that the buffers do not all begin in the same
 * lines of the cache. */
#define STRIDE (URING_BUFFER + 64)
#define RING_SIZE (URING_BUFFERS_MAX * sizeof(struct io_uring_buf))
#define MAP_SIZE (RING_SIZE + (size_t)URING_BUFFERS_MAX * STRIDE)
#define RING_MASK (URING_BUFFERS_MAX - 1)

static char *start_of(const struct uring_buffers *buffers, unsigned number)
{
	return buffers->memory + (size_t)number * STRIDE;
}

static void provide(struct uring_buffers *buffers, uint16_t number)
{
	struct io_uring_buf *entry = &buffers->ring->bufs[buffers->tail & RING_MASK];

	/* Not all of it: the ring's tail lies in the first entry. */
	entry->addr = (uintptr_t)start_of(buffers, number);
	entry->len = URING_BUFFER;
	entry->bid = number;
	buffers->each[number].state = URING_PROVIDED;
	buffers->provided++;
	__atomic_store_n(&buffers->ring->tail, ++buffers->tail, __ATOMIC_RELEASE);
}

static void put_aside(struct uring_buffers *buffers, uint16_t number)
{
	buffers->each[number].state = URING_UNUSED;
	buffers->each[number].next = buffers->unused;
	buffers->unused = number;
}

static void provide_up_to(struct uring_buffers *buffers, unsigned goal)
{
	buffers->goal = goal;
	while (buffers->provided + buffers->used < goal) {
		uint16_t number = buffers->unused;

		buffers->unused = buffers->each[number].next;
		provide(buffers, number);
	}
}

int uring_buffers_open(struct uring_buffers *buffers, const struct ring *ring)
{
	struct io_uring_buf_reg reg = {.ring_entries = URING_BUFFERS_MAX};
	char *memory = mmap(NULL, MAP_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int rc;

	if (memory == MAP_FAILED)
		return -errno;
	reg.ring_addr = (uintptr_t)memory;
	rc = ring_register(ring, IORING_REGISTER_PBUF_RING, &reg, 1);
	if (rc < 0) {
		munmap(memory, MAP_SIZE);
		return rc;
	}
	*buffers = (struct uring_buffers){
	    .ring = (void *)memory,
	    .memory = memory + RING_SIZE,
	    .unused = URING_NO_BUFFER,
	};
	for (uint16_t i = URING_BUFFERS_MAX; i > 0; i--)
		put_aside(buffers, i - 1);
	provide_up_to(buffers, URING_BUFFERS_MIN);
	return 0;
}

void uring_buffers_close(struct uring_buffers *buffers)
{
	if (buffers->ring)
		munmap(buffers->ring, MAP_SIZE);
	buffers->ring = NULL;
}

HOT_PATH uint16_t uring_buffers_filled(struct uring_buffers *buffers, unsigned number,
				       unsigned size)
{
	struct uring_buffer *buffer;

	if (number >= URING_BUFFERS_MAX || size > URING_BUFFER)
		return URING_NO_BUFFER;
	buffer = &buffers->each[number];
	if (buffer->state != URING_PROVIDED)
		return URING_NO_BUFFER;
	buffer->state = URING_FILLED;
	buffer->offset = 0;
	buffer->size = (uint16_t)size;
	buffers->provided--;
	if (++buffers->used > buffers->peak)
		buffers->peak = buffers->used;
	return (uint16_t)number;
}

HOT_PATH void uring_buffers_put(struct uring_buffers *buffers, uint16_t number)
{
	buffers->used--;
	if (buffers->provided + buffers->used < buffers->goal)
		provide(buffers, number);
	else
		put_aside(buffers, number);
}

bool uring_buffers_grow(struct uring_buffers *buffers)
{
	if (buffers->goal == URING_BUFFERS_MAX)
		return false;
	provide_up_to(buffers, buffers->goal * 2);
	return true;
}

/* Whole pages of the buffers [first, end). */
static void release(const struct uring_buffers *buffers, unsigned first, unsigned end)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)start_of(buffers, first) + page - 1) & ~(page - 1);
	uintptr_t to = (uintptr_t)start_of(buffers, end) & ~(page - 1);

	if (from < to)
		madvise(start_of(buffers, first) + (from - (uintptr_t)start_of(buffers, first)),
			to - from, MADV_DONTNEED);
}

static bool is_garbage(const struct uring_buffers *buffers, unsigned number)
{
	return buffers->each[number].state <= URING_PROVIDED;
}

void uring_buffers_trim(struct uring_buffers *buffers)
{
	unsigned goal = URING_BUFFERS_MIN, first = 0;

	if (buffers->peak == 0)
		return; /* nothing was received since */
	while (goal < buffers->goal && goal < 2 * buffers->peak)
		goal *= 2;
	buffers->goal = goal;
	buffers->peak = buffers->used;
	while (first < URING_BUFFERS_MAX) {
		unsigned end = first;

		while (end < URING_BUFFERS_MAX && is_garbage(buffers, end))
			end++;
		if (end > first)
			release(buffers, first, end);
		first = end + 1;
	}
}

HOT_PATH char *uring_buffers_data(const struct uring_buffers *buffers, uint16_t number)
{
	return start_of(buffers, number) + buffers->each[number].offset;
}

HOT_PATH uint16_t uring_buffers_find(const struct uring_buffers *buffers, const char *data)
{
	uintptr_t distance = (uintptr_t)data - (uintptr_t)buffers->memory;

	if (distance >= (uintptr_t)URING_BUFFERS_MAX * STRIDE)
		return URING_NO_BUFFER;
	return (uint16_t)(distance / STRIDE);
}
