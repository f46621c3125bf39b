/*
 * shared.h - what the threads of a Perl process share, as each has an interpreter of its own: a
 * count of threads that serve connections, and the way to syslog.
 */
#ifndef PERL_SHARED_H
#define PERL_SHARED_H

#include "log/log.h"

/* A thread is about to start, or has ended. */
void serving_started(void);
void serving_ended(void);
size_t serving_count(void);

/* Readable after a thread has ended; serving_count() empties it. -1: there is none. */
int serving_wake_fd(void);

/* One event for the syslog daemon that listens at path. 0, or -EINVAL with words for an unknown
 * facility; the service never waits, and what cannot be logged is counted and told later. */
int syslog_write(const char *path, const char *ident, const char *facility, enum netd_level level,
		 const char *message, struct err *err);

#endif
