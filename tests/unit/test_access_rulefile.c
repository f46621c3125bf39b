/*
 * test_access_rulefile.c - a rules file that changes under a server: read again when it should be,
 * nobody let in when it cannot be used, and lines that live as long as somebody refers to them.
 */
#include "access_fixture.h"

#include "access/lines.h"
#include "netdaemon_test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------- coarse times */

/* As a file system that keeps whole seconds has them. */
static bool coarse;

static int make_coarse(int rc, struct stat *st)
{
	if (rc == 0 && coarse)
		st->st_mtim.tv_nsec = st->st_ctim.tv_nsec = 0;
	return rc;
}

int __real_stat(const char *path, struct stat *st);
int __wrap_stat(const char *path, struct stat *st);
int __wrap_stat(const char *path, struct stat *st)
{
	return make_coarse(__real_stat(path, st), st);
}

int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st)
{
	return make_coarse(__real_fstat(fd, st), st);
}

int __real_stat64(const char *path, struct stat *st);
int __wrap_stat64(const char *path, struct stat *st);
int __wrap_stat64(const char *path, struct stat *st)
{
	return make_coarse(__real_stat64(path, st), st);
}

int __real_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st)
{
	return make_coarse(__real_fstat64(fd, st), st);
}

/* -------------------------------------------------------------------------------------- tools */

/* A file of this test alone, and what watches it. */
struct ground {
	char folder[32];
	char path[64], spare[64];
	struct rulefile *file;
	struct access *access;
};

static void write_to(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0644), 0);
}

/* As an editor that is careful does it. */
static void replace(struct ground *ground, const char *text)
{
	write_to(ground->spare, text);
	assert_int_equal(rename(ground->spare, ground->path), 0);
}

static int set_up(void **state)
{
	struct ground *ground = calloc(1, sizeof *ground);
	struct strlist allow = {0};
	struct access_fronts fronts = {
	    .origin = "F",
	    .rules_owner = geteuid(),
	    .allow = &allow,
	    .allow_label = "--allow",
	};
	struct err err;

	coarse = false;
	assert_int_equal(strlist_add(&allow, "192.0.2.99"), 0);

	assert_non_null(ground);
	snprintf(ground->folder, sizeof ground->folder, "/tmp/netd-rules-XXXXXX");
	assert_non_null(mkdtemp(ground->folder));
	assert_int_equal(chmod(ground->folder, 0755), 0);
	snprintf(ground->path, sizeof ground->path, "%s/rules", ground->folder);
	snprintf(ground->spare, sizeof ground->spare, "%s/spare", ground->folder);
	write_to(ground->path, ":allow\n");
	fronts.rules = ground->path;
	fronts.rules_label = "--rules";
	if (rulefile_open(&ground->file, ground->path, geteuid(), &err) < 0 ||
	    access_open(&ground->access, &fronts, NULL, &err) < 0)
		fail_msg("%s", err.text);
	strlist_finish(&allow);
	*state = ground;
	return 0;
}

static int tear_down(void **state)
{
	struct ground *ground = *state;

	rulefile_close(ground->file);
	access_free(ground->access);
	unlink(ground->path);
	unlink(ground->spare);
	assert_int_equal(rmdir(ground->folder), 0);
	free(ground);
	return 0;
}

/* What a client meets: the line, minus one that denies, 0: nobody is let in. */
static int client_from(struct ground *ground, const char *address)
{
	const struct access_peer peer = peer_of(address);
	struct access_verdict verdict;
	struct lines *lines;

	access_refresh(ground->access, NULL);
	lines = access_hold(ground->access);
	access_admit(ground->access, lines, &peer, NULL, &verdict);
	access_release(lines);
	assert_int_equal(verdict.unusable, strstr(verdict.why, "cannot be used") != NULL);
	if (verdict.rule > 1)
		verdict.rule--; /* behind the one --allow */
	return verdict.allowed ? verdict.rule : -verdict.rule;
}

