/*
 * flow.c - lines over connections that stay. Each client has `depth` lines under way, and sends as
 * many new ones as it got echoes, in one go. With --active fewer than connections, so many clients
 * have lines under way at a time: an answer to one sets off the one that has rested longest.
 *
 * Closed loop: a client whose echo is late sends nothing meanwhile, so the percentiles are what a
 * caller that waits sees, not what an open stream of requests would. A line's time runs from the
 * turn that sent it to the turn that brought its end.
 * Failure modes: a connection that fails is counted and not replaced; nothing is measured until
 * every connection has had its first echo, and the run ends when that takes longer than STALL_NS.
 * When the time is up nobody sends any more, and every echo under way is waited for: a server that
 * lost one has failed.
 */
#include "engine.h"
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STALL_NS 10000000000
#define OPEN_AT_A_TIME 256 /* a server's backlog is not what is tested */

struct stream {
	int fd;       /* -1: closed */
	unsigned got; /* bytes of the echo, from its line's beginning on */
	unsigned oldest, under_way;
	bool ready; /* it has had its first echo */
};

struct run {
	const struct options *options;
	const struct engine_ops *ops;
	struct engine *engine;
	struct stream *streams;
	int64_t *asked_ns; /* when lines were sent: depth for each stream, the oldest at `oldest` */
	unsigned *resting; /* a ring of tags: the one that has rested longest is at `first` */
	unsigned first, rest;
	unsigned count, depth, opened, ready;
	int64_t now_ns;           /* when this turn's input came */
	int64_t start_ns, end_ns; /* of the time measured; INT64_MAX: not yet known */
	uint64_t sent, got, done, failed;
	int last_error;
	double busy_share;
	struct latencies latencies;
	struct busy busy;
};

static void fail(struct run *run, unsigned tag, int code)
{
	struct stream *stream = &run->streams[tag];

	if (stream->fd < 0)
		return;
	close(stream->fd);
	stream->fd = -1;
	run->sent -= stream->under_way;
	run->failed++;
	run->last_error = -code;
}

static void ask(struct run *run, unsigned tag, unsigned lines)
{
	struct stream *stream = &run->streams[tag];
	int rc = run->ops->send(run->engine, tag, stream->fd, line_of(tag), line_size() * lines);

	if (rc < 0) {
		fail(run, tag, rc);
		return;
	}
	for (unsigned i = 0; i < lines; i++)
		run->asked_ns[tag * run->depth +
			      (stream->oldest + stream->under_way++) % run->depth] = run->now_ns;
	run->sent += lines;
}

static void lay_down(struct run *run, unsigned tag)
{
	run->resting[(run->first + run->rest++) % run->count] = tag;
}

static void wake_next(struct run *run)
{
	unsigned tag = run->resting[run->first];

	run->first = (run->first + 1) % run->count;
	run->rest--;
	ask(run, tag, run->depth);
}

static void count_lines(struct run *run, unsigned tag, unsigned lines)
{
	struct stream *stream = &run->streams[tag];
	bool counts = run->now_ns >= run->start_ns && run->now_ns < run->end_ns;

	for (unsigned i = 0; i < lines; i++) {
		if (counts)
			latencies_add(&run->latencies,
				      run->now_ns -
					  run->asked_ns[tag * run->depth + stream->oldest]);
		stream->oldest = (stream->oldest + 1) % run->depth;
	}
	stream->under_way -= lines;
	run->got += lines;
	run->done += counts ? lines : 0;
}

static void answered(struct run *run, unsigned tag, unsigned lines)
{
	struct stream *stream = &run->streams[tag];

	count_lines(run, tag, lines);
	if (!stream->ready) {
		stream->ready = true;
		run->ready++;
		lay_down(run, tag);
	} else if (run->now_ns >= run->end_ns) {
		return;
	} else if ((unsigned)run->options->active == run->count) {
		ask(run, tag, lines);
	} else if (stream->under_way == 0) {
		lay_down(run, tag);
		wake_next(run);
	}
}

static void on_input(void *arg, unsigned tag, const char *data, int n)
{
	struct run *run = arg;
	struct stream *stream = &run->streams[tag];
	unsigned end = stream->got + (unsigned)n;
	unsigned lines = end / (unsigned)line_size();

	if (n <= 0 || stream->fd < 0) {
		fail(run, tag, n < 0 ? n : -ECONNRESET);
	} else if (lines > stream->under_way ||
		   memcmp(data, line_of(tag) + stream->got, (size_t)n) != 0) {
		fail(run, tag, -EPROTO);
	} else {
		stream->got = end % (unsigned)line_size();
		if (lines > 0)
			answered(run, tag, lines);
	}
}

