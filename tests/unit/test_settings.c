/*
 * test_settings.c - the option table against the headers, and the sources against each other:
 * attributes, config file, command line, and what follows from several options together.
 */
#include "conf_fixture.h"

/* ------------------------------------------------------------------------------------- the table
 */

static void every_row_is_complete_and_in_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *option = &conf_options[i];
		size_t length = strlen(option->help);

		assert_true(length > 10 && option->help[length - 1] == '.');
		assert_true(option->offset > 0 || i == 0); /* the first field of all */
		assert_true(option->group > CONF_OWN && option->group < CONF_GROUPS);
		assert_true((option->kind == CONF_FLAG || option->kind == CONF_TREE) ==
			    (option->argument == NULL));
		assert_true((option->kind == CONF_CHOICE) == (option->choices != NULL));
		if (option->kind == CONF_NUMBER || option->kind == CONF_SIZE ||
		    option->kind == CONF_MODE || option->kind == CONF_SECONDS ||
		    option->kind == CONF_RATE) {
			assert_true(option->max > option->min);
			/* An attribute of 0 says "default": from_double() looks at it. */
			assert_true(option->value || (option->otherwise && option->min > 0));
		}
		if (i)
			assert_true(strcmp(conf_options[i - 1].name, option->name) < 0);
	}
}

/* The field of a line of a struct, "	const char *user; ..." gives "user"; "" for no field, as in
 * a comment's second line. */
static void field_of(const char *line, char *out, size_t room)
{
	const char *end = strchr(line, ';'), *begin = end;

	*out = '\0';
	if (line[0] != '\t' || !end || line[strspn(line, " \t")] == '*')
		return;
	while (begin > line && strchr("abcdefghijklmnopqrstuvwxyz0123456789_", begin[-1]) != NULL)
		begin--;
	snprintf(out, room, "%.*s", (int)(end - begin), begin);
	for (; *out; out++)
		if (*out == '_')
			*out = '-';
}

static void every_attribute_of_the_public_header_is_in_the_table(void **state)
{
	const char *root = getenv("SOURCE_ROOT");
	size_t fields = 0, attributes = 0, index;
	char path[4096], line[512], name[64];
	bool inside = false;
	FILE *file;

	(void)state;
	snprintf(path, sizeof path, "%s/include/netdaemon.h", root ? root : ".");
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof line, file)) {
		if (strncmp(line, "struct netd_config {", 20) == 0)
			inside = true;
		else if (line[0] == '}')
			inside = false;
		field_of(line, name, sizeof name);
		if (!inside || !*name || strcmp(name, "size") == 0)
			continue;
		fields++;
		if (conf_find_key(NULL, name, &index) < 0)
			fail_msg("attribute %s is not in the table", name);
		if (!conf_options[index].attribute)
			fail_msg("option %s does not know its attribute", name);
	}
	fclose(file);
	for (size_t i = 0; i < conf_option_count; i++)
		attributes += conf_options[i].attribute != 0;
	assert_true(fields > 20);
	assert_int_equal(fields, attributes);
}

/* ---------------------------------------------------------------------------------- the three ways
 */

