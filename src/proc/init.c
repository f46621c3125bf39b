/*
 * init.c - a server that is process 1 of a container has duties that nobody else has: to reap
 * whatever is left without a parent, and to hear signals that a process 1 does not get by default.
 *
 * Happy path: init_become() forks; the child goes on as the server and learns nothing of it; the
 * first process passes signals on and buries the dead, until the server has ended, and ends with
 * its status (128 and the number of the signal that killed it). With it the kernel ends whatever
 * else is left in the container.
 * Failure: fork() fails: -errno, nothing is served.
 */
#include "proc/proc.h"

#include "os/os.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLED_BASE 128 /* of exit statuses, as shells have it */

/* What is passed on to the server. */
static const int passed_on[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT};

/* Variables that name the process they are for: they named us, now they name the server. */
static const char *const named_us[] = {"LISTEN_PID", "WATCHDOG_PID"};

static void hand_over_variables(void)
{
	char number[24];

	snprintf(number, sizeof number, "%d", (int)getpid());
	for (size_t i = 0; i < ARRAY_LEN(named_us); i++) {
		const char *value = getenv(named_us[i]);

		if (value && strcmp(value, "1") == 0)
			setenv(named_us[i], number, 1);
	}
}

/* Bury the dead; when the server is among them, end as it did. */
static void reap(pid_t server)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == server)
			_exit(WIFEXITED(status) ? WEXITSTATUS(status)
						: KILLED_BASE + WTERMSIG(status));
}

/* awaited: blocked, so that none is lost between two waits. */
static _Noreturn void look_after(pid_t server, const sigset_t *awaited)
{
	siginfo_t info;

	os_close_from(STDERR_FILENO + 1, NULL, 0); /* what was handed down is the server's */
	for (;;) {
		int signo = sigwaitinfo(awaited, &info);

		if (signo == SIGCHLD)
			reap(server);
		/* What the terminal sends, Ctrl-C, it has sent to the server as well. */
		else if (signo > 0 && info.si_code != SI_KERNEL)
			kill(server, signo);
	}
}

int init_become(void)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};
	sigset_t awaited, before;
	pid_t server;

	if (getpid() != 1)
		return 0;
	sigemptyset(&awaited);
	sigaddset(&awaited, SIGCHLD);
	for (size_t i = 0; i < ARRAY_LEN(passed_on); i++)
		sigaddset(&awaited, passed_on[i]);
	fflush(NULL); /* or both would print it */
	sigprocmask(SIG_BLOCK, &awaited, &before);
	sigaction(SIGCHLD, &standard, NULL); /* ignored, it would never come */
	server = fork();
	if (server > 0)
		look_after(server, &awaited);
	if (server < 0) {
		int rc = -errno;

		sigprocmask(SIG_SETMASK, &before, NULL);
		return rc;
	}
	hand_over_variables();
	/* Who was careful held them back so far; what is passed on must reach the server. */
	sigprocmask(SIG_UNBLOCK, &awaited, NULL);
	return 0;
}
