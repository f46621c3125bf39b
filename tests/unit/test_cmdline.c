/* test_cmdline.c - words of a command line to options: forms, abbreviations, what is refused. */
#include "conf_fixture.h"

#define PORT "--localport=0"

static void every_form_of_name_and_value(void **state)
{
	static const char *const forms[][3] = {
	    {"--user", "joe"}, {"--user=joe"}, {"-user", "joe"}, {"-user=joe"},
	    {"--USER", "joe"}, {"-User=joe"},  {"--use", "joe"}, {"-u", "joe"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		assert_int_equal(load(NULL, ARGS(PORT, forms[i][0], forms[i][1])), 0);
		assert_string_equal(got.user, "joe");
		assert_string_equal(conf_where(&got, "user"), "--user");
	}
}

static void words_may_be_parted_by_dash_or_underscore(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, ARGS(PORT, "--drain_timeout=2", "--loop_c")), 0);
	assert_int_equal(got.drain_timeout, 2000);
	assert_true(got.loop_child);
}

static void flags_and_their_negations(void **state)
{
	static const struct {
		const char *word;
		bool catchint, debug;
	} cases[] = {
	    {"--debug", true, true},         {"--deb", true, true},
	    {"--nodebug", true, false},      {"--no-debug", true, false},
	    {"--nocatchint", false, false},  {"--no-catchint", false, false},
	    {"--NoCatch", false, false},     {"--no-cat", false, false},
	    {"--no_catchint", false, false}, {"-nocatchint", false, false},
	    {"--catchint", true, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(load(NULL, ARGS(PORT, cases[i].word)), 0);
		assert_true(got.catchint == cases[i].catchint);
		assert_true(got.debug == cases[i].debug);
	}
}

static void every_flag_is_negatable(void **state)
{
	(void)state;
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *option = &conf_options[i];
		char yes[64], no[64];

		if (option->kind != CONF_FLAG)
			continue;
		snprintf(yes, sizeof yes, "--%s", option->name);
		snprintf(no, sizeof no, "--no%s", option->name);
		assert_int_equal(load(NULL, ARGS(PORT, yes)), 0);
		assert_true(*(bool *)((char *)&got + option->offset));
		assert_int_equal(load(NULL, ARGS(PORT, yes, no)), 0);
		assert_false(*(bool *)((char *)&got + option->offset));
		assert_string_equal(conf_get(&got, option->name), "0");
	}
}

static void the_last_one_wins_but_bind_gathers(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, ARGS("--user=a", "--user=b", "--bind=tcp::1", "--nodebug",
					 "--debug", "--bind", "unix:/x")),
			 0);
	assert_string_equal(got.user, "b");
	assert_true(got.debug);
	assert_int_equal(got.bind.count, 2);
	assert_string_equal(got.bind.items[0], "tcp::1");
	assert_string_equal(got.bind.items[1], "unix:/x");
	assert_string_equal(conf_get(&got, "bind"), "tcp::1 unix:/x");
}

/* "--user --debug" is a value forgotten, "-1" and "-" are values, '=' takes anything. */
static void a_value_may_begin_with_a_dash_unless_it_is_an_option(void **state)
{
	static const struct {
		const char *word, *next, *value;
	} cases[] = {
	    {"--title", "-1", "-1"},
	    {"--title", "-", "-"},
	    {"--title", "-zebra", "-zebra"},
	    {"--title=--debug", NULL, "--debug"},
	    {"--title=-1", NULL, "-1"},
	    {"--title=", NULL, ""},
	    {"--title=a=b", NULL, "a=b"},
	    {"--title=--", NULL, "--"},
	    {"--title", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(load(NULL, ARGS(PORT, cases[i].word, cases[i].next)), 0);
		assert_string_equal(conf_get(&got, "title"), cases[i].value);
	}
}

static void an_exact_name_wins_over_longer_ones(void **state)
{
	static const struct netd_option options[] = {
	    {.name = "mod", .type = NETD_OPTION_STRING},
	    {.name = NULL},
	};
	static const struct netd_service service = NETD_SERVICE(.name = "x", .options = options);

	(void)state;
	assert_int_equal(load_as(&service, NULL, ARGS(PORT, "--mod=1")), 0);
	assert_string_equal(conf_get(&got, "mod"), "1");
	assert_string_equal(got.mode, "threads");
	/* --listen is no abbreviation of anything, --local is one of five. */
	assert_int_equal(load(NULL, ARGS(PORT, "--lis", "7")), 0);
	assert_int_equal(got.listen, 7);
}

static void own_options_take_part_in_abbreviations(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, ARGS(PORT, "--ba", "hex", "--nosh", "--tit=x", "--dep=3")), 0);
	assert_string_equal(conf_get(&got, "base"), "hex");
	assert_string_equal(conf_get(&got, "shout"), "0");
	assert_string_equal(conf_get(&got, "depth"), "3");
	assert_int_equal(load(NULL, ARGS(PORT, "--dep", "--debug")), -EINVAL);
	assert_int_equal(load(NULL, ARGS(PORT, "--de=3")), -EINVAL);
	assert_words("--de: ambiguous, may be --debug, --deny or --depth");
}

