/*
 * test_server_run.c - a server run in the test's own process until it is stopped; what keeps it
 * from starting; the exit status of a program.
 */
#include "server_fixture.h"

/* ----------------------------------------------------------------------------------- running */

static int expect_running(struct netd_server *of)
{
	assert_ptr_equal(of, server);
	assert_non_null(netd_server_address(of, 0));
	assert_int_equal(strncmp(netd_server_address(of, 0), "tcp:127.0.0.1:", 14), 0);
	assert_null(netd_server_address(of, 1));
	assert_false(netd_draining(of));
	netd_server_log(of, NETD_NOTICE, "from the loop");
	return netd_server_stop(of);
}

static void it_runs_until_it_is_stopped(void **state)
{
	static const char *const modes[] = {"--mode=single", "--mode=fork", "--mode=threads"};
	char log[128], option[160];

	(void)state;
	snprintf(log, sizeof log, "%s", path_of("log"));
	snprintf(option, sizeof option, "--logfile=%s", log);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		char text[4096] = "";
		int fd;

		act.in_loop = expect_running;
		act.loops = act.done = 0;
		make(NULL, ARGS("--bind=tcp:127.0.0.1:0", "--loop-timeout=0.01", modes[i], option));
		assert_int_equal(netd_server_run(server), 0);
		assert_int_equal(act.loops, 1);
		assert_int_equal(act.done, 1);
		assert_true(netd_draining(server));
		assert_null(netd_server_address(server, 0)); /* nothing is bound */
		fd = open(log, O_RDONLY | O_CLOEXEC);
		assert_true(read(fd, text, sizeof text - 1) > 0);
		close(fd);
		assert_non_null(strstr(text, "greeter 1.2 starting: mode "));
		assert_non_null(strstr(text, "listening on tcp:127.0.0.1:"));
		assert_non_null(strstr(text, "from the loop\n"));
		assert_non_null(strstr(text, "stop requested: no new connections"));
		assert_non_null(strstr(text, "greeter terminated\n"));
		unlink(log);
	}
}

static void it_runs_with_children(void **state)
{
	(void)state;
	make(NULL, ARGS("--bind=tcp:127.0.0.1:0", "--loop-timeout=0.01", "--childs=2",
			"--logfile=/dev/null"));
	assert_int_equal(netd_server_run(server), 0);
	assert_true(netd_draining(server));
	assert_int_equal(act.loops, 0); /* in the first worker, which is another process */
}

static void a_stop_before_it_runs_is_seen_at_the_start(void **state)
{
	(void)state;
	make(NULL, ARGS("--bind=tcp:127.0.0.1:0", "--logfile=/dev/null", "--timeout=10"));
	netd_server_stop(server);
	assert_int_equal(netd_server_run(server), 0);
	assert_int_equal(act.done, 1);
}

static void the_time_out_ends_it(void **state)
{
	(void)state;
	make(NULL, ARGS("--bind=tcp:127.0.0.1:0", "--logfile=/dev/null", "--timeout=0.05"));
	assert_int_equal(netd_server_run(server), 0);
	assert_int_equal(act.done, 1);
}

static int nested_rc;

static int run_another(struct netd_server *of)
{
	char name[] = "prog", bind[] = "--bind=tcp:127.0.0.1:0", log[] = "--logfile=/dev/null";
	char pidfile[160];
	char *argv[] = {name, bind, log, pidfile, NULL};
	struct netd_server *another;

	snprintf(pidfile, sizeof pidfile, "--pidfile=%s/another", dir);
	another = netd_server_new(&service, NULL, 4, argv);

	nested_rc = netd_server_run(another);
	assert_non_null(strstr(netd_server_error(another), "signals"));
	assert_int_equal(access(path_of("another"), F_OK), -1); /* it was there for a moment */
	netd_server_free(another);
	return netd_server_stop(of);
}

static void one_server_runs_at_a_time(void **state)
{
	(void)state;
	act.in_loop = run_another;
	make(NULL, ARGS("--bind=tcp:127.0.0.1:0", "--loop-timeout=0.01", "--logfile=/dev/null",
			"--mode=single"));
	assert_int_equal(netd_server_run(server), 0);
	assert_int_equal(nested_rc, -EBUSY);
}

/* It cannot start: why, and nothing stays bound, no pid file is left. */
static void what_keeps_it_from_starting(void **state)
{
	char socket[128], logfile[160], pidfile[160], taken[160];
	struct {
		const char *args[4];
		int code;
		const char *words;
	} cases[] = {
	    {{taken}, -EADDRINUSE, "tcp:127.0.0.1:"},
	    {{logfile}, -ENOENT, ""},
	    {{pidfile}, -ENOENT, ""},
	    {{"--bind=unix:/nowhere/x"}, -ENOENT, "unix:/nowhere/x"},
	};
	struct listeners held = {0};
	struct address address;
	struct listen_config config = {.backlog = 1, .uid = -1, .gid = -1};
	struct err err;

	(void)state;
	assert_int_equal(address_parse(&address, "tcp:127.0.0.1:0", &err), 0);
	assert_int_equal(listener_open(&held, &address, &config, &err), 0);
	snprintf(taken, sizeof taken, "--bind=%s", held.items[0].text);
	snprintf(socket, sizeof socket, "%s/socket", dir);
	snprintf(logfile, sizeof logfile, "--logfile=%s/no/log", dir);
	snprintf(pidfile, sizeof pidfile, "--pidfile=%s/no/pid", dir);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char bind[160];
		int rc;

		snprintf(bind, sizeof bind, "--bind=unix:%s", socket);
		make(NULL, ARGS(bind, cases[i].args[0], "--timeout=10",
				i == 1 ? "--debug" : "--logfile=/dev/null"));
		rc = netd_server_run(server);
		if (rc != cases[i].code || !*netd_server_error(server) ||
		    !strstr(netd_server_error(server), cases[i].words))
			fail_msg("%s: %d, %s", cases[i].args[0], rc, netd_server_error(server));
		assert_int_equal(access(socket, F_OK), -1); /* nothing stays bound */
		assert_null(netd_server_address(server, 0));
	}
	listeners_finish(&held);
}

