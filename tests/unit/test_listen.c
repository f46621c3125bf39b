/*
 * test_listen.c - listeners as clients meet them: tcp addresses, and the list of listeners. Paths
 * have tests of their own in test_listen_unix.c, connecting in test_connect.c.
 *
 * A few calls are taken over by this program so that rare events happen when a test wants them: a
 * port that is taken, a machine without IPv6, names that no resolver is asked for.
 */
#include "listen/listen.h"
#include "os/os.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534

/* -------------------------------------------------------------- system calls we have taken */

static struct {
	int bind_calls;      /* counted */
	int bind_fails_from; /* these calls, from 1, fail with bind_error; 0: none */
	int bind_fails_to;
	int bind_error;
	bool no_ipv6;
} hook;

int hook_bind(int fd, const struct sockaddr *sa, socklen_t size) __asm__("bind");
int hook_socket(int domain, int type, int protocol) __asm__("socket");
int hook_resolve(const char *host, const char *port, const struct addrinfo *hints,
		 struct addrinfo **out) __asm__("getaddrinfo");

int hook_bind(int fd, const struct sockaddr *sa, socklen_t size)
{
	hook.bind_calls++;
	if (hook.bind_calls >= hook.bind_fails_from && hook.bind_calls <= hook.bind_fails_to) {
		errno = hook.bind_error;
		return -1;
	}
	return (int)syscall(SYS_bind, fd, sa, size);
}

int hook_socket(int domain, int type, int protocol)
{
	if (hook.no_ipv6 && domain == AF_INET6) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	return (int)syscall(SYS_socket, domain, type, protocol);
}

typedef int resolve_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* Names of the tests' own: several addresses without a resolver, and each kind of failure. */
int hook_resolve(const char *host, const char *port, const struct addrinfo *hints,
		 struct addrinfo **out)
{
	static const struct {
		const char *name, *first, *second;
		int failure;
	} names[] = {
	    {"two.test", "127.0.0.1", "::1", 0},        {"two4.test", "127.0.0.2", "127.0.0.3", 0},
	    {"same.test", "127.0.0.1", "127.0.0.1", 0}, {"only6.test", "::1", "::1", 0},
	    {"unknown.test", NULL, NULL, EAI_NONAME},   {"dead.test", NULL, NULL, EAI_AGAIN},
	    {"memory.test", NULL, NULL, EAI_MEMORY},    {"system.test", NULL, NULL, EAI_SYSTEM},
	    {"other.test", NULL, NULL, EAI_FAIL},
	};
	resolve_fn *real;
	int rc;

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	for (size_t i = 0; host && i < ARRAY_LEN(names); i++) {
		if (strcmp(host, names[i].name) != 0)
			continue;
		errno = ENFILE;
		if (names[i].failure)
			return names[i].failure;
		rc = real(names[i].first, port, hints, out);
		return rc ? rc : real(names[i].second, port, hints, &(*out)->ai_next);
	}
	return real(host, port, hints, out);
}

/* ---------------------------------------------------------------------------- test's tools */

static char home[64]; /* a directory of this run, the current one */

static const struct listen_config plain = {.backlog = 16, .mode = 0660, .uid = -1, .gid = -1};

static int wait_by_poll(int fd, int64_t deadline)
{
	struct pollfd item = {.fd = fd, .events = POLLOUT};
	int n = poll(&item, 1, clock_poll_timeout(deadline));

	return n > 0 ? 0 : n == 0 ? -ETIMEDOUT : -errno;
}

static const struct connector polling = {wait_by_poll};

static int open_text(struct listeners *list, const char *text, struct err *err)
{
	struct address address;

	assert_int_equal(address_parse(&address, text, err), 0);
	return listener_open(list, &address, &plain, err);
}

static void opens(struct listeners *list, const char *text)
{
	struct err err;

	if (open_text(list, text, &err) < 0)
		fail_msg("%s", err.text);
}

/* Fails, with this code and these words, and the list stays as it is. */
static void fails(const char *text, int code, const char *words)
{
	struct listeners list = {0};
	struct err err = {0};
	int rc = open_text(&list, text, &err);

	if (rc != code || err.code != code)
		fail_msg("%s: %d, not %d: %s", text, rc, code, err.text);
	if (!strstr(err.text, words))
		fail_msg("%s: no '%s' in: %s", text, words, err.text);
	assert_int_equal(list.count, 0);
	assert_null(list.items);
}

static int dial(const char *text)
{
	struct address address;

	assert_int_equal(address_parse(&address, text, NULL), 0);
	return address_connect(&address, &polling, clock_deadline(5000), NULL);
}

