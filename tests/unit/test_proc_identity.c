/*
 * test_proc_identity.c - who is who, and who is nobody. The four look-ups of the user database are
 * replaced by a small one of our own, which can also fail in every way that the real one can.
 */
#include "proc/proc.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ------------------------------------------------------------------------- a database of our own
 */

#define LONG_NAME "a-name-of-seventy-characters-which-is-more-than-messages-have-room-for"

/* A user; or a group, which has its number in gid. */
struct row {
	const char *name;
	uid_t uid;
	gid_t gid;
};

static const struct row user_rows[] = {
    {"root", 0, 0},
    {"alice", 1000, 100},
    {"bob", 1001, 4242}, /* a group that has no entry */
    {"nogroup", 1002, (gid_t)-1},
    {"minus", (uid_t)-1, 100},
    {"777", 1003, 100}, /* whoever says 777 means the number */
    {"4bob", 1004, 100},
    {LONG_NAME, 1005, 100},
};

static const struct row group_rows[] = {
    {"root", 0, 0},
    {"users", 0, 100},
    {"staff", 0, 50},
    {"minus", 0, (gid_t)-1},
};

/* How the database behaves; zeroed before each test. */
static struct {
	int error;      /* what a look-up that finds nothing returns */
	bool broken;    /* nothing is found */
	int interrupts; /* so many look-ups end with EINTR first */
	size_t need;    /* bytes of memory an entry takes */
	int calls;      /* look-ups so far */
	bool no_memory;
} db;

static int set_up(void **state)
{
	(void)state;
	memset(&db, 0, sizeof db);
	return 0;
}

static const struct row *look_up(const struct row *rows, size_t count, const char *name, int64_t id,
				 bool by_gid)
{
	for (size_t i = 0; i < count; i++)
		if (name ? strcmp(rows[i].name, name) == 0
			 : (by_gid ? rows[i].gid : rows[i].uid) == (unsigned)id)
			return &rows[i];
	return NULL;
}

/* What the look-up returns before it looks: 0 to go on. */
static int first_say(size_t size)
{
	db.calls++;
	if (db.interrupts > 0) {
		db.interrupts--;
		return EINTR;
	}
	return size < db.need ? ERANGE : 0;
}

static int find_user(const char *name, int64_t id, struct passwd *out, char *memory, size_t size,
		     struct passwd **found)
{
	const struct row *row = look_up(user_rows, ARRAY_LEN(user_rows), name, id, false);
	int rc = first_say(size);

	*found = NULL;
	if (rc || db.broken || !row)
		return rc ? rc : db.error;
	snprintf(memory, size, "%s", row->name);
	*out = (struct passwd){.pw_name = memory, .pw_uid = row->uid, .pw_gid = row->gid};
	*found = out;
	return 0;
}

static int find_group(const char *name, int64_t id, struct group *out, char *memory, size_t size,
		      struct group **found)
{
	const struct row *row = look_up(group_rows, ARRAY_LEN(group_rows), name, id, true);
	int rc = first_say(size);

	*found = NULL;
	if (rc || db.broken || !row)
		return rc ? rc : db.error;
	snprintf(memory, size, "%s", row->name);
	*out = (struct group){.gr_name = memory, .gr_gid = row->gid};
	*found = out;
	return 0;
}

int getpwnam_r(const char *name, struct passwd *out, char *memory, size_t size,
	       struct passwd **found)
{
	return find_user(name, 0, out, memory, size, found);
}

int getpwuid_r(uid_t uid, struct passwd *out, char *memory, size_t size, struct passwd **found)
{
	return find_user(NULL, uid, out, memory, size, found);
}

int getgrnam_r(const char *name, struct group *out, char *memory, size_t size, struct group **found)
{
	return find_group(name, 0, out, memory, size, found);
}

int getgrgid_r(gid_t gid, struct group *out, char *memory, size_t size, struct group **found)
{
	return find_group(NULL, gid, out, memory, size, found);
}

/* ----------------------------------------------------------------------------------------- tests
 */

