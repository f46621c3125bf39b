/*
 * context_frame.c - the backend of contexts whose switch is in assembly: a context that was left is
 * no more than a stack pointer, its registers lie on its own stack.
 *
 * Happy path: machine_frame() lays out a first frame, machine_switch() leaves such frames and takes
 * them up. Failure modes: none.
 */
#include "fiber/machine.h"

/* In assembly. Returns the stack pointer of a context that is about to call entry(arg). */
void *machine_frame(char *top, void (*entry)(void *arg), void *arg);

_Static_assert(offsetof(struct context, sp) == 0, "machine_switch() finds sp at the start");

int machine_init(struct context *context, char *top, void (*entry)(void *arg), void *arg)
{
	context->sp = machine_frame(top, entry, arg);
	return 0;
}

int machine_adopt(struct context *context)
{
	context->sp = NULL; /* the first switch away sets it */
	return 0;
}

void machine_finish(struct context *context)
{
	context->sp = NULL;
}

char *machine_live(const struct context *context)
{
	return context->sp;
}
