/*
 * access.c - the list of rules: compile it, ask it.
 *
 * Happy path: access_new() copies the rules and compiles them; access_check() walks them from left
 * to right until one is met. No rules: open. Rules, and none met: denied.
 * Failure: a list that is not understood is never half used: access_new() gives words and nothing
 * else. access_check() cannot fail: a rule in doubt is met when it denies and passed over when it
 * accepts; a peer without an address, or no memory, ends in a denial (security rule 10).
 */
#include "access/engine.h"
#include "access/rule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int compile_all(struct access *access, const struct rule_source *source)
{
	int rc = 0;

	access->rules = calloc(access->clients->count + 1, sizeof *access->rules);
	if (!access->rules)
		return err_set(source->err, -ENOMEM, "out of memory");
	for (size_t i = 0; rc == 0 && i < access->clients->count; i++)
		rc = rule_compile(&access->rules[access->count++], access->clients->items[i],
				  (int)i + 1, source);
	return rc;
}

static int set_limits(struct access *access, struct err *err)
{
	int rc = engine_load(err);

	if (rc < 0)
		return rc;
	access->limits = pcre2_match_context_create(NULL);
	if (!access->limits)
		return err_set(err, -ENOMEM, "out of memory");
	pcre2_set_match_limit(access->limits, MASK_MATCH_LIMIT);
	pcre2_set_depth_limit(access->limits, MASK_DEPTH_LIMIT);
	pcre2_set_heap_limit(access->limits, MASK_HEAP_KIB);
	return 0;
}

/* undef, "" and "0" are no rules at all, as in the original; an empty list is "nobody". */
static bool is_open(const struct value *clients)
{
	if (!clients || clients->kind == VALUE_UNDEF)
		return true;
	return clients->kind == VALUE_SCALAR &&
	       (strcmp(clients->text, "") == 0 || strcmp(clients->text, "0") == 0);
}

static int fill(struct access *access, const struct value *clients,
		const struct rule_source *source)
{
	int rc;

	if (is_open(clients)) {
		if (clients && source->warn)
			source->warn->warn(source->warn->arg, clients->line, clients->column,
					   "clients: no rules, so everybody may connect");
		access->open = true;
		return 0;
	}
	if (clients->kind != VALUE_LIST)
		return err_set(source->err, -EINVAL,
			       "%s:%d:%d: clients: found %s, expected a list "
			       "of rules",
			       source->origin, clients->line, clients->column,
			       rule_kind_name(clients));
	access->origin = strdup(source->origin);
	access->clients = value_copy(clients);
	if (!access->origin || !access->clients)
		return err_set(source->err, -ENOMEM, "out of memory");
	rc = set_limits(access, source->err);
	return rc < 0 ? rc : compile_all(access, source);
}

int access_new(struct access **out, const struct value *clients, const char *origin,
	       const struct value_warn *warn, struct err *err)
{
	const struct rule_source source = {.origin = origin, .warn = warn, .err = err};
	struct access *access = calloc(1, sizeof *access);
	int rc;

	if (!access)
		return err_set(err, -ENOMEM, "out of memory");
	rc = fill(access, clients, &source);
	if (rc < 0) {
		access_free(access);
		return rc;
	}
	*out = access;
	return 0;
}

struct access *access_free(struct access *access)
{
	if (!access)
		return NULL;
	for (size_t i = 0; i < access->count; i++)
		rule_finish(&access->rules[i]);
	free(access->rules);
	if (access->limits)
		pcre2_match_context_free(access->limits);
	value_free(access->clients);
	free(access->origin);
	free(access);
	return NULL;
}

int access_count(const struct access *access)
{
	return access->open ? -1 : (int)access->count;
}

/* The first rule that is met; NULL: none is. */
static const struct rule *first_met(const struct access *access, struct check *check,
				    void (*tried)(void *arg, const struct rule *rule,
						  enum meets meets, const struct reason *reason),
				    void *arg)
{
	for (size_t i = 0; i < access->count; i++) {
		const struct rule *rule = &access->rules[i];
		enum meets meets = rule_meets(rule, check);

		if (tried)
			tried(arg, rule, meets, &check->reason);
		if (meets == MEETS_YES || (meets == MEETS_DOUBT && !rule->accept))
			return rule;
	}
	return NULL;
}

static void tell(struct access_verdict *verdict, const struct access *access,
		 const struct rule *rule, const struct check *check)
{
	char head[256], words[320];

	reason_head(&check->reason, head, sizeof head);
	reason_words(&check->reason, words, sizeof words);
	snprintf(verdict->why, sizeof verdict->why, "%s by rule %d (%.100s:%d:%d)%.120s: %.240s",
		 rule->accept ? "allowed" : "denied", rule->number, access->origin, rule->map->line,
		 rule->map->column, head, words);
}

void access_decide(const struct access *access, const struct access_peer *peer,
		   const struct access_resolver *resolver, struct access_verdict *verdict,
		   void (*tried)(void *arg, const struct rule *rule, enum meets meets,
				 const struct reason *reason),
		   void *arg)
{
	struct check check = {.peer = *peer, .resolver = resolver, .limits = access->limits};
	const struct rule *rule;

	*verdict = (struct access_verdict){.allowed = access->open};
	snprintf(verdict->why, sizeof verdict->why, "%s",
		 access->open ? "allowed: there are no rules" : "denied: no rule matched");
	if (access->open)
		return;
	if (peer->family != AF_INET && peer->family != AF_INET6 && peer->family != AF_UNIX) {
		snprintf(verdict->why, sizeof verdict->why, "denied: the peer has no address");
		return;
	}
	access_peer_unmap(&check.peer);
	access_peer_text(&check.peer, check.address);
	rule = first_met(access, &check, tried, arg);
	if (rule) {
		verdict->allowed = rule->accept;
		verdict->rule = rule->number;
		verdict->keys = rule->map;
		tell(verdict, access, rule, &check);
	}
	if (check.name || check.names.count > 0)
		snprintf(verdict->name, sizeof verdict->name, "%s",
			 check.name ? check.name : check.names.items[0]);
	verdict->name_unknown = check.name_unknown;
	strlist_finish(&check.names);
	pcre2_match_data_free(check.scratch);
}

void access_check(const struct access *access, const struct access_peer *peer,
		  const struct access_resolver *resolver, struct access_verdict *verdict)
{
	access_decide(access, peer, resolver, verdict, NULL, NULL);
}
