/*
 * memory.h - which pages of memory Perl writes to for each connection. Parent and child share a
 * page until one of them writes to it, and who writes first makes a copy. So what is written to for
 * every connection, if only to count references, is to lie on few pages.
 */
#ifndef PERL_MEMORY_H
#define PERL_MEMORY_H

#include "EXTERN.h"
#include "perl.h"

/* Take what is free in the gaps of the heap, for good: some 30 kB. What comes next lies behind. */
void memory_fill_gaps(void);

/* Have the text of this key of hashes where memory is taken from just now, for good. */
void memory_keep_name(pTHX_ SV *name);

/* A copy, as an assignment makes it; but a short text is not shared with the original, as each copy
 * and each end of a copy would write to the memory of that. */
SV *memory_value_of(pTHX_ SV *sv);

/* What {%HASH} makes. */
HV *memory_copy_of(pTHX_ HV *hash);

#endif
