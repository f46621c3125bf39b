/*
 * test_defer.c - what happens at the end of a connection: order, memory, a fatal end in the middle
 * of it; connections that were dialled.
 */
#include "conn_fixture.h"
#include "generic.h"
#include "listen/listen.h"
#include "scarce.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

/* What deferred functions note down. */
static char story[4096];

static int setup(void **state)
{
	story[0] = '\0';
	return stage_setup(state);
}

#define DEFER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, stage_teardown)

static void note(void *arg)
{
	strcat(story, arg);
}

/* A deferred function with its connection; what it does besides taking a note. */
struct turn {
	struct netd_conn *conn;
	const char *name;
	void (*then)(struct turn *turn);
	struct turn *next;
	char *memory;
};

static void take_turn(void *arg)
{
	struct turn *turn = arg;

	strcat(story, turn->name);
	if (turn->then)
		turn->then(turn);
}

static void defer_next(struct turn *turn)
{
	assert_int_equal(netd_defer(turn->conn, take_turn, turn->next), 0);
}

static void end_fatally(struct turn *turn)
{
	netd_fatal(turn->conn, "in %s", turn->name);
}

static void use_memory(struct turn *turn)
{
	strcat(story, turn->memory);
	memset(turn->memory, 'z', 100);
}

static char a[] = "a", b[] = "b", c[] = "c";

static void last_in_first_out(void **state)
{
	struct stage *stage = *state;

	netd_defer(stage->conn, note, a);
	netd_defer(stage->conn, note, b);
	netd_defer(stage->conn, note, c);
	conn_unwind(stage->conn);
	assert_string_equal(story, "cba");
	conn_unwind(stage->conn);
	assert_string_equal(story, "cba"); /* once */
}

static void a_connection_that_was_never_served_cleans_up_too(void **state)
{
	struct stage *stage = *state;

	netd_defer(stage->conn, note, a);
	stage->conn = conn_free(stage->conn);
	assert_string_equal(story, "a");
}

static void a_deferred_function_may_defer_more(void **state)
{
	struct stage *stage = *state;
	struct turn third = {stage->conn, "3", NULL, NULL, NULL};
	struct turn second = {stage->conn, "2", defer_next, &third, NULL};
	struct turn first = {stage->conn, "1", defer_next, &second, NULL};

	netd_defer(stage->conn, note, a);
	netd_defer(stage->conn, take_turn, &first);
	conn_unwind(stage->conn);
	assert_string_equal(story, "123a");
}

static void a_fatal_end_in_it_does_not_stop_the_others(void **state)
{
	struct stage *stage = *state;
	struct turn fatal = {stage->conn, "f", end_fatally, NULL, NULL};

	netd_defer(stage->conn, note, a);
	netd_defer(stage->conn, take_turn, &fatal);
	netd_defer(stage->conn, note, c);
	conn_unwind(stage->conn);
	assert_string_equal(story, "cfa");
	assert_log(stage, "conn 1 (unix:uid=-1,pid=-1): in f\n");
	assert_null(stage->conn->escape);
}

static void memory_lives_until_the_last_function_has_run(void **state)
{
	struct stage *stage = *state;
	struct turn turn = {stage->conn, "m", use_memory, NULL, NULL};

	netd_defer(stage->conn, take_turn, &turn);
	turn.memory = netd_alloc(stage->conn, 100); /* taken after: released before, elsewhere */
	assert_non_null(turn.memory);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(turn.memory[i], 0);
	strcpy(turn.memory, "emory");
	conn_unwind(stage->conn);
	assert_string_equal(story, "memory");
}

static void memory_of_every_size_is_aligned(void **state)
{
	struct stage *stage = *state;

	for (size_t size = 0; size < 100; size++) {
		char *memory = netd_alloc(stage->conn, size);

		assert_non_null(memory);
		assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
		memset(memory, 'x', size);
	}
}

static void memory_that_cannot_be_had(void **state)
{
	static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 31};
	struct stage *stage = *state;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		errno = 0;
		assert_null(netd_alloc(stage->conn, sizes[i]));
		assert_int_equal(errno, ENOMEM);
	}
	assert_string_equal(netd_conn_error(stage->conn), "alloc: Cannot allocate memory");
	scarce_from(0);
	assert_null(netd_alloc(stage->conn, 1));
	assert_false(scarce_over());
	scarce_from(0);
	assert_int_equal(netd_defer(stage->conn, note, a), -ENOMEM);
	assert_false(scarce_over());
	assert_string_equal(netd_conn_error(stage->conn), "defer: Cannot allocate memory");
	conn_unwind(stage->conn);
	assert_string_equal(story, "");
}

static int defer_and_write(struct netd_conn *conn)
{
	static struct turn turn;

	turn = (struct turn){conn, "t", NULL, NULL, NULL};
	netd_defer(conn, take_turn, &turn);
	netd_fatal(conn, "enough");
}

static void say_bye(void *arg)
{
	netd_printf(arg, "bye\n");
}

