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
enum rule_key { RULE_NET, RULE_UID, RULE_GID, RULE_UNIX, RULE_MASK, RULE_NAME, RULE_KEYS };

/* Where a rule comes from, in the order they are asked. */
enum front { FRONT_DENY, FRONT_ALLOW, FRONT_CLIENTS, FRONTS };

enum meets {
	MEETS_NO,
	MEETS_YES,
	MEETS_DOUBT, /* cannot be told: never allows, is met when the rule denies */
};

/* One compiled mask, network or id. */
struct test {
	const char *text; /* as written; lives in access->clients or access->texts */
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
	enum front front;
	int place;  /* within its front, from 1 */
	int number; /* over all fronts, from 1 */
	bool accept;
	const struct value *map; /* FRONT_CLIENTS: as written; lives in access->clients */
	const struct value *env; /* its variables, a map of scalars; NULL: none */
	struct tests tests[RULE_KEYS];
};

struct access {
	bool open;             /* no rules at all: everybody may */
	char *origin;          /* what positions begin with */
	struct value *clients; /* our copy of the rules as written; NULL: none */
	struct strlist texts;  /* of --deny and --allow */
	char *labels[FRONTS];  /* what --deny and --allow are called: "--deny" */
	struct rule *rules;    /* of all fronts but the file */
	size_t count;
	size_t counts[FRONTS];
	struct rulefile *file;       /* --rules; NULL: none */
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
	REASON_IS_UNIX,
	REASON_NAME_OTHER,
	REASON_NO_LINE,
};

struct reason {
	enum reason_kind kind;
	const char *key;  /* "mask"; "" for lines of a file; NULL for REASON_ALL */
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
	bool scarce;               /* it ran out */
	char address[ACCESS_TEXT_MAX];
	bool wanted;          /* a rule needs names: mask_find_names(), then from the start */
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
/* Ask for the peer's names; waits. */
void mask_find_names(struct check *check);
/* Any of the masks against the address, then against the names. Fills check->reason. When names are
 * needed and nobody has asked yet, check->wanted is set, and the answer is none. */
enum meets mask_meets(const struct tests *masks, struct check *check);

/* name.c: one host name, or ".example.org" for all below it, against the confirmed names. text is
 * borrowed and must be clean. */
int name_compile(struct test *test, const char *text, struct err *err);
enum meets name_meets(const struct tests *names, struct check *check);

/* rule.c: map is borrowed; rule->place is set. 0, -ENOMEM or -EINVAL; rule_finish() is due in each
 * case. */
int rule_compile(struct rule *rule, const struct value *map, const struct rule_source *source);
/* A rule with one value under one key; text NULL: the key alone. Likewise. */
int rule_compile_one(struct rule *rule, enum rule_key key, const char *text, struct err *err);
void rule_finish(struct rule *rule);
enum meets rule_meets(const struct rule *rule, struct check *check);
/* Warn of a mask that means more or less than its author may think; prefix: "clients rule 3: ". */
void rule_warn_of_mask(const struct rule_source *source, int line, int column, const char *prefix,
		       const char *mask);

/* who.c: an argument of --allow or --deny, rule->place and so on are set. text is borrowed and may
 * be changed. Returns as rule_compile(). */
int who_compile(struct rule *rule, char *text, struct err *err);
bool who_is_mask(const char *text);

/* lines.c: letters, digits and _, no digit first. */
bool rule_env_name(const char *name);
/* What a kind of value is called in messages: "a map". */
const char *rule_kind_name(const struct value *value);

/* explain.c: " mask ^10\.", or "" when nothing restricts the rule. */
void reason_head(const struct reason *reason, char *out, size_t size);
/* "address 10.0.0.1 matches" */
void reason_words(const struct reason *reason, char *out, size_t size);

/* access.c: what a rule is called: "rule 2 (x.conf:3:7)", "--deny #1". */
void rule_where(const struct access *access, const struct rule *rule, char *out, size_t size);
#define RULE_WHERE_BYTES 160

/* Told of every rule that is tried. where: as above, or of a file "x.rules:3". */
typedef void access_tried(void *arg, const char *where, bool accept, enum meets meets,
			  const struct reason *reason);

/* access.c: access_check() with an ear for every rule that is tried. tried may be NULL. */
void access_decide(const struct access *access, const struct access_peer *peer,
		   const struct access_resolver *resolver, struct access_verdict *verdict,
		   access_tried *tried, void *arg);

#endif
