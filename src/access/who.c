/*
 * who.c - the arguments of --allow and --deny: one word that says who, as a rule with one test.
 *
 * Happy path: a word with a prefix (uid=, gid=, mask=) or of its own (unix, all) is looked up in
 * the tables; what holds a slash or a colon, or digits and dots only, must be an address or a
 * network; the rest must be a host name. Failure: what is none of them is an error that says what
 * could stand there; it is never taken for a name that nobody has.
 */
#include "access/rule.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *prefix;
	enum rule_key key;
} prefixes[] = {
    {"uid=", RULE_UID},
    {"gid=", RULE_GID},
    {"mask=", RULE_MASK},
};

bool who_is_mask(const char *text)
{
	return strncmp(text, "mask=", 5) == 0;
}

static int is_nobody(const char *text, struct err *err)
{
	char shown[VALUE_SHOW_SIZE];

	return err_set(err, -EINVAL,
		       "found '%s', expected an address, a network such as 192.0.2.0/24, a host "
		       "name, .DOMAIN for all names below it, unix, uid=USER, gid=GROUP, "
		       "mask=REGEX or all",
		       value_show(shown, text, strlen(text)));
}

static int compile_prefixed(struct rule *rule, const char *text, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		size_t length = strlen(prefixes[i].prefix);

		if (strncmp(text, prefixes[i].prefix, length) == 0 && text[length])
			return rule_compile_one(rule, prefixes[i].key, text + length, err);
	}
	return is_nobody(text, err);
}

static int compile_name(struct rule *rule, char *text, struct err *err)
{
	char *name = strncmp(text, "*.", 2) == 0 ? text + 1 : text;

	if (!access_name_clean(name + (*name == '.')))
		return is_nobody(text, err);
	return rule_compile_one(rule, RULE_NAME, name, err);
}

int who_compile(struct rule *rule, char *text, struct err *err)
{
	/* As one writes host names: "UNIX" shall not be a name that nobody has. */
	if (strcasecmp(text, "all") == 0)
		return 0; /* nothing restricts it */
	if (strcasecmp(text, "unix") == 0)
		return rule_compile_one(rule, RULE_UNIX, text, err);
	if (strchr(text, '='))
		return compile_prefixed(rule, text, err);
	if (strpbrk(text, "/:") || (*text && !text[strspn(text, "0123456789.")]))
		return rule_compile_one(rule, RULE_NET, text, err);
	return compile_name(rule, text, err);
}
