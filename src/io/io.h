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
	bool cut;         /* a stop shuts this socket down: a wait may block in the call itself */
	bool exposed;     /* others may use fd as well: nothing is read ahead of its owner's wish */
	uint32_t slot;    /* of the poller; 0: it does not know this descriptor */
	uint32_t wait_ms; /* how long a single wait may be; 0: no limit but the deadline */
	int64_t look_at;  /* io_blocking: when to ask the interrupt without having to wait */
	struct io_idle *idle; /* of its owner; NULL: it may be idle for ever */
};

/*
 * How long a descriptor may be idle: nothing may move on it in any direction, whatever is waited
 * for. What the system moves by itself counts, such as output that a slow peer takes out of a full
 * queue, and so do waits that ended early.
 */
struct io_idle {
	uint32_t limit_ms; /* 0: none */
	uint32_t mark;     /* of struct os_flow, when it was last asked for */
	int64_t since;     /* when it began to be idle, as far as we know; 0: it is not */
	bool over;         /* it was idle for too long */
};

/* How waits are done. Each returns as netd_read() and netd_poll() do. */
struct io_ops {
	const char *name;
	ssize_t (*recv)(struct io_handle *handle, void *data, size_t size, int64_t deadline);
	/* Sends all of it, using up iov. Returns the number of bytes. */
	ssize_t (*send)(struct io_handle *handle, struct iovec *iov, int count, int64_t deadline);
	int (*poll)(struct netd_pollfd *fds, size_t count, int64_t deadline);
	int (*offload)(int (*fn)(void *arg), void *arg);
	/* Call fn(arg), which needs much stack and never waits. */
	void (*aside)(void (*fn)(void *arg), void *arg);
	void (*expose)(struct io_handle *handle); /* for netd_fd(): sets handle->exposed */
	void (*close)(struct io_handle *handle);  /* the descriptor too; handle->fd is -1 then */

	/* Memory that belongs to nobody while he waits. All of them NULL: there is no such thing,
	 * and every connection has its own. */
	const struct io_lending *lending;
};

struct io_lending {
	/*
	 * As recv, but the bytes are in memory of the operations: *data, with one more byte behind
	 * them that may be written to. The borrower gives it back before he waits for more.
	 */
	ssize_t (*lend)(struct io_handle *handle, char **data, int64_t deadline);
	void (*give_back)(char *data);
	/* A buffer of IO_BUFFER bytes for output, or NULL; for post() or drop_buffer(). */
	char *(*take_buffer)(void);
	void (*drop_buffer)(char *buffer);
	/* Send the first size bytes of a buffer, which is taken over, while the handler goes on.
	 * Returns 1: under way, send() with no bytes waits for it; 0: done; or -errno, perhaps of
	 * an earlier one. */
	int (*post)(struct io_handle *handle, char *buffer, size_t size, int64_t deadline);
};

#define IO_BUFFER 16384

/* A wait for a handle. */
struct io_wait {
	int64_t until; /* when to ask io_wait_over(); NETD_NEVER */
	int64_t last;  /* it may not be any longer */
};

/* It begins now. */
struct io_wait io_wait_begin(struct io_handle *handle, short events, int64_t deadline);

/* wait->until has come, and nothing else. False: go on waiting until the new wait->until. */
bool io_wait_over(struct io_handle *handle, struct io_wait *wait);

/* For those who wait for other things meanwhile: how long is it idle by now, in ms? 0 where the
 * system does not tell. */
int64_t io_idle_ms(struct io_handle *handle, int64_t now);

/* Something has moved. */
static inline void io_moved(struct io_handle *handle)
{
	if (handle->idle)
		handle->idle->since = 0;
}

/* May a wait end before its deadline? */
static inline bool io_is_limited(const struct io_handle *handle)
{
	return handle->wait_ms || (handle->idle && handle->idle->limit_ms);
}

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
