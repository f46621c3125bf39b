/*
 * test_access_names.c - rules about host names, over resolvers that lie, fail and say too much.
 */
#include "access_fixture.h"

static void rule12_dns_is_asked_only_for_names_and_once(void **state)
{
	struct liar liar = {.rc = 1, .names = {"host.example"}};

	(void)state;
	decided(
	    "[{mask => '^10\\.\\d+\\.', accept => 1}, {mask => '^2001:db8:', accept => 1}, {net "
	    "=> '10.0.0.0/8', accept => 1}, {mask => '.*'}]",
	    "192.0.2.7", &liar);
	assert_int_equal(liar.calls, 0);
	/* The address matched before a name was needed; another key did not match at all. */
	assert_int_equal(decided("[{net => '10.0.0.0/8', mask => 'x'}, {mask => ['^a\\.example$', "
				 "'^192\\.'], accept => 1}]",
				 "192.0.2.7", &liar),
			 2);
	assert_int_equal(liar.calls, 0);
	assert_int_equal(decided("[{mask => '^a\\.example$'}, {mask => '^b\\.example$'}, {mask => "
				 "'^host\\.example$', accept => 1}]",
				 "192.0.2.7", &liar),
			 3);
	assert_int_equal(liar.calls, 1);
	assert_in_range(liar.left_ms, 1, ACCESS_NAMES_MS);
}

static void rule12_confirmed_names_match_in_lower_case(void **state)
{
	struct liar liar = {.rc = 2, .names = {"Other.Example", "HOST.Example."}};
	struct access_verdict verdict =
	    ask("[{mask => '^host\\.example$', accept => 1}]", "192.0.2.7", &liar);

	(void)state;
	assert_true(verdict.allowed);
	assert_string_equal(verdict.name, "host.example");
	assert_false(verdict.name_unknown);
	assert_string_equal(verdict.why, "allowed by rule 1 (F:1:2) mask ^host\\.example$: name "
					 "host.example matches");
	verdict = ask("[{mask => '^x\\.example$', accept => 1}]", "192.0.2.7", &liar);
	assert_false(verdict.allowed);
	assert_string_equal(verdict.name, "other.example"); /* found, though it did not help */
}

static void rule12_an_unknown_name_never_allows_and_meets_deny_rules(void **state)
{
	static const char allow[] = "[{mask => '^(?!x)host', accept => 1}]";
	static const char deny[] = "[{mask => '^bad\\.example$'}, {accept => 1}]";
	static const int codes[] = {0, -ETIMEDOUT, -EAGAIN, -EIO};
	struct access_verdict verdict;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		struct liar liar = {.rc = codes[i], .names = {"host"}};

		verdict = ask(allow, "192.0.2.7", &liar);
		assert_false(verdict.allowed);
		assert_true(verdict.name_unknown);
		assert_string_equal(verdict.name, "");
		assert_string_equal(verdict.why, "denied: no rule matched");
		assert_int_equal(decided(deny, "192.0.2.7", &liar), -1);
	}
	assert_int_equal(decided(deny, "192.0.2.7", NULL), -1);
	assert_int_equal(decided(allow, "192.0.2.7", NULL), 0);
}

static void rule12_words_say_why_a_name_is_unknown(void **state)
{
	static const char deny[] = "[{mask => '^bad$'}]";
	struct liar none = {.rc = 0}, slow = {.rc = -ETIMEDOUT}, dead = {.rc = -EIO};

	(void)state;
	assert_non_null(strstr(ask(deny, "192.0.2.7", &none).why,
			       ": the name is unknown: no name leads back to the address"));
	assert_non_null(strstr(ask(deny, "192.0.2.7", &slow).why, ": the look-up took too long"));
	assert_non_null(
	    strstr(ask(deny, "192.0.2.7", &dead).why, ": the look-up failed (error 5)"));
}

/* What a resolver of any make could hand on from DNS, and no host can be called. */
static void rule12_names_of_other_bytes_are_dropped_and_leave_doubt(void **state)
{
	static char huge[300], fits[256];
	const char *const wrong[] = {
	    "",           ".",           "host example", "host\n",    "host;id",
	    "host~1",     "() {",        "-f.root",      "..",        "a..b",
	    ".host",      "h\xc3\xb6st", "host..",       "127.0.0.1", "0x7f.0.1",
	    "2130706433", "1.2.3.4.5",   huge,           "host/x",
	};

	(void)state;
	memset(huge, 'a', sizeof huge - 1);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct liar liar = {.rc = 1, .names = {wrong[i]}};

		assert_int_equal(decided("[{mask => '^.*[^x]*$', accept => 1}]", "::1", &liar), 1);
		assert_int_equal(decided("[{mask => '(?:)^[^:]*$', accept => 1}]", "::1", &liar),
				 0);
		assert_int_equal(decided("[{mask => '^bad$'}, {accept => 1}]", "::1", &liar), -1);
	}
	memset(fits, 'a', sizeof fits - 1);
	{
		struct liar liar = {.rc = 2, .names = {fits, "a b"}};

		/* The good one counts, but what was dropped might have been the bad one. */
		assert_int_equal(decided("[{mask => '^a+$', accept => 1}]", "::1", &liar), 1);
		assert_int_equal(decided("[{mask => '^bad$'}, {accept => 1}]", "::1", &liar), -1);
		assert_int_equal(strlen(ask("[{mask => '^x$'}]", "::1", &liar).name), 255);
	}
}

static void rule12_too_many_names_are_cut_and_leave_doubt(void **state)
{
	struct liar liar = {.rc = 40};

	(void)state;
	for (size_t i = 0; i < 39; i++)
		liar.names[i] = i < 33 ? "some.example" : "last.example";
	assert_int_equal(decided("[{mask => '^last\\.example$', accept => 1}]", "::1", &liar), 0);
	assert_int_equal(decided("[{mask => '^bad$'}, {accept => 1}]", "::1", &liar), -1);
	assert_int_equal(decided("[{mask => '^some\\.', accept => 1}]", "::1", &liar), 1);
}

static void rule12_names_that_look_like_addresses_do_not_pass(void **state)
{
	struct liar liar = {.rc = 1, .names = {"192.168.1.1.evil.example"}};

	(void)state;
	/* Asked for another mask, the name still is no match for one about addresses. */
	assert_int_equal(decided("[{mask => ['^192\\.168\\.1\\.', '^trusted$'], accept => 1}]",
				 "203.0.113.9", &liar),
			 0);
	assert_int_equal(liar.calls, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rule12_dns_is_asked_only_for_names_and_once),
	    cmocka_unit_test(rule12_confirmed_names_match_in_lower_case),
	    cmocka_unit_test(rule12_an_unknown_name_never_allows_and_meets_deny_rules),
	    cmocka_unit_test(rule12_words_say_why_a_name_is_unknown),
	    cmocka_unit_test(rule12_names_of_other_bytes_are_dropped_and_leave_doubt),
	    cmocka_unit_test(rule12_too_many_names_are_cut_and_leave_doubt),
	    cmocka_unit_test(rule12_names_that_look_like_addresses_do_not_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