static bool is_broken(const struct ground *ground)
{
	struct lines *lines = access_hold(ground->access);
	bool broken = !lines || lines->broken;

	access_release(lines);
	return broken;
}

/* Whom --allow knows is let in, or refused, with all others. */
static int next_client(struct ground *ground)
{
	int met = client_from(ground, "192.0.2.7");
	int known = client_from(ground, "192.0.2.99");

	assert_int_equal(known, is_broken(ground) ? 0 : 1);
	return met;
}

static void an_edit_counts_for_the_next_client(void **state)
{
	struct ground *ground = *state;

	assert_int_equal(next_client(ground), 1);
	replace(ground, "# one more\n:deny\n");
	assert_int_equal(next_client(ground), -2);
	replace(ground, "192.0.2.:allow\n");
	assert_int_equal(next_client(ground), 1);
}

/* The same size, and often the same time and number: only the window tells. */
static void edits_in_place_count_however_quick(void **state)
{
	struct ground *ground = *state;

	for (int i = 0; i < 200; i++) {
		write_to(ground->path, i % 2 ? ":allow\n" : ":deny \n");
		assert_int_equal(next_client(ground), i % 2 ? 1 : -1);
	}
}

static void rule10_a_missing_file_denies_until_it_is_back(void **state)
{
	struct ground *ground = *state;
	struct err words = {0};

	assert_int_equal(unlink(ground->path), 0);
	assert_int_equal(rulefile_refresh(ground->file, &words), -ENOENT);
	assert_non_null(strstr(words.text, "rules: No such file or directory; nobody is let in"));
	assert_int_equal(rulefile_refresh(ground->file, &words), 0); /* said already */
	assert_int_equal(next_client(ground), 0);
	write_to(ground->path, ":allow\n");
	assert_int_equal(rulefile_refresh(ground->file, &words), 1);
	assert_non_null(strstr(words.text, "rules: read again: 1 rule"));
	assert_int_equal(next_client(ground), 1);
}

static void rule10_a_wrong_file_denies_and_names_the_line(void **state)
{
	struct ground *ground = *state;
	struct err words = {0};

	replace(ground, ":allow\n192.0.2.7:alow\n");
	assert_int_equal(rulefile_refresh(ground->file, &words), -EINVAL);
	assert_non_null(strstr(words.text, "rules:2: found '192.0.2.7:alow', expected"));
	assert_int_equal(rulefile_refresh(ground->file, &words), 0);
	assert_int_equal(next_client(ground), 0);
	replace(ground, ":allow\n192.0.2.8:x\n"); /* another mistake is news */
	assert_int_equal(rulefile_refresh(ground->file, &words), -EINVAL);
	assert_non_null(strstr(words.text, "192.0.2.8:x"));
	replace(ground, "192.0.2.7:allow\n");
	assert_int_equal(next_client(ground), 1);
}

static void rule10_half_a_file_lets_nobody_in(void **state)
{
	static const char text[] = "192.0.2.7:deny\n10.:allow,A=\"x\"\n:allow\n";
	struct ground *ground = *state;

	for (size_t length = 0; length < sizeof text - 1; length++) {
		char part[sizeof text];

		snprintf(part, sizeof part, "%.*s", (int)length, text);
		write_to(ground->path, part);
		assert_true(next_client(ground) <= 0);
	}
}

static void rule23_an_unsafe_file_denies(void **state)
{
	struct ground *ground = *state;
	struct err words = {0};

	assert_int_equal(chmod(ground->path, 0666), 0); /* its contents are what they were */
	assert_int_equal(rulefile_refresh(ground->file, &words), -EACCES);
	assert_non_null(strstr(words.text, "found mode 0666"));
	assert_int_equal(next_client(ground), 0);
	assert_int_equal(chmod(ground->path, 0644), 0);
	assert_int_equal(next_client(ground), 1);
	unlink(ground->path);
	assert_int_equal(mkdir(ground->path, 0755), 0);
	assert_int_equal(next_client(ground), 0);
	assert_int_equal(rmdir(ground->path), 0);
	assert_int_equal(mkfifo(ground->path, 0644), 0);
	assert_int_equal(next_client(ground), 0);
}

