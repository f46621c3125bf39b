/*
 * test_conn_input.c - reading: every way in which the bytes of the peer may be cut into pieces
 * gives the same bytes and lines; long lines; the end; failures in the middle; the flush before a
 * wait.
 */
#include "conn_fixture.h"
#include "scarce.h"

static const char talk[] = "one\n\ntwo\r\nthe third line\n\r\nlast, no end";

/* Gathers every line as "<text>" until the end. */
static void gather_lines(struct netd_conn *conn, struct buf *out, bool copies)
{
	char copy[64], *line;
	ssize_t n;

	for (;;) {
		n = copies ? netd_readline(conn, copy, sizeof copy) : netd_line(conn, &line);
		if (n <= 0)
			break;
		if (copies)
			assert_int_equal(strlen(copy), n);
		buf_addc(out, '<');
		buf_add(out, copies ? copy : line, (size_t)n);
		buf_addc(out, '>');
	}
	assert_int_equal(n, 0);
}

static void expect_lines(struct stage *stage, bool copies)
{
	struct buf lines;

	buf_init(&lines, 4096);
	gather_lines(stage->conn, &lines, copies);
	assert_string_equal(buf_text(&lines),
			    "<one\n><\n><two\r\n><the third line\n><\r\n><last, no end>");
	buf_finish(&lines);
}

static void every_split_gives_the_same_lines(void **state)
{
	struct stage *stage = *state;
	size_t size = strlen(talk);

	for (size_t a = 0; a <= size; a++) {
		for (size_t b = a; b <= size; b++) {
			stage_again(stage);
			wire_put(&stage->wire, talk, a);
			wire_put(&stage->wire, talk + a, b - a);
			wire_put(&stage->wire, talk + b, size - b);
			expect_lines(stage, (a + b) % 2);
		}
	}
}

static void single_bytes_give_the_same_lines(void **state)
{
	struct stage *stage = *state;

	for (int copies = 0; copies < 2; copies++) {
		stage_again(stage);
		stage->wire.chunk = 1;
		wire_say(&stage->wire, talk);
		expect_lines(stage, copies);
	}
}

static void a_failed_read_in_a_line_loses_nothing(void **state)
{
	struct stage *stage = *state;

	for (size_t at = 0; at <= strlen(talk); at++) {
		struct buf lines;
		char *line;
		ssize_t n;
		int failures = 0;

		stage_again(stage);
		wire_put(&stage->wire, talk, at);
		wire_fail(&stage->wire, -EINTR);
		wire_say(&stage->wire, talk + at);
		buf_init(&lines, 4096);
		while ((n = netd_line(stage->conn, &line)) != 0) {
			if (n > 0)
				buf_add(&lines, line, (size_t)n);
			else
				failures++;
			assert_true(n > 0 || n == -EINTR);
		}
		assert_string_equal(buf_text(&lines), talk);
		assert_int_equal(failures, 1);
		buf_finish(&lines);
	}
}

/* -------------------------------------------------------------------------------- long lines */

/* length bytes, the last one a newline; free() it. */
static char *long_line(size_t length, char c)
{
	char *text = malloc(length + 1);

	assert_non_null(text);
	memset(text, c, length);
	text[length - 1] = '\n';
	text[length] = '\0';
	return text;
}

static const size_t chunks[] = {0, 1, 7, 4095, 4096, 65535, 65536, 65537};

static void a_line_of_the_greatest_length_is_taken(void **state)
{
	struct stage *stage = *state;
	char *text = long_line(NETD_LINE_MAX, 'x');

	for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
		char *line = NULL;

		stage_again(stage);
		stage->wire.chunk = chunks[i];
		wire_say(&stage->wire, "before\n");
		wire_say(&stage->wire, text);
		wire_say(&stage->wire, "after\n");
		assert_int_equal(netd_line(stage->conn, &line), 7);
		assert_int_equal(netd_line(stage->conn, &line), NETD_LINE_MAX);
		assert_memory_equal(line, text, NETD_LINE_MAX);
		assert_int_equal(netd_chomp(line, NETD_LINE_MAX), NETD_LINE_MAX - 1);
		assert_int_equal(netd_line(stage->conn, &line), 6);
		assert_memory_equal(line, "after\n", 6);
	}
	free(text);
}

