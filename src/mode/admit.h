/*
 * admit.h - the limits per source and the accept rate, as the accept loop sees them. Without any
 * such limit every call is one comparison.
 */
#ifndef MODE_ADMIT_H
#define MODE_ADMIT_H

#include "mode/mode.h"

/* Make shared->limits of the settings; NULL when nothing is limited. 0 or -errno. */
int admit_init(struct shared *shared, const struct settings *settings);

/* Before accept(2): may one be taken by --accept-rate? False: not before worker->rate_until. */
bool admit_turn(struct worker *worker);

/* The turn was not used: there was nobody, or the one that came was refused. */
void admit_no_turn(struct worker *worker);

/* After accept(2): false when this peer has too many already; counted and logged, the caller
 * closes. *hold goes with the connection, to admit_end(). */
bool admit_peer(struct worker *worker, const struct sockaddr_storage *address, uint64_t *hold);

/* The connection is about to be closed. In its own process (mode fork) that is announced only; its
 * parent calls admit_end() as well, when the process is gone. */
void admit_end(struct worker *worker, uint64_t hold);

#endif
