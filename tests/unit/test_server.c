/*
 * test_server.c - the object the user owns: made, loaded, asked and freed; what is printed for
 * --help and its kin; every kind of mistake with its words; memory that runs out anywhere.
 */
#include "scarce.h"
#include "server_fixture.h"

/* ---------------------------------------------------------------------------- made and asked */

static void services_that_do_not_fit(void **state)
{
	struct netd_service wrong[8];
	static const char *const words[ARRAY_LEN(wrong)] = {
	    "not made by NETD_SERVICE()",
	    "not made by NETD_SERVICE()",
	    "the service has no .name",
	    "the service has no .name",
	    "the service has no .run",
	    "not made by NETD_SERVICE()",
	    "built for netdaemon 0.2.0 (ABI 2), this is " NETD_VERSION " (ABI 1)",
	    "built for netdaemon (unknown) (ABI -1), this is",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		wrong[i] = service;
	wrong[0].size = 0;
	wrong[1].size = offsetof(struct netd_service, run);
	wrong[2].name = NULL;
	wrong[3].name = "";
	wrong[4].run = NULL;
	wrong[5].abi = 0;
	wrong[6].abi = 2;
	wrong[6].built_for = "0.2.0";
	wrong[6].name = (const char *)8; /* nothing else of it may be looked at */
	wrong[7].abi = -1;
	wrong[7].built_for = NULL;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		make_of(&wrong[i], NULL, NULL);
		assert_non_null(server);
		assert_int_equal(netd_server_load(server), -EINVAL);
		assert_non_null(strstr(netd_server_error(server), words[i]));
		assert_int_equal(netd_server_run(server), -EINVAL);
		assert_null(netd_server_option(server, "mode"));
		assert_null(netd_server_option_item(server, "mode", 0));
		assert_int_equal(netd_server_stop(server), 0);
	}
	errno = 0;
	make_of(NULL, NULL, NULL);
	assert_null(server);
	assert_int_equal(errno, EINVAL);
	assert_null(netd_server_free(NULL));
}

/* A program built with an older or a newer header than the library. */
static void services_of_another_size(void **state)
{
	struct {
		struct netd_service service;
		char more[64];
	} newer = {.service = service};
	struct netd_service older = service;

	(void)state;
	older.size = offsetof(struct netd_service, loop);
	make_of(&older, NULL, NULL);
	assert_non_null(server);
	assert_null(server->service.loop); /* behind its end: not looked at */
	assert_non_null(server->service.run);
	newer.service.size = sizeof newer;
	memset(newer.more, 0xff, sizeof newer.more);
	make_of(&newer.service, NULL, NULL);
	assert_non_null(server);
	assert_ptr_equal(server->service.done, on_done);
}

static void the_authors_data(void **state)
{
	(void)state;
	make(NULL, ARGS("--localport=0"));
	assert_null(netd_server_data(server));
	netd_server_set_data(server, dir);
	assert_ptr_equal(netd_server_data(server), dir);
	assert_string_equal(netd_server_error(server), "");
	assert_int_equal(netd_server_fail(server, -EIO, "disk %d", 5), -EIO);
	assert_string_equal(netd_server_error(server), "disk 5");
	netd_server_log(server, NETD_NOTICE, "no log yet: %s", "nothing happens");
	assert_string_equal(netd_version(), NETD_VERSION);
}

static void options_as_text_and_numbers(void **state)
{
	(void)state;
	assert_int_equal(load(ARGS("--localport=7", "--title=5 apples", "--shout")), 0);
	assert_string_equal(netd_server_option(server, "localport"), "7");
	assert_int_equal(netd_server_option_int(server, "localport"), 7);
	assert_int_equal(netd_server_option_int(server, "depth"), 3);
	assert_int_equal(netd_server_option_int(server, "shout"), 1);
	assert_string_equal(netd_server_option(server, "mode"), "threads");
	assert_null(netd_server_option(server, "pidfile"));
	assert_null(netd_server_option(server, "unknown"));
	assert_int_equal(netd_server_option_int(server, "pidfile"), 0);
	assert_int_equal(netd_server_option_int(server, "unknown"), 0);
	assert_int_equal(netd_server_option_int(server, "mode"), 0);
}

/* "text that is no number, or no value at all, 0" */
static void text_that_only_begins_as_a_number_is_none(void **state)
{
	(void)state;
	assert_int_equal(load(ARGS("--localport=7", "--title=5 apples")), 0);
	assert_int_equal(netd_server_option_int(server, "title"), 0);
	assert_int_equal(load(ARGS("--localport=7", "--title=12.5")), 0);
	assert_int_equal(netd_server_option_int(server, "title"), 12); /* the whole part */
}

