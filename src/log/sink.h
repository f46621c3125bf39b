/*
 * sink.h - the seam between the log and where its lines go. log.c makes one record per event, a
 * sink turns it into one system call. A sink is found by its ops; there is a real "none".
 *
 * Every write is called by any number of threads at once, never waits, never allocates and raises
 * no signal. What it cannot pass on it refuses with -errno; the log counts and reports that.
 */
#ifndef LOG_SINK_H
#define LOG_SINK_H

#include "log/log.h"

#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

/* One event, ready to be framed. */
struct log_record {
	enum netd_level level;
	pid_t pid;
	unsigned thread;     /* 0: not numbered */
	const char *message; /* escaped and capped */
	size_t length;       /* of message, at most LOG_MESSAGE_MAX */
};

/* What open() needs to know; each sink takes what it has a use for. Borrowed for the call. */
struct sink_config {
	const char *path;  /* file, or the socket of the syslog daemon */
	const char *ident; /* syslog: the service's name */
	unsigned facility; /* syslog: its number, see log_facility() */
};

/* The common head of every sink's own struct. */
struct sink {
	const struct sink_ops *ops;
};

struct sink_ops {
	const char *name;

	/* Make the sink: 0 and *out, or -errno with words. */
	int (*open)(struct sink **out, const struct sink_config *config, struct err *err);

	/* Pass one record on: 0 or -errno. */
	int (*write)(struct sink *sink, const struct log_record *record);

	/* Open what the sink writes to anew, under the same descriptor number, so that writers
	 * never meet a closed one. -errno with words: the old one stays. */
	int (*reopen)(struct sink *sink, struct err *err);

	/* The directory root is "/" from now on. NULL: nothing depends on it. */
	void (*set_root)(struct sink *sink, const char *root);

	/* Close and free. */
	void (*close)(struct sink *sink);

	/* The one descriptor that the sink must keep, or -1. */
	int (*fd)(const struct sink *sink);
};

extern const struct sink_ops log_sink_none, log_sink_stderr, log_sink_file, log_sink_syslog;

/* As log_open() without a logfile, with the syslog daemon's socket at path. */
int log_open_syslog_at(struct log **out, const struct log_config *config, const char *path,
		       struct err *err);

/* The number of a syslog facility, or -EINVAL with words that name those allowed. */
int log_facility(const char *name, struct err *err);

/* log_escape() that also tells how many bytes of the input it took. */
size_t log_escape_upto(char *out, size_t size, const char *in, size_t length, size_t *taken);

/* ------------------------------------------------------------------- lines, for file and stderr */

#define LOG_STAMP_SIZE 32 /* "Sun Nov 22 08:35:05 2026", and room for years of 10 digits */

/* The local time as Perl's scalar localtime writes it, whatever the locale. Returns its length. */
size_t log_stamp(time_t now, char out[LOG_STAMP_SIZE]);

/* How a descriptor can be written to without ever waiting. */
enum line_way {
	LINE_CLOSED, /* there is none: every line is refused with -EBADF */
	LINE_WRITE,  /* write: a file, or a description of our own that is non-blocking */
	LINE_POLL,   /* ask poll(2) first: a description shared with others, left as it is */
	LINE_SEND,   /* a socket: send(2) has a flag for it */
};

struct line_out {
	int fd;
	enum line_way way;
	atomic_bool torn; /* the last line got in by half: end it before the next */
};

/* Write one record as one line in one system call. Returns 0 or -errno (nothing, or half of it,
 * was written). */
int log_line_write(struct line_out *out, const struct log_record *record);

/* Set *out up for standard error. A descriptor of our own (above 2) is to be closed by the caller.
 */
void log_line_stderr(struct line_out *out);

#endif
