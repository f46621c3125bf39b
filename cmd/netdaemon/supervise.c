/*
 * supervise.c - the master of several services: one process for each, started, watched, restarted,
 * stopped. It loads no service, reads nothing from outside, and keeps the rights of the start, with
 * which it can start a service again.
 *
 * Happy path: a process for each service; each says by --notify-fd that it accepts connections;
 * when all have, the service manager is told. SIGTERM, SIGINT, SIGHUP and SIGUSR1 go to all of
 * them. A service that dies is started again, after a growing pause if it dies soon. Failure modes:
 * one that does not get as far as to accept connections at the first start: the others are stopped,
 * exit 1. fork(2) fails later: tried again after a pause. One that does not end when it has to end
 * at once (SIGINT, a second SIGTERM) is killed. The master is killed: the end of its life pipes
 * makes the services drain.
 *
 * What it has to say goes to standard error. It opens no log: with its rights it stays away from
 * files in folders that a service may write to. That a service died, its next process logs.
 */
#include "services.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define EARLY_MS 1000       /* dying within this time of its start is a start that failed */
#define PAUSE_FIRST_MS 100  /* before the next start then; doubled each time ... */
#define PAUSE_LAST_MS 10000 /* ... up to here */
#define KILL_MS 5000        /* to end at once, more than any server takes for that */

enum { EXIT_RUN = 1 };

/* One service. */
struct row {
	const char *name;
	pid_t pid;  /* 0: no process */
	int ready;  /* reading end: hears when it accepts connections; -1: has heard, or no process
		     */
	int life;   /* writing end: its process ends when this is closed; -1: no process */
	bool up;    /* has accepted connections, as the process it is now */
	bool ended; /* by itself, in good order: not started again */
	int64_t started, start_at;
	int failures;   /* starts in a row that failed */
	char news[256]; /* how its last process died, for its log; "": it did not */
};

struct master {
	const struct services *services;
	char self[PATH_MAX]; /* our own program */
	struct row *rows;
	int count, running;
	int signals;    /* descriptor */
	bool announced; /* all are up: from now on, whoever dies is started again */
	bool stopping;
	int64_t kill_at; /* whoever has not ended by then hangs */
	int status;
	struct manager manager;
};

/* ------------------------------------------------------------------------- in the new process */

static _Noreturn void start_here(struct master *master, int index, int ready, int life, pid_t of)
{
	char number[16];
	const char *const more[] = {"--notify-fd", number, NULL};
	sigset_t mask = master->services->before;
	char **argv;
	int argc;

	snprintf(number, sizeof number, "%d", ready);
	setpgid(0, 0); /* the interrupt key of a terminal comes by the master, and once */
	handover_environment(master->services, index, of);
	handover_news(master->rows[index].news);
	fcntl(ready, F_SETFD, 0);
	handover_life(life);
	argv = handover_argv(master->services, "--services", index, more, &argc);
	/* Those for the logs would kill it as long as it does not hear them: they wait for that. */
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGUSR1);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (argv)
		execv(master->self, argv);
	fprintf(stderr, "netdaemon: %s: %s\n", master->self, strerror(errno));
	_exit(EXIT_RUN);
}

/* ---------------------------------------------------------------------------- in the master */

/* Two pipes, both close-on-exec and with numbers that are not those of standard streams. */
static int make_pipes(int ready[2], int life[2])
{
	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(life, O_CLOEXEC) == 0)
		return 0;
	close(ready[0]);
	close(ready[1]);
	return -errno;
}

/* Returns 0 or -errno. */
static int start(struct master *master, int index)
{
	struct row *row = &master->rows[index];
	int ready[2], life[2];
	pid_t of = getpid(), pid;
	int rc = make_pipes(ready, life);

	if (rc < 0)
		return rc;
	pid = fork();
	if (pid == 0)
		start_here(master, index, ready[1], life[0], of);
	rc = pid < 0 ? -errno : 0;
	close(ready[1]);
	close(life[0]);
	if (rc < 0) {
		close(ready[0]);
		close(life[1]);
		return rc;
	}
	row->pid = pid;
	row->ready = ready[0];
	row->life = life[1];
	row->up = false;
	row->started = netd_now();
	master->running++;
	return 0;
}

