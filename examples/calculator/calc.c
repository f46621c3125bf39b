/*
 * calc.c - the evaluator behind calc.h: precedence climbing over a table of operators, computing
 * while it reads.
 *
 * Happy path: calc_eval() -> binary(lowest) -> unary() -> power() -> primary(), and back up as long
 * as the next operator binds tightly enough; then the text must be at its end. Failure: the first
 * fail() records column and words; every caller returns at once. The C stack is bounded by
 * CALC_DEPTH_MAX, time by the length of the text.
 */
#include "calc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct parser {
	const char *text;
	size_t length;
	size_t at; /* next byte to look at */
	int depth; /* of recursion, see CALC_DEPTH_MAX */
	struct calc_error *error;
};

static int binary(struct parser *p, int floor, int64_t *out);
static int unary(struct parser *p, int64_t *out);

/* at: the offset the error is about. */
static int fail(struct parser *p, size_t at, int code, const char *words)
{
	p->error->column = at + 1;
	p->error->words = words;
	return code;
}

/* ------------------------------------------------------------------------------------ reading */

/* A byte further on; NUL past the end, which is no part of any expression either. */
static char peek(const struct parser *p, size_t ahead)
{
	return ahead < p->length - p->at ? p->text[p->at + ahead] : '\0';
}

static void skip_blanks(struct parser *p)
{
	while (peek(p, 0) == ' ' || peek(p, 0) == '\t')
		p->at++;
}

/* Does this operator stand here? A single '*' is not the start of "**". */
static bool stands(const struct parser *p, const char *op)
{
	size_t size = strlen(op);

	if (p->length - p->at < size || memcmp(p->text + p->at, op, size) != 0)
		return false;
	return !(size == 1 && op[0] == '*' && peek(p, 1) == '*');
}

static bool take(struct parser *p, const char *op)
{
	skip_blanks(p);
	if (!stands(p, op))
		return false;
	p->at += strlen(op);
	return true;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 10;
	return -1;
}

/* The base of the literal that begins here; its prefix is taken. */
static unsigned literal_base(struct parser *p)
{
	char mark = peek(p, 1);

	if (peek(p, 0) != '0' || digit_value(mark) < 0)
		return 10;
	if (mark == 'x' || mark == 'X') {
		p->at += 2;
		return 16;
	}
	if (mark == 'b' || mark == 'B') {
		p->at += 2;
		return 2;
	}
	p->at++;
	return 8;
}

static int literal(struct parser *p, int64_t *out)
{
	size_t start = p->at, digits;
	unsigned base = literal_base(p);
	uint64_t value = 0;
	int digit;

	for (digits = p->at; (digit = digit_value(peek(p, 0))) >= 0; p->at++) {
		if ((unsigned)digit >= base)
			return fail(p, p->at, -EINVAL, "not a digit of this number");
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit, &value))
			return fail(p, start, -ERANGE, "number out of range");
	}
	if (p->at == digits)
		return fail(p, p->at, -EINVAL, "digits expected");
	if (base == 10 && value > INT64_MAX)
		return fail(p, start, -ERANGE, "number out of range");
	*out = (int64_t)value;
	return 0;
}

/* The one number whose positive does not exist. After its minus was taken: the rest of it? */
static bool take_lowest(struct parser *p)
{
	static const char digits[] = "9223372036854775808";
	struct parser ahead = *p;

	if (!take(&ahead, digits) || digit_value(peek(&ahead, 0)) >= 0)
		return false;
	skip_blanks(&ahead);
	if (stands(&ahead, "**")) /* which would come before the minus */
		return false;
	p->at = ahead.at;
	return true;
}

/* ---------------------------------------------------------------------------------- operators */

/* One operation. Returns 0 and *out, or a negative errno and *words. */
typedef int apply_fn(int64_t a, int64_t b, int64_t *out, const char **words);

static int overflow_if(bool yes, const char **words)
{
	*words = "result out of range";
	return yes ? -ERANGE : 0;
}

static int add(int64_t a, int64_t b, int64_t *out, const char **words)
{
	return overflow_if(__builtin_add_overflow(a, b, out), words);
}

static int subtract(int64_t a, int64_t b, int64_t *out, const char **words)
{
	return overflow_if(__builtin_sub_overflow(a, b, out), words);
}

static int multiply(int64_t a, int64_t b, int64_t *out, const char **words)
{
	return overflow_if(__builtin_mul_overflow(a, b, out), words);
}

static int divide(int64_t a, int64_t b, int64_t *out, const char **words)
{
	if (b == 0) {
		*words = "division by zero";
		return -EDOM;
	}
	if (b == -1) /* the processor traps on INT64_MIN / -1 */
		return subtract(0, a, out, words);
	*out = a / b;
	return 0;
}

static int modulo(int64_t a, int64_t b, int64_t *out, const char **words)
{
	if (b == 0) {
		*words = "division by zero";
		return -EDOM;
	}
	*out = b == -1 ? 0 : a % b; /* the processor traps on INT64_MIN % -1 */
	return 0;
}

static int shift_count_wrong(int64_t count, const char **words)
{
	*words = "shift count must be 0 to 63";
	return count < 0 || count > 63 ? -EDOM : 0;
}

static int shift_left(int64_t a, int64_t b, int64_t *out, const char **words)
{
	if (shift_count_wrong(b, words) < 0)
		return -EDOM;
	*out = (int64_t)((uint64_t)a << b);
	return 0;
}

static int shift_right(int64_t a, int64_t b, int64_t *out, const char **words)
{
	if (shift_count_wrong(b, words) < 0)
		return -EDOM;
	*out = a >> b; /* arithmetic in gcc and clang, by their manuals */
	return 0;
}

