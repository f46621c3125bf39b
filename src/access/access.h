/*
 * access.h - who may connect. Rules are read once into a form that only needs matching; a check
 * reads nothing but its arguments, and asks the resolver only when a rule needs a name.
 *
 * Rules have four fronts and are asked in this order: --deny, --allow, the list `clients`, the
 * rules file. The first rule that matches decides; within the file the most specific line. No
 * rules: open. Any rules: denied by default. Doubt (an unknown name, an unreadable file, memory)
 * never allows and meets deny rules.
 */
#ifndef ACCESS_ACCESS_H
#define ACCESS_ACCESS_H

#include "base/base.h"
#include "conf/value.h"

#include <sys/types.h>

struct access;
struct lines; /* a rules file as it was at one time */

/* Who is at the other end. */
struct access_peer {
	int family;       /* AF_INET, AF_INET6, AF_UNIX; v4-mapped v6 is given as AF_INET */
	uint8_t addr[16]; /* 4 or 16 bytes, network order */
	int64_t uid, gid; /* AF_UNIX; -1: unknown */
};

/*
 * Names of an address, forward-confirmed (each name's addresses hold the address). Behind one
 * function so that tests can lie. Returns how many names were put into *names (0: none is
 * confirmed), or -errno: -ETIMEDOUT, -EAGAIN (try later) ...: the name is unknown.
 */
struct access_resolver {
	int (*names)(void *arg, const struct access_peer *peer, int64_t deadline,
		     struct strlist *names);
	void *arg;
};

#define ACCESS_NAMES_MS 5000 /* all look-ups of one check together (security rule 12) */

/* The system's resolver: getnameinfo and getaddrinfo on a helper thread, within the deadline. */
extern const struct access_resolver access_system_resolver;

struct access_verdict {
	bool allowed;
	bool unusable;            /* the rules file is: that is told elsewhere */
	int rule;                 /* number of the rule that decided, from 1; 0: none matched */
	const struct value *keys; /* the rule's map (all keys); NULL: none; lives with access */
	const struct value *env;  /* its variables, a map; NULL: none; lives with access or lines */
	char name[256];           /* the confirmed name that was matched or found; "" : none */
	bool name_unknown;        /* a rule needed a name and none could be had */
	char why[512];            /* words for --explain and the log */
};

/*
 * Compile rules. clients: NULL (open) or a list of maps with the keys
 *   mask    a Perl regular expression or a list of them, against numeric address and names;
 *           undef, "" and "0" match all, as in the original
 *   net     CIDR or a list: "192.0.2.0/24", "2001:db8::/32", "192.0.2.7"; strict (rule 11)
 *   uid gid number or name, or a list: Unix sockets only
 *   accept  true lets in; default false
 * Several of mask, net, uid, gid in a rule must all match. Any further key is kept for the handler.
 * origin: what messages begin with ("/etc/x.conf"). warn is told of unanchored masks.
 * Returns 0 and *out, or -EINVAL ("origin:line:col: ..."), -ENOMEM.
 */
int access_new(struct access **out, const struct value *clients, const char *origin,
	       const struct value_warn *warn, struct err *err);

/* All that access rules can come from. */
struct access_fronts {
	const struct value *clients; /* as for access_new() */
	const char *origin;          /* likewise */
	/* Arguments of --deny and --allow: an address, a network, a host name, .DOMAIN, unix,
	 * uid=USER, gid=GROUP, mask=REGEX, all. NULL: none. */
	const struct strlist *deny, *allow;
	const char *deny_label, *allow_label; /* what messages call them: "--deny" */
	const char *rules;                    /* the rules file; NULL: none */
	uid_t rules_owner;                    /* who may own it, beside root */
	const char *rules_label;              /* "--rules" */
};

/*
 * The same from all fronts. Rules are numbered through, in the order in which they are asked; a
 * line of the file has the number of its line, after all others. warn is told line 0 of what comes
 * from other fronts than clients: its words are complete. A --deny alone is an error: it would
 * refuse everybody. Returns as access_new(), or -errno of reading the file.
 */
int access_open(struct access **out, const struct access_fronts *fronts,
		const struct value_warn *warn, struct err *err);

/* Takes NULL, returns NULL. */
struct access *access_free(struct access *access);

/* How many rules, those of the file not counted; -1 when there are none at all (open). */
int access_count(const struct access *access);

/* "2 rules allow", "1 --deny, 2 --allow, 12 lines of /etc/x.rules allow". 0, or as buf_addf(). */
int access_describe(const struct access *access, struct buf *out);

/*
 * The rules file may have changed: read it anew if so. In the one thread that accepts, before
 * access_hold(). Returns 0, or with words for the log: 1 it was read again, -errno it cannot be
 * used (said now and then), and until it can, everybody is denied.
 */
int access_refresh(const struct access *access, struct err *words);

/* The rules file moved: privileges are dropped, and this is its path below the new root. */
int access_move_rules(const struct access *access, const char *path);

/* What the file says now, for one connection that was just accepted; a reference is the caller's.
 * NULL: there is no file, or no memory. Same thread. */
struct lines *access_hold(const struct access *access);

/* Give the reference back; any thread. Takes NULL, returns NULL. */
struct lines *access_release(struct lines *lines);

/* Decide. Never fails: doubt is a denial. verdict is filled completely. In the thread that accepts:
 * by the file as it was read last. */
void access_check(const struct access *access, const struct access_peer *peer,
		  const struct access_resolver *resolver, struct access_verdict *verdict);

/* The same without the words why somebody was let in, which take longer than the decision; and by
 * the lines that the connection holds. */
void access_admit(const struct access *access, const struct lines *lines,
		  const struct access_peer *peer, const struct access_resolver *resolver,
		  struct access_verdict *verdict);

/*
 * For --explain: address is "192.0.2.7", "2001:db8::7", "unix", "unix:uid=1000,gid=100". Appends
 * lines for people: each rule tried, whether it met and why, the verdict. Returns 1 allowed,
 * 0 denied, -EINVAL with err for an address it cannot read.
 */
int access_explain(const struct access *access, const char *address,
		   const struct access_resolver *resolver, struct buf *out, struct err *err);

/* Strict CIDR. Exposed for tests and fuzzing. bits: prefix length. 0 or -EINVAL with err. */
struct access_net {
	int family;
	uint8_t addr[16];
	int bits;
};
int access_net_parse(struct access_net *out, const char *text, struct err *err);
bool access_net_has(const struct access_net *net, const struct access_peer *peer);

/* From a socket address, v4-mapped v6 as v4; family 0 when it is neither inet nor unix. */
struct sockaddr_storage;
void access_peer_from(struct access_peer *peer, const struct sockaddr_storage *address);

/* Give a v4-mapped v6 address as v4. */
void access_peer_unmap(struct access_peer *peer);

/* An address without the bits past a prefix of so many. */
void access_address_cut(uint8_t out[16], const uint8_t addr[16], int bits);

/* Numeric text of a peer's address; "127.0.0.1" for AF_UNIX, as in the original. */
#define ACCESS_TEXT_MAX 46
void access_peer_text(const struct access_peer *peer, char out[ACCESS_TEXT_MAX]);

/*
 * Make a host name fit for comparing: lower case, no dot at the end. False for what is no host
 * name: over 255 bytes, other than letters, digits, hyphen, dot and underscore, empty labels, a
 * hyphen at the start, or one that reads as a number or an address.
 */
bool access_name_clean(char *name);

#endif