static void before_it_runs(void **state)
{
	struct netd_stats stats = {.size = sizeof stats, .active = 9};
	struct {
		size_t size;
		uint64_t active, accepted;
	} old = {.size = offsetof(struct netd_stats, accepted), .active = 9, .accepted = 9};

	(void)state;
	assert_int_equal(load(ARGS("--localport=0")), 0);
	assert_null(netd_server_address(server, 0));
	assert_null(netd_server_address(server, -1));
	assert_false(netd_draining(server));
	assert_int_equal(netd_spawn(server, NULL, NULL), -EINVAL);
	atomic_store(&server->shared.page->counters.accepted, 4);
	atomic_store(&server->shared.page->counters.refused, 5);
	atomic_store(&server->shared.page->counters.failed, 6);
	atomic_store(&server->shared.page->log.drops, 7);
	assert_int_equal(netd_server_stats(server, &stats), 0);
	assert_int_equal(stats.size, sizeof stats);
	assert_int_equal(stats.active, 0);
	assert_int_equal(stats.accepted, 4);
	assert_int_equal(stats.refused, 5);
	assert_int_equal(stats.failed, 6);
	assert_int_equal(stats.log_drops, 7);
	assert_int_equal(netd_server_stats(server, (struct netd_stats *)(void *)&old), 0);
	assert_int_equal(old.active, 0);
	assert_int_equal(old.accepted, 9); /* behind the end of the caller's struct */
	errno = 77;
	assert_int_equal(netd_server_stop(server), 0);
	assert_int_equal(errno, 77);
}

/* ----------------------------------------------------------------------------------- answers */

static void help_and_version(void **state)
{
	(void)state;
	assert_int_equal(load(ARGS("--help")), 1);
	assert_non_null(strstr(printed, "Says hello"));
	assert_non_null(strstr(printed, "--depth"));
	assert_non_null(strstr(printed, "--localport"));
	assert_int_equal(load(ARGS("--version")), 1);
	assert_string_equal(printed, "greeter 1.2 (netdaemon " NETD_VERSION ")\n");
	assert_int_equal(act.calls, 0);                /* nothing is configured for an answer */
	assert_int_equal(netd_server_load(server), 1); /* not twice */
	assert_int_equal(netd_server_run(server), 1);
}

static void expect_printed(const char *text)
{
	if (!strstr(printed, text))
		fail_msg("no '%s' in: %s", text, printed);
}

static void check_says_what_would_be_done(void **state)
{
	struct passwd *me = getpwuid(getuid());

	(void)state;
	assert_non_null(me);
	assert_int_equal(load(ARGS("--check", "--localport=80")), 1);
	expect_printed("would listen on tcp:*:80\n");
	expect_printed("would serve every client: there are no access rules\n");
	expect_printed("localport: 80 (");
	expect_printed("the configuration is good\n");
	assert_null(strstr(printed, "would run as"));
	assert_int_equal(act.calls, 1);
	assert_int_equal(
	    load(ARGS("--check", "--localaddr=::1", "--localport=80", "--bind", "unix:/run/x",
		      "--bind=tcp:127.0.0.1:81", "--user", me->pw_name)),
	    1);
	expect_printed("would listen on tcp:[::1]:80\nwould listen on unix:/run/x\n"
		       "would listen on tcp:127.0.0.1:81\n");
	expect_printed("would run as user ");
	assert_int_equal(load(ARGS("--check", "--localaddr=[::1]", "--localport=80")), 1);
	expect_printed("would listen on tcp:[::1]:80\n");
	assert_int_equal(load(ARGS("--check", "--localpath=/run/y", "--localport=80")), 1);
	expect_printed("would listen on unix:/run/y\n");
	expect_printed("warning: --localport: not used");
	make(NETD_CONFIG(.clients = "[{mask => '^127$', accept => 1}]", .localport = "1"),
	     ARGS("--check"));
	assert_int_equal(load_it(path_of("stdout")), 1);
	expect_printed("would serve the clients that 1 rule allows\n");
	make(NETD_CONFIG(.clients = "[{mask => 'a'}, {accept => 1}]", .localport = "1"),
	     ARGS("--check"));
	assert_int_equal(load_it(path_of("stdout")), 1);
	expect_printed("would serve the clients that 2 rules allow\n");
	expect_printed("warning: "); /* of the mask without an anchor */
}

