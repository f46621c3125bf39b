/*
 * line.c - one record, one line, one system call: the form of lines in files and on standard error.
 *
 * Happy path: stamp, level, process and message go into a buffer on the stack, the buffer to the
 * descriptor, by the way that can never wait there. Failure: the line is refused with -errno. When
 * half of it got in (a disk that fills up), the next line begins with a newline, so that two events
 * never share a line. Signals that a write may raise are held off: a reader that went away
 * (SIGPIPE), a limit on file size (SIGXFSZ), a terminal in the foreground of others (SIGTTOU).
 */
#include "log/sink.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEAD_MAX 96 /* stamp, level, process, thread: 32 + 8 + 11 + 11 and what parts them */

/* strftime() would follow the locale. */
static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
				   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

size_t log_stamp(time_t now, char out[LOG_STAMP_SIZE])
{
	/* The last stamp of this thread. Compared for equality only, so a clock may jump. */
	static _Thread_local struct {
		time_t second;
		size_t length; /* 0: nothing here yet */
		char text[LOG_STAMP_SIZE];
	} last;
	struct tm tm;

	if (!last.length || last.second != now) {
		if (!localtime_r(&now, &tm)) /* a year that int cannot hold */
			tm = (struct tm){.tm_mday = 1, .tm_wday = 1};
		last.length =
		    (size_t)snprintf(last.text, sizeof last.text, "%s %s %2d %02d:%02d:%02d %lld",
				     days[tm.tm_wday], months[tm.tm_mon], tm.tm_mday, tm.tm_hour,
				     tm.tm_min, tm.tm_sec, tm.tm_year + 1900LL);
		last.second = now;
	}
	memcpy(out, last.text, last.length + 1);
	return last.length;
}

/* Everything before the message. Returns its length. */
static size_t line_head(char out[HEAD_MAX], const struct log_record *record)
{
	char stamp[LOG_STAMP_SIZE], thread[16] = "";

	log_stamp(time(NULL), stamp);
	if (record->thread)
		snprintf(thread, sizeof thread, ".%u", record->thread);
	return (size_t)snprintf(out, HEAD_MAX, "%s %s, %ld%s, ", stamp,
				log_level_name(record->level), (long)record->pid, thread);
}

/* The signals that a write may bring upon the thread that makes it. */
static void signals_of_writing(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGPIPE);
	sigaddset(set, SIGXFSZ);
}

/* Take the signals back that a failed write raised, but none that waited before it. */
static void take_back_signals(const sigset_t *waited)
{
	const struct timespec now = {0};
	sigset_t raised;

	signals_of_writing(&raised);
	if (sigismember(waited, SIGPIPE))
		sigdelset(&raised, SIGPIPE);
	if (sigismember(waited, SIGXFSZ))
		sigdelset(&raised, SIGXFSZ);
	while (sigtimedwait(&raised, NULL, &now) > 0)
		continue;
}

static ssize_t write_quietly(int fd, const struct iovec *iov, int count)
{
	sigset_t held, old, waited;
	ssize_t n;

	signals_of_writing(&held);
	sigaddset(&held, SIGTTOU); /* blocked, it is not raised at all: the write goes through */
	sigemptyset(&waited);
	pthread_sigmask(SIG_BLOCK, &held, &old);
	if (sigismember(&old, SIGPIPE) || sigismember(&old, SIGXFSZ))
		sigpending(&waited);
	n = writev(fd, iov, count);
	if (n < 0) {
		n = -errno;
		take_back_signals(&waited);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return n;
}

static ssize_t write_polled(int fd, const struct iovec *iov, int count)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLOUT};

	/* A pipe that polls writable takes PIPE_BUF bytes at once, and a line is shorter. */
	if (poll(&pollfd, 1, 0) < 0)
		return -errno;
	if (pollfd.revents & POLLERR)
		return -EPIPE;
	if (!(pollfd.revents & POLLOUT))
		return -EAGAIN;
	return write_quietly(fd, iov, count);
}

static ssize_t write_socket(int fd, struct iovec *iov, int count)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)count};
	ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

static ssize_t write_some(const struct line_out *out, struct iovec *iov, int count)
{
	switch (out->way) {
	case LINE_WRITE:
		return write_quietly(out->fd, iov, count);
	case LINE_POLL:
		return write_polled(out->fd, iov, count);
	case LINE_SEND:
		return write_socket(out->fd, iov, count);
	case LINE_CLOSED:
		break;
	}
	return -EBADF;
}

int log_line_write(struct line_out *out, const struct log_record *record)
{
	char line[HEAD_MAX + LOG_MESSAGE_MAX + 1], newline[] = "\n";
	struct iovec iov[2] = {{.iov_base = newline}, {.iov_base = line}};
	size_t length = line_head(line, record);
	ssize_t n;

	memcpy(line + length, record->message, record->length);
	length += record->length;
	line[length++] = '\n';
	iov[1].iov_len = length;

	/* Only one thread finds the flag set and ends the torn line. */
	iov[0].iov_len = atomic_exchange(&out->torn, false) ? 1 : 0;
	n = write_some(out, iov, 2);
	if (n < 0) {
		if (iov[0].iov_len)
			atomic_store(&out->torn, true);
		return (int)n;
	}
	if ((size_t)n == iov[0].iov_len + length)
		return 0;
	atomic_store(&out->torn, n == 0 ? iov[0].iov_len : (size_t)n > iov[0].iov_len);
	return -ENOSPC;
}
