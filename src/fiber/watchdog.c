/*
 * watchdog.c - tells of a fiber that keeps all others waiting: who it is, since when, where it is.
 *
 * Happy path: a thread sleeps, and now and then looks at fibers->turn, which is odd while a fiber
 * runs and never the same for two turns. The same odd value for stall_ms is a stall: the thread
 * sends the scheduler's thread a signal, whose handler notes down the fiber's name and a backtrace;
 * one line is logged. When the turn moves on, another line tells how long it was. Failure modes: no
 * answer within ANSWER_MS, or the program has the signal for itself: the line comes without name
 * and place. No thread or no memory at the start: -errno.
 *
 * Security rule 25 lets handlers write a byte or put a flag up. This one does more, in its own
 * memory, without a lock and within limits, for only the stalled thread itself knows where it is. A
 * call that it interrupts goes on by itself if the system can do that; poll(2) and sleeps end early
 * with EINTR.
 */
#include "fiber/sched.h"
#include "os/os.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Urgent data: hardly anybody wants to hear of it, and one that comes late does nothing. */
#define SIGNAL SIGURG
#define ANSWER_MS                                                                                  \
	1000 /* how long an answer may take: a call may be one that nothing interrupts             \
	      */
#define ANSWER_LOOK_MS 1
#define LOOKS 2 /* in stall_ms; each after the first finds the same turn */
#define ADDRESSES_MAX 12
#define ADDRESS_TEXT 128
#define TRACE_TEXT (ADDRESSES_MAX * ADDRESS_TEXT)

/* Who may touch the answer. */
enum {
	LOOK_IDLE,   /* nobody */
	LOOK_WANTED, /* the handler, from now on */
	LOOK_TAKING, /* it does */
	LOOK_DONE,   /* the watchdog's thread */
};

/* What the handler finds out. All zero: nothing. */
struct sight {
	bool is_first; /* it is the first fiber */
	bool is_named;
	uint64_t conn;
	char peer[96];
	void *addresses[ADDRESSES_MAX];
	size_t count;
};

struct look {
	atomic_int state;
	uint64_t turn; /* the one it is asked about */
	struct sight sight;
};

struct watchdog {
	struct fibers *fibers;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake; /* it closes */
	bool closing;
	bool has_signal;
	struct sigaction old; /* of the signal */
	bool was_blocked;     /* it was, in the scheduler's thread */

	/* of its thread */
	uint64_t turn;
	int64_t since;      /* when that turn was first seen */
	unsigned looks;     /* how often it was since */
	bool is_stalled;    /* and it was told */
	struct sight sight; /* of whom */

	struct look look; /* see its state */
};

/* --------------------------------------------------------------------------- the stalled thread */

bool fiber_describe(const struct fibers *fibers, struct log_context *context, char *peer,
		    size_t size)
{
	const struct fiber *fiber = fibers->current;
	const char *object = NULL;

	*context = (struct log_context){0};
	if (!fiber || fiber->state != FIBER_RUNNING || !fibers->config.describe)
		return false;
	if (fiber->room > 0)
		object = fiber->context.top - fiber->room;
	fibers->config.describe(object, context, peer, size);
	return context->conn && context->peer;
}

static void answer(const struct fibers *fibers, struct look *look, const void *where)
{
	struct sight *sight = &look->sight;
	struct log_context context;

	*sight = (struct sight){0};
	if (atomic_load(&fibers->turn) != look->turn) /* it has gone on meanwhile */
		return;
	sight->is_first = fibers->current == &fibers->first;
	sight->is_named = fiber_describe(fibers, &context, sight->peer, sizeof sight->peer);
	sight->conn = context.conn;
	/* No memory is taken: the first call, which may do that, was in take_signal(). */
	sight->count = os_backtrace(where, sight->addresses, ADDRESSES_MAX);
}

