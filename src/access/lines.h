/*
 * lines.h - a rules file in the syntax of tcprules: its lines, read by lines.c and asked by
 * lineset.c, and the file itself, watched by rulefile.c. Nobody outside this folder includes it but
 * tests.
 *
 *   text -> lines_parse() -> struct lines, which never changes again -> lines_find() by any thread
 */
#ifndef ACCESS_LINES_H
#define ACCESS_LINES_H

#include "access/rule.h"

#include <stdatomic.h>

#define LINES_MAX 1000000u /* addresses of one file: ranges make many out of one line */

/* What a line is about, the most specific first: the order in which they are looked for. */
enum line_kind {
	LINE_ADDRESS, /* 192.0.2.7 */
	LINE_NAME,    /* =host.example.org */
	LINE_NETWORK, /* 192.0.2. or 192.0.2.0/24; of several the one with the most bits */
	LINE_SUFFIX,  /* =.example.org; of several the longest */
	LINE_NAMED,   /* =: whoever has a confirmed name */
	LINE_ALL,     /* the empty address */
};

struct line {
	enum line_kind kind;
	int number; /* in the file, from 1 */
	bool allow;
	struct access_net net;   /* LINE_ADDRESS, LINE_NETWORK */
	const char *text;        /* the address as written */
	const char *name;        /* LINE_NAME, LINE_SUFFIX: lower case, a suffix with its dot */
	const struct value *env; /* its variables, a map of scalars; NULL: none */
};

/* Lines of one kind, and of networks of one family and size. */
struct line_group {
	const struct line *first; /* sorted by address or name, no two the same */
	size_t count;
	const struct line *deny; /* one of them that denies; NULL: none does */
};

/* The lines of one file. Never changed once it is made; whoever gives the last reference back frees
 * it. */
struct lines {
	_Atomic unsigned references;
	char *path;   /* as it is called in messages */
	char *broken; /* why there are none: deny everybody; NULL: all is well */
	char *text;   /* of the file, cut into pieces that the lines refer to */
	struct line *items;
	size_t count;
	struct line_group *groups; /* the most specific first */
	size_t group_count;
	struct value *envs;     /* all env of the lines, a list */
	size_t written;         /* lines of the file that hold a rule */
	struct strlist remarks; /* for --check: "FILE:3: words" */
};

/* lines.c: read a text. path: what messages begin with. One reference is the caller's. 0, -ENOMEM,
 * or -EINVAL with "PATH:LINE: found ..., expected ...". */
int lines_parse(struct lines **out, const char *path, const char *text, size_t length,
		struct err *err);
/* Lines that deny everybody, for a file that is none. NULL: no memory. */
struct lines *lines_broken(const char *path, const char *words);

/* lineset.c: sort the lines, leave out those that can never be met, make groups. 0 or -ENOMEM. */
int lines_index(struct lines *lines);

/*
 * The line for this peer, the most specific; NULL: there is none. In *meets MEETS_DOUBT when only a
 * missing name makes it one, which it then does for lines that deny. Fills check->reason. When a
 * name is needed and nobody has asked for it, check->wanted is set and there is no line.
 */
const struct line *lines_find(const struct lines *lines, struct check *check, enum meets *meets);

/* rulefile.c: one file that is read again when it has changed. One thread may call. */
struct rulefile;

/* Read it for the first time. owner: who may own it beside root, whoever we are later. 0 or -errno
 * with words. */
int rulefile_open(struct rulefile **out, const char *path, uid_t owner, struct err *err);
/* Takes NULL, returns NULL. */
struct rulefile *rulefile_close(struct rulefile *file);
/* From now on the file has this path. 0 or -ENOMEM. */
int rulefile_move(struct rulefile *file, const char *path);
/* What holds now; a reference is the caller's. NULL: no memory, deny everybody. */
struct lines *rulefile_hold(struct rulefile *file);
/* What was read last; no reference. NULL as above. */
const struct lines *rulefile_lines(const struct rulefile *file);
/* See access_refresh(). */
int rulefile_refresh(struct rulefile *file, struct err *words);

#endif
