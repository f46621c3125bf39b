/*
 * handle.h - what a running Bind holds outside of Perl: socket files and the pid file to remove at
 * the end, whom to become, the child processes it counts, and the state of its steps.
 *
 * Happy path: handle_new() -> handle_listen() for each address -> handle_pidfile() ->
 * handle_identity(), handle_drop() -> step_wait() again and again -> handle_free(), which undoes
 * what has to be undone. Failure: -errno with words, and nothing is half done that lasts.
 * Only the process that made it cleans up; in any other handle_free() just forgets.
 */
#ifndef PERL_HANDLE_H
#define PERL_HANDLE_H

#include "listen/listen.h"
#include "proc/proc.h"
#include "step.h"

struct handle {
	pid_t owner; /* who made it, and cleans up */
	int nothing; /* /dev/null: takes the place of descriptors that a child is not to have */
	struct step step;
	struct listeners listeners; /* descriptors belong to Perl's sockets: all are -1 here */
	struct pidfile pidfile;
	struct identity identity;
	struct children children; /* as far as anybody counts them */
};

/* NULL: out of memory. */
struct handle *handle_new(void);

/* Takes NULL. */
void handle_free(struct handle *handle);

/* A forked child: nothing here is its own. */
void handle_forget(struct handle *handle);

/* A forked child: this descriptor is not its own, either. Its number stays taken, so that whoever
 * still holds it in Perl closes nothing else by mistake. Takes -1. */
void handle_leave(struct handle *handle, int fd);

/* What was bound: for Perl to make a socket of. */
struct handle_bound {
	int fd; /* the caller's now */
	enum address_kind kind;
};

/* Bind "tcp:HOST:PORT" or "unix:PATH" (mode: its permission bits). At most size of what was bound
 * is put into out. Returns how many, or -errno with words. */
int handle_listen(struct handle *handle, const char *address, int backlog, unsigned mode,
		  struct handle_bound *out, size_t size, struct err *err);

/* Whom to become; either may be NULL. Returns 0 or -errno with words. */
int handle_identity(struct handle *handle, const char *user, const char *group, struct err *err);

/* Become that, for good; chroot_dir may be NULL. Programs started later may still be set-user-id
 * ones unless strict. Returns 0, or -errno with words: the process must not go on. */
int handle_drop(struct handle *handle, const char *chroot_dir, bool strict, struct err *err);

/* ------------------------------------------------------------------------------ child processes */

/* Count this one. A process without memory to count with goes on uncounted. */
void handle_child_started(struct handle *handle, pid_t pid);
void handle_child_ended(struct handle *handle, pid_t pid);
/* How many live: whoever ended without a word is found out and reaped. */
size_t handle_children(struct handle *handle);

#endif
