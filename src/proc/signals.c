/*
 * signals.c - signals become flags and a readable pipe, which every loop can wait for (rule 25).
 *
 * Happy path: a handler puts a flag up and writes one byte; the loop wakes, calls signals_drain(),
 * then takes flags. A flag that goes up in between is announced by a byte of its own, so no signal
 * is slept through; a full pipe needs no further byte.
 *
 * A forked child inherits the handlers. Until it has called signals_child() its signals are kept
 * apart in `early`: they must neither be lost nor wake the parent. All state is atomic, for signals
 * may come in any thread.
 */
#include "os/os.h"
#include "proc/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define NO_PIPE UINT64_MAX
#define MANY 2 /* flags count no further */

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "handlers read the pipe's 64 bits without a lock");

static const int signal_numbers[SIGNAL_COUNT] = {
    [SIGNAL_TERM] = SIGTERM, [SIGNAL_INT] = SIGINT,   [SIGNAL_HUP] = SIGHUP,
    [SIGNAL_USR1] = SIGUSR1, [SIGNAL_CHLD] = SIGCHLD,
};

/* The one set of this process. */
static struct {
	_Atomic uint64_t pipe;          /* readable end << 32 | writable end, or NO_PIPE */
	atomic_int owner;               /* the process whose flags these are; 0: not open */
	atomic_int flags[SIGNAL_COUNT]; /* 0, 1, MANY or a little more */
	atomic_int early[SIGNAL_COUNT]; /* came in a child before signals_child() */
	bool child;                     /* signals_child() was called, signals_open() not since */
	struct sigaction old[SIGNAL_COUNT], old_pipe;
	sigset_t old_mask;
} set = {.pipe = NO_PIPE};

static _Thread_local bool blocked; /* by signals_block_all(), in this thread */

static int readable_end(uint64_t pipe)
{
	return (int)(uint32_t)(pipe >> 32);
}

static int writable_end(uint64_t pipe)
{
	return (int)(uint32_t)pipe;
}

static void close_pipe(uint64_t pipe)
{
	if (pipe == NO_PIPE)
		return;
	close(readable_end(pipe));
	close(writable_end(pipe));
}

/* Announce a flag. A pipe too full for this byte is readable anyway. */
void signals_wake(void)
{
	uint64_t pipe = atomic_load(&set.pipe);

	if (pipe != NO_PIPE && write(writable_end(pipe), "", 1) < 0)
		return;
}

static void raise_flag(atomic_int *flag)
{
	if (atomic_load(flag) < MANY)
		atomic_fetch_add(flag, 1);
}

static void on_signal(int signo)
{
	int saved = errno;
	bool mine = getpid() == atomic_load(&set.owner);

	for (int i = 0; i < SIGNAL_COUNT; i++)
		if (signal_numbers[i] == signo)
			raise_flag(mine ? &set.flags[i] : &set.early[i]);
	if (mine)
		signals_wake();
	errno = saved;
}

static void our_signals(sigset_t *mask)
{
	sigemptyset(mask);
	for (int i = 0; i < SIGNAL_COUNT; i++)
		sigaddset(mask, signal_numbers[i]);
}

static void handle(int signo, int flags)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};

	sigemptyset(&action.sa_mask);
	sigaction(signo, &action, NULL);
}

static void install(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigemptyset(&ignore.sa_mask);
	sigaction(SIGPIPE, &ignore, &set.old_pipe);
	for (int i = 0; i < SIGNAL_COUNT; i++) {
		sigaction(signal_numbers[i], NULL, &set.old[i]);
		/* nohup asked for this; every other signal is ours to answer. */
		if (i != SIGNAL_HUP || set.old[i].sa_handler != SIG_IGN)
			handle(signal_numbers[i], SA_NOCLDSTOP);
	}
}

static void flags_down(void)
{
	for (int i = 0; i < SIGNAL_COUNT; i++) {
		atomic_store(&set.flags[i], 0);
		atomic_store(&set.early[i], 0);
	}
}

static uint64_t make_pipe(int *rc)
{
	int fds[2];

	*rc = os_pipe(fds);
	return *rc < 0 ? NO_PIPE : (uint64_t)fds[0] << 32 | (uint64_t)fds[1];
}

static bool any_flag_up(void)
{
	for (int i = 0; i < SIGNAL_COUNT; i++)
		if (atomic_load(&set.flags[i]))
			return true;
	return false;
}

