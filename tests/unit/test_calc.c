/*
 * test_calc.c - the calculator's parser: precedence, literals, every error with its column, hostile
 * text. Values were checked against perl -Minteger.
 */
#include "calc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct good {
	const char *text;
	int64_t value;
};

struct bad {
	const char *text;
	int code;
	size_t column;
	const char *words;
};

static void expect_values(const struct good *good, size_t count)
{
	struct calc_error error;
	int64_t value;

	for (size_t i = 0; i < count; i++) {
		value = ~good[i].value;
		if (calc_eval(good[i].text, strlen(good[i].text), &value, &error) < 0)
			fail_msg("%s: column %zu: %s", good[i].text, error.column, error.words);
		if (value != good[i].value)
			fail_msg("%s is %lld, not %lld", good[i].text, (long long)good[i].value,
				 (long long)value);
	}
}

static void expect_errors(const struct bad *bad, size_t count)
{
	struct calc_error error;
	int64_t value;

	for (size_t i = 0; i < count; i++) {
		value = 4711;
		if (calc_eval(bad[i].text, strlen(bad[i].text), &value, &error) != bad[i].code)
			fail_msg("%s: wrong code", bad[i].text);
		if (strcmp(error.words, bad[i].words) != 0 || error.column != bad[i].column)
			fail_msg("%s: column %zu: %s", bad[i].text, error.column, error.words);
		assert_int_equal(value, 4711);
	}
}

static void literals_have_four_bases(void **state)
{
	static const struct good good[] = {
	    {"0", 0},
	    {"42", 42},
	    {"0x2a", 42},
	    {"0X2A", 42},
	    {"0b101010", 42},
	    {"0B1", 1},
	    {"052", 42},
	    {"00", 0},
	    {"9223372036854775807", INT64_MAX},
	    {"0xffffffffffffffff", -1},
	    {"01777777777777777777777", -1},
	    {"0x8000000000000000", INT64_MIN},
	};

	(void)state;
	expect_values(good, COUNT(good));
}

static void literals_are_strict(void **state)
{
	static const struct bad bad[] = {
	    {"08", -EINVAL, 2, "not a digit of this number"},
	    {"12a", -EINVAL, 3, "not a digit of this number"},
	    {"0b12", -EINVAL, 4, "not a digit of this number"},
	    {"0xg", -EINVAL, 3, "not a digit of this number"},
	    {"0x", -EINVAL, 3, "digits expected"},
	    {"1 + 0b", -EINVAL, 7, "digits expected"},
	    {"9223372036854775808", -ERANGE, 1, "number out of range"},
	    {"1 + 0x10000000000000000", -ERANGE, 5, "number out of range"},
	    {"99999999999999999999999999", -ERANGE, 1, "number out of range"},
	    {"1.5", -EINVAL, 2, "an operator expected"},
	};

	(void)state;
	expect_errors(bad, COUNT(bad));
}

static void precedence_is_perls(void **state)
{
	static const struct good good[] = {
	    {"1 + 2 * 3", 7},       {"(1 + 2) * 3", 9},   {"2 * 3 ** 2", 18},
	    {"-2 ** 2", -4},        {"(-2) ** 2", 4},     {"2 ** 3 ** 2", 512},
	    {"2 ** +3", 8},         {"~2 ** 2", ~4LL},    {"-~5", 6},
	    {"- - 5", 5},           {"1 << 2 + 1", 8},    {"1 + 1 << 2", 8},
	    {"64 >> 2 << 1", 32},   {"6 & 3 << 1", 6},    {"1 | 6 & 4", 5},
	    {"1 | 3 ^ 3", 0},       {"3 ^ 3 | 1", 1},     {"1 - 2 - 3", -4},
	    {"100 / 10 / 5", 2},    {"100 / 10 * 5", 50}, {"7 - -7", 14},
	    {"7--7", 14},           {"2**-0", 1},         {"3*-2", -6},
	    {" \t( ( 1 ) )\t ", 1},
	};

	(void)state;
	expect_values(good, COUNT(good));
}

