/*
 * overflow.c - a fiber that has run out of stack is called by its name before the process dies.
 *
 * Happy path: there is none. A fiber touches the guard below its stack; the handler of the fault,
 * which runs on a stack of its own, has config.overflow tell whose it was; the fault is let happen
 * again, and the process dies of it as it would have without us. Any other fault is not ours, and
 * takes the same way without words. Failure modes: somebody else (a sanitizer) handles faults
 * already, or there is no memory at the start: the process dies without words.
 *
 * Security rule 25 lets handlers write a byte or put a flag up. This one calls the mode, which must
 * keep to what a handler may do: the process is at its end, and nobody else knows why.
 */
#include "fiber/sched.h"

#include <signal.h>
#include <stdlib.h>

#define SIZE (64 * 1024) /* registers of any processor, and a log line; used once, or never */

struct overflow {
	void *memory; /* the handler's stack; NULL: there was one already */
	stack_t old;  /* what was in its place */
};

/* Which one it is differs between systems. */
static const int signals[] = {SIGSEGV, SIGBUS};

static void on_fault(int signo, siginfo_t *info, void *where)
{
	const struct fibers *fibers = fibers_here;
	struct sigaction standard = {.sa_handler = SIG_DFL};
	struct log_context context;
	bool sent = info->si_code <= 0; /* by kill(2): there is no address, and no second fault */
	char peer[96];

	(void)where;
	/* allowed: sigaction: fit for handlers; the second time, nobody is in the way */
	sigaction(signo, &standard, NULL);
	/* allowed: stack_is_guard: written for handlers */
	if (!sent && fibers && stack_is_guard(fibers->stacks, info->si_addr)) {
		/* allowed: fiber_describe: written for handlers */
		fiber_describe(fibers, &context, peer, sizeof peer);
		/* allowed: overflow: must be fit for a handler, see fiber.h */
		fibers->config.overflow(fibers->config.arg, &context);
	}
	if (sent)
		/* allowed: raise: fit for handlers; held back until this one returns */
		raise(signo);
}

static void install(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	struct sigaction now;

	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		sigaction(signals[i], NULL, &now);
		if (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL)
			sigaction(signals[i], &action, NULL);
	}
}

void overflow_open(struct fibers *fibers)
{
	struct overflow *overflow = calloc(1, sizeof *overflow);
	stack_t own = {.ss_size = SIZE};

	if (!overflow)
		return;
	sigaltstack(NULL, &overflow->old);
	if (overflow->old.ss_flags & SS_DISABLE) {
		own.ss_sp = overflow->memory = malloc(SIZE);
		if (!own.ss_sp || sigaltstack(&own, NULL) < 0) {
			free(overflow->memory);
			free(overflow);
			return;
		}
	}
	fibers->overflow = overflow;
	if (fibers->config.overflow)
		install();
}

void overflow_close(struct fibers *fibers)
{
	const struct sigaction standard = {.sa_handler = SIG_DFL};
	struct overflow *overflow = fibers->overflow;
	struct sigaction now;

	if (!overflow)
		return;
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		sigaction(signals[i], NULL, &now);
		if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault)
			sigaction(signals[i], &standard, NULL);
	}
	if (overflow->memory)
		sigaltstack(&overflow->old, NULL);
	free(overflow->memory);
	free(overflow);
	fibers->overflow = NULL;
}