/* Every option with an attribute, told three different things; NULL: not possible there. */
static const struct {
	const char *name, *attribute, *file, *line;
} told[] = {
    {"accept-burst", "7", "8", "1000000"},
    {"accept-rate", "50/s", "90/m", "7/h"},
    {"allow", "10.0.0.0/8 unix", "192.0.2.7 all", "uid=0"},
    {"bind", "tcp::1 tcp::2", "tcp::3 tcp::4", "tcp::5"},
    {"catchint", "0", "1", "0"},
    {"childs", "2", "3", "4"},
    {"chroot", "/", "/tmp", "/usr"},
    {"clients", "[{'mask' => 'a'}]", "[{'mask' => 'b'}, {'net' => 'c'}]", NULL},
    {"compact-after", "1.5", "0", "31536000"},
    {"configfile", NULL, NULL, NULL}, /* see configfile_... */
    {"coredump", "1", "0", "1"},
    {"debug", "1", "0", "1"},
    {"deny", "gid=5 all", "::1", "10.0.0.1"},
    {"drain-timeout", "1.5", "0", "2.25"},
    {"facility", "mail", "local0", "local7"},
    {"first-byte-timeout", "2.5", "0", "1"},
    {"group", "g1", "4294967295", "-1"},
    {"idle-timeout", "60", "0.001", "0"},
    {"io", "poll", "epoll", "io_uring"},
    {"listen", "11", "12", "13"},
    {"localaddr", "127.0.0.1", "::1", "localhost"},
    {"localmode", "0600", "0666", "0000"},
    {"localowner", "o1", "o2:g2", ":g3"},
    {"localpath", "/run/1", "run/2", "/run/3"},
    {"localport", "1", "65535", "0"},
    {"logfile", "STDERR", "/tmp/log", "log"},
    {"loop-child", "1", "0", "1"},
    {"loop-timeout", "0.5", "300", "0"},
    {"max-connections", "100", "10000000", "0"},
    {"max-per-address", "3", "10000000", "0"},
    {"max-per-prefix", "4", "0", "10000000"},
    {"mode", "single", "fork", "threads"},
    {"notify-fd", "3", "1000000", "4"},
    {"pidfile", "/run/a.pid", NULL, "b.pid"}, /* the file says none */
    {"prefix-ipv4", "8", "32", "22"},
    {"prefix-ipv6", "16", "128", "56"},
    {"print-address", "1", "0", "1"},
    {"proto", "unix", "unix", "unix"},
    {"rate-burst", "1", "2", "1000000"},
    {"rate-per-address", "30/m", "1/h", "1000000/s"},
    {"rules", "/etc/r1", "r2", "/r3"},
    {"section", NULL, NULL, NULL}, /* needs a file with services */
    {"stack-size", "65536", "131072", "1073741824"},
    {"stall-time", "2", "0.25", "0"},
    {"timeout", "1", "31536000", "0.001"},
    {"total-timeout", "0.25", "3600", "0"},
    {"user", "u1", "0day", "0"},
};

static const char *const attribute_allow[] = {"10.0.0.0/8", "unix", NULL};
static const char *const attribute_bind[] = {"tcp::1", "tcp::2", NULL};
static const char *const attribute_deny[] = {"gid=5", "all", NULL};

static const struct netd_config all_attributes = {
    .size = sizeof all_attributes,
    .accept_burst = 7,
    .accept_rate = "50/s",
    .allow = attribute_allow,
    .catchint = -1,
    .childs = 2,
    .chroot = "/",
    .clients = "[{mask => 'a'}]",
    .compact_after = 1.5,
    .coredump = 1,
    .debug = 1,
    .deny = attribute_deny,
    .drain_timeout = 1.5,
    .facility = "mail",
    .first_byte_timeout = 2.5,
    .group = "g1",
    .idle_timeout = 60,
    .io = "poll",
    .listen = 11,
    .bind = attribute_bind,
    .localaddr = "127.0.0.1",
    .localmode = "0600",
    .localowner = "o1",
    .localpath = "/run/1",
    .localport = "1",
    .logfile = "STDERR",
    .loop_child = 1,
    .loop_timeout = 0.5,
    .max_connections = 100,
    .max_per_address = 3,
    .max_per_prefix = 4,
    .mode = "single",
    .notify_fd = 3,
    .pidfile = "/run/a.pid",
    .prefix_ipv4 = 8,
    .prefix_ipv6 = 16,
    .print_address = 1,
    .proto = "unix",
    .rate_burst = 1,
    .rate_per_address = "30/m",
    .rules = "/etc/r1",
    .stack_size = 65536,
    .stall_time = 2,
    .timeout = 1,
    .total_timeout = 0.25,
    .user = "u1",
};

static const char all_keys[] =
    "{ accept_burst => 8, 'accept-rate' => '5400/h', allow => ['192.0.2.7', 'all'],\n"
    "  bind => ['tcp::3', 'tcp::4'], catchint => 'true', childs => 3,\n"
    "  chroot => '/tmp', clients => [{mask => 'b'}, {net => 'c'}],\n"
    "  compact_after => 0, coredump => 0, debug => 'off', deny => '::1',\n"
    "  drain_timeout => 0, facility => 'local0', 'first-byte-timeout' => 0,\n"
    "  group => '4294967295', idle_timeout => '0.001', io => 'epoll', listen => 12,\n"
    "  localaddr => '::1', localmode => '666', localowner => 'o2:g2',\n"
    "  localpath => 'run/2', localport => 65535, logfile => '/tmp/log',\n"
    "  loop_child => 'no', 'loop-timeout' => 300,\n"
    "  'max-connections' => 10000000, max_per_address => 10000000,\n"
    "  'max-per-prefix' => 0, mode => 'fork', notify_fd => 1000000,\n"
    "  pidfile => 'none', prefix_ipv4 => 32, 'prefix-ipv6' => 128, print_address => 0,\n"
    "  rate_burst => 2, rate_per_address => '1/h', rules => 'r2', total_timeout => 3600,\n"
    "  proto => 'unix', stack_size => '128k',\n"
    "  'stall-time' => '0.25', timeout => 31536000, user => '0day' }\n";

