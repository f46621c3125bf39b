/*
 * direct.c - see direct.h.
 *
 * Happy path: one recv() or sendmsg(). MSG_DONTWAIT makes the call not wait whatever the descriptor
 * says: it stays blocking for a handler that takes it by netd_fd().
 */
#include "io/direct.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

HOT_PATH ssize_t direct_recv(int fd, void *data, size_t size)
{
	ssize_t n;

	do
		n = recv(fd, data, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

HOT_PATH ssize_t direct_lend(struct buffers *buffers, int fd, char **data)
{
	char *buffer = buffers_take(buffers);
	ssize_t n;

	if (!buffer)
		return -ENOMEM;
	n = direct_recv(fd, buffer, DIRECT_LOAN);
	if (n > 0)
		*data = buffer;
	else
		buffers_give(buffers, buffer);
	return n;
}

HOT_PATH ssize_t direct_send(int fd, const struct iovec *iov, int count)
{
	/* sendmsg() only reads them; the field is not const because recvmsg() has the same struct.
	 */
	union {
		const struct iovec *given;
		struct iovec *wanted;
	} parts = {.given = iov};
	struct msghdr message = {.msg_iov = parts.wanted, .msg_iovlen = (size_t)count};
	ssize_t n;

	do
		n = count == 1 ? send(fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL)
			       : sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int direct_no_post(struct poller *poller, struct io_handle *handle, char *buffer, size_t size)
{
	(void)poller;
	(void)handle;
	(void)buffer;
	(void)size;
	return -ENOSYS;
}

void direct_expose(struct poller *poller, struct io_handle *handle)
{
	(void)poller;
	handle->exposed = true;
}

void watch_push(struct io_watch **list, struct io_watch *watch)
{
	watch->next = *list;
	watch->link = list;
	if (watch->next)
		watch->next->link = &watch->next;
	*list = watch;
}

void watch_unlink(struct io_watch *watch)
{
	*watch->link = watch->next;
	if (watch->next)
		watch->next->link = watch->link;
	watch->next = NULL;
	watch->link = NULL;
}

HOT_PATH void watch_is_due(struct watch_due *due, struct io_watch *watch, short revents)
{
	watch->revents = revents;
	watch_push(&due->next, watch);
}

HOT_PATH void watch_fire_due(struct watch_due *due)
{
	due->firing = due->next;
	due->next = NULL;
	if (due->firing)
		due->firing->link = &due->firing;
	while (due->firing) {
		struct io_watch *watch = due->firing;

		watch_unlink(watch);
		watch->armed = false;
		watch->fire(watch);
	}
}

int watch_timeout(const struct watch_due *due, int64_t deadline)
{
	if (due->next || deadline <= 0)
		return 0;
	return clock_poll_timeout(deadline);
}
