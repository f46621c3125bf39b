/*
 * fuzz_access_lines.c - rules files in the syntax of tcprules: what is refused has words with its
 * line, and what is taken decides as the naive oracle does. The input is the file, a NUL, and the
 * peer: a byte for the kind, 16 of address, then its name.
 */
#include "lines_oracle.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX 4096 /* the oracle is slow */
#define LINES_FEW 64

static void holds(bool condition)
{
	if (!condition)
		abort();
}

static void make_peer(struct oracle_peer *who, char name[256], const uint8_t *data, size_t size)
{
	static const int families[] = {AF_INET, AF_INET6, AF_UNIX, AF_INET};
	size_t kind = size > 0 ? data[0] % 4 : 0;
	size_t length = size > 17 ? size - 17 : 0;

	*who = (struct oracle_peer){.peer = {.uid = -1, .gid = -1}};
	who->peer.family = families[kind];
	if (size >= 17)
		memcpy(who->peer.addr, data + 1, who->peer.family == AF_INET ? 4 : 16);
	access_peer_unmap(&who->peer);
	access_peer_text(&who->peer, who->text);
	snprintf(name, 256, "%.*s", (int)(length < 255 ? length : 255), (const char *)data + 17);
	if (length > 0 && access_name_clean(name))
		who->names[0] = name;
	who->unknown = kind == 3 || !who->names[0];
}

static void check_env(const struct value *env)
{
	for (size_t i = 0; env && i < env->count; i++)
		holds(rule_env_name(env->keys[i]) && env->items[i]->kind == VALUE_SCALAR);
}

static void compare(const struct lines *lines, const char *text, const struct oracle_peer *who)
{
	struct oracle_answer answer = oracle_decide(text, who);
	struct check check = {.peer = who->peer, .name_unknown = who->unknown, .asked = true};
	enum meets meets = MEETS_NO;
	const struct line *line;

	memcpy(check.address, who->text, sizeof check.address);
	if (who->names[0])
		holds(strlist_add(&check.names, who->names[0]) == 0);
	line = lines_find(lines, &check, &meets);
	holds(!check.wanted);
	holds((line ? line->number : 0) == answer.line);
	holds((meets == MEETS_NO) == !line);
	if (line) {
		holds(line->allow == answer.allow);
		holds((meets == MEETS_DOUBT) == answer.doubt && !(answer.doubt && answer.allow));
		check_env(line->env);
	}
	strlist_finish(&check.names);
}

/* Every line once more, in its place; no two of a group alike. */
static void check_groups(const struct lines *lines)
{
	size_t total = 0;

	for (size_t i = 0; i < lines->group_count; i++) {
		holds(lines->groups[i].first == lines->items + total && lines->groups[i].count > 0);
		total += lines->groups[i].count;
	}
	holds(total == lines->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\0', size);
	size_t length = end ? (size_t)(end - data) : size;
	struct lines *lines = NULL;
	struct err err = {0};
	struct oracle_peer who;
	char name[256];
	int rc = lines_parse(&lines, "fuzz", (const char *)data, length, &err);

	if (rc < 0) {
		holds(rc == -EINVAL && err.code == rc && !lines);
		holds(strncmp(err.text, "fuzz:", 5) == 0 && atoi(err.text + 5) > 0);
		return 0;
	}
	check_groups(lines);
	if (length < TEXT_MAX && lines->count < LINES_FEW) {
		char *text = strndup((const char *)data, length);

		holds(text != NULL);
		end = end ? end + 1 : data + size;
		make_peer(&who, name, end, (size_t)(data + size - end));
		compare(lines, text, &who);
		free(text);
	}
	access_release(lines);
	return 0;
}
