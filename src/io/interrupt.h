/* interrupt.h - what the waits of this folder ask about a stop; see struct io_interrupt. */
#ifndef IO_INTERRUPT_H
#define IO_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

bool interrupt_exists(void);

/* Is a stop told again until it is heard? */
bool interrupt_repeats(void);

/* The descriptor to poll beside one's own; -1: none. */
int interrupt_fd(void);

/* When to ask interrupt_check() even if the descriptor says nothing; NETD_NEVER: not at all. */
int64_t interrupt_deadline(void);

/* Go on (0) or give up (-ECANCELED)? */
int interrupt_check(void);

/* The same after a system call returned EINTR; -EINTR when the handler shall see it. */
int interrupt_eintr(void);

#endif