static void a_pid_file_is_there_while_it_runs(void **state)
{
	char option[160], path[128];

	(void)state;
	snprintf(path, sizeof path, "%s", path_of("pid"));
	snprintf(option, sizeof option, "--pidfile=%s", path);
	make(NULL,
	     ARGS("--bind=tcp:127.0.0.1:0", "--logfile=/dev/null", option, "--loop-timeout=0.01"));
	assert_int_equal(netd_server_run(server), 0);
	assert_int_equal(access(path, F_OK), -1);
	make(NULL,
	     ARGS("--bind=tcp:127.0.0.1:0", "--logfile=/dev/null", option, "--chroot=/nowhere"));
	assert_true(netd_server_run(server) < 0); /* after the pid file was made */
	assert_int_equal(access(path, F_OK), -1);
}

/* --------------------------------------------------------------------------------- netd_main */

/* The exit status of a program with these words, and what it says on standard error. */
static int main_of(const struct netd_service *of, const char *const *args, char *said, size_t size)
{
	int fds[2], status = -1;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char copies[8][128];
		char *argv[9] = {NULL};
		int argc = 0, null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		close(fds[0]);
		dup2(fds[1], STDERR_FILENO);
		dup2(null, STDOUT_FILENO);
		snprintf(copies[argc++], sizeof copies[0], "prog");
		for (; *args; args++)
			snprintf(copies[argc++], sizeof copies[0], "%s", *args);
		for (int i = 0; i < argc; i++)
			argv[i] = copies[i];
		_exit(netd_main(of, NULL, argc, argv));
	}
	close(fds[1]);
	while ((n = read(fds[0], said + used, size - used - 1)) > 0)
		used += (size_t)n;
	said[used] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void the_exit_status_of_a_program(void **state)
{
	char said[4096], socket[128];
	struct netd_service wrong = service;

	(void)state;
	assert_int_equal(main_of(&service, ARGS("--help"), said, sizeof said), 0);
	assert_string_equal(said, "");
	assert_int_equal(main_of(&service, ARGS("--check", "--localport=0"), said, sizeof said), 0);
	assert_int_equal(main_of(&service, ARGS("--nonsense"), said, sizeof said), 2);
	assert_string_equal(said, "greeter: --nonsense: unknown option, see --help\n");
	assert_int_equal(main_of(&service, ARGS("--bind=unix:/nowhere/x", "--logfile=/dev/null"),
				 said, sizeof said),
			 1);
	assert_int_equal(strncmp(said, "greeter: unix:/nowhere/x", 24), 0);
	snprintf(socket, sizeof socket, "--bind=unix:%s/s", dir);
	assert_int_equal(main_of(&service,
				 ARGS(socket, "--logfile=/dev/null", "--loop-timeout=0.01"), said,
				 sizeof said),
			 0);
	wrong.run = NULL;
	assert_int_equal(main_of(&wrong, ARGS("--help"), said, sizeof said), 2);
	assert_string_equal(said, "netdaemon: the service has no .run\n");
	assert_int_equal(main_of(NULL, ARGS("--help"), said, sizeof said), 1);
	assert_string_equal(said, "prog: Invalid argument\n");
}

static void a_complaint_is_one_line(void **state)
{
	char said[4096];

	(void)state;
	assert_int_equal(main_of(&service, ARGS("--bind=a\nb\x1b\x7f"), said, sizeof said), 2);
	assert_null(strchr(said, '\x1b'));
	assert_null(strchr(said, '\x7f'));
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
}

/* A handler that never comes to an end: the program ends all the same, and says so. */
static int stubborn(struct netd_server *of, void *arg)
{
	(void)of, (void)arg;
	for (;;)
		pause();
	return 0;
}

static int spawn_stubborn(struct netd_server *of)
{
	if (act.loops == 1)
		assert_int_equal(netd_spawn(of, stubborn, NULL), 0);
	return netd_server_stop(of);
}

static void handlers_that_do_not_end(void **state)
{
	char said[4096];

	(void)state;
	act.in_loop = spawn_stubborn;
	assert_int_equal(main_of(&service,
				 ARGS("--bind=tcp:127.0.0.1:0", "--logfile=/dev/null",
				      "--loop-timeout=0.01", "--drain-timeout=0", "--mode=threads"),
				 said, sizeof said),
			 1);
	assert_string_equal(said, "greeter: handlers did not end\n");
	assert_int_equal(main_of(&service,
				 ARGS("--bind=tcp:127.0.0.1:0", "--logfile=/dev/null",
				      "--loop-timeout=0.01", "--drain-timeout=0", "--mode=fork"),
				 said, sizeof said),
			 0); /* a process can be killed */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    SERVER_TEST(it_runs_until_it_is_stopped),
	    SERVER_TEST(it_runs_with_children),
	    SERVER_TEST(a_stop_before_it_runs_is_seen_at_the_start),
	    SERVER_TEST(the_time_out_ends_it),
	    SERVER_TEST(one_server_runs_at_a_time),
	    SERVER_TEST(what_keeps_it_from_starting),
	    SERVER_TEST(a_pid_file_is_there_while_it_runs),
	    SERVER_TEST(the_exit_status_of_a_program),
	    SERVER_TEST(a_complaint_is_one_line),
	    SERVER_TEST(handlers_that_do_not_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
