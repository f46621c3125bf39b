/*
 * io.h - the I/O seam: how a handler waits. Every wait of a connection, a sleep or a foreign
 * descriptor comes through here, so that the fiber scheduler can park instead of block.
 *
 * Two things are installed from above: the operations of the calling thread (io_blocking unless a
 * scheduler says otherwise), and the interrupt: a descriptor that ends or shortens waits when the
 * server stops (modes in which the handler runs where signals arrive).
 */
#ifndef IO_IO_H
#define IO_IO_H

#include "base/base.h"
#include "netdaemon.h"

#include <sys/uio.h>

/* A descriptor with what its operations need to know. Embedded in its owner. */
struct io_handle {
	int fd;
	bool cut;        /* a stop shuts this socket down: a wait may block in the call itself */
	int64_t look_at; /* io_blocking: when to ask the interrupt without having to wait */
	void *state;     /* of the operations; NULL for io_blocking */
};

/* How waits are done. Each returns as netd_read() and netd_poll() do. */
struct io_ops {
	const char *name;
	ssize_t (*recv)(struct io_handle *handle, void *data, size_t size, int64_t deadline);
	/* Sends all of it, using up iov. Returns the number of bytes. */
	ssize_t (*send)(struct io_handle *handle, struct iovec *iov, int count, int64_t deadline);
	int (*poll)(struct netd_pollfd *fds, size_t count, int64_t deadline);
	int (*offload)(int (*fn)(void *arg), void *arg);
};

/* Blocking system calls: single, fork, threads. */
extern const struct io_ops io_blocking;

/* Bytes off the front of an iovec array: where a short write left off. */
void io_advance(struct iovec **iov, int *count, size_t done);

/* The calling thread's operations; NULL puts io_blocking back. */
void io_set_ops(const struct io_ops *ops);
const struct io_ops *io_get_ops(void);

/*
 * Ends the waits of this process when the server stops. get_fd gives a descriptor that is readable
 * when check should be called (-1: none), deadline a moment at which it should be. check tells
 * whether the server stops now (-ECANCELED) or the wait goes on (0); after the first -ECANCELED the
 * descriptor stays readable. deliver_eintr: a signal ends a wait with -EINTR (catchint off).
 * repeats: a stop comes by a signal that is sent again until it is heard, so that a wait may block
 * in a system call of its own.
 * Borrowed until replaced; NULL: no interrupt.
 */
struct io_interrupt {
	int (*get_fd)(void *arg);
	int64_t (*deadline)(void *arg);
	int (*check)(void *arg);
	void *arg;
	bool deliver_eintr, repeats;
};
void io_set_interrupt(const struct io_interrupt *interrupt);

#endif
