/*
 * name.c - host names of --allow and --deny: "host.example.org" is that name and no other,
 * ".example.org" every name below it. Only confirmed names count (security rule 12); who came by a
 * Unix socket has none. Failure: a name that cannot be had is doubt.
 */
#include "access/rule.h"

#include <string.h>
#include <sys/socket.h>

int name_compile(struct test *test, const char *text, struct err *err)
{
	(void)err; /* who.c has looked at it */
	test->text = text;
	return 0;
}

static bool fits(const char *wanted, const char *name)
{
	size_t length = strlen(name), end = strlen(wanted);

	if (*wanted != '.')
		return strcmp(wanted, name) == 0;
	return length > end && strcmp(name + length - end, wanted) == 0;
}

static void say(struct check *check, enum reason_kind kind, const char *wanted, const char *name)
{
	check->reason =
	    (struct reason){.kind = kind, .key = "name", .text = wanted, .count = 1, .value = name};
}

enum meets name_meets(const struct tests *names, struct check *check)
{
	const char *wanted = names->items[0].text; /* there is one */

	if (check->peer.family == AF_UNIX) {
		say(check, REASON_IS_UNIX, wanted, NULL);
		return MEETS_NO;
	}
	if (!check->asked) {
		check->wanted = true;
		return MEETS_DOUBT;
	}
	for (size_t i = 0; i < check->names.count; i++)
		if (fits(wanted, check->names.items[i])) {
			check->name = check->names.items[i];
			say(check, REASON_NAME_MATCHES, wanted, check->name);
			return MEETS_YES;
		}
	if (check->name_unknown) {
		say(check, REASON_NAME_UNKNOWN, wanted, NULL);
		check->reason.number = check->name_error;
		return MEETS_DOUBT;
	}
	say(check, REASON_NAME_OTHER, wanted, check->names.items[0]);
	return MEETS_NO;
}
