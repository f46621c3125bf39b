/*
 * test_conn_output.c - writing: gathered, sent in order, whole; failures stay; files; the stream;
 * the end of output. Sockets come in where the socket layer itself is looked at.
 */
#include "conn_fixture.h"
#include "scarce.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <wchar.h>

#define ROOM 16384 /* of the output buffer */

static char big[200000];

static void fill_big(void)
{
	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (char)('a' + (i * 7 + i / 256) % 26);
}

/* ------------------------------------------------------------------------------------ gathering */

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

/* ------------------------------------------------------------------------------------- failures */

static void after_a_failed_send_every_call_says_so(void **state)
{
	struct stage *stage = *state;

	netd_write(stage->conn, "lost", 4);
	stage->wire.write_error = -EPIPE;
	assert_int_equal(netd_flush(stage->conn), -EPIPE);
	assert_string_equal(netd_conn_error(stage->conn), "write: Broken pipe");
	assert_calls(stage, "w");
	stage->wire.write_error = 0;
	stage->conn->err.text[0] = '\0';
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
	assert_string_equal(netd_conn_error(stage->conn), "write: the deadline passed");
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

/* --------------------------------------------------------------------------------------- printf */

static void printf_writes_in_place_or_by_the_heap(void **state)
{
	static const int widths[] = {1, ROOM - 2, ROOM - 1, ROOM, ROOM + 1, 5 * ROOM};
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

/* ---------------------------------------------------------------------------------------- files */

static int big_file(void)
{
	char path[] = "/tmp/netdaemon-file-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, big, sizeof big), sizeof big);
	return fd;
}

static const struct {
	int64_t offset, count, sent;
} parts[] = {
    {0, -1, sizeof big},
    {0, sizeof big, sizeof big},
    {0, 0, 0},
    {5, 3, 3},
    {100, -1, sizeof big - 100},
    {sizeof big - 1, 100, 1},
    {sizeof big, -1, 0},
    {sizeof big + 1000, 10, 0},
    {0, INT64_MAX, sizeof big},
    {3, 65536, 65536},
};

/* What a layer without help from the kernel does: none, or "not this pair of descriptors". */
static void a_file_is_copied_where_the_kernel_cannot(void **state)
{
	struct stage *stage = *state;
	int file = big_file();

	for (size_t i = 0; i < ARRAY_LEN(parts) * 3; i++) {
		size_t at = i / 3;

		stage_again(stage);
		if (i % 3) {
			stage->wire.layer.ops = &wire_ops_sendfile;
			stage->wire.sendfile_rc = i % 3 == 1 ? -ENOSYS : -EINVAL;
		}
		netd_write(stage->conn, "before ", 7);
		assert_true(netd_sendfile(stage->conn, file, parts[at].offset, parts[at].count) ==
			    parts[at].sent);
		netd_write(stage->conn, " after", 6);
		netd_flush(stage->conn);
		assert_int_equal(stage->wire.output.len, parts[at].sent + 13);
		assert_memory_equal(stage->wire.output.data, "before ", 7);
		if (parts[at].sent)
			assert_memory_equal(stage->wire.output.data + 7, big + parts[at].offset,
					    (size_t)parts[at].sent);
		assert_memory_equal(stage->wire.output.data + 7 + parts[at].sent, " after", 6);
	}
	assert_int_equal(lseek(file, 0, SEEK_CUR), sizeof big); /* its own position */
	close(file);
}

static void a_file_that_cannot_be_sent(void **state)
{
	struct stage *stage = *state;
	int file = big_file(), null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	assert_true(netd_sendfile(stage->conn, file, -1, 5) == -EINVAL);
	assert_string_equal(netd_conn_error(stage->conn), "sendfile: Invalid argument");
	assert_true(netd_sendfile(stage->conn, null, 0, 5) == -EBADF); /* not for reading */
	assert_string_equal(netd_conn_error(stage->conn), "sendfile: Bad file descriptor");
	assert_true(netd_sendfile(stage->conn, -1, 0, 5) == -EBADF);
	netd_write(stage->conn, "x", 1);
	scarce_from(0);
	assert_true(netd_sendfile(stage->conn, file, 0, 5) == -ENOMEM);
	assert_false(scarce_over());
	assert_output(stage, "x");
	netd_write(stage->conn, "y", 1);
	stage->wire.write_error = -EPIPE;
	assert_true(netd_sendfile(stage->conn, file, 0, -1) == -EPIPE);
	stage_again(stage);
	stage->wire.write_error = -EPIPE;
	assert_true(netd_sendfile(stage->conn, file, 0, -1) == -EPIPE);
	stage_again(stage);
	stage->wire.layer.ops = &wire_ops_sendfile;
	stage->wire.sendfile_rc = -EIO;
	assert_true(netd_sendfile(stage->conn, file, 0, -1) == -EIO);
	assert_int_equal(netd_write(stage->conn, "x", 1), -EIO); /* a part may have gone out */
	close(null);
	close(file);
}

/* ------------------------------------------------------------------------------------- sockets */

struct pair {
	struct netd_conn *conn;
	int peer;
};

static void unix_pair(struct stage *stage, struct pair *pair)
{
	struct sockaddr_storage address = {.ss_family = AF_UNIX};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(conn_new(&pair->conn, &stage->env, fds[0], &address, 2, 7), 0);
	pair->peer = fds[1];
}

static void tcp_pair(struct stage *stage, struct pair *pair)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_storage from = {0};
	socklen_t size = sizeof address;
	int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd;

	pair->peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(door, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(door, 1), 0);
	assert_int_equal(getsockname(door, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(connect(pair->peer, (struct sockaddr *)&address, size), 0);
	size = sizeof from;
	fd = accept(door, (struct sockaddr *)&from, &size);
	assert_true(fd >= 0);
	close(door);
	assert_int_equal(conn_new(&pair->conn, &stage->env, fd, &from, size, 7), 0);
}

static void pair_finish(struct pair *pair)
{
	conn_free(pair->conn);
	close(pair->peer);
}

/* A child process that reads everything and says how much and whether it was as expected. */
static pid_t start_reader(int fd, int64_t offset, int64_t count)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		int64_t have = 0;
		char c[4096];
		ssize_t n;

		while (have < count && (n = read(fd, c, sizeof c)) > 0) {
			if (memcmp(c, big + offset + have, (size_t)n) != 0)
				_exit(2);
			have += n;
		}
		_exit(have == count ? 0 : 1);
	}
	return pid;
}

static void expect_reader(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void the_kernel_sends_files_over_sockets(void **state)
{
	struct stage *stage = *state;
	int file = big_file();

	for (size_t i = 0; i < ARRAY_LEN(parts) * 2; i++) {
		size_t at = i / 2;
		struct pair pair;
		pid_t reader;

		if (i % 2)
			tcp_pair(stage, &pair);
		else
			unix_pair(stage, &pair);
		reader = start_reader(pair.peer, parts[at].offset, parts[at].sent);
		assert_true(netd_sendfile(pair.conn, file, parts[at].offset, parts[at].count) ==
			    parts[at].sent);
		assert_null(pair.conn->out.data); /* it did not go through the buffer */
		assert_int_equal(fcntl(netd_fd(pair.conn), F_GETFL) & O_NONBLOCK, 0);
		expect_reader(reader);
		pair_finish(&pair);
	}
	close(file);
}

static void a_file_to_a_peer_that_does_not_read_meets_the_deadline(void **state)
{
	struct stage *stage = *state;
	int file = big_file(), small = 4096;
	struct pair pair;

	unix_pair(stage, &pair);
	setsockopt(netd_fd(pair.conn), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	netd_set_deadline(pair.conn, netd_now() + 50);
	assert_true(netd_sendfile(pair.conn, file, 0, -1) == -ETIMEDOUT);
	assert_true(netd_now() >= pair.conn->deadline);
	assert_int_equal(netd_write(pair.conn, "x", 1), -ETIMEDOUT);
	pair_finish(&pair);
	unix_pair(stage, &pair);
	netd_set_deadline(pair.conn, netd_now()); /* past, though there is room */
	assert_true(netd_sendfile(pair.conn, file, 0, 1) == -ETIMEDOUT);
	pair_finish(&pair);
	close(file);
}

static void a_file_to_a_peer_that_is_gone_is_a_broken_pipe(void **state)
{
	struct stage *stage = *state;
	int file = big_file();
	struct pair pair;

	signal(SIGPIPE, SIG_IGN); /* as in every server */
	unix_pair(stage, &pair);
	close(pair.peer);
	assert_true(netd_sendfile(pair.conn, file, 0, -1) == -EPIPE);
	assert_string_equal(netd_conn_error(pair.conn), "write: Broken pipe");
	pair.peer = -1;
	pair_finish(&pair);
	signal(SIGPIPE, SIG_DFL);
	close(file);
}

static void a_socket_carries_a_conversation(void **state)
{
	struct stage *stage = *state;
	struct pair pair;
	char data[32] = "", *line = NULL;

	unix_pair(stage, &pair);
	assert_int_equal(write(pair.peer, "hello\n", 6), 6);
	assert_int_equal(netd_line(pair.conn, &line), 6);
	netd_printf(pair.conn, "good %s", "day");
	assert_int_equal(netd_shutdown(pair.conn), 0);
	assert_int_equal(read(pair.peer, data, sizeof data), 8);
	assert_string_equal(data, "good day");
	assert_int_equal(read(pair.peer, data, sizeof data), 0);
	assert_int_equal(write(pair.peer, "more\n", 5), 5);
	assert_int_equal(netd_line(pair.conn, &line), 5); /* reading goes on */
	close(pair.peer);
	assert_int_equal(netd_line(pair.conn, &line), 0);
	pair.peer = -1;
	pair_finish(&pair);
}

static void a_socket_that_is_not_connected_cannot_be_shut_down(void **state)
{
	struct stage *stage = *state;
	struct sockaddr_storage address = {.ss_family = AF_INET};
	struct netd_conn *conn;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(conn_new(&conn, &stage->env, fd, &address, 2, 1), 0);
	assert_int_equal(netd_shutdown(conn), -ENOTCONN);
	assert_string_equal(netd_conn_error(conn),
			    "shutdown: Transport endpoint is not connected");
	conn_free(conn);
}

static void without_memory_the_socket_is_closed(void **state)
{
	struct stage *stage = *state;
	struct sockaddr_storage address = {.ss_family = AF_UNIX};
	struct netd_conn *conn = NULL;
	int fds[2];
	char c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	scarce_from(0);
	assert_int_equal(conn_new(&conn, &stage->env, fds[0], &address, 2, 1), -ENOMEM);
	assert_false(scarce_over());
	assert_null(conn);
	assert_int_equal(read(fds[1], &c, 1), 0);
	close(fds[1]);
	scarce_from(0);
	assert_int_equal(conn_new_over(&conn, &stage->env, &stage->wire.layer), -ENOMEM);
	assert_false(scarce_over());
	assert_null(conn);
}

/* ---------------------------------------------------------------------------------- shut down */

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

/* -------------------------------------------------------------------------------------- linger */

/* The answer arrives although input was never read: no reset takes it back. */
static void unread_input_does_not_cost_the_answer(void **state)
{
	struct stage *stage = *state;
	struct pair pair;
	char data[32] = "";

	for (int buffered = 0; buffered < 2; buffered++) {
		tcp_pair(stage, &pair);
		assert_int_equal(write(pair.peer, "one\ntwo\n", 8), 8);
		if (buffered)
			assert_int_equal(netd_read(pair.conn, data, 1), 1);
		netd_write(pair.conn, "answer", 6);
		netd_flush(pair.conn);
		assert_int_equal(shutdown(pair.peer, SHUT_WR), 0);
		conn_linger(pair.conn);
		pair.conn = conn_free(pair.conn);
		memset(data, 0, sizeof data);
		assert_int_equal(read(pair.peer, data, sizeof data), 6);
		assert_string_equal(data, "answer");
		assert_int_equal(read(pair.peer, data, sizeof data), 0);
		pair_finish(&pair);
	}
}

static void lingering_ends_by_its_deadline(void **state)
{
	struct stage *stage = *state;
	struct pair pair;
	int64_t before;

	tcp_pair(stage, &pair);
	assert_int_equal(write(pair.peer, "x", 1), 1);
	netd_set_deadline(pair.conn, netd_now() + 30); /* before its own second is over */
	before = netd_now();
	conn_linger(pair.conn);
	assert_in_range(netd_now() - before, 20, 900);
	pair_finish(&pair);
}

static void lingering_ends_with_a_peer_that_sends_for_ever(void **state)
{
	struct stage *stage = *state;
	struct pair pair;
	int64_t before = netd_now();
	int status;
	pid_t pid;

	tcp_pair(stage, &pair);
	pid = fork();
	if (pid == 0) {
		signal(SIGPIPE, SIG_IGN);
		close(netd_fd(pair.conn));
		alarm(10);
		while (write(pair.peer, big, sizeof big) > 0)
			;
		_exit(0);
	}
	while (recv(netd_fd(pair.conn), &status, 1, MSG_PEEK) != 1)
		;
	conn_linger(pair.conn);
	assert_true(netd_now() - before < 900);
	close(pair.peer);
	pair.peer = -1;
	pair_finish(&pair);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void nothing_to_read_or_no_network_no_linger(void **state)
{
	struct stage *stage = *state;
	struct pair pair;
	int64_t before = netd_now();
	char c;

	tcp_pair(stage, &pair); /* nothing came */
	conn_linger(pair.conn);
	assert_int_equal(recv(pair.peer, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	pair_finish(&pair);
	tcp_pair(stage, &pair); /* the end was read */
	shutdown(pair.peer, SHUT_WR);
	assert_int_equal(netd_read(pair.conn, &c, 1), 0);
	conn_linger(pair.conn);
	pair_finish(&pair);
	unix_pair(stage, &pair); /* Unix sockets do not reset */
	assert_int_equal(write(pair.peer, "x", 1), 1);
	conn_linger(pair.conn);
	pair_finish(&pair);
	conn_linger(stage->conn); /* in memory */
	assert_calls(stage, "");
	assert_true(netd_now() - before < 900);
}

static void a_peer_that_is_gone_needs_no_linger(void **state)
{
	struct linger reset = {.l_onoff = 1};
	struct stage *stage = *state;
	struct pair pair;
	struct pollfd gone;

	tcp_pair(stage, &pair);
	assert_int_equal(write(pair.peer, "ab", 2), 2);
	assert_int_equal(netd_read(pair.conn, &(char){0}, 1), 1); /* one stays in the buffer */
	setsockopt(pair.peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(pair.peer);
	gone = (struct pollfd){.fd = netd_fd(pair.conn), .events = POLLIN};
	assert_int_equal(poll(&gone, 1, 5000), 1);
	conn_linger(pair.conn);
	pair.peer = -1;
	pair_finish(&pair);
}

/* -------------------------------------------------------------------------------------- stream */

static void a_stream_reads_and_writes(void **state)
{
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
	conn_unwind(stage->conn, NULL);
	assert_null(stage->conn->stream);
	netd_flush(stage->conn);
	assert_output(stage, "bye");
}

static void a_stream_reports_failures(void **state)
{
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
	    STAGE_TEST(a_file_is_copied_where_the_kernel_cannot),
	    STAGE_TEST(a_file_that_cannot_be_sent),
	    STAGE_TEST(the_kernel_sends_files_over_sockets),
	    STAGE_TEST(a_file_to_a_peer_that_does_not_read_meets_the_deadline),
	    STAGE_TEST(a_file_to_a_peer_that_is_gone_is_a_broken_pipe),
	    STAGE_TEST(a_socket_carries_a_conversation),
	    STAGE_TEST(a_socket_that_is_not_connected_cannot_be_shut_down),
	    STAGE_TEST(without_memory_the_socket_is_closed),
	    STAGE_TEST(after_a_shutdown_there_is_only_input),
	    STAGE_TEST(a_failed_shutdown_has_words),
	    STAGE_TEST(unread_input_does_not_cost_the_answer),
	    STAGE_TEST(lingering_ends_by_its_deadline),
	    STAGE_TEST(lingering_ends_with_a_peer_that_sends_for_ever),
	    STAGE_TEST(nothing_to_read_or_no_network_no_linger),
	    STAGE_TEST(a_peer_that_is_gone_needs_no_linger),
	    STAGE_TEST(a_stream_reads_and_writes),
	    STAGE_TEST(a_stream_reports_failures),
	    STAGE_TEST(without_memory_there_is_no_stream),
	};

	fill_big();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
