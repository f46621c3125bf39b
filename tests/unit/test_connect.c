/*
 * test_connect.c - outgoing connections: refusals, deadlines, hosts with several addresses, queues
 * that are full.
 *
 * connect(2) and getaddrinfo(3) are taken over by this program: to meet oneself on purpose, and to
 * have a name with two addresses without asking a resolver.
 */
#include "listen/listen.h"
#include "os/os.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static char home[64];      /* a directory of this run, the current one */
static bool meet_yourself; /* connect(2) from the port it connects to */

int hook_connect(int fd, const struct sockaddr *sa, socklen_t size) __asm__("connect");
int hook_resolve(const char *host, const char *port, const struct addrinfo *hints,
		 struct addrinfo **out) __asm__("getaddrinfo");

int hook_connect(int fd, const struct sockaddr *sa, socklen_t size)
{
	if (meet_yourself)
		syscall(SYS_bind, fd, sa, size);
	return (int)syscall(SYS_connect, fd, sa, size);
}

typedef int resolve_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int hook_resolve(const char *host, const char *port, const struct addrinfo *hints,
		 struct addrinfo **out)
{
	resolve_fn *real;
	int rc;

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (host && strcmp(host, "unknown.test") == 0)
		return EAI_NONAME;
	if (!host || strcmp(host, "two4.test") != 0)
		return real(host, port, hints, out);
	rc = real("127.0.0.2", port, hints, out);
	return rc ? rc : real("127.0.0.3", port, hints, &(*out)->ai_next);
}

static int wait_by_poll(int fd, int64_t deadline)
{
	struct pollfd item = {.fd = fd, .events = POLLOUT};
	int n = poll(&item, 1, clock_poll_timeout(deadline));

	return n > 0 ? 0 : n == 0 ? -ETIMEDOUT : -errno;
}

static int wait_cancelled(int fd, int64_t deadline)
{
	(void)fd;
	(void)deadline;
	return -ECANCELED;
}

static const struct connector polling = {wait_by_poll};
static const struct connector cancelled = {wait_cancelled};

static void opens(struct listeners *list, const char *text, int backlog)
{
	struct listen_config config = {.backlog = backlog, .mode = 0600, .uid = -1, .gid = -1};
	struct address address;
	struct err err;

	assert_int_equal(address_parse(&address, text, NULL), 0);
	if (listener_open(list, &address, &config, &err) < 0)
		fail_msg("%s", err.text);
}

static int dial(const char *text, const struct connector *how, int64_t ms)
{
	struct address address;
	struct err err = {0};
	int rc;

	assert_int_equal(address_parse(&address, text, NULL), 0);
	rc = address_connect(&address, how, clock_deadline(ms), &err);
	if (rc < 0) {
		assert_int_equal(err.code, rc);
		assert_int_equal(strncmp(err.text, text, strlen(text)), 0);
	}
	return rc;
}

/* The text of an address where nobody listens any more. */
static void nobody(char text[ADDRESS_TEXT_MAX])
{
	struct listeners list = {0};

	opens(&list, "tcp:127.0.0.1:0", 1);
	strcpy(text, list.items[0].text);
	listeners_finish(&list);
}

/* Fill the queue of a listener that nobody accepts from; returns how many clients it took. */
static size_t fill_queue(const char *text, int *clients, size_t max)
{
	for (size_t i = 0; i < max; i++) {
		clients[i] = dial(text, &polling, 30);
		if (clients[i] < 0) {
			assert_int_equal(clients[i], -ETIMEDOUT);
			return i;
		}
	}
	fail_msg("%s: the queue does not fill", text);
	return 0;
}

