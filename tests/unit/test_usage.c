/* test_usage.c - the option table as text for people: --help, --version, the manual page. */
#include "conf_fixture.h"

#define TEXT_MAX 65536

static struct buf text;

static int set_up(void **state)
{
	(void)state;
	buf_init(&text, TEXT_MAX);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	buf_finish(&text);
	conf_finish(&got);
	return 0;
}

/* As --help shows it in a program that sets these defaults. */
static int usage_of(struct buf *out, const struct netd_service *service,
		    const struct netd_config *config)
{
	int rc = load_as(service, config, ARGS("--help", "--childs=7"));

	return rc < 0 ? rc : conf_usage(out, service, &got);
}

static int usage(struct buf *out, const struct netd_service *service)
{
	return usage_of(out, service, NULL);
}

static void assert_has(const char *part)
{
	if (!strstr(buf_text(&text), part))
		fail_msg("lacks: %s\nin: %s", part, buf_text(&text));
}

static void help_begins_with_the_service_and_its_own_options(void **state)
{
	static const char begin[] =
	    "Usage: echo [options]\n"
	    "Echo server\n"
	    "\n"
	    "Options of echo:\n"
	    "  --base BASE             how results are written (dec, hex or oct; default:\n"
	    "                          dec)\n"
	    "  --depth VALUE           levels\n"
	    "  --title VALUE           a headline\n"
	    "  --shout                 in capitals\n"
	    "\n"
	    "Listening:\n"
	    "  --bind ADDRESS          A further address to listen on: ";

	(void)state;
	assert_int_equal(usage(&text, &fixture_service), 0);
	if (strncmp(buf_text(&text), begin, sizeof begin - 1) != 0)
		assert_string_equal(buf_text(&text), begin);
}

static void help_without_summary_and_options(void **state)
{
	static const struct netd_service bare = NETD_SERVICE(.name = "x");

	(void)state;
	assert_int_equal(usage(&text, &bare), 0);
	assert_memory_equal(buf_text(&text), "Usage: x [options]\n\nListening:\n", 31);
	assert_null(strstr(buf_text(&text), "Options of"));
}

static void help_shows_every_option_with_default_and_choices(void **state)
{
	static const char *const parts[] = {
	    "\n  --listen NUMBER         Connections that may wait to be accepted, for each\n"
	    "                          address (default: 1024).\n",
	    "\n  --[no]catchint          ",
	    "(default: on).\n",
	    "  --mode MODE             How connections are served side by side (single, fork,\n"
	    "                          threads or fibers; default: threads, with --childs\n"
	    "                          single).\n",
	    "\n  --compact-after SECONDS\n                          In mode fibers, ",
	    "0 means never (default: 10).\n",
	    "\n  --io NAME               How mode fibers waits",
	    "(auto, io_uring, epoll\n                          or poll; default: auto).\n",
	    "\n  --stall-time SECONDS    In mode fibers, report",
	    "never (default: 0.1).\n",
	    "(tcp or unix; default: tcp, with\n                          --localpath unix).\n",
	    "(default:\n                          all, IPv4 and IPv6).\n",
	    "default: daemon).\n",
	    "(default: 1M, in mode fibers 256K).\n",
	    "(default: 0660).\n",
	    "\n  --drain-timeout SECONDS\n                          How long",
	    "\n  --help                  Show this list of options and exit.\n",
	    "\n  clients                 The list of access rules, in the config file only.",
	    "netdaemon.conf(5) describes it.\n",
	};

	(void)state;
	assert_int_equal(usage(&text, &fixture_service), 0);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		assert_has(parts[i]);
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *option = &conf_options[i];
		char label[100];

		snprintf(label, sizeof label, "\n  %s%s%s%s", option->kind == CONF_TREE ? "" : "--",
			 strcmp(option->name, "catchint") == 0 ? "[no]" : "", option->name,
			 option->argument ? " " : "");
		assert_has(label);
	}
}

