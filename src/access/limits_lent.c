/*
 * limits_lent.c - holds that a process serves with (mode fork).
 *
 * Happy path: the parent writes the hold into a cell and forks; the child marks the cell when it is
 * about to close the socket; somebody who needs the place collects it, or the parent gives it back
 * when the child was reaped. Failure modes: no free cell: nothing can be announced, the parent
 * still gives back; the child is killed: likewise; its parent is dead, and another worker uses the
 * cell: the mark does not fit any more. A worker that is killed while it collects for another one
 * may leave a connection of that one counted, until that one ends too.
 */
#include "access/limits_table.h"

#define LOOKS 16 /* cells tried for a free one */

/* The cell of a hold; NULL: it has none. */
static _Atomic uint64_t *cell_of(struct limits *limits, int slot, uint64_t hold)
{
	uint64_t cell = (hold >> HOLD_CELL_SHIFT) & HOLD_CELL_MASK;

	return cell == 0 ? NULL : &limits->columns[slot].cells[cell - 1];
}

/* The low bits of a row spread well enough: they come from a hash. */
static size_t first_cell(uint64_t hold)
{
	return (size_t)((hold & HOLD_ROW_MASK) + (hold >> HOLD_ROW_BITS)) % LIMITS_CELLS;
}

uint64_t limits_lend(struct limits *limits, int slot, uint64_t hold)
{
	struct limits_column *column;

	if (hold == 0)
		return 0;
	column = &limits->columns[slot];
	for (size_t i = 0; i < LOOKS; i++) {
		size_t index = (first_cell(hold) + i) % LIMITS_CELLS;

		if (atomic_load(&column->cells[index]) != 0)
			continue;
		hold |= (uint64_t)(index + 1) << HOLD_CELL_SHIFT;
		hold |= ((uint64_t)atomic_load(&column->term) & HOLD_TERM_MASK) << HOLD_TERM_SHIFT;
		atomic_store(&column->cells[index], hold);
		break;
	}
	return hold;
}

void limits_unlend(struct limits *limits, int slot, uint64_t hold)
{
	_Atomic uint64_t *cell = cell_of(limits, slot, hold);

	if (cell)
		atomic_store(cell, 0);
}

void limits_announce(struct limits *limits, int slot, uint64_t hold)
{
	_Atomic uint64_t *cell = cell_of(limits, slot, hold);

	if (cell && atomic_compare_exchange_strong(cell, &hold, hold | CELL_DONE))
		atomic_store(&limits->columns[slot].announced, true);
}

bool limits_end_lent(struct limits *limits, int slot, uint64_t hold)
{
	_Atomic uint64_t *cell = cell_of(limits, slot, hold);

	return !cell || !(atomic_exchange(cell, 0) & CELL_COLLECTED);
}

static bool collect_cell(struct limits *limits, int slot, _Atomic uint64_t *cell)
{
	uint64_t held = atomic_load(cell);

	if (!(held & CELL_DONE) || (held & CELL_COLLECTED) ||
	    !atomic_compare_exchange_strong(cell, &held, held | CELL_COLLECTED))
		return false;
	limits_uncount(limits, slot, held);
	return true;
}

bool limits_collect(struct limits *limits)
{
	bool any = false;

	for (size_t slot = 0; slot < limits->workers; slot++) {
		struct limits_column *column = &limits->columns[slot];

		if (!atomic_load(&column->announced))
			continue;
		atomic_store(&column->announced, false); /* first: what comes now is seen later */
		for (size_t i = 0; i < LIMITS_CELLS; i++)
			if (collect_cell(limits, (int)slot, &column->cells[i]))
				any = true;
	}
	return any;
}

void limits_clear_cells(struct limits *limits, int slot)
{
	struct limits_column *column = &limits->columns[slot];

	atomic_fetch_add(&column->term, 1);
	atomic_store(&column->announced, false);
	for (size_t i = 0; i < LIMITS_CELLS; i++)
		atomic_store(&column->cells[i], 0);
}
