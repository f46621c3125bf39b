/*
 * context_ucontext.c - contexts by makecontext(3) and swapcontext(3), where there is no assembly
 * for the processor. Slow: each switch sets the signal mask by a system call.
 *
 * Happy path: registers are saved in a ucontext_t at the top of the stack; those of a thread's own
 * on the heap. Failure modes: -ENOMEM, of machine_adopt() only. The live part of a stack is
 * unknown.
 */
#include "fiber/machine.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>

struct machine {
	ucontext_t registers;
	void (*entry)(void *arg);
	void *arg;
	bool is_on_heap;
};

/* makecontext(3) passes int only: the pointer comes in two halves. */
static void begin(unsigned high, unsigned low)
{
	uintptr_t bits = (uintptr_t)((uint64_t)high << 32 | low);
	struct machine *machine = (void *)bits; // NOLINT(performance-no-int-to-ptr)

	machine->entry(machine->arg);
	abort(); /* entry must not return */
}

/* The cast that makecontext(3) asks for. */
static void (*untyped(void (*function)(unsigned, unsigned)))(void)
{
	union {
		void (*given)(unsigned, unsigned);
		void (*wanted)(void);
	} both = {.given = function};

	return both.wanted;
}

/* On the stack itself: there is always room, so that a fiber can be started without fail. */
static struct machine *place(char *top)
{
	return (struct machine *)(void *)(top - (sizeof(struct machine) + 63) / 64 * 64);
}

int machine_init(struct context *context, char *top, void (*entry)(void *arg), void *arg)
{
	struct machine *machine = place(top);
	uint64_t bits = (uintptr_t)machine;

	if (getcontext(&machine->registers) < 0)
		return -ENOMEM;
	machine->entry = entry;
	machine->arg = arg;
	machine->is_on_heap = false;
	machine->registers.uc_stack.ss_sp = context_bottom(context);
	machine->registers.uc_stack.ss_size = (size_t)((char *)machine - context_bottom(context));
	machine->registers.uc_link = NULL;
	makecontext(&machine->registers, untyped(begin), 2, (unsigned)(bits >> 32), (unsigned)bits);
	context->sp = machine;
	return 0;
}

int machine_adopt(struct context *context)
{
	struct machine *machine = malloc(sizeof *machine); /* the first switch away fills it */

	if (!machine)
		return -ENOMEM;
	machine->is_on_heap = true;
	context->sp = machine;
	return 0;
}

void machine_finish(struct context *context)
{
	struct machine *machine = context->sp;

	if (machine && machine->is_on_heap)
		free(machine);
	context->sp = NULL;
}

void machine_switch(struct context *from, struct context *to)
{
	struct machine *here = from->sp, *there = to->sp;

	swapcontext(&here->registers, &there->registers);
}

char *machine_live(const struct context *context)
{
	(void)context;
	return NULL;
}