/* Wake up for a quarter of what can come at a time: the server has the rest to work on meanwhile,
 * and we need less time for each. */
static void turn(struct run *run)
{
	unsigned batch = (unsigned)run->options->active / 4;

	if (run->ready < run->opened || batch < 1)
		batch = 1;
	run->ops->turn(run->engine, batch < 64 ? batch : 64, on_input, run);
	run->now_ns = now_ns();
}

static void open_some(struct run *run)
{
	struct stream *stream;
	unsigned tag;
	int rc;

	while (run->opened < run->count &&
	       run->opened - run->ready - (unsigned)run->failed < OPEN_AT_A_TIME) {
		tag = run->opened++;
		stream = &run->streams[tag];
		stream->fd = client_connect(run->options);
		rc = stream->fd < 0 ? stream->fd : run->ops->add(run->engine, tag, stream->fd);
		if (rc == 0) {
			ask(run, tag, 1);
		} else {
			stream->fd = stream->fd < 0 ? INT32_MAX : stream->fd; /* fail() closes */
			fail(run, tag, rc);
		}
	}
}

static void turn_until(struct run *run, int64_t until_ns)
{
	while (run->now_ns < until_ns)
		turn(run);
}

static void loop(struct run *run)
{
	int64_t give_up_ns = now_ns() + STALL_NS;

	while (run->ready + run->failed < run->count && run->now_ns < give_up_ns) {
		open_some(run);
		turn(run);
	}
	for (int i = 0; i < run->options->active && run->rest > 0; i++)
		wake_next(run);
	turn_until(run, run->now_ns + (int64_t)(run->options->warmup * 1e9));
	busy_begin(&run->busy);
	run->start_ns = now_ns();
	run->end_ns = run->start_ns + (int64_t)(run->options->seconds * 1e9);
	turn_until(run, run->end_ns);
	run->busy_share = busy_share(&run->busy);
}

/* Every line that went out has to come back. */
static void collect(struct run *run)
{
	int64_t give_up_ns = now_ns() + STALL_NS;

	while (run->got < run->sent && !run->failed && run->now_ns < give_up_ns) {
		run->ops->turn(run->engine, 1, on_input, run);
		run->now_ns = now_ns();
	}
	if (run->got < run->sent && !run->failed) {
		run->failed = run->sent - run->got;
		run->last_error = ETIMEDOUT;
	}
}

static void report(const struct run *run)
{
	printf("{\"engine\":\"%s\",\"ready\":%u,\"done\":%ju,\"failed\":%ju,\"per_second\":%.1f,",
	       run->ops->name, run->ready, (uintmax_t)run->done, (uintmax_t)run->failed,
	       (double)run->done / run->options->seconds);
	latencies_print(&run->latencies);
	printf(",\"load_busy\":%.3f,\"last_error\":\"%s\"}\n", run->busy_share,
	       run->last_error ? strerror(run->last_error) : "");
	fflush(stdout);
}

static int choose_engine(struct run *run)
{
#ifdef HAVE_URING
	run->ops = &engine_uring;
	if (!getenv("LOAD_EPOLL") && run->ops->open(&run->engine, run->count) == 0)
		return 0;
#endif
	run->ops = &engine_epoll;
	return run->ops->open(&run->engine, run->count);
}

int load_flow(const struct options *options)
{
	unsigned count = (unsigned)options->connections;
	unsigned depth = (unsigned)options->depth;
	struct run *run = calloc(1, sizeof *run);
	int rc = 1;

	if (!run)
		return 1;
	run->options = options;
	run->count = count;
	run->depth = depth;
	run->start_ns = run->end_ns = INT64_MAX;
	run->now_ns = now_ns();
	run->streams = calloc(count, sizeof *run->streams);
	run->resting = calloc(count, sizeof *run->resting);
	run->asked_ns = calloc((size_t)count * depth, sizeof *run->asked_ns);
	if (run->streams && run->resting && run->asked_ns && choose_engine(run) == 0) {
		loop(run);
		collect(run);
		report(run);
		rc = 0; /* sockets and engine go with the process */
	}
	free(run->asked_ns);
	free(run->resting);
	free(run->streams);
	free(run);
	return rc;
}
