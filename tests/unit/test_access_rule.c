/*
 * test_access_rule.c - what access rules may look like: what is refused in which words, what draws
 * a warning, and what a mask's text tells about it.
 */
#include "access/rule.h"

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
#include <sys/socket.h>

#include <cmocka.h>

/* ----------------------------------------------------------- a user data base that misbehaves */

/* What the next look-ups answer; 0: what the system says. */
static int user_error;
/* How much room an entry takes. */
static size_t user_needs;

int __real_getpwnam_r(const char *name, struct passwd *entry, char *room, size_t size,
		      struct passwd **found);
int __wrap_getpwnam_r(const char *name, struct passwd *entry, char *room, size_t size,
		      struct passwd **found);
int __wrap_getpwnam_r(const char *name, struct passwd *entry, char *room, size_t size,
		      struct passwd **found)
{
	*found = NULL;
	if (user_error)
		return user_error;
	if (size < user_needs)
		return ERANGE;
	return __real_getpwnam_r(name, entry, room, size, found);
}

/* ---------------------------------------------------------------------------------- the tools */

int __real_getgrnam_r(const char *name, struct group *entry, char *room, size_t size,
		      struct group **found);
int __wrap_getgrnam_r(const char *name, struct group *entry, char *room, size_t size,
		      struct group **found);
int __wrap_getgrnam_r(const char *name, struct group *entry, char *room, size_t size,
		      struct group **found)
{
	*found = NULL;
	return user_error ? user_error : __real_getgrnam_r(name, entry, room, size, found);
}

/* All warnings since rules_from() was called, "LINE:COLUMN TEXT\n" each. */
static char warned[4096];

static void take_warning(void *arg, int line, int column, const char *text)
{
	size_t used = strlen(warned);

	(void)arg;
	snprintf(warned + used, sizeof warned - used, "%d:%d %s\n", line, column, text);
}

static const struct value_warn ear = {.warn = take_warning};

static int rules_from(struct access **access, const char *text, struct err *err)
{
	struct value *map = NULL;
	const struct value *clients;
	char *whole = NULL;
	int rc;

	warned[0] = '\0';
	assert_true(asprintf(&whole, "{clients => %s}", text) > 0);
	if (value_read_perl(&map, whole, strlen(whole), NULL, err) < 0)
		fail_msg("%s", err->text);
	clients = value_get(map, "clients");
	assert_non_null(clients);
	rc = access_new(access, clients, "F", &ear, err);
	value_free(map);
	free(whole);
	return rc;
}

