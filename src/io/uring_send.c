/*
 * uring_send.c - writing to a connection, waiting for it, closing it.
 *
 * Happy path: post() leaves a buffer that goes out with the next wait(), together with those of all
 * other connections; close_handle() finds nothing under way and closes. Failure modes: a send that
 * fails is remembered for the next one; a descriptor that a request still names is closed when the
 * last of them has ended, and they are asked to. What was posted gets one chance to be sent before
 * that: whoever cares, waits for it first. Without memory nothing is posted, only sent.
 */
#include "io/uring.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of up to this size a post is copied: its large buffer is free at once, and the next handler, who
 * gets the same one, finds it in the cache. */
#define SMALL 512

static struct buffers *pool_of(struct uring *uring, size_t size)
{
	return size <= SMALL ? &uring->small : uring->buffers;
}

/* The buffer is ours after this. No memory for a copy: -ENOSYS, who sends by himself needs none. */
static int take_over(struct uring *uring, struct uring_slot *slot, char *buffer, size_t size)
{
	char *copy = buffer;

	if (size <= SMALL) {
		uring->small.size = SMALL;
		copy = buffers_take(&uring->small);
		if (!copy)
			return -ENOSYS;
		memcpy(copy, buffer, size);
		buffers_give(uring->buffers, buffer);
	}
	slot->post = copy;
	slot->post_size = (uint16_t)size;
	slot->post_done = 0;
	return 0;
}

static void submit_post(struct uring *uring, struct uring_slot *slot, uint16_t ioprio)
{
	struct io_uring_sqe *sqe = uring_request(uring, slot, URING_SEND, IORING_OP_SEND);

	sqe->addr = (uintptr_t)(slot->post + slot->post_done);
	sqe->len = (uint32_t)(slot->post_size - slot->post_done);
	sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
	sqe->ioprio = ioprio;
}

HOT_PATH void uring_send_done(struct uring *uring, struct uring_slot *slot, int result)
{
	bool again = result == -EAGAIN || result == -EINTR;

	if (result > 0)
		slot->post_done = (uint16_t)(slot->post_done + result);
	if (slot->post_done < slot->post_size && (result > 0 || again) &&
	    !(slot->flags & URING_CLOSING)) {
		submit_post(uring, slot, again ? IORING_RECVSEND_POLL_FIRST : 0);
		return;
	}
	if (slot->post_done < slot->post_size)
		slot->out_error = result < 0 ? (uint16_t)-result : EPIPE;
	buffers_give(pool_of(uring, slot->post_size), slot->post);
	slot->post = NULL;
	uring_due(uring, &slot->out, slot->out_error ? NETD_FAILED : NETD_OUT);
	if (slot->out_error)
		uring_due(uring, &slot->in, NETD_FAILED);
}

/* Whether a send may begin. 0, -EAGAIN or the failure of an earlier one. */
static int may_send(const struct uring_slot *slot)
{
	if (slot->out_error)
		return -(int)slot->out_error;
	return slot->flags & URING_BIT(URING_SEND) ? -EAGAIN : 0;
}

HOT_PATH ssize_t uring_send(struct poller *poller, struct io_handle *handle,
			    const struct iovec *iov, int count)
{
	struct uring *uring = uring_of(poller);
	int rc = handle->slot ? may_send(&uring->slots[handle->slot]) : 0;

	if (rc < 0 || count == 0)
		return rc;
	return direct_send(handle->fd, iov, count);
}

HOT_PATH int uring_post(struct poller *poller, struct io_handle *handle, char *buffer, size_t size)
{
	struct uring *uring = uring_of(poller);
	struct uring_slot *slot = uring_conn(uring, handle);
	int rc = slot ? may_send(slot) : -ENOSYS;

	if (rc == 0)
		rc = take_over(uring, slot, buffer, size);
	if (rc == 0)
		submit_post(uring, slot, 0);
	return rc;
}

/* ----------------------------------------------------------------------------------- waiting */

static void await_out(struct uring *uring, struct uring_slot *slot, struct io_watch *watch)
{
	const unsigned will_fire = URING_BIT(URING_SEND) | URING_BIT(URING_POLL_OUT);

	slot->out = watch;
	if (slot->out_error)
		uring_due(uring, &slot->out, NETD_FAILED);
	else if (!(slot->flags & will_fire))
		uring_poll_fd(uring, slot, URING_POLL_OUT, NETD_OUT);
}

static void await_in(struct uring *uring, struct uring_slot *slot, struct io_watch *watch)
{
	slot->in = watch;
	if (uring_is_readable(slot))
		uring_due(uring, &slot->in, NETD_IN);
	else
		uring_start_reading(uring, slot);
}

HOT_PATH int uring_await(struct poller *poller, struct io_handle *handle, struct io_watch *watch)
{
	struct uring *uring = uring_of(poller);
	struct uring_slot *slot = uring_conn(uring, handle);

	if (!slot)
		return -ENOMEM;
	watch->slot = handle->slot;
	watch->link = NULL;
	watch->revents = 0;
	watch->armed = true;
	if (watch->events & NETD_OUT)
		await_out(uring, slot, watch);
	else
		await_in(uring, slot, watch);
	return 0;
}

/* ----------------------------------------------------------------------------------- closing */

void uring_may_close(struct uring *uring, struct uring_slot *slot)
{
	if (slot->flags & URING_UNDER_WAY)
		return;
	close(slot->fd);
	uring_slot_free(uring, slot);
}

void uring_close_handle(struct poller *poller, struct io_handle *handle)
{
	struct uring *uring = uring_of(poller);
	struct uring_slot *slot;
	int fd = handle->fd;

	handle->fd = -1;
	if (!handle->slot) {
		close(fd);
		return;
	}
	slot = &uring->slots[handle->slot];
	handle->slot = 0;
	slot->flags |= URING_CLOSING;
	slot->in = slot->out = NULL;
	uring_drop_input(uring, slot);
	uring_cancel(uring, slot, URING_UNDER_WAY);
	uring_may_close(uring, slot);
}
