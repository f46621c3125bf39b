/*
 * sink_stderr.c - lines to standard error, which may be anything: a terminal, a file, a pipe whose
 * reader stopped, the journal's socket, or closed.
 *
 * Happy path: a pipe or terminal is opened a second time, by its name in /proc, which gives a
 * description of our own that can be non-blocking; O_NONBLOCK on the shared one would reach into
 * the shell that started us. A file needs none of that, a socket has a flag per call. Failure:
 * without a second opening (no /proc, or owned by another user) poll(2) is asked before each write.
 * That is exact for a pipe as long as no other process fills it between the two calls. Closed when
 * the log is opened: closed for good, for whatever gets number 2 later is not ours.
 */
#include "log/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct sink_stderr {
	struct sink sink;
	struct line_out out;
};

/* A non-blocking description of the same pipe or terminal, above the standard numbers; or -1. */
static int open_again(void)
{
	int fd, high;

	fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	close(fd);
	return high;
}

void log_line_stderr(struct line_out *out)
{
	struct stat st;

	*out = (struct line_out){.fd = STDERR_FILENO, .way = LINE_WRITE};
	if (fstat(STDERR_FILENO, &st) < 0) {
		out->fd = -1;
		out->way = LINE_CLOSED;
	} else if (S_ISSOCK(st.st_mode)) {
		out->way = LINE_SEND;
	} else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		int own = open_again();

		if (own < 0)
			out->way = LINE_POLL;
		else
			out->fd = own;
	}
}

static int stderr_open(struct sink **out, const struct sink_config *config, struct err *err)
{
	struct sink_stderr *s = calloc(1, sizeof *s);

	(void)config;
	if (!s)
		return err_sys(err, -ENOMEM, "log on standard error");
	s->sink.ops = &log_sink_stderr;
	log_line_stderr(&s->out);
	*out = &s->sink;
	return 0;
}

static int stderr_write(struct sink *sink, const struct log_record *record)
{
	return log_line_write(&CONTAINER(sink, struct sink_stderr, sink)->out, record);
}

/* Standard error has no name to open anew: what it was at the start is what it is. */
static int stderr_reopen(struct sink *sink, struct err *err)
{
	(void)sink;
	(void)err;
	return 0;
}

static void stderr_close(struct sink *sink)
{
	struct sink_stderr *s = CONTAINER(sink, struct sink_stderr, sink);

	if (s->out.fd > STDERR_FILENO)
		close(s->out.fd);
	free(s);
}

static int stderr_fd(const struct sink *sink)
{
	const struct sink_stderr *s = (const void *)sink;

	return s->out.fd;
}

const struct sink_ops log_sink_stderr = {
    .name = "stderr",
    .open = stderr_open,
    .write = stderr_write,
    .reopen = stderr_reopen,
    .close = stderr_close,
    .fd = stderr_fd,
};
