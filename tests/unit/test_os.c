/*
 * test_os.c - the porting contract, kept by whichever backend the build has picked. What cannot be
 * undone (ids, capabilities, closing everything) is done in forked children, which leave by _exit:
 * a leak check would need rights they gave up.
 */
#include "os/os.h"

#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534

/* In a child: report where a check failed, and with what. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			dprintf(2, "# line %d: %s (errno %d)\n", __LINE__, #condition, errno);     \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static int in_child(int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(fn());
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static bool is_cloexec(int fd)
{
	return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

static bool is_nonblocking(int fd)
{
	return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

/* The generic backend knows no capabilities, even on a system that has them. */
static bool is_generic(void)
{
	return os_no_capabilities(false) == -ENOSYS;
}

static void chance_does_not_repeat_itself(void **state)
{
	unsigned char one[64] = {0}, other[64] = {0}, much[257];

	(void)state;
	assert_int_equal(os_random(one, sizeof one), 0);
	assert_int_equal(os_random(other, sizeof other), 0);
	assert_memory_not_equal(one, other, sizeof one);
	assert_true(os_random(much, sizeof much) < 0);
}

static void rule21_sockets_and_pipes_are_close_on_exec(void **state)
{
	int fds[2] = {-7, -7};
	int fd = os_socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	assert_true(fd >= 0 && is_cloexec(fd) && !is_nonblocking(fd));
	close(fd);
	assert_int_equal(os_pipe(fds), 0);
	for (int i = 0; i < 2; i++) {
		assert_true(is_cloexec(fds[i]) && is_nonblocking(fds[i]));
		close(fds[i]);
	}
	assert_int_equal(os_socket(AF_UNIX, 4711, 0), -EINVAL);
}

static void rule21_accepted_sockets_block_and_are_close_on_exec(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct sockaddr_storage peer;
	socklen_t size = sizeof address;
	int listener = os_socket(AF_INET, SOCK_STREAM, 0);
	int client = os_socket(AF_INET, SOCK_STREAM, 0);
	int fd;

	(void)state;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(os_set_nonblocking(listener, true), 0);
	size = sizeof peer;
	assert_int_equal(os_accept(listener, &peer, &size), -EAGAIN);

	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
	size = sizeof peer;
	fd = os_accept(listener, &peer, &size);
	assert_true(fd >= 0 && is_cloexec(fd) && !is_nonblocking(fd));
	assert_int_equal(size, sizeof address);
	assert_int_equal(peer.ss_family, AF_INET);
	close(fd);
	close(client);
	close(listener);
	size = sizeof peer;
	assert_int_equal(os_accept(listener, &peer, &size), -EBADF);
}

static void flags_go_on_and_off(void **state)
{
	int fd = open("/dev/null", O_RDONLY);

	(void)state;
	assert_int_equal(os_set_nonblocking(fd, true), 0);
	assert_true(is_nonblocking(fd));
	assert_int_equal(os_set_nonblocking(fd, false), 0);
	assert_false(is_nonblocking(fd));
	assert_int_equal(os_set_cloexec(fd, true), 0);
	assert_int_equal(os_set_cloexec(fd, true), 0);
	assert_true(is_cloexec(fd));
	assert_int_equal(os_set_cloexec(fd, false), 0);
	assert_false(is_cloexec(fd));
	close(fd);
	assert_int_equal(os_set_nonblocking(fd, true), -EBADF);
	assert_int_equal(os_set_cloexec(fd, true), -EBADF);
}

/* Which of 100..139 are open after os_close_from(first, keep). */
static int closes_all_but(int first, const int *keep, size_t count)
{
	struct rlimit few = {400, 400};
	size_t k = 0;

	for (int fd = 100; fd < 140; fd++)
		CHECK(dup2(2, fd) == fd);
	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	CHECK(os_close_from(first, keep, count) == 0);
	for (int fd = 100; fd < 140; fd++) {
		bool kept = fd < first;

		for (k = 0; k < count; k++)
			kept = kept || keep[k] == fd;
		CHECK((fcntl(fd, F_GETFD) >= 0) == kept);
	}
	CHECK(fcntl(2, F_GETFD) >= 0);
	return 0;
}

static int close_nothing_kept(void)
{
	return closes_all_but(3, NULL, 0);
}

static int close_some_kept(void)
{
	static const int keep[] = {100, 101, 103, 103, 120, 139, 300};

	return closes_all_but(3, keep, ARRAY_LEN(keep));
}

static int close_below_first_is_left_alone(void)
{
	static const int keep[] = {-1, 0, 105, 120, 125};

	return closes_all_but(120, keep, ARRAY_LEN(keep));
}

