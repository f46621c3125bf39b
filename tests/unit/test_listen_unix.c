/*
 * test_listen_unix.c - listening on paths: security rule 8. What stands at the path, who owns it,
 * who answers there, what the file looks like afterwards, and what is removed at the end.
 *
 * bind(2) is taken over so that the file can be exchanged at the worst moment.
 */
#include "listen/listen.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534

static char home[64]; /* a directory of this run, the current one; every test's path is "s" */
static const char *exchange; /* after bind(2) a regular file takes the place of this path */

static const struct listen_config plain = {.backlog = 4, .mode = 0660, .uid = -1, .gid = -1};

int hook_bind(int fd, const struct sockaddr *sa, socklen_t size) __asm__("bind");

static void write_file(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "mine", 4), 4);
	close(fd);
}

int hook_bind(int fd, const struct sockaddr *sa, socklen_t size)
{
	int rc = (int)syscall(SYS_bind, fd, sa, size);

	if (exchange) {
		unlink(exchange);
		write_file(exchange);
	}
	return rc;
}

static int open_path(struct listeners *list, const char *path, const struct listen_config *config,
		     struct err *err)
{
	struct address address = {.kind = ADDRESS_UNIX};

	assert_true(strlen(path) < sizeof address.path);
	memcpy(address.path, path, strlen(path) + 1);
	return listener_open(list, &address, config, err);
}

static void opens(struct listeners *list, const struct listen_config *config)
{
	struct err err;

	if (open_path(list, "s", config, &err) < 0)
		fail_msg("%s", err.text);
}

static void fails(const char *path, const struct listen_config *config, int code, const char *words)
{
	struct listeners list = {0};
	struct err err = {0};
	int rc = open_path(&list, path, config, &err);

	if (rc != code || err.code != code)
		fail_msg("%s: %d, not %d: %s", path, rc, code, err.text);
	if (!strstr(err.text, words) || strncmp(err.text, "unix:", 5) != 0)
		fail_msg("%s: no '%s' in: %s", path, words, err.text);
	assert_int_equal(list.count, 0);
	assert_null(list.items);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode;
}

static int connect_to(const char *path, int type)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_true(strlen(path) < sizeof sa.sun_path);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (connect(fd, (const struct sockaddr *)&sa, sizeof sa) == 0)
		return fd;
	close(fd);
	return -errno;
}

static void answers(const struct listeners *list)
{
	struct sockaddr_storage sa;
	socklen_t size = sizeof sa;
	int client = connect_to(list->items[0].path, SOCK_STREAM);
	int conn = os_accept(list->items[0].fd, &sa, &size);

	assert_true(client >= 0 && conn >= 0);
	close(client);
	close(conn);
}

/* A socket at "s" as a crashed server leaves it, or with somebody behind it. */
static int foreign_socket(int type, bool alive)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "s"};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(syscall(SYS_bind, fd, &sa, sizeof sa), 0);
	if (!alive) {
		close(fd);
		return -1;
	}
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 0), 0);
	return fd;
}

/* ----------------------------------------------------------------------- what stands there */

static void rule08_other_files_are_never_removed(void **state)
{
	(void)state;
	write_file("s");
	fails("s", &plain, -EEXIST, "a regular file is in the way and is left alone");
	assert_true(S_ISREG(mode_of("s")));
	assert_int_equal(unlink("s"), 0);
	assert_int_equal(mkfifo("s", 0600), 0);
	fails("s", &plain, -EEXIST, "a FIFO is in the way");
	assert_true(S_ISFIFO(mode_of("s")));
	assert_int_equal(unlink("s"), 0);
	assert_int_equal(mkdir("s", 0700), 0);
	fails("s", &plain, -EEXIST, "a directory is in the way");
	assert_true(S_ISDIR(mode_of("s")));
	assert_int_equal(rmdir("s"), 0);
	fails("/dev/null", &plain, -EEXIST, "a device is in the way");
}

static void rule08_links_are_neither_removed_nor_followed(void **state)
{
	(void)state;
	/* To a file, to nothing, to a stale socket: bind would make, remove would remove there. */
	assert_int_equal(symlink("target", "s"), 0);
	fails("s", &plain, -EEXIST, "a symbolic link is in the way");
	assert_int_equal(access("target", F_OK), -1);
	write_file("target");
	fails("s", &plain, -EEXIST, "a symbolic link is in the way");
	assert_true(S_ISREG(mode_of("target")));
	assert_int_equal(unlink("target"), 0);
	assert_int_equal(unlink("s"), 0);
	foreign_socket(SOCK_STREAM, false);
	assert_int_equal(rename("s", "target"), 0);
	assert_int_equal(symlink("target", "s"), 0);
	fails("s", &plain, -EEXIST, "a symbolic link is in the way");
	assert_true(S_ISSOCK(mode_of("target")));
	assert_true(S_ISLNK(mode_of("s")));
	assert_int_equal(unlink("target"), 0);
	assert_int_equal(unlink("s"), 0);
}

