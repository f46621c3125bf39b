/* fork_loop.c - the bare loop: a child process for each connection. */
#include "peer.h"

#include <signal.h>

int main(int argc, char **argv)
{
	int listener = peer_listen(argc, argv, 0);
	int fd;

	signal(SIGCHLD, SIG_IGN); /* the system reaps */
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		if (fork() == 0) {
			close(listener);
			peer_echo(fd);
			_exit(0);
		}
		close(fd);
	}
}
