/*
 * fdtable.c - see fdtable.h. Descriptors are small numbers, given out from below: the chunks of a
 * process with few of them are one.
 */
#include "io/fdtable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void fdtable_finish(struct fdtable *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->chunks[i]);
	free(table->chunks);
	table->chunks = NULL;
	table->count = 0;
}

/* Room for count chunks. */
static int widen(struct fdtable *table, size_t count)
{
	char **chunks;

	if (count <= table->count)
		return 0;
	chunks = realloc(table->chunks, count * sizeof *chunks);
	if (!chunks)
		return -ENOMEM;
	memset(chunks + table->count, 0, (count - table->count) * sizeof *chunks);
	table->chunks = chunks;
	table->count = count;
	return 0;
}

int fdtable_make(struct fdtable *table, int fd, void **slot)
{
	size_t chunk = (size_t)fd / FDTABLE_CHUNK;

	if (fd < 0)
		return -EBADF;
	if (widen(table, chunk + 1) < 0)
		return -ENOMEM;
	if (!table->chunks[chunk])
		table->chunks[chunk] = calloc(FDTABLE_CHUNK, table->size);
	if (!table->chunks[chunk])
		return -ENOMEM;
	*slot = fdtable_at(table, fd);
	return 0;
}

static bool chunk_idle(const struct fdtable *table, const char *chunk,
		       bool (*idle)(const void *slot))
{
	for (size_t i = 0; i < FDTABLE_CHUNK; i++)
		if (!idle(chunk + i * table->size))
			return false;
	return true;
}

void fdtable_trim(struct fdtable *table, bool (*idle)(const void *slot))
{
	for (size_t i = 0; i < table->count; i++) {
		if (!table->chunks[i] || !chunk_idle(table, table->chunks[i], idle))
			continue;
		free(table->chunks[i]);
		table->chunks[i] = NULL;
	}
}
