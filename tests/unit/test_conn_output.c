/*
 * test_conn_output.c - writing: gathered, sent in order, whole; failures stay; the end of output;
 * the stream. Files and sockets: test_conn_socket.c.
 */
#include "conn_fixture.h"
#include "generic.h"
#include "scarce.h"

#include <wchar.h>

#define ROOM 16384 /* of the output buffer */

static char big[200000];

/* --------------------------------------------------------------------------------- gathering */

static void small_writes_are_gathered(void **state)
{
	struct stage *stage = *state;

	assert_int_equal(netd_flush(stage->conn), 0);
	assert_int_equal(netd_write(stage->conn, "", 0), 0);
	assert_int_equal(netd_write(stage->conn, NULL, 0), 0);
	assert_int_equal(netd_flush(stage->conn), 0);
	assert_calls(stage, "");
	for (int i = 0; i < 100; i++)
		assert_int_equal(netd_write(stage->conn, "x", 1), 1);
	assert_calls(stage, "");
	assert_int_equal(netd_flush(stage->conn), 0);
	assert_int_equal(netd_flush(stage->conn), 0);
	assert_calls(stage, "w");
	assert_int_equal(stage->wire.output.len, 100);
}

static void a_full_buffer_waits_one_byte_more_sends(void **state)
{
	struct stage *stage = *state;

	assert_int_equal(netd_write(stage->conn, big, ROOM - 1), ROOM - 1);
	assert_int_equal(netd_write(stage->conn, big + ROOM - 1, 1), 1);
	assert_calls(stage, "");
	assert_int_equal(netd_write(stage->conn, big + ROOM, 1), 1);
	assert_calls(stage, "w"); /* both in one call */
	assert_int_equal(stage->wire.output.len, ROOM + 1);
	assert_memory_equal(stage->wire.output.data, big, ROOM + 1);
}

static void writes_of_every_size_keep_their_order(void **state)
{
	struct stage *stage = *state;

	for (size_t step = 1; step < 3 * ROOM; step = step * 3 + 1) {
		size_t done = 0;

		stage_again(stage);
		while (done < sizeof big) {
			size_t size = step < sizeof big - done ? step : sizeof big - done;

			assert_int_equal(netd_write(stage->conn, big + done, size), size);
			done += size;
		}
		assert_int_equal(netd_flush(stage->conn), 0);
		assert_int_equal(stage->wire.output.len, sizeof big);
		assert_memory_equal(stage->wire.output.data, big, sizeof big);
	}
}

static void a_size_that_cannot_be_is_refused(void **state)
{
	struct stage *stage = *state;

	assert_int_equal(netd_write(stage->conn, "x", SIZE_MAX), -EINVAL);
	assert_int_equal(netd_write(stage->conn, "x", (size_t)SSIZE_MAX + 1), -EINVAL);
	assert_string_equal(netd_conn_error(stage->conn), "write: Invalid argument");
	assert_int_equal(netd_write(stage->conn, "x", 1), 1); /* nothing was broken by it */
}

/* ---------------------------------------------------------------------------------- failures */

static void after_a_failed_send_every_call_says_so(void **state)
{
	struct stage *stage = *state;

	netd_write(stage->conn, "lost", 4);
	stage->wire.write_error = -EPIPE;
	assert_int_equal(netd_flush(stage->conn), -EPIPE);
	assert_string_equal(netd_conn_error(stage->conn), "write: Broken pipe");
	assert_calls(stage, "w");
	stage->wire.write_error = 0;
	stage->conn->err->text[0] = '\0';
	assert_int_equal(netd_write(stage->conn, "x", 1), -EPIPE);
	assert_string_equal(netd_conn_error(stage->conn), "write: Broken pipe");
	assert_int_equal(netd_printf(stage->conn, "x"), -EPIPE);
	assert_int_equal(netd_flush(stage->conn), -EPIPE);
	assert_int_equal(netd_sendfile(stage->conn, 0, 0, 1), -EPIPE);
	assert_int_equal(netd_shutdown(stage->conn), -EPIPE);
	assert_calls(stage, "");
	assert_output(stage, "");
}

