/*
 * fiber_each.h - tests of fibers that are run once on each poller. One that this system or build
 * does not have is left out, and said to be.
 *
 *	EACH(test), in the list of tests: three rows
 */
#ifndef FIBER_EACH_H
#define FIBER_EACH_H

#include "fiber_ground.h"

#include <sys/socket.h>

static inline int each_setup(void **state)
{
	union {
		void *given;
		const char *wanted;
	} io = {.given = *state};
	int rc = ground_setup(state);

	if (rc == 0)
		((struct ground *)*state)->config.io = io.wanted;
	return rc;
}

/* False: the test cannot be made. */
static inline bool each_open(struct ground *g)
{
	struct err err = {0};

	if (fibers_open(&g->fibers, &g->config, &err) == 0)
		return true;
	if (strcmp(g->config.io, "poll") == 0)
		fail_msg("%s", err.text);
	printf("# skipped: %s\n", err.text);
	return false;
}

#define EACH_ROW(test, io)                                                                         \
	{                                                                                          \
#test " (" io ")", test, each_setup, ground_teardown, (void *)(uintptr_t)io        \
	}
#define EACH(test) EACH_ROW(test, "io_uring"), EACH_ROW(test, "epoll"), EACH_ROW(test, "poll")

/* Everybody who can run does, until he waits. */
static inline void let_run(void)
{
	assert_int_equal(netd_sleep(0), 0);
}

static inline struct fibers_use use_of(const struct ground *g)
{
	struct fibers_use use;

	fibers_get_use(g->fibers, &use);
	return use;
}

/* Give way until only so many fibers are left: those have ended who should have. */
static inline void until_left(const struct ground *g, uint64_t count)
{
	int64_t until = clock_ms() + 60000;

	while (use_of(g).fibers > count) {
		assert_true(clock_ms() < until);
		assert_int_equal(netd_sleep(1), 0);
	}
}

/* One end is a fiber's, the other the test's own (not blocking) or another fiber's. */
static inline void pair_open(struct io_handle *a, struct io_handle *b)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
			 0);
	*a = (struct io_handle){.fd = fds[0]};
	*b = (struct io_handle){.fd = fds[1]};
}

/* Of a fiber or the test: may be closed already. */
static inline void handle_close(struct io_handle *handle)
{
	if (handle->fd >= 0)
		io_get_ops()->close(handle);
}

#endif