static void help_fits_80_columns(void **state)
{
	(void)state;
	assert_int_equal(usage(&text, &fixture_service), 0);
	for (const char *p = buf_text(&text); *p; p++) {
		size_t length = strcspn(p, "\n");

		if (length > 80)
			fail_msg("%zu columns: %.*s", length, (int)length, p);
		if (length && p[length - 1] == ' ')
			fail_msg("blank at the end: %.*s", (int)length, p);
		p += length;
	}
}

static void help_groups_come_in_order(void **state)
{
	static const char *const titles[] = {"Options of echo", "Listening",  "Access",
					     "Concurrency",     "Privileges", "Logging",
					     "Life cycle",      "Information"};
	const char *last;

	(void)state;
	assert_int_equal(usage(&text, &fixture_service), 0);
	last = buf_text(&text);
	for (size_t i = 0; i < ARRAY_LEN(titles); i++) {
		char line[40];

		snprintf(line, sizeof line, "\n%s:\n", titles[i]);
		last = strstr(last, line);
		if (!last)
			fail_msg("%s is missing or out of order", titles[i]);
	}
}

static void help_takes_long_words_and_bad_services(void **state)
{
	char words[5000];
	struct netd_option options[] = {
	    {.name = "long", .type = NETD_OPTION_STRING, .argument = words, .help = "x"},
	    {.name = "void", .type = NETD_OPTION_FLAG, .help = NULL},
	    {.name = NULL},
	};
	struct netd_service service = NETD_SERVICE(.name = "x", .options = options);

	(void)state;
	memset(words, 'a', sizeof words - 1);
	words[sizeof words - 1] = '\0';
	assert_int_equal(usage(&text, &service), 0);
	assert_has("aaaa\n                          x\n");
	options[0].argument = NULL;
	options[0].help = words;
	assert_int_equal(usage(&text, &service), 0);
	options[0].name = "mode";
	assert_int_equal(usage(&text, &service), -EINVAL);
}

/* The text without its line breaks. */
static void unwrap(void)
{
	size_t used = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.data[i] == '\n' ? ' ' : text.data[i];

		if (c != ' ' || used == 0 || text.data[used - 1] != ' ')
			text.data[used++] = c;
	}
	text.data[used] = '\0';
	text.len = used;
}

static void help_shows_the_defaults_that_the_program_sets(void **state)
{
	static const char *const addresses[] = {"tcp:127.0.0.1:1", "unix:/run/x", NULL};
	static const char *const parts[] = {
	    "threads or fibers; default: fibers). ",
	    "handed down (default: 7777). ",
	    " --[no]catchint Go on with",
	    "EINTR (default: off). ",
	    " --[no]debug Log messages of level debug too (default: on). ",
	    "told to stop (default: 0.5). ",
	    "for each address (default: 1024). ",
	    "several times (default: tcp:127.0.0.1:1 unix:/run/x). ",
	    "with K, M or G (default: 65536). ",
	    "0 means no limit (default: 50/s). ",
	    "may connect (default: [{'accept' => '1'}]). ",
	    "With 0 the server accepts them itself (default: 0). ",
	};

	(void)state;
	assert_int_equal(
	    usage_of(&text, &fixture_service,
		     NETD_CONFIG(.mode = "fibers", .localport = "7777", .catchint = -1, .debug = 1,
				 .drain_timeout = 0.5, .bind = addresses, .stack_size = 65536,
				 .accept_rate = "180000/h", .clients = "[{accept => 1}]")),
	    0);
	unwrap();
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		assert_has(parts[i]);
}

static void help_is_there_when_an_attribute_is_wrong(void **state)
{
	(void)state;
	assert_int_equal(usage_of(&text, &fixture_service,
				  NETD_CONFIG(.listen = 5, .mode = "nonsense", .pidfile = "/x")),
			 0);
	unwrap();
	assert_has("for each address (default: 5). ");
	assert_has("default: threads, with --childs single). ");
}

