/*
 * log.h - one event, one line, never a wait. A log has a level, a sink and a count of what it had
 * to drop. Any thread may write at any time; forked children share the sink.
 *
 * Happy path: log_open() picks a sink -> log_write() formats, escapes, hands one line to the sink
 * in one system call. Failure: the sink's line is counted as dropped; when the sink takes lines
 * again it is told how many were lost.
 */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include "base/base.h"
#include "netdaemon.h"

#define LOG_MESSAGE_MAX 2000 /* bytes of a message that are kept, escapes included */

struct log;

/* Where lines go, as configured. */
struct log_config {
	const char *ident;    /* the service's name */
	const char *logfile;  /* NULL: syslog; "STDERR" in any case: standard error; else a path */
	const char *facility; /* "daemon", "local0", ... */
	bool debug;           /* take level debug */
};

/* 0, or -EINVAL with err naming what is allowed. */
int log_facility_check(const char *name, struct err *err);

/*
 * Open the sink. syslog: connects to /dev/log; when nobody is there the log is made all the same,
 * goes to standard error until a reconnect works, and says so once. Returns 0 and the log in *out,
 * or -errno (a file that cannot be opened for appending; -ENOMEM).
 */
int log_open(struct log **out, const struct log_config *config, struct err *err);

/* A log that takes everything and writes nothing: tests, and before a real one is open. */
struct log *log_none(void);

/* Open the file, or connect to syslog, anew (SIGHUP, SIGUSR1). On failure the old sink stays and
 * the reason is logged to it. */
int log_reopen(struct log *log);

/* Close and free. NULL and log_none() are taken. Returns NULL. */
struct log *log_close(struct log *log);

/* True when a message of this level would be written: ask before costly formatting. */
bool log_wants(const struct log *log, enum netd_level level);

/* In which connection or thread an event happened. All fields may be 0/NULL. */
struct log_context {
	uint64_t conn;    /* connection number; 0: none */
	const char *peer; /* who; NULL: none */
};

/*
 * Write one line. Sink file and stderr:
 *   "Sun Nov 22 08:35:05 2026 notice, 1234, message\n"          stamp level, process, message
 *   "Sun Nov 22 08:35:05 2026 notice, 1234.7, message\n"        from thread number 7
 * The message is escaped (log_escape) and capped at LOG_MESSAGE_MAX. errno is kept.
 */
void log_write(struct log *log, enum netd_level level, const struct log_context *context,
	       const char *format, ...) PRINTF_LIKE(4, 5);
void log_vwrite(struct log *log, enum netd_level level, const struct log_context *context,
		const char *format, va_list args) PRINTF_LIKE(4, 0);

/* Number the calling thread in its log lines; 0 (as at start): no number. */
void log_set_thread(unsigned number);

/* Lines lost so far in this process, or in all that share the account. */
uint64_t log_drops(const struct log *log);

/* Lines that were lost, and how many of them no line has told of yet. */
struct log_account {
	_Atomic uint64_t drops, unreported;
};

/* Keep the account in memory that processes share: what one lost, any of them reports. */
void log_share_account(struct log *log, struct log_account *account);

/* "emerg" ... "debug". */
const char *log_level_name(enum netd_level level);

/* The descriptor of the sink, or -1: for the code that closes all others. */
int log_fd(const struct log *log);

/* A name that chroot or the drop of privileges took away cannot be reopened: tell the log the
 * directory that became "/", so that paths below it are cut and others are refused with words. */
void log_set_root(struct log *log, const char *root);

/*
 * Escape for a log line: C0, C1 (as UTF-8 too), DEL and backslash become \n, \t, \\ or \xNN;
 * valid UTF-8 otherwise passes, invalid bytes become \xNN. Writes at most size bytes with the NUL,
 * never half an escape. Returns the length written.
 */
size_t log_escape(char *out, size_t size, const char *in, size_t length);

#endif