static void assert_value(const char *name, const char *value, const char *where)
{
	const char *text = conf_get(&got, name);

	if (value && text)
		assert_string_equal(text, value);
	else if (value || text)
		fail_msg("%s: %s instead of %s", name, text ? text : "nothing",
			 value ? value : "nothing");
	if (where && strncmp(conf_where(&got, name), where, strlen(where)) != 0)
		fail_msg("%s: set by %s instead of %s", name, conf_where(&got, name), where);
}

static void every_option_is_in_the_trial(void **state)
{
	size_t with_attribute = 0;

	(void)state;
	for (size_t i = 0; i < conf_option_count; i++)
		with_attribute += conf_options[i].attribute != 0;
	assert_int_equal(with_attribute, ARRAY_LEN(told));
}

static void attributes_set_every_option(void **state)
{
	char where[64];

	(void)state;
	assert_int_equal(load(&all_attributes, NO_ARGS), 0);
	for (size_t i = 0; i < ARRAY_LEN(told); i++) {
		snprintf(where, sizeof where, "attribute %s", told[i].name);
		assert_value(told[i].name, told[i].attribute,
			     told[i].attribute ? where : "default");
	}
	assert_int_equal(got.childs, 2);
	assert_int_equal(got.drain_timeout, 1500);
	assert_int_equal(got.compact_after, 1500);
	assert_int_equal(got.stall_time, 2000);
	assert_int_equal(got.localmode, 0600);
	assert_int_equal(got.stack_size, 65536);
	assert_false(got.catchint);
	assert_int_equal(got.clients->count, 1);
}

static void the_file_wins_over_attributes(void **state)
{
	char where[160];

	(void)state;
	write_file("all", all_keys, sizeof all_keys - 1);
	assert_int_equal(load(&all_attributes, ARGS("--configfile", fixture_path)), 0);
	snprintf(where, sizeof where, "%s:", fixture_path);
	for (size_t i = 0; i < ARRAY_LEN(told); i++)
		if (told[i].attribute) /* configfile and section stand in no file */
			assert_value(told[i].name, told[i].file, where);
	snprintf(where, sizeof where, "%s:3:13", fixture_path);
	assert_string_equal(conf_where(&got, "chroot"), where);
	assert_null(got.pidfile);
	assert_int_equal(got.drain_timeout, 0);
}

static void the_command_line_wins_over_all(void **state)
{
	char words[ARRAY_LEN(told)][64];
	const char *args[ARRAY_LEN(told) + 3] = {NULL};
	size_t count = 0;

	(void)state;
	write_file("all", all_keys, sizeof all_keys - 1);
	for (size_t i = 0; i < ARRAY_LEN(told); i++) {
		const char *value = told[i].line;
		size_t index = 0;

		assert_int_equal(conf_find_key(NULL, told[i].name, &index), 0);
		if (!value)
			continue;
		if (conf_options[index].kind == CONF_FLAG)
			snprintf(words[count], sizeof words[0], "--%s%s", *value == '1' ? "" : "no",
				 told[i].name);
		else
			snprintf(words[count], sizeof words[0], "--%s=%s", told[i].name, value);
		args[count] = words[count];
		count++;
	}
	args[count++] = "--configfile";
	args[count++] = fixture_path;
	assert_int_equal(load(&all_attributes, args), 0);
	for (size_t i = 0; i < ARRAY_LEN(told); i++)
		if (told[i].line)
			assert_value(told[i].name, told[i].line, "--");
	assert_string_equal(conf_where(&got, "mode"), "--mode");
	assert_string_equal(conf_where(&got, "loop_child"), "--loop-child");
	assert_value("configfile", fixture_path, "--configfile");
}

