/*
 * uring_conn.c - reading from a connection.
 *
 * Happy path: the first read leaves a receive with the kernel that goes on until the end of input;
 * whatever comes lies in provided buffers, queued at the slot, and is lent out from there. Failure
 * modes: a client that sends while its handler does not read is read no further after a few
 * buffers; when no buffer is left at all, or the descriptor is shared with others, or the kernel
 * can not receive so, a connection is polled and read by recv(2).
 */
#include "io/uring.h"

#include <errno.h>
#include <string.h>

/* Buffers a handler may leave unread before no more is received for it. */
#define CROWDED 4

/* ------------------------------------------------------------------------- the queue of a slot */

/* The last buffer points to the first, so that a slot needs to know one only. */
static void queue_add(struct uring *uring, struct uring_slot *slot, uint16_t number)
{
	struct uring_buffer *each = uring->received.each;

	if (slot->queued++) {
		each[number].next = each[slot->last].next;
		each[slot->last].next = number;
	} else {
		each[number].next = number;
	}
	slot->last = number;
}

static uint16_t queue_first(const struct uring *uring, const struct uring_slot *slot)
{
	return uring->received.each[slot->last].next;
}

static void queue_remove(struct uring *uring, struct uring_slot *slot)
{
	struct uring_buffer *each = uring->received.each;

	each[slot->last].next = each[each[slot->last].next].next;
	slot->queued--;
}

void uring_drop_input(struct uring *uring, struct uring_slot *slot)
{
	while (slot->queued) {
		uint16_t number = queue_first(uring, slot);

		queue_remove(uring, slot);
		uring_buffers_put(&uring->received, number);
	}
}

/* --------------------------------------------------------------------------------- receiving */

static void receive(struct uring *uring, struct uring_slot *slot)
{
	struct io_uring_sqe *sqe = uring_request(uring, slot, URING_RECEIVE, IORING_OP_RECV);

	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->ioprio = IORING_RECV_MULTISHOT;
	slot->flags &= (uint16_t) ~(URING_CANCELLED | URING_STARVED);
}

void uring_start_reading(struct uring *uring, struct uring_slot *slot)
{
	if (slot->flags & (URING_BIT(URING_RECEIVE) | URING_BIT(URING_POLL_IN)))
		return;
	if (slot->flags & (URING_DIRECT | URING_STARVED))
		uring_poll_fd(uring, slot, URING_POLL_IN, NETD_IN);
	else
		receive(uring, slot);
}

/* More buffers, if that can help: else this time without. */
static void no_buffer(struct uring *uring, struct uring_slot *slot)
{
	if (uring->received.provided <= uring->starved++ && !uring_buffers_grow(&uring->received))
		slot->flags |= URING_STARVED;
}

static void receive_failed(struct uring *uring, struct uring_slot *slot, int result)
{
	switch (result) {
	case -ECANCELED:
	case -EINTR:
		break;
	case -ENOBUFS:
		no_buffer(uring, slot);
		break;
	case -EINVAL: /* the kernel, or the descriptor, has no such receive */
	case -EOPNOTSUPP:
	case -ENOTSOCK:
	case -EAGAIN:
		slot->flags |= URING_DIRECT;
		break;
	default:
		slot->in_error = (uint16_t)-result;
	}
}

/* Look at it again before the next wait: by then its handler had the time to read. */
static void join_crowd(struct uring *uring, struct uring_slot *slot)
{
	if (slot->queued != CROWDED + 1 || !(slot->flags & URING_BIT(URING_RECEIVE)))
		return;
	if (uring->crowded == URING_CROWD)
		uring_thin_crowd(uring);
	uring->crowd[uring->crowded++] = (uint32_t)(slot - uring->slots);
}

void uring_thin_crowd(struct uring *uring)
{
	for (unsigned i = 0; i < uring->crowded; i++) {
		struct uring_slot *slot = &uring->slots[uring->crowd[i]];

		if (slot->queued <= CROWDED || (slot->flags & URING_CANCELLED))
			continue;
		uring_cancel(uring, slot, URING_BIT(URING_RECEIVE));
		slot->flags |= URING_CANCELLED;
	}
	uring->crowded = 0;
}

static void take_buffer(struct uring *uring, struct uring_slot *slot, int result, unsigned flags)
{
	unsigned size = result > 0 ? (unsigned)result : 0;
	uint16_t number =
	    uring_buffers_filled(&uring->received, flags >> IORING_CQE_BUFFER_SHIFT, size);

	if (number == URING_NO_BUFFER) {
		uring->strays++;
	} else if (size == 0 || (slot->flags & URING_CLOSING)) {
		uring_buffers_put(&uring->received, number);
	} else {
		queue_add(uring, slot, number);
		join_crowd(uring, slot);
	}
}

