/*
 * banner.c - escapes in the value of --banner: \r \n \t \0 \\ and \xNN.
 * Failure: any other escape, or too long a text, is told with what was found.
 */
#include "banner.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One escape behind the backslash. Returns how many characters it takes, 0: it is none. */
static size_t escape(const char *text, char *out)
{
	static const char letters[] = "rnt0\\", meanings[] = "\r\n\t\0\\";
	const char *letter = *text ? strchr(letters, *text) : NULL;
	char digits[3] = "";

	if (letter) {
		*out = meanings[letter - letters];
		return 1;
	}
	if (*text != 'x' || !isxdigit((unsigned char)text[1]) || !isxdigit((unsigned char)text[2]))
		return 0;
	memcpy(digits, text + 1, 2);
	*out = (char)strtoul(digits, NULL, 16);
	return 3;
}

int banner_read(char **banner, size_t *size, const char *text, char *words, size_t room)
{
	char *out = malloc(strlen(text) + 1);
	size_t used = 0, n;

	if (!out) {
		snprintf(words, room, "out of memory");
		return -ENOMEM;
	}
	for (; *text; text += n) {
		n = 1;
		out[used] = *text;
		if (*text == '\\') {
			n = escape(text + 1, &out[used]);
			if (n == 0)
				goto wrong;
			n++;
		}
		used++;
	}
	if (used > BANNER_MAX) {
		snprintf(words, room, "found %zu bytes, expected at most %d", used, BANNER_MAX);
		free(out);
		return -EMSGSIZE;
	}
	*banner = out;
	*size = used;
	return 0;
wrong:
	snprintf(words, room, "found '%.4s', expected \\r, \\n, \\t, \\0, \\\\ or \\xNN", text);
	free(out);
	return -EINVAL;
}
