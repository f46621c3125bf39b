/*
 * escape.c - bytes of unknown origin become text that is safe in one line of a log.
 *
 * Happy path: printable ASCII and valid UTF-8 pass. Everything that could end the line, move a
 * terminal's cursor or pose as an escape becomes one: C0, DEL, backslash, C1 (which UTF-8 can spell
 * with two bytes), and each byte that is not valid UTF-8 (overlong forms, surrogates, past
 * U+10FFFF, cut sequences). Failure: none; what does not fit is left out, whole characters only.
 */
#include "log/sink.h"

#include <string.h>

#define UNIT_MAX 8 /* a C1 character as two \xNN */

/* The sequences of well-formed UTF-8: Unicode Standard, table 3-7. */
static const struct sequence {
	unsigned char first_low, first_high;   /* range of the first byte */
	unsigned char second_low, second_high; /* range of the second; later ones are 80..BF */
	unsigned char length;
} sequences[] = {
    {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
    {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

static bool sequence_fits(const struct sequence *s, const unsigned char *in, size_t left)
{
	if (in[0] < s->first_low || in[0] > s->first_high || left < s->length)
		return false;
	if (in[1] < s->second_low || in[1] > s->second_high)
		return false;
	for (size_t i = 2; i < s->length; i++)
		if (in[i] < 0x80 || in[i] > 0xbf)
			return false;
	return true;
}

/* Length of the valid multi-byte character at in, or 0. */
static size_t utf8_length(const unsigned char *in, size_t left)
{
	for (size_t i = 0; i < ARRAY_LEN(sequences); i++)
		if (sequence_fits(&sequences[i], in, left))
			return sequences[i].length;
	return 0;
}

static size_t put_hex(char *out, unsigned char byte)
{
	static const char digits[] = "0123456789abcdef";

	out[0] = '\\';
	out[1] = 'x';
	out[2] = digits[byte >> 4];
	out[3] = digits[byte & 0xf];
	return 4;
}

static size_t put_short(char *out, char c)
{
	out[0] = '\\';
	out[1] = c;
	return 2;
}

/* Escape one ASCII byte into out. Returns the length written. */
static size_t put_ascii(char *out, unsigned char byte)
{
	switch (byte) {
	case '\n':
		return put_short(out, 'n');
	case '\t':
		return put_short(out, 't');
	case '\\':
		return put_short(out, '\\');
	default:
		break;
	}
	if (byte < 0x20 || byte == 0x7f)
		return put_hex(out, byte);
	out[0] = (char)byte;
	return 1;
}

/* Escape the character at in into out. Returns the length written, *used the bytes it stands for.
 */
static size_t put_unit(char out[UNIT_MAX], const unsigned char *in, size_t left, size_t *used)
{
	*used = 1;
	if (in[0] < 0x80)
		return put_ascii(out, in[0]);
	if (!utf8_length(in, left))
		return put_hex(out, in[0]);
	*used = utf8_length(in, left);
	if (in[0] == 0xc2 && in[1] < 0xa0) {
		put_hex(out, in[0]);
		return 4 + put_hex(out + 4, in[1]);
	}
	memcpy(out, in, *used);
	return *used;
}

size_t log_escape_upto(char *out, size_t size, const char *in, size_t length, size_t *taken)
{
	const unsigned char *bytes = (const unsigned char *)in;
	size_t at = 0, written = 0;

	while (at < length) {
		char unit[UNIT_MAX];
		size_t used, n = put_unit(unit, bytes + at, length - at, &used);

		if (written + n >= size)
			break;
		memcpy(out + written, unit, n);
		written += n;
		at += used;
	}
	if (size)
		out[written] = '\0';
	*taken = at;
	return written;
}

size_t log_escape(char *out, size_t size, const char *in, size_t length)
{
	size_t taken;

	return log_escape_upto(out, size, in, length, &taken);
}
