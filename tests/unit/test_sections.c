/*
 * test_sections.c - config files of several services: one of them as settings, all of them as a
 * program asks for them, lists as options of a service; every mistake with its place; memory that
 * runs out anywhere.
 */
#include "conf_fixture.h"
#include "netdaemon_sections.h"
#include "scarce.h"

#define TWO                                                                                        \
	"{ mode => 'fork', bind => ['tcp::1', 'tcp::2'], base => 'hex',\n"                         \
	"  services => {\n"                                                                        \
	"    one => { mode => 'single', bind => 'tcp::3' },\n"                                     \
	"    two => { base => 'oct', title => ['not a text'] } } }\n"

static int load_section(const char *text, const char *section)
{
	write_file("services", text, strlen(text));
	return load(NULL, ARGS("--configfile", fixture_path, "--section", section));
}

/* ---------------------------------------------------------------------------------- one of them */

static void a_section_wins_over_the_top(void **state)
{
	char where[200];

	(void)state;
	assert_int_equal(load_section(TWO, "one"), 0);
	assert_string_equal(got.mode, "single");
	assert_string_equal(conf_get(&got, "base"), "hex");
	assert_string_equal(conf_get(&got, "bind"),
			    "tcp::3"); /* a list is replaced, not added to */
	assert_string_equal(got.section, "one");
	snprintf(where, sizeof where, "%s:3:22", fixture_path);
	assert_string_equal(conf_where(&got, "mode"), where);
	snprintf(where, sizeof where, "%s:1:57", fixture_path);
	assert_string_equal(conf_where(&got, "base"), where);
}

static void the_command_line_wins_over_both(void **state)
{
	(void)state;
	write_file("services", TWO, strlen(TWO));
	assert_int_equal(
	    load(NULL, ARGS("--mode=fibers", "--section=one", "--configfile", fixture_path)), 0);
	assert_string_equal(got.mode, "fibers");
}

static void the_author_may_have_chosen_the_section(void **state)
{
	(void)state;
	write_file("services", TWO, strlen(TWO));
	assert_int_equal(load(NETD_CONFIG(.configfile = fixture_path, .section = "one"), NO_ARGS),
			 0);
	assert_string_equal(got.mode, "single");
	assert_int_equal(
	    load(NETD_CONFIG(.configfile = fixture_path, .section = "none"), ARGS("--section=one")),
	    0);
}

static void only_the_section_wanted_is_looked_into(void **state)
{
	(void)state;
	assert_int_equal(load_section(TWO, "two"), -EINVAL);
	assert_words("FILE:4:38: title: found a list, expected a text");
	assert_int_equal(load_section("{services => {a => {x => 1}, b => {localport => 1}}}", "b"),
			 0);
}

static void help_needs_no_section(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, ARGS("--help", "--section=x")), 0);
}

