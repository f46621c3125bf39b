/*
 * poller.h - how one thread waits for many descriptors at once: the seam between the fiber
 * scheduler and the kernel. A poller is a row of operations found by name: io_uring (completions),
 * epoll (edges), poll (everywhere).
 *
 * A poller belongs to the thread that opened it. Nothing but wait() ever sleeps: everything else
 * tries, and says -EAGAIN; then await() or arm() leaves a watch, which fires inside wait().
 *
 *   lend -> -EAGAIN -> await(watch) -> (the fiber parks) -> wait: watch->fire() -> lend -> bytes
 */
#ifndef IO_POLLER_H
#define IO_POLLER_H

#include "base/base.h"
#include "io/buffers.h"
#include "io/io.h"

struct poller; /* each kind has its own, which begins with nothing in particular */

/*
 * Somebody waits for a descriptor, once. It stays where it is from arm() or await() until it has
 * fired or was disarmed; it is in no list any more when it fires. fire() is called inside wait()
 * only; it may arm other watches and disarm others, but never calls wait().
 */
struct io_watch {
	void (*fire)(struct io_watch *watch);
	struct io_watch *next, **link; /* the poller's */
	int fd;
	short events;  /* NETD_IN, NETD_OUT */
	short revents; /* what happened: also NETD_FAILED, NETD_HUP */
	uint32_t slot; /* the poller's */
	bool armed;
};

struct poller_ops {
	const char *name;

	/* buffers: for the bytes of lend() and post(); borrowed. Returns 0, or -errno with words:
	 * this system has no such poller, or does not allow it. */
	int (*open)(struct poller **out, struct buffers *buffers, struct err *err);
	/* Nothing is armed and every handle was closed. What is still under way is brought to its
	 * end. NULL is taken. */
	void (*close)(struct poller *poller);

	/*
	 * Give the kernel what is queued, sleep until something happens or the deadline has passed
	 * (0: do not sleep at all), fire the watches of what happened. Returns 0; -EINTR when a
	 * signal came; another -errno when the poller is broken.
	 */
	int (*wait)(struct poller *poller, int64_t deadline);

	/*
	 * Any descriptor: fire once when it is ready, also when it has been so before. Several
	 * watches may be armed on one descriptor. 0 or -errno (-ENOMEM ...). A number that is no
	 * open descriptor: -EBADF, or NETD_FAILED is what happens.
	 */
	int (*arm)(struct poller *poller, struct io_watch *watch);
	/* It will not fire. Takes one that is not armed. */
	void (*disarm)(struct poller *poller, struct io_watch *watch);

	/*
	 * A connection's own descriptor, blocking or not. The first call of these makes
	 * handle->slot. Each returns bytes, 0 at the end of input, -EAGAIN, or another -errno.
	 */
	ssize_t (*recv)(struct poller *poller, struct io_handle *handle, void *data, size_t size);
	/* The bytes stay with the poller: *data is valid, and one byte behind it, until
	 * give_back(). At most one loan a handle. */
	ssize_t (*lend)(struct poller *poller, struct io_handle *handle, char **data);
	void (*give_back)(struct poller *poller, char *data);
	/* count 0: only tells whether an earlier post() is still under way (-EAGAIN) or failed. */
	ssize_t (*send)(struct poller *poller, struct io_handle *handle, const struct iovec *iov,
			int count);
	/*
	 * Send the first size bytes of a buffer of `buffers`. Returns 0: taken over, all of it will
	 * be sent, or the failure kept for the next send or post; -EAGAIN: an earlier one is still
	 * under way; -ENOSYS: use send; -errno of an earlier one. Unless 0, the buffer is still the
	 * caller's.
	 */
	int (*post)(struct poller *poller, struct io_handle *handle, char *buffer, size_t size);
	/*
	 * After -EAGAIN: fire when the same call may get further (NETD_IN: recv, lend; NETD_OUT:
	 * send, post). A failure of the connection fires both. At most one watch for each
	 * direction. watch->fd is not looked at. 0 or -errno.
	 */
	int (*await)(struct poller *poller, struct io_handle *handle, struct io_watch *watch);
	/* Read nothing ahead any more: somebody else may use the descriptor. */
	void (*expose)(struct poller *poller, struct io_handle *handle);
	/* Close the descriptor, at once or when the kernel lets go of it. No watch awaits it, its
	 * loan was given back. handle->fd is -1 then. */
	void (*close_handle)(struct poller *poller, struct io_handle *handle);

	/* Called now and then when there is little to do: give memory back. */
	void (*trim)(struct poller *poller);
};

/* The kinds; NULL ends the list: the best one first. */
extern const struct poller_ops *const pollers[];

/* NULL: unknown, or not built in. */
const struct poller_ops *poller_find(const char *name);

#endif
