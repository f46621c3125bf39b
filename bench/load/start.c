/*
 * start.c - from fork() to the first echo: start the server, connect in a tight loop until one
 * line comes back, end the server by its pid.
 *
 * Failure modes: the server ends by itself, or does not answer within GIVE_UP_NS: exit status 1.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define GIVE_UP_NS 20000000000
#define STOP_NS 5000000000

static pid_t spawn(const struct options *options)
{
	pid_t pid = fork();
	cpu_set_t set;

	if (pid != 0)
		return pid;
	setpgid(0, 0);
	/* Its output must not stand among ours; what it complains about may. */
	if (!freopen("/dev/null", "w", stdout))
		_exit(126);
	CPU_ZERO(&set);
	if (options->cpu >= 0) {
		CPU_SET((size_t)options->cpu, &set);
		sched_setaffinity(0, sizeof set, &set);
	}
	execvp(options->command[0], options->command);
	perror(options->command[0]);
	_exit(127);
}

static bool talk(int fd)
{
	struct timeval limit = {.tv_sec = 5};
	char data[8];

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	return send(fd, "hello\n", 6, MSG_NOSIGNAL) == 6 && recv(fd, data, 6, MSG_WAITALL) == 6 &&
	       memcmp(data, "hello\n", 6) == 0;
}

static bool try_once(int port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((in_port_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answered;

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	answered = connect(fd, (const struct sockaddr *)&sa, sizeof sa) == 0 && talk(fd);
	close(fd);
	return answered;
}

/* Has it ended? It stays unreaped, so that its number is nobody else's yet. */
static bool has_ended(pid_t pid)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == pid;
}

/* TERM, then KILL for its process group: children of a server that does not clean up. */
static void stop(pid_t pid)
{
	int64_t until = now_ns() + STOP_NS;

	kill(pid, SIGTERM);
	while (!has_ended(pid) && now_ns() < until)
		poll(NULL, 0, 1); /* the end of a process is no event that poll(2) knows */
	kill(-pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int load_start(const struct options *options)
{
	int64_t start = now_ns();
	pid_t pid = spawn(options);
	bool answered = false;
	double ms;

	if (pid < 0)
		return 1;
	while (!answered && !has_ended(pid) && now_ns() - start < GIVE_UP_NS) {
		answered = try_once(options->port);
		if (!answered)
			sched_yield();
	}
	ms = (double)(now_ns() - start) / 1e6;
	stop(pid);
	if (!answered) {
		fprintf(stderr, "load: %s does not answer\n", options->command[0]);
		return 1;
	}
	printf("{\"start_ms\":%.3f}\n", ms);
	return 0;
}
