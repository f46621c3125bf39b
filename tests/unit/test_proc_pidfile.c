/*
 * test_proc_pidfile.c - the pid file against symlinks, FIFOs, hard links, forged numbers and second
 * starts, and how it is let go of (security rule 20). test_proc_pidfile_faults.c has what fails,
 * and what happens in between.
 */
#include "pidfile_ground.h"

#include <sys/socket.h>
#include <sys/un.h>

/* ------------------------------------------------------------------------------------- taking it
 */

static void our_number_is_in_it_as_long_as_we_live(void **state)
{
	struct pidfile pidfile;
	char path[128];
	struct stat st;

	(void)state;
	assert_int_equal(pidfile_take(&pidfile, "pid", NULL), 0);
	snprintf(path, sizeof path, "%s/pid", directory);
	assert_string_equal(pidfile.path, path);
	assert_int_equal(pidfile.owner, getpid());
	assert_true(fcntl(pidfile.fd, F_GETFD) & FD_CLOEXEC);
	assert_string_equal(content("pid"), our_number());
	assert_int_equal(stat("pid", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(chdir("/"), 0); /* a relative path has become an absolute one */
	pidfile_release(&pidfile);
	assert_int_equal(pidfile.fd, -1);
	assert_null(pidfile.path);
	assert_null(content(path));
}

static void paths_of_all_kinds_are_taken(void **state)
{
	struct pidfile pidfile;
	char path[128];

	(void)state;
	assert_int_equal(mkdir("real", 0755), 0);
	assert_int_equal(symlink("real", "link"), 0);
	expect_taken("link/pid"); /* the last component must not be a link, others may */
	snprintf(path, sizeof path, "%s/pid", directory);
	expect_taken(path);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(pidfile_take(&pidfile, path + 1, NULL), 0);
	assert_string_equal(pidfile.path, path);
	pidfile_release(&pidfile);
}

static void what_a_crash_left_is_taken_over(void **state)
{
	static const char *const left[] = {"", "1\n", "4711\n", "no number at all, and longer\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(left); i++) {
		put("pid", left[i]);
		expect_taken("pid");
	}
}

static bool take(struct pidfile *pidfile)
{
	return pidfile_take(pidfile, "pid", NULL) == 0;
}

static void rule20_a_second_start_says_who_holds_it(void **state)
{
	struct other other = start_other(take);
	char words[64];

	(void)state;
	snprintf(words, sizeof words, "in use by process %d", (int)other.pid);
	expect_refusal("pid", -EEXIST, words);
	assert_int_equal(atoi(content("pid")), other.pid); /* and is left as it was */
	end_other(&other);
	expect_taken("pid");
}

static void rule20_forged_numbers_are_not_repeated(void **state)
{
	static const char *const forged[] = {
	    "",
	    "\n",
	    "1",
	    "0\n",
	    "-1\n",
	    "01\n",
	    "1 \n",
	    " 1\n",
	    "1\n2\n",
	    "2147483648\n",
	    "x\n",
	    "99999999999999999999\n",
	    "\x1b[2J\n",
	    "1\r\n",
	    "2147483647\n" /* not running */,
	};
	struct other other;

	(void)state;
	put("pid", "");
	other = start_other(lock_only);
	for (size_t i = 0; i < ARRAY_LEN(forged); i++) {
		put("pid", forged[i]);
		expect_refusal("pid", -EEXIST, "in use by another process");
		assert_string_equal(content("pid"), forged[i]);
	}
	put("pid", "1\n"); /* runs, whether we may signal it or not */
	expect_refusal("pid", -EEXIST, "in use by process 1");
	end_other(&other);
}

static void a_holder_that_we_may_not_signal_is_named(void **state)
{
	struct other other;

	(void)state;
	if (!is_root())
		return;
	put("pid", "1\n");
	assert_int_equal(chmod("pid", 0666), 0);
	other = start_other(lock_only);
	become_nobody();
	expect_refusal("pid", -EEXIST, "in use by process 1");
	become_root_again();
	end_other(&other);
}

/* --------------------------------------------------------------------------- what is no pid file
 */

static void rule20_symlinks_are_refused(void **state)
{
	(void)state;
	put("victim", "precious");
	assert_int_equal(symlink("victim", "pid"), 0);
	assert_int_equal(symlink("nothing", "dangling"), 0);
	expect_refusal("pid", -ELOOP, "is a symbolic link");
	expect_refusal("dangling", -ELOOP, "is a symbolic link");
	assert_string_equal(content("victim"), "precious");
	assert_null(content("nothing"));
}

static void rule20_only_regular_files_are_taken(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	assert_int_equal(mkfifo("fifo", 0644), 0);
	expect_refusal("fifo", -EINVAL, "is not a regular file"); /* and does not wait */
	assert_int_equal(mkdir("dir", 0755), 0);
	expect_refusal("dir", -EISDIR, "Is a directory");
	expect_refusal("", -EISDIR, "Is a directory");
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	expect_refusal("socket", -ENXIO, "No such device or address");
	close(fd);
	expect_refusal("missing/pid", -ENOENT, "No such file or directory");
}

static void rule20_devices_are_refused(void **state)
{
	struct pidfile pidfile;
	struct err err;

	(void)state;
	assert_int_equal(pidfile_take(&pidfile, "/dev/null", &err), -EINVAL);
	assert_string_equal(err.text, "/dev/null: is not a regular file");
}

static void rule20_hard_links_are_refused(void **state)
{
	(void)state;
	put("victim", "precious");
	assert_int_equal(link("victim", "pid"), 0);
	expect_refusal("pid", -EMLINK, "has 2 links, must have one");
	assert_string_equal(content("victim"), "precious");
}

static void rule20_files_of_others_are_refused(void **state)
{
	(void)state;
	if (!is_root())
		return;
	put("pid", "");
	assert_int_equal(chown("pid", NOBODY, NOBODY), 0);
	expect_refusal("pid", -EPERM, "belongs to user 65534, not to us or root");
}

/* May neither make nor remove a file in this directory, but may write to that of root. */
static void a_file_of_roots_serves_too(void **state)
{
	struct pidfile pidfile;

	(void)state;
	if (!is_root())
		return;
	put("pid", "");
	assert_int_equal(chmod("pid", 0666), 0);
	become_nobody();
	assert_int_equal(pidfile_take(&pidfile, "pid", NULL), 0);
	assert_string_equal(content("pid"), our_number());
	pidfile_release(&pidfile);
	assert_string_equal(content("pid"), ""); /* not removed: emptied */
}

static void without_root_a_file_of_ones_own_serves(void **state)
{
	(void)state;
	if (!is_root())
		return;
	assert_int_equal(chown(directory, NOBODY, NOBODY), 0);
	become_nobody();
	put("pid", "4711\n"); /* left by the last run */
	expect_taken("pid");
	expect_taken("new");
}

/* ------------------------------------------------------------------------------ letting go of it
 */

static void rule20_the_lock_ends_with_the_server(void **state)
{
	struct other other = start_other(take);

	(void)state;
	assert_int_equal(kill(other.pid, SIGKILL), 0);
	assert_int_equal(waitpid(other.pid, NULL, 0), other.pid);
	close(other.hold);
	assert_int_equal(atoi(content("pid")), other.pid);
	expect_taken("pid");
}

static bool forget(struct pidfile *pidfile)
{
	(void)pidfile;
	return true;
}

static struct pidfile inherited;

static bool forget_inherited(struct pidfile *pidfile)
{
	(void)pidfile;
	pidfile_forget(&inherited);
	return inherited.fd == -1 && !inherited.path;
}

static bool release_inherited(struct pidfile *pidfile)
{
	(void)pidfile;
	pidfile_release(&inherited);
	return inherited.fd == -1 && !inherited.path;
}

/* The master is gone (here: has closed its descriptor), a worker lives on. */
static void rule20_workers_do_not_hold_the_lock(void **state)
{
	static bool (*const acts[])(struct pidfile *) = {forget_inherited, release_inherited};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
		struct other worker;

		assert_int_equal(pidfile_take(&inherited, "pid", NULL), 0);
		worker = start_other(acts[i]);
		assert_string_equal(content("pid"), our_number()); /* the worker removed nothing */
		pidfile_forget(&inherited);
		expect_taken("pid");
		end_other(&worker);
	}
	/* The counter-check: one that keeps the descriptor keeps the lock. */
	assert_int_equal(pidfile_take(&inherited, "pid", NULL), 0);
	{
		struct other worker = start_other(forget);
		char words[64];

		pidfile_forget(&inherited);
		snprintf(words, sizeof words, "in use by process %d", (int)getpid());
		expect_refusal("pid", -EEXIST, words);
		end_other(&worker);
	}
}

static void rule20_only_our_own_file_is_removed(void **state)
{
	struct pidfile pidfile;

	(void)state;
	assert_int_equal(pidfile_take(&pidfile, "pid", NULL), 0);
	assert_int_equal(rename("pid", "old"), 0);
	put("pid", "4711\n");
	pidfile_release(&pidfile);
	assert_string_equal(content("pid"), "4711\n");
	assert_string_equal(content("old"), "");

	assert_int_equal(pidfile_take(&pidfile, "pid", NULL), 0);
	assert_int_equal(unlink("pid"), 0);
	pidfile_release(&pidfile);
	assert_null(content("pid"));
}

static int release_after_chroot(void)
{
	struct pidfile pidfile;

	if (pidfile_take(&pidfile, "pid", NULL) < 0 || chroot("jail") < 0 || chdir("/") < 0)
		return 1;
	pidfile_release(&pidfile);
	return 0;
}

static int release_after_drop(void)
{
	struct pidfile pidfile;

	if (pidfile_take(&pidfile, "pid", NULL) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return 1;
	pidfile_release(&pidfile);
	return 0;
}

static void where_it_cannot_be_removed_it_is_emptied(void **state)
{
	(void)state;
	if (!is_root())
		return;
	assert_int_equal(mkdir("jail", 0755), 0);
	assert_int_equal(in_child(release_after_chroot), 0);
	assert_string_equal(content("pid"), "");
	assert_int_equal(in_child(release_after_drop), 0);
	assert_string_equal(content("pid"), "");
	expect_taken("pid");
}

static void an_unset_one_is_let_go_of(void **state)
{
	struct pidfile pidfile = {.fd = -1};

	(void)state;
	pidfile_release(&pidfile);
	pidfile_forget(&pidfile);
	pidfile_release(&pidfile);
	assert_int_equal(pidfile.fd, -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ground_set_up, ground_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(our_number_is_in_it_as_long_as_we_live),
	    TEST(paths_of_all_kinds_are_taken),
	    TEST(what_a_crash_left_is_taken_over),
	    TEST(rule20_a_second_start_says_who_holds_it),
	    TEST(rule20_forged_numbers_are_not_repeated),
	    TEST(a_holder_that_we_may_not_signal_is_named),
	    TEST(rule20_symlinks_are_refused),
	    TEST(rule20_only_regular_files_are_taken),
	    TEST(rule20_devices_are_refused),
	    TEST(rule20_hard_links_are_refused),
	    TEST(rule20_files_of_others_are_refused),
	    TEST(a_file_of_roots_serves_too),
	    TEST(without_root_a_file_of_ones_own_serves),
	    TEST(rule20_the_lock_ends_with_the_server),
	    TEST(rule20_workers_do_not_hold_the_lock),
	    TEST(rule20_only_our_own_file_is_removed),
	    TEST(where_it_cannot_be_removed_it_is_emptied),
	    TEST(an_unset_one_is_let_go_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
