/*
 * limits.c - the table of sources. See limits.h for what it promises.
 *
 * Happy path: lock -> find or make the row of the address and of its network -> compare, count ->
 * unlock. Counts are added under the lock only, so no limit is overshot, nor is anybody refused for
 * a place that two workers want at once; taking them off needs no lock. Failure modes: no row: the
 * source is let in uncounted; the lock is not to be had (a worker was stopped in the middle):
 * likewise; its owner died: the master opens it. Any step may be a worker's last: a row without a
 * connection is a free row.
 */
#include "access/limits_table.h"
#include "os/os.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#define MEMORY_MAX ((size_t)64 << 20) /* with very many workers there are fewer rows */
#define LOCK_SPINS 200                /* then in steps of ... */
#define LOCK_STEP_NS 100000
#define LOCK_STEPS 200 /* 20 ms in all: a worker that was merely not running has run by then */
#define BURST_MIN 5    /* a browser's handful of connections is no flood */

/* ------------------------------------------------------------------------------------- memory */

static size_t row_bytes(const struct limits *limits)
{
	return sizeof *limits->tags + sizeof *limits->ahead +
	       limits->workers * sizeof *limits->counts;
}

/* A power of two, as many as asked for where that is no waste. */
static size_t choose_rows(const struct limits *limits)
{
	size_t rows = LIMITS_WAYS;

	while (rows < limits->config.rows && rows < LIMITS_ROWS_MAX)
		rows *= 2;
	while (rows > LIMITS_ROWS_MIN && rows * row_bytes(limits) > MEMORY_MAX)
		rows /= 2;
	return rows;
}

