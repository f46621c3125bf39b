/*
 * ring.h - one io_uring of this thread: two queues shared with the kernel, and the three system
 * calls. Knows nothing of connections.
 *
 *   ring_open -> ring_register ... -> ring_start -> (ring_sqe ... ring_enter, ring_cqe ...)*
 */
#ifndef IO_RING_H
#define IO_RING_H

#include "base/base.h"

#include <linux/io_uring.h>

struct ring_config {
	unsigned sq_entries, cq_entries; /* powers of two */
	bool is_plain;                   /* as if the kernel had no DEFER_TASKRUN */
};

struct ring {
	int fd;
	bool is_deferred;  /* completions come in ring_enter() only */
	bool is_simulated; /* by valgrind */
	int broken;        /* -errno: the kernel takes no requests any more */
	unsigned tail;     /* of the requests written so far */
	unsigned sq_entries, sq_mask, cq_mask;
	unsigned *sq_head, *sq_tail, *sq_flags;
	unsigned *cq_head, *cq_tail;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	void *queues, *requests; /* mappings */
	size_t queues_size, requests_size;
	struct io_uring_sqe scratch; /* where requests go when the ring is broken */
};

/* The calls need not be matched by ring_close() when they fail. 0, or -errno with words. */
int ring_open(struct ring *ring, const struct ring_config *config, struct err *err);
void ring_close(struct ring *ring);

/* What it means that one of these system calls failed so. Returns the code, or one that says it
 * better. */
int ring_refused(struct err *err, int code);

/* What has to be registered before the start: nothing can be afterwards. 0 or -errno. */
int ring_register(const struct ring *ring, unsigned what, void *arg, unsigned count);

/* Let it do the listed operations and nothing else, ever; let it begin. 0, or -errno with words. */
int ring_start(struct ring *ring, const uint8_t *operations, size_t count, struct err *err);

/* Room for one more request, zeroed, which goes to the kernel with the next ring_enter(). */
struct io_uring_sqe *ring_sqe(struct ring *ring);

/*
 * Submit, and wait until there is a completion or the deadline has passed. Returns 0; -ETIME, or
 * -EINTR; another -errno: it is broken.
 */
int ring_enter(struct ring *ring, int64_t deadline);

/* The oldest completion; NULL: none. Valid until ring_seen(). */
static inline const struct io_uring_cqe *ring_cqe(const struct ring *ring)
{
	unsigned head = *ring->cq_head;

	if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
		return NULL;
	return &ring->cqes[head & ring->cq_mask];
}

static inline void ring_seen(struct ring *ring)
{
	__atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
}

/* Is nothing on its way to ring_cqe() that is not there yet, but for what is still under way? */
static inline bool ring_is_drained(const struct ring *ring)
{
	unsigned flags = __atomic_load_n(ring->sq_flags, __ATOMIC_RELAXED);

	return !ring_cqe(ring) && !(flags & IORING_SQ_CQ_OVERFLOW);
}

#endif
