/*
 * poll.c - readiness by poll(2): works everywhere, and looks at every watched descriptor in every
 * wait.
 *
 * The array for poll(2) has one entry for each watched descriptor, whoever watches it and however
 * often, so that it never gets longer than the number of open descriptors. Connections need no
 * state, except that a receive which came back short is followed by an -EAGAIN without a system
 * call: if there is more after all, the wait says so.
 *
 * Failure modes: a descriptor that is closed while it is watched fires NETD_FAILED.
 */
#include "io/direct.h"
#include "io/fdtable.h"
#include "io/pollers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define ROOM_LEAST 64 /* entries */

/* handle->slot */
enum {
	UNKNOWN,
	KNOWN,
	EMPTY, /* the next receive is told so without asking */
};

/* The watches of one descriptor. */
struct slot {
	struct io_watch *watches;
	unsigned int entry; /* in the array; meaningless without watches */
};

struct poller {
	struct buffers *buffers;
	struct fdtable slots;
	struct watch_due due;
	struct pollfd *entries;
	unsigned int count, room;
};

static int open_poller(struct poller **out, struct buffers *buffers, struct err *err)
{
	struct poller *poller = calloc(1, sizeof *poller);

	if (!poller)
		return err_sys(err, -ENOMEM, "poll");
	poller->buffers = buffers;
	poller->slots.size = sizeof(struct slot);
	*out = poller;
	return 0;
}

static void close_poller(struct poller *poller)
{
	if (!poller)
		return;
	fdtable_finish(&poller->slots);
	free(poller->entries);
	free(poller);
}

/* ---------------------------------------------------------------------------------- watching */

/* Room for one more entry. */
static int widen(struct poller *poller)
{
	unsigned int room = poller->room ? poller->room * 2 : ROOM_LEAST;
	struct pollfd *entries;

	if (poller->count < poller->room)
		return 0;
	entries = realloc(poller->entries, room * sizeof *entries);
	if (!entries)
		return -ENOMEM;
	poller->entries = entries;
	poller->room = room;
	return 0;
}

static int watch_fd(struct poller *poller, int fd, struct io_watch *watch)
{
	void *memory;
	struct slot *slot;
	int rc = fdtable_make(&poller->slots, fd, &memory);

	if (rc < 0)
		return rc;
	slot = memory;
	if (!slot->watches) {
		rc = widen(poller);
		if (rc < 0)
			return rc;
		slot->entry = poller->count++;
		poller->entries[slot->entry] = (struct pollfd){.fd = fd};
	}
	watch_push(&slot->watches, watch);
	poller->entries[slot->entry].events |= watch->events;
	watch->slot = (uint32_t)fd + 1;
	watch->armed = true;
	return 0;
}

/* The watches of this entry have become less. */
static void refresh(struct poller *poller, unsigned int entry)
{
	struct pollfd *it = &poller->entries[entry], *last = &poller->entries[poller->count - 1];
	struct slot *slot = fdtable_at(&poller->slots, it->fd);

	it->events = 0;
	for (const struct io_watch *watch = slot->watches; watch; watch = watch->next)
		it->events |= watch->events;
	if (slot->watches)
		return;
	slot = fdtable_at(&poller->slots, last->fd);
	slot->entry = entry;
	*it = *last;
	poller->count--;
}

static int arm(struct poller *poller, struct io_watch *watch)
{
	if (fcntl(watch->fd, F_GETFD) < 0)
		return -errno;
	return watch_fd(poller, watch->fd, watch);
}

static int await(struct poller *poller, struct io_handle *handle, struct io_watch *watch)
{
	if (watch->events & NETD_IN)
		handle->slot = KNOWN;
	return watch_fd(poller, handle->fd, watch);
}

