/* accept.h - between the accept loop (worker.c) and what takes the connections (accept.c). */
#ifndef MODE_ACCEPT_H
#define MODE_ACCEPT_H

#include "mode/mode.h"

/* As many connections as --max-connections allows, over all workers? */
bool accept_at_limit(const struct worker *worker);

/* Out of something: for a moment no more are at work than when it was noticed. */
bool accept_paused(const struct worker *worker);

/* May the next connection be taken? */
bool accept_possible(const struct worker *worker);

/* Take what has come, a few at a time, and start it. */
void accept_batch(struct worker *worker, const struct listener *listener);

/* After a moment in which a less busy worker could have taken what came: take what is still there.
 */
void accept_leftovers(struct worker *worker);

/* Start those that wait, oldest first, as far as possible. */
void accept_start_waiting(struct worker *worker);

/* A hard stop: close them. */
void accept_drop_waiting(struct worker *worker);

/* Take those whom the kernel has let in (when draining), then close the listeners. When
 * something has run out the door stays open: call it again. Also in the middle of a handler that
 * waits. */
void accept_close_door(struct worker *worker);

#endif
