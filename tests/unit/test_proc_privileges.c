/*
 * test_proc_privileges.c - giving up root, seen from inside. Each drop happens in a forked child,
 * which tells by its exit status and leaves by _exit: a leak check would need the rights it gave
 * up. tests/security/test_priv.py looks from outside and makes every call fail or lie.
 */
#include "os/os.h"
#include "proc/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			dprintf(2, "# line %d: %s (errno %d)\n", __LINE__, #condition, errno);     \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static const struct identity nobody = {
    .set_uid = true,
    .set_gid = true,
    .uid = NOBODY,
    .gid = NOBODY,
    .user = "nobody",
    .group = "nogroup",
};

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

/* False, and a word about it, where a test cannot be run. */
static bool is_root(void)
{
	if (geteuid() == 0)
		return true;
	print_message("# skipped: needs root\n");
	return false;
}

/* ---------------------------------------------------------------------------------- as it should
 */

static int nothing_of_root_is_left(void)
{
	static const gid_t before[] = {0, 4711, 4712};
	struct err err = {0};
	gid_t list[4];
	pid_t pid = getppid();

	CHECK(setgroups(ARRAY_LEN(before), before) == 0);
	CHECK(privileges_drop(&nobody, NULL, false, &err) == 0);
	CHECK(os_uid_is(NOBODY) == 1 && os_gid_is(NOBODY) == 1);
	CHECK(getgroups(4, list) == 1 && list[0] == NOBODY);
	CHECK(os_no_capabilities(true) == 1 || os_no_capabilities(true) == -ENOSYS);
	/* What root could and nobody cannot. */
	CHECK(setuid(0) < 0 && seteuid(0) < 0 && setreuid(0, 0) < 0 && setreuid(-1u, 0) < 0);
	CHECK(setgid(0) < 0 && setegid(0) < 0 && setgroups(0, NULL) < 0);
	CHECK(chroot("/") < 0 && chown("/", 0, 0) < 0 && nice(-1) < 0);
	CHECK(kill(pid, 0) < 0 && errno == EPERM);
	CHECK(open("/etc/shadow", O_RDONLY) < 0 || access("/etc/shadow", F_OK) < 0);
	return 0;
}

static void rule02_nothing_of_root_is_left(void **state)
{
	(void)state;
	if (!is_root())
		return;
	assert_int_equal(in_child(nothing_of_root_is_left), 0);
}

static int dropped_twice(void)
{
	struct err err;
	struct identity other = nobody;

	CHECK(privileges_drop(&nobody, NULL, false, &err) == 0);
	CHECK(privileges_drop(&nobody, NULL, true, &err) == 0); /* is that already */
	other.uid = 1;
	strcpy(other.user, "daemon");
	CHECK(privileges_drop(&other, NULL, false, &err) == -EPERM);
	CHECK(strcmp(err.text, "only root can become user daemon") == 0);
	other = nobody;
	other.gid = 1;
	CHECK(privileges_drop(&other, NULL, false, NULL) == -EPERM);
	return 0;
}

static void who_is_it_already_may_stay_so(void **state)
{
	(void)state;
	if (!is_root())
		return;
	assert_int_equal(in_child(dropped_twice), 0);
}

/* A set-user-id program: root in effect only. Both sides are given up. */
static int effective_root(void)
{
	struct err err;

	CHECK(setresuid(4711, 0, 0) == 0);
	CHECK(privileges_drop(&nobody, NULL, false, &err) == 0);
	CHECK(os_uid_is(NOBODY) == 1);
	return 0;
}

/* The other way round: root could be had back from the real id, so this is not giving up. */
static int hidden_root(void)
{
	struct err err;

	CHECK(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(0, NOBODY, 0) == 0);
	CHECK(privileges_drop(&nobody, NULL, false, &err) == -EPERM);
	CHECK(strcmp(err.text, "only root can become user nobody") == 0);
	return 0;
}

static void rule02_ids_that_differ_are_not_trusted(void **state)
{
	(void)state;
	if (!is_root())
		return;
	assert_int_equal(in_child(effective_root), 0);
	assert_int_equal(in_child(hidden_root), 0);
}

