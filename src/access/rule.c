/*
 * rule.c - one rule: from a map in the configuration to tests that only need a peer.
 *
 * Happy path: rule_compile() walks the table of keys below and compiles each value that stands
 * under one; rule_meets() asks them in the same order, so that DNS comes last. All keys must be
 * met, of a key's values any. Failure: whatever is not understood refuses to start, with its
 * position. A key that is only almost one of ours ("masks") is kept for the handler as any other,
 * but draws a warning: without its restriction the rule would meet everybody.
 */
#include "access/rule.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define ID_MAX 4294967294LL /* (uid_t)-1 means "no id" */

/* Room for one line of the user data base: where to begin, where to give up. */
#define ENTRY_FIRST 1024
#define ENTRY_MAX (1u << 20)

/* ------------------------------------------------------------------------------------- values */

static int net_compile(struct test *test, const char *text, struct err *err)
{
	int rc = access_net_parse(&test->net, text, err);

	if (rc < 0)
		err_prefix(err, "net: ");
	test->text = text;
	return rc;
}

/* Look a name up with room of this size: 0 and *id, ERANGE for more room, or why not. */
static int user_find(const char *name, char *room, size_t size, int64_t *id)
{
	struct passwd entry, *found = NULL;
	int rc = getpwnam_r(name, &entry, room, size, &found);

	if (found)
		*id = (int64_t)found->pw_uid;
	return found ? 0 : rc ? rc : ENOENT;
}

static int group_find(const char *name, char *room, size_t size, int64_t *id)
{
	struct group entry, *found = NULL;
	int rc = getgrnam_r(name, &entry, room, size, &found);

	if (found)
		*id = (int64_t)found->gr_gid;
	return found ? 0 : rc ? rc : ENOENT;
}

static int id_find(const char *name, int (*find)(const char *, char *, size_t, int64_t *),
		   int64_t *id)
{
	int rc = ERANGE;

	for (size_t size = ENTRY_FIRST; rc == ERANGE && size <= ENTRY_MAX; size *= 2) {
		char *room = malloc(size);

		if (!room)
			return -ENOMEM;
		rc = find(name, room, size, id);
		free(room);
	}
	return -rc;
}

/* A number, or a name that does not begin like one: "0day" is neither. */
static int id_compile(struct test *test, const char *text, const char *key, const char *kind,
		      int (*find)(const char *, char *, size_t, int64_t *), struct err *err)
{
	long long number;
	int rc;

	test->text = text;
	if (strchr("-+0123456789", *text)) {
		if (num_parse(text, 0, ID_MAX, &number) < 0)
			return err_set(err, -EINVAL,
				       "%s: found '%.80s', expected a number from 0 to %lld or the "
				       "name of a %s",
				       key, text, ID_MAX, kind);
		test->id = number;
		return 0;
	}
	rc = id_find(text, find, &test->id);
	if (rc == -ENOENT)
		return err_set(err, -EINVAL, "%s: there is no %s %.80s", key, kind, text);
	if (rc == -ENOMEM)
		return err_set(err, rc, "out of memory");
	if (rc < 0)
		return err_set(err, -EINVAL, "%s: %.80s: %s", key, text, strerror(-rc));
	return 0;
}

static int uid_compile(struct test *test, const char *text, struct err *err)
{
	return id_compile(test, text, "uid", "user", user_find, err);
}

static int gid_compile(struct test *test, const char *text, struct err *err)
{
	return id_compile(test, text, "gid", "group", group_find, err);
}

/* ----------------------------------------------------------------------------------- deciding */

/* test: the one that met; NULL: none did. */
static void say(struct check *check, enum reason_kind kind, const char *key,
		const struct tests *tests, const struct test *test)
{
	if (!test && tests->count == 1)
		test = &tests->items[0];
	check->reason = (struct reason){
	    .kind = kind,
	    .key = key,
	    .text = test ? test->text : NULL,
	    .count = tests->count,
	    .value = check->address,
	};
}

/* Peers on a Unix socket are in no network: binary addresses only. */
static enum meets net_meets(const struct tests *nets, struct check *check)
{
	for (size_t i = 0; i < nets->count; i++)
		if (access_net_has(&nets->items[i].net, &check->peer)) {
			say(check, REASON_INSIDE, "net", nets, &nets->items[i]);
			return MEETS_YES;
		}
	say(check, REASON_OUTSIDE, "net", nets, NULL);
	return MEETS_NO;
}