static void rule21_every_descriptor_is_closed_but_those_kept(void **state)
{
	if (getenv("VALGRIND")) { /* it keeps descriptors of its own, and the limit */
		printf("# skipped: under valgrind\n");
		return;
	}
	(void)state;
	assert_int_equal(in_child(close_nothing_kept), 0);
	assert_int_equal(in_child(close_some_kept), 0);
	assert_int_equal(in_child(close_below_first_is_left_alone), 0);
}

static void peer_credentials_are_ours_or_unknown(void **state)
{
	int64_t uid = 7, gid = 7, pid = 7;
	int pair[2], fd;

	(void)state;
	assert_int_equal(os_peer_cred(-1, &uid, &gid, &pid), -EBADF);
	assert_true(uid == 7 && gid == 7 && pid == 7);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(os_peer_cred(pair[0], &uid, &gid, &pid), 0);
	assert_true(uid == (is_generic() ? -1 : (int64_t)geteuid()));
	assert_true(gid == (is_generic() ? -1 : (int64_t)getegid()));
	assert_true(pid == (is_generic() ? -1 : (int64_t)getpid()));
	close(pair[0]);
	close(pair[1]);
	fd = os_socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(os_peer_cred(fd, &uid, &gid, &pid), 0);
	assert_true(uid == -1 && gid == -1 && pid == -1);
	close(fd);
}

static int ids_are_set_for_good(void)
{
	CHECK(os_uid_is(0) == 1 && os_uid_is(NOBODY) == 0);
	CHECK(os_gid_is(0) == 1 && os_gid_is(NOBODY) == 0);
	CHECK(os_set_gid(NOBODY) == 0 && os_gid_is(NOBODY) == 1 && os_gid_is(0) == 0);
	CHECK(os_set_uid(NOBODY) == 0 && os_uid_is(NOBODY) == 1 && os_uid_is(0) == 0);
	CHECK(os_set_uid(0) == -EPERM && os_set_gid(0) == -EPERM);
	CHECK(seteuid(0) < 0 && setegid(0) < 0);
	return 0;
}

static int ids_that_differ_are_not_the_same(void)
{
	CHECK(setegid(NOBODY) == 0 && os_gid_is(0) == 0 && os_gid_is(NOBODY) == 0);
	CHECK(seteuid(NOBODY) == 0 && os_uid_is(0) == 0 && os_uid_is(NOBODY) == 0);
	return 0;
}

/* False, and a word about it, where a test cannot be run. */
static bool is_root(void)
{
	if (geteuid() == 0)
		return true;
	print_message("# skipped: needs root\n");
	return false;
}

static void rule02_ids_are_all_three(void **state)
{
	(void)state;
	if (!is_root())
		return;
	assert_int_equal(in_child(ids_are_set_for_good), 0);
	assert_int_equal(in_child(ids_that_differ_are_not_the_same), 0);
}

/* /proc's word for it: nothing in any set of capabilities. */
static bool proc_shows_no_capabilities(bool bounding)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[256];
	int sets = 0, empty = 0;

	while (status && fgets(line, sizeof line, status)) {
		if (strncmp(line, "Cap", 3) != 0 || (!bounding && strncmp(line, "CapBnd", 6) == 0))
			continue;
		sets++;
		empty += strtoull(line + 7, NULL, 16) == 0;
	}
	if (status)
		fclose(status);
	return sets == (bounding ? 5 : 4) && empty == sets;
}

static int capabilities_of_root_go(void)
{
	CHECK(os_no_capabilities(false) == 0);
	CHECK(os_keep_capabilities() == 0);
	CHECK(os_set_uid(NOBODY) == 0);
	CHECK(os_no_capabilities(false) == 0); /* kept */
	CHECK(os_drop_capabilities() == 0);
	CHECK(os_no_capabilities(true) == 1);
	CHECK(proc_shows_no_capabilities(true));
	CHECK(os_drop_capabilities() == 1); /* again: the bounding set is out of reach */
	CHECK(os_no_capabilities(true) == 1);
	return 0;
}

static int bounding_set_stays_out_of_reach(void)
{
	CHECK(os_set_uid(NOBODY) == 0);
	CHECK(os_drop_capabilities() == 1);
	CHECK(os_no_capabilities(false) == 1);
	CHECK(os_no_capabilities(true) == 0);
	CHECK(proc_shows_no_capabilities(false));
	return 0;
}

static void rule01_every_capability_goes(void **state)
{
	(void)state;
	if (is_generic()) {
		assert_int_equal(os_keep_capabilities(), -ENOSYS);
		assert_int_equal(os_drop_capabilities(), -ENOSYS);
		assert_int_equal(os_no_new_privs(), -ENOSYS);
		return;
	}
	if (!is_root())
		return;
	assert_int_equal(in_child(capabilities_of_root_go), 0);
	assert_int_equal(in_child(bounding_set_stays_out_of_reach), 0);
}

