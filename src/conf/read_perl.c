/*
 * read_perl.c - config files in the syntax of the original: one Perl literal, read as data.
 *
 * Happy path: value_read_perl() asks the lexer (read_perl_lex.c) for tokens and builds the tree by
 * recursive descent: a hash or list of scalars, hashes and lists, with `,` and `=>` between them,
 * and perhaps a `;` at the end.
 *
 * Failure modes: all that is no data is refused with its place; so are odd hashes and what is too
 * deep or too much. Two slips are only warned about: a key that is set twice (the later wins, as
 * in Perl), and a comma missing between elements on separate lines (the original's own sample has
 * this).
 */
#include "conf/read_perl_lex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct perl_lex lex;
	struct perl_token token; /* the next one, not used up */
	struct perl_mark end;    /* where the last one used up ended */
	int depth;
	size_t count; /* values so far */
};

static int read_value(struct reader *reader, struct value **out);

static int advance(struct reader *reader)
{
	reader->end = reader->token.end;
	return perl_lex_next(&reader->lex, &reader->token);
}

/* The next token is none that may stand here. */
static int unexpected(struct reader *reader, const char *expected)
{
	const struct perl_token *token = &reader->token;
	const char *source = reader->lex.text + token->from;
	const char *quote = token->from < token->to && strchr("'\"", *source) ? "" : "'";
	char shown[VALUE_SHOW_SIZE];

	if (token->kind == PERL_END)
		return perl_fail(&reader->lex, token->begin,
				 "found the end of the file, expected %s", expected);
	value_show(shown, source, token->to - token->from);
	if (token->kind == PERL_WORD)
		return perl_fail(&reader->lex, token->begin,
				 "found '%s', expected %s: %s (text stands in quotes)", shown,
				 expected, PERL_NO_CODE);
	return perl_fail(&reader->lex, token->begin, "found %s%s%s, expected %s", quote, shown,
			 quote, expected);
}

/* A pair of a hash. */
static int read_pair(struct reader *reader, struct value *map)
{
	struct perl_mark mark = reader->token.begin;
	struct value *item = NULL;
	char shown[VALUE_SHOW_SIZE];
	char *key;
	int rc;

	if (reader->token.kind != PERL_SCALAR)
		return unexpected(reader, "a key");
	key = strdup(buf_text(&reader->token.text));
	if (!key)
		return perl_fail_memory(&reader->lex);
	value_show(shown, key, strlen(key));
	rc = advance(reader);
	if (rc == 0 && reader->token.kind == PERL_COMMA)
		rc = advance(reader);
	else if (rc == 0 && reader->token.kind != PERL_CLOSE_MAP)
		rc = unexpected(reader, "'=>' after the key");
	if (rc == 0 && reader->token.kind == PERL_CLOSE_MAP)
		rc = perl_fail(&reader->lex, reader->token.begin,
			       "found '}', expected a value for the key '%s' (an odd number of "
			       "elements)",
			       shown);
	if (rc == 0)
		rc = read_value(reader, &item);
	if (rc == 0) {
		item->key_line = mark.line;
		item->key_column = mark.column;
		rc = value_map_put(map, key, item);
		if (rc > 0)
			perl_warn(&reader->lex, mark,
				  "the key '%s' is set twice, this later one counts", shown);
		else if (rc < 0)
			perl_fail_memory(&reader->lex);
	}
	free(key);
	return rc < 0 ? rc : 0;
}

static int read_element(struct reader *reader, struct value *list)
{
	struct value *item;
	int rc = read_value(reader, &item);

	if (rc < 0)
		return rc;
	return value_list_add(list, item) < 0 ? perl_fail_memory(&reader->lex) : 0;
}

/*
 * May a comma be missing before the next token? Only where the line ended, and not before a sign
 * that Perl would take for an operator between the two.
 */
static bool comma_may_miss(const struct reader *reader)
{
	const struct perl_token *token = &reader->token;
	char first = perl_peek(&reader->lex, 0);

	if (token->begin.line == reader->end.line)
		return false;
	if (token->from < reader->lex.length)
		first = reader->lex.text[token->from];
	return token->kind == PERL_OPEN_MAP || token->kind == PERL_OPEN_LIST ||
	       (token->kind == PERL_SCALAR && first != '-' && first != '.');
}

