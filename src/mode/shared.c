/* shared.c - the counters that all processes of a server share: one anonymous shared mapping. */
#include "mode/shared.h"

#include <errno.h>
#include <sys/mman.h>

int shared_init(struct shared *shared, int count)
{
	size_t size = sizeof(struct shared_page) + (size_t)count * sizeof(struct shared_slot);
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -ENOMEM;
	*shared = (struct shared){.page = memory, .count = count, .size = size}; /* zero-filled */
	return 0;
}

void shared_finish(struct shared *shared)
{
	limits_free(shared->limits);
	if (shared->page)
		munmap(shared->page, shared->size);
	*shared = (struct shared){0};
}

uint64_t shared_active(const struct shared *shared)
{
	uint64_t active = 0;

	for (int i = 0; i < shared->count; i++)
		active += atomic_load(&shared->page->slots[i].active);
	return active;
}

void shared_clear_slot(struct shared *shared, int slot)
{
	struct shared_slot *gone = &shared->page->slots[slot];

	atomic_store(&gone->serving, false);
	atomic_store(&gone->active, 0);
	atomic_store(&gone->accepted, 0);
	atomic_store(&gone->parked, 0);
	atomic_store(&gone->compacted, 0);
	atomic_store(&gone->bytes, 0);
	if (shared->limits)
		limits_clear_worker(shared->limits, slot);
}
