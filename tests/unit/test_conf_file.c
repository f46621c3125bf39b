/*
 * test_conf_file.c - the config file: what is trusted (security rule 23), which keys mean what, the
 * client rules, and files that mean harm. The syntaxes themselves have their own tests.
 */
#include "conf_fixture.h"

#include <sys/socket.h>
#include <sys/un.h>

/* --------------------------------------------------------------------------------- rule 23: trust
 */

static int read_it(const char *path)
{
	struct buf buf;
	int rc;

	buf_init(&buf, 0);
	got_err = (struct err){.code = 0};
	rc = conf_read_file(&buf, path, &got_err);
	buf_finish(&buf);
	return rc;
}

/* got_err is format with the file's path for each %s. */
static void assert_path_words(const char *before, const char *after)
{
	char words[1024];

	snprintf(words, sizeof words, "%s%s%s%s", fixture_path, before, after ? fixture_path : "",
		 after ? after : "");
	assert_string_equal(got_err.text, words);
}

static void rule23_a_file_of_ours_is_read_whole(void **state)
{
	struct buf buf;

	(void)state;
	write_file("plain", "a\0b\n", 4);
	assert_int_equal(conf_read_file(&buf, fixture_path, NULL), 0);
	assert_int_equal(buf.len, 4);
	assert_memory_equal(buf.data, "a\0b\n", 5);
	buf_finish(&buf);
	write_file("empty", "", 0);
	assert_int_equal(conf_read_file(&buf, fixture_path, NULL), 0);
	assert_int_equal(buf.len, 0);
	buf_finish(&buf);
}

static void rule23_what_others_can_write_is_refused(void **state)
{
	static const struct {
		mode_t mode;
		const char *words;
	} cases[] = {
	    {0620, ": found mode 0620, expected a file that neither group nor others can "
		   "write: run chmod go-w "},
	    {0602, ": found mode 0602, expected a file that neither group nor others can "
		   "write: run chmod go-w "},
	    {0666, ": found mode 0666, expected a file that neither group nor others can "
		   "write: run chmod go-w "},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		write_file("open", "{debug => 1}", 12);
		assert_int_equal(chmod(fixture_path, cases[i].mode), 0);
		assert_int_equal(read_it(fixture_path), -EACCES);
		assert_path_words(cases[i].words, "");
		assert_int_equal(load(NULL, ARGS("--localport=0", "--configfile", fixture_path)),
				 -EACCES);
		assert_path_words(cases[i].words, "");
		assert_false(got.debug);
	}
	assert_int_equal(chmod(fixture_path, 0644), 0);
	assert_int_equal(read_it(fixture_path), 0);
}

static void rule23_the_owner_must_be_root_or_us(void **state)
{
	const uid_t us = 1234, stranger = 4321;

	(void)state;
	if (geteuid() != 0)
		skip(); /* only root can give files away */
	write_file("owner", "", 0);
	assert_int_equal(chown(fixture_path, stranger, (gid_t)-1), 0);
	assert_int_equal(read_it(fixture_path), -EACCES);
	assert_path_words(": found owner 4321, expected root or the user that starts the server "
			  "(0): run chown root ",
			  "");
	assert_int_equal(chmod(fixture_path, 0644), 0);
	assert_int_equal(seteuid(us), 0);
	assert_int_equal(read_it(fixture_path), -EACCES);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(chown(fixture_path, us, (gid_t)-1), 0);
	assert_int_equal(seteuid(us), 0);
	assert_int_equal(read_it(fixture_path), 0);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(chown(fixture_path, 0, (gid_t)-1), 0);
	assert_int_equal(seteuid(us), 0);
	assert_int_equal(read_it(fixture_path), 0);
	assert_int_equal(seteuid(0), 0);
}

