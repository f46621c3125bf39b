/*
 * io_front.h - a front before the system calls that io_blocking waits with (--wrap): it makes them
 * fail, or runs something right before them; and a scene: a pair of sockets and an interrupt.
 */
#ifndef TESTS_UNIT_IO_FRONT_H
#define TESTS_UNIT_IO_FRONT_H

#include "io/io.h"
#include "scarce.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

/* ----------------------------------------------------------------- the front of system calls */

/* What the next calls of one kind do. */
struct front {
	int errors[8]; /* each fails one call; 0: the call is made */
	size_t count, at;
	int calls;
	int flags;            /* of the last call */
	void (*before)(void); /* run once, right before the next call */
};

static struct front recv_front, send_front, poll_front;
static size_t send_limit; /* the most one sendmsg() takes; 0: any */

static inline void fronts_reset(void)
{
	memset(&recv_front, 0, sizeof recv_front);
	memset(&send_front, 0, sizeof send_front);
	memset(&poll_front, 0, sizeof poll_front);
	send_limit = 0;
}

static inline void will_fail(struct front *front, int error)
{
	assert_true(front->count < ARRAY_LEN(front->errors));
	front->errors[front->count++] = error;
}

/* True: the call fails with errno. */
static inline bool front_fails(struct front *front)
{
	void (*before)(void) = front->before;

	front->calls++;
	front->before = NULL;
	if (before)
		before();
	if (front->at == front->count || !front->errors[front->at++])
		return false;
	errno = front->errors[front->at - 1];
	return true;
}

ssize_t __real_recv(int fd, void *data, size_t size, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __real_send(int fd, const void *data, size_t size, int flags);
int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
ssize_t __wrap_recv(int fd, void *data, size_t size, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);

ssize_t __wrap_recv(int fd, void *data, size_t size, int flags)
{
	recv_front.flags = flags;
	return front_fails(&recv_front) ? -1 : __real_recv(fd, data, size, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct msghdr less = *message;
	struct iovec first = message->msg_iov[0];

	send_front.flags = flags;
	if (front_fails(&send_front))
		return -1;
	if (send_limit) {
		if (first.iov_len > send_limit)
			first.iov_len = send_limit;
		less.msg_iov = &first;
		less.msg_iovlen = 1;
	}
	return __real_sendmsg(fd, &less, flags);
}

ssize_t __wrap_send(int fd, const void *data, size_t size, int flags)
{
	send_front.flags = flags;
	if (front_fails(&send_front))
		return -1;
	return __real_send(fd, data, send_limit && size > send_limit ? send_limit : size, flags);
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	return front_fails(&poll_front) ? -1 : __real_poll(fds, count, timeout);
}

/* --------------------------------------------------------------------------------- the scene */

/* An interrupt whose descriptor is a pipe. */
static struct {
	int fds[2];
	bool none;   /* it has no descriptor */
	int rc;      /* what check says */
	int drain;   /* check empties the pipe */
	int checks;  /* how often it was asked */
	int64_t at;  /* its deadline */
	int give_up; /* checks after which rc becomes -ECANCELED; 0: never */
	struct io_interrupt interrupt;
} stop;

static struct io_handle handle; /* one end of a socket pair */
static int peer;                /* the other */

static inline int stop_fd(void *arg)
{
	(void)arg;
	return stop.none ? -1 : stop.fds[0];
}

static inline int64_t stop_at(void *arg)
{
	(void)arg;
	return stop.at;
}

static inline int stop_check(void *arg)
{
	char c;

	assert_ptr_equal(arg, &stop);
	stop.checks++;
	if (stop.drain)
		while (read(stop.fds[0], &c, 1) > 0)
			;
	if (stop.give_up && stop.checks >= stop.give_up)
		stop.rc = -ECANCELED;
	return stop.rc;
}

static inline void stop_now(void)
{
	stop.rc = -ECANCELED;
	assert_int_equal(write(stop.fds[1], "", 1), 1);
}

static inline void wake_only(void)
{
	assert_int_equal(write(stop.fds[1], "", 1), 1);
}

static inline void peer_says_hi(void)
{
	assert_int_equal(write(peer, "hi", 2), 2);
}

static inline int setup(void **state)
{
	int fds[2];

	(void)state;
	fronts_reset();
	memset(&stop, 0, sizeof stop);
	stop.at = NETD_NEVER;
	stop.interrupt = (struct io_interrupt){
	    .get_fd = stop_fd, .deadline = stop_at, .check = stop_check, .arg = &stop};
	if (pipe2(stop.fds, O_NONBLOCK | O_CLOEXEC) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	handle = (struct io_handle){.fd = fds[0]};
	peer = fds[1];
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	io_set_interrupt(NULL);
	io_set_ops(NULL);
	close(stop.fds[0]);
	close(stop.fds[1]);
	close(handle.fd);
	if (peer >= 0)
		close(peer);
	return 0;
}

#define IO_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline ssize_t receive(char *data, size_t size, int64_t deadline)
{
	return io_blocking.recv(&handle, data, size, deadline);
}

static inline ssize_t transmit(const char *data, size_t size, int64_t deadline)
{
	char copy[1000];
	struct iovec iov = {copy, size};

	memcpy(copy, data, size);
	return io_blocking.send(&handle, &iov, 1, deadline);
}

/* Send until nothing more fits. */
static inline void fill_socket(void)
{
	char data[4096] = "";

	while (__real_send(handle.fd, data, sizeof data, MSG_DONTWAIT) > 0)
		;
	assert_int_equal(errno, EAGAIN);
}

static inline void drain_peer(void)
{
	char data[65536];

	while (recv(peer, data, sizeof data, MSG_DONTWAIT) > 0)
		;
}

#endif
