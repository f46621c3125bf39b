/*
 * test_conf_values.c - every kind of value with all that is no such value, the exact words each
 * time and from each source; attributes of older and newer programs; the service's own options.
 */
#include "conf_fixture.h"

#include <math.h>
#include <netdb.h>

#define FACILITY_WORDS                                                                             \
	"auth, authpriv, cron, daemon, ftp, kern, lpr, mail, news, syslog, user, uucp, local0, "   \
	"local1, local2, local3, local4, local5, local6 or local7"
#define PORT_WORDS "a port from 0 to 65535 or a service name"
#define MODE_WORDS "octal permissions from 0 to 0777"
#define SIZE_WORDS "a size from 64K to 1G"
#define SECONDS_WORDS "seconds from 0 to 31536000"
#define IO_WORDS "auto, io_uring, epoll or poll"
#define RATE_WORDS "a rate such as 50/s, 600/m or 1000/h, at most 1000000/s, or 0"
#define FLAG_WORDS "true or false"

static const struct {
	const char *name, *text, *expected;
} wrong[] = {
    {"childs", "", "a number from 0 to 1024"},
    {"childs", "-1", "a number from 0 to 1024"},
    {"childs", "1025", "a number from 0 to 1024"},
    {"childs", "4294967296", "a number from 0 to 1024"},
    {"childs", "18446744073709551617", "a number from 0 to 1024"},
    {"childs", "2x", "a number from 0 to 1024"},
    {"childs", "1.5", "a number from 0 to 1024"},
    {"childs", "1e2", "a number from 0 to 1024"},
    {"childs", "0x10", "a number from 0 to 1024"},
    {"childs", "010", "a number from 0 to 1024"},
    {"childs", " 1", "a number from 0 to 1024"},
    {"childs", "+1", "a number from 0 to 1024"},
    {"listen", "0", "a number from 1 to 65535"},
    {"listen", "65536", "a number from 1 to 65535"},
    {"max-connections", "10000001", "a number from 0 to 10000000"},
    {"max-per-address", "-1", "a number from 0 to 10000000"},
    {"max-per-address", "10000001", "a number from 0 to 10000000"},
    {"max-per-prefix", "all", "a number from 0 to 10000000"},
    {"prefix-ipv4", "7", "a number from 8 to 32"},
    {"prefix-ipv4", "33", "a number from 8 to 32"},
    {"prefix-ipv4", "/24", "a number from 8 to 32"},
    {"prefix-ipv6", "15", "a number from 16 to 128"},
    {"prefix-ipv6", "129", "a number from 16 to 128"},
    {"accept-burst", "0", "a number from 1 to 1000000"},
    {"accept-burst", "1000001", "a number from 1 to 1000000"},
    {"rate-burst", "0", "a number from 1 to 1000000"},
    {"rate-burst", "", "a number from 1 to 1000000"},
    {"notify-fd", "2", "a number from 3 to 1000000"},
    {"notify-fd", "1000001", "a number from 3 to 1000000"},
    {"rate-per-address", "", RATE_WORDS},
    {"rate-per-address", "/", RATE_WORDS},
    {"rate-per-address", "/s", RATE_WORDS},
    {"rate-per-address", "5/", RATE_WORDS},
    {"rate-per-address", "5/d", RATE_WORDS},
    {"rate-per-address", "5/S", RATE_WORDS},
    {"rate-per-address", "5/sec", RATE_WORDS},
    {"rate-per-address", "5 /s", RATE_WORDS},
    {"rate-per-address", "5/s/m", RATE_WORDS},
    {"rate-per-address", "0.5/s", RATE_WORDS},
    {"rate-per-address", "-1/s", RATE_WORDS},
    {"rate-per-address", "+1/s", RATE_WORDS},
    {"rate-per-address", "01/s", RATE_WORDS},
    {"rate-per-address", "1000001/s", RATE_WORDS},
    {"rate-per-address", "60000001/m", RATE_WORDS},
    {"rate-per-address", "3600000001/h", RATE_WORDS},
    {"rate-per-address", "1000001", RATE_WORDS},
    {"rate-per-address", "18446744073709551617/h", RATE_WORDS},
    {"rate-per-address", "11111111111111111111111111111111/s", RATE_WORDS},
    {"accept-rate", "many", RATE_WORDS},
    {"accept-rate", "%n%s", RATE_WORDS},
    {"first-byte-timeout", "-1", SECONDS_WORDS},
    {"idle-timeout", "1m", SECONDS_WORDS},
    {"total-timeout", "31536001", SECONDS_WORDS},
    {"rules", "", "a file name"},
    {"drain-timeout", "", SECONDS_WORDS},
    {"drain-timeout", "-1", SECONDS_WORDS},
    {"drain-timeout", "31536001", SECONDS_WORDS},
    {"drain-timeout", "31536000.001", SECONDS_WORDS},
    {"compact-after", "", SECONDS_WORDS},
    {"compact-after", "-1", SECONDS_WORDS},
    {"compact-after", "never", SECONDS_WORDS},
    {"compact-after", "10s", SECONDS_WORDS},
    {"compact-after", "31536001", SECONDS_WORDS},
    {"stall-time", "", SECONDS_WORDS},
    {"stall-time", "-0.1", SECONDS_WORDS},
    {"stall-time", ".1", SECONDS_WORDS},
    {"stall-time", "100ms", SECONDS_WORDS},
    {"stall-time", "31536000.001", SECONDS_WORDS},
    {"loop-timeout", "5s", SECONDS_WORDS},
    {"loop-timeout", ".5", SECONDS_WORDS},
    {"timeout", "inf", SECONDS_WORDS},
    {"timeout", "99999999999999999999", SECONDS_WORDS},
    {"localmode", "", MODE_WORDS},
    {"localmode", "0888", MODE_WORDS},
    {"localmode", "1777", MODE_WORDS},
    {"localmode", "00660", MODE_WORDS},
    {"localmode", "-660", MODE_WORDS},
    {"localmode", "rw-rw----", MODE_WORDS},
    {"stack-size", "", SIZE_WORDS},
    {"stack-size", "K", SIZE_WORDS},
    {"stack-size", "63K", SIZE_WORDS},
    {"stack-size", "65535", SIZE_WORDS},
    {"stack-size", "2G", SIZE_WORDS},
    {"stack-size", "1073741825", SIZE_WORDS},
    {"stack-size", "1T", SIZE_WORDS},
    {"stack-size", "1MB", SIZE_WORDS},
    {"stack-size", "-1M", SIZE_WORDS},
    {"stack-size", "1.5M", SIZE_WORDS},
    {"stack-size", "9223372036854775807G", SIZE_WORDS},
    {"stack-size", "17179869185G", SIZE_WORDS},
    {"stack-size", "111111111111111111111111111111", SIZE_WORDS},
    {"localport", "", PORT_WORDS},
    {"localport", "70000", PORT_WORDS},
    {"localport", "65536", PORT_WORDS},
    {"localport", "-1", PORT_WORDS},
    {"localport", "+80", PORT_WORDS},
    {"localport", " 80", PORT_WORDS},
    {"localport", "80 ", PORT_WORDS},
    {"localport", "080", PORT_WORDS},
    {"localport", "0x50", PORT_WORDS},
    {"localport", "0day", PORT_WORDS},
    {"localport", "no-such-service", PORT_WORDS},
    {"localport", "a-name-that-is-longer-than-any-service", PORT_WORDS},
    {"mode", "", "single, fork, threads or fibers"},
    {"mode", "fork2", "single, fork, threads or fibers"},
    {"mode", "for", "single, fork, threads or fibers"},
    {"mode", "Fork", "single, fork, threads or fibers"},
    {"mode", "ithreads=threads", "single, fork, threads or fibers"},
    {"mode", "ithread", "single, fork, threads or fibers"},
    {"mode", "single|fork", "single, fork, threads or fibers"},
    {"mode", "fiber", "single, fork, threads or fibers"},
    {"io", "", IO_WORDS},
    {"io", "uring", IO_WORDS},
    {"io", "io-uring", IO_WORDS},
    {"io", "io_urin", IO_WORDS},
    {"io", "EPOLL", IO_WORDS},
    {"io", "epoll|poll", IO_WORDS},
    {"io", "-1", IO_WORDS},
    {"proto", "udp", "tcp or unix"},
    {"facility", "local8", FACILITY_WORDS},
    {"facility", "", FACILITY_WORDS},
    {"user", "", "a user name or number"},
    {"group", "", "a group name or number"},
    {"chroot", "", "the absolute path of a directory"},
    {"pidfile", "", "a file name or none"},
    {"logfile", "", "a file name or STDERR"},
    {"localaddr", "", "an IP address or host name"},
    {"localowner", "", "USER, USER:GROUP or :GROUP"},
    {"localpath", "", "the path of a Unix socket"},
    {"bind", "", "an address, tcp:HOST:PORT or unix:PATH"},
};

