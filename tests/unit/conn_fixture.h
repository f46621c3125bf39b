/*
 * conn_fixture.h - a connection over a scripted layer: what the peer sends comes in the pieces a
 * test says, reads and writes fail where it says, everything written and the order of all calls is
 * recorded; and a log that can be read.
 */
#ifndef CONN_FIXTURE_H
#define CONN_FIXTURE_H

#include "conn/conn.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WIRE_PIECES 64
#define WIRE_MAX (64u << 20)

/* What one read finds; after the last piece comes the end. */
struct piece {
	const char *data;
	size_t size;
	int error; /* the read fails with it instead, once */
};

struct wire {
	struct layer layer;
	struct piece pieces[WIRE_PIECES];
	size_t count, at; /* of pieces */
	size_t chunk;     /* no read gives more; 0: the whole piece */
	int write_error;  /* the next writes fail with it; 0: none */
	int shutdown_error;
	int64_t deadline;  /* of the last call */
	struct buf output; /* everything written */
	struct buf calls;  /* 'r'ead 'w'rite 's'hutdown 'c'lose send'f'ile, in their order */
	int64_t sendfile_rc;
};

static inline struct wire *wire_of(struct layer *layer)
{
	return CONTAINER(layer, struct wire, layer);
}

static inline ssize_t wire_read(struct layer *layer, void *data, size_t size, int64_t deadline)
{
	struct wire *wire = wire_of(layer);
	struct piece *piece = &wire->pieces[wire->at];

	wire->deadline = deadline;
	buf_addc(&wire->calls, 'r');
	assert_true(size > 0);
	if (wire->at == wire->count)
		return 0;
	if (piece->error) {
		wire->at++;
		return piece->error;
	}
	if (size > piece->size)
		size = piece->size;
	if (wire->chunk && size > wire->chunk)
		size = wire->chunk;
	memcpy(data, piece->data, size);
	piece->data += size;
	piece->size -= size;
	if (piece->size == 0)
		wire->at++;
	return (ssize_t)size;
}

static inline ssize_t wire_write(struct layer *layer, struct iovec *iov, int count,
				 int64_t deadline)
{
	struct wire *wire = wire_of(layer);
	size_t total = 0;

	wire->deadline = deadline;
	buf_addc(&wire->calls, 'w');
	if (wire->write_error)
		return wire->write_error;
	for (int i = 0; i < count; i++) {
		assert_true(iov[i].iov_len > 0);
		assert_int_equal(buf_add(&wire->output, iov[i].iov_base, iov[i].iov_len), 0);
		total += iov[i].iov_len;
	}
	return (ssize_t)total;
}

static inline int wire_shutdown(struct layer *layer)
{
	buf_addc(&wire_of(layer)->calls, 's');
	return wire_of(layer)->shutdown_error;
}

static inline int64_t wire_sendfile(struct layer *layer, int file, int64_t offset, int64_t count,
				    int64_t deadline)
{
	struct wire *wire = wire_of(layer);

	(void)file, (void)offset, (void)count;
	wire->deadline = deadline;
	buf_addc(&wire->calls, 'f');
	return wire->sendfile_rc;
}

static inline void wire_close(struct layer *layer)
{
	buf_addc(&wire_of(layer)->calls, 'c');
}

static const struct layer_ops wire_ops = {
    .name = "wire",
    .read = wire_read,
    .write = wire_write,
    .shutdown = wire_shutdown,
    .close = wire_close,
};

static const struct layer_ops wire_ops_sendfile = {
    .name = "wire",
    .read = wire_read,
    .write = wire_write,
    .shutdown = wire_shutdown,
    .sendfile = wire_sendfile,
    .close = wire_close,
};

static inline void wire_init(struct wire *wire)
{
	*wire = (struct wire){.layer = {.ops = &wire_ops}};
	buf_init(&wire->output, WIRE_MAX);
	buf_init(&wire->calls, WIRE_MAX);
	/* So that memory that runs out in a test does not run out here. */
	assert_int_equal(buf_reserve(&wire->output, 65536), 0);
	assert_int_equal(buf_reserve(&wire->calls, 4096), 0);
}

static inline void wire_finish(struct wire *wire)
{
	buf_finish(&wire->output);
	buf_finish(&wire->calls);
}

/* The peer sends this; empty pieces are no reads. */
static inline void wire_put(struct wire *wire, const char *data, size_t size)
{
	assert_true(wire->count < WIRE_PIECES);
	if (size)
		wire->pieces[wire->count++] = (struct piece){.data = data, .size = size};
}

static inline void wire_say(struct wire *wire, const char *text)
{
	wire_put(wire, text, strlen(text));
}

