/*
 * test_conn_socket.c - connections over real sockets: files sent by the kernel and without it,
 * deadlines, peers that are gone, and the end that takes no answer back.
 */
#include "conn_fixture.h"
#include "generic.h"
#include "scarce.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

static char big[200000];

/* ------------------------------------------------------------------------------------- files */

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
    {0, -1, sizeof big}, {0, sizeof big, sizeof big}, {0, 0, 0},
    {5, 3, 3},           {100, -1, sizeof big - 100}, {sizeof big - 1, 100, 1},
    {sizeof big, -1, 0}, {sizeof big + 1000, 10, 0},  {0, INT64_MAX, sizeof big},
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

/* ----------------------------------------------------------------------------------- sockets */

struct pair {
	struct netd_conn *conn;
	int peer;
};

static void unix_pair(struct stage *stage, struct pair *pair)
{
	struct sockaddr_storage address = {.ss_family = AF_UNIX};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(conn_new(&pair->conn, &stage->env, NULL, fds[0], &address, 2, 7), 0);
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
	assert_int_equal(conn_new(&pair->conn, &stage->env, NULL, fd, &from, size, 7), 0);
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
	NEEDS_OWN_SYSTEM("no sendfile(2)");
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

	assert_int_equal(conn_new(&conn, &stage->env, NULL, fd, &address, 2, 1), 0);
	assert_int_equal(netd_shutdown(conn), -ENOTCONN);
	assert_string_equal(netd_conn_error(conn), "shutdown: Transport endpoint is not connected");
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
	assert_int_equal(conn_new(&conn, &stage->env, NULL, fds[0], &address, 2, 1), -ENOMEM);
	assert_false(scarce_over());
	assert_null(conn);
	assert_int_equal(read(fds[1], &c, 1), 0);
	close(fds[1]);
	scarce_from(0);
	assert_int_equal(conn_new_over(&conn, &stage->env, &stage->wire.layer), -ENOMEM);
	assert_false(scarce_over());
	assert_null(conn);
}

/* ------------------------------------------------------------------------------------ linger */

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    STAGE_TEST(a_file_is_copied_where_the_kernel_cannot),
	    STAGE_TEST(a_file_that_cannot_be_sent),
	    STAGE_TEST(the_kernel_sends_files_over_sockets),
	    STAGE_TEST(a_file_to_a_peer_that_does_not_read_meets_the_deadline),
	    STAGE_TEST(a_file_to_a_peer_that_is_gone_is_a_broken_pipe),
	    STAGE_TEST(a_socket_carries_a_conversation),
	    STAGE_TEST(a_socket_that_is_not_connected_cannot_be_shut_down),
	    STAGE_TEST(without_memory_the_socket_is_closed),
	    STAGE_TEST(unread_input_does_not_cost_the_answer),
	    STAGE_TEST(lingering_ends_by_its_deadline),
	    STAGE_TEST(lingering_ends_with_a_peer_that_sends_for_ever),
	    STAGE_TEST(nothing_to_read_or_no_network_no_linger),
	    STAGE_TEST(a_peer_that_is_gone_needs_no_linger),
	};

	stage_fill(big, sizeof big);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
