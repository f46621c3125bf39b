/*
 * read_yaml_source.c - the YAML reader's input: libyaml's events, their places, words for what
 * fails.
 *
 * Happy path: yaml_source_init(), yaml_source_next() for each event, yaml_source_finish().
 * Failure modes: what libyaml complains of is told with line and column; NUL bytes and files that
 * are too large are refused before libyaml sees them.
 */
#include "conf/read_yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The length of the line break here, 0: none; those that libyaml knows. */
static size_t line_break(const char *p, size_t left)
{
	static const char *const breaks[] = {"\r\n",     "\n",           "\r",
					     "\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9"};

	for (size_t i = 0; i < ARRAY_LEN(breaks); i++)
		if (left >= strlen(breaks[i]) && memcmp(p, breaks[i], strlen(breaks[i])) == 0)
			return strlen(breaks[i]);
	return 0;
}

/*
 * Goes on from the place asked for before, so that a file on one long line costs one walk. Lines
 * are counted here too: libyaml adds one at the end of the file.
 */
void yaml_source_place(struct yaml_source *source, const yaml_mark_t *mark, int *line, int *column)
{
	if (mark->index < source->index) {
		source->index = source->offset = source->line_from = 0;
		source->line = 1;
	}
	while (source->index < mark->index && source->offset < source->length) {
		const char *p = source->text + source->offset;
		size_t size = line_break(p, source->length - source->offset);

		source->index += size == 2 && *p == '\r' ? 2 : 1;
		source->offset += size ? size : 1;
		/* The rest of a character of several bytes. */
		while (!size && source->offset < source->length &&
		       (source->text[source->offset] & 0xC0) == 0x80)
			source->offset++;
		if (size) {
			source->line_from = source->offset;
			source->line++;
		}
	}
	*line = source->line;
	*column = (int)(source->offset - source->line_from) + 1;
}

int yaml_source_fail(struct yaml_source *source, const yaml_mark_t *mark, const char *format, ...)
{
	int line, column;
	va_list args;

	va_start(args, format);
	err_vset(source->err, -EINVAL, format, args);
	va_end(args);
	yaml_source_place(source, mark, &line, &column);
	err_prefix(source->err, "%d:%d: ", line, column);
	return -EINVAL;
}

int yaml_source_fail_memory(struct yaml_source *source)
{
	return err_set(source->err, -ENOMEM, "memory ran out while reading YAML");
}

/* For what has no mark of libyaml's: a byte of the text. */
static int fail_at(struct yaml_source *source, size_t at, const char *found, const char *words)
{
	int line = 1;
	size_t from = 0;

	for (size_t i = 0; i < at && i < source->length; i++) {
		if (source->text[i] == '\n') {
			line++;
			from = i + 1;
		}
	}
	return err_set(source->err, -EINVAL, "%d:%zu: found %s%s", line, at - from + 1, found,
		       words);
}

/* Is there a tab among the blanks that begin the line, at this mark? */
static bool is_tab(const struct yaml_source *source, const yaml_mark_t *mark)
{
	const char *at = source->text, *end = source->text + source->length;

	for (size_t i = 0; at && i < mark->line; i++) {
		at = memchr(at, '\n', (size_t)(end - at));
		at = at ? at + 1 : NULL;
	}
	for (size_t i = 0; at && at < end && i < mark->column && *at == ' '; i++)
		at++;
	return at && at < end && *at == '\t';
}

/* Tell what libyaml told. */
static int fail_parser(struct yaml_source *source)
{
	const yaml_parser_t *parser = &source->parser;
	const char *problem = parser->problem ? parser->problem : "no YAML";

	if (parser->error == YAML_MEMORY_ERROR)
		return yaml_source_fail_memory(source);
	if (parser->error == YAML_READER_ERROR)
		return fail_at(source, parser->problem_offset, "a byte that is no text: ", problem);
	if (is_tab(source, &parser->problem_mark))
		return yaml_source_fail(
		    source, &parser->problem_mark,
		    "found a tab, expected blanks: tabs indent nothing in YAML");
	return yaml_source_fail(source, &parser->problem_mark, "%s%s%s",
				parser->context ? parser->context : "", parser->context ? ": " : "",
				problem);
}

/* Drop the event at hand and get the next one. */
int yaml_source_next(struct yaml_source *source)
{
	yaml_event_delete(&source->event);
	if (!yaml_parser_parse(&source->parser, &source->event))
		return fail_parser(source);
	return 0;
}

/*
 * libyaml looks through all %TAG directives for each one: a file of nothing else would take
 * minutes. One is of no use here, so where they stand does not matter.
 */
static int check_directives(struct yaml_source *source)
{
	static const char word[] = "%TAG";
	const char *at = source->text, *end = source->text + source->length;

	for (int n = 0; at && n <= YAML_DIRECTIVES_MAX; n++) {
		at = memmem(at, (size_t)(end - at), word, strlen(word));
		if (at)
			at += strlen(word);
	}
	if (at)
		return fail_at(source, (size_t)(at - source->text) - strlen(word), "one more %TAG",
			       ", expected none");
	return 0;
}

int yaml_source_init(struct yaml_source *source, const char *text, size_t length, struct err *err)
{
	static const char bom[] = "\xEF\xBB\xBF";
	const char *nul;
	int rc;

	if (!text)
		text = ""; /* of an empty file nobody has a buffer */
	*source = (struct yaml_source){.text = text, .length = length, .line = 1, .err = err};
	if (length > VALUE_FILE_MAX)
		return err_set(err, -EINVAL, "1:1: found %zu bytes, expected at most %u", length,
			       VALUE_FILE_MAX);
	if (length >= strlen(bom) && memcmp(text, bom, strlen(bom)) == 0) {
		source->text += strlen(bom);
		source->length -= strlen(bom);
	}
	nul = source->length ? memchr(source->text, '\0', source->length) : NULL;
	if (nul)
		return fail_at(source, (size_t)(nul - source->text), "a NUL byte",
			       ", expected text");
	rc = check_directives(source);
	if (rc < 0)
		return rc;
	if (!yaml_parser_initialize(&source->parser))
		return yaml_source_fail_memory(source);
	yaml_parser_set_encoding(&source->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&source->parser, (const unsigned char *)source->text,
				     source->length);
	return 0;
}

void yaml_source_finish(struct yaml_source *source)
{
	yaml_event_delete(&source->event);
	yaml_parser_delete(&source->parser);
	for (size_t i = 0; i < source->anchor_count; i++)
		free(source->anchors[i].name);
}