static void disarm(struct poller *poller, struct io_watch *watch)
{
	struct slot *slot;

	if (!watch->armed)
		return;
	watch->armed = false;
	watch_unlink(watch);
	if (!watch->slot) /* it was due already */
		return;
	slot = fdtable_at(&poller->slots, (int)(watch->slot - 1));
	refresh(poller, slot->entry);
}

/* ------------------------------------------------------------------------------------ events */

static void happened(struct poller *poller, unsigned int entry)
{
	struct slot *slot = fdtable_at(&poller->slots, poller->entries[entry].fd);
	short revents = poller->entries[entry].revents;
	struct io_watch *watch, *next;

	if (revents & POLLNVAL)
		revents = POLLERR;
	for (watch = slot->watches; watch; watch = next) {
		short told = (short)(revents & (watch->events | POLLERR | POLLHUP));

		next = watch->next;
		if (!told)
			continue;
		watch_unlink(watch);
		watch->slot = 0;
		watch_is_due(&poller->due, watch, told);
	}
	refresh(poller, entry);
}

static int wait_for_events(struct poller *poller, int64_t deadline)
{
	int n = poll(poller->entries, poller->count, watch_timeout(&poller->due, deadline));
	int rc = n < 0 ? -errno : 0;

	/* Backwards, as the last that is due fires first; and an entry that goes is replaced by one
	 * that was looked at. */
	for (unsigned int i = n > 0 ? poller->count : 0; i-- > 0;)
		if (poller->entries[i].revents)
			happened(poller, i);
	watch_fire_due(&poller->due);
	return rc;
}

/* ------------------------------------------------------------------------------- connections */

/* Is there nothing to read, without asking? Said once. */
static bool is_empty(struct io_handle *handle)
{
	bool empty = handle->slot == EMPTY;

	handle->slot = KNOWN;
	return empty;
}

static ssize_t receive(struct poller *poller, struct io_handle *handle, void *data, size_t size)
{
	ssize_t n;

	(void)poller;
	if (is_empty(handle))
		return -EAGAIN;
	n = direct_recv(handle->fd, data, size);
	if (n > 0 && (size_t)n < size)
		handle->slot = EMPTY;
	return n;
}

static ssize_t lend(struct poller *poller, struct io_handle *handle, char **data)
{
	ssize_t n;

	if (is_empty(handle))
		return -EAGAIN;
	n = direct_lend(poller->buffers, handle->fd, data);
	if (n > 0 && n < DIRECT_LOAN)
		handle->slot = EMPTY;
	return n;
}

static void give_back(struct poller *poller, char *data)
{
	buffers_give(poller->buffers, data);
}

static ssize_t transmit(struct poller *poller, struct io_handle *handle, const struct iovec *iov,
			int count)
{
	(void)poller;
	if (handle->slot == UNKNOWN)
		handle->slot = KNOWN;
	return direct_send(handle->fd, iov, count);
}

static void close_handle(struct poller *poller, struct io_handle *handle)
{
	(void)poller;
	close(handle->fd);
	handle->fd = -1;
	handle->slot = UNKNOWN;
}

static bool slot_is_idle(const void *memory)
{
	const struct slot *slot = memory;

	return !slot->watches;
}

static void trim(struct poller *poller)
{
	unsigned int room = poller->count < ROOM_LEAST ? ROOM_LEAST : poller->count;
	struct pollfd *entries;

	fdtable_trim(&poller->slots, slot_is_idle);
	if (poller->room / 4 <= room)
		return;
	entries = realloc(poller->entries, room * sizeof *entries);
	if (!entries)
		return;
	poller->entries = entries;
	poller->room = room;
}

const struct poller_ops poller_poll = {
    .name = "poll",
    .open = open_poller,
    .close = close_poller,
    .wait = wait_for_events,
    .arm = arm,
    .disarm = disarm,
    .recv = receive,
    .lend = lend,
    .give_back = give_back,
    .send = transmit,
    .post = direct_no_post,
    .await = await,
    .expose = direct_expose,
    .close_handle = close_handle,
    .trim = trim,
};
