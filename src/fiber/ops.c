/*
 * ops.c - the waits of a fiber: try, and park while the answer is "not yet". It looks like blocking
 * to the caller, and others run meanwhile.
 *
 * Happy path: the poller has what was asked for, and nothing is waited for. Failure modes: the
 * deadline passes (-ETIMEDOUT), the server stops (-ECANCELED): the watch is taken back. A caller
 * who never has to wait gives way to others now and then.
 */
#include "fiber/sched.h"
#include "io/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define POLL_ON_STACK 4 /* watches of netd_poll() that need no allocation */

/* Before each try: may it be made at all? */
static int before(struct fibers *fibers, int64_t deadline)
{
	int rc = fiber_may_go_on(fibers);

	if (rc == 0 && deadline != NETD_NEVER && clock_coarse_ms() >= deadline)
		return -ETIMEDOUT;
	return rc;
}

/* Park until the descriptor may get further. 0 or -errno. */
HOT_PATH static int wait_for(struct fibers *fibers, struct io_handle *handle, short events,
			     int64_t deadline)
{
	struct fiber *self = fibers->current;
	struct io_wait wait;
	int rc;

	self->watch.fd = handle->fd;
	self->watch.events = events;
	rc = fibers->ops->await(fibers->poller, handle, &self->watch);
	if (rc < 0)
		return rc;
	wait = io_wait_begin(handle, events, deadline);
	self->is_idle = events == NETD_IN;
	do
		rc = fiber_park(fibers, wait.until);
	while (rc == -ETIMEDOUT && !io_wait_over(handle, &wait));
	self->is_idle = false;
	if (rc < 0)
		fibers->ops->disarm(fibers->poller, &self->watch);
	return rc;
}

HOT_PATH static ssize_t fiber_recv(struct io_handle *handle, void *data, size_t size,
				   int64_t deadline)
{
	struct fibers *fibers = fibers_here;

	for (;;) {
		int rc = before(fibers, deadline);
		ssize_t n = rc < 0 ? rc : fibers->ops->recv(fibers->poller, handle, data, size);

		if (n > 0)
			io_moved(handle);
		if (n != -EAGAIN)
			return n;
		rc = wait_for(fibers, handle, NETD_IN, deadline);
		if (rc < 0)
			return rc;
	}
}

HOT_PATH static ssize_t fiber_lend(struct io_handle *handle, char **data, int64_t deadline)
{
	struct fibers *fibers = fibers_here;

	for (;;) {
		int rc = before(fibers, deadline);
		ssize_t n = rc < 0 ? rc : fibers->ops->lend(fibers->poller, handle, data);

		if (n > 0)
			io_moved(handle);
		if (n != -EAGAIN)
			return n;
		rc = wait_for(fibers, handle, NETD_IN, deadline);
		if (rc < 0)
			return rc;
	}
}

HOT_PATH static void fiber_give_back(char *data)
{
	fibers_here->ops->give_back(fibers_here->poller, data);
}

HOT_PATH static ssize_t fiber_send(struct io_handle *handle, struct iovec *iov, int count,
				   int64_t deadline)
{
	struct fibers *fibers = fibers_here;
	ssize_t total = 0;

	for (;;) {
		/* Nothing to send: what was posted may have gone whatever the time is. */
		int rc = count > 0 ? before(fibers, deadline) : 0;
		ssize_t n = rc < 0 ? rc : fibers->ops->send(fibers->poller, handle, iov, count);

		if (n == -EAGAIN) {
			n = wait_for(fibers, handle, NETD_OUT, deadline);
			if (n == 0)
				continue;
		}
		if (n < 0)
			return n;
		if (count == 0)
			(void)fiber_may_go_on(
			    fibers); /* what was asked is known; others get a turn */
		total += n;
		io_moved(handle);
		io_advance(&iov, &count, (size_t)n);
		if (count == 0)
			return total;
	}
}

HOT_PATH static char *fiber_take_buffer(void)
{
	return buffers_take(&fibers_here->buffers);
}

HOT_PATH static void fiber_drop_buffer(char *buffer)
{
	buffers_give(&fibers_here->buffers, buffer);
}

