/*
 * fiber_ground.h - what the tests of the scheduler's surroundings share: fibers that are open, a
 * log whose lines arrive as events, and an end to wait for. The test itself is the first fiber.
 */
#ifndef FIBER_GROUND_H
#define FIBER_GROUND_H

#include "fiber/sched.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ThreadSanitizer holds signals back until it sees fit, and lets no forked child have threads. */
#ifdef __has_feature
#define GROUND_FEATURE(name) __has_feature(name)
#else
#define GROUND_FEATURE(name) 0
#endif
#if defined(__SANITIZE_THREAD__) || GROUND_FEATURE(thread_sanitizer)
#define THREAD_SANITIZER true
#else
#define THREAD_SANITIZER false
#endif

/* The object at the top of a fiber's stack. */
struct guest {
	uint64_t number;
	char name[32];
};

struct ground {
	struct fibers_config config;
	struct fibers *fibers;
	char dir[64], fifo[80];
	pthread_t reader; /* of the FIFO that the log writes to */
	int fifo_fd;
	char text[16384]; /* what was logged; complete once the log is closed */
	size_t length;
	_Atomic int lines; /* so far */
	int news[2];       /* a byte for each line; the writing end blocks */
	int done[2];       /* a byte for each fiber that says so */
};

static inline void *ground_read_log(void *arg)
{
	struct ground *g = arg;
	ssize_t n;

	while ((n = read(g->fifo_fd, g->text + g->length, sizeof g->text - g->length - 1)) > 0)
		for (; n > 0; n--)
			if (g->text[g->length++] == '\n') {
				atomic_fetch_add(&g->lines, 1);
				if (write(g->news[1], "", 1) != 1)
					abort();
			}
	return NULL;
}

static inline void ground_describe(const void *object, struct log_context *context, char *peer,
				   size_t size)
{
	const struct guest *guest = object;

	if (!guest)
		return;
	context->conn = guest->number;
	context->peer = peer;
	for (size_t i = 0; i < size && (i == 0 || peer[i - 1]); i++)
		peer[i] = guest->name[i];
}

static inline int ground_setup(void **state)
{
	struct ground *g = calloc(1, sizeof *g);
	struct err err;

	if (!g)
		return -1;
	strcpy(g->dir, "/tmp/netdaemon-fiber-XXXXXX");
	if (!mkdtemp(g->dir))
		return -1;
	snprintf(g->fifo, sizeof g->fifo, "%s/log", g->dir);
	if (mkfifo(g->fifo, 0600) < 0 || os_pipe(g->news) < 0 || os_pipe(g->done) < 0)
		return -1;
	g->fifo_fd = open(g->fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (log_open(&g->config.log, &(struct log_config){.logfile = g->fifo}, &err) < 0)
		return -1;
	if (os_set_nonblocking(g->fifo_fd, false) < 0 || os_set_nonblocking(g->news[1], false) < 0)
		return -1;
	if (pthread_create(&g->reader, NULL, ground_read_log, g) != 0)
		return -1;
	g->config.io = "poll";
	g->config.stack_size = 256 * 1024;
	g->config.describe = ground_describe;
	*state = g;
	return 0;
}

/* Everything that was logged; the log is closed then. */
static inline const char *ground_text(struct ground *g)
{
	g->fibers = fibers_close(g->fibers);
	if (g->config.log) {
		g->config.log = log_close(g->config.log);
		pthread_join(g->reader, NULL);
	}
	return g->text;
}

static inline int ground_teardown(void **state)
{
	struct ground *g = *state;

	ground_text(g);
	close(g->fifo_fd);
	for (int i = 0; i < 2; i++) {
		close(g->news[i]);
		close(g->done[i]);
	}
	unlink(g->fifo);
	rmdir(g->dir);
	free(g);
	return 0;
}

#define GROUND_TEST(name) cmocka_unit_test_setup_teardown(name, ground_setup, ground_teardown)

static inline void ground_open(struct ground *g)
{
	struct err err = {0};

	if (fibers_open(&g->fibers, &g->config, &err) < 0)
		fail_msg("%s", err.text);
}

/* Start a fiber; number 0: it has no object. */
static inline void ground_start(struct ground *g, uint64_t number, const char *name,
				void (*fn)(void *arg), void *arg)
{
	struct guest *guest = fiber_new(g->fibers, number ? sizeof *guest : 0);

	assert_non_null(guest);
	if (number) {
		*guest = (struct guest){.number = number};
		snprintf(guest->name, sizeof guest->name, "%s", name);
	}
	/* The function gets a copy: here, of a pointer. */
	fiber_start(g->fibers, guest, fn, &arg, sizeof arg);
}

/* The first fiber waits until there is a byte, and takes count of them. */
static inline void ground_take(int fd, int count)
{
	struct netd_pollfd wait = {.fd = fd, .events = NETD_IN};
	char byte;

	while (count > 0) {
		ssize_t n = read(fd, &byte, 1);

		if (n == 1)
			count--;
		else if (n < 0 && errno == EAGAIN)
			assert_true(netd_poll(&wait, 1, NETD_NEVER) == 1);
		else
			fail_msg("read: %zd, errno %d", n, errno);
	}
}

/* Any fiber or thread: one byte into a pipe. */
static inline void ground_put(int fd)
{
	if (write(fd, "", 1) != 1)
		abort();
}

#endif