static void on_signal(int signo, siginfo_t *info, void *where)
{
	struct fibers *fibers = fibers_here;
	struct look *look = fibers && fibers->watchdog ? &fibers->watchdog->look : NULL;
	int wanted = LOOK_WANTED;
	int saved = errno;

	(void)signo;
	(void)info;
	if (look && atomic_compare_exchange_strong(&look->state, &wanted, LOOK_TAKING)) {
		/* allowed: answer: notes for the watchdog, as told at the top of this file */
		answer(fibers, look, where);
		atomic_store(&look->state, LOOK_DONE);
	}
	errno = saved;
}

/* ------------------------------------------------------------------------ the watchdog's thread */

/* Sleep for so long, or until it closes. Called and returns with the lock held. */
static void rest(struct watchdog *watchdog, int64_t ms)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	while (!watchdog->closing && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&watchdog->wake, &watchdog->lock, &until);
}

/* Ask the scheduler's thread about this turn. No answer: nothing is known. With the lock held. */
static void ask(struct watchdog *watchdog)
{
	struct look *look = &watchdog->look;
	int64_t deadline = clock_deadline(ANSWER_MS);
	int wanted = LOOK_WANTED;

	watchdog->sight = (struct sight){0};
	if (!watchdog->has_signal || atomic_load(&look->state) == LOOK_TAKING)
		return;
	look->turn = watchdog->turn;
	atomic_store(&look->state, LOOK_WANTED);
	pthread_kill(watchdog->fibers->thread, SIGNAL);
	while (!watchdog->closing && atomic_load(&look->state) != LOOK_DONE &&
	       clock_ms() < deadline)
		rest(watchdog, ANSWER_LOOK_MS);
	if (atomic_load(&look->state) == LOOK_DONE)
		watchdog->sight = look->sight;
	else /* what comes now comes too late */
		atomic_compare_exchange_strong(&look->state, &wanted, LOOK_IDLE);
}

/* " in a < b < c", or nothing. */
static void name_addresses(const struct sight *sight, char out[TRACE_TEXT])
{
	char name[ADDRESS_TEXT - sizeof " < "];
	size_t used = 0;

	*out = '\0';
	for (size_t i = 0; i < sight->count; i++) {
		os_address_name(sight->addresses[i], name, sizeof name);
		used += (size_t)snprintf(out + used, TRACE_TEXT - used, "%s%s",
					 i == 0 ? ", in " : " < ", name);
	}
}

static void tell(const struct watchdog *watchdog, enum netd_level level, const char *what,
		 const char *where)
{
	const struct sight *sight = &watchdog->sight;
	const struct log_context context = {.conn = sight->conn, .peer = sight->peer};
	const char *who = sight->is_first ? "the first fiber " : "a fiber ";

	log_write(watchdog->fibers->config.log, level, sight->is_named ? &context : NULL, "%s%s%s",
		  sight->is_named ? "" : who, what, where);
}

static void begin_stall(struct watchdog *watchdog, int64_t now)
{
	char what[96], where[TRACE_TEXT];

	watchdog->is_stalled = true;
	snprintf(what, sizeof what, "holds up all others: no wait for %" PRId64 " ms so far",
		 now - watchdog->since);
	ask(watchdog);
	name_addresses(&watchdog->sight, where);
	tell(watchdog, NETD_WARNING, what, where);
}

static void end_stall(struct watchdog *watchdog, int64_t now)
{
	char what[96];

	watchdog->is_stalled = false;
	snprintf(what, sizeof what, "went on after %" PRId64 " ms without a wait",
		 now - watchdog->since);
	tell(watchdog, NETD_NOTICE, what, "");
}

/* The number of looks counts, not the clock: when all of the process stood still, nobody stalled.
 */
