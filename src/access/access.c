/*
 * access.c - the list of rules: compiled, described, freed. decide.c asks it.
 *
 * Happy path: access_open() copies the rules of all fronts and compiles them into one list, in the
 * order in which they are asked; the rules file is searched in a way of its own and stays beside
 * it. Failure: a list that is not understood is never half used: there are words and nothing else.
 */
#include "access/engine.h"
#include "access/lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(const struct rule_source *source)
{
	return err_set(source->err, -ENOMEM, "out of memory");
}

/* ---------------------------------------------------------------------------------- compiling */

/* The next rule, numbered; room for all was made. */
static struct rule *next_rule(struct access *access, enum front front)
{
	struct rule *rule = &access->rules[access->count++];

	*rule = (struct rule){
	    .front = front,
	    .place = (int)++access->counts[front],
	    .number = (int)access->count,
	};
	return rule;
}

static int compile_clients(struct access *access, const struct rule_source *source)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && access->clients && i < access->clients->count; i++)
		rc = rule_compile(next_rule(access, FRONT_CLIENTS), access->clients->items[i],
				  source);
	return rc;
}

static void warn_of_who(const struct access *access, const struct rule *rule,
			const struct rule_source *source)
{
	const struct tests *masks = &rule->tests[RULE_MASK];
	char where[RULE_WHERE_BYTES], prefix[RULE_WHERE_BYTES + 4];

	if (!masks->given)
		return;
	rule_where(access, rule, where, sizeof where);
	snprintf(prefix, sizeof prefix, "%s: ", where);
	rule_warn_of_mask(source, 0, 0, prefix, masks->items[0].text);
}