/* What stands between two elements, or before the closing bracket. */
static int read_commas(struct reader *reader, enum perl_kind close)
{
	int rc;

	if (reader->token.kind == close)
		return 0;
	if (reader->token.kind != PERL_COMMA) {
		if (!comma_may_miss(reader))
			return unexpected(reader,
					  close == PERL_CLOSE_MAP ? "',' or '}'" : "',' or ']'");
		perl_warn(&reader->lex, reader->end, "a comma is missing here");
		return 0;
	}
	do {
		rc = advance(reader);
	} while (rc == 0 && reader->token.kind == PERL_COMMA);
	return rc;
}

/* A hash or list, from its opening to its closing bracket. */
static int read_group(struct reader *reader, struct value *group)
{
	bool map = group->kind == VALUE_MAP;
	enum perl_kind close = map ? PERL_CLOSE_MAP : PERL_CLOSE_LIST;
	int rc;

	if (reader->depth == VALUE_DEPTH_MAX)
		return perl_fail(&reader->lex, reader->token.begin,
				 "found one more nesting, expected at most %d", VALUE_DEPTH_MAX);
	reader->depth++;
	rc = advance(reader);
	while (rc == 0 && reader->token.kind != close) {
		rc = map ? read_pair(reader, group) : read_element(reader, group);
		if (rc == 0)
			rc = read_commas(reader, close);
	}
	reader->depth--;
	return rc < 0 ? rc : advance(reader);
}

static int read_value(struct reader *reader, struct value **out)
{
	static const enum value_kind kinds[] = {
	    [PERL_OPEN_MAP] = VALUE_MAP,
	    [PERL_OPEN_LIST] = VALUE_LIST,
	    [PERL_UNDEF] = VALUE_UNDEF,
	    [PERL_SCALAR] = VALUE_SCALAR,
	};
	const struct perl_token *token = &reader->token;
	struct value *value;
	int rc;

	if (token->kind != PERL_OPEN_MAP && token->kind != PERL_OPEN_LIST &&
	    token->kind != PERL_UNDEF && token->kind != PERL_SCALAR)
		return unexpected(reader, "a value");
	if (++reader->count > VALUE_COUNT_MAX)
		return perl_fail(&reader->lex, token->begin,
				 "found one more value, expected at most %u", VALUE_COUNT_MAX);
	if (token->kind == PERL_SCALAR)
		value = value_new_scalar(buf_text(&token->text), token->begin.line,
					 token->begin.column);
	else
		value = value_new(kinds[token->kind], token->begin.line, token->begin.column);
	if (!value)
		return perl_fail_memory(&reader->lex);
	if (value->kind == VALUE_MAP || value->kind == VALUE_LIST)
		rc = read_group(reader, value);
	else
		rc = advance(reader);
	if (rc < 0) {
		value_free(value);
		return rc;
	}
	*out = value;
	return 0;
}

/* The whole text: one hash or list, semicolons, the end. */
static int read_file(struct reader *reader, struct value **out)
{
	struct value *top;
	int rc = advance(reader);

	if (rc < 0)
		return rc;
	if (reader->token.kind != PERL_OPEN_MAP && reader->token.kind != PERL_OPEN_LIST)
		return unexpected(reader, "'{'");
	rc = read_value(reader, &top);
	if (rc < 0)
		return rc;
	while (rc == 0 && reader->token.kind == PERL_SEMICOLON)
		rc = advance(reader);
	if (rc == 0 && reader->token.kind != PERL_END)
		rc = unexpected(reader, "';' or the end of the file");
	if (rc < 0) {
		value_free(top);
		return rc;
	}
	*out = top;
	return 0;
}

int value_read_perl(struct value **out, const char *text, size_t length,
		    const struct value_warn *warn, struct err *err)
{
	struct reader reader = {0};
	int rc = perl_lex_init(&reader.lex, text, length, warn, err);

	if (rc < 0)
		return rc;
	buf_init(&reader.token.text, VALUE_FILE_MAX);
	rc = read_file(&reader, out);
	buf_finish(&reader.token.text);
	return rc;
}
