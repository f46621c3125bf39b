/* Limits per address and per network, and rates (security rule 13): what is refused, what not. */
#include "limits_fixture.h"

static void rule13_without_limits_there_is_nothing(void **state)
{
	const struct limits_config none = {.workers = 4, .rows = 100, .rate_burst = 3};
	struct limits *made = (void *)&now_ns;

	(void)state;
	assert_int_equal(limits_new(&made, &none), 0);
	assert_null(made);
	assert_null(limits_free(NULL));
}

/* -------------------------------------------------------------------------------- at a time */

static void rule13_an_address_is_held_to_its_limit(void **state)
{
	uint64_t holds[3];

	(void)state;
	limits_open((struct limits_config){.max_per_address = 3});
	for (int i = 0; i < 3; i++) {
		assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
		holds[i] = last_hold;
		assert_int_not_equal(holds[i], 0);
	}
	for (int i = 0; i < 100; i++) {
		assert_int_equal(admit("192.0.2.7"), LIMITS_ADDRESS);
		assert_int_equal(last_hold, 0);
	}
	assert_int_equal(admit("192.0.2.8"), LIMITS_ADMITTED); /* others are served */
	limits_release(limits, 0, holds[1]);
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADDRESS);
}

static void rule13_there_is_one_count_over_all_workers(void **state)
{
	uint64_t hold;

	(void)state;
	limits_open((struct limits_config){.max_per_address = 4, .workers = 4});
	for (int slot = 0; slot < 4; slot++)
		assert_int_equal(admit_by(slot, "192.0.2.7"), LIMITS_ADMITTED);
	hold = last_hold;
	for (int slot = 0; slot < 4; slot++)
		assert_int_equal(admit_by(slot, "192.0.2.7"), LIMITS_ADDRESS);
	limits_release(limits, 3, hold);
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_ADMITTED); /* another one's place */
	assert_int_equal(admit_by(3, "192.0.2.7"), LIMITS_ADDRESS);
}

static void rule13_a_network_is_held_to_its_limit(void **state)
{
	uint64_t hold;

	(void)state;
	limits_open((struct limits_config){.max_per_prefix = 3});
	assert_int_equal(admit("192.0.2.1"), LIMITS_ADMITTED);
	assert_int_equal(admit("192.0.2.2"), LIMITS_ADMITTED);
	hold = last_hold;
	assert_int_equal(admit("192.0.2.255"), LIMITS_ADMITTED);
	assert_int_equal(admit("192.0.2.77"), LIMITS_PREFIX);
	assert_int_equal(admit("192.0.3.0"), LIMITS_ADMITTED);
	assert_int_equal(admit("192.0.1.255"), LIMITS_ADMITTED);
	limits_release(limits, 0, hold);
	assert_int_equal(admit("192.0.2.77"), LIMITS_ADMITTED);
}

