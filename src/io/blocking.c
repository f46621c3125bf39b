/*
 * blocking.c - waiting by blocking system calls: what single, fork and threads use.
 *
 * Happy path: one recv or sendmsg per operation. A socket that a stop will shut down (handle->cut)
 * is waited for inside that call, and so is any where a stop is told again until it is heard. Any
 * other wait tries without blocking first, then polls the socket together with the interrupt's
 * descriptor, so that a stop is never missed between a check and a wait.
 */
#include "io/interrupt.h"
#include "io/io.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define POLL_ON_STACK 8 /* descriptors of netd_poll() that need no allocation */
#define LOOK_MS 100     /* a peer that never makes us wait can hide a stop for so long */

_Static_assert(NETD_IN == POLLIN && NETD_OUT == POLLOUT && NETD_FAILED == POLLERR &&
		   NETD_HUP == POLLHUP,
	       "netdaemon.h repeats the values of poll(2)");
_Static_assert(sizeof(struct netd_pollfd) == sizeof(struct pollfd), "same layout as struct pollfd");

/* Has the interrupt something to say? *ready is without its descriptor after this. 0 or -errno. */
static int ask_interrupt(const struct pollfd *interrupt, int *ready)
{
	if (interrupt->fd >= 0 && interrupt->revents)
		(*ready)--;
	else if (clock_ms() < interrupt_deadline())
		return 0;
	return interrupt_check();
}

/* Poll fds[count]; fds[count] is room for the interrupt. Returns the number ready, 0 at the
 * deadline, -ECANCELED, -EINTR or another -errno. */
static int poll_interruptible(struct pollfd *fds, size_t count, int64_t deadline)
{
	for (;;) {
		int64_t until = clock_earlier(deadline, interrupt_deadline());
		nfds_t n = (nfds_t)count;
		int ready, rc;

		fds[count] = (struct pollfd){.fd = interrupt_fd(), .events = POLLIN};
		if (fds[count].fd >= 0)
			n++;
		ready = poll(fds, n, clock_poll_timeout(until));
		if (ready < 0) {
			rc = errno == EINTR ? interrupt_eintr() : -errno;
			ready = 0;
		} else {
			rc = ask_interrupt(&fds[count], &ready);
		}
		if (rc < 0)
			return rc;
		if (ready > 0)
			return ready;
		if (deadline != NETD_NEVER && clock_ms() >= deadline)
			return 0;
	}
}

static int wait_for(struct io_handle *handle, short events, int64_t deadline)
{
	struct io_wait wait = io_wait_begin(handle, events, deadline);
	int rc;

	do {
		struct pollfd fds[2] = {{.fd = handle->fd, .events = events}};

		rc = poll_interruptible(fds, 1, wait.until);
	} while (rc == 0 && !io_wait_over(handle, &wait));
	if (rc == 0)
		return -ETIMEDOUT;
	return rc < 0 ? rc : 0;
}

/* A call that will not wait: let the interrupt have its say now and then. MSG_DONTWAIT or -errno.
 */
static int without_waiting(struct io_handle *handle, int64_t now)
{
	int64_t before = handle->look_at;
	int rc;

	if (!interrupt_exists() || handle->cut || now < before)
		return MSG_DONTWAIT;
	handle->look_at = now + LOOK_MS;
	rc = before ? interrupt_check() : 0; /* not at once: most conversations are short */
	return rc < 0 ? rc : MSG_DONTWAIT;
}

/*
 * How the next system call may wait: 0, by itself, where neither a limit nor a stop would be
 * missed; else MSG_DONTWAIT, and poll after it. -ETIMEDOUT, -ECANCELED: the wait is over already.
 */
static int call_flags(struct io_handle *handle, int64_t deadline)
{
	bool limited = io_is_limited(handle);
	int64_t now;

	if (deadline != NETD_NEVER) {
		now = clock_ms();
		return now >= deadline ? -ETIMEDOUT : without_waiting(handle, now);
	}
	if (handle->cut || !interrupt_exists())
		return limited ? MSG_DONTWAIT : 0;
	if (!limited && interrupt_repeats() && interrupt_deadline() == NETD_NEVER)
		return interrupt_check();
	return without_waiting(handle, clock_coarse_ms());
}

/* What a failed recv or send means: 0 try again, or -errno. */
static int after_failure(struct io_handle *handle, short events, int64_t deadline)
{
	int error, rc;

	switch (errno) {
	case EINTR:
		return interrupt_eintr();
	case EAGAIN:
		return wait_for(handle, events, deadline);
	default:
		error = -errno;
		/* A socket that a stop has shut down fails in ways of its own. */
		rc = handle->cut ? interrupt_check() : 0;
		return rc < 0 ? rc : error;
	}
}

static ssize_t blocking_recv(struct io_handle *handle, void *data, size_t size, int64_t deadline)
{
	for (;;) {
		int flags = call_flags(handle, deadline);
		ssize_t n;
		int rc;

		if (flags < 0)
			return flags;
		n = recv(handle->fd, data, size, flags);
		if (n > 0 || (n == 0 && size == 0)) {
			io_moved(handle);
			return n;
		}
		if (n == 0) /* the end, or the socket was cut by a stop */
			return handle->cut ? interrupt_check() : 0;
		rc = after_failure(handle, POLLIN, deadline);
		if (rc < 0)
			return rc;
	}
}

static ssize_t blocking_send(struct io_handle *handle, struct iovec *iov, int count,
			     int64_t deadline)
{
	ssize_t total = 0;

	while (count > 0) {
		struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
		int flags = call_flags(handle, deadline);
		ssize_t n;
		int rc;

		if (flags < 0)
			return flags;
		n = sendmsg(handle->fd, &message, flags | MSG_NOSIGNAL);
		if (n >= 0) {
			total += n;
			io_advance(&iov, &count, (size_t)n);
			io_moved(handle);
			continue;
		}
		rc = after_failure(handle, POLLOUT, deadline);
		if (rc < 0)
			return rc;
	}
	return total;
}

static int blocking_poll(struct netd_pollfd *fds, size_t count, int64_t deadline)
{
	struct pollfd few[POLL_ON_STACK + 1];
	struct pollfd *all = few;
	int rc;

	if (count > POLL_ON_STACK) {
		if (count > SIZE_MAX / sizeof *all - 1)
			return -EINVAL;
		all = malloc((count + 1) * sizeof *all);
		if (!all)
			return -ENOMEM;
	}
	if (count)
		memcpy(all, fds, count * sizeof *all);
	rc = poll_interruptible(all, count, deadline);
	if (rc >= 0 && count)
		memcpy(fds, all, count * sizeof *all);
	if (all != few)
		free(all);
	return rc;
}

static int blocking_offload(int (*fn)(void *arg), void *arg)
{
	return fn(arg);
}

static void blocking_aside(void (*fn)(void *arg), void *arg)
{
	fn(arg);
}

static void blocking_expose(struct io_handle *handle)
{
	handle->exposed = true; /* nothing is ever read ahead here */
}

static void blocking_close(struct io_handle *handle)
{
	close(handle->fd);
	handle->fd = -1;
}

const struct io_ops io_blocking = {
    .name = "blocking",
    .recv = blocking_recv,
    .send = blocking_send,
    .poll = blocking_poll,
    .offload = blocking_offload,
    .aside = blocking_aside,
    .expose = blocking_expose,
    .close = blocking_close,
};
