/*
 * value.c - the tree that both config syntaxes read into.
 *
 * Happy path: a reader makes a list or a map, adds items to it, hands the top over; whoever has the
 * top frees the whole with value_free(). Arrays grow by doubling; a map of more than a few keys has
 * an index, so that a large file costs no quadratic search.
 * Failure modes: memory only. An item that could not be added is freed, the tree stays whole.
 */
#include "conf/value.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ROOM_FIRST 8 /* items of a new list or map; a map this small is searched key by key */

struct value *value_new(enum value_kind kind, int line, int column)
{
	struct value *value = calloc(1, sizeof *value);

	if (!value)
		return NULL;
	value->kind = kind;
	value->line = line;
	value->column = column;
	return value;
}

struct value *value_new_scalar(const char *text, int line, int column)
{
	struct value *value = value_new(VALUE_SCALAR, line, column);

	if (!value)
		return NULL;
	value->text = strdup(text);
	if (!value->text)
		return value_free(value);
	return value;
}

struct value *value_free(struct value *value)
{
	if (!value)
		return NULL;
	for (size_t i = 0; i < value->count; i++) {
		value_free(value->items[i]);
		if (value->keys)
			free(value->keys[i]);
	}
	free(value->index);
	free(value->items);
	free(value->keys);
	free(value->text);
	free(value);
	return NULL;
}

/* How many items the arrays have room for: follows from the count, so it needs no field. */
static size_t room_for(size_t count)
{
	size_t room = ROOM_FIRST;

	if (count == 0)
		return 0;
	while (room < count)
		room *= 2;
	return room;
}

/* The slots of a map's index: a power of two, at most half full. */
static size_t index_size(const struct value *map)
{
	return 2 * room_for(map->count);
}

static size_t hash(const char *key)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 16777619u;
	return h;
}

/* The slot that names this key, or the empty one where it belongs. Slots hold position + 1. */
static uint32_t *find_slot(const struct value *map, uint32_t *index, size_t size, const char *key)
{
	size_t i = hash(key) & (size - 1);

	while (index[i] && strcmp(map->keys[index[i] - 1], key) != 0)
		i = (i + 1) & (size - 1);
	return &index[i];
}

/* Position + 1 of a key, 0: none. */
static size_t find_key(const struct value *map, const char *key)
{
	if (map->index)
		return *find_slot(map, map->index, index_size(map), key);
	for (size_t i = 0; i < map->count; i++)
		if (strcmp(map->keys[i], key) == 0)
			return i + 1;
	return 0;
}

/* A new index for a map whose arrays are about to grow to room. */
static int build_index(struct value *map, size_t room)
{
	uint32_t *index = calloc(2 * room, sizeof *index);

	if (!index)
		return -ENOMEM;
	for (size_t i = 0; i < map->count; i++)
		*find_slot(map, index, 2 * room, map->keys[i]) = (uint32_t)i + 1;
	free(map->index);
	map->index = index;
	return 0;
}

/* Make room for one item more. */
static int grow(struct value *value)
{
	size_t room = room_for(value->count + 1);
	struct value **items;
	char **keys;

	if (room == room_for(value->count))
		return 0;
	items = realloc(value->items, room * sizeof(*items));
	if (!items)
		return -ENOMEM;
	value->items = items;
	if (value->kind != VALUE_MAP)
		return 0;
	keys = realloc(value->keys, room * sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	value->keys = keys;
	return room > ROOM_FIRST ? build_index(value, room) : 0;
}

int value_list_add(struct value *list, struct value *item)
{
	int rc = grow(list);

	if (rc < 0) {
		value_free(item);
		return rc;
	}
	list->items[list->count++] = item;
	return 0;
}

/* Add a key that is known to be new. */
static int append(struct value *map, const char *key, struct value *item)
{
	char *copy = strdup(key);

	if (!copy || grow(map) < 0) {
		free(copy);
		value_free(item);
		return -ENOMEM;
	}
	map->keys[map->count] = copy;
	map->items[map->count++] = item;
	if (map->index)
		*find_slot(map, map->index, index_size(map), key) = (uint32_t)map->count;
	return 0;
}

int value_map_add(struct value *map, const char *key, struct value *item)
{
	if (find_key(map, key)) {
		value_free(item);
		return -EEXIST;
	}
	return append(map, key, item);
}

int value_map_put(struct value *map, const char *key, struct value *item)
{
	size_t at = find_key(map, key);

	if (!at)
		return append(map, key, item);
	value_free(map->items[at - 1]);
	map->items[at - 1] = item;
	return 1;
}

const struct value *value_get(const struct value *map, const char *key)
{
	size_t at;

	if (!map || map->kind != VALUE_MAP)
		return NULL;
	at = find_key(map, key);
	return at ? map->items[at - 1] : NULL;
}

bool value_true(const struct value *value)
{
	static const char *const no[] = {"", "0", "false", "no", "off"};

	if (!value || value->kind == VALUE_UNDEF)
		return false;
	if (value->kind != VALUE_SCALAR)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		if (strcasecmp(value->text, no[i]) == 0)
			return false;
	return true;
}

struct value *value_copy(const struct value *value)
{
	struct value *copy, *item;
	int rc;

	if (value->kind == VALUE_SCALAR)
		return value_new_scalar(value->text, value->line, value->column);
	copy = value_new(value->kind, value->line, value->column);
	if (!copy)
		return NULL;
	for (size_t i = 0; i < value->count; i++) {
		item = value_copy(value->items[i]);
		if (!item)
			return value_free(copy);
		rc = value->keys ? value_map_add(copy, value->keys[i], item)
				 : value_list_add(copy, item);
		if (rc < 0)
			return value_free(copy);
	}
	return copy;
}

const char *value_show(char out[VALUE_SHOW_SIZE], const char *text, size_t length)
{
	static const char cut[] = "...";
	const size_t last = VALUE_SHOW_SIZE - sizeof "\\xHH..."; /* one more escape fits here */
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (n > last) {
			memcpy(out + n, cut, sizeof cut);
			return out;
		}
		if (c >= ' ' && c <= '~')
			out[n++] = (char)c;
		else
			n += (size_t)snprintf(out + n, VALUE_SHOW_SIZE - n, "\\x%02X", c);
	}
	out[n] = '\0';
	return out;
}
