/*
 * rule.h - what the files of this folder share: compiled rules, one decision at work, and the words
 * for why a rule was met or not. Nobody outside includes it but tests.
 */
#ifndef ACCESS_RULE_H
#define ACCESS_RULE_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "access/access.h"

/*
 * What one match may cost: far beyond what any sensible mask needs on 255 bytes, and still
 * milliseconds. Past it the match is in doubt.
 */
#define MASK_PATTERN_MAX 4096 /* bytes of a mask's text */
#define MASK_MATCH_LIMIT 100000
#define MASK_DEPTH_LIMIT 10000
#define MASK_HEAP_KIB 1024

#define ACCESS_NAMES_MAX 32 /* names of one address that are looked at */

/* The keys that restrict a rule, in the order they are tried: the cheap ones first. */
enum rule_key { RULE_NET, RULE_UID, RULE_GID, RULE_MASK, RULE_KEYS };

enum meets {
	MEETS_NO,
	MEETS_YES,
	MEETS_DOUBT, /* cannot be told: never allows, is met when the rule denies */
};

/* One compiled mask, network or id. */
struct test {
	const char *text; /* as written; lives in access->clients */
	pcre2_code *code; /* RULE_MASK */
	bool needs_name;  /* RULE_MASK: names count too, not only the address */
	struct access_net net;
	int64_t id;
};

/* All values of one key: any of them is enough. */
struct tests {
	bool given; /* the key restricts this rule, even when items is empty */
	struct test *items;
	size_t count;
};

struct rule {
	int number; /* from 1 */
	bool accept;
	const struct value *map; /* the rule as written; lives in access->clients */
	struct tests tests[RULE_KEYS];
};

struct access {
	bool open;             /* no rules at all: everybody may */
	char *origin;          /* what positions begin with */
	struct value *clients; /* our copy of the rules as written; NULL when open */
	struct rule *rules;
	size_t count;
	pcre2_match_context *limits; /* read only once it is set up: shared by all threads */
};

/* Why a rule was met or not, kept cheap: words are made only for those who ask. */
enum reason_kind {
	REASON_ALL, /* nothing restricts the rule */
	REASON_ADDRESS_MATCHES,
	REASON_NAME_MATCHES,
	REASON_ADDRESS_DIFFERS, /* and no name was asked for */
	REASON_NAME_DIFFERS,
	REASON_NAME_UNKNOWN,
	REASON_MATCH_FAILED, /* PCRE2 gave up */
	REASON_INSIDE,
	REASON_OUTSIDE,
	REASON_ID_MATCHES,
	REASON_ID_DIFFERS,
	REASON_ID_UNKNOWN,
	REASON_NOT_UNIX,
};

struct reason {
	enum reason_kind kind;
	const char *key;  /* "mask"; NULL for REASON_ALL */
	const char *text; /* the value that met, or the only one there is; NULL: count values */
	size_t count;
	const char *value; /* the peer's side: an address, a name; NULL: number */
	long long number;  /* the peer's side: an id, or an error number */
};

/* One decision at work. */
struct check {
	struct access_peer peer; /* v4-mapped v6 is v4 here */
	const struct access_resolver *resolver;
	pcre2_match_context *limits;
	pcre2_match_data *scratch; /* NULL: no mask was tried yet, or memory ran out */
	char address[ACCESS_TEXT_MAX];
	bool asked;           /* names were looked for: once per check */
	bool name_unknown;    /* asked, and the names are none or not all */
	int name_error;       /* -errno of the look-up; 0: there was no confirmed name */
	struct strlist names; /* confirmed, lower case */
	const char *name;     /* the one that a mask matched; NULL: none did */
	struct reason reason; /* of the rule tried last */
};

/* What a rule's compilation needs to know about where it comes from. */
struct rule_source {
	const char *origin;
	const struct value_warn *warn; /* NULL: nobody listens */
	struct err *err;
};

/* mask.c: one pattern. text is borrowed. 0, -ENOMEM, or -EINVAL with PCRE2's words in err. */
int mask_compile(struct test *test, const char *text, struct err *err);
/* What a mask's text tells without matching. */
bool mask_needs_name(const char *pattern);
bool mask_anchored(const char *pattern);
bool mask_has_capitals(const char *pattern);
/* Any of the masks against the address, then against the names. Fills check->reason. */
enum meets mask_meets(const struct tests *masks, struct check *check);

/* rule.c: map is borrowed. 0, -ENOMEM or -EINVAL; rule_finish() is due in each case. */
int rule_compile(struct rule *rule, const struct value *map, int number,
		 const struct rule_source *source);
void rule_finish(struct rule *rule);
enum meets rule_meets(const struct rule *rule, struct check *check);
/* What a kind of value is called in messages: "a map". */
const char *rule_kind_name(const struct value *value);

/* explain.c: " mask ^10\.", or "" when nothing restricts the rule. */
void reason_head(const struct reason *reason, char *out, size_t size);
/* "address 10.0.0.1 matches" */
void reason_words(const struct reason *reason, char *out, size_t size);

/* access.c: access_check() with an ear for every rule that is tried. tried may be NULL. */
void access_decide(const struct access *access, const struct access_peer *peer,
		   const struct access_resolver *resolver, struct access_verdict *verdict,
		   void (*tried)(void *arg, const struct rule *rule, enum meets meets,
				 const struct reason *reason),
		   void *arg);

/* net.c: give a v4-mapped v6 address as v4. */
void access_peer_unmap(struct access_peer *peer);

/*
 * resolver.c: make a host name fit for comparing: lower case, no dot at the end. False for what is
 * no host name: over 255 bytes, other than letters, digits, hyphen, dot and underscore, empty
 * labels, a hyphen at the start, or one that reads as a number or an address.
 */
bool access_name_clean(char *name);

#endif
