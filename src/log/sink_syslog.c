/*
 * sink_syslog.c - datagrams to the syslog daemon, framed here: libc's syslog() blocks when the
 * daemon stands still, and keeps one connection for the whole process.
 *
 * Happy path: a connected, non-blocking Unix datagram socket; one event is one datagram in the
 * local form of RFC 3164, section 4.1 (no host name: the daemon knows its own), "<PRI>Mon DD
 * HH:MM:SS IDENT[PID]: MESSAGE". A daemon that listens on a stream socket is served too; NUL ends a
 * record. Failure: a daemon that does not read costs lines (-EAGAIN), never time. A daemon that is
 * gone is looked for again at most once per second; until then lines are refused. When nobody was
 * there at the start, lines go to standard error instead until somebody is.
 */
#include "log/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_MS 1000                              /* between two looks for a daemon that is gone */
#define IDENT_MAX 48                               /* bytes of the service's name that are kept */
#define FRAME_MAX (IDENT_MAX + 2 * LOG_STAMP_SIZE) /* everything but the message */

struct sink_syslog {
	struct sink sink;
	struct sockaddr_un address;
	unsigned facility;
	char ident[IDENT_MAX + 1];
	struct line_out spare;    /* standard error, before the first connection */
	atomic_bool on_spare;     /* lines go there; never true again once connected */
	atomic_int fd;            /* the socket; before: spare's own descriptor, or -1 */
	atomic_bool stream;       /* of type SOCK_STREAM */
	_Atomic int64_t retry_at; /* no look for the daemon before this moment */
};

/* RFC 3164, section 4.1.1, table 1. */
static const struct {
	const char *name;
	unsigned number;
} facilities[] = {
    {"auth", 4},    {"authpriv", 10}, {"cron", 9},    {"daemon", 3},  {"ftp", 11},
    {"kern", 0},    {"local0", 16},   {"local1", 17}, {"local2", 18}, {"local3", 19},
    {"local4", 20}, {"local5", 21},   {"local6", 22}, {"local7", 23}, {"lpr", 6},
    {"mail", 2},    {"news", 7},      {"syslog", 5},  {"user", 1},    {"uucp", 8},
};

int log_facility(const char *name, struct err *err)
{
	for (size_t i = 0; name && i < ARRAY_LEN(facilities); i++)
		if (strcmp(name, facilities[i].name) == 0)
			return (int)facilities[i].number;
	return err_set(err, -EINVAL,
		       "unknown syslog facility '%s'; allowed are auth, authpriv, cron, daemon, "
		       "ftp, kern, local0 to local7, lpr, mail, news, syslog, user, uucp",
		       name ? name : "");
}

int log_facility_check(const char *name, struct err *err)
{
	int facility = log_facility(name, err);

	return facility < 0 ? facility : 0;
}

/* A socket of this type that is connected to the daemon, or -errno. */
static int connect_type(const struct sink_syslog *s, int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), code;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&s->address, sizeof s->address) == 0)
		return fd;
	code = -errno;
	close(fd);
	return code;
}

/* Connect anew; writers see the old socket or the new one, under one number for good. */
static int syslog_connect(struct sink_syslog *s)
{
	int old = -1, fd, code = 0;
	bool stream = false;

	fd = connect_type(s, SOCK_DGRAM);
	if (fd == -EPROTOTYPE) {
		stream = true;
		fd = connect_type(s, SOCK_STREAM);
	}
	if (fd < 0)
		return fd;
	atomic_store(&s->stream, stream);
	if (!atomic_compare_exchange_strong(&s->fd, &old, fd)) {
		if (dup3(fd, old, O_CLOEXEC) < 0)
			code = -errno;
		close(fd);
	}
	if (code == 0)
		atomic_store(&s->on_spare, false);
	return code;
}

/* True for one caller per second. */
static bool may_retry(struct sink_syslog *s)
{
	int64_t now = clock_ms(), at = atomic_load(&s->retry_at);

	return now >= at && atomic_compare_exchange_strong(&s->retry_at, &at, now + RETRY_MS);
}

static bool daemon_gone(int code)
{
	switch (-code) {
	case ECONNREFUSED:
	case ENOTCONN:
	case ENOENT:
	case ECONNRESET:
	case EPIPE:
		return true;
	default:
		return false;
	}
}

