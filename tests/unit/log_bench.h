/*
 * log_bench.h - what the tests of the log share: a directory of their own, standard error that can
 * be replaced and comes back, and reading what was logged.
 */
#ifndef LOG_BENCH_H
#define LOG_BENCH_H

#include "log/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct bench {
	char dir[64];
	char path[96]; /* the last bench_path() */
	int saved_stderr, cwd;
	struct log *log; /* closed with the bench */
};

static inline int bench_setup(void **state)
{
	struct bench *b = calloc(1, sizeof *b);

	if (!b)
		return -1;
	strcpy(b->dir, "/tmp/netdaemon-log-XXXXXX");
	b->saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	b->cwd = open(".", O_RDONLY | O_CLOEXEC);
	*state = b;
	return mkdtemp(b->dir) && b->saved_stderr >= 0 && b->cwd >= 0 ? 0 : -1;
}

static inline int bench_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline int bench_teardown(void **state)
{
	struct bench *b = *state;

	log_close(b->log);
	dup2(b->saved_stderr, STDERR_FILENO);
	close(b->saved_stderr);
	if (fchdir(b->cwd) < 0)
		return -1;
	close(b->cwd);
	nftw(b->dir, bench_remove, 8, FTW_DEPTH | FTW_PHYS);
	free(b);
	return 0;
}

#define BENCH_TEST(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

/* The path of name in the bench's directory; valid until the next call. */
static inline const char *bench_path(struct bench *b, const char *name)
{
	snprintf(b->path, sizeof b->path, "%s/%s", b->dir, name);
	return b->path;
}

/* Open the bench's log on a file in its directory, "STDERR", or an absolute path. */
static inline struct log *bench_open(struct bench *b, const char *name)
{
	bool as_is = strcmp(name, "STDERR") == 0 || name[0] == '/';
	struct log_config config = {.logfile = as_is ? name : bench_path(b, name)};
	struct err err;

	if (log_open(&b->log, &config, &err) < 0)
		fail_msg("%s", err.text);
	return b->log;
}

/* The content of a file in the bench's directory; free it. */
static inline char *bench_read(struct bench *b, const char *name)
{
	FILE *f = fopen(bench_path(b, name), "r");
	char *text = NULL;
	size_t size = 0;
	ssize_t n;

	assert_non_null(f);
	n = getdelim(&text, &size, '\0', f);
	fclose(f);
	if (n < 0) {
		free(text);
		return strdup("");
	}
	return text;
}

/* Where the message begins in a line of a log, or NULL. */
static inline const char *line_message(const char *line)
{
	const char *at = strstr(line, ", ");

	at = at ? strstr(at + 2, ", ") : NULL;
	return at ? at + 2 : NULL;
}

/* The file's only line has this message. */
static inline void bench_expect(struct bench *b, const char *name, const char *message)
{
	char *text = bench_read(b, name);
	size_t length = strlen(message);
	const char *found = line_message(text);

	assert_non_null(found);
	if (strncmp(found, message, length) != 0 || strcmp(found + length, "\n") != 0)
		fail_msg("found: %s wanted: %s", found, message);
	free(text);
}

/* Read everything that a non-blocking descriptor has, as text; free it. */
static inline char *drain(int fd)
{
	size_t used = 0, size = 1 << 20;
	char *text = malloc(size);
	ssize_t n;

	assert_non_null(text);
	while ((n = read(fd, text + used, size - used - 1)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	return text;
}

static inline size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
		n++;
	return n;
}

/* The number in the first "N log lines were lost" of text; 0: there is none. */
static inline uint64_t lost_count(const char *text)
{
	const char *end = strstr(text, " log lines were lost");

	if (!end)
		return 0;
	while (end > text && end[-1] >= '0' && end[-1] <= '9')
		end--;
	return strtoull(end, NULL, 10);
}

#endif
