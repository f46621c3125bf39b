/*
 * program.h - what the parts of "netdaemon -- program" share.
 *
 * One connection, from top to bottom: program.c run() -> environment.c builds the variables ->
 * spawn.c starts the program -> follow.c waits for its end, lines.c logs what it says meanwhile.
 * Everything in struct program is made before the first connection and only read afterwards.
 */
#ifndef NETDAEMON_PROGRAM_H
#define NETDAEMON_PROGRAM_H

#include <netdaemon.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

/* The state of the process that a program shall find, as netdaemon found it; and what is different
 * now, which is looked at once in each process (see spawn.c). */
struct origin {
	mode_t umask;
	struct rlimit limits[RLIM_NLIMITS];
	_Atomic uint64_t signals; /* bit n - 1: signal n is not at its default */
	_Atomic uint32_t changed; /* bit n: limit n is another one; and see spawn.c */
};

struct program {
	bool missing;     /* there is none, which has been told */
	char **argv;      /* as the administrator wrote it */
	char *path;       /* where it was found: absolute */
	char **variables; /* "NAME=VALUE" for all connections, ended by NULL */
	char *banner;     /* what the client gets first, escapes done; NULL: none */
	size_t banner_size;
	int64_t kill_after_ms; /* 0: never */
	struct origin *origin;
};

/* ------------------------------------------------------------------------------------- lookup.c */

/*
 * Find the program as a shell would, below the directory root ("" for the whole system), and look
 * whether it could be run. Returns 0 and the path as seen from root in *path (freed by the caller);
 * or -errno with words for the administrator.
 */
int lookup_program(const char *name, const char *root, char **path, char *words, size_t room);

/* Could any program have these arguments? 0, or -E2BIG with words. */
int lookup_arguments(char *const *argv, char *words, size_t room);

/* What a failed exec of path means and what to do, in words. */
void lookup_explain(const char *path, int error, char *words, size_t room);

/* -------------------------------------------------------------------------------- environment.c */

/* The path that programs find, unless --env PATH=... says otherwise (rule 22). */
#define PROGRAM_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* The variables of one connection: an array for execve(2). */
struct environment;

/* The list of "NAME=VALUE" for all connections: at first the PATH only. 0, or -errno with words. */
int environment_common(char ***variables, char *words, size_t room);
/* Put an item of --env into it: "NAME=VALUE", or "NAME" for what it is here. As above. */
int environment_give(char **variables, const char *item, char *words, size_t room);
char **environment_common_free(char **variables);

/* 0, -ENOMEM, or -E2BIG: they do not fit, which can only be a rule's fault. */
int environment_new(struct environment **out, struct netd_conn *conn, char *const *common);
char *const *environment_items(struct environment *environment);
struct environment *environment_free(struct environment *environment);

/* -------------------------------------------------------------------------------------- spawn.c */

/* Note limits and umask of this process. */
void origin_read(struct origin *origin);

struct order {
	const struct program *program;
	char *const *environment;
	int socket; /* becomes 0 and 1 */
	int errors; /* becomes 2 */
};

/* Start the program. Returns its process number, which is its process group's too, or -errno: the
 * program does not run then, and no process is left. */
pid_t spawn_program(const struct order *order);

/* -------------------------------------------------------------------------------------- lines.c */

#define LINE_BYTES 1024 /* of standard error that go into one log line */

/* What a program writes to its standard error, cut into lines. */
struct lines {
	int fd; /* non-blocking; not ours; -1: it has ended */
	size_t used;
	char text[LINE_BYTES];
};

/* Log what has come. */
void lines_read(struct lines *lines, struct netd_conn *conn);

/* The end: log what has come and what lacks a newline. */
void lines_finish(struct lines *lines, struct netd_conn *conn);

/* ------------------------------------------------------------------------------------- follow.c */

/* Wait for the end of a program, whatever happens meanwhile, and log it. errors: the reading end of
 * its standard error. Returns 0, or -errno when the connection was ended. */
int follow_program(const struct program *program, struct netd_conn *conn, pid_t pid, int errors,
		   int64_t started);

#endif