static enum meets id_meets(const char *key, const struct tests *ids, struct check *check,
			   int64_t peer)
{
	enum reason_kind kind = REASON_ID_DIFFERS;
	enum meets meets = MEETS_NO;
	const struct test *test = NULL;

	if (check->peer.family != AF_UNIX) {
		kind = REASON_NOT_UNIX;
	} else if (peer < 0) {
		kind = REASON_ID_UNKNOWN;
		meets = MEETS_DOUBT;
	}
	for (size_t i = 0; kind == REASON_ID_DIFFERS && i < ids->count; i++)
		if (ids->items[i].id == peer) {
			kind = REASON_ID_MATCHES;
			meets = MEETS_YES;
			test = &ids->items[i];
		}
	say(check, kind, key, ids, test);
	check->reason.value = NULL;
	check->reason.number = peer;
	return meets;
}

static enum meets uid_meets(const struct tests *ids, struct check *check)
{
	return id_meets("uid", ids, check, check->peer.uid);
}

static enum meets gid_meets(const struct tests *ids, struct check *check)
{
	return id_meets("gid", ids, check, check->peer.gid);
}

/* Only for --allow and --deny: there it takes no value. */
static int unix_compile(struct test *test, const char *text, struct err *err)
{
	(void)err;
	test->text = text;
	return 0;
}

static enum meets unix_meets(const struct tests *tests, struct check *check)
{
	bool is_unix = check->peer.family == AF_UNIX;

	say(check, is_unix ? REASON_IS_UNIX : REASON_NOT_UNIX, "unix", tests, NULL);
	check->reason.key = NULL;
	return is_unix ? MEETS_YES : MEETS_NO;
}

/* -------------------------------------------------------------------------- the table of keys */

static const struct key {
	const char *name;
	const char *expected; /* words for what may stand there */
	bool false_is_all;    /* undef, "" and "0" restrict nothing, and a list may be empty */
	bool who_only;        /* not in clients, where it is the author's own */
	int (*compile)(struct test *test, const char *text, struct err *err);
	enum meets (*meets)(const struct tests *tests, struct check *check);
} keys[RULE_KEYS] = {
    [RULE_NET] = {"net", "a network or a list of networks", false, false, net_compile, net_meets},
    [RULE_UID] = {"uid", "a user or a list of users", false, false, uid_compile, uid_meets},
    [RULE_GID] = {"gid", "a group or a list of groups", false, false, gid_compile, gid_meets},
    [RULE_UNIX] = {"unix", "", false, true, unix_compile, unix_meets},
    [RULE_MASK] = {"mask", "a pattern or a list of patterns", true, false, mask_compile,
		   mask_meets},
    [RULE_NAME] = {"name", "a host name", false, true, name_compile, name_meets},
};

enum meets rule_meets(const struct rule *rule, struct check *check)
{
	enum meets all = MEETS_YES;
	struct reason doubt = {0};

	check->reason = (struct reason){.kind = REASON_ALL};
	for (size_t i = 0; i < RULE_KEYS; i++) {
		enum meets meets = MEETS_YES;

		if (rule->tests[i].given)
			meets = keys[i].meets(&rule->tests[i], check);
		if (meets == MEETS_NO)
			return MEETS_NO;
		if (meets == MEETS_DOUBT) {
			all = MEETS_DOUBT;
			doubt = check->reason;
		}
	}
	if (all == MEETS_DOUBT)
		check->reason = doubt;
	return all;
}

/* ---------------------------------------------------------------------------------- compiling */

const char *rule_kind_name(const struct value *value)
{
	static const char *const names[] = {
	    [VALUE_UNDEF] = "undef",
	    [VALUE_SCALAR] = "text",
	    [VALUE_LIST] = "a list",
	    [VALUE_MAP] = "a map",
	};

	return names[value->kind];
}

static void PRINTF_LIKE(4, 5) warn_at(const struct rule_source *source, const struct rule *rule,
				      const struct value *value, const char *format, ...)
{
	char words[512];
	va_list args;
	int used;

	if (!source->warn)
		return;
	used = snprintf(words, sizeof words, "clients rule %d: ", rule->place);
	va_start(args, format);
	vsnprintf(words + used, sizeof words - (size_t)used, format, args);
	va_end(args);
	source->warn->warn(source->warn->arg, value->line, value->column, words);
}

