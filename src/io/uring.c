/*
 * uring.c - the io_uring poller: start here, with uring.h.
 *
 * Happy path: whatever the handlers asked for lies in the submission queue when wait() comes; one
 * system call gives it to the kernel and brings what has happened since, each completion goes to
 * its slot, watches become due and are fired. Failure modes: this kernel or a sandbox has no ring
 * for us: open() says so. A completion that fits no request is counted and dropped.
 */
#include "io/uring.h"

#include <errno.h>
#include <stdlib.h>

/* Requests of one batch, and completions that may wait to be seen; both may be exceeded, at the
 * price of a system call or of memory of the kernel's. */
#define SUBMISSIONS 256
#define COMPLETIONS 4096
#define CLOSE_MS 1000 /* for requests to end when the poller is closed */

static const uint8_t operations[] = {
    IORING_OP_RECV, IORING_OP_SEND, IORING_OP_POLL_ADD, IORING_OP_TIMEOUT, IORING_OP_ASYNC_CANCEL,
};

int uring_open(struct poller **out, struct buffers *buffers, const struct ring_config *config,
	       struct err *err)
{
	struct uring *uring = calloc(1, sizeof *uring);
	int rc;

	if (!uring)
		return ring_refused(err, -ENOMEM);
	uring->buffers = buffers;
	rc = ring_open(&uring->ring, config, err);
	if (rc < 0)
		goto fail;
	rc = uring_buffers_open(&uring->received, &uring->ring);
	if (rc < 0) {
		rc = ring_refused(err, rc);
		goto fail_ring;
	}
	rc = ring_start(&uring->ring, operations, ARRAY_LEN(operations), err);
	if (rc < 0)
		goto fail_ring;
	*out = (struct poller *)(void *)uring;
	return 0;

fail_ring:
	ring_close(&uring->ring);
	uring_buffers_close(&uring->received);
fail:
	free(uring);
	return rc;
}

static int open_usual(struct poller **out, struct buffers *buffers, struct err *err)
{
	static const struct ring_config config = {
	    .sq_entries = SUBMISSIONS,
	    .cq_entries = COMPLETIONS,
	};

	return uring_open(out, buffers, &config, err);
}

static void cancel_everything(struct uring *uring)
{
	struct io_uring_sqe *sqe = ring_sqe(&uring->ring);

	sqe->opcode = IORING_OP_ASYNC_CANCEL;
	sqe->fd = -1;
	sqe->cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
}

static void uring_close(struct poller *poller)
{
	struct uring *uring = uring_of(poller);
	int64_t deadline;
	int rc = 0;

	if (!uring)
		return;
	deadline = clock_deadline(CLOSE_MS);
	if (uring->under_way)
		cancel_everything(uring);
	while (uring->under_way && (rc == 0 || rc == -EINTR) && clock_ms() < deadline) {
		rc = ring_enter(&uring->ring, deadline);
		uring_reap(uring);
	}
	ring_close(&uring->ring);
	uring_buffers_close(&uring->received);
	buffers_finish(&uring->small);
	free(uring->slots);
	free(uring);
}

/* -------------------------------------------------------------------------------- completions */

/* The slot and the operation that a completion names; NULL: none that is under way. */
HOT_PATH static struct uring_slot *find_slot(const struct uring *uring, uint64_t name, unsigned *op)
{
	uint64_t index = name >> 32;
	struct uring_slot *slot;

	*op = name & 0xffff;
	if (index == 0 || index >= uring->slots_made || *op >= URING_OPS)
		return NULL;
	slot = &uring->slots[index];
	if (slot->generation != (uint16_t)(name >> 16) || !(slot->flags & URING_BIT(*op)))
		return NULL;
	return slot;
}

static void drop_stray(struct uring *uring, const struct io_uring_cqe *cqe)
{
	unsigned number = cqe->flags >> IORING_CQE_BUFFER_SHIFT;

	if (cqe->user_data == 0)
		return; /* a request to cancel what had ended by itself */
	uring->strays++;
	if (cqe->flags & IORING_CQE_F_BUFFER &&
	    uring_buffers_filled(&uring->received, number, 0) != URING_NO_BUFFER)
		uring_buffers_put(&uring->received, (uint16_t)number);
}

HOT_PATH void uring_complete(struct uring *uring, const struct io_uring_cqe *cqe)
{
	unsigned op;
	struct uring_slot *slot = find_slot(uring, cqe->user_data, &op);

	if (!slot) {
		drop_stray(uring, cqe);
		return;
	}
	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		slot->flags &= (uint16_t)~URING_BIT(op);
		uring->under_way--;
	}
	if (op == URING_RECEIVE)
		uring_receive_done(uring, slot, cqe->res, cqe->flags);
	else if (op == URING_SEND)
		uring_send_done(uring, slot, cqe->res);
	else
		uring_poll_done(uring, slot, op, cqe->res);
	if (slot->flags & URING_CLOSING)
		uring_may_close(uring, slot);
}

HOT_PATH void uring_reap(struct uring *uring)
{
	const struct io_uring_cqe *cqe;

	while ((cqe = ring_cqe(&uring->ring))) {
		uring_complete(uring, cqe);
		ring_seen(&uring->ring);
	}
}

HOT_PATH static int uring_wait(struct poller *poller, int64_t deadline)
{
	struct uring *uring = uring_of(poller);
	int rc;

	uring->starved = 0;
	uring_thin_crowd(uring);
	rc = ring_enter(&uring->ring, uring->due.next ? 0 : deadline);
	uring_reap(uring);
	watch_fire_due(&uring->due);
	return rc == -ETIME ? 0 : rc;
}

static void uring_trim(struct poller *poller)
{
	struct uring *uring = uring_of(poller);

	buffers_trim(&uring->small);
	if (uring->ring.is_deferred && ring_is_drained(&uring->ring))
		uring_buffers_trim(&uring->received);
}

const struct poller_ops poller_uring = {
    .name = "io_uring",
    .open = open_usual,
    .close = uring_close,
    .wait = uring_wait,
    .arm = uring_arm,
    .disarm = uring_disarm,
    .recv = uring_recv,
    .lend = uring_lend,
    .give_back = uring_give_back,
    .send = uring_send,
    .post = uring_post,
    .await = uring_await,
    .expose = uring_expose,
    .close_handle = uring_close_handle,
    .trim = uring_trim,
};
