/* test_access_net.c - networks and peers in binary: strict in, plain out. */
#include "access/rule.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

static struct access_peer peer(const char *text)
{
	struct access_peer peer = {.uid = -1, .gid = -1};

	peer.family = strchr(text, ':') ? AF_INET6 : AF_INET;
	assert_int_equal(inet_pton(peer.family, text, peer.addr), 1);
	return peer;
}

static bool has(const char *network, const char *address)
{
	struct access_peer who = peer(address);
	struct access_net net;
	struct err err = {0};

	if (access_net_parse(&net, network, &err) < 0)
		fail_msg("%s", err.text);
	return access_net_has(&net, &who);
}

static void rule11_cidr_is_strict(void **state)
{
	static const char *const wrong[] = {
	    "",
	    "/",
	    "/8",
	    "10",
	    "10/8",
	    "10.0/16",
	    "10.0.0/24",
	    "10.0.0.0.0/8",
	    "010.0.0.0/8",
	    "10.0.0.00/8",
	    "0x0a.0.0.0/8",
	    "10.0.0.256",
	    "10.0.0.-1",
	    "10.0.0.0/",
	    "10.0.0.0/33",
	    "10.0.0.0/-0",
	    "10.0.0.0/+8",
	    "10.0.0.0/08",
	    "10.0.0.0/8 ",
	    " 10.0.0.0/8",
	    "10.0.0.0 /8",
	    "10.0.0.0/ 8",
	    "10.0.0.0/8/8",
	    "10.0.0.0/255.0.0.0",
	    "10.0.0.0/4294967304",
	    "10.0.0.0/99999999999999999999",
	    "10.0.0.0\n",
	    "10.*",
	    "1.2.3.4:80",
	    "[::1]",
	    ":",
	    ":::",
	    "::1::",
	    "1:2:3:4:5:6:7",
	    "1:2:3:4:5:6:7:8:9",
	    "12345::",
	    "g::",
	    "fe80::1%lo",
	    "fe80::%1/10",
	    "::/129",
	    "::/",
	    "::ffff:1.2.3/128",
	    "::ffff:01.2.3.4/128",
	    "localhost",
	    "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111",
	};
	struct access_net net, before;
	struct err err;

	(void)state;
	memset(&net, 0x5a, sizeof net);
	before = net;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		err = (struct err){0};
		if (access_net_parse(&net, wrong[i], &err) != -EINVAL)
			fail_msg("taken: '%s'", wrong[i]);
		assert_int_equal(err.code, -EINVAL);
		assert_non_null(strstr(err.text, "expected"));
		assert_memory_equal(&net, &before, sizeof net);
	}
	assert_int_equal(access_net_parse(&net, "10", NULL), -EINVAL);
}

static void rule11_host_bits_are_an_error_with_advice(void **state)
{
	static const struct {
		const char *text, *words;
	} wrong[] = {
	    {"10.0.0.1/8", "10.0.0.1/8: host bits are set, did you mean 10.0.0.0/8?"},
	    {"192.0.2.255/31", "192.0.2.255/31: host bits are set, did you mean "
			       "192.0.2.254/31?"},
	    {"10.255.0.0/9", "10.255.0.0/9: host bits are set, did you mean 10.128.0.0/9?"},
	    {"1.2.3.4/0", "1.2.3.4/0: host bits are set, did you mean 0.0.0.0/0?"},
	    {"2001:db8::1/64", "2001:db8::1/64: host bits are set, did you mean 2001:db8::/64?"},
	    {"::ffff:10.0.0.1/104",
	     "::ffff:10.0.0.1/104: host bits are set, did you mean ::ffff:10.0.0.0/104?"},
	    {"::ffff:0:0/95", "::ffff:0:0/95: host bits are set, did you mean ::fffe:0:0/95?"},
	};
	struct access_net net = {.bits = 77};
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		assert_int_equal(access_net_parse(&net, wrong[i].text, &err), -EINVAL);
		assert_string_equal(err.text, wrong[i].words);
	}
	assert_int_equal(net.bits, 77);
}

static void a_network_holds_its_addresses_and_no_other(void **state)
{
	(void)state;
	assert_true(has("192.0.2.0/24", "192.0.2.0"));
	assert_true(has("192.0.2.0/24", "192.0.2.255"));
	assert_false(has("192.0.2.0/24", "192.0.3.0"));
	assert_false(has("192.0.2.0/24", "192.0.1.255"));
	assert_true(has("10.128.0.0/9", "10.128.0.1"));
	assert_false(has("10.128.0.0/9", "10.127.255.255"));
	assert_true(has("192.0.2.7", "192.0.2.7"));
	assert_false(has("192.0.2.7", "192.0.2.6"));
	assert_true(has("192.0.2.6/31", "192.0.2.7"));
	assert_true(has("0.0.0.0/0", "255.255.255.255"));
	assert_true(has("2001:db8::/32", "2001:db8:ffff::1"));
	assert_false(has("2001:db8::/32", "2001:db9::1"));
	assert_true(has("2001:DB8::7", "2001:db8::7"));
	assert_false(has("2001:db8::7", "2001:db8::6"));
	assert_true(has("::/0", "ffff::1"));
	assert_true(has("::1/128", "::1"));
}

