/*
 * limits.h - how many may come at a time, and how fast (security rule 13): one answer over all
 * workers, from one bounded piece of memory that they share.
 *
 *   limits_take (a turn by the accept rate) -> accept -> limits_admit -> ... -> limits_release
 *
 * A source is an address, or a network of addresses. Each has a row: how many connections every
 * worker holds of it (a column per worker, so that the master can wipe what a dead one left), and
 * how far it is ahead of its rate. A row without connections and without debt says nothing and is
 * given to the next source; when all rows of a place are in use, the one without connections that
 * owes least is forgotten early. A source for which there is no row is let in uncounted
 * (LIMITS_UNTRACKED): whoever holds connections from so many addresses was not held back by limits
 * for each of them anyway, and must not shut others out.
 *
 * Sources are known by a hash with a random key: nobody can choose addresses that meet in one
 * place. Times are nanoseconds of a clock that does not go back; if it does, nobody is shut out for
 * longer than a whole burst takes to come back.
 */
#ifndef ACCESS_LIMITS_H
#define ACCESS_LIMITS_H

#include "access/access.h"
#include "base/base.h"

struct limits;

/* 0: no such limit. Rates are per hour. */
struct limits_config {
	long long max_per_address, max_per_prefix;
	long long rate_per_address, rate_burst; /* of IPv6: per prefix */
	long long accept_rate, accept_burst;
	int prefix_ipv4, prefix_ipv6; /* bits */
	size_t rows;                  /* at least; rounded up */
	int workers;                  /* columns, at least 1 */
};

#define LIMITS_ROWS_EACH 8      /* for a connection, which needs two: so that no place is full */
#define LIMITS_ROWS_MIN 16384   /* what a server has at least */
#define LIMITS_ROWS_USUAL 65536 /* without --max-connections */
#define LIMITS_ROWS_MAX (1 << 20)

enum limits_verdict {
	LIMITS_ADMITTED,
	LIMITS_UNTRACKED, /* admitted, though there was no room to count it */
	LIMITS_ADDRESS,   /* refused: max_per_address */
	LIMITS_PREFIX,    /* refused: max_per_prefix */
	LIMITS_RATE,      /* refused: rate_per_address */
	LIMITS_DEFERRED,  /* not a verdict: the accept rate is used up; for limits_notice() */
	LIMITS_KINDS,
};

/* Before workers are forked. *out is NULL when nothing is limited. 0 or -errno. */
int limits_new(struct limits **out, const struct limits_config *config);
/* Takes NULL, returns NULL. */
struct limits *limits_free(struct limits *limits);

/* By the accepting thread of worker `slot`. *hold is what to give to limits_release() when the
 * connection has ended; 0: nothing is held. Peers other than IP have no limits here. */
enum limits_verdict limits_admit(struct limits *limits, int slot, const struct access_peer *peer,
				 int64_t now_ns, uint64_t *hold);
/* Any thread of that worker; once. hold may be 0. */
void limits_release(struct limits *limits, int slot, uint64_t hold);

/* A turn by the accept rate: 0 when it was taken, else nanoseconds until there may be one. */
int64_t limits_take(struct limits *limits, int64_t now_ns);
/* It was not used. */
void limits_give_back(struct limits *limits);

/*
 * A process of its own serves the connection, and its parent gives back what it holds once it has
 * ended, however it did. That is later than the client sees the end, so the process announces it
 * before it closes the socket; whoever is about to refuse somebody looks for announcements first.
 *
 * limits_lend: before the fork; returns the hold for both. limits_unlend: the fork failed; the
 * first hold is good again.
 */
uint64_t limits_lend(struct limits *limits, int slot, uint64_t hold);
void limits_unlend(struct limits *limits, int slot, uint64_t hold);
void limits_announce(struct limits *limits, int slot, uint64_t hold);

/* A worker has died: by the master, before it is replaced. */
void limits_clear_worker(struct limits *limits, int slot);

/* One line of the log per kind and 5 s, over all workers: true when it may be written now; then
 * *held is how many were held back since the last. */
bool limits_notice(struct limits *limits, enum limits_verdict kind, int64_t now_ns, uint64_t *held);

#endif