static void mistakes_have_their_place(void **state)
{
	static const struct {
		const char *text, *section, *words;
	} cases[] = {
	    {"{services => {a => {}, b => {}, c => {}}}", "d",
	     "FILE:1:14: services: found no service 'd', expected --section a, b or c"},
	    {"{mode => 'fork'}", "d",
	     "FILE:1:1: services: found no such key, which --section asks for"},
	    {"{services => [1]}", "d",
	     "FILE:1:14: services: found a list, expected a map of services"},
	    {"{services => {}}", "d", "FILE:1:14: services: found none, expected at least one"},
	    {"{services => {d => {},\n e => 5}}", "d",
	     "FILE:2:7: services: e: found a single value, expected a map of options"},
	    {"{services => {d => {services => {}}}}", "d",
	     "FILE:1:20: services: d: found services within a service"},
	    {"{services => {'a/b' => {}}}", "a/b",
	     "FILE:1:24: services: found the name 'a/b', expected at most 64 letters, digits, _ "
	     "- and . (the latter two not in front)"},
	    {"{services => {d => {mode => 'x'}}}", "d",
	     "FILE:1:29: mode: found 'x', expected single, fork, threads or fibers"},
	    {"[]", "d", "FILE:1:1: found a list, expected a map of options"},
	    {"", "d", "FILE: nothing in it, expected the key services"},
	    {"{}", "", "--section: found '', expected the name of a service"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(load_section(cases[i].text, cases[i].section), -EINVAL);
		assert_words(cases[i].words);
	}
}

static void a_file_of_services_is_none_of_a_single_one(void **state)
{
	(void)state;
	assert_int_equal(load_file("services", "{services => {a => {}, b => {}}}"), -EINVAL);
	assert_words("FILE:1:14: services: which of them is to be run? expected --section a or b");
	assert_int_equal(load(NULL, ARGS("--section=a", "--localport=0")), -EINVAL);
	assert_words("--section: found 'a' without a file, expected --configfile FILE too");
}

static void too_many_names_are_cut(void **state)
{
	char text[20000] = "{services => {";

	(void)state;
	for (int i = 0; i < 500; i++)
		sprintf(text + strlen(text), "service%d => {},\n", i);
	strcat(text, "}}");
	assert_int_equal(load_section(text, "x"), -EINVAL);
	assert_non_null(strstr(got_err.text, "service0, service1, "));
	assert_non_null(strstr(got_err.text, " or ..."));
	assert_int_equal(load_section(text, "service499"), 0);
}

/* ---------------------------------------------------------------------------------- all of them */

static void what_a_program_asks(void **state)
{
	static const char text[] =
	    "{service => './x.so', empty => [],\n"
	    " services => {a => {program => ['cat', '-u', undef], mode => 1},\n"
	    " b => {map => {}}}}";
	struct netd_sections *sections;
	char where[200];

	(void)state;
	write_file("services", text, strlen(text));
	sections = netd_sections_new(fixture_path);
	assert_non_null(sections);
	assert_string_equal(netd_sections_error(sections), "");
	assert_string_equal(netd_sections_name(sections, 0), "a");
	assert_string_equal(netd_sections_name(sections, 1), "b");
	assert_null(netd_sections_name(sections, 2));
	assert_null(netd_sections_name(sections, -1));
	snprintf(where, sizeof where, "%s:2:20", fixture_path);
	assert_string_equal(netd_sections_where(sections, 0), where);
	assert_null(netd_sections_where(sections, 2));
	assert_string_equal(netd_sections_get(sections, 0, "program", 0), "cat");
	assert_string_equal(netd_sections_get(sections, 0, "program", 1), "-u");
	assert_null(netd_sections_get(sections, 0, "program", 2)); /* undef */
	assert_null(netd_sections_get(sections, 0, "program", 3));
	assert_null(netd_sections_get(sections, 0, "program", -1));
	assert_string_equal(netd_sections_get(sections, 0, "mode", 0), "1");
	assert_null(netd_sections_get(sections, 0, "mode", 1));
	assert_string_equal(netd_sections_get(sections, 1, "service", 0), "./x.so"); /* the top's */
	assert_null(netd_sections_get(sections, 1, "map", 0));
	assert_null(netd_sections_get(sections, 1, "empty", 0));
	assert_null(netd_sections_get(sections, 1, "none", 0));
	assert_null(netd_sections_get(sections, 2, "service", 0));
	assert_null(netd_sections_free(sections));
	assert_null(netd_sections_free(NULL));
}

static void a_bad_file_has_words_and_no_services(void **state)
{
	static const char *const cases[][2] = {
	    {"{services => {a => 1}}",
	     ":1:20: services: a: found a single value, expected a map of "
	     "options"},
	    {"{a => 1}", ":1:1: services: found no such key, expected a map of services"},
	    {"[]", ":1:1: services: found no such key, expected a map of services"},
	    {"{", ":1:2: found the end of the file, expected a key"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct netd_sections *sections;

		write_file("services", cases[i][0], strlen(cases[i][0]));
		sections = netd_sections_new(fixture_path);
		assert_non_null(sections);
		assert_string_equal(netd_sections_error(sections) + strlen(fixture_path),
				    cases[i][1]);
		assert_null(netd_sections_name(sections, 0));
		assert_null(netd_sections_where(sections, 0));
		assert_null(netd_sections_get(sections, 0, "a", 0));
		netd_sections_free(sections);
	}
}

static void rule23_a_file_that_others_can_write(void **state)
{
	struct netd_sections *sections;

	(void)state;
	write_file("services", TWO, strlen(TWO));
	assert_int_equal(chmod(fixture_path, 0622), 0);
	sections = netd_sections_new(fixture_path);
	assert_non_null(strstr(netd_sections_error(sections), "found mode 0622"));
	netd_sections_free(sections);
	sections = netd_sections_new("/nowhere/at-all");
	assert_string_equal(netd_sections_error(sections),
			    "/nowhere/at-all: No such file or directory");
	netd_sections_free(sections);
}

static void memory_runs_out_anywhere(void **state)
{
	bool spared = false;
	long n;

	(void)state;
	write_file("services", TWO, strlen(TWO));
	for (n = 0; !spared; n++) {
		struct netd_sections *sections;

		scarce_from(n);
		errno = 0;
		sections = netd_sections_new(fixture_path);
		spared = scarce_over();
		if (!sections)
			assert_int_equal(errno, ENOMEM);
		else
			assert_string_equal(netd_sections_error(sections), "");
		assert_true(spared == (sections != NULL));
		netd_sections_free(sections);
	}
	assert_true(n > 20);
}

/* ------------------------------------------------------------------------ lists of a service */

static const struct netd_option list_options[] = {
    {.name = "word", .type = NETD_OPTION_LIST, .value = "first", .help = "words"},
    {.name = "none", .type = NETD_OPTION_LIST},
    {.name = NULL},
};
static const struct netd_service lists = NETD_SERVICE(.name = "lists", .options = list_options);

static void assert_items(const char *name, const char *const *items)
{
	size_t i = 0;

	for (; items[i]; i++)
		assert_string_equal(conf_get_item(&got, name, i), items[i]);
	assert_null(conf_get_item(&got, name, i));
}

static void a_list_of_the_service_comes_from_all_sources(void **state)
{
	static const char text[] = "{word => ['a', 'b c', ''], none => 'one', localport => 0}";

	(void)state;
	assert_int_equal(load_as(&lists, NULL, ARGS("--localport=0")), 0);
	assert_items("word", ARGS("first"));
	assert_items("none", NO_ARGS);
	assert_null(conf_get(&got, "none"));
	write_file("lists", text, strlen(text));
	assert_int_equal(load_as(&lists, NULL, ARGS("--configfile", fixture_path)), 0);
	assert_items("word", ARGS("a", "b c", ""));
	assert_items("none", ARGS("one"));
	assert_string_equal(conf_get(&got, "word"), "a b c ");
	assert_int_equal(load_as(&lists, NULL,
				 ARGS("--configfile", fixture_path, "--word=x", "--none", "y",
				      "--word", "--", "--word=")),
			 -EINVAL);
	assert_int_equal(load_as(&lists, NULL,
				 ARGS("--configfile", fixture_path, "--word=x", "--none", "y",
				      "--word=--", "--word=")),
			 0);
	assert_items("word", ARGS("x", "--", ""));
	assert_items("none", ARGS("y"));
}

static void a_standard_option_has_items_too(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, ARGS("--bind=tcp::1", "--bind=tcp::2", "--mode=fork")), 0);
	assert_items("bind", ARGS("tcp::1", "tcp::2"));
	assert_items("mode", ARGS("fork"));
	assert_items("depth", NO_ARGS);
	assert_items("unknown", NO_ARGS);
}