static void rule03_a_wrong_value_on_the_command_line(void **state)
{
	char word[256], words[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		snprintf(word, sizeof word, "--%s=%s", wrong[i].name, wrong[i].text);
		assert_int_equal(load(NULL, ARGS("--bind=tcp::1", word)), -EINVAL);
		snprintf(words, sizeof words, "--%s: found '%s', expected %s", wrong[i].name,
			 wrong[i].text, wrong[i].expected);
		assert_words(words);
	}
}

static void rule03_a_wrong_value_in_the_file(void **state)
{
	char text[256], words[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		snprintf(text, sizeof text, "{\n  '%s' => '%s'\n}", wrong[i].name, wrong[i].text);
		assert_int_equal(load_file("wrong.conf", text), -EINVAL);
		snprintf(words, sizeof words, "FILE:2:%d: %s: found '%s', expected %s",
			 (int)strlen(wrong[i].name) + 9, wrong[i].name, wrong[i].text,
			 wrong[i].expected);
		assert_words(words);
	}
}

static void rule03_a_wrong_text_as_attribute(void **state)
{
	char words[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct netd_config config = {.size = sizeof config};
		const char *const list[] = {wrong[i].text, NULL};
		const char *const *pointer = list;
		size_t index = 0;
		char *to;

		assert_int_equal(conf_find_key(NULL, wrong[i].name, &index), 0);
		to = (char *)&config + conf_options[index].attribute;
		switch (conf_options[index].kind) {
		case CONF_NUMBER:
		case CONF_SIZE:
		case CONF_SECONDS:
			continue; /* see numbers_as_attributes */
		case CONF_LIST:
			memcpy(to, &pointer, sizeof pointer);
			break;
		default:
			memcpy(to, &wrong[i].text, sizeof wrong[i].text);
		}
		assert_int_equal(load(&config, ARGS("--bind=tcp::1")), -EINVAL);
		snprintf(words, sizeof words, "attribute %s: found '%s', expected %s",
			 wrong[i].name, wrong[i].text, wrong[i].expected);
		assert_words(words);
	}
}

