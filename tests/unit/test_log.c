/* test_log.c - the form of a line, levels, caps, literal formats, and files that move. */
#include "log_bench.h"

#include <pthread.h>
#include <regex.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static void line_has_the_exact_form(void **state)
{
	struct bench *b = *state;
	char pattern[256], *text;
	regex_t regex;

	snprintf(pattern, sizeof pattern,
		 "^(Sun|Mon|Tue|Wed|Thu|Fri|Sat) "
		 "(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 123][0-9] "
		 "[0-2][0-9]:[0-5][0-9]:[0-6][0-9] [0-9]{4} notice, %ld, hello 42\n$",
		 (long)getpid());
	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	log_write(bench_open(b, "log"), NETD_NOTICE, NULL, "hello %d", 42);
	text = bench_read(b, "log");
	assert_int_equal(regexec(&regex, text, 0, NULL, 0), 0);
	free(text);
	regfree(&regex);
}

static void stamp_is_perls_in_any_order_of_times(void **state)
{
	static const struct {
		time_t time;
		const char *text;
	} table[] = {
	    {0, "Thu Jan  1 00:00:00 1970"},
	    {1795336505, "Sun Nov 22 08:35:05 2026"},
	    {1795336506, "Sun Nov 22 08:35:06 2026"},
	    {1795336505, "Sun Nov 22 08:35:05 2026"}, /* the clock was put back */
	    {1793491200, "Sun Nov  1 00:00:00 2026"},
	    {-1, "Wed Dec 31 23:59:59 1969"},
	    {253402300800, "Sat Jan  1 00:00:00 10000"},
	    {INT64_MAX, "Mon Jan  1 00:00:00 1900"}, /* no calendar has it */
	    {1709164800, "Thu Feb 29 00:00:00 2024"},
	};
	char out[LOG_STAMP_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		assert_int_equal(log_stamp(table[i].time, out), strlen(table[i].text));
		assert_string_equal(out, table[i].text);
	}
}

static void *log_from_thread_7(void *log)
{
	log_set_thread(7);
	log_write(log, NETD_ERR, NULL, "x");
	return NULL;
}

static void threads_are_numbered_each_for_itself(void **state)
{
	struct bench *b = *state;
	char wanted[64], *text;
	pthread_t thread;

	bench_open(b, "log");
	assert_int_equal(pthread_create(&thread, NULL, log_from_thread_7, b->log), 0);
	pthread_join(thread, NULL);
	log_write(b->log, NETD_ERR, NULL, "y");
	text = bench_read(b, "log");
	snprintf(wanted, sizeof wanted, " err, %ld.7, x\n", (long)getpid());
	assert_non_null(strstr(text, wanted));
	snprintf(wanted, sizeof wanted, " err, %ld, y\n", (long)getpid());
	assert_non_null(strstr(text, wanted));
	free(text);
}

static void connection_and_peer_stand_in_front(void **state)
{
	static const struct {
		struct log_context context;
		const char *wanted;
	} table[] = {
	    {{17, "192.0.2.7:4711"}, "conn 17 (192.0.2.7:4711): hi"},
	    {{UINT64_MAX, "unix:uid=0,pid=1"}, "conn 18446744073709551615 (unix:uid=0,pid=1): hi"},
	    {{17, NULL}, "hi"},
	    {{0, "192.0.2.7:4711"}, "hi"},
	    {{0, NULL}, "hi"},
	};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		log_write(bench_open(b, "log"), NETD_INFO, &table[i].context, "hi");
		bench_expect(b, "log", table[i].wanted);
		b->log = log_close(b->log);
		unlink(bench_path(b, "log"));
	}
}

static void levels_have_syslogs_names(void **state)
{
	static const char *const names[] = {"emerg",   "alert",  "crit", "err",
					    "warning", "notice", "info", "debug"};

	(void)state;
	for (int i = NETD_EMERG; i <= NETD_DEBUG; i++)
		assert_string_equal(log_level_name((enum netd_level)i), names[i]);
	assert_string_equal(log_level_name((enum netd_level)99), "err");
	assert_string_equal(log_level_name((enum netd_level) - 1), "err");
}

static void debug_is_written_only_when_configured(void **state)
{
	struct bench *b = *state;
	struct log_config config = {.logfile = bench_path(b, "log"), .debug = true};

	bench_open(b, "log");
	assert_false(log_wants(b->log, NETD_DEBUG));
	assert_true(log_wants(b->log, NETD_INFO));
	assert_true(log_wants(b->log, (enum netd_level)99));
	log_write(b->log, NETD_DEBUG, NULL, "no");
	b->log = log_close(b->log);
	assert_int_equal(log_open(&b->log, &config, NULL), 0);
	assert_true(log_wants(b->log, NETD_DEBUG));
	log_write(b->log, NETD_DEBUG, NULL, "yes");
	bench_expect(b, "log", "yes");
}