/* The pipe, made when there is none; of two threads that make one, the first wins. */
static uint64_t get_pipe(int *rc)
{
	uint64_t pipe = atomic_load(&set.pipe), fresh;

	*rc = 0;
	if (pipe != NO_PIPE || !atomic_load(&set.owner))
		return pipe;
	fresh = make_pipe(rc);
	if (*rc < 0)
		return NO_PIPE;
	if (!atomic_compare_exchange_strong(&set.pipe, &pipe, fresh)) {
		close_pipe(fresh);
		return pipe;
	}
	/* A handler that ran before the exchange had nowhere to write. */
	if (any_flag_up())
		signals_wake();
	return fresh;
}

static int open_first(void)
{
	sigset_t ours;
	int rc;
	uint64_t pipe = make_pipe(&rc);

	if (rc < 0)
		return rc;
	flags_down();
	set.child = false;
	atomic_store(&set.pipe, pipe);
	atomic_store(&set.owner, getpid());
	install();
	our_signals(&ours);
	pthread_sigmask(SIG_UNBLOCK, &ours, &set.old_mask);
	return 0;
}

/* A forked child becomes a server of its own: it wants to hear of its children again. */
static int open_in_child(void)
{
	int rc;

	get_pipe(&rc);
	if (rc < 0)
		return rc;
	handle(SIGCHLD, SA_NOCLDSTOP);
	set.child = false;
	return 0;
}

int signals_open(struct err *err)
{
	int rc;

	if (atomic_load(&set.owner) && !set.child)
		return err_set(err, -EBUSY, "signals are handled for another server already");
	rc = set.child ? open_in_child() : open_first();
	return rc < 0 ? err_sys(err, rc, "cannot make a pipe for signals") : 0;
}

void signals_child(void)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};
	sigset_t ours;

	if (!atomic_load(&set.owner))
		return;
	sigaction(SIGCHLD, &standard, NULL);
	atomic_store(&set.early[SIGNAL_CHLD], 0);
	close_pipe(atomic_exchange(&set.pipe, NO_PIPE));
	for (int i = 0; i < SIGNAL_COUNT; i++)
		atomic_store(&set.flags[i], 0);
	set.child = true;
	/* From here on signals go to the flags; those that came before follow them. */
	atomic_store(&set.owner, getpid());
	for (int i = 0; i < SIGNAL_COUNT; i++)
		atomic_fetch_add(&set.flags[i], atomic_exchange(&set.early[i], 0));
	if (blocked) {
		our_signals(&ours);
		pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
	}
}

int signals_fd(void)
{
	int rc;

	return readable_end(get_pipe(&rc));
}

int signals_wake_fd(void)
{
	int rc;

	return writable_end(get_pipe(&rc));
}

void signals_drain(void)
{
	uint64_t pipe = atomic_load(&set.pipe);
	char bytes[256];
	ssize_t n;

	if (pipe == NO_PIPE)
		return;
	do
		n = read(readable_end(pipe), bytes, sizeof bytes);
	while (n == sizeof bytes || (n < 0 && errno == EINTR));
}

void signals_answer_once(enum signal_event event)
{
	handle(signal_numbers[event], (int)SA_RESETHAND);
}

int signals_take(enum signal_event event)
{
	int n = atomic_exchange(&set.flags[event], 0);

	return n > MANY ? MANY : n;
}

bool signals_stop_pending(void)
{
	return atomic_load(&set.flags[SIGNAL_TERM]) || atomic_load(&set.flags[SIGNAL_INT]);
}

void signals_close(void)
{
	if (!atomic_load(&set.owner))
		return;
	pthread_sigmask(SIG_SETMASK, &set.old_mask, NULL);
	for (int i = 0; i < SIGNAL_COUNT; i++)
		sigaction(signal_numbers[i], &set.old[i], NULL);
	sigaction(SIGPIPE, &set.old_pipe, NULL);
	atomic_store(&set.owner, 0);
	set.child = false;
	close_pipe(atomic_exchange(&set.pipe, NO_PIPE));
	flags_down();
}

void signals_block_all(void)
{
	sigset_t ours;

	our_signals(&ours);
	pthread_sigmask(SIG_BLOCK, &ours, NULL);
	blocked = true;
}
