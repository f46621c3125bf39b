/*
 * fuzz_log_escape.c - hostile bytes on their way into a log. Input: two bytes of buffer size, then
 * what is to be escaped. The line that comes out must be safe, must fit, and must say exactly what
 * went in: read backwards it gives the bytes that were taken.
 */
#include "log/sink.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void holds(bool condition)
{
	if (!condition)
		abort();
}

static unsigned char hex(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c) : NULL;

	holds(at);
	return (unsigned char)(at - digits);
}

/* The byte that the escape at text stands for; *used is the escape's length. */
static unsigned char unescape(const char *text, size_t *used)
{
	*used = 2;
	switch (text[1]) {
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case '\\':
		return '\\';
	default:
		holds(text[1] == 'x');
		*used = 4;
		return (unsigned char)(hex(text[2]) << 4 | hex(text[3]));
	}
}

/* Decode one character by arithmetic, not by the table under test. Returns its length, 0: bad. */
static size_t decode(const unsigned char *in, unsigned long *point)
{
	static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = in[0] >= 0xf0 ? 4 : in[0] >= 0xe0 ? 3 : 2;

	if (in[0] < 0xc0 || in[0] > 0xf7)
		return 0;
	*point = in[0] & (0x7fU >> length);
	for (size_t i = 1; i < length; i++) {
		if ((in[i] & 0xc0) != 0x80)
			return 0;
		*point = *point << 6 | (in[i] & 0x3f);
	}
	if (*point < least[length] || *point > 0x10ffff || (*point >= 0xd800 && *point <= 0xdfff))
		return 0;
	return length;
}

static void is_safe(const char *out)
{
	const unsigned char *at = (const unsigned char *)out;

	while (*at) {
		unsigned long point = *at;
		size_t length = *at < 0x80 ? 1 : decode(at, &point);

		holds(length && point >= 0x20 && (point < 0x7f || point > 0x9f));
		at += length;
	}
}

static void says(const char *out, size_t length, const unsigned char *in, size_t taken)
{
	size_t at = 0, n = 0;

	for (; at < length; n++) {
		size_t used = 1;
		unsigned char byte =
		    out[at] == '\\' ? unescape(out + at, &used) : (unsigned char)out[at];

		holds(n < taken && byte == in[n]);
		at += used;
	}
	holds(at == length && n == taken);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	size_t room, written, taken;
	char *in, *out;

	if (length < 2)
		return 0;
	room = (size_t)(data[0] | data[1] << 8);
	data += 2;
	length -= 2;
	/* Of exact size, so that reading past the end is seen. */
	in = malloc(length ? length : 1);
	out = malloc(room ? room : 1);
	if (in && out) {
		memcpy(in, data, length);
		written = log_escape_upto(out, room, in, length, &taken);
		holds(taken <= length && (room ? written < room : written == 0));
		if (room) {
			holds(out[written] == '\0' && strlen(out) == written);
			is_safe(out);
			says(out, written, data, taken);
			holds(taken == length || written + 8 >= room); /* no unit is longer */
			holds(log_escape(out, room, in, length) == written);
		}
	}
	free(in);
	free(out);
	return 0;
}