static void signal_all(const struct master *master, int signo)
{
	for (int i = 0; i < master->count; i++)
		if (master->rows[i].pid > 0)
			kill(master->rows[i].pid, signo);
}

static void stop_all(struct master *master, int signo)
{
	if (!master->stopping)
		manager_tell(&master->manager, "STOPPING=1");
	if (master->kill_at == NETD_NEVER && (master->stopping || signo == SIGINT))
		master->kill_at = netd_now() + KILL_MS;
	master->stopping = true;
	signal_all(master, signo);
}

static void kill_late(struct master *master)
{
	if (netd_now() < master->kill_at)
		return;
	master->kill_at = NETD_NEVER;
	signal_all(master, SIGKILL);
}

/* The first start of a service has failed: half of them is not what was asked for. */
static void give_up(struct master *master, const struct row *row, const char *words)
{
	if (master->stopping)
		return;
	fprintf(stderr, "netdaemon: service '%s' did not start: %s; the others are stopped\n",
		row->name, words);
	master->status = EXIT_RUN;
	stop_all(master, SIGINT);
}

/* Milliseconds; twice as many each time in a row. */
static int64_t growing_pause(struct row *row)
{
	int64_t pause = PAUSE_FIRST_MS;

	for (int i = 0; i < row->failures && pause < PAUSE_LAST_MS; i++)
		pause *= 2;
	row->failures++;
	return pause < PAUSE_LAST_MS ? pause : PAUSE_LAST_MS;
}

static void try_later(struct row *row, const char *words)
{
	int64_t pause = growing_pause(row);

	row->start_at = netd_now() + pause;
	fprintf(stderr,
		"netdaemon: service '%s' cannot be started: %s: tried again in %" PRId64 " ms\n",
		row->name, words, pause);
}

static void start_due(struct master *master)
{
	for (int i = 0; i < master->count && !master->stopping; i++) {
		struct row *row = &master->rows[i];
		int rc = 0;

		if (row->pid == 0 && !row->ended && netd_now() >= row->start_at)
			rc = start(master, i);
		if (rc < 0 && !master->announced)
			give_up(master, row, strerror(-rc));
		else if (rc < 0)
			try_later(row, strerror(-rc));
	}
}

static void announce_when_ready(struct master *master)
{
	int fd = master->services->notify_fd;

	for (int i = 0; i < master->count; i++)
		if (!master->rows[i].up && !master->rows[i].ended)
			return;
	if (master->announced || master->stopping)
		return;
	master->announced = true;
	manager_tell(&master->manager, "READY=1");
	if (fd >= 0) {
		(void)!write(fd, "\n", 1);
		close(fd);
	}
}

/* A service said something, or its process closed the pipe. */
static void hear(struct master *master, struct row *row)
{
	char byte;

	if (read(row->ready, &byte, 1) == 1) {
		row->up = true;
		row->news[0] = '\0'; /* its log has them */
	}
	close(row->ready);
	row->ready = -1;
	announce_when_ready(master);
}

static void status_words(int status, char *words, size_t room)
{
	if (WIFSIGNALED(status))
		snprintf(words, room, "died from signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(words, room, "exited with status %d", WEXITSTATUS(status));
}

static void restart_later(struct row *row, const char *words)
{
	bool early = netd_now() - row->started < EARLY_MS;
	int64_t pause;

	if (!early)
		row->failures = 0;
	pause = early ? growing_pause(row) : 0;
	row->start_at = netd_now() + pause;
	snprintf(row->news, sizeof row->news,
		 "service '%s' (process %ld) %s: started again in %" PRId64 " ms", row->name,
		 (long)row->pid, words, pause);
	fprintf(stderr, "netdaemon: %s\n", row->news);
}

/* Whoever was told to stop before it could hear it dies of that. Status 0 without having served is
 * no good end: code of the service has called exit(3). */
static bool ended_well(const struct master *master, const struct row *row, int status)
{
	if (WIFSIGNALED(status))
		return master->stopping && !row->up &&
		       (WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT);
	return WEXITSTATUS(status) == 0 && (row->up || master->stopping);
}

static void service_ended(struct master *master, struct row *row, int status)
{
	char words[128];

	status_words(status, words, sizeof words);
	if (row->ready >= 0)
		hear(master, row); /* it may have been up for a moment */
	close(row->life);
	row->life = -1;
	master->running--;
	if (ended_well(master, row, status)) {
		row->ended = true;
		if (!master->stopping)
			fprintf(stderr, "netdaemon: service '%s' has ended\n", row->name);
		announce_when_ready(master);
	} else if (master->stopping) {
		fprintf(stderr, "netdaemon: service '%s' %s\n", row->name, words);
		master->status = EXIT_RUN;
	} else if (!master->announced) {
		give_up(master, row, words);
	} else {
		restart_later(row, words);
	}
	row->pid = 0;
}

/* As process 1 of a container, others' orphans too. */
static void reap(struct master *master)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < master->count; i++)
			if (master->rows[i].pid == pid)
				service_ended(master, &master->rows[i], status);
}