static void numbers_as_attributes(void **state)
{
	static const struct {
		struct netd_config config;
		const char *words;
	} cases[] = {
#define WITH(...) {.size = sizeof(struct netd_config), .localport = "0", __VA_ARGS__}
	    {WITH(.childs = -1), "attribute childs: found '-1', expected a number from 0 to 1024"},
	    {WITH(.listen = 70000),
	     "attribute listen: found '70000', expected a number from 1 to 65535"},
	    {WITH(.stack_size = 4096), "attribute stack-size: found '4096', expected " SIZE_WORDS},
	    {WITH(.stack_size = -1), "attribute stack-size: found '-1', expected " SIZE_WORDS},
	    {WITH(.stall_time = 31536001),
	     "attribute stall-time: found '31536001', expected " SECONDS_WORDS},
	    {WITH(.compact_after = INFINITY),
	     "attribute compact-after: found 'inf', expected " SECONDS_WORDS},
	    {WITH(.debug = 2),
	     "attribute debug: found '2', expected 1 (on), -1 (off) or 0 (default)"},
	    {WITH(.loop_timeout = -1),
	     "attribute loop-timeout: found '-1', expected " SECONDS_WORDS},
	    {WITH(.max_per_address = -1),
	     "attribute max-per-address: found '-1', expected a number from 0 to 10000000"},
	    {WITH(.prefix_ipv6 = 8),
	     "attribute prefix-ipv6: found '8', expected a number from 16 to 128"},
	    {WITH(.rate_burst = -1),
	     "attribute rate-burst: found '-1', expected a number from 1 to 1000000"},
	    {WITH(.notify_fd = 1),
	     "attribute notify-fd: found '1', expected a number from 3 to 1000000"},
	    {WITH(.idle_timeout = -1),
	     "attribute idle-timeout: found '-1', expected " SECONDS_WORDS},
	    {WITH(.timeout = INFINITY), "attribute timeout: found 'inf', expected " SECONDS_WORDS},
	    {WITH(.drain_timeout = 1e300), NULL},
	    {WITH(.drain_timeout = NAN), NULL},
#undef WITH
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(load(&cases[i].config, NO_ARGS), -EINVAL);
		if (cases[i].words)
			assert_words(cases[i].words);
	}
	assert_int_equal(
	    load(NETD_CONFIG(.localport = "0", .drain_timeout = -5, .debug = -1), NO_ARGS), 0);
	assert_int_equal(got.drain_timeout, 0);
	assert_int_equal(
	    load(NETD_CONFIG(.localport = "0", .compact_after = -1, .stall_time = -0.001), NO_ARGS),
	    0);
	assert_int_equal(got.compact_after, 0); /* 0 is the default there, less is never */
	assert_int_equal(got.stall_time, 0);
	assert_string_equal(conf_where(&got, "stall-time"), "attribute stall-time");
	assert_int_equal(
	    load(NETD_CONFIG(.localport = "0", .drain_timeout = -5, .debug = -1), NO_ARGS), 0);
	assert_false(got.debug);
	assert_string_equal(conf_where(&got, "debug"), "attribute debug");
	assert_int_equal(load(NETD_CONFIG(.localport = "0", .drain_timeout = 0.0625), NO_ARGS), 0);
	assert_true(got.drain_timeout == 62 || got.drain_timeout == 63);
}