static void rule23_only_regular_files(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	(void)state;
	snprintf(fixture_path, sizeof fixture_path, "%s/fifo", fixture_dir);
	assert_int_equal(mkfifo(fixture_path, 0600), 0);
	assert_int_equal(read_it(fixture_path), -EINVAL); /* and does not wait for a writer */
	assert_path_words(": found a FIFO, expected a regular file", NULL);

	snprintf(fixture_path, sizeof fixture_path, "%s", fixture_dir);
	assert_int_equal(read_it(fixture_path), -EINVAL);
	assert_path_words(": found a directory, expected a regular file", NULL);

	snprintf(fixture_path, sizeof fixture_path, "/dev/null");
	assert_int_equal(read_it(fixture_path), -EINVAL);
	assert_path_words(": found a device, expected a regular file", NULL);

	snprintf(fixture_path, sizeof fixture_path, "%s/s", fixture_dir);
	snprintf(address.sun_path, sizeof address.sun_path, "%.100s", fixture_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(read_it(fixture_path), -ENXIO);
	close(fd);
}

static void rule23_a_link_is_judged_by_the_file_behind_it(void **state)
{
	char link[140];

	(void)state;
	write_file("target", "", 0);
	snprintf(link, sizeof link, "%s/link", fixture_dir);
	assert_int_equal(symlink(fixture_path, link), 0);
	assert_int_equal(read_it(link), 0);
	assert_int_equal(chmod(fixture_path, 0622), 0);
	assert_int_equal(read_it(link), -EACCES);
	assert_int_equal(unlink(fixture_path), 0);
	assert_int_equal(read_it(link), -ENOENT);
}

static void rule23_size_is_limited(void **state)
{
	(void)state;
	write_file("big", "", 0);
	assert_int_equal(truncate(fixture_path, VALUE_FILE_MAX), 0);
	assert_int_equal(read_it(fixture_path), 0);
	assert_int_equal(truncate(fixture_path, VALUE_FILE_MAX + 1), 0);
	assert_int_equal(read_it(fixture_path), -EFBIG);
	assert_path_words(": found 4194305 bytes, expected at most 4194304", NULL);
}

static void a_missing_file_is_named(void **state)
{
	char path[2100], words[400];

	(void)state;
	assert_int_equal(load(NULL, ARGS("--configfile=/nonexistent/x", "--localport=0")), -ENOENT);
	assert_words("/nonexistent/x: No such file or directory");
	assert_int_equal(load(NETD_CONFIG(.configfile = "/nonexistent/y"), ARGS("--localport=0")),
			 -ENOENT);
	assert_int_equal(load(NULL, ARGS("--configfile=", "--localport=0")), -EINVAL);
	assert_words("--configfile: found '', expected a file name");
	/* The reason must not drown in the path. */
	memset(path, 'x', sizeof path - 1);
	path[0] = '/';
	path[sizeof path - 1] = '\0';
	assert_int_equal(load(NULL, ARGS("--configfile", path, "--localport=0")), -ENAMETOOLONG);
	snprintf(words, sizeof words, "...%s: File name too long", path + sizeof path - 253);
	assert_words(words);
}

/* ------------------------------------------------------------------------------------------- keys
 */

static void the_file_is_named_by_attribute_or_command_line(void **state)
{
	char first[160];

	(void)state;
	write_file("first", "{localport => 1, user => 'first'}", 33);
	snprintf(first, sizeof first, "%s", fixture_path);
	write_file("second", "{localport => 2};", 17);
	assert_int_equal(load(NETD_CONFIG(.configfile = first), NO_ARGS), 0);
	assert_string_equal(got.localport, "1");
	assert_string_equal(got.user, "first");
	assert_string_equal(conf_where(&got, "configfile"), "attribute configfile");
	/* Another file replaces it: it is not read at all. */
	assert_int_equal(load(NETD_CONFIG(.configfile = first), ARGS("--configfile", fixture_path)),
			 0);
	assert_string_equal(got.localport, "2");
	assert_null(got.user);
	assert_string_equal(got.configfile, fixture_path);
}

static void the_ending_chooses_the_syntax(void **state)
{
	static const char *const yaml[] = {"a.yaml", "a.yml", "a.json", "a.YAML", "a.b.Json"};
	static const char *const perl[] = {"a.conf", "a", "yaml", "a.yaml.pl", "a."};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(yaml); i++) {
		int rc = load_file(yaml[i], "debug: true");

		assert_int_equal(rc, READS_YAML ? 0 : -ENOTSUP);
		assert_true(rc < 0 || got.debug);
	}
	for (size_t i = 0; i < ARRAY_LEN(perl); i++) {
		assert_int_equal(load_file(perl[i], "{ debug => 1 }"), 0);
		assert_true(got.debug);
		assert_int_equal(load_file(perl[i], "debug: true"), -EINVAL);
	}
}