static void look_at_turn(struct watchdog *watchdog)
{
	uint64_t turn = atomic_load(&watchdog->fibers->turn);
	int64_t now = clock_ms();

	if (turn != watchdog->turn) {
		if (watchdog->is_stalled)
			end_stall(watchdog, now);
		watchdog->turn = turn;
		watchdog->since = now;
		watchdog->looks = 0;
	} else if (turn % 2 == 1 && !watchdog->is_stalled && ++watchdog->looks == LOOKS)
		begin_stall(watchdog, now);
}

static void *watchdog_main(void *arg)
{
	struct watchdog *watchdog = arg;
	int64_t period = (watchdog->fibers->config.stall_ms + LOOKS - 1) / LOOKS;

	os_thread_name("watchdog");
	pthread_mutex_lock(&watchdog->lock);
	while (!watchdog->closing) {
		look_at_turn(watchdog);
		rest(watchdog, period);
	}
	if (watchdog->is_stalled)
		end_stall(watchdog, clock_ms());
	pthread_mutex_unlock(&watchdog->lock);
	return NULL;
}

/* ------------------------------------------------------------------------------ start and stop */

/* Who has a handler of his own for this signal keeps it. */
static void take_signal(struct watchdog *watchdog)
{
	struct sigaction action = {.sa_sigaction = on_signal,
				   .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
	sigset_t mine, old;
	void *loaded[1];

	sigaction(SIGNAL, NULL, &watchdog->old);
	if ((watchdog->old.sa_flags & SA_SIGINFO) ||
	    (watchdog->old.sa_handler != SIG_DFL && watchdog->old.sa_handler != SIG_IGN))
		return;
	os_backtrace(NULL, loaded, ARRAY_LEN(loaded));
	sigfillset(&action.sa_mask);
	sigaction(SIGNAL, &action, NULL);
	sigemptyset(&mine);
	sigaddset(&mine, SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &mine, &old);
	watchdog->was_blocked = sigismember(&old, SIGNAL) == 1;
	watchdog->has_signal = true;
}

static void give_signal_back(const struct watchdog *watchdog)
{
	struct sigaction now;
	sigset_t mine;

	if (!watchdog->has_signal)
		return;
	sigaction(SIGNAL, NULL, &now);
	if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_signal)
		return; /* somebody has taken it meanwhile */
	sigemptyset(&mine);
	sigaddset(&mine, SIGNAL);
	if (watchdog->was_blocked)
		pthread_sigmask(SIG_BLOCK, &mine, NULL);
	sigaction(SIGNAL, &watchdog->old, NULL);
}

/* Signals are the program's: none of them must end up in our thread. Returns 0 or -errno. */
static int start_thread(struct watchdog *watchdog)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&watchdog->thread, NULL, watchdog_main, watchdog);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -rc;
}

static void free_watchdog(struct watchdog *watchdog)
{
	give_signal_back(watchdog);
	pthread_cond_destroy(&watchdog->wake);
	pthread_mutex_destroy(&watchdog->lock);
	free(watchdog);
}

int watchdog_open(struct fibers *fibers)
{
	struct watchdog *watchdog;
	pthread_condattr_t monotonic;
	int rc;

	if (fibers->config.stall_ms <= 0)
		return 0;
	watchdog = calloc(1, sizeof *watchdog);
	if (!watchdog)
		return -ENOMEM;
	watchdog->fibers = fibers;
	pthread_mutex_init(&watchdog->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&watchdog->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	take_signal(watchdog);
	rc = start_thread(watchdog);
	if (rc < 0) {
		free_watchdog(watchdog);
		return rc;
	}
	fibers->watchdog = watchdog;
	return 0;
}

void watchdog_close(struct fibers *fibers)
{
	struct watchdog *watchdog = fibers->watchdog;

	if (!watchdog)
		return;
	pthread_mutex_lock(&watchdog->lock);
	watchdog->closing = true;
	pthread_cond_signal(&watchdog->wake);
	pthread_mutex_unlock(&watchdog->lock);
	pthread_join(watchdog->thread, NULL);
	fibers->watchdog = NULL;
	free_watchdog(watchdog);
}
