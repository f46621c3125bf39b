/*
 * fdtable.h - something for each descriptor, found by its number. Made of chunks that never move,
 * so that pointers into it stay good, and that exist only where there are descriptors.
 */
#ifndef IO_FDTABLE_H
#define IO_FDTABLE_H

#include <stdbool.h>
#include <stddef.h>

#define FDTABLE_CHUNK 512 /* slots */

struct fdtable {
	char **chunks; /* NULL: no slot of it was ever asked for */
	size_t count;
	size_t size; /* bytes of a slot; set by the owner */
};

void fdtable_finish(struct fdtable *table);

/* The slot of this number, all zero at first; NULL: it was never made. Any fd will do. */
static inline void *fdtable_at(const struct fdtable *table, int fd)
{
	size_t chunk = (size_t)fd / FDTABLE_CHUNK;

	if (fd < 0 || chunk >= table->count || !table->chunks[chunk])
		return NULL;
	return table->chunks[chunk] + (size_t)fd % FDTABLE_CHUNK * table->size;
}

/* The same, made where needed. Returns 0, -EBADF (not a number of a descriptor) or -ENOMEM. */
int fdtable_make(struct fdtable *table, int fd, void **slot);

/* Free the chunks all of whose slots are idle: they are zero when they are made again. */
void fdtable_trim(struct fdtable *table, bool (*idle)(const void *slot));

#endif
