/*
 * calc.h - integer expressions, as people type them into the calculator. Pure: bytes in, a number
 * or words out; no I/O, no memory of its own, no state.
 *
 * Values are 64-bit signed integers. Operators, from the tightest, have Perl's precedence:
 *
 *     **            right   power; on its left it is tighter than a sign: -2 ** 2 is -4; on its
 *                           right a sign may stand: 2 ** -1 (an error here, negative exponent)
 *     ~  +  -       right   unary: complement, plus, minus
 *     *  /  %       left    / cuts towards zero, % has the sign of its left side
 *     +  -          left
 *     <<  >>        left    count 0 to 63; << drops the bits it pushes out, >> keeps the sign
 *     &             left
 *     |  ^          left    both on one level: 1 | 3 ^ 3 is (1 | 3) ^ 3
 *
 * and parentheses. The results are Perl's under `use integer`, save that what Perl would let wrap
 * around (+ - * / ** and signs) is an error here. Bit operators see the 64 bits as they are.
 *
 * Literals: 42, 0x2a, 0b101010, 052 (octal, like every number with a leading 0). Those with a base
 * may use all 64 bits (0xffffffffffffffff is -1), decimal ones end at 9223372036854775807; only
 * directly after a minus may 9223372036854775808 stand. So whatever the calculator prints in a base
 * can be fed back in. Blanks and tabs may stand between any two of these, never inside one.
 */
#ifndef CALC_H
#define CALC_H

#include <stddef.h>
#include <stdint.h>

/* Parentheses, signs and powers inside each other; what is deeper is an error, not a crash. */
#define CALC_DEPTH_MAX 200

/* Where an expression went wrong, and why. */
struct calc_error {
	size_t column;     /* byte in the text, from 1; one past the end: something is missing */
	const char *words; /* constant text */
};

/*
 * Evaluate length bytes of text (which may hold any bytes, NUL too). Returns 0 and the value in
 * *out; or with *error filled, *out untouched: -EINVAL it is no expression, -ERANGE a value does
 * not fit, -EDOM the operator cannot be applied to these values.
 */
int calc_eval(const char *text, size_t length, int64_t *out, struct calc_error *error);

/* Room for any value in any base: 22 octal digits are the longest, and a NUL. */
#define CALC_TEXT_MAX 24

/*
 * Write value to out: base "dec" with its sign, "hex" and "oct" as the 64 bits that stand for it
 * (two's complement), without prefix, as Perl's %x and %o do. Returns the length, or -EINVAL for
 * another base.
 */
int calc_format(char out[CALC_TEXT_MAX], int64_t value, const char *base);

#endif
