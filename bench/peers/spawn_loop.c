/* spawn_loop.c - the bare loop: a program started by posix_spawn(3) for each connection, with the
 * socket as descriptors 0 and 1, and buried later. Usage: spawn_loop PORT PROGRAM. */
#include "peer.h"

#include <spawn.h>
#include <sys/wait.h>

static void serve(int fd, char **program)
{
	static char *environment[] = {NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
	rc = posix_spawn(&pid, program[0], &actions, NULL, program, environment);
	posix_spawn_file_actions_destroy(&actions);
	if (rc != 0) {
		fprintf(stderr, "%s: %s\n", program[0], strerror(rc));
		exit(1);
	}
}

int main(int argc, char **argv)
{
	int listener, fd;

	if (argc < 3) {
		fprintf(stderr, "usage: spawn_loop PORT PROGRAM\n");
		return 2;
	}
	listener = peer_listen(argc, argv, SOCK_CLOEXEC);
	for (;;) {
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		serve(fd, argv + 2);
		close(fd);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			continue;
	}
}
