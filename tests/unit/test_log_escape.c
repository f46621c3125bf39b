/* test_log_escape.c - what passes into a log line, what is escaped, and where it is cut. */
#include "log/sink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *in, size_t length, const char *wanted)
{
	char out[256];
	size_t n = log_escape(out, sizeof out, in, length);

	assert_string_equal(out, wanted);
	assert_int_equal(n, strlen(wanted));
}

#define EXPECT(in, wanted) expect(in, sizeof(in) - 1, wanted)

static void rule17_every_byte_alone(void **state)
{
	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		char in = (char)byte, wanted[8];

		if (byte == '\n')
			strcpy(wanted, "\\n");
		else if (byte == '\t')
			strcpy(wanted, "\\t");
		else if (byte == '\\')
			strcpy(wanted, "\\\\");
		else if (byte < 0x20 || byte >= 0x7f)
			snprintf(wanted, sizeof wanted, "\\x%02x", (unsigned)byte);
		else
			snprintf(wanted, sizeof wanted, "%c", byte);
		expect(&in, 1, wanted);
	}
}

static void rule17_terminal_tricks_are_harmless(void **state)
{
	(void)state;
	EXPECT("\033[2J\033]0;title\a", "\\x1b[2J\\x1b]0;title\\x07");
	EXPECT("ok\r\nSun Nov 22 forged", "ok\\x0d\\nSun Nov 22 forged");
	EXPECT("a\0b", "a\\x00b");
	EXPECT("\\n is not a newline", "\\\\n is not a newline");
	EXPECT("\x9b"
	       "2J",
	       "\\x9b2J");
	EXPECT("", "");
}

static void rule17_c1_as_utf8_is_escaped(void **state)
{
	(void)state;
	for (int low = 0x80; low <= 0x9f; low++) {
		char in[2] = {(char)0xc2, (char)low}, wanted[16];

		snprintf(wanted, sizeof wanted, "\\xc2\\x%02x", (unsigned)low);
		expect(in, 2, wanted);
	}
	EXPECT("\xc2\xa0", "\xc2\xa0");
}

static void valid_utf8_passes(void **state)
{
	(void)state;
	EXPECT("J\xc3\xb6rg", "J\xc3\xb6rg");
	EXPECT("\xe2\x82\xac", "\xe2\x82\xac");
	EXPECT("\xef\xbf\xbf", "\xef\xbf\xbf");
	EXPECT("\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80");
	EXPECT("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80");
	EXPECT("\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf");
}

static void rule17_invalid_utf8_is_escaped(void **state)
{
	(void)state;
	EXPECT("\xc0\x8a", "\\xc0\\x8a");                   /* overlong newline */
	EXPECT("\xc1\xbf", "\\xc1\\xbf");                   /* overlong, 2 bytes */
	EXPECT("\xe0\x80\x8a", "\\xe0\\x80\\x8a");          /* overlong, 3 bytes */
	EXPECT("\xe0\x9f\xbf", "\\xe0\\x9f\\xbf");          /* the last of them */
	EXPECT("\xf0\x80\x80\x8a", "\\xf0\\x80\\x80\\x8a"); /* overlong, 4 bytes */
	EXPECT("\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf"); /* the last of them */
	EXPECT("\xed\xa0\x80\xed\xbf\xbf", "\\xed\\xa0\\x80\\xed\\xbf\\xbf"); /* surrogates */
	EXPECT("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");                   /* past U+10FFFF */
	EXPECT("\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80");          /* 5 bytes */
	EXPECT("\xe2\x82", "\\xe2\\x82");                                     /* cut */
	EXPECT("\xe2\x82z", "\\xe2\\x82z");                                   /* interrupted */
	EXPECT("\xc3\xc3\xb6", "\\xc3\xc3\xb6"); /* valid after invalid */
	EXPECT("\x80", "\\x80");                 /* a tail alone */
}

/* Where an escape or a character does not fit, nothing of it is written. */
static void rule17_cut_falls_between_characters(void **state)
{
	static const struct {
		const char *in;
		size_t unit; /* length of its escaped form */
	} table[] = {{"\n", 2}, {"\x01", 4}, {"\xc2\x85", 8}, {"\xe2\x82\xac", 3}, {"\xff", 4}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		char in[8], out[32];

		snprintf(in, sizeof in, "a%s", table[i].in);
		for (size_t size = 1; size <= 1 + table[i].unit + 1; size++) {
			size_t taken, n, wanted = size < 2 ? 0 : 1;

			if (size == 1 + table[i].unit + 1)
				wanted += table[i].unit;
			memset(out, '#', sizeof out);
			n = log_escape_upto(out, size, in, strlen(in), &taken);
			assert_int_equal(n, wanted);
			assert_int_equal(out[n], '\0');
			assert_int_equal(out[size], '#');
			assert_int_equal(taken == strlen(in), wanted > 1);
		}
	}
}

static void a_buffer_of_size_0_is_left_alone(void **state)
{
	char out[] = "#";

	(void)state;
	assert_int_equal(log_escape(out, 0, "x", 1), 0);
	assert_string_equal(out, "#");
	assert_int_equal(log_escape(out, 1, "x", 1), 0);
	assert_string_equal(out, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rule17_every_byte_alone),
	    cmocka_unit_test(rule17_terminal_tricks_are_harmless),
	    cmocka_unit_test(rule17_c1_as_utf8_is_escaped),
	    cmocka_unit_test(valid_utf8_passes),
	    cmocka_unit_test(rule17_invalid_utf8_is_escaped),
	    cmocka_unit_test(rule17_cut_falls_between_characters),
	    cmocka_unit_test(a_buffer_of_size_0_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