static void refused(const char *text, const char *words)
{
	static char elsewhere;
	struct access *const untouched = (void *)&elsewhere;
	struct access *access = untouched;
	struct err err = {0};

	assert_int_equal(rules_from(&access, text, &err), -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_string_equal(err.text, words);
	assert_ptr_equal(access, untouched);
}

static void taken(const char *text, int count, const char *warnings)
{
	struct access *access = NULL;
	struct err err = {0};

	if (rules_from(&access, text, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(access_count(access), count);
	assert_string_equal(warned, warnings);
	access_free(access);
}

/* Does a peer on a Unix socket with these ids meet the only rule? */
static bool lets_in(const char *text, int64_t uid, int64_t gid)
{
	const struct access_peer peer = {.family = AF_UNIX, .uid = uid, .gid = gid};
	struct access_verdict verdict;
	struct access *access = NULL;
	struct err err = {0};

	if (rules_from(&access, text, &err) < 0)
		fail_msg("%s", err.text);
	access_check(access, &peer, NULL, &verdict);
	access_free(access);
	return verdict.allowed;
}

/* ---------------------------------------------------------------------------- what is refused */

static void rule10_what_is_no_list_of_maps_is_refused(void **state)
{
	(void)state;
	refused("{}", "F:1:13: clients: found a map, expected a list of rules");
	refused("'any'", "F:1:13: clients: found text, expected a list of rules");
	refused("'no'", "F:1:13: clients: found text, expected a list of rules");
	refused("['x']", "F:1:14: clients rule 1: found text, expected a map such as {mask => ..., "
			 "accept => 1}");
	refused("[{}, undef]",
		"F:1:18: clients rule 2: found undef, expected a map such as {mask => "
		"..., accept => 1}");
	refused("[[]]",
		"F:1:14: clients rule 1: found a list, expected a map such as {mask => ..., "
		"accept => 1}");
}

static void rule10_masks_of_other_kinds_are_refused(void **state)
{
	char text[MASK_PATTERN_MAX + 100];

	(void)state;
	refused("[{}, {}, {mask => {}}]",
		"F:1:31: clients rule 3: mask: found a map, expected a pattern or a list of "
		"patterns");
	refused("[{mask => ['x', []]}]", "F:1:29: clients rule 1: mask: found a list, expected a "
					 "pattern or a list of patterns");
	refused("[{mask => [undef]}]", "F:1:24: clients rule 1: mask: found undef, expected a "
				       "pattern or a list of patterns");
	refused("[{mask => ['']}]", "F:1:24: clients rule 1: mask: found empty text, expected a "
				    "pattern or a list of patterns");
	memset(text, 'a', sizeof text);
	memcpy(text, "[{mask => '", 11);
	snprintf(text + 11 + MASK_PATTERN_MAX + 1, 10, "'}]");
	refused(text, "F:1:23: clients rule 1: mask: the pattern is longer than 4096 bytes");
	snprintf(text + 11 + MASK_PATTERN_MAX, 10, "'}]");
	text[11] = '^';
	text[11 + MASK_PATTERN_MAX - 1] = '$';
	taken(text, 1, "");
}

static void rule10_a_pattern_that_does_not_compile_is_refused(void **state)
{
	(void)state;
	refused("[{mask => '^10\\.('}]",
		"F:1:23: clients rule 1: mask ^10\\.(: at offset 6: missing closing parenthesis");
	refused("[{mask => ['^a$', '*']}]",
		"F:1:31: clients rule 1: mask *: at offset 0: quantifier does not follow a "
		"repeatable item");
	refused("[{mask => '(*UTF)^a$'}]",
		"F:1:23: clients rule 1: mask (*UTF)^a$: at offset 6: using UTF is disabled by the "
		"application");
}

static void rule11_networks_are_strict_in_rules_too(void **state)
{
	(void)state;
	refused("[{net => '10.0.0.1/8'}]", "F:1:22: clients rule 1: net: 10.0.0.1/8: host bits are "
					   "set, did you mean 10.0.0.0/8?");
	refused("[{net => ['10.0.0.0/8', '10/8']}]",
		"F:1:37: clients rule 1: net: 10/8: expected an address or a network in full, such "
		"as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32");
	refused("[{net => undef}]", "F:1:22: clients rule 1: net: found undef, expected a network "
				    "or a list of networks");
	refused("[{net => ''}]",
		"F:1:22: clients rule 1: net: found empty text, expected a network "
		"or a list of networks");
	refused("[{net => []}]", "F:1:22: clients rule 1: net: found an empty list, expected a "
				 "network or a list of networks");
	refused("[{net => {}}]",
		"F:1:22: clients rule 1: net: found a map, expected a network or a "
		"list of networks");
}

static void rule3_ids_are_strict(void **state)
{
	static const char *const wrong[] = {"0day", "-1", "4294967295", "010", "+1", "1.5"};
	char text[100], words[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		snprintf(text, sizeof text, "[{uid => '%s'}]", wrong[i]);
		snprintf(words, sizeof words,
			 "F:1:22: clients rule 1: uid: found '%s', expected a number from 0 to "
			 "4294967294 or the name of a user",
			 wrong[i]);
		refused(text, words);
	}
	refused("[{gid => '-0x1'}]", "F:1:22: clients rule 1: gid: found '-0x1', expected a number "
				     "from 0 to 4294967294 or the name of a group");
	refused("[{uid => 'nobody.here'}]",
		"F:1:22: clients rule 1: uid: there is no user nobody.here");
	refused("[{gid => 'nobody.here'}]",
		"F:1:22: clients rule 1: gid: there is no group nobody.here");
	refused("[{uid => undef}]",
		"F:1:22: clients rule 1: uid: found undef, expected a user or a list of users");
	refused("[{gid => []}]",
		"F:1:22: clients rule 1: gid: found an empty list, expected a group "
		"or a list of groups");
}

static void ids_may_be_names(void **state)
{
	(void)state;
	assert_true(lets_in("[{uid => 'root', accept => 1}]", 0, 5));
	assert_false(lets_in("[{uid => 'root', accept => 1}]", 5, 0));
	assert_true(lets_in("[{gid => 'root', accept => 1}]", 5, 0));
	assert_false(lets_in("[{gid => 'root', accept => 1}]", 0, 5));
	assert_true(lets_in("[{uid => [4294967294, 0], accept => 1}]", 4294967294, 5));
	assert_false(lets_in("[{uid => 4294967294, accept => 1}]", -1, 5));
}

static void a_broken_user_data_base_is_an_error(void **state)
{
	(void)state;
	user_needs = 3000; /* more than one turn of growing */
	assert_true(lets_in("[{uid => 'root', accept => 1}]", 0, 5));
	user_needs = SIZE_MAX;
	refused("[{uid => 'root'}]",
		"F:1:22: clients rule 1: uid: root: Numerical result out of range");
	user_needs = 0;
	user_error = EIO;
	refused("[{uid => 'root'}]", "F:1:22: clients rule 1: uid: root: Input/output error");
	refused("[{gid => 'root'}]", "F:1:22: clients rule 1: gid: root: Input/output error");
	user_error = 0;
}

static void rule10_only_a_clear_yes_accepts(void **state)
{
	static const char *const yes[] = {"1", "'1'", "2", "-1", "'true'", "'Yes'", "'on'"};
	static const char *const no[] = {"0", "''", "undef", "'0'", "'false'", "'no'", "'off'"};
	static const char *const wrong[] = {"deny", "0.0", "00", "1 ", "y", "never"};
	char text[100], words[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		snprintf(text, sizeof text, "[{accept => %s}]", yes[i]);
		assert_true(lets_in(text, 0, 0));
	}
	for (size_t i = 0; i < ARRAY_LEN(no); i++) {
		snprintf(text, sizeof text, "[{accept => %s}]", no[i]);
		assert_false(lets_in(text, 0, 0));
	}
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		snprintf(text, sizeof text, "[{accept => '%s'}]", wrong[i]);
		snprintf(words, sizeof words,
			 "F:1:25: clients rule 1: accept: found '%s', expected 1 or 0", wrong[i]);
		refused(text, words);
	}
	refused("[{accept => []}]",
		"F:1:25: clients rule 1: accept: found a list, expected 1 or 0");
	refused("[{accept => {}}]", "F:1:25: clients rule 1: accept: found a map, expected 1 or 0");
}

/* ----------------------------------------------------------------------- what draws a warning */

static void false_is_open_with_a_warning(void **state)
{
	static const char words[] = "1:13 clients: no rules, so everybody may connect\n";
	const struct value undef = {.kind = VALUE_UNDEF};
	struct access *access = NULL;

	(void)state;
	taken("undef", -1, words);
	taken("''", -1, words);
	taken("0", -1, words);
	taken("[]", 0, "");
	assert_int_equal(access_new(&access, &undef, "F", NULL, NULL), 0);
	assert_int_equal(access_count(access), -1);
	access_free(access);
}

static void masks_without_anchors_draw_a_warning(void **state)
{
	struct access *access = NULL;
	struct value *tree = NULL;

	(void)state;
	taken("[{mask => '^10\\.'}, {mask => ['^a$', 'b$']}]", 2,
	      "1:23 clients rule 1: mask ^10\\.: not anchored by ^ and $ at both ends, so it also "
	      "matches longer text\n"
	      "1:50 clients rule 2: mask b$: not anchored by ^ and $ at both ends, so it also "
	      "matches longer text\n");
	taken("[{mask => ''}, {mask => '0'}, {mask => '.*'}, {mask => undef}]", 4, "");
	/* Nobody listens. */
	assert_int_equal(value_read_perl(&tree, "[{mask => 'x'}]", 15, NULL, NULL), 0);
	assert_int_equal(access_new(&access, tree, "F", NULL, NULL), 0);
	access_free(access);
	value_free(tree);
}

static void other_slips_draw_a_warning(void **state)
{
	(void)state;
	taken("[{mask => '^Host\\.example$'}]", 1,
	      "1:23 clients rule 1: mask ^Host\\.example$: capital letters never match, names are "
	      "compared in lower case\n");
	taken("[{mask => []}]", 1, "1:23 clients rule 1: mask: an empty list matches nobody\n");
	taken("[{masks => 'x', Net => 1, UIDS => 2, maskx => 3, mas => 4, name => 5}]", 1,
	      "1:24 clients rule 1: masks: not a key of access rules, so it restricts nobody\n"
	      "1:36 clients rule 1: Net: not a key of access rules, so it restricts nobody\n"
	      "1:47 clients rule 1: UIDS: not a key of access rules, so it restricts nobody\n");
	taken("[{Accept => 1, accepts => 1, accept => 1}]", 1,
	      "1:25 clients rule 1: Accept: not a key of access rules, so it lets nobody in\n"
	      "1:39 clients rule 1: accepts: not a key of access rules, so it lets nobody in\n");
}

/* ------------------------------------------------------------------- what a mask's text tells */

static void rule12_masks_about_addresses_need_no_name(void **state)
{
	static const char *const addresses[] = {
	    "^10\\.",
	    "^192\\.168\\.1\\.\\d+$",
	    "^127.0.0.1$",
	    "^10\\.(1|2[0-9]|30)\\.",
	    "^(?:10|172\\.(?:1[6-9]|2\\d|3[01])|192\\.168)\\.",
	    "^10(\\.\\d{1,3}){3}$",
	    "\\A10\\.\\d+\\z",
	    "1",
	    "^2001:db8:",
	    "^fe80::",
	    "^fe[89ab][0-9a-f]:",
	    "^::1$",
	    "^::ffff:",
	    "\\:1",
	    "[:]",
	    "^[0-9.]+$",
	    "^1[.]2",
	    "^10\\.[\\d.]+$",
	    "^10\\.|^11\\.",
	    "^2001:db8:.*:[0-9a-f]+$",
	    "^[2][0]01:",
	    "1{2,}",
	    "1\\Z",
	    "^2001:db8:[0-9a-f:]+$",
	};
	static const char *const names[] = {
	    "localhost",
	    "^host\\.example\\.com$",
	    "\\.example$",
	    "-",
	    "_",
	    "/",
	    "",
	    "^",
	    ".*",
	    "^.{20,}$",
	    "^10\\.|.{20}",
	    "^...$",
	    "[^0-9.]",
	    "^10\\.[^.]+",
	    "\\D",
	    "\\w",
	    "\\W",
	    "^(?!10\\.)",
	    "^(?i)10\\.",
	    "(?i:10)",
	    "(?<x>1)",
	    "(?#x)1",
	    "(?#1",
	    "(*ANYCRLF)1",
	    "(*1",
	    "[[:alpha:]1]",
	    "[[:1]x",
	    "[a-z0-9]",
	    "[0-f]",
	    "[0-9-]",
	    "[0-9-5]",
	    "[\\d-f]",
	    "[.-:]",
	    "[\\x41]1",
	    "[\\A1]",
	    "[\\z1]",
	    "[]a]",
	    "[[1]",
	    "[0-9A]:",

	    "[1\\",
	    "\\Qhost\\E1",
	    "\\Q1",
	    "1{x}",
	    "1{2",
	    "1\\",
	    "^(bad\\.cafe|2001:db8::1)$",
	    "^bad\\.cafe$",
	    "^2001:db8|cafe",
	    "cafe1",
	    "^fe..:",
	    "(a|b):",
	    "10\\.X",
	    "[0-9A-F]:",
	    "1(?",
	    "1\\1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
		if (mask_needs_name(addresses[i]))
			fail_msg("needs a name: %s", addresses[i]);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!mask_needs_name(names[i]))
			fail_msg("needs no name: %s", names[i]);
}

static void anchors_are_seen_at_both_ends_of_each_alternative(void **state)
{
	static const char *const anchored[] = {
	    "^a$",           "\\Aa\\z",   "^a\\Z",  "^a$|^b$",    "^(a|b)$",
	    "^(?:a|(b|c))$", "^a(?i)b$",  "^a\\$$", "(?i)^a$",    "(?i)(?s)^a$|(?i)^b$",
	    "^[$|]$",        "^\\Q|\\E$", "^[]|]$", "^(?#a|b)x$", "^$",
	    "^a(?=b|c)$",
	};
	static const char *const loose[] = {
	    "",     "^", "$",     "a",     "^a",   "a$",   "^a|b$", "a|^b$", "^a$|b",
	    "^a$|", "|", "\\^a$", "^a\\$", "^?a$", "^a$?", "(^a$)", "^[a$",  "^\\Qa$",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(anchored); i++)
		if (!mask_anchored(anchored[i]))
			fail_msg("not anchored: %s", anchored[i]);
	for (size_t i = 0; i < ARRAY_LEN(loose); i++)
		if (mask_anchored(loose[i]))
			fail_msg("anchored: %s", loose[i]);
}

static void capitals_are_seen_where_they_are_text(void **state)
{
	(void)state;
	assert_true(mask_has_capitals("^Host$"));
	assert_true(mask_has_capitals("hosT"));
	assert_false(mask_has_capitals("^host\\D\\A\\Z$"));
	assert_false(mask_has_capitals("(?i)^Host$"));
	assert_false(mask_has_capitals("^(?i:Host)$"));
	assert_false(mask_has_capitals("^[A-Za-z]+$"));
	assert_false(mask_has_capitals(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rule10_what_is_no_list_of_maps_is_refused),
	    cmocka_unit_test(rule10_masks_of_other_kinds_are_refused),
	    cmocka_unit_test(rule10_a_pattern_that_does_not_compile_is_refused),
	    cmocka_unit_test(rule11_networks_are_strict_in_rules_too),
	    cmocka_unit_test(rule3_ids_are_strict),
	    cmocka_unit_test(ids_may_be_names),
	    cmocka_unit_test(a_broken_user_data_base_is_an_error),
	    cmocka_unit_test(rule10_only_a_clear_yes_accepts),
	    cmocka_unit_test(false_is_open_with_a_warning),
	    cmocka_unit_test(masks_without_anchors_draw_a_warning),
	    cmocka_unit_test(other_slips_draw_a_warning),
	    cmocka_unit_test(rule12_masks_about_addresses_need_no_name),
	    cmocka_unit_test(anchors_are_seen_at_both_ends_of_each_alternative),
	    cmocka_unit_test(capitals_are_seen_where_they_are_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
