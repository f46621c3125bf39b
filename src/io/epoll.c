/*
 * epoll.c - readiness by epoll(7): the poller of a Linux that refuses io_uring, and its full peer.
 *
 * A connection's own descriptor is registered once, at the first wait for it, and tells edges; from
 * then on its slot knows whether there may be something to read, or room to write. A receive that
 * comes back short has emptied the socket, so the next one says -EAGAIN without a system call: what
 * arrived since is an edge that the next epoll_wait() tells, or is there when the descriptor is
 * registered. A request costs a recv, a send, and its share of an epoll_wait.
 *
 * Foreign descriptors are registered for one event at a time. One that was disarmed may still tell
 * that event, to nobody. Their owners close them and open others of the same number as they like:
 * each registration has a number of its own, which its events carry.
 *
 * Failure modes: what epoll does not take because it is always ready (files) fires at once; a
 * foreign descriptor that was closed while it was watched fires NETD_FAILED when that is noticed.
 */
#include "io/direct.h"
#include "io/fdtable.h"
#include "io/pollers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 256 /* events of one epoll_wait() */

_Static_assert(NETD_IN == EPOLLIN && NETD_OUT == EPOLLOUT && NETD_FAILED == EPOLLERR &&
		   NETD_HUP == EPOLLHUP,
	       "netdaemon.h repeats the values of epoll(7)");

/* What we know of a descriptor; all zero: nothing. */
struct slot {
	struct io_watch *in, *out; /* of await() */
	struct io_watch *others;   /* of arm() */
	uint32_t registration;     /* its number; 0: none that we know of */
	bool own : 1;              /* a connection's */
	bool edges : 1;            /* registered as such: the kernel tells what changes */
	bool edges_out : 1;        /* also for output */
	bool readable : 1;         /* as far as we know; without edges: worth a try */
	bool writable : 1;
	bool short_is_empty : 1; /* a short receive means there is no more */
	bool doubt : 1;          /* but not now: the end, a failure or urgent data */
};

struct poller {
	int fd;
	uint32_t registrations; /* the last number given */
	struct buffers *buffers;
	struct fdtable slots;
	struct watch_due due;
	struct epoll_event events[BATCH];
};

static int open_poller(struct poller **out, struct buffers *buffers, struct err *err)
{
	struct poller *poller = calloc(1, sizeof *poller);

	if (!poller)
		return err_sys(err, -ENOMEM, "epoll");
	poller->buffers = buffers;
	poller->slots.size = sizeof(struct slot);
	poller->fd = epoll_create1(EPOLL_CLOEXEC);
	if (poller->fd < 0) {
		int rc = err_sys(err, -errno, "epoll_create1");

		free(poller);
		return rc;
	}
	*out = poller;
	return 0;
}

static void close_poller(struct poller *poller)
{
	if (!poller)
		return;
	close(poller->fd);
	fdtable_finish(&poller->slots);
	free(poller);
}

/* ------------------------------------------------------------------------------ registration */

static uint32_t next_number(struct poller *poller)
{
	if (++poller->registrations == 0)
		++poller->registrations;
	return poller->registrations;
}

/*
 * Let the kernel tell these events of fd, beginning with those that are there already. It may know
 * the descriptor when we think it does not, and the other way round: others close them.
 */
