/*
 * talk.c - a conversation in memory: a layer that reads from one buffer and writes to another, in
 * the place of a socket. The connection above it is the real one.
 */
#include "netdaemon_test.h"
#include "server/server.h"
#include "testkit/testkit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_MAX (64u << 20) /* bytes a conversation may answer */

struct memory {
	struct layer layer;
	const char *input;
	size_t left; /* of the input */
	struct buf output;
};

static ssize_t memory_read(struct layer *layer, void *data, size_t size, int64_t deadline)
{
	struct memory *memory = CONTAINER(layer, struct memory, layer);

	(void)deadline; /* never waits */
	if (size > memory->left)
		size = memory->left;
	if (size)
		memcpy(data, memory->input, size);
	memory->input += size;
	memory->left -= size;
	return (ssize_t)size;
}

static ssize_t memory_write(struct layer *layer, struct iovec *iov, int count, int64_t deadline)
{
	struct memory *memory = CONTAINER(layer, struct memory, layer);
	ssize_t total = 0;

	(void)deadline;
	for (int i = 0; i < count; i++) {
		int rc = buf_add(&memory->output, iov[i].iov_base, iov[i].iov_len);

		if (rc < 0)
			return rc;
		total += (ssize_t)iov[i].iov_len;
	}
	return total;
}

static int memory_shutdown(struct layer *layer)
{
	(void)layer;
	return 0;
}

static void memory_close(struct layer *layer)
{
	(void)layer; /* the caller takes the output */
}

static const struct layer_ops layer_memory = {
    .name = "memory",
    .read = memory_read,
    .write = memory_write,
    .shutdown = memory_shutdown,
    .sendfile = NULL,
    .close = memory_close,
};

/* How the conversation ended, for the caller. */
static int converse(struct netd_server *server, struct memory *memory)
{
	struct conn_env env = {
	    .service = &server->service,
	    .server = server,
	    .log = server->log,
	    .access = server->access,
	    .resolver = &access_system_resolver,
	    .counters = &server->shared.page->counters,
	};
	struct netd_conn *conn;
	enum conn_end end;

	if (conn_new_over(&conn, &env, &memory->layer) < 0)
		return -ENOMEM;
	conn_accepted(conn);
	end = conn_serve(conn);
	conn_free(conn);
	if (end == CONN_SERVED)
		return 0;
	return end == CONN_REFUSED ? 1 : -ECONNABORTED;
}

static int give(struct buf *answer, char **output, size_t *length)
{
	size_t n = answer->len;
	char *text = output ? buf_steal(answer) : NULL;

	if (output && !text)
		return -ENOMEM;
	if (output)
		*output = text;
	if (length)
		*length = n;
	return 0;
}

int netd_test_talk(const struct netd_service *service, const struct netd_config *config,
		   const char *const *options, const void *input, size_t size, char **output,
		   size_t *length)
{
	struct memory memory = {.layer = {.ops = &layer_memory}, .input = input, .left = size};
	struct log_config log = {.ident = service->name, .logfile = "STDERR", .facility = "daemon"};
	struct netd_server *server;
	int end, rc;

	buf_init(&memory.output, OUTPUT_MAX);
	rc = testkit_server(&server, service, config, options);
	if (rc < 0)
		return rc;
	log.debug = server->settings.debug;
	end = netd_server_load(server);
	if (end > 0) /* --help and the like */
		end = netd_server_fail(server, -EINVAL, "nothing to run");
	if (end < 0)
		fprintf(stderr, "%s: %s\n", service->name, netd_server_error(server));
	if (end == 0)
		end = log_open(&server->log, &log, &server->err);
	if (end == 0)
		end = converse(server, &memory);
	rc = give(&memory.output, output, length);
	log_close(server->log);
	buf_finish(&memory.output);
	netd_server_free(server);
	return rc < 0 ? rc : end;
}