static void rule11_families_do_not_mix(void **state)
{
	(void)state;
	assert_false(has("0.0.0.0/0", "::1"));
	assert_false(has("::/0", "127.0.0.1"));
	/* Written as v6 it is still v4: neither a rule nor a peer hides behind the notation. */
	assert_false(has("::/0", "::ffff:127.0.0.1"));
	assert_true(has("0.0.0.0/0", "::ffff:127.0.0.1"));
	assert_true(has("10.0.0.0/8", "::ffff:10.1.2.3"));
	assert_false(has("10.0.0.0/8", "::ffff:11.1.2.3"));
	/* v4-compatible addresses are no v4. */
	assert_false(has("10.0.0.0/8", "::10.1.2.3"));
	assert_true(has("::10.0.0.0/104", "::10.1.2.3"));
}

static void rule11_mapped_networks_are_v4(void **state)
{
	struct access_net net;

	(void)state;
	assert_int_equal(access_net_parse(&net, "::ffff:10.0.0.0/104", NULL), 0);
	assert_int_equal(net.family, AF_INET);
	assert_int_equal(net.bits, 8);
	assert_memory_equal(net.addr, "\12\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_true(has("::ffff:10.0.0.0/104", "10.9.9.9"));
	assert_true(has("::ffff:0:0/96", "10.9.9.9"));
	assert_false(has("::ffff:0:0/96", "2001:db8::1"));
	assert_true(has("::ffff:192.0.2.7", "192.0.2.7"));
	assert_false(has("::ffff:192.0.2.7", "192.0.2.8"));
}

static void unix_peers_are_in_no_network(void **state)
{
	const struct access_peer local = {.family = AF_UNIX, .uid = 0, .gid = 0};
	struct access_net net;

	(void)state;
	assert_int_equal(access_net_parse(&net, "127.0.0.0/8", NULL), 0);
	assert_false(access_net_has(&net, &local));
	assert_int_equal(access_net_parse(&net, "0.0.0.0/0", NULL), 0);
	assert_false(access_net_has(&net, &local));
}

static void assert_peer(const void *address, size_t size, int family, const char *text)
{
	struct sockaddr_storage storage = {0};
	struct access_peer from;
	char found[ACCESS_TEXT_MAX];

	memcpy(&storage, address, size);
	memset(&from, 0x5a, sizeof from);
	access_peer_from(&from, &storage);
	assert_int_equal(from.family, family);
	assert_true(from.uid == -1 && from.gid == -1);
	access_peer_text(&from, found);
	assert_string_equal(found, text);
}

static void peers_come_from_socket_addresses(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = 99};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_scope_id = 3};
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/10.0.0.1"};
	struct sockaddr_storage none = {0};

	(void)state;
	in.sin_addr.s_addr = htonl(0xc0000207);
	assert_peer(&in, sizeof in, AF_INET, "192.0.2.7");
	inet_pton(AF_INET6, "2001:db8::7", &in6.sin6_addr);
	assert_peer(&in6, sizeof in6, AF_INET6, "2001:db8::7");
	inet_pton(AF_INET6, "::ffff:192.0.2.7", &in6.sin6_addr);
	assert_peer(&in6, sizeof in6, AF_INET, "192.0.2.7");
	assert_peer(&un, sizeof un, AF_UNIX, "127.0.0.1");
	assert_peer(&none, sizeof none, 0, "unknown");
	none.ss_family = AF_PACKET;
	assert_peer(&none, sizeof none, 0, "unknown");
}

static void text_is_plain_and_fits(void **state)
{
	char text[ACCESS_TEXT_MAX];
	struct access_peer longest = peer("1111:2222:3333:4444:5555:6666:7777:8888");
	struct access_peer mapped = peer("::ffff:255.255.255.255");

	(void)state;
	access_peer_text(&longest, text);
	assert_string_equal(text, "1111:2222:3333:4444:5555:6666:7777:8888");
	access_peer_text(&mapped, text);
	assert_string_equal(text, "255.255.255.255");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rule11_cidr_is_strict),
	    cmocka_unit_test(rule11_host_bits_are_an_error_with_advice),
	    cmocka_unit_test(a_network_holds_its_addresses_and_no_other),
	    cmocka_unit_test(rule11_families_do_not_mix),
	    cmocka_unit_test(rule11_mapped_networks_are_v4),
	    cmocka_unit_test(unix_peers_are_in_no_network),
	    cmocka_unit_test(peers_come_from_socket_addresses),
	    cmocka_unit_test(text_is_plain_and_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