/* All arguments of --deny or of --allow. */
static int compile_who(struct access *access, enum front front, const struct strlist *list,
		       const char *label, const struct rule_source *source)
{
	if (!list || list->count == 0)
		return 0;
	access->labels[front] = strdup(label);
	if (!access->labels[front])
		return no_memory(source);
	for (size_t i = 0; i < list->count; i++) {
		struct rule *rule;
		int rc = strlist_add(&access->texts, list->items[i]);

		if (rc < 0)
			return no_memory(source);
		rule = next_rule(access, front);
		rule->accept = front == FRONT_ALLOW;
		rc = who_compile(rule, access->texts.items[access->texts.count - 1], source->err);
		if (rc == -EINVAL)
			err_prefix(source->err, "%s: ", label);
		if (rc < 0)
			return rc;
		warn_of_who(access, rule, source);
	}
	return 0;
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

/* "all" among the options, with more behind it: hardly meant. */
static void warn_of_all(const struct access *access, const struct rule_source *source)
{
	for (size_t i = 0; source->warn && i < access->count; i++) {
		const struct rule *rule = &access->rules[i];
		char where[RULE_WHERE_BYTES], words[RULE_WHERE_BYTES + 80];
		bool restricted = rule->front == FRONT_CLIENTS;

		for (size_t key = 0; key < RULE_KEYS; key++)
			restricted |= rule->tests[key].given;
		if (restricted || (i + 1 == access->count && !access->file))
			continue;
		rule_where(access, rule, where, sizeof where);
		snprintf(words, sizeof words,
			 "%s: everybody meets it, so the rules after it are never asked", where);
		source->warn->warn(source->warn->arg, 0, 0, words);
		return;
	}
}

/* ---------------------------------------------------------------------------------- the fronts */

static size_t list_count(const struct strlist *list)
{
	return list ? list->count : 0;
}

static bool has_mask(const struct strlist *list)
{
	for (size_t i = 0; i < list_count(list); i++)
		if (who_is_mask(list->items[i]))
			return true;
	return false;
}

/* undef, "" and "0" are no rules at all, as in the original; an empty list is "nobody". */
static bool is_open(const struct value *clients)
{
	if (!clients || clients->kind == VALUE_UNDEF)
		return true;
	return clients->kind == VALUE_SCALAR &&
	       (strcmp(clients->text, "") == 0 || strcmp(clients->text, "0") == 0);
}

static int take_clients(struct access *access, const struct value *clients,
			const struct rule_source *source)
{
	if (is_open(clients))
		return 0;
	if (clients->kind != VALUE_LIST)
		return err_set(source->err, -EINVAL,
			       "%s:%d:%d: clients: found %s, expected a list "
			       "of rules",
			       source->origin, clients->line, clients->column,
			       rule_kind_name(clients));
	access->origin = strdup(source->origin);
	access->clients = value_copy(clients);
	return access->origin && access->clients ? 0 : no_memory(source);
}

static int take_file(struct access *access, const struct access_fronts *fronts,
		     const struct rule_source *source)
{
	const struct strlist *remarks;
	int rc;

	if (!fronts->rules)
		return 0;
	rc = rulefile_open(&access->file, fronts->rules, fronts->rules_owner, source->err);
	if (rc < 0)
		return err_prefix(source->err, "%s: ", fronts->rules_label);
	remarks = &rulefile_lines(access->file)->remarks;
	for (size_t i = 0; source->warn && i < remarks->count; i++)
		source->warn->warn(source->warn->arg, 0, 0, remarks->items[i]);
	return 0;
}

/* Who only says whom he does not want may think that everybody else is served. */
static int refuse_deny_alone(const struct access_fronts *fronts, const struct rule_source *source)
{
	if (list_count(fronts->deny) == 0 || list_count(fronts->allow) > 0 ||
	    !is_open(fronts->clients) || fronts->rules)
		return 0;
	return err_set(source->err, -EINVAL,
		       "%s: found no rule that lets anybody in: add --allow all to serve everybody "
		       "else",
		       fronts->deny_label);
}

static int fill(struct access *access, const struct access_fronts *fronts,
		const struct rule_source *source)
{
	size_t who = list_count(fronts->deny) + list_count(fronts->allow), most;
	const struct value *clients = fronts->clients;
	int rc = take_clients(access, clients, source);

	if (rc < 0)
		return rc;
	access->open = who == 0 && !access->clients && !fronts->rules;
	if (access->open && clients && source->warn)
		source->warn->warn(source->warn->arg, clients->line, clients->column,
				   "clients: no rules, so everybody may connect");
	if (access->open)
		return 0;
	if (access->clients || has_mask(fronts->deny) || has_mask(fronts->allow))
		rc = set_limits(access, source->err);
	if (rc < 0)
		return rc;
	most = who + (access->clients ? access->clients->count : 0);
	access->rules = calloc(most + 1, sizeof *access->rules);
	if (!access->rules)
		return no_memory(source);
	rc = compile_who(access, FRONT_DENY, fronts->deny, fronts->deny_label, source);
	if (rc == 0)
		rc = compile_who(access, FRONT_ALLOW, fronts->allow, fronts->allow_label, source);
	if (rc == 0)
		rc = compile_clients(access, source);
	if (rc == 0)
		rc = take_file(access, fronts, source);
	if (rc == 0)
		warn_of_all(access, source);
	return rc < 0 ? rc : refuse_deny_alone(fronts, source);
}

int access_open(struct access **out, const struct access_fronts *fronts,
		const struct value_warn *warn, struct err *err)
{
	const struct rule_source source = {.origin = fronts->origin, .warn = warn, .err = err};
	struct access *access = calloc(1, sizeof *access);
	int rc;

	if (!access)
		return err_set(err, -ENOMEM, "out of memory");
	rc = fill(access, fronts, &source);
	if (rc < 0) {
		access_free(access);
		return rc;
	}
	*out = access;
	return 0;
}

int access_new(struct access **out, const struct value *clients, const char *origin,
	       const struct value_warn *warn, struct err *err)
{
	const struct access_fronts fronts = {.clients = clients, .origin = origin};

	return access_open(out, &fronts, warn, err);
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
	rulefile_close(access->file);
	for (enum front front = 0; front < FRONTS; front++)
		free(access->labels[front]);
	strlist_finish(&access->texts);
	value_free(access->clients);
	free(access->origin);
	free(access);
	return NULL;
}

/* ------------------------------------------------------------------------------- what is there */

int access_count(const struct access *access)
{
	return access->open ? -1 : (int)access->count;
}

void rule_where(const struct access *access, const struct rule *rule, char *out, size_t size)
{
	if (rule->front == FRONT_CLIENTS)
		snprintf(out, size, "rule %d (%.100s:%d:%d)", rule->place, access->origin,
			 rule->map->line, rule->map->column);
	else
		snprintf(out, size, "%.100s #%d", access->labels[rule->front], rule->place);
}

/* One more part of a sentence: "2 rules". */
static int add_part(struct buf *out, size_t *total, size_t count, const char *one, const char *many)
{
	int rc = buf_addf(out, "%s%zu %s", *total > 0 ? ", " : "", count, count == 1 ? one : many);

	*total += count;
	return rc;
}

int access_describe(const struct access *access, struct buf *out)
{
	static const char *const names[FRONTS][2] = {
	    [FRONT_DENY] = {"--deny", "--deny"},
	    [FRONT_ALLOW] = {"--allow", "--allow"},
	    [FRONT_CLIENTS] = {"rule", "rules"},
	};
	const struct lines *lines = access->file ? rulefile_lines(access->file) : NULL;
	size_t total = 0;
	int rc = 0;

	for (enum front front = 0; rc == 0 && front < FRONTS; front++)
		if (access->counts[front] > 0)
			rc = add_part(out, &total, access->counts[front], names[front][0],
				      names[front][1]);
	if (rc == 0 && lines)
		rc = add_part(out, &total, lines->written, "line", "lines");
	else if (rc == 0 && total == 0) /* an empty list: nobody */
		rc = add_part(out, &total, 0, "rule", "rules");
	if (rc == 0 && lines)
		rc = buf_addf(out, " of %.256s", lines->path);
	return rc < 0 ? rc : buf_adds(out, total == 1 ? " allows" : " allow");
}

/* ------------------------------------------------------------------------------- the rules file */

int access_refresh(const struct access *access, struct err *words)
{
	return access->file ? rulefile_refresh(access->file, words) : 0;
}

int access_move_rules(const struct access *access, const char *path)
{
	return access->file ? rulefile_move(access->file, path) : 0;
}

struct lines *access_hold(const struct access *access)
{
	return access->file ? rulefile_hold(access->file) : NULL;
}
