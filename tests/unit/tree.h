/*
 * tree.h - what the tests of both config readers share: a tree as one line of text, and a place
 * where warnings are gathered. Included by test_read_perl.c and test_read_yaml.c.
 */
#ifndef TESTS_UNIT_TREE_H
#define TESTS_UNIT_TREE_H

#include "conf/value.h"

#include <stdlib.h>
#include <string.h>

/* {a=<text>,b=[<1>,undef]} */
static inline void tree_add(struct buf *out, const struct value *value)
{
	bool map = value->kind == VALUE_MAP;

	if (value->kind == VALUE_UNDEF)
		buf_adds(out, "undef");
	if (value->kind == VALUE_SCALAR)
		buf_addf(out, "<%s>", value->text);
	if (value->kind < VALUE_LIST)
		return;
	buf_addc(out, map ? '{' : '[');
	for (size_t i = 0; i < value->count; i++) {
		if (i)
			buf_addc(out, ',');
		if (map)
			buf_addf(out, "%s=", value->keys[i]);
		tree_add(out, value->items[i]);
	}
	buf_addc(out, map ? '}' : ']');
}

/* Frees the tree, returns its text; free() it. */
static inline char *tree_text(struct value *tree)
{
	struct buf out;

	buf_init(&out, 1u << 20);
	tree_add(&out, tree);
	value_free(tree);
	return buf_steal(&out);
}

/* For struct value_warn: each warning as "LINE:COLUMN: words" into a struct strlist. */
static inline void tree_warn(void *arg, int line, int column, const char *text)
{
	strlist_addf(arg, "%d:%d: %s", line, column, text);
}

/* A text: head, then part again and again, then tail. free() it. */
static inline char *tree_repeat(const char *head, const char *part, size_t times, const char *tail)
{
	size_t h = strlen(head), p = strlen(part), t = strlen(tail);
	char *text = malloc(h + p * times + t + 1);

	if (!text)
		abort();
	memcpy(text, head, h);
	for (size_t i = 0; i < times; i++)
		memcpy(text + h + i * p, part, p);
	memcpy(text + h + times * p, tail, t + 1);
	return text;
}

#endif
