/* engine_epoll.c - sockets by epoll: edge-triggered, and a short read means that there is no more.
 */
#include "engine.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define EVENTS 512

struct engine {
	int epoll;
	int *fds;
};

static int open_epoll(struct engine **out, unsigned connections)
{
	struct engine *engine = calloc(1, sizeof *engine);

	if (!engine)
		return -ENOMEM;
	engine->fds = calloc(connections, sizeof(int));
	engine->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!engine->fds || engine->epoll < 0) {
		free(engine->fds);
		free(engine);
		return -ENOMEM;
	}
	*out = engine;
	return 0;
}

static int add(struct engine *engine, unsigned tag, int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u32 = tag};

	engine->fds[tag] = fd;
	return epoll_ctl(engine->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int send_all(struct engine *engine, unsigned tag, int fd, const char *data, size_t size)
{
	ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

	(void)engine, (void)tag;
	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EMSGSIZE; /* what we send fits any socket buffer */
}

static void drain(struct engine *engine, unsigned tag, input_fn *fn, void *arg)
{
	char data[4096];
	ssize_t n;

	do {
		n = recv(engine->fds[tag], data, sizeof data, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		fn(arg, tag, data, n < 0 ? -errno : (int)n);
	} while (n == sizeof data);
}

static void turn(struct engine *engine, unsigned batch, input_fn *fn, void *arg)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(engine->epoll, events, EVENTS, 10);

	(void)batch; /* it wakes up for the first one */
	for (int i = 0; i < n; i++)
		drain(engine, events[i].data.u32, fn, arg);
}

const struct engine_ops engine_epoll = {
    .name = "epoll", .open = open_epoll, .add = add, .send = send_all, .turn = turn};
