/*
 * decide.c - the list of rules is asked.
 *
 * Happy path: access_admit() walks the rules from the first to the last until one is met, and then
 * looks into the lines of the rules file for the most specific one; when a name is needed it is
 * asked for in between, and all begins anew. No rules: open. Rules, and none met: denied.
 * Failure: there is none to report: a rule in doubt is met when it denies and passed over when it
 * accepts; a peer without an address, a rules file that cannot be used, or no memory, ends in a
 * denial (security rule 10).
 */
#include "access/lines.h"
#include "io/io.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* One decision at work, with who wants to hear of each rule that is tried. */
struct decision {
	const struct access *access;
	const struct lines *lines; /* of the rules file; NULL: none */
	struct check check;
	struct access_verdict *verdict;
	access_tried *tried; /* NULL: nobody */
	void *arg;
	bool brief; /* nobody asks why someone is let in */
};

static void hear(struct decision *decision, const char *where, bool accept, enum meets meets)
{
	decision->tried(decision->arg, where, accept, meets, &decision->check.reason);
}

/* The first rule that is met; NULL: none is, or names are wanted first. */
static const struct rule *first_met(struct decision *decision)
{
	const struct access *access = decision->access;
	struct check *check = &decision->check;

	for (size_t i = 0; i < access->count; i++) {
		const struct rule *rule = &access->rules[i];
		enum meets meets = rule_meets(rule, check);

		if (check->wanted)
			return NULL;
		if (decision->tried) {
			char where[RULE_WHERE_BYTES];

			rule_where(access, rule, where, sizeof where);
			hear(decision, where, rule->accept, meets);
		}
		if (meets == MEETS_YES || (meets == MEETS_DOUBT && !rule->accept))
			return rule;
	}
	return NULL;
}

static void line_where(const struct lines *lines, const struct line *line, char *out, size_t size)
{
	if (line)
		snprintf(out, size, "%.140s:%d", lines->path, line->number);
	else
		snprintf(out, size, "%.120s (%zu lines)", lines->path, lines->written);
}

/* The line of the rules file; NULL: there is none, or names are wanted first. */
static const struct line *best_line(struct decision *decision)
{
	char where[RULE_WHERE_BYTES];
	const struct line *line;
	enum meets meets;

	if (!decision->lines)
		return NULL;
	line = lines_find(decision->lines, &decision->check, &meets);
	if (decision->tried && !decision->check.wanted) {
		line_where(decision->lines, line, where, sizeof where);
		hear(decision, where, line && line->allow, meets);
	}
	return line;
}

/* Who was it, and in which words? */
static void tell(struct decision *decision, const char *where, bool accept)
{
	struct access_verdict *verdict = decision->verdict;
	char head[256], words[320];

	if (decision->brief && accept)
		return;
	reason_head(&decision->check.reason, head, sizeof head);
	reason_words(&decision->check.reason, words, sizeof words);
	snprintf(verdict->why, sizeof verdict->why, "%s by %s%.100s: %.230s",
		 accept ? "allowed" : "denied", where, head, words);
}

static void decide_by_rule(struct decision *decision, const struct rule *rule)
{
	struct access_verdict *verdict = decision->verdict;
	char where[RULE_WHERE_BYTES];

	verdict->allowed = rule->accept;
	verdict->rule = rule->number;
	verdict->keys = rule->map;
	verdict->env = rule->env;
	if (decision->brief && rule->accept)
		return;
	rule_where(decision->access, rule, where, sizeof where);
	tell(decision, where, rule->accept);
}

static void decide_by_line(struct decision *decision, const struct line *line)
{
	struct access_verdict *verdict = decision->verdict;
	char where[RULE_WHERE_BYTES];

	verdict->allowed = line->allow;
	verdict->rule = (int)decision->access->count + line->number;
	verdict->env = line->env;
	if (decision->brief && line->allow)
		return;
	line_where(decision->lines, line, where, sizeof where);
	tell(decision, where, line->allow);
}

