/*
 * log.c - the log object: which levels are written, what a message looks like, and the account of
 * what was lost.
 *
 * Happy path: log_vwrite() formats into a buffer on the stack, escapes into a second, hands the
 * record to the sink. No lock and no memory is taken, so it works on a small stack, in a process
 * that is short of everything, and in the child of a process with threads.
 * Failure: a record that the sink refuses is counted. The next event first hands in "N log lines
 * were lost"; only when the sink takes that are lines passed on again.
 */
#include "log/log.h"
#include "log/sink.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define SYSLOG_PATH "/dev/log"
#define RAW_MAX                                                                                    \
	(LOG_MESSAGE_MAX + 1) /* one byte more than is kept shows that something was cut           \
			       */

struct log {
	struct sink *sink; /* owned */
	bool debug;
	struct log_account *account; /* our own, or one that processes share */
	struct log_account own;
	_Atomic pid_t owner; /* the process that our own belongs to */
};

static const char level_names[][8] = {
    [NETD_EMERG] = "emerg", [NETD_ALERT] = "alert",     [NETD_CRIT] = "crit",
    [NETD_ERR] = "err",     [NETD_WARNING] = "warning", [NETD_NOTICE] = "notice",
    [NETD_INFO] = "info",   [NETD_DEBUG] = "debug",
};

static _Thread_local unsigned thread_number;

/* A level from outside the table must not lose the event. */
static enum netd_level level_sane(enum netd_level level)
{
	return (size_t)level < ARRAY_LEN(level_names) ? level : NETD_ERR;
}

const char *log_level_name(enum netd_level level)
{
	return level_names[level_sane(level)];
}

void log_set_thread(unsigned number)
{
	thread_number = number;
}

/* ------------------------------------------------------------------------------ the object's life
 */

static int open_sink(struct log **out, const struct log_config *config, const struct sink_ops *ops,
		     const struct sink_config *where, struct err *err)
{
	struct log *log = calloc(1, sizeof *log);
	int code;

	if (!log)
		return err_sys(err, -ENOMEM, "log");
	tzset(); /* the time zone's file cannot be read after chroot */
	code = ops->open(&log->sink, where, err);
	if (code < 0) {
		free(log);
		return code;
	}
	log->debug = config->debug;
	log->account = &log->own;
	atomic_store(&log->owner, getpid());
	*out = log;
	return 0;
}

int log_open_syslog_at(struct log **out, const struct log_config *config, const char *path,
		       struct err *err)
{
	struct sink_config where = {.path = path, .ident = config->ident};
	int facility = log_facility(config->facility ? config->facility : "daemon", err);

	if (facility < 0)
		return facility;
	if (!where.ident)
		where.ident = "netdaemon";
	where.facility = (unsigned)facility;
	return open_sink(out, config, &log_sink_syslog, &where, err);
}

int log_open(struct log **out, const struct log_config *config, struct err *err)
{
	const struct sink_config where = {.path = config->logfile};

	if (!config->logfile)
		return log_open_syslog_at(out, config, SYSLOG_PATH, err);
	if (config->facility && log_facility_check(config->facility, err) < 0)
		return -EINVAL;
	if (strcasecmp(config->logfile, "STDERR") == 0)
		return open_sink(out, config, &log_sink_stderr, &where, err);
	return open_sink(out, config, &log_sink_file, &where, err);
}

struct log *log_none(void)
{
	static struct sink sink = {.ops = &log_sink_none};
	static struct log none = {.sink = &sink, .account = &none.own}; /* never written to */

	return &none;
}

int log_reopen(struct log *log)
{
	struct err err;
	int code = log->sink->ops->reopen(log->sink, &err);

	if (code < 0)
		log_write(log, NETD_ERR, NULL, "the log goes on where it was: %s", err.text);
	return code;
}

void log_set_root(struct log *log, const char *root)
{
	if (log->sink->ops->set_root)
		log->sink->ops->set_root(log->sink, root);
}

int log_fd(const struct log *log)
{
	return log->sink->ops->fd(log->sink);
}

bool log_wants(const struct log *log, enum netd_level level)
{
	if (log->sink->ops == &log_sink_none)
		return false;
	return log->debug || level_sane(level) != NETD_DEBUG;
}

/* ------------------------------------------------------------------------------ what was lost */

