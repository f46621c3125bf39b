/*
 * test_proc_pidfile.c - the pid file against symlinks, FIFOs, hard links, forged numbers, full
 * disks and servers that come and go at the same time (security rule 20).
 *
 * Each test runs in a fresh directory. open, flock, fstat and ftruncate are replaced by ones that
 * do the real thing, but can let something happen just before, or fail: races become certain.
 */
#include "proc/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#define NOBODY 65534

/* --------------------------------------------------------------------- what happens in between */

static struct {
	void (*before_open)(void);
	void (*before_fstat)(void);
	void (*before_flock)(void);
	int flock_error, fstat_error, ftruncate_error;
	int opens; /* calls of open so far */
} fault;

int open(const char *path, int flags, ...)
{
	va_list args;
	unsigned mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, unsigned) : 0;
	va_end(args);
	fault.opens++;
	if (fault.before_open)
		fault.before_open();
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int flock(int fd, int operation)
{
	if (fault.before_flock)
		fault.before_flock();
	if (fault.flock_error) {
		errno = fault.flock_error;
		return -1;
	}
	return (int)syscall(SYS_flock, fd, operation);
}

int fstat(int fd, struct stat *st)
{
	if (fault.before_fstat)
		fault.before_fstat();
	if (fault.fstat_error) {
		errno = fault.fstat_error;
		return -1;
	}
	return fstatat(fd, "", st, AT_EMPTY_PATH);
}

int ftruncate(int fd, off_t size)
{
	if (fault.ftruncate_error) {
		errno = fault.ftruncate_error;
		return -1;
	}
	return (int)syscall(SYS_ftruncate, fd, size);
}

/* ------------------------------------------------------------------------------------ the ground
 */

static char directory[64];

