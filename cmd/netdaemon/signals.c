/*
 * signals.c - the signals of the master of several services, from its first moment on: held back,
 * so that none is lost while the services are still being checked. Process 1 of a container depends
 * on it: the kernel throws away what such a process has neither blocked nor a handler for.
 *
 * Happy path: signals_hold(), then signals_wait() for each process that checks a service, then
 * signals_open() for the time when they run (supervise.c). One service alone needs that as process
 * 1 only, until the library sees to it: signals_hold_as_init(). Failure: a check that does not end
 * when it is told to is killed.
 */
#include "services.h"

#include "commands.h"

#include <errno.h>
#include <netdaemon.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define END_MS 1000 /* a check has nothing to tidy up */

static void fill(sigset_t *set)
{
	static const int heard[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1};

	sigemptyset(set);
	for (size_t i = 0; i < sizeof heard / sizeof *heard; i++)
		sigaddset(set, heard[i]);
}

void signals_hold(sigset_t *before)
{
	sigset_t set;

	signal(SIGCHLD, SIG_DFL); /* ignored by whoever started us, nobody could be waited for */
	fill(&set);
	sigprocmask(SIG_BLOCK, &set, before);
}

void signals_release(const sigset_t *before)
{
	if (getpid() != 1)
		sigprocmask(SIG_SETMASK, before, NULL);
}

void signals_hold_as_init(void)
{
	sigset_t unused;

	if (getpid() == 1)
		signals_hold(&unused);
}

bool signals_stop(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT));
}

/* Wait for one of these signals, or for the time. */
static void pause_for(const sigset_t *set, int64_t ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	sigtimedwait(set, NULL, &time);
}

static void end(pid_t pid)
{
	int64_t until = netd_now() + END_MS, left;
	sigset_t ended;

	sigemptyset(&ended);
	sigaddset(&ended, SIGCHLD);
	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		left = until - netd_now();
		if (left > 0) {
			pause_for(&ended, left);
			continue;
		}
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return;
	}
}

int signals_wait(pid_t pid, int *status)
{
	sigset_t awaited;
	pid_t ended;
	int signo;

	sigemptyset(&awaited);
	sigaddset(&awaited, SIGCHLD);
	sigaddset(&awaited, SIGTERM);
	sigaddset(&awaited, SIGINT);
	while ((ended = waitpid(pid, status, WNOHANG)) == 0 && !signals_stop())
		if (sigwait(&awaited, &signo) == 0 && signo != SIGCHLD)
			raise(signo); /* it stays pending, for signals_stop() */
	/* The interrupt key of a terminal ends both: then the end of one is no news. */
	if (!signals_stop())
		return ended < 0 ? -errno : 0;
	if (ended == 0)
		end(pid);
	return -ECANCELED;
}

int signals_open(void)
{
	sigset_t set;
	int fd;

	fill(&set);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return fd;
}