/* Two addresses on either side of the last bit of the prefix, and of the first one after it. */
static void rule13_networks_are_cut_to_the_bit(void **state)
{
	static const struct {
		int bits4, bits6;
		const char *one, *same, *other;
	} cases[] = {
	    {8, 64, "10.0.0.0", "10.255.255.255", "11.0.0.0"},
	    {22, 64, "192.0.0.1", "192.0.3.255", "192.0.4.0"},
	    {31, 64, "192.0.2.6", "192.0.2.7", "192.0.2.8"},
	    {32, 64, "192.0.2.6", "192.0.2.6", "192.0.2.7"},
	    {24, 16, "2001::", "2001:ffff:ffff::1", "2002::"},
	    {24, 57, "2001:db8:0:0::1", "2001:db8:0:7f:ffff::", "2001:db8:0:80::1"},
	    {24, 64, "2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8:0:1::1"},
	    {24, 127, "2001:db8::2", "2001:db8::3", "2001:db8::4"},
	    {24, 128, "2001:db8::2", "2001:db8::2", "2001:db8::3"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		limits_open((struct limits_config){.max_per_prefix = 1,
						   .prefix_ipv4 = cases[i].bits4,
						   .prefix_ipv6 = cases[i].bits6});
		assert_int_equal(admit(cases[i].one), LIMITS_ADMITTED);
		assert_int_equal(admit(cases[i].same), LIMITS_PREFIX);
		assert_int_equal(admit(cases[i].other), LIMITS_ADMITTED);
		limits = limits_free(limits);
	}
}

static void rule13_both_limits_hold_together(void **state)
{
	uint64_t first;

	(void)state;
	limits_open((struct limits_config){.max_per_address = 2, .max_per_prefix = 3});
	assert_int_equal(admit("192.0.2.1"), LIMITS_ADMITTED);
	first = last_hold;
	assert_int_equal(admit("192.0.2.1"), LIMITS_ADMITTED);
	for (int i = 0; i < 10; i++) { /* counts nothing for the network either */
		assert_int_equal(admit("192.0.2.1"), LIMITS_ADDRESS);
		assert_int_equal(last_hold, 0);
	}
	assert_int_equal(all_counts(), 4);
	assert_int_equal(admit("192.0.2.2"), LIMITS_ADMITTED);
	for (int i = 0; i < 10; i++)
		assert_int_equal(admit("192.0.2.3"), LIMITS_PREFIX);
	assert_int_equal(all_counts(), 6);
	limits_release(limits, 0, first); /* in both */
	assert_int_equal(all_counts(), 4);
	assert_int_equal(admit("192.0.2.3"), LIMITS_ADMITTED);
	assert_int_equal(admit("192.0.2.1"), LIMITS_PREFIX);
}

/* The network of an address as wide as the address is still another thing. */
static void rule13_an_address_is_not_its_own_network(void **state)
{
	(void)state;
	limits_open((struct limits_config){
	    .max_per_address = 5, .max_per_prefix = 2, .prefix_ipv4 = 32, .prefix_ipv6 = 128});
	for (int i = 0; i < 2; i++) {
		assert_int_equal(admit("192.0.2.1"), LIMITS_ADMITTED);
		assert_int_equal(admit("2001:db8::1"), LIMITS_ADMITTED);
	}
	assert_int_equal(admit("192.0.2.1"), LIMITS_PREFIX);
	assert_int_equal(admit("2001:db8::1"), LIMITS_PREFIX);
}

static void rule13_mapped_ipv4_is_ipv4(void **state)
{
	(void)state;
	limits_open((struct limits_config){.max_per_address = 2});
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
	assert_int_equal(admit("::ffff:192.0.2.7"), LIMITS_ADMITTED);
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADDRESS);
	assert_int_equal(admit("::ffff:192.0.2.7"), LIMITS_ADDRESS);
	assert_int_equal(admit("::ffff:192.0.2.8"), LIMITS_ADMITTED);
}

static void rule13_unix_clients_have_no_source(void **state)
{
	const struct access_peer local = {.family = AF_UNIX, .uid = 1, .gid = 1};

	(void)state;
	limits_open((struct limits_config){
	    .max_per_address = 1, .max_per_prefix = 1, .rate_per_address = 1, .rate_burst = 1});
	for (int i = 0; i < 100; i++) {
		assert_int_equal(admit_peer_by(0, local), LIMITS_ADMITTED);
		assert_int_equal(last_hold, 0);
	}
	limits_release(limits, 0, 0); /* nothing */
	assert_int_equal(all_counts(), 0);
}

/* ------------------------------------------------------------------------------ per address */

static int admitted_in_a_row(const char *text)
{
	int count = 0;

	while (count < 10000 && admit(text) == LIMITS_ADMITTED)
		count++;
	return count;
}

static void rule13_a_rate_lets_a_burst_pass(void **state)
{
	(void)state;
	limits_open((struct limits_config){.rate_per_address = 2 * HOUR, .rate_burst = 4});
	assert_int_equal(admitted_in_a_row("192.0.2.7"), 4);
	assert_int_equal(admit("192.0.2.7"), LIMITS_RATE);
	assert_int_equal(last_hold, 0);
	assert_int_equal(admit("192.0.2.8"), LIMITS_ADMITTED);
	now_ns += SECOND / 2 - 1; /* two in a second */
	assert_int_equal(admit("192.0.2.7"), LIMITS_RATE);
	now_ns += 1;
	assert_int_equal(admitted_in_a_row("192.0.2.7"), 1);
	now_ns += SECOND;
	assert_int_equal(admitted_in_a_row("192.0.2.7"), 2);
	now_ns += 3600 * SECOND; /* no more than a burst is saved up */
	assert_int_equal(admitted_in_a_row("192.0.2.7"), 4);
}