static void deferred_functions_can_still_write(void **state)
{
	struct stage *stage = *state;

	stage->service.run = defer_and_write;
	netd_defer(stage->conn, say_bye, stage->conn);
	assert_int_equal(conn_serve(stage->conn), CONN_FAILED);
	assert_string_equal(story, "t");
	assert_output(stage, "bye\n");
}

/* ---------------------------------------------------------------------------------- dialling */

/* A listening socket on the loopback address. */
struct door {
	int fd;
	char text[64];
};

static void door_open(struct door *door)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;

	door->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(door->fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(door->fd, 5), 0);
	assert_int_equal(getsockname(door->fd, (struct sockaddr *)&address, &size), 0);
	snprintf(door->text, sizeof door->text, "tcp:127.0.0.1:%d", ntohs(address.sin_port));
}

static int64_t soon(void)
{
	return netd_now() + 5000;
}

static void a_dialled_connection_reads_and_writes(void **state)
{
	struct stage *stage = *state;
	struct netd_conn *dialled = NULL;
	struct door door;
	char data[32] = "", *line = NULL;
	int peer;

	door_open(&door);
	assert_int_equal(netd_dial(stage->conn, door.text, soon(), &dialled), 0);
	peer = accept(door.fd, NULL, NULL);
	assert_string_equal(netd_peer_text(dialled), door.text + 4);
	assert_string_equal(netd_peer_host(dialled), "127.0.0.1");
	assert_int_equal(netd_conn_id(dialled), netd_conn_id(stage->conn));
	assert_int_equal(strncmp(netd_local_text(dialled), "tcp:127.0.0.1:", 14), 0);
	assert_ptr_equal(netd_local_text(dialled), dialled->local); /* asked for once */
	netd_printf(dialled, "hello\n");
	assert_int_equal(write(peer, "day\n", 4), 4);
	assert_int_equal(netd_line(dialled, &line), 4);
	assert_int_equal(read(peer, data, sizeof data), 6);
	assert_string_equal(data, "hello\n");
	netd_printf(dialled, "bye\n");
	assert_null(netd_hangup(dialled));
	assert_int_equal(read(peer, data, sizeof data), 4); /* flushed */
	assert_int_equal(read(peer, data, sizeof data), 0);
	assert_null(netd_hangup(NULL));
	close(peer);
	close(door.fd);
}

static void a_dialled_connection_ends_with_the_other(void **state)
{
	struct stage *stage = *state;
	struct netd_conn *dialled = NULL, *nested = NULL;
	struct door door;
	char data[32];
	int first, second;

	door_open(&door);
	assert_int_equal(netd_dial(stage->conn, door.text, soon(), &dialled), 0);
	first = accept(door.fd, NULL, NULL);
	assert_int_equal(netd_dial(dialled, door.text, soon(), &nested), 0);
	second = accept(door.fd, NULL, NULL);
	netd_defer(dialled, note, b);
	netd_defer(nested, note, c);
	netd_printf(dialled, "1");
	netd_printf(nested, "2");
	stage->conn = conn_free(stage->conn);
	assert_string_equal(story, "bc"); /* each last in first out */
	assert_int_equal(read(first, data, sizeof data), 1);
	assert_int_equal(read(first, data, sizeof data), 0);
	assert_int_equal(read(second, data, sizeof data), 1);
	assert_int_equal(read(second, data, sizeof data), 0);
	close(first);
	close(second);
	close(door.fd);
}

/* A connection that lives for long and dials often keeps nothing of it. */
static void a_hung_up_connection_leaves_nothing_behind(void **state)
{
	struct stage *stage = *state;
	struct netd_conn *one = NULL, *two = NULL;
	struct door door;

	door_open(&door);
	netd_defer(stage->conn, note, a);
	for (int i = 0; i < 3; i++) {
		struct conn_defer *before = stage->conn->deferred;

		assert_int_equal(netd_dial(stage->conn, door.text, soon(), &one), 0);
		assert_int_equal(netd_dial(stage->conn, door.text, soon(), &two), 0);
		netd_hangup(i ? two : one);
		netd_hangup(i ? one : two);
		assert_ptr_equal(stage->conn->deferred, before);
	}
	close(door.fd);
	assert_true(netd_dial(stage->conn, door.text, soon(), &one) < 0);
	conn_unwind(stage->conn);
	assert_string_equal(story, "a");
}

static struct door fatal_door;

static int dial_and_die(struct netd_conn *conn)
{
	struct netd_conn *dialled = NULL, *nested = NULL;

	assert_int_equal(netd_dial(conn, fatal_door.text, soon(), &dialled), 0);
	assert_int_equal(netd_dial(dialled, fatal_door.text, soon(), &nested), 0);
	netd_defer(conn, note, a);
	netd_defer(nested, note, c);
	netd_fatal(nested, "nested");
}

static void fatal_on_a_dialled_connection_ends_the_handler(void **state)
{
	struct stage *stage = *state;
	char *log;

	door_open(&fatal_door);
	stage->service.run = dial_and_die;
	assert_int_equal(conn_serve(stage->conn), CONN_FAILED);
	assert_string_equal(story, "ac");
	log = stage_log(stage, NETD_ERR);
	assert_non_null(strstr(log, ": nested\n"));
	assert_null(strstr(log, "ended in error"));
	free(log);
	close(fatal_door.fd);
}