HOT_PATH static int fiber_post(struct io_handle *handle, char *buffer, size_t size,
			       int64_t deadline)
{
	struct fibers *fibers = fibers_here;
	struct iovec iov = {buffer, size};
	ssize_t rc;

	do {
		rc = before(fibers, deadline);
		if (rc == 0)
			rc = fibers->ops->post(fibers->poller, handle, buffer, size);
		if (rc == 0) {
			io_moved(handle);
			return 1;
		}
		if (rc == -EAGAIN)
			rc = wait_for(fibers, handle, NETD_OUT, deadline);
	} while (rc == 0);
	if (rc == -ENOSYS)
		rc = fiber_send(handle, &iov, 1, deadline);
	fiber_drop_buffer(buffer);
	return rc < 0 ? (int)rc : 0;
}

static void fiber_aside(void (*fn)(void *arg), void *arg)
{
	struct fibers *fibers = fibers_here;

	/* Where the stack is large already: the thread's own, the scheduler's. */
	if (!fibers->current || fibers->current == &fibers->first || fibers->aside) {
		fn(arg);
		return;
	}
	fibers->aside = fn;
	fibers->aside_arg = arg;
	fiber_leave(fibers);
}

static void fiber_expose(struct io_handle *handle)
{
	fibers_here->ops->expose(fibers_here->poller, handle);
}

static void fiber_close(struct io_handle *handle)
{
	fibers_here->ops->close_handle(fibers_here->poller, handle);
}

/* ------------------------------------------------------------------------------ netd_poll() */

/* Somebody who waits for several things at once. */
struct group {
	struct fiber *fiber;
	bool fired;
};

struct member {
	struct io_watch watch;
	struct group *group;
};

static void group_fired(struct io_watch *watch)
{
	struct group *group = CONTAINER(watch, struct member, watch)->group;

	group->fired = true;
	fiber_wake(fibers_here, group->fiber, 0);
}