static void a_last_line_of_the_greatest_length_needs_no_newline(void **state)
{
	struct stage *stage = *state;
	char *text = long_line(NETD_LINE_MAX, 'x');

	text[NETD_LINE_MAX - 1] = 'y';
	for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
		char *line = NULL;

		stage_again(stage);
		stage->wire.chunk = chunks[i];
		wire_say(&stage->wire, text);
		assert_int_equal(netd_line(stage->conn, &line), NETD_LINE_MAX);
		assert_int_equal(netd_chomp(line, NETD_LINE_MAX), NETD_LINE_MAX);
		assert_string_equal(line, text);
		assert_int_equal(netd_line(stage->conn, &line), 0);
	}
	free(text);
}

static void longer_lines_are_skipped_and_reported_once(void **state)
{
	static const size_t lengths[] = {NETD_LINE_MAX + 1, NETD_LINE_MAX + 2,
					 2 * NETD_LINE_MAX + 5, 3 * NETD_LINE_MAX};
	struct stage *stage = *state;

	for (size_t i = 0; i < ARRAY_LEN(lengths) * ARRAY_LEN(chunks); i++) {
		size_t length = lengths[i / ARRAY_LEN(chunks)];
		char *text = long_line(length, 'x');
		char *line = NULL;

		stage_again(stage);
		stage->wire.chunk = chunks[i % ARRAY_LEN(chunks)];
		wire_say(&stage->wire, "before\n");
		wire_say(&stage->wire, text);
		wire_say(&stage->wire, text);
		wire_say(&stage->wire, "after\n");
		assert_int_equal(netd_line(stage->conn, &line), 7);
		for (int twice = 0; twice < 2; twice++) {
			assert_int_equal(netd_line(stage->conn, &line), -EMSGSIZE);
			assert_string_equal(netd_conn_error(stage->conn),
					    "read: the line is too long");
		}
		assert_int_equal(netd_line(stage->conn, &line), 6);
		assert_memory_equal(line, "after\n", 6);
		assert_int_equal(netd_line(stage->conn, &line), 0);
		free(text);
	}
}

static void a_long_line_without_end_is_too_long_and_then_over(void **state)
{
	struct stage *stage = *state;
	char *text = long_line(NETD_LINE_MAX + 1, 'x');
	char *line = NULL;

	text[NETD_LINE_MAX] = 'y';
	wire_say(&stage->wire, text);
	assert_int_equal(netd_line(stage->conn, &line), -EMSGSIZE);
	assert_int_equal(netd_line(stage->conn, &line), 0);
	assert_null(line);
	free(text);
}

static void a_failure_while_skipping_does_not_end_the_skipping(void **state)
{
	struct stage *stage = *state;
	char *text = long_line(NETD_LINE_MAX + 100, 'x');
	char *line = NULL;

	text[NETD_LINE_MAX + 99] = 'x';
	wire_say(&stage->wire, text);
	wire_fail(&stage->wire, -EINTR);
	wire_say(&stage->wire, "rest\nnext\n");
	assert_int_equal(netd_line(stage->conn, &line), -EMSGSIZE);
	assert_int_equal(netd_line(stage->conn, &line), -EINTR);
	assert_int_equal(netd_line(stage->conn, &line), 5);
	assert_memory_equal(line, "next\n", 5);
	free(text);
}

static void any_read_after_a_long_line_begins_behind_it(void **state)
{
	struct stage *stage = *state;
	char *text = long_line(NETD_LINE_MAX + 100, 'x');
	char data[8192] = "", *line = NULL;

	for (int large = 0; large < 2; large++) {
		stage_again(stage);
		wire_say(&stage->wire, text);
		wire_say(&stage->wire, "abc\ndef\n");
		assert_int_equal(netd_line(stage->conn, &line), -EMSGSIZE);
		assert_int_equal(netd_read(stage->conn, data, large ? sizeof data : 3),
				 large ? 8 : 3);
		assert_memory_equal(data, "abc", 3);
		if (!large) {
			assert_int_equal(netd_line(stage->conn, &line), 1);
			assert_int_equal(netd_line(stage->conn, &line), 4);
		}
		assert_int_equal(netd_line(stage->conn, &line), 0);
	}
	free(text);
}