/* What the words are about, in front of them. err may be NULL, so the code comes along. */
static int at(const struct rule_source *source, const struct rule *rule, const struct value *value,
	      int rc)
{
	if (rc == -EINVAL)
		err_prefix(source->err, "%s:%d:%d: clients rule %d: ", source->origin, value->line,
			   value->column, rule->place);
	return rc;
}

static void warn_of_mask(const struct rule_source *source, int line, int column, const char *prefix,
			 const char *mask, const char *words)
{
	char text[512];

	snprintf(text, sizeof text, "%.200smask %.200s: %s", prefix, mask, words);
	source->warn->warn(source->warn->arg, line, column, text);
}

/* Patterns that are legal, but may mean more or less than their author thinks. */
void rule_warn_of_mask(const struct rule_source *source, int line, int column, const char *prefix,
		       const char *mask)
{
	if (!source->warn || strcmp(mask, ".*") == 0)
		return;
	if (!mask_anchored(mask))
		warn_of_mask(
		    source, line, column, prefix, mask,
		    "not anchored by ^ and $ at both ends, so it also matches longer text");
	if (mask_has_capitals(mask))
		warn_of_mask(source, line, column, prefix, mask,
			     "capital letters never match, names are compared in lower case");
}

static int add_value(struct rule *rule, enum rule_key key, const struct value *value,
		     const struct rule_source *source)
{
	struct tests *tests = &rule->tests[key];
	struct test *test = &tests->items[tests->count];
	char prefix[40];
	int rc;

	/* Perl reads an empty pattern as "the last one that matched": nobody means that. */
	if (value->kind != VALUE_SCALAR || !*value->text)
		rc = err_set(source->err, -EINVAL, "%s: found %s, expected %s", keys[key].name,
			     value->kind == VALUE_SCALAR ? "empty text" : rule_kind_name(value),
			     keys[key].expected);
	else
		rc = keys[key].compile(test, value->text, source->err);
	if (rc < 0)
		return at(source, rule, value, rc);
	tests->count++;
	snprintf(prefix, sizeof prefix, "clients rule %d: ", rule->place);
	if (key == RULE_MASK)
		rule_warn_of_mask(source, value->line, value->column, prefix, value->text);
	return 0;
}

static bool is_perl_false(const struct value *value)
{
	if (value->kind == VALUE_SCALAR)
		return strcmp(value->text, "") == 0 || strcmp(value->text, "0") == 0;
	return value->kind == VALUE_UNDEF;
}

static int add_key(struct rule *rule, enum rule_key key, const struct value *value,
		   const struct rule_source *source)
{
	bool list = value->kind == VALUE_LIST;
	size_t count = list ? value->count : 1;
	int rc = 0;

	if (keys[key].false_is_all && is_perl_false(value))
		return 0;
	if (count == 0 && !keys[key].false_is_all) {
		rc = err_set(source->err, -EINVAL, "%s: found an empty list, expected %s",
			     keys[key].name, keys[key].expected);
		return at(source, rule, value, rc);
	}
	if (count == 0)
		warn_at(source, rule, value, "%s: an empty list matches nobody", keys[key].name);
	rule->tests[key].given = true;
	rule->tests[key].items = calloc(count + 1, sizeof *rule->tests[key].items);
	if (!rule->tests[key].items)
		return err_set(source->err, -ENOMEM, "out of memory");
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = add_value(rule, key, list ? value->items[i] : value, source);
	return rc;
}

/* Only what clearly says yes lets in: "deny" would be true in Perl. */
static int set_accept(struct rule *rule, const struct value *value,
		      const struct rule_source *source)
{
	static const char *const yes[] = {"true", "yes", "on"};
	long long number;
	int rc;

	if (value->kind == VALUE_UNDEF || value->kind == VALUE_SCALAR) {
		if (!value_true(value))
			return 0;
		rule->accept = num_parse(value->text, INT32_MIN, INT32_MAX, &number) == 0;
		for (size_t i = 0; i < ARRAY_LEN(yes); i++)
			rule->accept |= strcasecmp(value->text, yes[i]) == 0;
		if (rule->accept)
			return 0;
	}
	if (value->kind == VALUE_SCALAR)
		rc = err_set(source->err, -EINVAL, "accept: found '%.80s', expected 1 or 0",
			     value->text);
	else
		rc = err_set(source->err, -EINVAL, "accept: found %s, expected 1 or 0",
			     rule_kind_name(value));
	return at(source, rule, value, rc);
}