static int send_record(struct sink_syslog *s, const struct log_record *record)
{
	char frame[FRAME_MAX + LOG_MESSAGE_MAX + 1], stamp[LOG_STAMP_SIZE];
	int fd = atomic_load(&s->fd);
	size_t length;
	ssize_t n;

	log_stamp(time(NULL), stamp);
	length = (size_t)snprintf(frame, sizeof frame,
				  "<%u>%.15s %s[%ld]: ", s->facility << 3 | (unsigned)record->level,
				  stamp + strlen("Sun "), s->ident, (long)record->pid);
	memcpy(frame + length, record->message, record->length);
	length += record->length;
	if (atomic_load(&s->stream))
		frame[length++] = '\0';
	n = send(fd, frame, length, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if ((size_t)n == length)
		return 0;
	shutdown(fd, SHUT_RDWR); /* half a record in a stream: nothing may be joined to it */
	return -EPIPE;
}

static int syslog_write(struct sink *sink, const struct log_record *record)
{
	struct sink_syslog *s = CONTAINER(sink, struct sink_syslog, sink);
	int code = -ENOTCONN;

	if (!atomic_load(&s->on_spare))
		code = send_record(s, record);
	if (code < 0 && daemon_gone(code) && may_retry(s) && syslog_connect(s) == 0)
		code = send_record(s, record);
	if (code < 0 && atomic_load(&s->on_spare))
		code = log_line_write(&s->spare, record);
	return code;
}

/* Nobody listens: have standard error ready, and say so there. */
static void use_spare(struct sink_syslog *s)
{
	struct log_record record = {.level = NETD_WARNING, .pid = getpid()};
	char raw[sizeof s->address.sun_path + 64], message[4 * sizeof raw + 1];

	log_line_stderr(&s->spare);
	if (s->spare.fd > STDERR_FILENO)
		atomic_store(&s->fd, s->spare.fd);
	atomic_store(&s->on_spare, true);
	snprintf(raw, sizeof raw, "no syslog at %s: logging to standard error",
		 s->address.sun_path);
	record.length = log_escape(message, sizeof message, raw, strlen(raw));
	record.message = message;
	log_line_write(&s->spare, &record);
}

static int syslog_open(struct sink **out, const struct sink_config *config, struct err *err)
{
	struct sink_syslog *s;

	if (strlen(config->path) >= sizeof s->address.sun_path)
		return err_set(err, -ENAMETOOLONG, "syslog socket %s: the path is too long",
			       config->path);
	s = calloc(1, sizeof *s);
	if (!s)
		return err_sys(err, -ENOMEM, "syslog");
	s->sink.ops = &log_sink_syslog;
	s->address.sun_family = AF_UNIX;
	memcpy(s->address.sun_path, config->path, strlen(config->path) + 1);
	s->facility = config->facility;
	log_escape(s->ident, sizeof s->ident, config->ident, strlen(config->ident));
	atomic_store(&s->fd, -1);
	if (syslog_connect(s) < 0) {
		atomic_store(&s->retry_at, clock_ms() + RETRY_MS);
		use_spare(s);
	}
	*out = &s->sink;
	return 0;
}

static int syslog_reopen(struct sink *sink, struct err *err)
{
	struct sink_syslog *s = CONTAINER(sink, struct sink_syslog, sink);
	int code = syslog_connect(s);

	return code < 0 ? err_sys(err, code, "syslog at %s", s->address.sun_path) : 0;
}

static void syslog_close(struct sink *sink)
{
	struct sink_syslog *s = CONTAINER(sink, struct sink_syslog, sink);
	int fd = atomic_load(&s->fd);

	if (fd >= 0)
		close(fd);
	free(s);
}

static int syslog_fd(const struct sink *sink)
{
	const struct sink_syslog *s = (const void *)sink;

	return atomic_load(&s->fd);
}

const struct sink_ops log_sink_syslog = {
    .name = "syslog",
    .open = syslog_open,
    .write = syslog_write,
    .reopen = syslog_reopen,
    .close = syslog_close,
    .fd = syslog_fd,
};
