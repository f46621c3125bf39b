/*
 * read_perl_lex.c - a Perl literal's characters to tokens.
 *
 * Happy path: perl_lex_init(), then perl_lex_next() until PERL_END. Blanks, comments and POD vanish
 * here; the words of qw(...) come out as scalars with commas between, so that the parser knows
 * nothing of them.
 *
 * Failure modes: a character that begins no data (a variable, an operator, a call) is refused with
 * its place and the words that code is not run; so are NUL bytes and files that are too large.
 */
#include "conf/read_perl_lex.h"

#include <errno.h>
#include <string.h>

char perl_peek(const struct perl_lex *lex, size_t ahead)
{
	return ahead < lex->length - lex->at ? lex->text[lex->at + ahead] : '\0';
}

void perl_step(struct perl_lex *lex)
{
	if (lex->at >= lex->length)
		return;
	if (lex->text[lex->at++] == '\n') {
		lex->line++;
		lex->line_from = lex->at;
	}
}

struct perl_mark perl_here(const struct perl_lex *lex)
{
	return (struct perl_mark){lex->line, (int)(lex->at - lex->line_from) + 1};
}

int perl_fail(struct perl_lex *lex, struct perl_mark mark, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	err_vset(lex->err, -EINVAL, format, args);
	va_end(args);
	err_prefix(lex->err, "%d:%d: ", mark.line, mark.column);
	return -EINVAL;
}

int perl_fail_memory(struct perl_lex *lex)
{
	return err_set(lex->err, -ENOMEM, "%d: memory ran out while reading", lex->line);
}

void perl_warn(struct perl_lex *lex, struct perl_mark mark, const char *format, ...)
{
	struct err words;
	va_list args;

	if (!lex->warn || !lex->warn->warn)
		return;
	va_start(args, format);
	err_vset(&words, 0, format, args);
	va_end(args);
	lex->warn->warn(lex->warn->arg, mark.line, mark.column, words.text);
}

int perl_lex_init(struct perl_lex *lex, const char *text, size_t length,
		  const struct value_warn *warn, struct err *err)
{
	static const char bom[] = "\xEF\xBB\xBF";
	size_t size = length > VALUE_FILE_MAX ? VALUE_FILE_MAX : length;
	const char *nul = size ? memchr(text, '\0', size) : NULL;

	if (!text)
		text = ""; /* of an empty file nobody has a buffer */
	*lex = (struct perl_lex){.text = text, .length = size, .line = 1, .warn = warn, .err = err};
	if (length > VALUE_FILE_MAX)
		return perl_fail(lex, perl_here(lex), "found %zu bytes, expected at most %u",
				 length, VALUE_FILE_MAX);
	if (size >= strlen(bom) && memcmp(text, bom, strlen(bom)) == 0)
		lex->at = lex->line_from = strlen(bom);
	if (!nul)
		return 0;
	while (lex->at < (size_t)(nul - text))
		perl_step(lex);
	return perl_fail(lex, perl_here(lex), "found a NUL byte, expected text");
}

/* --------------------------------------------------------------------------- what is passed over
 */

static void skip_line(struct perl_lex *lex)
{
	while (perl_peek(lex, 0) && perl_peek(lex, 0) != '\n')
		perl_step(lex);
	perl_step(lex);
}

/* At the "=word" that begins POD: go over all up to and including the line "=cut". */
static void skip_pod(struct perl_lex *lex)
{
	bool cut;

	skip_line(lex);
	while (perl_peek(lex, 0)) {
		cut = lex->length - lex->at >= 4 && memcmp(lex->text + lex->at, "=cut", 4) == 0 &&
		      !perl_is_word(perl_peek(lex, 4));
		skip_line(lex);
		if (cut)
			return;
	}
}

static void skip_blank(struct perl_lex *lex)
{
	for (;;) {
		char c = perl_peek(lex, 0);

		if (perl_is_space(c))
			perl_step(lex);
		else if (c == '#')
			skip_line(lex);
		else if (c == '=' && lex->at == lex->line_from && perl_is_alpha(perl_peek(lex, 1)))
			skip_pod(lex);
		else
			return;
	}
}

/* ------------------------------------------------------------------------------- kinds of tokens
 */

/* Refuse what begins no data: show its signs and the word after them. */
static int fail_code(struct perl_lex *lex, const struct perl_token *token)
{
	char shown[VALUE_SHOW_SIZE];
	size_t n = 1;

	while (perl_peek(lex, n) && !perl_is_word(perl_peek(lex, n)) &&
	       !perl_is_space(perl_peek(lex, n)))
		n++;
	while (perl_is_word(perl_peek(lex, n)))
		n++;
	value_show(shown, lex->text + lex->at, n);
	return perl_fail(lex, token->begin, "found '%s', expected a value or punctuation: %s",
			 shown, PERL_NO_CODE);
}

static void skip_space(struct perl_lex *lex)
{
	while (perl_is_space(perl_peek(lex, 0)))
		perl_step(lex);
}

/* Inside qw(...), at a word: read it, and the closing delimiter when it was the last. */
static int scan_word_of_list(struct perl_lex *lex, struct perl_token *token)
{
	int rc;

	token->kind = PERL_SCALAR;
	while (perl_peek(lex, 0) != lex->words_end && !perl_is_space(perl_peek(lex, 0))) {
		if (!perl_peek(lex, 0))
			return perl_fail(lex, token->begin,
					 "found the end of the file in qw, expected %c",
					 lex->words_end);
		if (perl_peek(lex, 0) == '\\')
			rc = perl_backslash(lex, &token->text, lex->words_begin, lex->words_end);
		else
			rc = perl_literal(lex, &token->text);
		if (rc < 0)
			return rc;
	}
	skip_space(lex);
	lex->words_comma = perl_peek(lex, 0) != lex->words_end;
	if (!lex->words_comma) {
		perl_step(lex);
		lex->words_end = '\0';
	}
	return 0;
}