static void defaults_hold_when_nobody_says_anything(void **state)
{
	static const char *const unset[] = {
	    "allow",      "bind",       "chroot",    "clients", "configfile", "deny",  "group",
	    "localaddr",  "localowner", "localpath", "logfile", "pidfile",    "rules", "section",
	    "completion", "user",       "explain",   "depth",   "title"};

	(void)state;
	assert_int_equal(load(NETD_CONFIG(.localport = "0"), NO_ARGS), 0);
	for (size_t i = 0; i < ARRAY_LEN(unset); i++)
		assert_value(unset[i], NULL, "default");
	assert_true(got.catchint);
	assert_false(got.coredump || got.debug || got.loop_child || got.help || got.check);
	assert_int_equal(got.drain_timeout, 30000);
	assert_int_equal(got.localmode, 0660);
	assert_int_equal(got.listen, 1024);
	assert_int_equal(got.stack_size, 1 << 20);
	assert_int_equal(got.compact_after, 10000);
	assert_int_equal(got.stall_time, 100);
	assert_string_equal(got.io, "auto");
	assert_int_equal(got.childs + got.loop_timeout + got.max_connections + got.timeout, 0);
	assert_int_equal(got.max_per_address + got.max_per_prefix + got.rate_per_address +
			     got.accept_rate + got.rate_burst + got.accept_burst + got.notify_fd,
			 0);
	assert_int_equal(got.first_byte_timeout + got.idle_timeout + got.total_timeout, 0);
	assert_int_equal(got.prefix_ipv4, 24);
	assert_int_equal(got.prefix_ipv6, 64);
	assert_false(got.print_address);
	assert_string_equal(got.facility, "daemon");
	assert_string_equal(got.mode, "threads");
	assert_string_equal(got.proto, "tcp");
	assert_value("base", "dec", "default");
	assert_value("shout", "0", "default");
	assert_null(conf_get(&got, "zebra"));
	assert_string_equal(conf_where(&got, "zebra"), "default");
}

/* ------------------------------------------------------------------------ several options together
 */

static void mode_is_single_with_childs_unless_somebody_chose(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, ARGS("--localport=0", "--childs=2")), 0);
	assert_string_equal(got.mode, "single");
	assert_int_equal(load(NETD_CONFIG(.mode = "ithreads"), ARGS("--localport=0", "--childs=2")),
			 0);
	assert_string_equal(got.mode, "threads");
	assert_int_equal(load(NULL, ARGS("--localport=0", "--childs=0")), 0);
	assert_string_equal(got.mode, "threads");
}

static void the_stack_is_smaller_in_fibers_unless_somebody_chose(void **state)
{
	static const struct {
		const char *mode, *said, *text;
	} cases[] = {
	    {"--mode=fibers", NULL, "262144"},
	    {"--mode=threads", NULL, "1048576"},
	    {"--mode=single", NULL, "1048576"},
	    {"--mode=fork", NULL, "1048576"},
	    {"--mode=fibers", "--stack-size=1M", "1048576"},
	    {"--mode=fork", "--stack-size=256K", "262144"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(load(NULL, ARGS("--localport=0", cases[i].mode, cases[i].said)),
				 0);
		assert_value("stack-size", cases[i].text, cases[i].said ? "--" : "default");
	}
	assert_int_equal(
	    load(NETD_CONFIG(.mode = "fibers", .stack_size = 65536), ARGS("--localport=0")), 0);
	assert_int_equal(got.stack_size, 65536);
	assert_int_equal(load_file("fibers", "{mode => 'fibers'}"), 0);
	assert_int_equal(got.stack_size, 256 << 10);
}

static void proto_follows_localpath_and_must_not_contradict_it(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, ARGS("--localpath=/x")), 0);
	assert_string_equal(got.proto, "unix");
	assert_int_equal(load(NULL, ARGS("--localpath=/x", "--proto=unix", "--localport=1")), 0);
	assert_int_equal(load(NULL, ARGS("--localport=1", "--proto=tcp")), 0);
	assert_int_equal(load(NETD_CONFIG(.proto = "tcp"), ARGS("--localpath=/x")), -EINVAL);
	assert_words("attribute proto: found 'tcp' together with localpath (--localpath), "
		     "expected unix");
	assert_int_equal(load(NULL, ARGS("--proto=unix", "--localport=1")), -EINVAL);
	assert_words("--proto: found 'unix' without a path, expected --localpath PATH too");
	assert_int_equal(load_file("proto", "{proto => 'unix'}"), -EINVAL);
	assert_words(
	    "FILE:1:11: proto: found 'unix' without a path, expected --localpath PATH too");
}

