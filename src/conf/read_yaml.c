/*
 * read_yaml.c - config files in YAML (JSON is a part of it), by libyaml's event parser.
 *
 * Happy path: value_read_yaml() takes one event at a time and builds the tree by recursive descent.
 * An alias becomes a copy of what its anchor names. Scalars keep their text; only a plain null, a
 * plain ~ or nothing at all is VALUE_UNDEF. An empty document is an empty map.
 *
 * Failure modes: libyaml's own complaints; keys that are not text or stand twice; merge keys and
 * tags beyond the core ones; several documents; what is too deep or too much, where each alias
 * counts as all it stands for, in values and in bytes, so that a few lines cannot ask for all
 * memory.
 */
#include "conf/value.h"

#include <errno.h>

#ifdef HAVE_YAML
#include "conf/read_yaml.h"
#include "conf/yaml_library.h"

#include <stdlib.h>
#include <string.h>

static int read_node(struct yaml_source *source, struct value **out);

/* Only tags that say what is so anyway are taken; found: the tag of the node at hand or NULL. */
static int check_tag(struct yaml_source *source, const yaml_char_t *found, enum value_kind kind)
{
	static const struct {
		const char *tag;
		enum value_kind kind;
	} core[] = {
	    {"!", VALUE_SCALAR},           {YAML_STR_TAG, VALUE_SCALAR},
	    {YAML_INT_TAG, VALUE_SCALAR},  {YAML_FLOAT_TAG, VALUE_SCALAR},
	    {YAML_BOOL_TAG, VALUE_SCALAR}, {YAML_NULL_TAG, VALUE_UNDEF},
	    {YAML_SEQ_TAG, VALUE_LIST},    {YAML_MAP_TAG, VALUE_MAP},
	};
	const char *tag = (const char *)found;
	char shown[VALUE_SHOW_SIZE];

	if (!tag)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(core); i++)
		if (core[i].kind == kind && strcmp(core[i].tag, tag) == 0)
			return 0;
	value_show(shown, tag, strlen(tag));
	return yaml_source_fail(
	    source, &source->event.start_mark,
	    "found the tag '%s', expected none, or one of YAML's core that fits the value", shown);
}

/* Does the scalar at hand mean null? Quoted text does not, unless a tag says so. */
static bool is_null(const yaml_event_t *event)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
	const char *tag = (const char *)event->data.scalar.tag;

	if (tag ? strcmp(tag, YAML_NULL_TAG) != 0
		: event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(nulls); i++)
		if (strcmp((const char *)event->data.scalar.value, nulls[i]) == 0)
			return true;
	return false;
}

/* The text of the scalar at hand, which lives as long as the event. */
static int scalar_text(struct yaml_source *source, const char **out)
{
	const char *text = (const char *)source->event.data.scalar.value;

	if (strlen(text) != source->event.data.scalar.length)
		return yaml_source_fail(source, &source->event.start_mark,
					"found a NUL character, expected text without");
	*out = text;
	return 0;
}

static int read_scalar(struct yaml_source *source, struct value **out)
{
	bool null = is_null(&source->event);
	enum value_kind kind = null ? VALUE_UNDEF : VALUE_SCALAR;
	int rc = check_tag(source, source->event.data.scalar.tag, kind);
	const char *text = NULL;
	struct value *value;
	int line, column;

	if (rc == 0)
		rc = scalar_text(source, &text);
	if (rc < 0)
		return rc;
	yaml_source_place(source, &source->event.start_mark, &line, &column);
	value = null ? value_new(VALUE_UNDEF, line, column) : value_new_scalar(text, line, column);
	if (!value)
		return yaml_source_fail_memory(source);
	*out = value;
	return 0;
}

/* The key at hand: text, not null, no merge, nothing that anchors or aliases. */
static int read_key(struct yaml_source *source, char **out)
{
	const yaml_event_t *event = &source->event;
	const char *text = NULL;
	int rc;

	if (event->type != YAML_SCALAR_EVENT)
		return yaml_source_fail(
		    source, &event->start_mark, "found %s as key, expected text",
		    event->type == YAML_ALIAS_EVENT ? "an alias" : "a list or map");
	if (event->data.scalar.anchor)
		return yaml_source_fail(source, &event->start_mark,
					"found an anchor on a key, expected text");
	if (is_null(event))
		return yaml_source_fail(source, &event->start_mark,
					"found null as key, expected text");
	rc = check_tag(source, event->data.scalar.tag, VALUE_SCALAR);
	if (rc == 0)
		rc = scalar_text(source, &text);
	if (rc != 0)
		return rc;
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(text, "<<") == 0)
		return yaml_source_fail(source, &event->start_mark,
					"found the merge key '<<', expected keys written out");
	*out = strdup(text);
	return *out ? 0 : yaml_source_fail_memory(source);
}

static int read_pair(struct yaml_source *source, struct value *map)
{
	yaml_mark_t mark = source->event.start_mark;
	struct value *item = NULL;
	char shown[VALUE_SHOW_SIZE];
	char *key = NULL;
	int rc = read_key(source, &key);

	if (rc < 0)
		return rc;
	value_show(shown, key, strlen(key));
	if (value_get(map, key))
		rc = yaml_source_fail(source, &mark, "found the key '%s' twice, expected it once",
				      shown);
	if (rc == 0)
		rc = yaml_source_next(source);
	if (rc == 0)
		rc = read_node(source, &item);
	if (rc == 0) {
		yaml_source_place(source, &mark, &item->key_line, &item->key_column);
		if (value_map_add(map, key, item) < 0)
			rc = yaml_source_fail_memory(source);
	}
	free(key);
	return rc;
}