static void version_names_service_and_library(void **state)
{
	static const struct netd_service bare = NETD_SERVICE(.name = "x");

	(void)state;
	assert_int_equal(conf_version(&text, &fixture_service), 0);
	assert_int_equal(conf_version(&text, &bare), 0);
	assert_string_equal(buf_text(&text), "echo 1.2 (netdaemon " NETD_VERSION ")\n"
					     "x (netdaemon " NETD_VERSION ")\n");
}

static void a_full_buffer_is_reported(void **state)
{
	struct buf small;

	(void)state;
	buf_init(&small, 2000);
	assert_int_equal(usage(&small, &fixture_service), -EMSGSIZE);
	buf_finish(&small);
	buf_init(&small, 2000);
	assert_int_equal(conf_mdoc(&small), -EMSGSIZE);
	buf_finish(&small);
	buf_init(&small, 5);
	assert_int_equal(conf_version(&small, &fixture_service), -EMSGSIZE);
	buf_finish(&small);
}

static void the_manual_page_has_every_option(void **state)
{
	(void)state;
	assert_int_equal(conf_mdoc(&text), 0);
	assert_memory_equal(buf_text(&text),
			    ".Sh OPTIONS\n.Ss Listening\n.Bl -tag -width Ds\n.It Fl -bind Ar "
			    "ADDRESS\nA further address",
			    80);
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *option = &conf_options[i];
		char item[200];

		if (option->kind == CONF_TREE)
			snprintf(item, sizeof item, "\n.It Cm %s\n", option->name);
		else if (strcmp(option->name, "catchint") == 0)
			snprintf(item, sizeof item, "\n.It Fl -catchint , Fl -nocatchint\n");
		else if (option->kind == CONF_FLAG)
			snprintf(item, sizeof item, "\n.It Fl -%s\n", option->name);
		else
			snprintf(item, sizeof item, "\n.It Fl -%s Ar %s\n", option->name,
				 option->argument);
		assert_has(item);
	}
	assert_has("implies \\-\\-proto unix.\n");
	assert_has("\n.El\n.Ss Information\n");
}

/* A line that begins with a dot is a macro of ours; no others, and no line over 80. */
static void the_manual_page_is_plain_mdoc(void **state)
{
	static const char *const macros[] = {".Sh ", ".Ss ", ".Bl ", ".El\n", ".It "};

	(void)state;
	assert_int_equal(conf_mdoc(&text), 0);
	for (const char *p = buf_text(&text); *p; p++) {
		size_t length = strcspn(p, "\n");
		bool known = *p != '.' && *p != '\'';

		for (size_t i = 0; i < ARRAY_LEN(macros); i++)
			known = known || strncmp(p, macros[i], 4) == 0;
		if (!known || length > 80 || !length)
			fail_msg("line: %.*s", (int)length, p);
		if (*p != '.' && strstr(p, ". ") && strstr(p, ". ") < p + length)
			fail_msg("two sentences: %.*s", (int)length, p);
		p += length;
	}
}

#define WITH_TEXT(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_TEXT(help_begins_with_the_service_and_its_own_options),
	    WITH_TEXT(help_without_summary_and_options),
	    WITH_TEXT(help_shows_every_option_with_default_and_choices),
	    WITH_TEXT(help_fits_80_columns),
	    WITH_TEXT(help_groups_come_in_order),
	    WITH_TEXT(help_takes_long_words_and_bad_services),
	    WITH_TEXT(help_shows_the_defaults_that_the_program_sets),
	    WITH_TEXT(help_is_there_when_an_attribute_is_wrong),
	    WITH_TEXT(version_names_service_and_library),
	    WITH_TEXT(a_full_buffer_is_reported),
	    WITH_TEXT(the_manual_page_has_every_option),
	    WITH_TEXT(the_manual_page_is_plain_mdoc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