static void an_empty_file_says_nothing(void **state)
{
	(void)state;
	assert_int_equal(load_file("empty.conf", ""), 0);
	assert_int_equal(load_file("empty.yaml", ""), 0);
	if (READS_YAML)
		assert_int_equal(load_file("comment.yaml", "# nothing\n"), 0);
	assert_int_equal(load_file("hash.conf", "{}"), 0);
}

static void rule03_what_a_file_must_not_say(void **state)
{
	static const struct {
		const char *name, *text, *words;
	} cases[] = {
	    {"c", "{\n mod => 'fork'}", "FILE:2:2: unknown key 'mod', did you mean 'mode'?"},
	    {"c", "{'Mode' => 'fork'}", "FILE:1:2: unknown key 'Mode', did you mean 'mode'?"},
	    {"c", "{zebra => 1}", "FILE:1:2: unknown key 'zebra'"},
	    {"c", "{'nocatchint' => 1}",
	     "FILE:1:2: unknown key 'nocatchint', did you mean 'catchint'?"},
	    {"c", "{titel => 1}", "FILE:1:2: unknown key 'titel', did you mean 'title'?"},
	    {"c", "{\"a\\n\" => 1}", "FILE:1:2: unknown key 'a\\x0a'"},
	    {"c", "{'' => 1}", "FILE:1:2: unknown key ''"},
	    {"c", "{'help' => 1}", "FILE:1:12: help: belongs on the command line: --help"},
	    {"c", "{check => 1}", "FILE:1:11: check: belongs on the command line: --check"},
	    {"c", "{configfile => 'x'}",
	     "FILE:1:16: configfile: belongs on the command line: --configfile"},
	    {"c", "{explain => 'x'}", "FILE:1:13: explain: belongs on the command line: --explain"},
	    {"c", "{loop_child => 1,\n'loop-child' => 0}", "FILE:2:17: loop-child: given twice"},
	    {"c", "[1]", "FILE:1:1: found a list, expected a map of options"},
	    {"c.yaml", "- 1", "FILE:1:1: found a list, expected a map of options"},
	    {"c", "{user => undef}",
	     "FILE:1:10: user: found nothing (undef), expected a user name or number"},
	    {"c.yaml", "user:\nmode: fork",
	     "FILE:1:6: user: found nothing (undef), expected a user name or number"},
	    {"c", "{user => ['a']}",
	     "FILE:1:10: user: found a list, expected a user name or number"},
	    {"c", "{mode => {}}",
	     "FILE:1:10: mode: found a map, expected single, fork, threads or fibers"},
	    {"c", "{base => []}", "FILE:1:10: base: found a list, expected dec, hex or oct"},
	    {"c", "{bind => {}}",
	     "FILE:1:10: bind: found a map, expected an address, tcp:HOST:PORT or unix:PATH"},
	    {"c", "{bind => ['a', []]}",
	     "FILE:1:16: bind: found a list, expected an address, tcp:HOST:PORT or unix:PATH"},
	    {"c", "{clients => undef}",
	     "FILE:1:13: clients: found nothing (undef), expected a list of rules"},
	    {"c.yaml", "clients:\n# - mask: x\nuser: a",
	     "FILE:1:9: clients: found nothing (undef), expected a list of rules"},
	    {"c", "{clients => 'all'}",
	     "FILE:1:13: clients: found a single value, expected a list of rules"},
	    {"c", "{clients => {mask => 'x'}}",
	     "FILE:1:13: clients: found a map, expected a list of rules"},
	    {"c", "{clients => [{}, 'x']}",
	     "FILE:1:18: clients: found a single value, expected a rule: a map of mask, "
	     "accept ..."},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (!READS_YAML && strstr(cases[i].name, ".yaml"))
			continue;
		assert_int_equal(load_file(cases[i].name, cases[i].text), -EINVAL);
		assert_words(cases[i].words);
	}
}

