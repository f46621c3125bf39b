/*
 * lineset.c - which line of a rules file an address meets: the most specific one, as with tcprules.
 *
 * Happy path: lines_index() sorts the lines by kind, size and address once, and makes a group of
 * those that can be searched by halves; lines_find() asks the groups from the most specific on, so
 * that a file of a hundred thousand lines costs some dozen comparisons. DNS comes into it only when
 * no address decided before and a group of names is next.
 * Failure: of two lines for the same address the first one counts, as with tcprules, and the other
 * is told of. A name that is unknown meets a line that denies in the group at hand, and never one
 * that allows (security rule 12).
 */
#include "access/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define REMARKS_MAX 20 /* lines that --check tells of one by one */

/* ----------------------------------------------------------------------------------- in order */

static int compare(long long a, long long b)
{
	return a < b ? -1 : a > b;
}

/* Kind, size, family: what makes a group; the bigger the size, the more specific. */
static int compare_group(const struct line *a, const struct line *b)
{
	int rc = compare(a->kind, b->kind);

	if (rc == 0)
		rc = compare(b->net.bits, a->net.bits);
	return rc ? rc : compare(a->net.family, b->net.family);
}

/* Within a group. */
static int compare_key(const struct line *a, const struct line *b)
{
	if (a->kind == LINE_NAME || a->kind == LINE_SUFFIX)
		return strcmp(a->name, b->name);
	return memcmp(a->net.addr, b->net.addr, sizeof a->net.addr);
}

static int compare_lines(const void *left, const void *right)
{
	const struct line *a = left, *b = right;
	int rc = compare_group(a, b);

	if (rc == 0)
		rc = compare_key(a, b);
	return rc ? rc : compare(a->number, b->number);
}

/* Two lines with the same address: the first one in the file counts. */
static int drop_doubles(struct lines *lines)
{
	size_t kept = 0, told = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < lines->count; i++) {
		const struct line *line = &lines->items[i];
		const struct line *last = &lines->items[kept > 0 ? kept - 1 : 0];

		if (kept == 0 || compare_group(last, line) || compare_key(last, line))
			lines->items[kept++] = *line;
		else if (++told <= REMARKS_MAX)
			rc = strlist_addf(&lines->remarks,
					  "%.256s:%d: '%.80s' counts in line %d already, so this "
					  "one is never met",
					  lines->path, line->number, line->text, last->number);
	}
	if (rc == 0 && told > REMARKS_MAX)
		rc = strlist_addf(&lines->remarks, "%.256s: %zu further lines are never met",
				  lines->path, told - REMARKS_MAX);
	lines->count = kept;
	return rc;
}

static int remark_on_all(struct lines *lines)
{
	for (size_t i = 0; i < lines->count; i++)
		if (lines->items[i].allow)
			return 0;
	return strlist_addf(&lines->remarks, "%.256s: no line allows anybody", lines->path);
}

static int make_groups(struct lines *lines)
{
	size_t count = 0;

	for (size_t i = 0; i < lines->count; i++)
		count += i == 0 || compare_group(&lines->items[i - 1], &lines->items[i]);
	lines->groups = calloc(count + 1, sizeof *lines->groups);
	if (!lines->groups)
		return -ENOMEM;
	for (size_t i = 0; i < lines->count; i++) {
		const struct line *line = &lines->items[i];
		struct line_group *group;

		if (i == 0 || compare_group(&lines->items[i - 1], line))
			lines->groups[lines->group_count++].first = line;
		group = &lines->groups[lines->group_count - 1];
		group->count++;
		if (!line->allow && (!group->deny || line->number < group->deny->number))
			group->deny = line;
	}
	return 0;
}

int lines_index(struct lines *lines)
{
	int rc = 0;

	if (lines->items) { /* else there is no line */
		qsort(lines->items, lines->count, sizeof *lines->items, compare_lines);
		rc = drop_doubles(lines);
	}
	if (rc == 0)
		rc = remark_on_all(lines);
	return rc < 0 ? rc : make_groups(lines);
}

