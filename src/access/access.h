/*
 * access.h - who may connect. Rules are read once into a form that only needs matching; a check
 * reads nothing but its arguments, and asks the resolver only when a rule needs a name.
 *
 * Left to right, the first rule that matches decides. No rules: open. Any rules: denied by default.
 * Doubt (an unknown name, an unreadable rule, memory) never allows and meets deny rules.
 */
#ifndef ACCESS_ACCESS_H
#define ACCESS_ACCESS_H

#include "base/base.h"
#include "conf/value.h"

struct access;

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
	int rule;                 /* number of the rule that decided, from 1; 0: none matched */
	const struct value *keys; /* the rule's map (all keys); NULL: none; lives with access */
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

/* Takes NULL, returns NULL. */
struct access *access_free(struct access *access);

/* How many rules; -1 when there are none at all (open). */
int access_count(const struct access *access);

/* Decide. Never fails: doubt is a denial. Thread-safe. verdict is filled completely. */
void access_check(const struct access *access, const struct access_peer *peer,
		  const struct access_resolver *resolver, struct access_verdict *verdict);

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

/* Numeric text of a peer's address; "127.0.0.1" for AF_UNIX, as in the original. */
#define ACCESS_TEXT_MAX 46
void access_peer_text(const struct access_peer *peer, char out[ACCESS_TEXT_MAX]);

#endif