/* Log text with this context and return the message as it stands in the line. */
static char *logged(struct bench *b, const struct log_context *context, const char *text)
{
	char *line, *message;

	unlink(bench_path(b, "log"));
	b->log = log_close(b->log);
	log_write(bench_open(b, "log"), NETD_INFO, context, "%s", text);
	line = bench_read(b, "log");
	assert_int_equal(count(line, "\n"), 1);
	message = strdup(line_message(line));
	message[strcspn(message, "\n")] = '\0';
	free(line);
	return message;
}

static void expect_cut(struct bench *b, const char *unit, size_t times, size_t length, bool cut)
{
	char *text = calloc(times, strlen(unit) + 1), *message;

	for (size_t i = 0; i < times; i++)
		memcpy(text + i * strlen(unit), unit, strlen(unit));
	message = logged(b, NULL, text);
	assert_int_equal(strlen(message), length);
	assert_int_equal(strcmp(message + length - 3, "...") == 0, cut);
	free(message);
	free(text);
}

static void rule17_message_is_capped(void **state)
{
	struct bench *b = *state;

	expect_cut(b, "a", LOG_MESSAGE_MAX, LOG_MESSAGE_MAX, false);
	expect_cut(b, "a", LOG_MESSAGE_MAX + 1, LOG_MESSAGE_MAX, true);
	expect_cut(b, "a", 100000, LOG_MESSAGE_MAX, true);
	expect_cut(b, "\n", LOG_MESSAGE_MAX / 2, LOG_MESSAGE_MAX, false);
	expect_cut(b, "\n", LOG_MESSAGE_MAX / 2 + 1, LOG_MESSAGE_MAX - 1, true);
	expect_cut(b, "\x01", 5000, LOG_MESSAGE_MAX - 1, true);
	expect_cut(b, "\xe2\x82\xac", 700, 665 * 3 + 3, true); /* whole characters only */
}

static void rule17_prefix_counts_and_is_escaped(void **state)
{
	struct bench *b = *state;
	char peer[3000], *message;
	struct log_context context = {3, "a\nb\033"};

	message = logged(b, &context, "x\ny");
	assert_string_equal(message, "conn 3 (a\\nb\\x1b): x\\ny");
	free(message);
	memset(peer, 'p', sizeof peer - 1);
	peer[sizeof peer - 1] = '\0';
	context.peer = peer;
	message = logged(b, &context, "x");
	assert_int_equal(strlen(message), LOG_MESSAGE_MAX);
	assert_string_equal(message + LOG_MESSAGE_MAX - 5, "pp...");
	free(message);
}

static void rule17_all_256_bytes_are_one_line(void **state)
{
	char all[257], *message;

	for (int i = 0; i < 256; i++)
		all[i] = (char)(i < 255 ? i + 1 : '\0');
	message = logged(*state, NULL, all);
	for (const char *at = message; *at; at++)
		assert_in_range((unsigned char)*at, 0x20, 0x7e);
	free(message);
}

static void rule18_percent_signs_are_data(void **state)
{
	static const struct log_context context = {1, "%n%s%p"};
	struct bench *b = *state;
	char *message = logged(b, &context, "%n%s%s%s");

	assert_string_equal(message, "conn 1 (%n%s%p): %n%s%s%s");
	free(message);
	b->log = log_close(b->log);
	log_write(bench_open(b, "%n%s"), NETD_INFO, NULL, "x");
	bench_expect(b, "%n%s", "x");
	assert_int_equal(mkdir(bench_path(b, "away"), 0700), 0);
	log_set_root(b->log, bench_path(b, "away"));
	assert_int_equal(log_reopen(b->log), -ENOENT);
}

static void an_argument_that_cannot_be_converted_is_no_loss(void **state)
{
	static const wchar_t bad[] = {(wchar_t)0x7fffffff, 0};
	struct bench *b = *state;

	log_write(bench_open(b, "log"), NETD_ERR, NULL, "name %ls", bad);
	bench_expect(b, "log", "name %ls");
}

static void errno_is_kept(void **state)
{
	static const char *const paths[] = {"/dev/full", "/dev/null"};
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		bench_open(b, paths[i]);
		errno = EDOM;
		log_write(b->log, NETD_ERR, NULL, "x");
		assert_int_equal(errno, EDOM);
		assert_int_equal(log_drops(b->log), i == 0);
		b->log = log_close(b->log);
	}
}