static inline void wire_fail(struct wire *wire, int error)
{
	assert_true(wire->count < WIRE_PIECES);
	wire->pieces[wire->count++] = (struct piece){.error = error};
}

/* The calls and the output since the last question. */
#define assert_calls(stage, expected)                                                              \
	do {                                                                                       \
		assert_string_equal(buf_text(&(stage)->wire.calls), expected);                     \
		(stage)->wire.calls.len = 0;                                                       \
		if ((stage)->wire.calls.data)                                                      \
			(stage)->wire.calls.data[0] = '\0';                                        \
	} while (0)

#define assert_output(stage, expected)                                                             \
	do {                                                                                       \
		assert_string_equal(buf_text(&(stage)->wire.output), expected);                    \
		(stage)->wire.output.len = 0;                                                      \
		if ((stage)->wire.output.data)                                                     \
			(stage)->wire.output.data[0] = '\0';                                       \
	} while (0)

/* ------------------------------------------------------------------------ a connection on it */

struct stage {
	struct wire wire;
	struct netd_service service;
	struct conn_counters counters;
	struct access *access;
	struct conn_env env;
	struct netd_conn *conn; /* freed with the stage */
	char dir[64], path[96]; /* of the log */
};

static inline int stage_setup(void **state)
{
	struct stage *stage = calloc(1, sizeof *stage);
	struct log_config config = {.ident = "test", .facility = "daemon", .debug = true};
	struct err err;

	if (!stage)
		return -1;
	*state = stage;
	strcpy(stage->dir, "/tmp/netdaemon-conn-XXXXXX");
	if (!mkdtemp(stage->dir))
		return -1;
	snprintf(stage->path, sizeof stage->path, "%s/log", stage->dir);
	config.logfile = stage->path;
	wire_init(&stage->wire);
	stage->service = (struct netd_service)NETD_SERVICE(.name = "test");
	stage->env = (struct conn_env){.service = &stage->service, .counters = &stage->counters};
	if (log_open(&stage->env.log, &config, &err) < 0 ||
	    access_new(&stage->access, NULL, "test", NULL, &err) < 0)
		return -1;
	stage->env.access = stage->access;
	return conn_new_over(&stage->conn, &stage->env, &stage->wire.layer);
}

static inline int stage_teardown(void **state)
{
	struct stage *stage = *state;

	conn_free(stage->conn);
	wire_finish(&stage->wire);
	access_free(stage->access);
	log_close(stage->env.log);
	unlink(stage->path);
	rmdir(stage->dir);
	free(stage);
	return 0;
}

#define STAGE_TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

/* A new connection in the place of the last one: the wire begins anew. */
static inline void stage_again(struct stage *stage)
{
	stage->conn = conn_free(stage->conn);
	wire_finish(&stage->wire);
	wire_init(&stage->wire);
	assert_int_equal(conn_new_over(&stage->conn, &stage->env, &stage->wire.layer), 0);
}

/* Letters in an order of their own. */
static inline void stage_fill(char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (char)('a' + (i * 7 + i / 256) % 26);
}

/* Rules as in a config file. */
static inline void stage_rules(struct stage *stage, const char *text)
{
	struct value *rules;
	struct err err;

	if (value_read_perl(&rules, text, strlen(text), NULL, &err) < 0)
		fail_msg("%s", err.text);
	access_free(stage->access);
	stage->access = NULL;
	if (access_new(&stage->access, rules, "test", NULL, &err) < 0)
		fail_msg("%s", err.text);
	stage->env.access = stage->access;
	value_free(rules);
}

/* The log's lines of a level and above it, each without its stamp, as one text; free() it. */
static inline char *stage_log(struct stage *stage, enum netd_level level)
{
	FILE *file = fopen(stage->path, "r");
	char line[4096];
	struct buf text;

	assert_non_null(file);
	buf_init(&text, WIRE_MAX);
	buf_adds(&text, "");
	while (fgets(line, sizeof line, file)) {
		for (int at = 0; at <= (int)level; at++) {
			char mark[16], *found, *message;

			snprintf(mark, sizeof mark, " %s, ", log_level_name((enum netd_level)at));
			found = strstr(line, mark);
			if (!found)
				continue;
			message = strstr(found + strlen(mark), ", ");
			assert_non_null(message);
			buf_adds(&text, message + 2);
			break;
		}
	}
	fclose(file);
	if (!text.data)
		return strdup("");
	return buf_steal(&text);
}

static inline void check_log(struct stage *stage, enum netd_level level, const char *expected,
			     const char *file, int line)
{
	char *text = stage_log(stage, level);

	_assert_string_equal(text, expected, file, line);
	free(text);
}

/* What stands in the log at level err and above: these lines and no others. */
#define assert_log(stage, expected) check_log(stage, NETD_ERR, expected, __FILE__, __LINE__)

#endif