static int ask(struct poller *poller, int fd, struct slot *slot, uint32_t events)
{
	bool known = slot->registration != 0;

	for (int i = 0; i < 2; i++, known = !known) {
		uint32_t number =
		    known && slot->registration ? slot->registration : next_number(poller);
		struct epoll_event event = {.events = events};

		event.data.u64 = (uint64_t)number << 32 | (uint32_t)fd;
		if (epoll_ctl(poller->fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0) {
			slot->registration = number;
			return 0;
		}
		if (errno != (known ? ENOENT : EEXIST))
			break;
	}
	return -errno;
}

/* TCP gives all it has. Unix sockets stop at borders: passed descriptors, credentials. */
static bool is_tcp(int fd)
{
	int domain = 0;
	socklen_t size = sizeof domain;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
		return false;
	return domain == AF_INET || domain == AF_INET6;
}

/*
 * Register a connection's descriptor, or ask again for what is there now. Room to write is asked
 * for only by connections that have once run out of it: the others need not hear of it.
 */
static int ask_edges(struct poller *poller, int fd, struct slot *slot, bool out)
{
	uint32_t events = EPOLLET | EPOLLIN | EPOLLRDHUP | EPOLLPRI;
	int rc;

	out = out || slot->edges_out;
	rc = ask(poller, fd, slot, events | (out ? EPOLLOUT : 0));
	if (rc < 0)
		return rc;
	if (!slot->edges) {
		slot->short_is_empty = is_tcp(fd);
		slot->readable = false; /* if it is, we are told */
		slot->edges = true;
	}
	if (out && !slot->edges_out) {
		slot->writable = false;
		slot->edges_out = true;
	}
	return 0;
}

/* The events for which others watch this descriptor. */
static uint32_t others_want(const struct slot *slot)
{
	uint32_t events = EPOLLONESHOT;

	for (const struct io_watch *watch = slot->others; watch; watch = watch->next)
		events |= (uint16_t)watch->events;
	return events;
}

/* ---------------------------------------------------------------------------------- watching */

static int arm(struct poller *poller, struct io_watch *watch)
{
	void *memory;
	struct slot *slot;
	int rc = fdtable_make(&poller->slots, watch->fd, &memory);

	if (rc < 0)
		return rc;
	slot = memory;
	if (slot->own)
		rc = ask_edges(poller, watch->fd, slot, watch->events & NETD_OUT);
	else
		rc = ask(poller, watch->fd, slot, others_want(slot) | (uint16_t)watch->events);
	if (rc < 0 && rc != -EPERM)
		return rc;
	watch->armed = true;
	if (rc == -EPERM) /* a file: always ready */
		watch_is_due(&poller->due, watch, watch->events);
	else
		watch_push(&slot->others, watch);
	return 0;
}

/* The slot of a connection's own descriptor. NULL: no memory, or it is closed. */
static struct slot *slot_of(struct poller *poller, struct io_handle *handle)
{
	void *memory;
	struct slot *slot;

	if (handle->slot)
		return fdtable_at(&poller->slots, handle->fd);
	if (fdtable_make(&poller->slots, handle->fd, &memory) < 0)
		return NULL;
	slot = memory;
	/* Somebody may have watched it while it was not yet a connection's. */
	*slot = (struct slot){.others = slot->others,
			      .registration = slot->registration,
			      .own = true,
			      .readable = true,
			      .writable = true};
	handle->slot = (uint32_t)handle->fd + 1;
	return slot;
}

HOT_PATH static int await(struct poller *poller, struct io_handle *handle, struct io_watch *watch)
{
	bool in = watch->events & NETD_IN, out = watch->events & NETD_OUT;
	struct slot *slot = slot_of(poller, handle);
	int rc;

	if (!slot)
		return handle->fd < 0 ? -EBADF : -ENOMEM;
	if ((in && slot->in) || (out && slot->out))
		return -EBUSY;
	if (!slot->edges || (out && !slot->edges_out)) {
		rc = ask_edges(poller, handle->fd, slot, out);
		if (rc < 0)
			return rc;
	}
	watch->armed = true;
	watch->slot = handle->slot;
	watch->link = NULL;
	if ((in && slot->readable) || (out && slot->writable)) {
		watch_is_due(&poller->due, watch, watch->events);
		return 0;
	}
	if (in)
		slot->in = watch;
	if (out)
		slot->out = watch;
	return 0;
}

/* A watch of await() is no longer waited for. */
static void forget(struct slot *slot, const struct io_watch *watch)
{
	if (slot->in == watch)
		slot->in = NULL;
	if (slot->out == watch)
		slot->out = NULL;
}

static void disarm(struct poller *poller, struct io_watch *watch)
{
	struct slot *slot;

	if (!watch->armed)
		return;
	watch->armed = false;
	if (watch->link) {
		watch_unlink(watch);
		return;
	}
	slot = fdtable_at(&poller->slots, (int)(watch->slot - 1));
	if (slot)
		forget(slot, watch);
}

/* ------------------------------------------------------------------------------------ events */

/* The events that fire a watch. */
static uint32_t wanted_by(const struct io_watch *watch)
{
	return (uint16_t)watch->events | EPOLLERR | EPOLLHUP;
}

HOT_PATH static void own_happened(struct poller *poller, struct slot *slot, uint32_t events)
{
	bool failed = events & (EPOLLERR | EPOLLHUP);
	struct io_watch *in = slot->in, *out;

	if (events & EPOLLIN || failed)
		slot->readable = true;
	if (events & EPOLLOUT || failed)
		slot->writable = true;
	if (events & (EPOLLRDHUP | EPOLLPRI) || failed)
		slot->doubt = true;
	if (in && slot->readable) {
		forget(slot, in);
		watch_is_due(&poller->due, in, (short)(events & wanted_by(in)));
	}
	out = slot->out;
	if (out && slot->writable) {
		forget(slot, out);
		watch_is_due(&poller->due, out, (short)(events & wanted_by(out)));
	}
}

/* Make due all watches of others that these events are for. */
static void others_happened(struct poller *poller, struct slot *slot, uint32_t events)
{
	struct io_watch *watch, *next;

	for (watch = slot->others; watch; watch = next) {
		next = watch->next;
		if (!(events & wanted_by(watch)))
			continue;
		watch_unlink(watch);
		watch_is_due(&poller->due, watch, (short)(events & wanted_by(watch)));
	}
}

HOT_PATH static void happened(struct poller *poller, const struct epoll_event *event)
{
	int fd = (int)(uint32_t)event->data.u64;
	struct slot *slot = fdtable_at(&poller->slots, fd);

	/* Of a registration that is no more: its file is open elsewhere. */
	if (!slot || !slot->registration || slot->registration != event->data.u64 >> 32)
		return;
	if (slot->own)
		own_happened(poller, slot, event->events);
	others_happened(poller, slot, event->events);
	if (slot->others && !slot->own && ask(poller, fd, slot, others_want(slot)) < 0)
		others_happened(poller, slot, EPOLLERR);
}

HOT_PATH static int wait_for_events(struct poller *poller, int64_t deadline)
{
	int n =
	    epoll_wait(poller->fd, poller->events, BATCH, watch_timeout(&poller->due, deadline));
	int rc = n < 0 ? -errno : 0;

	/* All of them before anybody hears of one and changes what is watched; backwards, as the
	 * last that is due fires first. */
	while (--n >= 0)
		happened(poller, &poller->events[n]);
	watch_fire_due(&poller->due);
	return rc;
}

/* ------------------------------------------------------------------------------- connections */

/* Is there nothing to read, without asking? */
static bool is_empty(struct slot *slot)
{
	if (slot->readable)
		return false;
	if (!slot->edges) /* nobody would tell: try the next time */
		slot->readable = true;
	return true;
}

/* What a receive of at most size bytes tells. */
static void received(struct slot *slot, ssize_t n, size_t size)
{
	if (n == -EAGAIN) {
		slot->readable = !slot->edges;
		slot->doubt = false;
	} else if (n > 0 && (size_t)n < size && !slot->doubt) {
		/* Not registered yet: then it is, and we are told of what is left. */
		slot->readable = slot->edges && !slot->short_is_empty;
	}
}

HOT_PATH static ssize_t receive(struct poller *poller, struct io_handle *handle, void *data,
				size_t size)
{
	struct slot *slot = slot_of(poller, handle);
	ssize_t n;

	if (!slot)
		return handle->fd < 0 ? -EBADF : -ENOMEM;
	if (is_empty(slot))
		return -EAGAIN;
	n = direct_recv(handle->fd, data, size);
	received(slot, n, size);
	return n;
}

HOT_PATH static ssize_t lend(struct poller *poller, struct io_handle *handle, char **data)
{
	struct slot *slot = slot_of(poller, handle);
	ssize_t n;

	if (!slot)
		return handle->fd < 0 ? -EBADF : -ENOMEM;
	if (is_empty(slot))
		return -EAGAIN;
	n = direct_lend(poller->buffers, handle->fd, data);
	received(slot, n, DIRECT_LOAN);
	return n;
}

HOT_PATH static void give_back(struct poller *poller, char *data)
{
	buffers_give(poller->buffers, data);
}

HOT_PATH static ssize_t transmit(struct poller *poller, struct io_handle *handle,
				 const struct iovec *iov, int count)
{
	struct slot *slot = slot_of(poller, handle);
	ssize_t n;

	if (!slot)
		return handle->fd < 0 ? -EBADF : -ENOMEM;
	if (!slot->writable)
		return -EAGAIN;
	n = direct_send(handle->fd, iov, count);
	if (n == -EAGAIN && slot->edges_out)
		slot->writable = false;
	return n;
}

static void close_handle(struct poller *poller, struct io_handle *handle)
{
	struct slot *slot = handle->slot ? fdtable_at(&poller->slots, handle->fd) : NULL;

	/* Who has the descriptor may have made others of it: the file lives on, and its
	 * registration with it. */
	if (slot && slot->edges && handle->exposed)
		epoll_ctl(poller->fd, EPOLL_CTL_DEL, handle->fd, NULL);
	if (slot) {
		others_happened(poller, slot, EPOLLERR);
		*slot = (struct slot){0};
	}
	close(handle->fd);
	handle->fd = -1;
	handle->slot = 0;
}

static bool slot_is_idle(const void *memory)
{
	const struct slot *slot = memory;

	return !slot->own && !slot->others;
}

static void trim(struct poller *poller)
{
	fdtable_trim(&poller->slots, slot_is_idle);
}

const struct poller_ops poller_epoll = {
    .name = "epoll",
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
