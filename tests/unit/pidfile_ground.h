/*
 * pidfile_ground.h - what the tests of the pid file stand on: a fresh directory for each test,
 * files in it, other processes that hold one, and refusals word for word.
 */
#ifndef TESTS_UNIT_PIDFILE_GROUND_H
#define TESTS_UNIT_PIDFILE_GROUND_H

#include "proc/proc.h"

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
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534

static char directory[64];

static inline int ground_set_up(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/test_pidfile.XXXXXX");
	umask(022);
	return mkdtemp(directory) && chmod(directory, 0755) == 0 && chdir(directory) == 0 ? 0 : -1;
}

/* As an unprivileged server would be; root is kept aside for the next test. */
static inline void become_nobody(void)
{
	assert_int_equal(setresuid(NOBODY, NOBODY, 0), 0);
}

static inline void become_root_again(void)
{
	if (getuid() == NOBODY && setresuid(0, 0, 0) < 0)
		return; /* was never root */
}

static inline int ground_tear_down(void **state)
{
	char command[96];

	(void)state;
	become_root_again();
	snprintf(command, sizeof command, "rm -rf %s", directory);
	return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

/* False, and a word about it, where a test cannot be run. */
static inline bool is_root(void)
{
	if (geteuid() == 0)
		return true;
	print_message("# skipped: needs root\n");
	return false;
}

static inline void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* What is in the file; NULL when there is none. Valid until the next call. */
static inline const char *content(const char *path)
{
	static char text[256];
	FILE *file = fopen(path, "r");
	size_t n;

	if (!file)
		return NULL;
	n = fread(text, 1, sizeof text - 1, file);
	fclose(file);
	text[n] = '\0';
	return text;
}

static inline const char *our_number(void)
{
	static char text[32];

	snprintf(text, sizeof text, "%d\n", (int)getpid());
	return text;
}

/* pidfile_take() fails so, with these words after the path; *pidfile is left alone. */
static inline void expect_refusal(const char *path, int code, const char *words)
{
	struct pidfile pidfile = {.fd = -7};
	struct err err;
	char text[512];

	assert_int_equal(pidfile_take(&pidfile, path, &err), code);
	assert_int_equal(pidfile.fd, -7);
	snprintf(text, sizeof text, "%s/%s: %s", directory, path, words);
	assert_string_equal(err.text, text);
	assert_int_equal(err.code, code);
}

static inline void expect_taken(const char *path)
{
	struct pidfile pidfile = {.fd = -1};
	struct err err = {0};

	if (pidfile_take(&pidfile, path, &err) != 0)
		fail_msg("%s", err.text);
	assert_string_equal(content(path), our_number());
	pidfile_release(&pidfile);
	assert_null(content(path));
}

/* Another process that does something with the file, says so, and stays until it is told to go. */
struct other {
	pid_t pid;
	int hold; /* closing it lets the other go */
};

static inline struct other start_other(bool (*act)(struct pidfile *pidfile))
{
	struct other other;
	int ready[2], hold[2];
	char c;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(hold), 0);
	other.pid = fork();
	if (other.pid == 0) {
		struct pidfile pidfile = {.fd = -1};

		close(hold[1]);
		if (act(&pidfile) && write(ready[1], "", 1) == 1)
			_exit(read(hold[0], &c, 1) == 0 ? 0 : 1);
		_exit(1);
	}
	assert_true(other.pid > 0);
	close(hold[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	other.hold = hold[1];
	return other;
}

static inline void end_other(const struct other *other)
{
	int status;

	close(other->hold);
	assert_int_equal(waitpid(other->pid, &status, 0), other->pid);
	assert_int_equal(status, 0);
}

static inline int in_child(int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(fn());
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* A process that holds the lock without our knowing its number. */
static inline bool lock_only(struct pidfile *pidfile)
{
	pidfile->fd = open("pid", O_RDONLY);
	return flock(pidfile->fd, LOCK_EX) == 0;
}

#endif