static int no_new_privs_is_set(void)
{
	FILE *status;
	char line[256];
	bool found = false;

	CHECK(os_no_new_privs() == 0);
	CHECK(os_no_new_privs() == 0);
	status = fopen("/proc/self/status", "r");
	CHECK(status);
	while (fgets(line, sizeof line, status))
		found = found || strcmp(line, "NoNewPrivs:\t1\n") == 0;
	fclose(status);
	CHECK(found);
	return 0;
}

/* Dies, and says by its end whether a core could have been written. */
static int dumps_no_core(void)
{
	struct rlimit limit;

	CHECK(os_no_dump() == 0);
	if (is_generic()) {
		CHECK(getrlimit(RLIMIT_CORE, &limit) == 0);
		CHECK(limit.rlim_cur == 0 && limit.rlim_max == 0);
		return 0;
	}
	/* /proc files of one who dumps nothing are root's, whoever it is. */
	CHECK(geteuid() != 0 || os_set_uid(NOBODY) == 0);
	CHECK(os_no_dump() == 0);
	CHECK(open("/proc/self/environ", O_RDONLY) < 0 && errno == EACCES);
	CHECK(os_allow_dump() == 0);
	CHECK(open("/proc/self/environ", O_RDONLY) >= 0);
	return 0;
}

static void rule24_no_new_privileges_and_no_core(void **state)
{
	(void)state;
	if (!is_generic())
		assert_int_equal(in_child(no_new_privs_is_set), 0);
	assert_int_equal(in_child(dumps_no_core), 0);
	assert_int_equal(is_generic() ? os_allow_dump() : 0, 0);
}