static void addresses_that_cannot_be_dialled(void **state)
{
	struct stage *stage = *state;
	struct netd_conn *dialled = NULL;
	struct door door;

	assert_int_equal(netd_dial(stage->conn, "nonsense", soon(), &dialled), -EINVAL);
	assert_non_null(strstr(netd_conn_error(stage->conn), "nonsense"));
	door_open(&door);
	close(door.fd);
	assert_int_equal(netd_dial(stage->conn, door.text, soon(), &dialled), -ECONNREFUSED);
	assert_non_null(strstr(netd_conn_error(stage->conn), "Connection refused"));
	assert_int_equal(netd_dial(stage->conn, "unix:/nowhere/at/all", soon(), &dialled), -ENOENT);
	assert_null(dialled);
	assert_null(stage->conn->deferred);
}

static void a_unix_socket_is_dialled(void **state)
{
	NEEDS_OWN_SYSTEM("no credentials of peers");
	struct stage *stage = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct netd_conn *dialled = NULL;
	char text[128];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct netd_cred cred = {0};

	snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", stage->dir);
	snprintf(text, sizeof text, "unix:%s", address.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(netd_dial(stage->conn, text, soon(), &dialled), 0);
	assert_int_equal(netd_peer_cred(dialled, &cred), 0);
	assert_int_equal(cred.uid, getuid());
	unlink(address.sun_path);
	close(fd);
}

/* Nobody accepts and the queue is full: the deadline is what ends it. */
static void a_deadline_ends_dialling(void **state)
{
	struct stage *stage = *state;
	struct netd_conn *dialled = NULL;
	struct door door;
	int64_t before = netd_now();
	int rc;

	door_open(&door);
	assert_int_equal(listen(door.fd, 0), 0);
	do
		rc = netd_dial(stage->conn, door.text, netd_now() + 50, &dialled);
	while (rc == 0 && netd_now() - before < 5000);
	assert_int_equal(rc, -ETIMEDOUT);
	close(door.fd);
}

static void without_memory_nothing_stays_dialled(void **state)
{
	struct stage *stage = *state;
	struct door door;
	bool spared = false;

	door_open(&door);
	for (long n = 0; !spared; n++) {
		struct netd_conn *dialled = NULL;
		struct pollfd ready;
		char data;
		int peer, rc;

		scarce_from(n);
		rc = netd_dial(stage->conn, door.text, soon(), &dialled);
		spared = scarce_over();
		ready = (struct pollfd){.fd = door.fd, .events = POLLIN};
		peer = poll(&ready, 1, 0) > 0 ? accept(door.fd, NULL, NULL) : -1;
		if (spared) {
			assert_int_equal(rc, 0);
			netd_hangup(dialled);
		} else {
			assert_int_equal(rc, -ENOMEM);
			assert_null(dialled);
			assert_null(stage->conn->deferred);
			assert_non_null(
			    strstr(netd_conn_error(stage->conn), "Cannot allocate memory"));
		}
		if (peer >= 0) {
			assert_int_equal(read(peer, &data, 1), 0); /* closed */
			close(peer);
		}
	}
	close(door.fd);
}

static void a_connection_may_be_gone_when_it_is_dialled(void **state)
{
	struct stage *stage = *state;
	struct linger reset = {.l_onoff = 1};
	struct netd_conn *dialled = NULL;
	struct door door;
	char data;
	int peer;

	door_open(&door);
	assert_int_equal(netd_dial(stage->conn, door.text, soon(), &dialled), 0);
	peer = accept(door.fd, NULL, NULL);
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(peer);
	netd_set_deadline(dialled, soon());
	assert_int_equal(netd_read(dialled, &data, 1), -ECONNRESET);
	close(door.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    DEFER_TEST(last_in_first_out),
	    DEFER_TEST(a_connection_that_was_never_served_cleans_up_too),
	    DEFER_TEST(a_deferred_function_may_defer_more),
	    DEFER_TEST(a_fatal_end_in_it_does_not_stop_the_others),
	    DEFER_TEST(memory_lives_until_the_last_function_has_run),
	    DEFER_TEST(memory_of_every_size_is_aligned),
	    DEFER_TEST(memory_that_cannot_be_had),
	    DEFER_TEST(deferred_functions_can_still_write),
	    DEFER_TEST(a_dialled_connection_reads_and_writes),
	    DEFER_TEST(a_dialled_connection_ends_with_the_other),
	    DEFER_TEST(a_hung_up_connection_leaves_nothing_behind),
	    DEFER_TEST(fatal_on_a_dialled_connection_ends_the_handler),
	    DEFER_TEST(addresses_that_cannot_be_dialled),
	    DEFER_TEST(a_unix_socket_is_dialled),
	    DEFER_TEST(a_deadline_ends_dialling),
	    DEFER_TEST(without_memory_nothing_stays_dialled),
	    DEFER_TEST(a_connection_may_be_gone_when_it_is_dialled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
