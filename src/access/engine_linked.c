/* engine_linked.c - PCRE2 is linked with the library: there is nothing to load. */
#include "access/engine.h"

int engine_load(struct err *err)
{
	(void)err;
	return 0;
}
