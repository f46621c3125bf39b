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
 * The column in bytes, from 1, of a place that libyaml counts in characters. Goes on from the place
 * asked for before, so that a file on one long line costs one walk.
 */
int yaml_source_column(struct yaml_source *source, const yaml_mark_t *mark)
{
	if (mark->index < source->index)
		source->index = source->offset = source->line_from = 0;
	while (source->index < mark->index && source->offset < source->length) {
		const char *p = source->text + source->offset;
		size_t size = line_break(p, source->length - source->offset);

		source->index += size == 2 && *p == '\r' ? 2 : 1;
		source->offset += size ? size : 1;
		/* The rest of a character of several bytes. */
		while (!size && source->offset < source->length &&
		       (source->text[source->offset] & 0xC0) == 0x80)
			source->offset++;
		if (size)
			source->line_from = source->offset;
	}
	return (int)(source->offset - source->line_from) + 1;
}

int yaml_source_line(const yaml_mark_t *mark)
{
	return (int)mark->line + 1;
}

int yaml_source_fail(struct yaml_source *source, const yaml_mark_t *mark, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	err_vset(source->err, -EINVAL, format, args);
	va_end(args);
	err_prefix(source->err, "%d:%d: ", yaml_source_line(mark),
		   yaml_source_column(source, mark));
	return -EINVAL;
}

int yaml_source_fail_memory(struct yaml_source *source)
{
	return err_set(source->err, -ENOMEM, "memory ran out while reading YAML");
}

/* Bytes that are no characters: libyaml says at which byte of the file, not on which line. */
static int fail_byte(struct yaml_source *source, size_t at, const char *words)
{
	int line = 1;
	size_t from = 0;

	for (size_t i = 0; i < at && i < source->length; i++) {
		if (source->text[i] == '\n') {
			line++;
			from = i + 1;
		}
	}
	return err_set(source->err, -EINVAL, "%d:%zu: found a byte that is no text: %s", line,
		       at - from + 1, words);
}

/* Tell what libyaml told. */
static int fail_parser(struct yaml_source *source)
{
	const yaml_parser_t *parser = &source->parser;
	const char *problem = parser->problem ? parser->problem : "no YAML";

	if (parser->error == YAML_MEMORY_ERROR)
		return yaml_source_fail_memory(source);
	if (parser->error == YAML_READER_ERROR)
		return fail_byte(source, parser->problem_offset, problem);
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

int yaml_source_init(struct yaml_source *source, const char *text, size_t length, struct err *err)
{
	static const char bom[] = "\xEF\xBB\xBF";
	const char *nul;

	*source = (struct yaml_source){.text = text, .length = length, .err = err};
	if (length > VALUE_FILE_MAX)
		return err_set(err, -EINVAL, "1:1: found %zu bytes, expected at most %u", length,
			       VALUE_FILE_MAX);
	if (length >= strlen(bom) && memcmp(text, bom, strlen(bom)) == 0) {
		source->text += strlen(bom);
		source->length -= strlen(bom);
	}
	nul = source->length ? memchr(source->text, '\0', source->length) : NULL;
	if (nul)
		return fail_byte(source, (size_t)(nul - source->text), "NUL");
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