static void arithmetic_is_that_of_signed_integers(void **state)
{
	static const struct good good[] = {
	    {"7 / 2", 3},
	    {"-7 / 2", -3},
	    {"7 / -2", -3},
	    {"7 % 3", 1},
	    {"-7 % 3", -1},
	    {"7 % -3", 1},
	    {"-8 >> 1", -4},
	    {"-1 << 63", INT64_MIN},
	    {"1 << 63", INT64_MIN},
	    {"3 << 63", INT64_MIN},
	    {"1 >> 63", 0},
	    {"-1 >> 63", -1},
	    {"~0", -1},
	    {"0 ** 0", 1},
	    {"0 ** 9223372036854775807", 0},
	    {"(-1) ** 9223372036854775807", -1},
	    {"2 ** 62", 1LL << 62},
	    {"(-2) ** 63", INT64_MIN},
	    {"3037000499 * 3037000499", 9223372030926249001},
	};

	(void)state;
	expect_values(good, COUNT(good));
}

static void the_lowest_number_can_be_typed_and_used(void **state)
{
	static const struct good good[] = {
	    {"-9223372036854775808", INT64_MIN},     {"- 9223372036854775808", INT64_MIN},
	    {"-9223372036854775808 % -1", 0},        {"-9223372036854775808 + 1", INT64_MIN + 1},
	    {"-9223372036854775808 * 1", INT64_MIN}, {"0 + -9223372036854775808", INT64_MIN},
	};
	static const struct bad bad[] = {
	    {"-9223372036854775808 / -1", -ERANGE, 22, "result out of range"},
	    {"-9223372036854775808 * -1", -ERANGE, 22, "result out of range"},
	    {"--9223372036854775808", -ERANGE, 1, "result out of range"},
	    {"0-9223372036854775808", -ERANGE, 3, "number out of range"},
	    {"-9223372036854775808 ** 1", -ERANGE, 2, "number out of range"},
	    {"-92233720368547758080", -ERANGE, 2, "number out of range"},
	};

	(void)state;
	expect_values(good, COUNT(good));
	expect_errors(bad, COUNT(bad));
}

static void values_that_do_not_exist_are_errors(void **state)
{
	static const struct bad bad[] = {
	    {"1 / 0", -EDOM, 3, "division by zero"},
	    {"1/(2-2)", -EDOM, 2, "division by zero"},
	    {"1 % 0", -EDOM, 3, "division by zero"},
	    {"2 ** -1", -EDOM, 3, "negative exponent"},
	    {"1 << 64", -EDOM, 3, "shift count must be 0 to 63"},
	    {"1 >> -1", -EDOM, 3, "shift count must be 0 to 63"},
	    {"2 ** 63", -ERANGE, 3, "result out of range"},
	    {"10 ** 9223372036854775807", -ERANGE, 4, "result out of range"},
	    {"9223372036854775807 + 1", -ERANGE, 21, "result out of range"},
	    {"-9223372036854775807 - 2", -ERANGE, 22, "result out of range"},
	    {"4611686018427387904 * 2", -ERANGE, 21, "result out of range"},
	    {"-(0-9223372036854775807-1)", -ERANGE, 1, "result out of range"},
	};

	(void)state;
	expect_errors(bad, COUNT(bad));
}

static void what_is_no_expression_is_named_by_its_column(void **state)
{
	static const struct bad bad[] = {
	    {"", -EINVAL, 1, "the expression is not complete"},
	    {"   ", -EINVAL, 4, "the expression is not complete"},
	    {"1 +", -EINVAL, 4, "the expression is not complete"},
	    {"(1", -EINVAL, 3, "an operator or ) expected"},
	    {"(1 2)", -EINVAL, 4, "an operator or ) expected"},
	    {"1)", -EINVAL, 2, "an operator expected"},
	    {"()", -EINVAL, 2, "a number, a sign or ( expected"},
	    {"* 2", -EINVAL, 1, "a number, a sign or ( expected"},
	    {"1 ***2", -EINVAL, 5, "a number, a sign or ( expected"},
	    {"1 < 2", -EINVAL, 3, "an operator expected"},
	    {"1 2", -EINVAL, 3, "an operator expected"},
	    {"system('id')", -EINVAL, 1, "a number, a sign or ( expected"},
	    {"1; 2", -EINVAL, 2, "an operator expected"},
	    {"1\r", -EINVAL, 2, "an operator expected"},
	    {"1 + \xc3\xa4", -EINVAL, 5, "a number, a sign or ( expected"},
	};

	(void)state;
	expect_errors(bad, COUNT(bad));
}

