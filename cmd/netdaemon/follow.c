/*
 * follow.c - from the start of a program to its end.
 *
 * Happy path: wait for its exit (by a pidfd, so that every mode waits in its own way) and log what
 * it says on standard error; then one line with exit status, duration and bytes.
 *
 * A program whose connection is over is ended: SIGTERM for its process group, SIGKILL GRACE_MS
 * later. Over means: a limit of the administrator's has passed, netdaemon stops now, or the client
 * has gone (a reset, or both directions closed; one direction is everyday life: nc -N) and
 * --kill-after seconds went by. What a program leaves behind in its group when it exits by itself
 * is left alone, but told. Failure modes: no pidfd (a kernel before 5.3, or out of descriptors):
 * its exit is looked for every LOOK_MS; somebody else has reaped it: the status is unknown.
 */
#include "program.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRACE_MS 1000 /* from SIGTERM to SIGKILL; a hard stop of netdaemon waits for 2 s */
#define LOOK_MS 50    /* between two looks, where nothing tells of an exit */

/* How far its end has been helped on. */
enum stage { LIVES, TO_BE_TERMINATED, TERMINATED, KILLED };

struct program_process {
	struct netd_conn *conn;
	const struct program *program;
	pid_t pid;
	int pidfd; /* -1: none */
	struct lines lines;
	int64_t started;
	enum stage stage;
	int64_t act_at;  /* when the next stage is due; NETD_NEVER */
	bool unwatched;  /* a limit has passed */
	bool gone;       /* the client */
	const char *why; /* it is to be ended; NULL: it is not */
	int result;      /* of the connection */
};

enum { WAIT_EXIT, WAIT_ERRORS, WAIT_CLIENT, WAITS };

/* ------------------------------------------------------------------------------- ending it */

static void signal_group(const struct program_process *process, int signo)
{
	/* It is not reaped yet, so its number is nobody else's. */
	if (kill(-process->pid, signo) < 0)
		kill(process->pid, signo);
}

static void to_be_ended(struct program_process *process, const char *why, int64_t in_ms)
{
	if (process->stage >= TERMINATED)
		return;
	process->why = why;
	process->stage = TO_BE_TERMINATED;
	process->act_at = netd_now() + in_ms;
}

/* The next stage, when its time has come. */
static void help_on(struct program_process *process)
{
	if (process->act_at == NETD_NEVER || netd_now() < process->act_at)
		return;
	if (process->stage == TO_BE_TERMINATED) {
		signal_group(process, SIGTERM);
		process->stage = TERMINATED;
		process->act_at = netd_now() + GRACE_MS;
		return;
	}
	signal_group(process, SIGKILL);
	process->stage = KILLED;
	process->act_at = NETD_NEVER;
}

/* ---------------------------------------------------------------------------------- waiting */