static void explain_names_the_rule(void **state)
{
	const struct netd_config *config =
	    NETD_CONFIG(.localport = "1", .clients = "[{mask => '^10\\\\.', accept => 1}]");

	(void)state;
	make(config, ARGS("--explain=10.0.0.1"));
	assert_int_equal(load_it(path_of("stdout")), 1);
	expect_printed("allowed");
	make(config, ARGS("--explain=11.0.0.1"));
	assert_int_equal(load_it(path_of("stdout")), 1); /* an answer too */
	expect_printed("denied");
	make(config, ARGS("--explain=nonsense"));
	assert_int_equal(load_it(path_of("stdout")), -EINVAL);
	assert_int_equal(strncmp(netd_server_error(server), "--explain: nonsense: ", 21), 0);
	assert_int_equal(act.calls, 0);
}

static void an_answer_that_cannot_be_written(void **state)
{
	static const char *const questions[] = {"--help", "--version", "--check", "--explain=::1"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
		make(NULL, ARGS("--localport=0", questions[i]));
		assert_int_equal(load_it("/dev/full"), -ENOSPC);
		assert_string_equal(netd_server_error(server),
				    "standard output: No space left on device");
		clearerr(stdout);
	}
}

/* ---------------------------------------------------------------------------------- mistakes */

#define NO_ADDRESS                                                                                 \
	"no address to listen on: give --localport PORT, --localpath PATH or --bind ADDRESS"

static void mistakes_have_words(void **state)
{
	static const struct {
		const char *args[4];
		const char *words;
	} cases[] = {
	    {{"--nonsense"}, "--nonsense: unknown option, see --help"},
	    {{"--localport=0", "--mode=x"},
	     "--mode: found 'x', expected single, fork, threads or fibers"},
	    {{"--bind=x"}, "--bind: found 'x', expected tcp:HOST:PORT, tcp:[V6]:PORT or unix:PATH"},
	    {{"--debug"}, NO_ADDRESS},
	    {{"--check"}, NO_ADDRESS},
	    {{"--localaddr=::1"}, NO_ADDRESS},
	    {{"--nohelp"}, NO_ADDRESS},
	    {{"--localport=0", "--user=no such user"}, "--user: unknown user 'no such user'"},
	    {{"--localport=0", "--group=no such group"}, "--group: unknown group 'no such group'"},
	    {{"--localport=0", "--localowner=nobody0"},
	     "--localowner: owner 'nobody0': unknown user 'nobody0'"},
	    {{"--localport=0", "--depth=10"}, "--depth: "},
	    {{"--configfile=/nowhere/x"}, "/nowhere/x: No such file or directory"},
	    {{"--localaddr=a b", "--localport=0"}, "--localaddr: "},
	    {{"--localport=70000"}, "--localport: "},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int rc = load(cases[i].args);

		if (rc >= 0 ||
		    strncmp(netd_server_error(server), cases[i].words, strlen(cases[i].words)) != 0)
			fail_msg("%s: %d, %s", cases[i].args[0], rc, netd_server_error(server));
		assert_int_equal(netd_server_run(server), rc); /* and it does not run */
		assert_int_equal(act.calls, 0);
		assert_string_equal(printed, "");
	}
}

/* A path that is longer than a socket's name can be. */
static void a_path_that_is_too_long(void **state)
{
	char option[6000] = "--localpath=/";

	(void)state;
	memset(option + 13, 'x', sizeof option - 14);
	assert_int_equal(load(ARGS(option)), -EINVAL);
	assert_int_equal(strncmp(netd_server_error(server), "--localpath: ", 13), 0);
}