static void a_nul_byte_is_no_end(void **state)
{
	struct calc_error error;
	int64_t value = 5;

	(void)state;
	assert_int_equal(calc_eval("1\0002", 3, &value, &error), -EINVAL);
	assert_int_equal(error.column, 2);
	assert_int_equal(calc_eval("\0", 1, &value, &error), -EINVAL);
	assert_int_equal(error.column, 1);
	assert_int_equal(value, 5);
}

/* The text is exactly as long as said: the memory behind it must not be read. */
static void nothing_behind_the_text_is_read(void **state)
{
	static const char text[] = "-9223372036854775808 ** 0x1 << 2";
	struct calc_error error;
	int64_t value;
	char *copy;

	(void)state;
	for (size_t n = 1; n < sizeof text; n++) {
		copy = malloc(n);
		assert_non_null(copy);
		memcpy(copy, text, n);
		(void)calc_eval(copy, n, &value, &error);
		free(copy);
	}
}

/* head times n, then tail: does it end without a crash, and how? */
static int eval_repeated(const char *head, size_t n, const char *tail, struct calc_error *error)
{
	size_t size = strlen(head), end = strlen(tail);
	char *text = malloc(n * size + end + 1);
	int64_t value;
	int result;

	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		memcpy(text + i * size, head, size);
	memcpy(text + n * size, tail, end + 1);
	result = calc_eval(text, n * size + end, &value, error);
	free(text);
	return result;
}

static void deep_nesting_is_refused_not_crashed_on(void **state)
{
	static const char *const heads[] = {"(", "-", "~", "+", "2**", "1+(", "-(", "- "};
	struct calc_error error;

	(void)state;
	for (size_t i = 0; i < COUNT(heads); i++) {
		assert_int_equal(eval_repeated(heads[i], 65536, "1", &error), -EINVAL);
		assert_string_equal(error.words, "nested too deeply");
		assert_int_equal(eval_repeated(heads[i], CALC_DEPTH_MAX, "1", &error), -EINVAL);
		assert_string_equal(error.words, "nested too deeply");
	}
	assert_int_equal(eval_repeated("-", CALC_DEPTH_MAX - 1, "1", &error), 0);
	assert_int_equal(eval_repeated("1|1^1&1<<1+1*(", CALC_DEPTH_MAX - 1, "1", &error), -EINVAL);
	assert_string_equal(error.words, "an operator or ) expected");
}

static void long_flat_expressions_are_fine(void **state)
{
	struct calc_error error;

	(void)state;
	assert_int_equal(eval_repeated("1+", 30000, "1", &error), 0);
	assert_int_equal(eval_repeated("(1)*-1+", 9000, "1", &error), 0);
	assert_int_equal(eval_repeated(" ", 65000, "1", &error), 0);
}

static void results_have_perls_formats(void **state)
{
	static const struct {
		int64_t value;
		const char *dec, *hex, *oct;
	} rows[] = {
	    {0, "0", "0", "0"},
	    {255, "255", "ff", "377"},
	    {-1, "-1", "ffffffffffffffff", "1777777777777777777777"},
	    {INT64_MIN, "-9223372036854775808", "8000000000000000", "1000000000000000000000"},
	};
	char out[CALC_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(calc_format(out, rows[i].value, "dec"), strlen(rows[i].dec));
		assert_string_equal(out, rows[i].dec);
		assert_int_equal(calc_format(out, rows[i].value, "hex"), strlen(rows[i].hex));
		assert_string_equal(out, rows[i].hex);
		assert_int_equal(calc_format(out, rows[i].value, "oct"), strlen(rows[i].oct));
		assert_string_equal(out, rows[i].oct);
	}
	assert_int_equal(calc_format(out, 1, "bin"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(literals_have_four_bases),
	    cmocka_unit_test(literals_are_strict),
	    cmocka_unit_test(precedence_is_perls),
	    cmocka_unit_test(arithmetic_is_that_of_signed_integers),
	    cmocka_unit_test(the_lowest_number_can_be_typed_and_used),
	    cmocka_unit_test(values_that_do_not_exist_are_errors),
	    cmocka_unit_test(what_is_no_expression_is_named_by_its_column),
	    cmocka_unit_test(a_nul_byte_is_no_end),
	    cmocka_unit_test(nothing_behind_the_text_is_read),
	    cmocka_unit_test(deep_nesting_is_refused_not_crashed_on),
	    cmocka_unit_test(long_flat_expressions_are_fine),
	    cmocka_unit_test(results_have_perls_formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