/* A client gets through to this listener, at this address. */
static void serves(const struct listener *listener, const char *text)
{
	struct pollfd item = {.fd = listener->fd, .events = POLLIN};
	struct sockaddr_storage sa;
	socklen_t size = sizeof sa;
	int client = dial(text);
	int conn;

	if (client < 0)
		fail_msg("%s: %s", text, strerror(-client));
	assert_int_equal(poll(&item, 1, 5000), 1);
	conn = os_accept(listener->fd, &sa, &size);
	assert_true(conn >= 0);
	close(conn);
	close(client);
}

static unsigned port_of(const struct listener *listener)
{
	return (unsigned)atoi(strrchr(listener->text, ':') + 1);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t size = sizeof value;

	assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
	return value;
}

static bool ipv6_works(void)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool works = fd >= 0 && bind(fd, (const struct sockaddr *)&sa, sizeof sa) == 0;

	if (fd >= 0)
		close(fd);
	memset(&hook, 0, sizeof hook);
	return works;
}

/* ------------------------------------------------------------------------------------- tcp */

static void rule09_text_names_what_is_bound(void **state)
{
	struct listeners list = {0};
	char text[64];

	(void)state;
	opens(&list, "tcp:127.0.0.1:0");
	opens(&list, "tcp:*:0");
	opens(&list, "unix:names");
	snprintf(text, sizeof text, "tcp:127.0.0.1:%u", port_of(&list.items[0]));
	assert_string_equal(list.items[0].text, text);
	assert_true(port_of(&list.items[0]) > 0);
	serves(&list.items[0], text);
	snprintf(text, sizeof text, "tcp:*:%u", port_of(&list.items[1]));
	if (ipv6_works())
		assert_string_equal(list.items[1].text, text);
	serves(&list.items[1], list.items[1].text);
	assert_int_equal(strncmp(list.items[2].text, "unix:/", 6), 0);
	serves(&list.items[2], list.items[2].text);
	listeners_finish(&list);
	if (!ipv6_works())
		return;
	opens(&list, "tcp:[::1]:0");
	snprintf(text, sizeof text, "tcp:[::1]:%u", port_of(&list.items[0]));
	assert_string_equal(list.items[0].text, text);
	serves(&list.items[0], text);
	listeners_finish(&list);
}

static void wildcard_serves_both_families(void **state)
{
	static const char *const ways[] = {"127.0.0.1", "127.9.9.9", "[::1]", "localhost", "*"};
	struct listeners list = {0};
	char text[64];

	(void)state;
	if (!ipv6_works())
		skip();
	opens(&list, "tcp::0");
	assert_int_equal(list.count, 1);
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		snprintf(text, sizeof text, "tcp:%s:%u", ways[i], port_of(&list.items[0]));
		serves(&list.items[0], text);
	}
	listeners_finish(&list);
}

static void without_ipv6_the_wildcard_is_ipv4(void **state)
{
	struct listeners list = {0};

	(void)state;
	hook.no_ipv6 = true;
	opens(&list, "tcp:*:0");
	assert_int_equal(list.count, 1);
	assert_int_equal(strncmp(list.items[0].text, "tcp:0.0.0.0:", 12), 0);
	serves(&list.items[0], list.items[0].text);
	listeners_finish(&list);
	/* The same with a kernel that has IPv6 and no address for it. */
	memset(&hook, 0, sizeof hook);
	hook.bind_fails_from = hook.bind_fails_to = 1;
	hook.bind_error = EADDRNOTAVAIL;
	opens(&list, "tcp:*:0");
	assert_int_equal(strncmp(list.items[0].text, "tcp:0.0.0.0:", 12), 0);
	listeners_finish(&list);
}

static void without_ipv6_names_keep_their_ipv4_addresses(void **state)
{
	struct listeners list = {0};

	(void)state;
	hook.no_ipv6 = true;
	opens(&list, "tcp:two.test:0");
	assert_int_equal(list.count, 1);
	serves(&list.items[0], list.items[0].text);
	listeners_finish(&list);
	fails("tcp:only6.test:0", -EAFNOSUPPORT, "IPv6 is off");
	fails("tcp:[::1]:0", -EAFNOSUPPORT, "IPv6 is off");
}