/* What was no abbreviation of two options before this library added some. */
static void abbreviations_of_the_original_and_of_the_service_stay(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, ARGS(PORT, "--b=hex", "--m=fork", "--noc", "--g=root")), 0);
	assert_string_equal(conf_get(&got, "base"), "hex");
	assert_string_equal(got.mode, "fork");
	assert_false(got.catchint);
	assert_string_equal(got.group, "root");
	assert_int_equal(load(NULL, ARGS(PORT, "--max=3")), -EINVAL);
	assert_words("--max: ambiguous, may be --max-connections, --max-per-address or "
		     "--max-per-prefix");
}

static void the_end_of_options(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, ARGS(PORT, "--debug", "--")), 0);
	assert_true(got.debug);
	assert_int_equal(load(NULL, ARGS(PORT, "--", "--debug")), -EINVAL);
	assert_words("unexpected argument '--debug'");
}

static void rule03_what_is_no_option_is_refused_with_words(void **state)
{
	static const struct {
		const char *word, *next, *words;
	} cases[] = {
	    {"x", NULL, "unexpected argument 'x'"},
	    {"", NULL, "unexpected argument ''"},
	    {"-", NULL, "unexpected argument '-'"},
	    {"--debug", "1", "unexpected argument '1'"},
	    {"--", "--", "unexpected argument '--'"},
	    {"a\033[2J\n", NULL, "unexpected argument 'a\\x1b[2J\\x0a'"},
	    {"--prot0", NULL, "--prot0: unknown option, did you mean --proto?"},
	    {"--prot0=tcp", NULL, "--prot0: unknown option, did you mean --proto?"},
	    {"-usr", NULL, "-usr: unknown option, did you mean --user?"},
	    {"--usre", NULL, "--usre: unknown option, did you mean --user?"},
	    {"--protocol", NULL, "--protocol: unknown option, did you mean --proto?"},
	    {"--port", NULL, "--port: unknown option, did you mean --localport?"},
	    {"--titel", NULL, "--titel: unknown option, did you mean --title?"},
	    {"--chlids", NULL, "--chlids: unknown option, did you mean --childs?"},
	    {"--zebra", NULL, "--zebra: unknown option, see --help"},
	    {"--clients", NULL, "--clients: unknown option, see --help"},
	    {"---user", NULL, "---user: unknown option, did you mean --user?"},
	    {"--=", NULL, "--: unknown option, see --help"},
	    {"-=x", NULL, "-: unknown option, see --help"},
	    {"--\001", NULL, "--\\x01: unknown option, see --help"},
	    {"--nouser", NULL, "--nouser: unknown option, did you mean --user?"},
	    {"--local", NULL,
	     "--local: ambiguous, may be --localaddr, --localmode, --localowner, --localpath or "
	     "--localport"},
	    {"--no", NULL,
	     "--no: ambiguous, may be --nocatchint, --nocheck, --nocoredump, --nodebug, --nohelp, "
	     "--noloop-child, --notify-fd, --noprint-address, --noversion or --noshout"},
	    {"--debug=1", NULL, "--debug: takes no value; use --debug or --nodebug"},
	    {"--debug=", NULL, "--debug: takes no value; use --debug or --nodebug"},
	    {"--nodeb=1", NULL, "--nodebug: takes no value; use --debug or --nodebug"},
	    {"--user", NULL, "--user: no value given, expected --user USER"},
	    {"--base", NULL, "--base: no value given, expected --base BASE"},
	    {"--depth", NULL, "--depth: no value given, expected --depth VALUE"},
	    {"--user", "--debug",
	     "--user: no value given: --debug is an option; if it is the value, write "
	     "--user=VALUE"},
	    {"--user", "-gr=x",
	     "--user: no value given: -gr=x is an option; if it is the value, write "
	     "--user=VALUE"},
	    {"--user", "--",
	     "--user: no value given: -- is an option; if it is the value, write --user=VALUE"},
	    {"--user=", NULL, "--user: found '', expected a user name or number"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(load(NULL, ARGS(PORT, cases[i].word, cases[i].next)), -EINVAL);
		assert_words(cases[i].words);
	}
}

static void no_arguments_at_all(void **state)
{
	(void)state;
	conf_finish(&got);
	assert_int_equal(
	    conf_load(&got, &fixture_service, NETD_CONFIG(.localport = "0"), 0, NULL, &got_err), 0);
	assert_string_equal(got.localport, "0");
}

static void argv_is_left_as_it_is(void **state)
{
	char words[][20] = {"echo", "--mode=ithreads", "--localport", "0"};
	char *argv[] = {words[0], words[1], words[2], words[3], NULL};

	(void)state;
	conf_finish(&got);
	assert_int_equal(conf_load(&got, &fixture_service, NULL, 4, argv, NULL), 0);
	assert_string_equal(got.mode, "threads");
	assert_string_equal(argv[1], "--mode=ithreads");
	assert_string_equal(argv[2], "--localport");
	assert_string_equal(argv[3], "0");
	assert_null(argv[4]);
}

static void hostile_ten_thousand_arguments(void **state)
{
	const size_t count = 10000;
	const char **args = calloc(count + 2, sizeof *args);

	(void)state;
	assert_non_null(args);
	for (size_t i = 0; i < count; i++)
		args[i] = i % 2 ? "--bind=tcp:127.0.0.1:1" : "--nocatch";
	assert_int_equal(load(NULL, args), 0);
	assert_int_equal(got.bind.count, count / 2);
	assert_false(got.catchint);
	args[count] = "--zebra";
	assert_int_equal(load(NULL, args), -EINVAL);
	assert_words("--zebra: unknown option, see --help");
	free(args);
}

static void hostile_long_words(void **state)
{
	const size_t size = 1 << 20;
	char *word = malloc(size + 1);
	char expected[256];

	(void)state;
	assert_non_null(word);
	memset(word, 'a', size);
	word[size] = '\0';
	assert_int_equal(load(NULL, ARGS(PORT, "--title", word)), 0);
	assert_string_equal(conf_get(&got, "title"), word);
	assert_int_equal(load(NULL, ARGS(PORT, "--user", word)), -EINVAL);
	snprintf(expected, sizeof expected,
		 "--user: found '%.68s...', expected a user name or number of at most 255 bytes",
		 word);
	assert_words(expected);
	assert_int_equal(load(NULL, ARGS(PORT, word)), -EINVAL);
	snprintf(expected, sizeof expected, "unexpected argument '%.68s...'", word);
	assert_words(expected);
	memcpy(word, "--", 2);
	assert_int_equal(load(NULL, ARGS(PORT, word)), -EINVAL);
	snprintf(expected, sizeof expected, "%.68s...: unknown option, see --help", word);
	assert_words(expected);
	memset(word, '\n', size);
	assert_int_equal(load(NULL, ARGS(PORT, "--mode", word)), -EINVAL);
	snprintf(expected, sizeof expected,
		 "\\x0a\\x0a...', expected single, fork, threads or fibers");
	assert_non_null(strstr(got_err.text, expected));
	free(word);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_form_of_name_and_value),
	    cmocka_unit_test(words_may_be_parted_by_dash_or_underscore),
	    cmocka_unit_test(flags_and_their_negations),
	    cmocka_unit_test(every_flag_is_negatable),
	    cmocka_unit_test(the_last_one_wins_but_bind_gathers),
	    cmocka_unit_test(a_value_may_begin_with_a_dash_unless_it_is_an_option),
	    cmocka_unit_test(an_exact_name_wins_over_longer_ones),
	    cmocka_unit_test(own_options_take_part_in_abbreviations),
	    cmocka_unit_test(abbreviations_of_the_original_and_of_the_service_stay),
	    cmocka_unit_test(the_end_of_options),
	    cmocka_unit_test(rule03_what_is_no_option_is_refused_with_words),
	    cmocka_unit_test(no_arguments_at_all),
	    cmocka_unit_test(argv_is_left_as_it_is),
	    cmocka_unit_test(hostile_ten_thousand_arguments),
	    cmocka_unit_test(hostile_long_words),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