static void names_and_numbers_are_found(void **state)
{
	static const struct {
		const char *user, *group;
		uid_t uid;
		gid_t gid;
		const char *user_text, *group_text;
	} rows[] = {
	    {"alice", NULL, 1000, 100, "alice", "users"},
	    {"alice", "staff", 1000, 50, "alice", "staff"},
	    {"alice", "50", 1000, 50, "alice", "staff"},
	    {"1000", NULL, 1000, 100, "alice", "users"},
	    {"bob", NULL, 1001, 4242, "bob", "4242"},
	    {"root", NULL, 0, 0, "root", "root"},
	    {"0", "0", 0, 0, "root", "root"},
	    {"4bob", NULL, 1004, 100, "4bob", "users"},
	    {"777", "100", 777, 100, "777", "users"},
	    {"4711", "4712", 4711, 4712, "4711", "4712"},
	    {"4294967294", "4294967294", 4294967294, 4294967294, "4294967294", "4294967294"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct identity identity;
		struct err err;

		assert_int_equal(identity_find(&identity, rows[i].user, rows[i].group, &err), 0);
		assert_true(identity.set_uid && identity.set_gid);
		assert_true(identity.uid == rows[i].uid && identity.gid == rows[i].gid);
		assert_string_equal(identity.user, rows[i].user_text);
		assert_string_equal(identity.group, rows[i].group_text);
	}
}

static void what_is_not_named_is_not_set(void **state)
{
	struct identity identity;

	(void)state;
	assert_int_equal(identity_find(&identity, NULL, NULL, NULL), 0);
	assert_false(identity.set_uid || identity.set_gid);
	assert_string_equal(identity.user, "");
	assert_string_equal(identity.group, "");
	assert_int_equal(identity_find(&identity, NULL, "staff", NULL), 0);
	assert_true(!identity.set_uid && identity.set_gid && identity.gid == 50);
	assert_string_equal(identity.user, "");
}

static void long_names_are_cut_in_messages_only(void **state)
{
	struct identity identity;

	(void)state;
	assert_int_equal(identity_find(&identity, LONG_NAME, NULL, NULL), 0);
	assert_int_equal(identity.uid, 1005);
	assert_int_equal(strlen(identity.user), sizeof identity.user - 1);
}

/* Every one of these was taken for root, or for "do not change", by some program. */
static void rule03_what_is_not_known_is_refused(void **state)
{
	static const char *const wrong[] = {
	    "",           "0day",        "-1",
	    "4294967295", "4294967296",  "18446744073709551616",
	    "00",         "007",         " 0",
	    "0 ",         "+0",          "0x0",
	    "0\n",        "1e3",         "ghost",
	    "root ",      "ROOT",        "root:root",
	    "minus",      "-4294967296", "99999999999999999999",
	};
	struct identity identity = {.uid = 7};
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		err.text[0] = '\0';
		assert_int_equal(identity_find(&identity, wrong[i], "staff", &err), -EINVAL);
		assert_non_null(strstr(err.text, "user"));
		assert_int_equal(identity_find(&identity, "alice", wrong[i], &err), -EINVAL);
		assert_non_null(strstr(err.text, "group"));
		assert_int_equal(identity_find(&identity, NULL, wrong[i], NULL), -EINVAL);
	}
	assert_int_equal(identity.uid, 7); /* untouched */
}

static void rule03_words_name_what_was_found(void **state)
{
	static const struct {
		const char *user, *group, *words;
	} rows[] = {
	    {"ghost", NULL, "unknown user 'ghost'"},
	    {"0day", NULL, "unknown user '0day'"},
	    {"alice", "ghosts", "unknown group 'ghosts'"},
	    {"", NULL, "the name of a user is empty"},
	    {"alice", "", "the name of a group is empty"},
	    {"4294967295", NULL, "user '4294967295': a number must be between 0 and 4294967294"},
	    {"-1", NULL, "user '-1': a number must be between 0 and 4294967294"},
	    {"minus", NULL, "user 'minus' has the number 4294967295, which means nobody"},
	    {"nogroup", NULL, "user 'nogroup' has the group 4294967295, which means nobody"},
	    {"4711", NULL, "user '4711' is not in the user database: name a group too"},
	};
	struct identity identity;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(identity_find(&identity, rows[i].user, rows[i].group, &err),
				 -EINVAL);
		assert_string_equal(err.text, rows[i].words);
		assert_int_equal(err.code, -EINVAL);
	}
}

static void a_database_that_fails_is_not_an_unknown_name(void **state)
{
	static const int unknown[] = {0, ENOENT, ESRCH, EBADF, EPERM};
	struct identity identity;
	struct err err;

	(void)state;
	db.broken = true;
	for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
		db.error = unknown[i];
		assert_int_equal(identity_find(&identity, "alice", NULL, &err), -EINVAL);
		assert_string_equal(err.text, "unknown user 'alice'");
	}
	db.error = EIO;
	assert_int_equal(identity_find(&identity, "alice", NULL, &err), -EIO);
	assert_string_equal(err.text, "cannot look up user 'alice': Input/output error");
	assert_int_equal(identity_find(&identity, NULL, "staff", &err), -EIO);
	assert_string_equal(err.text, "cannot look up group 'staff': Input/output error");
	/* Numbers need no database, but then nobody knows the group of a user. */
	assert_int_equal(identity_find(&identity, "1000", "50", &err), 0);
	assert_true(identity.uid == 1000 && identity.gid == 50);
	assert_string_equal(identity.user, "1000");
	assert_int_equal(identity_find(&identity, "1000", NULL, &err), -EINVAL);
}