static void errors_of_the_reader_name_the_file(void **state)
{
	char begin[160];

	(void)state;
	assert_int_equal(load_file("bad", "{\n  mode => system('x')\n}"), -EINVAL);
	snprintf(begin, sizeof begin, "%s:2:11: ", fixture_path);
	assert_memory_equal(got_err.text, begin, strlen(begin));
	assert_int_equal(load_file("bad.yaml", "mode: [fork"), READS_YAML ? -EINVAL : -ENOTSUP);
	snprintf(begin, sizeof begin, "%s:", fixture_path);
	assert_memory_equal(got_err.text, begin, strlen(begin));
}

static void warnings_are_kept_with_their_place(void **state)
{
	char words[200];

	(void)state;
	assert_int_equal(load_file("warn", "{\n mode => 'fork'\n user => 'joe'\n}"), 0);
	assert_int_equal(got.warnings.count, 1);
	snprintf(words, sizeof words, "%s:", fixture_path);
	assert_memory_equal(got.warnings.items[0], words, strlen(words));
	assert_string_equal(got.user, "joe");
}

static void bind_in_a_file_is_one_or_a_list_and_the_line_replaces_it(void **state)
{
	(void)state;
	assert_int_equal(load_file("b", "{bind => 'tcp::9'}"), 0);
	assert_int_equal(got.bind.count, 1);
	assert_int_equal(load_file("b", "{bind => ['tcp::9', 'tcp::8']}"), 0);
	assert_int_equal(got.bind.count, 2);
	assert_int_equal(
	    load(NULL, ARGS("--configfile", fixture_path, "--bind=a", "--bind=b", "--bind=c")), 0);
	assert_string_equal(conf_get(&got, "bind"), "a b c");
	assert_int_equal(load_file("b", "{bind => []}"), 0);
	assert_int_equal(got.bind.count, 0);
}

/* ----------------------------------------------------------------------------------------- clients
 */

static void rule10_client_rules_are_kept_whole(void **state)
{
	const struct value *rule;

	(void)state;
	assert_int_equal(load_file("rules",
				   "{clients => [\n"
				   " {mask => '^10\\.', accept => 1, 'group' => 'it\\'s'},\n"
				   " {mask => ['a', 'b'], zebra => {x => undef}},\n"
				   "]}"),
			 0);
	assert_int_equal(got.clients->count, 2);
	rule = got.clients->items[0];
	assert_string_equal(value_get(rule, "group")->text, "it's");
	assert_int_equal(rule->line, 2);
	assert_non_null(value_get(got.clients->items[1], "zebra"));
	assert_string_equal(conf_get(&got, "clients"),
			    "[{'mask' => '^10\\\\.', 'accept' => '1', 'group' => 'it\\'s'}, "
			    "{'mask' => ['a', 'b'], 'zebra' => {'x' => undef}}]");
}

static void rule10_nobody_and_everybody_are_different(void **state)
{
	(void)state;
	assert_int_equal(load(NETD_CONFIG(.localport = "0"), NO_ARGS), 0);
	assert_null(got.clients);
	assert_int_equal(load(NETD_CONFIG(.localport = "0", .clients = "[]"), NO_ARGS), 0);
	assert_non_null(got.clients);
	assert_int_equal(got.clients->count, 0);
	assert_string_equal(conf_get(&got, "clients"), "[]");
}

