/*
 * spare.c - would spare processes, forked in advance and waiting for a connection's descriptor, be
 * quicker than starting a process when the connection comes? Usage: spare PROGRAM [ROUNDS]; prints
 * for each round the median time in microseconds from the decision to the program's first byte:
 *   vfork   a child that shares our memory, made then (as netdaemon does it)
 *   forked  a spare made by fork(2): it gets the descriptor by SCM_RIGHTS, only exec is left
 *   shared  the same, but the spare shares our memory: exec has none to give back
 * The three take turns. A spare has time to begin its wait, which is not counted.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRIES 500
#define SETTLE_NS 300000
#define STACK_BYTES 65536
#define BALLAST (8 << 20) /* what a daemon of some size has in memory */

enum way { VFORK, FORKED, SHARED, WAYS };

struct trial {
	char **program;
	int socket;   /* what the program gets */
	int order[2]; /* to the spare, of the spare */
	char stack[STACK_BYTES];
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int become(char **program, int fd)
{
	static char *environment[] = {NULL};

	setpgid(0, 0);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	execve(program[0], program, environment);
	_exit(127);
}

static int at_once(void *arg)
{
	struct trial *trial = arg;

	return become(trial->program, trial->socket);
}

/* One byte and a descriptor. */
struct parcel {
	char byte;
	struct iovec data;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct msghdr message;
};

static void parcel_init(struct parcel *parcel)
{
	*parcel = (struct parcel){.byte = 1};
	parcel->data = (struct iovec){&parcel->byte, 1};
	parcel->message = (struct msghdr){.msg_iov = &parcel->data,
					  .msg_iovlen = 1,
					  .msg_control = parcel->control,
					  .msg_controllen = sizeof parcel->control};
}

static int spare_main(void *arg)
{
	struct trial *trial = arg;
	struct parcel parcel;
	int fd;

	parcel_init(&parcel);
	if (recvmsg(trial->order[1], &parcel.message, 0) <= 0)
		_exit(1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&parcel.message)), sizeof fd);
	return become(trial->program, fd);
}

static void give(struct trial *trial)
{
	struct parcel parcel;
	struct cmsghdr *head;

	parcel_init(&parcel);
	head = CMSG_FIRSTHDR(&parcel.message);
	head->cmsg_len = CMSG_LEN(sizeof(int));
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(head), &trial->socket, sizeof(int));
	sendmsg(trial->order[0], &parcel.message, 0);
}

static pid_t make_spare(struct trial *trial, enum way way)
{
	const struct timespec settle = {.tv_nsec = SETTLE_NS};
	pid_t pid;

	socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, trial->order);
	if (way == SHARED)
		pid = clone(spare_main, trial->stack + STACK_BYTES, CLONE_VM | SIGCHLD, trial);
	else
		pid = fork();
	if (pid == 0)
		spare_main(trial);
	nanosleep(&settle, NULL);
	return pid;
}

static double try_once(struct trial *trial, enum way way)
{
	int pair[2];
	char line[64];
	double begun;
	pid_t pid = 0;

	socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
	trial->socket = pair[1];
	if (way != VFORK)
		pid = make_spare(trial, way);
	begun = now_us();
	if (way != VFORK)
		give(trial);
	else
		pid = clone(at_once, trial->stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD,
			    trial);
	close(pair[1]);
	if (pid < 0 || read(pair[0], line, sizeof line) <= 0) {
		fprintf(stderr, "%s says nothing\n", trial->program[0]);
		exit(1);
	}
	begun = now_us() - begun;
	waitpid(pid, NULL, 0);
	close(pair[0]);
	if (way != VFORK) {
		close(trial->order[0]);
		close(trial->order[1]);
	}
	return begun;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int main(int argc, char **argv)
{
	static double times[WAYS][TRIES];
	struct trial *trial = calloc(1, sizeof *trial);
	char *ballast = malloc(BALLAST);

	if (argc < 2 || !trial || !ballast) {
		fprintf(stderr, "usage: spare PROGRAM [ROUNDS]\n");
		return 2;
	}
	memset(ballast, 1, BALLAST);
	trial->program = (char *[]){argv[1], NULL};
	printf("%10s%10s%10s\n", "vfork", "forked", "shared");
	for (int round = argc > 2 ? atoi(argv[2]) : 5; round > 0; round--) {
		for (int i = 0; i < TRIES; i++)
			for (enum way way = VFORK; way < WAYS; way++)
				times[way][i] = try_once(trial, way);
		for (enum way way = VFORK; way < WAYS; way++) {
			qsort(times[way], TRIES, sizeof times[way][0], by_size);
			printf("%10.1f", times[way][TRIES / 2]);
		}
		printf("\n");
	}
	free(ballast);
	free(trial);
	return 0;
}
