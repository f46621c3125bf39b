/* conform.h - between the files of the conformance server. */
#ifndef CONFORM_H
#define CONFORM_H

#include <netdaemon.h>

/* Returned by a command that ends the conversation in good order. */
#define DONE 1

struct command {
	const char *name;                            /* NULL ends a table */
	int (*run)(struct netd_conn *c, char *rest); /* 0 go on, DONE, or -errno: run() fails */
};

/* Commands that read, write and wait. */
extern const struct command io_commands[];

/* Commands about the administrator's limits. */
extern const struct command limit_commands[];

/* Leave the client to /bin/cat until the deadline. DONE or -errno. */
int conform_foreign(struct netd_conn *c, int64_t deadline);

/* "ok N", or "error NAME" for the errors that tests ask about. Returns 0. */
int conform_answer(struct netd_conn *c, int64_t rc);

/* Hold the thread until that moment. */
void conform_spin(int64_t until) __attribute__((noinline));

/* The number that a command's argument begins with. */
long conform_number(const char *text);

#endif
