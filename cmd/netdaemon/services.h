/*
 * services.h - what the parts of "netdaemon --services FILE" share.
 *
 * options.c reads the command line, services.c the file, and has every service checked by a process
 * of its own (and by addresses.c against the others); supervise.c starts one process for each and
 * keeps them; signals.c are the signals from first to last; handover.c is what passes between these
 * processes and whoever started the first one.
 */
#ifndef NETDAEMON_SERVICES_H
#define NETDAEMON_SERVICES_H

#include <netdaemon_sections.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The whole order; it does not change once the command line was read. */
struct services {
	const char *path; /* the file */
	struct netd_sections *sections;
	const char *section; /* the only one that is wanted; NULL: all */
	int argc;            /* options for every service, argv[0] first */
	char **argv;
	bool check;      /* only check */
	int notify_fd;   /* to tell when all are ready; -1: none */
	sigset_t before; /* the mask of the start, which our children get */
};

/* -------------------------------------------------------------------------------------- signals.c
 */

/* From here on signals for the master wait until they are asked for. *before: the mask so far. */
void signals_hold(sigset_t *before);

/* For what is no master: as before, but in process 1 of a container, where they wait for
 * netd_main(), which hands them on to the server. */
void signals_release(const sigset_t *before);

/* Has somebody told us to stop? The signal stays where it is. */
bool signals_stop(void);

/* Wait for the end of a child. 0; -ECANCELED: we were told to stop, and it has been ended; or
 * -errno. */
int signals_wait(pid_t pid, int *status);

/* A descriptor that reads the held signals, SIGCHLD too. Returns it or -errno. */
int signals_open(void);

/* -------------------------------------------------------------------------------------- options.c
 */

/* Make short forms of the options that the master must know ("--sect", "--localpo") full names: a
 * new services->argv, freed by the caller, with borrowed words. 0 or -ENOMEM. */
int options_spell_out(struct services *services);

/* Is one among them that is only a question, such as --help? */
bool options_ask(const struct services *services);

/* Take the options that are for the master out of argv. Returns 0, or -EINVAL: has been told. */
int options_read(struct services *services);

/* ------------------------------------------------------------------------------------ addresses.c
 */

/* Does the service want an address that an earlier one of the file has? Told on standard error. */
bool addresses_clash(const struct services *services, int index);

/* ----------------------------------------------------------------------------------- supervise.c
 */

/* Start all, keep them, until they have ended. Returns the exit status. */
int services_supervise(const struct services *services);

/* ------------------------------------------------------------------------------------ handover.c
 */

/* As main() and execv(3) want it; neither they nor the library write to it. */
char *handover_word(const char *text);

/* The command line of one service: the options for all, then four words that win over them, then
 * more (ended by NULL). file: the name of the option that tells the file. Freed by the caller;
 * NULL: no memory. */
char **handover_argv(const struct services *services, const char *file, int index,
		     const char *const *more, int *argc);

/*
 * In the process of one service, forked by master: the descriptors of the start, those of
 * LISTEN_FDS too, are its own if it says --bind fd:..., else nobody's; the service manager hears of
 * the master only.
 */
void handover_environment(const struct services *services, int index, pid_t master);

/* In such a process: let the reading end of the master's life pipe send us SIGTERM when the other
 * end closes, and end now if it has. */
void handover_life(int fd);

/* In such a process: how the one before it died, for the log of the service; "": it did not. */
void handover_news(const char *news);

/* In the program that was started then: whatever it starts in turn does not get that end. */
void handover_taken(void);

/* What the service manager gave to the master, and hears of it. */
struct manager {
	int fd;             /* NOTIFY_SOCKET; -1: none */
	int64_t period_ms;  /* between two signs of life; 0: none wanted */
	int64_t next;       /* when the next one is due */
	const char *unsent; /* its socket was full: to be told again; NULL: nothing */
};

void manager_open(struct manager *manager);
/* words: stay where they are. Never waits. */
void manager_tell(struct manager *manager, const char *words);
/* Give a sign of life if one is due, and say what could not be said. Returns when there is
 * something to do again, or NETD_NEVER. */
int64_t manager_alive(struct manager *manager);

#endif