static void readline_skips_what_does_not_fit(void **state)
{
	struct stage *stage = *state;
	char four[4] = "zzz";

	wire_say(&stage->wire, "abc\nab\nabcd\n\nabc");
	assert_int_equal(netd_readline(stage->conn, four, sizeof four), -EMSGSIZE);
	assert_string_equal(four, "zzz");
	assert_string_equal(netd_conn_error(stage->conn), "read: the line is too long");
	assert_int_equal(netd_readline(stage->conn, four, sizeof four), 3);
	assert_string_equal(four, "ab\n");
	assert_int_equal(netd_readline(stage->conn, four, sizeof four), -EMSGSIZE);
	assert_int_equal(netd_readline(stage->conn, four, 0), -EMSGSIZE);
	assert_int_equal(netd_readline(stage->conn, four, sizeof four), 3);
	assert_string_equal(four, "abc");
	assert_int_equal(netd_readline(stage->conn, four, sizeof four), 0);
}

/* ---------------------------------------------------------------------------- lines in place */

static void chomp_takes_one_ending_off(void **state)
{
	static const struct {
		const char *line, *rest;
	} cases[] = {
	    {"\n", ""},       {"\r\n", ""},   {"\r", ""},         {"a\n", "a"},
	    {"a\r\n", "a"},   {"a\r", "a"},   {"a", "a"},         {"\n\n", "\n"},
	    {"\r\r\n", "\r"}, {"\n\r", "\n"}, {"a b \n", "a b "}, {"\na\n", "\na"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char line[16] = "################";

		memcpy(line, cases[i].line, strlen(cases[i].line));
		assert_int_equal(netd_chomp(line, strlen(cases[i].line)), strlen(cases[i].rest));
		assert_string_equal(line, cases[i].rest);
	}
}

/* A buffer is full to its last byte but the spare one: NUL has its place. */
static void chomp_has_room_behind_a_last_line(void **state)
{
	struct stage *stage = *state;

	for (size_t i = 0; i < 20; i++) {
		size_t full = i < 10 ? CONN_FIRST_BUFFER : 4 * CONN_FIRST_BUFFER;
		size_t length = full - 5 + i % 10;
		char text[4200], *line = NULL;

		memset(text, 'x', length);
		stage_again(stage);
		wire_put(&stage->wire, text, length);
		assert_int_equal(netd_line(stage->conn, &line), length);
		assert_int_equal(netd_chomp(line, length), length);
		assert_int_equal(strlen(line), length);
	}
}

static void a_line_may_hold_nul_and_be_written_to(void **state)
{
	struct stage *stage = *state;
	char *line = NULL;

	wire_put(&stage->wire, "a\0b\nnext\n", 9);
	assert_int_equal(netd_line(stage->conn, &line), 4);
	assert_memory_equal(line, "a\0b\n", 4);
	memset(line, '\n', 4);
	assert_int_equal(netd_line(stage->conn, &line), 5);
	assert_memory_equal(line, "next\n", 5);
}

/* ------------------------------------------------------------------------------------- bytes */

static void reads_are_served_from_the_buffer_first(void **state)
{
	struct stage *stage = *state;
	char data[8192] = "", *line = NULL;

	wire_say(&stage->wire, "line\nabcdef");
	wire_say(&stage->wire, "ghi");
	assert_int_equal(netd_line(stage->conn, &line), 5);
	assert_int_equal(netd_read(stage->conn, data, 0), 0);
	assert_int_equal(netd_read(stage->conn, data, 2), 2);
	assert_memory_equal(data, "ab", 2);
	assert_int_equal(netd_read(stage->conn, data, sizeof data), 4);
	assert_memory_equal(data, "cdef", 4);
	assert_calls(stage, "r");
	assert_int_equal(netd_read(stage->conn, data, sizeof data), 3);
	assert_memory_equal(data, "ghi", 3);
	assert_calls(stage, "r");
}

static void large_reads_go_past_the_buffer_in_order(void **state)
{
	struct stage *stage = *state;
	static char sent[100000], got[100000];
	size_t have = 0;

	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (char)(i * 7 + i / 256);
	for (size_t step = 1; step < 9000; step += 997) {
		size_t turn = 0;

		have = 0;
		stage_again(stage);
		stage->wire.chunk = 5003;
		wire_put(&stage->wire, sent, sizeof sent);
		while (have < sizeof got) {
			size_t want = turn++ % 2 ? step : 8192;
			ssize_t n;

			if (want > sizeof got - have)
				want = sizeof got - have;
			n = netd_read(stage->conn, got + have, want);
			assert_true(n > 0);
			have += (size_t)n;
		}
		assert_memory_equal(got, sent, sizeof sent);
	}
	stage_again(stage);
	wire_put(&stage->wire, sent, 10000);
	assert_int_equal(netd_read(stage->conn, got, sizeof got), 10000); /* in one go */
}

static void read_exact_goes_across_buffers(void **state)
{
	struct stage *stage = *state;
	static char sent[20000], got[20001];
	char *line = NULL;

	memset(sent, 'x', sizeof sent);
	for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
		stage_again(stage);
		stage->wire.chunk = chunks[i];
		wire_say(&stage->wire, "head\n");
		wire_put(&stage->wire, sent, sizeof sent);
		wire_say(&stage->wire, "tail\nrest");
		assert_int_equal(netd_line(stage->conn, &line), 5);
		assert_int_equal(netd_read_exact(stage->conn, got, sizeof sent), sizeof sent);
		assert_memory_equal(got, sent, sizeof sent);
		assert_int_equal(netd_read_exact(stage->conn, got, 0), 0);
		assert_int_equal(netd_line(stage->conn, &line), 5);
		assert_memory_equal(line, "tail\n", 5);
		assert_int_equal(netd_read_exact(stage->conn, got, 100), 4); /* the end */
		assert_int_equal(netd_read_exact(stage->conn, got, 100), 0);
	}
	stage_again(stage);
	wire_say(&stage->wire, "abc");
	wire_fail(&stage->wire, -ECONNRESET);
	assert_int_equal(netd_read_exact(stage->conn, got, 10), -ECONNRESET);
}

