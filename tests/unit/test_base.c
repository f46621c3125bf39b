/* test_base.c - errors in words, buffers, strict numbers, the throttle. */
#include "base/base.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void err_keeps_code_and_words(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(err_set(&err, -EINVAL, "found '%s'", "x"), -EINVAL);
	assert_string_equal(err.text, "found 'x'");
	assert_int_equal(err_prefix(&err, "%s:%d: ", "f", 3), -EINVAL);
	assert_string_equal(err.text, "f:3: found 'x'");
	assert_int_equal(err_sys(&err, -ENOENT, "open %s", "f"), -ENOENT);
	assert_string_equal(err.text, "open f: No such file or directory");
	assert_int_equal(err_set(NULL, -EIO, "nobody listens"), -EIO);
	assert_int_equal(err_sys(NULL, -EIO, "nobody listens"), -EIO);
	assert_int_equal(err_prefix(NULL, "x"), 0);
}

static void err_cuts_what_is_too_long(void **state)
{
	struct err err;
	char text[sizeof err.text + 10];

	(void)state;
	memset(text, 'a', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	err_set(&err, -EINVAL, "%s", text);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
	err_prefix(&err, "here: ");
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
	assert_memory_equal(err.text, "here: aaa", 9);
}

static void buf_grows_up_to_its_maximum(void **state)
{
	struct buf buf;
	char *text;

	(void)state;
	buf_init(&buf, 1000);
	assert_string_equal(buf_text(&buf), "");
	for (int i = 0; i < 100; i++)
		assert_int_equal(buf_adds(&buf, "0123456789"), 0);
	assert_int_equal(buf.len, 1000);
	assert_int_equal(buf_addc(&buf, 'x'), -EMSGSIZE);
	assert_int_equal(buf_addf(&buf, "%d", 1), -EMSGSIZE);
	assert_int_equal(buf.len, 1000);
	text = buf_steal(&buf);
	assert_int_equal(strlen(text), 1000);
	free(text);
	assert_int_equal(buf_addf(&buf, "%s-%d", "a", 7), 0);
	assert_string_equal(buf_text(&buf), "a-7");
	buf_finish(&buf);
	assert_string_equal(buf_text(&buf), "");
	text = buf_steal(&buf);
	assert_string_equal(text, "");
	free(text);
}

static void strlist_copies(void **state)
{
	struct strlist list = {0};
	char text[] = "one";

	(void)state;
	assert_int_equal(strlist_add(&list, text), 0);
	text[0] = 'X';
	assert_int_equal(strlist_addf(&list, "%s-%d", "two", 2), 0);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.items[0], "one");
	assert_string_equal(list.items[1], "two-2");
	assert_null(list.items[2]);
	strlist_finish(&list);
	assert_int_equal(list.count, 0);
}