static void interruptions_and_large_entries_are_met_with_patience(void **state)
{
	struct identity identity;
	struct err err;

	(void)state;
	db.interrupts = 3;
	assert_int_equal(identity_find(&identity, "alice", "staff", &err), 0);
	assert_int_equal(db.calls, 5);
	db.need = 100000;
	assert_int_equal(identity_find(&identity, "alice", "staff", &err), 0);
	assert_true(identity.uid == 1000 && identity.gid == 50);
	db.need = SIZE_MAX;
	assert_int_equal(identity_find(&identity, "alice", "staff", &err), -ERANGE);
}

/* Wrapped by the linker: no memory when the database's behaviour says so. */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);

void *__wrap_malloc(size_t size)
{
	return db.no_memory ? NULL : __real_malloc(size);
}

char *__wrap_strndup(const char *text, size_t size)
{
	size_t all = strlen(text);
	size_t length = all < size ? all : size;
	char *copy = __wrap_malloc(length + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

char *__wrap_strdup(const char *text)
{
	return __wrap_strndup(text, SIZE_MAX);
}

static void no_memory_is_an_error_too(void **state)
{
	struct identity identity;
	int64_t uid = 7, gid = 7;
	struct err err;

	(void)state;
	db.no_memory = true;
	assert_int_equal(identity_find(&identity, "alice", NULL, &err), -ENOMEM);
	assert_string_equal(err.text, "cannot look up user 'alice': Cannot allocate memory");
	assert_int_equal(owner_find("alice", &uid, &gid, &err), -ENOMEM);
	assert_int_equal(owner_find("alice:staff", &uid, &gid, &err), -ENOMEM);
	assert_string_equal(err.text, "owner 'alice:staff': Cannot allocate memory");
	assert_true(uid == 7 && gid == 7);
}

static void owners_are_parsed(void **state)
{
	static const struct {
		const char *text;
		int64_t uid, gid;
	} rows[] = {
	    {"alice", 1000, -1},       {"alice:staff", 1000, 50},
	    {":staff", -1, 50},        {"0:0", 0, 0},
	    {"4711", 4711, -1},        {":4711", -1, 4711},
	    {"4711:4712", 4711, 4712},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t uid = 7, gid = 7;

		assert_int_equal(owner_find(rows[i].text, &uid, &gid, NULL), 0);
		assert_true(uid == rows[i].uid && gid == rows[i].gid);
	}
}

static void rule03_owners_that_are_not_known_are_refused(void **state)
{
	static const char *const wrong[] = {
	    "",       ":",  "alice:",   "alice:staff:", ":staff:", "ghost",  "ghost:staff",
	    ":ghost", "-1", "alice:-1", ":4294967295",  "::",      " alice", "0day:staff",
	};
	struct err err;
	int64_t uid = 7, gid = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		assert_int_equal(owner_find(wrong[i], &uid, &gid, &err), -EINVAL);
		assert_int_equal(strncmp(err.text, "owner '", 7), 0);
	}
	assert_true(uid == 7 && gid == 7);
	assert_int_equal(owner_find("ghost:staff", &uid, &gid, &err), -EINVAL);
	assert_string_equal(err.text, "owner 'ghost:staff': unknown user 'ghost'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(names_and_numbers_are_found, set_up),
	    cmocka_unit_test_setup(what_is_not_named_is_not_set, set_up),
	    cmocka_unit_test_setup(long_names_are_cut_in_messages_only, set_up),
	    cmocka_unit_test_setup(rule03_what_is_not_known_is_refused, set_up),
	    cmocka_unit_test_setup(rule03_words_name_what_was_found, set_up),
	    cmocka_unit_test_setup(a_database_that_fails_is_not_an_unknown_name, set_up),
	    cmocka_unit_test_setup(interruptions_and_large_entries_are_met_with_patience, set_up),
	    cmocka_unit_test_setup(no_memory_is_an_error_too, set_up),
	    cmocka_unit_test_setup(owners_are_parsed, set_up),
	    cmocka_unit_test_setup(rule03_owners_that_are_not_known_are_refused, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
