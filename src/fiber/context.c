/*
 * context.c - contexts, as far as they are the same on every processor: what they are born with,
 * and what AddressSanitizer, ThreadSanitizer and valgrind must hear of them.
 *
 * Happy path: context_init() lays out a first frame; context_switch() is one jump to the backend's
 * machine_switch() in a plain build. AddressSanitizer is told by whom the stack changes before the
 * switch and after it, and the very first function on a stack is ours for that; ThreadSanitizer is
 * told before the switch; valgrind once, where the stack lies.
 * Failure modes: -ENOMEM from the backend, with nothing changed.
 */
#include "fiber/context.h"
#include "fiber/machine.h"
#include "fiber/sanitizer.h"

#include <stdbool.h>
#include <stdint.h>

#if SANITIZER_ADDRESS

#define SWITCHES SANITIZER_BLIND

/* Who was left by the switch that is under way, until someone has arrived. A thread's own stack
 * learns in this way where it lies. NULL: it does not come back. */
static _Thread_local struct context *left;

/* The topmost bytes of a stack, until its first function has read them. */
struct start {
	void (*entry)(void *arg);
	void *arg;
};

/* The copies of local variables that belong to this stack were kept by leave(). NULL: none yet. */
SANITIZER_BLIND static void arrive(struct context *context)
{
	const void *bottom;
	size_t size;

	__sanitizer_finish_switch_fiber(context ? context->sanitizer : NULL, &bottom, &size);
	if (left && !left->top) {
		left->size = (uint32_t)size;
		left->top = (char *)(uintptr_t)bottom + size; // NOLINT(performance-no-int-to-ptr)
	}
}

SANITIZER_BLIND static void leave(struct context *from, struct context *to, bool for_good)
{
	left = for_good ? NULL : from;
	/* Without a place to keep them, the copies of local variables are freed. */
	__sanitizer_start_switch_fiber(for_good ? NULL : &from->sanitizer, context_bottom(to),
				       to->size);
}

SANITIZER_BLIND static void begin(void *arg)
{
	struct start start = *(struct start *)arg;

	arrive(NULL);
	start.entry(start.arg);
	__builtin_trap();
}

static int make(struct context *context, void (*entry)(void *arg), void *arg)
{
	struct start *start = (void *)(context->top - sizeof *start);

	_Static_assert(sizeof *start % 16 == 0, "what is below is aligned as top is");
	*start = (struct start){.entry = entry, .arg = arg};
	return machine_init(context, (char *)start, begin, start);
}

static void adopt(struct context *context)
{
	(void)context;
}

static void forget(struct context *context)
{
	(void)context;
}

#else

/* ThreadSanitizer notes each call on a stack of its own, one per context: what is noted when one of
 * these functions is entered must be taken off by the same function, gone on with. So nothing may
 * be called in between that returns while notes are taken for somebody else. */
#define SWITCHES
#define INLINED inline __attribute__((always_inline))

static int make(struct context *context, void (*entry)(void *arg), void *arg)
{
	int rc = machine_init(context, context->top, entry, arg);

#if SANITIZER_THREAD
	if (rc == 0)
		context->sanitizer = __tsan_create_fiber(0);
#elif SANITIZER_VALGRIND
	if (rc == 0)
		context->number =
		    (uint32_t)VALGRIND_STACK_REGISTER(context_bottom(context), context->top - 1);
#endif
	return rc;
}

static void adopt(struct context *context)
{
#if SANITIZER_THREAD
	context->sanitizer = __tsan_get_current_fiber();
#else
	(void)context;
#endif
}

/* A thread's own stack (no top) is known to them without us. */
static void forget(struct context *context)
{
#if SANITIZER_THREAD
	if (context->top)
		__tsan_destroy_fiber(context->sanitizer);
#elif SANITIZER_VALGRIND
	if (context->top)
		VALGRIND_STACK_DEREGISTER(context->number);
#else
	(void)context;
#endif
}

static INLINED void leave(struct context *from, struct context *to, bool for_good)
{
	(void)from;
	(void)for_good;
#if SANITIZER_THREAD
	__tsan_switch_to_fiber(to->sanitizer, 0);
#else
	(void)to;
#endif
}

static INLINED void arrive(struct context *from)
{
	(void)from;
}

#endif

int context_init(struct context *context, char *bottom, char *top, void (*entry)(void *arg),
		 void *arg)
{
	struct context made = {.top = top, .size = (uint32_t)(top - bottom)};
	int rc = make(&made, entry, arg);

	if (rc < 0)
		return rc;
	*context = made;
	return 0;
}

int context_adopt(struct context *context)
{
	struct context made = {0};
	int rc = machine_adopt(&made);

	if (rc < 0)
		return rc;
	adopt(&made);
	*context = made;
	return 0;
}

SWITCHES void context_switch(struct context *from, struct context *to)
{
	leave(from, to, false);
	machine_switch(from, to);
	arrive(from);
}

SWITCHES void context_exit(struct context *from, struct context *to)
{
	leave(from, to, true);
	machine_switch(from, to);
	__builtin_trap();
}

void context_finish(struct context *context)
{
	forget(context);
	machine_finish(context);
}

char *context_live(const struct context *context)
{
	return machine_live(context);
}
