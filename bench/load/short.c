/*
 * short.c - short connections: connect, one line, its echo, end; as many at a time as asked for.
 *
 * A connection counts when the server has ended it too, so a server cannot put work off. Its
 * latency runs from before connect() to the echo. greet: the server speaks first and closes; the
 * latency runs to its first byte.
 * Failure modes: a connection that fails is counted and another takes its place; when nothing at
 * all succeeds for STALL_NS the run ends.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define STALL_NS 5000000000
#define EVENTS 64

struct run {
	const struct options *options;
	int epoll;
	int64_t warm_ns;          /* when the warm-up is over */
	int64_t start_ns, end_ns; /* of the time measured; INT64_MAX: not yet known */
	int64_t progress_ns;      /* when a connection last succeeded */
	uint64_t done, failed;
	int last_error;
	struct latencies latencies;
	struct busy busy;
};

static void fail(struct run *run, struct client *client, int code)
{
	run->failed++;
	run->last_error = -code;
	client_close(client);
}

static void begin(struct run *run, struct client *client)
{
	int rc = client_open(client, run->epoll, run->options, client);

	if (rc < 0)
		fail(run, client, rc);
}

static void add_latency(struct run *run, const struct client *client)
{
	if (now_ns() >= run->start_ns)
		latencies_add(&run->latencies, now_ns() - client->begun_ns);
}

/* The server speaks, or is to speak. */
static int hear(struct run *run, struct client *client)
{
	int rc = client_hear(client);

	if (rc == 1)
		add_latency(run, client);
	return rc;
}

/* One step; 1: go on with the next one at once, 0: wait for an event. */
static int step(struct run *run, struct client *client)
{
	int rc;

	switch (client->state) {
	case CLIENT_CONNECTING:
		rc = client_connected(client);
		if (rc == 0)
			rc = run->options->greeted ? hear(run, client) : client_ask(client);
		return rc;
	case CLIENT_WAITING:
		if (run->options->greeted)
			return hear(run, client);
		rc = client_answer(client);
		if (rc != 1)
			return rc;
		add_latency(run, client);
		rc = client_finish(client);
		return rc < 0 ? rc : 1;
	case CLIENT_FINISHED:
		rc = client_ended(client);
		if (rc != 1)
			return rc;
		client_close(client);
		run->progress_ns = now_ns();
		if (run->progress_ns >= run->start_ns && run->progress_ns < run->end_ns)
			run->done++;
		return 0;
	default:
		return 0;
	}
}

static void advance(struct run *run, struct client *client)
{
	int rc;

	do
		rc = step(run, client);
	while (rc > 0);
	if (rc < 0)
		fail(run, client, rc);
	if (client->state == CLIENT_CLOSED && now_ns() < run->end_ns)
		begin(run, client);
}

/* The moment from which on it counts. */
static void begin_measuring(struct run *run)
{
	busy_begin(&run->busy);
	run->start_ns = now_ns();
	run->end_ns = run->start_ns + (int64_t)(run->options->seconds * 1e9);
}

static void loop(struct run *run, struct client *clients)
{
	struct epoll_event events[EVENTS];
	int64_t now = now_ns();
	int n;

	while (now < run->end_ns && now - run->progress_ns < STALL_NS) {
		n = epoll_wait(run->epoll, events, EVENTS, 10);
		for (int i = 0; i < n; i++)
			advance(run, events[i].data.ptr);
		/* Those that could not even begin: again, but not in a tight loop. */
		for (int i = 0; n <= 0 && i < run->options->connections; i++)
			if (clients[i].state == CLIENT_CLOSED)
				begin(run, &clients[i]);
		now = now_ns();
		if (run->start_ns == INT64_MAX && now >= run->warm_ns)
			begin_measuring(run);
	}
}

int load_short(const struct options *options)
{
	struct run *run = calloc(1, sizeof *run);
	struct client *clients = calloc((size_t)options->connections, sizeof *clients);
	double seconds;

	if (!run || !clients) {
		free(run);
		free(clients);
		return 1;
	}
	run->options = options;
	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	run->progress_ns = now_ns();
	run->warm_ns = run->progress_ns + (int64_t)(options->warmup * 1e9);
	run->start_ns = run->end_ns = INT64_MAX;
	for (int i = 0; i < options->connections; i++)
		begin(run, &clients[i]);
	loop(run, clients);
	seconds = (double)(now_ns() - run->start_ns) / 1e9;
	printf("{\"done\":%ju,\"failed\":%ju,\"per_second\":%.1f,", (uintmax_t)run->done,
	       (uintmax_t)run->failed, seconds > 0 ? (double)run->done / seconds : 0);
	latencies_print(&run->latencies);
	printf(",\"load_busy\":%.3f,\"last_error\":\"%s\"}\n", busy_share(&run->busy),
	       run->last_error ? strerror(run->last_error) : "");
	fflush(stdout);
	for (int i = 0; i < options->connections; i++)
		client_close(&clients[i]);
	close(run->epoll);
	free(clients);
	free(run);
	return 0;
}

int load_greet(const struct options *options)
{
	struct options greeted = *options;

	greeted.greeted = true;
	return load_short(&greeted);
}
