/*
 * conf_fixture.h - settings for the tests of conf: load them from attributes, a file and a command
 * line in one call, and look at what came out. One set of settings at a time.
 */
#ifndef CONF_FIXTURE_H
#define CONF_FIXTURE_H

#include "conf/table.h"

#include <errno.h>
#include <fcntl.h>
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

/* The words of a command line after the program's name, NULL at the end. */
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_ARGS ((const char *const[]){NULL})

#ifdef HAVE_YAML
#define READS_YAML true
#else
#define READS_YAML false
#endif

/* One option of each type. */
static const struct netd_option fixture_options[] = {
    {.name = "base",
     .type = NETD_OPTION_CHOICE,
     .value = "dec",
     .choices = "dec|hex|oct",
     .argument = "BASE",
     .help = "how results are written"},
    {.name = "depth", .type = NETD_OPTION_INT, .min = 1, .max = 9, .help = "levels"},
    {.name = "title", .type = NETD_OPTION_STRING, .help = "a headline"},
    {.name = "shout", .type = NETD_OPTION_FLAG, .help = "in capitals"},
    {.name = NULL},
};

static const struct netd_service fixture_service =
    NETD_SERVICE(.name = "echo", .version = "1.2", .summary = "Echo server",
		 .options = fixture_options);

static struct settings got;
static struct err got_err;
static char fixture_dir[64], fixture_path[128];

static inline int load_as(const struct netd_service *service, const struct netd_config *config,
			  const char *const *args)
{
	size_t count = 0;
	char **argv;
	int rc;

	while (args[count])
		count++;
	argv = calloc(count + 2, sizeof *argv);
	assert_non_null(argv);
	argv[0] = strdup("echo");
	for (size_t i = 0; i < count; i++)
		argv[i + 1] = strdup(args[i]);
	got_err = (struct err){.code = 0};
	conf_finish(&got);
	rc = conf_load(&got, service, config, (int)count + 1, argv, &got_err);
	if (rc < 0)
		assert_int_equal(got_err.code, rc);
	for (size_t i = 0; i <= count; i++)
		free(argv[i]);
	free(argv);
	return rc;
}

static inline int load(const struct netd_config *config, const char *const *args)
{
	return load_as(&fixture_service, config, args);
}

/* A file in the test's folder, mode 0600; fixture_path names it. */
static inline void write_file(const char *name, const char *text, size_t length)
{
	int fd;

	snprintf(fixture_path, sizeof fixture_path, "%s/%s", fixture_dir, name);
	unlink(fixture_path);
	fd = open(fixture_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, length), length);
	close(fd);
}

/* Load with a config file of this text and a port, so that nothing else is missing. */
static inline int load_file(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
	return load(NULL, ARGS("--configfile", fixture_path, "--localport=0"));
}

/* The words of the failure were exactly these; FILE stands for the config file's path. */
#define assert_words(expected) check_words(expected, __FILE__, __LINE__)

static inline void check_words(const char *expected, const char *file, int line)
{
	char text[2048];

	if (strncmp(expected, "FILE", 4) == 0)
		snprintf(text, sizeof text, "%s%s", fixture_path, expected + 4);
	else
		snprintf(text, sizeof text, "%s", expected);
	_assert_string_equal(got_err.text, text, file, line);
}

static inline int fixture_set_up(void **state)
{
	(void)state;
	strcpy(fixture_dir, "/tmp/netdaemon-conf-XXXXXX");
	return mkdtemp(fixture_dir) ? chmod(fixture_dir, 0755) : -1;
}

static inline int fixture_tear_down(void **state)
{
	char command[128];

	(void)state;
	conf_finish(&got);
	snprintf(command, sizeof command, "rm -rf '%s'", fixture_dir);
	return system(command) == 0 ? 0 : -1;
}

#endif
