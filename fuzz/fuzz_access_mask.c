/*
 * fuzz_access_mask.c - access rules against a naive oracle: rules from left to right, the first
 * that is met decides, denied when none is; what cannot be told never allows and meets a rule that
 * denies (security rules 10 and 12). The oracle reads the tree anew for each decision, compiles
 * each mask anew, and knows nothing of the compiled form. The input is the rules, a NUL, and the
 * peer: a byte for the kind, 16 of address, then names, each ended by a newline.
 */
#include "access/rule.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the input says about the peer. */
struct world {
	struct access_peer peer;
	char text[ACCESS_TEXT_MAX];
	struct strlist dns;   /* what the resolver says */
	struct strlist names; /* those of them that are host names */
	bool unknown;
	int asked;
};

static void holds(bool condition)
{
	if (!condition)
		abort();
}

/* ------------------------------------------------------------------------------- the naive oracle
 */

static enum meets naive_search(const char *mask, const char *text)
{
	pcre2_match_context *limits = pcre2_match_context_create(NULL);
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	PCRE2_SIZE offset;
	int rc;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)mask, strlen(mask),
					 PCRE2_NEVER_UTF | PCRE2_NEVER_UCP, &rc, &offset, NULL);

	holds(code && limits && data);
	pcre2_set_match_limit(limits, MASK_MATCH_LIMIT);
	pcre2_set_depth_limit(limits, MASK_DEPTH_LIMIT);
	pcre2_set_heap_limit(limits, MASK_HEAP_KIB);
	pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* its limits count otherwise */
	rc = pcre2_match(code, (PCRE2_SPTR)text, strlen(text), 0, 0, data, limits);
	pcre2_code_free(code);
	pcre2_match_data_free(data);
	pcre2_match_context_free(limits);
	return rc >= 0 ? MEETS_YES : rc == PCRE2_ERROR_NOMATCH ? MEETS_NO : MEETS_DOUBT;
}

static enum meets naive_mask(const char *mask, struct world *world)
{
	enum meets meets = naive_search(mask, world->text);
	bool doubt = meets == MEETS_DOUBT;

	if (meets == MEETS_YES || !mask_needs_name(mask))
		return meets;
	for (size_t i = 0; i < world->names.count; i++) {
		meets = naive_search(mask, world->names.items[i]);
		if (meets == MEETS_YES)
			return meets;
		doubt |= meets == MEETS_DOUBT;
	}
	return doubt || world->unknown ? MEETS_DOUBT : MEETS_NO;
}

static enum meets naive_net(const char *text, struct world *world)
{
	struct access_net net;

	holds(access_net_parse(&net, text, NULL) == 0);
	if (net.family != world->peer.family)
		return MEETS_NO;
	for (int i = 0; i < net.bits; i++)
		if ((net.addr[i / 8] ^ world->peer.addr[i / 8]) & 0x80 >> i % 8)
			return MEETS_NO;
	return MEETS_YES;
}

static enum meets naive_id(int64_t wanted, int64_t found, struct world *world)
{
	if (world->peer.family != AF_UNIX)
		return MEETS_NO;
	if (found < 0)
		return MEETS_DOUBT;
	return wanted == found ? MEETS_YES : MEETS_NO;
}

static enum meets naive_uid(const char *text, struct world *world)
{
	const struct passwd *entry = getpwnam(text);

	return naive_id(entry ? entry->pw_uid : atoll(text), world->peer.uid, world);
}

static enum meets naive_gid(const char *text, struct world *world)
{
	const struct group *entry = getgrnam(text);

	return naive_id(entry ? entry->gr_gid : atoll(text), world->peer.gid, world);
}

/* Any value of a key is enough. */
static enum meets naive_key(const struct value *value, struct world *world,
			    enum meets (*one)(const char *text, struct world *world))
{
	enum meets all = MEETS_NO;

	if (value->kind == VALUE_SCALAR)
		return one(value->text, world);
	for (size_t i = 0; i < value->count; i++) {
		enum meets meets = one(value->items[i]->text, world);

		if (meets == MEETS_YES)
			return MEETS_YES;
		if (meets == MEETS_DOUBT)
			all = MEETS_DOUBT;
	}
	return all;
}

/* All keys must be met. */
static enum meets naive_rule(const struct value *rule, struct world *world)
{
	static const struct {
		const char *name;
		enum meets (*one)(const char *text, struct world *world);
	} keys[] = {
	    {"mask", naive_mask}, {"net", naive_net}, {"uid", naive_uid}, {"gid", naive_gid}};
	enum meets all = MEETS_YES;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const struct value *value = value_get(rule, keys[i].name);
		enum meets meets;