/* The rules from the first one on. Takes much stack, and never waits. */
static void decide(void *arg)
{
	struct decision *decision = arg;
	struct check *check = &decision->check;
	struct access_verdict *verdict = decision->verdict;
	const struct line *line = NULL;
	const struct rule *rule;

	access_peer_text(&check->peer, check->address);
	rule = first_met(decision);
	if (!rule && !check->wanted)
		line = best_line(decision);
	if (check->wanted)
		return;
	if (rule)
		decide_by_rule(decision, rule);
	else if (line)
		decide_by_line(decision, line);
	if (check->name || check->names.count > 0)
		snprintf(verdict->name, sizeof verdict->name, "%s",
			 check->name ? check->name : check->names.items[0]);
	verdict->name_unknown = check->name_unknown;
}

static void set_why(struct access_verdict *verdict, const char *words)
{
	memcpy(verdict->why, words, strlen(words) + 1); /* for every connection: no printf(3) */
}

/* There should be lines, and there are none to go by. */
static bool is_unusable(const struct decision *decision)
{
	return decision->access->file && (!decision->lines || decision->lines->broken);
}

/* Nobody at all, whatever the other rules say; and it is said elsewhere, once for all of them. */
static void refuse_all(struct decision *decision)
{
	char why[sizeof decision->verdict->why];

	decision->verdict->unusable = true;
	snprintf(why, sizeof why, "denied: the rules file cannot be used: %.400s",
		 decision->lines ? decision->lines->broken : "out of memory");
	set_why(decision->verdict, why);
}

static void run(struct decision *decision)
{
	struct check *check = &decision->check;
	const struct access *access = decision->access;
	struct access_verdict *verdict = decision->verdict;
	access_tried *tried = decision->tried;
	int family = check->peer.family;

	*verdict = (struct access_verdict){.allowed = access->open};
	set_why(verdict, access->open ? "allowed: there are no rules" : "denied: no rule matched");
	if (access->open)
		return;
	if (family != AF_INET && family != AF_INET6 && family != AF_UNIX) {
		set_why(verdict, "denied: the peer has no address");
		return;
	}
	if (is_unusable(decision)) {
		refuse_all(decision);
		return;
	}
	access_peer_unmap(&check->peer);
	decision->tried = NULL;
	io_get_ops()->aside(decide, decision);
	if (check->wanted) {
		mask_find_names(check);
		io_get_ops()->aside(decide, decision);
	}
	if (tried) { /* for people, who shall not hear of the rules twice */
		decision->tried = tried;
		decide(decision);
	}
	strlist_finish(&check->names);
	if (check->scratch) /* else PCRE2 may not be there */
		pcre2_match_data_free(check->scratch);
}

void access_decide(const struct access *access, const struct access_peer *peer,
		   const struct access_resolver *resolver, struct access_verdict *verdict,
		   access_tried *tried, void *arg)
{
	struct decision decision = {
	    .access = access,
	    .lines = access->file ? rulefile_lines(access->file) : NULL,
	    .check = {.peer = *peer, .resolver = resolver, .limits = access->limits},
	    .verdict = verdict,
	    .tried = tried,
	    .arg = arg,
	};

	run(&decision);
}

void access_admit(const struct access *access, const struct lines *lines,
		  const struct access_peer *peer, const struct access_resolver *resolver,
		  struct access_verdict *verdict)
{
	struct decision decision = {
	    .access = access,
	    .lines = lines,
	    .check = {.peer = *peer, .resolver = resolver, .limits = access->limits},
	    .verdict = verdict,
	    .brief = true,
	};

	run(&decision);
}

void access_check(const struct access *access, const struct access_peer *peer,
		  const struct access_resolver *resolver, struct access_verdict *verdict)
{
	access_decide(access, peer, resolver, verdict, NULL, NULL);
}