/* The child of a fork starts its own account: what its parent lost, its parent reports. */
static void own_account(struct log *log, pid_t pid)
{
	pid_t owner = atomic_load(&log->owner);

	if (owner != pid && atomic_compare_exchange_strong(&log->owner, &owner, pid)) {
		atomic_store(&log->own.drops, 0);
		atomic_store(&log->own.unreported, 0);
	}
}

/* Tell the sink what it missed. Whoever takes the count to zero reports it, nobody else. */
static int report_drops(struct log *log, const struct log_record *after)
{
	char message[64];
	struct log_record record = *after;
	uint64_t lost;
	int code;

	if (atomic_load(&log->account->unreported) == 0)
		return 0;
	lost = atomic_exchange(&log->account->unreported, 0);
	if (lost == 0)
		return 0;
	record.level = NETD_WARNING;
	record.message = message;
	record.length =
	    (size_t)snprintf(message, sizeof message, "%" PRIu64 " log lines were lost", lost);
	code = log->sink->ops->write(log->sink, &record);
	if (code < 0)
		atomic_fetch_add(&log->account->unreported, lost);
	return code;
}

static void deliver(struct log *log, const struct log_record *record)
{
	own_account(log, record->pid);
	if (report_drops(log, record) == 0 && log->sink->ops->write(log->sink, record) == 0)
		return;
	atomic_fetch_add(&log->account->drops, 1);
	atomic_fetch_add(&log->account->unreported, 1);
}

uint64_t log_drops(const struct log *log)
{
	if (log->account == &log->own && atomic_load(&log->owner) != getpid())
		return 0; /* the parent's */
	return atomic_load(&log->account->drops);
}

void log_share_account(struct log *log, struct log_account *account)
{
	log->account = account;
}

struct log *log_close(struct log *log)
{
	struct log_record last = {.pid = getpid(), .thread = thread_number};

	if (!log || log == log_none())
		return NULL;
	own_account(log, last.pid);
	report_drops(log, &last);
	log->sink->ops->close(log->sink);
	free(log);
	return NULL;
}

/* -------------------------------------------------------------------------------- one message */

/* How much of size an snprintf() that returned n has filled. */
static size_t filled(int n, size_t size)
{
	if (n < 0)
		return 0;
	return (size_t)n < size ? (size_t)n : size - 1;
}

/* Prefix and message as they came, cut to size. Returns the length. */
static size_t message_raw(char *out, size_t size, const struct log_context *context,
			  const char *format, va_list args) PRINTF_LIKE(4, 0);

static size_t message_raw(char *out, size_t size, const struct log_context *context,
			  const char *format, va_list args)
{
	size_t used = 0;
	int n;

	if (context && context->conn && context->peer)
		used = filled(
		    snprintf(out, size, "conn %" PRIu64 " (%s): ", context->conn, context->peer),
		    size);
	n = vsnprintf(out + used, size - used, format, args);
	if (n < 0) /* an argument that cannot be converted: the format still tells what happened */
		n = snprintf(out + used, size - used, "%s", format);
	return used + filled(n, size - used);
}

/* Escape within the cap; "..." stands for what did not fit. Returns the length. */
static size_t message_escaped(char out[LOG_MESSAGE_MAX + 1], const char *raw, size_t length)
{
	static const char dots[] = "...";
	size_t taken, n = log_escape_upto(out, LOG_MESSAGE_MAX + 1, raw, length, &taken);

	if (taken < length) {
		n = log_escape(out, LOG_MESSAGE_MAX + 1 - strlen(dots), raw, length);
		memcpy(out + n, dots, sizeof dots);
		n += strlen(dots);
	}
	return n;
}

void log_vwrite(struct log *log, enum netd_level level, const struct log_context *context,
		const char *format, va_list args)
{
	char raw[RAW_MAX + 1], message[LOG_MESSAGE_MAX + 1];
	struct log_record record = {.level = level_sane(level), .thread = thread_number};
	size_t length;
	int saved = errno;

	if (!log_wants(log, level))
		return;
	length = message_raw(raw, sizeof raw, context, format, args);
	record.length = message_escaped(message, raw, length);
	record.message = message;
	record.pid = getpid();
	deliver(log, &record);
	errno = saved;
}

void log_write(struct log *log, enum netd_level level, const struct log_context *context,
	       const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_vwrite(log, level, context, format, args);
	va_end(args);
}