/* ---------------------------------------------------------------------------------- searching */

static const struct line *search(const struct line_group *group, const struct line *key)
{
	size_t from = 0, to = group->count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		int rc = compare_key(key, &group->first[middle]);

		if (rc == 0)
			return &group->first[middle];
		if (rc < 0)
			to = middle;
		else
			from = middle + 1;
	}
	return NULL;
}

static const struct line *search_net(const struct line_group *group, const struct check *check)
{
	struct line key = {.kind = group->first->kind, .net = group->first->net};

	if (check->peer.family != key.net.family)
		return NULL;
	access_address_cut(key.net.addr, check->peer.addr, key.net.bits);
	return search(group, &key);
}

/* Of one name: itself, or its longest suffix that has a line. */
static const struct line *search_name(const struct line_group *group, const char *name)
{
	struct line key = {.kind = group->first->kind, .name = name};
	const struct line *found;

	if (key.kind == LINE_NAME)
		return search(group, &key);
	for (key.name = strchr(name, '.'); key.name; key.name = strchr(key.name + 1, '.')) {
		found = search(group, &key);
		if (found)
			return found;
	}
	return NULL;
}

/* Is a the better answer for a peer with several names? The longer, and of two the one that denies.
 */
static bool is_better(const struct line *a, const struct line *b)
{
	size_t long_a = strlen(a->name), long_b = strlen(b->name);

	return long_a != long_b && a->kind == LINE_SUFFIX ? long_a > long_b : b->allow && !a->allow;
}

static const struct line *search_names(const struct line_group *group, struct check *check)
{
	const struct line *best = NULL;

	for (size_t i = 0; i < check->names.count; i++) {
		const struct line *found = group->first;

		if (found->kind != LINE_NAMED)
			found = search_name(group, check->names.items[i]);
		if (found && (!best || is_better(found, best))) {
			best = found;
			check->name = check->names.items[i];
		}
	}
	return best;
}

/* ----------------------------------------------------------------------------------- deciding */

static void say(struct check *check, enum reason_kind kind, const struct line *line,
		const char *value)
{
	check->reason = (struct reason){.kind = kind, .value = value};
	if (line && *line->text) {
		check->reason.key = "";
		check->reason.text = line->text;
	}
}

static const struct line *find_by_name(const struct line_group *group, struct check *check,
				       enum meets *meets)
{
	const struct line *line;

	if (!check->asked) {
		check->wanted = true;
		return NULL;
	}
	line = search_names(group, check);
	if (check->name_unknown && group->deny && !(line && !line->allow)) {
		*meets = MEETS_DOUBT;
		say(check, REASON_NAME_UNKNOWN, group->deny, NULL);
		check->reason.number = check->name_error;
		return group->deny;
	}
	if (line)
		say(check, REASON_NAME_MATCHES, line, check->name);
	return line;
}

static const struct line *find_in(const struct line_group *group, struct check *check,
				  enum meets *meets)
{
	enum line_kind kind = group->first->kind;
	const struct line *line;

	if (kind == LINE_ALL) {
		say(check, REASON_ALL, group->first, NULL);
		return group->first;
	}
	if (check->peer.family == AF_UNIX) /* has neither address nor name */
		return NULL;
	if (kind != LINE_ADDRESS && kind != LINE_NETWORK)
		return find_by_name(group, check, meets);
	line = search_net(group, check);
	if (line)
		say(check, REASON_INSIDE, line, check->address);
	return line;
}

const struct line *lines_find(const struct lines *lines, struct check *check, enum meets *meets)
{
	const struct line *line = NULL;

	*meets = MEETS_YES;
	check->reason = (struct reason){.kind = REASON_NO_LINE};
	for (size_t i = 0; !line && !check->wanted && i < lines->group_count; i++)
		line = find_in(&lines->groups[i], check, meets);
	if (!line)
		*meets = MEETS_NO;
	return line;
}
