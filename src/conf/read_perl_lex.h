/*
 * read_perl_lex.h - the Perl literal reader's own parts: characters to tokens (read_perl_lex.c),
 * and what stands inside a string or number (read_perl_quote.c). For read_perl.c only.
 */
#ifndef CONF_READ_PERL_LEX_H
#define CONF_READ_PERL_LEX_H

#include "conf/value.h"

/* What every refusal of an expression says. */
#define PERL_NO_CODE "a config file is data, code is not run"

enum perl_kind {
	PERL_END,        /* end of the text, __END__ or __DATA__ */
	PERL_OPEN_MAP,   /* { */
	PERL_CLOSE_MAP,  /* } */
	PERL_OPEN_LIST,  /* [ */
	PERL_CLOSE_LIST, /* ] */
	PERL_COMMA,      /* , or => */
	PERL_SEMICOLON,  /* ; */
	PERL_SCALAR,     /* string, number, -word, or a word before => */
	PERL_UNDEF,      /* the word undef */
	PERL_WORD,       /* any other bare word: no data */
};

/* A place in the text; both from 1, columns in bytes. */
struct perl_mark {
	int line, column;
};

struct perl_token {
	enum perl_kind kind;
	struct perl_mark begin, end; /* end: just after it */
	size_t from, to;             /* its bytes as written: text[from..to) */
	struct buf text;             /* PERL_SCALAR: what it means */
};

struct perl_lex {
	const char *text; /* holds no NUL: that is how the end is seen */
	size_t length;
	size_t at;        /* the next byte */
	int line;         /* the line of that byte */
	size_t line_from; /* where this line begins */
	/* Inside qw(...): its delimiters (NUL: not inside), and whether a word was given, so that a
	 * comma is due before the next. */
	char words_begin, words_end;
	bool words_comma;
	const struct value_warn *warn;
	struct err *err;
};

/* Start on a text; refuses NUL bytes and texts that are too long. Returns 0 or -EINVAL. */
int perl_lex_init(struct perl_lex *lex, const char *text, size_t length,
		  const struct value_warn *warn, struct err *err);

/* The next token. token->text must be a buf from buf_init(); it is emptied first. */
int perl_lex_next(struct perl_lex *lex, struct perl_token *token);

/* The byte that far ahead; NUL past the end. */
char perl_peek(const struct perl_lex *lex, size_t ahead);
/* Go over one byte, counting lines. */
void perl_step(struct perl_lex *lex);
struct perl_mark perl_here(const struct perl_lex *lex);

/* Record "LINE:COLUMN: words"; returns -EINVAL, or -ENOMEM. */
int perl_fail(struct perl_lex *lex, struct perl_mark mark, const char *format, ...)
    PRINTF_LIKE(3, 4);
int perl_fail_memory(struct perl_lex *lex);
void perl_warn(struct perl_lex *lex, struct perl_mark mark, const char *format, ...)
    PRINTF_LIKE(3, 4);

/*
 * Read a string whose opening delimiter has been gone over, up to and including the closing one.
 * escapes: as in "..."; otherwise as in '...'. begin: where the string began, for messages.
 */
int perl_quoted(struct perl_lex *lex, struct buf *out, char open, char close, bool escapes,
		struct perl_mark begin);

/* Read a backslash and what belongs to it as in '...': only \\ and a delimiter are escapes. */
int perl_backslash(struct perl_lex *lex, struct buf *out, char open, char close);

/* Read one byte as it is; CR LF counts as one newline. */
int perl_literal(struct perl_lex *lex, struct buf *out);

/* Read a number whose minus, if any, has been gone over; out gets it as Perl would print it. */
int perl_number(struct perl_lex *lex, struct buf *out, bool negative);

static inline bool perl_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool perl_is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static inline bool perl_is_word(char c)
{
	return perl_is_alpha(c) || perl_is_digit(c);
}

static inline bool perl_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

#endif