static void a_failed_overflow_is_a_failed_send(void **state)
{
	struct stage *stage = *state;

	stage->wire.write_error = -ETIMEDOUT;
	netd_write(stage->conn, "x", 1);
	assert_int_equal(netd_write(stage->conn, big, ROOM), -ETIMEDOUT);
	assert_string_equal(netd_conn_error(stage->conn), "write: Connection timed out");
	assert_int_equal(netd_flush(stage->conn), -ETIMEDOUT);
}

static void without_memory_nothing_is_written(void **state)
{
	struct stage *stage = *state;

	scarce_from(0);
	assert_int_equal(netd_write(stage->conn, big, ROOM / 2), -ENOMEM);
	assert_false(scarce_over());
	assert_string_equal(netd_conn_error(stage->conn), "write: Cannot allocate memory");
	assert_int_equal(netd_write(stage->conn, "x", 1), -ENOMEM); /* no gap in the stream */
	stage_again(stage);
	netd_write(stage->conn, "a", 1);
	scarce_from(0);
	assert_int_equal(netd_printf(stage->conn, "%*d", ROOM, 1), -ENOMEM);
	assert_false(scarce_over());
	assert_string_equal(netd_conn_error(stage->conn), "printf: Cannot allocate memory");
	assert_int_equal(netd_printf(stage->conn, "%s", "b"), 1);
	netd_flush(stage->conn);
	assert_output(stage, "ab");
}

/* ------------------------------------------------------------------------------------ printf */

static void printf_writes_in_place_or_by_the_heap(void **state)
{
	static const int widths[] = {1,
				     CONN_FIRST_BUFFER - 1,
				     CONN_FIRST_BUFFER,
				     CONN_FIRST_BUFFER + 1,
				     ROOM - 2,
				     ROOM - 1,
				     ROOM,
				     ROOM + 1,
				     5 * ROOM};
	struct stage *stage = *state;

	for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
		for (int before = 0; before < 2; before++) {
			size_t length = (size_t)(widths[i] + before);

			stage_again(stage);
			if (before)
				netd_write(stage->conn, "<", 1);
			assert_int_equal(netd_printf(stage->conn, "%*d", widths[i], 7), widths[i]);
			netd_flush(stage->conn);
			assert_int_equal(stage->wire.output.len, length);
			assert_int_equal(stage->wire.output.data[length - 1], '7');
			assert_true(!before || stage->wire.output.data[0] == '<');
		}
	}
}

static void printf_of_nothing_and_of_what_cannot_be(void **state)
{
	static const wchar_t wrong[] = {0x7fffffff, 0};
	struct stage *stage = *state;

	assert_int_equal(netd_printf(stage->conn, "%s", ""), 0);
	assert_int_equal(netd_printf(stage->conn, "%ls", wrong), -EINVAL);
	assert_string_equal(netd_conn_error(stage->conn), "printf: Invalid argument");
	assert_int_equal(netd_printf(stage->conn, "%d%%n", 5), 3);
	netd_flush(stage->conn);
	assert_output(stage, "5%n");
}

/* --------------------------------------------------------------------------------- shut down */

static void after_a_shutdown_there_is_only_input(void **state)
{
	struct stage *stage = *state;
	char *line = NULL;

	wire_say(&stage->wire, "x\n");
	netd_write(stage->conn, "bye", 3);
	assert_int_equal(netd_shutdown(stage->conn), 0);
	assert_calls(stage, "ws");
	assert_output(stage, "bye");
	assert_int_equal(netd_write(stage->conn, "x", 1), -EPIPE);
	assert_int_equal(netd_printf(stage->conn, "x"), -EPIPE);
	assert_int_equal(netd_flush(stage->conn), -EPIPE);
	assert_true(netd_sendfile(stage->conn, 0, 0, 1) == -EPIPE);
	assert_int_equal(netd_line(stage->conn, &line), 2);
	assert_calls(stage, "r");
}

