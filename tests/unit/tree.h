/*
 * tree.h - what the tests of both config readers share: a tree as one line of text, a place where
 * warnings are gathered, and memory that runs out on demand. Included by test_read_perl.c and
 * test_read_yaml.c, whose programs wrap calloc, realloc and strdup (unit_wraps in meson.build).
 */
#ifndef TESTS_UNIT_TREE_H
#define TESTS_UNIT_TREE_H

#include "conf/value.h"

#include <errno.h>
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

/* ------------------------------------------------------------------------- memory that runs out */

static int allocations_left = -1; /* how many still succeed; -1: all */

void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);

static bool allocation_fails(void)
{
	if (allocations_left > 0)
		allocations_left--;
	else if (allocations_left == 0)
		return true;
	return false;
}

void *__wrap_calloc(size_t count, size_t size)
{
	return allocation_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return allocation_fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
	return allocation_fails() ? NULL : __real_strdup(text);
}

/* Read with memory that runs out at the first, second ... allocation, until it suffices; returns
 * how often it did not. Each time: -ENOMEM, words, nothing touched (and a sanitizer sees leaks). */
static inline int tree_without_memory(int (*read)(struct value **, const char *, size_t,
						  const struct value_warn *, struct err *),
				      const char *text)
{
	struct value *tree = NULL;
	struct err err = {0};
	int failures = 0, rc;

	for (;; failures++) {
		allocations_left = failures;
		rc = read(&tree, text, strlen(text), NULL, &err);
		allocations_left = -1;
		if (rc == 0)
			break;
		if (rc != -ENOMEM || tree || !strstr(err.text, "memory ran out"))
			return -1;
		err.text[0] = '\0';
	}
	value_free(tree);
	return failures;
}

#endif
