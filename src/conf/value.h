/*
 * value.h - what both config syntaxes read into: one tree of scalars, lists and maps. Pure data;
 * the position of each value in its file stays with it for messages.
 */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "base/base.h"

enum value_kind {
	VALUE_UNDEF,  /* undef, null, ~ */
	VALUE_SCALAR, /* text; numbers too: kept as written */
	VALUE_LIST,
	VALUE_MAP, /* keys in file order, unique */
};

struct value {
	enum value_kind kind;
	int line, column; /* from 1; where the value begins */
	int key_line;     /* where its key begins; 0: it is in no map of a file */
	int key_column;
	char *text;           /* VALUE_SCALAR: owned, NUL-ended, holds no NUL inside */
	char **keys;          /* VALUE_MAP: owned */
	struct value **items; /* VALUE_LIST, VALUE_MAP: owned */
	size_t count;
	uint32_t *index; /* VALUE_MAP: value.c's own; finds a key among many without a search */
};

/* Limits of both readers: what is larger is an error with words, never a crash. */
#define VALUE_DEPTH_MAX 32
#define VALUE_FILE_MAX (4u << 20) /* bytes of a config file */
#define VALUE_COUNT_MAX 200000u   /* values in a file, YAML aliases counted as copies */

/* Returns NULL when memory ran out. */
struct value *value_new(enum value_kind kind, int line, int column);
struct value *value_new_scalar(const char *text, int line, int column);
/* Take NULL, free the whole tree, return NULL. */
struct value *value_free(struct value *value);
/* Both take item over, in failure too (it is freed). 0, -ENOMEM; map: -EEXIST for a key twice. */
int value_list_add(struct value *list, struct value *item);
int value_map_add(struct value *map, const char *key, struct value *item);
/* As value_map_add(), but a key that is there gets the new item in its place: returns 1 then. */
int value_map_put(struct value *map, const char *key, struct value *item);
/* The item under a key; NULL: none, or no map. */
const struct value *value_get(const struct value *map, const char *key);
/* Truth as in Perl: undef, "", "0" are false; and the words of YAML: false, no, off are false. */
bool value_true(const struct value *value);
/* Returns NULL when memory ran out. */
struct value *value_copy(const struct value *value);

/* Text from a file, made fit for a message: unprintable bytes as \xHH, cut when long. Returns out.
 */
#define VALUE_SHOW_SIZE 64
const char *value_show(char out[VALUE_SHOW_SIZE], const char *text, size_t length);

/* Told of every warning while reading; line and column as in struct value. */
struct value_warn {
	void (*warn)(void *arg, int line, int column, const char *text);
	void *arg;
};

/*
 * Read text into a tree: a map (a config file) or a list (the attribute clients); the caller checks
 * which. Returns 0 and the tree in *out, or -EINVAL (-ENOMEM) with err
 * "LINE:COLUMN: found X, expected Y"; -ENOTSUP from value_read_yaml() built without libyaml.
 * warn may be NULL.
 */
int value_read_perl(struct value **out, const char *text, size_t length,
		    const struct value_warn *warn, struct err *err);
int value_read_yaml(struct value **out, const char *text, size_t length,
		    const struct value_warn *warn, struct err *err);

#endif
