/*
 * engine_uring.c - sockets by io_uring: a standing receive for each into a ring of buffers, sends
 * that speak up only when they fail, registered files, one system call a turn.
 *
 * Failure modes: no buffer left: the receive is started again, the buffers have come back by then.
 */
#include "engine.h"

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ENTRIES 2048
#define BUFFERS 2048 /* a power of two */
#define BUFFER_SIZE 4096
#define SEND_BIT (1ULL << 32) /* in the user data, beside the tag */

struct engine {
	struct io_uring ring;
	struct io_uring_buf_ring *pool;
	char *memory;
};

static struct io_uring_sqe *next_sqe(struct engine *engine)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&engine->ring);

	while (!sqe) {
		io_uring_submit(&engine->ring);
		sqe = io_uring_get_sqe(&engine->ring);
	}
	return sqe;
}

static void give_back(struct engine *engine, unsigned buffer)
{
	io_uring_buf_ring_add(engine->pool, engine->memory + (size_t)buffer * BUFFER_SIZE,
			      BUFFER_SIZE, (unsigned short)buffer, io_uring_buf_ring_mask(BUFFERS),
			      0);
	io_uring_buf_ring_advance(engine->pool, 1);
}

static int make_pool(struct engine *engine)
{
	struct io_uring_buf_reg reg = {.ring_entries = BUFFERS};
	size_t size = BUFFERS * sizeof(struct io_uring_buf);
	void *memory = mmap(NULL, size + BUFFERS * BUFFER_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -ENOMEM;
	engine->pool = memory;
	engine->memory = (char *)memory + size;
	io_uring_buf_ring_init(engine->pool);
	for (unsigned i = 0; i < BUFFERS; i++)
		give_back(engine, i);
	reg.ring_addr = (uintptr_t)memory;
	return io_uring_register_buf_ring(&engine->ring, &reg, 0);
}

static int open_uring(struct engine **out, unsigned connections)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
						  IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
					 .cq_entries = 16384};
	struct engine *engine = calloc(1, sizeof *engine);
	int rc;

	if (!engine)
		return -ENOMEM;
	rc = io_uring_queue_init_params(ENTRIES, &engine->ring, &params);
	if (rc < 0)
		goto fail;
	rc = io_uring_register_files_sparse(&engine->ring, connections);
	if (rc == 0)
		rc = make_pool(engine);
	if (rc < 0) {
		io_uring_queue_exit(&engine->ring);
		goto fail;
	}
	*out = engine;
	return 0;
fail:
	free(engine);
	return rc;
}

static void start_recv(struct engine *engine, unsigned tag)
{
	struct io_uring_sqe *sqe = next_sqe(engine);

	io_uring_prep_recv_multishot(sqe, (int)tag, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT | IOSQE_FIXED_FILE;
	sqe->buf_group = 0;
	sqe->user_data = tag;
}

static int add(struct engine *engine, unsigned tag, int fd)
{
	int rc = io_uring_register_files_update(&engine->ring, tag, &fd, 1);

	if (rc < 0)
		return rc;
	start_recv(engine, tag);
	return 0;
}

static int send_all(struct engine *engine, unsigned tag, int fd, const char *data, size_t size)
{
	struct io_uring_sqe *sqe = next_sqe(engine);

	(void)fd; /* registered under its tag */
	io_uring_prep_send(sqe, (int)tag, data, size, MSG_NOSIGNAL | MSG_WAITALL);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = SEND_BIT | tag;
	return 0;
}

static void take(struct engine *engine, const struct io_uring_cqe *cqe, input_fn *fn, void *arg)
{
	unsigned tag = (unsigned)cqe->user_data;
	unsigned buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	bool again = !(cqe->user_data & SEND_BIT) && !(cqe->flags & IORING_CQE_F_MORE);

	if (cqe->flags & IORING_CQE_F_BUFFER) {
		fn(arg, tag, engine->memory + (size_t)buffer * BUFFER_SIZE, cqe->res);
		give_back(engine, buffer);
	} else if (cqe->res != -ENOBUFS) {
		fn(arg, tag, NULL, cqe->res);
		again = false;
	}
	if (again)
		start_recv(engine, tag);
}

static void turn(struct engine *engine, unsigned batch, input_fn *fn, void *arg)
{
	struct __kernel_timespec limit = {.tv_nsec = 10 * 1000 * 1000};
	struct io_uring_cqe *cqe;
	unsigned head;
	unsigned seen = 0;

	io_uring_submit_and_wait_timeout(&engine->ring, &cqe, batch, &limit, NULL);
	io_uring_for_each_cqe(&engine->ring, head, cqe)
	{
		take(engine, cqe, fn, arg);
		seen++;
	}
	io_uring_cq_advance(&engine->ring, seen);
}

const struct engine_ops engine_uring = {
    .name = "io_uring", .open = open_uring, .add = add, .send = send_all, .turn = turn};
