/*
 * step.h - the step function of the Perl binding: sleep until there is something for Perl to do,
 * and say what. Nothing here calls Perl, so that die, exit, fork and threads of Perl code never
 * unwind through C.
 *
 * Happy path: step_wait() -> STEP_ACCEPT and which socket -> Perl accepts and serves -> again.
 */
#ifndef PERL_STEP_H
#define PERL_STEP_H

#include "base/base.h"

#define STEP_SOCKETS_MAX 64 /* listening sockets of one server */

enum step_event {
	STEP_AGAIN,  /* no news, and the time is up, or it was woken */
	STEP_INTR,   /* a signal */
	STEP_ACCEPT, /* a connection waits */
	STEP_TIMER,  /* it is time for Loop */
};

/* What lasts from one step to the next. Zero-initialised. */
struct step {
	int64_t loop_ms;   /* the period of the timer; 0: none */
	int64_t loop_at;   /* when it is due next */
	int64_t resume_at; /* nothing is accepted before; 0: no pause */
	int64_t pause_ms;  /* how long the next pause lasts; 0: the shortest */
	struct throttle complaints;
	size_t turn;      /* the socket that is looked at first: all get their share */
	bool interrupted; /* the next wait is STEP_INTR: a handler ran when none was on */
};

/* A listening socket. */
struct step_socket {
	int fd;      /* -1: to be passed over */
	bool accept; /* it is non-blocking, and the step is to accept, not only to wait */
};

/* What one step waits for. */
struct step_sources {
	const struct step_socket *sockets;
	size_t count;       /* at most STEP_SOCKETS_MAX */
	int wake;           /* readable: a reason for STEP_AGAIN; -1: none */
	int64_t loop_ms;    /* the timer's period as it is now; 0: none */
	int64_t at_most_ms; /* STEP_AGAIN after this time; -1: sleep for as long as it takes */
	/* The interpreter's count of signals that wait for their handlers. */
	const volatile int *signals;
	/* Threads: signals must not be blocked here, as another thread would get them. The price is
	 * a gap between the look at signals and the wait, so no wait is longer than a second. */
	bool threads;
};

/* What STEP_ACCEPT is about. */
struct step_ready {
	size_t socket; /* index */
	bool taken;    /* accepting was asked for */
	int fd;        /* then: the connection, or -errno */
};

/*
 * One step. *ready is set after STEP_ACCEPT, and untouched otherwise. Where neither at_most_ms nor
 * wake are given, it lasts until there is something to do.
 */
enum step_event step_wait(struct step *step, const struct step_sources *sources,
			  struct step_ready *ready);

/*
 * Accepting has failed for want of something, or for ever: leave the sockets alone for a while,
 * longer each time. True when it is time to log that; then *held is how often it was not logged.
 */
bool step_pause(struct step *step, uint64_t *held);

/* Accepting works. */
void step_resume(struct step *step);

#endif
