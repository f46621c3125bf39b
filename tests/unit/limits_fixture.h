/* limits_fixture.h - a table of limits under test, addresses from text, and a clock that the test
 * moves. */
#ifndef TESTS_UNIT_LIMITS_FIXTURE_H
#define TESTS_UNIT_LIMITS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "access/limits_table.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define SECOND INT64_C(1000000000)
#define HOUR 3600
#define START (1000 * SECOND) /* what the clock shows when a test begins */

static struct limits *limits;
static int64_t now_ns;
static uint64_t last_hold;

/* Rows and columns as a small server has them, where the test names none. */
static inline void limits_open(struct limits_config config)
{
	config.rows = config.rows ? config.rows : LIMITS_ROWS_MIN;
	config.workers = config.workers ? config.workers : 1;
	config.prefix_ipv4 = config.prefix_ipv4 ? config.prefix_ipv4 : 24;
	config.prefix_ipv6 = config.prefix_ipv6 ? config.prefix_ipv6 : 64;
	now_ns = START;
	assert_int_equal(limits_new(&limits, &config), 0);
	assert_non_null(limits);
}

static inline int limits_teardown(void **state)
{
	(void)state;
	limits = limits_free(limits);
	return 0;
}

/* As accept(2) gives it: "192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7". */
static inline struct access_peer peer_of(const char *text)
{
	struct sockaddr_storage address = {0};
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct access_peer peer;

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		memcpy(&address, &v4, sizeof v4);
	else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
		memcpy(&address, &v6, sizeof v6);
	else
		fail_msg("no address: %s", text);
	access_peer_from(&peer, &address);
	return peer;
}

/* An IPv4 address for each number. */
static inline struct access_peer peer_number(uint32_t number)
{
	struct access_peer peer = {.family = AF_INET};

	number = htonl(number);
	memcpy(peer.addr, &number, sizeof number);
	return peer;
}

static inline enum limits_verdict admit_peer_by(int slot, struct access_peer peer)
{
	return limits_admit(limits, slot, &peer, now_ns, &last_hold);
}

static inline enum limits_verdict admit_by(int slot, const char *text)
{
	return admit_peer_by(slot, peer_of(text));
}

static inline enum limits_verdict admit(const char *text)
{
	return admit_by(0, text);
}

static inline uint64_t all_counts(void)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < limits->rows * limits->workers; i++)
		sum += atomic_load(&limits->counts[i]);
	return sum;
}

#endif
