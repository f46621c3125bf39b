/* thread_loop.c - the bare loop: a detached thread for each connection. */
#include "peer.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;

	peer_echo(fd);
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	int listener = peer_listen(argc, argv, 0);
	pthread_attr_t detached;
	pthread_t thread;
	void *arg;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	for (;;) {
		fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		arg = (void *)(intptr_t)fd; // NOLINT(performance-no-int-to-ptr)
		if (pthread_create(&thread, &detached, serve, arg) != 0)
			close(fd);
	}
}