/* The service user must not be able to bring rules of its own: who may own the file is settled
 * before the server becomes that user. */
static void rule23_the_owner_is_settled_at_the_start(void **state)
{
	struct ground *ground = *state;
	struct err words;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(ground->path, 65534, 65534), 0);
	assert_int_equal(seteuid(65534), 0);
	assert_int_equal(rulefile_refresh(ground->file, &words), -EACCES);
	assert_int_equal(seteuid(0), 0);
	assert_non_null(strstr(words.text, "found owner 65534, expected root"));
}

static void lines_live_as_long_as_they_are_held(void **state)
{
	struct ground *ground = *state;
	struct lines *old;
	const char *name = NULL;

	replace(ground, ":allow,A=\"old\"\n");
	access_refresh(ground->access, NULL);
	old = access_hold(ground->access);
	replace(ground, ":allow,A=\"new\"\n");
	access_refresh(ground->access, NULL);
	unlink(ground->path);
	access_refresh(ground->access, NULL);
	name = value_get(old->items[0].env, "A")->text;
	assert_string_equal(name, "old");
	access_release(old);
}

/* Was it the same lines before and after? The reference keeps their memory from being used again.
 */
static bool stays(struct ground *ground)
{
	struct lines *before = rulefile_hold(ground->file);
	bool same;

	assert_int_equal(rulefile_refresh(ground->file, NULL), 0);
	same = rulefile_lines(ground->file) == before;
	access_release(before);
	return same;
}

/* Once its last change is long enough ago. */
static void a_file_that_stays_is_not_read_again(void **state)
{
	const int64_t deadline = clock_deadline(10000);

	while (!stays(*state))
		assert_true(clock_ms() < deadline);
	for (int i = 0; i < 100; i++)
		assert_true(stays(*state));
}

/* Neither size nor time of its contents says so. */
static void rule23_a_file_that_becomes_unsafe_is_seen(void **state)
{
	struct ground *ground = *state;
	const int64_t deadline = clock_deadline(10000);
	struct err words;

	while (!stays(ground))
		assert_true(clock_ms() < deadline);
	assert_int_equal(chmod(ground->path, 0646), 0);
	assert_int_equal(rulefile_refresh(ground->file, &words), -EACCES);
}

static void edits_count_where_times_are_coarse(void **state)
{
	coarse = true;
	edits_in_place_count_however_quick(state);
}

static int do_nothing(struct netd_conn *conn)
{
	(void)conn;
	return 0;
}

/* The test kit has conversations without a listener. */
static void a_conversation_in_memory_meets_the_file(void **state)
{
	static const struct netd_service service = NETD_SERVICE(.name = "test", .run = do_nothing);
	struct ground *ground = *state;
	const char *const options[] = {"--rules", ground->path, NULL};

	write_to(ground->path, ":allow\n");
	assert_int_equal(netd_test_talk(&service, NULL, options, "", 0, NULL, NULL), 0);
	write_to(ground->path, ":deny\n");
	assert_int_equal(netd_test_talk(&service, NULL, options, "", 0, NULL, NULL), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(an_edit_counts_for_the_next_client),
	    TEST(edits_in_place_count_however_quick),
	    TEST(edits_count_where_times_are_coarse),
	    TEST(rule10_a_missing_file_denies_until_it_is_back),
	    TEST(rule10_a_wrong_file_denies_and_names_the_line),
	    TEST(rule10_half_a_file_lets_nobody_in),
	    TEST(rule23_an_unsafe_file_denies),
	    TEST(rule23_the_owner_is_settled_at_the_start),
	    TEST(lines_live_as_long_as_they_are_held),
	    TEST(a_file_that_stays_is_not_read_again),
	    TEST(rule23_a_file_that_becomes_unsafe_is_seen),
	    TEST(a_conversation_in_memory_meets_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
