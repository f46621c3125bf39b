/*
 * inherit.h - listening sockets that somebody else has bound for us: systemd's socket units
 * (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES), s6-fdholder and the like (--bind fd:N).
 *
 * Happy path: inherited_take() before anything is opened -> inherited_want() for each --bind
 * fd:... -> inherited_check() makes listeners of them -> inherited_adopt() when all others are
 * bound.
 */
#ifndef LISTEN_INHERIT_H
#define LISTEN_INHERIT_H

#include "listen/listen.h"

#define INHERITED_NAME_MAX 256 /* a name has at most 255 bytes, as systemd has it */

struct inherited_fd {
	int fd;                        /* -1: became a listener, or was closed */
	bool wanted;                   /* by --bind */
	char name[INHERITED_NAME_MAX]; /* "": none */
};

/* What was handed down; zero-initialised. */
struct inherited {
	struct inherited_fd *items;
	size_t count;
	bool chosen;     /* --bind names some: the others are not used */
	long long other; /* LISTEN_PID of another process, which our variables were for; 0: none */
};

/*
 * Read the three variables, take them out of the environment, and make the descriptors
 * close-on-exec. Meant for another process: nothing is taken. Call it before anything is opened and
 * before there are threads. 0; -EINVAL with err naming the variable; -ENOMEM.
 */
int inherited_take(struct inherited *inherited, struct err *err);

/* Use this one: its number, whether a variable told of it or not, or the name of one or several.
 * 0 or -errno with err. */
int inherited_want(struct inherited *inherited, const char *text, struct err *err);

/*
 * See that each one wanted (all, when none is) is a socket that listens for streams, TCP or Unix,
 * and make it a listener in *out. Nothing about the sockets is changed. What is not wanted is
 * closed, with a line in warnings (NULL: without). 0, or -EINVAL with err: which descriptor, what
 * was found.
 */
int inherited_check(struct inherited *inherited, struct listeners *out, struct strlist *warnings,
		    struct err *err);

/* Move the listeners of `from` to the front of `to`, ready to be polled. 0 or -errno with err. */
int inherited_adopt(struct listeners *to, struct listeners *from, struct err *err);

/* Free the list. After a failure descriptors that did not become listeners stay open: not all of
 * those that the variables or --bind spoke of need be sockets, or meant for us. */
void inherited_finish(struct inherited *inherited);

#endif