static void rule10_wrong_rules_refuse_to_start(void **state)
{
	static const struct {
		const char *clients, *words;
	} cases[] = {
	    {"[{mask => '('}]", "mask"},
	    {"[{net => '10.0.0.1/8'}]", "net"},
	    {"[{", "clients"},
	    {"{}", "clients"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		make(NETD_CONFIG(.localport = "0", .clients = cases[i].clients), NULL);
		assert_int_equal(load_it(path_of("stdout")), -EINVAL);
		if (!strstr(netd_server_error(server), cases[i].words))
			fail_msg("%s: %s", cases[i].clients, netd_server_error(server));
	}
}

static void rules_in_a_file_are_named_with_it(void **state)
{
	char option[256];
	FILE *file = fopen(path_of("x.conf"), "w");

	(void)state;
	snprintf(option, sizeof option, "--configfile=%s", path_of("x.conf"));
	fprintf(file, "{ clients =>\n [ { net => '1.2.3.4/8' } ] }\n");
	fchmod(fileno(file), 0600);
	fclose(file);
	assert_int_equal(load(ARGS("--localport=0", option)), -EINVAL);
	snprintf(option, sizeof option, "%s:2:", path_of("x.conf"));
	if (strncmp(netd_server_error(server), option, strlen(option)) != 0)
		fail_msg("%s", netd_server_error(server));
}

static void a_service_that_warns_before_there_is_a_log_is_heard(void **state)
{
	(void)state;
	act.configure_warns = "the moon is full";
	assert_int_equal(load(ARGS("--localport=0", "--check")), 1);
	expect_printed("warning: the moon is full\n");
	assert_null(strstr(printed, "nobody"));
	assert_int_equal(load(ARGS("--localport=0")), 0);
	assert_int_equal(server->settings.warnings.count, 1); /* announced at the start */
	netd_server_log(server, NETD_WARNING, "no more");
	assert_int_equal(server->settings.warnings.count, 1);
}

static void the_service_may_refuse_its_configuration(void **state)
{
	(void)state;
	act.configure_rc = -EDOM;
	assert_int_equal(load(ARGS("--localport=0")), -EDOM);
	assert_string_equal(netd_server_error(server), "the service cannot be configured: "
						       "Numerical argument out of domain");
	make(NULL, ARGS("--localport=0"));
	netd_server_fail(server, -EIO, "words of something before");
	assert_int_equal(load_it(path_of("stdout")), -EDOM);
	assert_non_null(strstr(netd_server_error(server), "cannot be configured"));
	act.configure_words = "the moon is full";
	assert_int_equal(load(ARGS("--localport=0", "--check")), -EDOM);
	assert_string_equal(netd_server_error(server), "the moon is full");
	act.configure_rc = 5;
	assert_int_equal(load(ARGS("--localport=0")), 0);
}

/* ---------------------------------------------------------------------- memory that runs out */

static void memory_may_run_out_while_loading(void **state)
{
	static const char *const lines[][5] = {
	    {"--bind=tcp:127.0.0.1:0", "--bind=unix:/x", "--localowner=:0"},
	    {"--localport=0", "--check", "--user=root"},
	    {"--localport=0", "--explain=10.1.1.1"},
	    {"--help"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		bool spared = false;
		long n;

		for (n = 0; !spared; n++) {
			char *argv[8];
			int argc = 1, rc = 0, out, error;

			forget();
			argv[0] = words_of_argv[0] = strdup("prog");
			for (; lines[i][argc - 1]; argc++)
				argv[argc] = words_of_argv[argc] = strdup(lines[i][argc - 1]);
			out = open("/dev/null", O_WRONLY | O_CLOEXEC);
			fflush(stdout);
			dup2(out, STDOUT_FILENO);
			errno = 0;
			scarce_from(n);
			server = netd_server_new(
			    &service,
			    NETD_CONFIG(.clients = "[{mask => ['^10', 'x'], net => '10.0.0.0/8',"
						   " accept => 1, a => 'b'}]"),
			    argc, argv);
			error = errno;
			if (server)
				rc = netd_server_load(server);
			spared = scarce_over();
			dup2(saved_stdout, STDOUT_FILENO);
			close(out);
			if (!server) {
				assert_int_equal(error, ENOMEM);
			} else if (spared) {
				assert_int_equal(rc, i == 0 ? 0 : 1);
			} else if (rc < 0) {
				if (rc != -ENOMEM || !*netd_server_error(server))
					fail_msg("line %zu, allocation %ld: %d, %s", i, n, rc,
						 netd_server_error(server));
			}
		}
		assert_true(n > 20);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    SERVER_TEST(services_that_do_not_fit),
	    SERVER_TEST(services_of_another_size),
	    SERVER_TEST(the_authors_data),
	    SERVER_TEST(options_as_text_and_numbers),
	    SERVER_TEST(text_that_only_begins_as_a_number_is_none),
	    SERVER_TEST(before_it_runs),
	    SERVER_TEST(help_and_version),
	    SERVER_TEST(check_says_what_would_be_done),
	    SERVER_TEST(explain_names_the_rule),
	    SERVER_TEST(an_answer_that_cannot_be_written),
	    SERVER_TEST(mistakes_have_words),
	    SERVER_TEST(a_path_that_is_too_long),
	    SERVER_TEST(rule10_wrong_rules_refuse_to_start),
	    SERVER_TEST(rules_in_a_file_are_named_with_it),
	    SERVER_TEST(a_service_that_warns_before_there_is_a_log_is_heard),
	    SERVER_TEST(the_service_may_refuse_its_configuration),
	    SERVER_TEST(memory_may_run_out_while_loading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
