/*
 * memory.c - which pages of memory Perl writes to for each connection.
 *
 * Happy path: names and gaps are seen to once, when the module is loaded and when a server starts;
 * copies are made for every connection. Failure: Perl ends the process when memory runs out.
 */
#define PERL_NO_GET_CONTEXT
#include "memory.h"

#ifdef __GLIBC__ /* others have no mallinfo2(3), and older ones neither */
#if __GLIBC_PREREQ(2, 33)
#include <malloc.h>
#define KNOWS_ITS_HEAP
#endif
#endif

void memory_fill_gaps(void)
{
#ifdef KNOWS_ITS_HEAP
	struct mallinfo2 heap = mallinfo2();
	uintptr_t end = (uintptr_t)sbrk(0) - heap.keepcost, begin = end - heap.arena;
	uintptr_t piece = begin;

	for (size_t size = 65536; size >= 16; size -= size > 1024 ? 1024 : 16) {
		do
			piece = (uintptr_t)malloc(size);
		while (piece >= begin && piece < end);
		free((void *)piece);
	}
#endif
}

SV *memory_value_of(pTHX_ SV *sv)
{
	const U32 kinds =
	    SVf_IOK | SVf_NOK | SVf_POK | SVf_ROK | SVp_IOK | SVp_NOK | SVs_GMG | SVs_RMG;

	if ((SvFLAGS(sv) & kinds) == SVf_POK && SvTYPE(sv) < SVt_REGEXP && SvCUR(sv) < 256)
		return newSVpvn_flags(SvPVX_const(sv), SvCUR(sv), SvUTF8(sv));
	return newSVsv(sv);
}

HV *memory_copy_of(pTHX_ HV *hash)
{
	HV *copy;

	if (SvRMAGICAL(hash) || !HvUSEDKEYS(hash))
		return newHVhv(hash);
	copy = newHV();
	hv_ksplit(copy, HvMAX(hash) + 1);
	for (STRLEN i = 0; i <= HvMAX(hash); i++)
		for (const HE *entry = HvARRAY(hash)[i]; entry; entry = HeNEXT(entry))
			if (HeVAL(entry) != &PL_sv_placeholder)
				(void)hv_store_flags(copy, HeKEY(entry), HeKLEN(entry),
						     memory_value_of(aTHX_ HeVAL(entry)),
						     HeHASH(entry), HeKFLAGS(entry));
	return copy;
}

void memory_keep_name(pTHX_ SV *name)
{
	STRLEN length;
	const char *text = SvPV(name, length);
	SV *kept = newSVpvn_share(text, (I32)length, 0);

	PERL_UNUSED_VAR(kept);
}
