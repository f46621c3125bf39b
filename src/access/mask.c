/*
 * mask.c - one mask: a Perl regular expression against a peer's address and names.
 *
 * Happy path: mask_compile() once at start-up, JIT included where there is one; mask_meets()
 * searches the numeric address first, and the confirmed names only when no mask matched it.
 *
 * Which masks count for names? One that is written about addresses does not: only digits, \d, dots,
 * colons, hexadecimal digits beside a colon, classes of those, anchors, groups, alternatives and
 * quantifiers, with a digit or a colon in each alternative ('^192\.168\.', '^2001:db8:'). Such a
 * mask never makes us ask DNS, and a peer who names his host "192.168.1.1.evil.example" does not
 * pass it. Whatever else a pattern holds (letters, hyphens, negated classes, flags, look-ahead):
 * names count.
 *
 * Failure: a pattern that does not compile is an error with PCRE2's words. A match that runs into
 * its limits, or out of memory, is doubt. So is a missing name (security rule 12), whatever the
 * cause: no answer, no PTR record, a PTR record that does not lead back. Otherwise a peer could
 * slip past a rule that denies by name just by having none.
 */
#include "access/rule.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* -------------------------------------------------------------------------- reading a pattern */

enum token {
	TOKEN_FINISH,
	TOKEN_START,  /* ^ \A */
	TOKEN_END,    /* $ \z \Z */
	TOKEN_DIGIT,  /* a digit, \d, a class with digits and dots */
	TOKEN_HEX,    /* a to f, a class with some of them */
	TOKEN_COLON,  /* : or a class with a colon */
	TOKEN_DOT,    /* a dot, escaped or not */
	TOKEN_REPEAT, /* a quantifier */
	TOKEN_OPEN,   /* ( or (?: */
	TOKEN_CLOSE,
	TOKEN_OR,
	TOKEN_FLAGS,   /* (?i) */
	TOKEN_SPECIAL, /* other things that open with (? */
	TOKEN_CAPITAL,
	TOKEN_OTHER,
};

static enum token plain_token(char c)
{
	if (isdigit((unsigned char)c))
		return TOKEN_DIGIT;
	if (c >= 'a' && c <= 'f')
		return TOKEN_HEX;
	if (c == ':')
		return TOKEN_COLON;
	if (c == '.')
		return TOKEN_DOT;
	return isupper((unsigned char)c) ? TOKEN_CAPITAL : TOKEN_OTHER;
}

/* p is behind a backslash. */
static enum token escape_token(const char **p)
{
	char c = **p;
	const char *end;

	if (!c)
		return TOKEN_OTHER;
	++*p;
	switch (c) {
	case 'd':
		return TOKEN_DIGIT;
	case '.':
	case ':':
		return plain_token(c);
	case 'A':
		return TOKEN_START;
	case 'z':
	case 'Z':
		return TOKEN_END;
	case 'Q': /* all is literal up to \E */
		end = strstr(*p, "\\E");
		*p = end ? end + 2 : *p + strlen(*p);
		return TOKEN_OTHER;
	default:
		return TOKEN_OTHER;
	}
}

/* A range counts as what its ends are, when both are of the same kind: 0-9, a-f. */
static bool range_is_plain(char from, char to)
{
	enum token kind = plain_token(from);

	return (kind == TOKEN_DIGIT || kind == TOKEN_HEX) && plain_token(to) == kind;
}

/* p is behind the [ of a class, which ends with the first ] that is neither first nor escaped. */
static enum token class_token(const char **p)
{
	bool seen[TOKEN_OTHER + 1] = {false};
	const char *s = *p;
	char from = '\0'; /* what a range would begin with */

	if (*s == '^') {
		seen[TOKEN_OTHER] = true; /* all but a few: letters among them */
		s++;
	}
	for (const char *first = s; *s && (*s != ']' || s == first);) {
		const char *posix = s[0] == '[' && s[1] == ':' ? strstr(s, ":]") : NULL;

		if (posix) {
			seen[TOKEN_OTHER] = true;
			s = posix + 2;
		} else if (*s == '\\') {
			s++;
			seen[escape_token(&s)] = true;
			from = '\0';
		} else if (*s == '-' && range_is_plain(from, s[1])) {
			s += 2;
			from = '\0';
		} else {
			from = *s++;
			seen[plain_token(from)] = true;
		}
	}
	*p = *s ? s + 1 : s;
	if (seen[TOKEN_OTHER] || seen[TOKEN_CAPITAL] || seen[TOKEN_START] || seen[TOKEN_END])
		return TOKEN_OTHER;
	if (seen[TOKEN_COLON])
		return TOKEN_COLON;
	if (seen[TOKEN_HEX])
		return TOKEN_HEX;
	return seen[TOKEN_DIGIT] ? TOKEN_DIGIT : TOKEN_DOT;
}

/* p is behind a (. */
static enum token group_token(const char **p)
{
	const char *s = *p;
	size_t flags;