HOT_PATH void uring_receive_done(struct uring *uring, struct uring_slot *slot, int result,
				 unsigned flags)
{
	if (flags & IORING_CQE_F_BUFFER)
		take_buffer(uring, slot, result, flags);
	if (result < 0)
		receive_failed(uring, slot, result);
	else if (result == 0)
		slot->flags |= URING_EOF;
	if (uring_is_readable(slot))
		uring_due(uring, &slot->in, NETD_IN);
	else if (slot->in)
		uring_start_reading(uring, slot);
	if (slot->in_error)
		uring_due(uring, &slot->out, NETD_FAILED);
}

/* ----------------------------------------------------------------------------------- reading */

HOT_PATH struct uring_slot *uring_conn(struct uring *uring, struct io_handle *handle)
{
	struct uring_slot *slot;

	if (handle->slot)
		return &uring->slots[handle->slot];
	handle->slot = uring_slot_new(uring, handle->fd);
	if (!handle->slot)
		return NULL;
	slot = &uring->slots[handle->slot];
	if (handle->exposed)
		slot->flags |= URING_DIRECT;
	return slot;
}

/* Nothing is queued: what that means. 1: look for yourself. */
static ssize_t without_queue(struct uring *uring, struct uring_slot *slot)
{
	if (slot->in_error)
		return -(int)slot->in_error;
	if (slot->flags & URING_EOF)
		return 0;
	if (slot->flags & URING_BIT(URING_RECEIVE))
		return -EAGAIN;
	if (slot->flags & (URING_DIRECT | URING_STARVED))
		return 1;
	uring_start_reading(uring, slot);
	return -EAGAIN;
}

/* One's own look. After it, a connection that had no buffer may have one again. */
static ssize_t after_look(struct uring_slot *slot, ssize_t n)
{
	if (n != -EAGAIN)
		slot->flags &= (uint16_t)~URING_STARVED;
	return n;
}

static size_t copy_first(struct uring *uring, struct uring_slot *slot, void *data, size_t size)
{
	uint16_t number = queue_first(uring, slot);
	struct uring_buffer *buffer = &uring->received.each[number];

	if (size > buffer->size)
		size = buffer->size;
	memcpy(data, uring_buffers_data(&uring->received, number), size);
	buffer->offset = (uint16_t)(buffer->offset + size);
	buffer->size = (uint16_t)(buffer->size - size);
	if (buffer->size == 0) {
		queue_remove(uring, slot);
		uring_buffers_put(&uring->received, number);
	}
	return size;
}

ssize_t uring_recv(struct poller *poller, struct io_handle *handle, void *data, size_t size)
{
	struct uring *uring = uring_of(poller);
	struct uring_slot *slot = uring_conn(uring, handle);
	size_t done = 0;
	ssize_t rc;

	if (!slot)
		return -ENOMEM;
	while (slot->queued && done < size)
		done += copy_first(uring, slot, (char *)data + done, size - done);
	if (done > 0 || size == 0)
		return (ssize_t)done;
	rc = without_queue(uring, slot);
	return rc > 0 ? after_look(slot, direct_recv(slot->fd, data, size)) : rc;
}

HOT_PATH ssize_t uring_lend(struct poller *poller, struct io_handle *handle, char **data)
{
	struct uring *uring = uring_of(poller);
	struct uring_slot *slot = uring_conn(uring, handle);
	struct uring_buffer *buffer;
	uint16_t number;
	ssize_t rc;

	if (!slot)
		return -ENOMEM;
	if (!slot->queued) {
		rc = without_queue(uring, slot);
		if (rc > 0)
			rc = after_look(slot, direct_lend(uring->buffers, slot->fd, data));
		return rc;
	}
	number = queue_first(uring, slot);
	queue_remove(uring, slot);
	buffer = &uring->received.each[number];
	buffer->state = URING_LENT;
	*data = uring_buffers_data(&uring->received, number);
	return buffer->size;
}

HOT_PATH void uring_give_back(struct poller *poller, char *data)
{
	struct uring *uring = uring_of(poller);
	uint16_t number = uring_buffers_find(&uring->received, data);

	if (number == URING_NO_BUFFER)
		buffers_give(uring->buffers, data);
	else
		uring_buffers_put(&uring->received, number);
}

/* What the kernel has received stays queued; it receives nothing more. */
void uring_expose(struct poller *poller, struct io_handle *handle)
{
	struct uring *uring = uring_of(poller);
	struct uring_slot *slot;

	handle->exposed = true;
	if (!handle->slot)
		return;
	slot = &uring->slots[handle->slot];
	slot->flags |= URING_DIRECT;
	uring_cancel(uring, slot, URING_BIT(URING_RECEIVE));
	while (slot->flags & URING_BIT(URING_RECEIVE)) {
		int rc = ring_enter(&uring->ring, INT64_MAX);

		if (rc < 0 && rc != -EINTR)
			break; /* and wait() says so */
		uring_reap(uring);
	}
}
