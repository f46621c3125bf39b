/* test_address.c - addresses as text: what is taken, what is refused and in which words, and the
 * way back from socket addresses. Nothing is looked up, nothing is bound. */
#include "listen/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

static void tcp_forms_are_taken(void **state)
{
	static const struct {
		const char *text, *host, *port;
	} right[] = {
	    {"tcp:127.0.0.1:2000", "127.0.0.1", "2000"},
	    {"tcp:[::1]:2000", "::1", "2000"},
	    {"tcp:[fe80::1%lo]:0", "fe80::1%lo", "0"},
	    {"tcp:[fe80::1%eth0.17]:1", "fe80::1%eth0.17", "1"},
	    {"tcp:[::ffff:192.0.2.1]:1", "::ffff:192.0.2.1", "1"},
	    {"tcp:*:65535", "", "65535"},
	    {"tcp::80", "", "80"},
	    {"tcp:localhost:http", "localhost", "http"},
	    {"tcp:a-b.example.com:3com-tsmux", "a-b.example.com", "3com-tsmux"},
	    {"tcp:example.com.:1", "example.com.", "1"},
	    {"tcp:1and1.com:1", "1and1.com", "1"},
	    {"tcp:under_score:1", "under_score", "1"},
	};
	struct address address;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(right); i++) {
		memset(&address, 0x55, sizeof address);
		assert_int_equal(address_parse(&address, right[i].text, &err), 0);
		assert_int_equal(address.kind, ADDRESS_TCP);
		assert_string_equal(address.host, right[i].host);
		assert_string_equal(address.port, right[i].port);
		assert_string_equal(address.path, "");
	}
}

static void unix_forms_are_taken(void **state)
{
	static const char *const paths[] = {"/run/x", "x", "./a:b", "@x", " ", "[::1]:80"};
	struct address address;
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		snprintf(text, sizeof text, "unix:%s", paths[i]);
		assert_int_equal(address_parse(&address, text, NULL), 0);
		assert_int_equal(address.kind, ADDRESS_UNIX);
		assert_string_equal(address.path, paths[i]);
		assert_string_equal(address.host, "");
		assert_string_equal(address.port, "");
	}
}

/* Refused, with these words in the message; what was there stays. */
static void refused(const char *text, const char *words)
{
	struct address address, before;
	struct err err = {0};

	memset(&address, 0x55, sizeof address);
	before = address;
	if (address_parse(&address, text, &err) != -EINVAL)
		fail_msg("'%s' was taken", text);
	assert_int_equal(err.code, -EINVAL);
	assert_memory_equal(&address, &before, sizeof address);
	assert_int_equal(strncmp(err.text, "found '", 7), 0);
	assert_non_null(strstr(err.text, "expected tcp:HOST:PORT, tcp:[V6]:PORT or unix:PATH"));
	if (!strstr(err.text, words))
		fail_msg("'%s': no '%s' in: %s", text, words, err.text);
	assert_int_equal(address_parse(&address, text, NULL), -EINVAL);
}

static void other_forms_are_refused(void **state)
{
	static const char *const wrong[] = {"",        "tcp",      "unix",      "tcp;*:80",
					    ":80",     "80",       "/run/x",    "localhost:80",
					    "udp:*:1", "TCP:*:80", " tcp:*:80", "Unix:/x"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		refused(wrong[i], "PATH");
}

static void ports_are_strict(void **state)
{
	static const char *const wrong[] = {"65536", "-1",  "+1",   "080",  "00",    "1 ",
					    " 1",    "1.0", "HTTP", "a_b",  "a/b",   "99999999999",
					    "*",     "-",   "1-2",  "80\n", "h ttp", "\xc3\xa4"};
	char text[64];

	(void)state;
	refused("tcp:localhost", "the port is missing");
	refused("tcp:", "the port is missing");
	refused("tcp:localhost:", "the port is missing");
	refused("tcp:*:", "the port is missing");
	refused("tcp:[::1]", "the port is missing");
	refused("tcp:[::1]80", "the port is missing");
	refused("tcp:[::1]:", "the port is missing");
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		snprintf(text, sizeof text, "tcp:127.0.0.1:%s", wrong[i]);
		refused(text, "a port is a number from 0 to 65535");
		snprintf(text, sizeof text, "tcp:[::1]:%s", wrong[i]);
		refused(text, "a port is a number from 0 to 65535");
	}
}

static void ipv4_is_strict(void **state)
{
	static const char *const wrong[] = {
	    "127.1",   "2130706433", "0x7f.1",     "0x7f000001", "127.0.0.01", "127.0.0.256",
	    "127.0.0", "1.2.3.4.5",  "0177.0.0.1", "a.1",        "0x",         "1",
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		snprintf(text, sizeof text, "tcp:%s:80", wrong[i]);
		refused(text, "an IPv4 address is four numbers");
	}
}