static void after_the_end_every_read_gives_nothing(void **state)
{
	struct stage *stage = *state;
	char data[8192] = "zz", *line = NULL;

	wire_say(&stage->wire, "x\n");
	assert_int_equal(netd_line(stage->conn, &line), 2);
	assert_int_equal(netd_read(stage->conn, data, sizeof data), 0);
	assert_calls(stage, "rr");
	line = NULL;
	assert_int_equal(netd_line(stage->conn, &line), 0);
	assert_int_equal(netd_readline(stage->conn, data, sizeof data), 0);
	assert_int_equal(netd_read(stage->conn, data, 1), 0);
	assert_int_equal(netd_read_exact(stage->conn, data, 5), 0);
	assert_int_equal(netd_read(stage->conn, data, sizeof data), 0);
	assert_null(line);
	assert_string_equal(data, "zz");
	assert_calls(stage, ""); /* nobody was asked again */
}

static void a_failed_read_has_words_and_may_be_tried_again(void **state)
{
	static const struct {
		int code;
		const char *words;
	} cases[] = {
	    {-ETIMEDOUT, "read: Connection timed out"},
	    {-ECANCELED, "read: the server is stopping"},
	    {-ECONNRESET, "read: Connection reset by peer"},
	    {-EINTR, "read: Interrupted system call"},
	};
	struct stage *stage = *state;
	char data[8192], *line = NULL;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		stage_again(stage);
		assert_string_equal(netd_conn_error(stage->conn), "");
		wire_fail(&stage->wire, cases[i].code);
		wire_fail(&stage->wire, cases[i].code);
		wire_fail(&stage->wire, cases[i].code);
		wire_say(&stage->wire, "x\n");
		assert_int_equal(netd_read(stage->conn, data, 1), cases[i].code);
		assert_int_equal(netd_read(stage->conn, data, sizeof data), cases[i].code);
		assert_int_equal(netd_line(stage->conn, &line), cases[i].code);
		assert_null(line);
		assert_string_equal(netd_conn_error(stage->conn), cases[i].words);
		assert_int_equal(netd_line(stage->conn, &line), 2);
		line = NULL;
	}
}

static void the_deadline_reaches_the_layer(void **state)
{
	struct stage *stage = *state;
	char data[1];

	netd_read(stage->conn, data, 1);
	assert_true(stage->wire.deadline == NETD_NEVER);
	stage_again(stage);
	netd_set_deadline(stage->conn, 4711);
	netd_read(stage->conn, data, 1);
	assert_true(stage->wire.deadline == 4711);
	netd_write(stage->conn, "x", 1);
	netd_set_deadline(stage->conn, 4712);
	netd_flush(stage->conn);
	assert_true(stage->wire.deadline == 4712);
}

/* ------------------------------------------------------------------- the flush before a wait */