static void rule13_refused_attempts_cost_nothing(void **state)
{
	(void)state;
	limits_open((struct limits_config){
	    .rate_per_address = HOUR, .rate_burst = 1, .max_per_address = 1, .max_per_prefix = 2});
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
	now_ns += 10 * SECOND;
	for (int i = 0; i < 100; i++) /* refused by the count: the rate is not touched */
		assert_int_equal(admit("192.0.2.7"), LIMITS_ADDRESS);
	limits_clear_worker(limits, 0);
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
	limits_clear_worker(limits, 0);
	for (int i = 0; i < 100; i++) /* refused by the rate: nothing is counted */
		assert_int_equal(admit("192.0.2.7"), LIMITS_RATE);
	assert_int_equal(all_counts(), 0);
	now_ns += SECOND;
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
}

static void rule13_bursts_have_sensible_defaults(void **state)
{
	static const struct {
		long long rate, burst;
		int admitted;
	} cases[] = {
	    {1, 0, 5}, {HOUR, 0, 5}, {6 * HOUR, 0, 6}, {300 * HOUR, 0, 300}, {300 * HOUR, 1, 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		limits_open((struct limits_config){.rate_per_address = cases[i].rate,
						   .rate_burst = cases[i].burst});
		assert_int_equal(admitted_in_a_row("192.0.2.7"), cases[i].admitted);
		limits = limits_free(limits);
	}
}

static size_t rows_in_use(void)
{
	size_t used = 0;

	for (size_t row = 0; row < limits->rows; row++)
		used += atomic_load(&limits->tags[row]) != 0;
	return used;
}

static void rule13_of_ipv6_the_network_has_the_rate(void **state)
{
	(void)state;
	limits_open(
	    (struct limits_config){.rate_per_address = HOUR, .rate_burst = 2, .prefix_ipv6 = 56});
	assert_int_equal(admit("2001:db8::1"), LIMITS_ADMITTED);
	assert_int_equal(admit("2001:db8:0:ff::2"), LIMITS_ADMITTED);
	assert_int_equal(admit("2001:db8:0:7::3"), LIMITS_RATE);
	assert_int_equal(rows_in_use(), 1); /* nothing is kept of the addresses */
	assert_int_equal(admit("2001:db8:0:100::1"), LIMITS_ADMITTED);
}

static void rule13_the_rate_is_over_all_workers(void **state)
{
	(void)state;
	limits_open(
	    (struct limits_config){.rate_per_address = HOUR, .rate_burst = 3, .workers = 3});
	for (int slot = 0; slot < 3; slot++)
		assert_int_equal(admit_by(slot, "192.0.2.7"), LIMITS_ADMITTED);
	for (int slot = 0; slot < 3; slot++)
		assert_int_equal(admit_by(slot, "192.0.2.7"), LIMITS_RATE);
}

static void rule13_a_clock_that_jumps_shuts_nobody_out(void **state)
{
	(void)state;
	limits_open((struct limits_config){.rate_per_address = HOUR, .rate_burst = 3});
	assert_int_equal(admitted_in_a_row("192.0.2.7"), 3);
	now_ns -= 900 * SECOND; /* it owes a burst, no more */
	assert_int_equal(admit("192.0.2.7"), LIMITS_RATE);
	now_ns += SECOND;
	assert_int_equal(admit("192.0.2.7"), LIMITS_RATE); /* as if it had just used it up */
	now_ns = START - 900 * SECOND;
	atomic_store(&limits->ahead[0], 0);
	for (size_t row = 0; row < limits->rows; row++)
		atomic_store(&limits->ahead[row], INT64_MAX); /* whatever a bad worker wrote */
	now_ns = START;
	assert_int_equal(admit("192.0.2.7"), LIMITS_RATE);
	now_ns = INT64_MAX / 4; /* a century on */
	for (size_t row = 0; row < limits->rows; row++)
		atomic_store(&limits->ahead[row], INT64_MIN);
	assert_int_equal(admitted_in_a_row("192.0.2.7"), 3);
}

static void the_slowest_and_the_fastest_rate_fit(void **state)
{
	(void)state;
	limits_open((struct limits_config){.rate_per_address = 1, .rate_burst = 1000000});
	assert_int_equal(admitted_in_a_row("192.0.2.7"), 10000);
	limits = limits_free(limits);
	limits_open((struct limits_config){.rate_per_address = 1000000LL * HOUR, .rate_burst = 1});
	assert_int_equal(admitted_in_a_row("192.0.2.7"), 1);
	now_ns += 1000;
	assert_int_equal(admitted_in_a_row("192.0.2.7"), 1);
}

/* ------------------------------------------------------------------------------ accept rate */

static int taken_in_a_row(void)
{
	int count = 0;

	while (count < 10000 && limits_take(limits, now_ns) == 0)
		count++;
	return count;
}

static void rule13_the_accept_rate_tells_how_long_to_wait(void **state)
{
	(void)state;
	limits_open((struct limits_config){.accept_rate = 10 * HOUR, .accept_burst = 3});
	assert_int_equal(taken_in_a_row(), 3);
	assert_true(limits_take(limits, now_ns) == SECOND / 10);
	now_ns += SECOND / 10 - 1;
	assert_true(limits_take(limits, now_ns) == 1);
	now_ns += 1;
	assert_int_equal(taken_in_a_row(), 1);
	now_ns += 1000 * SECOND;
	assert_int_equal(taken_in_a_row(), 3);
	now_ns -= 500 * SECOND;
	assert_true(limits_take(limits, now_ns) == SECOND / 10); /* a burst owed, no more */
}

static void rule13_a_turn_that_was_not_used_is_given_back(void **state)
{
	(void)state;
	limits_open((struct limits_config){.accept_rate = HOUR, .accept_burst = 2});
	for (int i = 0; i < 1000; i++) { /* refused offenders take none */
		assert_int_equal(limits_take(limits, now_ns), 0);
		limits_give_back(limits);
	}
	assert_int_equal(taken_in_a_row(), 2);
}

static void without_an_accept_rate_there_is_always_a_turn(void **state)
{
	(void)state;
	limits_open((struct limits_config){.max_per_address = 1});
	assert_int_equal(taken_in_a_row(), 10000);
	limits = limits_free(limits);
	limits_open((struct limits_config){.accept_rate = HOUR}); /* burst: at least one */
	assert_int_equal(taken_in_a_row(), 1);
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED); /* nothing per source */
	limits = limits_free(limits);
	limits_open((struct limits_config){.accept_rate = 70 * HOUR}); /* a second's worth */
	assert_int_equal(taken_in_a_row(), 70);
}

