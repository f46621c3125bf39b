/*
 * test_proc_pidfile_faults.c - the pid file on full disks and failing systems, and while servers
 * come and go at the same time (security rule 20).
 *
 * open, flock, fstat and ftruncate are replaced by ones that do the real thing, but can let
 * something happen just before, or fail: races become certain.
 */
#include "pidfile_ground.h"

#include <sys/resource.h>
#include <sys/syscall.h>

/* ----------------------------------------------------------------------- what happens in between
 */

static struct {
	void (*before_open)(void);
	void (*before_fstat)(void);
	void (*before_flock)(void);
	int flock_error, fstat_error, ftruncate_error;
	bool no_memory;
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

static int set_up(void **state)
{
	memset(&fault, 0, sizeof fault);
	return ground_set_up(state);
}

static int tear_down(void **state)
{
	memset(&fault, 0, sizeof fault);
	return ground_tear_down(state);
}

/* ------------------------------------------------------------------------------------ full disks
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

/* Wrapped by the linker: the one that is up next finds no memory. */
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
int __wrap_asprintf(char **out, const char *format, ...) PRINTF_LIKE(2, 3);

char *__wrap_strdup(const char *text)
{
	return fault.no_memory ? NULL : __real_strdup(text);
}

int __wrap_asprintf(char **out, const char *format, ...)
{
	va_list args;
	int n;

	if (fault.no_memory)
		return -1;
	va_start(args, format);
	n = vasprintf(out, format, args);
	va_end(args);
	return n;
}

static void no_memory_is_an_error_too(void **state)
{
	struct pidfile pidfile = {.fd = -7};
	struct err err;

	(void)state;
	fault.no_memory = true;
	errno = ENOMEM;
	assert_int_equal(pidfile_take(&pidfile, "pid", &err), -ENOMEM);
	assert_int_equal(pidfile_take(&pidfile, "/tmp/pid", &err), -ENOMEM);
	assert_string_equal(err.text, "/tmp/pid: Cannot allocate memory");
	assert_int_equal(pidfile.fd, -7);
}

/* --------------------------------------------------------------------------- servers come and go
 */

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

static void rule20_in_doubt_nothing_is_removed(void **state)
{
	struct pidfile pidfile;

	(void)state;
	assert_int_equal(pidfile_take(&pidfile, "gone", NULL), 0);
	assert_int_equal(unlink("gone"), 0);
	fault.ftruncate_error = EIO; /* cannot be helped, and does no harm */
	pidfile_release(&pidfile);
	assert_null(content("gone"));
	fault.ftruncate_error = 0;

	assert_int_equal(pidfile_take(&pidfile, "pid", NULL), 0);
	fault.fstat_error = EIO;
	pidfile_release(&pidfile);
	fault.fstat_error = 0;
	assert_string_equal(content("pid"), "");

	/* Not the process that took it. */
	assert_int_equal(pidfile_take(&pidfile, "pid", NULL), 0);
	pidfile.owner = getppid();
	pidfile_release(&pidfile);
	assert_string_equal(content("pid"), our_number());

	/* The path leads to another file system by now. */
	assert_int_equal(pidfile_take(&pidfile, "pid", NULL), 0);
	free(pidfile.path);
	pidfile.path = strdup("/proc/version");
	pidfile_release(&pidfile);
	assert_string_equal(content("pid"), "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	    TEST(rule20_in_doubt_nothing_is_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