static void every_address_of_a_name_is_bound_on_one_port(void **state)
{
	struct listeners list = {0};

	(void)state;
	opens(&list, "tcp:two4.test:0");
	assert_int_equal(list.count, 2);
	assert_int_equal(port_of(&list.items[0]), port_of(&list.items[1]));
	serves(&list.items[0], list.items[0].text);
	serves(&list.items[1], list.items[1].text);
	listeners_finish(&list);
	opens(&list, "tcp:same.test:0");
	assert_int_equal(list.count, 1);
	opens(&list, "tcp:localhost:0");
	assert_true(list.count >= 2);
	serves(&list.items[1], list.items[1].text);
	listeners_finish(&list);
	if (!ipv6_works())
		return;
	opens(&list, "tcp:two.test:0");
	assert_int_equal(list.count, 2);
	assert_int_equal(port_of(&list.items[0]), port_of(&list.items[1]));
	assert_int_equal(option(list.items[1].fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	serves(&list.items[0], list.items[0].text);
	serves(&list.items[1], list.items[1].text);
	listeners_finish(&list);
}

static void a_free_port_taken_elsewhere_is_tried_again(void **state)
{
	struct listeners list = {0};
	char asked[ADDRESS_TEXT_MAX];

	(void)state;
	hook.bind_error = EADDRINUSE;
	hook.bind_fails_from = hook.bind_fails_to = 2;
	opens(&list, "tcp:two4.test:0");
	assert_int_equal(list.count, 2);
	assert_int_equal(hook.bind_calls, 4);
	listeners_finish(&list);
	/* Not for ever. */
	memset(&hook, 0, sizeof hook);
	hook.bind_error = EADDRINUSE;
	hook.bind_fails_from = 1;
	hook.bind_fails_to = 1000000;
	fails("tcp:127.0.0.1:0", -EADDRINUSE, "ss -ltnp");
	assert_in_range(hook.bind_calls, 2, 100);
	/* A port that was asked for may be given back in a moment. */
	hook.bind_calls = 0;
	fails("tcp:127.0.0.1:2000", -EADDRINUSE, "ss -ltnp");
	assert_in_range(hook.bind_calls, 2, 10);
	memset(&hook, 0, sizeof hook);
	opens(&list, "tcp:127.0.0.1:0");
	snprintf(asked, sizeof asked, "%s", list.items[0].text);
	listeners_finish(&list);
	memset(&hook, 0, sizeof hook);
	hook.bind_error = EADDRINUSE;
	hook.bind_fails_from = 1;
	hook.bind_fails_to = 2;
	opens(&list, asked);
	assert_int_equal(hook.bind_calls, 3);
	listeners_finish(&list);
}

static void accepted_sockets_inherit_their_options(void **state)
{
	struct listeners list = {0};
	struct sockaddr_storage sa;
	socklen_t size = sizeof sa;
	int client, conn;

	(void)state;
	opens(&list, "tcp:127.0.0.1:0");
	assert_true(fcntl(list.items[0].fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(list.items[0].fd, F_GETFD) & FD_CLOEXEC);
	assert_true(option(list.items[0].fd, SOL_SOCKET, SO_REUSEADDR));
	assert_int_equal(os_accept(list.items[0].fd, &sa, &size), -EAGAIN);
	client = dial(list.items[0].text);
	assert_true(client >= 0);
	size = sizeof sa;
	conn = os_accept(list.items[0].fd, &sa, &size);
	assert_true(conn >= 0);
	assert_true(option(conn, IPPROTO_TCP, TCP_NODELAY));
	assert_true(option(conn, SOL_SOCKET, SO_KEEPALIVE));
	close(conn);
	close(client);
	listeners_finish(&list);
}

static void failures_say_what_to_do(void **state)
{
	struct listeners list = {0};

	(void)state;
	opens(&list, "tcp:127.0.0.1:0");
	fails(list.items[0].text, -EADDRINUSE, "another process listens there: see `ss -ltnp`");
	listeners_finish(&list);
	opens(&list, "tcp:*:0");
	fails(list.items[0].text, -EADDRINUSE, list.items[0].text);
	listeners_finish(&list);
	fails("tcp:203.0.113.7:2000", -EADDRNOTAVAIL,
	      "tcp:203.0.113.7:2000: Cannot assign requested address (no such address on this "
	      "machine");
	fails("tcp:127.0.0.1:no-such-service", -EINVAL, "unknown service 'no-such-service'");
	fails("tcp:*:no-such-service", -EINVAL, "tcp:*:no-such-service: unknown service");
	fails("tcp:unknown.test:1", -EHOSTUNREACH, "unknown host 'unknown.test'");
	fails("tcp:dead.test:1", -EAGAIN, "name servers do not answer");
	fails("tcp:memory.test:1", -ENOMEM, "host 'memory.test'");
	fails("tcp:system.test:1", -ENFILE, "host 'system.test'");
	fails("tcp:other.test:1", -EHOSTUNREACH, "host 'other.test'");
	fails("tcp:[fe80::1%no-such-zone]:1", -EHOSTUNREACH, "unknown host or interface");
	if (ipv6_works())
		fails("tcp:[fe80::1]:2000", -EINVAL, "a link-local address needs its interface");
}

static void fails_beside(struct listeners *list, const char *text, const char *words)
{
	struct err err = {0};

	assert_int_equal(open_text(list, text, &err), -EADDRINUSE);
	if (!strstr(err.text, words))
		fail_msg("%s: no '%s' in: %s", text, words, err.text);
	assert_int_equal(list->count, 1);
}

/* What of the same server may be in the way of text, and what may not. */
static void a_port_that_the_same_server_has_is_told_apart(void **state)
{
	struct listeners list = {0}, other = {0};
	char text[ADDRESS_TEXT_MAX + 16];

	(void)state;
	opens(&list, "tcp:*:0");
	snprintf(text, sizeof text, "tcp:127.0.0.1:%u", port_of(&list.items[0]));
	fails_beside(&list, text, "this server listens there already: tcp:*:");
	opens(&other, "tcp:127.0.0.1:0");
	fails_beside(&other, list.items[0].text, "another process listens there");
	listeners_finish(&list);
	fails_beside(&other, other.items[0].text, "this server listens there already: tcp:127");
	snprintf(text, sizeof text, "tcp:*:%u", port_of(&other.items[0]));
	fails_beside(&other, text, "this server listens there already: tcp:127");
	/* The same port of another address is no reason. */
	snprintf(text, sizeof text, "tcp:127.0.0.2:%u", port_of(&other.items[0]));
	opens(&list, text);
	fails_beside(&other, text, "another process listens there");
	listeners_finish(&list);
	listeners_finish(&other);
}

static void low_ports_need_rights(void **state)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
	char line[32] = "";

	(void)state;
	if (f) {
		assert_non_null(fgets(line, sizeof line, f));
		fclose(f);
	}
	if (atoi(line) < 3)
		skip();
	if (geteuid() == 0)
		assert_int_equal(seteuid(NOBODY), 0);
	fails("tcp:127.0.0.1:2", -EACCES, "ports below 1024 need root or CAP_NET_BIND_SERVICE");
	fails("tcp:*:2", -EACCES, "tcp:*:2: Permission denied (ports below 1024");
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
}

static void out_of_descriptors_leaves_the_list_unchanged(void **state)
{
	struct listeners list = {0};
	struct listener before;
	struct rlimit limit, low;
	struct err err = {0};
	int rc, rc_unix;

	(void)state;
	opens(&list, "tcp:127.0.0.1:0");
	before = list.items[0];
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = (rlim_t)before.fd + 2; /* room for one more: the second address has none */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	rc = open_text(&list, "tcp:two4.test:0", &err);
	low.rlim_cur--;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	rc_unix = open_text(&list, "unix:no-room", NULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(rc, -EMFILE);
	assert_int_equal(rc_unix, -EMFILE);
	assert_non_null(strstr(err.text, "ulimit -n"));
	assert_int_equal(list.count, 1);
	assert_memory_equal(&list.items[0], &before, sizeof before);
	assert_int_equal(fcntl(before.fd + 1, F_GETFD), -1); /* what was opened is closed again */
	assert_int_equal(access("no-room", F_OK), -1);
	serves(&list.items[0], list.items[0].text);
	listeners_finish(&list);
}

static void closing_keeps_the_list_and_the_file(void **state)
{
	struct listeners list = {0};
	int fd;

	(void)state;
	opens(&list, "tcp:127.0.0.1:0");
	opens(&list, "unix:kept");
	fd = list.items[0].fd;
	listeners_close(&list);
	listeners_close(&list); /* a second time does nothing */
	assert_int_equal(list.count, 2);
	assert_int_equal(list.items[0].fd, -1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(access("kept", F_OK), 0);
	listeners_finish(&list);
	assert_int_equal(access("kept", F_OK), -1);
	assert_int_equal(list.count, 0);
	listeners_finish(&list);
}

/* ----------------------------------------------------------------------------------- start */

static int make_home(void **state)
{
	(void)state;
	strcpy(home, "/tmp/test_listen.XXXXXX");
	return mkdtemp(home) ? chdir(home) : -1;
}

static int remove_home(void **state)
{
	(void)state;
	return chdir("/") < 0 ? -1 : rmdir(home); /* fails when a test left something behind */
}

static int reset(void **state)
{
	(void)state;
	memset(&hook, 0, sizeof hook);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, reset, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(rule09_text_names_what_is_bound),
	    TEST(wildcard_serves_both_families),
	    TEST(without_ipv6_the_wildcard_is_ipv4),
	    TEST(without_ipv6_names_keep_their_ipv4_addresses),
	    TEST(every_address_of_a_name_is_bound_on_one_port),
	    TEST(a_free_port_taken_elsewhere_is_tried_again),
	    TEST(accepted_sockets_inherit_their_options),
	    TEST(failures_say_what_to_do),
	    TEST(a_port_that_the_same_server_has_is_told_apart),
	    TEST(low_ports_need_rights),
	    TEST(out_of_descriptors_leaves_the_list_unchanged),
	    TEST(closing_keeps_the_list_and_the_file),
	};

	return cmocka_run_group_tests(tests, make_home, remove_home);
}