static void the_socket_is_ready_for_use(void **state)
{
	struct listeners list = {0};
	int value = 0;
	socklen_t size = sizeof value;
	int client;

	(void)state;
	opens(&list, "tcp:127.0.0.1:0", 4);
	client = dial(list.items[0].text, &polling, 5000);
	assert_true(client >= 0);
	assert_true(fcntl(client, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(client, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(getsockopt(client, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
	assert_int_equal(value, 1);
	close(client);
	listeners_finish(&list);
}

static void connecting_to_nobody_fails(void **state)
{
	char text[ADDRESS_TEXT_MAX];

	(void)state;
	nobody(text);
	assert_int_equal(dial(text, &polling, 5000), -ECONNREFUSED);
	assert_int_equal(dial("unix:nobody", &polling, 5000), -ENOENT);
	assert_int_equal(dial("tcp:unknown.test:1", &polling, 5000), -EHOSTUNREACH);
	assert_int_equal(dial("tcp:127.0.0.1:no-such-service", &polling, 5000), -EINVAL);
	assert_int_equal(dial("tcp:127.0.0.1:2000", &cancelled, 5000), -ECANCELED);
}

static void connecting_to_oneself_is_refused(void **state)
{
	char text[ADDRESS_TEXT_MAX];

	(void)state;
	nobody(text);
	meet_yourself = true;
	assert_int_equal(dial(text, &polling, 5000), -ECONNREFUSED);
	meet_yourself = false;
}

static void the_next_address_is_tried(void **state)
{
	struct listeners list = {0};
	struct sockaddr_storage sa;
	socklen_t size = sizeof sa;
	char text[64];
	int client, conn;

	(void)state;
	opens(&list, "tcp:127.0.0.3:0", 4); /* the second address of two4.test only */
	snprintf(text, sizeof text, "tcp:two4.test%s", strrchr(list.items[0].text, ':'));
	client = dial(text, &polling, 5000);
	conn = os_accept(list.items[0].fd, &sa, &size);
	assert_true(client >= 0 && conn >= 0);
	close(client);
	close(conn);
	listeners_finish(&list);
	assert_int_equal(dial(text, &polling, 5000), -ECONNREFUSED);
}

/* Waits as if the first address did not answer; keeps the deadlines it was given. */
static int64_t deadlines[2];
static int waits;

static int first_is_silent(int fd, int64_t deadline)
{
	assert_in_range(waits, 0, 1);
	deadlines[waits++] = deadline;
	return waits == 1 ? -ETIMEDOUT : wait_by_poll(fd, deadline);
}

static void a_silent_address_leaves_time_for_the_next(void **state)
{
	const struct connector silent = {first_is_silent};
	struct listeners list = {0};
	struct address address;
	int64_t end = clock_deadline(10000);
	char text[64];
	int client;

	(void)state;
	opens(&list, "tcp:127.0.0.3:0", 4);
	snprintf(text, sizeof text, "tcp:two4.test%s", strrchr(list.items[0].text, ':'));
	assert_int_equal(address_parse(&address, text, NULL), 0);
	client = address_connect(&address, &silent, end, NULL);
	assert_true(client >= 0);
	close(client);
	assert_int_equal(waits, 2);
	assert_in_range(deadlines[0], end - 6000, end - 4000); /* half of the time */
	assert_int_equal(deadlines[1], end);                   /* all that is left */
	listeners_finish(&list);
}

static void deadlines_end_a_connect(void **state)
{
	static const char *const texts[] = {"tcp:127.0.0.3:0", "unix:full"};
	struct listeners list = {0};
	int clients[32];
	int64_t start;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		size_t count;

		opens(&list, texts[i], 1);
		count = fill_queue(list.items[0].text, clients, ARRAY_LEN(clients));
		assert_true(count > 0);
		start = clock_ms();
		assert_int_equal(dial(list.items[0].text, &polling, 50), -ETIMEDOUT);
		assert_in_range(clock_ms() - start, 50, 2000);
		assert_int_equal(dial(list.items[0].text, &polling, 0), -ETIMEDOUT);
		assert_int_equal(dial(list.items[0].text, &cancelled, 50), -ECANCELED);
		while (count > 0)
			close(clients[--count]);
		listeners_finish(&list);
	}
}

/* While it naps for room in the queue, room is made. */
static const struct listener *full;

static int make_room(int fd, int64_t deadline)
{
	struct sockaddr_storage sa;
	socklen_t size = sizeof sa;
	int conn = os_accept(full->fd, &sa, &size);

	if (conn >= 0)
		close(conn);
	return wait_by_poll(fd, deadline);
}

static void a_full_unix_socket_is_tried_again(void **state)
{
	const struct connector making_room = {make_room};
	struct listeners list = {0};
	int clients[32];
	size_t count;
	int late;

	(void)state;
	opens(&list, "unix:busy", 1);
	full = &list.items[0];
	count = fill_queue("unix:busy", clients, ARRAY_LEN(clients));
	late = dial("unix:busy", &making_room, 5000);
	assert_true(late >= 0);
	close(late);
	while (count > 0)
		close(clients[--count]);
	listeners_finish(&list);
}

static int make_home(void **state)
{
	(void)state;
	strcpy(home, "/tmp/test_connect.XXXXXX");
	return mkdtemp(home) ? chdir(home) : -1;
}

static int remove_home(void **state)
{
	(void)state;
	return chdir("/") < 0 ? -1 : rmdir(home); /* fails when a test left something behind */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_socket_is_ready_for_use),
	    cmocka_unit_test(connecting_to_nobody_fails),
	    cmocka_unit_test(connecting_to_oneself_is_refused),
	    cmocka_unit_test(the_next_address_is_tried),
	    cmocka_unit_test(a_silent_address_leaves_time_for_the_next),
	    cmocka_unit_test(deadlines_end_a_connect),
	    cmocka_unit_test(a_full_unix_socket_is_tried_again),
	};

	return cmocka_run_group_tests(tests, make_home, remove_home);
}