static int bit_and(int64_t a, int64_t b, int64_t *out, const char **words)
{
	(void)words;
	*out = a & b;
	return 0;
}

static int bit_or(int64_t a, int64_t b, int64_t *out, const char **words)
{
	(void)words;
	*out = a | b;
	return 0;
}

static int bit_xor(int64_t a, int64_t b, int64_t *out, const char **words)
{
	(void)words;
	*out = a ^ b;
	return 0;
}

/* By squaring: at most 63 rounds, whatever the exponent. */
static int exponentiate(int64_t a, int64_t b, int64_t *out, const char **words)
{
	int64_t result = 1;

	if (b < 0) {
		*words = "negative exponent";
		return -EDOM;
	}
	while (b > 0) {
		if ((b & 1) && multiply(result, a, &result, words) < 0)
			return -ERANGE;
		b >>= 1;
		if (b > 0 && multiply(a, a, &a, words) < 0)
			return -ERANGE;
	}
	*out = result;
	return 0;
}

/* The binary operators that group to the left; a higher level binds tighter. */
static const struct infix {
	const char *text;
	int level;
	apply_fn *apply;
} operators[] = {
    {"|", 1, bit_or},       {"^", 1, bit_xor}, {"&", 2, bit_and},  {"<<", 3, shift_left},
    {">>", 3, shift_right}, {"+", 4, add},     {"-", 4, subtract}, {"*", 5, multiply},
    {"/", 5, divide},       {"%", 5, modulo},
};

#define LOWEST_LEVEL 1

static const struct infix *find_operator(const struct parser *p)
{
	for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
		if (stands(p, operators[i].text))
			return &operators[i];
	return NULL;
}

/* ------------------------------------------------------------------------------------ parsing */

static int primary(struct parser *p, int64_t *out)
{
	int result;

	skip_blanks(p);
	if (peek(p, 0) >= '0' && peek(p, 0) <= '9')
		return literal(p, out);
	if (p->at == p->length)
		return fail(p, p->at, -EINVAL, "the expression is not complete");
	if (!take(p, "("))
		return fail(p, p->at, -EINVAL, "a number, a sign or ( expected");
	result = binary(p, LOWEST_LEVEL, out);
	if (result < 0)
		return result;
	if (!take(p, ")"))
		return fail(p, p->at, -EINVAL, "an operator or ) expected");
	return 0;
}

static int power(struct parser *p, int64_t *out)
{
	const char *words;
	int64_t base, exponent;
	size_t at;
	int result = primary(p, &base);

	if (result < 0)
		return result;
	if (!take(p, "**")) {
		*out = base;
		return 0;
	}
	at = p->at - 2;
	result = unary(p, &exponent);
	if (result < 0)
		return result;
	result = exponentiate(base, exponent, out, &words);
	return result < 0 ? fail(p, at, result, words) : 0;
}

/* A sign or complement and what it applies to; p stands behind the sign, which was at. */
static int signed_term(struct parser *p, char sign, size_t at, int64_t *out)
{
	const char *words;
	int64_t value;
	int result;

	if (sign == '-' && take_lowest(p)) {
		*out = INT64_MIN;
		return 0;
	}
	result = unary(p, &value);
	if (result < 0)
		return result;
	if (sign == '-' && (result = subtract(0, value, &value, &words)) < 0)
		return fail(p, at, result, words);
	*out = sign == '~' ? ~value : value;
	return 0;
}

/* Every way to recurse comes through here, so this is where depth is counted. */
static int unary(struct parser *p, int64_t *out)
{
	size_t at;
	char sign;
	int result;

	skip_blanks(p);
	at = p->at;
	sign = peek(p, 0);
	if (++p->depth > CALC_DEPTH_MAX)
		return fail(p, at, -EINVAL, "nested too deeply");
	if (sign == '-' || sign == '+' || sign == '~') {
		p->at++;
		result = signed_term(p, sign, at, out);
	} else {
		result = power(p, out);
	}
	p->depth--;
	return result;
}

/* A chain of operators of this level or tighter. */
static int binary(struct parser *p, int floor, int64_t *out)
{
	const struct infix *op;
	const char *words;
	int64_t left, right;
	size_t at;
	int result = unary(p, &left);

	while (result == 0) {
		skip_blanks(p);
		op = find_operator(p);
		if (!op || op->level < floor)
			break;
		at = p->at;
		p->at += strlen(op->text);
		result = binary(p, op->level + 1, &right);
		if (result < 0)
			return result;
		result = op->apply(left, right, &left, &words);
		if (result < 0)
			return fail(p, at, result, words);
	}
	if (result == 0)
		*out = left;
	return result;
}

int calc_eval(const char *text, size_t length, int64_t *out, struct calc_error *error)
{
	struct parser p = {.text = text, .length = length, .error = error};
	int64_t value;
	int result = binary(&p, LOWEST_LEVEL, &value);

	if (result < 0)
		return result;
	skip_blanks(&p);
	if (p.at < p.length)
		return fail(&p, p.at, -EINVAL, "an operator expected");
	*out = value;
	return 0;
}

int calc_format(char out[CALC_TEXT_MAX], int64_t value, const char *base)
{
	if (strcmp(base, "dec") == 0)
		return snprintf(out, CALC_TEXT_MAX, "%" PRId64, value);
	if (strcmp(base, "hex") == 0)
		return snprintf(out, CALC_TEXT_MAX, "%" PRIx64, (uint64_t)value);
	if (strcmp(base, "oct") == 0)
		return snprintf(out, CALC_TEXT_MAX, "%" PRIo64, (uint64_t)value);
	return -EINVAL;
}