static int read_element(struct yaml_source *source, struct value *list)
{
	struct value *item;
	int rc = read_node(source, &item);

	if (rc < 0)
		return rc;
	return value_list_add(list, item) < 0 ? yaml_source_fail_memory(source) : 0;
}

/* A list or map, its opening event at hand; leaves the closing one at hand. */
static int read_group(struct yaml_source *source, enum value_kind kind, struct value **out)
{
	bool map = kind == VALUE_MAP;
	yaml_event_type_t end = map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
	struct value *group;
	int line, column, rc;

	rc = check_tag(source,
		       map ? source->event.data.mapping_start.tag
			   : source->event.data.sequence_start.tag,
		       kind);
	if (rc == 0)
		rc = yaml_source_check_depth(source, 1);
	if (rc < 0)
		return rc;
	yaml_source_place(source, &source->event.start_mark, &line, &column);
	group = value_new(kind, line, column);
	if (!group)
		return yaml_source_fail_memory(source);
	source->depth++;
	rc = yaml_source_next(source);
	while (rc == 0 && source->event.type != end)
		rc = map ? read_pair(source, group) : read_element(source, group);
	source->depth--;
	if (rc < 0) {
		value_free(group);
		return rc;
	}
	*out = group;
	return 0;
}

static const yaml_char_t *anchor_of(const yaml_event_t *event)
{
	if (event->type == YAML_SCALAR_EVENT)
		return event->data.scalar.anchor;
	if (event->type == YAML_SEQUENCE_START_EVENT)
		return event->data.sequence_start.anchor;
	return event->data.mapping_start.anchor;
}

/* The value whose first event is at hand; leaves the event after it at hand. */
static int read_node(struct yaml_source *source, struct value **out)
{
	struct yaml_anchor *anchor = NULL;
	struct value *value = NULL;
	int rc;

	if (source->event.type == YAML_ALIAS_EVENT) {
		rc = yaml_alias_read(source, &value);
	} else {
		rc = yaml_source_count(source, 1);
		if (rc == 0)
			rc = yaml_anchor_begin(source, anchor_of(&source->event), &anchor);
		if (rc < 0)
			return rc;
		if (source->event.type == YAML_SCALAR_EVENT)
			rc = read_scalar(source, &value);
		else
			rc = read_group(source,
					source->event.type == YAML_MAPPING_START_EVENT ? VALUE_MAP
										       : VALUE_LIST,
					&value);
	}
	if (rc == 0)
		rc = yaml_source_next(source);
	if (rc < 0) {
		value_free(value);
		return rc;
	}
	if (anchor)
		anchor->value = value;
	*out = value;
	return 0;
}

/* The one document, its start event at hand. */
static int read_document(struct yaml_source *source, struct value **out)
{
	yaml_mark_t mark;
	struct value *top = NULL;
	int rc = yaml_source_next(source);

	if (rc < 0)
		return rc;
	mark = source->event.start_mark;
	if (source->event.type == YAML_SCALAR_EVENT && !is_null(&source->event))
		return yaml_source_fail(source, &mark, "found text, expected a map (key: value)");
	rc = read_node(source, &top);
	if (rc == 0)
		rc = yaml_source_next(source); /* past the document's end */
	if (rc == 0 && source->event.type != YAML_STREAM_END_EVENT)
		rc = yaml_source_fail(source, &source->event.start_mark,
				      "found another document, expected the end of the file");
	if (rc < 0) {
		value_free(top);
		return rc;
	}
	if (top->kind == VALUE_UNDEF)
		top->kind = VALUE_MAP; /* "---" and no more: as an empty file */
	*out = top;
	return 0;
}

static int read_stream(struct yaml_source *source, struct value **out)
{
	struct value *top;
	int rc = yaml_source_next(source);

	if (rc == 0)
		rc = yaml_source_next(source); /* past the stream's start */
	if (rc < 0)
		return rc;
	if (source->event.type != YAML_STREAM_END_EVENT)
		return read_document(source, out);
	top = value_new(VALUE_MAP, 1, 1);
	if (!top)
		return yaml_source_fail_memory(source);
	*out = top;
	return 0;
}

int value_read_yaml(struct value **out, const char *text, size_t length,
		    const struct value_warn *warn, struct err *err)
{
	struct yaml_source source;
	int rc;

	(void)warn; /* what is doubtful in YAML is an error */
	rc = yaml_library_load(err);
	if (rc < 0)
		return rc;
	rc = yaml_source_init(&source, text, length, err);
	if (rc == 0) {
		rc = read_stream(&source, out);
		yaml_source_finish(&source);
	}
	yaml_library_unload();
	return rc;
}

#else /* !HAVE_YAML */

int value_read_yaml(struct value **out, const char *text, size_t length,
		    const struct value_warn *warn, struct err *err)
{
	(void)out, (void)text, (void)length, (void)warn;
	return err_set(
	    err, -ENOTSUP,
	    "this build reads no YAML, only the Perl syntax: the meson option 'yaml' was "
	    "off");
}

#endif
