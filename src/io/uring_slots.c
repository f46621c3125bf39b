/*
 * uring_slots.c - slots and their requests; watches on any descriptor.
 *
 * Happy path: arm takes a slot and polls, the completion frees it and makes the watch due. Failure
 * modes: a watch that is disarmed may be gone at once, so its slot stays behind without it until
 * the kernel has ended the request. The kernel also tells of every poll that the peer sends no
 * more, at once and again and again: whoever waits for something else is polled for now and then.
 */
#include "io/uring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 64
#define PAUSE_NS 20000000 /* between two polls of a socket whose peer sends no more */

/* ------------------------------------------------------------------------------------- slots */

static bool more_slots(struct uring *uring)
{
	uint32_t size = uring->slots_size ? uring->slots_size * 2 : FIRST_SLOTS;
	struct uring_slot *slots = NULL;

	if (size > uring->slots_size)
		slots = realloc(uring->slots, size * sizeof *slots);
	if (!slots)
		return false;
	if (!uring->slots)
		uring->slots_made = 1; /* 0 means none */
	uring->slots = slots;
	uring->slots_size = size;
	return true;
}

uint32_t uring_slot_new(struct uring *uring, int fd)
{
	uint32_t index = uring->slots_free;
	uint16_t generation = 0;

	if (index) {
		generation = uring->slots[index].generation;
		uring->slots_free = uring->slots[index].next;
	} else {
		if (uring->slots_made == uring->slots_size && !more_slots(uring))
			return 0;
		index = uring->slots_made++;
	}
	uring->slots[index] = (struct uring_slot){.fd = fd, .generation = generation};
	return index;
}

void uring_slot_free(struct uring *uring, struct uring_slot *slot)
{
	slot->generation++;
	slot->flags = 0;
	slot->queued = 0;
	slot->in = slot->out = NULL;
	slot->next = uring->slots_free;
	uring->slots_free = (uint32_t)(slot - uring->slots);
}

/* ---------------------------------------------------------------------------------- requests */

static uint64_t name_of(const struct uring *uring, const struct uring_slot *slot, unsigned op)
{
	return (uint64_t)(slot - uring->slots) << 32 | (uint32_t)slot->generation << 16 | op;
}

HOT_PATH struct io_uring_sqe *uring_request(struct uring *uring, struct uring_slot *slot,
					    enum uring_op op, uint8_t opcode)
{
	struct io_uring_sqe *sqe = ring_sqe(&uring->ring);

	sqe->opcode = opcode;
	sqe->fd = slot->fd;
	sqe->user_data = name_of(uring, slot, op);
	slot->flags |= (uint16_t)URING_BIT(op);
	uring->under_way++;
	return sqe;
}

void uring_cancel(struct uring *uring, struct uring_slot *slot, unsigned bits)
{
	for (unsigned op = 0; op < URING_OPS; op++) {
		struct io_uring_sqe *sqe;

		if (!(slot->flags & bits & URING_BIT(op)))
			continue;
		sqe = ring_sqe(&uring->ring);
		sqe->opcode = IORING_OP_ASYNC_CANCEL;
		sqe->flags = IOSQE_CQE_SKIP_SUCCESS; /* what it ends says enough */
		sqe->fd = -1;
		sqe->addr = name_of(uring, slot, op);
	}
}

/* The kernel wants the halves of poll32_events in the order of a little-endian machine. */
static uint32_t poll_bits(short events)
{
	uint32_t bits = (uint16_t)events;

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	bits = bits << 16 | bits >> 16;
#endif
	return bits;
}

void uring_poll_fd(struct uring *uring, struct uring_slot *slot, enum uring_op op, short events)
{
	struct io_uring_sqe *sqe = uring_request(uring, slot, op, IORING_OP_POLL_ADD);

	sqe->poll32_events = poll_bits(events);
}

/* ----------------------------------------------------------------------------------- watches */

void uring_due(struct uring *uring, struct io_watch **watch, short revents)
{
	if (*watch)
		watch_is_due(&uring->due, *watch, revents);
	*watch = NULL;
}

/* In the place of a poll, and under its name. */
static void pause_poll(struct uring *uring, struct uring_slot *slot, enum uring_op op)
{
	static const struct __kernel_timespec pause = {.tv_nsec = PAUSE_NS};
	struct io_uring_sqe *sqe = uring_request(uring, slot, op, IORING_OP_TIMEOUT);

	sqe->fd = -1;
	sqe->addr = (uintptr_t)&pause;
	sqe->len = 1;
}

void uring_poll_done(struct uring *uring, struct uring_slot *slot, enum uring_op op, int result)
{
	const int known = NETD_IN | NETD_OUT | NETD_FAILED | NETD_HUP;
	struct io_watch **watch = op == URING_POLL_OUT ? &slot->out : &slot->in;

	if (*watch && result == -ETIME) {
		uring_poll_fd(uring, slot, op, (*watch)->events);
		return;
	}
	if (*watch && result > 0 && !(result & known)) {
		pause_poll(uring, slot, op);
		return;
	}
	uring_due(uring, watch, result < 0 ? NETD_FAILED : (short)(result & known));
	if (slot->flags & URING_IS_WATCH)
		uring_slot_free(uring, slot);
}

int uring_arm(struct poller *poller, struct io_watch *watch)
{
	struct uring *uring = uring_of(poller);
	uint32_t index;

	if (watch->fd < 0)
		return -EBADF; /* of other wrong numbers the kernel tells when it polls them */
	index = uring_slot_new(uring, watch->fd);
	if (!index)
		return -ENOMEM;
	uring->slots[index].in = watch;
	uring->slots[index].flags = URING_IS_WATCH;
	uring_poll_fd(uring, &uring->slots[index], URING_POLL_IN, watch->events);
	watch->slot = index;
	watch->link = NULL;
	watch->revents = 0;
	watch->armed = true;
	return 0;
}

void uring_disarm(struct poller *poller, struct io_watch *watch)
{
	struct uring *uring = uring_of(poller);
	struct uring_slot *slot;

	if (!watch->armed)
		return;
	watch->armed = false;
	if (watch->link) { /* due already: the slot does not know it any more */
		watch_unlink(watch);
		return;
	}
	slot = &uring->slots[watch->slot];
	if (slot->in == watch)
		slot->in = NULL;
	else
		slot->out = NULL;
	/* A connection's request stays: it will be wanted again. */
	if (slot->flags & URING_IS_WATCH)
		uring_cancel(uring, slot, URING_UNDER_WAY);
}