/* ---------------------------------------------------------------------------------- the log */

static void one_line_in_five_seconds_of_each_kind(void **state)
{
	uint64_t held = 77;

	(void)state;
	limits_open((struct limits_config){.max_per_address = 1, .workers = 2});
	assert_true(limits_notice(limits, LIMITS_ADDRESS, now_ns, &held));
	assert_int_equal(held, 0);
	for (int i = 0; i < 9; i++)
		assert_false(limits_notice(limits, LIMITS_ADDRESS, now_ns + i, &held));
	assert_true(limits_notice(limits, LIMITS_RATE, now_ns, &held)); /* another kind */
	assert_int_equal(held, 0);
	assert_false(limits_notice(limits, LIMITS_ADDRESS, now_ns + 5 * SECOND - 1, &held));
	assert_true(limits_notice(limits, LIMITS_ADDRESS, now_ns + 5 * SECOND, &held));
	assert_int_equal(held, 10);
}

int main(void)
{
#define LIMITS_TEST(name) cmocka_unit_test_teardown(name, limits_teardown)
	const struct CMUnitTest tests[] = {
	    LIMITS_TEST(rule13_without_limits_there_is_nothing),
	    LIMITS_TEST(rule13_an_address_is_held_to_its_limit),
	    LIMITS_TEST(rule13_there_is_one_count_over_all_workers),
	    LIMITS_TEST(rule13_a_network_is_held_to_its_limit),
	    LIMITS_TEST(rule13_networks_are_cut_to_the_bit),
	    LIMITS_TEST(rule13_both_limits_hold_together),
	    LIMITS_TEST(rule13_an_address_is_not_its_own_network),
	    LIMITS_TEST(rule13_mapped_ipv4_is_ipv4),
	    LIMITS_TEST(rule13_unix_clients_have_no_source),
	    LIMITS_TEST(rule13_a_rate_lets_a_burst_pass),
	    LIMITS_TEST(rule13_refused_attempts_cost_nothing),
	    LIMITS_TEST(rule13_bursts_have_sensible_defaults),
	    LIMITS_TEST(rule13_of_ipv6_the_network_has_the_rate),
	    LIMITS_TEST(rule13_the_rate_is_over_all_workers),
	    LIMITS_TEST(rule13_a_clock_that_jumps_shuts_nobody_out),
	    LIMITS_TEST(the_slowest_and_the_fastest_rate_fit),
	    LIMITS_TEST(rule13_the_accept_rate_tells_how_long_to_wait),
	    LIMITS_TEST(rule13_a_turn_that_was_not_used_is_given_back),
	    LIMITS_TEST(without_an_accept_rate_there_is_always_a_turn),
	    LIMITS_TEST(one_line_in_five_seconds_of_each_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
