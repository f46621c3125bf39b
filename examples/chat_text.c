/* chat_text.c - reads text as UTF-8, byte by byte; nothing in it can fail. */
#include "chat_text.h"

#include <stdint.h>

/* The length of the UTF-8 sequence of two or more bytes that begins here; 0: it is none, or no
 * terminal should get it (C1 controls, marks that turn the direction of text, line separators). */
static size_t sequence(const unsigned char *s, size_t n)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t size = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	uint32_t code = s[0] & (0xffU >> (size + 1));

	if (s[0] < 0xc0 || s[0] > 0xf4 || size > n)
		return 0;
	for (size_t i = 1; i < size; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if (code < least[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	if (code < 0xa0 || (code >= 0x2028 && code < 0x202f) || (code >= 0x2066 && code < 0x206a))
		return 0;
	return size;
}

void text_clean(char *text, size_t n)
{
	unsigned char *at = (unsigned char *)text, *end = at + n;
	size_t size;

	while (at < end) {
		size = *at >= 0x80 ? sequence(at, (size_t)(end - at)) : 1;
		if (*at == '\t')
			*at = ' ';
		if (size == 0 || *at < ' ' || *at == 0x7f)
			*at = '?';
		at += size ? size : 1;
	}
}
