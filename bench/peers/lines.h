/*
 * lines.h - what the event loops share: lines put together from whatever a read brings, and bytes
 * that wait. A connection without an unfinished line or unsent output owns no buffer.
 */
#ifndef LINES_H
#define LINES_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_LINE 65536

/* Bytes kept for later; the memory goes when the last byte does. */
struct bytes {
	char *data;
	size_t used, room;
};

static inline void bytes_free(struct bytes *bytes)
{
	free(bytes->data);
	*bytes = (struct bytes){0};
}

/* Returns 0, or -1 when there is no memory. */
static inline int bytes_add(struct bytes *bytes, const char *data, size_t n)
{
	size_t room = bytes->room ? bytes->room : 64;
	char *grown;

	if (n == 0)
		return 0;
	while (room < bytes->used + n)
		room *= 2;
	if (room > bytes->room) {
		grown = realloc(bytes->data, room);
		if (!grown)
			return -1;
		bytes->data = grown;
		bytes->room = room;
	}
	memcpy(bytes->data + bytes->used, data, n);
	bytes->used += n;
	return 0;
}

/* Forget the first n bytes. */
static inline void bytes_drop(struct bytes *bytes, size_t n)
{
	bytes->used -= n;
	if (bytes->used == 0)
		bytes_free(bytes);
	else if (n > 0)
		memmove(bytes->data, bytes->data + n, bytes->used);
}

/* Look at one line after the other; returns how many bytes belong to lines that are complete. */
static inline size_t lines_whole(const char *data, size_t n)
{
	const char *at = data;
	const char *newline;

	while ((newline = memchr(at, '\n', n - (size_t)(at - data))) != NULL)
		at = newline + 1;
	return (size_t)(at - data);
}

/*
 * n bytes came in. Calls put(arg, data, size) for the lines that are complete now, and keeps the
 * unfinished one in *rest. Returns 0; or -1: a line too long, no memory, or put() said so.
 */
static inline int lines_feed(struct bytes *rest, const char *data, size_t n,
			     int (*put)(void *arg, const char *data, size_t n), void *arg)
{
	size_t whole = lines_whole(data, n);
	int rc = 0;

	if (whole > 0 && rest->used > 0) {
		rc = bytes_add(rest, data, whole);
		if (rc == 0)
			rc = put(arg, rest->data, rest->used);
		bytes_free(rest);
	} else if (whole > 0) {
		rc = put(arg, data, whole);
	}
	if (rc == 0)
		rc = bytes_add(rest, data + whole, n - whole);
	return rest->used > LONGEST_LINE ? -1 : rc;
}

#endif