static int nothing_changes(void)
{
	static const struct identity none;
	char before[4096], after[4096];
	uid_t uid = geteuid();

	CHECK(getcwd(before, sizeof before));
	CHECK(privileges_drop(&none, NULL, false, NULL) == 0);
	CHECK(privileges_drop(NULL, NULL, false, NULL) == 0);
	CHECK(getcwd(after, sizeof after) && strcmp(before, after) == 0);
	CHECK(os_uid_is(uid) == 1);
	return 0;
}

static void who_asks_for_nothing_gets_nothing(void **state)
{
	(void)state;
	assert_int_equal(nothing_changes(), 0);
}

/* ---------------------------------------------------------------------------- what means nothing
 */

static void rule02_an_identity_that_means_nothing_is_refused(void **state)
{
	struct identity identity = nobody;
	uid_t uid = geteuid();
	struct err err;

	(void)state;
	identity.set_gid = false;
	assert_int_equal(privileges_drop(&identity, NULL, false, &err), -EINVAL);
	assert_string_equal(err.text, "no group is known for user nobody");
	/* To the system calls -1 means: leave it as it is. */
	identity = nobody;
	identity.uid = (uid_t)-1;
	assert_int_equal(privileges_drop(&identity, NULL, false, &err), -EINVAL);
	assert_string_equal(err.text, "-1 is neither a user nor a group");
	identity = nobody;
	identity.gid = (gid_t)-1;
	assert_int_equal(privileges_drop(&identity, NULL, false, &err), -EINVAL);
	identity.set_uid = false;
	assert_int_equal(privileges_drop(&identity, NULL, false, &err), -EINVAL);
	assert_int_equal(os_uid_is(uid), 1);
}

/* ------------------------------------------------------------------------------------ the chroot
 */

static char jail[64];

static int make_jail(void **state)
{
	(void)state;
	strcpy(jail, "/tmp/test_privileges.XXXXXX");
	return mkdtemp(jail) && chmod(jail, 0755) == 0 ? 0 : -1;
}

static int remove_jail(void **state)
{
	char command[80];

	(void)state;
	/* Not rmdir: a build that counts coverage writes its counts wherever "/" is. */
	snprintf(command, sizeof command, "rm -rf %s", jail);
	return system(command) == 0 ? 0 : -1;
}

static int inside(void)
{
	struct stat root, here;
	struct err err = {0};

	CHECK(privileges_drop(&nobody, jail, false, &err) == 0);
	CHECK(stat("/", &root) == 0 && stat(".", &here) == 0);
	CHECK(root.st_ino == here.st_ino && root.st_dev == here.st_dev);
	CHECK(access("/etc", F_OK) < 0 && access("../../../etc", F_OK) < 0);
	return 0;
}

static int inside_from_a_relative_path(void)
{
	CHECK(chdir("/tmp") == 0);
	CHECK(privileges_drop(NULL, jail + strlen("/tmp/"), false, NULL) == 0);
	CHECK(access("/etc", F_OK) < 0 && access("../etc", F_OK) < 0);
	return 0;
}

/* No /proc in there: every number is tried. */
static int inside_once_more(void)
{
	struct err err;
	int fd;

	CHECK(privileges_drop(NULL, jail, false, NULL) == 0);
	CHECK(privileges_drop(NULL, "/", false, NULL) == 0);
	fd = open("/", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && dup2(fd, 300) == 300 && close(fd) == 0);
	CHECK(privileges_drop(NULL, "/", false, &err) == -EBUSY);
	CHECK(strstr(err.text, "descriptor 300 is an open directory"));
	return 0;
}

static void rule04_chroot_is_followed_by_chdir(void **state)
{
	(void)state;
	if (!is_root())
		return;
	assert_int_equal(in_child(inside), 0);
	assert_int_equal(in_child(inside_from_a_relative_path), 0);
	assert_int_equal(in_child(inside_once_more), 0);
}

