/*
 * deny.c - a sandbox that refuses some system calls, and a program in it.
 *
 *	deny io_uring_setup=1 epoll_create1=38 -- PROGRAM ARGUMENT...
 *
 * Happy path: a seccomp filter makes each of these calls return that errno, for this process and
 *all that come from it; then PROGRAM takes its place. Failure modes: exit status 125 and words,
 *when a call is not known here or filters are not allowed.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 16 /* calls */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *name;
	unsigned number;
} calls[] = {
    {"io_uring_setup", SYS_io_uring_setup},
    {"io_uring_enter", SYS_io_uring_enter},
    {"io_uring_register", SYS_io_uring_register},
    {"epoll_create1", SYS_epoll_create1},
    {"openat", SYS_openat},
};

static int refuse(const char *words, const char *what)
{
	fprintf(stderr, "deny: %s: %s\n", what, words);
	return 125;
}

/* NAME=ERRNO as two instructions: is it this call? Then return that. 0 or -1. */
static int add(struct sock_filter *at, const char *rule)
{
	const char *sign = strchr(rule, '=');

	for (size_t i = 0; sign && i < COUNT(calls); i++) {
		size_t length = (size_t)(sign - rule);
		unsigned code = (unsigned)atoi(sign + 1);

		if (strlen(calls[i].name) != length || strncmp(calls[i].name, rule, length) != 0)
			continue;
		at[0] =
		    (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 1);
		at[1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code);
		return 0;
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct sock_filter filter[2 * MOST + 2] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	struct sock_fprog program = {.len = 1, .filter = filter};
	int at;

	for (at = 1; at < argc && strcmp(argv[at], "--") != 0; at++, program.len += 2)
		if (at > MOST || add(filter + program.len, argv[at]) < 0)
			return refuse("not known here", argv[at]);
	if (at + 1 >= argc)
		return refuse("no program", "usage: deny NAME=ERRNO... -- PROGRAM");
	filter[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return refuse(strerror(errno), "seccomp");
	execv(argv[at + 1], argv + at + 1);
	return refuse(strerror(errno), argv[at + 1]);
}
