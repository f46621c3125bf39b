/*
 * pingpong.c - lines over connections that stay: each client sends its next line when the echo of
 * the last one is there.
 *
 * Closed loop: a client whose echo is late sends nothing meanwhile, so the percentiles are what a
 * caller that waits sees, not what an open stream of requests would.
 * Failure modes: a connection that fails is counted and not replaced; nothing is measured until
 * every connection has had its first echo, and the run ends when that takes longer than STALL_NS.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define STALL_NS 10000000000
#define EVENTS 256

struct run {
	const struct options *options;
	int epoll;
	int64_t start_ns, end_ns; /* of the time measured; INT64_MAX: not yet known */
	int ready;                /* clients that had their first echo */
	uint64_t done, failed;
	int last_error;
	struct latencies latencies;
	struct busy busy;
};

static int answered(struct run *run, struct client *client)
{
	int64_t now = now_ns();

	if (client->begun_ns) {
		client->begun_ns = 0; /* the first echo: this one is ready */
		run->ready++;
	} else if (now >= run->start_ns && now < run->end_ns) {
		run->done++;
		latencies_add(&run->latencies, now - client->asked_ns);
	}
	return client_ask(client);
}

static int step(struct run *run, struct client *client)
{
	int rc;

	if (client->state == CLIENT_CONNECTING) {
		rc = client_connected(client);
		return rc < 0 ? rc : client_ask(client);
	}
	if (client->state != CLIENT_WAITING)
		return 0;
	rc = client_answer(client);
	return rc == 1 ? answered(run, client) : rc;
}

static void advance(struct run *run, struct client *client)
{
	int rc = step(run, client);

	if (rc >= 0)
		return;
	run->failed++;
	run->last_error = -rc;
	client_close(client);
}

static void turn(struct run *run)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(run->epoll, events, EVENTS, 10);

	for (int i = 0; i < n; i++)
		advance(run, events[i].data.ptr);
}

static void loop(struct run *run)
{
	int64_t give_up_ns = now_ns() + STALL_NS;

	while (run->ready + (int)run->failed < run->options->connections && now_ns() < give_up_ns)
		turn(run);
	busy_begin(&run->busy);
	run->start_ns = now_ns() + (int64_t)(run->options->warmup * 1e9);
	run->end_ns = run->start_ns + (int64_t)(run->options->seconds * 1e9);
	while (now_ns() < run->end_ns)
		turn(run);
}

int load_pingpong(const struct options *options)
{
	struct run *run = calloc(1, sizeof *run);
	struct client *clients = calloc((size_t)options->connections, sizeof *clients);
	int rc;

	if (!run || !clients)
		return 1;
	run->options = options;
	run->start_ns = run->end_ns = INT64_MAX;
	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < options->connections; i++) {
		rc = client_open(&clients[i], run->epoll, options, &clients[i]);
		if (rc < 0) {
			run->failed++;
			run->last_error = -rc;
			client_close(&clients[i]);
		}
	}
	loop(run);
	printf("{\"ready\":%d,\"done\":%ju,\"failed\":%ju,\"per_second\":%.1f,", run->ready,
	       (uintmax_t)run->done, (uintmax_t)run->failed, (double)run->done / options->seconds);
	latencies_print(&run->latencies);
	printf(",\"load_busy\":%.3f,\"last_error\":\"%s\"}\n", busy_share(&run->busy),
	       run->last_error ? strerror(run->last_error) : "");
	for (int i = 0; i < options->connections; i++)
		client_close(&clients[i]);
	close(run->epoll);
	free(clients);
	free(run);
	return 0;
}