static void output_is_sent_before_a_wait_for_input(void **state)
{
	struct stage *stage = *state;
	char data[8192], *line = NULL;

	wire_say(&stage->wire, "one\ntwo\n");
	wire_say(&stage->wire, "three\n");
	wire_say(&stage->wire, "four\n");
	netd_write(stage->conn, "hello ", 6);
	assert_calls(stage, "");
	assert_int_equal(netd_line(stage->conn, &line), 4);
	assert_calls(stage, "wr");
	netd_write(stage->conn, "1 ", 2);
	assert_int_equal(netd_line(stage->conn, &line), 4); /* from the buffer: no wait, no flush */
	assert_calls(stage, "");
	netd_write(stage->conn, "2 ", 2);
	assert_int_equal(netd_line(stage->conn, &line), 6);
	assert_calls(stage, "wr");
	assert_output(stage, "hello 1 2 ");
	netd_write(stage->conn, "3", 1);
	assert_int_equal(netd_read(stage->conn, data, sizeof data), 5);
	assert_calls(stage, "wr");
	assert_int_equal(netd_read(stage->conn, data, sizeof data), 0);
	assert_calls(stage, "r");
	netd_write(stage->conn, "4", 1);
	assert_int_equal(netd_read(stage->conn, data, sizeof data), 0); /* the end is known */
	assert_calls(stage, "");
}

static void a_failed_flush_fails_the_read_but_not_the_next(void **state)
{
	struct stage *stage = *state;
	char *line = NULL;

	wire_say(&stage->wire, "one\n");
	stage->wire.write_error = -EPIPE;
	netd_write(stage->conn, "x", 1);
	assert_int_equal(netd_line(stage->conn, &line), -EPIPE);
	assert_string_equal(netd_conn_error(stage->conn), "write: Broken pipe");
	assert_calls(stage, "w");
	assert_int_equal(netd_line(stage->conn, &line), 4); /* what came can still be read */
}

static void without_memory_a_line_says_so_and_loses_nothing(void **state)
{
	struct stage *stage = *state;
	char *text = long_line(9000, 'x');
	int failures = 0;
	char *line = NULL;
	ssize_t n;

	wire_say(&stage->wire, "ab");
	wire_say(&stage->wire, text);
	do {
		scarce_from(failures % 2); /* now the first, now the second allocation */
		n = netd_line(stage->conn, &line);
		if (n < 0) {
			assert_int_equal(n, -ENOMEM);
			assert_string_equal(netd_conn_error(stage->conn),
					    "read: Cannot allocate memory");
			failures++;
		}
	} while (!scarce_over() && failures < 100);
	assert_in_range(failures, 2, 50);
	if (n < 0)
		n = netd_line(stage->conn, &line);
	assert_int_equal(n, 9002);
	assert_memory_equal(line, "abxx", 4);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STAGE_TEST(every_split_gives_the_same_lines),
	    STAGE_TEST(single_bytes_give_the_same_lines),
	    STAGE_TEST(a_failed_read_in_a_line_loses_nothing),
	    STAGE_TEST(a_line_of_the_greatest_length_is_taken),
	    STAGE_TEST(a_last_line_of_the_greatest_length_needs_no_newline),
	    STAGE_TEST(longer_lines_are_skipped_and_reported_once),
	    STAGE_TEST(a_long_line_without_end_is_too_long_and_then_over),
	    STAGE_TEST(a_failure_while_skipping_does_not_end_the_skipping),
	    STAGE_TEST(any_read_after_a_long_line_begins_behind_it),
	    STAGE_TEST(readline_skips_what_does_not_fit),
	    cmocka_unit_test(chomp_takes_one_ending_off),
	    STAGE_TEST(chomp_has_room_behind_a_last_line),
	    STAGE_TEST(a_line_may_hold_nul_and_be_written_to),
	    STAGE_TEST(reads_are_served_from_the_buffer_first),
	    STAGE_TEST(large_reads_go_past_the_buffer_in_order),
	    STAGE_TEST(read_exact_goes_across_buffers),
	    STAGE_TEST(after_the_end_every_read_gives_nothing),
	    STAGE_TEST(a_failed_read_has_words_and_may_be_tried_again),
	    STAGE_TEST(the_deadline_reaches_the_layer),
	    STAGE_TEST(output_is_sent_before_a_wait_for_input),
	    STAGE_TEST(a_failed_flush_fails_the_read_but_not_the_next),
	    STAGE_TEST(without_memory_a_line_says_so_and_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
