/*
 * read_yaml_alias.c - anchors and aliases of YAML, and the limits that keep them harmless.
 *
 * Happy path: yaml_anchor_begin() when a node begins; the anchor is given the value when that has
 * been read to its end; yaml_alias_read() copies the value wherever an alias stands.
 * Failure modes: an alias without anchor, or inside what it names; too many anchors; a copy that
 * would be too deep, of too many values or of too much text: all found before copying begins.
 */
#include "conf/read_yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int yaml_source_count(struct yaml_source *source, size_t values)
{
	if (values > VALUE_COUNT_MAX - source->values)
		return yaml_source_fail(source, &source->event.start_mark,
					"found too many values, expected at most %u",
					VALUE_COUNT_MAX);
	source->values += values;
	return 0;
}

/* May groups nested that deep stand here? */
int yaml_source_check_depth(struct yaml_source *source, int depth)
{
	if (depth > VALUE_DEPTH_MAX - source->depth)
		return yaml_source_fail(source, &source->event.start_mark,
					"found too deep a nesting, expected at most %d",
					VALUE_DEPTH_MAX);
	return 0;
}

static int count_copied(struct yaml_source *source, size_t bytes)
{
	if (bytes > VALUE_FILE_MAX - source->copied)
		return yaml_source_fail(
		    source, &source->event.start_mark,
		    "found aliases for too much text, expected at most %u bytes", VALUE_FILE_MAX);
	source->copied += bytes;
	return 0;
}

static struct yaml_anchor *find_anchor(struct yaml_source *source, const char *name)
{
	for (size_t i = 0; i < source->anchor_count; i++)
		if (strcmp(source->anchors[i].name, name) == 0)
			return &source->anchors[i];
	return NULL;
}

/* Note the anchor of the node at hand, if it has one, as begun. A later one of that name wins. */
int yaml_anchor_begin(struct yaml_source *source, const yaml_char_t *name, struct yaml_anchor **out)
{
	struct yaml_anchor *anchor;

	*out = NULL;
	if (!name)
		return 0;
	anchor = find_anchor(source, (const char *)name);
	if (!anchor) {
		if (source->anchor_count == YAML_ANCHORS_MAX)
			return yaml_source_fail(source, &source->event.start_mark,
						"found one more anchor, expected at most %d",
						YAML_ANCHORS_MAX);
		anchor = &source->anchors[source->anchor_count];
		anchor->name = strdup((const char *)name);
		if (!anchor->name)
			return yaml_source_fail_memory(source);
		source->anchor_count++;
	}
	anchor->value = NULL;
	*out = anchor;
	return 0;
}

/* What a copy of a tree costs: values, bytes of text, and how deep its groups nest. */
static int measure(const struct value *value, size_t *values, size_t *bytes)
{
	int depth, deepest = 0;

	++*values;
	if (value->text)
		*bytes += strlen(value->text);
	for (size_t i = 0; i < value->count; i++) {
		if (value->keys)
			*bytes += strlen(value->keys[i]);
		depth = measure(value->items[i], values, bytes);
		deepest = depth > deepest ? depth : deepest;
	}
	return value->kind == VALUE_LIST || value->kind == VALUE_MAP ? deepest + 1 : 0;
}

int yaml_alias_read(struct yaml_source *source, struct value **out)
{
	const char *name = (const char *)source->event.data.alias.anchor;
	struct yaml_anchor *anchor = find_anchor(source, name);
	char shown[VALUE_SHOW_SIZE];
	size_t values = 0, bytes = 0;
	struct value *copy;
	int rc;

	if (!anchor || !anchor->value) {
		value_show(shown, name, strlen(name));
		return yaml_source_fail(source, &source->event.start_mark,
					"found the alias '*%s', expected one whose anchor '&%s' %s",
					shown, shown,
					anchor ? "does not enclose it" : "comes before it");
	}
	rc = yaml_source_check_depth(source, measure(anchor->value, &values, &bytes));
	if (rc == 0)
		rc = yaml_source_count(source, values);
	if (rc == 0)
		rc = count_copied(source, bytes);
	if (rc < 0)
		return rc;
	copy = value_copy(anchor->value);
	if (!copy)
		return yaml_source_fail_memory(source);
	*out = copy;
	return 0;
}