static bool has_exited(const struct program_process *process)
{
	siginfo_t info = {.si_pid = 0};

	if (waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		return errno == ECHILD; /* reaped by somebody else */
	return info.si_pid != 0;
}

/* Until when a wait may last. */
static int64_t next_look(const struct program_process *process, int64_t now)
{
	int64_t look = process->pidfd < 0 ? now + LOOK_MS : NETD_NEVER;

	return look < process->act_at ? look : process->act_at;
}

/* The server stops now: no wait of the library's lasts any longer. Each program is terminated by
 * its own handler at once; the wait for it is on a helper thread, so that in mode fibers they all
 * are at it side by side. */
static int wait_for_end(void *arg)
{
	struct program_process *process = arg;

	while (!has_exited(process)) {
		struct pollfd exit = {.fd = process->pidfd, .events = POLLIN};
		int64_t now = netd_now(), until = next_look(process, now);

		poll(&exit, 1, until == NETD_NEVER ? -1 : until > now ? (int)(until - now) : 0);
		help_on(process);
	}
	return 0;
}

static void end_now(struct program_process *process)
{
	to_be_ended(process, "netdaemon stops", 0);
	help_on(process);
	if (netd_offload(wait_for_end, process) < 0)
		wait_for_end(process); /* no thread to be had: the others wait a moment */
}

/* Wait for something to happen, under the limits of the connection while it lasts. */
static int wait_some(struct program_process *process, struct netd_pollfd fds[WAITS])
{
	int64_t until = next_look(process, process->pidfd < 0 ? netd_now() : 0);
	bool asks = process->program->kill_after_ms > 0 && !process->gone;

	fds[WAIT_EXIT] = (struct netd_pollfd){.fd = process->pidfd, .events = NETD_IN};
	fds[WAIT_ERRORS] = (struct netd_pollfd){.fd = process->lines.fd, .events = NETD_IN};
	fds[WAIT_CLIENT] = (struct netd_pollfd){.fd = asks ? netd_fd(process->conn) : -1};
	if (process->unwatched)
		return netd_poll(fds, asks ? WAITS : WAIT_CLIENT, until);
	return netd_watch(process->conn, fds, asks ? WAITS : WAIT_CLIENT, until);
}

/* A wait that did not wait. False: the program has ended meanwhile. */
static bool wait_failed(struct program_process *process, int rc)
{
	switch (rc) {
	case -EINTR:
		return true;
	case -ETIMEDOUT: /* the library has logged which limit it was */
		process->unwatched = true;
		process->result = rc;
		to_be_ended(process, "its time is over", 0);
		return true;
	case -ENOTSUP: /* said once; from now on it looks at the total-timeout only */
		netd_log(process->conn, NETD_WARNING,
			 "no first-byte-timeout or idle-timeout here: the system does not count "
			 "what moves on a socket of this kind");
		return true;
	case -ECANCELED:
		process->result = rc;
		end_now(process);
		return false;
	default: /* out of memory, say: without an eye on it, it does not go on */
		netd_error(process->conn, "cannot wait for the program: %s", strerror(-rc));
		process->result = rc;
		end_now(process);
		return false;
	}
}

static void client_has_gone(struct program_process *process)
{
	process->gone = true;
	to_be_ended(process, "its client has gone", process->program->kill_after_ms);
}

static void wait_for_exit(struct program_process *process)
{
	struct netd_pollfd fds[WAITS];
	int rc;

	for (;;) {
		rc = wait_some(process, fds);
		if (rc < 0) {
			if (!wait_failed(process, rc))
				return;
			rc = 0;
			fds[WAIT_EXIT].revents = fds[WAIT_ERRORS].revents = 0;
			fds[WAIT_CLIENT].revents = 0;
		}
		if (rc > 0 && fds[WAIT_ERRORS].revents)
			lines_read(&process->lines, process->conn);
		if (process->pidfd < 0 ? has_exited(process) : fds[WAIT_EXIT].revents != 0)
			return;
		if (rc > 0 && fds[WAIT_CLIENT].fd >= 0 &&
		    fds[WAIT_CLIENT].revents & (NETD_HUP | NETD_FAILED))
			client_has_gone(process);
		help_on(process);
	}
}

/* ------------------------------------------------------------------------------- afterwards */

static void describe_status(int status, char *words, size_t room)
{
	if (WIFEXITED(status))
		snprintf(words, room, "exited with status %d", WEXITSTATUS(status));
	else
		snprintf(words, room, "was ended by signal %d (SIG%s)%s", WTERMSIG(status),
			 sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?",
			 WCOREDUMP(status) ? ", core dumped" : "");
}

/* One line for each program: what came of it, how long it took, what it cost, and why we ended it.
 */
static void log_end(const struct program_process *process, const char *words, bool well)
{
	int64_t ms = netd_now() - process->started;
	uint64_t in = 0, out = 0;
	char bytes[64] = "", why[64] = "";

	if (netd_traffic(process->conn, &in, &out) == 0)
		snprintf(bytes, sizeof bytes, ", %" PRIu64 " bytes in, %" PRIu64 " out", in, out);
	if (process->stage >= TERMINATED)
		snprintf(why, sizeof why, " (%s)", process->why);
	netd_log(process->conn, well ? NETD_INFO : NETD_WARNING,
		 "program %d %s after %" PRId64 ".%03d s%s%s", (int)process->pid, words, ms / 1000,
		 (int)(ms % 1000), bytes, why);
}

static void bury(struct program_process *process)
{
	char words[80] = "has ended, its status is not known: somebody else has waited for it";
	int status = 0;
	pid_t pid;

	if (process->stage >= TERMINATED)
		signal_group(process, SIGKILL); /* what it has started goes with it */
	do
		pid = waitpid(process->pid, &status, 0);
	while (pid < 0 && errno == EINTR);
	if (pid > 0)
		describe_status(status, words, sizeof words);
	log_end(process, words, pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	if (process->stage < TERMINATED && pid > 0 && kill(-pid, 0) == 0)
		netd_log(process->conn, NETD_WARNING,
			 "program %d left processes behind (process group %d): they may keep the "
			 "connection, and no limit holds for them",
			 (int)pid, (int)pid);
}

int follow_program(const struct program *program, struct netd_conn *conn, pid_t pid, int errors,
		   int64_t started)
{
	struct program_process process = {
	    .conn = conn,
	    .program = program,
	    .pid = pid,
	    .pidfd = (int)syscall(SYS_pidfd_open, pid, 0),
	    .started = started,
	    .act_at = NETD_NEVER,
	};

	process.lines.fd = errors;
	wait_for_exit(&process);
	lines_finish(&process.lines, conn);
	bury(&process);
	if (process.pidfd >= 0)
		close(process.pidfd);
	return process.result;
}
