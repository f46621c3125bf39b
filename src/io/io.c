/*
 * io.c - which operations a thread waits with, what interrupts the waits of the process, and the
 * waits that belong to no connection (netd_now, netd_sleep, netd_poll, netd_offload).
 */
#include "io/io.h"

#include "io/interrupt.h"

#include <errno.h>
#include <stddef.h>

static _Thread_local const struct io_ops *current_ops; /* NULL: io_blocking */

static const struct io_interrupt *interrupt; /* set before handlers run */

void io_set_ops(const struct io_ops *ops)
{
	current_ops = ops;
}

const struct io_ops *io_get_ops(void)
{
	return current_ops ? current_ops : &io_blocking;
}

void io_set_interrupt(const struct io_interrupt *new_interrupt)
{
	interrupt = new_interrupt;
}

int interrupt_fd(void)
{
	return interrupt ? interrupt->get_fd(interrupt->arg) : -1;
}

int64_t interrupt_deadline(void)
{
	return interrupt ? interrupt->deadline(interrupt->arg) : NETD_NEVER;
}

int interrupt_check(void)
{
	return interrupt ? interrupt->check(interrupt->arg) : 0;
}

int interrupt_eintr(void)
{
	int rc = interrupt_check();

	if (rc == 0 && interrupt && interrupt->deliver_eintr)
		return -EINTR;
	return rc;
}

bool interrupt_exists(void)
{
	return interrupt != NULL;
}

bool interrupt_repeats(void)
{
	return interrupt && interrupt->repeats;
}

void io_advance(struct iovec **iov, int *count, size_t done)
{
	while (*count > 0 && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (*count > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

int64_t netd_now(void)
{
	return clock_ms();
}

int netd_sleep(int64_t milliseconds)
{
	int64_t deadline = clock_deadline(milliseconds < 0 ? 0 : milliseconds);

	return io_get_ops()->poll(NULL, 0, deadline);
}

int netd_poll(struct netd_pollfd *fds, size_t count, int64_t deadline)
{
	return io_get_ops()->poll(fds, count, deadline);
}

int netd_offload(int (*fn)(void *arg), void *arg)
{
	return io_get_ops()->offload(fn, arg);
}