static int look(struct netd_pollfd *fds, size_t count)
{
	int n;

	/* Both have the layout of poll(2): io/blocking.c asserts it. */
	do
		n = poll((struct pollfd *)(void *)fds, count, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Only the first fiber is interrupted that way: all others are woken by fibers_cancel(). */
static int first_fd(const struct fibers *fibers)
{
	return fibers->current == &fibers->first ? interrupt_fd() : -1;
}

static int64_t first_deadline(const struct fibers *fibers)
{
	return fibers->current == &fibers->first ? interrupt_deadline() : NETD_NEVER;
}

static int first_check(const struct fibers *fibers, const struct member *extra)
{
	if (fibers->current != &fibers->first)
		return 0;
	if (extra->watch.revents)
		return interrupt_eintr();
	return clock_ms() >= interrupt_deadline() ? interrupt_check() : 0;
}

/* Arm all, park, disarm all. 0: something fired; -ETIMEDOUT; -ECANCELED; another -errno. */
static int park_for(struct fibers *fibers, const struct netd_pollfd *fds, size_t count,
		    struct member *members, int64_t deadline)
{
	struct group group = {.fiber = fibers->current};
	struct netd_pollfd extra = {.fd = first_fd(fibers), .events = NETD_IN};
	int rc = 0;

	for (size_t i = 0; i <= count && rc == 0; i++) {
		const struct netd_pollfd *want = i < count ? &fds[i] : &extra;

		members[i].group = &group;
		members[i].watch =
		    (struct io_watch){.fire = group_fired, .fd = want->fd, .events = want->events};
		if (want->fd >= 0)
			rc = fibers->ops->arm(fibers->poller, &members[i].watch);
	}
	while (rc == 0 && !group.fired)
		rc = fiber_park(fibers, deadline);
	for (size_t i = 0; i <= count; i++)
		if (members[i].watch.armed)
			fibers->ops->disarm(fibers->poller, &members[i].watch);
	return group.fired ? 0 : rc;
}

static int poll_with(struct fibers *fibers, struct netd_pollfd *fds, size_t count,
		     struct member *members, int64_t deadline)
{
	for (;;) {
		int n = count ? look(fds, count) : 0;
		int rc;

		if (n != 0)
			return n;
		memset(members, 0, (count + 1) * sizeof *members);
		rc = park_for(fibers, fds, count, members,
			      clock_earlier(deadline, first_deadline(fibers)));
		if (rc == 0 || rc == -ETIMEDOUT) {
			int stop = first_check(fibers, &members[count]);

			if (stop < 0)
				return stop;
		}
		if (rc < 0 && rc != -ETIMEDOUT)
			return rc;
		if (deadline != NETD_NEVER && clock_ms() >= deadline)
			return count ? look(fds, count) : 0;
	}
}

static int fiber_poll(struct netd_pollfd *fds, size_t count, int64_t deadline)
{
	struct fibers *fibers = fibers_here;
	struct member few[POLL_ON_STACK + 1];
	struct member *members = few;
	int rc = fiber_may_go_on(fibers);

	if (rc < 0)
		return rc;
	if (count > POLL_ON_STACK) {
		members = count < SIZE_MAX / sizeof *members - 1
			      ? malloc((count + 1) * sizeof *members)
			      : NULL;
		if (!members)
			return -ENOMEM;
	}
	rc = poll_with(fibers, fds, count, members, deadline);
	if (members != few)
		free(members);
	return rc;
}

static int fiber_offload(int (*fn)(void *arg), void *arg)
{
	return offload_call(fibers_here, fn, arg);
}

static const struct io_lending lending = {
    .lend = fiber_lend,
    .give_back = fiber_give_back,
    .take_buffer = fiber_take_buffer,
    .drop_buffer = fiber_drop_buffer,
    .post = fiber_post,
};

const struct io_ops io_fibers = {
    .name = "fibers",
    .recv = fiber_recv,
    .send = fiber_send,
    .poll = fiber_poll,
    .offload = fiber_offload,
    .aside = fiber_aside,
    .expose = fiber_expose,
    .close = fiber_close,
    .lending = &lending,
};

/* ------------------------------------------------------------------------ an accept loop's waits
 */

static void many_fired(struct io_watch *watch)
{
	struct fibers *fibers = fibers_here;

	(void)watch; /* revents say it all, and stay until they were seen */
	if (fibers->waits_many)
		fiber_wake(fibers, &fibers->first, 0);
}

/* Have each watch armed that should be and is not. Returns how many have fired already. */
static int arm_many(struct fibers *fibers, const struct netd_pollfd *fds, struct io_watch *watches,
		    size_t count)
{
	int fired = 0;

	for (size_t i = 0; i < count; i++) {
		struct io_watch *watch = &watches[i];
		bool same = watch->fd == fds[i].fd && watch->events == fds[i].events;

		if (watch->armed && !same)
			fibers->ops->disarm(fibers->poller, watch);
		if (!same)
			watch->revents = 0;
		if (fds[i].fd >= 0 && !watch->armed && !watch->revents) {
			*watch = (struct io_watch){
			    .fire = many_fired, .fd = fds[i].fd, .events = fds[i].events};
			if (fibers->ops->arm(fibers->poller, watch) < 0)
				watch->revents = NETD_FAILED;
		}
		watch->fd = fds[i].fd;
		fired += watch->revents != 0;
	}
	return fired;
}

int fibers_wait_many(struct netd_pollfd *fds, struct io_watch *watches, size_t count,
		     int64_t deadline)
{
	struct fibers *fibers = fibers_here;
	int ready = 0;

	if (arm_many(fibers, fds, watches, count) == 0) {
		fibers->waits_many = true;
		fiber_park(fibers, deadline);
		fibers->waits_many = false;
	} else {
		fibers->budget = 1;
		fiber_may_go_on(fibers); /* those who were started before get their turn */
	}
	for (size_t i = 0; i < count; i++) {
		fds[i].revents = watches[i].revents;
		watches[i].revents = 0;
		ready += fds[i].revents != 0;
	}
	return ready;
}

void fibers_forget(struct io_watch *watches, size_t count)
{
	struct fibers *fibers = fibers_here;

	for (size_t i = 0; i < count; i++)
		if (watches[i].armed)
			fibers->ops->disarm(fibers->poller, &watches[i]);
	/* A ring hears of it when the poller waits next, and holds the files open until then. */
	fibers->budget = 1;
	fiber_may_go_on(fibers);
}
