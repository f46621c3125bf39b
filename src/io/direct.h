/*
 * direct.h - what the pollers that only tell readiness share: a socket's bytes by system calls that
 * never wait, and lists of watches.
 */
#ifndef IO_DIRECT_H
#define IO_DIRECT_H

#include "io/poller.h"

/* Each returns bytes, 0 at the end of input, -EAGAIN, or another -errno. */
ssize_t direct_recv(int fd, void *data, size_t size);
/* Into a buffer of `buffers`, which is the caller's when the result is more than 0; at most
 * DIRECT_LOAN bytes. */
ssize_t direct_lend(struct buffers *buffers, int fd, char **data);
ssize_t direct_send(int fd, const struct iovec *iov, int count);

#define DIRECT_LOAN (IO_BUFFER - 1)

/* poller_ops.post of those that have none. */
int direct_no_post(struct poller *poller, struct io_handle *handle, char *buffer, size_t size);
/* poller_ops.expose of those that never read ahead. */
void direct_expose(struct poller *poller, struct io_handle *handle);

/* Put a watch in front of a list. */
void watch_push(struct io_watch **list, struct io_watch *watch);
/* Take it out of the list it is in. */
void watch_unlink(struct io_watch *watch);

/* Watches to fire in this wait() or the next; disarm takes one out by watch_unlink(). */
struct watch_due {
	struct io_watch *next;   /* to fire in the next wait() */
	struct io_watch *firing; /* in this one */
};

/* This is what happened: fire it. Pushed last, fired first. */
void watch_is_due(struct watch_due *due, struct io_watch *watch, short revents);
/* Fire those that are due by now; what they make due waits for the next time. */
void watch_fire_due(struct watch_due *due);

/* How long a wait() may sleep, for poll(2) and its kind. */
int watch_timeout(const struct watch_due *due, int64_t deadline);

#endif