static void *log_much(void *arg)
{
	struct bench *b = arg;
	char text[5000];

	memset(text, '\n', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	log_write(b->log, NETD_ERR, NULL, "%s", text);
	return NULL;
}

static void a_stack_of_64_kilobytes_is_enough(void **state)
{
	struct bench *b = *state;
	pthread_attr_t attr;
	pthread_t thread;
	char *text;

	bench_open(b, "log");
	pthread_attr_init(&attr);
	assert_int_equal(pthread_attr_setstacksize(&attr, 64 * 1024), 0);
	assert_int_equal(pthread_create(&thread, &attr, log_much, b), 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attr);
	text = bench_read(b, "log");
	assert_int_equal(count(text, "\\n"), (LOG_MESSAGE_MAX - 3) / 2);
	free(text);
}

static void file_is_appended_to_and_private(void **state)
{
	struct bench *b = *state;
	mode_t mask = umask(0);
	struct stat st;
	char *text;

	for (int i = 0; i < 2; i++) {
		log_write(bench_open(b, "log"), NETD_INFO, NULL, "x");
		assert_int_equal(fstat(log_fd(b->log), &st), 0);
		assert_int_equal(st.st_mode & 0777, 0640);
		assert_int_equal(fcntl(log_fd(b->log), F_GETFD), FD_CLOEXEC);
		b->log = log_close(b->log);
	}
	umask(mask);
	text = bench_read(b, "log");
	assert_int_equal(count(text, ", x\n"), 2);
	free(text);
}

static void expect_refused(const char *path, int code, const char *words)
{
	struct log *const untouched = log_none();
	struct log_config config = {.logfile = path};
	struct log *log = untouched;
	struct err err;

	assert_int_equal(log_open(&log, &config, &err), code);
	assert_non_null(strstr(err.text, words));
	assert_non_null(strstr(err.text, path));
	assert_ptr_equal(log, untouched);
}

static void what_is_no_log_file_is_refused(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct bench *b = *state;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	expect_refused(b->dir, -EISDIR, "directory");
	expect_refused(bench_path(b, "no/log"), -ENOENT, "No such file");
	expect_refused("", -ENOENT, "No such file");
	assert_int_equal(mkfifo(bench_path(b, "fifo"), 0600), 0);
	expect_refused(b->path, -ENXIO, "nobody reads from this FIFO");
	strcpy(address.sun_path, bench_path(b, "sock"));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	expect_refused(b->path, -ENXIO, "neither a file, a FIFO nor a device");
	close(fd);
}

static void facilities_are_checked(void **state)
{
	static const char *const good[] = {"auth", "authpriv", "cron",   "daemon", "ftp",
					   "kern", "lpr",      "mail",   "news",   "syslog",
					   "user", "uucp",     "local0", "local7"};
	static const char *const bad[] = {"", "local8", "Daemon", "daemon ", "local", NULL};
	struct log_config config = {.logfile = "STDERR", .facility = "nowhere"};
	struct log *log = NULL;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(log_facility_check(good[i], &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(log_facility_check(bad[i], &err), -EINVAL);
		assert_non_null(strstr(err.text, "local0 to local7"));
	}
	assert_int_equal(log_open(&log, &config, &err), -EINVAL);
	assert_non_null(strstr(err.text, "'nowhere'"));
	config.logfile = NULL;
	assert_int_equal(log_open(&log, &config, &err), -EINVAL);
	assert_null(log);
}

static void reopen_follows_a_rotation(void **state)
{
	struct bench *b = *state;
	char old[96];
	int fd;

	strcpy(old, bench_path(b, "log.1"));
	fd = log_fd(bench_open(b, "log"));
	log_write(b->log, NETD_INFO, NULL, "one");
	assert_int_equal(rename(bench_path(b, "log"), old), 0);
	assert_int_equal(log_reopen(b->log), 0);
	log_write(b->log, NETD_INFO, NULL, "two");
	assert_int_equal(log_fd(b->log), fd);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	bench_expect(b, "log.1", "one");
	bench_expect(b, "log", "two");
}

static void reopen_that_fails_keeps_the_old_file(void **state)
{
	struct bench *b = *state;
	char *text, old[96];

	strcpy(old, bench_path(b, "log.1"));
	bench_open(b, "log");
	assert_int_equal(rename(bench_path(b, "log"), old), 0);
	assert_int_equal(mkdir(bench_path(b, "log"), 0700), 0);
	assert_int_equal(log_reopen(b->log), -EISDIR);
	log_write(b->log, NETD_INFO, NULL, "still here");
	text = bench_read(b, "log.1");
	assert_non_null(strstr(text, " err, "));
	assert_non_null(strstr(text, "/log: Is a directory\n"));
	assert_non_null(strstr(text, ", still here\n"));
	free(text);
}

static void relative_path_survives_chdir(void **state)
{
	struct bench *b = *state;
	struct log_config config = {.logfile = ".//./log"};

	assert_int_equal(chdir(b->dir), 0);
	assert_int_equal(log_open(&b->log, &config, NULL), 0);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(unlink(bench_path(b, "log")), 0);
	assert_int_equal(log_reopen(b->log), 0);
	log_write(b->log, NETD_INFO, NULL, "x");
	bench_expect(b, "log", "x");
}

/* In a child: lock it into dir. False where the system does not let us. */
static bool lock_into(const char *dir)
{
	if (geteuid() != 0 && unshare(CLONE_NEWUSER) < 0)
		return false;
	return chroot(dir) == 0 && chdir("/") == 0;
}

static void path_is_cut_after_chroot(void **state)
{
	struct bench *b = *state;
	int status;
	pid_t pid;

	bench_open(b, "log");
	assert_int_equal(unlink(bench_path(b, "log")), 0);
	pid = fork();
	if (pid == 0) {
		char root[sizeof b->dir + 2];

		snprintf(root, sizeof root, "%s//", b->dir);
		if (!lock_into(b->dir))
			_exit(77);
		log_set_root(b->log, root);
		if (log_reopen(b->log) < 0)
			_exit(1);
		log_write(b->log, NETD_INFO, NULL, "from inside");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
	bench_expect(b, "log", "from inside");
}

static void path_outside_of_the_root_is_not_reopened(void **state)
{
	static const struct {
		const char *file,
		    *root; /* below the bench's directory, unless it begins with a dot */
	} table[] = {
	    {"log", "jail"},         {"log", "log"},      {"log", "lo"}, {"log", ".."},
	    {"jail/../log", "jail"}, {"jail/../log", ""}, {"log", "."},  {"log", "./"},
	};
	struct bench *b = *state;

	assert_int_equal(mkdir(bench_path(b, "jail"), 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const char *root = table[i].root;
		char *text;

		bench_open(b, table[i].file);
		log_set_root(b->log, root[0] == '.' ? root : bench_path(b, root));
		assert_int_equal(log_reopen(b->log), -ENOENT);
		text = bench_read(b, "log");
		assert_int_equal(count(text, "outside of the new root directory\n"), i + 1);
		free(text);
		b->log = log_close(b->log);
	}
	bench_open(b, "log");
	log_set_root(b->log, "/");
	log_set_root(b->log, "///");
	assert_int_equal(log_reopen(b->log), 0);
}

static void none_takes_everything(void **state)
{
	struct log *log = log_none();

	(void)state;
	assert_false(log_wants(log, NETD_EMERG));
	log_write(log, NETD_EMERG, NULL, "x");
	assert_int_equal(log_drops(log), 0);
	assert_int_equal(log_fd(log), -1);
	assert_int_equal(log_reopen(log), 0);
	log_set_root(log, "/srv");
	assert_null(log_close(log));
	assert_ptr_equal(log_none(), log);
	assert_null(log_close(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BENCH_TEST(line_has_the_exact_form),
	    cmocka_unit_test(stamp_is_perls_in_any_order_of_times),
	    BENCH_TEST(threads_are_numbered_each_for_itself),
	    BENCH_TEST(connection_and_peer_stand_in_front),
	    cmocka_unit_test(levels_have_syslogs_names),
	    BENCH_TEST(debug_is_written_only_when_configured),
	    BENCH_TEST(rule17_message_is_capped),
	    BENCH_TEST(rule17_prefix_counts_and_is_escaped),
	    BENCH_TEST(rule17_all_256_bytes_are_one_line),
	    BENCH_TEST(rule18_percent_signs_are_data),
	    BENCH_TEST(an_argument_that_cannot_be_converted_is_no_loss),
	    BENCH_TEST(errno_is_kept),
	    BENCH_TEST(a_stack_of_64_kilobytes_is_enough),
	    BENCH_TEST(file_is_appended_to_and_private),
	    BENCH_TEST(what_is_no_log_file_is_refused),
	    cmocka_unit_test(facilities_are_checked),
	    BENCH_TEST(reopen_follows_a_rotation),
	    BENCH_TEST(reopen_that_fails_keeps_the_old_file),
	    BENCH_TEST(relative_path_survives_chdir),
	    BENCH_TEST(path_is_cut_after_chroot),
	    BENCH_TEST(path_outside_of_the_root_is_not_reopened),
	    cmocka_unit_test(none_takes_everything),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