/* Pages that are never touched cost nothing. */
static int map_table(struct limits *limits)
{
	size_t columns = limits->workers * sizeof *limits->columns;
	char *at;

	limits->rows = choose_rows(limits);
	limits->size = sizeof *limits->page + columns + limits->rows * row_bytes(limits);
	at = mmap(NULL, limits->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return -ENOMEM;
	limits->memory = at;
	limits->page = (void *)at;
	limits->columns = (void *)(at += sizeof *limits->page);
	limits->tags = (void *)(at += columns);
	limits->ahead = (void *)(at += limits->rows * sizeof *limits->tags);
	limits->counts = (void *)(at + limits->rows * sizeof *limits->ahead);
	return 0;
}

int limits_new(struct limits **out, const struct limits_config *config)
{
	struct limits *limits;
	int rc;

	if (!config->max_per_address && !config->max_per_prefix && !config->rate_per_address &&
	    !config->accept_rate) {
		*out = NULL;
		return 0;
	}
	limits = calloc(1, sizeof *limits);
	if (!limits)
		return -ENOMEM;
	limits->config = *config;
	limits->workers = (size_t)config->workers;
	limits->source_rate = limits_rate(config->rate_per_address, config->rate_burst, BURST_MIN);
	limits->accept_rate = limits_rate(config->accept_rate, config->accept_burst, 1);
	rc = os_random(limits->key, sizeof limits->key);
	if (rc == 0)
		rc = map_table(limits);
	if (rc < 0) {
		free(limits);
		return rc;
	}
	*out = limits;
	return 0;
}

struct limits *limits_free(struct limits *limits)
{
	if (!limits)
		return NULL;
	munmap(limits->memory, limits->size);
	free(limits);
	return NULL;
}

/* --------------------------------------------------------------------------------------- lock
 *
 * A number, not a mutex: the memory is open to every worker, and a mutex keeps pointers in it.
 */

static bool lock(struct limits *limits, int slot)
{
	const struct timespec step = {.tv_nsec = LOCK_STEP_NS};
	const uint32_t ours = (uint32_t)slot + 1;

	for (int i = 0; i < LOCK_SPINS + LOCK_STEPS; i++) {
		uint32_t nobody = 0;

		if (atomic_compare_exchange_strong(&limits->page->lock, &nobody, ours))
			return true;
		if (i < LOCK_SPINS)
			sched_yield();
		else
			nanosleep(&step, NULL);
	}
	return false;
}

static void unlock(struct limits *limits, int slot)
{
	uint32_t ours = (uint32_t)slot + 1;

	atomic_compare_exchange_strong(&limits->page->lock, &ours, 0);
}

/* --------------------------------------------------------------------------------------- rows */

static _Atomic uint32_t *count_at(const struct limits *limits, size_t row, size_t slot)
{
	return &limits->counts[row * limits->workers + slot];
}

static uint64_t held_over_all(const struct limits *limits, size_t row)
{
	uint64_t sum = 0;

	for (size_t slot = 0; slot < limits->workers; slot++)
		sum += atomic_load_explicit(count_at(limits, row, slot), memory_order_relaxed);
	return sum;
}

/* A row that holds nothing, preferably one that owes nothing; it is the tag's from now on. */
static size_t take_over(struct limits *limits, size_t first, uint64_t tag)
{
	size_t best = SIZE_MAX;

	for (size_t row = first; row < first + LIMITS_WAYS; row++) {
		if (held_over_all(limits, row) != 0)
			continue;
		if (best == SIZE_MAX ||
		    atomic_load(&limits->ahead[row]) < atomic_load(&limits->ahead[best]))
			best = row;
	}
	if (best != SIZE_MAX) {
		atomic_store(&limits->ahead[best], 0);
		atomic_store(&limits->tags[best], tag);
	}
	return best;
}

/* With the lock held. SIZE_MAX: there is no room. */
static size_t find_row(struct limits *limits, uint64_t tag)
{
	size_t first = (size_t)tag & (limits->rows - 1) & ~(size_t)(LIMITS_WAYS - 1);

	for (size_t row = first; row < first + LIMITS_WAYS; row++) {
		uint64_t seen = atomic_load_explicit(&limits->tags[row], memory_order_relaxed);

		if (seen == tag)
			return row;
		if (seen == 0) { /* they fill up from the front, and stay in use */
			atomic_store(&limits->tags[row], tag);
			return row;
		}
	}
	return take_over(limits, first, tag);
}

/* ------------------------------------------------------------------------------------ sources */

/* What one of a peer's two sources is held to. */
struct source {
	uint64_t tag;
	long long max; /* connections; 0: any number */
	bool rated;
	enum limits_verdict over; /* what it is when there are more */
};

static uint64_t tag_of(const struct limits *limits, const struct access_peer *peer, int bits)
{
	struct {
		uint8_t family, bits;
		uint8_t addr[16];
	} text = {.family = (uint8_t)peer->family, .bits = (uint8_t)bits};
	uint64_t tag;

	access_address_cut(text.addr, peer->addr, bits);
	tag = hash_keyed(limits->key, &text, sizeof text);
	return tag ? tag : 1;
}

/* The one that has a rate comes last, so that nothing is taken from it in vain. */
static size_t sources_of(const struct limits *limits, const struct access_peer *peer,
			 struct source out[2])
{
	const struct limits_config *config = &limits->config;
	bool v6 = peer->family == AF_INET6;
	bool rated = limits->source_rate.interval_ns > 0;
	struct source whole = {.max = config->max_per_address, .over = LIMITS_ADDRESS};
	struct source cut = {.max = config->max_per_prefix, .over = LIMITS_PREFIX};
	size_t count = 0;

	whole.rated = rated && !v6;
	cut.rated = rated && v6;
	if (whole.max || whole.rated)
		whole.tag = tag_of(limits, peer, v6 ? 128 : 32);
	if (cut.max || cut.rated) /* not the tag of an address, whatever the bits */
		cut.tag = ~tag_of(limits, peer, v6 ? config->prefix_ipv6 : config->prefix_ipv4);
	if (!cut.rated && cut.tag)
		out[count++] = cut;
	if (whole.tag)
		out[count++] = whole;
	if (cut.rated)
		out[count++] = cut;
	return count;
}

/* -------------------------------------------------------------------------------------- admit */

static bool is_full(struct limits *limits, size_t row, long long max)
{
	if (held_over_all(limits, row) < (uint64_t)max)
		return false;
	return !limits_collect(limits) || held_over_all(limits, row) >= (uint64_t)max;
}

/* With the lock held: count one more for this source, or say why not. */
static enum limits_verdict admit_source(struct limits *limits, int slot,
					const struct source *source, int64_t now_ns, uint64_t *hold)
{
	size_t row = find_row(limits, source->tag);
	int64_t next, wait_ns;

	if (row == SIZE_MAX)
		return LIMITS_UNTRACKED;
	if (source->max && is_full(limits, row, source->max))
		return source->over;
	if (source->rated) {
		if (!limits_rate_next(&limits->source_rate, atomic_load(&limits->ahead[row]),
				      now_ns, &next, &wait_ns))
			return LIMITS_RATE;
		atomic_store(&limits->ahead[row], next);
	}
	if (source->max) {
		atomic_fetch_add(count_at(limits, row, (size_t)slot), 1);
		*hold = *hold << HOLD_ROW_BITS | (row + 1);
	}
	return LIMITS_ADMITTED;
}

enum limits_verdict limits_admit(struct limits *limits, int slot, const struct access_peer *peer,
				 int64_t now_ns, uint64_t *hold)
{
	enum limits_verdict verdict = LIMITS_ADMITTED;
	struct source sources[2];
	size_t count;

	*hold = 0;
	if (peer->family != AF_INET && peer->family != AF_INET6)
		return LIMITS_ADMITTED;
	count = sources_of(limits, peer, sources);
	if (count == 0)
		return LIMITS_ADMITTED;
	if (!lock(limits, slot))
		return LIMITS_UNTRACKED;
	for (size_t i = 0; i < count && verdict <= LIMITS_UNTRACKED; i++) {
		enum limits_verdict one = admit_source(limits, slot, &sources[i], now_ns, hold);

		verdict = one == LIMITS_ADMITTED ? verdict : one;
	}
	if (verdict > LIMITS_UNTRACKED) {
		limits_uncount(limits, slot, *hold);
		*hold = 0;
	}
	unlock(limits, slot);
	return verdict;
}

/* Never below zero: that would be a source with billions of connections. */
static void count_down(_Atomic uint32_t *count)
{
	uint32_t seen = atomic_load(count);

	while (seen > 0 && !atomic_compare_exchange_weak(count, &seen, seen - 1))
		;
}

void limits_uncount(struct limits *limits, int slot, uint64_t hold)
{
	for (int i = 0; i < 2; i++, hold >>= HOLD_ROW_BITS) {
		size_t row = (size_t)(hold & HOLD_ROW_MASK);

		/* Where the hold was read back from shared memory, it may say anything. */
		if (row > 0 && row <= limits->rows)
			count_down(count_at(limits, row - 1, (size_t)slot));
	}
}

void limits_release(struct limits *limits, int slot, uint64_t hold)
{
	if (hold && limits_end_lent(limits, slot, hold))
		limits_uncount(limits, slot, hold);
}

void limits_clear_worker(struct limits *limits, int slot)
{
	const int master = (int)limits->workers; /* as the owner of the lock */
	bool locked;

	unlock(limits, slot);
	locked = lock(limits, master); /* nobody collects for the dead one meanwhile */
	for (size_t row = 0; row < limits->rows; row++)
		if (atomic_load(&limits->tags[row]) != 0)
			atomic_store(count_at(limits, row, (size_t)slot), 0);
	limits_clear_cells(limits, slot);
	if (locked)
		unlock(limits, master);
}
