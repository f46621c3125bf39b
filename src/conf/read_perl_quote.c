/*
 * read_perl_quote.c - what stands inside the strings and numbers of a Perl literal.
 *
 * Happy path: perl_quoted() and perl_number() read up to the end of the string or number and give
 * what it means: escapes resolved, 0x1F and 0755 as decimals, as Perl itself would print them.
 *
 * Failure modes: a string that does not end, an escape that stands for no character, a variable in
 * a string of double quotes (that would be code), a number with something glued to it.
 */
#include "conf/read_perl_lex.h"

#include <errno.h>
#include <string.h>

static int add(struct perl_lex *lex, struct buf *out, char c)
{
	return buf_addc(out, c) < 0 ? perl_fail_memory(lex) : 0;
}

int perl_literal(struct perl_lex *lex, struct buf *out)
{
	if (perl_peek(lex, 0) == '\r' && perl_peek(lex, 1) == '\n')
		perl_step(lex);
	if (add(lex, out, perl_peek(lex, 0)) < 0)
		return -ENOMEM;
	perl_step(lex);
	return 0;
}

int perl_backslash(struct perl_lex *lex, struct buf *out, char open, char close)
{
	char next = perl_peek(lex, 1);

	if (next && (next == '\\' || next == open || next == close))
		perl_step(lex);
	return perl_literal(lex, out);
}

/* A character by its number, as UTF-8. */
static int add_char(struct perl_lex *lex, struct buf *out, struct perl_mark mark, unsigned long c)
{
	char utf8[4];
	size_t n = 0;

	if (c == 0)
		return perl_fail(lex, mark, "found a NUL character, expected text without");
	if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return perl_fail(lex, mark, "found \\x{%lX}, expected a Unicode character", c);
	if (c < 0x80) {
		utf8[n++] = (char)c;
	} else if (c < 0x800) {
		utf8[n++] = (char)(0xC0 | c >> 6);
		utf8[n++] = (char)(0x80 | (c & 0x3F));
	} else if (c < 0x10000) {
		utf8[n++] = (char)(0xE0 | c >> 12);
		utf8[n++] = (char)(0x80 | (c >> 6 & 0x3F));
		utf8[n++] = (char)(0x80 | (c & 0x3F));
	} else {
		utf8[n++] = (char)(0xF0 | c >> 18);
		utf8[n++] = (char)(0x80 | (c >> 12 & 0x3F));
		utf8[n++] = (char)(0x80 | (c >> 6 & 0x3F));
		utf8[n++] = (char)(0x80 | (c & 0x3F));
	}
	return buf_add(out, utf8, n) < 0 ? perl_fail_memory(lex) : 0;
}

/* The value of a digit in bases up to 16; -1: none of this base. */
static int digit_value(char c, int base)
{
	int value = perl_is_digit(c)         ? c - '0'
		    : (c >= 'a' && c <= 'f') ? c - 'a' + 10
		    : (c >= 'A' && c <= 'F') ? c - 'A' + 10
					     : -1;

	return value < base ? value : -1;
}

/* Up to max digits of an escape. */
static unsigned long escape_digits(struct perl_lex *lex, int base, int max)
{
	unsigned long value = 0;
	int digit;

	for (; max > 0 && (digit = digit_value(perl_peek(lex, 0), base)) >= 0; max--) {
		value = value * (unsigned long)base + (unsigned long)digit;
		perl_step(lex);
	}
	return value;
}

/* \xHH and \x{...}, the x gone over. */
static int hex_escape(struct perl_lex *lex, struct buf *out, struct perl_mark mark)
{
	unsigned long c;

	if (perl_peek(lex, 0) != '{')
		return add_char(lex, out, mark, escape_digits(lex, 16, 2));
	perl_step(lex);
	c = escape_digits(lex, 16, 6);
	if (perl_peek(lex, 0) != '}')
		return perl_fail(lex, mark,
				 "found an unfinished \\x{, expected up to 6 hex digits "
				 "and }");
	perl_step(lex);
	return add_char(lex, out, mark, c);
}

/* A backslash and what belongs to it as in "...". */
static int escape(struct perl_lex *lex, struct buf *out)
{
	static const char letters[] = "ntreafb";
	static const char meanings[] = "\n\t\r\033\a\f\b";
	struct perl_mark mark = perl_here(lex);
	const char *found;
	char c;

	perl_step(lex);
	c = perl_peek(lex, 0);
	if (!c)
		return 0; /* the caller meets the end of the text */
	if (!perl_is_word(c) || c == '_')
		return perl_literal(lex, out);
	if (c >= '0' && c <= '7')
		return add_char(lex, out, mark, escape_digits(lex, 8, 3));
	perl_step(lex);
	if (c == 'x')
		return hex_escape(lex, out, mark);
	found = strchr(letters, c);
	if (!found)
		return perl_fail(lex, mark,
				 "found \\%c in a string that knows escapes, expected \\n \\t \\r "
				 "\\e \\a \\f \\b \\xHH \\x{...} or a doubled backslash",
				 c);
	return add(lex, out, meanings[found - letters]);
}

/*
 * Would Perl put a variable's value here? A $ that ends the string is just a dollar, an @ before
 * what cannot be an array's name just an at sign.
 */
static bool interpolates(const struct perl_lex *lex, char close)
{
	char c = perl_peek(lex, 0), next = perl_peek(lex, 1);

	if (c == '$')
		return next != close;
	return c == '@' && next && (perl_is_word(next) || strchr("{$:+-", next));
}

