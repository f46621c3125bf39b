/*
 * context.h - a flow of control that can be left and gone on with: the stack pointer and the
 * registers that a function call keeps. context_x86_64.S, context_aarch64.S, or context_ucontext.c
 * where there is neither (and by -Dgeneric=true).
 *
 * Sanitizers are told of every switch here, so that nothing else has to know of them.
 */
#ifndef FIBER_CONTEXT_H
#define FIBER_CONTEXT_H

#include "fiber/sanitizer.h"

#include <stddef.h>
#include <stdint.h>

/* There are as many as connections: no byte too many. */
struct context {
	void *sp;  /* where its registers are saved; or the ucontext_t */
	char *top; /* its stack: size bytes below this; NULL: a thread's own, not known */
	uint32_t size;
	uint32_t number; /* what valgrind knows it by */
#if SANITIZER_ADDRESS || SANITIZER_THREAD
	void *sanitizer; /* what ASan or TSan knows it by */
#endif
};

static inline char *context_bottom(const struct context *context)
{
	return context->top - context->size;
}

/*
 * Make a context that begins by calling entry(arg) on the stack [bottom, top); entry must not
 * return. top is aligned to 16 bytes. Returns 0 or -ENOMEM (ucontext only).
 */
int context_init(struct context *context, char *bottom, char *top, void (*entry)(void *arg),
		 void *arg);

/* The calling thread's own stack: something to switch away from and back to. */
int context_adopt(struct context *context);

/* Leave `from` and go on with `to`; returns when somebody switches to `from` again. */
void context_switch(struct context *from, struct context *to);

/* The same for the last time: `from` is never gone on with. */
_Noreturn void context_exit(struct context *from, struct context *to);

/* It is not running and never will again; or it was adopted, and nobody will switch to it any more.
 * The stack is the caller's. */
void context_finish(struct context *context);

/* The lowest address in use on the stack of a context that was left: everything from there to top
 * is what it needs to go on. NULL: unknown (ucontext). */
char *context_live(const struct context *context);

#endif
