/* limits_table.h - what the files limits*.c share. Nobody outside includes it but tests. */
#ifndef ACCESS_LIMITS_TABLE_H
#define ACCESS_LIMITS_TABLE_H

#include "access/limits.h"
#include "base/base.h"

#include <stdatomic.h>

#define LIMITS_WAYS 32    /* rows in which a source may stand, side by side */
#define LIMITS_CELLS 1024 /* processes of a worker that can announce their end */

/* What a hold is made of, from the lowest bit; a part is 0 when it is not there. */
#define HOLD_ROW_BITS 21 /* a row's index + 1, twice */
#define HOLD_ROW_MASK ((UINT64_C(1) << HOLD_ROW_BITS) - 1)
#define HOLD_CELL_SHIFT (2 * HOLD_ROW_BITS)
#define HOLD_CELL_BITS 11 /* a cell's index + 1 */
#define HOLD_CELL_MASK ((UINT64_C(1) << HOLD_CELL_BITS) - 1)
#define HOLD_TERM_SHIFT (HOLD_CELL_SHIFT + HOLD_CELL_BITS)
#define HOLD_TERM_MASK UINT64_C(0x1ff)     /* which life of the worker, so that orphans are told */
#define CELL_DONE (UINT64_C(1) << 62)      /* announced */
#define CELL_COLLECTED (UINT64_C(1) << 63) /* and given back */

/* A rate as "one in interval_ns, and burst_ns ahead of that". interval 0: no limit. */
struct limits_rate {
	int64_t interval_ns, burst_ns;
};

/* At most one line of the log per period. */
struct limits_throttle {
	_Atomic int64_t next_ns;
	_Atomic uint64_t held;
};

struct limits_column {
	_Atomic uint32_t term;  /* how many workers have died here */
	_Atomic bool announced; /* a process has, since its worker's cells were looked at */
	_Atomic uint64_t cells[LIMITS_CELLS]; /* the hold that was lent; 0: free */
};

/* In the memory that all processes can write: only numbers, and none is an index unchecked. */
struct limits_page {
	_Atomic uint32_t lock; /* the worker that looks for rows, + 1; 0: nobody */
	_Atomic int64_t ahead; /* the accept rate: used up until then */
	struct limits_throttle throttles[LIMITS_KINDS];
};

struct limits {
	struct limits_config config;
	struct limits_rate source_rate, accept_rate;
	uint64_t key[2];
	size_t rows;    /* a power of two */
	size_t workers; /* columns */
	void *memory;   /* one shared mapping; all below lies in it */
	size_t size;
	struct limits_page *page;
	struct limits_column *columns;
	_Atomic uint64_t *tags;   /* of rows: the hash of the source; 0: never used */
	_Atomic int64_t *ahead;   /* of rows: the rate is used up until then */
	_Atomic uint32_t *counts; /* [row][column] */
};

/* limits.c: take a connection off its rows. Bits other than rows are ignored. */
void limits_uncount(struct limits *limits, int slot, uint64_t hold);

/* limits_lent.c: give back what was announced, in all columns. True when there was any. */
bool limits_collect(struct limits *limits);
/* Forget the cells of a dead worker. */
void limits_clear_cells(struct limits *limits, int slot);
/* The process has ended: true when its connection is still to be uncounted. */
bool limits_end_lent(struct limits *limits, int slot, uint64_t hold);

/* limits_rate.c */
struct limits_rate limits_rate(long long per_hour, long long burst, long long burst_min);
/* When *ahead would be after one more; false: not now, *wait_ns from now perhaps. */
bool limits_rate_next(const struct limits_rate *rate, int64_t ahead, int64_t now_ns, int64_t *next,
		      int64_t *wait_ns);

#endif
