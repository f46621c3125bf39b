/* test_inherit.c - what a supervisor puts into the environment: read once, and gone for children.
 */
#include "listen/inherit.h"
#include "os/os.h"
#include "proc/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* In a process that has nothing but its standard descriptors: cmocka's asserts do not reach the
 * test from there, so its exit status is what counts. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static void in_a_fresh_process(void (*body)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		os_close_from(3, NULL, 0);
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void set_number(const char *name, long long number)
{
	char text[24];

	snprintf(text, sizeof text, "%lld", number);
	setenv(name, text, 1);
}

/* A listening socket with the lowest free number, without flags, as a manager leaves it. */
static int listening(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	/* No path: the system chooses a name without a file. */
	CHECK(bind(fd, (struct sockaddr *)&sa, sizeof(sa_family_t)) == 0 && listen(fd, 5) == 0);
	return fd;
}

static bool gone(void)
{
	static const char *const names[] = {"LISTEN_PID",    "LISTEN_FDS",    "LISTEN_FDNAMES",
					    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (getenv(names[i]))
			return false;
	return true;
}

static void take_two(void)
{
	struct inherited inherited = {0};
	struct listeners given = {0}, all = {0};
	struct strlist warnings = {0};
	struct err err = {0};

	CHECK(listening() == 3);
	CHECK(listening() == 4);
	set_number("LISTEN_PID", getpid());
	setenv("LISTEN_FDS", "2", 1);
	setenv("LISTEN_FDNAMES", "web:", 1);
	CHECK(inherited_take(&inherited, &err) == 0 && inherited.count == 2 && gone());
	CHECK(fcntl(3, F_GETFD) == FD_CLOEXEC && fcntl(4, F_GETFD) == FD_CLOEXEC);
	CHECK(strcmp(inherited.items[0].name, "web") == 0 && !*inherited.items[1].name);
	CHECK(inherited_check(&inherited, &given, &warnings, &err) == 0);
	CHECK(given.count == 2 && warnings.count == 0 && !(fcntl(3, F_GETFL) & O_NONBLOCK));
	CHECK(inherited_adopt(&all, &given, &err) == 0 && all.count == 2 && given.count == 0);
	CHECK(all.items[0].inherited && all.items[0].fd == 3 && !*all.items[0].path);
	CHECK(fcntl(3, F_GETFL) & O_NONBLOCK);
	listeners_finish(&all);
	inherited_finish(&inherited);
	CHECK(fcntl(3, F_GETFD) < 0 && fcntl(4, F_GETFD) < 0);
	/* A second server of the process finds nothing. */
	CHECK(inherited_take(&inherited, &err) == 0 && inherited.count == 0);
}

static void sockets_are_taken_once_and_marked(void **state)
{
	(void)state;
	in_a_fresh_process(take_two);
}

static void adopt_before_others(void)
{
	struct inherited inherited = {0};
	struct listeners given = {0}, all = {0};
	struct strlist warnings = {0};
	struct listener other = {.fd = open("/dev/null", O_RDONLY)};
	struct err err;
	char text[8];

	/* A socket among the standard descriptors moves up. */
	close(STDIN_FILENO);
	CHECK(listening() == STDIN_FILENO);
	snprintf(text, sizeof text, "%d", STDIN_FILENO);
	CHECK(inherited_want(&inherited, text, &err) == 0);
	CHECK(inherited_check(&inherited, &given, &warnings, &err) == 0);
	all.items = malloc(sizeof other);
	CHECK(all.items != NULL);
	all.items[0] = other;
	all.count = 1;
	CHECK(inherited_adopt(&all, &given, &err) == 0 && all.count == 2);
	CHECK(all.items[0].number == STDIN_FILENO && all.items[0].fd > STDERR_FILENO);
	CHECK(all.items[1].fd == other.fd && read(STDIN_FILENO, text, 1) == 0);
	CHECK(fcntl(all.items[0].fd, F_GETFD) == FD_CLOEXEC);
	listeners_finish(&all);
	inherited_finish(&inherited);
}

static void they_stand_in_front_of_what_was_bound(void **state)
{
	(void)state;
	in_a_fresh_process(adopt_before_others);
}

static void take_wrong_ones(void)
{
	static const char *const wrong[][3] = {
	    {"x", "1", NULL},    {"", "1", NULL},   {"-1", "1", NULL},    {NULL, "-1", NULL},
	    {NULL, "1025", ""},  {NULL, "", NULL},  {NULL, "1", "a:b"},   {NULL, "2", "a"},
	    {NULL, "1", "a\nb"}, {NULL, "2", "a:"}, {NULL, "2", "a:b:c"}, {NULL, "1", "\xff"},
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct inherited inherited = {0};
		struct err err = {0};
		bool fine = wrong[i][2] && strcmp(wrong[i][2], "a:") == 0; /* an empty name */

		if (wrong[i][0])
			setenv("LISTEN_PID", wrong[i][0], 1);
		else
			set_number("LISTEN_PID", getpid());
		setenv("LISTEN_FDS", wrong[i][1], 1);
		if (wrong[i][2])
			setenv("LISTEN_FDNAMES", wrong[i][2], 1);
		CHECK(inherited_take(&inherited, &err) == (fine ? 0 : -EINVAL));
		CHECK(fine || strstr(err.text, ": found '"));
		CHECK(gone());
		inherited_finish(&inherited);
	}
}

static void wrong_variables_are_refused_and_gone(void **state)
{
	(void)state;
	in_a_fresh_process(take_wrong_ones);
}

static void take_anothers(void)
{
	struct inherited inherited = {0};
	struct err err;

	set_number("LISTEN_PID", getppid());
	setenv("LISTEN_FDS", "1", 1);
	CHECK(inherited_take(&inherited, &err) == 0);
	CHECK(inherited.count == 0 && inherited.other == getppid() && gone());
}

static void variables_of_another_process_are_told_of(void **state)
{
	(void)state;
	in_a_fresh_process(take_anothers);
}

/* ---------------------------------------------------------------------------------- the manager */

static void take_watchdog(void)
{
	static const struct {
		const char *usec, *pid; /* "me" */
		int64_t period_ms;
		bool odd;
	} cases[] = {
	    {"30000000", NULL, 15000, false},
	    {"30000000", "me", 15000, false},
	    {"30000000", "1", 0, false},
	    {"1", NULL, 1, false},
	    {"0", NULL, 0, true},
	    {"-3", NULL, 0, true},
	    {"1e6", NULL, 0, true},
	    {"30000000", "x", 0, true},
	    {NULL, "me", 0, false},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct notify notify;

		setenv("NOTIFY_SOCKET", "@x", 1);
		if (cases[i].usec)
			setenv("WATCHDOG_USEC", cases[i].usec, 1);
		if (cases[i].pid && strcmp(cases[i].pid, "me") == 0)
			set_number("WATCHDOG_PID", getpid());
		else if (cases[i].pid)
			setenv("WATCHDOG_PID", cases[i].pid, 1);
		notify_take(&notify);
		CHECK(notify.period_ms == cases[i].period_ms);
		CHECK(notify.odd_watchdog == cases[i].odd);
		CHECK(gone() && strcmp(notify.path, "@x") == 0);
		notify_finish(&notify);
		notify_finish(&notify);
	}
}

static void the_watchdog_is_answered_twice_in_its_time(void **state)
{
	(void)state;
	in_a_fresh_process(take_watchdog);
}

static void send_to_nobody(void)
{
	char long_text[1000];
	struct notify notify;
	struct err err;
	int there = listening(); /* of another type */
	struct sockaddr_un sa = {0};
	socklen_t size = sizeof sa;
	char name[sizeof sa.sun_path + 1] = "@";

	notify_take(&notify);
	CHECK(notify_open(&notify, &err) == 0 && notify.fd == -1);
	CHECK(notify_send(&notify, "READY=1\n") == 0);

	CHECK(getsockname(there, (struct sockaddr *)&sa, &size) == 0);
	memcpy(name + 1, sa.sun_path + 1, size - offsetof(struct sockaddr_un, sun_path) - 1);
	setenv("NOTIFY_SOCKET", name, 1);
	notify_take(&notify);
	CHECK(notify_open(&notify, &err) == -ECONNREFUSED && notify.fd == -1);
	notify_finish(&notify);

	notify.fd = there;
	memset(long_text, 'x', sizeof long_text - 1);
	long_text[sizeof long_text - 1] = '\0';
	CHECK(notify_send(&notify, "%s", long_text) == -EMSGSIZE);
	CHECK(notify_send(&notify, "x") == -ENOTCONN);
	notify_finish(&notify);
	CHECK(fcntl(there, F_GETFD) < 0);
}

static void nobody_is_no_failure(void **state)
{
	(void)state;
	in_a_fresh_process(send_to_nobody);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sockets_are_taken_once_and_marked),
	    cmocka_unit_test(they_stand_in_front_of_what_was_bound),
	    cmocka_unit_test(wrong_variables_are_refused_and_gone),
	    cmocka_unit_test(variables_of_another_process_are_told_of),
	    cmocka_unit_test(the_watchdog_is_answered_twice_in_its_time),
	    cmocka_unit_test(nobody_is_no_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