static void num_is_strict(void **state)
{
	static const char *const wrong[] = {"",    " 1", "1 ", "+1",  "0day", "1e3", "010",
					    "0x1", "-",  "--", "1.0", "-01",  "\n",  "1\n"};
	long long n = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_int_equal(num_parse(wrong[i], LLONG_MIN, LLONG_MAX, &n), -EINVAL);
	assert_int_equal(n, 7);
	assert_int_equal(num_parse("0", 0, 9, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(num_parse("-9223372036854775808", LLONG_MIN, LLONG_MAX, &n), 0);
	assert_true(n == LLONG_MIN);
	assert_int_equal(num_parse("9223372036854775807", LLONG_MIN, LLONG_MAX, &n), 0);
	assert_true(n == LLONG_MAX);
	assert_int_equal(num_parse("9223372036854775808", LLONG_MIN, LLONG_MAX, &n), -ERANGE);
	assert_int_equal(num_parse("-9223372036854775809", LLONG_MIN, LLONG_MAX, &n), -ERANGE);
	assert_int_equal(num_parse("99999999999999999999", LLONG_MIN, LLONG_MAX, &n), -ERANGE);
	assert_int_equal(num_parse("10", 0, 9, &n), -ERANGE);
	assert_int_equal(num_parse("-1", 0, 9, &n), -ERANGE);
}

static void seconds_become_milliseconds(void **state)
{
	static const char *const wrong[] = {"", ".5", "5.", "-1", "1s", "1.5.", "1e3", " 1"};
	int64_t ms = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_int_equal(num_parse_seconds(wrong[i], INT64_MAX, &ms), -EINVAL);
	assert_int_equal(ms, 7);
	assert_int_equal(num_parse_seconds("5", 10000, &ms), 0);
	assert_int_equal(ms, 5000);
	assert_int_equal(num_parse_seconds("0.25", 10000, &ms), 0);
	assert_int_equal(ms, 250);
	assert_int_equal(num_parse_seconds("1.2345", 10000, &ms), 0);
	assert_int_equal(ms, 1234);
	assert_int_equal(num_parse_seconds("0.0009", 10000, &ms), 0);
	assert_int_equal(ms, 1); /* 0 would be "never" */
	assert_int_equal(num_parse_seconds("0.0000", 10000, &ms), 0);
	assert_int_equal(ms, 0);
	assert_int_equal(num_parse_seconds("11", 10000, &ms), -ERANGE);
	assert_int_equal(num_parse_seconds("99999999999999999999999", INT64_MAX, &ms), -ERANGE);
	assert_int_equal(num_parse_seconds("9223372036854779", INT64_MAX, &ms), -ERANGE);
	assert_int_equal(num_parse_seconds("922337203685476", INT64_MAX, &ms), 0);
}

static void deadlines_saturate(void **state)
{
	(void)state;
	assert_true(clock_deadline(-1) == INT64_MAX);
	assert_true(clock_deadline(INT64_MAX) == INT64_MAX);
	assert_int_equal(clock_poll_timeout(INT64_MAX), -1);
	assert_int_equal(clock_poll_timeout(clock_ms() - 5), 0);
	assert_true(clock_poll_timeout(clock_deadline(50)) <= 50);
	assert_int_equal(clock_poll_timeout(INT64_MAX - 1), 60 * 60 * 1000);
}

static void throttle_counts_what_it_holds(void **state)
{
	struct throttle throttle = {0};
	uint64_t held = 99;

	(void)state;
	assert_true(throttle_pass(&throttle, 60000, &held));
	assert_int_equal(held, 0);
	assert_false(throttle_pass(&throttle, 60000, &held));
	assert_false(throttle_pass(&throttle, 60000, &held));
	throttle.next_ms = clock_ms();
	assert_true(throttle_pass(&throttle, 60000, &held));
	assert_int_equal(held, 2);
}

static void all_readings_are_of_one_clock(void **state)
{
	int64_t before = clock_ms(), between = clock_ns(), after = clock_ms();

	(void)state;
	assert_true(before <= between / 1000000);
	assert_true(between / 1000000 <= after);
}

/* The vectors of the authors of SipHash: 0, 1, 2 ... as key and as text. */
static void hashes_are_those_of_the_paper(void **state)
{
	static const struct {
		size_t size;
		uint64_t hash;
	} cases[] = {
	    {0, UINT64_C(0x726fdb47dd0e0e31)},
	    {1, UINT64_C(0x74f839c593dc67fd)},
	    {8, UINT64_C(0x93f5f5799a932462)},
	    {15, UINT64_C(0xa129ca6149be45e5)},
	};
	const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
	const uint64_t other[2] = {key[0], key[1] ^ 1};
	unsigned char text[15];

	(void)state;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (unsigned char)i;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_true(hash_keyed(key, text, cases[i].size) == cases[i].hash);
		assert_true(hash_keyed(other, text, cases[i].size) != cases[i].hash);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(err_keeps_code_and_words),
	    cmocka_unit_test(err_cuts_what_is_too_long),
	    cmocka_unit_test(buf_grows_up_to_its_maximum),
	    cmocka_unit_test(strlist_copies),
	    cmocka_unit_test(num_is_strict),
	    cmocka_unit_test(seconds_become_milliseconds),
	    cmocka_unit_test(deadlines_saturate),
	    cmocka_unit_test(throttle_counts_what_it_holds),
	    cmocka_unit_test(all_readings_are_of_one_clock),
	    cmocka_unit_test(hashes_are_those_of_the_paper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
