/*
 * machine.h - what a backend of context.h does: context_frame.c with context_x86_64.S or
 * context_aarch64.S, or context_ucontext.c. The build picks exactly one. For src/fiber only.
 */
#ifndef FIBER_MACHINE_H
#define FIBER_MACHINE_H

#include "fiber/context.h"

/* Set sp so that the first switch there calls entry(arg), on a stack that ends at top (aligned to
 * 16 bytes). Returns 0 or -ENOMEM. */
int machine_init(struct context *context, char *top, void (*entry)(void *arg), void *arg);

/* The calling thread: make it fit to be left. Returns 0 or -ENOMEM. */
int machine_adopt(struct context *context);

/* Give back what the two above took. */
void machine_finish(struct context *context);

/* Save the registers to `from`, go on with those of `to`. */
void machine_switch(struct context *from, struct context *to);

/* See context_live(). */
char *machine_live(const struct context *context);

#endif