/* Inside qw(...): a word, or the comma before the next. */
static int scan_words(struct perl_lex *lex, struct perl_token *token)
{
	if (!lex->words_comma)
		return scan_word_of_list(lex, token);
	lex->words_comma = false;
	token->kind = PERL_COMMA;
	return 0;
}

/* The delimiter that closes what this one opens; NUL: it opens nothing. */
static char closing(char open)
{
	static const char pairs[] = "()[]{}<>//||!!~~''\"\"";

	for (const char *p = pairs; *p; p += 2)
		if (p[0] == open)
			return p[1];
	return '\0';
}

/* q(...), qq(...), qw(...), the q word gone over. Untouched when no delimiter follows. */
static int scan_quote_word(struct perl_lex *lex, struct perl_token *token, char kind)
{
	struct perl_lex ahead = *lex;
	char open, close;

	skip_blank(&ahead);
	open = perl_peek(&ahead, 0);
	close = closing(open);
	if (!close)
		return 0;
	*lex = ahead;
	perl_step(lex);
	token->kind = PERL_SCALAR;
	if (kind != 'w')
		return perl_quoted(lex, &token->text, open, close, kind == 'q', token->begin);
	lex->words_begin = open;
	lex->words_end = close;
	skip_space(lex);
	if (perl_peek(lex, 0) == close)
		return perl_fail(lex, token->begin, "found qw without words, expected some");
	token->from = lex->at;
	token->begin = perl_here(lex);
	return scan_word_of_list(lex, token);
}

/* Is a word here a key because => comes next? */
static bool arrow_follows(const struct perl_lex *lex)
{
	struct perl_lex ahead = *lex;

	skip_blank(&ahead);
	return perl_peek(&ahead, 0) == '=' && perl_peek(&ahead, 1) == '>';
}

static bool word_is(const struct perl_token *token, const char *word)
{
	return strcmp(buf_text(&token->text), word) == 0;
}

/* A bare word; its text is gathered in the token, whatever it turns out to be. */
static int scan_word(struct perl_lex *lex, struct perl_token *token)
{
	size_t from = lex->at;
	char kind;

	while (perl_is_word(perl_peek(lex, 0)))
		perl_step(lex);
	if (buf_add(&token->text, lex->text + from, lex->at - from) < 0)
		return perl_fail_memory(lex);
	token->kind = PERL_SCALAR;
	if (arrow_follows(lex))
		return 0;
	if (word_is(token, "q") || word_is(token, "qq") || word_is(token, "qw")) {
		kind = token->text.data[1];
		token->text.len = 0;
		token->text.data[0] = '\0';
		token->kind = PERL_WORD;
		return scan_quote_word(lex, token, kind);
	}
	if (word_is(token, "__END__") || word_is(token, "__DATA__")) {
		token->kind = PERL_END;
		lex->length = lex->at;
	} else {
		token->kind = word_is(token, "undef") ? PERL_UNDEF : PERL_WORD;
	}
	return 0;
}

/* -4, -0x10, -word. */
static int scan_minus(struct perl_lex *lex, struct perl_token *token)
{
	char next = perl_peek(lex, 1);

	if (perl_is_digit(next) || (next == '.' && perl_is_digit(perl_peek(lex, 2)))) {
		perl_step(lex);
		return perl_number(lex, &token->text, true);
	}
	if (!perl_is_alpha(next))
		return fail_code(lex, token);
	do {
		if (perl_literal(lex, &token->text) < 0)
			return -ENOMEM;
	} while (perl_is_word(perl_peek(lex, 0)));
	return 0;
}

static int scan(struct perl_lex *lex, struct perl_token *token)
{
	static const struct {
		const char *sign;
		enum perl_kind kind;
	} signs[] = {
	    {"{", PERL_OPEN_MAP},   {"}", PERL_CLOSE_MAP}, {"[", PERL_OPEN_LIST},
	    {"]", PERL_CLOSE_LIST}, {",", PERL_COMMA},     {"=>", PERL_COMMA},
	    {";", PERL_SEMICOLON},
	};
	char c = perl_peek(lex, 0);

	for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
		if (c != signs[i].sign[0] || (signs[i].sign[1] && perl_peek(lex, 1) != '>'))
			continue;
		for (const char *p = signs[i].sign; *p; p++)
			perl_step(lex);
		token->kind = signs[i].kind;
		return 0;
	}
	token->kind = c ? PERL_SCALAR : PERL_END;
	if (!c)
		return 0;
	if (perl_is_alpha(c))
		return scan_word(lex, token);
	if (perl_is_digit(c) || (c == '.' && perl_is_digit(perl_peek(lex, 1))))
		return perl_number(lex, &token->text, false);
	if (c == '-')
		return scan_minus(lex, token);
	if (c != '\'' && c != '"')
		return fail_code(lex, token);
	perl_step(lex);
	return perl_quoted(lex, &token->text, c, c, c == '"', token->begin);
}

int perl_lex_next(struct perl_lex *lex, struct perl_token *token)
{
	bool words = lex->words_end != '\0';
	int rc;

	if (!words)
		skip_blank(lex);
	token->text.len = 0;
	if (token->text.data)
		token->text.data[0] = '\0';
	token->begin = perl_here(lex);
	token->from = lex->at;
	rc = words ? scan_words(lex, token) : scan(lex, token);
	token->to = lex->at;
	token->end = perl_here(lex);
	return rc;
}
