/*
 * tree.h - what must hold for every tree that a config reader hands out. Included by
 * fuzz_read_perl.c and fuzz_read_yaml.c.
 *
 * The strongest of these: the tree, written as a Perl literal, is read back as the same tree. So
 * whatever YAML says can be said in the other syntax, and neither reader loses or adds a byte.
 */
#ifndef FUZZ_TREE_H
#define FUZZ_TREE_H

#include "conf/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void holds(bool condition)
{
	if (!condition)
		abort();
}

/* Limits and places; returns how many values there are. */
static inline size_t tree_check(const struct value *value, int depth)
{
	size_t count = 1;

	holds(value->line >= 1 && value->column >= 1);
	holds((value->kind == VALUE_SCALAR) == (value->text != NULL));
	if (value->kind == VALUE_UNDEF || value->kind == VALUE_SCALAR)
		holds(value->count == 0);
	else
		holds(depth < VALUE_DEPTH_MAX);
	for (size_t i = 0; i < value->count; i++) {
		if (value->kind == VALUE_MAP)
			holds(value_get(value, value->keys[i]) == value->items[i]);
		count += tree_check(value->items[i], depth + 1);
	}
	return count;
}

static inline void tree_same(const struct value *a, const struct value *b)
{
	holds(a->kind == b->kind && a->count == b->count);
	if (a->kind == VALUE_SCALAR)
		holds(strcmp(a->text, b->text) == 0);
	for (size_t i = 0; i < a->count; i++) {
		if (a->kind == VALUE_MAP)
			holds(strcmp(a->keys[i], b->keys[i]) == 0);
		tree_same(a->items[i], b->items[i]);
	}
}

static inline int write_text(struct buf *out, const char *text)
{
	int rc = buf_addc(out, '"');

	for (; *text && rc == 0; text++) {
		if (*text == '\r') /* a CR before a LF as such would count as the end of a line */
			rc = buf_adds(out, "\\r");
		else if (strchr("\\\"$@", *text))
			rc = buf_addf(out, "\\%c", *text);
		else
			rc = buf_addc(out, *text);
	}
	return rc < 0 ? rc : buf_addc(out, '"');
}

static inline int write_tree(struct buf *out, const struct value *value)
{
	bool map = value->kind == VALUE_MAP;
	int rc;

	if (value->kind == VALUE_UNDEF)
		return buf_adds(out, "undef");
	if (value->kind == VALUE_SCALAR)
		return write_text(out, value->text);
	rc = buf_addc(out, map ? '{' : '[');
	for (size_t i = 0; i < value->count && rc == 0; i++) {
		if (map)
			rc = write_text(out, value->keys[i]);
		if (rc == 0 && map)
			rc = buf_adds(out, "=>");
		if (rc == 0)
			rc = write_tree(out, value->items[i]);
		if (rc == 0)
			rc = buf_addc(out, ',');
	}
	return rc < 0 ? rc : buf_addc(out, map ? '}' : ']');
}

static inline void no_warning(void *arg, int line, int column, const char *text)
{
	(void)arg;
	fprintf(stderr, "%d:%d: %s\n", line, column, text);
	abort();
}

/* Written as a Perl literal and read again it is the same; unless that would be too long a file. */
static inline void tree_comes_back(const struct value *tree)
{
	const struct value_warn warn = {no_warning, NULL};
	struct value *again = NULL;
	struct buf text;

	buf_init(&text, VALUE_FILE_MAX);
	if (write_tree(&text, tree) == 0) {
		holds(value_read_perl(&again, text.data, text.len, &warn, NULL) == 0);
		tree_same(tree, again);
		value_free(again);
	}
	buf_finish(&text);
}

/*
 * All of it, for one reader and one text: a tree in order, or nothing but words. Words and warnings
 * are printable whatever the text holds.
 */
static inline void tree_words(void *arg, int line, int column, const char *text)
{
	(void)arg;
	holds(line >= 1 && column >= 1 && *text);
	for (; *text; text++)
		holds(*text >= ' ' && *text <= '~');
}

static inline void tree_test(int (*read)(struct value **, const char *, size_t,
					 const struct value_warn *, struct err *),
			     const uint8_t *data, size_t size)
{
	const struct value_warn warn = {tree_words, NULL};
	struct value *const before = (struct value *)(void *)&size;
	struct value *tree = before, *copy;
	struct err err = {0};
	char *text = malloc(size ? size : 1); /* exactly: reading behind it is seen */

	if (!text)
		return;
	if (size)
		memcpy(text, data, size);
	if (read(&tree, text, size, &warn, &err) == 0) {
		holds(tree != before && (tree->kind == VALUE_MAP || tree->kind == VALUE_LIST));
		holds(tree_check(tree, 0) <= VALUE_COUNT_MAX);
		copy = value_copy(tree);
		holds(copy != NULL);
		tree_same(tree, copy);
		value_free(copy);
		tree_comes_back(tree);
		value_free(tree);
	} else {
		holds(tree == before && err.code < 0);
		tree_words(NULL, 1, 1, err.text);
	}
	free(text);
}

#endif