static void a_failed_shutdown_has_words(void **state)
{
	struct stage *stage = *state;

	stage->wire.shutdown_error = -ENOTCONN;
	assert_int_equal(netd_shutdown(stage->conn), -ENOTCONN);
	assert_string_equal(netd_conn_error(stage->conn),
			    "shutdown: Transport endpoint is not connected");
	assert_int_equal(netd_write(stage->conn, "x", 1), 1);
}

/* ------------------------------------------------------------------------------------ stream */

static void a_stream_reads_and_writes(void **state)
{
	NEEDS_OWN_SYSTEM("no streams over functions");
	struct stage *stage = *state;
	FILE *stream = netd_stdio(stage->conn);
	char line[32];

	assert_non_null(stream);
	assert_ptr_equal(netd_stdio(stage->conn), stream);
	wire_say(&stage->wire, "one\ntw");
	wire_say(&stage->wire, "o\n");
	assert_int_equal(fprintf(stream, "hello %d\n", 5), 8);
	assert_non_null(fgets(line, sizeof line, stream));
	assert_string_equal(line, "one\n");
	assert_output(stage, "hello 5\n"); /* sent before the wait */
	assert_non_null(fgets(line, sizeof line, stream));
	assert_string_equal(line, "two\n");
	fputs("bye", stream);
	assert_null(fgets(line, sizeof line, stream));
	assert_true(feof(stream));
	conn_unwind(stage->conn);
	assert_null(stage->conn->stream);
	netd_flush(stage->conn);
	assert_output(stage, "bye");
}

static void a_stream_reports_failures(void **state)
{
	NEEDS_OWN_SYSTEM("no streams over functions");
	struct stage *stage = *state;
	FILE *stream = netd_stdio(stage->conn);

	wire_fail(&stage->wire, -ECONNRESET);
	errno = 0;
	assert_int_equal(fgetc(stream), EOF);
	assert_true(ferror(stream));
	assert_int_equal(errno, ECONNRESET);
	clearerr(stream);
	assert_int_equal(netd_shutdown(stage->conn), 0);
	errno = 0;
	fputc('x', stream);
	fflush(stream);
	assert_true(ferror(stream));
	assert_int_equal(errno, EPIPE);
}

static void without_memory_there_is_no_stream(void **state)
{
	NEEDS_OWN_SYSTEM("no streams over functions");
	struct stage *stage = *state;

	for (int n = 0; n < 2; n++) {
		scarce_from(n);
		errno = 0;
		assert_null(netd_stdio(stage->conn));
		assert_false(scarce_over());
		assert_int_equal(errno, ENOMEM);
		assert_string_equal(netd_conn_error(stage->conn),
				    n ? "defer: Cannot allocate memory"
				      : "stdio: Cannot allocate memory");
	}
	assert_non_null(netd_stdio(stage->conn));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STAGE_TEST(small_writes_are_gathered),
	    STAGE_TEST(a_full_buffer_waits_one_byte_more_sends),
	    STAGE_TEST(writes_of_every_size_keep_their_order),
	    STAGE_TEST(a_size_that_cannot_be_is_refused),
	    STAGE_TEST(after_a_failed_send_every_call_says_so),
	    STAGE_TEST(a_failed_overflow_is_a_failed_send),
	    STAGE_TEST(without_memory_nothing_is_written),
	    STAGE_TEST(printf_writes_in_place_or_by_the_heap),
	    STAGE_TEST(printf_of_nothing_and_of_what_cannot_be),
	    STAGE_TEST(after_a_shutdown_there_is_only_input),
	    STAGE_TEST(a_failed_shutdown_has_words),
	    STAGE_TEST(a_stream_reads_and_writes),
	    STAGE_TEST(a_stream_reports_failures),
	    STAGE_TEST(without_memory_there_is_no_stream),
	};

	stage_fill(big, sizeof big);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