static void rule03_wrong_rules_as_attribute(void **state)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
	    {"{mask => 'x'}", "attribute clients: found a map, expected a list of rules"},
	    {"['x']", "attribute clients: found a single value, expected a rule: a map of mask, "
		      "accept ..."},
	    {"", NULL},
	    {"[] , user => 'root'", NULL},
	    {"[{mask => system('x')}]", NULL},
	    {"[{mask => ", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(
		    load(NETD_CONFIG(.localport = "0", .clients = cases[i].text), NO_ARGS),
		    -EINVAL);
		if (cases[i].words)
			assert_words(cases[i].words);
		else
			assert_memory_equal(got_err.text, "attribute clients: 1:", 21);
		assert_null(got.clients);
	}
}

/* ----------------------------------------------------------------------------------------- hostile
 */

static void hostile_many_unknown_and_known_keys(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, VALUE_FILE_MAX);
	buf_adds(&text, "{bind => [");
	for (int i = 0; i < 20000; i++)
		buf_adds(&text, "'tcp::1',");
	buf_adds(&text, "], title => '");
	for (int i = 0; i < 100000; i++)
		buf_adds(&text, "0123456789");
	buf_adds(&text, "'");
	write_file("many", buf_text(&text), text.len);
	assert_int_equal(load(NULL, ARGS("--configfile", fixture_path)), -EINVAL);
	buf_adds(&text, "}");
	write_file("many", buf_text(&text), text.len);
	assert_int_equal(load(NULL, ARGS("--configfile", fixture_path)), 0);
	assert_int_equal(got.bind.count, 20000);
	assert_int_equal(strlen(conf_get(&got, "title")), 1000000);
	buf_finish(&text);
}

static void hostile_bytes_never_crash(void **state)
{
	static const char seed[] = "{mode => 'fork', bind => [1, 2], clients => [{a => 1}]}";
	char text[sizeof seed];

	(void)state;
	for (size_t i = 0; i < sizeof seed - 1; i++) {
		static const char bytes[] = {'\0', '\'', '{', ']', ',', '\xff', '\n'};

		for (size_t j = 0; j < sizeof bytes; j++) {
			memcpy(text, seed, sizeof seed);
			text[i] = bytes[j];
			write_file("bytes", text, sizeof text - 1);
			if (load(NULL, ARGS("--configfile", fixture_path, "--localport=0")) < 0)
				assert_non_null(strstr(got_err.text, "/bytes:"));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rule23_a_file_of_ours_is_read_whole),
	    cmocka_unit_test(rule23_what_others_can_write_is_refused),
	    cmocka_unit_test(rule23_the_owner_must_be_root_or_us),
	    cmocka_unit_test(rule23_only_regular_files),
	    cmocka_unit_test(rule23_a_link_is_judged_by_the_file_behind_it),
	    cmocka_unit_test(rule23_size_is_limited),
	    cmocka_unit_test(a_missing_file_is_named),
	    cmocka_unit_test(the_file_is_named_by_attribute_or_command_line),
	    cmocka_unit_test(the_ending_chooses_the_syntax),
	    cmocka_unit_test(an_empty_file_says_nothing),
	    cmocka_unit_test(rule03_what_a_file_must_not_say),
	    cmocka_unit_test(errors_of_the_reader_name_the_file),
	    cmocka_unit_test(warnings_are_kept_with_their_place),
	    cmocka_unit_test(bind_in_a_file_is_one_or_a_list_and_the_line_replaces_it),
	    cmocka_unit_test(rule10_client_rules_are_kept_whole),
	    cmocka_unit_test(rule10_nobody_and_everybody_are_different),
	    cmocka_unit_test(rule03_wrong_rules_as_attribute),
	    cmocka_unit_test(hostile_many_unknown_and_known_keys),
	    cmocka_unit_test(hostile_bytes_never_crash),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