static void long_texts_are_refused_with_the_length_allowed(void **state)
{
	char text[5000], word[5100], words[300];

	(void)state;
	memset(text, '/', sizeof text);
	text[107] = '\0';
	snprintf(word, sizeof word, "--localpath=%s", text);
	assert_int_equal(load(NULL, ARGS(word)), 0);
	text[107] = '/';
	text[108] = '\0';
	snprintf(word, sizeof word, "--localpath=%s", text);
	assert_int_equal(load(NULL, ARGS(word)), -EINVAL);
	snprintf(words, sizeof words,
		 "--localpath: found '%.68s...', expected the path of a Unix socket of at most 107 "
		 "bytes",
		 text);
	assert_words(words);
	text[108] = '/';
	text[4096] = '\0';
	snprintf(word, sizeof word, "--pidfile=%s", text);
	assert_int_equal(load(NULL, ARGS("--localport=0", word)), -EINVAL);
	snprintf(words, sizeof words,
		 "--pidfile: found '%.68s...', expected a file name or none of at most 4095 bytes",
		 text);
	assert_words(words);
}

static void all_good_spellings(void **state)
{
	static const struct {
		const char *word, *name, *text;
	} cases[] = {
	    {"--stack-size=64k", "stack-size", "65536"},
	    {"--stack-size=1g", "stack-size", "1073741824"},
	    {"--stack-size=2M", "stack-size", "2097152"},
	    {"--stack-size=70000", "stack-size", "70000"},
	    {"--localmode=0", "localmode", "0000"},
	    {"--localmode=777", "localmode", "0777"},
	    {"--drain-timeout=0.001", "drain-timeout", "0.001"},
	    {"--drain-timeout=10.50", "drain-timeout", "10.5"},
	    {"--mode=ithreads", "mode", "threads"},
	    {"--mode=fibers", "mode", "fibers"},
	    {"--io=io_uring", "io", "io_uring"},
	    {"--compact-after=0", "compact-after", "0"},
	    {"--stall_time=0.050", "stall-time", "0.05"},
	    {"--childs=1024", "childs", "1024"},
	    {"--accept-rate=50", "accept-rate", "50/s"}, /* in the shortest unit that fits */
	    {"--accept-rate=600/m", "accept-rate", "10/s"},
	    {"--accept-rate=100/m", "accept-rate", "100/m"},
	    {"--accept-rate=3600/h", "accept-rate", "1/s"},
	    {"--accept-rate=1000/h", "accept-rate", "1000/h"},
	    {"--accept-rate=0/h", "accept-rate", "0"},
	    {"--accept-rate=3600000000/h", "accept-rate", "1000000/s"},
	    {"--rate-per-address=60000000/m", "rate-per-address", "1000000/s"},
	    {"--rate_per_address=3599999999/h", "rate-per-address", "3599999999/h"},
	    {"--user=4294967295", "user", "4294967295"}, /* the look-up refuses it */
	    {"--depth=9", "depth", "9"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(load(NULL, ARGS("--localport=0", cases[i].word)), 0);
		assert_string_equal(conf_get(&got, cases[i].name), cases[i].text);
	}
	if (getservbyname("http", "tcp")) {
		assert_int_equal(load(NULL, ARGS("--localport=http")), 0);
		assert_string_equal(got.localport, "http");
	}
}

static void flags_in_a_file_are_words_of_truth(void **state)
{
	static const char *const yes[] = {"1", "true", "yes", "On", "TRUE"};
	static const char *const no[] = {"0", "false", "no", "off", "False"};
	static const char *const neither[] = {"2", "", "maybe", "truee", "-1"};
	char text[64], words[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		snprintf(text, sizeof text, "{debug => '%s'}", yes[i]);
		assert_int_equal(load_file("flag", text), 0);
		assert_true(got.debug);
		snprintf(text, sizeof text, "{catchint => '%s'}", no[i]);
		assert_int_equal(load_file("flag", text), 0);
		assert_false(got.catchint);
		snprintf(text, sizeof text, "{debug => '%s'}", neither[i]);
		assert_int_equal(load_file("flag", text), -EINVAL);
		snprintf(words, sizeof words, "FILE:1:11: debug: found '%s', expected " FLAG_WORDS,
			 neither[i]);
		assert_words(words);
	}
	if (!READS_YAML)
		return;
	assert_int_equal(load_file("flag.json", "{\"debug\": true, \"catchint\": false}"), 0);
	assert_true(got.debug && !got.catchint);
}

/* ----------------------------------------------------------------------------- programs old and
 * new */

static void a_shorter_struct_is_that_of_an_older_program(void **state)
{
	struct netd_config config = {.size = offsetof(struct netd_config, mode),
				     .localport = "0",
				     .max_connections = 7,
				     .mode = "later"};

	(void)state;
	assert_int_equal(load(&config, NO_ARGS), 0);
	assert_int_equal(got.max_connections, 7);
	assert_string_equal(got.mode, "threads");
	config.size += sizeof config.mode - 1; /* half a field is no field */
	assert_int_equal(load(&config, NO_ARGS), 0);
	config.size++;
	assert_int_equal(load(&config, NO_ARGS), -EINVAL);
	assert_words("attribute mode: found 'later', expected single, fork, threads or fibers");
}

static void a_longer_struct_is_that_of_a_newer_program(void **state)
{
	struct {
		struct netd_config config;
		char later[16];
	} newer = {.config = {.size = sizeof newer, .localport = "0"}};

	(void)state;
	assert_int_equal(load(&newer.config, NO_ARGS), 0);
	newer.later[15] = 1; /* it may be a lock that we do not know */
	assert_int_equal(load(&newer.config, NO_ARGS), -EINVAL);
	assert_words("attributes: the program was built for a newer library and sets an attribute "
		     "unknown to this one (" NETD_VERSION ")");
	newer.config.size = 0; /* NETD_CONFIG forgotten: not the same as no attributes */
	assert_int_equal(load(&newer.config, NO_ARGS), -EINVAL);
	assert_words("attribute size: found '0', expected what NETD_CONFIG() sets");
}

static void a_service_without_the_field_has_no_options(void **state)
{
	struct netd_service service = fixture_service;

	(void)state;
	service.size = offsetof(struct netd_service, options);
	assert_int_equal(load_as(&service, NULL, ARGS("--localport=0", "--base=hex")), -EINVAL);
	assert_words("--base: unknown option, see --help");
	assert_int_equal(load_as(&service, NULL, ARGS("--localport=0")), 0);
	assert_null(conf_get(&got, "base"));
}

/* ----------------------------------------------------------------------------------- own options
 */

static void own_options_come_from_all_sources(void **state)
{
	(void)state;
	assert_int_equal(load_file("own", "{base => 'oct',\ndepth => 2,\ntitle => '',\n"
					  "shout => 'yes'}"),
			 0);
	assert_string_equal(conf_get(&got, "base"), "oct");
	assert_string_equal(conf_get(&got, "depth"), "2");
	assert_string_equal(conf_get(&got, "title"), "");
	assert_string_equal(conf_get(&got, "shout"), "1");
	assert_non_null(strstr(conf_where(&got, "depth"), "own:2:10"));
	assert_int_equal(load(NULL, ARGS("--configfile", fixture_path, "--localport=0", "--depth=3",
					 "--noshout", "--base", "hex")),
			 0);
	assert_string_equal(conf_get(&got, "base"), "hex");
	assert_string_equal(conf_get(&got, "depth"), "3");
	assert_string_equal(conf_get(&got, "shout"), "0");
	assert_string_equal(conf_where(&got, "base"), "--base");
	assert_non_null(strstr(conf_where(&got, "title"), "own:3:10"));
}

static void rule03_own_values_are_checked(void **state)
{
	static const struct {
		const char *word, *words;
	} cases[] = {
	    {"--base=bin", "--base: found 'bin', expected dec, hex or oct"},
	    {"--base=", "--base: found '', expected dec, hex or oct"},
	    {"--depth=0", "--depth: found '0', expected a number from 1 to 9"},
	    {"--depth=ten", "--depth: found 'ten', expected a number from 1 to 9"},
	    {"--shout=1", "--shout: takes no value; use --shout or --noshout"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(load(NULL, ARGS("--localport=0", cases[i].word)), -EINVAL);
		assert_words(cases[i].words);
	}
}

static void an_int_without_range_takes_any_number(void **state)
{
	static const struct netd_option options[] = {
	    {.name = "Any_Number", .type = NETD_OPTION_INT},
	    {.name = NULL},
	};
	static const struct netd_service service = NETD_SERVICE(.name = "x", .options = options);

	(void)state;
	assert_int_equal(
	    load_as(&service, NULL, ARGS("--localport=0", "--any-number=-9223372036854775808")), 0);
	assert_string_equal(conf_get(&got, "Any_Number"), "-9223372036854775808");
	assert_int_equal(load_as(&service, NULL, ARGS("--localport=0", "--any=x")), -EINVAL);
	assert_words("--Any_Number: found 'x', expected a whole number");
}

static void mistakes_of_the_author_are_named(void **state)
{
#define FORM "a name begins with a letter and has letters, digits, - and _ only, at most 40"
	static const struct {
		struct netd_option option;
		const char *words;
	} cases[] = {
	    {{.name = "mode"}, "service option 'mode': the name is taken"},
	    {{.name = "Mode"}, "service option 'Mode': the name is taken"},
	    {{.name = "loop_child"}, "service option 'loop_child': the name is taken"},
	    {{.name = "clients"}, "service option 'clients': the name is taken"},
	    {{.name = "nodebug"}, "service option 'nodebug': the name is taken"},
	    {{.name = "no-debug"}, "service option 'no-debug': the name is taken"},
	    {{.name = "first"}, "service option 'first': the name is taken"},
	    {{.name = "nofirst"}, "service option 'nofirst': the name is taken"},
	    {{.name = "tice"}, "service option 'tice': the name is taken"},
	    {{.name = ""}, "service option '': " FORM},
	    {{.name = "9x"}, "service option '9x': " FORM},
	    {{.name = "a b"}, "service option 'a b': " FORM},
	    {{.name = "a=b"}, "service option 'a=b': " FORM},
	    {{.name = "abcdefghijklmnopqrstuvwxyzabcdefghijklmno"},
	     "service option 'abcdefghijklmnopqrstuvwxyzabcdefghijklmn': " FORM},
	    {{.name = "x", .type = (enum netd_option_type)9}, "service option 'x': unknown type"},
	    {{.name = "x", .type = NETD_OPTION_CHOICE},
	     "service option 'x': a choice needs .choices"},
	    {{.name = "x", .type = NETD_OPTION_INT, .min = 2, .max = 1},
	     "service option 'x': .min is greater than .max"},
	    {{.name = "x", .type = NETD_OPTION_INT, .min = 1, .max = 2, .value = "3"},
	     "service option 'x': default: found '3', expected a number from 1 to 2"},
	    {{.name = "x", .type = NETD_OPTION_CHOICE, .choices = "a|b", .value = "c"},
	     "service option 'x': default: found 'c', expected a or b"},
	    {{.name = "x", .type = NETD_OPTION_FLAG, .value = "maybe"},
	     "service option 'x': default: found 'maybe', expected true or false"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct netd_option options[] = {
		    {.name = "first", .type = NETD_OPTION_FLAG},
		    {.name = "notice", .type = NETD_OPTION_STRING},
		    cases[i].option,
		    {.name = NULL},
		};
		const struct netd_service service = NETD_SERVICE(.name = "x", .options = options);

		assert_int_equal(load_as(&service, NULL, ARGS("--help")), -EINVAL);
		assert_words(cases[i].words);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rule03_a_wrong_value_on_the_command_line),
	    cmocka_unit_test(rule03_a_wrong_value_in_the_file),
	    cmocka_unit_test(rule03_a_wrong_text_as_attribute),
	    cmocka_unit_test(numbers_as_attributes),
	    cmocka_unit_test(long_texts_are_refused_with_the_length_allowed),
	    cmocka_unit_test(all_good_spellings),
	    cmocka_unit_test(flags_in_a_file_are_words_of_truth),
	    cmocka_unit_test(a_shorter_struct_is_that_of_an_older_program),
	    cmocka_unit_test(a_longer_struct_is_that_of_a_newer_program),
	    cmocka_unit_test(a_service_without_the_field_has_no_options),
	    cmocka_unit_test(own_options_come_from_all_sources),
	    cmocka_unit_test(rule03_own_values_are_checked),
	    cmocka_unit_test(an_int_without_range_takes_any_number),
	    cmocka_unit_test(mistakes_of_the_author_are_named),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