/* Refuse "... $name ...", showing the name. */
static int fail_interpolation(struct perl_lex *lex)
{
	char shown[VALUE_SHOW_SIZE];
	size_t n = 2;

	while (perl_is_word(perl_peek(lex, n)))
		n++;
	if (lex->at + n > lex->length)
		n = lex->length - lex->at;
	value_show(shown, lex->text + lex->at, n);
	return perl_fail(lex, perl_here(lex), "found '%s' in a string, expected '\\%s': %s", shown,
			 shown, PERL_NO_CODE);
}

int perl_quoted(struct perl_lex *lex, struct buf *out, char open, char close, bool escapes,
		struct perl_mark begin)
{
	int depth = 1, rc;

	for (;;) {
		char c = perl_peek(lex, 0);

		if (!c)
			return perl_fail(lex, begin,
					 "found the end of the file in the string that begins "
					 "here, expected %c",
					 close);
		if (c == close && --depth == 0)
			break;
		if (c == open && open != close)
			depth++;
		if (c == '\\')
			rc = escapes ? escape(lex, out) : perl_backslash(lex, out, open, close);
		else if (escapes && interpolates(lex, close))
			rc = fail_interpolation(lex);
		else
			rc = perl_literal(lex, out);
		if (rc < 0)
			return rc;
	}
	perl_step(lex);
	return 0;
}

/* ---------------------------------------------------------------------------------------- numbers
 */

/* Digits, an underscore allowed before each but the first. */
static int digits(struct perl_lex *lex, struct buf *out)
{
	for (;;) {
		if (perl_peek(lex, 0) == '_' && perl_is_digit(perl_peek(lex, 1)))
			perl_step(lex);
		if (!perl_is_digit(perl_peek(lex, 0)))
			return 0;
		if (add(lex, out, perl_peek(lex, 0)) < 0)
			return -ENOMEM;
		perl_step(lex);
	}
}

/* 12, 1.5, .5; the fraction's last zeros go, as Perl would print it: 0.0 must be false. */
static int decimal(struct perl_lex *lex, struct buf *out)
{
	if (perl_peek(lex, 0) == '.' && add(lex, out, '0') < 0)
		return -ENOMEM;
	if (digits(lex, out) < 0)
		return -ENOMEM;
	if (perl_peek(lex, 0) != '.' || !perl_is_digit(perl_peek(lex, 1)))
		return 0;
	perl_step(lex);
	if (add(lex, out, '.') < 0 || digits(lex, out) < 0)
		return -ENOMEM;
	while (out->data[out->len - 1] == '0')
		out->data[--out->len] = '\0';
	if (out->data[out->len - 1] == '.')
		out->data[--out->len] = '\0';
	return 0;
}

/* The base of a number that begins with 0, and how long its prefix is; 10: a plain decimal. */
static int number_base(const struct perl_lex *lex, int *prefix)
{
	static const struct {
		char letter;
		int base;
	} bases[] = {{'x', 16}, {'b', 2}, {'o', 8}};
	char next = perl_peek(lex, 1);

	if (perl_peek(lex, 0) != '0')
		return 10;
	*prefix = 2;
	for (size_t i = 0; i < ARRAY_LEN(bases); i++)
		if ((next | 0x20) == bases[i].letter)
			return bases[i].base;
	*prefix = 1;
	return perl_is_digit(next) || next == '_' ? 8 : 10;
}

/* The digits of another base. Returns how many there were; -1: too large for 64 bits. */
static int based(struct perl_lex *lex, int base, uint64_t *value)
{
	int count = 0;

	*value = 0;
	for (;; count++) {
		int digit = digit_value(perl_peek(lex, perl_peek(lex, 0) == '_'), base);

		if (digit < 0)
			return count;
		if (*value > (UINT64_MAX - (uint64_t)digit) / (uint64_t)base)
			return -1;
		*value = *value * (uint64_t)base + (uint64_t)digit;
		if (perl_peek(lex, 0) == '_')
			perl_step(lex);
		perl_step(lex);
	}
}

/* Refuse what began as a number, showing all that is glued to it. */
static int fail_number(struct perl_lex *lex, struct perl_mark mark, size_t from,
		       const char *expected)
{
	char shown[VALUE_SHOW_SIZE];

	while (perl_is_word(perl_peek(lex, 0)) || perl_peek(lex, 0) == '.')
		perl_step(lex);
	value_show(shown, lex->text + from, lex->at - from);
	return perl_fail(lex, mark, "found '%s', expected %s", shown, expected);
}

int perl_number(struct perl_lex *lex, struct buf *out, bool negative)
{
	struct perl_mark mark = perl_here(lex);
	size_t from = lex->at;
	int prefix = 0, base = number_base(lex, &prefix), count = 1, rc;
	uint64_t value = 0;

	if (base == 10) {
		rc = decimal(lex, out);
	} else {
		while (prefix-- > 0)
			perl_step(lex);
		count = based(lex, base, &value);
		if (count < 0)
			return fail_number(lex, mark, from, "a number of at most 64 bits");
		/* An octal number stays as it is written: localmode => 0660 means what it says, and
		 * options in decimal refuse it, where Perl would quietly make 432 of it. */
		rc = base == 8 ? buf_addf(out, value ? "0%llo" : "0", (unsigned long long)value)
			       : buf_addf(out, "%llu", (unsigned long long)value);
	}
	if (rc < 0)
		return perl_fail_memory(lex);
	if (count == 0 || perl_is_word(perl_peek(lex, 0)) || perl_peek(lex, 0) == '.')
		return fail_number(lex, mark, from, "a number, or text in quotes");
	if (negative && strcmp(buf_text(out), "0") != 0) {
		if (add(lex, out, '-') < 0)
			return -ENOMEM;
		memmove(out->data + 1, out->data, out->len - 1);
		out->data[0] = '-';
	}
	return 0;
}