static void take_signal(struct master *master)
{
	struct signalfd_siginfo info;

	if (read(master->signals, &info, sizeof info) != (ssize_t)sizeof info)
		return;
	if (info.ssi_signo == SIGCHLD)
		reap(master);
	else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
		stop_all(master, (int)info.ssi_signo);
	else
		signal_all(master, (int)info.ssi_signo);
}

static bool has_work(const struct master *master)
{
	bool work = master->running > 0;

	for (int i = 0; i < master->count; i++)
		work |= !master->stopping && !master->rows[i].ended;
	return work;
}

/* Milliseconds for poll(2), to whatever comes next. */
static int next_event(struct master *master)
{
	int64_t at = manager_alive(&master->manager), wait;

	if (master->kill_at < at)
		at = master->kill_at;
	for (int i = 0; i < master->count; i++) {
		const struct row *row = &master->rows[i];

		if (row->pid == 0 && !row->ended && !master->stopping && row->start_at < at)
			at = row->start_at;
	}
	if (at == NETD_NEVER)
		return -1;
	wait = at - netd_now();
	return wait <= 0 ? 0 : wait > INT_MAX ? INT_MAX : (int)wait;
}

static void supervise(struct master *master, struct pollfd *fds)
{
	for (start_due(master); has_work(master); start_due(master)) {
		kill_late(master);
		fds[0] = (struct pollfd){.fd = master->signals, .events = POLLIN};
		for (int i = 0; i < master->count; i++)
			fds[i + 1] = (struct pollfd){.fd = master->rows[i].ready, .events = POLLIN};
		if (poll(fds, (nfds_t)master->count + 1, next_event(master)) <= 0)
			continue;
		for (int i = 0; i < master->count; i++)
			if (fds[i + 1].revents)
				hear(master, &master->rows[i]);
		if (fds[0].revents)
			take_signal(master);
	}
}

/* ------------------------------------------------------------------------------- the beginning */

/* By its path, so that lists of processes show its name; it is looked up once, while it is there.
 */
static void find_self(struct master *master)
{
	ssize_t length = readlink("/proc/self/exe", master->self, sizeof master->self - 1);

	if (length > 0)
		master->self[length] = '\0';
	else /* no /proc */
		snprintf(master->self, sizeof master->self, "%s", master->services->argv[0]);
}

int services_supervise(const struct services *services)
{
	struct master master = {
	    .services = services, .signals = signals_open(), .kill_at = NETD_NEVER};
	struct pollfd *fds;

	while (netd_sections_name(services->sections, master.count))
		master.count++;
	master.rows = calloc((size_t)master.count + 1, sizeof *master.rows);
	fds = calloc((size_t)master.count + 1, sizeof *fds);
	if (master.signals < 0 || !master.rows || !fds) {
		fprintf(stderr, "netdaemon: cannot start: %s\n",
			strerror(master.signals < 0 ? -master.signals : ENOMEM));
		master.status = EXIT_RUN;
	} else {
		for (int i = 0; i < master.count; i++)
			master.rows[i] =
			    (struct row){.name = netd_sections_name(services->sections, i),
					 .ready = -1,
					 .life = -1};
		find_self(&master);
		manager_open(&master.manager);
		supervise(&master, fds);
	}
	if (master.signals >= 0)
		close(master.signals);
	free(fds);
	free(master.rows);
	return master.status;
}