static void rule08_a_live_server_keeps_its_socket(void **state)
{
	struct listeners list = {0};
	int clients[8];
	size_t count = 0;
	int fd;

	(void)state;
	opens(&list, &plain);
	fails("s", &plain, -EADDRINUSE, "a server answers there");
	answers(&list); /* in its queue: the knock, then ours; both do no harm */
	listeners_finish(&list);

	/* So busy that it takes nobody now. */
	fd = foreign_socket(SOCK_STREAM, true);
	while (count < ARRAY_LEN(clients) && (clients[count] = connect_to("s", SOCK_STREAM)) >= 0)
		count++;
	assert_in_range(count, 1, ARRAY_LEN(clients) - 1);
	fails("s", &plain, -EADDRINUSE, "a server answers there");
	assert_true(S_ISSOCK(mode_of("s")));
	while (count > 0)
		close(clients[--count]);
	close(fd);
	assert_int_equal(unlink("s"), 0);

	fd = foreign_socket(SOCK_DGRAM, true);
	fails("s", &plain, -EADDRINUSE, "a server answers there");
	assert_true(S_ISSOCK(mode_of("s")));
	close(fd);
	assert_int_equal(unlink("s"), 0);
}

static void rule08_a_stale_socket_is_replaced(void **state)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	struct listeners list = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		foreign_socket(types[i], false);
		opens(&list, &plain);
		answers(&list);
		listeners_finish(&list);
		assert_int_equal(access("s", F_OK), -1);
	}
}

static void rule08_somebody_elses_stale_socket_is_left(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	foreign_socket(SOCK_STREAM, false);
	assert_int_equal(chmod(home, 0777), 0);
	assert_int_equal(seteuid(NOBODY), 0);
	fails("s", &plain, -EPERM, "belongs to user 0 and is left alone");
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(chmod(home, 0700), 0);
	assert_true(S_ISSOCK(mode_of("s")));
	assert_int_equal(unlink("s"), 0);
}

static void rule08_root_replaces_anybodys_stale_socket(void **state)
{
	struct listeners list = {0};

	(void)state;
	if (geteuid() != 0)
		skip();
	foreign_socket(SOCK_STREAM, false);
	assert_int_equal(chown("s", NOBODY, NOBODY), 0);
	opens(&list, &plain);
	answers(&list);
	listeners_finish(&list);
}

/* ------------------------------------------------------------------------ what the file is */

static void rule08_mode_is_exact_under_any_umask(void **state)
{
	static const mode_t masks[] = {0, 022, 077, 0777};
	static const unsigned modes[] = {0660, 0600, 0666, 0777, 0000, 0070};
	struct listeners list = {0};
	mode_t before = umask(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
		for (size_t j = 0; j < ARRAY_LEN(modes); j++) {
			struct listen_config config = plain;

			config.mode = modes[j];
			umask(masks[i]);
			opens(&list, &config);
			assert_int_equal(mode_of("s") & 07777, modes[j]);
			assert_int_equal(umask(masks[i]), masks[i]);
			listeners_finish(&list);
		}
		fails("no-such-directory/s", &plain, -ENOENT, "the directory does not exist");
		assert_int_equal(umask(masks[i]), masks[i]);
	}
	umask(before);
}

static void rule08_special_mode_bits_are_not_taken(void **state)
{
	struct listen_config config = plain;
	struct listeners list = {0};

	(void)state;
	config.mode = 07600;
	opens(&list, &config);
	assert_int_equal(mode_of("s") & 07777, 0600);
	listeners_finish(&list);
}

static void rule08_owner_is_as_configured(void **state)
{
	struct listen_config config = plain;
	struct listeners list = {0};
	struct stat st;

	(void)state;
	config.uid = geteuid() == 0 ? NOBODY : geteuid();
	opens(&list, &config);
	assert_int_equal(lstat("s", &st), 0);
	assert_int_equal(st.st_uid, config.uid);
	assert_int_equal(st.st_mode & 07777, 0660);
	listeners_finish(&list);
	config.uid = -1;
	config.gid = geteuid() == 0 ? NOBODY : getegid();
	opens(&list, &config);
	assert_int_equal(lstat("s", &st), 0);
	assert_int_equal(st.st_gid, config.gid);
	assert_int_equal(st.st_uid, geteuid());
	listeners_finish(&list);
}