/* "Mask", "masks": hardly meant for the handler. */
static bool almost(const char *key, const char *ours)
{
	size_t length = strlen(ours);

	return strncasecmp(key, ours, length) == 0 &&
	       (!key[length] || strcasecmp(key + length, "s") == 0);
}

static void warn_of_key(const struct rule_source *source, const struct rule *rule, const char *key,
			const struct value *value)
{
	for (size_t i = 0; i < RULE_KEYS; i++)
		if (!keys[i].who_only && almost(key, keys[i].name) &&
		    strcmp(key, keys[i].name) != 0)
			warn_at(source, rule, value,
				"%.80s: not a key of access rules, so it restricts nobody", key);
	if (almost(key, "accept") && strcmp(key, "accept") != 0)
		warn_at(source, rule, value,
			"%.80s: not a key of access rules, so it lets nobody in", key);
	if (almost(key, "env") && strcmp(key, "env") != 0)
		warn_at(source, rule, value, "%.80s: not a key of access rules, so it sets nothing",
			key);
}

/* {VAR => 'value', ...} for the program that is started. */
static int set_env(struct rule *rule, const struct value *env, const struct rule_source *source)
{
	int rc;

	if (env->kind != VALUE_MAP) {
		rc = err_set(source->err, -EINVAL,
			     "env: found %s, expected a map of variables such as "
			     "{RELAYCLIENT => ''}",
			     rule_kind_name(env));
		return at(source, rule, env, rc);
	}
	for (size_t i = 0; i < env->count; i++) {
		const struct value *value = env->items[i];

		rc = 0;
		if (!rule_env_name(env->keys[i]))
			rc = err_set(source->err, -EINVAL,
				     "env: found the variable '%.80s', expected letters, digits "
				     "and _, not beginning with a digit",
				     env->keys[i]);
		else if (value->kind != VALUE_SCALAR)
			rc = err_set(source->err, -EINVAL, "env: %.80s: found %s, expected text",
				     env->keys[i], rule_kind_name(value));
		if (rc < 0)
			return at(source, rule, value, rc);
	}
	rule->env = env;
	return 0;
}

int rule_compile_one(struct rule *rule, enum rule_key key, const char *text, struct err *err)
{
	struct tests *tests = &rule->tests[key];
	int rc;

	tests->items = calloc(1, sizeof *tests->items);
	if (!tests->items)
		return err_set(err, -ENOMEM, "out of memory");
	tests->given = true;
	rc = keys[key].compile(&tests->items[0], text, err);
	if (rc == 0)
		tests->count = 1;
	return rc;
}

int rule_compile(struct rule *rule, const struct value *map, const struct rule_source *source)
{
	const struct value *value;
	int rc;

	rule->map = map;
	if (map->kind != VALUE_MAP) {
		rc = err_set(source->err, -EINVAL,
			     "found %s, expected a map such as {mask => ..., "
			     "accept => 1}",
			     rule_kind_name(map));
		return at(source, rule, map, rc);
	}
	for (size_t i = 0; i < map->count; i++)
		warn_of_key(source, rule, map->keys[i], map->items[i]);
	for (enum rule_key key = 0; key < RULE_KEYS; key++) {
		value = keys[key].who_only ? NULL : value_get(map, keys[key].name);
		rc = value ? add_key(rule, key, value, source) : 0;
		if (rc < 0)
			return rc;
	}
	value = value_get(map, "env");
	rc = value ? set_env(rule, value, source) : 0;
	if (rc < 0)
		return rc;
	value = value_get(map, "accept");
	return value ? set_accept(rule, value, source) : 0;
}

void rule_finish(struct rule *rule)
{
	for (size_t key = 0; key < RULE_KEYS; key++) {
		for (size_t i = 0; i < rule->tests[key].count; i++)
			if (rule->tests[key].items[i].code) /* else PCRE2 may not be there */
				pcre2_code_free(rule->tests[key].items[i].code);
		free(rule->tests[key].items);
	}
}
