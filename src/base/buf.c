/* buf.c - growing buffers with a maximum, and lists of strings. */
#include "base/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST 256 /* the first allocation: most messages and names fit */

void buf_init(struct buf *buf, size_t max)
{
	*buf = (struct buf){.max = max};
}

void buf_finish(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){.max = buf->max};
}

int buf_reserve(struct buf *buf, size_t size)
{
	size_t need, room;
	char *data;

	if (size > buf->max - buf->len)
		return -EMSGSIZE;
	need = buf->len + size + 1; /* the NUL */
	if (need <= buf->size)
		return 0;
	room = buf->size ? buf->size : BUF_FIRST;
	while (room < need)
		room = room > SIZE_MAX / 2 ? need : room * 2;
	data = realloc(buf->data, room);
	if (!data)
		return -ENOMEM;
	data[buf->len] = '\0';
	buf->data = data;
	buf->size = room;
	return 0;
}

int buf_add(struct buf *buf, const void *data, size_t size)
{
	int rc = buf_reserve(buf, size);

	if (rc < 0)
		return rc;
	if (size)
		memcpy(buf->data + buf->len, data, size);
	buf->len += size;
	buf->data[buf->len] = '\0';
	return 0;
}

int buf_addc(struct buf *buf, char c)
{
	return buf_add(buf, &c, 1);
}

int buf_adds(struct buf *buf, const char *text)
{
	return buf_add(buf, text, strlen(text));
}

int buf_addf(struct buf *buf, const char *format, ...)
{
	va_list args;
	int n, rc;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0)
		return -EINVAL;
	rc = buf_reserve(buf, (size_t)n);
	if (rc < 0)
		return rc;
	va_start(args, format);
	vsnprintf(buf->data + buf->len, (size_t)n + 1, format, args);
	va_end(args);
	buf->len += (size_t)n;
	return 0;
}

const char *buf_text(const struct buf *buf)
{
	return buf->data ? buf->data : "";
}

char *buf_steal(struct buf *buf)
{
	char *data = buf->data;

	if (!data && buf_reserve(buf, 0) < 0)
		return NULL;
	data = buf->data;
	*buf = (struct buf){.max = buf->max};
	return data;
}

void strlist_finish(struct strlist *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct strlist){0};
}

int strlist_add(struct strlist *list, const char *text)
{
	char **items = realloc(list->items, (list->count + 2) * sizeof *items);

	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->count] = strdup(text);
	if (!items[list->count])
		return -ENOMEM;
	items[++list->count] = NULL;
	return 0;
}

int strlist_addf(struct strlist *list, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return strlist_add(list, text);
}
