/*
 * spawn.c - starting the program for one connection, by the cheapest safe means.
 *
 * Happy path: a child that shares our memory (vfork(2) semantics, on a stack of its own, with all
 * signals held off, so that nothing of ours runs in it) puts right what a program may rely on: rule
 * 21. Dispositions, session and process group, descriptors 0, 1 and 2 and no others, umask, limits,
 * signal mask; then it becomes the program. Copying no memory makes this several times as fast as
 * fork(2), and faster than posix_spawn(3), which maps a stack each time and cannot do half of it.
 *
 * A process group of its own: a Ctrl-C for netdaemon does not hit the program, and a signal to the
 * group reaches what it has started in turn. Where netdaemon was started from a terminal, a session
 * of its own besides, which has none; a session is dear, the system keeps its share of the
 * processor apart from others'. The program gets SIGTERM when the thread that serves its connection
 * is gone: not even a crash leaves it behind.
 *
 * Failure: the child notes errno in our memory and ends; it is buried here.
 */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_BYTES 16384 /* the child makes system calls, one function deep */
#define FIRST_FREE 3      /* descriptors from here on are not the program's */
#define CLOSE_MAX 1048576 /* no process has more: the system's own limit, fs.nr_open */
#define KNOWN (1U << 31)  /* in origin->changed */
#define TERMINAL (1U << 30)

_Static_assert(RLIM_NLIMITS <= 30 && NSIG <= 65, "a bit for each limit and for each signal");

/* What the child needs, in memory that both share. */
struct start {
	const struct order *order;
	pid_t parent;
	uint64_t signals; /* as in struct origin */
	uint32_t changed;
	int error; /* the child's last word */
};

void origin_read(struct origin *origin)
{
	origin->umask = umask(0);
	umask(origin->umask);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		getrlimit((__rlimit_resource_t)i, &origin->limits[i]);
}

/* All signals, not only those that netdaemon looks after: nohup(1) and others leave some ignored.
 */
static uint64_t changed_signals(void)
{
	struct sigaction now;
	uint64_t signals = 0;

	for (int i = 1; i < NSIG; i++)
		if (sigaction(i, NULL, &now) == 0 && now.sa_handler != SIG_DFL)
			signals |= 1ULL << (i - 1);
	return signals;
}

static bool has_terminal(void)
{
	int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static uint32_t changed_limits(const struct origin *origin)
{
	struct rlimit now;
	uint32_t changed = KNOWN | (has_terminal() ? TERMINAL : 0);

	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (getrlimit((__rlimit_resource_t)i, &now) == 0 &&
		    (now.rlim_cur != origin->limits[i].rlim_cur ||
		     now.rlim_max != origin->limits[i].rlim_max))
			changed |= 1U << i;
	return changed;
}

/* What differs from the start does not change any more once connections come: looked at once. */
static void look_at_changes(struct origin *origin)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};

	if (atomic_load(&origin->changed) & KNOWN)
		return;
	/* Programs are waited for by pidfd. A process that serves connections has no other
	 * children, and the signal for each would only wake its accept loop. */
	sigaction(SIGCHLD, &standard, NULL);
	atomic_store(&origin->signals, changed_signals());
	atomic_store(&origin->changed, changed_limits(origin));
}

/* ------------------------------------------------------ in the child: nothing but system calls */

/* It never returns, so that what a sanitizer notes about its calls would stay for ever. */
#if defined(__SANITIZE_THREAD__)
#define BARE __attribute__((no_sanitize("thread")))
#else
#define BARE __attribute__((no_sanitize("address")))
#endif

/* ThreadSanitizer takes every clone(2) for a fork(2): what it then tells itself in the child, it
 * has told this thread, whose memory that is too, and it sees no lock and no end of this thread any
 * more: a race in everything. By a name of glibc's that it does not know. */
#if defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

/* By the system calls themselves: what wraps sigaction(3), dup2(2) and close(2), ThreadSanitizer,
 * keeps tables in memory, which is the parent's too. All zeros are SIG_DFL, no flags, no mask. */
BARE static void reset_signals(uint64_t signals)
{
	static const long standard[8];

	for (int i = 1; signals; i++, signals >>= 1)
		if (signals & 1)
			syscall(SYS_rt_sigaction, i, standard, NULL, (size_t)_NSIG / 8);
}

/* Limits that could not be put back (a hard one, without the right to raise it) stay as they are:
 * tighter than at the start. */
BARE static void reset_limits(const struct origin *origin, uint32_t changed)
{
	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (changed & 1U << i)
			setrlimit((__rlimit_resource_t)i, &origin->limits[i]);
}

BARE static bool put(int from, int to)
{
	return syscall(SYS_dup3, from, to, 0) >= 0;
}

BARE static void close_others(void)
{
	struct rlimit limit;

	if (syscall(SYS_close_range, (unsigned)FIRST_FREE, ~0U, 0) == 0)
		return;
	/* A kernel before 5.9, or a filter. */
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > CLOSE_MAX)
		limit.rlim_cur = CLOSE_MAX;
	for (int fd = FIRST_FREE; fd < (int)limit.rlim_cur; fd++)
		syscall(SYS_close, fd);
}

BARE static int child_main(void *arg)
{
	struct start *start = arg;
	const struct order *order = start->order;
	const struct program *program = order->program;
	sigset_t none;

	reset_signals(start->signals);
	if (!(start->changed & TERMINAL) || setsid() < 0)
		setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != start->parent)
		_exit(1); /* it was gone before we asked to be told */
	if (!put(order->socket, STDIN_FILENO) || !put(order->socket, STDOUT_FILENO) ||
	    !put(order->errors, STDERR_FILENO))
		goto fail;
	close_others();
	umask(program->origin->umask);
	reset_limits(program->origin, start->changed);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(program->path, program->argv, order->environment);
fail:
	start->error = errno;
	_exit(127);
}

/* --------------------------------------------------------------------------------- in the parent
 */

pid_t spawn_program(const struct order *order)
{
	_Alignas(16) char stack[STACK_BYTES];
	struct start start = {.order = order, .parent = getpid()};
	sigset_t all, before;
	pid_t pid;

	look_at_changes(order->program->origin);
	start.signals = atomic_load(&order->program->origin->signals);
	start.changed = atomic_load(&order->program->origin->changed);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	pid = clone(child_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &start);
	if (pid < 0)
		pid = -errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pid > 0 && start.error) {
		waitpid(pid, NULL, 0);
		return -start.error;
	}
	return pid;
}