static void ipv6_stands_in_brackets(void **state)
{
	static const char *const inside[] = {
	    "",        "127.0.0.1",   "localhost", "::g",  "1:2:3:4:5:6:7:8:9",
	    "::1%",    "fe80::1%a b", "*",         "[::1", "fe80::1%0123456789abcdef",
	    "::1%l%o", "::1/64",      " ::1",
	};
	char text[128];

	(void)state;
	refused("tcp:::1:80", "stands in brackets: tcp:[::1]:80");
	refused("tcp:::1", "stands in brackets");
	refused("tcp:::", "stands in brackets");
	refused("tcp:fe80::1%lo:80", "stands in brackets");
	refused("tcp:localhost:80:80", "stands in brackets");
	refused("tcp:[::1:80", "a bracket is not closed");
	for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
		snprintf(text, sizeof text, "tcp:[%s]:80", inside[i]);
		refused(text, "between the brackets stands an IPv6 address");
	}
}

static void host_names_are_strict(void **state)
{
	static const char *const wrong[] = {"-f", ".",  "a..b", ".a",   "a b",  "a\nb", "a/b",
					    "**", "*a", "::1]", "\x7f", "$(x)", "a,b"};
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		snprintf(text, sizeof text, "tcp:%s:80", wrong[i]);
		refused(text, strchr(wrong[i], ':') ? "brackets" : "a host name is letters");
	}
}

static void lengths_have_limits(void **state)
{
	struct address address;
	char text[2000];
	char part[300];

	(void)state;
	memset(part, 'a', sizeof part);
	snprintf(text, sizeof text, "tcp:%.255s:1", part);
	assert_int_equal(address_parse(&address, text, NULL), 0);
	assert_int_equal(strlen(address.host), 255);
	snprintf(text, sizeof text, "tcp:%.256s:1", part);
	refused(text, "the host name is too long");
	snprintf(text, sizeof text, "tcp:*:%.31s", part);
	assert_int_equal(address_parse(&address, text, NULL), 0);
	assert_int_equal(strlen(address.port), 31);
	snprintf(text, sizeof text, "tcp:*:%.32s", part);
	refused(text, "a port is");
	snprintf(text, sizeof text, "unix:/%.106s", part);
	assert_int_equal(address_parse(&address, text, NULL), 0);
	assert_int_equal(strlen(address.path), 107);
	snprintf(text, sizeof text, "unix:/%.107s", part);
	refused(text, "at most 107 bytes");
	refused("unix:", "the path is missing");
	/* The words are there even after a megalomaniac's address. */
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	memcpy(text, "unix:", 5);
	refused(text, "...', expected");
}

/* ------------------------------------------------------------------ socket address to text */

static void has_text(const void *sa, size_t size, const char *expected)
{
	struct sockaddr_storage storage = {0};
	char text[ADDRESS_TEXT_MAX];

	memcpy(&storage, sa, size);
	address_text(&storage, (socklen_t)size, text);
	assert_string_equal(text, expected);
}

static void tcp_addresses_have_text(void **state)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(2000)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(65535)};

	(void)state;
	v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	has_text(&v4, sizeof v4, "tcp:127.0.0.1:2000");
	has_text(&v6, sizeof v6, "tcp:[::]:65535");
	inet_pton(AF_INET6, "::ffff:192.0.2.7", &v6.sin6_addr);
	has_text(&v6, sizeof v6, "tcp:192.0.2.7:65535");
	inet_pton(AF_INET6, "fe80::1", &v6.sin6_addr);
	v6.sin6_scope_id = if_nametoindex("lo");
	has_text(&v6, sizeof v6, "tcp:[fe80::1%lo]:65535");
	v6.sin6_scope_id = 0x7fffffff;
	has_text(&v6, sizeof v6, "tcp:[fe80::1%2147483647]:65535");
}

static void unix_addresses_have_text(void **state)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t start = offsetof(struct sockaddr_un, sun_path);
	char full[128];

	(void)state;
	has_text(&un, start, "unix:");
	has_text(&un, start + 1, "unix:");
	strcpy(un.sun_path, "/run/x");
	has_text(&un, start + 7, "unix:/run/x");
	has_text(&un, sizeof un, "unix:/run/x");
	has_text(&un, start + 4, "unix:/run");
	memcpy(un.sun_path, "\0name", 5);
	has_text(&un, start + 5, "unix:@name");
	/* The kernel gives a path that fills its field without a NUL. */
	memset(un.sun_path, 'p', sizeof un.sun_path);
	snprintf(full, sizeof full, "unix:%.108s", un.sun_path);
	has_text(&un, sizeof un, full);
}

static void odd_addresses_have_text_too(void **state)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr other = {.sa_family = AF_APPLETALK};

	(void)state;
	has_text(&v4, sizeof v4 - 1, "unknown");
	has_text(&v6, sizeof v6 - 1, "unknown");
	has_text(&v4, 0, "unknown");
	has_text(&other, sizeof other, "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tcp_forms_are_taken),
	    cmocka_unit_test(unix_forms_are_taken),
	    cmocka_unit_test(other_forms_are_refused),
	    cmocka_unit_test(ports_are_strict),
	    cmocka_unit_test(ipv4_is_strict),
	    cmocka_unit_test(ipv6_stands_in_brackets),
	    cmocka_unit_test(host_names_are_strict),
	    cmocka_unit_test(lengths_have_limits),
	    cmocka_unit_test(tcp_addresses_have_text),
	    cmocka_unit_test(unix_addresses_have_text),
	    cmocka_unit_test(odd_addresses_have_text_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