	if (*s == '*') { /* a verb, (*ANYCRLF) */
		*p = s + strcspn(s, ")");
		*p += **p != '\0';
		return TOKEN_OTHER;
	}
	if (*s != '?')
		return TOKEN_OPEN;
	flags = strspn(++s, "^-adilmnpsux");
	if (s[flags] == ')') {
		*p = s + flags + 1;
		return TOKEN_FLAGS;
	}
	if (*s == '#') { /* a comment */
		*p = s + strcspn(s, ")");
		*p += **p != '\0';
		return TOKEN_OTHER;
	}
	*p = s + flags + (s[flags] != '\0');
	return *s == ':' ? TOKEN_OPEN : TOKEN_SPECIAL;
}

/* p is behind a {: "{2}", "{2,}" and "{2,3}" repeat, all else is text. */
static enum token brace_token(const char **p)
{
	size_t length = strspn(*p, "0123456789,");

	if ((*p)[length] != '}')
		return TOKEN_OTHER;
	*p += length + 1;
	return TOKEN_REPEAT;
}

static enum token next_token(const char **p)
{
	char c = **p;

	if (!c)
		return TOKEN_FINISH;
	++*p;
	switch (c) {
	case '^':
		return TOKEN_START;
	case '$':
		return TOKEN_END;
	case '*':
	case '+':
	case '?':
		return TOKEN_REPEAT;
	case '{':
		return brace_token(p);
	case '(':
		return group_token(p);
	case ')':
		return TOKEN_CLOSE;
	case '|':
		return TOKEN_OR;
	case '[':
		return class_token(p);
	case '\\':
		return escape_token(p);
	default:
		return plain_token(c);
	}
}

static int token_depth(enum token token)
{
	if (token == TOKEN_OPEN || token == TOKEN_SPECIAL)
		return 1;
	return token == TOKEN_CLOSE ? -1 : 0;
}

/* Where mask_needs_name() stands. */
struct name_scan {
	bool address;     /* this alternative held a digit or a colon */
	bool word;        /* inside a run of hexadecimal digits */
	bool word_letter; /* with a letter among them */
	bool word_colon;  /* that began behind a colon */
	bool after_colon;
};

/* One token further. False: the pattern is not about addresses only. */
static bool name_scan_token(struct name_scan *scan, enum token token)
{
	bool fits = true;

	switch (token) {
	case TOKEN_REPEAT:
		return true; /* belongs to the token before it */
	case TOKEN_DIGIT:
	case TOKEN_HEX:
		if (!scan->word)
			*scan = (struct name_scan){.word = true, .word_colon = scan->after_colon};
		scan->word_letter |= token == TOKEN_HEX;
		scan->address = true;
		return true;
	case TOKEN_COLON:
		*scan = (struct name_scan){.address = true, .after_colon = true};
		return true;
	case TOKEN_OTHER:
	case TOKEN_CAPITAL:
	case TOKEN_FLAGS:
	case TOKEN_SPECIAL:
		return false;
	default: /* letters in a word without a colon at either end: "cafe", a name */
		fits = !scan->word_letter || scan->word_colon;
		*scan = (struct name_scan){.address = scan->address};
		return fits;
	}
}

bool mask_needs_name(const char *pattern)
{
	struct name_scan scan = {0};
	enum token token;
	int depth = 0;

	do {
		token = next_token(&pattern);
		depth += token_depth(token);
		if (!name_scan_token(&scan, token))
			return true;
		if (token == TOKEN_FINISH || (token == TOKEN_OR && depth <= 0)) {
			if (!scan.address)
				return true;
			scan.address = false;
		}
	} while (token != TOKEN_FINISH);
	return false;
}

/* Does every alternative begin with ^ and end with $? "^a|b$" does not. */
bool mask_anchored(const char *pattern)
{
	enum token token, last = TOKEN_FINISH; /* FINISH: at the start of an alternative */
	int depth = 0;

	for (;;) {
		token = next_token(&pattern);
		depth += token_depth(token);
		if (token == TOKEN_FINISH || (token == TOKEN_OR && depth <= 0)) {
			if (last != TOKEN_END)
				return false;
			if (token == TOKEN_FINISH)
				return true;
			last = TOKEN_FINISH;
			continue;
		}
		if (token == TOKEN_FLAGS && last == TOKEN_FINISH)
			continue;
		if (last == TOKEN_FINISH && token != TOKEN_START)
			return false;
		if (last == TOKEN_START && token == TOKEN_REPEAT)
			return false; /* "^?" */
		last = token;
	}
}

/* A capital outside a class, which no lower case name can match; flags might change that. */
bool mask_has_capitals(const char *pattern)
{
	enum token token;
	bool found = false;

	while ((token = next_token(&pattern)) != TOKEN_FINISH) {
		if (token == TOKEN_FLAGS || token == TOKEN_SPECIAL)
			return false;
		found |= token == TOKEN_CAPITAL;
	}
	return found;
}

/* ---------------------------------------------------------------------------------- compiling */