/* A grandchild asks for a signal when its parent dies; the parent dies; the grandchild tells. */
static void a_parents_death_is_told(void **state)
{
	int ready[2], told[2];
	struct pollfd end;
	pid_t pid;
	char c;

	(void)state;
	if (is_generic()) {
		assert_int_equal(os_parent_death_signal(SIGTERM), -ENOSYS);
		return;
	}
	assert_int_equal(os_parent_death_signal(4711), -EINVAL);
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(told), 0);
	pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			if (os_parent_death_signal(SIGKILL) == 0 && write(ready[1], "", 1) == 1)
				pause(); /* holds told[1] until it is killed */
			_exit(1);
		}
		close(told[1]);
		_exit(read(ready[0], &c, 1) == 1 ? 0 : 1);
	}
	assert_true(pid > 0);
	close(told[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	end = (struct pollfd){.fd = told[0], .events = POLLIN};
	assert_int_equal(poll(&end, 1, 10000), 1);
	assert_int_equal(read(told[0], &c, 1), 0);
	close(told[0]);
	close(ready[0]);
	close(ready[1]);
}

static void threads_have_numbers_and_names(void **state)
{
	char name[64] = "";
	FILE *comm;

	(void)state;
	assert_true(os_thread_id() == getpid());
	os_thread_name("a name of more than fifteen");
	comm = fopen("/proc/thread-self/comm", "r");
	if (!is_generic() && comm) {
		assert_non_null(fgets(name, sizeof name, comm));
		assert_string_equal(name, "a name of more \n");
	}
	if (comm)
		fclose(comm);
}

/* What a stream stands on: a fixed input, an output that is gathered, errors on demand. */
struct cookie {
	const char *input;
	char output[256];
	size_t used;
	int error; /* fail with this errno */
	int closed;
};

static ssize_t cookie_read(void *arg, char *data, size_t size)
{
	struct cookie *cookie = arg;
	size_t n = strnlen(cookie->input, size);

	if (cookie->error) {
		errno = cookie->error;
		return -1;
	}
	memcpy(data, cookie->input, n);
	cookie->input += n;
	return (ssize_t)n;
}

static ssize_t cookie_write(void *arg, const char *data, size_t size)
{
	struct cookie *cookie = arg;

	if (cookie->error) {
		errno = cookie->error;
		return 0;
	}
	assert_true(size < sizeof cookie->output - cookie->used);
	memcpy(cookie->output + cookie->used, data, size);
	cookie->used += size;
	return (ssize_t)size;
}

static int cookie_close(void *arg)
{
	struct cookie *cookie = arg;

	cookie->closed++;
	errno = cookie->error;
	return cookie->error ? -1 : 0;
}

static FILE *open_stream(struct cookie *cookie)
{
	FILE *file = os_stream(cookie, cookie_read, cookie_write, cookie_close);

	if (!file)
		assert_int_equal(errno, ENOTSUP);
	return file;
}

/* Input that came early must survive an answer in between: the bane of "r+" streams. */
static void a_stream_reads_and_writes_in_turns(void **state)
{
	struct cookie cookie = {.input = "one\ntwo\n42 three"};
	FILE *file = open_stream(&cookie);
	char line[64];
	int n = 0;

	(void)state;
	if (!file) {
		assert_true(is_generic());
		return;
	}
	assert_string_equal(fgets(line, sizeof line, file), "one\n");
	assert_int_equal(fprintf(file, "got %s", line), 8);
	assert_string_equal(fgets(line, sizeof line, file), "two\n");
	assert_int_equal(fprintf(file, "got %s", line), 8);
	assert_int_equal(fflush(file), 0);
	assert_int_equal(fscanf(file, "%d", &n), 1);
	assert_int_equal(fprintf(file, "%d\n", n), 3);
	assert_int_equal(fseek(file, 0, SEEK_SET), -1);
	assert_int_equal(errno, ESPIPE);
	assert_int_equal(fread(line, 1, sizeof line, file), 6);
	assert_true(feof(file));
	assert_int_equal(fputs("end", file), 1);
	assert_int_equal(fclose(file), 0);
	assert_string_equal(cookie.output, "got one\ngot two\n42\nend");
	assert_int_equal(cookie.closed, 1);
}

static void a_stream_passes_errors_on(void **state)
{
	struct cookie cookie = {.input = "", .error = ETIMEDOUT};
	FILE *file = open_stream(&cookie);

	(void)state;
	if (!file) {
		assert_true(is_generic());
		return;
	}
	errno = 0;
	assert_int_equal(fgetc(file), EOF);
	assert_int_equal(errno, ETIMEDOUT);
	assert_true(ferror(file));
	clearerr(file);
	cookie.error = EPIPE;
	errno = 0;
	assert_int_equal(fputc('x', file), EOF);
	assert_int_equal(errno, EPIPE);
	cookie.error = EIO;
	errno = 0;
	assert_int_equal(fclose(file), EOF);
	assert_int_equal(errno, EIO);
	assert_int_equal(cookie.closed, 1);
}

static void sendfile_moves_the_offset(void **state)
{
	char name[] = "/tmp/test_os.XXXXXX", text[16] = "";
	int file = mkstemp(name), pair[2], pipes[2];
	off_t offset = 2;
	ssize_t n;

	(void)state;
	assert_true(file >= 0);
	unlink(name);
	assert_int_equal(write(file, "0123456789", 10), 10);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	n = os_sendfile(pair[0], file, &offset, 5);
	if (is_generic()) {
		assert_int_equal(n, -ENOSYS);
		assert_true(offset == 2);
	} else {
		assert_int_equal(n, 5);
		assert_true(offset == 7);
		assert_int_equal(read(pair[1], text, sizeof text), 5);
		assert_string_equal(text, "23456");
		offset = 10;
		assert_int_equal(os_sendfile(pair[0], file, &offset, 5), 0);
		assert_int_equal(os_sendfile(-1, file, &offset, 5), -EBADF);
	}
	assert_int_equal(pipe(pipes), 0);
	offset = 0;
	assert_int_equal(os_sendfile(pair[0], pipes[0], &offset, 5),
			 is_generic() ? -ENOSYS : -ESPIPE);
	/* A socket is no file that the kernel could send from. */
	assert_int_equal(os_sendfile(pair[0], pair[1], &offset, 5),
			 is_generic() ? -ENOSYS : -ESPIPE);
	close(pipes[0]);
	close(pipes[1]);
	close(pair[0]);
	close(pair[1]);
	close(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(chance_does_not_repeat_itself),
	    cmocka_unit_test(rule21_sockets_and_pipes_are_close_on_exec),
	    cmocka_unit_test(rule21_accepted_sockets_block_and_are_close_on_exec),
	    cmocka_unit_test(flags_go_on_and_off),
	    cmocka_unit_test(rule21_every_descriptor_is_closed_but_those_kept),
	    cmocka_unit_test(peer_credentials_are_ours_or_unknown),
	    cmocka_unit_test(rule02_ids_are_all_three),
	    cmocka_unit_test(rule01_every_capability_goes),
	    cmocka_unit_test(rule24_no_new_privileges_and_no_core),
	    cmocka_unit_test(a_parents_death_is_told),
	    cmocka_unit_test(threads_have_numbers_and_names),
	    cmocka_unit_test(a_stream_reads_and_writes_in_turns),
	    cmocka_unit_test(a_stream_passes_errors_on),
	    cmocka_unit_test(sendfile_moves_the_offset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
