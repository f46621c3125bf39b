/*
 * proc.h - processes and privilege: who we run as, where, and the file that says so.
 */
#ifndef PROC_PROC_H
#define PROC_PROC_H

#include "base/base.h"

#include <sys/types.h>

/* ------------------------------------------------------------------------------------- identity */

/* Whom to become; looked up before chroot, when the user database can still be read. */
struct identity {
	bool set_uid, set_gid;
	uid_t uid;
	gid_t gid;
	char user[64]; /* for messages; "" when not set */
	char group[64];
	/* Programs that are started later may gain rights by being set-user-id: no_new_privs and
	 * the bounding set are left alone. For services that others wrote; false is safer. */
	bool exec_may_gain;
};

/*
 * Look up user and group (either may be NULL), by name or strict number. Refuses "", -1,
 * 4294967295, "0day" and unknown names (security rule 3). user alone takes the user's primary group
 * (a bare number without an entry in the user database needs a group: error). All digits are a
 * number, even if a user is called that. Returns 0, -EINVAL, or another errno when the database
 * could not be asked.
 */
int identity_find(struct identity *out, const char *user, const char *group, struct err *err);

/* "USER", "USER:GROUP", ":GROUP" for the owner of a Unix socket; -1 for what is not named. Returns
 * as identity_find(). */
int owner_find(const char *text, int64_t *uid, int64_t *gid, struct err *err);

/*
 * For good: chroot and chdir("/") -> setgroups -> setgid -> setuid -> capabilities ->
 * no_new_privs -> verify (ids, groups, capabilities read again; getting root back is tried and must
 * fail) -> core dumps off unless coredump (security rules 1, 2, 4, 24). chroot_dir may be NULL;
 * with neither chroot nor identity nothing is done. Any failure or doubt: -errno with words; the
 * caller must exit. Call it while the process has one thread: capabilities are a thread's own.
 *
 * Supplementary groups become exactly the group. User root, asked for, keeps its capabilities. Who
 * is not root may only "become" what it is: capabilities go, but its supplementary groups and the
 * bounding set, which no_new_privs makes worthless, stay. chroot alone changes no ids. Any open
 * directory descriptor is refused with -EBUSY: it would lead out of the chroot.
 */
int privileges_drop(const struct identity *identity, const char *chroot_dir, bool coredump,
		    struct err *err);

/* ------------------------------------------------------------------------------------- pid file */

/* Open and locked for the life of the server. */
struct pidfile {
	int fd;      /* -1: none */
	char *path;  /* owned; absolute */
	pid_t owner; /* the process that may remove it */
};

/*
 * Take it (security rule 20): O_NOFOLLOW, a regular file with one link, owned by us or root;
 * locked; then our number is written. Returns 0, -EEXIST "PATH: in use by process 4711", or -errno.
 */
int pidfile_take(struct pidfile *pidfile, const char *path, struct err *err);

/* Remove it, in the process that took it (elsewhere: forget); where that is no longer allowed
 * (privileges, chroot), it is emptied instead. Takes an unset one ({.fd = -1}). */
void pidfile_release(struct pidfile *pidfile);

/* A forked child lets go of the descriptor only. */
void pidfile_forget(struct pidfile *pidfile);

/* -------------------------------------------------------------------------------------- signals
 *
 * One set per process. Handlers set one flag and write one byte to a pipe (security rule 25); the
 * loops poll the pipe and ask which flags are up. System calls are interrupted (no SA_RESTART).
 */
enum signal_event {
	SIGNAL_TERM, /* SIGTERM: drain; again: stop now */
	SIGNAL_INT,  /* SIGINT: stop now */
	SIGNAL_HUP,  /* SIGHUP */
	SIGNAL_USR1, /* SIGUSR1: reopen logs */
	SIGNAL_CHLD, /* a child ended */
	SIGNAL_COUNT,
};

/* Install handlers, unblock them in this thread, make the pipe; the old handlers and mask are kept.
 * SIGPIPE is ignored. A SIGHUP that is ignored at start (nohup) stays ignored. After
 * signals_child() it makes the child a server of its own: SIGCHLD too is handled again, flags that
 * are up stay up. -EBUSY: open in this process already. */
int signals_open(struct err *err);

/* In a forked child: the parent's flags go down, its pipe is closed, no pipe until signals_fd() is
 * asked; SIGCHLD back to default, the other handlers stay. A signal that reached the child before
 * this call is not lost. */
void signals_child(void);

/* The readable end: polls as readable when a flag may be up. Made now if a child has none yet.
 * -1: none could be made. */
int signals_fd(void);

/* The writable end, for wake-ups by other threads and children: write one byte. */
int signals_wake_fd(void);

/* Write that byte. */
void signals_wake(void);

/* The next signal of this kind is answered as usual; the one after it does what the system does by
 * itself. */
void signals_answer_once(enum signal_event event);

/* Empty the pipe. Call it before the flags are taken. */
void signals_drain(void);

/* How often this signal came since the last call: 0, 1, or 2 for "more than once". */
int signals_take(enum signal_event event);

/* True when a TERM or INT flag is up; takes nothing. */
bool signals_stop_pending(void);

/* Put the old handlers and mask back, close the pipe. Nothing to do: does nothing. */
void signals_close(void);

/* Block every signal of ours in the calling thread (helper threads). */
void signals_block_all(void);

/* ------------------------------------------------------------------------------------- children */

/* What a process that forks knows about each child. */
struct child {
	pid_t pid;
	int64_t started_ms;
	uint64_t conn; /* connection number, or 0 */
	int slot;      /* worker slot, or -1 */
	uint64_t hold; /* what to give back when it has ended, or 0 */
	char peer[80]; /* for the log */
};

/* Open-addressing table by pid; grows; zero-initialised. */
/* In memory that a forked child does not get: it begins with an empty one. */
struct children {
	struct child *slots;
	size_t size, count;
};

/* Make room for one more before fork(), so that adding cannot fail. 0 or -ENOMEM. */
int children_reserve(struct children *children);
/* A pid that is there already is replaced. Only after children_reserve(); pid > 0. */
void children_add(struct children *children, const struct child *child);
/* Takes the child out; false: not ours. */
bool children_remove(struct children *children, pid_t pid, struct child *out);
/* Send a signal to every child. */
void children_kill(const struct children *children, int signo);
void children_finish(struct children *children);

/* "exited with status 3", "died from signal 11 (Segmentation fault)". */
void child_status_text(int status, char *out, size_t size);

/* Process 1 (of a container): fork; the child returns and is the server, the first process stays
 * behind as a minimal init and ends with the server's status. Any other process: does nothing. Call
 * it before there are threads. 0, or -errno: the fork failed. */
int init_become(void);

/* Descriptors 0, 1 and 2 open, on /dev/null if need be: so that no socket becomes "stderr". */
int proc_secure_stdio(void);

#endif