int mask_compile(struct test *test, const char *text, struct err *err)
{
	PCRE2_UCHAR words[256];
	PCRE2_SIZE offset;
	pcre2_code *code;
	int rc;

	if (strlen(text) > MASK_PATTERN_MAX)
		return err_set(err, -EINVAL, "mask: the pattern is longer than %d bytes",
			       MASK_PATTERN_MAX);
	code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
			     PCRE2_NEVER_UTF | PCRE2_NEVER_UCP, &rc, &offset, NULL);
	if (!code && rc == PCRE2_ERROR_HEAP_FAILED)
		return err_set(err, -ENOMEM, "out of memory");
	if (!code) {
		pcre2_get_error_message(rc, words, sizeof words);
		return err_set(err, -EINVAL, "mask %.200s: at offset %zu: %s", text, offset,
			       (const char *)words);
	}
	/* Without JIT, or when it may not map memory that runs, the interpreter does the same. */
	(void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
	test->text = text;
	test->code = code;
	test->needs_name = mask_needs_name(text);
	return 0;
}

/* ----------------------------------------------------------------------------------- matching */

/* Throw out what is no host name. Whatever is thrown out leaves doubt about the whole. */
static void names_clean(struct check *check)
{
	struct strlist *names = &check->names;
	size_t kept = 0;

	for (size_t i = 0; i < names->count; i++) {
		char *name = names->items[i];

		names->items[i] = NULL;
		if (kept < ACCESS_NAMES_MAX && access_name_clean(name)) {
			names->items[kept++] = name;
		} else {
			free(name);
			check->name_unknown = true;
		}
	}
	names->count = kept;
	if (kept == 0)
		check->name_unknown = true;
}

void mask_find_names(struct check *check)
{
	const struct access_resolver *resolver = check->resolver;
	int rc;

	check->wanted = false;
	check->asked = true;
	if (check->peer.family == AF_UNIX) { /* as in the original */
		rc = strlist_add(&check->names, "localhost");
		rc = rc < 0 ? rc : 1;
	} else if (resolver) {
		rc = resolver->names(resolver->arg, &check->peer, clock_deadline(ACCESS_NAMES_MS),
				     &check->names);
	} else {
		rc = -ENOSYS;
	}
	if (rc <= 0) {
		check->name_error = rc;
		strlist_finish(&check->names);
	}
	names_clean(check);
}

/* test: the one that met; NULL: none did. */
static void say(struct check *check, enum reason_kind kind, const struct tests *masks,
		const struct test *test, const char *value)
{
	if (!test && masks->count == 1)
		test = &masks->items[0];
	check->reason = (struct reason){
	    .kind = kind,
	    .key = "mask",
	    .text = test ? test->text : NULL,
	    .count = masks->count,
	    .value = value,
	};
}

/* Search one text. PCRE2's reason for doubt goes to *code. */
static enum meets search(const struct test *test, struct check *check, const char *text, int *code)
{
	int rc = PCRE2_ERROR_NOMEMORY;

	if (!check->scratch && !check->scarce) {
		check->scratch = pcre2_match_data_create(1, NULL);
		check->scarce = !check->scratch; /* doubt stays doubt */
	}
	if (check->scratch)
		rc = pcre2_match(test->code, (PCRE2_SPTR)text, strlen(text), 0, 0, check->scratch,
				 check->limits);
	if (rc >= 0)
		return MEETS_YES;
	if (rc == PCRE2_ERROR_NOMATCH)
		return MEETS_NO;
	*code = rc;
	return MEETS_DOUBT;
}

/* Every mask against one text; those about addresses only do not look at names. */
static bool search_all(const struct tests *masks, struct check *check, const char *text,
		       bool is_name, int *code)
{
	for (size_t i = 0; i < masks->count; i++) {
		const struct test *test = &masks->items[i];

		if (is_name && !test->needs_name)
			continue;
		if (search(test, check, text, code) == MEETS_YES) {
			say(check, is_name ? REASON_NAME_MATCHES : REASON_ADDRESS_MATCHES, masks,
			    test, text);
			return true;
		}
	}
	return false;
}

static bool names_count(const struct tests *masks)
{
	for (size_t i = 0; i < masks->count; i++)
		if (masks->items[i].needs_name)
			return true;
	return false;
}

enum meets mask_meets(const struct tests *masks, struct check *check)
{
	bool by_name = names_count(masks);
	int code = 0;

	if (search_all(masks, check, check->address, false, &code))
		return MEETS_YES;
	if (by_name && !check->asked) {
		check->wanted = true;
		return MEETS_DOUBT;
	}
	if (by_name) {
		for (size_t i = 0; i < check->names.count; i++)
			if (search_all(masks, check, check->names.items[i], true, &code)) {
				check->name = check->names.items[i];
				return MEETS_YES;
			}
	}
	if (code) {
		say(check, REASON_MATCH_FAILED, masks, NULL, NULL);
		check->reason.number = code;
		return MEETS_DOUBT;
	}
	if (by_name && check->name_unknown) {
		say(check, REASON_NAME_UNKNOWN, masks, NULL, NULL);
		check->reason.number = check->name_error;
		return MEETS_DOUBT;
	}
	if (by_name)
		say(check, REASON_NAME_DIFFERS, masks, NULL, check->names.items[0]);
	else
		say(check, REASON_ADDRESS_DIFFERS, masks, NULL, check->address);
	return MEETS_NO;
}
