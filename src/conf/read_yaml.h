/*
 * read_yaml.h - the YAML reader's own parts: libyaml's events and places (read_yaml_source.c),
 * aliases and limits (read_yaml_alias.c). For read_yaml.c only; needs libyaml.
 */
#ifndef CONF_READ_YAML_H
#define CONF_READ_YAML_H

#include "conf/value.h"

#include <yaml.h>

#define YAML_ANCHORS_MAX 256   /* each alias searches them all */
#define YAML_DIRECTIVES_MAX 64 /* as many %TAG as are passed on to libyaml */

struct yaml_anchor {
	char *name;                /* owned */
	const struct value *value; /* in the tree; NULL: not read to its end yet */
};

struct yaml_source {
	yaml_parser_t parser;
	yaml_event_t event; /* the next one, not used up; owned */
	const char *text;   /* without a byte order mark */
	size_t length;
	/* The place last asked for, as libyaml counts (characters) and as we do (bytes). */
	size_t index, offset, line_from;
	int line;
	struct yaml_anchor anchors[YAML_ANCHORS_MAX];
	size_t anchor_count;
	int depth;     /* of the groups around the event */
	size_t values; /* so far; aliases count as copies */
	size_t copied; /* bytes of text that aliases copied */
	struct err *err;
};

/* Returns 0, -EINVAL (NUL bytes, too long) or -ENOMEM; finish only what was begun. */
int yaml_source_init(struct yaml_source *source, const char *text, size_t length, struct err *err);
void yaml_source_finish(struct yaml_source *source);

/* Drop the event at hand and get the next one. 0, -EINVAL, -ENOMEM. */
int yaml_source_next(struct yaml_source *source);

/* A place as people count it: both from 1, columns in bytes. */
void yaml_source_place(struct yaml_source *source, const yaml_mark_t *mark, int *line, int *column);

/* Record "LINE:COLUMN: words"; returns -EINVAL, or -ENOMEM. */
int yaml_source_fail(struct yaml_source *source, const yaml_mark_t *mark, const char *format, ...)
    PRINTF_LIKE(3, 4);
int yaml_source_fail_memory(struct yaml_source *source);

/* Count values that are to be made, refuse too many. */
int yaml_source_count(struct yaml_source *source, size_t values);
/* May groups nested that deep stand here? */
int yaml_source_check_depth(struct yaml_source *source, int depth);

/* Note the anchor of the node at hand, if name is one, as begun; *out NULL: it has none. A later
 * anchor of the same name takes its place. The caller sets out->value once the node is read. */
int yaml_anchor_begin(struct yaml_source *source, const yaml_char_t *name,
		      struct yaml_anchor **out);
/* A copy of what the alias at hand names. */
int yaml_alias_read(struct yaml_source *source, struct value **out);

#endif
