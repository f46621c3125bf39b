/*
 * hold.c - many connections that do nothing: open them, ask each once so that the server really
 * serves it, and keep them until standard input says so; then ask each one again.
 *
 * Prints {"held":...} when all are there (or no more come for STALL_NS), and {"alive":...} at the
 * end: those that still echo. Connections are opened and asked a few at a time, so that it is the
 * holding that is tested and not a storm.
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
#define AT_A_TIME 32

struct run {
	const struct options *options;
	struct client *clients;
	int epoll;
	int next;    /* the first that was not begun in this pass */
	int pending; /* begun, no echo yet */
	int good;    /* had an echo in this pass */
	int failed;  /* over both passes */
	int last_error;
};

typedef int start_fn(struct run *run, struct client *client);

static int start_open(struct run *run, struct client *client)
{
	return client_open(client, run->epoll, run->options, client);
}

static int start_ask(struct run *run, struct client *client)
{
	(void)run;
	return client_ask(client);
}

static void fail(struct run *run, struct client *client, int code)
{
	run->failed++;
	run->last_error = -code;
	client_close(client);
}

static void start_some(struct run *run, start_fn *start, enum client_state from)
{
	struct client *client;
	int rc;

	while (run->pending < AT_A_TIME && run->next < run->options->connections) {
		client = &run->clients[run->next++];
		if (client->state != from)
			continue;
		rc = start(run, client);
		if (rc < 0)
			fail(run, client, rc);
		else
			run->pending++;
	}
}

static void advance(struct run *run, struct client *client)
{
	bool pending = client->state == CLIENT_CONNECTING || client->state == CLIENT_WAITING;
	int rc = 0;

	if (client->state == CLIENT_CONNECTING) {
		rc = client_connected(client);
		if (rc == 0)
			rc = client_ask(client);
	} else if (client->state == CLIENT_WAITING) {
		rc = client_answer(client);
	}
	if (rc == 1)
		run->good++;
	if (pending && rc != 0)
		run->pending--;
	if (rc < 0)
		fail(run, client, rc);
}

/* Bring every client that is in the state `from` to an echo. */
static void pass(struct run *run, start_fn *start, enum client_state from)
{
	struct epoll_event events[EVENTS];
	int64_t progress_ns = now_ns();
	int before;
	int n;

	run->next = run->good = run->pending = 0;
	start_some(run, start, from);
	while (run->pending > 0 && now_ns() - progress_ns < STALL_NS) {
		before = run->good;
		n = epoll_wait(run->epoll, events, EVENTS, 100);
		for (int i = 0; i < n; i++)
			advance(run, events[i].data.ptr);
		if (run->good > before)
			progress_ns = now_ns();
		start_some(run, start, from);
	}
}

int load_hold(const struct options *options)
{
	struct run run = {.options = options, .epoll = epoll_create1(EPOLL_CLOEXEC)};
	int64_t start_ns = now_ns();
	char byte;

	run.clients = calloc((size_t)options->connections, sizeof *run.clients);
	if (!run.clients)
		return 1;
	pass(&run, start_open, CLIENT_CLOSED);
	printf("{\"held\":%d,\"failed\":%d,\"seconds\":%.2f,\"last_error\":\"%s\"}\n", run.good,
	       run.failed, (double)(now_ns() - start_ns) / 1e9,
	       run.last_error ? strerror(run.last_error) : "");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR)
		;
	pass(&run, start_ask, CLIENT_IDLE);
	printf("{\"alive\":%d,\"failed\":%d,\"last_error\":\"%s\"}\n", run.good, run.failed,
	       run.last_error ? strerror(run.last_error) : "");
	for (int i = 0; i < options->connections; i++)
		client_close(&run.clients[i]);
	close(run.epoll);
	free(run.clients);
	return 0;
}