static int set_up(void **state)
{
	(void)state;
	memset(&fault, 0, sizeof fault);
	strcpy(directory, "/tmp/test_pidfile.XXXXXX");
	umask(022);
	return mkdtemp(directory) && chmod(directory, 0755) == 0 && chdir(directory) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[96];

	(void)state;
	memset(&fault, 0, sizeof fault);
	snprintf(command, sizeof command, "rm -rf %s", directory);
	return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void need_root(void)
{
	if (geteuid() != 0) {
		print_message("# skipped: needs root\n");
		skip();
	}
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* What is in the file; NULL when there is none. Valid until the next call. */
static const char *content(const char *path)
{
	static char text[256];
	FILE *file = fopen(path, "r");
	size_t n;

	if (!file)
		return NULL;
	n = fread(text, 1, sizeof text - 1, file);
	fclose(file);
	text[n] = '\0';
	return text;
}

static const char *our_number(void)
{
	static char text[32];

	snprintf(text, sizeof text, "%d\n", (int)getpid());
	return text;
}

/* pidfile_take() fails so, with these words after the path; *pidfile is left alone. */
static void expect_refusal(const char *path, int code, const char *words)
{
	struct pidfile pidfile = {.fd = -7};
	struct err err;
	char text[512];

	assert_int_equal(pidfile_take(&pidfile, path, &err), code);
	assert_int_equal(pidfile.fd, -7);
	snprintf(text, sizeof text, "%s/%s: %s", directory, path, words);
	assert_string_equal(err.text, text);
	assert_int_equal(err.code, code);
}

static void expect_taken(const char *path)
{
	struct pidfile pidfile = {.fd = -1};
	struct err err = {0};

	if (pidfile_take(&pidfile, path, &err) != 0)
		fail_msg("%s", err.text);
	assert_string_equal(content(path), our_number());
	pidfile_release(&pidfile);
	assert_null(content(path));
}

/* Another process that does something with the file, says so, and stays until it is told to go. */
struct other {
	pid_t pid;
	int hold; /* closing it lets the other go */
};

static struct other start_other(bool (*act)(struct pidfile *pidfile))
{
	struct other other;
	int ready[2], hold[2];
	char c;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(hold), 0);
	other.pid = fork();
	if (other.pid == 0) {
		struct pidfile pidfile = {.fd = -1};

		close(hold[1]);
		if (act(&pidfile) && write(ready[1], "", 1) == 1)
			_exit(read(hold[0], &c, 1) == 0 ? 0 : 1);
		_exit(1);
	}
	assert_true(other.pid > 0);
	close(hold[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	other.hold = hold[1];
	return other;
}

static void end_other(const struct other *other)
{
	int status;

	close(other->hold);
	assert_int_equal(waitpid(other->pid, &status, 0), other->pid);
	assert_int_equal(status, 0);
}

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

/* --------------------------------------------------------------------------------- taking it */

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

static bool lock_only(struct pidfile *pidfile)
{
	pidfile->fd = open("pid", O_RDONLY);
	return flock(pidfile->fd, LOCK_EX) == 0;
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

static int others_processes_are_named_too(void)
{
	struct pidfile pidfile;
	struct err err;

	if (seteuid(NOBODY) < 0 || setresuid(NOBODY, NOBODY, 0) < 0)
		return 1;
	return pidfile_take(&pidfile, "pid", &err) == -EEXIST &&
		       strstr(err.text, "in use by process 1")
		   ? 0
		   : 1;
}

static void a_holder_that_we_may_not_signal_is_named(void **state)
{
	struct other other;

	(void)state;
	need_root();
	put("pid", "1\n");
	assert_int_equal(chmod("pid", 0666), 0);
	other = start_other(lock_only);
	assert_int_equal(in_child(others_processes_are_named_too), 0);
	end_other(&other);
}

/* ---------------------------------------------------------------------------- what is no pid file
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
	need_root();
	put("pid", "");
	assert_int_equal(chown("pid", NOBODY, NOBODY), 0);
	expect_refusal("pid", -EPERM, "belongs to user 65534, not to us or root");
}

static int take_roots_file(void)
{
	struct pidfile pidfile;
	bool taken;

	if (seteuid(NOBODY) < 0)
		return 1;
	taken = pidfile_take(&pidfile, "pid", NULL) == 0;
	pidfile_release(&pidfile);
	return taken ? 0 : 1;
}

/* May neither make nor remove a file in this directory, but may write to that of root. */
static void a_file_of_roots_serves_too(void **state)
{
	(void)state;
	need_root();
	put("pid", "");
	assert_int_equal(chmod("pid", 0666), 0);
	assert_int_equal(in_child(take_roots_file), 0);
	assert_string_equal(content("pid"), ""); /* not removed: emptied */
}

/* ------------------------------------------------------------------------------------- full disks
 */

/* With a limit on the size of files, writes end as on a full disk. */
static void expect_refusal_when_full(rlim_t bytes, int code, const char *words)
{
	struct rlimit old, small;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){bytes, old.rlim_max};
	/* The test's own report must not be cut. */
	fflush(NULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	expect_refusal("pid", code, words);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
}

static void a_full_disk_leaves_nothing_behind(void **state)
{
	(void)state;
	expect_refusal_when_full(0, -EFBIG, "write: File too large");
	assert_null(content("pid"));
	expect_refusal_when_full(1, -ENOSPC, "write: No space left on device");
	assert_null(content("pid"));
	put("pid", "12345678\n");
	expect_refusal_when_full(1, -ENOSPC, "write: No space left on device");
	assert_string_equal(content("pid"), ""); /* was there before: stays, without a number */
	fault.ftruncate_error = EIO;
	expect_refusal("pid", -EIO, "write: Input/output error");
	expect_refusal("new", -EIO, "write: Input/output error");
	assert_null(content("new"));
}

static void a_failing_system_is_reported(void **state)
{
	(void)state;
	fault.flock_error = ENOLCK;
	expect_refusal("pid", -ENOLCK, "lock: No locks available");
	fault.flock_error = 0;
	fault.fstat_error = EIO;
	expect_refusal("pid", -EIO, "Input/output error");
}

static void a_directory_that_is_gone_is_reported(void **state)
{
	struct pidfile pidfile;
	struct err err;

	(void)state;
	assert_int_equal(mkdir("gone", 0755), 0);
	assert_int_equal(chdir("gone"), 0);
	assert_int_equal(rmdir("../gone"), 0);
	assert_int_equal(pidfile_take(&pidfile, "pid", &err), -ENOENT);
	assert_string_equal(err.text, "pid: No such file or directory");
}

static void limit_memory(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
}

static void no_memory_is_an_error_too(void **state)
{
	static char path[1000000];
	struct pidfile pidfile;
	int relative, full;

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	print_message("# skipped: the sanitizer's allocator ends the process instead\n");
	skip();
#endif
	memset(path, 'x', sizeof path - 1);
	limit_memory(1);
	relative = pidfile_take(&pidfile, path, NULL);
	path[0] = '/';
	full = pidfile_take(&pidfile, path, NULL);
	limit_memory(RLIM_INFINITY);
	assert_int_equal(relative, -ENOMEM);
	assert_int_equal(full, -ENOMEM);
	assert_int_equal(pidfile_take(&pidfile, path, NULL), -ENAMETOOLONG);
}

/* ------------------------------------------------------------------------- servers come and go */

static void remove_it_once(void)
{
	fault.before_flock = fault.before_fstat = NULL;
	unlink("pid");
}

static void replace_it_once(void)
{
	remove_it_once();
	put("pid", "1\n");
}

static void replace_it(void)
{
	unlink("pid");
	put("pid", "1\n");
}

static void link_it(void)
{
	if (link("pid", "other") < 0)
		return; /* is there already */
}

static void rule20_a_file_that_goes_meanwhile_is_made_anew(void **state)
{
	(void)state;
	fault.before_flock = remove_it_once;
	expect_taken("pid");
	put("pid", "1\n");
	fault.before_flock = remove_it_once;
	expect_taken("pid");
	fault.before_flock = replace_it_once;
	expect_taken("pid");
}

static void rule20_a_link_made_meanwhile_is_refused(void **state)
{
	(void)state;
	put("pid", "1\n");
	fault.before_flock = link_it;
	expect_refusal("pid", -EMLINK, "has 2 links, must have one");
	assert_string_equal(content("pid"), "1\n");
}

static void no_one_tries_for_ever(void **state)
{
	(void)state;
	fault.before_flock = replace_it;
	expect_refusal("pid", -EAGAIN, "others keep making and removing it");
	assert_int_equal(content("pid")[0], '1'); /* what is not ours is not removed */
}

/* The file is there for the first open of an attempt, and gone for the second. */
static void gone_at_second_open(void)
{
	if (fault.opens == 1)
		put("pid", "1\n");
	if (fault.opens == 2)
		unlink("pid");
}

static void a_file_that_is_just_being_removed_is_no_error(void **state)
{
	(void)state;
	fault.before_open = gone_at_second_open;
	expect_taken("pid");
	assert_true(fault.opens > 2);
}

/* Removed after it was opened, before it is looked at. */
static void rule20_a_file_without_a_name_is_not_ours(void **state)
{
	(void)state;
	put("pid", "1\n");
	fault.before_fstat = remove_it_once;
	expect_taken("pid");
	assert_int_equal(fault.opens, 3);
}

static struct other winner;

static void another_locks_it(void)
{
	fault.before_flock = NULL;
	winner = start_other(lock_only);
}

/* The file is new, and ours to remove, until another one has locked it. */
static void rule20_another_start_between_making_and_locking_wins(void **state)
{
	(void)state;
	fault.before_flock = another_locks_it;
	expect_refusal("pid", -EEXIST, "in use by another process");
	assert_string_equal(content("pid"), "");
	end_other(&winner);
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
	fault.ftruncate_error = EIO; /* cannot be helped, and does no harm */
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
	need_root();
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
	    TEST(a_full_disk_leaves_nothing_behind),
	    TEST(a_failing_system_is_reported),
	    TEST(a_directory_that_is_gone_is_reported),
	    TEST(no_memory_is_an_error_too),
	    TEST(rule20_a_file_that_goes_meanwhile_is_made_anew),
	    TEST(rule20_a_link_made_meanwhile_is_refused),
	    TEST(no_one_tries_for_ever),
	    TEST(a_file_that_is_just_being_removed_is_no_error),
	    TEST(rule20_a_file_without_a_name_is_not_ours),
	    TEST(rule20_another_start_between_making_and_locking_wins),
	    TEST(rule20_the_lock_ends_with_the_server),
	    TEST(rule20_workers_do_not_hold_the_lock),
	    TEST(rule20_only_our_own_file_is_removed),
	    TEST(where_it_cannot_be_removed_it_is_emptied),
	    TEST(an_unset_one_is_let_go_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