static void a_wrong_item_has_its_place(void **state)
{
	static const char text[] = "{word => ['a',\n ['b']], localport => 0}";

	(void)state;
	write_file("lists", text, strlen(text));
	assert_int_equal(load_as(&lists, NULL, ARGS("--configfile", fixture_path)), -EINVAL);
	assert_words("FILE:2:2: word: found a list, expected a text");
}

/* More options than there are standard ones: each list still begins anew on the command line. */
static void many_lists(void **state)
{
	struct netd_option many[102] = {{.name = NULL}};
	const struct netd_service service = NETD_SERVICE(.name = "many", .options = many);
	char names[101][8];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(names[i], sizeof names[i], "x%zu", i);
		many[i] = (struct netd_option){.name = names[i], .type = NETD_OPTION_LIST};
	}
	assert_int_equal(load_as(&service, NULL, ARGS("--x100=a", "--localport=0", "--x100=b")), 0);
	assert_items("x100", ARGS("a", "b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_section_wins_over_the_top),
	    cmocka_unit_test(the_command_line_wins_over_both),
	    cmocka_unit_test(the_author_may_have_chosen_the_section),
	    cmocka_unit_test(only_the_section_wanted_is_looked_into),
	    cmocka_unit_test(help_needs_no_section),
	    cmocka_unit_test(mistakes_have_their_place),
	    cmocka_unit_test(a_file_of_services_is_none_of_a_single_one),
	    cmocka_unit_test(too_many_names_are_cut),
	    cmocka_unit_test(what_a_program_asks),
	    cmocka_unit_test(a_bad_file_has_words_and_no_services),
	    cmocka_unit_test(rule23_a_file_that_others_can_write),
	    cmocka_unit_test(memory_runs_out_anywhere),
	    cmocka_unit_test(a_list_of_the_service_comes_from_all_sources),
	    cmocka_unit_test(a_standard_option_has_items_too),
	    cmocka_unit_test(a_wrong_item_has_its_place),
	    cmocka_unit_test(many_lists),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