static void help_and_version_need_nothing_but_the_command_line(void **state)
{
	const struct netd_config *config =
	    NETD_CONFIG(.mode = "nonsense", .configfile = "/nonexistent/x");

	(void)state;
	assert_int_equal(load(config, ARGS("--help")), 0);
	assert_true(got.help);
	assert_string_equal(got.mode, "threads");
	assert_int_equal(load(config, ARGS("--version", "--configfile=/nonexistent/y")), 0);
	assert_true(got.version);
	assert_int_equal(load(config, ARGS("--help", "--zebra")), -EINVAL);
	assert_int_equal(load(config, ARGS("--help", "--nohelp")), -EINVAL);
	assert_words("attribute mode: found 'nonsense', expected single, fork, threads or fibers");
}

static void pidfile_none_takes_an_attribute_back(void **state)
{
	(void)state;
	assert_int_equal(load(&all_attributes, ARGS("--pidfile=none")), 0);
	assert_null(got.pidfile);
	assert_null(conf_get(&got, "pidfile"));
	assert_string_equal(conf_where(&got, "pidfile"), "--pidfile");
}

static void rule03_chroot_must_be_an_absolute_directory(void **state)
{
	(void)state;
	assert_int_equal(load(NULL, ARGS("--localport=0", "--chroot=tmp")), -EINVAL);
	assert_words("--chroot: found 'tmp', expected an absolute path");
	assert_int_equal(load(NULL, ARGS("--localport=0", "--chroot=/nonexistent")), -ENOENT);
	assert_words("--chroot: found '/nonexistent', expected a directory: "
		     "No such file or directory");
	assert_int_equal(load(NETD_CONFIG(.chroot = "/etc/passwd"), ARGS("--localport=0")),
			 -ENOTDIR);
	assert_words("attribute chroot: found '/etc/passwd', expected a directory");
	assert_int_equal(load_file("chroot", "\n{chroot =>\n '.'}"), -EINVAL);
	assert_words("FILE:3:2: chroot: found '.', expected an absolute path");
	/* Only the value that counts has to be there. */
	assert_int_equal(
	    load(NETD_CONFIG(.chroot = "/nonexistent"), ARGS("--localport=0", "--chroot=/")), 0);
}

static void settings_are_described_one_per_line(void **state)
{
	struct buf out;
	size_t lines = 0;

	(void)state;
	buf_init(&out, 65536);
	assert_int_equal(load(NETD_CONFIG(.childs = 3),
			      ARGS("--check", "--localport=0", "--title=a\nmode: forged")),
			 0);
	assert_int_equal(conf_describe(&out, &got), 0);
	assert_non_null(strstr(buf_text(&out), "childs: 3 (attribute childs)\n"));
	assert_non_null(strstr(buf_text(&out), "\nlocalport: 0 (--localport)\n"));
	assert_non_null(strstr(buf_text(&out), "\nmode: single (default)\n"));
	assert_non_null(strstr(buf_text(&out), "\ncompact-after: 10 (default)\n"));
	assert_non_null(strstr(buf_text(&out), "\nio: auto (default)\n"));
	assert_non_null(strstr(buf_text(&out), "\nstack-size: 1048576 (default)\n"));
	assert_non_null(strstr(buf_text(&out), "\nstall-time: 0.1 (default)\n"));
	assert_non_null(strstr(buf_text(&out), "\ntitle: a\\x0amode: forged (--title)\n"));
	assert_non_null(strstr(buf_text(&out), "\nuser: none (default)\n"));
	assert_null(strstr(buf_text(&out), "check:"));
	for (const char *p = buf_text(&out); (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, conf_count(got.own) - 5);
	buf_finish(&out);
	buf_init(&out, 10);
	assert_int_equal(conf_describe(&out, &got), -EMSGSIZE);
	buf_finish(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_row_is_complete_and_in_order),
	    cmocka_unit_test(every_attribute_of_the_public_header_is_in_the_table),
	    cmocka_unit_test(every_option_is_in_the_trial),
	    cmocka_unit_test(attributes_set_every_option),
	    cmocka_unit_test(the_file_wins_over_attributes),
	    cmocka_unit_test(the_command_line_wins_over_all),
	    cmocka_unit_test(defaults_hold_when_nobody_says_anything),
	    cmocka_unit_test(mode_is_single_with_childs_unless_somebody_chose),
	    cmocka_unit_test(the_stack_is_smaller_in_fibers_unless_somebody_chose),
	    cmocka_unit_test(proto_follows_localpath_and_must_not_contradict_it),
	    cmocka_unit_test(help_and_version_need_nothing_but_the_command_line),
	    cmocka_unit_test(pidfile_none_takes_an_attribute_back),
	    cmocka_unit_test(rule03_chroot_must_be_an_absolute_directory),
	    cmocka_unit_test(settings_are_described_one_per_line),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