static void rule08_giving_it_away_needs_root(void **state)
{
	struct listen_config config = plain;

	(void)state;
	config.uid = 1;
	assert_int_equal(chmod(home, 0777), 0);
	if (getuid() == 0)
		assert_int_equal(seteuid(NOBODY), 0);
	fails("s", &config, -EPERM, "only root may give a socket to another user");
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(chmod(home, 0700), 0);
	assert_int_equal(access("s", F_OK), -1); /* and what was made is gone again */
}

static void a_directory_without_rights_is_named(void **state)
{
	(void)state;
	if (getuid() == 0)
		assert_int_equal(seteuid(NOBODY), 0);
	fails("/s", &plain, -EACCES, "must be able to write the directory");
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	fails("/dev/null/s", &plain, -ENOTDIR, "unix:/dev/null/s: Not a directory");
}

/* ----------------------------------------------------------------- others at the same path */

static void rule08_a_file_exchanged_after_bind_is_left(void **state)
{
	struct listen_config config = plain;

	(void)state;
	exchange = "s";
	config.mode = 0666;
	fails("s", &config, -EADDRINUSE, "is another server starting");
	exchange = NULL;
	assert_int_equal(mode_of("s"), S_IFREG | 0600); /* neither removed nor opened to all */
	assert_int_equal(unlink("s"), 0);
}

static void rule08_only_our_own_file_is_removed(void **state)
{
	struct listeners list = {0};
	int fd;

	(void)state;
	opens(&list, &plain);
	assert_int_equal(unlink("s"), 0);
	listeners_finish(&list); /* nothing there */

	opens(&list, &plain);
	assert_int_equal(unlink("s"), 0);
	write_file("s");
	listeners_finish(&list);
	assert_true(S_ISREG(mode_of("s")));
	assert_int_equal(unlink("s"), 0);

	opens(&list, &plain);
	assert_int_equal(unlink("s"), 0);
	fd = foreign_socket(SOCK_STREAM, true);
	listeners_finish(&list);
	assert_true(S_ISSOCK(mode_of("s")));
	close(fd);
	assert_int_equal(unlink("s"), 0);

	opens(&list, &plain);
	assert_int_equal(rename("s", "moved"), 0);
	assert_int_equal(symlink("moved", "s"), 0);
	listeners_finish(&list);
	assert_true(S_ISLNK(mode_of("s")));
	assert_true(S_ISSOCK(mode_of("moved")));
	assert_int_equal(unlink("moved"), 0);
	assert_int_equal(unlink("s"), 0);
}

static void relative_paths_survive_a_change_of_directory(void **state)
{
	struct listeners list = {0};

	(void)state;
	opens(&list, &plain);
	assert_int_equal(list.items[0].path[0], '/');
	assert_int_equal(chdir("/"), 0);
	answers(&list);
	listeners_finish(&list);
	assert_int_equal(chdir(home), 0);
	assert_int_equal(access("s", F_OK), -1);
}

static void a_relative_path_too_long_to_complete_stays_relative(void **state)
{
	struct listeners list = {0};
	char path[108];

	(void)state;
	memset(path, 'p', sizeof path);
	path[107] = '\0';
	assert_int_equal(open_path(&list, path, &plain, NULL), 0);
	assert_string_equal(list.items[0].path, path);
	answers(&list);
	listeners_finish(&list);
	assert_int_equal(access(path, F_OK), -1);
}

static int make_home(void **state)
{
	(void)state;
	strcpy(home, "/tmp/test_listen_unix.XXXXXX");
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
	    cmocka_unit_test(rule08_other_files_are_never_removed),
	    cmocka_unit_test(rule08_links_are_neither_removed_nor_followed),
	    cmocka_unit_test(rule08_a_live_server_keeps_its_socket),
	    cmocka_unit_test(rule08_a_stale_socket_is_replaced),
	    cmocka_unit_test(rule08_somebody_elses_stale_socket_is_left),
	    cmocka_unit_test(rule08_root_replaces_anybodys_stale_socket),
	    cmocka_unit_test(rule08_mode_is_exact_under_any_umask),
	    cmocka_unit_test(rule08_special_mode_bits_are_not_taken),
	    cmocka_unit_test(rule08_owner_is_as_configured),
	    cmocka_unit_test(rule08_giving_it_away_needs_root),
	    cmocka_unit_test(a_directory_without_rights_is_named),
	    cmocka_unit_test(rule08_a_file_exchanged_after_bind_is_left),
	    cmocka_unit_test(rule08_only_our_own_file_is_removed),
	    cmocka_unit_test(relative_paths_survive_a_change_of_directory),
	    cmocka_unit_test(a_relative_path_too_long_to_complete_stays_relative),
	};

	return cmocka_run_group_tests(tests, make_home, remove_home);
}