		if (!value || (i == 0 && value->kind != VALUE_LIST && !value_true(value) &&
			       (value->kind == VALUE_UNDEF || strlen(value->text) < 2)))
			continue;
		meets = naive_key(value, world, keys[i].one);
		if (meets == MEETS_NO)
			return MEETS_NO;
		if (meets == MEETS_DOUBT)
			all = MEETS_DOUBT;
	}
	return all;
}

/* The number of the rule that decides; 0: none. */
static int naive_decide(const struct value *rules, struct world *world, bool *allowed)
{
	*allowed = false;
	for (size_t i = 0; i < rules->count; i++) {
		const struct value *accept = value_get(rules->items[i], "accept");
		bool yes = accept && value_true(accept);
		enum meets meets = naive_rule(rules->items[i], world);

		if (meets == MEETS_YES || (meets == MEETS_DOUBT && !yes)) {
			*allowed = yes;
			return (int)i + 1;
		}
	}
	return 0;
}

/* --------------------------------------------------------------------------------------- the world
 */

static int say_names(void *arg, const struct access_peer *peer, int64_t deadline,
		     struct strlist *names)
{
	struct world *world = arg;

	(void)deadline;
	holds(peer->family == AF_INET || peer->family == AF_INET6);
	world->asked++;
	for (size_t i = 0; i < world->dns.count; i++)
		holds(strlist_add(names, world->dns.items[i]) == 0);
	return (int)world->dns.count;
}

/* The names as they should be seen. */
static void sort_names(struct world *world)
{
	const struct strlist *dns = &world->dns;

	if (world->peer.family == AF_UNIX) {
		holds(strlist_add(&world->names, "localhost") == 0);
		return;
	}
	for (size_t i = 0; i < dns->count; i++) {
		char *name = strdup(dns->items[i]);

		holds(name != NULL);
		if (world->names.count < ACCESS_NAMES_MAX && access_name_clean(name))
			holds(strlist_add(&world->names, name) == 0);
		else
			world->unknown = true;
		free(name);
	}
	if (world->names.count == 0)
		world->unknown = true;
}

static void make_world(struct world *world, const uint8_t *data, size_t size)
{
	static const int families[] = {AF_INET, AF_INET6, AF_UNIX, AF_UNIX};
	size_t kind = size > 0 ? data[0] % 4 : 0;

	*world = (struct world){.peer = {.uid = -1, .gid = -1}};
	world->peer.family = families[kind];
	if (size >= 17 && kind < 2)
		memcpy(world->peer.addr, data + 1, kind == 0 ? 4 : 16);
	if (size >= 17 && kind == 3) {
		world->peer.uid = data[1];
		world->peer.gid = data[2];
	}
	access_peer_unmap(&world->peer);
	access_peer_text(&world->peer, world->text);
	for (size_t i = 17; i < size;) {
		const uint8_t *end = memchr(data + i, '\n', size - i);
		size_t length = end ? (size_t)(end - data) - i : size - i;

		holds(strlist_addf(&world->dns, "%.*s", (int)length, (const char *)data + i) == 0);
		i += length + 1;
	}
	sort_names(world);
}

static void explain(const struct access *access, struct world *world,
		    const struct access_verdict *verdict)
{
	const struct access_resolver resolver = {.names = say_names, .arg = world};
	struct buf out;
	int rc;

	if (world->peer.family == AF_UNIX)
		return; /* its ids would have to be written down first */
	buf_init(&out, 16u << 20);
	rc = access_explain(access, world->text, &resolver, &out, NULL);
	holds(rc == verdict->allowed && buf_text(&out)[out.len - 1] == '\n');
	buf_finish(&out);
}

static void compare(const struct access *access, const struct value *rules, struct world *world)
{
	const struct access_resolver resolver = {.names = say_names, .arg = world};
	struct access_verdict verdict;
	bool allowed;
	int rule = naive_decide(rules, world, &allowed);

	access_check(access, &world->peer, &resolver, &verdict);
	holds(verdict.allowed == allowed && verdict.rule == rule);
	holds((rule > 0) == (verdict.keys != NULL));
	holds(world->asked <= 1 && *verdict.why);
	explain(access, world, &verdict);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\0', size);
	size_t length = end ? (size_t)(end - data) : size;
	struct access *access = NULL;
	struct value *rules = NULL;
	struct world world;
	struct err err = {0};
	int rc;

	if (value_read_perl(&rules, (const char *)data, length, NULL, NULL) < 0)
		return 0;
	rc = access_new(&access, rules, "fuzz", NULL, &err);
	if (rc < 0) {
		holds(rc == -EINVAL && err.code == rc && !access);
		holds(strncmp(err.text, "fuzz:", 5) == 0);
	} else {
		end = end ? end + 1 : data + size;
		make_world(&world, end, (size_t)(data + size - end));
		holds(access_count(access) == (int)rules->count);
		compare(access, rules, &world);
		strlist_finish(&world.dns);
		strlist_finish(&world.names);
	}
	access_free(access);
	value_free(rules);
	return 0;
}
