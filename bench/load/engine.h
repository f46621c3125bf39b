/*
 * engine.h - the seam of the load generator: how bytes of many connected sockets come and go. There
 * are two: io_uring where the kernel and liburing have it, and epoll. The cheaper it is, the less
 * it stands between a fast server and its figures.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <stddef.h>

struct engine;

/* Called for what came in on the socket with this tag: n bytes, or 0 (end) or -errno, once. */
typedef void input_fn(void *arg, unsigned tag, const char *data, int n);

struct engine_ops {
	const char *name;
	/* tags go from 0 to connections - 1. Returns 0 or -errno: the next engine is tried. */
	int (*open)(struct engine **out, unsigned connections);
	/* Watch a connected socket. Returns 0 or -errno. */
	int (*add)(struct engine *engine, unsigned tag, int fd);
	/* Send all of it; data stays as it is for ever. Returns 0 or -errno; a failure may also
	 * come later, as input. */
	int (*send)(struct engine *engine, unsigned tag, int fd, const char *data, size_t size);
	/* Wait up to 10 ms for input of `batch` sockets, and hand on whatever there is. */
	void (*turn)(struct engine *engine, unsigned batch, input_fn *fn, void *arg);
};

extern const struct engine_ops engine_uring, engine_epoll;

#endif