static int with_a_directory(int flags)
{
	struct err err;
	char words[64];
	int fd = open("/tmp", O_RDONLY | flags);

	CHECK(fd >= 0);
	snprintf(words, sizeof words, "descriptor %d is an open directory", fd);
	CHECK(privileges_drop(&nobody, jail, false, &err) == -EBUSY);
	CHECK(strstr(err.text, words));
	CHECK(os_uid_is(NOBODY) == 0); /* it ended there */
	CHECK(access("/etc", F_OK) == 0);
	return 0;
}

static int open_directory(void)
{
	return with_a_directory(0);
}

static int directory_that_closes_on_exec(void)
{
	return with_a_directory(O_CLOEXEC);
}

static int directory_by_path_only(void)
{
	return with_a_directory(O_PATH);
}

static void rule04_no_directory_descriptor_survives(void **state)
{
	(void)state;
	if (!is_root())
		return;
	assert_int_equal(in_child(open_directory), 0);
	assert_int_equal(in_child(directory_that_closes_on_exec), 0);
	assert_int_equal(in_child(directory_by_path_only), 0);
}

static int not_root_in_chroot(void)
{
	struct err err;
	char words[160];

	CHECK(geteuid() != 0 || (os_set_gid(NOBODY) == 0 && os_set_uid(NOBODY) == 0));
	CHECK(privileges_drop(NULL, jail, false, &err) == -EPERM);
	snprintf(words, sizeof words,
		 "chroot to '%s': Operation not permitted: it takes root, or CAP_SYS_CHROOT", jail);
	CHECK(strcmp(err.text, words) == 0);
	return 0;
}

static int missing_chroot(void)
{
	struct err err;

	CHECK(privileges_drop(NULL, "/nowhere/at/all", false, &err) == -ENOENT);
	CHECK(strcmp(err.text, "chroot to '/nowhere/at/all': No such file or directory") == 0);
	return 0;
}

static void a_chroot_that_fails_says_so(void **state)
{
	(void)state;
	assert_int_equal(in_child(not_root_in_chroot), 0);
	assert_int_equal(in_child(missing_chroot), 0);
}

/* ------------------------------------------------------------------------ descriptors 0, 1 and 2
 */

static int stdio_is_filled(void)
{
	for (int set = 0; set < 8; set++) {
		int next = fcntl(0, F_DUPFD, 0); /* the lowest number that is free */

		close(next);
		for (int fd = 0; fd < 3; fd++)
			if (set & 1 << fd)
				close(fd);
		if (proc_secure_stdio() != 0)
			return 1;
		for (int fd = 0; fd < 3; fd++)
			if (fcntl(fd, F_GETFD) != 0)
				return 2; /* closed, or lost at exec */
		if (fcntl(next, F_GETFD) >= 0)
			return 3; /* one too many */
	}
	return 0;
}

static int stdio_cannot_be_filled(void)
{
	close(0);
	CHECK(privileges_drop(NULL, jail, false, NULL) == 0);
	CHECK(proc_secure_stdio() == -ENOENT);
	CHECK(fcntl(0, F_GETFD) < 0);
	return 0;
}

static void rule21_no_socket_becomes_standard_error(void **state)
{
	(void)state;
	assert_int_equal(in_child(stdio_is_filled), 0);
	if (!is_root())
		return;
	assert_int_equal(in_child(stdio_cannot_be_filled), 0);
}

#define IN_JAIL(name) cmocka_unit_test_setup_teardown(name, make_jail, remove_jail)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rule02_nothing_of_root_is_left),
	    cmocka_unit_test(who_is_it_already_may_stay_so),
	    cmocka_unit_test(rule02_ids_that_differ_are_not_trusted),
	    cmocka_unit_test(who_asks_for_nothing_gets_nothing),
	    cmocka_unit_test(rule02_an_identity_that_means_nothing_is_refused),
	    IN_JAIL(rule04_chroot_is_followed_by_chdir),
	    IN_JAIL(rule04_no_directory_descriptor_survives),
	    IN_JAIL(a_chroot_that_fails_says_so),
	    IN_JAIL(rule21_no_socket_becomes_standard_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
