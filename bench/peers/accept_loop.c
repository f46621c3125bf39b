/* accept_loop.c - the bare loop: one connection after the other, served in place. */
#include "peer.h"

#include <signal.h>

int main(int argc, char **argv)
{
	int listener = peer_listen(argc, argv, 0);
	int fd;

	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		peer_echo(fd);
		close(fd);
	}
}
