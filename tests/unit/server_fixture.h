/*
 * server_fixture.h - a server object with a command line of the test's own; what it prints; a
 * service whose callbacks do what a test says.
 */
#ifndef SERVER_FIXTURE_H
#define SERVER_FIXTURE_H

#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ----------------------------------------------------------------------------------- service */

/* What the callbacks do; set by a test, cleared before each. */
static struct {
	int configure_rc;
	const char *configure_words;
	const char *configure_warns;
	int calls; /* of configure */
	int loops, done;
	int (*in_loop)(struct netd_server *server);
} act;

static inline int on_configure(struct netd_server *server)
{
	act.calls++;
	if (act.configure_warns) {
		netd_server_log(server, NETD_WARNING, "%s", act.configure_warns);
		netd_server_log(server, NETD_INFO, "what nobody has to know");
	}
	if (act.configure_words)
		return netd_server_fail(server, act.configure_rc, "%s", act.configure_words);
	return act.configure_rc;
}

static inline int on_run(struct netd_conn *conn)
{
	return (int)netd_write(conn, "hello\n", 6);
}

static inline int on_loop(struct netd_server *server)
{
	act.loops++;
	return act.in_loop ? act.in_loop(server) : netd_server_stop(server);
}

static inline void on_done(struct netd_server *server)
{
	(void)server;
	act.done++;
}

static const struct netd_option options[] = {
    {.name = "depth", .type = NETD_OPTION_INT, .value = "3", .min = 1, .max = 9, .help = "levels"},
    {.name = "title", .type = NETD_OPTION_STRING, .help = "a headline"},
    {.name = "shout", .type = NETD_OPTION_FLAG, .help = "in capitals"},
    {.name = NULL},
};

static const struct netd_service service =
    NETD_SERVICE(.name = "greeter", .version = "1.2", .summary = "Says hello", .options = options,
		 .configure = on_configure, .run = on_run, .loop = on_loop, .done = on_done);

static struct netd_server *server; /* freed after each test */
static char dir[64];
static char printed[65536]; /* by the last load() */
static int saved_stdout;
static char *words_of_argv[16];

static inline int setup(void **state)
{
	(void)state;
	memset(&act, 0, sizeof act);
	printed[0] = '\0';
	strcpy(dir, "/tmp/netdaemon-server-XXXXXX");
	saved_stdout = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	return mkdtemp(dir) ? chmod(dir, 0755) : -1;
}

static inline void forget(void)
{
	server = netd_server_free(server);
	for (size_t i = 0; i < ARRAY_LEN(words_of_argv); i++) {
		free(words_of_argv[i]);
		words_of_argv[i] = NULL;
	}
}

static inline int teardown(void **state)
{
	char command[128];

	(void)state;
	forget();
	close(saved_stdout);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command) == 0 ? 0 : -1;
}

#define SERVER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* A server with these words on its command line, in the place of the last one. */
static inline void make_of(const struct netd_service *of, const struct netd_config *config,
			   const char *const *args)
{
	int count = 1;

	forget();
	words_of_argv[0] = strdup("prog");
	for (; args && *args; args++)
		words_of_argv[count++] = strdup(*args);
	server = netd_server_new(of, config, count, words_of_argv);
}

static inline void make(const struct netd_config *config, const char *const *args)
{
	make_of(&service, config, args);
	assert_non_null(server);
}

static inline const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

/* Load it; what it prints on standard output comes into `printed`. */
static inline int load_it(const char *out)
{
	int fd = open(out, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ssize_t n;
	int rc;

	assert_true(fd >= 0);
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	rc = netd_server_load(server);
	fflush(stdout);
	dup2(saved_stdout, STDOUT_FILENO);
	n = pread(fd, printed, sizeof printed - 1, 0);
	printed[n > 0 ? n : 0] = '\0';
	close(fd);
	unlink(path_of("stdout"));
	return rc;
}

static inline int load(const char *const *args)
{
	make(NULL, args);
	return load_it(path_of("stdout"));
}

#endif
